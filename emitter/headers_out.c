/* headers_out.c - headers of tracing, written. Sources as in headers.c. */
#include "emitter/headers.h"
#include "emitter/wire.h"

enum { STATE_MEMBERS = 32, HEX56 = 14, OT_BYTES_MAX = 256 };

static bool has_ids(const struct weir_emit_context *context) {
    uint64_t span;
    memcpy(&span, context->span_id, sizeof span);
    return (context->flags & WEIR_EMIT_HAS_TRACE) != 0 && span != 0;
}

static bool is_sampled(const struct weir_emit_context *context) {
    return (context->flags & WEIR_EMIT_SAMPLED) != 0;
}

static char *put_trace_id(char *out, const struct weir_emit_context *context) {
    hex_put(out, context->trace_id);
    hex_put(out + 16, context->trace_id + 8);
    return out + 32;
}
static char *put_span_id(char *out, const uint8_t id[8]) {
    hex_put(out, id);
    return out + 16;
}

size_t weir_emit_write_traceparent(const struct weir_emit_context *context, char out[WEIR_EMIT_TRACEPARENT_BYTES]) {
    if (!has_ids(context)) return 0;
    unsigned flags = (is_sampled(context) ? 1U : 0U) | ((context->format & CONTEXT_RANDOM) != 0 ? 2U : 0U);
    memcpy(out, "00-", 3);
    char *at = put_trace_id(out + 3, context);
    *at++ = '-';
    at = put_span_id(at, context->span_id);
    memcpy(at, "-0", 2);
    at[2] = (char)('0' + flags);
    return WEIR_EMIT_TRACEPARENT_BYTES;
}

static char *put_hex56(char *out, uint64_t value, size_t digits) {
    char text[16];
    put_hex64(text, value << 8);
    memcpy(out, text, digits);
    return out + digits;
}

/* The sub-keys of others in an `ot` that came. */
static char *put_other(char *out, const char *limit, const struct state_member *ot, bool first) {
    const char *at = ot->value, *end = at + ot->value_size;
    while (at < end) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        if (stop == NULL) stop = end;
        size_t size = (size_t)(stop - at);
        bool ours = size >= 3 && (memcmp(at, "th:", 3) == 0 || memcmp(at, "rv:", 3) == 0);
        if (size > 0 && !ours && size + 1 <= (size_t)(limit - out)) {
            if (!first) *out++ = ';';
            memcpy(out, at, size);
            out += size;
            first = false;
        }
        at = stop < end ? stop + 1 : end;
    }
    return out;
}

/* ot=th:...;rv:...;others, or nothing. What is not sampled has no threshold. */
static char *put_ot(char *out, const struct weir_emit_context *context, const struct state_member *ot) {
    char *at = out + 3;
    const char *limit = at + OT_BYTES_MAX;
    if (is_sampled(context) && context->threshold < WEIR_EMIT_NEVER) {
        uint64_t th = context->threshold;
        memcpy(at, "th:", 3);
        at = put_hex56(at + 3, th, th == 0 ? 1 : HEX56 - (size_t)__builtin_ctzll(th) / 4);
    }
    if (context->randomness < WEIR_EMIT_NEVER) {
        if (at != out + 3) *at++ = ';';
        memcpy(at, "rv:", 3);
        at = put_hex56(at + 3, context->randomness, HEX56);
    }
    if (ot->key != NULL) at = put_other(at, limit, ot, at == out + 3);
    if (at == out + 3) return out;
    memcpy(out, "ot=", 3);
    return at;
}

static const char *state_of(const struct weir_emit_context *context) {
    return context->state_size > 0 ? context->state : "";
}

static struct state_member find_ot(const struct weir_emit_context *context) {
    const char *at = state_of(context), *end = at + context->state_size;
    struct state_member member;
    while (state_next(&at, end, &member) > 0) {
        if (state_is_ot(&member)) return member;
    }
    return (struct state_member){0};
}

size_t weir_emit_write_tracestate(const struct weir_emit_context *context, char out[WEIR_EMIT_TRACESTATE_BYTES]) {
    bool own = context->randomness < WEIR_EMIT_NEVER || (is_sampled(context) && context->threshold < WEIR_EMIT_NEVER);
    if ((!own && context->state_size == 0) || !has_ids(context)) return 0;
    const struct state_member ot = find_ot(context);
    char *at = put_ot(out, context, &ot);
    const char *read = state_of(context), *end = read + context->state_size;
    struct state_member member;
    unsigned members = at != out;
    while (members < STATE_MEMBERS && state_next(&read, end, &member) > 0) {
        size_t size = member.key_size + 1 + member.value_size;
        if (state_is_ot(&member) || size + 1 > (size_t)(out + WEIR_EMIT_TRACESTATE_BYTES - at)) continue;
        if (members++ > 0) *at++ = ',';
        memcpy(at, member.key, size);
        at += size;
    }
    return (size_t)(at - out);
}

/* Where the library is disabled the span that came goes on, and is not its own parent. */
static bool has_parent(const struct weir_emit_context *context) {
    return (context->flags & WEIR_EMIT_HAS_PARENT) != 0 &&
           memcmp(context->parent_id, context->span_id, sizeof context->span_id) != 0;
}

size_t weir_emit_write_b3(const struct weir_emit_context *context, char out[WEIR_EMIT_B3_BYTES]) {
    const char decision = (context->flags & WEIR_EMIT_FORCED) != 0 ? 'd' : is_sampled(context) ? '1' : '0';
    bool decided = (context->flags & WEIR_EMIT_DECIDED) != 0;
    if (!has_ids(context)) { /* disabled, and a decision alone came */
        out[0] = decision;
        return decided;
    }
    char *at = put_trace_id(out, context);
    *at++ = '-';
    at = put_span_id(at, context->span_id);
    if (decided) {
        *at++ = '-';
        *at++ = decision;
    }
    if (decided && has_parent(context)) {
        *at++ = '-';
        at = put_span_id(at, context->parent_id);
    }
    return (size_t)(at - out);
}

void weir_emit_write_b3_multi(const struct weir_emit_context *context, struct weir_emit_b3 *out) {
    put_trace_id(out->trace_id, context);
    put_span_id(out->span_id, context->span_id);
    put_span_id(out->parent_id, context->parent_id);
    out->has_parent = has_parent(context);
    out->forced = (context->flags & WEIR_EMIT_FORCED) != 0;
    out->sampled = is_sampled(context) ? '1' : '0';
}
