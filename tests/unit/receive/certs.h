/* certs.h - authorities and certificates made for a test, in a folder of its own, and a client of TLS in memory. */
#ifndef WEIR_TESTS_CERTS_H
#define WEIR_TESTS_CERTS_H
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

static char certs_folder[] = "/tmp/weir-certs-XXXXXX";

static const char *certs_path(const char *name) {
    static char paths[8][96];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", certs_folder, name);
    return path;
}

/* by NULL: an authority. Their times lie seconds apart by their serials, however long it takes to make them. */
static struct cert cert_make(const char *name, const struct cert *by) {
    static long serial = 1;
    static time_t now;
    if (now == 0) now = time(NULL);
    struct cert made = {X509_new(), EVP_EC_gen("P-256")};
    assert_non_null(made.x509);
    assert_non_null(made.key);
    X509_set_version(made.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.x509), ++serial);
    X509_time_adj_ex(X509_getm_notBefore(made.x509), -1, 0, &now);
    X509_time_adj_ex(X509_getm_notAfter(made.x509), 1, serial, &now);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.x509), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                               -1, 0);
    X509_set_issuer_name(made.x509, X509_get_subject_name(by == NULL ? made.x509 : by->x509));
    X509_set_pubkey(made.x509, made.key);
    X509_EXTENSION *basic =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, by == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    X509_add_ext(made.x509, basic, -1);
    X509_EXTENSION_free(basic);
    assert_true(X509_sign(made.x509, by == NULL ? made.key : by->key, EVP_sha256()) > 0);
    return made;
}

static void cert_free(struct cert *cert) {
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

/* As who rotates them does: a file of its own takes the name. One that is written over within a tick of the file
 * system's clock, and is as long, has not changed for who looks at it. */
static FILE *begin_file(void) {
    FILE *out = fopen(certs_path("next"), "w");
    assert_non_null(out);
    return out;
}
static void end_file(FILE *out, const char *name, const char *ending) {
    char file[32];
    snprintf(file, sizeof file, "%s.%s", name, ending);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(rename(certs_path("next"), certs_path(file)), 0);
}

/* name.pem and name.key; either may be left out. */
static void cert_write(const struct cert *cert, const char *name, bool x509, bool key) {
    if (x509) {
        FILE *out = begin_file();
        assert_int_equal(PEM_write_X509(out, cert->x509), 1);
        end_file(out, name, "pem");
    }
    if (key) {
        FILE *out = begin_file();
        assert_int_equal(PEM_write_PrivateKey(out, cert->key, NULL, NULL, 0, NULL, NULL), 1);
        end_file(out, name, "key");
    }
}

static inline void file_write(const char *name, const char *text) {
    FILE *out = fopen(certs_path(name), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static struct cert authority, stranger, server_cert, next_cert, client_cert, strange_client;

static int certs_setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(certs_folder));
    authority = cert_make("authority", NULL);
    stranger = cert_make("stranger", NULL);
    server_cert = cert_make("server", &authority);
    next_cert = cert_make("next", &authority);
    client_cert = cert_make("client", &authority);
    strange_client = cert_make("strange client", &stranger);
    cert_write(&authority, "ca", true, true);
    cert_write(&stranger, "stranger", true, false);
    cert_write(&server_cert, "server", true, true);
    cert_write(&next_cert, "next", true, true);
    return 0;
}

static int certs_teardown(void **state) {
    static const char *const names[] = {"ca.pem",   "ca.key",   "stranger.pem", "server.pem", "server.key",
                                        "next.pem", "next.key", "broken.pem",   "tokens"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(certs_path(names[i]));
    rmdir(certs_folder);
    struct cert *all[] = {&authority, &stranger, &server_cert, &next_cert, &client_cert, &strange_client};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cert_free(all[i]);
    return 0;
}

/* ---- a client ---- */

struct client_options {
    const struct cert *shows; /* NULL: nothing */
    int version;              /* the only one it speaks; 0: any */
    const char *alpn;         /* in wire form: "\2h2" */
};

static inline SSL_CTX *client_context(const struct client_options *options) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.x509);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_security_level(context, 0); /* TLS 1.1 must be refused by the server, not by us */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (options->version != 0) {
        SSL_CTX_set_min_proto_version(context, options->version);
        SSL_CTX_set_max_proto_version(context, options->version);
    }
    if (options->shows != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(context, options->shows->x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, options->shows->key), 1);
    }
    if (options->alpn != NULL)
        SSL_CTX_set_alpn_protos(context, (const unsigned char *)options->alpn, (unsigned)strlen(options->alpn));
    return context;
}

static inline SSL *client_ssl(const struct client_options *options) {
    SSL_CTX *context = client_context(options);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    assert_non_null(ssl);
    SSL_set_connect_state(ssl);
    return ssl;
}

static inline bool shows_name(const SSL *ssl, const char *name) {
    char shown[64] = "";
    X509 *x509 = SSL_get1_peer_certificate(ssl);
    if (x509 != NULL) X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, shown, sizeof shown);
    X509_free(x509);
    return strcmp(shown, name) == 0;
}
#endif
