/* Variables of every OpenTelemetry SDK, as a file that a shell, systemd (EnvironmentFile=) and docker (--env-file)
 * read. Source: OpenTelemetry "Environment Variable Specification", General SDK Configuration. */
#include "collector/dialects/files_inside.h"

void weir_file_otel_env(const struct weir_file_source *source, struct weir_buffer *out) {
    weir_file_head(source, "variables of OpenTelemetry SDKs", out);
    weir_file_untold(source, out);
    weir_buffer_text(out, "OTEL_TRACES_SAMPLER=parentbased_traceidratio\n"
                          "OTEL_TRACES_SAMPLER_ARG=");
    weir_file_rate(source->plan->rate.rate, out);
    weir_buffer_text(out,
                     "\n"
                     "# They are read when a program starts. An SDK that knows jaeger_remote follows live, also by "
                     "operation:\n"
                     "# OTEL_TRACES_SAMPLER=parentbased_jaeger_remote\n"
                     "# OTEL_TRACES_SAMPLER_ARG=endpoint=http://127.0.0.1:4317,pollingIntervalMs=30000,"
                     "initialSamplingRate=");
    weir_file_rate(source->plan->rate.rate, out);
    weir_buffer_byte(out, '\n');
}
