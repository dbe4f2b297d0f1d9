/* metrics.h - the numbers that Weir tells of itself. A component writes one table; /metrics, its HELP and docs come
 * from it. Each component instance (one a lane) opens a set: its own cells, one writer. A scrape adds up the cells of
 * equal name and labels, over all sets, without stopping anybody. */
#ifndef WEIR_CORE_METRICS_H
#define WEIR_CORE_METRICS_H
#include "collector/core/buffer.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum weir_metric_kind {
    WEIR_COUNTER,
    WEIR_GAUGE,
    WEIR_COUNTER_NS, /* cells are nanoseconds, shown as seconds */
    WEIR_GAUGE_NS,
    WEIR_GAUGE_MAX, /* over several sets the largest, not the sum */
    WEIR_RATIO_MAX, /* the same; cells are doubles, 0 or more, by weir_gauge_ratio() */
};

struct weir_metric {
    const char *name;   /* without "weir_", base units, counters end in _total: "datagrams_received_total" */
    const char *labels; /* NULL, or what tells this row from others of the same name: "reason=\"kernel\"" */
    enum weir_metric_kind kind;
    const char *help; /* one sentence; rows of one name say the same */
};

struct weir_metrics; /* the process's registry */

struct weir_metric_set {
    struct weir_metric_set *next;
    const struct weir_metric *table;
    uint32_t count;
    void (*refresh)(struct weir_metric_set *set, void *self); /* scraper's thread, before each read; or NULL */
    void *self;
    char labels[400];         /* added to every row: receiver="statsd" */
    _Atomic uint64_t cells[]; /* [count] */
};

struct weir_metrics *weir_metrics_new(void);
/* labels may be NULL; label values are escaped by the caller. NULL: out of memory. Any thread. */
struct weir_metric_set *weir_metrics_open(struct weir_metrics *metrics, const struct weir_metric *table, uint32_t count,
                                          const char *labels);
void weir_metrics_refresh(struct weir_metrics *metrics, struct weir_metric_set *set,
                          void (*refresh)(struct weir_metric_set *, void *), void *self);
void weir_metrics_close(struct weir_metrics *metrics,
                        struct weir_metric_set *set); /* waits for a scrape under way; accepts NULL */
/* Prometheus text 0.0.4, families sorted by name, each once with HELP and TYPE. */
void weir_metrics_expose(struct weir_metrics *metrics, struct weir_buffer *out);
void weir_metrics_free(struct weir_metrics *metrics);

/* The set's one writer. */
static inline void weir_count(struct weir_metric_set *set, uint32_t row, uint64_t more) {
    atomic_store_explicit(&set->cells[row], atomic_load_explicit(&set->cells[row], memory_order_relaxed) + more,
                          memory_order_relaxed);
}
static inline void weir_gauge(struct weir_metric_set *set, uint32_t row, uint64_t value) {
    atomic_store_explicit(&set->cells[row], value, memory_order_relaxed);
}
static inline void weir_gauge_ratio(struct weir_metric_set *set, uint32_t row, double value) {
    uint64_t bits; /* those of doubles that are not negative are in the order of their values */
    memcpy(&bits, &value, sizeof bits);
    weir_gauge(set, row, bits);
}
/* Several writers. */
static inline void weir_count_shared(struct weir_metric_set *set, uint32_t row, uint64_t more) {
    atomic_fetch_add_explicit(&set->cells[row], more, memory_order_relaxed);
}
#endif
