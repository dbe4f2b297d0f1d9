#include "exporters/zipkin/value.h"
#include "exporters/json.h"

enum { DEPTH_MAX = 64 /* the decoder refuses what is deeper (collector/decode/otlp.h, WEIR_DEPTH_MAX) */ };

/* Members of AnyValue's oneof. */
enum { ANY_STRING = 1, ANY_BOOL, ANY_INT, ANY_DOUBLE, ANY_ARRAY, ANY_MAP, ANY_BYTES };

/* The last member counts, as for any oneof. number 0: an empty value. */
static struct weir_wire_field member_of(struct weir_wire value) {
    struct weir_wire_field field, last = {0};
    while (weir_wire_next(&value, &field)) {
        if (field.number >= ANY_STRING && field.number <= ANY_BYTES) last = field;
    }
    return last;
}

static void list_json(struct weir_buffer *out, const struct weir_wire_field *list, unsigned depth) {
    struct weir_wire wire = weir_wire_of(list->bytes, list->value);
    struct weir_wire_field field = {0};
    bool map = list->number == ANY_MAP, first = true;
    weir_buffer_byte(out, map ? '{' : '[');
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        if (!first) weir_buffer_byte(out, ',');
        first = false;
        struct weir_wire inner = weir_wire_of(field.bytes, field.value);
        map ? weir_zipkin_pair_json(out, inner, depth + 1) : weir_zipkin_value_json(out, inner, depth + 1);
    }
    weir_buffer_byte(out, map ? '}' : ']');
}

static void member_json(struct weir_buffer *out, const struct weir_wire_field *field, unsigned depth) {
    bool bytes = field->type == WEIR_WIRE_BYTES;
    switch (depth > DEPTH_MAX ? 0 : field->number) {
    case ANY_STRING:
        if (bytes) return weir_json_put_string(out, field->bytes, field->value);
        break;
    case ANY_BOOL: return weir_buffer_text(out, !bytes && field->value != 0 ? "true" : "false");
    case ANY_INT:
        if (!bytes) return weir_json_put_i64(out, (int64_t)field->value);
        break;
    case ANY_DOUBLE:
        if (field->type == WEIR_WIRE_FIXED64) return weir_json_put_double(out, weir_wire_double(field->value));
        break;
    case ANY_ARRAY:
    case ANY_MAP:
        if (bytes) return list_json(out, field, depth);
        break;
    case ANY_BYTES:
        if (bytes) return weir_json_put_base64(out, field->bytes, field->value);
        break;
    default: break;
    }
    weir_buffer_text(out, "null");
}

void weir_zipkin_value_json(struct weir_buffer *out, struct weir_wire value, unsigned depth) {
    struct weir_wire_field field = member_of(value);
    member_json(out, &field, depth);
}

void weir_zipkin_pair_json(struct weir_buffer *out, struct weir_wire pair, unsigned depth) {
    struct weir_wire_field field, key = {.bytes = (const uint8_t *)""};
    struct weir_wire value = {0};
    while (weir_wire_next(&pair, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1) key = field;
        if (field.number == 2) value = weir_wire_of(field.bytes, field.value);
    }
    weir_json_put_string(out, key.bytes, key.value);
    weir_buffer_byte(out, ':');
    weir_zipkin_value_json(out, value, depth);
}

void weir_zipkin_value_text(struct weir_buffer *out, struct weir_wire value) {
    struct weir_wire_field field = member_of(value);
    if (field.number == 0) return;
    size_t start = out->size;
    member_json(out, &field, 0);
    bool quoted = field.number == ANY_STRING || field.number == ANY_BYTES || field.number == ANY_DOUBLE;
    if (out->failed || !quoted || out->bytes[start] != '"') return;
    /* base64, NaN and Infinity need no quotes outside of JSON and have nothing escaped; strings do not come here. */
    memmove(out->bytes + start, out->bytes + start + 1, out->size - start - 2);
    out->size -= 2;
}
