/* Messages of a batch: one a trace, cut where they would be too large; what librdkafka is told, and what it says. */
#include "exporters/kafka/message.h"
#include "exporters/kafka/settings.h"
#include "exporters/kafka/statistics.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "spans.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest Request;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans ScopeSpans;
#define request__unpack        opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack
#define request__free_unpacked opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked

enum { SPANS = 400, SERVICES = 7 };

static struct weir_batch *a_batch(uint32_t traces) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_origin *origins[SERVICES];
    for (uint32_t i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "service-%u", i);
        origins[i] = origin_of_service(name);
    }
    for (uint32_t i = 0; i < SPANS; i++) {
        struct weir_span view = a_view;
        struct weir_buffer body = {0};
        view.trace_lo = 0xabcd000000000000ull + i * 7919 % traces;
        view.trace_hi = i % 3 == 0 ? 0 : view.trace_hi; /* B3 cut it off */
        view.span_id = i + 1;
        span_head(&body, &view, "GET /");
        add_span(batch, origins[i % SERVICES], &body, view);
        weir_buffer_free(&body);
    }
    for (uint32_t i = 0; i < SERVICES; i++)
        weir_origin_unref(origins[i]);
    return batch;
}

static uint64_t id_of(const ProtobufCBinaryData *bytes) { /* the low 64 bits */
    uint64_t id = 0;
    for (size_t i = 0; i < bytes->len; i++)
        id = id << 8 | bytes->data[i];
    return id;
}

static uint32_t read_otlp(const struct weir_buffer *message, uint64_t *ids, uint64_t *traces) {
    uint32_t count = 0;
    Request *request = request__unpack(NULL, message->size, message->bytes);
    assert_non_null(request);
    for (size_t r = 0; r < request->n_resource_spans; r++) {
        const char *service = request->resource_spans[r]->resource->attributes[0]->value->string_value;
        assert_int_equal(request->resource_spans[r]->n_scope_spans, 1);
        const ScopeSpans *scope = request->resource_spans[r]->scope_spans[0];
        for (size_t i = 0; i < scope->n_spans; i++, count++) {
            ids[count] = id_of(&scope->spans[i]->span_id);
            traces[count] = id_of(&scope->spans[i]->trace_id);
            assert_int_equal((ids[count] - 1) % SERVICES, service[strlen(service) - 1] - '0');
        }
    }
    request__free_unpacked(request, NULL);
    return count;
}

static uint32_t read_json(const struct weir_buffer *message, uint64_t *ids, uint64_t *traces) {
    json_t *list = json_loadb((const char *)message->bytes, message->size, 0, NULL);
    assert_non_null(list);
    uint32_t count = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < count; i++) {
        const char *id = json_string_value(json_object_get(json_array_get(list, i), "id"));
        const char *trace = json_string_value(json_object_get(json_array_get(list, i), "traceId"));
        ids[i] = strtoull(id, NULL, 16);
        traces[i] = strtoull(trace + strlen(trace) - 16, NULL, 16);
    }
    json_decref(list);
    return count;
}

/* Makes all messages of a batch; returns how many. */
static uint32_t make_all(enum weir_kafka_encoding encoding, uint32_t traces, size_t most) {
    struct weir_batch *batch = a_batch(traces);
    struct weir_kafka_encoder encoder = {.encoding = encoding};
    struct weir_buffer out = {0};
    uint8_t seen[SPANS + 1] = {0};
    uint64_t last_of_trace[SPANS] = {0};
    uint32_t messages = 0;
    assert_true(weir_kafka_begin(&encoder, batch));
    assert_int_equal(encoder.trace_count, traces);
    for (uint32_t first = 0, next; first < SPANS; first = next) {
        char key[WEIR_KAFKA_KEY_BYTES + 1] = {0};
        uint64_t ids[SPANS], of[SPANS];
        uint32_t end = weir_kafka_trace_end(&encoder, first);
        weir_buffer_clear(&out);
        next = weir_kafka_encode(&encoder, first, end, most, &out);
        assert_in_range(next, first + 1, end);
        assert_true(out.size <= most || next == first + 1);
        assert_false(out.failed);
        weir_kafka_key(&encoder, first, key);
        uint32_t count = encoding == WEIR_KAFKA_OTLP_PROTO ? read_otlp(&out, ids, of) : read_json(&out, ids, of);
        assert_int_equal(count, next - first);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(of[i], strtoull(key, NULL, 16));
            assert_in_range(ids[i], 1, SPANS);
            assert_int_equal(seen[ids[i]]++, 0);
            uint64_t *last = &last_of_trace[of[i] - 0xabcd000000000000ull];
            if (encoding != WEIR_KAFKA_OTLP_PROTO) assert_true(ids[i] > *last); /* as they came */
            *last = ids[i];
        }
        messages++;
    }
    weir_kafka_encoder_free(&encoder);
    weir_buffer_free(&out);
    weir_batch_unref(batch);
    return messages;
}

static void a_message_a_trace(void **state) {
    (void)state;
    const enum weir_kafka_encoding encodings[] = {WEIR_KAFKA_ZIPKIN_JSON, WEIR_KAFKA_OTLP_PROTO};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(make_all(encodings[i], 50, 1000000), 50);
        assert_int_equal(make_all(encodings[i], 1, 1000000), 1);
        assert_int_equal(make_all(encodings[i], SPANS, 1000000), SPANS);
        uint32_t cut = make_all(encodings[i], 50, 400);
        assert_in_range(cut, 60, SPANS);
        assert_int_equal(make_all(encodings[i], 50, 10), SPANS); /* none fits: each by itself */
    }
}

/* A part of the order means the same spans also in another encoder, later. */
static void the_order_hangs_on_the_batch_alone(void **state) {
    (void)state;
    struct weir_batch *batch = a_batch(33), *other = a_batch(9);
    struct weir_kafka_encoder one = {.encoding = WEIR_KAFKA_OTLP_PROTO}, two = one;
    struct weir_buffer a = {0}, b = {0};
    assert_true(weir_kafka_begin(&one, batch));
    assert_true(weir_kafka_begin(&two, other));
    assert_true(weir_kafka_begin(&two, batch));
    assert_int_equal(weir_kafka_encode(&one, 20, weir_kafka_trace_end(&one, 20), 1000000, &a),
                     weir_kafka_encode(&two, 20, weir_kafka_trace_end(&two, 20), 1000000, &b));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    weir_kafka_encoder_free(&one);
    weir_kafka_encoder_free(&two);
    weir_buffer_free(&a);
    weir_buffer_free(&b);
    weir_batch_unref(batch);
    weir_batch_unref(other);
}

static struct weir_exporter_config a_config(void) {
    struct weir_exporter_config config = {.type = "kafka", .name = "kafka/a", .max_age_ns = 3600000000000ull};
    strcpy(config.kafka.brokers, "127.0.0.1:1");
    strcpy(config.kafka.topic, "zipkin");
    config.kafka.buffer_bytes = 1 << 20;
    config.kafka.compression_level = 1;
    return config;
}
static void setting(struct weir_exporter_config *config, const char *name, const char *value) {
    strcpy(config->headers[config->header_count].name, name);
    strcpy(config->headers[config->header_count++].value, value);
}
static const char *value_of(const rd_kafka_conf_t *conf, const char *name) {
    static char value[256];
    size_t size = sizeof value;
    assert_int_equal(rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
    return value;
}

static void what_librdkafka_is_told(void **state) {
    (void)state;
    struct weir_error err = {0};
    struct weir_exporter_config config = a_config();
    setting(&config, "security.protocol", "sasl_ssl");
    setting(&config, "sasl.password", "secret");
    setting(&config, "linger.ms", "7");
    rd_kafka_conf_t *conf = weir_kafka_settings(&config, 50000, &err);
    assert_non_null(conf);
    const char *const told[][2] = {{"bootstrap.servers", "127.0.0.1:1"},
                                   {"enable.idempotence", "true"},
                                   {"compression.codec", "zstd"},
                                   {"message.max.bytes", "50000"},
                                   {"batch.size", "50000"},
                                   {"message.timeout.ms", "3600000"},
                                   {"security.protocol", "sasl_ssl"},
                                   {"sasl.password", "secret"},
                                   {"linger.ms", "7"},
                                   {"partitioner", "murmur2_random"},
                                   {"queue.buffering.max.kbytes", "1024"},
                                   {"queue.buffering.max.messages", "1024"}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_string_equal(value_of(conf, told[i][0]), told[i][1]);
    rd_kafka_conf_destroy(conf);
}

static void refused(const char *name, const char *value, const char *why) {
    struct weir_error err = {0};
    struct weir_exporter_config config = a_config();
    setting(&config, name, value);
    assert_null(weir_kafka_settings(&config, 50000, &err));
    assert_string_equal(err.text, why);
}

static void settings_that_are_refused(void **state) {
    (void)state;
    refused("no.such.thing", "1", "exporters.kafka/a: settings: no.such.thing: is not a setting of librdkafka");
    refused("sasl.mechanisms", "A SECRET",
            "exporters.kafka/a: settings: sasl.mechanisms: librdkafka takes no such value");
    refused("linger.ms", "-4", "exporters.kafka/a: settings: linger.ms: librdkafka takes no such value");
    refused("queue.buffering.max.messages", "1",
            "exporters.kafka/a: settings: queue.buffering.max.messages: is set by the exporter's key buffer_bytes");
    refused("acks", "0", "exporters.kafka/a: settings: acks: is Weir's own to set");
    refused("bootstrap.servers", "x:1",
            "exporters.kafka/a: settings: bootstrap.servers: is set by the exporter's key brokers");
    refused("plugin.library.paths", "/tmp/x.so",
            "exporters.kafka/a: settings: plugin.library.paths: is Weir's own to set");
}

static void statistics_become_numbers(void **state) {
    (void)state;
    static const char json[] =
        "{\"msg_cnt\":12,\"msg_size\":3456,\"brokers\":{"
        "\"a:9092/1\":{\"nodeid\":1,\"state\":\"UP\",\"txretries\":3,\"req_timeouts\":1,\"disconnects\":2,"
        "\"rtt\":{\"avg\":1500},\"throttle\":{\"avg\":0}},"
        "\"b:9092/"
        "2\":{\"nodeid\":2,\"state\":\"CONNECT\",\"txretries\":4,\"rtt\":{\"avg\":2500},\"throttle\":{\"avg\":40}},"
        "\"a:9092/bootstrap\":{\"nodeid\":-1,\"state\":\"UP\",\"disconnects\":1}},"
        "\"topics\":{\"other\":{\"partitions\":{\"7\":{\"partition\":7,\"leader\":7}}},\"spans\":{\"partitions\":{"
        "\"2\":{\"partition\":2,\"leader\":1},\"0\":{\"partition\":0,\"leader\":3},\"5000\":{\"partition\":5000,"
        "\"leader\":3},"
        "\"1\":{\"partition\":1,\"leader\":-1},\"-1\":{\"partition\":-1,\"leader\":-1},\"x\":{}}}}}";
    struct weir_kafka_statistics read;
    assert_true(weir_kafka_statistics_read(json, strlen(json), "spans", &read));
    assert_int_equal(read.messages, 12);
    assert_int_equal(read.bytes, 3456);
    assert_int_equal(read.retries, 7);
    assert_int_equal(read.timeouts, 1);
    assert_int_equal(read.disconnects, 3);
    assert_int_equal(read.brokers, 2);
    assert_int_equal(read.brokers_up, 1);
    assert_int_equal(read.rtt_us, 2500);
    assert_int_equal(read.throttle_us, 40000);
    assert_int_equal(read.partitions, 3);
    assert_int_equal(read.leaders[0], 3);
    assert_int_equal(read.leaders[1], -1);
    assert_int_equal(read.leaders[2], 1);
    struct weir_kafka_statistics before = read;
    for (size_t size = 0; size < sizeof json - 1; size++)
        assert_false(weir_kafka_statistics_read(json, size, "spans", &read));
    assert_false(weir_kafka_statistics_read("{\"brokers\":[]}", 14, "spans", &read));
    assert_memory_equal(&before, &read, sizeof read);
}

static void leaders_that_move(void **state) {
    (void)state;
    static const struct {
        int32_t leaders[3];
        uint32_t moved, without;
    } seen[] = {
        {{1, -1, 2}, 0, 1}, /* at first nothing has moved */
        {{1, 3, 2}, 0, 0},    {{1, 3, -1}, 0, 1},
        {{2, 3, -1}, 1, 1},   {{2, 1, 2}, 1, 0}, /* the third is what it was before */
        {{-1, -1, -1}, 0, 3}, {{3, 3, 3}, 3, 0},
    };
    struct weir_kafka_statistics before = {0};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        struct weir_kafka_statistics now = {.partitions = 3};
        uint32_t without;
        memcpy(now.leaders, seen[i].leaders, sizeof seen[i].leaders);
        assert_int_equal(weir_kafka_leaders_moved(&before, &now, &without), seen[i].moved);
        assert_int_equal(without, seen[i].without);
        before = now;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_a_trace),         cmocka_unit_test(the_order_hangs_on_the_batch_alone),
        cmocka_unit_test(what_librdkafka_is_told),   cmocka_unit_test(settings_that_are_refused),
        cmocka_unit_test(statistics_become_numbers), cmocka_unit_test(leaders_that_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
