#include "collector/decode/thrift.h"

static bool skip(struct weir_thrift *in, uint8_t type, unsigned depth);

static bool skip_bytes(struct weir_thrift *in, size_t size) {
    if (!weir_thrift_has(in, size)) return false;
    in->at += size;
    return true;
}

/* Each element takes a byte at least, so a count is bounded by what is left. */
static bool skip_list(struct weir_thrift *in, unsigned depth) {
    uint8_t type;
    uint32_t count = 0;
    if (!weir_thrift_list(in, &type, &count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!skip(in, type, depth + 1)) return false;
    }
    return true;
}

static bool skip_map(struct weir_thrift *in, unsigned depth) {
    uint8_t key, value;
    int32_t count;
    if (!weir_thrift_u8(in, &key) || !weir_thrift_u8(in, &value) || !weir_thrift_i32(in, &count)) return false;
    if (count < 0) return weir_thrift_fail(in, "a negative length");
    for (int32_t i = 0; i < count; i++) {
        if (!skip(in, key, depth + 1) || !skip(in, value, depth + 1)) return false;
    }
    return true;
}

static bool skip_struct(struct weir_thrift *in, unsigned depth) {
    uint8_t type;
    int16_t number;
    while (weir_thrift_field(in, &type, &number)) {
        if (!skip(in, type, depth + 1)) return false;
    }
    return in->why == NULL;
}

static bool skip(struct weir_thrift *in, uint8_t type, unsigned depth) {
    const uint8_t *bytes;
    uint32_t size;
    if (depth > WEIR_THRIFT_DEPTH_MAX) return weir_thrift_fail(in, "nested too deep");
    switch (type) {
    case WEIR_THRIFT_BOOL:
    case WEIR_THRIFT_BYTE: return skip_bytes(in, 1);
    case WEIR_THRIFT_I16: return skip_bytes(in, 2);
    case WEIR_THRIFT_I32: return skip_bytes(in, 4);
    case WEIR_THRIFT_I64:
    case WEIR_THRIFT_DOUBLE: return skip_bytes(in, 8);
    case WEIR_THRIFT_STRING: return weir_thrift_string(in, &bytes, &size);
    case WEIR_THRIFT_STRUCT: return skip_struct(in, depth);
    case WEIR_THRIFT_MAP: return skip_map(in, depth);
    case WEIR_THRIFT_SET:
    case WEIR_THRIFT_LIST: return skip_list(in, depth);
    default: return weir_thrift_fail(in, "an unknown type");
    }
}

bool weir_thrift_skip(struct weir_thrift *in, uint8_t type) {
    return skip(in, type, 0);
}
