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

enum what { NOTHING, CALLS, CALLS_VARIANCE, SERVICE_VARIANCE, POINT };

static enum what what_of(const struct weir_family *family, const struct weir_sum *sum) {
    if (family->type == WEIR_FAMILY_SPANS) {
        if (strcmp(sum->family, "traces_spanmetrics_calls_total") == 0) return CALLS;
        if (strcmp(sum->family, "weir_spanmetrics_calls_variance_total") == 0) return CALLS_VARIANCE;
        return strcmp(sum->family, "weir_spanmetrics_service_variance_total") == 0 ? SERVICE_VARIANCE : NOTHING;
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
    case SERVICE_VARIANCE:
        return reading->values[what] =
                   weir_cell_get(&((const struct weir_span_series *)(const void *)series)->service_variance);
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

enum { LABELS_MAX = 8 };

/* There may be hundreds of sums, each of one service, or of one proxy by its prefix, beside a hundred thousand series:
 * they are found by the value of that label. */
struct index {
    const char *labels[LABELS_MAX];
    uint32_t label_count;
    uint32_t mask, rest;    /* rest: the first of those without such a label; numbers here are place + 1, 0 ends */
    uint32_t *heads, *next; /* of chains */
};

static uint32_t *head_of(const struct index *index, uint32_t label, const void *value, size_t size) {
    return &index->heads[(uint32_t)XXH3_64bits_withSeed(value, size, label) & index->mask];
}

/* The service where it is said, else the first. */
static const struct weir_label_match *key_of(const struct weir_sum *sum) {
    for (uint32_t k = 0; k < sum->label_count; k++) {
        if (strcmp(sum->labels[k].name, "service") == 0) return &sum->labels[k];
    }
    return sum->label_count > 0 ? &sum->labels[0] : NULL;
}

/* LABELS_MAX: there is no room for another name. */
static uint32_t place_of(struct index *index, const char *name) {
    for (uint32_t i = 0; i < index->label_count; i++) {
        if (strcmp(index->labels[i], name) == 0) return i;
    }
    if (index->label_count == LABELS_MAX) return LABELS_MAX;
    index->labels[index->label_count] = name;
    return index->label_count++;
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
        const struct weir_label_match *key = key_of(&sums[i]);
        uint32_t place = key != NULL ? place_of(index, key->name) : LABELS_MAX;
        uint32_t *head = &index->rest;
        if (key != NULL && place < LABELS_MAX) head = head_of(index, place, key->value, strlen(key->value));
        index->next[i] = *head;
        *head = i + 1;
    }
    return true;
}

static void add_series(struct weir_sum *sums, const struct index *index, const struct weir_series *series) {
    struct reading reading = {.series = series};
    const uint8_t *value;
    size_t size;
    for (uint32_t i = index->rest; i != 0; i = index->next[i - 1])
        add_to(&sums[i - 1], &reading);
    for (uint32_t place = 0; place < index->label_count; place++) {
        if (!find_label(series->identity, index->labels[place], &value, &size)) continue;
        for (uint32_t i = *head_of(index, place, value, size); i != 0; i = index->next[i - 1]) {
            const struct weir_label_match *key = key_of(&sums[i - 1]);
            if (strcmp(key->name, index->labels[place]) == 0) add_to(&sums[i - 1], &reading);
        }
    }
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
