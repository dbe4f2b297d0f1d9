/* walk.c - what the walk from request bytes to views costs: nanoseconds a span on one thread.
 *   walk_bench [--requests N]         one line of JSON on stdout, medians of 5 runs
 * Requests of 100 spans, 8 spans a trace, 8 string attributes a span as a proxy writes them, 361 bytes a span; `known`
 * has 1,000 names that come again, `distinct` 6,400, which are more than a lane remembers. In `known_with_queries` the
 * default rules find a query string in every span, which is then written anew. */
#include "collector/attributes/rules.h"
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 5, SPANS = 100, HELD = 64 /* requests, walked in turn */, SPAN_BYTES = 361 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * WEIR_S + (uint64_t)now.tv_nsec;
}

static uint8_t *put_attribute(uint8_t *out, uint32_t number, const char *key, const char *value) {
    uint8_t any[128], pair[160], *at;
    at = weir_wire_put_bytes(any, 1, value, strlen(value));
    size_t any_size = (size_t)(at - any);
    at = weir_wire_put_bytes(pair, 1, key, strlen(key));
    at = weir_wire_put_bytes(at, 2, any, any_size);
    return weir_wire_put_bytes(out, number, pair, (size_t)(at - pair));
}

static size_t make_span(uint8_t *out, uint64_t serial, uint64_t names, bool query) {
    static const char *const attributes[][2] = {{"component", "proxy"},         {"http.method", "GET"},
                                                {"http.status_code", "200"},    {"upstream_cluster", "orders"},
                                                {"peer.address", "10.4.17.36"}, {"http.protocol", "HTTP/1.1"},
                                                {"response_flags", "-"}};
    uint64_t trace[2] = {serial / 8 * 0x9e3779b97f4a7c15ull, (serial / 8 + 1) * 0xbf58476d1ce4e5b9ull};
    uint64_t id = serial + 1, parent = serial % 8 == 0 ? 0 : serial;
    char name[40], pad[128];
    uint8_t *at = weir_wire_put_bytes(out, 1, trace, 16);
    at = weir_wire_put_bytes(at, 2, &id, 8);
    if (parent != 0) at = weir_wire_put_bytes(at, 4, &parent, 8);
    snprintf(name, sizeof name, "GET /orders-%06llu/items", (unsigned long long)(serial % names));
    at = weir_wire_put_bytes(at, 5, name, strlen(name));
    at = weir_wire_put_uint(at, 6, 2 + serial % 2);
    at = weir_wire_put_fixed64(at, 7, 1700000000000000000ull + serial * 1000);
    at = weir_wire_put_fixed64(at, 8, 1700000000000000000ull + serial * 1000 + 250000);
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
        at = put_attribute(at, 9, attributes[i][0], attributes[i][1]);
    /* The eighth fills up: 9 | size | key | value take 8 bytes and `http.url`. */
    size_t used = (size_t)(at - out) + 8 + 8;
    memset(pad, 'u', sizeof pad);
    pad[used < SPAN_BYTES ? SPAN_BYTES - used : 0] = 0;
    if (query) pad[strlen(pad) / 2] = '?';
    return (size_t)(put_attribute(at, 9, "http.url", pad) - out);
}

static struct weir_batch *make_request(uint64_t serial, uint64_t names, bool query, size_t *span_bytes) {
    static uint8_t scope_spans[SPANS * 512], resource_spans[SPANS * 512 + 256], resource[256], span[1024];
    uint8_t *at = scope_spans, *end;
    *span_bytes = 0;
    for (uint64_t i = 0; i < SPANS; i++) {
        size_t size = make_span(span, serial * SPANS + i, names, query);
        *span_bytes += size;
        at = weir_wire_put_bytes(at, 2, span, size);
    }
    end = put_attribute(resource, 1, "service.name", "payments");
    end = put_attribute(end, 1, "k8s.pod.name", "payments-7c9f6b5d4-x2x7k");
    uint8_t *whole = weir_wire_put_bytes(resource_spans, 1, resource, (size_t)(end - resource));
    whole = weir_wire_put_bytes(whole, 2, scope_spans, (size_t)(at - scope_spans));
    size_t size = (size_t)(whole - resource_spans);
    struct weir_batch *batch = weir_batch_new(NULL, size + 16);
    if (batch == NULL) exit(1);
    batch->size = (size_t)(weir_wire_put_bytes(batch->bytes, 1, resource_spans, size) - batch->bytes);
    return batch;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double walk_ns(uint64_t requests, uint64_t names_count, bool query, const struct weir_rules *rules,
                      size_t *span_bytes) {
    double runs[RUNS];
    struct weir_batch *held[HELD];
    size_t sizes[HELD];
    for (uint64_t i = 0; i < HELD; i++) {
        held[i] = make_request(i, names_count, query, span_bytes);
        sizes[i] = held[i]->size;
    }
    for (int run = 0; run < RUNS; run++) {
        struct weir_names *names = weir_names_new(65536, 16 << 20);
        struct weir_otlp *otlp = weir_otlp_new(names);
        if (names == NULL || otlp == NULL) exit(1);
        weir_otlp_set_rules(otlp, rules);
        uint64_t start = now_ns();
        for (uint64_t i = 0; i < requests; i++) {
            struct weir_otlp_counts counts;
            struct weir_batch *batch = held[i % HELD];
            weir_batch_truncate(batch, 0, sizes[i % HELD]);
            if (weir_otlp_decode(otlp, batch, &counts, NULL) != WEIR_OK || counts.spans != SPANS) exit(1);
        }
        runs[run] = (double)(now_ns() - start) / (double)(requests * SPANS);
        weir_otlp_free(otlp);
        weir_names_free(names);
    }
    for (int i = 0; i < HELD; i++)
        weir_batch_unref(held[i]);
    qsort(runs, RUNS, sizeof runs[0], by_value);
    return runs[RUNS / 2];
}

int main(int argc, char **argv) {
    uint64_t requests = 5000;
    if (argc == 3 && strcmp(argv[1], "--requests") == 0) requests = strtoull(argv[2], NULL, 10);
    if (requests == 0) return 2;
    size_t bytes;
    static const struct weir_config config; /* no list: the rules that are on by default */
    struct weir_rules *rules = NULL;
    if (weir_rules_new(&config, NULL, &rules, NULL) != WEIR_OK) return 1;
    double known = walk_ns(requests, 1000, false, NULL, &bytes);
    double distinct = walk_ns(requests, UINT64_MAX, false, NULL, &bytes);
    double ruled = walk_ns(requests, 1000, false, rules, &bytes);
    double queries = walk_ns(requests, 1000, true, rules, &bytes);
    printf("{\"walk_ns_a_span\": {\"known\": %.1f, \"distinct\": %.1f, \"known_with_default_rules\": %.1f, "
           "\"known_with_queries\": %.1f}, \"span_bytes\": %.1f}\n",
           known, distinct, ruled, queries, (double)bytes / SPANS);
    weir_rules_free(rules);
    return 0;
}
