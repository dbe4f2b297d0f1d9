#include "exporters/otlp/peer.h"

#include <string.h>

#define REQUESTS(outcome)                                                                                              \
    {                                                                                                                  \
        "otlp_requests_total", "outcome=\"" outcome "\"", WEIR_COUNTER,                                                \
            "Export requests, by what became of them (exporters/otlp/README.md)."                                      \
    }
const struct weir_metric weir_otlp_metrics[WEIR_OTLP_METRICS] = {
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_DELIVERED] = REQUESTS("delivered"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_PARTIAL] = REQUESTS("partial"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_UNREADABLE] = REQUESTS("unreadable"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_REJECTED] = REQUESTS("rejected"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_TOO_LARGE] = REQUESTS("too_large"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_ENCODING_REFUSED] = REQUESTS("encoding"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_THROTTLED] = REQUESTS("throttled"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_UNAVAILABLE] = REQUESTS("unavailable"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_NOT_ALLOWED] = REQUESTS("not_allowed"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_UNREACHABLE] = REQUESTS("unreachable"),
    [WEIR_OTLP_REQUESTS + WEIR_OTLP_TIMED_OUT] = REQUESTS("timed_out"),
    [WEIR_OTLP_UP] = {"otlp_endpoint_up", NULL, WEIR_GAUGE,
                      "1 while requests go to the endpoint; 0 while its breaker is open: others take its part, and one "
                      "request now and then tries it."},
    [WEIR_OTLP_OPENS] = {"otlp_breaker_opens_total", NULL, WEIR_COUNTER, "Times that an endpoint was given up."},
    [WEIR_OTLP_CONNECTIONS] = {"otlp_connections_total", NULL, WEIR_COUNTER,
                               "gRPC connections that were begun; HTTP's are libcurl's."},
    [WEIR_OTLP_PLAIN_BYTES] = {"otlp_message_bytes_total", NULL, WEIR_COUNTER,
                               "Bytes of the requests that were sent, before compression."},
    [WEIR_OTLP_BODY_BYTES] = {"otlp_body_bytes_total", NULL, WEIR_COUNTER, "The same as they were sent."},
    [WEIR_OTLP_PARTIAL_SPANS] = {"otlp_partial_rejected_spans_total", NULL, WEIR_COUNTER,
                                 "Spans that endpoints refused from requests that they took (partial_success)."},
    [WEIR_OTLP_FALLBACKS] = {"otlp_encoding_fallbacks_total", NULL, WEIR_COUNTER,
                             "Times that an endpoint did not take a compression and the next one was tried."},
    [WEIR_OTLP_CUTS] = {"otlp_request_cuts_total", NULL, WEIR_COUNTER,
                        "Times that an endpoint found a request too large and smaller ones were made."},
    [WEIR_OTLP_LIMIT] = {"otlp_request_limit_bytes", NULL, WEIR_GAUGE,
                         "Most bytes that a request has, before compression, as far as is known of the endpoint."},
};

void weir_otlp_peer_done(struct weir_otlp_peer *peer, struct weir_otlp_request *request) {
    weir_count(peer->set, WEIR_OTLP_REQUESTS + (uint32_t)request->verdict.outcome, 1);
    peer->done(peer->self, request);
}

enum weir_status weir_otlp_peer_open(struct weir_otlp_peer *peer, CURLM *multi, struct weir_error *err) {
    peer->seed = weir_otlp_seed(peer->address.name);
    peer->encoding = peer->config->otlp.compression;
    peer->limit_bytes = peer->config->otlp.max_request_bytes;
    weir_gauge(peer->set, WEIR_OTLP_UP, 1);
    weir_gauge(peer->set, WEIR_OTLP_LIMIT, peer->limit_bytes);
    return peer->address.grpc ? weir_otlp_grpc_open(&peer->grpc, peer, err)
                              : weir_otlp_http_open(&peer->http, peer, multi, err);
}

void weir_otlp_peer_submit(struct weir_otlp_peer *peer, struct weir_otlp_request *request) {
    weir_count(peer->set, WEIR_OTLP_PLAIN_BYTES, request->plain_bytes);
    weir_count(peer->set, WEIR_OTLP_BODY_BYTES, request->call.body.size);
    weir_rpc_answer_reset(&request->call.answer);
    if (peer->grpc != NULL)
        weir_otlp_grpc_submit(peer->grpc, request);
    else
        weir_otlp_http_submit(peer->http, request);
}

uint32_t weir_otlp_peer_polls(struct weir_otlp_peer *peer, struct curl_waitfd *polls) {
    return peer->grpc != NULL ? weir_otlp_grpc_polls(peer->grpc, polls) : 0;
}

void weir_otlp_peer_work(struct weir_otlp_peer *peer, uint64_t now_ns) {
    if (peer->grpc != NULL) weir_otlp_grpc_work(peer->grpc, now_ns);
}

void weir_otlp_peer_close(struct weir_otlp_peer *peer) {
    weir_otlp_grpc_close(peer->grpc);
    weir_otlp_http_close(peer->http);
    peer->grpc = NULL;
    peer->http = NULL;
}
