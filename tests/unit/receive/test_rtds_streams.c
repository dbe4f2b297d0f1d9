/* Streams of RTDS: what is subscribed to, what is no request, and how they end. */
#include "tests/unit/receive/rtds_rig.h"

/* ---- subscriptions ---- */

static void names_come_and_go(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 1);
    struct ask more = first;
    more.nonce = "1";
    more.names[1] = "second";
    send_ask(&envoy, &more);
    is_told(&envoy, 2, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 2);
    ack(&envoy); /* of both, and asks for one only */
    told_no_more_than(&envoy, 2);
    struct ask none = first;
    none.nonce = "2";
    none.names[0] = NULL;
    send_ask(&envoy, &none);
    told_no_more_than(&envoy, 2);
    publish(0.02, 1, 0); /* nobody asks */
    told_no_more_than(&envoy, 2);
    struct ask again = first;
    again.nonce = "2";
    send_ask(&envoy, &again);
    is_told(&envoy, 3, "v1:rate=0.0200");
    envoy_close(&envoy);
}

/* Over ADS all types share one stream; the node need be in its first request only. */
static void other_types_wait(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    envoy_open(&envoy, AGGREGATED);
    send_ask(&envoy, &(struct ask){.node = "sidecar-1", .cluster = "payments", .type = CLUSTERS});
    told_no_more_than(&envoy, 0);
    assert_int_equal(rig_metric("weir_rtds_ignored_total{reason=\"type\"}"), 1);
    send_ask(&envoy, &(struct ask){.names = {"weir"}}); /* of no type at all */
    told_no_more_than(&envoy, 0);
    send_ask(&envoy, &(struct ask){.type = RUNTIME, .names = {"weir"}});
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"id\":\"sidecar-1\",\"service\":\"payments\""));
    envoy_close(&envoy);
    /* A service of one type need not be told which. */
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &(struct ask){.node = "sidecar-2", .cluster = "payments", .names = {"weir"}});
    is_told(&envoy, 1, "v1:rate=0.0100");
    envoy_close(&envoy);
}

static void two_of_one_name(void **state) {
    (void)state;
    struct envoy one, two;
    publish(0.01, 1, 0);
    subscribe(&one);
    is_told(&one, 1, "v1:rate=0.0100");
    subscribe(&two);
    is_told(&two, 1, "v1:rate=0.0100");
    ack(&one);
    ack(&two);
    told_no_more_than(&one, 2);
    told_no_more_than(&two, 2);
    envoy_close(&one);
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > 1; i++)
        usleep(10000);
    assert_int_equal(weir_steering_senders(rig.steering, weir_names_intern(rig.names, "payments", 8)), 1);
    publish(0.02, 1, 0);
    is_told(&two, 2, "v1:rate=0.0200");
    envoy_close(&two);
}

/* ---- what a proxy may cost ---- */

static void what_is_no_request_ends_the_stream(void **state) {
    (void)state;
    static const struct {
        struct ask ask;
        const char *code, *why, *row;
    } rows[] = {
        {{.type = RUNTIME, .names = {"weir"}}, "3", "node.id", "node"},
        {{.node = "", .type = RUNTIME, .names = {"weir"}}, "3", "node.id", "node"},
        {{.node = "n", .names = {"1", "2", "3", "4", "5", "6", "7", "8", "9"}}, "3", "resource_names", "bounds"},
        {{.node = "\xff", .names = {"weir"}}, "3", "not text", "malformed"},
    };
    publish(0.01, 1, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct envoy envoy;
        char row[64];
        snprintf(row, sizeof row, "weir_rtds_refused_total{reason=\"%s\"}", rows[i].row);
        double before = rig_metric(row);
        envoy_open(&envoy, RTDS);
        send_ask(&envoy, &rows[i].ask);
        is_refused(&envoy, rows[i].code, rows[i].why);
        assert_int_equal(rig_metric(row), before + 1);
        envoy_close(&envoy);
        /* The same, in the middle of a good stream. */
        if (i < 2) continue;
        subscribe(&envoy);
        is_told(&envoy, 1, "v1:rate=0.0100");
        send_ask(&envoy, &rows[i].ask);
        is_refused(&envoy, rows[i].code, rows[i].why);
        assert_true(board_says("\"state\":\"gone\""));
        envoy_close(&envoy);
    }
}

static void only_the_state_of_the_world(void **state) {
    (void)state;
    static const char *const paths[] = {
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime",
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/FetchRuntime",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct envoy envoy;
        envoy_open(&envoy, paths[i]);
        is_refused(&envoy, "12", "unknown method");
        envoy_close(&envoy);
    }
}

/* Its window is shut: of all that would have been told meanwhile it is told the last when it reads again. */
static void who_does_not_read_is_told_the_last_only(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    memset(&envoy, 0, sizeof envoy);
    client_open(&envoy.client);
    const nghttp2_settings_entry shut = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    nghttp2_submit_settings(envoy.client.session, NGHTTP2_FLAG_NONE, &shut, 1);
    envoy.body = (struct body){.bytes = envoy.bytes, .open = true};
    envoy.answer = client_submit(&envoy.client, &(struct request){.path = RTDS, .body = &envoy.body});
    send_ask(&envoy, &first);
    told_no_more_than(&envoy, 1);
    for (int i = 2; i <= 50; i++)
        publish(i / 100.0, 1, 0);
    told_no_more_than(&envoy, 1);
    nghttp2_submit_window_update(envoy.client.session, NGHTTP2_FLAG_NONE, envoy.answer->stream, 65535);
    is_told(&envoy, 2, "v1:rate=0.5000");
    told_no_more_than(&envoy, 2);
    envoy_close(&envoy);
}

static void an_end_is_an_end(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    rig_on_lane(rig_stop_job);
    assert_true(client_pump(&envoy.client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(envoy.answer->grpc_status, "14");
    assert_true(board_says("\"state\":\"gone\""));
    envoy_close(&envoy);
    assert_true(rig_idle_within(RIG_PATIENCE_MS));
}

/* A letter is under way while the receiver goes. */
static void close_under_a_letter(void) {
    publish(0.02, 1, 0);
    weir_receive_grpc.close(rig.receiver);
    rig.receiver = NULL;
}
static void a_letter_may_come_too_late(void **state) {
    (void)state;
    publish(0.01, 1, 0);
    rig_on_lane(rig_stop_job);
    assert_true(rig_idle_within(RIG_PATIENCE_MS));
    rig_on_lane(close_under_a_letter);
    rig_on_lane(rig_nothing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_come_and_go),
        TEST(other_types_wait),
        TEST(two_of_one_name),
        TEST(what_is_no_request_ends_the_stream),
        TEST(only_the_state_of_the_world),
        TEST(who_does_not_read_is_told_the_last_only),
        TEST(an_end_is_an_end),
        TEST(a_letter_may_come_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
