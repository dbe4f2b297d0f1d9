#include "collector/core/log.h"
#include "collector/core/thread.h"
#include "collector/spool/decided.h"
#include "collector/spool/journal_inside.h"
#include "collector/spool/record.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORDS                                                                                                        \
    "Records written to the journal: blocks of undecided spans, groups of decisions, spans that wait for no decision."
#define RECORDS_NOT "Records that the journal could not write (full disk, max_bytes, I/O errors)."
#define RECOVERED   "Spans that a restart found in the journal, by what was decided of their traces."
static const struct weir_metric metrics[JOURNAL_METRICS] = {
    [JOURNAL_BYTES] = {"journal_bytes", NULL, WEIR_GAUGE, "Size of the journal on disk."},
    [JOURNAL_SEGMENTS] = {"journal_segments", NULL, WEIR_GAUGE, "Files of the journal."},
    [JOURNAL_LIMIT] = {"journal_limit_bytes", NULL, WEIR_GAUGE, "Bound of weir_journal_bytes."},
    [JOURNAL_RECORDS_SPANS] = {"journal_records_total", "type=\"spans\"", WEIR_COUNTER, RECORDS},
    [JOURNAL_RECORDS_DECISIONS] = {"journal_records_total", "type=\"decisions\"", WEIR_COUNTER, RECORDS},
    [JOURNAL_RECORDS_KEPT] = {"journal_records_total", "type=\"kept\"", WEIR_COUNTER, RECORDS},
    [JOURNAL_LOST_SPANS] = {"journal_records_lost_total", "type=\"spans\"", WEIR_COUNTER, RECORDS_NOT},
    [JOURNAL_LOST_DECISIONS] = {"journal_records_lost_total", "type=\"decisions\"", WEIR_COUNTER, RECORDS_NOT},
    [JOURNAL_SPANS_WRITTEN] = {"journal_spans_total", NULL, WEIR_COUNTER,
                               "Spans written to the journal; one whose block is written anew counts again."},
    [JOURNAL_COMMIT_SUM] = {"journal_commit_seconds_total", NULL, WEIR_COUNTER_NS,
                            "Time that the journal waited for the disk, one group of requests at a time."},
    [JOURNAL_COMMIT_COUNT] = {"journal_commits_total", NULL, WEIR_COUNTER,
                              "Groups of requests that one sync of the journal answered."},
    [JOURNAL_COMMITS_FAILED] = {"journal_commits_failed_total", NULL, WEIR_COUNTER,
                                "Parts of requests that were acknowledged without being on disk."},
    [JOURNAL_RECORDS_BAD] = {"journal_records_bad_total", NULL, WEIR_COUNTER,
                             "Damaged places that a restart found in the journal, and skipped."},
    [JOURNAL_RECOVERED +
        WEIR_FATE_UNDECIDED] = {"journal_spans_recovered_total", "fate=\"undecided\"", WEIR_COUNTER, RECOVERED},
    [JOURNAL_RECOVERED + WEIR_FATE_KEPT] = {"journal_spans_recovered_total", "fate=\"kept\"", WEIR_COUNTER, RECOVERED},
    [JOURNAL_RECOVERED +
        WEIR_FATE_DROPPED] = {"journal_spans_recovered_total", "fate=\"dropped\"", WEIR_COUNTER, RECOVERED},
};

static struct weir_log_limit disk_limit; /* one place to say that the disk says no */

static void disk_failed(const char *event, const struct weir_error *err) {
    weir_log_limited(&disk_limit, WEIR_LOG_WARN, "%s why=\"%s\"", event, err->text);
}

/* ---- a lane ---- */

/* Blocks of one segment that the lane needs, each with a pin. */
struct held {
    uint64_t segment;
    uint32_t live, released; /* released: to be unpinned when the decisions about them are written */
};

/* A start waits so long for a disk that gives errors: what it then cannot read is lost, though it was acknowledged. */
#define PATIENCE_NS (10 * WEIR_S)
enum { DECISIONS_BYTES = 64 << 10, KEPT_LEVEL = -3 /* as the blocks of the tail buffer */ };

struct weir_journal_lane {
    struct weir_journal *journal;
    struct weir_tail_journal tail;
    struct held *held; /* the oldest segment first */
    size_t held_count, held_capacity;
    struct weir_buffer decisions; /* not written yet */
    struct weir_spool_writer *writer;
    bool lost;         /* a block could not be written since the last commit */
    uint64_t failures; /* of the journal, at the last commit */
};

static bool hold_block(struct weir_journal_lane *lane, uint64_t segment) {
    if (lane->held_count > 0 && lane->held[lane->held_count - 1].segment == segment) {
        lane->held[lane->held_count - 1].live++;
        return true;
    }
    if (lane->held_count == lane->held_capacity) {
        size_t capacity = lane->held_capacity == 0 ? 16 : lane->held_capacity * 2;
        struct held *grown = realloc(lane->held, capacity * sizeof *grown);
        if (grown == NULL) return false;
        lane->held = grown;
        lane->held_capacity = capacity;
    }
    lane->held[lane->held_count++] = (struct held){.segment = segment, .live = 1};
    return true;
}

static void block_lost(struct weir_journal_lane *lane, const struct weir_error *err) {
    lane->lost = true;
    atomic_fetch_add(&lane->journal->blocks_lost, 1);
    weir_count_shared(lane->journal->metrics, JOURNAL_LOST_SPANS, 1);
    disk_failed("journal_block_lost", err);
}

static uint64_t sealed(void *self, const uint8_t *bytes, size_t size, uint32_t span_count) {
    struct weir_journal_lane *lane = self;
    struct weir_journal *journal = lane->journal;
    struct weir_error err = {0};
    uint64_t segment = 0;
    enum weir_status status = weir_log_append(journal->log, JOURNAL_SPANS, bytes, size, &segment, &err);
    if (status == WEIR_OK && !hold_block(lane, segment)) {
        weir_log_unpin(journal->log, segment);
        status = weir_fail(&err, WEIR_FULL, 0, true, "out of memory");
    }
    if (status != WEIR_OK) {
        block_lost(lane, &err);
        return 0;
    }
    weir_count_shared(journal->metrics, JOURNAL_RECORDS_SPANS, 1);
    weir_count_shared(journal->metrics, JOURNAL_SPANS_WRITTEN, span_count);
    return segment;
}

static void release(void *self, uint64_t token) {
    struct weir_journal_lane *lane = self;
    for (size_t i = 0; token != 0 && i < lane->held_count; i++) {
        if (lane->held[i].segment != token) continue;
        lane->held[i].live--;
        lane->held[i].released++;
        return;
    }
}

static void let_go(struct weir_journal_lane *lane) {
    size_t kept = 0;
    for (size_t i = 0; i < lane->held_count; i++) {
        struct held *held = &lane->held[i];
        for (; held->released > 0; held->released--)
            weir_log_unpin(lane->journal->log, held->segment);
        if (held->live > 0) lane->held[kept++] = *held;
    }
    lane->held_count = kept;
}

static bool write_decisions(struct weir_journal_lane *lane) {
    struct weir_journal *journal = lane->journal;
    struct weir_error err = {0};
    if (lane->decisions.size == 0) return true;
    enum weir_status status =
        weir_log_append(journal->log, JOURNAL_DECISIONS, lane->decisions.bytes, lane->decisions.size, NULL, &err);
    weir_buffer_clear(&lane->decisions);
    weir_count_shared(journal->metrics, status == WEIR_OK ? JOURNAL_RECORDS_DECISIONS : JOURNAL_LOST_DECISIONS, 1);
    if (status != WEIR_OK) disk_failed("journal_decisions_lost", &err);
    return status == WEIR_OK;
}

static void decided(void *self, const struct weir_trace *trace, const struct weir_verdict *verdict) {
    struct weir_journal_lane *lane = self;
    const struct weir_names *names = lane->journal->options.names;
    if (lane->decisions.size >= DECISIONS_BYTES) write_decisions(lane);
    if (!weir_decided_write(&lane->decisions, trace->trace_hi, trace->trace_lo, verdict, names)) {
        weir_count_shared(lane->journal->metrics, JOURNAL_LOST_DECISIONS, 1);
        lane->decisions.failed = false; /* the next one may find memory */
    }
}

struct weir_journal_lane *weir_journal_lane_new(struct weir_journal *journal) {
    struct weir_journal_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL) return NULL;
    lane->journal = journal;
    lane->writer = weir_spool_writer_new(journal->options.names, KEPT_LEVEL);
    if (lane->writer == NULL) {
        free(lane);
        return NULL;
    }
    lane->tail = (struct weir_tail_journal){.self = lane, .sealed = sealed, .release = release, .decided = decided};
    return lane;
}

const struct weir_tail_journal *weir_journal_lane_tail(struct weir_journal_lane *lane) {
    return &lane->tail;
}

bool weir_journal_flush(struct weir_journal_lane *lane) {
    bool written = write_decisions(lane);
    let_go(lane);
    return written;
}

void weir_journal_lane_free(struct weir_journal_lane *lane) {
    if (lane == NULL) return;
    weir_journal_flush(lane);
    weir_buffer_free(&lane->decisions);
    weir_spool_writer_free(lane->writer);
    free(lane->held);
    free(lane);
}

/* ---- batches ---- */

static void gone(void *self, uint64_t token) {
    weir_journal_unpin(self, token);
}

/* The pin is the batch's from now on. */
static void give(struct weir_journal *journal, struct weir_batch *batch, uint64_t segment) {
    batch->gone = gone;
    batch->gone_self = journal;
    batch->gone_token = segment;
}

void weir_journal_hold(struct weir_journal_lane *lane, struct weir_batch *batch) {
    struct weir_journal *journal = lane->journal;
    if (batch->gone != NULL) return;
    uint64_t segment;
    if (lane->held_count > 0) {
        segment = lane->held[0].segment; /* pinned by the lane, and so there */
        weir_log_pin(journal->log, segment);
    } else {
        segment = weir_log_pin_newest(journal->log);
    }
    if (segment != 0) give(journal, batch, segment);
}

void weir_journal_hold_segment(struct weir_journal *journal, struct weir_batch *batch, uint64_t segment) {
    if (batch->gone != NULL && batch->gone_token <= segment) return;
    weir_log_pin(journal->log, segment);
    if (batch->gone != NULL) weir_log_unpin(journal->log, batch->gone_token);
    give(journal, batch, segment);
}

void weir_journal_pin(struct weir_journal *journal, uint64_t segment) {
    weir_log_pin(journal->log, segment);
}

void weir_journal_unpin(struct weir_journal *journal, uint64_t segment) {
    weir_log_unpin(journal->log, segment); /* what may go now goes with the next group, or within a second */
}

void weir_journal_kept(struct weir_journal_lane *lane, const struct weir_batch *batch, uint32_t from, uint32_t to) {
    struct weir_journal *journal = lane->journal;
    struct weir_error err = {0};
    while (from < to) {
        const uint8_t *bytes;
        size_t size;
        uint32_t end = to;
        enum weir_status status = weir_spool_record_write(lane->writer, batch, from, &end,
                                                          weir_unix_ns(journal->options.clock), &bytes, &size, &err);
        if (status == WEIR_OK) status = weir_log_append(journal->log, JOURNAL_KEPT, bytes, size, NULL, &err);
        if (status != WEIR_OK) {
            block_lost(lane, &err);
            return;
        }
        weir_count_shared(journal->metrics, JOURNAL_RECORDS_KEPT, 1);
        weir_count_shared(journal->metrics, JOURNAL_SPANS_WRITTEN, end - from);
        from = end;
    }
}

/* ---- commits ---- */

static void settle(struct weir_journal *journal, struct weir_receipt *const *receipts, size_t count,
                   enum weir_outcome outcome) {
    if (outcome != WEIR_DURABLE) weir_count_shared(journal->metrics, JOURNAL_COMMITS_FAILED, count);
    for (size_t i = 0; i < count; i++)
        weir_receipt_settle(receipts[i], outcome);
}

static bool add_receipts(struct receipts *to, struct weir_receipt *const *receipts, size_t count) {
    if (to->capacity - to->count < count) {
        size_t capacity = to->capacity == 0 ? 64 : to->capacity;
        while (capacity - to->count < count)
            capacity *= 2;
        void *grown = realloc((void *)to->all, capacity * sizeof *to->all);
        if (grown == NULL) return false;
        to->all = grown;
        to->capacity = capacity;
    }
    memcpy((void *)(to->all + to->count), (const void *)receipts, count * sizeof *receipts);
    to->count += count;
    return true;
}

void weir_journal_commit(struct weir_journal_lane *lane, struct weir_receipt *const *receipts, size_t count) {
    struct weir_journal *journal = lane->journal;
    weir_journal_flush(lane);
    if (count == 0) return;
    bool lost = lane->lost;
    lane->lost = false;
    pthread_mutex_lock(&journal->lock);
    /* A sync that failed since then may have been that of blocks that these receipts are about. */
    if (lane->failures != journal->failures) lost = true;
    lane->failures = journal->failures;
    if (!lost) lost = !journal->started || journal->stopping || !add_receipts(&journal->waiting, receipts, count);
    if (!lost) pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (lost) settle(journal, receipts, count, WEIR_OWNED);
}

enum weir_status weir_journal_sync(struct weir_journal *journal, struct weir_error *err) {
    pthread_mutex_lock(&journal->sync_lock);
    enum weir_status status = weir_log_sync(journal->log, err);
    pthread_mutex_unlock(&journal->sync_lock);
    return status;
}

/* One sync for all that wait. Under the lock, which is given up meanwhile. `spare` becomes what is waited with. */
static void commit_group(struct weir_journal *journal, struct receipts *spare) {
    struct receipts group = journal->waiting;
    struct weir_error err = {0};
    journal->waiting = *spare;
    pthread_mutex_unlock(&journal->lock);
    uint64_t began_ns = weir_mono_ns(journal->options.clock);
    enum weir_status status = weir_journal_sync(journal, &err);
    weir_count_shared(journal->metrics, JOURNAL_COMMIT_SUM, weir_mono_ns(journal->options.clock) - began_ns);
    weir_count_shared(journal->metrics, JOURNAL_COMMIT_COUNT, 1);
    if (status != WEIR_OK) {
        disk_failed("journal_sync_failed", &err);
        /* Who asked during the sync wrote before it, perhaps to pages that it lost: the next one cannot speak for
         * them. */
        pthread_mutex_lock(&journal->lock);
        journal->failures++;
        if (!add_receipts(&group, journal->waiting.all, journal->waiting.count)) {
            settle(journal, journal->waiting.all, journal->waiting.count, WEIR_OWNED);
        }
        journal->waiting.count = 0;
        pthread_mutex_unlock(&journal->lock);
    }
    settle(journal, group.all, group.count, status == WEIR_OK ? WEIR_DURABLE : WEIR_OWNED);
    weir_log_trim(journal->log);
    group.count = 0;
    *spare = group;
    pthread_mutex_lock(&journal->lock);
}

static void *run(void *self) {
    struct weir_journal *journal = self;
    struct receipts spare = {0};
    pthread_mutex_lock(&journal->lock);
    while (!journal->stopping || journal->waiting.count > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        int late = 0;
        while (late == 0 && journal->waiting.count == 0 && !journal->stopping)
            late = pthread_cond_timedwait(&journal->wake, &journal->lock, &until);
        if (journal->waiting.count > 0) {
            commit_group(journal, &spare);
        } else if (late != 0) {
            pthread_mutex_unlock(&journal->lock);
            weir_log_clear(journal->log);
            pthread_mutex_lock(&journal->lock);
        }
    }
    pthread_mutex_unlock(&journal->lock);
    free((void *)spare.all);
    return NULL;
}

/* ---- beginning and end ---- */

static void refresh(struct weir_metric_set *set, void *self) {
    struct weir_journal *journal = self;
    struct weir_log_stats stats;
    weir_log_stats(journal->log, &stats);
    weir_gauge(set, JOURNAL_BYTES, stats.bytes);
    weir_gauge(set, JOURNAL_SEGMENTS, stats.segments);
    weir_gauge(set, JOURNAL_LIMIT, journal->options.max_bytes);
}

enum weir_status weir_journal_open(struct weir_journal **journal, const struct weir_journal_options *options,
                                   struct weir_error *err) {
    char directory[PATH_MAX / 2];
    if ((size_t)snprintf(directory, sizeof directory, "%s/journal", options->directory) >= sizeof directory)
        return weir_fail(err, WEIR_INVALID, 0, false, "journal: the directory's name is too long");
    struct weir_journal *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, true, "journal: out of memory");
    made->options = *options;
    made->options.directory = NULL; /* the caller's */
    weir_cond_init(&made->wake);
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->sync_lock, NULL);
    const struct weir_log_options log = {.directory = directory,
                                         .segment_bytes = options->segment_bytes,
                                         .max_bytes = options->max_bytes,
                                         .disk = options->disk,
                                         .patience_ns = PATIENCE_NS};
    enum weir_status status = weir_log_open(&made->log, &log, err);
    if (status == WEIR_OK) {
        made->metrics = weir_metrics_open(options->metrics, metrics, JOURNAL_METRICS, NULL);
        if (made->metrics == NULL) status = weir_fail(err, WEIR_FULL, 0, true, "journal: out of memory");
    }
    if (status != WEIR_OK) {
        weir_journal_close(made);
        return status;
    }
    weir_metrics_refresh(options->metrics, made->metrics, refresh, made);
    *journal = made;
    return WEIR_OK;
}

enum weir_status weir_journal_start(struct weir_journal *journal, struct weir_error *err) {
    int failed = weir_thread_start(&journal->thread, "journal", run, journal);
    if (failed != 0) return weir_fail(err, WEIR_IO, failed, true, "journal: thread: %s", strerror(failed));
    pthread_mutex_lock(&journal->lock);
    journal->started = true;
    pthread_mutex_unlock(&journal->lock);
    return WEIR_OK;
}

void weir_journal_stop(struct weir_journal *journal) {
    if (journal == NULL) return;
    pthread_mutex_lock(&journal->lock);
    bool running = journal->started && !journal->stopping;
    journal->stopping = true;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (running) pthread_join(journal->thread, NULL);
}

void weir_journal_close(struct weir_journal *journal) {
    if (journal == NULL) return;
    weir_journal_stop(journal);
    if (journal->started) weir_log_clear(journal->log);
    weir_metrics_close(journal->options.metrics, journal->metrics);
    weir_log_close(journal->log);
    free((void *)journal->waiting.all);
    pthread_cond_destroy(&journal->wake);
    pthread_mutex_destroy(&journal->lock);
    pthread_mutex_destroy(&journal->sync_lock);
    free(journal);
}
