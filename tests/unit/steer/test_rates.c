#include "collector/steer/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/weir-rates-XXXXXX";
static char path[64];

struct seen {
    struct weir_names *names;
    char text[2048];
};

static void see(void *self, uint32_t service, uint32_t operation, double rate) {
    struct seen *seen = self;
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof seen->text - at, "%s|%s|%g\n", weir_names_text(seen->names, service, NULL),
             weir_names_text(seen->names, operation, NULL), rate);
}

static uint32_t name(struct weir_names *names, const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

static struct weir_plan *plan_of(struct weir_names *names) {
    struct weir_plan_rate operations[] = {
        {.name = name(names, "GET \"/a\"\n"), .operation = name(names, "GET \"/a\"\n"), .rate = 1},
        {.name = name(names, "GET /b"), .operation = name(names, "GET /b"), .rate = 0},
    };
    const struct weir_plan_service fallback = {.rate = {.rate = 0.01}, .max_traces_per_second = -1};
    const struct weir_plan_service services[] = {
        {.rate = {.name = name(names, "pay"), .rate = 0.125},
         .max_traces_per_second = -1,
         .operations = operations,
         .operation_count = 2},
        {.rate = {.name = name(names, "caf\xc3\xa9"), .rate = 0.000001}, .max_traces_per_second = -1},
    };
    struct weir_plan *plan = weir_plan_new(names, 7, &fallback, services, 2);
    assert_non_null(plan);
    return plan;
}

static int begin(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/rates", folder);
    return 0;
}

static int end(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void rates_come_back_as_they_were_in_another_process(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(1000, 64000);
    struct weir_plan *plan = plan_of(names);
    struct weir_error err = {0};
    assert_int_equal(weir_rates_save(path, plan, names, &err), WEIR_OK);
    weir_plan_unref(plan);
    weir_names_free(names);
    struct seen seen = {.names = weir_names_new(1000, 64000)};
    name(seen.names, "something"); /* ids are others there */
    assert_int_equal(weir_rates_load(path, seen.names, see, &seen, &err), WEIR_OK);
    assert_non_null(strstr(seen.text, "pay|GET \"/a\"\n|1\n"));
    assert_non_null(strstr(seen.text, "pay|GET /b|0\n"));
    assert_non_null(strstr(seen.text, "pay||0.125\n"));
    assert_non_null(strstr(seen.text, "||0.01\n")); /* the default's */
    assert_non_null(strstr(seen.text, "caf\xc3\xa9||1e-06\n"));
    weir_names_free(seen.names);
}

static void put(const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_file_that_is_not_there_is_no_error_and_a_broken_one_says_where(void **state) {
    (void)state;
    struct seen seen = {.names = weir_names_new(1000, 64000)};
    struct weir_error err = {0};
    unlink(path);
    assert_int_equal(weir_rates_load(path, seen.names, see, &seen, &err), WEIR_OK);
    put("{\"services\":[{\"service\":\"pay\",\"rate\":0.5,\"operations\":[{\"operation\"");
    assert_int_equal(weir_rates_load(path, seen.names, see, &seen, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "byte "));
    weir_names_free(seen.names);
}

static void what_is_no_rate_is_passed_over(void **state) {
    (void)state;
    struct seen seen = {.names = weir_names_new(1000, 64000)};
    struct weir_error err = {0};
    put("{\"version\":\"0\",\"more\":[1,{}],\"default\":{\"rate\":7},\"services\":[{\"service\":\"a\",\"rate\":2,"
        "\"operations\":[]},"
        "{\"rate\":0.5},{\"service\":\"b\",\"rate\":0.25,\"why\":\"rate\",\"operations\":[{\"rate\":1},"
        "{\"operation\":\"x\",\"rate\":-1}]},{\"service\":\"overflow\",\"rate\":0.5}]}");
    assert_int_equal(weir_rates_load(path, seen.names, see, &seen, &err), WEIR_OK);
    assert_string_equal(seen.text, "b||0.25\n");
    weir_names_free(seen.names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_come_back_as_they_were_in_another_process),
        cmocka_unit_test(a_file_that_is_not_there_is_no_error_and_a_broken_one_says_where),
        cmocka_unit_test(what_is_no_rate_is_passed_over),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
