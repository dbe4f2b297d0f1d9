#include "collector/aggregate/table.h"

#include <stdlib.h>

enum { INDEX_SLOTS_MIN = 64 };

bool weir_index_init(struct weir_index *index) {
    index->slots = calloc(INDEX_SLOTS_MIN, sizeof *index->slots);
    index->mask = INDEX_SLOTS_MIN - 1;
    index->count = 0;
    return index->slots != NULL;
}

static void put(struct weir_index_slot *slots, uint32_t mask, uint64_t hash, struct weir_series *series) {
    uint32_t i = (uint32_t)hash & mask;
    while (slots[i].series != NULL)
        i = (i + 1) & mask;
    slots[i] = (struct weir_index_slot){hash, series};
}

static bool resize(struct weir_index *index, uint32_t slots) {
    struct weir_index_slot *fresh = calloc(slots, sizeof *fresh);
    if (fresh == NULL) return false;
    for (uint32_t i = 0; i <= index->mask; i++) {
        if (index->slots[i].series != NULL) put(fresh, slots - 1, index->slots[i].hash, index->slots[i].series);
    }
    free(index->slots);
    index->slots = fresh;
    index->mask = slots - 1;
    return true;
}

bool weir_index_add(struct weir_index *index, uint64_t hash, struct weir_series *series) {
    /* Half full at most: short probes, and always a free slot to stop at. */
    if (index->count >= (index->mask + 1) / 2 && !resize(index, (index->mask + 1) * 2)) return false;
    put(index->slots, index->mask, hash, series);
    index->count++;
    return true;
}

void weir_index_remove(struct weir_index *index, const struct weir_series *series) {
    uint32_t hole = (uint32_t)series->hash & index->mask;
    while (index->slots[hole].series != series)
        hole = (hole + 1) & index->mask;
    /* Whoever probed past the hole moves into it, so that no marker of the dead is needed. */
    for (uint32_t i = (hole + 1) & index->mask; index->slots[i].series != NULL; i = (i + 1) & index->mask) {
        uint32_t home = (uint32_t)index->slots[i].hash & index->mask;
        if (((i - home) & index->mask) < ((i - hole) & index->mask)) continue;
        index->slots[hole] = index->slots[i];
        hole = i;
    }
    index->slots[hole].series = NULL;
    index->count--;
    if (index->mask + 1 > INDEX_SLOTS_MIN && index->count < (index->mask + 1) / 8) resize(index, (index->mask + 1) / 2);
}
