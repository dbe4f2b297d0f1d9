/* sink.h - where a receiver puts what arrived. One sink a lane, for that lane's thread only; it is handed to the
 * receiver at birth, and the receiver knows no other room. */
#ifndef WEIR_CORE_SINK_H
#define WEIR_CORE_SINK_H
#include "collector/core/batch.h"
#include "collector/core/ledger.h"
#include "collector/core/point.h"

struct weir_sink {
    void *self;
    struct weir_budget *budget; /* what a message is read into is drawn from it before its first byte is read */
    /* A decoded request, admitted whole or not at all.
     *   WEIR_OK    *batch is NULL now; it is reordered, counted, handed on; its receipt (if any) is settled exactly
     * once, perhaps before this returns (deliver always comes later, by letter) WEIR_FULL  refused: nothing was kept or
     * counted but the refusal; the batch and its receipt are still the caller's */
    enum weir_status (*spans)(void *self, enum weir_receiver_id receiver, struct weir_batch **batch);
    /* Spans that were skipped in a sound message (id of a wrong length, zero ids), or in one that was refused. */
    void (*spans_refused)(void *self, enum weir_receiver_id receiver, enum weir_refusal reason, uint64_t count);
    /* One sample; key and data are only read during the call. False: rejected, and counted under its reason. */
    bool (*point)(void *self, enum weir_receiver_id receiver, const struct weir_point *point);
    void (*points_rejected)(void *self, enum weir_receiver_id receiver, enum weir_point_refusal reason, uint64_t count);
};
#endif
