#include "collector/decode/number.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIGITS_MAX = 400, MANTISSA_DIGITS = 19 /* 10^19 - 1 fits into 64 bits */ };

/* The powers of ten that a double holds exactly. */
static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Digits without their point and with the exponent moved by it: so strtod meets no radix character, which is what the
 * locale could change. */
static bool read_slowly(const uint8_t *at, const uint8_t *end, bool negative, int exponent, double *value) {
    char copy[DIGITS_MAX + 16];
    int size = 0;
    if (negative) copy[size++] = '-';
    for (; at < end; at++) {
        if (*at == '.') continue;
        if (size == DIGITS_MAX) return false;
        copy[size++] = (char)*at;
    }
    snprintf(copy + size, sizeof copy - (size_t)size, "e%d", exponent);
    *value = strtod(copy, NULL);
    return isfinite(*value);
}

static const uint8_t *read_exponent(const uint8_t *at, const uint8_t *end, int *exponent) {
    bool negative = false;
    if (at < end && (*at == '+' || *at == '-')) negative = *at++ == '-';
    if (at == end || (unsigned)(*at - '0') > 9) return NULL;
    int value = 0;
    for (; at < end && (unsigned)(*at - '0') <= 9; at++) {
        if (value < 100000) value = value * 10 + (*at - '0');
    }
    *exponent = negative ? -value : value;
    return at;
}

const uint8_t *weir_number_read(const uint8_t *at, const uint8_t *end, double *value) {
    bool negative = false;
    if (at < end && (*at == '-' || *at == '+')) negative = *at++ == '-';

    const uint8_t *first = at;
    uint64_t mantissa = 0;
    unsigned digit;
    while (at < end && (digit = (unsigned)(*at - '0')) <= 9) {
        mantissa = mantissa * 10 + digit;
        at++;
    }
    int64_t digits = at - first, fraction = 0;
    if (at < end && *at == '.') {
        const uint8_t *point = at++;
        while (at < end && (digit = (unsigned)(*at - '0')) <= 9) {
            mantissa = mantissa * 10 + digit;
            at++;
        }
        fraction = at - point - 1;
        digits += fraction;
    }
    if (digits == 0 || digits > DIGITS_MAX) return NULL;

    const uint8_t *last = at;
    int exponent = 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at = read_exponent(at + 1, end, &exponent);
        if (at == NULL) return NULL;
    }
    exponent -= (int)fraction;

    /* Both operands exact, so one rounding (Clinger, "How to read floating point numbers accurately", 1990). With more
     * digits the mantissa has wrapped and means nothing. */
    if (digits <= MANTISSA_DIGITS && mantissa <= 1ull << 53 && exponent >= -22 && exponent <= 22) {
        double exact = (double)mantissa;
        exact = exponent < 0 ? exact / tens[-exponent] : exact * tens[exponent];
        *value = negative ? -exact : exact;
        return at;
    }
    return read_slowly(first, last, negative, exponent, value) ? at : NULL;
}
