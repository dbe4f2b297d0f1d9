/* join_memory.h - what is known of spans and traces that went on: a table of fixed size, four places a set, in which
 * the oldest of a set gives way. One thread. */
#ifndef WEIR_LANE_JOIN_MEMORY_H
#define WEIR_LANE_JOIN_MEMORY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_JOIN_MEMORY_S = 180 }; /* Finagle sweeps what never ended for as long */

struct weir_join_slot {
    uint64_t key, value;
    uint64_t due_ns; /* until when it is known; 0 = free */
};
struct weir_join_memory {
    struct weir_join_slot *slots;
    uint64_t set_mask;
};

/* As many places as fit `bytes`, a power of two, 4 at least. False: no memory. */
bool weir_join_memory_open(struct weir_join_memory *memory, size_t bytes);
void weir_join_memory_close(struct weir_join_memory *memory);
size_t weir_join_memory_bytes(const struct weir_join_memory *memory);
/* key: mixed well. NULL: not known, or no more. */
const struct weir_join_slot *weir_join_memory_find(const struct weir_join_memory *memory, uint64_t key,
                                                   uint64_t now_ns);
/* Asks for the memory that find and set will look at. */
void weir_join_memory_prefetch(const struct weir_join_memory *memory, uint64_t key);
void weir_join_memory_set(struct weir_join_memory *memory, uint64_t key, uint64_t value, uint64_t now_ns);
#endif
