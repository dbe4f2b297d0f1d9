#include "collector/receive/rtds.h"
#include "collector/core/log.h"
#include "collector/dialects/envoy.h"
#include "collector/dialects/xds.h"
#include "collector/sample/steering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAMS_MAX = 4096,     /* of a lane; 3.6 KB each, with all that a call costs */
    REASON_BYTES_MAX = 200, /* of a refusal's, that are passed on */
    RETRY_MS = 5000,
};

enum {
    STREAMS,
    PUSHES,
    ACKS,
    NACKS,
    IGNORED_TYPE,
    IGNORED_NONCE,
    REFUSED_MALFORMED,
    REFUSED_BOUNDS,
    REFUSED_NODE,
    REFUSED_STREAMS,
    REFUSED_MEMORY,
    METRICS
};
#define IGNORED "Requests of RTDS that are not acted upon: of another type, or about a response that is not the last."
#define REFUSED "Streams of RTDS that were ended: by what they sent, or for want of room."
static const struct weir_metric metrics[METRICS] = {
    [STREAMS] = {"rtds_streams", NULL, WEIR_GAUGE, "Streams by which proxies ask for their runtime (RTDS, ADS)."},
    [PUSHES] = {"rtds_pushes_total", NULL, WEIR_COUNTER, "Responses of RTDS: what a proxy is to do was told to it."},
    [ACKS] = {"rtds_acks_total", NULL, WEIR_COUNTER, "Responses of RTDS that were taken."},
    [NACKS] = {"rtds_nacks_total", NULL, WEIR_COUNTER, "Responses of RTDS that were refused by the proxy."},
    [IGNORED_TYPE] = {"rtds_ignored_total", "reason=\"type\"", WEIR_COUNTER, IGNORED},
    [IGNORED_NONCE] = {"rtds_ignored_total", "reason=\"nonce\"", WEIR_COUNTER, IGNORED},
    [REFUSED_MALFORMED] = {"rtds_refused_total", "reason=\"malformed\"", WEIR_COUNTER, REFUSED},
    [REFUSED_BOUNDS] = {"rtds_refused_total", "reason=\"bounds\"", WEIR_COUNTER, REFUSED},
    [REFUSED_NODE] = {"rtds_refused_total", "reason=\"node\"", WEIR_COUNTER, REFUSED},
    [REFUSED_STREAMS] = {"rtds_refused_total", "reason=\"streams\"", WEIR_COUNTER, REFUSED},
    [REFUSED_MEMORY] = {"rtds_refused_total", "reason=\"memory\"", WEIR_COUNTER, REFUSED},
};

struct stream { /* kept with its call */
    struct stream *next, **at;
    struct weir_grpc_call *call;
    uint32_t service;
    /* What the proxy has, or was sent last. */
    bool known;
    struct weir_envoy_told told;
    uint64_t version; /* of the plan's service, then */
    uint64_t nonce;   /* of the last response; 0: there was none */
    bool asked;       /* that one is not answered yet */
    bool refused;     /* it was not taken */
    bool came;        /* the board knows of it */
    bool due;         /* what was to be told found the response before not yet on its way */
    /* What it asked for: sizes in one byte less one, and texts. */
    uint32_t name_count;
    uint8_t *names;
    char *cluster; /* behind the node's id */
    char node[];   /* NUL-terminated, as is the cluster */
};

struct weir_rtds {
    struct weir_steering_ear ear; /* first */
    struct weir_steering *steering;
    struct weir_loop *loop;
    struct weir_names *names;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
    struct stream *streams;
    uint32_t stream_count;
    bool listens;
    bool freed; /* by its owner; a letter that is under way takes it along */
};

enum occasion { SUBSCRIBED, SUBSCRIBED_TO_MORE, PLAN_CHANGED };

/* ---- streams ---- */

static void stream_release(void *state) {
    struct stream *stream = state;
    free(stream->names);
    free(stream);
}

static struct weir_follower follower_of(const struct stream *stream) {
    return (struct weir_follower){.way = WEIR_FOLLOW_RTDS, .id = stream->node, .service = stream->service};
}

/* Off the list: its call is over, or as good as. */
static void leave(struct weir_rtds *rtds, struct stream *stream) {
    if (stream->at == NULL) return;
    *stream->at = stream->next;
    if (stream->next != NULL) stream->next->at = stream->at;
    stream->at = NULL;
    weir_gauge(rtds->set, STREAMS, --rtds->stream_count);
    if (!stream->came) return;
    struct weir_follower follower = follower_of(stream);
    weir_steering_gone(rtds->steering, &follower);
}

static void refuse(struct weir_rtds *rtds, struct weir_grpc_call *call, unsigned row, enum weir_grpc_code code,
                   const char *text) {
    struct stream *stream = weir_grpc_kept(call);
    if (stream != NULL) leave(rtds, stream);
    weir_count(rtds->set, row, 1);
    weir_grpc_refuse(call, code, text, code == WEIR_GRPC_RESOURCE_EXHAUSTED ? RETRY_MS : 0);
}

static struct stream *stream_new(const struct weir_xds_request *request) {
    struct stream *stream = calloc(1, sizeof *stream + request->node.size + 1 + request->cluster.size + 1);
    if (stream == NULL) return NULL;
    stream->cluster = stream->node + request->node.size + 1;
    memcpy(stream->node, request->node.bytes, request->node.size);
    if (request->cluster.size > 0) memcpy(stream->cluster, request->cluster.bytes, request->cluster.size);
    return stream;
}

/* By the first request; later ones need not say again whose they are. */
static struct stream *join(struct weir_rtds *rtds, struct weir_grpc_call *call,
                           const struct weir_xds_request *request) {
    if (request->node.size == 0) {
        refuse(rtds, call, REFUSED_NODE, WEIR_GRPC_INVALID_ARGUMENT, "the first request has no node.id");
        return NULL;
    }
    if (rtds->stream_count == STREAMS_MAX) {
        refuse(rtds, call, REFUSED_STREAMS, WEIR_GRPC_RESOURCE_EXHAUSTED, "too many streams already");
        return NULL;
    }
    struct stream *stream = stream_new(request);
    if (stream == NULL) {
        refuse(rtds, call, REFUSED_MEMORY, WEIR_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    /* Its spans come under this name sooner or later; who it is has to be known before. */
    weir_names_admit(rtds->names, stream->cluster, strlen(stream->cluster));
    stream->call = call;
    stream->next = rtds->streams;
    stream->at = &rtds->streams;
    if (stream->next != NULL) stream->next->at = &stream->next;
    rtds->streams = stream;
    weir_gauge(rtds->set, STREAMS, ++rtds->stream_count);
    weir_grpc_keep(call, stream, stream_release);
    return stream;
}

/* ---- what a proxy asks for ---- */

static bool has_name(const struct stream *stream, struct weir_xds_text name) {
    const uint8_t *at = stream->names;
    for (uint32_t i = 0; i < stream->name_count; i++) {
        size_t size = (size_t)*at++ + 1;
        if (size == name.size && memcmp(at, name.bytes, size) == 0) return true;
        at += size;
    }
    return false;
}

/* Is anything asked for that was not before? False, too, when nothing is asked for any more. */
static bool asks_for_more(const struct stream *stream, const struct weir_xds_request *request) {
    for (uint32_t i = 0; i < request->name_count; i++)
        if (request->names[i].size > 0 && !has_name(stream, request->names[i])) return true;
    return false;
}

static bool set_names(struct stream *stream, const struct weir_xds_request *request) {
    size_t size = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->name_count; i++)
        size += 1 + request->names[i].size;
    uint8_t *names = malloc(size + 1), *at = names;
    if (names == NULL) return false;
    for (uint32_t i = 0; i < request->name_count; i++) {
        struct weir_xds_text name = request->names[i];
        if (name.size == 0) continue;
        *at++ = (uint8_t)(name.size - 1);
        memcpy(at, name.bytes, name.size);
        at += name.size;
        count++;
    }
    free(stream->names);
    stream->names = names;
    stream->name_count = count;
    return true;
}

/* ---- telling ---- */

static bool send_response(struct stream *stream, const struct weir_envoy_told *told) {
    struct weir_buffer out = {0}, runtime = {0};
    char version[WEIR_ENVOY_VERSION_BYTES], nonce[24];
    snprintf(nonce, sizeof nonce, "%llu", (unsigned long long)++stream->nonce);
    weir_envoy_version(told, version);
    weir_xds_put_response(
        &out, &(struct weir_xds_response){.version = version, .type = WEIR_ENVOY_RUNTIME_TYPE, .nonce = nonce});
    const uint8_t *at = stream->names;
    for (uint32_t i = 0; i < stream->name_count; i++) {
        size_t size = (size_t)*at++ + 1;
        weir_buffer_clear(&runtime);
        weir_envoy_put_runtime(&runtime, (const char *)at, size, told);
        weir_xds_put_resource(&out, WEIR_ENVOY_RUNTIME_TYPE, runtime.bytes, runtime.size);
        at += size;
    }
    bool sent = false;
    if (out.failed || runtime.failed) {
        weir_grpc_refuse(stream->call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no memory for the response", RETRY_MS);
    } else {
        sent = weir_grpc_send(stream->call, out.bytes, out.size);
    }
    weir_buffer_free(&out);
    weir_buffer_free(&runtime);
    return sent;
}

static void push(struct weir_rtds *rtds, struct stream *stream, const struct weir_envoy_told *told,
                 const struct weir_plan *plan) {
    if (weir_grpc_unsent(stream->call) > 0) { /* it does not read; when it does, it is told what holds by then */
        stream->due = true;
        return;
    }
    if (!send_response(stream, told)) {
        leave(rtds, stream);
        weir_count(rtds->set, REFUSED_MEMORY, 1);
        return;
    }
    weir_count(rtds->set, PUSHES, 1);
    stream->known = stream->asked = true;
    stream->refused = stream->due = false;
    stream->told = *told;
    if (plan == NULL) return;
    struct weir_follower follower = follower_of(stream);
    weir_steering_told(rtds->steering, &follower, plan);
}

/* Another version that means the same to an Envoy: an operation's rate, or a limit, which it cannot be told. */
static void restate(struct weir_rtds *rtds, struct stream *stream, uint64_t version, const struct weir_plan *plan) {
    struct weir_follower follower = follower_of(stream);
    if (stream->refused) return;
    stream->version = version;
    weir_steering_told(rtds->steering, &follower, plan);
    if (!stream->asked) weir_steering_answered(rtds->steering, &follower, stream->version, NULL);
}

static void tell_plan(struct weir_rtds *rtds, struct stream *stream, enum occasion occasion,
                      const struct weir_plan *plan) {
    stream->service = weir_steering_service_of(rtds->steering, stream->node, stream->cluster);
    const struct weir_plan_service *service = weir_plan_find(plan, stream->service);
    struct weir_envoy_told told = weir_envoy_told_of(service);
    struct weir_follower follower = follower_of(stream);
    bool same = stream->known && weir_envoy_told_same(&told, &stream->told);
    bool first = occasion == SUBSCRIBED, has_rate = stream->known && stream->told.anything;
    if (first && has_rate) {
        stream->version = same ? service->version : 0;
        weir_steering_has(rtds->steering, &follower, weir_envoy_rate(&stream->told), stream->version);
        if (same || weir_steering_settling(rtds->steering)) return;
    }
    if (same && occasion == PLAN_CHANGED) {
        if (stream->version != service->version) restate(rtds, stream, service->version, plan);
        return;
    }
    push(rtds, stream, &told, plan);
    stream->version = service->version;
}

static void tell_without_plan(struct weir_rtds *rtds, struct stream *stream, enum occasion occasion) {
    struct weir_envoy_told told = {0};
    if (stream->known) told = stream->told;
    if (occasion == SUBSCRIBED && told.anything && rtds->steering != NULL) {
        struct weir_follower follower = follower_of(stream);
        weir_steering_has(rtds->steering, &follower, weir_envoy_rate(&told), 0);
    }
    if (occasion == SUBSCRIBED_TO_MORE || (occasion == SUBSCRIBED && !stream->known)) push(rtds, stream, &told, NULL);
}

static void come(struct weir_rtds *rtds, struct stream *stream) {
    if (rtds->steering == NULL || stream->came) return;
    stream->service = weir_steering_service_of(rtds->steering, stream->node, stream->cluster);
    struct weir_follower follower = follower_of(stream);
    weir_steering_came(rtds->steering, &follower);
    stream->came = true;
    if (!stream->known || !stream->told.anything) weir_steering_has_nothing(rtds->steering, &follower);
}

static void tell(struct weir_rtds *rtds, struct stream *stream, enum occasion occasion) {
    if (stream->name_count == 0) return;
    const struct weir_plan *plan = NULL;
    if (occasion == SUBSCRIBED) come(rtds, stream);
    if (rtds->steering != NULL) plan = weir_steering_plan(rtds->steering, stream->node, strlen(stream->node), NULL);
    if (plan != NULL) {
        tell_plan(rtds, stream, occasion, plan);
    } else {
        tell_without_plan(rtds, stream, occasion);
    }
    weir_plan_unref(plan);
}

static void plan_changed(struct weir_mail *mail) {
    struct weir_rtds *rtds = (struct weir_rtds *)mail;
    weir_steering_heard(&rtds->ear);
    if (rtds->freed) {
        free(rtds);
        return;
    }
    for (struct stream *stream = rtds->streams, *next; stream != NULL; stream = next) {
        next = stream->next;
        tell(rtds, stream, PLAN_CHANGED);
    }
}

/* ---- answers of a proxy ---- */

static void log_refusal(const struct stream *stream, const char *reason) {
    static struct weir_log_limit limit;
    char version[WEIR_ENVOY_VERSION_BYTES];
    weir_envoy_version(&stream->told, version);
    weir_log_limited(&limit, WEIR_LOG_WARN, "rtds_refused node=\"%s\" cluster=\"%s\" version=\"%s\" reason=\"%s\"",
                     stream->node, stream->cluster, version, reason);
}

static void answered(struct weir_rtds *rtds, struct stream *stream, const struct weir_xds_request *request) {
    char reason[REASON_BYTES_MAX + 1];
    size_t size = request->reason.size;
    if (size > REASON_BYTES_MAX) {
        for (size = REASON_BYTES_MAX; size > 0 && ((uint8_t)request->reason.bytes[size] & 0xc0) == 0x80;)
            size--;
    }
    if (size > 0) memcpy(reason, request->reason.bytes, size);
    reason[size] = 0;
    stream->asked = false;
    stream->refused = request->refuses;
    weir_count(rtds->set, request->refuses ? NACKS : ACKS, 1);
    if (request->refuses) log_refusal(stream, reason);
    if (rtds->steering == NULL || !stream->told.anything) return;
    struct weir_follower follower = follower_of(stream);
    weir_steering_answered(rtds->steering, &follower, stream->version, request->refuses ? reason : NULL);
}

/* An initial request says what the proxy has of an earlier stream, perhaps of a Weir before this one. */
static void subscribe(struct weir_rtds *rtds, struct stream *stream, const struct weir_xds_request *request) {
    enum occasion occasion = stream->nonce == 0 && stream->name_count == 0 ? SUBSCRIBED : SUBSCRIBED_TO_MORE;
    bool more = asks_for_more(stream, request);
    if (!set_names(stream, request)) {
        refuse(rtds, stream->call, REFUSED_MEMORY, WEIR_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    if (occasion == SUBSCRIBED && request->version.size > 0)
        stream->known = weir_envoy_version_read(request->version.bytes, request->version.size, &stream->told);
    if (more) tell(rtds, stream, occasion);
}

static bool is_runtime(const struct weir_xds_request *request, bool aggregated) {
    return weir_xds_text_is(request->type, WEIR_ENVOY_RUNTIME_TYPE) || (!aggregated && request->type.size == 0);
}

static bool is_last_nonce(const struct stream *stream, const struct weir_xds_request *request) {
    char nonce[24];
    snprintf(nonce, sizeof nonce, "%llu", (unsigned long long)stream->nonce);
    return weir_xds_text_is(request->nonce, nonce);
}

void weir_rtds_asked(struct weir_rtds *rtds, struct weir_grpc_call *call, const struct weir_batch *message,
                     bool aggregated) {
    struct weir_xds_request request;
    struct weir_error err;
    enum weir_status status = weir_xds_read(message->bytes, message->size, &request, &err);
    if (status != WEIR_OK) {
        refuse(rtds, call, status == WEIR_FULL ? REFUSED_BOUNDS : REFUSED_MALFORMED, WEIR_GRPC_INVALID_ARGUMENT,
               err.text);
        return;
    }
    struct stream *stream = weir_grpc_kept(call);
    if (stream == NULL) stream = join(rtds, call, &request);
    if (stream == NULL) return;
    bool answers = request.nonce.size > 0 && stream->nonce > 0;
    if (!is_runtime(&request, aggregated)) {
        weir_count(rtds->set, IGNORED_TYPE, 1);
    } else if (answers && !is_last_nonce(stream, &request)) {
        weir_count(rtds->set, IGNORED_NONCE, 1); /* the answer to the last one follows */
    } else {
        if (answers && stream->asked) answered(rtds, stream, &request);
        subscribe(rtds, stream, &request);
    }
}

void weir_rtds_room(struct weir_rtds *rtds, struct weir_grpc_call *call) {
    struct stream *stream = weir_grpc_kept(call);
    if (stream == NULL || stream->at == NULL || !stream->due) return;
    stream->due = false;
    tell(rtds, stream, SUBSCRIBED_TO_MORE);
}

void weir_rtds_half_closed(struct weir_rtds *rtds, struct weir_grpc_call *call) {
    weir_rtds_gone(rtds, call);
    weir_grpc_end(call);
}

void weir_rtds_gone(struct weir_rtds *rtds, struct weir_grpc_call *call) {
    struct stream *stream = weir_grpc_kept(call);
    if (stream != NULL) leave(rtds, stream);
}

/* ---- life ---- */

struct weir_rtds *weir_rtds_new(const struct weir_receiver_env *env) {
    struct weir_rtds *rtds = calloc(1, sizeof *rtds);
    if (rtds == NULL) return NULL;
    rtds->ear.mail.deliver = plan_changed;
    rtds->ear.loop = rtds->loop = env->loop;
    rtds->steering = env->steering;
    rtds->names = env->names;
    rtds->registry = env->metrics;
    rtds->set = weir_metrics_open(env->metrics, metrics, METRICS, NULL);
    if (rtds->set != NULL) return rtds;
    free(rtds);
    return NULL;
}

void weir_rtds_start(struct weir_rtds *rtds) {
    if (rtds->steering == NULL) return;
    weir_steering_listen(rtds->steering, &rtds->ear);
    rtds->listens = true;
}

void weir_rtds_free(struct weir_rtds *rtds) {
    if (rtds == NULL) return;
    weir_metrics_close(rtds->registry, rtds->set);
    rtds->freed = true;
    if (!rtds->listens || weir_steering_unlisten(rtds->steering, &rtds->ear)) free(rtds);
}
