/* Breakers over a time of their own, the order in which traces ask endpoints, and the addresses of endpoints. */
#include "collector/core/clock.h"
#include "exporters/otlp/address.h"
#include "exporters/otlp/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_breaker(void **state) {
    (void)state;
    struct weir_otlp_breaker breaker = {0};
    uint64_t now = 100 * WEIR_S, initial = 500 * WEIR_MS, max = 3 * WEIR_S;
    assert_true(weir_otlp_breaker_lets(&breaker, now));
    weir_otlp_breaker_sent(&breaker);
    assert_true(weir_otlp_breaker_lets(&breaker, now)); /* closed: any number */
    assert_true(weir_otlp_breaker_bad(&breaker, now, initial, max, 0));
    assert_false(weir_otlp_breaker_bad(&breaker, now, initial, max, 0)); /* was under way with it: no longer for it */
    assert_false(weir_otlp_breaker_lets(&breaker, now + initial - 1));
    assert_true(weir_otlp_breaker_lets(&breaker, now + initial));
    uint64_t delays[] = {1 * WEIR_S, 2 * WEIR_S, 3 * WEIR_S, 3 * WEIR_S};
    for (size_t i = 0; i < 4; i++) { /* one tries at a time; each time it is longer, up to a bound */
        now += 10 * WEIR_S;
        weir_otlp_breaker_sent(&breaker);
        assert_false(weir_otlp_breaker_lets(&breaker, now));
        assert_false(weir_otlp_breaker_bad(&breaker, now, initial, max, 0));
        assert_false(weir_otlp_breaker_lets(&breaker, now + delays[i] - 1));
        assert_true(weir_otlp_breaker_lets(&breaker, now + delays[i]));
    }
    weir_otlp_breaker_good(&breaker);
    assert_true(weir_otlp_breaker_lets(&breaker, now));
    assert_true(weir_otlp_breaker_bad(&breaker, now, initial, max, UINT64_MAX)); /* the first time again */
    assert_true(weir_otlp_breaker_lets(&breaker, now + initial));
    assert_false(weir_otlp_breaker_lets(&breaker, now + initial / 2 - 1)); /* jitter: no sooner than half */
}

/* Each endpoint is the first choice of its share; without one, only its own traces go elsewhere, to all the others. */
static void test_rank(void **state) {
    (void)state;
    enum { ENDPOINTS = 5, TRACES = 20000 };
    uint64_t seeds[ENDPOINTS], without[ENDPOINTS - 1], trace = 88172645463325252ull;
    uint32_t first[ENDPOINTS] = {0}, second[ENDPOINTS] = {0};
    for (int i = 0; i < ENDPOINTS; i++) {
        char name[40];
        snprintf(name, sizeof name, "grpc://gateway-%d:4317", i);
        seeds[i] = weir_otlp_seed(name);
    }
    memcpy(without, seeds, sizeof without); /* all but the last */
    for (int t = 0; t < TRACES; t++) {
        uint8_t order[WEIR_ENDPOINTS_MAX], fewer[WEIR_ENDPOINTS_MAX];
        trace = t % 2 == 0 ? (uint64_t)t : trace * (uint64_t)6364136223846793005ll + 1u; /* poor ids, and good ones */
        weir_otlp_rank(seeds, ENDPOINTS, trace, order);
        weir_otlp_rank(without, ENDPOINTS - 1, trace, fewer);
        first[order[0]]++;
        if (order[0] == ENDPOINTS - 1) second[order[1]]++;
        assert_int_equal(fewer[0], order[0] == ENDPOINTS - 1 ? order[1] : order[0]);
        uint32_t seen = 0;
        for (int i = 0; i < ENDPOINTS; i++)
            seen |= 1u << order[i];
        assert_int_equal(seen, (1u << ENDPOINTS) - 1);
    }
    for (int i = 0; i < ENDPOINTS; i++) { /* 4,000 each, within five standard deviations of a binomial */
        assert_in_range(first[i], 3717, 4283);
        if (i < ENDPOINTS - 1) assert_in_range(second[i], 840, 1160);
    }
    uint64_t turned[] = {seeds[1], seeds[0]};
    uint8_t a[WEIR_ENDPOINTS_MAX], b[WEIR_ENDPOINTS_MAX];
    for (uint64_t t = 0; t < 100; t++) { /* the order in which they are written is nothing */
        weir_otlp_rank(seeds, 2, t, a);
        weir_otlp_rank(turned, 2, t, b);
        assert_int_equal(a[0], b[1]);
    }
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text, *name, *host, *port, *authority;
        bool grpc, secure;
    } rows[] = {
        {"grpc://gateway", "grpc://gateway:4317", "gateway", "4317", "gateway:4317", true, false},
        {"grpcs://gateway:443", "grpcs://gateway:443", "gateway", "443", "gateway:443", true, true},
        {"grpc://[::1]:4317", "grpc://[::1]:4317", "::1", "4317", "[::1]:4317", true, false},
        {"grpc://127.0.0.1:1/", "grpc://127.0.0.1:1", "127.0.0.1", "1", "127.0.0.1:1", true, false},
        {"http://tempo:4318", "http://tempo:4318/v1/traces", "", "", "", false, false},
        {"https://u:pw@tempo/otlp?key=1", "https://tempo/otlp", "", "", "", false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX];
        struct weir_error err;
        uint32_t count;
        if (weir_otlp_addresses(rows[i].text, addresses, &count, &err) != WEIR_OK) fail_msg("%zu: %s", i, err.text);
        assert_int_equal(count, 1);
        assert_string_equal(addresses[0].name, rows[i].name);
        assert_string_equal(addresses[0].host, rows[i].host);
        assert_string_equal(addresses[0].port, rows[i].port);
        assert_string_equal(addresses[0].authority, rows[i].authority);
        assert_int_equal(addresses[0].grpc, rows[i].grpc);
        assert_int_equal(addresses[0].secure, rows[i].secure);
        if (!rows[i].grpc) assert_non_null(strstr(addresses[0].url, "://"));
    }
    struct weir_otlp_address two[WEIR_ENDPOINTS_MAX];
    uint32_t count;
    assert_int_equal(weir_otlp_addresses("grpc://a, http://b", two, &count, NULL), WEIR_OK);
    assert_int_equal(count, 2);
    assert_string_equal(two[0].name, "grpc://a:4317");
    assert_string_equal(two[1].url, "http://b/v1/traces");
}

static void test_what_is_no_address(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"", "is empty"},
        {"grpc://", "number 1"},
        {"grpc://a:0x", "number 1"},
        {"grpc://a:70000", "number 1"},
        {"grpc://user:secret@a", "number 1: more than grpc://host:port"},
        {"grpc://a/path", "number 1: more than"},
        {"grpc://a?secret=1", "number 1: more than"},
        {"grpc://a,ftp://b", "number 2: an unknown scheme"},
        {"grpc://a, grpc://a:4317", "number 2: given twice"},
        {"http://a\"b/", "number 1: a character"},
        {"http://a,b", "number 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX];
        struct weir_error err = {0};
        uint32_t count;
        if (weir_otlp_addresses(rows[i][0], addresses, &count, &err) != WEIR_INVALID ||
            strstr(err.text, rows[i][1]) == NULL)
            fail_msg("%s: %s", rows[i][0], err.text);
        assert_null(strstr(err.text, "secret"));
    }
    char many[1024] = "", longer[600] = "http://a/";
    for (int i = 0; i < 17; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "%sgrpc://host-%d", i == 0 ? "" : ",", i);
    memset(longer + 9, 'x', sizeof longer - 10);
    struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX];
    struct weir_error err;
    uint32_t count;
    assert_int_equal(weir_otlp_addresses(many, addresses, &count, &err), WEIR_INVALID);
    assert_string_equal(err.text, "otlp: endpoints: more than 16");
    assert_int_equal(weir_otlp_addresses(longer, addresses, &count, &err), WEIR_INVALID);
    assert_string_equal(err.text, "otlp: endpoints: number 1: too long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_what_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
