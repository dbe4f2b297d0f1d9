/* join.h - where spans of Scribe wait for what belongs to them: a part for the rest of its span, a span for the rate at
 * which its trace was sampled, which only the span that decided the trace carries (Finagle's zipkin.sampling_rate).
 *
 *   on the trace's own lane:   take ─> offer ─┬─ goes on ──────────────────────> series, sampling, export
 *                                             ├─ waits ─> held ─ go_on() ──────>
 *                                             └─ merged: it is part of one that waits or went on
 *
 * A span is a part while it has no end. Parts of one span have its trace, id and kind; one whose kind is not said fits
 * any. What was remembered and what waits lies in memory_bytes; beyond, the oldest goes on as it is. One thread. */
#ifndef WEIR_LANE_JOIN_H
#define WEIR_LANE_JOIN_H
#include "collector/config/config.h"
#include "collector/core/batch.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"

struct weir_join_env {
    struct weir_names *names;
    struct weir_metrics *metrics;
    /* A span that waited goes on; `batch` and what it holds are good during the call. The trace's rate, where it is
     * known, is in the view, with WEIR_SPAN_PRIOR_CHANGED. */
    void (*go_on)(void *self, struct weir_batch *batch, uint32_t i);
    void *self;
};

enum weir_join_verdict { WEIR_JOIN_GOES_ON, WEIR_JOIN_WAITS, WEIR_JOIN_MERGED };

struct weir_join;
struct weir_join *weir_join_new(const struct weir_join_env *env); /* NULL: out of memory */
void weir_join_free(struct weir_join *join);                      /* with what waits; accepts NULL */
/* A span of the receivers scribe or zipkin; those of zipkin never wait, but tell and take their trace's rate. Others
 * may go on during the call. WEIR_JOIN_GOES_ON: with the view as it is now (WEIR_SPAN_UNCOUNTED: it is the rest of one
 * that went on). WEIR_JOIN_WAITS: it was copied. WEIR_JOIN_MERGED: there is nothing left of it. */
enum weir_join_verdict weir_join_offer(struct weir_join *join, const struct weir_scribe_config *config,
                                       const struct weir_batch *batch, uint32_t i, uint64_t now_ns);
/* Those whose patience is over go on. */
void weir_join_tick(struct weir_join *join, const struct weir_scribe_config *config, uint64_t now_ns);
/* All go on. */
void weir_join_drain(struct weir_join *join, uint64_t now_ns);
#endif
