/* test_sampling.c - what Jaeger's clients are answered, over HTTP and over gRPC, and who follows then. */
#define _GNU_SOURCE /* strcasestr */
#include "collector/sample/steering.h"
#include "tests/unit/receive/grpc_rig.h"

#include <jaeger/api_v2/sampling.pb-c.h>

#define FETCHES(way, code) rig_metric("weir_policy_fetches_total{way=\"" way "\",code=\"" code "\"}")

/* The receiver `sampling`, beside the one for gRPC on the rig's lane. */
static void *receiver;
static uint16_t http_port;

static void start_http(void) {
    assert_int_equal(weir_receive_sampling.start(receiver, NULL), WEIR_OK);
}
static void close_http(void) {
    weir_receive_sampling.stop(receiver);
    weir_receive_sampling.close(receiver);
    receiver = NULL;
}

static int set_up(void **state) {
    struct weir_error err = {0};
    if (rig_open(state) != 0) return 1;
    http_port = free_port("127.0.0.1", SOCK_STREAM);
    struct weir_http_config *http = &rig.config.sampling_http;
    snprintf(http->listen.host, sizeof http->listen.host, "127.0.0.1");
    http->listen.port = http_port;
    http->max_connections = 8;
    http->idle_timeout_ns = 600 * WEIR_S;
    const struct weir_receiver_env env = {.lanes = 1,
                                          .loop = rig.loop,
                                          .sink.budget = &rig.intake,
                                          .names = rig.names,
                                          .metrics = rig.metrics,
                                          .clock = &rig_clock,
                                          .steering = rig.steering};
    if (weir_receive_sampling.open(&receiver, &env, &rig.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    rig_on_lane(start_http);
    return 0;
}

static int tear_down(void **state) {
    rig_on_lane(close_http);
    return rig_close(state);
}

static uint32_t name_of(const char *text) {
    return weir_names_intern(rig.names, text, strlen(text));
}

/* In force from here on: 0.25 for all, `pay` 0.5 and one operation of it 1. */
static void publish(double pay) {
    struct weir_plan_rate operation = {.name = name_of("POST /pay"), .operation = name_of("POST /pay"), .rate = 1};
    const struct weir_plan_service fallback = {.rate.rate = 0.25, .max_traces_per_second = -1};
    const struct weir_plan_service service = {.rate = {.name = name_of("pay"), .rate = pay},
                                              .max_traces_per_second = -1,
                                              .operations = &operation,
                                              .operation_count = 1};
    const struct weir_plan *plan = weir_plan_new(rig.names, 7, &fallback, &service, 1);
    assert_non_null(plan);
    weir_steering_publish(rig.steering, plan, NULL, 0, true, NULL);
    weir_plan_unref(plan);
}

static bool followers_say(const char *text) {
    struct weir_buffer page = {0};
    weir_steering_write(rig.steering, &page);
    weir_buffer_byte(&page, 0);
    bool found = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return found;
}

/* ---- HTTP ---- */

struct reply {
    unsigned status;
    char head[1024], body[1024];
};

/* lines: further headers, each with its CRLF. On a connection of its own, which the answer ends. */
static struct reply *ask(const char *method, const char *target, const char *lines) {
    static struct reply reply;
    char text[2048];
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(http_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), n = 0;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int size = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n%s\r\n", method,
                        target, lines);
    assert_in_range(size, 1, sizeof text - 1);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    size = 0;
    while ((size_t)size < sizeof text - 1 && (n = (int)recv(fd, text + size, sizeof text - 1 - (size_t)size, 0)) > 0)
        size += n;
    text[size] = 0;
    close(fd);
    char *body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    snprintf(reply.head, sizeof reply.head, "%.*s", (int)(body + 2 - text), text);
    snprintf(reply.body, sizeof reply.body, "%s", body + 4);
    assert_int_equal(sscanf(text, "HTTP/1.1 %u ", &reply.status), 1);
    return &reply;
}

static bool has(const struct reply *reply, const char *line) {
    char whole[160];
    snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
    return strcasestr(reply->head, whole) != NULL;
}

static void etag_of(const struct reply *reply, char out[24]) {
    const char *at = strcasestr(reply->head, "\r\nETag: ");
    assert_non_null(at);
    snprintf(out, 24, "%.*s", (int)strcspn(at + 8, "\r"), at + 8);
    assert_int_equal(strlen(out), 18);
}

static const char by_default[] =
    "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.25}}";

static void a_service_is_answered_as_its_plan_says(void **state) {
    (void)state;
    publish(0.5);
    const struct reply *reply = ask("GET", "/sampling?service=pay", "");
    assert_int_equal(reply->status, 200);
    assert_true(has(reply, "Content-Type: application/json"));
    assert_string_equal(reply->body,
                        "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.5},"
                        "\"operationSampling\":{\"defaultSamplingProbability\":0.5,"
                        "\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":[{\"operation\":\"POST "
                        "/pay\",\"probabilisticSampling\":{\"samplingRate\":1}}],"
                        "\"defaultUpperBoundTracesPerSecond\":0}}");
    assert_true(followers_say("\"id\":\"127.0.0.1\",\"service\":\"pay\""));
    assert_string_equal(ask("GET", "/?service=nobody+knows%20it", "")->body, by_default);
    assert_true(followers_say("\"service\":\"nobody knows it\"")); /* it is known by then, for the spans that follow */
    assert_string_equal(ask("GET", "/?service=", "")->body, by_default);
    assert_true(FETCHES("http", "200") == 3);
}

static void a_tag_says_that_nothing_is_new(void **state) {
    (void)state;
    char tag[24], lines[128];
    publish(0.5);
    etag_of(ask("GET", "/?service=pay", ""), tag);
    static const char *const forms[][2] = {{"If-None-Match: ", ""},
                                           {"if-none-match: \"a\", W/", ""},
                                           {"If-None-Match: ", ",\"b\""},
                                           {"If-None-Match: *", NULL}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        bool any = forms[i][1] == NULL;
        snprintf(lines, sizeof lines, "%s%s%s\r\n", forms[i][0], any ? "" : tag, any ? "" : forms[i][1]);
        const struct reply *reply = ask("GET", "/?service=pay", lines);
        assert_int_equal(reply->status, 304);
        assert_string_equal(reply->body, "");
        snprintf(lines, sizeof lines, "ETag: %s", tag);
        assert_true(has(reply, lines));
    }
    assert_true(FETCHES("http", "304") == 4);
    snprintf(lines, sizeof lines, "If-None-Match: %s\r\n", tag);
    assert_int_equal(ask("GET", "/?service=other", lines)->status, 200); /* which has another */
    publish(0.125);
    char next[24];
    const struct reply *reply = ask("GET", "/?service=pay", lines);
    assert_int_equal(reply->status, 200);
    etag_of(reply, next);
    assert_string_not_equal(next, tag);
    assert_non_null(strstr(reply->body, "\"samplingRate\":0.125"));
    publish(0.5);
    assert_int_equal(ask("GET", "/?service=pay", lines)->status, 304); /* a tag is of what is told, not of when */
}

static void head_has_no_body(void **state) {
    (void)state;
    publish(0.5);
    const struct reply *reply = ask("HEAD", "/sampling?service=nobody", "");
    char length[64], tag[24];
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->body, "");
    snprintf(length, sizeof length, "Content-Length: %zu", sizeof by_default - 1);
    assert_true(has(reply, length));
    etag_of(reply, tag);
    assert_false(followers_say("nobody")); /* who sees no rate follows none */
}

static void what_is_asked_wrongly(void **state) {
    (void)state;
    char long_name[300];
    int size = snprintf(long_name, sizeof long_name, "/?service=");
    memset(long_name + size, 'x', 257);
    long_name[size + 257] = 0;
    publish(0.5);
    const char *const targets[] = {"/",         "/sampling",           "/?service=a&service=b", "/?Service=a",
                                   "/?service", "/?service=a&service", "/?service=%ff",         long_name};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const struct reply *reply = ask("GET", targets[i], "");
        if (reply->status != 400) fail_msg("%s: %u", targets[i], reply->status);
        assert_true(has(reply, "Content-Type: text/plain; charset=utf-8"));
        assert_non_null(strstr(reply->body, "service"));
    }
    assert_true(FETCHES("http", "400") == sizeof targets / sizeof targets[0]);
    long_name[size + 256] = 0;
    assert_int_equal(ask("GET", long_name, "")->status, 200);
    assert_int_equal(ask("GET", "/baggageRestrictions?service=a", "")->status, 404);
    assert_int_equal(ask("POST", "/?service=a", "")->status, 405);
    assert_true(FETCHES("http", "404") == 0);
}

static void nothing_is_told(void **state) {
    (void)state;
    const struct reply *reply = ask("GET", "/?service=pay", "");
    assert_int_equal(reply->status, 404);
    assert_non_null(strstr(reply->body, "proxies:"));
    assert_true(FETCHES("http", "404") == 1);
    publish(0.5);
    assert_int_equal(ask("GET", "/?service=pay", "")->status, 200);
    weir_steering_publish(rig.steering, NULL, NULL, 0, false, NULL);
    assert_int_equal(ask("GET", "/?service=pay", "")->status, 404);
}

/* ---- gRPC ---- */

static const struct answer *call(struct client *client, const void *parameters, size_t size) {
    static uint8_t bytes[512];
    static struct body body;
    static const struct request request = {.path = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy", .body = &body};
    body = (struct body){.bytes = bytes, .size = frame(bytes, parameters, size, 0)};
    struct answer *answer = client_submit(client, &request);
    assert_true(client_pump(client, all_closed, RIG_PATIENCE_MS));
    return answer;
}

static void over_grpc(void **state) {
    (void)state;
    struct client client;
    client_open(&client);
    const struct answer *answer = call(&client, "\x0a\x03pay", 5);
    assert_string_equal(answer->grpc_status, "5"); /* NOT_FOUND */
    assert_non_null(strstr(answer->grpc_message, "proxies:"));
    publish(0.5);
    answer = call(&client, "\x0a\x03pay", 5);
    assert_string_equal(answer->grpc_status, "0");
    assert_true(answer->body_size > 5);
    Jaeger__ApiV2__SamplingStrategyResponse *read =
        jaeger__api_v2__sampling_strategy_response__unpack(NULL, answer->body_size - 5, answer->body + 5);
    assert_non_null(read);
    assert_true(read->probabilisticsampling->samplingrate == 0.5);
    assert_string_equal(read->operationsampling->peroperationstrategies[0]->operation, "POST /pay");
    jaeger__api_v2__sampling_strategy_response__free_unpacked(read, NULL);
    assert_true(followers_say("\"way\":\"poll\",\"id\":\"127.0.0.1\",\"service\":\"pay\""));
    answer = call(&client, "", 0); /* no service: the default */
    assert_string_equal(answer->grpc_status, "0");
    answer = call(&client, "\x0a\x04pay", 5);
    assert_string_equal(answer->grpc_status, "3"); /* INVALID_ARGUMENT */
    client_close(&client);
    assert_true(FETCHES("grpc", "404") == 1);
    assert_true(FETCHES("grpc", "200") == 2);
    assert_true(FETCHES("grpc", "400") == 1);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_service_is_answered_as_its_plan_says),
        CASE(a_tag_says_that_nothing_is_new),
        CASE(head_has_no_body),
        CASE(what_is_asked_wrongly),
        CASE(nothing_is_told),
        CASE(over_grpc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
