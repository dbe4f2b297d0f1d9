/* Well-formed by Unicode 15, table 3-7; repair by maximal subparts, section 3.9. */
#include "collector/core/utf8.h"
#include "tests/unit/core/unit.h"

#include <string.h>

struct row {
    const char *text;
    const char *repaired; /* NULL: it is valid */
};
#define R "\xef\xbf\xbd"
static const struct row rows[] = {
    {"", NULL},
    {"plain", NULL},
    {"caf\xc3\xa9", NULL},
    {"\xc2\x80", NULL},
    {"\xdf\xbf", NULL},
    {"\xe0\xa0\x80", NULL},
    {"\xed\x9f\xbf", NULL},
    {"\xee\x80\x80", NULL},
    {"\xef\xbf\xbf", NULL},
    {"\xf0\x90\x80\x80", NULL},
    {"\xf4\x8f\xbf\xbf", NULL},
    {"eight by\xe2\x82\xactes and on", NULL},
    {"\x80", R},
    {"\xc0\xaf", R R}, /* over-long */
    {"\xc1\xbf", R R},
    {"\xe0\x9f\xbf", R R R},       /* over-long */
    {"\xed\xa0\x80", R R R},       /* surrogate */
    {"\xf0\x8f\xbf\xbf", R R R R}, /* over-long */
    {"\xf4\x90\x80\x80", R R R R}, /* beyond U+10FFFF */
    {"\xf5\x80\x80\x80", R R R R},
    {"\xff", R},
    {"\xc3", R},
    {"\xe2\x82", R}, /* one maximal subpart */
    {"\xf0\x9f\x98", R},
    {"a\xe2\x82z", "a" R "z"},
    {"12345678\xff", "12345678" R}, /* behind the eight that are checked at once */
    {"1234567\xff"
     "8",
     "1234567" R "8"},
    {"\xf1\x80\x80\xe1\x80\xc2\x62", R R R "b"}, /* Unicode 15, table 3-8 */
};

static void rows_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const uint8_t *text = (const uint8_t *)rows[i].text;
        size_t size = strlen(rows[i].text);
        const char *want = rows[i].repaired == NULL ? rows[i].text : rows[i].repaired;
        uint8_t out[128];
        if (weir_utf8_valid(text, size) != (rows[i].repaired == NULL)) fail_msg("row %zu", i);
        size_t wrote = weir_utf8_repair(text, size, out);
        if (wrote != strlen(want) || memcmp(out, want, wrote) != 0)
            fail_msg("row %zu: repaired to %.*s", i, (int)wrote, out);
        assert_true(weir_utf8_valid(out, wrote));
    }
}

static void nul_is_a_character(void **state) {
    (void)state;
    assert_true(weir_utf8_valid((const uint8_t *)"a\0b", 3));
}

static void any_bytes_are_repaired_within_the_bound(void **state) {
    (void)state;
    uint64_t random = 88172645463325252ull;
    for (int n = 0; n < 20000; n++) {
        uint8_t bytes[24], out[3 * sizeof bytes];
        size_t size = (size_t)n % (sizeof bytes + 1);
        for (size_t i = 0; i < size; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            bytes[i] = (uint8_t)(random % 3 == 0 ? random >> 8 : 0x80 | random >> 16); /* mostly not ASCII */
        }
        size_t wrote = weir_utf8_repair(bytes, size, out);
        assert_true(wrote <= 3 * size);
        assert_true(weir_utf8_valid(out, wrote));
        if (weir_utf8_valid(bytes, size)) assert_true(wrote == size && memcmp(bytes, out, size) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(nul_is_a_character),
        cmocka_unit_test(any_bytes_are_repaired_within_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
