#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void near(double is, double should) {
    if (fabs(is - should) > 1e-9 * (1 + fabs(should))) fail_msg("%.17g, not %.17g", is, should);
}

static void a_counter_that_fell_began_anew(void **state) {
    (void)state;
    near(weir_top_increase(10, 25), 15);
    near(weir_top_increase(25, 10), 10);
    near(weir_top_increase(7, 7), 0);
    near(weir_top_increase(7, 0), 0);
    near(weir_top_increase(5, -3), 0);
}

/* The numbers are Prometheus' own: histogram_quantile() of its documentation's rules. */
static void quantiles_are_as_histogram_quantile_has_them(void **state) {
    (void)state;
    const double inf = (double)INFINITY, bounds[] = {0.1, 0.5, 1, inf};
    const double even[] = {10, 20, 40, 40}, beyond[] = {0, 0, 1, 10}, none[] = {0, 0, 0, 0}, first[] = {4, 4, 4, 4};
    near(weir_top_quantile(0.25, bounds, even, 4), 0.1);
    near(weir_top_quantile(0.5, bounds, even, 4), 0.5);
    near(weir_top_quantile(0.75, bounds, even, 4), 0.75);
    near(weir_top_quantile(0.99, bounds, beyond, 4), 1);
    near(weir_top_quantile(0.5, bounds, first, 4), 0.05);
    assert_true(isnan(weir_top_quantile(0.5, bounds, none, 4)));
    assert_true(isnan(weir_top_quantile(0.5, bounds, even, 3))); /* no +Inf */
    assert_true(isnan(weir_top_quantile(0.5, bounds, even, 0)));
    const double negative[] = {-1, 1, inf}, counts[] = {5, 10, 10};
    near(weir_top_quantile(0.1, negative, counts, 3), -1);
    near(weir_top_quantile(0.75, negative, counts, 3), 0);
}

#define EARLY                                                                                                          \
    OWN "weir_spans_received_total{receiver=\"grpc\"} 100\nweir_spans_received_total{receiver=\"zipkin\"} 10\n"        \
        "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"full\"} 3\n"                              \
        "weir_spans_dropped_total{exporter=\"\",where=\"join\",reason=\"merged\"} 0\n"                                 \
        "weir_ledger_imbalance_spans{exporter=\"file\"} 0\nprocess_cpu_seconds_total 5\n" OK_CALLS("pay", "a", "10")   \
            BUCKET("pay", "a", "0.1", "4") BUCKET("pay", "a", "+Inf", "10")
#define LATE                                                                                                           \
    OWN "weir_spans_received_total{receiver=\"grpc\"} 300\nweir_spans_received_total{receiver=\"zipkin\"} 10\n"        \
        "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"full\"} 7\n"                              \
        "weir_spans_dropped_total{exporter=\"\",where=\"join\",reason=\"merged\"} 6\n"                                 \
        "weir_exporter_paused{exporter=\"file\"} 1\nweir_spans_delivered_total{exporter=\"file\"} 50\n"                \
        "weir_ledger_imbalance_spans{exporter=\"file\"} 9\nprocess_cpu_seconds_total 6\n" OK_CALLS("pay", "a", "30")   \
            BAD_CALLS("pay", "a", "10") OK_CALLS("pay", "b", "40") CLIENT_CALLS("pay", "c", "5")                       \
                VARIANCE("pay", "b", "100") BUCKET("pay", "a", "0.1", "14") BUCKET("pay", "a", "+Inf", "20")           \
                    CLIENT_CALLS("cart", "d", "8")

static void numbers_are_differences_of_two_pages(void **state) {
    (void)state;
    struct weir_top_page before = page_of(10, EARLY), now = page_of(12, LATE);
    struct weir_top_numbers numbers;
    weir_top_numbers(&before, &now, 1090, &numbers);
    assert_true(numbers.rated);
    near(numbers.seconds, 2);
    near(numbers.uptime_seconds, 90);
    near(numbers.rates[WEIR_TOP_RECEIVED], 100);
    near(numbers.rates[WEIR_TOP_DROPPED] - numbers.rates[WEIR_TOP_MERGED], 2);
    near(numbers.cpu, 0.5);
    near(numbers.imbalance, 0);
    assert_string_equal(numbers.version, "1.2.3");
    assert_int_equal(numbers.exporter_count, 1);
    assert_true(numbers.exporters[0].paused);
    near(numbers.exporters[0].delivered, 25);
    near(numbers.exporters[0].dropped, 2);
    assert_int_equal(numbers.services, 2);
    near(numbers.requests, 35);
    near(numbers.failed, 5);
    weir_top_numbers(NULL, &now, 0, &numbers);
    assert_false(numbers.rated);
    near(numbers.rates[WEIR_TOP_RECEIVED], 0);
    near(numbers.uptime_seconds, 0);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static const struct weir_top_row *find(const struct weir_top_rows *rows, const char *first, const char *second) {
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->rows[i].first == name(first) && rows->rows[i].second == name(second)) return &rows->rows[i];
    }
    return NULL;
}

static void rows_are_of_services_and_of_operations(void **state) {
    (void)state;
    struct weir_top_page before = page_of(10, EARLY), now = page_of(12, LATE);
    struct weir_top_rows rows = {0};
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_SERVICES, 0, &rows));
    assert_int_equal(rows.count, 2);
    const struct weir_top_row *pay = find(&rows, "pay", "");
    near(pay->rate, 35);
    near(pay->errors, 10.0 / 70);
    near(pay->band, 1.96 * 10 / 2);
    near(pay->spans, 75.0 / 2);
    near(pay->p50, 0.05); /* 10 requests more, all within 0.1 */
    assert_true(isnan(pay->sampled) && pay->why[0] == 0);
    const struct weir_top_row *cart = find(&rows, "cart", "");
    near(cart->rate, 0);
    near(cart->spans, 4);
    assert_true(isnan(cart->errors) && isnan(cart->p99));
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_OPERATIONS, name("pay"), &rows));
    assert_int_equal(rows.count, 2); /* not c: it is what pay asks others */
    near(find(&rows, "pay", "b")->rate, 20);
    assert_true(weir_top_rows(NULL, &now, NULL, WEIR_TOP_SERVICES, 0, &rows));
    assert_true(isnan(find(&rows, "pay", "")->rate));
    weir_top_rows_free(&rows);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void operations_of_a_service_share_traces(void **state) {
    (void)state;
    struct weir_top_page before = page_of(1, "");
    struct weir_top_page now =
        page_of(3, OK_CALLS("pay", "a", "20") VARIANCE("pay", "a", "100") SERVICE_VARIANCE("pay", "a", "100")
                       OK_CALLS("pay", "b", "20") VARIANCE("pay", "b", "100") SERVICE_VARIANCE("pay", "b", "300"));
    struct weir_top_rows rows = {0};
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_SERVICES, 0, &rows));
    near(find(&rows, "pay", "")->band, 1.96 * 20 / 2);
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_OPERATIONS, 0, &rows));
    near(find(&rows, "pay", "b")->band, 1.96 * 10 / 2);
    weir_top_rows_free(&rows);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void other_bounds_give_no_percentiles(void **state) {
    (void)state;
    struct weir_top_page before =
        page_of(1, OK_CALLS("a", "x", "1") BUCKET("a", "x", "0.2", "1") BUCKET("a", "x", "+Inf", "1"));
    struct weir_top_page now =
        page_of(2, OK_CALLS("a", "x", "9") BUCKET("a", "x", "0.1", "9") BUCKET("a", "x", "+Inf", "9"));
    struct weir_top_rows rows = {0};
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_SERVICES, 0, &rows));
    near(rows.rows[0].rate, 8);
    assert_true(isnan(rows.rows[0].p50));
    weir_top_rows_free(&rows);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void calls_have_both_ends(void **state) {
    (void)state;
    struct weir_top_page before = page_of(1, "");
    struct weir_top_page now = page_of(3, CALL("traces_service_graph_request_total", "edge", "pay", "40")
                                              CALL("traces_service_graph_request_failed_total", "edge", "pay", "4")
                                                  CALL("weir_service_graph_request_variance_total", "edge", "pay",
                                                       "400") "traces_service_graph_request_client_seconds_bucket{"
                                                              "client=\"edge\",server=\"pay\",le=\"1\"} 40\n"
                                                              "traces_service_graph_request_client_seconds_bucket{"
                                                              "client=\"edge\",server=\"pay\",le=\"+Inf\"} 40\n");
    struct weir_top_rows rows = {0};
    assert_true(weir_top_rows(&before, &now, NULL, WEIR_TOP_CALLS, 0, &rows));
    assert_int_equal(rows.count, 1);
    const struct weir_top_row *row = find(&rows, "edge", "pay");
    near(row->rate, 20);
    near(row->errors, 0.1);
    near(row->band, 1.96 * 20 / 2);
    near(row->p95, 0.95);
    weir_top_rows_free(&rows);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void a_restart_is_seen(void **state) {
    (void)state;
    struct weir_top_page one = page_of(1, "process_start_time_seconds 1000\nweir_spans_received_total 50\n");
    struct weir_top_page on = page_of(2, "process_start_time_seconds 1000\nweir_spans_received_total 60\n");
    struct weir_top_page other = page_of(3, "process_start_time_seconds 2000\nweir_spans_received_total 90\n");
    struct weir_top_page fell = page_of(4, "process_start_time_seconds 1000\nweir_spans_received_total 10\n");
    assert_false(weir_top_restarted(&one, &on));
    assert_true(weir_top_restarted(&on, &other));
    assert_true(weir_top_restarted(&on, &fell));
    weir_top_page_clear(&one);
    weir_top_page_clear(&on);
    weir_top_page_clear(&other);
    weir_top_page_clear(&fell);
}

#define LOAD(operation, spans, rate)                                                                                   \
    "{\"service\":\"pay\"," operation "\"offered\":1,\"rate\":" rate                                                   \
    ",\"spans_per_second\":33,\"bytes_per_second\":1,"                                                                 \
    "\"spans_offered\":" spans ",\"bytes_offered\":1,\"proxy_cpu\":0.02,\"incident\":true}"
#define VIEW(loads)                                                                                                    \
    "{\"policy\":\"p\",\"arriving_spans_per_second\":70,\"sides\":[{\"side\":\"policy\",\"share\":1,\"plan\":{"        \
    "\"version\":\"1\",\"default\":{\"version\":\"1\",\"rate\":0.01,\"why\":\"rate\",\"since\":1,\"operations\":[]},"  \
    "\"services\":[{\"service\":\"pay\",\"version\":\"1\",\"rate\":0.5,\"why\":\"budget\",\"since\":1,"                \
    "\"operations\":[{\"operation\":\"b\",\"rate\":1,\"why\":\"pin\",\"since\":1}]}]},\"budgets\":{\"fleet\":{},"      \
    "\"services\":[]},\"loads\":[" loads "],\"estimates\":[]}],\"followers\":[]}"

static void what_proxies_are_told_is_beside_it(void **state) {
    (void)state;
    struct weir_top_page before = page_of(10, EARLY), now = page_of(12, LATE);
    struct weir_policy_view view = {.names = names};
    struct weir_error err;
    struct weir_top_rows rows = {0};
    const char *text = VIEW(LOAD("", "66", "0.5"));
    assert_int_equal(weir_policy_view_read(&view, (const uint8_t *)text, strlen(text), &err), WEIR_OK);
    assert_true(weir_top_rows(&before, &now, &view, WEIR_TOP_SERVICES, 0, &rows));
    const struct weir_top_row *pay = find(&rows, "pay", ""), *cart = find(&rows, "cart", "");
    near(pay->sampled, 0.5); /* b has another rate, and does not come */
    assert_string_equal(pay->why, "budget");
    near(pay->cost, 33);
    near(pay->proxy_cpu, 0.02);
    assert_true(pay->incident);
    near(cart->sampled, 0.01);
    assert_string_equal(cart->why, "rate");
    assert_true(isnan(cart->cost) && !cart->incident);
    assert_true(weir_top_rows(&before, &now, &view, WEIR_TOP_OPERATIONS, 0, &rows));
    near(find(&rows, "pay", "a")->sampled, 0.5);
    near(find(&rows, "pay", "b")->sampled, 1);
    assert_string_equal(find(&rows, "pay", "b")->why, "pin");
    weir_top_rows_free(&rows);
    weir_policy_view_free(&view);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void operations_with_rates_of_their_own(void **state) {
    (void)state;
    struct weir_top_page before = page_of(10, EARLY), now = page_of(12, LATE);
    struct weir_policy_view view = {.names = names};
    struct weir_error err;
    struct weir_top_rows rows = {0};
    const char *text = VIEW(LOAD("", "40", "0.5") "," LOAD("\"operation\":\"a\",", "30",
                                                           "0.5") "," LOAD("\"operation\":\"b\",", "10", "1"));
    assert_int_equal(weir_policy_view_read(&view, (const uint8_t *)text, strlen(text), &err), WEIR_OK);
    assert_true(weir_top_rows(&before, &now, &view, WEIR_TOP_SERVICES, 0, &rows));
    const struct weir_top_row *pay = find(&rows, "pay", "");
    near(pay->sampled, 25.0 / 40);
    assert_string_equal(pay->why, "by op");
    near(weir_top_told(&view.sides[0], 0, true), 25.0 / 40);
    weir_top_rows_free(&rows);
    weir_policy_view_free(&view);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void a_page_of_too_much_is_bounded(void **state) {
    (void)state;
    struct weir_names *kept = names;
    names = weir_names_new(WEIR_TOP_NAMES, WEIR_TOP_NAMES_BYTES);
    struct weir_top_page page = {.names = names};
    char line[512];
    struct weir_exposition lines = {.take = weir_top_page_take, .self = &page};
    for (int i = 0; i < WEIR_TOP_ROWS + 100; i++) {
        snprintf(line, sizeof line, OK_CALLS("s%d", "x", "1"), i);
        weir_exposition_feed(&lines, line, strlen(line));
    }
    for (int i = 0; i < WEIR_TOP_BOUNDS + 10; i++) {
        snprintf(line, sizeof line, BUCKET("s1", "x", "%d", "1"), i);
        weir_exposition_feed(&lines, line, strlen(line));
    }
    for (int i = 0; i < WEIR_TOP_EXPORTERS + 5; i++) {
        snprintf(line, sizeof line, "weir_exporter_paused{exporter=\"e%d\"} 0\n", i);
        weir_exposition_feed(&lines, line, strlen(line));
    }
    assert_int_equal(page.spans.count, WEIR_TOP_ROWS);
    assert_int_equal(page.bound_count, WEIR_TOP_BOUNDS);
    assert_int_equal(page.exporter_count, WEIR_TOP_EXPORTERS);
    assert_int_equal(page.beyond, 100 + 10 + 5);
    weir_exposition_free(&lines);
    weir_top_page_clear(&page);
    weir_names_free(names);
    names = kept;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_that_fell_began_anew),
        cmocka_unit_test(quantiles_are_as_histogram_quantile_has_them),
        cmocka_unit_test(numbers_are_differences_of_two_pages),
        cmocka_unit_test(rows_are_of_services_and_of_operations),
        cmocka_unit_test(operations_of_a_service_share_traces),
        cmocka_unit_test(other_bounds_give_no_percentiles),
        cmocka_unit_test(calls_have_both_ends),
        cmocka_unit_test(a_restart_is_seen),
        cmocka_unit_test(what_proxies_are_told_is_beside_it),
        cmocka_unit_test(operations_with_rates_of_their_own),
        cmocka_unit_test(a_page_of_too_much_is_bounded),
    };
    return cmocka_run_group_tests(tests, set_names, free_names);
}
