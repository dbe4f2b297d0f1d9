/* process.h - process_* as every Prometheus client exposes them (prometheus.io, "Writing client libraries", process
 * metrics). */
#ifndef WEIR_SERVE_PROCESS_H
#define WEIR_SERVE_PROCESS_H
#include "collector/core/buffer.h"

void weir_process_expose(struct weir_buffer *out);
#endif
