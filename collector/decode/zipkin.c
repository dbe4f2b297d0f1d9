#include "collector/decode/zipkin_v1.h"

#include "collector/core/utf8.h"
#include "collector/core/wire.h"
#include "collector/decode/json.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN_KEPT_BYTES = 64 * 1024 };

struct weir_zipkin_decoder *weir_zipkin_decoder_new(struct weir_otlp *otlp) {
    struct weir_zipkin_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) return NULL;
    decoder->otlp = otlp;
    decoder->v1 = calloc(1, sizeof *decoder->v1);
    if (decoder->v1 == NULL) {
        free(decoder);
        return NULL;
    }
    return decoder;
}

void weir_zipkin_decoder_free(struct weir_zipkin_decoder *decoder) {
    if (decoder == NULL) return;
    free(decoder->v1->annotations);
    free(decoder->v1->binary);
    free(decoder->v1);
    weir_buffer_free(&decoder->plain);
    free(decoder);
}

uint8_t *zipkin_plain(struct weir_zipkin_decoder *decoder, size_t size) {
    struct weir_buffer *plain = &decoder->plain;
    size_t before = plain->capacity;
    weir_buffer_clear(plain);
    if (size <= before) return plain->bytes;
    bool grown = weir_buffer_room(plain, size);
    size_t more = plain->capacity - before;
    if (!grown || !weir_budget_reserve(decoder->batch->budget, more)) {
        weir_buffer_free(plain);
        return NULL;
    }
    decoder->plain_drawn += more;
    return plain->bytes;
}

/* 1 + a hex digit's value; 0 of another character. */
static const uint8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static inline uint64_t hex64(const uint8_t *text, size_t size, bool *bad) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = hex_values[text[i]];
        *bad |= digit == 0;
        value = value << 4 | ((digit - 1) & 15);
    }
    return value;
}

bool zipkin_hex(const uint8_t *text, size_t size, unsigned max, uint64_t *high, uint64_t *low) {
    size_t upper = size > 16 ? size - 16 : 0;
    bool bad = false;
    if (size == 0 || size > max) return false;
    *high = hex64(text, upper, &bad);
    *low = hex64(text + upper, size - upper, &bad);
    return !bad;
}

/* Four decimal numbers up to 255; leading zeros are read as Zipkin reads them, which inet_pton() does not. */
static bool ipv4_of(const uint8_t *text, size_t size, uint8_t ip[4]) {
    unsigned octet = 0, value = 0, digits = 0;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && text[i] >= '0' && text[i] <= '9') {
            value = value * 10 + (unsigned)(text[i] - '0');
            if (++digits > 3 || value > 255) return false;
        } else {
            if (digits == 0 || octet == 4 || (i < size && text[i] != '.')) return false;
            ip[octet++] = (uint8_t)value;
            value = digits = 0;
        }
    }
    return octet == 4;
}

void zipkin_ipv6(struct zipkin_endpoint *endpoint, const uint8_t ip[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(ip, mapped, sizeof mapped) == 0) {
        memcpy(endpoint->ipv4, ip + 12, 4);
        endpoint->has_ipv4 = true;
    } else {
        memcpy(endpoint->ipv6, ip, 16);
        endpoint->has_ipv6 = true;
    }
}

void zipkin_address(struct zipkin_endpoint *endpoint, const uint8_t *text, size_t size) {
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (ipv4_of(text, size, ip)) {
        memcpy(endpoint->ipv4, ip, 4);
        endpoint->has_ipv4 = true;
        return;
    }
    if (size == 0 || size >= sizeof copy) return;
    memcpy(copy, text, size);
    copy[size] = 0;
    if (inet_pton(AF_INET6, copy, ip) == 1) zipkin_ipv6(endpoint, ip);
}

/* ---- writing ---- */

#define KEY(literal) literal, sizeof(literal) - 1

void zipkin_put_tag(struct weir_span_writer *writer, struct zipkin_head *head, struct zipkin_text key,
                    struct zipkin_text value) {
    weir_span_text(writer, key.bytes, key.size, value.bytes, value.size);
    if (key.size == 5 && memcmp(key.bytes, "error", 5) == 0)
        head->failed = value.size != 5 || memcmp(value.bytes, "false", 5) != 0;
}

void zipkin_put_annotation(struct weir_span_writer *writer, uint64_t timestamp_us, struct zipkin_text value) {
    weir_span_event(writer, timestamp_us <= ZIPKIN_MICROS_MAX ? timestamp_us * 1000 : 0, value.bytes, value.size);
}

/* inet_ntop() goes by sprintf(), which takes a fifth of a whole span's time. */
static size_t put_ipv4(char *out, const uint8_t ip[4]) {
    char *at = out;
    for (int i = 0; i < 4; i++) {
        if (i > 0) *at++ = '.';
        if (ip[i] >= 100) *at++ = (char)('0' + ip[i] / 100);
        if (ip[i] >= 10) *at++ = (char)('0' + ip[i] / 10 % 10);
        *at++ = (char)('0' + ip[i] % 10);
    }
    return (size_t)(at - out);
}

static void put_addresses(struct weir_span_writer *writer, const struct zipkin_endpoint *endpoint, const char *address,
                          size_t address_size, const char *port, size_t port_size) {
    char text[INET6_ADDRSTRLEN];
    if (endpoint->has_ipv4) weir_span_text(writer, address, address_size, text, put_ipv4(text, endpoint->ipv4));
    if (endpoint->has_ipv6 && inet_ntop(AF_INET6, endpoint->ipv6, text, sizeof text) != NULL)
        weir_span_text(writer, address, address_size, text, strlen(text));
    if (endpoint->port != 0) weir_span_int(writer, port, port_size, endpoint->port);
}

/* The service's name without escapes, until the next call. False: no memory. */
static bool service_of(struct weir_zipkin_decoder *decoder, const struct zipkin_endpoint *endpoint,
                       struct zipkin_text *service) {
    *service = endpoint->service;
    if (!endpoint->escaped) return true;
    const struct weir_json_text text = {.bytes = service->bytes, .size = service->size};
    uint8_t *plain = zipkin_plain(decoder, text.size);
    if (plain == NULL) return false;
    *service = (struct zipkin_text){plain, weir_json_unescape(&text, plain)};
    return true;
}

static void put_endpoints(struct weir_zipkin_decoder *decoder, struct weir_span_writer *writer,
                          const struct zipkin_head *head) {
    const struct zipkin_endpoint *local = &head->local, *remote = &head->remote;
    if (local->has_ipv4 || local->has_ipv6 || local->port != 0) {
        weir_span_bool(writer, KEY("zipkin.local"), true);
        put_addresses(writer, local, KEY("network.local.address"), KEY("network.local.port"));
    }
    if (remote->service.size > 0 || remote->has_ipv4 || remote->has_ipv6 || remote->port != 0) {
        weir_span_bool(writer, KEY("zipkin.remote"), true);
        struct zipkin_text service;
        if (!service_of(decoder, remote, &service)) writer->full = true;
        if (service.size > 0) weir_span_text(writer, KEY("peer.service"), service.bytes, service.size);
        put_addresses(writer, remote, KEY("network.peer.address"), KEY("network.peer.port"));
    }
}

/* Up to WEIR_NAME_BYTES_MAX, cut on a character's border as names.h does. */
static size_t whole_characters(const uint8_t *text, size_t size) {
    if (size <= WEIR_NAME_BYTES_MAX) return size;
    size = WEIR_NAME_BYTES_MAX;
    while (size > 0 && (text[size] & 0xc0) == 0x80)
        size--;
    return size > 0 ? size : WEIR_NAME_BYTES_MAX;
}

/* Resource{service.name}, empty where there is none, and the scope by which exporters/zipkin knows its own. */
static enum weir_status new_origin(struct weir_zipkin_decoder *decoder, struct zipkin_text service, uint16_t *origin) {
    static const uint8_t scope[] = "\x0a\x0bweir.zipkin"; /* InstrumentationScope{1 name} */
    uint8_t text[3 * WEIR_NAME_BYTES_MAX];
    size_t size = whole_characters(service.bytes, service.size);
    if (size > 0) size = whole_characters(text, weir_utf8_repair(service.bytes, size, text));
    return weir_span_origin(decoder->otlp, decoder->batch, text, size, scope, sizeof scope - 1, origin);
}

static enum weir_status origin_of(struct weir_zipkin_decoder *decoder, struct zipkin_text service, uint16_t *origin) {
    for (uint32_t i = 0; i < decoder->service_count; i++) {
        if (decoder->services[i].size == service.size &&
            (service.size == 0 || memcmp(decoder->services[i].bytes, service.bytes, service.size) == 0)) {
            *origin = decoder->services[i].origin;
            return WEIR_OK;
        }
    }
    if (decoder->batch->origin_count == UINT16_MAX) return WEIR_INVALID; /* it would not fit the next time either */
    enum weir_status status = new_origin(decoder, service, origin);
    if (status != WEIR_OK || service.size > ZIPKIN_SERVICE_BYTES) return status;
    uint32_t at = decoder->service_next++ % ZIPKIN_SERVICES;
    if (decoder->service_count < ZIPKIN_SERVICES) decoder->service_count++;
    if (service.size > 0) memcpy(decoder->services[at].bytes, service.bytes, service.size);
    decoder->services[at].size = (uint32_t)service.size;
    decoder->services[at].origin = *origin;
    return WEIR_OK;
}

enum weir_status zipkin_skip(struct weir_zipkin_decoder *decoder, struct weir_span_writer *writer, const char *why) {
    struct weir_otlp_counts *counts = decoder->counts;
    weir_span_cancel(writer);
    if (counts->skipped++ == 0)
        snprintf(counts->skipped_reason, sizeof counts->skipped_reason, "spans[%u]: %.100s", decoder->index, why);
    return WEIR_OK;
}

enum weir_status zipkin_put(struct weir_zipkin_decoder *decoder, struct weir_span_writer *writer,
                            const struct zipkin_head *head, struct weir_error *err) {
    uint64_t start_ns = head->timestamp_us * 1000, end_ns = 0;
    weir_span_ids(writer, head->trace_hi, head->trace_lo, head->id, head->parent);
    weir_span_kind(writer, head->kind);
    if (head->duration_us > 0 && head->timestamp_us > 0 &&
        head->duration_us <= ZIPKIN_MICROS_MAX - head->timestamp_us) {
        end_ns = start_ns + head->duration_us * 1000;
    } else if (head->duration_us > 0) {
        weir_span_int(writer, KEY("zipkin.duration"), (int64_t)head->duration_us);
    } else if (head->ended) {
        end_ns = start_ns;
    }
    weir_span_times(writer, start_ns, end_ns);
    if (head->debug) weir_span_bool(writer, KEY("zipkin.debug"), true);
    if (head->shared) weir_span_bool(writer, KEY("zipkin.shared"), true);
    if (head->failed) weir_span_status(writer, WEIR_STATUS_ERROR, NULL, 0);
    put_endpoints(decoder, writer, head);
    uint16_t origin = 0;
    struct weir_error why = {0};
    struct zipkin_text service;
    enum weir_status status =
        service_of(decoder, &head->local, &service) ? origin_of(decoder, service, &origin) : WEIR_FULL;
    if (status == WEIR_INVALID) {
        weir_span_cancel(writer);
        return weir_fail(err, WEIR_INVALID, 0, false, "spans[%u]: one of more than 65,535 services", decoder->index);
    }
    if (status != WEIR_OK) {
        weir_span_cancel(writer);
        return weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the request");
    }
    status = weir_span_end(writer, decoder->otlp, origin, decoder->receiver, decoder->counts, &why);
    if (status == WEIR_INVALID) return zipkin_skip(decoder, writer, why.text); /* a zero id */
    if (status != WEIR_OK && err != NULL) *err = why;
    return status;
}

/* ---- which format ---- */

/* By the members of the first span: only v1 has binaryAnnotations, only v2 the others. */
static enum weir_zipkin_format json_format(const uint8_t *bytes, size_t size) {
    struct weir_json json = weir_json_of(bytes, size);
    struct weir_json_text key;
    if (!weir_json_array(&json) || !weir_json_element(&json) || !weir_json_object(&json)) return WEIR_ZIPKIN_JSON_V2;
    while (weir_json_key(&json, &key)) {
        if (weir_json_is(&key, "binaryAnnotations")) return WEIR_ZIPKIN_JSON_V1;
        if (weir_json_is(&key, "kind") || weir_json_is(&key, "localEndpoint") || weir_json_is(&key, "remoteEndpoint") ||
            weir_json_is(&key, "tags") || weir_json_is(&key, "shared"))
            return WEIR_ZIPKIN_JSON_V2;
        if (!weir_json_is(&key, "annotations")) {
            if (!weir_json_skip(&json)) break;
            continue;
        }
        if (!weir_json_array(&json)) break;
        while (weir_json_element(&json) && weir_json_object(&json)) {
            while (weir_json_key(&json, &key)) {
                if (weir_json_is(&key, "endpoint")) return WEIR_ZIPKIN_JSON_V1;
                if (!weir_json_skip(&json)) return WEIR_ZIPKIN_JSON_V2;
            }
        }
        if (json.why != NULL) break;
    }
    return WEIR_ZIPKIN_JSON_V2;
}

/* [ and, behind it, { or ]: what begins with the key of a span of 91 bytes, "\n[", goes on with a field's key. */
static bool is_json(const uint8_t *bytes, size_t size) {
    struct weir_json json = weir_json_of(bytes, size);
    if (weir_json_peek(&json) != WEIR_JSON_ARRAY) return false;
    if (bytes[0] != 0x0a) return true;
    json.at++;
    return weir_json_peek(&json) == WEIR_JSON_OBJECT || (json.at < json.end && *json.at == ']');
}

enum weir_zipkin_format weir_zipkin_format_of(const uint8_t *bytes, size_t size) {
    if (size == 0) return WEIR_ZIPKIN_FORMAT_NONE;
    if (is_json(bytes, size)) return json_format(bytes, size);
    if (bytes[0] == 0x0c) return WEIR_ZIPKIN_THRIFT_LIST; /* a list of structs */
    if (bytes[0] == 0x0a) return WEIR_ZIPKIN_PROTO3_LIST; /* field 1, length-delimited */
    return WEIR_ZIPKIN_FORMAT_NONE;
}

/* ---- a body ---- */

static void begin(struct weir_zipkin_decoder *decoder, struct weir_batch *batch, struct weir_otlp_counts *counts,
                  uint8_t receiver) {
    decoder->batch = batch;
    decoder->counts = counts;
    decoder->receiver = receiver;
    decoder->plain_drawn = 0;
    decoder->index = 0;
    decoder->service_count = decoder->service_next = 0;
}

static enum weir_status finish(struct weir_zipkin_decoder *decoder, enum weir_status status, uint32_t span_count,
                               size_t size, const struct weir_otlp_counts *before) {
    weir_budget_release(decoder->batch->budget, decoder->plain_drawn);
    if (decoder->plain.capacity > PLAIN_KEPT_BYTES) weir_buffer_free(&decoder->plain);
    if (status != WEIR_OK) {
        weir_batch_truncate(decoder->batch, span_count, size);
        *decoder->counts = *before;
    }
    return status;
}

enum weir_status weir_zipkin_decode(struct weir_zipkin_decoder *decoder, enum weir_zipkin_format format,
                                    const uint8_t *bytes, size_t size, uint8_t receiver, struct weir_batch *batch,
                                    struct weir_otlp_counts *counts, struct weir_error *err) {
    const struct weir_otlp_counts before = {0};
    uint32_t span_count = batch->span_count;
    size_t batch_size = batch->size;
    *counts = before;
    begin(decoder, batch, counts, receiver);
    enum weir_status status;
    switch (format) {
    case WEIR_ZIPKIN_JSON_V2: status = zipkin_decode_json_v2(decoder, bytes, size, err); break;
    case WEIR_ZIPKIN_JSON_V1: status = zipkin_decode_json_v1(decoder, bytes, size, err); break;
    case WEIR_ZIPKIN_PROTO3_LIST: status = zipkin_decode_proto3(decoder, bytes, size, err); break;
    case WEIR_ZIPKIN_THRIFT_LIST: status = zipkin_decode_thrift(decoder, bytes, size, err); break;
    default:
        status = weir_fail(err, WEIR_INVALID, 0, false, "byte 0: neither a list of spans in JSON, proto3 nor thrift");
    }
    return finish(decoder, status, span_count, batch_size, &before);
}

enum weir_status weir_zipkin_thrift_span(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                         uint8_t receiver, struct weir_batch *batch, size_t *used,
                                         struct weir_otlp_counts *counts, struct weir_error *err) {
    const struct weir_otlp_counts before = *counts;
    uint32_t span_count = batch->span_count;
    size_t batch_size = batch->size;
    begin(decoder, batch, counts, receiver);
    enum weir_status status = zipkin_decode_thrift_span(decoder, bytes, size, used, err);
    return finish(decoder, status, span_count, batch_size, &before);
}
