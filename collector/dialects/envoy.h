/* envoy.h - what an Envoy is told of a plan: keys of its runtime, which it reads anew for each request and each flush.
 * Source: envoy docs "Runtime" of the HTTP connection manager; envoy/service/runtime/v3/rtds.proto (Runtime{1 name,
 * 2 layer: Struct}); google/protobuf/struct.proto; envoyproxy/envoy source/common/http/conn_manager_utility.cc,
 * source/common/runtime/runtime_impl.cc.
 *
 *   tracing.random_sampling                                       {numerator, denominator: "TEN_THOUSAND"}
 *   tracing.opentelemetry.min_flush_spans                         spans
 *   tracing.{opentelemetry,zipkin}.flush_interval_ms              ms
 *
 * Two traps of the first. A bare number is a percentage of 100, and above that means always. And the number that is
 * drawn is the x-request-id modulo 10,000 whatever the denominator: {10000, MILLION} is 100 %, not 1 % (tried on Envoy
 * 1.40: 5,000 of 5,000). So TEN_THOUSAND it is, and a rate is told in steps of 0.01 %. One for each operation cannot be
 * told.
 * tracing.zipkin.min_flush_spans is not: the Zipkin tracer makes room for as many spans as the key says when it is
 * made, and drops without counting what has no room (tried: raised from 5 to 500 live, 10 of 10,000 spans arrived). */
#ifndef WEIR_DIALECTS_ENVOY_H
#define WEIR_DIALECTS_ENVOY_H
#include "collector/core/buffer.h"
#include "collector/sample/plan.h"

#define WEIR_ENVOY_RUNTIME_TYPE "type.googleapis.com/envoy.service.runtime.v3.Runtime"

struct weir_envoy_told {
    bool anything;              /* false: nothing, and Envoy keeps to its own configuration */
    uint32_t ten_thousandths;   /* of requests that begin a trace */
    uint32_t min_flush_spans;   /* 0: Envoy's own, 5 */
    uint64_t flush_interval_ms; /* 0: Envoy's own, 5000 */
};

/* NULL: nothing. */
struct weir_envoy_told weir_envoy_told_of(const struct weir_plan_service *service);
bool weir_envoy_told_same(const struct weir_envoy_told *a, const struct weir_envoy_told *b);
double weir_envoy_rate(const struct weir_envoy_told *told); /* by which it samples */

/* All that is told, as text: a version that any process makes of the same and can read, so that a Weir that has just
 * started knows what a proxy has: "v1:rate=0.0100", "v1:rate=0.0100,flush=500,interval=5000", "v1:nothing". */
enum { WEIR_ENVOY_VERSION_BYTES = 80 };
void weir_envoy_version(const struct weir_envoy_told *told, char out[WEIR_ENVOY_VERSION_BYTES]);
bool weir_envoy_version_read(const char *text, size_t size, struct weir_envoy_told *told); /* false: not one of ours */

/* Appends a Runtime. */
void weir_envoy_put_runtime(struct weir_buffer *out, const char *name, size_t name_size,
                            const struct weir_envoy_told *told);
#endif
