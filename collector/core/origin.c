#include "collector/core/origin.h"
#include "collector/core/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Direct-mapped: a slot holds one origin, a collision forgets the older. */
struct weir_origins {
    uint32_t mask;
    struct weir_origin *slots[];
};

struct weir_origins *weir_origins_new(uint32_t count_max) {
    uint32_t slots = 16;
    while (slots < count_max)
        slots *= 2;
    struct weir_origins *origins = calloc(1, sizeof *origins + slots * sizeof origins->slots[0]);
    if (origins != NULL) origins->mask = slots - 1;
    return origins;
}

uint64_t weir_resource_hash(const struct weir_origin_parts *parts) {
    return XXH3_64bits(parts->resource, parts->resource_size);
}

static uint64_t hash_parts(const struct weir_origin_parts *parts, uint64_t resource_hash) {
    uint32_t sizes[4] = {parts->resource_size, parts->scope_size, parts->resource_url_size, parts->scope_url_size};
    uint64_t hash = XXH3_64bits_withSeed(sizes, sizeof sizes, resource_hash);
    hash = XXH3_64bits_withSeed(parts->scope, parts->scope_size, hash);
    if (parts->resource_url_size > 0) hash = XXH3_64bits_withSeed(parts->resource_url, parts->resource_url_size, hash);
    if (parts->scope_url_size > 0) hash = XXH3_64bits_withSeed(parts->scope_url, parts->scope_url_size, hash);
    return hash;
}

static int part_equal(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size) {
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static int parts_equal(const struct weir_origin_parts *a, const struct weir_origin_parts *b) {
    return part_equal(a->resource, a->resource_size, b->resource, b->resource_size) &&
           part_equal(a->scope, a->scope_size, b->scope, b->scope_size) &&
           part_equal(a->resource_url, a->resource_url_size, b->resource_url, b->resource_url_size) &&
           part_equal(a->scope_url, a->scope_url_size, b->scope_url, b->scope_url_size);
}

static const uint8_t *copy_part(uint8_t **at, const uint8_t *bytes, uint32_t size) {
    uint8_t *here = *at;
    if (size > 0) memcpy(here, bytes, size);
    *at = here + size;
    return here;
}

struct weir_origin *weir_origins_get(struct weir_origins *origins, const struct weir_origin_parts *parts, int *is_new) {
    return weir_origins_get_hashed(origins, parts, weir_resource_hash(parts), is_new);
}

struct weir_origin *weir_origins_get_hashed(struct weir_origins *origins, const struct weir_origin_parts *parts,
                                            uint64_t resource_hash, int *is_new) {
    uint64_t hash = hash_parts(parts, resource_hash);
    struct weir_origin **slot = &origins->slots[hash & origins->mask];
    *is_new = 0;
    if (*slot != NULL && (*slot)->hash == hash && parts_equal(&(*slot)->parts, parts)) return weir_origin_ref(*slot);

    size_t size = (size_t)parts->resource_size + parts->scope_size + parts->resource_url_size + parts->scope_url_size;
    struct weir_origin *origin = malloc(sizeof *origin + size);
    if (origin == NULL) return NULL;
    bool kept = size <= WEIR_ORIGIN_KEPT_BYTES;
    atomic_init(&origin->refs, kept ? 2 : 1); /* the table's and the caller's */
    origin->service = WEIR_NAME_NONE;
    origin->hash = hash;
    origin->parts = *parts;
    uint8_t *at = origin->bytes;
    origin->parts.resource = copy_part(&at, parts->resource, parts->resource_size);
    origin->parts.scope = copy_part(&at, parts->scope, parts->scope_size);
    origin->parts.resource_url = copy_part(&at, parts->resource_url, parts->resource_url_size);
    origin->parts.scope_url = copy_part(&at, parts->scope_url, parts->scope_url_size);
    if (kept) {
        weir_origin_unref(*slot);
        *slot = origin;
    }
    *is_new = 1;
    return origin;
}

void weir_origin_unref(struct weir_origin *origin) {
    if (origin == NULL) return;
    if (atomic_fetch_sub_explicit(&origin->refs, 1, memory_order_acq_rel) == 1) free(origin);
}

void weir_origins_free(struct weir_origins *origins) {
    if (origins == NULL) return;
    for (uint32_t i = 0; i <= origins->mask; i++)
        weir_origin_unref(origins->slots[i]);
    free(origins);
}
