/* ruled.h - the rules of a configuration, and spans written, read by the walk under them, and unpacked. */
#ifndef WEIR_TESTS_DECODE_RULED_H
#define WEIR_TESTS_DECODE_RULED_H
#include "collector/attributes/rules.h"
#include "collector/config/limits.h"
#include "collector/config/load.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/decode/redact.h"
#include "collector/decode/span_writer.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Trace__V1__Span Span;
#define CARD       "4111111111111111"
#define T(literal) literal, sizeof(literal) - 1

static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 1};
static struct weir_names *names;
static struct weir_metrics *metrics;
static struct weir_rules_counts *counts;
static struct weir_config *config;
static struct weir_rules *rules;
static struct weir_otlp *otlp;
static struct weir_batch *batch;
static struct weir_error err;

static inline enum weir_status compile(const char *yaml) {
    weir_rules_free(rules);
    weir_config_free(config);
    rules = NULL;
    config = NULL;
    err = (struct weir_error){0};
    enum weir_status status =
        weir_config_parse("weir.yaml", (const uint8_t *)yaml, strlen(yaml), &machine, &config, &err);
    if (status == WEIR_OK) status = weir_rules_new(config, counts, &rules, &err);
    if (otlp != NULL) weir_otlp_set_rules(otlp, rules);
    return status;
}

static inline int begin(void **state) {
    (void)state;
    names = weir_names_new(16384, 1 << 20);
    metrics = weir_metrics_new();
    counts = weir_rules_counts_new(metrics);
    otlp = weir_otlp_new(names);
    batch = weir_batch_new(NULL, 0);
    return compile("lanes: 1\n") != WEIR_OK;
}

static inline int finish(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    otlp = NULL;
    weir_rules_free(rules);
    weir_config_free(config);
    rules = NULL;
    config = NULL;
    weir_rules_counts_free(counts);
    weir_metrics_free(metrics);
    weir_names_free(names);
    return 0;
}

static inline uint64_t redacted(const char *rule) {
    struct weir_buffer page = {0};
    char want[96];
    weir_metrics_expose(metrics, &page);
    weir_buffer_byte(&page, 0);
    snprintf(want, sizeof want, "weir_attributes_redacted_total{rule=\"%s\"} ", rule);
    const char *at = strstr((char *)page.bytes, want);
    uint64_t value = at == NULL ? 0 : strtoull(at + strlen(want), NULL, 10);
    weir_buffer_free(&page);
    return value;
}

static struct weir_span_writer writer;
static struct weir_otlp_counts decoded;

static inline void start(void) {
    weir_span_begin(&writer, batch);
    weir_span_ids(&writer, 1, 2, 3, 0);
    weir_span_kind(&writer, WEIR_KIND_SERVER);
    weir_span_times(&writer, 1000, 2000);
}

/* The last span, unpacked. */
static inline Span *end_as(const char *service) {
    uint16_t origin;
    assert_int_equal(weir_span_service(otlp, batch, service, strlen(service), &origin), WEIR_OK);
    assert_int_equal(weir_span_end(&writer, otlp, origin, 0, &decoded, &err), WEIR_OK);
    const struct weir_span *view = &batch->spans[batch->span_count - 1];
    Span *span = opentelemetry__proto__trace__v1__span__unpack(NULL, view->size, batch->bytes + view->offset);
    assert_non_null(span);
    return span;
}

static inline void done(Span *span) {
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
}

static inline const struct weir_span *view(void) {
    return &batch->spans[batch->span_count - 1];
}

static inline const char *text_of(const Span *span, const char *key) {
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) == 0) return span->attributes[i]->value->string_value;
    }
    return NULL;
}

static inline bool holds(const void *bytes, size_t size, const char *what) {
    return memmem(bytes, size, what, strlen(what)) != NULL;
}
#endif
