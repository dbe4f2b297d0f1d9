/* signing.h - HMAC-SHA256 of datagrams and answers (FIPS 180-4; RFC 2104), of which 16 bytes are sent. The library's
 * own, so that a proxy need not load another. */
#ifndef WEIR_EMITTER_SIGNING_H
#define WEIR_EMITTER_SIGNING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIGNATURE_BYTES = 16, SIGNING_KEY_MIN = 16, SIGNING_KEY_MAX = 4096, SHA256_BYTES = 32, SHA256_BLOCK = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[SHA256_BLOCK];
};
void sha256_begin(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const void *bytes, size_t size);
void sha256_end(struct sha256 *sha, uint8_t out[SHA256_BYTES]);

struct signing { /* the key, already in both hashes */
    struct sha256 inner, outer;
};
void signing_begin(struct signing *signing, const void *key, size_t key_size);
void signing_sign(const struct signing *signing, const void *bytes, size_t size, uint8_t out[SIGNATURE_BYTES]);
/* In a time that does not hang on where a signature is wrong. */
bool signing_verify(const struct signing *signing, const void *bytes, size_t size,
                    const uint8_t signature[SIGNATURE_BYTES]);
#endif
