/* When things leave: what is little waits, what is much does not wait for it. */
#include "tests/unit/emitter/peer.h"

enum { RING = 1 << 16, FLUSH_MS = 10000, LOOK_MS = FLUSH_MS / 5, TRIES = 10 };

/* False: the machine was so slow meanwhile that it was time for all to leave. */
static bool much_leaves_before_it_is_time(void) {
    struct weir_emit_options options = peer_options();
    struct weir_emit_span span = peer_span();
    struct peer peer;
    options.flush_ms = FLUSH_MS;
    options.ring_bytes = RING;
    peer_open(&peer);
    uint64_t opened_ms = peer_clock_ms();
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    assert_true(weir_emit_span(operation, &span));
    bool early = !peer_hear(&peer, LOOK_MS + LOOK_MS / 2);            /* it was looked at meanwhile */
    if (!early) assert_true(peer_clock_ms() - opened_ms >= FLUSH_MS); /* what is little waited */
    const unsigned many = RING / 16 / 64 + 1; /* no span is smaller than 64 bytes: a sixteenth and more */
    for (unsigned i = 0; i < many; i++) {
        weir_emit_request(operation);
        assert_true(weir_emit_span(operation, &span));
    }
    while (peer.batch->span_count < many + 1)
        assert_true(peer_hear(&peer, PEER_PATIENCE_MS));
    early = early && peer_clock_ms() - opened_ms < FLUSH_MS; /* by the next look */
    weir_emit_close(emit);
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", many);
    assert_int_equal(peer.batch->span_count, many + 1);
    peer_close(&peer);
    return early;
}

static void much_leaves_sooner_than_little(void **state) {
    (void)state;
    unsigned tries = 0;
    while (!much_leaves_before_it_is_time()) {
        if (++tries == TRIES) fail_msg("what is much leaves no sooner than what is little");
    }
}

/* Nothing waits longer than it may, however little it is. */
static void little_leaves_in_time(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    options.flush_ms = 300;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    weir_emit_request(weir_emit_operation(emit, "GET /"));
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 1);
    weir_emit_close(emit);
    peer_close(&peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_leaves_sooner_than_little),
        cmocka_unit_test(little_leaves_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
