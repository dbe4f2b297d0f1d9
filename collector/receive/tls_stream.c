/* A TLS connection as a stream. */
#include "collector/receive/tls_inside.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct secure {
    struct weir_stream stream; /* first */
    struct weir_tls *tls;
    SSL *ssl;
    int fd;
    struct weir_tls_shaking shaking;
    uint32_t wants;
    bool shaken, failed; /* the handshake is over; it or the connection broke */
    ssize_t next;        /* what a read met behind the bytes that it gave: END or BROKEN, else LATER */
};

/* Behind every call of OpenSSL that may carry the handshake on. */
static void look_at_handshake(struct secure *secure) {
    if (secure->shaken || !SSL_is_init_finished(secure->ssl)) return;
    secure->shaken = true;
    weir_tls_shaken(secure->tls, &secure->shaking, true, NULL);
}

/* OpenSSL reads nothing that it need not, save what is left of a record that a reader took a part of. */
static bool holds_more(const struct secure *secure) {
    return secure->next != WEIR_STREAM_LATER || SSL_has_pending(secure->ssl);
}

static ssize_t broke(struct secure *secure, int sys) {
    char reason[120];
    secure->failed = true;
    if (!secure->shaken) {
        bool left = sys == 0 && ERR_peek_error() == 0;
        secure->shaken = true;
        weir_tls_shaken(secure->tls, &secure->shaking, false,
                        left ? NULL : weir_tls_reason(reason, sizeof reason, strerror(sys)));
    }
    ERR_clear_error();
    return WEIR_STREAM_BROKEN;
}

/* Of a call that gave no bytes. waits: what for, when OpenSSL wants to read. */
static ssize_t outcome(struct secure *secure, int result, uint32_t waits) {
    int sys = errno;
    switch (SSL_get_error(secure->ssl, result)) {
    case SSL_ERROR_WANT_READ: secure->wants = waits; return WEIR_STREAM_LATER;
    case SSL_ERROR_WANT_WRITE: secure->wants = EPOLLOUT; return WEIR_STREAM_LATER;
    case SSL_ERROR_ZERO_RETURN: return secure->shaken ? WEIR_STREAM_END : broke(secure, 0);
    case SSL_ERROR_SYSCALL: return broke(secure, sys);
    default: return broke(secure, 0);
    }
}

/* Fills `bytes`, record by record. epoll knows nothing of what OpenSSL has read and not given: where some is, the
 * stream wants to be called when the socket takes bytes, which is at once unless its peer reads nothing. */
static ssize_t secure_read(struct weir_stream *stream, uint8_t *bytes, size_t size) {
    struct secure *secure = (struct secure *)stream;
    size_t got = 0;
    if (secure->failed) return WEIR_STREAM_BROKEN;
    if (secure->next != WEIR_STREAM_LATER) return secure->next;
    while (got < size) {
        ERR_clear_error();
        errno = 0;
        int n = SSL_read(secure->ssl, bytes + got, (int)(size - got < INT_MAX ? size - got : INT_MAX));
        look_at_handshake(secure);
        if (n <= 0) {
            ssize_t met = outcome(secure, n, secure->shaken ? 0 : EPOLLIN);
            if (got == 0) return met;
            if (met == WEIR_STREAM_LATER) return (ssize_t)got;
            secure->next = met;
            break;
        }
        got += (size_t)n;
    }
    secure->wants = holds_more(secure) ? EPOLLOUT : 0;
    return (ssize_t)got;
}

static ssize_t secure_write(struct weir_stream *stream, const uint8_t *bytes, size_t size) {
    struct secure *secure = (struct secure *)stream;
    if (secure->failed) return WEIR_STREAM_BROKEN;
    if (size == 0) return 0;
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(secure->ssl, bytes, (int)(size < INT_MAX ? size : INT_MAX));
    look_at_handshake(secure);
    if (n <= 0) {
        ssize_t met = outcome(secure, n, EPOLLIN);
        return met == WEIR_STREAM_END ? broke(secure, 0) : met; /* the peer said goodbye before, and is gone now */
    }
    secure->wants = holds_more(secure) ? EPOLLOUT : 0;
    return n;
}

static uint32_t secure_wants(const struct weir_stream *stream) {
    return ((const struct secure *)stream)->wants;
}

static int secure_fd(const struct weir_stream *stream) {
    return ((const struct secure *)stream)->fd;
}

static void say_goodbye(struct secure *secure) {
    if (secure->failed || !SSL_is_init_finished(secure->ssl)) return;
    ERR_clear_error();
    SSL_shutdown(secure->ssl); /* as far as the socket takes it */
    ERR_clear_error();
}

static void secure_close(struct weir_stream *stream) {
    struct secure *secure = (struct secure *)stream;
    if (!secure->shaken) weir_tls_shaken(secure->tls, &secure->shaking, false, NULL);
    say_goodbye(secure);
    SSL_free(secure->ssl);
    close(secure->fd);
    weir_tls_unref(secure->tls);
    free(secure);
}

static const struct weir_stream_kind secure_kind = {
    .read = secure_read,
    .write = secure_write,
    .wants = secure_wants,
    .fd = secure_fd,
    .close = secure_close,
};

void weir_tls_finish(struct weir_stream *stream) {
    if (stream->kind == &secure_kind) say_goodbye((struct secure *)stream);
    shutdown(stream->kind->fd(stream), SHUT_WR);
}

struct weir_stream *weir_tls_stream(struct weir_tls *tls, int fd) {
    if (tls == NULL) return weir_stream_plain(fd);
    struct secure *secure = calloc(1, sizeof *secure);
    SSL *ssl = secure == NULL ? NULL : weir_tls_new_ssl(tls);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) { /* the descriptor stays ours */
        ERR_clear_error();
        SSL_free(ssl);
        free(secure);
        close(fd);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    *secure = (struct secure){.stream.kind = &secure_kind,
                              .tls = weir_tls_ref(tls),
                              .ssl = ssl,
                              .fd = fd,
                              .wants = EPOLLIN,
                              .next = WEIR_STREAM_LATER};
    secure->shaking.fd = fd;
    weir_tls_shake(tls, &secure->shaking);
    return &secure->stream;
}
