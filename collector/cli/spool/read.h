/* read.h - records of a spool as spans, whatever kind of record they are in. One thread. */
#ifndef WEIR_CLI_SPOOL_READ_H
#define WEIR_CLI_SPOOL_READ_H
#include "collector/cli/spool/dir.h"
#include "collector/core/batch.h"
#include "collector/core/names.h"

struct weir_spool_decoder;
struct weir_spool_decoder *weir_spool_decoder_new(void); /* NULL: out of memory */
void weir_spool_decoder_free(struct weir_spool_decoder *decoder);
struct weir_names *weir_spool_decoder_names(struct weir_spool_decoder *decoder);

/* The spans of a record: a batch as it was pushed, or those of a journal's block one batch each, borrowed during the
 * call. Records without spans have none. WEIR_INVALID: the record is not sound; some may have been handed out. */
enum weir_status weir_spool_decode(struct weir_spool_decoder *decoder, const struct weir_spool_part *part,
                                   const struct weir_log_record *record,
                                   void (*batch)(void *self, struct weir_batch *batch), void *self,
                                   struct weir_error *err);
/* Is the body of each span one that a receiver would have let pass, and does it say what the view does? WEIR_INVALID:
 * err->text says of which it is not. */
enum weir_status weir_spool_check(struct weir_spool_decoder *decoder, const struct weir_batch *batch,
                                  struct weir_error *err);
#endif
