#include "collector/core/names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct name {
    uint64_t hash;
    uint32_t size;
    char text[]; /* ends in NUL */
};

struct weir_names {
    pthread_mutex_t insert;
    uint64_t seed;
    uint32_t count_max;
    uint32_t slot_mask;
    size_t bytes_max;
    size_t bytes; /* under insert */
    _Atomic uint32_t count;
    _Atomic uint64_t overflows;
    struct name *_Atomic *by_id; /* [count_max] */
    _Atomic uint32_t *slots;     /* open addressing, 0 = empty, else id + 1; never more than half full */
};

static struct name *name_new(uint64_t hash, const void *bytes, size_t size) {
    struct name *name = malloc(sizeof *name + size + 1);
    if (name == NULL) return NULL;
    name->hash = hash;
    name->size = (uint32_t)size;
    if (size > 0) memcpy(name->text, bytes, size);
    name->text[size] = 0;
    return name;
}

struct weir_names *weir_names_new(uint32_t count_max, size_t bytes_max) {
    struct weir_names *names = calloc(1, sizeof *names);
    if (names == NULL) return NULL;
    if (count_max < 16) count_max = 16;
    uint32_t slots = 64;
    while (slots < 2 * count_max)
        slots *= 2;
    pthread_mutex_init(&names->insert, NULL);
    if (getrandom(&names->seed, sizeof names->seed, 0) != sizeof names->seed) names->seed = (uint64_t)(uintptr_t)names;
    names->count_max = count_max;
    names->slot_mask = slots - 1;
    names->bytes_max = bytes_max;
    names->by_id = calloc(count_max, sizeof *names->by_id);
    names->slots = calloc(slots, sizeof *names->slots);
    if (names->by_id == NULL || names->slots == NULL) {
        weir_names_free(names);
        return NULL;
    }
    weir_names_intern(names, "", 0);
    weir_names_intern(names, "overflow", 8);
    return names;
}

uint64_t weir_names_hash(const struct weir_names *names, const void *bytes, size_t size) {
    return XXH3_64bits_withSeed(bytes, size, names->seed);
}

static uint32_t lookup(const struct weir_names *names, uint64_t hash, const void *bytes, size_t size, uint32_t *slot) {
    uint32_t i = (uint32_t)hash & names->slot_mask;
    for (;; i = (i + 1) & names->slot_mask) {
        uint32_t held = atomic_load_explicit(&names->slots[i], memory_order_acquire);
        if (held == 0) {
            *slot = i;
            return UINT32_MAX;
        }
        const struct name *name = atomic_load_explicit(&names->by_id[held - 1], memory_order_relaxed);
        if (name->hash == hash && name->size == size && (size == 0 || memcmp(name->text, bytes, size) == 0))
            return held - 1;
    }
}

static size_t cut(const void *bytes, size_t size) {
    if (size <= WEIR_NAME_BYTES_MAX) return size;
    const uint8_t *text = bytes;
    size = WEIR_NAME_BYTES_MAX;
    while (size > 0 && (text[size] & 0xc0) == 0x80)
        size--; /* do not end inside a UTF-8 sequence */
    return size;
}

/* A new one while the table is filled to less than one in `parts`; UINT32_MAX: it is not, or memory is gone. */
static uint32_t take(struct weir_names *names, const void *bytes, size_t size, uint32_t parts) {
    size = cut(bytes, size);
    uint64_t hash = weir_names_hash(names, bytes, size);
    uint32_t slot;
    uint32_t id = lookup(names, hash, bytes, size, &slot);
    if (id != UINT32_MAX) return id;

    pthread_mutex_lock(&names->insert);
    id = lookup(names, hash, bytes, size, &slot); /* somebody may have been faster */
    if (id == UINT32_MAX) {
        uint32_t count = atomic_load_explicit(&names->count, memory_order_relaxed);
        struct name *name = NULL;
        if (count < names->count_max / parts && names->bytes + size + sizeof *name + 1 <= names->bytes_max / parts) {
            name = name_new(hash, bytes, size);
        }
        if (name != NULL) {
            names->bytes += size + sizeof *name + 1;
            id = count;
            atomic_store_explicit(&names->by_id[id], name, memory_order_relaxed);
            atomic_store_explicit(&names->count, count + 1, memory_order_release);
            atomic_store_explicit(&names->slots[slot], id + 1, memory_order_release); /* publishes the name too */
        }
    }
    pthread_mutex_unlock(&names->insert);
    return id;
}

uint32_t weir_names_intern(struct weir_names *names, const void *bytes, size_t size) {
    uint32_t id = take(names, bytes, size, 1);
    if (id != UINT32_MAX) return id;
    atomic_fetch_add_explicit(&names->overflows, 1, memory_order_relaxed);
    return WEIR_NAME_OVERFLOW;
}

uint32_t weir_names_admit(struct weir_names *names, const void *bytes, size_t size) {
    uint32_t id = take(names, bytes, size, 2);
    return id != UINT32_MAX ? id : WEIR_NAME_NONE;
}

uint32_t weir_names_find(const struct weir_names *names, const void *bytes, size_t size) {
    uint32_t slot;
    size = cut(bytes, size);
    uint32_t id = lookup(names, weir_names_hash(names, bytes, size), bytes, size, &slot);
    return id == UINT32_MAX ? WEIR_NAME_NONE : id;
}

const char *weir_names_text(const struct weir_names *names, uint32_t id, size_t *size) {
    const struct name *name = NULL;
    if (id < names->count_max) name = atomic_load_explicit(&names->by_id[id], memory_order_acquire);
    if (size != NULL) *size = name == NULL ? 0 : name->size;
    return name == NULL ? "" : name->text;
}

uint32_t weir_names_count(const struct weir_names *names) {
    return atomic_load(&names->count);
}

uint64_t weir_names_overflows(const struct weir_names *names) {
    return atomic_load(&names->overflows);
}

void weir_names_free(struct weir_names *names) {
    if (names == NULL) return;
    if (names->by_id != NULL) {
        for (uint32_t i = 0; i < names->count_max; i++)
            free(atomic_load(&names->by_id[i]));
    }
    free((void *)names->by_id);
    free((void *)names->slots);
    pthread_mutex_destroy(&names->insert);
    free(names);
}
