#include "collector/aggregate/histogram.h"
#include "collector/core/wire.h"

#include <math.h>
#include <string.h>

const double weir_sample_bounds[] = {0.001, 0.0025, 0.005, 0.01,  0.025, 0.05, 0.1,   0.25, 0.5,  1,    2.5,
                                     5,     10,     25,    50,    100,   250,  500,   1000, 2500, 5000, 1e4,
                                     2.5e4, 5e4,    1e5,   2.5e5, 5e5,   1e6,  2.5e6, 5e6,  1e7};
const uint32_t weir_sample_bound_count = sizeof weir_sample_bounds / sizeof *weir_sample_bounds;

static uint64_t fixed64_at(const uint8_t *array, uint32_t i) {
    uint64_t value;
    memcpy(&value, array + (size_t)i * 8, 8);
    return value;
}

uint32_t weir_bounds_take(const struct weir_point_data *data, double *bounds) {
    uint32_t step = (data->bound_count + WEIR_BOUNDS_MAX - 1) / WEIR_BOUNDS_MAX, count = 0;
    for (uint32_t i = step - (step > 0); i < data->bound_count; i += step) {
        double bound = weir_wire_double(fixed64_at(data->bounds, i));
        if (isfinite(bound) && (count == 0 || bound > bounds[count - 1])) bounds[count++] = bound;
    }
    return count;
}

static void map_explicit(const struct weir_point_data *data, const double *bounds, uint32_t count, double *buckets) {
    uint32_t at = 0; /* both ascend */
    for (uint32_t i = 0; i < data->bound_count; i++) {
        double upper = weir_wire_double(fixed64_at(data->bounds, i));
        while (at < count && bounds[at] < upper)
            at++;
        buckets[at] += (double)fixed64_at(data->counts, i);
    }
    buckets[count] += (double)fixed64_at(data->counts, data->bound_count);
}

/* OpenTelemetry "Exponential Histogram": bucket i of the positive range covers (base^i, base^(i+1)], base =
 * 2^(2^-scale). */
static void map_exponential(const struct weir_point_data *data, const double *bounds, uint32_t count, double *buckets) {
    double width = ldexp(1.0, -(data->scale < -64  ? -64
                                : data->scale > 64 ? 64
                                                   : data->scale)); /* of a bucket, in powers of two */
    for (uint32_t i = 0; i < data->negative_count; i++) {
        uint64_t n = fixed64_at(data->negative, i);
        if (n > 0)
            buckets[weir_bucket_of(bounds, count, -exp2(((double)data->negative_offset + i) * width))] += (double)n;
    }
    if (data->zero_count > 0) buckets[weir_bucket_of(bounds, count, 0)] += (double)data->zero_count;
    for (uint32_t i = 0; i < data->positive_count; i++) {
        uint64_t n = fixed64_at(data->positive, i);
        if (n > 0)
            buckets[weir_bucket_of(bounds, count, exp2(((double)data->positive_offset + i + 1) * width))] += (double)n;
    }
}

void weir_buckets_map(const struct weir_point *point, const double *bounds, uint32_t count, double *buckets) {
    for (uint32_t i = 0; i <= count; i++)
        buckets[i] = 0;
    if (point->kind == WEIR_POINT_HISTOGRAM) {
        map_explicit(point->data, bounds, count, buckets);
    } else {
        map_exponential(point->data, bounds, count, buckets);
    }
}
