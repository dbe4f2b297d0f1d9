#define _GNU_SOURCE /* asprintf */
#include "collector/emit/connection.h"

#include "collector/core/clock.h"
#include "collector/emit/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PARTS_MAX = 128,          /* of one sendmsg: frame heads and pieces of bodies, 16 KiB a frame: some 1 MiB */
    CONTROL_BYTES = 64 << 10, /* frame heads and whole control frames of one sendmsg */
    READ_BYTES = 64 << 10,
    RECORD_BYTES = 16 << 10, /* of TLS: parts are gathered to fill them */
};

struct weir_emit_connection {
    struct weir_emit_connection_options options;
    nghttp2_session *session;
    int fd;
    SSL *ssl; /* NULL: plaintext */
    uint32_t open;
    char timeout[24];                   /* grpc-timeout */
    char *authorization;                /* NULL: none */
    struct weir_emit_request *requests; /* in flight */
    /* What is on its way to the socket. Bodies are pointed at, so a request that ends early is kept until all is out.
     */
    struct iovec parts[PARTS_MAX];
    uint32_t part_at, part_count;
    uint8_t control[CONTROL_BYTES];
    uint32_t control_size;
    struct weir_emit_request *ended; /* closed while parts may point at them */
    uint8_t record[RECORD_BYTES];    /* with TLS: what was gathered of parts and not yet written */
    uint32_t record_size, record_at;
    uint8_t read[READ_BYTES];
};

static void unlink_request(struct weir_emit_connection *connection, struct weir_emit_request *request) {
    struct weir_emit_request **at = &connection->requests;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
}

static bool pending(const struct weir_emit_connection *connection) {
    return connection->part_at < connection->part_count || connection->record_at < connection->record_size;
}

static bool add_part(struct weir_emit_connection *connection, const uint8_t *bytes, size_t size) {
    /* Control bytes stand one behind another: grow the last part when it ends where these begin. */
    if (connection->part_count > connection->part_at) {
        struct iovec *last = &connection->parts[connection->part_count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == bytes) {
            last->iov_len += size;
            return true;
        }
    }
    if (connection->part_count == PARTS_MAX) return false;
    connection->parts[connection->part_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    return true;
}

/* Copies: nghttp2's own buffers do not last. */
static bool add_control(struct weir_emit_connection *connection, const uint8_t *bytes, size_t size) {
    if (CONTROL_BYTES - connection->control_size < size) return false;
    uint8_t *at = connection->control + connection->control_size;
    memcpy(at, bytes, size);
    if (!add_part(connection, at, size)) return false;
    connection->control_size += (uint32_t)size;
    return true;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t size, int flags, void *self) {
    (void)session;
    (void)flags;
    return add_control(self, bytes, size) ? (ssize_t)size : NGHTTP2_ERR_WOULDBLOCK;
}

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *self) {
    (void)session;
    (void)stream;
    (void)buffer;
    (void)self;
    const struct weir_emit_request *request = source->ptr;
    size_t left = request->body.size - request->taken, size = left < room ? left : room;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t size,
                        nghttp2_data_source *source, void *self) {
    (void)session;
    (void)frame;
    struct weir_emit_connection *connection = self;
    struct weir_emit_request *request = source->ptr;
    if (PARTS_MAX - connection->part_count < 2 || !add_control(connection, head, 9)) return NGHTTP2_ERR_WOULDBLOCK;
    add_part(connection, request->body.bytes + request->taken, size);
    request->taken += size;
    request->left = true;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *self) {
    (void)flags;
    (void)self;
    struct weir_emit_request *request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (request != NULL)
        weir_emit_answer_header(&request->answer, (const char *)name, name_size, (const char *)value, value_size);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                   void *self) {
    (void)flags;
    (void)self;
    struct weir_emit_request *request = nghttp2_session_get_stream_user_data(session, stream);
    if (request != NULL) weir_emit_answer_data(&request->answer, bytes, size);
    return 0;
}

static void end_request(struct weir_emit_connection *connection, struct weir_emit_request *request,
                        enum weir_emit_fate fate) {
    request->stream = 0;
    connection->open--;
    connection->options.released(connection->options.self, request, fate);
}

/* PROTOCOL-HTTP2.md, "Errors": REFUSED_STREAM was not processed; ENHANCE_YOUR_CALM means RESOURCE_EXHAUSTED. */
static enum weir_emit_fate fate_of(struct weir_emit_request *request, uint32_t error) {
    if (request->answer.grpc_status >= 0) return WEIR_EMIT_ANSWERED;
    if (request->cancelled) return WEIR_EMIT_LOST;
    if (error == NGHTTP2_REFUSED_STREAM) return WEIR_EMIT_UNTOUCHED;
    if (error == NGHTTP2_ENHANCE_YOUR_CALM) request->answer.grpc_status = WEIR_EMIT_RESOURCE_EXHAUSTED;
    if (error == NGHTTP2_ENHANCE_YOUR_CALM) return WEIR_EMIT_ANSWERED;
    return error == NGHTTP2_NO_ERROR && request->answer.http_status >= 0 ? WEIR_EMIT_ANSWERED : WEIR_EMIT_LOST;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *self) {
    struct weir_emit_connection *connection = self;
    struct weir_emit_request *request = nghttp2_session_get_stream_user_data(session, stream);
    if (request == NULL) return 0;
    unlink_request(connection, request);
    enum weir_emit_fate fate = fate_of(request, error);
    if (!pending(connection)) {
        end_request(connection, request, fate);
        return 0;
    }
    request->due_ns = (uint64_t)fate; /* until the parts are out, see settle_ended() */
    request->next = connection->ended;
    connection->ended = request;
    return 0;
}

static void settle_ended(struct weir_emit_connection *connection) {
    while (connection->ended != NULL) {
        struct weir_emit_request *request = connection->ended;
        connection->ended = request->next;
        end_request(connection, request, (enum weir_emit_fate)request->due_ns);
    }
}

static bool start_session(struct weir_emit_connection *connection) {
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) return false;
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    bool made = nghttp2_session_client_new(&connection->session, callbacks, connection) == 0;
    nghttp2_session_callbacks_del(callbacks);
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    return made && nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1) == 0;
}

/* Connects without blocking for longer than the time-out; 0 or errno. */
static int connect_within(int fd, const struct addrinfo *address, uint64_t timeout_ns) {
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int timeout_ms = timeout_ns / WEIR_MS > 60000 ? 60000 : (int)(timeout_ns / WEIR_MS);
    int got = poll(&ready, 1, timeout_ms);
    if (got <= 0) return got == 0 ? ETIMEDOUT : errno;
    int failed = 0;
    socklen_t size = sizeof failed;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 ? errno : failed;
}

enum weir_status weir_emit_connection_open(struct weir_emit_connection **connection, const struct addrinfo *addresses,
                                           const struct weir_emit_connection_options *options, struct weir_error *err) {
    int fd = -1, failed = 0;
    for (const struct addrinfo *address = addresses; address != NULL; address = address->ai_next) {
        fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        failed = fd < 0 ? errno : connect_within(fd, address, options->timeout_ns);
        if (failed == 0) break;
        if (fd >= 0) close(fd);
        fd = -1;
    }
    if (fd < 0) return weir_fail(err, WEIR_IO, failed, true, "%s: connect", options->authority);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct weir_emit_connection *made = calloc(1, sizeof *made);
    if (made == NULL) {
        close(fd);
        return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for a connection", options->authority);
    }
    made->fd = fd;
    made->options = *options;
    enum weir_status status = WEIR_OK;
    if (options->secure != NULL)
        status = weir_emit_secure_connect(options->secure, fd, options->host, options->timeout_ns, &made->ssl, err);
    if (status == WEIR_OK && options->token != NULL &&
        asprintf(&made->authorization, "Bearer %s", options->token) < 0) {
        made->authorization = NULL;
        status = weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for a connection", options->authority);
    }
    if (status != WEIR_OK) {
        weir_emit_connection_close(&made);
        return status;
    }
    /* grpc-timeout has up to 8 digits: milliseconds reach 27 hours, the longest --timeout 24. */
    snprintf(made->timeout, sizeof made->timeout, "%llum", (unsigned long long)(options->timeout_ns / WEIR_MS));
    if (!start_session(made)) {
        weir_emit_connection_close(&made);
        return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for a session", options->authority);
    }
    *connection = made;
    return WEIR_OK;
}

void weir_emit_connection_close(struct weir_emit_connection **connection_at) {
    struct weir_emit_connection *connection = *connection_at;
    if (connection == NULL) return;
    *connection_at = NULL;
    settle_ended(connection);
    while (connection->requests != NULL) {
        struct weir_emit_request *request = connection->requests;
        connection->requests = request->next;
        end_request(connection, request, request->left ? WEIR_EMIT_LOST : WEIR_EMIT_UNTOUCHED);
    }
    nghttp2_session_del(connection->session);
    if (connection->ssl != NULL) SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
    free(connection->authorization);
    close(connection->fd);
    free(connection);
}

int weir_emit_connection_fd(const struct weir_emit_connection *connection) {
    return connection->fd;
}
uint32_t weir_emit_connection_open_streams(const struct weir_emit_connection *connection) {
    return connection->open;
}
bool weir_emit_connection_takes(const struct weir_emit_connection *connection) {
    return nghttp2_session_check_request_allowed(connection->session) != 0;
}
bool weir_emit_connection_blocked(const struct weir_emit_connection *connection) {
    return pending(connection);
}

static nghttp2_nv header(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

enum weir_status weir_emit_connection_submit(struct weir_emit_connection *connection,
                                             struct weir_emit_request *request) {
    nghttp2_nv headers[10] = {
        header(":method", "POST"),
        header(":scheme", connection->ssl != NULL ? "https" : "http"),
        header(":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        header(":authority", connection->options.authority),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", "weir-emit"),
        header("grpc-timeout", connection->timeout),
    };
    size_t count = 8;
    if (connection->options.gzip) headers[count++] = header("grpc-encoding", "gzip");
    if (connection->authorization != NULL) {
        headers[count] = header("authorization", connection->authorization);
        headers[count++].flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* RFC 7541 7.1.3 */
    }
    nghttp2_data_provider body = {.source.ptr = request, .read_callback = on_body};
    int32_t stream = nghttp2_submit_request(connection->session, NULL, headers, count, &body, request);
    if (stream < 0) return WEIR_CLOSED;
    request->stream = stream;
    request->taken = 0;
    request->left = request->cancelled = false;
    weir_emit_answer_reset(&request->answer);
    request->next = connection->requests;
    connection->requests = request;
    connection->open++;
    return WEIR_OK;
}

void weir_emit_connection_expire(struct weir_emit_connection *connection, uint64_t now_ns) {
    for (struct weir_emit_request *request = connection->requests; request != NULL; request = request->next) {
        if (request->cancelled || request->deadline_ns > now_ns) continue;
        request->cancelled =
            nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, request->stream, NGHTTP2_CANCEL) == 0;
    }
}

/* So many bytes of the parts have gone. */
static void pass_parts(struct weir_emit_connection *connection, size_t left) {
    while (left > 0) {
        struct iovec *part = &connection->parts[connection->part_at];
        size_t size = left < part->iov_len ? left : part->iov_len;
        part->iov_base = (uint8_t *)part->iov_base + size;
        part->iov_len -= size;
        left -= size;
        if (part->iov_len == 0) connection->part_at++;
    }
}

/* As sendmsg(); writes one record. */
static ssize_t write_record(struct weir_emit_connection *connection) {
    if (connection->record_at == connection->record_size) connection->record_at = connection->record_size = 0;
    while (connection->part_at < connection->part_count && connection->record_size < RECORD_BYTES) {
        const struct iovec *part = &connection->parts[connection->part_at];
        size_t room = RECORD_BYTES - connection->record_size, size = part->iov_len < room ? part->iov_len : room;
        if (connection->record_at > 0) break; /* what was gathered goes first */
        memcpy(connection->record + connection->record_size, part->iov_base, size);
        connection->record_size += (uint32_t)size;
        pass_parts(connection, size);
    }
    ssize_t wrote = weir_emit_secure_write(connection->ssl, connection->record + connection->record_at,
                                           connection->record_size - connection->record_at);
    if (wrote > 0) connection->record_at += (uint32_t)wrote;
    return wrote;
}

/* WEIR_FULL: the socket takes no more now. */
static enum weir_status write_parts(struct weir_emit_connection *connection, struct weir_error *err) {
    while (pending(connection)) {
        struct msghdr message = {.msg_iov = connection->parts + connection->part_at,
                                 .msg_iovlen = connection->part_count - connection->part_at};
        ssize_t wrote =
            connection->ssl != NULL ? write_record(connection) : sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WEIR_FULL;
        if (wrote < 0) return weir_fail(err, WEIR_IO, errno, true, "%s: send", connection->options.authority);
        if (connection->ssl == NULL) pass_parts(connection, (size_t)wrote);
    }
    connection->part_at = connection->part_count = connection->control_size = 0;
    settle_ended(connection);
    return WEIR_OK;
}

enum weir_status weir_emit_connection_flush(struct weir_emit_connection *connection, struct weir_error *err) {
    for (;;) {
        enum weir_status status = write_parts(connection, err);
        if (status != WEIR_OK) return status == WEIR_FULL ? WEIR_OK : status;
        int failed = nghttp2_session_send(connection->session);
        if (failed != 0)
            return weir_fail(err, WEIR_IO, 0, true, "%s: HTTP/2: %s", connection->options.authority,
                             nghttp2_strerror(failed));
        if (!pending(connection)) return WEIR_OK;
    }
}

enum weir_status weir_emit_connection_read(struct weir_emit_connection *connection, struct weir_error *err) {
    for (;;) {
        ssize_t size = connection->ssl != NULL ? weir_emit_secure_read(connection->ssl, connection->read, READ_BYTES)
                                               : recv(connection->fd, connection->read, READ_BYTES, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WEIR_OK;
        if (size < 0) return weir_fail(err, WEIR_IO, errno, true, "%s: receive", connection->options.authority);
        if (size == 0)
            return weir_fail(err, WEIR_CLOSED, 0, true, "%s: the server closed the connection",
                             connection->options.authority);
        ssize_t taken = nghttp2_session_mem_recv(connection->session, connection->read, (size_t)size);
        if (taken < 0)
            return weir_fail(err, WEIR_IO, 0, true, "%s: HTTP/2: %s", connection->options.authority,
                             nghttp2_strerror((int)taken));
        if (size < READ_BYTES && connection->ssl == NULL) return WEIR_OK;
    }
}
