#include "collector/sample/blocks.h"

#include "collector/core/block.h"
#include "collector/core/buffer.h"
#include "collector/sample/sealed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
    LEVEL = -3,                        /* of zstd; 0008 has what each costs */
    HASH_LOG = 16,                     /* likewise: fewer places of a block share one */
    ORIGINS_MAX = 256,                 /* of a block; then the next one */
    ORIGIN_BYTES = 4 * WEIR_HOT_BYTES, /* likewise: they stay as long as the block */
    CACHE = 4,          /* blocks that were decompressed last: several kept traces of one round lie in one */
    CODEC_BYTES = 4096, /* what a compressed block may be larger by */
};

struct segment {
    struct segment *next; /* the younger one */
    size_t size, used;
    uint32_t blocks;             /* needed ones */
    uint32_t records, needed;    /* of all its blocks */
    uint32_t first, last_block;  /* chain of its blocks by block.next */
    _Alignas(8) uint8_t bytes[]; /* pointers lie in it */
};

struct block {
    struct segment *segment; /* NULL: hot, or free */
    uint32_t offset, size;   /* of what is stored; its origins lie in front of it */
    uint32_t raw_size, records, needed, refs;
    uint32_t next;    /* in its segment, or in the list of free ones */
    uint32_t origins; /* count */
    uint32_t mark;
    bool plain; /* not compressed */
    uint64_t token;
};

struct hot {
    uint8_t *bytes; /* WEIR_HOT_BYTES, or as much as one record needs */
    size_t size, capacity;
    uint32_t block; /* WEIR_BLOCK_NONE: nothing is in it */
    struct weir_origin *origins[ORIGINS_MAX];
    uint32_t origin_count;
    size_t origin_bytes; /* of all of them */
};

/* An origin counts once, however many blocks refer to it. */
struct known {
    struct weir_origin *origin;
    uint32_t blocks;
};

struct weir_blocks {
    struct weir_blocks_env env;
    struct segment *oldest, *youngest;
    struct block *blocks;
    uint32_t block_count, block_capacity, free_block;
    struct hot hot[WEIR_HOT_BLOCKS];
    struct known *known; /* by the origin's address; open addressing */
    uint32_t known_count, known_capacity;
    struct {
        uint32_t block;
        uint8_t *bytes;
        size_t capacity;
        uint64_t used;
    } cache[CACHE];
    uint64_t uses;
    uint8_t *packed;
    size_t packed_capacity;
    ZSTD_CCtx *packer;
    ZSTD_DCtx *unpacker;
    uint64_t memory;
};

/* ---- origins ---- */

static size_t known_at(const struct weir_blocks *blocks, const struct weir_origin *origin) {
    size_t mask = blocks->known_capacity - 1,
           at = (size_t)(((uintptr_t)origin >> 4) * 0x9e3779b97f4a7c15ull >> 32) & mask;
    while (blocks->known[at].origin != NULL && blocks->known[at].origin != origin)
        at = (at + 1) & mask;
    return at;
}

static bool known_grow(struct weir_blocks *blocks) {
    uint32_t capacity = blocks->known_capacity;
    struct known *old = blocks->known, *more = calloc(2 * (size_t)capacity, sizeof *more);
    if (more == NULL) return false;
    blocks->known = more;
    blocks->known_capacity = 2 * capacity;
    for (uint32_t i = 0; i < capacity; i++) {
        if (old[i].origin != NULL) more[known_at(blocks, old[i].origin)] = old[i];
    }
    free(old);
    blocks->memory += capacity * sizeof *more;
    return true;
}

static bool origin_use(struct weir_blocks *blocks, struct weir_origin *origin) {
    bool full = 2 * (blocks->known_count + 1) > blocks->known_capacity;
    struct known *known = &blocks->known[known_at(blocks, origin)];
    if (known->origin == NULL) {
        size_t more = weir_origin_memory(origin) + (full ? blocks->known_capacity * sizeof *known : 0);
        if (!blocks->env.room(blocks->env.self, more)) return false;
        if (full && !known_grow(blocks)) return false;
        known = &blocks->known[known_at(blocks, origin)]; /* what made room has closed gaps */
        *known = (struct known){.origin = weir_origin_ref(origin)};
        blocks->known_count++;
        blocks->memory += weir_origin_memory(origin);
    }
    known->blocks++;
    return true;
}

static void origin_drop(struct weir_blocks *blocks, struct weir_origin *origin) {
    size_t mask = blocks->known_capacity - 1, at = known_at(blocks, origin);
    if (--blocks->known[at].blocks > 0) return;
    blocks->memory -= weir_origin_memory(origin);
    weir_origin_unref(origin);
    blocks->known_count--;
    blocks->known[at].origin = NULL;
    for (size_t i = (at + 1) & mask; blocks->known[i].origin != NULL; i = (i + 1) & mask) { /* close the gap */
        struct known moved = blocks->known[i];
        blocks->known[i].origin = NULL;
        blocks->known[known_at(blocks, moved.origin)] = moved;
    }
}

/* ---- blocks and segments ---- */

static uint32_t new_block(struct weir_blocks *blocks) {
    uint32_t at = blocks->free_block;
    if (at != WEIR_BLOCK_NONE) {
        blocks->free_block = blocks->blocks[at].next;
    } else {
        if (blocks->block_count == blocks->block_capacity) {
            uint32_t capacity = 2 * blocks->block_capacity + 64;
            size_t more = (capacity - blocks->block_capacity) * sizeof(struct block);
            if (!blocks->env.room(blocks->env.self, more)) return WEIR_BLOCK_NONE;
            /* room() may have freed one, or grown the table */
            if (blocks->free_block != WEIR_BLOCK_NONE || blocks->block_count < blocks->block_capacity)
                return new_block(blocks);
            struct block *grown = realloc(blocks->blocks, capacity * sizeof *grown);
            if (grown == NULL) return WEIR_BLOCK_NONE;
            blocks->blocks = grown;
            blocks->block_capacity = capacity;
            blocks->memory += more;
        }
        at = blocks->block_count++;
    }
    blocks->blocks[at] = (struct block){.next = WEIR_BLOCK_NONE};
    return at;
}

static void free_segment(struct weir_blocks *blocks, struct segment *segment) {
    struct segment **at = &blocks->oldest, *before = NULL;
    while (*at != segment) {
        before = *at;
        at = &(*at)->next;
    }
    *at = segment->next;
    if (blocks->youngest == segment) blocks->youngest = before;
    for (uint32_t b = segment->first, next; b != WEIR_BLOCK_NONE; b = next) {
        next = blocks->blocks[b].next;
        blocks->blocks[b] = (struct block){.next = blocks->free_block};
        blocks->free_block = b;
    }
    blocks->memory -= segment->size;
    weir_block_put(segment, segment->size);
}

static struct weir_origin **origins_of(const struct block *block) {
    return (struct weir_origin **)(void *)(block->segment->bytes + block->offset) - block->origins;
}

static void drop_block(struct weir_blocks *blocks, uint32_t at) {
    struct block *block = &blocks->blocks[at];
    struct segment *segment = block->segment;
    for (uint32_t i = 0; i < block->origins; i++)
        origin_drop(blocks, origins_of(block)[i]);
    block->origins = 0;
    segment->needed -= block->needed;
    block->needed = 0;
    for (int i = 0; i < CACHE; i++) {
        if (blocks->cache[i].block == at) blocks->cache[i].block = WEIR_BLOCK_NONE;
    }
    if (blocks->env.gone != NULL) blocks->env.gone(blocks->env.self, block->token);
    /* The youngest is being filled; it goes when it is full and nobody needs it, or starts anew. */
    if (--segment->blocks > 0) return;
    if (segment != blocks->youngest) free_segment(blocks, segment);
}

/* Room for a block in the youngest segment, or in a new one. */
static uint8_t *segment_room(struct weir_blocks *blocks, size_t need) {
    struct segment *young = blocks->youngest;
    if (young == NULL || young->size - sizeof *young - young->used < need) {
        size_t size = sizeof *young + need > WEIR_SEGMENT_BYTES ? sizeof *young + need : WEIR_SEGMENT_BYTES;
        if (young != NULL && young->blocks == 0) free_segment(blocks, young);
        if (!blocks->env.room(blocks->env.self, size)) return NULL;
        struct segment *segment = weir_block_get(size);
        if (segment == NULL) return NULL;
        *segment = (struct segment){.size = size, .first = WEIR_BLOCK_NONE, .last_block = WEIR_BLOCK_NONE};
        blocks->memory += size;
        if (blocks->youngest != NULL) {
            struct segment *full = blocks->youngest;
            full->next = segment;
            blocks->youngest = segment;
            if (full->blocks == 0) free_segment(blocks, full);
        } else {
            blocks->oldest = blocks->youngest = segment;
        }
    }
    assert(blocks->youngest != NULL);
    return blocks->youngest->bytes + blocks->youngest->used;
}

static bool packed_room(struct weir_blocks *blocks, size_t need) {
    if (need <= blocks->packed_capacity) return true;
    uint8_t *more = realloc(blocks->packed, need);
    if (more == NULL) return false;
    blocks->packed = more;
    blocks->packed_capacity = need;
    return true;
}

/* Hands a closed block to the journal, in the form that weir_blocks_read_sealed() reads. */
static uint64_t journal(struct weir_blocks *blocks, const struct hot *hot, const struct block *block,
                        const uint8_t *stored) {
    struct weir_buffer out = {0};
    weir_sealed_write(&out, hot->origins, hot->origin_count, stored, block->size, block->raw_size, block->plain);
    uint64_t token = out.failed ? 0 : blocks->env.sealed(blocks->env.self, out.bytes, out.size, block->records);
    weir_buffer_free(&out);
    return token;
}

static void hot_empty(struct weir_blocks *blocks, struct hot *hot) {
    hot->size = 0;
    hot->block = WEIR_BLOCK_NONE;
    hot->origin_count = 0;
    hot->origin_bytes = 0;
    if (hot->capacity <= WEIR_HOT_BYTES) return; /* one record needed more */
    blocks->memory -= hot->capacity - WEIR_HOT_BYTES;
    uint8_t *less = realloc(hot->bytes, WEIR_HOT_BYTES);
    if (less != NULL) hot->bytes = less;
    hot->capacity = WEIR_HOT_BYTES;
}

/* False: no room; it stays hot. */
static bool seal(struct weir_blocks *blocks, struct hot *hot) {
    if (hot->block == WEIR_BLOCK_NONE) return true;
    struct block *block = &blocks->blocks[hot->block];
    if (block->refs == 0 && blocks->env.sealed == NULL) { /* all decided while it was hot */
        for (uint32_t i = 0; i < hot->origin_count; i++)
            origin_drop(blocks, hot->origins[i]);
        *block = (struct block){.next = blocks->free_block};
        blocks->free_block = hot->block;
        hot_empty(blocks, hot);
        return true;
    }
    const uint8_t *stored = hot->bytes;
    size_t size = hot->size;
    bool plain = true;
    if (blocks->env.compress && packed_room(blocks, ZSTD_compressBound(hot->size))) {
        size_t packed = ZSTD_compress2(blocks->packer, blocks->packed, blocks->packed_capacity, hot->bytes, hot->size);
        if (!ZSTD_isError(packed) && packed < hot->size) {
            stored = blocks->packed;
            size = packed;
            plain = false;
        }
    }
    uint32_t index = hot->block; /* room() may decide traces, and so reach this very block and the table */
    size_t front = hot->origin_count * sizeof(struct weir_origin *), need = front + ((size + 7) & ~(size_t)7);
    uint8_t *at = segment_room(blocks, need);
    if (at == NULL) return false;
    block = &blocks->blocks[index];
    struct segment *segment = blocks->youngest;
    memcpy(at, hot->origins, front);
    memcpy(at + front, stored, size);
    block->segment = segment;
    block->offset = (uint32_t)(segment->used + front);
    block->size = (uint32_t)size;
    block->raw_size = (uint32_t)hot->size;
    block->plain = plain;
    block->origins = hot->origin_count;
    segment->used += need;
    segment->blocks++;
    segment->records += block->records;
    segment->needed += block->needed;
    if (segment->last_block == WEIR_BLOCK_NONE)
        segment->first = index;
    else
        blocks->blocks[segment->last_block].next = index;
    segment->last_block = index;
    if (blocks->env.sealed != NULL) block->token = journal(blocks, hot, block, stored);
    hot_empty(blocks, hot);
    if (block->refs == 0) drop_block(blocks, index);
    return true;
}

bool weir_blocks_seal(struct weir_blocks *blocks) {
    bool all = true;
    for (unsigned i = 0; i < WEIR_HOT_BLOCKS; i++)
        all = seal(blocks, &blocks->hot[i]) && all;
    return all;
}

/* ---- records ---- */

static bool hot_room(struct weir_blocks *blocks, struct hot *hot, size_t need) {
    if (hot->size > 0 && hot->size + need > WEIR_HOT_BYTES && !seal(blocks, hot)) return false;
    if (need > hot->capacity) {
        size_t more = need - hot->capacity;
        if (!blocks->env.room(blocks->env.self, more)) return false;
        uint8_t *bytes = realloc(hot->bytes, need);
        if (bytes == NULL) return false;
        hot->bytes = bytes;
        hot->capacity = need;
        blocks->memory += more;
    }
    if (hot->block == WEIR_BLOCK_NONE) hot->block = new_block(blocks);
    return hot->block != WEIR_BLOCK_NONE;
}

static uint32_t hot_origin(struct weir_blocks *blocks, struct hot *hot, struct weir_origin *origin) {
    for (uint32_t i = hot->origin_count; i-- > 0;) {
        if (hot->origins[i] == origin) return i;
    }
    if (hot->origin_count == ORIGINS_MAX || !origin_use(blocks, origin)) return ORIGINS_MAX;
    hot->origins[hot->origin_count] = origin;
    hot->origin_bytes += weir_origin_memory(origin);
    return hot->origin_count++;
}

uint32_t weir_blocks_put(struct weir_blocks *blocks, unsigned which, const struct weir_record *record) {
    struct hot *hot = &blocks->hot[which];
    size_t need = WEIR_RECORD_HEAD_BYTES + WEIR_RECORD_CHANGED_BYTES + record->size;
    bool full = hot->origin_count == ORIGINS_MAX || hot->origin_bytes > ORIGIN_BYTES;
    if (full && hot->origins[hot->origin_count - 1] != record->origin && !seal(blocks, hot)) return WEIR_BLOCK_NONE;
    if (!hot_room(blocks, hot, need)) return WEIR_BLOCK_NONE;
    uint32_t origin = hot_origin(blocks, hot, record->origin);
    if (origin == ORIGINS_MAX) return WEIR_BLOCK_NONE;
    hot->size += weir_record_write(hot->bytes + hot->size, record, (uint16_t)origin);
    blocks->blocks[hot->block].records++;
    blocks->blocks[hot->block].needed++;
    return hot->block;
}

void weir_blocks_hold(struct weir_blocks *blocks, uint32_t block) {
    blocks->blocks[block].refs++;
}

void weir_blocks_release(struct weir_blocks *blocks, uint32_t at, uint32_t records) {
    struct block *block = &blocks->blocks[at];
    block->needed -= records;
    if (block->segment != NULL) block->segment->needed -= records;
    assert(block->refs > 0);
    if (--block->refs == 0 && block->segment != NULL) drop_block(blocks, at);
}

static const uint8_t *raw_bytes(struct weir_blocks *blocks, uint32_t at) {
    const struct block *block = &blocks->blocks[at];
    const uint8_t *stored = block->segment->bytes + block->offset;
    if (block->plain) return stored;
    int oldest = 0;
    for (int i = 0; i < CACHE; i++) {
        if (blocks->cache[i].block == at) {
            blocks->cache[i].used = ++blocks->uses;
            return blocks->cache[i].bytes;
        }
        if (blocks->cache[i].used < blocks->cache[oldest].used) oldest = i;
    }
    if (blocks->cache[oldest].capacity < block->raw_size || blocks->cache[oldest].capacity > 4 * WEIR_HOT_BYTES) {
        size_t capacity = block->raw_size > WEIR_HOT_BYTES ? block->raw_size : WEIR_HOT_BYTES;
        uint8_t *bytes = realloc(blocks->cache[oldest].bytes, capacity);
        if (bytes == NULL) return NULL;
        blocks->cache[oldest].bytes = bytes;
        blocks->cache[oldest].capacity = capacity;
    }
    blocks->cache[oldest].block = WEIR_BLOCK_NONE;
    size_t size = ZSTD_decompressDCtx(blocks->unpacker, blocks->cache[oldest].bytes, blocks->cache[oldest].capacity,
                                      stored, block->size);
    if (ZSTD_isError(size) || size != block->raw_size) return NULL;
    blocks->cache[oldest].block = at;
    blocks->cache[oldest].used = ++blocks->uses;
    return blocks->cache[oldest].bytes;
}

bool weir_blocks_mark(struct weir_blocks *blocks, uint32_t at, uint32_t mark) {
    if (blocks->blocks[at].mark == mark) return false;
    blocks->blocks[at].mark = mark;
    return true;
}

bool weir_blocks_read(struct weir_blocks *blocks, uint32_t at,
                      void (*each)(void *self, const struct weir_record *record), void *self) {
    struct block block = blocks->blocks[at]; /* `each` may put records: the table may move */
    struct weir_origin *origins[ORIGINS_MAX];
    const uint8_t *bytes;
    size_t size = block.raw_size;
    uint32_t count = block.origins;
    if (block.segment == NULL) {
        const struct hot *hot = blocks->hot[0].block == at ? &blocks->hot[0] : &blocks->hot[1];
        bytes = hot->bytes;
        size = hot->size;
        count = hot->origin_count;
        memcpy(origins, hot->origins, count * sizeof *origins);
    } else {
        bytes = raw_bytes(blocks, at);
        if (bytes == NULL) return false;
        memcpy(origins, origins_of(&block), count * sizeof *origins);
    }
    struct weir_record record;
    for (size_t from = 0; from < size;) {
        size_t read = weir_record_read(bytes + from, size - from, origins, count, &record);
        if (read == 0) return false;
        each(self, &record);
        from += read;
    }
    return true;
}

uint32_t weir_blocks_sparse(const struct weir_blocks *blocks, uint32_t *found, uint32_t max) {
    uint32_t count = 0;
    for (const struct segment *segment = blocks->oldest; segment != NULL && segment != blocks->youngest;
         segment = segment->next) {
        if (2 * segment->needed >= segment->records) continue;
        for (uint32_t b = segment->first; b != WEIR_BLOCK_NONE && count < max; b = blocks->blocks[b].next) {
            if (blocks->blocks[b].refs > 0) found[count++] = b;
        }
        return count;
    }
    return 0;
}

uint64_t weir_blocks_memory(const struct weir_blocks *blocks) {
    return blocks->memory;
}

void weir_blocks_compress(struct weir_blocks *blocks, bool compress) {
    blocks->env.compress = compress;
}

struct weir_blocks *weir_blocks_new(const struct weir_blocks_env *env) {
    struct weir_blocks *blocks = calloc(1, sizeof *blocks);
    if (blocks == NULL) return NULL;
    blocks->env = *env;
    blocks->free_block = WEIR_BLOCK_NONE;
    blocks->known_capacity = 64;
    blocks->known = calloc(blocks->known_capacity, sizeof *blocks->known);
    blocks->packer = ZSTD_createCCtx();
    blocks->unpacker = ZSTD_createDCtx();
    bool made = blocks->known != NULL && blocks->packer != NULL && blocks->unpacker != NULL &&
                !ZSTD_isError(ZSTD_CCtx_setParameter(blocks->packer, ZSTD_c_compressionLevel, LEVEL)) &&
                !ZSTD_isError(ZSTD_CCtx_setParameter(blocks->packer, ZSTD_c_hashLog, HASH_LOG));
    for (int i = 0; i < CACHE; i++)
        blocks->cache[i].block = WEIR_BLOCK_NONE;
    for (unsigned i = 0; i < WEIR_HOT_BLOCKS; i++) {
        blocks->hot[i].block = WEIR_BLOCK_NONE;
        blocks->hot[i].capacity = WEIR_HOT_BYTES;
        blocks->hot[i].bytes = malloc(WEIR_HOT_BYTES);
        made = made && blocks->hot[i].bytes != NULL;
    }
    if (made) return blocks;
    weir_blocks_free(blocks);
    return NULL;
}

void weir_blocks_free(struct weir_blocks *blocks) {
    if (blocks == NULL) return;
    for (struct segment *segment = blocks->oldest, *next; segment != NULL; segment = next) {
        next = segment->next;
        weir_block_put(segment, segment->size);
    }
    for (uint32_t i = 0; blocks->known != NULL && i < blocks->known_capacity; i++)
        weir_origin_unref(blocks->known[i].origin);
    for (int i = 0; i < CACHE; i++)
        free(blocks->cache[i].bytes);
    for (unsigned i = 0; i < WEIR_HOT_BLOCKS; i++)
        free(blocks->hot[i].bytes);
    free(blocks->known);
    free(blocks->blocks);
    free(blocks->packed);
    ZSTD_freeCCtx(blocks->packer);
    ZSTD_freeDCtx(blocks->unpacker);
    free(blocks);
}
