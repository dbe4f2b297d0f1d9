/* hold.c - between counting and the way out: with `keep:` spans wait in the tail buffer until their trace is decided.
 */
#include "collector/core/log.h"
#include "collector/lane/inside.h"

/* What a trace's root says: the rule, and how many it stands for now. */
static struct weir_otlp_mark mark_of(const struct lane *lane, const struct weir_verdict *verdict,
                                     const struct weir_span *span) {
    struct weir_otlp_mark mark = {.weight = weir_span_weight(span)};
    mark.rule = weir_names_text(lane->all->env.names, verdict->rule_name, &mark.rule_size);
    return mark;
}

static void meter_decided(const struct lane *lane, const struct weir_trace *trace, bool is_kept) {
    if (lane->meter != NULL && (trace->flags & WEIR_TRACE_ROOT))
        weir_meter_decided(lane->meter, trace->service, trace->operation, is_kept);
}

static void kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                 const struct weir_verdict *verdict, enum weir_cause cause) {
    struct lane *lane = self;
    struct weir_otlp_mark said = mark_of(lane, verdict, &spans->spans[mark]);
    uint64_t unix_ns = weir_unix_ns(lane->all->env.clock);
    WEIR_TALLY("decided", lane->row.decided, spans->span_count);
    meter_decided(lane, trace, true);
    for (uint32_t i = 0; i < spans->span_count; i++)
        weir_shard_exemplar(lane->shard, &spans->spans[i], unix_ns);
    for (uint32_t i = 0; i < spans->span_count; i++)
        weir_lane_keep(lane, spans, i, i == mark ? &said : NULL);
    weir_taps_offer(lane->all->env.taps, spans, mark, trace, verdict, cause);
    lane->row_changed = true;
}

static void dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause) {
    struct lane *lane = self;
    WEIR_TALLY("decided", lane->row.decided, trace->span_count);
    WEIR_TALLY("sampled_out_tail", lane->row.sampled_out[WEIR_STAGE_TAIL], trace->span_count);
    meter_decided(lane, trace, false);
    weir_taps_offer(lane->all->env.taps, spans, 0, trace, verdict, cause);
    lane->row_changed = true;
}

static void lost(void *self, const struct weir_trace *trace) {
    struct lane *lane = self;
    WEIR_TALLY("decided", lane->row.decided, trace->span_count);
    WEIR_TALLY("dropped_memory", lane->row.dropped[WEIR_DROP_MEMORY], trace->span_count);
    lane->row_changed = true;
}

/* A root that comes when its trace was decided says so as well. */
void weir_lane_keep_late(struct lane *lane, const struct weir_batch *batch, uint32_t i,
                         const struct weir_verdict *verdict) {
    const struct weir_span *span = &batch->spans[i];
    struct weir_otlp_mark said = mark_of(lane, verdict, span);
    bool marked = (span->flags & WEIR_SPAN_ROOT) != 0 && verdict->rule_name != WEIR_NAME_NONE;
    weir_lane_keep(lane, batch, i, marked ? &said : NULL);
}

void weir_lane_hold(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    if (lane->tail == NULL) {
        if (lane->exemplars_left > 0) { /* nothing decides: what is stored is what was not thinned out */
            lane->exemplars_left--;
            weir_shard_exemplar(lane->shard, &batch->spans[i], weir_unix_ns(lane->all->env.clock));
        }
        lane->unjournalled = lane->journal != NULL;
        weir_lane_keep(lane, batch, i, NULL);
        lane->unjournalled = false;
        return;
    }
    struct weir_verdict verdict;
    switch (weir_tail_take(lane->tail, batch, i, now_ns, &verdict)) {
    case WEIR_TAIL_HELD: WEIR_TALLY("tailed", lane->row.tailed, 1); break;
    case WEIR_TAIL_KEEP:
        lane->unjournalled = lane->journal != NULL;
        weir_lane_keep_late(lane, batch, i, &verdict);
        lane->unjournalled = false;
        break;
    case WEIR_TAIL_DROP: WEIR_TALLY("sampled_out_tail", lane->row.sampled_out[WEIR_STAGE_TAIL], 1); break;
    }
    if (lane->ready_count > 0) weir_lane_send_ready(lane);
}

static bool between(void *self) {
    struct lane *lane = self;
    return lane->ready_count > 0 && weir_lane_send_ready(lane);
}

static bool tells_proxies(const struct weir_policy *policy) {
    return policy != NULL && weir_policy_proxies(policy) != NULL;
}

void weir_lane_follow_policy(struct lane *lane) {
    struct weir_policy *policy = lane->snapshot.policy, *shadow = lane->snapshot.shadow;
    uint64_t now_ns = weir_loop_now(lane->loop);
    bool steers = tells_proxies(policy) || tells_proxies(lane->snapshot.canary);
    lane->meter = steers && lane->all->env.meters != NULL ? lane->all->env.meters[lane->index] : NULL;
    if (lane->tail != NULL) {
        weir_tail_reload(lane->tail, policy, shadow, now_ns);
        weir_lane_send_ready(lane);
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
                                      .lost = lost,
                                      .between = between,
                                      .journal = lane->journal != NULL ? weir_journal_lane_tail(lane->journal) : NULL};
    lane->tail = weir_tail_new(&env, policy, shadow, now_ns);
    if (lane->tail == NULL)
        weir_log(WEIR_LOG_ERROR, "tail_failed lane=%u reason=\"out of memory: every trace is kept\"", lane->index);
}

enum { EXEMPLARS_A_TICK = 256 };

void weir_lane_tick_tail(struct lane *lane) {
    lane->exemplars_left = EXEMPLARS_A_TICK;
    if (lane->tail == NULL) return;
    weir_tail_watch(lane->tail, weir_taps_dropped_wanted(lane->all->env.taps));
    weir_tail_tick(lane->tail, weir_loop_now(lane->loop));
    if (lane->journal == NULL) return;
    weir_lane_journal_decided(lane);
    weir_lane_send_ready(lane);
}

/* What is journalled waits for the next start: a trace is not judged by half of it because a process ends. */
void weir_lane_drain_tail(struct lane *lane) {
    if (lane->journal != NULL)
        weir_lane_journal_rest(lane);
    else if (lane->tail != NULL)
        weir_tail_drain(lane->tail, weir_loop_now(lane->loop));
}
