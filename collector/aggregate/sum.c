/* sum.c - a few counters of /metrics as numbers, for whoever reckons with them: one walk over the series for all that
 * is asked, as a scrape walks. */
#include "collector/aggregate/series.h"

static bool is_text(const uint8_t *at, size_t size, const char *text) {
    return strlen(text) == size && memcmp(at, text, size) == 0;
}

static bool has_label(const struct weir_identity *identity, const struct weir_label_match *match) {
    const uint8_t *at = identity->labels, *end = at + identity->size;
    while (at < end) {
        const uint8_t *name = at + 1, *value = memchr(name, WEIR_KEY_SEPARATOR, (size_t)(end - name));
        if (value == NULL) return false;
        value++;
        at = memchr(value, WEIR_KEY_SEPARATOR, (size_t)(end - value));
        if (at == NULL) at = end;
        if (is_text(name, (size_t)(value - 1 - name), match->name))
            return is_text(value, (size_t)(at - value), match->value);
    }
    return false;
}

enum what { NOTHING, CALLS, CALLS_VARIANCE, POINT };

static enum what what_of(const struct weir_family *family, const struct weir_sum *sum) {
    if (family->type == WEIR_FAMILY_SPANS) {
        if (strcmp(sum->family, "traces_spanmetrics_calls_total") == 0) return CALLS;
        return strcmp(sum->family, "weir_spanmetrics_calls_variance_total") == 0 ? CALLS_VARIANCE : NOTHING;
    }
    if (family->type != WEIR_FAMILY_COUNTER) return NOTHING;
    return is_text((const uint8_t *)family->name, family->name_size, sum->family) ? POINT : NOTHING;
}

static double value_of(const struct weir_series *series, enum what what) {
    const struct weir_span_series *span = (const void *)series;
    double sum = 0;
    switch (what) {
    case CALLS:
        for (uint32_t b = 0; b <= series->identity->family->bound_count; b++)
            sum += weir_cell_get(&span->buckets[b]);
        return sum;
    case CALLS_VARIANCE: return weir_cell_get(&span->variance);
    default: return weir_cell_get(&((const struct weir_point_series *)(const void *)series)->cells[0]);
    }
}

static void add_to(struct weir_sum *sum, const struct weir_series *series) {
    enum what what = what_of(series->identity->family, sum);
    if (what == NOTHING) return;
    for (uint32_t i = 0; i < sum->label_count; i++) {
        if (!has_label(series->identity, &sum->labels[i])) return;
    }
    sum->value += value_of(series, what);
    sum->found = true;
}

void weir_aggregate_sums(struct weir_aggregate *aggregate, struct weir_sum *sums, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        sums[i].value = 0;
        sums[i].found = false;
    }
    for (uint32_t lane = 0; count > 0 && lane < aggregate->lanes; lane++) {
        struct weir_shard *shard = &aggregate->shards[lane];
        pthread_mutex_lock(&shard->scraping);
        for (const struct weir_series *at = atomic_load_explicit(&shard->first, memory_order_acquire); at != NULL;
             at = atomic_load_explicit(&at->next, memory_order_relaxed)) {
            for (uint32_t i = 0; i < count; i++)
                add_to(&sums[i], at);
        }
        pthread_mutex_unlock(&shard->scraping);
    }
}
