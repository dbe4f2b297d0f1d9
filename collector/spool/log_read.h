/* log_read.h - the records of one segment of the log (log.h), pulled one at a time, in memory bounded by the largest
 * record. Needs no lock and no struct weir_log: who writes the segment may do so meanwhile, and tools look at
 * directories of other processes. */
#ifndef WEIR_SPOOL_LOG_READ_H
#define WEIR_SPOOL_LOG_READ_H
#include "collector/core/error.h"
#include "collector/spool/log_format.h"

enum { WEIR_LOG_NAME_BYTES = 32 };
/* 12 -> "00000012.log" */
void weir_log_name(uint64_t segment, char name[WEIR_LOG_NAME_BYTES]);
/* "00000012.log" -> 12; 0 = no segment's name. */
uint64_t weir_log_number(const char *name);

struct weir_log_reader;

/* A place that is damaged. */
struct weir_log_damage {
    uint64_t segment, offset, bytes;
    const char *why;    /* good until the next call */
    bool more_of_it;    /* it goes on where the one before it ended: one place, for who counts them */
    bool other_version; /* all of the segment: of a version of the format that this does not read */
    bool refused;       /* the rest of the segment: the disk's answer, which may be another the next time */
};

enum weir_log_next {
    WEIR_LOG_NEXT_RECORD, /* *record; its bytes are good until the next call */
    WEIR_LOG_NEXT_DAMAGE, /* *damage; what follows is read all the same */
    WEIR_LOG_NEXT_END,    /* nothing more now: a segment that is still written may have more later */
    WEIR_LOG_NEXT_FULL,   /* out of memory; the same again by the next call */
};

struct weir_log_reader *weir_log_reader_new(void); /* NULL: out of memory */
/* The records of a segment from `offset` on (0: from its header; else the beginning of a record). What was open before
 * is closed. WEIR_IO: cannot be opened. */
enum weir_status weir_log_reader_open(struct weir_log_reader *reader, int directory_fd, uint64_t segment,
                                      uint64_t offset, struct weir_error *err);
enum weir_log_next weir_log_reader_next(struct weir_log_reader *reader, struct weir_log_record *record,
                                        struct weir_log_damage *damage);
/* Where the next record begins. */
uint64_t weir_log_reader_offset(const struct weir_log_reader *reader);
/* Gives back the window of a large record. */
void weir_log_reader_close(struct weir_log_reader *reader);
void weir_log_reader_free(struct weir_log_reader *reader); /* accepts NULL */
#endif
