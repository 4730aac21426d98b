/* Which verdicts are well-formed: a table of what may stand in each part of a record, in memory that ends where the record does. */
#include "fg_call.c"

#include "fg_test.h"

static _Alignas(8) uint8_t record[1 << 16];
static struct fg_verdict *const v = (struct fg_verdict *)record;
static uint32_t used; /* bytes of the record so far */

static void begin(void) {
    memset(record, 0, sizeof record);
    *v = (struct fg_verdict){.kind = FG_RECORD_VERDICT, .exchange = 7, .number = 1, .phase = FG_PHASE_REQUEST};
    used = sizeof *v;
}

static struct fg_ref put_bytes(const void *p, uint32_t n) {
    struct fg_ref ref = {used, n};
    memcpy(record + used, p, n);
    used += n;
    return ref;
}

static struct fg_ref put_text(const char *s) {
    return put_bytes(s, (uint32_t)strlen(s));
}

/* An array of `n` zeros, for what is put behind it. */
static struct fg_ref put_array(uint32_t n, size_t size) {
    used = FG_ALIGN_UP(used, 8u);
    struct fg_ref ref = {used, n};
    used += n * (uint32_t)size;
    return ref;
}

static bool ok_of(size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, record, size);
    bool ok = fg_verdict_ok(copy, size);
    free(copy);
    return ok;
}

static bool ok(void) {
    used = FG_ALIGN_UP(used, 8u);
    v->size = used;
    return ok_of(used);
}

static bool name_is_ok(const char *name, uint32_t n, bool removed) {
    begin();
    struct fg_ref array = put_array(1, removed ? sizeof(struct fg_ref) : sizeof(struct fg_img_pair));
    *(struct fg_ref *)(record + array.off) = put_bytes(name, n); /* the name is a pair's first part */
    *(removed ? &v->edits.remove : &v->edits.set) = array;
    return ok();
}

static bool value_is_ok(const char *value, uint32_t n) {
    begin();
    v->edits.add = put_array(1, sizeof(struct fg_img_pair));
    struct fg_ref name = put_text("a"), text = put_bytes(value, n);
    *(struct fg_img_pair *)(record + v->edits.add.off) = (struct fg_img_pair){name, text};
    return ok();
}

static void records_lie_back_to_back(void) {
    struct fg_records a = {0};
    uint8_t want[1000];
    for (uint32_t i = 0; i < sizeof want; i += 8) {
        memset(want + i, (int)i / 8, 8);
        CHECK_EQ(fg_records_add(&a, want + i, 8), 0);
        CHECK(a.len <= a.cap);
    }
    CHECK_EQ(a.len, sizeof want);
    CHECK(memcmp(a.p, want, sizeof want) == 0);
    free(a.p);
}

static void a_record_is_whole(void) {
    begin();
    CHECK(ok());
    CHECK(!ok_of(used - 8));
    CHECK(!ok_of(used + 8));
    CHECK(!ok_of(0));
    for (uint32_t n = 0; n <= used + 16; n++) {
        v->size = n;
        CHECK_EQ(ok_of(used), n == used);
    }
    used += 4;
    v->size = used;
    CHECK(!ok_of(used));
    begin();
    v->kind = FG_RECORD_CALL;
    CHECK(!ok());
}

static void numbers_are_of_their_kind(void) {
    for (unsigned i = 0; i < 256; i++) {
        begin();
        v->phase = (uint8_t)i;
        CHECK_EQ(ok(), i < FG_PHASE_COUNT);
        begin();
        v->outcome = (uint8_t)i;
        v->status = 200;
        CHECK_EQ(ok(), i <= FG_OUTCOME_NONE);
    }
    for (unsigned outcome = 0; outcome <= FG_OUTCOME_NONE; outcome++)
        for (unsigned status = 0; status < 1000; status++) {
            begin();
            v->outcome = (uint8_t)outcome;
            v->status = (uint16_t)status;
            CHECK_EQ(ok(), (status >= 200 && status <= 599) || (status == 0 && outcome != FG_OUTCOME_REPLY));
        }
}

static void references_stay_inside(void) {
    static const struct { uint32_t off, len; bool good; } refs[] = {
        {0, 0, true}, {0, 1, true}, {sizeof *v, 0, true}, {sizeof *v + 8, 0, true}, {sizeof *v, 8, true}, {sizeof *v, 9, false},
        {sizeof *v + 8, 1, false}, {sizeof *v + 9, 0, false}, {0xffffffff, 1, false}, {0xfffffff8, 0x10, false}, {8, 0xffffffff, false},
    };
    for (unsigned i = 0; i < FG_COUNT_OF(refs); i++) {
        begin();
        put_text("/a234567"); /* a target, where one is asked for */
        v->body = (struct fg_ref){refs[i].off, refs[i].len};
        CHECK_EQ(ok(), refs[i].good);
        begin();
        v->edits.remove = put_array(1, sizeof(struct fg_ref));
        struct fg_ref name = {refs[i].off, refs[i].len};
        memcpy(record + sizeof *v, &name, sizeof name);
        if (!refs[i].good)
            CHECK(!ok());
    }
    struct fg_ref *arrays[] = {&v->edits.set, &v->edits.add, &v->edits.remove};
    for (unsigned i = 0; i < FG_COUNT_OF(arrays); i++) {
        uint32_t size = i < 2 ? sizeof(struct fg_img_pair) : sizeof(struct fg_ref);
        begin();
        *arrays[i] = (struct fg_ref){sizeof *v + 8, 0};
        used += 8;
        CHECK(ok());
        arrays[i]->off = sizeof *v + 4;
        CHECK(!ok()); /* not aligned */
        begin();
        *arrays[i] = put_array(2, size);
        for (uint32_t at = 0; at < 2; at++)
            *(struct fg_ref *)(record + arrays[i]->off + at * size) = put_text("a");
        CHECK(ok());
        arrays[i]->len = (used - arrays[i]->off) / size + 1;
        CHECK(!ok());
        arrays[i]->len = 0x10000000 + 2; /* whose bytes are few in 32 bits */
        CHECK(!ok());
    }
}

static void names_are_tokens_that_are_nobody_elses(void) {
    for (int removed = 0; removed < 2; removed++) {
        for (unsigned c = 0; c < 256; c++) {
            char name[] = {'a', (char)c, 'b'};
            bool token = c && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", (int)c);
            CHECK_EQ(name_is_ok(name, 3, removed), token);
        }
        static const char *const ours[] = {"connection", "Content-Length", "HOST", "http2-settings", "Keep-Alive",
                                           "proxy-connection", "te", "Trailer", "TRANSFER-ENCODING", "upgrade"};
        for (unsigned i = 0; i < FG_COUNT_OF(ours); i++) {
            char longer[40];
            snprintf(longer, sizeof longer, "%ss", ours[i]);
            CHECK(!name_is_ok(ours[i], (uint32_t)strlen(ours[i]), removed));
            CHECK(name_is_ok(longer, (uint32_t)strlen(longer), removed));
            CHECK(name_is_ok(ours[i], (uint32_t)strlen(ours[i]) - 1, removed));
        }
        CHECK(!name_is_ok("", 0, removed));
    }
}

static void values_have_no_line_ends(void) {
    for (unsigned c = 0; c < 256; c++) {
        char value[] = {'a', (char)c};
        CHECK_EQ(value_is_ok(value, 2), c == '\t' || (c >= 0x20 && c != 0x7f));
    }
    CHECK(value_is_ok("", 0));
}

static void targets_and_authorities(void) {
    static const struct { const char *text; bool target, authority; } cases[] = {
        {"", true, true}, {"/", true, false}, {"/a?b=c/d", true, false}, {"*", true, true}, {"**", false, true},
        {"a", false, true}, {"a.example:80", false, true}, {"[::1]:80", false, true}, {"/a b", false, false},
        {"/a\r\n", false, false}, {"/\x7f", false, false}, {"/\x80", false, false}, {"a@b", false, false}, {"a?b", false, false},
        {"a#b", false, false}, {"a\\b", false, false}, {"a\"b", false, false}, {"a,b", false, false}, {"a\tb", false, false},
    };
    for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
        begin();
        v->target = put_text(cases[i].text);
        CHECK_EQ(ok(), cases[i].target);
        begin();
        v->authority = put_text(cases[i].text);
        CHECK_EQ(ok(), cases[i].authority);
    }
}

/* What a record costs to look at and to apply grows with its size, whatever its references say. */
static void edits_are_bounded(void) {
    for (uint32_t n = FG_MAX_FIELDS; n <= FG_MAX_FIELDS + 1; n++) {
        begin();
        v->edits.remove = put_array(n, sizeof(struct fg_ref));
        for (uint32_t i = 0; i < n; i++)
            ((struct fg_ref *)(record + v->edits.remove.off))[i] = put_text("a");
        CHECK_EQ(ok(), n == FG_MAX_FIELDS);
    }
    for (uint32_t n = 3; n <= 4; n++) { /* the same text, as often as it fits into the record's size */
        begin();
        v->edits.remove = put_array(n, sizeof(struct fg_ref));
        struct fg_ref name = put_text("a");
        while (used < 4 * (sizeof *v + 32))
            name.len += put_text("a").len;
        used = 4 * (sizeof *v + 32);
        name.len = used / 4 + (n == 4);
        for (uint32_t i = 0; i < n; i++)
            ((struct fg_ref *)(record + v->edits.remove.off))[i] = name;
        CHECK_EQ(ok(), n == 3);
    }
}

int main(void) {
    RUN(records_lie_back_to_back);
    RUN(a_record_is_whole);
    RUN(numbers_are_of_their_kind);
    RUN(references_stay_inside);
    RUN(names_are_tokens_that_are_nobody_elses);
    RUN(values_have_no_line_ends);
    RUN(targets_and_authorities);
    RUN(edits_are_bounded);
    return 0;
}
