/* What the tail drops, and incidents: operations that are looked at less or more closely for a while. */
#include "tests/unit/sample/control_rig.h"

static void what_the_tail_drops_is_sampled_less_within_bounds(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay");
    struct weir_proxies file = with_budget(1000);
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, rig_name(&rig, "dropped"), 1000, 10, 1),
                                          rig_load(pay, rig_name(&rig, "kept"), 1000, 10, 1)};
    for (int i = 0; i < 300; i++) {
        struct weir_control_load loads[2];
        for (int k = 0; k < 2; k++) {
            double rate = rig.plan == NULL ? 0.01 : rig_rate(&rig, pay, offered[k].operation);
            loads[k] = offered[k];
            loads[k].roots *= rate, loads[k].spans *= rate;
            loads[k].decided = loads[k].roots, loads[k].kept = loads[k].roots * (k == 0 ? 0.001 : 0.5);
        }
        rig_step(&rig, loads, 2);
    }
    rig_near(kept(&rig, &offered[1]) / kept(&rig, &offered[0]), 4, 0.4);
    rig_free(&rig);
}

enum trouble { CALM, ERRORS, SLOW };
static void run_in_trouble(struct rig *rig, const struct weir_control_load *offered, uint32_t seconds,
                           enum trouble trouble) {
    struct weir_control_load own[2] = {offered[0], offered[1]};
    if (trouble == ERRORS) own[0].errors = own[0].traces * 0.2;
    if (trouble == SLOW) own[0].seconds *= 5;
    rig_run(rig, own, 2, seconds);
}

static void trouble_is_looked_at_closely_for_a_while(void **state) {
    (void)state;
    for (enum trouble trouble = ERRORS; trouble <= SLOW; trouble++) {
        struct rig rig = rig_new();
        uint32_t pay = rig_name(&rig, "pay"), sick = rig_name(&rig, "sick"), well = rig_name(&rig, "well");
        struct weir_proxies file = with_budget(1100);
        file.incident.on = true;
        file.incident.for_ns = 120 * RIG_SECOND;
        rig_set(&rig, &file);
        struct weir_control_load offered[] = {rig_load(pay, sick, 1000, 10, 1), rig_load(pay, well, 1000, 10, 1)};
        run_in_trouble(&rig, offered, 300, CALM);
        rig_near(kept(&rig, &offered[0]) / kept(&rig, &offered[1]), 1, 0.1);
        run_in_trouble(&rig, offered, 60, trouble);
        assert_int_equal(rig_why(&rig, pay, sick), WEIR_PLAN_INCIDENT);
        rig_near(kept(&rig, &offered[0]) / kept(&rig, &offered[1]), 10, 1); /* the others pay */
        rig_near(rig_spans(&rig, offered, 2), 1078, 35);
        run_in_trouble(&rig, offered, 100, CALM); /* not over yet */
        assert_int_equal(rig_why(&rig, pay, sick), WEIR_PLAN_INCIDENT);
        run_in_trouble(&rig, offered, 300, CALM);
        rig_near(kept(&rig, &offered[0]) / kept(&rig, &offered[1]), 1, 0.1);
        rig_free(&rig);
    }
}

static void trouble_raises_the_rate_of_the_file(void **state) {
    (void)state;
    struct rig rig = rig_new();
    uint32_t pay = rig_name(&rig, "pay"), sick = rig_name(&rig, "sick"), well = rig_name(&rig, "well");
    struct weir_proxies file = rig_file(0.05, -1);
    file.incident.on = true;
    rig_set(&rig, &file);
    struct weir_control_load offered[] = {rig_load(pay, sick, 200, 10, 1), rig_load(pay, well, 200, 10, 1)};
    run_in_trouble(&rig, offered, 300, CALM);
    rig_near(rig_rate(&rig, pay, sick), 0.05, 0);
    run_in_trouble(&rig, offered, 60, ERRORS);
    rig_near(rig_rate(&rig, pay, sick), 0.5, 0);
    rig_near(rig_rate(&rig, pay, well), 0.05, 0);
    rig_free(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_tail_drops_is_sampled_less_within_bounds),
        cmocka_unit_test(trouble_is_looked_at_closely_for_a_while),
        cmocka_unit_test(trouble_raises_the_rate_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
