/* http2.h - the server side of HTTP/2 connections on one lane, on nghttp2 (RFC 9113): reading and writing, limits,
 * patience, the end. What a request means is the handler's (grpc.h). All calls are for the lane's thread. */
#ifndef WEIR_RECEIVE_HTTP2_H
#define WEIR_RECEIVE_HTTP2_H
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/receive/stream.h"

#include <nghttp2/nghttp2.h>

struct weir_http2_lane; /* all connections of one lane */
struct weir_http2;      /* one connection */

struct weir_http2_limits {
    uint32_t max_connections, max_concurrent_streams;
    uint64_t keepalive_min_ns; /* PINGs more often than this, while no stream is open, are strikes */
};

/* Embedded as the first member in what the handler keeps of a request. */
struct weir_http2_request {
    struct weir_http2 *connection;           /* NULL once the stream is gone */
    struct weir_http2_request *next, **slot; /* http2.c's: all of a connection */
    int32_t stream_id;
    bool half_closed; /* the peer has ended its side */
    bool paused;      /* the handler's: what came of its body is not consumed yet, so that its window closes */
    size_t unconsumed_bytes;
    uint64_t heard_ns;  /* when enough bytes of it last came; the handler sets it when it has answered */
    size_t heard_bytes; /* since */
};

struct weir_http2_handler {
    void *self;
    struct weir_http2_request *(*begin)(void *self); /* NULL: refuse the stream */
    /* False: reset the stream. */
    bool (*header)(struct weir_http2_request *request, const uint8_t *name, size_t name_size, const uint8_t *value,
                   size_t value_size);
    void (*headers_end)(struct weir_http2_request *request);
    void (*data)(struct weir_http2_request *request, const uint8_t *bytes, size_t size);
    void (*end)(struct weir_http2_request *request);
    /* Next to nothing came since heard_ns, for a while: a sender that stalls, an answer for which its reader opens no
     * window, or a handler that takes its time. */
    void (*stalled)(struct weir_http2_request *request);
    /* The stream is gone, and request->connection is NULL; the handler frees the request, now or when it may. */
    void (*gone)(struct weir_http2_request *request);
};

enum weir_status weir_http2_lane_new(struct weir_http2_lane **lane, struct weir_loop *loop,
                                     struct weir_metrics *metrics, const struct weir_http2_handler *handler,
                                     const struct weir_http2_limits *limits, struct weir_error *err);
void weir_http2_set_limits(struct weir_http2_lane *lane,
                           const struct weir_http2_limits *limits); /* for connections to come */
/* A new connection; the stream is owned from here on. */
void weir_http2_accept(struct weir_http2_lane *lane, struct weir_stream *stream);
/* GOAWAY to all; each is closed when its requests are answered. */
void weir_http2_drain(struct weir_http2_lane *lane);
bool weir_http2_idle(const struct weir_http2_lane *lane); /* no connection left */
void weir_http2_lane_free(struct weir_http2_lane *lane);  /* closes what is open; accepts NULL */

/* The end of `paused`: what came is consumed, and the peer may send more. */
void weir_http2_resume(struct weir_http2_request *request);
/* Calls `visit` for every request that is open; it may answer, but not free. */
void weir_http2_each(struct weir_http2_lane *lane, void (*visit)(struct weir_http2_request *request));

/* For answers: submit to the session, then have it written (at the end of the round, together with others). */
nghttp2_session *weir_http2_session(struct weir_http2 *connection);
void weir_http2_flush(struct weir_http2 *connection);
int weir_http2_fd(const struct weir_http2 *connection); /* its socket, to be asked who is at the other end */
#endif
