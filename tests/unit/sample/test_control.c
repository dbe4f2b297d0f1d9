/* The rules of the controller, one by one, with loads that are known exactly. What happens by chance, and late, is in
 * test_simulation_control.c; who follows in test_control_follow.c; what calls for more in test_control_trouble.c. */
#include "tests/unit/sample/control_rig.h"

#include <stdio.h>

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
    rig_near(rig_rate(&rig, pay, often), 0.01, 1e-9);
    rig_near(rig_rate(&rig, pay, seldom), 0.1, 0.01);
    assert_int_equal(rig_why(&rig, pay, seldom), WEIR_PLAN_FLOOR);
    rig_free(&rig);
}

/* Somebody writes another rate: no budget could be broken, so nothing is felt for, whether anything came or not. */
static void another_rate_is_told_at_once(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), busy = rig_name(&rig, "busy"), any = rig_name(&rig, "GET /");
    struct weir_proxies_service services[] = {rig_service(pay, 0.1, -1), rig_service(busy, 0.1, -1)};
    struct weir_proxies file = rig_file(0.001, 0.5);
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
    rig_near(rig_spans(&rig, offered, 2), 500, 15);
    rig_near(rig_rate(&rig, pay, seldom), 1, 0.001); /* 20 of 50 traces a second are less than its half */
    rig_near(rig_rate(&rig, pay, often), 0.03, 0.002);
    /* Of whom nothing is known is told what comes to the same spans in all. */
    rig_near(rig_rate(&rig, rig_name(&rig, "another"), often), 500.0 / 10200, 0.003);
    rig_free(&rig);
}

/* ---- shares ---- */

static void what_costs_more_spans_is_kept_less(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay");
    struct weir_proxies file = with_budget(600);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, rig_name(&rig, "wide"), 1000, 40, 1),
                                          rig_load(pay, rig_name(&rig, "narrow"), 1000, 10, 1)};
    rig_run(&rig, offered, 2, 180);
    rig_near(kept(&rig, &offered[1]) / kept(&rig, &offered[0]), 2, 0.15); /* the root of 40 / 10 */
    rig_free(&rig);
}

static void weights_multiply_the_share(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), buy = rig_name(&rig, "buy"), look = rig_name(&rig, "look");
    struct weir_proxies_rule rules[] = {rig_rule(buy, -1, -1)};
    rules[0].weight = 3;
    struct weir_proxies_service services[] = {rig_service(pay, -1, -1)};
    services[0].operations = rules, services[0].operation_count = 1;
    struct weir_proxies file = with_budget(400);
    file.services = services, file.service_count = 1;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, buy, 1000, 10, 1), rig_load(pay, look, 1000, 10, 1)};
    rig_run(&rig, offered, 2, 180);
    rig_near(kept(&rig, &offered[0]) / kept(&rig, &offered[1]), 3, 0.2);
    rig_free(&rig);
}

static void pins_and_ceilings_are_obeyed_and_paid_for(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), buy = rig_name(&rig, "buy"), probe = rig_name(&rig, "probe"),
             look = rig_name(&rig, "look"), list = rig_name(&rig, "list");
    struct weir_proxies_rule rules[] = {rig_rule(buy, 1, -1), rig_rule(probe, 0, 5), rig_rule(list, 0.02, -1)};
    struct weir_proxies_service services[] = {rig_service(pay, -1, 1)};
    services[0].operations = rules, services[0].operation_count = 3;
    struct weir_proxies file = with_budget(1000);
    file.services = services, file.service_count = 1;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, buy, 50, 10, 1), rig_load(pay, probe, 100, 10, 1),
                                          rig_load(pay, list, 500, 10, 1), rig_load(pay, look, 2000, 10, 1)};
    rig_run(&rig, offered, 4, 180);
    rig_near(rig_rate(&rig, pay, buy), 1, 0);
    assert_int_equal(rig_why(&rig, pay, buy), WEIR_PLAN_PIN);
    rig_near(rig_rate(&rig, pay, probe), 0, 0); /* never raised, not for a floor either */
    rig_near(rig_rate(&rig, pay, list), 0.02, 1e-9);
    rig_near(rig_spans(&rig, offered, 4), 1000, 30); /* 500 and 100 of them pinned, and for the ceiling */
    rig_free(&rig);
}

static void floors_come_first(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), seldom = rig_name(&rig, "seldom"), often = rig_name(&rig, "often");
    struct weir_proxies_rule rules[] = {rig_rule(seldom, -1, 20)};
    struct weir_proxies_service services[] = {rig_service(pay, -1, -1)};
    services[0].operations = rules, services[0].operation_count = 1;
    struct weir_proxies file = with_budget(300);
    file.services = services, file.service_count = 1;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, seldom, 100, 10, 1), rig_load(pay, often, 5000, 10, 1)};
    rig_run(&rig, offered, 2, 180);
    rig_near(kept(&rig, &offered[0]), 20, 1);
    assert_int_equal(rig_why(&rig, pay, seldom), WEIR_PLAN_FLOOR);
    assert_int_equal(rig_why(&rig, pay, often), WEIR_PLAN_BUDGET);
    rig_near(rig_spans(&rig, offered, 2), 300, 10);
    rig_free(&rig);
}

static void floors_beyond_the_budget_shrink_alike(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), one = rig_name(&rig, "one"), two = rig_name(&rig, "two");
    struct weir_proxies file = with_budget(200);
    file.fallback.rule.floor = 20;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, one, 100, 10, 1), rig_load(pay, two, 1000, 10, 1)};
    rig_run(&rig, offered, 2, 180);
    rig_near(kept(&rig, &offered[0]), 10, 0.7);
    rig_near(kept(&rig, &offered[1]), 10, 0.7);
    rig_free(&rig);
}

static void a_budget_of_a_service_is_inside_the_fleets(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), edge = rig_name(&rig, "edge"), get = rig_name(&rig, "get");
    struct weir_proxies_service services[] = {rig_service(pay, -1, -1)};
    services[0].budget.spans_per_second = 100;
    struct weir_proxies file = with_budget(500);
    file.services = services, file.service_count = 1;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, get, 1000, 10, 1), rig_load(edge, get, 1000, 10, 1)};
    rig_run(&rig, offered, 2, 180);
    rig_near(rig_spans(&rig, &offered[0], 1), 100, 4);
    rig_near(rig_spans(&rig, &offered[1], 1), 400, 12);
    rig_free(&rig);
}

static void bytes_are_a_budget(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.bytes_per_second = 40000; /* 100 spans of 400 bytes */
    rig_set(&rig, &file);
    struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1);
    rig_run(&rig, &offered, 1, 180);
    rig_near(rig_spans(&rig, &offered, 1), 100, 4);
    rig_free(&rig);
}

static void a_share_of_each_proxys_core_is_a_budget(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.proxy_cpu = 0.01; /* of 20 us a span: 500 spans a second of each of three */
    rig_set(&rig, &file);
    struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1), load = offered;
    struct weir_control_service service = {.service = pay, .exact = -1, .senders = 3};
    for (int i = 0; i < 180; i++) {
        double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, pay, get);
        load.roots = offered.roots * rate, load.spans = offered.spans * rate;
        rig_step_input(
            &rig,
            &(struct weir_control_input){
                .seconds = 1, .loads = &load, .load_count = 1, .services = &service, .service_count = 1, .share = 1});
    }
    rig_near(rig_spans(&rig, &offered, 1), 1500, 50);
    rig_free(&rig);
}

/* ---- time ---- */

static void rates_fall_at_once_and_rise_steadily(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load calm = rig_load(pay, get, 100, 10, 1), surge = rig_load(pay, get, 1000, 10, 1);
    rig_run(&rig, &calm, 1, 120);
    double before = rig_rate(&rig, pay, get);
    rig_near(before, 0.5, 0.03);
    rig_run(&rig, &surge, 1, 2);
    assert_true(rig_rate(&rig, pay, get) < before / 8);
    rig_run(&rig, &surge, 1, 60);
    double low = rig_rate(&rig, pay, get);
    rig_run(&rig, &calm, 1, 55); /* held for a polling interval */
    assert_true(rig_rate(&rig, pay, get) < low * 1.05);
    double last = low;
    for (int i = 0; i < 3; i++) { /* then not doubled more than once in each */
        rig_run(&rig, &calm, 1, 60);
        assert_true(rig_rate(&rig, pay, get) < last * 2.3);
        assert_true(rig_rate(&rig, pay, get) > last * 1.3);
        last = rig_rate(&rig, pay, get);
    }
    rig_run(&rig, &calm, 1, 180);
    rig_near(rig_rate(&rig, pay, get), 0.5, 0.03);
    rig_free(&rig);
}

static void small_differences_are_not_told(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load a = rig_load(pay, get, 1000, 10, 1), b = rig_load(pay, get, 1015, 10, 1);
    rig_run(&rig, &a, 1, 300);
    uint32_t before = rig.changes;
    for (int i = 0; i < 30; i++) {
        rig_run(&rig, &a, 1, 10);
        rig_run(&rig, &b, 1, 10);
    }
    assert_int_equal(rig.changes, before);
    rig_free(&rig);
}

static void since_is_the_moment_of_the_change(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load calm = rig_load(pay, get, 100, 10, 1), surge = rig_load(pay, get, 1000, 10, 1);
    rig_run(&rig, &calm, 1, 120);
    uint64_t before = weir_plan_rate_of(weir_plan_find(rig.plan, pay), get)->since_unix_ns;
    assert_true(rig.now_unix_ns - before > 30 * RIG_SECOND);
    rig_run(&rig, &surge, 1, 1);
    assert_true(weir_plan_rate_of(weir_plan_find(rig.plan, pay), get)->since_unix_ns == rig.now_unix_ns);
    rig_free(&rig);
}

static void another_file_keeps_what_was_learnt(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1);
    rig_run(&rig, &offered, 1, 120);
    file.budget.spans_per_second = 2000;
    rig_set(&rig, &file);
    rig_step_input(&rig, &(struct weir_control_input){.share = 1}); /* no time went by */
    rig_near(rig_spans(&rig, &offered, 1), 2000, 60);
    file = rig_file(0.3, -1);
    rig_set(&rig, &file);
    rig_step_input(&rig, &(struct weir_control_input){.share = 1});
    rig_near(rig_rate(&rig, pay, get), 0.3, 0);
    assert_int_equal(rig.plan->service_count, 0); /* the default says it */
    rig_free(&rig);
}

static void what_proxies_have_is_where_it_starts(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    weir_control_adopt(rig.control, pay, WEIR_NAME_NONE, 0.2);
    weir_control_adopt(rig.control, pay, get, 0.05);
    weir_control_adopt(rig.control, pay, rig_name(&rig, "put"), NAN);
    rig_step(&rig, NULL, 0);
    rig_near(rig_rate(&rig, pay, WEIR_NAME_NONE), 0.2, 0.03);
    rig_near(rig_rate(&rig, pay, get), 0.05, 0.01);
    struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1);
    rig_run(&rig, &offered, 1, 60);
    rig_near(rig_rate(&rig, pay, get), 0.05, 0.003);
    rig_free(&rig);
}

/* After a restart not all are back at once: what is seen of the first seconds is less than there is. */
static void what_proxies_have_is_kept_until_the_load_is_known(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    weir_control_adopt(rig.control, pay, WEIR_NAME_NONE, 0.05);
    rig_step(&rig, NULL, 0);
    for (uint32_t s = 0; s < 120; s++) {
        double share = s < 1 ? 0 : s < 4 ? 0.25 * s : 1, rate = rig_rate(&rig, pay, get);
        struct weir_control_load came = rig_load(pay, get, 1000 * share, 10, rate);
        rig_step(&rig, &came, 1);
        if (rig_rate(&rig, pay, get) > 0.0525) fail_msg("%g after %u s", rig_rate(&rig, pay, get), s);
    }
    rig_near(rig_rate(&rig, pay, get), 0.05, 0.003);
    rig_free(&rig);
}

/* ---- bounds ---- */

static void names_without_end_have_a_bound(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load *loads = calloc(4001, sizeof *loads);
    for (uint32_t s = 0; s < 20; s++) {
        loads[0] = rig_load(pay, get, 1000, 10, 0.05);
        for (uint32_t i = 1; i <= 4000; i++) {
            char name[32];
            snprintf(name, sizeof name, "%u/%u", s, i);
            loads[i] = rig_load(pay, rig_name(&rig, name), 10, 10, 0.1);
        }
        rig_step(&rig, loads, 4001);
        assert_true(weir_plan_find(rig.plan, pay)->operation_count <= 200);
    }
    /* 40,000 traces of ten spans a second have no place of their own: the service's rate bounds what they cost. */
    assert_true(40000 * 10 * rig_rate(&rig, pay, WEIR_NAME_NONE) < 600);
    for (uint32_t i = 0; i < 4000; i++) {
        char name[32];
        snprintf(name, sizeof name, "service %u", i);
        loads[i] = rig_load(rig_name(&rig, name), get, 10, 10, 0.1);
    }
    rig_step(&rig, loads, 4000);
    rig_step(&rig, loads, 4000);
    assert_true(rig.plan->service_count <= 1001);
    free(loads);
    rig_free(&rig);
}

static bool sound(const struct rig *rig) {
    bool good = true;
    for (uint32_t i = 0; i < rig->plan->service_count; i++) {
        const struct weir_plan_service *service = &rig->plan->services[i];
        good = good && service->rate.rate >= 0 && service->rate.rate <= 1;
        for (uint32_t k = 0; k < service->operation_count; k++)
            good = good && service->operations[k].rate >= 0 && service->operations[k].rate <= 1;
    }
    return good && rig->plan->fallback.rate.rate > 0 && rig->plan->fallback.rate.rate <= 1;
}
static void see_view(void *self, const struct weir_control_view *view) {
    bool *good = self;
    *good = *good && isfinite(view->offered) && isfinite(view->rate) && isfinite(view->spans_per_second) &&
            isfinite(view->bytes_per_second) && isfinite(view->proxy_cpu);
}

static void numbers_that_are_none_harm_nothing(void **state) {
    (void)state;
    static const double numbers[] = {0, 1, -1, 1e300, 1e-300, NAN, INFINITY, -INFINITY, 5e14, 3};
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
    struct weir_proxies file = with_budget(500);
    file.fallback.rule.floor = 0.5;
    file.budget.bytes_per_second = 1;
    file.budget.proxy_cpu = 1e-12;
    file.incident.on = true;
    rig_set(&rig, &file);
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t at = i * 2654435761u;
#define NUMBER numbers[(at = at * 1664525u + 1013904223u) >> 16 & 7]
        struct weir_control_load load = {.service = i % 5 == 0 ? WEIR_NAME_NONE : pay,
                                         .operation = i % 7 == 0 ? WEIR_NAME_OVERFLOW : get,
                                         .roots = NUMBER,
                                         .traces = NUMBER,
                                         .spans = NUMBER,
                                         .bytes = NUMBER,
                                         .errors = NUMBER,
                                         .seconds = NUMBER,
                                         .kept = NUMBER,
                                         .decided = NUMBER};
        struct weir_control_service service = {.service = pay, .exact = NUMBER, .senders = i % 3};
        rig_step_input(&rig, &(struct weir_control_input){.seconds = i % 11 == 0 ? 1e9 : 1,
                                                          .loads = &load,
                                                          .load_count = 1,
                                                          .services = &service,
                                                          .service_count = 1,
                                                          .share = i % 13 == 0 ? NAN : 1});
#undef NUMBER
        assert_true(sound(&rig));
        bool good = true;
        weir_control_each(rig.control, see_view, &good);
        assert_true(good);
    }
    rig_free(&rig);
}

/* A load that ends is held for a while, and its floors are not: between them they must not take everything from a
 * service that has just come. */
static void floors_of_a_load_that_ended_starve_nobody(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t front = rig_name(&rig, "front"), edge = rig_name(&rig, "edge");
    struct weir_proxies_service services[] = {rig_service(front, 0.5, -1), rig_service(edge, 0.2, -1)};
    struct weir_proxies file = rig_file(0.05, 0.5);
    file.budget.spans_per_second = 500;
    file.services = services, file.service_count = 2;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(edge, rig_name(&rig, "often"), 250, 8, 1),
                                          rig_load(edge, rig_name(&rig, "seldom"), 20, 8, 1)};
    rig_run(&rig, offered, 2, 6);
    rig_run(&rig, NULL, 0, 30); /* by now it is told what the file says */
    for (int second = 0; second < 300; second++) {
        rig_run(&rig, NULL, 0, 1);
        rig_near(rig_rate(&rig, front, WEIR_NAME_NONE), 0.5, 0);
    }
    rig_free(&rig);
}

/* What came two hundred times as often a while ago has its floor by what it is now. */
static void a_floor_is_met_after_a_fall(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t edge = rig_name(&rig, "edge"), get = rig_name(&rig, "get");
    struct weir_proxies file = rig_file(0.02, 0.5);
    file.budget.spans_per_second = 500;
    rig_set(&rig, &file);
    struct weir_control_load often = rig_load(edge, get, 1000, 8, 1), seldom = rig_load(edge, get, 5, 8, 1);
    rig_run(&rig, &often, 1, 60);
    rig_run(&rig, &seldom, 1, 160); /* until the estimate has come down to 11 a second: 0.1 are still some way off */
    assert_true(rig_rate(&rig, edge, get) >= 0.04);
    rig_free(&rig);
}

/* Floors alone are more than the budget, and no level is left: who was not seen yet is told what a start tells, so that
 * it is seen when it comes. */
static void floors_above_the_budget_blind_nobody(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t front = rig_name(&rig, "front"), edge = rig_name(&rig, "edge"), get = rig_name(&rig, "get");
    struct weir_proxies_service services[] = {rig_service(front, 0.5, -1), rig_service(edge, 0.5, 1000)};
    struct weir_proxies file = rig_file(0.05, -1);
    file.budget.spans_per_second = 500;
    file.services = services, file.service_count = 2;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(edge, get, 5000, 8, 1), rig_load(front, get, 5000, 4, 1)};
    rig_run(&rig, offered, 1, 60);
    rig_near(rig_rate(&rig, front, WEIR_NAME_NONE), 0.01, 0);
    rig_run(&rig, offered, 2, 60);
    assert_true(rig_spans(&rig, offered, 2) < 520);
    rig_free(&rig);
}

/* A rate of 0 is never raised: not to the least step of an Envoy, nor for a floor. */
static void a_rate_of_nothing_stays(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t edge = rig_name(&rig, "edge"), cart = rig_name(&rig, "cart"), get = rig_name(&rig, "get");
    struct weir_proxies_service services[] = {rig_service(edge, 0, -1)};
    struct weir_proxies file = rig_file(0.5, 1);
    file.services = services, file.service_count = 1;
    file.incident.on = true;
    rig_set(&rig, &file);
    struct weir_control_load forced = rig_load(edge, get, 10, 4, 1), loads[] = {forced, rig_load(cart, get, 10, 4, 1)};
    struct weir_control_service known = {.service = edge, .exact = -1, .senders = 1, .common = true};
    for (int i = 0; i < 300; i++) {
        rig_step_input(
            &rig,
            &(struct weir_control_input){
                .seconds = 1, .loads = loads, .load_count = 2, .services = &known, .service_count = 1, .share = 1});
        rig_near(rig_rate(&rig, edge, WEIR_NAME_NONE), 0, 0);
        rig_near(rig_rate(&rig, edge, get), 0, 0);
    }
    rig_near(rig_rate(&rig, cart, get), 0.5, 0);
    rig_free(&rig);
}

/* Roots without a name, and of names that had no place in the table, follow the service's rate. */
static void roots_without_a_name_have_no_row(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay");
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, WEIR_NAME_NONE, 500, 10, 1),
                                          rig_load(pay, WEIR_NAME_OVERFLOW, 500, 10, 1)};
    rig_run(&rig, offered, 2, 120);
    assert_int_equal(weir_plan_find(rig.plan, pay)->operation_count, 0);
    rig_near(rig_rate(&rig, pay, WEIR_NAME_NONE), 0.049, 0.002);
    rig_free(&rig);
}

/* A file that names more services than before: of those that another process had a rate for not all have a place. */
static void what_has_no_place_is_not_adopted_for_all_others(void **state) {
    (void)state;
    struct rig rig = rig_new();
    struct weir_proxies file = with_budget(500);
    rig_set(&rig, &file);
    weir_control_adopt(rig.control, WEIR_NAME_NONE, WEIR_NAME_NONE, 0.01);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "service-%d", i);
        weir_control_adopt(rig.control, rig_name(&rig, name), WEIR_NAME_NONE, 0.9);
    }
    rig_step(&rig, NULL, 0);
    rig_near(rig_rate(&rig, rig_name(&rig, "another"), WEIR_NAME_NONE), 0.01, 1e-9);
    rig_free(&rig);
}

static void keep_sum(void *self, const struct weir_control_view *view) {
    if (view->operation == WEIR_NAME_NONE && view->service != WEIR_NAME_NONE) *(struct weir_control_view *)self = *view;
}

/* 500 spans a second of 10,000 are 4.9 %, whoever follows: so many proxies as there are reckon with the same budget,
 * and what it would come to can be held against the other side's. */
static void a_canary_is_reckoned_as_if_all_followed_it(void **state) {
    (void)state;
    static const double shares[] = {0, 0.1, 0.9};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct rig rig = rig_new();
        uint32_t pay = rig_name(&rig, "pay"), get = rig_name(&rig, "get");
        struct weir_proxies file = with_budget(500);
        rig_set(&rig, &file);
        struct weir_control_load offered = rig_load(pay, get, 1000, 10, 1), load = offered;
        const struct weir_control_service known = {.service = pay, .exact = -1, .senders = 4};
        for (int s = 0; s < 300; s++) { /* its share follows this plan, the others one of 20 % */
            double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, pay, get);
            load.roots = offered.roots * (rate * shares[i] + 0.2 * (1 - shares[i])), load.spans = load.roots * 10;
            rig_step_input(&rig, &(struct weir_control_input){.seconds = 1,
                                                              .loads = &load,
                                                              .load_count = 1,
                                                              .services = &known,
                                                              .service_count = 1,
                                                              .share = shares[i]});
        }
        struct weir_control_view sum = {0};
        rig_near(rig_rate(&rig, pay, get), 0.049, 0.002);
        weir_control_each(rig.control, keep_sum, &sum);
        rig_near(sum.offered, 1000, 20);
        rig_near(sum.spans_offered, 10000, 200);
        rig_near(sum.spans_per_second, 490, 20);
        rig_near(sum.proxy_cpu, 490 * 20e-6 / 4, 1e-4);
        rig_free(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_alone_is_the_plan),
        cmocka_unit_test(a_floor_is_a_probability),
        cmocka_unit_test(another_rate_is_told_at_once),
        cmocka_unit_test(a_budget_is_held),
        cmocka_unit_test(what_costs_more_spans_is_kept_less),
        cmocka_unit_test(weights_multiply_the_share),
        cmocka_unit_test(pins_and_ceilings_are_obeyed_and_paid_for),
        cmocka_unit_test(floors_come_first),
        cmocka_unit_test(floors_beyond_the_budget_shrink_alike),
        cmocka_unit_test(a_budget_of_a_service_is_inside_the_fleets),
        cmocka_unit_test(bytes_are_a_budget),
        cmocka_unit_test(a_share_of_each_proxys_core_is_a_budget),
        cmocka_unit_test(rates_fall_at_once_and_rise_steadily),
        cmocka_unit_test(small_differences_are_not_told),
        cmocka_unit_test(since_is_the_moment_of_the_change),
        cmocka_unit_test(another_file_keeps_what_was_learnt),
        cmocka_unit_test(what_proxies_have_is_where_it_starts),
        cmocka_unit_test(what_proxies_have_is_kept_until_the_load_is_known),
        cmocka_unit_test(names_without_end_have_a_bound),
        cmocka_unit_test(numbers_that_are_none_harm_nothing),
        cmocka_unit_test(floors_of_a_load_that_ended_starve_nobody),
        cmocka_unit_test(a_floor_is_met_after_a_fall),
        cmocka_unit_test(floors_above_the_budget_blind_nobody),
        cmocka_unit_test(a_rate_of_nothing_stays),
        cmocka_unit_test(roots_without_a_name_have_no_row),
        cmocka_unit_test(what_has_no_place_is_not_adopted_for_all_others),
        cmocka_unit_test(a_canary_is_reckoned_as_if_all_followed_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
