/* registry.h - what all lanes agree on: which metric has which type, and which label sets were admitted.
 *
 *   claim     a name as a sender writes it ("shop_orders"), or one that the page needs (shop_latency_bucket)  ─> family
 *   family    one metric: type, name on the page, bucket bounds; lives while it has an identity
 *   identity  one label set of a family, shared by the lanes that hold a series of it; a scrape merges by it
 *
 * Behind a mutex, which a lane takes when it meets a series for the first time or forgets one: never for a known
 * series. */
#ifndef WEIR_AGGREGATE_REGISTRY_H
#define WEIR_AGGREGATE_REGISTRY_H
#include "collector/config/config.h"
#include "collector/core/names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum weir_family_type {
    WEIR_FAMILY_COUNTER,
    WEIR_FAMILY_GAUGE,
    WEIR_FAMILY_SET,
    WEIR_FAMILY_HISTOGRAM,
    WEIR_FAMILY_SUMMARY,
    WEIR_FAMILY_SPANS, /* built in: what one span adds to */
    WEIR_FAMILY_EDGES, /* built in: what one call from service to service adds to */
};

struct weir_claim {
    struct weir_claim *next; /* of the same slot */
    struct weir_claim *next_of_family;
    struct weir_family *family; /* NULL: a name that the process exposes itself */
    uint64_t hash;
    bool base; /* points may come under it; otherwise it only keeps others away (x_bucket of the histogram x) */
    uint32_t size;
    char text[];
};

struct weir_family {
    enum weir_family_type type;
    uint32_t refs; /* identities, the overflow one among them */
    uint32_t live; /* identities without the overflow one: what series_per_metric_max bounds */
    uint64_t seed; /* of the hashes of its identities */
    struct weir_claim *claims;
    struct weir_identity *overflow;
    const double *bounds; /* histograms: ascending, without +Inf */
    uint32_t bound_count;
    bool own_bounds;
    uint32_t name_size;
    char *name; /* on the page: counters end in _total */
};

struct weir_identity {
    struct weir_identity *next; /* of the same slot */
    struct weir_family *family;
    uint64_t hash;
    uint32_t refs; /* lanes */
    uint32_t size;
    uint8_t labels[]; /* 0x1f label 0x1f value ..., as in core/point.h behind the name; "" = no labels */
};

enum weir_admission {
    WEIR_ADMITTED,
    WEIR_ADMITTED_OVERFLOW, /* a bound was met: the identity is the family's overflow="true" */
    WEIR_NOT_ADMITTED_CONFLICT,
    WEIR_NOT_ADMITTED_FULL, /* a bound was met and folding is not possible, or out of memory */
};

struct weir_registry {
    const struct weir_aggregate_config *config;
    const struct weir_names *names; /* for their keyed hash */
    pthread_mutex_t lock;
    struct weir_claim **claims;
    struct weir_identity **identities;
    uint32_t claim_slots, claim_count, identity_slots, identity_count;
    uint32_t families, families_max;
    uint64_t seed;
    _Atomic uint32_t live;  /* identities without overflow ones: what series_max bounds */
    _Atomic uint64_t epoch; /* moves when something is forgotten: what was refused before may be taken now */
};

/* What a sender says of the metric that it adds to. Bounds count only where the family is new; they are copied unless
 * they are the caller's for as long as the registry lives (`keeps_bounds`). */
struct weir_metric_ask {
    const void *name;
    uint32_t name_size;
    enum weir_family_type type;
    const double *bounds;
    uint32_t bound_count;
    bool keeps_bounds;
    bool folds; /* may be added to overflow="true" */
};

bool weir_registry_init(struct weir_registry *registry, const struct weir_aggregate_config *config,
                        const struct weir_names *names);
void weir_registry_free(struct weir_registry *registry);
/* A family that stands from the beginning. names: all that it has on the page, NULL at the end; points under them, and
 * under those that a histogram adds, are a conflict. NULL: out of memory. */
struct weir_family *weir_registry_build_in(struct weir_registry *registry, const char *const *names,
                                           enum weir_family_type type, const double *bounds, uint32_t bound_count);
/* Keeps a name for the process. */
bool weir_registry_reserve(struct weir_registry *registry, const char *name);
/* On ADMITTED and OVERFLOW the caller holds one reference of *identity, and *claim lives as long. */
enum weir_admission weir_registry_admit(struct weir_registry *registry, const struct weir_metric_ask *ask,
                                        const void *labels, uint32_t labels_size, const struct weir_claim **claim,
                                        struct weir_identity **identity);
/* The same for a built-in family. */
enum weir_admission weir_registry_admit_to(struct weir_registry *registry, struct weir_family *family,
                                           const void *labels, uint32_t labels_size, struct weir_identity **identity);
void weir_registry_release(struct weir_registry *registry, struct weir_identity *identity);
#endif
