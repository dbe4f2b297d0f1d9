/* jaeger.h - a plan as Jaeger's remote sampling tells it: what one service's clients are answered, in JSON (HTTP) and
 * in protobuf (gRPC), and what they ask. Pure.
 *
 * A service with a rate limit is told RATE_LIMITING, any other PROBABILISTIC; one with operations also has
 * operationSampling, at which clients look first, so that the rate limit is without effect then. Rate limits are whole
 * numbers there: a fraction is rounded up, since 0 would be nothing at all. defaultLowerBoundTracesPerSecond is 0: a
 * lower bound is a token bucket in the client, what it lets through has no weight; floors come as probabilities.
 *
 * Sources: jaegertracing/jaeger-idl proto/api_v2/sampling.proto; jaegertracing/jaeger
 * internal/uimodel/converter/v1/json/sampling.go: strategyType is printed by name, also the one that is 0; parts that
 * are absent are left out, fields of present ones never. */
#ifndef WEIR_DIALECTS_JAEGER_H
#define WEIR_DIALECTS_JAEGER_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/sample/plan.h"

/* SamplingStrategyResponse. Appends; out->failed says when there was no room. */
void weir_jaeger_write_json(struct weir_buffer *out, const struct weir_names *names,
                            const struct weir_plan_service *service);
void weir_jaeger_write_proto(struct weir_buffer *out, const struct weir_names *names,
                             const struct weir_plan_service *service);
/* SamplingStrategyParameters: *service is inside bytes[0 .. size), or NULL with size 0 where it is not said.
 * WEIR_INVALID: it does not read, or the name is none: longer than WEIR_NAME_BYTES_MAX, no UTF-8. */
enum weir_status weir_jaeger_read_parameters(const uint8_t *bytes, size_t size, const char **service,
                                             size_t *service_size, struct weir_error *err);
#endif
