/* cards.h - numbers of payment cards in text: 13 to 19 digits that pass Luhn's test (ISO/IEC 7812-1, annex B), in one
 * group or in several with one space or dash between them. A longer row of digits is no card number, and a text that is
 * a UUID has none. One in ten other numbers of that length passes too: Luhn is all that tells them apart. */
#ifndef WEIR_ATTRIBUTES_CARDS_H
#define WEIR_ATTRIBUTES_CARDS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_CARD_DIGITS_MIN = 13, WEIR_CARD_DIGITS_MAX = 19 };

extern const uint8_t weir_card_part[256]; /* 1: a digit, a space or a dash */
bool weir_cards_find_from(const uint8_t *text, size_t size,
                          size_t at); /* with text[at] in a row that may be long enough */

/* Is there one? Costs a look at each thirteenth byte where no digits stand: a row of 13 or more has one of them in it,
 * and the sixth before it or behind it as well. */
static inline bool weir_cards_find(const uint8_t *text, size_t size) {
    for (size_t at = WEIR_CARD_DIGITS_MIN - 1; at < size; at += WEIR_CARD_DIGITS_MIN) {
        if (weir_card_part[text[at]] &&
            (weir_card_part[text[at - 6]] || (at + 6 < size && weir_card_part[text[at + 6]])))
            return weir_cards_find_from(text, size, at);
    }
    return false;
}
/* Overwrites the digits of each with `*`, but for the last four. Returns how many there were. */
uint32_t weir_cards_mask(uint8_t *text, size_t size);
/* Luhn's test of a decimal number of 13 to 19 digits. */
bool weir_cards_number(uint64_t number);
#endif
