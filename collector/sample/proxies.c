/* proxies.c - the table of `proxies:`: asked, completed, freed. */
#include "collector/sample/proxies_inside.h"

#include <stdlib.h>
#include <string.h>

bool weir_proxies_bounds(const struct weir_proxies_budget *budget) {
    return budget->spans_per_second > 0 || budget->bytes_per_second > 0 || budget->proxy_cpu > 0;
}

const struct weir_proxies_service *weir_proxies_find(const struct weir_proxies *proxies, uint32_t service) {
    uint32_t low = 0, high = proxies->service_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct weir_proxies_service *found = &proxies->services[proxies->by_name[middle]];
        if (found->rule.name == service) return found;
        if (found->rule.name < service)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool has_floor(const struct weir_proxies_service *service) {
    bool found = service->rule.floor > 0;
    for (uint32_t i = 0; i < service->operation_count; i++)
        found = found || service->operations[i].floor > 0;
    return found;
}

bool weir_proxies_work_out(const struct weir_proxies *proxies) {
    bool found = proxies->incident.on || weir_proxies_bounds(&proxies->budget) || has_floor(&proxies->fallback);
    for (uint32_t i = 0; i < proxies->service_count; i++)
        found = found || weir_proxies_bounds(&proxies->services[i].budget) || has_floor(&proxies->services[i]);
    return found;
}

/* ---- completing ---- */

static bool has_operation(const struct weir_proxies_service *service, uint32_t operation) {
    for (uint32_t i = 0; i < service->own_operation_count; i++) {
        if (service->operations[i].operation == operation) return true;
    }
    return false;
}

static bool inherit(struct weir_proxies_service *service, const struct weir_proxies_service *fallback) {
    if (service->rule.rate < 0 && service->max_traces_per_second < 0)
        service->max_traces_per_second = fallback->max_traces_per_second;
    if (fallback->operation_count == 0) return true;
    struct weir_proxies_rule *more =
        realloc(service->operations, (service->operation_count + fallback->operation_count) * sizeof *more);
    if (more == NULL) return false;
    service->operations = more;
    for (uint32_t i = 0; i < fallback->operation_count; i++) {
        if (!has_operation(service, fallback->operations[i].operation))
            more[service->operation_count++] = fallback->operations[i];
    }
    return true;
}

struct named {
    uint32_t name, place;
};

static int by_name(const void *a, const void *b) {
    uint32_t x = ((const struct named *)a)->name, y = ((const struct named *)b)->name;
    return x < y ? -1 : x > y;
}

static bool sort_services(struct weir_proxies *proxies) {
    uint32_t count = proxies->service_count;
    if (count == 0) return true;
    struct named *named = malloc(count * sizeof *named);
    proxies->by_name = malloc(count * sizeof *proxies->by_name);
    bool ok = named != NULL && proxies->by_name != NULL;
    for (uint32_t i = 0; ok && i < count; i++)
        named[i] = (struct named){proxies->services[i].rule.name, i};
    if (ok) qsort(named, count, sizeof *named, by_name);
    for (uint32_t i = 0; ok && i < count; i++)
        proxies->by_name[i] = named[i].place;
    free(named);
    return ok;
}

bool weir_proxies_finish(struct weir_proxies *proxies) {
    struct weir_proxies_service *fallback = &proxies->fallback;
    fallback->own_operation_count = fallback->operation_count;
    proxies->row_count = proxies->service_count + fallback->operation_count;
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        proxies->services[i].own_operation_count = proxies->services[i].operation_count;
        proxies->row_count += proxies->services[i].operation_count + fallback->operation_count;
    }
    if (proxies->row_count > PROXIES_ROWS_MAX) return true;
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        if (!inherit(&proxies->services[i], fallback)) return false;
    }
    return sort_services(proxies);
}

/* ---- selectors ---- */

static bool is_name_byte(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* A name of Prometheus; `colon`: in that of a series : may stand too. */
static const char *take_name(const char *at, bool colon, char *out, size_t out_size) {
    size_t size = 0;
    while (is_name_byte(*at, size == 0) || (colon && *at == ':')) {
        if (size + 1 == out_size) return NULL;
        out[size++] = *at++;
    }
    out[size] = 0;
    return size > 0 ? at : NULL;
}

static const char *take_value(const char *at, char *out, size_t out_size) {
    size_t size = 0;
    if (*at++ != '"') return NULL;
    for (; *at != '"'; at++) {
        char c = *at;
        if (c == '\\') {
            c = *++at == 'n' ? '\n' : *at;
            if (*at != 'n' && *at != '\\' && *at != '"') return NULL;
        }
        if (c == 0 || size + 1 == out_size) return NULL;
        out[size++] = c;
    }
    out[size] = 0;
    return at + 1;
}

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " ");
}

static const char *take_label(const char *at, struct weir_proxies_label *label) {
    at = take_name(at, false, label->name, sizeof label->name);
    if (at == NULL) return NULL;
    at = skip_blanks(at);
    if (*at != '=') return NULL;
    at = take_value(skip_blanks(at + 1), label->value, sizeof label->value);
    return at == NULL ? NULL : skip_blanks(at);
}

bool weir_proxies_read_selector(const char *text, struct weir_proxies_service *service) {
    const uint32_t labels_max = sizeof service->exact_labels / sizeof *service->exact_labels;
    const char *at = take_name(skip_blanks(text), true, service->exact_family, sizeof service->exact_family);
    service->exact_label_count = 0;
    if (at == NULL) return false;
    at = skip_blanks(at);
    if (*at == '{') {
        at = skip_blanks(at + 1);
        while (*at != '}') {
            if (service->exact_label_count == labels_max) return false;
            at = take_label(at, &service->exact_labels[service->exact_label_count]);
            if (at == NULL) return false;
            service->exact_label_count++;
            if (*at == ',')
                at = skip_blanks(at + 1);
            else if (*at != '}')
                return false;
        }
        at = skip_blanks(at + 1);
    }
    return *at == 0;
}

void weir_proxies_free(struct weir_proxies *proxies) {
    if (proxies == NULL) return;
    free(proxies->fallback.operations);
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        free(proxies->services[i].operations);
        free(proxies->services[i].nodes);
    }
    free(proxies->services);
    free(proxies->by_name);
    free(proxies);
}
