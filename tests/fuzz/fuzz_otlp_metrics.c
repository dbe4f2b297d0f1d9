#include "collector/decode/otlp_metrics.h"

/* Reads whatever a point says it has. */
static bool take(void *self, const struct weir_point *point) {
    volatile uint8_t last = point->key[point->key_size - 1];
    uint32_t *points = self;
    (*points)++;
    const struct weir_point_data *data = point->data;
    if (data != NULL && data->bound_count > 0) last = data->bounds[8 * data->bound_count - 1];
    if (data != NULL && point->kind == WEIR_POINT_HISTOGRAM) last = data->counts[8 * data->bound_count + 7];
    if (data != NULL && data->positive_count > 0) last = data->positive[8 * data->positive_count - 1];
    if (data != NULL && data->negative_count > 0) last = data->negative[8 * data->negative_count - 1];
    (void)last;
    return *points % 8 != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_otlp_metrics *metrics;
    if (metrics == NULL) metrics = weir_otlp_metrics_new(weir_names_new(64, 4096), 128);
    uint32_t points = 0;
    struct weir_otlp_metrics_counts counts;
    struct weir_error err;
    enum weir_status status =
        weir_otlp_metrics_decode(metrics, data, size, &(struct weir_otlp_metrics_calls){&points, take}, &counts, &err);
    if (status != WEIR_OK && points > 0) __builtin_trap(); /* nothing is given out of a broken message */
    if (status == WEIR_OK && counts.points + counts.rejected - counts.malformed != points) __builtin_trap();
    return 0;
}
