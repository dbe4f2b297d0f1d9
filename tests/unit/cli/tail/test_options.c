/* What `weir tail` asks for. */
#include "collector/cli/tail/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
enum { ARGUMENTS_MAX = 12 };

static enum weir_status parse(const char *const *arguments, struct weir_tail_options *options, struct weir_error *err) {
    char *argv[ARGUMENTS_MAX + 1] = {(char *)"tail"};
    int argc = 1;
    bool help;
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    return weir_tail_options_parse(argc, argv, options, &help, err);
}

static void filters_become_a_query(void **state) {
    (void)state;
    const struct {
        const char *arguments[ARGUMENTS_MAX], *url;
    } rows[] = {
        {{NULL}, "http://127.0.0.1:9646/tail"},
        {{"--admin", "weir.prod:9646"}, "http://weir.prod:9646/tail"},
        {{"--admin=https://weir.prod/collector//"}, "https://weir.prod/collector/tail"},
        {{"--errors"}, "http://127.0.0.1:9646/tail?errors=true"},
        {{"--dropped", "--min-duration", "200ms"}, "http://127.0.0.1:9646/tail?min_duration=200ms&dropped=true"},
        {{"--service", "a b&c=d/\xc3\xa9%", "--rule=none", "--errors", "--limit", "5", "--spans=0", "--json"},
         "http://127.0.0.1:9646/tail?service=a%20b%26c%3Dd%2F%C3%A9%25&rule=none&errors=true"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_tail_options options;
        struct weir_error err = {0};
        struct weir_buffer url = {0};
        assert_int_equal(parse(rows[i].arguments, &options, &err), WEIR_OK);
        weir_tail_url(&options, &url);
        assert_string_equal((char *)url.bytes, rows[i].url);
        weir_buffer_free(&url);
        if (i == COUNT_OF(rows) - 1) {
            assert_int_equal(options.limit, 5);
            assert_int_equal(options.spans, 0);
            assert_true(options.json);
        } else {
            assert_int_equal(options.spans, WEIR_TAIL_SPANS);
        }
    }
}

static void wrong_usage(void **state) {
    (void)state;
    const struct {
        const char *arguments[ARGUMENTS_MAX], *why;
    } rows[] = {
        {{"--min-duration", "5"}, "--min-duration: a duration with its unit is needed, as in 200ms, not 5"},
        {{"--limit", "-1"}, "--limit: a whole number is needed, not -1"},
        {{"--spans=many"}, "--spans: a whole number is needed, not many"},
        {{"--service"}, "--service: a value has to follow"},
        {{"--errors=true"}, "--errors: takes no value"},
        {{"--serv", "a"}, "--serv: unknown argument"},
        {{"traces"}, "traces: unknown argument"},
        {{"--read", "-", "--errors"},
         "--read: filters are applied by the collector, not to what was already read from it"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_tail_options options;
        struct weir_error err = {0};
        assert_int_equal(parse(rows[i].arguments, &options, &err), WEIR_INVALID);
        assert_string_equal(err.text, rows[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_become_a_query),
        cmocka_unit_test(wrong_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
