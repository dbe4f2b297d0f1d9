/* The traps that the checks of simulation.h are for must not pass them. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kth_does_not_pass),
        cmocka_unit_test(variance_by_span_does_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
