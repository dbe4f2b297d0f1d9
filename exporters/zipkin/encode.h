/* encode.h - spans of a batch as one body for Zipkin's POST /api/v2/spans. */
#ifndef WEIR_EXPORTERS_ZIPKIN_ENCODE_H
#define WEIR_EXPORTERS_ZIPKIN_ENCODE_H
#include "exporters/zipkin/map.h"

/* Appends the spans from `first` on, as many as fit into max_bytes but at least one. Returns the index behind the last
 * one written, or `first` when memory ran out. After weir_zipkin_begin() with the batch.
 *
 * A list of spans: zipkin-api, zipkin2-api.yaml; application/json. */
uint32_t weir_zipkin_encode_json(struct weir_zipkin_scratch *scratch, uint32_t first, size_t max_bytes,
                                 struct weir_buffer *out);
/* zipkin.proto3.ListOfSpans: zipkin-api, zipkin.proto; application/x-protobuf. */
uint32_t weir_zipkin_encode_proto3(struct weir_zipkin_scratch *scratch, uint32_t first, size_t max_bytes,
                                   struct weir_buffer *out);
#endif
