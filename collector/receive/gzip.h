/* gzip.h - bytes as gzip (RFC 1952), for answers to who reads it. */
#ifndef WEIR_RECEIVE_GZIP_H
#define WEIR_RECEIVE_GZIP_H
#include "collector/core/buffer.h"

struct weir_gzip; /* its window and tables, kept from answer to answer; one thread */

struct weir_gzip *weir_gzip_new(void); /* NULL: out of memory */
/* At most so many bytes, for a bound before they are made. */
size_t weir_gzip_bound(size_t size);
/* Appends bytes[0 .. size) as one member. False: out of memory, and nothing is appended. */
bool weir_gzip(struct weir_gzip *gzip, const uint8_t *bytes, size_t size, struct weir_buffer *out);
void weir_gzip_free(struct weir_gzip *gzip); /* accepts NULL */
#endif
