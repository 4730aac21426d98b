/* Chunked bodies and their trailers: http1.pyx's h1_chunk and h1_trailers. Input: limits, a cut, the body. */
#include "http_oracle.h"

static int64_t (*next_chunk)(struct fg_h1_chunked *, const uint8_t *, size_t, struct fg_span *);
static head_fn parse_trailers;

void fuzz_setup(void) {
    next_chunk = (int64_t (*)(struct fg_h1_chunked *, const uint8_t *, size_t, struct fg_span *))fuzz_function(
        "fastgate.core.http1", "h1_chunk", "int64_t (struct fg_h1_chunked *, uint8_t const *, size_t, struct fg_span *)");
    parse_trailers = (head_fn)fuzz_function("fastgate.core.http1", "h1_trailers",
        "int64_t (uint8_t const *, size_t, struct fg_h1_limits const *, struct fg_h1_head *)");
}

struct body {
    int64_t used; /* up to the trailers or the end of what there is, or below FG_MORE */
    bool complete;
    size_t len;
    uint8_t data[1 << 16];
};

enum { MAX_DIGITS = 15, MAX_EXTENSION = 256 };

/* RFC 9112 section 7.1 over all the bytes at once. */
static void expect(const uint8_t *p, size_t size, struct body *b) {
    size_t i = 0;
    b->len = 0;
    b->complete = false;
    b->used = ORACLE_BAD;
    for (;;) {
        uint64_t left = 0;
        size_t digits = 0, extension = 0;
        for (; i < size && (is_digit(p[i]) || ((p[i] | 32) >= 'a' && (p[i] | 32) <= 'f')); i++) {
            left = left * 16 + (uint64_t)(is_digit(p[i]) ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
            if (++digits > MAX_DIGITS)
                return;
        }
        if (i < size && !digits)
            return;
        if (i < size && p[i] == ';')
            for (i++; i < size && is_vchar(p[i]); i++)
                if (++extension > MAX_EXTENSION)
                    return;
        if (i < size && p[i++] != '\r')
            return;
        if (i == size)
            break;
        if (p[i++] != '\n')
            return;
        if (left == 0) {
            b->complete = true;
            break;
        }
        size_t run = left < size - i ? (size_t)left : size - i;
        memcpy(b->data + b->len, p + i, run);
        b->len += run;
        i += run;
        if (run == left && i < size && p[i++] != '\r')
            return;
        if (run == left && i < size && p[i++] != '\n')
            return;
        if (i == size)
            break;
    }
    b->used = (int64_t)i;
}

/* The decoder as the engine calls it, over a buffer that has `cut` bytes at first and grows by `step`. */
static void decode(const uint8_t *data, size_t size, size_t cut, size_t step, struct body *b) {
    struct fg_h1_chunked c = {0};
    struct fg_span run;
    uint8_t *buf = fuzz_copy(data, size);
    size_t n = cut < size ? cut : size;
    b->used = 0;
    b->len = 0;
    for (;;) {
        ASAN_POISON_MEMORY_REGION(buf, size);
        ASAN_UNPOISON_MEMORY_REGION(buf, n);
        int64_t used = next_chunk(&c, buf + b->used, n - (size_t)b->used, &run);
        if (used < 0) {
            b->used = used;
            break;
        }
        FUZZ_CHECK((size_t)used <= n - (size_t)b->used && (uint64_t)run.off + run.len <= (uint64_t)used);
        if (run.len)
            memcpy(b->data + b->len, buf + b->used + run.off, run.len);
        b->len += run.len;
        b->used += used;
        if (used)
            continue;
        if (n == size || c.state == FG_CHUNK_TRAILERS)
            break;
        n = size - n < step ? size : n + step;
    }
    b->complete = c.state == FG_CHUNK_TRAILERS;
    ASAN_UNPOISON_MEMORY_REGION(buf, size);
    fuzz_drop(buf);
    if (b->used >= 0 && !b->complete && c.state == FG_CHUNK_DATA && c.left > UINT32_MAX) {
        /* as if gigabytes had come, of which the decoder looks at none: a run fits a span all the same */
        uint64_t left = c.left;
        int64_t used = next_chunk(&c, data, (size_t)UINT32_MAX, &run);
        FUZZ_CHECK(used == run.len && run.len >= 1u << 30 && c.left == left - run.len && run.off == 0);
    }
}

static void check_trailers(const uint8_t *p, size_t size, uint8_t cut, const struct fg_h1_limits *limits) {
    static struct oracle o;
    struct fg_h1_head head;
    int64_t verdict = head_parse(parse_trailers, p, size, cut, limits, &head);
    o.nfields = 0;
    int64_t expected = oracle_fields(p, 0, size < limits->max_head ? size : limits->max_head, &o);
    head_check(p, size, verdict, expected, FG_E_TRAILERS_TOO_LARGE, limits, &o);
    if (verdict >= 0)
        oracle_compare(p, &o, &head);
    free(head.fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct body want, got;
    struct fuzz_bytes in = {data, size};
    const struct fg_h1_limits *limits = &head_limits[fuzz_byte(&in) % FG_COUNT_OF(head_limits)];
    uint8_t cut = fuzz_byte(&in);
    if (in.left > 40000)
        return 0;
    expect(in.p, in.left, &want);
    size_t cuts[][2] = {{in.left, 1}, {0, 1}, {in.left * cut >> 8, in.left}, {cut, 7}};
    for (size_t i = 0; i < FG_COUNT_OF(cuts); i++) {
        decode(in.p, in.left, cuts[i][0], cuts[i][1], &got);
        if (want.used < 0) {
            FUZZ_CHECK(got.used < FG_MORE);
            continue;
        }
        FUZZ_CHECK(got.used == want.used && got.complete == want.complete);
        FUZZ_CHECK(got.len == want.len && !memcmp(got.data, want.data, want.len));
    }
    if (want.used < 0)
        check_trailers(in.p, in.left, cut, limits);
    else if (want.complete)
        check_trailers(in.p + want.used, in.left - (size_t)want.used, cut, limits);
    return 0;
}
