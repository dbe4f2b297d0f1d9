/* The lane writes, the scraper reads at the same time: what is read is whole, and of the bucket that was asked for. */
#include "collector/aggregate/exemplars.h"

#include "tests/unit/core/unit.h"

#include <stdatomic.h>

enum { ROUNDS = 200000, BUCKETS = 8 };
static struct weir_exemplars *exemplars;
static _Atomic unsigned torn, read_count;
static _Atomic int over;

static void work(void *argument, unsigned index) {
    (void)argument;
    if (index == 0) {
        for (uint64_t i = 1; i <= ROUNDS; i++) {
            uint64_t of = i * 0x9e3779b97f4a7c15ull;
            struct weir_exemplar one = {of, of, of, of, i * 2000000000};
            weir_exemplars_put(exemplars, 77, (uint32_t)(i % BUCKETS), &one);
        }
        atomic_store(&over, 1);
        return;
    }
    while (!atomic_load(&over)) {
        for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
            struct weir_exemplar one;
            if (!weir_exemplars_get(exemplars, 77, bucket, &one)) continue;
            uint64_t of = one.unix_ns / 2000000000 * 0x9e3779b97f4a7c15ull;
            bool whole = one.trace_hi == of && one.trace_lo == of && one.span_id == of && one.duration_ns == of;
            torn += !whole || one.unix_ns / 2000000000 % BUCKETS != bucket;
            read_count++;
        }
    }
}

static void reads_are_whole(void **state) {
    (void)state;
    exemplars = weir_exemplars_new();
    unit_threads(2, work, NULL);
    assert_int_equal(torn, 0);
    struct weir_exemplar one;
    assert_true(weir_exemplars_get(exemplars, 77, 0, &one));
    assert_false(weir_exemplars_get(exemplars, 78, 0, &one));
    weir_exemplars_free(exemplars);
}

static void once_a_second(void **state) {
    (void)state;
    exemplars = weir_exemplars_new();
    struct weir_exemplar one = {1, 2, 3, 4, 5000000000}, got;
    weir_exemplars_put(exemplars, 1, 2, &one);
    one.span_id = 9;
    one.unix_ns += 999999999;
    weir_exemplars_put(exemplars, 1, 2, &one);
    assert_true(weir_exemplars_get(exemplars, 1, 2, &got));
    assert_int_equal(got.span_id, 3);
    one.unix_ns += 1;
    weir_exemplars_put(exemplars, 1, 2, &one);
    assert_true(weir_exemplars_get(exemplars, 1, 2, &got));
    assert_int_equal(got.span_id, 9);
    assert_false(weir_exemplars_get(exemplars, 1, 3, &got));
    weir_exemplars_free(exemplars);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_are_whole), cmocka_unit_test(once_a_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
