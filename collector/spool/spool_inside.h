/* spool_inside.h - what spool.c (writes, reads back, settles) and spool_found.c (what a start finds) share. */
#ifndef WEIR_SPOOL_SPOOL_INSIDE_H
#define WEIR_SPOOL_SPOOL_INSIDE_H
#include "collector/core/log.h"
#include "collector/spool/log_read.h"
#include "collector/spool/record.h"
#include "collector/spool/spool.h"

enum {
    SPOOL_INDEX_KIND = 2, /* beside WEIR_SPOOL_RECORD_KIND, in the low bits of a record's type */
    SPOOL_INDEX_BYTES = 24,
    SPOOL_INDEX_RECORD_BYTES = WEIR_LOG_HEAD_BYTES + SPOOL_INDEX_BYTES,
    SPOOL_CURSOR_BYTES = 40,
};

/* index, the last record of a segment that was full or closed in order; little endian:
 *   0         4   8         16                24
 *   +---------+---+---------+-----------------+
 *   | records | 0 | spans   | newest, unix ns |
 *   +---------+---+---------+-----------------+
 * cursor, a file of its own:
 *   0          8         12  16        24        32             40
 *   +----------+---------+---+---------+---------+--------------+
 *   |WEIRCUR\n | version | 0 | segment | offset  | XXH3 of 0..32|
 *   +----------+---------+---+---------+---------+--------------+ */

/* One that holds something that is not settled. Has one pin in the log. */
struct spool_segment {
    uint64_t number;
    uint64_t start;           /* where reading begins: 0, or the cursor */
    uint32_t records;         /* not read back yet, as far as it is known */
    uint32_t unsettled;       /* read back, and not settled */
    uint32_t refusals;        /* so often, in a row, the disk did not give what is there */
    uint64_t spans;           /* of `records` */
    uint64_t newest_unix_ns;  /* of its batches; 0: not known */
    bool aside;               /* cannot be read here (another version, no right): left alone until there is no room */
    uint32_t written_records; /* by this process, for its index */
    uint64_t written_spans, written_bytes;
};

struct spool_reading { /* read back, in order */
    uint64_t segment, end;
    bool settled;
};

struct weir_spool {
    struct weir_log *log;
    char exporter[64];
    struct weir_names *names;
    const struct weir_clock *clock;
    uint64_t unix_at_open_ns, mono_at_open_ns; /* so that a clock that is set meanwhile makes nothing older */
    uint64_t segment_bytes, max_bytes;
    struct weir_spool_writer *writer;
    struct weir_spool_reader *batches;
    struct weir_log_reader *reader;
    uint64_t reading_segment;       /* that reader has open; 0 = none */
    struct spool_segment *segments; /* the oldest first */
    size_t segment_count, segment_capacity;
    bool writing;                   /* the last of them is the one that is written */
    struct spool_reading *readings; /* ring; token of readings[first % capacity] is first_token */
    size_t reading_count, reading_capacity;
    uint64_t first_token;
    uint64_t spans; /* not read back */
    int cursor_fd;
    int (*sync)(int fd); /* fdatasync, or a test's */
    uint64_t cursor_segment, cursor_offset;
    bool cursor_moved;
    struct weir_metrics *registry;
    struct weir_metric_set *metrics;
    struct weir_log_limit damage_limit, refused_limit;
};

enum spool_metric {
    SPOOL_BYTES,
    SPOOL_LIMIT,
    SPOOL_SEGMENTS,
    SPOOL_DAMAGED_SPANS,
    SPOOL_WRITTEN,
    SPOOL_WRITTEN_BYTES,
    SPOOL_READ,
    SPOOL_DAMAGED_PLACES,
    SPOOL_DAMAGED_BYTES,
    SPOOL_ERRORS_FULL,
    SPOOL_ERRORS_IO,
    SPOOL_ERRORS_READ,
    SPOOL_METRICS
};

/* Fills segments, spans and the cursor from what is in the directory. */
enum weir_status weir_spool_survey(struct weir_spool *spool, struct weir_error *err);
bool weir_spool_add_segment(struct weir_spool *spool, const struct spool_segment *segment); /* false: out of memory */
void weir_spool_write_cursor(struct weir_spool *spool);
/* Counts and logs. */
void weir_spool_tell_damage(struct weir_spool *spool, const struct weir_log_damage *damage);
#endif
