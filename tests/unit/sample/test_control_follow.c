/* The controller learns from what arrives who follows it, and by how many rates. */
#include "tests/unit/sample/control_rig.h"

/* As rig_run(), of proxies that know the service's rate only. */
static void run_envoys(struct rig *rig, const struct weir_control_load *offered, uint32_t count, uint32_t seconds) {
    struct weir_control_load loads[64];
    for (uint32_t s = 0; s < seconds; s++) {
        for (uint32_t i = 0; i < count; i++) {
            double rate =
                rig->plan == NULL ? 0.01 : weir_plan_round_envoy(rig_rate(rig, offered[i].service, WEIR_NAME_NONE));
            loads[i] = offered[i];
            loads[i].roots *= rate, loads[i].spans *= rate, loads[i].bytes *= rate;
        }
        rig_step(rig, loads, count);
    }
}

/* Of whom it is known has not to be learnt: the rate of all is from the beginning the one that the rarest needs. */
static void known_envoys_keep_the_floors(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t edge = rig_name(&rig, "edge");
    struct weir_proxies_service services[] = {rig_service(edge, -1, 1)};
    struct weir_proxies file = with_budget(500);
    file.services = services, file.service_count = 1;
    struct weir_control_service known = {.service = edge, .exact = -1, .senders = 2, .common = true};
    struct weir_control_load offered[] = {rig_load(edge, rig_name(&rig, "often"), 990, 4, 1),
                                          rig_load(edge, rig_name(&rig, "seldom"), 10, 4, 1)};
    static const double budgets[] = {500, 200};
    for (size_t i = 0; i < 2; i++) {
        file.budget.spans_per_second = budgets[i];
        rig_set(&rig, &file);
        for (int s = 0; s < 90; s++) {
            double rate = rig.plan == NULL ? 0.01 : weir_plan_find(rig.plan, edge)->rate.rate;
            struct weir_control_load loads[] = {offered[0], offered[1]};
            for (int k = 0; k < 2; k++)
                loads[k].roots *= rate, loads[k].spans *= rate, loads[k].bytes *= rate;
            rig_step_input(
                &rig,
                &(struct weir_control_input){
                    .seconds = 1, .loads = loads, .load_count = 2, .services = &known, .service_count = 1, .share = 1});
            assert_int_equal(weir_plan_find(rig.plan, edge)->operation_count, 0);
        }
        /* 0.125, where 0.1 are enough for the floor of the rare one; then 0.05, for there is no more */
        rig_near(weir_plan_find(rig.plan, edge)->rate.rate, budgets[i] / 4000, 0.005);
    }
    rig_free(&rig);
}

static void envoys_hold_the_budget_with_one_rate(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t edge = rig_name(&rig, "edge"), often = rig_name(&rig, "often"), seldom = rig_name(&rig, "seldom");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(edge, often, 2000, 4, 1), rig_load(edge, seldom, 20, 40, 1)};
    run_envoys(&rig, offered, 2, 60); /* nothing is known of who they are */
    double spans = (2000 * 4 + 20 * 40) * rig_rate(&rig, edge, WEIR_NAME_NONE);
    assert_true(spans < 520);
    run_envoys(&rig, offered, 2, 400);
    spans = (2000 * 4 + 20 * 40) * rig_rate(&rig, edge, WEIR_NAME_NONE);
    rig_near(spans, 490, 20);
    rig_free(&rig);
}

static void one_rate_is_raised_for_a_floor_within_bounds(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t edge = rig_name(&rig, "edge"), often = rig_name(&rig, "often"), seldom = rig_name(&rig, "seldom"),
             rare = rig_name(&rig, "rare");
    struct weir_proxies file = rig_file(0.01, 1);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(edge, often, 1000, 4, 1), rig_load(edge, seldom, 20, 4, 1)};
    run_envoys(&rig, offered, 2, 600);
    rig_near(rig_rate(&rig, edge, WEIR_NAME_NONE), 0.05, 0.006);
    /* For one of 2 a second all would have to be sampled at a half. */
    struct weir_control_load more[] = {offered[0], offered[1], rig_load(edge, rare, 2, 4, 1)};
    run_envoys(&rig, more, 3, 600);
    rig_near(rig_rate(&rig, edge, WEIR_NAME_NONE), 0.1, 0.011);
    rig_free(&rig);
}

/* One that sends so many traces a second whatever it is told, beside one that follows: together they cost the budget.
 */
static void beside_one_that_follows(double traces, double heard, int steps) {
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), edge = rig_name(&rig, "edge"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(1000);
    rig_set(&rig, &file);
    struct weir_control_load stubborn = rig_load(pay, get, traces, 10, heard),
                             offered = rig_load(edge, get, 5000, 10, 1);
    for (int i = 0; i < steps; i++) {
        double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, edge, get);
        struct weir_control_load loads[] = {stubborn, offered};
        loads[1].roots *= rate, loads[1].spans *= rate;
        rig_step(&rig, loads, 2);
    }
    rig_near(stubborn.spans + rig_spans(&rig, &offered, 1), 980, 60);
    rig_free(&rig);
}

static void what_is_steered_by_nobody_is_paid_by_the_others(void **state) {
    (void)state;
    beside_one_that_follows(100, 0.5, 600);
}

static void who_does_not_say_its_rate_may_follow_it(void **state) {
    (void)state;
    for (int counted = 0; counted < 2; counted++) {
        struct rig rig = rig_new();
        uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
        struct weir_proxies file = with_budget(1000);
        rig_set(&rig, &file);
        double most = 0;
        for (int i = 0; i < 1200; i++) {
            double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, pay, get);
            struct weir_control_load load = rig_load(pay, get, 2000 * rate, 10, 1);
            struct weir_control_service service = {.service = pay, .exact = counted ? 2000 : -1, .senders = 1};
            rig_step_input(&rig, &(struct weir_control_input){.seconds = 1,
                                                              .loads = &load,
                                                              .load_count = 1,
                                                              .services = &service,
                                                              .service_count = 1,
                                                              .share = 1});
            if (i > 600) most = fmax(most, load.spans);
        }
        assert_true(most < 1100);
        rig_near(20000 * rig_rate(&rig, pay, get), 980, 100);
        rig_free(&rig);
    }
}

/* Its spans stand for themselves, and it sends all of them whatever it is told: after three turns of less it is clear.
 */
static void who_never_follows_is_found_out(void **state) {
    (void)state;
    beside_one_that_follows(60, 1, 1500);
}

static void a_counter_of_something_else_is_not_believed(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1), load = offered;
    for (int i = 0; i < 300; i++) { /* it has 50,000 requests a second, and begins a trace with few of them */
        double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, pay, get);
        load.roots = offered.roots * rate, load.spans = offered.spans * rate;
        struct weir_control_service service = {.service = pay, .exact = 50000, .senders = 1};
        rig_step_input(
            &rig,
            &(struct weir_control_input){
                .seconds = 1, .loads = &load, .load_count = 1, .services = &service, .service_count = 1, .share = 1});
    }
    rig_near(rig_spans(&rig, &offered, 1), 490, 15);
    rig_free(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_envoys_keep_the_floors),
        cmocka_unit_test(envoys_hold_the_budget_with_one_rate),
        cmocka_unit_test(one_rate_is_raised_for_a_floor_within_bounds),
        cmocka_unit_test(what_is_steered_by_nobody_is_paid_by_the_others),
        cmocka_unit_test(who_does_not_say_its_rate_may_follow_it),
        cmocka_unit_test(who_never_follows_is_found_out),
        cmocka_unit_test(a_counter_of_something_else_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
