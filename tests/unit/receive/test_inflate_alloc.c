/* Memory that is not there: whichever request for it fails, inflating says so, gives nothing out, and works again when
 * there is some. */
#include "collector/receive/inflate.h"
#include "tests/unit/failing_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { SIZE = 700 * 1000 };
static uint8_t bytes[SIZE], packed[SIZE];

static size_t gzip(void) {
    z_stream z = {.next_in = bytes, .avail_in = SIZE, .next_out = packed, .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* Its size not said, so that it needs a window. */
static size_t zstd(int window_log) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    size_t size = ZSTD_compress2(context, packed, sizeof packed, bytes, SIZE);
    ZSTD_freeCCtx(context);
    assert_false(ZSTD_isError(size));
    return size;
}

static void every_request_fails_once(enum weir_encoding encoding, size_t size, unsigned at_least) {
    if (!OWN_MALLOC) skip();
    struct weir_budget budget = {.limit_bytes = 64 << 20};
    struct weir_error err;
    unsigned refused = 0;
    for (failing = 1;; failing++) {
        struct weir_batch *plain = NULL;
        requests = 0;
        inside = true;
        struct weir_inflate *inflate = weir_inflate_new();
        enum weir_inflate_status status = WEIR_INFLATE_MEMORY;
        if (inflate != NULL) status = weir_inflate(inflate, encoding, packed, size, SIZE, &budget, &plain, &err);
        inside = false;
        if (requests < failing) { /* none failed */
            assert_int_equal(status, WEIR_INFLATE_OK);
            weir_batch_unref(plain);
            weir_inflate_free(inflate);
            break;
        }
        refused += status != WEIR_INFLATE_OK;
        if (status != WEIR_INFLATE_OK) {
            assert_int_equal(status, WEIR_INFLATE_MEMORY);
            assert_null(plain);
            assert_int_equal(budget.used_bytes, 0);
        }
        weir_batch_unref(plain);
        plain = NULL;
        if (inflate != NULL) { /* the same one, with memory */
            assert_int_equal(weir_inflate(inflate, encoding, packed, size, SIZE, &budget, &plain, &err),
                             WEIR_INFLATE_OK);
            assert_int_equal(plain->size, SIZE);
            assert_memory_equal(plain->bytes, bytes, SIZE);
            weir_batch_unref(plain);
        }
        weir_inflate_free(inflate);
        assert_int_equal(budget.used_bytes, 0);
    }
    assert_true(refused >= at_least);
}

static void of_gzip(void **state) {
    (void)state;
    every_request_fails_once(WEIR_ENCODING_GZIP, gzip(), 3);
}

static void of_zstd(void **state) {
    (void)state;
    every_request_fails_once(WEIR_ENCODING_ZSTD, zstd(17), 4);
    every_request_fails_once(WEIR_ENCODING_ZSTD, zstd(23), 4); /* a window that is drawn from the budget */
}

int main(void) {
    uint32_t x = 1;
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)((x >> 24) % 4);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_gzip), cmocka_unit_test(of_zstd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
