/* spool.h - what one exporter's queue has no memory for, on disk: batches as records of a log (log.h), read back in the
 * order in which they were written, in constant memory, and removed segment by segment when they are settled.
 *
 *   write ──> | segment 7 | segment 8 | segment 9 ... ──> disk
 *                ^ cursor     ^ read
 *                │            └ the next batch to be read back
 *                └ all before it is settled: a start goes on from here
 *
 *   DIRECTORY/NNNNNNNN.log   records: batches (record.h), and behind the last of a segment an index of it
 *   DIRECTORY/cursor         the place of the cursor, at most a second old: what was settled since may come again
 *
 * A record's type says how many spans it has, under the checksum of its head, and a segment's index says how many all
 * have: so a start knows without reading a backlog how many spans it found, and what is damaged is counted in spans.
 * One thread, the queue's. */
#ifndef WEIR_SPOOL_SPOOL_H
#define WEIR_SPOOL_SPOOL_H
#include "collector/core/batch.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/spool/log.h"

struct weir_spool;

struct weir_spool_options {
    const char *directory;             /* of this exporter; made when it is missing */
    const char *exporter;              /* for log lines and series */
    uint64_t segment_bytes, max_bytes; /* log.h */
    int level;                         /* zstd's, -7 to 19 */
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    const struct weir_log_disk *disk; /* NULL: the system's */
};

/* Looks what is there: no batch is read. WEIR_IO: the directory is another process's, or the disk said no. */
enum weir_status weir_spool_open(struct weir_spool **spool, const struct weir_spool_options *options,
                                 struct weir_error *err);
/* Spans that are here and were not read back yet. */
uint64_t weir_spool_spans(const struct weir_spool *spool);

/* Appends spans [*from, span_count) of a batch that is age_ns old, as one record or, where it is very large, as
 * several; *from is then what was not written. WEIR_FULL: max_bytes is met, see weir_spool_make_room(), or out of
 * memory; WEIR_IO: the disk said no; WEIR_INVALID: span *from is larger than a record can be, or than max_bytes. */
enum weir_status weir_spool_write(struct weir_spool *spool, const struct weir_batch *batch, uint32_t *from,
                                  uint64_t age_ns, struct weir_error *err);
/* What was written is safe against power loss. */
enum weir_status weir_spool_sync(struct weir_spool *spool, struct weir_error *err);
/* Gives up the oldest segment of which something was not read back yet; returns the spans that are lost with it, 0 when
 * there is no other than the one that is being written. */
uint64_t weir_spool_make_room(struct weir_spool *spool);

struct weir_spool_read {
    struct weir_batch *batch; /* the caller's; NULL: there is nothing, or there was no memory */
    uint64_t token;           /* for weir_spool_settled() */
    uint64_t age_ns;
    uint64_t bytes;   /* on disk */
    uint64_t damaged; /* spans that were found unreadable on the way */
    uint64_t expired; /* spans older than max_age_ns that were passed over */
    bool refused;     /* the disk did not give what is there: to be asked again later, and damaged after many times */
};
/* The oldest batch that was not read back yet. */
void weir_spool_read(struct weir_spool *spool, uint64_t max_age_ns, struct weir_spool_read *read);
/* What was read back need not be kept any more. Each token once. */
void weir_spool_settled(struct weir_spool *spool, uint64_t token);
/* The oldest segment, which is the first to go; 0: there is none. And the one that a token's batch is in. */
uint64_t weir_spool_oldest(const struct weir_spool *spool);
bool weir_spool_has_newer(const struct weir_spool *spool); /* than the oldest */
uint64_t weir_spool_segment(const struct weir_spool *spool, uint64_t token);
/* Once a second or so: remembers the cursor, removes what may go, refreshes the series. */
void weir_spool_tick(struct weir_spool *spool);
/* What was read back and is not settled stays for the next start. Accepts NULL. */
void weir_spool_close(struct weir_spool *spool);

/* For tools: what DIRECTORY/cursor says. A file that is none leaves both as they are. */
void weir_spool_read_cursor(int fd, uint64_t *segment, uint64_t *offset);
#endif
