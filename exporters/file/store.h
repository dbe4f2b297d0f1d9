/* store.h - a folder of trace files, bounded in total: the current one grows by appended blocks, is closed by size or
 * age, and the oldest are removed. One thread. */
#ifndef WEIR_EXPORTERS_FILE_STORE_H
#define WEIR_EXPORTERS_FILE_STORE_H
#include "collector/core/clock.h"
#include "collector/core/error.h"

#include <stddef.h>
#include <stdint.h>

struct weir_store;

struct weir_store_limits {
    uint64_t max_file_bytes, max_total_bytes, max_file_age_ns;
};
struct weir_store_counts {
    uint64_t written_bytes;
    uint64_t removed_files, removed_bytes;
    uint64_t held_bytes; /* in the folder now: closed files and the current one */
};

/* Makes the folder (and its parents) and proves that it can be written to. The first file is opened by the first
 * append. */
enum weir_status weir_store_open(struct weir_store **store, const char *directory,
                                 const struct weir_store_limits *limits, const struct weir_clock *clock,
                                 struct weir_error *err);
/* All of `bytes` or nothing: what was written of a block that failed is cut off again. WEIR_IO is worth a retry. */
enum weir_status weir_store_append(struct weir_store *store, const void *bytes, size_t size, struct weir_error *err);
/* Closes the current file when its time is over, or when somebody removed it. */
void weir_store_tick(struct weir_store *store);
const struct weir_store_counts *weir_store_counts(const struct weir_store *store);
const char *weir_store_current(const struct weir_store *store); /* path of the current file; "" when there is none */
void weir_store_close(struct weir_store *store);                /* accepts NULL */
#endif
