#include "collector/aggregate/series.h"

#include <stdlib.h>

bool weir_shard_list(struct weir_shard *shard, struct weir_index *index, struct weir_series *series) {
    if (!weir_index_add(index, series->hash, series)) return false;
    struct weir_series *first = atomic_load_explicit(&shard->first, memory_order_relaxed);
    atomic_store_explicit(&series->next, first, memory_order_relaxed);
    atomic_store_explicit(&shard->first, series, memory_order_release);
    return true;
}

/* Both parts only grow, so the sum stays the same only when nothing was forgotten, anywhere or here. */
static uint64_t epoch_of(const struct weir_shard *shard) {
    return atomic_load_explicit(&shard->registry->epoch, memory_order_relaxed) +
           atomic_load_explicit(&shard->metrics->cells[WEIR_SERIES_EXPIRED], memory_order_relaxed) + 1;
}

const struct weir_refusal_slot *weir_shard_refused(const struct weir_shard *shard, uint64_t hash) {
    if (shard->refusals == NULL) return NULL;
    const struct weir_refusal_slot *slot = &shard->refusals[hash >> 20 & (WEIR_REFUSALS_KEPT - 1)];
    return slot->hash == hash && slot->epoch == epoch_of(shard) ? slot : NULL;
}

void weir_shard_refuse(struct weir_shard *shard, uint64_t hash, enum weir_admission verdict,
                       struct weir_series *overflow) {
    if (shard->refusals == NULL) shard->refusals = calloc(WEIR_REFUSALS_KEPT, sizeof *shard->refusals);
    if (shard->refusals == NULL) return;
    shard->refusals[hash >> 20 & (WEIR_REFUSALS_KEPT - 1)] =
        (struct weir_refusal_slot){hash, epoch_of(shard), overflow, verdict};
}

/* This lane's series of an overflow identity, if there is one. */
static struct weir_series *find_identity(const struct weir_index *index, const struct weir_identity *identity) {
    struct weir_series *series;
    for (uint32_t at = weir_index_start(index, identity->hash);
         (series = weir_index_next(index, identity->hash, &at)) != NULL;) {
        if (series->identity == identity) return series;
    }
    return NULL;
}

struct weir_series *weir_shard_book(struct weir_shard *shard, struct weir_index *index, struct weir_family *family,
                                    uint64_t hash, const uint8_t *labels, uint32_t labels_size, size_t series_bytes) {
    const struct weir_refusal_slot *refused = weir_shard_refused(shard, hash);
    if (refused != NULL) {
        weir_count(shard->metrics, WEIR_SERIES_FOLDED, 1);
        return refused->overflow;
    }
    struct weir_identity *identity;
    enum weir_admission admission = weir_registry_admit_to(shard->registry, family, labels, labels_size, &identity);
    struct weir_series *series = NULL;
    if (admission == WEIR_ADMITTED_OVERFLOW) {
        series = find_identity(index, identity);
        if (series != NULL) weir_registry_release(shard->registry, identity);
    }
    if (admission <= WEIR_ADMITTED_OVERFLOW && series == NULL) {
        series = calloc(1, series_bytes);
        if (series != NULL) {
            series->identity = identity;
            series->hash = admission == WEIR_ADMITTED ? hash : identity->hash;
        }
        if (series == NULL || !weir_shard_list(shard, index, series)) {
            free(series);
            series = NULL;
            weir_registry_release(shard->registry, identity);
        }
    }
    if (series == NULL) {
        weir_count(shard->metrics, WEIR_SERIES_UNBOOKED, 1);
    } else if (admission == WEIR_ADMITTED_OVERFLOW) {
        weir_shard_refuse(shard, hash, admission, series);
        weir_count(shard->metrics, WEIR_SERIES_FOLDED, 1);
    }
    return series;
}

static void forget(struct weir_shard *shard, struct weir_series *series) {
    struct weir_identity *identity = series->identity;
    switch (identity->family->type) {
    case WEIR_FAMILY_SPANS: weir_index_remove(&shard->spans, series); break;
    case WEIR_FAMILY_EDGES: weir_index_remove(&shard->edges, series); break;
    default: {
        struct weir_point_series *point = (struct weir_point_series *)series;
        weir_index_remove(&shard->points, series);
        weir_set_free(point->members);
        free(point->last_buckets);
    }
    }
    free(series);
    weir_registry_release(shard->registry, identity);
    weir_count(shard->metrics, WEIR_SERIES_EXPIRED, 1);
}

static void look_at_set(const struct weir_shard *shard, struct weir_series *series, uint64_t now_ns) {
    struct weir_point_series *point = (struct weir_point_series *)series;
    if (weir_set_roll(point->members, shard->set_window_ns, now_ns))
        weir_cell_set(&point->cells[0], weir_set_value(point->members));
}

void weir_shard_expire(struct weir_shard *shard, uint32_t count, uint64_t now_ns) {
    if (pthread_mutex_trylock(&shard->scraping) != 0) return; /* a scrape walks the list: at a later tick */
    for (uint32_t i = 0; i < count; i++) {
        struct weir_series *_Atomic *link = shard->cursor == NULL ? &shard->first : &shard->cursor->next;
        struct weir_series *series = atomic_load_explicit(link, memory_order_relaxed);
        if (series == NULL) {
            shard->cursor = NULL;
            break;
        }
        if (now_ns > series->used_ns && now_ns - series->used_ns > shard->config->idle_expiry_ns) {
            atomic_store_explicit(link, atomic_load_explicit(&series->next, memory_order_relaxed),
                                  memory_order_relaxed);
            forget(shard, series);
            continue;
        }
        if (series->identity->family->type == WEIR_FAMILY_SET) look_at_set(shard, series, now_ns);
        shard->cursor = series;
    }
    pthread_mutex_unlock(&shard->scraping);
}

uint32_t weir_label_put(uint8_t *out, uint32_t size, const char *label, const char *value, size_t value_size,
                        uint32_t value_max) {
    if (value_size > value_max) {
        value_size = value_max;
        for (int i = 0; i < 3 && value_size > 0 && ((uint8_t)value[value_size] & 0xc0) == 0x80; i++)
            value_size--; /* not inside a character */
    }
    if (value_size == 0) return size; /* Prometheus: an empty value is no label */
    uint8_t *at = out + size;
    *at++ = WEIR_KEY_SEPARATOR;
    size_t label_size = strlen(label);
    memcpy(at, label, label_size);
    at += label_size;
    *at++ = WEIR_KEY_SEPARATOR;
    for (size_t i = 0; i < value_size; i++)
        *at++ = (uint8_t)value[i] < 0x20 ? ' ' : (uint8_t)value[i];
    return (uint32_t)(at - out);
}
