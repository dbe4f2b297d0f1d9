/* gzip into a batch: its bounds, its breaks, its budget. */
#include "collector/receive/gunzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { SIZE = 300 * 1000 };

static struct weir_budget budget;
static struct weir_gunzip *gunzip;
static uint8_t noise[SIZE], packed[2 * SIZE];

static int begin(void **state) {
    (void)state;
    uint32_t x = 1;
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525 + 1013904223; /* Numerical Recipes' generator */
        noise[i] = (uint8_t)(x >> 24);
    }
    memset(&budget, 0, sizeof budget);
    budget.limit_bytes = 4 << 20;
    gunzip = weir_gunzip_new();
    return gunzip == NULL;
}

static int finish(void **state) {
    (void)state;
    weir_gunzip_free(gunzip);
    weir_gunzip_free(NULL);
    return budget.used_bytes != 0; /* all was given back, whatever the outcome */
}

/* window_bits: 15 + 16 gzip, 15 zlib, -15 bare deflate. */
static size_t pack(const uint8_t *bytes, size_t size, uint8_t *out, size_t room, int window_bits) {
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)bytes, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* What `size` bytes of packed[] are; the batch, where there is one, is freed. */
static enum weir_gunzip_status status_of(size_t size, size_t max_bytes, struct weir_error *err) {
    struct weir_batch *plain = NULL;
    struct weir_error ignored;
    enum weir_gunzip_status status =
        weir_gunzip(gunzip, packed, size, max_bytes, &budget, &plain, err != NULL ? err : &ignored);
    assert_true((plain != NULL) == (status == WEIR_GUNZIP_OK));
    weir_batch_unref(plain);
    assert_int_equal(budget.used_bytes, 0);
    return status;
}

static void is_noise(size_t size, size_t packed_size) {
    struct weir_batch *plain = NULL;
    struct weir_error err;
    assert_int_equal(weir_gunzip(gunzip, packed, packed_size, SIZE, &budget, &plain, &err), WEIR_GUNZIP_OK);
    assert_int_equal(plain->size, size);
    assert_memory_equal(plain->bytes, noise, size);
    assert_true(budget.used_bytes >= size);
    weir_batch_unref(plain);
}

static void every_size_comes_back(void **state) {
    (void)state;
    for (size_t size = 1; size <= SIZE; size = size * 3 / 2 + 1)
        is_noise(size, pack(noise, size, packed, sizeof packed, 15 + 16));
    is_noise(SIZE, pack(noise, SIZE, packed, sizeof packed, 15 + 16));
    assert_int_equal(status_of(pack(noise, 0, packed, sizeof packed, 15 + 16), SIZE, NULL), WEIR_GUNZIP_OK);
}

static void the_bound_is_exact(void **state) {
    (void)state;
    static uint8_t zeros[SIZE];
    const uint8_t *const inputs[] = {noise, zeros}; /* one that grows when packed, one that all but vanishes */
    for (size_t i = 0; i < 2; i++) {
        for (size_t size = 1; size < SIZE; size = size * 4 + 3) {
            size_t packed_size = pack(inputs[i], size, packed, sizeof packed, 15 + 16);
            assert_int_equal(status_of(packed_size, size, NULL), WEIR_GUNZIP_OK);
            assert_int_equal(status_of(packed_size, size - 1, NULL), WEIR_GUNZIP_TOO_LARGE);
        }
    }
    assert_int_equal(status_of(pack(noise, 0, packed, sizeof packed, 15 + 16), 0, NULL), WEIR_GUNZIP_OK);
}

/* 64 MiB out of 64 KiB: never more memory than the bound and its doubling. */
static void a_bomb_is_cheap(void **state) {
    (void)state;
    enum { BOMB = 16 << 20 }; /* four times the budget */
    uint8_t *zeros = calloc(1, BOMB);
    assert_non_null(zeros);
    size_t size = pack(zeros, BOMB, packed, sizeof packed, 15 + 16);
    free(zeros);
    assert_true(size < 20 * 1024);
    assert_int_equal(status_of(size, 1 << 20, NULL), WEIR_GUNZIP_TOO_LARGE); /* within a budget of 4 MiB */
    assert_int_equal(status_of(size, BOMB, NULL), WEIR_GUNZIP_MEMORY);
}

static void broken_everywhere(void **state) {
    (void)state;
    struct weir_error err;
    size_t size = pack(noise, 3000, packed, sizeof packed, 15 + 16);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(status_of(cut, SIZE, &err), WEIR_GUNZIP_BROKEN);
        assert_non_null(strstr(err.text, "truncated"));
        assert_non_null(strstr(err.text, "gzip: byte "));
    }
    packed[size - 1] ^= 1; /* its length (RFC 1952 2.3.1) */
    assert_int_equal(status_of(size, SIZE, &err), WEIR_GUNZIP_BROKEN);
    assert_non_null(strstr(err.text, "incorrect length check"));
    packed[size - 1] ^= 1;
    packed[size - 5] ^= 1; /* its CRC */
    assert_int_equal(status_of(size, SIZE, &err), WEIR_GUNZIP_BROKEN);
    assert_non_null(strstr(err.text, "incorrect data check"));
    packed[size - 5] ^= 1;
    is_noise(3000, size); /* and what was broken before leaves nothing behind */
    assert_int_equal(status_of(pack(noise, 3000, packed, sizeof packed, 15), SIZE, &err), WEIR_GUNZIP_BROKEN);
    assert_int_equal(status_of(pack(noise, 3000, packed, sizeof packed, -15), SIZE, &err), WEIR_GUNZIP_BROKEN);
}

static void members_follow_each_other(void **state) {
    (void)state;
    struct weir_error err;
    size_t size = pack(noise, 1000, packed, sizeof packed, 15 + 16);
    size += pack(noise, 0, packed + size, sizeof packed - size, 15 + 16); /* an empty one between them */
    size += pack(noise + 1000, 4000, packed + size, sizeof packed - size, 15 + 16);
    is_noise(5000, size);
    assert_int_equal(status_of(size, 4999, NULL), WEIR_GUNZIP_TOO_LARGE); /* one bound for all of them */
    memcpy(packed + size, "junk", 4);
    assert_int_equal(status_of(size + 4, SIZE, &err), WEIR_GUNZIP_BROKEN);
    char place[40];
    snprintf(place, sizeof place, "byte %zu", size + 2); /* the place counts from the first member on */
    assert_non_null(strstr(err.text, place));
}

static void no_budget(void **state) {
    (void)state;
    size_t size = pack(noise, SIZE, packed, sizeof packed, 15 + 16);
    budget.limit_bytes = 10;
    assert_int_equal(status_of(size, SIZE, NULL), WEIR_GUNZIP_MEMORY);
    budget.limit_bytes = 4 << 20;
    assert_int_equal(status_of(size, SIZE, NULL), WEIR_GUNZIP_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(every_size_comes_back),     TEST(the_bound_is_exact),
                                       TEST(a_bomb_is_cheap),           TEST(broken_everywhere),
                                       TEST(members_follow_each_other), TEST(no_budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
