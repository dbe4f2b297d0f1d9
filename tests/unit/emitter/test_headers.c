/* Headers: what is read, what is refused, what is handed on. Rows of traceparent and tracestate after the W3C's own
 * test suite (trace-context, test/test.py: what it calls them is in brackets). */
#include "emitter/weir_emit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define SPAN   "b7ad6b7169203331"
#define PARENT "00-" TRACE "-" SPAN "-01"

static struct {
    struct weir_emit *emit;
    struct weir_emit_operation *operation; /* T = 2^55: one half */
} t;

static struct weir_emit_context clear(void) {
    struct weir_emit_context context;
    weir_emit_context_clear(&context);
    return context;
}

/* In a block of its own: a byte too far is seen by the sanitizer. */
static enum weir_emit_header read(struct weir_emit_context *context, const char *name, const char *value) {
    static char *kept[64]; /* contexts point into values */
    static unsigned next;
    size_t size = strlen(value);
    char *copy = malloc(size + 1);
    memcpy(copy, value, size);
    copy = realloc(copy, size > 0 ? size : 1);
    free(kept[next % 64]);
    kept[next++ % 64] = copy;
    return weir_emit_read_header(context, name, strlen(name), copy, size);
}

static void parents(void **state) {
    (void)state;
    static const char *const good[] = {
        PARENT,
        "00-" TRACE "-" SPAN "-00",
        "00-" TRACE "-" SPAN "-ff", /* [traceparent_trace_flags: bits that nobody knows] */
        "cc-" TRACE "-" SPAN "-01", /* [traceparent_version_0xcc] */
        "cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like",
        "01-" TRACE "-" SPAN "-01-",
        " \t" PARENT "\t ", /* [traceparent_ows_handling] */
    };
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN "-01.what-the-future-will-be-like", /* [traceparent_version_0x00] */
        "00-" TRACE "-" SPAN "-01-what-the-future-will-be-like",
        "cc-" TRACE "-" SPAN "-01.what-the-future-will-be-like", /* [traceparent_version_0xcc] */
        "ff-" TRACE "-" SPAN "-01",                              /* [traceparent_version_0xff] */
        ".0-" TRACE "-" SPAN "-01",                              /* [traceparent_version_illegal_characters] */
        "0.-" TRACE "-" SPAN "-01",
        "000-" TRACE "-" SPAN "-01", /* [traceparent_version_too_long] */
        "0-" TRACE "-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01", /* [traceparent_trace_id_all_zero] */
        "00-.af7651916cd43dd8448eb211c80319c-" SPAN "-01", /* [traceparent_trace_id_illegal_characters] */
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-01",   /* [traceparent_trace_id_too_short] */
        "00-0af7651916cd43dd8448eb211c80319c0-" SPAN "-01", /* [traceparent_trace_id_too_long] */
        "00-" TRACE "-0000000000000000-01",                 /* [traceparent_parent_id_all_zero] */
        "00-" TRACE "-b7ad6b716920333.-01",
        "00-" TRACE "-b7ad6b716920333-01",
        "00-" TRACE "-b7ad6b71692033311-01",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-.0",
        "00-" TRACE "-" SPAN "-0.",
        "00-" TRACE "-" SPAN "-001",
        "00_" TRACE "_" SPAN "_01",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct weir_emit_context context = clear();
        assert_int_equal(read(&context, i % 2 ? "traceparent" : "TraceParent", good[i]), WEIR_EMIT_TRACE_HEADER);
        assert_int_equal(context.trace_id[0], 0x0a);
        assert_int_equal(context.parent_id[7], 0x31);
        assert_int_equal((context.flags & WEIR_EMIT_SAMPLED) != 0, strstr(good[i], "-00") == NULL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct weir_emit_context context = clear();
        assert_int_equal(read(&context, "traceparent", bad[i]), WEIR_EMIT_BROKEN_HEADER);
        assert_int_equal(context.flags, 0);
        weir_emit_begin(t.operation, &context); /* a trace of its own [traceparent_header_missing] */
        assert_int_equal(context.flags & WEIR_EMIT_HAS_PARENT, 0);
        assert_int_equal(context.flags & WEIR_EMIT_HAS_TRACE, WEIR_EMIT_HAS_TRACE);
    }
}

/* Which of two is right, nobody can say: neither [traceparent_duplicated]. */
static void two_parents(void **state) {
    (void)state;
    static const char *const others[] = {"00-11111111111111111111111111111111-" SPAN "-01", PARENT, PARENT};
    struct weir_emit_context context = clear();
    read(&context, "x-b3-traceid", "33333333333333333333333333333333");
    read(&context, "tracestate", "foo=1");
    read(&context, "traceparent", PARENT);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(read(&context, "traceparent", others[i]), WEIR_EMIT_BROKEN_HEADER);
        assert_int_equal(context.flags, 0);
    }
    read(&context, "b3", "22222222222222222222222222222222-2222222222222222-0");
    weir_emit_begin(t.operation, &context);
    assert_int_equal(context.flags & WEIR_EMIT_HAS_PARENT, 0);
    assert_true(context.trace_id[0] != 0x0a || context.trace_id[1] != 0xf7);
    assert_true(context.trace_id[0] != 0x11 || context.trace_id[1] != 0x11);
    assert_int_equal(context.state_size, 0);
}

/* The request that came with these, as it goes on: tracestate, "" = none. */
static void passes(const char *parent, const char *state_in, const char *state_out) {
    struct weir_emit_context context = clear();
    char out[WEIR_EMIT_TRACESTATE_BYTES + 1];
    read(&context, "tracestate", state_in);
    read(&context, "traceparent", parent);
    weir_emit_begin(t.operation, &context);
    out[weir_emit_write_tracestate(&context, out)] = 0;
    assert_string_equal(out, state_out);
}

static void states(void **state) {
    (void)state;
    char many[1024] = "", wide[1024] = "";
    for (unsigned i = 1; i <= 33; i++) {
        char one[32];
        snprintf(one, sizeof one, "%sbar%02u=%02u", i > 1 ? "," : "", i, i);
        strcat(many, one);
        if (i == 32) strcpy(wide, many);
    }
    passes(PARENT, "foo=1,bar=2", "foo=1,bar=2");
    passes(PARENT, "foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"); /* [tracestate_ows_handling] */
    passes(PARENT, "foo=1,,,bar=2,", "foo=1,bar=2");                      /* [tracestate_empty] */
    passes(PARENT, "", "");
    passes(PARENT, wide, wide);
    passes(PARENT, many, ""); /* [tracestate_member_count_limit: more than 32] */
    passes(PARENT, "foo@=1,bar=2", "foo@=1,bar=2");
    passes(PARENT, "foo", ""); /* [tracestate_key_illegal_characters, and so on: the list goes whole] */
    passes(PARENT, "foo =1", "");
    passes(PARENT, "FOO=1", "");
    passes(PARENT, "foo.bar=1", "");
    passes(PARENT, "=1", "");
    passes(PARENT, "foo=", "");
    passes(PARENT, "foo=bar=baz", "");
    passes(PARENT, "foo=1,\xc3\xa4=2", "");
    passes(PARENT, "foo@bar=1,a-b_c*d/e=2", "foo@bar=1,a-b_c*d/e=2"); /* [tracestate_all_allowed_characters] */
    /* What ot says of the trace: R = 0x48eb211c80319c. */
    passes(PARENT, "ot=th:4,foo=1", "ot=th:4,foo=1");
    passes(PARENT, "foo=1,ot=th:4", "ot=th:4,foo=1");
    passes(PARENT, "ot=th:0", "ot=th:0");
    passes(PARENT, "ot=th:4000", "ot=th:4"); /* zeros at its end say nothing */
    passes(PARENT, "ot=th:3F", "");          /* lower case only */
    passes(PARENT, "ot=rv:C0000000000000", "");
    passes(PARENT, "ot=th:48eb211c80319c", "ot=th:48eb211c80319c");
    passes(PARENT, "ot=th:48eb211c80319d", ""); /* R < T, and sampled: it cannot be */
    passes(PARENT, "ot=th:8;rv:c0000000000000", "ot=th:8;rv:c0000000000000");
    passes(PARENT, "ot=rv:c0000000000000;th:8;x:y", "ot=th:8;rv:c0000000000000;x:y");
    passes(PARENT, "ot=rv:40000000000000;th:8", "ot=rv:40000000000000");
    passes(PARENT, "ot=th:123456789abcdef", ""); /* 15 digits */
    passes(PARENT, "ot=th:zz;rv:12,foo=1", "foo=1");
    passes(PARENT, "ot=x:y", "ot=x:y");
    passes("00-" TRACE "-" SPAN "-00", "ot=th:4,foo=1", "foo=1"); /* not sampled: by no T */
    passes("00-" TRACE "-" SPAN "-00", "ot=th:4;rv:11111111111111", "ot=rv:11111111111111");
}

/* A trace of its own begins, and says of itself whether it was kept. */
static void state_without_a_parent(void **state) {
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct weir_emit_context context = clear();
        char out[WEIR_EMIT_TRACESTATE_BYTES + 1];
        read(&context, "tracestate", "foo=1,ot=th:4;rv:11111111111111");
        read(&context, "traceparent", "broken");
        bool sampled = weir_emit_begin(t.operation, &context);
        out[weir_emit_write_tracestate(&context, out)] = 0;
        assert_string_equal(out, sampled ? "ot=th:8" : "");
    }
}

static void long_states(void **state) {
    (void)state;
    size_t size = 5000;
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    memcpy(text, "foo=", 4);
    struct weir_emit_context context = clear();
    assert_int_equal(read(&context, "tracestate", text), WEIR_EMIT_BROKEN_HEADER);
    /* Four members of 260 bytes: three of them find room, and the small one behind. */
    char out[WEIR_EMIT_TRACESTATE_BYTES], *at = text;
    for (unsigned i = 0; i < 4; i++) {
        at += sprintf(at, "k%u=", i);
        memset(at, 'y', 256);
        at += 256;
        *at++ = ',';
    }
    strcpy(at, "z=1");
    context = clear();
    assert_int_equal(read(&context, "tracestate", text), WEIR_EMIT_TRACE_HEADER);
    read(&context, "traceparent", PARENT);
    weir_emit_begin(t.operation, &context);
    size = weir_emit_write_tracestate(&context, out);
    assert_int_equal(size, 3 * 259 + 3 + 3);
    assert_memory_equal(out + size - 4, ",z=1", 4);
    free(text);
}

static void b3(void **state) {
    (void)state;
    static const struct {
        const char *value;
        uint32_t flags; /* 0xff: broken */
    } rows[] = {
        {TRACE "-" SPAN "-1", WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT | WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED},
        {TRACE "-" SPAN "-0", WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT | WEIR_EMIT_DECIDED},
        {TRACE "-" SPAN "-1-05e3ac9a4f6e3b90",
         WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT | WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED},
        {TRACE "-" SPAN, WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT},
        {"8448eb211c80319c-" SPAN "-d",
         WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT | WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED | WEIR_EMIT_FORCED},
        {"0", WEIR_EMIT_DECIDED},
        {"1", WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED},
        {"d", WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED | WEIR_EMIT_FORCED},
        {"", 0xff},
        {"x", 0xff},
        {"0AF7651916CD43DD8448EB211C80319C-" SPAN "-1", 0xff},
        {TRACE "-B7AD6B7169203331-1", 0xff},
        {TRACE, 0xff},
        {TRACE "-", 0xff},
        {TRACE "-" SPAN "-", 0xff},
        {TRACE "-" SPAN "-2", 0xff},
        {TRACE "-" SPAN "-1-", 0xff},
        {TRACE "-" SPAN "-1-05e3ac9a4f6e3b9", 0xff},
        {TRACE "-" SPAN "-1-05e3ac9a4f6e3b90a", 0xff},
        {TRACE "-0000000000000000-1", 0xff},
        {"0000000000000000-" SPAN "-1", 0xff},
        {TRACE "0-" SPAN "-1", 0xff},
        {"----------------------------------", 0xff},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_emit_context context = clear();
        enum weir_emit_header header = read(&context, "B3", rows[i].value);
        assert_int_equal(header, rows[i].flags == 0xff ? WEIR_EMIT_BROKEN_HEADER : WEIR_EMIT_TRACE_HEADER);
        assert_int_equal(context.flags, rows[i].flags == 0xff ? 0 : rows[i].flags);
    }
}

static void b3_in_many(void **state) {
    (void)state;
    struct weir_emit_context context = clear();
    struct weir_emit_b3 out;
    assert_int_equal(read(&context, "X-B3-Sampled", "1"), WEIR_EMIT_TRACE_HEADER);
    assert_int_equal(read(&context, "X-B3-SpanId", SPAN), WEIR_EMIT_TRACE_HEADER);
    assert_int_equal(read(&context, "x-b3-traceid", "8448eb211c80319c"), WEIR_EMIT_TRACE_HEADER);
    assert_int_equal(read(&context, "x-b3-parentspanid", "05e3ac9a4f6e3b90"), WEIR_EMIT_TRACE_HEADER);
    assert_int_equal(read(&context, "x-b3-flags", "0"), WEIR_EMIT_TRACE_HEADER);
    assert_int_equal(read(&context, "x-b3-flags", "2"), WEIR_EMIT_BROKEN_HEADER);
    assert_int_equal(read(&context, "x-b3-traceid", "8448eb211c80319"), WEIR_EMIT_BROKEN_HEADER);
    assert_int_equal(read(&context, "x-b3-sampled", "maybe"), WEIR_EMIT_BROKEN_HEADER);
    assert_int_equal(read(&context, "x-b3-other", "1"), WEIR_EMIT_OTHER_HEADER);
    assert_true(weir_emit_begin(t.operation, &context));
    weir_emit_write_b3_multi(&context, &out);
    assert_memory_equal(out.trace_id, "00000000000000008448eb211c80319c", 32);
    assert_memory_equal(out.parent_id, SPAN, 16);
    assert_true(out.has_parent && !out.forced && out.sampled == '1');
    context = clear();
    read(&context, "x-b3-sampled", "false");
    assert_false(weir_emit_begin(t.operation, &context));
    context = clear();
    read(&context, "x-b3-flags", "1");
    assert_true(weir_emit_begin(t.operation, &context));
    weir_emit_write_b3_multi(&context, &out);
    assert_true(out.forced);
}

/* In whatever order they come: traceparent, b3, X-B3. */
static void which_counts(void **state) {
    (void)state;
    static const char *const values[3][2] = {{"traceparent", "00-11111111111111111111111111111111-1111111111111111-01"},
                                             {"b3", "22222222222222222222222222222222-2222222222222222-0"},
                                             {"x-b3-traceid", "33333333333333333333333333333333"}};
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned order = 0; order < 6; order++) {
        for (unsigned present = 1; present < 8; present++) {
            struct weir_emit_context context = clear();
            for (unsigned i = 0; i < 3; i++) {
                unsigned which = orders[order][i];
                if (present >> which & 1) read(&context, values[which][0], values[which][1]);
            }
            unsigned best = present & 1 ? 0 : present & 2 ? 1 : 2;
            bool sampled = weir_emit_begin(t.operation, &context);
            assert_int_equal(context.trace_id[0], 0x11 * (best + 1));
            if (best < 2) assert_int_equal(sampled, best == 0);
        }
    }
}

static void handed_on(void **state) {
    (void)state;
    char parent[WEIR_EMIT_TRACEPARENT_BYTES + 1], single[WEIR_EMIT_B3_BYTES + 1];
    struct weir_emit_context context = clear(), child, back;
    assert_int_equal(weir_emit_write_traceparent(&context, parent), 0);
    read(&context, "traceparent", PARENT);
    assert_true(weir_emit_begin(t.operation, &context));
    weir_emit_child(t.emit, &context, &child);
    assert_memory_equal(child.parent_id, context.span_id, 8);
    assert_memory_not_equal(child.span_id, context.span_id, 8);
    parent[weir_emit_write_traceparent(&child, parent)] = 0;
    assert_int_equal(strlen(parent), 55);
    back = clear();
    assert_int_equal(read(&back, "traceparent", parent), WEIR_EMIT_TRACE_HEADER);
    assert_memory_equal(back.trace_id, context.trace_id, 16);
    assert_memory_equal(back.parent_id, child.span_id, 8);
    assert_true(back.flags & WEIR_EMIT_SAMPLED);
    single[weir_emit_write_b3(&child, single)] = 0;
    assert_int_equal(strlen(single), 68);
    back = clear();
    assert_int_equal(read(&back, "b3", single), WEIR_EMIT_TRACE_HEADER);
    assert_memory_equal(back.parent_id, child.span_id, 8);
}

/* Without a library at work requests go on as they came. */
static void handed_on_by_one_that_is_disabled(void **state) {
    (void)state;
    static const struct {
        const char *name, *in, *b3;
    } rows[] = {
        {"b3", TRACE "-" SPAN "-1", TRACE "-" SPAN "-1"},
        {"b3", TRACE "-" SPAN "-d", TRACE "-" SPAN "-d"},
        {"b3", TRACE "-" SPAN "-0-05e3ac9a4f6e3b90", TRACE "-" SPAN "-0"}, /* its parent is not kept */
        {"b3", TRACE "-" SPAN, TRACE "-" SPAN},
        {"traceparent", PARENT, TRACE "-" SPAN "-1"},
        {"b3", "0", "0"},
        {"b3", "d", "d"},
        {"x-b3-sampled", "1", "1"},
        {"accept", "*", ""},
    };
    struct weir_emit_options options;
    weir_emit_defaults(&options, sizeof options);
    options.disabled = true;
    struct weir_emit *emit = weir_emit_open(&options, NULL, 0);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_emit_context context = clear();
        struct weir_emit_b3 many;
        char single[WEIR_EMIT_B3_BYTES + 1];
        read(&context, rows[i].name, rows[i].in);
        weir_emit_begin(operation, &context);
        single[weir_emit_write_b3(&context, single)] = 0;
        assert_string_equal(single, rows[i].b3);
        weir_emit_write_b3_multi(&context, &many);
        assert_false(many.has_parent);
    }
    weir_emit_close(emit);
}

/* A trace that begins here is decided by R >= T, and says T to those behind. */
static void decided_here(void **state) {
    (void)state;
    unsigned kept = 0;
    enum { TRACES = 4000 };
    for (unsigned i = 0; i < TRACES; i++) {
        struct weir_emit_context context = clear();
        char out[WEIR_EMIT_TRACESTATE_BYTES];
        bool sampled = weir_emit_begin(t.operation, &context);
        kept += sampled;
        assert_int_equal(sampled, weir_emit_randomness(context.trace_id) >= WEIR_EMIT_NEVER / 2);
        size_t size = weir_emit_write_tracestate(&context, out);
        assert_int_equal(size, sampled ? 7 : 0);
        if (sampled) assert_memory_equal(out, "ot=th:8", 7);
    }
    assert_in_range(kept, TRACES / 2 - 200, TRACES / 2 + 200); /* six standard deviations */
    /* B3 that leaves the decision to us: by its own id. */
    struct weir_emit_context context = clear();
    read(&context, "b3", TRACE "-" SPAN);
    assert_false(weir_emit_begin(t.operation, &context));
    context = clear();
    read(&context, "b3", "0af7651916cd43dd84f8eb211c80319c-" SPAN);
    assert_true(weir_emit_begin(t.operation, &context));
    assert_int_equal(context.threshold, WEIR_EMIT_NEVER / 2);
}

static int open_emitter(void **state) {
    (void)state;
    struct weir_emit_options options;
    weir_emit_defaults(&options, sizeof options);
    options.to = "127.0.0.1:9";
    options.service = "test";
    options.initial_rate = 0.5;
    options.poll_ms = 0;
    t.emit = weir_emit_open(&options, NULL, 0);
    if (t.emit == NULL) return 1;
    t.operation = weir_emit_operation(t.emit, "GET /");
    return 0;
}
static int close_emitter(void **state) {
    (void)state;
    weir_emit_close(t.emit);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parents),
        cmocka_unit_test(states),
        cmocka_unit_test(state_without_a_parent),
        cmocka_unit_test(long_states),
        cmocka_unit_test(b3),
        cmocka_unit_test(b3_in_many),
        cmocka_unit_test(which_counts),
        cmocka_unit_test(handed_on),
        cmocka_unit_test(decided_here),
        cmocka_unit_test(two_parents),
        cmocka_unit_test(handed_on_by_one_that_is_disabled),
    };
    return cmocka_run_group_tests(tests, open_emitter, close_emitter);
}
