#include "collector/decode/otlp_restate.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"

#include <string.h>

enum { SPAN_TRACE_STATE = 3, SPAN_ATTRIBUTES = 9 }; /* trace.proto */
static const char prior_key[] = "weir.prior_weight", rule_key[] = "weir.rule", weight_key[] = "weir.weight";
enum { STATE_CHANGED = WEIR_SPAN_TH_CHANGED | WEIR_SPAN_RV_CHANGED };
enum {
    PRIOR_KEY_SIZE = sizeof prior_key - 1,
    STATE_ROOM = 48 /* ot=th:, 14 digits, ;rv:, 14 digits, a separator */,
    ATTRIBUTE_ROOM = 48,
    MARK_ROOM = WEIR_OTLP_RULE_BYTES_MAX + 2 * ATTRIBUTE_ROOM
};

static bool is_sub_key(const uint8_t *at, const uint8_t *end, const char *key) {
    return end - at >= 3 && memcmp(at, key, 3) == 0;
}

static void separate(struct weir_buffer *out, size_t begin) {
    if (out->size > begin) weir_buffer_byte(out, ';');
}

/* What `ot` had besides what is said anew. */
static void put_sub_keys(struct weir_buffer *out, size_t begin, const uint8_t *at, const uint8_t *stop, bool new_th,
                         bool new_rv) {
    while (at < stop) {
        const uint8_t *semicolon = memchr(at, ';', (size_t)(stop - at)), *end = semicolon != NULL ? semicolon : stop;
        bool said = (new_th && is_sub_key(at, end, "th:")) || (new_rv && is_sub_key(at, end, "rv:"));
        if (end > at && !said) {
            separate(out, begin);
            weir_buffer_put(out, at, (size_t)(end - at));
        }
        at = semicolon != NULL ? semicolon + 1 : stop;
    }
}

enum { DIGITS = 14 };

static void put_threshold(struct weir_buffer *out, uint64_t threshold) {
    char digits[16];
    weir_hex_u64(threshold << 8, digits); /* 56 bits at the top: the first 14 digits */
    size_t count = DIGITS;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    weir_buffer_text(out, "th:");
    weir_buffer_put(out, digits, count);
}

static void put_randomness(struct weir_buffer *out, uint64_t randomness) {
    char digits[16];
    weir_hex_u64(randomness << 8, digits);
    weir_buffer_text(out, "rv:");
    weir_buffer_put(out, digits, DIGITS);
}

void weir_otlp_tracestate(struct weir_buffer *out, const uint8_t *old, size_t old_size, uint64_t threshold,
                          uint64_t randomness) {
    bool new_th = threshold < WEIR_THRESHOLD_MAX, new_rv = randomness < WEIR_THRESHOLD_MAX;
    weir_buffer_text(out, "ot=");
    size_t begin = out->size;
    if (new_th) put_threshold(out, threshold);
    if (new_rv) {
        separate(out, begin);
        put_randomness(out, randomness);
    }
    if (old_size == 0) return;
    const uint8_t *end = old + old_size;
    for (int pass = 0; pass < 2; pass++) { /* first our own member's other sub-keys, then the other vendors */
        for (const uint8_t *at = old, *next; at < end; at = next) {
            const uint8_t *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma != NULL ? comma : end;
            next = comma != NULL ? comma + 1 : end;
            while (at < stop && (*at == ' ' || *at == '\t'))
                at++;
            bool ours = stop - at >= 3 && memcmp(at, "ot=", 3) == 0;
            if (pass == 0 && ours) {
                put_sub_keys(out, begin, at + 3, stop, new_th, new_rv);
            } else if (pass == 1 && !ours && stop > at) {
                weir_buffer_byte(out, ',');
                weir_buffer_put(out, at, (size_t)(stop - at));
            }
        }
    }
}

static bool has_key(const struct weir_wire_field *attribute, const char *key, size_t size) {
    struct weir_wire pair = weir_wire_of(attribute->bytes, attribute->value);
    struct weir_wire_field field;
    bool found = false;
    while (weir_wire_next(&pair, &field)) {
        if (field.number == 1)
            found = field.type == WEIR_WIRE_BYTES && field.value == size && memcmp(field.bytes, key, size) == 0;
    }
    return found;
}

static uint8_t *put_pair(uint8_t *out, const char *key, size_t key_size, const uint8_t *value, size_t size) {
    uint8_t pair[ATTRIBUTE_ROOM + WEIR_OTLP_RULE_BYTES_MAX], *at;
    at = weir_wire_put_bytes(pair, 1, key, key_size);
    at = weir_wire_put_bytes(at, 2, value, size);
    return weir_wire_put_bytes(out, SPAN_ATTRIBUTES, pair, (size_t)(at - pair));
}

static uint8_t *put_double(uint8_t *out, const char *key, size_t key_size, double number) {
    uint8_t value[16];
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint8_t *end = weir_wire_put_fixed64(value, 4, bits); /* AnyValue.double_value */
    return put_pair(out, key, key_size, value, (size_t)(end - value));
}

static uint8_t *put_mark(uint8_t *out, const struct weir_otlp_mark *mark) {
    uint8_t value[WEIR_OTLP_RULE_BYTES_MAX + 8];
    size_t size = mark->rule_size < WEIR_OTLP_RULE_BYTES_MAX ? mark->rule_size : WEIR_OTLP_RULE_BYTES_MAX;
    uint8_t *end = weir_wire_put_bytes(value, 1, mark->rule, size); /* AnyValue.string_value */
    out = put_pair(out, rule_key, sizeof rule_key - 1, value, (size_t)(end - value));
    return put_double(out, weight_key, sizeof weight_key - 1, mark->weight);
}

static bool is_said_anew(const struct weir_wire_field *attribute, unsigned flags, bool marked) {
    if ((flags & WEIR_SPAN_PRIOR_CHANGED) != 0 && has_key(attribute, prior_key, PRIOR_KEY_SIZE)) return true;
    return marked &&
           (has_key(attribute, rule_key, sizeof rule_key - 1) || has_key(attribute, weight_key, sizeof weight_key - 1));
}

/* Copies the span's fields but those that are said anew. */
static uint8_t *copy_fields(uint8_t *out, const uint8_t *bytes, size_t size, unsigned flags, bool marked,
                            const uint8_t **state, size_t *state_size) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (field.number == SPAN_TRACE_STATE && field.type == WEIR_WIRE_BYTES && (flags & STATE_CHANGED) != 0) {
            *state = field.bytes;
            *state_size = field.value;
            continue;
        }
        if (field.number == SPAN_ATTRIBUTES && field.type == WEIR_WIRE_BYTES && is_said_anew(&field, flags, marked))
            continue;
        memcpy(out, start, (size_t)(wire.at - start));
        out += wire.at - start;
    }
    return out;
}

enum weir_status weir_otlp_restate(struct weir_batch *to, const struct weir_batch *from, uint32_t i,
                                   const struct weir_otlp_mark *mark) {
    struct weir_span span = from->spans[i];
    uint16_t origin;
    if (weir_batch_room(to, span.size + STATE_ROOM + ATTRIBUTE_ROOM + 16 + (mark != NULL ? MARK_ROOM : 0)) != WEIR_OK ||
        weir_batch_span_room(to, 1) != WEIR_OK ||
        weir_batch_origin(to, from->origins[span.origin], &origin) != WEIR_OK) {
        return WEIR_FULL;
    }
    uint8_t *start = to->bytes + to->size;
    const uint8_t *state = NULL;
    size_t state_size = 0;
    uint8_t *end =
        copy_fields(start, from->bytes + span.offset, span.size, span.flags, mark != NULL, &state, &state_size);
    if ((span.flags & STATE_CHANGED) != 0) {
        struct weir_buffer text = {.bytes = NULL}; /* longer than the old one by STATE_ROOM at most */
        weir_otlp_tracestate(&text, state, state_size,
                             (span.flags & WEIR_SPAN_TH_CHANGED) != 0 ? span.threshold : WEIR_THRESHOLD_MAX,
                             (span.flags & WEIR_SPAN_RV_CHANGED) != 0 ? span.randomness : WEIR_THRESHOLD_MAX);
        if (text.failed) {
            weir_buffer_free(&text);
            return WEIR_FULL;
        }
        end = weir_wire_put_bytes(end, SPAN_TRACE_STATE, text.bytes, text.size);
        weir_buffer_free(&text);
    }
    if ((span.flags & WEIR_SPAN_PRIOR_CHANGED) != 0) end = put_double(end, prior_key, PRIOR_KEY_SIZE, span.prior);
    if (mark != NULL) end = put_mark(end, mark);
    if ((span.flags & WEIR_SPAN_TH_CHANGED) != 0) span.flags |= WEIR_SPAN_TH;
    if ((span.flags & WEIR_SPAN_PRIOR_CHANGED) != 0) span.flags |= WEIR_SPAN_PRIOR;
    if ((span.flags & WEIR_SPAN_RV_CHANGED) != 0) span.flags |= WEIR_SPAN_RV;
    span.flags &= (uint16_t)~WEIR_SPAN_CHANGED;
    span.offset = (uint32_t)to->size;
    span.size = (uint32_t)(end - start);
    span.origin = origin;
    to->size += span.size;
    return weir_batch_add(to, &span);
}
