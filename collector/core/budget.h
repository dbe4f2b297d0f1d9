/* budget.h - a bound in bytes that several threads draw on. What is reserved is released by the same number. */
#ifndef WEIR_CORE_BUDGET_H
#define WEIR_CORE_BUDGET_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct weir_budget {
    _Atomic size_t used_bytes;
    _Atomic size_t limit_bytes; /* may be changed live */
};

static inline bool weir_budget_reserve(struct weir_budget *budget, size_t bytes) {
    if (budget == NULL) return true;
    size_t limit = atomic_load_explicit(&budget->limit_bytes, memory_order_relaxed);
    if (bytes > limit)
        return false; /* before it is added: others would see it in use for a moment, and refuse or thin out */
    size_t before = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    if (before <= limit - bytes) return true;
    atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    return false;
}
static inline void weir_budget_release(struct weir_budget *budget, size_t bytes) {
    if (budget != NULL) atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}
#endif
