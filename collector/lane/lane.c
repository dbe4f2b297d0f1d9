#include "collector/attributes/rules.h"
#include "collector/core/receipt.h"
#include "collector/lane/inside.h"
#include "collector/lane/overload.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANE_BUSY, LANE_SPANS_FOREIGN, LANE_SPANS_ROOTLESS, LANE_METRICS };
static const struct weir_metric lane_metrics[LANE_METRICS] = {
    [LANE_BUSY] = {"lane_busy_seconds_total", NULL, WEIR_COUNTER_NS, "Time that the lane's thread did not sleep."},
    [LANE_SPANS_FOREIGN] = {"lane_foreign_spans_total", NULL, WEIR_COUNTER,
                            "Spans that arrived here and belong to another lane."},
    [LANE_SPANS_ROOTLESS] = {"lane_rootless_spans_total", NULL, WEIR_COUNTER,
                             "Spans whose trace's root never came, while a policy tells proxies something: no "
                             "operation's budget has them."},
};
void weir_lane_pass(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    struct weir_span *span = &batch->spans[i];
    const struct weir_rules *rules = lane->snapshot.config->rules;
    /* Here, and once: parts of a span may have become one since it came. Tail rules ask for success also where nothing
     * is counted. */
    if (weir_rules_judges(rules)) weir_rules_judge(rules, lane->all->env.names, batch->bytes + span->offset, span);
    weir_shard_span(lane->shard, span, now_ns);
    if (lane->meter != NULL) weir_meter_span(lane->meter, span, now_ns);
    if (weir_policy_keeps_all(lane->snapshot.policy) || weir_policy_keep(lane->snapshot.policy, span)) {
        weir_lane_hold(lane, batch, i, now_ns);
    } else {
        WEIR_TALLY("sampled_out_collector", lane->row.sampled_out[WEIR_STAGE_COLLECTOR], 1);
    }
}

enum { PREFETCH_FAR = 12, PREFETCH_NEAR = 5 }; /* spans ahead */

static inline void prefetch(const struct lane *lane, const struct weir_span *span, bool near) {
    weir_shard_edge_prefetch(lane->shard, span, near);
    if (lane->tail != NULL) weir_tail_prefetch(lane->tail, span, near);
    if (lane->meter != NULL && !near) weir_meter_prefetch(lane->meter, span);
}

/* spans[first .. first+count) belong here. The views are this lane's alone. */
static void take(struct lane *lane, struct weir_batch *batch, uint32_t first, uint32_t count) {
    uint64_t now_ns = weir_loop_now(lane->loop);
    uint32_t end = first + count;
    if (weir_lane_follows(lane)) weir_lane_weigh_roots(lane, batch, first, count, now_ns);
    for (uint32_t i = first; i < end && i < first + PREFETCH_FAR; i++)
        prefetch(lane, &batch->spans[i], false);
    for (uint32_t i = first; i < end && i < first + PREFETCH_NEAR; i++)
        prefetch(lane, &batch->spans[i], true);
    for (uint32_t i = first; i < end; i++) {
        if (i + PREFETCH_FAR < end) prefetch(lane, &batch->spans[i + PREFETCH_FAR], false);
        if (i + PREFETCH_NEAR < end) prefetch(lane, &batch->spans[i + PREFETCH_NEAR], true);
        if (weir_lane_joins(lane, batch->spans[i].receiver)) {
            weir_lane_take_joined(lane, batch, i, now_ns);
        } else if ((batch->spans[i].flags & WEIR_SPAN_UNWEIGHED) && !weir_lane_weigh(lane, batch, i, now_ns)) {
            lane->past_journal = true;
        } else {
            weir_lane_pass(lane, batch, i, now_ns);
        }
    }
    lane->row_changed = true;
}

static bool take_point(struct lane *lane, uint32_t receiver, const struct weir_point *point) {
    enum weir_point_refusal reason;
    switch (weir_shard_point(lane->shard, point, weir_loop_now(lane->loop))) {
    case WEIR_POINT_TAKEN: return true;
    case WEIR_POINT_REFUSED_STALE: reason = WEIR_POINT_STALE; break;
    case WEIR_POINT_REFUSED_FULL: reason = WEIR_POINT_FULL; break;
    default: reason = WEIR_POINT_CONFLICT; break;
    }
    WEIR_TALLY("points_rejected", lane->row.points_rejected[receiver][reason], 1);
    return false;
}

/* ---- from lane to lane ---- */

enum { PARCELS_A_ROUND = 64 }; /* of one ring: a lane that many others feed still has its own connections to serve */

static void poke(struct crossing *crossing) {
    if (!atomic_exchange_explicit(&crossing->poked, true, memory_order_acq_rel)) {
        weir_mailbox_post(weir_loop_mailbox(crossing->to->loop), &crossing->poke);
    }
}

static void take_parcel(struct lane *lane, const struct weir_parcel *parcel) {
    if (parcel->batch != NULL) {
        WEIR_TALLY("taken_over", lane->row.taken_over, parcel->count);
        take(lane, parcel->batch, parcel->first, parcel->count);
        weir_lane_acknowledge(lane, parcel->batch->receipt);
        weir_batch_unref(parcel->batch);
    } else {
        struct weir_point point;
        struct weir_point_data data;
        for (size_t at = 0; weir_points_next(parcel->points, &at, &point, &data);)
            take_point(lane, parcel->points->receiver, &point);
        WEIR_TALLY("points_taken_over", lane->row.points_taken_over, parcel->points->count);
        weir_points_free(parcel->points);
    }
    lane->row_changed = true;
}

static void poked(struct weir_mail *mail) {
    struct crossing *crossing = (struct crossing *)mail;
    /* Reads what the producer's exchange wrote, and so sees its push; what is pushed from here on pokes again. */
    atomic_exchange_explicit(&crossing->poked, false, memory_order_acq_rel);
    struct weir_parcel parcel;
    for (int n = 0; n < PARCELS_A_ROUND; n++) {
        if (!weir_ring_pop(&crossing->ring, &parcel)) return;
        take_parcel(crossing->to, &parcel);
    }
    poke(crossing); /* a letter to itself: first its own connections, timers and the other rings */
}

void weir_lane_flush_points(struct lane *lane) {
    for (uint32_t to = 0; to < lane->all->count; to++) {
        struct crossing *crossing = crossing_of(lane, to);
        if (crossing == NULL) continue;
        for (uint32_t r = 0; r < WEIR_RECEIVERS; r++) {
            struct weir_points *points = crossing->points[r];
            if (points == NULL || !weir_ring_room(&crossing->ring)) continue;
            crossing->points[r] = NULL;
            weir_ring_push(&crossing->ring, (struct weir_parcel){.points = points});
            poke(crossing);
        }
    }
}

/* ---- the sink: what this lane's receivers call ---- */

enum {
    SCRATCH_KEPT = 8192
}; /* spans; a larger request has its scratch drawn from the intake, for as long as it is sorted */

static size_t scratch_bytes(uint32_t count) {
    return count * (sizeof(struct weir_span) + sizeof(uint8_t));
}

static void scratch_free(struct lane *lane) {
    if (lane->scratch_count > SCRATCH_KEPT)
        weir_budget_release(lane->all->env.intake, scratch_bytes(lane->scratch_count));
    free(lane->scratch);
    free(lane->targets);
    lane->scratch = NULL;
    lane->targets = NULL;
    lane->scratch_count = 0;
}

static bool scratch_room(struct lane *lane, uint32_t count) {
    if (lane->scratch != NULL && count <= lane->scratch_count) return true;
    scratch_free(lane);
    if (count < SCRATCH_KEPT) count = SCRATCH_KEPT;
    if (count > SCRATCH_KEPT && !weir_budget_reserve(lane->all->env.intake, scratch_bytes(count))) return false;
    lane->scratch_count = count;
    lane->scratch = malloc(count * sizeof *lane->scratch);
    lane->targets = malloc(count * sizeof *lane->targets);
    if (lane->scratch != NULL && lane->targets != NULL) return true;
    scratch_free(lane);
    return false;
}

/* Weight and overload: true = the span goes on. */
static bool admit_span(struct lane *lane, const char *receiver, bool follows, uint64_t overload,
                       struct weir_span *span) {
    bool goes_on = overload == 0 || weir_threshold_raise(span, overload);
    if (!weir_lane_joins(lane, span->receiver)) weir_lane_weigh_early(lane, receiver, follows && goes_on, span);
    return goes_on;
}

/* Sorts the request's views by the lane that they belong to; those that overload leaves out come last and are cut off.
 * starts[n] .. starts[n+1] is lane n's share. */
static void partition(struct lane *lane, const char *receiver, uint64_t overload, struct weir_batch *batch,
                      uint32_t *starts) {
    uint32_t lanes = lane->all->count, counts[WEIR_LANES_MAX + 1] = {0};
    bool follows = weir_lane_follows(lane);
    for (uint32_t i = 0; i < batch->span_count; i++) {
        struct weir_span *span = &batch->spans[i];
        bool goes_on = admit_span(lane, receiver, follows, overload, span);
        uint32_t target = goes_on ? weir_trace_lane(span->trace_lo, lanes) : lanes;
        lane->targets[i] = (uint8_t)target;
        counts[target]++;
    }
    starts[0] = 0;
    for (uint32_t n = 0; n < lanes; n++)
        starts[n + 1] = starts[n] + counts[n];
    if (counts[lane->index] == batch->span_count) return; /* all our own: they stay where they are */
    uint32_t next[WEIR_LANES_MAX + 1];
    memcpy(next, starts, (lanes + 1) * sizeof next[0]);
    memcpy(lane->scratch, batch->spans, batch->span_count * sizeof batch->spans[0]);
    for (uint32_t i = 0; i < batch->span_count; i++)
        batch->spans[next[lane->targets[i]]++] = lane->scratch[i];
}

static bool rings_have_room(const struct lane *lane) {
    for (uint32_t to = 0; to < lane->all->count; to++) {
        struct crossing *crossing = crossing_of(lane, to);
        if (crossing != NULL && !weir_ring_room(&crossing->ring)) return false;
    }
    return true;
}

static void sink_refused(void *self, enum weir_receiver_id receiver, enum weir_refusal reason, uint64_t count) {
    struct lane *lane = self;
    WEIR_TALLY("refused", lane->row.refused[receiver][reason], count);
    lane->row_changed = true;
}

static enum weir_status sink_spans(void *self, enum weir_receiver_id receiver, struct weir_batch **request) {
    struct lane *lane = self;
    struct weir_batch *batch = *request;
    uint32_t lanes = lane->all->count, starts[WEIR_LANES_MAX + 1] = {0};
    uint64_t overload = weir_overload_threshold(lane->all->env.intake); /* before the scratch */
    if (lane->stopping || !rings_have_room(lane) || !scratch_room(lane, batch->span_count)) {
        sink_refused(lane, receiver, lane->stopping ? WEIR_REFUSED_CLOSING : WEIR_REFUSED_MEMORY, batch->span_count);
        return WEIR_FULL;
    }
    *request = NULL; /* from here on nothing can refuse */
    WEIR_TALLY("received", lane->row.received[receiver], batch->span_count);
    partition(lane, weir_receiver_names[receiver], overload, batch, starts);
    if (lane->scratch_count > SCRATCH_KEPT) scratch_free(lane);
    WEIR_TALLY("sampled_out_overload", lane->row.sampled_out[WEIR_STAGE_OVERLOAD], batch->span_count - starts[lanes]);

    for (uint32_t to = 0; to < lanes; to++) {
        uint32_t count = starts[to + 1] - starts[to];
        if (to == lane->index || count == 0) continue;
        struct crossing *crossing = crossing_of(lane, to);
        if (batch->receipt != NULL) weir_receipt_add(batch->receipt, 1);
        WEIR_TALLY("handed_over", lane->row.handed_over, count);
        weir_count(lane->metrics, LANE_SPANS_FOREIGN, count);
        weir_ring_push(&crossing->ring,
                       (struct weir_parcel){.batch = weir_batch_ref(batch), .first = starts[to], .count = count});
        poke(crossing);
    }
    take(lane, batch, starts[lane->index], starts[lane->index + 1] - starts[lane->index]);
    weir_lane_acknowledge(lane, batch->receipt);
    weir_batch_unref(batch);
    lane->row_changed = true;
    return WEIR_OK;
}

static void sink_points_rejected(void *self, enum weir_receiver_id receiver, enum weir_point_refusal reason,
                                 uint64_t count) {
    struct lane *lane = self;
    WEIR_TALLY("points_rejected", lane->row.points_rejected[receiver][reason], count);
    lane->row_changed = true;
}

static bool sink_point(void *self, enum weir_receiver_id receiver, const struct weir_point *point) {
    struct lane *lane = self;
    WEIR_TALLY("points_received", lane->row.points_received[receiver], 1);
    lane->row_changed = true;
    uint32_t owner = weir_point_owned(point) ? weir_trace_lane(point->hash, lane->all->count) : lane->index;
    if (owner == lane->index) return take_point(lane, receiver, point);

    struct crossing *crossing = crossing_of(lane, owner);
    struct weir_points **block = &crossing->points[receiver];
    for (int attempt = 0; attempt < 2; attempt++) {
        if (*block == NULL) *block = weir_points_new(lane->all->env.intake, receiver);
        if (*block == NULL) break;
        if (weir_points_add(*block, point)) {
            WEIR_TALLY("points_handed_over", lane->row.points_handed_over, 1);
            return true;
        }
        weir_lane_flush_points(lane); /* the block is full: the next one starts when the ring takes it */
        if (*block != NULL) break;
    }
    sink_points_rejected(lane, receiver, WEIR_POINT_FULL, 1);
    return false;
}

/* ---- the lane's own life ---- */

static bool receivers_idle(const struct lane *lane) {
    for (uint32_t i = 0; i < lane->receiver_count; i++) {
        if (!lane->receivers[i]->idle(lane->receiver_selves[i])) return false;
    }
    return true;
}

static void round_done(void *self) {
    struct lane *lane = self;
    if (lane->all->count > 1) weir_lane_flush_points(lane);
    if (lane->stopping) atomic_store_explicit(&lane->idle, receivers_idle(lane), memory_order_release);
    if (!lane->row_changed) return;
    lane->row_changed = false;
    weir_ledger_publish(lane->all->env.ledger, lane->index, &lane->row);
}

enum { TICK_MS = 100 };

static void tick(struct weir_timer *timer) {
    struct lane *lane = (struct lane *)((char *)timer - offsetof(struct lane, tick));
    weir_shard_tick(lane->shard, weir_loop_now(lane->loop));
    weir_lane_tick_tail(lane);
    if (lane->meter != NULL) weir_meter_tick(lane->meter, weir_loop_now(lane->loop));
    weir_lane_tick_weights(lane);
    weir_loop_set(lane->loop, timer, weir_loop_now(lane->loop) + TICK_MS * WEIR_MS);
}

static void read_busy(struct weir_metric_set *set, void *self) {
    const struct lane *lane = self;
    weir_gauge(set, LANE_BUSY, weir_loop_busy_ns(lane->loop));
    if (lane->all->env.meters != NULL)
        weir_gauge(set, LANE_SPANS_ROOTLESS, weir_meter_rootless(lane->all->env.meters[lane->index]));
}

enum weir_status weir_lane_open(struct lane *lane, struct weir_error *err) {
    struct weir_lanes *all = lane->all;
    char labels[32];
    snprintf(labels, sizeof labels, "lane=\"%u\"", lane->index);
    lane->open_age.fire = weir_lane_batch_due;
    lane->tick.fire = tick;
    lane->loop = weir_loop_new(all->env.clock, err);
    if (lane->loop == NULL) return err != NULL ? err->status : WEIR_IO;
    lane->shard = weir_aggregate_shard(all->env.aggregate, lane->index);
    lane->metrics = weir_metrics_open(all->env.metrics, lane_metrics, LANE_METRICS, labels);
    if (lane->metrics == NULL) return weir_fail(err, WEIR_FULL, 0, false, "lane %u: out of memory", lane->index);
    enum weir_status status = weir_lane_open_weights(lane, err);
    if (status == WEIR_OK) status = weir_lane_open_journal(lane, err);
    if (status != WEIR_OK) return status;
    weir_lane_follow_policy(lane);
    weir_metrics_refresh(all->env.metrics, lane->metrics, read_busy, lane);
    weir_loop_each_round(lane->loop, round_done, lane);
    return WEIR_OK;
}

struct weir_sink weir_lane_sink(struct lane *lane) {
    return (struct weir_sink){.self = lane,
                              .budget = lane->all->env.intake,
                              .spans = sink_spans,
                              .spans_refused = sink_refused,
                              .point = sink_point,
                              .points_rejected = sink_points_rejected};
}

void weir_lane_take_rest(struct lane *lane) {
    for (uint32_t from = 0; from < lane->all->count; from++) {
        struct crossing *crossing = crossing_of(&lane->all->lanes[from], lane->index);
        struct weir_parcel parcel;
        while (crossing != NULL && weir_ring_pop(&crossing->ring, &parcel))
            take_parcel(lane, &parcel);
    }
    weir_lane_drain_weights(lane);
    weir_lane_drain_tail(lane);
    weir_lane_close_batch(lane);
}

void weir_lane_close(struct lane *lane) {
    weir_metrics_close(lane->all->env.metrics, lane->metrics);
    weir_loop_free(lane->loop);
    if (lane->open != NULL) weir_batch_leave(lane->open); /* no queue takes it any more */
    weir_batch_unref(lane->open);
    weir_tail_free(lane->tail);
    weir_lane_close_journal(lane);
    weir_lane_close_weights(lane);
    scratch_free(lane);
}

struct crossing *weir_crossing_new(struct lane *to) {
    struct crossing *crossing = aligned_alloc(64, (sizeof *crossing + 63) / 64 * 64);
    if (crossing == NULL) return NULL;
    memset(crossing, 0, sizeof *crossing);
    crossing->poke.deliver = poked;
    crossing->to = to;
    return crossing;
}

void weir_crossing_free(struct crossing *crossing) {
    struct weir_parcel parcel;
    if (crossing == NULL) return;
    while (weir_ring_pop(&crossing->ring, &parcel)) {
        weir_batch_unref(parcel.batch);
        weir_points_free(parcel.points);
    }
    for (uint32_t r = 0; r < WEIR_RECEIVERS; r++)
        weir_points_free(crossing->points[r]);
    free(crossing);
}
