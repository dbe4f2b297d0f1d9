/* records.h - batches of all kinds for the tests of the spool's records, and what a batch leaves as. */
#ifndef TESTS_UNIT_SPOOL_RECORDS_H
#define TESTS_UNIT_SPOOL_RECORDS_H
#include "collector/core/ledger.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/spool/log_format.h"
#include "collector/spool/record.h"
#include "exporters/kafka/message.h"
#include "exporters/splice.h"
#include "exporters/zipkin/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t dice = 88172645463325252ull;

static uint64_t thrown(void) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice * 0x9e3779b97f4a7c15ull >> 3;
}
static bool chance(unsigned one_in) {
    return thrown() % one_in == 0;
}

struct kind_of_batch {
    uint32_t spans, origins, operations;
    uint32_t pad_max;    /* bytes of an attribute that does not compress */
    uint32_t origin_max; /* bytes of a resource */
    bool odd;            /* views that bodies do not bear out, bodies that are none, gaps between them */
};

static inline struct weir_origin *make_origin(struct weir_names *names, uint32_t size) {
    struct weir_otlp *otlp = weir_otlp_new(names);
    uint8_t *resource = malloc(size + 64), *at = resource, value[16], pair[48], *end;
    char service[8] = "svc-";
    service[4] = (char)('a' + thrown() % 26);
    end = weir_wire_put_bytes(value, 1, service, 5);
    uint8_t *pair_end = weir_wire_put_bytes(pair, 1, "service.name", 12);
    pair_end = weir_wire_put_bytes(pair_end, 2, value, (size_t)(end - value));
    if (size > 0) {
        at = weir_wire_put_bytes(at, 1, pair, (size_t)(pair_end - pair));
        uint8_t *unknown = malloc(size);
        for (uint32_t i = 0; i < size; i++)
            unknown[i] = (uint8_t)thrown();
        at = weir_wire_put_bytes(at, 15, unknown, size); /* a field that nobody knows */
        free(unknown);
    }
    struct weir_origin_parts parts = {.resource = resource,
                                      .resource_size = (uint32_t)(at - resource),
                                      .scope = (const uint8_t *)"\x0a\x02io",
                                      .scope_size = chance(2) ? 4 : 0,
                                      .scope_url = (const uint8_t *)"https://s",
                                      .scope_url_size = chance(3) ? 9 : 0,
                                      .resource_url = (const uint8_t *)"https://r",
                                      .resource_url_size = chance(3) ? 9 : 0};
    struct weir_origin *origin = weir_otlp_origin(otlp, &parts);
    weir_otlp_free(otlp);
    free(resource);
    return origin;
}

static inline uint8_t *put_id_field(uint8_t *at, uint32_t field, uint64_t id) {
    uint64_t wire = __builtin_bswap64(id);
    return weir_wire_put_bytes(at, field, &wire, 8);
}

/* A body that says what the view does, its fields in an order of its own; some twice, of which the last counts. */
static inline size_t make_body(uint8_t *body, const struct weir_span *span, const char *name, uint32_t pad) {
    uint8_t *at = body, id[16];
    uint64_t high = __builtin_bswap64(span->trace_hi), low = __builtin_bswap64(span->trace_lo);
    memcpy(id, &high, 8);
    memcpy(id + 8, &low, 8);
    uint8_t *noise = malloc(pad + 1);
    for (uint32_t i = 0; i < pad; i++)
        noise[i] = (uint8_t)thrown();
    unsigned first = (unsigned)(thrown() % 4 == 0 ? thrown() % 8 : 0);
    for (unsigned i = 0; i < 8; i++) {
        switch ((first + i) % 8) {
        case 0: at = weir_wire_put_bytes(at, 1, id, 16); break;
        case 1:
            if (chance(50)) at = put_id_field(at, 2, ~span->span_id);
            at = put_id_field(at, 2, span->span_id);
            break;
        case 2:
            if (chance(20)) at = weir_wire_put_bytes(at, 3, "ot=th:8", 7);
            break;
        case 3:
            if (span->parent_id != 0) at = put_id_field(at, 4, span->parent_id);
            break;
        case 4: at = weir_wire_put_bytes(at, 5, name, strlen(name)); break;
        case 5: at = weir_wire_put_fixed64(weir_wire_put_uint(at, 6, span->kind), 7, span->start_ns); break;
        case 6: at = weir_wire_put_fixed64(at, 8, span->start_ns + span->duration_ns); break;
        case 7: at = weir_wire_put_bytes(at, 99, noise, pad); break;
        }
    }
    free(noise);
    return (size_t)(at - body);
}

static inline void make_odd(struct weir_span *span) {
    if (chance(3)) span->threshold = thrown() % WEIR_THRESHOLD_MAX;
    if (chance(3)) span->randomness = thrown() % WEIR_THRESHOLD_MAX;
    if (chance(3)) span->prior = 1 + (double)(thrown() % 1000) / 7;
    if (chance(9)) span->trace_hi = thrown();
    if (chance(9)) span->span_id = chance(2) ? 0 : thrown();
    if (chance(9)) span->parent_id = chance(2) ? 0 : thrown();
    if (chance(9)) span->start_ns = chance(2) ? 0 : thrown();
    if (chance(9)) span->duration_ns = chance(2) ? 0 : thrown();
}

static inline struct weir_batch *make_batch(struct weir_names *names, const struct kind_of_batch *kind) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    uint16_t index;
    for (uint32_t i = 0; i < kind->origins; i++) {
        struct weir_origin *origin =
            make_origin(names, kind->origin_max > 0 ? (uint32_t)(thrown() % kind->origin_max) : 0);
        assert_int_equal(weir_batch_add_origin(batch, origin, &index), WEIR_OK);
        weir_origin_unref(origin);
    }
    for (uint32_t i = 0; i < kind->spans; i++) {
        char name[300] = "";
        uint32_t operation = (uint32_t)(thrown() % kind->operations);
        if (operation > 0) snprintf(name, sizeof name, "GET /%u/%0*u", operation, (int)(thrown() % 40), 7);
        struct weir_span span = {.trace_hi = chance(4) ? 0 : thrown(),
                                 .trace_lo = thrown(),
                                 .span_id = thrown() | 1,
                                 .parent_id = chance(5) ? 0 : thrown() | 1,
                                 .start_ns = chance(50) ? 0 : 1700000000000000000ull + thrown() % 1000000000,
                                 .prior = 1,
                                 .offset = (uint32_t)batch->size,
                                 .origin = (uint16_t)(thrown() % kind->origins),
                                 .http_status = chance(3) ? 503 : 0,
                                 .flags = (uint16_t)(chance(3) ? thrown() % 65536 : 0),
                                 .kind = (uint8_t)(thrown() % 6),
                                 .status = (uint8_t)(thrown() % 3),
                                 .receiver = (uint8_t)(thrown() % WEIR_RECEIVERS)};
        if (span.start_ns != 0) span.duration_ns = thrown() % 100000000;
        span.randomness = span.trace_lo & (WEIR_THRESHOLD_MAX - 1);
        span.operation = weir_names_intern(names, name, name[0] == 0 ? 0 : strlen(name) - 1);
        if (chance(3)) span.peer = weir_names_intern(names, "db.payments:5432", 16 - thrown() % 3);
        span.service = batch->origins[span.origin]->service;
        uint32_t pad = kind->pad_max > 0 ? (uint32_t)(thrown() % kind->pad_max) : 0;
        assert_int_equal(weir_batch_room(batch, 512 + (size_t)pad), WEIR_OK);
        span.size = (uint32_t)make_body(batch->bytes + batch->size, &span, name, pad);
        if (kind->odd && chance(3)) make_odd(&span);
        if (kind->odd && chance(20)) span.size /= 1 + (uint32_t)(thrown() % 40);
        batch->size += span.size;
        if (kind->odd && chance(10)) batch->size += 16;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}

/* ---- what exporters make of it ---- */

enum { SPLICED, ZIPKIN_JSON, ZIPKIN_PROTO3, KAFKA_JSON, KAFKA_PROTO3, KAFKA_OTLP, FORMS };

static inline void encode_kafka(const struct weir_batch *batch, enum weir_kafka_encoding encoding,
                                struct weir_buffer *out) {
    struct weir_kafka_encoder encoder = {.encoding = encoding};
    assert_true(weir_kafka_begin(&encoder, batch));
    for (uint32_t first = 0; first < batch->span_count;) {
        char key[WEIR_KAFKA_KEY_BYTES];
        weir_kafka_key(&encoder, first, key);
        weir_buffer_put(out, key, sizeof key);
        uint32_t next = weir_kafka_encode(&encoder, first, weir_kafka_trace_end(&encoder, first), 1 << 20, out);
        assert_true(next > first);
        first = next;
    }
    weir_kafka_encoder_free(&encoder);
}

static inline void encode(const struct weir_batch *batch, int form, struct weir_buffer *out) {
    struct weir_splice splice = {0};
    struct weir_zipkin_scratch scratch = {0};
    weir_buffer_clear(out);
    switch (form) {
    case SPLICED: assert_int_equal(weir_splice_encode(&splice, batch, out), WEIR_OK); break;
    case ZIPKIN_JSON:
        assert_true(weir_zipkin_begin(&scratch, batch));
        assert_int_equal(weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, out), batch->span_count);
        break;
    case ZIPKIN_PROTO3:
        assert_true(weir_zipkin_begin(&scratch, batch));
        assert_int_equal(weir_zipkin_encode_proto3(&scratch, 0, SIZE_MAX, out), batch->span_count);
        break;
    case KAFKA_JSON: encode_kafka(batch, WEIR_KAFKA_ZIPKIN_JSON, out); break;
    case KAFKA_PROTO3: encode_kafka(batch, WEIR_KAFKA_ZIPKIN_PROTO3, out); break;
    default: encode_kafka(batch, WEIR_KAFKA_OTLP_PROTO, out); break;
    }
    assert_false(out->failed);
    weir_splice_free(&splice);
    weir_zipkin_scratch_free(&scratch);
}

static inline void assert_same_part(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size) {
    assert_int_equal(a_size, b_size);
    if (a_size > 0) assert_memory_equal(a, b, a_size);
}

/* Spans [from, to) of `batch` are those of `again`: view, body, origin. */
static inline void assert_same_spans(const struct weir_batch *batch, uint32_t from, uint32_t to,
                                     const struct weir_batch *again) {
    assert_int_equal(again->span_count, to - from);
    uint64_t bytes = 0;
    for (uint32_t i = from; i < to; i++) {
        struct weir_span a = batch->spans[i], b = again->spans[i - from];
        const struct weir_origin *origin = batch->origins[a.origin], *other = again->origins[b.origin];
        assert_int_equal(a.size, b.size);
        assert_memory_equal(batch->bytes + a.offset, again->bytes + b.offset, a.size);
        assert_int_equal(origin->service, other->service);
        assert_same_part(origin->parts.resource, origin->parts.resource_size, other->parts.resource,
                         other->parts.resource_size);
        assert_same_part(origin->parts.scope, origin->parts.scope_size, other->parts.scope, other->parts.scope_size);
        assert_same_part(origin->parts.resource_url, origin->parts.resource_url_size, other->parts.resource_url,
                         other->parts.resource_url_size);
        assert_same_part(origin->parts.scope_url, origin->parts.scope_url_size, other->parts.scope_url,
                         other->parts.scope_url_size);
        b.offset = a.offset;
        b.origin = a.origin;
        assert_memory_equal(&a, &b, offsetof(struct weir_span, receiver) + 1);
        bytes += a.size;
    }
    assert_int_equal(again->span_bytes, bytes);
    assert_int_equal(again->size, bytes);
}
#endif
