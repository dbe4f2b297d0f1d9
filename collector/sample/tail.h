/* tail.h - the tail buffer of one lane: spans wait here until their trace is decided.
 *
 *   span ─> facts (trace.h) + record in the hot block ─ full ─> cold block, compressed, in pages ─ decided ─┬─> kept()
 *                                                                                                           └─>
 * dropped()
 *
 * Blocks span traces. A trace knows in which blocks its spans are; a block is given back when none of its traces is
 * undecided. A dropped trace is never decompressed. Bounded: blocks, traces, their index and the decision memory stay
 * within the share of `memory`; when it is used up sparse blocks are rewritten, then the oldest traces are decided
 * (cause "memory"). Nothing is ever dropped undecided. One thread; time is given. Several may live on one lane. */
#ifndef WEIR_SAMPLE_TAIL_H
#define WEIR_SAMPLE_TAIL_H
#include "collector/core/budget.h"
#include "collector/core/metrics.h"
#include "collector/sample/decide.h"
#include "collector/sample/decisions.h"
#include "collector/sample/policy.h"

struct weir_tail;

struct weir_tail_env {
    struct weir_names *names;
    struct weir_metrics *metrics;
    uint32_t lane, lanes; /* its share of `memory`, limits and goals is one of `lanes` */
    void *self;
    /* A trace is kept. spans[0 .. span_count) of `spans` are all that came of it (views whole, threshold raised and
     * flagged), in a batch of the tail's that is good during the call; spans[mark] is its root, or the first span. */
    void (*kept)(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                 const struct weir_verdict *verdict, enum weir_cause cause);
    /* A trace is left out, all span_count spans of it. `spans` is NULL unless weir_tail_watch() is on. */
    void (*dropped)(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause);
    /* A trace is kept and there is no memory to read it back: all its spans are lost. */
    void (*lost)(void *self, const struct weir_trace *trace);
    /* Where undecided spans are journalled (journal.h); NULL = nowhere. Called when a block is sealed, and when one is
     * not needed any more. */
    const struct weir_tail_journal *journal;
    /* Between two decisions of weir_tail_tick(): here weir_tail_seal() may be called, in the callbacks above it may
     * not. True: it was, and has perhaps decided more traces. NULL: never. */
    bool (*between)(void *self);
};

struct weir_tail_journal {
    void *self;
    /* A cold block: `bytes` are a record of the journal, self-contained (origins and bodies). Returns the token that
     * release() gets when all its traces are decided. */
    uint64_t (*sealed)(void *self, const uint8_t *bytes, size_t size, uint32_t span_count);
    void (*release)(void *self, uint64_t token);
    /* A decision that was taken, before its effect leaves. token: of the trace's oldest block. */
    void (*decided)(void *self, const struct weir_trace *trace, const struct weir_verdict *verdict);
};

/* NULL: out of memory. The policy is referenced; it has a keep part. `shadow` may be NULL, or has one. */
struct weir_tail *weir_tail_new(const struct weir_tail_env *env, struct weir_policy *policy, struct weir_policy *shadow,
                                uint64_t now_ns);
/* Another policy from the next trace on: a trace is decided by the policy that was in force when its first span came.
 * Decision memory and bounds change at once. policy without keep part: what waits is decided by its own, and new
 * traces are answered WEIR_TAIL_KEEP. */
void weir_tail_reload(struct weir_tail *tail, struct weir_policy *policy, struct weir_policy *shadow, uint64_t now_ns);

enum weir_tail_answer {
    WEIR_TAIL_HELD, /* taken; kept(), dropped() or lost() will say, perhaps during this very call */
    WEIR_TAIL_KEEP, /* late, of a kept trace: the caller passes it on; its threshold is raised; *verdict says by what */
    WEIR_TAIL_DROP, /* late, of a dropped trace, or of a kept one that its higher T leaves out: the caller counts it */
};
enum weir_tail_answer weir_tail_take(struct weir_tail *tail, struct weir_batch *batch, uint32_t i, uint64_t now_ns,
                                     struct weir_verdict *verdict);
/* Asks for the memory that weir_tail_take() will look at, for a span that comes a few later: first far, then near. */
void weir_tail_prefetch(const struct weir_tail *tail, const struct weir_span *span, bool near);
void weir_tail_tick(struct weir_tail *tail, uint64_t now_ns);  /* every 50 to 100 ms: decides what is due */
void weir_tail_drain(struct weir_tail *tail, uint64_t now_ns); /* decides all, cause "drain" */
void weir_tail_watch(struct weir_tail *tail, bool dropped_too);
/* Seals the hot blocks, so that all that was taken is with the journal. Makes room for them if need be, as
 * weir_tail_take() does: traces may be decided. False: there was no room for one, and what is in it is not; or a call
 * of this tail is under way, and it has to wait until that has returned. */
bool weir_tail_seal(struct weir_tail *tail);
bool weir_tail_under_way(const struct weir_tail *tail); /* are we in a callback of it? */

uint64_t weir_tail_held(const struct weir_tail *tail);              /* spans */
uint64_t weir_tail_pending(const struct weir_tail *tail);           /* traces */
uint64_t weir_tail_memory(const struct weir_tail *tail);            /* bytes in use, decision memory included */
struct weir_decisions *weir_tail_decisions(struct weir_tail *tail); /* for saving and loading */
/* Says why, for a trace that waits here or was decided: rule by rule (keep.h). False: not known here. */
bool weir_tail_explain(const struct weir_tail *tail, uint64_t trace_hi, uint64_t trace_lo, uint64_t now_ns,
                       struct weir_buffer *out);
/* A journal's record, read back: every span of it is handed to `span` with its view (status as it was judged, changed
 * priors and thresholds flagged), in a batch that is good during the call. WEIR_INVALID: not a sound record. */
enum weir_status weir_tail_read_record(const uint8_t *bytes, size_t size, struct weir_names *names,
                                       void (*span)(void *self, struct weir_batch *batch, uint32_t i), void *self,
                                       struct weir_error *err);
void weir_tail_free(struct weir_tail *tail); /* accepts NULL; what waits is lost: drain before */
#endif
