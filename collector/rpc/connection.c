#include "collector/rpc/connection.h"

#include "collector/core/clock.h"
#include "collector/rpc/secure.h"

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
    ANSWER_BYTES = 64 << 10, /* a response has a number and a sentence: one that is longer does not end */
    HEADERS_MAX = 32,
};

struct weir_rpc_connection {
    struct weir_rpc_connection_options options;
    enum { CONNECTING, SECURING, OPEN } state;
    const struct addrinfo *address; /* that it connects to */
    nghttp2_session *session;
    int fd;
    SSL *ssl;    /* NULL: plaintext */
    short wants; /* the handshake, of the socket */
    uint32_t open;
    uint64_t bytes_read;
    char timeout[24];            /* grpc-timeout */
    struct weir_rpc_call *calls; /* in flight */
    /* What is on its way to the socket. Bodies are pointed at, so a call that ends early is kept until all is out.
     */
    struct iovec parts[PARTS_MAX];
    uint32_t part_at, part_count;
    uint8_t control[CONTROL_BYTES];
    uint32_t control_size;
    struct weir_rpc_call *ended;  /* closed while parts may point at them */
    uint8_t record[RECORD_BYTES]; /* with TLS: what was gathered of parts and not yet written */
    uint32_t record_size, record_at;
    uint8_t read[READ_BYTES];
};

static void unlink_call(struct weir_rpc_connection *connection, struct weir_rpc_call *call) {
    struct weir_rpc_call **at = &connection->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
}

static bool pending(const struct weir_rpc_connection *connection) {
    return connection->part_at < connection->part_count || connection->record_at < connection->record_size;
}

static bool add_part(struct weir_rpc_connection *connection, const uint8_t *bytes, size_t size) {
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
static bool add_control(struct weir_rpc_connection *connection, const uint8_t *bytes, size_t size) {
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
    const struct weir_rpc_call *call = source->ptr;
    size_t left = call->body.size - call->taken, size = left < room ? left : room;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t size,
                        nghttp2_data_source *source, void *self) {
    (void)session;
    (void)frame;
    struct weir_rpc_connection *connection = self;
    struct weir_rpc_call *call = source->ptr;
    if (PARTS_MAX - connection->part_count < 2 || !add_control(connection, head, 9)) return NGHTTP2_ERR_WOULDBLOCK;
    add_part(connection, call->body.bytes + call->taken, size);
    call->taken += size;
    call->left = true;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *self) {
    (void)flags;
    (void)self;
    struct weir_rpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call != NULL)
        weir_rpc_answer_header(&call->answer, (const char *)name, name_size, (const char *)value, value_size);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                   void *self) {
    (void)flags;
    (void)self;
    struct weir_rpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call == NULL) return 0;
    weir_rpc_answer_data(&call->answer, bytes, size);
    if (call->answer.body_bytes > ANSWER_BYTES && !call->cancelled)
        call->cancelled = nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL) == 0;
    return 0;
}

static void end_call(struct weir_rpc_connection *connection, struct weir_rpc_call *call, enum weir_rpc_fate fate) {
    call->stream = 0;
    connection->open--;
    connection->options.released(connection->options.self, call, fate);
}

/* PROTOCOL-HTTP2.md, "Errors": REFUSED_STREAM was not processed; ENHANCE_YOUR_CALM means RESOURCE_EXHAUSTED. */
static enum weir_rpc_fate fate_of(struct weir_rpc_call *call, uint32_t error) {
    if (call->answer.grpc_status >= 0) return WEIR_RPC_ANSWERED;
    if (call->cancelled) return call->left ? WEIR_RPC_LOST : WEIR_RPC_UNTOUCHED;
    if (error == NGHTTP2_REFUSED_STREAM) return WEIR_RPC_UNTOUCHED;
    if (error == NGHTTP2_ENHANCE_YOUR_CALM) call->answer.grpc_status = WEIR_RPC_RESOURCE_EXHAUSTED;
    if (error == NGHTTP2_ENHANCE_YOUR_CALM) return WEIR_RPC_ANSWERED;
    return error == NGHTTP2_NO_ERROR && call->answer.http_status >= 0 ? WEIR_RPC_ANSWERED : WEIR_RPC_LOST;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *self) {
    struct weir_rpc_connection *connection = self;
    struct weir_rpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call == NULL) return 0;
    unlink_call(connection, call);
    enum weir_rpc_fate fate = fate_of(call, error);
    if (!pending(connection)) {
        end_call(connection, call, fate);
        return 0;
    }
    call->fate = fate; /* until the parts are out, see settle_ended() */
    call->next = connection->ended;
    connection->ended = call;
    return 0;
}

static void settle_ended(struct weir_rpc_connection *connection) {
    while (connection->ended != NULL) {
        struct weir_rpc_call *call = connection->ended;
        connection->ended = call->next;
        end_call(connection, call, call->fate);
    }
}

static bool start_session(struct weir_rpc_connection *connection) {
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

/* Towards connection->address or the next one that can be tried; 0 or errno. */
static int begin(struct weir_rpc_connection *connection) {
    int failed = EADDRNOTAVAIL;
    for (; connection->address != NULL; connection->address = connection->address->ai_next) {
        const struct addrinfo *address = connection->address;
        if (connection->fd >= 0) close(connection->fd);
        connection->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connection->fd >= 0 && connect(connection->fd, address->ai_addr, address->ai_addrlen) == 0) return 0;
        if (connection->fd >= 0 && errno == EINPROGRESS) return 0;
        failed = errno;
    }
    return failed;
}

/* 0: connected; EINPROGRESS: not yet; else why not. */
static int connected(const struct weir_rpc_connection *connection) {
    struct pollfd ready = {.fd = connection->fd, .events = POLLOUT};
    int failed = 0;
    socklen_t size = sizeof failed;
    if (poll(&ready, 1, 0) <= 0) return EINPROGRESS;
    return getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 ? errno : failed;
}

static enum weir_status secure(struct weir_rpc_connection *connection, struct weir_error *err) {
    enum weir_status status =
        weir_rpc_secure_connect(connection->ssl, connection->options.authority, &connection->wants, err);
    if (status == WEIR_FULL) return WEIR_OK;
    if (status != WEIR_OK) return status;
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(connection->ssl, &protocol, &size);
    if (size > 0 && (size != 2 || memcmp(protocol, "h2", 2) != 0))
        return weir_fail(err, WEIR_IO, 0, true, "%s: TLS: the server does not speak HTTP/2",
                         connection->options.authority);
    connection->state = OPEN;
    return WEIR_OK;
}

enum weir_status weir_rpc_connection_advance(struct weir_rpc_connection *connection, struct weir_error *err) {
    while (connection->state == CONNECTING) {
        int failed = connected(connection), on = 1;
        if (failed == EINPROGRESS) return WEIR_OK;
        if (failed != 0) {
            connection->address = connection->address->ai_next;
            if (connection->address == NULL || begin(connection) != 0)
                return weir_fail(err, WEIR_IO, failed, true, "%s: connect", connection->options.authority);
            continue;
        }
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->state = connection->options.secure == NULL ? OPEN : SECURING;
        if (connection->options.secure == NULL) break;
        connection->ssl = weir_rpc_secure_new(connection->options.secure, connection->fd, connection->options.host);
        if (connection->ssl == NULL)
            return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for TLS", connection->options.authority);
    }
    return connection->state == SECURING ? secure(connection, err) : WEIR_OK;
}

enum weir_status weir_rpc_connection_open(struct weir_rpc_connection **connection, const struct addrinfo *addresses,
                                          const struct weir_rpc_connection_options *options, struct weir_error *err) {
    struct weir_rpc_connection *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for a connection", options->authority);
    made->fd = -1;
    made->options = *options;
    made->address = addresses;
    /* grpc-timeout has up to 8 digits: milliseconds reach 27 hours, the longest time-out 24. */
    snprintf(made->timeout, sizeof made->timeout, "%llum", (unsigned long long)(options->timeout_ns / WEIR_MS));
    int failed = begin(made);
    enum weir_status status = WEIR_OK;
    if (failed != 0) status = weir_fail(err, WEIR_IO, failed, true, "%s: connect", options->authority);
    if (status == WEIR_OK && !start_session(made))
        status = weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for a session", options->authority);
    if (status != WEIR_OK)
        weir_rpc_connection_close(&made);
    else
        *connection = made;
    return status;
}

void weir_rpc_connection_close(struct weir_rpc_connection **connection_at) {
    struct weir_rpc_connection *connection = *connection_at;
    if (connection == NULL) return;
    *connection_at = NULL;
    settle_ended(connection);
    while (connection->calls != NULL) {
        struct weir_rpc_call *call = connection->calls;
        connection->calls = call->next;
        end_call(connection, call, call->left ? WEIR_RPC_LOST : WEIR_RPC_UNTOUCHED);
    }
    nghttp2_session_del(connection->session);
    if (connection->ssl != NULL && connection->state == OPEN) SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
    if (connection->fd >= 0) close(connection->fd);
    free(connection);
}

int weir_rpc_connection_fd(const struct weir_rpc_connection *connection) {
    return connection->fd;
}
uint32_t weir_rpc_connection_open_streams(const struct weir_rpc_connection *connection) {
    return connection->open;
}
bool weir_rpc_connection_takes(const struct weir_rpc_connection *connection) {
    return nghttp2_session_check_request_allowed(connection->session) != 0;
}
bool weir_rpc_connection_blocked(const struct weir_rpc_connection *connection) {
    return pending(connection);
}
bool weir_rpc_connection_is_open(const struct weir_rpc_connection *connection) {
    return connection->state == OPEN;
}
uint64_t weir_rpc_connection_bytes_read(const struct weir_rpc_connection *connection) {
    return connection->bytes_read;
}
short weir_rpc_connection_events(const struct weir_rpc_connection *connection) {
    switch (connection->state) {
    case CONNECTING: return POLLOUT;
    case SECURING: return connection->wants != 0 ? connection->wants : POLLOUT;
    default: return pending(connection) ? POLLIN | POLLOUT : POLLIN;
    }
}

static nghttp2_nv header(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

enum weir_status weir_rpc_connection_submit(struct weir_rpc_connection *connection, struct weir_rpc_call *call) {
    nghttp2_nv headers[9 + HEADERS_MAX] = {
        header(":method", "POST"),
        header(":scheme", connection->options.secure != NULL ? "https" : "http"),
        header(":path", connection->options.path),
        header(":authority", connection->options.authority),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", connection->options.user_agent),
        header("grpc-timeout", connection->timeout),
    };
    size_t count = 8;
    if (call->encoding != NULL) headers[count++] = header("grpc-encoding", call->encoding);
    for (uint32_t i = 0; i < connection->options.header_count && i < HEADERS_MAX; i++) {
        headers[count] = header(connection->options.headers[i].name, connection->options.headers[i].value);
        headers[count++].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    }
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_body};
    int32_t stream = nghttp2_submit_request(connection->session, NULL, headers, count, &body, call);
    if (stream < 0) return WEIR_CLOSED;
    call->stream = stream;
    call->taken = 0;
    call->left = call->cancelled = false;
    weir_rpc_answer_reset(&call->answer);
    call->next = connection->calls;
    connection->calls = call;
    connection->open++;
    return WEIR_OK;
}

bool weir_rpc_connection_expire(struct weir_rpc_connection *connection, uint64_t now_ns) {
    bool late = false;
    for (struct weir_rpc_call *call = connection->calls; call != NULL; call = call->next) {
        if (call->deadline_ns > now_ns) continue;
        late = true;
        if (!call->cancelled)
            call->cancelled =
                nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL) == 0;
    }
    return late && pending(connection);
}

/* So many bytes of the parts have gone. */
static void pass_parts(struct weir_rpc_connection *connection, size_t left) {
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
static ssize_t write_record(struct weir_rpc_connection *connection) {
    if (connection->record_at == connection->record_size) connection->record_at = connection->record_size = 0;
    while (connection->part_at < connection->part_count && connection->record_size < RECORD_BYTES) {
        const struct iovec *part = &connection->parts[connection->part_at];
        size_t room = RECORD_BYTES - connection->record_size, size = part->iov_len < room ? part->iov_len : room;
        if (connection->record_at > 0) break; /* what was gathered goes first */
        memcpy(connection->record + connection->record_size, part->iov_base, size);
        connection->record_size += (uint32_t)size;
        pass_parts(connection, size);
    }
    ssize_t wrote = weir_rpc_secure_write(connection->ssl, connection->record + connection->record_at,
                                          connection->record_size - connection->record_at);
    if (wrote > 0) connection->record_at += (uint32_t)wrote;
    return wrote;
}

/* WEIR_FULL: the socket takes no more now. */
static enum weir_status write_parts(struct weir_rpc_connection *connection, struct weir_error *err) {
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

enum weir_status weir_rpc_connection_flush(struct weir_rpc_connection *connection, struct weir_error *err) {
    if (connection->state != OPEN) return WEIR_OK;
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

enum weir_status weir_rpc_connection_read(struct weir_rpc_connection *connection, struct weir_error *err) {
    if (connection->state != OPEN) return WEIR_OK;
    for (;;) {
        ssize_t size = connection->ssl != NULL ? weir_rpc_secure_read(connection->ssl, connection->read, READ_BYTES)
                                               : recv(connection->fd, connection->read, READ_BYTES, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WEIR_OK;
        if (size < 0) return weir_fail(err, WEIR_IO, errno, true, "%s: receive", connection->options.authority);
        if (size == 0)
            return weir_fail(err, WEIR_CLOSED, 0, true, "%s: the server closed the connection",
                             connection->options.authority);
        connection->bytes_read += (uint64_t)size;
        ssize_t taken = nghttp2_session_mem_recv(connection->session, connection->read, (size_t)size);
        if (taken < 0)
            return weir_fail(err, WEIR_IO, 0, true, "%s: HTTP/2: %s", connection->options.authority,
                             nghttp2_strerror((int)taken));
        if (size < READ_BYTES && connection->ssl == NULL) return WEIR_OK;
    }
}
