/* The ClientHello: client_hello.pyx. Input: how to read it, then records as they are, or the parts of a message that is put
 * together here with lengths that fit, and cut into records. */
#include "fg_http1.h"
#include "fuzz.h"

static fg_client_hello_fn parse;

void fuzz_setup(void) {
    parse = (fg_client_hello_fn)fuzz_function("fastgate.core.client_hello", "client_hello",
        "int64_t (uint8_t const *, size_t, size_t, struct fg_client_hello *)");
}

/* --- the oracle: the message out of its records first, then RFC 8446 section 4.1.2 over plain bytes --------------------------- */

enum { MAX = 1 << 16, BAD = -2 };

struct reader { const uint8_t *p; size_t left; bool bad; };

static uint32_t number(struct reader *r, size_t size) {
    uint32_t n = 0;
    if (r->left < size) {
        r->bad = true;
        r->left = 0;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        n = n << 8 | r->p[i];
    r->p += size;
    r->left -= size;
    return n;
}

static struct reader part(struct reader *r, size_t n) {
    struct reader inner = {r->p, n, r->bad || n > r->left};
    if (inner.bad) {
        r->bad = true;
        inner.left = r->left = 0;
        return inner;
    }
    r->p += n;
    r->left -= n;
    return inner;
}

static struct reader vector(struct reader *r, size_t prefix) { return part(r, number(r, prefix)); }

static bool is_host(uint8_t c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '.' || c == '_';
}

static bool read_names(struct reader ext, struct fg_client_hello *h) {
    struct reader list = vector(&ext, 2);
    if (ext.bad || ext.left || h->server_name_len)
        return false;
    while (list.left) {
        uint32_t kind = number(&list, 1);
        struct reader name = vector(&list, 2);
        if (list.bad || !name.left)
            return false;
        if (kind)
            continue;
        if (h->server_name_len || name.left > 255)
            return false;
        for (size_t i = 0; i < name.left; i++) {
            if (!is_host(name.p[i]))
                return false;
            h->server_name[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i];
        }
        h->server_name_len = (uint16_t)(name.left - (name.p[name.left - 1] == '.'));
        if (!h->server_name_len)
            return false;
    }
    return true;
}

static bool read_protocols(struct reader ext, struct fg_client_hello *h) {
    struct reader list = vector(&ext, 2);
    if (ext.bad || ext.left || !list.left || h->nalpn)
        return false;
    while (list.left) {
        struct reader name = vector(&list, 1);
        if (list.bad || !name.left)
            return false;
        if (name.left > 32 || h->nalpn == FG_HELLO_MAX_ALPN)
            continue;
        memcpy(h->alpn[h->nalpn], name.p, name.left);
        h->alpn_len[h->nalpn++] = (uint8_t)name.left;
    }
    return true;
}

static bool read_versions(struct reader ext, struct fg_client_hello *h) {
    struct reader list = vector(&ext, 1);
    if (ext.bad || ext.left || !list.left || list.left % 2)
        return false;
    while (list.left) {
        uint32_t v = number(&list, 2);
        if (v >> 8 == 3 && v > h->max_version)
            h->max_version = (uint16_t)v;
    }
    return true;
}

static bool read_message(struct reader m, struct fg_client_hello *h) {
    memset(h, 0, sizeof *h);
    h->legacy_version = h->max_version = (uint16_t)number(&m, 2);
    part(&m, 32);
    struct reader session = vector(&m, 1), ciphers = vector(&m, 2), compression = vector(&m, 1);
    if (m.bad || session.left > 32 || ciphers.left < 2 || ciphers.left % 2 || !compression.left)
        return false;
    if (!m.left)
        return true;
    struct reader all = vector(&m, 2);
    if (m.bad || m.left)
        return false;
    while (all.left) {
        uint32_t kind = number(&all, 2);
        struct reader ext = vector(&all, 2);
        if (all.bad)
            return false;
        if (kind == 0xfe0d)
            h->has_ech = 1;
        if ((kind == 0 && !read_names(ext, h)) || (kind == 16 && !read_protocols(ext, h)) ||
            (kind == 43 && !read_versions(ext, h)))
            return false;
    }
    return true;
}

/* FG_MORE, BAD, or bytes of the records, which are at most `max`. */
static int64_t expect(const uint8_t *p, size_t size, size_t max, struct fg_client_hello *h) {
    static uint8_t message[MAX];
    size_t at = 0, have = 0;
    int64_t more = size >= max ? BAD : FG_MORE;
    size = size < max ? size : max;
    for (;;) {
        static const uint8_t highest[] = {22, 3, 4};
        for (size_t i = 0; i < 3 && at + i < size; i++)
            if (i < 2 ? p[at + i] != highest[i] : p[at + i] > highest[i])
                return BAD;
        if (size - at < 5)
            return more;
        size_t n = (size_t)p[at + 3] << 8 | p[at + 4], there;
        if (n == 0 || n > 16384)
            return BAD;
        at += 5;
        there = n < size - at ? n : size - at;
        memcpy(message + have, p + at, there);
        if (have + there && message[0] != 1)
            return BAD;
        size_t whole = have + there < 4 ? 0 : ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]) + 4;
        if (whole > max)
            return BAD;
        if (there < n)
            return more;
        have += n;
        at += n;
        if (whole && have >= whole)
            return have == whole && read_message((struct reader){message + 4, whole - 4, false}, h) ? (int64_t)at : BAD;
    }
}

/* --- messages that are put together ----------------------------------------------------------------------------------------- */

static size_t put_vector(uint8_t *out, size_t prefix, const uint8_t *content, size_t n) {
    for (size_t i = 0; i < prefix; i++)
        out[i] = (uint8_t)(n >> 8 * (prefix - 1 - i));
    memmove(out + prefix, content, n);
    return prefix + n;
}

/* An extension: type, then bytes as they are, or a list whose outer length fits. */
static size_t put_extension(uint8_t *out, struct fuzz_bytes *in) {
    static const uint16_t types[] = {0, 16, 43, 0xfe0d, 21, 0, 16, 43};
    static const uint8_t prefixes[] = {2, 2, 1, 0, 0, 0, 0, 0}; /* 0: bytes as they are */
    uint8_t list[600], content[600];
    size_t choice = fuzz_byte(in) % FG_COUNT_OF(types), n = 0;
    for (unsigned items = fuzz_byte(in) % 4; items; items--) {
        uint8_t item[300];
        size_t len = fuzz_byte(in), m = 0;
        bool long_name = choice == 0 && len == 255;
        for (; m < len + long_name * 3 && (in->left || m < 40); m++)
            item[m] = fuzz_byte(in);
        if (choice == 0)
            list[n++] = m && item[0] == 0xff; /* the type of the name */
        if (n + m + 4 > sizeof list)
            break;
        if (choice == 0 || choice == 1)
            n += put_vector(list + n, choice == 0 ? 2 : 1, item, m);
        else
            memcpy(list + n, item, m), n += m;
    }
    if (prefixes[choice])
        n = put_vector(content, prefixes[choice], list, n);
    else
        memcpy(content, list, n);
    out[0] = (uint8_t)(types[choice] >> 8);
    out[1] = (uint8_t)types[choice];
    return 2 + put_vector(out + 2, 2, content, n);
}

static size_t put_message(uint8_t *out, struct fuzz_bytes *in) {
    uint8_t body[8192] = {3, 3}, extensions[4096], small[40];
    size_t n = 34, m = 0;
    uint8_t shape = fuzz_byte(in);
    memcpy(small, "01234567890123456789012345678901234567", 38);
    n += put_vector(body + n, 1, small, shape & 1 ? 32 : shape & 2 ? 33 : 0);
    n += put_vector(body + n, 2, small, shape & 4 ? 3 : 4);
    n += put_vector(body + n, 1, small, shape & 8 ? 0 : 1);
    while (in->left && m < sizeof extensions - 700)
        m += put_extension(extensions + m, in);
    if (!(shape & 16))
        n += put_vector(body + n, 2, extensions, m);
    if (shape & 32)
        body[n++] = 0;
    out[0] = 1;
    return 1 + put_vector(out + 1, 3, body, n);
}

/* Cuts a message into records of this many bytes. */
static size_t put_records(uint8_t *out, const uint8_t *message, size_t size, size_t record) {
    size_t n = 0;
    for (size_t at = 0; at < size; at += record) {
        memcpy(out + n, "\x16\x03\x01", 3);
        n += 3;
        n += put_vector(out + n, 2, message + at, size - at < record ? size - at : record);
    }
    return n;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static int64_t check(const uint8_t *p, size_t size, size_t max, struct fg_client_hello *got) {
    struct fg_client_hello want;
    uint8_t *buf = fuzz_copy(p, size);
    memset(got, 0xa5, sizeof *got);
    int64_t verdict = parse(buf, size, max, got), expected = expect(p, size, max, &want);
    fuzz_drop(buf);
    FUZZ_CHECK(verdict < FG_MORE ? expected == BAD : verdict == expected);
    if (verdict >= 0) {
        FUZZ_CHECK(got->server_name_len == want.server_name_len);
        FUZZ_CHECK(!memcmp(got->server_name, want.server_name, want.server_name_len));
        FUZZ_CHECK(got->nalpn == want.nalpn && !memcmp(got->alpn_len, want.alpn_len, sizeof want.alpn_len));
        FUZZ_CHECK(!memcmp(got->alpn, want.alpn, sizeof want.alpn) && got->has_ech == want.has_ech);
        FUZZ_CHECK(got->legacy_version == want.legacy_version && got->max_version == want.max_version);
    }
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t records[MAX], message[MAX];
    static const size_t limits[] = {16384, 16384, 512, 100};
    struct fuzz_bytes in = {data, size};
    struct fg_client_hello one, other;
    uint8_t mode = fuzz_byte(&in), fragment = fuzz_byte(&in);
    size_t max = limits[mode >> 1 & 3], n;
    if (in.left > 8000)
        return 0;
    if (mode & 1) {
        size_t whole = put_message(message, &in);
        n = put_records(records, message, whole, 16384);
        int64_t verdict = check(records, n, max, &one);
        n = put_records(records, message, whole, fragment ? fragment : 300);
        int64_t cut = check(records, n, max, &other);
        if (verdict >= 0 && n < max)
            FUZZ_CHECK(cut == (int64_t)n && !memcmp(&one, &other, sizeof one));
    } else {
        memcpy(records, in.p, n = in.left);
        check(records, n, max, &one);
    }
    int64_t verdict = parse(records, n, max, &one);
    size_t step = n / 64 + 1;
    for (size_t i = fragment % step; i < n; i += step) { /* what came so far is not a message, and says what the whole says */
        int64_t early = check(records, i, max, &other);
        FUZZ_CHECK(early == FG_MORE || early == verdict);
        if (verdict >= 0)
            FUZZ_CHECK(early == FG_MORE || (size_t)verdict <= i);
    }
    return 0;
}
