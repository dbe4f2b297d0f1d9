/* peer.h - a gRPC server that answers exports by a script, on a port of its own. It is written against nghttp2 alone,
 * so that what it counts owes nothing to the client under test. */
#ifndef TESTS_EMIT_PEER_H
#define TESTS_EMIT_PEER_H
#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum peer_does {
    PEER_OK,
    PEER_PARTIAL,         /* rejects one span */
    PEER_UNAVAILABLE,     /* trailers only */
    PEER_EXHAUSTED,       /* RESOURCE_EXHAUSTED without RetryInfo */
    PEER_EXHAUSTED_RETRY, /* with RetryInfo of 20 ms */
    PEER_INVALID,
    PEER_REFUSED_STREAM, /* RST_STREAM(REFUSED_STREAM) */
    PEER_RESET,          /* RST_STREAM(INTERNAL_ERROR) */
    PEER_SILENT,         /* no answer, ever */
    PEER_GOAWAY,         /* GOAWAY below this stream, then OK to what came before */
    PEER_HANG_UP,        /* closes the connection */
    PEER_HTTP_503,
    PEER_DENIED,       /* UNAUTHENTICATED */
    PEER_TOO_LARGE,    /* RESOURCE_EXHAUSTED, as grpc-go says it */
    PEER_NO_ENCODING,  /* UNIMPLEMENTED, as grpc-go says it */
    PEER_ENDLESS,      /* an answer that goes on */
    PEER_NOT_A_NUMBER, /* OK, and a body that cannot be read */
    PEER_NOT_HTTP2,    /* other bytes, instead of all that follows */
    PEER_OK_AND_BYE,   /* OK, and then the connection ends, politely */
    PEER_OK_AND_CLOSE, /* likewise, without a word */
    PEER_WEB_PAGE,     /* 200, and no grpc-status */
};

struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    const enum peer_does *script; /* one an export, in order of arrival; the last goes on */
    uint32_t script_size;
    uint32_t window;          /* of a stream; 0 = 1 MiB */
    uint32_t exports, resets; /* after peer_stop(): that arrived whole; RST_STREAM from the client */
    uint64_t bytes;           /* of DATA */
    uint32_t connections;
    _Atomic bool holds;          /* while it does, no connection ends */
    _Atomic uint32_t ended;      /* connections, as far as this side goes */
    bool headers_right, counted; /* counted: each said weir-counted: 1 */
    char authorization[64];      /* of the last one */
    char encodings[128];         /* grpc-encoding of each, with a space behind; "-" = none */
    /* Called with the message of each export, in the peer's thread, before it is answered; may be NULL. */
    void (*took)(struct peer *peer, const uint8_t *message, size_t size);
    void *self;
    struct peer_body {
        uint8_t *bytes;
        size_t size;
        bool encoded;
    } bodies[64]; /* by stream */
    int fd;
    bool hang_up, closing; /* at once; when what is submitted is out */
};

#define PEER_NV(name, value)                                                                                           \
    { (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE }

static inline ssize_t peer_send(nghttp2_session *session, const uint8_t *bytes, size_t size, int flags, void *self) {
    (void)session;
    (void)flags;
    ssize_t sent = send(((struct peer *)self)->fd, bytes, size, MSG_NOSIGNAL);
    return sent < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : sent;
}
static inline ssize_t peer_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                                nghttp2_data_source *source, void *self) {
    (void)self;
    static const uint8_t partial[] = {0, 0, 0, 0, 9, 0x0a, 7, 0x08, 1, 0x12, 3, 'b', 'a', 'd'};
    static const uint8_t broken[] = {0, 0, 0, 0, 2, 0x0a, 9};
    if (source->fd == PEER_ENDLESS) {
        memset(out, 'x', room);
        return (ssize_t)room;
    }
    if (source->fd == PEER_NOT_A_NUMBER) {
        memcpy(out, broken, sizeof broken);
        nghttp2_nv end[] = {PEER_NV("grpc-status", "0")};
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, end, 1);
        return sizeof broken;
    }
    size_t size = source->fd == PEER_PARTIAL ? sizeof partial : 5;
    memset(out, 0, 5);
    if (size > 5) memcpy(out, partial, size);
    nghttp2_nv trailer[] = {PEER_NV("grpc-status", "0")};
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, stream, trailer, 1);
    return (ssize_t)size;
}
static inline void peer_refuse_saying(nghttp2_session *session, int32_t stream, const char *code, const char *message) {
    nghttp2_nv headers[] = {PEER_NV(":status", "200"), PEER_NV("content-type", "application/grpc"),
                            PEER_NV("grpc-status", code), PEER_NV("grpc-message", message)};
    nghttp2_submit_response(session, stream, headers, 4, NULL);
}
static inline void peer_refuse(nghttp2_session *session, int32_t stream, const char *code, const char *details) {
    nghttp2_nv headers[] = {PEER_NV(":status", "200"), PEER_NV("content-type", "application/grpc"),
                            PEER_NV("grpc-status", code), PEER_NV("grpc-message", "because"),
                            PEER_NV("grpc-status-details-bin", details)};
    nghttp2_submit_response(session, stream, headers, details[0] != 0 ? 5 : 4, NULL);
}
static inline void peer_answer(nghttp2_session *session, int32_t stream, struct peer *peer) {
    static const char retry[] = "CA4SBWxhdGVyGjMKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBwoFEIDaxAk";
    nghttp2_nv headers[] = {PEER_NV(":status", "200"), PEER_NV("content-type", "application/grpc")};
    uint32_t at = peer->exports < peer->script_size ? peer->exports : peer->script_size - 1;
    peer->exports++;
    nghttp2_data_provider body = {.source.fd = (int)peer->script[at], .read_callback = peer_body};
    switch (peer->script[at]) {
    case PEER_OK:
    case PEER_ENDLESS:
    case PEER_NOT_A_NUMBER:
    case PEER_PARTIAL: nghttp2_submit_response(session, stream, headers, 2, &body); break;
    case PEER_UNAVAILABLE: peer_refuse(session, stream, "14", ""); break;
    case PEER_EXHAUSTED: peer_refuse(session, stream, "8", ""); break;
    case PEER_EXHAUSTED_RETRY: peer_refuse(session, stream, "8", retry); break;
    case PEER_OK_AND_CLOSE:
        nghttp2_submit_response(session, stream, headers, 2, &body);
        peer->closing = true;
        break;
    case PEER_OK_AND_BYE:
        nghttp2_submit_response(session, stream, headers, 2, &body);
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR, NULL, 0);
        break;
    case PEER_DENIED: peer_refuse(session, stream, "16", ""); break;
    case PEER_TOO_LARGE:
        peer_refuse_saying(session, stream, "8", "grpc: received message larger than max (9 vs. 4)");
        break;
    case PEER_NO_ENCODING:
        peer_refuse_saying(session, stream, "12", "grpc: Decompressor is not installed for grpc-encoding");
        break;
    case PEER_NOT_HTTP2:
        send(peer->fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
        peer->hang_up = true;
        break;
    case PEER_WEB_PAGE: {
        nghttp2_nv page[] = {PEER_NV(":status", "200"), PEER_NV("content-type", "text/html")};
        nghttp2_submit_response(session, stream, page, 2, NULL);
        break;
    }
    case PEER_INVALID: peer_refuse(session, stream, "3", ""); break;
    case PEER_REFUSED_STREAM:
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_REFUSED_STREAM);
        break;
    case PEER_RESET: nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR); break;
    case PEER_SILENT: break;
    case PEER_GOAWAY:
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, stream > 2 ? stream - 2 : 0, NGHTTP2_NO_ERROR, NULL, 0);
        break;
    case PEER_HANG_UP: peer->hang_up = true; break;
    case PEER_HTTP_503: {
        nghttp2_nv away[] = {PEER_NV(":status", "503"), PEER_NV("content-type", "text/plain")};
        nghttp2_submit_response(session, stream, away, 2, NULL);
        break;
    }
    }
}
static inline uint8_t *free_body(struct peer_body *body) {
    free(body->bytes);
    return NULL;
}
static inline int peer_frame(nghttp2_session *session, const nghttp2_frame *frame, void *self) {
    struct peer *peer = self;
    if (frame->hd.type == NGHTTP2_RST_STREAM) peer->resets++;
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        struct peer_body *body = &peer->bodies[frame->hd.stream_id / 2 % 64];
        if (peer->took != NULL && body->size >= 5) peer->took(peer, body->bytes + 5, body->size - 5);
        if (!body->encoded) strncat(peer->encodings, "- ", sizeof peer->encodings - strlen(peer->encodings) - 1);
        *body = (struct peer_body){free_body(body), 0, false};
        peer_answer(session, frame->hd.stream_id, peer);
    }
    return 0;
}
static inline int peer_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                              size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *self) {
    (void)session, (void)flags;
    struct peer *peer = self;
    if (name_size == 12 && memcmp(name, "weir-counted", 12) == 0)
        peer->counted = peer->counted && value_size == 1 && *value == '1';
    if (name_size == 13 && memcmp(name, "authorization", 13) == 0)
        snprintf(peer->authorization, sizeof peer->authorization, "%.*s", (int)value_size, (const char *)value);
    if (name_size == 13 && memcmp(name, "grpc-encoding", 13) == 0) {
        size_t used = strlen(peer->encodings);
        snprintf(peer->encodings + used, sizeof peer->encodings - used, "%.*s ", (int)value_size, (const char *)value);
        peer->bodies[frame->hd.stream_id / 2 % 64].encoded = true;
    }
    static const char *const wanted[][2] = {{":method", "POST"},
                                            {":scheme", "http"},
                                            {"te", "trailers"},
                                            {"content-type", "application/grpc"},
                                            {":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strlen(wanted[i][0]) != name_size || memcmp(wanted[i][0], name, name_size) != 0) continue;
        if (strlen(wanted[i][1]) != value_size || memcmp(wanted[i][1], value, value_size) != 0)
            peer->headers_right = false;
    }
    return 0;
}
static inline int peer_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                            void *self) {
    (void)session, (void)flags;
    struct peer *peer = self;
    peer->bytes += size;
    if (peer->took == NULL) return 0;
    struct peer_body *body = &peer->bodies[stream / 2 % 64];
    body->bytes = realloc(body->bytes, body->size + size);
    if (body->bytes == NULL) return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(body->bytes + body->size, bytes, size);
    body->size += size;
    return 0;
}
static inline void peer_serve(struct peer *peer) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    uint8_t bytes[32768];
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, peer_send);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_data);
    nghttp2_session_server_new(&session, callbacks, peer);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, peer->window != 0 ? peer->window : 1 << 20}};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
    peer->hang_up = peer->closing = false;
    while (nghttp2_session_send(session) == 0 && !peer->hang_up && !peer->closing &&
           (nghttp2_session_want_read(session) || nghttp2_session_want_write(session))) {
        ssize_t size = recv(peer->fd, bytes, sizeof bytes, 0);
        if (size <= 0 || nghttp2_session_mem_recv(session, bytes, (size_t)size) < 0) break;
    }
    nghttp2_session_del(session);
    for (int i = 0; i < 64; i++)
        peer->bodies[i] = (struct peer_body){free_body(&peer->bodies[i]), 0, false};
    /* A socket closed with bytes unread is reset, and what was answered may be lost with it. */
    while (atomic_load(&peer->holds))
        sched_yield();
    shutdown(peer->fd, SHUT_WR);
    atomic_fetch_add(&peer->ended, 1);
    while (!peer->hang_up && recv(peer->fd, bytes, sizeof bytes, 0) > 0) {
    }
}
static inline void *peer_main(void *self) {
    struct peer *peer = self;
    while ((peer->fd = accept(peer->listener, NULL, NULL)) >= 0) { /* one connection at a time */
        peer->connections++;
        peer_serve(peer);
        close(peer->fd);
    }
    return NULL;
}
static inline void peer_start(struct peer *peer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    peer->headers_right = peer->counted = true;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->listener, 16), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &size), 0);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}
/* Behind the client's end: the connection is closed, so the thread is in accept() or on its way there. */
static inline void peer_stop(struct peer *peer) {
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}
#endif
