#define _GNU_SOURCE /* strcasestr */
#include "collector/core/wire.h"
#include "collector/receive/http.h"
#include "collector/receive/otlp_answer.h"
#include "collector/receive/receiver.h"
#include "google/rpc/status.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "tests/unit/receive/http_rig.h"

#include <jansson.h>

#define SPAN                                                                                                           \
    "{\"traceId\":\"0123456789abcdef0123456789abcdef\",\"spanId\":\"0123456789abcdef\",\"name\":\"GET\",\"kind\":2}"
#define SPANS(inside) "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" inside "]}]}]}"
#define JSON          "Content-Type: application/json\r\n"
#define PROTOBUF      "Content-Type: application/x-protobuf\r\n"

enum sink_mode { SINK_TAKES, SINK_HOLDS, SINK_REFUSES };
static _Atomic int mode;
static _Atomic uint32_t spans, uncounted, skipped, points, malformed;
static _Atomic(struct weir_batch *) held;
static struct weir_budget intake;
static struct weir_names *names;
static struct weir_config config;
static void *receiver;

static enum weir_status take_spans(void *self, enum weir_receiver_id id, struct weir_batch **batch) {
    (void)self;
    assert_int_equal(id, WEIR_RECEIVER_OTLP_HTTP);
    assert_int_equal((*batch)->spans[0].receiver, WEIR_RECEIVER_OTLP_HTTP);
    if (mode == SINK_REFUSES) return WEIR_FULL;
    spans += (*batch)->span_count;
    for (uint32_t i = 0; i < (*batch)->span_count; i++)
        uncounted += ((*batch)->spans[i].flags & WEIR_SPAN_UNCOUNTED) != 0;
    if (mode == SINK_HOLDS) {
        held = *batch;
    } else {
        weir_receipt_settle((*batch)->receipt, WEIR_OWNED);
        weir_batch_unref(*batch);
    }
    *batch = NULL;
    return WEIR_OK;
}
static void count_skipped(void *self, enum weir_receiver_id id, enum weir_refusal reason, uint64_t count) {
    (void)self, (void)id;
    assert_int_equal(reason, WEIR_REFUSED_INVALID);
    skipped += (uint32_t)count;
}
static bool take_point(void *self, enum weir_receiver_id id, const struct weir_point *point) {
    (void)self, (void)point;
    assert_int_equal(id, WEIR_RECEIVER_OTLP_HTTP);
    points++;
    return true;
}
static void count_points(void *self, enum weir_receiver_id id, enum weir_point_refusal reason, uint64_t count) {
    (void)self, (void)id, (void)reason;
    malformed += (uint32_t)count;
}

static void start_job(void) {
    assert_int_equal(weir_receive_otlp_http.start(receiver, NULL), WEIR_OK);
}
static void stop_job(void) {
    weir_receive_otlp_http.stop(receiver);
}
static void reload_job(void) {
    weir_receive_otlp_http.reload(receiver, &config);
}
static void close_job(void) {
    weir_receive_otlp_http.close(receiver);
}

static int set_up(void **state) {
    (void)state;
    mode = SINK_TAKES;
    spans = uncounted = skipped = points = malformed = 0;
    held = NULL;
    intake.limit_bytes = 4 << 20;
    config = (struct weir_config){.otlp_http = {.listen = {.host = "127.0.0.1"},
                                                .max_body_bytes = 1 << 20,
                                                .max_connections = 16,
                                                .idle_timeout_ns = 600 * WEIR_S},
                                  .aggregate.label_value_bytes_max = 64};
    lane_open();
    names = weir_names_new(1024, 1 << 20);
    const struct weir_receiver_env env = {.lanes = 1,
                                          .loop = lane.loop,
                                          .sink = {.budget = &intake,
                                                   .spans = take_spans,
                                                   .spans_refused = count_skipped,
                                                   .point = take_point,
                                                   .points_rejected = count_points},
                                          .names = names,
                                          .metrics = lane.metrics,
                                          .clock = &weir_clock_system};
    struct weir_error err = {.status = WEIR_IO};
    receiver = NULL;
    for (int turn = 0; turn < 10 && receiver == NULL; turn++) { /* somebody else may take the port */
        lane.port = config.otlp_http.listen.port = free_port("127.0.0.1", SOCK_STREAM);
        weir_receive_otlp_http.open(&receiver, &env, &config, &err);
    }
    if (receiver == NULL) fail_msg("%s", err.text);
    lane_start();
    on_lane(start_job);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    on_lane(close_job);
    lane_join();
    weir_names_free(names);
    lane_free();
    assert_int_equal(intake.used_bytes, 0);
    return 0;
}

static struct reply *post_text(const char *path, const char *type, const char *text) {
    return post_once(path, type, text, strlen(text));
}

static void says(const struct reply *reply, unsigned status, const char *text) {
    assert_int_equal(reply->status, status);
    assert_int_equal(reply->body_size, strlen(text));
    assert_memory_equal(reply->body, text, strlen(text));
}

/* A request of two spans, the second with a trace id of four bytes. */
static size_t two_spans(uint8_t out[256]) {
    static const uint8_t id[16] = {1, 2, 3};
    uint8_t span[128], scope[256], resource[256], *at = scope;
    for (int i = 0; i < 2; i++) {
        size_t size = i == 0 ? 16 : 4;
        uint8_t *end = weir_wire_put_bytes(span, 1, id, size);
        end = weir_wire_put_bytes(end, 2, id, 8);
        at = weir_wire_put_bytes(at, 2, span, (size_t)(end - span));
    }
    uint8_t *end = weir_wire_put_bytes(resource, 2, scope, (size_t)(at - scope));
    return (size_t)(weir_wire_put_bytes(out, 1, resource, (size_t)(end - resource)) - out);
}

static void json_and_protobuf_are_taken(void **state) {
    (void)state;
    struct reply *reply = post_text("/v1/traces", JSON, SPANS(SPAN "," SPAN));
    says(reply, 200, "{}");
    assert_true(has_header(reply, "Content-Type: application/json"));
    assert_int_equal(spans, 2);
    says(post_text("/v1/traces", JSON, "{}"), 200, "{}");
    reply = post_text("/v1/traces", PROTOBUF, "");
    says(reply, 200, "");
    assert_true(has_header(reply, "Content-Type: application/x-protobuf"));
    says(post_text("/v1/metrics", JSON,
                   "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"carts\",\"gauge\":{"
                   "\"dataPoints\":[{\"asInt\":\"3\"},{\"asDouble\":0.5}]}}]}]}]}"),
         200, "{}");
    assert_int_equal(points, 2);
    assert_int_equal(spans, 2);
}

static void marked_spans_are_not_counted_again(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        bool count_marked;
        unsigned uncounted;
    } cases[] = {{JSON "Weir-Counted: 1\r\n", false, 2},
                 {JSON "weir-counted:1\r\n", false, 2},
                 {JSON, false, 0},
                 {JSON "weir-counted: 0\r\n", false, 0},
                 {JSON "weir-counted:\r\n", false, 0},
                 {JSON "weir-counted: 1\r\n", true, 0}};
    unsigned sum = 0;
    int fd = dial(); /* of a connection each request speaks for itself */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char body[] = SPANS(SPAN "," SPAN);
        config.otlp_http.count_marked = cases[i].count_marked;
        on_lane(reload_job);
        assert_true(post(fd, "/v1/traces", cases[i].headers, body, sizeof body - 1));
        says(listen_to(fd), 200, "{}");
        sum += cases[i].uncounted;
        if (uncounted != sum) fail_msg("case %zu: %u in all", i, uncounted);
        assert_true(metric("weir_spans_counted_upstream_total{receiver=\"otlp_http\"}") == sum);
    }
    mode = SINK_REFUSES;
    assert_int_equal(post_text("/v1/traces", JSON "weir-counted: 1\r\n", SPANS(SPAN))->status, 429);
    assert_true(metric("weir_spans_counted_upstream_total{receiver=\"otlp_http\"}") == sum);
    close(fd);
}

static void bad_spans_are_a_partial_success(void **state) {
    (void)state;
    uint8_t request[256];
    static const char reason[] = "resource_spans[0].scope_spans[0].spans[1]: trace_id has 4 bytes, not 16";
    struct reply *reply = post_once("/v1/traces", PROTOBUF, request, two_spans(request));
    assert_int_equal(reply->status, 200);
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *answer =
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__unpack(NULL, reply->body_size,
                                                                                          reply->body);
    assert_non_null(answer);
    assert_int_equal(answer->partial_success->rejected_spans, 1);
    assert_string_equal(answer->partial_success->error_message, reason);
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__free_unpacked(answer, NULL);
    says(post_text("/v1/traces", JSON, SPANS(SPAN ",{\"traceId\":\"00000001\"}")), 200,
         "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"resource_spans[0].scope_spans[0].spans[1]: "
         "trace_id has 4 bytes, not 16\"}}");
    assert_int_equal(spans, 2);
    assert_int_equal(skipped, 2);
}

static void broken_requests(void **state) {
    (void)state;
    struct reply *reply = post_text("/v1/traces", JSON, SPANS(SPAN) "]");
    assert_int_equal(reply->status, 400);
    assert_non_null(strstr((char *)reply->body, "\"code\":3,\"message\":\"byte "));
    reply = post_text("/v1/metrics", PROTOBUF, "\x0a\x7f");
    assert_int_equal(reply->status, 400);
    Google__Rpc__Status *status = google__rpc__status__unpack(NULL, reply->body_size, reply->body);
    assert_non_null(status);
    assert_int_equal(status->code, 3);
    assert_non_null(strstr(status->message, "at byte 0"));
    google__rpc__status__free_unpacked(status, NULL);
    assert_int_equal(post_text("/v1/traces", "", "{}")->status, 415);
    assert_int_equal(post_text("/v1/traces", "Content-Type: application/jsonx\r\n", "{}")->status, 415);
    says(post_text("/v1/logs", JSON, "{}"), 404, "{\"code\":5,\"message\":\"no such path\"}");
    assert_int_equal(spans, 0);
    assert_int_equal(points, 0);
}

static void full_and_stopping(void **state) {
    (void)state;
    mode = SINK_REFUSES;
    struct reply *reply = post_text("/v1/traces", JSON, SPANS(SPAN ",{\"traceId\":\"00\"}"));
    says(reply, 429, "{\"code\":8,\"message\":\"no room between the lanes\"}");
    assert_true(has_header(reply, "Retry-After: 1"));
    assert_int_equal(skipped, 0); /* it comes again */
    intake.limit_bytes = 600;
    reply = post_text("/v1/traces", JSON, SPANS(SPAN "," SPAN "," SPAN));
    says(reply, 429, "{\"code\":8,\"message\":\"memory.intake is used up\"}");
    assert_true(has_header(reply, "Retry-After: 1"));
    intake.limit_bytes = 4 << 20;
    int fd = dial();
    assert_true(post(fd, "/v1/traces", JSON, "{}", 2));
    assert_int_equal(listen_to(fd)->status, 200);
    on_lane(stop_job);
    assert_true(post(fd, "/v1/traces", JSON, SPANS(SPAN), strlen(SPANS(SPAN))));
    reply = listen_to(fd);
    says(reply, 503, "{\"code\":14,\"message\":\"Weir is stopping\"}");
    assert_true(has_header(reply, "Retry-After: 1"));
    assert_true(has_header(reply, "Connection: close"));
    close(fd);
}

static void answers_wait_for_owners(void **state) {
    (void)state;
    mode = SINK_HOLDS;
    int fd = dial();
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    assert_true(post(fd, "/v1/traces", JSON, SPANS(SPAN), strlen(SPANS(SPAN))));
    assert_int_equal(poll(&poller, 1, 100), 0);
    for (int i = 0; i < PATIENCE_MS && held == NULL; i++)
        usleep(1000);
    struct weir_batch *batch = held;
    assert_non_null(batch);
    weir_receipt_settle(batch->receipt, WEIR_OWNED);
    weir_batch_unref(batch);
    says(listen_to(fd), 200, "{}");
    close(fd);
}

static void texts_are_escaped_and_cut(void **state) {
    (void)state;
    uint8_t out[WEIR_OTLP_ANSWER_BYTES];
    char text[400];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 3 == 0 ? '"' : i % 3 == 1 ? '\\' : '\x01';
    text[sizeof text - 1] = 0;
    size_t size = weir_otlp_answer_status_json(3, text, out);
    json_t *json = json_loadb((char *)out, size, 0, NULL);
    assert_non_null(json);
    const char *message = json_string_value(json_object_get(json, "message"));
    assert_int_equal(strlen(message), WEIR_OTLP_ANSWER_TEXT);
    assert_memory_equal(message, text, WEIR_OTLP_ANSWER_TEXT);
    json_decref(json);
    memset(text, 1, sizeof text - 1);
    size = weir_otlp_answer_partial_json(WEIR_OTLP_METRICS, UINT64_MAX, text, out);
    assert_true(size <= sizeof out);
    json = json_loadb((char *)out, size, 0, NULL);
    json_t *partial = json_object_get(json, "partialSuccess");
    assert_string_equal(json_string_value(json_object_get(partial, "rejectedDataPoints")), "18446744073709551615");
    json_decref(json);
    assert_true(weir_otlp_answer_partial(UINT64_MAX, text, out) <= sizeof out);
    assert_int_equal(weir_otlp_answer_partial(0, text, out), 0);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(json_and_protobuf_are_taken),
        TEST(marked_spans_are_not_counted_again),
        TEST(bad_spans_are_a_partial_success),
        TEST(broken_requests),
        TEST(full_and_stopping),
        TEST(answers_wait_for_owners),
        cmocka_unit_test(texts_are_escaped_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
