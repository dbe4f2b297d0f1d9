/* ls.h - what a spool holds, told in a line for each part, from the heads of its records. */
#ifndef WEIR_CLI_SPOOL_LS_H
#define WEIR_CLI_SPOOL_LS_H
#include "collector/cli/spool/dir.h"
#include "collector/core/buffer.h"

struct weir_spool_sum {
    uint64_t records, spans;       /* that wait to be sent; of a journal all that are there, decided or not */
    uint64_t damaged, bad_bytes;   /* places */
    uint64_t oldest_ns, newest_ns; /* Unix; of what waits: when batches were pushed, of a journal when files were
                                      written. 0: nothing is there */
};

/* Goes from head to head; of a journal it unpacks blocks, whose heads do not say how many spans they have. */
enum weir_status weir_spool_sum(const struct weir_spool_part *part, struct weir_spool_sum *sum, struct weir_error *err);

/* For people, 80 columns wide, with ages at now_unix_ns; and as one JSON object. */
void weir_spool_ls_print(const struct weir_spool_dir *dir, const struct weir_spool_sum *sums, uint64_t now_unix_ns,
                         bool unicode, struct weir_buffer *out);
void weir_spool_ls_json(const struct weir_spool_dir *dir, const struct weir_spool_sum *sums, struct weir_buffer *out);
#endif
