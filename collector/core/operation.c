#include "collector/core/operation.h"

#include <stdbool.h>
#include <string.h>

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}
static bool is_hex(uint8_t c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_uuid(const uint8_t *s, size_t size) {
    if (size != 36) return false;
    for (size_t i = 0; i < size; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !is_hex(s[i])) return false;
    }
    return true;
}

static bool is_id(const uint8_t *s, size_t size) {
    if (size == 0) return false;
    size_t digits = 0, hex = 0, joints = 0;
    for (size_t i = 0; i < size; i++) {
        digits += is_digit(s[i]);
        hex += is_hex(s[i]);
        joints += s[i] == '-' || s[i] == '_' || s[i] == '.';
    }
    if (digits == 0) return false;
    return digits + joints == size || (hex == size && size >= 16) || is_uuid(s, size);
}

size_t weir_operation_template(const uint8_t *name, size_t size, char *out, size_t out_size) {
    size_t wrote = 0, at = 0;
    if (size == 0) return 0;
    const uint8_t *slash = memchr(name, '/', size);
    if (slash == NULL) { /* not a path */
        wrote = size < out_size ? size : out_size;
        memcpy(out, name, wrote);
        return wrote;
    }
    while (at < size) {
        size_t end = at;
        while (end < size && name[end] != '/' && name[end] != ' ' && name[end] != '?' && name[end] != '#')
            end++;
        const uint8_t *segment = name + at;
        size_t length = end - at;
        bool behind_slash = at > 0 && name[at - 1] == '/';
        if (behind_slash && is_id(segment, length)) {
            segment = (const uint8_t *)"{id}";
            length = 4;
        }
        if (length > out_size - wrote) length = out_size - wrote;
        memcpy(out + wrote, segment, length);
        wrote += length;
        if (end == size) break;
        if (name[end] == '?' || name[end] == '#') {
            if (name + end > slash) break; /* a query or a fragment: never part of a name */
        }
        if (wrote < out_size) out[wrote++] = (char)name[end];
        at = end + 1;
    }
    return wrote;
}
