/* One policy at work: what its rules keep, what waits, what is counted. */
#include "collector/sample/decide.h"

#include "collector/emit/random.h"
#include "collector/sample/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000ull
#define R_MASK (WEIR_THRESHOLD_MAX - 1)
#define HALF   (WEIR_THRESHOLD_MAX / 2)
enum { NONE = WEIR_KEEP_RULES_MAX, FORCED = WEIR_KEEP_RULES_MAX + 1, HANDLES = 1000 };

struct desk {
    struct weir_names *names;
    struct weir_policy *policy;
    const struct weir_keep *keep;
    struct weir_decider *decider;
    struct weir_batch *batch;
    struct weir_verdict resolved[HANDLES];
    bool has[HANDLES];
    uint32_t resolved_count;
    struct weir_verdict verdict; /* of the last decision */
};

static void resolved(void *self, uint32_t handle, const struct weir_verdict *verdict) {
    struct desk *desk = self;
    assert_true(handle < HANDLES && !desk->has[handle]);
    desk->has[handle] = true;
    desk->resolved[handle] = *verdict;
    desk->resolved_count++;
}

static struct desk *desk_of(const char *rules, uint32_t lanes, bool shadow) {
    struct desk *desk = calloc(1, sizeof *desk);
    desk->names = weir_names_new(1000, 1 << 16);
    desk->batch = weir_batch_new(NULL, 64);
    struct weir_error err = {0};
    char text[2000];
    snprintf(text, sizeof text, "keep:\n  rules:\n%s", rules);
    if (weir_policy_parse("p", (const uint8_t *)text, strlen(text), desk->names, &desk->policy, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    desk->keep = weir_policy_keep_part(desk->policy);
    assert_non_null(desk->keep);
    struct weir_decider_env env = {
        .keep = desk->keep, .shadow = shadow, .lanes = lanes, .resolved = resolved, .self = desk};
    desk->decider = weir_decider_new(&env, 100 * SECOND);
    assert_non_null(desk->decider);
    return desk;
}

static void desk_close(struct desk *desk) {
    weir_decider_free(desk->decider);
    weir_policy_unref(desk->policy);
    weir_batch_unref(desk->batch);
    weir_names_free(desk->names);
    free(desk);
}

static struct weir_trace trace_of(struct desk *desk, const char *service, uint64_t randomness, uint16_t flags) {
    struct weir_span span = {.trace_lo = randomness,
                             .span_id = 1,
                             .prior = 1,
                             .randomness = randomness,
                             .service = weir_names_intern(desk->names, service, strlen(service)),
                             .flags = (uint16_t)(WEIR_SPAN_ROOT | flags)};
    weir_batch_truncate(desk->batch, 0, 0);
    assert_int_equal(weir_batch_add(desk->batch, &span), WEIR_OK);
    struct weir_trace trace = {0};
    weir_trace_add(&trace, desk->keep, desk->keep, desk->names, desk->batch, 0);
    return trace;
}

static enum weir_decision decide_at(struct desk *desk, const char *service, uint64_t randomness, uint32_t handle,
                                    uint64_t now_ns) {
    struct weir_trace trace = trace_of(desk, service, randomness, 0);
    return weir_decider_decide(desk->decider, &trace, handle, now_ns, &desk->verdict);
}

static void assert_verdict(const struct desk *desk, const struct weir_verdict *verdict, bool kept, uint16_t rule,
                           uint64_t threshold) {
    assert_int_equal(verdict->kept, kept);
    assert_int_equal(verdict->rule, rule);
    assert_int_equal(verdict->threshold, threshold);
    const char *name = weir_keep_rule_name(desk->keep, rule);
    assert_int_equal(verdict->rule_name, weir_names_find(desk->names, name, strlen(name)));
}

static void rates_and_what_no_rule_names(void **state) {
    (void)state;
    struct desk *desk = desk_of("    - { name: half, when: { service: cart }, rate: 0.5 }\n"
                                "    - { name: never, when: { service: probe }, rate: 0 }\n"
                                "    - { name: always, when: { service: pay } }\n",
                                1, false);
    uint64_t now_ns = 100 * SECOND;
    assert_int_equal(decide_at(desk, "cart", HALF, 0, now_ns), WEIR_DECISION_KEPT);
    assert_verdict(desk, &desk->verdict, true, 0, HALF);
    assert_int_equal(decide_at(desk, "cart", HALF - 1, 0, now_ns), WEIR_DECISION_DROPPED);
    assert_verdict(desk, &desk->verdict, false, 0, HALF);
    assert_int_equal(decide_at(desk, "probe", R_MASK, 0, now_ns), WEIR_DECISION_DROPPED);
    assert_verdict(desk, &desk->verdict, false, 1, WEIR_THRESHOLD_MAX);
    assert_int_equal(decide_at(desk, "pay", 0, 0, now_ns), WEIR_DECISION_KEPT);
    assert_verdict(desk, &desk->verdict, true, 2, 0);
    assert_int_equal(decide_at(desk, "other", 0, 0, now_ns), WEIR_DECISION_KEPT);
    assert_verdict(desk, &desk->verdict, true, WEIR_RULE_NONE, 0);
    struct weir_trace forced = trace_of(desk, "probe", 0, WEIR_SPAN_FORCED);
    assert_int_equal(weir_decider_decide(desk->decider, &forced, 0, now_ns, &desk->verdict), WEIR_DECISION_KEPT);
    assert_verdict(desk, &desk->verdict, true, WEIR_RULE_FORCED, 0);

    const struct weir_decider_counts *counts = weir_decider_counts(desk->decider);
    static const struct {
        uint32_t rule;
        uint64_t matched, kept, dropped;
    } rows[] = {{0, 2, 1, 1}, {1, 1, 0, 1}, {2, 1, 1, 0}, {NONE, 1, 1, 0}, {FORCED, 1, 1, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(counts->matched[rows[i].rule], rows[i].matched);
        assert_int_equal(counts->kept[rows[i].rule], rows[i].kept);
        assert_int_equal(counts->dropped[rows[i].rule], rows[i].dropped);
    }
    assert_int_equal(desk->resolved_count, 0);
    desk_close(desk);
}

static void a_limit_lets_wait_and_says_at_the_end(void **state) {
    (void)state;
    struct desk *desk = desk_of("    - { name: some, rate: 0.5, max_traces_per_second: 20 }\n", 2, false);
    uint64_t now_ns = 100 * SECOND;
    assert_int_equal(decide_at(desk, "cart", HALF - 1, 0, now_ns), WEIR_DECISION_DROPPED); /* takes no part */
    for (uint32_t i = 1; i <= 10; i++) {                                                   /* 10 of this lane */
        assert_int_equal(decide_at(desk, "cart", HALF + 10 * i, i, now_ns), WEIR_DECISION_WAITS);
        assert_int_equal(desk->verdict.rule, 0);
        assert_int_equal(desk->verdict.rule_name, desk->keep->rules[0].name_id);
    }
    assert_int_equal(decide_at(desk, "cart", HALF + 5, 11, now_ns), WEIR_DECISION_DROPPED); /* an eleventh */
    assert_verdict(desk, &desk->verdict, false, 0, HALF + 6);
    assert_int_equal(decide_at(desk, "cart", HALF + 200, 12, now_ns), WEIR_DECISION_WAITS);
    assert_int_equal(desk->resolved_count, 1); /* the first lost its place */
    assert_verdict(desk, &desk->resolved[1], false, 0, HALF + 11);
    weir_decider_tick(desk->decider, now_ns + SECOND - 1);
    assert_int_equal(desk->resolved_count, 1);
    weir_decider_tick(desk->decider, now_ns + SECOND);
    assert_int_equal(desk->resolved_count, 11);
    for (uint32_t i = 2; i <= 10; i++)
        assert_verdict(desk, &desk->resolved[i], true, 0, HALF + 11);
    assert_verdict(desk, &desk->resolved[12], true, 0, HALF + 11);
    assert_false(desk->has[0] || desk->has[11]);

    /* The next window: fewer than the limit, so T is that of the rate. It ends although nobody ticks. */
    now_ns += SECOND;
    assert_int_equal(decide_at(desk, "cart", R_MASK, 20, now_ns), WEIR_DECISION_WAITS);
    assert_int_equal(decide_at(desk, "cart", HALF + 1, WEIR_HANDLE_NONE, now_ns), WEIR_DECISION_WAITS);
    assert_int_equal(decide_at(desk, "cart", HALF + 2, 21, now_ns + SECOND), WEIR_DECISION_WAITS);
    assert_verdict(desk, &desk->resolved[20], true, 0, HALF);
    assert_false(desk->has[21]);
    weir_decider_flush(desk->decider, now_ns + SECOND);
    assert_verdict(desk, &desk->resolved[21], true, 0, HALF);
    const struct weir_decider_counts *counts = weir_decider_counts(desk->decider);
    assert_int_equal(counts->matched[0], 16);
    assert_int_equal(counts->kept[0], 10 + 3);
    assert_int_equal(counts->dropped[0], 3);
    desk_close(desk);
}

static void a_dry_run_only_counts(void **state) {
    (void)state;
    struct desk *desk = desk_of("    - { name: try, when: { service: cart }, rate: 0.5, max_traces_per_second: 1, "
                                "dry_run: true }\n"
                                "    - { name: rest, rate: 0.25 }\n",
                                1, false);
    for (uint32_t i = 0; i < 8; i++) {
        enum weir_decision decision = decide_at(desk, "cart", i * (WEIR_THRESHOLD_MAX / 8), i, 0);
        assert_int_equal(decision, i >= 6 ? WEIR_DECISION_KEPT : WEIR_DECISION_DROPPED);
        assert_int_equal(desk->verdict.rule, 1);
    }
    assert_int_equal(decide_at(desk, "pay", R_MASK, 8, 0), WEIR_DECISION_KEPT);
    const struct weir_decider_counts *counts = weir_decider_counts(desk->decider);
    assert_int_equal(counts->dry_matched[0], 8);
    assert_int_equal(counts->dry_kept[0], 4);
    assert_int_equal(counts->matched[0], 0);
    assert_int_equal(counts->matched[1], 9);
    desk_close(desk);
}

static void a_shadow_looks_at_its_own_bits(void **state) {
    (void)state;
    struct desk *desk = desk_of("    - { name: cart, when: { service: cart } }\n", 1, true);
    struct weir_trace trace = trace_of(desk, "cart", 0, 0);
    trace.passed = 0;
    weir_decider_decide(desk->decider, &trace, 0, 0, &desk->verdict);
    assert_int_equal(desk->verdict.rule, 0);
    trace.passed = ~0ull;
    trace.shadow_passed = 0;
    weir_decider_decide(desk->decider, &trace, 0, 0, &desk->verdict);
    assert_int_equal(desk->verdict.rule, WEIR_RULE_NONE);
    desk_close(desk);
}

/* Rate, dynamic rate and limit together: T is the largest, whichever it is; what is kept has R >= T, what is not R < T,
 * and every trace is settled once. */
static void t_is_the_largest_of_all(void **state) {
    (void)state;
    struct desk *desk = desk_of("    - { name: all, rate: 0.8, max_traces_per_second: 30, dynamic: { keys: [service], "
                                "traces_per_second: 60, max_keys: 3 } }\n",
                                1, false);
    struct weir_emit_random random = weir_emit_random_of(9);
    uint64_t now_ns = 100 * SECOND, decided = 0, kept = 0, by_rate = 0, by_limit = 0, by_key = 0;
    uint64_t rate = weir_threshold_of(0.8);
    for (uint32_t second = 0; second < 200; second++) {
        static uint64_t randomness[HANDLES];
        uint32_t many = second % 3 == 0 ? 20 : second % 3 == 1 ? 300 : 90;
        memset(desk->has, 0, sizeof desk->has);
        for (uint32_t i = 0; i < many; i++) {
            char service[] = {(char)('a' + __builtin_ctz(weir_emit_below(&random, 64) | 64)), 0};
            randomness[i] = weir_emit_next(&random) & R_MASK;
            enum weir_decision decision = decide_at(desk, service, randomness[i], i, now_ns + i);
            if (decision == WEIR_DECISION_WAITS) continue;
            assert_false(desk->has[i]);
            desk->has[i] = true;
            desk->resolved[i] = desk->verdict;
        }
        now_ns += SECOND;
        weir_decider_tick(desk->decider, now_ns);
        for (uint32_t i = 0; i < many; i++) {
            assert_true(desk->has[i]);
            const struct weir_verdict *verdict = &desk->resolved[i];
            assert_true(verdict->threshold >= rate);
            assert_int_equal(verdict->kept, randomness[i] >= verdict->threshold);
            kept += verdict->kept;
            if (!verdict->kept) continue;
            by_rate += verdict->threshold == rate;
            by_limit += verdict->threshold > rate && many == 300;
            by_key += verdict->threshold > rate && many == 90;
        }
        decided += many;
    }
    const struct weir_decider_counts *counts = weir_decider_counts(desk->decider);
    assert_int_equal(counts->matched[0], decided);
    assert_int_equal(counts->kept[0], kept);
    assert_int_equal(counts->dropped[0], decided - kept);
    assert_true(kept <= 200 * 30 && kept > 3000);
    assert_true(by_rate > 50 && by_limit > 500 && by_key > 500);
    assert_int_equal(counts->keys, 3);
    assert_true(counts->keys_overflowed > 0);
    assert_true(weir_decider_memory(desk->decider) < 50000);
    uint64_t busy_bytes = weir_decider_memory(desk->decider);
    for (int i = 0; i < 40; i++)
        weir_decider_tick(desk->decider, now_ns += SECOND);
    assert_int_equal(weir_decider_counts(desk->decider)->keys, 0);
    uint64_t idle_bytes =
        weir_decider_memory(desk->decider); /* windows and keys that are over have given theirs back */
    assert_true(idle_bytes < busy_bytes);
    struct weir_decider *fresh = weir_decider_new(&(struct weir_decider_env){.keep = desk->keep, .lanes = 1}, now_ns);
    assert_int_equal(idle_bytes, weir_decider_memory(fresh));
    weir_decider_free(fresh);
    desk_close(desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_and_what_no_rule_names), cmocka_unit_test(a_limit_lets_wait_and_says_at_the_end),
        cmocka_unit_test(a_dry_run_only_counts),        cmocka_unit_test(a_shadow_looks_at_its_own_bits),
        cmocka_unit_test(t_is_the_largest_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
