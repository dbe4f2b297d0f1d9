/* Followers on the board: what each has taken since when, and what its spans stand for. */
#include "tests/unit/sample/board.h"

static void a_rate_counts_from_its_confirmation_on(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    publish(&board, 0.1, false);
    assert_false(weir_steering_followed(board.steering));
    uint64_t first = told(&board, &envoy);
    assert_true(prior(&board, "node-1", 1000) == 0); /* told is not taken */
    assert_false(weir_steering_followed(board.steering));
    assert_true(series(&board, "weir_policy_followers{way=\"rtds\",state=\"behind\"}") == 1);
    board.now_ns = 1001 * WEIR_S;
    weir_steering_answered(board.steering, &envoy, first, NULL);
    assert_true(weir_steering_followed(board.steering));
    assert_true(series(&board, "weir_policy_followers{way=\"rtds\",state=\"current\"}") == 1);

    board.now_ns = 1010 * WEIR_S;
    publish(&board, 0.5, false);
    uint64_t second = told(&board, &envoy);
    assert_true(first != second);
    weir_steering_answered(board.steering, &envoy, first, NULL); /* of what came before */
    assert_true(prior(&board, "node-1", 1010) == 10);
    weir_steering_answered(board.steering, &envoy, second, NULL);

    assert_true(prior(&board, "node-1", 1000) == 0); /* before the first */
    assert_true(prior(&board, "node-1", 1001) == 10);
    assert_true(prior(&board, "node-1", 1009) == 10); /* its span comes late */
    assert_true(prior(&board, "node-1", 1010) == 2);
    assert_true(prior(&board, "node-2", 1010) == 0);
    assert_true(prior(&board, NULL, 1010) == 0);
    tear_down(&board);
}

static bool is_expected(const struct board *board, const char *node) {
    return weir_steering_expects(board->steering, node, strlen(node));
}

static void a_young_process_expects_proxies_to_come_again(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    board.now_ns = 910 * WEIR_S;
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    assert_false(is_expected(&board, "node-1")); /* nothing is told */
    publish(&board, 0.1, false);
    assert_true(weir_steering_followed(board.steering));
    assert_true(is_expected(&board, "node-1"));
    uint32_t arrivals = weir_steering_arrivals(board.steering);
    weir_steering_has(board.steering, &envoy, 0.5, 7);
    assert_true(weir_steering_arrivals(board.steering) != arrivals);
    assert_false(is_expected(&board, "node-1"));
    assert_true(is_expected(&board, "node-2"));
    board.now_ns = 931 * WEIR_S;
    arrivals = weir_steering_arrivals(board.steering); /* what the lanes ask each tick */
    assert_false(is_expected(&board, "node-2"));
    assert_int_equal(weir_steering_arrivals(board.steering), arrivals);
    tear_down(&board);
}

static void what_was_refused_is_not_in_force(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    publish(&board, 0.1, false);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    board.now_ns = 1010 * WEIR_S;
    publish(&board, 0.5, false);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), "no \"such\" \xff layer");
    assert_true(prior(&board, "node-1", 1011) == 10);
    assert_true(series(&board, "weir_policy_followers{way=\"rtds\",state=\"refused\"}") == 1);
    struct weir_buffer out = {0};
    weir_steering_write(board.steering, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "\"reason\":\"no \\\"such\\\" \xef\xbf\xbd layer\""));
    assert_non_null(strstr((char *)out.bytes, "\"rate\":0.1,\"since\":1000.000"));
    weir_buffer_free(&out);
    /* It is gone, and what it had is not: its last spans are on their way. */
    weir_steering_gone(board.steering, &envoy);
    assert_true(prior(&board, "node-1", 1011) == 10);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 0);
    assert_true(series(&board, "weir_policy_followers{way=\"rtds\",state=\"gone\"}") == 1);
    tear_down(&board);
}

static void an_envoy_follows_in_its_own_steps(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    publish(&board, 0.00034, false);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    assert_true(prior(&board, "node-1", 1000) == 1 / 0.0003);
    publish(&board, 0.000001, false);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    assert_true(prior(&board, "node-1", 1000) == 1 / 0.0001);
    tear_down(&board);
}

/* A proxy comes again before its last connection is found to be broken. */
static void who_came_twice_is_gone_once_both_are(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    publish(&board, 0.1, false);
    weir_steering_came(board.steering, &envoy);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 1);
    weir_steering_came(board.steering, &envoy);
    weir_steering_gone(board.steering, &envoy);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 1);
    weir_steering_gone(board.steering, &envoy);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 0);
    weir_steering_came(board.steering, &envoy);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 1);
    tear_down(&board);
}

static void all_over_rtds_have_one_rate_for_all_operations(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge},
                         client = {WEIR_FOLLOW_POLL, "10.0.0.1", board.edge};
    publish(&board, 0.1, false);
    assert_false(weir_steering_common(board.steering, board.edge)); /* nobody follows */
    weir_steering_came(board.steering, &envoy);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    assert_true(weir_steering_common(board.steering, board.edge));
    told(&board, &client);
    assert_false(weir_steering_common(board.steering, board.edge));
    tear_down(&board);
}

/* What no version tells apart: a rate that came with none. */
static void two_rates_of_unknown_versions_are_two(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    weir_steering_has(board.steering, &envoy, 0.25, 0);
    board.now_ns = 1010 * WEIR_S;
    weir_steering_has(board.steering, &envoy, 0.5, 0);
    assert_true(prior(&board, "node-1", 1009) == 4);
    assert_true(prior(&board, "node-1", 1010) == 2);
    tear_down(&board);
}

static void a_rate_of_a_process_before_counts_since_always(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    weir_steering_has(board.steering, &envoy, 0.25, 77);
    assert_true(weir_steering_followed(board.steering));
    assert_true(prior(&board, "node-1", 3) == 4);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 1);
    board.now_ns = 1010 * WEIR_S;
    publish(&board, 0.5, false);
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    assert_true(prior(&board, "node-1", 1009) == 4);
    assert_true(prior(&board, "node-1", 1010) == 2);
    tear_down(&board);
}

struct adopted {
    uint32_t service, count;
    double rate;
};
static void adopt(void *self, uint32_t service, double rate) {
    *(struct adopted *)self = (struct adopted){service, ((struct adopted *)self)->count + 1, rate};
}

static void rates_that_came_are_handed_on_once(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoys[] = {{WEIR_FOLLOW_RTDS, "node-1", board.edge},
                                     {WEIR_FOLLOW_RTDS, "node-2", board.edge}};
    weir_steering_has(board.steering, &envoys[0], 0.25, 77);
    weir_steering_has(board.steering, &envoys[1], 0.75, 78);
    struct adopted adopted = {0};
    weir_steering_take_adopted(board.steering, adopt, &adopted);
    assert_int_equal(adopted.count, 1);
    assert_int_equal(adopted.service, board.edge);
    assert_true(adopted.rate == 0.5);
    weir_steering_has(board.steering, &envoys[0], 0.5, 79); /* it comes again, with what it took since */
    weir_steering_take_adopted(board.steering, adopt, &adopted);
    assert_int_equal(adopted.count, 1);
    tear_down(&board);
}

static void history_is_bounded_and_does_not_guess(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    for (uint64_t i = 0; i < WEIR_FOLLOWER_HISTORY + 3; i++) {
        board.now_ns = (2000 + i) * WEIR_S;
        publish(&board, 1.0 / (double)(2 + i), false);
        weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    }
    assert_true(prior(&board, "node-1", 2002) == 0);
    for (uint64_t i = 3; i < WEIR_FOLLOWER_HISTORY + 3; i++) {
        double wanted = 1 / weir_plan_round_envoy(1.0 / (double)(2 + i));
        assert_true(prior(&board, "node-1", 2000 + i) == wanted);
    }
    tear_down(&board);
}

/* Each entry may hold a plan: what no span can ask for any more is given back, what is in force is not. */
static void what_was_in_force_long_ago_is_forgotten(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower poller = {WEIR_FOLLOW_POLL, "10.0.0.1", board.edge};
    struct weir_plan *plans[3];
    for (int i = 0; i < 3; i++) {
        plans[i] = plan_at(&board, 0.5 / (1 << i), -1);
        board.now_ns = (2000 + 100 * (uint64_t)i) * WEIR_S;
        weir_steering_publish(board.steering, plans[i], NULL, 0, true, NULL);
        weir_steering_told(board.steering, &poller, plans[i]);
    }
    uint32_t held = atomic_load(&plans[1]->refs);
    board.now_ns = 2600 * WEIR_S;
    weir_steering_tidy(board.steering);
    assert_true(prior(&board, NULL, 2050) == 2);
    board.now_ns = 2701 * WEIR_S; /* the first ended at 2100 */
    weir_steering_tidy(board.steering);
    assert_true(prior(&board, NULL, 2050) == 0);
    assert_true(prior(&board, NULL, 2150) == 4);
    assert_int_equal(atomic_load(&plans[1]->refs), held);
    board.now_ns = 2801 * WEIR_S;
    weir_steering_tidy(board.steering);
    assert_true(prior(&board, NULL, 2150) == 0);
    assert_int_equal(atomic_load(&plans[1]->refs), held - 1);
    board.now_ns = 3700 * WEIR_S; /* it did not ask again, and is not forgotten yet */
    weir_steering_tidy(board.steering);
    weir_steering_told(board.steering, &poller, plans[2]);
    assert_true(prior(&board, NULL, 2200) == 8);
    for (int i = 0; i < 3; i++)
        weir_plan_unref(plans[i]);
    tear_down(&board);
}

static void pollers_answer_where_they_are_trusted(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower one = {WEIR_FOLLOW_POLL, "10.0.0.1", board.edge},
                         other = {WEIR_FOLLOW_POLL, "10.0.0.2", board.edge};
    publish(&board, 0.1, false);
    assert_false(weir_steering_followed(board.steering));
    told(&board, &one);
    assert_true(weir_steering_followed(board.steering)); /* its roots may say by which rate they came */
    assert_true(prior(&board, NULL, 1001) == 0);
    publish(&board, 0.1, true);
    assert_true(weir_steering_followed(board.steering));
    assert_true(prior(&board, NULL, 1001) == 10);
    assert_true(weir_steering_prior(board.steering, board.edge, id_of(&board, "GET /a"), NULL, 0, 1001 * WEIR_S) == 5);
    assert_true(prior(&board, "node-1", 1001) == 0); /* an Envoy that follows nobody */
    /* One has the new rate and the other does not yet: their traces come as 0.1 to 0.4. */
    told(&board, &other);
    board.now_ns = 1030 * WEIR_S;
    publish(&board, 0.4, true);
    told(&board, &other);
    assert_true(prior(&board, NULL, 1029) == 10);
    assert_true(prior(&board, NULL, 1031) == 4);
    /* Who does not ask any more is not counted. */
    board.now_ns = 1210 * WEIR_S;
    told(&board, &other);
    assert_true(prior(&board, NULL, 1210) == 2.5);
    assert_true(series(&board, "weir_policy_followers{way=\"poll\",state=\"gone\"}") == 1);
    /* A limit is no rate. */
    struct weir_plan *limited = plan_at(&board, 0.1, 5);
    board.now_ns = 1220 * WEIR_S;
    weir_steering_publish(board.steering, limited, NULL, 0, true, NULL);
    weir_plan_unref(limited);
    told(&board, &other);
    assert_true(prior(&board, NULL, 1221) == 0);
    tear_down(&board);
}

static void a_file_is_no_follower_to_weigh_by(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower file = {WEIR_FOLLOW_FILE, "/etc/weir/edge.env", board.edge};
    publish(&board, 0.1, true);
    told(&board, &file);
    assert_false(weir_steering_followed(board.steering));
    assert_true(prior(&board, NULL, 1001) == 0);
    assert_true(series(&board, "weir_policy_followers{way=\"file\",state=\"current\"}") == 1);
    tear_down(&board);
}

static void a_version_that_is_remembered_can_be_followed(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower sender = {WEIR_FOLLOW_DATAGRAM, "00000000000000aa", board.edge};
    struct weir_plan *plan = plan_at(&board, 0.125, -1);
    weir_steering_publish(board.steering, plan, NULL, 0, false, NULL);
    assert_false(weir_steering_follows(board.steering, &sender, plan->version + 1));
    assert_false(weir_steering_followed(board.steering));
    assert_true(weir_steering_follows(board.steering, &sender, plan->version));
    assert_true(weir_steering_followed(board.steering));
    assert_int_equal(weir_steering_senders(board.steering, board.edge), 1);
    uint32_t operation = id_of(&board, "GET /a"), other = id_of(&board, "GET /b");
    assert_true(weir_steering_prior_of(board.steering, plan->version, board.edge, operation) == 4);
    assert_true(weir_steering_prior_of(board.steering, plan->version, board.edge, other) == 8);
    assert_true(weir_steering_prior_of(board.steering, plan->version + 1, board.edge, other) == 0);
    weir_plan_unref(plan);
    tear_down(&board);
}

/* It was in force until just now, however often plans changed before: senders say it for seconds yet. */
static void a_version_that_came_back_is_remembered_anew(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_plan *plan = plan_at(&board, 0.5, -1);
    uint32_t other = id_of(&board, "GET /b");
    for (int i = 0; i < 16; i++) /* so many are remembered */
        publish(&board, i == 0 ? 0.5 : 0.25 / (1 + i), false);
    weir_steering_publish(board.steering, plan, NULL, 0, false, NULL);
    for (int i = 0; i < 15; i++) {
        publish(&board, 0.01 / (1 + i), false);
        assert_true(weir_steering_prior_of(board.steering, plan->version, board.edge, other) == 2);
    }
    publish(&board, 0.125, false);
    assert_true(weir_steering_prior_of(board.steering, plan->version, board.edge, other) == 0);
    weir_plan_unref(plan);
    tear_down(&board);
}

static void who_asks_again_by_the_same_datagram_is_a_copy(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower sender = {WEIR_FOLLOW_DATAGRAM, "00000000000000aa", board.edge};
    publish(&board, 0.1, false);
    assert_true(weir_steering_asks(board.steering, &sender, 5, 1));
    assert_true(series(&board, "weir_policy_followers{way=\"datagram\",state=\"behind\"}") == 1);
    assert_false(weir_steering_asks(board.steering, &sender, 5, 1));
    assert_true(weir_steering_asks(board.steering, &sender, 5, 3));
    assert_false(weir_steering_asks(board.steering, &sender, 5, 2));
    assert_true(weir_steering_asks(board.steering, &sender, 6, 1)); /* another run of it */
    assert_false(weir_steering_asks(board.steering, &sender, 5, 9));
    sender.id = "00000000000000ab";
    assert_true(weir_steering_asks(board.steering, &sender, 5, 1));
    assert_false(weir_steering_followed(board.steering)); /* asking is not following */
    tear_down(&board);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_counts_from_its_confirmation_on),
        cmocka_unit_test(a_young_process_expects_proxies_to_come_again),
        cmocka_unit_test(what_was_refused_is_not_in_force),
        cmocka_unit_test(a_rate_of_a_process_before_counts_since_always),
        cmocka_unit_test(rates_that_came_are_handed_on_once),
        cmocka_unit_test(an_envoy_follows_in_its_own_steps),
        cmocka_unit_test(who_came_twice_is_gone_once_both_are),
        cmocka_unit_test(all_over_rtds_have_one_rate_for_all_operations),
        cmocka_unit_test(two_rates_of_unknown_versions_are_two),
        cmocka_unit_test(history_is_bounded_and_does_not_guess),
        cmocka_unit_test(what_was_in_force_long_ago_is_forgotten),
        cmocka_unit_test(pollers_answer_where_they_are_trusted),
        cmocka_unit_test(a_file_is_no_follower_to_weigh_by),
        cmocka_unit_test(a_version_that_is_remembered_can_be_followed),
        cmocka_unit_test(a_version_that_came_back_is_remembered_anew),
        cmocka_unit_test(who_asks_again_by_the_same_datagram_is_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
