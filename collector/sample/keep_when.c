/* keep_when.c - `when:` of a rule of `keep:` into conditions and tests. */
#include "collector/config/values.h"
#include "collector/core/operation.h"
#include "collector/sample/keep_read.h"

#include <stdlib.h>
#include <string.h>

/* The node as it would stand on one line; equal texts ask the same. */
// NOLINTNEXTLINE(misc-no-recursion): the file's depth is bounded
static void write_flow(const struct weir_yaml *node, struct weir_buffer *out) {
    bool map = node->kind == WEIR_YAML_MAP;
    if (node->kind == WEIR_YAML_TEXT) weir_buffer_text(out, node->text);
    if (!map && node->kind != WEIR_YAML_LIST) return;
    weir_buffer_text(out, map ? "{" : "[");
    for (const struct weir_yaml *child = node->first; child != NULL; child = child->next) {
        if (child != node->first) weir_buffer_text(out, ", ");
        if (map) weir_buffer_printf(out, "%s: ", child->key);
        write_flow(child, out);
    }
    weir_buffer_text(out, map ? "}" : "]");
}

static struct weir_node *new_node(struct weir_keep_reader *reader, enum weir_node_kind kind) {
    struct weir_node *node = calloc(1, sizeof *node);
    if (node == NULL) return NULL;
    node->kind = kind;
    node->want = true;
    node->made_before = reader->keep->inside->made;
    reader->keep->inside->made = node;
    return node;
}

static void name_node(struct weir_node *node, const struct weir_yaml *from) {
    struct weir_buffer text = {0};
    weir_buffer_printf(&text, "%s: ", from->key);
    write_flow(from, &text);
    size_t size = text.failed ? 0 : text.size;
    if (size >= sizeof node->text) {
        size = sizeof node->text - 4;
        memcpy(node->text + size, "...", 4);
    }
    if (size > 0) memcpy(node->text, text.bytes, size);
    if (node->text[size] != '.') node->text[size] = 0;
    weir_buffer_free(&text);
}

/* ---- values ---- */

static bool read_ns(const char *text, double *out) {
    uint64_t ns;
    if (!weir_value_duration(text, &ns)) return false;
    *out = (double)ns;
    return true;
}
static bool read_count(const char *text, double *out) {
    int64_t count;
    if (!weir_value_integer(text, &count) || count < 0) return false;
    *out = (double)count;
    return true;
}

static const char *skip_blanks(const char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* ">750ms", "<= 2s", "100ms..2s" (both ends in), "500" */
static bool read_range(const char *text, bool (*read)(const char *text, double *out), struct weir_range *range) {
    char low[64];
    *range = (struct weir_range){.min = -1.0 / 0.0, .max = 1.0 / 0.0};
    text = skip_blanks(text);
    const char *dots = strstr(text, "..");
    if (dots != NULL) {
        size_t size = (size_t)(dots - text);
        if (size >= sizeof low) return false;
        memcpy(low, text, size);
        while (size > 0 && low[size - 1] == ' ')
            size--;
        low[size] = 0;
        return read(low, &range->min) && read(skip_blanks(dots + 2), &range->max) && range->min <= range->max;
    }
    bool above = *text == '>', below = *text == '<', open = text[0] != 0 && text[1] != '=';
    if (!above && !below) {
        if (!read(text, &range->min)) return false;
        range->max = range->min;
        return true;
    }
    text = skip_blanks(text + (open ? 1 : 2));
    if (above) range->min_open = open;
    if (below) range->max_open = open;
    return read(text, above ? &range->min : &range->max);
}

enum { RANGES_MAX = 16 };

static enum weir_status read_ranges(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                    struct weir_node *node, bool (*read)(const char *text, double *out),
                                    const char *what) {
    const struct weir_yaml *one = from->kind == WEIR_YAML_LIST ? from->first : from;
    uint32_t count = from->kind == WEIR_YAML_LIST ? from->count : 1;
    if (count == 0 || count > RANGES_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: %s", from->key,
                              count == 0 ? "an empty list" : "more than 16 entries");
    node->ranges = calloc(count, sizeof *node->ranges);
    if (node->ranges == NULL) return weir_reading_no_memory(&reader->file);
    for (node->count = 0; node->count < count; node->count++, one = one->next) {
        if (!weir_reading_is_text(one) || !read_range(one->text, read, &node->ranges[node->count]))
            return weir_reading_not_a(&reader->file, one, from->key, what);
    }
    return WEIR_OK;
}

static bool is_names(enum weir_node_kind kind) {
    return kind == WEIR_NODE_SERVICE || kind == WEIR_NODE_OPERATION;
}

static enum weir_status read_wanted(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                    enum weir_node_kind kind, const char *key, struct weir_wanted *wanted) {
    char name[WEIR_NAME_BYTES_MAX * 5 / 2 + 8];
    if (!weir_reading_is_text(from)) return weir_reading_wrong_kind(&reader->file, from, key, "text");
    const char *text = from->text;
    size_t size = strlen(text);
    if (size == 0 && is_names(kind))
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: is empty", key);
    wanted->prefix = size > 0 && text[size - 1] == '*';
    if (is_names(kind)) {
        if (size > WEIR_NAME_BYTES_MAX)
            return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: a name is longer than %d bytes",
                                  key, WEIR_NAME_BYTES_MAX);
        if (!wanted->prefix && kind == WEIR_NODE_OPERATION) { /* spans carry templated names */
            size = weir_operation_template((const uint8_t *)text, size, name, sizeof name);
            text = name;
        }
        if (!wanted->prefix) {
            wanted->id = weir_names_intern(reader->file.names, text, size);
            if (wanted->id == WEIR_NAME_OVERFLOW)
                return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                                      "no room for one more name (memory.names), or the name is `overflow`");
        }
    }
    if (wanted->prefix) size--;
    wanted->is_number = weir_value_number(from->text, &wanted->number);
    wanted->text = malloc(size + 1);
    if (wanted->text == NULL) return weir_reading_no_memory(&reader->file);
    memcpy(wanted->text, text, size);
    wanted->text[size] = 0;
    wanted->size = (uint32_t)size;
    return WEIR_OK;
}

static enum weir_status read_texts(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                   struct weir_node *node) {
    const struct weir_yaml *one = from->kind == WEIR_YAML_LIST ? from->first : from;
    uint32_t count = from->kind == WEIR_YAML_LIST ? from->count : 1;
    if (count == 0 || count > KEEP_TEXTS_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: %s", from->key,
                              count == 0 ? "an empty list" : "more than 64 entries");
    node->wanted = calloc(count, sizeof *node->wanted);
    if (node->wanted == NULL) return weir_reading_no_memory(&reader->file);
    for (node->count = 0; node->count < count; one = one->next) {
        enum weir_status status = read_wanted(reader, one, node->kind, from->key, &node->wanted[node->count++]);
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}

/* ---- attributes ---- */

enum weir_status weir_keep_attribute(struct weir_keep_reader *reader, const struct weir_yaml *from, const char *key,
                                     uint8_t *index) {
    struct weir_keep_inside *inside = reader->keep->inside;
    size_t size = strlen(key);
    for (uint32_t i = 0; i < inside->attribute_count; i++) {
        if (strcmp(inside->attributes[i], key) != 0) continue;
        *index = (uint8_t)i;
        return WEIR_OK;
    }
    if (size == 0) return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "key: is empty");
    if (inside->attribute_count == KEEP_ATTRIBUTES_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "more than %d different attributes in one policy", KEEP_ATTRIBUTES_MAX);
    char *copy = strdup(key);
    if (copy == NULL) return weir_reading_no_memory(&reader->file);
    *index = (uint8_t)inside->attribute_count;
    inside->attributes[inside->attribute_count++] = copy;
    inside->ends[(uint8_t)key[size - 1]] |= 1ull << (size & 63);
    reader->keep->asks_attributes = true;
    return WEIR_OK;
}

static enum weir_status compile(struct weir_keep_reader *reader, const struct weir_yaml *from, struct weir_node *node) {
    int code;
    PCRE2_SIZE at;
    if (!weir_reading_is_text(from))
        return weir_reading_wrong_kind(&reader->file, from, "matches", "a regular expression");
    node->code = pcre2_compile((PCRE2_SPTR)from->text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C,
                               &code, &at, NULL);
    if (node->code == NULL) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof why);
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "matches: at character %zu: %s",
                              (size_t)at, (const char *)why);
    }
    pcre2_jit_compile(node->code, PCRE2_JIT_COMPLETE); /* without it, it is only slower */
    return WEIR_OK;
}

static bool read_any_number(const char *text, double *out) {
    return weir_value_number(text, out);
}

/* range: ">= 500", or { min: 1, max: 2 } */
static enum weir_status read_attribute_range(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                             struct weir_node *node) {
    static const char *const known[] = {"min", "max"};
    if (from->kind != WEIR_YAML_MAP) return read_ranges(reader, from, node, read_any_number, "a range of numbers");
    node->ranges = calloc(1, sizeof *node->ranges);
    if (node->ranges == NULL) return weir_reading_no_memory(&reader->file);
    node->count = 1;
    node->ranges[0] = (struct weir_range){.min = -1.0 / 0.0, .max = 1.0 / 0.0};
    for (const struct weir_yaml *child = from->first; child != NULL; child = child->next) {
        bool min = strcmp(child->key, "min") == 0;
        if (!min && strcmp(child->key, "max") != 0)
            return weir_yaml_unknown(reader->file.doc, child, "range", known, 2, reader->file.err);
        if (!weir_reading_is_text(child) ||
            !weir_value_number(child->text, min ? &node->ranges[0].min : &node->ranges[0].max))
            return weir_reading_not_a(&reader->file, child, child->key, "a number");
    }
    if (from->first == NULL || node->ranges[0].min > node->ranges[0].max)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "range: has no number in it");
    return WEIR_OK;
}

static enum weir_status read_attribute(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                       struct weir_node **out) {
    static const char *const known[] = {"key", "equals", "matches", "range", "exists"};
    if (from->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, from, "attribute",
                                       "{ key: ..., equals | matches | range | exists: ... }");
    const struct weir_yaml *key = weir_yaml_get(from, "key"), *how = NULL;
    for (const struct weir_yaml *child = from->first; child != NULL; child = child->next) {
        if (child == key) continue;
        bool is_known = false;
        for (size_t i = 1; i < 5; i++)
            is_known = is_known || strcmp(child->key, known[i]) == 0;
        if (!is_known) return weir_yaml_unknown(reader->file.doc, child, "attribute", known, 5, reader->file.err);
        if (how != NULL)
            return weir_yaml_fail(reader->file.doc, child->line, reader->file.err,
                                  "attribute: %s and %s; one is needed", how->key, child->key);
        how = child;
    }
    if (key == NULL || !weir_reading_is_text(key))
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "attribute: has no key");
    if (how == NULL)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "attribute: says neither equals nor matches, range or exists");
    struct weir_node *node = *out = new_node(reader, WEIR_NODE_EXISTS);
    if (node == NULL) return weir_reading_no_memory(&reader->file);
    enum weir_status status = weir_keep_attribute(reader, key, key->text, &node->attribute);
    if (status != WEIR_OK) return status;
    switch (how->key[1]) {
    case 'q': node->kind = WEIR_NODE_EQUALS; return read_texts(reader, how, node);
    case 'a':
        node->kind = how->key[0] == 'm' ? WEIR_NODE_MATCHES : WEIR_NODE_RANGE;
        return how->key[0] == 'm' ? compile(reader, how, node) : read_attribute_range(reader, how, node);
    default: break;
    }
    if (!weir_reading_is_text(how) || !weir_value_bool(how->text, &node->want))
        return weir_reading_not_a(&reader->file, how, "exists", "true or false");
    return WEIR_OK;
}

/* ---- conditions ---- */

static void append(struct weir_node *parent, struct weir_node *child) {
    struct weir_node **last = &parent->first;
    while (*last != NULL)
        last = &(*last)->next;
    *last = child;
}

/* A list of which each entry is a map of conditions, or of attributes. */
// NOLINTNEXTLINE(misc-no-recursion)
static enum weir_status read_list(struct weir_keep_reader *reader, const struct weir_yaml *from, struct weir_node *node,
                                  bool attributes) {
    if (from->kind != WEIR_YAML_LIST)
        return weir_reading_wrong_kind(&reader->file, from, from->key, "a list of conditions");
    if (from->count == 0)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: an empty list", from->key);
    for (const struct weir_yaml *one = from->first; one != NULL; one = one->next) {
        struct weir_node *child = NULL;
        enum weir_status status =
            attributes ? read_attribute(reader, one, &child) : weir_keep_read_when(reader, one, from->key, &child);
        if (status != WEIR_OK) return status;
        append(node, child);
    }
    return WEIR_OK;
}

static enum weir_status read_kinds(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                   struct weir_node *node) {
    static const char *const kinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    const struct weir_yaml *one = from->kind == WEIR_YAML_LIST ? from->first : from;
    if (one == NULL) return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "kind: an empty list");
    for (; one != NULL; one = from->kind == WEIR_YAML_LIST ? one->next : NULL) {
        uint32_t found = 0;
        for (uint32_t i = 0; weir_reading_is_text(one) && i < 6; i++) {
            if (strcmp(one->text, kinds[i]) == 0) found = 1u << i;
        }
        if (found == 0)
            return weir_reading_not_a(&reader->file, one, "kind",
                                      "one of server, client, producer, consumer, internal, unspecified");
        node->kinds |= found;
    }
    return WEIR_OK;
}

/* What one span can be asked. NULL in *out: it is none of these. */
// NOLINTNEXTLINE(misc-no-recursion)
static enum weir_status read_leaf(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                  struct weir_node **out) {
    static const struct {
        const char *key;
        enum weir_node_kind kind;
    } leaves[] = {
        {"error", WEIR_NODE_ERROR},   {"service", WEIR_NODE_SERVICE},   {"operation", WEIR_NODE_OPERATION},
        {"kind", WEIR_NODE_KIND},     {"sampled", WEIR_NODE_SAMPLED},   {"http_status", WEIR_NODE_HTTP_STATUS},
        {"attribute", WEIR_NODE_ALL}, {"duration", WEIR_NODE_DURATION},
    };
    *out = NULL;
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        if (strcmp(from->key, leaves[i].key) != 0) continue;
        if (leaves[i].kind == WEIR_NODE_ALL && from->kind != WEIR_YAML_LIST) {
            enum weir_status status = read_attribute(reader, from, out);
            if (status == WEIR_OK) name_node(*out, from);
            return status;
        }
        struct weir_node *node = *out = new_node(reader, leaves[i].kind);
        if (node == NULL) return weir_reading_no_memory(&reader->file);
        name_node(node, from);
        switch (node->kind) {
        case WEIR_NODE_ALL: return read_list(reader, from, node, true);
        case WEIR_NODE_SAMPLED:
        case WEIR_NODE_ERROR:
            if (node->kind == WEIR_NODE_SAMPLED) reader->keep->asks_attributes = true; /* the bit is in the body */
            if (!weir_reading_is_text(from) || !weir_value_bool(from->text, &node->want))
                return weir_reading_not_a(&reader->file, from, from->key, "true or false");
            return WEIR_OK;
        case WEIR_NODE_KIND: return read_kinds(reader, from, node);
        case WEIR_NODE_DURATION:
            return read_ranges(reader, from, node, read_ns, "a range of durations, as \">750ms\" or \"100ms..2s\"");
        case WEIR_NODE_HTTP_STATUS:
            return read_ranges(reader, from, node, read_count, "a range of status codes, as 500 or \"500..599\"");
        default: return read_texts(reader, from, node);
        }
    }
    return WEIR_OK;
}

/* The bit of a test that asks `node` of each span; `source` says what it asks. */
static enum weir_status add_test(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                 const struct weir_node *node, struct weir_buffer *source, uint8_t *bit) {
    struct weir_keep *keep = reader->keep;
    struct weir_keep_inside *inside = keep->inside;
    weir_buffer_byte(source, 0);
    if (source->failed) return weir_reading_no_memory(&reader->file);
    for (uint32_t i = 0; i < keep->test_count; i++) {
        if (strcmp(inside->tests[i].source, (const char *)source->bytes) != 0) continue;
        *bit = (uint8_t)i;
        return WEIR_OK;
    }
    if (keep->test_count == WEIR_KEEP_TESTS_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "more than %d different tests of spans in one policy", WEIR_KEEP_TESTS_MAX);
    char *copy = strdup((const char *)source->bytes);
    if (copy == NULL) return weir_reading_no_memory(&reader->file);
    *bit = (uint8_t)keep->test_count;
    inside->tests[keep->test_count++] = (struct weir_keep_test){.node = node, .source = copy};
    return WEIR_OK;
}

/* A condition of a trace that asks its spans: one of them is so. */
static enum weir_status read_test(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                  struct weir_node *asked, struct weir_node **out) {
    struct weir_buffer source = {0};
    struct weir_node *node = *out = new_node(reader, WEIR_NODE_TEST);
    if (node == NULL) return weir_reading_no_memory(&reader->file);
    name_node(node, from);
    if (asked->kind == WEIR_NODE_ERROR || asked->kind == WEIR_NODE_SAMPLED) {
        node->want = asked->want; /* none of them is: the same bit, the other way round */
        asked->want = true;
        weir_buffer_text(&source, from->key);
    } else {
        weir_buffer_printf(&source, "%s: ", from->key);
        write_flow(from, &source);
    }
    enum weir_status status = add_test(reader, from, asked, &source, &node->bit);
    weir_buffer_free(&source);
    return status;
}

// NOLINTNEXTLINE(misc-no-recursion)
static enum weir_status read_one(struct weir_keep_reader *reader, const struct weir_yaml *from, const char *path,
                                 struct weir_node **out) {
    static const char *const of_trace[] = {"error",       "duration", "service", "operation", "attribute",
                                           "http_status", "kind",     "spans",   "sampled",   "span",
                                           "root",        "all",      "any",     "not"};
    static const char *const of_span[] = {"error", "duration", "service", "operation", "attribute", "http_status",
                                          "kind",  "sampled",  "all",     "any",       "not"};
    enum weir_status status;
    if (strcmp(from->key, "all") == 0 || strcmp(from->key, "any") == 0) {
        *out = new_node(reader, from->key[1] == 'l' ? WEIR_NODE_ALL : WEIR_NODE_ANY);
        return *out == NULL ? weir_reading_no_memory(&reader->file) : read_list(reader, from, *out, false);
    }
    if (strcmp(from->key, "not") == 0) {
        status = weir_keep_read_when(reader, from, "not", out);
        if (status == WEIR_OK) (*out)->kind = WEIR_NODE_NOT;
        return status;
    }
    bool is_root = strcmp(from->key, "root") == 0;
    if (!reader->in_span && (is_root || strcmp(from->key, "span") == 0)) {
        struct weir_node *asked = NULL;
        reader->in_span = true;
        status = weir_keep_read_when(reader, from, from->key, &asked);
        reader->in_span = false;
        if (status != WEIR_OK) return status;
        struct weir_node *root = is_root ? new_node(reader, WEIR_NODE_ROOT) : NULL;
        if (is_root && root == NULL) return weir_reading_no_memory(&reader->file);
        if (is_root) append(asked, root);
        return read_test(reader, from, asked, out);
    }
    if (!reader->in_span && (strcmp(from->key, "duration") == 0 || strcmp(from->key, "spans") == 0)) {
        bool duration = from->key[0] == 'd';
        *out = new_node(reader, duration ? WEIR_NODE_TRACE_DURATION : WEIR_NODE_SPAN_COUNT);
        if (*out == NULL) return weir_reading_no_memory(&reader->file);
        name_node(*out, from);
        return read_ranges(reader, from, *out, duration ? read_ns : read_count,
                           duration ? "a range of durations, as \">750ms\" or \"100ms..2s\""
                                    : "a range of counts, as \">100\"");
    }
    struct weir_node *leaf = NULL;
    status = read_leaf(reader, from, &leaf);
    if (status != WEIR_OK) return status;
    if (leaf == NULL) {
        return reader->in_span ? weir_yaml_unknown(reader->file.doc, from, path, of_span,
                                                   sizeof of_span / sizeof *of_span, reader->file.err)
                               : weir_yaml_unknown(reader->file.doc, from, path, of_trace,
                                                   sizeof of_trace / sizeof *of_trace, reader->file.err);
    }
    if (!reader->in_span) return read_test(reader, from, leaf, out);
    *out = leaf;
    return WEIR_OK;
}

/* A map of conditions, all of which have to hold: an ALL node. */
// NOLINTNEXTLINE(misc-no-recursion)
enum weir_status weir_keep_read_when(struct weir_keep_reader *reader, const struct weir_yaml *from, const char *path,
                                     struct weir_node **out) {
    if (from->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, from, path, "a map of conditions");
    if (from->count == 0)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "%s: has no condition", path);
    struct weir_node *all = *out = new_node(reader, WEIR_NODE_ALL);
    if (all == NULL) return weir_reading_no_memory(&reader->file);
    for (const struct weir_yaml *child = from->first; child != NULL; child = child->next) {
        struct weir_node *one = NULL;
        enum weir_status status = read_one(reader, child, path, &one);
        if (status != WEIR_OK) return status;
        append(all, one);
    }
    return WEIR_OK;
}
