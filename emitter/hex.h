/* hex.h - ids in lower-case hex, as W3C Trace Context and B3 write them, sixteen digits at once: in one register where
 * the machine has SSE2, as every x86-64 has, else in two words. Both are tested against each other. */
#ifndef WEIR_EMITTER_HEX_H
#define WEIR_EMITTER_HEX_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- in words: each digit has a byte ---- */

#define HEX_EACH(byte) ((byte)*UINT64_C(0x0101010101010101))

static inline uint64_t hex_word(uint32_t four_bytes) {
    uint64_t x = __builtin_bswap32(four_bytes);
    x = (x << 16 | x) & 0x0000ffff0000ffff;
    x = (x << 8 | x) & 0x00ff00ff00ff00ff;
    x = (x << 4 | x) & HEX_EACH(0x0f);
    uint64_t letters = (x + HEX_EACH(6)) >> 4 & HEX_EACH(1);
    return __builtin_bswap64(x + HEX_EACH('0') + letters * ('a' - '0' - 10));
}
static inline void hex_put_words(void *out, const uint8_t bytes[8]) {
    for (unsigned i = 0; i < 2; i++) {
        uint32_t four;
        memcpy(&four, bytes + 4 * i, sizeof four);
        uint64_t digits = hex_word(four);
        memcpy((char *)out + 8 * i, &digits, sizeof digits);
    }
}

/* The highest bit of each byte: is it `from` or more? Of bytes below 0x80. */
static inline uint64_t hex_reaches(uint64_t x, uint8_t from) {
    return ((x | HEX_EACH(0x80)) - HEX_EACH(from)) & HEX_EACH(0x80);
}
static inline bool hex_read_word(const char *text, uint8_t out[4]) {
    uint64_t x;
    memcpy(&x, text, sizeof x);
    uint64_t numbers = hex_reaches(x, '0') & ~hex_reaches(x, '9' + 1);
    uint64_t letters = hex_reaches(x, 'a') & ~hex_reaches(x, 'f' + 1);
    bool sound = (x & HEX_EACH(0x80)) == 0 && (numbers | letters) == HEX_EACH(0x80);
    x = (x & HEX_EACH(0x0f)) + (letters >> 7) * 9;
    x = (x << 4 | x >> 8) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    uint32_t four = (uint32_t)(x | x >> 16);
    memcpy(out, &four, sizeof four);
    return sound;
}
static inline bool hex_read_words(const char *text, uint8_t out[8]) {
    bool first = hex_read_word(text, out), second = hex_read_word(text + 8, out + 4);
    return first && second;
}

/* ---- in a register ---- */

#ifdef __SSE2__
static inline void hex_put(void *out, const uint8_t bytes[8]) {
    const __m128i low = _mm_set1_epi8(0x0f);
    __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)bytes);
    x = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(x, 4), low), _mm_and_si128(x, low));
    __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
    _mm_storeu_si128((__m128i *)out, _mm_add_epi8(_mm_add_epi8(x, _mm_set1_epi8('0')), letters));
}
/* False: there is another character among the sixteen; out is written all the same. */
static inline bool hex_read(const char *text, uint8_t out[8]) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i number = _mm_sub_epi8(x, _mm_set1_epi8('0')), letter = _mm_sub_epi8(x, _mm_set1_epi8('a'));
    __m128i numbers = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
    __m128i letters = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
    x = _mm_or_si128(_mm_and_si128(numbers, number), _mm_and_si128(letters, _mm_add_epi8(letter, _mm_set1_epi8(10))));
    x = _mm_and_si128(_mm_or_si128(_mm_slli_epi16(x, 4), _mm_srli_epi16(x, 8)), _mm_set1_epi16(0x00ff));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(x, x));
    return _mm_movemask_epi8(_mm_or_si128(numbers, letters)) == 0xffff;
}
#else
static inline void hex_put(void *out, const uint8_t bytes[8]) {
    hex_put_words(out, bytes);
}
static inline bool hex_read(const char *text, uint8_t out[8]) {
    return hex_read_words(text, out);
}
#endif
#endif
