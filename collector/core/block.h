/* block.h - large memory that comes and goes: the bytes and views of batches.
 *
 * malloc keeps what was freed in the arena of the thread that asked for it, in holes of all sizes, so that a process
 * that hands megabytes from thread to thread grows to several times what it holds. Blocks are pages of their own: what
 * is given back goes to the next who asks for as much, of any thread, and beyond WEIR_BLOCK_CACHE_BYTES to the system.
 */
#ifndef WEIR_CORE_BLOCK_H
#define WEIR_CORE_BLOCK_H
#include <stddef.h>

enum {
    WEIR_BLOCK_MIN_BYTES = 64 * 1024, /* less than this is malloc's */
    /* What waits for the next: the batches that are in circulation while exporters keep up. Pages that were written
     * before cost nothing; a new one is cleared by the kernel. */
    WEIR_BLOCK_CACHE_BYTES = 24 * 1024 * 1024,
};

/* size >= 1. NULL: out of memory. Any thread. Not cleared. */
void *weir_block_get(size_t size);
/* `size` as it was asked for. Accepts NULL. */
void weir_block_put(void *block, size_t size);
/* Another size; what fits is kept. NULL: out of memory, and the old one is as it was. block may be NULL when old_size
 * is 0. */
void *weir_block_resize(void *block, size_t old_size, size_t new_size);
#endif
