/* Streams of TLS: what is shown and asked for, bytes both ways, and time. Files: test_tls_files.c. */
#include "tests/unit/receive/tls_pair.h"

/* ---- what is shown and asked for ---- */

static void test_versions(void **state) {
    (void)state;
    open_tls();
    assert_true(accepts(&anyone));
    assert_true(accepts(&(struct client_options){.version = TLS1_2_VERSION}));
    assert_true(accepts(&(struct client_options){.version = TLS1_3_VERSION}));
    assert_int_equal(HANDSHAKES("ok"), 3);
    assert_int_equal(HANDSHAKES("failed"), 0);
    assert_false(accepts(&(struct client_options){.version = TLS1_1_VERSION}));
    assert_int_equal(HANDSHAKES("failed"), 1);
    weir_tls_close(tls);
    tls = NULL;
    config.min_version = WEIR_TLS_1_3;
    open_tls();
    assert_true(accepts(&(struct client_options){.version = TLS1_3_VERSION}));
    assert_false(accepts(&(struct client_options){.version = TLS1_2_VERSION}));
}

static void test_ciphers_of_1_2_have_forward_secrecy(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&(struct client_options){.version = TLS1_2_VERSION});
    assert_int_equal(SSL_set_cipher_list(pair.client, "ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256"), 1);
    assert_false(shake(&pair));
    pair_close(&pair);
}

static void test_client_certificates(void **state) {
    (void)state;
    snprintf(config.client_ca_file, sizeof config.client_ca_file, "%s", certs_path("ca.pem"));
    open_tls();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        assert_true(accepts(&(struct client_options){.shows = &client_cert, .version = version}));
        assert_false(accepts(&(struct client_options){.version = version}));
        assert_false(accepts(&(struct client_options){.shows = &strange_client, .version = version}));
    }
    assert_int_equal(HANDSHAKES("ok"), 2);
    assert_int_equal(HANDSHAKES("failed"), 4);
}

static void test_protocols(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&(struct client_options){.alpn = "\10http/1.1\2h2"});
    const unsigned char *chosen;
    unsigned size;
    assert_true(shake(&pair));
    SSL_get0_alpn_selected(pair.client, &chosen, &size);
    assert_int_equal(size, 2);
    assert_memory_equal(chosen, "h2", 2);
    pair_close(&pair);
    assert_false(accepts(&(struct client_options){.alpn = "\10http/1.1"}));
}

/* A session that one context has given is not trusted by the next: it may ask for other certificates. */
static void test_sessions_end_with_their_context(void **state) {
    (void)state;
    open_tls();
    bool resumed[2];
    for (int i = 0; i < 2; i++) {
        struct client_options options = {.version = TLS1_2_VERSION};
        struct pair first = pair_open(&options);
        assert_true(shake(&first));
        SSL_SESSION *session = SSL_get1_session(first.client);
        if (i == 1) {
            cert_write(&next_cert, "server", true, true);
            weir_tls_refresh(tls);
        }
        struct pair second = pair_open(&options);
        SSL_set_session(second.client, session);
        assert_true(shake(&second));
        resumed[i] = SSL_session_reused(second.client);
        SSL_SESSION_free(session);
        pair_close(&first);
        pair_close(&second);
    }
    assert_true(resumed[0]);
    assert_false(resumed[1]);
}

/* ---- bytes ---- */

static void test_a_handshake_in_single_bytes(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&anyone);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(pair.client, in, out); /* instead of the socket */
    uint8_t byte, word[8];
    ssize_t got = WEIR_STREAM_LATER;
    unsigned steps = 0;
    bool wrote = false;
    assert_int_equal(wants(&pair), EPOLLIN);
    while (got == WEIR_STREAM_LATER) {
        if (!wrote) wrote = SSL_write(pair.client, "hello", 5) == 5;
        for (; got == WEIR_STREAM_LATER && BIO_read(out, &byte, 1) == 1; steps++) {
            assert_int_equal(send(pair.fd, &byte, 1, 0), 1);
            got = stream_read(&pair, word, sizeof word);
            assert_true(got == WEIR_STREAM_LATER || got == 5);
            if (got == WEIR_STREAM_LATER) assert_true(wants(&pair) == EPOLLIN || HANDSHAKES("ok") == 1);
        }
        assert_int_equal(stream_read(&pair, word + 5, 3), WEIR_STREAM_LATER);
        while (recv(pair.fd, &byte, 1, 0) == 1)
            BIO_write(in, &byte, 1);
    }
    assert_memory_equal(word, "hello", 5);
    assert_true(steps > 300);
    assert_int_equal(wants(&pair), 0);
    assert_int_equal(HANDSHAKES("ok"), 1);
    pair_close(&pair);
}

/* As a server of HTTP/2, which greets at once: the socket takes bytes, but there is nothing to wait for in that. */
static void test_who_writes_first_waits_to_read(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&anyone);
    char word[5];
    ssize_t wrote = WEIR_STREAM_LATER;
    for (int i = 0; i < 20 && wrote == WEIR_STREAM_LATER; i++) {
        wrote = pair.stream->kind->write(pair.stream, (const uint8_t *)"hello", 5);
        if (wrote == WEIR_STREAM_LATER) assert_int_equal(wants(&pair), EPOLLIN);
        SSL_do_handshake(pair.client);
    }
    assert_int_equal(wrote, 5);
    assert_int_equal(wants(&pair), 0);
    assert_int_equal(SSL_read(pair.client, word, 5), 5);
    pair_close(&pair);
}

static uint8_t pattern(size_t at) {
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

enum { MUCH = 3 << 20 };

static void test_much_both_ways(void **state) {
    (void)state;
    open_tls();
    static const size_t shares[] = {1000, 16 * 1024, 256 * 1024};
    static uint8_t made[256 * 1024], got[256 * 1024];
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        struct pair pair = pair_open(&anyone);
        size_t up_sent = 0, up_got = 0, down_sent = 0, down_got = 0, share = shares[s];
        assert_true(shake(&pair));
        while (up_got < MUCH || down_got < MUCH) {
            size_t before = up_got + down_got + up_sent + down_sent;
            for (size_t i = 0; i < share; i++)
                made[i] = pattern(up_sent + i);
            size_t size = MUCH - up_sent < share ? MUCH - up_sent : share;
            int n = size > 0 ? SSL_write(pair.client, made, (int)size) : 0;
            if (n > 0) up_sent += (size_t)n;
            ssize_t r = stream_read(&pair, got, share);
            for (ssize_t i = 0; i < r; i++)
                assert_int_equal(got[i], pattern(up_got + (size_t)i));
            if (r > 0) up_got += (size_t)r;
            for (size_t i = 0; i < share; i++)
                made[i] = pattern(down_sent + i);
            size = MUCH - down_sent < share ? MUCH - down_sent : share;
            ssize_t w = size > 0 ? pair.stream->kind->write(pair.stream, made, size) : 0;
            if (w > 0) down_sent += (size_t)w;
            if (w == WEIR_STREAM_LATER) assert_int_equal(wants(&pair), EPOLLOUT);
            n = SSL_read(pair.client, got, (int)share);
            for (int i = 0; i < n; i++)
                assert_int_equal(got[i], pattern(down_got + (size_t)i));
            if (n > 0) down_got += (size_t)n;
            assert_true(r >= 0 || r == WEIR_STREAM_LATER);
            assert_true(up_got + down_got + up_sent + down_sent > before);
        }
        pair_close(&pair);
    }
}

/* What OpenSSL holds is behind epoll's back. */
static void test_what_is_held_is_asked_for(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&anyone);
    uint8_t made[10000], got[3000];
    assert_true(shake(&pair));
    for (size_t i = 0; i < sizeof made; i++)
        made[i] = pattern(i);
    assert_int_equal(SSL_write(pair.client, made, sizeof made), sizeof made);
    assert_int_equal(stream_read(&pair, got, 3000), 3000);
    assert_int_equal(wants(&pair), EPOLLOUT);
    assert_int_equal(stream_read(&pair, got, 3000), 3000);
    assert_int_equal(pair.stream->kind->write(pair.stream, made, 10), 10);
    assert_int_equal(wants(&pair), EPOLLOUT);
    assert_int_equal(stream_read(&pair, got, 3000), 3000);
    assert_int_equal(stream_read(&pair, got, 3000), 1000);
    assert_memory_equal(got, made + 9000, 1000);
    assert_int_equal(wants(&pair), 0);
    assert_int_equal(stream_read(&pair, got, 3000), WEIR_STREAM_LATER);
    assert_int_equal(wants(&pair), 0);
    /* An end that came with the last bytes would never be told by epoll either, unless the socket is closed too. */
    SSL_write(pair.client, made, 100);
    SSL_shutdown(pair.client);
    assert_int_equal(stream_read(&pair, got, 3000), 100);
    assert_int_equal(wants(&pair), EPOLLOUT);
    assert_int_equal(stream_read(&pair, got, 3000), WEIR_STREAM_END);
    assert_int_equal(stream_read(&pair, got, 3000), WEIR_STREAM_END);
    pair_close(&pair);
}

static void test_peers_that_vanish(void **state) {
    (void)state;
    open_tls();
    uint8_t got[100];
    /* before a byte */
    struct pair pair = pair_open(&anyone);
    close(pair.fd);
    pair.fd = -1;
    assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_BROKEN);
    assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_BROKEN);
    assert_int_equal(pair.stream->kind->write(pair.stream, got, 1), WEIR_STREAM_BROKEN);
    pair_close(&pair);
    assert_int_equal(HANDSHAKES("failed"), 1);
    /* within the handshake, and ours to close */
    pair = pair_open(&anyone);
    SSL_do_handshake(pair.client);
    assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_LATER);
    pair_close(&pair);
    assert_int_equal(HANDSHAKES("failed"), 2);
    /* behind it, with and without a goodbye */
    for (int i = 0; i < 2; i++) {
        pair = pair_open(&anyone);
        assert_true(shake(&pair));
        if (i == 0) SSL_shutdown(pair.client);
        close(pair.fd);
        pair.fd = -1;
        assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_END);
        assert_int_equal(pair.stream->kind->write(pair.stream, got, 1), WEIR_STREAM_BROKEN);
        pair_close(&pair);
    }
    assert_int_equal(HANDSHAKES("ok"), 2);
    assert_int_equal(HANDSHAKES("failed"), 2);
}

static void test_what_is_not_tls(void **state) {
    (void)state;
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: weir\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                        "\x16\x03\x01\xff\xff garbage garbage garbage", "\x15\x03\x03\x01\x02\x02\x28",
                                        "\x80\x80\x01\x03\x01 an ssl 2 hello of old \x01\x02\x03\x04\x05\x06\x07"};
    open_tls();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pair pair = pair_open(&anyone);
        uint8_t got[100];
        assert_true(send(pair.fd, texts[i], strlen(texts[i]), 0) > 0);
        shutdown(pair.fd, SHUT_WR);
        assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_BROKEN);
        pair_close(&pair);
    }
    /* broken later: a record whose tag is wrong */
    struct pair pair = pair_open(&anyone);
    uint8_t got[100];
    assert_true(shake(&pair));
    assert_int_equal(send(pair.fd,
                          "\x17\x03\x03\x00\x14"
                          "01234567890123456789",
                          25, 0),
                     25);
    assert_int_equal(stream_read(&pair, got, sizeof got), WEIR_STREAM_BROKEN);
    pair_close(&pair);
    assert_int_equal(HANDSHAKES("failed"), sizeof texts / sizeof texts[0]);
    assert_int_equal(HANDSHAKES("ok"), 1);
}

/* A peer may ask for new keys all the time; one that reads nothing of what we say to that is not read from either. */
static void test_new_keys(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&(struct client_options){.version = TLS1_3_VERSION});
    uint8_t got[10];
    assert_true(shake(&pair));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(SSL_key_update(pair.client, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(pair.client, "word", 4), 4);
        assert_int_equal(stream_read(&pair, got, sizeof got), 4);
        assert_int_equal(wants(&pair), 0);
        assert_int_equal(SSL_read(pair.client, got, 1), -1);
    }
    ssize_t n = 4;
    for (int i = 0; i < 10000 && n == 4; i++) {
        SSL_key_update(pair.client, SSL_KEY_UPDATE_REQUESTED);
        if (SSL_write(pair.client, "word", 4) != 4) break;
        n = stream_read(&pair, got, sizeof got);
    }
    assert_int_equal(n, WEIR_STREAM_LATER);
    assert_int_equal(wants(&pair), EPOLLOUT);
    assert_int_equal(SSL_read(pair.client, got, 1), -1);
    assert_int_equal(stream_read(&pair, got, sizeof got), 4);
    assert_int_equal(wants(&pair), 0);
    assert_int_equal(pair.stream->kind->write(pair.stream, (const uint8_t *)"answer", 6), 6);
    assert_int_equal(SSL_read(pair.client, got, sizeof got), 6);
    pair_close(&pair);
}

static void test_renegotiation_is_refused(void **state) {
    (void)state;
    open_tls();
    struct pair pair = pair_open(&(struct client_options){.version = TLS1_2_VERSION});
    uint8_t got[10];
    assert_true(shake(&pair));
    SSL_renegotiate(pair.client);
    SSL_do_handshake(pair.client);
    ssize_t n = stream_read(&pair, got, sizeof got);
    assert_true(n == WEIR_STREAM_BROKEN || n == WEIR_STREAM_LATER);
    assert_true(SSL_do_handshake(pair.client) <= 0);
    pair_close(&pair);
}

static void test_without_a_context_a_stream_is_plain(void **state) {
    (void)state;
    struct weir_error err = {0};
    config.cert_file[0] = 0;
    assert_int_equal(weir_tls_open(&tls, "grpc", &config, "h2", metrics, &err), WEIR_OK);
    assert_null(tls);
    int fds[2];
    uint8_t got[4];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct weir_stream *stream = weir_tls_stream(NULL, fds[1]);
    assert_int_equal(send(fds[0], "ping", 4, 0), 4);
    assert_int_equal(stream->kind->read(stream, got, 4), 4);
    weir_tls_refresh(NULL);
    weir_tls_watch(NULL, NULL);
    assert_int_equal(weir_tls_pump(NULL, NULL, fds[0]), fds[0]);
    stream->kind->close(stream);
    close(fds[0]);
}

/* ---- on a loop: time runs twenty times as fast ---- */

static uint64_t fast_ns(void *self) {
    (void)self;
    return weir_mono_ns(&weir_clock_system) * 20;
}
static const struct weir_clock fast = {.mono_ns = fast_ns, .unix_ns = fast_ns};

struct waiting {
    struct weir_watch watch;
    struct weir_loop *loop;
    struct pair *pair;
    ssize_t got;
};

static void waiting_ready(struct weir_watch *watch, uint32_t events) {
    struct waiting *waiting = (struct waiting *)watch;
    uint8_t byte;
    (void)events;
    waiting->got = stream_read(waiting->pair, &byte, 1);
    if (waiting->got != WEIR_STREAM_LATER) weir_loop_stop(waiting->loop);
}

static void test_a_handshake_has_ten_seconds(void **state) {
    (void)state;
    open_tls();
    struct weir_loop *loop = weir_loop_new(&fast, NULL);
    weir_tls_watch(tls, loop);
    struct pair done = pair_open(&anyone);
    assert_true(shake(&done));
    struct pair pair = pair_open(&anyone);
    SSL_do_handshake(pair.client);
    struct waiting waiting = {.watch = {.fd = pair.stream->kind->fd(pair.stream), .ready = waiting_ready},
                              .loop = loop,
                              .pair = &pair,
                              .got = WEIR_STREAM_LATER};
    assert_int_equal(weir_loop_watch(loop, &waiting.watch, EPOLLIN, NULL), WEIR_OK);
    cert_write(&next_cert, "server", true, true); /* found without a connection or a word to look */
    weir_loop_run(loop);
    assert_int_equal(waiting.got, WEIR_STREAM_BROKEN);
    assert_int_equal(HANDSHAKES("failed"), 1);
    assert_int_equal(RELOADS("ok"), 1);
    uint8_t byte;
    assert_int_equal(stream_read(&done, &byte, 1), WEIR_STREAM_LATER);
    weir_loop_unwatch(loop, &waiting.watch);
    pair_close(&pair);
    pair_close(&done);
    weir_tls_close(tls);
    tls = NULL;
    weir_loop_free(loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_versions),
        TEST(test_ciphers_of_1_2_have_forward_secrecy),
        TEST(test_client_certificates),
        TEST(test_protocols),
        TEST(test_sessions_end_with_their_context),
        TEST(test_a_handshake_in_single_bytes),
        TEST(test_who_writes_first_waits_to_read),
        TEST(test_much_both_ways),
        TEST(test_what_is_held_is_asked_for),
        TEST(test_peers_that_vanish),
        TEST(test_what_is_not_tls),
        TEST(test_new_keys),
        TEST(test_renegotiation_is_refused),
        TEST(test_without_a_context_a_stream_is_plain),
        TEST(test_a_handshake_has_ten_seconds),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
