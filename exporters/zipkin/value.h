/* value.h - OTLP AnyValue as the text of a tag, or as JSON inside one.
 * Source: opentelemetry-proto v1, common/v1/common.proto; OpenTelemetry specification, common/README.md, "non-OTLP
 * exporters": arrays and maps as JSON, bytes as base64. */
#ifndef WEIR_EXPORTERS_ZIPKIN_VALUE_H
#define WEIR_EXPORTERS_ZIPKIN_VALUE_H
#include "collector/core/buffer.h"
#include "collector/core/wire.h"

/* Appends the text of a value that is not a string: true, 42, 0.5, [1,"a"], {"k":null}; nothing for an empty one. */
void weir_zipkin_value_text(struct weir_buffer *out, struct weir_wire value);
/* Appends it as JSON; a string with its quotes. */
void weir_zipkin_value_json(struct weir_buffer *out, struct weir_wire value, unsigned depth);
/* Appends "key":value for one KeyValue. */
void weir_zipkin_pair_json(struct weir_buffer *out, struct weir_wire pair, unsigned depth);
#endif
