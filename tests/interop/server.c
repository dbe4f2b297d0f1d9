/* server.c - interop_server [--port N] [--negative CASE]: prints the port it listens on, serves until SIGTERM, then
 * drains. Exit status 0: all calls ended, all memory was given back, and a negative case saw what it wants to see. */
#include "tests/interop/server.h"
#include "collector/receive/listener.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define CODEC(name) grpc__testing__##name

enum { MESSAGE_BYTES_MAX = 4 << 20 };

static struct {
    struct weir_loop *loop;
    struct weir_grpc *grpc;
    struct weir_listener *listener;
    struct weir_budget budget;
    struct negative *negative;
    struct weir_watch signals;
    struct weir_timer idle;
} server;

/* ---- unary calls ---- */

static void broken(struct weir_grpc_call *call) {
    weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, "the request does not read", 0);
}

/* The caller said whether it compresses; a server that does not see it so must say that. */
static bool as_expected(struct weir_grpc_call *call, const Grpc__Testing__BoolValue *expected) {
    if (expected == NULL || (bool)expected->value == weir_grpc_was_compressed(call)) return true;
    weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, "expect_compressed is not what came", 0);
    return false;
}

static bool status_asked(struct weir_grpc_call *call, const Grpc__Testing__EchoStatus *status) {
    if (status == NULL || status->code == 0) return false;
    weir_grpc_refuse(call, (enum weir_grpc_code)status->code, status->message, 0);
    return true;
}

static void empty_call(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    (void)self, (void)message;
    weir_grpc_answer(call, NULL, 0);
}

static void unary_call(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    (void)self;
    simple_request *request = CODEC(simple_request__unpack)(NULL, (*message)->size, (*message)->bytes);
    if (request == NULL || request->response_size < 0 || request->response_size > MESSAGE_BYTES_MAX) {
        broken(call);
    } else if (as_expected(call, request->expect_compressed) && !status_asked(call, request->response_status)) {
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        char id[] = "weir";
        payload.body.len = (size_t)request->response_size;
        payload.body.data = calloc(1, payload.body.len + 1);
        response.payload = &payload;
        if (request->fill_server_id) response.server_id = id;
        size_t size = CODEC(simple_response__get_packed_size)(&response);
        uint8_t *body = malloc(5 + size);
        if (payload.body.data == NULL || body == NULL) abort();
        const uint8_t prefix[5] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                                   (uint8_t)size};
        memcpy(body, prefix, sizeof prefix);
        CODEC(simple_response__pack)(&response, body + 5);
        if (server.negative == NULL || !negative_call(server.negative, call, body, 5 + size)) {
            weir_grpc_gzip(call, request->response_compressed != NULL && request->response_compressed->value);
            weir_grpc_answer(call, body + 5, size);
            if (server.negative != NULL) negative_answered(server.negative, call);
        }
        free(body);
        free(payload.body.data);
    }
    if (request != NULL) CODEC(simple_request__free_unpacked)(request, NULL);
}

/* ---- streams out ---- */

struct stream {
    struct weir_timer pause; /* first */
    struct weir_grpc_call *call;
    struct answer {
        int32_t size, interval_us;
        bool compressed;
    } * answers; /* asked for and not sent: [at .. count) */
    size_t count, at;
    int64_t total; /* of StreamingInputCall */
    bool hold;     /* until the caller has ended its side: HalfDuplexCall */
    bool half_closed, paused;
};

static void stream_free(void *self) {
    struct stream *stream = self;
    weir_loop_unset(server.loop, &stream->pause);
    free(stream->answers);
    free(stream);
}

static void stream_go_on(struct stream *stream);
static void pause_over(struct weir_timer *timer) {
    struct stream *stream = (struct stream *)timer;
    stream->paused = true;
    stream_go_on(stream);
}

static struct stream *stream_of(struct weir_grpc_call *call) {
    struct stream *stream = weir_grpc_kept(call);
    if (stream != NULL) return stream;
    stream = calloc(1, sizeof *stream);
    if (stream == NULL) abort();
    stream->call = call;
    stream->pause.fire = pause_over;
    weir_grpc_keep(call, stream, stream_free);
    return stream;
}

static bool send_payload(struct stream *stream, const struct answer *answer) {
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    response.payload = &payload;
    payload.body.len = (size_t)answer->size;
    payload.body.data = calloc(1, payload.body.len + 1);
    size_t size = CODEC(streaming_output_call_response__get_packed_size)(&response);
    uint8_t *body = malloc(size + 1);
    if (payload.body.data == NULL || body == NULL) abort();
    CODEC(streaming_output_call_response__pack)(&response, body);
    weir_grpc_gzip(stream->call, answer->compressed);
    bool sent = weir_grpc_send(stream->call, body, size);
    free(body);
    free(payload.body.data);
    return sent;
}

static void stream_go_on(struct stream *stream) {
    if (stream->hold && !stream->half_closed) return;
    for (; stream->at < stream->count; stream->at++) {
        const struct answer *answer = &stream->answers[stream->at];
        if (weir_grpc_unsent(stream->call) > WEIR_GRPC_AHEAD_BYTES) return; /* room() comes */
        if (answer->interval_us > 0 && !stream->paused) {
            uint64_t due_ns = weir_loop_now(server.loop) + (uint32_t)answer->interval_us * WEIR_US;
            if (stream->pause.place == 0) weir_loop_set(server.loop, &stream->pause, due_ns);
            return;
        }
        stream->paused = false;
        if (!send_payload(stream, answer)) return;
    }
    if (stream->half_closed) weir_grpc_end(stream->call);
}

static void output_asked(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    struct stream *stream = stream_of(call);
    (void)self;
    Grpc__Testing__StreamingOutputCallRequest *request =
        CODEC(streaming_output_call_request__unpack)(NULL, (*message)->size, (*message)->bytes);
    if (request == NULL) {
        broken(call);
        return;
    }
    bool good = true;
    stream->answers =
        realloc(stream->answers, (stream->count + request->n_response_parameters + 1) * sizeof *stream->answers);
    if (stream->answers == NULL) abort();
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *asked = request->response_parameters[i];
        good = good && asked->size >= 0 && asked->size <= MESSAGE_BYTES_MAX;
        stream->answers[stream->count++] =
            (struct answer){asked->size, asked->interval_us, asked->compressed != NULL && asked->compressed->value};
    }
    if (!good) {
        broken(call);
    } else if (!status_asked(call, request->response_status)) {
        for (size_t i = stream->at; i < stream->count; i++)
            if (stream->answers[i].compressed) weir_grpc_gzip(call, true); /* announced, for whichever it is */
        stream_go_on(stream);
    }
    CODEC(streaming_output_call_request__free_unpacked)(request, NULL);
}

static void output_call(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    stream_of(call)->half_closed = true; /* the request is one message */
    output_asked(self, call, message);
}

static void half_duplex_asked(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    stream_of(call)->hold = true;
    output_asked(self, call, message);
}

static void output_half_closed(void *self, struct weir_grpc_call *call) {
    struct stream *stream = stream_of(call);
    (void)self;
    stream->half_closed = true;
    stream_go_on(stream);
}

static void output_room(void *self, struct weir_grpc_call *call) {
    (void)self;
    stream_go_on(stream_of(call));
}

static void output_gone(void *self, struct weir_grpc_call *call) {
    (void)self;
    weir_loop_unset(server.loop, &stream_of(call)->pause);
}

/* ---- streams in ---- */

static void input_came(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    (void)self;
    Grpc__Testing__StreamingInputCallRequest *request =
        CODEC(streaming_input_call_request__unpack)(NULL, (*message)->size, (*message)->bytes);
    if (request == NULL) {
        broken(call);
        return;
    }
    if (as_expected(call, request->expect_compressed) && request->payload != NULL)
        stream_of(call)->total += (int64_t)request->payload->body.len;
    CODEC(streaming_input_call_request__free_unpacked)(request, NULL);
}

static void input_half_closed(void *self, struct weir_grpc_call *call) {
    (void)self;
    Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    uint8_t body[32];
    response.aggregated_payload_size = (int32_t)stream_of(call)->total;
    weir_grpc_answer(call, body, CODEC(streaming_input_call_response__pack)(&response, body));
}

/* ---- the server ---- */

#define SERVICE "/grpc.testing.TestService/"
static const struct weir_grpc_method methods[] = {
    {.path = SERVICE "EmptyCall", .called = empty_call},
    {.path = SERVICE "UnaryCall", .called = unary_call},
    {.path = SERVICE "StreamingOutputCall", .called = output_call, .room = output_room, .gone = output_gone},
    {.path = SERVICE "StreamingInputCall", .called = input_came, .half_closed = input_half_closed},
    {.path = SERVICE "FullDuplexCall",
     .called = output_asked,
     .half_closed = output_half_closed,
     .room = output_room,
     .gone = output_gone},
    {.path = SERVICE "HalfDuplexCall",
     .called = half_duplex_asked,
     .half_closed = output_half_closed,
     .room = output_room,
     .gone = output_gone},
    {.path = NULL}, /* UnimplementedCall */
};

/* custom_metadata: what the caller sends under these names comes back. */
static void header_came(void *self, struct weir_grpc_call *call, const uint8_t *name, size_t name_size,
                        const uint8_t *value, size_t value_size) {
    static const char initial[] = "x-grpc-test-echo-initial", trailing[] = "x-grpc-test-echo-trailing-bin";
    (void)self;
    if (name_size == sizeof initial - 1 && memcmp(name, initial, name_size) == 0)
        weir_grpc_metadata(call, WEIR_GRPC_HEADER, name, name_size, value, value_size);
    if (name_size == sizeof trailing - 1 && memcmp(name, trailing, name_size) == 0)
        weir_grpc_metadata(call, WEIR_GRPC_TRAILER, name, name_size, value, value_size);
}

static void accepted(void *self, int fd) {
    (void)self;
    struct weir_stream *stream = server.negative != NULL ? negative_stream(server.negative, fd) : weir_stream_plain(fd);
    if (stream != NULL) weir_grpc_accept(server.grpc, stream);
}

static void look_whether_idle(struct weir_timer *timer) {
    if (weir_grpc_idle(server.grpc)) {
        weir_loop_stop(server.loop);
    } else {
        weir_loop_set(server.loop, timer, weir_loop_now(server.loop) + 20 * WEIR_MS);
    }
}

static void signalled(struct weir_watch *watch, uint32_t events) {
    struct signalfd_siginfo info;
    (void)events;
    if (read(watch->fd, &info, sizeof info) != sizeof info) return;
    weir_listener_stop(server.listener);
    weir_grpc_drain(server.grpc);
    look_whether_idle(&server.idle);
}

static void die(const char *what) {
    fprintf(stderr, "interop_server: %s\n", what);
    exit(2);
}

int main(int argc, char **argv) {
    struct weir_listen listen = {.host = "127.0.0.1", .on = true};
    struct weir_error err = {0};
    const char *negative = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) listen.port = (uint16_t)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--negative") == 0) negative = argv[i + 1];
    }
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    server.loop = weir_loop_new(&weir_clock_system, &err);
    if (server.loop == NULL) die(err.text);
    if (negative != NULL && (server.negative = negative_new(negative, server.loop)) == NULL) die("no such case");
    server.budget.limit_bytes = 64 << 20;
    server.idle.fire = look_whether_idle;
    server.signals = (struct weir_watch){.fd = signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC), .ready = signalled};
    struct weir_metrics *metrics = weir_metrics_new();
    const struct weir_grpc_options options = {
        .methods = methods, .budget = &server.budget, .max_message_bytes = MESSAGE_BYTES_MAX, .header = header_came};
    const uint32_t streams = server.negative != NULL ? negative_streams(server.negative, 100) : 100;
    const struct weir_http2_limits limits = {
        .max_connections = 100, .max_concurrent_streams = streams, .keepalive_min_ns = WEIR_S};
    if (weir_grpc_new(&server.grpc, server.loop, metrics, &options, &limits, &err) != WEIR_OK ||
        weir_listener_open(&server.listener, "interop", &listen, server.loop, accepted, NULL, &err) != WEIR_OK ||
        weir_listener_start(server.listener, &err) != WEIR_OK ||
        weir_loop_watch(server.loop, &server.signals, EPOLLIN, &err) != WEIR_OK)
        die(err.text);
    printf("listening on 127.0.0.1:%u\n", weir_listener_port(server.listener));
    fflush(stdout);
    weir_loop_run(server.loop);

    weir_grpc_free(server.grpc);
    weir_listener_close(server.listener);
    weir_loop_unwatch(server.loop, &server.signals);
    close(server.signals.fd);
    weir_loop_free(server.loop);
    weir_metrics_free(metrics);
    const char *verdict = server.negative != NULL ? negative_verdict(server.negative) : NULL;
    if (verdict != NULL) fprintf(stderr, "interop_server: %s: %s\n", negative, verdict);
    if (server.budget.used_bytes != 0)
        fprintf(stderr, "interop_server: %zu bytes were not given back\n", server.budget.used_bytes);
    negative_free(server.negative);
    return verdict != NULL || server.budget.used_bytes != 0;
}
