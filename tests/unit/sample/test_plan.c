#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/plan.h"
#include "collector/sample/policy.h"
#include "tests/unit/named.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next(uint64_t *seed) { /* splitmix64 */
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static struct weir_plan_rate rate_in(struct weir_names *in, const char *name, double rate) {
    uint32_t named = weir_names_intern(in, name, strlen(name));
    return (struct weir_plan_rate){.name = named, .operation = named, .rate = rate};
}

static struct weir_plan_service service_in(struct weir_names *in, const char *name, double rate) {
    return (struct weir_plan_service){.rate = rate_in(in, name, rate), .max_traces_per_second = -1};
}

static struct weir_plan *plan_of(struct weir_plan_service *services, uint32_t count) {
    struct weir_plan_service fallback = service_in(names, "", 0.5);
    struct weir_plan *plan = weir_plan_new(names, 7, &fallback, services, count);
    assert_non_null(plan);
    return plan;
}

static void rates_are_whole_millionths(void **state) {
    (void)state;
    static const struct {
        double rate, rounded;
    } rows[] = {{0, 0},
                {-1, 0},
                {NAN, 0},
                {1, 1},
                {7, 1},
                {1e-12, 1e-6},
                {4e-7, 1e-6},
                {1.4e-6, 1e-6},
                {1.5e-6, 2e-6},
                {0.1, 0.1},
                {1.0 / 3, 0.333333},
                {0.9999996, 1},
                {0.9999994, 0.999999}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (weir_plan_round(rows[i].rate) != rows[i].rounded)
            fail_msg("%.9g is rounded to %.9g, not %.9g", rows[i].rate, weir_plan_round(rows[i].rate), rows[i].rounded);
    uint64_t seed = 1;
    double before = 0, highest = 0;
    for (int i = 0; i < 100000; i++) {
        double rate = ldexp((double)(next(&seed) >> 11), -53);
        double rounded = weir_plan_round(rate);
        assert_true(weir_plan_round(rounded) == rounded);
        assert_true(fabs(rounded - rate) <= 0.5e-6 || rounded == 1e-6);
        assert_true(fabs(rounded * 1e6 - round(rounded * 1e6)) < 1e-9);
        if (rate > highest) { /* it does not fall where the rate rises */
            assert_true(rounded >= before);
            highest = rate;
            before = rounded;
        }
    }
}

static void finds_services_and_operations(void **state) {
    (void)state;
    struct weir_plan_rate operations[] = {rate_in(names, "GET /a", 0.25), rate_in(names, "GET /b", 1)};
    struct weir_plan_service services[] = {service_in(names, "pay", 0.1), service_in(names, "edge", 0.2),
                                           service_in(names, "cart", 0.3)};
    services[0].operations = operations;
    services[0].operation_count = 2;
    struct weir_plan *plan = plan_of(services, 3);
    operations[0].rate = 0.75; /* it has copied */
    assert_int_equal(plan->policy, 7);
    assert_true(weir_plan_find(plan, id("pay"))->rate.rate == 0.1);
    assert_true(weir_plan_find(plan, id("edge"))->rate.rate == 0.2);
    assert_true(weir_plan_find(plan, id("cart"))->rate.rate == 0.3);
    assert_ptr_equal(weir_plan_find(plan, id("another")), &plan->fallback);
    assert_ptr_equal(weir_plan_find(plan, WEIR_NAME_NONE), &plan->fallback);
    const struct weir_plan_service *pay = weir_plan_find(plan, id("pay"));
    assert_true(weir_plan_rate_of(pay, id("GET /a"))->rate == 0.25);
    assert_true(weir_plan_rate_of(pay, id("GET /b"))->rate == 1);
    assert_ptr_equal(weir_plan_rate_of(pay, id("GET /c")), &pay->rate);
    struct weir_plan *other = weir_plan_ref(plan);
    weir_plan_unref(plan);
    assert_true(weir_plan_find(other, id("pay"))->rate.rate == 0.1);
    weir_plan_unref(other);
    weir_plan_unref(NULL);
}

static void every_service_is_found(void **state) {
    (void)state;
    enum { COUNT = 500 };
    struct weir_plan_service services[COUNT];
    uint32_t order[COUNT];
    char name[32];
    uint64_t seed = 3;
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "many-%u", i);
        order[i] = i;
        id(name);
    }
    for (uint32_t i = COUNT - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(next(&seed) % (i + 1)), swap = order[i];
        order[i] = order[other];
        order[other] = swap;
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "many-%u", order[i]);
        services[i] = service_in(names, name, (order[i] + 1) * 1e-3);
    }
    struct weir_plan *plan = plan_of(services, COUNT);
    assert_int_equal(plan->service_count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "many-%u", i);
        assert_true(weir_plan_find(plan, id(name))->rate.rate == weir_plan_round((i + 1) * 1e-3));
        if (i > 0) assert_true(plan->services[i - 1].rate.name < plan->services[i].rate.name);
    }
    weir_plan_unref(plan);
}

/* In whichever order they stand, and of two rows of one operation the first. */
static void every_operation_is_found(void **state) {
    (void)state;
    enum { ROWS = 997 };
    static struct weir_plan_rate rows[ROWS + 1];
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] = (struct weir_plan_rate){.name = id("op"), .operation = 10 + i * 601 % ROWS * 2, .rate = 0.5};
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i].rate = rows[i].operation / 1e6;
    rows[ROWS] = (struct weir_plan_rate){.name = id("again"), .operation = 10, .rate = 1};
    struct weir_plan_service service = service_in(names, "pay", 0.25);
    service.operations = rows;
    service.operation_count = ROWS + 1;
    struct weir_plan *plan = plan_of(&service, 1);
    const struct weir_plan_service *told = weir_plan_find(plan, id("pay"));
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_int_equal(told->operations[i].operation, rows[i].operation); /* as they were given */
        assert_true(weir_plan_rate_of(told, rows[i].operation) == &told->operations[i]);
        assert_true(weir_plan_rate_of(told, rows[i].operation + 1) == &told->rate);
    }
    assert_true(weir_plan_rate_of(told, 0) == &told->rate);
    assert_true(weir_plan_rate_of(told, UINT32_MAX) == &told->rate);
    weir_plan_unref(plan);
}

static void of_two_of_one_name_the_first_counts(void **state) {
    (void)state;
    struct weir_plan_service services[] = {service_in(names, "pay", 0.1), service_in(names, "a", 1),
                                           service_in(names, "pay", 0.9), service_in(names, "pay", 0.8)};
    struct weir_plan *plan = plan_of(services, 4);
    assert_int_equal(plan->service_count, 2);
    assert_true(weir_plan_find(plan, id("pay"))->rate.rate == 0.1);
    weir_plan_unref(plan);
}

/* The same is told by two processes whose names have other ids, and whose rows stand in another order. */
static void versions_are_of_what_is_told(void **state) {
    (void)state;
    struct weir_names *others = weir_names_new(4096, 1 << 20);
    weir_names_intern(others, "something first", 15);
    struct weir_plan_rate rows[] = {rate_in(names, "GET /a", 0.25), rate_in(names, "GET /b", 1)};
    struct weir_plan_rate turned[] = {rate_in(others, "GET /b", 1), rate_in(others, "GET /a", 0.25)};
    struct weir_plan_service here[] = {service_in(names, "v-pay", 0.1), service_in(names, "v-edge", 0.2)};
    struct weir_plan_service there[] = {service_in(others, "v-edge", 0.2), service_in(others, "v-pay", 0.1)};
    here[0].operations = rows;
    there[1].operations = turned;
    here[0].operation_count = there[1].operation_count = 2;
    here[0].rate.since_unix_ns = 5; /* since when and why are not told */
    there[1].rate.why = WEIR_PLAN_FLOOR;
    there[1].max_traces_per_second = -2;
    struct weir_plan_service fallback = service_in(names, "", 0.5);
    struct weir_plan *one = weir_plan_new(names, 7, &fallback, here, 2);
    struct weir_plan *two = weir_plan_new(others, 8, &fallback, there, 2);
    assert_int_equal(one->version, two->version);
    assert_int_equal(weir_plan_find(one, id("v-pay"))->version,
                     weir_plan_find(two, weir_names_find(others, "v-pay", 5))->version);
    weir_plan_unref(one);
    weir_plan_unref(two);
    weir_names_free(others);
}

/* Each thing that is told changes the version of its service and of the whole, and of no other service. */
static void each_change_is_another_version(void **state) {
    (void)state;
    enum { CHANGES = 9 };
    uint64_t versions[CHANGES], of_pay[CHANGES];
    uint64_t of_edge = 0;
    for (int change = 0; change < CHANGES; change++) {
        struct weir_plan_rate rows[] = {rate_in(names, change == 1 ? "GET /x" : "GET /a", change == 2 ? 0.26 : 0.25),
                                        rate_in(names, "GET /b", 1)};
        struct weir_plan_service services[] = {
            service_in(names, change == 3 ? "pays" : "pay", change == 4 ? 0.11 : 0.1), service_in(names, "edge", 0.2)};
        struct weir_plan_service *pay = &services[0];
        pay->operations = rows;
        pay->operation_count = change == 5 ? 1 : 2;
        if (change == 6) pay->max_traces_per_second = 0;
        if (change == 7) pay->batching.min_flush_spans = 500;
        if (change == 8) pay->batching.flush_interval_ns = 1;
        struct weir_plan *plan = plan_of(services, 2);
        versions[change] = plan->version;
        of_pay[change] = weir_plan_find(plan, id(change == 3 ? "pays" : "pay"))->version;
        uint64_t edge = weir_plan_find(plan, id("edge"))->version;
        if (change > 0) assert_int_equal(edge, of_edge);
        of_edge = edge;
        for (int earlier = 0; earlier < change; earlier++) {
            assert_int_not_equal(versions[earlier], versions[change]);
            assert_int_not_equal(of_pay[earlier], of_pay[change]);
        }
        weir_plan_unref(plan);
    }
    /* What no proxy can tell apart is no other version. */
    struct weir_plan_service finer[] = {service_in(names, "pay", 0.1 + 1e-8)}, same[] = {service_in(names, "pay", 0.1)};
    struct weir_plan *a = plan_of(finer, 1), *b = plan_of(same, 1);
    assert_int_equal(a->version, b->version);
    weir_plan_unref(a);
    weir_plan_unref(b);
}

static struct weir_plan *plan_of_text(const char *text) {
    struct weir_policy *policy = NULL;
    struct weir_error err = {0};
    if (weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    struct weir_plan *plan =
        weir_plan_of(weir_policy_proxies(policy), weir_policy_version(policy), names, 1700000000000000000);
    assert_non_null(plan);
    assert_int_equal(plan->policy, weir_policy_version(policy));
    weir_policy_unref(policy);
    return plan;
}

static void the_file_alone(void **state) {
    (void)state;
    struct weir_plan *plan =
        plan_of_text("proxies:\n"
                     "  default: { rate: 1%, min_traces_per_second: 5, envoy: { min_flush_spans: 500 },\n"
                     "             operations: { GET /healthz: { rate: 0 } } }\n"
                     "  services:\n"
                     "    pay: { rate: 0.1, envoy: { flush_interval: 5s },\n"
                     "           operations: { POST /users/42: { rate: 1 }, GET /: { min_traces_per_second: 1 } } }\n"
                     "    edge: { weight: 2, operations: { GET /healthz: { rate: 0.5 } } }\n");
    const struct weir_plan_service *pay = weir_plan_find(plan, id("pay")), *edge = weir_plan_find(plan, id("edge"));
    assert_true(plan->fallback.rate.rate == 0.01);
    assert_int_equal(plan->fallback.rate.name, WEIR_NAME_NONE);
    assert_true(weir_plan_rate_of(&plan->fallback, id("GET /healthz"))->rate == 0);
    assert_true(pay->rate.rate == 0.1);
    assert_true(pay->max_traces_per_second < 0);
    assert_int_equal(pay->rate.since_unix_ns, 1700000000000000000);
    assert_int_equal(pay->batching.min_flush_spans, 500);
    assert_int_equal(pay->batching.flush_interval_ns, 5000000000);
    assert_int_equal(pay->operation_count, 2); /* a floor alone says nothing; the default's has come along */
    assert_true(weir_plan_rate_of(pay, id("POST /users/{id}"))->rate == 1);
    assert_int_equal(weir_plan_rate_of(pay, id("POST /users/{id}"))->name, id("POST /users/42"));
    assert_true(weir_plan_rate_of(pay, id("GET /healthz"))->rate == 0);
    assert_ptr_equal(weir_plan_rate_of(pay, id("GET /")), &pay->rate);
    assert_true(edge->rate.rate == 0.01);
    assert_true(weir_plan_rate_of(edge, id("GET /healthz"))->rate == 0.5);
    weir_plan_unref(plan);
}

/* As Jaeger has it: a service of a rate of its own is not limited because the default is. */
static void limits_of_the_file(void **state) {
    (void)state;
    struct weir_plan *plan = plan_of_text("proxies:\n"
                                          "  default: { rate: 0.001, max_traces_per_second: 7 }\n"
                                          "  services:\n"
                                          "    says-rate: { rate: 0.1 }\n"
                                          "    says-limit: { max_traces_per_second: 0 }\n"
                                          "    says-both: { rate: 0.2, max_traces_per_second: 3 }\n"
                                          "    says-nothing: { weight: 2 }\n");
    static const struct {
        const char *service;
        double rate, limit;
    } rows[] = {{"says-rate", 0.1, -1},
                {"says-limit", 0.001, 0},
                {"says-both", 0.2, 3},
                {"says-nothing", 0.001, 7},
                {"is-not-there", 0.001, 7}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct weir_plan_service *service = weir_plan_find(plan, id(rows[i].service));
        assert_true(service->rate.rate == rows[i].rate);
        assert_true(service->max_traces_per_second == rows[i].limit);
    }
    weir_plan_unref(plan);
}

static void without_a_rate_a_budget_begins_at_everything(void **state) {
    (void)state;
    struct weir_plan *plan =
        plan_of_text("proxies: { services: { pay: { rate: 0.1 }, edge: {} }, budget: { spans_per_second: 5 } }\n");
    assert_true(plan->fallback.rate.rate == 1);
    assert_true(weir_plan_find(plan, id("pay"))->rate.rate == 0.1);
    assert_true(weir_plan_find(plan, id("edge"))->rate.rate == 1);
    weir_plan_unref(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_whole_millionths),
        cmocka_unit_test(finds_services_and_operations),
        cmocka_unit_test(every_service_is_found),
        cmocka_unit_test(every_operation_is_found),
        cmocka_unit_test(of_two_of_one_name_the_first_counts),
        cmocka_unit_test(versions_are_of_what_is_told),
        cmocka_unit_test(each_change_is_another_version),
        cmocka_unit_test(the_file_alone),
        cmocka_unit_test(limits_of_the_file),
        cmocka_unit_test(without_a_rate_a_budget_begins_at_everything),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
