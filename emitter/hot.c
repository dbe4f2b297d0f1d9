/* hot.c - what callers' threads do: counts, observations, spans. No lock, no system call, no allocation. */
#include "emitter/inside.h"
#include "emitter/wire.h"

#include <float.h>
#include <time.h>

void weir_emit_request(struct weir_emit_operation *operation) {
    const struct handle *handle = &((const struct operation *)operation)->handle;
    const struct place *place = place_of(handle);
    if (place != NULL) place_add(place, handle->cell, 1);
}

void weir_emit_count(struct weir_emit_counter *counter, uint64_t n) {
    if (counter == NULL) return;
    const struct place *place = place_of(&counter->handle);
    if (place != NULL) place_add(place, counter->handle.cell, n);
}

static double as_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static uint64_t as_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void place_add_double(const struct place *place, uint32_t index, double value) {
    _Atomic uint64_t *cell = place->cells != NULL ? &place->cells[index] : &place->slot->cells[index];
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    if (__builtin_expect(place->cells != NULL, 1)) {
        atomic_store_explicit(cell, as_bits(as_double(now) + value), memory_order_relaxed);
        return;
    }
    while (!atomic_compare_exchange_weak_explicit(cell, &now, as_bits(as_double(now) + value), memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* The first whose bound is not below, which is how many are below. All are looked at: nothing waits for the one before,
 * and there is no branch to be guessed. */
static uint32_t bucket_of(const struct weir_emit_histogram *histogram, double value) {
    typedef double pair __attribute__((vector_size(16)));
    typedef int64_t count __attribute__((vector_size(16)));
    const pair *bounds = (const pair *)(const void *)histogram->bounds, both = {value, value};
    count below = {0, 0};
    for (const pair *end = bounds + 4 * (size_t)histogram->blocks; bounds < end; bounds += 4) {
        below -= (bounds[0] < both) + (bounds[1] < both);
        below -= (bounds[2] < both) + (bounds[3] < both);
    }
    return (uint32_t)(below[0] + below[1]);
}

void weir_emit_observe(struct weir_emit_histogram *histogram, double value) {
    if (histogram == NULL) return;
    const struct place *place = place_of(&histogram->handle);
    if (place == NULL) return;
    if (!(value >= 0 && value <= DBL_MAX)) {
        place_add(place, CELL_SENSELESS, 1);
        return;
    }
    uint32_t sum = histogram->handle.cell;
    place_add(place, sum + 1 + bucket_of(histogram, value), 1);
    place_add_double(place, sum, value);
}

uint64_t weir_emit_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void weir_emit_random(struct weir_emit *emit, void *bytes, size_t size) {
    struct slot *slot = slot_of(emit);
    uint8_t *at = bytes;
    while (size > 0) {
        uint64_t random = slot != NULL ? slot_random(slot) : 0;
        size_t part = size < sizeof random ? size : sizeof random;
        memcpy(at, &random, part);
        at += part;
        size -= part;
    }
}

/* ---- spans: opentelemetry/proto/trace/v1/trace.proto, message Span ---- */

enum span_field { TRACE_ID = 1, SPAN_ID, TRACE_STATE, PARENT_ID, NAME, KIND, START, END, ATTRIBUTES, STATUS = 15 };
enum {
    DATAGRAM_SPANS = 6,
    LENGTH_BYTES = 3,       /* key of the span and its length, always two bytes */
    ATTRIBUTE_BYTES = 20,   /* keys and lengths, and a negative number, which is the longest of what is no text */
    SPAN_FIXED_BYTES = 192, /* all but name and attributes */
    HEX56 = 14,
};

/* th in hex without the zeros at its end; all of it is zero: "0". */
static uint8_t *put_th(uint8_t *out, uint64_t threshold) {
    unsigned digits = threshold == 0 ? 1 : HEX56 - (unsigned)__builtin_ctzll(threshold) / 4;
    uint8_t text[16];
    put_hex64(text, threshold << 8);
    memcpy(out, text, HEX56);
    return out + digits;
}

static uint8_t *put_state(uint8_t *out, const struct weir_emit_span *span) {
    bool has_th = span->threshold < WEIR_EMIT_NEVER, has_rv = span->randomness < WEIR_EMIT_NEVER;
    if (!has_th && !has_rv) return out;
    uint8_t *at = out + 2;
    at = put_bytes(at, "ot=", 3);
    if (has_th) at = put_th(put_bytes(at, "th:", 3), span->threshold);
    if (has_th && has_rv) *at++ = ';';
    if (has_rv) {
        at = put_bytes(at, "rv:", 3);
        uint8_t text[16];
        put_hex64(text, span->randomness << 8);
        at = put_bytes(at, text, HEX56);
    }
    out[0] = TRACE_STATE << 3 | WIRE_BYTES;
    out[1] = (uint8_t)(at - out - 2);
    return at;
}

/* A text that is too long loses whole characters of UTF-8. */
static size_t cut(const char *text, size_t max) {
    while (max > 0 && ((uint8_t)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

/* KeyValue { 1: key, 2: AnyValue { 1: text, 2: bool, 3: int, 4: double } } */
static uint8_t *put_attribute(uint8_t *out, const struct weir_emit_attribute *attribute, size_t text_size) {
    size_t key = attribute->key_size, value;
    switch (attribute->type) {
    case WEIR_EMIT_TEXT: value = 1 + length_size(text_size) + text_size; break;
    case WEIR_EMIT_BOOL: value = 2; break;
    case WEIR_EMIT_INT: value = 1 + varint_size((uint64_t)attribute->value.integer); break;
    default: value = 9;
    }
    size_t inner = 1 + length_size(key) + key + 1 + length_size(value) + value;
    out = put_length(put_key(out, ATTRIBUTES, WIRE_BYTES), inner);
    out = put_text(out, 1, attribute->key, key);
    out = put_length(put_key(out, 2, WIRE_BYTES), value);
    switch (attribute->type) {
    case WEIR_EMIT_TEXT: return put_text(out, 1, attribute->value.text, text_size);
    case WEIR_EMIT_BOOL: return put_uint(out, 2, attribute->value.integer != 0);
    case WEIR_EMIT_INT: return put_uint(out, 3, (uint64_t)attribute->value.integer);
    default: return put_fixed64(out, 4, as_bits(attribute->value.number));
    }
}

static bool is_zero(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return value == 0;
}

static bool sound(const struct weir_emit_span *span) {
    return span->size >= offsetof(struct weir_emit_span, forced) + sizeof span->forced && span->trace_id != NULL &&
           span->span_id != NULL && !(is_zero(span->trace_id) && is_zero(span->trace_id + 8)) &&
           !is_zero(span->span_id);
}

static size_t text_of(const struct weir_emit *emit, const struct weir_emit_attribute *attribute) {
    if (attribute->type != WEIR_EMIT_TEXT) return 0;
    if (__builtin_expect(attribute->text_size <= emit->text_bytes_max, 1)) return attribute->text_size;
    return cut(attribute->value.text, emit->text_bytes_max);
}

/* At least what it will be: put_span() asks for no room. */
static size_t bound(const struct weir_emit *emit, const struct operation *operation, const struct weir_emit_span *span,
                    size_t count) {
    size_t size = SPAN_FIXED_BYTES + (span->name != NULL ? span->name_size : operation->name_size);
    for (size_t i = 0; i < count; i++)
        size += ATTRIBUTE_BYTES + span->attributes[i].key_size + text_of(emit, &span->attributes[i]);
    return size;
}

static uint8_t *put_ids(uint8_t *at, const struct weir_emit_span *span) {
    static const uint8_t trace[2] = {TRACE_ID << 3 | WIRE_BYTES, 16}, own[2] = {SPAN_ID << 3 | WIRE_BYTES, 8},
                         parent[2] = {PARENT_ID << 3 | WIRE_BYTES, 8};
    memcpy(at, trace, 2);
    memcpy(at + 2, span->trace_id, 16);
    memcpy(at + 18, own, 2);
    memcpy(at + 20, span->span_id, 8);
    at = put_state(at + 28, span);
    if (span->parent_id == NULL || is_zero(span->parent_id)) return at;
    memcpy(at, parent, 2);
    memcpy(at + 2, span->parent_id, 8);
    return at + 10;
}

static uint8_t *put_span(uint8_t *at, const struct weir_emit *emit, const struct operation *operation,
                         const struct weir_emit_span *span, size_t count, uint32_t *cuts) {
    static const uint8_t debug[] = "\x4a\x12\x0a\x0czipkin.debug\x12\x02\x10\x01"; /* the attribute, true */
    at = put_ids(at, span);
    at = span->name != NULL ? put_text(at, NAME, span->name, span->name_size)
                            : put_bytes(at, operation->name, operation->name_size);
    at = put_uint(at, KIND, span->kind & 7);
    at = put_fixed64(at, START, span->start_ns);
    at = put_fixed64(at, END, span->end_ns);
    for (size_t i = 0; i < count; i++) {
        size_t text = text_of(emit, &span->attributes[i]);
        *cuts += text < span->attributes[i].text_size && span->attributes[i].type == WEIR_EMIT_TEXT;
        at = put_attribute(at, &span->attributes[i], text);
    }
    if (span->forced) at = put_bytes(at, debug, sizeof debug - 1);
    if (span->status != WEIR_EMIT_UNSET) { /* Status { 3: code } */
        const uint8_t status[4] = {STATUS << 3 | WIRE_BYTES, 2, 3 << 3 | WIRE_VARINT, (uint8_t)(span->status & 3)};
        at = put_bytes(at, status, sizeof status);
    }
    return at;
}

static bool drop(struct slot *slot, enum cell reason) {
    cell_add(slot, reason, 1);
    return false;
}

bool weir_emit_span(struct weir_emit_operation *open, const struct weir_emit_span *span) {
    const struct operation *operation = (const struct operation *)open;
    struct weir_emit *emit = operation->handle.emit;
    const struct place *place = place_of(&operation->handle);
    if (place == NULL) return false;
    struct slot *slot = place->slot;
    if (__builtin_expect(slot->common, 0)) {
        slot = slot_retry(emit, slot);
        if (slot->common) return drop(slot, CELL_THREADS);
    }
    if (__builtin_expect(!sound(span), 0)) return drop(slot, CELL_INVALID);
    size_t count = span->attribute_count < ATTRIBUTES_MAX ? span->attribute_count : ATTRIBUTES_MAX;
    size_t most = bound(emit, operation, span, count);
    if (__builtin_expect(most > emit->reserve_max, 0)) return drop(slot, CELL_LARGE);
    uint8_t *start = ring_reserve(&slot->ring, most);
    if (__builtin_expect(start == NULL, 0)) return drop(slot, CELL_FULL);
    uint32_t cuts = 0;
    uint8_t *end = put_span(start + LENGTH_BYTES, emit, operation, span, count, &cuts);
    size_t size = (size_t)(end - start), body = size - LENGTH_BYTES;
    if (__builtin_expect(size > emit->span_bytes_max, 0)) return drop(slot, CELL_LARGE);
    if (__builtin_expect(cuts > 0, 0)) cell_add(slot, CELL_CUT, cuts);
    start[0] = DATAGRAM_SPANS << 3 | WIRE_BYTES;
    start[1] = (uint8_t)(body | 0x80);
    start[2] = (uint8_t)(body >> 7);
    cell_add(slot, CELL_SPANS, 1);
    ring_publish(&slot->ring, size);
    return true;
}
