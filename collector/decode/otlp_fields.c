#include "collector/decode/otlp_fields.h"
#include "collector/core/utf8.h"
#include "collector/decode/otlp.h"

#define TEXT(label)                                                                                                    \
    { .name = (label), .type = WEIR_WIRE_BYTES, .text = 1 }
#define BYTES(label)                                                                                                   \
    { .name = (label), .type = WEIR_WIRE_BYTES }
#define NUMBER(label)                                                                                                  \
    { .name = (label), .type = WEIR_WIRE_VARINT }
#define FIXED(label)                                                                                                   \
    { .name = (label), .type = WEIR_WIRE_FIXED64 }
#define FIXED32(label)                                                                                                 \
    { .name = (label), .type = WEIR_WIRE_FIXED32 }
#define INSIDE(label, what)                                                                                            \
    { .name = (label), .type = WEIR_WIRE_BYTES, .message = (what) }

const struct weir_otlp_field weir_otlp_fields[WEIR_OTLP_MESSAGES][WEIR_OTLP_FIELDS] = {
    [WEIR_OTLP_REQUEST] = {[1] = INSIDE("resource_spans", WEIR_OTLP_RESOURCE_SPANS)},
    [WEIR_OTLP_RESOURCE_SPANS] = {[1] = INSIDE("resource", WEIR_OTLP_RESOURCE),
                                  [2] = INSIDE("scope_spans", WEIR_OTLP_SCOPE_SPANS),
                                  [3] = TEXT("schema_url")},
    [WEIR_OTLP_SCOPE_SPANS] =
        {[1] = INSIDE("scope", WEIR_OTLP_SCOPE), [2] = INSIDE("spans", WEIR_OTLP_SPAN), [3] = TEXT("schema_url")},
    [WEIR_OTLP_RESOURCE] = {[1] = INSIDE("attributes", WEIR_OTLP_KEY_VALUE),
                            [2] = NUMBER("dropped_attributes_count"),
                            [3] = INSIDE("entity_refs", WEIR_OTLP_ENTITY_REF)},
    [WEIR_OTLP_ENTITY_REF] =
        {[1] = TEXT("schema_url"), [2] = TEXT("type"), [3] = TEXT("id_keys"), [4] = TEXT("description_keys")},
    [WEIR_OTLP_SCOPE] = {[1] = TEXT("name"),
                         [2] = TEXT("version"),
                         [3] = INSIDE("attributes", WEIR_OTLP_KEY_VALUE),
                         [4] = NUMBER("dropped_attributes_count")},
    [WEIR_OTLP_SPAN] = {[1] = BYTES("trace_id"),
                        [2] = BYTES("span_id"),
                        [3] = TEXT("trace_state"),
                        [4] = BYTES("parent_span_id"),
                        [5] = TEXT("name"),
                        [6] = NUMBER("kind"),
                        [7] = FIXED("start_time_unix_nano"),
                        [8] = FIXED("end_time_unix_nano"),
                        [9] = INSIDE("attributes", WEIR_OTLP_KEY_VALUE),
                        [10] = NUMBER("dropped_attributes_count"),
                        [11] = INSIDE("events", WEIR_OTLP_EVENT),
                        [12] = NUMBER("dropped_events_count"),
                        [13] = INSIDE("links", WEIR_OTLP_LINK),
                        [14] = NUMBER("dropped_links_count"),
                        [15] = INSIDE("status", WEIR_OTLP_STATUS),
                        [16] = FIXED32("flags")},
    [WEIR_OTLP_EVENT] = {[1] = FIXED("time_unix_nano"),
                         [2] = TEXT("name"),
                         [3] = INSIDE("attributes", WEIR_OTLP_KEY_VALUE),
                         [4] = NUMBER("dropped_attributes_count")},
    [WEIR_OTLP_LINK] = {[1] = BYTES("trace_id"),
                        [2] = BYTES("span_id"),
                        [3] = TEXT("trace_state"),
                        [4] = INSIDE("attributes", WEIR_OTLP_KEY_VALUE),
                        [5] = NUMBER("dropped_attributes_count"),
                        [6] = FIXED32("flags")},
    [WEIR_OTLP_STATUS] = {[2] = TEXT("message"), [3] = NUMBER("code")},
    [WEIR_OTLP_KEY_VALUE] = {[1] = TEXT("key"), [2] = INSIDE("value", WEIR_OTLP_ANY_VALUE)},
    [WEIR_OTLP_ANY_VALUE] = {[1] = TEXT("string_value"),
                             [2] = NUMBER("bool_value"),
                             [3] = NUMBER("int_value"),
                             [4] = FIXED("double_value"),
                             [5] = INSIDE("array_value", WEIR_OTLP_ARRAY),
                             [6] = INSIDE("kvlist_value", WEIR_OTLP_LIST),
                             [7] = BYTES("bytes_value")},
    [WEIR_OTLP_ARRAY] = {[1] = INSIDE("values", WEIR_OTLP_ANY_VALUE)},
    [WEIR_OTLP_LIST] = {[1] = INSIDE("values", WEIR_OTLP_KEY_VALUE)},
};

static bool broken(struct weir_otlp_finding *finding, const char *why, const char *field, const uint8_t *at) {
    *finding = (struct weir_otlp_finding){.why = why, .field = field, .at = at};
    return false;
}

bool weir_otlp_check(enum weir_otlp_message message, struct weir_wire wire, unsigned depth,
                     struct weir_otlp_finding *finding) {
    struct weir_wire_field field;
    const uint8_t *start = wire.at;
    while (weir_wire_next(&wire, &field)) {
        const struct weir_otlp_field *row = weir_otlp_field(message, field.number);
        if (row == NULL) {
        } else if (row->type != field.type) {
            return broken(finding, "another wire type than the field has", row->name, start);
        } else if (row->message != WEIR_OTLP_NOTHING) {
            if (depth >= WEIR_DEPTH_MAX) return broken(finding, "nested too deep", row->name, start);
            if (!weir_otlp_check(row->message, weir_wire_of(field.bytes, field.value), depth + 1, finding)) {
                if (finding->field == NULL) finding->field = row->name;
                return false;
            }
        } else if (row->text && !weir_utf8_valid(field.bytes, field.value)) {
            finding->bad_text = true;
        }
        start = wire.at;
    }
    return wire.why == NULL || broken(finding, wire.why, NULL, wire.at);
}

static uint8_t *put_key(uint8_t *out, const struct weir_wire_field *field) {
    return weir_wire_put_varint(out, (uint64_t)field->number << 3 | field->type);
}

/* Puts the length in front of what stands at `body`, up to `end`, and moves that behind it. */
static uint8_t *put_length(uint8_t *out, uint8_t *body, const uint8_t *end) {
    size_t size = (size_t)(end - body), length = weir_wire_varint_size(size);
    memmove(out + length, body, size);
    weir_wire_put_varint(out, size);
    return out + length + size;
}

uint8_t *weir_otlp_repair(enum weir_otlp_message message, struct weir_wire wire, uint8_t *out, uint32_t *repaired) {
    struct weir_wire_field field;
    const uint8_t *start = wire.at;
    while (weir_wire_next(&wire, &field)) {
        const struct weir_otlp_field *row = weir_otlp_field(message, field.number);
        if (row != NULL && row->message != WEIR_OTLP_NOTHING) {
            out = put_key(out, &field);
            /* The body is written where it will stand if its length takes as many bytes as before, which is seldom
             * wrong. */
            uint8_t *body = out + weir_wire_varint_size(field.value);
            out = put_length(out, body,
                             weir_otlp_repair(row->message, weir_wire_of(field.bytes, field.value), body, repaired));
        } else if (row != NULL && row->text && !weir_utf8_valid(field.bytes, field.value)) {
            out = put_key(out, &field);
            uint8_t *body = out + weir_wire_varint_size(field.value);
            out = put_length(out, body, body + weir_utf8_repair(field.bytes, field.value, body));
            ++*repaired;
        } else {
            size_t size = (size_t)(wire.at - start);
            memcpy(out, start, size);
            out += size;
        }
        start = wire.at;
    }
    return out;
}
