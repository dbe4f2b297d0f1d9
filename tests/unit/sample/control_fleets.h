/* control_fleets.h - the fleet that most simulations of the controller are of, and what is asserted of all of them. */
#ifndef WEIR_TESTS_SAMPLE_CONTROL_FLEETS_H
#define WEIR_TESTS_SAMPLE_CONTROL_FLEETS_H
#include "tests/unit/sample/control_simulation.h"

#define BUDGET    4000.0
#define MINUTE    60
#define HELD      1.05 /* of the budget, in any 30 seconds */
#define ANY_TURNS UINT32_MAX

/* Three services of ten operations, rare and frequent: 2,780 traces a second, 20,000 spans. `edge` is behind Envoys,
 * `cart` an SDK that asks, `pay` half of each. */
enum { EDGE = 0, CART = 10, PAY = 20, ALL = 30 };
static inline struct fleet three_services(uint64_t seed, double poll_s) {
    static const char *const services[] = {"edge", "cart", "pay"};
    static const double loads[] = {400, 200, 100, 100, 50, 50, 20, 5, 1, 0.5};
    struct fleet fleet = fleet_new(seed);
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t i = 0; i < 10; i++) {
            char name[32];
            snprintf(name, sizeof name, "GET /%u", i);
            fleet_operation(&fleet, services[s], name, 4 + 2 * ((i + s) % 5), (struct fleet_load){.base = loads[i]});
        }
    }
    fleet.poll_s = poll_s;
    return fleet;
}
static inline void its_senders(struct fleet *fleet) {
    fleet_senders(fleet, "edge", FLEET_ENVOY, 2, 0, 1);
    fleet_senders(fleet, "cart", FLEET_POLLER, 10, fleet->poll_s, 1);
    fleet_senders(fleet, "pay", FLEET_ENVOY, 1, 0, 0.5);
    fleet_senders(fleet, "pay", FLEET_POLLER, 10, fleet->poll_s, 0.5);
}
static inline void its_budget(struct fleet *fleet) {
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.spans_per_second = BUDGET;
    file.poll_ns = (uint64_t)(fleet->poll_s * 1e9);
    rig_set(&fleet->rig, &file);
}
static inline struct fleet usual_fleet(uint64_t seed, double poll_s) {
    struct fleet fleet = three_services(seed, poll_s);
    its_senders(&fleet);
    its_budget(&fleet);
    return fleet;
}
/* load.base is that of the operation. */
static inline void its_load(struct fleet *fleet, uint32_t from, uint32_t until, struct fleet_load load) {
    for (uint32_t i = from; i < until; i++) {
        load.base = fleet->operations[i].load.base;
        fleet->operations[i].load = load;
    }
    fleet->watched = from;
}

/* In [from, until): no 30 seconds above `worst` of the budget, on average `mean` of it at least, and the rate that is
 * watched turns round so often at most. */
static inline void expect(const struct fleet *fleet, const char *what, double from_s, double until_s, double worst,
                          double mean, uint32_t turns) {
    uint32_t from = (uint32_t)from_s, until = (uint32_t)until_s;
    double was = fleet_worst(fleet, from, until) / BUDGET, on_average = fleet_mean(fleet, from, until) / BUDGET;
    uint32_t turned = fleet_turns(fleet, from, until);
    print_message("  %-36s poll %2.0f s  mean %6.1f %%  worst 30 s %6.1f %%  plans %3u  turns %2u  spread %5.1f %%\n",
                  what, fleet->poll_s, 100 * on_average, 100 * was, fleet_changes(fleet, from, until), turned,
                  100 * fleet_spread(fleet, from, until));
    if (was > worst) fail_msg("%s: %.1f %% of the budget in 30 s", what, 100 * was);
    if (on_average < mean) fail_msg("%s: %.1f %% of the budget on average", what, 100 * on_average);
    if (turned > turns) fail_msg("%s: turned %u times", what, turned);
}
#endif
