/* Policies of the OpenTelemetry Collector. */
#include "imported.h"

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
        cmocka_unit_test(too_many_rules),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_import_free(&result);
    return failed;
}
