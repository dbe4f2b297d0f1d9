/* hold.c - between counting and the way out: with `keep:` spans wait in the tail buffer until their trace is decided.
 */
#include "collector/core/log.h"
#include "collector/lane/inside.h"

static void kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                 const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)mark, (void)trace, (void)verdict, (void)cause;
    struct lane *lane = self;
    WEIR_TALLY("decided", lane->row.decided, spans->span_count);
    for (uint32_t i = 0; i < spans->span_count; i++)
        weir_lane_keep(lane, spans, i);
    lane->row_changed = true;
}

static void dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)spans, (void)verdict, (void)cause;
    struct lane *lane = self;
    WEIR_TALLY("decided", lane->row.decided, trace->span_count);
    WEIR_TALLY("sampled_out_tail", lane->row.sampled_out[WEIR_STAGE_TAIL], trace->span_count);
    lane->row_changed = true;
}

static void lost(void *self, const struct weir_trace *trace) {
    struct lane *lane = self;
    WEIR_TALLY("decided", lane->row.decided, trace->span_count);
    WEIR_TALLY("dropped_memory", lane->row.dropped[WEIR_DROP_MEMORY], trace->span_count);
    lane->row_changed = true;
}

void weir_lane_hold(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    if (lane->tail == NULL) {
        weir_lane_keep(lane, batch, i);
        return;
    }
    struct weir_verdict verdict;
    switch (weir_tail_take(lane->tail, batch, i, now_ns, &verdict)) {
    case WEIR_TAIL_HELD: WEIR_TALLY("tailed", lane->row.tailed, 1); break;
    case WEIR_TAIL_KEEP: weir_lane_keep(lane, batch, i); break;
    case WEIR_TAIL_DROP: WEIR_TALLY("sampled_out_tail", lane->row.sampled_out[WEIR_STAGE_TAIL], 1); break;
    }
}

void weir_lane_follow_policy(struct lane *lane) {
    struct weir_policy *policy = lane->snapshot.policy, *shadow = lane->snapshot.shadow;
    uint64_t now_ns = weir_loop_now(lane->loop);
    if (lane->tail != NULL) {
        weir_tail_reload(lane->tail, policy, shadow, now_ns);
        return;
    }
    if (weir_policy_keep_part(policy) == NULL) return;
    const struct weir_tail_env env = {.names = lane->all->env.names,
                                      .metrics = lane->all->env.metrics,
                                      .lane = lane->index,
                                      .lanes = lane->all->count,
                                      .self = lane,
                                      .kept = kept,
                                      .dropped = dropped,
                                      .lost = lost};
    lane->tail = weir_tail_new(&env, policy, shadow, now_ns);
    if (lane->tail == NULL)
        weir_log(WEIR_LOG_ERROR, "tail_failed lane=%u reason=\"out of memory: every trace is kept\"", lane->index);
}

void weir_lane_tick_tail(struct lane *lane) {
    if (lane->tail != NULL) weir_tail_tick(lane->tail, weir_loop_now(lane->loop));
}

void weir_lane_drain_tail(struct lane *lane) {
    if (lane->tail != NULL) weir_tail_drain(lane->tail, weir_loop_now(lane->loop));
}
