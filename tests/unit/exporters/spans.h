/* spans.h - batches for tests, written by hand: Span bodies with core/wire.h, views as the decoder would make them. */
#ifndef WEIR_TESTS_SPANS_H
#define WEIR_TESTS_SPANS_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"
#include "collector/core/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void message(struct weir_buffer *out, uint32_t number, const struct weir_buffer *body) {
    if (!weir_buffer_room(out, body->size + 20)) abort();
    out->size = (size_t)(weir_wire_put_bytes(out->bytes + out->size, number, body->bytes, body->size) - out->bytes);
}
static inline void bytes_field(struct weir_buffer *out, uint32_t number, const void *bytes, size_t size) {
    struct weir_buffer body = {.bytes = (uint8_t *)(uintptr_t)bytes, .size = size};
    message(out, number, &body);
}
static inline void text_field(struct weir_buffer *out, uint32_t number, const char *text) {
    bytes_field(out, number, text, strlen(text));
}
static inline void uint_field(struct weir_buffer *out, uint32_t number, uint64_t value) {
    if (!weir_buffer_room(out, 20)) abort();
    out->size = (size_t)(weir_wire_put_uint(out->bytes + out->size, number, value) - out->bytes);
}
static inline void fixed_field(struct weir_buffer *out, uint32_t number, uint64_t value) {
    if (!weir_buffer_room(out, 20)) abort();
    out->size = (size_t)(weir_wire_put_fixed64(out->bytes + out->size, number, value) - out->bytes);
}
/* Appends KeyValue{key, value} as field `number`; value is an AnyValue's body. */
static inline void pair_field(struct weir_buffer *out, uint32_t number, const char *key,
                              const struct weir_buffer *value) {
    struct weir_buffer pair = {0};
    text_field(&pair, 1, key);
    message(&pair, 2, value);
    message(out, number, &pair);
    weir_buffer_free(&pair);
}
static inline void pair_bytes(struct weir_buffer *out, uint32_t number, const char *key, const void *bytes,
                              size_t size) {
    struct weir_buffer value = {0};
    bytes_field(&value, 1, bytes, size);
    pair_field(out, number, key, &value);
    weir_buffer_free(&value);
}
static inline void pair_text(struct weir_buffer *out, uint32_t number, const char *key, const char *text) {
    pair_bytes(out, number, key, text, strlen(text));
}
static inline void pair_int(struct weir_buffer *out, uint32_t number, const char *key, int64_t n) {
    struct weir_buffer value = {0};
    uint_field(&value, 3, (uint64_t)n);
    pair_field(out, number, key, &value);
    weir_buffer_free(&value);
}
static inline void pair_bool(struct weir_buffer *out, uint32_t number, const char *key, bool yes) {
    struct weir_buffer value = {0};
    uint_field(&value, 2, yes);
    pair_field(out, number, key, &value);
    weir_buffer_free(&value);
}
static inline void pair_double(struct weir_buffer *out, uint32_t number, const char *key, double number_) {
    struct weir_buffer value = {0};
    uint64_t bits;
    memcpy(&bits, &number_, 8);
    fixed_field(&value, 4, bits);
    pair_field(out, number, key, &value);
    weir_buffer_free(&value);
}
/* AnyValue bodies for lists. */
static inline void any_text(struct weir_buffer *out, const char *text) {
    text_field(out, 1, text);
}

/* resource and scope are message bodies; either may be NULL. */
static inline struct weir_origin *origin_new(const struct weir_buffer *resource, const struct weir_buffer *scope) {
    struct weir_origins *table = weir_origins_new(1);
    struct weir_origin_parts parts = {0};
    int is_new;
    static const uint8_t none[1];
    parts.resource = resource != NULL && resource->size > 0 ? resource->bytes : none;
    parts.resource_size = resource != NULL ? (uint32_t)resource->size : 0;
    parts.scope = scope != NULL && scope->size > 0 ? scope->bytes : none;
    parts.scope_size = scope != NULL ? (uint32_t)scope->size : 0;
    parts.resource_url = parts.scope_url = none;
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    weir_origins_free(table);
    return origin;
}
static inline struct weir_origin *origin_of_service(const char *service) {
    struct weir_buffer resource = {0};
    pair_text(&resource, 1, "service.name", service);
    struct weir_origin *origin = origin_new(&resource, NULL);
    weir_buffer_free(&resource);
    return origin;
}

static const struct weir_span a_view = {
    .trace_hi = 0x0102030405060708ull,
    .trace_lo = 0x090a0b0c0d0e0f10ull,
    .span_id = 0x1112131415161718ull,
    .parent_id = 0x2122232425262728ull,
    .start_ns = 1700000000123456789ull,
    .duration_ns = 1500000,
    .prior = 1,
    .kind = WEIR_KIND_SERVER,
};

/* Adds `body` under `view` (offset, size and origin are filled in). Takes no reference away from the caller. */
static inline void add_span(struct weir_batch *batch, struct weir_origin *origin, const struct weir_buffer *body,
                            struct weir_span view) {
    if (weir_batch_room(batch, body->size) != WEIR_OK || weir_batch_origin(batch, origin, &view.origin) != WEIR_OK)
        abort();
    if (body->size > 0) memcpy(batch->bytes + batch->size, body->bytes, body->size);
    view.offset = (uint32_t)batch->size;
    view.size = (uint32_t)body->size;
    batch->size += body->size;
    if (weir_batch_add(batch, &view) != WEIR_OK) abort();
}

/* The head of a Span body as the view says: ids, name, kind, times. */
static inline void span_head(struct weir_buffer *body, const struct weir_span *view, const char *name) {
    uint64_t id[2] = {__builtin_bswap64(view->trace_hi), __builtin_bswap64(view->trace_lo)};
    bytes_field(body, 1, id, 16);
    id[0] = __builtin_bswap64(view->span_id);
    bytes_field(body, 2, id, 8);
    if (view->parent_id != 0) {
        id[0] = __builtin_bswap64(view->parent_id);
        bytes_field(body, 4, id, 8);
    }
    text_field(body, 5, name);
    uint_field(body, 6, view->kind);
    fixed_field(body, 7, view->start_ns);
    fixed_field(body, 8, view->start_ns + view->duration_ns);
}

/* `count` spans of one service, 361 bytes and 8 attributes each, 8 a trace: what a mesh's proxies send. */
static inline struct weir_batch *mesh_batch(uint32_t count) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_origin *origin = origin_of_service("payments");
    uint64_t random = 88172645463325252ull;
    for (uint32_t i = 0; i < count; i++) {
        struct weir_span view = a_view;
        struct weir_buffer body = {0};
        char text[64];
        for (int k = 0; k < 3; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if (k == 0 && i % 8 == 0) view.trace_lo = random;
            if (k == 1) view.span_id = random;
            if (k == 2) view.duration_ns = random % 50000000;
        }
        if (i % 8 != 0) {
            view.trace_lo = batch->spans[i - 1].trace_lo;
            view.parent_id = batch->spans[i - 1].span_id;
        }
        view.trace_hi = view.trace_lo * 0x9e3779b97f4a7c15ull;
        view.kind = i % 2 == 0 ? WEIR_KIND_SERVER : WEIR_KIND_CLIENT;
        view.start_ns += i * 1000ull;
        span_head(&body, &view, "POST /v2/checkout");
        pair_text(&body, 9, "http.request.method", "POST");
        pair_text(&body, 9, "url.path", "/v2/checkout");
        pair_int(&body, 9, "http.response.status_code", random % 50 == 0 ? 503 : 200);
        pair_text(&body, 9, "server.address", "cards.shop.svc");
        pair_text(&body, 9, "upstream_cluster", "outbound|8080|cards");
        snprintf(text, sizeof text, "10.4.%u.%u", (unsigned)(random >> 20 & 7), (unsigned)(random >> 24 & 255));
        pair_text(&body, 9, "peer.address", text);
        pair_text(&body, 9, "component", "proxy");
        char agent[256] =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36";
        size_t left = 361 - body.size - 18; /* 18: what the attribute costs besides its value */
        if (left < strlen(agent)) agent[left] = 0;
        pair_text(&body, 9, "user_agent", agent);
        add_span(batch, origin, &body, view);
        weir_buffer_free(&body);
    }
    weir_origin_unref(origin);
    return batch;
}
#endif
