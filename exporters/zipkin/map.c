#include "exporters/zipkin/map.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"
#include "exporters/json.h"
#include "exporters/zipkin/own.h"
#include "exporters/zipkin/remote.h"
#include "exporters/zipkin/value.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((struct weir_zipkin_text){.bytes = (const uint8_t *)(literal), .size = sizeof(literal) - 1})

/* Field numbers of opentelemetry/proto/trace/v1/trace.proto, Span and its parts. */
enum {
    SPAN_TRACE_STATE = 3,
    SPAN_NAME = 5,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_EVENTS = 11,
    SPAN_DROPPED_EVENTS = 12,
    SPAN_LINKS = 13,
    SPAN_DROPPED_LINKS = 14,
    SPAN_STATUS = 15,
};

static bool text_is(struct weir_zipkin_text text, const char *want, size_t size) {
    return text.size == size && (size == 0 || (text.bytes != NULL && memcmp(text.bytes, want, size) == 0));
}
#define IS(text, literal) text_is(text, literal, sizeof(literal) - 1)

static uint64_t key_bit(struct weir_zipkin_text key) {
    if (key.size == 0) return 1;
    return 1ull << ((key.size * 5u + key.bytes[0] + 3u * key.bytes[key.size - 1]) & 63);
}

static bool grow(void **array, uint32_t *capacity, uint32_t want, size_t element) {
    if (want <= *capacity) return true;
    uint32_t more = *capacity < 32 ? 32 : *capacity;
    while (more < want)
        more *= 2;
    void *grown = realloc(*array, more * element);
    if (grown == NULL) return false;
    *array = grown;
    *capacity = more;
    return true;
}

/* What was rendered into `buffer` since `start`; its address is filled in when the buffer has stopped growing. */
static struct weir_zipkin_text rendered(const struct weir_buffer *buffer, size_t start) {
    return (struct weir_zipkin_text){.bytes = NULL, .size = (uint32_t)(buffer->size - start), .at = (uint32_t)start};
}

static struct weir_zipkin_text resolved(struct weir_zipkin_text text, const struct weir_buffer *buffer) {
    if (text.bytes == NULL && text.size > 0) text.bytes = buffer->bytes + text.at;
    return text;
}

/* ---- attributes ---- */

struct attribute {
    struct weir_zipkin_text key, value;
    unsigned type;   /* the field of its AnyValue; 0 = none */
    uint64_t number; /* of an integer value, or of a boolean one */
};

/* An AnyValue as text; all but strings are rendered into `buffer`. */
static void read_value(struct weir_wire wire, struct weir_buffer *buffer, struct attribute *attribute) {
    struct weir_wire_field field, last = {0};
    struct weir_wire all = wire;
    while (weir_wire_next(&wire, &field)) {
        if (field.number >= 1 && field.number <= 7) last = field;
    }
    if (last.number == 1 && last.type == WEIR_WIRE_BYTES) {
        attribute->value = (struct weir_zipkin_text){.bytes = last.bytes, .size = (uint32_t)last.value};
        return;
    }
    size_t start = buffer->size;
    attribute->type = last.number;
    if (last.number == 2 && last.type == WEIR_WIRE_VARINT) {
        attribute->value = last.value != 0 ? TEXT("true") : TEXT("false");
        attribute->number = last.value != 0;
    } else if (last.number == 3 && last.type == WEIR_WIRE_VARINT) {
        attribute->number = last.value;
        weir_json_put_i64(buffer, (int64_t)last.value);
        attribute->value = rendered(buffer, start);
    } else {
        weir_zipkin_value_text(buffer, all);
        attribute->value = rendered(buffer, start);
    }
}

/* One KeyValue. */
static inline void read_attribute(const uint8_t *bytes, size_t size, struct weir_buffer *buffer,
                                  struct attribute *attribute) {
    attribute->type = 1;
    attribute->number = 0;
    /* 0a KK key 12 VV 0a SS string: a string below 126 bytes, what nearly every attribute is */
    if (size >= 6 && size < 256 && bytes[0] == 0x0a && bytes[1] < 0x80 && bytes[1] + 6u <= size) {
        const uint8_t *value = bytes + 2 + bytes[1];
        size_t rest = size - 2 - bytes[1];
        if (value[0] == 0x12 && value[1] < 0x80 && value[1] + 2u == rest && value[2] == 0x0a && value[3] + 4u == rest) {
            attribute->key = (struct weir_zipkin_text){.bytes = bytes + 2, .size = bytes[1]};
            attribute->value = (struct weir_zipkin_text){.bytes = value + 4, .size = value[3]};
            return;
        }
    }
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    struct weir_wire value = {0};
    attribute->key = attribute->value = (struct weir_zipkin_text){0};
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1)
            attribute->key = (struct weir_zipkin_text){.bytes = field.bytes, .size = (uint32_t)field.value};
        if (field.number == 2) value = weir_wire_of(field.bytes, field.value);
    }
    read_value(value, buffer, attribute);
}

/* ---- what an origin gives ---- */

static bool add_origin_tag(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin,
                           struct weir_zipkin_text key, struct weir_zipkin_text value) {
    void *array = scratch->origin_tags;
    if (!grow(&array, &scratch->origin_tag_capacity, scratch->origin_tag_count + 1, sizeof *scratch->origin_tags))
        return false;
    scratch->origin_tags = array;
    scratch->origin_tags[scratch->origin_tag_count++] = (struct weir_zipkin_tag){key, value};
    origin->tag_count++;
    origin->keys |= key_bit(key);
    origin->text_bytes += key.size + (size_t)value.size;
    return true;
}

static bool add_origin_attributes(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin,
                                  struct weir_wire wire, uint32_t number) {
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != number || field.type != WEIR_WIRE_BYTES) continue;
        struct attribute attribute;
        read_attribute(field.bytes, field.value, &scratch->origin_text, &attribute);
        if (scratch->origin_text.failed) return false;
        if (number == 1 && IS(attribute.key, "service.name")) {
            if (attribute.value.bytes != NULL && attribute.value.size > 0)
                origin->service = attribute.value; /* a string, as it must be */
        } else if (!add_origin_tag(scratch, origin, attribute.key, attribute.value)) {
            return false;
        }
    }
    return true;
}

static bool add_scope(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin, struct weir_wire wire) {
    struct weir_wire_field field;
    for (struct weir_wire at = wire; weir_wire_next(&at, &field);) {
        if ((field.number != 1 && field.number != 2) || field.type != WEIR_WIRE_BYTES || field.value == 0) continue;
        struct weir_zipkin_text value = {.bytes = field.bytes, .size = (uint32_t)field.value};
        if (field.number == 1 && weir_zipkin_own_scope(value)) {
            origin->from_zipkin = true;
            continue;
        }
        /* The deprecated aliases MUST be reported too (mapping-to-non-otlp.md, InstrumentationScope). */
        if (!add_origin_tag(scratch, origin, field.number == 1 ? TEXT("otel.scope.name") : TEXT("otel.scope.version"),
                            value) ||
            !add_origin_tag(scratch, origin,
                            field.number == 1 ? TEXT("otel.library.name") : TEXT("otel.library.version"), value)) {
            return false;
        }
    }
    return add_origin_attributes(scratch, origin, wire, 3);
}

static bool meet_origin(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin,
                        const struct weir_origin_parts *parts) {
    origin->first_tag = scratch->origin_tag_count;
    if (!add_origin_attributes(scratch, origin, weir_wire_of(parts->resource, parts->resource_size), 1) ||
        !add_scope(scratch, origin, weir_wire_of(parts->scope, parts->scope_size)))
        return false;
    if (origin->service.size == 0 && !origin->from_zipkin) /* OpenTelemetry specification, resource/sdk.md */
        origin->service = TEXT("unknown_service");
    return true;
}

/* Texts are valid until the next origin is met. */
static struct weir_zipkin_tag origin_tag(const struct weir_zipkin_scratch *scratch,
                                         const struct weir_zipkin_origin *origin, uint32_t k) {
    struct weir_zipkin_tag tag = scratch->origin_tags[origin->first_tag + k];
    tag.value = resolved(tag.value, &scratch->origin_text);
    return tag;
}

bool weir_zipkin_encode_origin(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin, size_t room,
                               uint8_t *(*put)(uint8_t *out, const struct weir_zipkin_tag *tag)) {
    struct weir_buffer *buffer = &scratch->encoded;
    if (!weir_buffer_room(buffer, room)) return false;
    uint8_t *start = buffer->bytes + buffer->size, *out = start;
    struct weir_zipkin_tag tag;
    for (uint32_t k = 0; k < origin->tag_count; k++) {
        tag = origin_tag(scratch, origin, k);
        out = put(out, &tag);
    }
    origin->encoded_at = (uint32_t)buffer->size;
    origin->encoded_size = (uint32_t)(out - start);
    buffer->size += origin->encoded_size;
    origin->known = true;
    return true;
}

static bool has_tag(const struct weir_zipkin_span *span, struct weir_zipkin_text key) {
    for (uint32_t i = 0; i < span->tag_count; i++) {
        if (text_is(span->tags[i].key, (const char *)key.bytes, key.size)) return true;
    }
    return false;
}

uint8_t *weir_zipkin_put_origin(const struct weir_zipkin_scratch *scratch, const struct weir_zipkin_span *span,
                                uint8_t *out, uint8_t *(*put)(uint8_t *out, const struct weir_zipkin_tag *tag)) {
    const struct weir_zipkin_origin *origin = span->origin;
    if (origin->encoded_size == 0) return out;
    if (!span->repeats_origin) {
        memcpy(out, scratch->encoded.bytes + origin->encoded_at, origin->encoded_size);
        return out + origin->encoded_size;
    }
    for (uint32_t k = 0; k < origin->tag_count; k++) {
        struct weir_zipkin_tag tag = origin_tag(scratch, origin, k);
        if (!has_tag(span, tag.key)) out = put(out, &tag);
    }
    return out;
}

/* ---- what a span gives ---- */

static bool add_tag(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_zipkin_text key,
                    struct weir_zipkin_text value) {
    if (span->tag_count == scratch->tag_capacity) {
        void *array = scratch->tags;
        if (!grow(&array, &scratch->tag_capacity, span->tag_count + 1, sizeof *scratch->tags)) return false;
        scratch->tags = array;
    }
    scratch->tags[span->tag_count++] = (struct weir_zipkin_tag){key, value};
    span->text_bytes += key.size + (size_t)value.size;
    if (key.bytes != NULL && (span->origin->keys & key_bit(key)) != 0) span->repeats_origin = true;
    return true;
}

static bool add_number(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_zipkin_text key,
                       uint64_t number) {
    if (number == 0) return true;
    size_t start = scratch->text.size;
    weir_buffer_u64(&scratch->text, number);
    return add_tag(scratch, span, key, rendered(&scratch->text, start));
}

/* {"key":value,...} of the KeyValues that are field `number` of `wire`. False: there was none, nothing written. */
static bool put_attributes(struct weir_buffer *out, struct weir_wire wire, uint32_t number) {
    struct weir_wire_field field;
    bool any = false;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != number || field.type != WEIR_WIRE_BYTES) continue;
        weir_buffer_byte(out, any ? ',' : '{');
        weir_zipkin_pair_json(out, weir_wire_of(field.bytes, field.value), 1);
        any = true;
    }
    if (any) weir_buffer_byte(out, '}');
    return any;
}

/* An event without attributes is an annotation of its name; with them, of "name":{"key":value} (zipkin.md, "Events").
 */
static bool add_event(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_wire wire) {
    struct weir_wire_field field;
    struct weir_zipkin_text name = {.bytes = (const uint8_t *)""};
    uint64_t time_ns = 0, dropped = 0;
    bool attributes = false;
    for (struct weir_wire at = wire; weir_wire_next(&at, &field);) {
        if (field.number == 1 && field.type == WEIR_WIRE_FIXED64) time_ns = field.value;
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES)
            name = (struct weir_zipkin_text){.bytes = field.bytes, .size = (uint32_t)field.value};
        if (field.number == 3 && field.type == WEIR_WIRE_BYTES) attributes = true;
        if (field.number == 4 && field.type == WEIR_WIRE_VARINT) dropped = field.value;
    }
    void *array = scratch->annotations;
    if (!grow(&array, &scratch->annotation_capacity, span->annotation_count + 1, sizeof *scratch->annotations))
        return false;
    scratch->annotations = array;
    struct weir_zipkin_annotation *annotation = &scratch->annotations[span->annotation_count++];
    annotation->timestamp_us = time_ns >= 1000 ? time_ns / 1000 : span->timestamp_us > 0 ? span->timestamp_us : 1;
    annotation->value = name;
    if (attributes || dropped > 0) {
        struct weir_buffer *out = &scratch->text;
        size_t start = out->size;
        weir_json_put_string(out, name.bytes, name.size);
        weir_buffer_byte(out, ':');
        bool any = put_attributes(out, wire, 3);
        if (dropped > 0) {
            if (any && !out->failed) out->size--; /* opens the object again */
            weir_buffer_text(out, any ? ",\"otel.dropped_attributes_count\":" : "{\"otel.dropped_attributes_count\":");
            weir_buffer_u64(out, dropped);
            weir_buffer_byte(out, '}');
        }
        annotation->value = rendered(out, start);
    }
    span->text_bytes += annotation->value.size;
    return true;
}

static void put_hex(struct weir_buffer *out, const struct weir_wire_field *id) {
    if (id->value > 16 || !weir_buffer_room(out, 2 * id->value)) return;
    weir_hex_encode(id->bytes, id->value, (char *)out->bytes + out->size);
    out->size += 2 * id->value;
}

/* otlp.link.N = trace id|span id|tracestate|attributes as JSON|dropped attributes
 * Source: opentelemetry-collector-contrib, pkg/translator/zipkin/zipkinv2/from_translator.go. */
static bool add_link(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_wire wire,
                     unsigned number) {
    struct weir_buffer *out = &scratch->text;
    struct weir_wire_field field, part[3] = {0};
    uint64_t dropped = 0;
    for (struct weir_wire at = wire; weir_wire_next(&at, &field);) {
        if (field.number >= 1 && field.number <= 3 && field.type == WEIR_WIRE_BYTES) part[field.number - 1] = field;
        if (field.number == 5 && field.type == WEIR_WIRE_VARINT) dropped = field.value;
    }
    size_t key_at = out->size;
    weir_buffer_text(out, "otlp.link.");
    weir_buffer_u64(out, number);
    struct weir_zipkin_text key = rendered(out, key_at);
    size_t start = out->size;
    put_hex(out, &part[0]);
    weir_buffer_byte(out, '|');
    put_hex(out, &part[1]);
    weir_buffer_byte(out, '|');
    weir_buffer_put(out, part[2].bytes, part[2].value);
    weir_buffer_byte(out, '|');
    if (!put_attributes(out, wire, 4)) weir_buffer_text(out, "{}");
    weir_buffer_byte(out, '|');
    weir_buffer_u64(out, dropped);
    return !out->failed && add_tag(scratch, span, key, rendered(out, start));
}

struct status {
    uint64_t code;
    struct weir_zipkin_text message;
};

static void read_status(struct weir_wire wire, struct status *status) {
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES)
            status->message = (struct weir_zipkin_text){.bytes = field.bytes, .size = (uint32_t)field.value};
        if (field.number == 3 && field.type == WEIR_WIRE_VARINT) status->code = field.value;
    }
}

static bool add_status(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span,
                       const struct status *status) {
    if (status->code == WEIR_STATUS_OK) return add_tag(scratch, span, TEXT("otel.status_code"), TEXT("OK"));
    if (status->code != WEIR_STATUS_ERROR) return true;
    return add_tag(scratch, span, TEXT("otel.status_code"), TEXT("ERROR")) &&
           add_tag(scratch, span, TEXT("error"), status->message);
}

/* The tags that a status or a changed weight replaces. */
static void drop_tags(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_zipkin_text key) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < span->tag_count; i++) {
        if (!text_is(scratch->tags[i].key, (const char *)key.bytes, key.size)) scratch->tags[kept++] = scratch->tags[i];
    }
    span->tag_count = kept;
}

static bool read_body(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span, struct weir_wire wire) {
    const struct weir_span *view = span->view;
    bool from_zipkin = span->origin->from_zipkin;
    bool calls = !from_zipkin && (view->kind == WEIR_KIND_CLIENT || view->kind == WEIR_KIND_PRODUCER);
    bool own_error = false;
    struct weir_zipkin_own own = {0};
    unsigned links = 0;
    struct status status = {.code = WEIR_STATUS_UNSET};
    struct weir_zipkin_text tracestate = {0};
    struct weir_zipkin_remote remote;
    struct weir_wire_field field;
    struct attribute attribute;
    uint64_t dropped[3] = {0};
    if (calls) memset(&remote, 0, sizeof remote);
    while (weir_wire_next(&wire, &field)) {
        if (field.type == WEIR_WIRE_VARINT) {
            if (field.number == SPAN_DROPPED_ATTRIBUTES) dropped[0] = field.value;
            if (field.number == SPAN_DROPPED_EVENTS) dropped[1] = field.value;
            if (field.number == SPAN_DROPPED_LINKS) dropped[2] = field.value;
            continue;
        }
        if (field.type != WEIR_WIRE_BYTES) continue;
        switch (field.number) {
        case SPAN_ATTRIBUTES:
            read_attribute(field.bytes, field.value, &scratch->text, &attribute);
            if (from_zipkin) {
                if (weir_zipkin_own_take(&own, attribute.key, attribute.value, attribute.type, attribute.number, span))
                    break;
            } else if (IS(attribute.key, "error")) {
                /* "a boolean version SHOULD be removed. Zipkin will treat any span with `error` sent as failed." */
                if (IS(attribute.value, "false")) break;
                own_error = true;
            }
            if (!add_tag(scratch, span, attribute.key, attribute.value)) return false;
            if (calls)
                weir_zipkin_remote_offer(&remote, attribute.key, attribute.value,
                                         attribute.type == 3 ? attribute.number : 0);
            break;
        case SPAN_NAME:
            span->name = (struct weir_zipkin_text){.bytes = field.bytes, .size = (uint32_t)field.value};
            break;
        case SPAN_TRACE_STATE:
            tracestate = (struct weir_zipkin_text){.bytes = field.bytes, .size = (uint32_t)field.value};
            break;
        case SPAN_EVENTS:
            if (!add_event(scratch, span, weir_wire_of(field.bytes, field.value))) return false;
            break;
        case SPAN_LINKS:
            if (!add_link(scratch, span, weir_wire_of(field.bytes, field.value), links++)) return false;
            break;
        case SPAN_STATUS: read_status(weir_wire_of(field.bytes, field.value), &status); break;
        default: break;
        }
    }
    if (own_error && status.code == WEIR_STATUS_ERROR) drop_tags(scratch, span, TEXT("error"));
    if (calls) {
        weir_zipkin_remote_close(&remote);
        span->remote = remote.endpoint;
        span->text_bytes += remote.endpoint.name.size;
    }
    span->text_bytes += span->name.size;
    return (from_zipkin || add_status(scratch, span, &status)) && /* its failure is the tag that it came with */
           add_number(scratch, span, TEXT("otel.dropped_attributes_count"), dropped[0]) &&
           add_number(scratch, span, TEXT("otel.dropped_events_count"), dropped[1]) &&
           add_number(scratch, span, TEXT("otel.dropped_links_count"), dropped[2]) &&
           (tracestate.size == 0 || add_tag(scratch, span, TEXT("w3c.tracestate"), tracestate));
}

/* Rendered texts get their addresses; those of tags and annotations only, for nothing else is rendered. */
static void resolve(struct weir_zipkin_scratch *scratch, struct weir_zipkin_span *span) {
    for (uint32_t i = 0; i < span->tag_count; i++) {
        scratch->tags[i].key = resolved(scratch->tags[i].key, &scratch->text);
        scratch->tags[i].value = resolved(scratch->tags[i].value, &scratch->text);
    }
    for (uint32_t i = 0; i < span->annotation_count; i++) {
        scratch->annotations[i].value = resolved(scratch->annotations[i].value, &scratch->text);
    }
}

bool weir_zipkin_begin(struct weir_zipkin_scratch *scratch, const struct weir_batch *batch) {
    if (batch->origin_count > scratch->origin_capacity) {
        struct weir_zipkin_origin *origins = realloc(scratch->origins, batch->origin_count * sizeof *origins);
        if (origins == NULL) return false;
        scratch->origins = origins;
        scratch->origin_capacity = batch->origin_count;
    }
    if (batch->origin_count > 0) memset(scratch->origins, 0, batch->origin_count * sizeof *scratch->origins);
    scratch->batch = batch;
    scratch->origin_tag_count = 0;
    weir_buffer_clear(&scratch->origin_text);
    weir_buffer_clear(&scratch->encoded);
    return true;
}

bool weir_zipkin_read(struct weir_zipkin_scratch *scratch, uint32_t i, struct weir_zipkin_span *span,
                      struct weir_zipkin_origin **fresh) {
    const struct weir_span *view = &scratch->batch->spans[i];
    struct weir_zipkin_origin *origin = &scratch->origins[view->origin];
    *fresh = NULL;
    if (!origin->known) {
        if (!meet_origin(scratch, origin, &scratch->batch->origins[view->origin]->parts)) return false;
        *fresh = origin;
    }
    memset(span, 0, sizeof *span);
    weir_buffer_clear(&scratch->text);
    span->view = view;
    span->origin = origin;
    /* Microseconds, and a duration of at least one: zero means unknown there (zipkin.proto, Span.duration). */
    span->timestamp_us = view->start_ns / 1000;
    span->duration_us = view->duration_ns / 1000;
    if (span->duration_us == 0 && !origin->from_zipkin) span->duration_us = view->start_ns > 0 || view->duration_ns > 0;
    span->local.name = origin->service;
    if (!origin->from_zipkin) { /* which says so itself, and may have a tag by that name */
        span->debug = (view->flags & WEIR_SPAN_DEBUG) != 0;
        span->shared = (view->flags & WEIR_SPAN_SHARED) != 0;
    }
    if (!read_body(scratch, span, weir_wire_of(scratch->batch->bytes + view->offset, view->size)) ||
        scratch->text.failed)
        return false;
    if (scratch->text.size > 0) resolve(scratch, span);
    span->tags = scratch->tags;
    span->annotations = scratch->annotations;
    return true;
}

void weir_zipkin_scratch_free(struct weir_zipkin_scratch *scratch) {
    free(scratch->tags);
    free(scratch->annotations);
    free(scratch->origins);
    free(scratch->origin_tags);
    weir_buffer_free(&scratch->text);
    weir_buffer_free(&scratch->origin_text);
    weir_buffer_free(&scratch->encoded);
    *scratch = (struct weir_zipkin_scratch){0};
}
