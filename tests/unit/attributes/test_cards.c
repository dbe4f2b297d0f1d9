/* Card numbers in text: by a table, and against a slow reading of the rule. */
#include "collector/attributes/cards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void masks(void **state) {
    (void)state;
    static const struct {
        const char *text, *masked; /* NULL: none in it */
    } cases[] = {
        {"4111111111111111", "************1111"},       /* 16: Visa's test number */
        {"378282246310005", "***********0005"},         /* 15: American Express */
        {"4222222222222", "*********2222"},             /* 13 */
        {"4000000000000000006", "***************0006"}, /* 19 */
        {"4000000000000000007", NULL},
        {"4111 1111 1111 1111", "**** **** **** 1111"},
        {"4111-1111-1111-1111", "****-****-****-1111"},
        {"3782 822463 10005", "**** ****** *0005"},
        {"pan=4111111111111111&x", "pan=************1111&x"},
        {"GET /pay/4111111111111111/ok", "GET /pay/************1111/ok"},
        {"4111111111111111 and 5555555555554444", "************1111 and ************4444"},
        {"4111111111111111,5555555555554444", "************1111,************4444"},
        {"on 2026-11-23 4111111111111111", "on 2026-11-23 ************1111"},
        {"a4111111111111111b", "a************1111b"},
        {"4111111111111112", NULL},     /* Luhn says no */
        {"411111111111", NULL},         /* 12 */
        {"41111111111111111111", NULL}, /* 20: a longer row */
        {"4111  1111 1111 1111", NULL}, /* two spaces */
        {"4111.1111.1111.1111", NULL},  /* no separator of cards */
        {"10.4.17.36:8080", NULL},
        {"0e3ee0d5-0c0d-41b2-8d5e-6d7e8f901234", NULL},
        {"41111111-1111-1111-1111-111111111111", NULL}, /* a UUID, whatever its digits */
        {"", NULL},
        {"------------------", NULL},
        {"2026-11-23 10:11:12", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t text[64];
        size_t size = strlen(cases[i].text);
        const char *want = cases[i].masked != NULL ? cases[i].masked : cases[i].text;
        memcpy(text, cases[i].text, size);
        if (weir_cards_find(text, size) != (cases[i].masked != NULL)) fail_msg("%s", cases[i].text);
        weir_cards_mask(text, size);
        if (memcmp(text, want, size) != 0) fail_msg("%s became %.*s", cases[i].text, (int)size, (char *)text);
        assert_false(weir_cards_find(text, size));
    }
}

static void numbers(void **state) {
    (void)state;
    assert_true(weir_cards_number(4111111111111111));
    assert_true(weir_cards_number(4222222222222));
    assert_true(weir_cards_number(4000000000000000006));
    assert_false(weir_cards_number(4111111111111112));
    assert_false(weir_cards_number(0));
    assert_false(weir_cards_number(18)); /* passes Luhn, and is short */
    assert_false(weir_cards_number(UINT64_MAX));
}

/* A sound number of so many digits: the last one makes it pass. */
static size_t make_card(char *out, unsigned digits) {
    unsigned sum = 0;
    for (unsigned i = 0; i + 1 < digits; i++) {
        out[i] = (char)('0' + rand() % 10);
        unsigned digit = (unsigned)(out[i] - '0');
        if ((digits - i) % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
        sum += digit;
    }
    out[digits - 1] = (char)('0' + (10 - sum % 10) % 10);
    return digits;
}

/* Wherever a number is planted, behind and before whatever is no digit, no row of its digits is left. */
static void planted_numbers_are_found(void **state) {
    (void)state;
    srand(7);
    for (int round = 0; round < 200000; round++) {
        static const char around[] = "abcxyz/?&=.:,_ABC%\xc3\xa9";
        char card[20], text[96];
        size_t digits = make_card(card, 13 + (unsigned)rand() % 7), size = 0, before = (size_t)rand() % 30;
        for (size_t i = 0; i < before; i++)
            text[size++] = around[(size_t)rand() % (sizeof around - 1)];
        unsigned separator = (unsigned)rand() % 3;
        size_t start = size;
        for (size_t i = 0; i < digits; i++) {
            if (separator > 0 && i > 0 && i % 4 == 0) text[size++] = separator == 1 ? ' ' : '-';
            text[size++] = card[i];
        }
        size_t end = size;
        for (size_t i = (size_t)rand() % 30; i > 0; i--)
            text[size++] = around[(size_t)rand() % (sizeof around - 1)];
        if (!weir_cards_find((uint8_t *)text, size)) fail_msg("not found: %.*s", (int)size, text);
        char kept[96];
        memcpy(kept, text, size);
        assert_true(weir_cards_mask((uint8_t *)text, size) >= 1);
        unsigned left = 0;
        for (size_t i = start; i < end; i++)
            left += text[i] >= '0' && text[i] <= '9';
        if (left != 4) fail_msg("%.*s became %.*s", (int)size, kept, (int)size, text);
        assert_memory_equal(text, kept, start);
        assert_memory_equal(text + end, kept + end, size - end);
    }
}

/* Among other groups of digits, which may be numbers together with it or with its end: but for its last four digits,
 * none is left; and what is left holds none. */
static void numbers_among_groups(void **state) {
    (void)state;
    srand(11);
    for (int round = 0; round < 100000; round++) {
        char card[20], text[512];
        size_t size = 0, digits = make_card(card, 13 + (unsigned)rand() % 7), every = 1 + (size_t)rand() % 19;
        for (int groups = rand() % 40; groups > 0; groups--) {
            for (int i = 1 + rand() % 6; i > 0; i--)
                text[size++] = (char)('0' + rand() % 10);
            text[size++] = " -"[rand() % 2];
        }
        size_t start = size;
        for (size_t i = 0; i < digits; i++) {
            if (i > 0 && i % every == 0) text[size++] = '-';
            text[size++] = card[i];
        }
        size_t end = size;
        for (int groups = rand() % 20; groups > 0; groups--) {
            text[size++] = " -"[rand() % 2];
            for (int i = 1 + rand() % 6; i > 0; i--)
                text[size++] = (char)('0' + rand() % 10);
        }
        char kept[512];
        memcpy(kept, text, size);
        assert_true(weir_cards_mask((uint8_t *)text, size) >= 1);
        unsigned left = 0;
        for (size_t i = start; i < end; i++)
            left += text[i] >= '0' && text[i] <= '9';
        if (left > 4) fail_msg("%.*s became %.*s", (int)size, kept, (int)size, text);
        if (weir_cards_find((uint8_t *)text, size)) fail_msg("still one in %.*s", (int)size, text);
        assert_int_equal(weir_cards_mask((uint8_t *)text, size), 0);
    }
}

/* A row as long as a message takes time by its length. */
static void a_long_row_ends(void **state) {
    (void)state;
    static uint8_t text[1 << 20];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i % 2 == 0 ? '0' + rand() % 10 : ' ');
    assert_true(weir_cards_mask(text, sizeof text) > 0);
    assert_false(weir_cards_find(text, sizeof text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks),
        cmocka_unit_test(numbers),
        cmocka_unit_test(planted_numbers_are_found),
        cmocka_unit_test(numbers_among_groups),
        cmocka_unit_test(a_long_row_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
