/* The OTLP exporter against servers in this program that answer by a script: what each answer does to a batch, and that
 * no span which an endpoint has taken is sent again. Several endpoints: test_otlp_several.c. */
#include "otlp_rig.h"
#include "tests/unit/threads.h"

#include <sched.h>

/* ---- one endpoint ---- */

static void test_each_answer(void **state) {
    (void)state;
    static const struct {
        enum peer_does does;
        enum weir_settlement how;
        uint32_t settled, rejected, exports;
        const char *outcome, *why;
        uint64_t retry_after_ns;
    } rows[] = {
        {PEER_OK, WEIR_DELIVERED, SPANS, 0, 1, "delivered", "", 0},
        {PEER_PARTIAL, WEIR_DELIVERED, SPANS, 1, 1, "partial", "partial success: bad", 0},
        {PEER_NOT_A_NUMBER, WEIR_DELIVERED, SPANS, 0, 1, "unreadable", "cannot be read", 0},
        {PEER_UNAVAILABLE, WEIR_RETRY, 0, 0, 1, "unavailable", "UNAVAILABLE: because", 0},
        {PEER_EXHAUSTED, WEIR_REJECTED, SPANS, SPANS, 1, "rejected", "RESOURCE_EXHAUSTED: because", 0},
        {PEER_EXHAUSTED_RETRY, WEIR_RETRY, 0, 0, 1, "throttled", "RESOURCE_EXHAUSTED", 20 * WEIR_MS},
        {PEER_INVALID, WEIR_REJECTED, SPANS, SPANS, 1, "rejected", "INVALID_ARGUMENT: because", 0},
        {PEER_DENIED, WEIR_RETRY, 0, 0, 1, "not_allowed", "UNAUTHENTICATED: because", 0},
        {PEER_REFUSED_STREAM, WEIR_DELIVERED, SPANS, 0, 2, "delivered", "", 0}, /* made again by itself */
        {PEER_GOAWAY, WEIR_DELIVERED, SPANS, 0, 2, "delivered", "", 0},         /* likewise */
        {PEER_RESET, WEIR_RETRY, 0, 0, 1, "unreachable", "reset the stream", 0},
        {PEER_HANG_UP, WEIR_RETRY, 0, 0, 1, "unreachable", "127.0.0.1", 0},
        {PEER_HTTP_503, WEIR_RETRY, 0, 0, 1, "unavailable", "UNAVAILABLE", 0},
        {PEER_ENDLESS, WEIR_RETRY, 0, 0, 1, "not_allowed", "did not end", 0},
        {PEER_NOT_HTTP2, WEIR_RETRY, 0, 0, 1, "unreachable", "127.0.0.1", 0},
        {PEER_WEB_PAGE, WEIR_RETRY, 0, 0, 1, "not_allowed", "without a grpc-status", 0},
    };
    struct weir_batch *batch = mesh_batch(SPANS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct taken taken = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct peer peer = {
            .script = (const enum peer_does[]){rows[i].does, PEER_OK}, .script_size = 2, .took = take, .self = &taken};
        struct ticket ticket = {.settled = 0};
        char line[64];
        peer_start(&peer);
        config.otlp.endpoints[0] = 0;
        endpoint("grpc", peer.port);
        strcpy(config.headers[0].name, "Authorization");
        strcpy(config.headers[0].value, "Bearer secret");
        config.header_count = 1;
        start();
        send_and_wait(batch, &ticket);
        if (ticket.how != rows[i].how || ticket.ticket.settled_spans != rows[i].settled ||
            ticket.ticket.rejected_spans != rows[i].rejected || strstr(ticket.why, rows[i].why) == NULL)
            fail_msg("row %zu: %d settled %u rejected %u: %s", i, (int)ticket.how, ticket.ticket.settled_spans,
                     ticket.ticket.rejected_spans, ticket.why);
        assert_int_equal(ticket.retry_after_ns, rows[i].retry_after_ns);
        snprintf(line, sizeof line, "outcome=\"%s\"", rows[i].outcome);
        assert_int_equal(metric(line), 1);
        assert_int_equal(metric("weir_otlp_requests_total"), 1);
        bool bad = rows[i].how == WEIR_RETRY && rows[i].does != PEER_EXHAUSTED_RETRY;
        assert_int_equal(metric("weir_otlp_endpoint_up"), !bad);
        assert_int_equal(metric("weir_otlp_breaker_opens_total"), bad);
        assert_int_equal(metric("weir_otlp_partial_rejected_spans_total"), rows[i].does == PEER_PARTIAL);
        int count = 1;
        if (ticket.how ==
            WEIR_RETRY) { /* the next try is answered with OK, whatever the breaker says: there is no other */
            send_and_wait(batch, &ticket);
            assert_int_equal(ticket.how, WEIR_DELIVERED);
            assert_int_equal(ticket.ticket.settled_spans, SPANS);
            assert_int_equal(metric("weir_otlp_endpoint_up"), 1);
            count = 2;
        }
        stop();
        peer_stop(&peer);
        assert_int_equal(peer.exports, rows[i].exports + (uint32_t)count - 1);
        assert_int_equal(distinct(&taken), SPANS);
        assert_true(peer.headers_right);
        assert_true(peer.counted);
        assert_string_equal(peer.authorization, "Bearer secret");
        free(ticket.ticket.notes);
    }
    weir_batch_unref(batch);
}

/* True: it was sent, and the call was given up. A machine that does something else may let the time pass before. */
static bool silence_ends_within(const struct weir_batch *batch, uint64_t timeout_ns) {
    struct peer peer = {.script = (const enum peer_does[]){PEER_SILENT, PEER_OK}, .script_size = 2};
    struct ticket ticket = {.settled = 0};
    peer_start(&peer);
    config.otlp.endpoints[0] = 0;
    endpoint("grpc", peer.port);
    config.otlp.timeout_ns = timeout_ns;
    start();
    uint64_t before = metric("outcome=\"timed_out\"");
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_RETRY);
    bool ends = strstr(ticket.why, "no answer in time") != NULL && metric("outcome=\"timed_out\"") == before + 1;
    stop();
    peer_stop(&peer);
    free(ticket.ticket.notes);
    return ends;
}

static void test_silence_ends_at_the_time_out(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(SPANS);
    uint64_t timeout_ns = 200 * WEIR_MS;
    for (; !silence_ends_within(batch, timeout_ns); timeout_ns *= 2)
        assert_true(timeout_ns < 40 * WEIR_S);
    weir_batch_unref(batch);
}

/* A server that says nothing and reads nothing. Where it gave a large window, the sockets' buffers fill up, so that it
 * cannot even be told that a call is over. The next try is on another connection. */
static void test_a_server_that_takes_nothing(void **state) {
    (void)state;
    static const uint8_t windows[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 0, /* SETTINGS: INITIAL_WINDOW_SIZE */
                                      0, 0, 4, 8, 0, 0, 0, 0, 0, 4, 0, 0, 0};      /* WINDOW_UPDATE */
    struct weir_batch *batch = mesh_batch(4000);
    for (int wide = 0; wide < 2; wide++) {
        enum { TICKETS = 8 };
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int listener = socket(AF_INET, SOCK_STREAM, 0), small = 4096, fds[2] = {-1, -1};
        struct ticket tickets[TICKETS] = {{.settled = 0}};
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(listener, 4), 0);
        getsockname(listener, (struct sockaddr *)&address, &size);
        config.otlp.endpoints[0] = 0;
        endpoint("grpc", ntohs(address.sin_port));
        config.otlp.max_request_bytes = 16 << 20;
        config.otlp.timeout_ns = 300 * WEIR_MS;
        start();
        for (int try = 1; try <= 2; try++) {
            for (int i = 0; i < TICKETS; i++) { /* 11 MB: more than the buffers of two sockets */
                tickets[i].ticket.settle = settle;
                weir_export_otlp.send(exporter, batch, &tickets[i].ticket);
                if (wide && i == 0) {
                    fds[try - 1] = accept(listener, NULL, NULL);
                    send(fds[try - 1], windows, sizeof windows, MSG_NOSIGNAL);
                }
            }
            for (int i = 0; i < TICKETS; i++) {
                ticket_await(&weir_export_otlp, exporter, &tickets[i], try);
                assert_int_equal(tickets[i].how, WEIR_RETRY);
                assert_int_equal(tickets[i].ticket.settled_spans, 0);
            }
            assert_in_range(metric("weir_otlp_connections_total"), try, 2 * TICKETS);
        }
        assert_int_equal(metric("outcome=\"timed_out\"") + metric("outcome=\"unreachable\""), 2 * TICKETS);
        assert_in_range(metric("outcome=\"timed_out\""), 2, 2 * TICKETS);
        stop();
        for (int i = 0; i < TICKETS; i++)
            free(tickets[i].ticket.notes);
        for (int i = 0; i < 2; i++) {
            if (fds[i] >= 0) close(fds[i]);
        }
        close(listener);
    }
    weir_batch_unref(batch);
}

static void test_cut_until_it_fits(void **state) {
    (void)state;
    struct taken taken = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct peer peer = {.script = (const enum peer_does[]){PEER_TOO_LARGE, PEER_TOO_LARGE, PEER_OK},
                        .script_size = 3,
                        .took = take,
                        .self = &taken};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    peer_start(&peer);
    endpoint("grpc", peer.port);
    start();
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_int_equal(metric("weir_otlp_request_cuts_total"), 2);
    assert_int_equal(metric("weir_otlp_request_limit_bytes"), 16 << 10); /* no smaller is remembered */
    stop();
    peer_stop(&peer);
    assert_int_equal(distinct(&taken), SPANS);
    assert_in_range(peer.exports, 2 + 4, 2 + 4); /* 64, 32, then 16 each */
    free(ticket.ticket.notes);

    struct peer never = {.script = (const enum peer_does[]){PEER_TOO_LARGE}, .script_size = 1};
    peer_start(&never);
    config.otlp.endpoints[0] = 0;
    endpoint("grpc", never.port);
    start();
    struct ticket lost = {.settled = 0};
    send_and_wait(batch, &lost);
    assert_int_equal(lost.how, WEIR_REJECTED);
    assert_int_equal(lost.ticket.rejected_spans, SPANS);
    stop();
    peer_stop(&never);
    free(lost.ticket.notes);
    weir_batch_unref(batch);
}

static void test_requests_are_no_larger_than_asked(void **state) {
    (void)state;
    struct taken taken = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK, PEER_PARTIAL, PEER_OK},
                        .script_size = 3,
                        .took = take,
                        .self = &taken};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    peer_start(&peer);
    endpoint("grpc", peer.port);
    config.otlp.max_request_bytes = 4096;
    start();
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_int_equal(ticket.ticket.rejected_spans, 1);
    stop();
    peer_stop(&peer);
    assert_int_equal(taken.count, SPANS);
    assert_int_equal(distinct(&taken), SPANS);
    assert_in_range(taken.most, 8, 4096 / 361);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

static void test_compressions_in_turn(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_NO_ENCODING, PEER_NO_ENCODING, PEER_OK},
                        .script_size = 3};
    struct weir_batch *batch = mesh_batch(SPANS);
    peer_start(&peer);
    endpoint("grpc", peer.port);
    config.otlp.compression = WEIR_OTLP_ZSTD;
    start();
    for (int i = 0; i < 2; i++) { /* the second time it is known */
        struct ticket ticket = {.settled = 0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_DELIVERED);
        free(ticket.ticket.notes);
    }
    assert_int_equal(metric("weir_otlp_encoding_fallbacks_total"), 2);
    assert_int_equal(metric("outcome=\"encoding\""), 2);
    stop();
    peer_stop(&peer);
    assert_string_equal(peer.encodings, "zstd gzip - - ");
    weir_batch_unref(batch);
}

/* A server that says no without saying why, until it gets one uncompressed; later on a no is a no. */
static void test_a_compression_has_to_be_proven(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_INVALID, PEER_OK, PEER_INVALID, PEER_OK},
                        .script_size = 4};
    struct weir_batch *batch = mesh_batch(SPANS);
    static const enum weir_settlement how[] = {WEIR_DELIVERED, WEIR_REJECTED, WEIR_DELIVERED};
    peer_start(&peer);
    endpoint("grpc", peer.port);
    config.otlp.compression = WEIR_OTLP_ZSTD;
    start();
    for (int i = 0; i < 3; i++) {
        struct ticket ticket = {.settled = 0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, how[i]);
        free(ticket.ticket.notes);
    }
    stop();
    peer_stop(&peer);
    assert_string_equal(peer.encodings, "zstd gzip gzip gzip ");
    weir_batch_unref(batch);
}

static void test_close_gives_back_what_is_under_way(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK, PEER_SILENT}, .script_size = 2};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.ticket = {.settle = settle}};
    peer_start(&peer);
    endpoint("grpc", peer.port);
    config.otlp.max_request_bytes = 16384; /* two requests and some: the first is answered */
    start();
    weir_export_otlp.send(exporter, batch, &ticket.ticket);
    uint64_t limit = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
    while (metric("outcome=\"delivered\"") == 0 && weir_mono_ns(&weir_clock_system) < limit)
        weir_export_otlp.drive(exporter, 100);
    stop();
    assert_int_equal(ticket.settled, 1);
    assert_int_equal(ticket.how, WEIR_RETRY);
    assert_in_range(ticket.ticket.settled_spans, 30, 50);
    uint32_t marked = 0;
    for (int i = 0; i < SPANS; i++)
        marked += ((const uint8_t *)ticket.ticket.notes)[i] == 1;
    assert_int_equal(marked, ticket.ticket.settled_spans);
    peer_stop(&peer);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* What was idle may be over by the next batch; that is nobody's failure. */
static void test_connections_that_end_between_batches(void **state) {
    (void)state;
    static const enum peer_does rows[] = {PEER_OK_AND_BYE, PEER_OK_AND_CLOSE};
    struct weir_batch *batch = mesh_batch(SPANS);
    for (size_t row = 0; row < 2; row++) {
        struct peer peer = {.script = &rows[row], .script_size = 1};
        peer_start(&peer);
        config.otlp.endpoints[0] = 0;
        endpoint("grpc", peer.port);
        start();
        for (int i = 0; i < 5; i++) {
            struct ticket ticket = {.settled = 0};
            atomic_store(&peer.holds, true);
            send_and_wait(batch, &ticket);
            assert_int_equal(ticket.how, WEIR_DELIVERED);
            free(ticket.ticket.notes);
            atomic_store(&peer.holds, false);
            /* Until the end of the connection has come to this side. */
            uint64_t limit = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
            while (atomic_load(&peer.ended) <= (uint32_t)i) {
                if (weir_mono_ns(&weir_clock_system) > limit) fail_msg("connection %d goes on", i);
                sched_yield();
            }
        }
        assert_int_equal(metric("weir_otlp_requests_total"), 5);
        assert_int_equal(metric("weir_otlp_breaker_opens_total"), 0);
        assert_int_equal(metric("weir_otlp_connections_total"), 5);
        stop();
        peer_stop(&peer);
        assert_int_equal(peer.exports, 5);
    }
    weir_batch_unref(batch);
}

/* A name is looked up beside; it may have an address that nobody listens on before one that somebody does. */
static void test_names(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0}, never = {.settled = 0};
    peer_start(&peer);
    snprintf(config.otlp.endpoints, sizeof config.otlp.endpoints, "grpc://localhost:%u", (unsigned)peer.port);
    start();
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    stop();
    peer_stop(&peer);
    free(ticket.ticket.notes);
    strcpy(config.otlp.endpoints, "grpc://no..such.host" /* which no server of names is asked for */);
    start();
    send_and_wait(batch, &never);
    assert_int_equal(never.how, WEIR_RETRY);
    assert_non_null(strstr(never.why, "look-up"));
    assert_int_equal(metric("outcome=\"unreachable\""), 1);
    free(never.ticket.notes);
    weir_batch_unref(batch);
}

static void test_an_empty_batch(void **state) {
    (void)state;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct ticket ticket = {.settled = 0};
    endpoint("grpc", 1);
    start();
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* ---- configuration ---- */

static void test_what_check_refuses(void **state) {
    (void)state;
    static const struct {
        const char *endpoints, *header, *ca, *cert, *reason;
    } rows[] = {
        {"grpc://a", NULL, "", "", NULL},
        {"grpc://a", "Content-Type", "", "", "headers: Content-Type is not to be given"},
        {"grpc://a", "X-Scope-OrgID", "", "", NULL},
        {"grpc://a", NULL, "ca.pem", "", "ca_file and cert_file are for grpcs:// and https://"},
        {"grpcs://a", NULL, "/nowhere/ca.pem", "", "ca_file /nowhere/ca.pem: "},
        {"http://a, https://a", NULL, "/nowhere/ca.pem", "", "ca_file /nowhere/ca.pem: "},
        {"grpcs://a", NULL, "", "client.pem", "cert_file and key_file are given together"},
        {"grpc://a,grpc://a", NULL, "", "", "number 2: given twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_error err = {0};
        snprintf(config.otlp.endpoints, sizeof config.otlp.endpoints, "%s", rows[i].endpoints);
        snprintf(config.headers[0].name, sizeof config.headers[0].name, "%s",
                 rows[i].header != NULL ? rows[i].header : "");
        config.header_count = rows[i].header != NULL;
        snprintf(config.otlp.ca_file, sizeof config.otlp.ca_file, "%s", rows[i].ca);
        snprintf(config.otlp.cert_file, sizeof config.otlp.cert_file, "%s", rows[i].cert);
        enum weir_status status = weir_export_otlp.check(&config, &err);
        assert_int_equal(status, rows[i].reason == NULL ? WEIR_OK : WEIR_INVALID);
        if (rows[i].reason != NULL && strstr(err.text, rows[i].reason) == NULL) fail_msg("%zu: %s", i, err.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_ends_at_the_time_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_until_it_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_no_larger_than_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressions_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_compression_has_to_be_proven, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_gives_back_what_is_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_that_end_between_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_check_refuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, count_threads, threads_are_gone);
}
