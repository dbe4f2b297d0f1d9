#include "collector/decode/span_writer.h"
#include "collector/core/utf8.h"
#include "collector/core/wire.h"

#include <assert.h>

enum { FIELD_BYTES = 16 /* a key and a varint, or a fixed-size value */, SPANS_AT_A_TIME = 64 };

uint8_t *weir_span_room(struct weir_span_writer *writer, size_t size) {
    struct weir_batch *batch = writer->batch;
    if (writer->full) return NULL;
    if (batch->capacity - batch->size < size) {
        /* A growing buffer doubles; where the budget has no room for that, it takes what is needed. */
        bool doubled = batch->capacity > size && weir_batch_room(batch, batch->capacity) == WEIR_OK;
        if (!doubled && weir_batch_room(batch, size) != WEIR_OK) {
            writer->full = true;
            return NULL;
        }
    }
    return batch->bytes + batch->size;
}

void weir_span_wrote(struct weir_span_writer *writer, const uint8_t *end) {
    writer->batch->size = (size_t)(end - writer->batch->bytes);
}

void weir_span_begin(struct weir_span_writer *writer, struct weir_batch *batch) {
    *writer = (struct weir_span_writer){.batch = batch, .start = batch->size};
}

void weir_span_cancel(struct weir_span_writer *writer) {
    writer->batch->size = writer->start;
}

/* ---- nested messages ---- */

size_t weir_span_open(struct weir_span_writer *writer, uint32_t field_number) {
    uint8_t *at = weir_span_room(writer, FIELD_BYTES);
    if (at == NULL) return 0;
    at = weir_wire_put_key(at, field_number, WEIR_WIRE_BYTES);
    *at++ = 0; /* most are shorter than 128 bytes: one byte for the length, more when it turns out otherwise */
    weir_span_wrote(writer, at);
    return writer->batch->size;
}

void weir_span_close(struct weir_span_writer *writer, size_t mark) {
    if (writer->full) return;
    struct weir_batch *batch = writer->batch;
    size_t size = batch->size - mark, more = weir_wire_varint_size(size) - 1;
    if (more > 0) {
        if (weir_span_room(writer, more) == NULL) return;
        memmove(batch->bytes + mark + more, batch->bytes + mark, size);
        batch->size += more;
    }
    weir_wire_put_varint(batch->bytes + mark - 1, size);
}

/* ---- the fields of a span ---- */

static uint8_t *put_id(uint8_t *at, uint64_t id) {
    id = __builtin_bswap64(id);
    memcpy(at, &id, 8);
    return at + 8;
}

void weir_span_ids(struct weir_span_writer *writer, uint64_t trace_hi, uint64_t trace_lo, uint64_t span_id,
                   uint64_t parent_id) {
    uint8_t *at = weir_span_room(writer, 3 * FIELD_BYTES);
    if (at == NULL) return;
    *at++ = 1 << 3 | WEIR_WIRE_BYTES;
    *at++ = 16;
    at = put_id(put_id(at, trace_hi), trace_lo);
    *at++ = 2 << 3 | WEIR_WIRE_BYTES;
    *at++ = 8;
    at = put_id(at, span_id);
    if (parent_id != 0) {
        *at++ = 4 << 3 | WEIR_WIRE_BYTES;
        *at++ = 8;
        at = put_id(at, parent_id);
    }
    weir_span_wrote(writer, at);
}

void weir_span_kind(struct weir_span_writer *writer, enum weir_kind kind) {
    uint8_t *at = weir_span_room(writer, FIELD_BYTES);
    if (at != NULL && kind != WEIR_KIND_UNSPECIFIED) weir_span_wrote(writer, weir_wire_put_uint(at, 6, kind));
}

void weir_span_times(struct weir_span_writer *writer, uint64_t start_ns, uint64_t end_ns) {
    uint8_t *at = weir_span_room(writer, 2 * FIELD_BYTES);
    if (at == NULL) return;
    if (start_ns != 0) at = weir_wire_put_fixed64(at, 7, start_ns);
    if (end_ns != 0) at = weir_wire_put_fixed64(at, 8, end_ns);
    weir_span_wrote(writer, at);
}

static void put_bytes(struct weir_span_writer *writer, uint32_t number, const void *bytes, size_t size) {
    uint8_t *at = weir_span_room(writer, FIELD_BYTES + size);
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_bytes(at, number, bytes, size));
}

void weir_span_name(struct weir_span_writer *writer, const void *text, size_t size) {
    put_bytes(writer, 5, text, size);
}

void weir_span_tracestate(struct weir_span_writer *writer, const void *text, size_t size) {
    put_bytes(writer, 3, text, size);
}

/* KeyValue{1 key, 2 AnyValue} with an AnyValue of value_size bytes. Returns where that is to be written, or NULL. */
static uint8_t *put_pair(struct weir_span_writer *writer, const void *key, size_t key_size, size_t value_size) {
    size_t pair_size = weir_wire_bytes_size(key_size) + weir_wire_bytes_size(value_size);
    uint8_t *at = weir_span_room(writer, FIELD_BYTES + pair_size);
    if (at == NULL) return NULL;
    at = weir_wire_put_key(at, 9, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, pair_size);
    at = weir_wire_put_bytes(at, 1, key, key_size);
    at = weir_wire_put_key(at, 2, WEIR_WIRE_BYTES);
    return weir_wire_put_varint(at, value_size);
}

void weir_span_text(struct weir_span_writer *writer, const void *key, size_t key_size, const void *text, size_t size) {
    uint8_t *at = put_pair(writer, key, key_size, weir_wire_bytes_size(size));
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_bytes(at, 1, text, size));
}

void weir_span_int(struct weir_span_writer *writer, const void *key, size_t key_size, int64_t value) {
    uint8_t *at = put_pair(writer, key, key_size, 1 + weir_wire_varint_size((uint64_t)value));
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_uint(at, 3, (uint64_t)value));
}

void weir_span_double(struct weir_span_writer *writer, const void *key, size_t key_size, double value) {
    uint8_t *at = put_pair(writer, key, key_size, 9);
    uint64_t bits;
    memcpy(&bits, &value, 8);
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_fixed64(at, 4, bits));
}

void weir_span_bool(struct weir_span_writer *writer, const void *key, size_t key_size, bool value) {
    uint8_t *at = put_pair(writer, key, key_size, 2);
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_uint(at, 2, value));
}

void weir_span_event(struct weir_span_writer *writer, uint64_t time_ns, const void *name, size_t size) {
    size_t event_size = 9 + weir_wire_bytes_size(size);
    uint8_t *at = weir_span_room(writer, FIELD_BYTES + event_size);
    if (at == NULL) return;
    at = weir_wire_put_key(at, 11, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, event_size);
    at = weir_wire_put_fixed64(at, 1, time_ns);
    weir_span_wrote(writer, weir_wire_put_bytes(at, 2, name, size));
}

void weir_span_status(struct weir_span_writer *writer, enum weir_span_status code, const void *message, size_t size) {
    size_t status_size = (size > 0 ? weir_wire_bytes_size(size) : 0) + 2;
    uint8_t *at = weir_span_room(writer, FIELD_BYTES + status_size);
    if (at == NULL) return;
    at = weir_wire_put_key(at, 15, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, status_size);
    if (size > 0) at = weir_wire_put_bytes(at, 2, message, size);
    weir_span_wrote(writer, weir_wire_put_uint(at, 3, code));
}

/* ---- its end ---- */

enum weir_status weir_span_end(struct weir_span_writer *writer, struct weir_otlp *otlp, uint16_t origin,
                               uint8_t receiver, struct weir_otlp_counts *counts, struct weir_error *err) {
    struct weir_batch *batch = writer->batch;
    struct weir_span span;
    enum weir_status status = WEIR_OK;
    if (!writer->full && batch->span_count == batch->span_capacity)
        writer->full = weir_batch_span_room(batch, SPANS_AT_A_TIME) != WEIR_OK;
    if (writer->full || batch->size > UINT32_MAX / 8) { /* offsets have 32 bits, and repairing may need four times */
        status = weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the request");
    } else {
        status = weir_otlp_span(otlp, batch, (uint32_t)writer->start, (uint32_t)(batch->size - writer->start), &span,
                                counts, err);
    }
    if (status == WEIR_OK) {
        span.origin = origin;
        span.service = batch->origins[origin]->service;
        span.receiver = receiver;
        status = weir_batch_add(batch, &span);
    }
    if (status != WEIR_OK) {
        batch->size = writer->start;
        return status;
    }
    counts->spans++;
    return WEIR_OK;
}

enum weir_status weir_span_origin(struct weir_otlp *otlp, struct weir_batch *batch, const uint8_t *service, size_t size,
                                  const uint8_t *scope, size_t scope_size, uint16_t *origin) {
    uint8_t resource[64 + 3 * WEIR_NAME_BYTES_MAX], *at = resource;
    if (size > 0) { /* Resource{1 KeyValue{1 "service.name", 2 AnyValue{1 text}}} */
        size_t any = weir_wire_bytes_size(size);
        at = weir_wire_put_key(at, 1, WEIR_WIRE_BYTES);
        at = weir_wire_put_varint(at, weir_wire_bytes_size(12) + weir_wire_bytes_size(any));
        at = weir_wire_put_bytes(at, 1, "service.name", 12);
        at = weir_wire_put_key(at, 2, WEIR_WIRE_BYTES);
        at = weir_wire_put_varint(at, any);
        at = weir_wire_put_bytes(at, 1, service, size);
    }
    const struct weir_origin_parts parts = {.resource = resource,
                                            .resource_size = (uint32_t)(at - resource),
                                            .scope = scope,
                                            .scope_size = (uint32_t)scope_size};
    struct weir_origin *found = weir_otlp_origin(otlp, &parts);
    if (found == NULL) return WEIR_FULL;
    enum weir_status status = weir_batch_origin(batch, found, origin);
    weir_origin_unref(found);
    return status;
}

enum weir_status weir_span_service(struct weir_otlp *otlp, struct weir_batch *batch, const void *service, size_t size,
                                   uint16_t *origin) {
    uint8_t text[3 * WEIR_NAME_BYTES_MAX];
    if (size > WEIR_NAME_BYTES_MAX) size = WEIR_NAME_BYTES_MAX;
    return weir_span_origin(otlp, batch, text, weir_utf8_repair(service, size, text), NULL, 0, origin);
}
