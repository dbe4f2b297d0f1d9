/* Hex, both ways and by both ways of doing it, against a byte at a time. */
#include "emitter/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TIMES = 20000 };

static void fill(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(rand() >> 7);
}

static void there_and_back(void **state) {
    (void)state;
    for (unsigned time = 0; time < TIMES; time++) {
        uint8_t bytes[8], back[8];
        char wanted[17], text[16], words[16];
        fill(bytes, sizeof bytes);
        for (unsigned i = 0; i < 8; i++)
            snprintf(wanted + 2 * i, 3, "%02x", bytes[i]);
        hex_put(text, bytes);
        hex_put_words(words, bytes);
        assert_memory_equal(text, wanted, 16);
        assert_memory_equal(words, wanted, 16);
        assert_true(hex_read(text, back));
        assert_memory_equal(back, bytes, 8);
        memset(back, 0, sizeof back);
        assert_true(hex_read_words(text, back));
        assert_memory_equal(back, bytes, 8);
    }
}

/* Each of the 256 characters at each place. */
static void characters(void **state) {
    (void)state;
    for (unsigned place = 0; place < 16; place++) {
        for (unsigned c = 0; c < 256; c++) {
            char text[16];
            uint8_t bytes[8], words[8];
            memset(text, '5', sizeof text);
            text[place] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            assert_int_equal(hex_read(text, bytes), digit);
            assert_int_equal(hex_read_words(text, words), digit);
            if (!digit) continue;
            unsigned value = c <= '9' ? c - '0' : c - 'a' + 10;
            assert_int_equal(bytes[place / 2], place % 2 == 0 ? value << 4 | 5 : 5U << 4 | value);
            assert_memory_equal(bytes, words, 8);
        }
    }
}

/* What is wrong at several places does not come out right again. */
static void mixtures(void **state) {
    (void)state;
    static const char alphabet[] = "0189afAFg/:`@G \x80\xb0\xe1\xff";
    for (unsigned time = 0; time < TIMES; time++) {
        char text[16];
        uint8_t bytes[8], words[8];
        bool sound = true;
        for (unsigned i = 0; i < 16; i++) {
            size_t of = (unsigned)rand() % (rand() % 8 == 0 ? sizeof alphabet : 6);
            text[i] = alphabet[of];
            sound = sound && of < 6;
        }
        assert_int_equal(hex_read(text, bytes), sound);
        assert_int_equal(hex_read_words(text, words), sound);
        if (sound) assert_memory_equal(bytes, words, 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(characters),
        cmocka_unit_test(mixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
