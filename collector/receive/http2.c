#include "collector/receive/http2.h"
#include "collector/core/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    READ_BYTES = 256 * 1024,     /* a round's share of one connection */
    WRITE_BYTES = 64 * 1024,     /* gathered before a write; what waits for a slow reader is hardly more */
    STREAM_WINDOW = 1024 * 1024, /* a request of 100 spans is 40 KiB: a sender never waits for us because of it */
    CONNECTION_WINDOW = 4 * 1024 * 1024,
    FRAME_BYTES = 256 * 1024, /* SETTINGS_MAX_FRAME_SIZE: fewer frames for large requests */
    HEADER_BYTES = 32 * 1024, /* of one request, names and values; gRPC suggests 8 KiB */
    PREFACE_S = 10,           /* to say that it speaks HTTP/2 at all */
    STALL_S = 30,             /* a request of which nothing comes, an answer of which nothing is read */
    STALL_BYTES = 4096,       /* fewer in so long are nothing, unless the request ends with them */
    CHORE_MS = 1000,
    DRAIN_CHORE_MS = 50,
    /* After the last GOAWAY and the last answer: a socket closed over unread bytes takes what is on its way with it
     * (RFC 9113 5.4.1), so that for a while what comes is read and thrown away. */
    LINGER_MS = 200,
    PING_STRIKES = 2, /* gRPC core's default; the third one is too many */
    RESETS_BURST = 1000,
    RESETS_A_SECOND = 100, /* CVE-2023-44487: streams opened only to be reset */
};

enum { OPEN, ACCEPTED, REFUSED, BYTES_IN, BYTES_OUT, GOAWAYS, PROTOCOL_ERRORS, METRICS };
static const struct weir_metric metrics[METRICS] = {
    [OPEN] = {"grpc_connections", NULL, WEIR_GAUGE, "gRPC connections that are open."},
    [ACCEPTED] = {"grpc_connections_total", "outcome=\"accepted\"", WEIR_COUNTER,
                  "gRPC connections that came, by outcome; refused ones met max_connections."},
    [REFUSED] = {"grpc_connections_total", "outcome=\"refused\"", WEIR_COUNTER,
                 "gRPC connections that came, by outcome; refused ones met max_connections."},
    [BYTES_IN] = {"grpc_received_bytes_total", NULL, WEIR_COUNTER, "Bytes read from gRPC connections."},
    [BYTES_OUT] = {"grpc_sent_bytes_total", NULL, WEIR_COUNTER, "Bytes written to gRPC connections."},
    [GOAWAYS] = {"grpc_too_many_pings_total", NULL, WEIR_COUNTER,
                 "gRPC connections ended because they sent PINGs more often than keepalive_min."},
    [PROTOCOL_ERRORS] = {"grpc_protocol_errors_total", NULL, WEIR_COUNTER,
                         "gRPC connections ended because what they sent was not HTTP/2."},
};

struct weir_http2_lane {
    struct weir_loop *loop;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
    struct weir_http2_handler handler;
    struct weir_http2_limits limits;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct weir_http2 *first;
    uint32_t count;
    struct weir_timer chores;
    bool draining;
    uint8_t read[READ_BYTES];
};

/* How far the end of a connection is: the first GOAWAY says that one is coming, and a PING finds out when the peer
 * knows. */
enum ending { NOT_ENDING, ANNOUNCED, GONE_AWAY };

struct weir_http2 {
    struct weir_watch watch; /* first */
    struct weir_mail flush;
    bool flush_posted, dead;
    enum ending ending;
    uint32_t events; /* that the loop waits for */
    struct weir_http2_lane *lane;
    struct weir_http2 *next, **slot;
    struct weir_stream *stream;
    nghttp2_session *session;
    struct weir_http2_request *requests;
    uint8_t *out; /* gathered and not written */
    size_t out_size, out_at, out_capacity;
    uint64_t born_ns, wrote_ns, pinged_ns;
    uint64_t ended_ns; /* of `ending`, or of the last request since */
    uint32_t strikes;
    bool spoke; /* the preface and the first SETTINGS came */
};

static uint64_t now_of(const struct weir_http2 *connection) {
    return weir_loop_now(connection->lane->loop);
}

/* ---- the end of a connection ---- */

static void forget_request(struct weir_http2_request *request) {
    *request->slot = request->next;
    if (request->next != NULL) request->next->slot = request->slot;
    request->connection = NULL;
}

static void release(struct weir_http2 *connection) {
    free(connection->out);
    free(connection);
}

/* Closes; the memory lives until the letter on its way has come. */
static void end(struct weir_http2 *connection) {
    struct weir_http2_lane *lane = connection->lane;
    if (connection->dead) return;
    connection->dead = true;
    while (connection->requests != NULL) {
        struct weir_http2_request *request = connection->requests;
        forget_request(request);
        lane->handler.gone(request);
    }
    nghttp2_session_del(connection->session);
    weir_loop_unwatch(lane->loop, &connection->watch);
    connection->stream->kind->close(connection->stream);
    *connection->slot = connection->next;
    if (connection->next != NULL) connection->next->slot = connection->slot;
    lane->count--;
    weir_gauge(lane->set, OPEN, lane->count);
    if (!connection->flush_posted) release(connection);
}

/* ---- writing ---- */

/* Writes what is gathered. False: the connection broke. */
static bool drain_out(struct weir_http2 *connection) {
    while (connection->out_at < connection->out_size) {
        ssize_t n = connection->stream->kind->write(connection->stream, connection->out + connection->out_at,
                                                    connection->out_size - connection->out_at);
        if (n == WEIR_STREAM_LATER) return true;
        if (n < 0) return false;
        connection->out_at += (size_t)n;
        connection->wrote_ns = now_of(connection);
        weir_count(connection->lane->set, BYTES_OUT, (uint64_t)n);
    }
    connection->out_at = connection->out_size = 0;
    return true;
}

static bool gather(struct weir_http2 *connection, const uint8_t *bytes, size_t size) {
    size_t want = connection->out_size + size;
    if (want > connection->out_capacity) {
        size_t capacity = want < WRITE_BYTES ? WRITE_BYTES : want;
        uint8_t *out = realloc(connection->out, capacity);
        if (out == NULL) return false;
        connection->out = out;
        connection->out_capacity = capacity;
    }
    memcpy(connection->out + connection->out_size, bytes, size);
    connection->out_size += size;
    return true;
}

static bool write_all(struct weir_http2 *connection) {
    if (!drain_out(connection)) return false;
    while (connection->out_size == 0) { /* else the peer is slow: nothing more is made for it */
        const uint8_t *bytes;
        ssize_t n;
        connection->wrote_ns = now_of(connection);
        while (connection->out_size < WRITE_BYTES && (n = nghttp2_session_mem_send(connection->session, &bytes)) != 0) {
            if (n < 0 || !gather(connection, bytes, (size_t)n)) return false;
        }
        if (connection->out_size == 0) return true;
        if (!drain_out(connection)) return false;
    }
    return true;
}

/* A GOAWAY was sent, what was under way is answered, and all of it is written. */
static bool is_over(const struct weir_http2 *connection) {
    return connection->out_size == 0 && !nghttp2_session_want_read(connection->session) &&
           !nghttp2_session_want_write(connection->session);
}

/* Writes, then waits for what is next, or ends. The connection may be gone afterwards. */
static void settle(struct weir_http2 *connection) {
    if (!write_all(connection)) {
        end(connection);
        return;
    }
    if (is_over(connection) && connection->ending != GONE_AWAY) { /* by a GOAWAY of nghttp2's or the peer's */
        connection->ending = GONE_AWAY;
        connection->ended_ns = now_of(connection);
    }
    uint32_t wants = connection->stream->kind->wants(connection->stream);
    if (wants == 0) wants = connection->out_size > 0 ? EPOLLOUT : EPOLLIN; /* who does not read is not read from */
    if (wants != connection->events) weir_loop_rewatch(connection->lane->loop, &connection->watch, wants);
    connection->events = wants;
}

static void flush_due(struct weir_mail *mail) {
    struct weir_http2 *connection = (struct weir_http2 *)((char *)mail - offsetof(struct weir_http2, flush));
    connection->flush_posted = false;
    if (connection->dead) {
        release(connection);
    } else {
        settle(connection);
    }
}

void weir_http2_flush(struct weir_http2 *connection) {
    if (connection->flush_posted || connection->dead) return;
    connection->flush_posted = true;
    weir_mailbox_post(weir_loop_mailbox(connection->lane->loop), &connection->flush);
}

nghttp2_session *weir_http2_session(struct weir_http2 *connection) {
    return connection->session;
}

int weir_http2_fd(const struct weir_http2 *connection) {
    return connection->stream->kind->fd(connection->stream);
}

/* ---- reading ---- */

static void ready(struct weir_watch *watch, uint32_t events) {
    struct weir_http2 *connection = (struct weir_http2 *)watch;
    struct weir_http2_lane *lane = connection->lane;
    if (connection->out_size == 0 || (events & (EPOLLHUP | EPOLLERR)) != 0) {
        ssize_t n = connection->stream->kind->read(connection->stream, lane->read, sizeof lane->read);
        if (n == WEIR_STREAM_END || n == WEIR_STREAM_BROKEN) {
            end(connection);
            return;
        }
        if (n > 0) {
            weir_count(lane->set, BYTES_IN, (uint64_t)n);
            ssize_t took = nghttp2_session_mem_recv(connection->session, lane->read, (size_t)n);
            if (took < 0) {
                /* Not HTTP/2, or out of memory. nghttp2 has queued a GOAWAY where that makes sense; it is sent as far
                 * as it goes. */
                weir_count(lane->set, PROTOCOL_ERRORS, 1);
                if (took == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
                    nghttp2_session_terminate_session(connection->session, NGHTTP2_PROTOCOL_ERROR);
                write_all(connection);
                end(connection);
                return;
            }
        }
    }
    settle(connection);
}

/* ---- nghttp2's callbacks ---- */

static struct weir_http2_request *request_of(nghttp2_session *session, int32_t stream_id) {
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct weir_http2 *connection = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct weir_http2_request *request = connection->lane->handler.begin(connection->lane->handler.self);
    if (request == NULL) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    request->connection = connection;
    request->stream_id = frame->hd.stream_id;
    request->heard_ns = now_of(connection);
    request->next = connection->requests;
    request->slot = &connection->requests;
    if (request->next != NULL) request->next->slot = &request->next;
    connection->requests = request;
    connection->strikes = 0;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, request);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    struct weir_http2 *connection = user;
    struct weir_http2_request *request = request_of(session, frame->hd.stream_id);
    (void)flags;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST || request == NULL) return 0;
    return connection->lane->handler.header(request, name, name_size, value, value_size)
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes, size_t size,
                         void *user) {
    struct weir_http2 *connection = user;
    struct weir_http2_request *request = request_of(session, stream_id);
    (void)flags;
    nghttp2_session_consume_connection(session, size); /* who pauses holds up its own stream, not the others */
    if (request == NULL) {
        nghttp2_session_consume_stream(session, stream_id, size);
        return 0;
    }
    request->heard_bytes += size;
    if (request->heard_bytes >= STALL_BYTES) {
        request->heard_ns = now_of(connection);
        request->heard_bytes = 0;
    }
    connection->lane->handler.data(request, bytes, size);
    if (request->paused) {
        request->unconsumed_bytes += size;
    } else {
        nghttp2_session_consume_stream(session, stream_id, size);
    }
    return 0;
}

void weir_http2_resume(struct weir_http2_request *request) {
    request->paused = false;
    if (request->unconsumed_bytes == 0) return;
    nghttp2_session_consume_stream(request->connection->session, request->stream_id, request->unconsumed_bytes);
    request->unconsumed_bytes = 0;
    weir_http2_flush(request->connection);
}

void weir_http2_each(struct weir_http2_lane *lane, void (*visit)(struct weir_http2_request *request)) {
    for (struct weir_http2 *connection = lane->first; connection != NULL; connection = connection->next) {
        for (struct weir_http2_request *request = connection->requests, *next; request != NULL; request = next) {
            next = request->next;
            visit(request);
        }
    }
}

static void ping_came(struct weir_http2 *connection) {
    uint64_t now_ns = now_of(connection), since_ns = now_ns - connection->pinged_ns;
    if (connection->ending == GONE_AWAY) return; /* it was told already */
    bool first = connection->pinged_ns == 0;
    connection->pinged_ns = now_ns;
    /* grpc-go, Java and C++ send PINGs beside data to measure the path: only those of a connection without streams
     * count. */
    if (connection->requests != NULL || first || since_ns >= connection->lane->limits.keepalive_min_ns) return;
    if (++connection->strikes <= PING_STRIKES) return;
    static const char why[] = "too_many_pings"; /* grpc doc/keepalive.md: clients know these words */
    weir_count(connection->lane->set, GOAWAYS, 1);
    nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(connection->session), NGHTTP2_ENHANCE_YOUR_CALM,
                          (const uint8_t *)why, sizeof why - 1);
    connection->ending = GONE_AWAY;
    connection->ended_ns = now_ns;
}

static void go_away(struct weir_http2 *connection) {
    nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(connection->session), NGHTTP2_NO_ERROR, NULL, 0);
    connection->ending = GONE_AWAY;
    connection->ended_ns = now_of(connection);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct weir_http2 *connection = user;
    struct weir_http2_handler *handler = &connection->lane->handler;
    connection->spoke = true;
    switch (frame->hd.type) {
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            ping_came(connection);
        } else if (connection->ending == ANNOUNCED) {
            go_away(connection);
        }
        return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: break;
    default: return 0;
    }
    struct weir_http2_request *request = request_of(session, frame->hd.stream_id);
    if (request == NULL) return 0;
    request->half_closed = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) handler->headers_end(request);
    if (request->half_closed) handler->end(request);
    return 0;
}

/* An answer that is complete before its request is: the rest of the request is not wanted (RFC 9113 8.1). */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    struct weir_http2_request *request = request_of(session, frame->hd.stream_id);
    if (request != NULL && !request->half_closed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user) {
    struct weir_http2 *connection = user;
    struct weir_http2_request *request = request_of(session, stream_id);
    (void)error_code;
    if (request == NULL) return 0;
    forget_request(request);
    connection->lane->handler.gone(request);
    if (connection->ending == GONE_AWAY) connection->ended_ns = now_of(connection);
    return 0;
}

/* ---- patience ---- */

static void look_after(struct weir_http2 *connection) {
    uint64_t now_ns = now_of(connection), stall_ns = STALL_S * WEIR_S;
    struct weir_http2_lane *lane = connection->lane;
    bool silent = !connection->spoke && now_ns - connection->born_ns > PREFACE_S * WEIR_S;
    bool unread = connection->out_size > 0 && now_ns - connection->wrote_ns > stall_ns;
    bool over =
        connection->ending == GONE_AWAY && is_over(connection) && now_ns - connection->ended_ns > LINGER_MS * WEIR_MS;
    if (silent || unread || over) {
        end(connection);
        return;
    }
    if (connection->ending == ANNOUNCED && now_ns - connection->ended_ns > WEIR_S)
        go_away(connection); /* no answer to the PING */
    for (struct weir_http2_request *request = connection->requests, *next; request != NULL; request = next) {
        next = request->next;
        if (now_ns - request->heard_ns > stall_ns) lane->handler.stalled(request);
    }
    weir_http2_flush(connection);
}

static void chores_due(struct weir_timer *timer) {
    struct weir_http2_lane *lane = (struct weir_http2_lane *)((char *)timer - offsetof(struct weir_http2_lane, chores));
    for (struct weir_http2 *connection = lane->first, *next; connection != NULL; connection = next) {
        next = connection->next;
        look_after(connection);
    }
    if (lane->first != NULL)
        weir_loop_set(lane->loop, timer,
                      weir_loop_now(lane->loop) + (lane->draining ? DRAIN_CHORE_MS : CHORE_MS) * WEIR_MS);
}

/* ---- the beginning ---- */

static nghttp2_session_callbacks *callbacks_new(void) {
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

enum weir_status weir_http2_lane_new(struct weir_http2_lane **out, struct weir_loop *loop,
                                     struct weir_metrics *registry, const struct weir_http2_handler *handler,
                                     const struct weir_http2_limits *limits, struct weir_error *err) {
    struct weir_http2_lane *lane = malloc(sizeof *lane);
    if (lane == NULL) return weir_fail(err, WEIR_FULL, 0, false, "http2: out of memory");
    memset(lane, 0, offsetof(struct weir_http2_lane, read)); /* pages of `read` that no request fills cost nothing */
    lane->loop = loop;
    lane->registry = registry;
    lane->handler = *handler;
    lane->limits = *limits;
    lane->chores.fire = chores_due;
    lane->set = weir_metrics_open(registry, metrics, METRICS, NULL);
    lane->callbacks = callbacks_new();
    if (lane->set == NULL || lane->callbacks == NULL || nghttp2_option_new(&lane->option) != 0) {
        weir_http2_lane_free(lane);
        return weir_fail(err, WEIR_FULL, 0, false, "http2: out of memory");
    }
    nghttp2_option_set_no_auto_window_update(lane->option, 1); /* on_data_chunk() */
    nghttp2_option_set_stream_reset_rate_limit(lane->option, RESETS_BURST, RESETS_A_SECOND);
    *out = lane;
    return WEIR_OK;
}

void weir_http2_set_limits(struct weir_http2_lane *lane, const struct weir_http2_limits *limits) {
    lane->limits = *limits;
}

static bool greet(struct weir_http2 *connection) {
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, connection->lane->limits.max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BYTES},
    };
    return nghttp2_session_server_new2(&connection->session, connection->lane->callbacks, connection,
                                       connection->lane->option) == 0 &&
           nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof settings[0]) == 0 &&
           nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0;
}

void weir_http2_accept(struct weir_http2_lane *lane, struct weir_stream *stream) {
    static struct weir_log_limit limit;
    if (lane->count >= lane->limits.max_connections || lane->draining) {
        weir_count(lane->set, REFUSED, 1);
        weir_log_limited(&limit, WEIR_LOG_WARN, "connection_refused receiver=grpc connections=%u max_connections=%u",
                         lane->count, lane->limits.max_connections);
        stream->kind->close(stream);
        return;
    }
    struct weir_http2 *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        stream->kind->close(stream);
        return;
    }
    connection->watch = (struct weir_watch){.fd = stream->kind->fd(stream), .ready = ready};
    connection->flush.deliver = flush_due;
    connection->lane = lane;
    connection->stream = stream;
    connection->born_ns = connection->wrote_ns = now_of(connection);
    connection->events = EPOLLIN;
    if (!greet(connection) || weir_loop_watch(lane->loop, &connection->watch, EPOLLIN, NULL) != WEIR_OK) {
        nghttp2_session_del(connection->session);
        stream->kind->close(stream);
        release(connection);
        return;
    }
    connection->next = lane->first;
    connection->slot = &lane->first;
    if (connection->next != NULL) connection->next->slot = &connection->next;
    lane->first = connection;
    lane->count++;
    weir_count(lane->set, ACCEPTED, 1);
    weir_gauge(lane->set, OPEN, lane->count);
    if (lane->chores.place == 0) weir_loop_set(lane->loop, &lane->chores, now_of(connection) + CHORE_MS * WEIR_MS);
    settle(connection); /* SETTINGS go first: grpc-go waits for them */
}

void weir_http2_drain(struct weir_http2_lane *lane) {
    lane->draining = true;
    for (struct weir_http2 *connection = lane->first; connection != NULL; connection = connection->next) {
        if (connection->ending != NOT_ENDING) continue;
        nghttp2_submit_shutdown_notice(connection->session);
        nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, NULL);
        connection->ending = ANNOUNCED;
        connection->ended_ns = now_of(connection);
        weir_http2_flush(connection);
    }
    if (lane->first != NULL)
        weir_loop_set(lane->loop, &lane->chores, weir_loop_now(lane->loop) + DRAIN_CHORE_MS * WEIR_MS);
}

bool weir_http2_idle(const struct weir_http2_lane *lane) {
    return lane->first == NULL;
}

void weir_http2_lane_free(struct weir_http2_lane *lane) {
    if (lane == NULL) return;
    while (lane->first != NULL) {
        struct weir_http2 *connection = lane->first;
        if (connection->ending == NOT_ENDING) nghttp2_session_terminate_session(connection->session, NGHTTP2_NO_ERROR);
        write_all(connection);
        end(connection);
    }
    weir_loop_unset(lane->loop, &lane->chores);
    nghttp2_session_callbacks_del(lane->callbacks);
    nghttp2_option_del(lane->option);
    weir_metrics_close(lane->registry, lane->set);
    free(lane);
}
