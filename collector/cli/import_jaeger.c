/* import_jaeger.c - Jaeger's strategies file, which tells clients what to sample.
 * Source: jaegertracing/jaeger, internal/sampling/samplingstrategy/file (strategy.go, provider.go).
 *
 * A strategy is told to a client, which then sends less. It is no rule on what came: to thin at the collector by the
 * same rates would thin twice. So what comes out is what Weir will tell proxies, `proxies:`, as a comment until there
 * is such a key, and `sources:`, which says what the clients' sampling left out, as a comment to be judged. */
#include "collector/cli/import_write.h"

#include <stdio.h>
#include <string.h>

struct strategy {
    bool known, per_second;
    double param;
};

/* type and param of one strategy, or of one operation's. */
static struct strategy read_strategy(struct import *import, const struct weir_yaml *node, const char *what) {
    struct strategy strategy = {0};
    const char *type = weir_import_text(node, "type");
    if (type == NULL || *type == 0) return strategy;
    bool has = weir_import_number(node, "param", &strategy.param);
    if (strcmp(type, "probabilistic") == 0) {
        strategy.known = has && strategy.param >= 0 && strategy.param <= 1;
        if (!strategy.known)
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: a probability is 0 to 1", what);
    } else if (strcmp(type, "ratelimiting") == 0) {
        strategy.known = strategy.per_second = has && strategy.param >= 0;
    } else {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: a strategy of type %s is not known", what,
                         type);
    }
    return strategy;
}

static void open_name(struct weir_buffer *out, uint32_t indent, const char *name) {
    weir_buffer_printf(out, "%*s", (int)indent, "");
    weir_import_quote(out, name);
    weir_buffer_text(out, ": ");
}

static void write_rate(struct import *import, struct weir_buffer *out, const struct strategy *strategy,
                       const struct weir_yaml *node, const char *what) {
    if (strategy->per_second) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                         "%s: at most %.9g traces a second of each process; Weir tells rates and floors, no ceilings",
                         what, strategy->param);
        weir_buffer_printf(out, "# left out: at most %.9g traces a second", strategy->param);
    } else if (strategy->known) {
        weir_buffer_text(out, "rate: ");
        weir_import_print(out, strategy->param);
    }
}

static void write_operations(struct import *import, struct weir_buffer *out, const struct weir_yaml *list,
                             uint32_t indent, const char *of) {
    if (list == NULL || list->kind != WEIR_YAML_LIST || list->count == 0) return;
    weir_buffer_printf(out, "%*soperations:\n", (int)indent, "");
    for (const struct weir_yaml *node = list->first; node != NULL; node = node->next) {
        const char *name = weir_import_text(node, "operation");
        char what[200];
        snprintf(what, sizeof what, "%s, %s", of, name == NULL ? "an operation without a name" : name);
        struct strategy strategy = read_strategy(import, node, what);
        if (name == NULL) continue;
        if (strategy.per_second) {
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                             "%s: ratelimiting; Jaeger too takes only probabilities for an operation", what);
            continue;
        }
        if (!strategy.known) continue;
        open_name(out, indent + 2, name);
        weir_buffer_text(out, "{ rate: ");
        weir_import_print(out, strategy.param);
        weir_buffer_text(out, " }\n");
    }
}

static void write_services(struct import *import, struct weir_buffer *out, struct weir_buffer *sources,
                           const struct weir_yaml *services) {
    if (services == NULL || services->kind != WEIR_YAML_LIST || services->count == 0) return;
    weir_buffer_text(out, "  services:\n");
    for (const struct weir_yaml *node = services->first; node != NULL; node = node->next) {
        const char *name = weir_import_text(node, "service");
        char what[160];
        snprintf(what, sizeof what, "service %s", name == NULL ? "without a name" : name);
        struct strategy strategy = read_strategy(import, node, what);
        const struct weir_yaml *operations = weir_yaml_get(node, "operation_strategies");
        if (name == NULL) {
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "a service without a name");
            continue;
        }
        open_name(out, 4, name);
        if (out->size > 0) out->bytes[out->size - 1] = '\n'; /* no blank at the line's end */
        weir_buffer_text(out, "      ");
        size_t before = out->size;
        write_rate(import, out, &strategy, node, what);
        if (out->size == before) weir_buffer_text(out, "# as the default");
        weir_buffer_byte(out, '\n');
        write_operations(import, out, operations, 6, what);
        if (strategy.known && !strategy.per_second && strategy.param > 0 && strategy.param < 1) {
            weir_buffer_text(sources, "  - { match: { service: ");
            weir_import_quote(sources, name);
            weir_buffer_text(sources, " }, sampled_at: ");
            weir_import_print(sources, strategy.param);
            weir_buffer_text(sources, " }\n");
        }
    }
}

/* "# " before each line, as it stands. */
static void put_commented(struct weir_buffer *out, const struct weir_buffer *block) {
    const char *at = (const char *)block->bytes, *stop = at + block->size;
    for (const char *end; at < stop && (end = memchr(at, '\n', (size_t)(stop - at))) != NULL; at = end + 1)
        weir_buffer_printf(out, "# %.*s\n", (int)(end - at), at);
    out->failed = out->failed || block->failed;
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
    weir_buffer_text(&proxies, "proxies:\n");
    if (by_default != NULL && by_default->kind == WEIR_YAML_MAP) {
        struct strategy strategy = read_strategy(import, by_default, "the default");
        weir_buffer_text(&proxies, "  default:\n    ");
        write_rate(import, &proxies, &strategy, by_default, "the default");
        weir_buffer_byte(&proxies, '\n');
        write_operations(import, &proxies, weir_yaml_get(by_default, "operation_strategies"), 4, "the default");
    }
    write_services(import, &proxies, &sources, services);
    for (const struct weir_yaml *node = root->first; node != NULL; node = node->next) {
        if (node != by_default && node != services)
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: nothing here is like it", node->key);
    }
    weir_import_note(import, NULL, IMPORT_LEFT_OUT, root->line,
                     "proxies: this version of Weir tells clients nothing; the block stands as a comment");

    struct weir_buffer *out = &import->result->out;
    weir_buffer_byte(&import->head, 0);
    if (!import->head.failed) weir_import_comment(out, 0, (const char *)import->head.bytes);
    weir_buffer_text(out, "\n");
    weir_import_comment(
        out, 0,
        "Jaeger's strategies tell clients what to send. They thin nothing at the collector, and this file "
        "does not either: all that comes is kept. This is what Weir would tell; `weir check` refuses the "
        "key in this version, so it is a comment:");
    weir_buffer_text(out, "#\n");
    put_commented(out, &proxies);
    if (sources.size > 0) {
        weir_buffer_text(out, "\n");
        weir_import_comment(
            out, 0,
            "While a Jaeger goes on telling clients these rates, their spans stand for more than "
            "themselves. Where a service begins its traces itself (nobody before it decides) and obeys, "
            "this makes the counts true; where a caller has decided, it makes them wrong:");
        weir_buffer_text(out, "#\n# sources:\n");
        put_commented(out, &sources);
    }
    out->failed = out->failed || proxies.failed || sources.failed;
    weir_buffer_free(&proxies);
    weir_buffer_free(&sources);
    return WEIR_OK;
}
