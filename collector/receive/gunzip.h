/* gunzip.h - gzip (RFC 1952) into a batch's bytes, bounded by a size and by the budget. */
#ifndef WEIR_RECEIVE_GUNZIP_H
#define WEIR_RECEIVE_GUNZIP_H
#include "collector/core/batch.h"

struct weir_gunzip; /* its window and tables, kept from message to message; one thread */

enum weir_gunzip_status {
    WEIR_GUNZIP_OK,
    WEIR_GUNZIP_BROKEN /* err->text */,
    WEIR_GUNZIP_TOO_LARGE,
    WEIR_GUNZIP_MEMORY
};

struct weir_gunzip *weir_gunzip_new(void);
/* *plain is a new batch with what bytes[0 .. size) inflates to, at most max_bytes; else it stays NULL. */
enum weir_gunzip_status weir_gunzip(struct weir_gunzip *gunzip, const uint8_t *bytes, size_t size, size_t max_bytes,
                                    struct weir_budget *budget, struct weir_batch **plain, struct weir_error *err);
void weir_gunzip_free(struct weir_gunzip *gunzip); /* accepts NULL */
#endif
