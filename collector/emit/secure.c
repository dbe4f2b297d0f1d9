#include "collector/emit/secure.h"
#include "collector/core/clock.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *reason(void) {
    unsigned long code = ERR_peek_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    if (text == NULL && code != 0 && ERR_SYSTEM_ERROR(code)) text = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return text == NULL ? "the server ended the connection" : text;
}

enum weir_status weir_emit_secure_context(const struct weir_emit_options *options, SSL_CTX **out,
                                          struct weir_error *err) {
    if (options->tls_ca == NULL) return WEIR_OK;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) return weir_fail(err, WEIR_FULL, 0, false, "--tls-ca: no memory");
    const char *key = NULL, *path = NULL;
    if (SSL_CTX_load_verify_file(context, options->tls_ca) != 1) {
        key = "tls-ca";
        path = options->tls_ca;
    } else if (options->tls_cert != NULL && SSL_CTX_use_certificate_chain_file(context, options->tls_cert) != 1) {
        key = "tls-cert";
        path = options->tls_cert;
    } else if (options->tls_key != NULL &&
               (SSL_CTX_use_PrivateKey_file(context, options->tls_key, SSL_FILETYPE_PEM) != 1 ||
                SSL_CTX_check_private_key(context) != 1)) {
        key = "tls-key";
        path = options->tls_key;
    }
    if (key != NULL) {
        SSL_CTX_free(context);
        return weir_fail(err, WEIR_INVALID, 0, false, "--%s %s: %s", key, path, reason());
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    *out = context;
    return WEIR_OK;
}

enum weir_status weir_emit_secure_token(const char *path, char token[WEIR_EMIT_TOKEN_BYTES], struct weir_error *err) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_fail(err, WEIR_INVALID, 0, false, "--token-file %s: %s", path, strerror(errno));
    bool got = fgets(token, WEIR_EMIT_TOKEN_BYTES, file) != NULL;
    fclose(file);
    if (got) token[strcspn(token, " \t\r\n")] = 0;
    return got && token[0] != 0 ? WEIR_OK : weir_fail(err, WEIR_INVALID, 0, false, "--token-file %s: is empty", path);
}

/* What a call of OpenSSL that gave nothing means, as -1 with errno or 0. */
static ssize_t outcome(SSL *ssl, int result) {
    int sys = errno;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: errno = sys != 0 ? sys : EPIPE; return -1;
    default: errno = EPROTO; return -1;
    }
}

ssize_t weir_emit_secure_read(SSL *ssl, uint8_t *bytes, size_t size) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(ssl, bytes, (int)(size < INT_MAX ? size : INT_MAX));
    return n > 0 ? n : outcome(ssl, n);
}

ssize_t weir_emit_secure_write(SSL *ssl, const uint8_t *bytes, size_t size) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(ssl, bytes, (int)(size < INT_MAX ? size : INT_MAX));
    if (n > 0) return n;
    ssize_t met = outcome(ssl, n);
    if (met == 0) errno = EPIPE;
    return -1;
}

enum weir_status weir_emit_secure_connect(SSL_CTX *context, int fd, const char *host, uint64_t timeout_ns, SSL **out,
                                          struct weir_error *err) {
    uint64_t until_ns = weir_mono_ns(&weir_clock_system) + timeout_ns;
    SSL *ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory for TLS", host);
    }
    /* RFC 6066 3: addresses are not sent as names. */
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) != 1) {
        SSL_set1_host(ssl, host);
        SSL_set_tlsext_host_name(ssl, host);
    }
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int n = SSL_connect(ssl);
        if (n == 1) {
            *out = ssl;
            return WEIR_OK;
        }
        int want = SSL_get_error(ssl, n);
        uint64_t now_ns = weir_mono_ns(&weir_clock_system);
        if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) break;
        struct pollfd ready = {.fd = fd, .events = want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
        uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns) / WEIR_MS : 0;
        if (left_ms == 0 || poll(&ready, 1, left_ms > 60000 ? 60000 : (int)left_ms) == 0) {
            SSL_free(ssl);
            return weir_fail(err, WEIR_IO, ETIMEDOUT, true, "%s: TLS", host);
        }
    }
    long verified = SSL_get_verify_result(ssl);
    SSL_free(ssl);
    return weir_fail(err, WEIR_IO, 0, true, "%s: TLS: %s", host,
                     verified != X509_V_OK ? X509_verify_cert_error_string(verified) : reason());
}
