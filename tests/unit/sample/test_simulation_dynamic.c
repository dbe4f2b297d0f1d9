/* Estimates and their bands held against known truth (simulation.h): dynamic rates, alone and with all the rest. */
#include "tests/unit/sample/simulation.h"

#define ERRORS "    - { name: errors, when: { error: true }, rate: 0.5 }\n"

static void a_throughput(void **state) {
    (void)state;
    sim_check(&(struct sim_config){
        .name = "40 traces a second by service and operation, 10 spans",
        .rules = "    - { name: rest, dynamic: { keys: [service, operation], traces_per_second: 40, window: 10s } }\n",
        .traces_per_second = 200,
        .seconds = 20,
        .spans = 10,
        .lanes = 1});
}

static void a_throughput_in_bursts(void **state) {
    (void)state;
    sim_check(&(struct sim_config){
        .name = "60 traces a second by service, bursts, 2 lanes",
        .rules = ERRORS "    - { name: rest, dynamic: { keys: [service], traces_per_second: 60, window: 30s } }\n",
        .bursty = true,
        .traces_per_second = 250,
        .seconds = 20,
        .lanes = 2});
}

static void a_share_behind_heads(void **state) {
    (void)state;
    sim_check(&(struct sim_config){
        .name = "a share of 0.4 by service, few keys, behind heads of all kinds",
        .rules = "    - { name: rest, dynamic: { keys: [service, status], share: 0.4, window: 5s, max_keys: 3 } }\n",
        .head = SIM_HEAD_MIXED,
        .independent_rate = 0.5,
        .consistent_rate = 0.4,
        .bursty = true,
        .traces_per_second = 250,
        .seconds = 20,
        .lanes = 1});
}

static void everything_at_once(void **state) {
    (void)state;
    sim_check(&(struct sim_config){
        .name = "rate, dynamic rate and limit in one rule, heads of all kinds, bursts, 2 lanes",
        .rules = ERRORS "    - { name: slow, when: { duration: '>750ms' }, rate: 0.5 }\n"
                        "    - { name: rest, rate: 0.5, max_traces_per_second: 60, dynamic: { keys: [service], "
                        "traces_per_second: 50 } }\n",
        .head = SIM_HEAD_MIXED,
        .independent_rate = 0.5,
        .consistent_rate = 0.4,
        .bursty = true,
        .traces_per_second = 300,
        .seconds = 30,
        .lanes = 2,
        .rv = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_throughput),
        cmocka_unit_test(a_throughput_in_bursts),
        cmocka_unit_test(a_share_behind_heads),
        cmocka_unit_test(everything_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
