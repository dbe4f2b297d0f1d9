/* otlp_json_fields.h - what OTLP's messages are made of, as their JSON is read: the one table that the transcoder walks
 * by. Source: opentelemetry-proto v1: collector/{trace,metrics}/v1, {trace,metrics,common,resource}/v1. */
#ifndef WEIR_DECODE_OTLP_JSON_FIELDS_H
#define WEIR_DECODE_OTLP_JSON_FIELDS_H
#include <stdbool.h>
#include <stdint.h>

enum weir_otlp_json_message {
    WEIR_OTLP_JSON_TRACE_REQUEST,
    WEIR_OTLP_JSON_RESOURCE_SPANS,
    WEIR_OTLP_JSON_SCOPE_SPANS,
    WEIR_OTLP_JSON_SPAN,
    WEIR_OTLP_JSON_EVENT,
    WEIR_OTLP_JSON_LINK,
    WEIR_OTLP_JSON_STATUS,
    WEIR_OTLP_JSON_RESOURCE,
    WEIR_OTLP_JSON_ENTITY_REF,
    WEIR_OTLP_JSON_SCOPE,
    WEIR_OTLP_JSON_KEY_VALUE,
    WEIR_OTLP_JSON_ANY_VALUE,
    WEIR_OTLP_JSON_ARRAY_VALUE,
    WEIR_OTLP_JSON_KEY_VALUE_LIST,
    WEIR_OTLP_JSON_METRICS_REQUEST,
    WEIR_OTLP_JSON_RESOURCE_METRICS,
    WEIR_OTLP_JSON_SCOPE_METRICS,
    WEIR_OTLP_JSON_METRIC,
    WEIR_OTLP_JSON_GAUGE,
    WEIR_OTLP_JSON_SUM,
    WEIR_OTLP_JSON_HISTOGRAM,
    WEIR_OTLP_JSON_EXPONENTIAL_HISTOGRAM,
    WEIR_OTLP_JSON_SUMMARY,
    WEIR_OTLP_JSON_NUMBER_POINT,
    WEIR_OTLP_JSON_HISTOGRAM_POINT,
    WEIR_OTLP_JSON_EXPONENTIAL_POINT,
    WEIR_OTLP_JSON_BUCKETS,
    WEIR_OTLP_JSON_SUMMARY_POINT,
    WEIR_OTLP_JSON_QUANTILE,
    WEIR_OTLP_JSON_EXEMPLAR,
    WEIR_OTLP_JSON_MESSAGES,
};

enum weir_otlp_json_kind {
    WEIR_OTLP_JSON_TEXT,
    WEIR_OTLP_JSON_HEX,    /* bytes, of an id */
    WEIR_OTLP_JSON_BASE64, /* other bytes */
    WEIR_OTLP_JSON_BOOL,
    WEIR_OTLP_JSON_ENUM,
    WEIR_OTLP_JSON_UINT32,
    WEIR_OTLP_JSON_SINT32,
    WEIR_OTLP_JSON_INT64,
    WEIR_OTLP_JSON_UINT64,
    WEIR_OTLP_JSON_FIXED32,
    WEIR_OTLP_JSON_FIXED64,
    WEIR_OTLP_JSON_SFIXED64,
    WEIR_OTLP_JSON_DOUBLE,
    WEIR_OTLP_JSON_INSIDE, /* a message */
};

struct weir_otlp_json_field {
    const char *name;  /* as in the .proto; NULL: the message has no more */
    uint8_t number;    /* of the field */
    uint8_t kind;      /* enum weir_otlp_json_kind */
    bool many;         /* repeated: an array; numbers are packed */
    uint8_t inside;    /* enum weir_otlp_json_message of an INSIDE */
    const char *words; /* of an ENUM: "first\0second\0", numbered from 0 */
};
enum { WEIR_OTLP_JSON_FIELDS = 17 };
extern const struct weir_otlp_json_field weir_otlp_json_fields[WEIR_OTLP_JSON_MESSAGES][WEIR_OTLP_JSON_FIELDS];
#endif
