#include "house.h"

static struct house *house_of(uint32_t lanes) {
    struct weir_aggregate_config config = house_config();
    return house_open(&config, lanes);
}

static struct weir_span client_of(struct house *house, uint64_t trace, uint64_t id) {
    return (struct weir_span){.trace_lo = trace,
                              .span_id = id,
                              .parent_id = 999,
                              .duration_ns = 500 * WEIR_MS,
                              .prior = 1,
                              .service = house_name(house, "web"),
                              .operation = house_name(house, "call"),
                              .kind = WEIR_KIND_CLIENT};
}
static struct weir_span server_of(struct house *house, uint64_t trace, uint64_t parent) {
    return (struct weir_span){.trace_lo = trace,
                              .span_id = parent + 1000,
                              .parent_id = parent,
                              .duration_ns = 50 * WEIR_MS,
                              .prior = 1,
                              .service = house_name(house, "db"),
                              .operation = house_name(house, "serve"),
                              .kind = WEIR_KIND_SERVER};
}

#define REQUEST "traces_service_graph_request"
#define WEB_DB  "{client=\"web\",server=\"db\"}"

static void both_sides_make_an_edge_in_any_order(void **state) {
    (void)state;
    struct house *house = house_of(1);
    for (uint64_t i = 1; i <= 300; i++) {
        struct weir_span client = client_of(house, i, 7), server = server_of(house, i, 7);
        if (i % 3 == 0) server.status = WEIR_STATUS_ERROR;
        house_span(house, 0, i % 2 ? &client : &server);
        house_span(house, 0, i % 2 ? &server : &client);
    }
    /* Many waiting at once, the answers in the opposite order. */
    for (uint64_t i = 1; i <= 500; i++) {
        struct weir_span server = server_of(house, 5, i);
        house_span(house, 0, &server);
    }
    for (uint64_t i = 500; i >= 1; i--) {
        struct weir_span client = client_of(house, 5, i);
        house_span(house, 0, &client);
    }
    assert_series(house, REQUEST "_total" WEB_DB, 800);
    assert_series(house, REQUEST "_failed_total" WEB_DB, 100);
    assert_series(house, REQUEST "_server_seconds_sum" WEB_DB, 40);
    assert_series(house, REQUEST "_client_seconds_sum" WEB_DB, 400);
    assert_series(house, REQUEST "_server_seconds_bucket{client=\"web\",server=\"db\",le=\"0.1\"}", 800);
    assert_series(house, REQUEST "_client_seconds_bucket{client=\"web\",server=\"db\",le=\"0.1\"}", 0);
    assert_series(house, REQUEST "_client_seconds_bucket{client=\"web\",server=\"db\",le=\"1\"}", 800);
    house_wait(house, 20 * WEIR_S);
    assert_double(house_own(house, "weir_edges_paired_total"), 800, "paired", __FILE__, __LINE__);
    assert_double(house_own(house, "weir_edges_waiting"), 0, "waiting", __FILE__, __LINE__);
    assert_double(house_own(house, "weir_edges_unpaired_total{side=\"client\"}"), 0, "alone", __FILE__, __LINE__);
    house_close(house);
}

/* The table shrinks by half a tick while a few still wait. */
static void those_left_survive_the_shrinking(void **state) {
    (void)state;
    struct house *house = house_of(1);
    for (uint64_t i = 1; i <= 1000; i++) {
        struct weir_span server = server_of(house, 5, i);
        house_span(house, 0, &server);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 1; i <= 1000; i++) {
            struct weir_span client = client_of(house, 5, i);
            if ((i % 300 == 7) == (pass == 1)) house_span(house, 0, &client);
        }
        house_wait(house, WEIR_S);
        assert_double(house_own(house, "weir_edges_waiting"), pass == 0 ? 4 : 0, "waiting", __FILE__, __LINE__);
    }
    assert_series(house, REQUEST "_total" WEB_DB, 1000);
    house_close(house);
}

static void other_traces_and_spans_do_not_pair(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span client = client_of(house, 1, 7), other_trace = server_of(house, 2, 7),
                     other_parent = server_of(house, 1, 8);
    struct weir_span root = server_of(house, 1, 7), inner = server_of(house, 1, 7);
    root.flags = WEIR_SPAN_ROOT; /* its own parent: Linkerd 1 */
    inner.kind = WEIR_KIND_INTERNAL;
    house_span(house, 0, &client);
    house_span(house, 0, &client); /* sent again */
    house_span(house, 0, &other_trace);
    house_span(house, 0, &other_parent);
    house_span(house, 0, &root);
    house_span(house, 0, &inner);
    assert_false(house_has(house, REQUEST "_total" WEB_DB));
    house_wait(house, 9 * WEIR_S);
    assert_double(house_own(house, "weir_edges_waiting"), 3, "waiting", __FILE__, __LINE__);
    house_wait(house, 2 * WEIR_S);
    assert_double(house_own(house, "weir_edges_waiting"), 0, "waiting", __FILE__, __LINE__);
    assert_double(house_own(house, "weir_edges_unpaired_total{side=\"client\"}"), 1, "client", __FILE__, __LINE__);
    assert_double(house_own(house, "weir_edges_unpaired_total{side=\"server\"}"), 2, "server", __FILE__, __LINE__);
    assert_null(strstr(house_page(house), REQUEST)); /* nobody knows whom it called */
    house_close(house);
}

/* B3: a server may go on under its client's span id, also as the only other span of the trace. */
static void a_shared_span_is_the_other_side_of_its_own_id(void **state) {
    (void)state;
    struct house *house = house_of(1);
    for (uint64_t i = 1; i <= 4; i++) {
        struct weir_span client = client_of(house, i, 7), server = server_of(house, i, 999);
        server.span_id = 7;
        server.flags = (uint16_t)(WEIR_SPAN_SHARED | (i % 2 != 0 ? WEIR_SPAN_ROOT : 0));
        if (i == 4) server.flags = 0; /* not shared: its client is 999 */
        house_span(house, 0, &client);
        house_span(house, 0, &server);
    }
    assert_series(house, REQUEST "_total" WEB_DB, 3);
    assert_double(house_own(house, "weir_edges_paired_total"), 3, "paired", __FILE__, __LINE__);
    house_close(house);
}

static void a_client_alone_knows_its_peer(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span client = client_of(house, 1, 7);
    client.peer = house_name(house, "10.0.0.9");
    client.status = WEIR_STATUS_ERROR;
    house_span(house, 0, &client);
    house_wait(house, 11 * WEIR_S);
    assert_series(house, REQUEST "_total{client=\"web\",server=\"10.0.0.9\"}", 1);
    assert_series(house, REQUEST "_failed_total{client=\"web\",server=\"10.0.0.9\"}", 1);
    assert_series(house, REQUEST "_client_seconds_count{client=\"web\",server=\"10.0.0.9\"}", 1);
    assert_series(house, REQUEST "_server_seconds_count{client=\"web\",server=\"10.0.0.9\"}", 0);
    /* Too late: it has been counted, so the server alone makes nothing. */
    struct weir_span server = server_of(house, 1, 7);
    house_span(house, 0, &server);
    house_wait(house, 11 * WEIR_S);
    assert_false(house_has(house, REQUEST "_total" WEB_DB));
    house_close(house);
}

static void those_that_wait_are_bounded(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.edges_max = 100;
    struct house *house = house_open(&config, 1);
    for (uint64_t i = 1; i <= 1000; i++) {
        struct weir_span client = client_of(house, i, 7);
        client.peer = house_name(house, "peer");
        house_span(house, 0, &client);
    }
    assert_series(house, REQUEST "_total{client=\"web\",server=\"peer\"}", 900);
    assert_double(house_own(house, "weir_edges_dropped_total"), 900, "early", __FILE__, __LINE__);
    for (uint64_t i = 901; i <= 1000; i++) { /* the latest still wait */
        struct weir_span server = server_of(house, i, 7);
        house_span(house, 0, &server);
    }
    assert_series(house, REQUEST "_total" WEB_DB, 100);
    house_wait(house, 11 * WEIR_S);
    assert_series(house, REQUEST "_total{client=\"web\",server=\"peer\"}", 900);
    house_close(house);
}

static void weights_and_variance(void **state) {
    (void)state;
    struct house *house = house_of(1);
    for (uint64_t id = 1; id <= 3; id++) {
        struct weir_span client = client_of(house, 1, id), server = server_of(house, 1, id);
        client.prior = 4;
        server.prior = 2;
        client.status = id == 2 ? WEIR_STATUS_ERROR : WEIR_STATUS_UNSET;
        house_span(house, 0, &client);
        house_span(house, 0, &server);
    }
    assert_series(house, REQUEST "_total" WEB_DB, 12);
    assert_series(house, REQUEST "_failed_total" WEB_DB, 4);
    assert_series(house, "weir_service_graph_request_variance_total" WEB_DB, (1 + 3 + 5) * 4 * 3);
    assert_series(house, "weir_service_graph_request_failed_variance_total" WEB_DB, 4 * 3);
    house_close(house);
}

static void edges_fold_and_are_forgotten(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_per_metric_max = 5;
    config.idle_expiry_ns = 30 * WEIR_S;
    struct house *house = house_open(&config, 1);
    for (uint64_t i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "db%u", (unsigned)i % 20);
        struct weir_span client = client_of(house, i, 7), server = server_of(house, i, 7);
        server.service = house_name(house, name);
        client.operation = server.operation;
        house_span(house, 0, &client);
        house_span(house, 0, &server);
    }
    assert_series(house, REQUEST "_total{client=\"web\",server=\"db4\"}", 2);
    assert_series(house, REQUEST "_total{overflow=\"true\"}", 30);
    assert_series(house, REQUEST "_server_seconds_count{overflow=\"true\"}", 30);
    house_wait(house, 31 * WEIR_S);
    assert_string_equal(house_page(house), "");
    house_close(house);
}

/* A rule of exclude: left them out: neither side waits for the other, nor is it in a series. */
static void uncounted_spans_are_in_no_series(void **state) {
    (void)state;
    struct house *house = house_of(1);
    struct weir_span client = client_of(house, 1, 7), server = server_of(house, 1, 7);
    client.flags |= WEIR_SPAN_UNCOUNTED;
    server.flags |= WEIR_SPAN_UNCOUNTED;
    house_span(house, 0, &client);
    house_span(house, 0, &server);
    assert_double(house_own(house, "weir_edges_waiting"), 0, "waiting", __FILE__, __LINE__);
    assert_null(strstr(house_page(house), REQUEST));
    assert_null(strstr(house_page(house), "traces_spanmetrics_calls_total{"));
    house_close(house);
}

static void off_costs_and_makes_nothing(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.service_graph = false;
    struct house *house = house_open(&config, 1);
    struct weir_span client = client_of(house, 1, 7), server = server_of(house, 1, 7);
    house_span(house, 0, &client);
    house_span(house, 0, &server);
    house_wait(house, 11 * WEIR_S);
    assert_null(strstr(house_page(house), "service_graph"));
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_left_survive_the_shrinking),
        cmocka_unit_test(both_sides_make_an_edge_in_any_order),
        cmocka_unit_test(other_traces_and_spans_do_not_pair),
        cmocka_unit_test(a_shared_span_is_the_other_side_of_its_own_id),
        cmocka_unit_test(a_client_alone_knows_its_peer),
        cmocka_unit_test(those_that_wait_are_bounded),
        cmocka_unit_test(weights_and_variance),
        cmocka_unit_test(edges_fold_and_are_forgotten),
        cmocka_unit_test(uncounted_spans_are_in_no_series),
        cmocka_unit_test(off_costs_and_makes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
