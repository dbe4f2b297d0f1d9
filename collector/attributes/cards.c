#include "collector/attributes/cards.h"

#include <string.h>

enum { ROUNDS_MAX = 4 /* over a row whose numbers leave numbers */ };

static inline bool is_digit(uint8_t c) {
    return (uint8_t)(c - '0') <= 9;
}
const uint8_t weir_card_part[256] = {[' '] = 1, ['-'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,
                                     ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1};
static inline bool is_part(uint8_t c) {
    return weir_card_part[c] != 0;
}

/* Luhn's sum while digits come: every other digit is doubled, counted from the last, which is not known before. So both
 * sums are kept, and change places with each digit. */
struct luhn {
    unsigned sum, other; /* the last digit is taken once; is doubled */
};

static inline void luhn_add(struct luhn *luhn, unsigned digit) {
    unsigned twice = 2 * digit, sum = luhn->other + digit;
    luhn->other = luhn->sum + (twice > 9 ? twice - 9 : twice);
    luhn->sum = sum;
}

bool weir_cards_number(uint64_t number) {
    uint8_t digits[20];
    unsigned count = 0;
    struct luhn luhn = {0};
    for (; number > 0; number /= 10)
        digits[count++] = (uint8_t)(number % 10);
    for (unsigned i = count; i-- > 0;)
        luhn_add(&luhn, digits[i]);
    return count >= WEIR_CARD_DIGITS_MIN && count <= WEIR_CARD_DIGITS_MAX && luhn.sum % 10 == 0;
}

enum { MARK = 0x80 /* of a digit that is to be masked and is still read: cards may overlap */ };

static inline unsigned digit_at(const uint8_t *at) {
    return (unsigned)(*at & (MARK - 1)) - '0';
}

/* The longest card number that begins with the group of digits at `at`: whole groups, one separator between. Its end,
 * or NULL. */
static const uint8_t *card_end(const uint8_t *at, const uint8_t *end, unsigned *digits) {
    const uint8_t *found = NULL;
    struct luhn luhn = {0};
    unsigned count = 0;
    for (; at < end; at++) {
        unsigned digit = digit_at(at);
        bool group_ends = at + 1 == end || digit_at(at + 1) > 9;
        if (digit <= 9) {
            if (++count > WEIR_CARD_DIGITS_MAX) break;
            luhn_add(&luhn, digit);
            if (group_ends && count >= WEIR_CARD_DIGITS_MIN && luhn.sum % 10 == 0) {
                found = at + 1;
                *digits = count;
            }
        } else if (!is_part(*at) || group_ends) {
            break;
        }
    }
    return found;
}

/* The first card number of a row that begins in [at, end), where `row` is its first byte. */
static const uint8_t *next_card(const uint8_t *row, const uint8_t *at, const uint8_t *end, const uint8_t **card,
                                unsigned *digits) {
    for (; at < end; at++) {
        if (digit_at(at) > 9 || (at > row && digit_at(at - 1) <= 9)) continue;
        const uint8_t *stop = card_end(at, end, digits);
        if (stop == NULL) continue;
        *card = at;
        return stop;
    }
    return NULL;
}

static uint32_t mask_once(uint8_t *row, uint8_t *end) {
    uint32_t found = 0;
    unsigned digits = 0;
    const uint8_t *card = row, *stop;
    for (const uint8_t *at = row; (stop = next_card(row, at, end, &card, &digits)) != NULL; at = card + 1, found++) {
        unsigned seen = 0;
        for (uint8_t *to = row + (card - row); to < stop; to++) {
            if (digit_at(to) <= 9 && ++seen + 4 <= digits) *to |= MARK;
        }
    }
    for (uint8_t *to = row; found > 0 && to < end; to++) {
        if ((*to & MARK) != 0) *to = '*';
    }
    return found;
}

/* What is left of one may make another with what stands behind it; where that does not end soon, no digit is left. */
static uint32_t mask_row(uint8_t *row, uint8_t *end) {
    uint32_t found = 0, more;
    for (int rounds = 0; (more = mask_once(row, end)) > 0; rounds++) {
        found += more;
        if (rounds < ROUNDS_MAX) continue;
        for (; row < end; row++) {
            if (is_digit(*row)) *row = '*';
        }
    }
    return found;
}

/* A whole UUID is nobody's card, even where its digits would pass: request ids stay what they are. */
static bool is_uuid(const uint8_t *text, size_t size) {
    if (size != 36) return false;
    for (size_t i = 0; i < size; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        uint8_t c = text[i], letter = (uint8_t)((c | 0x20) - 'a');
        if (dash ? c != '-' : !is_digit(c) && letter > 5) return false;
    }
    return true;
}

/* A row of 13 or more has one of every thirteenth byte in it. */
static uint32_t scan(const uint8_t *text, size_t size, size_t at, uint8_t *out) {
    uint32_t found = 0;
    while (at < size) {
        if (!is_part(text[at])) {
            at += WEIR_CARD_DIGITS_MIN;
            continue;
        }
        size_t begin = at, end = at + 1;
        while (begin > 0 && is_part(text[begin - 1]))
            begin--;
        while (end < size && is_part(text[end]))
            end++;
        if (end - begin >= WEIR_CARD_DIGITS_MIN) {
            const uint8_t *card;
            unsigned digits;
            if (is_uuid(text, size)) return 0;
            if (out == NULL && next_card(text + begin, text + begin, text + end, &card, &digits) != NULL) return 1;
            if (out != NULL) found += mask_row(out + begin, out + end);
        }
        at = end + WEIR_CARD_DIGITS_MIN;
    }
    return found;
}

bool weir_cards_find_from(const uint8_t *text, size_t size, size_t at) {
    return scan(text, size, at, NULL) > 0;
}

uint32_t weir_cards_mask(uint8_t *text, size_t size) {
    return scan(text, size, WEIR_CARD_DIGITS_MIN - 1, text);
}
