/* record.h - a batch as the payload of one record of the log (log.h), and back, the same for every exporter: bodies,
 * origins, views and their order.
 *
 *   payload   0       1   4      8        16          20         24           28
 *             +-------+---+------+--------+-----------+----------+------------+----------------+----------------+
 *             |version| 0 |spans |unix_ns |index bytes|body bytes|frame bytes |frame: the index|frame: bodies   |
 *             +-------+---+------+--------+-----------+----------+------------+----------------+----------------+
 *   index     origins, names, rows, extras: how many (4 x 4)
 *             of each origin: resource, scope, resource URL, scope URL sizes (4 x 4); of each name: its size (2)
 *             rows, what spans have in common (36 each, record_row.h)
 *             of each span: its row (2); of each span: size of its body (2); extras (8 each)
 *             origins' bytes, names' bytes
 *   bodies    of the spans, one behind the other
 *
 * Little endian; the frames are zstd's, `frame bytes` is the first one's size. A checksum is the log's affair. What a
 * view says is not stored but found in the body again, at the places that a span's row tells: a writer looks whether it
 * stands there, and where it does not writes it among the extras. So reading back costs no walk, and bodies are not
 * copied on the way out when they lie one behind the other already. Bytes in and out: no I/O, no clock. One thread. */
#ifndef WEIR_SPOOL_RECORD_H
#define WEIR_SPOOL_RECORD_H
#include "collector/core/batch.h"
#include "collector/core/names.h"

enum {
    WEIR_SPOOL_RECORD_VERSION = 1,
    WEIR_SPOOL_RECORD_HEAD_BYTES = 28,
    WEIR_SPOOL_RECORD_KIND = 1,                 /* a batch */
    WEIR_SPOOL_RECORD_MEMORY_MAX = 64 << 20,    /* what a record unpacks to: index, bodies and views. A message is at
                                                   most 16 MiB by default, a batch 1 MiB */
    WEIR_SPOOL_RECORD_SPANS_MAX = (1 << 28) - 1 /* of the log's type */
};

/* The log's type of a record: its spans stand in the record's head, which has a checksum of its own, so that they can
 * be counted without reading the payload. */
static inline uint32_t weir_spool_record_type(uint32_t spans) {
    return spans << 4 | WEIR_SPOOL_RECORD_KIND;
}
static inline uint32_t weir_spool_record_kind(uint32_t type) {
    return type & 15;
}
static inline uint32_t weir_spool_record_spans(uint32_t type) {
    return type >> 4;
}

struct weir_spool_record_head {
    uint32_t spans;
    uint64_t unix_ns; /* when it was pushed */
    uint32_t index_bytes, body_bytes, frame_bytes;
};
/* Of a payload of which only the first bytes may be there. WEIR_INVALID: none, or of another version, or too large to
 * be believed. */
enum weir_status weir_spool_record_head(const uint8_t *bytes, size_t size, struct weir_spool_record_head *head,
                                        struct weir_error *err);

struct weir_spool_writer; /* scratch and codec, kept between records */
/* level: of zstd, -7 (a third of the time) to 3. NULL: out of memory. */
struct weir_spool_writer *weir_spool_writer_new(const struct weir_names *names, int level);
void weir_spool_writer_free(struct weir_spool_writer *writer); /* accepts NULL */
/* The payload for spans [from, *to) of the batch, or for as many of them as one record has room for: then *to is the
 * first that is not in it, and is to be called with again. *bytes are good until the next call.
 *   WEIR_INVALID  not even span `from` alone fits into WEIR_LOG_RECORD_MAX
 *   WEIR_FULL     out of memory */
enum weir_status weir_spool_record_write(struct weir_spool_writer *writer, const struct weir_batch *batch,
                                         uint32_t from, uint32_t *to, uint64_t unix_ns, const uint8_t **bytes,
                                         size_t *size, struct weir_error *err);

struct weir_spool_reader;
struct weir_spool_reader *weir_spool_reader_new(struct weir_names *names); /* NULL: out of memory */
void weir_spool_reader_free(struct weir_spool_reader *reader);             /* accepts NULL */
/* A payload as a new batch without budget, receipt and birth. The bytes may be anything: every count, size and place is
 * checked, and memory is bounded by WEIR_SPOOL_RECORD_MEMORY_MAX; only whether a body is sound is not (the sum of
 * the log says that it is what was written): who reads it reads with bounds, as exporters do. WEIR_INVALID: no sound
 * record, err->text says why; WEIR_FULL: out of memory. *batch is set on WEIR_OK only. */
enum weir_status weir_spool_record_read(struct weir_spool_reader *reader, const uint8_t *bytes, size_t size,
                                        struct weir_batch **batch, uint64_t *unix_ns, struct weir_error *err);
#endif
