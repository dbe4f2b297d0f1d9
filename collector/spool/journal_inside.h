/* journal_inside.h - what journal.c (lanes, the thread that syncs) and journal_replay.c (after a restart) share. */
#ifndef WEIR_SPOOL_JOURNAL_INSIDE_H
#define WEIR_SPOOL_JOURNAL_INSIDE_H
#include "collector/spool/journal.h"

#include <pthread.h>

/* Types of records. */
enum { JOURNAL_SPANS = 1, JOURNAL_DECISIONS = 2, JOURNAL_MOVED = 3, JOURNAL_KEPT = 4 };

enum journal_metric {
    JOURNAL_BYTES,
    JOURNAL_SEGMENTS,
    JOURNAL_LIMIT,
    JOURNAL_RECORDS_SPANS,
    JOURNAL_RECORDS_DECISIONS,
    JOURNAL_RECORDS_KEPT,
    JOURNAL_LOST_SPANS,
    JOURNAL_LOST_DECISIONS,
    JOURNAL_SPANS_WRITTEN,
    JOURNAL_COMMIT_SUM,
    JOURNAL_COMMIT_COUNT,
    JOURNAL_COMMITS_FAILED,
    JOURNAL_RECORDS_BAD,
    JOURNAL_RECOVERED, /* [fate] */
    JOURNAL_METRICS = JOURNAL_RECOVERED + WEIR_FATES
};

struct receipts {
    struct weir_receipt **all;
    size_t count, capacity;
};

struct weir_journal {
    struct weir_log *log;
    struct weir_journal_options options;
    struct weir_metric_set *metrics;
    pthread_mutex_t sync_lock; /* one syncs at a time */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
    _Atomic uint64_t blocks_lost;
    /* under lock */
    bool stopping;
    struct receipts waiting; /* for the next sync */
    uint64_t failures;       /* syncs that failed: what was written before them may be on no disk */
};

enum weir_status weir_journal_sync(struct weir_journal *journal, struct weir_error *err);
#endif
