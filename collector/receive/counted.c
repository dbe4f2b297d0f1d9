#include "collector/receive/counted.h"

#include <stdio.h>

static const struct weir_metric metrics[] = {
    {"spans_counted_upstream_total", NULL, WEIR_COUNTER,
     "Spans received that their sender has counted: they are in its series, and not in these."},
};

struct weir_metric_set *weir_counted_open(struct weir_metrics *registry, const char *receiver) {
    char labels[64];
    snprintf(labels, sizeof labels, "receiver=\"%s\"", receiver);
    return weir_metrics_open(registry, metrics, 1, labels);
}

bool weir_counted_says(const char *value, size_t size) {
    return value != NULL && size == 1 && value[0] == '1';
}

void weir_counted_mark(struct weir_batch *batch) {
    for (uint32_t i = 0; i < batch->span_count; i++)
        batch->spans[i].flags |= WEIR_SPAN_UNCOUNTED;
}

void weir_counted_took(struct weir_metric_set *set, uint32_t spans) {
    weir_count(set, 0, spans);
}
