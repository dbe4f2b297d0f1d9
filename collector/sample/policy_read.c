/* policy_read.c - sampling.yaml into the tables of a policy. */
#include "collector/config/yaml.h"
#include "collector/sample/keep.h"
#include "collector/sample/policy_inside.h"
#include "collector/sample/proxies.h"
#include "collector/sample/reading.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct reader {
    struct weir_reading file;
    struct weir_policy *policy;
};

/* ---- collector ---- */

static bool grow_rates(struct policy_rates *rates) {
    struct policy_rates more = {.capacity = rates->capacity == 0 ? 16 : 2 * rates->capacity, .count = rates->count};
    more.shift = 64 - (uint64_t)__builtin_ctz(more.capacity);
    more.slots = calloc(more.capacity, sizeof *more.slots);
    if (more.slots == NULL) return false;
    for (uint32_t i = 0; i < rates->capacity; i++) {
        if (rates->slots[i].key == 0) continue;
        uint64_t at = policy_mix(rates->slots[i].key) >> more.shift;
        while (more.slots[at].key != 0)
            at = (at + 1) & (more.capacity - 1);
        more.slots[at] = rates->slots[i];
    }
    free(rates->slots);
    *rates = more;
    return true;
}

/* False: no memory. An operation that two keys template to is held once; `*twice` says so. */
static bool put_rate(struct policy_rates *rates, uint64_t key, double rate, bool has_operations, bool *twice) {
    if (2 * rates->count >= rates->capacity && !grow_rates(rates)) return false;
    uint64_t at = policy_mix(key) >> rates->shift;
    while (rates->slots[at].key != 0 && rates->slots[at].key != key)
        at = (at + 1) & (rates->capacity - 1);
    *twice = rates->slots[at].key == key;
    if (*twice) return true;
    rates->slots[at] = (struct policy_rate){key, weir_threshold_of(rate), has_operations};
    rates->count++;
    return true;
}

static enum weir_status add_rate(struct reader *reader, const struct weir_yaml *node, uint64_t key, double rate,
                                 bool has_operations) {
    bool twice;
    if (!put_rate(&reader->policy->rates, key, rate, has_operations, &twice))
        return weir_reading_no_memory(&reader->file);
    char shown[64];
    if (twice) {
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err,
                              "%s: is the same operation as one above, once its ids are templated",
                              weir_yaml_show(node->key, shown, sizeof shown));
    }
    if (rate < 1) reader->policy->keeps_all = false;
    return WEIR_OK;
}

static enum weir_status read_operation(struct reader *reader, const struct weir_yaml *node, uint32_t service) {
    static const char *const known[] = {"rate"};
    const struct weir_yaml *rate = weir_yaml_get(node, "rate");
    char path[80], shown[64];
    snprintf(path, sizeof path, "operation %s", weir_yaml_show(node->key, shown, sizeof shown));
    if (node->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, node, path, "{ rate: ... }");
    for (const struct weir_yaml *child = node->first; child != NULL; child = child->next) {
        if (strcmp(child->key, "rate") != 0)
            return weir_yaml_unknown(reader->file.doc, child, path, known, 1, reader->file.err);
    }
    if (rate == NULL) return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "%s: has no rate", path);
    double share = 0;
    enum weir_status status = weir_reading_ratio(&reader->file, rate, &share);
    if (status != WEIR_OK) return status;
    uint32_t operation;
    status = weir_reading_operation(&reader->file, node, path, &operation);
    if (status != WEIR_OK) return status;
    return add_rate(reader, node, (uint64_t)service << 32 | operation, share, false);
}

static enum weir_status read_service(struct reader *reader, const struct weir_yaml *node, double inherited) {
    static const char *const known[] = {"rate", "operations"};
    char path[80], shown[64];
    snprintf(path, sizeof path, "service %s", weir_yaml_show(node->key, shown, sizeof shown));
    if (node->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, node, path, "{ rate: ... }");
    double share = inherited;
    const struct weir_yaml *operations = NULL;
    enum weir_status status = WEIR_OK;
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (strcmp(child->key, "rate") == 0)
            status = weir_reading_ratio(&reader->file, child, &share);
        else if (strcmp(child->key, "operations") == 0)
            operations = child->kind == WEIR_YAML_NULL ? NULL : child;
        else
            return weir_yaml_unknown(reader->file.doc, child, path, known, 2, reader->file.err);
    }
    uint32_t service = WEIR_NAME_NONE;
    if (status == WEIR_OK) status = weir_reading_name(&reader->file, node, path, &service);
    if (status != WEIR_OK) return status;
    if (operations != NULL && operations->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, operations, "operations", "a map of operations");
    status = add_rate(reader, node, (uint64_t)service << 32, share, operations != NULL);
    if (operations == NULL) return status;
    for (const struct weir_yaml *child = operations->first; status == WEIR_OK && child != NULL; child = child->next) {
        status = read_operation(reader, child, service);
    }
    return status;
}

static enum weir_status read_collector(struct reader *reader, const struct weir_yaml *node) {
    static const char *const known[] = {"rate", "services"};
    double share = 1;
    const struct weir_yaml *services = NULL;
    enum weir_status status = WEIR_OK;
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, node, "collector", "a map");
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (strcmp(child->key, "rate") == 0)
            status = weir_reading_ratio(&reader->file, child, &share);
        else if (strcmp(child->key, "services") == 0)
            services = child->kind == WEIR_YAML_NULL ? NULL : child;
        else
            return weir_yaml_unknown(reader->file.doc, child, "collector", known, 2, reader->file.err);
    }
    if (status != WEIR_OK) return status;
    reader->policy->threshold = weir_threshold_of(share);
    if (share < 1) reader->policy->keeps_all = false;
    if (services == NULL) return WEIR_OK;
    if (services->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, services, "services", "a map of services");
    for (const struct weir_yaml *child = services->first; status == WEIR_OK && child != NULL; child = child->next) {
        status = read_service(reader, child, share);
    }
    return status;
}

/* ---- sources ---- */

static enum weir_status read_match(struct reader *reader, const struct weir_yaml *match,
                                   struct policy_source_row *row) {
    static const char *const known[] = {"receiver", "service"};
    char shown[64];
    if (match->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, match, "match", "{ receiver: ..., service: ... }");
    for (const struct weir_yaml *child = match->first; child != NULL; child = child->next) {
        bool is_receiver = strcmp(child->key, "receiver") == 0;
        if (!is_receiver && strcmp(child->key, "service") != 0)
            return weir_yaml_unknown(reader->file.doc, child, "match", known, 2, reader->file.err);
        if (child->kind != WEIR_YAML_TEXT) return weir_reading_wrong_kind(&reader->file, child, child->key, "a name");
        if (!is_receiver) {
            size_t size = strlen(child->text);
            if (size > WEIR_NAME_BYTES_MAX)
                return weir_yaml_fail(reader->file.doc, child->line, reader->file.err, "service: longer than %d bytes",
                                      WEIR_NAME_BYTES_MAX);
            enum weir_status status = weir_reading_intern(&reader->file, child, child->text, size, &row->service);
            if (status != WEIR_OK) return status;
            continue;
        }
        row->receiver = policy_receiver(child->text);
        /* StatsD lines are points: there is no span to weigh. */
        if (row->receiver < 0 || row->receiver == WEIR_RECEIVER_STATSD) {
            return weir_yaml_fail(
                reader->file.doc, child->line, reader->file.err,
                "receiver: \"%s\" is not one that brings spans; known are grpc, otlp_http, zipkin, scribe, datagram, "
                "access_log",
                weir_yaml_show(child->raw, shown, sizeof shown));
        }
    }
    if (match->first == NULL)
        return weir_yaml_fail(reader->file.doc, match->line, reader->file.err,
                              "match: names neither receiver nor service");
    return WEIR_OK;
}

static enum weir_status read_source(struct reader *reader, const struct weir_yaml *node,
                                    struct policy_source_row *row) {
    static const char *const known[] = {"match", "sampled_at"};
    if (node->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, node, "sources", "{ match: ..., sampled_at: ... } in each entry");
    *row = (struct policy_source_row){.receiver = -1, .line = node->line};
    for (const struct weir_yaml *child = node->first; child != NULL; child = child->next) {
        enum weir_status status;
        if (strcmp(child->key, "match") == 0) {
            status = read_match(reader, child, row);
        } else if (strcmp(child->key, "sampled_at") == 0) {
            double share = 0;
            status = weir_reading_ratio(&reader->file, child, &share);
            /* 2^-56 is the least that a threshold can say; it also keeps 1/p finite. */
            if (status == WEIR_OK && share < 0x1p-56) {
                status = weir_yaml_fail(reader->file.doc, child->line, reader->file.err,
                                        "sampled_at: has to be above 0: nothing would have come");
            }
            if (status == WEIR_OK) row->prior = 1 / share;
        } else {
            status = weir_yaml_unknown(reader->file.doc, child, "sources", known, 2, reader->file.err);
        }
        if (status != WEIR_OK) return status;
    }
    if (weir_yaml_get(node, "match") == NULL)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "sources: an entry has no match");
    if (row->prior == 0)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "sources: an entry has no sampled_at");
    return WEIR_OK;
}

static struct policy_source *source_slot(struct weir_policy *policy, uint32_t service) {
    uint64_t mask = (1ull << (64 - policy->source_shift)) - 1;
    uint64_t at = policy_mix(service) >> policy->source_shift;
    while (policy->sources[at].service != 0 && policy->sources[at].service != service)
        at = (at + 1) & mask;
    return &policy->sources[at];
}

/* The first row that fits wins: rows are laid down from the last to the first, each over what it fits; one that names
 * no service fits all of them. */
static enum weir_status lay_sources(struct reader *reader, const struct policy_source_row *rows, uint32_t count) {
    struct weir_policy *policy = reader->policy;
    unsigned bits = 4;
    while ((1ull << bits) < 2ull * count)
        bits++;
    policy->source_shift = 64 - bits;
    policy->sources = calloc(1ull << bits, sizeof *policy->sources);
    if (policy->sources == NULL) return weir_reading_no_memory(&reader->file);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].service != WEIR_NAME_NONE) source_slot(policy, rows[i].service)->service = rows[i].service;
    }
    for (uint32_t i = count; i-- > 0;) {
        for (int receiver = 0; receiver < WEIR_RECEIVERS; receiver++) {
            if (rows[i].receiver >= 0 && rows[i].receiver != receiver) continue;
            if (rows[i].service != WEIR_NAME_NONE) {
                source_slot(policy, rows[i].service)->prior[receiver] = rows[i].prior;
                continue;
            }
            policy->any_service[receiver] = rows[i].prior;
            for (uint64_t slot = 0; slot < 1ull << bits; slot++)
                policy->sources[slot].prior[receiver] = rows[i].prior;
        }
    }
    policy->declares = count > 0;
    return WEIR_OK;
}

enum { SOURCES_MAX = 4096 }; /* laying down is rows that name no service times slots */

static enum weir_status read_sources(struct reader *reader, const struct weir_yaml *node) {
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_LIST) return weir_reading_wrong_kind(&reader->file, node, "sources", "a list");
    if (node->count > SOURCES_MAX)
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err, "sources: more than %d entries",
                              SOURCES_MAX);
    if (node->count == 0) return WEIR_OK;
    struct policy_source_row *rows = calloc(node->count, sizeof *rows);
    if (rows == NULL) return weir_reading_no_memory(&reader->file);
    enum weir_status status = WEIR_OK;
    uint32_t count = 0;
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next) {
        status = read_source(reader, child, &rows[count++]);
    }
    if (status == WEIR_OK) status = lay_sources(reader, rows, count);
    free(reader->policy->rows); /* of a key that stands twice */
    reader->policy->rows = rows;
    reader->policy->row_count = count;
    return status;
}

/* ---- the whole ---- */

static enum weir_status read_proxies(struct reader *reader, const struct weir_yaml *node) {
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    return weir_proxies_read(reader->file.doc, node, reader->file.names, &reader->policy->proxies, reader->file.err);
}

static enum weir_status unknown_part(const struct reader *reader, const struct weir_yaml *node) {
    static const char *const known[] = {"proxies", "collector", "sources", "keep"};
    static const char *const others[] = {"receivers", "exporters", "admin",     "sampling",
                                         "spool",     "render",    "attributes"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(node->key, others[i]) != 0) continue;
        return weir_yaml_fail(reader->file.doc, node->line, reader->file.err,
                              "%s: is a key of the configuration, not of a sampling policy", node->key);
    }
    return weir_yaml_unknown(reader->file.doc, node, "", known, 4, reader->file.err);
}

static enum weir_status read_top(struct reader *reader, const struct weir_yaml *root) {
    if (root->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (root->kind != WEIR_YAML_MAP)
        return weir_yaml_fail(reader->file.doc, root->line, reader->file.err, "the file is %s, a map of keys is needed",
                              weir_yaml_kind_name(root->kind));
    for (const struct weir_yaml *node = root->first; node != NULL; node = node->next) {
        enum weir_status status;
        if (strcmp(node->key, "collector") == 0)
            status = read_collector(reader, node);
        else if (strcmp(node->key, "sources") == 0)
            status = read_sources(reader, node);
        else if (strcmp(node->key, "keep") == 0)
            status =
                weir_keep_read(reader->file.doc, node, reader->file.names, &reader->policy->keep, reader->file.err);
        else if (strcmp(node->key, "proxies") == 0)
            status = read_proxies(reader, node);
        else
            status = unknown_part(reader, node);
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}

enum weir_status weir_policy_parse(const char *name, const uint8_t *bytes, size_t size, struct weir_names *names,
                                   struct weir_policy **policy, struct weir_error *err) {
    struct weir_policy *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name);
    atomic_init(&made->refs, 1);
    made->keeps_all = true;
    if (size > 0) made->version = XXH3_64bits(bytes, size);
    struct weir_yaml_doc *doc = NULL;
    enum weir_status status = weir_yaml_parse(name, bytes, size, &doc, err);
    if (status == WEIR_OK) {
        struct reader reader = {{doc, names, err}, made};
        status = read_top(&reader, doc->root);
        weir_yaml_free(doc);
    }
    if (status != WEIR_OK) {
        weir_policy_unref(made);
        return status;
    }
    *policy = made;
    return WEIR_OK;
}

enum weir_status weir_policy_load(const char *path, struct weir_names *names, struct weir_policy **policy,
                                  struct weir_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (path == NULL) path = "";
    enum weir_status status = *path == 0 ? WEIR_OK : weir_yaml_read(path, &bytes, &size, err);
    if (status == WEIR_OK) status = weir_policy_parse(path, bytes, size, names, policy, err);
    free(bytes);
    return status;
}

/* A file of which one part alone is asked for; `lacks` says so where it has none. */
static enum weir_status load_part(const char *path, struct weir_names *names, bool (*has)(const struct weir_policy *),
                                  const char *lacks, struct weir_policy **policy, struct weir_error *err) {
    if (path == NULL || *path == 0) return WEIR_OK;
    struct weir_policy *made = NULL;
    enum weir_status status = weir_policy_load(path, names, &made, err);
    if (status != WEIR_OK || made == NULL) return status;
    if (!has(made)) {
        weir_policy_unref(made);
        return weir_fail(err, WEIR_INVALID, 0, false, "%s:1: %s", path, lacks);
    }
    *policy = made;
    return WEIR_OK;
}

static bool has_keep(const struct weir_policy *policy) {
    return policy->keep != NULL;
}

static bool has_proxies(const struct weir_policy *policy) {
    return policy->proxies != NULL;
}

enum weir_status weir_policy_load_shadow(const char *path, struct weir_names *names, struct weir_policy **policy,
                                         struct weir_error *err) {
    return load_part(path, names, has_keep, "a shadow without keep: has nothing to count", policy, err);
}

enum weir_status weir_policy_load_canary(const char *path, struct weir_names *names, struct weir_policy **policy,
                                         struct weir_error *err) {
    return load_part(path, names, has_proxies, "a canary without proxies: has nothing to tell", policy, err);
}
