/* The rules of the controller, one by one, with loads that are known exactly. What happens by chance, and late, is in
 * test_simulation_control.c. */
#include "tests/unit/sample/control_rig.h"

static void the_file_alone_is_the_plan(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), buy = rig_name(&rig, "POST /buy"), probe = rig_name(&rig, "GET /healthz");
    struct weir_proxies_rule operations[] = {rig_rule(probe, 0, -1), rig_rule(buy, 1, -1)};
    struct weir_proxies_service services[] = {rig_service(pay, 0.1, -1)};
    services[0].operations = operations, services[0].operation_count = 2;
    struct weir_proxies file = rig_file(0.01, -1);
    file.services = services, file.service_count = 1;
    rig_set(&rig, &file);
    struct weir_plan *of = weir_plan_of(&file, 1, rig.names, 0);
    struct weir_control_load load = rig_load(pay, rig_name(&rig, "GET /other"), 1e6, 10, 1);
    rig_run(&rig, &load, 1, 30);
    assert_true(rig.plan->version == of->version);
    assert_int_equal(rig.changes, 1);
    weir_plan_unref(of);
    rig_free(&rig);
}

static void a_floor_is_a_probability(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), often = rig_name(&rig, "often"), seldom = rig_name(&rig, "seldom");
    struct weir_proxies file = rig_file(0.01, 2);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, often, 1000, 10, 1), rig_load(pay, seldom, 20, 10, 1)};
    rig_run(&rig, offered, 2, 120);
    assert_float_equal(rig_rate(&rig, pay, often), 0.01, 1e-9);
    assert_float_equal(rig_rate(&rig, pay, seldom), 0.1, 0.01);
    assert_int_equal(rig_why(&rig, pay, seldom), WEIR_PLAN_FLOOR);
    rig_free(&rig);
}

/* Somebody writes another rate: no budget could be broken, so nothing is felt for, whether anything came or not. */
static void another_rate_is_told_at_once(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), busy = rig_name(&rig, "busy"), any = rig_name(&rig, "GET /");
    struct weir_proxies_service services[] = {rig_service(pay, 0.1, -1), rig_service(busy, 0.1, -1)};
    struct weir_proxies file = rig_file(0.01, 0.5);
    file.services = services, file.service_count = 2;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(busy, any, 1000, 10, 1)};
    rig_run(&rig, offered, 1, 1);
    assert_float_equal(rig_rate(&rig, pay, any), 0.1, 1e-9); /* nothing came of it, so nothing is raised yet */
    rig_run(&rig, offered, 1, 2);
    services[0].rule.rate = services[1].rule.rate = 0.9;
    file.fallback.rule.rate = 0.8;
    rig_set(&rig, &file);
    rig_run(&rig, offered, 1, 1);
    assert_true(rig_rate(&rig, pay, any) >= 0.9);
    assert_float_equal(rig_rate(&rig, busy, any), 0.9, 1e-9);
    assert_true(rig_rate(&rig, rig_name(&rig, "another"), any) >= 0.8);
    rig_free(&rig);
}

static void a_budget_is_held(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), often = rig_name(&rig, "often"), seldom = rig_name(&rig, "seldom");
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.spans_per_second = 500;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, often, 1000, 10, 1), rig_load(pay, seldom, 20, 10, 1)};
    rig_run(&rig, offered, 2, 120);
    assert_float_equal(rig_spans(&rig, offered, 2), 500, 15);
    assert_float_equal(rig_rate(&rig, pay, seldom), 1, 0.001); /* 20 of 50 traces a second are less than its half */
    assert_float_equal(rig_rate(&rig, pay, often), 0.03, 0.002);
    rig_free(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_alone_is_the_plan),
        cmocka_unit_test(a_floor_is_a_probability),
        cmocka_unit_test(another_rate_is_told_at_once),
        cmocka_unit_test(a_budget_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
