/* What a server may answer, row by row. */
#include "collector/core/clock.h"
#include "collector/rpc/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

static void header(struct weir_rpc_answer *answer, const char *name, const char *value) {
    weir_rpc_answer_header(answer, name, strlen(name), value, strlen(value));
}

static void test_codes(void **state) {
    (void)state;
    static const struct {
        const char *http, *grpc;
        int code;
    } rows[] = {
        {"200", "0", 0},    {"200", "14", 14}, {"200", "8", 8},    {"200", NULL, 2},
        {"503", NULL, 14},  {"429", NULL, 14}, {"404", NULL, 12},  {"400", NULL, 13},
        {"401", NULL, 16},  {"403", NULL, 7},  {"500", NULL, 2},   {NULL, NULL, 2},
        {"200", "zero", 2}, {"200", "", 2},    {"200", "1234", 2}, {"503", "0", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_answer answer;
        weir_rpc_answer_reset(&answer);
        if (rows[i].http != NULL) header(&answer, ":status", rows[i].http);
        if (rows[i].grpc != NULL) header(&answer, "grpc-status", rows[i].grpc);
        assert_int_equal(weir_rpc_answer_code(&answer), rows[i].code);
    }
    assert_string_equal(weir_rpc_code_name(8), "RESOURCE_EXHAUSTED");
    assert_string_equal(weir_rpc_code_name(16), "UNAUTHENTICATED");
    assert_string_equal(weir_rpc_code_name(17), "UNKNOWN");
    assert_string_equal(weir_rpc_code_name(-1), "UNKNOWN");
}

static void test_message(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"no room", "no room"}, {"100%25 full", "100% full"},  {"a%0Ab", "a b"},    {"%", "%"}, {"%2", "%2"},
        {"%zz", "%zz"},         {"%E2%98%BA", "\xe2\x98\xba"}, {"\x1b[2J", " [2J"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_answer answer;
        weir_rpc_answer_reset(&answer);
        header(&answer, "grpc-message", rows[i][0]);
        assert_string_equal(answer.message, rows[i][1]);
    }
    struct weir_rpc_answer answer;
    char text[1000];
    memset(text, 'x', sizeof text);
    weir_rpc_answer_reset(&answer);
    weir_rpc_answer_header(&answer, "grpc-message", 12, text, sizeof text);
    assert_int_equal(strlen(answer.message), sizeof answer.message - 1);
}

/* google.rpc.Status{code 14, "later", details Any{RetryInfo{Duration}}}, serialized by Google's protobuf for Python. */
static void test_retry_info(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool found;
        uint64_t ns;
    } rows[] = {
        {"CA4SBWxhdGVyGjYKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCgoICAEQgMq17gE", true,
         1500 * WEIR_MS}, /* unpadded */
        {"CA4SBWxhdGVyGjMKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBwoFEIDaxAk=", true, 20 * WEIR_MS},
        {"CA4SBWxhdGVyGioKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8=", true,
         0}, /* says nothing of when */
        {"CA4SBWxhdGVyGjkKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SDQoLCP///////////wE=", true,
         0}, /* -1 s */
        {"CA4SBWxhdGVyGjQKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCAoGCICU69wD", true,
         3600 * WEIR_S}, /* 1e9 s */
        {"CA4SBWxhdGVyGi8KKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SAwoJCA==", true,
         0}, /* broken inside */
        {"CA4SBWxhdGVyGjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5EZWJ1Z0luZm8SBAoCCAE=", false, 0}, /* DebugInfo */
        {"CA4SBWxhdGVy", false, 0},                                                                     /* no details */
        {"", false, 0},
        {"!!!", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_answer answer;
        weir_rpc_answer_reset(&answer);
        header(&answer, "grpc-status-details-bin", rows[i].text);
        assert_int_equal(answer.retry_info, rows[i].found);
        assert_int_equal(answer.retry_ns, rows[i].ns);
    }
}

static bool rejected(const uint8_t *body, size_t size, struct weir_rpc_answer *answer, uint64_t *count) {
    weir_rpc_answer_reset(answer);
    for (size_t i = 0; i < size; i++)
        weir_rpc_answer_data(answer, body + i, 1); /* in as many DATA frames */
    return weir_rpc_answer_rejected(answer, count);
}

static void test_partial_success(void **state) {
    (void)state;
    struct weir_rpc_answer answer;
    uint64_t count;
    static const uint8_t empty[] = {0, 0, 0, 0, 0};
    static const uint8_t three[] = {0, 0, 0, 0, 9, 0x0a, 7, 0x08, 3, 0x12, 3, 'b', 'a', 'd'};
    static const uint8_t negative[] = {0,    0,    0,    0,    13,   0x0a, 11,   0x08, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t broken[] = {0, 0, 0, 0, 2, 0x0a, 9};
    static const uint8_t inner[] = {0, 0, 0, 0, 3, 0x0a, 1, 0x08};
    static const uint8_t squeezed[] = {1, 0, 0, 0, 0};
    assert_true(rejected(empty, sizeof empty, &answer, &count));
    assert_int_equal(count, 0);
    assert_true(rejected(three, sizeof three, &answer, &count));
    assert_int_equal(count, 3);
    assert_string_equal(answer.message, "bad");
    assert_true(rejected(negative, sizeof negative, &answer, &count));
    assert_int_equal(count, 0);
    assert_false(rejected(broken, sizeof broken, &answer, &count));
    assert_false(rejected(inner, sizeof inner, &answer, &count));
    assert_false(rejected(squeezed, sizeof squeezed, &answer, &count));
    assert_false(rejected(empty, 4, &answer, &count));
    assert_false(rejected(empty, 0, &answer, &count));
    uint8_t much[9000] = {0}; /* beyond what is kept: bounded, and not an error of memory */
    weir_rpc_answer_reset(&answer);
    weir_rpc_answer_data(&answer, much, sizeof much);
    assert_int_equal(answer.body_size, WEIR_RPC_ANSWER_MAX);
    assert_int_equal(answer.body_bytes, sizeof much);
    /* A reason of 8,990 bytes: the count in front of it is read all the same. */
    static const uint8_t head[] = {0, 0,    0,    0x23, 0x23, 0x0a, 0xa0, 0x46, 0x08,
                                   7, 0x12, 0x9b, 0x46, 'l',  'o',  'n',  'g'};
    memcpy(much, head, sizeof head);
    weir_rpc_answer_reset(&answer);
    weir_rpc_answer_data(&answer, much, sizeof much);
    assert_true(weir_rpc_answer_rejected(&answer, &count));
    assert_int_equal(count, 7);
}

/* grpc-go compresses its answer as the request was. */
static void test_a_compressed_answer(void **state) {
    (void)state;
    static const uint8_t plain[] = {0x0a, 7, 0x08, 3, 0x12, 3, 'b', 'a', 'd'};
    for (int zstd = 0; zstd < 2; zstd++) {
        struct weir_rpc_answer answer;
        uint8_t body[256] = {1};
        uint64_t count;
        size_t size;
        if (zstd) {
            size = ZSTD_compress(body + 5, sizeof body - 5, plain, sizeof plain, 1);
        } else {
            z_stream z = {.next_in = (uint8_t *)(uintptr_t)plain, .avail_in = sizeof plain, .next_out = body + 5};
            z.avail_out = sizeof body - 5;
            assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
            assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
            size = z.total_out;
            deflateEnd(&z);
        }
        body[4] = (uint8_t)size;
        for (int row = 0; row < 3; row++) { /* as it says; as the other; nothing said */
            const char *names[] = {"gzip", "zstd"};
            weir_rpc_answer_reset(&answer);
            if (row < 2) header(&answer, "grpc-encoding", names[row == 0 ? zstd : !zstd]);
            weir_rpc_answer_data(&answer, body, 5 + size);
            assert_int_equal(weir_rpc_answer_rejected(&answer, &count), row == 0);
            assert_int_equal(count, row == 0 ? 3 : 0);
        }
        for (size_t i = 0; i < size; i++) { /* what is broken or cut is no answer, and no harm */
            uint8_t was = body[5 + i];
            body[5 + i] ^= 0x55;
            weir_rpc_answer_reset(&answer);
            header(&answer, "grpc-encoding", zstd ? "zstd" : "gzip");
            weir_rpc_answer_data(&answer, body, 5 + i);
            weir_rpc_answer_rejected(&answer, &count);
            weir_rpc_answer_data(&answer, body + 5 + i, size - i);
            weir_rpc_answer_rejected(&answer, &count);
            body[5 + i] = was;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_retry_info),
        cmocka_unit_test(test_partial_success),
        cmocka_unit_test(test_a_compressed_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
