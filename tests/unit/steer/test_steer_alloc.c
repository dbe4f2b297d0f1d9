/* Memory that is not there at a reload: whichever request for it fails, proxies are told what they were told or what
 * the new file says, and what did not go is counted and made up for at the next step. */
#include "tests/unit/failing_malloc.h"

#include "collector/config/config.h"
#include "collector/steer/steer.h"
#include "tests/unit/aggregate/house.h"
#include "tests/unit/steer/told.h"

#include <stdlib.h>

struct rig {
    struct house *house;
    struct weir_steering *board;
    struct weir_config *config;
    struct weir_meter *meter;
    struct weir_steer *steer;
    struct weir_policy *policies[2];
};

static const char *const texts[2] = {
    "proxies: { default: { rate: 0.01 }, services: { pay: { rate: 0.5 } } }",
    "proxies: { default: { rate: 0.02 }, services: { pay: { rate: 0.25 }, cart: { rate: 1 } } }"};

static void rig_open(struct rig *rig) {
    struct weir_aggregate_config config = house_config();
    struct weir_error err = {0};
    *rig = (struct rig){.house = house_open(&config, 1), .meter = weir_meter_new()};
    rig->board = weir_steering_new(rig->house->names, rig->house->metrics, &weir_clock_system);
    assert_int_equal(weir_config_load("", &rig->config, &err), WEIR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weir_policy_parse("sampling.yaml", (const uint8_t *)texts[i], strlen(texts[i]),
                                           rig->house->names, &rig->policies[i], &err),
                         WEIR_OK);
    const struct weir_steer_env env = {.names = rig->house->names,
                                       .metrics = rig->house->metrics,
                                       .clock = &weir_clock_system,
                                       .aggregate = rig->house->aggregate,
                                       .steering = rig->board,
                                       .meters = &rig->meter,
                                       .meter_count = 1,
                                       .config = rig->config,
                                       .rates_path = ""};
    assert_int_equal(weir_steer_new(&rig->steer, &env, &(struct weir_steer_policies){.policy = rig->policies[0]}, &err),
                     WEIR_OK);
}

static void rig_close(struct rig *rig) {
    weir_steer_free(rig->steer);
    weir_steering_free(rig->board);
    weir_meter_free(rig->meter);
    for (int i = 0; i < 2; i++)
        weir_policy_unref(rig->policies[i]);
    weir_config_free(rig->config);
    house_close(rig->house);
}

static double told(struct rig *rig, const char *service) {
    return rate_told(rig->board, "a", house_name(rig->house, service));
}

static bool page_has(struct rig *rig, const char *text) {
    return steer_page_has(rig->steer, text);
}

/* At `nth` there is no memory; 0: always. True: what is told is the new file's. */
static bool reload(struct rig *rig, uint64_t nth) {
    requests = 0;
    failing = nth;
    inside = true;
    weir_steer_reload(rig->steer, &(struct weir_steer_policies){.policy = rig->policies[1]}, rig->config);
    inside = false;
    return told(rig, "pay") == 0.25;
}

static void a_step_without_memory_is_counted_and_rates_stay(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    struct rig rig;
    uint64_t all, stayed = 0;
    rig_open(&rig);
    assert_true(reload(&rig, 0));
    all = requests;
    assert_true(page_has(&rig, "weir_policy_steps_failed_total 0\n"));
    rig_close(&rig);
    assert_true(all > 10);
    for (uint64_t i = 1; i <= all; i++) {
        rig_open(&rig);
        bool taken = reload(&rig, i);
        assert_true(taken || told(&rig, "pay") == 0.5);
        assert_true(taken ? told(&rig, "cart") == 1 : told(&rig, "cart") == 0.01);
        if (!taken) assert_false(page_has(&rig, "weir_policy_steps_failed_total 0\n"));
        stayed += !taken;
        assert_true(reload(&rig, 0));
        assert_true(told(&rig, "cart") == 1);
        assert_true(page_has(&rig, "weir_policy_rate{service=\"pay\",side=\"policy\"} 0.25\n"));
        rig_close(&rig);
    }
    assert_true(stayed > 3); /* else nothing was tried */
}

/* The thread makes up for it, without another reload. */
static void what_had_no_memory_is_told_by_the_next_step(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    struct weir_error err = {0};
    struct rig rig;
    bool taken = true;
    for (uint64_t i = 1; taken; i++) {
        rig_open(&rig);
        taken = reload(&rig, i);
        if (taken) rig_close(&rig);
    }
    assert_int_equal(weir_steer_start(rig.steer, &err), WEIR_OK);
    for (int i = 0; i < 6000 && told(&rig, "pay") != 0.25; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_true(told(&rig, "pay") == 0.25);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_without_memory_is_counted_and_rates_stay),
        cmocka_unit_test(what_had_no_memory_is_told_by_the_next_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
