#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/emit/random.h"
#include "collector/sample/dynamic.h"
#include "collector/sample/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull
#define R_MASK (WEIR_THRESHOLD_MAX - 1)

static void the_level_is_max_min_fair(void **state) {
    (void)state;
    static const struct {
        double rates[4];
        uint32_t count;
        double goal, level;
    } rows[] = {
        {{100, 100}, 2, 50, 25},        {{1000, 10, 1}, 3, 50, 39}, /* 1 + 10 are kept, 39 are left for the frequent one
                                                                     */
        {{30, 20, 10, 5}, 4, 40, 12.5},                             /* 5 + 10 + 12.5 + 12.5 */
        {{10, 10, 10, 10}, 4, 40, 10},                              /* just enough */
        {{10, 5}, 2, 40, 35},                                       /* there is room: one key could rise to so much */
        {{0.5, 0.25}, 2, 0.1, 0.05},    {{7}, 1, 100, 100},         {{0}, 0, 100, 100},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double rates[4];
        memcpy(rates, rows[i].rates, sizeof rates);
        double level = weir_dynamic_level(rates, rows[i].count, rows[i].goal);
        if (fabs(level - rows[i].level) > 1e-9) fail_msg("row %zu: %g, not %g", i, level, rows[i].level);
    }
    struct weir_emit_random random = weir_emit_random_of(3);
    for (int round = 0; round < 1000; round++) {
        double rates[100], sum = 0, all = 0;
        uint32_t count = 1 + weir_emit_below(&random, 100);
        for (uint32_t i = 0; i < count; i++)
            all += rates[i] = exp2(weir_emit_below(&random, 20));
        double goal = all * (1 + weir_emit_below(&random, 1000)) / 1001;
        double level = weir_dynamic_level(rates, count, goal);
        for (uint32_t i = 0; i < count; i++)
            sum += fmin(rates[i], level);
        assert_true(fabs(sum / goal - 1) < 1e-9);
    }
}

static struct weir_dynamic_config config_of(double traces_per_second, double share) {
    return (struct weir_dynamic_config){.fields = {WEIR_DYNAMIC_SERVICE, WEIR_DYNAMIC_STATUS},
                                        .field_count = 2,
                                        .traces_per_second = traces_per_second,
                                        .share = share,
                                        .window_ns = 30 * SECOND,
                                        .keys_max = 500};
}

struct play {
    struct weir_dynamic *dynamic;
    struct weir_emit_random random;
    uint64_t now_ns;
    uint64_t randomness_min; /* what an upstream sampler let through */
    uint8_t thinned;
    double came, kept, expected; /* of the last second; `expected`: the sum of the probabilities */
    double rate[8];              /* of the last trace of each service */
    double by_service[8];        /* kept in the last second */
    uint64_t overflowed;
};

static struct play play_of(const struct weir_dynamic_config *config, uint32_t lanes) {
    struct play play = {.random = weir_emit_random_of(17), .now_ns = 100 * SECOND};
    play.dynamic = weir_dynamic_new(config, lanes, play.now_ns);
    assert_non_null(play.dynamic);
    return play;
}

static double decide(struct play *play, struct weir_trace *trace) {
    bool overflowed;
    double rate = weir_dynamic_rate(play->dynamic, trace, play->now_ns, &overflowed);
    assert_true(rate > 0 && rate <= 1);
    double width = (double)(WEIR_THRESHOLD_MAX - play->randomness_min);
    trace->randomness =
        play->randomness_min + (uint64_t)((double)(weir_emit_next(&play->random) >> 11) * 0x1p-53 * width);
    trace->thinned = play->thinned;
    play->came++;
    play->expected += fmin(1, rate * weir_trace_stands_for(trace));
    play->kept += trace->randomness >= weir_threshold_of(rate);
    play->overflowed += overflowed;
    return rate;
}

/* One second: so many traces of each service, evenly spread and mixed. */
static void second(struct play *play, const uint32_t *counts, uint32_t services) {
    uint32_t left[8], all = 0;
    for (uint32_t i = 0; i < services; i++)
        all += left[i] = counts[i];
    play->came = play->kept = play->expected = 0;
    memset(play->by_service, 0, sizeof play->by_service);
    uint64_t end_ns = play->now_ns + SECOND;
    for (uint32_t n = all; n > 0; n--) {
        uint32_t pick = weir_emit_below(&play->random, n), service = 0;
        while (pick >= left[service])
            pick -= left[service++];
        left[service]--;
        struct weir_trace trace = {.service = 10 + service, .thinned = play->thinned};
        double before = play->kept;
        play->rate[service] = decide(play, &trace);
        play->by_service[service] += play->kept - before;
        play->now_ns += SECOND / all;
    }
    play->now_ns = end_ns;
    weir_dynamic_tick(play->dynamic, play->now_ns);
}

static void rare_keys_are_kept_and_frequent_ones_pay(void **state) {
    (void)state;
    for (uint32_t lanes = 1; lanes <= 4; lanes *= 4) {
        struct weir_dynamic_config config = config_of(50 * lanes, 0); /* 50 of this lane */
        struct play play = play_of(&config, lanes);
        double kept = 0, rare = 0;
        for (int s = 0; s < 90; s++) {
            second(&play, (uint32_t[]){1000, 100, s % 5 == 0}, 3);
            if (s < 30) continue;
            kept += play.kept;
            rare += play.by_service[2];
        }
        assert_true(fabs(kept / 60 / 50 - 1) < 0.06); /* 3,000: the standard error is 1.8 % */
        assert_int_equal((int)rare, 12);              /* every one */
        assert_true(fabs(play.rate[0] / (24.9 / 1000) - 1) < 0.02 && fabs(play.rate[1] / (24.9 / 100) - 1) < 0.02);
        assert_true(play.rate[2] == 1);
        assert_int_equal(weir_dynamic_keys(play.dynamic), 3);
        weir_dynamic_free(play.dynamic);
    }
}

static void a_share_is_of_all_that_come(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(0, 0.1);
    struct play play = play_of(&config, 7); /* a share needs no parts */
    double kept = 0, came = 0;
    for (int s = 0; s < 120; s++) {
        uint32_t frequent = s < 60 ? 1000 : 3000; /* and grows with it */
        second(&play, (uint32_t[]){frequent, 50, 5}, 3);
        if (s == 0) assert_true(fabs(play.kept / play.came / 0.1 - 1) < 0.35); /* from the first second */
        kept += play.kept;
        came += play.came;
    }
    assert_true(fabs(kept / came / 0.1 - 1) < 0.05);
    assert_true(play.rate[1] == 1 && play.rate[2] == 1);
    weir_dynamic_free(play.dynamic);
}

/* What keeps estimates unbiased: a rate is the same whatever the R are. */
static void rates_hang_on_no_randomness(void **state) {
    (void)state;
    for (int share = 0; share < 2; share++) {
        struct weir_dynamic_config config = config_of(share ? 0 : 20, share ? 0.05 : 0);
        config.keys_max = 6;
        struct weir_dynamic *low = weir_dynamic_new(&config, 1, 0), *high = weir_dynamic_new(&config, 1, 0);
        struct weir_emit_random random = weir_emit_random_of(23);
        uint64_t now_ns = 0;
        double different = 0, last = 0;
        for (int i = 0; i < 200000; i++) {
            bool burst = i / 5000 % 3 == 0, overflowed;
            now_ns += weir_emit_below(&random, burst ? 100000 : 10000000);
            struct weir_trace trace = {.service =
                                           10 + (uint32_t)__builtin_ctz(weir_emit_below(&random, 1 << 12) | 1 << 12)};
            trace.randomness = 0;
            double rate = weir_dynamic_rate(low, &trace, now_ns, &overflowed);
            trace.randomness = R_MASK;
            assert_true(rate == weir_dynamic_rate(high, &trace, now_ns, &overflowed));
            different += rate != last;
            last = rate;
        }
        assert_true(different > 1000);
        weir_dynamic_free(low);
        weir_dynamic_free(high);
    }
}

static void new_keys_are_kept_within_the_goal(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(50, 0);
    struct play play = play_of(&config, 1);
    second(&play, (uint32_t[]){0, 30}, 2);
    assert_true(play.kept == 30); /* the first second already: the goal has room */
    for (int s = 0; s < 40; s++)
        second(&play, (uint32_t[]){2000, 30}, 2);
    second(&play, (uint32_t[]){2000, 30, 20}, 3);
    assert_true(play.by_service[2] == 20); /* new today: all of it */

    /* Ten thousand keys of one trace each, in a second: 50 x (1 + ln(10,000 / 50)) = 315 are expected, and the others.
     */
    play.came = play.kept = play.expected = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        struct weir_trace trace = {.service = 1000 + i};
        play.now_ns += SECOND / 10001;
        decide(&play, &trace);
    }
    assert_true(play.expected < 4 * 50 * (1 + log(10000.0 / 50)));
    assert_true(play.overflowed == 10000 - 497 && weir_dynamic_keys(play.dynamic) == 500);
    uint64_t memory = weir_dynamic_memory(play.dynamic);
    /* They do not come again: a window later their places are free. */
    play.now_ns += SECOND;
    for (int s = 0; s < 31; s++)
        second(&play, (uint32_t[]){2000, 30}, 2);
    assert_int_equal(weir_dynamic_keys(play.dynamic), 2);
    assert_true(memory < 500 * 320 + 10000 && weir_dynamic_memory(play.dynamic) < memory / 10);
    assert_true(fabs(play.expected / 50 - 1) < 0.1);
    weir_dynamic_free(play.dynamic);
}

/* A key that comes twenty times as often: in the first second it stores 2 (1 + ln 10) times its level, plus chance, not
 * twenty times; from the next second on the goal is met. What is rare pays nothing. */
static void a_burst_is_met_while_it_lasts(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(100, 0);
    struct play play = play_of(&config, 1);
    for (int s = 0; s < 40; s++)
        second(&play, (uint32_t[]){500, 500, 3}, 3);
    assert_true(fabs(play.expected / 100 - 1) < 0.02);
    double level = (100 - 3) / 2.0, limit = level * 2 + 3 * sqrt(level);
    second(&play, (uint32_t[]){10000, 500, 3}, 3);
    assert_true(play.expected < level + 3 + limit * (1 + log(20 * level / limit)) + 5);
    assert_true(play.expected > 2 * level);
    assert_true(play.by_service[2] == 3);
    second(&play, (uint32_t[]){10000, 500, 3}, 3);
    assert_true(fabs(play.expected / 100 - 1) < 0.05);
    for (int s = 0; s < 40; s++)
        second(&play, (uint32_t[]){10000, 500, 3}, 3);
    assert_true(fabs(play.expected / 100 - 1) < 0.02);
    /* All at once, from nothing that a rate is known of: a key that was rare, and many that were. */
    second(&play, (uint32_t[]){10000, 500, 3000}, 3);
    assert_true(play.expected < 100 + limit * (1 + log(3000 / limit)) + 5);
    weir_dynamic_free(play.dynamic);
}

/* A hundred rare keys that all burst: the cut at four times the goal holds them together. */
static void all_together_are_bounded_too(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(100, 0);
    struct play play = play_of(&config, 1);
    for (int s = 0; s < 40; s++) {
        for (uint32_t key = 0; key < 90; key++) {
            struct weir_trace trace = {.service = 100 + key};
            if ((int)(key + (uint32_t)s) % 30 == 0) decide(&play, &trace);
        }
        second(&play, (uint32_t[]){1000}, 1);
    }
    play.expected = 0;
    for (uint32_t i = 0; i < 90 * 100; i++) {
        struct weir_trace trace = {.service = 100 + i % 90};
        decide(&play, &trace);
    }
    assert_true(play.expected < (4 * 100 + 3 * 10) * (1 + log(9000.0 / 430)));
    weir_dynamic_free(play.dynamic);
}

/* Behind a consistent sampler of one in ten all R are in the upper tenth: T = 1 - p alone would keep ten times the
 * goal. */
static void goals_hold_behind_a_consistent_sampler(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(50, 0);
    struct play play = play_of(&config, 1);
    play.randomness_min = weir_threshold_of(0.1);
    play.thinned = weir_trace_thinned(play.randomness_min);
    assert_true(fabs(weir_trace_stands_for(&(struct weir_trace){.thinned = play.thinned}) / 10 - 1) < 0.05);
    double kept = 0;
    for (int s = 0; s < 90; s++) {
        second(&play, (uint32_t[]){400, 100, 2}, 3);
        if (s == 0) assert_true(play.kept < 50 * (1 + log(502 / 50.0)) + 40);
        if (s >= 30) kept += play.kept;
    }
    assert_true(fabs(kept / 60 / 50 - 1) < 0.1); /* thinned is known within 5 % */
    assert_true(play.rate[2] == 1);
    weir_dynamic_free(play.dynamic);
    assert_int_equal(weir_trace_thinned(0), 0);
    assert_int_equal(weir_trace_thinned(WEIR_THRESHOLD_MAX / 2), 8);
    assert_int_equal(weir_trace_thinned(WEIR_THRESHOLD_MAX - 1), UINT8_MAX);
}

static void small_goals_have_longer_slots(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(1, 0); /* 30 a window: three slots of 10 s */
    struct play play = play_of(&config, 1);
    double kept = 0;
    for (int s = 0; s < 3030; s++) {
        second(&play, (uint32_t[]){10, 3}, 2);
        if (s >= 30) kept += play.kept;
    }
    assert_true(fabs(kept / 3000 - 1) < 0.08);
    weir_dynamic_free(play.dynamic);
}

static void a_long_silence_forgets(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(50, 0);
    struct play play = play_of(&config, 1);
    for (int s = 0; s < 40; s++)
        second(&play, (uint32_t[]){2000, 30}, 2);
    play.now_ns += 1000000 * SECOND;
    weir_dynamic_tick(play.dynamic, play.now_ns);
    assert_int_equal(weir_dynamic_keys(play.dynamic), 0);
    second(&play, (uint32_t[]){40}, 1);
    assert_true(play.kept == 40);
    weir_dynamic_free(play.dynamic);
}

static void keys_are_made_of_what_is_said(void **state) {
    (void)state;
    struct weir_dynamic_config config = config_of(50, 0);
    config.field_count = 4;
    memcpy(config.fields,
           (enum weir_dynamic_field[]){WEIR_DYNAMIC_OPERATION, WEIR_DYNAMIC_HTTP_STATUS, WEIR_DYNAMIC_VALUE_0,
                                       WEIR_DYNAMIC_VALUE_1},
           sizeof config.fields);
    struct weir_dynamic *dynamic = weir_dynamic_new(&config, 1, 0);
    const struct {
        struct weir_trace trace;
        uint32_t keys; /* then */
    } rows[] = {
        {{.operation = 5, .http_status = 200}, 1},
        {{.operation = 5, .http_status = 200, .service = 9, .flags = WEIR_TRACE_ERROR}, 1}, /* not asked for */
        {{.operation = 6, .http_status = 200}, 2},
        {{.operation = 5, .http_status = 500}, 3},
        {{.operation = 200, .http_status = 5}, 4},
        {{.operation = 5, .http_status = 200, .values = {7, 0}}, 5},
        {{.operation = 5, .http_status = 200, .values = {0, 7}}, 6},
        {{.operation = 5, .http_status = 200, .values = {0, 7}}, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool overflowed;
        weir_dynamic_rate(dynamic, &rows[i].trace, i, &overflowed);
        assert_false(overflowed);
        assert_int_equal(weir_dynamic_keys(dynamic), rows[i].keys);
    }
    weir_dynamic_free(dynamic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_level_is_max_min_fair),         cmocka_unit_test(rare_keys_are_kept_and_frequent_ones_pay),
        cmocka_unit_test(a_share_is_of_all_that_come),       cmocka_unit_test(rates_hang_on_no_randomness),
        cmocka_unit_test(new_keys_are_kept_within_the_goal), cmocka_unit_test(a_burst_is_met_while_it_lasts),
        cmocka_unit_test(all_together_are_bounded_too),      cmocka_unit_test(goals_hold_behind_a_consistent_sampler),
        cmocka_unit_test(small_goals_have_longer_slots),     cmocka_unit_test(a_long_silence_forgets),
        cmocka_unit_test(keys_are_made_of_what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
