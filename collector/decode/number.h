/* number.h - decimal numbers as senders of metrics write them. */
#ifndef WEIR_DECODE_NUMBER_H
#define WEIR_DECODE_NUMBER_H
#include <stdint.h>

/* Reads [+-]digits[.digits][e[+-]digits] at `at`, correctly rounded, whatever the locale. Returns the first byte behind
 * it, or NULL: not a number, not a finite one, or longer than 400 digits. No hexadecimals, no inf, no nan, no spaces.
 */
const uint8_t *weir_number_read(const uint8_t *at, const uint8_t *end, double *value);
#endif
