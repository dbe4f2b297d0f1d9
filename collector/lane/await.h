/* await.h - where spans wait to be told what their trace stands for: the proxy that began a trace decided it, by the
 * policy that it follows (sample/steering.h), and only the trace's root says which proxy that was.
 *
 *   a root    ─ tell ──> remembered by trace id; those that wait go on
 *   any other ─ offer ─> told before: goes on; else it waits, until the root comes or its patience is over
 *
 * What is remembered and what waits lies in weight_memory; beyond, the oldest goes on as it is. One thread. */
#ifndef WEIR_LANE_AWAIT_H
#define WEIR_LANE_AWAIT_H
#include "collector/config/config.h"
#include "collector/core/batch.h"
#include "collector/core/metrics.h"

struct weir_await_env {
    struct weir_metrics *metrics;
    /* A span that waited goes on; `batch` and what it holds are good during the call. prior: what its trace stands
     * for, by its root; 0: it is not known. */
    void (*go_on)(void *self, struct weir_batch *batch, uint32_t i, double prior);
    void *self;
};

enum weir_await_verdict { WEIR_AWAIT_KNOWN, WEIR_AWAIT_WAITS };

struct weir_await;
struct weir_await *weir_await_new(const struct weir_await_env *env); /* NULL: out of memory */
void weir_await_free(struct weir_await *await);                      /* with what waits; accepts NULL */
/* A root of this trace: prior as above, 0 = it does not say, and nobody else will. Others go on during the call. */
void weir_await_tell(struct weir_await *await, const struct weir_weight_config *config, const struct weir_span *root,
                     double prior, uint64_t now_ns);
/* WEIR_AWAIT_KNOWN: *prior is what it stands for, or 0. WEIR_AWAIT_WAITS: it was copied. */
enum weir_await_verdict weir_await_offer(struct weir_await *await, const struct weir_weight_config *config,
                                         const struct weir_batch *batch, uint32_t i, uint64_t now_ns, double *prior);
/* Those whose patience is over go on. */
void weir_await_tick(struct weir_await *await, const struct weir_weight_config *config, uint64_t now_ns);
void weir_await_drain(struct weir_await *await); /* all go on */
#endif
