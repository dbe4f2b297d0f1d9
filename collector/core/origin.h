/* origin.h - where spans come from: the OTLP Resource and InstrumentationScope that they share, held once.
 * An origin is immutable and counted; each lane's decoder keeps the ones it saw last in a table, so that a request with
 * a known resource costs one hash. */
#ifndef WEIR_CORE_ORIGIN_H
#define WEIR_CORE_ORIGIN_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The four parts stand one behind the other in bytes[]: message bodies of Resource and InstrumentationScope, and the
 * two schema URLs as text. Any may be empty. */
struct weir_origin_parts {
    const uint8_t *resource, *scope, *resource_url, *scope_url;
    uint32_t resource_size, scope_size, resource_url_size, scope_url_size;
};

struct weir_origin {
    _Atomic uint32_t refs;
    uint32_t service; /* name id of service.name; WEIR_NAME_NONE when the resource has none */
    uint64_t hash;
    struct weir_origin_parts parts; /* point into bytes[] */
    uint8_t bytes[];
};

struct weir_origins; /* a bounded table; one thread */

struct weir_origins *weir_origins_new(uint32_t count_max);
/* The origin with just these bytes, known or new; the caller owns one reference. A new one has service WEIR_NAME_NONE
 * and *is_new = 1: the caller reads service.name and sets it before anybody else sees it. NULL: out of memory. When its
 * place in the table is taken the one there is forgotten (it lives on while batches hold it). One larger than
 * WEIR_ORIGIN_KEPT_BYTES is never kept, so that the table is bounded in bytes: it is new each time. */
enum { WEIR_ORIGIN_KEPT_BYTES = 16 * 1024 };
struct weir_origin *weir_origins_get(struct weir_origins *origins, const struct weir_origin_parts *parts, int *is_new);
/* The same for who has many scopes of one resource, and hashes it once. */
uint64_t weir_resource_hash(const struct weir_origin_parts *parts);
struct weir_origin *weir_origins_get_hashed(struct weir_origins *origins, const struct weir_origin_parts *parts,
                                            uint64_t resource_hash, int *is_new);
void weir_origins_free(struct weir_origins *origins);

static inline struct weir_origin *weir_origin_ref(struct weir_origin *origin) {
    atomic_fetch_add_explicit(&origin->refs, 1, memory_order_relaxed);
    return origin;
}
void weir_origin_unref(struct weir_origin *origin); /* accepts NULL */
static inline size_t weir_origin_memory(const struct weir_origin *origin) {
    const struct weir_origin_parts *parts = &origin->parts;
    return sizeof *origin + parts->resource_size + parts->scope_size + parts->resource_url_size + parts->scope_url_size;
}
#endif
