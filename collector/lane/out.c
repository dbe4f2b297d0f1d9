/* out.c - the way out of a lane: kept spans into the open batch, the batch into the exporters' queues. */
#include "collector/lane/inside.h"

void weir_lane_close_batch(struct lane *lane) {
    struct weir_batch *batch = lane->open;
    if (batch == NULL) return;
    if (lane->journal != NULL) weir_lane_journal_new(lane);
    lane->open = NULL;
    weir_loop_unset(lane->loop, &lane->open_age);
    weir_batch_trim(batch); /* queues count what it holds: a trickle must not fill them with empty room */
    if (lane->journal != NULL)
        weir_lane_send(lane, batch);
    else
        weir_lane_push(lane, batch);
}

void weir_lane_push(struct lane *lane, struct weir_batch *batch) {
    WEIR_TALLY("fanned_out", lane->row.fanned_out, batch->span_count);
    lane->row_changed = true;
    for (uint32_t i = 0; i < lane->all->env.queue_count; i++)
        weir_queue_push(lane->all->env.queues[i], batch);
    weir_batch_unref(batch);
}

void weir_lane_batch_due(struct weir_timer *timer) {
    weir_lane_close_batch((struct lane *)((char *)timer - offsetof(struct lane, open_age)));
}

static bool open_batch(struct lane *lane) {
    if (lane->open != NULL) return true;
    const struct weir_batch_config *limits = &lane->snapshot.config->batch;
    /* Room for a full batch at once: a buffer that grows would be copied over and over. */
    lane->open = weir_batch_new(NULL, limits->max_bytes);
    if (lane->open == NULL) return false;
    if (lane->recovering_segment != 0)
        weir_journal_hold_segment(lane->all->env.journal, lane->open, lane->recovering_segment);
    else if (lane->journal != NULL)
        weir_journal_hold(lane->journal, lane->open);
    lane->open->born_ns = weir_loop_now(lane->loop);
    weir_loop_set(lane->loop, &lane->open_age, lane->open->born_ns + limits->max_age_ns);
    return true;
}

/* Has the open batch no room for span i? Its origins count too: they leave with it, and are as large as senders make
 * them. */
static bool is_over(const struct weir_batch *open, const struct weir_batch *batch, uint32_t i, uint64_t max_bytes) {
    const struct weir_origin *origin = batch->origins[batch->spans[i].origin];
    if (open->size + batch->spans[i].size > max_bytes) return true;
    return open->origin_bytes > max_bytes && open->origins[open->origin_count - 1] != origin;
}

static bool copy(struct lane *lane, const struct weir_batch *batch, uint32_t i, const struct weir_otlp_mark *mark) {
    bool changed = mark != NULL || (batch->spans[i].flags & WEIR_SPAN_CHANGED) != 0;
    return open_batch(lane) &&
           (changed ? weir_otlp_restate(lane->open, batch, i, mark) : weir_batch_copy(lane->open, batch, i)) == WEIR_OK;
}

void weir_lane_keep(struct lane *lane, const struct weir_batch *batch, uint32_t i, const struct weir_otlp_mark *mark) {
    const struct weir_batch_config *limits = &lane->snapshot.config->batch;
    if (lane->all->env.queue_count == 0) {
        WEIR_TALLY("dropped_no_exporter", lane->row.dropped[WEIR_DROP_NO_EXPORTER], 1);
        return;
    }
    if (lane->open != NULL && is_over(lane->open, batch, i, limits->max_bytes)) weir_lane_close_batch(lane);
    bool held = copy(lane, batch, i, mark);
    if (!held && lane->open != NULL && lane->open->span_count > 0) { /* 65,535 origins: there is room in the next one */
        weir_lane_close_batch(lane);
        held = copy(lane, batch, i, mark);
    }
    if (!held) {
        WEIR_TALLY("dropped_memory", lane->row.dropped[WEIR_DROP_MEMORY], 1);
        return;
    }
    WEIR_TALLY("batched", lane->row.batched, 1);
    if (lane->unjournalled) weir_lane_journal_last(lane);
    if (lane->open->span_count >= limits->max_spans || lane->open->size >= limits->max_bytes)
        weir_lane_close_batch(lane);
}
