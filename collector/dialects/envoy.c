#include "collector/dialects/envoy.h"
#include "collector/core/clock.h"
#include "collector/core/wire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WHOLE = 10000, PAIR_BYTES_MAX = 160, FLUSH_SPANS_MAX = 1000000 };
#define INTERVAL_MS_MAX 86400000ull /* a day; Envoy's timers are ints of ms in places */

struct weir_envoy_told weir_envoy_told_of(const struct weir_plan_service *service) {
    if (service == NULL) return (struct weir_envoy_told){0};
    uint32_t spans = service->batching.min_flush_spans;
    uint64_t interval_ns = service->batching.flush_interval_ns;
    uint64_t interval_ms = interval_ns / WEIR_MS;
    if (interval_ns > 0 && interval_ms == 0) interval_ms = 1;
    return (struct weir_envoy_told){
        .anything = true,
        .ten_thousandths = (uint32_t)lround(weir_plan_round_envoy(service->rate.rate) * WHOLE),
        .min_flush_spans = spans < FLUSH_SPANS_MAX ? spans : FLUSH_SPANS_MAX,
        .flush_interval_ms = interval_ms < INTERVAL_MS_MAX ? interval_ms : INTERVAL_MS_MAX,
    };
}

bool weir_envoy_told_same(const struct weir_envoy_told *a, const struct weir_envoy_told *b) {
    return a->anything == b->anything && a->ten_thousandths == b->ten_thousandths &&
           a->min_flush_spans == b->min_flush_spans && a->flush_interval_ms == b->flush_interval_ms;
}

double weir_envoy_rate(const struct weir_envoy_told *told) {
    return (double)told->ten_thousandths / WHOLE;
}

/* ---- versions ---- */

void weir_envoy_version(const struct weir_envoy_told *told, char out[WEIR_ENVOY_VERSION_BYTES]) {
    if (!told->anything) {
        snprintf(out, WEIR_ENVOY_VERSION_BYTES, "v1:nothing");
        return;
    }
    int n = snprintf(out, WEIR_ENVOY_VERSION_BYTES, "v1:rate=%u.%04u", told->ten_thousandths / WHOLE,
                     told->ten_thousandths % WHOLE);
    if (told->min_flush_spans > 0)
        n += snprintf(out + n, WEIR_ENVOY_VERSION_BYTES - (size_t)n, ",flush=%u", told->min_flush_spans);
    if (told->flush_interval_ms > 0)
        snprintf(out + n, WEIR_ENVOY_VERSION_BYTES - (size_t)n, ",interval=%llu",
                 (unsigned long long)told->flush_interval_ms);
}

/* What is read has to be what would be written: one text for one thing told. */
bool weir_envoy_version_read(const char *text, size_t size, struct weir_envoy_told *told) {
    char copy[WEIR_ENVOY_VERSION_BYTES], again[WEIR_ENVOY_VERSION_BYTES];
    struct weir_envoy_told read = {.anything = true};
    unsigned whole = 0, part = 0, flush = 0;
    unsigned long long interval = 0;
    if (size == 0 || size >= sizeof copy) return false;
    memcpy(copy, text, size);
    copy[size] = 0;
    if (sscanf(copy, "v1:rate=%1u.%4u", &whole, &part) == 2) {
        const char *at = strstr(copy, ",flush=");
        if (at != NULL && sscanf(at, ",flush=%9u", &flush) != 1) return false;
        at = strstr(copy, ",interval=");
        if (at != NULL && sscanf(at, ",interval=%9llu", &interval) != 1) return false;
        read.ten_thousandths = whole * WHOLE + part;
        read.min_flush_spans = flush;
        read.flush_interval_ms = interval;
    } else {
        read.anything = false;
    }
    if (read.ten_thousandths > WHOLE) return false;
    weir_envoy_version(&read, again);
    if (strcmp(copy, again) != 0) return false;
    *told = read;
    return true;
}

/* ---- the runtime ---- */

/* Value{2 number_value} */
static size_t put_number(uint8_t *out, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (size_t)(weir_wire_put_fixed64(out, 2, bits) - out);
}

/* Struct{1 fields}: an entry{1 key, 2 value} of a map. */
static uint8_t *put_pair(uint8_t *out, const char *key, const uint8_t *value, size_t size) {
    uint8_t entry[PAIR_BYTES_MAX];
    uint8_t *at = weir_wire_put_bytes(entry, 1, key, strlen(key));
    at = weir_wire_put_bytes(at, 2, value, size);
    return weir_wire_put_bytes(out, 1, entry, (size_t)(at - entry));
}

/* Value{5 struct_value} of a FractionalPercent; Value{3 string_value} its denominator. */
static size_t put_fraction(uint8_t *out, uint32_t ten_thousandths) {
    static const char denominator[] = "TEN_THOUSAND";
    uint8_t number[16], text[32], fields[96];
    size_t text_size = (size_t)(weir_wire_put_bytes(text, 3, denominator, sizeof denominator - 1) - text);
    uint8_t *at = put_pair(fields, "denominator", text, text_size);
    at = put_pair(at, "numerator", number, put_number(number, ten_thousandths));
    return (size_t)(weir_wire_put_bytes(out, 5, fields, (size_t)(at - fields)) - out);
}

/* 0 = is left as it is. */
static uint8_t *put_some(uint8_t *out, const char *key, double number) {
    uint8_t value[16];
    return number > 0 ? put_pair(out, key, value, put_number(value, number)) : out;
}

/* In the order of their keys, as protobuf's own deterministic encoders have it. */
static uint8_t *put_layer(uint8_t *out, const struct weir_envoy_told *told) {
    uint8_t rate[112];
    if (!told->anything) return out;
    out = put_some(out, "tracing.opentelemetry.flush_interval_ms", (double)told->flush_interval_ms);
    out = put_some(out, "tracing.opentelemetry.min_flush_spans", told->min_flush_spans);
    out = put_pair(out, "tracing.random_sampling", rate, put_fraction(rate, told->ten_thousandths));
    return put_some(out, "tracing.zipkin.flush_interval_ms", (double)told->flush_interval_ms);
}

static void put_field(struct weir_buffer *out, uint32_t number, const void *bytes, size_t size) {
    uint8_t head[20];
    uint8_t *at = weir_wire_put_key(head, number, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, size);
    weir_buffer_put(out, head, (size_t)(at - head));
    weir_buffer_put(out, bytes, size);
}

void weir_envoy_put_runtime(struct weir_buffer *out, const char *name, size_t name_size,
                            const struct weir_envoy_told *told) {
    uint8_t layer[5 * PAIR_BYTES_MAX];
    put_field(out, 1, name, name_size);
    put_field(out, 2, layer, (size_t)(put_layer(layer, told) - layer));
}
