/* secure.h - the files that `weir emit` is given for TLS and authorization. */
#ifndef WEIR_EMIT_SECURE_H
#define WEIR_EMIT_SECURE_H
#include "collector/core/error.h"
#include "collector/emit/options.h"

#include <openssl/ssl.h>

enum { WEIR_EMIT_TOKEN_BYTES = 4096 };

/* *context stays NULL without --tls-ca. */
enum weir_status weir_emit_secure_context(const struct weir_emit_options *options, SSL_CTX **context,
                                          struct weir_error *err);
/* The first line of a file, of at most so many bytes, behind "Bearer ". */
enum weir_status weir_emit_secure_token(const char *path, char token[WEIR_EMIT_TOKEN_BYTES], struct weir_error *err);
#endif
