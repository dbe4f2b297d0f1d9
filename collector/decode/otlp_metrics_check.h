/* otlp_metrics_check.h - an ExportMetricsServiceRequest that is sound to its last byte: every message that is read, and
 * what is packed in it, so that whoever walks it then meets nothing broken. Pure. Source: opentelemetry-proto,
 * opentelemetry/proto/metrics/v1/metrics.proto. */
#ifndef WEIR_DECODE_OTLP_METRICS_CHECK_H
#define WEIR_DECODE_OTLP_METRICS_CHECK_H
#include "collector/core/error.h"

#include <stddef.h>
#include <stdint.h>

/* WEIR_INVALID: err->text names the message, what is wrong, and at which byte. */
enum weir_status weir_otlp_metrics_check(const uint8_t *bytes, size_t size, struct weir_error *err);
#endif
