/* squeeze.h - request bodies compressed. Level 1 of either: what is sent once is not worth more. */
#ifndef WEIR_EXPORTERS_OTLP_SQUEEZE_H
#define WEIR_EXPORTERS_OTLP_SQUEEZE_H
#include "collector/config/config.h"
#include "collector/core/buffer.h"

struct weir_otlp_squeeze; /* contexts, kept between bodies */

struct weir_otlp_squeeze *weir_otlp_squeeze_new(void); /* NULL: out of memory */
/* Appends. False: out of memory, and `out` is as before. */
bool weir_otlp_squeeze(struct weir_otlp_squeeze *squeeze, enum weir_otlp_encoding encoding,
                       const struct weir_buffer *plain, struct weir_buffer *out);
void weir_otlp_squeeze_free(struct weir_otlp_squeeze *squeeze); /* accepts NULL */
/* As grpc-encoding and Content-Encoding call it; NULL for none. */
const char *weir_otlp_encoding_name(enum weir_otlp_encoding encoding);
#endif
