/* otlp_node.h - of one span, what it says of the proxy that made it and of why it was sampled. Asked of few spans: a
 * walk over its attributes. Source: Envoy 1.40, source/common/tracing/tracer_impl.cc (tags `node_id` and
 * `guid:x-request-id`). */
#ifndef WEIR_DECODE_OTLP_NODE_H
#define WEIR_DECODE_OTLP_NODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_otlp_node {
    const char *id; /* in the span's bytes; NULL: it does not say */
    size_t id_size;
    bool asked_for; /* the client asked for this trace (x-client-trace-id): no random sampler decided it */
};

/* `bytes` are a sound Span body. */
void weir_otlp_node(const uint8_t *bytes, size_t size, struct weir_otlp_node *node);
#endif
