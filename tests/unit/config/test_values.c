#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/config/values.h"

#include <stdio.h>
#include <string.h>

static void test_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } accepts[] = {
        {"0", 0},
        {"1500", 1500},
        {"1500B", 1500},
        {"64KiB", 65536},
        {"64MiB", 64ull << 20},
        {"10GiB", 10ull << 30},
        {"1TiB", 1ull << 40},
        {"1.5GiB", 3ull << 29},
        {"5MB", 5000000},
        {"2kB", 2000},
        {"2KB", 2000},
        {"1GB", 1000000000},
        {"3TB", 3000000000000ull},
        {"16 MiB", 16ull << 20},
        {"0.5KiB", 512},
        {"9223372036854775807", INT64_MAX},
    };
    static const char *const refuses[] = {"",
                                          " 1",
                                          "-1",
                                          "1.5",
                                          "1.",
                                          ".5MiB",
                                          "MiB",
                                          "10Gi",
                                          "10G",
                                          "10gib",
                                          "1 000",
                                          "1e6",
                                          "0x10",
                                          "1MiB ",
                                          "1MiBB",
                                          "9223372036854775808",
                                          "18446744073709551616",
                                          "8388608TiB",
                                          "99999999999999999999GiB",
                                          "1,5MiB",
                                          "inf"};
    for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++) {
        uint64_t bytes = 77;
        if (!weir_value_bytes(accepts[i].text, &bytes)) fail_msg("%s is refused", accepts[i].text);
        assert_int_equal(bytes, accepts[i].bytes);
    }
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        uint64_t bytes = 77;
        if (weir_value_bytes(refuses[i], &bytes)) fail_msg("\"%s\" is accepted", refuses[i]);
        assert_int_equal(bytes, 77);
    }
}

static void test_durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } accepts[] = {
        {"750ms", 750000000},
        {"1s", 1000000000},
        {"10m", 600000000000},
        {"1h", 3600000000000},
        {"1.5s", 1500000000},
        {"1h30m", 5400000000000},
        {"2us", 2000},
        {"7ns", 7},
        {"0s", 0},
        {"0.25ms", 250000},
        {"1m0.5s", 60500000000},
    };
    static const char *const refuses[] = {"",    "0",   "5",    "s",    "1 s",        "1S",    "1d", "1sec",
                                          "-1s", "1s ", "1h30", "1e3s", "300000000h", "1..5s", ".5s"};
    for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++) {
        uint64_t ns = 77;
        if (!weir_value_duration(accepts[i].text, &ns)) fail_msg("%s is refused", accepts[i].text);
        assert_int_equal(ns, accepts[i].ns);
    }
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        uint64_t ns = 77;
        if (weir_value_duration(refuses[i], &ns)) fail_msg("\"%s\" is accepted", refuses[i]);
        assert_int_equal(ns, 77);
    }
}

static void test_ratios(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double share;
    } accepts[] = {{"0", 0},        {"1", 1},        {"0.1", 0.1}, {"10%", 0.1}, {"100%", 1},  {"0%", 0},
                   {"0.5%", 0.005}, {"1e-3", 0.001}, {"1.0", 1},   {"-0", 0},    {"25%", 0.25}};
    static const char *const refuses[] = {"",       "10",  "1.01", "101%",  "-0.1", "-1%", "%", "10 %",
                                          "0x1p-1", "nan", "inf",  "0.1.1", "half", "1e",  " 1"};
    for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++) {
        double share = 77;
        if (!weir_value_ratio(accepts[i].text, &share)) fail_msg("%s is refused", accepts[i].text);
        assert_true(share == accepts[i].share);
    }
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        double share = 77;
        if (weir_value_ratio(refuses[i], &share)) fail_msg("\"%s\" is accepted", refuses[i]);
        assert_true(share == 77);
    }
}

static void test_integers_and_bools(void **state) {
    (void)state;
    int64_t value = 77;
    assert_true(weir_value_integer("42", &value) && value == 42);
    assert_true(weir_value_integer("-3", &value) && value == -3);
    assert_true(weir_value_integer("100_000", &value) && value == 100000);
    static const char *const refuses[] = {"", "-", "1.0", "1_", "_1", "0x1", "1k", "9223372036854775808", "--1", "+1"};
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        if (weir_value_integer(refuses[i], &value)) fail_msg("\"%s\" is accepted", refuses[i]);
    }
    bool yes = false;
    assert_true(weir_value_bool("true", &yes) && yes);
    assert_true(weir_value_bool("false", &yes) && !yes);
    assert_false(weir_value_bool("yes", &yes));
    assert_false(weir_value_bool("True", &yes));
    assert_false(weir_value_bool("1", &yes));
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } accepts[] = {
        {"0.0.0.0:4317", "0.0.0.0", 4317},
        {":4317", "10.0.0.9", 4317},
        {"[::1]:4317", "::1", 4317},
        {"[::]:1", "::", 1},
        {"localhost:65535", "localhost", 65535},
        {"weir-0.weir_x:80", "weir-0.weir_x", 80},
        {"[fe80::1%eth0]:9", "fe80::1%eth0", 9},
    };
    static const char *const refuses[] = {
        "",           "nowhere",
        "4317",       ":0",
        ":65536",     ":-1",
        ":",          "::1:4317",
        "[::1]",      "[::1:4317",
        "::1]:4317",  "[]:1",
        "[a]:1",      "a b:1",
        "a/b:1",      ":4_3",
        "0.0.0.0: 1", "0.0.0.0:1 ",
        "Off",        "[::1]x:1",
        "http://a:1", "a234567890123456789012345678901234567890123456789012345678901234:1"};
    for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++) {
        struct weir_listen listen = {.asked = true, .line = 3};
        if (!weir_value_listen(accepts[i].text, "10.0.0.9", &listen)) fail_msg("%s is refused", accepts[i].text);
        assert_true(listen.on && listen.asked && listen.line == 3);
        assert_string_equal(listen.host, accepts[i].host);
        assert_int_equal(listen.port, accepts[i].port);
    }
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        struct weir_listen listen = {.port = 77};
        if (weir_value_listen(refuses[i], "10.0.0.9", &listen)) fail_msg("\"%s\" is accepted", refuses[i]);
        assert_int_equal(listen.port, 77);
    }
    struct weir_listen listen = {.on = true, .port = 5};
    assert_true(weir_value_listen("off", "", &listen));
    assert_false(listen.on);
    assert_false(weir_value_listen(":1", "", &listen));
}

static void test_printed_values_read_back(void **state) {
    (void)state;
    char text[32];
    for (uint64_t seed = 1, i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t value = seed >> (seed % 60 + 2), back = 0;
        if (i % 3 == 0) value &= ~0xfffffull;
        if (i % 3 == 1) value = value / 1000000000 * 1000000000;
        weir_value_print_bytes(value, text, sizeof text);
        assert_true(weir_value_bytes(text, &back));
        assert_int_equal(back, value);
        weir_value_print_duration(value, text, sizeof text);
        assert_true(weir_value_duration(text, &back));
        assert_int_equal(back, value);
    }
    weir_value_print_bytes(64ull << 20, text, sizeof text);
    assert_string_equal(text, "64MiB");
    weir_value_print_duration(90000000000ull, text, sizeof text);
    assert_string_equal(text, "90s");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_durations),
        cmocka_unit_test(test_ratios),    cmocka_unit_test(test_integers_and_bools),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_printed_values_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
