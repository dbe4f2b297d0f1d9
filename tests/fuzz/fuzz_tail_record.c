#include "collector/sample/tail.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(void *self, struct weir_batch *batch, uint32_t i) {
    const struct weir_span *span = &batch->spans[i];
    (*(uint32_t *)self)++;
    if (i >= batch->span_count || (uint64_t)span->offset + span->size > batch->size ||
        span->origin >= batch->origin_count || (span->trace_hi | span->trace_lo) == 0 ||
        span->status > WEIR_STATUS_ERROR || !isfinite(weir_span_weight(span)) || weir_span_weight(span) <= 0)
        abort();
}

/* Any bytes as a block of spans from the journal: no crash, and no view that is unsound. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t seen = 0;
    struct weir_error err;
    struct weir_names *names = weir_names_new(256, 64 * 1024);
    weir_tail_read_record(data, size, names, see, &seen, &err);
    weir_names_free(names);
    return 0;
}
