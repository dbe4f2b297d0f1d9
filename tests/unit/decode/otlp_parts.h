/* otlp_parts.h - requests written by hand, a message at a time, and decoded: what the unit tests of the walker share.
 */
#ifndef WEIR_TESTS_OTLP_PARTS_H
#define WEIR_TESTS_OTLP_PARTS_H
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* A message being written; parts are nested by writing the inner one first. */
struct part {
    uint8_t bytes[4096];
    size_t size;
};

static inline void put(struct part *to, uint32_t number, const void *bytes, size_t size) {
    to->size = (size_t)(weir_wire_put_bytes(to->bytes + to->size, number, bytes, size) - to->bytes);
}
static inline void text(struct part *to, uint32_t number, const char *value) {
    put(to, number, value, strlen(value));
}
static inline void fixed(struct part *to, uint32_t number, uint64_t value) {
    to->size = (size_t)(weir_wire_put_fixed64(to->bytes + to->size, number, value) - to->bytes);
}
static inline void number(struct part *to, uint32_t field, uint64_t value) {
    to->size = (size_t)(weir_wire_put_uint(to->bytes + to->size, field, value) - to->bytes);
}
static inline void inside(struct part *to, uint32_t field, const struct part *part) {
    put(to, field, part->bytes, part->size);
}

static const uint8_t trace_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8};
static const uint8_t span_id[8] = {0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8};
static const uint8_t parent_id[8] = {0xc1, 2, 3, 4, 5, 6, 7, 8};

static inline struct part good_span(void) {
    struct part span = {.size = 0};
    put(&span, 1, trace_id, 16);
    put(&span, 2, span_id, 8);
    put(&span, 4, parent_id, 8);
    text(&span, 5, "GET /users/42");
    number(&span, 6, WEIR_KIND_CLIENT);
    fixed(&span, 7, 1000);
    fixed(&span, 8, 3500);
    return span;
}

static inline struct part attribute_text(const char *key, const char *value) {
    struct part pair = {.size = 0}, any = {.size = 0};
    text(&any, 1, value);
    text(&pair, 1, key);
    inside(&pair, 2, &any);
    return pair;
}

static inline struct part attribute_int(const char *key, int64_t value) {
    struct part pair = {.size = 0}, any = {.size = 0};
    number(&any, 3, (uint64_t)value);
    text(&pair, 1, key);
    inside(&pair, 2, &any);
    return pair;
}

static inline struct part request_of_spans(const char *service, const struct part *spans, unsigned count) {
    struct part request = {.size = 0}, resource_spans = {.size = 0}, resource = {.size = 0}, scope_spans = {.size = 0};
    if (service != NULL) {
        struct part name = attribute_text("service.name", service);
        inside(&resource, 1, &name);
        inside(&resource_spans, 1, &resource);
    }
    for (unsigned i = 0; i < count; i++)
        inside(&scope_spans, 2, &spans[i]);
    inside(&resource_spans, 2, &scope_spans);
    inside(&request, 1, &resource_spans);
    return request;
}

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_batch *batch;
static struct weir_otlp_counts counts;
static struct weir_error err;

static inline int setup(void **state) {
    (void)state;
    names = weir_names_new(256, 64 * 1024);
    otlp = weir_otlp_new(names);
    batch = NULL;
    return 0;
}
static inline int teardown(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    weir_names_free(names);
    return 0;
}

static inline enum weir_status decode_bytes(const uint8_t *bytes, size_t size) {
    weir_batch_unref(batch);
    batch = weir_batch_new(NULL, size);
    if (size > 0) memcpy(batch->bytes, bytes, size);
    batch->size = size;
    err = (struct weir_error){0};
    return weir_otlp_decode(otlp, batch, &counts, &err);
}

static inline const struct weir_span *decode_span(const struct part *span) {
    struct part request = request_of_spans("shop", span, 1);
    enum weir_status status = decode_bytes(request.bytes, request.size);
    if (status != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(counts.spans, 1);
    return &batch->spans[0];
}

static inline void is_name(uint32_t id, const char *want) {
    assert_string_equal(weir_names_text(names, id, NULL), want);
}
#endif
