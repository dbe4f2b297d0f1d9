/* wire.h - protobuf wire format, read in place and written. Source: protobuf.dev "Encoding".
 *
 *   key = field number << 3 | wire type      0 varint · 1 fixed 64 · 2 length + bytes · 5 fixed 32 (3, 4: groups,
 * refused)
 *
 * Reading never allocates and never goes past `end`; a nested message is a cursor of its own, so that depth is the
 * caller's own count. */
#ifndef WEIR_CORE_WIRE_H
#define WEIR_CORE_WIRE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum weir_wire_type { WEIR_WIRE_VARINT = 0, WEIR_WIRE_FIXED64 = 1, WEIR_WIRE_BYTES = 2, WEIR_WIRE_FIXED32 = 5 };

struct weir_wire {
    const uint8_t *at;
    const uint8_t *end;
    const char *why; /* set when weir_wire_next() returned false on broken bytes; NULL at a clean end */
};

struct weir_wire_field {
    uint32_t number;
    uint32_t type;
    uint64_t value;       /* varint, fixed32, fixed64; for bytes their size */
    const uint8_t *bytes; /* for bytes, inside the message; else where the field starts */
};

static inline bool weir_wire_varint(struct weir_wire *wire, uint64_t *value) {
    const uint8_t *p = wire->at;
    if (p < wire->end && *p < 0x80) {
        *value = *p;
        wire->at = p + 1;
        return true;
    }
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == wire->end) {
            wire->why = "truncated varint";
            return false;
        }
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) break; /* more than 64 bits */
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            wire->at = p;
            return true;
        }
    }
    wire->why = "varint longer than 64 bits";
    return false;
}

/* The next field, or false: at the end (why == NULL) or on broken bytes (why says what; `at` is where). */
__attribute__((always_inline)) static inline bool weir_wire_next(struct weir_wire *wire,
                                                                 struct weir_wire_field *field) {
    if (wire->at >= wire->end) return false;
    const uint8_t *start = wire->at;
    uint64_t key;
    if (!weir_wire_varint(wire, &key)) return false;
    field->number = (uint32_t)(key >> 3);
    field->type = (uint32_t)(key & 7);
    field->bytes = start;
    if (field->number == 0 || key >> 32 != 0) {
        wire->at = start;
        wire->why = "field number out of range";
        return false;
    }
    switch (field->type) {
    case WEIR_WIRE_VARINT: return weir_wire_varint(wire, &field->value);
    case WEIR_WIRE_BYTES:
        if (!weir_wire_varint(wire, &field->value)) return false;
        if (field->value > (uint64_t)(wire->end - wire->at)) {
            wire->at = start;
            wire->why = "length past the end of its message";
            return false;
        }
        field->bytes = wire->at;
        wire->at += field->value;
        return true;
    case WEIR_WIRE_FIXED64:
        if (wire->end - wire->at < 8) break;
        memcpy(&field->value, wire->at, 8); /* little endian on the wire, and so are we (checked in CMakeLists.txt) */
        wire->at += 8;
        return true;
    case WEIR_WIRE_FIXED32: {
        uint32_t value;
        if (wire->end - wire->at < 4) break;
        memcpy(&value, wire->at, 4);
        field->value = value;
        wire->at += 4;
        return true;
    }
    default:
        wire->at = start;
        wire->why = "wire type is not one of 0, 1, 2, 5";
        return false;
    }
    wire->at = start;
    wire->why = "truncated fixed-size field";
    return false;
}

/* bytes may be NULL when size is 0. */
static inline struct weir_wire weir_wire_of(const uint8_t *bytes, size_t size) {
    return (struct weir_wire){.at = bytes, .end = size > 0 ? bytes + size : bytes, .why = NULL};
}
static inline double weir_wire_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline int64_t weir_wire_zigzag(uint64_t value) {
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* Writing: each returns the first byte behind what it wrote; the caller has made room (10 bytes a varint at most). */
static inline uint8_t *weir_wire_put_varint(uint8_t *out, uint64_t value) {
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}
static inline size_t weir_wire_varint_size(uint64_t value) {
    return 1 + (size_t)(63 - __builtin_clzll(value | 1)) / 7;
}
/* Of a whole field of so many bytes whose number is below 16: a key of one byte, the length, the bytes. */
static inline size_t weir_wire_bytes_size(size_t size) {
    return 1 + weir_wire_varint_size(size) + size;
}
static inline uint8_t *weir_wire_put_key(uint8_t *out, uint32_t number, enum weir_wire_type type) {
    return weir_wire_put_varint(out, (uint64_t)number << 3 | type);
}
static inline uint8_t *weir_wire_put_bytes(uint8_t *out, uint32_t number, const void *bytes, size_t size) {
    out = weir_wire_put_key(out, number, WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, size);
    if (size > 0) memcpy(out, bytes, size);
    return out + size;
}
static inline uint8_t *weir_wire_put_fixed64(uint8_t *out, uint32_t number, uint64_t value) {
    out = weir_wire_put_key(out, number, WEIR_WIRE_FIXED64);
    memcpy(out, &value, 8);
    return out + 8;
}
static inline uint8_t *weir_wire_put_uint(uint8_t *out, uint32_t number, uint64_t value) {
    out = weir_wire_put_key(out, number, WEIR_WIRE_VARINT);
    return weir_wire_put_varint(out, value);
}
#endif
