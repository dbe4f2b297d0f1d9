/* splice.h - a batch back into an ExportTraceServiceRequest: span bytes are copied, grouped by origin. */
#ifndef WEIR_EXPORTERS_SPLICE_H
#define WEIR_EXPORTERS_SPLICE_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"

struct weir_splice {                    /* scratch, kept between batches; zeroed at first */
    struct weir_splice_origin *origins; /* zeroed between calls */
    uint32_t *met, *order;              /* origins that have spans, in order of the first; spans by origin */
    uint32_t origin_capacity, span_capacity;
};

/* Appends to `out`. Takes time for spans, not for origins that have none. WEIR_FULL: out of memory. */
enum weir_status weir_splice_encode(struct weir_splice *splice, const struct weir_batch *batch,
                                    struct weir_buffer *out);
/* Likewise of some: the spans batch->spans[which[0..count)], each at most once. */
enum weir_status weir_splice_encode_some(struct weir_splice *splice, const struct weir_batch *batch,
                                         const uint32_t *which, uint32_t count, struct weir_buffer *out);
void weir_splice_free(struct weir_splice *splice);
#endif
