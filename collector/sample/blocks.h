/* blocks.h - where undecided spans lie: records in blocks that span traces. One thread, one lane.
 *
 *   hot block   records as they come, 64 KiB; two of them, for traces that look kept and for the others
 *   cold block  a hot one that is full, compressed (zstd), packed behind the one before in a segment
 *   segment     128 KiB of memory of its own, given back when none of its blocks is needed
 *
 *   record      serial (4) slot (4) body size (4) operation (4) flags (2) origin (2) receiver (1) status (1)
 *               [threshold (8) prior (8): where flags say that they changed] Span body
 *
 * A block is needed while a reference to it stands; who holds spans counts them. Exact: weir_blocks_memory() is what
 * was asked of the system, less the hot blocks and the codec, which are a constant. */
#ifndef WEIR_SAMPLE_BLOCKS_H
#define WEIR_SAMPLE_BLOCKS_H
#include "collector/core/batch.h"

enum { WEIR_HOT_BYTES = 64 * 1024, WEIR_SEGMENT_BYTES = 128 * 1024, WEIR_HOT_BLOCKS = 2 };
enum { WEIR_BLOCK_NONE = 0xffffffff };

struct weir_record {
    uint32_t serial, slot;      /* of the trace: who wrote it */
    uint32_t operation;         /* name id: rules may have renamed it */
    uint64_t threshold;         /* with WEIR_SPAN_TH_CHANGED */
    double prior;               /* with WEIR_SPAN_PRIOR_CHANGED */
    struct weir_origin *origin; /* borrowed */
    const uint8_t *body;
    uint32_t size;
    uint16_t flags;
    uint8_t receiver, status;
};

struct weir_blocks;
struct weir_blocks_env {
    bool compress;
    void *self;
    /* Is there room for so many bytes more? May release blocks to make it. */
    bool (*room)(void *self, size_t bytes);
    /* A block was closed; NULL: nobody wants to know. The journal's token is given back to gone(). */
    uint64_t (*sealed)(void *self, const uint8_t *bytes, size_t size, uint32_t records);
    void (*gone)(void *self, uint64_t token);
};

struct weir_blocks *weir_blocks_new(const struct weir_blocks_env *env); /* NULL: out of memory */
void weir_blocks_compress(struct weir_blocks *blocks, bool compress);   /* from the next block on */
/* Writes a record into hot block 0 or 1. Returns the block, which is needed by nobody yet: call weir_blocks_hold().
 * WEIR_BLOCK_NONE: no memory, nothing written. */
uint32_t weir_blocks_put(struct weir_blocks *blocks, unsigned hot, const struct weir_record *record);
void weir_blocks_hold(struct weir_blocks *blocks, uint32_t block);
/* One reference less, and so many of its records that nobody needs. */
void weir_blocks_release(struct weir_blocks *blocks, uint32_t block, uint32_t records);
bool weir_blocks_seal(struct weir_blocks *blocks); /* both hot blocks; false: no room for one, it stays hot */
/* Marks a block; false: it was marked so already. A trace may have two references to one block. */
bool weir_blocks_mark(struct weir_blocks *blocks, uint32_t block, uint32_t mark);
/* The records of a block, in their order; `each` may put records. False: no memory to decompress into. */
bool weir_blocks_read(struct weir_blocks *blocks, uint32_t block,
                      void (*each)(void *self, const struct weir_record *record), void *self);
/* The blocks of the oldest segment of which less than half of the records are needed; WEIR_BLOCK_NONE ends. 0: there is
 * none. At most `max`. */
uint32_t weir_blocks_sparse(const struct weir_blocks *blocks, uint32_t *found, uint32_t max);
uint64_t weir_blocks_memory(const struct weir_blocks *blocks);
void weir_blocks_free(struct weir_blocks *blocks); /* accepts NULL */

/* What sealed() was given, read back: each record, with slot, serial and operation as they were, which mean nothing any
 * more. origin() makes an origin of its parts (a reference that the caller of read owns; NULL: out of memory).
 * WEIR_INVALID: not a sound record, `each` may have seen some of it. */
struct weir_blocks_reader {
    void *self;
    struct weir_origin *(*origin)(void *self, const struct weir_origin_parts *parts);
    void (*each)(void *self, const struct weir_record *record);
};
enum weir_status weir_blocks_read_sealed(const uint8_t *bytes, size_t size, const struct weir_blocks_reader *reader,
                                         struct weir_error *err);
#endif
