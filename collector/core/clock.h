/* clock.h - time is injected, so that no test sleeps. Nanoseconds everywhere. */
#ifndef WEIR_CORE_CLOCK_H
#define WEIR_CORE_CLOCK_H
#include <stdint.h>

#define WEIR_US 1000ull
#define WEIR_MS 1000000ull
#define WEIR_S  1000000000ull

struct weir_clock {
    uint64_t (*mono_ns)(void *self); /* CLOCK_MONOTONIC: for ages and time-outs */
    uint64_t (*unix_ns)(void *self); /* CLOCK_REALTIME: for what people read */
    void *self;
};

extern const struct weir_clock weir_clock_system;

static inline uint64_t weir_mono_ns(const struct weir_clock *clock) {
    return clock->mono_ns(clock->self);
}
static inline uint64_t weir_unix_ns(const struct weir_clock *clock) {
    return clock->unix_ns(clock->self);
}
#endif
