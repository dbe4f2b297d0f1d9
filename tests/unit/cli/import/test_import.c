/* Rules of others become rules of Weir that keep the same traces; what has no equal is said. What each
 * of them becomes: test_otel.c, test_jaeger.c, test_refinery.c. */
#include "imported.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_variables_are_harmless),
        cmocka_unit_test(what_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_import_free(&result);
    return failed;
}
