/* Traces that wait: found again, decided in their order, bounded; against a plain list as the model. */
#include "collector/cli/stored_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t decided[100000];
static uint32_t decided_count;
static void on_decided(void *self, const struct weir_stored_trace *trace) {
    (void)self;
    decided[decided_count++] = trace->trace_lo;
}

static struct weir_window window;
static void add(uint64_t trace, bool root, uint64_t now_ns) {
    struct weir_span span = {.trace_lo = trace, .trace_hi = 9};
    struct weir_stored_trace *held = weir_window_find(&window, &span);
    if (held == NULL) held = weir_window_add(&window, &span, now_ns);
    assert_non_null(held);
    assert_int_equal(held->trace_lo, trace);
    held->has_root = held->has_root || root;
    held->spans++;
    weir_window_touch(&window, held, now_ns);
}
static void decided_are(const uint64_t *traces, uint32_t count) {
    assert_int_equal(decided_count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(decided[i], traces[i]);
    decided_count = 0;
}

static void by_wait_and_by_quiet(void **state) {
    (void)state;
    assert_true(weir_window_open(&window, 10, on_decided, NULL));
    add(1, false, 0);
    add(2, true, 1);
    add(3, false, 2);
    add(2, false, 50); /* not quiet */
    weir_window_due(&window, 40, 100, 30);
    decided_are(NULL, 0);
    weir_window_due(&window, 80, 100, 30);
    decided_are((uint64_t[]){2}, 1);
    add(3, true, 90); /* its root, in time */
    weir_window_due(&window, 110, 100, 30);
    decided_are((uint64_t[]){1}, 1);
    weir_window_due(&window, 120, 100, 30);
    decided_are((uint64_t[]){3}, 1);
    add(1, true, 130); /* again, as another */
    weir_window_flush(&window);
    decided_are((uint64_t[]){1}, 1);
    weir_window_close(&window);
}

static void when_full_the_oldest_goes(void **state) {
    (void)state;
    assert_true(weir_window_open(&window, 3, on_decided, NULL));
    add(1, true, 10);
    add(2, false, 11);
    add(3, true, 12);
    add(4, true, 13);
    decided_are((uint64_t[]){1}, 1);
    add(5, true, 14);
    decided_are((uint64_t[]){2}, 1);
    assert_int_equal(window.pressed, 2);
    weir_window_flush(&window);
    decided_are((uint64_t[]){3, 4, 5}, 3);
    weir_window_close(&window);
}

/* Traces come and go at random; each is decided exactly once for each time that it came, and is found until then. */
static void at_random(void **state) {
    (void)state;
    static uint32_t in[5000], out[5000];
    static bool held[5000];
    uint64_t now = 1, seed = 42;
    memset(in, 0, sizeof in);
    assert_true(weir_window_open(&window, 700, on_decided, NULL));
    for (int step = 0; step < 60000; step++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t trace = (seed >> 33) % 5000;
        struct weir_span span = {.trace_lo = trace};
        assert_int_equal(weir_window_find(&window, &span) != NULL, held[trace]);
        in[trace] += !held[trace];
        held[trace] = true;
        add(trace, (seed >> 20 & 3) == 0, now);
        now += (seed >> 40) % 3;
        if (step % 7 == 0) weir_window_due(&window, now, 300, 100);
        for (uint32_t i = 0; i < decided_count; i++) {
            out[decided[i]]++;
            if (decided[i] != trace || weir_window_find(&window, &span) == NULL) held[decided[i]] = false;
        }
        decided_count = 0;
    }
    weir_window_flush(&window);
    for (uint32_t i = 0; i < decided_count; i++)
        out[decided[i]]++;
    decided_count = 0;
    for (int i = 0; i < 5000; i++)
        assert_int_equal(in[i], out[i]);
    weir_window_close(&window);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_wait_and_by_quiet),
        cmocka_unit_test(when_full_the_oldest_goes),
        cmocka_unit_test(at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
