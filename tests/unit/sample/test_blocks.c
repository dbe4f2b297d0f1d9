/* Blocks and pools by themselves: what is put is read, what is not needed is given back, what there is no room for
 * changes nothing. */
#include "collector/sample/blocks.h"
#include "collector/sample/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct weir_blocks *blocks;
static struct weir_origins *table;
static uint64_t limit;
static uint32_t asked;

static bool room(void *self, size_t bytes) {
    assert_ptr_equal(self, &blocks);
    asked++;
    return weir_blocks_memory(blocks) + bytes <= limit;
}

static void open_blocks(bool compress) {
    limit = UINT64_MAX;
    blocks = weir_blocks_new(&(struct weir_blocks_env){.compress = compress, .self = &blocks, .room = room});
    table = weir_origins_new(64);
    assert_true(blocks != NULL && table != NULL);
}
static void close_blocks(void) {
    weir_blocks_free(blocks);
    weir_origins_free(table);
}

static struct weir_origin *origin_named(uint32_t n, size_t size) {
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, &n, sizeof n);
    int is_new;
    struct weir_origin_parts parts = {.resource = bytes, .resource_size = (uint32_t)size};
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    free(bytes);
    return origin;
}

/* Record n: its body says which, and its size follows from n. */
static struct weir_record record_of(uint32_t n, struct weir_origin *origin, uint8_t *body, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        body[i] = (uint8_t)(n + i / 7);
    return (struct weir_record){.serial = n,
                                .slot = n * 3,
                                .operation = n + 5,
                                .threshold = n % 3 == 0 ? n + 1 : 0,
                                .prior = n % 3 == 0 ? 2.5 : 1,
                                .origin = origin,
                                .body = body,
                                .size = size,
                                .flags = (uint16_t)(n % 3 == 0 ? WEIR_SPAN_TH_CHANGED | WEIR_SPAN_PRIOR_CHANGED : 0),
                                .receiver = (uint8_t)(n % 7),
                                .status = (uint8_t)(n % 3)};
}

struct expected {
    uint32_t next, step, count;
    struct weir_origin *origins[4];
};

static uint32_t size_of_record(uint32_t n) {
    return n % 50 == 7 ? 5000 : 60 + n % 300;
}

static void compare(void *self, const struct weir_record *record) {
    struct expected *expected = self;
    static uint8_t body[8192];
    uint32_t n = record->serial;
    if (expected->count == 0) expected->next = n;
    assert_int_equal(n, expected->next);
    struct weir_record was = record_of(n, expected->origins[n % 4], body, size_of_record(n));
    assert_int_equal(record->slot, was.slot);
    assert_int_equal(record->operation, was.operation);
    assert_true(record->threshold == was.threshold && record->prior == was.prior);
    assert_ptr_equal(record->origin, was.origin);
    assert_int_equal(record->size, was.size);
    assert_memory_equal(record->body, was.body, was.size);
    assert_true(record->flags == was.flags && record->receiver == was.receiver && record->status == was.status);
    expected->next++;
    expected->count++;
}

static void what_is_put_is_read(void **state) {
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        open_blocks(compress);
        struct expected expected = {0};
        for (uint32_t i = 0; i < 4; i++)
            expected.origins[i] = origin_named(i, 100);
        uint32_t ids[512], counts[512] = {0}, count = 0;
        static uint8_t body[8192];
        for (uint32_t n = 0; n < 20000; n++) {
            struct weir_record record = record_of(n, expected.origins[n % 4], body, size_of_record(n));
            uint32_t block = weir_blocks_put(blocks, 0, &record);
            assert_true(block != WEIR_BLOCK_NONE);
            if (count == 0 || ids[count - 1] != block) {
                weir_blocks_hold(blocks, block);
                assert_true(count < 512);
                ids[count++] = block;
            }
            counts[count - 1]++;
        }
        assert_true(count > 20000u * 200 / WEIR_HOT_BYTES);
        if (compress) assert_true(weir_blocks_memory(blocks) < 2 << 20);
        if (!compress) assert_true(weir_blocks_memory(blocks) > 5 << 20);
        for (uint32_t i = count; i-- > 0;) { /* hot and cold, twice: the second time from the cache or not */
            for (int again = 0; again < 2; again++) {
                expected.count = 0;
                assert_true(weir_blocks_read(blocks, ids[i], compare, &expected));
                assert_int_equal(expected.count, counts[i]);
            }
        }
        assert_true(weir_blocks_mark(blocks, ids[3], 9));
        assert_false(weir_blocks_mark(blocks, ids[3], 9));
        assert_true(weir_blocks_mark(blocks, ids[3], 10));
        for (uint32_t i = 0; i < count; i++)
            weir_blocks_release(blocks, ids[i], counts[i]);
        assert_true(weir_blocks_seal(blocks));
        assert_true(weir_blocks_memory(blocks) < 2 * WEIR_SEGMENT_BYTES); /* the youngest, and the table */
        for (uint32_t i = 0; i < 4; i++) /* ours are the only references left, besides the table's */
            assert_int_equal(expected.origins[i]->refs, 2);
        for (uint32_t i = 0; i < 4; i++)
            weir_origin_unref(expected.origins[i]);
        close_blocks();
    }
}

static void no_room_changes_nothing(void **state) {
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        open_blocks(compress);
        limit = 600 << 10;
        static uint8_t body[1 << 20];
        struct weir_origin *origin = origin_named(1, 100);
        uint32_t held[64] = {0}, counts[64] = {0}, count = 0, put = 0;
        for (uint32_t n = 0; n < 40000; n++) {
            struct weir_record record = record_of(n, origin, body, 300);
            for (uint32_t i = 0; i < 300; i += 8) /* not to be compressed away */
                memcpy(body + (i < 292 ? i : 292), &(uint64_t){(n * 64ull + i) * 0x9e3779b97f4a7c15ull}, 8);
            uint32_t block = weir_blocks_put(blocks, n % 2, &record);
            assert_true(weir_blocks_memory(blocks) <= limit);
            if (block == WEIR_BLOCK_NONE) break;
            uint32_t i = 0;
            while (i < count && held[i] != block)
                i++;
            assert_true(i < 64);
            if (i == count) {
                weir_blocks_hold(blocks, block);
                held[count++] = block;
            }
            counts[i]++;
            put++;
        }
        assert_true(put > 1000 && put < 40000);
        struct weir_record large = record_of(1, origin, body, 900 << 10);
        assert_int_equal(weir_blocks_put(blocks, 0, &large), WEIR_BLOCK_NONE);
        assert_true(weir_blocks_memory(blocks) <= limit);
        for (uint32_t i = 0; i + 2 < count; i++) /* room again */
            weir_blocks_release(blocks, held[i], counts[i]);
        struct weir_record small = record_of(1, origin, body, 300);
        assert_true(weir_blocks_put(blocks, 0, &small) != WEIR_BLOCK_NONE);
        weir_origin_unref(origin);
        close_blocks();
    }
}

static void a_large_record_has_a_block_of_its_own(void **state) {
    (void)state;
    open_blocks(true);
    static uint8_t body[3 << 20];
    struct weir_origin *origin = origin_named(1, 100);
    struct weir_record large = record_of(1, origin, body, sizeof body), small = record_of(2, origin, body, 100);
    uint32_t first = weir_blocks_put(blocks, 0, &small);
    weir_blocks_hold(blocks, first);
    large = record_of(1, origin, body, sizeof body);
    uint32_t second = weir_blocks_put(blocks, 0, &large);
    weir_blocks_hold(blocks, second);
    assert_true(second != first);
    assert_true(weir_blocks_memory(blocks) > sizeof body);
    uint32_t third = weir_blocks_put(blocks, 0, &small);
    weir_blocks_hold(blocks, third);
    assert_true(third != second);
    assert_true(weir_blocks_memory(blocks) < sizeof body); /* compressed, and the hot block is of its size again */
    weir_blocks_release(blocks, first, 1);
    weir_blocks_release(blocks, second, 1);
    weir_blocks_release(blocks, third, 1);
    weir_origin_unref(origin);
    close_blocks();
}

static void origins_come_and_go(void **state) {
    (void)state;
    open_blocks(true);
    static uint8_t body[8192];
    uint32_t held[2048], count = 0;
    for (uint32_t n = 0; n < 5000; n++) {
        struct weir_origin *origin = origin_named(n % 1700, 3000); /* more than the table knows */
        struct weir_record record = record_of(n, origin, body, 100);
        uint32_t block = weir_blocks_put(blocks, 0, &record);
        weir_origin_unref(origin);
        assert_true(block != WEIR_BLOCK_NONE);
        if (count == 0 || held[count - 1] != block) {
            weir_blocks_hold(blocks, block);
            held[count++] = block;
        }
        if (n % 100 == 99) { /* every second of them goes, not the oldest first */
            for (uint32_t i = 0; i + 1 < count; i += 2) {
                weir_blocks_release(blocks, held[i], 0);
                held[i] = held[--count];
            }
        }
    }
    while (count > 0)
        weir_blocks_release(blocks, held[--count], 0);
    assert_true(weir_blocks_seal(blocks));
    assert_true(weir_blocks_memory(blocks) < 512 << 10); /* of 15 MiB that went through */
    close_blocks();
}

static void a_pool_gives_chunks_back(void **state) {
    (void)state;
    struct weir_pool pool;
    static uint32_t numbers[100000];
    weir_pool_init(&pool, 24, 8);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 100000; i++) {
            uint64_t before = pool.memory, need = weir_pool_need(&pool);
            numbers[i] = weir_pool_take(&pool);
            assert_true(numbers[i] != WEIR_POOL_NONE);
            assert_int_equal(pool.memory, before + need);
            memset(weir_pool_at(&pool, numbers[i]), 0xff, 24);
            memcpy(weir_pool_at(&pool, numbers[i]), &i, 4);
        }
        for (uint32_t i = 0; i < 100000; i++) {
            uint32_t is;
            memcpy(&is, weir_pool_at(&pool, numbers[i]), 4);
            assert_int_equal(is, i); /* no two are one */
        }
        uint64_t most = pool.memory;
        assert_true(most >= 100000 * 24);
        for (uint32_t i = 0; i < 100000; i++) { /* in an order of its own */
            uint32_t at = (uint32_t)(i * 7919ull % 100000);
            weir_pool_give(&pool, numbers[at]);
        }
        assert_true(pool.memory < most / 10);
        uint32_t there = 0;
        for (uint32_t i = 0; i < 100000; i++)
            there += weir_pool_has(&pool, numbers[i]);
        assert_true(there > 0 && there <= 256); /* one chunk stays */
        assert_false(weir_pool_has(&pool, WEIR_POOL_NONE));
    }
    weir_pool_free(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(no_room_changes_nothing),
        cmocka_unit_test(a_large_record_has_a_block_of_its_own),
        cmocka_unit_test(origins_come_and_go),
        cmocka_unit_test(a_pool_gives_chunks_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
