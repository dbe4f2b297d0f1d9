#include "collector/core/metrics.h"
#include "tests/unit/core/unit.h"

#include <string.h>

enum { SEEN, LOST_A, LOST_B, WORK, HELD, LARGEST, AGE, ROWS };
static const struct weir_metric table[ROWS] = {
    [SEEN] = {"seen_total", NULL, WEIR_COUNTER, "What was seen."},
    [LOST_A] = {"lost_total", "reason=\"a\"", WEIR_COUNTER, "What was lost."},
    [LOST_B] = {"lost_total", "reason=\"b\"", WEIR_COUNTER, "What was lost."},
    [WORK] = {"work_seconds_total", NULL, WEIR_COUNTER_NS, "Work."},
    [HELD] = {"held_bytes", NULL, WEIR_GAUGE, "What is held."},
    [LARGEST] = {"largest_bytes", NULL, WEIR_GAUGE_MAX, "The largest."},
    [AGE] = {"age_seconds", NULL, WEIR_GAUGE_NS, "Age."},
};

static void sums_over_sets(void **state) {
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new();
    struct weir_metric_set *a = weir_metrics_open(metrics, table, ROWS, NULL),
                           *b = weir_metrics_open(metrics, table, ROWS, NULL);
    struct weir_metric_set *other = weir_metrics_open(metrics, table, 2, "lane=\"1\"");
    weir_count(a, SEEN, 3);
    weir_count(a, SEEN, 4);
    weir_count_shared(b, SEEN, 10);
    weir_count(other, SEEN, 100);
    weir_count(other, LOST_A, 1);
    weir_count(a, LOST_B, 5);
    weir_count(a, WORK, 1500000000);
    weir_count(b, WORK, 1000000);
    weir_gauge(a, HELD, 7);
    weir_gauge(a, HELD, 6);
    weir_gauge(b, HELD, 5);
    weir_gauge(a, LARGEST, 8);
    weir_gauge(b, LARGEST, 9);
    weir_gauge(b, AGE, 250000000);
    struct weir_buffer out = {0};
    weir_metrics_expose(metrics, &out);
    weir_buffer_byte(&out, 0);
    assert_string_equal((const char *)out.bytes, "# HELP weir_age_seconds Age.\n"
                                                 "# TYPE weir_age_seconds gauge\n"
                                                 "weir_age_seconds 0.25\n"
                                                 "# HELP weir_held_bytes What is held.\n"
                                                 "# TYPE weir_held_bytes gauge\n"
                                                 "weir_held_bytes 11\n"
                                                 "# HELP weir_largest_bytes The largest.\n"
                                                 "# TYPE weir_largest_bytes gauge\n"
                                                 "weir_largest_bytes 9\n"
                                                 "# HELP weir_lost_total What was lost.\n"
                                                 "# TYPE weir_lost_total counter\n"
                                                 "weir_lost_total{reason=\"a\"} 0\n"
                                                 "weir_lost_total{reason=\"b\"} 5\n"
                                                 "weir_lost_total{lane=\"1\",reason=\"a\"} 1\n"
                                                 "# HELP weir_seen_total What was seen.\n"
                                                 "# TYPE weir_seen_total counter\n"
                                                 "weir_seen_total 17\n"
                                                 "weir_seen_total{lane=\"1\"} 100\n"
                                                 "# HELP weir_work_seconds_total Work.\n"
                                                 "# TYPE weir_work_seconds_total counter\n"
                                                 "weir_work_seconds_total 1.501\n");
    weir_metrics_close(metrics, a);
    weir_metrics_close(metrics, NULL);
    weir_buffer_clear(&out);
    weir_metrics_expose(metrics, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((const char *)out.bytes, "\nweir_seen_total 10\n")); /* what is closed is gone */
    weir_buffer_free(&out);
    weir_metrics_free(metrics); /* with what is still open */
    weir_metrics_free(NULL);
}

static void refresh_seen(struct weir_metric_set *set, void *self) {
    weir_gauge(set, SEEN, ++*(unsigned *)self);
}

static void refreshed_before_each_read(void **state) {
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new();
    unsigned reads = 0;
    weir_metrics_refresh(metrics, weir_metrics_open(metrics, table, 1, NULL), refresh_seen, &reads);
    struct weir_buffer out = {0};
    for (int i = 0; i < 3; i++) {
        weir_buffer_clear(&out);
        weir_metrics_expose(metrics, &out);
    }
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((const char *)out.bytes, "weir_seen_total 3\n"));
    weir_buffer_free(&out);
    weir_metrics_free(metrics);
}

static void nothing_open_nothing_said(void **state) {
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new();
    struct weir_buffer out = {0};
    weir_metrics_expose(metrics, &out);
    assert_false(out.failed);
    assert_int_equal(out.size, 0);
    weir_metrics_free(metrics);
}

enum { TURNS = 300 };
struct shared {
    struct weir_metrics *metrics;
    unsigned wrong;
};

static void opens_counts_scrapes(void *argument, unsigned index) {
    struct shared *shared = argument;
    if (index == 0) {
        struct weir_buffer out = {0};
        for (int i = 0; i < TURNS; i++) {
            weir_buffer_clear(&out);
            weir_metrics_expose(shared->metrics, &out);
            if (out.failed) shared->wrong++;
        }
        weir_buffer_free(&out);
        return;
    }
    for (int i = 0; i < TURNS; i++) { /* refresh reads a variable that is gone once close() has returned */
        unsigned reads = 0;
        struct weir_metric_set *set = weir_metrics_open(shared->metrics, table, ROWS, NULL);
        weir_metrics_refresh(shared->metrics, set, refresh_seen, &reads);
        for (int n = 0; n < 20; n++)
            weir_count(set, LOST_A, 1);
        weir_metrics_close(shared->metrics, set);
    }
}

static void closing_waits_for_a_scrape(void **state) {
    (void)state;
    struct shared shared = {.metrics = weir_metrics_new()};
    unit_threads(4, opens_counts_scrapes, &shared);
    assert_int_equal(shared.wrong, 0);
    weir_metrics_free(shared.metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_sets),
        cmocka_unit_test(refreshed_before_each_read),
        cmocka_unit_test(nothing_open_nothing_said),
        cmocka_unit_test(closing_waits_for_a_scrape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
