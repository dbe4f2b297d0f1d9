/* Decisions as a record, and the table that a start makes of them. */
#include "collector/spool/decided.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void count_decision(void *self, uint64_t hi, uint64_t lo, const struct weir_verdict *verdict) {
    (void)hi;
    (void)verdict;
    *(uint64_t *)self += lo;
}

static void decisions_are_read_whole_or_not(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(1024, 1 << 16);
    struct weir_buffer out = {0};
    struct weir_error err = {0};
    uint32_t name = weir_names_intern(names, "errors", 6);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_true(weir_decided_write(
            &out, i, 10 * i, &(struct weir_verdict){.kept = i != 2, .threshold = i, .rule_name = name}, names));
    }
    assert_int_equal(out.size, 3 * (25 + 6));
    for (size_t size = 0; size <= out.size; size++) {
        uint64_t sum = 0;
        enum weir_status status = weir_decided_read(out.bytes, size, names, count_decision, &sum, &err);
        assert_int_equal(status, size % 31 == 0 ? WEIR_OK : WEIR_INVALID);
        uint64_t n = size / 31;
        assert_int_equal(sum, size % 31 == 0 ? 10 * n * (n + 1) / 2 : 0);
    }
    weir_buffer_free(&out);
    weir_names_free(names);
}

static void the_table_of_decisions(void **state) {
    (void)state;
    struct weir_verdict verdict = {.kept = true, .threshold = 5, .rule_name = 7};
    uint64_t segment;
    struct weir_decided *decided = weir_decided_new(5000);
    assert_false(weir_decided_find(decided, 1, 2, &verdict, &segment));
    for (uint64_t i = 0; i < 5000; i++) {
        verdict.kept = i % 3 == 0;
        verdict.threshold = i;
        assert_true(weir_decided_put(decided, 1, i, &verdict, 40 + i / 100));
    }
    assert_false(weir_decided_put(decided, 1, 5000, &verdict, 90)); /* the bound */
    assert_int_equal(weir_decided_count(decided), 5000);
    assert_true(weir_decided_put(decided, 1, 77, &verdict, 90)); /* known: the first stays */
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t hi = i % 2; /* 0: the high half was cut somewhere */
        assert_true(weir_decided_find(decided, hi, i, &verdict, &segment));
        assert_int_equal(verdict.kept, i % 3 == 0);
        assert_int_equal(verdict.threshold, i);
        assert_int_equal(verdict.rule_name, 7);
        assert_int_equal(segment, 40 + i / 100);
        assert_false(weir_decided_find(decided, 2, i, &verdict, &segment));
    }
    weir_decided_free(decided);
    decided = weir_decided_new(5000);
    for (uint64_t hi = 1; hi <= 1000; hi++) /* one low half, as who wishes us ill would have it */
        assert_int_equal(weir_decided_put(decided, hi, 7, &verdict, 40), hi <= WEIR_DECIDED_ALIKE_MAX);
    assert_int_equal(weir_decided_count(decided), WEIR_DECIDED_ALIKE_MAX);
    assert_true(weir_decided_find(decided, 3, 7, &verdict, &segment));
    assert_false(weir_decided_find(decided, 999, 7, &verdict, &segment));
    weir_decided_free(decided);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions_are_read_whole_or_not),
        cmocka_unit_test(the_table_of_decisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
