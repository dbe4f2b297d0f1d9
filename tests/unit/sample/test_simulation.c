/* Estimates and their bands held against known truth (simulation.h): rates, behind samplers of all kinds. */
#include "tests/unit/sample/simulation.h"

#define ERRORS "    - { name: errors, when: { error: true } }\n"
#define SLOW   "    - { name: slow, when: { duration: '>750ms' }, rate: 0.5 }\n"

static void rates_alone(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "rates",
                                   .rules = ERRORS SLOW "    - { name: rest, rate: 0.15 }\n",
                                   .traces_per_second = 200,
                                   .seconds = 20,
                                   .spans = 1,
                                   .lanes = 1});
}

static void heads_independent(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "independent head, 10 spans",
                                   .rules = ERRORS SLOW "    - { name: rest, rate: 0.4 }\n",
                                   .head = SIM_HEAD_INDEPENDENT,
                                   .independent_rate = 0.3,
                                   .traces_per_second = 200,
                                   .seconds = 20,
                                   .spans = 10,
                                   .lanes = 2});
}

static void heads_consistent(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "consistent head, mixed spans",
                                   .rules = ERRORS SLOW "    - { name: rest, rate: 0.1 }\n",
                                   .head = SIM_HEAD_CONSISTENT,
                                   .consistent_rate = 0.25,
                                   .bursty = true,
                                   .traces_per_second = 250,
                                   .seconds = 20,
                                   .lanes = 1});
}

static void heads_mixed(void **state) {
    (void)state;
    sim_check(&(struct sim_config){.name = "heads of all kinds, rv",
                                   .rules = ERRORS SLOW "    - { name: rest, rate: 0.3 }\n",
                                   .head = SIM_HEAD_MIXED,
                                   .independent_rate = 0.5,
                                   .consistent_rate = 0.4,
                                   .traces_per_second = 200,
                                   .seconds = 20,
                                   .lanes = 4,
                                   .rv = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_alone),
        cmocka_unit_test(heads_independent),
        cmocka_unit_test(heads_consistent),
        cmocka_unit_test(heads_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
