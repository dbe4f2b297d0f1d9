/* What encode_proto3.c writes, unpacked by protobuf-c from zipkin.proto; and compared with what encode_json.c writes.
 */
#include "exporters/zipkin/encode.h"
#include "spans.h"
#include "zipkin/zipkin.pb-c.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

typedef Zipkin__Proto3__ListOfSpans List;
typedef Zipkin__Proto3__Span Span;

static List *encode(const struct weir_batch *batch) {
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    assert_true(weir_zipkin_begin(&scratch, batch));
    assert_int_equal(weir_zipkin_encode_proto3(&scratch, 0, SIZE_MAX, &out), batch->span_count);
    assert_false(out.failed);
    List *list = zipkin__proto3__list_of_spans__unpack(NULL, out.size, out.bytes);
    assert_non_null(list);
    assert_int_equal(list->n_spans, batch->span_count);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    return list;
}
static List *encode_one(struct weir_origin *origin, const struct weir_buffer *body, struct weir_span view) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    add_span(batch, origin, body, view);
    List *list = encode(batch);
    weir_batch_unref(batch);
    return list;
}
static const char *tag(const Span *span, const char *key) {
    const char *value = NULL;
    for (size_t i = 0; i < span->n_tags; i++) {
        if (strcmp(span->tags[i]->key, key) == 0) {
            if (value != NULL) fail_msg("two tags %s", key);
            value = span->tags[i]->value;
        }
    }
    return value;
}

static void a_whole_span(void **state) {
    (void)state;
    struct weir_buffer resource = {0}, scope = {0}, body = {0}, event = {0}, status = {0};
    pair_text(&resource, 1, "service.name", "payments");
    pair_text(&resource, 1, "zone", "a");
    pair_text(&resource, 1, "own", "the resource's");
    text_field(&scope, 1, "envoy");
    struct weir_origin *origin = origin_new(&resource, &scope);
    struct weir_span view = a_view;
    view.kind = WEIR_KIND_CLIENT;
    view.flags = WEIR_SPAN_DEBUG;
    span_head(&body, &view, "GET /cards");
    pair_text(&body, 9, "own", "the span's");
    pair_int(&body, 9, "n", -3);
    pair_text(&body, 9, "peer.service", "cards");
    pair_text(&body, 9, "network.peer.address", "10.1.2.3");
    pair_int(&body, 9, "network.peer.port", 8443);
    fixed_field(&event, 1, 5000);
    text_field(&event, 2, "retry");
    message(&body, 11, &event);
    text_field(&status, 2, "declined");
    uint_field(&status, 3, WEIR_STATUS_ERROR);
    message(&body, 15, &status);
    List *list = encode_one(origin, &body, view);
    const Span *span = list->spans[0];
    assert_int_equal(span->trace_id.len, 16);
    assert_memory_equal(span->trace_id.data, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 16);
    assert_int_equal(span->id.len, 8);
    assert_memory_equal(span->id.data, "\x11\x12\x13\x14\x15\x16\x17\x18", 8);
    assert_int_equal(span->parent_id.len, 8);
    assert_memory_equal(span->parent_id.data, "\x21\x22\x23\x24\x25\x26\x27\x28", 8);
    assert_int_equal(span->kind, ZIPKIN__PROTO3__SPAN__KIND__CLIENT);
    assert_string_equal(span->name, "GET /cards");
    assert_true(span->timestamp == 1700000000123456ull);
    assert_int_equal(span->duration, 1500);
    assert_string_equal(span->local_endpoint->service_name, "payments");
    assert_string_equal(span->remote_endpoint->service_name, "cards");
    assert_int_equal(span->remote_endpoint->ipv4.len, 4);
    assert_memory_equal(span->remote_endpoint->ipv4.data, "\x0a\x01\x02\x03", 4);
    assert_int_equal(span->remote_endpoint->port, 8443);
    assert_int_equal(span->n_annotations, 1);
    assert_int_equal(span->annotations[0]->timestamp, 5);
    assert_string_equal(span->annotations[0]->value, "retry");
    assert_string_equal(tag(span, "own"), "the span's");
    assert_string_equal(tag(span, "zone"), "a");
    assert_string_equal(tag(span, "n"), "-3");
    assert_string_equal(tag(span, "otel.scope.name"), "envoy");
    assert_string_equal(tag(span, "otel.status_code"), "ERROR");
    assert_string_equal(tag(span, "error"), "declined");
    assert_true(span->debug);
    zipkin__proto3__list_of_spans__free_unpacked(list, NULL);

    view = a_view; /* the least there is */
    view.trace_hi = view.start_ns = view.duration_ns = 0;
    view.parent_id = view.span_id;
    view.flags = WEIR_SPAN_ROOT;
    view.kind = WEIR_KIND_INTERNAL;
    weir_buffer_clear(&body);
    list = encode_one(origin, &body, view);
    span = list->spans[0];
    assert_int_equal(span->trace_id.len, 8);
    assert_memory_equal(span->trace_id.data, "\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 8);
    assert_int_equal(span->parent_id.len, 0);
    assert_int_equal(span->kind, 0);
    assert_int_equal(span->timestamp + span->duration + span->n_annotations, 0);
    assert_null(span->remote_endpoint);
    assert_false(span->debug);
    zipkin__proto3__list_of_spans__free_unpacked(list, NULL);
    weir_origin_unref(origin);
    weir_buffer_free(&resource);
    weir_buffer_free(&scope);
    weir_buffer_free(&body);
    weir_buffer_free(&event);
    weir_buffer_free(&status);
}

/* Lengths whose prefix takes one, two and three bytes, of tags and of whole spans. */
static void lengths(void **state) {
    (void)state;
    static const size_t sizes[] = {0,   1,   20,  60,  70,    100,   120,   121,   122,
                                   127, 128, 129, 300, 16000, 16255, 16383, 16384, 100000};
    struct weir_origin *origin = origin_new(NULL, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct weir_buffer body = {0}, text = {0};
        for (size_t k = 0; k < sizes[i]; k++)
            weir_buffer_byte(&text, (uint8_t)('a' + k % 26));
        pair_bytes(&body, 9, "k", text.bytes, text.size);
        List *list = encode_one(origin, &body, a_view);
        assert_int_equal(strlen(tag(list->spans[0], "k")), sizes[i]);
        zipkin__proto3__list_of_spans__free_unpacked(list, NULL);
        weir_buffer_free(&body);
        weir_buffer_free(&text);
    }
    weir_origin_unref(origin);
}

/* Both encodings say the same of a mesh's spans. */
static void same_as_json(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(500);
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    List *list = encode(batch);
    assert_true(weir_zipkin_begin(&scratch, batch));
    assert_int_equal(weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out), 500);
    json_t *array = json_loadb((const char *)out.bytes, out.size, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(array), 500);
    for (size_t i = 0; i < 500; i++) {
        const json_t *object = json_array_get(array, i), *tags = json_object_get(object, "tags"), *value;
        const Span *span = list->spans[i];
        const char *key;
        assert_string_equal(json_string_value(json_object_get(object, "name")), span->name);
        assert_true((uint64_t)json_integer_value(json_object_get(object, "timestamp")) == span->timestamp);
        assert_true((uint64_t)json_integer_value(json_object_get(object, "duration")) == span->duration);
        assert_int_equal(json_object_size(tags), span->n_tags);
        json_object_foreach((json_t *)(uintptr_t)tags, key, value)
            assert_string_equal(tag(span, key), json_string_value(value));
        const json_t *remote = json_object_get(object, "remoteEndpoint");
        assert_int_equal(remote != NULL, span->remote_endpoint != NULL);
        assert_int_equal(remote != NULL, i % 2 == 1);
        if (remote != NULL)
            assert_string_equal(json_string_value(json_object_get(remote, "serviceName")),
                                span->remote_endpoint->service_name);
    }
    json_decref(array);
    zipkin__proto3__list_of_spans__free_unpacked(list, NULL);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
}

static void cut_into_bodies(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(100);
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    uint32_t at = 0;
    while (at < 100) {
        weir_buffer_clear(&out);
        assert_true(weir_zipkin_begin(&scratch, batch));
        uint32_t end = weir_zipkin_encode_proto3(&scratch, at, 5000, &out);
        assert_true(end > at && out.size <= 5000);
        List *list = zipkin__proto3__list_of_spans__unpack(NULL, out.size, out.bytes);
        assert_int_equal(list->n_spans, end - at);
        uint64_t id;
        memcpy(&id, list->spans[0]->id.data, 8);
        assert_true(__builtin_bswap64(id) == batch->spans[at].span_id);
        zipkin__proto3__list_of_spans__free_unpacked(list, NULL);
        at = end;
    }
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_whole_span), cmocka_unit_test(lengths),
                                       cmocka_unit_test(same_as_json), cmocka_unit_test(cut_into_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
