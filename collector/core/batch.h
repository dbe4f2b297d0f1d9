/* batch.h - spans in wire form, and an index of views over them.
 *
 *   bytes[]    Span message bodies, anywhere in it: a whole OTLP request as it came, or bodies one behind the other
 *   spans[]    views; span.offset and span.size point into bytes[]
 *   origins[]  the resources and scopes that spans[] refer to, each counted
 *
 * Mutable means one owner; passing moves. Sealed (by handing it to several) means shared: read-only and counted.
 * All memory is drawn from a budget, so that what waits anywhere is bounded; a failed call leaves the batch as it was.
 */
#ifndef WEIR_CORE_BATCH_H
#define WEIR_CORE_BATCH_H
#include "collector/core/budget.h"
#include "collector/core/error.h"
#include "collector/core/origin.h"
#include "collector/core/span.h"

#include <stddef.h>
#include <stdint.h>

struct weir_receipt;

struct weir_batch {
    _Atomic uint32_t refs;
    struct weir_budget *budget; /* may be NULL: no bound (tests, tools) */
    size_t reserved_bytes;      /* what was drawn from it */
    uint8_t *bytes;
    size_t size, capacity;
    struct weir_span *spans;
    uint32_t span_count, span_capacity;
    struct weir_origin **origins;
    uint32_t origin_count, origin_capacity;
    size_t origin_bytes;          /* of origins[], drawn from the budget by each batch that refers to them */
    struct weir_receipt *receipt; /* of the request that this batch is; NULL when nobody waits */
    uint64_t born_ns;             /* monotonic; when the first span went in */
    uint64_t span_bytes;          /* sum of span.size, kept by weir_batch_add() */
    /* Told once, with the last reference, on whatever thread gives that back: what is on disk for the sake of these
     * spans may go (spool/journal.h). NULL: nobody asks. Set by the owner, before it is shared. */
    void (*gone)(void *self, uint64_t token);
    void *gone_self;
    uint64_t gone_token;
    _Atomic bool left; /* weir_batch_leave() */
};

/* bytes_capacity may be 0. NULL: the budget or the memory is used up. One reference, the caller's. */
struct weir_batch *weir_batch_new(struct weir_budget *budget, size_t bytes_capacity);
/* Room for so many more bytes / spans. WEIR_FULL: nothing changed. Offsets stay right, pointers into bytes[] may move.
 */
enum weir_status weir_batch_room(struct weir_batch *batch, size_t bytes);
enum weir_status weir_batch_span_room(struct weir_batch *batch, uint32_t spans);
/* Appends a view whose bytes already stand at span->offset. WEIR_FULL when views cannot grow. */
enum weir_status weir_batch_add(struct weir_batch *batch, const struct weir_span *span);
/* The index of `origin`, added (and then referenced) when it is not there. WEIR_FULL at 65,535 or when the
 * budget has no room for it. */
enum weir_status weir_batch_origin(struct weir_batch *batch, struct weir_origin *origin, uint16_t *index);
/* Adds `origin` as one more, whether or not it is there: whoever copies a batch as it is keeps its rows apart. */
enum weir_status weir_batch_add_origin(struct weir_batch *batch, struct weir_origin *origin, uint16_t *index);
/* Copies span i of `from` (body, view, origin) to the end of `to`. */
enum weir_status weir_batch_copy(struct weir_batch *to, const struct weir_batch *from, uint32_t i);
/* Back to an earlier state: drops spans and bytes behind these. For a decoder that fails half way. */
void weir_batch_truncate(struct weir_batch *batch, uint32_t span_count, size_t size);
/* Gives back what bytes[] and spans[] have room for and do not use, where that is more than half: before a batch waits
 * somewhere. */
void weir_batch_trim(struct weir_batch *batch);
/* Memory that this batch holds, its bound's measure. */
size_t weir_batch_memory(const struct weir_batch *batch);

/* The process ends and somebody could not be given these spans: gone() is not told, so that what is on disk stays for
 * the next start. Any thread that has a reference. */
void weir_batch_leave(struct weir_batch *batch);
struct weir_batch *weir_batch_ref(struct weir_batch *batch);
void weir_batch_unref(struct weir_batch *batch); /* the last one frees; accepts NULL */
#endif
