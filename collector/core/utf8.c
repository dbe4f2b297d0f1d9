#include "collector/core/utf8.h"

#include <string.h>

/* How many bytes the well-formed sequence at `p` has; 0 when it is ill-formed, and then *bad says how many bytes
 * one replacement stands for (the maximal subpart, Unicode 15 section 3.9). */
static size_t sequence(const uint8_t *p, size_t left, size_t *bad) {
    uint8_t c = p[0];
    uint8_t low = 0x80, high = 0xbf;
    size_t need;
    *bad = 1;
    if (c < 0x80) return 1;
    if (c >= 0xc2 && c <= 0xdf) {
        need = 2;
    } else if (c >= 0xe0 && c <= 0xef) {
        need = 3;
        if (c == 0xe0) low = 0xa0;
        if (c == 0xed) high = 0x9f;
    } else if (c >= 0xf0 && c <= 0xf4) {
        need = 4;
        if (c == 0xf0) low = 0x90;
        if (c == 0xf4) high = 0x8f;
    } else {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return need;
}

bool weir_utf8_valid(const uint8_t *bytes, size_t size) {
    size_t i = 0, bad;
    while (i < size) {
        while (size - i >= 8) {
            uint64_t word;
            memcpy(&word, bytes + i, 8);
            if (word & 0x8080808080808080ull) break;
            i += 8;
        }
        if (i == size) break;
        size_t n = sequence(bytes + i, size - i, &bad);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t weir_utf8_repair(const uint8_t *bytes, size_t size, uint8_t *out) {
    size_t wrote = 0, bad;
    for (size_t i = 0; i < size;) {
        size_t n = sequence(bytes + i, size - i, &bad);
        if (n > 0) {
            memcpy(out + wrote, bytes + i, n);
            wrote += n;
            i += n;
        } else {
            memcpy(out + wrote, "\xef\xbf\xbd", 3);
            wrote += 3;
            i += bad;
        }
    }
    return wrote;
}
