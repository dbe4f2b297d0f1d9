/* proxies_remarks.c - what `proxies:` may say and what can have no effect. Only what is certain from the file alone. */
#include "collector/sample/proxies_inside.h"

#include <stdio.h>
#include <string.h>

struct remarks {
    const struct weir_proxies *proxies;
    void (*say)(void *self, int line, const char *text);
    void *self;
};

static void say(const struct remarks *remarks, int line, const char *text) {
    remarks->say(remarks->self, line, text);
}

static bool is_pin(double rate) {
    return rate == 0 || rate == 1;
}

static double rate_of(const struct weir_proxies *proxies, const struct weir_proxies_service *service) {
    return service->rule.rate >= 0 ? service->rule.rate : proxies->fallback.rule.rate;
}

/* Its rate and those of all its operations are 0 or 1. An unsaid one is none. */
static bool is_pinned(const struct weir_proxies *proxies, const struct weir_proxies_service *service) {
    double own = rate_of(proxies, service);
    if (!is_pin(own)) return false;
    for (uint32_t i = 0; i < service->operation_count; i++) {
        double rate = service->operations[i].rate;
        if (rate >= 0 && !is_pin(rate)) return false;
    }
    return true;
}

static void remark_budgets(const struct remarks *remarks) {
    const struct weir_proxies *proxies = remarks->proxies;
    bool all = is_pinned(proxies, &proxies->fallback), any_budget = weir_proxies_bounds(&proxies->budget);
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        const struct weir_proxies_service *service = &proxies->services[i];
        bool pinned = is_pinned(proxies, service);
        all = all && pinned;
        if (!weir_proxies_bounds(&service->budget)) continue;
        any_budget = true;
        if (pinned)
            say(remarks, service->rule.line,
                "budget: can change nothing: all rates of this service are 0 or 1, which are told as they are");
    }
    if (all && weir_proxies_bounds(&proxies->budget))
        say(remarks, proxies->line, "budget: can change nothing: all rates are 0 or 1, which are told as they are");
    if (any_budget) return;
    for (uint32_t i = 0; i <= proxies->service_count; i++) {
        const struct weir_proxies_service *service = i == 0 ? &proxies->fallback : &proxies->services[i - 1];
        static const char text[] = "weight: has no effect: there is no budget to share out";
        if (service->rule.weight >= 0) say(remarks, service->rule.line, text);
        for (uint32_t o = 0; o < service->own_operation_count; o++) {
            if (service->operations[o].weight >= 0) say(remarks, service->operations[o].line, text);
        }
    }
}

static void remark_rule(const struct remarks *remarks, const struct weir_proxies_rule *rule) {
    if (rule->rate == 0 && rule->floor > 0)
        say(remarks, rule->line, "min_traces_per_second: has no effect: a rate of 0 is never raised");
    if (rule->rate > 0 && rule->rate < 1e-6)
        say(remarks, rule->line, "rate: is told as 0.000001, the least above 0 that every proxy can be told");
}

static double floor_of(const struct weir_proxies *proxies, const struct weir_proxies_service *service,
                       const struct weir_proxies_rule *rule) {
    double own = service->rule.floor >= 0 ? service->rule.floor : proxies->fallback.rule.floor;
    double floor = rule != NULL && rule->floor >= 0 ? rule->floor : own;
    double rate = rule != NULL && rule->rate >= 0 ? rule->rate : rate_of(proxies, service);
    return rate == 0 || floor < 0 ? 0 : floor;
}

/* A trace has a span at least. Only what is named is known to be there; of what is not, one operation is reckoned with.
 */
static void remark_floors(const struct remarks *remarks) {
    const struct weir_proxies *proxies = remarks->proxies;
    double budget = proxies->budget.spans_per_second, named = 0, one = floor_of(proxies, &proxies->fallback, NULL);
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        const struct weir_proxies_service *service = &proxies->services[i];
        one = one > floor_of(proxies, service, NULL) ? one : floor_of(proxies, service, NULL);
        for (uint32_t o = 0; o < service->operation_count; o++)
            named += floor_of(proxies, service, &service->operations[o]);
    }
    if (!(budget > 0) || (named <= budget && one <= budget)) return;
    char text[200];
    if (named > budget)
        snprintf(
            text, sizeof text,
            "min_traces_per_second: of the operations that are named %g together, and the budget has %g spans/s: all "
            "floors shrink",
            named, budget);
    else
        snprintf(text, sizeof text,
                 "min_traces_per_second: %g of each operation, and the budget of all has %g spans/s: all floors shrink",
                 one, budget);
    say(remarks, proxies->line, text);
}

static bool defaults_have(const struct weir_proxies *proxies, uint32_t operation) {
    for (uint32_t i = 0; i < proxies->fallback.operation_count; i++) {
        if (proxies->fallback.operations[i].operation == operation) return true;
    }
    return false;
}

static void remark_operations(const struct remarks *remarks, const struct weir_proxies_service *service) {
    const struct weir_proxies *proxies = remarks->proxies;
    bool is_default = service == &proxies->fallback;
    double own = rate_of(proxies, service);
    for (uint32_t i = 0; i < service->own_operation_count; i++) {
        const struct weir_proxies_rule *rule = &service->operations[i];
        remark_rule(remarks, rule);
        /* One of the default speaks in services of another rate too, and one of a service may be there to take it
         * back. */
        bool alone = is_default ? proxies->service_count == 0 : !defaults_have(proxies, rule->operation);
        if (alone && rule->rate >= 0 && rule->rate == own && rule->floor < 0 && rule->weight < 0)
            say(remarks, rule->line,
                is_default ? "rate: is that of the default anyway" : "rate: is its service's anyway");
    }
}

/* A client that is told operations has a sampler for each, and looks at no limit (docs/policy.md, Jaeger clients). */
static void remark_limit(const struct remarks *remarks, const struct weir_proxies_service *service) {
    const struct weir_proxies_service *fallback = &remarks->proxies->fallback;
    bool is_inherited = service != fallback && service->rule.rate < 0 && fallback->max_traces_per_second >= 0 &&
                        service->max_traces_per_second == fallback->max_traces_per_second;
    if (is_inherited && fallback->operation_count > 0) return; /* said of the default */
    if (service->max_traces_per_second >= 0 && service->operation_count > 0)
        say(remarks, service->rule.line,
            "max_traces_per_second: has no effect: clients that are told operations, its own or the default's, go by "
            "rates alone");
}

/* ---- nodes ---- */

/* Is everything that fits `pattern` also fit for `wide`? */
static bool covers(const char *wide, const char *pattern) {
    size_t size = strlen(wide);
    if (size > 0 && wide[size - 1] == '*') return strncmp(wide, pattern, size - 1) == 0;
    return strcmp(wide, pattern) == 0;
}

/* The service before services[end] that catches `pattern`, or NULL. */
static const struct weir_proxies_service *caught_by(const struct weir_proxies *proxies, uint32_t end,
                                                    const char *pattern) {
    for (uint32_t i = 0; i < end; i++) {
        const struct weir_proxies_service *service = &proxies->services[i];
        for (uint32_t n = 0; n < service->node_count; n++) {
            if (covers(service->nodes[n], pattern)) return service;
        }
    }
    return NULL;
}

/* Envoy has one rate for all (dialects/envoy.h). */
static void remark_envoys(const struct remarks *remarks, const struct weir_proxies_service *service) {
    if (service->node_count > 0 && service->own_operation_count > 0)
        say(remarks, service->operations[0].line,
            "operations: have no effect on the Envoys that `nodes` names, which can be told one rate alone");
}

static void remark_nodes(const struct remarks *remarks, uint32_t place) {
    const struct weir_proxies *proxies = remarks->proxies;
    const struct weir_proxies_service *service = &proxies->services[place];
    char text[320];
    for (uint32_t n = 0; n < service->node_count; n++) {
        const struct weir_proxies_service *other = caught_by(proxies, place, service->nodes[n]);
        if (other == NULL) continue;
        snprintf(text, sizeof text, "nodes: %s: is never asked: `nodes` of the service in line %d fit all that it fits",
                 service->nodes[n], other->rule.line);
        say(remarks, service->rule.line, text);
    }
}

void weir_proxies_remarks(const struct weir_proxies *proxies, void (*say_)(void *self, int line, const char *text),
                          void *self) {
    const struct remarks remarks = {proxies, say_, self};
    remark_budgets(&remarks);
    remark_floors(&remarks);
    remark_rule(&remarks, &proxies->fallback.rule);
    remark_limit(&remarks, &proxies->fallback);
    remark_operations(&remarks, &proxies->fallback);
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        remark_rule(&remarks, &proxies->services[i].rule);
        remark_limit(&remarks, &proxies->services[i]);
        remark_operations(&remarks, &proxies->services[i]);
        remark_envoys(&remarks, &proxies->services[i]);
        remark_nodes(&remarks, i);
    }
}
