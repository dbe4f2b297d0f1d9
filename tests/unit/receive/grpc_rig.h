/* grpc_rig.h - the gRPC receiver on a lane of its own, with a sink that does as told, and an nghttp2 client that
 * blocks. */
#ifndef WEIR_TESTS_GRPC_RIG_H
#define WEIR_TESTS_GRPC_RIG_H
#include "collector/core/receipt.h"
#include "collector/core/wire.h"
#include "collector/receive/listener.h"
#include "collector/receive/receiver.h"
#include "collector/sample/steering.h"
#include "tests/unit/free_port.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum sink_mode { SINK_TAKES, SINK_HOLDS, SINK_REFUSES };

static struct {
    struct weir_loop *loop;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_steering *steering;
    struct weir_config config;
    struct weir_budget intake;
    void *receiver;
    pthread_t thread;
    uint16_t port;
    _Atomic int mode;
    _Atomic uint32_t spans, uncounted, skipped, points, malformed;
    _Atomic(struct weir_batch *) held; /* in SINK_HOLDS */
    _Atomic uint64_t ahead_ns;         /* the lane's clock runs so much before the system's */
    _Atomic uint64_t stands_at_ns;     /* not 0: the system's clock is not looked at any more, this is what it says */
} rig;

static uint64_t rig_mono(void *self) {
    (void)self;
    uint64_t stands_at_ns = rig.stands_at_ns;
    return (stands_at_ns != 0 ? stands_at_ns : weir_mono_ns(&weir_clock_system)) + rig.ahead_ns;
}
/* Time goes on only as the test says, however long the machine takes for anything. */
static inline void rig_clock_stands(void) {
    rig.stands_at_ns = weir_mono_ns(&weir_clock_system);
}
static uint64_t rig_unix(void *self) {
    (void)self;
    return weir_unix_ns(&weir_clock_system);
}
static const struct weir_clock rig_clock = {.mono_ns = rig_mono, .unix_ns = rig_unix};

static enum weir_status take_spans(void *self, enum weir_receiver_id receiver, struct weir_batch **batch) {
    (void)self;
    assert_int_equal(receiver, WEIR_RECEIVER_GRPC);
    if (rig.mode == SINK_REFUSES) return WEIR_FULL;
    rig.spans += (*batch)->span_count;
    for (uint32_t i = 0; i < (*batch)->span_count; i++)
        rig.uncounted += ((*batch)->spans[i].flags & WEIR_SPAN_UNCOUNTED) != 0;
    if (rig.mode == SINK_HOLDS) {
        rig.held = *batch;
    } else {
        weir_receipt_settle((*batch)->receipt, WEIR_OWNED);
        weir_batch_unref(*batch);
    }
    *batch = NULL;
    return WEIR_OK;
}
static void count_skipped_spans(void *self, enum weir_receiver_id receiver, enum weir_refusal reason, uint64_t count) {
    (void)self, (void)receiver;
    assert_int_equal(reason, WEIR_REFUSED_INVALID);
    rig.skipped += (uint32_t)count;
}
static bool take_point(void *self, enum weir_receiver_id receiver, const struct weir_point *point) {
    (void)self, (void)receiver, (void)point;
    rig.points++;
    return true;
}
static void count_points(void *self, enum weir_receiver_id receiver, enum weir_point_refusal reason, uint64_t count) {
    (void)self, (void)receiver, (void)reason;
    rig.malformed += (uint32_t)count;
}

/* What is held is given on by this thread, as another lane would. */
static void rig_settle(void) {
    struct weir_batch *batch = rig.held;
    assert_non_null(batch);
    rig.held = NULL;
    weir_receipt_settle(batch->receipt, WEIR_OWNED);
    weir_batch_unref(batch);
}

/* ---- the lane ---- */

static void *rig_run(void *self) {
    (void)self;
    weir_loop_run(rig.loop);
    return NULL;
}

/* A job for the lane's thread; returns when it is done. */
struct rig_job {
    struct weir_mail mail; /* first */
    void (*run)(void);
    _Atomic bool done;
};
static void rig_deliver(struct weir_mail *mail) {
    struct rig_job *job = (struct rig_job *)mail;
    job->run();
    job->done = true;
}
static void rig_on_lane(void (*run)(void)) {
    struct rig_job job = {.mail.deliver = rig_deliver, .run = run};
    weir_mailbox_post(weir_loop_mailbox(rig.loop), &job.mail);
    while (!job.done)
        usleep(200);
}
static inline void rig_nothing(void) {}
/* What was sent before has been read: a round of the lane accepts, another one reads. */
static inline void rig_catches_up(void) {
    for (int round = 0; round < 8; round++)
        rig_on_lane(rig_nothing);
}
static void rig_start_job(void) {
    assert_int_equal(weir_receive_grpc.start(rig.receiver, NULL), WEIR_OK);
}
static void rig_stop_job(void) {
    weir_receive_grpc.stop(rig.receiver);
}
static _Atomic bool rig_is_idle;
static void rig_idle_job(void) {
    rig_is_idle = weir_receive_grpc.idle(rig.receiver);
}
static void rig_close_job(void) {
    weir_receive_grpc.close(rig.receiver);
    rig.receiver = NULL;
}
enum { RIG_PATIENCE_MS = 60000 }; /* with what has to come on a machine that does much else */
static bool rig_idle_within(unsigned ms) {
    for (unsigned i = 0; i < ms; i += 10) {
        rig_on_lane(rig_idle_job);
        if (rig_is_idle) return true;
        usleep(10000);
    }
    return false;
}

static int rig_open(void **state) {
    (void)state;
    struct weir_error err = {0};
    memset(&rig, 0, sizeof rig);
    rig.config.grpc.max_message_bytes = 1 << 20;
    rig.config.grpc.max_connections = 8;
    rig.config.grpc.max_concurrent_streams = 100;
    rig.config.grpc.keepalive_min_ns = 3600 * WEIR_S;
    rig.config.aggregate.label_value_bytes_max = 128;
    rig.port = free_port("127.0.0.1", SOCK_STREAM);
    snprintf(rig.config.grpc.listen.host, sizeof rig.config.grpc.listen.host, "127.0.0.1");
    rig.config.grpc.listen.port = rig.port;
    rig.config.grpc.listen.on = true;
    rig.intake.limit_bytes = 64 << 20;
    rig.names = weir_names_new(1024, 1 << 18);
    rig.metrics = weir_metrics_new();
    rig.steering = weir_steering_new(rig.names, rig.metrics, &rig_clock);
    assert_non_null(rig.steering);
    rig.loop = weir_loop_new(&rig_clock, &err);
    struct weir_receiver_env env = {.lanes = 1,
                                    .loop = rig.loop,
                                    .names = rig.names,
                                    .metrics = rig.metrics,
                                    .clock = &rig_clock,
                                    .steering = rig.steering};
    env.sink = (struct weir_sink){.budget = &rig.intake,
                                  .spans = take_spans,
                                  .spans_refused = count_skipped_spans,
                                  .point = take_point,
                                  .points_rejected = count_points};
    if (weir_receive_grpc.open(&rig.receiver, &env, &rig.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&rig.thread, NULL, rig_run, NULL), 0);
    rig_on_lane(rig_start_job);
    return 0;
}

static int rig_close(void **state) {
    (void)state;
    if (rig.held != NULL) rig_settle();
    bool idle = rig.receiver == NULL; /* a test may have closed it already */
    if (!idle) {
        rig_on_lane(rig_stop_job);
        idle = rig_idle_within(RIG_PATIENCE_MS);
        rig_on_lane(rig_close_job);
    }
    weir_loop_stop(rig.loop);
    pthread_join(rig.thread, NULL);
    weir_loop_free(rig.loop);
    weir_steering_free(rig.steering);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    assert_true(idle);
    assert_int_equal(rig.intake.used_bytes, 0); /* whatever happened, all was given back */
    return 0;
}

/* A sample of /metrics: "weir_grpc_connections". */
static double rig_metric(const char *sample) {
    struct weir_buffer page = {0};
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    char line[200];
    snprintf(line, sizeof line, "\n%s ", sample);
    const char *at = strstr((const char *)page.bytes, line);
    double value = at != NULL ? atof(at + strlen(line)) : -1;
    weir_buffer_free(&page);
    return value;
}

/* ---- the client ---- */

enum { ANSWERS = 8 };
struct answer { /* of one stream */
    int32_t stream;
    char status[8], grpc_status[8], grpc_message[256], details[512], accept_encoding[64], content_type[64];
    uint8_t body[1024];
    size_t body_size;
    bool closed;
    uint32_t error;
};
struct client {
    nghttp2_session *session;
    int fd;
    struct answer answers[ANSWERS];
    uint32_t count;
    bool gone_away, eof;
    int32_t last_stream;
    uint32_t goaway_code;
    char goaway_text[64];
    unsigned pings_acked;
};

static struct answer *answer_of(struct client *client, int32_t stream) {
    for (uint32_t i = 0; i < client->count; i++)
        if (client->answers[i].stream == stream) return &client->answers[i];
    return NULL;
}
static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                         const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    struct answer *answer = answer_of(user, frame->hd.stream_id);
    (void)session, (void)flags, (void)name_size;
    if (answer == NULL) return 0;
    const struct {
        const char *name;
        char *to;
        size_t size;
    } known[] = {{":status", answer->status, sizeof answer->status},
                 {"grpc-status", answer->grpc_status, sizeof answer->grpc_status},
                 {"grpc-message", answer->grpc_message, sizeof answer->grpc_message},
                 {"grpc-status-details-bin", answer->details, sizeof answer->details},
                 {"grpc-accept-encoding", answer->accept_encoding, sizeof answer->accept_encoding},
                 {"content-type", answer->content_type, sizeof answer->content_type}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp((const char *)name, known[i].name) == 0)
            snprintf(known[i].to, known[i].size, "%.*s", (int)value_size, (const char *)value);
    }
    return 0;
}
static int client_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                       void *user) {
    struct answer *answer = answer_of(user, stream);
    (void)session, (void)flags;
    assert_true(answer != NULL && answer->body_size + size <= sizeof answer->body);
    memcpy(answer->body + answer->body_size, bytes, size);
    answer->body_size += size;
    return 0;
}
static int client_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
    struct answer *answer = answer_of(user, stream);
    (void)session;
    if (answer != NULL) answer->closed = true, answer->error = error;
    return 0;
}
static int client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct client *client = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_PING) client->pings_acked += (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->gone_away = true;
        client->last_stream = frame->goaway.last_stream_id;
        client->goaway_code = frame->goaway.error_code;
        snprintf(client->goaway_text, sizeof client->goaway_text, "%.*s", (int)frame->goaway.opaque_data_len,
                 frame->goaway.opaque_data_len > 0 ? (const char *)frame->goaway.opaque_data : "");
    }
    return 0;
}

static int connect_to_rig(void) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(rig.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void client_send(struct client *client) {
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(client->session, &bytes)) > 0) {
        for (ssize_t at = 0; at < n;) {
            ssize_t sent = send(client->fd, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
            if (sent <= 0) return;
            at += sent;
        }
    }
}

static void client_open(struct client *client) {
    nghttp2_session_callbacks *callbacks;
    memset(client, 0, sizeof *client);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_closed);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_frame);
    nghttp2_session_client_new(&client->session, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    client->fd = connect_to_rig();
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
    client_send(client);
}

/* Moves bytes both ways until `done` says so, or for so long. True: done. */
static bool client_pump(struct client *client, bool (*done)(struct client *client), unsigned timeout_ms) {
    uint8_t bytes[16384];
    uint64_t end_ns = weir_mono_ns(&weir_clock_system) + timeout_ms * WEIR_MS;
    for (;;) {
        client_send(client);
        if (done != NULL && done(client)) return true;
        struct pollfd ready = {.fd = client->fd, .events = POLLIN};
        if (poll(&ready, 1, 10) > 0) {
            ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
            if (n <= 0) {
                client->eof = true;
                return done != NULL && done(client);
            }
            if (nghttp2_session_mem_recv(client->session, bytes, (size_t)n) < 0)
                fail_msg("the client did not understand");
        }
        if (weir_mono_ns(&weir_clock_system) > end_ns) return done != NULL && done(client);
    }
}
static inline bool is_at_its_end(struct client *client) {
    return client->eof;
}
static bool all_closed(struct client *client) {
    for (uint32_t i = 0; i < client->count; i++)
        if (!client->answers[i].closed) return false;
    return true;
}

static void client_close(struct client *client) {
    nghttp2_session_del(client->session);
    close(client->fd);
}

/* ---- requests ---- */

struct body {
    const uint8_t *bytes;
    size_t size, at, step; /* step: bytes a DATA frame; 0 = as they fit */
    bool open;             /* no END_STREAM behind it */
};
static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
    struct body *body = source->ptr;
    (void)session, (void)stream, (void)user;
    size_t left = body->size - body->at;
    if (left == 0 && body->open) return NGHTTP2_ERR_DEFERRED;
    if (size > left) size = left;
    if (body->step > 0 && size > body->step) size = body->step;
    if (size > 0) memcpy(bytes, body->bytes + body->at, size);
    body->at += size;
    if (body->at == body->size && !body->open) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

#define TRACES  "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define METRICS "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
struct request {
    const char *path, *method, *content_type, *encoding, *timeout, *counted; /* NULL: the usual, or none */
    struct body *body;
};

static struct answer *client_submit(struct client *client, const struct request *request) {
#define FIELD(key, text)                                                                                               \
    (nghttp2_nv){(uint8_t *)(key), (uint8_t *)(uintptr_t)(text), strlen(key), strlen(text), NGHTTP2_NV_FLAG_NONE}
    nghttp2_nv fields[8];
    size_t n = 0;
    fields[n++] = FIELD(":method", request->method != NULL ? request->method : "POST");
    fields[n++] = FIELD(":scheme", "http");
    fields[n++] = FIELD(":authority", "weir");
    fields[n++] = FIELD(":path", request->path != NULL ? request->path : TRACES);
    fields[n++] = FIELD("content-type", request->content_type != NULL ? request->content_type : "application/grpc");
    if (request->encoding != NULL) fields[n++] = FIELD("grpc-encoding", request->encoding);
    if (request->timeout != NULL) fields[n++] = FIELD("grpc-timeout", request->timeout);
    if (request->counted != NULL) fields[n++] = FIELD("weir-counted", request->counted);
    nghttp2_data_provider provider = {.source.ptr = request->body, .read_callback = read_request};
    assert_true(client->count < ANSWERS);
    struct answer *answer = &client->answers[client->count++];
    memset(answer, 0, sizeof *answer);
    answer->stream =
        nghttp2_submit_request(client->session, NULL, fields, n, request->body != NULL ? &provider : NULL, NULL);
    return answer;
}

/* 5 bytes of prefix, and the message. */
static size_t frame(uint8_t *out, const uint8_t *message, size_t size, uint8_t flag) {
    out[0] = flag;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    if (size > 0) memcpy(out + 5, message, size);
    return size + 5;
}

/* A request of `count` spans; those below `bad` have no trace id. */
static inline size_t export_of(uint8_t *out, unsigned count, unsigned bad) {
    static uint8_t spans[64 * 1024], inner[64 * 1024];
    uint8_t *at = spans;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t id[16] = {1, 2, 3, (uint8_t)i, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, (uint8_t)(i + 1)};
        uint8_t span[128], *end = span;
        if (i >= bad) end = weir_wire_put_bytes(end, 1, id, 16);
        end = weir_wire_put_bytes(end, 2, id + 8, 8);
        end = weir_wire_put_bytes(end, 5, "GET /", 5);
        at = weir_wire_put_bytes(at, 2, span, (size_t)(end - span));
    }
    uint8_t *end = weir_wire_put_bytes(inner, 2, spans, (size_t)(at - spans));
    return (size_t)(weir_wire_put_bytes(out, 1, inner, (size_t)(end - inner)) - out);
}
#endif
