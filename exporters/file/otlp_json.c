#include "exporters/file/otlp_json.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"
#include "exporters/json.h"

enum { DEPTH_MAX = 160 /* messages; an AnyValue in a list costs two or three, and decoders stop at 64 of those */ };

enum kind {
    END,
    TEXT,
    HEX,
    BASE64,
    BOOL,
    NUMBER /* varint or fixed 32, up to 32 bits */,
    TEXT_U64 /* as a string */,
    TEXT_I64,
    DOUBLE,
    MESSAGE,
    MESSAGES
};

struct member {
    uint32_t number;
    enum kind kind;
    const char *name;
    const struct member *inner;
};

/* Tables follow opentelemetry/proto/{common,resource,trace}/v1. Absent members are left out, as proto3's JSON does. */
static const struct member any_value[];
static const struct member key_value[] = {{1, TEXT, "key", 0}, {2, MESSAGE, "value", any_value}, {0}};
static const struct member array_value[] = {{1, MESSAGES, "values", any_value}, {0}};
static const struct member map_value[] = {{1, MESSAGES, "values", key_value}, {0}};
static const struct member any_value[] = {
    {1, TEXT, "stringValue", 0},
    {2, BOOL, "boolValue", 0},
    {3, TEXT_I64, "intValue", 0},
    {4, DOUBLE, "doubleValue", 0},
    {5, MESSAGE, "arrayValue", array_value},
    {6, MESSAGE, "kvlistValue", map_value},
    {7, BASE64, "bytesValue", 0},
    {0},
};
static const struct member event[] = {
    {1, TEXT_U64, "timeUnixNano", 0},
    {2, TEXT, "name", 0},
    {3, MESSAGES, "attributes", key_value},
    {4, NUMBER, "droppedAttributesCount", 0},
    {0},
};
static const struct member span_link[] = {
    {1, HEX, "traceId", 0},
    {2, HEX, "spanId", 0},
    {3, TEXT, "traceState", 0},
    {4, MESSAGES, "attributes", key_value},
    {5, NUMBER, "droppedAttributesCount", 0},
    {6, NUMBER, "flags", 0},
    {0},
};
static const struct member status[] = {{2, TEXT, "message", 0}, {3, NUMBER, "code", 0}, {0}};
static const struct member span[] = {
    {1, HEX, "traceId", 0},
    {2, HEX, "spanId", 0},
    {3, TEXT, "traceState", 0},
    {4, HEX, "parentSpanId", 0},
    {16, NUMBER, "flags", 0},
    {5, TEXT, "name", 0},
    {6, NUMBER, "kind", 0},
    {7, TEXT_U64, "startTimeUnixNano", 0},
    {8, TEXT_U64, "endTimeUnixNano", 0},
    {9, MESSAGES, "attributes", key_value},
    {10, NUMBER, "droppedAttributesCount", 0},
    {11, MESSAGES, "events", event},
    {12, NUMBER, "droppedEventsCount", 0},
    {13, MESSAGES, "links", span_link},
    {14, NUMBER, "droppedLinksCount", 0},
    {15, MESSAGE, "status", status},
    {0},
};
static const struct member resource[] = {
    {1, MESSAGES, "attributes", key_value}, {2, NUMBER, "droppedAttributesCount", 0}, {0}};
static const struct member scope[] = {
    {1, TEXT, "name", 0},
    {2, TEXT, "version", 0},
    {3, MESSAGES, "attributes", key_value},
    {4, NUMBER, "droppedAttributesCount", 0},
    {0},
};

struct writer {
    struct weir_buffer *out;
    const char *why; /* the first thing that is broken */
};

static bool fits(enum kind kind, uint32_t type) {
    switch (kind) {
    case BOOL:
    case TEXT_I64: return type == WEIR_WIRE_VARINT;
    case NUMBER: return type == WEIR_WIRE_VARINT || type == WEIR_WIRE_FIXED32;
    case DOUBLE:
    case TEXT_U64: return type == WEIR_WIRE_FIXED64;
    default: return type == WEIR_WIRE_BYTES;
    }
}

static void put_message(struct writer *writer, struct weir_wire wire, const struct member *members, unsigned depth);

static void put_hex(struct weir_buffer *out, const struct weir_wire_field *field) {
    if (!weir_buffer_room(out, 2 * field->value + 2)) return;
    weir_buffer_byte(out, '"');
    weir_hex_encode(field->bytes, field->value, (char *)out->bytes + out->size);
    out->size += 2 * field->value;
    weir_buffer_byte(out, '"');
}

static void put_value(struct writer *writer, const struct member *member, const struct weir_wire_field *field,
                      unsigned depth) {
    struct weir_buffer *out = writer->out;
    switch (member->kind) {
    case TEXT: weir_json_put_string(out, field->bytes, field->value); break;
    case HEX: put_hex(out, field); break;
    case BASE64: weir_json_put_base64(out, field->bytes, field->value); break;
    case BOOL: weir_buffer_text(out, field->value != 0 ? "true" : "false"); break;
    case NUMBER: weir_buffer_u64(out, (uint32_t)field->value); break;
    case DOUBLE: weir_json_put_double(out, weir_wire_double(field->value)); break;
    case TEXT_U64:
    case TEXT_I64:
        weir_buffer_byte(out, '"');
        member->kind == TEXT_U64 ? weir_buffer_u64(out, field->value) : weir_json_put_i64(out, (int64_t)field->value);
        weir_buffer_byte(out, '"');
        break;
    default: put_message(writer, weir_wire_of(field->bytes, field->value), member->inner, depth + 1); break;
    }
}

static void put_name(struct writer *writer, const char *name, bool *first) {
    if (!*first) weir_buffer_byte(writer->out, ',');
    *first = false;
    weir_buffer_byte(writer->out, '"');
    weir_buffer_text(writer->out, name);
    weir_buffer_text(writer->out, "\":");
}

/* One member: of several the last counts, or all in a list. */
static void put_member(struct writer *writer, struct weir_wire wire, const struct member *member, unsigned depth,
                       bool *first) {
    struct weir_wire_field field, last = {0};
    bool list = member->kind == MESSAGES, any = false;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != member->number || !fits(member->kind, field.type)) continue;
        if (list) {
            any ? weir_buffer_byte(writer->out, ',') : put_name(writer, member->name, first);
            if (!any) weir_buffer_byte(writer->out, '[');
            put_value(writer, member, &field, depth);
        }
        any = true;
        last = field;
    }
    if (any && list) weir_buffer_byte(writer->out, ']');
    if (!any || list) return;
    put_name(writer, member->name, first);
    put_value(writer, member, &last, depth);
}

/* The members of a message, in the table's order, without its braces. */
static void put_members(struct writer *writer, struct weir_wire wire, const struct member *members, unsigned depth,
                        bool *first) {
    struct weir_wire check = wire;
    struct weir_wire_field field;
    uint32_t chosen = 0;
    while (weir_wire_next(&check, &field)) {
        for (const struct member *member = members; member->kind != END; member++) {
            if (member->number == field.number && fits(member->kind, field.type)) chosen = field.number;
        }
    }
    if (check.why != NULL || depth > DEPTH_MAX) {
        if (writer->why == NULL) writer->why = check.why != NULL ? check.why : "nested too deep";
        return;
    }
    for (const struct member *member = members; member->kind != END && writer->why == NULL && !writer->out->failed;
         member++) {
        if (members == any_value && member->number != chosen) continue; /* a oneof: the last counts */
        put_member(writer, wire, member, depth, first);
    }
}

static void put_message(struct writer *writer, struct weir_wire wire, const struct member *members, unsigned depth) {
    bool first = true;
    weir_buffer_byte(writer->out, '{');
    put_members(writer, wire, members, depth, &first);
    weir_buffer_byte(writer->out, '}');
}

/* The last field `number` of a message, as bytes; empty when there is none. */
static struct weir_wire find(struct weir_wire wire, uint32_t number) {
    struct weir_wire_field field;
    struct weir_wire found = weir_wire_of((const uint8_t *)"", 0);
    while (weir_wire_next(&wire, &field)) {
        if (field.number == number && field.type == WEIR_WIRE_BYTES) found = weir_wire_of(field.bytes, field.value);
    }
    return found;
}

static void put_service(struct writer *writer, struct weir_wire of_resource) {
    struct weir_wire_field field;
    while (weir_wire_next(&of_resource, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        struct weir_wire pair = weir_wire_of(field.bytes, field.value), key = find(pair, 1);
        if (key.end - key.at != 12 || memcmp(key.at, "service.name", 12) != 0) continue;
        struct weir_wire text = find(find(pair, 2), 1);
        weir_json_put_string(writer->out, text.at, (size_t)(text.end - text.at));
        return;
    }
    weir_buffer_text(writer->out, "\"\"");
}

struct place {
    struct weir_buffer *out;
    struct weir_otlp_json_counts *counts;
    enum weir_status status;
    struct weir_error *err;
    unsigned resource_spans, scope_spans, spans; /* indices, for errors */
    const struct weir_wire *resource, *scope;
};

static void invalid(struct place *place, const char *what, const char *why) {
    if (place->status != WEIR_OK) return;
    place->status = weir_fail(place->err, WEIR_INVALID, 0, false, "resource_spans[%u].scope_spans[%u].%s[%u]: %s",
                              place->resource_spans, place->scope_spans, what, place->spans, why);
}

static void put_span(struct place *place, struct weir_wire wire) {
    struct writer writer = {.out = place->out};
    size_t start = place->out->size;
    bool first = false;
    weir_buffer_text(place->out, "{\"service\":");
    put_service(&writer, *place->resource);
    put_members(&writer, wire, span, 1, &first);
    put_name(&writer, "resource", &first);
    put_message(&writer, *place->resource, resource, 1);
    put_name(&writer, "scope", &first);
    put_message(&writer, *place->scope, scope, 1);
    weir_buffer_text(place->out, "}\n");
    if (writer.why != NULL && !place->out->failed) {
        place->out->size = start;
        place->counts->broken++;
        invalid(place, "spans", writer.why);
    } else {
        place->counts->spans++;
    }
}

/* Calls `each` for every field `number` of the message. */
static void for_each(struct place *place, struct weir_wire wire, uint32_t number, unsigned *index,
                     void (*each)(struct place *, struct weir_wire)) {
    struct weir_wire_field field;
    *index = 0;
    while (!place->out->failed && weir_wire_next(&wire, &field)) {
        if (field.number != number || field.type != WEIR_WIRE_BYTES) continue;
        each(place, weir_wire_of(field.bytes, field.value));
        ++*index;
    }
    if (wire.why != NULL) invalid(place, "spans", wire.why);
}

static void put_scope_spans(struct place *place, struct weir_wire wire) {
    struct weir_wire of_scope = find(wire, 1);
    place->scope = &of_scope;
    for_each(place, wire, 2, &place->spans, put_span);
    place->scope = NULL;
}

static void put_resource_spans(struct place *place, struct weir_wire wire) {
    struct weir_wire of_resource = find(wire, 1);
    place->resource = &of_resource;
    for_each(place, wire, 2, &place->scope_spans, put_scope_spans);
    place->resource = NULL;
}

enum weir_status weir_otlp_json_lines(const uint8_t *bytes, size_t size, struct weir_buffer *out,
                                      struct weir_otlp_json_counts *counts, struct weir_error *err) {
    struct place place = {.out = out, .counts = counts, .status = WEIR_OK, .err = err};
    for_each(&place, weir_wire_of(bytes, size), 1, &place.resource_spans, put_resource_spans);
    if (out->failed) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    return place.status;
}
