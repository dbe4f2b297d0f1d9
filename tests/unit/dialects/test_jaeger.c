/* test_jaeger.c - plans as Jaeger's clients are told them, read back by protobuf-c and jansson. */
#include "collector/dialects/jaeger.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jaeger/api_v2/sampling.pb-c.h>

typedef Jaeger__ApiV2__SamplingStrategyResponse response_message;

static struct weir_names *names;
static struct weir_buffer out;

static int set_up(void **state) {
    (void)state;
    names = weir_names_new(1000, 64 * 1000);
    return names == NULL;
}
static int tear_down(void **state) {
    (void)state;
    weir_buffer_free(&out);
    weir_names_free(names);
    return 0;
}

static uint32_t name_of(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

static const char *json_of(const struct weir_plan_service *service) {
    weir_buffer_clear(&out);
    weir_jaeger_write_json(&out, names, service);
    weir_buffer_byte(&out, 0);
    assert_false(out.failed);
    return (const char *)out.bytes;
}

static response_message *proto_of(const struct weir_plan_service *service) {
    weir_buffer_clear(&out);
    weir_jaeger_write_proto(&out, names, service);
    assert_false(out.failed);
    response_message *read = jaeger__api_v2__sampling_strategy_response__unpack(NULL, out.size, out.bytes);
    assert_non_null(read);
    return read;
}

static void free_proto(response_message *read) {
    jaeger__api_v2__sampling_strategy_response__free_unpacked(read, NULL);
}

static void a_rate_alone(void **state) {
    (void)state;
    struct weir_plan_service service = {.rate.rate = 0.000001, .max_traces_per_second = -1};
    assert_string_equal(json_of(&service),
                        "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":1e-06}}");
    response_message *read = proto_of(&service);
    assert_int_equal(read->strategytype, JAEGER__API_V2__SAMPLING_STRATEGY_TYPE__PROBABILISTIC);
    assert_true(read->probabilisticsampling->samplingrate == 0.000001);
    assert_null(read->ratelimitingsampling);
    assert_null(read->operationsampling);
    free_proto(read);
    service.rate.rate = 0;
    assert_string_equal(json_of(&service),
                        "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0}}");
    read = proto_of(&service);
    assert_non_null(read->probabilisticsampling); /* 0 is told, not left out */
    assert_true(read->probabilisticsampling->samplingrate == 0);
    free_proto(read);
}

static void a_rate_limit_is_a_whole_number(void **state) {
    (void)state;
    const struct {
        double limit;
        int32_t told;
    } rows[] = {{0, 0}, {0.001, 1}, {0.9, 1}, {1, 1}, {1.5, 2}, {100, 100}, {3e9, INT32_MAX}, {INFINITY, INT32_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct weir_plan_service service = {.rate.rate = 0.5, .max_traces_per_second = rows[i].limit};
        char want[120];
        snprintf(want, sizeof want,
                 "{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":{\"maxTracesPerSecond\":%d}}",
                 rows[i].told);
        assert_string_equal(json_of(&service), want);
        response_message *read = proto_of(&service);
        assert_int_equal(read->strategytype, JAEGER__API_V2__SAMPLING_STRATEGY_TYPE__RATE_LIMITING);
        assert_null(read->probabilisticsampling);
        assert_int_equal(read->ratelimitingsampling->maxtracespersecond, rows[i].told);
        free_proto(read);
    }
}

static void operations_by_the_names_that_they_have(void **state) {
    (void)state;
    struct weir_plan_rate operations[] = {
        {.name = name_of("GET /carts/42"), .operation = name_of("GET /carts/{id}"), .rate = 0.25},
        {.name = name_of("say \"hi\" \\ \n \xc3\xa4"), .rate = 0},
        {.name = name_of(""), .rate = 1},
    };
    const struct weir_plan_service service = {
        .rate.rate = 0.01, .max_traces_per_second = -1, .operations = operations, .operation_count = 3};
    json_t *read = json_loads(json_of(&service), 0, NULL);
    assert_non_null(read);
    json_t *part = json_object_get(read, "operationSampling"), *list = json_object_get(part, "perOperationStrategies");
    assert_string_equal(json_string_value(json_object_get(read, "strategyType")), "PROBABILISTIC");
    assert_true(json_number_value(json_object_get(json_object_get(read, "probabilisticSampling"), "samplingRate")) ==
                0.01);
    assert_true(json_number_value(json_object_get(part, "defaultSamplingProbability")) == 0.01);
    assert_true(json_is_integer(json_object_get(part, "defaultLowerBoundTracesPerSecond")));
    assert_true(json_is_integer(json_object_get(part, "defaultUpperBoundTracesPerSecond")));
    assert_int_equal(json_array_size(list), 3);
    for (uint32_t i = 0; i < 3; i++) {
        json_t *one = json_array_get(list, i);
        assert_string_equal(json_string_value(json_object_get(one, "operation")),
                            weir_names_text(names, operations[i].name, NULL));
        assert_true(json_number_value(json_object_get(json_object_get(one, "probabilisticSampling"), "samplingRate")) ==
                    operations[i].rate);
    }
    json_decref(read);
    response_message *message = proto_of(&service);
    assert_true(message->probabilisticsampling->samplingrate == 0.01);
    assert_true(message->operationsampling->defaultsamplingprobability == 0.01);
    assert_true(message->operationsampling->defaultlowerboundtracespersecond == 0);
    assert_int_equal(message->operationsampling->n_peroperationstrategies, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const Jaeger__ApiV2__OperationSamplingStrategy *one = message->operationsampling->peroperationstrategies[i];
        assert_string_equal(one->operation, weir_names_text(names, operations[i].name, NULL));
        assert_true(one->probabilisticsampling->samplingrate == operations[i].rate);
    }
    free_proto(message);
}

static void a_limit_and_operations_are_both_told(void **state) {
    (void)state;
    struct weir_plan_rate operation = {.name = name_of("a"), .rate = 0.5};
    const struct weir_plan_service service = {
        .rate.rate = 0.125, .max_traces_per_second = 5, .operations = &operation, .operation_count = 1};
    assert_string_equal(json_of(&service),
                        "{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":{\"maxTracesPerSecond\":5},"
                        "\"operationSampling\":{\"defaultSamplingProbability\":0.125,"
                        "\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":[{\"operation\":\"a\","
                        "\"probabilisticSampling\":{\"samplingRate\":0.5}}],\"defaultUpperBoundTracesPerSecond\":0}}");
    response_message *read = proto_of(&service);
    assert_int_equal(read->ratelimitingsampling->maxtracespersecond, 5);
    assert_true(read->operationsampling->defaultsamplingprobability == 0.125);
    free_proto(read);
}

static void a_bound_is_told_as_failed(void **state) {
    (void)state;
    struct weir_plan_rate operation = {.name = name_of("a"), .rate = 0.5};
    const struct weir_plan_service service = {
        .rate.rate = 0.125, .max_traces_per_second = 5, .operations = &operation, .operation_count = 1};
    for (size_t limit = 1; limit < 60; limit++) {
        struct weir_buffer small = {.limit = limit};
        weir_jaeger_write_json(&small, names, &service);
        assert_true(small.failed);
        weir_buffer_free(&small);
    }
    struct weir_buffer small = {.limit = 20};
    weir_jaeger_write_proto(&small, names, &service);
    assert_true(small.failed);
    assert_int_equal(small.size, 0);
    weir_buffer_free(&small);
}

static void what_is_asked(void **state) {
    (void)state;
    static char long_name[2 + 1 + 257 + 1] = "\x0a\x81\x02"; /* 257 bytes */
    memset(long_name + 3, 'x', 257);
    const struct {
        const char *bytes;
        size_t size;
        const char *service; /* NULL: refused */
    } rows[] = {
        {"", 0, ""},
        {"\x0a\x00", 2, ""},
        {"\x0a\x03pay", 5, "pay"},
        {"\x0a\x03old\x0a\x03pay", 10, "pay"},       /* the last counts, as in all of protobuf */
        {"\x10\x07\x1a\x01z\x0a\x03pay", 10, "pay"}, /* fields that we do not know */
        {"\x08\x07", 2, ""},                         /* its number, another type */
        {"\x0a\x04pay", 5, NULL},                    /* cut */
        {"\x0a\x02\xc3\x28", 4, NULL},               /* no UTF-8 */
        {"\x0b", 1, NULL},                           /* a group */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, NULL},
        {long_name, 3 + 257, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *service = "untouched";
        size_t size = 9;
        struct weir_error err = {0};
        enum weir_status status =
            weir_jaeger_read_parameters((const uint8_t *)rows[i].bytes, rows[i].size, &service, &size, &err);
        assert_int_equal(status, rows[i].service == NULL ? WEIR_INVALID : WEIR_OK);
        const char *want = rows[i].service == NULL ? "untouched" : rows[i].service;
        assert_int_equal(size, strlen(want));
        if (size > 0) assert_memory_equal(service, want, size);
        if (status != WEIR_OK) assert_true(err.text[0] != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_alone),
        cmocka_unit_test(a_rate_limit_is_a_whole_number),
        cmocka_unit_test(operations_by_the_names_that_they_have),
        cmocka_unit_test(a_limit_and_operations_are_both_told),
        cmocka_unit_test(a_bound_is_told_as_failed),
        cmocka_unit_test(what_is_asked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
