/* utf8.h - protobuf `string` must be UTF-8, and Zipkin and Prometheus refuse what is not. */
#ifndef WEIR_CORE_UTF8_H
#define WEIR_CORE_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Well-formed by Unicode 15 table 3-7 (no surrogates, no over-long forms). ASCII is checked eight bytes at a time. */
bool weir_utf8_valid(const uint8_t *bytes, size_t size);
/* Writes `bytes` with each ill-formed maximal part replaced by U+FFFD. `out` has room for 3 * size. Returns the size
 * written. */
size_t weir_utf8_repair(const uint8_t *bytes, size_t size, uint8_t *out);
#endif
