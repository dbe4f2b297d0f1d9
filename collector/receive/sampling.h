/* sampling.h - Jaeger's remote sampling: a client asks now and then what its service is to sample, over HTTP or over
 * gRPC (jaeger.api_v2.SamplingManager), and is answered from the plan in force. Who has asked is a follower from then
 * on (sample/steering.h), known by the address that it asks from and its service.
 * Sources: jaegertracing/jaeger internal/sampling/http/handler.go; RFC 9110 8.8.3, 13.1.2, 15.4.5. */
#ifndef WEIR_RECEIVE_SAMPLING_H
#define WEIR_RECEIVE_SAMPLING_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/receive/grpc.h"

struct weir_steering;

/* One question as HTTP has it. */
struct weir_sampling_question {
    const char *address;       /* it comes from, without port */
    const char *service;       /* NULL: not said */
    uint32_t services;         /* how often it is said: once is right */
    const char *if_none_match; /* the header, or NULL */
};
enum { WEIR_SAMPLING_ETAG_BYTES = 19 /* quotes, 16 hex digits */ };

/* The answer: a status of HTTP, 200 and JSON, 304 and nothing, else a line of text; `etag` of 200 and 304, else "".
 * follows: whoever asks takes what it is told; false: it only looks. steering may be NULL: nothing is told. Any thread.
 */
unsigned weir_sampling_answer(struct weir_steering *steering, struct weir_names *names,
                              const struct weir_sampling_question *question, bool follows, struct weir_buffer *out,
                              char etag[WEIR_SAMPLING_ETAG_BYTES]);

/* weir_policy_fetches_total of one lane. way: "http" or "grpc". NULL: out of memory. */
struct weir_metric_set *weir_sampling_counts_open(struct weir_metrics *metrics, const char *way);
void weir_sampling_count(struct weir_metric_set *counts, unsigned status);

/* The method GetSamplingStrategy, which answers at once. */
void weir_sampling_called(struct weir_steering *steering, struct weir_names *names, struct weir_metric_set *counts,
                          struct weir_grpc_call *call, const struct weir_batch *request);
#endif
