/* What watchers of decisions get: the lines, the filters, and what is lost to who is slow. */
#include "collector/sample/taps.h"
#include "tests/unit/core/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull

static _Atomic uint64_t now_ns;
static uint64_t now(void *self) {
    (void)self;
    return now_ns;
}
static const struct weir_clock clock_of_test = {.mono_ns = now, .unix_ns = now};

static struct rig {
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_taps *taps;
    struct weir_batch *spans;
    struct weir_trace trace;
    struct weir_verdict verdict;
    _Atomic unsigned wakes;
} rig;

static uint32_t name(const char *text) {
    return weir_names_intern(rig.names, text, strlen(text));
}

static void wake(void *self) {
    (void)self;
    atomic_fetch_add(&rig.wakes, 1);
}

static int begin(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    now_ns = 5000 * MS;
    rig.names = weir_names_new(1000, 1 << 20);
    rig.metrics = weir_metrics_new();
    rig.taps = weir_taps_new(rig.names, rig.metrics, &clock_of_test);
    weir_taps_set_deciding(rig.taps, true);
    rig.spans = weir_batch_new(NULL, 0);
    struct weir_span root = {.trace_hi = 0x4bf92f3577b34da6,
                             .trace_lo = 0xa3ce929d0e0e4736,
                             .span_id = 1,
                             .parent_id = 1, /* its own, as Linkerd 1 has it */
                             .start_ns = 1700000000ull * 1000 * MS,
                             .duration_ns = 312 * MS,
                             .threshold = WEIR_THRESHOLD_MAX / 4 * 3,
                             .prior = 2.5,
                             .service = name("edge"),
                             .operation = name("GET /\"quoted\"\n"),
                             .flags = WEIR_SPAN_ROOT,
                             .kind = WEIR_KIND_SERVER};
    struct weir_span child = root;
    child.span_id = 0xfedcba9876543210;
    child.flags = 0;
    child.start_ns -= 7;
    child.duration_ns = 3;
    child.service = name("päyments");
    child.kind = WEIR_KIND_CLIENT;
    child.status = WEIR_STATUS_ERROR;
    assert_int_equal(weir_batch_add(rig.spans, &root), WEIR_OK);
    assert_int_equal(weir_batch_add(rig.spans, &child), WEIR_OK);
    rig.trace = (struct weir_trace){.trace_hi = root.trace_hi,
                                    .trace_lo = root.trace_lo,
                                    .start_ns = root.start_ns,
                                    .end_ns = root.start_ns + root.duration_ns,
                                    .span_count = 2,
                                    .service = root.service,
                                    .operation = root.operation,
                                    .flags = WEIR_TRACE_ROOT | WEIR_TRACE_ERROR};
    rig.verdict = (struct weir_verdict){.kept = true, .rule = 0, .rule_name = name("errors"), .threshold = 0};
    return 0;
}

static int end(void **state) {
    (void)state;
    weir_batch_unref(rig.spans);
    weir_taps_free(rig.taps);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    return 0;
}

static struct weir_tap *open_tap(struct weir_tap_filter filter) {
    struct weir_tap *tap = NULL;
    struct weir_error err = {0};
    assert_int_equal(weir_tap_open(rig.taps, &filter, wake, NULL, &tap, &err), WEIR_OK);
    return tap;
}

static void offer(void) {
    weir_taps_offer(rig.taps, rig.spans, 0, &rig.trace, &rig.verdict, WEIR_CAUSE_ROOT);
}

/* All that is there, NUL-terminated, read in pieces of `piece` bytes; the caller frees. */
static char *read_all(struct weir_tap *tap, size_t piece) {
    struct weir_buffer all = {0};
    char part[8192];
    size_t size;
    while ((size = weir_tap_read(tap, part, piece)) > 0)
        weir_buffer_put(&all, part, size);
    weir_buffer_byte(&all, 0);
    return (char *)all.bytes;
}

struct seen {
    unsigned hellos, traces, pulses;
    uint64_t lost;
    json_t *last; /* trace; the caller's */
};

/* Each line is a whole JSON object of a kind that is known. */
static struct seen see(struct weir_tap *tap) {
    struct seen seen = {0};
    char *text = read_all(tap, 64 + now_ns % 1000), *end_of_line;
    for (char *line = text; *line != 0; line = end_of_line + 1) {
        end_of_line = strchr(line, '\n');
        assert_non_null(end_of_line);
        json_t *object = json_loadb(line, (size_t)(end_of_line - line), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        if (json_object_get(object, "trace") != NULL) {
            seen.traces++;
            json_decref(seen.last);
            seen.last = json_incref(object);
        } else if (json_object_get(object, "lost") != NULL) {
            seen.lost += (uint64_t)json_integer_value(json_object_get(object, "lost"));
        } else if (json_object_get(object, "pulse") != NULL) {
            seen.pulses++;
        } else {
            assert_string_equal(json_string_value(json_object_get(object, "weir")), "tail");
            seen.hellos++;
        }
        json_decref(object);
    }
    free(text);
    return seen;
}

static unsigned traces(struct weir_tap *tap) {
    struct seen seen = see(tap);
    json_decref(seen.last);
    assert_int_equal(seen.lost, 0);
    return seen.traces;
}

/* ---- tests ---- */

static void a_line_says_all_of_a_trace(void **state) {
    (void)state;
    struct weir_tap *tap = open_tap((struct weir_tap_filter){0});
    offer();
    char *text = read_all(tap, 64);
    assert_string_equal(
        text, "{\"weir\":\"tail\",\"deciding\":true}\n"
              "{\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"kept\":true,\"decided_unix_ns\":\"5000000000\","
              "\"start_unix_ns\":\"1700000000000000000\",\"duration_ns\":312000000,\"span_count\":2,\"error\":true,"
              "\"rule\":\"errors\",\"weight\":10,\"cause\":\"root\",\"service\":\"edge\","
              "\"operation\":\"GET /\\\"quoted\\\"\\u000a\",\"spans\":["
              "{\"id\":\"0000000000000001\",\"service\":\"edge\",\"operation\":\"GET /\\\"quoted\\\"\\u000a\","
              "\"kind\":\"server\",\"offset_ns\":0,\"duration_ns\":312000000},"
              "{\"id\":\"fedcba9876543210\",\"parent\":\"0000000000000001\",\"service\":\"päyments\","
              "\"operation\":\"GET /\\\"quoted\\\"\\u000a\",\"kind\":\"client\",\"offset_ns\":-7,\"duration_ns\":3,"
              "\"error\":true}]}\n");
    free(text);
    /* 64 bits, no time, no spans, dropped. */
    rig.trace.trace_hi = rig.trace.start_ns = rig.trace.end_ns = 0;
    rig.trace.flags = 0;
    rig.verdict.kept = false;
    struct weir_tap *dropped = open_tap((struct weir_tap_filter){.dropped = true});
    weir_taps_offer(rig.taps, NULL, 0, &rig.trace, &rig.verdict, WEIR_CAUSE_MEMORY);
    assert_int_equal(traces(tap), 0);
    text = read_all(dropped, 8192);
    assert_string_equal(
        strchr(text, '\n') + 1,
        "{\"trace\":\"a3ce929d0e0e4736\",\"kept\":false,\"decided_unix_ns\":\"5000000000\","
        "\"duration_ns\":0,\"span_count\":2,\"rule\":\"errors\",\"cause\":\"memory\",\"service\":\"edge\","
        "\"operation\":\"GET /\\\"quoted\\\"\\u000a\",\"spans\":[]}\n");
    free(text);
    weir_tap_close(tap);
    weir_tap_close(dropped);
}

static void filters(void **state) {
    (void)state;
    const struct {
        struct weir_tap_filter filter;
        unsigned matches, after; /* as it is; without error, slow part and rule */
    } rows[] = {
        {{.service = "edge"}, 1, 1},
        {{.service = "päyments"}, 1, 1}, /* any of its spans */
        {{.service = "bank"}, 0, 0},
        {{.rule = "errors"}, 1, 0},
        {{.rule = "rest"}, 0, 1},
        {{.errors = true}, 1, 0},
        {{.min_duration_ns = 312 * MS}, 1, 0},
        {{.min_duration_ns = 312 * MS + 1}, 0, 0},
        {{.service = "edge", .rule = "errors", .errors = true, .min_duration_ns = MS}, 1, 0},
        {{.service = "edge", .rule = "rest", .errors = true}, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_tap *tap = open_tap(rows[i].filter);
        offer();
        assert_int_equal(traces(tap), rows[i].matches);
        struct weir_trace trace = rig.trace;
        struct weir_verdict verdict = rig.verdict;
        rig.trace.flags = WEIR_TRACE_ROOT;
        rig.trace.end_ns = rig.trace.start_ns + 311 * MS;
        rig.verdict.rule_name = name("rest");
        offer();
        assert_int_equal(traces(tap), rows[i].after);
        rig.trace = trace;
        rig.verdict = verdict;
        weir_tap_close(tap);
    }
    /* A service that nobody has named yet, when the watcher comes. */
    struct weir_tap *tap = open_tap((struct weir_tap_filter){.service = "later"});
    offer();
    assert_int_equal(traces(tap), 0);
    rig.spans->spans[1].service = name("later");
    offer();
    assert_int_equal(traces(tap), 1);
    weir_tap_close(tap);
}

static void dropped_ones_only_for_who_asks(void **state) {
    (void)state;
    assert_false(weir_taps_wanted(NULL));
    assert_false(weir_taps_wanted(rig.taps));
    struct weir_tap *kept = open_tap((struct weir_tap_filter){0});
    assert_true(weir_taps_wanted(rig.taps));
    assert_false(weir_taps_dropped_wanted(rig.taps));
    struct weir_tap *both = open_tap((struct weir_tap_filter){.dropped = true});
    assert_true(weir_taps_dropped_wanted(rig.taps));
    offer();
    rig.verdict.kept = false;
    offer();
    assert_int_equal(traces(kept), 1);
    assert_int_equal(traces(both), 2);
    weir_tap_close(both);
    assert_false(weir_taps_dropped_wanted(rig.taps));
    weir_tap_close(kept);
    assert_false(weir_taps_wanted(rig.taps));
    offer(); /* nobody is there */
}

static void without_keep_the_first_line_says_so(void **state) {
    (void)state;
    weir_taps_set_deciding(rig.taps, false);
    struct weir_tap *tap = open_tap((struct weir_tap_filter){0});
    char *text = read_all(tap, 8192);
    json_t *first = json_loads(text, 0, NULL);
    assert_true(json_is_false(json_object_get(first, "deciding")));
    assert_non_null(strstr(json_string_value(json_object_get(first, "note")), "no keep:"));
    json_decref(first);
    free(text);
    weir_tap_pulse(tap);
    weir_taps_set_deciding(rig.taps, true);
    weir_tap_pulse(tap); /* one is enough */
    text = read_all(tap, 8192);
    assert_string_equal(text, "{\"pulse\":\"5000000000\",\"deciding\":false}\n");
    free(text);
    weir_tap_close(tap);
}

static void watchers_are_few(void **state) {
    (void)state;
    struct weir_tap *open[WEIR_TAPS_MAX], *more = NULL;
    struct weir_error err = {0};
    for (unsigned i = 0; i < WEIR_TAPS_MAX; i++)
        open[i] = open_tap((struct weir_tap_filter){0});
    struct weir_tap_filter any = {0};
    assert_int_equal(weir_tap_open(rig.taps, &any, wake, NULL, &more, &err), WEIR_FULL);
    assert_null(more);
    offer();
    weir_tap_close(open[3]); /* with lines that nobody read */
    open[3] = open_tap(any);
    for (unsigned i = 0; i < WEIR_TAPS_MAX; i++) {
        assert_int_equal(traces(open[i]), i == 3 ? 0 : 1);
        weir_tap_close(open[i]);
    }
}

static uint64_t lost_total(void) {
    struct weir_buffer page = {0};
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    const char *row = strstr((const char *)page.bytes, "\nweir_tail_watch_lost_total ");
    assert_non_null(row);
    uint64_t value = strtoull(row + strlen("\nweir_tail_watch_lost_total "), NULL, 10);
    weir_buffer_free(&page);
    return value;
}

static void a_slow_watcher_loses_and_is_told(void **state) {
    (void)state;
    struct weir_tap *slow = open_tap((struct weir_tap_filter){0}), *quick = open_tap((struct weir_tap_filter){0});
    enum { OFFERS = 6000 };
    unsigned got = 0;
    for (unsigned i = 0; i < OFFERS; i++) {
        now_ns += 2 * MS;
        offer();
        got += traces(quick);
    }
    assert_int_equal(got, OFFERS);
    struct seen seen = see(slow);
    assert_true(seen.traces > 1000); /* 2 MiB of them */
    assert_int_equal(seen.traces + seen.lost, OFFERS);
    assert_int_equal(lost_total(), seen.lost);
    json_decref(seen.last);
    offer(); /* it has room again */
    assert_int_equal(traces(slow), 1);
    weir_tap_close(slow);
    weir_tap_close(quick);
}

/* What was lost is told to the last byte, however little room its reader has at a time. */
static void a_notice_of_what_was_lost_comes_in_parts(void **state) {
    (void)state;
    struct weir_tap *tap = open_tap((struct weir_tap_filter){0});
    for (unsigned i = 0; i < 2 * WEIR_TAP_TRACES_PER_SECOND; i++)
        offer();
    free(read_all(tap, 4096)); /* the traces, and a notice between two of them */
    offer();                   /* of a second that is used up */
    char *text = read_all(tap, 3);
    assert_string_equal(text, "{\"lost\":1}\n");
    free(text);
    weir_tap_close(tap);
}

static void a_watcher_cannot_ask_for_more_than_so_many_a_second(void **state) {
    (void)state;
    struct weir_tap *tap = open_tap((struct weir_tap_filter){0});
    unsigned got = 0, lost = 0;
    for (unsigned i = 0; i < 3 * WEIR_TAP_TRACES_PER_SECOND; i++) {
        offer();
        struct seen seen = see(tap);
        got += seen.traces;
        lost += (unsigned)seen.lost;
        json_decref(seen.last);
    }
    assert_int_equal(got, WEIR_TAP_TRACES_PER_SECOND);
    assert_int_equal(lost, 2 * WEIR_TAP_TRACES_PER_SECOND);
    now_ns += 1000 * MS;
    unsigned wakes = rig.wakes;
    offer();
    assert_int_equal(rig.wakes, wakes + 1);
    assert_int_equal(traces(tap), 1);
    weir_tap_close(tap);
}

static void a_large_trace_is_cut_and_its_errors_are_in_it(void **state) {
    (void)state;
    struct weir_span span = rig.spans->spans[1];
    span.status = WEIR_STATUS_UNSET;
    for (unsigned i = 0; i < 5000; i++) {
        span.span_id = 100 + i;
        span.status = i % 100 == 99 ? WEIR_STATUS_ERROR : WEIR_STATUS_UNSET;
        weir_batch_add(rig.spans, &span);
    }
    rig.trace.span_count = rig.spans->span_count;
    struct weir_tap *tap = open_tap((struct weir_tap_filter){0});
    offer();
    struct seen seen = see(tap);
    assert_int_equal(json_integer_value(json_object_get(seen.last, "span_count")), 5002);
    json_t *spans = json_object_get(seen.last, "spans"), *one;
    assert_int_equal(json_array_size(spans), WEIR_TAP_SPANS_MAX);
    unsigned errors = 0;
    size_t index;
    json_array_foreach(spans, index, one) errors += json_is_true(json_object_get(one, "error"));
    assert_int_equal(errors, 51);
    assert_string_equal(json_string_value(json_object_get(json_array_get(spans, 0), "id")), "0000000000000001");
    json_decref(seen.last);
    weir_tap_close(tap);
}

/* ---- lanes, watchers that come and go, and one that reads ---- */

enum { LANES = 3, OFFERS = 20000 };
static struct weir_tap *steady;
static _Atomic unsigned lanes_left, wrong;
static uint64_t steady_traces, steady_lost;

static void count_lines(char *text, size_t size) {
    for (char *line = text; line < text + size;) {
        char *behind = memchr(line, '\n', (size_t)(text + size - line));
        if (behind == NULL) {
            atomic_fetch_add(&wrong, 1);
            return;
        }
        if (strncmp(line, "{\"trace\"", 8) == 0) steady_traces++;
        if (strncmp(line, "{\"lost\":", 8) == 0) steady_lost += strtoull(line + 8, NULL, 10);
        line = behind + 1;
    }
}

static void take_part(void *argument, unsigned index) {
    (void)argument;
    if (index < LANES) {
        struct weir_trace trace = rig.trace;
        struct weir_verdict verdict = rig.verdict;
        for (unsigned i = 0; i < OFFERS; i++) {
            atomic_fetch_add(&now_ns, MS / 8);
            trace.trace_lo = i;
            verdict.kept = i % 4 != 0;
            if (!weir_taps_wanted(rig.taps)) atomic_fetch_add(&wrong, 1); /* one watches all the time */
            weir_taps_offer(rig.taps, weir_taps_dropped_wanted(rig.taps) || verdict.kept ? rig.spans : NULL, 0, &trace,
                            &verdict, WEIR_CAUSE_WAIT);
        }
        atomic_fetch_sub(&lanes_left, 1);
    } else if (index == LANES) { /* reads all, in blocks that end where lines do or not */
        static char text[4 << 20];
        size_t size = 0, read;
        while (true) {
            bool last = lanes_left == 0;
            while (size + 1024 < sizeof text && (read = weir_tap_read(steady, text + size, 1024)) > 0)
                size += read;
            if (size > 0 && text[size - 1] == '\n') {
                count_lines(text, size);
                size = 0;
            }
            if (last && size == 0) return;
        }
    } else {
        while (lanes_left > 0) {
            struct weir_tap_filter filter = {.dropped = true};
            struct weir_tap *tap = NULL;
            char text[1000];
            if (weir_tap_open(rig.taps, &filter, wake, NULL, &tap, NULL) != WEIR_OK) continue;
            weir_tap_read(tap, text, sizeof text);
            weir_tap_close(tap);
        }
    }
}

static void many_lanes_and_watchers(void **state) {
    (void)state;
    steady = open_tap((struct weir_tap_filter){0});
    lanes_left = LANES;
    wrong = 0;
    unit_threads(LANES + 3, take_part, NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(steady_traces + steady_lost, LANES * OFFERS / 4 * 3);
    assert_true(steady_traces > 0);
    weir_tap_close(steady);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_line_says_all_of_a_trace),
        TEST(filters),
        TEST(dropped_ones_only_for_who_asks),
        TEST(without_keep_the_first_line_says_so),
        TEST(watchers_are_few),
        TEST(a_slow_watcher_loses_and_is_told),
        TEST(a_notice_of_what_was_lost_comes_in_parts),
        TEST(a_watcher_cannot_ask_for_more_than_so_many_a_second),
        TEST(a_large_trace_is_cut_and_its_errors_are_in_it),
        TEST(many_lanes_and_watchers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
