#include "tests/unit/lane/rig.h"

static void the_ladder(void **state) {
    (void)state;
    enum { MB = 1 << 20 };
    static const struct {
        size_t used, limit;
        unsigned halvings;
    } rows[] = {
        {0, 16 * MB, 0},
        {8 * MB, 16 * MB, 0},
        {8 * MB + 1, 16 * MB, 1},
        {9 * MB - 1, 16 * MB, 1},
        {9 * MB, 16 * MB, 2},
        {10 * MB, 16 * MB, 3},
        {11 * MB, 16 * MB, 4},
        {12 * MB, 16 * MB, 5},
        {13 * MB, 16 * MB, 6},
        {14 * MB, 16 * MB, 7},
        {15 * MB, 16 * MB, 8},
        {16 * MB, 16 * MB, 8},
        {99 * MB, 16 * MB, 8},
        {0, 0, 0},
        {5, 0, 0},
        {5, 8, 0} /* no step */,
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_budget intake = {.used_bytes = rows[i].used, .limit_bytes = rows[i].limit};
        uint64_t want = rows[i].halvings == 0 ? 0 : WEIR_THRESHOLD_MAX - (WEIR_THRESHOLD_MAX >> rows[i].halvings);
        if (weir_overload_threshold(&intake) != want)
            fail_msg("row %zu: %llx", i, (unsigned long long)weir_overload_threshold(&intake));
    }
}

/* Spans kept of `sent` while so much of the intake is in use. */
static uint64_t kept_at(uint32_t sixteenths_above_half, uint64_t sent) {
    size_t limit = rig.intake.limit_bytes,
           drawn = sixteenths_above_half == 0 ? 0 : limit / 2 + (sixteenths_above_half - 1) * (limit / 16) + 1;
    uint64_t before = rig_row().batched;
    assert_true(weir_budget_reserve(&rig.intake, drawn));
    for (uint64_t i = 0; i < sent / 50; i++)
        assert_int_equal(rig_offer((uint32_t)i % rig.lane_count, rig_request(50, 40, "r"), NULL), WEIR_OK);
    rig_rounds();
    weir_budget_release(&rig.intake, drawn);
    return rig_row().batched - before;
}

static void keeps_a_fair_sample_and_restores(void **state) {
    (void)state;
    enum { SENT = 20000 };
    rig_reset(2);
    rig_build();
    rig_start();
    static const uint32_t steps[] = {0, 1, 2, 3, 0, 8, 0};
    uint64_t kept_sum = 0;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        uint64_t kept = kept_at(steps[i], SENT);
        double expected = SENT / (double)(1u << steps[i]), slack = 5 * 71; /* five deviations of a half */
        if (steps[i] == 0 && kept != SENT)
            fail_msg("%zu: %llu of %d without overload", i, (unsigned long long)kept, SENT);
        if ((double)kept < expected - slack || (double)kept > expected + slack)
            fail_msg("step %u keeps %llu", steps[i], (unsigned long long)kept);
        kept_sum += kept;
    }
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, kept_sum);
    assert_int_equal(rig.thresholds_seen[0], 3 * SENT);
    for (unsigned halvings = 1; halvings <= 56; halvings++) { /* powers of two, and just those */
        bool used = halvings <= 3 || halvings == 8;
        if ((rig.thresholds_seen[halvings] > 0) != used)
            fail_msg("%u halvings: %llu spans", halvings, (unsigned long long)rig.thresholds_seen[halvings]);
    }
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], COUNT_OF(steps) * SENT);
    assert_int_equal(row.sampled_out[WEIR_STAGE_OVERLOAD], COUNT_OF(steps) * SENT - kept_sum);
    assert_true(rig.weight_seen > 125000 &&
                rig.weight_seen < 155000); /* weights stay true: 140,000, mostly of step 8's spread of 2,258 */
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

static void a_forced_span_stays(void **state) {
    (void)state;
    rig_reset(1);
    rig_build();
    assert_true(weir_budget_reserve(&rig.intake, rig.intake.limit_bytes - (1 << 20)));
    struct weir_batch *batch = rig_request(100, 40, "r");
    for (uint32_t i = 0; i < 100; i++) {
        batch->spans[i].randomness = 0;
        if (i < 7) batch->spans[i].flags |= WEIR_SPAN_FORCED;
    }
    assert_int_equal(rig_offer(0, batch, NULL), WEIR_OK);
    weir_budget_release(&rig.intake, rig.intake.limit_bytes - (1 << 20));
    rig_start();
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, 7);
    assert_int_equal(rig_row().sampled_out[WEIR_STAGE_OVERLOAD], 93);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ladder),
        cmocka_unit_test(keeps_a_fair_sample_and_restores),
        cmocka_unit_test(a_forced_span_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
