/* Strategies of Jaeger. */
#include "imported.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strategies_of_jaeger),
        cmocka_unit_test(odd_strategies),
        cmocka_unit_test(too_much_of_jaeger),
        cmocka_unit_test(the_commented_block_is_yaml),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_import_free(&result);
    return failed;
}
