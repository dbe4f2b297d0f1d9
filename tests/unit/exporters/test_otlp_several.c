/* Several endpoints of the OTLP exporter: who takes over, and that no span which one has taken is sent to another. */
#include "exporters/otlp/balance.h"
#include "otlp_rig.h"
#include "tests/unit/free_port.h"

static void test_failover(void **state) {
    (void)state;
    struct taken taken = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1, .took = take, .self = &taken};
    struct weir_batch *batch = mesh_batch(SPANS);
    int held[2];
    peer_start(&peer);
    endpoint("grpc", dead_port(&held[0]));
    endpoint("http", dead_port(&held[1]));
    endpoint("grpc", peer.port);
    start();
    for (int i = 0; i < 3; i++) { /* the dead ones are asked once */
        struct ticket ticket = {.settled = 0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_DELIVERED);
        free(ticket.ticket.notes);
    }
    assert_int_equal(metric("outcome=\"unreachable\""), 2);
    assert_int_equal(metric("outcome=\"delivered\""), 3);
    assert_int_equal(metric("weir_otlp_endpoint_up"), 1);
    stop();
    peer_stop(&peer);
    for (int i = 0; i < 2; i++)
        close(held[i]);
    assert_int_equal(taken.count, 3 * SPANS);
    assert_int_equal(distinct(&taken), SPANS);
    weir_batch_unref(batch);
}

static void test_nobody_is_there(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    int held[2];
    endpoint("grpc", dead_port(&held[0]));
    endpoint("grpc", dead_port(&held[1]));
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    for (int i = 0; i < 2;
         i++) { /* each is tried for each part, though its breaker is open: the queue says how often */
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_RETRY);
        assert_int_equal(ticket.ticket.settled_spans, 0);
        assert_non_null(strstr(ticket.why, "Connection refused"));
    }
    for (int i = 0; i < 2; i++)
        close(held[i]);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* One endpoint of two asks to wait: its traces wait for it, the others' spans are delivered, and the next try sends
 * only the rest. */
static void test_parts_are_settled_once(void **state) {
    (void)state;
    struct taken taken[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
    struct peer peers[2] = {
        {.script = (const enum peer_does[]){PEER_EXHAUSTED_RETRY, PEER_OK},
         .script_size = 2,
         .took = take,
         .self = &taken[0]},
        {.script = (const enum peer_does[]){PEER_PARTIAL}, .script_size = 1, .took = take, .self = &taken[1]}};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    uint64_t seeds[2];
    uint32_t of_first = 0;
    for (int i = 0; i < 2; i++) {
        char name[64];
        peer_start(&peers[i]);
        endpoint("grpc", peers[i].port);
        snprintf(name, sizeof name, "grpc://127.0.0.1:%u", (unsigned)peers[i].port);
        seeds[i] = weir_otlp_seed(name);
    }
    for (uint32_t i = 0; i < SPANS; i++) {
        uint8_t order[WEIR_ENDPOINTS_MAX];
        weir_otlp_rank(seeds, 2, batch->spans[i].trace_lo, order);
        of_first += order[0] == 0;
    }
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    send_and_wait(batch, &ticket);
    if (of_first > 0) {
        assert_int_equal(ticket.how, WEIR_RETRY);
        assert_int_equal(ticket.retry_after_ns, 20 * WEIR_MS);
        assert_int_equal(ticket.ticket.settled_spans, SPANS - of_first);
        send_and_wait(batch, &ticket);
    }
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_int_equal(ticket.ticket.settled_spans, SPANS);
    assert_int_equal(ticket.ticket.rejected_spans, of_first < SPANS ? 1 : 0);
    stop();
    for (int i = 0; i < 2; i++)
        peer_stop(&peers[i]);
    assert_int_equal(taken[0].count, 2 * of_first);
    assert_int_equal(taken[1].count, SPANS - of_first);
    assert_int_equal(distinct(&taken[0]), of_first);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* One of two goes: its part goes to the other at once, in the same try. */
static void test_a_part_goes_elsewhere(void **state) {
    (void)state;
    struct taken taken[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
    struct peer peers[2] = {
        {.script = (const enum peer_does[]){PEER_HANG_UP}, .script_size = 1, .took = take, .self = &taken[0]},
        {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1, .took = take, .self = &taken[1]}};
    struct weir_batch *batch = mesh_batch(SPANS);
    for (int i = 0; i < 2; i++) {
        peer_start(&peers[i]);
        endpoint("grpc", peers[i].port);
    }
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    struct ticket ticket = {.settled = 0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    stop();
    for (int i = 0; i < 2; i++)
        peer_stop(&peers[i]);
    assert_int_equal(taken[1].count, SPANS);
    assert_int_equal(distinct(&taken[1]), SPANS);
    assert_in_range(peers[0].exports, 0, 1);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_are_settled_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_part_goes_elsewhere, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
