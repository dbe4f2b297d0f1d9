/* Lines "name: value" as the headers of a request: what is written for upstream reads back, and says the same. */
#include "emitter/weir_emit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct weir_emit_context *context, const char *at, const char *end) {
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        if (colon != NULL)
            weir_emit_read_header(context, at, (size_t)(colon - at), colon + 1, (size_t)(stop - colon - 1));
        at = stop < end ? stop + 1 : end;
    }
}

static void check_w3c(const struct weir_emit_context *context) {
    char parent[WEIR_EMIT_TRACEPARENT_BYTES], state[WEIR_EMIT_TRACESTATE_BYTES];
    struct weir_emit_context back;
    weir_emit_context_clear(&back);
    size_t size = weir_emit_write_traceparent(context, parent), state_size = weir_emit_write_tracestate(context, state);
    if ((context->flags & WEIR_EMIT_HAS_TRACE) == 0) {
        if (size != 0 || state_size != 0) abort();
        return;
    }
    if (!weir_emit_read_traceparent(&back, parent, size)) abort();
    if (state_size > 0 && !weir_emit_read_tracestate(&back, state, state_size)) abort();
    if (memcmp(back.trace_id, context->trace_id, 16) != 0 || memcmp(back.parent_id, context->span_id, 8) != 0) abort();
    if ((back.flags ^ context->flags) & WEIR_EMIT_SAMPLED) abort();
    bool said = (context->flags & WEIR_EMIT_SAMPLED) != 0 && context->threshold < WEIR_EMIT_NEVER;
    if (back.threshold != (said ? context->threshold : WEIR_EMIT_UNKNOWN)) abort();
    if (back.randomness != context->randomness) abort();
}

static void check_b3(const struct weir_emit_context *context) {
    char single[WEIR_EMIT_B3_BYTES];
    struct weir_emit_context back;
    struct weir_emit_b3 multi;
    weir_emit_context_clear(&back);
    weir_emit_write_b3_multi(context, &multi);
    size_t size = weir_emit_write_b3(context, single);
    if (size == 0) return;
    if (!weir_emit_read_b3(&back, single, size)) abort();
    bool has_trace = (context->flags & WEIR_EMIT_HAS_TRACE) != 0; /* else it is a decision alone */
    if (has_trace != (size > 1)) abort();
    if (has_trace && memcmp(back.trace_id, context->trace_id, 16) != 0) abort();
    if (has_trace && memcmp(multi.span_id, single + 33, 16) != 0) abort();
    if ((back.flags ^ context->flags) & (WEIR_EMIT_SAMPLED | WEIR_EMIT_FORCED)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_emit_context context;
    weir_emit_context_clear(&context);
    read_all(&context, (const char *)data, (const char *)data + size);
    if (context.threshold != WEIR_EMIT_UNKNOWN && context.threshold >= WEIR_EMIT_NEVER) abort();
    memset(context.span_id, 0x5a, sizeof context.span_id); /* what weir_emit_begin() draws */
    check_w3c(&context);
    check_b3(&context);
    return 0;
}
