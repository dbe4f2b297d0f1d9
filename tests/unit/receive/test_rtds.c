/* RTDS over the gRPC receiver, with the board behind it: who is told what, and when not. */
#include "tests/unit/receive/grpc_rig.h"

#define RUNTIME    "type.googleapis.com/envoy.service.runtime.v3.Runtime"
#define CLUSTERS   "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define RTDS       "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"
#define AGGREGATED "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

/* ---- plans ---- */

/* `payments` at this rate, one of its operations at another, all others at 1. */
static void publish(double rate, double of_operation, uint32_t min_flush_spans) {
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

static void nothing(void) {}
static void publish_nothing(void) {
    weir_steering_publish(rig.steering, NULL, NULL, 0, false, NULL);
}

/* What the board says of followers. */
static bool board_says(const char *text) {
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

static uint8_t *put_text(uint8_t *at, uint32_t field, const char *text) {
    return text == NULL ? at : weir_wire_put_bytes(at, field, text, strlen(text));
}

static size_t request_of(const struct ask *ask, uint8_t *out) {
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

static void send_bytes(struct envoy *envoy, const uint8_t *message, size_t size) {
    assert_true(envoy->body.size + size + 5 <= sizeof envoy->bytes);
    envoy->body.size += frame(envoy->bytes + envoy->body.size, message, size, 0);
    nghttp2_session_resume_data(envoy->client.session, envoy->answer->stream);
    client_send(&envoy->client);
}

static void send_ask(struct envoy *envoy, const struct ask *ask) {
    uint8_t message[4096];
    send_bytes(envoy, message, request_of(ask, message));
}

static void envoy_open(struct envoy *envoy, const char *path) {
    memset(envoy, 0, sizeof *envoy);
    client_open(&envoy->client);
    envoy->body = (struct body){.bytes = envoy->bytes, .open = true};
    envoy->answer = client_submit(&envoy->client, &(struct request){.path = path, .body = &envoy->body});
}

static void envoy_close(struct envoy *envoy) {
    client_close(&envoy->client);
}

/* DiscoveryResponse, as far as it is looked at. */
static void read_response(struct envoy *envoy, const uint8_t *bytes, size_t size) {
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

static bool read_responses(struct envoy *envoy) {
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
static bool got_responses(struct client *client) {
    struct envoy *envoy = (struct envoy *)client;
    read_responses(envoy);
    return envoy->responses >= wanted_responses;
}

static void is_told(struct envoy *envoy, uint32_t responses, const char *version) {
    wanted_responses = responses;
    assert_true(client_pump(&envoy->client, got_responses, RIG_PATIENCE_MS));
    assert_int_equal(envoy->responses, responses);
    assert_string_equal(envoy->version, version);
}

static bool got_ping(struct client *client) {
    return client->pings_acked > 0;
}

/* All that was sent, and all letters of the board, have been acted upon: as many responses as that in all. */
static void told_no_more_than(struct envoy *envoy, uint32_t responses) {
    envoy->client.pings_acked = 0;
    nghttp2_submit_ping(envoy->client.session, NGHTTP2_FLAG_NONE, NULL);
    assert_true(client_pump(&envoy->client, got_ping, RIG_PATIENCE_MS));
    rig_on_lane(nothing);
    assert_int_equal(rig_metric("weir_rtds_pushes_total"), responses);
}

static const struct ask first = {.node = "sidecar-1", .cluster = "payments", .type = RUNTIME, .names = {"weir"}};

static void subscribe(struct envoy *envoy) {
    envoy_open(envoy, RTDS);
    send_ask(envoy, &first);
}

static void ack(struct envoy *envoy) {
    send_ask(envoy, &(struct ask){.version = envoy->version,
                                  .node = "sidecar-1",
                                  .cluster = "payments",
                                  .type = RUNTIME,
                                  .nonce = envoy->nonce,
                                  .names = {"weir"}});
}

static void is_refused(struct envoy *envoy, const char *code, const char *why) {
    assert_true(client_pump(&envoy->client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(envoy->answer->grpc_status, code);
    if (strstr(envoy->answer->grpc_message, why) == NULL) fail_msg("%s", envoy->answer->grpc_message);
    assert_int_equal(rig_metric("weir_rtds_streams"), 0);
}

/* ---- the plan ---- */

static void follows_the_plan(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_string_equal(envoy.nonce, "1");
    assert_true(board_says("\"state\":\"behind\""));
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    assert_int_equal(rig_metric("weir_rtds_streams"), 1);
    assert_true(board_says("\"id\":\"sidecar-1\",\"service\":\"payments\",\"side\":\"policy\",\"state\":\"current\""));
    publish(0.5, 1, 500);
    is_told(&envoy, 2, "v1:rate=0.5000,flush=500");
    assert_string_equal(envoy.nonce, "2");
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"rate\":0.5"));
    /* What an Envoy cannot be told is no reason to tell it anything; the board knows that it has the new version. */
    publish(0.5, 0.25, 500);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"state\":\"current\""));
    envoy_close(&envoy);
}

static void the_end_of_a_stream_is_noticed(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    envoy.body.open = false;
    nghttp2_session_resume_data(envoy.client.session, envoy.answer->stream);
    is_refused(&envoy, "0", "");
    assert_true(board_says("\"state\":\"gone\""));
    envoy_close(&envoy);
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"state\":\"current\"")); /* what it took last is what it has */
    envoy_close(&envoy);
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > 0; i++)
        usleep(10000);
    rig_on_lane(nothing);
    assert_true(board_says("\"state\":\"gone\""));
}

static void a_refusal_is_not_repeated(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    struct ask nack = first;
    nack.nonce = "1";
    nack.refuses = "no such layer";
    send_ask(&envoy, &nack);
    told_no_more_than(&envoy, 1);
    assert_int_equal(rig_metric("weir_rtds_nacks_total"), 1);
    assert_true(board_says("\"state\":\"refused\",\"reason\":\"no such layer\""));
    publish(0.01, 0.5, 0); /* another plan, and the same to an Envoy */
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"state\":\"refused\",\"reason\":\"no such layer\""));
    publish(0.02, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0200");
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(board_says("\"state\":\"current\""));
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    envoy_close(&envoy);
}

static void a_long_reason_is_cut(void **state) {
    (void)state;
    struct envoy envoy;
    char reason[900];
    for (size_t i = 0; i + 3 < sizeof reason; i += 3)
        memcpy(reason + i, "\xe2\x98\xba", 4);
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    struct ask nack = first;
    nack.nonce = "1";
    nack.refuses = reason;
    send_ask(&envoy, &nack);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\xe2\x98\xba"));
    envoy_close(&envoy);
}

/* An answer to a response that another has overtaken says nothing of the last one. */
static void old_nonces_are_ignored(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    publish(0.02, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0200");
    struct ask late = first;
    late.version = "v1:rate=0.0100";
    late.nonce = "1";
    send_ask(&envoy, &late);
    late.refuses = "late";
    send_ask(&envoy, &late);
    told_no_more_than(&envoy, 2);
    assert_int_equal(rig_metric("weir_rtds_ignored_total{reason=\"nonce\"}"), 2);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 0);
    assert_true(board_says("\"state\":\"behind\""));
    ack(&envoy);
    ack(&envoy); /* said twice, it is no second answer */
    told_no_more_than(&envoy, 2);
    assert_int_equal(rig_metric("weir_rtds_acks_total"), 1);
    envoy_close(&envoy);
}

/* ---- a Weir that has just started ---- */

static void what_a_proxy_has_is_not_told_again(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    publish(0.01, 1, 0);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    assert_true(board_says("\"state\":\"current\""));
    assert_true(weir_steering_prior(rig.steering, 0, 0, "sidecar-1", 9, 5) == 100); /* it had that all the time */
    publish(0.02, 1, 0);
    is_told(&envoy, 1, "v1:rate=0.0200");
    envoy_close(&envoy);
}

static void what_it_has_counts_until_it_takes_another(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000,flush=7";
    again.nonce = "9"; /* of a stream before; nothing was told on this one */
    publish(0.01, 1, 0);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_true(weir_steering_prior(rig.steering, 0, 0, "sidecar-1", 9, 5) == 2);
    envoy_close(&envoy);
}

static void while_rates_are_taken_up_none_is_told(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000";
    publish(0.01, 1, 0);
    weir_steering_set_settling(rig.steering, true);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    publish(0.5, 1, 0); /* the controller has taken it up */
    told_no_more_than(&envoy, 0);
    assert_true(board_says("\"state\":\"current\""));
    publish(0.02, 1, 0);
    is_told(&envoy, 1, "v1:rate=0.0200");
    envoy_close(&envoy);
}

static void what_was_not_taken_up_is_told_when_that_is_over(void **state) {
    (void)state;
    struct envoy envoy;
    struct ask again = first;
    again.version = "v1:rate=0.5000";
    publish(0.01, 1, 0);
    weir_steering_set_settling(rig.steering, true);
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 0);
    weir_steering_set_settling(rig.steering, false);
    is_told(&envoy, 1, "v1:rate=0.0100");
    envoy_close(&envoy);
}

/* ---- no plan ---- */

static void without_a_plan_a_start_is_not_held_up(void **state) {
    (void)state;
    struct envoy envoy;
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:nothing");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    publish(0.01, 1, 0);
    is_told(&envoy, 2, "v1:rate=0.0100");
    ack(&envoy);
    publish_nothing(); /* what was told stays */
    told_no_more_than(&envoy, 2);
    envoy_close(&envoy);
    struct ask again = first;
    again.version = "v1:rate=0.0100";
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &again);
    told_no_more_than(&envoy, 2);
    again.names[1] = "more"; /* which is told what the others have */
    send_ask(&envoy, &again);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 2);
    envoy_close(&envoy);
}

/* So many streams are left, and the board has heard so. */
static void left(uint64_t streams) {
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > streams; i++)
        usleep(10000);
    assert_int_equal(rig_metric("weir_rtds_streams"), streams);
    rig_on_lane(nothing);
}

static double prior(void) {
    uint32_t payments = weir_names_intern(rig.names, "payments", 8);
    return weir_steering_prior(rig.steering, payments, WEIR_NAME_NONE, "sidecar-1", 9, weir_unix_ns(&rig_clock));
}

/* It was started anew, and has its own configuration: what another process of that name took weighs none of its spans.
 */
static void who_comes_with_nothing_follows_nothing(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_true(prior() == 100);
    envoy_close(&envoy);
    left(0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_true(board_says("\"state\":\"behind\""));
    assert_true(prior() == 0);
    ack(&envoy);
    told_no_more_than(&envoy, 2);
    assert_true(prior() == 100);
    envoy_close(&envoy);
    left(0);
    publish_nothing();
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:nothing");
    ack(&envoy);
    told_no_more_than(&envoy, 3);
    assert_true(prior() == 0);
    assert_false(board_says("\"rate\":"));
    assert_int_equal(weir_steering_senders(rig.steering, weir_names_intern(rig.names, "payments", 8)), 0);
    envoy_close(&envoy);
}

static void who_only_looks_changes_nothing(void **state) {
    (void)state;
    struct envoy envoy, look;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    subscribe(&look); /* by the same name, as the line of docs/policy.md does */
    is_told(&look, 1, "v1:rate=0.0100");
    assert_true(prior() == 100);
    envoy_close(&look);
    left(1);
    assert_true(prior() == 100);
    assert_true(board_says("\"rate\":0.01"));
    envoy_close(&envoy);
}

/* ---- subscriptions ---- */

static void names_come_and_go(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 1);
    struct ask more = first;
    more.nonce = "1";
    more.names[1] = "second";
    send_ask(&envoy, &more);
    is_told(&envoy, 2, "v1:rate=0.0100");
    assert_int_equal(envoy.names, 2);
    ack(&envoy); /* of both, and asks for one only */
    told_no_more_than(&envoy, 2);
    struct ask none = first;
    none.nonce = "2";
    none.names[0] = NULL;
    send_ask(&envoy, &none);
    told_no_more_than(&envoy, 2);
    publish(0.02, 1, 0); /* nobody asks */
    told_no_more_than(&envoy, 2);
    struct ask again = first;
    again.nonce = "2";
    send_ask(&envoy, &again);
    is_told(&envoy, 3, "v1:rate=0.0200");
    envoy_close(&envoy);
}

/* Over ADS all types share one stream; the node need be in its first request only. */
static void other_types_wait(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    envoy_open(&envoy, AGGREGATED);
    send_ask(&envoy, &(struct ask){.node = "sidecar-1", .cluster = "payments", .type = CLUSTERS});
    told_no_more_than(&envoy, 0);
    assert_int_equal(rig_metric("weir_rtds_ignored_total{reason=\"type\"}"), 1);
    send_ask(&envoy, &(struct ask){.names = {"weir"}}); /* of no type at all */
    told_no_more_than(&envoy, 0);
    send_ask(&envoy, &(struct ask){.type = RUNTIME, .names = {"weir"}});
    is_told(&envoy, 1, "v1:rate=0.0100");
    ack(&envoy);
    told_no_more_than(&envoy, 1);
    assert_true(board_says("\"id\":\"sidecar-1\",\"service\":\"payments\""));
    envoy_close(&envoy);
    /* A service of one type need not be told which. */
    envoy_open(&envoy, RTDS);
    send_ask(&envoy, &(struct ask){.node = "sidecar-2", .cluster = "payments", .names = {"weir"}});
    is_told(&envoy, 1, "v1:rate=0.0100");
    envoy_close(&envoy);
}

static void two_of_one_name(void **state) {
    (void)state;
    struct envoy one, two;
    publish(0.01, 1, 0);
    subscribe(&one);
    is_told(&one, 1, "v1:rate=0.0100");
    subscribe(&two);
    is_told(&two, 1, "v1:rate=0.0100");
    ack(&one);
    ack(&two);
    told_no_more_than(&one, 2);
    told_no_more_than(&two, 2);
    envoy_close(&one);
    for (int i = 0; i < 6000 && rig_metric("weir_rtds_streams") > 1; i++)
        usleep(10000);
    assert_int_equal(weir_steering_senders(rig.steering, weir_names_intern(rig.names, "payments", 8)), 1);
    publish(0.02, 1, 0);
    is_told(&two, 2, "v1:rate=0.0200");
    envoy_close(&two);
}

/* ---- what a proxy may cost ---- */

static void what_is_no_request_ends_the_stream(void **state) {
    (void)state;
    static const struct {
        struct ask ask;
        const char *code, *why, *row;
    } rows[] = {
        {{.type = RUNTIME, .names = {"weir"}}, "3", "node.id", "node"},
        {{.node = "", .type = RUNTIME, .names = {"weir"}}, "3", "node.id", "node"},
        {{.node = "n", .names = {"1", "2", "3", "4", "5", "6", "7", "8", "9"}}, "3", "resource_names", "bounds"},
        {{.node = "\xff", .names = {"weir"}}, "3", "not text", "malformed"},
    };
    publish(0.01, 1, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct envoy envoy;
        char row[64];
        snprintf(row, sizeof row, "weir_rtds_refused_total{reason=\"%s\"}", rows[i].row);
        double before = rig_metric(row);
        envoy_open(&envoy, RTDS);
        send_ask(&envoy, &rows[i].ask);
        is_refused(&envoy, rows[i].code, rows[i].why);
        assert_int_equal(rig_metric(row), before + 1);
        envoy_close(&envoy);
        /* The same, in the middle of a good stream. */
        if (i < 2) continue;
        subscribe(&envoy);
        is_told(&envoy, 1, "v1:rate=0.0100");
        send_ask(&envoy, &rows[i].ask);
        is_refused(&envoy, rows[i].code, rows[i].why);
        assert_true(board_says("\"state\":\"gone\""));
        envoy_close(&envoy);
    }
}

static void only_the_state_of_the_world(void **state) {
    (void)state;
    static const char *const paths[] = {
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime",
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/FetchRuntime",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct envoy envoy;
        envoy_open(&envoy, paths[i]);
        is_refused(&envoy, "12", "unknown method");
        envoy_close(&envoy);
    }
}

/* Its window is shut: of all that would have been told meanwhile it is told the last when it reads again. */
static void who_does_not_read_is_told_the_last_only(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    memset(&envoy, 0, sizeof envoy);
    client_open(&envoy.client);
    const nghttp2_settings_entry shut = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    nghttp2_submit_settings(envoy.client.session, NGHTTP2_FLAG_NONE, &shut, 1);
    envoy.body = (struct body){.bytes = envoy.bytes, .open = true};
    envoy.answer = client_submit(&envoy.client, &(struct request){.path = RTDS, .body = &envoy.body});
    send_ask(&envoy, &first);
    told_no_more_than(&envoy, 1);
    for (int i = 2; i <= 50; i++)
        publish(i / 100.0, 1, 0);
    told_no_more_than(&envoy, 1);
    nghttp2_submit_window_update(envoy.client.session, NGHTTP2_FLAG_NONE, envoy.answer->stream, 65535);
    is_told(&envoy, 2, "v1:rate=0.5000");
    told_no_more_than(&envoy, 2);
    envoy_close(&envoy);
}

static void an_end_is_an_end(void **state) {
    (void)state;
    struct envoy envoy;
    publish(0.01, 1, 0);
    subscribe(&envoy);
    is_told(&envoy, 1, "v1:rate=0.0100");
    rig_on_lane(rig_stop_job);
    assert_true(client_pump(&envoy.client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(envoy.answer->grpc_status, "14");
    assert_true(board_says("\"state\":\"gone\""));
    envoy_close(&envoy);
    assert_true(rig_idle_within(RIG_PATIENCE_MS));
}

/* A letter is under way while the receiver goes. */
static void close_under_a_letter(void) {
    publish(0.02, 1, 0);
    weir_receive_grpc.close(rig.receiver);
    rig.receiver = NULL;
}
static void a_letter_may_come_too_late(void **state) {
    (void)state;
    publish(0.01, 1, 0);
    rig_on_lane(rig_stop_job);
    assert_true(rig_idle_within(RIG_PATIENCE_MS));
    rig_on_lane(close_under_a_letter);
    rig_on_lane(nothing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(follows_the_plan),
        TEST(the_end_of_a_stream_is_noticed),
        TEST(a_refusal_is_not_repeated),
        TEST(a_long_reason_is_cut),
        TEST(old_nonces_are_ignored),
        TEST(what_a_proxy_has_is_not_told_again),
        TEST(what_it_has_counts_until_it_takes_another),
        TEST(while_rates_are_taken_up_none_is_told),
        TEST(what_was_not_taken_up_is_told_when_that_is_over),
        TEST(without_a_plan_a_start_is_not_held_up),
        TEST(who_comes_with_nothing_follows_nothing),
        TEST(who_only_looks_changes_nothing),
        TEST(names_come_and_go),
        TEST(other_types_wait),
        TEST(two_of_one_name),
        TEST(what_is_no_request_ends_the_stream),
        TEST(only_the_state_of_the_world),
        TEST(who_does_not_read_is_told_the_last_only),
        TEST(an_end_is_an_end),
        TEST(a_letter_may_come_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
