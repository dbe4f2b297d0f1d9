/* otlp.c - batches as OTLP export requests, to one endpoint or several.
 *
 *   batch ──route──> spans by endpoint ──cut──> requests, one under way an endpoint ──verdict──> spans settled, or
 * again: to another endpoint, smaller, compressed otherwise
 *
 * A ticket is settled when each of its spans is, or when no endpoint that is left may be asked for the rest: then the
 * queue sends the batch again, and what was settled, which the ticket's notes keep, is not. */
#include "exporters/exporter.h"
#include "exporters/otlp/peer.h"
#include "exporters/otlp/squeeze.h"
#include "exporters/splice.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    NOBODY = 0xff,          /* in routes: the span waits for another try of the batch */
    LIMIT_LEAST = 16 << 10, /* what is learned of an endpoint is no smaller */
    DRIVE_MS = 100,         /* at least so often, with something under way: for what is due by time */
    SPARE_BYTES = 4 << 20,  /* a spare request keeps no larger a body */
};
#define FORGET_AFTER                                                                                                   \
    (3600 * WEIR_S) /* what was learned of an endpoint is tried anew: it may be another program by now */

enum span_state { TODO, SETTLED, SENT }; /* a byte a span in the ticket's notes */

/* One batch under way. */
struct flight {
    struct flight *next;
    const struct weir_batch *batch;
    struct weir_ticket *ticket;
    uint8_t *states;
    uint32_t todo, under_way;     /* spans; requests */
    uint32_t busy, failed, waits; /* a bit an endpoint: has a request of ours; could not; said later */
    uint32_t span_cap;            /* spans of a request: an endpoint found one of ours too large */
    uint64_t retry_after_ns;
    char why[600];
};

struct otlp {
    CURLM *multi;
    struct weir_otlp_peer peers[WEIR_ENDPOINTS_MAX];
    uint64_t seeds[WEIR_ENDPOINTS_MAX];
    uint32_t peer_count;
    struct flight *flights;
    struct weir_otlp_request *done, *spare;
    struct weir_otlp_squeeze *squeeze;
    struct weir_splice splice;
    struct weir_buffer plain;
    uint8_t *routes; /* of the batch that is dispatched */
    uint32_t route_capacity;
    uint64_t random;
    unsigned settled; /* since drive() began */
    bool closing;
    struct weir_exporter_config config;
    const struct weir_clock *clock;
    struct weir_metrics *registry;
};

/* ---- requests ---- */

static void request_free(struct weir_otlp_request *request) {
    if (request == NULL) return;
    if (request->easy != NULL) curl_easy_cleanup(request->easy);
    weir_buffer_free(&request->call.body);
    free(request->spans);
    free(request);
}

static struct weir_otlp_request *request_get(struct otlp *otlp, uint32_t spans) {
    struct weir_otlp_request *request = otlp->spare;
    if (request != NULL)
        otlp->spare = request->next;
    else if ((request = calloc(1, sizeof *request)) == NULL)
        return NULL;
    if (spans > request->span_capacity) {
        uint32_t *grown = realloc(request->spans, spans * sizeof *grown);
        if (grown == NULL) {
            request_free(request);
            return NULL;
        }
        request->spans = grown;
        request->span_capacity = spans;
    }
    request->span_count = 0;
    return request;
}

static void request_put(struct otlp *otlp, struct weir_otlp_request *request) {
    if (request->call.body.capacity > SPARE_BYTES) weir_buffer_free(&request->call.body);
    request->next = otlp->spare;
    otlp->spare = request;
}

/* As the peer wants it. False: out of memory. */
static bool make_body(struct otlp *otlp, struct weir_otlp_request *request, const struct weir_batch *batch) {
    const struct weir_otlp_peer *peer = request->peer;
    struct weir_buffer *body = &request->call.body;
    static const uint8_t head[5];
    for (;;) { /* spans alone are no more than the limit, but what stands around them may be */
        weir_buffer_clear(&otlp->plain);
        if (weir_splice_encode_some(&otlp->splice, batch, request->spans, request->span_count, &otlp->plain) != WEIR_OK)
            return false;
        if (otlp->plain.size <= peer->limit_bytes || request->span_count == 1) break;
        request->span_count = (uint32_t)(request->span_count * peer->limit_bytes / otlp->plain.size * 9 / 10);
        if (request->span_count == 0) request->span_count = 1;
    }
    request->plain_bytes = otlp->plain.size;
    request->encoding = peer->encoding;
    weir_buffer_clear(body);
    body->failed = false;
    if (peer->address.grpc) weir_buffer_put(body, head, sizeof head);
    if (!weir_otlp_squeeze(otlp->squeeze, request->encoding, &otlp->plain, body) || body->failed) return false;
    if (!peer->address.grpc) return true;
    body->bytes[0] = request->encoding != WEIR_OTLP_NONE; /* PROTOCOL-HTTP2.md: Compressed-Flag, Message-Length */
    size_t size = body->size - sizeof head;
    for (int i = 0; i < 4; i++)
        body->bytes[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    return true;
}

/* ---- which spans go where ---- */

/* The first in the order that may be asked. Nobody, where the first that is left asked to wait: its traces would part.
 */
static uint8_t choose(const struct otlp *otlp, const struct flight *flight, const uint8_t *order, uint32_t usable) {
    for (int all = 0; all < 2; all++) { /* where every breaker is open, the first that has not failed us yet */
        for (uint32_t i = 0; i < otlp->peer_count; i++) {
            uint32_t bit = 1u << order[i];
            if ((flight->failed & bit) != 0) continue;
            if ((flight->waits & bit) != 0) return NOBODY;
            if ((usable & bit) != 0 || all == 1) return order[i];
        }
    }
    return NOBODY;
}

/* Fills otlp->routes for the spans that are to be sent. Returns a bit an endpoint that has some. */
static uint32_t route(struct otlp *otlp, const struct flight *flight, uint64_t now_ns) {
    uint8_t order[WEIR_ENDPOINTS_MAX], to = NOBODY;
    uint32_t usable = flight->busy, wanted = 0;
    for (uint32_t i = 0; i < otlp->peer_count; i++) {
        order[i] = (uint8_t)i;
        if (weir_otlp_breaker_lets(&otlp->peers[i].breaker, now_ns)) usable |= 1u << i;
    }
    bool by_trace = otlp->config.otlp.balance == WEIR_OTLP_TRACE_ID && otlp->peer_count > 1;
    if (!by_trace) to = choose(otlp, flight, order, usable);
    for (uint32_t i = 0; i < flight->batch->span_count; i++) {
        if (flight->states[i] != TODO) continue;
        uint64_t trace = flight->batch->spans[i].trace_lo;
        if (by_trace && (wanted == 0 || i == 0 || trace != flight->batch->spans[i - 1].trace_lo || to == NOBODY ||
                         flight->states[i - 1] != TODO)) {
            weir_otlp_rank(otlp->seeds, otlp->peer_count, trace, order);
            to = choose(otlp, flight, order, usable);
        }
        otlp->routes[i] = to;
        if (to != NOBODY) wanted |= 1u << to;
    }
    return wanted;
}

/* One request of what goes to one endpoint, as large as it may be. False: out of memory. */
static bool send_part(struct otlp *otlp, struct flight *flight, uint32_t index) {
    struct weir_otlp_peer *peer = &otlp->peers[index];
    struct weir_otlp_request *request = request_get(otlp, flight->batch->span_count);
    if (request == NULL) return false;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < flight->batch->span_count && request->span_count < flight->span_cap; i++) {
        if (flight->states[i] != TODO || otlp->routes[i] != index) continue;
        bytes += flight->batch->spans[i].size + 4; /* 4: key and length */
        if (bytes > peer->limit_bytes && request->span_count > 0) break;
        request->spans[request->span_count++] = i;
    }
    request->peer = peer;
    request->flight = flight;
    if (!make_body(otlp, request, flight->batch)) {
        request_put(otlp, request);
        return false;
    }
    for (uint32_t i = 0; i < request->span_count; i++)
        flight->states[request->spans[i]] = SENT;
    flight->todo -= request->span_count;
    flight->under_way++;
    flight->busy |= 1u << index;
    weir_otlp_breaker_sent(&peer->breaker);
    request->call.deadline_ns = weir_mono_ns(otlp->clock) + otlp->config.otlp.timeout_ns;
    weir_otlp_peer_submit(peer, request);
    return true;
}

/* ---- a flight and its ticket ---- */

static void land(struct otlp *otlp, struct flight *flight) {
    struct weir_ticket *ticket = flight->ticket;
    for (struct flight **at = &otlp->flights; *at != NULL; at = &(*at)->next) {
        if (*at != flight) continue;
        *at = flight->next;
        break;
    }
    uint32_t count = flight->batch->span_count;
    ticket->settled_spans = count - flight->todo;
    enum weir_settlement how = flight->todo > 0                               ? WEIR_RETRY
                               : count > 0 && ticket->rejected_spans >= count ? WEIR_REJECTED
                                                                              : WEIR_DELIVERED;
    struct flight gone = *flight;
    free(flight);
    otlp->settled++;
    ticket->settle(ticket, how, how == WEIR_RETRY ? gone.retry_after_ns : 0, gone.why); /* may free ticket and batch */
}

/* What of the flight can be sent now, is. It lands when there is nothing to wait for. */
static void dispatch(struct otlp *otlp, struct flight *flight) {
    if (flight->todo > 0 && !otlp->closing) {
        uint32_t wanted = route(otlp, flight, weir_mono_ns(otlp->clock));
        for (uint32_t i = 0; i < otlp->peer_count; i++) {
            if ((wanted & ~flight->busy & 1u << i) == 0) continue;
            if (!send_part(otlp, flight, i)) snprintf(flight->why, sizeof flight->why, "otlp: out of memory");
        }
    }
    if (flight->under_way == 0) land(otlp, flight);
}

/* ---- verdicts ---- */

static void forget_later(struct otlp *otlp, struct weir_otlp_peer *peer) {
    if (peer->forget_ns == 0) peer->forget_ns = weir_mono_ns(otlp->clock) + FORGET_AFTER;
}

static void forget(struct otlp *otlp, struct weir_otlp_peer *peer, uint64_t now_ns) {
    if (peer->forget_ns == 0 || now_ns < peer->forget_ns) return;
    peer->forget_ns = 0;
    peer->encoding = otlp->config.otlp.compression;
    peer->proven = 0;
    peer->limit_bytes = otlp->config.otlp.max_request_bytes;
    weir_gauge(peer->set, WEIR_OTLP_LIMIT, peer->limit_bytes);
}

static void learn_encoding(struct otlp *otlp, const struct weir_otlp_request *request) {
    struct weir_otlp_peer *peer = request->peer;
    if (request->encoding != peer->encoding || peer->encoding == WEIR_OTLP_NONE) return; /* known by now */
    peer->encoding--;
    forget_later(otlp, peer);
    weir_count(peer->set, WEIR_OTLP_FALLBACKS, 1);
    const char *next = weir_otlp_encoding_name(peer->encoding);
    weir_log(WEIR_LOG_WARN, "otlp_compression_refused exporter=%s endpoint=%s compression=%s next=%s why=\"%s\"",
             otlp->config.name, peer->address.name, weir_otlp_encoding_name(request->encoding),
             next != NULL ? next : "none", request->verdict.why);
}

static void learn_limit(struct otlp *otlp, const struct weir_otlp_request *request) {
    struct weir_otlp_peer *peer = request->peer;
    uint64_t limit = request->plain_bytes / 2;
    weir_count(peer->set, WEIR_OTLP_CUTS, 1);
    if (limit < LIMIT_LEAST) limit = LIMIT_LEAST;
    if (limit >= peer->limit_bytes) return;
    peer->limit_bytes = limit;
    forget_later(otlp, peer);
    weir_gauge(peer->set, WEIR_OTLP_LIMIT, limit);
    weir_log(WEIR_LOG_WARN, "otlp_request_too_large exporter=%s endpoint=%s bytes=%zu limit=%llu why=\"%s\"",
             otlp->config.name, peer->address.name, request->plain_bytes, (unsigned long long)limit,
             request->verdict.why);
}

static uint64_t draw(struct otlp *otlp) {
    otlp->random ^= otlp->random << 13; /* xorshift64; needs no better */
    otlp->random ^= otlp->random >> 7;
    otlp->random ^= otlp->random << 17;
    return otlp->random;
}

static void judge_peer(struct otlp *otlp, const struct weir_otlp_request *request) {
    struct weir_otlp_peer *peer = request->peer;
    if (!weir_otlp_outcome_is_bad(request->verdict.outcome)) {
        if (peer->breaker.open)
            weir_log_limited(&peer->up_limit, WEIR_LOG_INFO, "otlp_endpoint_up exporter=%s endpoint=%s",
                             otlp->config.name, peer->address.name);
        weir_otlp_breaker_good(&peer->breaker);
    } else if (weir_otlp_breaker_bad(&peer->breaker, weir_mono_ns(otlp->clock), otlp->config.retry_initial_ns,
                                     otlp->config.retry_max_ns, draw(otlp))) {
        weir_count(peer->set, WEIR_OTLP_OPENS, 1);
        weir_log_limited(&peer->down_limit, WEIR_LOG_WARN, "otlp_endpoint_down exporter=%s endpoint=%s why=\"%s\"",
                         otlp->config.name, peer->address.name, request->verdict.why);
    }
    weir_gauge(peer->set, WEIR_OTLP_UP, !peer->breaker.open);
}

static void mark(struct flight *flight, const struct weir_otlp_request *request, enum span_state state) {
    for (uint32_t i = 0; i < request->span_count; i++)
        flight->states[request->spans[i]] = (uint8_t)state;
    if (state == TODO) flight->todo += request->span_count;
}

static void reject(struct flight *flight, const struct weir_otlp_request *request, uint64_t spans) {
    if (spans > request->span_count) spans = request->span_count;
    flight->ticket->rejected_spans += (uint32_t)spans;
    mark(flight, request, SETTLED);
}

/* What becomes of the spans of a request that has its verdict. */
static void judge(struct otlp *otlp, struct weir_otlp_request *request) {
    struct flight *flight = request->flight;
    struct weir_otlp_verdict *verdict = &request->verdict;
    uint32_t bit = 1u << (request->peer - otlp->peers);
    flight->under_way--;
    flight->busy &= ~bit;
    if (verdict->outcome == WEIR_OTLP_DELIVERED && verdict->why[0] != 0)
        weir_log_limited(&request->peer->warning_limit, WEIR_LOG_WARN,
                         "otlp_warning exporter=%s endpoint=%s why=\"%s\"", otlp->config.name,
                         request->peer->address.name, verdict->why);
    if (verdict->outcome != WEIR_OTLP_DELIVERED)
        snprintf(flight->why, sizeof flight->why, "otlp: %s: %s", request->peer->address.name, verdict->why);
    if (verdict->retry_after_ns > flight->retry_after_ns) flight->retry_after_ns = verdict->retry_after_ns;
    if (!otlp->closing) judge_peer(otlp, request);
    uint32_t encoding = 1u << request->encoding;
    if (verdict->outcome <= WEIR_OTLP_UNREADABLE) request->peer->proven |= encoding;
    /* A server that knows nothing of compression finds bytes it cannot read, and not all say why. */
    if (verdict->outcome == WEIR_OTLP_REJECTED && request->encoding != WEIR_OTLP_NONE &&
        (request->peer->proven & encoding) == 0)
        verdict->outcome = WEIR_OTLP_ENCODING_REFUSED;
    switch (verdict->outcome) {
    case WEIR_OTLP_DELIVERED:
    case WEIR_OTLP_UNREADABLE: mark(flight, request, SETTLED); break;
    case WEIR_OTLP_PARTIAL:
        weir_count(request->peer->set, WEIR_OTLP_PARTIAL_SPANS,
                   verdict->rejected < request->span_count ? verdict->rejected : request->span_count);
        reject(flight, request, verdict->rejected);
        break;
    case WEIR_OTLP_REJECTED: reject(flight, request, request->span_count); break;
    case WEIR_OTLP_TOO_LARGE:
        if (request->span_count == 1) { /* no smaller one would do */
            reject(flight, request, 1);
            break;
        }
        learn_limit(otlp, request);
        flight->span_cap = (request->span_count + 1) / 2;
        mark(flight, request, TODO);
        break;
    case WEIR_OTLP_ENCODING_REFUSED:
        learn_encoding(otlp, request);
        mark(flight, request, TODO);
        break;
    case WEIR_OTLP_THROTTLED:
        flight->waits |= bit;
        mark(flight, request, TODO);
        break;
    default: /* another endpoint may take them */
        flight->failed |= bit;
        mark(flight, request, TODO);
        break;
    }
    request_put(otlp, request);
    dispatch(otlp, flight);
}

static void done(void *self, struct weir_otlp_request *request) {
    struct otlp *otlp = self;
    request->next = otlp->done;
    otlp->done = request;
}

static void judge_done(struct otlp *otlp) {
    while (otlp->done != NULL) {
        struct weir_otlp_request *request = otlp->done;
        otlp->done = request->next;
        judge(otlp, request);
    }
}

/* ---- the exporter ---- */

static bool room(struct otlp *otlp, uint32_t spans) {
    if (spans <= otlp->route_capacity) return true;
    uint8_t *grown = realloc(otlp->routes, spans);
    if (grown == NULL) return false;
    otlp->routes = grown;
    otlp->route_capacity = spans;
    return true;
}

static void otlp_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    struct otlp *otlp = self;
    struct flight *flight = calloc(1, sizeof *flight);
    if (ticket->notes == NULL) ticket->notes = calloc(batch->span_count > 0 ? batch->span_count : 1, 1);
    if (flight == NULL || ticket->notes == NULL || !room(otlp, batch->span_count)) {
        free(flight);
        ticket->settle(ticket, WEIR_RETRY, 0, "otlp: out of memory");
        return;
    }
    flight->batch = batch;
    flight->ticket = ticket;
    flight->states = ticket->notes;
    flight->span_cap = UINT32_MAX;
    flight->todo = batch->span_count - ticket->settled_spans;
    flight->next = otlp->flights;
    otlp->flights = flight;
    uint64_t now_ns = weir_mono_ns(otlp->clock);
    for (uint32_t i = 0; i < otlp->peer_count; i++)
        forget(otlp, &otlp->peers[i], now_ns);
    dispatch(otlp, flight);
    judge_done(otlp);
}

static void work(struct otlp *otlp) {
    int running, left;
    curl_multi_perform(otlp->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(otlp->multi, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) weir_otlp_http_finished(message->easy_handle, message->data.result);
    }
    uint64_t now_ns = weir_mono_ns(otlp->clock);
    for (uint32_t i = 0; i < otlp->peer_count; i++)
        weir_otlp_peer_work(&otlp->peers[i], now_ns);
    judge_done(otlp);
}

static void otlp_drive(void *self, int timeout_ms) {
    struct otlp *otlp = self;
    struct curl_waitfd polls[WEIR_ENDPOINTS_MAX * WEIR_OTLP_POLLS];
    uint32_t count = 0;
    otlp->settled = 0;
    work(otlp);
    if (otlp->settled > 0 || timeout_ms <= 0) return;
    for (uint32_t i = 0; i < otlp->peer_count; i++)
        count += weir_otlp_peer_polls(&otlp->peers[i], polls + count);
    curl_multi_poll(otlp->multi, polls, count, timeout_ms < DRIVE_MS ? timeout_ms : DRIVE_MS, NULL);
    work(otlp);
}

static void otlp_wake(void *self) {
    curl_multi_wakeup(((struct otlp *)self)->multi);
}

static void otlp_close(void *self) {
    struct otlp *otlp = self;
    if (otlp == NULL) return;
    otlp->closing = true;
    for (uint32_t i = 0; i < otlp->peer_count; i++)
        weir_otlp_peer_close(&otlp->peers[i]);
    judge_done(otlp); /* lands what was under way */
    while (otlp->spare != NULL) {
        struct weir_otlp_request *next = otlp->spare->next;
        request_free(otlp->spare);
        otlp->spare = next;
    }
    for (uint32_t i = 0; i < otlp->peer_count; i++) {
        if (otlp->peers[i].set != NULL) weir_metrics_close(otlp->registry, otlp->peers[i].set);
    }
    curl_multi_cleanup(otlp->multi);
    weir_otlp_squeeze_free(otlp->squeeze);
    weir_splice_free(&otlp->splice);
    weir_buffer_free(&otlp->plain);
    free(otlp->routes);
    explicit_bzero(&otlp->config, sizeof otlp->config); /* headers may be secret */
    free(otlp);
}

/* Those that say how a request is to be read are the exporter's. */
static bool sound_header(const char *name) {
    static const char *const ours[] = {"content-type", "content-encoding", "content-length", "transfer-encoding",
                                       "connection",   "keep-alive",       "upgrade",        "te",
                                       "host",         "grpc-timeout",     "grpc-encoding",  "weir-counted"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcasecmp(ours[i], name) == 0) return false;
    }
    return true;
}

static enum weir_status check(const struct weir_exporter_config *config,
                              struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX], uint32_t *count,
                              struct weir_error *err) {
    bool secure = false, files = config->otlp.ca_file[0] != 0 || config->otlp.cert_file[0] != 0;
    enum weir_status status = weir_otlp_addresses(config->otlp.endpoints, addresses, count, err);
    if (status != WEIR_OK) return status;
    for (uint32_t i = 0; i < config->header_count; i++) {
        if (!sound_header(config->headers[i].name))
            return weir_fail(err, WEIR_INVALID, 0, false, "otlp: headers: %s is not to be given",
                             config->headers[i].name);
    }
    if ((config->otlp.cert_file[0] != 0) != (config->otlp.key_file[0] != 0))
        return weir_fail(err, WEIR_INVALID, 0, false, "otlp: cert_file and key_file are given together, or neither");
    for (uint32_t i = 0; i < *count && status == WEIR_OK; i++) {
        SSL_CTX *context = NULL;
        if (addresses[i].secure && !secure) status = weir_otlp_secure(config, &addresses[i], &context, err);
        SSL_CTX_free(context);
        secure = secure || addresses[i].secure;
    }
    if (status == WEIR_OK && files && !secure)
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "otlp: ca_file and cert_file are for grpcs:// and https://, and no endpoint is one");
    return status;
}

static enum weir_status otlp_check(const struct weir_exporter_config *config, struct weir_error *err) {
    struct weir_otlp_address *addresses = calloc(WEIR_ENDPOINTS_MAX, sizeof *addresses);
    uint32_t count;
    if (addresses == NULL) return weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
    enum weir_status status = check(config, addresses, &count, err);
    free(addresses);
    return status;
}

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static enum weir_status open_peer(struct otlp *otlp, const struct weir_otlp_address *address, struct weir_error *err) {
    struct weir_otlp_peer *peer = &otlp->peers[otlp->peer_count++];
    char labels[sizeof peer->set->labels];
    snprintf(labels, sizeof labels, "exporter=\"%s\",endpoint=\"%s\"", otlp->config.name, address->name);
    peer->address = *address;
    peer->config = &otlp->config;
    peer->clock = otlp->clock;
    peer->self = otlp;
    peer->done = done;
    peer->set = weir_metrics_open(otlp->registry, weir_otlp_metrics, WEIR_OTLP_METRICS, labels);
    if (peer->set == NULL) return weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
    enum weir_status status = weir_otlp_peer_open(peer, otlp->multi, err);
    otlp->seeds[peer - otlp->peers] = peer->seed;
    return status;
}

static enum weir_status otlp_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct otlp *otlp = calloc(1, sizeof *otlp);
    struct weir_otlp_address *addresses = calloc(WEIR_ENDPOINTS_MAX, sizeof *addresses);
    uint32_t count = 0;
    enum weir_status status = WEIR_OK;
    if (otlp != NULL) {
        otlp->config = *config;
        otlp->clock = env->clock;
        otlp->registry = env->metrics;
        otlp->random = weir_mono_ns(&weir_clock_system) | 1;
        otlp->multi = curl_multi_init();
        otlp->squeeze = weir_otlp_squeeze_new();
    }
    if (otlp == NULL || addresses == NULL || otlp->multi == NULL || otlp->squeeze == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
    if (status == WEIR_OK) status = check(config, addresses, &count, err);
    for (uint32_t i = 0; i < count && status == WEIR_OK; i++)
        status = open_peer(otlp, &addresses[i], err);
    free(addresses);
    if (status != WEIR_OK) {
        otlp_close(otlp);
        return status;
    }
    *self = otlp;
    return WEIR_OK;
}

const struct weir_exporter weir_export_otlp = {
    .type = "otlp",
    .check = otlp_check,
    .open = otlp_open,
    .send = otlp_send,
    .drive = otlp_drive,
    .wake = otlp_wake,
    .close = otlp_close,
};
