#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "collector/core/block.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Under AddressSanitizer all is malloc's, so that it sees who goes past an end. */
#if defined(__SANITIZE_ADDRESS__)
#define ALL_MALLOC true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALL_MALLOC true
#endif
#endif
#ifndef ALL_MALLOC
#define ALL_MALLOC false
#endif

enum { UNIT = 64 * 1024, LISTS = 64 /* blocks of up to 4 MiB are kept; larger ones are seldom */ };

/* A block in the cache: its first bytes are the link. */
struct kept {
    struct kept *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *lists[LISTS + 1]; /* [units]; under lock */
static size_t cached_bytes;           /* under lock */

static bool is_small(size_t size) {
    return ALL_MALLOC || size < WEIR_BLOCK_MIN_BYTES;
}
static size_t units_of(size_t size) {
    return (size + UNIT - 1) / UNIT;
}

void *weir_block_get(size_t size) {
    if (is_small(size)) return malloc(size);
    size_t units = units_of(size);
    if (units <= LISTS) {
        pthread_mutex_lock(&lock);
        struct kept *kept = lists[units];
        if (kept != NULL) {
            lists[units] = kept->next;
            cached_bytes -= units * UNIT;
        }
        pthread_mutex_unlock(&lock);
        if (kept != NULL) return kept;
    }
    void *block = mmap(NULL, units * UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void weir_block_put(void *block, size_t size) {
    if (block == NULL) return;
    if (is_small(size)) {
        free(block);
        return;
    }
    size_t units = units_of(size);
    bool keep = false;
    if (units <= LISTS) {
        pthread_mutex_lock(&lock);
        keep = cached_bytes + units * UNIT <= WEIR_BLOCK_CACHE_BYTES;
        if (keep) {
            struct kept *kept = block;
            kept->next = lists[units];
            lists[units] = kept;
            cached_bytes += units * UNIT;
        }
        pthread_mutex_unlock(&lock);
    }
    if (!keep) munmap(block, units * UNIT);
}

void *weir_block_resize(void *block, size_t old_size, size_t new_size) {
    if (block != NULL && is_small(old_size) && is_small(new_size)) return realloc(block, new_size);
    if (block != NULL && !is_small(old_size) && !is_small(new_size) && units_of(old_size) == units_of(new_size)) {
        return block;
    }
    void *other = weir_block_get(new_size);
    if (other == NULL) return NULL;
    if (block != NULL) memcpy(other, block, old_size < new_size ? old_size : new_size);
    weir_block_put(block, old_size);
    return other;
}
