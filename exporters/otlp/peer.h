/* peer.h - one endpoint: what is known of it, and requests to it over gRPC (grpc.c) or HTTP (http.c). */
#ifndef WEIR_EXPORTERS_OTLP_PEER_H
#define WEIR_EXPORTERS_OTLP_PEER_H
#include "collector/core/clock.h"
#include "collector/core/log.h"
#include "collector/core/metrics.h"
#include "collector/rpc/connection.h"
#include "exporters/otlp/address.h"
#include "exporters/otlp/balance.h"
#include "exporters/otlp/verdict.h"

#include <curl/curl.h>

enum {
    WEIR_OTLP_REQUESTS, /* one row an outcome */
    WEIR_OTLP_UP = WEIR_OTLP_REQUESTS + WEIR_OTLP_OUTCOMES,
    WEIR_OTLP_OPENS,
    WEIR_OTLP_CONNECTIONS,
    WEIR_OTLP_PLAIN_BYTES,
    WEIR_OTLP_BODY_BYTES,
    WEIR_OTLP_PARTIAL_SPANS,
    WEIR_OTLP_FALLBACKS,
    WEIR_OTLP_CUTS,
    WEIR_OTLP_LIMIT,
    WEIR_OTLP_METRICS
};
extern const struct weir_metric weir_otlp_metrics[WEIR_OTLP_METRICS];

/* One export request. The transport has it from submit until done(). */
struct weir_otlp_request {
    struct weir_rpc_call call; /* first. Its body is what is sent over HTTP too, without the five bytes */
    struct weir_otlp_peer *peer;
    void *flight;    /* the batch it is of */
    uint32_t *spans; /* indices in the batch */
    uint32_t span_count, span_capacity;
    size_t plain_bytes;
    enum weir_otlp_encoding encoding;
    struct weir_otlp_verdict verdict;
    struct weir_otlp_request *next; /* of those that are done, or spare */
    /* gRPC */
    uint64_t read_mark; /* bytes that the connection had read when it was given to it */
    bool again;         /* it was on a connection that turned out to be over */
    /* HTTP */
    CURL *easy; /* kept from request to request */
    char error[CURL_ERROR_SIZE];
};

struct weir_otlp_grpc;
struct weir_otlp_http;

struct weir_otlp_peer {
    struct weir_otlp_address address;
    uint64_t seed; /* for weir_otlp_rank() */
    struct weir_otlp_breaker breaker;
    enum weir_otlp_encoding encoding; /* what it takes, as far as is known */
    uint32_t proven;                  /* a bit an encoding that it has taken */
    uint64_t limit_bytes;             /* what it takes, likewise */
    uint64_t forget_ns;               /* when that is tried anew; 0 = nothing was learned */
    struct weir_log_limit down_limit, up_limit, warning_limit;
    struct weir_metric_set *set;
    const struct weir_exporter_config *config;
    const struct weir_clock *clock;
    struct weir_otlp_grpc *grpc; /* one of these two */
    struct weir_otlp_http *http;
    void *self;
    /* The request has its verdict. May be called from within submit, work and close. */
    void (*done)(void *self, struct weir_otlp_request *request);
};

/* address, config, clock, set, self and done are set. Connects to nothing. For http, requests are on `multi`, whose
 * messages go to weir_otlp_http_finished(). */
enum weir_status weir_otlp_peer_open(struct weir_otlp_peer *peer, CURLM *multi, struct weir_error *err);
/* The body is in request->call.body, the deadline in request->call.deadline_ns. */
void weir_otlp_peer_submit(struct weir_otlp_peer *peer, struct weir_otlp_request *request);
/* What to poll for; at most WEIR_OTLP_POLLS. */
enum { WEIR_OTLP_POLLS = 4 };
uint32_t weir_otlp_peer_polls(struct weir_otlp_peer *peer, struct curl_waitfd *polls);
void weir_otlp_peer_work(struct weir_otlp_peer *peer, uint64_t now_ns); /* as far as it goes without waiting */
void weir_otlp_peer_close(struct weir_otlp_peer *peer);                 /* what is under way ends as UNREACHABLE */

/* The outcome, counted; the transports' way to done(). */
void weir_otlp_peer_done(struct weir_otlp_peer *peer, struct weir_otlp_request *request);

/* grpc.c */
enum weir_status weir_otlp_grpc_open(struct weir_otlp_grpc **grpc, struct weir_otlp_peer *peer, struct weir_error *err);
void weir_otlp_grpc_submit(struct weir_otlp_grpc *grpc, struct weir_otlp_request *request);
uint32_t weir_otlp_grpc_polls(struct weir_otlp_grpc *grpc, struct curl_waitfd *polls);
void weir_otlp_grpc_work(struct weir_otlp_grpc *grpc, uint64_t now_ns);
void weir_otlp_grpc_close(struct weir_otlp_grpc *grpc);
/* A context for config's files; *secure stays NULL where the address is plain. */
enum weir_status weir_otlp_secure(const struct weir_exporter_config *config, const struct weir_otlp_address *address,
                                  SSL_CTX **secure, struct weir_error *err);

/* http.c */
enum weir_status weir_otlp_http_open(struct weir_otlp_http **http, struct weir_otlp_peer *peer, CURLM *multi,
                                     struct weir_error *err);
void weir_otlp_http_submit(struct weir_otlp_http *http, struct weir_otlp_request *request);
void weir_otlp_http_finished(CURL *easy, CURLcode code); /* of any of them */
void weir_otlp_http_close(struct weir_otlp_http *http);
#endif
