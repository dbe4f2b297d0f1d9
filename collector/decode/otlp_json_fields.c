#include "collector/decode/otlp_json_fields.h"

#define ONE(label, n, what)                                                                                            \
    { .name = (label), .number = (n), .kind = WEIR_OTLP_JSON_##what }
#define MANY(label, n, what)                                                                                           \
    { .name = (label), .number = (n), .kind = WEIR_OTLP_JSON_##what, .many = true }
#define WORD(label, n, all)                                                                                            \
    { .name = (label), .number = (n), .kind = WEIR_OTLP_JSON_ENUM, .words = (all) }
#define IN(label, n, what)                                                                                             \
    { .name = (label), .number = (n), .kind = WEIR_OTLP_JSON_INSIDE, .inside = WEIR_OTLP_JSON_##what }
#define ALL(label, n, what)                                                                                            \
    { .name = (label), .number = (n), .kind = WEIR_OTLP_JSON_INSIDE, .many = true, .inside = WEIR_OTLP_JSON_##what }

#define KINDS                                                                                                          \
    "SPAN_KIND_UNSPECIFIED\0SPAN_KIND_INTERNAL\0SPAN_KIND_SERVER\0SPAN_KIND_CLIENT\0SPAN_KIND_PRODUCER\0"              \
    "SPAN_KIND_CONSUMER\0"
#define CODES "STATUS_CODE_UNSET\0STATUS_CODE_OK\0STATUS_CODE_ERROR\0"
#define TEMPORALITIES                                                                                                  \
    "AGGREGATION_TEMPORALITY_UNSPECIFIED\0AGGREGATION_TEMPORALITY_DELTA\0AGGREGATION_TEMPORALITY_CUMULATIVE\0"

const struct weir_otlp_json_field weir_otlp_json_fields[WEIR_OTLP_JSON_MESSAGES][WEIR_OTLP_JSON_FIELDS] = {
    [WEIR_OTLP_JSON_TRACE_REQUEST] = {ALL("resource_spans", 1, RESOURCE_SPANS)},
    [WEIR_OTLP_JSON_RESOURCE_SPANS] = {IN("resource", 1, RESOURCE), ALL("scope_spans", 2, SCOPE_SPANS),
                                       ONE("schema_url", 3, TEXT)},
    [WEIR_OTLP_JSON_SCOPE_SPANS] = {IN("scope", 1, SCOPE), ALL("spans", 2, SPAN), ONE("schema_url", 3, TEXT)},
    [WEIR_OTLP_JSON_SPAN] = {ONE("trace_id", 1, HEX), ONE("span_id", 2, HEX), ONE("trace_state", 3, TEXT),
                             ONE("parent_span_id", 4, HEX), ONE("name", 5, TEXT), WORD("kind", 6, KINDS),
                             ONE("start_time_unix_nano", 7, FIXED64), ONE("end_time_unix_nano", 8, FIXED64),
                             ALL("attributes", 9, KEY_VALUE), ONE("dropped_attributes_count", 10, UINT32),
                             ALL("events", 11, EVENT), ONE("dropped_events_count", 12, UINT32), ALL("links", 13, LINK),
                             ONE("dropped_links_count", 14, UINT32), IN("status", 15, STATUS),
                             ONE("flags", 16, FIXED32)},
    [WEIR_OTLP_JSON_EVENT] = {ONE("time_unix_nano", 1, FIXED64), ONE("name", 2, TEXT), ALL("attributes", 3, KEY_VALUE),
                              ONE("dropped_attributes_count", 4, UINT32)},
    [WEIR_OTLP_JSON_LINK] = {ONE("trace_id", 1, HEX), ONE("span_id", 2, HEX), ONE("trace_state", 3, TEXT),
                             ALL("attributes", 4, KEY_VALUE), ONE("dropped_attributes_count", 5, UINT32),
                             ONE("flags", 6, FIXED32)},
    [WEIR_OTLP_JSON_STATUS] = {ONE("message", 2, TEXT), WORD("code", 3, CODES)},
    [WEIR_OTLP_JSON_RESOURCE] = {ALL("attributes", 1, KEY_VALUE), ONE("dropped_attributes_count", 2, UINT32),
                                 ALL("entity_refs", 3, ENTITY_REF)},
    [WEIR_OTLP_JSON_ENTITY_REF] = {ONE("schema_url", 1, TEXT), ONE("type", 2, TEXT), MANY("id_keys", 3, TEXT),
                                   MANY("description_keys", 4, TEXT)},
    [WEIR_OTLP_JSON_SCOPE] = {ONE("name", 1, TEXT), ONE("version", 2, TEXT), ALL("attributes", 3, KEY_VALUE),
                              ONE("dropped_attributes_count", 4, UINT32)},
    [WEIR_OTLP_JSON_KEY_VALUE] = {ONE("key", 1, TEXT), IN("value", 2, ANY_VALUE)},
    [WEIR_OTLP_JSON_ANY_VALUE] = {ONE("string_value", 1, TEXT), ONE("bool_value", 2, BOOL), ONE("int_value", 3, INT64),
                                  ONE("double_value", 4, DOUBLE), IN("array_value", 5, ARRAY_VALUE),
                                  IN("kvlist_value", 6, KEY_VALUE_LIST), ONE("bytes_value", 7, BASE64)},
    [WEIR_OTLP_JSON_ARRAY_VALUE] = {ALL("values", 1, ANY_VALUE)},
    [WEIR_OTLP_JSON_KEY_VALUE_LIST] = {ALL("values", 1, KEY_VALUE)},

    [WEIR_OTLP_JSON_METRICS_REQUEST] = {ALL("resource_metrics", 1, RESOURCE_METRICS)},
    [WEIR_OTLP_JSON_RESOURCE_METRICS] = {IN("resource", 1, RESOURCE), ALL("scope_metrics", 2, SCOPE_METRICS),
                                         ONE("schema_url", 3, TEXT)},
    [WEIR_OTLP_JSON_SCOPE_METRICS] = {IN("scope", 1, SCOPE), ALL("metrics", 2, METRIC), ONE("schema_url", 3, TEXT)},
    [WEIR_OTLP_JSON_METRIC] = {ONE("name", 1, TEXT), ONE("description", 2, TEXT), ONE("unit", 3, TEXT),
                               IN("gauge", 5, GAUGE), IN("sum", 7, SUM), IN("histogram", 9, HISTOGRAM),
                               IN("exponential_histogram", 10, EXPONENTIAL_HISTOGRAM), IN("summary", 11, SUMMARY),
                               ALL("metadata", 12, KEY_VALUE)},
    [WEIR_OTLP_JSON_GAUGE] = {ALL("data_points", 1, NUMBER_POINT)},
    [WEIR_OTLP_JSON_SUM] = {ALL("data_points", 1, NUMBER_POINT), WORD("aggregation_temporality", 2, TEMPORALITIES),
                            ONE("is_monotonic", 3, BOOL)},
    [WEIR_OTLP_JSON_HISTOGRAM] = {ALL("data_points", 1, HISTOGRAM_POINT),
                                  WORD("aggregation_temporality", 2, TEMPORALITIES)},
    [WEIR_OTLP_JSON_EXPONENTIAL_HISTOGRAM] = {ALL("data_points", 1, EXPONENTIAL_POINT),
                                              WORD("aggregation_temporality", 2, TEMPORALITIES)},
    [WEIR_OTLP_JSON_SUMMARY] = {ALL("data_points", 1, SUMMARY_POINT)},
    [WEIR_OTLP_JSON_NUMBER_POINT] = {ALL("attributes", 7, KEY_VALUE), ONE("start_time_unix_nano", 2, FIXED64),
                                     ONE("time_unix_nano", 3, FIXED64), ONE("as_double", 4, DOUBLE),
                                     ONE("as_int", 6, SFIXED64), ALL("exemplars", 5, EXEMPLAR),
                                     ONE("flags", 8, UINT32)},
    [WEIR_OTLP_JSON_HISTOGRAM_POINT] = {ALL("attributes", 9, KEY_VALUE), ONE("start_time_unix_nano", 2, FIXED64),
                                        ONE("time_unix_nano", 3, FIXED64), ONE("count", 4, FIXED64),
                                        ONE("sum", 5, DOUBLE), MANY("bucket_counts", 6, FIXED64),
                                        MANY("explicit_bounds", 7, DOUBLE), ALL("exemplars", 8, EXEMPLAR),
                                        ONE("flags", 10, UINT32), ONE("min", 11, DOUBLE), ONE("max", 12, DOUBLE)},
    [WEIR_OTLP_JSON_EXPONENTIAL_POINT] = {ALL("attributes", 1, KEY_VALUE), ONE("start_time_unix_nano", 2, FIXED64),
                                          ONE("time_unix_nano", 3, FIXED64), ONE("count", 4, FIXED64),
                                          ONE("sum", 5, DOUBLE), ONE("scale", 6, SINT32), ONE("zero_count", 7, FIXED64),
                                          IN("positive", 8, BUCKETS), IN("negative", 9, BUCKETS),
                                          ONE("flags", 10, UINT32), ALL("exemplars", 11, EXEMPLAR),
                                          ONE("min", 12, DOUBLE), ONE("max", 13, DOUBLE),
                                          ONE("zero_threshold", 14, DOUBLE)},
    [WEIR_OTLP_JSON_BUCKETS] = {ONE("offset", 1, SINT32), MANY("bucket_counts", 2, UINT64)},
    [WEIR_OTLP_JSON_SUMMARY_POINT] = {ALL("attributes", 7, KEY_VALUE), ONE("start_time_unix_nano", 2, FIXED64),
                                      ONE("time_unix_nano", 3, FIXED64), ONE("count", 4, FIXED64),
                                      ONE("sum", 5, DOUBLE), ALL("quantile_values", 6, QUANTILE),
                                      ONE("flags", 8, UINT32)},
    [WEIR_OTLP_JSON_QUANTILE] = {ONE("quantile", 1, DOUBLE), ONE("value", 2, DOUBLE)},
    [WEIR_OTLP_JSON_EXEMPLAR] = {ALL("filtered_attributes", 7, KEY_VALUE), ONE("time_unix_nano", 2, FIXED64),
                                 ONE("as_double", 3, DOUBLE), ONE("as_int", 6, SFIXED64), ONE("span_id", 4, HEX),
                                 ONE("trace_id", 5, HEX)},
};
