#include "collector/core/hex.h"

static const char digits[] = "0123456789abcdef";

void weir_hex_encode(const uint8_t *bytes, size_t size, char *out) {
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void weir_hex_u64(uint64_t value, char out[16]) {
    for (int i = 15; i >= 0; i--) {
        out[i] = digits[value & 15];
        value >>= 4;
    }
}

static int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool weir_hex_decode(const char *text, size_t size, uint8_t *out) {
    if (size % 2 != 0) return false;
    for (size_t i = 0; i < size; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0) return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}
