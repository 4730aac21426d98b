/* Request heads and paths: http1.pyx's h1_request and path_normalize. Input: limits, a cut, the head. */
#include "http_oracle.h"

static head_fn parse;
static int64_t (*normalize)(uint8_t *, size_t);

void fuzz_setup(void) {
    parse = (head_fn)fuzz_function("fastgate.core.http1", "h1_request",
        "int64_t (uint8_t const *, size_t, struct fg_h1_limits const *, struct fg_h1_head *)");
    normalize = (int64_t (*)(uint8_t *, size_t))fuzz_function("fastgate.core.http1", "path_normalize",
        "int64_t (uint8_t *, size_t)");
}

/* What the request says, by the oracle. */
struct expected {
    struct oracle o;
    int64_t verdict;
    int minor, framing, port;
    uint64_t length;
    struct oracle_text method, target, authority;
    size_t host;
};

/* CONNECT's host:port, with the port (RFC 9110 section 9.3.6). */
static bool tunnel_target(const uint8_t *buf, struct expected *x) {
    x->port = oracle_authority(buf + x->target.off, x->target.len, &x->host);
    x->authority = x->target;
    return x->port > 0;
}

static bool good_target(const uint8_t *buf, struct expected *x) {
    const uint8_t *p = buf + x->target.off;
    size_t n = x->target.len, scheme = 0;
    if (x->method.len == 7 && !memcmp(buf + x->method.off, "CONNECT", 7))
        return tunnel_target(buf, x);
    if (p[0] == '/')
        return true;
    if (n == 1 && p[0] == '*')
        return x->method.len == 7 && !memcmp(buf + x->method.off, "OPTIONS", 7);
    if (n > 7 && !strncasecmp((const char *)p, "http://", 7))
        scheme = 7;
    else if (n > 8 && !strncasecmp((const char *)p, "https://", 8))
        scheme = 8;
    else
        return false;
    x->authority = (struct oracle_text){x->target.off + scheme, strcspn((const char *)p + scheme, "/? ")};
    x->port = oracle_authority(p + scheme, x->authority.len, &x->host);
    return x->port >= 0;
}

/* The request line at buf[at, end) without its CR LF: method SP target SP version. */
static bool good_line(const uint8_t *buf, size_t at, size_t end, struct expected *x) {
    size_t i = at;
    while (i < end && is_tchar(buf[i]))
        i++;
    x->method = (struct oracle_text){at, i - at};
    if (i == at || i == end || buf[i] != ' ')
        return false;
    at = ++i;
    while (i < end && is_target(buf[i]))
        i++;
    x->target = (struct oracle_text){at, i - at};
    if (i == at || i == end || buf[i] != ' ')
        return false;
    x->minor = oracle_version(buf + i + 1, end - i - 1);
    return x->minor >= 0 && good_target(buf, x);
}

static bool good_host(const uint8_t *buf, struct expected *x) {
    size_t count = 0;
    for (size_t i = 0; i < x->o.nfields; i++) {
        if (!is_text(buf + x->o.name[i].off, x->o.name[i].len, "host"))
            continue;
        size_t host;
        int port = oracle_authority(buf + x->o.value[i].off, x->o.value[i].len, &host);
        if (port < 0 || count++)
            return false;
        if (!x->authority.len) {
            x->authority = x->o.value[i];
            x->host = host;
            x->port = port;
        }
    }
    return count == 1 || x->minor == 0;
}

static int64_t expect(const uint8_t *buf, size_t size, struct expected *x) {
    size_t at = size >= 2 && buf[0] == '\r' && buf[1] == '\n' ? 2 : 0;
    int64_t n = oracle_line(buf + at, size - at);
    x->o.nfields = 0;
    x->authority.len = 0;
    x->port = 0;
    if (n < 0)
        return n;
    if (!good_line(buf, at, at + (size_t)n - 2, x))
        return ORACLE_BAD;
    int64_t used = oracle_fields(buf, at + (size_t)n, size, &x->o);
    if (used < 0)
        return used;
    x->framing = oracle_framing(buf, &x->o, x->minor, true, &x->length);
    return x->framing < 0 || !good_host(buf, x) ? ORACLE_BAD : used;
}

/* Bytes up to and including the first LF of the request line; SIZE_MAX when there is none. */
static size_t line_end(const uint8_t *buf, size_t size) {
    size_t at = size >= 2 && buf[0] == '\r' && buf[1] == '\n' ? 2 : 0;
    const uint8_t *lf = memchr(buf + at, '\n', size - at);
    return lf ? (size_t)(lf - buf) + 1 : SIZE_MAX;
}

/* --- paths -------------------------------------------------------------------------------------------------------------------- */

static int hex(uint8_t c) { return is_digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; }
static bool unreserved(int c) { return is_alnum((uint8_t)c) || c == '-' || c == '.' || c == '_' || c == '~'; }

/* RFC 3986 section 6.2.2: escapes first, then dot segments from the left. -1 when the path has no normal form. */
static int64_t oracle_path(const uint8_t *p, size_t n, uint8_t *out) {
    static uint8_t plain[1 << 16];
    size_t m = 0, w = 0;
    if (!n || p[0] != '/')
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '%') {
            if (!is_target(p[i]) || p[i] == '\\' || p[i] == '?')
                return -1;
            plain[m++] = p[i];
            continue;
        }
        int value = n - i < 3 || hex(p[i + 1]) < 0 || hex(p[i + 2]) < 0 ? 0 : hex(p[i + 1]) * 16 + hex(p[i + 2]);
        if (!value)
            return -1;
        if (unreserved(value))
            plain[m++] = (uint8_t)value;
        else
            m += (size_t)sprintf((char *)plain + m, "%%%02X", (unsigned)value);
        i += 2;
    }
    for (size_t start = 1, end; start <= m; start = end + 1) { /* out[0, w) ends before the '/' of this segment */
        for (end = start; end < m && plain[end] != '/'; end++)
            ;
        size_t len = end - start;
        bool dot = len == 1 && plain[start] == '.', up = len == 2 && plain[start] == '.' && plain[start + 1] == '.';
        if (up) {
            if (w == 0)
                return -1;
            while (out[--w] != '/')
                ;
        }
        if (!dot && !up) {
            out[w++] = '/';
            memcpy(out + w, plain + start, len);
            w += len;
        } else if (end == m) {
            out[w++] = '/';
        }
    }
    return (int64_t)w;
}

/* Returns whether the path is in normal form as it is. */
static bool check_path(const uint8_t *p, size_t n) {
    static uint8_t expected[1 << 16];
    uint8_t *path = fuzz_copy(p, n);
    int64_t want = oracle_path(p, n, expected), got = normalize(path, n);
    FUZZ_CHECK(want < 0 ? got < FG_MORE : got == want && !memcmp(path, expected, (size_t)got));
    bool same = got == (int64_t)n && !memcmp(path, p, n);
    if (got >= 0) {
        FUZZ_CHECK((size_t)got <= n);
        FUZZ_CHECK(normalize(path, (size_t)got) == got && !memcmp(path, expected, (size_t)got));
    }
    fuzz_drop(path);
    return same;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static bool is_span(struct fg_span s, struct oracle_text t) { return s.len == t.len && (!s.len || s.off == t.off); }

static uint8_t method_token(const uint8_t *p, size_t n) {
#define X(name) if (n == strlen(#name) && !memcmp(p, #name, n)) return FG_METHOD_##name;
    X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH)
#undef X
    return FG_METHOD_OTHER;
}

static void check_target(const uint8_t *buf, const struct fg_h1_head *head) {
    const uint8_t *target = buf + head->target.off, *end = target + head->target.len;
    struct fg_span path = head->path;
    if (head->target_form == FG_TARGET_AUTHORITY) {
        FUZZ_CHECK(head->method_token == FG_METHOD_CONNECT && !path.len && !head->query.len);
        return;
    }
    FUZZ_CHECK(path.len && path.off >= head->target.off && path.off + path.len <= head->target.off + head->target.len);
    if (head->target_form == FG_TARGET_ASTERISK) {
        FUZZ_CHECK(head->target.len == 1 && buf[path.off] == '*' && head->method_token == FG_METHOD_OPTIONS);
        return;
    }
    FUZZ_CHECK(head->target_form == (target[0] == '/' ? FG_TARGET_ORIGIN : FG_TARGET_ABSOLUTE));
    FUZZ_CHECK(buf[path.off] == '/' && !memchr(buf + path.off, '?', path.len));
    FUZZ_CHECK(head->target_form != FG_TARGET_ORIGIN || path.off == head->target.off);
    const uint8_t *mark = memchr(target, '?', head->target.len);
    FUZZ_CHECK(mark ? buf + head->query.off == mark + 1 && buf + head->query.off + head->query.len == end : !head->query.off);
    const uint8_t *stop = mark ? mark : end;
    FUZZ_CHECK(buf + path.off + path.len == stop || (path.len == 1 && !memchr(target + 8, '/', (size_t)(stop - target - 8))));
    bool clean = check_path(buf + path.off, path.len);
    FUZZ_CHECK(!head->path_clean || clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct expected x;
    struct fuzz_bytes in = {data, size};
    const struct fg_h1_limits *limits = &head_limits[fuzz_byte(&in) % FG_COUNT_OF(head_limits)];
    uint8_t cut = fuzz_byte(&in);
    struct fg_h1_head head;
    if (in.left > 40000)
        return 0;
    check_path(in.p, in.left);
    int64_t verdict = head_parse(parse, in.p, in.left, cut, limits, &head);
    size_t seen = in.left < limits->max_head ? in.left : limits->max_head, line = line_end(in.p, in.left);
    size_t longest = limits->max_line < limits->max_head ? limits->max_line : limits->max_head;
    int64_t expected = expect(in.p, seen, &x);
    if (verdict == FG_E_LINE_TOO_LONG) {
        FUZZ_CHECK(in.left >= longest && line > longest);
    } else {
        FUZZ_CHECK(line <= longest || in.left < longest);
        head_check(in.p, in.left, verdict, expected, FG_E_HEAD_TOO_LARGE, limits, &x.o);
    }
    if (verdict >= 0) {
        FUZZ_CHECK(line <= longest && (size_t)verdict <= limits->max_head);
        oracle_compare(in.p, &x.o, &head);
        FUZZ_CHECK(is_span(head.method, x.method) && is_span(head.target, x.target));
        FUZZ_CHECK(head.method_token == method_token(in.p + x.method.off, x.method.len));
        FUZZ_CHECK(head.minor_version == x.minor && head.framing == x.framing && head.content_length == x.length);
        FUZZ_CHECK(head.connection == oracle_connection(in.p, &x.o));
        FUZZ_CHECK(is_span(head.authority, x.authority) && head.port == x.port);
        FUZZ_CHECK(!x.authority.len || (head.host.off == x.authority.off && head.host.len == x.host));
        check_target(in.p, &head);
    }
    free(head.fields);
    return 0;
}
