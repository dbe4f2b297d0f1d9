/* The library's SHA-256 and HMAC are OpenSSL's and the collector's. */
#include "collector/core/signature.h"
#include "emitter/signing.h"

#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t bytes[5000];

static void fill(void) {
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
}

/* FIPS 180-4's example: "abc". */
static void known_hash(void **state) {
    (void)state;
    static const uint8_t wanted[4] = {0xba, 0x78, 0x16, 0xbf};
    uint8_t out[SHA256_BYTES];
    struct sha256 sha;
    sha256_begin(&sha);
    sha256_add(&sha, "abc", 3);
    sha256_end(&sha, out);
    assert_memory_equal(out, wanted, sizeof wanted);
}

static void hashes_of_all_sizes_in_pieces(void **state) {
    (void)state;
    for (size_t size = 0; size < 400; size++) {
        uint8_t out[SHA256_BYTES], wanted[SHA256_BYTES];
        struct sha256 sha;
        sha256_begin(&sha);
        for (size_t at = 0, piece = 1; at < size; at += piece, piece = piece * 3 % 97 + 1)
            sha256_add(&sha, bytes + at, at + piece < size ? piece : size - at);
        sha256_end(&sha, out);
        SHA256(bytes, size, wanted);
        assert_memory_equal(out, wanted, sizeof wanted);
    }
}

/* RFC 4231, 4.3 (case 2). */
static void known_signature(void **state) {
    (void)state;
    static const uint8_t wanted[SIGNATURE_BYTES] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                                    0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7};
    static const char text[] = "what do ya want for nothing?";
    struct signing signing;
    uint8_t out[SIGNATURE_BYTES];
    signing_begin(&signing, "Jefe", 4);
    signing_sign(&signing, text, sizeof text - 1, out);
    assert_memory_equal(out, wanted, sizeof wanted);
}

static void as_openssl_signs(void **state) {
    (void)state;
    for (size_t key = 16; key < 200; key += 13) {
        struct signing signing;
        signing_begin(&signing, bytes + 7, key);
        for (size_t size = 0; size < sizeof bytes; size += 211) {
            uint8_t out[SIGNATURE_BYTES], wanted[32];
            unsigned wanted_size = sizeof wanted;
            signing_sign(&signing, bytes, size, out);
            HMAC(EVP_sha256(), bytes + 7, (int)key, bytes, size, wanted, &wanted_size);
            assert_memory_equal(out, wanted, sizeof out);
            assert_true(signing_verify(&signing, bytes, size, out));
            out[size % SIGNATURE_BYTES] ^= 1;
            assert_false(signing_verify(&signing, bytes, size, out));
        }
    }
}

/* Each takes the other's. */
static void as_the_collector_signs(void **state) {
    (void)state;
    char path[] = "/tmp/weir-key-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, bytes, 40), 40);
    close(fd);
    struct weir_signer *signer;
    struct weir_error err;
    struct signing signing;
    uint8_t mine[SIGNATURE_BYTES], theirs[WEIR_SIGNATURE_BYTES];
    assert_int_equal(weir_signer_open(&signer, "key", path, &err), WEIR_OK);
    signing_begin(&signing, bytes, 40);
    signing_sign(&signing, bytes, 1380, mine);
    assert_true(weir_signer_sign(signer, bytes, 1380, theirs));
    assert_memory_equal(mine, theirs, sizeof mine);
    assert_true(weir_signer_verify(signer, bytes, 1380, mine));
    assert_true(signing_verify(&signing, bytes, 1380, theirs));
    weir_signer_close(signer);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hash),
        cmocka_unit_test(hashes_of_all_sizes_in_pieces),
        cmocka_unit_test(known_signature),
        cmocka_unit_test(as_openssl_signs),
        cmocka_unit_test(as_the_collector_signs),
    };
    fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
