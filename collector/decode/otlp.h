/* otlp.h - OTLP ExportTraceServiceRequest bytes into span views, in place, without building a tree.
 * Source: opentelemetry-proto v1, collector/trace/v1/trace_service.proto, trace/v1/trace.proto (numbers in schemas/).
 * The walk is bounds-checked, at most WEIR_DEPTH_MAX messages deep, and checks UTF-8 once. */
#ifndef WEIR_DECODE_OTLP_H
#define WEIR_DECODE_OTLP_H
#include "collector/core/batch.h"
#include "collector/core/names.h"

enum { WEIR_DEPTH_MAX = 64 /* nested AnyValue; protobuf elsewhere stops at 100 */ };

/* What one lane's decoder keeps between requests; one thread. */
struct weir_otlp;
struct weir_otlp *weir_otlp_new(struct weir_names *names);
void weir_otlp_free(struct weir_otlp *otlp);
/* What may be kept of spans, and how they are judged (attributes/rules.h); from the next span on. NULL: no rules. The
 * rules outlive the decoder or the next call. */
struct weir_rules;
void weir_otlp_set_rules(struct weir_otlp *otlp, const struct weir_rules *rules);
/* The origin for a resource and scope (message bodies, sound and UTF-8), with service.name read. The caller owns a
 * reference. NULL: out of memory. */
struct weir_origin *weir_otlp_origin(struct weir_otlp *otlp, const struct weir_origin_parts *parts);
/* The same of bytes that may be anything, a disk's: NULL and *sound = false where they are not what the walk lets pass.
 */
struct weir_origin *weir_otlp_origin_again(struct weir_otlp *otlp, const struct weir_origin_parts *parts, bool *sound);

struct weir_otlp_counts {
    uint32_t spans;           /* appended */
    uint32_t skipped;         /* sound message, bad span: id of a wrong length, zero ids */
    char skipped_reason[160]; /* of the first one: "resource_spans[0].scope_spans[0].spans[3]: trace_id has 4 bytes, not
                                 16" */
    uint32_t repaired;        /* string values that were not UTF-8, now with U+FFFD */
};

/* Walks batch->bytes[0 .. batch->size) and appends views into it; repaired spans are rewritten behind the request's
 * bytes. Answers:
 *   - WEIR_OK: counts filled; spans may be 0
 *   - WEIR_INVALID: broken message, or more than 65,535 resources and scopes in it; nothing appended; err->text names
 *     the field and the byte offset
 *   - WEIR_FULL: no room for the views, nothing appended */
enum weir_status weir_otlp_decode(struct weir_otlp *otlp, struct weir_batch *batch, struct weir_otlp_counts *counts,
                                  struct weir_error *err);

/* One Span body at bytes[offset .. offset+size) of the batch into a view (all but `origin`, `service`, `receiver`).
 * WEIR_INVALID also for a bad id: err->text says which. The walk that every other decoder shares. */
enum weir_status weir_otlp_span(struct weir_otlp *otlp, struct weir_batch *batch, uint32_t offset, uint32_t size,
                                struct weir_span *span, struct weir_otlp_counts *counts, struct weir_error *err);
#endif
