/* A card number planted anywhere in random requests: after the walk neither spans nor origins nor the table of names
 * hold it, and the rules find nothing more in what they left. */
#define _GNU_SOURCE /* memmem */
#include "collector/config/load.h"
#include "collector/core/buffer.h"
#include "collector/decode/otlp.h"
#include "collector/decode/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { REQUESTS = 30000, SPANS_MAX = 3, NESTED_MAX = 3 };

static uint64_t seed;
static char card[20]; /* the digits, and how they are written */
static char shown[32];
static unsigned planted; /* how often it stands in the request */

static unsigned pick(unsigned below) {
    seed += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (unsigned)((z ^ z >> 31) % below);
}

static void make_card(void) {
    unsigned digits = 13 + pick(7), sum = 0, size = 0, every = 2 + pick(5), separator = pick(3);
    for (unsigned i = 0; i < digits; i++) {
        unsigned digit = i == 0 ? 1 + pick(9) : pick(10);
        unsigned twice = 2 * digit;
        if (i + 1 == digits) digit = (10 - sum % 10) % 10;
        sum += (digits - i) % 2 != 0 ? digit : twice > 9 ? twice - 9 : twice;
        card[i] = (char)('0' + digit);
        if (separator > 0 && i > 0 && i % every == 0) shown[size++] = separator == 1 ? ' ' : '-';
        shown[size++] = card[i];
    }
    card[digits] = 0;
    shown[size] = 0;
}

static void put(struct weir_buffer *out, uint32_t number, const void *bytes, size_t size) {
    assert_true(weir_buffer_room(out, size + 16));
    out->size = (size_t)(weir_wire_put_bytes(out->bytes + out->size, number, bytes, size) - out->bytes);
}

static void put_number(struct weir_buffer *out, uint32_t number, uint64_t value) {
    assert_true(weir_buffer_room(out, 24));
    out->size = (size_t)(weir_wire_put_uint(out->bytes + out->size, number, value) - out->bytes);
}

static void put_inside(struct weir_buffer *out, uint32_t number, struct weir_buffer *inside) {
    put(out, number, inside->size > 0 ? inside->bytes : (const uint8_t *)"", inside->size);
    weir_buffer_free(inside);
}

/* Words around, and now and then the number: nothing that could be part of it stands beside it. */
static void put_text(struct weir_buffer *out, uint32_t number) {
    static const char *const words[] = {
        "GET /", "pay",  "?q=", "http://shop:80/",           "user 42", "_", "x", ",", "\xc3\xa9", "\xff", "/a/b/",
        "4111",  "card", "",    "it is a rather long text. "};
    char text[512];
    size_t size = 0;
    for (unsigned i = pick(6); i > 0; i--)
        size += (size_t)sprintf(text + size, "%s", words[pick(sizeof words / sizeof words[0])]);
    if (pick(4) == 0) {
        size += (size_t)sprintf(text + size, "=%s.", shown);
        planted++;
    }
    for (unsigned i = pick(4); i > 0; i--)
        size += (size_t)sprintf(text + size, "%s", words[pick(sizeof words / sizeof words[0])]);
    put(out, number, text, size);
}

static void put_pair(struct weir_buffer *out, uint32_t number, unsigned depth);

static void put_any(struct weir_buffer *out, uint32_t number, unsigned depth) {
    struct weir_buffer any = {0}, inner = {0};
    switch (pick(depth < NESTED_MAX ? 8 : 5)) {
    case 0: put_number(&any, 2, 1); break;
    case 1:
        planted++;
        put_number(&any, 3, strtoull(card, NULL, 10));
        break;
    case 2: put_text(&any, 7); break;
    case 5:
        for (unsigned i = pick(4); i > 0; i--)
            put_any(&inner, 1, depth + 1);
        put_inside(&any, 5, &inner);
        break;
    case 6:
        for (unsigned i = pick(4); i > 0; i--)
            put_pair(&inner, 1, depth + 1);
        put_inside(&any, 6, &inner);
        break;
    default:
        put_text(&any, 1);
        if (pick(20) == 0) put_text(&any, 1); /* twice: the first is not read, but still there */
    }
    put_inside(out, number, &any);
}

static void put_pair(struct weir_buffer *out, uint32_t number, unsigned depth) {
    static const char *const keys[] = {"http.url",     "http.target", "url.query",    "note",
                                       "peer.service", "error",       "service.name", "server.address"};
    struct weir_buffer pair = {0};
    const char *key = keys[pick(sizeof keys / sizeof keys[0])];
    if (pick(10) == 0)
        put_text(&pair, 1);
    else
        put(&pair, 1, key, strlen(key));
    put_any(&pair, 2, depth);
    put_inside(out, number, &pair);
}

static void put_span(struct weir_buffer *out) {
    struct weir_buffer span = {0}, part = {0};
    put(&span, 1, "0123456789abcdef", 16);
    put(&span, 2, "01234567", 8);
    for (unsigned names = pick(10) == 0 ? 2 : 1; names > 0; names--)
        put_text(&span, 5);
    put_number(&span, 6, pick(6));
    if (pick(3) == 0) put_text(&span, 3);
    for (unsigned i = pick(5); i > 0; i--)
        put_pair(&span, 9, 0);
    for (unsigned i = pick(3); i > 0; i--) {
        put_text(&part, 2);
        put_pair(&part, 3, 0);
        put_inside(&span, 11, &part);
    }
    if (pick(3) == 0) {
        put(&part, 1, "0123456789abcdef", 16);
        put(&part, 2, "01234567", 8);
        put_text(&part, 3);
        put_pair(&part, 4, 0);
        put_inside(&span, 13, &part);
    }
    if (pick(3) == 0) {
        put_text(&part, 2);
        put_inside(&span, 15, &part);
    }
    put_inside(out, 2, &span);
}

static void make_request(struct weir_buffer *request) {
    struct weir_buffer resource_spans = {0}, scope_spans = {0}, part = {0};
    for (unsigned i = pick(4); i > 0; i--)
        put_pair(&part, 1, 0);
    put_inside(&resource_spans, 1, &part);
    put_text(&part, 1);
    put_text(&part, 2);
    put_pair(&part, 3, 0);
    put_inside(&scope_spans, 1, &part);
    for (unsigned i = 1 + pick(SPANS_MAX); i > 0; i--)
        put_span(&scope_spans);
    put_inside(&resource_spans, 2, &scope_spans);
    put_inside(request, 1, &resource_spans);
}

/* As text, as it was written or without separators, or as a number. */
static bool holds(const uint8_t *bytes, size_t size) {
    uint8_t number[10];
    size_t number_size = (size_t)(weir_wire_put_varint(number, strtoull(card, NULL, 10)) - number);
    return memmem(bytes, size, card, strlen(card)) != NULL || memmem(bytes, size, shown, strlen(shown)) != NULL ||
           memmem(bytes, size, number, number_size) != NULL;
}

static void nothing_planted_is_left(void **state) {
    (void)state;
    static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 1};
    static const char yaml[] = "lanes: 1\n";
    struct weir_config *config = NULL;
    struct weir_rules *rules = NULL;
    struct weir_error err = {0};
    assert_int_equal(weir_config_parse("weir.yaml", (const uint8_t *)yaml, sizeof yaml - 1, &machine, &config, &err),
                     WEIR_OK);
    assert_int_equal(weir_rules_new(config, NULL, &rules, &err), WEIR_OK);
    unsigned all_planted = 0;
    for (uint64_t round = 0; round < REQUESTS; round++) {
        struct weir_buffer request = {0}, again = {0};
        struct weir_otlp_counts counts;
        seed = round;
        planted = 0;
        make_card();
        make_request(&request);
        all_planted += planted;
        struct weir_names *names = weir_names_new(64, 1 << 16);
        struct weir_otlp *otlp = weir_otlp_new(names);
        struct weir_batch *batch = weir_batch_new(NULL, request.size);
        weir_otlp_set_rules(otlp, rules);
        memcpy(batch->bytes, request.bytes, request.size);
        batch->size = request.size;
        if (weir_otlp_decode(otlp, batch, &counts, &err) != WEIR_OK) fail_msg("%s", err.text);
        for (uint32_t i = 0; i < batch->span_count; i++) {
            struct weir_wire wire = weir_wire_of(batch->bytes + batch->spans[i].offset, batch->spans[i].size);
            if (holds(wire.at, batch->spans[i].size)) fail_msg("request %llu: span %u", (unsigned long long)round, i);
            weir_buffer_clear(&again);
            if (weir_redact(rules, WEIR_OTLP_SPAN, wire, &again))
                fail_msg("request %llu: span %u is not done", (unsigned long long)round, i);
            const struct weir_origin_parts *parts = &batch->origins[batch->spans[i].origin]->parts;
            if (holds(parts->resource, parts->resource_size) || holds(parts->scope, parts->scope_size))
                fail_msg("request %llu: origin of span %u", (unsigned long long)round, i);
        }
        for (uint32_t id = 0; id < weir_names_count(names); id++) {
            size_t size;
            const char *text = weir_names_text(names, id, &size);
            if (holds((const uint8_t *)text, size)) fail_msg("request %llu: name %s", (unsigned long long)round, text);
        }
        weir_buffer_free(&again);
        weir_buffer_free(&request);
        weir_batch_unref(batch);
        weir_otlp_free(otlp);
        weir_names_free(names);
    }
    assert_true(all_planted > REQUESTS);
    weir_rules_free(rules);
    weir_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_planted_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
