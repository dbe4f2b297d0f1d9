/* pool.h - many small things of one size, named by numbers: in chunks that are given back when nothing is in them, so
 * that what a wave of traces needed is there for other things once it is over. One thread.
 *
 *   number = chunk << shift | place in it
 *
 * Free places of a chunk are chained by their first four bytes; the rest of a free thing stays as it was, as long as
 * its chunk is there. New things go to the chunk that had room last, so that the others empty. */
#ifndef WEIR_SAMPLE_POOL_H
#define WEIR_SAMPLE_POOL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_POOL_NONE = 0xffffffff };

struct weir_pool_chunk {
    uint8_t *things;        /* NULL: given back */
    uint32_t used, free;    /* first free place */
    uint32_t before, after; /* in the list of those with room; without things, `after` is the next without */
};

struct weir_pool {
    struct weir_pool_chunk *chunks;
    uint32_t chunk_count, chunk_capacity;
    uint32_t roomy, absent; /* lists */
    uint32_t empty;         /* chunks with nothing in them */
    uint32_t size, shift;
    uint64_t memory; /* bytes of all of this */
};

/* Things of `size` bytes, 4 or more, 2^shift a chunk. Allocates nothing. */
void weir_pool_init(struct weir_pool *pool, uint32_t size, uint32_t shift);
void weir_pool_free(struct weir_pool *pool);
/* Bytes that one more thing would add. */
size_t weir_pool_need(const struct weir_pool *pool);
/* One that is free, with whatever is in it. WEIR_POOL_NONE: out of memory. */
uint32_t weir_pool_take(struct weir_pool *pool);
void weir_pool_give(struct weir_pool *pool, uint32_t number);

static inline void *weir_pool_at(const struct weir_pool *pool, uint32_t number) {
    uint32_t place = number & ((1u << pool->shift) - 1);
    return pool->chunks[number >> pool->shift].things + (size_t)place * pool->size;
}
/* Is its chunk there? For numbers that may be of another day. */
static inline bool weir_pool_has(const struct weir_pool *pool, uint32_t number) {
    return number >> pool->shift < pool->chunk_count && pool->chunks[number >> pool->shift].things != NULL;
}
#endif
