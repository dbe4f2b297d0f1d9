/* histogram.h - foreign buckets into ours. Bounds are upper and inclusive (le); the last bucket, +Inf, has none. */
#ifndef WEIR_AGGREGATE_HISTOGRAM_H
#define WEIR_AGGREGATE_HISTOGRAM_H
#include "collector/core/point.h"

#include <stddef.h>
#include <stdint.h>

enum { WEIR_BOUNDS_MAX = 64 }; /* as many as a configuration may name */

/* For histograms that come without bounds and without a unit (DogStatsD h and d, exponential ones): 1, 2.5, 5 a decade
 * from 0.001 to 10^7, so that milliseconds, bytes and counts all find some. */
extern const double weir_sample_bounds[];
extern const uint32_t weir_sample_bound_count;

/* Index of the first bound that is >= value; `count` when none is. Branch-free inside: the loop's length hangs on count
 * only. */
static inline uint32_t weir_bucket_of(const double *bounds, uint32_t count, double value) {
    const double *base = bounds;
    while (count > 1) {
        uint32_t half = count / 2;
        base += base[half - 1] < value ? half : 0;
        count -= half;
    }
    return (uint32_t)(base - bounds) + (count == 1 && *base < value);
}
static inline uint32_t weir_bucket_of_ns(const uint64_t *bounds, uint32_t count, uint64_t value) {
    const uint64_t *base = bounds;
    while (count > 1) {
        uint32_t half = count / 2;
        base += base[half - 1] < value ? half : 0;
        count -= half;
    }
    return (uint32_t)(base - bounds) + (count == 1 && *base < value);
}

/* The bounds that a new family takes from its first explicit histogram: all, or, of more than WEIR_BOUNDS_MAX, every
 * n-th. `bounds` has room for WEIR_BOUNDS_MAX. Returns how many. */
uint32_t weir_bounds_take(const struct weir_point_data *data, double *bounds);
/* Fills buckets[0..count] with what the point counted, each of its buckets in the one of ours that its upper end lies
 * in: where bounds differ, a quantile read from ours is never too low. */
void weir_buckets_map(const struct weir_point *point, const double *bounds, uint32_t count, double *buckets);
#endif
