#include "collector/core/names.h"
#include "tests/unit/core/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t intern(struct weir_names *names, const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

static void one_id_a_text(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(100, 1 << 16);
    assert_int_equal(intern(names, ""), WEIR_NAME_NONE);
    assert_int_equal(weir_names_intern(names, NULL, 0), WEIR_NAME_NONE);
    assert_int_equal(intern(names, "overflow"), WEIR_NAME_OVERFLOW);
    uint32_t pay = intern(names, "pay"), ledger = intern(names, "ledger");
    assert_int_not_equal(pay, ledger);
    assert_int_equal(weir_names_intern(names, "payment", 3), pay); /* no NUL needed */
    assert_int_equal(weir_names_find(names, "pay", 3), pay);
    assert_int_equal(weir_names_find(names, "paying", 6), WEIR_NAME_NONE);
    assert_int_equal(weir_names_count(names), 4); /* find adds nothing */
    size_t size;
    assert_string_equal(weir_names_text(names, ledger, &size), "ledger");
    assert_int_equal(size, 6);
    assert_string_equal(weir_names_text(names, 99, &size), "");
    assert_string_equal(weir_names_text(names, UINT32_MAX, NULL), "");
    assert_int_equal(size, 0);
    uint32_t nul = weir_names_intern(names, "a\0b", 3);
    assert_int_not_equal(nul, intern(names, "a"));
    weir_names_free(names);
    weir_names_free(NULL);
}

static void beyond_the_count_all_is_overflow(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(64, 1 << 20);
    char text[16];
    for (int i = 0; i < 62; i++) {
        snprintf(text, sizeof text, "n%d", i);
        assert_int_equal(intern(names, text), 2 + i);
    }
    for (int i = 62; i < 200; i++) {
        snprintf(text, sizeof text, "n%d", i);
        assert_int_equal(intern(names, text), WEIR_NAME_OVERFLOW);
    }
    assert_int_equal(weir_names_overflows(names), 138);
    assert_int_equal(weir_names_count(names), 64);
    assert_int_equal(intern(names, "n61"), 63); /* who is there stays */
    weir_names_free(names);
}

/* Those that are only asked for leave a half to those that come. */
static void who_only_asks_fills_half_of_it(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(64, 1 << 20);
    char text[256];
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "asked%d", i);
        assert_int_equal(weir_names_admit(names, text, strlen(text)), i < 30 ? 2 + i : WEIR_NAME_NONE);
    }
    assert_int_equal(weir_names_overflows(names), 0);
    assert_int_equal(intern(names, "comes"), 32);
    assert_int_equal(weir_names_admit(names, "comes", 5), 32); /* who is there is found */
    assert_int_equal(weir_names_admit(names, "asked0", 6), 2);
    weir_names_free(names);
    names = weir_names_new(1000, 8192);
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 200; i++) {
        snprintf(text, 8, "long%03d", i);
        text[7] = '-';
        weir_names_admit(names, text, sizeof text);
    }
    assert_in_range(weir_names_count(names), 10, 2 + 4096 / 256);
    assert_true(intern(names, "comes") > WEIR_NAME_OVERFLOW);
    weir_names_free(names);
}

static void beyond_the_bytes_too(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(1000, 4096);
    char text[200];
    memset(text, 'x', sizeof text);
    uint32_t held = 0;
    for (int i = 0; i < 100; i++) {
        char number[16];
        memcpy(text, number, (size_t)snprintf(number, sizeof number, "%d-", i));
        if (weir_names_intern(names, text, sizeof text) != WEIR_NAME_OVERFLOW) held++;
    }
    assert_in_range(held, 15, 20); /* 200 bytes and what each costs beside */
    assert_int_equal(weir_names_overflows(names), 100 - held);
    weir_names_free(names);
}

static void long_names_are_cut_between_characters(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(100, 1 << 16);
    char text[WEIR_NAME_BYTES_MAX + 10];
    size_t size;
    memset(text, 'x', sizeof text);
    weir_names_text(names, weir_names_intern(names, text, sizeof text), &size);
    assert_int_equal(size, WEIR_NAME_BYTES_MAX);
    memcpy(text + WEIR_NAME_BYTES_MAX - 2, "\xe2\x82\xac", 3); /* its last byte is beyond */
    uint32_t id = weir_names_intern(names, text, sizeof text);
    weir_names_text(names, id, &size);
    assert_int_equal(size, WEIR_NAME_BYTES_MAX - 2);
    assert_int_equal(weir_names_find(names, text, sizeof text), id);
    weir_names_free(names);
}

enum { TEXTS = 3000, THREADS = 4 };
struct shared {
    struct weir_names *names;
    uint32_t ids[THREADS][TEXTS];
    _Atomic unsigned wrong;
};

static void interns(void *argument, unsigned index) {
    struct shared *shared = argument;
    for (unsigned n = 0; n < TEXTS; n++) {
        unsigned i = index % 2 == 0 ? n : TEXTS - 1 - n; /* towards each other */
        char text[24];
        size_t size = (size_t)snprintf(text, sizeof text, "service-%u", i), held;
        uint32_t id = weir_names_intern(shared->names, text, size);
        shared->ids[index][i] = id;
        if (strcmp(weir_names_text(shared->names, id, &held), text) != 0 || held != size) shared->wrong++;
    }
}

static void one_id_a_text_for_all_threads(void **state) {
    (void)state;
    struct shared *shared = calloc(1, sizeof *shared);
    shared->names = weir_names_new(TEXTS + 2, 1 << 20);
    unit_threads(THREADS, interns, shared);
    assert_int_equal(shared->wrong, 0);
    assert_int_equal(weir_names_overflows(shared->names), 0);
    assert_int_equal(weir_names_count(shared->names), TEXTS + 2);
    for (int i = 0; i < TEXTS; i++) {
        for (int t = 1; t < THREADS; t++)
            assert_int_equal(shared->ids[t][i], shared->ids[0][i]);
    }
    weir_names_free(shared->names);
    free(shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_id_a_text),
        cmocka_unit_test(beyond_the_count_all_is_overflow),
        cmocka_unit_test(who_only_asks_fills_half_of_it),
        cmocka_unit_test(beyond_the_bytes_too),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(one_id_a_text_for_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
