#include "collector/core/wire.h"
#include "exporters/zipkin/encode.h"

/* Fields of zipkin.proto. */
enum {
    LIST_SPANS = 1,
    SPAN_TRACE_ID = 1,
    SPAN_PARENT_ID,
    SPAN_ID,
    SPAN_KIND,
    SPAN_NAME,
    SPAN_TIMESTAMP,
    SPAN_DURATION,
    SPAN_LOCAL_ENDPOINT,
    SPAN_REMOTE_ENDPOINT,
    SPAN_ANNOTATIONS,
    SPAN_TAGS,
    SPAN_DEBUG,
    SPAN_SHARED,
    ENDPOINT_SERVICE_NAME = 1,
    ENDPOINT_IPV4,
    ENDPOINT_IPV6,
    ENDPOINT_PORT,
    ANNOTATION_TIMESTAMP = 1,
    ANNOTATION_VALUE,
    ENTRY_KEY = 1,
    ENTRY_VALUE,
};

/* Room of what is not text: keys, lengths (at most 5 bytes each), ids, times, flags of one span. */
enum { SPAN_ROOM = 256, TAG_ROOM = 18 /* three keys, three lengths */, ANNOTATION_ROOM = 21 };

/* enum weir_kind -> zipkin.proto3.Span.Kind; INTERNAL has none (zipkin.md, "SpanKind"). */
static const uint8_t kinds[] = {
    [WEIR_KIND_CLIENT] = 1,
    [WEIR_KIND_SERVER] = 2,
    [WEIR_KIND_PRODUCER] = 3,
    [WEIR_KIND_CONSUMER] = 4,
};

static uint8_t *put_id(uint8_t *out, uint64_t id) {
    id = __builtin_bswap64(id); /* big endian there */
    memcpy(out, &id, 8);
    return out + 8;
}

static inline uint8_t *put_text(uint8_t *out, uint32_t number, struct weir_zipkin_text text) {
    *out++ = (uint8_t)(number << 3 | WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, text.size);
    if (text.size > 0) memcpy(out, text.bytes, text.size);
    return out + text.size;
}

static inline uint8_t *put_tag(uint8_t *out, const struct weir_zipkin_tag *tag) {
    *out++ = SPAN_TAGS << 3 | WEIR_WIRE_BYTES;
    out = weir_wire_put_varint(out, weir_wire_bytes_size(tag->key.size) + weir_wire_bytes_size(tag->value.size));
    out = put_text(out, ENTRY_KEY, tag->key);
    return put_text(out, ENTRY_VALUE, tag->value);
}

static uint8_t *put_endpoint(uint8_t *out, uint32_t number, const struct weir_zipkin_endpoint *endpoint) {
    size_t size = endpoint->both ? weir_wire_bytes_size(16) : 0;
    if (endpoint->name.size > 0) size += weir_wire_bytes_size(endpoint->name.size);
    if (endpoint->ip_size > 0) size += weir_wire_bytes_size(endpoint->ip_size);
    if (endpoint->port > 0) size += 1 + weir_wire_varint_size(endpoint->port);
    out = weir_wire_put_key(out, number, WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, size);
    if (endpoint->name.size > 0) out = put_text(out, ENDPOINT_SERVICE_NAME, endpoint->name);
    if (endpoint->ip_size > 0)
        out = weir_wire_put_bytes(out, endpoint->ip_size == 4 ? ENDPOINT_IPV4 : ENDPOINT_IPV6, endpoint->ip,
                                  endpoint->ip_size);
    if (endpoint->both) out = weir_wire_put_bytes(out, ENDPOINT_IPV6, endpoint->ipv6, 16);
    if (endpoint->port > 0) out = weir_wire_put_uint(out, ENDPOINT_PORT, endpoint->port);
    return out;
}

static uint8_t *put_annotation(uint8_t *out, const struct weir_zipkin_annotation *annotation) {
    out = weir_wire_put_key(out, SPAN_ANNOTATIONS, WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, 9 + weir_wire_bytes_size(annotation->value.size));
    out = weir_wire_put_fixed64(out, ANNOTATION_TIMESTAMP, annotation->timestamp_us);
    return put_text(out, ANNOTATION_VALUE, annotation->value);
}

static bool encode_origin(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin) {
    size_t room = origin->text_bytes + TAG_ROOM * (size_t)origin->tag_count;
    return weir_zipkin_encode_origin(scratch, origin, room + 1, put_tag);
}

static uint8_t *put_body(uint8_t *out, const struct weir_zipkin_scratch *scratch, const struct weir_zipkin_span *span) {
    const struct weir_span *view = span->view;
    *out++ = SPAN_TRACE_ID << 3 | WEIR_WIRE_BYTES;
    *out++ = view->trace_hi != 0 ? 16 : 8; /* a 64-bit id leaves as one */
    if (view->trace_hi != 0) out = put_id(out, view->trace_hi);
    out = put_id(out, view->trace_lo);
    if (view->parent_id != 0 && (view->flags & WEIR_SPAN_ROOT) == 0) { /* a root may be its own parent */
        *out++ = SPAN_PARENT_ID << 3 | WEIR_WIRE_BYTES;
        *out++ = 8;
        out = put_id(out, view->parent_id);
    }
    *out++ = SPAN_ID << 3 | WEIR_WIRE_BYTES;
    *out++ = 8;
    out = put_id(out, view->span_id);
    if (view->kind < sizeof kinds && kinds[view->kind] != 0) {
        *out++ = SPAN_KIND << 3 | WEIR_WIRE_VARINT;
        *out++ = kinds[view->kind];
    }
    if (span->name.size > 0) out = put_text(out, SPAN_NAME, span->name);
    if (span->timestamp_us > 0) out = weir_wire_put_fixed64(out, SPAN_TIMESTAMP, span->timestamp_us);
    if (span->duration_us > 0) out = weir_wire_put_uint(out, SPAN_DURATION, span->duration_us);
    if (weir_zipkin_endpoint_is_there(&span->local)) out = put_endpoint(out, SPAN_LOCAL_ENDPOINT, &span->local);
    if (weir_zipkin_endpoint_is_there(&span->remote)) out = put_endpoint(out, SPAN_REMOTE_ENDPOINT, &span->remote);
    for (uint32_t i = 0; i < span->annotation_count; i++)
        out = put_annotation(out, &span->annotations[i]);
    out = weir_zipkin_put_origin(scratch, span, out, put_tag);
    for (uint32_t i = 0; i < span->tag_count; i++)
        out = put_tag(out, &span->tags[i]);
    if (span->debug) out = weir_wire_put_uint(out, SPAN_DEBUG, 1);
    if (span->shared) out = weir_wire_put_uint(out, SPAN_SHARED, 1);
    return out;
}

static uint8_t *put_span(uint8_t *out, const struct weir_zipkin_scratch *scratch, const struct weir_zipkin_span *span) {
    *out++ = LIST_SPANS << 3 | WEIR_WIRE_BYTES;
    uint8_t *body = out + 2; /* most bodies are 128 to 16,383 bytes long; the others are moved */
    size_t size = (size_t)(put_body(body, scratch, span) - body), length_size = weir_wire_varint_size(size);
    if (length_size != 2) memmove(out + length_size, body, size);
    weir_wire_put_varint(out, size);
    return out + length_size + size;
}

static size_t bound_of(const struct weir_zipkin_span *span) {
    return SPAN_ROOM + span->text_bytes + span->origin->service.size + TAG_ROOM * (size_t)span->tag_count +
           ANNOTATION_ROOM * (size_t)span->annotation_count + span->origin->encoded_size;
}

uint32_t weir_zipkin_encode_proto3(struct weir_zipkin_scratch *scratch, uint32_t first, size_t max_bytes,
                                   struct weir_buffer *out) {
    uint32_t i = first;
    size_t start = out->size;
    for (; i < scratch->batch->span_count; i++) {
        struct weir_zipkin_span span;
        struct weir_zipkin_origin *fresh;
        if (!weir_zipkin_read(scratch, i, &span, &fresh) || (fresh != NULL && !encode_origin(scratch, fresh)) ||
            !weir_buffer_room(out, bound_of(&span)))
            break;
        size_t size = (size_t)(put_span(out->bytes + out->size, scratch, &span) - out->bytes);
        if (i > first && size - start > max_bytes) break;
        out->size = size;
    }
    return i;
}
