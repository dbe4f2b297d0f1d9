/* The OTLP exporter against servers in this program that answer by a script: what each answer does to a batch, and that
 * no span which an endpoint has taken is sent again. */
#include "exporters/exporter.h"
#include "exporters/otlp/balance.h"
#include "spans.h"
#include "tests/unit/free_port.h"
#include "ticket.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../emit/peer.h"

enum { SPANS = 64 };

static struct weir_metrics *registry;
static struct weir_exporter_config config;
static void *exporter;

static int setup(void **state) {
    (void)state;
    registry = weir_metrics_new();
    config = (struct weir_exporter_config){
        .type = "otlp", .name = "otlp", .retry_initial_ns = 3600 * WEIR_S, .retry_max_ns = 3600 * WEIR_S};
    config.otlp.timeout_ns = 5 * WEIR_S;
    config.otlp.max_request_bytes = 1 << 20;
    return 0;
}
static void stop(void) {
    weir_export_otlp.close(exporter);
    exporter = NULL;
}
static int teardown(void **state) {
    (void)state;
    stop();
    weir_metrics_free(registry);
    return 0;
}
static void endpoint(const char *scheme, uint16_t port) {
    size_t used = strlen(config.otlp.endpoints);
    snprintf(config.otlp.endpoints + used, sizeof config.otlp.endpoints - used, "%s%s://127.0.0.1:%u",
             used > 0 ? ", " : "", scheme, (unsigned)port);
}
static void start(void) {
    struct weir_exporter_env env = {.metrics = registry, .clock = &weir_clock_system};
    struct weir_error err;
    if (weir_export_otlp.open(&exporter, &config, &env, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void send_and_wait(const struct weir_batch *batch, struct ticket *ticket) {
    ticket_send(&weir_export_otlp, exporter, batch, ticket);
}
static uint64_t metric(const char *name) { /* summed over endpoints; name may go on with labels */
    struct weir_buffer page = {0};
    uint64_t sum = 0;
    weir_metrics_expose(registry, &page);
    weir_buffer_byte(&page, 0);
    for (char *line = strtok((char *)page.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] != '#' && strstr(line, name) != NULL) sum += strtoull(strrchr(line, ' '), NULL, 10);
    }
    weir_buffer_free(&page);
    return sum;
}

/* The span ids that a peer took, from requests that are not compressed. */
struct taken {
    pthread_mutex_t lock;
    uint64_t ids[4 * SPANS];
    uint32_t count;
    uint32_t requests, most; /* spans of the largest request */
};
static void take(struct peer *peer, const uint8_t *message, size_t size) {
    struct taken *taken = peer->self;
    struct weir_wire request = weir_wire_of(message, size);
    struct weir_wire_field resource, scope, span, field;
    uint32_t before = taken->count;
    pthread_mutex_lock(&taken->lock);
    while (weir_wire_next(&request, &resource)) {
        struct weir_wire in_resource = weir_wire_of(resource.bytes, resource.value);
        while (weir_wire_next(&in_resource, &scope)) {
            struct weir_wire in_scope = weir_wire_of(scope.bytes, scope.value);
            if (scope.number != 2) continue;
            while (weir_wire_next(&in_scope, &span)) {
                struct weir_wire in_span = weir_wire_of(span.bytes, span.value);
                while (span.number == 2 && weir_wire_next(&in_span, &field)) {
                    if (field.number != 2 || taken->count == 4 * SPANS) continue;
                    memcpy(&taken->ids[taken->count++], field.bytes, 8);
                }
            }
        }
    }
    taken->requests++;
    if (taken->count - before > taken->most) taken->most = taken->count - before;
    pthread_mutex_unlock(&taken->lock);
}
static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}
static uint32_t distinct(struct taken *taken) {
    uint32_t count = 0;
    qsort(taken->ids, taken->count, sizeof *taken->ids, by_value);
    for (uint32_t i = 0; i < taken->count; i++)
        count += i == 0 || taken->ids[i] != taken->ids[i - 1];
    return count;
}

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

static void test_silence_ends_at_the_time_out(void **state) {
    (void)state;
    struct peer peer = {.script = (const enum peer_does[]){PEER_SILENT, PEER_OK}, .script_size = 2};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    peer_start(&peer);
    endpoint("grpc", peer.port);
    config.otlp.timeout_ns = 200 * WEIR_MS;
    start();
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_RETRY);
    assert_non_null(strstr(ticket.why, "no answer in time"));
    assert_int_equal(metric("outcome=\"timed_out\""), 1);
    config.otlp.timeout_ns = 5 * WEIR_S;
    stop();
    peer_stop(&peer);
    weir_batch_unref(batch);
    free(ticket.ticket.notes);
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
    uint64_t limit = weir_mono_ns(&weir_clock_system) + 10 * WEIR_S;
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
            while (atomic_load(&peer.ended) <= (uint32_t)i) /* until the end of the connection has come to this side */
                sched_yield();
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
    strcpy(config.otlp.endpoints, "grpc://no-such-host.invalid");
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

/* ---- several ---- */

static void test_failover(void **state) {
    (void)state;
    struct taken taken = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct peer peer = {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1, .took = take, .self = &taken};
    struct weir_batch *batch = mesh_batch(SPANS);
    peer_start(&peer);
    endpoint("grpc", free_port("127.0.0.1", SOCK_STREAM));
    endpoint("http", free_port("127.0.0.1", SOCK_STREAM));
    endpoint("grpc", peer.port);
    start();
    for (int i = 0; i < 3; i++) { /* the dead ones are asked once */
        struct ticket ticket = {.settled = 0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_DELIVERED);
        free(ticket.ticket.notes);
    }
    assert_int_equal(metric("outcome=\"unreachable\""), 2);
    assert_int_equal(metric("outcome=\"delivered\""), 3);
    assert_int_equal(metric("weir_otlp_endpoint_up"), 1);
    stop();
    peer_stop(&peer);
    assert_int_equal(taken.count, 3 * SPANS);
    assert_int_equal(distinct(&taken), SPANS);
    weir_batch_unref(batch);
}

static void test_nobody_is_there(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    endpoint("grpc", free_port("127.0.0.1", SOCK_STREAM));
    endpoint("grpc", free_port("127.0.0.1", SOCK_STREAM));
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    for (int i = 0; i < 2;
         i++) { /* each is tried for each part, though its breaker is open: the queue says how often */
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_RETRY);
        assert_int_equal(ticket.ticket.settled_spans, 0);
        assert_non_null(strstr(ticket.why, "Connection refused"));
    }
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* One endpoint of two asks to wait: its traces wait for it, the others' spans are delivered, and the next try sends
 * only the rest. */
static void test_parts_are_settled_once(void **state) {
    (void)state;
    struct taken taken[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
    struct peer peers[2] = {
        {.script = (const enum peer_does[]){PEER_EXHAUSTED_RETRY, PEER_OK},
         .script_size = 2,
         .took = take,
         .self = &taken[0]},
        {.script = (const enum peer_does[]){PEER_PARTIAL}, .script_size = 1, .took = take, .self = &taken[1]}};
    struct weir_batch *batch = mesh_batch(SPANS);
    struct ticket ticket = {.settled = 0};
    uint64_t seeds[2];
    uint32_t of_first = 0;
    for (int i = 0; i < 2; i++) {
        char name[64];
        peer_start(&peers[i]);
        endpoint("grpc", peers[i].port);
        snprintf(name, sizeof name, "grpc://127.0.0.1:%u", (unsigned)peers[i].port);
        seeds[i] = weir_otlp_seed(name);
    }
    for (uint32_t i = 0; i < SPANS; i++) {
        uint8_t order[WEIR_ENDPOINTS_MAX];
        weir_otlp_rank(seeds, 2, batch->spans[i].trace_lo, order);
        of_first += order[0] == 0;
    }
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    send_and_wait(batch, &ticket);
    if (of_first > 0) {
        assert_int_equal(ticket.how, WEIR_RETRY);
        assert_int_equal(ticket.retry_after_ns, 20 * WEIR_MS);
        assert_int_equal(ticket.ticket.settled_spans, SPANS - of_first);
        send_and_wait(batch, &ticket);
    }
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_int_equal(ticket.ticket.settled_spans, SPANS);
    assert_int_equal(ticket.ticket.rejected_spans, of_first < SPANS ? 1 : 0);
    stop();
    for (int i = 0; i < 2; i++)
        peer_stop(&peers[i]);
    assert_int_equal(taken[0].count, 2 * of_first);
    assert_int_equal(taken[1].count, SPANS - of_first);
    assert_int_equal(distinct(&taken[0]), of_first);
    free(ticket.ticket.notes);
    weir_batch_unref(batch);
}

/* One of two goes: its part goes to the other at once, in the same try. */
static void test_a_part_goes_elsewhere(void **state) {
    (void)state;
    struct taken taken[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
    struct peer peers[2] = {
        {.script = (const enum peer_does[]){PEER_HANG_UP}, .script_size = 1, .took = take, .self = &taken[0]},
        {.script = (const enum peer_does[]){PEER_OK}, .script_size = 1, .took = take, .self = &taken[1]}};
    struct weir_batch *batch = mesh_batch(SPANS);
    for (int i = 0; i < 2; i++) {
        peer_start(&peers[i]);
        endpoint("grpc", peers[i].port);
    }
    config.otlp.balance = WEIR_OTLP_TRACE_ID;
    start();
    struct ticket ticket = {.settled = 0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    stop();
    for (int i = 0; i < 2; i++)
        peer_stop(&peers[i]);
    assert_int_equal(taken[1].count, SPANS);
    assert_int_equal(distinct(&taken[1]), SPANS);
    assert_in_range(peers[0].exports, 0, 1);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_each_answer),
        TEST(test_silence_ends_at_the_time_out),
        TEST(test_a_server_that_takes_nothing),
        TEST(test_cut_until_it_fits),
        TEST(test_requests_are_no_larger_than_asked),
        TEST(test_compressions_in_turn),
        TEST(test_a_compression_has_to_be_proven),
        TEST(test_close_gives_back_what_is_under_way),
        TEST(test_connections_that_end_between_batches),
        TEST(test_names),
        TEST(test_an_empty_batch),
        TEST(test_failover),
        TEST(test_nobody_is_there),
        TEST(test_parts_are_settled_once),
        TEST(test_a_part_goes_elsewhere),
        TEST(test_what_check_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
