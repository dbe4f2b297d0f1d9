/* Calls of Scribe: what real Finagles sent and what a real Zipkin answered, byte for byte; and what must not read. */
#include "collector/core/ledger.h"
#include "collector/decode/scribe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(literal)  (const uint8_t *)(literal), sizeof(literal) - 1

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_scribe *scribe;
static struct weir_budget budget;
static struct weir_batch *batch;
static struct weir_otlp_counts counts;
static struct weir_scribe_call call;
static struct weir_error err;

static int begin(void **state) {
    (void)state;
    names = weir_names_new(16384, 1 << 20);
    otlp = weir_otlp_new(names);
    scribe = weir_scribe_new(otlp);
    budget = (struct weir_budget){.limit_bytes = 8 << 20};
    batch = weir_batch_new(&budget, 0);
    err = (struct weir_error){0};
    return 0;
}

static int finish(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_scribe_free(scribe);
    weir_otlp_free(otlp);
    weir_names_free(names);
    return budget.used_bytes != 0;
}

static enum weir_status decode(const uint8_t *bytes, size_t size) {
    /* In memory of its own, so that a sanitizer sees what is read past its end. */
    uint8_t *copy = malloc(size + (size == 0));
    memcpy(copy, bytes, size);
    enum weir_status status = weir_scribe_decode(scribe, copy, size, WEIR_RECEIVER_SCRIBE, batch, &call, &counts, &err);
    free(copy);
    return status;
}

/* ---- base64 ---- */

static void base64(void **state) {
    (void)state;
    static const struct {
        const char *text, *plain; /* plain NULL: does not read */
    } rows[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==\n", "foob"},
        {"Zm9vYmE=", "fooba"},
        {"Zm9vYmFy\n", "foobar"},
        {"Zm9vYmFy", "foobar"},
        {"Zm9v\r\nYmFy\r\n", "foobar"}, /* MIME: lines of 76 */
        {"Z m\t9 v", "foo"},
        {"Zm8", "fo"}, /* without its padding */
        {"Zg", "f"},
        {"Zm9vYg==Zm9v", "foob"}, /* the padding ends it */
        {"-_-_", "\xfb\xff\xbf"},
        {"+/+/", "\xfb\xff\xbf"},
        {"Z", NULL},
        {"Zm9vZ", NULL},
        {"Zm9*", NULL},
        {"Zm9v\x80", NULL},
        {"....", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i].text);
        uint8_t *out = malloc(size / 4 * 3 + 3);
        size_t got = weir_base64_decode((const uint8_t *)rows[i].text, size, out);
        if (rows[i].plain == NULL) {
            if (got != SIZE_MAX) fail_msg("%s: reads", rows[i].text);
        } else if (got != strlen(rows[i].plain) || memcmp(out, rows[i].plain, got) != 0) {
            fail_msg("%s: %zu bytes", rows[i].text, got);
        }
        free(out);
    }
}

/* ---- recorded streams ---- */

static uint8_t *read_file(const char *direction, int number, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, "%s/finagle/scribe-%s-%d.bin", WEIR_TEST_DATA, direction, number);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 16);
    *size = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void real_streams(void **state) {
    (void)state;
    uint32_t frames = 0;
    for (int number = 0; number < 5; number++) {
        size_t size, want_size;
        uint8_t *bytes = read_file("client", number, &size), *want = read_file("server", number, &want_size);
        struct weir_buffer out = {0};
        for (size_t at = 0; at < size; frames++) {
            uint32_t frame = big_endian(bytes + at);
            enum weir_status status = decode(bytes + at + 4, frame);
            if (status == WEIR_UNSUPPORTED) {
                char text[128];
                snprintf(text, sizeof text, "unknown method: %s", call.name);
                weir_scribe_refuse(&out, &call, WEIR_SCRIBE_UNKNOWN_METHOD, text);
            } else {
                assert_int_equal(status, WEIR_OK);
                assert_int_equal(counts.skipped, 0);
                weir_scribe_answer(&out, &call, WEIR_SCRIBE_OK);
            }
            at += 4 + frame;
        }
        assert_int_equal(out.size, want_size);
        assert_memory_equal(out.bytes, want, want_size);
        weir_buffer_free(&out);
        free(bytes);
        free(want);
    }
    assert_int_equal(frames, 5 + 24);
    assert_int_equal(batch->span_count, 36); /* router's server, app's client, app's server of 12 requests */
    for (uint32_t i = 0; i < batch->span_count; i++) {
        assert_int_equal(batch->spans[i].receiver, WEIR_RECEIVER_SCRIBE);
        assert_int_not_equal(batch->spans[i].start_ns, 0);
    }
}

/* A stream cut or bent anywhere: it reads, or it says where not; and what was there before stays. */
static void every_cut_and_every_bit(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = read_file("client", 0, &size), *at = bytes + 4 + big_endian(bytes);
    uint32_t frame = big_endian(at);
    assert_int_equal(decode(at + 4, frame), WEIR_OK);
    uint32_t spans = batch->span_count;
    size_t held = batch->size;
    for (uint32_t cut = 0; cut < frame; cut++) {
        assert_int_equal(decode(at + 4, cut), WEIR_INVALID);
        assert_non_null(strstr(err.text, "byte "));
        assert_int_equal(batch->span_count, spans);
        assert_int_equal(batch->size, held);
    }
    for (uint32_t i = 0; i < frame; i++) {
        at[4 + i] ^= 0x81;
        enum weir_status status = decode(at + 4, frame);
        assert_true(status == WEIR_OK || status == WEIR_INVALID || status == WEIR_UNSUPPORTED);
        if (status != WEIR_OK) assert_int_equal(batch->span_count, spans);
        weir_batch_truncate(batch, spans, held);
        at[4 + i] ^= 0x81;
    }
    free(bytes);
}

/* ---- heads ---- */

static void heads(void **state) {
    (void)state;
    static const struct {
        const uint8_t *bytes;
        size_t size;
        bool reads;
        const char *name;
        int32_t sequence;
        bool is_log, oneway;
    } rows[] = {
        {BYTES("\x80\x01\0\1\0\0\0\3Log\0\0\0\7"), true, "Log", 7, true, false},
        {BYTES("\x80\x01\0\4\0\0\0\3Log\xff\xff\xff\xff"), true, "Log", -1, true, true},
        {BYTES("\0\0\0\3Log\1\0\0\0\x09\0"), true, "Log", 9, true, false}, /* as before there were versions */
        {BYTES("\0\0\0\3Lag\1\0\0\0\x09\0"), true, "Lag", 9, false, false},
        {BYTES("\x80\x01\0\1\0\0\0\3L\n\"\0\0\0\7"), true, "L?\"", 7, false, false},
        {BYTES("\x80\x01\0\1\0\0\0\0\0\0\0\7"), true, "", 7, false, false},
        {BYTES("\x80\x02\0\1\0\0\0\3Log\0\0\0\7"), false, NULL, 0, false, false}, /* another version */
        {BYTES("\x80\x01\0\2\0\0\0\3Log\0\0\0\7"), false, NULL, 0, false, false}, /* an answer */
        {BYTES("\x80\x01\0\1\0\0\1\0Log\0\0\0\7"), false, NULL, 0, false, false}, /* a name past the end */
        {BYTES("\x80\x01\0\1\xff\xff\xff\xffLog"), false, NULL, 0, false, false},
        {BYTES("\x7f\xff\xff\xffLog"), false, NULL, 0, false, false},
        {BYTES("\x80\x01\0\1\0\0\0\3Log\0\0"), false, NULL, 0, false, false},
        {BYTES("GET / HTTP/1.1\r\n"), false, NULL, 0, false, false},
        {BYTES(""), false, NULL, 0, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (weir_scribe_head(rows[i].bytes, rows[i].size, &call) != rows[i].reads) fail_msg("row %zu", i);
        if (!rows[i].reads) continue;
        assert_string_equal(call.name, rows[i].name);
        assert_int_equal(call.sequence, rows[i].sequence);
        assert_int_equal(call.is_log, rows[i].is_log);
        assert_int_equal(call.oneway, rows[i].oneway);
    }
}

static void a_long_name_is_cut(void **state) {
    (void)state;
    uint8_t bytes[1024] = "\x80\x01\0\1\0\0\3\0";
    memset(bytes + 8, 'x', 768);
    assert_int_equal(decode(bytes, 8 + 768 + 4), WEIR_UNSUPPORTED);
    assert_int_equal(strlen(call.name), WEIR_SCRIBE_NAME_MAX);
}

/* ---- entries ---- */

#define LOG_HEAD "\x80\x01\0\1\0\0\0\3Log\0\0\0\7"
/* Span{1 trace_id 9, 3 name "x", 4 id 1}: the least that reads. */
#define SPAN_TEXT "CgABAAAAAAAAAAkLAAMAAAABeAoABAAAAAAAAAABAA==\n"
#define ZIPKIN    "\x0b\0\1\0\0\0\6zipkin"
#define MESSAGE   "\x0b\0\2\0\0\0\x2d" SPAN_TEXT

static void entries(void **state) {
    (void)state;
    static const struct {
        const uint8_t *bytes;
        size_t size;
        enum weir_status status;
        uint32_t spans, skipped;
        uint64_t other;
    } rows[] = {
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\1" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\1" MESSAGE ZIPKIN "\0\0"), WEIR_OK, 1, 0, 0}, /* in any order */
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" ZIPKIN MESSAGE "\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 2, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\0\0"), WEIR_OK, 0, 0, 0},
        {BYTES(LOG_HEAD "\0"), WEIR_OK, 0, 0, 0},
        {BYTES(LOG_HEAD "\x08\0\7\0\0\0\1\x0f\0\1\x0c\0\0\0\1" ZIPKIN MESSAGE "\x02\0\x09\1\0\0"), WEIR_OK, 1, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2\x0b\0\1\0\0\0\5audit" MESSAGE "\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 1,
         1},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" MESSAGE "\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 1, 1},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" ZIPKIN "\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 1, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" ZIPKIN "\x0b\0\2\0\0\0\4!!!!\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 1,
         0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" ZIPKIN "\x0b\0\2\0\0\0\4CgAB\0" ZIPKIN MESSAGE "\0\0"), WEIR_OK, 1, 1,
         0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0b\0\0\0\1\0\0\0\1x\0"), WEIR_INVALID, 0, 0, 0}, /* a list of strings */
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\2" ZIPKIN MESSAGE "\0\0"), WEIR_INVALID, 0, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\x7f\xff\xff\xff" ZIPKIN MESSAGE "\0\0"), WEIR_INVALID, 0, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\xff\xff\xff\xff"), WEIR_INVALID, 0, 0, 0},
        {BYTES(LOG_HEAD "\x0f\0\1\x0c\0\0\0\1\x0b\0\1\x80\0\0\0"), WEIR_INVALID, 0, 0, 0},
        {BYTES(LOG_HEAD), WEIR_INVALID, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum weir_status status = decode(rows[i].bytes, rows[i].size);
        if (status != rows[i].status) fail_msg("row %zu: %d, %s", i, status, err.text);
        if (batch->span_count != rows[i].spans || counts.skipped != rows[i].skipped)
            fail_msg("row %zu: %u spans, %u skipped: %s", i, batch->span_count, counts.skipped, counts.skipped_reason);
        if (status == WEIR_OK) assert_int_equal(call.other, rows[i].other);
        weir_batch_truncate(batch, 0, 0);
    }
}

static void no_memory_is_full_and_nothing_is_kept(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = read_file("client", 0, &size), *at = bytes + 4 + big_endian(bytes);
    uint32_t frame = big_endian(at);
    unsigned full = 0, ok = 0;
    for (size_t limit = 0; limit < 24000; limit += 97) {
        size_t used = budget.used_bytes;
        budget.limit_bytes = used + limit;
        enum weir_status status = decode(at + 4, frame);
        assert_true(status == WEIR_OK || status == WEIR_FULL);
        full += status == WEIR_FULL;
        ok += status == WEIR_OK;
        if (status == WEIR_FULL) {
            assert_int_equal(batch->span_count, 0);
            assert_true(call.is_log); /* so that it can be answered */
        }
        weir_batch_unref(batch); /* with its memory, which would serve the next one */
        batch = weir_batch_new(&budget, 0);
    }
    assert_true(full > 0 && ok > 0);
    budget.limit_bytes = 8 << 20;
    free(bytes);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64),
        cmocka_unit_test_setup_teardown(real_streams, begin, finish),
        cmocka_unit_test_setup_teardown(every_cut_and_every_bit, begin, finish),
        cmocka_unit_test_setup_teardown(heads, begin, finish),
        cmocka_unit_test_setup_teardown(a_long_name_is_cut, begin, finish),
        cmocka_unit_test_setup_teardown(entries, begin, finish),
        cmocka_unit_test_setup_teardown(no_memory_is_full_and_nothing_is_kept, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
