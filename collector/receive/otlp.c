/* otlp.c - the gRPC receiver: OTLP's TraceService and MetricsService, health, and what clients are told to sample, on
 * one port.
 * Source: opentelemetry-proto docs/specification.md, "OTLP/gRPC": partial success, RetryInfo, INVALID_ARGUMENT. */
#include "collector/decode/otlp.h"
#include "collector/core/log.h"
#include "collector/decode/otlp_metrics.h"
#include "collector/receive/counted.h"
#include "collector/receive/grpc.h"
#include "collector/receive/health.h"
#include "collector/receive/listener.h"
#include "collector/receive/otlp_answer.h"
#include "collector/receive/receiver.h"
#include "collector/receive/reflection.h"
#include "collector/receive/rtds.h"
#include "collector/receive/sampling.h"
#include "collector/receive/tls.h"
#include "collector/receive/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 1000 };

struct otlp_receiver {
    struct weir_sink sink;
    struct weir_loop *loop;
    struct weir_metrics *registry;
    struct weir_listener *listener;
    struct weir_tls *tls;       /* NULL: plain */
    struct weir_tokens *tokens; /* NULL: anybody may call */
    struct weir_grpc *grpc;
    struct weir_health *health;
    struct weir_rtds *rtds;
    struct weir_otlp *traces;
    struct weir_otlp_metrics *metrics;
    struct weir_metric_set *counted; /* upstream */
    struct weir_steering *steering;
    struct weir_names *names;
    struct weir_metric_set *fetches; /* of what is told */
    bool count_marked;
    bool stopping;
};

static const char *const services[] = {"opentelemetry.proto.collector.trace.v1.TraceService",
                                       "opentelemetry.proto.collector.metrics.v1.MetricsService",
                                       "jaeger.api_v2.SamplingManager",
                                       "envoy.service.runtime.v3.RuntimeDiscoveryService",
                                       "envoy.service.discovery.v3.AggregatedDiscoveryService",
                                       "grpc.health.v1.Health",
                                       "grpc.reflection.v1.ServerReflection",
                                       "grpc.reflection.v1alpha.ServerReflection",
                                       NULL};

static void answer(struct weir_grpc_call *call) {
    const struct weir_grpc_note *note = weir_grpc_note(call);
    uint8_t response[WEIR_OTLP_ANSWER_BYTES];
    weir_grpc_answer(call, response, weir_otlp_answer_partial(note->rejected, note->reason, response));
}

static void refuse(struct weir_grpc_call *call, const struct weir_error *err) {
    if (err->status == WEIR_FULL) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, err->text, RETRY_MS);
    } else {
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, err->text, 0);
    }
}

static void spans_owned(void *self, struct weir_grpc_call *call) {
    (void)self;
    answer(call);
}

/* Only once the request is taken: one that is refused comes again. */
static void count_skipped(struct otlp_receiver *receiver, uint32_t skipped) {
    if (skipped > 0)
        receiver->sink.spans_refused(receiver->sink.self, WEIR_RECEIVER_GRPC, WEIR_REFUSED_INVALID, skipped);
}

static void export_traces(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    struct otlp_receiver *receiver = self;
    struct weir_batch *batch = *message;
    struct weir_otlp_counts counts;
    struct weir_error err;
    if (weir_otlp_decode(receiver->traces, batch, &counts, &err) != WEIR_OK) {
        refuse(call, &err);
        return;
    }
    struct weir_grpc_note *note = weir_grpc_note(call);
    note->rejected = counts.skipped;
    snprintf(note->reason, sizeof note->reason, "%s", counts.skipped_reason);
    if (batch->span_count == 0) {
        count_skipped(receiver, counts.skipped);
        answer(call);
        return;
    }
    for (uint32_t i = 0; i < batch->span_count; i++)
        batch->spans[i].receiver = WEIR_RECEIVER_GRPC;
    uint32_t counted = note->counted && !receiver->count_marked ? batch->span_count : 0;
    if (counted > 0) weir_counted_mark(batch);
    batch->receipt = weir_grpc_receipt(call, spans_owned);
    if (receiver->sink.spans(receiver->sink.self, WEIR_RECEIVER_GRPC, message) == WEIR_OK) {
        weir_counted_took(receiver->counted, counted);
        count_skipped(receiver, counts.skipped);
        return;
    }
    batch->receipt = NULL;
    weir_grpc_receipt_drop(call);
    if (receiver->stopping) {
        weir_grpc_refuse(call, WEIR_GRPC_UNAVAILABLE, "Weir is stopping", RETRY_MS);
    } else {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no room between the lanes", RETRY_MS);
    }
}

static bool take_point(void *self, const struct weir_point *point) {
    struct otlp_receiver *receiver = self;
    return receiver->sink.point(receiver->sink.self, WEIR_RECEIVER_GRPC, point);
}

static void export_metrics(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    struct otlp_receiver *receiver = self;
    const struct weir_otlp_metrics_calls calls = {.self = receiver, .point = take_point};
    struct weir_otlp_metrics_counts counts = {0};
    struct weir_error err;
    if (weir_otlp_metrics_decode(receiver->metrics, (*message)->bytes, (*message)->size, &calls, &counts, &err) !=
        WEIR_OK) {
        refuse(call, &err);
        return;
    }
    if (counts.malformed > 0)
        receiver->sink.points_rejected(receiver->sink.self, WEIR_RECEIVER_GRPC, WEIR_POINT_MALFORMED, counts.malformed);
    struct weir_grpc_note *note = weir_grpc_note(call);
    note->rejected = counts.rejected;
    snprintf(note->reason, sizeof note->reason, "%s", counts.reason);
    answer(call);
}

static void tell_sampling(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    struct otlp_receiver *receiver = self;
    weir_sampling_called(receiver->steering, receiver->names, receiver->fetches, call, *message);
}

static void check_health(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    weir_health_check(((struct otlp_receiver *)self)->health, call, *message);
}

static void watch_health(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    weir_health_watch(((struct otlp_receiver *)self)->health, call, *message);
}

static void watcher_gone(void *self, struct weir_grpc_call *call) {
    weir_health_gone(((struct otlp_receiver *)self)->health, call);
}

static void reflect(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    (void)self;
    weir_reflection_asked(services, call, *message);
}

static void reflected(void *self, struct weir_grpc_call *call) {
    (void)self;
    weir_grpc_end(call);
}

/* ---- Envoys that ask for their runtime ---- */

static void ask_runtime(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    weir_rtds_asked(((struct otlp_receiver *)self)->rtds, call, *message, false);
}

static void ask_aggregated(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    weir_rtds_asked(((struct otlp_receiver *)self)->rtds, call, *message, true);
}

static void asked_all(void *self, struct weir_grpc_call *call) {
    weir_rtds_half_closed(((struct otlp_receiver *)self)->rtds, call);
}

static void proxy_reads(void *self, struct weir_grpc_call *call) {
    weir_rtds_room(((struct otlp_receiver *)self)->rtds, call);
}

static void proxy_gone(void *self, struct weir_grpc_call *call) {
    weir_rtds_gone(((struct otlp_receiver *)self)->rtds, call);
}

static const struct weir_grpc_method methods[] = {
    {.path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export", .called = export_traces},
    {.path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", .called = export_metrics},
    {.path = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy", .called = tell_sampling},
    {.path = "/grpc.health.v1.Health/Check", .called = check_health},
    {.path = "/grpc.health.v1.Health/Watch", .called = watch_health, .gone = watcher_gone},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .called = reflect, .half_closed = reflected},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .called = reflect,
     .half_closed = reflected},
    {.path = "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
     .called = ask_runtime,
     .half_closed = asked_all,
     .room = proxy_reads,
     .gone = proxy_gone},
    {.path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
     .called = ask_aggregated,
     .half_closed = asked_all,
     .room = proxy_reads,
     .gone = proxy_gone},
    {.path = NULL},
};

/* ---- who calls, and may it ---- */

static bool is_name(const uint8_t *name, size_t size, const char *want) { /* HTTP/2 has lower case only */
    return size == strlen(want) && memcmp(name, want, size) == 0;
}

static void header_came(void *self, struct weir_grpc_call *call, const uint8_t *name, size_t name_size,
                        const uint8_t *value, size_t value_size) {
    struct weir_grpc_note *note = weir_grpc_note(call);
    if (is_name(name, name_size, "authorization")) {
        note->allowed = weir_tokens_allow(((struct otlp_receiver *)self)->tokens, (const char *)value, value_size);
    } else if (is_name(name, name_size, WEIR_COUNTED_HEADER)) {
        note->counted = weir_counted_says((const char *)value, value_size);
    }
}

/* Health is anybody's: what orchestrators probe with sends no token. */
static void begun(void *self, struct weir_grpc_call *call) {
    static const char health[] = "/grpc.health.";
    bool asked =
        ((struct otlp_receiver *)self)->tokens != NULL && strncmp(weir_grpc_path(call), health, sizeof health - 1) != 0;
    if (asked && !weir_grpc_note(call)->allowed)
        weir_grpc_refuse(call, WEIR_GRPC_UNAUTHENTICATED, "a bearer token is asked for", 0);
}

/* ---- the receiver ---- */

static void accepted(void *self, int fd) {
    struct otlp_receiver *receiver = self;
    struct weir_stream *stream = weir_tls_stream(receiver->tls, fd);
    if (stream != NULL) weir_grpc_accept(receiver->grpc, stream);
}

static struct weir_http2_limits limits_of(const struct weir_config *config) {
    return (struct weir_http2_limits){.max_connections = config->grpc.max_connections,
                                      .max_concurrent_streams = config->grpc.max_concurrent_streams,
                                      .keepalive_min_ns = config->grpc.keepalive_min_ns};
}

static void close_all(void *self) {
    struct otlp_receiver *receiver = self;
    if (receiver == NULL) return;
    weir_listener_close(receiver->listener);
    weir_grpc_free(receiver->grpc);
    weir_rtds_free(receiver->rtds);
    weir_tls_close(receiver->tls);
    weir_tokens_close(receiver->tokens);
    weir_health_free(receiver->health);
    weir_otlp_free(receiver->traces);
    weir_otlp_metrics_free(receiver->metrics);
    weir_metrics_close(receiver->registry, receiver->counted);
    weir_metrics_close(receiver->registry, receiver->fetches);
    free(receiver);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct otlp_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_fail(err, WEIR_FULL, 0, false, "grpc: out of memory");
    receiver->sink = env->sink;
    receiver->loop = env->loop;
    receiver->registry = env->metrics;
    receiver->counted = weir_counted_open(env->metrics, "grpc");
    receiver->steering = env->steering;
    receiver->names = env->names;
    receiver->fetches = weir_sampling_counts_open(env->metrics, "grpc");
    receiver->count_marked = config->grpc.count_marked;
    receiver->health = weir_health_new(services);
    receiver->rtds = weir_rtds_new(env);
    receiver->traces = weir_otlp_new(env->names);
    if (receiver->traces != NULL) weir_otlp_set_rules(receiver->traces, config->rules);
    receiver->metrics = weir_otlp_metrics_new(env->names, config->aggregate.label_value_bytes_max);
    const struct weir_grpc_options options = {.methods = methods,
                                              .self = receiver,
                                              .budget = env->sink.budget,
                                              .header = header_came,
                                              .begun = begun,
                                              .max_message_bytes = config->grpc.max_message_bytes};
    struct weir_http2_limits limits = limits_of(config);
    enum weir_status status = WEIR_OK;
    if (receiver->health == NULL || receiver->rtds == NULL || receiver->traces == NULL || receiver->metrics == NULL ||
        receiver->counted == NULL || receiver->fetches == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "grpc: out of memory");
    if (status == WEIR_OK) status = weir_tls_open(&receiver->tls, "grpc", &config->grpc.tls, "h2", env->metrics, err);
    if (status == WEIR_OK) status = weir_tokens_open(&receiver->tokens, "grpc", config->grpc.bearer_token_file, err);
    if (status == WEIR_OK) status = weir_grpc_new(&receiver->grpc, env->loop, env->metrics, &options, &limits, err);
    if (status == WEIR_OK)
        status =
            weir_listener_open(&receiver->listener, "grpc", &config->grpc.listen, env->loop, accepted, receiver, err);
    if (status != WEIR_OK) {
        close_all(receiver);
        return status;
    }
    *self = receiver;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    struct otlp_receiver *receiver = self;
    weir_tls_watch(receiver->tls, receiver->loop);
    weir_rtds_start(receiver->rtds);
    return weir_listener_start(receiver->listener, err);
}

static void reload(void *self, const struct weir_config *config) {
    struct otlp_receiver *receiver = self;
    struct weir_http2_limits limits = limits_of(config);
    receiver->count_marked = config->grpc.count_marked;
    weir_otlp_set_rules(receiver->traces, config->rules);
    weir_grpc_set_limits(receiver->grpc, config->grpc.max_message_bytes, &limits);
    weir_tls_refresh(receiver->tls);
    weir_tokens_refresh(receiver->tokens);
}

static void stop(void *self) {
    struct otlp_receiver *receiver = self;
    receiver->stopping = true;
    weir_listener_stop(receiver->listener);
    weir_health_stop(receiver->health);
    weir_grpc_drain(receiver->grpc);
}

static bool idle(void *self) {
    return weir_grpc_idle(((struct otlp_receiver *)self)->grpc);
}

const struct weir_receiver weir_receive_grpc = {
    .name = "grpc",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
