#include "collector/aggregate/exemplars.h"
#include "collector/aggregate/histogram.h"
#include "collector/aggregate/series.h"

/* As OpenTelemetry's spanmetrics connector writes them, which dashboards match. */
static const char *const kind_names[] = {
    [WEIR_KIND_UNSPECIFIED] = "SPAN_KIND_UNSPECIFIED", [WEIR_KIND_INTERNAL] = "SPAN_KIND_INTERNAL",
    [WEIR_KIND_SERVER] = "SPAN_KIND_SERVER",           [WEIR_KIND_CLIENT] = "SPAN_KIND_CLIENT",
    [WEIR_KIND_PRODUCER] = "SPAN_KIND_PRODUCER",       [WEIR_KIND_CONSUMER] = "SPAN_KIND_CONSUMER",
};
static const char *const status_names[] = {[WEIR_STATUS_UNSET] = "STATUS_CODE_UNSET",
                                           [WEIR_STATUS_OK] = "STATUS_CODE_OK",
                                           [WEIR_STATUS_ERROR] = "STATUS_CODE_ERROR"};

enum { SPAN_LABELS_MAX = 4 * (2 + 16 + WEIR_NAME_BYTES_MAX) };

static struct weir_span_series *book(struct weir_shard *shard, const struct weir_span *span, uint64_t hash,
                                     uint8_t kind, uint8_t status) {
    uint8_t labels[SPAN_LABELS_MAX];
    uint32_t value_max = shard->config->label_value_bytes_max;
    size_t size;
    const char *service = weir_names_text(shard->names, span->service, &size);
    uint32_t labels_size = weir_label_put(labels, 0, "service", service, size, value_max);
    labels_size = weir_label_put(labels, labels_size, "span_kind", kind_names[kind], strlen(kind_names[kind]),
                                 WEIR_NAME_BYTES_MAX);
    const char *operation = weir_names_text(shard->names, span->operation, &size);
    labels_size = weir_label_put(labels, labels_size, "span_name", operation, size, value_max);
    labels_size = weir_label_put(labels, labels_size, "status_code", status_names[status], strlen(status_names[status]),
                                 WEIR_NAME_BYTES_MAX);

    size_t bytes =
        sizeof(struct weir_span_series) + (shard->config->latency_bucket_count + 1) * sizeof(struct weir_cell);
    struct weir_span_series *series = (struct weir_span_series *)weir_shard_book(
        shard, &shard->spans, shard->aggregate->spans, hash, labels, labels_size, bytes);
    if (series == NULL) return NULL;
    if (series->head.hash == hash) {
        series->service = span->service;
        series->operation = span->operation;
        series->kind = kind;
        series->status = status;
    } else {
        series->kind = UINT8_MAX; /* overflow="true": no span finds it by its names */
    }
    return series;
}

/* NULL: it has none; *hash, *kind, *status are set. */
static struct weir_span_series *find_series(const struct weir_shard *shard, const struct weir_span *span,
                                            uint64_t *hash_out, uint8_t *kind_out, uint8_t *status_out) {
    uint8_t kind = span->kind <= WEIR_KIND_CONSUMER ? span->kind : WEIR_KIND_UNSPECIFIED;
    uint8_t status = span->status <= WEIR_STATUS_ERROR ? span->status : WEIR_STATUS_UNSET;
    uint64_t hash = weir_mix(((uint64_t)span->service << 32 | span->operation) ^ (uint64_t)(kind * 4u + status) << 27);
    struct weir_series *at;
    *hash_out = hash;
    *kind_out = kind;
    *status_out = status;
    for (uint32_t i = weir_index_start(&shard->spans, hash); (at = weir_index_next(&shard->spans, hash, &i)) != NULL;) {
        struct weir_span_series *series = (struct weir_span_series *)at;
        if (series->service == span->service && series->operation == span->operation && series->kind == kind &&
            series->status == status)
            return series;
    }
    return NULL;
}

static struct weir_span_series *series_of(struct weir_shard *shard, const struct weir_span *span) {
    uint64_t hash;
    uint8_t kind, status;
    struct weir_span_series *series = find_series(shard, span, &hash, &kind, &status);
    return series != NULL ? series : book(shard, span, hash, kind, status);
}

/* A prior is what a sender says of itself. 2^56 is the most that a threshold can make of a span; its square still adds
 * up. */
static double weight_of(const struct weir_span *span) {
    double weight = weir_span_weight(span);
    if (!(weight >= 1)) return 1;
    return weight <= (double)WEIR_THRESHOLD_MAX ? weight : (double)WEIR_THRESHOLD_MAX;
}

/* Beside the variance of its series a request has a part in that of its service, in which requests of one trace count
 * together whatever their operations: standard errors of operations cannot be added up to it, nor can variances. Failed
 * ones count apart. */
static void add_variance(struct weir_shard *shard, struct weir_span_series *series, const struct weir_span *span,
                         double weight) {
    weir_cell_add(&series->variance, weir_shard_variance(shard, span->trace_lo, series->head.hash, weight));
    if (span->kind != WEIR_KIND_SERVER && span->kind != WEIR_KIND_CONSUMER) return;
    uint64_t service = weir_mix(~((uint64_t)span->service << 1 | (span->status == WEIR_STATUS_ERROR)));
    weir_cell_add(&series->service_variance, weir_shard_variance(shard, span->trace_lo, service, weight));
}

void weir_shard_span(struct weir_shard *shard, const struct weir_span *span, uint64_t now_ns) {
    if ((span->flags & WEIR_SPAN_UNCOUNTED) != 0) return;
    double weight = weight_of(span);
    struct weir_span_series *series = series_of(shard, span);
    if (series != NULL) {
        uint32_t bucket =
            weir_bucket_of_ns(shard->latency_bounds_ns, shard->config->latency_bucket_count, span->duration_ns);
        series->head.used_ns = now_ns;
        weir_cell_add(&series->buckets[bucket], weight);
        weir_cell_add(&series->duration_ns, weight * (double)span->duration_ns);
        if (weight > 1) add_variance(shard, series, span, weight);
    }
    if (shard->waiting != NULL && (span->kind == WEIR_KIND_CLIENT || span->kind == WEIR_KIND_SERVER))
        weir_shard_edge(shard, span, weight, now_ns);
}

void weir_shard_exemplar(struct weir_shard *shard, const struct weir_span *span, uint64_t unix_ns) {
    uint64_t hash;
    uint8_t kind, status;
    if ((span->flags & WEIR_SPAN_UNCOUNTED) != 0) return;
    const struct weir_span_series *series = find_series(shard, span, &hash, &kind, &status);
    if (series == NULL) return;
    struct weir_exemplars *exemplars = atomic_load_explicit(&shard->exemplars, memory_order_relaxed);
    if (exemplars == NULL) {
        exemplars = weir_exemplars_new();
        if (exemplars == NULL) return;
        atomic_store_explicit(&shard->exemplars, exemplars, memory_order_release);
    }
    const struct weir_exemplar exemplar = {.trace_hi = span->trace_hi,
                                           .trace_lo = span->trace_lo,
                                           .span_id = span->span_id,
                                           .duration_ns = span->duration_ns,
                                           .unix_ns = unix_ns};
    weir_exemplars_put(
        exemplars, hash,
        weir_bucket_of_ns(shard->latency_bounds_ns, shard->config->latency_bucket_count, span->duration_ns), &exemplar);
}
