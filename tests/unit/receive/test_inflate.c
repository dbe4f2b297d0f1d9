/* gzip and zstd into a batch: bounds, breaks, budget. */
#include "collector/receive/inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { SIZE = 300 * 1000 };

static struct weir_budget budget;
static struct weir_inflate *inflater;
static enum weir_encoding encoding; /* of packed[], as the test says */
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
    inflater = weir_inflate_new();
    encoding = WEIR_ENCODING_GZIP;
    return inflater == NULL;
}

static int finish(void **state) {
    (void)state;
    weir_inflate_free(inflater);
    weir_inflate_free(NULL);
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
static enum weir_inflate_status status_of(size_t size, size_t max_bytes, struct weir_error *err) {
    struct weir_batch *plain = NULL;
    struct weir_error ignored;
    enum weir_inflate_status status =
        weir_inflate(inflater, encoding, packed, size, max_bytes, &budget, &plain, err != NULL ? err : &ignored);
    assert_true((plain != NULL) == (status == WEIR_INFLATE_OK));
    weir_batch_unref(plain);
    assert_int_equal(budget.used_bytes, 0);
    return status;
}

static void is_noise(size_t size, size_t packed_size) {
    struct weir_batch *plain = NULL;
    struct weir_error err;
    assert_int_equal(weir_inflate(inflater, encoding, packed, packed_size, SIZE, &budget, &plain, &err),
                     WEIR_INFLATE_OK);
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
    assert_int_equal(status_of(pack(noise, 0, packed, sizeof packed, 15 + 16), SIZE, NULL), WEIR_INFLATE_OK);
}

static void the_bound_is_exact(void **state) {
    (void)state;
    static uint8_t zeros[SIZE];
    const uint8_t *const inputs[] = {noise, zeros}; /* one that grows when packed, one that all but vanishes */
    for (size_t i = 0; i < 2; i++) {
        for (size_t size = 1; size < SIZE; size = size * 4 + 3) {
            size_t packed_size = pack(inputs[i], size, packed, sizeof packed, 15 + 16);
            assert_int_equal(status_of(packed_size, size, NULL), WEIR_INFLATE_OK);
            assert_int_equal(status_of(packed_size, size - 1, NULL), WEIR_INFLATE_TOO_LARGE);
        }
    }
    assert_int_equal(status_of(pack(noise, 0, packed, sizeof packed, 15 + 16), 0, NULL), WEIR_INFLATE_OK);
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
    assert_int_equal(status_of(size, 1 << 20, NULL), WEIR_INFLATE_TOO_LARGE); /* within a budget of 4 MiB */
    assert_int_equal(status_of(size, BOMB, NULL), WEIR_INFLATE_MEMORY);
}

static void broken_everywhere(void **state) {
    (void)state;
    struct weir_error err;
    size_t size = pack(noise, 3000, packed, sizeof packed, 15 + 16);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(status_of(cut, SIZE, &err), WEIR_INFLATE_BROKEN);
        assert_non_null(strstr(err.text, "truncated"));
        assert_non_null(strstr(err.text, "gzip: byte "));
    }
    packed[size - 1] ^= 1; /* its length (RFC 1952 2.3.1) */
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
    assert_non_null(strstr(err.text, "incorrect length check"));
    packed[size - 1] ^= 1;
    packed[size - 5] ^= 1; /* its CRC */
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
    assert_non_null(strstr(err.text, "incorrect data check"));
    packed[size - 5] ^= 1;
    is_noise(3000, size); /* and what was broken before leaves nothing behind */
    assert_int_equal(status_of(pack(noise, 3000, packed, sizeof packed, 15), SIZE, &err), WEIR_INFLATE_BROKEN);
    assert_int_equal(status_of(pack(noise, 3000, packed, sizeof packed, -15), SIZE, &err), WEIR_INFLATE_BROKEN);
}

static void members_follow_each_other(void **state) {
    (void)state;
    struct weir_error err;
    size_t size = pack(noise, 1000, packed, sizeof packed, 15 + 16);
    size += pack(noise, 0, packed + size, sizeof packed - size, 15 + 16); /* an empty one between them */
    size += pack(noise + 1000, 4000, packed + size, sizeof packed - size, 15 + 16);
    is_noise(5000, size);
    assert_int_equal(status_of(size, 4999, NULL), WEIR_INFLATE_TOO_LARGE); /* one bound for all of them */
    memcpy(packed + size, "junk", 4);
    assert_int_equal(status_of(size + 4, SIZE, &err), WEIR_INFLATE_BROKEN);
    char place[40];
    snprintf(place, sizeof place, "byte %zu", size + 2); /* the place counts from the first member on */
    assert_non_null(strstr(err.text, place));
}

static void no_bytes(void **state) {
    (void)state;
    for (encoding = WEIR_ENCODING_GZIP; encoding <= WEIR_ENCODING_ZSTD; encoding++) {
        struct weir_batch *plain = NULL;
        struct weir_error err;
        assert_int_equal(weir_inflate(inflater, encoding, NULL, 0, SIZE, &budget, &plain, &err), WEIR_INFLATE_BROKEN);
        assert_non_null(strstr(err.text, "byte 0: truncated"));
    }
}

static void no_budget(void **state) {
    (void)state;
    size_t size = pack(noise, SIZE, packed, sizeof packed, 15 + 16);
    budget.limit_bytes = 10;
    assert_int_equal(status_of(size, SIZE, NULL), WEIR_INFLATE_MEMORY);
    budget.limit_bytes = 4 << 20;
    assert_int_equal(status_of(size, SIZE, NULL), WEIR_INFLATE_OK);
}

/* ---- zstd ---- */

/* How a frame is made: a level, whether it says how large it is, a checksum, its window. */
struct style {
    int level;
    bool sized, checksum;
    int window_log; /* 0: the level's */
};

static const struct style styles[] = {
    {1, true, false, 0},  {1, false, false, 0}, {3, true, true, 0},    {3, false, true, 0},
    {19, false, true, 0}, {3, false, true, 10}, {3, false, false, 23},
};
enum { STYLES = sizeof styles / sizeof styles[0] };

/* As a sender that streams does it: told the size, or not. */
static size_t zpack(const uint8_t *bytes, size_t size, uint8_t *out, size_t room, struct style style) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = {bytes, size, 0};
    ZSTD_outBuffer to = {out, room, 0};
    encoding = WEIR_ENCODING_ZSTD;
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, style.level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, style.checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, style.sized);
    if (style.window_log > 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, style.window_log);
    if (style.sized) {
        ZSTD_CCtx_setPledgedSrcSize(context, size);
    } else { /* a flush first: with all of it at once, the library would know the size */
        ZSTD_inBuffer part = {bytes, size / 2, 0};
        assert_int_equal(ZSTD_compressStream2(context, &to, &part, ZSTD_e_flush), 0);
        in.pos = part.pos;
    }
    assert_int_equal(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    if (!style.sized) assert_true(ZSTD_getFrameContentSize(out, to.pos) == ZSTD_CONTENTSIZE_UNKNOWN);
    return to.pos;
}

static void every_size_comes_back_from_zstd(void **state) {
    (void)state;
    budget.limit_bytes = 16 << 20;
    for (size_t i = 0; i < STYLES; i++) {
        for (size_t size = 1; size < SIZE; size = size * 5 / 2 + 1)
            is_noise(size, zpack(noise, size, packed, sizeof packed, styles[i]));
        is_noise(SIZE, zpack(noise, SIZE, packed, sizeof packed, styles[i]));
        assert_int_equal(status_of(zpack(noise, 0, packed, sizeof packed, styles[i]), 0, NULL), WEIR_INFLATE_OK);
    }
}

static void the_bound_of_zstd_is_exact(void **state) {
    (void)state;
    static uint8_t zeros[SIZE];
    const uint8_t *const inputs[] = {noise, zeros};
    budget.limit_bytes = 16 << 20;
    for (size_t i = 0; i < 2 * STYLES; i++) {
        for (size_t size = 1; size < SIZE; size = size * 4 + 3) {
            size_t packed_size = zpack(inputs[i % 2], size, packed, sizeof packed, styles[i / 2]);
            assert_int_equal(status_of(packed_size, size, NULL), WEIR_INFLATE_OK);
            assert_int_equal(status_of(packed_size, size - 1, NULL), WEIR_INFLATE_TOO_LARGE);
        }
    }
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A frame by hand: its window is 2^window_log, its size unknown; blocks of one byte repeated 128 KiB times. */
static size_t bomb_of(unsigned window_log, size_t blocks) {
    enum { BLOCK = 128 * 1024, RLE = 1 };
    const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (uint8_t)((window_log - 10) << 3)};
    size_t size = sizeof head;
    memcpy(packed, head, size);
    for (size_t i = 0; i < blocks; i++) {
        uint32_t block = BLOCK << 3 | RLE << 1 | (i + 1 == blocks); /* RFC 8878 3.1.1.2 */
        packed[size++] = (uint8_t)block;
        packed[size++] = (uint8_t)(block >> 8);
        packed[size++] = (uint8_t)(block >> 16);
        packed[size++] = 'x';
    }
    encoding = WEIR_ENCODING_ZSTD;
    return size;
}

/* 1 GiB out of 32 KiB. */
static void a_bomb_of_zstd_is_cheap(void **state) {
    (void)state;
    size_t size = bomb_of(17, 8192);
    assert_true(size < 33 * 1024);
    long before = peak_kib();
    assert_int_equal(status_of(size, 1 << 20, NULL), WEIR_INFLATE_TOO_LARGE);
    assert_int_equal(status_of(size, 1 << 30, NULL), WEIR_INFLATE_MEMORY); /* the budget: 4 MiB */
    /* A frame that says so is not even begun; one that lies is broken. */
    const uint8_t said[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 1, 0, 0};
    memcpy(packed, said, sizeof said);
    assert_true(ZSTD_getFrameContentSize(packed, sizeof said) == 1 << 30);
    assert_int_equal(status_of(sizeof said, (1 << 30) - 1, NULL), WEIR_INFLATE_TOO_LARGE);
    assert_int_equal(status_of(sizeof said, 1 << 30, NULL), WEIR_INFLATE_MEMORY);
#ifndef __SANITIZE_ADDRESS__
    assert_true(peak_kib() - before < 16 * 1024);
#else
    (void)before;
#endif
    size = zpack(noise, 1000, packed, sizeof packed, styles[0]);
    assert_int_equal(packed[4] & 0xe0, 0x60); /* a size of two bytes, less 256, and no window */
    packed[5]++;
    struct weir_error err;
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
    packed[5] -= 2;
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
}

static void windows_are_bounded(void **state) {
    (void)state;
    struct weir_error err;
    budget.limit_bytes = 16 << 20;
    assert_int_equal(status_of(bomb_of(23, 4), 1 << 20, NULL), WEIR_INFLATE_OK);
    assert_int_equal(status_of(bomb_of(24, 4), 1 << 20, &err), WEIR_INFLATE_BROKEN);
    assert_string_equal(err.text, "zstd: byte 0: Frame requires too much memory for decoding");
    assert_int_equal(status_of(bomb_of(31, 4), 1 << 20, &err), WEIR_INFLATE_BROKEN);
    /* The window is in the budget, beside what it is inflated into. */
    budget.used_bytes = 9 << 20;
    struct weir_batch *plain = NULL;
    size_t size = bomb_of(23, 4);
    assert_int_equal(weir_inflate(inflater, encoding, packed, size, 1 << 20, &budget, &plain, &err),
                     WEIR_INFLATE_MEMORY);
    assert_int_equal(budget.used_bytes, 9 << 20);
    budget.used_bytes = 0;
    /* Where it can never be, the sender is not told to come again. */
    budget.limit_bytes = 8 << 20;
    assert_int_equal(status_of(size, 1 << 20, &err), WEIR_INFLATE_BROKEN);
    assert_non_null(strstr(err.text, "larger than memory.intake"));
    budget.limit_bytes = 4 << 20;
    assert_int_equal(status_of(bomb_of(19, 4), 1 << 20, NULL), WEIR_INFLATE_OK); /* of level 1: kept, not drawn */
    is_noise(SIZE, zpack(noise, SIZE, packed, sizeof packed, styles[0]));
}

static void zstd_broken_everywhere(void **state) {
    (void)state;
    struct weir_error err;
    budget.limit_bytes = 16 << 20;
    for (size_t i = 0; i < STYLES; i++) {
        size_t size = zpack(noise, 3000, packed, sizeof packed, styles[i]);
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(status_of(cut, SIZE, &err), WEIR_INFLATE_BROKEN);
            assert_non_null(strstr(err.text, "truncated"));
            assert_non_null(strstr(err.text, "zstd: byte "));
        }
        if (styles[i].checksum) {
            packed[size - 1] ^= 1;
            assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
            assert_non_null(strstr(err.text, "checksum"));
            packed[size - 1] ^= 1;
        }
        is_noise(3000, size); /* and what was broken before leaves nothing behind */
    }
    memcpy(packed, noise, 3000);
    assert_int_equal(status_of(3000, SIZE, &err), WEIR_INFLATE_BROKEN);
    assert_string_equal(err.text, "zstd: byte 0: no frame begins here");
    memcpy(packed, "\x27\xb5\x2f\xfd", 4); /* zstd 0.7, which libraries may still know */
    assert_int_equal(status_of(3000, SIZE, &err), WEIR_INFLATE_BROKEN);
    assert_string_equal(err.text, "zstd: byte 0: no frame begins here");
    size_t size = pack(noise, 3000, packed, sizeof packed, 15 + 16);
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN); /* gzip under the name of zstd */
    size = zpack(noise, 3000, packed, sizeof packed, styles[0]);
    encoding = WEIR_ENCODING_GZIP;
    assert_int_equal(status_of(size, SIZE, &err), WEIR_INFLATE_BROKEN);
}

static void frames_follow_each_other(void **state) {
    (void)state;
    struct weir_error err;
    static const uint8_t skipped[] = {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    budget.limit_bytes = 16 << 20;
    for (size_t i = 0; i < STYLES; i++) {
        size_t size = sizeof skipped;
        memcpy(packed, skipped, sizeof skipped);
        size += zpack(noise, 1000, packed + size, sizeof packed - size, styles[i]);
        size += zpack(noise, 0, packed + size, sizeof packed - size, styles[i]);
        memcpy(packed + size, skipped, sizeof skipped);
        size += sizeof skipped;
        size += zpack(noise + 1000, 4000, packed + size, sizeof packed - size, styles[(i + 1) % STYLES]);
        is_noise(5000, size);
        assert_int_equal(status_of(size, 4999, NULL), WEIR_INFLATE_TOO_LARGE); /* one bound for all of them */
        memcpy(packed + size, "junk", 4);
        assert_int_equal(status_of(size + 4, SIZE, &err), WEIR_INFLATE_BROKEN);
        char text[60];
        snprintf(text, sizeof text, "zstd: byte %zu: no frame begins here", size);
        assert_string_equal(err.text, text);
        assert_int_equal(status_of(size + 3, SIZE, &err), WEIR_INFLATE_BROKEN);
    }
    memcpy(packed, skipped, sizeof skipped);
    assert_int_equal(status_of(sizeof skipped, 0, NULL), WEIR_INFLATE_OK); /* nothing, in so many words */
    assert_int_equal(status_of(sizeof skipped - 1, 0, &err), WEIR_INFLATE_BROKEN);
}

static void no_budget_for_zstd(void **state) {
    (void)state;
    for (size_t i = 0; i < STYLES; i++) {
        size_t size = zpack(noise, SIZE, packed, sizeof packed, styles[i]);
        bool fits = false, asked_too_much = false;
        for (size_t limit = 0; limit < 12 << 20; limit += 97 * 1024) {
            budget.limit_bytes = limit;
            enum weir_inflate_status status = status_of(size, SIZE, NULL);
            if (limit < SIZE) assert_int_not_equal(status, WEIR_INFLATE_OK);
            if (status != WEIR_INFLATE_OK && status != WEIR_INFLATE_MEMORY) asked_too_much = true;
            if (fits) assert_int_equal(status, WEIR_INFLATE_OK); /* never again refused */
            fits = fits || status == WEIR_INFLATE_OK;
        }
        assert_true(fits);
        bool large = styles[i].window_log == 0 ? styles[i].level > 1 : styles[i].window_log > 19; /* a window */
        assert_int_equal(asked_too_much, large && !styles[i].sized);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(every_size_comes_back),
                                       TEST(the_bound_is_exact),
                                       TEST(a_bomb_is_cheap),
                                       TEST(broken_everywhere),
                                       TEST(members_follow_each_other),
                                       TEST(no_bytes),
                                       TEST(no_budget),
                                       TEST(every_size_comes_back_from_zstd),
                                       TEST(the_bound_of_zstd_is_exact),
                                       TEST(a_bomb_of_zstd_is_cheap),
                                       TEST(windows_are_bounded),
                                       TEST(zstd_broken_everywhere),
                                       TEST(frames_follow_each_other),
                                       TEST(no_budget_for_zstd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
