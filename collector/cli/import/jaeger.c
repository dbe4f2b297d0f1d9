/* jaeger.c - Jaeger's strategies file, which tells clients what to sample, as `proxies:`.
 * Source: jaegertracing/jaeger, internal/sampling/samplingstrategy/file (strategy.go, provider.go).
 *
 * A strategy is told to a client, which then sends less. It is no rule on what came: to thin at the collector by the
 * same rates would thin twice. What comes out tells clients what Jaeger told them; what Jaeger works out of a file is
 * written out where Weir would take something else:
 *
 *   no type, or an unknown one    0.001, whatever the default says
 *   ratelimiting                  the limit; operations without a row of their own then have 0.001, or the default's
 *                                 rate where the service has no rows at all
 *   operations of the default     are those of every service that has no such row: so it is in `proxies:` too */
#include "collector/cli/import/write.h"
#include "collector/core/names.h"
#include "collector/core/operation.h"
#include "collector/sample/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATIONS_MAX = 2000, SERVICES_MAX = 20000 }; /* what `proxies:` takes (docs/policy.md) */

static const double jaegers_own = 0.001; /* defaultSamplingProbability */

struct strategy {
    bool per_second;
    double param;
};

static struct strategy roughly(struct import *import, const struct weir_yaml *node, struct strategy strategy,
                               const char *what, const char *why) {
    weir_import_note(import, NULL, IMPORT_ROUGH, node->line, "%s: %s %.9g", what, why, strategy.param);
    return strategy;
}

/* type and param of one strategy, or of one operation's. */
static struct strategy read_strategy(struct import *import, const struct weir_yaml *node, const char *what) {
    struct strategy strategy = {.param = jaegers_own};
    const char *type = weir_import_text(node, "type");
    double param = 0;
    if (type == NULL || (strcmp(type, "probabilistic") != 0 && strcmp(type, "ratelimiting") != 0))
        return roughly(import, node, strategy, what,
                       type == NULL || *type == 0 ? "has no type; Jaeger tells its default_sampling_probability then,"
                                                  : "a strategy of an unknown type; Jaeger tells its "
                                                    "default_sampling_probability then,");
    weir_import_number(node, "param", &param); /* none is 0, as there */
    strategy.param = param;
    if (strcmp(type, "ratelimiting") == 0) {
        strategy.per_second = true;
        strategy.param = param < 0 ? 0 : param > INT32_MAX ? INT32_MAX : trunc(param);
        if (strategy.param != param)
            return roughly(import, node, strategy, what, "Jaeger tells whole traces a second,");
    } else if (param < 0 || param > 1) {
        strategy.param = param < 0 ? 0 : 1;
        return roughly(import, node, strategy, what, "a probability is 0 to 1, and clients take it for");
    }
    return strategy;
}

/* ---- names ---- */

/* Of a service or an operation: why `proxies:` has no row of that name, or NULL. */
static const char *name_trouble(const char *name) {
    if (name == NULL || *name == 0) return "has no name";
    if (strlen(name) > WEIR_NAME_BYTES_MAX) return "a name of more than 256 bytes";
    return strcmp(name, "overflow") == 0 ? "is what Weir calls all names that find no room" : NULL;
}

static size_t template_of(const char *name, char *out, size_t out_size) {
    return weir_operation_template((const uint8_t *)name, strlen(name), out, out_size);
}

/* Of two rows for one operation the last counts, as clients have it. Ids in paths are one to Weir. */
static const struct weir_yaml *later_operation(const struct weir_yaml *node, const char *name) {
    char own[WEIR_NAME_BYTES_MAX + 8], other[WEIR_NAME_BYTES_MAX + 8];
    size_t size = template_of(name, own, sizeof own);
    for (node = node->next; node != NULL; node = node->next) {
        const char *next = weir_import_text(node, "operation");
        if (name_trouble(next) != NULL ||
            strcmp(weir_import_text(node, "type") == NULL ? "" : weir_import_text(node, "type"), "ratelimiting") == 0)
            continue;
        if (template_of(next, other, sizeof other) == size && memcmp(own, other, size) == 0) return node;
    }
    return NULL;
}

static const struct weir_yaml *later_service(const struct weir_yaml *node, const char *name) {
    for (node = node->next; node != NULL; node = node->next) {
        const char *next = weir_import_text(node, "service");
        if (next != NULL && strcmp(next, name) == 0) return node;
    }
    return NULL;
}

/* ---- rows ---- */

static void write_operation(struct import *import, struct weir_buffer *out, const struct weir_yaml *node,
                            uint32_t indent, const char *of) {
    const char *name = weir_import_text(node, "operation"), *trouble = name_trouble(name);
    char what[560];
    snprintf(what, sizeof what, "%s, %s", of, name == NULL ? "an operation" : name);
    if (trouble != NULL) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: %s", what, trouble);
        return;
    }
    struct strategy strategy = read_strategy(import, node, what);
    if (strategy.per_second) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                         "%s: ratelimiting; Jaeger too takes only probabilities for an operation", what);
        return;
    }
    const struct weir_yaml *later = later_operation(node, name);
    if (later != NULL) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                         "%s: the operation in line %d is the same, once its ids are templated", what, later->line);
        return;
    }
    weir_buffer_printf(out, "%*s", (int)indent, "");
    weir_import_quote_key(out, name);
    weir_buffer_text(out, ": { rate: ");
    weir_import_print(out, strategy.param);
    weir_buffer_text(out, " }\n");
    import->result->rules++;
}

static void write_operations(struct import *import, struct weir_buffer *out, const struct weir_yaml *list,
                             uint32_t indent, const char *of) {
    struct weir_buffer rows = {0};
    if (list == NULL || list->kind != WEIR_YAML_LIST || list->count == 0) return;
    if (list->count > OPERATIONS_MAX) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, list->line, "%s: more than %d operations", of, OPERATIONS_MAX);
        return;
    }
    for (const struct weir_yaml *node = list->first; node != NULL; node = node->next)
        write_operation(import, &rows, node, indent + 2, of);
    if (rows.size > 0) weir_buffer_printf(out, "%*soperations:\n", (int)indent, "");
    weir_buffer_put(out, rows.bytes, rows.size);
    out->failed = out->failed || rows.failed;
    weir_buffer_free(&rows);
}

static bool has_operations(const struct weir_yaml *node) {
    const struct weir_yaml *list = weir_yaml_get(node, "operation_strategies");
    return list != NULL && list->kind == WEIR_YAML_LIST && list->count > 0;
}

static void write_strategy(struct weir_buffer *out, struct strategy strategy, bool with_rate, uint32_t indent) {
    if (!strategy.per_second || with_rate) {
        weir_buffer_printf(out, "%*srate: ", (int)indent, "");
        weir_import_print(out, strategy.per_second ? jaegers_own : strategy.param);
        weir_buffer_byte(out, '\n');
    }
    if (!strategy.per_second) return;
    weir_buffer_printf(out, "%*smax_traces_per_second: ", (int)indent, "");
    weir_import_print(out, strategy.param);
    weir_buffer_byte(out, '\n');
}

static void write_default(struct import *import, struct weir_buffer *out, const struct weir_yaml *root,
                          const struct weir_yaml *node) {
    struct strategy strategy = {.param = jaegers_own};
    bool is_there = node != NULL && node->kind == WEIR_YAML_MAP;
    if (is_there)
        strategy = read_strategy(import, node, "the default");
    else
        roughly(import, root, strategy, "no default_strategy", "Jaeger tells its default_sampling_probability then,");
    weir_buffer_text(out, "  default:\n");
    write_strategy(out, strategy, true, 4);
    import->result->rules++;
    if (is_there) write_operations(import, out, weir_yaml_get(node, "operation_strategies"), 4, "the default");
}

static void write_source(struct weir_buffer *sources, const char *name, struct strategy strategy) {
    if (strategy.per_second || strategy.param <= 0 || strategy.param >= 1) return;
    weir_buffer_text(sources, "  - { match: { service: ");
    weir_import_quote(sources, name);
    weir_buffer_text(sources, " }, sampled_at: ");
    weir_import_print(sources, strategy.param);
    weir_buffer_text(sources, " }\n");
}

static void write_service(struct import *import, struct weir_buffer *out, struct weir_buffer *sources,
                          const struct weir_yaml *node) {
    const char *name = weir_import_text(node, "service"), *trouble = name_trouble(name);
    char what[280];
    snprintf(what, sizeof what, "service %s", name == NULL ? "without a name" : name);
    if (trouble != NULL) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: %s", what, trouble);
        return;
    }
    const struct weir_yaml *later = later_service(node, name);
    if (later != NULL) { /* the last counts, as there */
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: stands once more in line %d", what,
                         later->line);
        return;
    }
    struct strategy strategy = read_strategy(import, node, what);
    weir_buffer_text(out, "    ");
    weir_import_quote_key(out, name);
    weir_buffer_text(out, ":\n");
    write_strategy(out, strategy, has_operations(node), 6);
    import->result->rules++;
    write_operations(import, out, weir_yaml_get(node, "operation_strategies"), 6, what);
    write_source(sources, name, strategy);
}

static void write_services(struct import *import, struct weir_buffer *out, struct weir_buffer *sources,
                           const struct weir_yaml *list) {
    struct weir_buffer rows = {0};
    if (list == NULL || list->kind != WEIR_YAML_LIST) return;
    if (list->count > SERVICES_MAX) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, list->line, "more than %d services", SERVICES_MAX);
        return;
    }
    for (const struct weir_yaml *node = list->first; node != NULL; node = node->next)
        write_service(import, &rows, sources, node);
    if (rows.size > 0) weir_buffer_text(out, "  services:\n");
    weir_buffer_put(out, rows.bytes, rows.size);
    out->failed = out->failed || rows.failed;
    weir_buffer_free(&rows);
}

/* ---- the file ---- */

/* "# " before each line, as it stands. */
static void put_commented(struct weir_buffer *out, const struct weir_buffer *block) {
    const char *at = (const char *)block->bytes, *stop = at + block->size;
    for (const char *end; at < stop && (end = memchr(at, '\n', (size_t)(stop - at))) != NULL; at = end + 1)
        weir_buffer_printf(out, "# %.*s\n", (int)(end - at), at);
    out->failed = out->failed || block->failed;
}

/* Whether Weir takes it: what was too much of everything. */
static bool is_taken(const struct weir_buffer *proxies, struct weir_error *err) {
    struct weir_names *names = weir_names_new(65536, 8u << 20);
    struct weir_policy *policy = NULL;
    if (names == NULL) return false;
    bool taken = weir_policy_parse("proxies", proxies->bytes, proxies->size, names, &policy, err) == WEIR_OK;
    weir_policy_unref(policy);
    weir_names_free(names);
    return taken;
}

static void put_file(struct import *import, const struct weir_buffer *proxies, const struct weir_buffer *sources,
                     bool taken) {
    struct weir_buffer *out = &import->result->out;
    weir_buffer_byte(&import->head, 0);
    if (!import->head.failed) weir_import_comment(out, 0, (const char *)import->head.bytes);
    weir_buffer_text(out, "\n");
    weir_import_comment(out, 0,
                        "Jaeger's strategies tell clients what to send, and so does this, in Jaeger's place "
                        "(docs/policy.md). It thins nothing at the collector: all that comes is kept.");
    if (taken)
        weir_buffer_put(out, proxies->bytes, proxies->size);
    else
        put_commented(out, proxies);
    if (sources->size > 0) {
        weir_buffer_text(out, "\n");
        weir_import_comment(
            out, 0,
            "While a Jaeger goes on telling clients these rates, their spans stand for more than "
            "themselves. Where a service begins its traces itself (nobody before it decides) and obeys, "
            "this makes the counts true; where a caller has decided, it makes them wrong. When Weir "
            "tells them, `trust: policy` under `proxies:` does it:");
        weir_buffer_text(out, "#\n# sources:\n");
        put_commented(out, sources);
    }
    out->failed = out->failed || proxies->failed || sources->failed;
}

enum weir_status weir_import_jaeger(struct import *import, const struct weir_yaml *root) {
    const struct weir_yaml *by_default = weir_yaml_get(root, "default_strategy");
    const struct weir_yaml *services = weir_yaml_get(root, "service_strategies");
    if (by_default == NULL && services == NULL)
        return weir_yaml_fail(import->doc, root->line, import->err,
                              "neither default_strategy nor service_strategies: no strategies file of Jaeger%s",
                              weir_yaml_get(root, "operationSampling") != NULL ||
                                      weir_yaml_get(root, "probabilisticSampling") != NULL
                                  ? ", but its answer to one client"
                                  : "");
    struct weir_buffer proxies = {0}, sources = {0};
    struct weir_error err = {0};
    weir_buffer_text(&proxies, "proxies:\n");
    write_default(import, &proxies, root, by_default);
    write_services(import, &proxies, &sources, services);
    for (const struct weir_yaml *node = root->first; node != NULL; node = node->next) {
        if (node != by_default && node != services)
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: nothing here is like it", node->key);
    }
    bool taken = !proxies.failed && is_taken(&proxies, &err);
    if (!taken) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, root->line, "all of it, which stands as a comment: %s",
                         err.text);
        import->result->rules = 0;
    }
    put_file(import, &proxies, &sources, taken);
    weir_buffer_free(&proxies);
    weir_buffer_free(&sources);
    return WEIR_OK;
}
