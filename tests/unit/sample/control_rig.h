/* control_rig.h - a controller with a file made by hand, stepped with loads that are known exactly. */
#ifndef WEIR_TESTS_SAMPLE_CONTROL_RIG_H
#define WEIR_TESTS_SAMPLE_CONTROL_RIG_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/control.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RIG_SECOND 1000000000ull
#define rig_near(is, wanted, room)                                                                                     \
    do {                                                                                                               \
        double rig_is = (is), rig_wanted = (wanted);                                                                   \
        if (!(fabs(rig_is - rig_wanted) <= (room))) fail_msg("%s is %g, not %g", #is, rig_is, rig_wanted);             \
    } while (0)

struct rig {
    struct weir_names *names;
    struct weir_control *control;
    struct weir_plan *plan;
    uint64_t now_unix_ns;
    uint32_t changes; /* plans that differed from the one before */
};

static inline uint32_t rig_name(struct rig *rig, const char *text) {
    return weir_names_intern(rig->names, text, strlen(text));
}
static inline struct weir_proxies_rule rig_rule(uint32_t name, double rate, double floor) {
    return (struct weir_proxies_rule){.name = name, .operation = name, .rate = rate, .floor = floor, .weight = -1};
}
static inline struct weir_proxies_service rig_service(uint32_t name, double rate, double floor) {
    struct weir_proxies_service service = {.rule = rig_rule(name, rate, floor), .max_traces_per_second = -1};
    service.rule.operation = WEIR_NAME_NONE;
    return service;
}
/* rate and floor of the default; below 0: not said. */
static inline struct weir_proxies rig_file(double rate, double floor) {
    return (struct weir_proxies){
        .fallback = rig_service(WEIR_NAME_NONE, rate, floor),
        .cost_ns = 20000,
        .incident = {.factor = 10, .for_ns = 300 * RIG_SECOND, .errors = 0.05, .slower_times = 3},
        .poll_ns = 60 * RIG_SECOND};
}
static inline struct weir_proxies with_budget(double spans_per_second) {
    struct weir_proxies file = rig_file(-1, -1);
    file.budget.spans_per_second = spans_per_second;
    return file;
}
static inline struct rig rig_new(void) {
    struct rig rig = {.names = weir_names_new(100000, 1 << 24), .now_unix_ns = 1700000000 * RIG_SECOND};
    rig.control = weir_control_new(rig.names);
    assert_non_null(rig.control);
    return rig;
}
static inline void rig_set(struct rig *rig, const struct weir_proxies *file) {
    static uint64_t policy;
    weir_control_set(rig->control, file, ++policy);
}
static inline void rig_free(struct rig *rig) {
    weir_plan_unref(rig->plan);
    weir_control_free(rig->control);
    weir_names_free(rig->names);
}
static inline double rig_rate(const struct rig *rig, uint32_t service, uint32_t operation) {
    return weir_plan_rate_of(weir_plan_find(rig->plan, service), operation)->rate;
}
static inline enum weir_plan_why rig_why(const struct rig *rig, uint32_t service, uint32_t operation) {
    return weir_plan_rate_of(weir_plan_find(rig->plan, service), operation)->why;
}
static inline void rig_step_input(struct rig *rig, const struct weir_control_input *input) {
    struct weir_control_input own = *input;
    rig->now_unix_ns += (uint64_t)(input->seconds * 1e9);
    own.now_unix_ns = rig->now_unix_ns;
    struct weir_plan *plan = weir_control_step(rig->control, &own);
    assert_non_null(plan);
    rig->changes += rig->plan == NULL || rig->plan->version != plan->version;
    weir_plan_unref(rig->plan);
    rig->plan = plan;
}
/* A second, of an operation at its rate in force: `traces` offered, all of them heard of at `rate`. */
static inline struct weir_control_load rig_load(uint32_t service, uint32_t operation, double traces, double spans,
                                                double rate) {
    double roots = traces * rate;
    return (struct weir_control_load){.service = service,
                                      .operation = operation,
                                      .roots = roots,
                                      .traces = traces,
                                      .spans = roots * spans,
                                      .bytes = roots * spans * 400,
                                      .seconds = traces * 0.1};
}
static inline void rig_step(struct rig *rig, const struct weir_control_load *loads, uint32_t count) {
    rig_step_input(rig, &(struct weir_control_input){.seconds = 1, .loads = loads, .load_count = count, .share = 1});
}
/* Constant loads, followed at once, for so many seconds. offered: rates of 1, as of rig_load(..., 1). */
static inline void rig_run(struct rig *rig, const struct weir_control_load *offered, uint32_t count, uint32_t seconds) {
    struct weir_control_load loads[64];
    for (uint32_t s = 0; s < seconds; s++) {
        for (uint32_t i = 0; i < count; i++) {
            double rate = rig->plan == NULL ? 0.01 : rig_rate(rig, offered[i].service, offered[i].operation);
            loads[i] = offered[i];
            loads[i].roots *= rate, loads[i].spans *= rate, loads[i].bytes *= rate;
        }
        rig_step(rig, loads, count);
    }
}
/* Spans a second that the plan lets through. */
static inline double rig_spans(const struct rig *rig, const struct weir_control_load *offered, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += offered[i].spans * rig_rate(rig, offered[i].service, offered[i].operation);
    return sum;
}
static inline double kept(const struct rig *rig, const struct weir_control_load *offered) { /* traces a second */
    return offered->traces * rig_rate(rig, offered->service, offered->operation);
}
#endif
