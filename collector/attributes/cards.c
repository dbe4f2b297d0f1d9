#include "collector/attributes/cards.h"

#include <string.h>

enum { GROUPS_MAX = 32 /* of digits in one row; what stands behind is looked at as a row of its own */ };

static inline bool is_digit(uint8_t c) {
    return (uint8_t)(c - '0') <= 9;
}
const uint8_t weir_card_part[256] = {[' '] = 1, ['-'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,
                                     ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1};
static inline bool is_part(uint8_t c) {
    return weir_card_part[c] != 0;
}

static bool passes(const uint8_t *digits, unsigned count) {
    unsigned sum = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned digit = digits[count - 1 - i], twice = 2 * digit;
        sum += i % 2 == 0 ? digit : twice > 9 ? twice - 9 : twice;
    }
    return sum % 10 == 0;
}

bool weir_cards_number(uint64_t number) {
    uint8_t digits[20];
    unsigned count = 0;
    for (; number > 0; number /= 10)
        digits[19 - count++] = (uint8_t)(number % 10);
    return count >= WEIR_CARD_DIGITS_MIN && count <= WEIR_CARD_DIGITS_MAX && passes(digits + 20 - count, count);
}

static void mask(uint8_t *at, const uint8_t *end, unsigned digits) {
    for (unsigned seen = 0; at < end; at++) {
        if (is_digit(*at) && ++seen + 4 <= digits) *at = '*';
    }
}

/* One row [at, end) of digits, spaces and dashes. Looks for groups, one behind the other with a single separator, that
 * are a card number together: the longest from each group on. Masks them when `out` says where the text may be written.
 * Returns how many, at most one when it may not. */
static uint32_t look(const uint8_t *at, const uint8_t *end, uint8_t *out, const uint8_t *text, const uint8_t **next) {
    const uint8_t *starts[GROUPS_MAX], *ends[GROUPS_MAX];
    unsigned groups = 0;
    uint32_t found = 0;
    while (at < end && groups < GROUPS_MAX) {
        while (at < end && !is_digit(*at))
            at++;
        if (at == end) break;
        starts[groups] = at;
        while (at < end && is_digit(*at))
            at++;
        ends[groups++] = at;
    }
    *next = at;
    for (unsigned first = 0; first < groups; first++) {
        uint8_t digits[WEIR_CARD_DIGITS_MAX];
        unsigned count = 0, last_of_card = 0, digits_of_card = 0;
        for (unsigned last = first; last < groups; last++) {
            if (last > first && starts[last] - ends[last - 1] != 1) break;
            size_t size = (size_t)(ends[last] - starts[last]);
            if (count + size > WEIR_CARD_DIGITS_MAX) break;
            for (size_t i = 0; i < size; i++)
                digits[count++] = (uint8_t)(starts[last][i] - '0');
            if (count >= WEIR_CARD_DIGITS_MIN && passes(digits, count)) {
                last_of_card = last;
                digits_of_card = count;
            }
        }
        if (digits_of_card == 0) continue;
        found++;
        if (out == NULL) return found;
        mask(out + (starts[first] - text), ends[last_of_card], digits_of_card);
        first = last_of_card;
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
        const uint8_t *next = text + end;
        if (end - begin >= WEIR_CARD_DIGITS_MIN) {
            if (is_uuid(text, size)) return 0;
            found += look(text + begin, text + end, out, text, &next);
            if (found > 0 && out == NULL) return found;
        }
        at = (size_t)(next - text) + WEIR_CARD_DIGITS_MIN - 1;
    }
    return found;
}

bool weir_cards_find_from(const uint8_t *text, size_t size, size_t at) {
    return scan(text, size, at, NULL) > 0;
}

uint32_t weir_cards_mask(uint8_t *text, size_t size) {
    return scan(text, size, WEIR_CARD_DIGITS_MIN - 1, text);
}
