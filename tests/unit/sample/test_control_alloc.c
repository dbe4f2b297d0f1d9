/* Memory that is not there: whichever request for it fails, there is a plan afterwards, and its rates are rates. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/sample/control_rig.h"

#include <stdio.h>

enum { SERVICES = 30, OPERATIONS = 40, STEPS = 6 };

static void play(void) {
    struct weir_names *names = weir_names_new(100000, 1 << 24);
    struct weir_proxies file = rig_file(-1, 0.1);
    file.budget.spans_per_second = 500;
    struct weir_control_load *loads = calloc(SERVICES * OPERATIONS, sizeof *loads);
    for (uint32_t i = 0; i < SERVICES * OPERATIONS; i++) {
        char service[32], operation[32];
        int service_size = snprintf(service, sizeof service, "s%u", i % SERVICES);
        int operation_size = snprintf(operation, sizeof operation, "o%u", i / SERVICES);
        loads[i] = rig_load(weir_names_intern(names, service, (size_t)service_size),
                            weir_names_intern(names, operation, (size_t)operation_size), 1 + i % 7, 8, 0.5);
    }
    inside = true;
    struct weir_control *control = weir_control_new(names);
    struct weir_plan *plan = NULL;
    if (control != NULL) weir_control_set(control, &file, 1);
    for (uint32_t i = 0; control != NULL && i < STEPS; i++) {
        uint32_t count = SERVICES * OPERATIONS * (i + 1) / STEPS;
        struct weir_plan *next = weir_control_step(
            control, &(struct weir_control_input){.seconds = 1, .loads = loads, .load_count = count, .share = 1});
        if (next == NULL) continue; /* the one before stays in force */
        weir_plan_unref(plan);
        plan = next;
    }
    inside = false;
    if (control != NULL) {
        assert_non_null(plan);
        for (uint32_t i = 0; i < plan->service_count; i++)
            assert_true(plan->services[i].rate.rate > 0 && plan->services[i].rate.rate <= 1);
    }
    weir_plan_unref(plan);
    weir_control_free(control);
    free(loads);
    weir_names_free(names);
}

static void every_request_fails_once(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    requests = failing = 0;
    play();
    uint64_t all = requests;
    assert_true(all > 20);
    for (uint64_t i = 1; i <= all; i++) {
        requests = 0;
        failing = i;
        play();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_request_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
