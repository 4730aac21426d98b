#include "fg_re2.h"

#include <cstdio>
#include <new>
#include <re2/re2.h>

struct fg_re2 {
    RE2 re;
    fg_re2(const re2::StringPiece &pattern, const RE2::Options &options) : re(pattern, options) {}
};

static constexpr int64_t MAX_MEMORY = 1 << 20; /* bytes of program and automata, per pattern */

extern "C" struct fg_re2 *fg_re2_new(const uint8_t *pattern, size_t len, char *why, size_t why_size) {
    RE2::Options options;
    options.set_encoding(RE2::Options::EncodingLatin1);
    options.set_log_errors(false);
    options.set_never_capture(true);
    options.set_max_mem(MAX_MEMORY);
    auto *re = new (std::nothrow) fg_re2(re2::StringPiece(reinterpret_cast<const char *>(pattern), len), options);
    if (re == nullptr || !re->re.ok()) {
        snprintf(why, why_size, "%s", re ? re->re.error().c_str() : "out of memory");
        delete re;
        return nullptr;
    }
    return re;
}

extern "C" bool fg_re2_search(const struct fg_re2 *re, const uint8_t *text, size_t len) {
    return re->re.Match(re2::StringPiece(reinterpret_cast<const char *>(text), len), 0, len, RE2::UNANCHORED, nullptr, 0);
}

extern "C" void fg_re2_free(struct fg_re2 *re) {
    delete re;
}
