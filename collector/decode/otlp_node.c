#include "collector/decode/otlp_node.h"
#include "collector/attributes/aliases.h"
#include "collector/core/wire.h"

enum { SPAN_ATTRIBUTES = 9, KEY = 1, VALUE = 2, STRING_VALUE = 1, REQUEST_ID_BYTES = 36, REASON_AT = 14 };
static const char node_key[] = "node_id";

struct text {
    const uint8_t *bytes;
    size_t size;
};

/* KeyValue:  1 key · 2 AnyValue: 1 string_value */
static bool read_attribute(const struct weir_wire_field *attribute, struct text *key, struct text *value) {
    struct weir_wire wire = weir_wire_of(attribute->bytes, attribute->value);
    struct weir_wire_field field, inner;
    *key = *value = (struct text){0};
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == KEY) *key = (struct text){field.bytes, field.value};
        if (field.number != VALUE) continue;
        struct weir_wire any = weir_wire_of(field.bytes, field.value);
        while (weir_wire_next(&any, &inner)) {
            if (inner.number == STRING_VALUE && inner.type == WEIR_WIRE_BYTES)
                *value = (struct text){inner.bytes, inner.value};
        }
    }
    return key->bytes != NULL && value->bytes != NULL;
}

/* Envoy writes its reason into the id's version: 4 none, 9 sampled, a forced, b asked for by the client. Source: Envoy,
 * source/extensions/request_id/uuid/config.cc. */
static bool is_asked_for(const struct text *key, const struct text *value) {
    if (value->size != REQUEST_ID_BYTES || value->bytes[REASON_AT] != 'b') return false;
    const struct weir_alias *alias = weir_alias_of(key->bytes, key->size);
    return alias != NULL && alias->role == WEIR_ROLE_REQUEST_ID;
}

void weir_otlp_node(const uint8_t *bytes, size_t size, struct weir_otlp_node *node) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    struct text key, value;
    *node = (struct weir_otlp_node){0};
    while (weir_wire_next(&wire, &field)) {
        if (field.number != SPAN_ATTRIBUTES || field.type != WEIR_WIRE_BYTES) continue;
        if (!read_attribute(&field, &key, &value)) continue;
        if (key.size == sizeof node_key - 1 && memcmp(key.bytes, node_key, key.size) == 0) {
            node->id = (const char *)value.bytes;
            node->id_size = value.size;
        } else if (is_asked_for(&key, &value)) {
            node->asked_for = true;
        }
    }
}
