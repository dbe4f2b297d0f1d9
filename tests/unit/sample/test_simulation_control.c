/* The controller in front of a fleet (control_simulation.h): a budget is held, by chance and late, whatever the load
 * does. `test_simulation_control csv CASE` writes what docs/plots/control.py draws. */
#include "tests/unit/sample/control_fleets.h"

static const double polls[] = {5, 60};
#define EACH_POLL(poll_s)                                                                                              \
    for (uint32_t poll_at = 0; poll_at < sizeof polls / sizeof *polls; poll_at++)                                      \
        for (double poll_s = polls[poll_at]; poll_s > 0; poll_s = 0)

static void a_constant_load_has_constant_rates(void **state) {
    (void)state;
    EACH_POLL(poll_s) {
        struct fleet fleet = usual_fleet(1, poll_s);
        fleet_run(&fleet, 20 * MINUTE);
        expect(&fleet, "constant", 3 * MINUTE, 20 * MINUTE, HELD, 0.92, 12);
        assert_true(fleet_spread(&fleet, 5 * MINUTE, 20 * MINUTE) < 0.08);
        assert_true(fleet_changes(&fleet, 5 * MINUTE, 20 * MINUTE) < 35); /* of 900 steps */
        fleet_free(&fleet);
    }
}

#define STEP_AT   600
#define STEP_ENDS 1200
static struct fleet step_fleet(double poll_s) {
    struct fleet fleet = usual_fleet(1, poll_s);
    its_load(&fleet, CART, PAY, (struct fleet_load){FLEET_STEP, 0, 10, STEP_AT, STEP_ENDS, 0});
    fleet_run(&fleet, 2400);
    return fleet;
}
static void a_surge_is_held_after_two_polls(void **state) {
    (void)state;
    EACH_POLL(poll_s) {
        struct fleet fleet = step_fleet(poll_s);
        expect(&fleet, "before a surge x 10", 240, STEP_AT, HELD, 0.92, 10);
        expect(&fleet, "two polls after it came", STEP_AT + 2 * poll_s, STEP_ENDS, HELD, 0.92, 12);
        expect(&fleet, "when it has gone", STEP_ENDS, 2400, HELD, 0.85, 20);
        expect(&fleet, "5 minutes and 2 polls after that", STEP_ENDS + 300 + 2 * poll_s, 2400, HELD, 0.92, 12);
        fleet_free(&fleet);
    }
}

/* One service of nearly nothing becomes most of the fleet. */
static void a_surge_from_nothing_is_held(void **state) {
    (void)state;
    EACH_POLL(poll_s) {
        struct fleet fleet = usual_fleet(1, poll_s);
        for (uint32_t i = CART; i < PAY; i++)
            fleet.operations[i].load = (struct fleet_load){FLEET_STEP, 0.01, 1e5, STEP_AT, 0, 0};
        fleet_run(&fleet, 1200);
        expect(&fleet, "after a surge x 100,000", STEP_AT + 2 * poll_s, 1200, HELD, 0.9, ANY_TURNS);
        fleet_free(&fleet);
    }
}

static struct fleet ramp_fleet(double poll_s) {
    struct fleet fleet = usual_fleet(1, poll_s);
    its_load(&fleet, EDGE, ALL, (struct fleet_load){FLEET_RAMP, 0, 10, 300, 900, 300});
    fleet_run(&fleet, 1800);
    return fleet;
}
static void a_ramp_is_followed(void **state) {
    (void)state;
    EACH_POLL(poll_s) {
        struct fleet fleet = ramp_fleet(poll_s);
        /* Everything grows by 0.8 % a second, and half of the fleet hears of it half a minute late. */
        expect(&fleet, "x 10 in 5 minutes", 300, 600, 1.2, 0.93, 3);
        expect(&fleet, "at its height", 600 + 2 * poll_s, 900, HELD, 0.93, 5);
        expect(&fleet, "and down again", 900, 1200, HELD, 0.5, 5);
        expect(&fleet, "5 minutes later", 1500, 1800, HELD, 0.9, 5);
        fleet_free(&fleet);
    }
}

static struct fleet diurnal_fleet(double poll_s) {
    struct fleet fleet = usual_fleet(1, poll_s);
    its_load(&fleet, EDGE, ALL, (struct fleet_load){FLEET_DIURNAL, 0, 0.8, 0, 0, 1800});
    fleet_run(&fleet, 3600);
    return fleet;
}
static void a_day_of_half_an_hour_is_followed(void **state) {
    (void)state;
    EACH_POLL(poll_s) {
        struct fleet fleet = diurnal_fleet(poll_s);
        expect(&fleet, "a day in half an hour", 150, 3600, poll_s < 10 ? 1.06 : 1.16, 0.88, 25);
        fleet_free(&fleet);
    }
}

static struct fleet flap_fleet(double poll_s, double half_s) {
    struct fleet fleet = usual_fleet(1, poll_s);
    its_load(&fleet, CART, PAY, (struct fleet_load){FLEET_FLAP, 0, 10, 300, 0, half_s});
    fleet_run(&fleet, 1500);
    return fleet;
}
static void what_comes_and_goes_is_held(void **state) {
    (void)state;
    static const double halves[] = {10, 30, 90};
    EACH_POLL(poll_s) {
        for (int i = 0; i < 3; i++) {
            struct fleet fleet = flap_fleet(poll_s, halves[i]);
            char what[64];
            snprintf(what, sizeof what, "x 10 every %g s, for as long", 2 * halves[i]);
            expect(&fleet, what, 300 + 2 * poll_s + 4 * halves[i], 1500, halves[i] > 30 ? 1.1 : HELD, 0.65, ANY_TURNS);
            fleet_free(&fleet);
        }
    }
}

/* All ask at once, a second before the load rises, and never while it is high. */
static struct fleet anti_phased_fleet(void) {
    struct fleet fleet = usual_fleet(1, 30);
    for (uint32_t i = 0; i < fleet.sender_count; i++)
        fleet.senders[i].next_s = 29;
    its_load(&fleet, CART, PAY, (struct fleet_load){FLEET_FLAP, 0, 10, 300, 0, 30});
    fleet_run(&fleet, 1500);
    return fleet;
}
static void who_asks_before_each_surge_holds_it_as_well(void **state) {
    (void)state;
    struct fleet fleet = anti_phased_fleet();
    expect(&fleet, "asked for just before each surge", 420, 1500, 1.08, 0.65, ANY_TURNS);
    fleet_free(&fleet);
}

static struct fleet flood_fleet(void) {
    struct fleet fleet = usual_fleet(1, 60);
    fleet.flood_service = rig_name(&fleet.rig, "edge");
    fleet_run(&fleet, 300);
    fleet.flood = 1000;
    fleet_run(&fleet, 900);
    return fleet;
}
static void a_flood_of_names_is_held(void **state) {
    (void)state;
    struct fleet fleet = flood_fleet();
    expect(&fleet, "1,000 new names a second", 420, 900, HELD, 0.9, 5);
    assert_true(weir_plan_find(fleet.rig.plan, fleet.flood_service)->operation_count <= 200);
    fleet_free(&fleet);
}

/* Twenty operations, as much as the whole fleet, that come only when their rate is above 30 %: each time they are found
 * it is a surge, so later and later. */
static void what_hides_from_low_rates_is_found_ever_later(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 60);
    its_senders(&fleet);
    its_budget(&fleet);
    for (uint32_t i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "HIDE /%u", i);
        fleet_operation(&fleet, "cart", name, 10, (struct fleet_load){.base = 100})->visible_above = 0.3;
    }
    fleet_run(&fleet, 3600);
    expect(&fleet, "hidden, the first half hour", 200, 1800, 1.7, 0.5, ANY_TURNS);
    expect(&fleet, "hidden, the second", 1800, 3600, 1.25, 0.5, ANY_TURNS);
    fleet_free(&fleet);
}

static void lumps_and_bursts_are_no_surges(void **state) {
    (void)state;
    struct fleet bursts = usual_fleet(1, 60);
    for (uint32_t i = 0; i < bursts.operation_count; i++)
        bursts.operations[i].burst = 0.5;
    fleet_run(&bursts, 1500);
    expect(&bursts, "each 250 ms +- 50 %", 300, 1500, HELD, 0.88, ANY_TURNS);
    fleet_free(&bursts);
    struct fleet lumps = usual_fleet(1, 60);
    for (uint32_t i = 0; i < lumps.sender_count; i++)
        lumps.senders[i].flush_s = 5, lumps.senders[i].flushed_s = 5 * fleet_uniform(&lumps);
    fleet_run(&lumps, 1500);
    expect(&lumps, "sent every 5 seconds", 400, 1500, HELD, 0.85, ANY_TURNS);
    fleet_free(&lumps);
}

/* What others do, with the same fleet: a tenfold surge, and one that comes and goes. */
static void other_ways_do_worse(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum fleet_way way;
        double every_s;
    } ways[] = {{"ours", FLEET_OURS, 0},
                {"rate x budget / measured, 60 s", FLEET_RATIO, 60},
                {"rate x budget / measured, 10 s", FLEET_RATIO, 10},
                {"PI, 10 s", FLEET_PI, 10}};
    double ours[2] = {0};
    for (uint32_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (int flaps = 0; flaps < 2; flaps++) {
            struct fleet fleet = usual_fleet(1, 60);
            fleet.way = ways[i].way, fleet.way_budget = BUDGET, fleet.way_every_s = ways[i].every_s;
            struct fleet_load step = {FLEET_STEP, 0, 10, STEP_AT, 0, 0}, flap = {FLEET_FLAP, 0, 10, STEP_AT, 0, 30};
            its_load(&fleet, CART, PAY, flaps ? flap : step);
            fleet_run(&fleet, 1800);
            expect(&fleet, ways[i].name, STEP_AT + 120, 1800, INFINITY, 0, ANY_TURNS);
            double worst = fleet_worst(&fleet, STEP_AT + 120, 1800);
            print_message("    %-16s kept of the rarest %5.2f of 0.50 traces a second\n",
                          flaps ? "on and off" : "surge", fleet_kept(&fleet.operations[PAY + 9], STEP_AT + 120, 1800));
            if (i == 0) ours[flaps] = worst;
            assert_true(i == 0 || worst > ours[flaps]);
            fleet_free(&fleet);
        }
    }
}

static int write_csv(const char *what) {
    struct fleet fleet;
    if (strcmp(what, "step") == 0)
        fleet = step_fleet(60);
    else if (strcmp(what, "ramp") == 0)
        fleet = ramp_fleet(60);
    else if (strcmp(what, "diurnal") == 0)
        fleet = diurnal_fleet(60);
    else if (strcmp(what, "flapping") == 0)
        fleet = flap_fleet(60, 30);
    else if (strcmp(what, "adversarial") == 0)
        fleet = anti_phased_fleet();
    else
        return 2;
    fleet_csv(&fleet, BUDGET);
    fleet_free(&fleet);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "csv") == 0) return write_csv(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_load_has_constant_rates),
        cmocka_unit_test(a_surge_is_held_after_two_polls),
        cmocka_unit_test(a_surge_from_nothing_is_held),
        cmocka_unit_test(a_ramp_is_followed),
        cmocka_unit_test(a_day_of_half_an_hour_is_followed),
        cmocka_unit_test(what_comes_and_goes_is_held),
        cmocka_unit_test(who_asks_before_each_surge_holds_it_as_well),
        cmocka_unit_test(a_flood_of_names_is_held),
        cmocka_unit_test(what_hides_from_low_rates_is_found_ever_later),
        cmocka_unit_test(lumps_and_bursts_are_no_surges),
        cmocka_unit_test(other_ways_do_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
