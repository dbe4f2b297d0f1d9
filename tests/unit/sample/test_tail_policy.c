/* Policies of the tail buffer: another one while traces wait, limits and their windows, a shadow, who watches. */
#include "tests/unit/sample/tail_rig.h"

static void reload_loses_no_trace(void **state) {
    (void)state;
    rig_build("wait: 10s, rules: [ { name: old, rate: 1 } ]", NULL);
    for (uint32_t n = 0; n < 500; n++)
        rig_give(n, 2, 1, false);
    rig_reload("wait: 10s, rules: [ { name: new, rate: 0 } ]");
    for (uint32_t n = 0; n < 1000; n++)
        rig_give(n, 3, 1, false);
    rig_pass(10000);
    assert_int_equal(rig.decided_traces, 1000);
    assert_int_equal(rig.kept_spans, 1000); /* 500 of two spans */
    assert_int_equal(rig.dropped_spans, 500);
    assert_string_equal(rig_rule(499), "old");
    assert_string_equal(rig_rule(500), "new");
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"live\",rule=\"old\",verdict=\"kept\"} ") == 500);
    rig_close();
}

static void a_policy_that_holds_nothing_back(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    rig_give(1, 2, 1, true);
    rig_give(2, 2, 1, false);
    rig_reload(NULL);
    rig_give(1, 3, 1, false); /* what waits is completed */
    assert_int_equal(rig_take(&(struct said){.trace = 3, .span = 1}, NULL), WEIR_TAIL_KEEP);
    rig_pass(10000);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 2);
    assert_int_equal(rig_fate(rig_lo(2))->dropped, 1);
    rig_reload(RIG_KEEP);
    rig_give(4, 1, 0, false);
    rig_pass(1000);
    assert_int_equal(rig_fate(rig_lo(4))->dropped, 1);
    rig_close();
}

static void many_reloads_in_one_wait(void **state) {
    (void)state;
    rig_build("rules: [ { name: r0, max_traces_per_second: 10 } ]", NULL);
    for (uint32_t n = 0; n < 100; n++) {
        char keep[100];
        rig_give(n, 2, 1, false);
        snprintf(keep, sizeof keep, "rules: [ { name: r%u, max_traces_per_second: 10 } ]", n + 1);
        rig_reload(keep);
    }
    rig_pass(30000); /* the last of them wait for their windows now */
    rig_pass(2000);
    assert_int_equal(rig.decided_traces, 100);
    rig_close();
}

static void more_rules_than_have_counters(void **state) {
    (void)state;
    rig_build(RIG_RULES, NULL);
    for (uint32_t n = 0; n < 14; n++) {
        char text[1600];
        int size = snprintf(text, sizeof text, "rules: [ ");
        for (uint32_t r = 0; r < 50; r++)
            size += snprintf(text + size, sizeof text - (size_t)size, "{ name: rule_%u_%u }, ", n, r);
        snprintf(text + size, sizeof text - (size_t)size, "]");
        rig_reload(text);
        rig_give(n, 1, 0, false);
        rig_pass(1000);
    }
    assert_int_equal(rig.decided_traces, 14);
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"live\",rule=\"rule_0_0\",verdict=\"kept\"} ") ==
                1);
    /* 510 names have their own; the first of the eleventh reload is among them. */
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"live\",rule=\"other\",verdict=\"kept\"} ") == 3);
    rig_close();
}

static void another_bound_at_once(void **state) {
    (void)state;
    rig_build("memory: 64MiB, " RIG_RULES, NULL);
    for (uint32_t n = 0; n < 20000; n++)
        rig_take(&(struct said){.trace = n, .span = 2, .parent = 1, .pad = 700}, NULL);
    assert_int_equal(rig.decided_traces, 0);
    assert_true(weir_tail_memory(rig.tail) > 8 << 20);
    rig_reload("memory: 4MiB, " RIG_RULES);
    assert_true(weir_tail_memory(rig.tail) <= 4 << 20);
    assert_true(rig.decided_traces > 0);
    rig_balanced();
    rig_close();
}

/* ---- limits, shadow, watching ---- */

static void a_limit_says_at_its_windows_end(void **state) {
    (void)state;
    rig_build("wait: 10s, quiet: 1s, rules: [ { name: some, max_traces_per_second: 20 } ]", NULL);
    for (uint32_t n = 0; n < 500; n++) {
        rig_give(n, 2, 1, false);
        rig_give(n, 1, 0, false);
    }
    rig_pass(1000); /* all are decided, and at most 20 wait for the window's end */
    assert_true(weir_tail_pending(rig.tail) <= 20);
    assert_int_equal(rig.kept_spans, 0);
    uint32_t waits = 0;
    while (rig_fate(rig_lo(waits))->times > 0)
        waits++;
    rig_give(waits, 3, 1, false); /* one more of a trace that waits */
    rig_pass(1100);
    assert_int_equal(weir_tail_pending(rig.tail), 0);
    rig_balanced();
    uint64_t least_kept = UINT64_MAX, most_out = 0;
    uint32_t kept = 0;
    for (uint32_t n = 0; n < 500; n++) {
        const struct fate *fate = rig_fate(rig_lo(n));
        assert_int_equal(fate->times, 1);
        if (fate->kept > 0) {
            kept++;
            least_kept = rig_randomness(n) < least_kept ? rig_randomness(n) : least_kept;
            assert_int_equal(fate->kept, n == waits ? 3 : 2);
        } else if (rig_randomness(n) > most_out) {
            most_out = rig_randomness(n);
        }
    }
    assert_true(kept >= 18 && kept <= 20);
    assert_true(least_kept > most_out); /* those with the largest R */
    rig_close();
}

/* Room is wanted while a span comes for a trace that waits for its window: flushing the window decides that very one.
 */
static void a_window_that_ends_for_room(void **state) {
    (void)state;
    rig_build("wait: 10s, memory: 4MiB, compress: false, max_trace_bytes: 1MiB, rules: [ { name: some, "
              "max_traces_per_second: 100 } ]",
              NULL);
    uint32_t late = 0;
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t n = 0; n < 80; n++)
            rig_take(&(struct said){.trace = round * 80 + n, .span = 1, .pad = 500}, NULL);
        rig_pass(10000);
        assert_int_equal(weir_tail_pending(rig.tail), 80);
        for (uint32_t s = 2; s < 40; s++) {
            for (uint32_t n = 0; n < 80; n++)
                late += rig_take(&(struct said){.trace = round * 80 + n, .span = s, .parent = 1, .pad = 1500}, NULL) !=
                        WEIR_TAIL_HELD;
        }
        assert_true(weir_tail_memory(rig.tail) <= 4 << 20);
        rig_balanced();
        rig_pass(1100);
    }
    assert_true(late > 0);
    assert_int_equal(rig.decided_traces, 400);
    rig_close();
}

/* Matched by a rule with a limit, a trace waits for its window; however long that is, it does not grow for so long. */
static void a_giant_ends_its_window(void **state) {
    (void)state;
    rig_build("memory: 64MiB, wait: 1s, max_trace_spans: 50, rules: [ { name: few, max_traces_per_second: 0.1 } ]",
              NULL);
    for (uint32_t n = 1; n <= 3; n++)
        rig_give(n, 1, 0, false);
    rig_pass(1000);
    assert_int_equal(weir_tail_pending(rig.tail), 3);
    for (uint32_t s = 2; s < 500; s++) {
        rig_take(&(struct said){.trace = 2, .span = s, .parent = 1}, NULL);
        assert_true(weir_tail_held(rig.tail) <= 2 + 51);
    }
    assert_int_equal(weir_tail_pending(rig.tail), 0);
    assert_int_equal(rig_fate(rig_lo(2))->kept, 51);
    assert_int_equal(rig_fate(rig_lo(2))->late_kept, 499 - 51);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 1);
    rig_close();
}

static void a_shadow_only_counts(void **state) {
    (void)state;
    rig_build("rules: [ { name: all } ]",
              "rules: [ { name: strict, when: { error: true } }, { name: rest, rate: 0 } ]");
    for (uint32_t n = 0; n < 100; n++)
        rig_give(n, 1, 0, n < 30);
    rig_pass(1000);
    assert_int_equal(rig.kept_spans, 100);
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"shadow\",rule=\"strict\",verdict=\"kept\"} ") ==
                30);
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"shadow\",rule=\"rest\",verdict=\"dropped\"} ") ==
                70);
    assert_true(rig_metric("weir_sampling_rule_traces_total{policy=\"live\",rule=\"all\",verdict=\"kept\"} ") == 100);
    rig_close();
}

static void who_watches_sees_what_is_left_out(void **state) {
    (void)state;
    rig_build(RIG_KEEP, NULL);
    for (uint32_t n = 0; n < 300; n++)
        rig_give(n, 2, 1, false);
    weir_tail_watch(rig.tail, true);
    rig.watched = true;
    rig_pass(10000);
    assert_int_equal(rig.watched_spans, 300);
    weir_tail_watch(rig.tail, false);
    rig.watched = false;
    rig_give(1000, 1, 0, false);
    rig_pass(1000);
    assert_int_equal(rig.watched_spans, 300);
    rig_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reload_loses_no_trace),       cmocka_unit_test(a_policy_that_holds_nothing_back),
        cmocka_unit_test(many_reloads_in_one_wait),    cmocka_unit_test(more_rules_than_have_counters),
        cmocka_unit_test(another_bound_at_once),       cmocka_unit_test(a_limit_says_at_its_windows_end),
        cmocka_unit_test(a_window_that_ends_for_room), cmocka_unit_test(a_giant_ends_its_window),
        cmocka_unit_test(a_shadow_only_counts),        cmocka_unit_test(who_watches_sees_what_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
