/* control_file.c - the file as the controller has it: copied, so that nothing points into a policy that may go. */
#include "collector/sample/control_inside.h"

#include <math.h>
#include <stdlib.h>

static struct control_rule copy_rule(const struct weir_proxies_rule *rule) {
    return (struct control_rule){rule->name, rule->operation, rule->rate, rule->floor, rule->weight};
}

static bool copy_service(struct control_file_service *to, const struct weir_proxies_service *from,
                         const struct weir_proxies_service *fallback) {
    *to = (struct control_file_service){.rule = copy_rule(&from->rule),
                                        .max_traces_per_second = from->max_traces_per_second,
                                        .batching = from->batching,
                                        .budget = from->budget};
    if (to->batching.min_flush_spans == 0) to->batching.min_flush_spans = fallback->batching.min_flush_spans;
    if (to->batching.flush_interval_ns == 0) to->batching.flush_interval_ns = fallback->batching.flush_interval_ns;
    if (from->operation_count == 0) return true;
    to->operations = calloc(from->operation_count, sizeof *to->operations);
    if (to->operations == NULL) return false;
    to->operation_count = from->operation_count;
    for (uint32_t i = 0; i < from->operation_count; i++)
        to->operations[i] = copy_rule(&from->operations[i]);
    return true;
}

static int by_name(const void *a, const void *b) {
    uint32_t x = ((const struct control_file_service *)a)->rule.name;
    uint32_t y = ((const struct control_file_service *)b)->rule.name;
    return x < y ? -1 : x > y;
}

static bool steers(const struct control_file_service *service) {
    bool found = weir_proxies_bounds(&service->budget) || service->rule.floor > 0;
    for (uint32_t i = 0; i < service->operation_count; i++)
        found = found || service->operations[i].floor > 0;
    return found;
}

bool weir_control_file_copy(struct control_file *file, const struct weir_proxies *proxies) {
    *file = (struct control_file){.budget = proxies->budget,
                                  .cost_ns = proxies->cost_ns,
                                  .factor = proxies->incident.factor,
                                  .incident_s = (double)proxies->incident.for_ns / 1e9,
                                  .errors = proxies->incident.errors,
                                  .slower_times = proxies->incident.slower_times,
                                  .poll_s = (double)proxies->poll_ns / 1e9,
                                  .incidents = proxies->incident.on};
    file->services = calloc(proxies->service_count + 1u, sizeof *file->services);
    if (file->services == NULL) return false;
    bool ok = copy_service(&file->fallback, &proxies->fallback, &proxies->fallback);
    file->steered = weir_proxies_bounds(&file->budget) || file->incidents || steers(&file->fallback);
    for (uint32_t i = 0; ok && i < proxies->service_count; i++) {
        ok = copy_service(&file->services[file->service_count++], &proxies->services[i], &proxies->fallback);
        file->steered = file->steered || steers(&file->services[i]);
    }
    if (!ok) {
        weir_control_file_free(file);
        return false;
    }
    qsort(file->services, file->service_count, sizeof *file->services, by_name);
    return true;
}

void weir_control_file_free(struct control_file *file) {
    free(file->fallback.operations);
    for (uint32_t i = 0; i < file->service_count; i++)
        free(file->services[i].operations);
    free(file->services);
    *file = (struct control_file){0};
}

const struct control_file_service *weir_control_file_find(const struct control_file *file, uint32_t service) {
    struct control_file_service key = {.rule.name = service};
    if (file->service_count == 0) return NULL;
    return bsearch(&key, file->services, file->service_count, sizeof key, by_name);
}

const struct control_rule *weir_control_file_rule(const struct control_file_service *service, uint32_t operation) {
    for (uint32_t i = 0; i < service->operation_count; i++) {
        if (service->operations[i].operation == operation) return &service->operations[i];
    }
    return NULL;
}

struct control_terms weir_control_terms(const struct control_file *file, const struct control_file_service *service,
                                        const struct control_rule *rule) {
    const struct control_rule *levels[3] = {rule, &service->rule, &file->fallback.rule};
    struct control_terms terms = {.rate = -1, .floor = -1, .weight = -1};
    for (int i = 0; i < 3; i++) {
        if (levels[i] == NULL) continue;
        if (terms.floor < 0) terms.floor = levels[i]->floor;
        if (terms.rate < 0) terms.rate = levels[i]->rate;
        if (terms.weight < 0) terms.weight = levels[i]->weight;
    }
    terms.budgeted = weir_proxies_bounds(&file->budget) || weir_proxies_bounds(&service->budget);
    terms.pinned = terms.budgeted && (terms.rate == 0 || terms.rate == 1);
    if (terms.rate < 0) terms.rate = 1;
    if (terms.floor < 0 || terms.rate == 0) terms.floor = 0;
    if (!(terms.weight > 0)) terms.weight = terms.weight == 0 ? 1e-6 : 1;
    return terms;
}
