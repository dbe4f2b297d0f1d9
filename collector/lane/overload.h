/* overload.h - the first step of the overload ladder: before a request is refused, T rises for all of them, so that
 * what is kept stays a fair and weighted sample. Measure: how much of memory.intake is in use. */
#ifndef WEIR_LANE_OVERLOAD_H
#define WEIR_LANE_OVERLOAD_H
#include "collector/core/budget.h"
#include "collector/core/span.h"

/* From half of the bound on, the share kept falls in steps of two, one a sixteenth of the bound: 1/2, 1/4, ... 1/256.
 * Powers of two, so that `ot=th` stays short ("8", "c", "e") and a stage behind can tell them apart. 0 = keep all. */
static inline uint64_t weir_overload_threshold(const struct weir_budget *intake) {
    size_t limit = atomic_load_explicit(&intake->limit_bytes, memory_order_relaxed);
    size_t used = atomic_load_explicit(&intake->used_bytes, memory_order_relaxed);
    size_t half = limit / 2, step = limit / 16;
    if (used <= half || step == 0) return 0;
    unsigned halvings = 1 + (unsigned)((used - half) / step);
    if (halvings > 8) halvings = 8;
    return WEIR_THRESHOLD_MAX - (WEIR_THRESHOLD_MAX >> halvings);
}
#endif
