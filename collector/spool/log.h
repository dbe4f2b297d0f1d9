/* log.h - the one format on disk for every durable thing (docs/decisions/0009): append-only segments of records, each
 * with a checksum; group commit; streaming replay in constant memory; a bad record is skipped and counted, never fatal.
 *
 *   DIRECTORY/00000001.log   a header (magic, format version), then records: size, type, checksum, payload
 *
 * One writer thread (what calls append, sync, pin); unpin() from any thread. Segments go from the oldest on, as soon as
 * nothing pins them. ENOSPC and I/O errors are a status, never an exit; a record is then not in the log, the torn end
 * is cut off, and the next append tries again. */
#ifndef WEIR_SPOOL_LOG_H
#define WEIR_SPOOL_LOG_H
#include "collector/core/error.h"

#include <stddef.h>
#include <stdint.h>

struct weir_log;

struct weir_log_options {
    const char *directory;  /* made when missing, 0700; locked (flock) against a second process */
    uint64_t segment_bytes; /* from 1 MiB; then the next one */
    uint64_t max_bytes;     /* of all segments; beyond, append answers WEIR_FULL */
};

struct weir_log_stats {
    uint64_t bytes, segments;
    uint64_t records_bad, bytes_bad; /* seen by replay */
};

/* Opens for appending behind what is there; nothing of it is lost. */
enum weir_status weir_log_open(struct weir_log **log, const struct weir_log_options *options, struct weir_error *err);

struct weir_log_record {
    uint64_t segment; /* its number */
    uint64_t offset;
    uint32_t type; /* the caller's */
    const uint8_t *bytes;
    size_t size;
};
/* Every whole record that was there at open, oldest first, in memory bounded by the largest record. What is torn,
 * flipped or of another version is skipped, counted, and told to `broken` (may be NULL) with file and offset. Not 0
 * from `record`: stop. Before the first append. */
enum weir_status weir_log_replay(struct weir_log *log, int (*record)(void *self, const struct weir_log_record *record),
                                 void (*broken)(void *self, const char *file, uint64_t offset, const char *why),
                                 void *self, struct weir_error *err);
/* Appends to the page cache (safe against the process's death). *segment: where it went. */
enum weir_status weir_log_append(struct weir_log *log, uint32_t type, const void *bytes, size_t size, uint64_t *segment,
                                 struct weir_error *err);
enum weir_status weir_log_sync(struct weir_log *log, struct weir_error *err); /* fdatasync: safe against power loss */
/* A segment is removed when it is the oldest, is full or older than another, and its pins are gone. Segments found at
 * open are pinned once each until weir_log_unpin(). Segment 0 = none: ignored. */
void weir_log_pin(struct weir_log *log, uint64_t segment);
void weir_log_unpin(struct weir_log *log, uint64_t segment);
void weir_log_trim(struct weir_log *log); /* removes what may go; writer thread */
void weir_log_stats(const struct weir_log *log, struct weir_log_stats *stats);
void weir_log_close(struct weir_log *log); /* accepts NULL */
#endif
