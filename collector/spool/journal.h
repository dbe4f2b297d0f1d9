/* journal.h - spans on disk until they are delivered or in an exporter's spool, and what was decided about them, so
 * that a kill loses no acknowledged span and no decision is taken twice. A log (log.h) in DIRECTORY/journal, one for
 * the process, of four types of records:
 *
 *   spans      a sealed block of the tail buffer, as it is (sample/tail.h)
 *   decisions  trace id, kept or dropped, T, the rule's name: of one lane, as many as one tick took
 *   kept       spans that wait for no decision, as they are in an export batch (record.h)
 *   moved      all up to this segment that was undecided stands once more behind it: a restart did that
 *
 *   lane:   sealed() ─ write ─┐                                     ┌─> receipts DURABLE
 *           decided() ─ flush ┼─> page cache ── commit() ── fdatasync, one for all who asked meanwhile
 *           batch ── hold ────┘   (outlives the process)            └─> receipts OWNED, counted: the disk said no
 *
 * Who waits for what: a lane for write(2), never for fdatasync(2), which is the journal's thread's.
 * What stays on disk: a block pins its segment until release(); an export batch pins the oldest segment that its spans
 * may be in until every exporter has settled it; a pin holds what is newer too. When nothing is pinned, all goes.
 * A journal that cannot write (full disk, max_bytes, I/O errors) degrades: spans go their way, their senders are told
 * OWNED instead of DURABLE, both is counted, and the next block tries again.
 *
 * At the start, in this order, before a receiver opens (one thread, unless said otherwise):
 *   1. weir_journal_open(); exporters' queues opened and started; weir_journal_lane_new() a lane, and tail buffers with
 *      env.journal = weir_journal_lane_tail(lane)
 *   2. weir_journal_start()
 *   3. weir_journal_replay(): each span is counted as recovered; a DROPPED one is sampled out; an UNDECIDED one goes to
 *      weir_tail_take() of its lane; a KEPT one, its threshold raised, into an export batch that was given to
 *      weir_journal_hold_segment() with the segment that came with it. The callback may block until a queue has room:
 *      there may be more on disk than memory is for
 *   4. weir_tail_seal() and weir_journal_flush() of every lane: what is undecided is in new blocks
 *   5. weir_journal_replayed(): what was found is not held any more, except where a batch holds it
 *   6. lanes run; receivers open
 * In a lane:
 *   - when the first kept span goes into an export batch: weir_journal_hold()
 *   - before an export batch goes to the queues: weir_tail_seal(), then weir_journal_flush(): a decision is never in
 *     an older segment than the spans that it is about
 *   - once a round, with the receipts of all spans taken since the last time: weir_tail_seal(), weir_journal_commit()
 *   - a span that is in no block is on no disk: its receipt is settled as OWNED
 * At the end: receivers stop, tails are drained, weir_journal_flush(), queues stop (what they drop as `shutdown` stays
 * on disk for the next start: weir_batch_leave()), weir_journal_stop(), weir_journal_lane_free(), weir_journal_close().
 *
 * After a crash spans that were delivered may come again (at least once); none is missing. */
#ifndef WEIR_SPOOL_JOURNAL_H
#define WEIR_SPOOL_JOURNAL_H
#include "collector/core/batch.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/core/receipt.h"
#include "collector/sample/tail.h"
#include "collector/spool/log.h"

struct weir_journal;
struct weir_journal_lane;

struct weir_journal_options {
    const char *directory;             /* spool.directory; the log is in `journal` below it */
    uint64_t segment_bytes, max_bytes; /* log.h */
    const struct weir_log_disk *disk;  /* NULL: the system's */
    struct weir_names *names;          /* rules' names */
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    /* Reads a sealed block back: weir_tail_read_record(); tests have their own. */
    enum weir_status (*read)(const uint8_t *bytes, size_t size, struct weir_names *names,
                             void (*span)(void *self, struct weir_batch *batch, uint32_t i), void *self,
                             struct weir_error *err);
};

/* Locks and looks; starts and reads nothing. */
enum weir_status weir_journal_open(struct weir_journal **journal, const struct weir_journal_options *options,
                                   struct weir_error *err);
enum weir_status weir_journal_start(struct weir_journal *journal, struct weir_error *err); /* its thread */
/* Settles what waits, stops the thread, removes what nothing needs. Lanes and held batches are gone before. Accepts
 * NULL, and one that was never started: nothing is removed then. */
void weir_journal_close(struct weir_journal *journal);

/* ---- one lane's side: its thread, unless said otherwise ---- */

struct weir_journal_lane *weir_journal_lane_new(struct weir_journal *journal); /* NULL: out of memory */
/* For struct weir_tail_env; as long as the lane. */
const struct weir_tail_journal *weir_journal_lane_tail(struct weir_journal_lane *lane);
/* Writes the decisions that were given to decided(): after it they outlive the process; then lets go of the blocks that
 * were released meanwhile. False: the disk said no; the decisions are counted and forgotten: a restart would take them
 * anew. */
bool weir_journal_flush(struct weir_journal_lane *lane);
/* Pins, until the batch's last reference is gone, the oldest segment that a span of this lane that is undecided now, or
 * comes later, is in. Sets batch->gone. Once a batch: again does nothing. */
void weir_journal_hold(struct weir_journal_lane *lane, struct weir_batch *batch);
/* Spans [from, to) of an export batch that went there without waiting for a decision. What cannot be written is
 * counted, and the next commit answers as OWNED. The batch is held: weir_journal_hold(). */
void weir_journal_kept(struct weir_journal_lane *lane, const struct weir_batch *batch, uint32_t from, uint32_t to);
/* Settles one part of each receipt: DURABLE after an fdatasync that covers all that this lane had written before the
 * call; OWNED when that fails, or when a block of the lane could not be written since its last commit (counted).
 * receipts[] is copied. */
void weir_journal_commit(struct weir_journal_lane *lane, struct weir_receipt *const *receipts, size_t count);
/* Ends the journal's thread, when it has settled what it was given; what comes later is settled as OWNED at once.
 * Before the homes of receipts are gone. Accepts NULL, and may be called again. */
void weir_journal_stop(struct weir_journal *journal);
/* Accepts NULL. Blocks that were not released stay on disk for the next start. */
void weir_journal_lane_free(struct weir_journal_lane *lane);

/* Any thread. */
void weir_journal_pin(struct weir_journal *journal, uint64_t segment);
void weir_journal_unpin(struct weir_journal *journal, uint64_t segment);
/* For a recovered span: as weir_journal_hold(), with its segment. A batch may be given again with another: the oldest
 * counts. */
void weir_journal_hold_segment(struct weir_journal *journal, struct weir_batch *batch, uint64_t segment);

/* ---- after a restart ---- */

enum weir_fate { WEIR_FATE_UNDECIDED, WEIR_FATE_KEPT, WEIR_FATE_DROPPED, WEIR_FATES };

struct weir_journal_recovery {
    /* Every decision of the log, before the first span: for the decision memory. May be NULL. verdict->rule is
     * WEIR_RULE_NONE; rule_name and threshold are as they were. */
    void (*decided)(void *self, uint64_t trace_hi, uint64_t trace_lo, const struct weir_verdict *verdict);
    /* Span i of a batch that is good during the call, in the order of the log. verdict: NULL when undecided. */
    void (*span)(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                 const struct weir_verdict *verdict, uint64_t segment);
    void *self;
};
/* Reads twice: decisions (32 bytes of memory each, at most 3 million: traces of more are undecided, which is logged),
 * then spans, one block at a time. What is damaged is logged, counted and skipped. WEIR_FULL: out of memory. */
enum weir_status weir_journal_replay(struct weir_journal *journal, const struct weir_journal_recovery *recovery,
                                     struct weir_error *err);
/* Makes durable what was written since, marks what was found as moved, and lets go of it. On failure what was found
 * stays until the next start, where undecided spans then are found twice. */
enum weir_status weir_journal_replayed(struct weir_journal *journal, struct weir_error *err);
#endif
