/* zipkin_decode.c - what Zipkin's formats cost from body bytes to views: nanoseconds a span on one thread.
 *   zipkin_bench [--requests N]         one line of JSON on stdout, medians of 5 runs
 * Requests of 100 spans of 8 services, half client and half server, each with both endpoints and eight tags as Envoy
 * and Brave write them; in thrift cs/cr or sr/ss with a host each, an address and eight STRINGs with a host. */
#include "collector/core/buffer.h"
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "collector/decode/thrift.h"
#include "collector/decode/zipkin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 5, SPANS = 100, HELD = 64 /* requests, read in turn */, TAGS = 8 };

static const char *const tags[TAGS][2] = {{"component", "proxy"},         {"http.method", "GET"},
                                          {"http.status_code", "200"},    {"upstream_cluster", "orders"},
                                          {"peer.address", "10.4.17.36"}, {"http.protocol", "HTTP/1.1"},
                                          {"response_flags", "-"},        {"http.url", "https://shop/orders/17/items"}};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * WEIR_S + (uint64_t)now.tv_nsec;
}

struct span {
    uint64_t trace[2], id, parent, timestamp_us, duration_us;
    bool server;
    char name[32], service[32];
};

static struct span span_of(uint64_t serial) {
    struct span span = {.trace = {serial / 8 * 0x9e3779b97f4a7c15ull + 1, (serial / 8 + 1) * 0xbf58476d1ce4e5b9ull},
                        .id = (serial + 1) * 0x94d049bb133111ebull,
                        .parent = serial % 8 == 0 ? 0 : serial * 0x94d049bb133111ebull,
                        .timestamp_us = 1700000000000000ull + serial,
                        .duration_us = 250 + serial % 1000,
                        .server = serial % 2 == 0};
    snprintf(span.name, sizeof span.name, "get /orders-%03u/items", (unsigned)(serial % 1000));
    snprintf(span.service, sizeof span.service, "service-%u", (unsigned)(serial / 2 % 8));
    return span;
}

/* ---- JSON ---- */

static void json_span(struct weir_buffer *out, const struct span *span) {
    weir_buffer_printf(out, "{\"traceId\":\"%016llx%016llx\",", (unsigned long long)span->trace[0],
                       (unsigned long long)span->trace[1]);
    if (span->parent != 0) weir_buffer_printf(out, "\"parentId\":\"%016llx\",", (unsigned long long)span->parent);
    weir_buffer_printf(out,
                       "\"id\":\"%016llx\",\"kind\":\"%s\",\"name\":\"%s\",\"timestamp\":%llu,\"duration\":%llu,"
                       "\"localEndpoint\":{\"serviceName\":\"%s\",\"ipv4\":\"10.4.17.35\"},"
                       "\"remoteEndpoint\":{\"ipv4\":\"10.4.17.36\",\"port\":43210},\"tags\":{",
                       (unsigned long long)span->id, span->server ? "SERVER" : "CLIENT", span->name,
                       (unsigned long long)span->timestamp_us, (unsigned long long)span->duration_us, span->service);
    for (int i = 0; i < TAGS; i++)
        weir_buffer_printf(out, "%s\"%s\":\"%s\"", i > 0 ? "," : "", tags[i][0], tags[i][1]);
    weir_buffer_text(out, span->server ? "},\"shared\":true}" : "}}");
}

static void json_list(struct weir_buffer *out, uint64_t serial) {
    weir_buffer_byte(out, '[');
    for (uint64_t i = 0; i < SPANS; i++) {
        struct span span = span_of(serial * SPANS + i);
        if (i > 0) weir_buffer_byte(out, ',');
        json_span(out, &span);
    }
    weir_buffer_byte(out, ']');
}

/* ---- proto3 ---- */

static uint8_t *put_text(uint8_t *out, uint32_t number, const char *text) {
    return weir_wire_put_bytes(out, number, text, strlen(text));
}

static uint8_t *put_id(uint8_t *out, uint32_t number, const uint64_t *id, size_t size) {
    uint64_t big[2] = {__builtin_bswap64(id[0]), size > 8 ? __builtin_bswap64(id[1]) : 0};
    return weir_wire_put_bytes(out, number, big, size);
}

static void proto3_list(struct weir_buffer *out, uint64_t serial) {
    for (uint64_t i = 0; i < SPANS; i++) {
        struct span span = span_of(serial * SPANS + i);
        uint8_t body[1024], part[128], list[1100], *end;
        uint8_t *at = put_id(body, 1, span.trace, 16);
        if (span.parent != 0) at = put_id(at, 2, &span.parent, 8);
        at = put_id(at, 3, &span.id, 8);
        at = weir_wire_put_uint(at, 4, span.server ? 2 : 1);
        at = put_text(at, 5, span.name);
        at = weir_wire_put_fixed64(at, 6, span.timestamp_us);
        at = weir_wire_put_uint(at, 7, span.duration_us);
        end = weir_wire_put_bytes(put_text(part, 1, span.service), 2, "\x0a\x04\x11\x23", 4);
        at = weir_wire_put_bytes(at, 8, part, (size_t)(end - part));
        end = weir_wire_put_uint(weir_wire_put_bytes(part, 2, "\x0a\x04\x11\x24", 4), 4, 43210);
        at = weir_wire_put_bytes(at, 9, part, (size_t)(end - part));
        for (int k = 0; k < TAGS; k++) {
            end = put_text(put_text(part, 1, tags[k][0]), 2, tags[k][1]);
            at = weir_wire_put_bytes(at, 11, part, (size_t)(end - part));
        }
        if (span.server) at = weir_wire_put_uint(at, 13, 1);
        end = weir_wire_put_bytes(list, 1, body, (size_t)(at - body));
        weir_buffer_put(out, list, (size_t)(end - list));
    }
}

/* ---- thrift ---- */

static void big(struct weir_buffer *out, uint64_t value, unsigned size) {
    while (size-- > 0)
        weir_buffer_byte(out, (uint8_t)(value >> 8 * size));
}

static void field(struct weir_buffer *out, enum weir_thrift_type type, unsigned number) {
    weir_buffer_byte(out, (uint8_t)type);
    big(out, number, 2);
}

static void thrift_text(struct weir_buffer *out, unsigned number, const char *text) {
    field(out, WEIR_THRIFT_STRING, number);
    big(out, strlen(text), 4);
    weir_buffer_text(out, text);
}

static void thrift_i64(struct weir_buffer *out, unsigned number, uint64_t value) {
    field(out, WEIR_THRIFT_I64, number);
    big(out, value, 8);
}

static void thrift_host(struct weir_buffer *out, unsigned number, const char *service) {
    field(out, WEIR_THRIFT_STRUCT, number);
    field(out, WEIR_THRIFT_I32, 1);
    big(out, 0x0a041123, 4);
    field(out, WEIR_THRIFT_I16, 2);
    big(out, 4140, 2);
    thrift_text(out, 3, service);
    weir_buffer_byte(out, WEIR_THRIFT_STOP);
}

static void thrift_binary(struct weir_buffer *out, const char *key, const char *value, unsigned type,
                          const char *service) {
    thrift_text(out, 1, key);
    thrift_text(out, 2, value);
    field(out, WEIR_THRIFT_I32, 3);
    big(out, type, 4);
    thrift_host(out, 4, service);
    weir_buffer_byte(out, WEIR_THRIFT_STOP);
}

static void thrift_list(struct weir_buffer *out, uint64_t serial) {
    weir_buffer_byte(out, WEIR_THRIFT_STRUCT);
    big(out, SPANS, 4);
    for (uint64_t i = 0; i < SPANS; i++) {
        struct span span = span_of(serial * SPANS + i);
        thrift_i64(out, 1, span.trace[1]);
        thrift_text(out, 3, span.name);
        thrift_i64(out, 4, span.id);
        if (span.parent != 0) thrift_i64(out, 5, span.parent);
        field(out, WEIR_THRIFT_LIST, 6);
        weir_buffer_byte(out, WEIR_THRIFT_STRUCT);
        big(out, 2, 4);
        for (int k = 0; k < 2; k++) {
            thrift_i64(out, 1, span.timestamp_us + (k > 0 ? span.duration_us : 0));
            thrift_text(out, 2, span.server ? (k > 0 ? "ss" : "sr") : (k > 0 ? "cr" : "cs"));
            thrift_host(out, 3, span.service);
            weir_buffer_byte(out, WEIR_THRIFT_STOP);
        }
        field(out, WEIR_THRIFT_LIST, 8);
        weir_buffer_byte(out, WEIR_THRIFT_STRUCT);
        big(out, TAGS + 1, 4);
        thrift_binary(out, span.server ? "ca" : "sa", "\x01", 0, "other");
        for (int k = 0; k < TAGS; k++)
            thrift_binary(out, tags[k][0], tags[k][1], 6, span.service);
        thrift_i64(out, 10, span.timestamp_us);
        thrift_i64(out, 12, span.trace[0]);
        weir_buffer_byte(out, WEIR_THRIFT_STOP);
    }
}

/* ---- the measure ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double decode_ns(uint64_t requests, void (*make)(struct weir_buffer *, uint64_t), double *span_bytes) {
    double runs[RUNS];
    struct weir_buffer held[HELD] = {0};
    for (uint64_t i = 0; i < HELD; i++)
        make(&held[i], i);
    *span_bytes = (double)held[0].size / SPANS;
    for (int run = 0; run < RUNS; run++) {
        struct weir_names *names = weir_names_new(65536, 16 << 20);
        struct weir_otlp *otlp = weir_otlp_new(names);
        struct weir_zipkin_decoder *decoder = weir_zipkin_decoder_new(otlp);
        if (names == NULL || otlp == NULL || decoder == NULL) exit(1);
        uint64_t start = now_ns();
        for (uint64_t i = 0; i < requests; i++) {
            const struct weir_buffer *body = &held[i % HELD];
            struct weir_otlp_counts counts = {0};
            struct weir_error err;
            struct weir_batch *batch = weir_batch_new(NULL, body->size); /* as the receiver does */
            if (batch == NULL ||
                weir_zipkin_decode(decoder, weir_zipkin_format_of(body->bytes, body->size), body->bytes, body->size, 0,
                                   batch, &counts, &err) != WEIR_OK ||
                counts.spans != SPANS)
                exit(1);
            weir_batch_unref(batch);
        }
        runs[run] = (double)(now_ns() - start) / (double)(requests * SPANS);
        weir_zipkin_decoder_free(decoder);
        weir_otlp_free(otlp);
        weir_names_free(names);
    }
    for (int i = 0; i < HELD; i++)
        weir_buffer_free(&held[i]);
    qsort(runs, RUNS, sizeof runs[0], by_value);
    return runs[RUNS / 2];
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*make)(struct weir_buffer *, uint64_t);
    } formats[] = {{"json", json_list}, {"proto3", proto3_list}, {"thrift", thrift_list}};
    uint64_t requests = 2000;
    if (argc == 3 && strcmp(argv[1], "--requests") == 0) requests = strtoull(argv[2], NULL, 10);
    if (requests == 0) return 2;
    printf("{\"zipkin_decode_ns_a_span\": {");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        double bytes, ns = decode_ns(requests, formats[i].make, &bytes);
        printf("%s\"%s\": %.1f, \"%s_span_bytes\": %.1f", i > 0 ? ", " : "", formats[i].name, ns, formats[i].name,
               bytes);
    }
    printf("}}\n");
    return 0;
}
