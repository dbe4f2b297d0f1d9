/* A whole emitter over loopback: what callers hand over is what the collector's decoder reads. */
#include "tests/unit/emitter/peer.h"

enum { SPANS = 3000 };

static uint64_t random_state = 88172645463325252u;
static uint64_t draw(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- spans, read back ---- */

struct sample { /* a span with what it points to */
    struct weir_emit_span span;
    uint8_t trace_id[16], span_id[8], parent_id[8];
    char name[300], texts[8][300];
    struct weir_emit_attribute attributes[8];
};

static void make_text(char *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(' ' + draw() % 95);
}

static void make_sample(struct sample *sample, struct weir_emit *emit) {
    static const char *const keys[8] = {
        "a",  "url.path",       "http.request.method",    "x", "some.rather.long.name.of.a.key",
        "k1", "server.address", "http.response.body.size"};
    memset(sample, 0, sizeof *sample);
    weir_emit_random(emit, sample->trace_id, 16);
    weir_emit_random(emit, sample->span_id, 8);
    if (draw() % 2) weir_emit_random(emit, sample->parent_id, 8);
    sample->span = (struct weir_emit_span){.size = sizeof sample->span,
                                           .trace_id = sample->trace_id,
                                           .span_id = sample->span_id,
                                           .parent_id = draw() % 5 ? sample->parent_id : NULL,
                                           .start_ns = draw() >> 1,
                                           .threshold = WEIR_EMIT_UNKNOWN,
                                           .randomness = WEIR_EMIT_UNKNOWN,
                                           .kind = 1 + (uint32_t)(draw() % 5),
                                           .status = (uint32_t)(draw() % 3),
                                           .attributes = sample->attributes,
                                           .attribute_count = draw() % 9,
                                           .forced = draw() % 8 == 0};
    sample->span.end_ns = sample->span.start_ns + draw() % 1000000000;
    if (draw() % 4) sample->span.threshold = draw() % 3 ? draw() % WEIR_EMIT_NEVER : (draw() % 256) << 48;
    if (draw() % 4 == 0) sample->span.randomness = draw() % WEIR_EMIT_NEVER;
    if (draw() % 2) {
        sample->span.name = sample->name;
        sample->span.name_size = 1 + draw() % 200;
        make_text(sample->name, sample->span.name_size);
    }
    for (size_t i = 0; i < sample->span.attribute_count; i++) {
        size_t size = draw() % (draw() % 4 ? 40 : 250);
        make_text(sample->texts[i], size);
        switch (draw() % 4) {
        case 0: sample->attributes[i] = weir_emit_int(keys[i], (int64_t)(draw() >> draw() % 64)); break;
        case 1: sample->attributes[i] = weir_emit_bool(keys[i], draw() % 2); break;
        case 2: sample->attributes[i] = weir_emit_double(keys[i], (double)draw() / 3); break;
        default: sample->attributes[i] = weir_emit_text_n(keys[i], sample->texts[i], size);
        }
    }
}

static uint64_t id_of(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return __builtin_bswap64(value);
}

static void same_attribute(const struct weir_emit_attribute *attribute, const struct weir_wire_field *pair) {
    struct weir_wire wire = weir_wire_of(pair->bytes, pair->value);
    struct weir_wire_field key, any, value;
    assert_true(weir_wire_next(&wire, &key) && weir_wire_next(&wire, &any) && wire.at == wire.end);
    assert_int_equal(key.value, attribute->key_size);
    assert_memory_equal(key.bytes, attribute->key, key.value);
    wire = weir_wire_of(any.bytes, any.value);
    assert_true(weir_wire_next(&wire, &value) && wire.at == wire.end);
    assert_int_equal(value.number, attribute->type); /* AnyValue: 1 text, 2 bool, 3 int, 4 double */
    if (attribute->type == WEIR_EMIT_TEXT) {
        assert_int_equal(value.value, attribute->text_size);
        if (value.value > 0) assert_memory_equal(value.bytes, attribute->value.text, value.value);
    } else {
        assert_memory_equal(&value.value, &attribute->value.integer, 8);
    }
}

/* What the view does not have: name and attributes. */
static void same_bytes(const struct sample *sample, const uint8_t *bytes, size_t size) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    size_t attributes = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 5 && sample->span.name != NULL) {
            assert_int_equal(field.value, sample->span.name_size);
            assert_memory_equal(field.bytes, sample->span.name, field.value);
        } else if (field.number == 5) {
            assert_int_equal(field.value, 10);
            assert_memory_equal(field.bytes, "GET /items", 10);
        }
        if (field.number != 9) continue;
        if (attributes < sample->span.attribute_count) same_attribute(&sample->attributes[attributes], &field);
        attributes++;
    }
    assert_null(wire.why);
    assert_int_equal(attributes, sample->span.attribute_count + sample->span.forced);
}

static void same(const struct sample *sample, const struct weir_span *view, const uint8_t *bytes) {
    const struct weir_emit_span *span = &sample->span;
    assert_int_equal(view->trace_hi, id_of(sample->trace_id));
    assert_int_equal(view->trace_lo, id_of(sample->trace_id + 8));
    assert_int_equal(view->span_id, id_of(sample->span_id));
    assert_int_equal(view->parent_id, span->parent_id != NULL ? id_of(sample->parent_id) : 0);
    assert_int_equal(view->start_ns, span->start_ns);
    assert_int_equal(view->duration_ns, span->end_ns - span->start_ns);
    assert_int_equal(view->kind, span->kind);
    if (span->status != WEIR_EMIT_UNSET) assert_int_equal(view->status, span->status);
    assert_int_equal((view->flags & WEIR_SPAN_FORCED) != 0, span->forced);
    assert_int_equal((view->flags & WEIR_SPAN_TH) != 0, span->threshold != WEIR_EMIT_UNKNOWN);
    if (span->threshold != WEIR_EMIT_UNKNOWN) assert_int_equal(view->threshold, span->threshold);
    assert_int_equal((view->flags & WEIR_SPAN_RV) != 0, span->randomness != WEIR_EMIT_UNKNOWN);
    if (span->randomness != WEIR_EMIT_UNKNOWN) assert_int_equal(view->randomness, span->randomness);
    same_bytes(sample, bytes + view->offset, view->size);
}

static void spans_arrive_as_they_were(void **state) {
    (void)state;
    static const uint32_t datagram_bytes[] = {1200, 1400, 9000};
    static struct sample samples[SPANS];
    for (size_t round = 0; round < 3; round++) {
        struct weir_emit_options options = peer_options();
        struct peer peer;
        peer_open(&peer);
        options.datagram_bytes = datagram_bytes[round];
        if (round == 1) options.key = "sixteen bytes or more", options.key_size = 21;
        struct weir_emit *emit = peer_emitter(&peer, &options);
        struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /items");
        for (size_t i = 0; i < SPANS; i++) {
            make_sample(&samples[i], emit);
            if (!weir_emit_span(operation, &samples[i].span)) fail_msg("span %zu is dropped", i);
            if (i % 100 != 99) continue;
            peer_flush(&peer, emit);
            assert_int_equal(peer.batch->span_count, i + 1);
            assert_int_equal(peer.bytes_max, datagram_bytes[round]);
            assert_int_equal(peer.is_signed, options.key != NULL);
        }
        for (size_t i = 0; i < SPANS; i++)
            same(&samples[i], &peer.batch->spans[i], peer.batch->bytes);
        assert_int_equal(peer.senders, 1);
        weir_emit_close(emit);
        peer_close(&peer);
    }
}

/* ---- what finds no room ---- */

static void full_large_invalid(void **state) {
    (void)state;
    static const uint8_t zero[16];
    static char text[8000];
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    options.ring_bytes = 4096;
    options.text_bytes_max = 1000;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /items");
    struct weir_emit_span span = peer_span(), bad = peer_span(), large = peer_span();
    unsigned taken = 0, full = 0;
    while (full < 20) /* whenever it may be looked at */
        *(weir_emit_span(operation, &span) ? &taken : &full) += 1;
    assert_true(taken > 20);
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS)); /* and there is room again */
    assert_true(weir_emit_span(operation, &span));
    bad.trace_id = zero;
    assert_false(weir_emit_span(operation, &bad));
    bad = span, bad.span_id = zero;
    assert_false(weir_emit_span(operation, &bad));
    bad = span, bad.size = 8;
    assert_false(weir_emit_span(operation, &bad));
    memset(text, 'x', sizeof text);
    struct weir_emit_attribute attributes[3] = {weir_emit_text_n("a", text, 900), weir_emit_text_n("b", text, 900),
                                                weir_emit_text_n("c", text, 7000)};
    large.attributes = attributes, large.attribute_count = 2; /* in the ring, in no datagram */
    assert_false(weir_emit_span(operation, &large));
    large.attribute_count = 3; /* not in the ring */
    assert_false(weir_emit_span(operation, &large));
    large.attribute_count = 0, large.name = text, large.name_size = sizeof text;
    assert_false(weir_emit_span(operation, &large));
    peer_flush(&peer, emit);
    assert_int_equal(peer.batch->span_count, taken + 1);
    assert_true(peer_value(&peer, "emitter_dropped_total|reason|full|service|cart") == full);
    assert_true(peer_value(&peer, "emitter_dropped_total|reason|invalid|service|cart") == 3);
    assert_true(peer_value(&peer, "emitter_dropped_total|reason|large|service|cart") == 3);
    assert_true(peer_value(&peer, "emitter_spans_total|service|cart") == taken + 1);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* Negative numbers are the longest there are. Whatever room was left, what was taken is what is sent. */
static void the_longest_attributes(void **state) {
    (void)state;
    char keys[2][140] = {"k"}; /* the other is so long that all lengths around it have two bytes */
    struct weir_emit_attribute attributes[64];
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    memset(keys[1], 'k', 139);
    options.ring_bytes = 1 << 15;
    options.datagram_bytes = 16000;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    for (unsigned round = 0; round < 60; round++) {
        struct weir_emit_span filler = peer_span(), span = peer_span();
        for (unsigned i = 0; i < 64; i++)
            attributes[i] = weir_emit_int(keys[round % 2], INT64_MIN + i);
        span.attributes = attributes, span.attribute_count = 64;
        span.status = WEIR_EMIT_ERROR, span.forced = true, span.parent_id = span.span_id, span.randomness = 1;
        uint32_t taken = 0, before = peer.batch->span_count;
        filler.name = keys[1]; /* in turn longer, so that another piece is left at the end */
        filler.name_size = round * 2;
        for (unsigned i = 0; i < 1 + round % 5; i++)
            taken += weir_emit_span(operation, &filler);
        for (unsigned i = 0; i < 64; i++)
            taken += weir_emit_span(operation, &span);
        peer_flush(&peer, emit);
        assert_int_equal(peer.batch->span_count - before, taken);
    }
    weir_emit_close(emit);
    peer_close(&peer);
}

/* Cut at a character's end: 16 bytes are five of three bytes. */
static void long_texts_are_cut(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    options.text_bytes_max = 16;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_span span = peer_span();
    struct weir_emit_attribute attributes[2] = {
        weir_emit_text("a", "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"),
        weir_emit_text("b", "sixteen bytes...")};
    span.attributes = attributes, span.attribute_count = 2;
    assert_true(weir_emit_span(weir_emit_operation(emit, "GET /"), &span));
    peer_flush(&peer, emit); /* where text that is no UTF-8 would be found */
    const struct weir_span *view = &peer.batch->spans[0];
    assert_non_null(memmem(peer.batch->bytes + view->offset, view->size, "\x0a\x0f\xe2\x82\xac", 5)); /* 15 bytes */
    assert_non_null(memmem(peer.batch->bytes + view->offset, view->size, "sixteen bytes...", 16));
    assert_true(peer_value(&peer, "emitter_cut_texts_total|service|cart") == 1);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* ---- counts ---- */

static void counts_are_deltas(void **state) {
    (void)state;
    static const double bounds[3] = {0.5, 1, 2};
    static const double values[] = {0, 0.5, 0.51, 1, 1.5, 2, 2.1, 1e300};
    static const struct weir_emit_label labels[2] = {{"zone", "eu-1"}, {"code", "200"}};
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *items = weir_emit_operation(emit, "GET /items"), *again;
    struct weir_emit_counter *counter = weir_emit_counter(emit, "cart_orders_total", labels, 2);
    struct weir_emit_histogram *histogram = weir_emit_histogram(emit, "cart_seconds", labels, 1, bounds, 3);
    assert_non_null(counter);
    assert_non_null(histogram);
    again = weir_emit_operation(emit, "GET /items");
    assert_ptr_equal(items, again);
    assert_ptr_equal(counter, weir_emit_counter(emit, "cart_orders_total", labels, 2));
    assert_ptr_equal(histogram, weir_emit_histogram(emit, "cart_seconds", labels, 1, bounds, 3));
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 10 * round; i++)
            weir_emit_request(items);
        weir_emit_count(counter, 1000000 * (uint64_t)round);
        for (unsigned i = 0; i < sizeof values / sizeof *values - (round > 1); i++)
            weir_emit_observe(histogram, values[i]);
        weir_emit_observe(histogram, -1);
        weir_emit_observe(histogram, 0.0 / 0.0);
        weir_emit_observe(histogram, 1.0 / 0.0);
        peer_flush(&peer, emit);
    }
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /items|service|cart") == 60);
    assert_true(peer_value(&peer, "cart_orders_total|code|200|zone|eu-1") == 6000000);
    assert_true(peer_value(&peer, "emitter_senseless_observations_total|service|cart") == 9);
    const struct peer_series *seconds = peer_find(&peer, "cart_seconds|zone|eu-1");
    assert_non_null(seconds);
    assert_int_equal(seconds->count, 22);
    assert_int_equal(seconds->buckets[0], 6);
    assert_int_equal(seconds->buckets[1], 6);
    assert_int_equal(seconds->buckets[2], 6);
    assert_int_equal(seconds->buckets[3], 4);
    assert_null(weir_emit_counter(emit, "weir_something_total", NULL, 0)); /* the collector's own */
    assert_null(weir_emit_counter(emit, "", NULL, 0));
    assert_null(weir_emit_histogram(emit, "x", NULL, 0, (const double[]){2, 1}, 2));
    weir_emit_count(NULL, 1);
    weir_emit_observe(NULL, 1);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* A sum beyond what a number can hold stays at the largest; what was counted is counted. */
static void a_sum_is_bounded(void **state) {
    (void)state;
    static const double bound = 1;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_histogram *histogram = weir_emit_histogram(emit, "cart_bytes", NULL, 0, &bound, 1);
    for (unsigned round = 1; round <= 3; round++) {
        weir_emit_observe(histogram, 1.5e308);
        peer_flush(&peer, emit); /* where a sum that is not finite would be found */
        assert_int_equal(peer_find(&peer, "cart_bytes")->count, round);
    }
    assert_true(peer_value(&peer, "cart_bytes") > 1.7e308);
    weir_emit_close(emit);
    peer_close(&peer);
}

static void operations_beyond_the_bound_are_other(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    char name[300];
    peer_open(&peer);
    options.operations_max = 3;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *other = weir_emit_operation(emit, "other");
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "GET /%u", i);
        struct weir_emit_operation *operation = weir_emit_operation(emit, name);
        assert_int_equal(operation == other, i >= 3);
        weir_emit_request(operation);
    }
    memset(name, 'x', sizeof name);
    name[256] = 0;
    assert_ptr_equal(weir_emit_operation(emit, name), other);
    assert_ptr_equal(weir_emit_operation(emit, NULL), other);
    peer_flush(&peer, emit);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|other|service|cart") == 7);
    assert_true(peer_value(&peer, "emitter_requests_total|operation|GET /2|service|cart") == 1);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* ---- opening ---- */

static void what_cannot_be_opened(void **state) {
    (void)state;
    char error[128];
    struct weir_emit_options options;
#define REFUSES(change)                                                                                                \
    weir_emit_defaults(&options, sizeof options);                                                                      \
    options.to = "127.0.0.1:4319", options.service = "cart";                                                           \
    change;                                                                                                            \
    error[0] = 0;                                                                                                      \
    assert_null(weir_emit_open(&options, error, sizeof error));                                                        \
    assert_true(error[0] != 0)
    REFUSES(options.to = NULL);
    REFUSES(options.to = "weir:4319");
    REFUSES(options.to = "127.0.0.1");
    REFUSES(options.to = "127.0.0.1:0");
    REFUSES(options.to = "127.0.0.1:65536");
    REFUSES(options.to = "127.0.0.1:x");
    REFUSES(options.to = ":4319");
    REFUSES(options.to = "[127.0.0.1]:4319");
    REFUSES(options.to = "[::1:4319");
    REFUSES(options.service = "");
    REFUSES(options.initial_rate = 1.5);
    REFUSES(options.initial_rate = 0.0 / 0.0);
    REFUSES((options.key = "short", options.key_size = 5));
    REFUSES(options.flush_ms = 0);
    REFUSES(options.ring_bytes = 5000);
    REFUSES(options.threads_max = 0);
    REFUSES(options.datagram_bytes = 1199);
    REFUSES(options.datagram_bytes = 65508);
    REFUSES(options.cells_max = 10);
    REFUSES(options.operations_max = 2001);
    REFUSES(options.text_bytes_max = 100000);
    const struct weir_emit_label label = {"a", "b"};
    struct weir_emit_label many[100];
    for (size_t i = 0; i < 100; i++)
        many[i] = label;
    REFUSES((options.resource = many, options.resource_count = 100));
}

static void eight_emitters(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct weir_emit *emits[9];
    struct peer peer;
    peer_open(&peer);
    options.threads_max = 2;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 8; i++) {
            emits[i] = peer_emitter(&peer, &options);
            weir_emit_request(weir_emit_operation(emits[i], "GET /"));
        }
        options.to = peer.to;
        assert_null(weir_emit_open(&options, NULL, 0));
        for (unsigned i = 0; i < 8; i++)
            weir_emit_close(emits[i]);
    }
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 24);
    peer_close(&peer);
}

static void disabled_does_nothing(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct weir_emit_context context;
    struct weir_emit_stats stats;
    uint64_t threshold;
    uint8_t highest[16];
    options.disabled = true;
    struct weir_emit *emit = weir_emit_open(&options, NULL, 0); /* not even an address is needed */
    assert_non_null(emit);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    struct weir_emit_span span = peer_span();
    memset(highest, 0xff, sizeof highest);
    weir_emit_request(operation);
    assert_false(weir_emit_sampled(operation, highest, &threshold));
    assert_false(weir_emit_span(operation, &span));
    assert_null(weir_emit_counter(emit, "x_total", NULL, 0));
    weir_emit_context_clear(&context);
    assert_false(weir_emit_begin(operation, &context));
    assert_false(weir_emit_flush(emit, 10));
    weir_emit_stats(emit, &stats, sizeof stats);
    assert_int_equal(stats.spans, 0);
    weir_emit_close(emit);
    weir_emit_close(NULL);
}

static void abi(void **state) {
    (void)state;
    struct weir_emit_options options;
    assert_int_equal(weir_emit_abi(), WEIR_EMIT_ABI);
    /* A caller of an older header knows less of it. */
    memset(&options, 0x5a, sizeof options);
    weir_emit_defaults(&options, offsetof(struct weir_emit_options, text_bytes_max));
    assert_int_equal(options.size, offsetof(struct weir_emit_options, text_bytes_max));
    assert_int_equal(options.text_bytes_max, 0x5a5a5a5a);
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    weir_emit_close(emit);
    peer_close(&peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_arrive_as_they_were),
        cmocka_unit_test(full_large_invalid),
        cmocka_unit_test(the_longest_attributes),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(counts_are_deltas),
        cmocka_unit_test(a_sum_is_bounded),
        cmocka_unit_test(operations_beyond_the_bound_are_other),
        cmocka_unit_test(what_cannot_be_opened),
        cmocka_unit_test(eight_emitters),
        cmocka_unit_test(disabled_does_nothing),
        cmocka_unit_test(abi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
