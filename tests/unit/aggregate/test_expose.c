#include "house.h"

#include <sys/wait.h>

static const char golden[] =
    "# HELP a_level Gauge received from senders.\n"
    "# TYPE a_level gauge\n"
    "a_level -0.25\n"
    "a_level{zone=\"b\"} 1e+20\n"
    "# HELP shop_orders_total Counter received from senders.\n"
    "# TYPE shop_orders_total counter\n"
    "shop_orders_total{code=\"200\",zone=\"eu\"} 3\n"
    "shop_orders_total{code=\"500\",zone=\"eu\"} 1.5\n"
    "shop_orders_total{zone=\"\\\"quoted\\\\\"} 1\n"
    "# HELP shop_time Histogram received from senders.\n"
    "# TYPE shop_time histogram\n"
    "shop_time_bucket{le=\"0.01\"} 0\n"
    "shop_time_bucket{le=\"0.1\"} 2\n"
    "shop_time_bucket{le=\"1\"} 2\n"
    "shop_time_bucket{le=\"+Inf\"} 3\n"
    "shop_time_sum 2.1\n"
    "shop_time_count 3\n"
    "# HELP traces_service_graph_request_client_seconds Duration of calls as the client saw it.\n";

static void fill(struct house *house, uint32_t lanes) {
    struct weir_point count = {.kind = WEIR_POINT_COUNT, .value = 1.5};
    house_point_on(house, 0, "shop_orders|code|500|zone|eu", count);
    house_point_on(house, 0, "shop_orders|code|200|zone|eu", count);
    house_point_on(house, lanes - 1, "shop_orders|code|200|zone|eu", count);
    count.value = 1;
    house_point_on(house, lanes - 1, "shop_orders|zone|\"quoted\\", count);
    house_point_on(house, 0, "shop_time", (struct weir_point){.kind = WEIR_POINT_TIMER, .value = 0.05, .weight = 2});
    house_point_on(house, lanes - 1, "shop_time",
                   (struct weir_point){.kind = WEIR_POINT_TIMER, .value = 2, .weight = 1});
    house_point_on(house, 0, "a_level|zone|b", (struct weir_point){.kind = WEIR_POINT_GAUGE, .value = 1e20});
    house_point_on(house, 0, "a_level", (struct weir_point){.kind = WEIR_POINT_GAUGE, .value = -0.25});
    struct weir_span client = {.trace_lo = 1,
                               .span_id = 7,
                               .duration_ns = 50 * WEIR_MS,
                               .prior = 1.5,
                               .service = house_name(house, "web"),
                               .operation = house_name(house, "GET /{id}"),
                               .kind = WEIR_KIND_CLIENT};
    struct weir_span server = client;
    server.kind = WEIR_KIND_SERVER;
    server.parent_id = 7;
    house_span(house, 0, &client);
    house_span(house, 0, &server);
}

static void a_page_line_by_line(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    struct house *house = house_open(&config, 2);
    assert_string_equal(house_page(house), "");
    fill(house, 2);
    const char *page = house_page(house);
    assert_true(strlen(page) > sizeof golden);
    if (strncmp(page, golden, sizeof golden - 1) != 0) {
        print_error("%s", page);
        fail();
    }
    house_close(house);
}

/* Sets, summaries and exponential histograms too: whatever can stand on a page. */
static void promtool_takes_it_without_a_remark(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    struct house *house = house_open(&config, 2);
    fill(house, 2);
    double quantiles[] = {0.5, 1}, values[] = {3, 9};
    struct weir_point_data data = {.count = 7,
                                   .sum = 21,
                                   .bounds = (const uint8_t *)quantiles,
                                   .counts = (const uint8_t *)values,
                                   .bound_count = 2};
    house_point(house, "shop_wait_seconds|x|y", (struct weir_point){.kind = WEIR_POINT_SUMMARY, .data = &data});
    house_point(house, "shop_users", (struct weir_point){.kind = WEIR_POINT_SET, .member = 5});
    house_point(house, "shop_size_bytes", (struct weir_point){.kind = WEIR_POINT_SAMPLE, .value = 5, .weight = 1});
    house_page(house);
    FILE *promtool = popen("promtool check metrics", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(house->page.bytes, 1, house->page.size - 1, promtool), house->page.size - 1);
    struct weir_buffer own = {0};
    weir_metrics_expose(house->metrics, &own);
    assert_int_equal(fwrite(own.bytes, 1, own.size, promtool), own.size);
    weir_buffer_free(&own);
    int status = pclose(promtool);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* 1: refused · 3: remarks · 127: no promtool */
    house_close(house);
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Many series in a few families: each stands once, in the order of its labels. */
static void a_large_page_is_in_order(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_max = config.series_per_metric_max = 20000;
    struct house *house = house_open(&config, 2);
    enum { SERIES = 3000 };
    for (int i = 0; i < SERIES; i++) {
        char key[96];
        snprintf(key, sizeof key, "m|instance|host-%04d|zone|%d", i * 7919 % SERIES, i % 3);
        for (uint32_t lane = 0; lane < 2; lane++)
            house_point_on(house, lane, key, (struct weir_point){.kind = WEIR_POINT_COUNT, .value = 1});
    }
    char *page = (char *)(uintptr_t)house_page(house), *lines[SERIES], *sorted[SERIES];
    int count = 0;
    for (char *at = strtok(page, "\n"); at != NULL; at = strtok(NULL, "\n")) {
        if (at[0] == '#') continue;
        assert_true(count < SERIES);
        assert_string_equal(strrchr(at, ' '), " 2");
        lines[count++] = at;
    }
    assert_int_equal(count, SERIES);
    memcpy(sorted, lines, sizeof lines);
    qsort(sorted, SERIES, sizeof *sorted, compare);
    for (int i = 0; i < SERIES; i++)
        assert_ptr_equal(lines[i], sorted[i]);
    house_close(house);
}

static void a_page_that_finds_no_room_says_so(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    struct house *house = house_open(&config, 1);
    fill(house, 1);
    struct weir_buffer small = {.limit = 512};
    weir_aggregate_expose(house->aggregate, false, &small);
    assert_true(small.failed);
    weir_buffer_free(&small);
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_line_by_line),
        cmocka_unit_test(promtool_takes_it_without_a_remark),
        cmocka_unit_test(a_large_page_is_in_order),
        cmocka_unit_test(a_page_that_finds_no_room_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
