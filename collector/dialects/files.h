/* files.h - what a service is told, as a file for proxies that only read files. Pure: the same plan gives the same
 * bytes, so that who keeps a file fresh sees by comparing whether anything is new. Names of services and operations are
 * of whoever sent spans: none can bring syntax with it.
 *
 *   nginx       an include for http { }: maps, from which the variables $weir_* come. The decision is consistent: kept
 *               where the last 56 bits of the trace's id are T or more, T being the rate's threshold, which a regular
 *               expression over hex digits can say exactly. So tracestate may claim it (ot=th), and every span of the
 *               trace carries its weight. (split_clients could not: its hash is independent of the id, in steps of
 *               0.01 %.) Sources: nginx.org ngx_http_map_module; OpenTelemetry "TraceState: Probability Sampling"; W3C
 *               Trace Context 3.2; openzipkin/b3-propagation.
 *   nginx-otel  the same of the trace's id that nginx's OpenTelemetry module has (nginxinc/nginx-otel, $otel_trace_id)
 *   linkerd1    the telemeter io.l5d.zipkin (linkerd/docs/telemetry.md); read when Linkerd starts
 *   envoy       a DiscoveryResponse with the keys of RTDS (envoy.h), which an rtds_layer reads by path_config_source
 * and reads again when another file is renamed to there otel-env    OTEL_TRACES_SAMPLER (OpenTelemetry "Environment
 * Variable Specification"); read when a program starts
 *
 * A rate an operation only nginx can be told; the others get the service's. */
#ifndef WEIR_DIALECTS_FILES_H
#define WEIR_DIALECTS_FILES_H
#include "collector/config/config.h"
#include "collector/core/buffer.h"
#include "collector/sample/plan.h"

/* Of `render`: kind, service and incoming. The same rates are the same bytes, in whichever order a plan has them. Of
 * the default where the plan has no row for the service ("": always). Appends; out->failed: out of memory. */
void weir_file_render(const struct weir_render_config *render, const struct weir_plan *plan,
                      const struct weir_names *names, struct weir_buffer *out);
#endif
