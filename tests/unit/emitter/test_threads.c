/* Many threads: what they hand over is exact, whether there are places for all of them or not. */
#include "tests/unit/emitter/peer.h"

#include <pthread.h>

struct crowd {
    struct peer *peer;
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
    *crowd = (struct crowd){.peer = peer, .emit = peer_emitter(peer, &options), .spans = 50, .counts = 20000};
    crowd->operation = weir_emit_operation(crowd->emit, "GET /");
    crowd->histogram = weir_emit_histogram(crowd->emit, "cart_seconds", NULL, 0, &bound, 1);
}

static void close_crowd(struct crowd *crowd, struct peer *peer, unsigned threads) {
    weir_emit_close(crowd->emit); /* sends what is left */
    while (peer->batch->span_count < crowd->taken)
        assert_true(peer_hear(peer, PEER_PATIENCE_MS));
    peer_hear_until(peer, "emitter_requests_total|operation|GET /|service|cart", (double)threads * crowd->counts);
    peer_hear_until(peer, "cart_seconds", threads * crowd->counts / 16.0);
    assert_int_equal(peer->batch->span_count, crowd->taken);
    assert_int_equal(peer_find(peer, "cart_seconds")->count, threads * crowd->counts / 4);
    peer_close(peer);
}

static void run_crowd(struct crowd *crowd, unsigned threads) {
    pthread_t ids[16];
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, one_of_many, crowd), 0);
    for (unsigned i = 0; i < threads; i++) {
        while (pthread_tryjoin_np(ids[i], NULL) != 0)
            peer_hear(crowd->peer, 1); /* its buffer may be small */
    }
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
    peer_hear_until(&peer, "emitter_dropped_total|reason|threads|service|cart", 8 * crowd.spans);
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", crowd.counts);
    peer_hear_until(&peer, "cart_seconds", (crowd.counts - 1) / 16.0);
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

/* Places, and so memory, are for those that are there at one time, however many come and go. */
static void ten_thousand_threads(void **state) {
    (void)state;
    enum { ROUNDS = 20, AT_ONCE = 4, TIMES = 125 };
    struct weir_emit_options options = peer_options();
    struct weir_emit_stats stats;
    struct peer peer;
    peer_open(&peer);
    options.threads_max = AT_ONCE;
    struct crowd crowd = {.peer = &peer, .emit = peer_emitter(&peer, &options), .spans = 1, .counts = 1};
    crowd.operation = weir_emit_operation(crowd.emit, "GET /");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < TIMES; i++)
            run_crowd(&crowd, AT_ONCE);
        peer_flush(&peer, crowd.emit);
    }
    weir_emit_stats(crowd.emit, &stats, sizeof stats);
    assert_int_equal(stats.dropped_threads + stats.dropped_full, 0);
    assert_int_equal(peer.batch->span_count, ROUNDS * AT_ONCE * TIMES);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /|service|cart") == ROUNDS * AT_ONCE * TIMES);
    weir_emit_close(crowd.emit);
    peer_close(&peer);
}

/* What a thread does at its very end, when its place is given back already. */
static struct weir_emit *late_emit;
static struct weir_emit_operation *late_operation;
static pthread_key_t late_key;
static void call_late(void *value) {
    (void)value;
    weir_emit_request(late_operation);
}
static void *end_with_a_call(void *argument) {
    (void)argument;
    weir_emit_request(late_operation);
    pthread_setspecific(late_key, "");
    return NULL;
}
static void calls_of_destructors(void **state) {
    (void)state;
    enum { THREADS = 50 };
    struct weir_emit_options options = peer_options();
    struct weir_emit_stats stats;
    struct peer peer;
    pthread_t thread;
    peer_open(&peer);
    options.threads_max = 1;
    late_emit = peer_emitter(&peer, &options);
    late_operation = weir_emit_operation(late_emit, "GET /");
    assert_int_equal(pthread_key_create(&late_key, call_late), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread, NULL, end_with_a_call, NULL), 0);
        pthread_join(thread, NULL);
    }
    struct weir_emit_span span = peer_span();
    assert_true(weir_emit_span(late_operation, &span)); /* the one place is free */
    peer_flush(&peer, late_emit);
    weir_emit_stats(late_emit, &stats, sizeof stats);
    assert_int_equal(stats.dropped_threads, 0);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /|service|cart") == 2 * THREADS);
    pthread_key_delete(late_key);
    weir_emit_close(late_emit);
    peer_close(&peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_at_one_time),   cmocka_unit_test(more_threads_than_places),
        cmocka_unit_test(places_are_used_again), cmocka_unit_test(ten_thousand_threads),
        cmocka_unit_test(calls_of_destructors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
