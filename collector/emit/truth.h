/* truth.h - the exact totals of what was played, also of what was not sent: what any estimate can be held against. */
#ifndef WEIR_EMIT_TRUTH_H
#define WEIR_EMIT_TRUTH_H
#include "collector/core/error.h"
#include "collector/emit/mesh.h"
#include "collector/emit/options.h"

enum { WEIR_EMIT_BOUNDS = 14 };
/* Upper bounds of the latency buckets, as Weir's own by default (aggregate.latency_buckets). */
extern const uint64_t weir_emit_bounds_ns[WEIR_EMIT_BOUNDS];

struct weir_emit_totals {
    uint64_t spans, errors, ns;
    uint64_t buckets[WEIR_EMIT_BOUNDS + 1]; /* each by itself, not cumulative; the last is beyond all bounds */
};
struct weir_emit_edge_totals {
    uint64_t requests, errors, client_ns, server_ns;
};

struct weir_emit_truth {
    const struct weir_emit_mesh *mesh;
    struct weir_emit_totals *operations;    /* one a mesh operation */
    struct weir_emit_edge_totals *edges;    /* one a mesh edge */
    uint64_t traces, spans;                 /* played */
    uint64_t sampled_traces, sampled_spans; /* of these, meant to be sent */
};

enum weir_status weir_emit_truth_init(struct weir_emit_truth *truth, const struct weir_emit_mesh *mesh,
                                      struct weir_error *err);
void weir_emit_truth_free(struct weir_emit_truth *truth);

static inline void weir_emit_truth_add(struct weir_emit_truth *truth, uint32_t operation, uint64_t ns, bool error) {
    struct weir_emit_totals *totals = &truth->operations[operation];
    uint32_t bucket = 0;
    for (uint32_t i = 0; i < WEIR_EMIT_BOUNDS; i++)
        bucket += ns > weir_emit_bounds_ns[i];
    totals->spans++;
    totals->errors += error;
    totals->ns += ns;
    totals->buckets[bucket]++;
}

/* Says nothing of time or of answers: the same seed writes the same bytes. WEIR_IO: err->text names the file. */
enum weir_status weir_emit_truth_write(const struct weir_emit_truth *truth, const struct weir_emit_options *options,
                                       struct weir_error *err);
#endif
