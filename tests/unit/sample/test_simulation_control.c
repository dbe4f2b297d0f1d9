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


static void ramp(void **state) {
    (void)state;
    for (double poll_s = 5; poll_s <= 60; poll_s += 55) {
        struct fleet fleet = fleet_new(1);
        three_services(&fleet);
        senders(&fleet, poll_s);
        for (uint32_t i = 0; i < 30; i++)
            fleet.operations[i].load =
                (struct fleet_load){FLEET_RAMP, fleet.operations[i].load.base, 10, 300, 900, 300};
        struct weir_proxies file = budget_file(poll_s);
        rig_set(&fleet.rig, &file);
        fleet_run(&fleet, 1800);
        report("before", &fleet, 150, 300);
        report("ramp", &fleet, 300, 600);
        report("top", &fleet, (uint32_t)(600 + 2 * poll_s), 900);
        report("down", &fleet, 900, 1200);
        report("after", &fleet, 1200, 1800);
        fleet_free(&fleet);
    }
}
static void diurnal(void **state) {
    (void)state;
    for (double poll_s = 5; poll_s <= 60; poll_s += 55) {
        struct fleet fleet = fleet_new(1);
        three_services(&fleet);
        senders(&fleet, poll_s);
        for (uint32_t i = 0; i < 30; i++)
            fleet.operations[i].load =
                (struct fleet_load){FLEET_DIURNAL, fleet.operations[i].load.base, 0.8, 0, 0, 1800};
        struct weir_proxies file = budget_file(poll_s);
        rig_set(&fleet.rig, &file);
        fleet_run(&fleet, 3600);
        report("diurnal", &fleet, 150, 3600);
        fleet_free(&fleet);
    }
}
static void flap(void **state) {
    (void)state;
    for (double poll_s = 5; poll_s <= 60; poll_s += 55) {
        for (double half = 10; half <= 90; half *= 3) {
            struct fleet fleet = fleet_new(1);
            three_services(&fleet);
            senders(&fleet, poll_s);
            for (uint32_t i = 10; i < 20; i++)
                fleet.operations[i].load =
                    (struct fleet_load){FLEET_FLAP, fleet.operations[i].load.base, 10, 300, 0, half};
            fleet.watched = 10;
            struct weir_proxies file = budget_file(poll_s);
            rig_set(&fleet.rig, &file);
            fleet_run(&fleet, 1500);
            report("flap", &fleet, (uint32_t)(300 + 2 * poll_s + 2 * half), 1500);
            fleet_free(&fleet);
        }
    }
}
static void anti_phase(void **state) {
    (void)state;
    struct fleet fleet = fleet_new(1);
    three_services(&fleet);
    senders(&fleet, 30);
    for (uint32_t i = 0; i < fleet.sender_count; i++)
        fleet.senders[i].next_s = 29;
    for (uint32_t i = 10; i < 20; i++)
        fleet.operations[i].load = (struct fleet_load){FLEET_FLAP, fleet.operations[i].load.base, 10, 300, 0, 30};
    struct weir_proxies file = budget_file(30);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 1500);
    report("anti-phased", &fleet, 420, 1500);
    fleet_free(&fleet);
}
static void flood(void **state) {
    (void)state;
    struct fleet fleet = fleet_new(1);
    three_services(&fleet);
    senders(&fleet, 60);
    fleet.flood_service = rig_name(&fleet.rig, "edge");
    struct weir_proxies file = budget_file(60);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 300);
    fleet.flood = 1000;
    fleet_run(&fleet, 900);
    report("flood", &fleet, 420, 900);
    fleet_free(&fleet);
}
static void hidden(void **state) {
    (void)state;
    struct fleet fleet = fleet_new(1);
    three_services(&fleet);
    senders(&fleet, 60);
    for (uint32_t i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "HIDE /%u", i);
        fleet_operation(&fleet, "cart", name, 10, (struct fleet_load){.base = 100})->visible_above = 0.3;
    }
    fleet.watched = 30;
    struct weir_proxies file = budget_file(60);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 2000);
    report("hidden", &fleet, 200, 2000);
    fleet_free(&fleet);
}
static void many(void **state) {
    (void)state;
    struct fleet fleet = fleet_new(1);
    for (uint32_t s = 0; s < 120; s++) {
        char service[32], name[32];
        snprintf(service, sizeof service, "svc-%u", s);
        for (uint32_t i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "op-%u", i);
            fleet_operation(&fleet, service, name, 3 + i, (struct fleet_load){.base = 100.0 / (1 + s % 20) / (1 + i * i)});
        }
        fleet_senders(&fleet, service, s % 2 ? FLEET_ENVOY : FLEET_POLLER, 1, 60, 1);
    }
    struct weir_proxies file = budget_file(60);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 900);
    report("many", &fleet, 200, 900);
    fleet_free(&fleet);
}
static void kinds(void **state) {
    (void)state;
    static const char *const names[] = {"deaf at 5 %", "silent", "silent with exact counters", "bursts", "envoys at 3000x"};
    for (int kind = 0; kind < 5; kind++) {
        struct fleet fleet = fleet_new(1);
        three_services(&fleet);
        fleet_senders(&fleet, "edge", FLEET_ENVOY, 2, 0, 1);
        fleet_senders(&fleet, "pay", FLEET_POLLER, 10, 30, 1);
        if (kind == 0) {
            fleet_senders(&fleet, "cart", FLEET_DEAF, 1, 0, 1);
            fleet.senders[fleet.sender_count - 1].rate = 0.05;
        } else {
            fleet_senders(&fleet, "cart", kind < 3 ? FLEET_SILENT : FLEET_POLLER, 5, 30, 1);
        }
        if (kind == 2) {
            fleet_known(&fleet, "cart", 5);
            fleet.exact_factor = 1;
        }
        for (uint32_t i = 0; i < fleet.operation_count && kind == 3; i++)
            fleet.operations[i].burst = 0.5;
        for (uint32_t i = 0; i < 10 && kind == 4; i++)
            fleet.operations[i].load.base *= 3000;
        fleet.watched = 10;
        struct weir_proxies file = budget_file(30);
        rig_set(&fleet.rig, &file);
        fleet_run(&fleet, 1500);
        report(names[kind], &fleet, 400, 1500);
        fleet_free(&fleet);
    }
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady), cmocka_unit_test(step), cmocka_unit_test(ramp), cmocka_unit_test(diurnal),
        cmocka_unit_test(flap), cmocka_unit_test(anti_phase), cmocka_unit_test(flood), cmocka_unit_test(hidden),
        cmocka_unit_test(many), cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
