#include "collector/aggregate/exemplars.h"

#include "collector/aggregate/series.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 2048, WORDS = sizeof(struct weir_exemplar) / sizeof(uint64_t) };
static const uint64_t renew_ns = 1000000000;

struct place {
    _Alignas(64) _Atomic uint32_t version; /* odd while it is written; 0: never was */
    _Atomic uint64_t key;
    _Atomic uint64_t words[WORDS];
};

struct weir_exemplars {
    struct place places[PLACES];
};

struct weir_exemplars *weir_exemplars_new(void) {
    struct weir_exemplars *exemplars = aligned_alloc(64, sizeof *exemplars);
    if (exemplars != NULL) memset(exemplars, 0, sizeof *exemplars);
    return exemplars;
}

void weir_exemplars_free(struct weir_exemplars *exemplars) {
    free(exemplars);
}

static uint64_t key_of(uint64_t series_hash, uint32_t bucket) {
    return weir_mix(series_hash + 0x9e3779b97f4a7c15ull * (bucket + 1)) | 1;
}

void weir_exemplars_put(struct weir_exemplars *exemplars, uint64_t series_hash, uint32_t bucket,
                        const struct weir_exemplar *exemplar) {
    uint64_t key = key_of(series_hash, bucket), words[WORDS];
    struct place *place = &exemplars->places[key >> 32 & (PLACES - 1)];
    memcpy(words, exemplar, sizeof words);
    uint64_t before_ns = atomic_load_explicit(&place->words[WORDS - 1], memory_order_relaxed);
    if (exemplar->unix_ns - before_ns < renew_ns) return; /* whoever's it is: a place moves once a second */
    uint32_t version = atomic_load_explicit(&place->version, memory_order_relaxed);
    atomic_store_explicit(&place->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&place->key, key, memory_order_relaxed);
    for (int i = 0; i < WORDS; i++)
        atomic_store_explicit(&place->words[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&place->version, version + 2, memory_order_release);
}

bool weir_exemplars_get(const struct weir_exemplars *exemplars, uint64_t series_hash, uint32_t bucket,
                        struct weir_exemplar *exemplar) {
    uint64_t key = key_of(series_hash, bucket), words[WORDS], found;
    const struct place *place = &exemplars->places[key >> 32 & (PLACES - 1)];
    uint32_t before, after;
    do {
        before = atomic_load_explicit(&place->version, memory_order_acquire);
        found = atomic_load_explicit(&place->key, memory_order_relaxed);
        for (int i = 0; i < WORDS; i++)
            words[i] = atomic_load_explicit(&place->words[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&place->version, memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    if (found != key) return false;
    memcpy(exemplar, words, sizeof words);
    return true;
}
