/* Bodies between two framings: whatever the pieces that come and the pieces that go, the same bytes arrive, and the end with them. */
#include "fg_flow.c"

#include "fg_host.h"
#include "fg_scene.h"

enum { WIRE = 200000, BODY = 100000, RAW = 3000 };

static uint8_t body[BODY], raw[WIRE], written[WIRE];
static uint32_t body_len, raw_len, written_len;
static struct fg_buf source;

static uint32_t random_below(uint32_t n) {
    return (uint32_t)(fg_test_random() % n);
}

static void append(const char *text) {
    memcpy(raw + raw_len, text, strlen(text));
    raw_len += (uint32_t)strlen(text);
}

static void make_body(uint32_t n) {
    body_len = n;
    for (uint32_t i = 0; i < n; i++)
        body[i] = (uint8_t)fg_test_random();
}

/* The body as it comes: with lengths of chunks, extensions and a trailer section at random. */
static void frame(int in, const char *trailers) {
    char line[64];
    raw_len = 0;
    for (uint32_t at = 0; in == FG_FRAMING_CHUNKED && at < body_len;) {
        uint32_t n = 1 + random_below(random_below(4) ? 40 : 20000);
        n = n < body_len - at ? n : body_len - at;
        snprintf(line, sizeof line, random_below(2) ? "%x\r\n" : "%X;a=\"b\"\r\n", n);
        append(line);
        memcpy(raw + raw_len, body + at, n);
        raw_len += n;
        append("\r\n");
        at += n;
    }
    if (in == FG_FRAMING_CHUNKED) {
        append("0\r\n");
        append(trailers);
        append("\r\n");
    } else {
        memcpy(raw, body, body_len);
        raw_len = body_len;
    }
}

/* What an exchange does when it reads: a buffer without room is moved together, and one that is full waits. */
static uint32_t receive(const uint8_t *p, uint32_t n) {
    if (fg_buf_room(&source) == 0 && source.start > source.pin)
        fg_buf_compact(&source);
    if (n > fg_buf_room(&source))
        n = fg_buf_room(&source);
    memcpy(source.p + source.end, p, n);
    source.end += n;
    return n;
}

static void check_window(const struct fg_flow *f) {
    CHECK(source.pin <= source.start && source.start <= source.end && source.end <= source.cap);
    CHECK(f->ready + f->trailers + f->gap <= fg_buf_len(&source));
    CHECK(!f->sent || (f->whole && f->ready == 0));
}

/* Takes at most `most` bytes of what there is to write. */
static uint32_t take(struct fg_flow *f, uint32_t most) {
    struct iovec iov[3];
    int n = fg_flow_vectors(f, &source, iov);
    uint32_t taken = 0;
    for (int i = 0; i < n && most; i++) {
        uint32_t part = iov[i].iov_len < most ? (uint32_t)iov[i].iov_len : most;
        CHECK(iov[i].iov_len != 0);
        memcpy(written + written_len + taken, iov[i].iov_base, part);
        taken += part;
        most -= part;
    }
    written_len += taken;
    if (taken)
        fg_flow_advance(f, &source, taken);
    check_window(f);
    return taken;
}

/* Takes chunk framing off what was written, which has neither extensions nor empty chunks; returns the trailer section. */
static const char *unframe(void) {
    uint32_t at = 0, len = 0;
    for (;;) {
        char *end;
        unsigned long n = strtoul((char *)written + at, &end, 16);
        CHECK(memcmp(end, "\r\n", 2) == 0);
        at = (uint32_t)((uint8_t *)end + 2 - written);
        if (n == 0)
            break;
        memmove(written + len, written + at, n);
        len += (uint32_t)n;
        at += (uint32_t)n;
        CHECK(memcmp(written + at, "\r\n", 2) == 0);
        at += 2;
    }
    written[written_len] = '\0';
    written_len = len;
    return (const char *)written + at;
}

static void begin_flow(struct fg_flow *f, int in, int out) {
    fg_flow_start(f, in, out, body_len);
    fg_buf_release(&engine.pool, &source);
    CHECK_EQ(fg_buf_reserve(&engine.pool, &source, FG_BUF_MEDIUM), 0);
    source.pin = source.start = source.end = 700; /* a head that stays */
    memset(source.p, 'H', 700);
    written_len = 0;
}

static void pass(int in, int out, bool trailers) {
    struct fg_flow f;
    uint32_t at = 0;
    frame(in, trailers ? "ETag: t\r\nx-secret: s\r\nEtag:   long    \r\n" : "");
    begin_flow(&f, in, out);
    f.pass_trailers = trailers;
    for (int idle = 0; !f.sent; idle++) {
        CHECK(idle < 10);
        uint32_t piece = random_below(2) ? 1 + random_below(30) : RAW;
        if (random_below(3))
            at += receive(raw + at, piece < raw_len - at ? piece : raw_len - at);
        if (!f.whole)
            CHECK_EQ(fg_flow_decode(&down, &f, &source, at == raw_len), 0);
        check_window(&f);
        uint32_t moved = take(&f, random_below(4) ? 1 + random_below(9) : 20000);
        if (moved || at < raw_len)
            idle = 0;
    }
    CHECK_EQ(f.bytes, body_len);
    CHECK(fg_flow_is_empty(&f));
    CHECK_EQ(fg_buf_len(&source), 0);
    CHECK_EQ(source.p[699], 'H');
    if (out == FG_FRAMING_CHUNKED)
        CHECK(strcmp(unframe(), trailers ? "ETag: t\r\nEtag:   long\r\n\r\n" : "\r\n") == 0);
    CHECK_EQ(written_len, body_len);
    CHECK(memcmp(written, body, body_len) == 0);
}

static void every_framing_to_every_other(void) {
    static const int ways[][2] = {{FG_FRAMING_LENGTH, FG_FRAMING_LENGTH}, {FG_FRAMING_CHUNKED, FG_FRAMING_CHUNKED},
        {FG_FRAMING_CHUNKED, FG_FRAMING_UNTIL_CLOSE}, {FG_FRAMING_UNTIL_CLOSE, FG_FRAMING_CHUNKED},
        {FG_FRAMING_UNTIL_CLOSE, FG_FRAMING_UNTIL_CLOSE}};
    for (int round = 0; round < 60; round++) {
        for (unsigned i = 0; i < FG_COUNT_OF(ways); i++) {
            make_body(random_below(3) ? random_below(200) : random_below(60000));
            pass(ways[i][0], ways[i][1], false);
        }
        make_body(random_below(3000));
        pass(FG_FRAMING_CHUNKED, FG_FRAMING_CHUNKED, true);
    }
}

static void a_body_without_bytes_is_whole_at_once(void) {
    struct fg_flow f;
    fg_flow_start(&f, FG_FRAMING_NONE, FG_FRAMING_NONE, 0);
    CHECK(f.whole && f.sent);
    fg_flow_start(&f, FG_FRAMING_LENGTH, FG_FRAMING_LENGTH, 0);
    CHECK(f.whole && f.sent);
    fg_flow_start(&f, FG_FRAMING_NONE, FG_FRAMING_CHUNKED, 0);
    CHECK(f.whole && !f.sent); /* the last chunk is still to be written */
}

static void what_follows_the_body_stays(void) {
    struct fg_flow f;
    make_body(10);
    for (int chunked = 0; chunked < 2; chunked++) {
        int framing = chunked ? FG_FRAMING_CHUNKED : FG_FRAMING_LENGTH;
        frame(framing, "");
        append("GET / HTTP/1.1");
        begin_flow(&f, framing, framing);
        receive(raw, raw_len);
        CHECK_EQ(fg_flow_decode(&down, &f, &source, false), 0);
        CHECK(f.whole);
        while (take(&f, 7))
            ;
        CHECK(f.sent);
        CHECK_BYTES(fg_buf_data(&source), fg_buf_len(&source), "GET / HTTP/1.1");
    }
}

static void what_is_discarded_leaves_what_follows(void) {
    struct fg_flow f;
    make_body(500);
    frame(FG_FRAMING_CHUNKED, "ETag: t\r\n");
    append("next");
    begin_flow(&f, FG_FRAMING_CHUNKED, FG_FRAMING_CHUNKED);
    f.pass_trailers = true;
    receive(raw, raw_len);
    CHECK_EQ(fg_flow_decode(&down, &f, &source, false), 0);
    CHECK(!fg_flow_is_empty(&f));
    fg_flow_discard(&f, &source);
    CHECK(fg_flow_is_empty(&f));
    CHECK_BYTES(fg_buf_data(&source), fg_buf_len(&source), "next");
}

/* Bytes in front of the fault are decoded; at whatever place the input is cut, the fault is the same. */
static void a_fault_is_found_however_it_is_cut(void) {
    static const struct { const char *text; int64_t error; } faults[] = {
        {"3\r\nabcX", FG_E_BAD_CHUNK_END}, {"0x3\r\n", FG_E_BAD_CHUNK_SIZE}, {"3\nabc", FG_E_BAD_LINE_END},
        {"3\r\nabc\r\n0\r\nbad name: x\r\n\r\n", FG_E_BAD_FIELD_NAME}, {"3\r\nabc\r\n0\r\na: b\n\r\n", FG_E_BAD_LINE_END},
        {"-1\r\n", FG_E_BAD_CHUNK_SIZE}, {"3;\x01\r\n", FG_E_BAD_CHUNK_EXTENSION}};
    for (unsigned i = 0; i < FG_COUNT_OF(faults); i++) {
        uint32_t len = (uint32_t)strlen(faults[i].text);
        for (uint32_t cut = 0; cut <= len; cut++) {
            struct fg_flow f;
            begin_flow(&f, FG_FRAMING_CHUNKED, FG_FRAMING_CHUNKED);
            receive((const uint8_t *)faults[i].text, cut);
            int64_t error = fg_flow_decode(&down, &f, &source, false);
            if (error == 0) {
                receive((const uint8_t *)faults[i].text + cut, len - cut);
                error = fg_flow_decode(&down, &f, &source, false);
            }
            CHECK_EQ(error, faults[i].error);
            CHECK(!f.whole);
        }
    }
}

static void an_end_too_early_is_not_the_end(void) {
    struct fg_flow f;
    make_body(100);
    for (int chunked = 0; chunked < 2; chunked++) {
        int framing = chunked ? FG_FRAMING_CHUNKED : FG_FRAMING_LENGTH;
        frame(framing, "");
        for (uint32_t cut = 0; cut < raw_len; cut++) {
            begin_flow(&f, framing, framing);
            receive(raw, cut);
            CHECK_EQ(fg_flow_decode(&down, &f, &source, true), 0);
            CHECK(!f.whole);
            while (take(&f, 50))
                ;
            CHECK(!f.sent);
        }
    }
}

int main(void) {
    scene_begin();
    sockets[0].trailers = NAMES("etag", "repr-digest");
    RUN(every_framing_to_every_other);
    RUN(a_body_without_bytes_is_whole_at_once);
    RUN(what_follows_the_body_stays);
    RUN(what_is_discarded_leaves_what_follows);
    RUN(a_fault_is_found_however_it_is_cut);
    RUN(an_end_too_early_is_not_the_end);
    fg_buf_release(&engine.pool, &source);
    scene_end();
    return 0;
}
