/* splice.h - a batch back into an ExportTraceServiceRequest: span bytes are copied, grouped by origin. */
#ifndef WEIR_EXPORTERS_FILE_SPLICE_H
#define WEIR_EXPORTERS_FILE_SPLICE_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"

struct weir_splice { /* scratch, kept between batches; zeroed at first */
    uint64_t *bytes;
    uint32_t *starts, *order;
    uint32_t origin_capacity, span_capacity;
};

/* Appends to `out`. WEIR_FULL: out of memory. */
enum weir_status weir_splice_encode(struct weir_splice *splice, const struct weir_batch *batch,
                                    struct weir_buffer *out);
void weir_splice_free(struct weir_splice *splice);
#endif
