/* The tail buffer: what makes a trace decided, in which order its spans come out, and that each comes out once. */
#include "tests/unit/sample/tail_rig.h"

/* ---- causes ---- */

static void decides_when_the_root_has_ended(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    rig_give(1, 2, 1, false);
    rig_pass(2000);
    assert_int_equal(rig.decided_traces, 0); /* no root: it waits */
    rig_give(1, 1, 0, true);
    rig_pass(900);
    assert_int_equal(rig.decided_traces, 0);
    rig_give(1, 3, 1, false); /* something came: another second */
    rig_pass(900);
    assert_int_equal(rig.decided_traces, 0);
    assert_int_equal(weir_tail_pending(rig.tail), 1);
    rig_pass(100);
    const struct fate *fate = rig_fate(rig_lo(1));
    assert_int_equal(fate->kept, 3);
    assert_int_equal(fate->cause, WEIR_CAUSE_ROOT);
    assert_string_equal(rig_rule(1), "errors");
    assert_int_equal(fate->mark_id & 0xffffff, 1); /* the root, which came second */
    assert_true(rig_metric("weir_tail_traces_decided_total{cause=\"root\",verdict=\"kept\"} ") == 1);
    assert_true(rig_metric("weir_tail_traces_without_root_total ") == 0);
    rig_close();
}

static void decides_at_the_latest_after_wait(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    rig_give(1, 2, 1, false);
    for (uint32_t i = 0; i < 19; i++) { /* spans that come do not put it off */
        rig_pass(500);
        rig_give(1, 3 + i, 1, false);
    }
    assert_int_equal(rig.decided_traces, 0);
    rig_pass(500);
    assert_int_equal(rig_fate(rig_lo(1))->dropped, 20);
    assert_int_equal(rig_fate(rig_lo(1))->cause, WEIR_CAUSE_WAIT);
    assert_true(rig_metric("weir_tail_traces_without_root_total ") == 1);
    assert_true(rig_metric("weir_tail_trace_age_seconds_total ") == 10);
    rig_close();
}

static void decides_a_trace_of_too_many_spans(void **state) {
    (void)state;
    rig_build(RIG_KEEP ", max_trace_spans: 5", NULL);
    for (uint32_t i = 0; i < 5; i++)
        rig_give(1, 2 + i, 1, i == 2);
    assert_int_equal(rig.decided_traces, 0);
    rig_give(1, 7, 1, false);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 6);
    assert_int_equal(rig_fate(rig_lo(1))->cause, WEIR_CAUSE_SIZE);
    struct weir_verdict verdict; /* the rest of it follows */
    assert_int_equal(rig_take(&(struct said){.trace = 1, .span = 9, .parent = 1}, &verdict), WEIR_TAIL_KEEP);
    assert_string_equal(weir_names_text(rig.names, verdict.rule_name, NULL), "errors");
    rig_close();
}

static void decides_a_trace_of_too_many_bytes(void **state) {
    (void)state;
    rig_build(RIG_KEEP ", max_trace_bytes: 64KiB", NULL);
    for (uint32_t i = 0; rig.decided_traces == 0; i++) {
        assert_true(i < 66);
        assert_int_equal(rig_take(&(struct said){.trace = 1, .span = 2 + i, .parent = 1, .pad = 1000}, NULL),
                         WEIR_TAIL_HELD);
    }
    assert_true(rig.given > 50);
    assert_int_equal(rig_fate(rig_lo(1))->dropped, rig.given);
    assert_int_equal(rig_fate(rig_lo(1))->cause, WEIR_CAUSE_SIZE);
    rig_close();
}

static void decides_all_when_it_drains(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    for (uint32_t n = 0; n < 100; n++)
        rig_give(n, 2, 1, n % 10 == 0);
    weir_tail_drain(rig.tail, rig.now_ns);
    assert_int_equal(rig.decided_traces, 100);
    assert_int_equal(rig.kept_spans, 10);
    assert_int_equal(rig_fate(rig_lo(20))->cause, WEIR_CAUSE_DRAIN);
    assert_int_equal(weir_tail_held(rig.tail), 0);
    rig_close();
}

static void decides_in_order(void **state) {
    (void)state;
    rig_build("wait: 5s, quiet: 1s, rules: [ { name: all } ]", NULL);
    for (uint32_t n = 0; n < 50; n++) { /* every second trace has no root */
        rig_give(n, 2, 1, false);
        if (n % 2 == 0) rig_give(n, 1, 0, false);
        rig_pass(100);
    }
    rig_pass(0);
    for (uint32_t n = 0; n < 50; n++) {
        uint64_t age_ms = (50 - n) * 100;
        bool due = n % 2 == 0 ? age_ms >= 1000 : age_ms >= 5000;
        assert_int_equal(rig_fate(rig_lo(n))->times, due);
    }
    rig_close();
}

/* ---- what comes out ---- */

static struct weir_batch *given_batch;
static uint32_t compared;

static void same_span(struct weir_batch *spans, uint32_t i) {
    const struct weir_span *is = &spans->spans[i], *was = &given_batch->spans[0];
    const struct weir_origin *origin = spans->origins[is->origin], *origin_was = given_batch->origins[was->origin];
    assert_int_equal(is->size, was->size);
    assert_memory_equal(spans->bytes + is->offset, given_batch->bytes + was->offset, was->size);
    assert_ptr_equal(origin, origin_was);
    struct weir_span as = *is;
    as.offset = was->offset;
    as.origin = was->origin;
    assert_memory_equal(&as, was, sizeof as);
    compared++;
}

static void gives_views_back_whole(void **state) {
    (void)state;
    static const struct said rows[] = {
        {.span = 1},
        {.span = 1, .error = true, .ms = 77},
        {.span = 2, .parent = 1, .operation = "GET /items/12345"},
        {.span = 2, .parent = 1, .renamed = "what a rule called it"},
        {.span = 2, .parent = 1, .threshold = 1ull << 55},
        {.span = 2, .parent = 1, .prior = 12.5},
        {.span = 2, .parent = 1, .prior = 3, .threshold = 7, .forced = true},
        {.span = 2, .parent = 1, .short_id = true},
        {.span = 2, .parent = 1, .service = "another", .pad = 100000},
        {.span = 2, .parent = 1, .pad = 32 * 1024},
    };
    for (int compress = 0; compress < 2; compress++) {
        for (uint32_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
            char keep[200];
            snprintf(keep, sizeof keep, "compress: %s, rules: [ { name: all } ]", compress ? "true" : "false");
            rig_build(keep, NULL);
            struct said said = rows[n];
            said.trace = 3;
            struct weir_verdict verdict;
            for (int sealed = 0; sealed < 2; sealed++) {
                said.trace = 3 + (uint32_t)sealed;
                given_batch = rig_batch(&said);
                rig.given++;
                rig_fate(rig_lo(said.trace))->given++;
                assert_int_equal(weir_tail_take(rig.tail, given_batch, 0, rig.now_ns, &verdict), WEIR_TAIL_HELD);
                if (sealed) weir_tail_seal(rig.tail);
                rig.each_kept = same_span;
                compared = 0;
                weir_tail_drain(rig.tail, rig.now_ns);
                assert_int_equal(compared, 1);
                weir_batch_unref(given_batch);
            }
            rig_close();
        }
    }
}

static void gives_spans_in_the_order_they_came(void **state) {
    (void)state;
    rig_build("wait: 10s, rules: [ { name: errors, when: { error: true } }, { name: others, rate: 0 } ]", NULL);
    enum { TRACES = 200, SPANS = 40 };
    for (uint32_t s = 0; s < SPANS; s++) { /* a trace's spans lie in many blocks; some in twos; one sent twice */
        for (uint32_t n = 0; n < TRACES; n++)
            rig_give(n, s == 7 ? 7 : s + 1, 1000, s == SPANS / 2 && n % 4 == 0);
    }
    rig_pass(10000);
    rig_balanced();
    assert_int_equal(rig.kept_spans, TRACES / 4 * SPANS);
    for (uint32_t n = 0; n < TRACES; n += 4) {
        for (uint32_t s = 0; s < SPANS; s++)
            assert_int_equal(rig_fate(rig_lo(n))->span_ids[s] & 0xffffff, s == 7 ? 7 : s + 1);
        assert_int_equal(rig_fate(rig_lo(n))->mark_id & 0xffffff, 1); /* no root: the first */
    }
    rig_close();
}

/* A trace that does not look kept, then does, then does not again: back to a hot block that it had long left. */
static void gives_each_span_once_however_it_looked(void **state) {
    (void)state;
    rig_build("wait: 10s, quiet: 10s, rules: [ { name: bad, when: { error: true } }, { name: few, rate: 0, when: { "
              "spans: \"<4\" } }, { name: some, when: { spans: \"<20\" } }, { name: more, rate: 0, when: { spans: "
              "\"<40\" } } ]",
              NULL);
    enum { SPANS = 60 };
    for (uint32_t s = 0; s < SPANS; s++) {
        rig_give(1, s + 1, 1000, false);
        if (s < 4 || s >= 20) continue;
        for (uint32_t n = 0; n < 1000; n++) /* others that look kept fill one block a span */
            rig_give(1000 + s * 1000 + n, 1, 1000, true);
    }
    rig_pass(10000);
    assert_int_equal(rig_fate(rig_lo(1))->kept, SPANS);
    for (uint32_t s = 0; s < SPANS; s++) {
        uint32_t seen = 0;
        for (uint32_t i = 0; i < SPANS; i++)
            seen += (rig_fate(rig_lo(1))->span_ids[i] & 0xffffff) == s + 1;
        assert_int_equal(seen, 1);
    }
    rig_close();
}

static void raises_what_it_keeps(void **state) {
    (void)state;
    rig_build("rules: [ { name: tenth, rate: 10% } ]", NULL);
    const uint64_t tenth = weir_threshold_of(0.1);
    uint32_t should = 0;
    for (uint32_t n = 0; n < 2000; n++) {
        rig_give(n, 1, 0, false);
        should += rig_randomness(n) >= tenth;
    }
    weir_tail_drain(rig.tail, rig.now_ns);
    assert_true(should > 100);
    assert_int_equal(rig.kept_spans, should);
    for (uint32_t n = 0; n < 2000; n++) {
        if (rig_fate(rig_lo(n))->kept > 0) assert_int_equal(rig_fate(rig_lo(n))->threshold, tenth);
        assert_int_equal(rig_fate(rig_lo(n))->kept, rig_randomness(n) >= tenth);
    }
    rig_close();
}

static void keeps_forced_before_all_rules(void **state) {
    (void)state;
    rig_build("rules: [ { name: nothing, rate: 0 } ]", NULL);
    rig_give(1, 1, 0, false);
    rig_take(&(struct said){.trace = 1, .span = 2, .parent = 1, .forced = true}, NULL);
    rig_give(2, 1, 0, false);
    rig_pass(1000);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 2);
    assert_string_equal(rig_rule(1), "forced");
    assert_int_equal(rig_fate(rig_lo(2))->dropped, 1);
    /* late, too */
    assert_int_equal(rig_take(&(struct said){.trace = 2, .span = 2, .parent = 1, .forced = true}, NULL),
                     WEIR_TAIL_KEEP);
    assert_int_equal(rig_take(&(struct said){.trace = 2, .span = 3, .parent = 1}, NULL), WEIR_TAIL_DROP);
    rig_close();
}

/* ---- late spans ---- */

static void late_spans_follow_the_decision(void **state) {
    (void)state;
    rig_build("rules: [ { name: errors, when: { error: true } }, { name: half, rate: 50% } ]", NULL);
    uint32_t kept = 1, out = 1;
    while (rig_randomness(kept) < weir_threshold_of(0.5))
        kept++;
    while (rig_randomness(out) >= weir_threshold_of(0.5))
        out++;
    rig_give(kept, 1, 0, false);
    rig_give(out, 1, 0, false);
    rig_pass(1000);
    assert_int_equal(rig_fate(rig_lo(kept))->kept, 1);
    assert_int_equal(rig_fate(rig_lo(out))->dropped, 1);

    struct weir_verdict verdict;
    assert_int_equal(rig_take(&(struct said){.trace = kept, .span = 2, .parent = 1}, &verdict), WEIR_TAIL_KEEP);
    assert_true(verdict.kept);
    assert_string_equal(weir_names_text(rig.names, verdict.rule_name, NULL), "half");
    assert_int_equal(rig_fate(rig_lo(kept))->least_threshold, weir_threshold_of(0.5));
    assert_int_equal(rig_take(&(struct said){.trace = kept, .span = 3, .parent = 1, .short_id = true}, NULL),
                     WEIR_TAIL_KEEP);
    /* thinned more than the rule asks for: it keeps its own T */
    rig_take(&(struct said){.trace = kept, .span = 4, .parent = 1, .threshold = weir_threshold_of(0.25)}, NULL);
    assert_int_equal(rig_fate(rig_lo(kept))->least_threshold, weir_threshold_of(0.25));

    assert_int_equal(rig_take(&(struct said){.trace = out, .span = 2, .parent = 1}, NULL), WEIR_TAIL_DROP);
    assert_int_equal(rig_take(&(struct said){.trace = out, .span = 3, .parent = 1, .error = true}, NULL),
                     WEIR_TAIL_DROP);
    weir_tail_tick(rig.tail, rig.now_ns);
    assert_true(rig_metric("weir_tail_late_spans_total{verdict=\"kept\"} ") == 3);
    assert_true(rig_metric("weir_tail_late_spans_total{verdict=\"dropped\"} ") == 2);
    assert_true(rig_metric("weir_tail_late_spans_would_keep_total ") == 1);
    assert_int_equal(weir_tail_held(rig.tail), 0);
    rig_close();
}

static void short_ids_meet_long_ones(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    rig_give(1, 2, 1, false);
    rig_take(&(struct said){.trace = 1, .span = 3, .parent = 1, .short_id = true, .error = true}, NULL);
    rig_take(&(struct said){.trace = 2, .span = 3, .parent = 1, .short_id = true}, NULL);
    rig_give(2, 1, 0, true);
    assert_int_equal(weir_tail_pending(rig.tail), 2);
    rig_pass(10000);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 2);
    assert_int_equal(rig_fate(rig_lo(2))->kept, 2);
    rig_close();
}

/* ---- why ---- */

/* As a tier behind Kafka has them: a shard a partition, several on one thread, each with its part of the memory. */
static void two_shards_on_one_thread(void **state) {
    (void)state;
    rig_build("memory: 64MiB, " RIG_RULES, NULL);
    const struct weir_tail_env env = {.names = rig.names,
                                      .metrics = rig.metrics,
                                      .lanes = 2,
                                      .self = &rig,
                                      .kept = rig_kept,
                                      .dropped = rig_dropped,
                                      .lost = rig_lost};
    struct weir_tail *alone = rig.tail, *shards[2];
    weir_tail_free(alone);
    for (uint32_t n = 0; n < 2; n++) {
        struct weir_tail_env own = env;
        own.lane = n;
        shards[n] = weir_tail_new(&own, rig.policy, NULL, rig.now_ns);
        assert_non_null(shards[n]);
    }
    for (uint32_t trace = 0; trace < 300; trace++) {
        rig.tail = shards[trace % 3 == 0];
        rig_give(trace, 2, 1, trace % 10 == 0);
        rig_give(trace, 1, 0, false);
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t n = 0; n < 2; n++) {
            rig.tail = shards[n];
            rig_pass(pass * 2000);
        }
        if (pass > 0) break;
        assert_int_equal(weir_tail_pending(shards[0]), 200);
        assert_int_equal(weir_tail_pending(shards[1]), 100);
        assert_true(rig_metric("weir_tail_pending_traces ") == 300); /* a scrape adds them up */
        assert_true(rig_metric("weir_tail_memory_limit_bytes ") == 64 << 20);
        double parts = 0;
        static const char *const names[] = {"blocks", "traces", "decisions", "rules"};
        for (uint32_t i = 0; i < 4; i++) {
            char line[64];
            snprintf(line, sizeof line, "weir_tail_memory_bytes{part=\"%s\"} ", names[i]);
            double part = rig_metric(line);
            assert_true(part > 0 || i == 0);
            parts += part;
        }
        assert_true(parts == (double)(weir_tail_memory(shards[0]) + weir_tail_memory(shards[1])));
        assert_true(rig_metric("weir_tail_decisions_false_drop_ratio ") == 0);
    }
    assert_int_equal(rig.decided_traces, 300);
    double ratio = rig_metric("weir_tail_decisions_false_drop_ratio ");
    assert_true(ratio > 0 && ratio < 1e-6);
    assert_int_equal(weir_tail_held(shards[0]), 0);
    weir_tail_free(shards[0]);
    rig_close();
}

/* Half of an id may be everybody's: such traces lie in one chain of the index, and each span would walk along it. */
static void many_ids_with_one_half(void **state) {
    (void)state;
    rig_build("memory: 64MiB, wait: 60s, rules: [ { name: all } ]", NULL);
    for (uint32_t n = 1; n <= 3000; n++)
        rig_take(&(struct said){.trace = 7, .span = 2, .parent = 1, .high = n << 8 | 1, .error = n % 3 == 0}, NULL);
    assert_int_equal(weir_tail_pending(rig.tail), 64);
    rig_pass(100);
    assert_true(rig_metric("weir_tail_traces_decided_total{cause=\"size\",verdict=\"kept\"} ") == 3000 - 64);
    assert_int_equal(rig_take(&(struct said){.trace = 8, .span = 2, .parent = 1}, NULL), WEIR_TAIL_HELD);
    assert_int_equal(weir_tail_pending(rig.tail), 65);
    rig_balanced();
    rig_close();
}

static void explains(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    rig_give(1, 2, 1, true);
    rig_give(2, 1, 0, false);
    struct weir_buffer out = {0};
    assert_true(weir_tail_explain(rig.tail, rig_hi(1), rig_lo(1), rig.now_ns + 2500 * WEIR_MS, &out));
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((const char *)out.bytes, "waits: 1 spans for 2.500 s, its root has not come"));
    assert_non_null(strstr((const char *)out.bytes, "rule errors: the first that matches now"));
    rig_pass(10000);
    weir_buffer_clear(&out);
    assert_true(weir_tail_explain(rig.tail, rig_hi(1), rig_lo(1), rig.now_ns, &out));
    weir_buffer_byte(&out, 0);
    assert_string_equal((const char *)out.bytes, "kept by rule errors, one for 1\n");
    weir_buffer_clear(&out);
    assert_true(weir_tail_explain(rig.tail, rig_hi(2), rig_lo(2), rig.now_ns, &out));
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((const char *)out.bytes, "left out"));
    assert_false(weir_tail_explain(rig.tail, rig_hi(3), rig_lo(3), rig.now_ns, &out));
    weir_buffer_free(&out);
    rig_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_when_the_root_has_ended),
        cmocka_unit_test(decides_at_the_latest_after_wait),
        cmocka_unit_test(decides_a_trace_of_too_many_spans),
        cmocka_unit_test(decides_a_trace_of_too_many_bytes),
        cmocka_unit_test(decides_all_when_it_drains),
        cmocka_unit_test(decides_in_order),
        cmocka_unit_test(gives_views_back_whole),
        cmocka_unit_test(gives_spans_in_the_order_they_came),
        cmocka_unit_test(gives_each_span_once_however_it_looked),
        cmocka_unit_test(raises_what_it_keeps),
        cmocka_unit_test(keeps_forced_before_all_rules),
        cmocka_unit_test(late_spans_follow_the_decision),
        cmocka_unit_test(short_ids_meet_long_ones),
        cmocka_unit_test(two_shards_on_one_thread),
        cmocka_unit_test(many_ids_with_one_half),
        cmocka_unit_test(explains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
