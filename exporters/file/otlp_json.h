/* otlp_json.h - OTLP traces as lines of JSON, one span a line.
 * Source: opentelemetry-proto v1 and its "JSON Protobuf Encoding": lowerCamelCase names, trace and span ids in hex,
 * 64-bit integers as strings, enums as integers, bytes in base64. Added in front: `service`, the resource's
 * service.name; at the end `resource` and `scope`, which OTLP/JSON has one level up. */
#ifndef WEIR_EXPORTERS_FILE_OTLP_JSON_H
#define WEIR_EXPORTERS_FILE_OTLP_JSON_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

#include <stddef.h>
#include <stdint.h>

struct weir_otlp_json_counts {
    uint64_t spans;
    uint64_t broken;
};

/* Appends a line for each span of an ExportTraceServiceRequest, whatever its bytes are. A span that is not sound gives
 * no line and is counted in `broken`. WEIR_INVALID: something was broken, err->text tells the first; WEIR_FULL: out of
 * memory. */
enum weir_status weir_otlp_json_lines(const uint8_t *bytes, size_t size, struct weir_buffer *out,
                                      struct weir_otlp_json_counts *counts, struct weir_error *err);
#endif
