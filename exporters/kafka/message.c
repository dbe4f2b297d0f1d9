#include "exporters/kafka/message.h"

#include <stdlib.h>
#include <string.h>

static bool room(struct weir_kafka_encoder *encoder, uint32_t spans) {
    uint32_t slots = 64;
    while (slots < 2 * (uint64_t)spans && slots < 1u << 31)
        slots *= 2;
    if (slots > encoder->table_capacity) {
        uint32_t *table = realloc(encoder->table, slots * sizeof *table);
        if (table == NULL) return false;
        encoder->table = table;
        encoder->table_capacity = slots;
    }
    if (spans <= encoder->span_capacity) return true;
    struct weir_span *copies = realloc(encoder->spans, spans * sizeof *copies);
    if (copies == NULL) return false;
    encoder->spans = copies;
    uint32_t *trace_of = realloc(encoder->trace_of, spans * sizeof *trace_of);
    if (trace_of == NULL) return false;
    encoder->trace_of = trace_of;
    uint32_t *ends = realloc(encoder->ends, spans * sizeof *ends);
    if (ends == NULL) return false;
    encoder->ends = ends;
    encoder->span_capacity = spans;
    return true;
}

/* Which trace each span is of, and how many spans each has (in ends). */
static void number_traces(struct weir_kafka_encoder *encoder, const struct weir_batch *batch) {
    uint32_t mask = encoder->table_capacity - 1;
    memset(encoder->table, 0, encoder->table_capacity * sizeof *encoder->table);
    encoder->trace_count = 0;
    uint64_t *ids = (uint64_t *)(void *)encoder->spans; /* not filled yet; wide enough */
    for (uint32_t i = 0; i < batch->span_count; i++) {
        uint64_t id = batch->spans[i].trace_lo;
        uint32_t slot = (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & mask;
        while (encoder->table[slot] != 0 && ids[encoder->table[slot] - 1] != id)
            slot = (slot + 1) & mask;
        if (encoder->table[slot] == 0) {
            ids[encoder->trace_count] = id;
            encoder->ends[encoder->trace_count] = 0;
            encoder->table[slot] = ++encoder->trace_count;
        }
        encoder->trace_of[i] = encoder->table[slot] - 1;
        encoder->ends[encoder->trace_of[i]]++;
    }
}

bool weir_kafka_begin(struct weir_kafka_encoder *encoder, const struct weir_batch *batch) {
    if (!room(encoder, batch->span_count)) return false;
    number_traces(encoder, batch);
    uint32_t start = 0;
    for (uint32_t t = 0; t < encoder->trace_count; t++) {
        uint32_t count = encoder->ends[t];
        encoder->ends[t] = start;
        start += count;
    }
    /* Afterwards ends[t] is behind the last one of trace t. */
    for (uint32_t i = 0; i < batch->span_count; i++)
        encoder->spans[encoder->ends[encoder->trace_of[i]]++] = batch->spans[i];
    encoder->view = (struct weir_batch){.bytes = batch->bytes,
                                        .size = batch->size,
                                        .spans = encoder->spans,
                                        .span_count = batch->span_count,
                                        .origins = batch->origins,
                                        .origin_count = batch->origin_count};
    return encoder->encoding == WEIR_KAFKA_OTLP_PROTO || weir_zipkin_begin(&encoder->zipkin, &encoder->view);
}

uint32_t weir_kafka_trace_end(const struct weir_kafka_encoder *encoder, uint32_t first) {
    uint32_t low = 0, high = encoder->trace_count; /* the first trace whose end is behind `first` */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (encoder->ends[middle] > first) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return encoder->ends[low];
}

static uint32_t splice(struct weir_kafka_encoder *encoder, uint32_t first, uint32_t end, size_t max_bytes,
                       struct weir_buffer *out) {
    struct weir_batch part = {.bytes = encoder->view.bytes,
                              .size = encoder->view.size,
                              .spans = encoder->spans + first,
                              .origins = encoder->view.origins,
                              .origin_count = encoder->view.origin_count};
    size_t before = out->size;
    for (part.span_count = end - first;; part.span_count = (part.span_count + 1) / 2) {
        out->size = before;
        if (weir_splice_encode(&encoder->splice, &part, out) != WEIR_OK) return first;
        if (out->size - before <= max_bytes || part.span_count == 1) return first + part.span_count;
    }
}

uint32_t weir_kafka_encode(struct weir_kafka_encoder *encoder, uint32_t first, uint32_t end, size_t max_bytes,
                           struct weir_buffer *out) {
    encoder->view.span_count = end; /* where the encoders of Zipkin stop */
    switch (encoder->encoding) {
    case WEIR_KAFKA_ZIPKIN_JSON: return weir_zipkin_encode_json(&encoder->zipkin, first, max_bytes, out);
    case WEIR_KAFKA_ZIPKIN_PROTO3: return weir_zipkin_encode_proto3(&encoder->zipkin, first, max_bytes, out);
    default: return splice(encoder, first, end, max_bytes, out);
    }
}

void weir_kafka_key(const struct weir_kafka_encoder *encoder, uint32_t first, char key[WEIR_KAFKA_KEY_BYTES]) {
    uint64_t id = encoder->spans[first].trace_lo;
    for (int i = WEIR_KAFKA_KEY_BYTES - 1; i >= 0; i--, id >>= 4)
        key[i] = "0123456789abcdef"[id & 15];
}

void weir_kafka_encoder_free(struct weir_kafka_encoder *encoder) {
    weir_zipkin_scratch_free(&encoder->zipkin);
    weir_splice_free(&encoder->splice);
    free(encoder->spans);
    free(encoder->trace_of);
    free(encoder->ends);
    free(encoder->table);
    *encoder = (struct weir_kafka_encoder){.encoding = encoder->encoding};
}
