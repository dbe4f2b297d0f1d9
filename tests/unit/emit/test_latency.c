/* The table has the shape that was asked for. */
#include "collector/emit/latency.h"
#include "collector/emit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>

#include <cmocka.h>

static void test_log_normal(void **state) {
    (void)state;
    static const struct {
        uint64_t median;
        double sigma;
    } rows[] = {{5000000, 0.8}, {1000, 0.1}, {200000000, 2}};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct weir_emit_latency latency;
        weir_emit_latency_init(&latency, rows[r].median, rows[r].sigma);
        struct weir_emit_random random = weir_emit_random_of(1);
        double sum = 0, squares = 0;
        enum { DRAWS = 200000 };
        for (int i = 0; i < DRAWS; i++) {
            double x = log((double)weir_emit_latency_draw(&latency, weir_emit_next(&random)) / (double)rows[r].median);
            sum += x;
            squares += x * x;
        }
        double mean = sum / DRAWS, deviation = sqrt(squares / DRAWS - mean * mean);
        assert_true(fabs(mean) < 0.02 * rows[r].sigma);
        assert_true(fabs(deviation / rows[r].sigma - 1) < 0.02);
        for (int k = 0; k < WEIR_EMIT_QUANTILES; k++)
            assert_true(latency.ns[k] <= latency.ns[k + 1]);
    }
}

static void test_ends(void **state) {
    (void)state;
    struct weir_emit_latency latency;
    weir_emit_latency_init(&latency, 7000, 0);
    assert_int_equal(weir_emit_latency_draw(&latency, UINT64_MAX), 7000);
    assert_int_equal(weir_emit_latency_draw(&latency, 0), 7000);
    weir_emit_latency_init(&latency, 3600000000000, 5);
    assert_int_equal(latency.ns[WEIR_EMIT_QUANTILES], 3600000000000); /* at most an hour */
    weir_emit_latency_init(&latency, 0, 1);
    assert_int_equal(weir_emit_latency_draw(&latency, 12345), 0);
}

/* xoshiro256** from the state {1, 2, 3, 4}; the first values of the authors' C code. */
static void test_random_is_the_published_one(void **state) {
    (void)state;
    struct weir_emit_random random = {{1, 2, 3, 4}};
    static const uint64_t wanted[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(weir_emit_next(&random), wanted[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_normal),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_random_is_the_published_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
