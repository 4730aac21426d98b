/* Response heads: http1.pyx's h1_response. Input: limits, a cut, the head. */
#include "http_oracle.h"

static head_fn parse;

void fuzz_setup(void) {
    parse = (head_fn)fuzz_function("fastgate.core.http1", "h1_response",
        "int64_t (uint8_t const *, size_t, struct fg_h1_limits const *, struct fg_h1_head *)");
}

struct expected {
    struct oracle o;
    int minor, status, framing;
    uint64_t length;
    struct oracle_text reason;
};

/* version SP three digits [SP reason]; n bytes without the CR LF. */
static bool good_line(const uint8_t *p, size_t n, struct expected *x) {
    if (n < 12 || (x->minor = oracle_version(p, 8)) < 0 || p[8] != ' ')
        return false;
    if (!is_digit(p[9]) || p[9] == '0' || !is_digit(p[10]) || !is_digit(p[11]) || (n > 12 && p[12] != ' '))
        return false;
    for (size_t i = 12; i < n; i++)
        if (!is_vchar(p[i]))
            return false;
    x->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0';
    x->reason = n > 12 ? (struct oracle_text){13, n - 13} : (struct oracle_text){12, 0};
    return true;
}

static int64_t expect(const uint8_t *buf, size_t size, struct expected *x) {
    int64_t n = oracle_line(buf, size);
    x->o.nfields = 0;
    if (n < 0)
        return n;
    if (!good_line(buf, (size_t)n - 2, x))
        return ORACLE_BAD;
    int64_t used = oracle_fields(buf, (size_t)n, size, &x->o);
    if (used < 0)
        return used;
    x->framing = oracle_framing(buf, &x->o, x->minor, false, &x->length);
    if (x->framing < 0)
        return ORACLE_BAD;
    if (x->status < 200 || x->status == 204 || x->status == 304) /* RFC 9112 section 6.3, rule 1 */
        x->framing = FG_FRAMING_NONE;
    else if (x->framing == FG_FRAMING_NONE)
        x->framing = FG_FRAMING_UNTIL_CLOSE;
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct expected x;
    struct fuzz_bytes in = {data, size};
    const struct fg_h1_limits *limits = &head_limits[fuzz_byte(&in) % FG_COUNT_OF(head_limits)];
    uint8_t cut = fuzz_byte(&in);
    struct fg_h1_head head;
    if (in.left > 40000)
        return 0;
    int64_t verdict = head_parse(parse, in.p, in.left, cut, limits, &head);
    int64_t expected = expect(in.p, in.left < limits->max_head ? in.left : limits->max_head, &x);
    head_check(in.p, in.left, verdict, expected, FG_E_HEAD_TOO_LARGE, limits, &x.o);
    if (verdict >= 0) {
        FUZZ_CHECK((size_t)verdict <= limits->max_head);
        oracle_compare(in.p, &x.o, &head);
        FUZZ_CHECK(head.minor_version == x.minor && head.status == x.status);
        FUZZ_CHECK(head.reason.len == x.reason.len && (!x.reason.len || head.reason.off == x.reason.off));
        FUZZ_CHECK(head.framing == x.framing && head.content_length == x.length);
        FUZZ_CHECK(head.connection == oracle_connection(in.p, &x.o));
    }
    free(head.fields);
    return 0;
}
