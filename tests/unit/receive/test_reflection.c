#include "collector/core/wire.h"
#include "collector/receive/reflection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <grpc/reflection/v1/reflection.pb-c.h>

static const char *const services[] = {"grpc.health.v1.Health", "a.B", NULL};

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;
#define RESPONSE(x) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##x

/* Asked by field `number` of the request; the answer as protobuf-c reads it. */
static response_message *ask(uint32_t number, const char *name) {
    uint8_t request[512];
    uint8_t *at = weir_wire_put_bytes(request, 1, "host", 4);
    at = weir_wire_put_bytes(at, number, name, strlen(name));
    struct weir_buffer out = {0};
    assert_true(weir_reflection_answer(services, request, (size_t)(at - request), &out));
    assert_false(out.failed);
    response_message *response = grpc__reflection__v1__server_reflection_response__unpack(NULL, out.size, out.bytes);
    assert_non_null(response);
    assert_string_equal(response->valid_host, "host");
    assert_string_equal(response->original_request->host, "host");
    weir_buffer_free(&out);
    return response;
}
static void done(response_message *response) {
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

/* FileDescriptorProto{1 name} */
static void file_is(const ProtobufCBinaryData *file, const char *name) {
    struct weir_wire wire = weir_wire_of(file->data, file->len);
    struct weir_wire_field field;
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, 1);
    assert_int_equal(field.value, strlen(name));
    assert_memory_equal(field.bytes, name, strlen(name));
}

static void services_are_listed(void **state) {
    (void)state;
    response_message *response = ask(7, "");
    assert_int_equal(response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
    assert_int_equal(response->list_services_response->n_service, 2);
    assert_string_equal(response->list_services_response->service[0]->name, "grpc.health.v1.Health");
    assert_string_equal(response->list_services_response->service[1]->name, "a.B");
    done(response);
}

#define TRACE "opentelemetry/proto/trace/v1/trace.proto"
static void files_by_name_and_symbol(void **state) {
    (void)state;
    static const struct {
        uint32_t number;
        const char *name, *file;
        size_t files; /* with what it imports */
    } rows[] = {
        {3, TRACE, TRACE, 3},
        {3, "grpc/health/v1/health.proto", "grpc/health/v1/health.proto", 1},
        {4, "grpc.health.v1.Health", "grpc/health/v1/health.proto", 1},
        {4, "grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto", 1},
        {4, "grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto", 1},
        {4, "grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto", 1},
        {4, "opentelemetry.proto.trace.v1.Span", TRACE, 3},
        {4, "opentelemetry.proto.trace.v1.Span.Event", TRACE, 3},
        {4, "opentelemetry.proto.trace.v1.Span.Event.time_unix_nano", TRACE, 3},
        {4, "opentelemetry.proto.trace.v1.Span.SPAN_KIND_SERVER", TRACE, 3},
        {4, "opentelemetry.proto.metrics.v1.NumberDataPoint.value", "opentelemetry/proto/metrics/v1/metrics.proto", 3},
        {4, "opentelemetry.proto.collector.trace.v1.TraceService.Export",
         "opentelemetry/proto/collector/trace/v1/trace_service.proto", 4},
        {4, "jaeger.api_v2.SamplingManager.GetSamplingStrategy", "jaeger/api_v2/sampling.proto", 1},
        {4, "envoy.service.runtime.v3.RuntimeDiscoveryService", "envoy/service/runtime/v3/rtds.proto", 6},
        {4, "google.protobuf.Value", "google/protobuf/struct.proto", 1},
        {4, "grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto", 1},
        {4, "grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        response_message *response = ask(rows[i].number, rows[i].name);
        assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
        assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, rows[i].files);
        file_is(&response->file_descriptor_response->file_descriptor_proto[0], rows[i].file);
        done(response);
    }
}

static void what_is_not_there(void **state) {
    (void)state;
    static const struct {
        uint32_t number;
        const char *name;
    } rows[] = {
        {3, ""},
        {3, "trace.proto"},
        {3, TRACE "x"},
        {4, ""},
        {4, "."},
        {4, "Span"},
        {4, "grpc.health.v1"},
        {4, "grpc.health.v1."},
        {4, "grpc.health.v1.Health."},
        {4, "grpc.health.v1.Health.Watch.x"},
        {4, "grpc.health.v1.Health.watch"},
        {4, "grpc.health.v1xHealth"},
        {4, "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"}, /* values are named beside their enum */
        {5, ""},
        {6, "no.Type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        response_message *response = ask(rows[i].number, rows[i].name);
        assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
        assert_int_equal(response->error_response->error_code, WEIR_GRPC_NOT_FOUND);
        done(response);
    }
    response_message *response = ask(2, ""); /* nothing was asked */
    assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, WEIR_GRPC_INVALID_ARGUMENT);
    done(response);
    response = ask(6, "grpc.health.v1.HealthCheckRequest"); /* proto3: no extensions, but a type of ours */
    assert_int_equal(response->message_response_case, RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE));
    assert_int_equal(response->all_extension_numbers_response->n_extension_number, 0);
    done(response);
}

static void broken_requests(void **state) {
    (void)state;
    struct weir_buffer out = {0};
    const uint8_t cut[] = {0x22, 5, 'a'}, group[] = {0x23};
    assert_false(weir_reflection_answer(services, cut, sizeof cut, &out));
    assert_false(weir_reflection_answer(services, group, sizeof group, &out));
    assert_int_equal(out.size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_are_listed),
        cmocka_unit_test(files_by_name_and_symbol),
        cmocka_unit_test(what_is_not_there),
        cmocka_unit_test(broken_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
