/* thrift.h - Thrift's TBinaryProtocol read in place. Source: apache/thrift doc/specs/thrift-binary-protocol.md.
 * Reading never allocates and never goes past `end`. */
#ifndef WEIR_DECODE_THRIFT_H
#define WEIR_DECODE_THRIFT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum weir_thrift_type {
    WEIR_THRIFT_STOP = 0,
    WEIR_THRIFT_BOOL = 2,
    WEIR_THRIFT_BYTE = 3,
    WEIR_THRIFT_DOUBLE = 4,
    WEIR_THRIFT_I16 = 6,
    WEIR_THRIFT_I32 = 8,
    WEIR_THRIFT_I64 = 10,
    WEIR_THRIFT_STRING = 11,
    WEIR_THRIFT_STRUCT = 12,
    WEIR_THRIFT_MAP = 13,
    WEIR_THRIFT_SET = 14,
    WEIR_THRIFT_LIST = 15,
};
enum { WEIR_THRIFT_DEPTH_MAX = 32 };

struct weir_thrift {
    const uint8_t *at, *end;
    const char *why; /* NULL: nothing is wrong; else what, and `at` is where */
};

static inline bool weir_thrift_fail(struct weir_thrift *in, const char *why) {
    if (in->why == NULL) in->why = why;
    return false;
}
static inline bool weir_thrift_has(struct weir_thrift *in, size_t size) {
    if (in->why != NULL) return false;
    return (size_t)(in->end - in->at) >= size || weir_thrift_fail(in, "ends in the middle");
}
static inline bool weir_thrift_u8(struct weir_thrift *in, uint8_t *value) {
    if (!weir_thrift_has(in, 1)) return false;
    *value = *in->at++;
    return true;
}
static inline bool weir_thrift_i16(struct weir_thrift *in, int16_t *value) {
    uint16_t bits;
    if (!weir_thrift_has(in, 2)) return false;
    memcpy(&bits, in->at, 2);
    *value = (int16_t)__builtin_bswap16(bits);
    in->at += 2;
    return true;
}
static inline bool weir_thrift_i32(struct weir_thrift *in, int32_t *value) {
    uint32_t bits;
    if (!weir_thrift_has(in, 4)) return false;
    memcpy(&bits, in->at, 4);
    *value = (int32_t)__builtin_bswap32(bits);
    in->at += 4;
    return true;
}
static inline bool weir_thrift_u64(struct weir_thrift *in, uint64_t *value) {
    uint64_t bits;
    if (!weir_thrift_has(in, 8)) return false;
    memcpy(&bits, in->at, 8);
    *value = __builtin_bswap64(bits);
    in->at += 8;
    return true;
}
static inline bool weir_thrift_string(struct weir_thrift *in, const uint8_t **bytes, uint32_t *size) {
    int32_t length;
    if (!weir_thrift_i32(in, &length)) return false;
    if (length < 0) return weir_thrift_fail(in, "a negative length");
    if (!weir_thrift_has(in, (size_t)length)) return false;
    *bytes = in->at;
    *size = (uint32_t)length;
    in->at += length;
    return true;
}
/* The next field of a struct; false at its STOP (why == NULL) or on broken bytes. */
static inline bool weir_thrift_field(struct weir_thrift *in, uint8_t *type, int16_t *number) {
    if (!weir_thrift_u8(in, type) || *type == WEIR_THRIFT_STOP) return false;
    return weir_thrift_i16(in, number);
}
/* The head of a list or set: its elements' type and how many there are, which is at most what bytes are left. */
static inline bool weir_thrift_list(struct weir_thrift *in, uint8_t *type, uint32_t *count) {
    int32_t length;
    if (!weir_thrift_u8(in, type) || !weir_thrift_i32(in, &length)) return false;
    if (length < 0) return weir_thrift_fail(in, "a negative length");
    if (length > in->end - in->at) return weir_thrift_fail(in, "a list longer than its message");
    *count = (uint32_t)length;
    return true;
}
/* A value of this type, whole. */
bool weir_thrift_skip(struct weir_thrift *in, uint8_t type);
#endif
