/* options.h - what `weir emit` was asked to do: one row an option, from which parsing and --help come. */
#ifndef WEIR_EMIT_OPTIONS_H
#define WEIR_EMIT_OPTIONS_H
#include "collector/config/config.h"
#include "collector/core/error.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_emit_senders { WEIR_EMIT_PER_SERVICE, WEIR_EMIT_GATEWAY };
enum weir_emit_via { WEIR_EMIT_OTLP, WEIR_EMIT_DATAGRAM };

struct weir_emit_options {
    enum weir_emit_via via;
    struct weir_listen endpoint, statsd; /* statsd.on: it was asked for */
    uint64_t spans, traces, duration_ns; /* 0 = no such bound */
    uint64_t rate;                       /* spans a second; 0 = as fast as answered */
    uint64_t services, operations, spans_per_trace, depth, attributes;
    double errors;
    uint64_t latency_ns; /* median */
    double latency_sigma;
    bool ids;
    uint64_t batch, in_flight, connections, retries;
    enum weir_emit_senders senders;
    uint64_t datagram_bytes;
    const char *hmac_key_file; /* NULL = none; points into argv */
    double sample, sample_independent;
    bool gzip;
    const char *tls_ca, *tls_cert, *tls_key, *token_file; /* NULL = none; point into argv */
    uint64_t timeout_ns;
    uint64_t seed;
    uint64_t start_time_s; /* 0 = now */
    const char *truth;     /* NULL = none; points into argv */
    bool json, quiet, allow_refused;
};

/* WEIR_INVALID: err->text names the option. *help: --help was among them, the rest is undefined. */
enum weir_status weir_emit_options_parse(int argc, char **argv, struct weir_emit_options *options, bool *help,
                                         struct weir_error *err);
void weir_emit_options_print(void); /* the text of --help, on stdout */
#endif
