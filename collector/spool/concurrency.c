#include "collector/spool/concurrency.h"
#include "collector/core/clock.h"

#include <string.h>

enum { WINDOW_ANSWERS = 8, BASE_FOLLOWS = 8 };
#define WINDOW_LEAST   WEIR_MS
#define BASE_AGE       (60 * WEIR_S)
#define BASE_AGE_BASES 200 /* at least: measuring takes some six times the base */
#define GROWS_BELOW    1.5
#define SHRINKS_ABOVE  2.0

void weir_concurrency_init(struct weir_concurrency *limiter, uint32_t most) {
    memset(limiter, 0, sizeof *limiter);
    limiter->most = most;
    limiter->limit = most < 2 ? most : 2; /* one is answered while the next is on its way */
}

void weir_concurrency_bound(struct weir_concurrency *limiter, uint32_t most) {
    limiter->most = most;
    if (limiter->limit > most) limiter->limit = most;
    if (limiter->restore > most) limiter->restore = most;
}

uint32_t weir_concurrency_limit(const struct weir_concurrency *limiter) {
    return (uint32_t)limiter->limit;
}

void weir_concurrency_met(struct weir_concurrency *limiter) {
    limiter->reached = true;
}

static void lower_to(struct weir_concurrency *limiter, double limit) {
    limiter->limit = limit < 1 ? 1 : limit;
}

static void close_window(struct weir_concurrency *limiter, uint64_t now_ns, uint64_t mean_ns) {
    if (limiter->restore > 0) {
        limiter->limit = limiter->restore;
        limiter->restore = 0;
        limiter->base_ns = mean_ns;
        limiter->base_met_ns = now_ns;
        return;
    }
    if (limiter->base_ns == 0 || (double)mean_ns <= 1.1 * (double)limiter->base_ns) {
        if (limiter->base_ns == 0) limiter->base_ns = mean_ns;
        if (mean_ns < limiter->base_ns) limiter->base_ns -= (limiter->base_ns - mean_ns) / BASE_FOLLOWS;
        limiter->base_met_ns = now_ns;
    }
    double ratio = (double)mean_ns / (double)limiter->base_ns;
    if (ratio > SHRINKS_ABOVE) {
        lower_to(limiter, limiter->limit * 0.9 < limiter->limit - 1 ? limiter->limit * 0.9 : limiter->limit - 1);
    } else if (ratio < GROWS_BELOW && limiter->reached && limiter->limit + 1 <= limiter->most) {
        limiter->limit += 1;
    }
    uint64_t age_ns = now_ns - limiter->base_met_ns;
    if (age_ns >= BASE_AGE && age_ns / BASE_AGE_BASES >= limiter->base_ns) {
        limiter->restore = limiter->limit;
        limiter->limit = 1;
        limiter->measures_ns = now_ns;
    }
}

void weir_concurrency_settled(struct weir_concurrency *limiter, uint64_t now_ns, uint64_t latency_ns, bool answered) {
    if (!limiter->armed) {
        limiter->armed = true;
        limiter->window_ends_ns = now_ns;
        limiter->base_met_ns = now_ns;
    }
    if (!answered) {
        if (limiter->restore > 0) limiter->limit = limiter->restore;
        limiter->restore = 0;
        if (!limiter->failed) lower_to(limiter, limiter->limit / 2);
        limiter->failed = true; /* how long a failure took says nothing */
    } else if (limiter->restore == 0 || now_ns - latency_ns >= limiter->measures_ns) { /* sent since */
        limiter->sum_ns += latency_ns > 0 ? latency_ns : 1;
        limiter->count++;
    }
    bool full = limiter->count >= WINDOW_ANSWERS || (limiter->failed && limiter->count == 0);
    if (!full || now_ns < limiter->window_ends_ns) return;
    uint64_t mean_ns = limiter->count > 0 ? limiter->sum_ns / limiter->count : 0;
    if (mean_ns > 0 && !limiter->failed) close_window(limiter, now_ns, mean_ns);
    uint64_t length = mean_ns > WINDOW_LEAST ? mean_ns : WINDOW_LEAST;
    limiter->window_ends_ns = now_ns + length;
    limiter->sum_ns = limiter->count = 0;
    limiter->reached = limiter->failed = false;
}
