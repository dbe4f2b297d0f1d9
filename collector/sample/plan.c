#include "collector/sample/plan.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

const char *const weir_plan_why_names[WEIR_PLAN_WHYS] = {[WEIR_PLAN_RATE] = "rate",
                                                         [WEIR_PLAN_PIN] = "pin",
                                                         [WEIR_PLAN_FLOOR] = "floor",
                                                         [WEIR_PLAN_BUDGET] = "budget",
                                                         [WEIR_PLAN_INCIDENT] = "incident"};

static double round_to(double rate, double steps) {
    if (!(rate > 0)) return 0;
    double step = round(rate * steps);
    if (step < 1) step = 1;
    return step < steps ? step / steps : 1;
}

double weir_plan_round(double rate) {
    return round_to(rate, 1e6);
}

double weir_plan_round_envoy(double rate) {
    return round_to(rate, 1e4);
}

/* ---- versions ---- */

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t size) {
    return XXH3_64bits_withSeed(bytes, size, hash);
}

static uint64_t mix_number(uint64_t hash, double number) {
    return mix_bytes(hash, &number, sizeof number);
}

static uint64_t mix_rate(uint64_t hash, const struct weir_names *names, const struct weir_plan_rate *rate) {
    size_t size;
    const char *text = weir_names_text(names, rate->name, &size);
    return mix_number(mix_bytes(hash, text, size), rate->rate);
}

static uint64_t version_of(const struct weir_names *names, const struct weir_plan_service *service) {
    uint64_t hash = mix_rate(1, names, &service->rate), rows = 0;
    hash = mix_number(hash, service->max_traces_per_second < 0 ? -1 : service->max_traces_per_second);
    hash = mix_number(hash, service->batching.min_flush_spans);
    hash = mix_number(hash, (double)service->batching.flush_interval_ns);
    for (uint32_t i = 0; i < service->operation_count; i++) /* in whichever order they stand */
        rows += mix_rate(2, names, &service->operations[i]);
    return mix_bytes(hash, &rows, sizeof rows);
}

/* ---- making ---- */

struct placed {
    uint32_t operation, place;
};

static int by_operation(const void *a, const void *b) {
    const struct placed *left = a, *right = b;
    if (left->operation != right->operation) return left->operation < right->operation ? -1 : 1;
    return left->place < right->place ? -1 : 1;
}

/* Each root of those that follow is looked up (steering.h), and a service may have thousands of operations. */
static bool index_operations(struct weir_plan_service *service) {
    uint32_t count = service->operation_count;
    struct placed *placed = malloc(count * sizeof *placed);
    service->by_operation = malloc(count * sizeof *service->by_operation);
    bool ok = placed != NULL && service->by_operation != NULL;
    for (uint32_t i = 0; ok && i < count; i++)
        placed[i] = (struct placed){service->operations[i].operation, i};
    if (ok) qsort(placed, count, sizeof *placed, by_operation);
    for (uint32_t i = 0; ok && i < count; i++)
        service->by_operation[i] = placed[i].place;
    free(placed);
    return ok;
}

static bool copy_service(struct weir_plan_service *to, const struct weir_plan_service *from) {
    *to = *from;
    to->rate.rate = weir_plan_round(from->rate.rate);
    to->operations = NULL;
    to->by_operation = NULL;
    if (from->operation_count == 0) return true;
    to->operations = malloc(from->operation_count * sizeof *to->operations);
    if (to->operations == NULL) return false;
    memcpy(to->operations, from->operations, from->operation_count * sizeof *to->operations);
    for (uint32_t i = 0; i < to->operation_count; i++)
        to->operations[i].rate = weir_plan_round(to->operations[i].rate);
    return index_operations(to);
}

static void free_service(struct weir_plan_service *service) {
    free(service->operations);
    free(service->by_operation);
}

struct ordered {
    const struct weir_plan_service *service;
    uint32_t place;
};

static int by_name(const void *a, const void *b) {
    const struct ordered *left = a, *right = b;
    uint32_t x = left->service->rate.name, y = right->service->rate.name;
    if (x != y) return x < y ? -1 : 1;
    return left->place < right->place ? -1 : 1;
}

static bool copy_services(struct weir_plan *plan, const struct weir_plan_service *services, uint32_t count) {
    if (count == 0) return true;
    struct ordered *ordered = malloc(count * sizeof *ordered);
    plan->services = calloc(count, sizeof *plan->services);
    bool ok = ordered != NULL && plan->services != NULL;
    for (uint32_t i = 0; ok && i < count; i++)
        ordered[i] = (struct ordered){&services[i], i};
    if (ok) qsort(ordered, count, sizeof *ordered, by_name);
    for (uint32_t i = 0; ok && i < count; i++) {
        if (i > 0 && ordered[i - 1].service->rate.name == ordered[i].service->rate.name) continue;
        ok = copy_service(&plan->services[plan->service_count++], ordered[i].service);
    }
    free(ordered);
    return ok;
}

struct weir_plan *weir_plan_new(const struct weir_names *names, uint64_t policy,
                                const struct weir_plan_service *fallback, const struct weir_plan_service *services,
                                uint32_t count) {
    struct weir_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return NULL;
    atomic_init(&plan->refs, 1);
    plan->policy = policy;
    if (!copy_service(&plan->fallback, fallback) || !copy_services(plan, services, count)) {
        weir_plan_unref(plan);
        return NULL;
    }
    plan->fallback.version = version_of(names, &plan->fallback);
    /* The order of ids is that of one process: the whole's version must not hang on it. */
    plan->version = plan->fallback.version;
    for (uint32_t i = 0; i < plan->service_count; i++) {
        plan->services[i].version = version_of(names, &plan->services[i]);
        plan->version += XXH3_64bits(&plan->services[i].version, sizeof plan->services[i].version);
    }
    return plan;
}

/* ---- of the file alone ---- */

static double said(double own, double otherwise) {
    return own >= 0 ? own : otherwise;
}

static struct weir_plan_service service_of(const struct weir_proxies *proxies, const struct weir_proxies_service *from,
                                           struct weir_plan_rate *rows, uint64_t now_unix_ns) {
    const struct weir_proxies_service *fallback = &proxies->fallback;
    /* Where the file says no rate a budget works one out, from everything downwards. */
    double rate = said(from->rule.rate, said(fallback->rule.rate, 1));
    struct weir_plan_service made = {
        .rate = {.name = from->rule.name, .rate = rate, .since_unix_ns = now_unix_ns, .why = WEIR_PLAN_RATE},
        .max_traces_per_second = from->max_traces_per_second,
        .batching = from->batching,
        .operations = rows};
    if (made.batching.min_flush_spans == 0) made.batching.min_flush_spans = fallback->batching.min_flush_spans;
    if (made.batching.flush_interval_ns == 0) made.batching.flush_interval_ns = fallback->batching.flush_interval_ns;
    for (uint32_t i = 0; i < from->operation_count; i++) {
        const struct weir_proxies_rule *rule = &from->operations[i];
        if (rule->rate < 0) continue;
        rows[made.operation_count++] = (struct weir_plan_rate){.name = rule->name,
                                                               .operation = rule->operation,
                                                               .rate = rule->rate,
                                                               .since_unix_ns = now_unix_ns,
                                                               .why = WEIR_PLAN_RATE};
    }
    return made;
}

struct weir_plan *weir_plan_of(const struct weir_proxies *proxies, uint64_t policy, const struct weir_names *names,
                               uint64_t now_unix_ns) {
    size_t row_count = proxies->fallback.operation_count;
    for (uint32_t i = 0; i < proxies->service_count; i++)
        row_count += proxies->services[i].operation_count;
    struct weir_plan_rate *rows = calloc(row_count + 1, sizeof *rows), *next = rows;
    struct weir_plan_service *services = calloc(proxies->service_count + 1u, sizeof *services);
    struct weir_plan *plan = NULL;
    if (rows != NULL && services != NULL) {
        struct weir_plan_service fallback = service_of(proxies, &proxies->fallback, next, now_unix_ns);
        next += proxies->fallback.operation_count;
        for (uint32_t i = 0; i < proxies->service_count; i++) {
            services[i] = service_of(proxies, &proxies->services[i], next, now_unix_ns);
            next += proxies->services[i].operation_count;
        }
        plan = weir_plan_new(names, policy, &fallback, services, proxies->service_count);
    }
    free(rows);
    free(services);
    return plan;
}

/* ---- asking ---- */

const struct weir_plan_service *weir_plan_find(const struct weir_plan *plan, uint32_t service) {
    uint32_t low = 0, high = plan->service_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (plan->services[middle].rate.name < service)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < plan->service_count && plan->services[low].rate.name == service) return &plan->services[low];
    return &plan->fallback;
}

const struct weir_plan_rate *weir_plan_rate_of(const struct weir_plan_service *service, uint32_t operation) {
    uint32_t low = 0, high = service->operation_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (service->operations[service->by_operation[middle]].operation < operation)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == service->operation_count) return &service->rate;
    const struct weir_plan_rate *found = &service->operations[service->by_operation[low]];
    return found->operation == operation ? found : &service->rate;
}

struct weir_plan *weir_plan_ref(const struct weir_plan *plan) {
    struct weir_plan *own = (struct weir_plan *)(uintptr_t)plan; /* counting is no change of what it says */
    atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    return own;
}

void weir_plan_unref(const struct weir_plan *plan) {
    struct weir_plan *own = (struct weir_plan *)(uintptr_t)plan;
    if (own == NULL || atomic_fetch_sub_explicit(&own->refs, 1, memory_order_acq_rel) != 1) return;
    free_service(&own->fallback);
    for (uint32_t i = 0; i < own->service_count; i++)
        free_service(&own->services[i]);
    free(own->services);
    free(own);
}
