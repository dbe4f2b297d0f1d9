/* otlp_span.h - one Span body into a view: the hot loop of every span that comes in. */
#ifndef WEIR_DECODE_OTLP_SPAN_H
#define WEIR_DECODE_OTLP_SPAN_H
#include "collector/core/span.h"
#include "collector/decode/otlp_fields.h"
#include "collector/decode/otlp_names.h"

enum weir_otlp_verdict {
    WEIR_OTLP_GOOD,
    WEIR_OTLP_BAD_TEXT, /* sound; strings are not UTF-8: repair and read again. `span` is not complete */
    WEIR_OTLP_BAD_ID,   /* sound; `reason` says what is wrong with an id */
    WEIR_OTLP_BROKEN,   /* *finding says what */
};

/* Fills all of *span but offset, size, origin, service and receiver. `reason` has room for 64 bytes, or is NULL where
 * nobody asks: a message of 16 MiB has room for eight million bad spans. */
enum weir_otlp_verdict weir_otlp_read_span(struct weir_otlp_names *names, const uint8_t *bytes, size_t size,
                                           struct weir_span *span, struct weir_otlp_finding *finding, char *reason);
#endif
