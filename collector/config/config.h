/* config.h - the configuration as the rooms see it: plain, validated values. Made by config/load.c from YAML against
 * the table in config/options.c; an immutable snapshot after that. Durations are ns, sizes bytes. Names are those of
 * the keys. */
#ifndef WEIR_CONFIG_CONFIG_H
#define WEIR_CONFIG_CONFIG_H
#include "collector/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_TEXT_MAX = 256, WEIR_EXPORTERS_MAX = 16, WEIR_BUCKETS_MAX = 64, WEIR_HEADERS_MAX = 16 };

struct weir_listen {
    bool on;       /* false: `off`, or a default port that was taken */
    bool asked;    /* a file names it: a taken port is fatal */
    char host[64]; /* numeric IPv4 or IPv6, or a name that resolves */
    uint16_t port;
    int line; /* in the file, for errors */
};

enum weir_source_label { WEIR_SOURCE_NONE, WEIR_SOURCE_IP, WEIR_SOURCE_HOST };

struct weir_statsd_config {
    struct weir_listen listen;           /* 127.0.0.1:8125 */
    enum weir_source_label source_label; /* none; adds the label `source` */
    uint64_t receive_buffer_bytes;       /* 4 MiB */
};

/* A listener without cert_file is plain. Files are read at the start, and again when they change. */
struct weir_tls_config {
    char cert_file[WEIR_TEXT_MAX], key_file[WEIR_TEXT_MAX]; /* PEM; "" = no TLS */
    char client_ca_file[WEIR_TEXT_MAX];                     /* PEM; else clients need no certificate */
    enum weir_tls_version { WEIR_TLS_1_2, WEIR_TLS_1_3 } min_version;
};

/* receivers.otlp_http, receivers.zipkin, receivers.sampling */
struct weir_http_config {
    struct weir_listen listen; /* 127.0.0.1:4318, :9411, :5778 */
    uint64_t max_body_bytes;   /* 16 MiB; also after inflating */
    uint32_t max_connections;  /* 1024 a lane */
    uint64_t idle_timeout_ns;  /* 60 s without a byte */
    struct weir_tls_config tls;
    char bearer_token_file[WEIR_TEXT_MAX]; /* "" = anybody may send */
    bool count_marked;                     /* otlp_http only, as of grpc */
};

struct weir_scribe_config {
    struct weir_listen listen; /* 127.0.0.1:9410 */
    uint64_t max_frame_bytes;  /* 16 MiB */
    uint32_t max_connections;  /* 1024 a lane */
    uint64_t merge_wait_ns;    /* 3 min: how long a part of a span waits for the rest */
    uint64_t weight_wait_ns;   /* 10 s: how long a span waits for the one that says its trace's rate */
    uint64_t memory_bytes;     /* 16 MiB a lane, of spans that wait */
    struct weir_tls_config tls;
};

/* sampling.weight_wait, sampling.weight_memory */
struct weir_weight_config {
    uint64_t wait_ns;      /* 10 s: how long a span waits for its trace's root to say what it stands for */
    uint64_t memory_bytes; /* 16 MiB a lane, of spans that wait and of what roots said */
};

struct weir_datagram_config {
    struct weir_listen listen; /* 127.0.0.1:4319 */
    uint64_t receive_buffer_bytes;
    uint32_t senders_max;              /* 4096 a lane, for sequence numbers */
    uint64_t sender_expiry_ns;         /* 10 min */
    char hmac_key_file[WEIR_TEXT_MAX]; /* "" = no signatures asked for */
    char allow[WEIR_TEXT_MAX];         /* networks, such as 10.0.0.0/8, fd00::/8; "" = any */
};

struct weir_access_log_config {
    struct weir_listen listen; /* 127.0.0.1:5140 */
    uint64_t receive_buffer_bytes;
};

/* attributes: what may be kept of a span's text. In the order of the list, each to what the one before left. */
enum weir_action {
    WEIR_ACTION_DROP,
    WEIR_ACTION_KEEP, /* where there is one, attributes that none of them names are dropped */
    WEIR_ACTION_HASH,
    WEIR_ACTION_REPLACE,
    WEIR_ACTION_STRIP_QUERY,
    WEIR_ACTION_MASK_CARD_NUMBERS,
    WEIR_ACTIONS
};
enum { WEIR_RULES_MAX = 32, WEIR_RULE_KEYS_MAX = 16 };
struct weir_attribute_config {
    char name[48]; /* label `rule` of what it counts; the action's when none is given */
    enum weir_action action;
    char keys[WEIR_RULE_KEYS_MAX][64];                       /* exact, or a beginning and `*`; "*" is all */
    uint32_t key_count;                                      /* 0: the rule does nothing */
    char pattern[WEIR_TEXT_MAX], replacement[WEIR_TEXT_MAX]; /* of replace: PCRE2 */
    char key_file[WEIR_TEXT_MAX];                            /* of hash; "" = a key of this process */
    int line;
};
/* operations: names that only the team knows to be unbounded. */
struct weir_operation_config {
    char match[WEIR_TEXT_MAX], name[WEIR_TEXT_MAX]; /* PCRE2, and what the whole name becomes */
    int line;
};
/* success: and exclude: the first that fits decides. Empty: any. */
struct weir_judge_config {
    char service[64], operation[128]; /* exact, or a beginning and `*` */
    uint16_t http_min, http_max;      /* 0 = any */
    uint32_t grpc_codes;              /* a bit each; 0 = any */
    char key[64], equals[128];        /* an attribute with this text; key "" = any */
    bool success;
    int line;
};

/* render: files for proxies that only read files. */
enum weir_render_kind {
    WEIR_RENDER_NGINX,
    WEIR_RENDER_NGINX_OTEL, /* with nginx's own OpenTelemetry module */
    WEIR_RENDER_LINKERD1,
    WEIR_RENDER_ENVOY,
    WEIR_RENDER_OTEL_ENV,
    WEIR_RENDER_KINDS
};
enum { WEIR_RENDERS_MAX = 32 };
struct weir_render_config {
    enum weir_render_kind kind;
    char service[WEIR_TEXT_MAX]; /* of proxies; "" = the default's rates */
    bool ignore_incoming;        /* nginx: callers are strangers, what they decided counts for nothing */
    char path[WEIR_TEXT_MAX];
    char command[512];        /* for /bin/sh, when the file is another; "" = none */
    uint64_t timeout_ns;      /* 10 s: a command that runs longer is killed */
    uint64_t min_interval_ns; /* 10 s between two writes */
    int line;
};

struct weir_grpc_config {
    struct weir_listen listen;       /* 127.0.0.1:4317 */
    uint64_t max_message_bytes;      /* 16 MiB; also after inflating */
    uint32_t max_connections;        /* 1024 a lane */
    uint32_t max_concurrent_streams; /* 100 a connection */
    uint64_t keepalive_min_ns;       /* 10 s: PINGs more often than this, without data, are strikes */
    struct weir_tls_config tls;
    char bearer_token_file[WEIR_TEXT_MAX]; /* "" = anybody may send */
    bool count_marked;                     /* false: who says that its spans are counted is believed */
};

struct weir_batch_config {
    uint32_t max_spans;  /* 8192 */
    uint64_t max_bytes;  /* 1 MiB */
    uint64_t max_age_ns; /* 200 ms */
};

struct weir_aggregate_config {
    uint32_t series_max;                      /* 100,000 in all */
    uint32_t series_per_metric_max;           /* 2,000 */
    uint32_t label_value_bytes_max;           /* 128 */
    uint64_t idle_expiry_ns;                  /* 1 h */
    double latency_buckets[WEIR_BUCKETS_MAX]; /* seconds, for spans and timers */
    uint32_t latency_bucket_count;
    bool service_graph;    /* true */
    uint64_t edge_wait_ns; /* 10 s: how long one side of an edge waits for the other */
    uint32_t edges_max;    /* 65,536 waiting a lane */
};

struct weir_header {
    char name[64];
    char value[2048]; /* may be secret: never printed. A token with claims in it has 1 KiB and more */
};

enum weir_zipkin_encoding { WEIR_ZIPKIN_PROTO3, WEIR_ZIPKIN_JSON };
enum weir_kafka_encoding { WEIR_KAFKA_ZIPKIN_PROTO3, WEIR_KAFKA_ZIPKIN_JSON, WEIR_KAFKA_OTLP_PROTO };
enum weir_otlp_balance { WEIR_OTLP_FAILOVER, WEIR_OTLP_TRACE_ID };
enum weir_otlp_encoding { WEIR_OTLP_NONE, WEIR_OTLP_GZIP, WEIR_OTLP_ZSTD, WEIR_OTLP_ENCODINGS };
enum { WEIR_ENDPOINTS_MAX = 16 };
/* As librdkafka and brokers call them; ends with NULL. */
extern const char *const weir_kafka_compressions[];

struct weir_exporter_config {
    char type[32]; /* file, zipkin, kafka, otlp */
    char name[64]; /* `type` or `type/name`: the ledger's label */
    int line;
    /* queue, for all */
    uint64_t memory_bytes; /* 64 MiB of batches in memory; beyond, the oldest is dropped and counted */
    uint64_t max_age_ns;   /* 24 h; older is dropped as expired */
    uint64_t retry_initial_ns, retry_max_ns;      /* 500 ms, 30 s; jittered */
    uint32_t max_in_flight;                       /* 16 */
    bool spool;                                   /* true: where spool.directory is given */
    struct weir_header headers[WEIR_HEADERS_MAX]; /* HTTP headers; kafka: settings of librdkafka */
    uint32_t header_count;
    union {
        struct {
            char directory[WEIR_TEXT_MAX]; /* ./traces */
            uint64_t max_file_bytes;       /* 64 MiB, then the next file */
            uint64_t max_total_bytes;      /* 1 GiB, then the oldest file is removed */
            uint64_t max_file_age_ns;      /* 1 h */
            int32_t compression_level;     /* zstd: 1 */
        } file;
        struct {
            char url[WEIR_TEXT_MAX];
            enum weir_zipkin_encoding encoding; /* proto3 */
            uint64_t timeout_ns;                /* 10 s */
            uint64_t max_body_bytes;            /* 1 MiB: a batch is cut into bodies of this size */
            char ca_file[WEIR_TEXT_MAX];        /* "" = the system's */
        } zipkin;
        struct {
            char brokers[WEIR_TEXT_MAX]; /* host:port, with commas between */
            char topic[WEIR_TEXT_MAX];   /* zipkin */
            enum weir_kafka_encoding encoding;
            uint32_t compression;      /* index of weir_kafka_compressions */
            int32_t compression_level; /* 1 */
            uint64_t buffer_bytes;     /* 32 MiB: encoded messages that brokers have not acknowledged */
        } kafka;
        struct {
            char endpoints[2048]; /* URLs with ", " between: grpc://, grpcs://, http://, https:// */
            enum weir_otlp_balance balance;
            enum weir_otlp_encoding compression;
            uint64_t timeout_ns;                                    /* 10 s */
            uint64_t max_request_bytes;                             /* 3584 KiB, before compression */
            char ca_file[WEIR_TEXT_MAX];                            /* "" = the system's */
            char cert_file[WEIR_TEXT_MAX], key_file[WEIR_TEXT_MAX]; /* "" = none of our own */
        } otlp;
    };
};

enum { WEIR_LANES_MAX = 64 };

struct weir_rules;

struct weir_config {
    char path[WEIR_TEXT_MAX];  /* "" when there is no file */
    uint32_t lanes;            /* 0 = min(affinity, cpu quota) */
    char log_level[8];         /* info */
    uint64_t drain_timeout_ns; /* 10 s: SIGTERM to exit at the latest */
    uint64_t intake_bytes;     /* memory.intake: 64 MiB; messages being read, decoded, handed over */
    uint32_t names_max;        /* memory.names: 65,536 distinct names */
    struct weir_statsd_config statsd;
    struct weir_grpc_config grpc;
    struct weir_http_config otlp_http, zipkin, sampling_http;
    struct weir_scribe_config scribe;
    struct weir_datagram_config datagram;
    struct weir_access_log_config access_log;
    struct weir_batch_config batch;
    struct weir_aggregate_config aggregate;
    struct {
        char policy[WEIR_TEXT_MAX];        /* path of sampling.yaml, relative to this file; "" = everything is kept */
        char shadow[WEIR_TEXT_MAX];        /* of another one whose rules only count; "" = none */
        char canary_policy[WEIR_TEXT_MAX]; /* of one that a share of the proxies follows; "" = none */
        double canary_share;               /* 10%; 0 to 1 */
        struct weir_weight_config weight;
        int line, shadow_line, canary_line;
    } sampling;
    struct {
        char directory[WEIR_TEXT_MAX];  /* "" = nothing is on disk */
        uint64_t max_bytes;             /* 10 GiB, shared evenly: weir_config_spool_share() */
        uint64_t segment_bytes;         /* 16 MiB */
        uint64_t memory_age_ns;         /* 10 s */
        uint64_t read_bytes_per_second; /* 0 = no cap */
        int32_t compression_level;      /* zstd: 1 */
        bool durable;                   /* false; true: senders are answered when their spans are on disk */
        int line;                       /* of `durable`, for errors */
    } spool;
    struct {
        struct weir_listen listen; /* 127.0.0.1:9646 */
        bool lifecycle;            /* POST /-/reload also from elsewhere than loopback */
        struct weir_tls_config tls;
        char bearer_token_file[WEIR_TEXT_MAX];
    } admin;
    struct weir_exporter_config exporters[WEIR_EXPORTERS_MAX];
    uint32_t exporter_count;
    struct weir_attribute_config attributes[WEIR_RULES_MAX];
    struct weir_operation_config operations[WEIR_RULES_MAX];
    struct weir_judge_config success[WEIR_RULES_MAX], exclude[WEIR_RULES_MAX];
    struct weir_render_config renders[WEIR_RENDERS_MAX];
    uint32_t attribute_count, operation_count, success_count, exclude_count, render_count;
    const struct weir_rules *rules; /* made of the above by attributes/rules.h; NULL until then */
};

/* Reads, checks and completes. path NULL or "": the defaults. On WEIR_INVALID err->text is "file:line: reason" and
 * *config is untouched. The caller frees with weir_config_free(). */
enum weir_status weir_config_load(const char *path, struct weir_config **config, struct weir_error *err);
void weir_config_free(struct weir_config *config);
/* Names (comma-separated, into out) of what differs between two configurations and only a restart can change; "" =
 * nothing. */
void weir_config_needs_restart(const struct weir_config *running, const struct weir_config *next, char *out,
                               size_t out_size);
/* Writes docs/configuration.md to stdout from the table of options. */
void weir_config_print_reference(void);
#endif
