/* otlp_laws.h - what holds of any bytes without a second decoder, beside otlp_reference.h: a budget is a bound and is
 * given back, a view read again is the same, a span restated says what was asked of it and nothing else. NULL: it
 * holds; else what does not. */
#ifndef WEIR_TESTS_OTLP_LAWS_H
#define WEIR_TESTS_OTLP_LAWS_H
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_node.h"
#include "collector/decode/otlp_restate.h"

#include <string.h>

/* All but where the span stands and how it was found. */
static const char *law_same(const struct weir_span *a, const struct weir_span *b) {
    if (a->trace_hi != b->trace_hi || a->trace_lo != b->trace_lo) return "trace_id of a span read again";
    if (a->span_id != b->span_id || a->parent_id != b->parent_id) return "span_id of a span read again";
    if (a->start_ns != b->start_ns || a->duration_ns != b->duration_ns) return "times of a span read again";
    if (a->threshold != b->threshold || a->randomness != b->randomness) return "tracestate of a span read again";
    if (a->prior != b->prior || a->flags != b->flags) return "prior or flags of a span read again";
    if (a->operation != b->operation || a->peer != b->peer) return "names of a span read again";
    if (a->kind != b->kind || a->status != b->status) return "kind or status of a span read again";
    return a->http_status == b->http_status ? NULL : "HTTP status of a span read again";
}

/* The last span restated once more, to the same: nothing stands twice. */
static const char *law_twice(struct weir_batch *restated) {
    struct weir_span *span = &restated->spans[restated->span_count - 1];
    uint32_t size = span->size;
    span->flags |= WEIR_SPAN_CHANGED;
    if (weir_otlp_restate(restated, restated, restated->span_count - 1, NULL) != WEIR_OK)
        return "a span is not restated twice";
    restated->spans[restated->span_count - 2].flags &= (uint16_t)~WEIR_SPAN_CHANGED; /* its bytes say it all */
    return restated->spans[restated->span_count - 1].size == size ? NULL : "a span restated twice is longer";
}

/* What a span says of its node stands in its own bytes. */
static const char *law_node(const struct weir_batch *batch, const struct weir_span *view) {
    const char *body = (const char *)batch->bytes + view->offset;
    struct weir_otlp_node node;
    weir_otlp_node((const uint8_t *)body, view->size, &node);
    bool inside = node.id == NULL || (node.id >= body && node.id + node.id_size <= body + view->size);
    return inside ? NULL : "a node is outside of its span";
}

/* Each view's bytes as a span of its own, and restated with this threshold and prior. */
static const char *law_again(struct weir_otlp *otlp, struct weir_batch *batch, uint64_t threshold, double prior) {
    const char *differs = NULL;
    struct weir_batch *restated = weir_batch_new(NULL, 0);
    for (uint32_t i = 0; i < batch->span_count && differs == NULL; i++) {
        struct weir_otlp_counts counts = {0};
        struct weir_span again, *view = &batch->spans[i], *now;
        if (weir_otlp_span(otlp, batch, view->offset, view->size, &again, &counts, NULL) != WEIR_OK)
            differs = "a view's bytes are refused";
        else if (counts.repaired != 0)
            differs = "a view's bytes have bad text";
        else
            differs = law_same(view, &again);
        if (differs == NULL) differs = law_node(batch, view);
        if (differs != NULL) break;
        struct weir_span before = *view;
        view->flags |= WEIR_SPAN_CHANGED;
        view->threshold = threshold;
        view->prior = prior;
        if (weir_otlp_restate(restated, batch, i, NULL) != WEIR_OK) differs = "a span is not restated";
        *view = before;
        if (differs != NULL) break;
        now = &restated->spans[restated->span_count - 1];
        before.flags |= WEIR_SPAN_TH | WEIR_SPAN_PRIOR | WEIR_SPAN_RV;
        before.flags &= (uint16_t)~WEIR_SPAN_CHANGED;
        before.threshold = threshold;
        before.prior = prior;
        if (weir_otlp_span(otlp, restated, now->offset, now->size, &again, &counts, NULL) != WEIR_OK)
            differs = "a restated span is refused";
        else if ((differs = law_same(&before, &again)) == NULL && (differs = law_same(now, &again)) == NULL)
            differs = law_twice(restated);
    }
    for (uint32_t i = 0; i < restated->span_count && differs == NULL; i++) { /* none wrote over another */
        struct weir_otlp_counts counts = {0};
        struct weir_span again, *view = &restated->spans[i];
        if (weir_otlp_span(otlp, restated, view->offset, view->size, &again, &counts, NULL) != WEIR_OK)
            differs = "a restated span is refused in the end";
        else
            differs = law_same(view, &again);
    }
    weir_batch_unref(restated);
    return differs;
}

/* Under a budget with room for `spare_bytes` beside the request: the same answer, or WEIR_FULL; nothing left of it. */
static const char *law_bounded(struct weir_otlp *otlp, const uint8_t *bytes, size_t size, size_t spare_bytes,
                               bool accepted) {
    const char *differs = NULL;
    struct weir_budget budget = {.limit_bytes = sizeof(struct weir_batch) + 2 * size + spare_bytes};
    struct weir_batch *batch = weir_batch_new(&budget, size);
    if (batch == NULL) return NULL;
    if (size > 0) memcpy(batch->bytes, bytes, size);
    batch->size = size;
    struct weir_otlp_counts counts;
    enum weir_status status = weir_otlp_decode(otlp, batch, &counts, NULL);
    if (status == WEIR_OK && !accepted) differs = "taken under a budget only";
    if (status == WEIR_INVALID && accepted) differs = "refused under a budget only";
    if (status != WEIR_OK && (batch->span_count != 0 || batch->span_bytes != 0 || batch->size != size))
        differs = "something is left of a request that did not fit";
    if (status != WEIR_OK && counts.spans + counts.skipped + counts.repaired != 0)
        differs = "counts of a request that did not fit";
    if (budget.used_bytes != batch->reserved_bytes) differs = "what the walk drew is not given back";
    if (budget.used_bytes > budget.limit_bytes) differs = "more than the budget";
    weir_batch_unref(batch);
    return differs != NULL || budget.used_bytes == 0 ? differs : "the budget is not given back";
}
#endif
