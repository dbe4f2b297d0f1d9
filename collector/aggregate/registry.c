#include "collector/aggregate/registry.h"
#include "collector/core/point.h"

#include <stdlib.h>
#include <string.h>

static const char overflow_labels[] = "\x1foverflow\x1ftrue";

bool weir_registry_init(struct weir_registry *registry, const struct weir_aggregate_config *config,
                        const struct weir_names *names) {
    *registry = (struct weir_registry){.config = config, .names = names, .claim_slots = 256, .identity_slots = 1024};
    pthread_mutex_init(&registry->lock, NULL);
    /* Each metric has a series, so this many only when each has no more than two; keeps room for what they are made of.
     */
    registry->families_max = config->series_max / 2 < 64 ? 64 : config->series_max / 2;
    registry->claims = calloc(registry->claim_slots, sizeof(struct weir_claim *));
    registry->identities = calloc(registry->identity_slots, sizeof(struct weir_identity *));
    return registry->claims != NULL && registry->identities != NULL;
}

/* ---- claims ---- */

static struct weir_claim *claim_find(const struct weir_registry *registry, const void *text, size_t size) {
    uint64_t hash = weir_names_hash(registry->names, text, size);
    for (struct weir_claim *claim = registry->claims[hash & (registry->claim_slots - 1)]; claim != NULL;
         claim = claim->next) {
        if (claim->hash == hash && claim->size == size && memcmp(claim->text, text, size) == 0) return claim;
    }
    return NULL;
}

static void claims_grow(struct weir_registry *registry) {
    uint32_t slots = registry->claim_slots * 2;
    struct weir_claim **grown = calloc(slots, sizeof *grown);
    if (grown == NULL) return; /* longer chains, nothing else */
    for (uint32_t i = 0; i < registry->claim_slots; i++) {
        for (struct weir_claim *claim = registry->claims[i], *next; claim != NULL; claim = next) {
            next = claim->next;
            claim->next = grown[claim->hash & (slots - 1)];
            grown[claim->hash & (slots - 1)] = claim;
        }
    }
    free(registry->claims);
    registry->claims = grown;
    registry->claim_slots = slots;
}

static struct weir_claim *claim_add(struct weir_registry *registry, struct weir_family *family, const void *text,
                                    size_t size, bool base) {
    struct weir_claim *claim = malloc(sizeof *claim + size + 1);
    if (claim == NULL) return NULL;
    *claim = (struct weir_claim){
        .family = family, .hash = weir_names_hash(registry->names, text, size), .base = base, .size = (uint32_t)size};
    memcpy(claim->text, text, size);
    claim->text[size] = 0;
    if (registry->claim_count >= registry->claim_slots) claims_grow(registry);
    struct weir_claim **slot = &registry->claims[claim->hash & (registry->claim_slots - 1)];
    claim->next = *slot;
    *slot = claim;
    registry->claim_count++;
    if (family != NULL) {
        claim->next_of_family = family->claims;
        family->claims = claim;
    }
    return claim;
}

static void claims_drop(struct weir_registry *registry, struct weir_family *family) {
    for (struct weir_claim *claim = family->claims, *next; claim != NULL; claim = next) {
        next = claim->next_of_family;
        struct weir_claim **at = &registry->claims[claim->hash & (registry->claim_slots - 1)];
        while (*at != claim)
            at = &(*at)->next;
        *at = claim->next;
        registry->claim_count--;
        free(claim);
    }
    family->claims = NULL;
}

/* ---- families ---- */

static void family_free(struct weir_family *family) {
    if (family == NULL) return;
    if (family->own_bounds) free((void *)(uintptr_t)family->bounds);
    free(family->name);
    free(family);
}

static void family_drop(struct weir_registry *registry, struct weir_family *family) {
    claims_drop(registry, family);
    family_free(family);
    registry->families--;
}

/* The names that a metric takes on the page besides its own. */
static const char *const *suffixes_of(enum weir_family_type type) {
    static const char *const none[] = {NULL}, *const histogram[] = {"_bucket", "_sum", "_count", NULL},
                             *const summary[] = {"_sum", "_count", NULL};
    return type == WEIR_FAMILY_HISTOGRAM ? histogram : type == WEIR_FAMILY_SUMMARY ? summary : none;
}

enum { PAGE_NAME_MAX = 1024 };

/* Claims `stem` + each suffix; a taken one is fatal, and only looked for in the first pass. */
static bool claim_suffixes(struct weir_registry *registry, struct weir_family *family, const char *stem, size_t size,
                           enum weir_family_type type, bool add) {
    char text[PAGE_NAME_MAX];
    for (const char *const *suffix = suffixes_of(type); *suffix != NULL; suffix++) {
        size_t suffix_size = strlen(*suffix);
        if (size + suffix_size > sizeof text) return false;
        memcpy(text, stem, size);
        memcpy(text + size, *suffix, suffix_size);
        if (!add && claim_find(registry, text, size + suffix_size) != NULL) return false;
        if (add && claim_add(registry, family, text, size + suffix_size, false) == NULL) return false;
    }
    return true;
}

static bool copy_bounds(struct weir_family *family, const struct weir_metric_ask *ask) {
    family->bounds = ask->bounds;
    family->bound_count = ask->bound_count;
    if (ask->keeps_bounds || ask->bound_count == 0) return true;
    double *bounds = malloc(ask->bound_count * sizeof *bounds);
    if (bounds == NULL) return false;
    memcpy(bounds, ask->bounds, ask->bound_count * sizeof *bounds);
    family->bounds = bounds;
    return family->own_bounds = true;
}

static const char total[] = "_total";
enum { TOTAL_SIZE = sizeof total - 1 };

static bool ends_in_total(const char *name, size_t size) {
    return size > TOTAL_SIZE && memcmp(name + size - TOTAL_SIZE, total, TOTAL_SIZE) == 0;
}

static struct weir_family *family_new(struct weir_registry *registry, const struct weir_metric_ask *ask,
                                      const char *name, size_t size) {
    struct weir_family *family = calloc(1, sizeof *family);
    if (family == NULL) return NULL;
    family->type = ask->type;
    registry->families++;
    family->seed = ++registry->seed * 0x9e3779b97f4a7c15ull;
    family->name = malloc(size + 1);
    if (family->name == NULL || !copy_bounds(family, ask)) {
        family_drop(registry, family);
        return NULL;
    }
    memcpy(family->name, name, size);
    family->name[size] = 0;
    family->name_size = (uint32_t)size;
    if (claim_add(registry, family, name, size, true) == NULL ||
        !claim_suffixes(registry, family, name, size, ask->type, true)) {
        family_drop(registry, family);
        return NULL;
    }
    return family;
}

static bool fits(const struct weir_claim *claim, enum weir_family_type type) {
    return claim->base && claim->family != NULL && claim->family->type == type;
}

/* The claim for the name that was asked for, made when it is new. *is_new: the family is, and has no identity yet. */
static enum weir_admission claim_get(struct weir_registry *registry, const struct weir_metric_ask *ask,
                                     const struct weir_claim **out, bool *is_new) {
    *is_new = false;
    struct weir_claim *claim = claim_find(registry, ask->name, ask->name_size);
    if (claim != NULL) {
        *out = claim;
        return fits(claim, ask->type) ? WEIR_ADMITTED : WEIR_NOT_ADMITTED_CONFLICT;
    }
    static const char own[] = "weir_"; /* what Weir says of itself has one source */
    if (ask->name_size >= sizeof own - 1 && memcmp(ask->name, own, sizeof own - 1) == 0)
        return WEIR_NOT_ADMITTED_CONFLICT;

    char page[PAGE_NAME_MAX];
    size_t size = ask->name_size;
    if (size + TOTAL_SIZE > sizeof page) return WEIR_NOT_ADMITTED_FULL;
    memcpy(page, ask->name, size);
    bool alias = ask->type == WEIR_FAMILY_COUNTER && !ends_in_total(page, size);
    struct weir_family *family = NULL;
    if (alias) {
        memcpy(page + size, total, TOTAL_SIZE);
        size += TOTAL_SIZE;
        struct weir_claim *held = claim_find(registry, page, size);
        if (held != NULL && !fits(held, ask->type)) return WEIR_NOT_ADMITTED_CONFLICT;
        if (held != NULL) family = held->family;
    }
    if (family == NULL) {
        if (!claim_suffixes(registry, NULL, page, size, ask->type, false)) return WEIR_NOT_ADMITTED_CONFLICT;
        if (registry->families >= registry->families_max) return WEIR_NOT_ADMITTED_FULL;
        family = family_new(registry, ask, page, size);
        if (family == NULL) return WEIR_NOT_ADMITTED_FULL;
        *is_new = true;
    }
    claim = alias ? claim_add(registry, family, ask->name, ask->name_size, true)
                  : claim_find(registry, ask->name, ask->name_size);
    if (claim == NULL) {
        if (*is_new) family_drop(registry, family);
        return WEIR_NOT_ADMITTED_FULL;
    }
    *out = claim;
    return WEIR_ADMITTED;
}

/* ---- identities ---- */

static void identities_grow(struct weir_registry *registry) {
    uint32_t slots = registry->identity_slots * 2;
    struct weir_identity **grown = calloc(slots, sizeof(struct weir_identity *));
    if (grown == NULL) return;
    for (uint32_t i = 0; i < registry->identity_slots; i++) {
        for (struct weir_identity *identity = registry->identities[i], *next; identity != NULL; identity = next) {
            next = identity->next;
            identity->next = grown[identity->hash & (slots - 1)];
            grown[identity->hash & (slots - 1)] = identity;
        }
    }
    free(registry->identities);
    registry->identities = grown;
    registry->identity_slots = slots;
}

static struct weir_identity *identity_new(struct weir_registry *registry, struct weir_family *family, uint64_t hash,
                                          const void *labels, uint32_t size) {
    struct weir_identity *identity = malloc(sizeof *identity + size);
    if (identity == NULL) return NULL;
    *identity = (struct weir_identity){.family = family, .hash = hash, .refs = 1, .size = size};
    if (size > 0) memcpy(identity->labels, labels, size);
    if (registry->identity_count >= registry->identity_slots) identities_grow(registry);
    struct weir_identity **slot = &registry->identities[hash & (registry->identity_slots - 1)];
    identity->next = *slot;
    *slot = identity;
    registry->identity_count++;
    family->refs++;
    return identity;
}

static struct weir_identity *identity_find(const struct weir_registry *registry, const struct weir_family *family,
                                           uint64_t hash, const void *labels, uint32_t size) {
    for (struct weir_identity *at = registry->identities[hash & (registry->identity_slots - 1)]; at != NULL;
         at = at->next) {
        if (at->hash == hash && at->family == family && at->size == size && memcmp(at->labels, labels, size) == 0)
            return at;
    }
    return NULL;
}

static uint64_t identity_hash(const struct weir_registry *registry, const struct weir_family *family,
                              const void *labels, uint32_t size) {
    return weir_names_hash(registry->names, labels, size) ^ family->seed;
}

static enum weir_admission admit_overflow(struct weir_registry *registry, struct weir_family *family,
                                          struct weir_identity **out) {
    if (family->overflow != NULL) {
        family->overflow->refs++;
    } else {
        uint32_t size = sizeof overflow_labels - 1;
        uint64_t hash = identity_hash(registry, family, overflow_labels, size);
        family->overflow = identity_new(registry, family, hash, overflow_labels, size);
        if (family->overflow == NULL) return WEIR_NOT_ADMITTED_FULL;
    }
    *out = family->overflow;
    return WEIR_ADMITTED_OVERFLOW;
}

static enum weir_admission admit(struct weir_registry *registry, struct weir_family *family, const void *labels,
                                 uint32_t size, bool folds, struct weir_identity **out) {
    uint64_t hash = identity_hash(registry, family, labels, size);
    struct weir_identity *identity = identity_find(registry, family, hash, labels, size);
    if (identity != NULL) {
        identity->refs++;
        *out = identity;
        return WEIR_ADMITTED;
    }
    uint32_t live = atomic_load_explicit(&registry->live, memory_order_relaxed);
    if (live >= registry->config->series_max || family->live >= registry->config->series_per_metric_max) {
        return folds ? admit_overflow(registry, family, out) : WEIR_NOT_ADMITTED_FULL;
    }
    identity = identity_new(registry, family, hash, labels, size);
    if (identity == NULL) return WEIR_NOT_ADMITTED_FULL;
    atomic_store_explicit(&registry->live, live + 1, memory_order_relaxed);
    family->live++;
    *out = identity;
    return WEIR_ADMITTED;
}

enum weir_admission weir_registry_admit(struct weir_registry *registry, const struct weir_metric_ask *ask,
                                        const void *labels, uint32_t size, const struct weir_claim **claim,
                                        struct weir_identity **identity) {
    bool is_new;
    pthread_mutex_lock(&registry->lock);
    enum weir_admission admission = claim_get(registry, ask, claim, &is_new);
    if (admission == WEIR_ADMITTED) {
        admission = admit(registry, (*claim)->family, labels, size, ask->folds, identity);
        if (is_new && admission > WEIR_ADMITTED_OVERFLOW) family_drop(registry, (*claim)->family);
    }
    pthread_mutex_unlock(&registry->lock);
    return admission;
}

enum weir_admission weir_registry_admit_to(struct weir_registry *registry, struct weir_family *family,
                                           const void *labels, uint32_t size, struct weir_identity **identity) {
    pthread_mutex_lock(&registry->lock);
    enum weir_admission admission = admit(registry, family, labels, size, true, identity);
    pthread_mutex_unlock(&registry->lock);
    return admission;
}

void weir_registry_release(struct weir_registry *registry, struct weir_identity *identity) {
    pthread_mutex_lock(&registry->lock);
    if (--identity->refs == 0) {
        struct weir_family *family = identity->family;
        struct weir_identity **at = &registry->identities[identity->hash & (registry->identity_slots - 1)];
        while (*at != identity)
            at = &(*at)->next;
        *at = identity->next;
        registry->identity_count--;
        if (family->overflow == identity) {
            family->overflow = NULL;
        } else {
            family->live--;
            atomic_fetch_sub_explicit(&registry->live, 1, memory_order_relaxed);
        }
        free(identity);
        if (--family->refs == 0) family_drop(registry, family);
        atomic_fetch_add_explicit(&registry->epoch, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&registry->lock);
}

/* ---- what stands from the beginning ---- */

bool weir_registry_reserve(struct weir_registry *registry, const char *name) {
    return claim_find(registry, name, strlen(name)) != NULL ||
           claim_add(registry, NULL, name, strlen(name), false) != NULL;
}

struct weir_family *weir_registry_build_in(struct weir_registry *registry, const char *const *names,
                                           enum weir_family_type type, const double *bounds, uint32_t bound_count) {
    struct weir_metric_ask ask = {.type = type, .bounds = bounds, .bound_count = bound_count, .keeps_bounds = true};
    struct weir_family *family = family_new(registry, &ask, names[0], strlen(names[0]));
    if (family == NULL) return NULL;
    family->refs = 1; /* its own: it is never dropped */
    registry->families_max++;
    family->claims->base = false;
    for (const char *const *name = names; *name != NULL; name++) {
        size_t size = strlen(*name);
        bool counter = ends_in_total(*name, size);
        if (!weir_registry_reserve(registry, *name)) return NULL;
        if (counter) {
            char stem[PAGE_NAME_MAX]; /* a counter without its suffix would end up under the same name */
            memcpy(stem, *name, size - TOTAL_SIZE);
            stem[size - TOTAL_SIZE] = 0;
            if (!weir_registry_reserve(registry, stem)) return NULL;
        } else if (!claim_suffixes(registry, NULL, *name, size, WEIR_FAMILY_HISTOGRAM, true)) {
            return NULL;
        }
    }
    return family;
}

void weir_registry_free(struct weir_registry *registry) {
    for (uint32_t i = 0; registry->identities != NULL && i < registry->identity_slots; i++) {
        for (struct weir_identity *identity = registry->identities[i], *next; identity != NULL; identity = next) {
            next = identity->next;
            free(identity);
        }
    }
    for (uint32_t i = 0; registry->claims != NULL && i < registry->claim_slots; i++) {
        while (registry->claims[i] != NULL) {
            struct weir_claim *claim = registry->claims[i];
            if (claim->family != NULL) {
                struct weir_family *family = claim->family;
                // What was freed is not in the list any more. NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
                claims_drop(registry, family); /* this one among them */
                family_free(family);
            } else {
                registry->claims[i] = claim->next;
                free(claim);
            }
        }
    }
    free(registry->claims);
    free(registry->identities);
    pthread_mutex_destroy(&registry->lock);
}
