/* Bodies: framing off at the source, framing on at the sink (RFC 9112 sections 6 and 7). */
#include "fg_head.h"

#include <stdio.h>

enum { MAX_TRAILERS = 4096 }; /* bytes of a trailer section; any buffer of a body has room for it */

void fg_flow_start(struct fg_flow *f, int in, int out, uint64_t length) {
    memset(f, 0, sizeof *f);
    f->in = (uint8_t)in;
    f->out = (uint8_t)out;
    f->left = in == FG_FRAMING_LENGTH ? length : 0;
    if (in == FG_FRAMING_NONE || (in == FG_FRAMING_LENGTH && length == 0))
        f->whole = true;
    if (f->whole && out != FG_FRAMING_CHUNKED)
        f->sent = true;
}

static uint8_t *raw_at(const struct fg_flow *f, const struct fg_buf *src) {
    return fg_buf_data(src) + f->ready + f->trailers + f->gap;
}

/* Decoded data is moved down to lie behind what is ready; the bytes of framing become the gap. */
static void take_run(struct fg_flow *f, struct fg_buf *src, uint8_t *data, uint32_t n, uint32_t used) {
    uint8_t *to = fg_buf_data(src) + f->ready;
    if (to != data && n)
        memmove(to, data, n);
    f->ready += n;
    f->gap += used - n;
    f->bytes += n;
}

/* Lines of fields that go on are moved down to lie behind what is ready. None grows, so that none overwrites the next one. */
static uint32_t keep_trailers(const struct fg_down *d, const struct fg_h1_head *h, const uint8_t *raw, uint8_t *to) {
    uint8_t *at = to;
    for (uint16_t i = 0; i < h->nfields; i++) {
        const struct fg_field *x = &h->fields[i];
        if (!fg_head_may_trail(d, raw, x))
            continue;
        uint32_t n = x->value + x->value_len - x->name;
        memmove(at, raw + x->name, n);
        memcpy(at + n, "\r\n", 2);
        at += n + 2;
    }
    return (uint32_t)(at - to);
}

static int64_t decode_trailers(struct fg_down *d, struct fg_flow *f, struct fg_buf *src, uint8_t *raw, size_t len) {
    struct fg_h1_head h = {.fields = d->e->response_fields, .scanned = f->trailers_scanned};
    const struct fg_h1_limits limits = {.max_head = MAX_TRAILERS, .max_fields = FG_MAX_FIELDS};
    int64_t used = d->e->f.parse_trailers(raw, len, &limits, &h);
    f->trailers_scanned = h.scanned;
    if (used < 0)
        return used == FG_MORE ? 0 : used;
    if (f->pass_trailers)
        f->trailers = keep_trailers(d, &h, raw, fg_buf_data(src) + f->ready);
    f->gap += (uint32_t)used - f->trailers;
    f->whole = true;
    return 0;
}

static int64_t decode_chunked(struct fg_down *d, struct fg_flow *f, struct fg_buf *src) {
    for (;;) {
        uint8_t *raw = raw_at(f, src);
        size_t len = (size_t)(src->p + src->end - raw);
        if (f->chunked.state == FG_CHUNK_TRAILERS)
            return decode_trailers(d, f, src, raw, len);
        if (len == 0)
            return 0;
        struct fg_span data;
        int64_t used = d->e->f.next_chunk(&f->chunked, raw, len, &data);
        if (used < 0)
            return used;
        if (used == 0 && f->chunked.state != FG_CHUNK_TRAILERS)
            return 0;
        take_run(f, src, raw + data.off, data.len, (uint32_t)used);
    }
}

/* What a stream brought: the body, and at its end the trailer section (RFC 9113 section 8.1). */
static int64_t decode_frames(struct fg_down *d, struct fg_flow *f, struct fg_buf *src, uint8_t *raw, size_t len, bool eof) {
    uint32_t n = (uint32_t)len - d->trailers;
    take_run(f, src, raw, n, n);
    f->whole = eof && d->trailers == 0;
    return eof && d->trailers ? decode_trailers(d, f, src, raw + n, d->trailers) : 0;
}

static int64_t decode(struct fg_down *d, struct fg_flow *f, struct fg_buf *src, bool eof) {
    uint8_t *raw = raw_at(f, src);
    size_t len = (size_t)(src->p + src->end - raw);
    switch (f->in) {
    case FG_FRAMING_LENGTH: {
        uint32_t n = len < f->left ? (uint32_t)len : (uint32_t)f->left;
        take_run(f, src, raw, n, n);
        f->left -= n;
        f->whole = f->left == 0;
        return 0;
    }
    case FG_FRAMING_CHUNKED:
        return decode_chunked(d, f, src);
    case FG_FRAMING_UNTIL_CLOSE:
        take_run(f, src, raw, (uint32_t)len, (uint32_t)len);
        f->whole = eof;
        return 0;
    case FG_FRAMING_FRAMES:
        return decode_frames(d, f, src, raw, len, eof);
    default:
        return 0;
    }
}

int64_t fg_flow_decode(struct fg_down *d, struct fg_flow *f, struct fg_buf *src, bool eof) {
    if (f->whole)
        return 0;
    int64_t error = decode(d, f, src, eof);
    if (f->ready + f->trailers == 0 && f->gap) {
        fg_buf_consume(src, f->gap);
        f->gap = 0;
    }
    if (fg_flow_is_empty(f) && f->out != FG_FRAMING_CHUNKED)
        f->sent = true;
    return error;
}

static void start_chunk(struct fg_flow *f) {
    f->chunk_left = f->ready;
    f->line_len = (uint8_t)snprintf((char *)f->line, sizeof f->line, "%x\r\n", f->ready);
    f->line_off = 0;
    f->crlf = 2;
}

/* The last chunk's line; what would be data in another one is the trailer section (RFC 9112 section 7.1). */
static void start_last_chunk(struct fg_flow *f) {
    f->last = true;
    f->ready = f->chunk_left = f->trailers;
    f->trailers = 0;
    f->line_len = (uint8_t)snprintf((char *)f->line, sizeof f->line, f->ready ? "0\r\n" : "0\r\n\r\n");
    f->line_off = 0;
    f->crlf = f->ready ? 2 : 0;
}

/* The next things to write: a line of chunk framing, data, the CR LF behind it. */
int fg_flow_vectors(struct fg_flow *f, const struct fg_buf *src, struct iovec iov[3]) {
    int n = 0;
    if (f->sent)
        return 0;
    if (f->out != FG_FRAMING_CHUNKED) {
        if (f->ready == 0 && f->whole && f->trailers) { /* FG_FRAMING_FRAMES: the lines go as data, and `last` tells them apart */
            f->last = true;
            f->ready = f->trailers;
            f->trailers = 0;
        }
        if (f->ready)
            iov[n++] = (struct iovec){fg_buf_data(src), f->ready};
        return n;
    }
    if (f->line_off == f->line_len && f->chunk_left == 0 && f->crlf == 0) {
        if (f->ready)
            start_chunk(f);
        else if (f->whole)
            start_last_chunk(f);
    }
    if (f->line_off < f->line_len)
        iov[n++] = (struct iovec){f->line + f->line_off, (size_t)(f->line_len - f->line_off)};
    if (f->chunk_left)
        iov[n++] = (struct iovec){fg_buf_data(src), f->chunk_left};
    if (f->crlf)
        iov[n++] = (struct iovec){(char *)"\r\n" + (2 - f->crlf), f->crlf};
    return n;
}

static void data_sent(struct fg_flow *f, struct fg_buf *src, uint32_t n) {
    f->ready -= n;
    uint32_t skip = n;
    if (f->ready + f->trailers == 0) {
        skip += f->gap;
        f->gap = 0;
    }
    fg_buf_consume(src, skip);
}

void fg_flow_advance(struct fg_flow *f, struct fg_buf *src, size_t n) {
    if (f->out != FG_FRAMING_CHUNKED) {
        data_sent(f, src, (uint32_t)n);
        f->sent = fg_flow_is_empty(f);
        return;
    }
    size_t line = (size_t)(f->line_len - f->line_off);
    size_t part = n < line ? n : line;
    f->line_off += (uint8_t)part;
    n -= part;
    part = n < f->chunk_left ? n : f->chunk_left;
    f->chunk_left -= (uint32_t)part;
    data_sent(f, src, (uint32_t)part);
    n -= part;
    f->crlf -= (uint8_t)n;
    bool idle = f->line_off == f->line_len && f->chunk_left == 0 && f->crlf == 0;
    f->sent = idle && f->last;
}

void fg_flow_take(struct fg_flow *f, struct fg_buf *src, uint32_t n) {
    data_sent(f, src, n);
}

void fg_flow_discard(struct fg_flow *f, struct fg_buf *src) {
    f->ready += f->trailers;
    f->trailers = 0;
    data_sent(f, src, f->ready);
}
