#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/columns.h"

#include <math.h>
#include <stdio.h>

static void reads(void (*put)(struct weir_buffer *out, int columns, double value), double value, const char *text) {
    struct weir_buffer out = {0};
    put(&out, 0, value);
    weir_buffer_byte(&out, 0);
    assert_string_equal((const char *)out.bytes, text);
    weir_buffer_free(&out);
}

static void short_numbers(void **state) {
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "0"},         {-1, "0"},        {0.0012, "0.0012"}, {0.32, "0.32"},      {2, "2"},
                {46, "46"},       {4.1, "4.10"},    {41.24, "41.2"},    {99.94, "99.9"},     {99.96, "100"},
                {496.4, "496"},   {999.4, "999"},   {999.6, "1,000"},   {99999.4, "99,999"}, {99999.6, "100K"},
                {254500, "254K"}, {999499, "999K"}, {999501, "1.0M"},   {1234567, "1.2M"},   {1e15, "1e+09M"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        reads(weir_column_short, rows[i].value, rows[i].text);
    reads(weir_column_short, (double)NAN, "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(short_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
