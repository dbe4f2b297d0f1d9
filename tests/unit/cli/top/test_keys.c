#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/top/keys.h"
#include "collector/cli/top/options.h"
#include "collector/core/clock.h"

#include <string.h>

static void reads(const char *bytes, bool whole, size_t had, enum weir_key key) {
    struct weir_key_read read;
    assert_int_equal(weir_key_read((const uint8_t *)bytes, strlen(bytes), whole, &read), had);
    assert_int_equal(read.key, key);
}

static void keys_are_read_whole_or_in_pieces(void **state) {
    (void)state;
    reads("q", false, 1, WEIR_KEY_CHARACTER);
    reads("\r", false, 1, WEIR_KEY_ENTER);
    reads("\x7f", false, 1, WEIR_KEY_BACKSPACE);
    reads("\x03", false, 1, WEIR_KEY_END_OF_TEXT);
    reads("\033[A", false, 3, WEIR_KEY_UP);
    reads("\033OB", false, 3, WEIR_KEY_DOWN);
    reads("\033[5~", false, 4, WEIR_KEY_PAGE_UP);
    reads("\033[6~rest", false, 4, WEIR_KEY_PAGE_DOWN);
    reads("\033[1;5C", false, 6, WEIR_KEY_RIGHT);
    reads("\033[200~", false, 6, WEIR_KEY_NONE);
    reads("\033", false, 0, WEIR_KEY_ESCAPE); /* unless something follows: nothing was taken */
    reads("\033", true, 1, WEIR_KEY_ESCAPE);
    reads("\033[", false, 0, WEIR_KEY_NONE);
    reads("\033[", true, 2, WEIR_KEY_NONE);
    reads("\033q", false, 1, WEIR_KEY_ESCAPE);
    reads("\033[5\033[A", false, 3, WEIR_KEY_NONE);
    reads("\x01", false, 1, WEIR_KEY_NONE);
    reads("", false, 0, WEIR_KEY_NONE);
}

/* Every end of input is reached, whatever comes: no byte is read twice for ever. */
static void any_bytes_come_to_an_end(void **state) {
    (void)state;
    static const uint8_t some[] = "\033[O;0123ABC~Mq\r\x7f\x03 \x80\xff";
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = some[(seed >> 16) % (sizeof some - 1)];
        }
        struct weir_key_read key;
        for (size_t at = 0, had; at < sizeof bytes; at += had) {
            had = weir_key_read(bytes + at, sizeof bytes - at, true, &key);
            assert_in_range(had, 1, sizeof bytes - at);
        }
    }
}

static struct weir_top_state state_now;
static const struct weir_top_shown shown = {.rows = 40, .page_rows = 10, .chosen_first = 7};

static enum weir_top_wish press(const char *keys) {
    enum weir_top_wish wish = WEIR_TOP_GO_ON;
    for (size_t at = 0, size = strlen(keys); at < size;) {
        struct weir_key_read key;
        at += weir_key_read((const uint8_t *)keys + at, size - at, true, &key);
        wish = weir_top_press(&state_now, &key, &shown);
    }
    return wish;
}

static void keys_do_what_help_says(void **state) {
    (void)state;
    state_now = (struct weir_top_state){.sort = WEIR_TOP_BY_RATE};
    assert_int_equal(press("\033[B\033[B"), WEIR_TOP_GO_ON);
    assert_int_equal(state_now.chosen, 2);
    press("\033[6~\033[6~");
    assert_int_equal(state_now.chosen, 20);
    assert_int_equal(state_now.scroll, 11);
    press("\033[F");
    assert_int_equal(state_now.chosen, 39);
    assert_int_equal(state_now.scroll, 30);
    press("\033[H\033[A");
    assert_int_equal(state_now.chosen, 0);
    assert_int_equal(state_now.scroll, 0);
    press("s>");
    assert_int_equal(state_now.sort, WEIR_TOP_BY_P50);
    press("<<<<");
    assert_int_equal(state_now.sort, WEIR_TOP_COLUMNS - 1);
    press("rp");
    assert_true(state_now.reverse && state_now.paused);
    press("?");
    assert_true(state_now.help);
    press("x");
    assert_true(!state_now.help && state_now.paused);
    press("\r");
    assert_int_equal(state_now.table, WEIR_TOP_OPERATIONS);
    assert_int_equal(state_now.service, 7);
    press("o");
    assert_int_equal(state_now.service, 0);
    press("\033");
    assert_int_equal(state_now.table, WEIR_TOP_SERVICES);
    press("e");
    assert_int_equal(state_now.table, WEIR_TOP_CALLS);
    assert_true(state_now.sort <= WEIR_TOP_BY_P99); /* calls have no cost */
    press("e");
    assert_int_equal(state_now.table, WEIR_TOP_SERVICES);
    assert_int_equal(press("q"), WEIR_TOP_QUIT);
    assert_int_equal(press("\x03"), WEIR_TOP_QUIT);
}

static void a_filter_is_typed(void **state) {
    (void)state;
    state_now = (struct weir_top_state){0};
    assert_int_equal(press("/quay"), WEIR_TOP_GO_ON); /* q is a letter here */
    assert_string_equal(state_now.filter, "quay");
    press("\xc3\xa9\x7f\x7f");
    assert_string_equal(state_now.filter, "qua");
    press("\r");
    assert_false(state_now.filtering);
    assert_string_equal(state_now.filter, "qua");
    press("\033");
    assert_string_equal(state_now.filter, "");
    press("/");
    for (int i = 0; i < 200; i++)
        press("x");
    assert_int_equal(strlen(state_now.filter), WEIR_TOP_FILTER_BYTES - 1);
    press("\033");
    assert_false(state_now.filtering);
    assert_string_equal(state_now.filter, "");
}

/* ---- options ---- */

static enum weir_status parse(struct weir_top_options *options, const char *a, const char *b) {
    char *argv[] = {(char *)"top", (char *)a, (char *)b};
    struct weir_error err;
    bool help;
    return weir_top_options_parse(a == NULL ? 1 : b == NULL ? 2 : 3, argv, options, &help, &err);
}

static void options_are_read(void **state) {
    (void)state;
    struct weir_top_options options;
    assert_int_equal(parse(&options, NULL, NULL), WEIR_OK);
    assert_string_equal(options.ask.admin, WEIR_ASK_ADMIN);
    assert_int_equal(options.interval_ns, 2 * WEIR_S);
    assert_int_equal(options.state.sort, WEIR_TOP_BY_RATE);
    assert_int_equal(parse(&options, "--admin=weir:9646", "--once"), WEIR_OK);
    assert_string_equal(options.ask.admin, "weir:9646");
    assert_true(options.once);
    assert_int_equal(parse(&options, "--interval", "500ms"), WEIR_OK);
    assert_int_equal(options.interval_ns, 500 * WEIR_MS);
    assert_int_equal(parse(&options, "--service", "pay"), WEIR_OK);
    assert_int_equal(options.state.table, WEIR_TOP_OPERATIONS);
    assert_int_equal(parse(&options, "--view", "calls"), WEIR_OK);
    assert_int_equal(options.state.table, WEIR_TOP_CALLS);
    assert_int_equal(parse(&options, "--sort", "P99"), WEIR_OK);
    assert_int_equal(options.state.sort, WEIR_TOP_BY_P99);
    assert_int_equal(parse(&options, "--interval", "10ms"), WEIR_INVALID);
    assert_int_equal(parse(&options, "--interval", "2"), WEIR_INVALID);
    assert_int_equal(parse(&options, "--view", "nothing"), WEIR_INVALID);
    assert_int_equal(parse(&options, "--sort", "colour"), WEIR_INVALID);
    assert_int_equal(parse(&options, "--service=pay", "--view=calls"), WEIR_INVALID);
    assert_int_equal(parse(&options, "--admin", NULL), WEIR_INVALID);
    assert_int_equal(parse(&options, "--other", NULL), WEIR_INVALID);
    assert_int_equal(parse(&options, "stray", NULL), WEIR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_whole_or_in_pieces),
        cmocka_unit_test(any_bytes_come_to_an_end),
        cmocka_unit_test(keys_do_what_help_says),
        cmocka_unit_test(a_filter_is_typed),
        cmocka_unit_test(options_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
