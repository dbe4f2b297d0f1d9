#include "collector/sample/pending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { IDS = 1000, CHAIN_MAX = 32 };

static uint32_t bucket_of_slot(const struct weir_pendings *all, uint32_t wanted) {
    for (uint32_t bucket = 0; bucket < all->bucket_count; bucket++) {
        for (uint32_t slot = all->buckets[bucket]; slot != WEIR_SLOT_NONE; slot = weir_pending_at(all, slot)->chain)
            if (slot == wanted) return bucket;
    }
    fail_msg("slot %u is in no chain", wanted);
    return 0;
}

/* Who knows the code cannot choose ids that lie in one chain: that is another one in each process. */
static void ids_of_one_chain_lie_apart_elsewhere(void **state) {
    (void)state;
    struct weir_pendings one, other;
    assert_true(weir_pendings_init(&one) && weir_pendings_init(&other));
    for (uint64_t id = 1; id <= IDS; id++)
        assert_int_not_equal(weir_pending_new(&one, 1, id * 0x9e3779b97f4a7c15ull, 0), WEIR_SLOT_NONE);
    uint64_t chain[CHAIN_MAX], longest = 0;
    for (uint32_t bucket = 0; bucket < one.bucket_count; bucket++) {
        uint64_t ids[CHAIN_MAX];
        uint32_t count = 0;
        for (uint32_t slot = one.buckets[bucket]; slot != WEIR_SLOT_NONE && count < CHAIN_MAX;
             slot = weir_pending_at(&one, slot)->chain)
            ids[count++] = weir_pending_at(&one, slot)->trace.trace_lo;
        if (count <= longest) continue;
        longest = count;
        for (uint32_t i = 0; i < count; i++)
            chain[i] = ids[i];
    }
    assert_in_range(longest, 3, 20); /* 1,000 in 1,024 chains */
    uint32_t first = 0, with_first = 0;
    for (uint32_t i = 0; i < longest; i++) {
        uint32_t slot = weir_pending_new(&other, 1, chain[i], 0);
        uint32_t bucket = bucket_of_slot(&other, slot);
        if (i == 0) first = bucket;
        with_first += bucket == first;
    }
    assert_true(with_first < longest); /* by chance once in a million */
    weir_pendings_free(&one);
    weir_pendings_free(&other);
}

static void a_serial_is_never_0(void **state) {
    (void)state;
    struct weir_pendings all;
    assert_true(weir_pendings_init(&all));
    all.serial = UINT32_MAX - 1; /* four billion traces later */
    for (uint32_t id = 1; id <= 3; id++)
        assert_int_not_equal(weir_pending_at(&all, weir_pending_new(&all, 1, id, 0))->serial, 0);
    weir_pendings_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_one_chain_lie_apart_elsewhere),
        cmocka_unit_test(a_serial_is_never_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
