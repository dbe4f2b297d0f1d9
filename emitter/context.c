/* context.c - what travels with a request: a trace is taken up or begun, decided, and handed on. Reading headers is in
 * headers.c, writing them in headers_out.c. */
#include "emitter/headers.h"

/* A decision that says T and could not have been taken by it says nothing of T (OpenTelemetry, probability sampling:
 * inconsistent thresholds are removed). */
static void check_threshold(struct weir_emit_context *context) {
    bool sampled = (context->flags & WEIR_EMIT_SAMPLED) != 0;
    if (!sampled || (context->flags & WEIR_EMIT_FORCED) != 0 || context_randomness(context) < context->threshold)
        context->threshold = WEIR_EMIT_UNKNOWN;
}

static void begin_trace(struct slot *slot, struct weir_emit_context *context) {
    for (unsigned i = 0; i < 2; i++) {
        uint64_t random = slot_random(slot);
        memcpy(context->trace_id + 8 * i, &random, sizeof random);
    }
    context->flags &= (uint32_t)~WEIR_EMIT_HAS_PARENT;
    context->flags |= WEIR_EMIT_HAS_TRACE;
    context->format |= CONTEXT_RANDOM;
    context->randomness = WEIR_EMIT_UNKNOWN;
    context->state_size = 0;
}

static void draw_span(struct slot *slot, struct weir_emit_context *context) {
    uint64_t random = slot_random(slot);
    memcpy(context->span_id, &random, sizeof random);
}

bool weir_emit_begin(struct weir_emit_operation *open, struct weir_emit_context *context) {
    const struct operation *operation = (const struct operation *)open;
    const struct place *place = place_of(&operation->handle);
    if ((context->format & CONTEXT_FORMAT) != CONTEXT_W3C) { /* tracestate is nothing without traceparent */
        context->threshold = context->randomness = WEIR_EMIT_UNKNOWN;
        context->state_size = 0;
    }
    if (place == NULL) { /* disabled: what came is handed on as it is */
        memcpy(context->span_id, context->parent_id, sizeof context->span_id);
        return false;
    }
    place_add(place, operation->handle.cell, 1);
    if ((context->flags & WEIR_EMIT_HAS_TRACE) == 0) begin_trace(place->slot, context);
    draw_span(place->slot, context);
    if ((context->flags & WEIR_EMIT_FORCED) != 0) context->flags |= WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED;
    if ((context->flags & WEIR_EMIT_DECIDED) == 0) {
        context->threshold = weir_emit_threshold(open);
        if (context_randomness(context) >= context->threshold) context->flags |= WEIR_EMIT_SAMPLED;
        context->flags |= WEIR_EMIT_DECIDED;
    }
    check_threshold(context);
    return (context->flags & WEIR_EMIT_SAMPLED) != 0;
}

void weir_emit_child(struct weir_emit *emit, const struct weir_emit_context *parent, struct weir_emit_context *child) {
    struct slot *slot = slot_of(emit);
    *child = *parent;
    if (slot == NULL) return;
    memcpy(child->parent_id, parent->span_id, sizeof child->parent_id);
    child->flags |= WEIR_EMIT_HAS_PARENT;
    draw_span(slot, child);
}
