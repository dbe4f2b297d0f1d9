/* What the client makes of each answer: every span that was sent is counted once, and nothing is sent twice that may
 * have been kept. */
#include "collector/emit/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "peer.h"
#include "tests/unit/free_port.h"

struct outcome {
    enum weir_status status;
    struct weir_emit_counts counts;
    uint64_t played;
    struct weir_error err;
};

static const volatile sig_atomic_t running = 0;

#define PATIENCE "600s" /* longer than the machine stops anybody */

static struct outcome run(const char *port, int argc, char **more) {
    struct outcome outcome = {0};
    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_emit_client_watch watch = {.stop = &running};
    char *argv[24] = {"emit", "--endpoint", (char *)(uintptr_t)port, "--batch", "10", "--timeout", PATIENCE};
    int count = 5;
    bool help, timed = false;
    for (int i = 0; i < argc; i++)
        timed = timed || strcmp(more[i], "--timeout") == 0;
    if (!timed) count = 7;
    for (int i = 0; i < argc; i++)
        argv[count++] = more[i];
    if (weir_emit_options_parse(count, argv, &options, &help, &outcome.err) != WEIR_OK)
        fail_msg("%s", outcome.err.text);
    assert_int_equal(weir_emit_play_init(&play, &options, NULL), WEIR_OK);
    outcome.status = weir_emit_client_run(&options, &play, &watch, &outcome.counts, &outcome.err);
    outcome.played = play.truth.spans;
    const struct weir_emit_counts *c = &outcome.counts;
    assert_int_equal(c->sent, c->acknowledged + c->refused + c->rejected + c->unknown);
    weir_emit_play_free(&play);
    return outcome;
}
#define RUN(peer, ...) run_with(peer, (int)(sizeof(char *[]){__VA_ARGS__} / sizeof(char *)), (char *[]){__VA_ARGS__})
static struct outcome run_with(struct peer *peer, int argc, char **more) {
    char port[32];
    peer_start(peer);
    snprintf(port, sizeof port, "127.0.0.1:%u", (unsigned)peer->port);
    struct outcome outcome = run(port, argc, more);
    peer_stop(peer);
    assert_true(peer->headers_right);
    return outcome;
}

/* One request at a time, ten spans each: what ends as what. */
static void test_each_answer(void **state) {
    (void)state;
    static const struct {
        enum peer_does does;
        uint64_t refused, rejected, unknown, code; /* of the first request's 10 spans */
        uint32_t exports;                          /* of two requests, the second answered with OK */
    } rows[] = {
        {PEER_OK, 0, 0, 0, 0, 2},
        {PEER_PARTIAL, 0, 1, 0, 0, 2},
        {PEER_UNAVAILABLE, 0, 0, 0, 0, 3},
        {PEER_EXHAUSTED, 10, 0, 0, WEIR_RPC_RESOURCE_EXHAUSTED, 2},
        {PEER_EXHAUSTED_RETRY, 0, 0, 0, 0, 3},
        {PEER_INVALID, 10, 0, 0, 3, 2},
        {PEER_REFUSED_STREAM, 0, 0, 0, 0, 3},
        {PEER_RESET, 0, 0, 10, 0, 2},
        {PEER_GOAWAY, 0, 0, 0, 0, 3},
        {PEER_HANG_UP, 0, 0, 10, 0, 2},
        {PEER_HTTP_503, 0, 0, 0, 0, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer peer = {.script = (const enum peer_does[]){rows[i].does, PEER_OK}, .script_size = 2};
        struct outcome got = RUN(&peer, "--spans", "20", "--in-flight", "1", "--senders", "gateway");
        if (got.status != WEIR_OK) fail_msg("row %zu: %s", i, got.err.text);
        if (got.counts.refused != rows[i].refused || got.counts.rejected != rows[i].rejected ||
            got.counts.unknown != rows[i].unknown || peer.exports != rows[i].exports)
            fail_msg("row %zu: refused %d rejected %d unknown %d exports %d", i, (int)got.counts.refused,
                     (int)got.counts.rejected, (int)got.counts.unknown, (int)peer.exports);
        assert_int_equal(got.counts.sent, 20);
        assert_int_equal(got.counts.refused_by[rows[i].code], rows[i].refused);
        assert_int_equal(got.counts.requests, 2);
        assert_int_equal(got.counts.retried, rows[i].exports - 2);
    }
}

static void test_no_retries_when_none_are_asked(void **state) {
    (void)state;
    static const enum peer_does does[] = {PEER_UNAVAILABLE, PEER_EXHAUSTED_RETRY, PEER_REFUSED_STREAM, PEER_HTTP_503};
    for (size_t i = 0; i < sizeof does / sizeof does[0]; i++) {
        struct peer peer = {.script = &does[i], .script_size = 1};
        struct outcome got = RUN(&peer, "--spans", "50", "--retries", "0", "--senders", "gateway");
        assert_int_equal(got.status, WEIR_OK);
        assert_int_equal(got.counts.refused, 50);
        assert_int_equal(peer.exports, 5);
        assert_int_equal(got.counts.retried, 0);
    }
}

static void test_retries_end(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_EXHAUSTED_RETRY}, .script_size = 1};
    struct outcome got = RUN(&peer, "--spans", "10", "--retries", "3", "--senders", "gateway");
    assert_int_equal(got.counts.refused_by[WEIR_RPC_RESOURCE_EXHAUSTED], 10);
    assert_int_equal(peer.exports, 4);
    assert_string_equal(got.counts.message, "because");
}

/* The first of ten requests is never answered. True: that, and nothing else, was given up; on a machine that does
 * something else an answer may take longer too. */
static bool silence_ends_within(unsigned ms) {
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%ums", ms);
    struct peer peer = {.script = (const enum peer_does[]){PEER_SILENT, PEER_OK}, .script_size = 2};
    struct outcome got = RUN(&peer, "--spans", "100", "--timeout", timeout, "--senders", "gateway");
    return got.status == WEIR_OK && got.counts.unknown == 10 && got.counts.acknowledged == 90 && peer.resets == 1 &&
           peer.exports == 10;
}

static void test_silence_ends_at_the_time_out(void **state) {
    (void)state;
    for (unsigned ms = 300; !silence_ends_within(ms); ms *= 2)
        assert_true(ms < 40000);
}

/* Windows far below a request: flow control holds, nothing is lost, and the bytes are those that were counted. */
static void test_flow_control(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1, .window = 1000};
    struct outcome got = RUN(&peer, "--spans", "3000", "--in-flight", "50");
    assert_int_equal(got.status, WEIR_OK);
    assert_int_equal(got.counts.acknowledged, 3000);
    assert_int_equal(peer.bytes, got.counts.bytes);
    assert_int_equal(peer.exports, got.counts.requests);
    assert_int_equal(peer.connections, 1);
}

static void test_gzip_is_smaller(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1};
    struct outcome got = RUN(&peer, "--spans", "2000", "--gzip");
    assert_int_equal(got.counts.acknowledged, 2000);
    assert_int_equal(peer.bytes, got.counts.bytes);
    assert_true(got.counts.bytes < 2000 * 361 / 2);
}

/* GOAWAY amid many: what was above it goes over a new connection, once; what was below is answered. */
static void test_goaway_under_load(void **state) {
    (void)state;
    enum peer_does script[20];
    for (int i = 0; i < 20; i++)
        script[i] = i == 7 ? PEER_GOAWAY : PEER_OK;
    struct peer peer = {.script = script, .script_size = 20};
    struct outcome got = RUN(&peer, "--spans", "1000", "--senders", "gateway");
    assert_int_equal(got.status, WEIR_OK);
    assert_int_equal(got.counts.acknowledged, 1000);
    assert_int_equal(peer.connections, 2);
    assert_int_equal(got.counts.reconnects, 1);
}

static void test_nobody_listens(void **state) {
    (void)state;
    char port[32];
    int held;
    snprintf(port, sizeof port, "127.0.0.1:%u", (unsigned)dead_port(&held));
    struct outcome got = run(port, 0, NULL);
    close(held);
    assert_int_equal(got.status, WEIR_IO);
    assert_non_null(strstr(got.err.text, port));
    assert_int_equal(got.counts.sent, 0);
}

static void test_rate_is_kept(void **state) {
    (void)state;
    uint64_t played = 0;
    for (int tries = 0; played < 500; tries++) { /* slower only when the machine is busy, and that it is not for ever */
        struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1};
        struct outcome got = RUN(&peer, "--rate", "2000", "--duration", "500ms");
        assert_int_equal(got.counts.acknowledged, got.played);
        assert_true(got.played <= 1010); /* never faster */
        played = got.played;
        assert_true(tries < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_answer),       cmocka_unit_test(test_no_retries_when_none_are_asked),
        cmocka_unit_test(test_retries_end),       cmocka_unit_test(test_silence_ends_at_the_time_out),
        cmocka_unit_test(test_flow_control),      cmocka_unit_test(test_gzip_is_smaller),
        cmocka_unit_test(test_goaway_under_load), cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_rate_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
