/* Callers who are silent, slow or no callers at all: each is closed after its time. */
#define _GNU_SOURCE /* strcasestr */
#include "tests/unit/receive/http_served.h"

static void half_a_body_and_gone(void **state) {
    (void)state;
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 20000\r\n\r\n";
    static const uint8_t part[10000];
    for (int i = 0; i < 20; i++) {
        int fd = dial();
        (void)(say_text(fd, head) && say(fd, part, sizeof part)); /* not whoever was silent for too long before */
        if (i % 2 == 0) usleep(2000);
        close(fd);
    }
    double left = 0;
    for (unsigned i = 0; i < PATIENCE_MS && left < 10; i++) {
        usleep(1000);
        left = metric("weir_http_requests_total{receiver=\"test\",code=\"499\"}");
    }
    assert_true(left >= 10);
    assert_true(becomes_idle());
    assert_int_equal(called, 0);
    assert_true(gives_all_back());
}

/* One that its caller waits for. False: the connection was closed before it came. */
static bool is_taken_of(int fd) {
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    post(fd, "/later", "", "x", 1);
    for (int i = 0; i < PATIENCE_MS && held_count == 0; i += 10)
        if (poll(&poller, 1, 10) != 0) return false;
    assert_int_equal(held_count, 1);
    return true;
}

static void silent_connections_are_closed(void **state) {
    (void)state;
    int waiting = dial();
    for (int tries = 1; !is_taken_of(waiting); tries++) { /* it was we who were silent */
        assert_true(tries < 100);
        close(waiting);
        waiting = dial();
    }
    int idle = dial(), half = dial();
    say_text(half, "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 10\r\n\r\nabc");
    assert_true(at_end(idle));
    assert_true(at_end(half));
    close(idle);
    close(half);
    settle(0); /* who waits for us is not silent */
    assert_int_equal(listen_to(waiting)->status, 202);
    close(waiting);
}

static void a_trickle_is_a_stall(void **state) {
    (void)state;
    lane_clock_stands();
    int fd = dial();
    assert_true(say_text(fd, "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 1000\r\n\r\n"));
    lane_catches_up();
    assert_in_range(dribble(fd, 2 * WEIR_S, 70 * WEIR_S) / WEIR_S, 60, 70); /* for idle_timeout and a little more */
    assert_true(at_end(fd));
    close(fd);
    assert_int_equal(called, 0);
}

/* Much at once buys time, but not for long: what came is memory that others need. */
static void a_trickle_behind_a_burst(void **state) {
    (void)state;
    static uint8_t burst[128 * 1024]; /* four seconds, and the sixty of idle_timeout */
    lane_clock_stands();
    int fd = dial();
    assert_true(say_text(fd, "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 262144\r\n\r\n"));
    assert_true(say(fd, burst, sizeof burst));
    lane_catches_up();
    assert_in_range(dribble(fd, 2 * WEIR_S, 72 * WEIR_S) / WEIR_S, 64, 72);
    assert_true(at_end(fd));
    close(fd);
    assert_int_equal(called, 0);
}

/* A request that never gets to its end keeps its place no longer than silence does, and a little. */
static void headers_by_drops(void **state) {
    (void)state;
    static const char *const begins[] = {"", "GET / HTTP/1.1\r\nHost: weir\r\nSome-Header: "};
    lane_clock_stands();
    for (size_t i = 0; i < 2; i++) {
        int fd = dial();
        assert_true(say_text(fd, begins[i]));
        lane_catches_up();
        assert_in_range(dribble(fd, 2 * WEIR_S, 80 * WEIR_S) / WEIR_S, 70, 80); /* idle_timeout, and ten seconds */
        assert_true(at_end(fd));
        close(fd);
    }
    /* The next request on a connection has as long again. */
    int fd = dial();
    for (int turn = 0; turn < 2; turn++) {
        assert_true(say_text(fd, "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nSome-Header: "));
        for (int drop = 0; drop < 16; drop++) {
            lane.ahead_ns += 4 * WEIR_S;
            assert_true(say_text(fd, "x"));
            lane_catches_up();
        }
        assert_true(say_text(fd, "\r\nHost: weir\r\n\r\n1"));
        assert_int_equal(listen_to(fd)->status, 200);
    }
    assert_true(say_text(fd, "POST /echo"));
    lane_catches_up();
    assert_in_range(dribble(fd, 2 * WEIR_S, 80 * WEIR_S) / WEIR_S, 70, 80);
    close(fd);
}

static void what_is_no_http_ends(void **state) {
    (void)state;
    static const char *const cases[] = {
        "\x16\x03\x01\x02", "nonsense\r\n\r\n", "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: weir\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: weir\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial();
        say(fd, cases[i], strlen(cases[i]));
        shutdown(fd, SHUT_WR);
        unsigned status = listen_to(fd)->status;
        assert_true(status == 0 || status >= 400);
        close(fd);
    }
    /* Headers without end. */
    int fd = dial();
    bool cut = !say_text(fd, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 4000 && !cut; i++)
        cut = !say_text(fd, "Some-Header: 0123456789012345678901234567890123456789\r\n");
    assert_true(cut || listen_to(fd)->status >= 400);
    close(fd);
    assert_int_equal(called, 0);
}

int main(void) {
#define TEST(f)      cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define IMPATIENT(f) cmocka_unit_test_setup_teardown(f, set_up_impatient, tear_down)
    const struct CMUnitTest tests[] = {
        IMPATIENT(half_a_body_and_gone), IMPATIENT(silent_connections_are_closed),
        TEST(a_trickle_is_a_stall),      TEST(a_trickle_behind_a_burst),
        TEST(headers_by_drops),          IMPATIENT(what_is_no_http_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
