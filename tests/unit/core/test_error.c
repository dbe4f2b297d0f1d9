#include "collector/core/error.h"
#include "tests/unit/core/unit.h"

#include <errno.h>
#include <string.h>

static void names_place_and_reason(void **state) {
    (void)state;
    struct weir_error err = {0};
    assert_int_equal(weir_fail(&err, WEIR_IO, EADDRINUSE, true, "udp: bind %s", "127.0.0.1:1"), WEIR_IO);
    assert_int_equal(err.status, WEIR_IO);
    assert_int_equal(err.sys, EADDRINUSE);
    assert_true(err.retryable);
    assert_string_equal(err.text, "udp: bind 127.0.0.1:1: Address already in use");
    assert_int_equal(weir_fail(&err, WEIR_INVALID, 0, false, "byte %d", 7), WEIR_INVALID);
    assert_string_equal(err.text, "byte 7");
    assert_false(err.retryable);
    assert_int_equal(err.sys, 0);
}

static void nobody_asked_for_the_text(void **state) {
    (void)state;
    assert_int_equal(weir_fail(NULL, WEIR_FULL, ENOMEM, false, "%s", "x"), WEIR_FULL);
}

static void long_text_is_cut(void **state) {
    (void)state;
    struct weir_error err;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (int cut = 0; cut < 12; cut++) { /* around the end, where the system's reason does not fit */
        text[sizeof err.text - 6 + (size_t)cut] = 0;
        weir_fail(&err, WEIR_IO, ENOENT, false, "%s", text);
        assert_non_null(memchr(err.text, 0, sizeof err.text));
        assert_memory_equal(err.text, text, sizeof err.text - 6);
        text[sizeof err.text - 6 + (size_t)cut] = 'x';
    }
}

static void names_of_statuses(void **state) {
    (void)state;
    assert_string_equal(weir_status_name(WEIR_OK), "ok");
    assert_string_equal(weir_status_name(WEIR_INVALID), "invalid");
    assert_string_equal(weir_status_name(WEIR_FULL), "full");
    assert_string_equal(weir_status_name(WEIR_IO), "io");
    assert_string_equal(weir_status_name(WEIR_UNSUPPORTED), "unsupported");
    assert_string_equal(weir_status_name(WEIR_CLOSED), "closed");
    assert_string_equal(weir_status_name((enum weir_status)99), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_place_and_reason),
        cmocka_unit_test(nobody_asked_for_the_text),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(names_of_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
