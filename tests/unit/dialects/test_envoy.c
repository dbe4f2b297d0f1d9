#include "collector/core/clock.h"
#include "collector/dialects/envoy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct weir_envoy_told told_of(double rate, uint32_t spans, uint64_t interval_ns) {
    struct weir_plan_service service = {.rate = {.rate = rate},
                                        .batching = {.min_flush_spans = spans, .flush_interval_ns = interval_ns}};
    return weir_envoy_told_of(&service);
}

/* A rate, what Envoy is told of it, and as what it stands in the version. */
static void rates(void **state) {
    (void)state;
    static const struct {
        double rate;
        uint32_t told;
        const char *version;
    } rows[] = {
        {0, 0, "v1:rate=0.0000"},
        {0.01, 100, "v1:rate=0.0100"},
        {1, 10000, "v1:rate=1.0000"},
        {0.5, 5000, "v1:rate=0.5000"},
        {0.9999, 9999, "v1:rate=0.9999"},
        {0.3, 3000, "v1:rate=0.3000"}, /* 0.3 * 10,000 is a little less in binary */
        {0.0001, 1, "v1:rate=0.0001"},
        {0.000001, 1, "v1:rate=0.0001"}, /* more than nothing is never told as nothing */
        {0.012345, 123, "v1:rate=0.0123"},
        {0.99996, 10000, "v1:rate=1.0000"},
        {2, 10000, "v1:rate=1.0000"},
        {-1, 0, "v1:rate=0.0000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char version[WEIR_ENVOY_VERSION_BYTES];
        struct weir_envoy_told told = told_of(rows[i].rate, 0, 0), read;
        assert_int_equal(told.ten_thousandths, rows[i].told);
        assert_true(weir_envoy_rate(&told) == rows[i].told / 10000.0);
        assert_true(weir_envoy_rate(&told) == weir_plan_round_envoy(rows[i].rate));
        weir_envoy_version(&told, version);
        assert_string_equal(version, rows[i].version);
        assert_true(weir_envoy_version_read(version, strlen(version), &read));
        assert_true(weir_envoy_told_same(&told, &read));
    }
}

static void versions_say_it_all(void **state) {
    (void)state;
    static const struct {
        struct weir_envoy_told told;
        const char *version;
    } rows[] = {
        {{false, 0, 0, 0}, "v1:nothing"},
        {{true, 100, 500, 0}, "v1:rate=0.0100,flush=500"},
        {{true, 100, 0, 5000}, "v1:rate=0.0100,interval=5000"},
        {{true, 100, 500, 5000}, "v1:rate=0.0100,flush=500,interval=5000"},
        {{true, 10000, 1000000, 86400000}, "v1:rate=1.0000,flush=1000000,interval=86400000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char version[WEIR_ENVOY_VERSION_BYTES];
        struct weir_envoy_told read;
        weir_envoy_version(&rows[i].told, version);
        assert_string_equal(version, rows[i].version);
        assert_true(weir_envoy_version_read(version, strlen(version), &read));
        assert_true(weir_envoy_told_same(&rows[i].told, &read));
        for (size_t j = 0; j < i; j++)
            assert_false(weir_envoy_told_same(&rows[i].told, &rows[j].told));
    }
}

/* Versions of somebody else's, or nearly ours. */
static void foreign_versions(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        "1",
        "v1:",
        "v1:rate=",
        "v1:rate=0.01",
        "v1:rate=0.01000",
        "v1:rate=00.0100",
        "v1:rate= 0.0100",
        "v1:rate=-0.010",
        "v1:rate=1.0001",
        "v1:rate=9.9999",
        "v2:rate=0.0100",
        "v1:rate=0.0100 ",
        "v1:nothing ",
        "v1:rate=0.0100,flush=0",
        "v1:rate=0.0100,flush=",
        "v1:rate=0.0100,flush=05",
        "v1:rate=0.0100,flush=-5",
        "v1:rate=0.0100,interval=x",
        "v1:rate=0.0100,interval=5000,flush=500",
        "v1:rate=0.0100,hash=1",
        "v1:rate=0.0100,flush=99999999999999999999999",
        "v1:rate=0.0100,flush=500,interval=5000,interval=5000,interval=5000,interval=5000,interval=5000",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_envoy_told told = {.ten_thousandths = 7};
        if (weir_envoy_version_read(rows[i], strlen(rows[i]), &told)) fail_msg("\"%s\" was read", rows[i]);
        assert_int_equal(told.ten_thousandths, 7);
    }
}

static void batching(void **state) {
    (void)state;
    struct weir_envoy_told told = told_of(1, 500, 5000 * WEIR_MS);
    assert_int_equal(told.min_flush_spans, 500);
    assert_int_equal(told.flush_interval_ms, 5000);
    assert_int_equal(told_of(1, 0, 1000).flush_interval_ms, 1); /* said is said, if it is less than Envoy's finest */
    assert_int_equal(told_of(1, 0, UINT64_MAX).flush_interval_ms, 86400000);
    assert_int_equal(told_of(1, UINT32_MAX, 0).min_flush_spans, 1000000);
    assert_false(weir_envoy_told_of(NULL).anything);
}

/* As protobuf's Python encoder writes them, deterministically. */
static void runtimes(void **state) {
    (void)state;
    static const char one[] = "\x0a\x04weir\x12V\x0aT\x0a\x17tracing.random_sampling\x12"
                              "9*7\x0a\x1d\x0a\x0b"
                              "denominator\x12\x0e\x1a\x0cTEN_THOUSAND\x0a\x16\x0a\x09numerator\x12\x09\x11"
                              "\0\0\0\0\0\0Y@";
    static const char all[] =
        "\x0a\x01l\x12\xef\x01\x0a"
        "4\x0a'tracing.opentelemetry.flush_interval_ms\x12\x09\x11\0\0\0\0\0\x88\xb3@\x0a"
        "2\x0a%tracing.opentelemetry.min_flush_spans\x12\x09\x11\0\0\0\0\0@\x7f@\x0a"
        "T\x0a\x17tracing.random_sampling\x12"
        "9*7\x0a\x1d\x0a\x0b"
        "denominator\x12\x0e\x1a\x0cTEN_THOUSAND\x0a\x16\x0a\x09numerator\x12\x09\x11\0\0\0\0\0\0\0\0\x0a"
        "-\x0a tracing.zipkin.flush_interval_ms\x12\x09\x11\0\0\0\0\0\x88\xb3@";
    static const char nothing[] = "\x0a\x04weir\x12\0";
    static const struct {
        struct weir_envoy_told told;
        const char *name, *want;
        size_t size;
    } rows[] = {
        {{true, 100, 0, 0}, "weir", one, sizeof one - 1},
        {{true, 0, 500, 5000}, "l", all, sizeof all - 1},
        {{false, 0, 0, 0}, "weir", nothing, sizeof nothing - 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_buffer out = {0};
        weir_envoy_put_runtime(&out, rows[i].name, strlen(rows[i].name), &rows[i].told);
        assert_false(out.failed);
        assert_int_equal(out.size, rows[i].size);
        assert_memory_equal(out.bytes, rows[i].want, rows[i].size);
        weir_buffer_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(versions_say_it_all),
        cmocka_unit_test(foreign_versions),
        cmocka_unit_test(batching),
        cmocka_unit_test(runtimes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
