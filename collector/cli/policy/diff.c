#include "collector/cli/policy/diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1024 };

struct diff {
    const struct weir_proxies *files[2];
    const struct weir_names *names;
    void (*change)(void *self, const struct weir_change *change);
    void *self;
    uint32_t count;
    /* whose values are compared now */
    bool fleet;
    uint32_t service, operation;
};

/* ---- one value ---- */

static void numbers(struct diff *diff, const char *what, enum weir_change_kind kind, double before, double after) {
    bool same = before == after || (isnan(before) && isnan(after));
    if (same) return;
    diff->count++;
    diff->change(diff->self, &(struct weir_change){.service = diff->service,
                                                   .operation = diff->operation,
                                                   .fleet = diff->fleet,
                                                   .what = what,
                                                   .kind = kind,
                                                   .before = before,
                                                   .after = after});
}

static void texts(struct diff *diff, const char *what, const char *before, const char *after) {
    if (strcmp(before, after) == 0) return;
    diff->count++;
    diff->change(diff->self, &(struct weir_change){.service = diff->service,
                                                   .operation = diff->operation,
                                                   .fleet = diff->fleet,
                                                   .what = what,
                                                   .kind = WEIR_CHANGE_TEXT,
                                                   .text_before = before,
                                                   .text_after = after});
}

static double positive(double value) {
    return value > 0 ? value : NAN;
}

/* The first that is said. */
static double first_said(double own, double service, double fallback) {
    if (own >= 0) return own;
    if (service >= 0) return service;
    return fallback >= 0 ? fallback : NAN;
}

/* ---- rules ---- */

/* What holds for a service, whether it has a row or not. */
static const struct weir_proxies_service *service_in(const struct weir_proxies *file, uint32_t service) {
    const struct weir_proxies_service *own = service == WEIR_NAME_NONE ? NULL : weir_proxies_find(file, service);
    return own != NULL ? own : &file->fallback;
}

static const struct weir_proxies_rule *operation_in(const struct weir_proxies_service *service, uint32_t operation) {
    for (uint32_t i = 0; i < service->operation_count; i++) {
        if (service->operations[i].operation == operation) return &service->operations[i];
    }
    return NULL;
}

struct rule {
    double rate, floor, weight;
};

static struct rule rule_in(const struct weir_proxies *file, const struct weir_proxies_service *service,
                           uint32_t operation) {
    static const struct weir_proxies_rule nothing = {
        .rate = WEIR_PROXIES_UNSAID, .floor = WEIR_PROXIES_UNSAID, .weight = WEIR_PROXIES_UNSAID};
    const struct weir_proxies_rule *own = operation == 0 ? NULL : operation_in(service, operation);
    const struct weir_proxies_rule *fallback = &file->fallback.rule;
    if (own == NULL) own = &nothing;
    struct rule rule = {.rate = first_said(own->rate, service->rule.rate, fallback->rate),
                        .floor = first_said(own->floor, service->rule.floor, fallback->floor),
                        .weight = first_said(own->weight, service->rule.weight, fallback->weight)};
    if (isnan(rule.weight)) rule.weight = 1;
    if (!(rule.floor > 0)) rule.floor = NAN;
    return rule;
}

static void diff_rules(struct diff *diff, const struct rule *before, const struct rule *after) {
    numbers(diff, "rate", WEIR_CHANGE_SHARE, before->rate, after->rate);
    numbers(diff, "min_traces_per_second", WEIR_CHANGE_NUMBER, before->floor, after->floor);
    numbers(diff, "weight", WEIR_CHANGE_NUMBER, before->weight, after->weight);
}

/* ---- services ---- */

static void diff_budgets(struct diff *diff, const struct weir_proxies_budget *before,
                         const struct weir_proxies_budget *after) {
    numbers(diff, "budget.spans_per_second", WEIR_CHANGE_NUMBER, positive(before->spans_per_second),
            positive(after->spans_per_second));
    numbers(diff, "budget.bytes_per_second", WEIR_CHANGE_BYTES, positive(before->bytes_per_second),
            positive(after->bytes_per_second));
    numbers(diff, "budget.proxy_cpu", WEIR_CHANGE_SHARE, positive(before->proxy_cpu), positive(after->proxy_cpu));
}

static struct weir_proxies_batching batching_in(const struct weir_proxies *file,
                                                const struct weir_proxies_service *service) {
    struct weir_proxies_batching batching = service->batching;
    if (batching.min_flush_spans == 0) batching.min_flush_spans = file->fallback.batching.min_flush_spans;
    if (batching.flush_interval_ns == 0) batching.flush_interval_ns = file->fallback.batching.flush_interval_ns;
    return batching;
}

static void write_exact(const struct weir_proxies_service *service, char *out) {
    size_t used = (size_t)snprintf(out, TEXT_BYTES, "%s", service->exact_family);
    for (uint32_t i = 0; i < service->exact_label_count && used < TEXT_BYTES; i++)
        used += (size_t)snprintf(out + used, TEXT_BYTES - used, "%s%s=\"%s\"%s", i == 0 ? "{" : ", ",
                                 service->exact_labels[i].name, service->exact_labels[i].value,
                                 i + 1 == service->exact_label_count ? "}" : "");
}

static void write_nodes(const struct weir_proxies_service *service, char *out) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < service->node_count && used < TEXT_BYTES; i++)
        used += (size_t)snprintf(out + used, TEXT_BYTES - used, "%s%s", i == 0 ? "" : ", ", service->nodes[i]);
}

static void diff_operations(struct diff *diff, const struct weir_proxies_service *const services[2]) {
    for (int f = 0; f < 2; f++) {
        for (uint32_t i = 0; i < services[f]->operation_count; i++) {
            uint32_t operation = services[f]->operations[i].operation;
            if (f == 1 && operation_in(services[0], operation) != NULL) continue; /* was there before */
            struct rule before = rule_in(diff->files[0], services[0], operation);
            struct rule after = rule_in(diff->files[1], services[1], operation);
            diff->operation = services[f]->operations[i].name;
            diff_rules(diff, &before, &after);
        }
    }
    diff->operation = WEIR_NAME_NONE;
}

static void diff_service(struct diff *diff, uint32_t name) {
    const struct weir_proxies_service *services[2];
    struct weir_proxies_batching batching[2];
    struct rule rules[2];
    char text[2][TEXT_BYTES];
    for (int f = 0; f < 2; f++) {
        services[f] = service_in(diff->files[f], name);
        batching[f] = batching_in(diff->files[f], services[f]);
        rules[f] = rule_in(diff->files[f], services[f], WEIR_NAME_NONE);
    }
    diff->service = name;
    diff_rules(diff, &rules[0], &rules[1]);
    double before = services[0]->max_traces_per_second, after = services[1]->max_traces_per_second;
    numbers(diff, "max_traces_per_second", WEIR_CHANGE_NUMBER, before >= 0 ? before : NAN, after >= 0 ? after : NAN);
    diff_budgets(diff, &services[0]->budget, &services[1]->budget);
    numbers(diff, "envoy.min_flush_spans", WEIR_CHANGE_NUMBER, positive(batching[0].min_flush_spans),
            positive(batching[1].min_flush_spans));
    numbers(diff, "envoy.flush_interval", WEIR_CHANGE_SECONDS, positive((double)batching[0].flush_interval_ns / 1e9),
            positive((double)batching[1].flush_interval_ns / 1e9));
    write_nodes(services[0], text[0]);
    write_nodes(services[1], text[1]);
    texts(diff, "nodes", text[0], text[1]);
    write_exact(services[0], text[0]);
    write_exact(services[1], text[1]);
    texts(diff, "exact", text[0], text[1]);
    diff_operations(diff, services);
}

/* ---- the fleet ---- */

static void diff_fleet(struct diff *diff) {
    const struct weir_proxies *before = diff->files[0], *after = diff->files[1];
    diff->fleet = true;
    diff_budgets(diff, &before->budget, &after->budget);
    numbers(diff, "cost_per_span", WEIR_CHANGE_SECONDS, before->cost_ns / 1e9, after->cost_ns / 1e9);
    texts(diff, "incident", before->incident.on ? "on" : "off", after->incident.on ? "on" : "off");
    if (before->incident.on && after->incident.on) {
        numbers(diff, "incident.factor", WEIR_CHANGE_NUMBER, before->incident.factor, after->incident.factor);
        numbers(diff, "incident.for", WEIR_CHANGE_SECONDS, (double)before->incident.for_ns / 1e9,
                (double)after->incident.for_ns / 1e9);
        numbers(diff, "incident.errors", WEIR_CHANGE_SHARE, before->incident.errors, after->incident.errors);
        numbers(diff, "incident.slower", WEIR_CHANGE_NUMBER, before->incident.slower_times,
                after->incident.slower_times);
    }
    texts(diff, "trust", before->trust_pollers ? "policy" : "none", after->trust_pollers ? "policy" : "none");
    numbers(diff, "poll_interval", WEIR_CHANGE_SECONDS, (double)before->poll_ns / 1e9, (double)after->poll_ns / 1e9);
    diff->fleet = false;
}

struct named {
    uint32_t name;
    const char *text;
};

static int by_text(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->text, ((const struct named *)b)->text);
}

uint32_t weir_policy_diff(const struct weir_proxies *before, const struct weir_proxies *after,
                          const struct weir_names *names, void (*change)(void *self, const struct weir_change *change),
                          void *self, bool *no_memory) {
    struct diff diff = {.files = {before, after}, .names = names, .change = change, .self = self};
    uint32_t count = 0;
    if (before == NULL || after == NULL) {
        diff.fleet = true;
        texts(&diff, "proxies", before == NULL ? "" : "told", after == NULL ? "" : "told");
        return diff.count;
    }
    struct named *services = calloc(before->service_count + after->service_count + 1u, sizeof *services);
    *no_memory = services == NULL;
    if (services == NULL) return 0;
    diff_fleet(&diff);
    for (int f = 0; f < 2; f++) {
        for (uint32_t i = 0; i < diff.files[f]->service_count; i++) {
            uint32_t name = diff.files[f]->services[i].rule.name;
            if (f == 0 || weir_proxies_find(before, name) == NULL)
                services[count++] = (struct named){name, weir_names_text(names, name, NULL)};
        }
    }
    qsort(services, count, sizeof *services, by_text);
    for (uint32_t i = 0; i < count; i++)
        diff_service(&diff, services[i].name);
    free(services);
    diff_service(&diff, WEIR_NAME_NONE);
    return diff.count;
}
