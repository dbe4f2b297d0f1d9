/* proxies_read.c - `proxies:` of sampling.yaml into its table. */
#include "collector/config/values.h"
#include "collector/core/clock.h"
#include "collector/sample/proxies_inside.h"
#include "collector/sample/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct weir_reading file;
    struct weir_proxies *proxies;
    uint32_t rows; /* services and operations so far */
};

static bool is(const struct weir_yaml *node, const char *key) {
    return strcmp(node->key, key) == 0;
}

/* ---- values ---- */

/* Of which none at all would be a mistake: a share of the CPU, of errors. */
static enum weir_status read_share(const struct reader *reader, const struct weir_yaml *node, double *out) {
    double share;
    if (node->kind != WEIR_YAML_TEXT || !weir_value_ratio(node->text, &share) || share <= 0)
        return weir_reading_not_a(&reader->file, node, node->key, "a share above 0, to 1 or \"100%\"");
    *out = share;
    return WEIR_OK;
}

static enum weir_status count_rows(struct reader *reader, const struct weir_yaml *node, uint32_t more) {
    reader->rows += more;
    if (reader->rows <= PROXIES_ROWS_MAX) return WEIR_OK;
    return weir_yaml_fail(reader->file.doc, node->line, reader->file.err,
                          "%s: more than %d services and operations in all", node->key, PROXIES_ROWS_MAX);
}

/* ---- parts ---- */

static enum weir_status read_budget(const struct reader *reader, const struct weir_yaml *node,
                                    struct weir_proxies_budget *budget) {
    static const char *const known[] = {"spans_per_second", "bytes_per_second", "proxy_cpu"};
    enum weir_status status = WEIR_OK;
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP || node->count == 0)
        return weir_reading_wrong_kind(&reader->file, node, "budget",
                                       "{ spans_per_second | bytes_per_second | proxy_cpu: ... }");
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        uint64_t bytes = 0;
        if (is(child, "spans_per_second")) {
            status = weir_reading_number(&reader->file, child, 1e-6, 1e9, "a number above 0, to 1e9",
                                         &budget->spans_per_second);
        } else if (is(child, "bytes_per_second")) {
            status = weir_reading_bytes(&reader->file, child, 1, 1ull << 40, "a size above 0, to 1TiB", &bytes);
            budget->bytes_per_second = (double)bytes;
        } else if (is(child, "proxy_cpu")) {
            status = read_share(reader, child, &budget->proxy_cpu);
        } else {
            return weir_yaml_unknown(reader->file.doc, child, "budget", known, 3, reader->file.err);
        }
    }
    return status;
}

static enum weir_status read_batching(const struct reader *reader, const struct weir_yaml *node,
                                      struct weir_proxies_batching *batching) {
    static const char *const known[] = {"min_flush_spans", "flush_interval"};
    enum weir_status status = WEIR_OK;
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, node, "envoy", "{ min_flush_spans: ..., flush_interval: ... }");
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (is(child, "min_flush_spans")) {
            int64_t spans = 0;
            status = weir_reading_whole(&reader->file, child, 1, 1000000, "a number of 1 to 1000000", &spans);
            batching->min_flush_spans = (uint32_t)spans;
        } else if (is(child, "flush_interval")) {
            status = weir_reading_duration(&reader->file, child, WEIR_MS, 3600 * WEIR_S, &batching->flush_interval_ns);
        } else {
            return weir_yaml_unknown(reader->file.doc, child, "envoy", known, 2, reader->file.err);
        }
    }
    return status;
}

/* What services and operations have in common. False: the key is none of these. */
static bool read_rule_key(const struct reader *reader, const struct weir_yaml *node, struct weir_proxies_rule *rule,
                          enum weir_status *status) {
    if (is(node, "rate"))
        *status = weir_reading_ratio(&reader->file, node, &rule->rate);
    else if (is(node, "min_traces_per_second"))
        *status = weir_reading_number(&reader->file, node, 0, 1e6, "a number of 0 to 1e6", &rule->floor);
    else if (is(node, "weight"))
        *status = weir_reading_number(&reader->file, node, 1e-6, 1e6, "a number above 0, to 1e6", &rule->weight);
    else
        return false;
    return true;
}

static struct weir_proxies_rule unsaid(int line) {
    return (struct weir_proxies_rule){
        .rate = WEIR_PROXIES_UNSAID, .floor = WEIR_PROXIES_UNSAID, .weight = WEIR_PROXIES_UNSAID, .line = line};
}

/* ---- operations ---- */

static enum weir_status read_operation(const struct reader *reader, const struct weir_yaml *node,
                                       struct weir_proxies_service *service) {
    static const char *const known[] = {"rate", "min_traces_per_second", "weight"};
    struct weir_proxies_rule *rule = &service->operations[service->operation_count];
    char path[80], shown[64];
    *rule = unsaid(node->line);
    snprintf(path, sizeof path, "operation %s", weir_yaml_show(node->key, shown, sizeof shown));
    if (node->kind != WEIR_YAML_MAP || node->count == 0)
        return weir_reading_wrong_kind(&reader->file, node, path, "{ rate | min_traces_per_second | weight: ... }");
    enum weir_status status = weir_reading_name(&reader->file, node, path, &rule->name);
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (!read_rule_key(reader, child, rule, &status))
            return weir_yaml_unknown(reader->file.doc, child, path, known, 3, reader->file.err);
    }
    if (status == WEIR_OK) status = weir_reading_operation(&reader->file, node, path, &rule->operation);
    if (status != WEIR_OK) return status;
    for (uint32_t i = 0; i < service->operation_count; i++) {
        if (service->operations[i].operation == rule->operation)
            return weir_yaml_fail(reader->file.doc, node->line, reader->file.err,
                                  "%s: is the same operation as the one in line %d, once its ids are templated", path,
                                  service->operations[i].line);
    }
    service->operation_count++;
    return WEIR_OK;
}

static enum weir_status read_operations(struct reader *reader, const struct weir_yaml *node,
                                        struct weir_proxies_service *service) {
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, node, "operations", "a map of operations");
    if (node->count > PROXIES_OPERATIONS_MAX)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "operations: more than %d in one service",
                              PROXIES_OPERATIONS_MAX);
    if (node->count == 0) return WEIR_OK;
    enum weir_status status = count_rows(reader, node, node->count);
    if (status != WEIR_OK) return status;
    service->operations = calloc(node->count, sizeof *service->operations);
    if (service->operations == NULL) return weir_reading_no_memory(&reader->file);
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next)
        status = read_operation(reader, child, service);
    return status;
}

/* ---- services ---- */

static enum weir_status read_node(const struct reader *reader, const struct weir_yaml *node, char (*out)[128]) {
    if (node->kind != WEIR_YAML_TEXT) return weir_reading_wrong_kind(&reader->file, node, "nodes", "a list of names");
    size_t size = strlen(node->text);
    const char *star = strchr(node->text, '*');
    if (size == 0 || size >= sizeof *out || (star != NULL && star[1] != 0))
        return weir_reading_not_a(&reader->file, node, "nodes", "a name of 1 to 127 bytes, with a * only at its end");
    memcpy(*out, node->text, size + 1);
    return WEIR_OK;
}

static enum weir_status read_nodes(const struct reader *reader, const struct weir_yaml *node,
                                   struct weir_proxies_service *service) {
    const struct weir_yaml *one = node->kind == WEIR_YAML_LIST ? node->first : node;
    uint32_t count = node->kind == WEIR_YAML_LIST ? node->count : 1;
    if (count == 0 || count > PROXIES_NODES_MAX)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "nodes: %s",
                              count == 0 ? "an empty list" : "more than 64 entries");
    service->nodes = calloc(count, sizeof *service->nodes);
    if (service->nodes == NULL) return weir_reading_no_memory(&reader->file);
    for (; service->node_count < count; one = one->next) {
        enum weir_status status = read_node(reader, one, &service->nodes[service->node_count]);
        if (status != WEIR_OK) return status;
        service->node_count++;
    }
    return WEIR_OK;
}

static enum weir_status read_exact(const struct reader *reader, const struct weir_yaml *node,
                                   struct weir_proxies_service *service) {
    if (node->kind == WEIR_YAML_TEXT && weir_proxies_read_selector(node->text, service)) return WEIR_OK;
    return weir_reading_not_a(&reader->file, node, "exact",
                              "a series: name{label=\"value\", ...}, at most 4 labels, each with =");
}

static enum weir_status read_service(struct reader *reader, const struct weir_yaml *node, const char *path,
                                     struct weir_proxies_service *service) {
    static const char *const known[] = {
        "rate",  "min_traces_per_second", "weight", "max_traces_per_second", "envoy", "operations", "nodes", "exact",
        "budget"};
    bool is_default = service == &reader->proxies->fallback;
    enum weir_status status = WEIR_OK;
    if (node->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, node, path, "{ rate: ... }");
    service->rule.line = node->line;
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (read_rule_key(reader, child, &service->rule, &status)) continue;
        if (is(child, "max_traces_per_second")) {
            /* int32 on Jaeger's wire (api_v2/sampling.proto, RateLimitingSamplingStrategy). */
            int64_t traces = 0;
            status = weir_reading_whole(&reader->file, child, 0, INT32_MAX,
                                        "a whole number of 0 to 2147483647, as Jaeger's clients take it", &traces);
            service->max_traces_per_second = (double)traces;
        } else if (is(child, "envoy"))
            status = read_batching(reader, child, &service->batching);
        else if (is(child, "operations"))
            status = read_operations(reader, child, service);
        else if (!is_default && is(child, "nodes"))
            status = read_nodes(reader, child, service);
        else if (!is_default && is(child, "exact"))
            status = read_exact(reader, child, service);
        else if (!is_default && is(child, "budget"))
            status = read_budget(reader, child, &service->budget);
        else
            return weir_yaml_unknown(reader->file.doc, child, path, known, is_default ? 6 : 9, reader->file.err);
    }
    return status;
}

static enum weir_status read_services(struct reader *reader, const struct weir_yaml *node) {
    struct weir_proxies *proxies = reader->proxies;
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, node, "services", "a map of services");
    enum weir_status status = count_rows(reader, node, node->count);
    if (status != WEIR_OK || node->count == 0) return status;
    proxies->services = calloc(node->count, sizeof *proxies->services);
    if (proxies->services == NULL) return weir_reading_no_memory(&reader->file);
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        struct weir_proxies_service *service = &proxies->services[proxies->service_count++];
        char path[80], shown[64];
        snprintf(path, sizeof path, "service %s", weir_yaml_show(child->key, shown, sizeof shown));
        service->rule = unsaid(child->line);
        service->max_traces_per_second = WEIR_PROXIES_UNSAID;
        status = weir_reading_name(&reader->file, child, path, &service->rule.name);
        if (status == WEIR_OK) status = read_service(reader, child, path, service);
    }
    return status;
}

/* ---- the whole ---- */

static enum weir_status read_incident(const struct reader *reader, const struct weir_yaml *node,
                                      struct weir_proxies *proxies) {
    static const char *const known[] = {"factor", "for", "errors", "slower"};
    enum weir_status status = WEIR_OK;
    if (node->kind == WEIR_YAML_TEXT && weir_value_bool(node->text, &proxies->incident.on)) return WEIR_OK;
    if (node->kind == WEIR_YAML_TEXT)
        return weir_reading_not_a(&reader->file, node, "incident", "false, or { factor: ..., for: ... }");
    if (node->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, node, "incident", "{ factor: ..., for: ... } or false");
    proxies->incident.on = true;
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (is(child, "factor"))
            status =
                weir_reading_number(&reader->file, child, 1, 1e6, "a number of 1 to 1e6", &proxies->incident.factor);
        else if (is(child, "for"))
            status = weir_reading_duration(&reader->file, child, WEIR_S, 24 * 3600 * WEIR_S, &proxies->incident.for_ns);
        else if (is(child, "errors"))
            status = read_share(reader, child, &proxies->incident.errors);
        else if (is(child, "slower"))
            status = weir_reading_number(&reader->file, child, 1, 1e6, "a number of 1 to 1e6",
                                         &proxies->incident.slower_times);
        else
            return weir_yaml_unknown(reader->file.doc, child, "incident", known, 4, reader->file.err);
    }
    return status;
}

static enum weir_status read_trust(const struct reader *reader, const struct weir_yaml *node, bool *trusted) {
    bool policy = node->kind == WEIR_YAML_TEXT && strcmp(node->text, "policy") == 0;
    if (!policy && (node->kind != WEIR_YAML_TEXT || strcmp(node->text, "none") != 0))
        return weir_reading_not_a(&reader->file, node, "trust", "policy or none");
    *trusted = policy;
    return WEIR_OK;
}

static enum weir_status read_top_key(struct reader *reader, const struct weir_yaml *node) {
    static const char *const known[] = {"default",  "services", "budget",       "cost_per_span",
                                        "incident", "trust",    "poll_interval"};
    struct weir_proxies *proxies = reader->proxies;
    if (is(node, "default"))
        return node->kind == WEIR_YAML_NULL ? WEIR_OK : read_service(reader, node, "default", &proxies->fallback);
    if (is(node, "services")) return read_services(reader, node);
    if (is(node, "budget")) return read_budget(reader, node, &proxies->budget);
    if (is(node, "incident")) return read_incident(reader, node, proxies);
    if (is(node, "trust")) return read_trust(reader, node, &proxies->trust_pollers);
    if (is(node, "poll_interval"))
        return weir_reading_duration(&reader->file, node, WEIR_S, 3600 * WEIR_S, &proxies->poll_ns);
    if (is(node, "cost_per_span")) {
        uint64_t ns = 0;
        enum weir_status status = weir_reading_duration(&reader->file, node, 1, WEIR_S, &ns);
        if (status == WEIR_OK) proxies->cost_ns = (double)ns;
        return status;
    }
    return weir_yaml_unknown(reader->file.doc, node, "proxies", known, 7, reader->file.err);
}

static enum weir_status read_top(struct reader *reader, const struct weir_yaml *node) {
    struct weir_proxies *proxies = reader->proxies;
    enum weir_status status = WEIR_OK;
    if (node->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, node, "proxies", "a map");
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next)
        status = read_top_key(reader, child);
    if (status != WEIR_OK) return status;
    if (proxies->fallback.rule.rate < 0 && !weir_proxies_bounds(&proxies->budget)) {
        /* Whoever forgets a rate must not get 100 % thereby. */
        return weir_yaml_fail(reader->file.doc, proxies->fallback.rule.line, reader->file.err,
                              "default: has no rate, and there is no budget that would work one out");
    }
    /* Without a budget nothing bounds what an incident would cost: then it has to be asked for. */
    if (weir_yaml_get(node, "incident") == NULL) proxies->incident.on = weir_proxies_bounds(&proxies->budget);
    if (!weir_proxies_finish(proxies)) return weir_reading_no_memory(&reader->file);
    if (proxies->row_count > PROXIES_ROWS_MAX)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err,
                              "proxies: more than %d services and operations in all; those of the default count "
                              "once more for each service",
                              PROXIES_ROWS_MAX);
    return WEIR_OK;
}

enum weir_status weir_proxies_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node,
                                   struct weir_names *names, struct weir_proxies **out, struct weir_error *err) {
    struct weir_proxies *made = calloc(1, sizeof *made);
    struct reader reader = {.file = {doc, names, err}, .proxies = made};
    if (made == NULL) return weir_reading_no_memory(&reader.file);
    made->line = node->line;
    made->fallback.rule = unsaid(node->line);
    made->fallback.max_traces_per_second = WEIR_PROXIES_UNSAID;
    made->cost_ns = 20 * WEIR_US;
    made->poll_ns = 60 * WEIR_S;
    made->incident.factor = 10;
    made->incident.for_ns = 300 * WEIR_S;
    made->incident.errors = 0.05;
    made->incident.slower_times = 3;
    enum weir_status status = read_top(&reader, node);
    if (status != WEIR_OK) {
        weir_proxies_free(made);
        return status;
    }
    *out = made;
    return WEIR_OK;
}
