/* sampling_http.c - the receiver `sampling`: Jaeger's remote sampling over HTTP, as agents and collectors of Jaeger
 * answer it on port 5778. It takes nothing in, so it has no row in the ledger. */
#include "collector/receive/http.h"
#include "collector/receive/receiver.h"
#include "collector/receive/sampling.h"

#include <stdlib.h>

/* A question has no body; one that comes all the same is read past up to here. */
enum { BODY_BYTES_MAX = 4096 };

struct sampling_receiver {
    struct weir_steering *steering;
    struct weir_names *names;
    struct weir_metrics *registry;
    struct weir_metric_set *counts;
    struct weir_http *http;
};

static void answer(struct sampling_receiver *receiver, struct weir_http_call *call, bool follows) {
    struct weir_sampling_question question = {.if_none_match = weir_http_header(call, "If-None-Match")};
    char address[WEIR_ADDRESS_BYTES], etag[WEIR_SAMPLING_ETAG_BYTES];
    struct weir_buffer out = {0};
    weir_http_peer(call, address);
    question.address = address;
    question.service = weir_http_argument(call, "service", &question.services);
    unsigned status = weir_sampling_answer(receiver->steering, receiver->names, &question, follows, &out, etag);
    if (out.failed) {
        static const char text[] = "out of memory\n";
        weir_http_answer(call, 500, "text/plain; charset=utf-8", text, sizeof text - 1, 0);
    } else {
        const char *type = status == 200 ? "application/json" : status == 304 ? "" : "text/plain; charset=utf-8";
        weir_sampling_count(receiver->counts, status);
        weir_http_answer(call, status, type, out.bytes, out.size, 0);
        if (etag[0] != 0) weir_http_answer_header(call, "ETag", etag);
    }
    weir_buffer_free(&out);
}

static void asked(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    (void)content_type, (void)body;
    answer(self, call, true);
}

/* Whoever only sees the head of an answer does not know what to follow. */
static void looked(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    (void)content_type, (void)body;
    answer(self, call, false);
}

static const struct weir_http_route routes[] = {
    {"GET", "/", asked},           {"HEAD", "/", looked}, {"GET", "/sampling", asked},
    {"HEAD", "/sampling", looked}, {.path = NULL},
};

static struct weir_http_config bounded(const struct weir_config *config) {
    struct weir_http_config http = config->sampling_http;
    http.max_body_bytes = BODY_BYTES_MAX;
    return http;
}

/* ---- the receiver ---- */

static void close_all(void *self) {
    struct sampling_receiver *receiver = self;
    if (receiver == NULL) return;
    weir_http_close(receiver->http);
    weir_metrics_close(receiver->registry, receiver->counts);
    free(receiver);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct sampling_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_fail(err, WEIR_FULL, 0, false, "sampling: out of memory");
    *receiver = (struct sampling_receiver){.steering = env->steering,
                                           .names = env->names,
                                           .registry = env->metrics,
                                           .counts = weir_sampling_counts_open(env->metrics, "http")};
    const struct weir_http_config http = bounded(config);
    const struct weir_http_options options = {
        .name = "sampling", .routes = routes, .self = receiver, .budget = env->sink.budget, .config = &http};
    enum weir_status status = WEIR_OK;
    if (receiver->counts == NULL) status = weir_fail(err, WEIR_FULL, 0, false, "sampling: out of memory");
    if (status == WEIR_OK) status = weir_http_open(&receiver->http, env->loop, env->metrics, &options, err);
    if (status != WEIR_OK) {
        close_all(receiver);
        return status;
    }
    *self = receiver;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    return weir_http_start(((struct sampling_receiver *)self)->http, err);
}

static void reload(void *self, const struct weir_config *config) {
    const struct weir_http_config http = bounded(config);
    weir_http_reload(((struct sampling_receiver *)self)->http, &http);
}

static void stop(void *self) {
    weir_http_stop(((struct sampling_receiver *)self)->http);
}

static bool idle(void *self) {
    return weir_http_idle(((struct sampling_receiver *)self)->http);
}

const struct weir_receiver weir_receive_sampling = {
    .name = "sampling",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
