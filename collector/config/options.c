#include "collector/config/options.h"

#include "collector/config/values.h"
#include "collector/core/clock.h"
#include "collector/core/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KiB  (1ll << 10)
#define MiB  (1ll << 20)
#define GiB  (1ll << 30)
#define TiB  (1ll << 40)
#define MS   ((int64_t)WEIR_MS)
#define S    ((int64_t)WEIR_S)
#define HOUR (3600 * S)
#define DAY  (24 * HOUR)
#define TOP(field)                                                                                                     \
    .scope = WEIR_SCOPE_TOP, .offset = offsetof(struct weir_config, field),                                            \
    .size = sizeof(((struct weir_config *)0)->field)
#define TLS_ROWS(key, field)                                                                                           \
    {key ".tls.cert_file", TOP(field.cert_file), .type = WEIR_OPTION_PATH, .fallback = "",                             \
     .help =                                                                                                           \
         "PEM file with the certificate chain; with it this listener speaks TLS only. Read again when it changes."},   \
        {key ".tls.key_file", TOP(field.key_file), .type = WEIR_OPTION_PATH, .fallback = "",                           \
         .help = "PEM file with the certificate's private key."},                                                      \
        {key ".tls.client_ca_file", TOP(field.client_ca_file), .type = WEIR_OPTION_PATH, .fallback = "",               \
         .help =                                                                                                       \
             "PEM file with the authorities of client certificates; with it a client without a good one is refused."}, \
    {                                                                                                                  \
        key ".tls.min_version", TOP(field.min_version), .type = WEIR_OPTION_ENUM, .fallback = "1.2",                   \
                                                        .words = tls_versions,                                         \
                                                        .help = "Oldest version of TLS that is spoken."                \
    }
#define BEARER_ROW(key, field)                                                                                         \
    {                                                                                                                  \
        key ".bearer_token_file", TOP(field),                                                                          \
            .type = WEIR_OPTION_PATH, .fallback = "",                                                                  \
            .help = "File with tokens, one a line; a request without one of them (`Authorization: Bearer`) is "        \
                    "refused. Read again when it changes."                                                             \
    }
#define COUNT_MARKED_ROW(key, field)                                                                                   \
    {                                                                                                                  \
        key ".count_marked", TOP(field), .type = WEIR_OPTION_BOOL, .fallback = "false", .live = true,                  \
                                         .help = "Count spans also where their sender says that it has counted them "  \
                                                 "(`weir-counted: 1`), as another Weir does."                          \
    }
#define OUT(in, field)                                                                                                 \
    .scope = in, .offset = offsetof(struct weir_exporter_config, field),                                               \
    .size = sizeof(((struct weir_exporter_config *)0)->field)

const char *const weir_scope_types[WEIR_SCOPES] = {[WEIR_SCOPE_FILE] = "file",
                                                   [WEIR_SCOPE_ZIPKIN] = "zipkin",
                                                   [WEIR_SCOPE_KAFKA] = "kafka",
                                                   [WEIR_SCOPE_OTLP] = "otlp"};

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const source_labels[] = {
    [WEIR_SOURCE_NONE] = "none", [WEIR_SOURCE_IP] = "ip", [WEIR_SOURCE_HOST] = "host", NULL};
static const char *const tls_versions[] = {[WEIR_TLS_1_2] = "1.2", [WEIR_TLS_1_3] = "1.3", NULL};
static const char *const encodings[] = {[WEIR_ZIPKIN_PROTO3] = "proto3", [WEIR_ZIPKIN_JSON] = "json", NULL};
static const char *const kafka_encodings[] = {[WEIR_KAFKA_ZIPKIN_PROTO3] = "zipkin_proto3",
                                              [WEIR_KAFKA_ZIPKIN_JSON] = "zipkin_json",
                                              [WEIR_KAFKA_OTLP_PROTO] = "otlp_proto",
                                              NULL};
const char *const weir_kafka_compressions[] = {"zstd", "none", "lz4", "snappy", "gzip", NULL};

static const char *const otlp_balances[] = {[WEIR_OTLP_FAILOVER] = "failover", [WEIR_OTLP_TRACE_ID] = "trace_id", NULL};
static const char *const otlp_compressions[] = {
    [WEIR_OTLP_NONE] = "none", [WEIR_OTLP_GZIP] = "gzip", [WEIR_OTLP_ZSTD] = "zstd", NULL};

/* clang-format off */
const struct weir_option weir_options[] = {
    {"lanes", TOP(lanes), .type = WEIR_OPTION_COUNT, .fallback = "0", .min = 0, .max = WEIR_LANES_MAX,
     .help = "Threads that receive, count and sample; 0 takes as many as there are CPUs to run on (affinity, rounded-up cgroup quota), 64 at most."},
    {"drain_timeout", TOP(drain_timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 0, .max = HOUR, .live = true,
     .help = "From SIGTERM to the exit at the latest; spans that no back end took by then go to the spool, or are dropped as `shutdown` where there is none."},
    {"log.level", TOP(log_level), .type = WEIR_OPTION_WORD, .fallback = "info", .words = log_levels, .live = true,
     .help = "What is logged to stderr."},
    {"memory.intake", TOP(intake_bytes), .type = WEIR_OPTION_BYTES, .fallback = "64MiB", .min = MiB, .max = TiB, .live = true,
     .help = "Bound of messages being read, decoded and handed over; from half of it on sampling thresholds rise, beyond it requests are refused."},
    {"memory.names", TOP(names_max), .type = WEIR_OPTION_COUNT, .fallback = "65536", .min = 1024, .max = 16 << 20,
     .help = "Distinct services, operations, peers and label values; more of them are counted under the name `overflow`."},

    {"receivers.grpc.listen", TOP(grpc.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":4317",
     .help = "TCP address for gRPC: OTLP traces and metrics, health."},
    {"receivers.grpc.max_message_bytes", TOP(grpc.max_message_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 4 * KiB,
     .max = GiB, .live = true, .help = "Largest message, before and after inflating; a larger one is answered RESOURCE_EXHAUSTED."},
    {"receivers.grpc.max_connections", TOP(grpc.max_connections), .type = WEIR_OPTION_COUNT, .fallback = "1024", .min = 1, .max = 65536,
     .live = true, .help = "Open connections a lane; more are closed at once."},
    {"receivers.grpc.max_concurrent_streams", TOP(grpc.max_concurrent_streams), .type = WEIR_OPTION_COUNT, .fallback = "100", .min = 1,
     .max = 10000, .live = true, .help = "Requests under way on one connection (SETTINGS_MAX_CONCURRENT_STREAMS)."},
    {"receivers.grpc.keepalive_min", TOP(grpc.keepalive_min_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 0, .max = HOUR,
     .live = true, .help = "PINGs that come more often than this without data between them are strikes; too many close the connection."},
    TLS_ROWS("receivers.grpc", grpc.tls),
    BEARER_ROW("receivers.grpc", grpc.bearer_token_file),
    COUNT_MARKED_ROW("receivers.grpc", grpc.count_marked),

    {"receivers.otlp_http.listen", TOP(otlp_http.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":4318",
     .help = "TCP address for OTLP over HTTP: traces and metrics, protobuf and JSON."},
    {"receivers.otlp_http.max_body_bytes", TOP(otlp_http.max_body_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 4 * KiB,
     .max = GiB, .live = true, .help = "Largest request, before and after inflating; a larger one is answered 413."},
    {"receivers.otlp_http.max_connections", TOP(otlp_http.max_connections), .type = WEIR_OPTION_COUNT, .fallback = "1024", .min = 1, .max = 65536,
     .help = "Open connections a lane; more are closed at once."},
    {"receivers.otlp_http.idle_timeout", TOP(otlp_http.idle_timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "60s", .min = S, .max = HOUR,
     .help = "A connection on which nothing moves for so long is closed."},
    TLS_ROWS("receivers.otlp_http", otlp_http.tls),
    BEARER_ROW("receivers.otlp_http", otlp_http.bearer_token_file),
    COUNT_MARKED_ROW("receivers.otlp_http", otlp_http.count_marked),

    {"receivers.zipkin.listen", TOP(zipkin.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":9411",
     .help = "TCP address for Zipkin over HTTP: v2 JSON and proto3, v1 JSON and thrift."},
    {"receivers.zipkin.max_body_bytes", TOP(zipkin.max_body_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 4 * KiB,
     .max = GiB, .live = true, .help = "Largest request, before and after inflating; a larger one is answered 413."},
    {"receivers.zipkin.max_connections", TOP(zipkin.max_connections), .type = WEIR_OPTION_COUNT, .fallback = "1024", .min = 1, .max = 65536,
     .help = "Open connections a lane; more are closed at once."},
    {"receivers.zipkin.idle_timeout", TOP(zipkin.idle_timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "60s", .min = S, .max = HOUR,
     .help = "A connection on which nothing moves for so long is closed."},
    TLS_ROWS("receivers.zipkin", zipkin.tls),
    BEARER_ROW("receivers.zipkin", zipkin.bearer_token_file),

    {"receivers.sampling.listen", TOP(sampling_http.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":5778",
     .help = "TCP address at which Jaeger's clients ask over HTTP what to sample (docs/policy.md)."},
    {"receivers.sampling.max_connections", TOP(sampling_http.max_connections), .type = WEIR_OPTION_COUNT, .fallback = "1024", .min = 1,
     .max = 65536, .help = "Open connections a lane; more are closed at once."},
    {"receivers.sampling.idle_timeout", TOP(sampling_http.idle_timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "60s", .min = S,
     .max = HOUR, .help = "A connection on which nothing moves for so long is closed."},
    TLS_ROWS("receivers.sampling", sampling_http.tls),
    BEARER_ROW("receivers.sampling", sampling_http.bearer_token_file),

    {"receivers.scribe.listen", TOP(scribe.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":9410",
     .help = "TCP address for Scribe, as Linkerd 1 and Finagle send their spans."},
    {"receivers.scribe.max_frame_bytes", TOP(scribe.max_frame_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 4 * KiB,
     .max = GiB, .live = true, .help = "Largest thrift frame; a larger one closes its connection."},
    {"receivers.scribe.max_connections", TOP(scribe.max_connections), .type = WEIR_OPTION_COUNT, .fallback = "1024", .min = 1, .max = 65536,
     .live = true, .help = "Open connections a lane; more are closed at once."},
    {"receivers.scribe.merge_wait", TOP(scribe.merge_wait_ns), .type = WEIR_OPTION_DURATION, .fallback = "3m", .min = 0, .max = HOUR,
     .live = true, .help = "How long a part of a span waits for the rest of it."},
    {"receivers.scribe.weight_wait", TOP(scribe.weight_wait_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 0, .max = HOUR,
     .live = true, .help = "How long a span waits for the one of its trace that says at what rate the trace was sampled."},
    {"receivers.scribe.memory_bytes", TOP(scribe.memory_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 64 * KiB, .max = TiB,
     .live = true, .help = "Bound a lane of spans that wait; beyond, the oldest go on as they are."},
    TLS_ROWS("receivers.scribe", scribe.tls),

    {"receivers.datagram.listen", TOP(datagram.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":4319",
     .help = "UDP address for Weir datagrams: spans and counters."},
    {"receivers.datagram.receive_buffer_bytes", TOP(datagram.receive_buffer_bytes), .type = WEIR_OPTION_BYTES, .fallback = "4MiB",
     .min = 64 * KiB, .max = GiB, .help = "Socket buffer asked of the kernel for each lane; what was got is on /metrics."},
    {"receivers.datagram.senders_max", TOP(datagram.senders_max), .type = WEIR_OPTION_COUNT, .fallback = "4096", .min = 1, .max = 1 << 20,
     .help = "Senders a lane whose sequence numbers are followed; beyond, the one heard least recently is forgotten."},
    {"receivers.datagram.sender_expiry", TOP(datagram.sender_expiry_ns), .type = WEIR_OPTION_DURATION, .fallback = "10m", .min = S,
     .max = 365 * DAY, .live = true, .help = "A sender that is silent for so long is forgotten."},
    {"receivers.datagram.hmac_key_file", TOP(datagram.hmac_key_file), .type = WEIR_OPTION_PATH, .fallback = "",
     .help = "File with the key that senders sign with (HMAC-SHA256); with it unsigned datagrams are refused."},
    {"receivers.datagram.allow", TOP(datagram.allow), .type = WEIR_OPTION_NETWORKS, .fallback = "", .live = true,
     .help = "Networks that may send, such as [10.0.0.0/8, fd00::/8]; without it, all."},

    {"receivers.access_log.listen", TOP(access_log.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":5140",
     .help = "UDP address for access logs of NGINX and HAProxy as syslog lines; see docs/access-log.md for their format."},
    {"receivers.access_log.receive_buffer_bytes", TOP(access_log.receive_buffer_bytes), .type = WEIR_OPTION_BYTES, .fallback = "4MiB",
     .min = 64 * KiB, .max = GiB, .help = "Socket buffer asked of the kernel for each lane; what was got is on /metrics."},

    {"receivers.statsd.listen", TOP(statsd.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":8125",
     .help = "UDP address for StatsD and DogStatsD lines."},
    {"receivers.statsd.source_label", TOP(statsd.source_label), .type = WEIR_OPTION_ENUM, .fallback = "none", .words = source_labels,
     .help = "Adds the label `source` to each series: the sender's address, or its name by reverse look-up."},
    {"receivers.statsd.receive_buffer_bytes", TOP(statsd.receive_buffer_bytes), .type = WEIR_OPTION_BYTES, .fallback = "4MiB",
     .min = 64 * KiB, .max = GiB, .help = "Socket buffer asked of the kernel for each lane; what was got is on /metrics."},

    {"batch.max_spans", TOP(batch.max_spans), .type = WEIR_OPTION_COUNT, .fallback = "8192", .min = 1, .max = 1 << 20, .live = true,
     .help = "A batch for the exporters closes at so many spans."},
    {"batch.max_bytes", TOP(batch.max_bytes), .type = WEIR_OPTION_BYTES, .fallback = "1MiB", .min = 4 * KiB, .max = 256 * MiB, .live = true,
     .help = "It also closes at so many bytes."},
    {"batch.max_age", TOP(batch.max_age_ns), .type = WEIR_OPTION_DURATION, .fallback = "200ms", .min = MS, .max = HOUR, .live = true,
     .help = "It also closes so long after its first span."},

    {"aggregate.series_max", TOP(aggregate.series_max), .type = WEIR_OPTION_COUNT, .fallback = "100000", .min = 100, .max = 10000000,
     .help = "Series in all; beyond, values fold into one series a metric labelled overflow=\"true\"."},
    {"aggregate.series_per_metric_max", TOP(aggregate.series_per_metric_max), .type = WEIR_OPTION_COUNT, .fallback = "2000", .min = 1,
     .max = 10000000, .help = "Series of one metric; beyond, they fold likewise."},
    {"aggregate.label_value_bytes_max", TOP(aggregate.label_value_bytes_max), .type = WEIR_OPTION_COUNT, .fallback = "128", .min = 8,
     .max = 256, .help = "Longer label values are cut."},
    {"aggregate.idle_expiry", TOP(aggregate.idle_expiry_ns), .type = WEIR_OPTION_DURATION, .fallback = "1h", .min = S, .max = 365 * DAY,
     .help = "A series that nothing was added to for so long is forgotten."},
    {"aggregate.latency_buckets", TOP(aggregate), .type = WEIR_OPTION_SECONDS,
     .fallback = "0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10",
     .help = "Upper bounds of the histograms of spans and timers, ascending, in seconds (0.25) or with a unit (250ms); +Inf is added."},
    {"aggregate.service_graph", TOP(aggregate.service_graph), .type = WEIR_OPTION_BOOL, .fallback = "true",
     .help = "Makes series of which service calls which (traces_service_graph_*)."},
    {"aggregate.edge_wait", TOP(aggregate.edge_wait_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 100 * MS, .max = HOUR,
     .help = "How long one side of a call waits for the other before it is counted alone."},
    {"aggregate.edges_max", TOP(aggregate.edges_max), .type = WEIR_OPTION_COUNT, .fallback = "65536", .min = 16, .max = 16 << 20,
     .help = "Calls that wait for their other side, a lane; beyond, the oldest is counted alone."},

    {"sampling.policy", TOP(sampling.policy), .type = WEIR_OPTION_PATH, .fallback = "", .live = true,
     .help = "Path of sampling.yaml (docs/sampling.md), relative to this file; without one everything is kept."},
    {"sampling.shadow", TOP(sampling.shadow), .type = WEIR_OPTION_PATH, .fallback = "", .live = true,
     .help = "Path of a second sampling.yaml whose `keep:` sees the same traces and only counts what it would do."},
    {"sampling.weight_wait", TOP(sampling.weight.wait_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 0, .max = HOUR,
     .live = true, .help = "How long a span waits for its trace's root, which says by what rate of the policy the trace was begun; only while proxies follow (docs/policy.md)."},
    {"sampling.weight_memory", TOP(sampling.weight.memory_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = 64 * KiB, .max = TiB,
     .live = true, .help = "Bound a lane of spans that wait so, and of what roots said; beyond, the oldest go on as they are."},
    {"sampling.canary.policy", TOP(sampling.canary_policy), .type = WEIR_OPTION_PATH, .fallback = "", .live = true,
     .help = "Path of a sampling.yaml whose `proxies:` only a share of the proxies follows (docs/policy.md, Canary)."},
    {"sampling.canary.share", TOP(sampling.canary_share), .type = WEIR_OPTION_RATIO, .fallback = "10%", .live = true,
     .help = "How many of the proxies follow it; always the same ones, and with a larger share those and more."},

    {"spool.directory", TOP(spool.directory), .type = WEIR_OPTION_FOLDER, .fallback = "",
     .help = "Where spans are kept on disk until they need not be; relative to the working directory; made when it is missing, for its owner alone."},
    {"spool.max_bytes", TOP(spool.max_bytes), .type = WEIR_OPTION_BYTES, .fallback = "10GiB", .min = 2 * MiB, .max = 1024 * TiB,
     .help = "Bound of what is on disk, shared evenly by the spools of exporters and, with `durable`, the journal. Beyond, a spool drops its oldest segment, counted as `full`, and senders are answered without the journal."},
    {"spool.segment_bytes", TOP(spool.segment_bytes), .type = WEIR_OPTION_BYTES, .fallback = "16MiB", .min = MiB, .max = GiB,
     .help = "A file of this size is closed and the next one begun; files are removed as a whole."},
    {"spool.memory_age", TOP(spool.memory_age_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 100 * MS, .max = HOUR,
     .help = "A batch that waits longer than this for its back end goes to disk, as do those for which half of `memory_bytes` is used."},
    {"spool.read_bytes_per_second", TOP(spool.read_bytes_per_second), .type = WEIR_OPTION_BYTES, .fallback = "0", .min = 0, .max = TiB,
     .help = "How fast an exporter's spool is read back at most, compressed; 0: as fast as the back end takes it."},
    {"spool.compression_level", TOP(spool.compression_level), .type = WEIR_OPTION_LEVEL, .fallback = "1", .min = -7, .max = 19,
     .help = "zstd level of what is written to an exporter's spool; -7 takes a third of the time and half as much again of the disk."},
    {"spool.durable", TOP(spool.durable), .type = WEIR_OPTION_BOOL, .fallback = "false",
     .help = "Answers senders when their spans are on disk (fdatasync): they outlive a crash until every exporter has delivered them or has them in its spool."},

    {"admin.listen", TOP(admin.listen), .type = WEIR_OPTION_LISTEN, .fallback = ":9646",
     .help = "TCP address for /metrics, health and reload."},
    {"admin.lifecycle", TOP(admin.lifecycle), .type = WEIR_OPTION_BOOL, .fallback = "false", .live = true,
     .help = "Lets POST /-/reload come from elsewhere than loopback."},
    TLS_ROWS("admin", admin.tls),
    BEARER_ROW("admin", admin.bearer_token_file),

    {"memory_bytes", OUT(WEIR_SCOPE_EXPORTER, memory_bytes), .type = WEIR_OPTION_BYTES, .fallback = "64MiB", .min = MiB, .max = TiB,
     .live = true, .help = "Batches that wait for this back end; beyond, the oldest is dropped as `full`."},
    {"max_age", OUT(WEIR_SCOPE_EXPORTER, max_age_ns), .type = WEIR_OPTION_DURATION, .fallback = "24h", .min = S, .max = 30 * DAY,
     .live = true, .help = "A batch that waits for longer is dropped as `expired`."},
    {"retry_initial", OUT(WEIR_SCOPE_EXPORTER, retry_initial_ns), .type = WEIR_OPTION_DURATION, .fallback = "500ms", .min = MS, .max = HOUR,
     .live = true, .help = "Pause before the first retry; it doubles with each, with jitter."},
    {"retry_max", OUT(WEIR_SCOPE_EXPORTER, retry_max_ns), .type = WEIR_OPTION_DURATION, .fallback = "30s", .min = MS, .max = 24 * HOUR,
     .live = true, .help = "Longest pause between two tries."},
    {"max_in_flight", OUT(WEIR_SCOPE_EXPORTER, max_in_flight), .type = WEIR_OPTION_COUNT, .fallback = "16", .min = 1, .max = 256,
     .live = true, .help = "Most batches sent and not yet answered; how many there are at a time follows how fast the back end answers."},
    {"spool", OUT(WEIR_SCOPE_EXPORTER, spool), .type = WEIR_OPTION_BOOL, .fallback = "true",
     .help = "Where `spool.directory` is given: batches go to disk before memory is short, or when the process ends; false: they are dropped then."},

    {"directory", OUT(WEIR_SCOPE_FILE, file.directory), .type = WEIR_OPTION_FOLDER, .fallback = "./traces",
     .help = "Where the files are; relative to the working directory; made when it is missing."},
    {"max_file_bytes", OUT(WEIR_SCOPE_FILE, file.max_file_bytes), .type = WEIR_OPTION_BYTES, .fallback = "64MiB", .min = 64 * KiB, .max = TiB,
     .help = "A file of this size is closed and the next one begun."},
    {"max_total_bytes", OUT(WEIR_SCOPE_FILE, file.max_total_bytes), .type = WEIR_OPTION_BYTES, .fallback = "1GiB", .min = 64 * KiB,
     .max = 1024 * TiB, .help = "Beyond so much in all, the oldest file is removed."},
    {"max_file_age", OUT(WEIR_SCOPE_FILE, file.max_file_age_ns), .type = WEIR_OPTION_DURATION, .fallback = "1h", .min = S, .max = 365 * DAY,
     .help = "A file of this age is closed too."},
    {"compression_level", OUT(WEIR_SCOPE_FILE, file.compression_level), .type = WEIR_OPTION_LEVEL, .fallback = "1", .min = -7, .max = 19,
     .help = "zstd: higher is smaller and slower."},

    {"url", OUT(WEIR_SCOPE_ZIPKIN, zipkin.url), .type = WEIR_OPTION_URL, .fallback = "",
     .help = "Where spans are posted: http://zipkin:9411/api/v2/spans; has to be given."},
    {"encoding", OUT(WEIR_SCOPE_ZIPKIN, zipkin.encoding), .type = WEIR_OPTION_ENUM, .fallback = "proto3", .words = encodings,
     .help = "Zipkin v2 in either of its encodings; proto3 is cheaper on both sides."},
    {"timeout", OUT(WEIR_SCOPE_ZIPKIN, zipkin.timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 10 * MS, .max = HOUR,
     .help = "A post that is not answered by then is tried again later."},
    {"max_body_bytes", OUT(WEIR_SCOPE_ZIPKIN, zipkin.max_body_bytes), .type = WEIR_OPTION_BYTES, .fallback = "1MiB", .min = 4 * KiB,
     .max = 256 * MiB, .help = "A batch is cut into bodies of at most this size."},
    {"headers", OUT(WEIR_SCOPE_ZIPKIN, headers), .type = WEIR_OPTION_HEADERS, .fallback = "",
     .help = "HTTP headers to send, { Name: value }; values are secret and never shown."},
    {"headers_file", OUT(WEIR_SCOPE_ZIPKIN, headers), .type = WEIR_OPTION_HEADERS_FILE, .fallback = "",
     .help = "The same from a file with `Name: value` lines, relative to this file; read at start and at each reload."},
    {"ca_file", OUT(WEIR_SCOPE_ZIPKIN, zipkin.ca_file), .type = WEIR_OPTION_PATH, .fallback = "",
     .help = "PEM file with the certificates to trust, relative to this file; without one, the system's."},

    {"brokers", OUT(WEIR_SCOPE_KAFKA, kafka.brokers), .type = WEIR_OPTION_TEXT, .fallback = "",
     .help = "Some of the cluster's brokers, host:port with commas between; has to be given."},
    {"topic", OUT(WEIR_SCOPE_KAFKA, kafka.topic), .type = WEIR_OPTION_TEXT, .fallback = "zipkin",
     .help = "Where messages go; a message is the spans that one batch has of one trace, its key the trace id's low 16 hex digits."},
    {"encoding", OUT(WEIR_SCOPE_KAFKA, kafka.encoding), .type = WEIR_OPTION_ENUM, .fallback = "zipkin_proto3", .words = kafka_encodings,
     .help = "What a message holds: a Zipkin v2 list in either of its encodings, or an OTLP ExportTraceServiceRequest."},
    {"compression", OUT(WEIR_SCOPE_KAFKA, kafka.compression), .type = WEIR_OPTION_ENUM, .fallback = "zstd", .words = weir_kafka_compressions,
     .help = "Of record batches."},
    {"compression_level", OUT(WEIR_SCOPE_KAFKA, kafka.compression_level), .type = WEIR_OPTION_LEVEL, .fallback = "1", .min = -1, .max = 12,
     .help = "Higher is smaller and slower; -1 is librdkafka's own choice. Only gzip, lz4 and zstd have levels."},
    {"buffer_bytes", OUT(WEIR_SCOPE_KAFKA, kafka.buffer_bytes), .type = WEIR_OPTION_BYTES, .fallback = "32MiB", .min = MiB, .max = GiB,
     .help = "Memory of encoded messages that brokers have not acknowledged."},
    {"settings", OUT(WEIR_SCOPE_KAFKA, headers), .type = WEIR_OPTION_HEADERS, .fallback = "",
     .help = "More settings of librdkafka by its names, such as security.protocol; values are secret and never shown."},
    {"settings_file", OUT(WEIR_SCOPE_KAFKA, headers), .type = WEIR_OPTION_HEADERS_FILE, .fallback = "",
     .help = "The same from a file with `name: value` lines, relative to this file; read at start."},

    {"endpoints", OUT(WEIR_SCOPE_OTLP, otlp.endpoints), .type = WEIR_OPTION_URLS, .fallback = "",
     .help = "One URL or a list of at most 16: grpc://host:4317, grpcs://host:4317 (TLS), http(s)://host:4318/v1/traces; has to be given."},
    {"balance", OUT(WEIR_SCOPE_OTLP, otlp.balance), .type = WEIR_OPTION_ENUM, .fallback = "failover", .words = otlp_balances,
     .help = "Of several endpoints, failover takes the first that is there; trace_id sends each trace to one of them, the same one whoever sends."},
    {"compression", OUT(WEIR_SCOPE_OTLP, otlp.compression), .type = WEIR_OPTION_ENUM, .fallback = "gzip", .words = otlp_compressions,
     .help = "Of requests; a peer that does not take zstd gets gzip, one that takes neither gets none."},
    {"timeout", OUT(WEIR_SCOPE_OTLP, otlp.timeout_ns), .type = WEIR_OPTION_DURATION, .fallback = "10s", .min = 10 * MS, .max = HOUR,
     .help = "A request that is not answered by then is tried again, elsewhere or later."},
    {"max_request_bytes", OUT(WEIR_SCOPE_OTLP, otlp.max_request_bytes), .type = WEIR_OPTION_BYTES, .fallback = "3584KiB", .min = 4 * KiB,
     .max = 256 * MiB, .help = "A larger batch is cut, before compression; gRPC servers take 4 MiB unless told otherwise."},
    {"headers", OUT(WEIR_SCOPE_OTLP, headers), .type = WEIR_OPTION_HEADERS, .fallback = "",
     .help = "Headers to send with each request, { Name: value }; values are secret and never shown."},
    {"headers_file", OUT(WEIR_SCOPE_OTLP, headers), .type = WEIR_OPTION_HEADERS_FILE, .fallback = "",
     .help = "The same from a file with `Name: value` lines, such as `Authorization: Bearer ...`, relative to this file; read at start."},
    {"ca_file", OUT(WEIR_SCOPE_OTLP, otlp.ca_file), .type = WEIR_OPTION_PATH, .fallback = "",
     .help = "PEM file with the certificates to trust, relative to this file; without one, the system's."},
    {"cert_file", OUT(WEIR_SCOPE_OTLP, otlp.cert_file), .type = WEIR_OPTION_PATH, .fallback = "",
     .help = "PEM file with the certificate chain that this client shows to who asks; needs key_file."},
    {"key_file", OUT(WEIR_SCOPE_OTLP, otlp.key_file), .type = WEIR_OPTION_PATH, .fallback = "",
     .help = "PEM file with the certificate's private key."},
    {.key = NULL},
};
/* clang-format on */

const struct weir_listen_option weir_listen_options[] = {
    {"receivers.grpc", offsetof(struct weir_config, grpc.listen), false},
    {"receivers.otlp_http", offsetof(struct weir_config, otlp_http.listen), false},
    {"receivers.zipkin", offsetof(struct weir_config, zipkin.listen), false},
    {"receivers.sampling", offsetof(struct weir_config, sampling_http.listen), false},
    {"receivers.scribe", offsetof(struct weir_config, scribe.listen), false},
    {"receivers.datagram", offsetof(struct weir_config, datagram.listen), true},
    {"receivers.access_log", offsetof(struct weir_config, access_log.listen), true},
    {"receivers.statsd", offsetof(struct weir_config, statsd.listen), true},
    {"admin", offsetof(struct weir_config, admin.listen), false},
    {NULL, 0, false},
};

static bool refuse(char *why, size_t why_size, const char *what) {
    snprintf(why, why_size, "%s", what);
    return false;
}

static bool out_of_bounds(const struct weir_option *option, char *why, size_t why_size) {
    char allowed[96];
    weir_option_allowed(option, allowed, sizeof allowed);
    snprintf(why, why_size, "is out of bounds, allowed is %s", allowed);
    return false;
}

static bool within(const struct weir_option *option, int64_t value) {
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static bool set_seconds(struct weir_aggregate_config *config, const char *text, char *why, size_t why_size) {
    double values[WEIR_BUCKETS_MAX];
    uint32_t count = 0;
    while (*text != 0) {
        char item[40];
        size_t size = strcspn(text, ",");
        const char *begin = text, *end = text + size;
        while (begin < end && *begin == ' ')
            begin++;
        while (end > begin && end[-1] == ' ')
            end--;
        double seconds;
        uint64_t ns;
        if ((size_t)(end - begin) >= sizeof item)
            return refuse(why, why_size, "has an entry that is neither seconds (0.25) nor a duration (250ms)");
        memcpy(item, begin, (size_t)(end - begin));
        item[end - begin] = 0;
        if (weir_value_duration(item, &ns))
            seconds = (double)ns / 1e9;
        else if (!weir_value_number(item, &seconds))
            return refuse(why, why_size, "has an entry that is neither seconds (0.25) nor a duration (250ms)");
        if (!(seconds > 0) || seconds > 1e9) return refuse(why, why_size, "has an entry that is not above 0");
        if (count > 0 && seconds <= values[count - 1]) return refuse(why, why_size, "is not ascending");
        if (count == WEIR_BUCKETS_MAX) return refuse(why, why_size, "has more than 64 entries");
        values[count++] = seconds;
        text += size + (text[size] == ',');
    }
    if (count == 0) return refuse(why, why_size, "is empty; allowed is 1 to 64 ascending bounds");
    memset(config->latency_buckets, 0, sizeof config->latency_buckets);
    memcpy(config->latency_buckets, values, count * sizeof *values);
    config->latency_bucket_count = count;
    return true;
}

static bool set_text(const struct weir_option *option, char *field, const char *folder, const char *text, char *why,
                     size_t why_size) {
    size_t before = *text == '/' || *text == 0 ? 0 : strlen(folder), size = strlen(text);
    for (const char *p = text; *p != 0; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) return refuse(why, why_size, "has a control character");
    }
    if (before + size >= option->size) {
        snprintf(why, why_size, "is longer than %u bytes", option->size - 1);
        return false;
    }
    memmove(field + before, text, size + 1);
    memcpy(field, folder, before);
    return true;
}

static int find_word(const char *const *words, const char *text) {
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) return i;
    }
    return -1;
}

/* Each begins as one that OTLP goes to. */
static bool sound_urls(const char *text) {
    static const char *const schemes[] = {"grpc://", "grpcs://", "http://", "https://", NULL};
    while (*text != 0) {
        text += strspn(text, " ");
        const char *const *scheme = schemes;
        while (*scheme != NULL && strncmp(text, *scheme, strlen(*scheme)) != 0)
            scheme++;
        if (*scheme == NULL) return false;
        text += strcspn(text, ",");
        if (*text == ',' && *++text == 0) return false;
    }
    return true;
}

bool weir_option_set(const struct weir_option *option, void *base, const char *text, const struct weir_option_env *env,
                     char *why, size_t why_size) {
    char *field = (char *)base + option->offset;
    uint64_t big;
    int64_t number;
    switch (option->type) {
    case WEIR_OPTION_LISTEN:
        if (weir_value_listen(text, env->host, (struct weir_listen *)(void *)field)) return true;
        return refuse(why, why_size,
                      "is not an address, such as 0.0.0.0:4317, [::1]:4317, :4317 (port 1 to 65535) or off");
    case WEIR_OPTION_BYTES:
        if (!weir_value_bytes(text, &big))
            return refuse(why, why_size, "is not a size, such as 1500, 64KiB, 10MiB or 1GiB");
        if (!within(option, (int64_t)big)) return out_of_bounds(option, why, why_size);
        memcpy(field, &big, sizeof big);
        return true;
    case WEIR_OPTION_DURATION:
        if (!weir_value_duration(text, &big))
            return refuse(why, why_size, "is not a duration, such as 750ms, 10s, 5m or 1h");
        if (!within(option, (int64_t)big)) return out_of_bounds(option, why, why_size);
        memcpy(field, &big, sizeof big);
        return true;
    case WEIR_OPTION_COUNT:
    case WEIR_OPTION_LEVEL:
        if (!weir_value_integer(text, &number)) return refuse(why, why_size, "is not a whole number");
        if (!within(option, number)) return out_of_bounds(option, why, why_size);
        if (option->type == WEIR_OPTION_COUNT)
            *(uint32_t *)(void *)field = (uint32_t)number;
        else
            *(int32_t *)(void *)field = (int32_t)number;
        return true;
    case WEIR_OPTION_RATIO:
        return weir_value_ratio(text, (double *)(void *)field) ||
               refuse(why, why_size, "is not a share of 0 to 1, such as 0.1 or \"10%\"");
    case WEIR_OPTION_BOOL:
        return weir_value_bool(text, (bool *)field) || refuse(why, why_size, "is neither true nor false");
    case WEIR_OPTION_ENUM:
    case WEIR_OPTION_WORD: {
        int index = find_word(option->words, text);
        if (index < 0) {
            char allowed[96];
            weir_option_allowed(option, allowed, sizeof allowed);
            snprintf(why, why_size, "is not one of %s", allowed);
            return false;
        }
        if (option->type == WEIR_OPTION_ENUM)
            memcpy(field, &index, sizeof index);
        else
            snprintf(field, option->size, "%s", text);
        return true;
    }
    case WEIR_OPTION_URL:
        if (*text != 0 && strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0) {
            return refuse(why, why_size, "does not begin with http:// or https://");
        }
        return set_text(option, field, "", text, why, why_size);
    case WEIR_OPTION_URLS:
        if (!sound_urls(text))
            return refuse(why, why_size,
                          "has an entry that does not begin with grpc://, grpcs://, http:// or https://");
        return set_text(option, field, "", text, why, why_size);
    case WEIR_OPTION_FOLDER:
        if (*text == 0 && *option->fallback != 0) return refuse(why, why_size, "is empty"); /* else it means none */
        return set_text(option, field, "", text, why, why_size);
    case WEIR_OPTION_TEXT:
        if (*text == 0 && *option->fallback != 0) return refuse(why, why_size, "is empty");
        return set_text(option, field, "", text, why, why_size);
    case WEIR_OPTION_PATH: return set_text(option, field, env->folder, text, why, why_size);
    case WEIR_OPTION_NETWORKS: {
        struct weir_networks networks;
        return weir_networks_parse(text, &networks, why, why_size) && set_text(option, field, "", text, why, why_size);
    }
    case WEIR_OPTION_SECONDS: return set_seconds((struct weir_aggregate_config *)(void *)field, text, why, why_size);
    case WEIR_OPTION_HEADERS:
    case WEIR_OPTION_HEADERS_FILE: break;
    }
    return *text == 0 || refuse(why, why_size, "is not a map of names and values");
}

bool weir_option_add_header(struct weir_exporter_config *config, const char *name, const char *value, char *why,
                            size_t why_size) {
    struct weir_header *header = &config->headers[config->header_count];
    size_t size = strlen(name);
    /* RFC 9110, 5.6.2: token */
    bool token = size > 0 &&
                 strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == size;
    if (!token || size >= sizeof header->name)
        return refuse(why, why_size,
                      strcmp(config->type, "kafka") == 0 ? "is not the name of a setting of at most 63 bytes"
                                                         : "is not the name of an HTTP header of at most 63 bytes");
    if (config->header_count == WEIR_HEADERS_MAX) return refuse(why, why_size, "is one more than the 16 allowed");
    for (uint32_t i = 0; i < config->header_count; i++) {
        if (strcasecmp(config->headers[i].name, name) == 0) return refuse(why, why_size, "is given twice");
    }
    for (const char *p = value; *p != 0; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
            return refuse(why, why_size, "has a value with a control character");
    }
    if (strlen(value) >= sizeof header->value) return refuse(why, why_size, "has a value longer than 2047 bytes");
    memcpy(header->name, name, size + 1);
    strcpy(header->value, value);
    config->header_count++;
    return true;
}

bool weir_option_secret(const struct weir_option *option) {
    return option->type == WEIR_OPTION_URL || option->type == WEIR_OPTION_URLS || option->type == WEIR_OPTION_HEADERS;
}

static bool same_listen(const struct weir_listen *a, const struct weir_listen *b) {
    return a->on == b->on && (!a->on || (a->port == b->port && strcmp(a->host, b->host) == 0));
}

bool weir_option_equal(const struct weir_option *option, const void *a, const void *b) {
    const char *x = (const char *)a + option->offset, *y = (const char *)b + option->offset;
    switch (option->type) {
    case WEIR_OPTION_LISTEN:
        return same_listen((const struct weir_listen *)(const void *)x, (const struct weir_listen *)(const void *)y);
    case WEIR_OPTION_WORD:
    case WEIR_OPTION_TEXT:
    case WEIR_OPTION_URL:
    case WEIR_OPTION_URLS:
    case WEIR_OPTION_FOLDER:
    case WEIR_OPTION_PATH:
    case WEIR_OPTION_NETWORKS: return strcmp(x, y) == 0;
    case WEIR_OPTION_SECONDS: {
        const struct weir_aggregate_config *p = (const void *)x, *q = (const void *)y;
        return p->latency_bucket_count == q->latency_bucket_count &&
               memcmp(p->latency_buckets, q->latency_buckets, p->latency_bucket_count * sizeof *p->latency_buckets) ==
                   0;
    }
    case WEIR_OPTION_HEADERS_FILE: return true; /* what it holds is in the headers */
    case WEIR_OPTION_HEADERS: {
        const struct weir_exporter_config *p = a, *q = b;
        if (p->header_count != q->header_count) return false;
        for (uint32_t i = 0; i < p->header_count; i++) {
            if (strcmp(p->headers[i].name, q->headers[i].name) != 0) return false;
            if (strcmp(p->headers[i].value, q->headers[i].value) != 0) return false;
        }
        return true;
    }
    default: return memcmp(x, y, option->size) == 0;
    }
}

void weir_option_allowed(const struct weir_option *option, char *out, size_t out_size) {
    char low[32], high[32];
    *out = 0;
    if (option->words != NULL) {
        size_t used = 0;
        for (int i = 0; option->words[i] != NULL && used < out_size; i++) {
            used += (size_t)snprintf(out + used, out_size - used, "%s%s", i == 0 ? "" : ", ", option->words[i]);
        }
        return;
    }
    if (option->type == WEIR_OPTION_RATIO) {
        snprintf(out, out_size, "0 to 1, 0%% to 100%%");
        return;
    }
    if (option->min == 0 && option->max == 0) return;
    if (option->type == WEIR_OPTION_BYTES) {
        weir_value_print_bytes((uint64_t)option->min, low, sizeof low);
        weir_value_print_bytes((uint64_t)option->max, high, sizeof high);
    } else if (option->type == WEIR_OPTION_DURATION) {
        weir_value_print_duration((uint64_t)option->min, low, sizeof low);
        weir_value_print_duration((uint64_t)option->max, high, sizeof high);
    } else {
        snprintf(low, sizeof low, "%lld", (long long)option->min);
        snprintf(high, sizeof high, "%lld", (long long)option->max);
    }
    snprintf(out, out_size, "%s to %s", low, high);
}
