/* Rules of Refinery. */
#include "imported.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_of_refinery),
        cmocka_unit_test(rules_of_refinery),
        cmocka_unit_test(environments_of_refinery),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_import_free(&result);
    return failed;
}
