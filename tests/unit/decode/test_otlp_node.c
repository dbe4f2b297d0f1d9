/* What Envoys say of themselves: as they sent it (tests/data/envoy-live), and what is not theirs to say. */
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID(reason) "1c00b1a8-97b6-" reason "60f-8d27-790dd87c54bb"

static uint8_t *put_attribute(uint8_t *out, const char *key, uint32_t value_field, const char *value) {
    uint8_t pair[256], any[128];
    uint8_t *end = weir_wire_put_bytes(any, value_field, value, strlen(value)), *at;
    at = weir_wire_put_bytes(pair, 1, key, strlen(key));
    at = weir_wire_put_bytes(at, 2, any, (size_t)(end - any));
    return weir_wire_put_bytes(out, 9, pair, (size_t)(at - pair));
}

static void rows_of_attributes(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        uint32_t field; /* of AnyValue; 1 is a string */
        const char *id;
        bool asked_for;
    } rows[] = {
        {"node_id", "sidecar-1", 1, "sidecar-1", false},
        {"node_id", "", 1, "", false},
        {"node_id", "sidecar-1", 7, NULL, false}, /* bytes */
        {"node_ids", "sidecar-1", 1, NULL, false},
        {"guid:x-request-id", ID("9"), 1, NULL, false},
        {"guid:x-request-id", ID("a"), 1, NULL, false},
        {"guid:x-request-id", ID("b"), 1, NULL, true},
        {"guid:x-request-id", "1c00b1a8-97b6-b", 1, NULL, false}, /* no UUID */
        {"user.id", ID("b"), 1, NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t body[1024], *end = weir_wire_put_bytes(body, 5, "GET /", 5);
        end = put_attribute(end, "zone", 1, "node_id");
        end = put_attribute(end, rows[i].key, rows[i].field, rows[i].value);
        end = put_attribute(end, "component", 1, "proxy");
        struct weir_otlp_node node;
        weir_otlp_node(body, (size_t)(end - body), &node);
        if ((node.id == NULL) != (rows[i].id == NULL)) fail_msg("row %zu: id", i);
        if (node.id != NULL && (node.id_size != strlen(rows[i].id) || memcmp(node.id, rows[i].id, node.id_size) != 0))
            fail_msg("row %zu: %.*s", i, (int)node.id_size, node.id);
        assert_int_equal(node.asked_for, rows[i].asked_for);
    }
}

static void as_an_envoy_sent_it(void **state) {
    (void)state;
    struct weir_names *names = weir_names_new(1000, 100000);
    struct weir_otlp *otlp = weir_otlp_new(names);
    for (int file = 0; file < 3; file++) {
        char path[512];
        snprintf(path, sizeof path, "%s/envoy-live/otlp-trace-request-%d.bin", WEIR_TEST_DATA, file);
        FILE *in = fopen(path, "r");
        assert_non_null(in);
        struct weir_batch *batch = weir_batch_new(NULL, 1 << 20);
        batch->size = fread(batch->bytes, 1, 1 << 20, in);
        fclose(in);
        struct weir_otlp_counts counts;
        assert_int_equal(weir_otlp_decode(otlp, batch, &counts, NULL), WEIR_OK);
        uint32_t servers = 0;
        for (uint32_t i = 0; i < batch->span_count; i++) {
            const struct weir_span *span = &batch->spans[i];
            struct weir_otlp_node node;
            weir_otlp_node(batch->bytes + span->offset, span->size, &node);
            if ((span->flags & WEIR_SPAN_ROOT) == 0) continue;
            servers++;
            assert_int_equal(node.id_size, 9);
            assert_memory_equal(node.id, "sidecar-1", 9);
            assert_false(node.asked_for);
        }
        assert_true(servers > 0);
        weir_batch_unref(batch);
    }
    weir_otlp_free(otlp);
    weir_names_free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_of_attributes), cmocka_unit_test(as_an_envoy_sent_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
