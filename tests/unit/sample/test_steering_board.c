/* What hangs on the board for all: which plan for whom, whose nodes are whose, who hears of it; its bounds, and
 * threads. */
#include "tests/unit/sample/board.h"

#include <pthread.h>

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

/* Who follows the canary's file is of the service that this file says. */
static void nodes_of_a_canary_are_its_own(void **state) {
    (void)state;
    struct board board;
    set_up(&board);
    char nodes[2][128] = {"mesh-*", "mesh-*"};
    struct weir_proxies_service of_policy = {.rule.name = board.edge, .nodes = nodes, .node_count = 1},
                                of_canary = {.rule.name = id_of(&board, "pay"), .nodes = nodes + 1, .node_count = 1};
    struct weir_proxies policy = {.services = &of_policy, .service_count = 1},
                        next = {.services = &of_canary, .service_count = 1};
    struct weir_plan *plan = plan_at(&board, 0.1, -1);
    for (int s = 0; s < 3; s++) { /* then for all, then none is left */
        weir_steering_set_canary_nodes(board.steering, s < 2 ? &next : NULL);
        weir_steering_publish(board.steering, plan, s < 2 ? plan : NULL, s == 0 ? 0.5 : 1, false, &policy);
        uint32_t counts[WEIR_SIDES] = {0};
        for (int i = 0; i < 100; i++) {
            char id[32];
            enum weir_side side;
            int size = snprintf(id, sizeof id, "node-%d", i);
            weir_plan_unref(weir_steering_plan(board.steering, id, (size_t)size, &side));
            uint32_t service = weir_steering_service_of(board.steering, id, "mesh-eu");
            assert_int_equal(service, side == WEIR_SIDE_CANARY ? of_canary.rule.name : board.edge);
            counts[side]++;
        }
        assert_true((counts[WEIR_SIDE_POLICY] > 0) == (s != 1) && (counts[WEIR_SIDE_CANARY] > 0) == (s != 2));
    }
    weir_plan_unref(plan);
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
        cmocka_unit_test(nodes_belong_to_services),
        cmocka_unit_test(nodes_of_a_canary_are_its_own),
        cmocka_unit_test(a_canary_grows_and_keeps_whom_it_has),
        cmocka_unit_test(ears_hear_of_what_is_new_once),
        cmocka_unit_test(the_silent_give_way_to_those_that_speak),
        cmocka_unit_test(any_thread_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
