#include "collector/decode/otlp_metrics_check.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"

enum message {
    REQUEST,
    RESOURCE_METRICS,
    RESOURCE,
    SCOPE_METRICS,
    METRIC,
    GAUGE,
    SUM,
    HISTOGRAM,
    EXPONENTIAL,
    SUMMARY,
    NUMBER_POINT,
    HISTOGRAM_POINT,
    EXPONENTIAL_POINT,
    BUCKETS,
    SUMMARY_POINT,
    QUANTILE,
    KEY_VALUE,
    ANY_VALUE,
    ARRAY_VALUE,
    KEY_VALUE_LIST,
    PACKED_FIXED64,
    PACKED_VARINT,
    MESSAGES
};
static const char *const message_names[MESSAGES] = {"ExportMetricsServiceRequest",
                                                    "ResourceMetrics",
                                                    "Resource",
                                                    "ScopeMetrics",
                                                    "Metric",
                                                    "Gauge",
                                                    "Sum",
                                                    "Histogram",
                                                    "ExponentialHistogram",
                                                    "Summary",
                                                    "NumberDataPoint",
                                                    "HistogramDataPoint",
                                                    "ExponentialHistogramDataPoint",
                                                    "Buckets",
                                                    "SummaryDataPoint",
                                                    "ValueAtQuantile",
                                                    "KeyValue",
                                                    "AnyValue",
                                                    "ArrayValue",
                                                    "KeyValueList",
                                                    "packed fixed64",
                                                    "packed uint64"};

/* The fields that are read and have something inside. What is not read (exemplars, scope, metadata) is passed over
 * whole. */
struct child {
    uint32_t number;
    enum message message;
};
enum { CHILDREN_MAX = 5 };
static const struct child children[MESSAGES][CHILDREN_MAX] = {
    [REQUEST] = {{1, RESOURCE_METRICS}},
    [RESOURCE_METRICS] = {{1, RESOURCE}, {2, SCOPE_METRICS}},
    [RESOURCE] = {{1, KEY_VALUE}},
    [SCOPE_METRICS] = {{2, METRIC}},
    [METRIC] = {{5, GAUGE}, {7, SUM}, {9, HISTOGRAM}, {10, EXPONENTIAL}, {11, SUMMARY}},
    [GAUGE] = {{1, NUMBER_POINT}},
    [SUM] = {{1, NUMBER_POINT}},
    [HISTOGRAM] = {{1, HISTOGRAM_POINT}},
    [EXPONENTIAL] = {{1, EXPONENTIAL_POINT}},
    [SUMMARY] = {{1, SUMMARY_POINT}},
    [NUMBER_POINT] = {{7, KEY_VALUE}},
    [HISTOGRAM_POINT] = {{9, KEY_VALUE}, {6, PACKED_FIXED64}, {7, PACKED_FIXED64}},
    [EXPONENTIAL_POINT] = {{1, KEY_VALUE}, {8, BUCKETS}, {9, BUCKETS}},
    [BUCKETS] = {{2, PACKED_VARINT}},
    [SUMMARY_POINT] = {{7, KEY_VALUE}, {6, QUANTILE}},
    [KEY_VALUE] = {{2, ANY_VALUE}},
    [ANY_VALUE] = {{5, ARRAY_VALUE}, {6, KEY_VALUE_LIST}},
    [ARRAY_VALUE] = {{1, ANY_VALUE}},
    [KEY_VALUE_LIST] = {{1, KEY_VALUE}},
};

static enum weir_status broken(struct weir_error *err, enum message message, const char *why, ptrdiff_t offset) {
    return weir_fail(err, WEIR_INVALID, 0, false, "%s: %s at byte %td", message_names[message], why, offset);
}

static enum weir_status check_packed(enum message message, struct weir_wire wire, const uint8_t *base,
                                     struct weir_error *err) {
    uint64_t value;
    if (message == PACKED_FIXED64) {
        return (wire.end - wire.at) % 8 == 0 ? WEIR_OK
                                             : broken(err, message, "size is not a multiple of 8", wire.at - base);
    }
    while (wire.at < wire.end) {
        if (!weir_wire_varint(&wire, &value)) return broken(err, message, wire.why, wire.at - base);
    }
    return WEIR_OK;
}

static enum weir_status check(enum message message, struct weir_wire wire, const uint8_t *base, int depth,
                              struct weir_error *err) {
    if (message == PACKED_FIXED64 || message == PACKED_VARINT) return check_packed(message, wire, base, err);
    if (depth > WEIR_DEPTH_MAX) return broken(err, message, "nested too deep", wire.at - base);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        for (int i = 0; i < CHILDREN_MAX && children[message][i].number != 0; i++) {
            if (children[message][i].number != field.number) continue;
            enum weir_status status =
                check(children[message][i].message, weir_wire_of(field.bytes, field.value), base, depth + 1, err);
            if (status != WEIR_OK) return status;
            break;
        }
    }
    return wire.why == NULL ? WEIR_OK : broken(err, message, wire.why, wire.at - base);
}

enum weir_status weir_otlp_metrics_check(const uint8_t *bytes, size_t size, struct weir_error *err) {
    return check(REQUEST, weir_wire_of(bytes, size), bytes, 1, err);
}
