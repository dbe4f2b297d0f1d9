#include "collector/core/buffer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool weir_buffer_room(struct weir_buffer *buffer, size_t bytes) {
    if (buffer->failed) return false;
    if (bytes <= buffer->capacity - buffer->size) return true;
    size_t want = buffer->size + bytes;
    if (want < bytes || (buffer->limit != 0 && want > buffer->limit)) {
        buffer->failed = true;
        return false;
    }
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    while (capacity < want)
        capacity *= 2;
    if (buffer->limit != 0 && capacity > buffer->limit) capacity = buffer->limit;
    uint8_t *grown = realloc(buffer->bytes, capacity);
    if (grown == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return true;
}

void weir_buffer_put(struct weir_buffer *buffer, const void *bytes, size_t size) {
    if (size == 0 || !weir_buffer_room(buffer, size)) return;
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

void weir_buffer_text(struct weir_buffer *buffer, const char *text) {
    weir_buffer_put(buffer, text, strlen(text));
}

void weir_buffer_byte(struct weir_buffer *buffer, uint8_t byte) {
    if (!weir_buffer_room(buffer, 1)) return;
    buffer->bytes[buffer->size++] = byte;
}

void weir_buffer_u64(struct weir_buffer *buffer, uint64_t value) {
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    weir_buffer_put(buffer, digits + n, sizeof digits - n);
}

void weir_buffer_double(struct weir_buffer *buffer, double value) {
    if (isnan(value)) {
        weir_buffer_text(buffer, "NaN");
    } else if (isinf(value)) {
        weir_buffer_text(buffer, value > 0 ? "+Inf" : "-Inf");
    } else if (value >= 0 && value < 9007199254740992.0 && value == (double)(uint64_t)value) {
        weir_buffer_u64(buffer, (uint64_t)value); /* most counters */
    } else {
        char text[32];
        int n = 0;
        for (int digits = 15; digits <= 17; digits++) {
            n = snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value) break;
        }
        weir_buffer_put(buffer, text, (size_t)n);
    }
}

void weir_buffer_printf(struct weir_buffer *buffer, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && weir_buffer_room(buffer, (size_t)n + 1)) {
        vsnprintf((char *)buffer->bytes + buffer->size, (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    }
    va_end(again);
}

void weir_buffer_clear(struct weir_buffer *buffer) {
    buffer->size = 0;
    buffer->failed = false;
}

void weir_buffer_free(struct weir_buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct weir_buffer){.limit = buffer->limit};
}
