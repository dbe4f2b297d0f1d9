/* point.h - the fixed-size view of one metric sample, whichever protocol it came by.
 *
 * A series' identity is its canonical key, made by the decoder:
 *     name 0x1f label 0x1f value 0x1f label 0x1f value ...      labels sorted by name, each label once
 * with the name inside [a-zA-Z_:][a-zA-Z0-9_:]*, label names inside [a-zA-Z_][a-zA-Z0-9_]*, values UTF-8 and cut to the
 * configured length, without bytes below 0x20 (they become spaces). */
#ifndef WEIR_CORE_POINT_H
#define WEIR_CORE_POINT_H
#include <stdbool.h>
#include <stdint.h>

#define WEIR_KEY_SEPARATOR 0x1f

enum weir_point_kind {
    WEIR_POINT_COUNT,       /* value: what was added (already divided by its rate); any lane */
    WEIR_POINT_TIMER,       /* value: seconds observed, weight: how many it stands for; any lane */
    WEIR_POINT_SAMPLE,      /* value: as given (histogram or distribution without unit), weight; any lane */
    WEIR_POINT_GAUGE,       /* value: the new value; owner lane */
    WEIR_POINT_GAUGE_ADD,   /* value: signed change; owner lane */
    WEIR_POINT_SET,         /* member: 64-bit hash of the member; owner lane */
    WEIR_POINT_CUMULATIVE,  /* value: running total since start_ns of one monotonic stream; owner lane */
    WEIR_POINT_HISTOGRAM,   /* explicit buckets, `data`; delta: any lane; cumulative: owner lane */
    WEIR_POINT_EXPONENTIAL, /* exponential buckets, `data`; delta: any lane; cumulative: owner lane */
    WEIR_POINT_SUMMARY,     /* quantiles with count and sum, `data`; owner lane */
};

/* Bucket or quantile payload; little-endian arrays of 8 bytes, not aligned: read with memcpy. Lives as long as the key.
 */
struct weir_point_data {
    uint64_t count;
    double sum;
    bool has_sum;
    const uint8_t *bounds; /* HISTOGRAM: double upper bounds, `bound_count`; SUMMARY: quantiles */
    const uint8_t *counts; /* HISTOGRAM: uint64, bound_count + 1 of them; SUMMARY: double values */
    uint32_t bound_count;
    /* EXPONENTIAL (OTLP ExponentialHistogramDataPoint): bucket i of `positive` covers (base^(offset+i),
     * base^(offset+i+1)], base = 2^(2^-scale) */
    int32_t scale, positive_offset, negative_offset;
    uint32_t positive_count, negative_count; /* numbers of uint64 counts */
    const uint8_t *positive, *negative;
    uint64_t zero_count;
};

struct weir_point {
    uint64_t hash; /* of the key; keyed by weir_names_hash() */
    const uint8_t *key;
    uint32_t key_size;
    uint8_t kind;    /* enum weir_point_kind */
    bool cumulative; /* for HISTOGRAM, EXPONENTIAL */
    double value, weight;
    uint64_t member;
    uint64_t start_ns, time_ns;         /* 0 = not said */
    const struct weir_point_data *data; /* NULL but for HISTOGRAM, EXPONENTIAL, SUMMARY */
};

/* Must it be kept by the lane that its hash belongs to? */
static inline bool weir_point_owned(const struct weir_point *point) {
    switch (point->kind) {
    case WEIR_POINT_COUNT:
    case WEIR_POINT_TIMER:
    case WEIR_POINT_SAMPLE: return false;
    case WEIR_POINT_HISTOGRAM:
    case WEIR_POINT_EXPONENTIAL: return point->cumulative;
    default: return true;
    }
}
#endif
