/* weigh.c - what a span stands for, where another span of its trace says it. In this order (docs/sampling.md):
 *
 *   on the lane that it came to     carried, declared                             weir_lane_weigh_early()
 *   on its trace's own lane         a rate that the trace recorded (Scribe)       join.h
 *                                   the policy, which the proxy that began the    await.h
 *                                   trace follows (sample/steering.h)
 *
 * Where nobody follows, the last does not happen. */
#include "collector/decode/otlp_node.h"
#include "collector/lane/inside.h"
#include "collector/sample/steering.h"

#define SOURCE(text)                                                                                                   \
    { "spans_weight_source_total", "source=\"" text "\"", WEIR_COUNTER, "Where the weight of a span came from." }
static const struct weir_metric metrics[WEIR_WEIGHT_SOURCES] = {
    [WEIR_WEIGHT_CARRIED] = SOURCE("carried"),   [WEIR_WEIGHT_TRACE] = SOURCE("trace"),
    [WEIR_WEIGHT_DECLARED] = SOURCE("declared"), [WEIR_WEIGHT_POLICY] = SOURCE("policy"),
    [WEIR_WEIGHT_UNKNOWN] = SOURCE("unknown"),
};

enum { PREFETCH_FAR = 16 }; /* spans ahead */

bool weir_lane_follows(const struct lane *lane) {
    return lane->await != NULL && weir_steering_followed(lane->all->env.steering);
}

bool weir_lane_joins(const struct lane *lane, uint32_t receiver) {
    return lane->join != NULL && (receiver == WEIR_RECEIVER_SCRIBE || receiver == WEIR_RECEIVER_ZIPKIN);
}

static bool may_be_by_policy(const struct weir_span *span) {
    /* One that was forced passed the sampler by. */
    return (span->flags & WEIR_SPAN_FORCED) == 0;
}

void weir_lane_weigh_early(struct lane *lane, const char *receiver, bool follows, struct weir_span *span) {
    enum weir_weight_source source = weir_policy_weigh(lane->snapshot.policy, receiver, span);
    if (source == WEIR_WEIGHT_UNKNOWN && follows && may_be_by_policy(span))
        span->flags |= WEIR_SPAN_UNWEIGHED; /* counted when it is known */
    else
        weir_count(lane->weights, source, 1);
}

/* ---- by the policy ---- */

static void settle(struct lane *lane, struct weir_span *span, const struct weir_said_weight *said) {
    span->flags &= (uint16_t)~WEIR_SPAN_UNWEIGHED;
    weir_count(lane->weights, said->source, 1);
    if (said->by_id) weir_span_draw(span);
    if (!(said->prior > 1)) return;
    span->prior = said->prior;
    span->flags |= WEIR_SPAN_PRIOR_CHANGED;
}

/* 1/p of the sampler that let this root through, where somebody is known to have decided it by the policy. */
static struct weir_said_weight said_by_root(const struct lane *lane, const struct weir_batch *batch, uint32_t i) {
    const struct weir_span *span = &batch->spans[i];
    struct weir_said_weight said = {.source = WEIR_WEIGHT_UNKNOWN};
    struct weir_otlp_node node;
    if (!may_be_by_policy(span)) return said;
    weir_otlp_node(batch->bytes + span->offset, span->size, &node);
    if (node.asked_for) return said;
    said.prior = weir_steering_prior(lane->all->env.steering, span->service, span->operation, node.id, node.id_size,
                                     span->start_ns);
    if (!(said.prior > 0)) return said;
    said.source = WEIR_WEIGHT_POLICY;
    said.by_id = node.id == NULL; /* clients that poll: OpenTelemetry's TraceIdRatioBased, and Jaeger's before it */
    return said;
}

static bool is_expected(void *self, const struct weir_batch *batch, uint32_t i) {
    const struct lane *lane = self;
    const struct weir_span *span = &batch->spans[i];
    struct weir_otlp_node node;
    weir_otlp_node(batch->bytes + span->offset, span->size, &node);
    return node.id != NULL && !node.asked_for && weir_steering_expects(lane->all->env.steering, node.id, node.id_size);
}

/* The root is weighed, and those of its trace that waited for it go on. */
static void weigh_root(struct lane *lane, struct weir_batch *batch, uint32_t i, bool may_wait, uint64_t now_ns) {
    struct weir_span *span = &batch->spans[i];
    /* What was declared is of its service, and a threshold of its tracestate: they say nothing of other spans. */
    struct weir_said_weight said = {.source = WEIR_WEIGHT_UNKNOWN};
    if (span->flags & WEIR_SPAN_PRIOR) {
        said = (struct weir_said_weight){span->prior, (span->flags & WEIR_SPAN_RV_CHANGED) != 0, WEIR_WEIGHT_TRACE};
    } else if (span->flags & WEIR_SPAN_BY_POLICY) {
        said = (struct weir_said_weight){span->prior, false, WEIR_WEIGHT_POLICY};
    } else if (span->flags & WEIR_SPAN_UNWEIGHED) {
        said = said_by_root(lane, batch, i);
        if (said.source == WEIR_WEIGHT_UNKNOWN && may_wait && is_expected(lane, batch, i)) return;
        settle(lane, span, &said);
    }
    weir_await_tell(lane->await, &lane->snapshot.config->sampling.weight, span, &said, now_ns);
}

void weir_lane_weigh_roots(struct lane *lane, struct weir_batch *batch, uint32_t first, uint32_t count,
                           uint64_t now_ns) {
    for (uint32_t i = first; i < first + count; i++) {
        const struct weir_span *span = &batch->spans[i];
        if (i + PREFETCH_FAR < first + count) weir_await_prefetch(lane->await, &batch->spans[i + PREFETCH_FAR]);
        if ((span->flags & WEIR_SPAN_ROOT) && !weir_lane_joins(lane, span->receiver))
            weigh_root(lane, batch, i, true, now_ns);
    }
}

bool weir_lane_weigh(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    struct weir_span *span = &batch->spans[i];
    const struct weir_weight_config *config = &lane->snapshot.config->sampling.weight;
    struct weir_said_weight said = {.source = WEIR_WEIGHT_UNKNOWN};
    bool follows = weir_lane_follows(lane), is_root = (span->flags & WEIR_SPAN_ROOT) != 0, waits = false;
    if (follows && is_root) /* its proxy is expected */
        waits = weir_await_hold_root(lane->await, config, batch, i, now_ns);
    else if (follows)
        waits = weir_await_offer(lane->await, config, batch, i, now_ns, &said) == WEIR_AWAIT_WAITS;
    if (waits)
        WEIR_TALLY("awaited", lane->row.joined, 1);
    else if (follows && is_root)
        weigh_root(lane, batch, i, false, now_ns);
    else
        settle(lane, span, &said);
    return !waits;
}

static void told(void *self, struct weir_batch *batch, uint32_t i, const struct weir_said_weight *said) {
    struct lane *lane = self;
    WEIR_TALLY("told", lane->row.released, 1);
    if (batch->spans[i].flags & WEIR_SPAN_ROOT)
        weigh_root(lane, batch, i, false, weir_loop_now(lane->loop));
    else
        settle(lane, &batch->spans[i], said);
    weir_lane_pass(lane, batch, i, weir_loop_now(lane->loop));
    lane->row_changed = true;
}

/* ---- by what the trace recorded ---- */

/* Where the weight may hang on another span of the trace it is known only here: see join.h. True: it went on. */
static bool pass_joined(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    struct weir_span *span = &batch->spans[i];
    bool follows = weir_lane_follows(lane);
    if (span->flags & WEIR_SPAN_PRIOR_CHANGED)
        weir_count(lane->weights, WEIR_WEIGHT_TRACE, 1);
    else
        weir_lane_weigh_early(lane, weir_receiver_names[span->receiver], follows, span);
    if (follows && (span->flags & WEIR_SPAN_ROOT)) weigh_root(lane, batch, i, true, now_ns);
    if ((span->flags & WEIR_SPAN_UNWEIGHED) && !weir_lane_weigh(lane, batch, i, now_ns)) return false;
    weir_lane_pass(lane, batch, i, now_ns);
    return true;
}

static void joined(void *self, struct weir_batch *batch, uint32_t i) {
    struct lane *lane = self;
    WEIR_TALLY("released", lane->row.released, 1);
    pass_joined(lane, batch, i, weir_loop_now(lane->loop)); /* its sender was answered when it began to wait */
    lane->row_changed = true;
}

void weir_lane_take_joined(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    switch (weir_join_offer(lane->join, &lane->snapshot.config->scribe, batch, i, now_ns)) {
    case WEIR_JOIN_GOES_ON:
        if (!pass_joined(lane, batch, i, now_ns)) lane->past_journal = true;
        break;
    case WEIR_JOIN_WAITS:
        lane->past_journal = true;
        WEIR_TALLY("joined", lane->row.joined, 1);
        break;
    case WEIR_JOIN_MERGED: WEIR_TALLY("dropped_merged", lane->row.dropped[WEIR_DROP_MERGED], 1); break;
    }
}

/* ---- from the lane's beginning to its end ---- */

enum weir_status weir_lane_open_weights(struct lane *lane, struct weir_error *err) {
    const struct weir_lanes_env *env = &lane->all->env;
    bool made = true;
    lane->weights = weir_metrics_open(env->metrics, metrics, WEIR_WEIGHT_SOURCES, NULL);
    if (lane->snapshot.config->scribe.listen.on) {
        lane->join = weir_join_new(
            &(struct weir_join_env){.names = env->names, .metrics = env->metrics, .go_on = joined, .self = lane});
        made = lane->join != NULL;
    }
    if (env->steering != NULL) {
        lane->await = weir_await_new(
            &(struct weir_await_env){.metrics = env->metrics, .go_on = told, .expected = is_expected, .self = lane});
        made = made && lane->await != NULL;
    }
    if (made && lane->weights != NULL) return WEIR_OK;
    return weir_fail(err, WEIR_FULL, 0, false, "lane %u: out of memory", lane->index);
}

void weir_lane_tick_weights(struct lane *lane) {
    const struct weir_config *config = lane->snapshot.config;
    uint64_t now_ns = weir_loop_now(lane->loop);
    if (lane->join != NULL) weir_join_tick(lane->join, &config->scribe, now_ns);
    if (lane->await == NULL) return;
    uint32_t arrivals = weir_steering_arrivals(lane->all->env.steering);
    if (arrivals != lane->arrivals) weir_await_review(lane->await);
    lane->arrivals = arrivals;
    weir_await_tick(lane->await, &config->sampling.weight, now_ns);
}

/* What waited for its rest may then wait for its root. */
void weir_lane_drain_weights(struct lane *lane) {
    if (lane->join != NULL) weir_join_drain(lane->join, weir_loop_now(lane->loop));
    if (lane->await != NULL) weir_await_drain(lane->await);
}

void weir_lane_close_weights(struct lane *lane) {
    weir_metrics_close(lane->all->env.metrics, lane->weights);
    weir_join_free(lane->join);
    weir_await_free(lane->await);
}
