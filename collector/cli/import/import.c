#include "collector/cli/import/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const weir_import_names[4] = {"", "otel", "jaeger", "refinery"};

/* Variables stay what they are: `${` becomes `$${`, which the reader turns back. An importer must not need them set. */
static void keep_variables(struct weir_buffer *out, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '$' && i + 1 < size && bytes[i + 1] == '{' && (i == 0 || bytes[i - 1] != '$'))
            weir_buffer_byte(out, '$');
        weir_buffer_byte(out, bytes[i]);
    }
}

static enum weir_import_from guess(const struct weir_yaml *root) {
    if (weir_yaml_get(root, "Samplers") != NULL || weir_yaml_get(root, "RulesVersion") != NULL)
        return WEIR_IMPORT_REFINERY;
    if (weir_yaml_get(root, "default_strategy") != NULL || weir_yaml_get(root, "service_strategies") != NULL ||
        weir_yaml_get(root, "operationSampling") != NULL)
        return WEIR_IMPORT_JAEGER;
    if (weir_yaml_get(root, "processors") != NULL || weir_yaml_get(root, "policies") != NULL) return WEIR_IMPORT_OTEL;
    for (const struct weir_yaml *node = root->first; node != NULL; node = node->next) {
        if (strncmp(node->key, "tail_sampling", 13) == 0) return WEIR_IMPORT_OTEL;
    }
    return WEIR_IMPORT_GUESS;
}

static enum weir_status read_root(struct import *import, const struct weir_yaml *root) {
    enum weir_import_from from = import->options->from;
    if (root->kind != WEIR_YAML_MAP)
        return weir_yaml_fail(import->doc, root->line, import->err, "is %s, a map of keys is needed",
                              weir_yaml_kind_name(root->kind));
    if (from == WEIR_IMPORT_GUESS) from = guess(root);
    import->result->from = from;
    switch (from) {
    case WEIR_IMPORT_OTEL: return weir_import_otel(import, root);
    case WEIR_IMPORT_JAEGER: return weir_import_jaeger(import, root);
    case WEIR_IMPORT_REFINERY: return weir_import_refinery(import, root);
    default:
        return weir_yaml_fail(import->doc, root->line, import->err,
                              "neither policies of tail_sampling nor strategies of Jaeger nor rules of Refinery; say "
                              "--from otel, jaeger or refinery");
    }
}

static void free_import(struct import *import) {
    for (uint32_t i = 0; i < import->rule_count; i++) {
        struct import_rule *rule = &import->rules[i];
        weir_buffer_free(&rule->name);
        weir_buffer_free(&rule->comment);
        weir_buffer_free(&rule->dynamic);
        weir_buffer_free(&rule->when);
    }
    weir_buffer_free(&import->head);
    weir_buffer_free(&import->settings);
    free(import);
}

struct note {
    long line;
    size_t place;
    const char *text;
    size_t size;
};
static int by_line(const void *a, const void *b) {
    const struct note *x = a, *y = b;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* In the order of the file that they speak of. */
static void sort_notes(struct weir_buffer *notes, size_t name_size) {
    size_t count = 0;
    for (size_t i = 0; i < notes->size; i++)
        count += notes->bytes[i] == '\n';
    struct note *list = calloc(count + 1, sizeof *list);
    struct weir_buffer sorted = {0};
    const char *at = (const char *)notes->bytes;
    for (size_t i = 0; list != NULL && i < count; i++) {
        const char *end = strchr(at, '\n');
        list[i] = (struct note){strtol(at + name_size + 1, NULL, 10), i, at, (size_t)(end - at) + 1};
        at = end + 1;
    }
    if (list != NULL) qsort(list, count, sizeof *list, by_line);
    for (size_t i = 0; list != NULL && i < count; i++)
        weir_buffer_put(&sorted, list[i].text, list[i].size);
    sorted.failed = sorted.failed || list == NULL;
    weir_buffer_free(notes);
    *notes = sorted;
    free(list);
}

enum weir_status weir_import(const char *name, const uint8_t *bytes, size_t size,
                             const struct weir_import_options *options, struct weir_import_result *result,
                             struct weir_error *err) {
    static const char *const whose[] = {"", "policies of the OpenTelemetry Collector's tail_sampling",
                                        "strategies of Jaeger", "rules of Refinery"};
    struct weir_yaml_doc *doc = NULL;
    struct weir_buffer text = {0};
    *result = (struct weir_import_result){0};
    struct import *import = calloc(1, sizeof *import);
    keep_variables(&text, bytes, size);
    enum weir_status status = import == NULL || text.failed ? weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name)
                                                            : weir_yaml_parse(name, text.bytes, text.size, &doc, err);
    if (status == WEIR_OK) {
        import->doc = doc;
        import->options = options;
        import->result = result;
        import->err = err;
        status = read_root(import, doc->root);
    }
    if (status == WEIR_OK) {
        struct weir_buffer head = {0};
        weir_buffer_printf(&head, "From %s: %s, by `weir import`. See docs/import.md.", doc->name, whose[result->from]);
        weir_buffer_byte(&head, 0);
        struct weir_buffer body = result->out;
        result->out = (struct weir_buffer){0};
        if (!head.failed) weir_import_comment(&result->out, 0, (const char *)head.bytes);
        weir_buffer_put(&result->out, body.bytes, body.size);
        if (result->from != WEIR_IMPORT_JAEGER) weir_import_write(import);
        if (!result->notes.failed && result->notes.size > 0) {
            weir_buffer_byte(&result->notes, 0); /* ends it for strchr() */
            result->notes.size--;
            if (!result->notes.failed) sort_notes(&result->notes, strlen(doc->name));
        }
        if (body.failed || head.failed || import->head.failed || result->out.failed || result->notes.failed)
            status = weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name);
        weir_buffer_free(&body);
        weir_buffer_free(&head);
    }
    weir_buffer_free(&text);
    weir_yaml_free(doc);
    if (import != NULL) free_import(import);
    return status;
}

void weir_import_free(struct weir_import_result *result) {
    weir_buffer_free(&result->out);
    weir_buffer_free(&result->notes);
}
