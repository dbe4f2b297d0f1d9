/* secure.h - TLS for `weir emit`: one context for all connections. */
#ifndef WEIR_EMIT_SECURE_H
#define WEIR_EMIT_SECURE_H
#include "collector/core/error.h"
#include "collector/emit/options.h"

#include <openssl/ssl.h>

enum { WEIR_EMIT_TOKEN_BYTES = 4096 };

/* *context stays NULL without --tls-ca. */
enum weir_status weir_emit_secure_context(const struct weir_emit_options *options, SSL_CTX **context,
                                          struct weir_error *err);
/* The first line of a file, of at most so many bytes. */
enum weir_status weir_emit_secure_token(const char *path, char token[WEIR_EMIT_TOKEN_BYTES], struct weir_error *err);
/* Shakes hands over a connected, non-blocking socket, as long as it may take; the server must be `host`. */
enum weir_status weir_emit_secure_connect(SSL_CTX *context, int fd, const char *host, uint64_t timeout_ns, SSL **ssl,
                                          struct weir_error *err);
/* Bytes, 0 at the end of the connection, -1 with EAGAIN or another errno: as recv() and send(). */
ssize_t weir_emit_secure_read(SSL *ssl, uint8_t *bytes, size_t size);
ssize_t weir_emit_secure_write(SSL *ssl, const uint8_t *bytes, size_t size);
#endif
