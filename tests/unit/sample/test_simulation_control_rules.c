/* The controller in front of a fleet (control_simulation.h): floors, budgets in budgets, trouble, what the tail keeps,
 * and proxies of all kinds. */
#include "tests/unit/sample/control_fleets.h"

static struct weir_proxies file_of(double poll_s) {
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.spans_per_second = BUDGET;
    file.poll_ns = (uint64_t)(poll_s * 1e9);
    return file;
}
static double poisson_room(double count) { /* four standard errors, relative */
    return 4 / sqrt(count);
}

/* At least 0.9 of the floor, or all that come, but for chance. */
static void expect_floors(const struct fleet *fleet, double floor, uint32_t from, uint32_t until) {
    for (uint32_t i = 0; i < fleet->operation_count; i++) {
        const struct fleet_operation *op = &fleet->operations[i];
        double wanted = fmin(floor, op->load.base), kept = fleet_kept(op, from, until);
        double least = wanted * (0.9 - poisson_room(wanted * (until - from)));
        if (kept < least)
            fail_msg("%s of %s: %.3f kept a second, of %.3f", weir_names_text(fleet->rig.names, op->operation, NULL),
                     weir_names_text(fleet->rig.names, op->service, NULL), kept, wanted);
    }
}

static void floors_are_held_in_a_surge(void **state) {
    (void)state;
    static const double polls[] = {5, 60};
    for (int i = 0; i < 2; i++) {
        struct fleet fleet = three_services(1, polls[i]);
        static const char *const services[] = {"edge", "cart", "pay"};
        for (int s = 0; s < 3; s++)
            fleet_senders(&fleet, services[s], FLEET_POLLER, 10, polls[i], 1);
        struct weir_proxies file = file_of(polls[i]);
        file.fallback.rule.floor = 5;
        rig_set(&fleet.rig, &file);
        for (uint32_t k = CART; k < CART + 3; k++) /* x 10, and all others keep theirs */
            fleet.operations[k].load = (struct fleet_load){FLEET_STEP, fleet.operations[k].load.base, 10, 600, 0, 0};
        fleet_run(&fleet, 1800);
        expect(&fleet, "floors, before", 300, 600, HELD, 0.9, ANY_TURNS);
        expect(&fleet, "floors, surge x 10 of three", 600 + 2 * polls[i], 1800, HELD, 0.9, ANY_TURNS);
        expect_floors(&fleet, 5, 300, 600);
        expect_floors(&fleet, 5, 780, 1800);
        fleet_free(&fleet);
    }
}

/* Without a budget: the rate of the file, raised for what is rare. */
static void floors_alone(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 60);
    static const char *const services[] = {"edge", "cart", "pay"};
    for (int s = 0; s < 3; s++)
        fleet_senders(&fleet, services[s], FLEET_POLLER, 10, 60, 1);
    struct weir_proxies file = rig_file(0.01, 0.2);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 3600);
    expect_floors(&fleet, 0.2, 1200, 3600);
    for (uint32_t i = 0; i < 3; i++) /* nobody pays for it */
        rig_near(fleet_kept(&fleet.operations[10 * i], 1200, 3600), 4, 0.3);
    fleet_free(&fleet);
}

static void envoys_meet_floors_with_one_rate(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 60);
    static const char *const services[] = {"edge", "cart", "pay"};
    for (int s = 0; s < 3; s++)
        fleet_senders(&fleet, services[s], FLEET_ENVOY, 2, 0, 1);
    struct weir_proxies file = file_of(60);
    file.fallback.rule.floor = 2;
    rig_set(&fleet.rig, &file);
    its_load(&fleet, CART, CART + 1, (struct fleet_load){FLEET_STEP, 0, 10, 900, 0, 0});
    fleet_run(&fleet, 1800);
    expect(&fleet, "floors of Envoys, surge x 10 of one", 960, 1800, HELD, 0.9, ANY_TURNS);
    for (uint32_t i = CART; i < CART + 4; i++) /* down to 100 a second, of 4,526 that are raised for them */
        assert_true(fleet_kept(&fleet.operations[i], 1200, 1800) > 0.9 * 2);
    fleet_free(&fleet);
}

static void a_service_has_its_own_budget(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 30);
    its_senders(&fleet);
    struct weir_proxies_service services[] = {rig_service(rig_name(&fleet.rig, "cart"), -1, -1)};
    services[0].budget.spans_per_second = 500;
    struct weir_proxies file = file_of(30);
    file.services = services, file.service_count = 1;
    rig_set(&fleet.rig, &file);
    its_load(&fleet, CART, PAY, (struct fleet_load){FLEET_STEP, 0, 10, 600, 0, 0});
    fleet_run(&fleet, 1500);
    expect(&fleet, "all, with a budget of 500 in it", 660, 1500, HELD, 0.93, ANY_TURNS);
    double spans = 0;
    for (uint32_t i = CART; i < PAY; i++)
        spans += fleet_kept(&fleet.operations[i], 660, 1500) * fleet.operations[i].spans;
    print_message("  of it the service                    %.0f spans a second\n", spans);
    assert_true(spans < 500 * HELD && spans > 500 * 0.9);
    fleet_free(&fleet);
}

static void trouble_is_paid_by_the_others(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 30);
    its_senders(&fleet);
    struct weir_proxies file = file_of(30);
    file.incident.on = true;
    rig_set(&fleet.rig, &file);
    struct fleet_operation *op = &fleet.operations[CART + 2];
    op->errors = 0.005, op->errors_in_trouble = 0.3, op->trouble_from = 900, op->trouble_until = 1200;
    fleet_run(&fleet, 2400);
    double before = fleet_kept(op, 300, 900), in = fleet_kept(op, 990, 1200), after = fleet_kept(op, 2100, 2400);
    print_message("  an operation in trouble: %.1f traces a second kept before, %.1f in it, %.1f after\n", before, in,
                  after);
    expect(&fleet, "trouble, and all that followed", 300, 2400, HELD, 0.9, ANY_TURNS);
    assert_true(in > 3 * before); /* all of its 100 in the end */
    rig_near(after / before, 1, 0.25);
    fleet_free(&fleet);
}

static void no_trouble_is_found_where_there_is_none(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 30);
    its_senders(&fleet);
    struct weir_proxies file = file_of(30);
    file.incident.on = true;
    rig_set(&fleet.rig, &file);
    for (uint32_t i = 0; i < ALL; i++)
        fleet.operations[i].errors = 0.03;
    fleet_run(&fleet, 3000);
    uint32_t incidents = 0;
    for (uint32_t i = 0; i < ALL; i++)
        incidents +=
            rig_why(&fleet.rig, fleet.operations[i].service, fleet.operations[i].operation) == WEIR_PLAN_INCIDENT;
    assert_int_equal(incidents, 0);
    expect(&fleet, "3 % of errors, as always", 300, 3000, HELD, 0.93, ANY_TURNS);
    fleet_free(&fleet);
}

static void what_the_tail_drops_leaves_room(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 30);
    its_senders(&fleet);
    for (uint32_t i = CART; i < PAY; i++)
        fleet.operations[i].kept = i == CART ? 0.002 : 0.4;
    struct weir_proxies file = file_of(30);
    rig_set(&fleet.rig, &file);
    fleet_run(&fleet, 1200);
    expect(&fleet, "one is dropped by the tail", 300, 1200, HELD, 0.93, ANY_TURNS);
    const struct fleet_operation *dropped = &fleet.operations[CART], *kept = &fleet.operations[CART + 1];
    double ratio = fleet_kept(dropped, 600, 1200) / fleet_kept(kept, 600, 1200) * sqrt(dropped->spans / kept->spans);
    rig_near(ratio, 0.25, 0.04);
    fleet_free(&fleet);
}

static void a_canary_costs_its_share(void **state) {
    (void)state;
    struct fleet fleet = three_services(1, 30);
    its_senders(&fleet);
    for (uint32_t i = 0; i < fleet.sender_count; i++)
        fleet.senders[i].share *= 0.2; /* who follows; nobody else is there, and loads are told of all */
    fleet.share = 0.2;
    struct weir_proxies file = file_of(30);
    rig_set(&fleet.rig, &file);
    for (uint32_t i = 0; i < ALL; i++)
        fleet.operations[i].load.base *= 5; /* so that what comes is as much as of all */
    fleet_run(&fleet, 900);
    expect(&fleet, "a canary, as if it were all", 300, 900, HELD, 0.93, ANY_TURNS);
    fleet_free(&fleet);
}

static void many_services_share_a_budget(void **state) {
    (void)state;
    struct fleet fleet = fleet_new(1);
    fleet.poll_s = 60;
    for (uint32_t s = 0; s < 120; s++) {
        char service[32], name[32];
        snprintf(service, sizeof service, "svc-%u", s);
        for (uint32_t i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "op-%u", i);
            double load = 100.0 / (1 + s % 20) / (1 + i * i);
            fleet_operation(&fleet, service, name, 3 + i, (struct fleet_load){.base = load});
        }
        fleet_senders(&fleet, service, s % 2 ? FLEET_ENVOY : FLEET_POLLER, 1, 60, 1);
    }
    its_budget(&fleet);
    fleet_run(&fleet, 900);
    expect(&fleet, "120 services, 600 operations", 200, 900, HELD, 0.93, ANY_TURNS);
    fleet_free(&fleet);
}

/* What is asserted of `cart` when its senders are of another kind. */
static void expect_of_kind(const char *what, enum fleet_kind kind, double rate, double counted_every_s, double mean) {
    struct fleet fleet = three_services(1, 30);
    fleet_senders(&fleet, "edge", FLEET_ENVOY, 2, 0, 1);
    fleet_senders(&fleet, "pay", FLEET_POLLER, 10, 30, 1);
    fleet_senders(&fleet, "cart", kind, 5, 30, 1);
    for (uint32_t i = 0; i < 5 && rate > 0; i++)
        fleet.senders[fleet.sender_count - 1 - i].rate = rate;
    if (counted_every_s > 0) {
        fleet_known(&fleet, "cart", 5);
        fleet.counted = true;
        fleet.counted_every_s = counted_every_s;
    }
    fleet.watched = CART;
    its_budget(&fleet);
    fleet_run(&fleet, 1500);
    expect(&fleet, what, 400, 1500, HELD, mean, ANY_TURNS);
    fleet_free(&fleet);
}

static void proxies_of_all_kinds_are_reckoned_with(void **state) {
    (void)state;
    expect_of_kind("a third of all at 5 %, not steered", FLEET_DEAF, 0.05, 0, 0.75);
    expect_of_kind("a third of all at 25 %, not steered", FLEET_DEAF, 0.25, 0, 0.85);
    expect_of_kind("a third do not say their rate", FLEET_SILENT, 0, 0, 0.85);
    expect_of_kind("the same, with a counter of requests", FLEET_SILENT, 0, 1, 0.9);
    expect_of_kind("counters of what says its rate", FLEET_POLLER, 0, 1, 0.93);
    expect_of_kind("counters that are read every 15 s", FLEET_POLLER, 0, 15, 0.93);
    expect_of_kind("and of who does not say its rate", FLEET_SILENT, 0, 15, 0.85);
}

/* Rates of a few ten-thousandths, which an Envoy can only follow in whole ones. */
static void what_an_envoy_cannot_follow_is_reckoned_with(void **state) {
    (void)state;
    struct fleet fleet = usual_fleet(1, 30);
    for (uint32_t i = EDGE; i < CART; i++)
        fleet.operations[i].load.base *= 3000;
    fleet_run(&fleet, 1200);
    expect(&fleet, "3 million traces a second of Envoys", 400, 1200, HELD, 0.9, ANY_TURNS);
    fleet_free(&fleet);
}

/* Another process, which knows the file and what proxies have, as saved or as they say it themselves. */
static void restart(struct fleet *fleet, const struct weir_proxies *file) {
    weir_control_free(fleet->rig.control);
    fleet->rig.control = weir_control_new(fleet->rig.names);
    assert_non_null(fleet->rig.control);
    rig_set(&fleet->rig, file);
    const struct weir_plan *plan = fleet->rig.plan;
    for (uint32_t i = 0; i < plan->service_count; i++) {
        const struct weir_plan_service *service = &plan->services[i];
        weir_control_adopt(fleet->rig.control, service->rate.name, WEIR_NAME_NONE, service->rate.rate);
        for (uint32_t k = 0; k < service->operation_count; k++)
            weir_control_adopt(fleet->rig.control, service->rate.name, service->operations[k].operation,
                               service->operations[k].rate);
    }
}

static void a_restart_goes_on_from_what_proxies_have(void **state) {
    (void)state;
    static const double polls[] = {5, 60};
    for (int i = 0; i < 2; i++) {
        struct fleet fleet = three_services(1, polls[i]);
        its_senders(&fleet);
        struct weir_proxies file = file_of(polls[i]);
        rig_set(&fleet.rig, &file);
        fleet.watched = CART;
        fleet_run(&fleet, 600);
        restart(&fleet, &file);
        fleet_run(&fleet, 1200);
        expect(&fleet, "a restart", 590, 1200, HELD, 0.9, ANY_TURNS);
        assert_true(fleet_spread(&fleet, 590, 1200) < 0.15);
        fleet_free(&fleet);
    }
}

/* What is offered is known without bias: of a fleet at rest, per service, from one seed to the next. */
struct known {
    const struct weir_names *names;
    double sum[3];
};
static void add_known(void *self, const struct weir_control_view *view) {
    static const char *const services[] = {"edge", "cart", "pay"};
    struct known *known = self;
    if (view->operation != WEIR_NAME_NONE) return;
    for (int i = 0; i < 3; i++)
        if (strcmp(weir_names_text(known->names, view->service, NULL), services[i]) == 0)
            known->sum[i] += view->offered;
}
static void estimates_have_no_bias(void **state) {
    (void)state;
    double errors = 0, squares = 0, count = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct fleet fleet = usual_fleet(seed, 5);
        fleet_run(&fleet, 240);
        for (int k = 0; k < 8; k++) {
            fleet_run(&fleet, fleet.now_s + 60);
            struct known known = {.names = fleet.rig.names};
            weir_control_each(fleet.rig.control, add_known, &known);
            for (int i = 0; i < 3; i++) {
                double error = known.sum[i] / 926.5 - 1;
                errors += error, squares += error * error, count++;
            }
        }
        fleet_free(&fleet);
    }
    double mean = errors / count, deviation = sqrt(squares / count - mean * mean);
    print_message("  offered load of a service: %+.2f %% off on average of %.0f, +- %.2f %% each\n", 100 * mean, count,
                  100 * deviation);
    assert_true(fabs(mean) < 4 * deviation / sqrt(count));
    assert_true(deviation < 0.06);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floors_are_held_in_a_surge),
        cmocka_unit_test(floors_alone),
        cmocka_unit_test(envoys_meet_floors_with_one_rate),
        cmocka_unit_test(a_service_has_its_own_budget),
        cmocka_unit_test(trouble_is_paid_by_the_others),
        cmocka_unit_test(no_trouble_is_found_where_there_is_none),
        cmocka_unit_test(what_the_tail_drops_leaves_room),
        cmocka_unit_test(a_canary_costs_its_share),
        cmocka_unit_test(many_services_share_a_budget),
        cmocka_unit_test(proxies_of_all_kinds_are_reckoned_with),
        cmocka_unit_test(what_an_envoy_cannot_follow_is_reckoned_with),
        cmocka_unit_test(a_restart_goes_on_from_what_proxies_have),
        cmocka_unit_test(estimates_have_no_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
