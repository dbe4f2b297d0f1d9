/* scribe.c - Scribe over TCP, framed, as Linkerd 1 and Finagle send their spans. A call is answered as soon as its
 * spans are owned, whatever the back ends do: Finagle's client waits for 100 ms, and what it gives up it does not send
 * again (linkerd telemetry/zipkin ZipkinTracer.scala). Answers leave in the order of the calls. */
#include "collector/decode/scribe.h"
#include "collector/core/log.h"
#include "collector/receive/linger.h"
#include "collector/receive/listener.h"
#include "collector/receive/pace.h"
#include "collector/receive/receiver.h"
#include "collector/receive/stream.h"
#include "collector/receive/tls.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    READ_BYTES = 256 * 1024, /* a round's share of one connection */
    FRAME_BYTES = 64 * 1024, /* room for a frame at first; it grows as bytes come, whatever its length says */
    HEAD_BYTES = 128,        /* kept of a frame that there is no room for: to answer it */
    OUT_BYTES = 64 * 1024,   /* of answers that are not read: then no more calls are */
    STALL_S = 30,            /* a frame of which nothing comes, answers that nobody reads */
    STOPPING_STALL_S = 1,    /* the same once we are told to end */
    STOPPING_SHARES = 64,    /* of one connection are read then */
    CHORE_MS = 1000,
};

enum { OPEN, ACCEPTED, REFUSED, CALLS_OK, CALLS_LATER, CALLS_UNKNOWN, CALLS_BROKEN, OTHER_ENTRIES, METRICS };
#define CALLS(text)                                                                                                    \
    { "scribe_calls_total", "result=\"" text "\"", WEIR_COUNTER, "Scribe calls, by how they were answered." }
static const struct weir_metric metrics[METRICS] = {
    [OPEN] = {"scribe_connections", NULL, WEIR_GAUGE, "Scribe connections that are open."},
    [ACCEPTED] = {"scribe_connections_total", "outcome=\"accepted\"", WEIR_COUNTER,
                  "Scribe connections that came, by outcome; refused ones met max_connections."},
    [REFUSED] = {"scribe_connections_total", "outcome=\"refused\"", WEIR_COUNTER,
                 "Scribe connections that came, by outcome; refused ones met max_connections."},
    [CALLS_OK] = CALLS("ok"),
    [CALLS_LATER] = CALLS("try_later"),
    [CALLS_UNKNOWN] = CALLS("unknown_method"),
    [CALLS_BROKEN] = CALLS("broken"),
    [OTHER_ENTRIES] = {"scribe_other_entries_total", NULL, WEIR_COUNTER,
                       "Log entries of another category than zipkin, which are not taken."},
};

struct connection {
    struct weir_watch watch; /* first */
    struct scribe *scribe;
    struct connection *next, **slot;
    struct weir_stream *stream;
    struct weir_batch *frame; /* NULL: none is being read, or there is no room for it */
    uint8_t head[HEAD_BYTES]; /* the length, then the first bytes of a frame without room */
    uint32_t head_size;       /* bytes of the length that are there: 0 to 4 */
    uint32_t frame_size, got; /* of the frame being read */
    struct weir_buffer out;
    size_t out_at;
    uint64_t moved_ns; /* when something was last read or written */
    uint64_t began_ns; /* when the frame's length was there */
    uint32_t events;
    bool spoke;  /* a byte of a frame has come; under TLS, after its handshake */
    bool ending; /* after what is in `out` */
};

struct scribe {
    struct weir_sink sink;
    struct weir_loop *loop;
    struct weir_listener *listener;
    struct weir_linger *linger;
    struct weir_tls *tls; /* NULL: plain */
    struct weir_metrics *registry;
    struct weir_metric_set *set;
    struct weir_otlp *otlp;
    struct weir_scribe *decoder;
    struct connection *first;
    struct weir_timer chores;
    uint32_t count, max_connections;
    uint64_t max_frame_bytes;
    bool stopping;
    uint8_t read[READ_BYTES];
};

static void end(struct connection *connection) {
    struct scribe *scribe = connection->scribe;
    int fd = -1;
    weir_loop_unwatch(scribe->loop, &connection->watch);
    /* It was we who ended it, and it may still send: what it was answered must reach it. */
    if (connection->ending) fd = fcntl(connection->watch.fd, F_DUPFD_CLOEXEC, 0);
    connection->stream->kind->close(connection->stream);
    if (fd >= 0) weir_linger_take(scribe->linger, fd);
    *connection->slot = connection->next;
    if (connection->next != NULL) connection->next->slot = connection->slot;
    weir_gauge(scribe->set, OPEN, --scribe->count);
    weir_batch_unref(connection->frame);
    weir_buffer_free(&connection->out);
    free(connection);
}

/* ---- a call ---- */

static void take_spans(struct connection *connection, const struct weir_scribe_call *call, struct weir_batch **spans,
                       const struct weir_otlp_counts *counts) {
    struct scribe *scribe = connection->scribe;
    enum weir_scribe_result result = WEIR_SCRIBE_OK;
    if ((*spans)->span_count > 0 && scribe->sink.spans(scribe->sink.self, WEIR_RECEIVER_SCRIBE, spans) != WEIR_OK)
        result = WEIR_SCRIBE_TRY_LATER;
    if (result == WEIR_SCRIBE_OK && counts->skipped > 0) { /* one that is refused comes again */
        static struct weir_log_limit limit;
        scribe->sink.spans_refused(scribe->sink.self, WEIR_RECEIVER_SCRIBE, WEIR_REFUSED_INVALID, counts->skipped);
        weir_count(scribe->set, OTHER_ENTRIES, call->other);
        weir_log_limited(&limit, WEIR_LOG_WARN, "scribe_entries_refused count=%u first=\"%s\"", counts->skipped,
                         counts->skipped_reason);
    }
    weir_count(scribe->set, result == WEIR_SCRIBE_OK ? CALLS_OK : CALLS_LATER, 1);
    if (!call->oneway) weir_scribe_answer(&connection->out, call, result);
}

static void answer_broken(struct connection *connection, const struct weir_scribe_call *call, const char *why) {
    static struct weir_log_limit limit;
    weir_count(connection->scribe->set, CALLS_BROKEN, 1);
    weir_log_limited(&limit, WEIR_LOG_WARN, "scribe_call_broken reason=\"%s\"", why);
    if (call->name[0] != 0) weir_scribe_refuse(&connection->out, call, WEIR_SCRIBE_PROTOCOL_ERROR, why);
    connection->ending = true; /* who writes broken thrift once may have lost its place */
}

/* The frame is whole. */
static void take_call(struct connection *connection) {
    struct scribe *scribe = connection->scribe;
    struct weir_scribe_call call;
    struct weir_otlp_counts counts;
    struct weir_error err = {0};
    struct weir_batch *frame = connection->frame;
    struct weir_batch *spans = frame == NULL ? NULL : weir_batch_new(scribe->sink.budget, frame->size);
    enum weir_status status = WEIR_FULL;
    if (spans != NULL) {
        status = weir_scribe_decode(scribe->decoder, frame->bytes, frame->size, WEIR_RECEIVER_SCRIBE, spans, &call,
                                    &counts, &err);
    } else {
        const uint8_t *bytes = frame != NULL ? frame->bytes : connection->head;
        size_t size = connection->got < HEAD_BYTES ? connection->got : HEAD_BYTES;
        if (!weir_scribe_head(bytes, size, &call))
            status = weir_fail(&err, WEIR_INVALID, 0, false, "byte 0: not a call");
        else if (!call.is_log)
            status = weir_fail(&err, WEIR_UNSUPPORTED, 0, false, "unknown method: %s", call.name);
    }
    weir_batch_unref(frame);
    connection->frame = NULL;
    switch (status) {
    case WEIR_OK:
        if (spans != NULL) take_spans(connection, &call, &spans, &counts);
        break;
    case WEIR_FULL:
        weir_count(scribe->set, CALLS_LATER, 1);
        if (!call.oneway) weir_scribe_answer(&connection->out, &call, WEIR_SCRIBE_TRY_LATER);
        break;
    case WEIR_UNSUPPORTED: { /* Finagle's first call asks whether we speak TTwitter: this says that we do not */
        char text[WEIR_SCRIBE_NAME_MAX + 32];
        snprintf(text, sizeof text, "unknown method: %s", call.name);
        weir_count(scribe->set, CALLS_UNKNOWN, 1);
        if (!call.oneway) weir_scribe_refuse(&connection->out, &call, WEIR_SCRIBE_UNKNOWN_METHOD, text);
        break;
    }
    default: answer_broken(connection, &call, err.text);
    }
    weir_batch_unref(spans);
}

/* ---- bytes ---- */

/* The length is there. */
static void begin_frame(struct connection *connection) {
    struct scribe *scribe = connection->scribe;
    uint32_t size;
    memcpy(&size, connection->head, 4);
    size = __builtin_bswap32(size);
    if (size == 0 || size > scribe->max_frame_bytes) {
        static struct weir_log_limit limit;
        weir_count(scribe->set, CALLS_BROKEN, 1);
        weir_log_limited(&limit, WEIR_LOG_WARN, "scribe_frame_refused bytes=%u max=%llu", size,
                         (unsigned long long)scribe->max_frame_bytes);
        connection->ending = true;
        return;
    }
    connection->frame_size = size;
    connection->got = 0;
    connection->began_ns = weir_loop_now(scribe->loop);
    connection->frame = weir_batch_new(scribe->sink.budget, size < FRAME_BYTES ? size : FRAME_BYTES);
}

/* As much of the bytes as belongs to the frame. */
static size_t read_frame(struct connection *connection, const uint8_t *bytes, size_t size) {
    size_t left = connection->frame_size - connection->got, take = size < left ? size : left;
    struct weir_batch *frame = connection->frame;
    if (frame != NULL && frame->capacity - frame->size < take) {
        size_t more = frame->capacity > take ? frame->capacity : take;
        if (more > left) more = left;
        if (weir_batch_room(frame, more) != WEIR_OK) { /* read on, to answer that there is no room */
            memcpy(connection->head, frame->bytes, frame->size < HEAD_BYTES ? frame->size : HEAD_BYTES);
            weir_batch_unref(frame);
            frame = connection->frame = NULL;
        }
    }
    if (frame != NULL) {
        memcpy(frame->bytes + frame->size, bytes, take);
        frame->size += take;
    } else if (connection->got < HEAD_BYTES) {
        size_t head = HEAD_BYTES - connection->got;
        memcpy(connection->head + connection->got, bytes, head < take ? head : take);
    }
    connection->got += (uint32_t)take;
    return take;
}

/* False: the connection has to end. */
static bool read_bytes(struct connection *connection, const uint8_t *bytes, size_t size) {
    while (size > 0 && !connection->ending) {
        if (connection->head_size < 4) {
            connection->head[connection->head_size++] = *bytes++;
            size--;
            if (connection->head_size == 4) begin_frame(connection);
            continue;
        }
        size_t took = read_frame(connection, bytes, size);
        bytes += took;
        size -= took;
        if (connection->got < connection->frame_size) continue;
        take_call(connection);
        connection->head_size = 0;
    }
    return !connection->out.failed;
}

static bool write_out(struct connection *connection) {
    struct weir_buffer *out = &connection->out;
    while (connection->out_at < out->size) {
        ssize_t n = connection->stream->kind->write(connection->stream, out->bytes + connection->out_at,
                                                    out->size - connection->out_at);
        if (n == WEIR_STREAM_LATER) return true;
        if (n < 0) return false;
        connection->out_at += (size_t)n;
        connection->moved_ns = weir_loop_now(connection->scribe->loop);
    }
    connection->out_at = 0;
    weir_buffer_clear(out);
    return true;
}

static bool reads_on(const struct connection *connection) {
    return !connection->ending && connection->out.size - connection->out_at < OUT_BYTES;
}

static void watch_again(struct connection *connection) {
    uint32_t events = connection->stream->kind->wants(connection->stream);
    if (events == 0) {
        if (reads_on(connection)) events |= EPOLLIN;
        if (connection->out.size > connection->out_at) events |= EPOLLOUT;
    }
    if (events != connection->events) weir_loop_rewatch(connection->scribe->loop, &connection->watch, events);
    connection->events = events;
}

/* One round's share. True: there may be more, and the connection is still there. */
static bool serve(struct connection *connection, uint32_t events) {
    struct scribe *scribe = connection->scribe;
    bool open = (events & EPOLLERR) == 0;
    size_t total = 0;
    while (open && total < READ_BYTES && reads_on(connection)) {
        ssize_t n = connection->stream->kind->read(connection->stream, scribe->read, READ_BYTES - total);
        if (n == WEIR_STREAM_LATER) break;
        if (n <= 0) {
            open = false;
            break;
        }
        connection->moved_ns = weir_loop_now(scribe->loop);
        connection->spoke = true;
        open = read_bytes(connection, scribe->read, (size_t)n);
        total += (size_t)n;
    }
    bool more = total >= READ_BYTES;
    if (scribe->stopping && connection->head_size == 0 && !more) connection->ending = true;
    /* A peer that half-closed still reads its answers. */
    bool written = write_out(connection);
    if (!open || !written || (connection->ending && connection->out.size == 0)) {
        end(connection);
        return false;
    }
    watch_again(connection);
    return more;
}

static void ready(struct weir_watch *watch, uint32_t events) {
    serve((struct connection *)watch, events);
}

/* ---- the lane's connections ---- */

static void accepted(void *self, int fd) {
    struct scribe *scribe = self;
    struct weir_stream *stream = weir_tls_stream(scribe->tls, fd);
    if (stream == NULL) return;
    struct connection *connection = scribe->count < scribe->max_connections ? calloc(1, sizeof *connection) : NULL;
    weir_count(scribe->set, connection != NULL ? ACCEPTED : REFUSED, 1);
    if (connection == NULL) {
        stream->kind->close(stream);
        return;
    }
    connection->watch = (struct weir_watch){.fd = stream->kind->fd(stream), .ready = ready};
    connection->scribe = scribe;
    connection->stream = stream;
    connection->moved_ns = weir_loop_now(scribe->loop);
    connection->events = EPOLLIN;
    if (weir_loop_watch(scribe->loop, &connection->watch, EPOLLIN, NULL) != WEIR_OK) {
        stream->kind->close(stream);
        free(connection);
        return;
    }
    connection->next = scribe->first;
    connection->slot = &scribe->first;
    if (connection->next != NULL) connection->next->slot = &connection->next;
    scribe->first = connection;
    weir_gauge(scribe->set, OPEN, ++scribe->count);
}

/* Ends those that stalled in the middle of a frame or of their answers, and those that never said anything; between
 * calls a client may rest. */
static void chores(struct weir_timer *timer) {
    struct scribe *scribe = (struct scribe *)((char *)timer - offsetof(struct scribe, chores));
    uint64_t now_ns = weir_loop_now(scribe->loop), stall_s = scribe->stopping ? STOPPING_STALL_S : STALL_S;
    for (struct connection *connection = scribe->first, *next; connection != NULL; connection = next) {
        next = connection->next;
        bool busy = connection->head_size > 0 || connection->out.size > 0 || connection->ending || !connection->spoke;
        bool still = busy && now_ns - connection->moved_ns > stall_s * WEIR_S;
        bool slow = connection->head_size == 4 &&
                    weir_pace_is_slow(connection->began_ns, now_ns, STALL_S * WEIR_S, connection->got);
        if (still || slow) end(connection);
    }
    weir_loop_set(scribe->loop, timer, now_ns + CHORE_MS * WEIR_MS);
}

/* ---- the receiver ---- */

static void close_all(void *self) {
    struct scribe *scribe = self;
    if (scribe == NULL) return;
    for (struct connection *connection = scribe->first, *next; connection != NULL; connection = next) {
        next = connection->next;
        end(connection);
    }
    if (scribe->loop != NULL) weir_loop_unset(scribe->loop, &scribe->chores);
    weir_listener_close(scribe->listener);
    weir_linger_free(scribe->linger);
    weir_tls_close(scribe->tls);
    weir_scribe_free(scribe->decoder);
    weir_otlp_free(scribe->otlp);
    weir_metrics_close(scribe->registry, scribe->set);
    free(scribe);
}

static void reload(void *self, const struct weir_config *config) {
    struct scribe *scribe = self;
    weir_otlp_set_rules(scribe->otlp, config->rules);
    scribe->max_frame_bytes = config->scribe.max_frame_bytes;
    scribe->max_connections = config->scribe.max_connections;
    weir_tls_refresh(scribe->tls);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct scribe *scribe = calloc(1, sizeof *scribe);
    if (scribe == NULL) return weir_fail(err, WEIR_FULL, 0, false, "scribe: out of memory");
    scribe->sink = env->sink;
    scribe->loop = env->loop;
    scribe->registry = env->metrics;
    scribe->chores.fire = chores;
    scribe->set = weir_metrics_open(env->metrics, metrics, METRICS, NULL);
    scribe->otlp = weir_otlp_new(env->names);
    if (scribe->otlp != NULL) scribe->decoder = weir_scribe_new(scribe->otlp);
    scribe->linger = weir_linger_new(env->loop);
    enum weir_status status = WEIR_OK;
    if (scribe->set == NULL || scribe->decoder == NULL || scribe->linger == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "scribe: out of memory");
    if (status == WEIR_OK) status = weir_tls_open(&scribe->tls, "scribe", &config->scribe.tls, NULL, env->metrics, err);
    if (status == WEIR_OK) {
        reload(scribe, config);
        status =
            weir_listener_open(&scribe->listener, "scribe", &config->scribe.listen, env->loop, accepted, scribe, err);
    }
    if (status != WEIR_OK) {
        close_all(scribe);
        return status;
    }
    *self = scribe;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    struct scribe *scribe = self;
    weir_loop_set(scribe->loop, &scribe->chores, weir_loop_now(scribe->loop) + CHORE_MS * WEIR_MS);
    weir_tls_watch(scribe->tls, scribe->loop);
    return weir_listener_start(scribe->listener, err);
}

/* What was sent before we stopped is still read: a client that hears nothing has lost it. */
static void stop(void *self) {
    struct scribe *scribe = self;
    scribe->stopping = true;
    weir_listener_stop(scribe->listener);
    for (struct connection *connection = scribe->first, *next; connection != NULL; connection = next) {
        next = connection->next;
        for (int share = 1; serve(connection, EPOLLIN) && share < STOPPING_SHARES; share++)
            continue;
    }
}

static bool idle(void *self) {
    return ((struct scribe *)self)->count == 0;
}

const struct weir_receiver weir_receive_scribe = {
    .name = "scribe",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
