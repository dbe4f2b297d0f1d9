#include "collector/core/openmetrics.h"

#include "tests/unit/core/unit.h"

#include <stdio.h>
#include <string.h>

static void page_becomes(const char *page, const char *wanted) {
    struct weir_buffer out = {0};
    weir_openmetrics_write(&out, (const uint8_t *)page, strlen(page));
    weir_buffer_byte(&out, 0);
    assert_false(out.failed);
    assert_string_equal((const char *)out.bytes, wanted);
    weir_buffer_free(&out);
}

static void families(void **state) {
    (void)state;
    page_becomes("", "# EOF\n");
    page_becomes("# HELP a_total Says \"a\".\n# TYPE a_total counter\na_total{x=\"}\\\"\"} 1\n",
                 "# TYPE a counter\n# HELP a Says \\\"a\\\".\na_total{x=\"}\\\"\"} 1\n# EOF\n");
    page_becomes("# HELP g G.\n# TYPE g gauge\ng{le=\"1\"} 2\n", "# TYPE g gauge\n# HELP g G.\ng{le=\"1\"} 2\n# EOF\n");
    /* The name without _total, or what a counter may add to it, is another's. */
    page_becomes("# HELP a A.\n# TYPE a gauge\na 1\n# HELP a_total B.\n# TYPE a_total counter\na_total 2\n",
                 "# TYPE a gauge\n# HELP a A.\na 1\n# TYPE a_total unknown\n# HELP a_total B.\na_total 2\n# EOF\n");
    page_becomes("# HELP a_created A.\n# TYPE a_created gauge\na_created 1\n# HELP a_total B.\n# TYPE a_total counter\n"
                 "a_total 2\n",
                 "# TYPE a_created gauge\n# HELP a_created A.\na_created 1\n# TYPE a_total unknown\n# HELP a_total B.\n"
                 "a_total 2\n# EOF\n");
}

static void bounds(void **state) {
    (void)state;
    static const struct {
        const char *is, *becomes;
    } rows[] = {
        {"1", "1.0"},
        {"0.005", "0.005"},
        {"+Inf", "+Inf"},
        {"250", "250.0"},
        {"1000000", "1e+06"},
        {"1e+06", "1e+06"},
        {"25000000", "2.5e+07"},
        {"100000", "100000.0"},
        {"12345678", "1.2345678e+07"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char page[256], wanted[256];
        snprintf(page, sizeof page,
                 "# HELP h H.\n# TYPE h histogram\nh_bucket{a=\"le=\\\"1\",le=\"%s\"} 3 # {t=\"1\"} 0.5 7\n",
                 rows[i].is);
        snprintf(wanted, sizeof wanted,
                 "# TYPE h histogram\n# HELP h H.\nh_bucket{a=\"le=\\\"1\",le=\"%s\"} 3 # {t=\"1\"} 0.5 7\n# EOF\n",
                 rows[i].becomes);
        page_becomes(page, wanted);
    }
    page_becomes("# HELP s S.\n# TYPE s summary\ns{quantile=\"1\"} 3\ns_sum{a=\"1\"} 2\ns_count 1\n",
                 "# TYPE s summary\n# HELP s S.\ns{quantile=\"1.0\"} 3\ns_sum{a=\"1\"} 2\ns_count 1\n# EOF\n");
}

static void accept(void **state) {
    (void)state;
    static const struct {
        const char *accept;
        bool wanted;
    } rows[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {"application/openmetrics-text", true},
        {"Application/OpenMetrics-Text; version=1.0.0; Q=0.5", true},
        {"application/openmetrics-texture", false},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.3, text/plain;q=0.4", false},
        {"application/openmetrics-text;q=0.4,text/plain;q=0.4", true},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        {"text/html, */*", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (weir_openmetrics_wanted(rows[i].accept) != rows[i].wanted) fail_msg("%s", rows[i].accept);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(families), cmocka_unit_test(bounds), cmocka_unit_test(accept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
