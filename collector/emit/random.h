/* random.h - xoshiro256** (Blackman and Vigna, prng.di.unimi.it), seeded by splitmix64 as its authors advise: the same
 * seed is the same sequence on every machine. */
#ifndef WEIR_EMIT_RANDOM_H
#define WEIR_EMIT_RANDOM_H
#include <stdint.h>

struct weir_emit_random {
    uint64_t s[4];
};

static inline uint64_t weir_emit_splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
static inline struct weir_emit_random weir_emit_random_of(uint64_t seed) {
    struct weir_emit_random random;
    for (int i = 0; i < 4; i++)
        random.s[i] = weir_emit_splitmix(&seed);
    return random;
}
static inline uint64_t weir_emit_rotate(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}
static inline uint64_t weir_emit_next(struct weir_emit_random *random) {
    uint64_t *s = random->s, result = weir_emit_rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = weir_emit_rotate(s[3], 45);
    return result;
}
/* 0 .. below-1, from the high half (Lemire's multiplication, without the rejection: below is far under 2^32). */
static inline uint32_t weir_emit_below(struct weir_emit_random *random, uint32_t below) {
    return (uint32_t)((weir_emit_next(random) >> 32) * below >> 32);
}
#endif
