/* cards.h - numbers of payment cards in text: 13 to 19 digits that pass Luhn's test (ISO/IEC 7812-1, annex B), in one
 * group or in several with one space or dash between them. A longer row of digits is no card number, and a text that is
 * a UUID has none. One in ten other numbers of that length passes too: Luhn is all that tells them apart. */
#ifndef WEIR_ATTRIBUTES_CARDS_H
#define WEIR_ATTRIBUTES_CARDS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { WEIR_CARD_DIGITS_MIN = 13, WEIR_CARD_DIGITS_MAX = 19 };

extern const uint8_t weir_card_part[256]; /* 1: a digit, a space or a dash */
bool weir_cards_find_from(const uint8_t *text, size_t size,
                          size_t at); /* with text[at] in a row that may be long enough */

/* Do all six bytes before `at`, or all six behind it, belong to a row? */
static inline bool weir_card_row(const uint8_t *text, size_t size, size_t at) {
    const uint8_t *part = weir_card_part, *to = text + at;
    if (part[to[-1]] && part[to[-2]] && part[to[-3]] && part[to[-4]] && part[to[-5]] && part[to[-6]]) return true;
    return at + 6 < size && part[to[1]] && part[to[2]] && part[to[3]] && part[to[4]] && part[to[5]] && part[to[6]];
}

#ifdef __SSE2__
/* A bit for each of 16 bytes from the space to `?`: digits, spaces and dashes are, and no letter is. Whether a byte is
 * just one of the three takes three times as long. */
static inline uint64_t weir_card_bits(const uint8_t *text) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i high = _mm_and_si128(bytes, _mm_set1_epi8((char)0xe0));
    return (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, _mm_set1_epi8(0x20)));
}
#endif

/* Looks at each thirteenth byte: a row of 13 or more has one of them in it, with six more before it or behind it. */
static inline bool weir_cards_find_far(const uint8_t *text, size_t size) {
    for (size_t at = WEIR_CARD_DIGITS_MIN - 1; at < size; at += WEIR_CARD_DIGITS_MIN) {
        if (weir_card_part[text[at]] && weir_card_row(text, size, at)) return weir_cards_find_from(text, size, at);
    }
    return false;
}

/* Is there one? Most texts are told by their rows alone, where 16 bytes are seen at once: without a branch, since what
 * is digits and what letters cannot be foreseen. */
static inline bool weir_cards_find(const uint8_t *text, size_t size) {
#ifdef __SSE2__
    if (size >= 16 && size <= 64) {
        uint64_t row = 0;
        size_t at = 0;
        for (; at + 16 <= size; at += 16)
            row |= weir_card_bits(text + at) << at;
        if (at < size) row |= weir_card_bits(text + size - 16) << (size - 16);
        row &= row >> 1; /* rows of 2, 4, 8, 13 and more */
        row &= row >> 2;
        row &= row >> 4;
        row &= row >> 5;
        if (row == 0) return false;
    }
#endif
    return weir_cards_find_far(text, size);
}

/* The same of a key, which seldom has a digit where one is looked for. */
static inline bool weir_cards_find_key(const uint8_t *key, size_t size) {
    for (size_t at = WEIR_CARD_DIGITS_MIN - 1; at < size; at += WEIR_CARD_DIGITS_MIN) {
        if (weir_card_part[key[at]]) return weir_cards_find_from(key, size, at);
    }
    return false;
}

/* Overwrites the digits of each with `*`, but for the last four. Returns how many there were. */
uint32_t weir_cards_mask(uint8_t *text, size_t size);
/* Luhn's test of a decimal number of 13 to 19 digits. */
bool weir_cards_number(uint64_t number);
#endif
