/* zipkin.h - Zipkin's span formats into OTLP span bytes and views.
 * Sources: zipkin-api zipkin2-api.yaml, zipkin-api.yaml (v1), zipkin.proto, thrift/zipkinCore.thrift; the rules of v1
 * to v2 are those of openzipkin/zipkin V1SpanConverter.java. What OTLP has no field for is kept in attributes that the
 * Zipkin exporter turns back; docs/zipkin.md has the table. */
#ifndef WEIR_DECODE_ZIPKIN_H
#define WEIR_DECODE_ZIPKIN_H
#include "collector/decode/otlp.h"

enum weir_zipkin_format {
    WEIR_ZIPKIN_FORMAT_NONE,
    WEIR_ZIPKIN_JSON_V2,
    WEIR_ZIPKIN_JSON_V1,
    WEIR_ZIPKIN_PROTO3_LIST, /* zipkin.proto3.ListOfSpans */
    WEIR_ZIPKIN_THRIFT_LIST, /* TBinary list<Span> */
};

/* By the first bytes, as Zipkin itself tells them; JSON v1 and v2 by their members. */
enum weir_zipkin_format weir_zipkin_format_of(const uint8_t *bytes, size_t size);

/* What one lane's decoder keeps between requests; `otlp` is borrowed. One thread. */
struct weir_zipkin_decoder;
struct weir_zipkin_decoder *weir_zipkin_decoder_new(struct weir_otlp *otlp);
void weir_zipkin_decoder_free(struct weir_zipkin_decoder *decoder);

/* Appends the spans of one body to `batch` (bytes, views with origin, service, receiver). counts->skipped: spans whose
 * ids are zero or missing. WEIR_INVALID: broken; nothing appended; err->text names the span and the place
 * ("spans[3].timestamp: byte 712: ..."). WEIR_FULL: the batch's budget is used up, nothing appended. */
enum weir_status weir_zipkin_decode(struct weir_zipkin_decoder *decoder, enum weir_zipkin_format format,
                                    const uint8_t *bytes, size_t size, uint8_t receiver, struct weir_batch *batch,
                                    struct weir_otlp_counts *counts, struct weir_error *err);

/* One TBinary Span struct (not a list), as Scribe carries it: appends the one or two spans that it becomes. *used: how
 * many bytes it took. Statuses as above. */
enum weir_status weir_zipkin_thrift_span(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                         uint8_t receiver, struct weir_batch *batch, size_t *used,
                                         struct weir_otlp_counts *counts, struct weir_error *err);
#endif
