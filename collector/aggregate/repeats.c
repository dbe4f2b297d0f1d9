#include "collector/aggregate/series.h"

#include <stdlib.h>

/* 32,768 pairs of a trace and a series, or a service, a lane (384 KiB): spans of one trace come near each other. */
enum { WAYS = 4, SETS = 8192 };

struct weir_repeats {
    struct {
        uint64_t keys[WAYS]; /* the latest first; 0 = free */
        uint32_t counts[WAYS];
    } sets[SETS];
};

struct weir_repeats *weir_repeats_new(void) {
    return calloc(1, sizeof(struct weir_repeats));
}

void weir_repeats_free(struct weir_repeats *repeats) {
    free(repeats);
}

uint32_t weir_repeats_next(struct weir_repeats *repeats, uint64_t trace_lo, uint64_t series_hash) {
    uint64_t key = weir_mix(trace_lo ^ weir_mix(series_hash)) | 1;
    uint64_t *keys = repeats->sets[key >> 32 & (SETS - 1)].keys;
    uint32_t *counts = repeats->sets[key >> 32 & (SETS - 1)].counts;
    uint32_t way = 0, count = 0;
    while (way < WAYS - 1 && keys[way] != key)
        way++;
    if (keys[way] == key) count = counts[way];
    for (; way > 0; way--) {
        keys[way] = keys[way - 1];
        counts[way] = counts[way - 1];
    }
    keys[0] = key;
    return counts[0] = count + 1;
}

double weir_shard_variance(struct weir_shard *shard, uint64_t trace_lo, uint64_t series_hash, double weight) {
    if (shard->repeats == NULL) shard->repeats = weir_repeats_new();
    uint32_t j = shard->repeats == NULL ? 1 : weir_repeats_next(shard->repeats, trace_lo, series_hash);
    return (2.0 * j - 1) * weight * (weight - 1);
}
