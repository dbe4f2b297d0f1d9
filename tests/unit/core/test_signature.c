#include "collector/core/signature.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/weir-signature-XXXXXX";

static void write_key(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static struct weir_signer *open_signer(const void *key, size_t size) {
    struct weir_signer *signer = NULL;
    struct weir_error err;
    write_key(key, size);
    if (weir_signer_open(&signer, "key", path, &err) != WEIR_OK) fail_msg("%s", err.text);
    return signer;
}

/* RFC 4231, 4.2 and 4.7 (test case 6, a key longer than a block): the first 16 bytes of HMAC-SHA-256. */
static void test_known(void **state) {
    (void)state;
    static const uint8_t hi[16] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53,
                                   0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b};
    static const uint8_t large[16] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f,
                                      0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f};
    static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t key[131], signature[16];
    memset(key, 0x0b, 20);
    struct weir_signer *signer = open_signer(key, 20);
    for (int i = 0; i < 2; i++) { /* the second message begins anew */
        assert_true(weir_signer_sign(signer, (const uint8_t *)"Hi There", 8, signature));
        assert_memory_equal(signature, hi, 16);
    }
    weir_signer_close(signer);
    memset(key, 0xaa, 131);
    signer = open_signer(key, 131);
    assert_true(weir_signer_verify(signer, (const uint8_t *)text, strlen(text), large));
    weir_signer_close(signer);
}

static void test_verifies(void **state) {
    (void)state;
    struct weir_signer *signer = open_signer("0123456789abcdef\n", 17), *same = open_signer("0123456789abcdef", 16),
                       *other = open_signer("0123456789abcdef\n\n", 18);
    uint8_t message[] = "a datagram", signature[16];
    assert_true(weir_signer_sign(signer, message, sizeof message, signature));
    assert_true(weir_signer_verify(signer, message, sizeof message, signature));
    assert_true(weir_signer_verify(same, message, sizeof message, signature)); /* one newline does not count */
    assert_false(weir_signer_verify(other, message, sizeof message, signature));
    assert_false(weir_signer_verify(signer, message, sizeof message - 1, signature));
    for (int i = 0; i < 128; i++) {
        signature[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(weir_signer_verify(signer, message, sizeof message, signature));
        signature[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    weir_signer_close(signer);
    weir_signer_close(same);
    weir_signer_close(other);
}

static void test_refuses(void **state) {
    (void)state;
    static char big[4098];
    struct weir_signer *signer = NULL;
    struct weir_error err;
    write_key("0123456789abcde\n", 16);
    assert_int_equal(weir_signer_open(&signer, "key", path, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "16 to 4096 bytes"));
    assert_null(strstr(err.text, "0123"));
    write_key("", 0);
    assert_int_equal(weir_signer_open(&signer, "key", path, &err), WEIR_INVALID);
    write_key(big, 4097);
    assert_int_equal(weir_signer_open(&signer, "key", path, &err), WEIR_INVALID);
    assert_int_equal(weir_signer_open(&signer, "key", "/nowhere/at all", &err), WEIR_IO);
    assert_non_null(strstr(err.text, "key: /nowhere/at all: "));
    assert_null(signer);
    weir_signer_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_verifies),
                                       cmocka_unit_test(test_refuses)};
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
