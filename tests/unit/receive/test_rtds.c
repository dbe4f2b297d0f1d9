/* RTDS: who is told what of a plan, and when not. */
#include "tests/unit/receive/rtds_rig.h"

/* ---- the plan ---- */

static void follows_the_plan(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_string_equal(envoy.nonce, "1");
    assert_true(board_says("\"state\":\"behind\""));
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    assert_int_equal(rig_metric("weir_rtds_streams"), 1);
    assert_true(board_says("\"id\":\"sidecar-1\",\"service\":\"payments\",\"side\":\"policy\",\"state\":\"current\""));
    publish(0.5, 1, 500);
    is_told(&envoy, 2, "v1:rate=0.5000,flush=500");
    assert_string_equal(envoy.nonce, "2");
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"rate\":0.5"));
    /* What an Envoy cannot be told is no reason to tell it anything; the board knows that it has the new version. */
    publish(0.5, 0.25, 500);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"state\":\"current\""));
    envoy_close(&envoy);
}

static void the_end_of_a_stream_is_noticed(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    envoy.body.open = false;
    nghttp2_session_resume_data(envoy.client.session, envoy.answer->stream);
    is_refused(&envoy, "0", "");
    assert_true(board_says("\"state\":\"gone\""));
    envoy_close(&envoy);
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"state\":\"current\"")); /* what it took last is what it has */
    envoy_close(&envoy);
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > 0; i++)
        usleep(10000);
    rig_on_lane(rig_nothing);
    assert_true(board_says("\"state\":\"gone\""));
}

static void a_refusal_is_not_repeated(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    struct ask nack = first;
    nack.nonce = "1";
    nack.refuses = "no such layer";
    send_ask(&envoy, &nack);
    told_no_more_than(&envoy, 1);
    assert_int_equal(rig_metric("weir_rtds_nacks_total"), 1);
    assert_true(board_says("\"state\":\"refused\",\"reason\":\"no such layer\""));
    publish(0.01, 0.5, 0); /* another plan, and the same to an Envoy */
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"state\":\"refused\",\"reason\":\"no such layer\""));
    publish(0.02, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0200");
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"state\":\"current\""));
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    envoy_close(&envoy);
}

static void a_long_reason_is_cut(void **state) {
    (void)state;
    struct envoy envoy;
    char reason[900];
    for (size_t i = 0; i + 3 < sizeof reason; i += 3)
        memcpy(reason + i, "\xe2\x98\xba", 4);
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    struct ask nack = first;
    nack.nonce = "1";
    nack.refuses = reason;
    send_ask(&envoy, &nack);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\xe2\x98\xba"));
    envoy_close(&envoy);
}

/* An answer to a response that another has overtaken says nothing of the last one. */
static void old_nonces_are_ignored(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    publish(0.02, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0200");
    struct ask late = first;
    late.version = "v1:rate=0.0100";
    late.nonce = "1";
    send_ask(&envoy, &late);
    late.refuses = "late";
    send_ask(&envoy, &late);
    told_no_more_than(&envoy, 2);
    assert_int_equal(rig_metric("weir_rtds_ignored_total{reason=\"nonce\"}"), 2);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 0);
    assert_true(board_says("\"state\":\"behind\""));
    ack(&envoy);
    ack(&envoy); /* said twice, it is no second answer */
    told_no_more_than(&envoy, 2);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    envoy_close(&envoy);
}

/* ---- a Weir that has just started ---- */

static void what_a_proxy_has_is_not_told_again(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    publish(0.01, 1, 0);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    assert_true(board_says("\"state\":\"current\""));
    assert_true(weir_steering_prior(rig.steering, 0, 0, "sidecar-1", 9, 5) == 100); /* it had that all the time */
    publish(0.02, 1, 0);
    is_told(&envoy, 1, "v1:rate=0.0200");
    envoy_close(&envoy);
}

static void what_it_has_counts_until_it_takes_another(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000,flush=7";
    again.nonce = "9"; /* of a stream before; nothing was told on this one */
    publish(0.01, 1, 0);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_true(weir_steering_prior(rig.steering, 0, 0, "sidecar-1", 9, 5) == 2);
    envoy_close(&envoy);
}

static void while_rates_are_taken_up_none_is_told(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000";
    publish(0.01, 1, 0);
    weir_steering_set_settling(rig.steering, true);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    publish(0.5, 1, 0); /* the controller has taken it up */
    told_no_more_than(&envoy, 0);
    assert_true(board_says("\"state\":\"current\""));
    publish(0.02, 1, 0);
    is_told(&envoy, 1, "v1:rate=0.0200");
    envoy_close(&envoy);
}

static void what_was_not_taken_up_is_told_when_that_is_over(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000";
    publish(0.01, 1, 0);
    weir_steering_set_settling(rig.steering, true);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    weir_steering_set_settling(rig.steering, false);
    is_told(&envoy, 1, "v1:rate=0.0100");
    envoy_close(&envoy);
}

/* ---- no plan ---- */

static void without_a_plan_a_start_is_not_held_up(void **state) {
    (void)state;
    struct envoy envoy;
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:nothing");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    publish(0.01, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0100");
    ack(&envoy);
    publish_nothing(); /* what was told stays */
    told_no_more_than(&envoy, 2);
    envoy_close(&envoy);
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 2);
    again.names[1] = "more"; /* which is told what the others have */
    send_ask(&envoy, &again);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 2);
    envoy_close(&envoy);
}

/* So many streams are left, and the board has heard so. */
static void left(uint64_t streams) {
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > streams; i++)
        usleep(10000);
    assert_int_equal(rig_metric("weir_rtds_streams"), streams);
    rig_on_lane(rig_nothing);
}

static double prior(void) {
    uint32_t payments = weir_names_intern(rig.names, "payments", 8);
    return weir_steering_prior(rig.steering, payments, WEIR_NAME_NONE, "sidecar-1", 9, weir_unix_ns(&rig_clock));
}

/* It was started anew, and has its own configuration: what another process of that name took weighs none of its spans.
 */
static void who_comes_with_nothing_follows_nothing(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_true(prior() == 100);
    envoy_close(&envoy);
    left(0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_true(board_says("\"state\":\"behind\""));
    assert_true(prior() == 0);
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(prior() == 100);
    envoy_close(&envoy);
    left(0);
    publish_nothing();
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:nothing");
    ack(&envoy);
    told_no_more_than(&envoy, 3);
    assert_true(prior() == 0);
    assert_false(board_says("\"rate\":"));
    assert_int_equal(weir_steering_senders(rig.steering, weir_names_intern(rig.names, "payments", 8)), 0);
    envoy_close(&envoy);
}

static void who_only_looks_changes_nothing(void **state) {
    (void)state;
    struct envoy envoy, look;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    subscribe(&look); /* by the same name, as the line of docs/policy.md does */
    is_told(&look, 1, "v1:rate=0.0100");
    assert_true(prior() == 100);
    envoy_close(&look);
    left(1);
    assert_true(prior() == 100);
    assert_true(board_says("\"rate\":0.01"));
    envoy_close(&envoy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(follows_the_plan),
        TEST(the_end_of_a_stream_is_noticed),
        TEST(a_refusal_is_not_repeated),
        TEST(a_long_reason_is_cut),
        TEST(old_nonces_are_ignored),
        TEST(what_a_proxy_has_is_not_told_again),
        TEST(what_it_has_counts_until_it_takes_another),
        TEST(while_rates_are_taken_up_none_is_told),
        TEST(what_was_not_taken_up_is_told_when_that_is_over),
        TEST(without_a_plan_a_start_is_not_held_up),
        TEST(who_comes_with_nothing_follows_nothing),
        TEST(who_only_looks_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
