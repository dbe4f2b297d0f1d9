/* tail_policy.c - generations: a trace is decided by the policy that was in force when its first span came. */
#include "collector/sample/tail_inside.h"

#include <string.h>

enum {
    DECISIONS_SHARE = 8,      /* an eighth of a lane's memory remembers decisions: 0008 */
    LANE_BYTES_MIN = 1 << 20, /* room for a few segments, whatever the file says */
    BODY_SHARE = 8,           /* what one span may take of a lane's memory */
};

void weir_generation_retire(struct weir_tail *tail, struct weir_generation *generation) {
    weir_generation_tell(tail, generation);
    weir_decider_free(generation->decider);
    weir_decider_free(generation->shadow);
    weir_policy_unref(generation->policy);
    weir_policy_unref(generation->shadow_policy);
    memset(generation, 0, sizeof *generation);
}

uint64_t weir_tail_rules_memory(const struct weir_tail *tail) {
    uint64_t bytes = 0;
    for (int g = 0; g < WEIR_GENERATIONS; g++) {
        const struct weir_generation *generation = &tail->generations[g];
        if (generation->decider != NULL) bytes += weir_decider_memory(generation->decider);
        if (generation->shadow != NULL) bytes += weir_decider_memory(generation->shadow);
    }
    return bytes;
}

static struct weir_generation *free_generation(struct weir_tail *tail) {
    for (int pass = 0; pass < 2; pass++) {
        for (int g = 0; g < WEIR_GENERATIONS; g++) {
            struct weir_generation *generation = &tail->generations[g];
            if (generation->policy != NULL && generation->traces == 0 && g != tail->current)
                weir_generation_retire(tail, generation);
            if (generation->policy == NULL) return generation;
        }
        weir_tail_drain(tail, tail->now_ns); /* so many reloads within one `wait` */
    }
    return NULL;
}

static struct weir_decider *new_decider(struct weir_tail *tail, const struct weir_keep *keep, bool shadow) {
    const struct weir_decider_env env = {.keep = keep,
                                         .shadow = shadow,
                                         .lane = tail->env.lane,
                                         .lanes = tail->env.lanes,
                                         .resolved = weir_tail_resolved,
                                         .self = tail};
    return weir_decider_new(&env, tail->now_ns);
}

static bool bound(struct weir_tail *tail, const struct weir_keep *keep) {
    uint64_t share = keep->memory_bytes / tail->env.lanes;
    if (share < LANE_BYTES_MIN) share = LANE_BYTES_MIN;
    if (tail->decisions == NULL)
        tail->decisions = weir_decisions_new(share / DECISIONS_SHARE, tail->env.lanes);
    else if (share != tail->limit_bytes && !weir_decisions_resize(tail->decisions, share / DECISIONS_SHARE))
        return false;
    if (tail->decisions == NULL) return false;
    tail->limit_bytes = share;
    tail->body_max = keep->trace_bytes_max < share / BODY_SHARE ? keep->trace_bytes_max : share / BODY_SHARE;
    tail->trace_spans_max = keep->trace_spans_max;
    tail->trace_bytes_max = keep->trace_bytes_max;
    tail->wait_ns = keep->wait_ns;
    tail->quiet_ns = keep->quiet_ns;
    weir_blocks_compress(tail->blocks, keep->compress);
    return true;
}

bool weir_tail_adopt(struct weir_tail *tail, struct weir_policy *policy, struct weir_policy *shadow) {
    const struct weir_keep *keep = weir_policy_keep_part(policy);
    if (keep == NULL) {
        tail->current = -1;
        return true;
    }
    struct weir_generation *generation = free_generation(tail);
    if (generation == NULL) return false;
    const struct weir_keep *shadow_keep = shadow != NULL ? weir_policy_keep_part(shadow) : NULL;
    struct weir_decider *decider = new_decider(tail, keep, false);
    struct weir_decider *shadow_decider = shadow_keep != NULL ? new_decider(tail, shadow_keep, true) : NULL;
    if (decider == NULL || (shadow_keep != NULL && shadow_decider == NULL) || !bound(tail, keep)) {
        weir_decider_free(decider);
        weir_decider_free(shadow_decider);
        return false;
    }
    *generation = (struct weir_generation){.policy = weir_policy_ref(policy),
                                           .shadow_policy = shadow != NULL ? weir_policy_ref(shadow) : NULL,
                                           .keep = keep,
                                           .shadow_keep = shadow_keep,
                                           .decider = decider,
                                           .shadow = shadow_decider};
    tail->current = (int)(generation - tail->generations);
    return true;
}
