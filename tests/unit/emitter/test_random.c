/* Random numbers: the generator is the one that it says, and places do not draw each other's. */
#include "emitter/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* The first numbers from the state {1, 2}, as the authors' program (xoroshiro128plusplus.c) and the tests of others'
 * implementations have them. */
static void known(void **state) {
    (void)state;
    static const uint64_t wanted[] = {UINT64_C(393217),
                                      UINT64_C(669327710093319),
                                      UINT64_C(1732421326133921491),
                                      UINT64_C(11394790081659126983),
                                      UINT64_C(9555452776773192676),
                                      UINT64_C(3586421180005889563),
                                      UINT64_C(1691397964866707553),
                                      UINT64_C(10735626796753111697),
                                      UINT64_C(15216282715349408991),
                                      UINT64_C(14247243556711267923)};
    struct slot slot = {.random = {1, 2}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_true(slot_random(&slot) == wanted[i]);
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of 160,000 numbers of 64 bits two are alike once in 10^9 times. */
static void of_many_places(void **state) {
    (void)state;
    enum { PLACES = 16, EACH = 10000 };
    static uint64_t drawn[PLACES * EACH];
    for (size_t place = 0; place < PLACES; place++) {
        struct slot slot = {.common = place % 2 == 1};
        random_bytes(slot.random, sizeof slot.random);
        for (size_t i = 0; i < EACH; i++)
            drawn[place * EACH + i] = slot_random(&slot);
    }
    qsort(drawn, PLACES * EACH, sizeof *drawn, by_value);
    assert_true(drawn[0] != 0);
    for (size_t i = 1; i < (size_t)PLACES * EACH; i++)
        assert_true(drawn[i] != drawn[i - 1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known), cmocka_unit_test(of_many_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
