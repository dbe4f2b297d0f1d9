#include "tests/unit/receive/grpc_rig.h"

#include <zlib.h>
#include <zstd.h>

static uint8_t message[256 * 1024], framed[300 * 1024];

/* The label of requests_total. */
#define OF_TRACES "method=\"opentelemetry.proto.collector.trace.v1.TraceService/Export\","

/* One call on a connection of its own. */
static struct answer call(const struct request *request) {
    struct client client;
    client_open(&client);
    struct answer *answer = client_submit(&client, request);
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    client_close(&client);
    return *answer;
}

static void reload_job(void) {
    weir_receive_grpc.reload(rig.receiver, &rig.config);
}

static struct answer export_framed(size_t size, const char *encoding) {
    struct body body = {.bytes = framed, .size = size};
    return call(&(struct request){.encoding = encoding, .body = &body});
}

static size_t gzip(const uint8_t *bytes, size_t size, uint8_t *out, size_t room) {
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)bytes, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

#define IS_OK(answer)                                                                                                  \
    assert_string_equal((answer).status, "200");                                                                       \
    assert_string_equal((answer).content_type, "application/grpc");                                                    \
    assert_string_equal((answer).grpc_status, "0")

static void spans_are_taken(void **state) {
    (void)state;
    struct answer answer = export_framed(frame(framed, message, export_of(message, 7, 0), 0), NULL);
    IS_OK(answer);
    assert_int_equal(rig.spans, 7);
    assert_int_equal(answer.body_size, 5); /* an empty message */
    assert_int_equal(answer.error, NGHTTP2_NO_ERROR);
    assert_true(rig_metric("weir_grpc_requests_total{" OF_TRACES "code=\"OK\"}") == 1);
    /* No span at all is a sound request too. */
    answer = export_framed(frame(framed, message, 0, 0), NULL);
    IS_OK(answer);
    assert_int_equal(rig.spans, 7);
}

#define UPSTREAM "weir_spans_counted_upstream_total{receiver=\"grpc\"}"

static void marked_spans_are_not_counted_again(void **state) {
    (void)state;
    static const struct {
        const char *value;
        bool count_marked;
        unsigned uncounted;
    } cases[] = {{"1", false, 3}, {NULL, false, 0}, {"0", false, 0}, {"", false, 0}, {"10", false, 0}, {"1", true, 0}};
    unsigned uncounted = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct body body = {.bytes = framed, .size = frame(framed, message, export_of(message, 4, 1), 0)};
        rig.config.grpc.count_marked = cases[i].count_marked;
        rig_on_lane(reload_job);
        struct answer answer = call(&(struct request){.counted = cases[i].value, .body = &body});
        IS_OK(answer);
        uncounted += cases[i].uncounted;
        if (rig.uncounted != uncounted) fail_msg("case %zu: %u in all", i, rig.uncounted);
        assert_true(rig_metric(UPSTREAM) == uncounted);
    }
    assert_int_equal(rig.spans, 3 * sizeof cases / sizeof cases[0]);
    /* One call of two on a connection; and what is refused comes again. */
    rig.config.grpc.count_marked = false;
    rig_on_lane(reload_job);
    struct client client;
    client_open(&client);
    size_t size = frame(framed, message, export_of(message, 2, 0), 0);
    struct body first = {.bytes = framed, .size = size}, second = first, third = first;
    client_submit(&client, &(struct request){.counted = "1", .body = &first});
    client_submit(&client, &(struct request){.body = &second});
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_int_equal(rig.uncounted, uncounted + 2);
    rig.mode = SINK_REFUSES;
    client_submit(&client, &(struct request){.counted = "1", .body = &third});
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_true(rig_metric(UPSTREAM) == uncounted + 2);
    client_close(&client);
}

static void bytes_one_by_one(void **state) {
    (void)state;
    struct body body = {.bytes = framed, .size = frame(framed, message, export_of(message, 2, 0), 0), .step = 1};
    struct answer answer = call(&(struct request){.content_type = "application/grpc+proto", .body = &body});
    IS_OK(answer);
    assert_int_equal(rig.spans, 2);
}

static void gzip_is_inflated(void **state) {
    (void)state;
    static uint8_t packed[64 * 1024];
    size_t size = gzip(message, export_of(message, 100, 0), packed, sizeof packed);
    struct answer answer = export_framed(frame(framed, packed, size, 1), "gzip");
    IS_OK(answer);
    assert_int_equal(rig.spans, 100);
    answer =
        export_framed(frame(framed, message, export_of(message, 3, 0), 0), "gzip"); /* not every message is packed */
    IS_OK(answer);
    assert_int_equal(rig.spans, 103);
    for (size_t cut = 1; cut < size; cut += 7) {
        answer = export_framed(frame(framed, packed, cut, 1), "gzip");
        assert_string_equal(answer.grpc_status, "3");
    }
    size_t half = export_of(message, 2, 0), first = gzip(message, half, packed, sizeof packed);
    size_t second = gzip(message, half, packed + first, sizeof packed - first); /* members one behind the other */
    answer = export_framed(frame(framed, packed, first + second, 1), "gzip");
    IS_OK(answer);
    assert_int_equal(rig.spans, 107);
    answer = export_framed(frame(framed, packed, first + second - 3, 1), "gzip");
    assert_string_equal(answer.grpc_status, "3");
    size = gzip(message, export_of(message, 100, 0), packed, sizeof packed);
    packed[size] = 0; /* a byte behind its end */
    answer = export_framed(frame(framed, packed, size + 1, 1), "gzip");
    assert_string_equal(answer.grpc_status, "3");
    assert_int_equal(rig.spans, 107);
}

static void zstd_is_inflated(void **state) {
    (void)state;
    static uint8_t packed[64 * 1024], zeros[(1 << 20) + 1];
    size_t size = ZSTD_compress(packed, sizeof packed, message, export_of(message, 100, 0), 1);
    struct answer answer = export_framed(frame(framed, packed, size, 1), "zstd");
    IS_OK(answer);
    assert_int_equal(rig.spans, 100);
    assert_string_equal(answer.accept_encoding, "");
    answer = export_framed(frame(framed, message, export_of(message, 3, 0), 0), "zstd");
    IS_OK(answer);
    assert_int_equal(rig.spans, 103);
    for (size_t cut = 1; cut < size; cut += 7) {
        answer = export_framed(frame(framed, packed, cut, 1), "zstd");
        assert_string_equal(answer.grpc_status, "3");
        assert_non_null(strstr(answer.grpc_message, "zstd: byte "));
    }
    answer = export_framed(frame(framed, packed, size, 1), "gzip"); /* under another's name */
    assert_string_equal(answer.grpc_status, "3");
    answer = export_framed(frame(framed, packed, size, 1), "ZSTD"); /* names have one spelling (PROTOCOL-HTTP2.md) */
    assert_string_equal(answer.grpc_status, "12");
    assert_string_equal(answer.accept_encoding, "identity,gzip,zstd");
    size = ZSTD_compress(packed, sizeof packed, zeros, sizeof zeros, 1);
    answer = export_framed(frame(framed, packed, size, 1), "zstd");
    assert_string_equal(answer.grpc_status, "8");
    assert_non_null(strstr(answer.grpc_message, "when inflated"));
    size = ZSTD_compress(packed, sizeof packed, zeros, sizeof zeros - 1, 1);
    answer = export_framed(frame(framed, packed, size, 1), "zstd"); /* just as large as it may be: only broken */
    assert_string_equal(answer.grpc_status, "3");
    assert_int_equal(rig.spans, 103);
}

static void refused_calls(void **state) {
    (void)state;
    uint8_t good[5 + 1024];
    size_t good_size = frame(good, message, export_of(message, 1, 0), 0), two = good_size;
    memcpy(framed, good, good_size);
    memcpy(framed + good_size, good, good_size);
    const uint8_t flag_2[] = {2, 0, 0, 0, 0}, huge[] = {0, 0xff, 0xff, 0xff, 0xff}, packed[] = {1, 0, 0, 0, 0};
    struct body bodies[] = {
        {.bytes = framed, .size = 2 * two},     {.bytes = good, .size = 0},         {.bytes = good, .size = 3},
        {.bytes = good, .size = good_size - 1}, {.bytes = flag_2, .size = 5},       {.bytes = huge, .size = 5},
        {.bytes = packed, .size = 5},           {.bytes = good, .size = good_size}, {.bytes = good, .size = good_size},
        {.bytes = good, .size = good_size},     {.bytes = good, .size = good_size}, {.bytes = good, .size = good_size},
        {.bytes = good, .size = good_size},
    };
    const struct {
        struct request request;
        const char *status, *grpc_status, *text;
    } cases[] = {
        {{.body = &bodies[0]}, "200", "13", "more than one message in a unary call"},
        {{.body = &bodies[1]}, "200", "13", "no message in the call"},
        {{.body = &bodies[2]}, "200", "13", "the call ended within its message"},
        {{.body = &bodies[3]}, "200", "13", "the call ended within its message"},
        {{.body = &bodies[4]}, "200", "13", "the message's flag is neither 0 nor 1"},
        {{.body = &bodies[5]}, "200", "8", "the message has more than max_message_bytes (1048576)"},
        {{.body = &bodies[6]}, "200", "13", "the message is flagged as compressed, and grpc-encoding does not say how"},
        {{.body = &bodies[7], .encoding = "br"}, "200", "12", "grpc-encoding is none of identity, gzip, zstd"},
        {{.body = &bodies[8], .path = "/no.Service/Call"}, "200", "12", "unknown method /no.Service/Call"},
        {{.body = &bodies[9], .path = "/p%\xc3\xa9"}, "200", "12", "unknown method /p%25%C3%A9"},
        {{.body = &bodies[10], .content_type = "text/plain"}, "415", "", ""},
        {{.body = &bodies[11], .content_type = "application/grpc-web"}, "415", "", ""},
        {{.body = &bodies[12], .method = "PUT"}, "405", "", ""},
        {{.body = NULL, .method = "GET"}, "405", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer answer = call(&cases[i].request);
        assert_string_equal(answer.status, cases[i].status);
        assert_string_equal(answer.grpc_status, cases[i].grpc_status);
        assert_string_equal(answer.grpc_message, cases[i].text);
        assert_string_equal(answer.accept_encoding, cases[i].request.encoding != NULL ? "identity,gzip,zstd" : "");
        assert_string_equal(answer.details, ""); /* nothing of this gets better by trying again */
    }
    assert_int_equal(rig.spans, 0);
    assert_true(rig_metric("weir_grpc_requests_total{method=\"other\",code=\"UNIMPLEMENTED\"}") == 2);
    assert_true(rig_metric("weir_grpc_requests_total{" OF_TRACES "code=\"UNIMPLEMENTED\"}") == 1); /* encoding br */
    assert_true(rig_metric("weir_grpc_requests_total{" OF_TRACES "code=\"RESOURCE_EXHAUSTED\"}") == 1);
}

static void too_large_when_inflated(void **state) {
    (void)state;
    static uint8_t zeros[1 << 20], packed[8 * 1024];
    size_t size = gzip(zeros, sizeof zeros, packed, sizeof packed);
    struct answer answer =
        export_framed(frame(framed, packed, size, 1), "gzip"); /* just as large as it may be: only broken */
    assert_string_equal(answer.grpc_status, "3");
    uint8_t *more = calloc(1, (1 << 20) + 1);
    size = gzip(more, (1 << 20) + 1, packed, sizeof packed);
    free(more);
    answer = export_framed(frame(framed, packed, size, 1), "gzip");
    assert_string_equal(answer.grpc_status, "8");
    assert_non_null(strstr(answer.grpc_message, "when inflated"));
}

static void broken_messages(void **state) {
    (void)state;
    size_t size = export_of(message, 3, 0);
    struct answer answer = export_framed(frame(framed, message, size - 2, 0), NULL);
    assert_string_equal(answer.grpc_status, "3");
    assert_non_null(strstr(answer.grpc_message, "byte "));
    answer = export_framed(frame(framed, message, export_of(message, 5, 2), 0), NULL);
    IS_OK(answer);
    assert_int_equal(rig.spans, 3);
    assert_int_equal(rig.skipped, 2);
    /* ExportTraceServiceResponse{1: ExportTracePartialSuccess{1: 2, 2: reason}} */
    struct weir_wire wire = weir_wire_of(answer.body + 5, answer.body_size - 5);
    struct weir_wire_field field = {0};
    assert_true(weir_wire_next(&wire, &field) && field.number == 1);
    wire = weir_wire_of(field.bytes, field.value);
    assert_true(weir_wire_next(&wire, &field) && field.number == 1 && field.value == 2);
    assert_true(weir_wire_next(&wire, &field) && field.number == 2);
    static const char reason[] = "resource_spans[0].scope_spans[0].spans[0]: trace_id has 0 bytes, not 16";
    assert_true(field.value == sizeof reason - 1 && memcmp(field.bytes, reason, field.value) == 0);
}

/* base64 of google.rpc.Status: its RetryInfo says one second. */
static void asks_for_a_retry(const struct answer *answer) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[400];
    size_t size = 0;
    uint32_t bits = 0, have = 0;
    for (const char *at = answer->details; *at != 0; at++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *at) - digits);
        if ((have += 6) >= 8) bytes[size++] = (uint8_t)(bits >> (have -= 8));
    }
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field = {0};
    assert_true(weir_wire_next(&wire, &field) && field.number == 1 &&
                field.value == (uint64_t)atoi(answer->grpc_status));
    assert_true(weir_wire_next(&wire, &field) && field.number == 2);
    assert_true(weir_wire_next(&wire, &field) && field.number == 3);
    wire = weir_wire_of(field.bytes, field.value);
    assert_true(weir_wire_next(&wire, &field) &&
                memcmp(field.bytes, "type.googleapis.com/google.rpc.RetryInfo", 40) == 0);
    assert_true(weir_wire_next(&wire, &field) && field.number == 2);
    wire = weir_wire_of(field.bytes, field.value); /* RetryInfo */
    assert_true(weir_wire_next(&wire, &field) && field.number == 1);
    wire = weir_wire_of(field.bytes, field.value); /* Duration */
    assert_true(weir_wire_next(&wire, &field) && field.number == 1 && field.value == 1);
}

static void no_room(void **state) {
    (void)state;
    rig.mode = SINK_REFUSES;
    size_t size = frame(framed, message, export_of(message, 7, 1), 0);
    struct answer answer = export_framed(size, NULL);
    assert_string_equal(answer.grpc_status, "8");
    asks_for_a_retry(&answer);
    assert_int_equal(rig.skipped, 0); /* a request that comes again is not counted now */
    rig.mode = SINK_TAKES;
    rig.intake.limit_bytes = 100;
    answer = export_framed(size, NULL);
    assert_string_equal(answer.grpc_status, "8");
    asks_for_a_retry(&answer);
    rig.intake.limit_bytes = 64 << 20;
    answer = export_framed(size, NULL);
    IS_OK(answer);
    assert_int_equal(rig.spans, 6);
}

static bool is_held(struct client *client) {
    (void)client;
    return rig.held != NULL;
}

static void answered_when_owned(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = frame(framed, message, export_of(message, 4, 0), 0)};
    rig.mode = SINK_HOLDS;
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
    assert_false(client_pump(&client, all_closed, 60)); /* not before */
    rig_settle();
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    IS_OK(*answer);
    client_close(&client);
}

static void callers_who_leave(void **state) {
    (void)state;
    struct client client;
    size_t size = frame(framed, message, export_of(message, 4, 0), 0);
    rig.mode = SINK_HOLDS;
    for (int hang_up = 0; hang_up < 2; hang_up++) {
        struct body body = {.bytes = framed, .size = size};
        client_open(&client);
        struct answer *answer = client_submit(&client, &(struct request){.body = &body});
        assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
        if (hang_up == 0) {
            nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, answer->stream, NGHTTP2_CANCEL);
            client_pump(&client, all_closed, RIG_PATIENCE_MS);
        }
        client_close(&client);
        for (int i = 0; i < 6000 && rig_metric("weir_grpc_connections") > 0; i++)
            usleep(10000);
        assert_true(rig_metric("weir_grpc_connections") == 0);
        assert_true(rig_metric("weir_grpc_requests_open") == 1); /* it waits for its receipt */
        rig_settle();
        for (int i = 0; i < 6000 && rig_metric("weir_grpc_requests_open") > 0; i++)
            usleep(10000);
        assert_true(rig_metric("weir_grpc_requests_open") == 0);
    }
    assert_true(rig_metric("weir_grpc_requests_total{" OF_TRACES "code=\"CANCELLED\"}") == 2);
}

/* What a bounded drain does at its end: the receiver closes, and what it gave on is settled later. */
static void closed_before_it_is_owned(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = frame(framed, message, export_of(message, 4, 0), 0)};
    rig.mode = SINK_HOLDS;
    client_open(&client);
    client_submit(&client, &(struct request){.body = &body});
    assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
    rig_on_lane(rig_stop_job);
    rig_on_lane(rig_close_job);
    assert_true(client_pump(&client, is_at_its_end, RIG_PATIENCE_MS));
    assert_false(all_closed(&client)); /* and gets no answer */
    rig_settle();
    client_close(&client);
}

static void deadlines(void **state) {
    (void)state;
    rig.mode = SINK_HOLDS;
    struct client client;
    struct body body = {.bytes = framed, .size = frame(framed, message, export_of(message, 1, 0), 0)};
    client_open(&client);
    struct answer answer, *late = client_submit(&client, &(struct request){.body = &body, .timeout = "3600S"});
    assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
    rig.ahead_ns += 3601 * WEIR_S;
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(late->grpc_status, "4");
    assert_string_equal(late->grpc_message, "the caller's grpc-timeout has passed");
    client_close(&client);
    rig_settle();
    rig.mode = SINK_TAKES;
    rig.ahead_ns +=
        7200 * WEIR_S; /* 5124095H end 34 minutes before 2^64 ns: a machine that runs for two hours is past it */
    const char *const odd[] = {"", "m", "123456789S", "5x", "-1S", "99999999H", "5124095H", "5124096H"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        body.at = 0;
        answer = call(&(struct request){.body = &body, .timeout = odd[i]});
        IS_OK(answer);
    }
}

static void metrics_are_taken(void **state) {
    (void)state;
    /* Metric{1 name, 7 sum{1 data point{3 time, 4 as_double}, 2 delta, 3 monotonic}} */
    uint8_t point[32], sum[64], metric[128], scope[160], resource[200];
    uint8_t *at = weir_wire_put_fixed64(point, 3, 1000);
    size_t n = (size_t)(weir_wire_put_fixed64(at, 4, 0x3ff0000000000000) - point);
    at = weir_wire_put_bytes(sum, 1, point, n);
    n = (size_t)(weir_wire_put_uint(weir_wire_put_uint(at, 2, 1), 3, 1) - sum);
    at = weir_wire_put_bytes(metric, 1, "moves", 5);
    n = (size_t)(weir_wire_put_bytes(at, 7, sum, n) - metric);
    n = (size_t)(weir_wire_put_bytes(scope, 2, metric, n) - scope);
    n = (size_t)(weir_wire_put_bytes(resource, 2, scope, n) - resource);
    n = (size_t)(weir_wire_put_bytes(message, 1, resource, n) - message);
    struct body body = {.bytes = framed, .size = frame(framed, message, n, 0)};
    struct answer answer = call(&(struct request){.path = METRICS, .body = &body});
    IS_OK(answer);
    assert_int_equal(rig.points, 1);
    body = (struct body){.bytes = framed, .size = frame(framed, message, n - 1, 0)};
    answer = call(&(struct request){.path = METRICS, .body = &body});
    assert_string_equal(answer.grpc_status, "3");
    assert_int_equal(rig.points, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(spans_are_taken),
        TEST(marked_spans_are_not_counted_again),
        TEST(bytes_one_by_one),
        TEST(gzip_is_inflated),
        TEST(zstd_is_inflated),
        TEST(refused_calls),
        TEST(too_large_when_inflated),
        TEST(broken_messages),
        TEST(no_room),
        TEST(answered_when_owned),
        TEST(callers_who_leave),
        TEST(deadlines),
        TEST(closed_before_it_is_owned),
        TEST(metrics_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
