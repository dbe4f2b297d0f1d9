/* Certificates, keys and authorities in files: what is refused, and what is read again while it serves. */
#include "tests/unit/receive/tls_pair.h"

static void refuses(const char *text) {
    struct weir_error err = {0};
    assert_int_equal(weir_tls_open(&tls, "zipkin", &config, NULL, metrics, &err), WEIR_INVALID);
    assert_null(tls);
    if (strstr(err.text, text) == NULL) fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void test_files_that_do_not_do(void **state) {
    (void)state;
    const struct weir_tls_config good = config;
    snprintf(config.cert_file, sizeof config.cert_file, "/no/such.pem");
    refuses("receivers.zipkin.tls.cert_file: /no/such.pem: No such file or directory");
    config = good;
    snprintf(config.key_file, sizeof config.key_file, "/no/such.key");
    refuses("receivers.zipkin.tls.key_file: /no/such.key: No such file or directory");
    config = good;
    snprintf(config.key_file, sizeof config.key_file, "%s", certs_path("next.key"));
    refuses("next.key is not the key of the certificate in ");
    config = good;
    snprintf(config.cert_file, sizeof config.cert_file, "%s", certs_path("server.key"));
    refuses("receivers.zipkin.tls.cert_file: ");
    config = good;
    file_write("broken.pem", "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n");
    snprintf(config.client_ca_file, sizeof config.client_ca_file, "%s", certs_path("broken.pem"));
    refuses("receivers.zipkin.tls.client_ca_file: ");
    snprintf(config.client_ca_file, sizeof config.client_ca_file, "%s", certs_path("ca.key"));
    refuses("receivers.zipkin.tls.client_ca_file: ");
    config = good;
    /* An encrypted key is an error, not a question on the terminal. */
    FILE *out = fopen(certs_path("broken.pem"), "w");
    PEM_write_PrivateKey(out, server_cert.key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
    fclose(out);
    snprintf(config.key_file, sizeof config.key_file, "%s", certs_path("broken.pem"));
    refuses("receivers.zipkin.tls.key_file: ");
    struct weir_error err = {0};
    config = good;
    config.key_file[0] = 0;
    assert_int_equal(weir_tls_open(&tls, "admin", &config, NULL, NULL, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "admin.tls.key_file: "));
}

static bool shows(const char *name) {
    struct pair pair = pair_open(&anyone);
    bool ok = shake(&pair) && shows_name(pair.client, name);
    pair_close(&pair);
    return ok;
}

static void test_rotation(void **state) {
    (void)state;
    open_tls();
    struct pair old = pair_open(&anyone);
    assert_true(shake(&old));
    assert_true(shows("server"));
    double not_after = NOT_AFTER();
    assert_true(not_after > 1.7e9);
    weir_tls_refresh(tls);
    assert_int_equal(RELOADS("ok"), 0);
    /* the certificate first: it does not fit the key yet */
    cert_write(&next_cert, "server", true, false);
    weir_tls_refresh(tls);
    assert_int_equal(RELOADS("failed"), 1);
    assert_true(shows("server"));
    assert_true(NOT_AFTER() == not_after);
    weir_tls_refresh(tls); /* nothing changed since: it is not read again */
    assert_int_equal(RELOADS("failed"), 1);
    cert_write(&next_cert, "server", false, true);
    weir_tls_refresh(tls);
    assert_int_equal(RELOADS("ok"), 1);
    assert_true(shows("next"));
    assert_true(NOT_AFTER() == not_after + 1); /* a certificate's serial is in its time */
    /* who was here before stays */
    uint8_t word[4];
    assert_int_equal(SSL_write(old.client, "more", 4), 4);
    assert_int_equal(stream_read(&old, word, 4), 4);
    assert_int_equal(old.stream->kind->write(old.stream, word, 4), 4);
    assert_int_equal(SSL_read(old.client, word, 4), 4);
    assert_true(shows_name(old.client, "server"));
    pair_close(&old);
    /* gone, and back */
    unlink(certs_path("server.pem"));
    weir_tls_refresh(tls);
    assert_int_equal(RELOADS("failed"), 2);
    assert_true(shows("next"));
    cert_write(&server_cert, "server", true, true);
    weir_tls_refresh(tls);
    assert_true(shows("server"));
}

static void test_rotation_of_authorities(void **state) {
    (void)state;
    snprintf(config.client_ca_file, sizeof config.client_ca_file, "%s", certs_path("ca.pem"));
    open_tls();
    const struct client_options ours = {.shows = &client_cert}, theirs = {.shows = &strange_client};
    assert_true(accepts(&ours));
    assert_false(accepts(&theirs));
    cert_write(&stranger, "ca", true, false);
    weir_tls_refresh(tls);
    assert_false(accepts(&ours));
    assert_true(accepts(&theirs));
    file_write("ca.pem", "");
    weir_tls_refresh(tls);
    assert_true(accepts(&theirs));
    assert_int_equal(RELOADS("failed"), 1);
}

static void test_streams_outlive_their_context(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&anyone);
    struct weir_tls *closing = tls;
    tls = NULL;
    weir_tls_close(closing);
    assert_true(shake(&pair));
    assert_int_equal(HANDSHAKES("ok"), 1);
    pair_close(&pair);
    assert_true(HANDSHAKES("ok") == -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_that_do_not_do, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_of_authorities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams_outlive_their_context, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
