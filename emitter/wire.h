/* wire.h - protobuf written by hand (protobuf.dev, "Encoding"), numbers in hex, and short copies. Writers return the
 * first byte behind what they wrote; the caller has made room. Little endian only, as weir_emit.h's users are told by
 * open.c. */
#ifndef WEIR_EMITTER_WIRE_H
#define WEIR_EMITTER_WIRE_H
#include "emitter/hex.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static inline uint8_t *put_varint(uint8_t *out, uint64_t value) {
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

static inline size_t varint_size(uint64_t value) {
    return 1 + (size_t)(63 - __builtin_clzll(value | 1)) / 7;
}

static inline uint8_t *put_64(uint8_t *out, uint64_t value) {
    memcpy(out, &value, 8);
    return out + 8;
}

/* Field numbers here are below 16, so that a key is one byte. */
static inline uint8_t *put_key(uint8_t *out, unsigned number, enum wire_type type) {
    *out = (uint8_t)(number << 3 | type);
    return out + 1;
}

static inline uint8_t *put_uint(uint8_t *out, unsigned number, uint64_t value) {
    return put_varint(put_key(out, number, WIRE_VARINT), value);
}

static inline uint8_t *put_fixed64(uint8_t *out, unsigned number, uint64_t value) {
    return put_64(put_key(out, number, WIRE_FIXED64), value);
}

/* A length below 16,384, in one byte or two. */
static inline uint8_t *put_length(uint8_t *out, size_t length) {
    if (length < 0x80) {
        *out = (uint8_t)length;
        return out + 1;
    }
    out[0] = (uint8_t)(length | 0x80);
    out[1] = (uint8_t)(length >> 7);
    return out + 2;
}
static inline size_t length_size(size_t length) {
    return length < 0x80 ? 1 : 2;
}

/* Names and values are a few bytes long: two moves that may overlap cost less than a call of memcpy. */
static inline uint8_t *put_bytes(uint8_t *out, const void *from, size_t size) {
    if (size > 32) {
        memcpy(out, from, size);
    } else if (size >= 16) {
        const uint8_t *in = from;
        memcpy(out, in, 16);
        memcpy(out + size - 16, in + size - 16, 16);
    } else if (size >= 8) {
        const uint8_t *in = from;
        memcpy(out, in, 8);
        memcpy(out + size - 8, in + size - 8, 8);
    } else if (size >= 4) {
        const uint8_t *in = from;
        memcpy(out, in, 4);
        memcpy(out + size - 4, in + size - 4, 4);
    } else if (size > 0) {
        const uint8_t *in = from;
        out[0] = in[0];
        out[size / 2] = in[size / 2];
        out[size - 1] = in[size - 1];
    }
    return out + size;
}

static inline uint8_t *put_text(uint8_t *out, unsigned number, const void *from, size_t size) {
    return put_bytes(put_length(put_key(out, number, WIRE_BYTES), size), from, size);
}

/* The number in sixteen digits. */
static inline void put_hex64(void *out, uint64_t value) {
    uint8_t bytes[8];
    value = __builtin_bswap64(value);
    memcpy(bytes, &value, sizeof bytes);
    hex_put(out, bytes);
}

/* Reading: the next field, or false at the end and at broken bytes (broken says which). */
struct wire {
    const uint8_t *at, *end;
    bool broken;
};
struct wire_field {
    uint32_t number, type;
    uint64_t value;       /* varint, fixed; for bytes their size */
    const uint8_t *bytes; /* for bytes, inside; else where the field begins */
};

static inline bool wire_varint(struct wire *wire, uint64_t *value) {
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        if (shift == 63 && byte > 1) break; /* more than 64 bits */
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return true;
        }
    }
    wire->broken = true;
    return false;
}

static inline bool wire_next(struct wire *wire, struct wire_field *field) {
    if (wire->broken || wire->at >= wire->end) return false;
    const uint8_t *start = wire->at;
    uint64_t key;
    if (!wire_varint(wire, &key)) return false;
    field->number = (uint32_t)(key >> 3);
    field->type = (uint32_t)(key & 7);
    field->bytes = start;
    size_t left = (size_t)(wire->end - wire->at), size = 0;
    if (field->number == 0 || key >> 32 != 0) {
        wire->broken = true;
    } else if (field->type == WIRE_VARINT) {
        return wire_varint(wire, &field->value);
    } else if (field->type == WIRE_BYTES) {
        if (!wire_varint(wire, &field->value)) return false;
        wire->broken = field->value > (uint64_t)(wire->end - wire->at);
        field->bytes = wire->at;
        size = field->value;
    } else if (field->type == WIRE_FIXED64 || field->type == WIRE_FIXED32) {
        size = field->type == WIRE_FIXED64 ? 8 : 4;
        wire->broken = left < size;
        field->value = 0;
        if (!wire->broken) memcpy(&field->value, wire->at, size);
    } else {
        wire->broken = true;
    }
    if (wire->broken) return false;
    wire->at += size;
    return true;
}
#endif
