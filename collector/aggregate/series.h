/* series.h - what a series of each family type keeps. Cells are read by the scraper, all else is the lane's. */
#ifndef WEIR_AGGREGATE_SERIES_H
#define WEIR_AGGREGATE_SERIES_H
#include "collector/aggregate/set.h"
#include "collector/aggregate/table.h"

/* COUNTER: total · GAUGE: value · SET: distinct members · HISTOGRAM: sum, bound_count + 1 buckets ·
 * SUMMARY: count, sum, then quantile and value in turn */
struct weir_point_series {
    struct weir_series head;
    const struct weir_claim *claim; /* the name that it came under */
    uint64_t start_ns, time_ns;     /* of the last point of a cumulative stream or gauge; 0 = not said */
    double last, last_sum;          /* cumulative: what the stream said last */
    double *last_buckets;           /* cumulative histogram: added up from the lowest on; NULL before the first */
    struct weir_set *members;       /* SET */
    bool begun;                     /* cumulative: `last` holds something */
    _Atomic bool has_sum;           /* HISTOGRAM: some point said its sum */
    uint32_t cell_count;
    struct weir_cell cells[];
};

/* Calls are the sum of the buckets, so the two cannot differ. */
struct weir_span_series {
    struct weir_series head;
    uint32_t service, operation;
    uint8_t kind, status;
    struct weir_cell variance, service_variance, duration_ns, buckets[];
};

enum weir_edge_cell {
    WEIR_EDGE_REQUESTS,
    WEIR_EDGE_FAILED,
    WEIR_EDGE_REQUESTS_VARIANCE,
    WEIR_EDGE_FAILED_VARIANCE,
    WEIR_EDGE_SERVER_NS,
    WEIR_EDGE_CLIENT_NS,
    WEIR_EDGE_BUCKETS /* of the server, then of the client */
};
struct weir_edge_series {
    struct weir_series head;
    uint32_t client, server;
    struct weir_cell cells[];
};

struct weir_aggregate {
    struct weir_aggregate_config config; /* a copy: a reload frees the other */
    struct weir_registry registry;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_metric_set *totals;
    const struct weir_clock *clock;
    struct weir_family *spans, *edges;
    uint64_t latency_bounds_ns[WEIR_BUCKETS_MAX];
    uint32_t lanes;
    struct weir_shard shards[];
};

static inline uint64_t weir_mix(uint64_t value) { /* the finalizer of MurmurHash3: each bit reaches each */
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdull;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ull;
    return value ^ value >> 33;
}

/* repeats.c: which span of its trace in one series is this, counted from 1? Bounded: the pair seen longest ago is
 * forgotten, and then counts from 1 again. */
uint32_t weir_repeats_next(struct weir_repeats *repeats, uint64_t trace_lo, uint64_t series_hash);
struct weir_repeats *weir_repeats_new(void);
void weir_repeats_free(struct weir_repeats *repeats); /* accepts NULL */
/* What a span of weight w adds to the variance of its series: (2j - 1) w (w - 1). */
double weir_shard_variance(struct weir_shard *shard, uint64_t trace_lo, uint64_t series_hash, double weight);

/* edges.c */
struct weir_waiting *weir_waiting_new(void);
void weir_waiting_free(struct weir_waiting *waiting); /* accepts NULL */
void weir_shard_edge(struct weir_shard *shard, const struct weir_span *span, double weight, uint64_t now_ns);
/* Gives up to `count` sides up that have waited too long. */
void weir_shard_edges_expire(struct weir_shard *shard, uint32_t count, uint64_t now_ns);
#endif
