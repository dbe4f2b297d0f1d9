#include "collector/steer/estimate.h"
#include "tests/unit/aggregate/house.h"

#include <math.h>

struct rig {
    struct house *house;
    struct weir_estimates *estimates;
    struct weir_proxies proxies;
    struct weir_proxies_service edge;
};

static struct rig rig_open(void) {
    struct weir_aggregate_config config = house_config();
    struct rig rig = {.house = house_open(&config, 2), .estimates = weir_estimates_new()};
    rig.edge = (struct weir_proxies_service){
        .rule = {.name = house_name(rig.house, "edge")},
        .exact_family = "rq_total",
        .exact_labels = {{"prefix", "front"}},
        .exact_label_count = 1,
    };
    assert_non_null(rig.estimates);
    return rig;
}

static void rig_watch(struct rig *rig) {
    rig->proxies = (struct weir_proxies){.services = &rig->edge, .service_count = 1};
    assert_true(weir_estimates_set(rig->estimates, &rig->proxies));
}

static void rig_close(struct rig *rig) {
    weir_estimates_free(rig->estimates);
    house_close(rig->house);
}

/* A second in which the proxy counts `requests`, and so many spans come that stand for `weight` each. */
static void second(struct rig *rig, double requests, uint32_t spans, double weight) {
    static uint64_t trace = 1;
    house_point(rig->house, "rq|code|2xx|prefix|front",
                (struct weir_point){.kind = WEIR_POINT_COUNT, .value = requests});
    for (uint32_t i = 0; i < spans; i++) {
        struct weir_span span = {.trace_lo = trace++,
                                 .span_id = 2,
                                 .prior = weight,
                                 .service = rig->edge.rule.name,
                                 .operation = house_name(rig->house, "GET /"),
                                 .kind = WEIR_KIND_SERVER};
        house_span(rig->house, i % 2, &span);
    }
    weir_estimates_look(rig->estimates, rig->house->aggregate, rig->house->names);
}

static void what_spans_stand_for_is_held_against_the_counter(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_watch(&rig);
    assert_int_equal(weir_estimates_count(rig.estimates), 1);
    assert_true(weir_estimates_grown(rig.estimates, rig.edge.rule.name) < 0);
    second(&rig, 1000, 100, 10);
    assert_true(weir_estimates_at(rig.estimates, 0).ratio < 0); /* nothing to compare it with */
    for (int i = 0; i < 10; i++)
        second(&rig, 100, 9, 10);
    struct weir_estimate estimate = weir_estimates_at(rig.estimates, 0);
    assert_int_equal(estimate.service, rig.edge.rule.name);
    assert_true(estimate.requests == 1000);
    assert_true(fabs(estimate.ratio - 0.9) < 1e-9);
    assert_true(fabs(estimate.error - sqrt(90 * 10 * 9) / 1000) < 1e-9);
    assert_true(weir_estimates_grown(rig.estimates, rig.edge.rule.name) == 100);
    assert_true(weir_estimates_grown(rig.estimates, house_name(rig.house, "other")) < 0);
    rig_close(&rig);
}

static void only_the_last_minute_counts(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_watch(&rig);
    for (int i = 0; i < 20; i++)
        second(&rig, 100, 5, 10);
    for (int i = 0; i < WEIR_ESTIMATE_SECONDS; i++)
        second(&rig, 100, 10, 10);
    struct weir_estimate estimate = weir_estimates_at(rig.estimates, 0);
    assert_true(estimate.requests == 100 * WEIR_ESTIMATE_SECONDS);
    assert_true(fabs(estimate.ratio - 1) < 1e-9);
    rig_close(&rig);
}

static void without_spans_or_requests_nothing_is_said(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_watch(&rig);
    for (int i = 0; i < 5; i++)
        second(&rig, 100, 0, 1);
    assert_true(weir_estimates_at(rig.estimates, 0).ratio < 0);
    assert_true(weir_estimates_grown(rig.estimates, rig.edge.rule.name) == 100);
    second(&rig, 0, 3, 1);
    for (int i = 0; i < WEIR_ESTIMATE_SECONDS; i++)
        second(&rig, 0, 3, 1);
    assert_true(weir_estimates_at(rig.estimates, 0).ratio < 0);
    rig_close(&rig);
}

static void a_service_keeps_what_was_gathered_while_its_counter_stays(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_watch(&rig);
    for (int i = 0; i < 5; i++)
        second(&rig, 100, 10, 10);
    rig_watch(&rig);
    assert_true(weir_estimates_at(rig.estimates, 0).requests == 400);
    snprintf(rig.edge.exact_labels[0].value, sizeof rig.edge.exact_labels[0].value, "back");
    rig_watch(&rig);
    assert_true(weir_estimates_at(rig.estimates, 0).ratio < 0);
    assert_true(weir_estimates_set(rig.estimates, NULL));
    assert_int_equal(weir_estimates_count(rig.estimates), 0);
    rig_close(&rig);
}

/* ---- without `exact:` ---- */

static void count_requests(struct rig *rig, const char *key, double requests) {
    house_point(rig->house, key, (struct weir_point){.kind = WEIR_POINT_COUNT, .value = requests});
}

static void where_nothing_is_written_the_emitters_count(void **state) {
    (void)state;
    struct rig rig = rig_open();
    struct weir_proxies_rule operations[] = {{.name = house_name(rig.house, "GET /healthz"), .rate = 0},
                                             {.name = house_name(rig.house, "GET /"), .rate = -1}};
    rig.edge.exact_family[0] = 0, rig.edge.exact_label_count = 0;
    rig.edge.rule.rate = -1;
    rig.edge.operations = operations, rig.edge.operation_count = 2;
    rig_watch(&rig);
    memset(operations, 0, sizeof operations); /* the file is gone */
    for (int i = 0; i < 3; i++)
        second(&rig, 100, 10, 10);
    assert_true(weir_estimates_at(rig.estimates, 0).ratio < 0); /* nobody counts for it */
    assert_true(weir_estimates_grown(rig.estimates, rig.edge.rule.name) < 0);
    for (int i = 0; i < 11; i++) {
        count_requests(&rig, "emitter_requests|operation|GET /|service|edge", 90);
        count_requests(&rig, "emitter_requests|operation|POST /|service|edge", 10);
        count_requests(&rig, "emitter_requests|operation|GET /healthz|service|edge", 1000); /* nobody traces them */
        count_requests(&rig, "emitter_requests|operation|GET /|service|other", 77);
        second(&rig, 1, 9, 10);
    }
    struct weir_estimate estimate = weir_estimates_at(rig.estimates, 0);
    assert_true(estimate.requests == 1000);
    assert_true(fabs(estimate.ratio - 0.9) < 1e-9);
    assert_true(weir_estimates_grown(rig.estimates, rig.edge.rule.name) == 100);
    rig_close(&rig);
}

static void a_service_that_is_not_traced_is_not_compared(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig.edge.exact_family[0] = 0, rig.edge.exact_label_count = 0;
    rig.edge.rule.rate = 0;
    rig_watch(&rig);
    assert_int_equal(weir_estimates_count(rig.estimates), 0);
    rig.edge.rule.rate = 0.5;
    rig_watch(&rig);
    assert_int_equal(weir_estimates_count(rig.estimates), 1);
    rig_close(&rig);
}

static void many_services_are_told_apart(void **state) {
    (void)state;
    enum { SERVICES = 45 };
    struct rig rig = rig_open();
    struct weir_proxies_service services[SERVICES];
    char key[64];
    for (uint32_t i = 0; i < SERVICES; i++) { /* not in the order of their names */
        char name[16];
        snprintf(name, sizeof name, "s%u", i * 7 % SERVICES);
        services[i] = (struct weir_proxies_service){.rule = {.name = house_name(rig.house, name), .rate = 1}};
    }
    rig.proxies = (struct weir_proxies){.services = services, .service_count = SERVICES};
    assert_true(weir_estimates_set(rig.estimates, &rig.proxies));
    for (int second = 0; second < 2; second++) {
        for (uint32_t i = 0; i < SERVICES; i++) {
            snprintf(key, sizeof key, "emitter_requests|operation|GET /|service|s%u", i);
            count_requests(&rig, key, i + 1);
        }
        weir_estimates_look(rig.estimates, rig.house->aggregate, rig.house->names);
    }
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(key, sizeof key, "s%u", i);
        assert_true(weir_estimates_grown(rig.estimates, house_name(rig.house, key)) == i + 1);
    }
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_spans_stand_for_is_held_against_the_counter),
        cmocka_unit_test(only_the_last_minute_counts),
        cmocka_unit_test(without_spans_or_requests_nothing_is_said),
        cmocka_unit_test(a_service_keeps_what_was_gathered_while_its_counter_stays),
        cmocka_unit_test(where_nothing_is_written_the_emitters_count),
        cmocka_unit_test(a_service_that_is_not_traced_is_not_compared),
        cmocka_unit_test(many_services_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
