/* openmetrics.h - a page of Prometheus text 0.0.4, as Weir writes it, into OpenMetrics 1.0.
 * Source: OpenMetrics 1.0 (prometheus/OpenMetrics, specification/OpenMetrics.md): a counter's family is its name
 * without _total, HELP escapes quotes too, le and quantile are canonical floats, # EOF ends it. */
#ifndef WEIR_CORE_OPENMETRICS_H
#define WEIR_CORE_OPENMETRICS_H
#include "collector/core/buffer.h"

/* Appends to `out`. The page has HELP before TYPE before the samples of each family, `le` and `quantile` last among the
 * labels, and perhaps exemplars behind values, which stay. A counter whose family name another family on the page needs
 * (a sender's gauge x beside a counter x_total) is said to be of type unknown under its whole name. */
void weir_openmetrics_write(struct weir_buffer *out, const uint8_t *page, size_t size);

/* Does this Accept header (RFC 9110 12.5.1; NULL: none) prefer OpenMetrics to plain text? */
bool weir_openmetrics_wanted(const char *accept);
#define WEIR_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#endif
