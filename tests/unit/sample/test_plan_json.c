#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/plan_json.h"
#include "tests/unit/named.h"

#include <jansson.h>
#include <string.h>

static uint32_t name(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

/* Read by a reader that is not ours; the caller frees. */
static json_t *read_back(struct weir_buffer *out) {
    json_error_t error;
    assert_false(out->failed);
    json_t *tree = json_loadb((const char *)out->bytes, out->size, JSON_REJECT_DUPLICATES, &error);
    if (tree == NULL) fail_msg("%s at %d of %.*s", error.text, error.position, (int)out->size, (char *)out->bytes);
    weir_buffer_free(out);
    return tree;
}

static const char *text_of(const json_t *tree, const char *key) {
    return json_string_value(json_object_get(tree, key));
}

static double number_of(const json_t *tree, const char *key) {
    const json_t *value = json_object_get(tree, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void a_plan_says_all_that_it_is(void **state) {
    (void)state;
    struct weir_plan_rate rows[] = {{.name = name("POST /v2/checkout"),
                                     .operation = name("POST /v{id}/checkout"),
                                     .rate = 1,
                                     .since_unix_ns = 1700000001250000000ull,
                                     .why = WEIR_PLAN_PIN},
                                    {.name = name("say \"hi\"\\\n\x01\xc3\xa4"),
                                     .rate = 0.000001,
                                     .since_unix_ns = 1700000000005000000ull,
                                     .why = WEIR_PLAN_FLOOR}};
    const struct weir_plan_service services[] = {
        {.rate =
             {.name = name("pay"), .rate = 1.0 / 3, .since_unix_ns = 1700000000999000000ull, .why = WEIR_PLAN_BUDGET},
         .max_traces_per_second = 0.5,
         .batching = {.min_flush_spans = 500, .flush_interval_ns = 2500000000},
         .operations = rows,
         .operation_count = 2},
        {.rate = {.name = name("bad\xff!"), .rate = 0, .why = WEIR_PLAN_INCIDENT}, .max_traces_per_second = -1}};
    const struct weir_plan_service fallback = {.rate = {.rate = 0.01, .why = WEIR_PLAN_RATE},
                                               .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(names, 0xabcull, &fallback, services, 2);
    struct weir_buffer out = {0};
    char version[17];
    weir_plan_write(plan, names, &out);
    json_t *tree = read_back(&out);
    snprintf(version, sizeof version, "%016llx", (unsigned long long)plan->version);
    assert_string_equal(text_of(tree, "version"), version);
    assert_string_equal(text_of(tree, "policy"), "0000000000000abc");

    const json_t *other = json_object_get(tree, "default");
    assert_null(json_object_get(other, "service"));
    assert_null(json_object_get(other, "max_traces_per_second"));
    assert_null(json_object_get(other, "min_flush_spans"));
    assert_true(number_of(other, "rate") == 0.01);
    assert_string_equal(text_of(other, "why"), "rate");
    assert_int_equal(json_array_size(json_object_get(other, "operations")), 0);

    const json_t *list = json_object_get(tree, "services");
    assert_int_equal(json_array_size(list), 2);
    const json_t *pay = json_array_get(list, 0);
    assert_string_equal(text_of(pay, "service"), "pay");
    snprintf(version, sizeof version, "%016llx", (unsigned long long)weir_plan_find(plan, name("pay"))->version);
    assert_string_equal(text_of(pay, "version"), version);
    assert_true(number_of(pay, "rate") == 0.333333);
    assert_string_equal(text_of(pay, "why"), "budget");
    assert_true(number_of(pay, "since") == 1700000000.999);
    assert_true(number_of(pay, "max_traces_per_second") == 0.5);
    assert_true(number_of(pay, "min_flush_spans") == 500);
    assert_true(number_of(pay, "flush_interval") == 2.5);
    const json_t *operations = json_object_get(pay, "operations");
    assert_string_equal(text_of(json_array_get(operations, 0), "operation"), "POST /v2/checkout");
    assert_string_equal(text_of(json_array_get(operations, 0), "why"), "pin");
    assert_true(number_of(json_array_get(operations, 0), "since") == 1700000001.25);
    assert_string_equal(text_of(json_array_get(operations, 1), "operation"), "say \"hi\"\\\n\x01\xc3\xa4");
    assert_true(number_of(json_array_get(operations, 1), "rate") == 0.000001);
    assert_true(number_of(json_array_get(operations, 1), "since") == 1700000000.005);
    assert_string_equal(text_of(json_array_get(list, 1), "service"), "bad\xef\xbf\xbd!");
    assert_string_equal(text_of(json_array_get(list, 1), "why"), "incident");
    json_decref(tree);
    weir_plan_unref(plan);
}

static void a_view_has_its_operation_or_is_the_sum(void **state) {
    (void)state;
    struct weir_control_view view = {.service = name("pay"),
                                     .operation = name("POST /pay"),
                                     .offered = 1234.5678,
                                     .rate = 0.1,
                                     .spans_per_second = 700,
                                     .bytes_per_second = 1e-3,
                                     .spans_offered = 1e21,
                                     .bytes_offered = 0.0 / 0.0,
                                     .proxy_cpu = 0.0123,
                                     .incident = true};
    struct weir_buffer out = {0};
    weir_control_view_write(&view, names, &out);
    json_t *tree = read_back(&out);
    assert_string_equal(text_of(tree, "service"), "pay");
    assert_string_equal(text_of(tree, "operation"), "POST /pay");
    assert_true(number_of(tree, "offered") == 1234.5678);
    assert_true(number_of(tree, "rate") == 0.1);
    assert_true(number_of(tree, "spans_per_second") == 700);
    assert_true(number_of(tree, "bytes_per_second") == 1e-3);
    assert_true(number_of(tree, "spans_offered") == 1e21);
    assert_true(number_of(tree, "bytes_offered") == 0); /* no number */
    assert_true(number_of(tree, "proxy_cpu") == 0.0123);
    assert_true(json_is_true(json_object_get(tree, "incident")));
    json_decref(tree);
    view.operation = WEIR_NAME_NONE;
    view.incident = false;
    weir_control_view_write(&view, names, &out);
    tree = read_back(&out);
    assert_null(json_object_get(tree, "operation"));
    assert_true(json_is_false(json_object_get(tree, "incident")));
    json_decref(tree);
}

static void budgets_are_those_that_the_file_has(void **state) {
    (void)state;
    struct weir_proxies_service services[] = {{.rule.name = name("pay"), .budget = {.proxy_cpu = 0.02}},
                                              {.rule.name = name("cart")},
                                              {.rule.name = name("edge"), .budget = {.bytes_per_second = 1048576}}};
    const struct weir_proxies proxies = {
        .services = services, .service_count = 3, .budget = {.spans_per_second = 2000}};
    struct weir_buffer out = {0};
    weir_proxies_write_budgets(&proxies, names, &out);
    json_t *tree = read_back(&out);
    const json_t *fleet = json_object_get(tree, "fleet"), *list = json_object_get(tree, "services");
    assert_int_equal(json_object_size(fleet), 1);
    assert_true(number_of(fleet, "spans_per_second") == 2000);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text_of(json_array_get(list, 0), "service"), "pay");
    assert_true(number_of(json_array_get(list, 0), "proxy_cpu") == 0.02);
    assert_true(number_of(json_array_get(list, 1), "bytes_per_second") == 1048576);
    json_decref(tree);
}

static void without_room_it_says_so(void **state) {
    (void)state;
    const struct weir_plan_service fallback = {.rate = {.rate = 0.01}, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(names, 1, &fallback, NULL, 0);
    struct weir_buffer out = {.limit = 64};
    weir_plan_write(plan, names, &out);
    assert_true(out.failed);
    weir_buffer_free(&out);
    weir_plan_unref(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_says_all_that_it_is),
        cmocka_unit_test(a_view_has_its_operation_or_is_the_sum),
        cmocka_unit_test(budgets_are_those_that_the_file_has),
        cmocka_unit_test(without_room_it_says_so),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
