/* table.h - one lane's series: found by hash, listed for the scraper, forgotten one by one when idle.
 *
 *   index (lane only)   hash ─> series          grows and shrinks; the scraper never looks at it
 *   list (any thread)   first ─> next ─> ...    a new series goes to the head, whole, with a release store
 *
 * Cells have one writer, the lane, and are read while it writes. Only forgetting needs the scraper away: the lane tries
 * the scrape lock and, when a scrape is under way, forgets at a later tick. So neither waits for the other for long. */
#ifndef WEIR_AGGREGATE_TABLE_H
#define WEIR_AGGREGATE_TABLE_H
#include "collector/aggregate/aggregate.h"
#include "collector/aggregate/registry.h"

#include <string.h>

/* A double that one thread writes and others read. */
struct weir_cell {
    _Atomic uint64_t bits;
};
static inline double weir_cell_get(const struct weir_cell *cell) {
    uint64_t bits = atomic_load_explicit(&cell->bits, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline void weir_cell_set(struct weir_cell *cell, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&cell->bits, bits, memory_order_relaxed);
}
static inline void weir_cell_add(struct weir_cell *cell, double more) {
    weir_cell_set(cell, weir_cell_get(cell) + more);
}

struct weir_series { /* head of point_series, span_series, edge_series */
    struct weir_series *_Atomic next;
    struct weir_identity *identity;
    uint64_t hash;
    uint64_t used_ns; /* lane; monotonic */
};

struct weir_index_slot {
    uint64_t hash;
    struct weir_series *series; /* NULL: free */
};
struct weir_index {
    struct weir_index_slot *slots;
    uint32_t mask, count;
};
bool weir_index_init(struct weir_index *index);
bool weir_index_add(struct weir_index *index, uint64_t hash,
                    struct weir_series *series); /* false: out of memory, unchanged */
void weir_index_remove(struct weir_index *index, const struct weir_series *series);
/* Walks the series of one hash: *at starts at weir_index_start(). NULL: no more. */
static inline uint32_t weir_index_start(const struct weir_index *index, uint64_t hash) {
    return (uint32_t)hash & index->mask;
}
static inline struct weir_series *weir_index_next(const struct weir_index *index, uint64_t hash, uint32_t *at) {
    for (;;) {
        const struct weir_index_slot *slot = &index->slots[*at];
        if (slot->series == NULL) return NULL;
        *at = (*at + 1) & index->mask;
        if (slot->hash == hash) return slot->series;
    }
}

/* What was not admitted, remembered until something is forgotten, so that a flood of the same costs no mutex. */
struct weir_refusal_slot {
    uint64_t hash, epoch;
    struct weir_series *overflow; /* where it goes; NULL: verdict */
    enum weir_admission verdict;
};
enum { WEIR_REFUSALS_KEPT = 4096 };

enum weir_table_metric {
    WEIR_SERIES_EXPIRED,
    WEIR_SERIES_FOLDED,
    WEIR_SERIES_UNBOOKED,
    WEIR_EDGES_WAITING,
    WEIR_EDGES_PAIRED,
    WEIR_EDGES_ALONE_CLIENT,
    WEIR_EDGES_ALONE_SERVER,
    WEIR_EDGES_EARLY,
    WEIR_TABLE_METRICS
};

struct weir_shard {
    struct weir_aggregate *aggregate;
    struct weir_registry *registry;
    const struct weir_aggregate_config *config;
    struct weir_names *names;
    struct weir_metric_set *metrics;
    struct weir_series *_Atomic first;
    pthread_mutex_t scraping; /* held by a scrape, and by the lane while it takes a series off the list */
    struct weir_index points, spans, edges;
    struct weir_refusal_slot *refusals; /* [WEIR_REFUSALS_KEPT] from the first refusal on */
    struct weir_series *cursor;   /* of the search for idle ones: the one before the next to look at; NULL: the head */
    struct weir_repeats *repeats; /* from the first weighted span on */
    struct weir_waiting *waiting; /* sides of calls */
    struct weir_exemplars *_Atomic exemplars; /* from the first kept span on */
    const uint64_t *latency_bounds_ns;        /* of the aggregate */
    uint64_t set_window_ns;
};

/* The series becomes visible. `index` finds it by its hash. False: out of memory; not listed. */
bool weir_shard_list(struct weir_shard *shard, struct weir_index *index, struct weir_series *series);
const struct weir_refusal_slot *weir_shard_refused(const struct weir_shard *shard, uint64_t hash);
void weir_shard_refuse(struct weir_shard *shard, uint64_t hash, enum weir_admission verdict,
                       struct weir_series *overflow);
/* Looks at up to `count` series and forgets those that are idle. */
void weir_shard_expire(struct weir_shard *shard, uint32_t count, uint64_t now_ns);

/* Where spans and calls put what comes as (labels, family) for the first time: a series of their own, an overflow one,
 * or NULL. make: a zeroed series of this family. */
struct weir_series *weir_shard_book(struct weir_shard *shard, struct weir_index *index, struct weir_family *family,
                                    uint64_t hash, const uint8_t *labels, uint32_t labels_size, size_t series_bytes);
/* Appends 0x1f label 0x1f value; the value cut, and without control characters. Returns the new size. */
uint32_t weir_label_put(uint8_t *out, uint32_t size, const char *label, const char *value, size_t value_size,
                        uint32_t value_max);
#endif
