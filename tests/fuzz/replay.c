/* Gives files to a harness, one after another: REPLAY FILE... The name stands on the standard error before its turn comes. */
#include "fuzz.h"

int main(int argc, char **argv) {
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        static uint8_t data[1 << 16];
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 2;
        }
        size_t size = fread(data, 1, sizeof data, f);
        fclose(f);
        fprintf(stderr, "%s\n", argv[i]);
        uint8_t *copy = fuzz_copy(data, size);
        LLVMFuzzerTestOneInput(copy, size);
        fuzz_drop(copy);
    }
    printf("%d inputs\n", argc - 1);
    return 0;
}
