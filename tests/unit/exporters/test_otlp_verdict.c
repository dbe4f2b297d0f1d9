/* What each answer to an export means: the tables of the OTLP specification, and what real servers say beside them. */
#include "collector/core/clock.h"
#include "exporters/otlp/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define RETRY_20MS "CA4SBWxhdGVyGjMKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBwoFEIDaxAk="

static void header(struct weir_rpc_answer *answer, const char *name, const char *value) {
    if (value != NULL) weir_rpc_answer_header(answer, name, strlen(name), value, strlen(value));
}

static void test_grpc(void **state) {
    (void)state;
    static const struct {
        const char *http, *code, *message, *details, *accepts;
        enum weir_otlp_encoding encoding;
        enum weir_otlp_outcome outcome;
    } rows[] = {
        {"200", "0", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_DELIVERED},
        {"200", "1", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "2", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "3", "bad span", NULL, NULL, WEIR_OTLP_GZIP, WEIR_OTLP_REJECTED},
        {"200", "4", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "5", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "6", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "7", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"200", "8", "quota", NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "8", "quota", RETRY_20MS, NULL, WEIR_OTLP_NONE, WEIR_OTLP_THROTTLED},
        {"200", "8", "grpc: received message larger than max (5 vs. 4)", NULL, NULL, WEIR_OTLP_NONE,
         WEIR_OTLP_TOO_LARGE},
        {"200", "8", "grpc: received message after decompression larger than max 4", NULL, NULL, WEIR_OTLP_ZSTD,
         WEIR_OTLP_TOO_LARGE},
        {"200", "8", "gRPC message exceeds maximum size 4: 5", NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_TOO_LARGE},
        {"200", "8", "the message has more than max_message_bytes (4)", NULL, NULL, WEIR_OTLP_NONE,
         WEIR_OTLP_TOO_LARGE},
        {"200", "9", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "10", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "11", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "12", "unknown service", NULL, NULL, WEIR_OTLP_GZIP, WEIR_OTLP_NOT_ALLOWED},
        {"200", "12", "grpc: Decompressor is not installed for grpc-encoding \"zstd\"", NULL, NULL, WEIR_OTLP_ZSTD,
         WEIR_OTLP_ENCODING_REFUSED},
        {"200", "12", "", NULL, "identity,gzip", WEIR_OTLP_ZSTD, WEIR_OTLP_ENCODING_REFUSED},
        {"200", "12", "", NULL, "identity,gzip", WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"200", "13", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", "14", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "14", NULL, RETRY_20MS, NULL, WEIR_OTLP_NONE, WEIR_OTLP_THROTTLED},
        {"200", "15", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {"200", "16", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"200", "17", NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {"200", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED}, /* a web page */
        {"301", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"401", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"404", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {"500", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE}, /* of a proxy in between */
        {"503", NULL, NULL, NULL, NULL, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_answer answer;
        struct weir_otlp_verdict verdict;
        weir_rpc_answer_reset(&answer);
        header(&answer, ":status", rows[i].http);
        header(&answer, "grpc-status", rows[i].code);
        header(&answer, "grpc-message", rows[i].message);
        header(&answer, "grpc-status-details-bin", rows[i].details);
        header(&answer, "grpc-accept-encoding", rows[i].accepts);
        weir_rpc_answer_data(&answer, (const uint8_t[5]){0}, 5);
        weir_otlp_verdict_grpc(&answer, rows[i].encoding, &verdict);
        if (verdict.outcome != rows[i].outcome) fail_msg("row %zu: %d", i, (int)verdict.outcome);
        assert_int_equal(verdict.retry_after_ns, rows[i].details != NULL ? 20 * WEIR_MS : 0);
        assert_int_equal(verdict.why[0] != 0, verdict.outcome != WEIR_OTLP_DELIVERED);
        assert_null(strchr(verdict.why, '"')); /* it stands between quotes in the log */
    }
}

static void test_http(void **state) {
    (void)state;
    static const char proto[] = "application/x-protobuf", json[] = "application/json", html[] = "text/html";
    static const struct {
        int status;
        const char *type, *body;
        uint64_t retry_after_s;
        enum weir_otlp_encoding encoding;
        enum weir_otlp_outcome outcome;
    } rows[] = {
        {200, proto, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_DELIVERED},
        {202, NULL, "", 0, WEIR_OTLP_GZIP, WEIR_OTLP_DELIVERED},
        {200, "application/x-protobuf; charset=x", "", 0, WEIR_OTLP_NONE, WEIR_OTLP_DELIVERED},
        {200, proto, "\x0a\x02\x08\x03", 0, WEIR_OTLP_NONE, WEIR_OTLP_PARTIAL},
        {200, proto, "\x0a\x09", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNREADABLE},
        {200, proto, "\x0a\x05\x12\x03huh", 0, WEIR_OTLP_NONE, WEIR_OTLP_DELIVERED}, /* a warning */
        {200, json, "{}", 0, WEIR_OTLP_NONE, WEIR_OTLP_DELIVERED},
        {200, json, "{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNREADABLE},
        {200, html, "<html>Log in", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {302, html, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {400, proto,
         "\x08\x03\x12\x03"
         "bad",
         0, WEIR_OTLP_GZIP, WEIR_OTLP_REJECTED},
        {400, html, "unsupported Content-Encoding: zstd", 0, WEIR_OTLP_ZSTD, WEIR_OTLP_ENCODING_REFUSED},
        {400, html, "unsupported Content-Encoding: zstd", 0, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {400, "text/plain", "http: request body too large", 0, WEIR_OTLP_GZIP, WEIR_OTLP_TOO_LARGE},
        {401, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {403, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {404, html, "no", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {405, html, "no", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {408, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {413, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_TOO_LARGE},
        {415, NULL, "", 0, WEIR_OTLP_ZSTD, WEIR_OTLP_ENCODING_REFUSED},
        {415, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_NOT_ALLOWED},
        {422, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {429, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_THROTTLED},
        {429, NULL, "", 7, WEIR_OTLP_NONE, WEIR_OTLP_THROTTLED},
        {500, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {501, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_REJECTED},
        {502, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {503, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
        {503, NULL, "", 7, WEIR_OTLP_NONE, WEIR_OTLP_THROTTLED},
        {504, NULL, "", 0, WEIR_OTLP_NONE, WEIR_OTLP_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_answer answer;
        struct weir_otlp_verdict verdict;
        weir_rpc_answer_reset(&answer);
        answer.http_status = rows[i].status;
        weir_rpc_answer_data(&answer, (const uint8_t *)rows[i].body, strlen(rows[i].body));
        weir_otlp_verdict_http(&answer, rows[i].type, rows[i].retry_after_s, rows[i].encoding, &verdict);
        if (verdict.outcome != rows[i].outcome) fail_msg("row %zu: %d", i, (int)verdict.outcome);
        assert_int_equal(verdict.retry_after_ns, rows[i].retry_after_s * WEIR_S);
        assert_int_equal(verdict.rejected, rows[i].outcome == WEIR_OTLP_PARTIAL ? 3 : 0);
    }
}

static void test_words_of_the_peer(void **state) {
    (void)state;
    struct weir_rpc_answer answer;
    struct weir_otlp_verdict verdict;
    weir_rpc_answer_reset(&answer);
    answer.http_status = 200;
    weir_rpc_answer_data(&answer, (const uint8_t *)"\x0a\x05\x12\x03huh", 7);
    weir_otlp_verdict_http(&answer, "application/x-protobuf", 0, WEIR_OTLP_NONE, &verdict);
    assert_string_equal(verdict.why, "warning: huh");
    weir_rpc_answer_reset(&answer);
    answer.http_status = 400;
    weir_rpc_answer_data(&answer, (const uint8_t *)"\x08\x03\x12\x0c\"id\"\nis short", 16); /* google.rpc.Status */
    weir_otlp_verdict_http(&answer, "application/x-protobuf", 0, WEIR_OTLP_NONE, &verdict);
    assert_string_equal(verdict.why, "HTTP 400: 'id' is shor");
    weir_rpc_answer_reset(&answer);
    answer.http_status = 429;
    weir_otlp_verdict_http(&answer, NULL, UINT64_MAX, WEIR_OTLP_NONE, &verdict);
    assert_int_equal(verdict.retry_after_ns, 86400 * WEIR_S);
    for (int outcome = 0; outcome < WEIR_OTLP_OUTCOMES; outcome++)
        assert_int_equal(weir_otlp_outcome_is_bad(outcome), outcome >= WEIR_OTLP_UNAVAILABLE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grpc),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_words_of_the_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
