#include "collector/core/ledger.h"
#include "datagram_laws.h"
#include "points.h"
#include "weir/v1/datagram.pb-c.h"

#include <math.h>

#include "otlp_parts.h" /* its globals would be shadowed by the laws */

static struct laws t;
static struct kept *kept;

static int set_up(void **state) {
    (void)state;
    laws_open(&t);
    kept = calloc(1, sizeof *kept);
    return t.datagrams == NULL || kept == NULL;
}
static int tear_down(void **state) {
    (void)state;
    laws_close(&t);
    free(kept);
    return 0;
}

static void check_laws(const struct part *datagram) {
    bool accepted;
    uint8_t *exact = malloc(datagram->size + 1); /* a sanitizer sees a step past the end */
    memcpy(exact, datagram->bytes, datagram->size);
    const char *differs = law_datagram(&t, exact, datagram->size, &accepted);
    if (differs != NULL) fail_msg("%s", differs);
    free(exact);
}

/* version, sender, start, sequence */
static struct part head(void) {
    struct part datagram = {.size = 0};
    number(&datagram, 1, 1);
    fixed(&datagram, 2, 77);
    fixed(&datagram, 3, 1000);
    number(&datagram, 4, 5);
    return datagram;
}

static struct part resource_of(const char *service) {
    struct part resource = {.size = 0}, pair = attribute_text("service.name", service);
    inside(&resource, 1, &pair);
    return resource;
}

static void refuses(const struct part *datagram, enum weir_status wanted, const char *reason) {
    struct weir_datagram outline;
    struct weir_error why = {0};
    assert_int_equal(weir_datagram_read(datagram->bytes, datagram->size, &outline, &why), wanted);
    if (strstr(why.text, reason) == NULL) fail_msg("\"%s\", not \"%s\"", why.text, reason);
    check_laws(datagram);
}

/* ---- the outline, written by protobuf-c ---- */

static void test_outline(void **state) {
    (void)state;
    Weir__V1__Datagram message = WEIR__V1__DATAGRAM__INIT;
    Opentelemetry__Proto__Resource__V1__Resource resource = OPENTELEMETRY__PROTO__RESOURCE__V1__RESOURCE__INIT;
    uint8_t pad[300] = {0}, hmac[16] = "0123456789abcdef", bytes[1024];
    message.version = 1;
    message.sender = 0xfedcba9876543210;
    message.start_time_unix_nano = 1700000000000000001;
    message.sequence = 1ull << 40;
    message.policy_version = 12;
    message.resource = &resource;
    message.pad = (ProtobufCBinaryData){sizeof pad, pad};
    message.hmac = (ProtobufCBinaryData){sizeof hmac, hmac};
    size_t size = weir__v1__datagram__pack(&message, bytes);
    struct weir_datagram outline;
    struct weir_error why;
    if (weir_datagram_read(bytes, size, &outline, &why) != WEIR_OK) fail_msg("%s", why.text);
    assert_true(outline.sender == message.sender);
    assert_true(outline.start_ns == message.start_time_unix_nano);
    assert_true(outline.sequence == message.sequence);
    assert_true(outline.policy_version == 12);
    assert_non_null(outline.resource);
    assert_int_equal(outline.resource_size, 0);
    assert_int_equal(outline.spans + outline.points, 0);
    assert_ptr_equal(outline.hmac, bytes + size - 16);
    assert_int_equal(outline.signed_size, size - 18);
}

static void test_unknown_fields(void **state) {
    (void)state;
    struct part datagram = head(), span = good_span();
    text(&datagram, 100, "of a later version");
    fixed(&datagram, 12, 3);
    inside(&datagram, 6, &span);
    number(&datagram, 13, 3);
    inside(&datagram, 6, &span);
    struct weir_datagram outline;
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(outline.spans, 2);
    check_laws(&datagram);
}

static void test_refused(void **state) {
    (void)state;
    struct part datagram = {.size = 0};
    refuses(&datagram, WEIR_UNSUPPORTED, "version 0");
    text(&datagram, 5, "");
    refuses(&datagram, WEIR_UNSUPPORTED, "version 0");
    datagram = head(), number(&datagram, 1, 2);
    refuses(&datagram, WEIR_UNSUPPORTED, "version 2, not 1");
    datagram = head(), number(&datagram, 4, 0);
    refuses(&datagram, WEIR_INVALID, "sequence: begins with 1");
    datagram = head(), datagram.bytes[datagram.size++] = 0x32;
    refuses(&datagram, WEIR_INVALID, "byte 23: truncated varint");
    datagram = head(), number(&datagram, 6, 3);
    refuses(&datagram, WEIR_INVALID, "byte 22: spans: another wire type");
    datagram = head(), number(&datagram, 2, 3);
    refuses(&datagram, WEIR_INVALID, "sender: another wire type");
    datagram = head(), text(&datagram, 15, "0123456789abcde");
    refuses(&datagram, WEIR_INVALID, "hmac: does not have 16 bytes");
    datagram = head(), text(&datagram, 15, "0123456789abcdef"), text(&datagram, 14, "");
    refuses(&datagram, WEIR_INVALID, "hmac: is not the last field");
    datagram = head(), memcpy(datagram.bytes, "junk that is text", 17), datagram.size = 17;
    refuses(&datagram, WEIR_INVALID, "byte 0");
    for (size_t cut = 1; cut < head().size; cut++) { /* nothing of it is a datagram until its sequence number */
        datagram = head();
        datagram.size = cut;
        struct weir_datagram outline;
        assert_int_not_equal(weir_datagram_read(datagram.bytes, cut, &outline, NULL), WEIR_OK);
    }
}

/* ---- asks ---- */

static void test_asks(void **state) {
    (void)state;
    char many[3][8] = {"GET /a", "", "POST /b"}, *operations[3] = {many[0], many[1], many[2]};
    Weir__V1__PolicyAsk ask = WEIR__V1__POLICY_ASK__INIT;
    Weir__V1__Datagram message = WEIR__V1__DATAGRAM__INIT;
    ask.nonce = 0xfedcba9876543210, ask.n_operations = 3, ask.operations = operations;
    message.version = 1, message.sequence = 1, message.ask = &ask;
    struct part datagram = {.size = 0};
    datagram.size = weir__v1__datagram__pack(&message, datagram.bytes);
    struct weir_datagram outline;
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_true(outline.nonce == ask.nonce);
    struct weir_wire at = outline.ask;
    const uint8_t *name;
    size_t size;
    for (int i = 0; i < 3; i++) {
        assert_true(weir_datagram_operation(&at, &name, &size));
        assert_int_equal(size, strlen(many[i]));
        assert_memory_equal(name, many[i], size);
    }
    assert_false(weir_datagram_operation(&at, &name, &size));
    check_laws(&datagram);

    datagram = head(); /* asks nothing */
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_null(outline.ask.at);
    text(&datagram, 10, ""); /* asks, and says nothing */
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_non_null(outline.ask.at);
    assert_true(outline.nonce == 0);
    check_laws(&datagram);
}

static void test_broken_asks(void **state) {
    (void)state;
    struct part datagram = head(), ask = {.size = 0};
    number(&datagram, 10, 1);
    refuses(&datagram, WEIR_INVALID, "byte 22: ask: another wire type");
    datagram = head(), number(&ask, 1, 5), inside(&datagram, 10, &ask); /* the nonce is fixed64 */
    refuses(&datagram, WEIR_INVALID, "byte 22: ask: another wire type");
    datagram = head(), ask.size = 0, fixed(&ask, 1, 5), number(&ask, 2, 1), inside(&datagram, 10, &ask);
    refuses(&datagram, WEIR_INVALID, "ask: another wire type");
    datagram = head(), ask.size = 0, text(&ask, 2, "GET /"), ask.size--, inside(&datagram, 10, &ask);
    refuses(&datagram, WEIR_INVALID, "ask: length past the end");
}

/* What asks may have no spans: its service is read all the same. */
static void test_the_service_of_a_datagram(void **state) {
    (void)state;
    uint32_t service;
    struct weir_datagram outline;
    struct weir_error why = {0};
    struct part datagram = head(), resource = resource_of("cart");
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_service(t.datagrams, &outline, &service, NULL), WEIR_OK);
    assert_string_equal(weir_names_text(t.names, service, NULL), "unknown_service");
    inside(&datagram, 5, &resource);
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_service(t.datagrams, &outline, &service, NULL), WEIR_OK);
    assert_string_equal(weir_names_text(t.names, service, NULL), "cart");
    datagram = head(), resource.size--, inside(&datagram, 5, &resource);
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_service(t.datagrams, &outline, &service, &why), WEIR_INVALID);
    assert_non_null(strstr(why.text, "resource"));
}

/* ---- spans ---- */

static void test_spans(void **state) {
    (void)state;
    struct part datagram = head(), resource = resource_of("cart"), span = good_span();
    struct part pair = attribute_text("http.response.status_code", "503");
    inside(&datagram, 6, &span); /* the resource may stand behind its spans */
    inside(&span, 9, &pair);
    inside(&datagram, 6, &span);
    inside(&datagram, 5, &resource);
    check_laws(&datagram);
    struct weir_datagram outline;
    struct weir_otlp_counts found = {0};
    struct weir_error why;
    struct weir_batch *into = weir_batch_new(NULL, 0);
    for (int i = 0; i < 3; i++) { /* several into one into */
        assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, &why), WEIR_OK);
        assert_int_equal(weir_datagrams_spans(t.datagrams, &outline, into, &found, &why), WEIR_OK);
    }
    assert_int_equal(into->span_count, 6);
    assert_int_equal(found.spans, 6);
    assert_int_equal(into->origin_count, 1);
    assert_int_equal(into->origins[0]->parts.resource_size, resource.size);
    for (uint32_t i = 0; i < 6; i++) {
        const struct weir_span *view = &into->spans[i];
        assert_true(view->trace_lo == 0xa1a2a3a4a5a6a7a8 && view->span_id == 0xb1b2b3b4b5b6b7b8);
        assert_int_equal(view->http_status, i % 2 == 1 ? 503 : 0);
        assert_string_equal(weir_names_text(t.names, view->service, NULL), "cart");
        assert_int_equal(view->receiver, WEIR_RECEIVER_DATAGRAM);
        assert_memory_equal(into->bytes + view->offset, span.bytes, 20);
    }
    weir_batch_unref(into);
}

static void test_senders_alternate(void **state) {
    (void)state;
    struct weir_batch *into = weir_batch_new(NULL, 0);
    for (int i = 0; i < 10; i++) {
        struct part datagram = head(), span = good_span(), resource = resource_of(i % 2 ? "cart" : "stock");
        inside(&datagram, 5, &resource);
        inside(&datagram, 6, &span);
        struct weir_datagram outline;
        struct weir_otlp_counts found = {0};
        assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
        assert_int_equal(weir_datagrams_spans(t.datagrams, &outline, into, &found, NULL), WEIR_OK);
        assert_string_equal(weir_names_text(t.names, into->spans[i].service, NULL), i % 2 ? "cart" : "stock");
    }
    assert_int_equal(into->origin_count, 2);
    weir_batch_unref(into);
}

static void test_bad_ids_are_skipped(void **state) {
    (void)state;
    struct part datagram = head(), good = good_span(), bad = good_span();
    put(&bad, 2, "\0\0\0\0\0\0\0\0", 8);
    inside(&datagram, 6, &good), inside(&datagram, 6, &bad), inside(&datagram, 6, &good);
    check_laws(&datagram);
    struct weir_datagram outline;
    struct weir_otlp_counts found = {0};
    struct weir_batch *into = weir_batch_new(NULL, 0);
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_spans(t.datagrams, &outline, into, &found, &(struct weir_error){0}), WEIR_OK);
    assert_int_equal(into->span_count, 2);
    assert_int_equal(found.skipped, 1);
    assert_string_equal(found.skipped_reason, "span_id is all zeros");
    weir_batch_unref(into);
}

static void breaks(const struct part *resource, const struct part *span, const char *reason) {
    struct part datagram = head(), good = good_span();
    inside(&datagram, 5, resource);
    inside(&datagram, 6, &good);
    inside(&datagram, 6, span);
    check_laws(&datagram);
    struct weir_datagram outline;
    struct weir_otlp_counts found = {0};
    struct weir_error why = {0};
    struct weir_batch *into = weir_batch_new(NULL, 0);
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_spans(t.datagrams, &outline, into, &found, &why), WEIR_INVALID);
    assert_non_null(strstr(why.text, reason));
    assert_int_equal(into->span_count + into->size + found.spans, 0); /* also not the good one before it */
    weir_batch_unref(into);
}

static void test_broken_spans(void **state) {
    (void)state;
    struct part resource = resource_of("cart"), span = good_span(), good = good_span();
    span.size--;
    breaks(&resource, &span, "truncated fixed-size field");
    span = good_span(), number(&span, 5, 1);
    breaks(&resource, &span, "another wire type");
    resource.size--;
    breaks(&resource, &good, "resource");
}

static void test_bad_text_is_repaired(void **state) {
    (void)state;
    struct part datagram = head(), span = good_span(), resource = resource_of("caf\xe9");
    text(&span, 5, "GET /caf\xe9");
    inside(&datagram, 5, &resource);
    inside(&datagram, 6, &span);
    check_laws(&datagram);
    struct weir_batch *into = weir_batch_new(NULL, 0);
    for (uint32_t i = 1; i <= 2; i++) {
        struct weir_datagram outline;
        struct weir_otlp_counts found = {0};
        assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
        assert_int_equal(weir_datagrams_spans(t.datagrams, &outline, into, &found, NULL), WEIR_OK);
        assert_int_equal(found.repaired, 2);
        assert_int_equal(into->span_count, i);
    }
    assert_string_equal(weir_names_text(t.names, into->spans[0].service, NULL), "caf\xef\xbf\xbd");
    assert_string_equal(weir_names_text(t.names, into->spans[1].operation, NULL), "GET /caf\xef\xbf\xbd");
    weir_batch_unref(into);
}

/* ---- points ---- */

static void keep(void *self, const struct weir_point *point) {
    (void)self;
    assert_int_equal(point->hash, weir_names_hash(t.names, point->key, point->key_size));
    keep_point(kept, point);
}

static struct kept_point *one_point(const Weir__V1__Datagram *message) {
    struct part datagram = {.size = 0};
    struct weir_datagram outline;
    datagram.size = weir__v1__datagram__pack(message, datagram.bytes);
    kept->count = 0;
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_points(t.datagrams, &outline, &(struct weir_datagram_calls){NULL, keep}), 0);
    assert_int_equal(kept->count, 1);
    check_laws(&datagram);
    return &kept->points[0];
}

static void test_counters(void **state) {
    (void)state;
    Weir__V1__Label labels[2] = {WEIR__V1__LABEL__INIT, WEIR__V1__LABEL__INIT}, *list[2] = {&labels[0], &labels[1]};
    labels[0].name = "zone", labels[0].value = "eu-1";
    labels[1].name = "code", labels[1].value = "200";
    Weir__V1__Counter counter = WEIR__V1__COUNTER__INIT, *counters[1] = {&counter};
    Weir__V1__Datagram message = WEIR__V1__DATAGRAM__INIT;
    message.version = 1, message.sequence = 1;
    message.n_counters = 1, message.counters = counters;
    counter.name = "http.requests", counter.n_labels = 2, counter.labels = list;
    counter.count = 17;
    struct kept_point *point = one_point(&message);
    assert_string_equal(point->key, "http_requests{code=200,zone=eu-1}");
    assert_int_equal(point->point.kind, WEIR_POINT_COUNT);
    assert_true(point->point.value == 17);
    counter.value = 2.5;
    assert_true(one_point(&message)->point.value == 2.5);
    counter.value = 0, counter.count = 0;
    assert_true(one_point(&message)->point.value == 0);
}

static void test_histograms(void **state) {
    (void)state;
    double bounds[3] = {0.1, 1, 10};
    uint64_t buckets[4] = {5, 0, 300, 1};
    Weir__V1__Histogram histogram = WEIR__V1__HISTOGRAM__INIT, *histograms[1] = {&histogram};
    Weir__V1__Datagram message = WEIR__V1__DATAGRAM__INIT;
    message.version = 1, message.sequence = 1;
    message.n_histograms = 1, message.histograms = histograms;
    histogram.name = "latency", histogram.sum = 12.5;
    histogram.n_bounds = 3, histogram.bounds = bounds;
    histogram.n_counts = 4, histogram.counts = buckets;
    struct kept_point *point = one_point(&message);
    assert_int_equal(point->point.kind, WEIR_POINT_HISTOGRAM);
    assert_false(point->point.cumulative);
    assert_int_equal(point->data.count, 306);
    assert_true(point->data.has_sum && point->data.sum == 12.5);
    assert_int_equal(point->data.bound_count, 3);
    assert_memory_equal(point->bounds, bounds, sizeof bounds);
    assert_memory_equal(point->counts, buckets, sizeof buckets);

    Weir__V1__Exponential inside_it = WEIR__V1__EXPONENTIAL__INIT;
    inside_it.scale = -2, inside_it.offset = -7, inside_it.zero_count = 3;
    inside_it.n_counts = 4, inside_it.counts = buckets;
    histogram.n_bounds = histogram.n_counts = 0;
    histogram.exponential = &inside_it;
    point = one_point(&message);
    assert_int_equal(point->point.kind, WEIR_POINT_EXPONENTIAL);
    assert_int_equal(point->data.count, 309);
    assert_int_equal(point->data.zero_count, 3);
    assert_int_equal(point->data.scale, -2);
    assert_int_equal(point->data.positive_offset, -7);
    assert_int_equal(point->data.positive_count, 4);
    assert_memory_equal(point->positive, buckets, sizeof buckets);
}

static void senseless(uint32_t field, const struct part *point) {
    struct part datagram = head(), good = {.size = 0};
    text(&good, 1, "good"), number(&good, 3, 1);
    inside(&datagram, field, point), inside(&datagram, 7, &good);
    check_laws(&datagram);
    struct weir_datagram outline;
    kept->count = 0;
    assert_int_equal(weir_datagram_read(datagram.bytes, datagram.size, &outline, NULL), WEIR_OK);
    assert_int_equal(weir_datagrams_points(t.datagrams, &outline, &(struct weir_datagram_calls){NULL, keep}), 1);
    assert_int_equal(kept->count, 1); /* its neighbour is kept */
    assert_string_equal(kept->points[0].key, "good");
}

static void real(struct part *to, uint32_t field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    fixed(to, field, bits);
}

static void test_senseless_points(void **state) {
    (void)state;
    struct part point = {.size = 0}, label = {.size = 0};
    senseless(7, &point); /* no name */
    text(&point, 1, "n"), real(&point, 4, -1);
    senseless(7, &point);
    point.size = 0, text(&point, 1, "n"), real(&point, 4, NAN);
    senseless(7, &point);
    point.size = 0, text(&point, 1, "n"), real(&point, 4, INFINITY);
    senseless(7, &point);
    point.size = 0, text(&point, 1, "n"), text(&label, 2, "no name"), inside(&point, 2, &label);
    senseless(7, &point);
    point.size = 0, text(&point, 1, "n");
    senseless(8, &point); /* no counts */
    point.size = 0, text(&point, 1, "n"), real(&point, 4, 1), number(&point, 5, 1);
    senseless(8, &point); /* one bound, one count */
    point.size = 0, text(&point, 1, "n"), real(&point, 4, 1), real(&point, 4, 1);
    number(&point, 5, 1), number(&point, 5, 1), number(&point, 5, 1);
    senseless(8, &point); /* bounds do not ascend */
    point.size = 0, text(&point, 1, "n"), real(&point, 3, NAN), number(&point, 5, 1);
    senseless(8, &point);
    point.size = 0, text(&point, 1, "n"), real(&point, 4, 1), number(&point, 5, UINT64_MAX), number(&point, 5, 1);
    senseless(8, &point); /* more than 64 bits can count */
    point.size = label.size = 0, text(&point, 1, "n"), number(&label, 1, 42), inside(&point, 6, &label);
    senseless(8, &point); /* scale 21 */
    point.size = label.size = 0, text(&point, 1, "n"), number(&label, 2, UINT64_MAX - 1), inside(&point, 6, &label);
    senseless(8, &point); /* offset past 31 bits */
}

static void test_broken_points(void **state) {
    (void)state;
    struct part datagram = head(), point = {.size = 0}, inner = {.size = 0};
    number(&point, 1, 3), inside(&datagram, 7, &point);
    refuses(&datagram, WEIR_INVALID, "counters: another wire type");
    datagram = head(), point.size = 0, number(&inner, 2, 1), inside(&point, 2, &inner), inside(&datagram, 8, &point);
    refuses(&datagram, WEIR_INVALID, "histograms: another wire type");
    datagram = head(), point.size = 0, text(&point, 4, "1234567"), inside(&datagram, 8, &point);
    refuses(&datagram, WEIR_INVALID, "histograms: size is not a multiple of 8");
    datagram = head(), point.size = 0, put(&point, 5, "\x80", 1), inside(&datagram, 8, &point);
    refuses(&datagram, WEIR_INVALID, "histograms: truncated varint");
    datagram = head(), point.size = inner.size = 0, put(&inner, 3, "\x80", 1), inside(&point, 6, &inner);
    inside(&datagram, 8, &point);
    refuses(&datagram, WEIR_INVALID, "histograms: truncated varint");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_service_of_a_datagram, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_senders_alternate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_ids_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_spans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_text_is_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_histograms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_senseless_points, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_points, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
