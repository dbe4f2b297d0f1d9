/* Rules of others become rules of Weir that keep the same traces; what has no equal is said. */
#include "collector/cli/import/import.h"
#include "collector/core/names.h"
#include "collector/sample/keep.h"
#include "collector/sample/plan.h"
#include "collector/sample/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct weir_import_result result;
static struct weir_error err;

static enum weir_status import_as(enum weir_import_from from, const char *part, const char *text) {
    struct weir_import_options options = {.from = from, .part = part, .trace_spans = 10, .trace_bytes = 5000};
    weir_import_free(&result);
    err.text[0] = 0;
    enum weir_status status = weir_import("in.yaml", (const uint8_t *)text, strlen(text), &options, &result, &err);
    if (status == WEIR_OK) {
        weir_buffer_byte(&result.out, 0);
        weir_buffer_byte(&result.notes, 0);
    }
    return status;
}

/* What came out is a policy that `weir check` takes. */
static void assert_passes(void) {
    struct weir_names *names = weir_names_new(8192, 4 << 20);
    struct weir_policy *policy = NULL;
    enum weir_status status =
        weir_policy_parse("out", result.out.bytes, strlen((char *)result.out.bytes), names, &policy, &err);
    if (status != WEIR_OK) print_error("%s\n%s\n", err.text, (char *)result.out.bytes);
    assert_int_equal(status, WEIR_OK);
    if (weir_policy_keep_part(policy) != NULL)
        assert_int_equal(weir_policy_keep_part(policy)->rule_count, result.rules);
    weir_policy_unref(policy);
    weir_names_free(names);
}

static void has(const char *part) {
    if (strstr((char *)result.out.bytes, part) != NULL) return;
    print_error("not there: %s\nin:\n%s\n", part, (char *)result.out.bytes);
    fail();
}
static void notes(const char *part) {
    if (strstr((char *)result.notes.bytes, part) != NULL) return;
    print_error("not there: %s\nin:\n%s\n", part, (char *)result.notes.bytes);
    fail();
}

/* One policy of the Collector as a rule, with nothing left out. */
static void becomes(const char *policy, const char *rule) {
    char text[1000];
    snprintf(text, sizeof text, "policies:\n  - { name: p, %s }\n", policy);
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_int_equal(result.from, WEIR_IMPORT_OTEL);
    assert_passes();
    assert_int_equal(result.left_out, 0);
    has(rule);
}
static void has_no_equal(const char *policy, const char *why) {
    char text[1000];
    snprintf(text, sizeof text, "policies:\n  - { name: p, %s }\n", policy);
    assert_int_equal(import_as(WEIR_IMPORT_OTEL, NULL, text), WEIR_OK);
    assert_passes();
    assert_int_equal(result.left_out, 1);
    assert_int_equal(result.rules, 1); /* that which drops the rest */
    notes("in.yaml:2: left out: p: ");
    notes(why);
    has(why);
}

static void each_policy_of_the_collector(void **state) {
    (void)state;
    becomes("type: always_sample", "- name: \"p\"\n      rate: 1\n");
    becomes("type: latency, latency: { threshold_ms: 5000 }", "when: { duration: \">=5001ms\" }");
    becomes("type: latency, latency: { threshold_ms: 250, upper_threshold_ms: 10000 }",
            "          - { duration: \">=251ms\" }\n          - { duration: \"<10001ms\" }\n");
    becomes("type: numeric_attribute, numeric_attribute: { key: k, min_value: 50, max_value: 100 }",
            "attribute: { key: \"k\", range: { min: 50, max: 100 } }");
    becomes("type: numeric_attribute, numeric_attribute: { key: k, min_value: 0, max_value: 100 }",
            "attribute: { key: \"k\", range: { max: 100 } }"); /* 0 is as not said, there */
    becomes("type: numeric_attribute, numeric_attribute: { key: k, max_value: -5 }", "range: { max: -5 }");
    becomes("type: numeric_attribute, numeric_attribute: { key: k, min_value: 1, invert_match: true }",
            "when: { not: { attribute: { key: \"k\", range: { min: 1 } } } }");
    becomes("type: boolean_attribute, boolean_attribute: { key: k, value: true }", "{ key: \"k\", equals: true }");
    becomes("type: boolean_attribute, boolean_attribute: { key: k, value: false, invert_match: true }",
            "not: { attribute: { key: \"k\", equals: false } }");
    becomes("type: string_attribute, string_attribute: { key: k, values: [a, \"b \\\"c\\\"\"] }",
            "{ key: \"k\", equals: [\"a\", \"b \\\"c\\\"\"] }");
    becomes("type: string_attribute, string_attribute: { key: k, values: [\"a.*\"] }",
            "{ key: \"k\", matches: \"\\\\A(?:a\\\\.\\\\*)\\\\z\" }");
    becomes(
        "type: string_attribute, string_attribute: { key: k, values: [\"^/v\\\\d\", x], enabled_regex_matching: true }",
        "matches: \"(?:^/v\\\\d)|(?:x)\"");
    becomes("type: string_attribute, string_attribute: { key: service.name, values: [a] }", "when: { service: \"a\" }");
    becomes("type: string_attribute, string_attribute: { key: service.name, values: [a], invert_match: true }",
            "when: { not: { service: \"a\" } }");
    has("# invert_match, as from v0.144 on.");
    becomes("type: status_code, status_code: { status_codes: [ERROR] }", "when: { error: true }");
    becomes("type: status_code, status_code: { status_codes: [OK, UNSET] }", "when: { span: { error: false } }");
    becomes("type: status_code, status_code: { status_codes: [OK, UNSET, ERROR] }", "\"p\"\n      rate: 1\n");
    becomes("type: span_count, span_count: { min_spans: 2 }", "when: { spans: \">=2\" }");
    becomes("type: span_count, span_count: { min_spans: 2, max_spans: 20 }", "when: { spans: \"2..20\" }");
    becomes("type: trace_flags", "when: { sampled: true }");
    becomes("type: probabilistic, probabilistic: { sampling_percentage: 0.1 }", "rate: 0.001\n");
    becomes("type: probabilistic, probabilistic: { sampling_percentage: 250 }", "rate: 1\n");
    becomes("type: rate_limiting, rate_limiting: { spans_per_second: 35 }", "max_traces_per_second: 3.5\n");
    assert_int_equal(result.rough, 1);
    becomes("type: bytes_limiting, bytes_limiting: { bytes_per_second: 1_000_000 }", "max_traces_per_second: 200\n");
    becomes("type: not, not: { not_sub_policy: { type: span_count, span_count: { min_spans: 2 } } }",
            "when: { not: { spans: \">=2\" } }");
    becomes("type: and, and: { and_sub_policy: [ { type: trace_flags }, { type: probabilistic, probabilistic: { "
            "sampling_percentage: 20 } }, { type: status_code, status_code: { status_codes: [ERROR] } } ] }",
            "        all:\n          - { sampled: true }\n          - { error: true }\n      rate: 0.2\n");
    becomes("type: drop, drop: { drop_sub_policy: [ { type: span_count, span_count: { max_spans: 1 } } ] }",
            "when: { spans: \"0..1\" }\n      rate: 0\n");
}

static void policies_without_an_equal(void **state) {
    (void)state;
    has_no_equal("type: trace_state, trace_state: { key: k, values: [v] }", "tracestate");
    has_no_equal("type: ottl_condition, ottl_condition: { spanevent: [ 'name == \"x\"' ] }", "span events");
    has_no_equal("type: status_code, status_code: { status_codes: [OK] }", "errors and the rest");
    has_no_equal("type: string_attribute, string_attribute: { key: k, values: [] }", "it matches nothing");
    has_no_equal("type: string_attribute, string_attribute: { key: k, values: [\"(\"], enabled_regex_matching: true }",
                 "missing closing parenthesis");
    has_no_equal(
        "type: not, not: { not_sub_policy: { type: probabilistic, probabilistic: { sampling_percentage: 5 } } }",
        "keeps by a rate or a limit");
    has_no_equal("type: and, and: { and_sub_policy: [ { type: trace_flags }, { type: trace_state } ] }", "tracestate");
    has_no_equal("type: drop, drop: { drop_sub_policy: [ { type: rate_limiting, rate_limiting: { spans_per_second: 1 } "
                 "} ] }",
                 "drop by a rate or a limit");
    has_no_equal("type: numeric_attribute, numeric_attribute: { key: k, min_value: 0 }", "no bound");
    has_no_equal("type: rate_limiting, rate_limiting: { spans_per_second: 0 }", "it keeps nothing");
    has_no_equal("type: from_the_future", "from_the_future is not known");
}

static void a_wait_that_is_none_is_the_default(void **state) {
    (void)state;
    assert_int_equal(
        import_as(WEIR_IMPORT_OTEL, NULL, "decision_wait: 10r\ndecision_wait_after_root_received: 0s\npolicies: []\n"),
        WEIR_OK);
    assert_passes();
    has("  wait: \"30s\" # the Collector's default\n");
    has("  quiet: \"1s\"\n");
    notes("in.yaml:1: left out: decision_wait: not a duration of 100ms to 1h");
    assert_int_equal(result.left_out, 1);
}

static void ottl_becomes(const char *ottl, const char *rule) {
    char policy[600], when[600];
    snprintf(policy, sizeof policy, "type: ottl_condition, ottl_condition: { error_mode: ignore, span: [ '%s' ] }",
             ottl);
    snprintf(when, sizeof when, "when: { %s }\n", rule);
    becomes(policy, when);
}
static void ottl_has_no_equal(const char *ottl, const char *why) {
    char policy[600];
    snprintf(policy, sizeof policy, "type: ottl_condition, ottl_condition: { span: [ '%s' ] }", ottl);
    has_no_equal(policy, why);
}

static void conditions_in_ottl(void **state) {
    (void)state;
    ottl_becomes("attributes[\"a\"] == \"x\"", "span: { attribute: { key: \"a\", equals: \"x\" } }");
    ottl_becomes("span.attributes[\"a\"] != 5", "span: { not: { attribute: { key: \"a\", equals: \"5\" } } }");
    ottl_becomes("attributes[\"a\"]>=499.5", "span: { attribute: { key: \"a\", range: \">=499.5\" } }");
    ottl_becomes("attributes[\"a\"] != nil", "span: { attribute: { key: \"a\", exists: true } }");
    ottl_becomes("attributes[\"a\"] == true", "span: { attribute: { key: \"a\", equals: \"true\" } }");
    ottl_becomes("attributes[\"a\"] == \"b*\"", "span: { attribute: { key: \"a\", matches: \"\\\\Ab\\\\*\\\\z\" } }");
    ottl_becomes("resource.attributes[\"service.name\"] == \"s\"", "span: { service: \"s\" }");
    ottl_becomes("resource.attributes[\"host\"] == \"h\"", "span: { attribute: { key: \"host\", equals: \"h\" } }");
    ottl_becomes("name == \"GET /\" and kind == SPAN_KIND_SERVER",
                 "span: { all: [{ operation: \"GET /\" }, { kind: server }] }");
    ottl_becomes("status.code == STATUS_CODE_ERROR or kind != 3",
                 "span: { any: [{ error: true }, { not: { kind: client } }] }");
    ottl_becomes("not (status.code == 2 or attributes[\"a\"] < -1)",
                 "span: { not: { any: [{ error: true }, { attribute: { key: \"a\", range: \"<-1\" } }] } }");
    ottl_becomes("IsMatch(attributes[\"u\"], \"^/v\\\\d\")",
                 "span: { attribute: { key: \"u\", matches: \"^/v\\\\d\" } }");
    ottl_becomes("IsRootSpan()", "root: { duration: \">=0ns\" }");
    ottl_becomes("IsRootSpan() and name == \"a\"", "root: { operation: \"a\" }");
    becomes("type: ottl_condition, ottl_condition: { span: [ 'name == \"a\"', 'IsRootSpan() and kind == 2' ] }",
            "when: { any: [{ span: { operation: \"a\" } }, { root: { kind: server } }] }");

    ottl_has_no_equal("true", "only attributes, name, kind");
    ottl_has_no_equal("name == \"a\" or IsRootSpan()", "IsRootSpan() beside or");
    ottl_has_no_equal("not IsRootSpan()", "IsRootSpan() within not");
    ottl_has_no_equal("attributes[\"a\"][\"b\"] == 1", "an attribute within an attribute");
    ottl_has_no_equal("attributes[\"a\"] > \"b\"", "an order of texts");
    ottl_has_no_equal("status.code == STATUS_CODE_OK", "a status other than ERROR");
    ottl_has_no_equal("name > \"a\"", "only == and != can be said of it");
    ottl_has_no_equal("IsMatch(name, \"a\")", "IsMatch() of what is no attribute");
    ottl_has_no_equal("name == \"a\" name", "something is behind its end");
    ottl_has_no_equal("(name == \"a\"", "a ) is missing");
    ottl_has_no_equal("attributes[\"a\"] == \"b", "a text does not end");
    ottl_has_no_equal("attributes[\"a\"] + 1 == 2", "a comparison is needed");
}

/* The places of the texts in the output rise. */
static void in_order(const char *const *texts, size_t count) {
    const char *last = (char *)result.out.bytes;
    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(last, texts[i]);
        if (at == NULL) print_error("%s is not where it belongs:\n%s\n", texts[i], (char *)result.out.bytes);
        assert_non_null(at);
        last = at;
    }
}

static void the_order_keeps_what_any_policy_would(void **state) {
    (void)state;
    const char *text = "processors:\n"
                       "  tail_sampling/a:\n"
                       "    decision_wait: 7s\n"
                       "    policies:\n"
                       "      - { name: tenth, type: probabilistic, probabilistic: { sampling_percentage: 10 } }\n"
                       "      - { name: five, type: and, and: { and_sub_policy: [ { type: trace_flags }, { type: "
                       "probabilistic, probabilistic: { sampling_percentage: 5 } } ] } }\n"
                       "      - { name: half, type: and, and: { and_sub_policy: [ { type: trace_flags }, { type: "
                       "probabilistic, probabilistic: { sampling_percentage: 50 } } ] } }\n"
                       "      - { name: limited, type: and, and: { and_sub_policy: [ { type: trace_flags }, { type: "
                       "rate_limiting, rate_limiting: { spans_per_second: 50 } } ] } }\n"
                       "      - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }\n"
                       "      - { name: never, type: drop, drop: { drop_sub_policy: [ { type: trace_flags } ] } }\n";
    static const char *const order[] = {"wait: \"7s\"", "\"never\"", "\"errors\"", "\"half\"",
                                        "\"limited\"",  "\"tenth\"", "\"five\""};
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_passes();
    in_order(order, sizeof order / sizeof *order);
    has("never asked, and needs not be: tenth keeps what it would"); /* five: 5 % of what 10 % keeps by the same R */
    assert_null(strstr((char *)result.out.bytes, "no-policy"));      /* tenth takes all */
    assert_int_equal(result.rules, 6);
    assert_int_equal(result.left_out, 0);
    assert_int_equal(result.rough, 2); /* spans a trace; limits and the policies behind them */
    notes("in.yaml:4: roughly: the Collector asks all policies");
}

static void a_composite_is_rules_with_limits(void **state) {
    (void)state;
    const char *text =
        "tail_sampling:\n  policies:\n    - name: c\n      type: composite\n      composite:\n"
        "        max_total_spans_per_second: 1000\n        policy_order: [two, one]\n        composite_sub_policy:\n"
        "          - { name: one, type: trace_flags }\n"
        "          - { name: two, type: span_count, span_count: { min_spans: 9 } }\n"
        "          - { name: three, type: always_sample }\n"
        "        rate_allocation: [ { policy: one, percent: 50 }, { policy: two, percent: 0 } ]\n";
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_passes();
    static const char *const order[] = {"policy_order has another order",      "\"c/one\"",
                                        "max_traces_per_second: 50\n",         "\"c/two\"",
                                        "max_traces_per_second: 33.3333333\n", "no rate_allocation names it",
                                        "\"c/three\"\n      rate: 0\n"};
    in_order(order, sizeof order / sizeof *order);
}

static void names_and_variables_are_harmless(void **state) {
    (void)state;
    setenv("WEIR_TEST_IMPORT", "x\"y", 1);
    assert_int_equal(
        import_as(WEIR_IMPORT_OTEL, NULL,
                  "policies:\n"
                  "  - { name: \"forced\", type: trace_flags }\n"
                  "  - { name: \"a\\nrules: []\", type: trace_flags }\n"
                  "  - { name: same, type: trace_flags }\n"
                  "  - { name: same, type: nonsense }\n"
                  "  - { name: same, type: trace_flags }\n"
                  "  - { name: v, type: string_attribute, string_attribute: { key: \"${env:WEIR_TEST_IMPORT}\", "
                  "values: [\"${env:WEIR_NOT_SET}\", \"${file:x}\"] } }\n"),
        WEIR_OK);
    assert_passes();
    has("\"forced-2\"");
    has("\"a\\x0arules: []\"");
    has("(same-2, line 5)");
    has("\"same-3\"");
    has("# - name: \"v\""); /* the rule stands on a variable that is not set: Weir's own words */
    notes("the environment variable WEIR_NOT_SET is not set");
    assert_int_equal(result.left_out, 2);
}

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        enum weir_import_from from;
        const char *text, *why;
    } rows[] = {
        {WEIR_IMPORT_GUESS, "a: 1\n", "in.yaml:1: neither policies of tail_sampling nor"},
        {WEIR_IMPORT_GUESS, "- 1\n", "in.yaml:1: is a list, a map of keys is needed"},
        {WEIR_IMPORT_GUESS, "", "in.yaml:1: is nothing, a map of keys is needed"},
        {WEIR_IMPORT_OTEL, "processors:\n  batch: {}\n", "in.yaml:1: no processor tail_sampling with policies in it"},
        {WEIR_IMPORT_OTEL, "processors:\n  tail_sampling: { policies: [] }\n  tail_sampling/b: { policies: [] }\n",
         "in.yaml:3: tail_sampling and tail_sampling/b; say which one with --part"},
        {WEIR_IMPORT_OTEL, "policies: 7\n", "in.yaml:1: policies: is"},
        {WEIR_IMPORT_JAEGER, "policies: []\n", "neither default_strategy nor service_strategies"},
        {WEIR_IMPORT_REFINERY, "RulesVersion: 2\n", "in.yaml:1: no Samplers in it"},
        {WEIR_IMPORT_REFINERY, "RulesVersion: 2\nSamplers: { prod: {} }\n",
         "in.yaml:2: Samplers: no environment __default__"},
        {WEIR_IMPORT_GUESS, "a: &x 1\n", "in.yaml:1: "},
        {WEIR_IMPORT_GUESS, "{ \"a\": ", "in.yaml:"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(import_as(rows[i].from, NULL, rows[i].text), WEIR_INVALID);
        if (strstr(err.text, rows[i].why) == NULL) print_error("%s\nis not\n%s\n", err.text, rows[i].why);
        assert_non_null(strstr(err.text, rows[i].why));
    }
}

/* ---- Jaeger ---- */

static void import_file(const char *name) {
    char path[512], *text = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/jaeger/%s.json", WEIR_TEST_DATA, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    import_as(WEIR_IMPORT_GUESS, NULL, text);
    free(text);
}

/* What a client of the service would be told: the rate, the limit (-1: none), of one operation. */
static void tells(const char *service, const char *operation, double rate, double limit) {
    struct weir_names *names = weir_names_new(8192, 4 << 20);
    struct weir_policy *policy = NULL;
    size_t size = strlen((char *)result.out.bytes);
    assert_int_equal(weir_policy_parse("out", result.out.bytes, size, names, &policy, &err), WEIR_OK);
    struct weir_plan *plan = weir_plan_of(weir_policy_proxies(policy), 1, names, 0);
    const struct weir_plan_service *told = weir_plan_find(plan, weir_names_intern(names, service, strlen(service)));
    const struct weir_plan_rate *row = weir_plan_rate_of(told, weir_names_intern(names, operation, strlen(operation)));
    if (row->rate != rate || told->max_traces_per_second != limit)
        fail_msg("%s, %s: %g and %g, not %g and %g", service, operation, row->rate, told->max_traces_per_second, rate,
                 limit);
    weir_plan_unref(plan);
    weir_policy_unref(policy);
    weir_names_free(names);
}

static void strategies_of_jaeger(void **state) {
    (void)state;
    import_file("operation_strategies");
    assert_int_equal(result.from, WEIR_IMPORT_JAEGER);
    assert_passes();
    has("\nproxies:\n  default:\n    rate: 0.5\n    operations:\n      \"op0\": { rate: 0.2 }\n"
        "      \"op6\": { rate: 0 }\n      \"op7\": { rate: 1 }\n");
    has("\n    \"foo\":\n      rate: 0.8\n      operations:\n        \"op6\": { rate: 0.5 }\n");
    has("\n    \"bar\":\n      rate: 0.001\n      max_traces_per_second: 5\n      operations:\n");
    has("# sources:\n#   - { match: { service: \"foo\" }, sampled_at: 0.8 }\n");
    notes("in.yaml:16: left out: the default, spam: ratelimiting");
    assert_int_equal(result.left_out, 3);
    assert_int_equal(result.rules, 10);
    /* Jaeger's own provider_test.go has these answers for this file. */
    tells("nobody", "op0", 0.2, -1);
    tells("nobody", "spam", 0.5, -1);
    tells("foo", "another", 0.8, -1);
    tells("foo", "op6", 0.5, -1);
    tells("foo", "op1", 0.2, -1);
    tells("foo", "op0", 0.2, -1);
    tells("foo", "op7", 1, -1);
    tells("foo", "op2", 0.8, -1);
    tells("bar", "another", 0.001, 5);
    tells("bar", "op3", 0.3, 5);
    tells("bar", "op4", 0.001, 5);
    tells("bar", "op7", 1, 5);

    import_file("missing-service-types");
    assert_passes();
    tells("nobody", "", 0.5, -1);
    tells("foo", "", 0.001, -1); /* not the default's */
    tells("foo", "op1", 0.2, -1);
    assert_int_equal(result.rough, 2);
    import_file("service_no_per_operation");
    assert_passes();
    tells("ServiceA", "", 1, -1);
    tells("ServiceA", "/health", 0.1, -1);
    tells("ServiceB", "", 0.2, 3);
    tells("ServiceB", "/health", 0.1, 3);
    import_file("sampling-strategies");
    assert_passes();
    tells("bar", "", 1, 0); /* 0.9 is 0 in an int32 */
    notes("in.yaml:12: roughly: service bar: Jaeger tells whole traces a second, 0");
    static const char *const files[] = {"sampling_strategies_example", "strategies"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        import_file(files[i]);
        assert_passes();
        assert_int_equal(result.left_out + result.rough, 0);
        tells("foo", "", 0.8, -1);
        tells("bar", "", 0.5, 5);
        tells("nobody", "", 0.5, -1);
    }
    import_file("bad_strategies");
    assert_non_null(strstr(err.text, "in.yaml:1: is a single value"));
    import_file("TestServiceNoPerOperationStrategies_ServiceB");
    assert_non_null(strstr(err.text, "its answer to one client"));
}

static void odd_strategies(void **state) {
    (void)state;
    assert_int_equal(import_as(WEIR_IMPORT_JAEGER, NULL,
                               "default_strategy:\n"
                               "service_strategies:\n"
                               "  - { service: '${x}', type: lowerbound }\n"
                               "  - { service: high, type: probabilistic, param: 2 }\n"
                               "  - { service: none, type: probabilistic }\n"
                               "  - { service: twice, type: probabilistic, param: 0.1 }\n"
                               "  - { service: '', type: probabilistic, param: 0.1 }\n"
                               "  - { service: overflow, type: probabilistic, param: 0.1 }\n"
                               "  - service: ids\n"
                               "    type: ratelimiting\n"
                               "    param: -1\n"
                               "    operation_strategies:\n"
                               "      - { operation: GET /1, type: probabilistic, param: 0.1 }\n"
                               "      - { operation: GET /2, type: probabilistic, param: 0.2 }\n"
                               "      - { operation: GET /3, type: ratelimiting, param: 1 }\n"
                               "      - { operation: GET /x, param: 1 }\n"
                               "      - { type: probabilistic, param: 1 }\n"
                               "  - { service: twice, type: probabilistic, param: 0.2 }\n"),
                     WEIR_OK);
    assert_passes();
    tells("nobody", "", 0.001, -1);
    tells("${x}", "", 0.001, -1);
    tells("high", "", 1, -1);
    tells("none", "", 0, -1);
    tells("twice", "", 0.2, -1);
    tells("ids", "", 0.001, 0);
    tells("ids", "GET /{id}", 0.2, 0);
    tells("ids", "GET /x", 0.001, 0);
    notes("in.yaml:6: left out: service twice: stands once more in line 18");
    notes("in.yaml:8: left out: service overflow: is what Weir calls all names that find no room");
    notes(
        "in.yaml:13: left out: service ids, GET /1: the operation in line 14 is the same, once its ids are templated");
    notes("in.yaml:17: left out: service ids, an operation: has no name");
    assert_int_equal(result.left_out, 6);
    assert_int_equal(result.rough, 5);
}

/* What Weir has no room for stands as a comment, and the file passes all the same. */
static void too_much_of_jaeger(void **state) {
    (void)state;
    char *text = calloc(1, 1 << 18), *at = text;
    at += sprintf(at, "default_strategy:\n  type: probabilistic\n  param: 1\n  operation_strategies:\n");
    for (int i = 0; i < 300; i++)
        at += sprintf(at, "    - { operation: o%dx, type: probabilistic, param: 1 }\n", i);
    at += sprintf(at, "service_strategies:\n");
    for (int i = 0; i < 100; i++)
        at += sprintf(at, "  - { service: s%d, type: probabilistic, param: 1 }\n", i);
    assert_int_equal(import_as(WEIR_IMPORT_JAEGER, NULL, text), WEIR_OK);
    assert_passes();
    has("\n# proxies:\n#   default:\n");
    notes("in.yaml:1: left out: all of it, which stands as a comment: proxies:1: proxies: more than 20000 services");
    assert_int_equal(result.rules, 0);
    free(text);
}

/* The commented block is what it says it is: taken out of the comments Weir takes it. */
static void the_commented_block_is_yaml(void **state) {
    (void)state;
    import_file("operation_strategies");
    char *at = strstr((char *)result.out.bytes, "# sources:\n"), *text = calloc(1, strlen(at) + 1), *to = text;
    for (char *line = at, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        memcpy(to, line + 2, (size_t)(end - line) - 1);
        to += end - line - 1;
    }
    struct weir_names *names = weir_names_new(1024, 1 << 16);
    struct weir_policy *policy = NULL;
    assert_int_equal(weir_policy_parse("out", (uint8_t *)text, strlen(text), names, &policy, &err), WEIR_OK);
    struct weir_span span = {.service = weir_names_find(names, "foo", 3), .prior = 1};
    assert_int_equal(weir_policy_weigh(policy, "grpc", &span), WEIR_WEIGHT_DECLARED);
    weir_policy_unref(policy);
    weir_names_free(names);
    free(text);
}

/* ---- Refinery ---- */

static void rule_becomes(const char *rule, const char *want) {
    char text[1500];
    snprintf(
        text, sizeof text,
        "RulesVersion: 2\nSamplers:\n  __default__:\n    RulesBasedSampler:\n      Rules:\n        - { Name: r, %s }\n",
        rule);
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_int_equal(result.from, WEIR_IMPORT_REFINERY);
    assert_passes();
    has(want);
}
static void condition_becomes(const char *condition, const char *want) {
    char rule[700], when[700];
    snprintf(rule, sizeof rule, "SampleRate: 1, Conditions: [ { %s } ]", condition);
    snprintf(when, sizeof when, "when: { %s }\n", want);
    rule_becomes(rule, when);
    assert_int_equal(result.left_out + result.rough, 0);
}
static void condition_is_left_out(const char *condition, const char *why) {
    char rule[700];
    snprintf(rule, sizeof rule, "SampleRate: 1, Conditions: [ { %s } ]", condition);
    rule_becomes(rule, why);
    assert_int_equal(result.left_out, 1);
    assert_int_equal(result.rules, 0);
    notes("in.yaml:6: left out: r: ");
}

static void conditions_of_refinery(void **state) {
    (void)state;
    condition_becomes("Field: a, Operator: =, Value: x", "attribute: { key: \"a\", equals: \"x\" }");
    condition_becomes("Field: a, Operator: in, Value: [x, 7]", "attribute: { key: \"a\", equals: [\"x\", \"7\"] }");
    condition_becomes("Field: a, Operator: '!=', Value: x",
                      "span: { all: [{ attribute: { key: \"a\", exists: true } }, { not: { attribute: { key: \"a\", "
                      "equals: \"x\" } } }] }");
    condition_becomes("Field: a, Operator: '!=', Value: x, Datatype: string",
                      "span: { not: { attribute: { key: \"a\", equals: \"x\" } } }");
    condition_becomes("Field: a, Operator: not-in, Value: [x]",
                      "span: { not: { attribute: { key: \"a\", equals: \"x\" } } }");
    condition_becomes("Field: a, Operator: '>=', Value: 1.5, Datatype: float",
                      "attribute: { key: \"a\", range: \">=1.5\" }");
    condition_becomes("Field: a, Operator: exists", "attribute: { key: \"a\", exists: true }");
    condition_becomes("Field: a, Operator: not-exists", "attribute: { key: \"a\", exists: false }");
    condition_becomes("Field: a, Operator: starts-with, Value: x", "attribute: { key: \"a\", equals: \"x*\" }");
    condition_becomes("Field: a, Operator: contains, Value: x.y", "attribute: { key: \"a\", matches: \"x\\\\.y\" }");
    condition_becomes("Field: a, Operator: does-not-contain, Value: x",
                      "span: { not: { attribute: { key: \"a\", matches: \"x\" } } }");
    condition_becomes("Field: a, Operator: matches, Value: '^x+$'", "attribute: { key: \"a\", matches: \"^x+$\" }");
    condition_becomes("Field: root.a, Operator: =, Value: x", "root: { attribute: { key: \"a\", equals: \"x\" } }");
    condition_becomes("Field: service.name, Operator: =, Value: x", "service: \"x\"");
    condition_becomes("Field: name, Operator: starts-with, Value: GET", "operation: \"GET*\"");
    condition_becomes("Field: duration_ms, Operator: '>', Value: 1000", "span: { duration: \">1s\" }");
    condition_becomes("Field: root.duration_ms, Operator: '<=', Value: 2.5", "root: { duration: \"<=2500us\" }");
    condition_becomes("Field: error, Operator: =, Value: true", "error: true");
    condition_becomes("Field: error, Operator: exists", "error: true");
    condition_becomes("Field: status_code, Operator: =, Value: 2", "error: true");
    condition_becomes("Field: http.status_code, Operator: '>=', Value: 500", "http_status: \">=500\"");
    condition_becomes("Fields: [http.status_code, http.response.status_code], Operator: =, Value: 500",
                      "http_status: \"500\"");
    condition_becomes("Fields: [a, b], Operator: =, Value: x",
                      "span: { any: [{ attribute: { key: \"a\", equals: \"x\" } }, { attribute: { key: \"b\", equals: "
                      "\"x\" } }] }");
    condition_becomes("Operator: has-root-span, Value: true", "root: { duration: \">=0ns\" }");
    condition_becomes("Operator: has-root-span, Value: false", "not: { root: { duration: \">=0ns\" } }");
    condition_becomes("Field: trace.parent_id, Operator: not-exists", "root: { duration: \">=0ns\" }");
    condition_becomes("Field: '?.NUM_DESCENDANTS', Operator: '>', Value: 100", "spans: \">100\"");

    condition_is_left_out("Field: a, Operator: '>', Value: b", "an order of texts");
    condition_is_left_out("Field: a, Operator: like, Value: b", "an operator that is not known");
    condition_is_left_out("Field: a, Operator: =, Value: 'b*'", "begins with");
    condition_is_left_out("Field: name, Operator: contains, Value: b", "can be said of a name");
    condition_is_left_out("Field: trace.parent_id, Operator: exists", "only not-exists");
    condition_is_left_out("Field: meta.annotation_type, Operator: =, Value: link", "only Refinery writes");
    condition_is_left_out("Fields: [root.a, b], Operator: =, Value: x", "some of its fields are the root's");
    condition_is_left_out("Operator: =, Value: x", "it names no field");
}

static void rules_of_refinery(void **state) {
    (void)state;
    rule_becomes("Drop: true", "\"r\"\n      rate: 0\n");
    rule_becomes("SampleRate: 4", "\"r\"\n      rate: 0.25\n");
    rule_becomes("Conditions: []", "Refinery keeps nothing of it");
    has("rate: 0\n");
    rule_becomes("SampleRate: 1, Scope: span, Conditions: [ { Field: a, Operator: exists }, { Field: service.name, "
                 "Operator: =, Value: s }, { Field: root.b, Operator: exists } ]",
                 "        all:\n          - { root: { attribute: { key: \"b\", exists: true } } }\n"
                 "          - { span: { all: [{ attribute: { key: \"a\", exists: true } }, { service: \"s\" }] } }\n");
    rule_becomes("Scope: span, Drop: true, Conditions: [ { Operator: has-root-span, Value: true } ]",
                 "it never holds in Scope span");
    rule_becomes("Sampler: { DeterministicSampler: { SampleRate: 20 } }", "rate: 0.05\n");
    rule_becomes(
        "Sampler: { DynamicSampler: { SampleRate: 5, ClearFrequency: 60s, MaxKeys: 9, FieldList: [service.name, "
        "root.name, http.status_code] } }",
        "dynamic: { keys: [\"service\", \"operation\", \"http_status\"], share: 0.2, window: \"60s\", max_keys: 9 }");
    rule_becomes("Sampler: { EMADynamicSampler: { GoalSampleRate: 5, FieldList: [a, b, c, error] } }",
                 "keys: [{ attribute: \"a\" }, { attribute: \"b\" }, \"status\"], share: 0.2 }");
    notes("without c");
    assert_int_equal(result.rough, 1);
    static const char *const throughput[] = {"EMAThroughputSampler", "WindowedThroughputSampler",
                                             "TotalThroughputSampler"};
    for (size_t i = 0; i < 3; i++) {
        char rule[200];
        snprintf(rule, sizeof rule, "Sampler: { %s: { GoalThroughputPerSec: 70, FieldList: [error] } }", throughput[i]);
        rule_becomes(rule, "dynamic: { keys: [\"status\"], traces_per_second: 7 }");
        assert_int_equal(result.rough, 1);
    }
    rule_becomes("Sampler: { EMAThroughputSampler: { GoalThroughputPerSec: 70 } }", "max_traces_per_second: 7\n");
    rule_becomes("Sampler: { NewSampler: { SampleRate: 2 } }", "NewSampler is not known");
    assert_int_equal(result.rules, 0);
}

static void environments_of_refinery(void **state) {
    (void)state;
    const char *text = "RulesVersion: 2\nSamplers:\n  __default__: { DeterministicSampler: { SampleRate: 2 } }\n"
                       "  prod: { DeterministicSampler: { SampleRate: 8 } }\n";
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_passes();
    has("rate: 0.5\n");
    notes("in.yaml:4: left out: environment prod");
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, "prod", text), WEIR_OK);
    assert_passes();
    has("rate: 0.125\n");
    notes("in.yaml:3: left out: environment __default__");
}

/* More rules than Weir takes: those are said to be left out, and what is there passes. */
static void too_many_rules(void **state) {
    (void)state;
    char *text = calloc(1, 100000);
    size_t used = (size_t)sprintf(text, "policies:\n");
    for (int i = 0; i < 300; i++)
        used += (size_t)sprintf(text + used, "  - { name: p%d, type: span_count, span_count: { min_spans: %d } }\n", i,
                                i + 1);
    assert_int_equal(import_as(WEIR_IMPORT_GUESS, NULL, text), WEIR_OK);
    assert_passes();
    assert_int_equal(result.rules, WEIR_KEEP_RULES_MAX);
    notes("in.yaml:65: left out: p63: more than 64 rules");
    has("- name: \"no-policy\"\n      rate: 0\n"); /* what no policy samples must not be kept by what is missing */
    notes("more than 256 rules");
    assert_true(result.left_out >= 192);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_of_the_collector),
        cmocka_unit_test(policies_without_an_equal),
        cmocka_unit_test(conditions_in_ottl),
        cmocka_unit_test(a_wait_that_is_none_is_the_default),
        cmocka_unit_test(the_order_keeps_what_any_policy_would),
        cmocka_unit_test(a_composite_is_rules_with_limits),
        cmocka_unit_test(names_and_variables_are_harmless),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(strategies_of_jaeger),
        cmocka_unit_test(odd_strategies),
        cmocka_unit_test(too_much_of_jaeger),
        cmocka_unit_test(the_commented_block_is_yaml),
        cmocka_unit_test(conditions_of_refinery),
        cmocka_unit_test(rules_of_refinery),
        cmocka_unit_test(environments_of_refinery),
        cmocka_unit_test(too_many_rules),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_import_free(&result);
    return failed;
}
