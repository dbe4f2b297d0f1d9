#include "house.h"

#include <math.h>

static struct house *house_of(uint32_t lanes) {
    struct weir_aggregate_config config = house_config();
    return house_open(&config, lanes);
}

static struct weir_span span_of(struct house *house, const char *service, const char *operation, enum weir_kind kind,
                                uint64_t duration_ns) {
    return (struct weir_span){.trace_lo = 1,
                              .span_id = 2,
                              .duration_ns = duration_ns,
                              .prior = 1,
                              .service = house_name(house, service),
                              .operation = house_name(house, operation),
                              .kind = (uint8_t)kind,
                              .flags = WEIR_SPAN_ROOT};
}

#define CART "service=\"cart\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /\",status_code="

static void an_exemplar_is_of_what_was_counted(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span counted = span_of(house, "cart", "GET /", WEIR_KIND_SERVER, WEIR_MS), elsewhere = counted;
    struct weir_buffer page = {0};
    elsewhere.flags |= WEIR_SPAN_UNCOUNTED; /* its series is another Weir's; the counted one's here has its labels */
    house_span(house, 0, &counted);
    for (int turn = 0; turn < 2; turn++) {
        weir_shard_exemplar(weir_aggregate_shard(house->aggregate, 0), turn == 0 ? &elsewhere : &counted, 5 * WEIR_S);
        weir_buffer_clear(&page);
        weir_aggregate_expose(house->aggregate, true, &page);
        weir_buffer_byte(&page, 0);
        assert_int_equal(strstr((const char *)page.bytes, "trace_id") != NULL, turn);
    }
    weir_buffer_free(&page);
    house_close(house);
}

static void spans_are_counted_by_service_name_kind_and_status(void **state) {
    (void)state;
    struct house *house = house_of(2);
    struct weir_span span = span_of(house, "cart", "GET /", WEIR_KIND_SERVER, 250 * WEIR_MS);
    for (uint32_t i = 0; i < 10; i++)
        house_span(house, i % 2, &span);
    span.status = WEIR_STATUS_ERROR;
    span.duration_ns = 10 * WEIR_MS; /* on a bound: le is inclusive */
    house_span(house, 0, &span);
    span.kind = 77; /* no such kind */
    span.status = 99;
    span.duration_ns = UINT64_MAX;
    house_span(house, 0, &span);
    assert_series(house, "traces_spanmetrics_calls_total{" CART "\"STATUS_CODE_UNSET\"}", 10);
    assert_series(house, "traces_spanmetrics_calls_total{" CART "\"STATUS_CODE_ERROR\"}", 1);
    assert_series(house, "traces_spanmetrics_latency_bucket{" CART "\"STATUS_CODE_UNSET\",le=\"0.1\"}", 0);
    assert_series(house, "traces_spanmetrics_latency_bucket{" CART "\"STATUS_CODE_UNSET\",le=\"1\"}", 10);
    assert_series(house, "traces_spanmetrics_latency_bucket{" CART "\"STATUS_CODE_ERROR\",le=\"0.01\"}", 1);
    assert_series(house, "traces_spanmetrics_latency_sum{" CART "\"STATUS_CODE_UNSET\"}", 2.5);
    assert_series(house, "traces_spanmetrics_latency_count{" CART "\"STATUS_CODE_UNSET\"}", 10);
    assert_series(house, "weir_spanmetrics_calls_variance_total{" CART "\"STATUS_CODE_UNSET\"}", 0);
    assert_series(
        house,
        "traces_spanmetrics_latency_bucket{service=\"cart\",span_kind=\"SPAN_KIND_UNSPECIFIED\",span_name=\"GET /\","
        "status_code=\"STATUS_CODE_UNSET\",le=\"1\"}",
        0);
    house_close(house);
}

static void a_weighted_span_stands_for_many(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span span = span_of(house, "cart", "GET /", WEIR_KIND_SERVER, WEIR_S);
    span.threshold = WEIR_THRESHOLD_MAX / 4 * 3; /* one in four */
    span.prior = 2.5;
    house_span(house, 0, &span);
    assert_series(house, "traces_spanmetrics_calls_total{" CART "\"STATUS_CODE_UNSET\"}", 10);
    assert_series(house, "traces_spanmetrics_latency_sum{" CART "\"STATUS_CODE_UNSET\"}", 10);
    assert_series(house, "weir_spanmetrics_calls_variance_total{" CART "\"STATUS_CODE_UNSET\"}", 10 * 9);
    span.service = house_name(house, "liar");
    const double claims[] = {1e308, __builtin_inf(), __builtin_nan(""), 0, -5};
    for (int i = 0; i < 5; i++) {
        span.prior = claims[i];
        house_span(house, 0, &span);
    }
    assert_null(strstr(strstr(house_page(house), "service=\"liar\""), "} +Inf"));
    assert_null(strstr(house_page(house), "NaN"));
    assert_null(strstr(house_page(house), " -"));
    house_close(house);
}

#define CART_PART(operation, status)                                                                                   \
    "weir_spanmetrics_service_variance_total{service=\"cart\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation   \
    "\",status_code=\"STATUS_CODE_" status "\"}"

/* Two requests of one trace are counted twice or not at all, whatever they ask for: 2 squared times w (w - 1). */
static void requests_of_a_trace_count_together_in_their_service(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span span = span_of(house, "cart", "GET /", WEIR_KIND_SERVER, WEIR_S);
    span.prior = 10;
    house_span(house, 0, &span);
    span.operation = house_name(house, "POST /");
    span.kind = WEIR_KIND_CONSUMER;
    house_span(house, 0, &span);
    span.kind = WEIR_KIND_SERVER;
    span.status = WEIR_STATUS_ERROR; /* failures are a number of their own */
    house_span(house, 0, &span);
    span.service = house_name(house, "other");
    house_span(house, 0, &span);
    span.kind = WEIR_KIND_CLIENT; /* what it asks of others is no request of it */
    house_span(house, 0, &span);
    assert_series(house, CART_PART("GET /", "UNSET"), 90);
    assert_series(house,
                  "weir_spanmetrics_service_variance_total{service=\"cart\",span_kind=\"SPAN_KIND_CONSUMER\",span_name="
                  "\"POST /\",status_code=\"STATUS_CODE_UNSET\"}",
                  3 * 90);
    assert_series(house, CART_PART("POST /", "ERROR"), 90);
    assert_null(strstr(house_page(house),
                       "weir_spanmetrics_service_variance_total{service=\"other\",span_kind=\"SPAN_KIND_"
                       "CLIENT\""));
    house_close(house);
}

static double value_of_operation(const char *page, const char *family, const char *operation) {
    char series[200];
    snprintf(series, sizeof series,
             "%s{service=\"cart\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"%s\",status_code=\"STATUS_CODE_UNSET\"}",
             family, operation);
    double value = house_value_on(page, series);
    return value == value ? value : 0; /* nothing of it was kept yet */
}

/* Traces of 1 to 20 requests, kept whole with p = 1/8, a thousand times over: the mean of the variance that we publish
 * is the variance of the estimates that we publish. Sum of n squared over all traces times (1 - p) / p is what it
 * should be: of one operation by its own counter, of a service by the sum over its operations. */
static void variance_is_that_of_the_estimate(uint32_t operations, const char *family) {
    enum { TRACES = 40, ROUNDS = 3000 };
    static const char *const names[] = {"GET /", "GET /a", "GET /b"};
    const double p = 0.125;
    struct house *house = house_of(1);
    struct weir_span span = span_of(house, "cart", "GET /", WEIR_KIND_SERVER, WEIR_MS);
    span.prior = 1 / p;
    uint64_t random = 88172645463325252ull, trace = 0;
    double truth = 0, squares = 0, published = 0, calls = 0, spread = 0;
    for (int t = 0; t < TRACES; t++) {
        truth += t % 20 + 1;
        squares += (t % 20 + 1) * (t % 20 + 1) * (1 - p) / p;
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t left[TRACES], kept = 0;
        uint64_t ids[TRACES];
        for (int t = 0; t < TRACES; t++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if ((double)(random >> 11) / (double)(1ull << 53) >= p) continue;
            ids[kept] = ++trace;
            left[kept++] = (uint32_t)(t % 20 + 1);
        }
        for (bool any = true; any;) { /* their spans come mixed */
            any = false;
            for (uint32_t k = 0; k < kept; k++) {
                if (left[k] == 0) continue;
                left[k]--;
                any = true;
                span.trace_lo = ids[k];
                span.operation = house_name(house, names[left[k] % operations]);
                house_span(house, 0, &span);
            }
        }
        double calls_now = 0;
        const char *page = house_page(house);
        for (uint32_t i = 0; i < operations; i++)
            calls_now += value_of_operation(page, "traces_spanmetrics_calls_total", names[i]);
        spread += (calls_now - calls - truth) * (calls_now - calls - truth);
        calls = calls_now;
    }
    const char *page = house_page(house);
    for (uint32_t i = 0; i < operations; i++)
        published += value_of_operation(page, family, names[i]);
    /* Relative standard error of a variance of 3,000 rounds: sqrt(2/3000) = 2.6 %; of the published mean less. */
    assert_true(fabs(published / ROUNDS / squares - 1) < 0.05);
    assert_true(fabs(spread / ROUNDS / squares - 1) < 0.12);
    assert_true(fabs(calls / ROUNDS / truth - 1) < 0.02);
    house_close(house);
}

static void the_variance_is_that_of_the_estimate(void **state) {
    (void)state;
    variance_is_that_of_the_estimate(1, "weir_spanmetrics_calls_variance_total");
}

static void the_variance_of_a_service_is_that_of_its_estimate(void **state) {
    (void)state;
    variance_is_that_of_the_estimate(3, "weir_spanmetrics_service_variance_total");
}

static void series_of_spans_fold_and_are_forgotten(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_per_metric_max = 10;
    config.idle_expiry_ns = 5 * WEIR_S;
    struct house *house = house_open(&config, 2);
    for (uint32_t i = 0; i < 500; i++) {
        char operation[32];
        snprintf(operation, sizeof operation, "op %u", i % 50);
        struct weir_span span = span_of(house, "cart", operation, WEIR_KIND_SERVER, WEIR_MS);
        house_span(house, i % 2, &span);
    }
    assert_series(house, "traces_spanmetrics_calls_total{overflow=\"true\"}", 400);
    assert_series(house, "traces_spanmetrics_latency_count{overflow=\"true\"}", 400);
    assert_double(house_own(house, "weir_series_overflow_total"), 400, "folded", __FILE__, __LINE__);
    assert_int_equal(weir_aggregate_series(house->aggregate), 10);
    house_wait(house, 6 * WEIR_S);
    assert_string_equal(house_page(house), "");
    struct weir_span span = span_of(house, "cart", "op 49", WEIR_KIND_SERVER, WEIR_MS);
    house_span(house, 0, &span);
    assert_int_equal(weir_aggregate_series(house->aggregate), 1);
    house_close(house);
}

/* Names may hold anything; a key's separators and what a line is made of must not come through. */
static void odd_names_do_no_harm(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span span = span_of(house,
                                    "a\x1f"
                                    "b\n\"c\"\\",
                                    "", WEIR_KIND_INTERNAL, WEIR_MS);
    house_span(house, 0, &span);
    assert_series(house,
                  "traces_spanmetrics_calls_total{service=\"a b "
                  "\\\"c\\\"\\\\\",span_kind=\"SPAN_KIND_INTERNAL\",status_code=\"STATUS_CODE_UNSET\"}",
                  1);
    /* Two names that are one after the cut share a line. 63 bytes and half a character: it is not cut in two. */
    char lang[100];
    memset(lang, 'x', sizeof lang);
    memcpy(lang + 63, "\xc3\xa4", 2);
    lang[80] = 0;
    span.service = house_name(house, lang);
    house_span(house, 0, &span);
    lang[79] = 'y';
    span.service = house_name(house, lang);
    house_span(house, 0, &span);
    char expected[256];
    snprintf(expected, sizeof expected,
             "traces_spanmetrics_calls_total{service=\"%.63s\",span_kind=\"SPAN_KIND_INTERNAL\",status_code=\"STATUS_"
             "CODE_UNSET\"}",
             lang);
    assert_series(house, expected, 2);
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_counted_by_service_name_kind_and_status),
        cmocka_unit_test(an_exemplar_is_of_what_was_counted),
        cmocka_unit_test(a_weighted_span_stands_for_many),
        cmocka_unit_test(requests_of_a_trace_count_together_in_their_service),
        cmocka_unit_test(the_variance_is_that_of_the_estimate),
        cmocka_unit_test(the_variance_of_a_service_is_that_of_its_estimate),
        cmocka_unit_test(series_of_spans_fold_and_are_forgotten),
        cmocka_unit_test(odd_names_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
