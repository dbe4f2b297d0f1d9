/* otlp_metrics.h - OTLP ExportMetricsServiceRequest bytes into points, in place.
 * Source: opentelemetry-proto v1, metrics/v1/metrics.proto; OpenTelemetry "Prometheus and OpenMetrics compatibility"
 * for names (unit suffixes are not added), labels (dots become underscores) and service.name -> job,
 * service.instance.id -> instance. */
#ifndef WEIR_DECODE_OTLP_METRICS_H
#define WEIR_DECODE_OTLP_METRICS_H
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/core/point.h"

#include <stddef.h>

struct weir_otlp_metrics; /* scratch of one lane; one thread */
struct weir_otlp_metrics *weir_otlp_metrics_new(const struct weir_names *names, uint32_t label_value_bytes_max);
void weir_otlp_metrics_free(struct weir_otlp_metrics *metrics);

struct weir_otlp_metrics_calls {
    void *self;
    bool (*point)(void *self,
                  const struct weir_point *point); /* key and data valid during the call; false = rejected */
};
struct weir_otlp_metrics_counts {
    uint64_t points,
        rejected;       /* rejected: by `point`, or malformed in a sound message (counts and bounds that do not fit) */
    uint64_t malformed; /* part of rejected that never reached `point` */
    char reason[160];   /* of the first one */
};
/* The whole message is checked before the first point is given out: WEIR_INVALID, nothing given out; err->text names
 * field and byte offset. Points flagged "no recorded value" are skipped. */
enum weir_status weir_otlp_metrics_decode(struct weir_otlp_metrics *metrics, const uint8_t *bytes, size_t size,
                                          const struct weir_otlp_metrics_calls *calls,
                                          struct weir_otlp_metrics_counts *counts, struct weir_error *err);
#endif
