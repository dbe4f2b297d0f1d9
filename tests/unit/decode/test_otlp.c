#include "collector/core/buffer.h"
#include "collector/core/utf8.h"
#include "tests/unit/decode/otlp_parts.h"

#include <stdio.h>

static void a_span(void **state) {
    (void)state;
    struct part span = good_span();
    const struct weir_span *view = decode_span(&span);
    assert_true(view->trace_hi == 0x0102030405060708 && view->trace_lo == 0xa1a2a3a4a5a6a7a8);
    assert_true(view->span_id == 0xb1b2b3b4b5b6b7b8 && view->parent_id == 0xc102030405060708);
    assert_int_equal(view->start_ns, 1000);
    assert_int_equal(view->duration_ns, 2500);
    assert_int_equal(view->kind, WEIR_KIND_CLIENT);
    assert_int_equal(view->status, WEIR_STATUS_UNSET);
    assert_int_equal(view->flags, 0);
    assert_true(view->prior == 1 && view->threshold == 0);
    assert_true(view->randomness == 0xa2a3a4a5a6a7a8);
    is_name(view->operation, "GET /users/{id}");
    is_name(view->service, "shop");
    assert_int_equal(view->size, span.size);
    assert_memory_equal(batch->bytes + view->offset, span.bytes, span.size);
    assert_int_equal(batch->span_bytes, span.size);
}

static void roots(void **state) {
    (void)state;
    const uint8_t zero[8] = {0};
    const struct {
        const uint8_t *parent;
        size_t size;
    } cases[] = {{zero, 0}, {zero, 8}, {span_id, 8} /* its own parent: Linkerd 1 */};
    for (size_t i = 0; i < 3; i++) {
        struct part span = good_span();
        put(&span, 4, cases[i].parent, cases[i].size);
        const struct weir_span *view = decode_span(&span);
        assert_int_equal(view->flags, WEIR_SPAN_ROOT);
        assert_int_equal(view->parent_id, 0);
    }
}

static void bad_ids_are_skipped(void **state) {
    (void)state;
    const uint8_t zero[16] = {0};
    const struct {
        uint32_t field;
        size_t size;
        const uint8_t *id;
        const char *reason;
    } cases[] = {
        {1, 4, trace_id, "resource_spans[0].scope_spans[0].spans[1]: trace_id has 4 bytes, not 16"},
        {1, 0, trace_id, "resource_spans[0].scope_spans[0].spans[1]: trace_id has 0 bytes, not 16"},
        {1, 16, zero, "resource_spans[0].scope_spans[0].spans[1]: trace_id is all zeros"},
        {2, 9, trace_id, "resource_spans[0].scope_spans[0].spans[1]: span_id has 9 bytes, not 8"},
        {2, 8, zero, "resource_spans[0].scope_spans[0].spans[1]: span_id is all zeros"},
        {4, 3, trace_id, "resource_spans[0].scope_spans[0].spans[1]: parent_span_id has 3 bytes, not 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct part spans[4] = {good_span(), good_span(), good_span(), good_span()};
        put(&spans[1], cases[i].field, cases[i].id, cases[i].size);
        put(&spans[3], 2, zero, 8);
        struct part request = request_of_spans("shop", spans, 4);
        assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
        assert_int_equal(counts.spans, 2);
        assert_int_equal(counts.skipped, 2);
        assert_string_equal(counts.skipped_reason, cases[i].reason);
    }
}

/* Every prefix of a request is refused or shorter, and nothing of a refused one is left. */
static void truncated(void **state) {
    (void)state;
    struct part spans[2] = {good_span(), good_span()};
    struct part pair = attribute_text("http.status_code", "200");
    inside(&spans[0], 9, &pair);
    struct part request = request_of_spans("shop", spans, 2);
    for (size_t size = 1; size < request.size; size++) {
        assert_int_equal(decode_bytes(request.bytes, size), WEIR_INVALID);
        assert_int_equal(batch->span_count, 0);
        assert_int_equal(batch->size, size);
        assert_int_equal(strncmp(err.text, "byte ", 5), 0);
    }
}

static void unknown_fields_are_skipped(void **state) {
    (void)state;
    struct part span = good_span();
    text(&span, 1000, "later");
    number(&span, 500, 7);
    const struct weir_span *view = decode_span(&span);
    assert_int_equal(view->size, span.size); /* and they stay */
}

static void text_is_repaired(void **state) {
    (void)state;
    struct part bad_name = good_span(), bad_value = good_span(), bad_event = good_span(), event = {.size = 0};
    text(&bad_name, 5, "GET /\xff");
    struct part pair = attribute_text("peer.service", "d\xc3(b");
    inside(&bad_value, 9, &pair);
    text(&event, 2, "\xf0\x9f");
    inside(&bad_event, 11, &event);
    struct part spans[4] = {bad_name, good_span(), bad_value, bad_event};
    struct part request = request_of_spans("sh\xfeop", spans, 4);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    assert_int_equal(batch->span_count, 4);
    assert_int_equal(counts.repaired, 4); /* and the service's name */
    is_name(batch->spans[0].operation, "GET /\xef\xbf\xbd");
    is_name(batch->spans[2].peer, "d\xef\xbf\xbd(b");
    for (uint32_t i = 0; i < 4; i++) {
        is_name(batch->spans[i].service, "sh\xef\xbf\xbdop");
        struct weir_span again;
        struct weir_otlp_counts none = {0};
        assert_int_equal(weir_otlp_span(otlp, batch, batch->spans[i].offset, batch->spans[i].size, &again, &none, &err),
                         WEIR_OK);
        assert_int_equal(none.repaired, 0);
    }
    assert_true(batch->spans[1].offset < request.size); /* what was sound stays where it is */
    assert_true(batch->spans[0].offset >= request.size);
    assert_int_equal(batch->span_bytes,
                     batch->spans[0].size + batch->spans[1].size + batch->spans[2].size + batch->spans[3].size);
}

static void a_budget_that_is_used_up(void **state) {
    (void)state;
    struct part span = good_span(), request = request_of_spans("shop", &span, 1);
    struct weir_budget budget = {.limit_bytes = sizeof(struct weir_batch) + request.size + 64};
    weir_batch_unref(batch);
    batch = weir_batch_new(&budget, request.size);
    assert_non_null(batch);
    memcpy(batch->bytes, request.bytes, request.size);
    batch->size = request.size;
    assert_int_equal(weir_otlp_decode(otlp, batch, &counts, &err), WEIR_FULL);
    assert_int_equal(batch->span_count, 0);
    assert_true(err.retryable);
    weir_batch_unref(batch);
    batch = NULL;
    assert_int_equal(budget.used_bytes, 0);
}

/* A name is cut at WEIR_NAME_BYTES_MAX, wherever a character ends next to it: what is cut is still UTF-8. */
static void long_names_end_on_a_character(void **state) {
    (void)state;
    for (size_t ascii = WEIR_NAME_BYTES_MAX - 4; ascii <= WEIR_NAME_BYTES_MAX; ascii++) {
        struct part span = good_span();
        char name[WEIR_NAME_BYTES_MAX + 8];
        memset(name, 'x', ascii);
        memcpy(name + ascii, "\xe2\x9c\x93z", 5);
        text(&span, 5, name);
        size_t size;
        const char *have = weir_names_text(names, decode_span(&span)->operation, &size);
        assert_true(weir_utf8_valid((const uint8_t *)have, size));
        assert_int_equal(size, ascii + 3 <= WEIR_NAME_BYTES_MAX
                                   ? (ascii + 4 <= WEIR_NAME_BYTES_MAX ? ascii + 4 : ascii + 3)
                                   : ascii);
    }
    struct part span = good_span(); /* templating may make it shorter again: the cut is still there */
    char path[WEIR_NAME_BYTES_MAX + 16] = "GET /0123456789/";
    memset(path + 16, 'y', WEIR_NAME_BYTES_MAX - 17);
    memcpy(path + WEIR_NAME_BYTES_MAX - 1, "\xc3\xaf", 3);
    text(&span, 5, path);
    size_t size;
    const char *have = weir_names_text(names, decode_span(&span)->operation, &size);
    assert_true(weir_utf8_valid((const uint8_t *)have, size));
    assert_int_equal(strncmp(have, "GET /{id}/yyy", 13), 0);
    assert_int_equal(size, WEIR_NAME_BYTES_MAX - 1 - 6); /* the cut comes first, ten digits become four characters */
}

/* Several parts of one value, and fields of a later version behind it: the last known one counts. */
static void the_last_known_value_counts(void **state) {
    (void)state;
    struct part any = {.size = 0}, pair = {.size = 0}, resource = {.size = 0}, resource_spans = {.size = 0};
    struct part scope_spans = {.size = 0}, request = {.size = 0}, span = good_span();
    text(&any, 1, "first");
    text(&any, 1, "shop");
    number(&any, 8, 7); /* string_value_strindex, for profiles */
    text(&pair, 1, "service.name");
    inside(&pair, 2, &any);
    number(&pair, 3, 7);
    inside(&resource, 1, &pair);
    inside(&resource_spans, 1, &resource);
    number(&span, 6, (1ull << 32) + WEIR_KIND_SERVER); /* of an enum 32 bits count: protobuf.dev, "Encoding" */
    inside(&scope_spans, 2, &span);
    inside(&resource_spans, 2, &scope_spans);
    inside(&request, 1, &resource_spans);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    is_name(batch->spans[0].service, "shop");
    assert_int_equal(batch->spans[0].kind, WEIR_KIND_SERVER);
}

/* Scalars and ids that stand twice: the last one counts. A status that stands twice is one of both (protobuf.dev,
 * "Encoding": Last One Wins). */
static void the_last_scalar_counts(void **state) {
    (void)state;
    const uint8_t other[16] = {0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xe1, 2, 3, 4, 5, 6, 7, 8};
    struct part span = good_span(), code = {.size = 0}, message = {.size = 0};
    text(&span, 3, "ot=th:4");
    number(&code, 3, WEIR_STATUS_ERROR);
    text(&message, 2, "why");
    inside(&span, 15, &code);
    put(&span, 1, other, 16);
    put(&span, 2, other, 8);
    put(&span, 4, other + 8, 8);
    text(&span, 5, "last");
    number(&span, 6, WEIR_KIND_CONSUMER);
    fixed(&span, 7, 2000);
    fixed(&span, 8, 2001);
    text(&span, 3, "ot=rv:0123456789abcd");
    inside(&span, 15, &message);
    const struct weir_span *view = decode_span(&span);
    assert_true(view->trace_hi == 0xd1d2d3d4d5d6d7d8 && view->trace_lo == 0xe102030405060708);
    assert_true(view->span_id == 0xd1d2d3d4d5d6d7d8 && view->parent_id == 0xe102030405060708);
    is_name(view->operation, "last");
    assert_int_equal(view->kind, WEIR_KIND_CONSUMER);
    assert_int_equal(view->start_ns, 2000);
    assert_int_equal(view->duration_ns, 1);
    assert_int_equal(view->flags, WEIR_SPAN_RV);
    assert_int_equal(view->status, WEIR_STATUS_ERROR);
}

static void times_that_make_no_duration(void **state) {
    (void)state;
    static const uint64_t cases[][3] = {{5, 5, 0}, {5, 4, 0}, {0, 4, 0}, {5, 0, 0}, {1, UINT64_MAX, UINT64_MAX - 1}};
    for (size_t i = 0; i < 5; i++) {
        struct part span = good_span();
        fixed(&span, 7, cases[i][0]);
        fixed(&span, 8, cases[i][1]);
        const struct weir_span *view = decode_span(&span);
        assert_true(view->start_ns == cases[i][0] && view->duration_ns == cases[i][2]);
    }
}

/* Bad spans do not touch their neighbours, and the first one's place is said whichever scope it is in. */
static void the_first_bad_span_is_placed(void **state) {
    (void)state;
    struct part span = good_span(), bad = good_span(), sound = {.size = 0}, scope = {.size = 0}, request = {.size = 0};
    struct part resource_spans = {.size = 0};
    put(&bad, 2, span_id, 7);
    text(&bad, 5, "\xff"); /* text of a span that is not taken is nobody's */
    inside(&sound, 2, &span);
    text(&span, 5, "the neighbour");
    const struct part *const second[] = {&span, &bad, &span, &bad, &span};
    for (size_t i = 0; i < 5; i++)
        inside(&scope, 2, second[i]);
    for (size_t i = 0; i < 3; i++)
        inside(&resource_spans, 2, i == 2 ? &scope : &sound);
    inside(&request, 1, &resource_spans);
    inside(&request, 1, &resource_spans);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
    assert_int_equal(counts.spans, 10);
    assert_int_equal(counts.skipped, 4);
    assert_int_equal(counts.repaired, 0);
    assert_string_equal(counts.skipped_reason, "resource_spans[0].scope_spans[2].spans[1]: span_id has 7 bytes, not 8");
    for (uint32_t i = 0; i < 10; i++)
        is_name(batch->spans[i].operation, i % 5 < 2 ? "GET /users/{id}" : "the neighbour");
}

/* Whatever the budget, a request that does not fit leaves the batch and the budget as they were. */
static void no_budget_leaves_anything(void **state) {
    (void)state;
    struct part spans[3] = {good_span(), good_span(), good_span()};
    text(&spans[0], 5, "\xff");
    text(&spans[2], 5, "\xfe");
    struct part request = request_of_spans("sh\xfeop", spans, 3);
    unsigned refused = 0, taken = 0;
    for (size_t limit = sizeof(struct weir_batch) + request.size; limit < 64 * 1024; limit += 64) {
        struct weir_budget budget = {.limit_bytes = limit};
        struct weir_otlp *fresh = weir_otlp_new(names);
        struct weir_batch *one = weir_batch_new(&budget, request.size);
        memcpy(one->bytes, request.bytes, request.size);
        one->size = request.size;
        enum weir_status status = weir_otlp_decode(fresh, one, &counts, &err);
        if (status == WEIR_OK) {
            taken++;
            assert_int_equal(one->span_bytes, one->spans[0].size + one->spans[1].size + one->spans[2].size);
        } else {
            refused++;
            assert_int_equal(status, WEIR_FULL);
            assert_int_equal(one->span_count, 0);
            assert_int_equal(one->span_bytes, 0);
            assert_int_equal(one->size, request.size);
        }
        assert_int_equal(budget.used_bytes, one->reserved_bytes); /* what repairing drew is given back */
        weir_batch_unref(one);
        assert_int_equal(budget.used_bytes, 0);
        weir_otlp_free(fresh);
    }
    assert_in_range(refused, 20, 2000);
    assert_in_range(taken, 20, 2000);
}

static void names_are_bounded(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        struct part span = good_span();
        char name[32];
        snprintf(name, sizeof name, "op-%u-x", i);
        text(&span, 5, name);
        const struct weir_span *view = decode_span(&span);
        if (i < 200) is_name(view->operation, name);
        if (i > 300) assert_int_equal(view->operation, WEIR_NAME_OVERFLOW);
    }
}

/* More names and peers than a lane remembers, in turn and then again: each is still its own. */
static void forgotten_names_are_found_again(void **state) {
    (void)state;
    weir_otlp_free(otlp);
    weir_names_free(names);
    names = weir_names_new(16384, 1 << 20);
    otlp = weir_otlp_new(names);
    for (unsigned i = 0; i < 10000; i++) {
        struct part span = good_span();
        char name[32], peer[32];
        snprintf(name, sizeof name, "op-%u-x", i * 7 % 5000);
        snprintf(peer, sizeof peer, "peer-%u-x", i * 11 % 5000);
        struct part pair = attribute_text("peer.service", peer);
        text(&span, 5, name);
        inside(&span, 9, &pair);
        const struct weir_span *view = decode_span(&span);
        is_name(view->operation, name);
        is_name(view->peer, peer);
    }
}

/* One span body, as other decoders have it. */
static void a_body_alone(void **state) {
    (void)state;
    struct part span = good_span(), bad_id = good_span(), bad_type = good_span(), cut = good_span();
    struct part bad_text = good_span();
    put(&bad_id, 1, trace_id, 15);
    text(&bad_text, 5, "b\xff");
    fixed(&bad_type, 5, 1);
    cut.bytes[cut.size++] = 0x2a;
    const struct {
        const struct part *body;
        enum weir_status status;
        const char *text;
    } cases[] = {
        {&span, WEIR_OK, ""},
        {&bad_text, WEIR_OK, ""},
        {&bad_id, WEIR_INVALID, "trace_id has 15 bytes, not 16"},
        {&bad_type, WEIR_INVALID, "byte %zu: name: another wire type than the field has"},
        {&cut, WEIR_INVALID, "byte %zu: truncated varint"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weir_batch_unref(batch);
        batch = weir_batch_new(NULL, 4096);
        memset(batch->bytes, 0xff, 5); /* others before it */
        memcpy(batch->bytes + 5, cases[i].body->bytes, cases[i].body->size);
        batch->size = 5 + cases[i].body->size;
        counts = (struct weir_otlp_counts){0};
        err = (struct weir_error){0};
        struct weir_span view;
        assert_int_equal(weir_otlp_span(otlp, batch, 5, (uint32_t)cases[i].body->size, &view, &counts, &err),
                         cases[i].status);
        char want[96];
        snprintf(want, sizeof want, cases[i].text, 5 + good_span().size + (cases[i].body == &cut));
        assert_string_equal(err.text, want);
        assert_int_equal(counts.repaired, cases[i].body == &bad_text);
        if (cases[i].status != WEIR_OK) continue;
        assert_int_equal(view.offset, cases[i].body == &bad_text ? 5 + bad_text.size : 5);
        assert_int_equal(view.offset + view.size, batch->size);
        is_name(view.operation, cases[i].body == &bad_text ? "b\xef\xbf\xbd" : "GET /users/{id}");
    }
}

/* Enums have 32 bits: protobuf drops those above. Values that no version names are unspecified. */
static void enums_have_32_bits(void **state) {
    (void)state;
    struct part span = good_span(), status = {.size = 0};
    number(&span, 6, (1ull << 32) + WEIR_KIND_SERVER);
    number(&status, 3, (1ull << 40) + WEIR_STATUS_ERROR);
    inside(&span, 15, &status);
    assert_int_equal(decode_span(&span)->kind, WEIR_KIND_SERVER);
    assert_int_equal(batch->spans[0].status, WEIR_STATUS_ERROR);
    number(&span, 6, 6);
    number(&status, 3, 3);
    inside(&span, 15, &status);
    assert_int_equal(decode_span(&span)->kind, WEIR_KIND_UNSPECIFIED);
    assert_int_equal(batch->spans[0].status, WEIR_STATUS_UNSET);
}

/* What an Envoy sent: a client span before the server span that is its parent, names and peers as it writes them. */
static void requests_of_envoy(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t bytes[4096];
        char path[512];
        snprintf(path, sizeof path, WEIR_TEST_DATA "/envoy-live/otlp-trace-request-%u.bin", i);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        assert_int_equal(decode_bytes(bytes, size), WEIR_OK);
        assert_int_equal(counts.spans, 5);
        assert_int_equal(counts.skipped + counts.repaired, 0);
        for (uint32_t k = 0; k < batch->span_count; k++) {
            const struct weir_span *view = &batch->spans[k];
            is_name(view->service, "payments");
            assert_int_equal(view->http_status, 404);
            assert_true(view->start_ns > 1700000000000000000ull && view->duration_ns > 1000000);
            if (view->kind == WEIR_KIND_CLIENT) {
                is_name(view->operation, "router app egress");
                is_name(view->peer, "app");
                assert_int_equal(view->status, WEIR_STATUS_ERROR);
                if (k + 1 < batch->span_count) assert_true(view->parent_id == view[1].span_id);
            } else {
                assert_int_equal(view->kind, WEIR_KIND_SERVER);
                assert_int_equal(view->flags, WEIR_SPAN_ROOT);
                is_name(view->operation, "ingress");
                is_name(view->peer, "");
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_span, setup, teardown),
        cmocka_unit_test_setup_teardown(roots, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_ids_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_fields_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_repaired, setup, teardown),
        cmocka_unit_test_setup_teardown(a_budget_that_is_used_up, setup, teardown),
        cmocka_unit_test_setup_teardown(no_budget_leaves_anything, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names_end_on_a_character, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_known_value_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_scalar_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(times_that_make_no_duration, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_bad_span_is_placed, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_of_envoy, setup, teardown),
        cmocka_unit_test_setup_teardown(enums_have_32_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(forgotten_names_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
