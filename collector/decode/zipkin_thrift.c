/* Zipkin's first format as thrift. Source: zipkin-api, thrift/zipkinCore.thrift. A field of another type than its own
 * is skipped, as Zipkin does. */
#include "collector/core/utf8.h"
#include "collector/core/wire.h"
#include "collector/decode/thrift.h"
#include "collector/decode/zipkin_v1.h"

#include <stdlib.h>

static bool is(uint8_t type, int16_t number, enum weir_thrift_type want_type, int16_t want_number) {
    return type == want_type && number == want_number;
}

static bool read_text(struct weir_thrift *in, struct zipkin_text *text) {
    uint32_t size = 0;
    if (!weir_thrift_string(in, &text->bytes, &size)) return false;
    text->size = size;
    return true;
}

/* Signed on the wire; before 1970 is unknown. */
static bool read_micros(struct weir_thrift *in, uint64_t *micros) {
    uint64_t bits;
    if (!weir_thrift_u64(in, &bits)) return false;
    *micros = bits <= ZIPKIN_MICROS_MAX ? bits : 0;
    return true;
}

/* 1 ipv4 · 2 port · 3 service_name · 4 ipv6 */
static bool read_endpoint(struct weir_thrift *in, struct zipkin_endpoint *endpoint) {
    uint8_t type;
    int16_t number, port;
    int32_t ipv4;
    struct zipkin_text ipv6;
    while (weir_thrift_field(in, &type, &number)) {
        bool ok;
        if (is(type, number, WEIR_THRIFT_I32, 1)) {
            ok = weir_thrift_i32(in, &ipv4);
            if (ok && ipv4 != 0) {
                uint32_t network = __builtin_bswap32((uint32_t)ipv4);
                memcpy(endpoint->ipv4, &network, 4);
                endpoint->has_ipv4 = true;
            }
        } else if (is(type, number, WEIR_THRIFT_I16, 2)) {
            ok = weir_thrift_i16(in, &port);
            if (ok) endpoint->port = (uint16_t)port;
        } else if (is(type, number, WEIR_THRIFT_STRING, 3)) {
            ok = read_text(in, &endpoint->service);
        } else if (is(type, number, WEIR_THRIFT_STRING, 4)) {
            ok = read_text(in, &ipv6);
            if (ok && ipv6.size == 16) zipkin_ipv6(endpoint, ipv6.bytes);
        } else {
            ok = weir_thrift_skip(in, type);
        }
        if (!ok) return false;
    }
    return in->why == NULL;
}

/* 1 timestamp · 2 value · 3 host */
static bool read_annotation(struct weir_thrift *in, struct zipkin_v1 *span) {
    uint8_t type;
    int16_t number;
    struct zipkin_v1_annotation *item = zipkin_v1_annotate(span);
    if (item == NULL) return weir_thrift_fail(in, "more annotations than a span may have");
    while (weir_thrift_field(in, &type, &number)) {
        bool ok;
        if (is(type, number, WEIR_THRIFT_I64, 1)) {
            ok = read_micros(in, &item->timestamp_us);
        } else if (is(type, number, WEIR_THRIFT_STRING, 2)) {
            ok = read_text(in, &item->value);
        } else if (is(type, number, WEIR_THRIFT_STRUCT, 3)) {
            ok = read_endpoint(in, &item->endpoint);
            item->has_endpoint = ok && !zipkin_v1_endpoint_is_empty(&item->endpoint);
        } else {
            ok = weir_thrift_skip(in, type);
        }
        if (!ok) return false;
    }
    if (item->timestamp_us == 0 || item->value.bytes == NULL) span->annotation_count--; /* as Zipkin does */
    return in->why == NULL;
}

/* AnnotationType: BOOL 0 · BYTES 1 · I16 2 · I32 3 · I64 4 · DOUBLE 5 · STRING 6; numbers are big endian. A value that
 * has not the size of its type, or a type that there is not, is bytes; and bytes that are text are text. */
static void read_value(struct zipkin_v1_binary *item, int32_t type) {
    static const uint8_t sizes[] = {1, 0, 2, 4, 8, 8};
    uint64_t bits = 0;
    if (type == 6) return;
    /* zipkin-go-opentracing writes an I32 into eight bytes (telegraf-cli_microservice.dat): the number stands first. */
    if ((type == 2 || type == 3) && item->value.size == 8) item->value.size = sizes[type];
    if (type < 0 || type > 5 || sizes[type] == 0 || item->value.size != sizes[type]) {
        item->type = weir_utf8_valid(item->value.bytes, item->value.size) ? ZIPKIN_V1_TEXT : ZIPKIN_V1_BYTES;
        return;
    }
    for (size_t i = 0; i < item->value.size; i++)
        bits = bits << 8 | item->value.bytes[i];
    if (type == 5) {
        item->type = ZIPKIN_V1_DOUBLE;
        item->real = weir_wire_double(bits);
        return;
    }
    item->type = type == 0 ? ZIPKIN_V1_BOOL : ZIPKIN_V1_INT;
    item->number = type == 2 ? (int16_t)bits : type == 3 ? (int32_t)bits : (int64_t)bits;
}

/* 1 key · 2 value · 3 type · 4 host */
static bool read_binary(struct weir_thrift *in, struct zipkin_v1 *span) {
    uint8_t type;
    int16_t number;
    int32_t value_type = -1;
    struct zipkin_v1_binary *item = zipkin_v1_add_binary(span);
    if (item == NULL) return weir_thrift_fail(in, "more binary annotations than a span may have");
    while (weir_thrift_field(in, &type, &number)) {
        bool ok;
        if (is(type, number, WEIR_THRIFT_STRING, 1)) {
            ok = read_text(in, &item->key);
        } else if (is(type, number, WEIR_THRIFT_STRING, 2)) {
            ok = read_text(in, &item->value);
        } else if (is(type, number, WEIR_THRIFT_I32, 3)) {
            ok = weir_thrift_i32(in, &value_type);
        } else if (is(type, number, WEIR_THRIFT_STRUCT, 4)) {
            ok = read_endpoint(in, &item->endpoint);
            item->has_endpoint = ok && !zipkin_v1_endpoint_is_empty(&item->endpoint);
        } else {
            ok = weir_thrift_skip(in, type);
        }
        if (!ok) return false;
    }
    if (in->why != NULL) return false;
    if (item->key.bytes == NULL || item->value.bytes == NULL) { /* as Zipkin does */
        span->binary_count--;
    } else {
        read_value(item, value_type);
    }
    return true;
}

static bool read_list(struct weir_thrift *in, struct zipkin_v1 *span,
                      bool (*read)(struct weir_thrift *, struct zipkin_v1 *)) {
    uint8_t type;
    uint32_t count = 0;
    if (!weir_thrift_list(in, &type, &count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (type == WEIR_THRIFT_STRUCT ? !read(in, span) : !weir_thrift_skip(in, type)) return false;
    }
    return true;
}

/* 1 trace_id · 3 name · 4 id · 5 parent_id · 6 annotations · 8 binary_annotations · 9 debug · 10 timestamp · 11
 * duration · 12 trace_id_high */
static bool read_span(struct weir_thrift *in, struct zipkin_v1 *span) {
    uint8_t type, debug;
    int16_t number;
    zipkin_v1_clear(span);
    while (weir_thrift_field(in, &type, &number)) {
        bool ok;
        if (is(type, number, WEIR_THRIFT_I64, 1)) {
            ok = weir_thrift_u64(in, &span->trace_lo);
        } else if (is(type, number, WEIR_THRIFT_STRING, 3)) {
            ok = read_text(in, &span->name);
        } else if (is(type, number, WEIR_THRIFT_I64, 4)) {
            ok = weir_thrift_u64(in, &span->id);
        } else if (is(type, number, WEIR_THRIFT_I64, 5)) {
            ok = weir_thrift_u64(in, &span->parent);
        } else if (is(type, number, WEIR_THRIFT_LIST, 6)) {
            ok = read_list(in, span, read_annotation);
        } else if (is(type, number, WEIR_THRIFT_LIST, 8)) {
            ok = read_list(in, span, read_binary);
        } else if (is(type, number, WEIR_THRIFT_BOOL, 9)) {
            ok = weir_thrift_u8(in, &debug);
            span->debug = ok && debug == 1;
        } else if (is(type, number, WEIR_THRIFT_I64, 10)) {
            ok = read_micros(in, &span->timestamp_us);
        } else if (is(type, number, WEIR_THRIFT_I64, 11)) {
            ok = read_micros(in, &span->duration_us);
        } else if (is(type, number, WEIR_THRIFT_I64, 12)) {
            ok = weir_thrift_u64(in, &span->trace_hi);
        } else {
            ok = weir_thrift_skip(in, type);
        }
        if (!ok) return false;
    }
    return in->why == NULL;
}

enum weir_status zipkin_decode_thrift_span(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                           size_t *used, struct weir_error *err) {
    struct weir_thrift in = {.at = bytes, .end = bytes + size};
    bool sound = read_span(&in, decoder->v1);
    *used = (size_t)(in.at - bytes);
    if (!sound) return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", *used, in.why);
    return zipkin_v1_convert(decoder, decoder->v1, err);
}

static enum weir_status decode_list(struct weir_zipkin_decoder *decoder, struct weir_thrift *in, const uint8_t *start,
                                    struct weir_error *err) {
    uint8_t type;
    uint32_t count;
    const uint8_t *list = in->at;
    if (!weir_thrift_list(in, &type, &count))
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", (size_t)(in->at - start), in->why);
    if (type != WEIR_THRIFT_STRUCT && count > 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: not a list of structs", (size_t)(list - start));
    for (; count > 0; count--, decoder->index++) {
        if (!read_span(in, decoder->v1))
            return weir_fail(err, WEIR_INVALID, 0, false, "spans[%u] (traceId %llx): byte %zu: %s", decoder->index,
                             (unsigned long long)decoder->v1->trace_lo, (size_t)(in->at - start), in->why);
        enum weir_status status = zipkin_v1_convert(decoder, decoder->v1, err);
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}

/* Lists one behind the other are read all: Zipkin takes the first and loses the others without a word. */
enum weir_status zipkin_decode_thrift(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                      struct weir_error *err) {
    struct weir_thrift in = {.at = bytes, .end = bytes + size};
    enum weir_status status = WEIR_OK;
    do {
        status = decode_list(decoder, &in, bytes, err);
    } while (status == WEIR_OK && in.at < in.end);
    return status;
}
