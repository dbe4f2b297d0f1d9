#include "collector/core/block.h"
#include "tests/unit/core/unit.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { KIB = 1024, MIB = 1024 * KIB };

static void fill(uint8_t *block, size_t size, uint8_t with) {
    memset(block, with, size);
}
static void holds(const uint8_t *block, size_t size, uint8_t what) {
    for (size_t i = 0; i < size; i++)
        if (block[i] != what) fail_msg("byte %zu of %zu", i, size);
}

/* What was written stays, from malloc's to blocks and back, and a block of a few bytes more is the same block. */
static void contents_stay(void **state) {
    (void)state;
    static const size_t sizes[] = {1,       100,       64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, MIB,
                                   5 * MIB, 300 * KIB, 70 * KIB,     10};
    size_t size = 50;
    uint8_t *block = weir_block_resize(NULL, 0, size);
    fill(block, size, 7);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block = weir_block_resize(block, size, sizes[i]);
        assert_non_null(block);
        holds(block, size < sizes[i] ? size : sizes[i], (uint8_t)(7 + i));
        size = sizes[i];
        fill(block, size, (uint8_t)(8 + i)); /* to its last byte */
    }
    weir_block_put(block, size);
    weir_block_put(NULL, 5);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which have memory of their own */
static void the_next_one_gets_it(void **state) {
    (void)state;
    void *one = weir_block_get(MIB), *two = weir_block_get(MIB);
    assert_ptr_not_equal(one, two);
    weir_block_put(one, MIB);
    void *smaller = weir_block_get(MIB / 2);
    assert_ptr_not_equal(smaller, one);
    assert_ptr_equal(weir_block_get(MIB - 100), one); /* of as many units of 64 KiB */
    weir_block_put(smaller, MIB / 2);
    weir_block_put(two, MIB);
    weir_block_put(one, MIB - 100);
}

/* Pages of the process, from proc(5) statm. */
static size_t resident_bytes(void) {
    unsigned long total, resident;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(statm, "%lu %lu", &total, &resident), 2);
    fclose(statm);
    return resident * 4096;
}

static void the_cache_is_bounded(void **state) {
    (void)state;
    enum { BLOCKS = 128 };
    void *blocks[BLOCKS];
    size_t before = resident_bytes();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = weir_block_get(MIB);
        memset(blocks[i], 1, MIB);
    }
    assert_true(resident_bytes() > before + 90u * MIB);
    for (int i = 0; i < BLOCKS; i++)
        weir_block_put(blocks[i], MIB);
    assert_true(resident_bytes() < before + WEIR_BLOCK_CACHE_BYTES + 4u * MIB);
}
#endif

static void *churn(void *argument) {
    uint8_t mark = (uint8_t)(uintptr_t)argument;
    for (int i = 0; i < 2000; i++) {
        size_t size = (size_t)(64 + i % 5 * 64) * KIB;
        uint8_t *block = weir_block_get(size);
        block[8] = mark, block[size - 1] = mark;
        if (block[8] != mark || block[size - 1] != mark) return argument;
        weir_block_put(block, size);
    }
    return NULL;
}

static void threads_do_not_share(void **state) {
    (void)state;
    pthread_t threads[4];
    void *failed;
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_stay),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which have memory of their own */
        cmocka_unit_test(the_next_one_gets_it),
        cmocka_unit_test(the_cache_is_bounded),
#endif
        cmocka_unit_test(threads_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
