/* What attributes and tracestate make of a span: statuses, weights, marks, peers. */
#include "tests/unit/decode/otlp_parts.h"

/* What one attribute makes of the view. */
static void attributes(void **state) {
    (void)state;
    const struct {
        struct part pair;
        unsigned kind, http, status, flags;
        double prior;
        const char *peer;
    } cases[] = {
        {attribute_int("http.status_code", 404), WEIR_KIND_CLIENT, 404, 0, 0, 1, ""},
        {attribute_text("http.status_code", "200"), WEIR_KIND_CLIENT, 200, 0, 0, 1, ""},
        {attribute_text("http.response.status_code", "503"), WEIR_KIND_CLIENT, 503, WEIR_STATUS_ERROR, 0, 1, ""},
        {attribute_int("http.response.status_code", 599), WEIR_KIND_SERVER, 599, WEIR_STATUS_ERROR, 0, 1, ""},
        {attribute_text("http.response.status_code", "599"), WEIR_KIND_CLIENT, 599, WEIR_STATUS_ERROR, 0, 1, ""},
        {attribute_int("http.status_code", 499), WEIR_KIND_CLIENT, 499, 0, 0, 1, ""},
        {attribute_int("http.status_code", 600), WEIR_KIND_CLIENT, 600, 0, 0, 1, ""},
        {attribute_text("http.status_code", "999"), WEIR_KIND_CLIENT, 999, 0, 0, 1, ""},
        {attribute_int("http.status_code", 1000), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_int("http.status_code", 100), WEIR_KIND_CLIENT, 100, 0, 0, 1, ""},
        {attribute_int("http.status_code", 99), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_int("http.status_code", -1), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("http.status_code", "5x3"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("http.status_code", ""), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("http.status_code", "00000000000200"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("weir.prior_weight", "2.5"), WEIR_KIND_CLIENT, 0, 0, WEIR_SPAN_PRIOR, 2.5, ""},
        {attribute_int("weir.prior_weight", 20), WEIR_KIND_CLIENT, 0, 0, WEIR_SPAN_PRIOR, 20, ""},
        {attribute_text("weir.prior_weight", "0.5"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("weir.prior_weight", "2.5x"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("weir.prior_weight", "inf"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("weir.prior_weight", "nan"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_int("sampling.priority", 1), WEIR_KIND_CLIENT, 0, 0, WEIR_SPAN_FORCED, 1, ""},
        {attribute_text("sampling.priority", "2"), WEIR_KIND_CLIENT, 0, 0, WEIR_SPAN_FORCED, 1, ""},
        {attribute_text("sampling.priority", "123456789"), WEIR_KIND_CLIENT, 0, 0, WEIR_SPAN_FORCED, 1, ""},
        {attribute_text("sampling.priority", "1234567890"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_int("sampling.priority", 0), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        /* Envoy's request id: 9 sampled, a forced, b asked for by the client. */
        {attribute_text("guid:x-request-id", "0e3ee0d5-0c0d-a1b2-8d5e-6d7e8f901234"), WEIR_KIND_CLIENT, 0, 0,
         WEIR_SPAN_FORCED, 1, ""},
        {attribute_text("guid:x-request-id", "0e3ee0d5-0c0d-91b2-8d5e-6d7e8f901234"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("guid:x-request-id", "0e3ee0d5-0c0d-b1b2-8d5e-6d7e8f901234"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("guid:x-request-id", "0e3ee0d5-0c0d-a1"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
        {attribute_text("peer.service", "db"), WEIR_KIND_CLIENT, 0, 0, 0, 1, "db"},
        {attribute_text("peer.service", "db"), WEIR_KIND_PRODUCER, 0, 0, 0, 1, "db"},
        {attribute_text("peer.service", "db"), WEIR_KIND_SERVER, 0, 0, 0, 1, ""},
        {attribute_text("upstream_cluster.name", "orders"), WEIR_KIND_CLIENT, 0, 0, 0, 1, "orders"},
        {attribute_text("server.address", "db.internal"), WEIR_KIND_CLIENT, 0, 0, 0, 1, "db.internal"},
        {attribute_text("net.peer.ip", "10.0.0.1"), WEIR_KIND_CLIENT, 0, 0, 0, 1, "10.0.0.1"},
        {attribute_text("anything.else", "db"), WEIR_KIND_CLIENT, 0, 0, 0, 1, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct part span = good_span();
        number(&span, 6, cases[i].kind); /* stands twice: the last one counts */
        inside(&span, 9, &cases[i].pair);
        const struct weir_span *view = decode_span(&span);
        assert_int_equal(view->kind, cases[i].kind);
        assert_int_equal(view->http_status, cases[i].http);
        assert_int_equal(view->status, cases[i].status);
        assert_int_equal(view->flags, cases[i].flags);
        assert_true(view->prior == cases[i].prior);
        is_name(view->peer, cases[i].peer);
    }
}

static void the_best_peer_counts(void **state) {
    (void)state;
    struct part span = good_span();
    const char *const pairs[][2] = {
        {"peer.address", "10.1.1.1"}, {"upstream_cluster", "orders"}, {"server.address", "o"}, {"db.system", "pg"}};
    for (size_t i = 0; i < 4; i++) {
        struct part pair = attribute_text(pairs[i][0], pairs[i][1]);
        inside(&span, 9, &pair);
    }
    is_name(decode_span(&span)->peer, "orders");
}

static void tracestates(void **state) {
    (void)state;
    const struct {
        const char *text;
        uint64_t threshold, randomness;
        unsigned flags;
    } cases[] = {
        {"ot=th:8", 1ull << 55, 0xa2a3a4a5a6a7a8, WEIR_SPAN_TH},
        {"ot=th:0", 0, 0xa2a3a4a5a6a7a8, WEIR_SPAN_TH},
        {"ot=rv:0123456789abcd", 0, 0x0123456789abcd, WEIR_SPAN_RV},
        {"v=1 , ot=th:fd70a4;rv:0123456789abcd;p:8 ,x=ot=th:8", 0xfd70a400000000, 0x0123456789abcd,
         WEIR_SPAN_TH | WEIR_SPAN_RV},
        {"ot=th:8 \t,x=1", 1ull << 55, 0xa2a3a4a5a6a7a8, WEIR_SPAN_TH},
        {"\t ot=rv:0123456789abcd\t ", 0, 0x0123456789abcd, WEIR_SPAN_RV},
        {"ot=th:c,ot=th:8", 3ull << 54, 0xa2a3a4a5a6a7a8, WEIR_SPAN_TH}, /* a key stands once: the first */
        {"ot=th:", 0, 0xa2a3a4a5a6a7a8, 0},
        {"ot=th:8g", 0, 0xa2a3a4a5a6a7a8, 0},
        {"ot=th:C", 0, 0xa2a3a4a5a6a7a8, 0}, /* lower case by the specification */
        {"ot=th:012345678901234", 0, 0xa2a3a4a5a6a7a8, 0},
        {"ot=rv:0123456789abc", 0, 0xa2a3a4a5a6a7a8, 0},
        {"xot=th:8", 0, 0xa2a3a4a5a6a7a8, 0},
        {"ot=", 0, 0xa2a3a4a5a6a7a8, 0},
        {",,;", 0, 0xa2a3a4a5a6a7a8, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct part span = good_span();
        text(&span, 3, cases[i].text);
        const struct weir_span *view = decode_span(&span);
        assert_true(view->threshold == cases[i].threshold);
        assert_true(view->randomness == cases[i].randomness);
        assert_int_equal(view->flags, cases[i].flags);
    }
}

/* A status that the span said stays, whatever HTTP said. */
static void a_status_that_was_said_stays(void **state) {
    (void)state;
    struct part span = good_span(), ok = {.size = 0}, pair = attribute_int("http.status_code", 500);
    number(&ok, 3, WEIR_STATUS_OK);
    inside(&span, 9, &pair);
    inside(&span, 15, &ok);
    const struct weir_span *view = decode_span(&span);
    assert_int_equal(view->status, WEIR_STATUS_OK);
    assert_int_equal(view->http_status, 500);
}

static void priors_as_text(void **state) {
    (void)state;
    const struct {
        const char *text;
        double prior; /* 1: not taken */
    } cases[] = {{"4", 4},   {"2.5", 2.5}, {"1e3", 1000}, {"4 spans", 1}, {" 4", 1},    {"0x10", 1},
                 {"inf", 1}, {"nan", 1},   {"0.5", 1},    {"-4", 1},      {"1e999", 1}, {"", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct part span = good_span(), pair = attribute_text("weir.prior_weight", cases[i].text);
        inside(&span, 9, &pair);
        const struct weir_span *view = decode_span(&span);
        assert_true(view->prior == cases[i].prior);
        assert_int_equal((view->flags & WEIR_SPAN_PRIOR) != 0, cases[i].prior != 1);
    }
}

/* Of two that are equally likely the first counts, and an empty one is none. */
static void peers_by_rank(void **state) {
    (void)state;
    const char *const ranks[][4] = {{"peer.service"},
                                    {"upstream_cluster.name", "upstream_cluster"},
                                    {"server.address", "net.peer.name"},
                                    {"db.system", "messaging.system"},
                                    {"network.peer.address", "net.sock.peer.addr", "net.peer.ip", "peer.address"}};
    for (size_t rank = 0; rank < 5; rank++) {
        for (size_t i = 0; i < 4 && ranks[rank][i] != NULL; i++) {
            struct part span = good_span(), pair = attribute_text(ranks[rank][i], "this");
            struct part empty = attribute_text(ranks[rank][0], ""), again = attribute_text(ranks[rank][0], "that");
            inside(&span, 9, &empty);
            if (rank < 4) {
                struct part lower = attribute_text(ranks[rank + 1][0], "lower");
                inside(&span, 9, &lower);
            }
            inside(&span, 9, &pair);
            inside(&span, 9, &again);
            is_name(decode_span(&span)->peer, "this");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_best_peer_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(tracestates, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_that_was_said_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(priors_as_text, setup, teardown),
        cmocka_unit_test_setup_teardown(peers_by_rank, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
