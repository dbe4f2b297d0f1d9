#include "house.h"

static struct weir_point count_of(double value) {
    return (struct weir_point){.kind = WEIR_POINT_COUNT, .value = value};
}
static struct weir_point sample_of(enum weir_point_kind kind, double value, double weight) {
    return (struct weir_point){.kind = (uint8_t)kind, .value = value, .weight = weight};
}
static struct weir_point gauge_at(double value, uint64_t time_ns) {
    return (struct weir_point){.kind = WEIR_POINT_GAUGE, .value = value, .time_ns = time_ns};
}
static struct weir_point total_of(double value, uint64_t start_ns, uint64_t time_ns) {
    return (struct weir_point){.kind = WEIR_POINT_CUMULATIVE, .value = value, .start_ns = start_ns, .time_ns = time_ns};
}
#define taken(call)    assert_int_equal(call, WEIR_POINT_TAKEN)
#define stale(call)    assert_int_equal(call, WEIR_POINT_REFUSED_STALE)
#define conflict(call) assert_int_equal(call, WEIR_POINT_REFUSED_CONFLICT)
#define full(call)     assert_int_equal(call, WEIR_POINT_REFUSED_FULL)

static struct house *house_of(uint32_t lanes) {
    struct weir_aggregate_config config = house_config();
    return house_open(&config, lanes);
}

static void counters_add_up_over_lanes(void **state) {
    (void)state;
    struct house *house = house_of(3);
    for (uint32_t lane = 0; lane < 3; lane++) {
        taken(house_point_on(house, lane, "shop_orders|code|200", count_of(2.5)));
        taken(house_point_on(house, lane, "shop_orders", count_of(1)));
    }
    assert_series(house, "shop_orders_total{code=\"200\"}", 7.5);
    assert_series(house, "shop_orders_total", 3);
    assert_int_equal(weir_aggregate_series(house->aggregate), 2); /* each once, whatever the lanes */
    assert_double(house_own(house, "weir_series"), 2, "weir_series", __FILE__, __LINE__);
    house_close(house);
}

static void a_counter_is_one_with_and_without_its_suffix(void **state) {
    (void)state;
    struct house *house = house_of(1);
    taken(house_point(house, "a|x|1", count_of(1)));
    taken(house_point(house, "a_total|x|1", count_of(2)));
    taken(house_point(house, "b_total", count_of(3)));
    taken(house_point(house, "b", count_of(4)));
    assert_series(house, "a_total{x=\"1\"}", 3);
    assert_series(house, "b_total", 7);
    assert_null(strstr(house_page(house), "_total_total"));
    house_close(house);
}

static void timers_and_samples_are_weighted(void **state) {
    (void)state;
    struct house *house = house_of(2);
    taken(house_point_on(house, 0, "job_time", sample_of(WEIR_POINT_TIMER, 0.1, 1e7)));
    taken(house_point_on(house, 1, "job_time", sample_of(WEIR_POINT_TIMER, 0.1, 10)));
    taken(house_point_on(house, 1, "job_time", sample_of(WEIR_POINT_TIMER, 0.10001, 1)));
    taken(house_point_on(house, 1, "job_time", sample_of(WEIR_POINT_TIMER, 7, 2)));
    assert_series(house, "job_time_bucket{le=\"0.01\"}", 0);
    assert_series(house, "job_time_bucket{le=\"0.1\"}", 1e7 + 10); /* le: less or equal */
    assert_series(house, "job_time_bucket{le=\"1\"}", 1e7 + 11);
    assert_series(house, "job_time_bucket{le=\"+Inf\"}", 1e7 + 13);
    assert_series(house, "job_time_count", 1e7 + 13);
    assert_true(house_value(house, "job_time_sum") - (1e6 + 1 + 0.10001 + 14) < 1e-6);
    taken(house_point(house, "size", sample_of(WEIR_POINT_SAMPLE, 300, 1)));
    assert_series(house, "size_bucket{le=\"250\"}", 0);
    assert_series(house, "size_bucket{le=\"500\"}", 1);
    house_close(house);
}

static void gauges_are_set_and_changed(void **state) {
    (void)state;
    struct house *house = house_of(1);
    taken(house_point(house, "depth", gauge_at(7, 0)));
    taken(house_point(house, "depth", sample_of(WEIR_POINT_GAUGE_ADD, 5, 1)));
    taken(house_point(house, "depth", sample_of(WEIR_POINT_GAUGE_ADD, -2, 1)));
    assert_series(house, "depth", 10);
    taken(house_point(house, "depth", gauge_at(-1.5, 20)));
    stale(house_point(house, "depth", gauge_at(99, 19)));
    assert_series(house, "depth", -1.5);
    taken(house_point(house, "depth", gauge_at(3, 20)));
    assert_series(house, "depth", 3);
    house_close(house);
}

static void cumulative_streams_survive_resets(void **state) {
    (void)state;
    struct house *house = house_of(1);
    taken(house_point(house, "checks", total_of(10, 1, 2)));
    taken(house_point(house, "checks", total_of(25, 1, 3)));
    assert_series(house, "checks_total", 25);
    taken(house_point(house, "checks", total_of(5, 4, 5)));
    assert_series(house, "checks_total", 30);
    taken(house_point(house, "checks", total_of(6, 4, 6)));
    stale(house_point(house, "checks", total_of(7, 4, 5)));   /* out of order */
    stale(house_point(house, "checks", total_of(100, 1, 7))); /* a stream that started earlier: somebody else's */
    stale(house_point(house, "checks", total_of(2, 4, 6)));   /* same time, other value */
    assert_series(house, "checks_total", 31);
    taken(house_point(house, "checks", total_of(2, 4, 9))); /* went down: began again */
    assert_series(house, "checks_total", 33);
    taken(house_point(house, "unsaid", total_of(3, 0, 0)));
    taken(house_point(house, "unsaid", total_of(8, 0, 0)));
    taken(house_point(house, "unsaid", total_of(1, 0, 0)));
    assert_series(house, "unsaid_total", 9);
    taken(house_point(house, "checks", count_of(2))); /* deltas add to the same counter */
    assert_series(house, "checks_total", 35);
    house_close(house);
}

static struct weir_point histogram_of(struct weir_point_data *data, const double *bounds, const uint64_t *counts,
                                      uint32_t bound_count, double sum, bool cumulative, uint64_t start_ns,
                                      uint64_t time_ns) {
    *data = (struct weir_point_data){.sum = sum,
                                     .has_sum = true,
                                     .bounds = (const uint8_t *)bounds,
                                     .counts = (const uint8_t *)counts,
                                     .bound_count = bound_count};
    for (uint32_t i = 0; i <= bound_count; i++)
        data->count += counts[i];
    return (struct weir_point){
        .kind = WEIR_POINT_HISTOGRAM, .cumulative = cumulative, .data = data, .start_ns = start_ns, .time_ns = time_ns};
}

static void histograms_take_the_first_ones_bounds(void **state) {
    (void)state;
    struct house *house = house_of(2);
    struct weir_point_data data;
    taken(house_point_on(house, 0, "h|a|1",
                         histogram_of(&data, (double[]){1, 10}, (uint64_t[]){1, 2, 3}, 2, 50, false, 0, 0)));
    /* Others go where their upper end lies: (.., 0.5] and (0.5, 2] and (2, 10] and (10, 20] and the rest. */
    taken(house_point_on(
        house, 1, "h|a|1",
        histogram_of(&data, (double[]){0.5, 2, 10, 20}, (uint64_t[]){1, 1, 1, 1, 1}, 4, 40, false, 0, 0)));
    assert_series(house, "h_bucket{a=\"1\",le=\"1\"}", 1 + 1);
    assert_series(house, "h_bucket{a=\"1\",le=\"10\"}", 3 + 3);
    assert_series(house, "h_bucket{a=\"1\",le=\"+Inf\"}", 6 + 5);
    assert_series(house, "h_count{a=\"1\"}", 11);
    assert_series(house, "h_sum{a=\"1\"}", 90);
    /* Without bounds: one bucket of all. Without a sum: no line that lies. */
    struct weir_point point = histogram_of(&data, NULL, (uint64_t[]){4}, 0, 0, false, 0, 0);
    data.has_sum = false;
    taken(house_point(house, "bare", point));
    assert_series(house, "bare_bucket{le=\"+Inf\"}", 4);
    assert_series(house, "bare_count", 4);
    assert_false(house_has(house, "bare_sum"));
    house_close(house);
}

static void cumulative_histograms_survive_resets(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_point_data data;
    const double bounds[] = {1, 10};
    taken(house_point(house, "h", histogram_of(&data, bounds, (uint64_t[]){1, 2, 3}, 2, 50, true, 1, 2)));
    taken(house_point(house, "h", histogram_of(&data, bounds, (uint64_t[]){1, 4, 3}, 2, 60, true, 1, 3)));
    stale(house_point(house, "h", histogram_of(&data, bounds, (uint64_t[]){1, 2, 3}, 2, 50, true, 1, 2)));
    assert_series(house, "h_count", 8);
    assert_series(house, "h_sum", 60);
    taken(house_point(house, "h", histogram_of(&data, bounds, (uint64_t[]){1, 0, 0}, 2, 0.5, true, 4, 5)));
    assert_series(house, "h_bucket{le=\"1\"}", 2);
    assert_series(house, "h_bucket{le=\"10\"}", 6);
    assert_series(house, "h_count", 9);
    assert_series(house, "h_sum", 60.5);
    house_close(house);
}

static void more_bounds_than_we_keep_are_thinned(void **state) {
    (void)state;
    struct house *house = house_of(1);
    double bounds[200];
    uint64_t counts[201];
    for (int i = 0; i < 200; i++)
        bounds[i] = i + 1;
    for (int i = 0; i < 201; i++)
        counts[i] = 1;
    struct weir_point_data data;
    taken(house_point(house, "fine", histogram_of(&data, bounds, counts, 200, 1, false, 0, 0)));
    assert_series(house, "fine_bucket{le=\"4\"}", 4);
    assert_series(house, "fine_bucket{le=\"200\"}", 200);
    assert_series(house, "fine_count", 201);
    assert_false(house_has(house, "fine_bucket{le=\"3\"}"));
    house_close(house);
}

static void exponential_histograms_land_in_decades(void **state) {
    (void)state;
    struct house *house = house_of(1);
    /* scale 0, base 2: positive buckets (1,2] (2,4] (4,8]; negative [-2,-1); three zeros */
    const uint64_t positive[] = {1, 2, 4}, negative[] = {5};
    struct weir_point_data data = {.count = 15,
                                   .sum = 20,
                                   .has_sum = true,
                                   .scale = 0,
                                   .positive_offset = 0,
                                   .positive_count = 3,
                                   .positive = (const uint8_t *)positive,
                                   .negative_offset = 0,
                                   .negative_count = 1,
                                   .negative = (const uint8_t *)negative,
                                   .zero_count = 3};
    taken(house_point(house, "e", (struct weir_point){.kind = WEIR_POINT_EXPONENTIAL, .data = &data}));
    assert_series(house, "e_bucket{le=\"0.001\"}", 8);
    assert_series(house, "e_bucket{le=\"2.5\"}", 9);
    assert_series(house, "e_bucket{le=\"5\"}", 11);
    assert_series(house, "e_bucket{le=\"10\"}", 15);
    assert_series(house, "e_count", 15);
    assert_series(house, "e_sum", 20);
    /* Extremes that a sender may claim. */
    data.scale = INT32_MIN;
    data.positive_offset = INT32_MAX;
    data.negative_offset = INT32_MIN;
    taken(house_point(house, "e", (struct weir_point){.kind = WEIR_POINT_EXPONENTIAL, .data = &data}));
    data.scale = INT32_MAX;
    taken(house_point(house, "e", (struct weir_point){.kind = WEIR_POINT_EXPONENTIAL, .data = &data}));
    assert_series(house, "e_count", 45);
    house_close(house);
}

/* A cumulative exponential histogram halves its scale when its range grows: counts move upwards, and no bucket of ours
 * may go down. */
static void an_exponential_histogram_that_becomes_coarser_never_goes_down(void **state) {
    (void)state;
    struct house *house = house_of(1);
    const uint64_t before[] = {10, 10}, after[] = {21};
    struct weir_point_data data = {
        .scale = 0, .positive_offset = 0, .positive_count = 2, .positive = (const uint8_t *)before};
    struct weir_point point = {
        .kind = WEIR_POINT_EXPONENTIAL, .cumulative = true, .data = &data, .start_ns = 1, .time_ns = 2};
    taken(house_point(house, "e", point));
    assert_series(house, "e_bucket{le=\"2.5\"}", 10);
    data.scale = -1; /* base 4: (1,4] */
    data.positive_count = 1;
    data.positive = (const uint8_t *)after;
    point.time_ns = 3;
    taken(house_point(house, "e", point));
    assert_series(house, "e_bucket{le=\"2.5\"}", 10);
    assert_series(house, "e_bucket{le=\"5\"}", 21);
    assert_series(house, "e_count", 21);
    house_close(house);
}

static void summaries_are_passed_on(void **state) {
    (void)state;
    struct house *house = house_of(1);
    double quantiles[] = {0.5, 0.99}, values[] = {3, 9};
    struct weir_point_data data = {.count = 7,
                                   .sum = 21,
                                   .bounds = (const uint8_t *)quantiles,
                                   .counts = (const uint8_t *)values,
                                   .bound_count = 2};
    struct weir_point point = {.kind = WEIR_POINT_SUMMARY, .data = &data, .time_ns = 5};
    taken(house_point(house, "s|x|y", point));
    assert_series(house, "s{x=\"y\",quantile=\"0.5\"}", 3);
    assert_series(house, "s{x=\"y\",quantile=\"0.99\"}", 9);
    assert_series(house, "s_sum{x=\"y\"}", 21);
    assert_series(house, "s_count{x=\"y\"}", 7);
    point.time_ns = 4;
    stale(house_point(house, "s|x|y", point));
    house_close(house);
}

static void sets_count_their_members_in_a_window(void **state) {
    (void)state;
    struct house *house = house_of(1);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 100; i++)
            taken(house_point(house, "users",
                              (struct weir_point){.kind = WEIR_POINT_SET, .member = i * 0x9e3779b97f4a7c15ull}));
    }
    assert_series(house, "users", 100);
    for (uint64_t i = 0; i < 50000; i++) {
        uint64_t member = i * 0x9e3779b97f4a7c15ull;
        member ^= member >> 29;
        member *= 0xbf58476d1ce4e5b9ull;
        taken(house_point(house, "many", (struct weir_point){.kind = WEIR_POINT_SET, .member = member ^ member >> 32}));
    }
    double many = house_value(house, "many");
    assert_true(many > 47500 && many < 52500); /* 3 standard errors of 1.6 % */
    for (uint64_t i = 0; i < 2000; i++) {      /* beyond what is kept exactly, and where a raw estimate is far off */
        uint64_t member = (i + 1) * 0x9e3779b97f4a7c15ull;
        member ^= member >> 29;
        member *= 0xbf58476d1ce4e5b9ull;
        taken(house_point(house, "some", (struct weir_point){.kind = WEIR_POINT_SET, .member = member ^ member >> 32}));
    }
    double some = house_value(house, "some");
    assert_true(some > 1900 && some < 2100);
    house_wait(house, 61 * WEIR_S);
    taken(house_point(house, "users", (struct weir_point){.kind = WEIR_POINT_SET, .member = 1}));
    assert_series(house, "users", 100); /* the last whole window */
    house_wait(house, 61 * WEIR_S);
    assert_series(house, "users", 1);
    house_wait(house, 61 * WEIR_S);
    assert_series(house, "users", 0);
    house_close(house);
}

static void a_name_has_one_type_in_all_lanes(void **state) {
    (void)state;
    struct house *house = house_of(2);
    taken(house_point_on(house, 0, "a_good", count_of(2)));
    for (int again = 0; again < 3; again++) {
        conflict(house_point_on(house, 0, "a_good", gauge_at(5, 0)));
        conflict(house_point_on(house, 1, "a_good", gauge_at(5, 0)));
        conflict(house_point_on(house, 1, "a_good|x|y", sample_of(WEIR_POINT_TIMER, 1, 1)));
    }
    conflict(house_point_on(house, 1, "a_good_total", gauge_at(5, 0)));
    taken(house_point_on(house, 1, "a_good", count_of(3)));
    assert_series(house, "a_good_total", 5);
    /* Names that the page needs for another metric. */
    taken(house_point(house, "h", sample_of(WEIR_POINT_TIMER, 1, 1)));
    conflict(house_point(house, "h_bucket", gauge_at(1, 0)));
    conflict(house_point(house, "h_sum", sample_of(WEIR_POINT_TIMER, 1, 1)));
    conflict(house_point(house, "h_count", count_of(1)));
    taken(house_point(house, "g_count", gauge_at(1, 0)));
    taken(house_point(house, "b_total", gauge_at(1, 0)));
    conflict(house_point(house, "b", count_of(1)));
    taken(house_point(house, "b", gauge_at(1, 0)));
    conflict(house_point(house, "g", sample_of(WEIR_POINT_TIMER, 1, 1)));
    taken(house_point(house, "g", gauge_at(1, 0)));
    conflict(house_point(house, "g", (struct weir_point){.kind = WEIR_POINT_SET, .member = 1}));
    /* Ours and the process's. */
    conflict(house_point(house, "weir_spans_received_total", count_of(1)));
    conflict(house_point(house, "traces_spanmetrics_calls_total", count_of(1)));
    conflict(house_point(house, "traces_spanmetrics_calls", count_of(1)));
    conflict(house_point(house, "traces_spanmetrics_latency_bucket", gauge_at(1, 0)));
    conflict(house_point(house, "traces_service_graph_request_total", count_of(1)));
    conflict(house_point(house, "process_cpu_seconds_total", count_of(1)));
    conflict(house_point(house, "process_open_fds", gauge_at(1, 0)));
    assert_int_equal(weir_aggregate_series(house->aggregate), 6);
    house_close(house);
}

static void what_would_poison_a_sum_is_refused(void **state) {
    (void)state;
    struct house *house = house_of(1);
    const double bad[] = {-1, __builtin_nan(""), __builtin_inf(), 1.7e308};
    for (int i = 0; i < 4; i++) {
        conflict(house_point(house, "c", count_of(bad[i])));
        conflict(house_point(house, "t", sample_of(WEIR_POINT_TIMER, 1, bad[i])));
        conflict(house_point(house, "u", total_of(bad[i], 1, 2)));
    }
    conflict(house_point(house, "t", sample_of(WEIR_POINT_TIMER, __builtin_nan(""), 1)));
    assert_int_equal(weir_aggregate_series(house->aggregate), 0);
    taken(house_point(house, "g", gauge_at(__builtin_nan(""), 0)));
    assert_non_null(strstr(house_page(house), "\ng NaN\n"));
    house_close(house);
}

static void beyond_the_bound_of_a_metric_values_fold(void **state) {
    (void)state;
    struct house *house = house_of(2);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 400; i++) {
            char key[64];
            snprintf(key, sizeof key, "api_calls|user|u%d", i);
            taken(house_point_on(house, (uint32_t)(i + round) % 2, key, count_of(1)));
        }
    }
    const char *page = house_page(house);
    double sum = 0;
    int lines = 0;
    for (const char *at = strstr(page, "\napi_calls_total{"); at != NULL;
         at = strstr(at + 1, "\napi_calls_total{"), lines++)
        sum += strtod(strchr(at + 1, ' '), NULL);
    assert_double(sum, 800, "sum", __FILE__, __LINE__);
    assert_int_equal(lines, 101);
    assert_double(house_value_on(page, "api_calls_total{overflow=\"true\"}"), 600, "overflow", __FILE__, __LINE__);
    assert_double(house_own(house, "weir_series_overflow_total"), 600, "weir_series_overflow_total", __FILE__,
                  __LINE__);
    assert_int_equal(weir_aggregate_series(house->aggregate), 100);
    /* Another lane that meets an admitted one for the first time may hold it too. */
    taken(house_point_on(house, 1, "api_calls|user|u0", count_of(1)));
    assert_series(house, "api_calls_total{user=\"u0\"}", 3);
    house_close(house);
}

static void what_cannot_fold_is_refused(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_per_metric_max = 1;
    struct house *house = house_open(&config, 1);
    struct weir_point_data data;
    taken(house_point(house, "g|a|1", gauge_at(1, 0)));
    taken(house_point(house, "c|a|1", total_of(1, 1, 2)));
    taken(house_point(house, "h|a|1", histogram_of(&data, (double[]){1}, (uint64_t[]){1, 1}, 1, 1, true, 1, 2)));
    for (int again = 0; again < 2; again++) {
        full(house_point(house, "g|a|2", gauge_at(1, 0)));
        full(house_point(house, "c|a|2", total_of(1, 1, 2)));
        full(house_point(house, "h|a|2", histogram_of(&data, (double[]){1}, (uint64_t[]){1, 1}, 1, 1, true, 1, 2)));
        taken(house_point(house, "c|a|2", count_of(4)));
        taken(house_point(house, "g|a|2", sample_of(WEIR_POINT_GAUGE_ADD, 2, 1)));
        taken(house_point(house, "h|a|2", histogram_of(&data, (double[]){1}, (uint64_t[]){1, 1}, 1, 1, false, 0, 0)));
    }
    assert_series(house, "c_total{overflow=\"true\"}", 8);
    assert_series(house, "g{overflow=\"true\"}", 4);
    assert_series(house, "h_count{overflow=\"true\"}", 4);
    house_close(house);
}

static void the_table_is_bounded_in_all(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_max = 200;
    struct house *house = house_open(&config, 1);
    int refused = 0;
    for (int i = 0; i < 5000; i++) {
        char key[64];
        snprintf(key, sizeof key, "m%d", i);
        enum weir_point_verdict verdict = house_point(house, key, count_of(1));
        if (verdict != WEIR_POINT_TAKEN) {
            full(verdict);
            refused++;
        }
    }
    assert_int_equal(weir_aggregate_series(house->aggregate), 100); /* half as many metrics as series */
    assert_int_equal(refused, 5000 - 100);
    for (int i = 0; i < 500; i++) {
        char key[64];
        snprintf(key, sizeof key, "m%d|x|%d", i % 100, i);
        taken(house_point(house, key, count_of(1)));
    }
    assert_int_equal(weir_aggregate_series(house->aggregate), 200);
    house_close(house);
}

static void idle_series_are_forgotten_one_by_one(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.idle_expiry_ns = 10 * WEIR_S;
    config.series_per_metric_max = 50;
    struct house *house = house_open(&config, 2);
    for (int i = 0; i < 100; i++) {
        char key[64];
        snprintf(key, sizeof key, "c|i|%d", i);
        taken(house_point_on(house, (uint32_t)i % 2, key, count_of(1)));
    }
    double quantiles[] = {0.5}, values[] = {3};
    struct weir_point_data data = {
        .bounds = (const uint8_t *)quantiles, .counts = (const uint8_t *)values, .bound_count = 1};
    taken(house_point(house, "s", (struct weir_point){.kind = WEIR_POINT_SUMMARY, .data = &data}));
    taken(house_point(house, "m", (struct weir_point){.kind = WEIR_POINT_SET, .member = 7}));
    const double bounds[] = {1, 10};
    taken(house_point(house, "h", histogram_of(&data, bounds, (uint64_t[]){1, 2, 3}, 2, 50, true, 1, 2)));
    for (int i = 0; i < 15; i++) {
        house_wait(house, 1 * WEIR_S);
        taken(house_point_on(house, 0, "c|i|0", count_of(1)));
    }
    assert_series(house, "c_total{i=\"0\"}", 16);
    assert_int_equal(weir_aggregate_series(house->aggregate), 1);
    assert_false(house_has(house, "c_total{overflow=\"true\"}"));
    /* 50 and two overflow ones of c, and three more; without the one that lives. */
    assert_double(house_own(house, "weir_series_expired_total"), 50 + 2 + 3 - 1, "expired", __FILE__, __LINE__);
    /* There is room again for what did not fit before, and a name without series may become something else. */
    taken(house_point_on(house, 1, "c|i|99", count_of(1)));
    assert_series(house, "c_total{i=\"99\"}", 1);
    taken(house_point(house, "s", count_of(1)));
    house_wait(house, 11 * WEIR_S);
    assert_int_equal(weir_aggregate_series(house->aggregate), 0);
    assert_string_equal(house_page(house), "");
    house_close(house);
}

/* A lane remembers what was refused and where to fold it; both end when what they hang on is forgotten, here or
 * elsewhere. */
static void refusals_end_with_their_cause(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.idle_expiry_ns = 10 * WEIR_S;
    config.series_per_metric_max = 1;
    struct house *house = house_open(&config, 2);
    taken(house_point_on(house, 0, "name", count_of(1)));
    conflict(house_point_on(house, 1, "name", gauge_at(1, 0)));
    house_wait(house, 11 * WEIR_S);
    taken(house_point_on(house, 1, "name", gauge_at(1, 0)));

    /* Lane 0 forgets its overflow series while lane 1 keeps the metric's overflow alive. */
    taken(house_point_on(house, 1, "c|i|1", count_of(1)));
    for (uint32_t lane = 0; lane < 2; lane++)
        taken(house_point_on(house, lane, "c|i|2", count_of(1)));
    for (int i = 0; i < 11; i++) {
        house_wait(house, WEIR_S);
        taken(house_point_on(house, 1, "name", gauge_at(1, 0))); /* so that nothing else is forgotten */
        for (int key = 1; key <= 2; key++)
            taken(house_point_on(house, 1, key == 1 ? "c|i|1" : "c|i|2", count_of(1)));
    }
    assert_series(house, "c_total{overflow=\"true\"}", 12);
    taken(house_point_on(house, 0, "c|i|2", count_of(1)));
    assert_series(house, "c_total{overflow=\"true\"}", 13);
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_up_over_lanes),
        cmocka_unit_test(a_counter_is_one_with_and_without_its_suffix),
        cmocka_unit_test(timers_and_samples_are_weighted),
        cmocka_unit_test(gauges_are_set_and_changed),
        cmocka_unit_test(cumulative_streams_survive_resets),
        cmocka_unit_test(histograms_take_the_first_ones_bounds),
        cmocka_unit_test(cumulative_histograms_survive_resets),
        cmocka_unit_test(more_bounds_than_we_keep_are_thinned),
        cmocka_unit_test(exponential_histograms_land_in_decades),
        cmocka_unit_test(an_exponential_histogram_that_becomes_coarser_never_goes_down),
        cmocka_unit_test(summaries_are_passed_on),
        cmocka_unit_test(sets_count_their_members_in_a_window),
        cmocka_unit_test(a_name_has_one_type_in_all_lanes),
        cmocka_unit_test(what_would_poison_a_sum_is_refused),
        cmocka_unit_test(beyond_the_bound_of_a_metric_values_fold),
        cmocka_unit_test(what_cannot_fold_is_refused),
        cmocka_unit_test(the_table_is_bounded_in_all),
        cmocka_unit_test(idle_series_are_forgotten_one_by_one),
        cmocka_unit_test(refusals_end_with_their_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
