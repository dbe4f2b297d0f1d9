/* inflate.h - gzip (RFC 1952) and zstd (RFC 8878) into a batch's bytes, bounded by a size and by the budget. */
#ifndef WEIR_RECEIVE_INFLATE_H
#define WEIR_RECEIVE_INFLATE_H
#include "collector/core/batch.h"

enum weir_encoding { WEIR_ENCODING_IDENTITY, WEIR_ENCODING_GZIP, WEIR_ENCODING_ZSTD, WEIR_ENCODING_OTHER };

struct weir_inflate; /* windows and tables, kept from message to message; one thread */

enum weir_inflate_status {
    WEIR_INFLATE_OK,
    WEIR_INFLATE_BROKEN /* err->text */,
    WEIR_INFLATE_TOO_LARGE,
    WEIR_INFLATE_MEMORY
};

struct weir_inflate *weir_inflate_new(void);
/* *plain is a new batch with what bytes[0 .. size), gzip or zstd, inflates to, at most max_bytes; else it stays NULL.
 * Frames of zstd may ask for a window of 8 MiB; what is more than 1 MiB is drawn from the budget for as long as this
 * takes, and given back. */
enum weir_inflate_status weir_inflate(struct weir_inflate *inflate, enum weir_encoding encoding, const uint8_t *bytes,
                                      size_t size, size_t max_bytes, struct weir_budget *budget,
                                      struct weir_batch **plain, struct weir_error *err);
void weir_inflate_free(struct weir_inflate *inflate); /* accepts NULL */
#endif
