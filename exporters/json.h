/* json.h - pieces of JSON text, written where the caller has made room. Each returns the first byte behind what it
 * wrote. Source: RFC 8259; what is not UTF-8 becomes U+FFFD, so that the text is valid whatever the bytes are. */
#ifndef WEIR_EXPORTERS_JSON_H
#define WEIR_EXPORTERS_JSON_H
#include "collector/core/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    WEIR_JSON_GROWTH = 6, /* one byte becomes at most \u00XX */
    WEIR_JSON_NUMBER_BYTES = 20,
};

/* The inside of a string, without its quotes; room for WEIR_JSON_GROWTH * size. */
uint8_t *weir_json_escape_slow(uint8_t *out, const uint8_t *bytes, size_t size);
uint8_t *weir_json_write_u64(uint8_t *out, uint64_t value); /* decimal; room for WEIR_JSON_NUMBER_BYTES */
uint8_t *weir_json_write_i64(uint8_t *out, int64_t value);

/* A value of any size into a growing buffer: "..." with its quotes. */
void weir_json_put_string(struct weir_buffer *out, const uint8_t *bytes, size_t size);
void weir_json_put_base64(struct weir_buffer *out, const uint8_t *bytes, size_t size); /* with quotes */
/* NaN and infinities, which JSON has no numbers for, as the strings of protobuf's JSON mapping. */
void weir_json_put_double(struct weir_buffer *out, double value);
void weir_json_put_i64(struct weir_buffer *out, int64_t value);

/* Bytes of `word` that must not stand in a string as they are have their high bit set in the answer: below 0x20, quote,
 * backslash, 0x80 and above. Wrong only in bytes above one that is set (a borrow), so zero is right.
 * Source: S. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n". */
static inline uint64_t weir_json_special(uint64_t word) {
    const uint64_t ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & high;
}

static inline uint8_t *weir_json_escape(uint8_t *out, const uint8_t *bytes, size_t size) {
    uint64_t word, last;
    if (size >= 8) {
        size_t i = 0;
        for (; i + 8 <= size; i += 8) {
            memcpy(&word, bytes + i, 8);
            if (weir_json_special(word) != 0) return weir_json_escape_slow(out + i, bytes + i, size - i);
            memcpy(out + i, &word, 8);
        }
        memcpy(&last, bytes + size - 8, 8); /* overlaps what is done, to spare a loop over the rest */
        if (weir_json_special(last) != 0) return weir_json_escape_slow(out + i, bytes + i, size - i);
        memcpy(out + size - 8, &last, 8);
        return out + size;
    }
    if (size >= 4) {
        uint32_t a, b;
        memcpy(&a, bytes, 4);
        memcpy(&b, bytes + size - 4, 4);
        if (weir_json_special((uint64_t)b << 32 | a) != 0) return weir_json_escape_slow(out, bytes, size);
        memcpy(out, &a, 4);
        memcpy(out + size - 4, &b, 4);
        return out + size;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t c = bytes[i];
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80) return weir_json_escape_slow(out + i, bytes + i, size - i);
        out[i] = c;
    }
    return out + size;
}
#endif
