#include "collector/rpc/secure.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>

static const char *reason(void) {
    unsigned long code = ERR_peek_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    if (text == NULL && code != 0 && ERR_SYSTEM_ERROR(code)) text = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return text == NULL ? "the server ended the connection" : text;
}

static bool given(const char *path) {
    return path != NULL && *path != 0;
}

enum weir_status weir_rpc_secure_context(const struct weir_rpc_tls *files, SSL_CTX **out, struct weir_error *err) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) return weir_fail(err, WEIR_FULL, 0, false, "%s: no memory", files->ca_is);
    const char *key = NULL, *path = NULL;
    if (given(files->ca) ? SSL_CTX_load_verify_file(context, files->ca) != 1
                         : SSL_CTX_set_default_verify_paths(context) != 1) {
        key = files->ca_is;
        path = given(files->ca) ? files->ca : "";
    } else if (given(files->cert) && SSL_CTX_use_certificate_chain_file(context, files->cert) != 1) {
        key = files->cert_is;
        path = files->cert;
    } else if (given(files->key) && (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
                                     SSL_CTX_check_private_key(context) != 1)) {
        key = files->key_is;
        path = files->key;
    }
    if (key != NULL) {
        SSL_CTX_free(context);
        return weir_fail(err, WEIR_INVALID, 0, false, "%s %s: %s", key, path, reason());
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    *out = context;
    return WEIR_OK;
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

ssize_t weir_rpc_secure_read(SSL *ssl, uint8_t *bytes, size_t size) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(ssl, bytes, (int)(size < INT_MAX ? size : INT_MAX));
    return n > 0 ? n : outcome(ssl, n);
}

ssize_t weir_rpc_secure_write(SSL *ssl, const uint8_t *bytes, size_t size) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(ssl, bytes, (int)(size < INT_MAX ? size : INT_MAX));
    if (n > 0) return n;
    ssize_t met = outcome(ssl, n);
    if (met == 0) errno = EPIPE;
    return -1;
}

SSL *weir_rpc_secure_new(SSL_CTX *context, int fd, const char *host) {
    SSL *ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    /* RFC 6066 3: addresses are not sent as names. */
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) != 1) {
        SSL_set1_host(ssl, host);
        SSL_set_tlsext_host_name(ssl, host);
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

enum weir_status weir_rpc_secure_connect(SSL *ssl, const char *host, short *events, struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_do_handshake(ssl);
    if (n == 1) return WEIR_OK;
    int want = SSL_get_error(ssl, n);
    if (want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE) {
        *events = want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return WEIR_FULL;
    }
    long verified = SSL_get_verify_result(ssl);
    return weir_fail(err, WEIR_IO, 0, true, "%s: TLS: %s", host,
                     verified != X509_V_OK ? X509_verify_cert_error_string(verified) : reason());
}
