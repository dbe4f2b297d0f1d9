/* sealed.h - records as bytes, and a closed block as a record of the journal.
 *
 *   "WTB1" (4) raw size (4) stored size (4) plain (1) 0 (1) origins (2)
 *   for each origin: resource, scope, resource URL, scope URL sizes (4 x 4), then those bytes
 *   the block: records one behind the other, zstd or plain
 *
 * Little endian. A checksum is the log's affair. */
#ifndef WEIR_SAMPLE_SEALED_H
#define WEIR_SAMPLE_SEALED_H
#include "collector/core/buffer.h"
#include "collector/sample/blocks.h"

enum { WEIR_RECORD_HEAD_BYTES = 22, WEIR_RECORD_CHANGED_BYTES = 16 };

/* At most WEIR_RECORD_HEAD_BYTES + WEIR_RECORD_CHANGED_BYTES + size; returns how many. */
size_t weir_record_write(uint8_t *out, const struct weir_record *record, uint16_t origin);
/* The record that starts at `bytes`; 0: it does not fit into `size`, or its origin is none of them. */
size_t weir_record_read(const uint8_t *bytes, size_t size, struct weir_origin *const *origins, uint32_t origin_count,
                        struct weir_record *record);
void weir_sealed_write(struct weir_buffer *out, struct weir_origin *const *origins, uint32_t origin_count,
                       const uint8_t *stored, size_t size, size_t raw_size, bool plain);
#endif
