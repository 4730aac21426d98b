#include "fg_proxy.h"

#include "fg_head.h"
#include "fg_put.h"

#include <arpa/inet.h>

enum { BAD = -2, LINE_MAX_BYTES = 107, FIXED = 16, PP2_TYPE_ALPN = 1, PP2_TYPE_AUTHORITY = 2 };

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* --- version 1: a line ------------------------------------------------------------------------------------------------------------- */

/* The word at *at, which one space or the end of the line follows; len 0: there is none. */
static struct fg_bytes word(const uint8_t *line, size_t n, size_t *at) {
    const uint8_t *from = line + *at, *space = memchr(from, ' ', n - *at);
    struct fg_bytes w = {from, space ? (size_t)(space - from) : n - *at};
    *at += w.len + (space != NULL);
    return w;
}

static bool read_ip(struct fg_bytes text, int family, uint8_t ip[16]) {
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.p, text.len);
    copy[text.len] = 0;
    return inet_pton(family, copy, ip) == 1;
}

/* Decimal digits without leading zeros, up to 65535. */
static bool read_port(struct fg_bytes text, uint16_t *port) {
    uint32_t value = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.p[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (text.p[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

static bool is(struct fg_bytes a, const char *text) {
    return a.len == strlen(text) && memcmp(a.p, text, a.len) == 0;
}

static bool read_line(const uint8_t *line, size_t n, struct fg_address *source) {
    size_t at = 6; /* behind "PROXY " */
    struct fg_bytes kind = word(line, n, &at);
    struct fg_address a = {0}, b = {0};
    if (is(kind, "UNKNOWN"))
        return true;
    if (!is(kind, "TCP4") && !is(kind, "TCP6"))
        return false;
    int family = kind.p[3] == '4' ? AF_INET : AF_INET6;
    a.family = kind.p[3] - '0';
    if (!read_ip(word(line, n, &at), family, a.ip) || !read_ip(word(line, n, &at), family, b.ip) ||
        !read_port(word(line, n, &at), &a.port))
        return false;
    struct fg_bytes last = word(line, n, &at);
    if (last.p + last.len != line + n || !read_port(last, &b.port))
        return false;
    *source = a;
    return true;
}

static int64_t read_v1(const uint8_t *p, size_t n, struct fg_address *source) {
    static const uint8_t start[6] = "PROXY ";
    if (memcmp(p, start, n < sizeof start ? n : sizeof start) != 0)
        return BAD;
    const uint8_t *lf = memchr(p, '\n', n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES);
    if (lf == NULL)
        return n < LINE_MAX_BYTES ? FG_MORE : BAD;
    size_t line = (size_t)(lf - p);
    return line > sizeof start && p[line - 1] == '\r' && read_line(p, line - 1, source) ? (int64_t)line + 1 : BAD;
}

/* --- version 2: binary --------------------------------------------------------------------------------------------------------------- */

enum { LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };

static bool tlvs_ok(const uint8_t *p, size_t n) {
    while (n) {
        size_t one = n < 3 ? n + 1 : 3 + ((size_t)p[1] << 8 | p[2]);
        if (one > n)
            return false;
        p += one;
        n -= one;
    }
    return true;
}

static int64_t read_v2(const uint8_t *p, size_t n, struct fg_address *source) {
    if (n < FIXED)
        return FG_MORE;
    uint8_t command = p[12], kind = p[13];
    size_t length = (size_t)p[14] << 8 | p[15], total = FIXED + length;
    size_t ip = kind == TCP4 ? 4 : kind == TCP6 ? 16 : 0, addresses = ip ? 2 * ip + 4 : 0;
    if ((command != LOCAL && command != PROXY) || total > FG_PROXY_MOST)
        return BAD;
    if (n < total)
        return FG_MORE;
    if (command == LOCAL || ip == 0) /* its own, or of a kind that is none of ours: skipped (section 2.2) */
        return (int64_t)total;
    if (length < addresses || !tlvs_ok(p + FIXED + addresses, length - addresses))
        return BAD;
    *source = (struct fg_address){.family = kind == TCP4 ? 4 : 6};
    memcpy(source->ip, p + FIXED, ip);
    source->port = (uint16_t)(p[FIXED + 2 * ip] << 8 | p[FIXED + 2 * ip + 1]);
    return (int64_t)total;
}

int64_t fg_proxy_read(const uint8_t *p, size_t n, struct fg_address *source) {
    size_t same = n < sizeof signature ? n : sizeof signature;
    if (n == 0)
        return FG_MORE;
    if (memcmp(p, signature, same) == 0)
        return same < sizeof signature ? FG_MORE : read_v2(p, n, source);
    return read_v1(p, n, source);
}

/* --- writing ------------------------------------------------------------------------------------------------------------------------- */

static void put_u16(struct fg_put *o, size_t v) {
    fg_put(o, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void put_tlv(struct fg_put *o, uint8_t type, struct fg_bytes value) {
    if (value.len == 0 || value.len > 255)
        return;
    fg_put(o, &type, 1);
    put_u16(o, value.len);
    fg_put_bytes(o, value);
}

static void put_line(struct fg_put *o, const struct fg_address *source, const struct fg_address *destination) {
    if (source->family != destination->family) {
        FG_PUT(o, "PROXY UNKNOWN\r\n");
        return;
    }
    if (source->family == 4)
        FG_PUT(o, "PROXY TCP4 ");
    else
        FG_PUT(o, "PROXY TCP6 ");
    fg_put_address(o, source, false);
    FG_PUT(o, " ");
    fg_put_address(o, destination, false);
    FG_PUT(o, " ");
    fg_put_uint(o, source->port);
    FG_PUT(o, " ");
    fg_put_uint(o, destination->port);
    FG_PUT(o, "\r\n");
}

size_t fg_proxy_write(uint8_t out[FG_PROXY_HEADER], int version, const struct fg_address *source, const struct fg_address *destination,
                      const struct fg_identity *who) {
    struct fg_put o = {out, out + FG_PROXY_HEADER, false};
    if (version == 1) {
        put_line(&o, source, destination);
        return (size_t)(o.at - out);
    }
    bool known = source->family == destination->family;
    size_t ip = source->family == 4 ? 4 : 16;
    fg_put(&o, signature, sizeof signature);
    fg_put(&o, (uint8_t[]){PROXY, known ? (ip == 4 ? TCP4 : TCP6) : 0, 0, 0}, 4);
    if (known) {
        fg_put(&o, source->ip, ip);
        fg_put(&o, destination->ip, ip);
        put_u16(&o, source->port);
        put_u16(&o, destination->port);
        if (who) {
            put_tlv(&o, PP2_TYPE_ALPN, who->alpn);
            put_tlv(&o, PP2_TYPE_AUTHORITY, who->server_name);
        }
    }
    size_t length = (size_t)(o.at - out) - FIXED;
    out[14] = (uint8_t)(length >> 8);
    out[15] = (uint8_t)length;
    return (size_t)(o.at - out);
}
