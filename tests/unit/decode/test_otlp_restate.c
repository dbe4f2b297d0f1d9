#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_restate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *old;
    uint64_t threshold;
    const char *now;
    uint64_t randomness; /* 0: stays */
} states[] = {
    {"", 1ull << 55, "ot=th:8", 0},
    {"", 0xfd70a400000000ull, "ot=th:fd70a4", 0},
    {"", 1, "ot=th:00000000000001", 0},
    {"ot=th:4", 1ull << 55, "ot=th:8", 0},
    {"vendor=1,ot=th:c;rv:0123456789abcd,other=2", 0xe0000000000000ull, "ot=th:e;rv:0123456789abcd,vendor=1,other=2",
     0},
    {"ot=rv:0123456789abcd;p:1", 1ull << 55, "ot=th:8;rv:0123456789abcd;p:1", 0},
    {" a=1 , \tb=2", 1ull << 55, "ot=th:8,a=1 ,b=2", 0},
    {",,", 1ull << 55, "ot=th:8", 0},
    {"ot=", 1ull << 55, "ot=th:8", 0},
    {"ot=th:;p:1;th:4", 1ull << 55, "ot=th:8;p:1", 0},
    {"", WEIR_THRESHOLD_MAX, "ot=rv:00000000000abc", 0xabc},
    {"", 1ull << 55, "ot=th:8;rv:fffffffffffffe", 0xfffffffffffffe},
    {"v=1,ot=p:1;rv:0123456789abcd", WEIR_THRESHOLD_MAX, "ot=rv:00000000000abc;p:1,v=1", 0xabc},
};

static void tracestates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct weir_buffer out = {0};
        weir_otlp_tracestate(&out, (const uint8_t *)states[i].old, strlen(states[i].old), states[i].threshold,
                             states[i].randomness != 0 ? states[i].randomness : WEIR_THRESHOLD_MAX);
        weir_buffer_byte(&out, 0);
        assert_string_equal(out.bytes, states[i].now);
        weir_buffer_free(&out);
    }
}

/* A request of one span, decoded, changed, restated and decoded again. */
struct span_case {
    const char *tracestate;
    double prior;       /* as an attribute; 0 = none */
    uint8_t flags;      /* what changes */
    uint64_t threshold; /* to this */
    double new_prior;
};

static size_t put_attribute(uint8_t *out, const char *key, double value) {
    uint8_t any[16], pair[64], *at;
    uint64_t bits;
    memcpy(&bits, &value, 8);
    size_t any_size = (size_t)(weir_wire_put_fixed64(any, 4, bits) - any);
    at = weir_wire_put_bytes(pair, 1, key, strlen(key));
    at = weir_wire_put_bytes(at, 2, any, any_size);
    return (size_t)(weir_wire_put_bytes(out, 9, pair, (size_t)(at - pair)) - out);
}

static size_t make_span(const struct span_case *one, uint8_t *out) {
    static const uint8_t trace_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8},
                         span_id[8] = {9};
    uint8_t *at = weir_wire_put_bytes(out, 1, trace_id, 16);
    at = weir_wire_put_bytes(at, 2, span_id, 8);
    if (one->tracestate != NULL) at = weir_wire_put_bytes(at, 3, one->tracestate, strlen(one->tracestate));
    at = weir_wire_put_bytes(at, 5, "GET /", 5);
    at = weir_wire_put_fixed64(at, 7, 1000);
    at = weir_wire_put_fixed64(at, 8, 3000);
    at += put_attribute(at, "load", 0.5);
    if (one->prior != 0) at += put_attribute(at, "weir.prior_weight", one->prior);
    return (size_t)(at - out);
}

static struct weir_batch *request_of(const uint8_t *span, size_t size) {
    uint8_t scope[1024], resource[1100], request[1200];
    size_t scope_size = (size_t)(weir_wire_put_bytes(scope, 2, span, size) - scope);
    size_t resource_size = (size_t)(weir_wire_put_bytes(resource, 2, scope, scope_size) - resource);
    size_t request_size = (size_t)(weir_wire_put_bytes(request, 1, resource, resource_size) - request);
    struct weir_batch *batch = weir_batch_new(NULL, request_size);
    memcpy(batch->bytes, request, request_size);
    batch->size = request_size;
    return batch;
}

static const struct span_case cases[] = {
    {NULL, 0, WEIR_SPAN_TH_CHANGED, 1ull << 55, 0},
    {"ot=th:4;rv:f0000000000000,v=1", 0, WEIR_SPAN_TH_CHANGED, 0xc0000000000000ull, 0},
    {NULL, 0, WEIR_SPAN_PRIOR_CHANGED, 0, 4},
    {"v=1", 2, WEIR_SPAN_PRIOR_CHANGED, 0, 12.5},
    {"ot=th:8", 3, WEIR_SPAN_TH_CHANGED | WEIR_SPAN_PRIOR_CHANGED, 0xfd70a400000000ull, 6},
};

static void restated(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(64, 4096);
    struct weir_otlp *otlp = weir_otlp_new(names);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct span_case *one = &cases[i];
        uint8_t bytes[512];
        struct weir_otlp_counts counts;
        struct weir_error err = {0};
        struct weir_batch *from = request_of(bytes, make_span(one, bytes)), *to = weir_batch_new(NULL, 0);
        assert_int_equal(weir_otlp_decode(otlp, from, &counts, &err), WEIR_OK);
        struct weir_span *view = &from->spans[0];
        view->flags |= one->flags;
        if (one->flags & WEIR_SPAN_TH_CHANGED) view->threshold = one->threshold;
        if (one->flags & WEIR_SPAN_PRIOR_CHANGED) view->prior = one->new_prior;
        assert_int_equal(weir_otlp_restate(to, from, 0, NULL), WEIR_OK);

        const struct weir_span *now = &to->spans[0];
        assert_int_equal(now->flags & WEIR_SPAN_CHANGED, 0);
        struct weir_span read;
        assert_int_equal(weir_otlp_span(otlp, to, now->offset, now->size, &read, &counts, &err), WEIR_OK);
        assert_int_equal(read.threshold, view->threshold);
        assert_true(read.prior == view->prior);
        assert_int_equal(read.randomness, view->randomness);
        assert_int_equal(read.span_id, view->span_id);
        assert_int_equal(read.duration_ns, 2000);
        assert_int_equal(read.operation, view->operation);
        /* One attribute of that key at most, and the other one still there. */
        unsigned attributes = 0;
        struct weir_wire wire = weir_wire_of(to->bytes + now->offset, now->size);
        struct weir_wire_field field;
        while (weir_wire_next(&wire, &field))
            attributes += field.number == 9;
        assert_int_equal(attributes, read.prior != 1 ? 2 : 1);
        weir_batch_unref(from);
        weir_batch_unref(to);
    }
    weir_otlp_free(otlp);
    weir_names_free(names);
}

/* A mark that a Weir before this one made is replaced. */
static void marked(void **state) {
    (void)state;
    static const struct weir_otlp_mark marks[2] = {{"errors", 6, 1}, {"rest", 4, 12.5}};
    struct weir_names *names = weir_names_new(64, 4096);
    struct weir_otlp *otlp = weir_otlp_new(names);
    uint8_t bytes[512];
    struct weir_otlp_counts counts;
    struct weir_error err = {0};
    struct weir_batch *from = request_of(bytes, make_span(&cases[0], bytes)), *once = weir_batch_new(NULL, 0),
                      *twice = weir_batch_new(NULL, 0);
    assert_int_equal(weir_otlp_decode(otlp, from, &counts, &err), WEIR_OK);
    assert_int_equal(weir_otlp_restate(once, from, 0, &marks[0]), WEIR_OK);
    assert_int_equal(weir_otlp_restate(twice, once, 0, &marks[1]), WEIR_OK);
    const struct weir_span *now = &twice->spans[0];
    struct weir_wire wire = weir_wire_of(twice->bytes + now->offset, now->size);
    struct weir_wire_field field;
    unsigned attributes = 0, rules = 0, weights = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 9) continue;
        attributes++;
        rules += field.value == 19 && memcmp(field.bytes + 2, "weir.rule\x12\x06\x0a\x04rest", 17) == 0;
        double weight;
        if (field.value == 24 && memcmp(field.bytes + 2, "weir.weight\x12\x09\x21", 14) == 0) {
            memcpy(&weight, field.bytes + 16, 8);
            weights += weight == 12.5;
        }
    }
    assert_int_equal(attributes, 3); /* and the span's own */
    assert_int_equal(rules, 1);
    assert_int_equal(weights, 1);
    weir_batch_unref(from);
    weir_batch_unref(once);
    weir_batch_unref(twice);
    weir_otlp_free(otlp);
    weir_names_free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tracestates), cmocka_unit_test(restated),
                                       cmocka_unit_test(marked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
