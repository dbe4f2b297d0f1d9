#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/columns.h"
#include "collector/cli/policy/view.h"
#include "collector/cli/text.h"
#include "tests/unit/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t name(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

#define PLAN                                                                                                           \
    "{\"version\":\"00000000000000ab\",\"policy\":\"00000000000000cd\","                                               \
    "\"default\":{\"version\":\"1\",\"rate\":0.01,\"why\":\"rate\",\"since\":1000,\"operations\":[]},"                 \
    "\"services\":["                                                                                                   \
    "{\"service\":\"cart\",\"version\":\"2\",\"rate\":0.25,\"why\":\"floor\",\"since\":999.5,\"operations\":[]},"      \
    "{\"service\":\"pay\",\"version\":\"3\",\"rate\":0.125,\"why\":\"budget\",\"since\":880,"                          \
    "\"max_traces_per_second\":0.5,\"min_flush_spans\":500,\"flush_interval\":2.5,\"operations\":["                    \
    "{\"operation\":\"GET /orders/77\",\"rate\":1,\"why\":\"pin\",\"since\":0},"                                       \
    "{\"operation\":\"b\",\"rate\":0.5,\"why\":\"rate\",\"since\":0}]}]}"
#define LOADS                                                                                                          \
    "[{\"service\":\"cart\",\"offered\":4,\"rate\":0.25,\"spans_per_second\":5,\"bytes_per_second\":500,"              \
    "\"spans_offered\":20,\"bytes_offered\":2000,\"proxy_cpu\":0.0125,\"incident\":false},"                            \
    "{\"service\":\"pay\",\"offered\":100,\"rate\":0.125,\"spans_per_second\":75,\"bytes_per_second\":7500,"           \
    "\"spans_offered\":600,\"bytes_offered\":60000,\"proxy_cpu\":0,\"incident\":false},"                               \
    "{\"service\":\"pay\",\"operation\":\"GET /orders/{id}\",\"offered\":10,\"rate\":1,\"spans_per_second\":60,"       \
    "\"bytes_per_second\":6000,\"spans_offered\":60,\"bytes_offered\":6000,\"proxy_cpu\":0,\"incident\":true},"        \
    "{\"service\":\"edge\",\"operation\":\"/\",\"offered\":1,\"rate\":0.01,\"spans_per_second\":0.01,"                 \
    "\"bytes_per_second\":1,\"spans_offered\":1,\"bytes_offered\":100,\"proxy_cpu\":0,\"incident\":false}]"
#define PAGE                                                                                                           \
    "{\"version\":\"00000000000000ab\",\"policy\":\"sampling.yaml\",\"arriving_spans_per_second\":70,\"later\":[{}],"  \
    "\"sides\":[{\"side\":\"policy\",\"share\":0.9,\"plan\":" PLAN ",\"budgets\":{\"fleet\":{\"spans_per_second\":2"   \
    "000},\"services\":[{\"service\":\"pay\",\"bytes_per_second\":1048576,\"proxy_cpu\":0.02}]},\"loads\":" LOADS      \
    ",\"estimates\":[{\"service\":\"pay\",\"ratio\":1.5,\"error\":0.1}]},"                                             \
    "{\"side\":\"canary\",\"share\":0.1,\"plan\":" PLAN ",\"budgets\":{\"fleet\":{},\"services\":[]},\"loads\":[]}],"  \
    "\"followers\":["                                                                                                  \
    "{\"way\":\"rtds\",\"id\":\"pay-1\",\"service\":\"pay\",\"side\":\"policy\",\"state\":\"current\",\"rate\":0.1},"  \
    "{\"way\":\"rtds\",\"id\":\"pay-\\u001b[31m2\",\"service\":\"pay\",\"side\":\"policy\",\"state\":\"refused\","     \
    "\"reason\":\"no layer \\u202eof that name\"},"                                                                    \
    "{\"way\":\"poll\",\"id\":\"10.0.0.9\",\"service\":\"cart\",\"side\":\"canary\",\"state\":\"behind\"}]}"

static struct weir_policy_view read_view(const char *text) {
    struct weir_policy_view view = {.names = names};
    struct weir_error err = {0};
    if (weir_policy_view_read(&view, (const uint8_t *)text, strlen(text), &err) != WEIR_OK) fail_msg("%s", err.text);
    return view;
}

static void rows_of_plan_loads_budgets_and_estimates_are_one(void **state) {
    (void)state;
    struct weir_policy_view view = read_view(PAGE);
    assert_int_equal(view.side_count, 2);
    assert_string_equal(view.policy, "sampling.yaml");
    assert_true(view.arriving == 70);
    const struct weir_view_side *side = &view.sides[0];
    assert_string_equal(side->version, "00000000000000ab");
    assert_true(side->share == 0.9 && side->budget.spans_per_second == 2000 && side->budget.proxy_cpu == 0);
    /* The service that sends most first, what has no load last, all others behind them. */
    static const char *const order[][2] = {
        {"pay", ""}, {"pay", "GET /orders/77"}, {"pay", "b"}, {"cart", ""}, {"edge", "/"}, {"", ""}};
    assert_int_equal(side->count, 6);
    for (uint32_t i = 0; i < side->count; i++) {
        assert_string_equal(weir_names_text(names, side->rows[i].service, NULL), order[i][0]);
        assert_string_equal(weir_names_text(names, side->rows[i].name, NULL), order[i][1]);
    }
    const struct weir_view_row *pay = &side->rows[0], *orders = &side->rows[1], *edge = &side->rows[4];
    assert_true(pay->told && pay->measured && pay->rate == 0.125 && pay->since == 880 && pay->limit == 0.5);
    assert_string_equal(pay->why, "budget");
    assert_true(pay->min_flush_spans == 500 && pay->flush_interval == 2.5);
    assert_true(pay->offered == 100 && pay->spans_told == 75 && pay->spans_offered == 600);
    assert_true(pay->bytes_told == 7500 && pay->bytes_offered == 60000);
    assert_true(pay->budget.bytes_per_second == 1048576 && pay->budget.proxy_cpu == 0.02);
    assert_true(pay->estimate == 1.5 && pay->estimate_error == 0.1);
    /* As it is told, and as it is measured: one operation. */
    assert_true(orders->told && orders->measured && orders->incident && orders->rate == 1 && orders->offered == 10);
    assert_true(!edge->told && edge->measured && edge->rate == 0.01 && edge->limit < 0 && edge->estimate < 0);
    assert_int_equal(view.sides[1].count, 5);
    assert_false(view.sides[1].rows[0].measured);
    assert_int_equal(view.follower_count, 3);
    assert_int_equal(view.followers[1].service, name("pay"));
    assert_int_equal(view.followers[2].side, WEIR_SIDE_CANARY);
    weir_policy_view_free(&view);
}

static void a_thousand_rows_find_theirs(void **state) {
    (void)state;
    struct weir_buffer text = {0};
    weir_buffer_text(&text, "{\"sides\":[{\"side\":\"policy\",\"loads\":[");
    for (int i = 0; i < 2000; i++)
        weir_buffer_printf(&text, "%s{\"service\":\"s%d\",\"operation\":\"o%d\",\"offered\":%d,\"spans_per_second\":1}",
                           i == 0 ? "" : ",", i % 10, i % 1000, i);
    weir_buffer_text(&text, "]}],\"followers\":[]}");
    weir_buffer_byte(&text, 0);
    struct weir_policy_view view = read_view((const char *)text.bytes);
    assert_int_equal(view.sides[0].count, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(view.sides[0].rows[i].offered >= 1000); /* the later of two */
    weir_policy_view_free(&view);
    weir_buffer_free(&text);
}

static void refuses(const char *text, const char *why) {
    struct weir_policy_view view = {.names = names};
    struct weir_error err = {0};
    assert_int_equal(weir_policy_view_read(&view, (const uint8_t *)text, strlen(text), &err), WEIR_INVALID);
    if (strstr(err.text, why) == NULL) fail_msg("%s: not %s", err.text, why);
    weir_policy_view_free(&view);
}

static void what_is_no_such_page(void **state) {
    (void)state;
    refuses("", "byte 0");
    refuses("<html>", "byte 0");
    refuses("[]", "byte 0");
    refuses("{\"sides\":{}}", "byte 9");
    refuses("{\"sides\":[1]}", "byte 10");
    refuses("{\"sides\":[{},{},{}]}", "one side too many");
    refuses("{\"sides\":[{\"loads\":[{\"service\":1}]}]}", "byte");
    refuses("{\"sides\":[{\"plan\":{\"services\":[{\"operations\":[{\"operations\":[{]}]}]}}]}", "byte");
    refuses("{\"followers\":[{\"operations\":[{}", "byte");
    refuses("{\"followers\":[]} x", "byte 17");
    /* Cut anywhere, it is told apart. */
    for (size_t size = 0; size < sizeof PAGE - 1; size++) {
        struct weir_policy_view view = {.names = names};
        struct weir_error err = {0};
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, PAGE, size);
        assert_int_equal(weir_policy_view_read(&view, cut, size, &err), WEIR_INVALID);
        weir_policy_view_free(&view);
        free(cut);
    }
}

static void the_table_fits_80_columns_and_moves_no_cursor(void **state) {
    (void)state;
    struct weir_policy_view view = read_view(PAGE);
    for (int unicode = 0; unicode < 2; unicode++) {
        struct weir_buffer out = {0};
        weir_policy_view_print(&view, "http://127.0.0.1:9646", 1000, true, false, unicode != 0, &out);
        weir_buffer_byte(&out, 0);
        assert_false(out.failed);
        char *text = (char *)out.bytes;
        assert_non_null(strstr(text, "policy     for 90 % of the proxies, version 00000000000000ab\n"));
        assert_non_null(
            strstr(text, "pay                          12.5 % budget     2m00s     100.0    600.0     75.0\n"));
        assert_non_null(
            strstr(text, "  GET /orders/77              100 % incident       -      10.0     60.0     60.0\n"));
        assert_non_null(
            strstr(text, "(all others)                    1 % rate           0         -        -        -\n"));
        assert_non_null(strstr(text, "followers: 1 current, 1 refused"));
        assert_non_null(strstr(text, unicode != 0 ? "estimate 1.500 \xc2\xb1"
                                                    "0.150"
                                                  : "estimate 1.500 +-0.150"));
        assert_non_null(strstr(text, "budget 1.0 MiB/s, 2 % of a core a proxy"));
        assert_non_null(strstr(text, "spans      80.0/s of 620.0/s at 100 %: 12.9 %\n"));
        assert_null(strchr(text, '\033'));
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            if (weir_text_columns(line, unicode != 0) > 80) fail_msg("longer than 80 columns: %s", line);
        }
        weir_buffer_free(&out);
    }
    weir_policy_view_free(&view);
}

static void numbers_in_columns(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *number, *share, *bytes;
    } rows[] = {
        {0, "       0", "     0 %", "     0 B"},
        {-1, "       0", "     0 %", "     0 B"},
        {0.000001, "   1e-06", "0.0001 %", "     0 B"},
        {0.5, "    0.50", "    50 %", "     0 B"},
        {0.99999, "    1.00", "99.999 %", "     1 B"},
        {1, "    1.00", "   100 %", "     1 B"},
        {9.999, "    10.0", "1000 %", "    10 B"},
        {1234.4, "   1,234", "123440 %", " 1.2 KiB"},
        {12345678, "   12.3M", "1234567800 %", "11.8 MiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_buffer out = {0};
        weir_column_number(&out, 8, rows[i].value);
        weir_column_share(&out, 8, rows[i].value);
        weir_column_bytes(&out, 8, rows[i].value);
        weir_buffer_byte(&out, 0);
        char want[64];
        snprintf(want, sizeof want, "%s%8s%s", rows[i].number, rows[i].share, rows[i].bytes);
        assert_string_equal((char *)out.bytes, want);
        weir_buffer_free(&out);
    }
    struct weir_buffer out = {0};
    weir_column_name(&out, "a name that is too long", 2, 10, true);
    weir_buffer_byte(&out, '|');
    weir_column_name(&out, "short", 0, 8, true);
    weir_buffer_byte(&out, 0);
    assert_string_equal((char *)out.bytes, "  a name \xe2\x80\xa6|short   ");
    weir_buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_plan_loads_budgets_and_estimates_are_one),
        cmocka_unit_test(a_thousand_rows_find_theirs),
        cmocka_unit_test(what_is_no_such_page),
        cmocka_unit_test(the_table_fits_80_columns_and_moves_no_cursor),
        cmocka_unit_test(numbers_in_columns),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
