/* aggregate.h - all series in one table: from spans, StatsD and OTLP metrics. A lane writes its own cells; a scrape
 * adds the lanes up without stopping anybody. Bounded from the first day: beyond series_max or series_per_metric_max
 * values fold into one series a metric labelled overflow="true" and are counted, so that totals stay right. */
#ifndef WEIR_AGGREGATE_AGGREGATE_H
#define WEIR_AGGREGATE_AGGREGATE_H
#include "collector/config/config.h"
#include "collector/core/buffer.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/core/point.h"
#include "collector/core/span.h"

struct weir_aggregate; /* the process's */
struct weir_shard;     /* one lane's; its thread only */

struct weir_aggregate *weir_aggregate_new(const struct weir_aggregate_config *config, uint32_t lanes,
                                          struct weir_names *names, struct weir_metrics *metrics,
                                          const struct weir_clock *clock);
struct weir_shard *weir_aggregate_shard(struct weir_aggregate *aggregate, uint32_t lane);

/* Counts one span, on the lane that its trace belongs to, by weir_span_weight():
 *   traces_spanmetrics_calls_total, traces_spanmetrics_latency (seconds) {service, span_name, span_kind, status_code}
 *   traces_service_graph_request_total, _failed_total, _server_seconds, _client_seconds {client, server}
 *   weir_..._variance_total beside the counters: the j-th span of weight w of one trace and series adds (2j-1) w (w-1)
 * now_ns is monotonic. */
void weir_shard_span(struct weir_shard *shard, const struct weir_span *span, uint64_t now_ns);

/* A span that was counted is stored too: its trace becomes the exemplar of the bucket that it fell into, where that has
 * none of this second. unix_ns: now. */
void weir_shard_exemplar(struct weir_shard *shard, const struct weir_span *span, uint64_t unix_ns);
/* Asks for the memory that weir_shard_span() will look at, for a span that comes a few later: far (its slot) and then
 * near (what the slot says). Tables of waiting calls are larger than caches: a look without is 100 ns. */
void weir_shard_edge_prefetch(const struct weir_shard *shard, const struct weir_span *span, bool near);

enum weir_point_verdict {
    WEIR_POINT_TAKEN,
    WEIR_POINT_REFUSED_CONFLICT, /* another type holds this name, or its values cannot be of this type (a counter below
                                    0) */
    WEIR_POINT_REFUSED_STALE,    /* older than what is held, or of another stream that started earlier under the same
                                    labels */
    WEIR_POINT_REFUSED_FULL,     /* beyond series_max and cannot fold (gauges, cumulative streams: a sum needs the last
                                    value of each) */
};
/* Counts one sample; owned kinds (weir_point_owned) only on the lane of their hash. Key and data are only read during
 * the call. */
enum weir_point_verdict weir_shard_point(struct weir_shard *shard, const struct weir_point *point, uint64_t now_ns);

/* Called by the lane about every 100 ms: expires idle series and unpaired edges; bounded work a call. */
void weir_shard_tick(struct weir_shard *shard, uint64_t now_ns);

/* Prometheus text 0.0.4 (TYPE and HELP a family, families sorted); with exemplars behind the values of buckets where it
 * becomes OpenMetrics (core/openmetrics.h). Any one thread at a time. */
void weir_aggregate_expose(struct weir_aggregate *aggregate, bool exemplars, struct weir_buffer *out);
/* Counters as they stand on the page, summed over the series that have all of these labels. Known are those that
 * senders brought, traces_spanmetrics_calls_total and both its variances. Walks all series once: for once a second. Any
 * thread. */
struct weir_label_match {
    const char *name, *value;
};
struct weir_sum {
    const char *family; /* as on the page */
    const struct weir_label_match *labels;
    uint32_t label_count;
    double value; /* the answer */
    bool found;   /* there is such a series */
};
void weir_aggregate_sums(struct weir_aggregate *aggregate, struct weir_sum *sums, uint32_t count);
uint32_t weir_aggregate_series(const struct weir_aggregate *aggregate); /* live series, lanes added up once */
void weir_aggregate_free(struct weir_aggregate *aggregate);
#endif
