#include "collector/aggregate/histogram.h"
#include "collector/aggregate/series.h"
#include "collector/core/wire.h"

#include <math.h>
#include <stdlib.h>

enum { QUANTILES_MAX = 32 };

static enum weir_family_type type_of(enum weir_point_kind kind) {
    switch (kind) {
    case WEIR_POINT_COUNT:
    case WEIR_POINT_CUMULATIVE: return WEIR_FAMILY_COUNTER;
    case WEIR_POINT_GAUGE:
    case WEIR_POINT_GAUGE_ADD: return WEIR_FAMILY_GAUGE;
    case WEIR_POINT_SET: return WEIR_FAMILY_SET;
    case WEIR_POINT_SUMMARY: return WEIR_FAMILY_SUMMARY;
    default: return WEIR_FAMILY_HISTOGRAM;
    }
}

/* What would poison a sum for good: NaN, infinity, and what sums up to infinity before the sender is noticed. The other
 * kinds hold what they are given. */
static bool adds(double value) {
    return fabs(value) <= 1e100; /* false for NaN */
}
static bool sound(const struct weir_point *point) {
    switch (point->kind) {
    case WEIR_POINT_COUNT:
    case WEIR_POINT_CUMULATIVE: return point->value >= 0 && adds(point->value);
    case WEIR_POINT_TIMER:
    case WEIR_POINT_SAMPLE: return adds(point->value) && point->weight > 0 && adds(point->weight);
    case WEIR_POINT_GAUGE_ADD: return adds(point->value);
    case WEIR_POINT_HISTOGRAM:
    case WEIR_POINT_EXPONENTIAL: return point->data != NULL && (!point->data->has_sum || adds(point->data->sum));
    case WEIR_POINT_SUMMARY: return point->data != NULL;
    default: return true;
    }
}

/* A sum of last values needs the last value of each stream, which is just what the bound forbids to keep. */
static bool folds(const struct weir_point *point) {
    switch (point->kind) {
    case WEIR_POINT_GAUGE:
    case WEIR_POINT_CUMULATIVE:
    case WEIR_POINT_SUMMARY: return false;
    default: return !point->cumulative;
    }
}

/* ---- finding and booking ---- */

static struct weir_point_series *find(const struct weir_shard *shard, const struct weir_point *point) {
    struct weir_series *at;
    for (uint32_t i = weir_index_start(&shard->points, point->hash);
         (at = weir_index_next(&shard->points, point->hash, &i)) != NULL;) {
        struct weir_point_series *series = (struct weir_point_series *)at;
        const struct weir_claim *claim = series->claim;
        if (point->key_size == claim->size + at->identity->size && memcmp(point->key, claim->text, claim->size) == 0 &&
            memcmp(point->key + claim->size, at->identity->labels, at->identity->size) == 0) {
            return series;
        }
    }
    return NULL;
}

static uint32_t cells_of(const struct weir_family *family, const struct weir_point *point) {
    switch (family->type) {
    case WEIR_FAMILY_HISTOGRAM: return 1 + family->bound_count + 1;
    case WEIR_FAMILY_SUMMARY:
        return 2 + 2 * (point->data->bound_count < QUANTILES_MAX ? point->data->bound_count : QUANTILES_MAX);
    default: return 1;
    }
}

static void series_free(struct weir_point_series *series) {
    if (series == NULL) return;
    weir_set_free(series->members);
    free(series);
}

static struct weir_point_series *series_new(const struct weir_point *point, const struct weir_claim *claim,
                                            struct weir_identity *identity, uint64_t hash, uint64_t now_ns) {
    uint32_t cells = cells_of(identity->family, point);
    struct weir_point_series *series = calloc(1, sizeof *series + cells * sizeof series->cells[0]);
    if (series == NULL) return NULL;
    series->head.identity = identity;
    series->head.hash = hash;
    series->claim = claim;
    series->cell_count = cells;
    if (identity->family->type == WEIR_FAMILY_SET) series->members = weir_set_new(now_ns);
    if (identity->family->type == WEIR_FAMILY_SUMMARY) {
        for (uint32_t i = 2; i < cells; i += 2) {
            double quantile;
            memcpy(&quantile, point->data->bounds + (size_t)(i / 2 - 1) * 8, 8);
            weir_cell_set(&series->cells[i], quantile);
        }
    }
    if (identity->family->type == WEIR_FAMILY_SET && series->members == NULL) {
        free(series);
        return NULL;
    }
    return series;
}

static enum weir_admission admit(struct weir_shard *shard, const struct weir_point *point,
                                 const struct weir_claim **claim, struct weir_identity **identity) {
    const uint8_t *labels = memchr(point->key, WEIR_KEY_SEPARATOR, point->key_size);
    uint32_t name_size = labels == NULL ? point->key_size : (uint32_t)(labels - point->key);
    double bounds[WEIR_BOUNDS_MAX];
    struct weir_metric_ask ask = {
        .name = point->key, .name_size = name_size, .type = type_of(point->kind), .folds = folds(point)};
    switch (point->kind) {
    case WEIR_POINT_TIMER:
        ask.bounds = shard->config->latency_buckets;
        ask.bound_count = shard->config->latency_bucket_count;
        ask.keeps_bounds = true;
        break;
    case WEIR_POINT_SAMPLE:
    case WEIR_POINT_EXPONENTIAL:
        ask.bounds = weir_sample_bounds;
        ask.bound_count = weir_sample_bound_count;
        ask.keeps_bounds = true;
        break;
    case WEIR_POINT_HISTOGRAM:
        ask.bounds = bounds;
        ask.bound_count = weir_bounds_take(point->data, bounds);
        break;
    default: break;
    }
    return weir_registry_admit(shard->registry, &ask, point->key + name_size, point->key_size - name_size, claim,
                               identity);
}

static struct weir_point_series *find_overflow(const struct weir_shard *shard, const struct weir_identity *identity) {
    struct weir_series *at;
    for (uint32_t i = weir_index_start(&shard->points, identity->hash);
         (at = weir_index_next(&shard->points, identity->hash, &i)) != NULL;) {
        if (at->identity == identity) return (struct weir_point_series *)at;
    }
    return NULL;
}

static enum weir_point_verdict refusal(enum weir_admission admission) {
    return admission == WEIR_NOT_ADMITTED_CONFLICT ? WEIR_POINT_REFUSED_CONFLICT : WEIR_POINT_REFUSED_FULL;
}

/* A series that this lane does not have yet: its own, the metric's overflow, or none and *verdict says why. */
static struct weir_point_series *book(struct weir_shard *shard, const struct weir_point *point, uint64_t now_ns,
                                      enum weir_point_verdict *verdict) {
    /* The answer hangs on the kind too: what conflicts as a gauge may be known as a counter. */
    uint64_t asked = point->hash ^ (uint64_t)(1 + point->kind * 2u + folds(point)) * 0x9e3779b97f4a7c15ull;
    const struct weir_refusal_slot *refused = weir_shard_refused(shard, asked);
    if (refused != NULL) {
        if (refused->overflow != NULL) weir_count(shard->metrics, WEIR_SERIES_FOLDED, 1);
        *verdict = refusal(refused->verdict);
        return (struct weir_point_series *)refused->overflow;
    }
    const struct weir_claim *claim;
    struct weir_identity *identity;
    enum weir_admission admission = admit(shard, point, &claim, &identity);
    *verdict = refusal(admission);
    if (admission > WEIR_ADMITTED_OVERFLOW) {
        weir_shard_refuse(shard, asked, admission, NULL);
        return NULL;
    }
    struct weir_point_series *series = admission == WEIR_ADMITTED_OVERFLOW ? find_overflow(shard, identity) : NULL;
    if (series != NULL) {
        weir_registry_release(shard->registry, identity);
    } else {
        series = series_new(point, claim, identity, admission == WEIR_ADMITTED ? point->hash : identity->hash, now_ns);
        if (series == NULL || !weir_shard_list(shard, &shard->points, &series->head)) {
            series_free(series);
            weir_registry_release(shard->registry, identity);
            *verdict = WEIR_POINT_REFUSED_FULL;
            return NULL;
        }
    }
    if (admission == WEIR_ADMITTED_OVERFLOW) {
        weir_shard_refuse(shard, asked, admission, &series->head);
        weir_count(shard->metrics, WEIR_SERIES_FOLDED, 1);
    }
    return series;
}

/* ---- adding ---- */

static bool is_stale(const struct weir_point_series *series, const struct weir_point *point) {
    return point->time_ns != 0 && series->time_ns != 0 && point->time_ns < series->time_ns;
}

enum stream { STREAM_BEGINS, STREAM_GOES_ON, STREAM_STALE };

/* OpenTelemetry "Metrics Data Model", Resets and Gaps: a later start, or a total that went down, is a new stream whose
 * whole value is new. An older start is another stream under the same labels: what it says cannot be told from what we
 * have. */
static enum stream stream_of(const struct weir_point_series *series, const struct weir_point *point, double now,
                             double before) {
    if (!series->begun) return STREAM_BEGINS;
    bool starts_known = point->start_ns != 0 && series->start_ns != 0;
    if (is_stale(series, point) || (starts_known && point->start_ns < series->start_ns)) return STREAM_STALE;
    if (starts_known && point->start_ns > series->start_ns) return STREAM_BEGINS;
    if (now >= before) return STREAM_GOES_ON;
    return point->time_ns != 0 && point->time_ns == series->time_ns ? STREAM_STALE : STREAM_BEGINS;
}

static void remember(struct weir_point_series *series, const struct weir_point *point) {
    series->begun = true;
    if (point->start_ns != 0) series->start_ns = point->start_ns;
    if (point->time_ns != 0) series->time_ns = point->time_ns;
}

static enum weir_point_verdict add_cumulative(struct weir_point_series *series, const struct weir_point *point) {
    enum stream stream = stream_of(series, point, point->value, series->last);
    if (stream == STREAM_STALE) return WEIR_POINT_REFUSED_STALE;
    weir_cell_add(&series->cells[0], stream == STREAM_BEGINS ? point->value : point->value - series->last);
    series->last = point->value;
    remember(series, point);
    return WEIR_POINT_TAKEN;
}

static void add_sum(struct weir_point_series *series, double more) {
    weir_cell_add(&series->cells[0], more);
    atomic_store_explicit(&series->has_sum, true, memory_order_relaxed);
}

static enum weir_point_verdict add_histogram(struct weir_point_series *series, const struct weir_point *point) {
    const struct weir_family *family = series->head.identity->family;
    uint32_t count = family->bound_count;
    double buckets[WEIR_BOUNDS_MAX + 1];
    weir_buckets_map(point, family->bounds, count, buckets);
    if (!point->cumulative) {
        for (uint32_t i = 0; i <= count; i++) {
            if (buckets[i] > 0) weir_cell_add(&series->cells[1 + i], buckets[i]);
        }
        if (point->data->has_sum) add_sum(series, point->data->sum);
        return WEIR_POINT_TAKEN;
    }
    if (series->last_buckets == NULL) series->last_buckets = calloc(count + 1, sizeof(double));
    if (series->last_buckets == NULL) return WEIR_POINT_REFUSED_FULL;
    double *last = series->last_buckets, all = 0;
    for (uint32_t i = 0; i <= count; i++)
        all += buckets[i];
    enum stream stream = stream_of(series, point, all, last[count]);
    if (stream == STREAM_STALE) return WEIR_POINT_REFUSED_STALE;
    if (stream == STREAM_BEGINS) {
        memset(last, 0, (count + 1) * sizeof *last);
        series->last_sum = 0;
    }
    /* Added up from the lowest on, and never down: an exponential histogram that becomes coarser moves counts upwards.
     */
    double running = 0, moved_before = 0;
    for (uint32_t i = 0; i <= count; i++) {
        running += buckets[i];
        double moved = running > last[i] ? running - last[i] : 0;
        last[i] += moved;
        if (moved != moved_before) weir_cell_add(&series->cells[1 + i], moved - moved_before);
        moved_before = moved;
    }
    if (point->data->has_sum) {
        add_sum(series, point->data->sum - series->last_sum);
        series->last_sum = point->data->sum;
    }
    remember(series, point);
    return WEIR_POINT_TAKEN;
}

static enum weir_point_verdict set_summary(struct weir_point_series *series, const struct weir_point *point) {
    if (is_stale(series, point)) return WEIR_POINT_REFUSED_STALE;
    const struct weir_point_data *data = point->data;
    weir_cell_set(&series->cells[0], (double)data->count);
    weir_cell_set(&series->cells[1], data->sum);
    /* The first point's quantiles are the series'; of a later point those that match them count. */
    for (uint32_t cell = 2; cell < series->cell_count; cell += 2) {
        for (uint32_t i = 0; i < data->bound_count && i < QUANTILES_MAX; i++) {
            double quantile, value;
            memcpy(&quantile, data->bounds + (size_t)i * 8, 8);
            memcpy(&value, data->counts + (size_t)i * 8, 8);
            if (quantile == weir_cell_get(&series->cells[cell])) weir_cell_set(&series->cells[cell + 1], value);
        }
    }
    remember(series, point);
    return WEIR_POINT_TAKEN;
}

static enum weir_point_verdict set_gauge(struct weir_point_series *series, const struct weir_point *point) {
    if (is_stale(series, point)) return WEIR_POINT_REFUSED_STALE;
    weir_cell_set(&series->cells[0], point->value);
    remember(series, point);
    return WEIR_POINT_TAKEN;
}

static enum weir_point_verdict add_member(struct weir_shard *shard, struct weir_point_series *series,
                                          const struct weir_point *point, uint64_t now_ns) {
    bool folded = series->head.hash != point->hash; /* then a member counts once a folded series */
    weir_set_roll(series->members, shard->set_window_ns, now_ns);
    if (!weir_set_add(series->members, folded ? weir_mix(point->member ^ point->hash) : point->member))
        return WEIR_POINT_REFUSED_FULL;
    weir_cell_set(&series->cells[0], weir_set_value(series->members));
    return WEIR_POINT_TAKEN;
}

static void add_sample(struct weir_point_series *series, const struct weir_point *point) {
    const struct weir_family *family = series->head.identity->family;
    weir_cell_add(&series->cells[1 + weir_bucket_of(family->bounds, family->bound_count, point->value)], point->weight);
    add_sum(series, point->value * point->weight);
}

enum weir_point_verdict weir_shard_point(struct weir_shard *shard, const struct weir_point *point, uint64_t now_ns) {
    if (!sound(point)) return WEIR_POINT_REFUSED_CONFLICT;
    struct weir_point_series *series = find(shard, point);
    if (series == NULL) {
        enum weir_point_verdict verdict;
        series = book(shard, point, now_ns, &verdict);
        if (series == NULL) return verdict;
    } else if (series->head.identity->family->type != type_of(point->kind)) {
        return WEIR_POINT_REFUSED_CONFLICT;
    }
    series->head.used_ns = now_ns;
    switch ((enum weir_point_kind)point->kind) {
    case WEIR_POINT_COUNT:
    case WEIR_POINT_GAUGE_ADD: weir_cell_add(&series->cells[0], point->value); return WEIR_POINT_TAKEN;
    case WEIR_POINT_TIMER:
    case WEIR_POINT_SAMPLE: add_sample(series, point); return WEIR_POINT_TAKEN;
    case WEIR_POINT_GAUGE: return set_gauge(series, point);
    case WEIR_POINT_SET: return add_member(shard, series, point, now_ns);
    case WEIR_POINT_CUMULATIVE: return add_cumulative(series, point);
    case WEIR_POINT_HISTOGRAM:
    case WEIR_POINT_EXPONENTIAL: return add_histogram(series, point);
    case WEIR_POINT_SUMMARY: return set_summary(series, point);
    }
    return WEIR_POINT_REFUSED_CONFLICT;
}
