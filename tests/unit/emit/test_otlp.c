/* The requests are OTLP as protobuf-c reads it: unpacked from the published schema and packed again, not a byte
 * differs. */
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "played.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest Request;
typedef Opentelemetry__Proto__Trace__V1__Span PackedSpan;

static void check_request(const uint8_t *bytes, size_t size, uint32_t wanted) {
    Request *request =
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(NULL, size, bytes);
    assert_non_null(request);
    uint32_t spans = 0;
    for (size_t r = 0; r < request->n_resource_spans; r++) {
        assert_int_equal(request->resource_spans[r]->n_scope_spans, 1);
        spans += (uint32_t)request->resource_spans[r]->scope_spans[0]->n_spans;
        const PackedSpan *span = request->resource_spans[r]->scope_spans[0]->spans[0];
        assert_int_equal(span->base.n_unknown_fields, 0);
        assert_int_equal(span->trace_id.len, 16);
        assert_true(span->kind == OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_SERVER ||
                    span->kind == OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_CLIENT);
    }
    assert_int_equal(spans, wanted);
    assert_int_equal(protobuf_c_message_get_packed_size(&request->base), size);
    uint8_t *again = malloc(size);
    protobuf_c_message_pack(&request->base, again);
    assert_memory_equal(again, bytes, size);
    free(again);
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request, NULL);
}

static void test_packed_again_it_is_the_same(void **state) {
    (void)state;
    static char *const rows[][6] = {
        {"--ids"},
        {"--senders", "gateway"},
        {"--sample", "0.5", "--errors", "0.3"},
        {"--attributes", "0", "--batch", "1"},
        {"--attributes", "64", "--services", "1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *argv[9] = {"emit", "--spans", "2000"};
        int argc = 3;
        for (size_t a = 0; a < 6 && rows[i][a] != NULL; a++)
            argv[argc++] = rows[i][a];
        struct played played;
        play_all(&played, argc, argv);
        size_t at = 0;
        for (uint32_t r = 0; r < played.request_count; r++) {
            check_request(played.bytes.bytes + at, played.requests[r].size, played.requests[r].spans);
            at += played.requests[r].size;
        }
        assert_int_equal(at, played.bytes.size);
        assert_true(at > 0);
        played_free(&played);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packed_again_it_is_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
