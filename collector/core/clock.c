#include "collector/core/clock.h"

#include <time.h>

static uint64_t now_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * WEIR_S + (uint64_t)t.tv_nsec;
}
static uint64_t mono(void *self) {
    (void)self;
    return now_ns(CLOCK_MONOTONIC);
}
static uint64_t wall(void *self) {
    (void)self;
    return now_ns(CLOCK_REALTIME);
}

const struct weir_clock weir_clock_system = {.mono_ns = mono, .unix_ns = wall, .self = 0};
