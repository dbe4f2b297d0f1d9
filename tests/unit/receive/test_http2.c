/* Connections: their beginning, their limits, their end. */
#include "grpc/health/v1/health.pb-c.h"
#include "tests/unit/receive/grpc_rig.h"

static uint8_t message[256 * 1024], framed[300 * 1024];

static size_t export_frame(unsigned spans) {
    return frame(framed, message, export_of(message, spans, 0), 0);
}

static size_t health_frame(const char *service) {
    uint8_t request[128];
    size_t size = (size_t)(weir_wire_put_bytes(request, 1, service, strlen(service)) - request);
    return frame(framed, request, size, 0);
}

/* The status in a HealthCheckResponse at body[at]; 0 = none. */
static int health_at(const struct answer *answer, size_t at) {
    if (answer->body_size < at + 5) return -1;
    Grpc__Health__V1__HealthCheckResponse *response =
        grpc__health__v1__health_check_response__unpack(NULL, answer->body[at + 4], answer->body + at + 5);
    int status = response != NULL ? (int)response->status : -1;
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
    return status;
}
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

static void health(void **state) {
    (void)state;
    const struct {
        const char *service, *grpc_status;
        int health;
    } cases[] = {{"", "0", SERVING},
                 {"opentelemetry.proto.collector.trace.v1.TraceService", "0", SERVING},
                 {"grpc.health.v1.Health", "0", SERVING},
                 {"no.such.Service", "5", -1}};
    for (size_t i = 0; i < 4; i++) {
        struct client client;
        struct body body = {.bytes = framed, .size = health_frame(cases[i].service)};
        client_open(&client);
        struct answer *answer =
            client_submit(&client, &(struct request){.path = "/grpc.health.v1.Health/Check", .body = &body});
        assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
        assert_string_equal(answer->grpc_status, cases[i].grpc_status);
        assert_int_equal(health_at(answer, 0), cases[i].health);
        client_close(&client);
    }
}

static bool has_body(struct client *client) {
    return client->answers[0].body_size >= 5;
}

static void watchers_hear_of_the_end(void **state) {
    (void)state;
    struct client client, left;
    struct body body = {.bytes = framed, .size = health_frame("")}, again = body;
    const struct request watch = {.path = "/grpc.health.v1.Health/Watch", .body = &body},
                         watch_again = {.path = "/grpc.health.v1.Health/Watch", .body = &again};
    client_open(&left);
    client_submit(&left, &watch_again);
    assert_true(client_pump(&left, has_body, RIG_PATIENCE_MS));
    client_close(&left); /* who leaves is forgotten */
    client_open(&client);
    struct answer *answer = client_submit(&client, &watch);
    assert_true(client_pump(&client, has_body, RIG_PATIENCE_MS));
    assert_int_equal(health_at(answer, 0), SERVING);
    assert_false(client_pump(&client, all_closed, 50)); /* it stays open */
    rig_on_lane(rig_stop_job);
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_int_equal(health_at(answer, 7), NOT_SERVING);
    assert_string_equal(answer->grpc_status, "0");
    client_close(&client);
}

static void an_unknown_service_is_watched(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = health_frame("no.such.Service")};
    client_open(&client);
    struct answer *answer =
        client_submit(&client, &(struct request){.path = "/grpc.health.v1.Health/Watch", .body = &body});
    assert_true(client_pump(&client, has_body, RIG_PATIENCE_MS));
    assert_int_equal(health_at(answer, 0), SERVICE_UNKNOWN);
    rig_on_lane(rig_stop_job);
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_int_equal(answer->body_size, 7); /* what was never here does not end */
    client_close(&client);
}

/* "VmHWM:" and the like of /proc/self/status. */
static long status_kib(const char *key) {
    char line[200];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) kib = atol(line + strlen(key));
    fclose(file);
    return kib;
}

static void reload_job(void) {
    weir_receive_grpc.reload(rig.receiver, &rig.config);
}

/* A tree of it, as protobuf-c makes, takes 45 times the memory of its bytes, and nobody's budget knows. */
static void a_request_of_fields_that_nobody_knows(void **state) {
    (void)state;
    enum { FIELDS = 4 << 20 };
    struct client client;
    uint8_t *request = malloc(2 * FIELDS), *large = malloc(2 * FIELDS + 5);
    for (size_t i = 0; i < FIELDS; i++)
        request[2 * i] = 2 << 3 | WEIR_WIRE_BYTES, request[2 * i + 1] = 0;
    struct body body = {.bytes = large, .size = frame(large, request, 2 * FIELDS, 0)};
    rig.config.grpc.max_message_bytes = 16 << 20;
    rig_on_lane(reload_job);
    FILE *clear = fopen("/proc/self/clear_refs", "w");
    assert_true(clear != NULL && fputs("5", clear) >= 0 && fclose(clear) == 0); /* VmHWM begins anew (proc(5)) */
    long before_kib = status_kib("VmRSS:");
    client_open(&client);
    struct answer *answer =
        client_submit(&client, &(struct request){.path = "/grpc.health.v1.Health/Check", .body = &body});
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(answer->grpc_status, "0");
    assert_int_equal(health_at(answer, 0), SERVING);
    assert_true(status_kib("VmHWM:") - before_kib < 128 * 1024);
    client_close(&client);
    free(request);
    free(large);
}

static void broken_health_requests(void **state) {
    (void)state;
    static const uint8_t broken[][4] = {{0x0a, 9, 'a', 'b'}, {0x0a, 0x80, 0x80, 0x80}, {0x08, 1, 0x0b, 0}};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct client client;
        struct body body = {.bytes = framed, .size = frame(framed, broken[i], sizeof broken[i], 0)};
        client_open(&client);
        struct answer *answer =
            client_submit(&client, &(struct request){.path = "/grpc.health.v1.Health/Check", .body = &body});
        assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
        assert_string_equal(answer->grpc_status, "3");
        client_close(&client);
    }
}

static bool is_held(struct client *client) {
    (void)client;
    return rig.held != NULL;
}
static bool has_gone_away(struct client *client) {
    return client->gone_away;
}
/* The first GOAWAY names no stream: it says only that there will be an end. */
static bool has_named_the_last(struct client *client) {
    return client->gone_away && client->last_stream < INT32_MAX;
}

/* GOAWAY, the answer to what was under way, and then the end; also for a client that never closes. */
static void drains(void **state) {
    (void)state;
    struct client client, silent;
    struct body body = {.bytes = framed, .size = export_frame(3)};
    rig.mode = SINK_HOLDS;
    client_open(&silent);
    client_pump(&silent, NULL, 30);
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
    rig_on_lane(rig_stop_job);
    assert_true(client_pump(&client, has_named_the_last, RIG_PATIENCE_MS));
    assert_int_equal(client.goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(client.last_stream, answer->stream); /* what is still answered */
    assert_false(rig_idle_within(100));
    rig_settle();
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(answer->grpc_status, "0");
    assert_true(client_pump(&client, is_at_its_end, RIG_PATIENCE_MS));
    assert_true(client_pump(&silent, is_at_its_end, RIG_PATIENCE_MS));
    assert_true(rig_idle_within(RIG_PATIENCE_MS));
    client_close(&client);
    client_close(&silent);
}

static void pings(struct client *client, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL);
}

static unsigned pings_sent;
static bool all_pings_acked(struct client *client) {
    return client->pings_acked >= pings_sent;
}

/* The receiver has read what was sent before, and its loop went round since. Pings beside an open stream are free. */
static void is_read(struct client *client) {
    for (int turn = 0; turn < 2; turn++) {
        pings_sent = client->pings_acked + 1;
        pings(client, 1);
        assert_true(client_pump(client, all_pings_acked, RIG_PATIENCE_MS));
    }
}

static void too_many_pings(void **state) {
    (void)state;
    struct client client;
    client_open(&client);
    pings(&client, pings_sent = 3); /* the first is free, two are strikes */
    assert_true(client_pump(&client, all_pings_acked, RIG_PATIENCE_MS));
    assert_int_equal(client.pings_acked, 3);
    assert_false(client.gone_away);
    pings(&client, 1);
    assert_true(client_pump(&client, has_gone_away, RIG_PATIENCE_MS));
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(client.goaway_text, "too_many_pings");
    assert_true(client_pump(&client, is_at_its_end, RIG_PATIENCE_MS));
    client_close(&client);
    assert_true(rig_metric("weir_grpc_too_many_pings_total") == 1);
}

static void pings_beside_a_stream_are_free(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = export_frame(1)};
    rig.mode = SINK_HOLDS;
    client_open(&client);
    client_submit(&client, &(struct request){.body = &body});
    assert_true(client_pump(&client, is_held, RIG_PATIENCE_MS));
    pings(&client, pings_sent = 20);
    assert_true(client_pump(&client, all_pings_acked, RIG_PATIENCE_MS));
    assert_int_equal(client.pings_acked, 20);
    assert_false(client.gone_away);
    rig_settle();
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    client_close(&client);
}

static void connections_are_bounded(void **state) {
    (void)state;
    struct client clients[9];
    for (int i = 0; i < 9; i++) {
        client_open(&clients[i]);
        client_pump(&clients[i], NULL, 20);
    }
    assert_true(client_pump(&clients[8], is_at_its_end, RIG_PATIENCE_MS));
    assert_true(rig_metric("weir_grpc_connections") == 8);
    assert_true(rig_metric("weir_grpc_connections_total{outcome=\"refused\"}") == 1);
    for (int i = 0; i < 9; i++)
        client_close(&clients[i]);
    for (int i = 0; i < 6000 && rig_metric("weir_grpc_connections") > 0; i++)
        usleep(10000);
    assert_true(rig_metric("weir_grpc_connections") == 0);
}

static void what_is_not_http2(void **state) {
    (void)state;
    static const char *const greetings[] = {"GET / HTTP/1.1\r\nHost: weir\r\n\r\n",
                                            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense and more of it"};
    for (size_t i = 0; i < 3; i++) {
        int fd = connect_to_rig();
        assert_true(send(fd, greetings[i], strlen(greetings[i]), MSG_NOSIGNAL) > 0);
        char bytes[512];
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t n = 1;
        while (n > 0) {
            assert_int_equal(poll(&ready, 1, RIG_PATIENCE_MS), 1);
            n = recv(fd, bytes, sizeof bytes, 0);
        }
        close(fd);
    }
    assert_true(rig_metric("weir_grpc_protocol_errors_total") >= 2);
}

/* The lane's clock is put forward; its chores are due every second of it. */
static void patience_ends(void **state) {
    (void)state;
    struct client client;
    rig_clock_stands();
    int silent = connect_to_rig();
    struct body body = {.bytes = framed, .size = 20, .open = true};
    export_frame(3);
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    is_read(&client);
    rig.ahead_ns += 11 * WEIR_S;
    char byte;
    struct pollfd ready = {.fd = silent, .events = POLLIN};
    ssize_t n = 1;
    while (n > 0) { /* SETTINGS, and then the end */
        assert_int_equal(poll(&ready, 1, RIG_PATIENCE_MS), 1);
        n = recv(silent, &byte, 1, 0);
    }
    close(silent);
    assert_false(answer->closed);
    rig.ahead_ns += 31 * WEIR_S;
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(answer->grpc_status, "4");
    client_close(&client);
}

/* A byte now and then keeps a request, and the memory drawn for it, no longer than silence does. */
static void a_trickle_is_no_request(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = 20, .open = true};
    frame(framed, message, 100 * 1024, 0);
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    is_read(&client);
    for (int i = 0; i < 8 && !answer->closed; i++) {
        rig.ahead_ns += 5 * WEIR_S;
        body.size++;
        nghttp2_session_resume_data(client.session, answer->stream);
        is_read(&client);
    }
    assert_true(answer->closed);
    assert_string_equal(answer->grpc_status, "4");
    client_close(&client);
}

/* Much at once buys time, but not for long: what came is memory that others need. */
static void a_trickle_behind_a_burst(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = 128 * 1024, .open = true}; /* four seconds, and thirty */
    memset(message, 0, sizeof message);
    frame(framed, message, 256 * 1024, 0);
    rig_clock_stands();
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    while (body.at < body.size)
        is_read(&client);
    is_read(&client);
    unsigned seconds = 0;
    for (; seconds < 60 && !answer->closed; seconds += 3) { /* fast enough to be no halt of half a minute */
        rig.ahead_ns += 3 * WEIR_S;
        body.size += 512;
        nghttp2_session_resume_data(client.session, answer->stream);
        is_read(&client);
    }
    assert_in_range(seconds, 34, 42);
    assert_string_equal(answer->grpc_status, "4");
    assert_string_equal(answer->grpc_message, "the message comes too slowly");
    assert_true(rig.intake.used_bytes == 0);
    client_close(&client);
}

static bool is_answered(struct client *client) {
    return client->answers[0].status[0] != 0;
}

/* A client whose window stays shut: its answers, and with them its streams, are not kept for ever. */
static void an_answer_that_nobody_takes(void **state) {
    (void)state;
    struct client client;
    struct body body = {.bytes = framed, .size = export_frame(1)};
    rig_clock_stands();
    client_open(&client);
    nghttp2_submit_settings(client.session, NGHTTP2_FLAG_NONE,
                            &(nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}, 1);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body});
    assert_true(client_pump(&client, is_answered, RIG_PATIENCE_MS));
    assert_int_equal(rig.spans, 1);
    assert_string_equal(answer->status, "200");
    assert_false(answer->closed);
    rig.ahead_ns += 25 * WEIR_S;
    client_pump(&client, NULL, 1200);
    assert_false(answer->closed);
    rig.ahead_ns += 10 * WEIR_S;
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_int_equal(answer->error, NGHTTP2_CANCEL);
    client_close(&client);
}

/* Sends `bytes` behind the preface and an empty SETTINGS, and reads until the receiver hangs up. */
static void is_cut_off(const uint8_t *bytes, size_t size) {
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    int fd = connect_to_rig();
    char answers[4096];
    ssize_t n = 1;
    send(fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN, MSG_NOSIGNAL);
    send(fd, settings, sizeof settings, MSG_NOSIGNAL);
    send(fd, bytes, size, MSG_NOSIGNAL);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (n > 0) {
        assert_int_equal(poll(&ready, 1, RIG_PATIENCE_MS), 1);
        n = recv(fd, answers, sizeof answers, 0);
    }
    close(fd);
}

static void floods(void **state) {
    (void)state;
    static uint8_t bytes[200 * 1024];
    size_t size = 0;
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    for (; size + sizeof settings <= sizeof bytes; size += sizeof settings)
        memcpy(bytes + size, settings, sizeof settings);
    is_cut_off(bytes, size); /* each wants an ACK */
    /* CVE-2024-27316: a header block without an end. 0x82 is ":method: GET". */
    static const uint8_t headers[10] = {0, 0, 1, NGHTTP2_HEADERS, 0, 0, 0, 0, 1, 0x82},
                         more[9] = {0, 0, 0, NGHTTP2_CONTINUATION, 0, 0, 0, 0, 1};
    memcpy(bytes, headers, sizeof headers);
    for (size = sizeof headers; size < 1000; size += sizeof more)
        memcpy(bytes + size, more, sizeof more);
    is_cut_off(bytes, size);
    assert_true(rig_metric("weir_grpc_protocol_errors_total") == 2);
}

/* The request is answered while its header block is still open; the block ends afterwards. */
static void headers_that_take_their_time(void **state) {
    (void)state;
    /* 0x83: ":method: POST", 0x86: ":scheme: http", 0x84: ":path: /" */
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS},
                         head[11] = {0, 0, 2, NGHTTP2_HEADERS, 0, 0, 0, 0, 1, 0x83, 0x86},
                         rest[10] = {0, 0, 1, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 0, 0, 0, 1, 0x84};
    int fd = connect_to_rig();
    send(fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN, MSG_NOSIGNAL);
    send(fd, settings, sizeof settings, MSG_NOSIGNAL);
    send(fd, head, sizeof head, MSG_NOSIGNAL);
    for (int i = 0; i < 6000 && rig_metric("weir_grpc_requests_open") != 1; i++)
        usleep(10000);
    assert_true(rig_metric("weir_grpc_requests_open") == 1);
    rig.ahead_ns += 31 * WEIR_S;
    for (int i = 0; i < 6000 && rig_metric("weir_grpc_requests_open") > 0; i++)
        usleep(10000);
    assert_true(rig_metric("weir_grpc_requests_open") == 0);
    send(fd, rest, sizeof rest, MSG_NOSIGNAL);
    rig_catches_up();
    assert_true(rig_metric("weir_grpc_requests_open") == 0);
    assert_true(rig_metric("weir_grpc_requests_total{method=\"other\",code=\"DEADLINE_EXCEEDED\"}") == 1);
    close(fd);
}

static void headers_are_bounded(void **state) {
    (void)state;
    static char timeout[40 * 1024];
    struct client client;
    struct body body = {.bytes = framed, .size = export_frame(1)}, again = body;
    memset(timeout, '1', sizeof timeout - 1);
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &body, .timeout = timeout});
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(answer->status, "");
    assert_int_equal(rig.spans, 0);
    struct answer *next = client_submit(&client, &(struct request){.body = &again}); /* the others go on */
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(next->grpc_status, "0");
    client_close(&client);
}

static void streams_opened_to_be_reset(void **state) {
    (void)state;
    struct client client;
    client_open(&client);
    for (int i = 0; i < 4000 && !client.eof; i++) {
        struct body body = {.bytes = framed, .size = 0, .open = true};
        client.count = 0;
        struct answer *answer = client_submit(&client, &(struct request){.body = &body});
        client_send(&client);
        nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, answer->stream, NGHTTP2_CANCEL);
        client_send(&client);
        if (i % 50 == 0) client_pump(&client, is_at_its_end, 1);
    }
    assert_true(client.gone_away ||
                client_pump(&client, is_at_its_end, RIG_PATIENCE_MS)); /* after the burst it is shown the door */
    client_close(&client);
}

static unsigned opened_streams, refused_streams;
static int count_refused(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
    (void)session, (void)stream, (void)user;
    refused_streams += error == NGHTTP2_REFUSED_STREAM;
    return 0;
}

static bool all_are_known(struct client *client) {
    (void)client;
    return rig_metric("weir_grpc_requests_open") + refused_streams >= opened_streams;
}

/* A call of which only the headers came costs memory that no message accounts for: of those there are so many a lane.
 */
static void open_calls_are_bounded(void **state) {
    (void)state;
    enum { CONNECTIONS = 2, STREAMS = 9000, CALLS_MAX = 16384 };
    static struct client clients[CONNECTIONS];
    nghttp2_session_callbacks *callbacks;
    rig.config.grpc.max_concurrent_streams = STREAMS;
    rig_on_lane(reload_job);
    rig_clock_stands(); /* none of them becomes too old */
    opened_streams = refused_streams = 0;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, count_refused);
    struct body body = {.size = 0, .open = true};
    for (int i = 0; i < CONNECTIONS; i++) {
        struct client *client = &clients[i];
        memset(client, 0, sizeof *client);
        nghttp2_session_client_new(&client->session, callbacks, client);
        client->fd = connect_to_rig();
        nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
        client_pump(client, NULL, 50); /* the receiver's SETTINGS say how many streams may be */
        for (int n = 0; n < STREAMS; n++) {
            client->count = 0;
            client_submit(client, &(struct request){.body = &body});
        }
        client->count = 0;
        opened_streams += STREAMS;
        assert_true(client_pump(client, all_are_known, RIG_PATIENCE_MS));
    }
    assert_true(rig_metric("weir_grpc_requests_open") == CALLS_MAX);
    assert_int_equal(refused_streams, CONNECTIONS * STREAMS - CALLS_MAX);
    for (int i = 0; i < CONNECTIONS; i++)
        client_close(&clients[i]);
    for (int i = 0; i < 6000 && rig_metric("weir_grpc_requests_open") > 0; i++)
        usleep(10000);
    struct client client;
    struct body sound = {.bytes = framed, .size = export_frame(1)};
    client_open(&client);
    struct answer *answer = client_submit(&client, &(struct request){.body = &sound});
    assert_true(client_pump(&client, all_closed, RIG_PATIENCE_MS));
    assert_string_equal(answer->grpc_status, "0");
    client_close(&client);
    nghttp2_session_callbacks_del(callbacks);
}

/* Requests whose answers are never read: nothing more is read from their sender, and the memory stays as it is. */
static void a_slow_reader_is_not_served(void **state) {
    (void)state;
    struct client client;
    client_open(&client);
    client_pump(&client, NULL, 30);
    int small = 4096;
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    /* PINGs are answered with PINGs: as many bytes out as in. */
    static const uint8_t ping[17] = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    static uint8_t many[17 * 4096];
    for (int i = 0; i < 4096; i++)
        memcpy(many + i * 17, ping, 17);
    size_t sent = 0;
    for (int idle = 0; idle < 20 && sent < 64u << 20;) {
        ssize_t n = send(client.fd, many, sizeof many, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) idle++, usleep(5000);
        if (n > 0) sent += (size_t)n;
    }
    assert_true(sent < 64u << 20); /* it was stopped, or cut off */
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(health),
        TEST(watchers_hear_of_the_end),
        TEST(an_unknown_service_is_watched),
        TEST(a_request_of_fields_that_nobody_knows),
        TEST(broken_health_requests),
        TEST(drains),
        TEST(too_many_pings),
        TEST(pings_beside_a_stream_are_free),
        TEST(connections_are_bounded),
        TEST(what_is_not_http2),
        TEST(patience_ends),
        TEST(a_trickle_is_no_request),
        TEST(a_trickle_behind_a_burst),
        TEST(an_answer_that_nobody_takes),
        TEST(floods),
        TEST(headers_are_bounded),
        TEST(headers_that_take_their_time),
        TEST(streams_opened_to_be_reset),
        TEST(open_calls_are_bounded),
        TEST(a_slow_reader_is_not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
