/* Where spans come from: resources and scopes, each once a request. */
#include "collector/core/buffer.h"
#include "collector/core/utf8.h"
#include "tests/unit/decode/otlp_parts.h"

#include <stdio.h>

static void where_spans_come_from(void **state) {
    (void)state;
    struct part span = good_span(), one = request_of_spans("a", &span, 1), none = request_of_spans(NULL, &span, 1);
    struct part empty = request_of_spans("", &span, 1), request = {.size = 0};
    /* Requests one behind the other are one request: repeated fields add up. */
    const struct part *const all[] = {&one, &none, &empty, &one};
    for (size_t i = 0; i < 4; i++) {
        memcpy(request.bytes + request.size, all[i]->bytes, all[i]->size);
        request.size += all[i]->size;
    }
    /* The resource behind its spans, and a scope. */
    struct part late = {.size = 0}, scope_spans = {.size = 0}, scope = {.size = 0}, resource = {.size = 0};
    struct part name = attribute_text("service.name", "late");
    text(&scope, 1, "envoy");
    inside(&scope_spans, 2, &span);
    inside(&scope_spans, 1, &scope);
    inside(&resource, 1, &name);
    inside(&late, 2, &scope_spans);
    inside(&late, 1, &resource);
    inside(&request, 1, &late);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    assert_int_equal(batch->span_count, 5);
    const char *const services[] = {"a", "unknown_service", "unknown_service", "a", "late"};
    for (uint32_t i = 0; i < 5; i++)
        is_name(batch->spans[i].service, services[i]);
    assert_int_equal(batch->spans[0].origin, batch->spans[3].origin);
    assert_int_not_equal(batch->spans[1].origin, batch->spans[2].origin);
    const struct weir_origin *origin = batch->origins[batch->spans[4].origin];
    assert_int_equal(origin->parts.resource_size, resource.size);
    assert_memory_equal(origin->parts.scope, scope.bytes, scope.size);
}

/* Scopes that say the same share one origin, also where it is too large for the table; others do not. */
static void equal_scopes_share_an_origin(void **state) {
    (void)state;
    static const char *const scopes[][2] = {{"a", ""},  {"a", ""},  {"b", ""},  {"b", ""},
                                            {"b", "w"}, {"b", "u"}, {"a", "u"}, {"c", "v"}};
    static const uint32_t wanted[] = {0, 0, 1, 1, 2, 3, 4, 5};
    for (size_t size = 100; size <= 2 * WEIR_ORIGIN_KEPT_BYTES; size *= 300) {
        struct weir_buffer key = {0}, resource_spans = {0}, request = {0};
        struct part span = good_span();
        weir_buffer_room(&key, size);
        memset(key.bytes, 'k', size);
        weir_buffer_room(&resource_spans, size + 4096);
        weir_buffer_room(&request, size + 4096);
        uint8_t *end = weir_wire_put_bytes(resource_spans.bytes, 1, key.bytes, size);
        end = weir_wire_put_bytes(request.bytes, 1, resource_spans.bytes, (size_t)(end - resource_spans.bytes));
        end = weir_wire_put_bytes(resource_spans.bytes, 1, request.bytes, (size_t)(end - request.bytes));
        for (size_t i = 0; i < 8; i++) {
            struct part scope = {.size = 0}, scope_spans = {.size = 0};
            text(&scope, 1, scopes[i][0]);
            inside(&scope_spans, 1, &scope);
            inside(&scope_spans, 2, &span);
            text(&scope_spans, 3, scopes[i][1]);
            end = weir_wire_put_bytes(end, 2, scope_spans.bytes, scope_spans.size);
        }
        size_t one = (size_t)(end - resource_spans.bytes);
        end = weir_wire_put_bytes(request.bytes, 1, resource_spans.bytes, one);
        assert_int_equal(decode_bytes(request.bytes, (size_t)(end - request.bytes)), WEIR_OK);
        assert_int_equal(batch->span_count, 8);
        assert_int_equal(batch->origin_count, 6);
        for (uint32_t i = 0; i < 8; i++) {
            const struct weir_origin *origin = batch->origins[batch->spans[i].origin];
            assert_int_equal(batch->spans[i].origin, wanted[i]);
            assert_int_equal(origin->parts.scope[2], scopes[i][0][0]);
            assert_int_equal(origin->parts.scope_url_size, strlen(scopes[i][1]));
            is_name(batch->spans[i].service, "unknown_service");
        }
        weir_buffer_free(&key);
        weir_buffer_free(&resource_spans);
        weir_buffer_free(&request);
    }
}

/* A resource with bad text over many scopes is repaired, and counted, once; schema URLs are strings too. */
static void a_resource_is_repaired_once(void **state) {
    (void)state;
    struct part resource = {.size = 0}, resource_spans = {.size = 0}, request = {.size = 0}, span = good_span();
    struct part name = attribute_text("service.name", "sh\xfeop");
    inside(&resource, 1, &name);
    inside(&resource_spans, 1, &resource);
    text(&resource_spans, 3, "u\xff");
    for (unsigned i = 0; i < 4; i++) {
        struct part scope_spans = {.size = 0}, scope = {.size = 0};
        text(&scope, 1, i == 1 ? "\xff" : "sound");
        inside(&scope_spans, 1, &scope);
        inside(&scope_spans, 2, &span);
        if (i == 2) text(&scope_spans, 3, "s\xff");
        inside(&resource_spans, 2, &scope_spans);
    }
    inside(&request, 1, &resource_spans);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    assert_int_equal(counts.repaired,
                     4); /* the service's name, the resource's URL, one scope's name, one scope's URL */
    for (uint32_t i = 0; i < 4; i++) {
        const struct weir_origin_parts *parts = &batch->origins[batch->spans[i].origin]->parts;
        is_name(batch->spans[i].service, "sh\xef\xbf\xbdop");
        assert_int_equal(parts->resource_url_size, 4);
        assert_memory_equal(parts->resource_url, "u\xef\xbf\xbd", 4);
        assert_true(weir_utf8_valid(parts->scope, parts->scope_size));
        assert_int_equal(parts->scope_url_size, i == 2 ? 4 : 0);
    }
}

/* A repaired span stays with its resource. */
static void repaired_spans_keep_their_origin(void **state) {
    (void)state;
    struct part span = good_span(), bad = good_span();
    text(&bad, 5, "\xff");
    struct part request = request_of_spans("a", &span, 1), more = request_of_spans("b", &bad, 1);
    memcpy(request.bytes + request.size, more.bytes, more.size);
    request.size += more.size;
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    is_name(batch->spans[0].service, "a");
    is_name(batch->spans[1].service, "b");
    assert_int_equal(batch->spans[0].origin, 0);
    assert_int_equal(batch->spans[1].origin, 1);
}

static void origins_of_a_request_are_bounded(void **state) {
    (void)state;
    struct part span = good_span();
    for (unsigned count = UINT16_MAX; count <= UINT16_MAX + 1; count++) {
        struct weir_buffer request = {0};
        for (unsigned i = 0; i < count; i++) {
            char service[16];
            snprintf(service, sizeof service, "s%u", i);
            struct part one = request_of_spans(service, &span, 1);
            weir_buffer_put(&request, one.bytes, one.size);
        }
        enum weir_status status = decode_bytes(request.bytes, request.size);
        weir_buffer_free(&request);
        if (count == UINT16_MAX) {
            assert_int_equal(status, WEIR_OK);
            assert_int_equal(counts.spans, count);
        } else {
            assert_int_equal(status, WEIR_INVALID);
            assert_false(err.retryable);
            assert_int_equal(batch->span_count, 0);
            assert_non_null(strstr(err.text, "resource_spans[65535].scope_spans[0]: more than 65,535 resources"));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_spans_come_from, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_scopes_share_an_origin, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resource_is_repaired_once, setup, teardown),
        cmocka_unit_test_setup_teardown(origins_of_a_request_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(repaired_spans_keep_their_origin, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
