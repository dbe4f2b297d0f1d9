#include "collector/core/hex.h"
#include "tests/unit/core/unit.h"

#include <string.h>

static void there_and_back(void **state) {
    (void)state;
    uint8_t bytes[256], back[256];
    char text[512];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    weir_hex_encode(bytes, sizeof bytes, text);
    assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_true(weir_hex_decode(text, sizeof text, back));
    assert_memory_equal(bytes, back, sizeof bytes);
}

static void numbers_most_significant_first(void **state) {
    (void)state;
    char text[16];
    weir_hex_u64(0x00123456789abcdeull, text);
    assert_memory_equal(text, "00123456789abcde", 16);
    weir_hex_u64(UINT64_MAX, text);
    assert_memory_equal(text, "ffffffffffffffff", 16);
}

static void what_is_no_hex(void **state) {
    (void)state;
    static const char *const texts[] = {"0",        "abc", "0g", "g0", " 0", "0x", "-1",
                                        "\xc3\xa9", "0/",  "0:", "0@", "0`", "0G", "G0"};
    uint8_t out[4];
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (weir_hex_decode(texts[i], strlen(texts[i]), out)) fail_msg("%s was read", texts[i]);
    }
    assert_true(weir_hex_decode("aBcD", 4, out));
    assert_memory_equal(out, "\xab\xcd", 2);
    assert_true(weir_hex_decode("", 0, out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(numbers_most_significant_first),
        cmocka_unit_test(what_is_no_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
