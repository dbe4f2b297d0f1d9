/* decided.h - decisions as the journal keeps them: a record's bytes, and, after a restart, a table of all of them.
 *
 *   one decision     0        8        16               24     25
 *                    +--------+--------+----------------+------+-----------
 *                    |trace_hi|trace_lo|T, bit 63: kept | size | rule's name
 *                    +--------+--------+----------------+------+-----------
 *
 * A record has one behind the other. Bytes in and out: no I/O, no clock. */
#ifndef WEIR_SPOOL_DECIDED_H
#define WEIR_SPOOL_DECIDED_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/sample/trace.h"

/* False: out of memory, nothing changed. A name longer than 255 bytes is cut. */
bool weir_decided_write(struct weir_buffer *out, uint64_t trace_hi, uint64_t trace_lo,
                        const struct weir_verdict *verdict, const struct weir_names *names);
/* Every decision of a record. WEIR_INVALID: not a sound record; nothing was handed out. */
enum weir_status weir_decided_read(const uint8_t *bytes, size_t size, struct weir_names *names,
                                   void (*one)(void *self, uint64_t trace_hi, uint64_t trace_lo,
                                               const struct weir_verdict *verdict),
                                   void *self, struct weir_error *err);

/* Traces that share their low half lie in one chain, and senders choose ids: a start must not take for ever. */
enum { WEIR_DECIDED_ALIKE_MAX = 256 };
struct weir_decided;                                       /* the table */
struct weir_decided *weir_decided_new(uint32_t count_max); /* NULL: out of memory */
/* `segment`: where it was read. The first one of a trace counts: what follows it says the same again.
 * False: no room, also where WEIR_DECIDED_ALIKE_MAX share this low half. */
bool weir_decided_put(struct weir_decided *decided, uint64_t trace_hi, uint64_t trace_lo,
                      const struct weir_verdict *verdict, uint64_t segment);
/* Equal: the low 64 bits are, and the high ones too unless one is zero. *segment: of the decision. */
bool weir_decided_find(const struct weir_decided *decided, uint64_t trace_hi, uint64_t trace_lo,
                       struct weir_verdict *verdict, uint64_t *segment);
uint32_t weir_decided_count(const struct weir_decided *decided);
void weir_decided_free(struct weir_decided *decided); /* accepts NULL */
#endif
