/* journal_replay.c - what a restart finds. Which decisions count for a span is told by where both stand: a restart
 * before this one may have copied what was undecided behind segment M, and marked that ("moved M"). For a span at or
 * before M (the first mark that is not before it) only decisions up to M count; without one it stands once more behind
 * M, and is skipped here. */
#include "collector/core/log.h"
#include "collector/spool/decided.h"
#include "collector/spool/journal_inside.h"
#include "collector/spool/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DECISIONS_MAX = 3 << 20 /* 128 MiB of table, at the start only */, MARKS_MAX = 64 };

struct replay {
    struct weir_journal *journal;
    const struct weir_journal_recovery *recovery;
    struct weir_decided *decided;
    struct weir_spool_reader *kept;
    uint64_t marks[MARKS_MAX]; /* ascending */
    uint32_t mark_count;
    uint64_t segment; /* of the record at hand */
    uint64_t forgotten, skipped;
    uint64_t spans[WEIR_FATES];
    struct weir_log_limit limit;
};

static void broken(void *self, const char *file, uint64_t offset, const char *why) {
    struct replay *replay = self;
    weir_log_limited(&replay->limit, WEIR_LOG_WARN, "journal_damaged file=%s offset=%" PRIu64 " why=\"%s\"", file,
                     offset, why);
}

static void unsound(struct replay *replay, const struct weir_log_record *record, const char *why) {
    char file[32];
    snprintf(file, sizeof file, "%08" PRIu64 ".log", record->segment);
    weir_count_shared(replay->journal->metrics, JOURNAL_RECORDS_BAD, 1);
    broken(replay, file, record->offset, why);
}

/* ---- first: decisions ---- */

static void one_decision(void *self, uint64_t trace_hi, uint64_t trace_lo, const struct weir_verdict *verdict) {
    struct replay *replay = self;
    if (!weir_decided_put(replay->decided, trace_hi, trace_lo, verdict, replay->segment)) replay->forgotten++;
    if (replay->recovery->decided != NULL)
        replay->recovery->decided(replay->recovery->self, trace_hi, trace_lo, verdict);
}

static int gather(void *self, const struct weir_log_record *record) {
    struct replay *replay = self;
    struct weir_error err = {0};
    replay->segment = record->segment;
    if (record->type == JOURNAL_DECISIONS) {
        if (weir_decided_read(record->bytes, record->size, replay->journal->options.names, one_decision, replay,
                              &err) != WEIR_OK)
            unsound(replay, record, err.text);
    } else if (record->type == JOURNAL_MOVED && record->size == sizeof(uint64_t)) {
        if (replay->mark_count == MARKS_MAX) { /* the oldest has the least to say */
            memmove(replay->marks, replay->marks + 1, (MARKS_MAX - 1) * sizeof replay->marks[0]);
            replay->mark_count--;
        }
        memcpy(&replay->marks[replay->mark_count++], record->bytes, sizeof(uint64_t));
    }
    return 0;
}

/* ---- then: spans ---- */

static void one_span(void *self, struct weir_batch *batch, uint32_t i) {
    struct replay *replay = self;
    const struct weir_span *span = &batch->spans[i];
    struct weir_verdict verdict;
    uint64_t at, moved = 0;
    for (uint32_t m = replay->mark_count; m-- > 0 && replay->marks[m] >= replay->segment;)
        moved = replay->marks[m];
    bool known = weir_decided_find(replay->decided, span->trace_hi, span->trace_lo, &verdict, &at);
    if (moved != 0 && (!known || at > moved)) {
        replay->skipped++;
        return;
    }
    enum weir_fate fate = !known ? WEIR_FATE_UNDECIDED : verdict.kept ? WEIR_FATE_KEPT : WEIR_FATE_DROPPED;
    replay->spans[fate]++;
    weir_count_shared(replay->journal->metrics, JOURNAL_RECOVERED + fate, 1);
    replay->recovery->span(replay->recovery->self, batch, i, fate, known ? &verdict : NULL, replay->segment);
}

/* Spans that waited for nothing: they are where they were, on their way to the exporters. */
static void hand_out_kept(struct replay *replay, const struct weir_log_record *record) {
    static const struct weir_verdict as_it_is = {.kept = true};
    struct weir_batch *batch = NULL;
    struct weir_error err = {0};
    uint64_t unix_ns;
    if (weir_spool_record_read(replay->kept, record->bytes, record->size, &batch, &unix_ns, &err) != WEIR_OK) {
        unsound(replay, record, err.text);
        return;
    }
    for (uint32_t i = 0; i < batch->span_count; i++) {
        replay->spans[WEIR_FATE_KEPT]++;
        weir_count_shared(replay->journal->metrics, JOURNAL_RECOVERED + WEIR_FATE_KEPT, 1);
        replay->recovery->span(replay->recovery->self, batch, i, WEIR_FATE_KEPT, &as_it_is, record->segment);
    }
    weir_batch_unref(batch);
}

static int hand_out(void *self, const struct weir_log_record *record) {
    struct replay *replay = self;
    const struct weir_journal_options *options = &replay->journal->options;
    struct weir_error err = {0};
    replay->segment = record->segment;
    if (record->type == JOURNAL_KEPT) hand_out_kept(replay, record);
    if (record->type != JOURNAL_SPANS) return 0;
    if (options->read(record->bytes, record->size, options->names, one_span, replay, &err) != WEIR_OK)
        unsound(replay, record, err.text);
    return 0;
}

enum weir_status weir_journal_replay(struct weir_journal *journal, const struct weir_journal_recovery *recovery,
                                     struct weir_error *err) {
    struct replay replay = {.journal = journal, .recovery = recovery};
    struct weir_log_stats stats;
    if (weir_log_found(journal->log) == 0) return WEIR_OK;
    replay.decided = weir_decided_new(DECISIONS_MAX);
    replay.kept = weir_spool_reader_new(journal->options.names);
    enum weir_status status = WEIR_OK;
    if (replay.decided == NULL || replay.kept == NULL)
        status = weir_fail(err, WEIR_FULL, 0, true, "journal: out of memory");
    if (status == WEIR_OK) status = weir_log_replay(journal->log, gather, broken, &replay, err);
    if (status == WEIR_OK) status = weir_log_replay(journal->log, hand_out, NULL, &replay, err);
    weir_log_stats(journal->log, &stats);
    weir_count_shared(journal->metrics, JOURNAL_RECORDS_BAD, stats.records_bad);
    if (replay.forgotten > 0)
        weir_log(WEIR_LOG_WARN, "journal_decisions_forgotten count=%" PRIu64 " max=%d", replay.forgotten,
                 DECISIONS_MAX);
    weir_log(WEIR_LOG_INFO,
             "journal_replayed undecided=%" PRIu64 " kept=%" PRIu64 " dropped=%" PRIu64 " moved=%" PRIu64
             " decisions=%u bad=%" PRIu64,
             replay.spans[WEIR_FATE_UNDECIDED], replay.spans[WEIR_FATE_KEPT], replay.spans[WEIR_FATE_DROPPED],
             replay.skipped, weir_decided_count(replay.decided), stats.records_bad);
    weir_spool_reader_free(replay.kept);
    weir_decided_free(replay.decided);
    return status;
}

enum weir_status weir_journal_replayed(struct weir_journal *journal, struct weir_error *err) {
    uint64_t found = weir_log_found(journal->log);
    if (found == 0) return WEIR_OK;
    if (atomic_load(&journal->blocks_lost) > 0) {
        return weir_fail(err, WEIR_FULL, 0, true,
                         "journal: what was found could not be written anew, and stays until the next start");
    }
    /* The copies first: a mark that outlives them would lose what it speaks of. */
    enum weir_status status = weir_journal_sync(journal, err);
    if (status == WEIR_OK) status = weir_log_append(journal->log, JOURNAL_MOVED, &found, sizeof found, NULL, err);
    if (status == WEIR_OK) status = weir_journal_sync(journal, err);
    if (status == WEIR_OK) weir_log_let_go(journal->log);
    return status;
}
