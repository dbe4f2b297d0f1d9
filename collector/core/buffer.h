/* buffer.h - bytes that grow up to a bound. The first failure (memory, bound) sticks: check `failed` once at the end.
 */
#ifndef WEIR_CORE_BUFFER_H
#define WEIR_CORE_BUFFER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_buffer {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    size_t limit; /* 0 = none */
    bool failed;
};

/* Room for `bytes` more; false (and failed) when there is none. */
bool weir_buffer_room(struct weir_buffer *buffer, size_t bytes);
void weir_buffer_put(struct weir_buffer *buffer, const void *bytes, size_t size);
void weir_buffer_text(struct weir_buffer *buffer, const char *text);
void weir_buffer_byte(struct weir_buffer *buffer, uint8_t byte);
void weir_buffer_u64(struct weir_buffer *buffer, uint64_t value); /* decimal */
/* Shortest decimal that reads back as the same double; NaN, +Inf, -Inf as Prometheus writes them. */
void weir_buffer_double(struct weir_buffer *buffer, double value);
void weir_buffer_printf(struct weir_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void weir_buffer_clear(struct weir_buffer *buffer); /* keeps the memory */
void weir_buffer_free(struct weir_buffer *buffer);
#endif
