/* tail_inside.h - what tail.c (taking, deciding), tail_spans.c (reading back), tail_policy.c (generations of policies),
 * tail_explain.c and tail_metrics.c share. */
#ifndef WEIR_SAMPLE_TAIL_INSIDE_H
#define WEIR_SAMPLE_TAIL_INSIDE_H
#include "collector/core/clock.h"
#include "collector/decode/otlp_names.h"
#include "collector/sample/blocks.h"
#include "collector/sample/pending.h"
#include "collector/sample/tail.h"

enum weir_tail_metric {
    WEIR_TAIL_PENDING_TRACES,
    WEIR_TAIL_PENDING_SPANS,
    WEIR_TAIL_MEMORY_BLOCKS,
    WEIR_TAIL_MEMORY_TRACES,
    WEIR_TAIL_MEMORY_DECISIONS,
    WEIR_TAIL_MEMORY_RULES,
    WEIR_TAIL_MEMORY_LIMIT,
    WEIR_TAIL_BYTES_PER_SPAN,
    WEIR_TAIL_REWRITTEN,
    WEIR_TAIL_NO_ROOT,
    WEIR_TAIL_AGE,
    WEIR_TAIL_LATE_KEPT,
    WEIR_TAIL_LATE_DROPPED,
    WEIR_TAIL_LATE_WOULD,
    WEIR_TAIL_REMEMBERED_KEPT,
    WEIR_TAIL_REMEMBERED_DROPPED,
    WEIR_TAIL_FALSE_DROPS,
    WEIR_TAIL_KEYS,
    WEIR_TAIL_KEYS_OVERFLOWED,
    WEIR_TAIL_CAUSE_KEPT, /* [cause] */
    WEIR_TAIL_CAUSE_DROPPED = WEIR_TAIL_CAUSE_KEPT + WEIR_CAUSES,
    WEIR_TAIL_METRICS = WEIR_TAIL_CAUSE_DROPPED + WEIR_CAUSES
};

/* A policy, from the moment that it came into force until the last trace that began under it is decided. */
struct weir_generation {
    struct weir_policy *policy, *shadow_policy;
    const struct weir_keep *keep, *shadow_keep; /* shadow_keep may be NULL */
    struct weir_decider *decider, *shadow;
    struct weir_decider_counts told, shadow_told; /* what of their counts is on /metrics */
    uint32_t traces;
};

enum { WEIR_GENERATIONS = 16, WEIR_RULE_SETS_MAX = 512 };

struct weir_tail {
    struct weir_tail_env env;
    struct weir_blocks *blocks;
    struct weir_pendings pendings;
    struct weir_decisions *decisions;
    struct weir_generation generations[WEIR_GENERATIONS];
    int current;                    /* index of the policy in force; -1: it has no keep part */
    uint64_t wait_ns, quiet_ns;     /* of the latest policy that has them */
    uint64_t limit_bytes, body_max; /* this lane's share; what one span may take */
    uint32_t trace_spans_max;
    uint64_t trace_bytes_max;
    uint64_t began_ns, now_ns, spans;
    uint32_t marks; /* of blocks that one gathering has seen */
    uint32_t busy;  /* the slot that a span is being added to: not to be decided for room */
    uint32_t *follows, follow_count, follow_capacity;
    bool watched;
    bool under_way; /* a call that may write blocks: none of the others may be called within it */
    struct weir_otlp_names *walk;
    struct weir_metric_set *metrics;
    struct weir_rule_set {
        char policy[8];
        uint32_t rule_name;
        struct weir_metric_set *set;
    } * rule_sets;
    uint32_t rule_set_count;
};

/* The tail's own clock; differences are right although it comes round after 49 days. */
static inline uint32_t weir_tail_ms(const struct weir_tail *tail, uint64_t now_ns) {
    return (uint32_t)((now_ns - tail->began_ns) / WEIR_MS);
}

/* tail_policy.c: the policy in force from now on; false: out of memory, nothing changed. */
bool weir_tail_adopt(struct weir_tail *tail, struct weir_policy *policy, struct weir_policy *shadow);
void weir_generation_retire(struct weir_tail *tail,
                            struct weir_generation *generation); /* when it has no traces left */
uint64_t weir_tail_rules_memory(const struct weir_tail *tail);   /* windows of limits, keys of dynamic rates */
/* tail_metrics.c */
bool weir_tail_metrics_open(struct weir_tail *tail);
void weir_tail_metrics_tell(struct weir_tail *tail);
void weir_generation_tell(struct weir_tail *tail, struct weir_generation *generation);
void weir_tail_metrics_close(struct weir_tail *tail);
/* tail_spans.c: all spans of a pending trace, in the order in which they came. NULL: no memory for them. */
struct weir_batch *weir_tail_gather(struct weir_tail *tail, uint32_t slot);
/* tail.c: what a limit said of a trace that waited for it. */
void weir_tail_resolved(void *self, uint32_t slot, const struct weir_verdict *verdict);
#endif
