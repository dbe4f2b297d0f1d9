#include "emitter/signing.h"

#include <string.h>

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned bits) {
    return x >> bits | x << (32 - bits);
}

/* FIPS 180-4, 6.2.2 */
static void add_block(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t word;
        memcpy(&word, block + 4 * i, 4);
        w[i] = __builtin_bswap32(word);
    }
    for (unsigned i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + rounds[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void sha256_begin(struct sha256 *sha) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(sha->state, first, sizeof first);
    sha->bytes = 0;
}

void sha256_add(struct sha256 *sha, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    size_t held = sha->bytes % SHA256_BLOCK;
    sha->bytes += size;
    if (held > 0) {
        size_t more = SHA256_BLOCK - held < size ? SHA256_BLOCK - held : size;
        memcpy(sha->block + held, at, more);
        at += more;
        size -= more;
        if (held + more < SHA256_BLOCK) return;
        add_block(sha->state, sha->block);
    }
    for (; size >= SHA256_BLOCK; at += SHA256_BLOCK, size -= SHA256_BLOCK)
        add_block(sha->state, at);
    if (size > 0) memcpy(sha->block, at, size);
}

/* The message, 0x80, zeros, and its length in bits: big endian, the last 8 bytes of a block. */
void sha256_end(struct sha256 *sha, uint8_t out[SHA256_BYTES]) {
    static const uint8_t end[SHA256_BLOCK] = {0x80};
    uint64_t bits = __builtin_bswap64(sha->bytes * 8);
    size_t held = sha->bytes % SHA256_BLOCK;
    sha256_add(sha, end, (held < 56 ? 56 : 120) - held);
    sha256_add(sha, &bits, sizeof bits);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(sha->state[i]);
        memcpy(out + 4 * i, &word, 4);
    }
}

void signing_begin(struct signing *signing, const void *key, size_t key_size) {
    uint8_t block[SHA256_BLOCK] = {0}, pad[SHA256_BLOCK];
    if (key_size > SHA256_BLOCK) {
        struct sha256 sha;
        sha256_begin(&sha);
        sha256_add(&sha, key, key_size);
        sha256_end(&sha, block);
    } else {
        memcpy(block, key, key_size);
    }
    for (unsigned i = 0; i < SHA256_BLOCK; i++)
        pad[i] = block[i] ^ 0x36;
    sha256_begin(&signing->inner);
    sha256_add(&signing->inner, pad, sizeof pad);
    for (unsigned i = 0; i < SHA256_BLOCK; i++)
        pad[i] = block[i] ^ 0x5c;
    sha256_begin(&signing->outer);
    sha256_add(&signing->outer, pad, sizeof pad);
}

void signing_sign(const struct signing *signing, const void *bytes, size_t size, uint8_t out[SIGNATURE_BYTES]) {
    uint8_t hash[SHA256_BYTES];
    struct sha256 sha = signing->inner;
    sha256_add(&sha, bytes, size);
    sha256_end(&sha, hash);
    sha = signing->outer;
    sha256_add(&sha, hash, sizeof hash);
    sha256_end(&sha, hash);
    memcpy(out, hash, SIGNATURE_BYTES);
}

bool signing_verify(const struct signing *signing, const void *bytes, size_t size,
                    const uint8_t signature[SIGNATURE_BYTES]) {
    uint8_t own[SIGNATURE_BYTES], differs = 0;
    signing_sign(signing, bytes, size, own);
    for (unsigned i = 0; i < SIGNATURE_BYTES; i++)
        differs |= own[i] ^ signature[i];
    return differs == 0;
}
