/* render.h - spans as OTLP bytes: each kind of span is rendered once, then copied and patched where spans differ.
 *
 *   ScopeSpans.spans:  12 len │ 0a 10 trace_id │ 12 08 span_id │ [1a trace_state] │ [22 08 parent] │ 2a name │ 30 kind
 *                             │ 39 start │ 41 end │ 4a attribute ... │ [7a 02 18 02 when it failed] │ 85 01 flags
 *
 * Ids, times and request id have fixed sizes, so patching never moves a byte. Source: opentelemetry-proto v1,
 * trace.proto; attributes are named, and all strings, as Envoy's OpenTelemetry tracer sends them
 * (source/extensions/tracers/opentelemetry). */
#ifndef WEIR_EMIT_RENDER_H
#define WEIR_EMIT_RENDER_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/emit/mesh.h"

enum { WEIR_EMIT_SPAN_BYTES = 361 /* of an average Span message with 8 attributes */ };

/* One span that was played and is to be sent. */
struct weir_emit_span {
    uint8_t trace_id[16];
    uint64_t span_id, parent_id; /* as they stand in memory; parent 0 = the root */
    uint64_t start_ns, end_ns;
    uint32_t operation;
    bool error;
};

struct weir_emit_template {
    uint32_t offset[2], size[2]; /* in `bytes`; [1] is the failed one */
    uint8_t prefix[2];           /* bytes in front of the Span message: key and length */
    enum weir_emit_id id;
    uint16_t parent, start, guid, name_id, url_id; /* in the Span message; 0 = not there */
};

struct weir_emit_render {
    const struct weir_emit_mesh *mesh;
    struct weir_emit_template *templates; /* one an operation */
    struct weir_buffer bytes;
    struct weir_buffer resources; /* ResourceSpans.resource of each service */
    uint32_t *resource_at;        /* services + 1 */
    struct weir_buffer scope;     /* ScopeSpans.scope */
    /* While a request is grouped by service: lists of spans. */
    uint32_t *head, *tail, *next, *order;
};

/* trace_state: of every span, "" = none. WEIR_FULL: no memory. */
enum weir_status weir_emit_render_init(struct weir_emit_render *render, const struct weir_emit_mesh *mesh,
                                       const struct weir_emit_options *options, const char *trace_state,
                                       struct weir_error *err);
void weir_emit_render_free(struct weir_emit_render *render);

/* Appends one ExportTraceServiceRequest to `out`; one ResourceSpans for each service among the spans, at most batch +
 * spans per trace. */
void weir_emit_render_request(struct weir_emit_render *render, const struct weir_emit_span *spans, uint32_t count,
                              struct weir_buffer *out);
#endif
