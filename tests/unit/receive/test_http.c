#define _GNU_SOURCE /* strcasestr */
#include "tests/unit/receive/http_served.h"

#include <zstd.h>

static void says(const struct reply *reply, const char *text) {
    assert_int_equal(reply->body_size, strlen(text));
    assert_memory_equal(reply->body, text, strlen(text));
}

static void bodies_are_read(void **state) {
    (void)state;
    struct reply *reply = post_once("/echo", "Content-Type: Application/JSON; charset=utf-8\r\n", "abc", 3);
    assert_int_equal(reply->status, 200);
    says(reply, "application/json 3 294");
    assert_true(has_header(reply, "Content-Type: text/plain"));
    says(post_once("/echo", "", "", 0), " 0 0");
    says(post_once("/echo?a=b", "Content-Encoding: identity\r\n", "abc", 3), " 3 294");
    static uint8_t large[BODY_MAX];
    memset(large, 1, sizeof large);
    says(post_once("/echo", "", large, sizeof large), " 262144 262144");
    assert_true(metric("weir_http_requests_total{receiver=\"test\",code=\"200\"}") == 4);
    assert_true(metric("weir_http_body_bytes_total{receiver=\"test\"}") == 6 + BODY_MAX);
    assert_true(gives_all_back());
}

static void chunks_and_single_bytes(void **state) {
    (void)state;
    static const char request[] = "POST /echo HTTP/1.1\r\nHost: weir\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    int fd = dial();
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_true(say(fd, request + i, 1));
        if (i % 16 == 0) usleep(1000);
    }
    says(listen_to(fd), " 4 394");
    /* The connection goes on. */
    assert_true(say(fd, request, sizeof request - 1));
    says(listen_to(fd), " 4 394");
    close(fd);
}

static void expect_continue(void **state) {
    (void)state;
    int fd = dial();
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    assert_true(say_text(fd, head));
    assert_int_equal(listen_to(fd)->status, 100);
    assert_true(say_text(fd, "abc"));
    says(listen_to(fd), " 3 294");
    /* What is refused is refused before its body comes. */
    static const char large[] =
        "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n";
    assert_true(say_text(fd, large));
    assert_int_equal(listen_to(fd)->status, 413);
    assert_true(at_end(fd));
    close(fd);
}

static void other_requests_are_refused(void **state) {
    (void)state;
    assert_int_equal(post_once("/", "", "abc", 3)->status, 404);
    assert_int_equal(post_once("/echo/", "", "", 0)->status, 404);
    struct reply *reply = post_once("/echo", "Content-Encoding: br\r\n", "abc", 3);
    assert_int_equal(reply->status, 415);
    says(reply, "Content-Encoding is none of gzip, zstd, identity\n");
    int fd = dial();
    assert_true(say_text(fd, "DELETE /echo HTTP/1.1\r\nHost: weir\r\n\r\n"));
    reply = listen_to(fd);
    assert_int_equal(reply->status, 405);
    assert_true(has_header(reply, "Allow: POST, PUT"));
    assert_true(say_text(fd, "GET / HTTP/1.1\r\nHost: weir\r\n\r\n")); /* no body: the connection goes on */
    assert_int_equal(listen_to(fd)->status, 404);
    close(fd);
    assert_int_equal(called, 0);
    reply = post_once("/full", "", "abc", 3);
    assert_int_equal(reply->status, 429);
    assert_true(has_header(reply, "Retry-After: 7"));
    assert_true(metric("weir_http_requests_total{receiver=\"test\",code=\"404\"}") == 3);
    assert_true(metric("weir_http_requests_total{receiver=\"test\",code=\"405\"}") == 1);
    assert_true(metric("weir_http_requests_total{receiver=\"test\",code=\"415\"}") == 1);
    assert_true(metric("weir_http_requests_total{receiver=\"test\",code=\"429\"}") == 1);
}

static void too_large_bodies(void **state) {
    (void)state;
    static uint8_t zeros[8 * BODY_MAX], packed[32 * 1024];
    lane_clock_stands(); /* whoever is refused may send on for two seconds, and we may be slow */
    struct reply *reply = post_once("/echo", "", zeros, BODY_MAX + 1);
    assert_int_equal(reply->status, 413);
    says(reply, "the body has more than max_body_bytes (262144)\n");
    /* All of it is sent before its sender looks for an answer. */
    for (int i = 0; i < 20; i++) {
        int sender = dial();
        assert_true(post(sender, "/echo", "", zeros, sizeof zeros));
        assert_int_equal(listen_to(sender)->status, 413);
        assert_true(at_end(sender));
        close(sender);
    }
    /* Of unknown length. */
    char chunk[32];
    int fd = dial();
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: weir\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_true(say_text(fd, head));
    assert_true(say(fd, chunk, (size_t)snprintf(chunk, sizeof chunk, "%x\r\n", BODY_MAX + 100)));
    assert_true(say(fd, zeros, BODY_MAX + 100) && say_text(fd, "\r\n0\r\n\r\n"));
    assert_int_equal(listen_to(fd)->status, 413);
    post(fd, "/echo", "", "abc", 3);
    says(listen_to(fd), " 3 294");
    close(fd);
    /* Without end: it is cut off. */
    fd = dial();
    assert_true(say_text(fd, head));
    bool cut = false;
    for (int i = 0; i < 2000 && !cut; i++)
        cut = !say_text(fd, "10000\r\n") || !say(fd, zeros, 0x10000) || !say_text(fd, "\r\n");
    assert_true(cut);
    close(fd);
    /* When inflated: a bomb of 2 MiB in 2 KiB, and one byte more than may be. */
    size_t size = gzip(zeros, sizeof zeros, packed, sizeof packed);
    reply = post_once("/echo", "Content-Encoding: gzip\r\n", packed, size);
    assert_int_equal(reply->status, 413);
    says(reply, "the body has more than max_body_bytes (262144) when inflated\n");
    size = gzip(zeros, BODY_MAX + 1, packed, sizeof packed);
    assert_int_equal(post_once("/echo", "Content-Encoding: gzip\r\n", packed, size)->status, 413);
    size = gzip(zeros, BODY_MAX, packed, sizeof packed);
    assert_int_equal(post_once("/echo", "Content-Encoding: gzip\r\n", packed, size)->status, 200);
    assert_int_equal(called, 2);
    assert_true(gives_all_back());
}

static void gzip_is_inflated(void **state) {
    (void)state;
    uint8_t packed[256];
    size_t size = gzip("hello", 5, packed, sizeof packed);
    says(post_once("/echo", "Content-Encoding: gzip\r\n", packed, size), " 5 532");
    says(post_once("/echo", "Content-Encoding: X-GZIP\r\n", packed, size), " 5 532");
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(post_once("/echo", "Content-Encoding: gzip\r\n", packed, cut)->status, 400);
    assert_int_equal(post_once("/echo", "Content-Encoding: gzip\r\n", "hello", 5)->status, 400);
    assert_int_equal(called, 2);
}

static void zstd_is_inflated(void **state) {
    (void)state;
    static const uint8_t zeros[BODY_MAX + 1];
    uint8_t packed[256];
    size_t size = ZSTD_compress(packed, sizeof packed, "hello", 5, 1);
    says(post_once("/echo", "Content-Encoding: zstd\r\n", packed, size), " 5 532");
    says(post_once("/echo", "Content-Encoding: ZSTD\r\n", packed, size), " 5 532");
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(post_once("/echo", "Content-Encoding: zstd\r\n", packed, cut)->status, 400);
    assert_int_equal(post_once("/echo", "Content-Encoding: gzip\r\n", packed, size)->status, 400);
    size = ZSTD_compress(packed, sizeof packed, zeros, BODY_MAX + 1, 1);
    assert_int_equal(post_once("/echo", "Content-Encoding: zstd\r\n", packed, size)->status, 413);
    size = ZSTD_compress(packed, sizeof packed, zeros, BODY_MAX, 1);
    assert_int_equal(post_once("/echo", "Content-Encoding: zstd\r\n", packed, size)->status, 200);
    assert_int_equal(called, 3);
    assert_true(gives_all_back());
}

static void memory_is_used_up(void **state) {
    (void)state;
    static uint8_t large[BODY_MAX];
    budget.limit_bytes = 64 * 1024;
    struct reply *reply = post_once("/echo", "", large, sizeof large);
    assert_int_equal(reply->status, 429);
    assert_true(has_header(reply, "Retry-After: 1"));
    says(reply, "memory.intake is used up\n");
    budget.limit_bytes = 10;
    assert_int_equal(post_once("/echo", "", large, 100)->status, 429);
    budget.limit_bytes = 4 * BODY_MAX;
    assert_int_equal(post_once("/echo", "", large, sizeof large)->status, 200);
    assert_true(gives_all_back());
}

/* Refused at once, they send on and on: they are cut off, and nothing of them stays. */
static void senders_who_do_not_stop(void **state) {
    (void)state;
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = dial();
        say_text(fds[i], "POST /none HTTP/1.1\r\nHost: weir\r\nContent-Length: 9999999\r\n\r\nabc");
    }
    for (int i = 0; i < 100; i++) {
        struct reply *reply = listen_to(fds[i]);
        assert_true(reply->status == 404 || reply->status == 0); /* 0: more connections than there may be */
        assert_true(at_end(fds[i]));
    }
    bool cut = false;
    for (int i = 0; i < PATIENCE_MS && !cut; i += 50) {
        cut = !say_text(fds[0], "more");
        usleep(50000);
    }
    assert_true(cut);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    int fd = dial();
    assert_true(post(fd, "/echo", "", "a", 1));
    assert_true(post(fd, "/later", "", "first", 5));
    assert_true(post(fd, "/echo", "", "b", 1));
    assert_true(post(fd, "/later", "", "second", 6));
    assert_true(post(fd, "/echo", "", "c", 1));
    says(listen_to(fd), " 1 97");
    settle(0);
    says(listen_to(fd), "later first");
    says(listen_to(fd), " 1 98");
    settle(1);
    says(listen_to(fd), "later second");
    says(listen_to(fd), " 1 99");
    close(fd);
}

static void callers_who_do_not_wait(void **state) {
    (void)state;
    int fds[8];
    for (unsigned i = 0; i < 8; i++) {
        fds[i] = dial();
        assert_true(post(fds[i], "/later", "", "x", 1));
    }
    for (unsigned i = 0; i < 8; i += 2)
        close(fds[i]);
    for (unsigned i = 0; i < 8; i++)
        settle(i);
    for (unsigned i = 1; i < 8; i += 2) {
        assert_int_equal(listen_to(fds[i])->status, 202);
        close(fds[i]);
    }
    assert_true(becomes_idle());
}

static void many_connections(void **state) {
    (void)state;
    int fds[80];
    unsigned refused = 0;
    for (unsigned i = 0; i < 80; i++)
        fds[i] = dial();
    for (unsigned round = 0; round < 3; round++) {
        refused = 0;
        for (unsigned i = 0; i < 80; i++)
            post(fds[i], "/echo", "", "abc", 3);
        for (unsigned i = 0; i < 80; i++)
            refused += listen_to(fds[i])->status != 200;
        assert_int_equal(refused, 80 - 64);
    }
    assert_true(metric("weir_http_connections{receiver=\"test\"}") == 64);
    for (unsigned i = 0; i < 80; i++)
        close(fds[i]);
    for (int i = 0; i < PATIENCE_MS && metric("weir_http_connections{receiver=\"test\"}") > 0; i++)
        usleep(1000);
    assert_true(metric("weir_http_connections{receiver=\"test\"}") == 0);
    assert_int_equal(post_once("/echo", "", "abc", 3)->status, 200);
}

static void stopping_finishes_what_is_under_way(void **state) {
    (void)state;
    int waiting = dial(), half = dial(), kept = dial();
    assert_true(post(waiting, "/later", "", "x", 1));
    assert_true(say_text(half, "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 3\r\n\r\na"));
    assert_true(post(kept, "/echo", "", "abc", 3));
    assert_int_equal(listen_to(kept)->status, 200);
    on_lane(stop_job);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(lane.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof to), -1);
    close(late);
    on_lane(idle_job);
    assert_false(is_idle);
    assert_true(say_text(half, "bc"));
    struct reply *reply = listen_to(half);
    assert_int_equal(reply->status, 200);
    assert_true(has_header(reply, "Connection: close"));
    assert_true(at_end(half));
    settle(0);
    reply = listen_to(waiting);
    assert_int_equal(reply->status, 202);
    assert_true(has_header(reply, "Connection: close"));
    assert_true(becomes_idle());
    on_lane(close_job);
    assert_true(at_end(kept));
    close(waiting);
    close(half);
    close(kept);
}

static void receipts_outlive_their_server(void **state) {
    (void)state;
    int fds[3];
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = dial();
        assert_true(post(fds[i], "/later", "", "x", 1));
    }
    for (int i = 0; i < PATIENCE_MS && held_count < 3; i++)
        usleep(1000);
    close(fds[0]);
    on_lane(close_job);
    assert_true(at_end(fds[1]));
    settle(0);
    settle(1);
    settle(2);
    close(fds[1]);
    close(fds[2]);
}

static void reload_job(void) {
    weir_http_reload(http, &config);
}

static void a_smaller_bound_counts_at_once(void **state) {
    (void)state;
    static uint8_t body[5000];
    assert_int_equal(post_once("/echo", "", body, sizeof body)->status, 200);
    config.max_body_bytes = 4096;
    assert_int_equal(post_once("/echo", "", body, sizeof body)->status, 200); /* it has a copy */
    on_lane(reload_job);
    assert_int_equal(post_once("/echo", "", body, sizeof body)->status, 413);
}
static void what_does_not_open(void **state) {
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &size), 0);
    struct weir_http_config other = config;
    const struct weir_http_options options = {.name = "other", .routes = routes, .budget = &budget, .config = &other};
    struct weir_http *second = NULL;
    struct weir_error err;
    other.listen.port = ntohs(address.sin_port);
    assert_int_equal(weir_http_open(&second, lane.loop, lane.metrics, &options, &err), WEIR_IO);
    assert_null(second);
    assert_non_null(strstr(err.text, "other"));
    close(taken);
    other.listen.port = 0;
    snprintf(other.bearer_token_file, sizeof other.bearer_token_file, "/nowhere/tokens");
    assert_int_not_equal(weir_http_open(&second, lane.loop, lane.metrics, &options, &err), WEIR_OK);
    assert_null(second);
    other.bearer_token_file[0] = 0;
    snprintf(other.tls.cert_file, sizeof other.tls.cert_file, "/nowhere/cert.pem");
    assert_int_not_equal(weir_http_open(&second, lane.loop, lane.metrics, &options, &err), WEIR_OK);
    assert_null(second);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(bodies_are_read),
        TEST(chunks_and_single_bytes),
        TEST(expect_continue),
        TEST(other_requests_are_refused),
        TEST(too_large_bodies),
        TEST(gzip_is_inflated),
        TEST(zstd_is_inflated),
        TEST(memory_is_used_up),
        TEST(senders_who_do_not_stop),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(callers_who_do_not_wait),
        TEST(many_connections),
        TEST(stopping_finishes_what_is_under_way),
        TEST(receipts_outlive_their_server),
        TEST(a_smaller_bound_counts_at_once),
        TEST(what_does_not_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
