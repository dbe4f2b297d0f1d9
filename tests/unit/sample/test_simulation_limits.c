/* Estimates and their bands held against known truth (simulation.h): bottom-k limits. */
#include "tests/unit/sample/simulation.h"

#define ERRORS "    - { name: errors, when: { error: true }, rate: 0.5 }\n"

static void one_span_a_trace(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "limit of 40 a second, one span",
                                   .rules = "    - { name: rest, max_traces_per_second: 40 }\n",
                                   .traces_per_second = 200,
                                   .seconds = 20,
                                   .spans = 1,
                                   .lanes = 1});
}

static void bursts_on_four_lanes(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "limit of 80 a second on 4 lanes, bursts, mixed spans",
                                   .rules = ERRORS "    - { name: rest, max_traces_per_second: 80 }\n",
                                   .bursty = true,
                                   .traces_per_second = 250,
                                   .seconds = 20,
                                   .lanes = 4});
}

static void small_k(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "limit of 4 a second: k = 10, windows of 2.5 s",
                                   .rules = "    - { name: rest, max_traces_per_second: 4 }\n",
                                   .traces_per_second = 20,
                                   .seconds = 150,
                                   .spans = 10,
                                   .lanes = 1});
}

static void behind_an_independent_head(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "limit of 30 a second behind an independent head",
                                   .rules = "    - { name: rest, rate: 0.6, max_traces_per_second: 30 }\n",
                                   .head = SIM_HEAD_INDEPENDENT,
                                   .independent_rate = 0.3,
                                   .traces_per_second = 250,
                                   .seconds = 20,
                                   .lanes = 1,
                                   .rv = true});
}

static void behind_heads_of_all_kinds(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "limit of 40 a second behind heads of all kinds, 2 lanes",
                                   .rules = ERRORS "    - { name: rest, max_traces_per_second: 40 }\n",
                                   .head = SIM_HEAD_MIXED,
                                   .independent_rate = 0.5,
                                   .consistent_rate = 0.3,
                                   .traces_per_second = 300,
                                   .seconds = 25,
                                   .lanes = 2});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_span_a_trace),
        cmocka_unit_test(bursts_on_four_lanes),
        cmocka_unit_test(small_k),
        cmocka_unit_test(behind_an_independent_head),
        cmocka_unit_test(behind_heads_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
