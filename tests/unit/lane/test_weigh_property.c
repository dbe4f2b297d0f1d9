/* Requests of two Envoys that follow, while their rates change: what comes of them, out of order and late, stands for
 * all that there were. Each run draws anew what is sampled; over many runs the mean of the estimates has to be the
 * truth within four standard errors, and the 95 % band has to hold it about as often as it says. */
#include "tests/unit/lane/steered.h"

#include "collector/emit/random.h"

#include <math.h>

enum { RUNS = 500, REQUESTS = 1500, SLOTS = 120, CHILDREN_MAX = 4 };
static const double slot_s = 0.1; /* of arrival */

struct arrival {
    struct steered_span span;
    double at_s;
};

/* What each of them has at a second of the run. */
static double rate_of(int envoy, double at_s) {
    static const double rates[2][3] = {{0.1, 0.4, 0.05}, {0.5, 0.02, 0.25}};
    return rates[envoy][at_s < 2 ? 0 : at_s < 5 ? 1 : 2];
}

static const char *const nodes[2] = {"edge-a", "edge-b"};

static double unit_of(struct weir_emit_random *random) {
    return (double)(weir_emit_next(random) >> 11) * 0x1p-53;
}

static int by_arrival(const void *a, const void *b) {
    double x = ((const struct arrival *)a)->at_s, y = ((const struct arrival *)b)->at_s;
    return x < y ? -1 : x > y;
}

struct run {
    double estimate, variance, truth;
};

static uint32_t draw(struct weir_emit_random *random, struct arrival *arrivals, uint64_t begin_ns, struct run *run) {
    uint32_t count = 0;
    for (uint64_t request = 0; request < REQUESTS; request++) {
        double start_s = 8 * unit_of(random);
        int envoy = unit_of(random) < 0.3;
        uint32_t children = (uint32_t)(CHILDREN_MAX * unit_of(random));
        run->truth += 1 + children;
        double rate = rate_of(envoy, start_s);
        if (unit_of(random) >= rate) continue;
        uint64_t trace = weir_emit_next(random) | 1;
        run->variance += (1 + children) * (1 + children) * (1 - rate) / (rate * rate);
        for (uint32_t i = 0; i <= children; i++) {
            arrivals[count++] = (struct arrival){.span = {.trace = trace,
                                                          .root = i == 0,
                                                          .node = i == 0 ? nodes[envoy] : NULL,
                                                          .start_ns = begin_ns + (uint64_t)(start_s * 1e9)},
                                                 .at_s = start_s + 3 * unit_of(random)};
        }
    }
    qsort(arrivals, count, sizeof *arrivals, by_arrival);
    return count;
}

static struct run play(uint64_t seed) {
    struct weir_emit_random random = weir_emit_random_of(seed);
    struct run run = {0};
    static struct arrival arrivals[REQUESTS * (CHILDREN_MAX + 1)];
    steered_build(2);
    uint64_t begin_ns = rig.now_ns;
    uint32_t count = draw(&random, arrivals, begin_ns, &run), next = 0;
    rig_start();
    for (int slot = 0; slot < SLOTS; slot++) {
        double now_s = slot * slot_s;
        rig.now_ns = begin_ns + (uint64_t)llround(now_s * 1e9);
        for (int envoy = 0; envoy < 2; envoy++) {
            if (slot == 0 || slot == 20 || slot == 50) steered_follow(nodes[envoy], rate_of(envoy, now_s));
        }
        struct weir_batch *batch = steered_batch();
        while (next < count && arrivals[next].at_s < now_s + slot_s)
            steered_add(batch, &arrivals[next++].span);
        if (batch->span_count > 0)
            assert_int_equal(rig_offer((uint32_t)slot % 2, batch, NULL), WEIR_OK);
        else
            weir_batch_unref(batch);
    }
    assert_int_equal(next, count);
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, count);
    assert_int_equal(rig_imbalance(), 0);
    assert_true(steered_source("policy") == count && steered_source("unknown") == 0);
    run.estimate = rig.weight_seen;
    steered_free();
    return run;
}

static void totals_are_unbiased_over_changes(void **state) {
    (void)state;
    double sum = 0, squares = 0;
    int held = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct run run = play(seed);
        double off = run.estimate - run.truth;
        sum += off;
        squares += off * off;
        if (fabs(off) <= 1.96 * sqrt(run.variance)) held++;
    }
    double mean = sum / RUNS, error = sqrt((squares / RUNS - mean * mean) / RUNS);
    print_message("mean error %.2f +- %.2f; the 95 %% band held %d of %d\n", mean, error, held, RUNS);
    assert_true(fabs(mean) <= 4 * error);
    /* Four standard errors of a binomial below 95 %. */
    assert_true(held >= RUNS * (0.95 - 4 * sqrt(0.95 * 0.05 / RUNS)));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(totals_are_unbiased_over_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
