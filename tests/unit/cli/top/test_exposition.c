#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/top/exposition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line_bytes[4096];

static bool reads(const char *line, struct weir_exposition_sample *sample) {
    snprintf(line_bytes, sizeof line_bytes, "%s", line);
    return weir_exposition_line((uint8_t *)line_bytes, strlen(line), sample);
}

static void accepts(const char *line, const char *name, double value, uint32_t labels, const char *key,
                    const char *label) {
    struct weir_exposition_sample sample;
    if (!reads(line, &sample)) fail_msg("refused: %s", line);
    assert_true(weir_exposition_is(sample.name, name));
    if (isnan(value))
        assert_true(isnan(sample.value));
    else
        assert_true(sample.value == value);
    assert_int_equal(sample.label_count, labels);
    if (key != NULL) assert_true(weir_exposition_is(weir_exposition_label(&sample, key), label));
}

static void refuses(const char *line) {
    struct weir_exposition_sample sample;
    if (reads(line, &sample)) fail_msg("accepted: %s", line);
}

static void lines_of_the_format_are_read(void **state) {
    (void)state;
    accepts("x 1", "x", 1, 0, NULL, NULL);
    accepts("  x\t 2.5e3  ", "x", 2500, 0, "none", "");
    accepts("a:b_c9{} 3\r", "a:b_c9", 3, 0, NULL, NULL);
    accepts("x{a=\"b\"} 4 1395066363000", "x", 4, 1, "a", "b");
    accepts("x { a = \"b\" , c=\"d\", } 5", "x", 5, 2, "c", "d");
    accepts("x{a=\"C:\\\\DIR\\\\\",b=\"say \\\"hi\\\"\\n\"} 6", "x", 6, 2, "a", "C:\\DIR\\");
    accepts("x{a=\"C:\\\\DIR\\\\\",b=\"say \\\"hi\\\"\\n\"} 6", "x", 6, 2, "b", "say \"hi\"\n");
    accepts("x{a=\"\\q\"} 7", "x", 7, 1, "a", "\\q");
    accepts("x{a=\"}{,= \"} 8", "x", 8, 1, "a", "}{,= ");
    accepts("x NaN", "x", (double)NAN, 0, NULL, NULL);
    accepts("x +Inf", "x", (double)INFINITY, 0, NULL, NULL);
    accepts("x -Inf", "x", -(double)INFINITY, 0, NULL, NULL);
    accepts("x -0.5", "x", -0.5, 0, NULL, NULL);
}

static void other_lines_are_refused(void **state) {
    (void)state;
    const char *const lines[] = {
        "",           "x",        "1 2",         "x y",         "x 1 2 3",     "x 1x",       "x{ 1",
        "x{a} 1",     "x{a=b} 1", "x{a=\"b} 1",  "x{a=\"b\" 1", "x{=\"b\"} 1", "x{,} 1",     "x{a=\"b\"c=\"d\"} 1",
        "x{a=\"b\"}", "x{a=\"\\", "{a=\"b\"} 1", "# HELP x",    "x 0x10",      "x 1e999999", "x 1 soon",
        "x infinity", "\xff 1"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        refuses(lines[i]);
    char many[4096] = "x{";
    for (int i = 0; i <= WEIR_EXPOSITION_LABELS; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "a%d=\"b\",", i);
    strcat(many, "} 1");
    refuses(many);
}

/* ---- pages ---- */

struct seen {
    char text[4096];
};

static void take(void *self, const struct weir_exposition_sample *sample) {
    struct seen *seen = self;
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%.*s=%g ",
             (int)sample->name.size, (const char *)sample->name.bytes, sample->value);
}

static void a_page_may_be_cut_anywhere(void **state) {
    (void)state;
    const char page[] = "# HELP a What.\n# TYPE a counter\na 1\nb{c=\"d\"} 2\r\n\nbroken\n   # note\nz 26";
    for (size_t part = 1; part <= sizeof page; part++) {
        struct seen seen = {""};
        struct weir_exposition lines = {.take = take, .self = &seen};
        for (size_t at = 0; at < sizeof page - 1; at += part)
            assert_true(
                weir_exposition_feed(&lines, page + at, part < sizeof page - 1 - at ? part : sizeof page - 1 - at));
        assert_true(weir_exposition_end(&lines));
        assert_string_equal(seen.text, "a=1 b=2 z=26 ");
        assert_int_equal(lines.samples, 3);
        assert_int_equal(lines.skipped, 1);
        weir_exposition_free(&lines);
    }
}

static void a_line_without_end_takes_no_memory(void **state) {
    (void)state;
    struct seen seen = {""};
    struct weir_exposition lines = {.take = take, .self = &seen};
    static char endless[4096];
    memset(endless, 'x', sizeof endless);
    for (int i = 0; i < 1000; i++)
        assert_true(weir_exposition_feed(&lines, endless, sizeof endless));
    assert_true(lines.line.capacity <= 2 * WEIR_EXPOSITION_LINE_BYTES);
    assert_true(weir_exposition_feed(&lines, "\na 1\n", 5));
    assert_string_equal(seen.text, "a=1 ");
    assert_int_equal(lines.skipped, 1);
    weir_exposition_free(&lines);
}

static void a_page_without_end_is_given_up(void **state) {
    (void)state;
    struct seen seen = {""};
    struct weir_exposition lines = {.take = take, .self = &seen, .page_bytes = WEIR_EXPOSITION_PAGE_BYTES - 10};
    assert_true(weir_exposition_feed(&lines, "a 1\n", 4));
    assert_false(weir_exposition_feed(&lines, "a 2\na 3\n", 8));
    weir_exposition_free(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_the_format_are_read),   cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(a_page_may_be_cut_anywhere),     cmocka_unit_test(a_line_without_end_takes_no_memory),
        cmocka_unit_test(a_page_without_end_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
