/* zipkin.c - Zipkin over HTTP, as every Zipkin client posts: v2 in JSON and proto3, v1 in JSON and thrift.
 * Source: zipkin-api zipkin2-api.yaml and zipkin-api.yaml, POST /spans: 202 when the spans are accepted. */
#include "collector/decode/zipkin.h"
#include "collector/receive/http.h"
#include "collector/receive/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_S = 1 };

struct zipkin_receiver {
    struct weir_sink sink;
    struct weir_http *http;
    struct weir_otlp *otlp;
    struct weir_zipkin_decoder *decoder;
    bool stopping;
};

static void say(struct weir_http_call *call, unsigned status, const char *text, unsigned retry_s) {
    weir_http_answer(call, status, *text != 0 ? "text/plain; charset=utf-8" : "", text, strlen(text), retry_s);
}

/* Zipkin has no partial success: bad spans of a sound list are told of in the body, which its clients log at most. */
static void accept(void *self, struct weir_http_call *call) {
    const struct weir_http_note *note = weir_http_note(call);
    char text[sizeof note->reason + 64] = "";
    (void)self;
    if (note->rejected > 0)
        snprintf(text, sizeof text, "%llu spans were refused; the first: %s\n", (unsigned long long)note->rejected,
                 note->reason);
    say(call, 202, text, 0);
}

static void refuse(struct weir_http_call *call, const struct weir_error *err) {
    char text[sizeof err->text + 1];
    snprintf(text, sizeof text, "%s\n", err->text);
    say(call, err->status == WEIR_FULL ? 429 : 400, text, err->status == WEIR_FULL ? RETRY_S : 0);
}

/* Only once the request is taken: one that is refused comes again. */
static void count_skipped(struct zipkin_receiver *receiver, uint32_t skipped) {
    if (skipped > 0)
        receiver->sink.spans_refused(receiver->sink.self, WEIR_RECEIVER_ZIPKIN, WEIR_REFUSED_INVALID, skipped);
}

static void take(struct zipkin_receiver *receiver, struct weir_http_call *call, struct weir_batch **spans,
                 uint32_t skipped) {
    struct weir_batch *batch = *spans;
    batch->receipt = weir_http_receipt(call, accept);
    if (receiver->sink.spans(receiver->sink.self, WEIR_RECEIVER_ZIPKIN, spans) == WEIR_OK) {
        count_skipped(receiver, skipped);
        return;
    }
    batch->receipt = NULL;
    weir_http_receipt_drop(call);
    if (receiver->stopping) {
        say(call, 503, "Weir is stopping\n", RETRY_S);
    } else {
        say(call, 429, "no room between the lanes\n", RETRY_S);
    }
}

static void post_spans(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    struct zipkin_receiver *receiver = self;
    struct weir_otlp_counts counts;
    struct weir_error err = {0};
    if ((*body)->size == 0) {
        bool list = strcmp(content_type, "application/x-protobuf") == 0; /* an empty one has no bytes */
        say(call, list ? 202 : 400, list ? "" : "the body is empty\n", 0);
        return;
    }
    /* The format is told by the bytes: a Content-Type is often what a client's library makes of it. */
    struct weir_batch *spans = weir_batch_new(receiver->sink.budget, (*body)->size);
    if (spans == NULL) {
        say(call, 429, "memory.intake is used up\n", RETRY_S);
        return;
    }
    enum weir_status status =
        weir_zipkin_decode(receiver->decoder, weir_zipkin_format_of((*body)->bytes, (*body)->size), (*body)->bytes,
                           (*body)->size, WEIR_RECEIVER_ZIPKIN, spans, &counts, &err);
    weir_batch_unref(*body);
    *body = NULL;
    struct weir_http_note *note = weir_http_note(call);
    note->rejected = counts.skipped;
    snprintf(note->reason, sizeof note->reason, "%s", counts.skipped_reason);
    if (status != WEIR_OK) {
        refuse(call, &err);
    } else if (spans->span_count > 0) {
        take(receiver, call, &spans, counts.skipped);
    } else if (counts.skipped > 0) {
        count_skipped(receiver, counts.skipped);
        weir_fail(&err, WEIR_INVALID, 0, false, "%s", counts.skipped_reason);
        refuse(call, &err);
    } else {
        say(call, 202, "", 0);
    }
    weir_batch_unref(spans);
}

static const struct weir_http_route routes[] = {
    {"POST", "/api/v2/spans", post_spans},
    {"POST", "/api/v1/spans", post_spans},
    {.path = NULL},
};

/* ---- the receiver ---- */

static void close_all(void *self) {
    struct zipkin_receiver *receiver = self;
    if (receiver == NULL) return;
    weir_http_close(receiver->http);
    weir_zipkin_decoder_free(receiver->decoder);
    weir_otlp_free(receiver->otlp);
    free(receiver);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct zipkin_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_fail(err, WEIR_FULL, 0, false, "zipkin: out of memory");
    receiver->sink = env->sink;
    receiver->otlp = weir_otlp_new(env->names);
    if (receiver->otlp != NULL) receiver->decoder = weir_zipkin_decoder_new(receiver->otlp);
    const struct weir_http_options options = {
        .name = "zipkin", .routes = routes, .self = receiver, .budget = env->sink.budget, .config = &config->zipkin};
    enum weir_status status = WEIR_OK;
    if (receiver->decoder == NULL) status = weir_fail(err, WEIR_FULL, 0, false, "zipkin: out of memory");
    if (status == WEIR_OK) {
        weir_otlp_set_rules(receiver->otlp, config->rules);
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
    return weir_http_start(((struct zipkin_receiver *)self)->http, err);
}

static void reload(void *self, const struct weir_config *config) {
    struct zipkin_receiver *receiver = self;
    weir_otlp_set_rules(receiver->otlp, config->rules);
    weir_http_reload(receiver->http, &config->zipkin);
}

static void stop(void *self) {
    struct zipkin_receiver *receiver = self;
    receiver->stopping = true;
    weir_http_stop(receiver->http);
}

static bool idle(void *self) {
    return weir_http_idle(((struct zipkin_receiver *)self)->http);
}

const struct weir_receiver weir_receive_zipkin = {
    .name = "zipkin",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
