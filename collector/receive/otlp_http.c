/* otlp_http.c - OTLP over HTTP: traces and metrics, in protobuf and JSON.
 * Source: opentelemetry-proto docs/specification.md, "OTLP/HTTP". */
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_json.h"
#include "collector/decode/otlp_metrics.h"
#include "collector/receive/counted.h"
#include "collector/receive/grpc.h"
#include "collector/receive/http.h"
#include "collector/receive/otlp_answer.h"
#include "collector/receive/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_S = 1 };
static const char protobuf_type[] = "application/x-protobuf", json_type[] = "application/json";

struct otlp_http {
    struct weir_sink sink;
    struct weir_http *http;
    struct weir_otlp *traces;
    struct weir_otlp_metrics *metrics;
    struct weir_metrics *registry;
    struct weir_metric_set *counted; /* upstream */
    bool count_marked;
    bool stopping;
};

/* ---- answers: in the caller's format ---- */

static void say(struct weir_http_call *call, unsigned status, const uint8_t *body, size_t size, unsigned retry_s) {
    weir_http_answer(call, status, weir_http_note(call)->json ? json_type : protobuf_type, body, size, retry_s);
}

static void accept(struct weir_http_call *call, enum weir_otlp_signal signal) {
    const struct weir_http_note *note = weir_http_note(call);
    uint8_t body[WEIR_OTLP_ANSWER_BYTES];
    size_t size = note->json ? weir_otlp_answer_partial_json(signal, note->rejected, note->reason, body)
                             : weir_otlp_answer_partial(note->rejected, note->reason, body);
    say(call, 200, body, size, 0);
}

/* The codes that gRPC would have answered, which Status carries. */
static enum weir_grpc_code code_of(unsigned status) {
    switch (status) {
    case 400: return WEIR_GRPC_INVALID_ARGUMENT;
    case 401: return WEIR_GRPC_UNAUTHENTICATED;
    case 404: return WEIR_GRPC_NOT_FOUND;
    case 413:
    case 429: return WEIR_GRPC_RESOURCE_EXHAUSTED;
    case 503: return WEIR_GRPC_UNAVAILABLE;
    default: return WEIR_GRPC_UNIMPLEMENTED;
    }
}

static void refuse(struct weir_http_call *call, unsigned status, const char *text, unsigned retry_s) {
    uint8_t body[WEIR_OTLP_ANSWER_BYTES];
    size_t size = weir_http_note(call)->json ? weir_otlp_answer_status_json(code_of(status), text, body)
                                             : weir_otlp_answer_status(code_of(status), text, body);
    say(call, status, body, size, retry_s);
}

static void refuse_error(struct weir_http_call *call, const struct weir_error *err) {
    if (err->status == WEIR_FULL) {
        refuse(call, 429, err->text, RETRY_S);
    } else {
        refuse(call, 400, err->text, 0);
    }
}

/* By http.c, before a route is called. Who speaks neither format reads JSON rather than protobuf. */
static void refused(void *self, struct weir_http_call *call, unsigned status, const char *content_type,
                    const char *text, unsigned retry_s) {
    (void)self;
    weir_http_note(call)->json = strcmp(content_type, protobuf_type) != 0;
    refuse(call, status, text, retry_s);
}

/* ---- requests ---- */

/* The body in protobuf. False: the call is answered. */
static bool read_body(struct otlp_http *receiver, struct weir_http_call *call, enum weir_otlp_json_request what,
                      const char *content_type, struct weir_batch **body) {
    struct weir_error err;
    bool json = strcmp(content_type, json_type) == 0;
    weir_http_note(call)->json = true;
    if (!json && strcmp(content_type, protobuf_type) != 0) {
        refuse(call, 415, "Content-Type is neither application/x-protobuf nor application/json", 0);
        return false;
    }
    weir_http_note(call)->json = json;
    if (!json) return true;
    struct weir_batch *wire = weir_batch_new(receiver->sink.budget, (*body)->size / 2);
    enum weir_status status = wire != NULL ? weir_otlp_json(what, (*body)->bytes, (*body)->size, wire, &err)
                                           : weir_fail(&err, WEIR_FULL, 0, true, "memory.intake is used up");
    if (status != WEIR_OK) {
        weir_batch_unref(wire);
        refuse_error(call, &err);
        return false;
    }
    weir_batch_unref(*body);
    *body = wire;
    return true;
}

static void spans_owned(void *self, struct weir_http_call *call) {
    (void)self;
    accept(call, WEIR_OTLP_TRACES);
}

/* Only once the request is taken: one that is refused comes again. */
static void count_skipped(struct otlp_http *receiver, uint32_t skipped) {
    if (skipped > 0)
        receiver->sink.spans_refused(receiver->sink.self, WEIR_RECEIVER_OTLP_HTTP, WEIR_REFUSED_INVALID, skipped);
}

static bool says_counted(struct weir_http_call *call) {
    const char *value = weir_http_header(call, WEIR_COUNTED_HEADER);
    return weir_counted_says(value, value != NULL ? strlen(value) : 0);
}

static void export_traces(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    struct otlp_http *receiver = self;
    struct weir_otlp_counts counts;
    struct weir_error err;
    if (!read_body(receiver, call, WEIR_OTLP_JSON_TRACES, content_type, body)) return;
    struct weir_batch *batch = *body;
    if (weir_otlp_decode(receiver->traces, batch, &counts, &err) != WEIR_OK) {
        refuse_error(call, &err);
        return;
    }
    struct weir_http_note *note = weir_http_note(call);
    note->rejected = counts.skipped;
    snprintf(note->reason, sizeof note->reason, "%s", counts.skipped_reason);
    if (batch->span_count == 0) {
        count_skipped(receiver, counts.skipped);
        accept(call, WEIR_OTLP_TRACES);
        return;
    }
    for (uint32_t i = 0; i < batch->span_count; i++)
        batch->spans[i].receiver = WEIR_RECEIVER_OTLP_HTTP;
    uint32_t counted = !receiver->count_marked && says_counted(call) ? batch->span_count : 0;
    if (counted > 0) weir_counted_mark(batch);
    batch->receipt = weir_http_receipt(call, spans_owned);
    if (receiver->sink.spans(receiver->sink.self, WEIR_RECEIVER_OTLP_HTTP, body) == WEIR_OK) {
        weir_counted_took(receiver->counted, counted);
        count_skipped(receiver, counts.skipped);
        return;
    }
    batch->receipt = NULL;
    weir_http_receipt_drop(call);
    if (receiver->stopping) {
        refuse(call, 503, "Weir is stopping", RETRY_S);
    } else {
        refuse(call, 429, "no room between the lanes", RETRY_S);
    }
}

static bool take_point(void *self, const struct weir_point *point) {
    struct otlp_http *receiver = self;
    return receiver->sink.point(receiver->sink.self, WEIR_RECEIVER_OTLP_HTTP, point);
}

static void export_metrics(void *self, struct weir_http_call *call, const char *content_type,
                           struct weir_batch **body) {
    struct otlp_http *receiver = self;
    const struct weir_otlp_metrics_calls calls = {.self = receiver, .point = take_point};
    struct weir_otlp_metrics_counts counts = {0};
    struct weir_error err;
    if (!read_body(receiver, call, WEIR_OTLP_JSON_METRICS, content_type, body)) return;
    if (weir_otlp_metrics_decode(receiver->metrics, (*body)->bytes, (*body)->size, &calls, &counts, &err) != WEIR_OK) {
        refuse_error(call, &err);
        return;
    }
    if (counts.malformed > 0)
        receiver->sink.points_rejected(receiver->sink.self, WEIR_RECEIVER_OTLP_HTTP, WEIR_POINT_MALFORMED,
                                       counts.malformed);
    struct weir_http_note *note = weir_http_note(call);
    note->rejected = counts.rejected;
    snprintf(note->reason, sizeof note->reason, "%s", counts.reason);
    accept(call, WEIR_OTLP_METRICS);
}

static const struct weir_http_route routes[] = {
    {"POST", "/v1/traces", export_traces},
    {"POST", "/v1/metrics", export_metrics},
    {.path = NULL},
};

/* ---- the receiver ---- */

static void close_all(void *self) {
    struct otlp_http *receiver = self;
    if (receiver == NULL) return;
    weir_http_close(receiver->http);
    weir_otlp_free(receiver->traces);
    weir_otlp_metrics_free(receiver->metrics);
    weir_metrics_close(receiver->registry, receiver->counted);
    free(receiver);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct otlp_http *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_fail(err, WEIR_FULL, 0, false, "otlp_http: out of memory");
    receiver->sink = env->sink;
    receiver->registry = env->metrics;
    receiver->counted = weir_counted_open(env->metrics, "otlp_http");
    receiver->count_marked = config->otlp_http.count_marked;
    receiver->traces = weir_otlp_new(env->names);
    receiver->metrics = weir_otlp_metrics_new(env->names, config->aggregate.label_value_bytes_max);
    const struct weir_http_options options = {.name = "otlp_http",
                                              .routes = routes,
                                              .self = receiver,
                                              .budget = env->sink.budget,
                                              .config = &config->otlp_http,
                                              .refused = refused};
    enum weir_status status = WEIR_OK;
    if (receiver->traces == NULL || receiver->metrics == NULL || receiver->counted == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "otlp_http: out of memory");
    if (status == WEIR_OK) {
        weir_otlp_set_rules(receiver->traces, config->rules);
        status = weir_http_open(&receiver->http, env->loop, env->metrics, &options, err);
    }
    if (status != WEIR_OK) {
        close_all(receiver);
        return status;
    }
    *self = receiver;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    return weir_http_start(((struct otlp_http *)self)->http, err);
}

static void reload(void *self, const struct weir_config *config) {
    struct otlp_http *receiver = self;
    receiver->count_marked = config->otlp_http.count_marked;
    weir_otlp_set_rules(receiver->traces, config->rules);
    weir_http_reload(receiver->http, &config->otlp_http);
}

static void stop(void *self) {
    struct otlp_http *receiver = self;
    receiver->stopping = true;
    weir_http_stop(receiver->http);
}

static bool idle(void *self) {
    return weir_http_idle(((struct otlp_http *)self)->http);
}

const struct weir_receiver weir_receive_otlp_http = {
    .name = "otlp_http",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
