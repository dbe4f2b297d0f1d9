/* message.h - a batch as messages: the spans of each trace together, cut where a message would be too large.
 * Spans stand in an order of traces: in the order of their first spans, each trace's in the order of arrival. It hangs
 * on nothing but the batch, so that a part [first, end) of it means the same spans whenever it is asked for. */
#ifndef WEIR_EXPORTERS_KAFKA_MESSAGE_H
#define WEIR_EXPORTERS_KAFKA_MESSAGE_H
#include "collector/config/config.h"
#include "exporters/splice.h"
#include "exporters/zipkin/encode.h"

enum { WEIR_KAFKA_KEY_BYTES = 16 };

struct weir_kafka_encoder { /* scratch, kept between batches; zeroed at first, but for the encoding */
    enum weir_kafka_encoding encoding;
    struct weir_zipkin_scratch zipkin;
    struct weir_splice splice;
    struct weir_batch view; /* the batch with its spans in the order of traces */
    struct weir_span *spans;
    uint32_t *trace_of, *ends, *table; /* of spans; of traces, in the order; trace + 1 by hash */
    uint32_t span_capacity, table_capacity, trace_count;
};

/* Before the messages of another batch, which stays while they are made. False: out of memory. */
bool weir_kafka_begin(struct weir_kafka_encoder *encoder, const struct weir_batch *batch);
/* Behind the last span, in the order, of the trace that span `first` of the order belongs to. */
uint32_t weir_kafka_trace_end(const struct weir_kafka_encoder *encoder, uint32_t first);
/* Appends the message of spans [first, end) of the order, of one trace: as many as fit into max_bytes, but at least
 * one. Returns the place behind the last one, or `first` when memory ran out. */
uint32_t weir_kafka_encode(struct weir_kafka_encoder *encoder, uint32_t first, uint32_t end, size_t max_bytes,
                           struct weir_buffer *out);
/* The low 64 bits of its trace id as hex digits: what B3 and Finagle cut off does not part a trace. */
void weir_kafka_key(const struct weir_kafka_encoder *encoder, uint32_t first, char key[WEIR_KAFKA_KEY_BYTES]);
void weir_kafka_encoder_free(struct weir_kafka_encoder *encoder);
#endif
