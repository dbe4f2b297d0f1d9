/* Linkerd 1: one sampleRate a process, in its configuration, which is read once. Source: linkerd/docs/telemetry.md
 * (io.l5d.zipkin: host, port, sampleRate). */
#include "collector/dialects/files_inside.h"

void weir_file_linkerd1(const struct weir_file_source *source, struct weir_buffer *out) {
    weir_file_head(source, "the telemeter of Linkerd 1", out);
    weir_buffer_text(out, "# Into linkerd.yaml; Linkerd reads it when it starts. A live dial is l5d-sample at the edge "
                          "(docs/policy.md).\n");
    weir_file_untold(source, out);
    weir_buffer_text(out, "telemetry:\n"
                          "- kind: io.l5d.zipkin\n"
                          "  host: 127.0.0.1 # where Weir's receivers.scribe listens\n"
                          "  port: 9410\n"
                          "  sampleRate: ");
    weir_file_rate(source->plan->rate.rate, out);
    weir_buffer_byte(out, '\n');
}
