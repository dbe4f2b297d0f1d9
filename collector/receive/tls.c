/* Contexts: what a listener shows and asks for, and its rotation. */
#include "collector/receive/tls.h"
#include "collector/core/log.h"
#include "collector/receive/stamp.h"
#include "collector/receive/tls_inside.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 4.2); 1.3 has no others. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

enum { HANDSHAKES_OK, HANDSHAKES_FAILED, RELOADS_OK, RELOADS_FAILED, NOT_AFTER, METRICS };
static const struct weir_metric metrics[METRICS] = {
    [HANDSHAKES_OK] = {"tls_handshakes_total", "result=\"ok\"", WEIR_COUNTER,
                       "TLS handshakes by result; failed ones include peers that left before the end."},
    [HANDSHAKES_FAILED] = {"tls_handshakes_total", "result=\"failed\"", WEIR_COUNTER,
                           "TLS handshakes by result; failed ones include peers that left before the end."},
    [RELOADS_OK] = {"tls_reloads_total", "result=\"ok\"", WEIR_COUNTER,
                    "Readings of changed certificate, key or authority files, by lane."},
    [RELOADS_FAILED] = {"tls_reloads_total", "result=\"failed\"", WEIR_COUNTER,
                        "Readings of changed certificate, key or authority files, by lane."},
    [NOT_AFTER] = {"tls_certificate_not_after_timestamp_seconds", NULL, WEIR_GAUGE_MAX,
                   "When the certificate that is shown expires."},
};

enum { CERT, KEY, CA, FILES };
enum { HANDSHAKE_S = 10 };

struct weir_tls {
    uint32_t refs;
    bool closed;
    char name[32];
    struct weir_tls_config config;
    uint8_t alpn[32]; /* protocols, the best first */
    uint8_t alpn_size;
    SSL_CTX *context;
    struct weir_stamp stamps[FILES]; /* of what was read last, well or not */
    time_t next_look_s;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
    struct weir_tls_shaking *shaking;
    struct weir_loop *loop; /* NULL: not watched */
    struct weir_timer look;
};

const char *weir_tls_reason(char *out, size_t out_size, const char *otherwise) {
    unsigned long code = ERR_peek_error(); /* the first is the cause, later ones who heard of it */
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    if (reason == NULL && code != 0 && ERR_SYSTEM_ERROR(code)) reason = strerror(ERR_GET_REASON(code));
    snprintf(out, out_size, "%s", reason != NULL ? reason : otherwise);
    ERR_clear_error();
    return out;
}

/* ---- a context from files ---- */

static int no_password(char *out, int size, int writing, void *self) {
    (void)out, (void)size, (void)writing, (void)self;
    return -1; /* OpenSSL would ask the terminal */
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *offered,
                           unsigned int offered_size, void *self) {
    const struct weir_tls *tls = self;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_size, tls->alpn, tls->alpn_size, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2: no_application_protocol */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum weir_status file_failed(const struct weir_tls *tls, const char *key, const char *path,
                                    struct weir_error *err) {
    char section[48], reason[120];
    weir_stamp_section(tls->name, section, sizeof section);
    if (access(path, R_OK) != 0) {
        int sys = errno;
        ERR_clear_error();
        return weir_fail(err, WEIR_INVALID, 0, false, "%s.tls.%s: %s: %s", section, key, path, strerror(sys));
    }
    return weir_fail(err, WEIR_INVALID, 0, false, "%s.tls.%s: %s: %s", section, key, path,
                     weir_tls_reason(reason, sizeof reason, "not a PEM file of that kind"));
}

static enum weir_status load_files(const struct weir_tls *tls, SSL_CTX *context, struct weir_error *err) {
    const struct weir_tls_config *config = &tls->config;
    char section[48];
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, config->cert_file) != 1)
        return file_failed(tls, "cert_file", config->cert_file, err);
    /* Before the key: where it is of another certificate, OpenSSL drops the certificate again. */
    if (SSL_CTX_use_PrivateKey_file(context, config->key_file, SSL_FILETYPE_PEM) != 1 &&
        ERR_GET_LIB(ERR_peek_error()) != ERR_LIB_X509)
        return file_failed(tls, "key_file", config->key_file, err);
    if (SSL_CTX_check_private_key(context) != 1) {
        weir_stamp_section(tls->name, section, sizeof section);
        ERR_clear_error();
        return weir_fail(err, WEIR_INVALID, 0, false, "%s.tls.key_file: %s is not the key of the certificate in %s",
                         section, config->key_file, config->cert_file);
    }
    if (config->client_ca_file[0] == 0) return WEIR_OK;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca_file);
    if (names == NULL || SSL_CTX_load_verify_file(context, config->client_ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return file_failed(tls, "client_ca_file", config->client_ca_file, err);
    }
    SSL_CTX_set_client_CA_list(context, names); /* owns them */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return WEIR_OK;
}

static enum weir_status make_context(struct weir_tls *tls, SSL_CTX **out, struct weir_error *err) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    int version = tls->config.min_version == WEIR_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (context == NULL || SSL_CTX_set_min_proto_version(context, version) != 1 ||
        SSL_CTX_set_cipher_list(context, CIPHERS_1_2) != 1 ||
        SSL_CTX_set_session_id_context(context, (const uint8_t *)tls->name, (unsigned)strlen(tls->name)) != 1) {
        SSL_CTX_free(context);
        ERR_clear_error();
        return weir_fail(err, WEIR_FULL, 0, false, "%s: tls: out of memory", tls->name);
    }
    /* An end without close_notify is an ordinary end: what is carried says itself where it is whole. */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    /* Sessions live in tickets alone, whose key is the context's: a new one trusts none that another has given. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (tls->alpn_size > 0) SSL_CTX_set_alpn_select_cb(context, choose_protocol, tls);
    enum weir_status status = load_files(tls, context, err);
    if (status != WEIR_OK) {
        SSL_CTX_free(context);
        return status;
    }
    *out = context;
    return WEIR_OK;
}

static uint64_t not_after_s(const SSL_CTX *context) {
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    struct tm at;
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &at) != 1) return 0;
    time_t s = timegm(&at);
    return s < 0 ? 0 : (uint64_t)s;
}

static void stamp_files(const struct weir_tls *tls, struct weir_stamp stamps[FILES]) {
    stamps[CERT] = weir_stamp_of(tls->config.cert_file);
    stamps[KEY] = weir_stamp_of(tls->config.key_file);
    stamps[CA] = weir_stamp_of(tls->config.client_ca_file);
}

/* ---- rotation ---- */

void weir_tls_refresh(struct weir_tls *tls) {
    if (tls == NULL) return;
    struct weir_stamp now[FILES];
    struct weir_error err = {0};
    SSL_CTX *context = NULL;
    bool same = true;
    stamp_files(tls, now); /* before they are read: what changes meanwhile is seen next time */
    for (int i = 0; i < FILES; i++)
        same = same && weir_stamp_equal(&now[i], &tls->stamps[i]);
    if (same) return;
    memcpy(tls->stamps, now, sizeof now);
    bool ok = make_context(tls, &context, &err) == WEIR_OK;
    if (ok) {
        SSL_CTX_free(tls->context); /* connections that are open hold it */
        tls->context = context;
        weir_log(WEIR_LOG_INFO, "tls_reloaded receiver=%s cert_file=\"%s\"", tls->name, tls->config.cert_file);
    } else {
        /* Between the writing of a certificate and of its key this is as it should be. */
        weir_log(WEIR_LOG_WARN, "tls_not_reloaded receiver=%s reason=\"%s\"", tls->name, err.text);
    }
    if (tls->set == NULL) return;
    weir_count(tls->set, ok ? RELOADS_OK : RELOADS_FAILED, 1);
    weir_gauge(tls->set, NOT_AFTER, not_after_s(tls->context));
}

static void look_due(struct weir_timer *timer) {
    struct weir_tls *tls = (struct weir_tls *)((char *)timer - offsetof(struct weir_tls, look));
    uint64_t now_ns = weir_loop_now(tls->loop);
    for (const struct weir_tls_shaking *one = tls->shaking; one != NULL; one = one->next) {
        if (now_ns - one->since_ns > HANDSHAKE_S * WEIR_S) shutdown(one->fd, SHUT_RDWR);
    }
    weir_tls_refresh(tls);
    weir_loop_set(tls->loop, timer, now_ns + WEIR_STAMP_LOOK_S * WEIR_S);
}

void weir_tls_watch(struct weir_tls *tls, struct weir_loop *loop) {
    if (tls == NULL) return;
    tls->loop = loop;
    weir_loop_set(loop, &tls->look, weir_loop_now(loop) + WEIR_STAMP_LOOK_S * WEIR_S);
}

SSL *weir_tls_new_ssl(struct weir_tls *tls) {
    if (!tls->closed && weir_stamp_due(&tls->next_look_s)) weir_tls_refresh(tls);
    return SSL_new(tls->context);
}

/* ---- handshakes ---- */

void weir_tls_shake(struct weir_tls *tls, struct weir_tls_shaking *shaking) {
    shaking->since_ns = tls->loop == NULL ? 0 : weir_loop_now(tls->loop);
    shaking->next = tls->shaking;
    shaking->slot = &tls->shaking;
    if (shaking->next != NULL) shaking->next->slot = &shaking->next;
    tls->shaking = shaking;
}

/* "-" when it is gone, or no peer over IP. */
static const char *print_peer(int fd, char *out, socklen_t out_size) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    const void *address = getpeername(fd, (struct sockaddr *)&peer, &size) != 0 ? NULL
                          : peer.ss_family == AF_INET ? (const void *)&((struct sockaddr_in *)(void *)&peer)->sin_addr
                          : peer.ss_family == AF_INET6
                              ? (const void *)&((struct sockaddr_in6 *)(void *)&peer)->sin6_addr
                              : NULL;
    return address != NULL && inet_ntop(peer.ss_family, address, out, out_size) != NULL ? out : "-";
}

void weir_tls_shaken(struct weir_tls *tls, struct weir_tls_shaking *shaking, bool ok, const char *why) {
    static struct weir_log_limit limit, left_limit;
    *shaking->slot = shaking->next;
    if (shaking->next != NULL) shaking->next->slot = shaking->slot;
    if (tls->set != NULL) weir_count(tls->set, ok ? HANDSHAKES_OK : HANDSHAKES_FAILED, 1);
    if (ok) return;
    char peer[INET6_ADDRSTRLEN];
    weir_log_limited(why == NULL ? &left_limit : &limit, why == NULL ? WEIR_LOG_DEBUG : WEIR_LOG_WARN,
                     "tls_handshake_failed receiver=%s peer=%s reason=\"%s\"", tls->name,
                     print_peer(shaking->fd, peer, sizeof peer), why == NULL ? "the peer left" : why);
}

/* ---- life ---- */

struct weir_tls *weir_tls_ref(struct weir_tls *tls) {
    tls->refs++;
    return tls;
}

/* "http/1.1,http/1.0" as each with its length in front (RFC 7301 3.1). */
static void list_protocols(struct weir_tls *tls, const char *names) {
    while (*names != 0) {
        size_t size = strcspn(names, ",");
        assert(tls->alpn_size + 1 + size <= sizeof tls->alpn);
        tls->alpn[tls->alpn_size] = (uint8_t)size;
        memcpy(tls->alpn + tls->alpn_size + 1, names, size);
        tls->alpn_size = (uint8_t)(tls->alpn_size + 1 + size);
        names += size;
        names += *names == ',';
    }
}

enum weir_status weir_tls_open(struct weir_tls **out, const char *name, const struct weir_tls_config *config,
                               const char *alpn, struct weir_metrics *registry, struct weir_error *err) {
    char labels[64];
    if (config->cert_file[0] == 0) return WEIR_OK;
    struct weir_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) return weir_fail(err, WEIR_FULL, 0, false, "%s: tls: out of memory", name);
    tls->refs = 1;
    snprintf(tls->name, sizeof tls->name, "%s", name);
    tls->config = *config;
    tls->look.fire = look_due;
    tls->registry = registry;
    list_protocols(tls, alpn == NULL ? "" : alpn);
    stamp_files(tls, tls->stamps);
    enum weir_status status = make_context(tls, &tls->context, err);
    if (status == WEIR_OK && registry != NULL) {
        snprintf(labels, sizeof labels, "receiver=\"%s\"", tls->name);
        tls->set = weir_metrics_open(registry, metrics, METRICS, labels);
        if (tls->set == NULL) status = weir_fail(err, WEIR_FULL, 0, false, "%s: tls: out of memory", name);
    }
    if (status != WEIR_OK) {
        weir_tls_close(tls);
        return status;
    }
    if (tls->set != NULL) weir_gauge(tls->set, NOT_AFTER, not_after_s(tls->context));
    *out = tls;
    return WEIR_OK;
}

void weir_tls_unref(struct weir_tls *tls) {
    if (--tls->refs > 0) return;
    SSL_CTX_free(tls->context);
    weir_metrics_close(tls->registry, tls->set);
    free(tls);
}

void weir_tls_close(struct weir_tls *tls) {
    if (tls == NULL) return;
    if (tls->loop != NULL) weir_loop_unset(tls->loop, &tls->look);
    tls->loop = NULL;
    tls->closed = true;
    weir_tls_unref(tls);
}
