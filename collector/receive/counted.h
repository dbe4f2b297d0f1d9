/* counted.h - spans that came from another Weir, which has them in its series: they are sampled, stored and in the
 * ledger as all are, and add nothing to the series here. A request says it of all its spans, in a header of HTTP or in
 * the metadata of gRPC: `weir-counted: 1`. Any other value says nothing. */
#ifndef WEIR_RECEIVE_COUNTED_H
#define WEIR_RECEIVE_COUNTED_H
#include "collector/core/batch.h"
#include "collector/core/metrics.h"

#define WEIR_COUNTED_HEADER "weir-counted" /* lower case, as HTTP/2 has it */

/* weir_spans_counted_upstream_total of one receiver on one lane, for weir_metrics_close(). NULL: out of memory. */
struct weir_metric_set *weir_counted_open(struct weir_metrics *metrics, const char *receiver);
bool weir_counted_says(const char *value, size_t size);              /* the header's value; accepts NULL */
void weir_counted_mark(struct weir_batch *batch);                    /* all spans of the request */
void weir_counted_took(struct weir_metric_set *set, uint32_t spans); /* the request that was marked is admitted */
#endif
