/* exemplars.h - for buckets of traces_spanmetrics_latency, a stored trace that fell into one: written when a span is
 * kept, shown on OpenMetrics pages. A table of 2,048 places a lane (128 KiB), made when the first is written; what
 * meets another's place takes it. The lane writes, the scraper reads, nobody waits: a seqlock a place. */
#ifndef WEIR_AGGREGATE_EXEMPLARS_H
#define WEIR_AGGREGATE_EXEMPLARS_H
#include <stdbool.h>
#include <stdint.h>

struct weir_exemplars;
struct weir_exemplar {
    uint64_t trace_hi, trace_lo, span_id;
    uint64_t duration_ns; /* the span's */
    uint64_t unix_ns;     /* when it was kept */
};

struct weir_exemplars *weir_exemplars_new(void);            /* NULL: out of memory */
void weir_exemplars_free(struct weir_exemplars *exemplars); /* accepts NULL */
/* The bucket's own is replaced when it is a second old. Lane's thread. */
void weir_exemplars_put(struct weir_exemplars *exemplars, uint64_t series_hash, uint32_t bucket,
                        const struct weir_exemplar *exemplar);
bool weir_exemplars_get(const struct weir_exemplars *exemplars, uint64_t series_hash, uint32_t bucket,
                        struct weir_exemplar *exemplar); /* any thread */
#endif
