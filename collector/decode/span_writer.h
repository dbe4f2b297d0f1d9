/* span_writer.h - an OTLP Span body written at the end of a batch's bytes, for decoders of other formats; at its end it
 * is read into a view by the walk that all share. Field numbers: opentelemetry/proto/trace/v1/trace.proto.
 *
 *   weir_span_begin(&w, batch);
 *   weir_span_ids(&w, hi, lo, span, parent);  weir_span_name(...);  weir_span_text(...);  ...
 *   status = weir_span_end(&w, otlp, origin, receiver, &counts, &err);
 *
 * Texts must not stand in the batch itself, which may move. Memory is drawn from the batch's budget as it is needed.
 * When that is used up the writer is `full`: the calls that follow write nothing, and weir_span_end() says WEIR_FULL.
 */
#ifndef WEIR_DECODE_SPAN_WRITER_H
#define WEIR_DECODE_SPAN_WRITER_H
#include "collector/decode/otlp.h"

struct weir_span_writer {
    struct weir_batch *batch;
    size_t start; /* of the body, in batch->bytes */
    bool full;
};

void weir_span_begin(struct weir_span_writer *writer, struct weir_batch *batch);
/* parent_id 0: none. Ids as numbers; on the wire they are big endian. */
void weir_span_ids(struct weir_span_writer *writer, uint64_t trace_hi, uint64_t trace_lo, uint64_t span_id,
                   uint64_t parent_id);
void weir_span_kind(struct weir_span_writer *writer, enum weir_kind kind);
/* Unix ns; 0 = unknown, and left out. */
void weir_span_times(struct weir_span_writer *writer, uint64_t start_ns, uint64_t end_ns);
/* Texts need not be UTF-8: the walk repairs and counts. */
void weir_span_name(struct weir_span_writer *writer, const void *text, size_t size);
void weir_span_tracestate(struct weir_span_writer *writer, const void *text, size_t size);
void weir_span_text(struct weir_span_writer *writer, const void *key, size_t key_size, const void *text, size_t size);
void weir_span_int(struct weir_span_writer *writer, const void *key, size_t key_size, int64_t value);
void weir_span_double(struct weir_span_writer *writer, const void *key, size_t key_size, double value);
void weir_span_bool(struct weir_span_writer *writer, const void *key, size_t key_size, bool value);
void weir_span_event(struct weir_span_writer *writer, uint64_t time_ns, const void *name, size_t size);
void weir_span_status(struct weir_span_writer *writer, enum weir_span_status code, const void *message, size_t size);

/* Reads the body into a view and appends it to the batch. WEIR_OK, WEIR_INVALID (a zero id: err->text says which; the
 * body is taken back) or WEIR_FULL (likewise). */
enum weir_status weir_span_end(struct weir_span_writer *writer, struct weir_otlp *otlp, uint16_t origin,
                               uint8_t receiver, struct weir_otlp_counts *counts, struct weir_error *err);
void weir_span_cancel(struct weir_span_writer *writer);

/* The origin of a batch whose resource is {service.name: service} and nothing else; an empty service gives the empty
 * resource. WEIR_FULL: no room. */
enum weir_status weir_span_service(struct weir_otlp *otlp, struct weir_batch *batch, const void *service, size_t size,
                                   uint16_t *origin);
/* The same with an InstrumentationScope, in wire form, and a service that is UTF-8 already, of up to three times
 * WEIR_NAME_BYTES_MAX. */
enum weir_status weir_span_origin(struct weir_otlp *otlp, struct weir_batch *batch, const uint8_t *service, size_t size,
                                  const uint8_t *scope, size_t scope_size, uint16_t *origin);

/* For what has no call above: room for so many bytes at the end (NULL: full), to be written with weir_wire_put_*; then
 * the end of what was written. */
uint8_t *weir_span_room(struct weir_span_writer *writer, size_t size);
void weir_span_wrote(struct weir_span_writer *writer, const uint8_t *end);
/* A nested message whose size is not known before: open, write with the calls above or by room, close. A mark of an
 * outer one stays right. */
size_t weir_span_open(struct weir_span_writer *writer, uint32_t field_number);
void weir_span_close(struct weir_span_writer *writer, size_t mark);
#endif
