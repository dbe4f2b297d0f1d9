/* durable.c - with `spool.durable` spans are journalled, those that wait for a decision by the tail buffer's blocks,
 * the others from the open batch: requests are acknowledged when their spans are on disk, and what a process before
 * this one left there is taken up again. */
#include "collector/core/log.h"
#include "collector/core/receipt.h"
#include "collector/lane/inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Between two commits of a lane. Shorter, and blocks of few spans compress badly; longer, and senders wait. */
enum { COMMIT_MS = 5, BEHIND_MAX_MS = 1000 };

static void commit(struct lane *lane) {
    weir_lane_journal_new(lane);
    if (lane->owed_count == 0) return;
    if (lane->tail == NULL || weir_tail_seal(lane->tail)) {
        weir_journal_commit(lane->journal, lane->owed, lane->owed_count);
    } else { /* a block found no room, and is in memory only */
        for (size_t i = 0; i < lane->owed_count; i++)
            weir_receipt_settle(lane->owed[i], WEIR_OWNED);
    }
    lane->owed_count = 0;
    weir_lane_send_ready(lane);
}

static bool queues_are_behind(const struct lane *lane) {
    for (uint32_t i = 0; i < lane->all->env.queue_count; i++) {
        if (weir_queue_is_behind(lane->all->env.queues[i])) return true;
    }
    return false;
}

/* A queue that goes to disk more slowly than spans come would have to drop some that were acknowledged: senders wait a
 * little for their answers instead. */
static void commit_due(struct weir_timer *timer) {
    struct lane *lane = (struct lane *)((char *)timer - offsetof(struct lane, commit));
    uint64_t now_ns = weir_loop_now(lane->loop);
    if (now_ns - lane->owed_ns < BEHIND_MAX_MS * WEIR_MS && queues_are_behind(lane))
        weir_loop_set(lane->loop, &lane->commit, now_ns + COMMIT_MS * WEIR_MS);
    else
        commit(lane);
}

static bool owe(struct lane *lane, struct weir_receipt *receipt) {
    if (lane->owed_count == lane->owed_capacity) {
        size_t capacity = 2 * lane->owed_capacity + 64;
        struct weir_receipt **more = realloc((void *)lane->owed, capacity * sizeof *more);
        if (more == NULL) return false;
        lane->owed = more;
        lane->owed_capacity = capacity;
    }
    lane->owed[lane->owed_count++] = receipt;
    return true;
}

void weir_lane_acknowledge(struct lane *lane, struct weir_receipt *receipt) {
    bool journalled = lane->journal != NULL && !lane->past_journal;
    lane->past_journal = false;
    if (receipt == NULL) return;
    if (!journalled || !owe(lane, receipt)) {
        weir_receipt_settle(receipt, WEIR_OWNED);
        return;
    }
    if (lane->commit.place != 0) return;
    lane->owed_ns = weir_loop_now(lane->loop);
    weir_loop_set(lane->loop, &lane->commit, weir_loop_now(lane->loop) + COMMIT_MS * WEIR_MS);
}

void weir_lane_journal_new(struct lane *lane) {
    if (lane->new_from < lane->new_to) weir_journal_kept(lane->journal, lane->open, lane->new_from, lane->new_to);
    lane->new_from = lane->new_to = 0;
}

void weir_lane_journal_last(struct lane *lane) {
    uint32_t last = lane->open->span_count - 1;
    if (lane->new_to != last || lane->new_from == lane->new_to) { /* spans of decided traces are between */
        weir_lane_journal_new(lane);
        lane->new_from = last;
    }
    lane->new_to = last + 1;
}

enum weir_status weir_lane_open_journal(struct lane *lane, struct weir_error *err) {
    lane->commit.fire = commit_due;
    if (lane->all->env.journal == NULL) return WEIR_OK;
    lane->journal = weir_journal_lane_new(lane->all->env.journal);
    return lane->journal != NULL ? WEIR_OK : weir_fail(err, WEIR_FULL, 0, false, "lane %u: out of memory", lane->index);
}

void weir_lane_owe_nothing(struct lane *lane) {
    for (size_t i = 0; i < lane->owed_count; i++)
        weir_receipt_settle(lane->owed[i], WEIR_OWNED);
    lane->owed_count = 0;
}

void weir_lane_close_journal(struct lane *lane) {
    free((void *)lane->owed);
    free((void *)lane->ready);
    weir_journal_lane_free(lane->journal);
}

/* Decisions are written behind the spans that they are about, and before their effect leaves. */
void weir_lane_journal_decided(struct lane *lane) {
    if (lane->tail != NULL) weir_tail_seal(lane->tail);
    weir_journal_flush(lane->journal);
}

bool weir_lane_send_ready(struct lane *lane) {
    bool any = lane->ready_count > 0;
    while (lane->ready_count > 0) {
        size_t count = lane->ready_count; /* sealing may decide, and so bring more */
        weir_lane_journal_decided(lane);
        for (size_t i = 0; i < count; i++)
            weir_lane_push(lane, lane->ready[i]);
        lane->ready_count -= count;
        memmove((void *)lane->ready, (void *)(lane->ready + count), lane->ready_count * sizeof(struct weir_batch *));
    }
    return any;
}

void weir_lane_send(struct lane *lane, struct weir_batch *batch) {
    if (lane->ready_count == lane->ready_capacity) {
        size_t capacity = 2 * lane->ready_capacity + 16;
        struct weir_batch **more = realloc((void *)lane->ready, capacity * sizeof(struct weir_batch *));
        if (more == NULL) { /* better delivered, and perhaps again after a crash, than lost */
            weir_lane_push(lane, batch);
            return;
        }
        lane->ready = more;
        lane->ready_capacity = capacity;
    }
    lane->ready[lane->ready_count++] = batch;
    if (lane->tail == NULL || !weir_tail_under_way(lane->tail)) weir_lane_send_ready(lane);
}

void weir_lane_journal_rest(struct lane *lane) {
    if (lane->journal == NULL) return;
    commit(lane);
    weir_lane_journal_decided(lane);
    weir_lane_send_ready(lane);
}

/* ---- after a restart ---- */

/* There may be more on disk than the queues have memory for, and back ends may be away: so long, in all, a start waits
 * for them before the queues do what they do with too much. */
enum { ROOM_WAIT_MS = 10 * 1000, ROOM_LOOK_MS = 10, ROOM_EVERY_SPANS = 64 };

struct recovery {
    struct weir_lanes *all;
    uint32_t waited_ms;
    uint64_t kept;
};

static bool have_room(const struct weir_lanes *all) {
    for (uint32_t i = 0; i < all->env.queue_count; i++) {
        if (!weir_queue_has_room(all->env.queues[i])) return false;
    }
    return true;
}

static void wait_for_room(struct recovery *recovery) {
    while (recovery->waited_ms < ROOM_WAIT_MS && !have_room(recovery->all)) {
        nanosleep(&(struct timespec){.tv_nsec = ROOM_LOOK_MS * 1000 * 1000}, NULL);
        recovery->waited_ms += ROOM_LOOK_MS;
    }
}

static void recovered_decision(void *self, uint64_t trace_hi, uint64_t trace_lo, const struct weir_verdict *verdict) {
    const struct weir_lanes *all = ((struct recovery *)self)->all;
    struct lane *lane = &all->lanes[weir_trace_lane(trace_lo, all->count)];
    if (lane->tail != NULL) weir_decisions_put(weir_tail_decisions(lane->tail), trace_hi, trace_lo, verdict);
}

static void recovered_span(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                           const struct weir_verdict *verdict, uint64_t segment) {
    struct recovery *recovery = self;
    const struct weir_lanes *all = recovery->all;
    struct weir_span *span = &batch->spans[i];
    struct lane *lane = &all->lanes[weir_trace_lane(span->trace_lo, all->count)];
    span->flags |= WEIR_SPAN_UNCOUNTED; /* the process before this one has counted it in its series */
    WEIR_TALLY("recovered", lane->row.recovered, 1);
    lane->recovering_segment = segment;
    if (lane->open != NULL) weir_journal_hold_segment(all->env.journal, lane->open, segment);
    if (fate == WEIR_FATE_DROPPED) {
        WEIR_TALLY("sampled_out_tail", lane->row.sampled_out[WEIR_STAGE_TAIL], 1);
    } else if (fate == WEIR_FATE_KEPT) {
        if (recovery->kept++ % ROOM_EVERY_SPANS == 0) wait_for_room(recovery);
        weir_threshold_raise(span, verdict->threshold);
        weir_lane_keep_late(lane, batch, i, verdict);
    } else {
        weir_lane_hold(lane, batch, i, weir_loop_now(lane->loop));
    }
    lane->recovering_segment = 0;
    lane->row_changed = true;
}

enum weir_status weir_lanes_recover(struct weir_lanes *all, struct weir_error *err) {
    struct recovery self = {.all = all};
    const struct weir_journal_recovery recovery = {
        .decided = recovered_decision, .span = recovered_span, .self = &self};
    enum weir_status status = weir_journal_replay(all->env.journal, &recovery, err);
    for (uint32_t i = 0; i < all->count; i++) {
        struct lane *lane = &all->lanes[i];
        weir_lane_close_batch(lane);
        weir_lane_journal_rest(lane);
        weir_ledger_publish(all->env.ledger, i, &lane->row);
    }
    if (status != WEIR_OK) return status;
    struct weir_error why = {0};
    /* A full disk is no reason not to start: what was found stays where it is. */
    if (weir_journal_replayed(all->env.journal, &why) != WEIR_OK)
        weir_log(WEIR_LOG_WARN, "journal_not_moved reason=\"%s\"", why.text);
    return WEIR_OK;
}

/* ---- decisions, from one process to the next ---- */

static bool memories(const struct weir_lanes *all, struct weir_decisions **decisions) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->lanes[i].tail == NULL) return false;
        decisions[i] = weir_tail_decisions(all->lanes[i].tail);
    }
    return true;
}

enum weir_status weir_lanes_save(const struct weir_lanes *all, const char *path, struct weir_error *err) {
    struct weir_decisions *decisions[WEIR_LANES_MAX];
    return memories(all, decisions) ? weir_decisions_save(decisions, all->count, all->env.names, path, err) : WEIR_OK;
}

enum weir_status weir_lanes_load(struct weir_lanes *all, const char *path, struct weir_error *err) {
    struct weir_decisions *decisions[WEIR_LANES_MAX];
    return memories(all, decisions) ? weir_decisions_load(decisions, all->count, all->env.names, path, err) : WEIR_OK;
}
