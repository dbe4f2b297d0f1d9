#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/steering.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One board, one plan of one service, and a clock that stands until it is moved. */
struct board {
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_clock clock;
    _Atomic uint64_t now_ns;
    struct weir_steering *steering;
    uint32_t edge;
};

static uint64_t now_of(void *self) {
    return ((struct board *)self)->now_ns;
}

static uint32_t id_of(const struct board *board, const char *name) {
    return weir_names_intern(board->names, name, strlen(name));
}

static void set_up(struct board *board) {
    *board = (struct board){.now_ns = 900 * WEIR_S};
    board->names = weir_names_new(1000, 100000);
    board->metrics = weir_metrics_new();
    board->clock = (struct weir_clock){.mono_ns = now_of, .unix_ns = now_of, .self = board};
    board->steering = weir_steering_new(board->names, board->metrics, &board->clock);
    assert_non_null(board->steering);
    board->now_ns = 1000 * WEIR_S; /* an old process: nobody is expected any more */
    board->edge = id_of(board, "edge");
}

static void tear_down(struct board *board) {
    weir_steering_free(board->steering);
    weir_metrics_free(board->metrics);
    weir_names_free(board->names);
}

/* A plan of `edge` at this rate, of its operation GET /a at twice that, and of all others at 1. */
static struct weir_plan *plan_at(const struct board *board, double rate, double limit) {
    struct weir_plan_rate operation = {.name = id_of(board, "GET /a"), .rate = 2 * rate};
    operation.operation = operation.name;
    struct weir_plan_service fallback = {.rate.rate = 1, .max_traces_per_second = -1};
    struct weir_plan_service edge = {.rate = {.name = board->edge, .rate = rate},
                                     .max_traces_per_second = limit,
                                     .operations = &operation,
                                     .operation_count = limit < 0 ? 1 : 0};
    struct weir_plan *plan = weir_plan_new(board->names, 7, &fallback, &edge, 1);
    assert_non_null(plan);
    return plan;
}

static void publish(struct board *board, double rate, bool trust) {
    struct weir_plan *plan = plan_at(board, rate, -1);
    weir_steering_publish(board->steering, plan, NULL, 0, trust, NULL);
    weir_plan_unref(plan);
}

static uint64_t told(struct board *board, const struct weir_follower *who) {
    const struct weir_plan *plan = weir_steering_plan(board->steering, who->id, strlen(who->id), NULL);
    assert_non_null(plan);
    uint64_t version = weir_plan_find(plan, who->service)->version;
    weir_steering_told(board->steering, who, plan);
    weir_plan_unref(plan);
    return version;
}

static double prior(const struct board *board, const char *node, uint64_t second) {
    return weir_steering_prior(board->steering, board->edge, id_of(board, "GET /b"), node,
                               node != NULL ? strlen(node) : 0, second * WEIR_S);
}

static double series(const struct board *board, const char *name) {
    struct weir_buffer out = {0};
    weir_metrics_expose(board->metrics, &out);
    weir_buffer_byte(&out, 0);
    char line[128];
    int size = snprintf(line, sizeof line, "\n%s ", name); /* not its HELP */
    const char *at = strstr((const char *)out.bytes, line);
    double value = at != NULL ? strtod(at + size, NULL) : -1;
    weir_buffer_free(&out);
    return value;
}

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

/* ---- nodes, canary, ears ---- */

static void nodes_belong_to_services(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    char nodes[2][128] = {"ingress-*", "sidecar~pay"};
    struct weir_proxies_service services[] = {{.rule.name = board.edge, .nodes = nodes, .node_count = 1},
                                              {.rule.name = id_of(&board, "pay"), .nodes = nodes + 1, .node_count = 1}};
    struct weir_proxies proxies = {.services = services, .service_count = 2, .poll_ns = 60 * WEIR_S};
    weir_steering_publish(board.steering, NULL, NULL, 0, false, &proxies);
    memset(nodes, 'x', sizeof nodes - 1); /* the file is gone */
    struct {
        const char *node, *cluster, *service;
    } rows[] = {
        {"a", "ingress-eu", "edge"}, {"ingress-1", "", "edge"}, {"a", "ingress", ""}, {"sidecar~pay", "b", "pay"},
        {"a", "sidecar~payx", ""},   {"a", "edge", "edge"},     {"", "", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t service = weir_steering_service_of(board.steering, rows[i].node, rows[i].cluster);
        assert_string_equal(weir_names_text(board.names, service, NULL), rows[i].service);
    }
    tear_down(&board);
}

static void a_canary_grows_and_keeps_whom_it_has(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_plan *plan = plan_at(&board, 0.1, -1), *canary = plan_at(&board, 0.2, -1);
    uint32_t before = 0, in[3] = {0}, left = 0;
    static const double shares[3] = {0.1, 0.5, 1};
    bool was_in[1000] = {0};
    for (int s = 0; s < 3; s++) {
        weir_steering_publish(board.steering, plan, canary, shares[s], false, NULL);
        for (int i = 0; i < 1000; i++) {
            char id[32];
            int size = snprintf(id, sizeof id, "node-%d", i);
            enum weir_side side;
            const struct weir_plan *told_plan = weir_steering_plan(board.steering, id, (size_t)size, &side);
            assert_ptr_equal(told_plan, side == WEIR_SIDE_CANARY ? canary : plan);
            weir_plan_unref(told_plan);
            if (side == WEIR_SIDE_CANARY) in[s]++;
            if (was_in[i] && side != WEIR_SIDE_CANARY) left++;
            was_in[i] = side == WEIR_SIDE_CANARY;
        }
        assert_true(in[s] > before);
        before = in[s];
    }
    /* 4 standard errors of a binomial. */
    assert_in_range(in[0], 62, 138);
    assert_in_range(in[1], 437, 563);
    assert_int_equal(in[2], 1000);
    assert_int_equal(left, 0);
    weir_plan_unref(plan);
    weir_plan_unref(canary);
    tear_down(&board);
}

static unsigned deliveries;
static void count_delivery(struct weir_mail *mail) {
    weir_steering_heard((struct weir_steering_ear *)mail);
    deliveries++;
}

static void ears_hear_of_what_is_new_once(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_loop *loop = weir_loop_new(&board.clock, NULL);
    struct weir_steering_ear ear = {.mail.deliver = count_delivery, .loop = loop};
    weir_steering_listen(board.steering, &ear);
    deliveries = 0;
    publish(&board, 0.1, false);
    publish(&board, 0.2, false);
    weir_mailbox_read(weir_loop_mailbox(loop));
    assert_int_equal(deliveries, 1);
    publish(&board, 0.2, false); /* tells the same */
    weir_mailbox_read(weir_loop_mailbox(loop));
    assert_int_equal(deliveries, 1);
    /* Nodes may be another service's now, though each is told the same. */
    char nodes[1][128] = {"ingress-*"};
    struct weir_proxies_service edge = {.rule.name = board.edge, .nodes = nodes, .node_count = 1};
    struct weir_proxies proxies = {.services = &edge, .service_count = 1};
    struct weir_plan *plan = plan_at(&board, 0.2, -1);
    for (int i = 0; i < 2; i++) {
        weir_steering_publish(board.steering, plan, NULL, 0, false, &proxies);
        weir_mailbox_read(weir_loop_mailbox(loop));
        assert_int_equal(deliveries, 2);
    }
    weir_plan_unref(plan);
    deliveries = 1;
    publish(&board, 0.3, false);
    assert_false(weir_steering_unlisten(board.steering, &ear));
    weir_mailbox_read(weir_loop_mailbox(loop));
    assert_int_equal(deliveries, 2);
    publish(&board, 0.4, false);
    weir_mailbox_read(weir_loop_mailbox(loop));
    assert_int_equal(deliveries, 2);
    assert_true(weir_steering_unlisten(board.steering, &ear));
    weir_steering_listen(board.steering, &ear);
    weir_steering_set_settling(board.steering, true);
    assert_true(weir_steering_settling(board.steering));
    assert_int_equal(weir_mailbox_read(weir_loop_mailbox(loop)), 0);
    weir_steering_set_settling(board.steering, false);
    weir_steering_set_settling(board.steering, false);
    assert_int_equal(weir_mailbox_read(weir_loop_mailbox(loop)), 1);
    assert_true(weir_steering_unlisten(board.steering, &ear));
    weir_loop_free(loop);
    tear_down(&board);
}

/* ---- bounds and threads ---- */

static void the_silent_give_way_to_those_that_speak(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    publish(&board, 0.5, true);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "node-1", board.edge};
    weir_steering_answered(board.steering, &envoy, told(&board, &envoy), NULL);
    char id[32];
    struct weir_follower poller = {WEIR_FOLLOW_POLL, id, board.edge};
    for (int i = 0; i < WEIR_FOLLOWERS_MAX + 500; i++) {
        snprintf(id, sizeof id, "10.1.%d", i);
        told(&board, &poller);
    }
    assert_true(series(&board, "weir_policy_followers_forgotten_total") == 501);
    assert_true(series(&board, "weir_policy_followers{way=\"poll\",state=\"current\"}") == WEIR_FOLLOWERS_MAX - 1);
    assert_true(prior(&board, "node-1", 1001) == 2); /* it has a connection */
    tear_down(&board);
}

enum { THREADS = 4, ROUNDS = 3000 };

static void *speak(void *argument) {
    struct board *board = argument;
    static _Atomic int next;
    char id[32];
    snprintf(id, sizeof id, "node-%d", next++);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, id, board->edge};
    for (int i = 0; i < ROUNDS; i++) {
        weir_steering_answered(board->steering, &envoy, told(board, &envoy), NULL);
        double found = weir_steering_prior(board->steering, board->edge, 0, id, strlen(id), board->now_ns);
        if (found < 1) abort();
        if (i % 64 == 0) weir_steering_gone(board->steering, &envoy);
    }
    return NULL;
}

static void any_thread_may_ask(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    publish(&board, 0.5, false);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, speak, &board), 0);
    for (int i = 0; i < 300; i++) {
        board.now_ns += WEIR_MS;
        publish(&board, 1.0 / (2 + i % 7), i % 2 == 0);
        struct weir_buffer out = {0};
        weir_steering_write(board.steering, &out);
        weir_metrics_expose(board.metrics, &out);
        weir_buffer_free(&out);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(weir_steering_senders(board.steering, board.edge), THREADS);
    tear_down(&board);
}

static bool says(struct board *board, const char *text) {
    struct weir_buffer page = {0};
    weir_steering_write(board->steering, &page);
    weir_buffer_byte(&page, 0);
    bool found = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return found;
}

static uint32_t refs_of(struct weir_plan *plan) {
    return atomic_load(&plan->refs);
}

/* Addresses come and go for days: neither they nor the plans of their time stay. */
static void who_is_gone_for_an_hour_is_forgotten(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    struct weir_follower poller = {WEIR_FOLLOW_POLL, "10.0.0.1", board.edge};
    struct weir_follower file = {WEIR_FOLLOW_FILE, "/etc/rates", board.edge};
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "stays", board.edge}, left = {WEIR_FOLLOW_RTDS, "left", board.edge};
    struct weir_plan *plan = plan_at(&board, 0.25, -1);
    weir_steering_came(board.steering, &envoy);
    weir_steering_has(board.steering, &envoy, 0.5, 1);
    weir_steering_came(board.steering, &left);
    weir_steering_has(board.steering, &left, 0.5, 1);
    weir_steering_told(board.steering, &poller, plan);
    weir_steering_told(board.steering, &file, plan);
    assert_int_equal(refs_of(plan), 3);
    board.now_ns += 3500 * WEIR_S;
    weir_steering_gone(board.steering, &left);
    weir_steering_tidy(board.steering);
    assert_int_equal(refs_of(plan), 3);
    board.now_ns += 200 * WEIR_S;
    weir_steering_tidy(board.steering);
    assert_int_equal(refs_of(plan), 2); /* the poller's is gone, the file's not */
    assert_true(says(&board, "\"id\":\"left\"") && says(&board, "\"id\":\"stays\""));
    assert_false(says(&board, "10.0.0.1"));
    board.now_ns += 3600 * WEIR_S;
    weir_steering_tidy(board.steering);
    assert_false(says(&board, "\"id\":\"left\""));
    assert_true(says(&board, "\"id\":\"stays\"") && says(&board, "/etc/rates"));
    assert_true(weir_steering_followed(board.steering));
    weir_plan_unref(plan);
    tear_down(&board);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_gone_for_an_hour_is_forgotten),
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
        cmocka_unit_test(pollers_answer_where_they_are_trusted),
        cmocka_unit_test(a_file_is_no_follower_to_weigh_by),
        cmocka_unit_test(a_version_that_is_remembered_can_be_followed),
        cmocka_unit_test(who_asks_again_by_the_same_datagram_is_a_copy),
        cmocka_unit_test(nodes_belong_to_services),
        cmocka_unit_test(a_canary_grows_and_keeps_whom_it_has),
        cmocka_unit_test(ears_hear_of_what_is_new_once),
        cmocka_unit_test(the_silent_give_way_to_those_that_speak),
        cmocka_unit_test(any_thread_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
