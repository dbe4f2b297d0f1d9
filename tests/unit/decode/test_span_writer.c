/* Spans written for other formats, read back by protobuf-c and as views. */
#include "collector/core/wire.h"
#include "collector/decode/span_writer.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Trace__V1__Span Span;

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_budget budget;
static struct weir_batch *batch;
static struct weir_otlp_counts counts;
static struct weir_error err;

static int begin(void **state) {
    (void)state;
    names = weir_names_new(16384, 1 << 20);
    otlp = weir_otlp_new(names);
    budget = (struct weir_budget){.limit_bytes = 8 << 20};
    batch = weir_batch_new(&budget, 0);
    counts = (struct weir_otlp_counts){0};
    err = (struct weir_error){0};
    return 0;
}

static int finish(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    weir_names_free(names);
    return budget.used_bytes != 0;
}

static uint16_t service(const char *text) {
    uint16_t origin = 99;
    assert_int_equal(weir_span_service(otlp, batch, text, strlen(text), &origin), WEIR_OK);
    return origin;
}

static Span *unpack(uint32_t i) {
    Span *span = opentelemetry__proto__trace__v1__span__unpack(NULL, batch->spans[i].size,
                                                               batch->bytes + batch->spans[i].offset);
    assert_non_null(span);
    return span;
}

#define TEXT(literal) literal, sizeof literal - 1

static void every_field(void **state) {
    (void)state;
    struct weir_span_writer w;
    char large[300];
    memset(large, 'x', sizeof large);
    weir_span_begin(&w, batch);
    weir_span_ids(&w, 0x0102030405060708, 0x1112131415161718, 0x2122232425262728, 0x3132333435363738);
    weir_span_kind(&w, WEIR_KIND_CLIENT);
    weir_span_times(&w, 1000, 4500);
    weir_span_name(&w, TEXT("GET /users/42"));
    weir_span_tracestate(&w, TEXT("ot=th:8"));
    weir_span_text(&w, TEXT("peer.service"), TEXT("db"));
    weir_span_text(&w, TEXT("large"), large, sizeof large);
    weir_span_text(&w, TEXT("empty"), NULL, 0);
    weir_span_int(&w, TEXT("http.response.status_code"), 503);
    weir_span_int(&w, TEXT("negative"), -2);
    weir_span_double(&w, TEXT("ratio"), 0.5);
    weir_span_bool(&w, TEXT("yes"), true);
    weir_span_event(&w, 2000, TEXT("retry"));
    weir_span_status(&w, WEIR_STATUS_ERROR, TEXT("down"));
    assert_int_equal(weir_span_end(&w, otlp, service("web"), 3, &counts, &err), WEIR_OK);

    const struct weir_span *view = &batch->spans[0];
    assert_int_equal(counts.spans, 1);
    assert_int_equal(view->trace_hi, 0x0102030405060708);
    assert_int_equal(view->trace_lo, 0x1112131415161718);
    assert_int_equal(view->span_id, 0x2122232425262728);
    assert_int_equal(view->parent_id, 0x3132333435363738);
    assert_int_equal(view->duration_ns, 3500);
    assert_int_equal(view->threshold, 1ull << 55);
    assert_int_equal(view->http_status, 503);
    assert_int_equal(view->receiver, 3);
    assert_string_equal(weir_names_text(names, view->service, NULL), "web");
    assert_string_equal(weir_names_text(names, view->operation, NULL), "GET /users/{id}");
    assert_string_equal(weir_names_text(names, view->peer, NULL), "db");

    Span *span = unpack(0);
    assert_int_equal(span->kind, 3);
    assert_int_equal(span->start_time_unix_nano, 1000);
    assert_int_equal(span->end_time_unix_nano, 4500);
    assert_int_equal(span->n_attributes, 7);
    assert_string_equal(span->attributes[0]->value->string_value, "db");
    assert_int_equal(strlen(span->attributes[1]->value->string_value), sizeof large);
    assert_string_equal(span->attributes[2]->value->string_value, "");
    assert_int_equal(span->attributes[3]->value->int_value, 503);
    assert_int_equal(span->attributes[4]->value->int_value, -2);
    assert_true(span->attributes[5]->value->double_value == 0.5);
    assert_true(span->attributes[6]->value->bool_value);
    assert_int_equal(span->n_events, 1);
    assert_int_equal(span->events[0]->time_unix_nano, 2000);
    assert_string_equal(span->events[0]->name, "retry");
    assert_string_equal(span->status->message, "down");
    assert_int_equal(span->status->code, 2);
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
}

/* What is left out is absent, not zero. */
static void absent_fields(void **state) {
    (void)state;
    struct weir_span_writer w;
    weir_span_begin(&w, batch);
    weir_span_ids(&w, 0, 5, 6, 0);
    weir_span_kind(&w, WEIR_KIND_UNSPECIFIED);
    weir_span_times(&w, 0, 0);
    assert_int_equal(weir_span_end(&w, otlp, service(""), 0, &counts, &err), WEIR_OK);
    assert_int_equal(batch->spans[0].size, 18 + 10);
    assert_true((batch->spans[0].flags & WEIR_SPAN_ROOT) != 0);
    assert_int_equal(batch->origins[0]->parts.resource_size, 0);
}

static void bad_ids_are_taken_back(void **state) {
    (void)state;
    struct weir_span_writer w;
    size_t size = batch->size;
    weir_span_begin(&w, batch);
    weir_span_ids(&w, 0, 5, 0, 0);
    weir_span_name(&w, TEXT("x"));
    assert_int_equal(weir_span_end(&w, otlp, service("web"), 0, &counts, &err), WEIR_INVALID);
    assert_string_equal(err.text, "span_id is all zeros");
    assert_int_equal(batch->span_count, 0);
    assert_int_equal(batch->size, size);
    weir_span_begin(&w, batch);
    weir_span_ids(&w, 0, 5, 1, 0);
    weir_span_cancel(&w);
    assert_int_equal(batch->size, size);
}

static void bad_text_is_repaired(void **state) {
    (void)state;
    struct weir_span_writer w;
    weir_span_begin(&w, batch);
    weir_span_ids(&w, 0, 5, 6, 0);
    weir_span_name(&w, TEXT("a\xff"));
    uint16_t origin = service("s\xff");
    assert_int_equal(weir_span_end(&w, otlp, origin, 0, &counts, &err), WEIR_OK);
    assert_int_equal(counts.repaired, 1);
    assert_string_equal(weir_names_text(names, batch->spans[0].operation, NULL), "a\xef\xbf\xbd");
    assert_string_equal(weir_names_text(names, batch->spans[0].service, NULL), "s\xef\xbf\xbd");
}

/* Messages in messages, short and long: links with attributes, written field by field. */
static void nested_messages(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 120, 127, 128, 200, 16383, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct weir_span_writer w;
        char *text = malloc(sizes[i] + 1);
        memset(text, 'y', sizes[i]);
        weir_span_begin(&w, batch);
        weir_span_ids(&w, 0, 5, 6, 0);
        size_t link = weir_span_open(&w, 13);
        uint8_t *at = weir_span_room(&w, 32);
        assert_non_null(at);
        weir_span_wrote(&w, weir_wire_put_bytes(at, 1, "0123456789abcdef", 16));
        size_t pair = weir_span_open(&w, 4);
        at = weir_span_room(&w, 8);
        weir_span_wrote(&w, weir_wire_put_bytes(at, 1, "k", 1));
        size_t any = weir_span_open(&w, 2);
        at = weir_span_room(&w, sizes[i] + 16);
        weir_span_wrote(&w, weir_wire_put_bytes(at, 1, text, sizes[i]));
        weir_span_close(&w, any);
        weir_span_close(&w, pair);
        weir_span_close(&w, link);
        weir_span_name(&w, TEXT("after"));
        assert_int_equal(weir_span_end(&w, otlp, service("web"), 0, &counts, &err), WEIR_OK);
        Span *span = unpack((uint32_t)i);
        assert_string_equal(span->name, "after");
        assert_int_equal(span->n_links, 1);
        assert_int_equal(span->links[0]->trace_id.len, 16);
        assert_int_equal(strlen(span->links[0]->attributes[0]->value->string_value), sizes[i]);
        opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
        free(text);
    }
}

static void a_used_up_budget(void **state) {
    (void)state;
    struct weir_span_writer w;
    char text[1000] = {0};
    uint16_t origin = service("web");
    uint32_t kept = 0;
    memset(text, 'z', sizeof text);
    budget.limit_bytes = budget.used_bytes + 100000;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && kept < 1000) {
        weir_span_begin(&w, batch);
        weir_span_ids(&w, 0, 5, 6, 0);
        for (int i = 0; i < 10; i++)
            weir_span_text(&w, TEXT("k"), text, sizeof text);
        size_t mark = weir_span_open(&w, 13);
        weir_span_close(&w, mark);
        status = weir_span_end(&w, otlp, origin, 0, &counts, &err);
        kept += status == WEIR_OK;
    }
    assert_int_equal(status, WEIR_FULL);
    assert_true(kept > 0 && kept < 20);
    assert_int_equal(batch->span_count, kept);
    assert_true(budget.used_bytes <= budget.limit_bytes);
    const struct weir_span *last = &batch->spans[kept - 1];
    assert_int_equal(batch->size, last->offset + last->size); /* the one that failed left nothing */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(every_field),          TEST(absent_fields),   TEST(bad_ids_are_taken_back),
        TEST(bad_text_is_repaired), TEST(nested_messages), TEST(a_used_up_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
