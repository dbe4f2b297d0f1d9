/* log_format.h - the bytes of a segment of the log (log.h), written and read back. Pure: no I/O, no clock.
 *
 *   header, 32 bytes      0        8         12      16                24
 *                         +--------+---------+-------+-----------------+-----------------+
 *                         |WEIRLOG\n| version | 0     | segment's number| XXH3 of 0 .. 24 |
 *                         +--------+---------+-------+-----------------+-----------------+
 *   record, 24 + size     0        4         8       12                16                24
 *                         +--------+---------+-------+-----------------+-----------------+---------
 *                         | mark   | type    | size  | check of 0 .. 12| XXH3 of payload | payload
 *                         +--------+---------+-------+-----------------+-----------------+---------
 *
 * Little endian, nothing between records. The check of a head is the low half of its XXH3. Both sums of a record are
 * seeded with where it stands, number << 32 | offset: what looks like a record inside a payload, or was written to
 * another place than it was meant for, is none. A head has a sum of its own, so that a flipped size is never believed
 * and the record behind a damaged one is found again by its mark. The header stays so in every version. */
#ifndef WEIR_SPOOL_LOG_FORMAT_H
#define WEIR_SPOOL_LOG_FORMAT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_LOG_VERSION = 1,
    WEIR_LOG_HEADER_BYTES = 32,
    WEIR_LOG_HEAD_BYTES = 24,
    WEIR_LOG_RECORD_MAX = 16 << 20, /* payload; what a reader may need to hold at once */
};

struct weir_log_record {
    uint64_t segment; /* its number */
    uint64_t offset;  /* of the head, in the segment */
    uint32_t type;    /* the caller's */
    const uint8_t *bytes;
    size_t size;
};

void weir_log_write_header(uint8_t header[WEIR_LOG_HEADER_BYTES], uint64_t segment);
/* size <= WEIR_LOG_RECORD_MAX */
void weir_log_write_head(uint8_t head[WEIR_LOG_HEAD_BYTES], uint64_t segment, uint64_t offset, uint32_t type,
                         const void *bytes, size_t size);

/* Of a record that stands at `offset`: false = no sound head. What it says of its size may be beyond the file's end. */
bool weir_log_read_head(const uint8_t head[WEIR_LOG_HEAD_BYTES], uint64_t segment, uint64_t offset, uint32_t *type,
                        uint32_t *size);

enum weir_log_header {
    WEIR_LOG_HEADER_OK,
    WEIR_LOG_HEADER_BAD,   /* torn, flipped, or of another segment: the records tell for themselves */
    WEIR_LOG_HEADER_OTHER, /* sound, of a version that we do not read: leave the file alone */
};
/* size may be less than a header's. *version is set on OTHER. */
enum weir_log_header weir_log_read_header(const uint8_t *bytes, size_t size, uint64_t segment, uint32_t *version);

enum weir_log_found {
    WEIR_LOG_RECORD, /* *record is whole; *step = its bytes, head included */
    WEIR_LOG_MORE,   /* call again with at least *step bytes from the same offset; not when `last` */
    WEIR_LOG_BAD,    /* *step bytes (at least 1) are no record; *why says why. What follows may be more of the same */
    WEIR_LOG_END,    /* no bytes */
};
/* What stands at bytes[0..size), which is at `offset` of segment `segment`. last: nothing follows in the file.
 * record->bytes points into `bytes`. */
enum weir_log_found weir_log_read(const uint8_t *bytes, size_t size, bool last, uint64_t segment, uint64_t offset,
                                  struct weir_log_record *record, size_t *step, const char **why);
#endif
