/* page.h - what `weir top` keeps of one page of /metrics: sums of a Weir's own series, and a row a pair of names
 * for spans and for calls. Bounded whatever the page says. */
#ifndef WEIR_CLI_TOP_PAGE_H
#define WEIR_CLI_TOP_PAGE_H
#include "collector/cli/top/exposition.h"
#include "collector/core/names.h"

enum {
    WEIR_TOP_BOUNDS = 66,    /* of buckets, +Inf among them: one more than an aggregate may have */
    WEIR_TOP_ROWS = 20000,   /* a table; what is beyond is in no row, and told */
    WEIR_TOP_EXPORTERS = 16, /* likewise */
    WEIR_TOP_NAMES = 200000, /* services, operations, exporters: for what the caller makes `names` with */
    WEIR_TOP_NAMES_BYTES = 32 << 20,
};

/* Each is the sum of a family's samples, or of those with one label's value (page.c). */
enum weir_top_value {
    WEIR_TOP_RECEIVED,
    WEIR_TOP_REFUSED,
    WEIR_TOP_REFUSED_MEMORY,
    WEIR_TOP_REFUSED_INVALID,
    WEIR_TOP_DROPPED,
    WEIR_TOP_MERGED, /* is among dropped, and no loss */
    WEIR_TOP_SAMPLED_OUT,
    WEIR_TOP_OVERLOAD,
    WEIR_TOP_HELD,
    WEIR_TOP_IMBALANCE, /* of magnitudes */
    WEIR_TOP_DATAGRAMS_LOST,
    WEIR_TOP_POINTS_REJECTED,
    WEIR_TOP_SERIES_OVERFLOW,
    WEIR_TOP_INTAKE,
    WEIR_TOP_INTAKE_LIMIT,
    WEIR_TOP_TAIL,
    WEIR_TOP_TAIL_LIMIT,
    WEIR_TOP_QUEUE,
    WEIR_TOP_QUEUE_LIMIT,
    WEIR_TOP_SPOOL,
    WEIR_TOP_SPOOL_LIMIT,
    WEIR_TOP_CPU,
    WEIR_TOP_RESIDENT,
    WEIR_TOP_START,
    WEIR_TOP_RELOADED, /* 1: the last reading of the configuration went well */
    WEIR_TOP_DECIDED,
    WEIR_TOP_DECIDED_MEMORY,
    WEIR_TOP_ROOTLESS,
    WEIR_TOP_VALUES
};

struct weir_top_count {
    uint32_t first, second;          /* names: service and operation; client and server */
    double calls, failed, variance;  /* of spans: those that are requests, SERVER and CONSUMER */
    double service_variance;         /* its part in that of its service */
    double spans;                    /* of all kinds */
    double buckets[WEIR_TOP_BOUNDS]; /* of those calls, cumulative, by the page's bounds */
};
struct weir_top_table {
    struct weir_top_count *counts;
    uint32_t count, capacity;
    uint32_t *index; /* place + 1 by the two names */
    uint32_t index_size;
};
struct weir_top_exporter {
    uint32_t name;
    double delivered, dropped, paused, oldest_seconds, queue, spool, spool_limit;
};
struct weir_top_page {
    struct weir_names *names; /* the caller's; pages that are compared share it */
    uint64_t mono_ns;         /* when its first bytes came, which is when it was made; the caller's */
    double values[WEIR_TOP_VALUES];
    bool seen[WEIR_TOP_VALUES];
    char version[24];
    struct weir_top_exporter exporters[WEIR_TOP_EXPORTERS];
    uint32_t exporter_count;
    double bounds[WEIR_TOP_BOUNDS]; /* seconds, as the page has them: rising */
    uint32_t bound_count;
    struct weir_top_table spans, calls;
    uint64_t beyond; /* samples that found no row */
    bool no_memory;
};

/* A weir_exposition's `take`; self is the page, zeroed but for its names. */
void weir_top_page_take(void *page, const struct weir_exposition_sample *sample);
/* NULL: the page has no such row. */
const struct weir_top_count *weir_top_find(const struct weir_top_table *table, uint32_t first, uint32_t second);
/* Zeroes it but for its names. */
void weir_top_page_clear(struct weir_top_page *page);
#endif
