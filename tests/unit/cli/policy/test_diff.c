#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/policy/diff.h"
#include "collector/core/buffer.h"
#include "collector/sample/policy.h"
#include "tests/unit/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_policy *policy_of(const char *proxies) {
    char text[2048];
    struct weir_policy *policy = NULL;
    struct weir_error err = {0};
    int size = snprintf(text, sizeof text, "proxies:\n%s%s",
                        strstr(proxies, "default:") == NULL ? "  default: { rate: 1% }\n" : "", proxies);
    if (weir_policy_parse("t.yaml", (const uint8_t *)text, (size_t)size, names, &policy, &err) != WEIR_OK)
        fail_msg("%s\n%s", err.text, text);
    return policy;
}

static void write(void *self, const struct weir_change *change) {
    struct weir_buffer *out = self;
    weir_buffer_printf(out, "%s/%s %s ", change->fleet ? "fleet" : weir_names_text(names, change->service, NULL),
                       weir_names_text(names, change->operation, NULL), change->what);
    if (change->kind == WEIR_CHANGE_TEXT)
        weir_buffer_printf(out, "[%s] [%s]\n", change->text_before, change->text_after);
    else
        weir_buffer_printf(out, "%g %g\n", change->before, change->after);
}

static void differs(const char *before, const char *after, const char *want) {
    struct weir_policy *old = policy_of(before), *new = policy_of(after);
    struct weir_buffer out = {0};
    bool no_memory = false;
    uint32_t lines = 0;
    uint32_t count =
        weir_policy_diff(weir_policy_proxies(old), weir_policy_proxies(new), names, write, &out, &no_memory);
    weir_buffer_byte(&out, 0);
    assert_string_equal((char *)out.bytes, want);
    for (const char *at = want; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(count, lines);
    assert_false(no_memory);
    weir_buffer_free(&out);
    weir_policy_unref(old);
    weir_policy_unref(new);
}

static void what_says_the_same_is_no_difference(void **state) {
    (void)state;
    differs("  default: { rate: 1% }\n", "  default: { rate: 0.01 }\n", "");
    /* A row that says what the default says; another order; a service that is told nothing of its own. */
    differs("  default: { rate: 1% }\n  services: { a: { rate: 1%, weight: 1 }, b: { rate: 5% } }\n",
            "  services: { b: { rate: 5% }, c: {} }\n  default: { rate: 1% }\n", "");
    differs("  default: { rate: 1%, operations: { \"GET /x\": { rate: 0 } } }\n  services: { a: { rate: 5% } }\n",
            "  default: { rate: 1%, operations: { \"GET /x\": { rate: 0 } } }\n"
            "  services: { a: { rate: 5%, operations: { \"GET /x\": { rate: 0 } } } }\n",
            "");
    differs("  services: { a: { rate: 5%, operations: { \"GET /x\": { rate: 5% } } } }\n",
            "  services: { a: { rate: 5% } }\n", "");
    differs("  trust: none\n  poll_interval: 60s\n  cost_per_span: 20us\n  incident: false\n", "  trust: none\n", "");
}

static void what_is_told_otherwise(void **state) {
    (void)state;
    differs("  default: { rate: 1% }\n", "  default: { rate: 2%, min_traces_per_second: 0.5 }\n",
            "/ rate 0.01 0.02\n/ min_traces_per_second nan 0.5\n");
    /* A service that had the default's, and one that falls back to it. */
    differs("  default: { rate: 1% }\n  services: { a: { rate: 5%, operations: { o: { rate: 1 } } } }\n",
            "  default: { rate: 1% }\n  services: { b: { rate: 10% } }\n",
            "a/ rate 0.05 0.01\na/o rate 1 0.01\nb/ rate 0.01 0.1\n");
    /* An operation takes over its service's. */
    differs("  services: { a: { rate: 5%, min_traces_per_second: 1, operations: { o: { weight: 2 } } } }\n",
            "  services: { a: { rate: 6%, operations: { o: { weight: 2, min_traces_per_second: 3 } } } }\n",
            "a/ rate 0.05 0.06\na/ min_traces_per_second 1 nan\na/o rate 0.05 0.06\na/o min_traces_per_second 1 3\n");
    differs("  default: { rate: 1% }\n  services: { a: { budget: { spans_per_second: 5, proxy_cpu: 2% } } }\n",
            "  default: { rate: 1%, envoy: { min_flush_spans: 100, flush_interval: 1500ms } }\n"
            "  services: { a: { max_traces_per_second: 3, nodes: [\"a-*\", b] } }\n",
            "a/ max_traces_per_second nan 3\na/ budget.spans_per_second 5 nan\na/ budget.proxy_cpu 0.02 nan\n"
            "a/ envoy.min_flush_spans nan 100\na/ envoy.flush_interval nan 1.5\na/ nodes [] [a-*, b]\n"
            "/ envoy.min_flush_spans nan 100\n/ envoy.flush_interval nan 1.5\n");
    differs("  services: { a: { exact: \"f{x=\\\"1\\\", y=\\\"2\\\"}\" } }\n", "  services: { a: { exact: g } }\n",
            "a/ exact [f{x=\"1\", y=\"2\"}] [g]\n");
}

static void the_fleet_comes_first(void **state) {
    (void)state;
    differs("  budget: { spans_per_second: 100, bytes_per_second: 1MiB }\n  services: { a: { rate: 5% } }\n",
            "  budget: { spans_per_second: 50, proxy_cpu: 1% }\n  cost_per_span: 10us\n  trust: policy\n"
            "  poll_interval: 5s\n  incident: { factor: 5, for: 1m, errors: 10%, slower: 4 }\n"
            "  services: { a: { rate: 6% } }\n",
            "fleet/ budget.spans_per_second 100 50\nfleet/ budget.bytes_per_second 1.04858e+06 nan\n"
            "fleet/ budget.proxy_cpu nan 0.01\nfleet/ cost_per_span 2e-05 1e-05\nfleet/ incident.factor 10 5\n"
            "fleet/ incident.for 300 60\nfleet/ incident.errors 0.05 0.1\nfleet/ incident.slower 3 4\n"
            "fleet/ trust [none] [policy]\nfleet/ poll_interval 60 5\na/ rate 0.05 0.06\n");
    differs("  incident: false\n", "  incident: {}\n", "fleet/ incident [off] [on]\n");
}

static void a_file_without_proxies(void **state) {
    (void)state;
    struct weir_policy *some = policy_of("  default: { rate: 1% }\n");
    struct weir_buffer out = {0};
    bool no_memory = false;
    assert_int_equal(weir_policy_diff(NULL, NULL, names, write, &out, &no_memory), 0);
    assert_int_equal(weir_policy_diff(NULL, weir_policy_proxies(some), names, write, &out, &no_memory), 1);
    assert_int_equal(weir_policy_diff(weir_policy_proxies(some), NULL, names, write, &out, &no_memory), 1);
    weir_buffer_byte(&out, 0);
    assert_string_equal((char *)out.bytes, "fleet/ proxies [] [told]\nfleet/ proxies [told] []\n");
    weir_buffer_free(&out);
    weir_policy_unref(some);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_says_the_same_is_no_difference),
        cmocka_unit_test(what_is_told_otherwise),
        cmocka_unit_test(the_fleet_comes_first),
        cmocka_unit_test(a_file_without_proxies),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
