/* sum.c - a few counters of /metrics as numbers, for whoever reckons with them: one walk over the series for all that
 * is asked, as a scrape walks. */
#include "collector/aggregate/series.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static bool is_text(const uint8_t *at, size_t size, const char *text) {
    return strlen(text) == size && memcmp(at, text, size) == 0;
}

static bool find_label(const struct weir_identity *identity, const char *wanted, const uint8_t **text, size_t *size) {
    const uint8_t *at = identity->labels, *end = at + identity->size;
    while (at < end) {
        const uint8_t *name = at + 1, *value = memchr(name, WEIR_KEY_SEPARATOR, (size_t)(end - name));
        if (value == NULL) return false;
        value++;
        at = memchr(value, WEIR_KEY_SEPARATOR, (size_t)(end - value));
        if (at == NULL) at = end;
        if (!is_text(name, (size_t)(value - 1 - name), wanted)) continue;
        *text = value;
        *size = (size_t)(at - value);
        return true;
    }
    return false;
}

static bool has_label(const struct weir_identity *identity, const struct weir_label_match *match) {
    const uint8_t *value;
    size_t size;
    return find_label(identity, match->name, &value, &size) && is_text(value, size, match->value);
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

static double calls_of(const struct weir_series *series) {
    double sum = 0;
    for (uint32_t b = 0; b <= series->identity->family->bound_count; b++)
        sum += weir_cell_get(&((const struct weir_span_series *)(const void *)series)->buckets[b]);
    return sum;
}

/* One series, whose cells go on while it is looked at: each is read once, so that what several sums have of it is the
 * same. */
struct reading {
    const struct weir_series *series;
    bool is_read[POINT + 1];
    double values[POINT + 1];
};

static double value_of(struct reading *reading, enum what what) {
    const struct weir_series *series = reading->series;
    if (reading->is_read[what]) return reading->values[what];
    reading->is_read[what] = true;
    switch (what) {
    case CALLS: return reading->values[what] = calls_of(series);
    case CALLS_VARIANCE:
        return reading->values[what] =
                   weir_cell_get(&((const struct weir_span_series *)(const void *)series)->variance);
    default:
        return reading->values[what] =
                   weir_cell_get(&((const struct weir_point_series *)(const void *)series)->cells[0]);
    }
}

static void add_to(struct weir_sum *sum, struct reading *reading) {
    const struct weir_identity *identity = reading->series->identity;
    enum what what = what_of(identity->family, sum);
    if (what == NOTHING) return;
    for (uint32_t i = 0; i < sum->label_count; i++) {
        if (!has_label(identity, &sum->labels[i])) return;
    }
    sum->value += value_of(reading, what);
    sum->found = true;
}

/* ---- which sums a series may be of ---- */

/* Most sums are of one service, and there may be as many as the file has services: they are found by it. */
struct index {
    uint32_t mask, rest;    /* rest: the first of those that name no service; numbers here are place + 1, 0 ends */
    uint32_t *heads, *next; /* of chains */
};

static const char service_label[] = "service";

static uint32_t bucket_of(const struct index *index, const void *service, size_t size) {
    return (uint32_t)XXH3_64bits(service, size) & index->mask;
}

static bool open_index(struct index *index, const struct weir_sum *sums, uint32_t count) {
    uint32_t buckets = 16;
    while (buckets < count)
        buckets *= 2;
    *index = (struct index){.mask = buckets - 1};
    index->heads = calloc((size_t)buckets + count, sizeof *index->heads);
    if (index->heads == NULL) return false;
    index->next = index->heads + buckets;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *head = &index->rest;
        for (uint32_t k = 0; k < sums[i].label_count; k++) {
            const char *value = sums[i].labels[k].value;
            if (strcmp(sums[i].labels[k].name, service_label) == 0)
                head = &index->heads[bucket_of(index, value, strlen(value))];
        }
        index->next[i] = *head;
        *head = i + 1;
    }
    return true;
}

static void add_series(struct weir_sum *sums, const struct index *index, const struct weir_series *series) {
    struct reading reading = {.series = series};
    const uint8_t *service;
    size_t size;
    for (uint32_t i = index->rest; i != 0; i = index->next[i - 1])
        add_to(&sums[i - 1], &reading);
    if (!find_label(series->identity, service_label, &service, &size)) return;
    for (uint32_t i = index->heads[bucket_of(index, service, size)]; i != 0; i = index->next[i - 1])
        add_to(&sums[i - 1], &reading);
}

void weir_aggregate_sums(struct weir_aggregate *aggregate, struct weir_sum *sums, uint32_t count) {
    struct index index;
    for (uint32_t i = 0; i < count; i++) {
        sums[i].value = 0;
        sums[i].found = false;
    }
    if (count == 0 || !open_index(&index, sums, count)) return;
    for (uint32_t lane = 0; lane < aggregate->lanes; lane++) {
        struct weir_shard *shard = &aggregate->shards[lane];
        pthread_mutex_lock(&shard->scraping);
        for (const struct weir_series *at = atomic_load_explicit(&shard->first, memory_order_acquire); at != NULL;
             at = atomic_load_explicit(&at->next, memory_order_relaxed))
            add_series(sums, &index, at);
        pthread_mutex_unlock(&shard->scraping);
    }
    free(index.heads);
}
