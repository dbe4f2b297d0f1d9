/* tls_pair.h - a context of TLS, and a client of it on the other end of a socket pair. */
#ifndef WEIR_TESTS_RECEIVE_TLS_PAIR_H
#define WEIR_TESTS_RECEIVE_TLS_PAIR_H
#include "collector/receive/tls.h"
#include "tests/unit/receive/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct weir_metrics *metrics;
static struct weir_tls *tls;
static struct weir_tls_config config;

static inline int setup(void **state) {
    (void)state;
    config = (struct weir_tls_config){.min_version = WEIR_TLS_1_2};
    cert_write(&authority, "ca", true, true);
    cert_write(&server_cert, "server", true, true);
    snprintf(config.cert_file, sizeof config.cert_file, "%s", certs_path("server.pem"));
    snprintf(config.key_file, sizeof config.key_file, "%s", certs_path("server.key"));
    metrics = weir_metrics_new();
    assert_non_null(metrics);
    tls = NULL;
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    weir_tls_close(tls);
    weir_metrics_free(metrics);
    return 0;
}

static inline void open_tls(void) {
    struct weir_error err = {0};
    if (weir_tls_open(&tls, "grpc", &config, "h2", metrics, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_non_null(tls);
}

static inline double metric(const char *line) {
    struct weir_buffer page = {0};
    weir_metrics_expose(metrics, &page);
    weir_buffer_byte(&page, 0);
    const char *found = strstr((const char *)page.bytes, line);
    double value = found == NULL ? -1 : strtod(found + strlen(line), NULL);
    weir_buffer_free(&page);
    return value;
}
#define HANDSHAKES(result) metric("weir_tls_handshakes_total{receiver=\"grpc\",result=\"" result "\"} ")
#define RELOADS(result)    metric("weir_tls_reloads_total{receiver=\"grpc\",result=\"" result "\"} ")
#define NOT_AFTER()        metric("weir_tls_certificate_not_after_timestamp_seconds{receiver=\"grpc\"} ")

/* A client and our stream, each on its end of a socket pair. */
struct pair {
    SSL *client;
    int fd; /* the client's */
    struct weir_stream *stream;
};

static inline struct pair pair_open(const struct client_options *options) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct pair pair = {.client = client_ssl(options), .fd = fds[0]};
    SSL_set_fd(pair.client, fds[0]);
    SSL_set_mode(pair.client, SSL_MODE_ENABLE_PARTIAL_WRITE);
    pair.stream = weir_tls_stream(tls, fds[1]);
    assert_non_null(pair.stream);
    assert_int_equal(pair.stream->kind->fd(pair.stream), fds[1]);
    return pair;
}

static inline void pair_close(struct pair *pair) {
    if (pair->stream != NULL) pair->stream->kind->close(pair->stream);
    SSL_free(pair->client);
    if (pair->fd >= 0) close(pair->fd);
    ERR_clear_error();
}

static inline ssize_t stream_read(struct pair *pair, void *bytes, size_t size) {
    return pair->stream->kind->read(pair->stream, bytes, size);
}

static inline uint32_t wants(const struct pair *pair) {
    return pair->stream->kind->wants(pair->stream);
}

/* Both shake hands. Whether both are content, after a word each way (of TLS 1.3 the client hears late). */
static inline bool shake(struct pair *pair) {
    char byte;
    ssize_t n = WEIR_STREAM_LATER;
    int sent = 0;
    for (int i = 0; i < 20 && n == WEIR_STREAM_LATER; i++) {
        if (sent != 1) sent = SSL_write(pair->client, "?", 1);
        n = stream_read(pair, &byte, 1);
    }
    if (n != 1 || byte != '?') return false;
    assert_int_equal(pair->stream->kind->write(pair->stream, (const uint8_t *)"!", 1), 1);
    return SSL_read(pair->client, &byte, 1) == 1 && byte == '!';
}

static inline bool accepts(const struct client_options *options) {
    struct pair pair = pair_open(options);
    bool ok = shake(&pair);
    pair_close(&pair);
    return ok;
}

static const struct client_options anyone = {0};
#endif
