/* trace.h - what is known of a trace while it is undecided: the facts that rules see, gathered span by span, so that a
 * decision reads no span again. One struct serves the tail buffer, `weir explain` and `weir replay`. */
#ifndef WEIR_SAMPLE_TRACE_H
#define WEIR_SAMPLE_TRACE_H
#include "collector/core/batch.h"
#include "collector/core/names.h"

#include <math.h>

enum { WEIR_TRACE_VALUES_MAX = 2 }; /* attributes that keys of dynamic rates are made of, a policy */

enum weir_trace_flag {
    WEIR_TRACE_ROOT = 1 << 0,    /* its root came (and so has ended) */
    WEIR_TRACE_FORCED = 1 << 1,  /* one of its spans is forced */
    WEIR_TRACE_ERROR = 1 << 2,   /* one of its spans is an error */
    WEIR_TRACE_SAMPLED = 1 << 3, /* one of its spans has the W3C sampled bit (Span.flags bit 0) */
    WEIR_TRACE_RV = 1 << 4,      /* `randomness` was said (`ot=rv`), not cut from the id */
};

struct weir_trace {
    uint64_t trace_hi, trace_lo;
    uint64_t randomness;       /* R, 56 bits */
    uint64_t passed;           /* bit i: a span passed test i of the policy (keep.h) */
    uint64_t shadow_passed;    /* the same for the shadow's */
    uint64_t start_ns, end_ns; /* earliest start, latest end; 0 = no span said */
    uint32_t span_count;
    uint32_t service, operation;            /* name ids, of the root; until it came, of the first span */
    uint32_t values[WEIR_TRACE_VALUES_MAX]; /* hash of an attribute's value, at the root or the first that has it; 0 =
                                               none */
    uint16_t http_status;                   /* of the root; until it came, of the first span */
    uint8_t flags;
    uint8_t thinned; /* what an upstream consistent sampler left out: see weir_trace_stands_for() */
};

/* `thinned` of a span's threshold: -log2(1 - T / 2^56), in eighths. A trace has the least of its spans. */
static inline uint8_t weir_trace_thinned(uint64_t threshold) {
    if (threshold == 0) return 0;
    double eighths = -8 * log2(1 - (double)threshold / (double)WEIR_THRESHOLD_MAX);
    return eighths < UINT8_MAX ? (uint8_t)lround(eighths) : UINT8_MAX;
}
/* How many traces this one stands for by the threshold that it came with, within 5 %: enough to plan by (dynamic.h).
 * Estimates are made from the spans' own thresholds. */
static inline double weir_trace_stands_for(const struct weir_trace *trace) {
    return trace->thinned == 0 ? 1 : exp2(trace->thinned / 8.0);
}

/* Why a trace was decided when it was. Label `cause`. */
enum weir_cause {
    WEIR_CAUSE_ROOT,   /* its root has ended and nothing came for `quiet` */
    WEIR_CAUSE_WAIT,   /* `wait` is over */
    WEIR_CAUSE_SIZE,   /* more spans or bytes than a trace may hold back */
    WEIR_CAUSE_MEMORY, /* `memory` was needed, and it was the oldest */
    WEIR_CAUSE_DRAIN,  /* the process ends */
    WEIR_CAUSES
};
extern const char *const weir_cause_names[WEIR_CAUSES];

/* Rules that no file names. */
enum { WEIR_RULE_NONE = 0xffff /* nothing matched: "none" */, WEIR_RULE_FORCED = 0xfffe /* "forced" */ };

/* What was decided. T is the threshold that the rule's rate, limit or dynamic rate asks for; a span that came thinned
 * more keeps its own. */
struct weir_verdict {
    bool kept;
    uint16_t rule;      /* index into the policy's rules, or one of the above */
    uint32_t rule_name; /* name id; WEIR_NAME_NONE for no name ("none" and "forced" are interned) */
    uint64_t threshold; /* in [0, 2^56] */
};

static inline uint64_t weir_trace_duration_ns(const struct weir_trace *trace) {
    return trace->end_ns > trace->start_ns ? trace->end_ns - trace->start_ns : 0;
}
#endif
