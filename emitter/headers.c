/* headers.c - headers of tracing, read. Sources: W3C Trace Context (Recommendation, and level 2 for the random
 * flag), 3.2 traceparent, 3.3 tracestate; OpenTelemetry "TraceState: Probability Sampling"; openzipkin/b3-propagation.
 */
#include "emitter/headers.h"
#include "emitter/hex.h"

#include <strings.h>

enum {
    STATE_READ_MAX = 4096,
    STATE_MEMBERS = 32,
    STATE_KEY_MAX = 256,
    STATE_VALUE_MAX = 256,
    HEX56 = 14,
    NO_DIGIT = 256
};

/* ---- hex ---- */

/* Lower case only, as both specifications write ids. NO_DIGIT: none, also beside another one in a byte. */
static unsigned digit(char c) {
    unsigned number = (unsigned char)c - (unsigned)'0', letter = (unsigned char)c - (unsigned)'a';
    if (number < 10) return number;
    return letter < 6 ? letter + 10 : NO_DIGIT;
}

/* Two digits; more than 255: none. */
static unsigned read_byte(const char *text) {
    return digit(text[0]) << 4 | digit(text[1]);
}

static bool read_hex56(const char *text, size_t size, uint64_t *out) {
    uint64_t value = 0;
    if (size == 0 || size > HEX56) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned one = digit(text[i]);
        if (one > 15) return false;
        value = value << 4 | one;
    }
    *out = value << 4 * (HEX56 - size);
    return true;
}

static bool is_zero(const uint8_t bytes[8]) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value == 0;
}

/* 16 or 32 digits, not all 0; a short one is the low half. */
static bool read_trace_id(const char *text, size_t digits, uint8_t out[16]) {
    if (digits != 16 && digits != 32) return false;
    memset(out, 0, 8);
    if (digits == 32 && !hex_read(text, out)) return false;
    return hex_read(text + digits - 16, out + 8) && !(is_zero(out) && is_zero(out + 8));
}

static bool read_span_id(const char *text, size_t digits, uint8_t out[8]) {
    return digits == 16 && hex_read(text, out) && !is_zero(out);
}

/* ---- which format counts ---- */

/* False: a better one was read before. A better one than before takes away what the other said. */
static bool take_format(struct weir_emit_context *context, uint32_t format) {
    uint32_t now = context->format & CONTEXT_FORMAT;
    if (format < now) return false;
    if (format > now && now != 0) context->flags = 0;
    context->format = (context->format & ~(uint32_t)CONTEXT_FORMAT) | format;
    return true;
}

/* ---- W3C ----
 *   00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01      version - trace id - parent id - flags
 *   0  3                                36               53  55 */

bool weir_emit_read_traceparent(struct weir_emit_context *context, const char *value, size_t size) {
    uint8_t trace_id[16], parent_id[8];
    if (size < WEIR_EMIT_TRACEPARENT_BYTES || value[2] != '-' || value[35] != '-' || value[52] != '-') return false;
    unsigned version = read_byte(value), flags = read_byte(value + 53);
    if (version >= 0xff || flags > 0xff) return false;
    /* Later versions may say more, behind a dash. */
    if (size > WEIR_EMIT_TRACEPARENT_BYTES && (version == 0 || value[55] != '-')) return false;
    if (!read_trace_id(value + 3, 32, trace_id) || !read_span_id(value + 36, 16, parent_id)) return false;
    if ((context->format & CONTEXT_FORMAT) == CONTEXT_W3C) { /* a second one: neither is to be believed */
        context->flags = 0;
        return false;
    }
    take_format(context, CONTEXT_W3C);
    memcpy(context->trace_id, trace_id, sizeof trace_id);
    memcpy(context->parent_id, parent_id, sizeof parent_id);
    context->flags = WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT | WEIR_EMIT_DECIDED;
    if ((flags & 1) != 0) context->flags |= WEIR_EMIT_SAMPLED;
    if ((flags & 2) != 0) context->format |= CONTEXT_RANDOM;
    return true;
}

static bool key_sound(const char *key, size_t size) {
    if (size == 0 || size > STATE_KEY_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        char c = key[i];
        bool begins = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!begins && (i == 0 || (c != '_' && c != '-' && c != '*' && c != '/' && c != '@'))) return false;
    }
    return true;
}

static bool value_sound(const char *value, size_t size) {
    if (size == 0 || size > STATE_VALUE_MAX || value[size - 1] == ' ') return false;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < 0x20 || value[i] > 0x7e || value[i] == '=') return false;
    }
    return true;
}

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

int state_next(const char **at, const char *end, struct state_member *member) {
    for (;;) {
        while (*at < end && (blank(**at) || **at == ','))
            (*at)++; /* a list may have empty members */
        if (*at == end) return 0;
        const char *start = *at, *stop = memchr(start, ',', (size_t)(end - start));
        if (stop == NULL) stop = end;
        *at = stop;
        while (blank(stop[-1])) /* it does not begin with a blank */
            stop--;
        const char *equals = memchr(start, '=', (size_t)(stop - start));
        if (equals == NULL) return -1;
        *member = (struct state_member){start, equals + 1, (size_t)(equals - start), (size_t)(stop - equals - 1)};
        return key_sound(member->key, member->key_size) && value_sound(member->value, member->value_size) ? 1 : -1;
    }
}

/* ot=th:c;rv:0123456789abcd: what does not read is passed over, as that specification asks. */
static void read_ot(struct weir_emit_context *context, const struct state_member *ot) {
    const char *at = ot->value, *end = at + ot->value_size;
    while (at < end) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        if (stop == NULL) stop = end;
        size_t size = (size_t)(stop - at);
        uint64_t number;
        if (size > 3 && memcmp(at, "th:", 3) == 0 && read_hex56(at + 3, size - 3, &number)) context->threshold = number;
        if (size == 3 + HEX56 && memcmp(at, "rv:", 3) == 0 && read_hex56(at + 3, HEX56, &number))
            context->randomness = number;
        at = stop < end ? stop + 1 : end;
    }
}

bool weir_emit_read_tracestate(struct weir_emit_context *context, const char *value, size_t size) {
    const char *at = value, *end = value + size;
    struct state_member member, ot = {0};
    unsigned members = 0;
    int found = 0;
    if (size > STATE_READ_MAX || (context->format & CONTEXT_STATE) != 0) return false;
    while ((found = state_next(&at, end, &member)) > 0) {
        if (++members > STATE_MEMBERS) return false;
        if (state_is_ot(&member) && ot.key == NULL) ot = member;
    }
    if (found < 0) return false;
    if (ot.key != NULL) read_ot(context, &ot);
    context->format |= CONTEXT_STATE;
    context->state = value;
    context->state_size = (uint32_t)size;
    return true;
}

/* ---- B3 ---- */

/* 1, 0, d; true and false of older senders. */
static bool read_decision(const char *value, size_t size, uint32_t *flags) {
    bool yes = (size == 1 && value[0] == '1') || (size == 4 && memcmp(value, "true", 4) == 0);
    bool no = (size == 1 && value[0] == '0') || (size == 5 && memcmp(value, "false", 5) == 0);
    bool debug = size == 1 && value[0] == 'd';
    if (!yes && !no && !debug) return false;
    *flags |= WEIR_EMIT_DECIDED | (no ? 0 : WEIR_EMIT_SAMPLED) | (debug ? WEIR_EMIT_FORCED : 0);
    return true;
}

/* 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90: trace - span [- decision [- its parent]]; or
 * the decision alone. */
bool weir_emit_read_b3(struct weir_emit_context *context, const char *value, size_t size) {
    uint8_t trace_id[16], parent_id[8], grand[8];
    uint32_t flags = 0;
    if (size < 16) {
        if (!read_decision(value, size, &flags)) return false;
        if (take_format(context, CONTEXT_B3)) context->flags = flags;
        return true;
    }
    const char *dash = memchr(value, '-', size);
    size_t trace = dash != NULL ? (size_t)(dash - value) : size, rest = size - trace;
    if (rest < 17 || !read_trace_id(value, trace, trace_id) || !read_span_id(dash + 1, 16, parent_id)) return false;
    rest -= 17;
    const char *at = dash + 17;
    if (rest > 0) { /* -1, or -1-0123456789abcdef */
        if (at[0] != '-' || (rest != 2 && rest != 19) || !read_decision(at + 1, 1, &flags)) return false;
        if (rest == 19 && (at[2] != '-' || !read_span_id(at + 3, 16, grand))) return false;
    }
    if (!take_format(context, CONTEXT_B3)) return true;
    memcpy(context->trace_id, trace_id, sizeof trace_id);
    memcpy(context->parent_id, parent_id, sizeof parent_id);
    context->flags = flags | WEIR_EMIT_HAS_TRACE | WEIR_EMIT_HAS_PARENT;
    return true;
}

enum b3_header { B3_TRACE_ID, B3_SPAN_ID, B3_PARENT_ID, B3_SAMPLED, B3_FLAGS, B3_HEADERS };

static bool read_b3_multi(struct weir_emit_context *context, enum b3_header header, const char *value, size_t size) {
    uint8_t trace_id[16], span_id[8] = {0};
    uint32_t flags = 0;
    bool sound = header == B3_TRACE_ID    ? read_trace_id(value, size, trace_id)
                 : header <= B3_PARENT_ID ? read_span_id(value, size, span_id)
                 : header == B3_SAMPLED   ? read_decision(value, size, &flags)
                                          : size == 1 && (value[0] == '1' || value[0] == '0');
    if (!sound || !take_format(context, CONTEXT_B3_MULTI)) return sound;
    if (header == B3_TRACE_ID) {
        memcpy(context->trace_id, trace_id, sizeof trace_id);
        flags = WEIR_EMIT_HAS_TRACE;
    } else if (header == B3_SPAN_ID) {
        memcpy(context->parent_id, span_id, sizeof span_id);
        flags = WEIR_EMIT_HAS_PARENT;
    } else if (header == B3_FLAGS && value[0] == '1') {
        flags = WEIR_EMIT_DECIDED | WEIR_EMIT_SAMPLED | WEIR_EMIT_FORCED;
    }
    context->flags |= flags;
    return true;
}

/* ---- by name ---- */

static bool is_named(const char *name, size_t size, const char *wanted, size_t wanted_size) {
    return size == wanted_size && strncasecmp(name, wanted, size) == 0;
}
#define IS(literal) is_named(name, name_size, literal, sizeof(literal) - 1)

static int read_named(struct weir_emit_context *context, const char *name, size_t name_size, const char *value,
                      size_t size) {
    if (IS("traceparent")) return weir_emit_read_traceparent(context, value, size);
    if (IS("tracestate")) return weir_emit_read_tracestate(context, value, size);
    if (IS("b3")) return weir_emit_read_b3(context, value, size);
    if (IS("x-b3-traceid")) return read_b3_multi(context, B3_TRACE_ID, value, size);
    if (IS("x-b3-spanid")) return read_b3_multi(context, B3_SPAN_ID, value, size);
    if (IS("x-b3-parentspanid")) return read_b3_multi(context, B3_PARENT_ID, value, size);
    if (IS("x-b3-sampled")) return read_b3_multi(context, B3_SAMPLED, value, size);
    if (IS("x-b3-flags")) return read_b3_multi(context, B3_FLAGS, value, size);
    return -1;
}

enum weir_emit_header weir_emit_read_header(struct weir_emit_context *context, const char *name, size_t name_size,
                                            const char *value, size_t value_size) {
    if (!weir_emit_may_read(name, name_size)) return WEIR_EMIT_OTHER_HEADER;
    while (value_size > 0 && blank(value[0]))
        value++, value_size--;
    while (value_size > 0 && blank(value[value_size - 1]))
        value_size--;
    int sound = read_named(context, name, name_size, value, value_size);
    if (sound < 0) return WEIR_EMIT_OTHER_HEADER;
    return sound != 0 ? WEIR_EMIT_TRACE_HEADER : WEIR_EMIT_BROKEN_HEADER;
}
