#include "collector/sample/pool.h"

#include "collector/core/block.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNKS_FIRST = 16 };

void weir_pool_init(struct weir_pool *pool, uint32_t size, uint32_t shift) {
    *pool = (struct weir_pool){.size = size, .shift = shift, .roomy = WEIR_POOL_NONE, .absent = WEIR_POOL_NONE};
}

static size_t chunk_bytes(const struct weir_pool *pool) {
    return (size_t)pool->size << pool->shift;
}

void weir_pool_free(struct weir_pool *pool) {
    for (uint32_t i = 0; i < pool->chunk_count; i++)
        weir_block_put(pool->chunks[i].things, chunk_bytes(pool));
    free(pool->chunks);
    *pool = (struct weir_pool){.size = pool->size, .shift = pool->shift};
}

static uint32_t next_capacity(const struct weir_pool *pool) {
    return pool->chunk_capacity == 0 ? CHUNKS_FIRST : 2 * pool->chunk_capacity;
}

size_t weir_pool_need(const struct weir_pool *pool) {
    if (pool->roomy != WEIR_POOL_NONE) return 0;
    size_t need = chunk_bytes(pool);
    if (pool->absent == WEIR_POOL_NONE && pool->chunk_count == pool->chunk_capacity)
        need += (next_capacity(pool) - pool->chunk_capacity) * sizeof *pool->chunks;
    return need;
}

/* ---- the list of chunks with room ---- */

static void list(struct weir_pool *pool, uint32_t at) {
    struct weir_pool_chunk *chunk = &pool->chunks[at];
    chunk->before = WEIR_POOL_NONE;
    chunk->after = pool->roomy;
    if (pool->roomy != WEIR_POOL_NONE) pool->chunks[pool->roomy].before = at;
    pool->roomy = at;
}

static void unlist(struct weir_pool *pool, uint32_t at) {
    const struct weir_pool_chunk *chunk = &pool->chunks[at];
    if (chunk->before != WEIR_POOL_NONE)
        pool->chunks[chunk->before].after = chunk->after;
    else
        pool->roomy = chunk->after;
    if (chunk->after != WEIR_POOL_NONE) pool->chunks[chunk->after].before = chunk->before;
}

static bool grow_table(struct weir_pool *pool) {
    uint32_t capacity = next_capacity(pool);
    /* Numbers have 32 bits, and the last is none. */
    if ((uint64_t)capacity << pool->shift > WEIR_POOL_NONE) return false;
    struct weir_pool_chunk *more = realloc(pool->chunks, capacity * sizeof *more);
    if (more == NULL) return false;
    pool->memory += (capacity - pool->chunk_capacity) * sizeof *more;
    pool->chunks = more;
    pool->chunk_capacity = capacity;
    return true;
}

static bool add_chunk(struct weir_pool *pool) {
    uint32_t at = pool->absent, places = 1u << pool->shift;
    if (at == WEIR_POOL_NONE && pool->chunk_count == pool->chunk_capacity && !grow_table(pool)) return false;
    uint8_t *things = weir_block_get(chunk_bytes(pool));
    if (things == NULL) return false;
    memset(things, 0, chunk_bytes(pool));
    if (at != WEIR_POOL_NONE)
        pool->absent = pool->chunks[at].after;
    else
        at = pool->chunk_count++;
    for (uint32_t i = 0; i < places; i++) {
        uint32_t next = i + 1 < places ? i + 1 : WEIR_POOL_NONE;
        memcpy(things + (size_t)i * pool->size, &next, sizeof next);
    }
    pool->chunks[at] = (struct weir_pool_chunk){.things = things};
    pool->memory += chunk_bytes(pool);
    pool->empty++;
    list(pool, at);
    return true;
}

uint32_t weir_pool_take(struct weir_pool *pool) {
    if (pool->roomy == WEIR_POOL_NONE && !add_chunk(pool)) return WEIR_POOL_NONE;
    uint32_t at = pool->roomy;
    struct weir_pool_chunk *chunk = &pool->chunks[at];
    uint32_t place = chunk->free;
    memcpy(&chunk->free, chunk->things + (size_t)place * pool->size, sizeof chunk->free);
    if (chunk->used++ == 0) pool->empty--;
    if (chunk->free == WEIR_POOL_NONE) unlist(pool, at);
    return at << pool->shift | place;
}

void weir_pool_give(struct weir_pool *pool, uint32_t number) {
    uint32_t at = number >> pool->shift, place = number & ((1u << pool->shift) - 1);
    struct weir_pool_chunk *chunk = &pool->chunks[at];
    memcpy(chunk->things + (size_t)place * pool->size, &chunk->free, sizeof chunk->free);
    if (chunk->free == WEIR_POOL_NONE) list(pool, at);
    chunk->free = place;
    if (--chunk->used > 0) return;
    if (++pool->empty == 1) return; /* one is kept: the next would ask for it anew */
    pool->empty--;
    unlist(pool, at);
    weir_block_put(chunk->things, chunk_bytes(pool));
    pool->memory -= chunk_bytes(pool);
    *chunk = (struct weir_pool_chunk){.after = pool->absent};
    pool->absent = at;
}
