#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/policy.h"
#include "collector/sample/proxies.h"
#include "tests/unit/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_policy *policy; /* of the test that runs */

static int forget_policy(void **state) {
    (void)state;
    weir_policy_unref(policy);
    policy = NULL;
    return 0;
}

static const struct weir_proxies *accepts(const char *text) {
    struct weir_error err = {0};
    weir_policy_unref(policy);
    policy = NULL;
    if (weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) != WEIR_OK)
        fail_msg("%s\nis refused: %s", text, err.text);
    return weir_policy_proxies(policy);
}

static void refuses(const char *text, const char *reason) {
    struct weir_policy *out = (void *)1;
    struct weir_error err = {0};
    if (weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), names, &out, &err) == WEIR_OK)
        fail_msg("%s\nis accepted, not refused with %s", text, reason);
    assert_ptr_equal(out, (void *)1);
    assert_string_equal(err.text, reason);
}

static const struct weir_proxies_service *service_of(const struct weir_proxies *proxies, const char *name) {
    const struct weir_proxies_service *service = weir_proxies_find(proxies, id(name));
    if (service == NULL) fail_msg("no service %s", name);
    return service;
}

static void every_key(void **state) {
    (void)state;
    const struct weir_proxies *proxies = accepts(
        "proxies:\n"
        "  default:\n"
        "    rate: 1%\n"
        "    min_traces_per_second: 0.1\n"
        "    weight: 3\n"
        "    max_traces_per_second: 5\n"
        "    envoy: { min_flush_spans: 500, flush_interval: 5s }\n"
        "    operations: { GET /healthz: { rate: 0 } }\n"
        "  services:\n"
        "    payments:\n"
        "      rate: 0.1\n"
        "      min_traces_per_second: 2\n"
        "      weight: 0.5\n"
        "      max_traces_per_second: 0\n"
        "      envoy: { min_flush_spans: 1, flush_interval: 1ms }\n"
        "      nodes: [edge-*, front, '*']\n"
        "      exact: 'envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"front\", x = "
        "\"a\\\"b\\\\c\\n\",}'\n"
        "      budget: { spans_per_second: 0.5, bytes_per_second: 2MiB, proxy_cpu: 2% }\n"
        "      operations: { 'POST /users/42': { rate: 1 }, GET /x: { min_traces_per_second: 0.5, weight: 2 } }\n"
        "    cart: { nodes: one }\n"
        "  budget: { spans_per_second: 2000, bytes_per_second: 1MiB, proxy_cpu: 0.01 }\n"
        "  cost_per_span: 15us\n"
        "  incident: { factor: 4, for: 90s, errors: 0.1, slower: 2.5 }\n"
        "  trust: policy\n"
        "  poll_interval: 30s\n");
    const struct weir_proxies_service *fallback = &proxies->fallback, *pay = service_of(proxies, "payments");
    assert_int_equal(proxies->line, 1);
    assert_int_equal(fallback->rule.name, WEIR_NAME_NONE);
    assert_int_equal(fallback->rule.line, 2);
    assert_true(fallback->rule.rate == 0.01 && fallback->rule.floor == 0.1 && fallback->rule.weight == 3);
    assert_true(fallback->max_traces_per_second == 5);
    assert_int_equal(fallback->batching.min_flush_spans, 500);
    assert_int_equal(fallback->batching.flush_interval_ns, 5000000000);
    assert_int_equal(fallback->operation_count, 1);
    assert_int_equal(proxies->service_count, 2);
    assert_int_equal(pay->rule.name, id("payments"));
    assert_int_equal(pay->rule.line, 10);
    assert_true(pay->rule.rate == 0.1 && pay->rule.floor == 2 && pay->rule.weight == 0.5);
    assert_true(pay->max_traces_per_second == 0);
    assert_int_equal(pay->batching.min_flush_spans, 1);
    assert_int_equal(pay->batching.flush_interval_ns, 1000000);
    assert_int_equal(pay->node_count, 3);
    assert_string_equal(pay->nodes[0], "edge-*");
    assert_string_equal(pay->nodes[1], "front");
    assert_string_equal(pay->nodes[2], "*");
    assert_string_equal(pay->exact_family, "envoy_http_downstream_rq_total");
    assert_int_equal(pay->exact_label_count, 2);
    assert_string_equal(pay->exact_labels[0].name, "envoy_http_conn_manager_prefix");
    assert_string_equal(pay->exact_labels[0].value, "front");
    assert_string_equal(pay->exact_labels[1].name, "x");
    assert_string_equal(pay->exact_labels[1].value, "a\"b\\c\n");
    assert_true(pay->budget.spans_per_second == 0.5 && pay->budget.bytes_per_second == 2 << 20 &&
                pay->budget.proxy_cpu == 0.02);
    assert_int_equal(pay->operation_count, 3); /* one is the default's */
    assert_int_equal(pay->own_operation_count, 2);
    assert_int_equal(pay->operations[0].name, id("POST /users/42"));
    assert_int_equal(pay->operations[0].operation, id("POST /users/{id}"));
    assert_int_equal(pay->operations[0].line, 19);
    assert_true(pay->operations[0].rate == 1 && pay->operations[0].floor < 0 && pay->operations[0].weight < 0);
    assert_true(pay->operations[1].rate < 0 && pay->operations[1].floor == 0.5 && pay->operations[1].weight == 2);
    assert_int_equal(pay->operations[2].name, id("GET /healthz"));
    assert_int_equal(pay->operations[2].line, 8);
    const struct weir_proxies_service *cart = service_of(proxies, "cart");
    assert_int_equal(cart->node_count, 1);
    assert_string_equal(cart->exact_family, "");
    assert_true(cart->rule.rate < 0 && cart->rule.floor < 0 && cart->rule.weight < 0);
    assert_true(cart->budget.spans_per_second == 0 && cart->budget.bytes_per_second == 0);
    assert_int_equal(cart->batching.min_flush_spans, 0);
    assert_true(proxies->budget.spans_per_second == 2000 && proxies->budget.bytes_per_second == 1 << 20 &&
                proxies->budget.proxy_cpu == 0.01);
    assert_true(proxies->cost_ns == 15000);
    assert_true(proxies->incident.on && proxies->incident.factor == 4 && proxies->incident.errors == 0.1 &&
                proxies->incident.slower_times == 2.5);
    assert_int_equal(proxies->incident.for_ns, 90000000000);
    assert_true(proxies->trust_pollers);
    assert_int_equal(proxies->poll_ns, 30000000000);
    assert_null(weir_proxies_find(proxies, id("GET /x")));
    assert_null(weir_proxies_find(proxies, WEIR_NAME_NONE));
    assert_int_equal(proxies->row_count, 2 + 1 + 3 + 1);
}

static void what_is_not_said(void **state) {
    (void)state;
    assert_null(accepts("collector: { rate: 1 }\n"));
    assert_null(accepts("proxies:\n"));
    const struct weir_proxies *proxies = accepts("proxies:\n  default: { rate: 0.5 }\n  services:\n  budget:\n");
    assert_int_equal(proxies->service_count, 0);
    assert_true(proxies->fallback.rule.floor < 0 && proxies->fallback.rule.weight < 0);
    assert_true(proxies->fallback.max_traces_per_second < 0);
    assert_true(proxies->cost_ns == 20000);
    assert_false(proxies->trust_pollers);
    assert_int_equal(proxies->poll_ns, 60000000000);
    assert_true(proxies->incident.factor == 10 && proxies->incident.errors == 0.05 &&
                proxies->incident.slower_times == 3);
    assert_int_equal(proxies->incident.for_ns, 300000000000);
    /* Nothing bounds what an incident would cost. */
    assert_false(proxies->incident.on);
    assert_true(accepts("proxies: { default: { rate: 0.5 }, incident: { factor: 2 } }\n")->incident.on);
    assert_true(accepts("proxies: { default: { rate: 0.5 }, budget: { proxy_cpu: 1% } }\n")->incident.on);
    assert_false(
        accepts("proxies: { default: { rate: 0.5 }, incident: false, budget: { proxy_cpu: 1% } }\n")->incident.on);
    assert_true(accepts("proxies: { budget: { bytes_per_second: 1 } }\n")->fallback.rule.rate < 0);
}

/* design: "GET /healthz" at 0 in the default is for every service that says nothing of it. */
static void operations_of_the_default(void **state) {
    (void)state;
    const struct weir_proxies *proxies = accepts("proxies:\n"
                                                 "  default: { rate: 0.5, operations: { GET /healthz: { rate: 0 },\n"
                                                 "    GET /u/1: { rate: 0.1 } } }\n"
                                                 "  services:\n"
                                                 "    a: {}\n"
                                                 "    b: { operations: { GET /u/2: { rate: 0.2 } } }\n");
    const struct weir_proxies_service *a = service_of(proxies, "a"), *b = service_of(proxies, "b");
    assert_int_equal(a->operation_count, 2);
    assert_int_equal(a->own_operation_count, 0);
    assert_int_equal(b->operation_count, 2);
    assert_int_equal(b->own_operation_count, 1);
    assert_int_equal(b->operations[0].name, id("GET /u/2")); /* the same as the default's second, by its template */
    assert_true(b->operations[0].rate == 0.2);
    assert_int_equal(b->operations[1].name, id("GET /healthz"));
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"proxies: 1\n", "s.yaml:1: proxies: is a single value, a map is needed"},
        {"proxies: {}\n", "s.yaml:1: default: has no rate, and there is no budget that would work one out"},
        {"proxies:\n  services: { a: { rate: 0.1 } }\n",
         "s.yaml:1: default: has no rate, and there is no budget that would work one out"},
        {"proxies:\n  services: { a: { rate: 0.1 } }\n  default: { min_traces_per_second: 1 }\n",
         "s.yaml:3: default: has no rate, and there is no budget that would work one out"},
        /* The limit is for Jaeger's clients; everybody else would get 100 %. */
        {"proxies:\n  default: { max_traces_per_second: 1 }\n",
         "s.yaml:2: default: has no rate, and there is no budget that would work one out"},
        {"proxies:\n  services: { a: { budget: { spans_per_second: 1 } } }\n",
         "s.yaml:1: default: has no rate, and there is no budget that would work one out"},
        {"proxies:\n  defalt: { rate: 1 }\n", "s.yaml:2: proxies.defalt: unknown key, did you mean default?"},
        {"proxies:\n  default: 0.1\n", "s.yaml:2: default: is a single value, { rate: ... } is needed"},
        {"proxies:\n  default:\n    rate: 10\n",
         "s.yaml:3: rate: \"10\" is not a rate of 0 to 1 or \"0%\" to \"100%\""},
        {"proxies:\n  default: { rate: }\n",
         "s.yaml:2: rate: is nothing, a rate of 0 to 1 or \"0%\" to \"100%\" is needed"},
        {"proxies:\n  default: { rate: -1% }\n",
         "s.yaml:2: rate: \"-1%\" is not a rate of 0 to 1 or \"0%\" to \"100%\""},
        {"proxies:\n  default: { min_traces_per_second: -1 }\n",
         "s.yaml:2: min_traces_per_second: \"-1\" is not a number of 0 to 1e6"},
        {"proxies:\n  default: { min_traces_per_second: 2e6 }\n",
         "s.yaml:2: min_traces_per_second: \"2e6\" is not a number of 0 to 1e6"},
        {"proxies:\n  default: { weight: 0 }\n", "s.yaml:2: weight: \"0\" is not a number above 0, to 1e6"},
        {"proxies:\n  default: { weight: nan }\n", "s.yaml:2: weight: \"nan\" is not a number above 0, to 1e6"},
        {"proxies:\n  default: { max_traces_per_second: 0.5 }\n",
         "s.yaml:2: max_traces_per_second: \"0.5\" is not a whole number of 0 to 2147483647, as Jaeger's clients take "
         "it"},
        {"proxies:\n  default: { max_traces_per_second: 2147483648 }\n",
         "s.yaml:2: max_traces_per_second: \"2147483648\" is not a whole number of 0 to 2147483647, as Jaeger's "
         "clients "
         "take it"},
        {"proxies:\n  default: { envoy: 1 }\n",
         "s.yaml:2: envoy: is a single value, { min_flush_spans: ..., flush_interval: ... } is needed"},
        {"proxies:\n  default: { envoy: { min_flush_spans: 0 } }\n",
         "s.yaml:2: min_flush_spans: \"0\" is not a number of 1 to 1000000"},
        {"proxies:\n  default: { envoy: { min_flush_spans: 1000001 } }\n",
         "s.yaml:2: min_flush_spans: \"1000001\" is not a number of 1 to 1000000"},
        {"proxies:\n  default: { envoy: { flush_interval: 999us } }\n",
         "s.yaml:2: flush_interval: \"999us\" is not a duration of 1ms to 1h"},
        {"proxies:\n  default: { envoy: { flush_interval: 61m } }\n",
         "s.yaml:2: flush_interval: \"61m\" is not a duration of 1ms to 1h"},
        {"proxies:\n  default: { envoy: { flush_interval: 5 } }\n",
         "s.yaml:2: flush_interval: \"5\" is not a duration of 1ms to 1h"},
        {"proxies:\n  default: { envoy: { flush: 5s } }\n",
         "s.yaml:2: envoy.flush: unknown key; known are min_flush_spans, flush_interval"},
        {"proxies:\n  default: { nodes: [a] }\n",
         "s.yaml:2: default.nodes: unknown key; known are rate, min_traces_per_second, weight, max_traces_per_second, "
         "envoy, operations"},
        {"proxies:\n  services: [a]\n", "s.yaml:2: services: is a list, a map of services is needed"},
        {"proxies:\n  services:\n    a: 0.1\n", "s.yaml:3: service a: is a single value, { rate: ... } is needed"},
        {"proxies:\n  services:\n    a: { rat: 1 }\n", "s.yaml:3: service a.rat: unknown key, did you mean rate?"},
        {"proxies:\n  services:\n    a: { rate: 1 }\n    a: { rate: 0 }\n",
         "s.yaml:4: a: given twice, first at line 3"},
        {"proxies:\n  services:\n    '': { rate: 1 }\n", "s.yaml:3: an empty name"},
        {"proxies:\n  services:\n    overflow: { rate: 1 }\n",
         "s.yaml:3: no room for one more name (memory.names), or the name is `overflow`"},
        {"proxies:\n  services:\n    a: { nodes: [] }\n", "s.yaml:3: nodes: an empty list"},
        {"proxies:\n  services:\n    a: { nodes: [{}] }\n", "s.yaml:3: nodes: is a map, a list of names is needed"},
        {"proxies:\n  services:\n    a: { nodes: [a*b] }\n",
         "s.yaml:3: nodes: \"a*b\" is not a name of 1 to 127 bytes, with a * only at its end"},
        {"proxies:\n  services:\n    a:\n      nodes:\n        - x\n        - ''\n",
         "s.yaml:6: nodes: \"\" is not a name of 1 to 127 bytes, with a * only at its end"},
        {"proxies:\n  services:\n    a: { exact: [x] }\n",
         "s.yaml:3: exact: is a list, a series: name{label=\"value\", ...}, at most 4 labels, each with = is needed"},
        {"proxies:\n  services:\n    a: { operations: [x] }\n",
         "s.yaml:3: operations: is a list, a map of operations is needed"},
        {"proxies:\n  services:\n    a:\n      operations:\n        GET /: 0.1\n",
         "s.yaml:5: operation GET /: is a single value, { rate | min_traces_per_second | weight: ... } is needed"},
        {"proxies:\n  services:\n    a: { operations: { GET /: {} } }\n",
         "s.yaml:3: operation GET /: is a map, { rate | min_traces_per_second | weight: ... } is needed"},
        {"proxies:\n  services:\n    a: { operations: { GET /: { max: 1 } } }\n",
         "s.yaml:3: operation GET /.max: unknown key; known are rate, min_traces_per_second, weight"},
        {"proxies:\n  services:\n    a: { operations: { '': { rate: 1 } } }\n", "s.yaml:3: an empty name"},
        {"proxies:\n  services:\n    a:\n      operations:\n        GET /1: { rate: 1 }\n        GET /2: { rate: 0 }\n",
         "s.yaml:6: operation GET /2: is the same operation as the one in line 5, once its ids are templated"},
        {"proxies:\n  default:\n    operations:\n      GET /1: { rate: 1 }\n      GET /2: { rate: 0 }\n",
         "s.yaml:5: operation GET /2: is the same operation as the one in line 4, once its ids are templated"},
        {"proxies:\n  budget: 5\n", "s.yaml:2: budget: is a single value, { spans_per_second | bytes_per_second | "
                                    "proxy_cpu: ... } is needed"},
        {"proxies:\n  budget: {}\n",
         "s.yaml:2: budget: is a map, { spans_per_second | bytes_per_second | proxy_cpu: ... } is needed"},
        {"proxies:\n  budget: { spans: 5 }\n",
         "s.yaml:2: budget.spans: unknown key; known are spans_per_second, bytes_per_second, proxy_cpu"},
        {"proxies:\n  budget: { spans_per_second: 0 }\n",
         "s.yaml:2: spans_per_second: \"0\" is not a number above 0, to 1e9"},
        {"proxies:\n  budget: { spans_per_second: 1e10 }\n",
         "s.yaml:2: spans_per_second: \"1e10\" is not a number above 0, to 1e9"},
        {"proxies:\n  budget: { bytes_per_second: 0 }\n",
         "s.yaml:2: bytes_per_second: \"0\" is not a size above 0, to 1TiB"},
        {"proxies:\n  budget: { bytes_per_second: 2TiB }\n",
         "s.yaml:2: bytes_per_second: \"2TiB\" is not a size above 0, to 1TiB"},
        {"proxies:\n  budget: { proxy_cpu: 0 }\n",
         "s.yaml:2: proxy_cpu: \"0\" is not a share above 0, to 1 or \"100%\""},
        {"proxies:\n  budget: { proxy_cpu: 2 }\n",
         "s.yaml:2: proxy_cpu: \"2\" is not a share above 0, to 1 or \"100%\""},
        {"proxies:\n  cost_per_span: 0us\n", "s.yaml:2: cost_per_span: \"0us\" is not a duration of 1ns to 1s"},
        {"proxies:\n  incident: maybe\n", "s.yaml:2: incident: \"maybe\" is not false, or { factor: ..., for: ... }"},
        {"proxies:\n  incident: []\n", "s.yaml:2: incident: is a list, { factor: ..., for: ... } or false is needed"},
        {"proxies:\n  incident: { factor: 0.5 }\n", "s.yaml:2: factor: \"0.5\" is not a number of 1 to 1e6"},
        {"proxies:\n  incident: { for: 25h }\n", "s.yaml:2: for: \"25h\" is not a duration of 1s to 24h"},
        {"proxies:\n  incident: { errors: 0 }\n", "s.yaml:2: errors: \"0\" is not a share above 0, to 1 or \"100%\""},
        {"proxies:\n  incident: { slower: 0 }\n", "s.yaml:2: slower: \"0\" is not a number of 1 to 1e6"},
        {"proxies:\n  incident: { traces: 0 }\n",
         "s.yaml:2: incident.traces: unknown key; known are factor, for, errors, slower"},
        {"proxies:\n  trust: all\n", "s.yaml:2: trust: \"all\" is not policy or none"},
        {"proxies:\n  trust: [policy]\n", "s.yaml:2: trust: is a list, policy or none is needed"},
        {"proxies:\n  poll_interval: 500ms\n", "s.yaml:2: poll_interval: \"500ms\" is not a duration of 1s to 1h"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuses(rows[i].text, rows[i].reason);
}

static void selectors(void **state) {
    (void)state;
    static const struct {
        const char *selector;
        int labels; /* below 0: it is none */
    } rows[] = {
        {"up", 0},
        {" a:b_c9 ", 0},
        {"up{}", 0},
        {"up { }", 0},
        {"up{a=\"\"}", 1},
        {"up{a=\"1\",b=\"2\",c=\"3\",d=\"4\"}", 4},
        {"up{a=\"1\",b=\"2\",c=\"3\",d=\"4\",e=\"5\"}", -1},
        {"", -1},
        {"9up", -1},
        {"{a=\"1\"}", -1},
        {"up{a=1}", -1},
        {"up{a='1'}", -1},
        {"up{a!=\"1\"}", -1},
        {"up{a=~\"1\"}", -1},
        {"up{a:b=\"1\"}", -1},
        {"up{a=\"1\"", -1},
        {"up{a=\"1", -1},
        {"up{a=\"1\\", -1},
        {"up{a=\"\\t\"}", -1},
        {"up{a=\"1\" b=\"2\"}", -1},
        {"up{,}", -1},
        {"up{a}", -1},
        {"up{a=\"1\"} 5", -1},
        {"up[5m]", -1},
        {"sum(up)", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[300], quoted[128];
        size_t size = 0;
        for (const char *at = rows[i].selector; *at != 0; at++) {
            if (*at == '\'') quoted[size++] = '\'';
            quoted[size++] = *at;
        }
        quoted[size] = 0;
        snprintf(text, sizeof text, "proxies: { default: { rate: 1 }, services: { a: { exact: '%s' } } }\n", quoted);
        struct weir_error err = {0};
        weir_policy_unref(policy);
        policy = NULL;
        bool ok = weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) == WEIR_OK;
        if (ok != (rows[i].labels >= 0)) fail_msg("%s: %s", rows[i].selector, ok ? "is accepted" : err.text);
        if (ok) assert_int_equal(service_of(weir_policy_proxies(policy), "a")->exact_label_count, rows[i].labels);
    }
}

/* ---- bounds ---- */

static char *repeat(const char *before, const char *format, int count, const char *after) {
    size_t room = strlen(before) + strlen(after) + (size_t)count * (strlen(format) + 12) + 1;
    char *text = malloc(room), *at = text;
    at += sprintf(at, "%s", before);
    for (int i = 0; i < count; i++)
        at += snprintf(at, room - (size_t)(at - text), format, i);
    sprintf(at, "%s", after);
    return text;
}

static void many_rows(void **state) {
    (void)state;
    char *text = repeat("proxies:\n  default: { rate: 1 }\n  services:\n", "    s%d: { rate: 0.5 }\n", 10000, "");
    const struct weir_proxies *proxies = accepts(text);
    char name[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "s%d", i);
        assert_int_equal(service_of(proxies, name)->rule.line, 4 + i);
    }
    free(text);
    text = repeat("proxies:\n  default: { rate: 1 }\n  services:\n", "    s%d: { rate: 0.5 }\n", 20001, "");
    refuses(text, "s.yaml:3: services: more than 20000 services and operations in all");
    free(text);
    text = repeat("proxies:\n  default: { rate: 1 }\n  services:\n    a:\n      operations:\n",
                  "        o%dx: { rate: 1 }\n", 2001, "");
    refuses(text, "s.yaml:5: operations: more than 2000 in one service");
    free(text);
    text = repeat("proxies:\n  services:\n    a:\n      nodes:\n", "        - n%d\n", 65, "");
    refuses(text, "s.yaml:4: nodes: more than 64 entries");
    free(text);
    /* 200 operations of the default in each of 100 services. */
    text = repeat("proxies:\n  default:\n    rate: 1\n    operations:\n", "      o%dx: { rate: 0.5 }\n", 200,
                  "  services:\n");
    char *more = repeat(text, "    s%d: {}\n", 100, "");
    refuses(more, "s.yaml:1: proxies: more than 20000 services and operations in all; those of the default count once "
                  "more for each service");
    free(more);
    more = repeat(text, "    s%d: {}\n", 98, "");
    assert_int_equal(accepts(more)->row_count, 98 + 200 + 98 * 200);
    free(more);
    free(text);
}

/* ---- remarks ---- */

static void append(void *self, int line, const char *text) {
    char *out = self;
    snprintf(out + strlen(out), 4000 - strlen(out), "%d: %s\n", line, text);
}

static void remarks_are(const char *text, const char *expected) {
    char said[4000] = "";
    accepts(text);
    weir_policy_remarks(policy, ~0u, append, said);
    assert_string_equal(said, expected);
}

static void what_can_have_no_effect(void **state) {
    (void)state;
    remarks_are(
        "proxies:\n"
        "  default: { rate: 0.01, min_traces_per_second: 0.1 }\n"
        "  services:\n"
        "    payments: { rate: 0.1, operations: { POST /v2/checkout: { rate: 1 }, GET /healthz: { rate: 0 } } }\n"
        "  budget: { spans_per_second: 2000 }\n",
        "");
    remarks_are("proxies:\n"
                "  default: { rate: 0, min_traces_per_second: 1 }\n"
                "  services:\n"
                "    a: { rate: 1, operations: { GET /: { rate: 0, min_traces_per_second: 1 } } }\n"
                "    b: { rate: 0.0000001 }\n",
                "2: min_traces_per_second: has no effect: a rate of 0 is never raised\n"
                "4: min_traces_per_second: has no effect: a rate of 0 is never raised\n"
                "5: rate: is told as 0.000001, the least above 0 that every proxy can be told\n");
    /* Limits. */
    static const char limits[] = "proxies:\n"
                                 "  default: { rate: 0.1%s }\n"
                                 "  services:\n"
                                 "    a: { max_traces_per_second: 5 }\n"
                                 "    b: { max_traces_per_second: 5, operations: { GET /a: { rate: 1 } } }\n";
    char limited[400];
    snprintf(limited, sizeof limited, limits, "");
    static const char by_rates[] = "max_traces_per_second: has no effect: clients that are told operations, its own or "
                                   "the default's, go by rates alone\n";
    char want[400];
    snprintf(want, sizeof want, "5: %s", by_rates);
    remarks_are(limited, want);
    snprintf(limited, sizeof limited, limits, ", operations: { GET /: { rate: 0 } }");
    snprintf(want, sizeof want, "4: %s5: %s", by_rates, by_rates);
    remarks_are(limited, want);
    /* Pins. */
    static const char pinned[] = "proxies:\n"
                                 "  default: { rate: %s }\n"
                                 "  services: { a: { operations: { GET /: { rate: %s }, GET /a: { weight: 2 } } } }\n"
                                 "  budget: { spans_per_second: 1 }\n";
    char text[400];
    snprintf(text, sizeof text, pinned, "1", "0");
    remarks_are(text, "1: budget: can change nothing: all rates are 0 or 1, which are told as they are\n");
    snprintf(text, sizeof text, pinned, "1", "0.5");
    remarks_are(text, "");
    snprintf(text, sizeof text, pinned, "0.5", "0");
    remarks_are(text, "");
    remarks_are("proxies: { budget: { spans_per_second: 1 } }\n", "");
    remarks_are("proxies:\n"
                "  default: { rate: 0.1 }\n"
                "  services:\n"
                "    a: { rate: 1, budget: { proxy_cpu: 1% } }\n"
                "    b: { budget: { proxy_cpu: 1% } }\n",
                "4: budget: can change nothing: all rates of this service are 0 or 1, which are told as they are\n");
    /* Floors. */
    static const char floors[] =
        "proxies:\n"
        "  default: { rate: 0.1, min_traces_per_second: %s }\n"
        "  services: { a: { operations: { GET /: { weight: 1 }, GET /a: { weight: 1 }, GET /z: { rate: 0 } } } }\n"
        "  budget: { %s: 10 }\n";
    snprintf(text, sizeof text, floors, "5", "spans_per_second");
    remarks_are(text, "");
    snprintf(text, sizeof text, floors, "6", "spans_per_second");
    remarks_are(text, "1: min_traces_per_second: of the operations that are named 12 together, and the budget has 10 "
                      "spans/s: all floors shrink\n");
    snprintf(text, sizeof text, floors, "6", "bytes_per_second");
    remarks_are(text, "");
    remarks_are("proxies: { default: { min_traces_per_second: 11 }, budget: { spans_per_second: 10 } }\n",
                "1: min_traces_per_second: 11 of each operation, and the budget of all has 10 spans/s: all floors "
                "shrink\n");
    /* Weights. */
    static const char weights[] = "proxies:\n"
                                  "  default: { rate: 0.1, weight: 2, operations: { GET /: { weight: 2 } } }\n"
                                  "  services: {\n"
                                  "    a: { weight: 2%s },\n"
                                  "    b: { operations: { GET /: { weight: 2 } } } }\n";
    snprintf(text, sizeof text, weights, "");
    remarks_are(text, "2: weight: has no effect: there is no budget to share out\n"
                      "2: weight: has no effect: there is no budget to share out\n"
                      "4: weight: has no effect: there is no budget to share out\n"
                      "5: weight: has no effect: there is no budget to share out\n");
    snprintf(text, sizeof text, weights, ", budget: { spans_per_second: 1 }");
    remarks_are(text, "");
    /* Rows that change nothing. */
    remarks_are("proxies:\n"
                "  default: { rate: 0.1, operations: { GET /: { rate: 0.1 }, GET /z: { rate: 0.2 } } }\n",
                "2: rate: is that of the default anyway\n");
    remarks_are("proxies:\n"
                "  default: { rate: 0.1, operations: { GET /: { rate: 0.1 }, GET /z: { rate: 0.2 } } }\n"
                "  services:\n"
                "    a:\n"
                "      rate: 0.5\n"
                "      operations:\n"
                "        GET /a: { rate: 0.5 }\n"
                "        GET /z: { rate: 0.5 }\n"
                "        GET /b: { rate: 0.5, min_traces_per_second: 1 }\n"
                "    b:\n"
                "      operations: { GET /a: { rate: 0.1 } }\n",
                "7: rate: is its service's anyway\n"
                "11: rate: is its service's anyway\n");
    remarks_are("proxies:\n"
                "  default: { rate: 0.1, max_traces_per_second: 5, operations: { GET /: { rate: 0 } } }\n"
                "  services:\n"
                "    a: {}\n"
                "    b:\n"
                "      nodes: [b]\n"
                "      operations:\n"
                "        GET /a: { rate: 1 }\n",
                "2: max_traces_per_second: has no effect: clients that are told operations, its own or the default's, "
                "go by rates alone\n"
                "8: operations: have no effect on the Envoys that `nodes` names, which can be told one rate alone\n");
    /* Nodes. */
    remarks_are("proxies:\n"
                "  default: { rate: 0.1 }\n"
                "  services:\n"
                "    a: { nodes: [edge-1, mesh-*] }\n"
                "    b: { nodes: [edge-*, mesh-x, mesh-y*, edge-1] }\n"
                "    c: { nodes: ['*'] }\n"
                "    mesh-z: {}\n"
                "    d: { nodes: [else] }\n",
                "5: nodes: mesh-x: is never asked: `nodes` of the service in line 4 fit all that it fits\n"
                "5: nodes: mesh-y*: is never asked: `nodes` of the service in line 4 fit all that it fits\n"
                "5: nodes: edge-1: is never asked: `nodes` of the service in line 4 fit all that it fits\n"
                "8: nodes: else: is never asked: `nodes` of the service in line 6 fit all that it fits\n");
}

static void no_room_for_names(void **state) {
    (void)state;
    struct weir_names *small = weir_names_new(16, 4096);
    struct weir_policy *out = NULL;
    struct weir_error err = {0};
    char *text = repeat("proxies:\n  default:\n    rate: 1\n    operations:\n", "      o%dx: { rate: 0.5 }\n", 20, "");
    assert_int_equal(weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), small, &out, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "no room for one more name (memory.names), or the name is `overflow`"));
    free(text);
    weir_names_free(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_key, forget_policy),
        cmocka_unit_test_teardown(what_is_not_said, forget_policy),
        cmocka_unit_test_teardown(operations_of_the_default, forget_policy),
        cmocka_unit_test_teardown(test_refused, forget_policy),
        cmocka_unit_test_teardown(selectors, forget_policy),
        cmocka_unit_test_teardown(many_rows, forget_policy),
        cmocka_unit_test_teardown(what_can_have_no_effect, forget_policy),
        cmocka_unit_test_teardown(no_room_for_names, forget_policy),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
