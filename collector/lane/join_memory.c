#include "collector/lane/join_memory.h"
#include "collector/core/clock.h"

#include <stdlib.h>

enum { WAYS = 4 };

bool weir_join_memory_open(struct weir_join_memory *memory, size_t bytes) {
    size_t slots = WAYS;
    while (slots * 2 * sizeof(struct weir_join_slot) <= bytes)
        slots *= 2;
    memory->slots = calloc(slots, sizeof *memory->slots);
    memory->set_mask = slots / WAYS - 1;
    return memory->slots != NULL;
}

void weir_join_memory_close(struct weir_join_memory *memory) {
    free(memory->slots);
    *memory = (struct weir_join_memory){0};
}

size_t weir_join_memory_bytes(const struct weir_join_memory *memory) {
    return memory->slots == NULL ? 0 : (memory->set_mask + 1) * WAYS * sizeof *memory->slots;
}

static struct weir_join_slot *set_of(const struct weir_join_memory *memory, uint64_t key) {
    return &memory->slots[(key & memory->set_mask) * WAYS];
}

const struct weir_join_slot *weir_join_memory_find(const struct weir_join_memory *memory, uint64_t key,
                                                   uint64_t now_ns) {
    if (memory->slots == NULL) return NULL;
    const struct weir_join_slot *set = set_of(memory, key);
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key && set[i].due_ns > now_ns) return &set[i];
    }
    return NULL;
}

void weir_join_memory_prefetch(const struct weir_join_memory *memory, uint64_t key) {
    if (memory->slots == NULL) return;
    const struct weir_join_slot *set = set_of(memory, key);
    __builtin_prefetch(set);
    __builtin_prefetch(set + WAYS - 1);
}

void weir_join_memory_set(struct weir_join_memory *memory, uint64_t key, uint64_t value, uint64_t now_ns) {
    if (memory->slots == NULL) return;
    struct weir_join_slot *set = set_of(memory, key), *place = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            place = &set[i];
            break;
        }
        if (set[i].due_ns < place->due_ns) place = &set[i];
    }
    *place = (struct weir_join_slot){.key = key, .value = value, .due_ns = now_ns + WEIR_JOIN_MEMORY_S * WEIR_S};
}
