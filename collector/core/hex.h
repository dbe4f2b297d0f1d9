/* hex.h - ids as lower-case hex, both ways. */
#ifndef WEIR_CORE_HEX_H
#define WEIR_CORE_HEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * size characters, no NUL. */
void weir_hex_encode(const uint8_t *bytes, size_t size, char *out);
/* 16 characters, no NUL: the number most significant digit first. */
void weir_hex_u64(uint64_t value, char out[16]);
/* size must be even; upper and lower case are read. False: a character is not hex, `out` is undefined. */
bool weir_hex_decode(const char *text, size_t size, uint8_t *out);
#endif
