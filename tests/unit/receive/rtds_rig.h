/* rtds_rig.h - an Envoy by hand on the gRPC receiver, with the board behind it. */
#ifndef WEIR_TESTS_UNIT_RECEIVE_RTDS_RIG_H
#define WEIR_TESTS_UNIT_RECEIVE_RTDS_RIG_H
#include "tests/unit/receive/grpc_rig.h"

#define RUNTIME    "type.googleapis.com/envoy.service.runtime.v3.Runtime"
#define CLUSTERS   "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define RTDS       "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
#define AGGREGATED "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

/* ---- plans ---- */

/* `payments` at this rate, one of its operations at another, all others at 1. */
static inline void publish(double rate, double of_operation, uint32_t min_flush_spans) {
    struct weir_plan_rate operation = {.rate = of_operation};
    operation.name = operation.operation = weir_names_intern(rig.names, "GET /a", 6);
    struct weir_plan_service fallback = {.rate.rate = 1, .max_traces_per_second = -1};
    struct weir_plan_service payments = {.rate = {.name = weir_names_intern(rig.names, "payments", 8), .rate = rate},
                                         .max_traces_per_second = -1,
                                         .batching.min_flush_spans = min_flush_spans,
                                         .operations = &operation,
                                         .operation_count = 1};
    struct weir_plan *plan = weir_plan_new(rig.names, 7, &fallback, &payments, 1);
    weir_steering_publish(rig.steering, plan, NULL, 0, false, NULL);
    weir_plan_unref(plan);
}

static inline void publish_nothing(void) {
    weir_steering_publish(rig.steering, NULL, NULL, 0, false, NULL);
}

/* What the board says of followers. */
static inline bool board_says(const char *text) {
    struct weir_buffer out = {0};
    weir_steering_write(rig.steering, &out);
    weir_buffer_byte(&out, 0);
    bool says = strstr((const char *)out.bytes, text) != NULL;
    if (!says) print_message("%s\n", (const char *)out.bytes);
    weir_buffer_free(&out);
    return says;
}

/* ---- an Envoy ---- */

struct envoy {
    struct client client;
    struct answer *answer;
    struct body body;
    uint8_t bytes[32 * 1024];
    char version[80], nonce[24]; /* of the last response */
    uint32_t responses, names;
    size_t read; /* of answer->body */
};

struct ask { /* NULL: not there */
    const char *version, *node, *cluster, *type, *nonce, *refuses, *names[10];
};

static inline uint8_t *put_text(uint8_t *at, uint32_t field, const char *text) {
    return text == NULL ? at : weir_wire_put_bytes(at, field, text, strlen(text));
}

static inline size_t request_of(const struct ask *ask, uint8_t *out) {
    uint8_t inner[1024], *at = put_text(put_text(inner, 1, ask->node), 2, ask->cluster);
    at = weir_wire_put_bytes(at, 3, "metadata", 8);
    uint8_t *end = put_text(out, 1, ask->version);
    if (ask->node != NULL) end = weir_wire_put_bytes(end, 2, inner, (size_t)(at - inner));
    for (int i = 0; i < 10; i++)
        end = put_text(end, 3, ask->names[i]);
    end = put_text(put_text(end, 4, ask->type), 5, ask->nonce);
    if (ask->refuses != NULL) {
        at = put_text(weir_wire_put_uint(inner, 1, 13), 2, ask->refuses);
        end = weir_wire_put_bytes(end, 6, inner, (size_t)(at - inner));
    }
    return (size_t)(end - out);
}

static inline void send_bytes(struct envoy *envoy, const uint8_t *message, size_t size) {
    assert_true(envoy->body.size + size + 5 <= sizeof envoy->bytes);
    envoy->body.size += frame(envoy->bytes + envoy->body.size, message, size, 0);
    nghttp2_session_resume_data(envoy->client.session, envoy->answer->stream);
    client_send(&envoy->client);
}

static inline void send_ask(struct envoy *envoy, const struct ask *ask) {
    uint8_t message[4096];
    send_bytes(envoy, message, request_of(ask, message));
}

static inline void envoy_open(struct envoy *envoy, const char *path) {
    memset(envoy, 0, sizeof *envoy);
    client_open(&envoy->client);
    envoy->body = (struct body){.bytes = envoy->bytes, .open = true};
    envoy->answer = client_submit(&envoy->client, &(struct request){.path = path, .body = &envoy->body});
}

static inline void envoy_close(struct envoy *envoy) {
    client_close(&envoy->client);
}

/* DiscoveryResponse, as far as it is looked at. */
static inline void read_response(struct envoy *envoy, const uint8_t *bytes, size_t size) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    envoy->names = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1)
            snprintf(envoy->version, sizeof envoy->version, "%.*s", (int)field.value, (const char *)field.bytes);
        if (field.number == 2) envoy->names++;
        if (field.number == 5)
            snprintf(envoy->nonce, sizeof envoy->nonce, "%.*s", (int)field.value, (const char *)field.bytes);
    }
    assert_null(wire.why);
    envoy->responses++;
}

static inline bool read_responses(struct envoy *envoy) {
    struct answer *answer = envoy->answer;
    while (answer->body_size >= 5) {
        size_t size = (size_t)answer->body[3] << 8 | answer->body[4];
        if (answer->body_size < 5 + size) break;
        read_response(envoy, answer->body + 5, size);
        answer->body_size -= 5 + size;
        memmove(answer->body, answer->body + 5 + size, answer->body_size);
    }
    return true;
}

static uint32_t wanted_responses;
static inline bool got_responses(struct client *client) {
    struct envoy *envoy = (struct envoy *)client;
    read_responses(envoy);
    return envoy->responses >= wanted_responses;
}

static inline void is_told(struct envoy *envoy, uint32_t responses, const char *version) {
    wanted_responses = responses;
    assert_true(client_pump(&envoy->client, got_responses, RIG_PATIENCE_MS));
    assert_int_equal(envoy->responses, responses);
    assert_string_equal(envoy->version, version);
}

static inline bool got_ping(struct client *client) {
    return client->pings_acked > 0;
}

/* All that was sent, and all letters of the board, have been acted upon: as many responses as that in all. */
static inline void told_no_more_than(struct envoy *envoy, uint32_t responses) {
    envoy->client.pings_acked = 0;
    nghttp2_submit_ping(envoy->client.session, NGHTTP2_FLAG_NONE, NULL);
    assert_true(client_pump(&envoy->client, got_ping, RIG_PATIENCE_MS));
    rig_on_lane(rig_nothing);
    assert_int_equal(rig_metric("weir_rtds_pushes_total"), responses);
}

static const struct ask first = {.node = "sidecar-1", .cluster = "payments", .type = RUNTIME, .names = {"weir"}};

static inline void subscribe(struct envoy *envoy) {
    envoy_open(envoy, RTDS);
    send_ask(envoy, &first);
}

static inline void ack(struct envoy *envoy) {
    send_ask(envoy, &(struct ask){.version = envoy->version,
                                  .node = "sidecar-1",
                                  .cluster = "payments",
                                  .type = RUNTIME,
                                  .nonce = envoy->nonce,
                                  .names = {"weir"}});
}

static inline void is_refused(struct envoy *envoy, const char *code, const char *why) {
    assert_true(client_pump(&envoy->client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(envoy->answer->grpc_status, code);
    if (strstr(envoy->answer->grpc_message, why) == NULL) fail_msg("%s", envoy->answer->grpc_message);
    assert_int_equal(rig_metric("weir_rtds_streams"), 0);
}
#endif
