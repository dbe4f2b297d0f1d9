/* Lines of access logs, good and bad. */
#include "collector/core/clock.h"
#include "collector/core/ledger.h"
#include "collector/decode/access_log.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Trace__V1__Span Span;
#define IDS "trace=0102030405060708090a0b0c0d0e0f10 span=1112131415161718 "

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_access_log *decoder;
static struct weir_batch *batch;
static struct weir_error err;
static enum weir_access_log_refusal why;
static unsigned points;
static char keys[2][128];
static double values[2];

static int begin(void **state) {
    (void)state;
    names = weir_names_new(16384, 1 << 20);
    otlp = weir_otlp_new(names);
    decoder = weir_access_log_new(otlp, names, 128);
    batch = weir_batch_new(NULL, 0);
    points = 0;
    return 0;
}

static int finish(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_access_log_free(decoder);
    weir_otlp_free(otlp);
    weir_names_free(names);
    return 0;
}

static void take_point(void *self, const struct weir_point *point) {
    (void)self;
    if (points < 2) {
        memcpy(keys[points], point->key, point->key_size);
        keys[points][point->key_size] = 0;
        values[points] = point->value;
    }
    points++;
}

static enum weir_status decode(const char *line, size_t size) {
    const struct weir_access_log_calls calls = {.point = take_point};
    char *exact = malloc(size + 1); /* so that a byte too far is seen */
    memcpy(exact, line, size);
    err = (struct weir_error){0};
    enum weir_status status = weir_access_log_decode(decoder, (const uint8_t *)exact, size, batch, &calls, &why, &err);
    free(exact);
    return status;
}

static Span *last(void) {
    const struct weir_span *view = &batch->spans[batch->span_count - 1];
    Span *span = opentelemetry__proto__trace__v1__span__unpack(NULL, view->size, batch->bytes + view->offset);
    assert_non_null(span);
    return span;
}

static const Opentelemetry__Proto__Common__V1__AnyValue *value_of(const Span *span, const char *key) {
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) == 0) return span->attributes[i]->value;
    }
    fail_msg("no %s", key);
    return NULL;
}

static void a_whole_line(void **state) {
    (void)state;
    static const char line[] =
        "<190>Nov 23 21:00:00 edge-1 nginx: weir=1 service=edge " IDS
        "parent=2122232425262728 rate=0.1 end=1790000000.123 "
        "took=0.045 status=502 method=GET path=\"/a \\x22b\\x22/c?card=1\" host=\"shop.example\" client=10.0.0.1 "
        "proto=HTTP/1.1 sent=512 received=99 upstream=\"10.0.0.7:80, 10.0.0.8:80 : 10.0.1.1:80\" "
        "upstream_status=\"502, 504 : 502\" upstream_took=\"0.010, 0.020 : 0.005\" tls=TLSv1.3 "
        "agent=\"Mozilla/5.0 (X11)\" state=\"ot=th:8\" later=\"x\" count=1 eol=1\n";
    assert_int_equal(decode(line, sizeof line - 1), WEIR_OK);
    assert_int_equal(batch->span_count, 1);
    const struct weir_span *view = &batch->spans[0];
    assert_int_equal(view->trace_hi, 0x0102030405060708);
    assert_int_equal(view->span_id, 0x1112131415161718);
    assert_int_equal(view->parent_id, 0x2122232425262728);
    assert_int_equal(view->start_ns, 1790000000078 * WEIR_MS);
    assert_int_equal(view->duration_ns, 45 * WEIR_MS);
    assert_int_equal(view->kind, WEIR_KIND_SERVER);
    assert_int_equal(view->status, WEIR_STATUS_ERROR);
    assert_int_equal(view->http_status, 502);
    assert_true(view->prior == 10);
    assert_int_equal(view->threshold, 1ull << 55);
    assert_int_equal(view->receiver, WEIR_RECEIVER_ACCESS_LOG);
    assert_string_equal(weir_names_text(names, view->service, NULL), "edge");
    Span *span = last();
    assert_string_equal(span->name, "GET /a \"b\"/c");
    assert_string_equal(value_of(span, "url.path")->string_value, "/a \"b\"/c");
    assert_string_equal(value_of(span, "network.protocol.version")->string_value, "1.1");
    assert_int_equal(value_of(span, "http.response.size")->int_value, 512);
    assert_string_equal(value_of(span, "user_agent.original")->string_value, "Mozilla/5.0 (X11)");
    assert_string_equal(value_of(span, "tls.protocol.version")->string_value, "TLSv1.3");
    assert_int_equal(span->n_events, 3);
    assert_string_equal(span->events[0]->name, "upstream 10.0.0.7:80: status 502 in 0.010 s");
    assert_string_equal(span->events[1]->name, "upstream 10.0.0.8:80: status 504 in 0.020 s");
    assert_string_equal(span->events[2]->name, "upstream 10.0.1.1:80: status 502 in 0.005 s");
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
    assert_int_equal(points, 2);
    assert_string_equal(keys[0], "http_server_requests\x1fmethod\x1fGET\x1fservice\x1f"
                                 "edge\x1fstatus\x1f"
                                 "502");
    assert_true(values[0] == 1 && values[1] == 0.045);
}

static void lines_in_other_words(void **state) {
    (void)state;
    static const struct {
        const char *line;
        uint64_t start_ms, duration_ms;
        unsigned points, events;
    } cases[] = {
        /* HAProxy: RFC 5424, its start and milliseconds */
        {"<134>1 2026-11-23T21:00:00Z lb haproxy 7 - - weir=1 service=lb " IDS
         "start=1790000000.5 took_ms=20 status=200 eol=1",
         1790000000500, 20, 0, 0},
        {"weir=1 eol=0 status=200 took=0 end=1790000000 " IDS
         "service=\"a b\" parent=- rate=- upstream=\"10.0.0.1:80\" eol=1",
         1790000000000, 0, 0, 0},
        {"x weir=1 service=s trace=1112131415161718 span=1112131415161718 took=0.001 end=1790000000 status=0 eol=1",
         1789999999999, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (decode(cases[i].line, strlen(cases[i].line)) != WEIR_OK) fail_msg("%s: %s", cases[i].line, err.text);
        const struct weir_span *view = &batch->spans[batch->span_count - 1];
        assert_int_equal(view->start_ns, cases[i].start_ms * WEIR_MS);
        assert_int_equal(view->duration_ns, cases[i].duration_ms * WEIR_MS);
        assert_true(view->prior == 1);
        Span *span = last();
        assert_int_equal(span->n_events, cases[i].events);
        opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
    }
    assert_int_equal(points, 0);
}

static void a_line_that_only_counts(void **state) {
    (void)state;
    static const char line[] = "<190>nginx: weir=1 count=1 service=edge took=1.5 status=404 method=BREW eol=1";
    assert_int_equal(decode(line, sizeof line - 1), WEIR_OK);
    assert_int_equal(batch->span_count, 0);
    assert_int_equal(points, 2);
    assert_string_equal(keys[1], "http_server_request_duration_seconds\x1fmethod\x1f_OTHER\x1fservice\x1f"
                                 "edge\x1fstatus\x1f"
                                 "404");
    assert_true(values[1] == 1.5);
}

static void refused_lines(void **state) {
    (void)state;
#define GOOD "weir=1 service=s " IDS "took=0.1 end=1790000000 status=200 "
    static const struct {
        const char *line;
        enum weir_access_log_refusal why;
        const char *text;
    } cases[] = {
        {"", WEIR_ACCESS_LOG_NOT_OURS, "no weir=1 in it"},
        {"<190>nginx: GET / 200", WEIR_ACCESS_LOG_NOT_OURS, "no weir=1 in it"},
        {"<190>nginx: path=/xweir=1 eol=1", WEIR_ACCESS_LOG_NOT_OURS, "no weir=1 in it"},
        {GOOD, WEIR_ACCESS_LOG_TRUNCATED, "does not end with eol=1"},
        {GOOD "agent=\"Mozilla eol=1", WEIR_ACCESS_LOG_TRUNCATED, "does not end with eol=1"},
        {GOOD "eol=1 agent=x", WEIR_ACCESS_LOG_TRUNCATED, "does not end with eol=1"},
        {"weir=1 " IDS "took=0.1 end=1790000000 status=200 eol=1", WEIR_ACCESS_LOG_MALFORMED, "service is missing"},
        {GOOD "status=abc eol=1", WEIR_ACCESS_LOG_MALFORMED, "status is no HTTP status"},
        {GOOD "status=1000 eol=1", WEIR_ACCESS_LOG_MALFORMED, "status is no HTTP status"},
        {GOOD "took=-1 eol=1", WEIR_ACCESS_LOG_MALFORMED, "took is no time"},
        {GOOD "took=x eol=1", WEIR_ACCESS_LOG_MALFORMED, "took is no time"},
        {GOOD "end=1e99 eol=1", WEIR_ACCESS_LOG_MALFORMED, "end is no time since 1970"},
        {GOOD "end=0 eol=1", WEIR_ACCESS_LOG_MALFORMED, "end is no time since 1970"},
        {GOOD "trace=0102 eol=1", WEIR_ACCESS_LOG_BAD_ID, "trace is not 32 or 16 hex digits"},
        {GOOD "trace=00000000000000000000000000000000 eol=1", WEIR_ACCESS_LOG_BAD_ID,
         "trace is not 32 or 16 hex digits"},
        {GOOD "span=zzzzzzzzzzzzzzzz eol=1", WEIR_ACCESS_LOG_BAD_ID, "span is not 16 hex digits"},
        {GOOD "parent=1 eol=1", WEIR_ACCESS_LOG_BAD_ID, "parent is not 16 hex digits"},
        {GOOD "rate=0 eol=1", WEIR_ACCESS_LOG_BAD_RATE, "rate is not above 0 and up to 1"},
        {GOOD "rate=10% eol=1", WEIR_ACCESS_LOG_BAD_RATE, "rate is not above 0 and up to 1"},
        {"weir=1 service=s took=1 status=200 eol=1", WEIR_ACCESS_LOG_MALFORMED, "neither ids nor count=1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(decode(cases[i].line, strlen(cases[i].line)), WEIR_INVALID);
        if (strcmp(err.text, cases[i].text) != 0 || why != cases[i].why)
            fail_msg("%s: %d, %s", cases[i].line, (int)why, err.text);
    }
    assert_int_equal(batch->span_count, 0);
    assert_int_equal(batch->size, 0);
    assert_int_equal(points, 0);
}

/* Wherever a line is cut, it is refused or, at its very end, whole. */
static void cut_lines(void **state) {
    (void)state;
    static const char line[] = GOOD "agent=\"a \\x22 b\" path=\"/eol=1 x\" eol=1";
    for (size_t size = 0; size + 1 < sizeof line; size++)
        assert_int_equal(decode(line, size), WEIR_INVALID);
    assert_int_equal(decode(line, sizeof line - 1), WEIR_OK);
    assert_int_equal(batch->span_count, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_line), TEST(lines_in_other_words), TEST(a_line_that_only_counts), TEST(refused_lines),
        TEST(cut_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
