#include "exporters/json.h"

#include <math.h>

/* Size of the well-formed sequence at bytes[0], or 0. Source: Unicode 15, table 3-7. */
static size_t utf8_size(const uint8_t *bytes, size_t left) {
    uint8_t a = bytes[0];
    if (a < 0xc2 || a > 0xf4 || left < 2 || (bytes[1] & 0xc0) != 0x80) return 0;
    if (a < 0xe0) return 2;
    if (left < 3 || (bytes[2] & 0xc0) != 0x80) return 0;
    if (a == 0xe0 && bytes[1] < 0xa0) return 0; /* over-long */
    if (a == 0xed && bytes[1] > 0x9f) return 0; /* surrogate */
    if (a < 0xf0) return 3;
    if (left < 4 || (bytes[3] & 0xc0) != 0x80) return 0;
    if (a == 0xf0 && bytes[1] < 0x90) return 0; /* over-long */
    if (a == 0xf4 && bytes[1] > 0x8f) return 0; /* above U+10FFFF */
    return 4;
}

static uint8_t *escape_one(uint8_t *out, uint8_t c) {
    static const char digits[] = "0123456789abcdef";
    *out++ = '\\';
    switch (c) {
    case '"': *out++ = '"'; return out;
    case '\\': *out++ = '\\'; return out;
    case '\n': *out++ = 'n'; return out;
    case '\r': *out++ = 'r'; return out;
    case '\t': *out++ = 't'; return out;
    default: break;
    }
    memcpy(out, "u00", 3);
    out[3] = (uint8_t)digits[c >> 4];
    out[4] = (uint8_t)digits[c & 15];
    return out + 5;
}

uint8_t *weir_json_escape_slow(uint8_t *out, const uint8_t *bytes, size_t size) {
    size_t i = 0;
    while (i < size) {
        uint64_t word;
        if (size - i >= 8) {
            memcpy(&word, bytes + i, 8);
            if (weir_json_special(word) == 0) {
                memcpy(out, &word, 8);
                out += 8;
                i += 8;
                continue;
            }
        }
        uint8_t c = bytes[i];
        if (c >= 0x80) {
            size_t n = utf8_size(bytes + i, size - i);
            memcpy(out, n > 0 ? bytes + i : (const uint8_t *)"\xef\xbf\xbd", n > 0 ? n : 3);
            out += n > 0 ? n : 3;
            i += n > 0 ? n : 1;
            continue;
        }
        if (c < 0x20 || c == '"' || c == '\\') {
            out = escape_one(out, c);
        } else {
            *out++ = c;
        }
        i++;
    }
    return out;
}

uint8_t *weir_json_write_u64(uint8_t *out, uint64_t value) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
        "555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    uint8_t digits[WEIR_JSON_NUMBER_BYTES];
    size_t at = sizeof digits;
    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * value, 2);
    } else {
        digits[--at] = (uint8_t)('0' + value);
    }
    memcpy(out, digits + at, sizeof digits - at);
    return out + (sizeof digits - at);
}

uint8_t *weir_json_write_i64(uint8_t *out, int64_t value) {
    if (value >= 0) return weir_json_write_u64(out, (uint64_t)value);
    *out = '-';
    return weir_json_write_u64(out + 1, 0 - (uint64_t)value);
}

void weir_json_put_string(struct weir_buffer *out, const uint8_t *bytes, size_t size) {
    weir_buffer_byte(out, '"');
    while (size > 0 && !out->failed) {
        size_t part = size; /* in parts, so that a large value does not ask for six times its size at once */
        if (part > 4096) {
            part = 4096;
            while (part > 4093 && (bytes[part] & 0xc0) == 0x80)
                part--; /* not inside a character */
        }
        if (!weir_buffer_room(out, WEIR_JSON_GROWTH * part)) return;
        out->size = (size_t)(weir_json_escape(out->bytes + out->size, bytes, part) - out->bytes);
        bytes += part;
        size -= part;
    }
    weir_buffer_byte(out, '"');
}

void weir_json_put_base64(struct weir_buffer *out, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!weir_buffer_room(out, (size + 2) / 3 * 4 + 2)) return;
    uint8_t *at = out->bytes + out->size;
    *at++ = '"';
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0u);
        *at++ = (uint8_t)digits[word >> 18];
        *at++ = (uint8_t)digits[word >> 12 & 63];
        *at++ = left > 1 ? (uint8_t)digits[word >> 6 & 63] : '=';
        *at++ = left > 2 ? (uint8_t)digits[word & 63] : '=';
    }
    *at++ = '"';
    out->size = (size_t)(at - out->bytes);
}

void weir_json_put_double(struct weir_buffer *out, double value) {
    if (isnan(value)) {
        weir_buffer_text(out, "\"NaN\"");
    } else if (isinf(value)) {
        weir_buffer_text(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else {
        weir_buffer_double(out, value);
    }
}

void weir_json_put_i64(struct weir_buffer *out, int64_t value) {
    if (!weir_buffer_room(out, WEIR_JSON_NUMBER_BYTES)) return;
    out->size = (size_t)(weir_json_write_i64(out->bytes + out->size, value) - out->bytes);
}
