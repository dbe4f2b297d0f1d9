/* tail_spans.c - records read back as spans: of a trace that is kept, and of a journal's block. */
#include "collector/core/ledger.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_span.h"
#include "collector/sample/tail_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gather {
    struct weir_tail *tail;
    const struct weir_pending *pending;
    uint32_t slot;
    struct weir_batch *batch;
    bool full;
};

/* The span as it was taken: the body says most of it; what was judged, renamed or weighed here is in the record. */
static bool read_view(struct weir_otlp_names *walk, const struct weir_record *record, struct weir_span *span) {
    struct weir_otlp_finding finding;
    *span = (struct weir_span){.prior = 1};
    bool sound = weir_otlp_read_span(walk, record->body, record->size, span, &finding, NULL) == WEIR_OTLP_GOOD;
    span->size = record->size;
    span->receiver = record->receiver;
    span->status = record->status;
    span->flags = record->flags;
    span->service = record->origin->service;
    if (record->operation != WEIR_NAME_NONE) span->operation = record->operation;
    if ((record->flags & WEIR_SPAN_TH_CHANGED) != 0) span->threshold = record->threshold;
    if ((record->flags & WEIR_SPAN_PRIOR_CHANGED) != 0) span->prior = record->prior;
    if ((record->flags & WEIR_SPAN_RV_CHANGED) != 0) span->randomness = weir_trace_drawn(span->trace_lo);
    return sound;
}

static bool add_to_batch(struct weir_batch *batch, const struct weir_record *record, struct weir_span *span) {
    if (weir_batch_room(batch, record->size) != WEIR_OK || weir_batch_span_room(batch, 1) != WEIR_OK ||
        weir_batch_origin(batch, record->origin, &span->origin) != WEIR_OK)
        return false;
    memcpy(batch->bytes + batch->size, record->body, record->size);
    span->offset = (uint32_t)batch->size;
    batch->size += record->size;
    return weir_batch_add(batch, span) == WEIR_OK;
}

static void gather_record(void *self, const struct weir_record *record) {
    struct gather *gather = self;
    struct weir_span span;
    if (record->serial != gather->pending->serial || record->slot != gather->slot) return;
    read_view(gather->tail->walk, record, &span);
    if (!add_to_batch(gather->batch, record, &span)) gather->full = true;
}

enum { REFS_ON_STACK = 64 };

struct weir_batch *weir_tail_gather(struct weir_tail *tail, uint32_t slot) {
    const struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    struct gather gather = {.tail = tail, .pending = pending, .slot = slot};
    uint32_t few[REFS_ON_STACK], *blocks = few, count = weir_pending_ref_count(&tail->pendings, slot);
    if (count > REFS_ON_STACK) blocks = malloc(count * sizeof *blocks);
    gather.batch = weir_batch_new(NULL, pending->bytes);
    bool whole = blocks != NULL && gather.batch != NULL;
    if (whole) weir_pending_blocks(&tail->pendings, slot, blocks);
    if (++tail->marks == 0) tail->marks = 1; /* 0 is what new blocks have */
    for (uint32_t i = 0; whole && i < count; i++) {
        if (!weir_blocks_mark(tail->blocks, blocks[i], tail->marks)) continue;
        whole = weir_blocks_read(tail->blocks, blocks[i], gather_record, &gather) && !gather.full;
    }
    if (blocks != few) free(blocks);
    if (whole && gather.batch->span_count == pending->trace.span_count) return gather.batch;
    weir_batch_unref(gather.batch);
    return NULL;
}

/* ---- from the journal ---- */

struct record_reader {
    struct weir_otlp_names *walk;
    struct weir_otlp *otlp; /* knows how to read a resource's service */
    struct weir_batch *batch;
    void (*span)(void *self, struct weir_batch *batch, uint32_t i);
    void *self;
    bool full, unsound;
};

static struct weir_origin *origin_again(void *self, const struct weir_origin_parts *parts) {
    struct record_reader *reader = self;
    bool sound;
    struct weir_origin *origin = weir_otlp_origin_again(reader->otlp, parts, &sound);
    reader->unsound |= !sound;
    return origin;
}

/* Of a disk's bytes: may others believe it? */
static bool is_sound(const struct weir_span *span) {
    return span->receiver < WEIR_RECEIVERS && span->status <= WEIR_STATUS_ERROR &&
           span->threshold < WEIR_THRESHOLD_MAX && isfinite(span->prior) && span->prior > 0 &&
           isfinite(weir_span_weight(span));
}

static void span_again(void *self, const struct weir_record *record) {
    struct record_reader *reader = self;
    struct weir_record fresh = *record;
    struct weir_span span;
    fresh.operation = WEIR_NAME_NONE; /* an id of a process that is gone */
    if (reader->full || reader->unsound) return;
    reader->unsound = !read_view(reader->walk, &fresh, &span) || !is_sound(&span);
    if (reader->unsound) return;
    weir_batch_truncate(reader->batch, 0, 0);
    if (add_to_batch(reader->batch, &fresh, &span)) {
        reader->span(reader->self, reader->batch, 0);
    } else {
        reader->full = true;
    }
}

enum weir_status weir_tail_read_record(const uint8_t *bytes, size_t size, struct weir_names *names,
                                       void (*span)(void *self, struct weir_batch *batch, uint32_t i), void *self,
                                       struct weir_error *err) {
    struct record_reader reader = {.span = span, .self = self};
    reader.walk = calloc(1, sizeof *reader.walk);
    reader.otlp = weir_otlp_new(names);
    reader.batch = weir_batch_new(NULL, 0);
    enum weir_status status = WEIR_FULL;
    if (reader.walk != NULL && reader.otlp != NULL && reader.batch != NULL) {
        reader.walk->names = names;
        status = weir_blocks_read_sealed(
            bytes, size, &(struct weir_blocks_reader){.self = &reader, .origin = origin_again, .each = span_again},
            err);
        if (reader.unsound) status = weir_fail(err, WEIR_INVALID, 0, false, "a span or resource in it is unsound");
        if (status == WEIR_OK && reader.full) status = weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    } else {
        weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    }
    weir_batch_unref(reader.batch);
    weir_otlp_free(reader.otlp);
    free(reader.walk);
    return status;
}
