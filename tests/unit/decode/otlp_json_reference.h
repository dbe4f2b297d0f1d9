/* otlp_json_reference.h - OTLP/JSON of any protobuf-c message, by its descriptor: what the transcoder's table is not
 * made of. */
#ifndef WEIR_TESTS_OTLP_JSON_REFERENCE_H
#define WEIR_TESTS_OTLP_JSON_REFERENCE_H
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REF_TRACES  (&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor)
#define REF_METRICS (&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor)

/* Writers may choose. */
enum {
    REF_PROTO_NAMES = 1, /* span_id, else spanId */
    REF_INT_NUMBERS = 2, /* 64-bit integers as numbers, else strings */
    REF_ENUM_NAMES = 4,
    REF_UPPER_HEX = 8,
    REF_STYLES = 16,
};

static const char *ref_key(const char *name, unsigned style, char out[64]) {
    char *at = out;
    for (; *name != 0; name++) {
        bool joint = *name == '_' && (style & REF_PROTO_NAMES) == 0;
        name += joint;
        *at++ = (char)(joint ? *name - 'a' + 'A' : *name);
    }
    *at = 0;
    return out;
}

static json_t *ref_bytes(const ProtobufCFieldDescriptor *field, const ProtobufCBinaryData *data, unsigned style) {
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t name_size = strlen(field->name);
    char *text = malloc(2 * data->len + 8), *at = text;
    if (name_size > 3 && strcmp(field->name + name_size - 3, "_id") == 0) {
        for (size_t i = 0; i < data->len; i++)
            at += sprintf(at, (style & REF_UPPER_HEX) != 0 ? "%02X" : "%02x", data->data[i]);
    } else {
        for (size_t i = 0; i < data->len; i += 3) {
            size_t left = data->len - i;
            uint32_t three = (uint32_t)data->data[i] << 16 | (left > 1 ? (uint32_t)data->data[i + 1] << 8 : 0) |
                             (left > 2 ? data->data[i + 2] : 0);
            *at++ = base64[three >> 18];
            *at++ = base64[three >> 12 & 63];
            *at++ = left > 1 ? base64[three >> 6 & 63] : '=';
            *at++ = left > 2 ? base64[three & 63] : '=';
        }
    }
    json_t *json = json_stringn(text, (size_t)(at - text));
    free(text);
    return json;
}

static json_t *ref_i64(int64_t value, unsigned style) {
    char text[32];
    if ((style & REF_INT_NUMBERS) != 0) return json_integer(value);
    snprintf(text, sizeof text, "%lld", (long long)value);
    return json_string(text);
}

static json_t *ref_u64(uint64_t value, unsigned style) {
    char text[32];
    if (value <= INT64_MAX) return ref_i64((int64_t)value, style);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

static json_t *ref_json(const ProtobufCMessage *message, unsigned style);

static json_t *ref_value(const ProtobufCFieldDescriptor *field, const void *at, unsigned style) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: return ref_i64(*(const int64_t *)at, style);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: return ref_u64(*(const uint64_t *)at, style);
    case PROTOBUF_C_TYPE_BOOL: return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_DOUBLE: {
        double value = *(const double *)at;
        if (isnan(value)) return json_string("NaN");
        if (isinf(value)) return json_string(value > 0 ? "Infinity" : "-Infinity");
        return json_real(value);
    }
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *word = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at);
        return (style & REF_ENUM_NAMES) != 0 && word != NULL ? json_string(word->name) : json_integer(*(const int *)at);
    }
    case PROTOBUF_C_TYPE_STRING: return json_string(*(char *const *)at);
    case PROTOBUF_C_TYPE_BYTES: return ref_bytes(field, at, style);
    case PROTOBUF_C_TYPE_MESSAGE: return ref_json(*(ProtobufCMessage *const *)at, style);
    default: return NULL;
    }
}

static size_t ref_size(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return 8;
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: return 4;
    }
}

static json_t *ref_json(const ProtobufCMessage *message, unsigned style) {
    json_t *object = json_object();
    char key[64];
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const char *at = (const char *)message + field->offset;
        ref_key(field->name, style, key);
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
            if (count == 0) continue;
            json_t *array = json_array();
            const char *items = *(char *const *)at;
            for (size_t k = 0; k < count; k++)
                json_array_append_new(array, ref_value(field, items + k * ref_size(field), style));
            json_object_set_new(object, key, array);
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            *(const uint32_t *)((const char *)message + field->quantifier_offset) != field->id)
            continue;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage *const *)at == NULL) continue;
        json_object_set_new(object, key, ref_value(field, at, style));
    }
    return object;
}

static bool ref_is_nothing(const json_t *json) {
    switch (json_typeof(json)) {
    case JSON_STRING: return json_string_length(json) == 0 || strcmp(json_string_value(json), "0") == 0;
    case JSON_INTEGER:
    case JSON_REAL: return json_number_value(json) == 0;
    case JSON_ARRAY: return json_array_size(json) == 0;
    case JSON_TRUE: return false;
    case JSON_OBJECT: return false;
    default: return true;
    }
}

/* Does `a` say nothing that `b` does not? Numbers and strings of them are equal, ids in either case, and what is absent
 * is zero. */
static bool ref_within(const json_t *a, const json_t *b) {
    if (json_is_object(a)) {
        const char *key;
        json_t *value;
        if (!json_is_object(b)) return false;
        json_object_foreach((json_t *)(uintptr_t)a, key, value) {
            const json_t *other = json_object_get(b, key);
            if (other == NULL ? !ref_is_nothing(value) : !ref_within(value, other)) return false;
        }
        return true;
    }
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        for (size_t i = 0; i < json_array_size(a); i++) {
            if (!ref_within(json_array_get(a, i), json_array_get(b, i))) return false;
        }
        return true;
    }
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    if (json_is_string(a) && json_is_string(b)) return strcasecmp(json_string_value(a), json_string_value(b)) == 0;
    if (json_is_string(a) && json_is_integer(b))
        return strtoll(json_string_value(a), NULL, 10) == json_integer_value(b);
    if (json_is_integer(a) && json_is_string(b)) return ref_within(b, a);
    return json_equal(a, b);
}
#endif
