/* join_merge.h - two parts of one span become one. Pure.
 * Source: Finagle sends a span 500 ms after its end, or two to three minutes after its beginning if no end came, and
 * what is noted later as a second span of the same ids (finagle-zipkin-core DeadlineSpanMap.scala). */
#ifndef WEIR_LANE_JOIN_MERGE_H
#define WEIR_LANE_JOIN_MERGE_H
#include "collector/core/buffer.h"
#include "collector/core/span.h"

struct weir_join_part {
    const struct weir_span *span;
    const uint8_t *bytes; /* of its body: span->size of them; a sound Span message */
    bool named_service;   /* its service says something */
};

/* Does it say when it ended? One that took no time at all has an end, and a duration of 0. */
bool weir_join_ended(const struct weir_join_part *part);
/* The union: the earliest start, the latest end or the one that an annotation `ss` or `cr` marks, the attributes of
 * both (those of `first` where keys are equal), the events of both in the order of time. `out` is the body, *span the
 * view but for offset and origin; *service_of_second: origin and service are the second's. False: more than
 * WEIR_JOIN_ITEMS_MAX attributes or events, more than WEIR_JOIN_BYTES_MAX, or no memory. */
enum { WEIR_JOIN_ITEMS_MAX = 256, WEIR_JOIN_BYTES_MAX = 1 << 20 };
bool weir_join_merge(const struct weir_join_part *first, const struct weir_join_part *second, struct weir_buffer *out,
                     struct weir_span *span, bool *service_of_second);
#endif
