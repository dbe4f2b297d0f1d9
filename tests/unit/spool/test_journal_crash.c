/* Every crash of the journal, walked by machine as in test_log_crash.c: behind each operation the process dies, or the
 * power fails and takes what was not synced. Lives follow journal.h: blocks, decisions, batches that are held, commits,
 * kills, recoveries that are killed too. Laws, for what a restart then finds:
 *   - a span that was settled as DURABLE is found, until its decision to drop it is written, or its batch was delivered
 *   - none is found that was not sealed, none twice, except when a recovery was killed before it had marked what it had
 *     written anew
 *   - the fate of a span is its trace's decision when that was written (a dead process) or committed (power), and never
 *     another one
 *   - the same after a recovery of what was left, killed right behind it */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "collector/core/log.h"
#include "collector/spool/journal.h"
#include "tests/unit/spool/crash_walk.h"

enum { MiB = 1 << 20, SPANS_MAX = 256, BLOCKS_MAX = 256, QUEUE_MAX = 64, FILLER = 999999 };

struct row {
    uint64_t hi, lo, id;
};

/* A decision is the same whenever it is taken: even traces are kept. */
static bool is_kept(uint64_t trace_lo) {
    return trace_lo % 2 == 0;
}

/* ---- what was done, and what is owed; numbers are operations of the trace ---- */

struct span {
    uint32_t begun, durable, freed;
    uint32_t trace, block;
    bool sealed;
};
struct fate {
    uint32_t begun, written, durable;
    bool open, decided; /* in the process that runs */
};
struct block {
    uint64_t token;
    uint32_t live;
};
struct out {
    struct weir_batch *batch;
    uint32_t spans[SPANS_MAX], count;
};

static struct {
    char base[96], work[112], folder[112]; /* the journal is in work, and in what a crash leaves in folder */
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_mailbox home;
    struct weir_journal *journal;
    struct weir_journal_lane *lane;
    struct span spans[SPANS_MAX]; /* by id, from 1 */
    uint32_t span_count;
    struct fate traces[SPANS_MAX]; /* from 1 */
    uint32_t trace_count;
    struct block blocks[BLOCKS_MAX];
    uint32_t block_count;
    struct out open, queued[QUEUE_MAX];
    uint32_t queued_count;
    uint32_t recovering[16][2], recoveries; /* from, to: what was found may be there twice */
} run;

static enum weir_status read_rows(const uint8_t *bytes, size_t size, struct weir_names *names,
                                  void (*span)(void *self, struct weir_batch *batch, uint32_t i), void *self,
                                  struct weir_error *err) {
    (void)names, (void)err;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    for (size_t i = 0; i < size / sizeof(struct row); i++) {
        struct row row;
        memcpy(&row, bytes + i * sizeof row, sizeof row);
        if (row.lo == FILLER) break;
        weir_batch_add(batch, &(struct weir_span){.trace_hi = row.hi, .trace_lo = row.lo, .span_id = row.id});
        span(self, batch, (uint32_t)i);
    }
    weir_batch_unref(batch);
    return WEIR_OK;
}

static struct weir_journal *journal_in(const char *directory, const struct weir_log_disk *disk) {
    struct weir_error err = {0};
    struct weir_journal *journal = NULL;
    const struct weir_journal_options options = {.directory = directory,
                                                 .segment_bytes = MiB,
                                                 .max_bytes = 64 * MiB,
                                                 .disk = disk,
                                                 .names = run.names,
                                                 .metrics = run.metrics,
                                                 .clock = &weir_clock_system,
                                                 .read = read_rows};
    if (weir_journal_open(&journal, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    return journal;
}

/* ---- steps ---- */

static uint64_t seal_rows(struct weir_journal_lane *lane, const struct row *rows, size_t count) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(lane);
    return tail->sealed(tail->self, (const uint8_t *)rows, count * sizeof *rows, (uint32_t)count);
}

/* Spans `ids` as a block of this process. */
static void seal(const uint32_t *ids, uint32_t count) {
    struct row rows[SPANS_MAX];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct row){9, run.spans[ids[i]].trace, ids[i]};
    assert_true(run.block_count < BLOCKS_MAX);
    struct block *block = &run.blocks[run.block_count];
    *block = (struct block){seal_rows(run.lane, rows, count), count};
    assert_int_not_equal(block->token, 0);
    for (uint32_t i = 0; i < count; i++) {
        run.spans[ids[i]].block = run.block_count;
        run.spans[ids[i]].sealed = true;
    }
    run.block_count++;
}

static void do_block(void) {
    uint32_t ids[4], count = 1 + walk_random(4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = run.trace_count > 0 && walk_random(3) == 0 ? run.trace_count : 0;
        if (which == 0 || run.traces[which].decided) {
            which = ++run.trace_count;
            run.traces[which] = (struct fate){.begun = NEVER, .written = NEVER, .durable = NEVER};
        }
        run.traces[which].open = true;
        assert_true(run.span_count + 1 < SPANS_MAX);
        ids[i] = ++run.span_count;
        run.spans[ids[i]] = (struct span){.begun = trace_op_count(), .durable = NEVER, .freed = NEVER, .trace = which};
    }
    seal(ids, count);
}

/* Half a segment that nobody needs. */
static void do_filler(void) {
    const size_t count = MiB / 2 / sizeof(struct row) + 1;
    struct row *rows = malloc(count * sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){9, FILLER, 0};
    const struct weir_tail_journal *tail = weir_journal_lane_tail(run.lane);
    tail->release(tail->self, seal_rows(run.lane, rows, count));
    free(rows);
}

static void do_decide(void) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(run.lane);
    uint32_t which = 1;
    while (which <= run.trace_count && !run.traces[which].open)
        which++;
    if (which > run.trace_count) return;
    struct fate *fate = &run.traces[which];
    fate->open = false;
    fate->decided = true;
    if (fate->begun == NEVER) fate->begun = trace_op_count();
    struct weir_trace of = {.trace_hi = 9, .trace_lo = which};
    struct weir_verdict verdict = {.kept = is_kept(which), .threshold = is_kept(which) ? 0 : WEIR_THRESHOLD_MAX};
    verdict.rule_name = weir_names_intern(run.names, "rule", 4);
    tail->decided(tail->self, &of, &verdict);
    for (uint32_t id = 1; id <= run.span_count; id++) {
        if (run.spans[id].trace != which || run.spans[id].freed != NEVER) continue;
        if (verdict.kept) {
            if (run.open.batch == NULL) run.open.batch = weir_batch_new(NULL, 64);
            weir_journal_hold(run.lane, run.open.batch);
            run.open.spans[run.open.count++] = id;
        }
        struct block *block = &run.blocks[run.spans[id].block];
        if (--block->live == 0) tail->release(tail->self, block->token);
    }
}

/* Decisions have been written since: a dropped span is owed until the last byte of that. Only lanes write records, the
 * journal's thread begins segments. */
static void written(uint32_t before, bool durable) {
    uint32_t now = trace_op_count(), last = now;
    pthread_mutex_lock(&trace.lock);
    while (last > before && (trace.ops[last - 1].kind != TRACE_WRITE || trace.ops[last - 1].offset == 0))
        last--;
    pthread_mutex_unlock(&trace.lock);
    for (uint32_t i = 1; i <= run.trace_count; i++) {
        struct fate *fate = &run.traces[i];
        if (!fate->decided) continue;
        if (fate->written == NEVER) fate->written = now;
        if (durable && fate->durable == NEVER) fate->durable = now;
        for (uint32_t id = 1; id <= run.span_count && !is_kept(i); id++) {
            if (run.spans[id].trace == i && run.spans[id].freed == NEVER) run.spans[id].freed = last - 1;
        }
    }
}

static void do_queue(void) {
    uint32_t before = trace_op_count();
    assert_true(weir_journal_flush(run.lane));
    written(before, false);
    if (run.open.batch == NULL) return;
    assert_true(run.queued_count < QUEUE_MAX);
    run.queued[run.queued_count++] = run.open;
    run.open = (struct out){.count = 0};
}

static void do_deliver(void) {
    if (run.queued_count == 0) return;
    for (uint32_t i = 0; i < run.queued[0].count; i++)
        run.spans[run.queued[0].spans[i]].freed = trace_op_count();
    weir_batch_unref(run.queued[0].batch);
    memmove(run.queued, run.queued + 1, --run.queued_count * sizeof run.queued[0]);
}

struct asked {
    struct weir_receipt receipt; /* first */
    bool answered;
    enum weir_outcome outcome;
};
static void answer(struct weir_mail *mail) {
    struct asked *asked = (struct asked *)mail;
    asked->answered = true;
    asked->outcome = weir_receipt_outcome(&asked->receipt);
}

static void do_commit(void) {
    uint32_t before = trace_op_count();
    struct asked asked = {.answered = false};
    struct weir_receipt *receipt = &asked.receipt;
    weir_receipt_init(receipt, &run.home, answer, 1);
    weir_journal_commit(run.lane, &receipt, 1);
    while (!asked.answered) {
        if (weir_mailbox_read(&run.home) == 0) usleep(20);
    }
    assert_int_equal(asked.outcome, WEIR_DURABLE);
    for (uint32_t id = 1; id <= run.span_count; id++) {
        if (run.spans[id].durable == NEVER) run.spans[id].durable = trace_op_count();
    }
    written(before, true);
}

static void stop(void) {
    weir_journal_lane_free(run.lane);
    weir_batch_unref(run.open.batch);
    for (uint32_t i = 0; i < run.queued_count; i++)
        weir_batch_unref(run.queued[i].batch);
    weir_journal_close(run.journal);
    run.lane = NULL;
    run.journal = NULL;
    run.open.batch = NULL;
    run.queued_count = 0;
}

static void on_recovered(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                         const struct weir_verdict *verdict, uint64_t segment) {
    uint32_t id = (uint32_t)batch->spans[i].span_id;
    (void)self, (void)verdict;
    if (run.spans[id].freed != NEVER) return; /* delivered; its file was not removed yet */
    if (fate == WEIR_FATE_UNDECIDED) {
        run.traces[run.spans[id].trace].open = true;
        seal(&id, 1);
    } else if (fate == WEIR_FATE_KEPT) {
        if (run.open.batch == NULL) run.open.batch = weir_batch_new(NULL, 64);
        weir_journal_hold_segment(run.journal, run.open.batch, segment);
        run.open.spans[run.open.count++] = id;
    }
}

/* The process is killed, and another one recovers. Not `whole`: and is killed within that. */
static void do_restart(bool whole) {
    struct weir_error err = {0};
    const struct weir_journal_recovery recovery = {NULL, on_recovered, NULL};
    trace_dead(true);
    stop();
    trace_dead(false);
    run.block_count = 0;
    run.open = (struct out){.count = 0};
    for (uint32_t i = 1; i <= run.trace_count; i++) {
        run.traces[i].open = false;
        run.traces[i].decided = run.traces[i].written != NEVER;
    }
    uint32_t *recovering = run.recovering[run.recoveries++];
    recovering[0] = trace_op_count();
    recovering[1] = NEVER;
    run.journal = journal_in(run.base, &trace_disk);
    assert_non_null(run.lane = weir_journal_lane_new(run.journal));
    if (weir_journal_start(run.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (weir_journal_replay(run.journal, &recovery, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (!whole) {
        do_restart(true);
        return;
    }
    uint32_t before = trace_op_count();
    assert_true(weir_journal_flush(run.lane));
    if (weir_journal_replayed(run.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    recovering[1] = trace_op_count();
    for (uint32_t id = 1; id <= run.span_count; id++) {
        if (run.spans[id].durable == NEVER) run.spans[id].durable = trace_op_count();
    }
    written(before, true);
}

/* b a block   f half a segment that is not needed   d decide the oldest trace   q decisions are written, the batch goes
 * to the queue   x the back end has one   c commit   r killed, recovers   R killed, killed again while it recovers,
 * recovers */
static void do_steps(const char *steps) {
    for (; *steps != 0; steps++) {
        switch (*steps) {
        case 'b': do_block(); break;
        case 'f': do_filler(); break;
        case 'd': do_decide(); break;
        case 'q': do_queue(); break;
        case 'x': do_deliver(); break;
        case 'c': do_commit(); break;
        case 'r': do_restart(true); break;
        case 'R': do_restart(false); break;
        default: fail();
        }
    }
}

static void record_steps(const char *steps, uint32_t fault_at, enum trace_fault fault) {
    struct weir_error err = {0};
    folder_clear(run.work);
    run.span_count = run.trace_count = run.block_count = run.recoveries = 0;
    walk.random = 7;
    trace_begin(run.work, fault_at, fault);
    run.journal = journal_in(run.base, &trace_disk);
    assert_non_null(run.lane = weir_journal_lane_new(run.journal));
    if (weir_journal_start(run.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    do_steps(steps);
    trace_dead(true);
    stop();
    trace_dead(false);
}

/* ---- the laws ---- */

/* What a crash left is recovered by a process that is killed too. */
static bool left_dead;
static int left_create(int directory_fd, const char *name) {
    errno = EIO;
    return left_dead ? -1 : openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}
static ssize_t left_write(int fd, const void *bytes, size_t size, off_t offset) {
    errno = EIO;
    return left_dead ? -1 : pwrite(fd, bytes, size, offset);
}
static int left_unlink(int directory_fd, const char *name) {
    errno = EIO;
    return left_dead ? -1 : unlinkat(directory_fd, name, 0);
}
static const struct weir_log_disk left_disk = {
    .create = left_create, .write = left_write, .sync = no_sync, .sync_names = no_sync, .unlink = left_unlink};

static struct {
    uint32_t times[SPANS_MAX];
    enum weir_fate fates[SPANS_MAX];
    struct weir_journal *journal;
    struct weir_journal_lane *lane;
    struct weir_batch *held;
} seen;

static void law(bool holds, uint32_t id, const char *which) {
    if (holds) return;
    const struct span *span = &run.spans[id];
    const struct fate *fate = &run.traces[span->trace];
    fail_msg("%s: %s: span %u (begun %u, durable %u, freed %u) of trace %u (begun %u, "
             "written %u, durable %u), found %u times, fate %d",
             walk_where(run.folder), which, id, span->begun, span->durable, span->freed, span->trace, fate->begun,
             fate->written, fate->durable, seen.times[id], (int)seen.fates[id]);
}

static void on_found(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                     const struct weir_verdict *verdict, uint64_t segment) {
    uint32_t id = (uint32_t)batch->spans[i].span_id;
    (void)verdict;
    law(id >= 1 && id <= run.span_count && run.spans[id].begun <= walk.at, 0, "was sealed before");
    law(batch->spans[i].trace_lo == run.spans[id].trace && batch->spans[i].trace_hi == 9, id, "is intact");
    seen.times[id]++;
    seen.fates[id] = fate;
    if (self == NULL) return;
    struct row row = {9, run.spans[id].trace, id};
    if (fate == WEIR_FATE_UNDECIDED) law(seal_rows(seen.lane, &row, 1) != 0, id, "is written anew");
    if (fate == WEIR_FATE_KEPT) weir_journal_hold_segment(seen.journal, seen.held, segment);
}

static void judge(void) {
    bool twice = false;
    for (uint32_t i = 0; i < run.recoveries; i++)
        twice = twice || (walk.at >= run.recovering[i][0] && walk.at < run.recovering[i][1]);
    for (uint32_t id = 1; id <= run.span_count; id++) {
        const struct span *span = &run.spans[id];
        const struct fate *fate = &run.traces[span->trace];
        enum weir_fate decided = is_kept(span->trace) ? WEIR_FATE_KEPT : WEIR_FATE_DROPPED;
        uint32_t known = walk.power ? fate->durable : fate->written;
        law(twice || seen.times[id] <= 1, id, "once");
        if (walk.at >= span->durable && walk.at <= span->freed) law(seen.times[id] > 0, id, "what is durable is found");
        if (seen.times[id] == 0) continue;
        law(seen.fates[id] == WEIR_FATE_UNDECIDED || (seen.fates[id] == decided && walk.at >= fate->begun), id,
            "no other decision");
        /* Removals out of order may bring back a span's file and not the newer one with the decision: the trace is
         * decided again then. No file system with a journal does that. */
        if (walk.at >= known && crash.names_ordered) law(seen.fates[id] == decided, id, "a decision is known");
    }
}

static void replay_left(bool recover) {
    struct weir_error err = {0};
    const struct weir_journal_recovery recovery = {NULL, on_found, recover ? &seen : NULL};
    memset(seen.times, 0, sizeof seen.times);
    seen.journal = journal_in(walk.left, &left_disk);
    assert_non_null(seen.lane = weir_journal_lane_new(seen.journal));
    seen.held = weir_batch_new(NULL, 64);
    if (weir_journal_replay(seen.journal, &recovery, &err) != WEIR_OK) fail_msg("%s", err.text);
    judge();
    if (recover) {
        assert_true(weir_journal_flush(seen.lane));
        if (weir_journal_replayed(seen.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    }
    left_dead = true;
    weir_journal_lane_free(seen.lane);
    weir_batch_unref(seen.held);
    weir_journal_close(seen.journal);
    left_dead = false;
}

static void look(void *self) {
    (void)self;
    if (walk.looked++ % 4 == 0) replay_left(true);
    replay_left(false);
}

/* ---- the walk ---- */

static int setup(void **state) {
    (void)state;
    memset(&run, 0, sizeof run);
    if (walk_open() != 0) return -1;
    snprintf(run.base, sizeof run.base, "%s/work", walk.root);
    snprintf(run.work, sizeof run.work, "%s/journal", run.base);
    snprintf(run.folder, sizeof run.folder, "%s/journal", walk.left);
    run.names = weir_names_new(1024, 1 << 20);
    run.metrics = weir_metrics_new();
    weir_log_set_level(WEIR_LOG_ERROR);
    if (!weir_mailbox_open(&run.home)) return -1;
    return mkdir(run.folder, 0700);
}

static int teardown(void **state) {
    (void)state;
    weir_mailbox_close(&run.home);
    weir_names_free(run.names);
    weir_metrics_free(run.metrics);
    return walk_close();
}

static const struct crash_test of_journal = {record_steps, look, run.folder, 4, NULL};

static const char *const lives[] = {
    "bbcbddqbcdddqffcbxcdqbfcdbqfxcbfddqxcxbbc",
    "bbcbdrbcddqrdqxbbfcdfrxdcqrddqxxc",
    "bbcbdqRbcdqRdxc",
};

static void every_crash(void **state) {
    (void)state;
    for (size_t life = 0; life < sizeof lives / sizeof lives[0]; life++) {
        walk_life(&of_journal, lives[life]);
        print_message("%s: %u operations, %u spans of %u traces, %llu directories\n", lives[life], trace.op_count,
                      run.span_count, run.trace_count, (unsigned long long)walk.looked);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_crash, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
