/* otlp_json.h - OTLP/JSON into the protobuf bytes of the same request, which the ordinary walks then read.
 * Sources: opentelemetry-proto docs/specification.md, "JSON Protobuf Encoding": trace and span ids are hex in either
 * case, enums are numbers; protobuf.dev "ProtoJSON Format": 64-bit integers as strings or numbers, bytes in base64,
 * names in lowerCamelCase or as in the .proto, unknown members and nulls are passed over. */
#ifndef WEIR_DECODE_OTLP_JSON_H
#define WEIR_DECODE_OTLP_JSON_H
#include "collector/core/batch.h"

enum weir_otlp_json_request { WEIR_OTLP_JSON_TRACES, WEIR_OTLP_JSON_METRICS };

/* Appends an Export{Trace,Metrics}ServiceRequest to `batch`, whose memory is drawn from its budget as it is needed;
 * text[0 .. size) does not stand in the batch. Answers:
 *   - WEIR_OK
 *   - WEIR_INVALID: broken, or nested deeper than WEIR_JSON_DEPTH_MAX; err->text names byte and place:
 *     "byte 712: resourceSpans[0].scopeSpans[0].spans[3].startTimeUnixNano: is not a number"
 *   - WEIR_FULL: no memory for it
 * and on both failures batch->size is as before. */
enum weir_status weir_otlp_json(enum weir_otlp_json_request request, const uint8_t *text, size_t size,
                                struct weir_batch *batch, struct weir_error *err);
#endif
