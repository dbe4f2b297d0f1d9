/* A DiscoveryResponse as JSON, which is YAML as well: Envoy goes by the ending of the path. No comment can stand in it.
 * Source: envoy/config/core/v3/config_source.proto, PathConfigSource; envoy/service/discovery/v3/discovery.proto. */
#include "collector/dialects/envoy.h"
#include "collector/dialects/files_inside.h"

void weir_file_envoy(const struct weir_file_source *source, struct weir_buffer *out) {
    struct weir_envoy_told told = weir_envoy_told_of(source->plan);
    char version[WEIR_ENVOY_VERSION_BYTES];
    weir_envoy_version(&told, version);
    weir_buffer_printf(out,
                       "{\n"
                       "  \"version_info\": \"%s\",\n"
                       "  \"resources\": [{\n"
                       "    \"@type\": \"" WEIR_ENVOY_RUNTIME_TYPE "\",\n"
                       "    \"name\": \"weir\",\n"
                       "    \"layer\": {\n",
                       version);
    if (told.min_flush_spans > 0)
        weir_buffer_printf(out, "      \"tracing.opentelemetry.min_flush_spans\": %u,\n", told.min_flush_spans);
    if (told.flush_interval_ms > 0)
        weir_buffer_printf(out,
                           "      \"tracing.opentelemetry.flush_interval_ms\": %llu,\n"
                           "      \"tracing.zipkin.flush_interval_ms\": %llu,\n",
                           (unsigned long long)told.flush_interval_ms, (unsigned long long)told.flush_interval_ms);
    weir_buffer_printf(out,
                       "      \"tracing.random_sampling\": {\"numerator\": %u, \"denominator\": \"TEN_THOUSAND\"}\n"
                       "    }\n"
                       "  }]\n"
                       "}\n",
                       told.ten_thousandths);
}
