#include "collector/decode/scribe.h"
#include "collector/decode/thrift.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL = 1, REPLY = 2, EXCEPTION = 3, ONEWAY = 4 }; /* TMessageType */
#define VERSION_1 0x80010000u
enum { SPAN_KEPT_BYTES = 64 * 1024 };

struct weir_scribe {
    struct weir_zipkin_decoder *zipkin;
    struct weir_buffer span; /* one span's thrift, out of its base64 */
};

struct weir_scribe *weir_scribe_new(struct weir_otlp *otlp) {
    struct weir_scribe *scribe = calloc(1, sizeof *scribe);
    if (scribe == NULL) return NULL;
    scribe->zipkin = weir_zipkin_decoder_new(otlp);
    if (scribe->zipkin == NULL) {
        free(scribe);
        return NULL;
    }
    return scribe;
}

void weir_scribe_free(struct weir_scribe *scribe) {
    if (scribe == NULL) return;
    weir_zipkin_decoder_free(scribe->zipkin);
    weir_buffer_free(&scribe->span);
    free(scribe);
}

/* ---- base64 (RFC 4648, 4 and 5; RFC 2045 6.8: what is no digit is passed over; here only white space is) ---- */

enum { SKIP = 64, PAD = 65, BAD = 66 };

/* Of each character. 64 SKIP, 65 PAD, 66 BAD. */
static const uint8_t digit_of[256] = {
    66, 66, 66, 66, 66, 66, 66, 66, 66, 64, 64, 66, 66, 64, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
    66, 66, 66, 64, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 62, 66, 62, 66, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61,
    66, 66, 66, 65, 66, 66, 66, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 66, 66, 66, 66, 63, 66, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
    45, 46, 47, 48, 49, 50, 51, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
    66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
    66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
    66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
    66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
};

size_t weir_base64_decode(const uint8_t *text, size_t size, uint8_t *out) {
    const uint8_t *at = text, *end = text + size;
    uint8_t *start = out;
    uint32_t bits = 0;
    unsigned count = 0;
    while (at < end) {
        if (count == 0) {
            while (end - at >= 4) { /* four digits without a gap: nearly all of it */
                uint32_t a = digit_of[at[0]], b = digit_of[at[1]], c = digit_of[at[2]], d = digit_of[at[3]];
                if ((a | b | c | d) >= SKIP) break;
                bits = __builtin_bswap32(a << 26 | b << 20 | c << 14 | d << 8);
                memcpy(out, &bits, 4); /* the fourth byte is written over, or is what the room has more */
                out += 3;
                at += 4;
            }
            bits = 0;
            if (at == end) break;
        }
        uint8_t digit = digit_of[*at++];
        if (digit == SKIP) continue;
        if (digit == PAD) break;
        if (digit == BAD) return SIZE_MAX;
        bits = bits << 6 | digit;
        if (++count < 4) continue;
        *out++ = (uint8_t)(bits >> 16);
        *out++ = (uint8_t)(bits >> 8);
        *out++ = (uint8_t)bits;
        bits = count = 0;
    }
    if (count == 1) return SIZE_MAX;
    if (count >= 2) *out++ = (uint8_t)(count == 2 ? bits >> 4 : bits >> 10);
    if (count == 3) *out++ = (uint8_t)(bits >> 2);
    return (size_t)(out - start);
}

/* ---- a call's head ---- */

static bool read_head(struct weir_thrift *in, struct weir_scribe_call *call) {
    const uint8_t *name;
    uint32_t size;
    int32_t first;
    uint8_t type;
    *call = (struct weir_scribe_call){0};
    if (!weir_thrift_i32(in, &first)) return false;
    if (first < 0) { /* strict: version and type, then the name */
        if (((uint32_t)first & 0xffff0000u) != VERSION_1)
            return weir_thrift_fail(in, "not version 1 of TBinaryProtocol");
        type = (uint8_t)first;
        if (!weir_thrift_string(in, &name, &size)) return false;
    } else { /* as before there were versions: the name, then the type */
        size = (uint32_t)first;
        if (!weir_thrift_has(in, size)) return false;
        name = in->at;
        in->at += size;
        if (!weir_thrift_u8(in, &type)) return false;
    }
    if (!weir_thrift_i32(in, &call->sequence)) return false;
    if (type != CALL && type != ONEWAY) return weir_thrift_fail(in, "not a call");
    call->oneway = type == ONEWAY;
    call->is_log = size == 3 && memcmp(name, "Log", 3) == 0;
    for (uint32_t i = 0; i < size && i < WEIR_SCRIBE_NAME_MAX; i++)
        call->name[i] = name[i] >= 0x20 && name[i] < 0x7f ? (char)name[i] : '?';
    return true;
}

bool weir_scribe_head(const uint8_t *bytes, size_t size, struct weir_scribe_call *call) {
    struct weir_thrift in = {.at = bytes, .end = bytes + size};
    return read_head(&in, call);
}

/* ---- Log(1: list<LogEntry{1: category, 2: message}>) ---- */

struct log_walk {
    struct weir_scribe *scribe;
    struct weir_batch *batch;
    struct weir_scribe_call *call;
    struct weir_otlp_counts *counts;
    size_t drawn; /* from the batch's budget */
    uint8_t receiver;
    bool full;
};

static void skip_entry(struct log_walk *walk, const char *why) {
    if (walk->counts->skipped++ > 0) return;
    snprintf(walk->counts->skipped_reason, sizeof walk->counts->skipped_reason, "entries[%llu]: %.120s",
             (unsigned long long)walk->call->entries - 1, why);
}

/* Room for the plain bytes of one entry. */
static uint8_t *room_for(struct log_walk *walk, size_t size) {
    struct weir_buffer *span = &walk->scribe->span;
    size_t before = span->capacity;
    weir_buffer_clear(span);
    if (size <= before) return span->bytes;
    bool grown = weir_buffer_room(span, size);
    size_t more = span->capacity - before;
    if (!grown || !weir_budget_reserve(walk->batch->budget, more)) {
        weir_buffer_free(span);
        return NULL;
    }
    walk->drawn += more;
    return span->bytes;
}

static bool take_entry(struct log_walk *walk, const uint8_t *category, uint32_t category_size, const uint8_t *message,
                       uint32_t size) {
    struct weir_error err = {0};
    size_t used;
    walk->call->entries++;
    if (category_size != 6 || memcmp(category, "zipkin", 6) != 0) {
        walk->call->other++;
        skip_entry(walk, "its category is not zipkin");
        return true;
    }
    if (message == NULL) {
        skip_entry(walk, "it has no message");
        return true;
    }
    uint8_t *plain = room_for(walk, size / 4 * 3 + 3);
    if (plain == NULL) return !(walk->full = true);
    size_t plain_size = weir_base64_decode(message, size, plain);
    if (plain_size == SIZE_MAX) {
        skip_entry(walk, "not base64");
        return true;
    }
    enum weir_status status = weir_zipkin_thrift_span(walk->scribe->zipkin, plain, plain_size, walk->receiver,
                                                      walk->batch, &used, walk->counts, &err);
    if (status == WEIR_FULL) return !(walk->full = true);
    if (status != WEIR_OK) skip_entry(walk, err.text);
    return true;
}

static bool read_entry(struct weir_thrift *in, struct log_walk *walk) {
    const uint8_t *category = NULL, *message = NULL;
    uint32_t category_size = 0, message_size = 0;
    uint8_t type;
    int16_t number;
    while (weir_thrift_field(in, &type, &number)) {
        bool ok;
        if (number == 1 && type == WEIR_THRIFT_STRING)
            ok = weir_thrift_string(in, &category, &category_size);
        else if (number == 2 && type == WEIR_THRIFT_STRING)
            ok = weir_thrift_string(in, &message, &message_size);
        else
            ok = weir_thrift_skip(in, type);
        if (!ok) return false;
    }
    return in->why == NULL && take_entry(walk, category, category_size, message, message_size);
}

static bool read_log(struct weir_thrift *in, struct log_walk *walk) {
    uint8_t type, element;
    int16_t number;
    uint32_t count;
    while (weir_thrift_field(in, &type, &number)) {
        if (number != 1 || type != WEIR_THRIFT_LIST) {
            if (!weir_thrift_skip(in, type)) return false;
            continue;
        }
        if (!weir_thrift_list(in, &element, &count)) return false;
        if (count > 0 && element != WEIR_THRIFT_STRUCT) return weir_thrift_fail(in, "not a list of LogEntry");
        for (uint32_t i = 0; i < count; i++) {
            if (!read_entry(in, walk)) return false;
        }
    }
    return in->why == NULL;
}

enum weir_status weir_scribe_decode(struct weir_scribe *scribe, const uint8_t *bytes, size_t size, uint8_t receiver,
                                    struct weir_batch *batch, struct weir_scribe_call *call,
                                    struct weir_otlp_counts *counts, struct weir_error *err) {
    struct weir_thrift in = {.at = bytes, .end = bytes + size};
    uint32_t span_count = batch->span_count;
    size_t batch_size = batch->size;
    *counts = (struct weir_otlp_counts){0};
    if (!read_head(&in, call))
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", (size_t)(in.at - bytes), in.why);
    if (!call->is_log) return weir_fail(err, WEIR_UNSUPPORTED, 0, false, "unknown method: %s", call->name);
    struct log_walk walk = {.scribe = scribe, .batch = batch, .call = call, .counts = counts, .receiver = receiver};
    bool sound = read_log(&in, &walk);
    weir_budget_release(batch->budget, walk.drawn);
    if (scribe->span.capacity > SPAN_KEPT_BYTES) weir_buffer_free(&scribe->span);
    if (sound) return WEIR_OK;
    weir_batch_truncate(batch, span_count, batch_size);
    *counts = (struct weir_otlp_counts){0};
    if (walk.full) return weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the call");
    return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", (size_t)(in.at - bytes), in.why);
}

/* ---- answers ---- */

static void put_u32(struct weir_buffer *out, uint32_t value) {
    value = __builtin_bswap32(value);
    weir_buffer_put(out, &value, 4);
}

static void put_field(struct weir_buffer *out, enum weir_thrift_type type, uint16_t number) {
    weir_buffer_byte(out, (uint8_t)type);
    weir_buffer_byte(out, (uint8_t)(number >> 8));
    weir_buffer_byte(out, (uint8_t)number);
}

/* Frame length and head; `body` is how many bytes follow. */
static void put_head(struct weir_buffer *out, const struct weir_scribe_call *call, uint32_t type, size_t body) {
    size_t name = strlen(call->name);
    put_u32(out, (uint32_t)(4 + 4 + name + 4 + body));
    put_u32(out, VERSION_1 | type);
    put_u32(out, (uint32_t)name);
    weir_buffer_put(out, call->name, name);
    put_u32(out, (uint32_t)call->sequence);
}

void weir_scribe_answer(struct weir_buffer *out, const struct weir_scribe_call *call, enum weir_scribe_result result) {
    put_head(out, call, REPLY, 8);
    put_field(out, WEIR_THRIFT_I32, 0);
    put_u32(out, result);
    weir_buffer_byte(out, WEIR_THRIFT_STOP);
}

void weir_scribe_refuse(struct weir_buffer *out, const struct weir_scribe_call *call,
                        enum weir_scribe_exception exception, const char *text) {
    size_t size = strlen(text);
    put_head(out, call, EXCEPTION, 3 + 4 + size + 3 + 4 + 1);
    put_field(out, WEIR_THRIFT_STRING, 1);
    put_u32(out, (uint32_t)size);
    weir_buffer_put(out, text, size);
    put_field(out, WEIR_THRIFT_I32, 2);
    put_u32(out, exception);
    weir_buffer_byte(out, WEIR_THRIFT_STOP);
}
