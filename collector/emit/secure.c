#include "collector/emit/secure.h"
#include "collector/rpc/secure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum weir_status weir_emit_secure_context(const struct weir_emit_options *options, SSL_CTX **context,
                                          struct weir_error *err) {
    if (options->tls_ca == NULL) return WEIR_OK;
    return weir_rpc_secure_context(&(struct weir_rpc_tls){.ca = options->tls_ca,
                                                          .cert = options->tls_cert,
                                                          .key = options->tls_key,
                                                          .ca_is = "--tls-ca",
                                                          .cert_is = "--tls-cert",
                                                          .key_is = "--tls-key"},
                                   context, err);
}

enum weir_status weir_emit_secure_token(const char *path, char token[WEIR_EMIT_TOKEN_BYTES], struct weir_error *err) {
    static const char bearer[] = "Bearer ";
    enum { BEARER = sizeof bearer - 1 };
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_fail(err, WEIR_INVALID, 0, false, "--token-file %s: %s", path, strerror(errno));
    memcpy(token, bearer, sizeof bearer);
    bool got = fgets(token + BEARER, WEIR_EMIT_TOKEN_BYTES - BEARER, file) != NULL;
    fclose(file);
    if (got) token[BEARER + strcspn(token + BEARER, " \t\r\n")] = 0;
    if (got && token[BEARER] != 0) return WEIR_OK;
    token[0] = 0;
    return weir_fail(err, WEIR_INVALID, 0, false, "--token-file %s: is empty", path);
}
