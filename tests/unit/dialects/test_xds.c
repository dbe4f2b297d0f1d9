#include "collector/core/wire.h"
#include "collector/dialects/xds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUNTIME "type.googleapis.com/envoy.service.runtime.v3.Runtime"

static void text_is(struct weir_xds_text text, const char *want) {
    if (!weir_xds_text_is(text, want)) fail_msg("\"%.*s\", not \"%s\"", (int)text.size, text.bytes, want);
}

/* ---- what a real Envoy sent ---- */

static void recorded(const char *name, struct weir_xds_request *request) {
    static uint8_t bytes[128 * 1024];
    char path[300];
    struct weir_error err;
    snprintf(path, sizeof path, "%s/envoy/%s", WEIR_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(size > 61000 && size < 62000);
    assert_int_equal(weir_xds_read(bytes, size, request, &err), WEIR_OK);
}

static void requests_of_an_envoy(void **state) {
    (void)state;
    static const struct {
        const char *file, *version, *nonce;
    } rows[] = {{"rtds-request-0.bin", "", ""}, {"rtds-request-1.bin", "1", "n1"}, {"rtds-request-2.bin", "2", "n2"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_xds_request request;
        recorded(rows[i].file, &request);
        text_is(request.node, "sidecar-1");
        text_is(request.cluster, "payments");
        text_is(request.type, RUNTIME);
        text_is(request.version, rows[i].version);
        text_is(request.nonce, rows[i].nonce);
        assert_int_equal(request.name_count, 1);
        text_is(request.names[0], "weir");
        assert_false(request.refuses);
    }
}

/* ---- as protobuf's Python encoder writes it ---- */

static void a_refusal(void **state) {
    (void)state;
    static const char bytes[] = "\x0a\x01v\x12\x06\x0a\x01n\x12\x01"
                                "c\x1a\x01"
                                "a\x1a\x01"
                                "b\"\x01t*\x01"
                                "72\x06\x08\x0d\x12\x02no";
    struct weir_xds_request request;
    assert_int_equal(weir_xds_read((const uint8_t *)bytes, sizeof bytes - 1, &request, NULL), WEIR_OK);
    text_is(request.version, "v");
    text_is(request.node, "n");
    text_is(request.cluster, "c");
    assert_int_equal(request.name_count, 2);
    text_is(request.names[0], "a");
    text_is(request.names[1], "b");
    text_is(request.type, "t");
    text_is(request.nonce, "7");
    assert_true(request.refuses);
    text_is(request.reason, "no");
    /* Cut anywhere it is broken, or has less in it; nobody reads on. */
    for (size_t size = 0; size + 1 < sizeof bytes; size++) {
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, bytes, size);
        enum weir_status status = weir_xds_read(cut, size, &request, NULL);
        assert_true(status == WEIR_OK || status == WEIR_INVALID);
        free(cut);
    }
}

static void an_empty_one(void **state) {
    (void)state;
    struct weir_xds_request request;
    assert_int_equal(weir_xds_read(NULL, 0, &request, NULL), WEIR_OK);
    assert_int_equal(request.node.size + request.type.size + request.name_count, 0);
    text_is(request.version, "");
    /* A refusal needs no words. */
    assert_int_equal(weir_xds_read((const uint8_t *)"\x32\x00", 2, &request, NULL), WEIR_OK);
    assert_true(request.refuses && request.reason.size == 0);
}

/* What is said twice is merged. */
static void nodes_are_merged(void **state) {
    (void)state;
    static const char bytes[] = "\x12\x03\x0a\x01n\x12\x03\x12\x01"
                                "c";
    struct weir_xds_request request;
    assert_int_equal(weir_xds_read((const uint8_t *)bytes, sizeof bytes - 1, &request, NULL), WEIR_OK);
    text_is(request.node, "n");
    text_is(request.cluster, "c");
}

/* ---- what is refused ---- */

static void refused(const void *bytes, size_t size, enum weir_status want, const char *names) {
    struct weir_xds_request request;
    struct weir_error err = {0};
    assert_int_equal(weir_xds_read(bytes, size, &request, &err), want);
    if (strstr(err.text, names) == NULL) fail_msg("\"%s\" does not name \"%s\"", err.text, names);
}

static void broken_requests(void **state) {
    (void)state;
    refused("\x0a\x05v", 3, WEIR_INVALID, "DiscoveryRequest:");
    refused("\x0b", 1, WEIR_INVALID, "wire type");
    refused("\x08\x01", 2, WEIR_INVALID, "version_info");
    refused("\x10\x01", 2, WEIR_INVALID, "field 2");
    refused("\x30\x01", 2, WEIR_INVALID, "field 6");
    refused("\x12\x02\x0a\x05", 4, WEIR_INVALID, "DiscoveryRequest.node");
    refused("\x12\x02\x08\x05", 4, WEIR_INVALID, "node.id");
    refused("\x32\x02\x12\x05", 4, WEIR_INVALID, "error_detail");
    refused("\x0a\x01\xff", 3, WEIR_INVALID, "not text");
    refused("\x1a\x02"
            "a\0",
            4, WEIR_INVALID, "not text");
}

static void bounds(void **state) {
    (void)state;
    struct weir_buffer many = {0};
    uint8_t *at, bytes[400], text[300];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < WEIR_XDS_NAMES_MAX; i++)
        weir_buffer_put(&many,
                        "\x1a\x01"
                        "a",
                        3);
    struct weir_xds_request request;
    assert_int_equal(weir_xds_read(many.bytes, many.size, &request, NULL), WEIR_OK);
    assert_int_equal(request.name_count, WEIR_XDS_NAMES_MAX);
    weir_buffer_put(&many,
                    "\x1a\x01"
                    "a",
                    3);
    refused(many.bytes, many.size, WEIR_FULL, "resource_names");
    weir_buffer_free(&many);
    for (uint32_t field = 1; field <= 5; field++) {
        if (field == 2) continue;
        at = weir_wire_put_bytes(bytes, field, text, WEIR_XDS_TEXT_BYTES_MAX);
        assert_int_equal(weir_xds_read(bytes, (size_t)(at - bytes), &request, NULL), WEIR_OK);
        at = weir_wire_put_bytes(bytes, field, text, WEIR_XDS_TEXT_BYTES_MAX + 1);
        refused(bytes, (size_t)(at - bytes), WEIR_FULL, "257 bytes");
    }
    /* A reason is read however long it is. */
    uint8_t inner[320];
    at = weir_wire_put_bytes(inner, 2, text, sizeof text);
    at = weir_wire_put_bytes(bytes, 6, inner, (size_t)(at - inner));
    assert_int_equal(weir_xds_read(bytes, (size_t)(at - bytes), &request, NULL), WEIR_OK);
    assert_int_equal(request.reason.size, sizeof text);
}

/* ---- responses ---- */

static void a_response(void **state) {
    (void)state;
    /* What protobuf's Python encoder makes of it; it puts the resource second, which means the same. */
    static const char want[] = "\x0a\x04v1:x\"\x01t*\x01"
                               "32\x06\x0a\x04weir\x12\x08\x0a\x01t\x12\x03"
                               "abc";
    struct weir_buffer out = {0};
    weir_xds_put_response(&out, &(struct weir_xds_response){.version = "v1:x", .type = "t", .nonce = "3"});
    weir_xds_put_resource(&out, "t", (const uint8_t *)"abc", 3);
    assert_false(out.failed);
    assert_int_equal(out.size, sizeof want - 1);
    assert_memory_equal(out.bytes, want, out.size);
    weir_buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_an_envoy), cmocka_unit_test(a_refusal),       cmocka_unit_test(an_empty_one),
        cmocka_unit_test(nodes_are_merged),     cmocka_unit_test(broken_requests), cmocka_unit_test(bounds),
        cmocka_unit_test(a_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
