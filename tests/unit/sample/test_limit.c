#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/core/span.h"
#include "collector/emit/random.h"
#include "collector/sample/limit.h"

#include <stdlib.h>
#include <string.h>

enum { MS = 1000000, TRACES_MAX = 400 };
#define SECOND (1000ull * MS)
#define R_MASK (WEIR_THRESHOLD_MAX - 1)

static void windows_are_a_second_or_as_long_as_ten_traces_need(void **state) {
    (void)state;
    static const struct {
        double rate;
        uint32_t k;
        uint64_t window_ms;
    } rows[] = {{1000, 1000, 1000}, {12.5, 13, 1040}, {10, 10, 1000},
                {9.5, 10, 1052},    {1, 10, 10000},   {0.05, 10, 200000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_limit limit;
        weir_limit_open(&limit, rows[i].rate, 5 * SECOND);
        assert_int_equal(limit.k, rows[i].k);
        assert_int_equal(limit.window_ns / MS, rows[i].window_ms);
        assert_false(weir_limit_over(&limit, limit.end_ns - 1));
        assert_true(weir_limit_over(&limit, 5 * SECOND + limit.window_ns));
        weir_limit_close(&limit);
    }
    struct weir_limit limit;
    weir_limit_open(&limit, 1e300, 0); /* no number is too large or too small */
    assert_true(limit.k >= 1u << 30 && limit.window_ns >= 1);
    weir_limit_open(&limit, 1e-300, SECOND);
    assert_int_equal(limit.k, 10);
    assert_false(weir_limit_over(&limit, 1000000 * SECOND));
}

static void the_grid_stays_and_an_early_end_begins_anew(void **state) {
    (void)state;
    struct weir_limit limit;
    struct weir_limit_entry *entries;
    uint64_t bar;
    weir_limit_open(&limit, 10, 100 * SECOND);
    assert_int_equal(weir_limit_end(&limit, 103 * SECOND + 1, &entries, &bar), 0);
    assert_int_equal(bar, 0);
    assert_null(entries);
    assert_int_equal(limit.end_ns, 104 * SECOND);
    assert_int_equal(weir_limit_end(&limit, 104 * SECOND, &entries, &bar), 0);
    assert_int_equal(limit.end_ns, 105 * SECOND);
    assert_int_equal(weir_limit_end(&limit, 104 * SECOND + 300 * MS, &entries, &bar), 0);
    assert_int_equal(limit.end_ns, 105 * SECOND + 300 * MS);
}

/* One window: what waits, and what was refused on the way. */
struct window {
    uint64_t randomness[TRACES_MAX], threshold[TRACES_MAX];
    enum { OPEN, KEPT, LEFT_OUT } fate[TRACES_MAX];
    uint32_t count, waiting, waiting_max;
    uint64_t bar;
};

static void play(struct weir_limit *limit, struct window *window) {
    for (uint32_t i = 0; i < window->count; i++) {
        struct weir_limit_entry entry = {window->randomness[i], window->threshold[i], i}, out;
        uint64_t threshold = 0;
        switch (weir_limit_offer(limit, &entry, &out, &threshold)) {
        case WEIR_LIMIT_WAITS: window->waiting++; break;
        case WEIR_LIMIT_LEFT_OUT:
            assert_true(window->randomness[i] < threshold);
            window->fate[i] = LEFT_OUT;
            break;
        case WEIR_LIMIT_REPLACES:
            assert_int_equal(out.randomness, window->randomness[out.handle]);
            assert_true(out.randomness < threshold);
            window->fate[out.handle] = LEFT_OUT;
            break;
        }
        if (window->waiting > window->waiting_max) window->waiting_max = window->waiting;
    }
    struct weir_limit_entry *entries;
    uint32_t count = weir_limit_end(limit, limit->end_ns, &entries, &window->bar);
    assert_int_equal(count, window->waiting);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(window->fate[entries[i].handle], OPEN);
        window->fate[entries[i].handle] = entries[i].randomness >= window->bar ? KEPT : LEFT_OUT;
    }
    free(entries);
    for (uint32_t i = 0; i < window->count; i++)
        assert_int_not_equal(window->fate[i], OPEN);
}

static int larger_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The definition, by sorting: the (k+1)-th largest R is the bar, and what is above it is kept. */
static void what_is_kept_is_above_the_k_plus_first(void **state) {
    (void)state;
    struct weir_emit_random random = weir_emit_random_of(11);
    for (uint32_t round = 0; round < 3000; round++) {
        struct weir_limit limit;
        weir_limit_open(&limit, 10 + weir_emit_below(&random, 20), 0);
        uint32_t values = round % 3 == 0 ? 20 : 0;           /* few values: many are equal */
        for (uint32_t windows = 0; windows < 2; windows++) { /* the second knows nothing of the first */
            static struct window window;
            memset(&window, 0, sizeof window);
            window.count = weir_emit_below(&random, round % 2 == 0 ? 40 : TRACES_MAX);
            uint64_t sorted[TRACES_MAX];
            for (uint32_t i = 0; i < window.count; i++)
                sorted[i] = window.randomness[i] =
                    values > 0 ? weir_emit_below(&random, values) : weir_emit_next(&random) & R_MASK;
            play(&limit, &window);
            qsort(sorted, window.count, sizeof *sorted, larger_first);
            bool all = window.count <= limit.k;
            assert_int_equal(window.bar, all ? 0 : sorted[limit.k] + 1);
            assert_true(window.waiting_max <= limit.k);
            uint32_t kept = 0;
            for (uint32_t i = 0; i < window.count; i++) {
                assert_int_equal(window.fate[i] == KEPT, all || window.randomness[i] > sorted[limit.k]);
                kept += window.fate[i] == KEPT;
            }
            assert_true(kept <= limit.k);
            if (!all && values == 0) assert_int_equal(kept, limit.k);
        }
        weir_limit_close(&limit);
    }
}

static void equal_and_largest_r(void **state) {
    (void)state;
    struct weir_limit limit;
    weir_limit_open(&limit, 10, 0);
    for (uint32_t count = 9; count <= 12; count++) { /* ids that are all the same: none is better than the other */
        struct window window = {.count = count};
        for (uint32_t i = 0; i < count; i++)
            window.randomness[i] = R_MASK;
        play(&limit, &window);
        assert_int_equal(window.bar, count <= 10 ? 0 : WEIR_THRESHOLD_MAX);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(window.fate[i], count <= 10 ? KEPT : LEFT_OUT);
    }
    weir_limit_close(&limit);
}

/* The trap that the header speaks of: by the k-th largest R itself as threshold 1,000 would be estimated as
 * 1,000 x 10 / 9 = 1,111 and a little (design: 1,116 measured); by the (k+1)-th it is 1,000. */
static void a_thousand_is_a_thousand_and_the_kth_would_say_otherwise(void **state) {
    (void)state;
    enum { WINDOWS = 100000, N = 1000, K = 10 };
    struct weir_emit_random random = weir_emit_random_of(5);
    struct weir_limit limit;
    weir_limit_open(&limit, K, 0);
    double right = 0, trap = 0;
    for (uint32_t round = 0; round < WINDOWS; round++) {
        for (uint32_t i = 0; i < N; i++) {
            struct weir_limit_entry entry = {weir_emit_next(&random) & R_MASK, 0, i}, out;
            uint64_t threshold;
            weir_limit_offer(&limit, &entry, &out, &threshold);
        }
        struct weir_limit_entry *entries;
        uint64_t bar, kth = R_MASK;
        uint32_t count = weir_limit_end(&limit, limit.end_ns, &entries, &bar);
        assert_int_equal(count, K);
        for (uint32_t i = 0; i < count; i++)
            if (entries[i].randomness < kth) kth = entries[i].randomness;
        free(entries);
        right += K * (double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - bar);
        trap += K * (double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - kth);
    }
    /* Of one window the standard error is about 1000 / 3: of the mean 1.05; four of them. */
    print_message("bottom-10 of 1,000, mean of %d windows: %.1f by the 11th, %.1f by the 10th\n", WINDOWS,
                  right / WINDOWS, trap / WINDOWS);
    assert_true(right / WINDOWS > N - 4.3 && right / WINDOWS < N + 4.3);
    assert_true(trap / WINDOWS > 1100);
    weir_limit_close(&limit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_a_second_or_as_long_as_ten_traces_need),
        cmocka_unit_test(the_grid_stays_and_an_early_end_begins_anew),
        cmocka_unit_test(what_is_kept_is_above_the_k_plus_first),
        cmocka_unit_test(equal_and_largest_r),
        cmocka_unit_test(a_thousand_is_a_thousand_and_the_kth_would_say_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
