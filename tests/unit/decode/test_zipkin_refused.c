/* Zipkin's formats: how they are told, what is refused and why, what is passed over, and what memory is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/decode/zipkin.h"

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_zipkin_decoder *decoder;

static int setup(void **state) {
    (void)state;
    names = weir_names_new(256, 64 * 1024);
    otlp = weir_otlp_new(names);
    decoder = weir_zipkin_decoder_new(otlp);
    return decoder == NULL;
}
static int teardown(void **state) {
    (void)state;
    weir_zipkin_decoder_free(decoder);
    weir_otlp_free(otlp);
    weir_names_free(names);
    return 0;
}

struct body {
    const char *bytes;
    size_t size;
};
#define BODY(literal)                                                                                                  \
    { literal, sizeof(literal) - 1 }

static void formats(void **state) {
    (void)state;
    static const struct {
        struct body body;
        enum weir_zipkin_format format;
    } cases[] = {
        {BODY(""), WEIR_ZIPKIN_FORMAT_NONE},
        {BODY("{}"), WEIR_ZIPKIN_FORMAT_NONE},
        {BODY("spans"), WEIR_ZIPKIN_FORMAT_NONE},
        {BODY("\x0f"), WEIR_ZIPKIN_FORMAT_NONE},
        {BODY("[]"), WEIR_ZIPKIN_JSON_V2},
        {BODY(" \t\r\n[{}]"), WEIR_ZIPKIN_JSON_V2},
        {BODY("\n[{}]"), WEIR_ZIPKIN_JSON_V2},
        {BODY("\n[]"), WEIR_ZIPKIN_JSON_V2},
        {BODY("\n[\x0a\x08"), WEIR_ZIPKIN_PROTO3_LIST}, /* a span of 91 bytes */
        {BODY("\x0a\x20"), WEIR_ZIPKIN_PROTO3_LIST},
        {BODY("\x0c\x00\x00\x00\x00"), WEIR_ZIPKIN_THRIFT_LIST},
        {BODY("[{\"traceId\":\"1\",\"binaryAnnotations\":[]}]"), WEIR_ZIPKIN_JSON_V1},
        {BODY("[{\"annotations\":[{\"value\":\"cs\",\"endpoint\":{}}]}]"), WEIR_ZIPKIN_JSON_V1},
        {BODY("[{\"annotations\":[{\"value\":\"cs\"}]}]"), WEIR_ZIPKIN_JSON_V2},
        {BODY("[{\"tags\":{},\"binaryAnnotations\":[]}]"), WEIR_ZIPKIN_JSON_V2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum weir_zipkin_format format =
            weir_zipkin_format_of((const uint8_t *)cases[i].body.bytes, cases[i].body.size);
        if (format != cases[i].format) fail_msg("case %zu: format %d, not %d", i, format, cases[i].format);
    }
}

#define GOOD        "{\"traceId\":\"a1\",\"id\":\"1\"}"
#define THRIFT_HEAD "\x0c\x00\x00\x00\x01\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\xa1"

static void refused(void **state) {
    (void)state;
    static const struct {
        struct body body;
        const char *why;
    } cases[] = {
        {BODY("[" GOOD), "byte 26: ends in the middle"},
        {BODY("[" GOOD "]x"), "byte 27: something stands behind the end"},
        {BODY("[" GOOD "][]"), "byte 27: something stands behind the end"},
        {BODY("[" GOOD ",1]"), "spans[1]: byte 27: is not an object"},
        {BODY("[{\"traceId\":5}]"), "spans[0].traceId: byte 12: is not a string"},
        {BODY("[{\"traceId\":\"a1\",\"timestamp\":\"soon\"}]"),
         "spans[0] (traceId a1).timestamp: byte 29: is not a number"},
        {BODY("[{\"traceId\":\"a1\",\"timestamp\":1.5}]"), NULL},
        {BODY("[{\"traceId\":\"a1\",\"timestamp\":99999999999999999}]"),
         "spans[0] (traceId a1).timestamp: byte 29: is out of range"},
        {BODY("[{\"kind\":\"BOSS\"}]"), "spans[0].kind: byte 9: is not CLIENT, SERVER, PRODUCER or CONSUMER"},
        {BODY("[{\"tags\":[]}]"), NULL},
        {BODY("[{\"tags\":{\"a\":{}}}]"), NULL},
        {BODY("[{\"annotations\":[{\"value\":\"a\"}]}]"), NULL},
        {BODY("[{\"localEndpoint\":{\"port\":65536}}]"), NULL},
        {BODY("[{\"debug\":\"true\"}]"), NULL},
        {BODY("[{\"binaryAnnotations\":[{\"value\":\"x\"}]}]"), NULL},
        {BODY("\x0a\x02\x0a"), "byte 0: ListOfSpans: length past the end of its message"},
        {BODY("\x0a\x02\x08\x01"), "spans[0] (traceId 00000000000000000000000000000000).trace_id: byte 2: another wire "
                                   "type than the field has"},
        {BODY("\x0a\x03\x52\x02\x09"), NULL}, /* an annotation that ends */
        {BODY("\x0c\x7f\xff\xff\xff"), "byte 5: a list longer than its message"},
        {BODY("\x0c\xff\xff\xff\xff"), "byte 5: a negative length"},
        {BODY(THRIFT_HEAD), "spans[0] (traceId a1): byte 16: ends in the middle"},
        {BODY(THRIFT_HEAD "\x0b\x00\x03\x00\x00\x00\x05"), "spans[0] (traceId a1): byte 23: ends in the middle"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t *bytes = (const uint8_t *)cases[i].body.bytes;
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        struct weir_otlp_counts counts = {0};
        struct weir_error err = {0};
        enum weir_zipkin_format format = weir_zipkin_format_of(bytes, cases[i].body.size);
        assert_int_equal(weir_zipkin_decode(decoder, format, bytes, cases[i].body.size, 0, batch, &counts, &err),
                         WEIR_INVALID);
        if (cases[i].why != NULL) assert_string_equal(err.text, cases[i].why);
        assert_true(strlen(err.text) > 0);
        assert_int_equal(batch->span_count + batch->size + counts.spans + counts.skipped, 0);
        weir_batch_unref(batch);
    }
}

/* A bad id is its own span's matter. */
static void passed_over(void **state) {
    (void)state;
    static const struct {
        struct body body;
        const char *why;
    } cases[] = {
        {BODY("[" GOOD ",{\"traceId\":\"a1\"}]"), "spans[1]: id is missing"},
        {BODY("[" GOOD ",{\"id\":\"1\"}]"), "spans[1]: traceId is missing"},
        {BODY("[" GOOD ",{\"traceId\":\"\",\"id\":\"1\"}]"), "spans[1]: traceId is not 1 to 32 hex digits"},
        {BODY("[" GOOD ",{\"traceId\":\"g\",\"id\":\"1\"}]"), "spans[1]: traceId is not 1 to 32 hex digits"},
        {BODY("[" GOOD ",{\"traceId\":\"1\",\"id\":\"12345678901234567\"}]"), "spans[1]: id is not 1 to 16 hex digits"},
        {BODY("[" GOOD ",{\"traceId\":\"1\",\"id\":\"1\",\"parentId\":\"-1\"}]"),
         "spans[1]: parentId is not 1 to 16 hex digits"},
        {BODY("[{\"traceId\":\"0\",\"id\":\"1\",\"tags\":{\"a\":\"b\"}}," GOOD "]"), NULL},
        {BODY("[" GOOD ",{\"traceId\":\"1\",\"id\":\"0\",\"binaryAnnotations\":[]}]"), NULL},
        {BODY("[{\"traceId\":\"1\",\"binaryAnnotations\":[]}," GOOD "]"), "spans[0]: id is missing"},
        {BODY("\x0a\x0d\x0a\x03"
              "abc\x1a\x06"
              "abcdef\x0a\x14\x0a\x08"
              "abcdefgh\x1a\x08"
              "abcdefgh"),
         "spans[0]: id has not 8 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t *bytes = (const uint8_t *)cases[i].body.bytes;
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        struct weir_otlp_counts counts = {0};
        struct weir_error err = {0};
        enum weir_zipkin_format format = weir_zipkin_format_of(bytes, cases[i].body.size);
        if (weir_zipkin_decode(decoder, format, bytes, cases[i].body.size, 9, batch, &counts, &err) != WEIR_OK)
            fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(counts.spans, 1);
        assert_int_equal(counts.skipped, 1);
        assert_int_equal(batch->span_count, 1);
        assert_int_equal(batch->spans[0].receiver, 9);
        if (cases[i].why != NULL) assert_string_equal(counts.skipped_reason, cases[i].why);
        weir_batch_unref(batch);
    }
}

/* One span as Scribe carries it, with something behind it. */
static void one_of_thrift(void **state) {
    (void)state;
    static const char span[] =
        "\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\xa1"
        "\x0a\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01"
        "\x02\x00\x09\x01"
        "\x0a\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x07"
        "\x0f\x00\x63\x0d\x00\x00\x00\x01\x08\x0b\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00"
        "\x00"
        "behind";
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    size_t used = 0, whole = sizeof span - 1 - 6;
    assert_int_equal(
        weir_zipkin_thrift_span(decoder, (const uint8_t *)span, sizeof span - 1, 3, batch, &used, &counts, &err),
        WEIR_OK);
    assert_int_equal(used, whole);
    assert_int_equal(batch->span_count, 1);
    assert_int_equal(batch->spans[0].trace_lo, 0xa1);
    assert_int_equal(batch->spans[0].span_id, 1);
    assert_int_equal(batch->spans[0].start_ns, 7000);
    for (size_t size = 0; size < whole; size++) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, span, size);
        assert_int_equal(weir_zipkin_thrift_span(decoder, copy, size, 3, batch, &used, &counts, &err), WEIR_INVALID);
        assert_true(used <= size);
        free(copy);
    }
    assert_int_equal(batch->span_count, 1);
    weir_batch_unref(batch);
}

/* A list of the smallest spans, of empty tags, of many services, of one long name in many spans of v1, and of escapes:
 * whatever the budget is, the answer is WEIR_OK or WEIR_FULL, nothing stays drawn, and it never takes more than 32
 * times the body. */
static char *grown(const char *head, const char *item, const char *tail, unsigned count) {
    size_t item_size = strlen(item) + 8;
    char *text = malloc(strlen(head) + count * item_size + strlen(tail) + 1), *at = text;
    at += sprintf(at, "%s", head);
    for (unsigned i = 0; i < count; i++) {
        at += sprintf(at, "%s", i > 0 ? "," : "");
        at += sprintf(at, item, i);
    }
    strcpy(at, tail);
    return text;
}

static void memory(void **state) {
    (void)state;
    static const struct {
        const char *head, *item, *tail;
        unsigned count;
    } bodies[] = {
        {"[", "{\"traceId\":\"%x1\",\"id\":\"1\"}", "]", 5000},
        {"[{\"traceId\":\"1\",\"id\":\"1\",\"tags\":{", "\"%x\":\"\"", "}}]", 20000},
        {"[", "{\"traceId\":\"1\",\"id\":\"1\",\"localEndpoint\":{\"serviceName\":\"%x\"}}", "]", 5000},
        {"[{\"traceId\":\"1\",\"id\":\"1\",\"name\":\"\\n\",\"binaryAnnotations\":[",
         "{\"key\":\"%x\",\"value\":\"\\u0001\",\"endpoint\":{\"serviceName\":\"%1$x\\t\"}}", "]}]", 4000},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char *text = grown(bodies[i].head, bodies[i].item, bodies[i].tail, bodies[i].count);
        const uint8_t *bytes = (const uint8_t *)text;
        size_t size = strlen(text);
        bool fitted = false;
        for (size_t limit = 1024; !fitted; limit *= 2) {
            struct weir_budget budget = {.limit_bytes = limit};
            struct weir_batch *batch = weir_batch_new(&budget, 0);
            struct weir_otlp_counts counts = {0};
            struct weir_error err = {0};
            if (limit > 64 * size) fail_msg("body %zu of %zu bytes does not fit into %zu", i, size, limit);
            enum weir_status status =
                weir_zipkin_decode(decoder, weir_zipkin_format_of(bytes, size), bytes, size, 0, batch, &counts, &err);
            fitted = status == WEIR_OK;
            if (!fitted) {
                assert_int_equal(status, WEIR_FULL);
                assert_true(err.retryable);
                assert_int_equal(batch->span_count, 0);
            }
            assert_true(batch->reserved_bytes <= 32 * size);
            assert_int_equal(atomic_load(&budget.used_bytes), batch->reserved_bytes);
            weir_batch_unref(batch);
            assert_int_equal(atomic_load(&budget.used_bytes), 0);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),       cmocka_unit_test(refused), cmocka_unit_test(passed_over),
        cmocka_unit_test(one_of_thrift), cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
