#define _GNU_SOURCE /* strcasestr, POLLRDHUP */
#include "collector/receive/http.h"
#include "collector/receive/tls.h"
#include "tests/unit/receive/certs.h"
#include "tests/unit/receive/http_rig.h"

#include <fcntl.h>
#include <signal.h>

/* Ends block here, and without a patience of their own: a process that is stopped and goes on would find that
 * interrupted (signal(7)). Whoever waits for so long is waited for in vain. */
enum { MUCH = 2 << 20, STUCK_S = 300 };

static struct weir_tls_config config;
static struct weir_tls *tls;
static struct weir_tls_pumps *pumps;
static int outer, inner; /* what is pumped; what its user gets */

static void watch_job(void) {
    weir_tls_watch(tls, lane.loop);
}
static void pump_job(void) {
    inner = weir_tls_pump(pumps, tls, outer);
}
static void free_job(void) {
    weir_tls_pumps_free(pumps);
    pumps = NULL;
}
static void close_job(void) {
    weir_tls_close(tls);
    tls = NULL;
}

static int setup(void **state) {
    (void)state;
    alarm(STUCK_S);
    config = (struct weir_tls_config){.min_version = WEIR_TLS_1_2};
    snprintf(config.cert_file, sizeof config.cert_file, "%s", certs_path("server.pem"));
    snprintf(config.key_file, sizeof config.key_file, "%s", certs_path("server.key"));
    lane_open();
    lane_clock_stands(); /* handshakes have ten seconds, and we may be slow */
    assert_int_equal(weir_tls_open(&tls, "zipkin", &config, "http/1.1", lane.metrics, NULL), WEIR_OK);
    pumps = weir_tls_pumps_new(lane.loop);
    assert_non_null(pumps);
    lane_start();
    on_lane(watch_job);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    on_lane(free_job);
    on_lane(close_job);
    lane_join();
    lane_free();
    alarm(0);
    return 0;
}

/* A client that blocks, and the user's end, which does too. */
static SSL *pumped(int *user) {
    int fds[2];
    const struct client_options anyone = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    outer = fds[1];
    fcntl(outer, F_SETFL, O_NONBLOCK);
    on_lane(pump_job);
    assert_true(inner >= 0);
    *user = inner;
    fcntl(*user, F_SETFL, 0);
    SSL *client = client_ssl(&anyone);
    SSL_set_fd(client, fds[0]);
    return client;
}

static void forget(SSL *client) {
    int fd = SSL_get_fd(client);
    SSL_free(client);
    if (fd >= 0) close(fd);
    ERR_clear_error();
}

static uint8_t pattern(size_t at) {
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

struct writing {
    SSL *client; /* NULL: to fd */
    int fd;
    size_t wrote;
};

static void *write_much(void *self) {
    struct writing *writing = self;
    static uint8_t made[MUCH];
    for (size_t i = 0; i < MUCH; i++)
        made[i] = pattern(i);
    while (writing->wrote < MUCH) {
        size_t left = MUCH - writing->wrote, size = left < 50000 ? left : 50000;
        ssize_t n = writing->client != NULL ? SSL_write(writing->client, made + writing->wrote, (int)size)
                                            : send(writing->fd, made + writing->wrote, size, MSG_NOSIGNAL);
        if (n <= 0) break;
        writing->wrote += (size_t)n;
    }
    return NULL;
}

static void test_much_one_way_and_the_other(void **state) {
    (void)state;
    int user;
    SSL *client = pumped(&user);
    static uint8_t got[64 * 1024];
    assert_int_equal(SSL_connect(client), 1);
    for (int down = 0; down < 2; down++) {
        struct writing writing = {.client = down ? NULL : client, .fd = user};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_much, &writing), 0);
        for (size_t at = 0; at < MUCH;) {
            ssize_t n = down ? SSL_read(client, got, sizeof got) : recv(user, got, sizeof got, 0);
            if (n <= 0) fail_msg("%zd after %zu bytes", n, at);
            for (ssize_t i = 0; i < n; i++)
                assert_int_equal(got[i], pattern(at + (size_t)i));
            at += (size_t)n;
            if (at < 500000) usleep(500); /* the writer is held up */
        }
        pthread_join(thread, NULL);
        assert_int_equal(writing.wrote, MUCH);
    }
    close(user);
    assert_int_equal(SSL_read(client, got, 1), 0);
    forget(client);
}

static void test_the_client_ends_its_side_first(void **state) {
    (void)state;
    int user;
    char got[16];
    SSL *client = pumped(&user);
    assert_int_equal(SSL_connect(client), 1);
    assert_int_equal(SSL_write(client, "question", 8), 8);
    SSL_shutdown(client);
    assert_int_equal(recv(user, got, 8, MSG_WAITALL), 8);
    assert_int_equal(recv(user, got, 8, 0), 0);
    assert_int_equal(send(user, "answer", 6, 0), 6);
    close(user);
    assert_int_equal(SSL_read(client, got, sizeof got), 6);
    assert_int_equal(SSL_read(client, got, sizeof got), 0);
    assert_true(SSL_get_shutdown(client) & SSL_RECEIVED_SHUTDOWN);
    forget(client);
}

/* As an answer to a body that is too large: the user reads no further and closes. */
static void test_an_answer_ahead_of_its_question(void **state) {
    (void)state;
    int user;
    char got[16];
    SSL *client = pumped(&user);
    static uint8_t much[300000];
    assert_int_equal(SSL_connect(client), 1);
    assert_int_equal(SSL_write(client, much, 1000), 1000);
    assert_int_equal(recv(user, got, 8, 0), 8);
    assert_int_equal(send(user, "too large", 9, 0), 9);
    close(user);
    SSL_write(client, much, sizeof much); /* whoever hears of it or not */
    assert_int_equal(SSL_read(client, got, sizeof got), 9);
    assert_memory_equal(got, "too large", 9);
    forget(client);
}

static void test_clients_that_vanish(void **state) {
    (void)state;
    int user;
    char got[16];
    for (int shaken = 0; shaken < 2; shaken++) {
        SSL *client = pumped(&user);
        if (shaken) assert_int_equal(SSL_connect(client), 1);
        forget(client);
        assert_int_equal(recv(user, got, sizeof got, 0), 0);
        close(user);
    }
    SSL *client = pumped(&user); /* what it said last arrives */
    assert_int_equal(SSL_connect(client), 1);
    assert_int_equal(SSL_write(client, "last words", 10), 10);
    forget(client);
    assert_int_equal(recv(user, got, 10, MSG_WAITALL), 10);
    assert_int_equal(recv(user, got, 1, 0), 0);
    close(user);
}

/* The user is done, and its peer takes nothing of what is left: after ten seconds it is not waited for. */
static void test_patience(void **state) {
    (void)state;
    static uint8_t much[60000];
    int user;
    char byte;
    SSL *client = pumped(&user);
    assert_int_equal(SSL_connect(client), 1);
    assert_int_equal(SSL_write(client, "?", 1), 1);
    assert_int_equal(recv(user, &byte, 1, 0), 1);
    fcntl(user, F_SETFL, O_NONBLOCK);
    for (bool moves = true; moves; lane_catches_up()) {
        moves = false;
        while (send(user, much, sizeof much, MSG_NOSIGNAL) > 0)
            moves = true;
    }
    close(user);
    struct pollfd poller = {.fd = SSL_get_fd(client), .events = POLLRDHUP};
    for (int second = 0; second < 10; second++) {
        lane_catches_up();
        assert_int_equal(poll(&poller, 1, 0), 0);
        lane.ahead_ns += WEIR_S;
    }
    lane_catches_up();
    assert_int_equal(poll(&poller, 1, PATIENCE_MS), 1);
    forget(client);
}

static void test_freeing_ends_and_delivers(void **state) {
    (void)state;
    int user;
    char got[16];
    SSL *client = pumped(&user);
    assert_int_equal(SSL_connect(client), 1);
    assert_int_equal(SSL_write(client, "?", 1), 1);
    assert_int_equal(recv(user, got, 1, 0), 1);
    assert_int_equal(send(user, "last words", 10, 0), 10);
    on_lane(free_job);
    assert_int_equal(SSL_read(client, got, sizeof got), 10);
    assert_int_equal(SSL_read(client, got, sizeof got), 0);
    assert_true(recv(user, got, 1, 0) <= 0);
    close(user);
    forget(client);
    pumps = weir_tls_pumps_new(lane.loop);
}

/* ---- libmicrohttpd behind it ---- */

static struct weir_http *http;
static struct weir_budget budget;
static struct weir_http_config http_config;

static void echo(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    (void)self, (void)content_type;
    weir_http_answer(call, 200, "application/octet-stream", (*body)->bytes, (*body)->size, 0);
}
static const struct weir_http_route routes[] = {{"POST", "/echo", echo}, {.path = NULL}};

static void http_start_job(void) {
    assert_int_equal(weir_http_start(http, NULL), WEIR_OK);
}
static void http_close_job(void) {
    weir_http_stop(http);
    weir_http_close(http);
}

static SSL *dial_tls(const struct client_options *options) {
    SSL *client = client_ssl(options);
    SSL_set_fd(client, dial());
    return client;
}

/* The status; 0: no answer. The body is that of the request or a short text. */
static unsigned post_tls(SSL *client, const char *headers, const uint8_t *body, size_t size) {
    static uint8_t reply[MUCH + 4096];
    unsigned status = 0;
    size_t got = 0, length = 0;
    char *end = NULL;
    char head[256];
    int n = snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: %zu\r\n%s\r\n", size,
                     headers);
    if (SSL_write(client, head, n) != n) return 0;
    if (size > 0 && SSL_write(client, body, (int)size) <= 0) return 0;
    while (end == NULL || got < (size_t)(end - (char *)reply) + length) {
        int more = SSL_read(client, reply + got, (int)(sizeof reply - 1 - got));
        if (more <= 0) return 0;
        got += (size_t)more;
        reply[got] = 0;
        if (end != NULL || (end = strstr((char *)reply, "\r\n\r\n")) == NULL) continue;
        const char *at = strcasestr((char *)reply, "\r\ncontent-length:");
        length = at == NULL ? 0 : (size_t)atoi(at + 17);
        end += 4;
        assert_int_equal(sscanf((char *)reply, "HTTP/1.1 %u", &status), 1);
    }
    if (status == 200) {
        assert_int_equal(length, size);
        assert_memory_equal(end, body, size);
    } else if (status == 401) {
        assert_non_null(strcasestr((char *)reply, "\r\nWWW-Authenticate: Bearer\r\n"));
    }
    return status;
}

static void test_http(void **state) {
    (void)state;
    static uint8_t body[MUCH];
    const struct client_options with = {.shows = &client_cert, .alpn = "\2h2\10http/1.1"}, without = {0};
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = pattern(i);
    file_write("tokens", "sesame\n");
    atomic_init(&budget.limit_bytes, 64 << 20);
    http_config = (struct weir_http_config){.listen = {.on = true, .host = "127.0.0.1"},
                                            .max_body_bytes = MUCH,
                                            .max_connections = 100,
                                            .idle_timeout_ns = 600 * WEIR_S,
                                            .tls = config};
    snprintf(http_config.tls.client_ca_file, sizeof http_config.tls.client_ca_file, "%s", certs_path("ca.pem"));
    snprintf(http_config.bearer_token_file, sizeof http_config.bearer_token_file, "%s", certs_path("tokens"));
    const struct weir_http_options options = {
        .name = "otlp_http", .routes = routes, .budget = &budget, .config = &http_config};
    struct weir_error err = {0};
    if (weir_http_open(&http, lane.loop, lane.metrics, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    lane.port = weir_http_port(http);
    on_lane(http_start_job);

    SSL *client = dial_tls(&with);
    static const char token[] = "Authorization: Bearer sesame\r\n";
    assert_int_equal(post_tls(client, token, body, 100), 200);
    assert_int_equal(post_tls(client, token, body, MUCH), 200);
    assert_int_equal(post_tls(client, token, body, 0), 200);
    assert_int_equal(post_tls(client, "", body, 0), 401);
    assert_int_equal(post_tls(client, "Authorization: Bearer simsalabim\r\n", body, 0), 401);
    assert_int_equal(post_tls(client, token, body, 100), 200);
    const unsigned char *chosen;
    unsigned size;
    SSL_get0_alpn_selected(client, &chosen, &size);
    assert_int_equal(size, 8);
    forget(client);

    client = dial_tls(&without);
    assert_int_equal(post_tls(client, token, body, 10), 0);
    forget(client);
    client = dial_tls(&with); /* left in the middle of a body */
    assert_int_equal(SSL_connect(client), 1);
    static const char half[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
                               "Authorization: Bearer sesame\r\n\r\nabc";
    assert_int_equal(SSL_write(client, half, sizeof half - 1), sizeof half - 1);
    forget(client);
    SSL *open = dial_tls(&with);
    assert_int_equal(post_tls(open, token, body, 10), 200);
    on_lane(http_close_job);
    uint8_t byte;
    assert_true(SSL_read(open, &byte, 1) <= 0);
    forget(open);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_much_one_way_and_the_other),
        TEST(test_the_client_ends_its_side_first),
        TEST(test_an_answer_ahead_of_its_question),
        TEST(test_clients_that_vanish),
        TEST(test_patience),
        TEST(test_freeing_ends_and_delivers),
        TEST(test_http),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
