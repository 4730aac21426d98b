/* What verdicts say that filters did and said: which of it is well-formed, what is counted, and what waits for the log line. */
#include "fg_filter_seen.c"

#include "fg_test.h"

static struct fg_engine *e;
static struct fg_down down;
static struct fg_req req;
static struct fg_filtering x;

static _Alignas(8) uint8_t record[1 << 16];
static struct fg_verdict *const v = (struct fg_verdict *)record;

static void begin(void) {
    memset(record, 0, sizeof record);
    *v = (struct fg_verdict){.size = sizeof *v, .kind = FG_RECORD_VERDICT, .outcome = FG_OUTCOME_NONE};
}

static struct fg_ref put(const void *p, size_t n) {
    struct fg_ref ref = {v->size, (uint32_t)n};
    memcpy(record + v->size, p, n);
    v->size += (uint32_t)n;
    return ref;
}

/* An array of one record. */
static struct fg_ref one(const void *p, size_t n) {
    v->size = FG_ALIGN_UP(v->size, 8u);
    struct fg_ref ref = {put(p, n).off, 1};
    return ref;
}

static bool ok(void) {
    v->size = FG_ALIGN_UP(v->size, 8u);
    uint8_t *copy = malloc(v->size);
    memcpy(copy, record, v->size);
    bool well_formed = fg_verdict_ok(copy, v->size);
    free(copy);
    return well_formed;
}

static bool say(const char *name, const char *value) {
    begin();
    struct fg_img_pair pair = {put(name, strlen(name)), put(value, strlen(value))};
    v->fields = one(&pair, sizeof pair);
    if (!ok())
        return false;
    fg_filter_said(&x, v);
    return true;
}

static void what_may_be_said(void) {
    static const char *const good[] = {
        "0",     "-0",  "17",       "-1.50", "1e16",  "1E+16", "0.5e-7",     "true",          "false",
        "\"\"", "\"a\"", "\" ~\"", "\"\\\"\"", "\"\\\\\"", "\"\\/\\b\\f\\n\\r\\t\"", "\"\\u20aC\"", "\"\\ud800x\"",
    };
    static const char *const bad[] = {
        "null",   "{}",      "[1]",        "\"",        "\"a",         "a",      "a\"",        "\"a\"b\"", "\"\\\"", "\"\\x\"",
        "\"\\u\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u123\"", "\"\n\"",   "\"\x7f\"", "\"\xc3\xa4\"", "01",       "-",      "+1",
        "1.",     ".5",      "1e",         "1e+",       "0x10",        "1 ",     " 1",         "1,\"a\":2", "truey",  "True",
        "NaN",    "-Infinity", "1\"",      "\"\\",      "\"\\u1234",   "--1",    "1.e5",       "\"a\",",
    };
    for (unsigned i = 0; i < FG_COUNT_OF(good); i++)
        CHECK(say("a", good[i]) || (fprintf(stderr, "%s\n", good[i]), false));
    for (unsigned i = 0; i < FG_COUNT_OF(bad); i++)
        CHECK(!say("a", bad[i]) || (fprintf(stderr, "%s\n", bad[i]), false));
    char longest[FG_NAME_MAX + 2] = "";
    memset(longest, 'a', FG_NAME_MAX);
    CHECK(say(longest, "1"));
    longest[FG_NAME_MAX] = 'a';
    CHECK(!say(longest, "1"));
    CHECK(!say("", "1"));
    CHECK(!say("a-b", "1"));
    CHECK(!say("a\"", "1"));
    fg_buf_release(&e->pool, &x.said);
}

static void references_that_leave_the_record(void) {
    const struct fg_ref outside[] = {{UINT32_MAX - 7, 1}, {8, UINT32_MAX}, {sizeof *v, 1}, {4, 1}};
    for (unsigned i = 0; i < FG_COUNT_OF(outside); i++) {
        struct fg_ref *const arrays[] = {&v->spent, &v->counts, &v->fields};
        for (unsigned j = 0; j < FG_COUNT_OF(arrays); j++) {
            begin();
            *arrays[j] = outside[i];
            CHECK(!ok());
        }
        begin();
        struct fg_count count = {1, outside[i], 0, 0};
        count.name.len += count.name.len < 100 ? 100 : 0;
        v->counts = one(&count, sizeof count);
        CHECK(!ok());
    }
}

/* The fields as a log line has them. */
static const char *fields(void) {
    static char out[2 * FG_FILTER_SAID];
    struct fg_bytes name, value;
    size_t n = 0;
    for (uint32_t at = 0; fg_filter_field(&req, &at, &name, &value);)
        n += (size_t)snprintf(out + n, sizeof out - n, "%.*s=%.*s ", (int)name.len, (const char *)name.p, (int)value.len,
                              (const char *)value.p);
    out[n] = 0;
    return out;
}

static void the_last_value_of_a_name_counts(void) {
    CHECK_BYTES(fields(), strlen(fields()), "");
    CHECK(say("a", "1") && say("b", "\"two\"") && say("c", "3"));
    CHECK_BYTES(fields(), strlen(fields()), "a=1 b=\"two\" c=3 ");
    CHECK(say("b", "22"));
    CHECK_BYTES(fields(), strlen(fields()), "a=1 c=3 b=22 ");
    CHECK(say("a", ""));
    CHECK(say("none", ""));
    CHECK_BYTES(fields(), strlen(fields()), "c=3 b=22 ");
    CHECK(say("c", "") && say("b", ""));
    CHECK_BYTES(fields(), strlen(fields()), "");
    fg_buf_release(&e->pool, &x.said);
}

static void fields_have_a_bounded_size(void) {
    static char text[FG_FILTER_SAID];
    memset(text, '1', sizeof text - 1);
    CHECK(say("a", text)); /* has no room beside its name */
    CHECK_BYTES(fields(), strlen(fields()), "");
    text[FG_FILTER_SAID - sizeof(struct said) - 1] = 0;
    CHECK(say("a", text));
    CHECK_EQ(x.said.end, FG_FILTER_SAID);
    CHECK(say("b", "1")); /* there is no room for it */
    CHECK_EQ(x.said.end, FG_FILTER_SAID);
    CHECK(say("a", "1") && say("b", "2"));
    CHECK_BYTES(fields(), strlen(fields()), "a=1 b=2 ");
    fg_buf_release(&e->pool, &x.said);
}

static void filters_that_nobody_knows_count_nothing(void) {
    e->stats->nfilters = 2;
    struct fg_spent spent[] = {{5000, 1, 0}, {7000, 2, 1}, {9000, UINT32_MAX, 1}};
    begin();
    struct fg_count counts[] = {{3, put("hits", 4), 1, 0}, {4, put("hits", 4), 2, 0}};
    v->counts = (struct fg_ref){one(counts, sizeof counts).off, 2};
    v->spent = (struct fg_ref){one(spent, sizeof spent).off, 3};
    CHECK(ok());
    CHECK(!fg_filter_reported(e, v));
    CHECK_EQ(e->stats->filters[1].latency_sum_ns, 5000);
    CHECK_EQ(e->stats->filters[1].names[0].n, 3);
    CHECK_EQ(e->stats->filters[2].latency_sum_ns, 0);
    CHECK_EQ(e->stats->filters[2].nnames, 0);
    CHECK_EQ(e->stats->c.filter_failures, 0);
    ((struct fg_spent *)(record + v->spent.off))->failed = 1;
    CHECK(fg_filter_reported(e, v));
    CHECK_EQ(e->stats->filters[1].errors[FG_ERROR_FILTER_FAILED], 1);
    CHECK_EQ(e->stats->c.filter_failures, 1);
}

int main(void) {
    e = calloc(1, sizeof *e);
    e->stats = calloc(1, sizeof *e->stats);
    fg_pool_init(&e->pool, 0);
    down.e = e;
    req.down = &down;
    req.filtering = &x;
    x.r = &req;
    RUN(what_may_be_said);
    RUN(references_that_leave_the_record);
    RUN(the_last_value_of_a_name_counts);
    RUN(fields_have_a_bounded_size);
    RUN(filters_that_nobody_knows_count_nothing);
    fg_pool_fini(&e->pool);
    free(e->stats);
    free(e);
    return 0;
}
