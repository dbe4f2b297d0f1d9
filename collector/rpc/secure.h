/* secure.h - TLS for who connects: one context for all connections of a client. */
#ifndef WEIR_RPC_SECURE_H
#define WEIR_RPC_SECURE_H
#include "collector/core/error.h"

#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/types.h>

struct weir_rpc_tls {
    const char *ca, *cert, *key; /* PEM files; NULL or "": the system's authorities; no certificate of our own */
    const char *ca_is, *cert_is, *key_is; /* what errors call them: "ca_file" */
};

/* Speaks TLS 1.2 or newer and offers h2. WEIR_INVALID: err->text names the key, the file and the reason. */
enum weir_status weir_rpc_secure_context(const struct weir_rpc_tls *files, SSL_CTX **context, struct weir_error *err);
/* Over a non-blocking socket that connects or has; the server must be `host`. NULL: out of memory. */
SSL *weir_rpc_secure_new(SSL_CTX *context, int fd, const char *host);
/* The handshake, as far as it goes. WEIR_FULL: it waits for the socket, *events (poll) say for what. */
enum weir_status weir_rpc_secure_connect(SSL *ssl, const char *host, short *events, struct weir_error *err);
/* Bytes, 0 at the end of the connection, -1 with EAGAIN or another errno: as recv() and send(). */
ssize_t weir_rpc_secure_read(SSL *ssl, uint8_t *bytes, size_t size);
ssize_t weir_rpc_secure_write(SSL *ssl, const uint8_t *bytes, size_t size);
#endif
