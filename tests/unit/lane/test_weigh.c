/* What spans stand for where a policy is followed: who is weighed by it, who waits for its root, and for how long. */
#include "tests/unit/lane/steered.h"

#include <math.h>

#define ID(reason) "1c00b1a8-97b6-" reason "60f-8d27-790dd87c54bb"

/* All lanes emptied, all weights summed up by the exporter. */
static double finish(void) {
    rig_stop();
    rig_drain();
    assert_int_equal(rig_imbalance(), 0);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 0);
    return rig.weight_seen;
}

static void a_trace_stands_for_what_its_root_says(void **state) {
    (void)state;
    static const struct {
        const char *what;
        struct steered_span root;
        double prior; /* of root and children */
        bool known;   /* counted as policy */
    } rows[] = {
        {"an Envoy that follows", {.node = "sidecar-1", .request_id = ID("9")}, 8, true},
        {"the same in Zipkin's format", {.node = "sidecar-1", .receiver = WEIR_RECEIVER_ZIPKIN}, 8, true},
        {"it does not say its request", {.node = "sidecar-1"}, 8, true},
        {"forced", {.node = "sidecar-1", .request_id = ID("a")}, 1, false},
        {"asked for by the client", {.node = "sidecar-1", .request_id = ID("b")}, 1, false},
        {"another Envoy", {.node = "sidecar-2", .request_id = ID("9")}, 1, false},
        {"no Envoy at all", {.node = NULL}, 1, false},
        {"it began before anybody was told", {.node = "sidecar-1", .start_ns = WEIR_S}, 1, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        steered_build(1);
        rig.now_ns += 31 * WEIR_S; /* whoever follows is connected by now */
        steered_follow("sidecar-1", 0.125);
        rig_start();
        struct steered_span root = rows[i].root, child = {.trace = 7};
        root.trace = 7;
        root.root = true;
        steered_offer(0, &child, 1); /* a request before */
        rig_rounds();
        assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 1);
        steered_offer(0, (struct steered_span[]){child, root, child}, 3); /* the same request */
        steered_offer(0, &child, 1);                                      /* one after */
        rig_rounds();
        if (rig_value("weir_spans_held{exporter=\"\",where=\"join\"} ") != 0) fail_msg("%s: some wait", rows[i].what);
        if (steered_source(rows[i].known ? "policy" : "unknown") != 5) fail_msg("%s: source", rows[i].what);
        if (finish() != 5 * rows[i].prior) fail_msg("%s: %g", rows[i].what, rig.weight_seen);
        steered_free();
    }
}

static void what_is_known_otherwise_does_not_wait(void **state) {
    (void)state;
    steered_build(1);
    steered_follow("sidecar-1", 0.125);
    rig_start();
    steered_offer(0, &(struct steered_span){.trace = 7, .carried = 4}, 1);
    steered_offer(0, &(struct steered_span){.trace = 8, .more_flags = WEIR_SPAN_FORCED}, 1);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 0);
    assert_true(steered_source("carried") == 1 && steered_source("unknown") == 1);
    assert_true(finish() == 4 + 1);
    steered_free();
}

/* As roots of Jaeger's clients do: whoever they call does not say it again. */
static void what_a_root_carries_is_of_its_trace(void **state) {
    (void)state;
    steered_build(1);
    steered_follow("sidecar-1", 0.125);
    rig_start();
    steered_offer(0, &(struct steered_span){.trace = 9}, 1);
    struct steered_span whole[] = {
        {.trace = 9}, {.trace = 9, .root = true, .node = "sidecar-1", .carried = 2.5}, {.trace = 9, .carried = 5}};
    steered_offer(0, whole, 3);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 0);
    assert_true(steered_source("carried") == 2 && steered_source("trace") == 2 && steered_source("policy") == 0);
    assert_true(finish() == 3 * 2.5 + 5);
    steered_free();
}

static void without_followers_nobody_waits(void **state) {
    (void)state;
    steered_build(2);
    rig_start();
    for (uint64_t trace = 1; trace <= 50; trace++)
        steered_offer(trace % 2, &(struct steered_span){.trace = trace << 40, .node = "sidecar-1"}, 1);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 0);
    assert_true(steered_source("unknown") == 50);
    assert_true(finish() == 50);
    steered_free();
}

static void a_sender_that_says_what_it_follows_is_believed(void **state) {
    (void)state;
    steered_build(1);
    steered_follow("sidecar-1", 0.125);
    rig_start();
    struct weir_batch *batch = steered_batch();
    steered_add(batch, &(struct steered_span){.trace = 7, .root = true, .receiver = WEIR_RECEIVER_DATAGRAM});
    steered_add(batch, &(struct steered_span){.trace = 7});
    batch->spans[0].prior = 3;
    batch->spans[0].flags |= WEIR_SPAN_BY_POLICY | WEIR_SPAN_PRIOR_CHANGED;
    assert_int_equal(rig_offer(0, batch, NULL), WEIR_OK);
    rig_rounds();
    assert_true(steered_source("policy") == 2);
    assert_true(finish() == 6);
    steered_free();
}

/* Spans of many lanes in one request: each waits on its trace's lane, and all go on. */
static void many_lanes_wait_and_balance(void **state) {
    (void)state;
    enum { TRACES = 500 };
    steered_build(3);
    steered_follow("sidecar-1", 0.25);
    rig_start();
    struct weir_batch *children = steered_batch(), *roots = steered_batch();
    for (uint64_t trace = 1; trace <= TRACES; trace++) {
        struct steered_span span = {.trace = trace * 0x9e3779b97f4a7c15ull, .node = "sidecar-1"};
        steered_add(children, &span);
        steered_add(children, &span);
        span.root = true;
        if (trace % 2 == 0) steered_add(roots, &span);
    }
    struct rig_receipt receipt;
    assert_int_equal(rig_offer(0, children, &receipt), WEIR_OK);
    rig_rounds();
    weir_mailbox_read(&rig.home);
    assert_int_equal(receipt.owned, 1);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 2 * TRACES);
    assert_int_equal(rig_imbalance(), 0);
    assert_int_equal(rig_offer(1, roots, NULL), WEIR_OK);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), TRACES);
    assert_true(steered_source("policy") == 3 * TRACES / 2);
    /* The other half has no root: it goes on when the process ends. */
    assert_true(finish() == 3 * TRACES / 2 * 4 + TRACES);
    assert_true(steered_source("unknown") == TRACES);
    steered_free();
}

static void patience_is_over(void **state) {
    (void)state;
    steered_build(1);
    steered_follow("sidecar-1", 0.25);
    rig_start();
    steered_offer(0, &(struct steered_span){.trace = 7}, 1);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 1);
    rig.now_ns += 11 * WEIR_S;
    for (int i = 0; i < 200 && rig_value("weir_spans_held{exporter=\"\",where=\"join\"} ") > 0; i++)
        rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), 0);
    assert_true(finish() == 1);
    steered_free();
}

/* OpenTelemetry's TraceIdRatioBased lets through the traces whose id is small, and R is cut from the id: a rate of the
 * collector's, or a rule's, would keep none of them, and what is kept would stand for nothing. */
static void who_decides_by_the_id_is_drawn_anew(void **state) {
    (void)state;
    enum { TRACES = 4000, EACH = 1000 /* 1 / 0.1 % */ };
    static const char *const policies[] = {
        "proxies: { default: { rate: 1 } }\ncollector: { rate: 0.25 }\n",
        "proxies: { default: { rate: 1 } }\nkeep: { rules: [{ name: rest, rate: 0.25 }] }\n",
    };
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        for (int recorded = 0; recorded < 2; recorded++) {
            steered_build_with(2, policies[p]);
            steered_follow_by_polling(0.001);
            rig_start();
            struct weir_batch *batch = steered_batch();
            for (uint64_t i = 0; i < TRACES; i++) {
                rig.random ^= rig.random << 13, rig.random ^= rig.random >> 7, rig.random ^= rig.random << 17;
                struct steered_span span = {.trace = (rig.random >> 10) + 1, .by_probability = recorded ? 0.001 : 0};
                steered_add(batch, &span);
                span.root = true;
                steered_add(batch, &span);
            }
            assert_int_equal(rig_offer(0, batch, NULL), WEIR_OK);
            double kept = finish(), truth = 2.0 * TRACES * EACH;
            /* Both spans of a trace are kept, or none. */
            double error = 2 * EACH * sqrt(TRACES * (1 - 0.25) / 0.25);
            if (fabs(kept - truth) > 4 * error) fail_msg("%s, %d: %g of %g", policies[p], recorded, kept, truth);
            assert_int_equal(rig.spans_seen % 2, 0);
            steered_free();
        }
    }
}

static void at(uint64_t seconds, long long held) {
    rig.now_ns += seconds * WEIR_S;
    rig_rounds(); /* a round that was under way has the time before */
    for (int i = 0; i < 500 && rig_value("weir_spans_held{exporter=\"\",where=\"join\"} ") != held; i++)
        rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"join\"} "), held);
}

/* After a start spans come before their proxies are connected again: both kinds wait for these to say what they had. */
static void a_proxy_that_comes_again_is_waited_for(void **state) {
    (void)state;
    for (int comes = 0; comes < 2; comes++) {
        steered_build(1);
        steered_follow("sidecar-2", 0.5);
        rig_start();
        steered_offer(0, &(struct steered_span){.trace = 7}, 1);
        struct steered_span roots[] = {{.trace = 7, .root = true, .node = "sidecar-1"},
                                       {.trace = 8, .root = true, .node = "sidecar-1"},
                                       {.trace = 9, .root = true, .node = NULL}};
        steered_offer(0, roots, 3);
        steered_offer(0, &(struct steered_span){.trace = 7}, 1);
        rig_rounds();
        at(3, 4); /* one had no node: nobody is waited for */
        struct weir_follower follower = {WEIR_FOLLOW_RTDS, "sidecar-1", rig.service};
        if (comes) weir_steering_has(rig.steering, &follower, 0.125, 77);
        at(1, comes ? 0 : 4);
        at(10, 0);
        assert_true(steered_source("policy") == (comes ? 4 : 0));
        assert_true(finish() == (comes ? 4 * 8 + 1 : 5));
        steered_free();
    }
    /* Not for ever: when the process is older nobody is expected any more. */
    steered_build(1);
    steered_follow("sidecar-2", 0.5);
    rig_start();
    at(25, 0);
    steered_offer(0, &(struct steered_span){.trace = 8, .root = true, .node = "sidecar-1"}, 1);
    at(1, 1);
    at(5, 0);
    steered_offer(0, &(struct steered_span){.trace = 10, .root = true, .node = "sidecar-1"}, 1);
    at(0, 0);
    assert_true(finish() == 2);
    steered_free();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_stands_for_what_its_root_says),
        cmocka_unit_test(what_is_known_otherwise_does_not_wait),
        cmocka_unit_test(what_a_root_carries_is_of_its_trace),
        cmocka_unit_test(without_followers_nobody_waits),
        cmocka_unit_test(a_sender_that_says_what_it_follows_is_believed),
        cmocka_unit_test(many_lanes_wait_and_balance),
        cmocka_unit_test(patience_is_over),
        cmocka_unit_test(a_proxy_that_comes_again_is_waited_for),
        cmocka_unit_test(who_decides_by_the_id_is_drawn_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
