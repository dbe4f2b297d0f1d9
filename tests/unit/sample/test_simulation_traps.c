/* The traps that the checks of simulation.h are for must not pass them. */
#include "collector/sample/limit.h"
#include "tests/unit/sample/simulation.h"

/* The k-th largest R as threshold instead of the (k+1)-th: one in ten too many at k = 10. */
static void the_kth_does_not_pass(void **state) {
    (void)state;
    struct sim *sim = sim_run(&(struct sim_config){.name = "trap",
                                                   .rules = "    - { name: rest, max_traces_per_second: 10 }\n",
                                                   .traces_per_second = 200,
                                                   .seconds = 20,
                                                   .spans = 1,
                                                   .lanes = 1});
    sim_figure_print("traces by the (k+1)-th", &sim->figures[SIM_STORED_TRACES]);
    sim_figure_print("traces by the k-th", &sim->kth);
    assert_true(sim_figure_unbiased(&sim->figures[SIM_STORED_TRACES]));
    assert_false(sim_figure_unbiased(&sim->kth));
    double ratio = 1 + sim->kth.errors / sim->kth.truth;
    assert_true(ratio > 1.05 && ratio < 1.16);
    sim_close(sim);
}

/* Ten spans a trace, all in one series: w (w - 1) a span is a tenth of the variance, and its band a third as wide. */
static void variance_by_span_does_not_pass(void **state) {
    (void)state;
    struct sim *sim = sim_run(&(struct sim_config){.name = "trap",
                                                   .rules = "    - { name: rest, rate: 0.1 }\n",
                                                   .traces_per_second = 200,
                                                   .seconds = 20,
                                                   .spans = 10,
                                                   .one_service = true,
                                                   .lanes = 1});
    sim_figure_print("spans by (2j - 1) w (w - 1)", &sim->figures[SIM_STORED_SPANS]);
    sim_figure_print("spans by w (w - 1)", &sim->per_span);
    assert_true(sim_figure_true_band(&sim->figures[SIM_STORED_SPANS]));
    assert_false(sim_figure_true_band(&sim->per_span));
    assert_true(sim_figure_coverage(&sim->per_span) < 0.6);
    sim_close(sim);
}

/* Where so few of the traces that a figure counts are kept that their number itself is uncertain, an estimate that is
 * too low has a band that is too narrow, and one of none has none at all. The figures of docs/sampling.md. */
static void bands_of_few_traces_are_too_narrow(void **state) {
    (void)state;
    enum { RUNS = 4000, K = 10, N = 200, ROWS = 5 };
    static const struct {
        uint32_t windows, one_in; /* of the traces, one in so many is counted */
        double least, most;       /* coverage */
    } rows[ROWS] = {{1, 10, 0.55, 0.7}, {2, 10, 0.8, 0.9}, {5, 10, 0.84, 0.93}, {2, 1, 0.91, 0.95}, {5, 1, 0.93, 0.97}};
    struct weir_emit_random random = weir_emit_random_of(77);
    struct weir_limit limit;
    weir_limit_open(&limit, K, 0);
    for (size_t row = 0; row < ROWS; row++) {
        struct sim_figure figure = {0};
        uint32_t one_in = rows[row].one_in;
        for (uint32_t run = 0; run < RUNS; run++) {
            double estimate = 0, variance = 0;
            for (uint32_t window = 0; window < rows[row].windows; window++) {
                for (uint32_t i = 0; i < N; i++) {
                    struct weir_limit_entry entry = {weir_emit_next(&random) & SIM_R_MASK, 0, i}, out;
                    uint64_t threshold;
                    weir_limit_offer(&limit, &entry, &out, &threshold);
                }
                struct weir_limit_entry *entries;
                uint64_t bar;
                uint32_t count = weir_limit_end(&limit, limit.end_ns, &entries, &bar);
                double weight = (double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - bar);
                for (uint32_t i = 0; i < count; i++) {
                    if (entries[i].handle % one_in != 0) continue;
                    estimate += weight;
                    variance += weight * (weight - 1);
                }
                free(entries);
            }
            sim_figure_add(&figure, (double)N / one_in * rows[row].windows, estimate, variance);
        }
        print_message("  %3u traces kept of those that it counts: the band holds %.1f %%\n",
                      K * rows[row].windows / one_in, 100 * sim_figure_coverage(&figure));
        assert_true(sim_figure_unbiased(&figure));
        assert_true(sim_figure_coverage(&figure) >= rows[row].least);
        assert_true(sim_figure_coverage(&figure) <= rows[row].most);
    }
    weir_limit_close(&limit);
}

/* Error traces are kept whole, but for the few whose error came after the decision: those stand for several each, and
 * the band of all hangs on a handful. Unbiased, but no band. */
static void a_handful_among_many_that_are_certain(void **state) {
    (void)state;
    struct sim *sim = sim_run(&(struct sim_config){.name = "trap",
                                                   .rules = "    - { name: errors, when: { error: true } }\n"
                                                            "    - { name: rest, max_traces_per_second: 40 }\n",
                                                   .traces_per_second = 250,
                                                   .seconds = 20,
                                                   .lanes = 2});
    sim_figure_print(sim_figure_names[SIM_STORED_TRACES], &sim->figures[SIM_STORED_TRACES]);
    sim_figure_print(sim_figure_names[SIM_STORED_ERRORS], &sim->figures[SIM_STORED_ERRORS]);
    assert_true(sim_figure_unbiased(&sim->figures[SIM_STORED_ERRORS]));
    assert_true(sim_figure_true_band(&sim->figures[SIM_STORED_TRACES]));
    assert_true(sim_figure_coverage(&sim->figures[SIM_STORED_ERRORS]) < 0.9);
    sim_close(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kth_does_not_pass),
        cmocka_unit_test(variance_by_span_does_not_pass),
        cmocka_unit_test(a_handful_among_many_that_are_certain),
        cmocka_unit_test(bands_of_few_traces_are_too_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
