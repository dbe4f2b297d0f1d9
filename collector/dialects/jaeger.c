#include "collector/dialects/jaeger.h"
#include "collector/core/utf8.h"
#include "collector/core/wire.h"
#include "collector/sample/plan_json.h"

#include <math.h>

enum strategy { PROBABILISTIC = 0, RATE_LIMITING = 1 }; /* SamplingStrategyType */

static enum strategy strategy_of(const struct weir_plan_service *service) {
    return service->max_traces_per_second >= 0 ? RATE_LIMITING : PROBABILISTIC;
}

static uint32_t limit_of(const struct weir_plan_service *service) {
    double limit = ceil(service->max_traces_per_second);
    return limit < INT32_MAX ? (uint32_t)limit : INT32_MAX;
}

/* ---- JSON ---- */

static void put_probabilistic(struct weir_buffer *out, double rate) {
    weir_buffer_text(out, "\"probabilisticSampling\":{\"samplingRate\":");
    weir_buffer_double(out, rate);
    weir_buffer_byte(out, '}');
}

static void put_operations(struct weir_buffer *out, const struct weir_names *names,
                           const struct weir_plan_service *service) {
    weir_buffer_text(out, ",\"operationSampling\":{\"defaultSamplingProbability\":");
    weir_buffer_double(out, service->rate.rate);
    weir_buffer_text(out, ",\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":[");
    for (uint32_t i = 0; i < service->operation_count; i++) {
        size_t size;
        const char *name = weir_names_text(names, service->operations[i].name, &size);
        weir_buffer_text(out, i > 0 ? ",{\"operation\":" : "{\"operation\":");
        weir_plan_write_text(name, size, out);
        weir_buffer_byte(out, ',');
        put_probabilistic(out, service->operations[i].rate);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "],\"defaultUpperBoundTracesPerSecond\":0}");
}

void weir_jaeger_write_json(struct weir_buffer *out, const struct weir_names *names,
                            const struct weir_plan_service *service) {
    if (strategy_of(service) == RATE_LIMITING) {
        weir_buffer_printf(out,
                           "{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":{\"maxTracesPerSecond\":%u}",
                           limit_of(service));
    } else {
        weir_buffer_text(out, "{\"strategyType\":\"PROBABILISTIC\",");
        put_probabilistic(out, service->rate.rate);
    }
    if (service->operation_count > 0) put_operations(out, names, service);
    weir_buffer_byte(out, '}');
}

/* ---- protobuf ---- */

/* Fields with numbers up to 15 have a key of one byte. A ProbabilisticSamplingStrategy{1 samplingRate} as a field:
 *   key 1 | length 1 | key 1 | double 8 */
enum { DOUBLE_BYTES = 9, RATE_BYTES = 2 + DOUBLE_BYTES };

static uint8_t *put_rate(uint8_t *at, uint32_t number, double rate) {
    uint64_t bits;
    memcpy(&bits, &rate, sizeof bits);
    at = weir_wire_put_key(at, number, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, DOUBLE_BYTES);
    return weir_wire_put_fixed64(at, 1, bits);
}

/* OperationSamplingStrategy{1 operation, 2 probabilisticSampling} */
static size_t operation_size(const struct weir_names *names, const struct weir_plan_rate *rate) {
    size_t size;
    weir_names_text(names, rate->name, &size);
    return weir_wire_bytes_size(size) + RATE_BYTES;
}

/* PerOperationSamplingStrategies{1 defaultSamplingProbability, 3 perOperationStrategies}; what is 0 is left out. */
static size_t operations_size(const struct weir_names *names, const struct weir_plan_service *service) {
    size_t size = DOUBLE_BYTES;
    for (uint32_t i = 0; i < service->operation_count; i++)
        size += weir_wire_bytes_size(operation_size(names, &service->operations[i]));
    return size;
}

static uint8_t *write_operations(uint8_t *at, const struct weir_names *names, const struct weir_plan_service *service) {
    uint64_t bits;
    memcpy(&bits, &service->rate.rate, sizeof bits);
    at = weir_wire_put_fixed64(at, 1, bits);
    for (uint32_t i = 0; i < service->operation_count; i++) {
        const struct weir_plan_rate *rate = &service->operations[i];
        size_t size;
        const char *name = weir_names_text(names, rate->name, &size);
        at = weir_wire_put_key(at, 3, WEIR_WIRE_BYTES);
        at = weir_wire_put_varint(at, operation_size(names, rate));
        at = weir_wire_put_bytes(at, 1, name, size);
        at = put_rate(at, 2, rate->rate);
    }
    return at;
}

/* SamplingStrategyResponse{1 strategyType, 2 probabilisticSampling, 3 rateLimitingSampling{1 maxTracesPerSecond},
 * 4 operationSampling} */
void weir_jaeger_write_proto(struct weir_buffer *out, const struct weir_names *names,
                             const struct weir_plan_service *service) {
    size_t operations = service->operation_count > 0 ? operations_size(names, service) : 0;
    if (!weir_buffer_room(out, 2 + 2 + 11 + RATE_BYTES + 11 + operations)) return;
    uint8_t *begin = out->bytes + out->size, *at = begin;
    if (strategy_of(service) == RATE_LIMITING) {
        uint32_t limit = limit_of(service);
        at = weir_wire_put_uint(at, 1, RATE_LIMITING);
        at = weir_wire_put_key(at, 3, WEIR_WIRE_BYTES);
        at = weir_wire_put_varint(at, 1 + weir_wire_varint_size(limit));
        at = weir_wire_put_uint(at, 1, limit);
    } else {
        at = put_rate(at, 2, service->rate.rate);
    }
    if (operations > 0) {
        at = weir_wire_put_key(at, 4, WEIR_WIRE_BYTES);
        at = weir_wire_put_varint(at, operations);
        at = write_operations(at, names, service);
    }
    out->size += (size_t)(at - begin);
}

/* ---- what is asked ---- */

enum weir_status weir_jaeger_read_parameters(const uint8_t *bytes, size_t size, const char **service,
                                             size_t *service_size, struct weir_error *err) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    const uint8_t *name = NULL;
    size_t name_size = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        name = field.bytes;
        name_size = (size_t)field.value;
    }
    if (wire.why != NULL)
        return weir_fail(err, WEIR_INVALID, 0, false, "not a SamplingStrategyParameters: %s", wire.why);
    if (name_size > WEIR_NAME_BYTES_MAX)
        return weir_fail(err, WEIR_INVALID, 0, false, "serviceName: %zu bytes, %d are allowed", name_size,
                         WEIR_NAME_BYTES_MAX);
    if (name_size > 0 && !weir_utf8_valid(name, name_size))
        return weir_fail(err, WEIR_INVALID, 0, false, "serviceName: is not UTF-8");
    *service = (const char *)name;
    *service_size = name_size;
    return WEIR_OK;
}
