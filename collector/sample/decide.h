/* decide.h - one policy at work on one lane: rates, limits, dynamic rates. Holds what `keep:` itself cannot: the state
 * of windows. One thread. Time is given (monotonic ns), never read.
 *
 *   rate     T = that of the rate; kept when R >= T
 *   dynamic  T = that of the key's rate, worked out from the windows before: it hangs on no R of this one (dynamic.h)
 *   limit    bottom-k: the k traces with the largest R of a window, T' = max(T, the (k+1)-th largest R + 1) (limit.h);
 *            a trace that may be among them waits for the window's end
 * A trace that came thinned (T_in > 0) or with a prior is decided by its R as all are: its spans' weight is then
 * prior x 2^56 / (2^56 - max(T_in, T')), and estimates made from what is kept are unbiased.
 *
 * Source of bottom-k: design of priority sampling, Duffield, Lund, Thorup, "Priority sampling for estimation of
 * arbitrary subset sums" (2007): with the (k+1)-th as threshold the estimate is unbiased, with the k-th it is not. */
#ifndef WEIR_SAMPLE_DECIDE_H
#define WEIR_SAMPLE_DECIDE_H
#include "collector/sample/keep.h"

struct weir_decider;

enum weir_decision {
    WEIR_DECISION_KEPT,
    WEIR_DECISION_DROPPED,
    WEIR_DECISION_WAITS, /* resolved() will say, at the window's end at the latest */
};

struct weir_decider_env {
    const struct weir_keep *keep; /* outlives the decider */
    bool shadow;                  /* looks at shadow_passed */
    uint32_t lane, lanes;         /* its part of limits and goals; weir_trace_lane() is independent of R */
    /* The verdict on a trace that waited. `handle` is what was given. May be called inside decide(), for an earlier
     * trace that is pushed out, and inside tick() and flush(). Not for handle WEIR_HANDLE_NONE. */
    void (*resolved)(void *self, uint32_t handle, const struct weir_verdict *verdict);
    void *self;
};
enum { WEIR_HANDLE_NONE = 0xffffffff };

struct weir_decider *weir_decider_new(const struct weir_decider_env *env, uint64_t now_ns); /* NULL: out of memory */
/* *verdict is set on KEPT and DROPPED; rule and rule_name also on WAITS. Dry-run matches and traces by key are counted
 * here (weir_decider_counts). handle: the caller's name for the trace; at most k a limited rule wait at once. */
enum weir_decision weir_decider_decide(struct weir_decider *decider, const struct weir_trace *trace, uint32_t handle,
                                       uint64_t now_ns, struct weir_verdict *verdict);
/* Ends windows that are over. Every 50 to 100 ms. */
void weir_decider_tick(struct weir_decider *decider, uint64_t now_ns);
/* Ends all windows now: nothing waits behind it. */
void weir_decider_flush(struct weir_decider *decider, uint64_t now_ns);

/* What it counted, by rule (index WEIR_KEEP_RULES_MAX: none, +1: forced); only grows. */
struct weir_decider_counts {
    uint64_t matched[WEIR_KEEP_RULES_MAX + 2]; /* traces whose first match this rule is */
    uint64_t kept[WEIR_KEEP_RULES_MAX + 2];
    uint64_t dropped[WEIR_KEEP_RULES_MAX + 2]; /* by rate, limit or dynamic rate */
    uint64_t dry_matched[WEIR_KEEP_RULES_MAX];
    uint64_t dry_kept[WEIR_KEEP_RULES_MAX]; /* would have been kept by its rate; limits of a dry run are not run */
    uint64_t keys_overflowed;               /* traces that share the one key for all the rest */
    uint64_t keys;                          /* now, of all dynamic rules */
};
const struct weir_decider_counts *weir_decider_counts(const struct weir_decider *decider);
uint64_t weir_decider_memory(const struct weir_decider *decider); /* bytes */
void weir_decider_free(struct weir_decider *decider);             /* without resolving; accepts NULL */
#endif
