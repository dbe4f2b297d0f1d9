/* decisions.h - what was decided, so that late spans follow it. Bounded in bytes; one thread.
 *
 *   kept     the full id, the rule's name and T, 40 bytes or less, found by trace_lo; the oldest makes room
 *   dropped  a fingerprint of 32 bits in a bucket of 8, the oldest of the bucket makes room: 4 bytes a trace. A trace
 *            that was never seen is taken for a dropped one with a probability of at most 8 / 2^32 = 1.9e-9
 *
 * Equal traces: the low 64 bits are equal, and the high halves too unless one is zero (design: B3 and Finagle cut). */
#ifndef WEIR_SAMPLE_DECISIONS_H
#define WEIR_SAMPLE_DECISIONS_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/sample/trace.h"

#define WEIR_DECISIONS_FALSE_DROP_RATE_MAX (8.0 / 4294967296.0)

struct weir_decisions;
enum weir_remembered { WEIR_REMEMBERED_NOT, WEIR_REMEMBERED_KEPT, WEIR_REMEMBERED_DROPPED };

/* bytes: for both tables together, split so that both reach about as far back when one trace in 16 is kept. lanes:
 * among how many the traces are divided (weir_trace_lane). NULL: out of memory. */
struct weir_decisions *weir_decisions_new(uint64_t bytes, uint32_t lanes);
/* Other bounds; what fits is kept, the newest first. False: out of memory, nothing changed. */
bool weir_decisions_resize(struct weir_decisions *decisions, uint64_t bytes);
void weir_decisions_put(struct weir_decisions *decisions, uint64_t trace_hi, uint64_t trace_lo,
                        const struct weir_verdict *verdict);
/* *verdict is set on KEPT (kept, rule_name, threshold; rule is WEIR_RULE_NONE: the index may be another policy's by
 * now). */
enum weir_remembered weir_decisions_find(const struct weir_decisions *decisions, uint64_t trace_hi, uint64_t trace_lo,
                                         struct weir_verdict *verdict);
/* Asks for the memory that putting or finding it will look at. */
void weir_decisions_prefetch(const struct weir_decisions *decisions, uint64_t trace_lo);
uint64_t weir_decisions_kept(const struct weir_decisions *decisions);    /* remembered now */
uint64_t weir_decisions_dropped(const struct weir_decisions *decisions); /* remembered now */
/* How likely a trace that was never seen is taken for a dropped one now: as full as the buckets are. */
double weir_decisions_false_drop_rate(const struct weir_decisions *decisions);
uint64_t weir_decisions_memory(const struct weir_decisions *decisions); /* bytes */
void weir_decisions_free(struct weir_decisions *decisions);             /* accepts NULL */

/* Several lanes' memories as one file, written beside and renamed, with a format version and a checksum. A file that is
 * torn, of another version or flipped is WEIR_INVALID with the reason, and nothing of it is used. Lanes may be more or
 * fewer when it is read: each entry goes to the lane of its trace; fingerprints are kept with what that needs. */
enum weir_status weir_decisions_save(struct weir_decisions *const *lanes, uint32_t count,
                                     const struct weir_names *names, const char *path, struct weir_error *err);
/* WEIR_OK also when there is no file. */
enum weir_status weir_decisions_load(struct weir_decisions *const *lanes, uint32_t count, struct weir_names *names,
                                     const char *path, struct weir_error *err);
/* The same of a file's bytes. */
enum weir_status weir_decisions_read(const void *bytes, size_t size, struct weir_decisions *const *lanes,
                                     uint32_t count, struct weir_names *names, struct weir_error *err);
#endif
