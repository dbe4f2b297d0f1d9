/* Threads of a process that share an emitter: their places in it, and that nothing of theirs is lost. */
#include "tests/unit/emitter/peer.h"

#include <pthread.h>

struct crowd {
    struct weir_emit *emit;
    struct weir_emit_operation *operation;
    struct weir_emit_histogram *histogram;
    unsigned spans, counts;
    _Atomic unsigned taken;
};

static void *one_of_many(void *argument) {
    struct crowd *crowd = argument;
    struct weir_emit_span span = peer_span();
    uint8_t id[8];
    for (unsigned i = 0; i < crowd->counts; i++) {
        weir_emit_request(crowd->operation);
        if (i % 4 == 0) weir_emit_observe(crowd->histogram, 0.25);
    }
    for (unsigned i = 0; i < crowd->spans; i++) {
        weir_emit_random(crowd->emit, id, sizeof id);
        span.span_id = id;
        crowd->taken += weir_emit_span(crowd->operation, &span);
    }
    return NULL;
}

static void open_crowd(struct crowd *crowd, struct peer *peer, uint32_t threads_max) {
    static const double bound = 1;
    struct weir_emit_options options = peer_options();
    peer_open(peer);
    options.threads_max = threads_max;
    options.flush_ms = 1;
    *crowd = (struct crowd){.emit = peer_emitter(peer, &options), .spans = 50, .counts = 20000};
    crowd->operation = weir_emit_operation(crowd->emit, "GET /");
    crowd->histogram = weir_emit_histogram(crowd->emit, "cart_seconds", NULL, 0, &bound, 1);
}

static void close_crowd(struct crowd *crowd, struct peer *peer, unsigned threads) {
    weir_emit_close(crowd->emit); /* sends what is left */
    while (peer_hear(peer, 200)) {
    }
    assert_int_equal(peer->batch->span_count, crowd->taken);
    assert_true(peer_value(peer, "emitter_requests_total|operation|GET /|service|cart") ==
                (double)threads * crowd->counts);
    const struct peer_series *seconds = peer_find(peer, "cart_seconds");
    assert_int_equal(seconds->count, threads * crowd->counts / 4);
    assert_true(seconds->value == threads * crowd->counts / 16.0);
    peer_close(peer);
}

static void run_crowd(struct crowd *crowd, unsigned threads) {
    pthread_t ids[16];
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, one_of_many, crowd), 0);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
}

static void threads_at_one_time(void **state) {
    (void)state;
    struct crowd crowd;
    struct peer peer;
    open_crowd(&crowd, &peer, 64);
    run_crowd(&crowd, 8);
    assert_int_equal(crowd.taken, 8 * crowd.spans);
    close_crowd(&crowd, &peer, 8);
}

/* Beyond the bound spans are dropped and counted; counts stay exact. */
static void more_threads_than_places(void **state) {
    (void)state;
    struct crowd crowd;
    struct peer peer;
    open_crowd(&crowd, &peer, 1);
    weir_emit_request(crowd.operation); /* takes the one place there is */
    run_crowd(&crowd, 8);
    assert_int_equal(crowd.taken, 0);
    crowd.counts *= 8, crowd.counts += 1; /* all of them are one for the sums below */
    weir_emit_close(crowd.emit);
    while (peer_hear(&peer, 200)) {
    }
    assert_true(peer_value(&peer, "emitter_dropped_total|reason|threads|service|cart") == 8 * crowd.spans);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /|service|cart") == crowd.counts);
    assert_true(peer_find(&peer, "cart_seconds")->value == (crowd.counts - 1) / 16.0);
    peer_close(&peer);
}

/* A thread that ends gives its place to the next one, and loses nothing. */
static void places_are_used_again(void **state) {
    (void)state;
    struct crowd crowd;
    struct peer peer;
    open_crowd(&crowd, &peer, 1);
    for (unsigned i = 0; i < 20; i++)
        run_crowd(&crowd, 1);
    assert_int_equal(crowd.taken, 20 * crowd.spans);
    close_crowd(&crowd, &peer, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_at_one_time),
        cmocka_unit_test(more_threads_than_places),
        cmocka_unit_test(places_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
