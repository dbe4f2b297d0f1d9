/* When things leave: what is little waits, what is much does not wait for it. */
#include "tests/unit/emitter/peer.h"

enum { RING = 1 << 16, FLUSH_MS = 10000, LOOK_MS = FLUSH_MS / 5 };

static void much_leaves_sooner_than_little(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct weir_emit_span span = peer_span();
    struct peer peer;
    options.flush_ms = FLUSH_MS;
    options.ring_bytes = RING;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    assert_true(weir_emit_span(operation, &span));
    assert_false(peer_hear(&peer, LOOK_MS + LOOK_MS / 2)); /* it was looked at meanwhile */
    const unsigned many = RING / 16 / 64 + 1;              /* no span is smaller than 64 bytes: a sixteenth and more */
    for (unsigned i = 0; i < many; i++) {
        weir_emit_request(operation);
        assert_true(weir_emit_span(operation, &span));
    }
    assert_true(peer_hear(&peer, FLUSH_MS)); /* by the next look */
    while (peer.batch->span_count < many + 1 && peer_hear(&peer, FLUSH_MS)) {
    }
    assert_int_equal(peer.batch->span_count, many + 1);
    weir_emit_close(emit);
    peer_hear(&peer, 1000);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /|service|cart") == many);
    peer_close(&peer);
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
    while (peer_value(&peer, "emitter_requests_total|operation|GET /|service|cart") < 1)
        assert_true(peer_hear(&peer, 60000));
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
