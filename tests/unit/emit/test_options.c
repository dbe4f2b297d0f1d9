/* Each option is read or refused by name. */
#include "collector/emit/emit.h"
#include "collector/emit/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include <cmocka.h>

static enum weir_status parse(const char *one, const char *two, struct weir_emit_options *options,
                              struct weir_error *err) {
    char *argv[] = {"emit", (char *)(uintptr_t)one, (char *)(uintptr_t)two};
    bool help = true;
    memset(err, 0, sizeof *err);
    enum weir_status status = weir_emit_options_parse(1 + (one != NULL) + (two != NULL), argv, options, &help, err);
    assert_false(help && status == WEIR_OK);
    return status;
}

static void test_defaults(void **state) {
    (void)state;
    struct weir_emit_options o;
    struct weir_error err;
    assert_int_equal(parse(NULL, NULL, &o, &err), WEIR_OK);
    assert_string_equal(o.endpoint.host, "127.0.0.1");
    assert_int_equal(o.endpoint.port, 4317);
    assert_false(o.statsd.on);
    assert_int_equal(o.spans, 10000);
    assert_int_equal(o.traces, 0);
    assert_int_equal(o.spans_per_trace, 8);
    assert_int_equal(o.batch, 100);
    assert_int_equal(o.in_flight, 16);
    assert_int_equal(o.connections, 1);
    assert_int_equal(o.attributes, 8);
    assert_int_equal(o.latency_ns, 5000000);
    assert_true(o.sample == 1 && o.sample_independent == 1 && o.errors == 0.01 && o.latency_sigma == 0.8);
    assert_int_equal(o.senders, WEIR_EMIT_PER_SERVICE);
    assert_null(o.truth);
    assert_false(o.json || o.quiet || o.gzip || o.ids || o.allow_refused);
    assert_int_equal(parse("--rate", "50", &o, &err), WEIR_OK);
    assert_int_equal(o.spans, 0); /* until it is interrupted */
}

static void test_tls(void **state) {
    (void)state;
    struct weir_emit_options o;
    struct weir_error err;
    assert_int_equal(parse("--tls-ca=ca.pem", NULL, &o, &err), WEIR_OK);
    assert_string_equal(o.tls_ca, "ca.pem");
    assert_null(o.tls_cert);
    assert_int_equal(parse("--token-file", "token", &o, &err), WEIR_OK);
    assert_string_equal(o.token_file, "token");
    assert_int_equal(parse("--tls-ca=ca.pem", "--tls-cert=a.pem", &o, &err), WEIR_INVALID);
    assert_string_equal(err.text, "--tls-cert and --tls-key: one is given without the other");
    assert_int_equal(parse("--tls-cert=a.pem", "--tls-key=a.key", &o, &err), WEIR_INVALID);
    assert_string_equal(err.text, "--tls-cert: --tls-ca is not given");
    assert_int_equal(parse("--via=datagram", "--tls-ca=ca.pem", &o, &err), WEIR_INVALID);
    assert_string_equal(err.text, "--tls-ca: not for datagrams");
    assert_int_equal(parse("--via=datagram", "--token-file=token", &o, &err), WEIR_INVALID);
    assert_string_equal(err.text, "--token-file: not for datagrams");
}

static void test_datagrams(void **state) {
    (void)state;
    struct weir_emit_options o;
    struct weir_error err;
    assert_int_equal(parse("--via", "datagram", &o, &err), WEIR_OK);
    assert_int_equal(o.via, WEIR_EMIT_DATAGRAM);
    assert_int_equal(o.endpoint.port, 4319);
    assert_int_equal(o.rate, 100000); /* nobody answers a datagram */
    assert_int_equal(o.spans, 10000);
    assert_int_equal(o.datagram_bytes, 1400);
    assert_null(o.hmac_key_file);
    assert_int_equal(parse("--via=datagram", "--rate=7", &o, &err), WEIR_OK);
    assert_int_equal(o.rate, 7);
    assert_int_equal(parse("--via=datagram", "--endpoint=10.0.0.1:99", &o, &err), WEIR_OK);
    assert_int_equal(o.endpoint.port, 99);
    assert_int_equal(parse("--via=datagram", "--hmac-key-file=key", &o, &err), WEIR_OK);
    assert_string_equal(o.hmac_key_file, "key");
    assert_int_equal(parse("--via=datagram", "--gzip", &o, &err), WEIR_INVALID);
    assert_int_equal(parse("--hmac-key-file", "key", &o, &err), WEIR_INVALID);
    assert_int_equal(parse("--via", "udp", &o, &err), WEIR_INVALID);
    assert_int_equal(parse("--via=datagram", "--datagram-bytes=100", &o, &err), WEIR_INVALID);
    assert_int_equal(parse("--via=datagram", "--datagram-bytes=65508", &o, &err), WEIR_INVALID);
}

static void test_values(void **state) {
    (void)state;
    struct weir_emit_options o;
    struct weir_error err;
    assert_int_equal(parse("--endpoint", "[::1]:4999", &o, &err), WEIR_OK);
    assert_string_equal(o.endpoint.host, "::1");
    assert_int_equal(o.endpoint.port, 4999);
    assert_int_equal(parse("--statsd", "localhost:8125", &o, &err), WEIR_OK);
    assert_true(o.statsd.on);
    assert_int_equal(parse("--spans=1_000_000", NULL, &o, &err), WEIR_OK);
    assert_int_equal(o.spans, 1000000);
    assert_int_equal(parse("--latency", "20ms:1.5", &o, &err), WEIR_OK);
    assert_int_equal(o.latency_ns, 20000000);
    assert_true(o.latency_sigma == 1.5);
    assert_int_equal(parse("--latency", "7us", &o, &err), WEIR_OK);
    assert_int_equal(o.latency_ns, 7000);
    assert_true(o.latency_sigma == 0.8);
    assert_int_equal(parse("--errors", "5%", &o, &err), WEIR_OK);
    assert_true(o.errors == 0.05);
    assert_int_equal(parse("--duration", "1m30s", &o, &err), WEIR_OK);
    assert_int_equal(o.duration_ns, 90000000000);
    assert_int_equal(parse("--senders", "gateway", &o, &err), WEIR_OK);
    assert_int_equal(o.senders, WEIR_EMIT_GATEWAY);
    assert_int_equal(parse("--seed", "0", &o, &err), WEIR_OK);
    assert_int_equal(o.seed, 0);
}

static void test_refusals_name_the_option(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        {"--spans", "0", "--spans 0"},
        {"--spans", "many", "--spans many"},
        {"--spans", "-5", "--spans -5"},
        {"--spans", NULL, "--spans"},
        {"--batch", "0", "--batch 0"},
        {"--batch", "10001", "not between 1 and 10000"},
        {"--in-flight", "0", "--in-flight"},
        {"--connections", "257", "--connections"},
        {"--services", "1001", "--services"},
        {"--spans-per-trace", "1001", "--spans-per-trace"},
        {"--depth", "65", "--depth"},
        {"--attributes", "65", "--attributes"},
        {"--errors", "10", "--errors 10"},
        {"--errors", "-1%", "--errors"},
        {"--sample", "0", "--sample 0"},
        {"--sample-independent", "0", "--sample-independent 0"},
        {"--latency", "5", "--latency 5"},
        {"--latency", "5ms:wide", "--latency 5ms:wide"},
        {"--latency", "5ms:6", "--latency"},
        {"--latency", "2h", "--latency 2h"},
        {"--duration", "10", "--duration 10"},
        {"--timeout", "0s", "--timeout"},
        {"--endpoint", "http://x", "--endpoint"},
        {"--endpoint", "127.0.0.1:0", "--endpoint"},
        {"--endpoint", "off", "--endpoint"},
        {"--senders", "all", "--senders all"},
        {"--json=1", NULL, "--json"},
        {"--truth", "", "--truth"},
        {"--colour", NULL, "--colour"},
        {"spans", NULL, "spans"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_emit_options o;
        struct weir_error err;
        assert_int_equal(parse(rows[i][0], rows[i][1], &o, &err), WEIR_INVALID);
        if (strstr(err.text, rows[i][2]) == NULL) fail_msg("%s is not named in: %s", rows[i][2], err.text);
    }
    assert_int_equal(weir_emit_main(2, (char *[]){"emit", "--colour"}), 2);
    assert_int_equal(weir_emit_main(5, (char *[]){"emit", "--spans", "1", "--traces", "1"}), 2);
    assert_int_equal(weir_emit_main(2, (char *[]){"emit", "--help"}), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refusals_name_the_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
