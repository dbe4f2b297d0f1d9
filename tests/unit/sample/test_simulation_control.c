/* The controller in front of a fleet (control_simulation.h): budgets, floors, and rest, by chance and late. */
#include "tests/unit/sample/control_simulation.h"

#define BUDGET 4000

/* Three services of ten operations, rare and frequent: 2,780 traces a second, 22,000 spans. */
static void three_services(struct fleet *fleet) {
    static const char *const services[] = {"edge", "cart", "pay"};
    static const double loads[] = {400, 200, 100, 100, 50, 50, 20, 5, 1, 0.5};
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t i = 0; i < 10; i++) {
            char name[32];
            snprintf(name, sizeof name, "GET /%u", i);
            fleet_operation(fleet, services[s], name, 4 + 2 * ((i + s) % 5), (struct fleet_load){.base = loads[i]});
        }
    }
}
static void senders(struct fleet *fleet, double poll_s) {
    fleet_senders(fleet, "edge", FLEET_ENVOY, 2, 0, 1);
    fleet_senders(fleet, "cart", FLEET_POLLER, 10, poll_s, 1);
    fleet_senders(fleet, "pay", FLEET_ENVOY, 1, 0, 0.5);
    fleet_senders(fleet, "pay", FLEET_POLLER, 10, poll_s, 0.5);
}
static struct weir_proxies budget_file(double poll_s) {
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.spans_per_second = BUDGET;
    file.poll_ns = (uint64_t)(poll_s * 1e9);
    return file;
}
static void report(const char *what, const struct fleet *fleet, uint32_t from, uint32_t until) {
    print_message("  %-34s mean %6.1f %%  worst 30 s %6.1f %%  changes %3u  turns %2u  spread %5.1f %%\n", what,
                  100 * fleet_mean(fleet, from, until) / BUDGET, 100 * fleet_worst(fleet, from, until) / BUDGET,
                  fleet_changes(fleet, from, until), fleet_turns(fleet, from, until),
                  100 * fleet_spread(fleet, from, until));
}

static void steady(void **state) {
    (void)state;
    for (double poll_s = 5; poll_s <= 60; poll_s += 55) {
        struct fleet fleet = fleet_new(1);
        three_services(&fleet);
        senders(&fleet, poll_s);
        struct weir_proxies file = budget_file(poll_s);
        rig_set(&fleet.rig, &file);
        fleet_run(&fleet, 1200);
        report("steady", &fleet, 300, 1200);
        fleet_free(&fleet);
    }
}

static void step(void **state) {
    (void)state;
    for (double poll_s = 5; poll_s <= 60; poll_s += 55) {
        struct fleet fleet = fleet_new(1);
        three_services(&fleet);
        senders(&fleet, poll_s);
        for (uint32_t i = 0; i < 10; i++)
            fleet.operations[10 + i].load =
                (struct fleet_load){FLEET_STEP, fleet.operations[i].load.base, 10, 600, 1200, 0};
        fleet.watched = 10;
        struct weir_proxies file = budget_file(poll_s);
        rig_set(&fleet.rig, &file);
        fleet_run(&fleet, 2400);
        report("before", &fleet, 300, 600);
        report("the surge, two polls later", &fleet, 600 + 2 * (uint32_t)poll_s, 1200);
        report("after", &fleet, 1200 + 2 * (uint32_t)poll_s, 1800);
        report("long after", &fleet, 1800, 2400);
        fleet_free(&fleet);
    }
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady),
        cmocka_unit_test(step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
