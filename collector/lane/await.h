/* await.h - where spans wait to be told what their trace stands for: whoever began a trace decided it, by the policy
 * that it follows (sample/steering.h), and only the trace's root says who that was, or at what rate it did.
 *
 *   a root    ─ tell ──> remembered by trace id; those that wait go on
 *   any other ─ offer ─> told before: goes on; else it waits, until the root comes or its patience is over
 *
 * A root waits only where its proxy may yet say what it follows: after a start, until it is connected again.
 *
 * What is remembered and what waits lies in weight_memory; beyond, the oldest goes on as it is. One thread. */
#ifndef WEIR_LANE_AWAIT_H
#define WEIR_LANE_AWAIT_H
#include "collector/config/config.h"
#include "collector/core/batch.h"
#include "collector/core/metrics.h"
#include "collector/sample/policy.h"

/* What a root says of its trace. */
struct weir_said_weight {
    double prior;
    bool by_id;                     /* whoever began it decided by its id: R has to be drawn (weir_span_draw) */
    enum weir_weight_source source; /* WEIR_WEIGHT_POLICY; _TRACE: the root carries it; _UNKNOWN: prior is 0 */
};

struct weir_await_env {
    struct weir_metrics *metrics;
    /* A span that waited goes on; `batch` and what it holds are good during the call. */
    void (*go_on)(void *self, struct weir_batch *batch, uint32_t i, const struct weir_said_weight *said);
    /* Of a root that waits: may there be more to know of it soon? */
    bool (*expected)(void *self, const struct weir_batch *batch, uint32_t i);
    void *self;
};

enum weir_await_verdict { WEIR_AWAIT_KNOWN, WEIR_AWAIT_WAITS };

struct weir_await;
struct weir_await *weir_await_new(const struct weir_await_env *env); /* NULL: out of memory */
void weir_await_free(struct weir_await *await);                      /* with what waits; accepts NULL */
/* A root of this trace, and what it says; where it says nothing nobody else will. Others go on during the call. */
void weir_await_tell(struct weir_await *await, const struct weir_weight_config *config, const struct weir_span *root,
                     const struct weir_said_weight *said, uint64_t now_ns);
/* WEIR_AWAIT_KNOWN: *said is what it stands for. WEIR_AWAIT_WAITS: it was copied. */
enum weir_await_verdict weir_await_offer(struct weir_await *await, const struct weir_weight_config *config,
                                         const struct weir_batch *batch, uint32_t i, uint64_t now_ns,
                                         struct weir_said_weight *said);
/* A root waits. False: there is no room for it. */
bool weir_await_hold_root(struct weir_await *await, const struct weir_weight_config *config,
                          const struct weir_batch *batch, uint32_t i, uint64_t now_ns);
/* Roots of which nothing more is expected go on. */
void weir_await_review(struct weir_await *await);
/* Asks for the memory that a call will look at, for a span that comes a few later. */
void weir_await_prefetch(const struct weir_await *await, const struct weir_span *span);
/* Those whose patience is over go on. */
void weir_await_tick(struct weir_await *await, const struct weir_weight_config *config, uint64_t now_ns);
void weir_await_drain(struct weir_await *await); /* all go on */
#endif
