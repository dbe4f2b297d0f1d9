/* span_test.c - one span asked: is it what a condition speaks of? */
#include "collector/config/values.h"
#include "collector/core/wire.h"
#include "collector/sample/keep_inside.h"

#include <string.h>

enum { SPAN_ATTRIBUTES = 9, SPAN_FLAGS = 16, RESOURCE_ATTRIBUTES = 1 }; /* trace.proto, resource.proto */
enum { SUBJECT_BYTES_MAX = 32 * 1024 /* of what a regular expression looks at */ };

/* ---- what the body says ---- */

static void take_pair(struct weir_span_facts *facts, const struct weir_wire_field *attribute, bool over) {
    const struct weir_keep_inside *inside = facts->inside;
    struct weir_wire pair = weir_wire_of(attribute->bytes, attribute->value);
    struct weir_wire_field field, key = {0}, any = {0}, inner;
    while (weir_wire_next(&pair, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1) key = field;
        if (field.number == 2) any = field;
    }
    if (key.value == 0 || (inside->ends[key.bytes[key.value - 1]] >> (key.value & 63) & 1) == 0) return;
    for (uint32_t i = 0; i < inside->attribute_count; i++) {
        if (strlen(inside->attributes[i]) != key.value || memcmp(inside->attributes[i], key.bytes, key.value) != 0)
            continue;
        if (!over && facts->values[i].number != 0) return;
        struct weir_wire wire = weir_wire_of(any.bytes, any.value);
        while (weir_wire_next(&wire, &inner)) {
            facts->values[i] =
                (struct weir_value){inner.number, inner.value, inner.type == WEIR_WIRE_BYTES ? inner.bytes : NULL};
        }
        return;
    }
}

void weir_span_facts_read(struct weir_span_facts *facts, const struct weir_batch *batch, uint32_t i) {
    const struct weir_span *span = &batch->spans[i];
    memset(facts->values, 0, facts->inside->attribute_count * sizeof facts->values[0]);
    facts->sampled = false;
    struct weir_wire wire = weir_wire_of(batch->bytes + span->offset, span->size);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == SPAN_ATTRIBUTES && field.type == WEIR_WIRE_BYTES) take_pair(facts, &field, true);
        if (field.number == SPAN_FLAGS && field.type == WEIR_WIRE_FIXED32) facts->sampled = (field.value & 1) != 0;
    }
    if (facts->inside->attribute_count == 0) return;
    const struct weir_origin_parts *parts = &batch->origins[span->origin]->parts;
    wire = weir_wire_of(parts->resource, parts->resource_size);
    while (weir_wire_next(&wire, &field)) {
        if (field.number == RESOURCE_ATTRIBUTES && field.type == WEIR_WIRE_BYTES) take_pair(facts, &field, false);
    }
}

/* ---- values ---- */

static bool number_of(const struct weir_value *value, double *out) {
    char text[48];
    switch (value->number) {
    case 1: /* Envoy and Zipkin say numbers as text */
        if (value->bits == 0 || value->bits >= sizeof text) return false;
        memcpy(text, value->text, value->bits);
        text[value->bits] = 0;
        return weir_value_number(text, out);
    case 3: *out = (double)(int64_t)value->bits; return true;
    case 4: *out = weir_wire_double(value->bits); return true;
    default: return false;
    }
}

static bool value_is(const struct weir_value *value, const struct weir_wanted *wanted) {
    double number;
    switch (value->number) {
    case 1:
        if (wanted->prefix) {
            return value->bits >= wanted->size && memcmp(value->text, wanted->text, wanted->size) == 0;
        }
        return value->bits == wanted->size && memcmp(value->text, wanted->text, wanted->size) == 0;
    case 2: return strcmp(wanted->text, value->bits != 0 ? "true" : "false") == 0;
    default: return wanted->is_number && number_of(value, &number) && number == wanted->number;
    }
}

static bool matches(const struct weir_node *node, const struct weir_keep_inside *inside,
                    const struct weir_value *value) {
    if (value->number != 1 || value->bits > SUBJECT_BYTES_MAX) return false;
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    if (found == NULL) return false;
    int how = pcre2_match(node->code, value->bits > 0 ? value->text : (const uint8_t *)"", value->bits, 0, 0, found,
                          inside->match);
    pcre2_match_data_free(found);
    return how >= 0;
}

static bool name_is(const struct weir_node *node, const struct weir_names *names, uint32_t id) {
    for (uint32_t i = 0; i < node->count; i++) {
        const struct weir_wanted *wanted = &node->wanted[i];
        if (!wanted->prefix) {
            if (wanted->id == id) return true;
            continue;
        }
        size_t size;
        const char *text = weir_names_text(names, id, &size);
        if (size >= wanted->size && memcmp(text, wanted->text, wanted->size) == 0) return true;
    }
    return false;
}

static bool in_a_range(const struct weir_node *node, double value) {
    for (uint32_t i = 0; i < node->count; i++) {
        if (weir_range_has(&node->ranges[i], value)) return true;
    }
    return false;
}

static bool all_of(const struct weir_node *node, const struct weir_span_facts *facts) {
    for (const struct weir_node *child = node->first; child != NULL; child = child->next) {
        if (!weir_span_test(child, facts)) return false;
    }
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the file, which is bounded
bool weir_span_test(const struct weir_node *node, const struct weir_span_facts *facts) {
    const struct weir_span *span = facts->span;
    const struct weir_value *value = &facts->values[node->attribute];
    double number;
    switch (node->kind) {
    case WEIR_NODE_ALL: return all_of(node, facts);
    case WEIR_NODE_NOT: return !all_of(node, facts);
    case WEIR_NODE_ANY:
        for (const struct weir_node *child = node->first; child != NULL; child = child->next) {
            if (weir_span_test(child, facts)) return true;
        }
        return false;
    case WEIR_NODE_ERROR: return (span->status == WEIR_STATUS_ERROR) == node->want;
    case WEIR_NODE_ROOT: return (span->flags & WEIR_SPAN_ROOT) != 0;
    case WEIR_NODE_SERVICE: return name_is(node, facts->names, span->service);
    case WEIR_NODE_OPERATION: return name_is(node, facts->names, span->operation);
    case WEIR_NODE_KIND: return (node->kinds >> (span->kind & 31) & 1) != 0;
    case WEIR_NODE_SAMPLED: return facts->sampled == node->want;
    case WEIR_NODE_DURATION: return in_a_range(node, (double)span->duration_ns);
    case WEIR_NODE_HTTP_STATUS: return span->http_status != 0 && in_a_range(node, span->http_status);
    case WEIR_NODE_EXISTS: return (value->number != 0) == node->want;
    case WEIR_NODE_EQUALS:
        for (uint32_t i = 0; i < node->count; i++) {
            if (value_is(value, &node->wanted[i])) return true;
        }
        return false;
    case WEIR_NODE_MATCHES: return matches(node, facts->inside, value);
    case WEIR_NODE_RANGE: return number_of(value, &number) && in_a_range(node, number);
    default: return false; /* of a trace */
    }
}
