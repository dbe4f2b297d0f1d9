/* log.h - the one format on disk for every durable thing (docs/decisions/0009): append-only segments of records, each
 * with a checksum; group commit; streaming replay in constant memory; a bad record is skipped and counted, never fatal.
 *
 *   DIRECTORY/lock           flock: one process at a time
 *   DIRECTORY/00000001.log   a header (magic, format version), then records: size, type, checksum, payload
 *   DIRECTORY/00000002.log   (log_format.h draws the bytes); only the newest is written, and never one of another start
 *
 * Any thread may append, pin, unpin and trim; one at a time syncs, and waits for the disk outside the lock: who appends
 * waits for write(2), never for fdatasync(2). Segments go from the oldest on, as soon as nothing pins them, so that a
 * pin holds what is newer too. The newest stays, if only to keep the number: numbers are never used twice.
 * ENOSPC and I/O errors are a status, never an exit; a record is then not in the log, the torn end is cut off, and the
 * next append tries again. */
#ifndef WEIR_SPOOL_LOG_H
#define WEIR_SPOOL_LOG_H
#include "collector/core/error.h"
#include "collector/spool/log_format.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct weir_log;

/* Every call that changes the disk, as the system call that it stands for, and the pause before it is asked again.
 * Tests give their own; NULL: the system's. */
struct weir_log_disk {
    int (*create)(int directory_fd, const char *name); /* openat, for writing: made new (O_EXCL), 0600 */
    ssize_t (*write)(int fd, const void *bytes, size_t size, off_t offset); /* pwrite */
    int (*truncate)(int fd, off_t size);                                    /* ftruncate */
    int (*sync)(int fd);                                                    /* fdatasync, of a segment */
    int (*sync_names)(int directory_fd);                                    /* fsync, of the directory */
    int (*unlink)(int directory_fd, const char *name);                      /* unlinkat */
    void (*pause)(uint64_t ns);                                             /* nanosleep */
};

struct weir_log_options {
    const char *directory;  /* made when missing, 0700; locked (flock) against a second process */
    uint64_t segment_bytes; /* from 1 MiB to 1 GiB; then the next one. A larger record has a segment to itself */
    uint64_t max_bytes;     /* of all segments; beyond, append answers WEIR_FULL */
    /* What is found at open is used where it is: it counts for max_bytes from the start, and each segment has one pin
     * that the caller gives up when he is done with it. Else see weir_log_let_go(). */
    bool in_place;
    const struct weir_log_disk *disk; /* NULL: the system's */
    uint64_t patience_ns; /* replays ask a disk that does not give what is there again, for so long in all */
};

struct weir_log_stats {
    uint64_t bytes, segments;
    uint64_t records_bad, bytes_bad; /* seen by the last replay: places that are damaged, and what they are long */
};

/* Opens for appending behind what is there; nothing of it is lost. WEIR_IO: it is another process's, or the system
 * said no; WEIR_INVALID: the bounds make no sense. */
enum weir_status weir_log_open(struct weir_log **log, const struct weir_log_options *options, struct weir_error *err);

/* Every whole record that was there at open, oldest first, in memory bounded by the largest record. What is torn,
 * flipped or of another version is skipped, counted, and told to `broken` (may be NULL) with file and offset. Not 0
 * from `record`: stop, WEIR_CLOSED. record->bytes is good during the call. May be called again, as long as the segments
 * are there. WEIR_FULL: out of memory. */
enum weir_status weir_log_replay(struct weir_log *log, int (*record)(void *self, const struct weir_log_record *record),
                                 void (*broken)(void *self, const char *file, uint64_t offset, const char *why),
                                 void *self, struct weir_error *err);
/* For who reads for himself (log_read.h): where the segments are, and the first with a number greater than `number`;
 * false = none. */
int weir_log_directory(const struct weir_log *log);
struct weir_log_segment {
    uint64_t number, bytes;
    bool found; /* at open */
};
bool weir_log_segment_after(struct weir_log *log, uint64_t number, struct weir_log_segment *segment);
/* Appends to the page cache (safe against the process's death). *segment: where it went, pinned once; NULL: not asked,
 * not pinned. WEIR_FULL: max_bytes, after trimming. WEIR_INVALID: more than WEIR_LOG_RECORD_MAX. WEIR_IO: the disk. */
enum weir_status weir_log_append(struct weir_log *log, uint32_t type, const void *bytes, size_t size, uint64_t *segment,
                                 struct weir_error *err);
/* fdatasync: what was appended before the call is safe against power loss, the names of its segments too; and what was
 * found at open, which the process before may have left in memory. On WEIR_IO it is not known what of it is since the
 * last sync that was well; the next append goes to a segment of its own. */
enum weir_status weir_log_sync(struct weir_log *log, struct weir_error *err);
/* A segment is removed when it is the oldest, is not being written, and its pins are gone. Segments found at open are
 * pinned once each until weir_log_let_go(); until then they do not count for max_bytes, so that what is needed of them
 * can be written anew. Segment 0, or one that is gone: ignored. */
void weir_log_pin(struct weir_log *log, uint64_t segment);
void weir_log_unpin(struct weir_log *log, uint64_t segment);
/* Pins the segment that is being written, begun if there is none: whatever is appended from now on stays too. 0 = the
 * disk said no. */
uint64_t weir_log_pin_newest(struct weir_log *log);
/* The segment that the next record goes to, if it fits; 0: to one that is not begun yet. */
uint64_t weir_log_writing(struct weir_log *log);
void weir_log_let_go(struct weir_log *log); /* once: what was found at open */
/* The newest that was there at open; 0 = none. */
uint64_t weir_log_found(const struct weir_log *log);
void weir_log_trim(struct weir_log *log); /* removes what may go */
/* Trims, the segment that is being written too when nothing pins it (the next is begun): what is left is what is
 * pinned, and one empty segment. */
void weir_log_clear(struct weir_log *log);
void weir_log_stats(struct weir_log *log, struct weir_log_stats *stats);
void weir_log_close(struct weir_log *log); /* without a sync; accepts NULL */
#endif
