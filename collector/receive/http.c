#include "collector/receive/http.h"
#include "collector/receive/http_peers.h"
#include "collector/receive/inflate.h"
#include "collector/receive/linger.h"
#include "collector/receive/listener.h"
#include "collector/receive/pace.h"
#include "collector/receive/tls.h"
#include "collector/receive/tokens.h"

#include <assert.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    /* A connection's request line and headers, and so much of a body at a time. */
    CONNECTION_BYTES = 64 * 1024,
    /* A length alone buys nothing: the first room is so many times what came with it. */
    ROOM_FACTOR = 8,
    CONTENT_TYPE_BYTES = 64,
    TEXT_BYTES = 200,
    RETRY_S = 1,
    HEADERS_S = 10, /* for a request's headers, behind the idle_timeout that they may be waited for */
    LEFT = 499,     /* as nginx counts it: the caller left before it was answered */
};

enum { CONNECTIONS, BODY_BYTES, METRICS };
static const struct weir_metric metrics[METRICS] = {
    [CONNECTIONS] = {"http_connections", NULL, WEIR_GAUGE, "Open HTTP connections."},
    [BODY_BYTES] = {"http_body_bytes_total", NULL, WEIR_COUNTER, "Bytes of HTTP requests' bodies, after inflating."},
};

#define CODES(X)                                                                                                       \
    X(200)                                                                                                             \
    X(202)                                                                                                             \
    X(304)                                                                                                             \
    X(400)                                                                                                             \
    X(401)                                                                                                             \
    X(404)                                                                                                             \
    X(405)                                                                                                             \
    X(413)                                                                                                             \
    X(415)                                                                                                             \
    X(429)                                                                                                             \
    X(499)                                                                                                             \
    X(500)                                                                                                             \
    X(503)                                                                                                             \
    X(other)
#define REQUESTS_HELP  "HTTP requests by the status of their answer; 499: the caller left before."
#define ROW_NAME(code) ROW_##code,
#define ROW(code)      [ROW_##code] = {"http_requests_total", "code=\"" #code "\"", WEIR_COUNTER, REQUESTS_HELP},
enum { CODES(ROW_NAME) ROWS };
static const struct weir_metric requests_metrics[ROWS] = {CODES(ROW)};

static unsigned row_of(unsigned status) {
    static const uint16_t codes[ROWS] = {200, 202, 304, 400, 401, 404, 405, 413, 415, 429, 499, 500, 503};
    for (unsigned row = 0; row < ROW_other; row++) {
        if (codes[row] == status) return row;
    }
    return ROW_other;
}

struct weir_http {
    struct weir_watch watch; /* first; libmicrohttpd's epoll descriptor */
    struct weir_timer timer;
    struct weir_loop *loop;
    struct weir_metrics *registry;
    struct weir_metric_set *set, *requests;
    struct weir_listener *listener;
    struct MHD_Daemon *daemon;
    struct weir_http_peers *peers;
    struct weir_tls *tls; /* NULL: plain */
    struct weir_tls_pumps *pumps;
    struct weir_tokens *tokens; /* NULL: anybody may send */
    struct weir_inflate *inflate;
    struct weir_linger *linger;
    struct weir_http_options options;
    struct weir_http_config config;
    struct weir_http_call *calls; /* with a connection */
    uint32_t open;                /* calls, with a connection or with a receipt that is out */
    uint32_t connections;
    bool watched, stopping, closed;
};

struct weir_http_call {
    struct weir_http *http;
    struct weir_http_call *next, **at; /* in http->calls */
    struct MHD_Connection *connection; /* NULL: over */
    const struct weir_http_route *route;
    struct weir_batch *body;
    uint64_t length_bytes, dropped_bytes; /* announced; of a body that is refused and still comes */
    uint64_t began_ns, came_bytes;
    char content_type[CONTENT_TYPE_BYTES];
    bool has_body, early, called, answered, suspended;
    enum weir_encoding encoding;
    /* What the answer will be, when the body has come to its end. */
    unsigned refused_status, refused_retry_s;
    char refused_text[TEXT_BYTES];
    struct MHD_Response *response;
    unsigned status;
    struct weir_receipt receipt;
    void (*settled)(void *self, struct weir_http_call *call);
    bool receipt_open;
    struct weir_http_note note;
};

struct weir_http_note *weir_http_note(struct weir_http_call *call) {
    return &call->note;
}

/* ---- the life of a call ---- */

static struct weir_http_call *call_new(struct weir_http *http, struct MHD_Connection *connection) {
    struct weir_http_call *call = calloc(1, sizeof *call);
    if (call == NULL) return NULL;
    call->http = http;
    call->connection = connection;
    call->began_ns = weir_loop_now(http->loop);
    call->at = &http->calls;
    call->next = http->calls;
    if (call->next != NULL) call->next->at = &call->next;
    http->calls = call;
    http->open++;
    return call;
}

static void release_if_done(struct weir_http_call *call) {
    struct weir_http *http = call->http;
    if (call->connection != NULL || call->receipt_open) return;
    weir_batch_unref(call->body);
    if (call->response != NULL) MHD_destroy_response(call->response);
    free(call);
    http->open--;
    if (http->closed && http->open == 0) free(http);
}

static void receipt_delivered(struct weir_mail *mail) {
    struct weir_http_call *call = (struct weir_http_call *)((char *)mail - offsetof(struct weir_http_call, receipt));
    call->receipt_open = false;
    if (call->connection != NULL && !call->answered) call->settled(call->http->options.self, call);
    release_if_done(call);
}

struct weir_receipt *weir_http_receipt(struct weir_http_call *call,
                                       void (*settled)(void *self, struct weir_http_call *call)) {
    assert(!call->receipt_open);
    call->settled = settled;
    call->receipt_open = true;
    weir_receipt_init(&call->receipt, weir_loop_mailbox(call->http->loop), receipt_delivered, 1);
    return &call->receipt;
}

void weir_http_receipt_drop(struct weir_http_call *call) {
    call->receipt_open = false;
}

/* libmicrohttpd closes its own descriptor in a moment. */
static void linger(struct weir_http *http, struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = info != NULL ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) weir_linger_take(http->linger, fd);
}

/* Whoever has said nothing at all is libmicrohttpd's to end, a little earlier. */
static uint64_t next_request_ns(const struct weir_http *http) {
    return http->config.idle_timeout_ns + HEADERS_S * WEIR_S;
}

static void completed(void *self, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code) {
    struct weir_http *http = self;
    struct weir_http_call *call = *state;
    weir_http_peer_within(http->peers, connection, next_request_ns(http));
    if (call == NULL) return;
    *state = NULL;
    *call->at = call->next;
    if (call->next != NULL) call->next->at = call->at;
    call->connection = NULL;
    if (!call->answered) weir_count(call->http->requests, row_of(LEFT), 1);
    if (call->early && code == MHD_REQUEST_TERMINATED_COMPLETED_OK) linger(call->http, connection);
    release_if_done(call);
}

/* ---- answers ---- */

void weir_http_answer_header(struct weir_http_call *call, const char *name, const char *value) {
    if (call->response != NULL) MHD_add_response_header(call->response, name, value);
}

void weir_http_answer(struct weir_http_call *call, unsigned status, const char *content_type, const void *body,
                      size_t size, unsigned retry_after_s) {
    assert(!call->answered);
    if (call->connection == NULL) return;
    call->answered = true;
    call->status = status;
    weir_count(call->http->requests, row_of(status), 1);
    call->response = MHD_create_response_from_buffer(size, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    if (content_type != NULL && content_type[0] != 0)
        weir_http_answer_header(call, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (retry_after_s > 0) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", retry_after_s);
        weir_http_answer_header(call, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (!call->suspended) return;
    call->suspended = false;
    MHD_resume_connection(call->connection); /* handle() is called again, and finds the answer */
    weir_loop_set(call->http->loop, &call->http->timer, weir_loop_now(call->http->loop)); /* nothing else wakes it */
}

static enum MHD_Result send_answer(struct weir_http_call *call) {
    struct MHD_Response *response = call->response;
    call->response = NULL;
    if (response == NULL) return MHD_NO; /* no memory, or it was sent */
    if (call->http->stopping) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    weir_http_peer_within(call->http->peers, call->connection, call->http->config.idle_timeout_ns);
    enum MHD_Result result = MHD_queue_response(call->connection, call->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Of a request that no route sees. */
static void refuse(struct weir_http_call *call, unsigned status, unsigned retry_after_s, const char *text) {
    struct weir_http *http = call->http;
    if (http->options.refused != NULL) {
        http->options.refused(http->options.self, call, status, call->content_type, text, retry_after_s);
    } else {
        char line[TEXT_BYTES + 1];
        int size = snprintf(line, sizeof line, "%s\n", text);
        weir_http_answer(call, status, "text/plain; charset=utf-8", line, (size_t)size, retry_after_s);
    }
}

/* libmicrohttpd takes no answer while a body comes: the rest of it is dropped. */
static void refuse_later(struct weir_http_call *call, unsigned status, unsigned retry_after_s, const char *text) {
    call->refused_status = status;
    call->refused_retry_s = retry_after_s;
    snprintf(call->refused_text, sizeof call->refused_text, "%s", text);
    weir_batch_unref(call->body);
    call->body = NULL;
}

static const char memory_text[] = "memory.intake is used up";
static void size_text(const struct weir_http *http, const char *what, char text[TEXT_BYTES]) {
    snprintf(text, TEXT_BYTES, "the body has more than max_body_bytes (%llu)%s",
             (unsigned long long)http->config.max_body_bytes, what);
}

/* ---- the request ---- */

const char *weir_http_header(struct weir_http_call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

const char *weir_http_argument(struct weir_http_call *call, const char *name, uint32_t *count) {
    return weir_http_peer_argument(call->connection, name, count);
}

void weir_http_peer(struct weir_http_call *call, char out[WEIR_ADDRESS_BYTES]) {
    weir_http_peer_address(call->connection, out);
}

/* "Application/JSON; charset=utf-8" -> "application/json"; one that is too long is none that we know. */
static void read_content_type(struct weir_http_call *call) {
    const char *value = weir_http_header(call, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (value == NULL) return;
    size_t size = strcspn(value, "; \t");
    if (size >= sizeof call->content_type) size = sizeof call->content_type - 1;
    for (size_t i = 0; i < size; i++)
        call->content_type[i] = (char)(value[i] >= 'A' && value[i] <= 'Z' ? value[i] - 'A' + 'a' : value[i]);
}

static enum weir_encoding encoding_of(const char *value) {
    if (value == NULL || *value == 0 || strcasecmp(value, "identity") == 0) return WEIR_ENCODING_IDENTITY;
    if (strcasecmp(value, "gzip") == 0 || strcasecmp(value, "x-gzip") == 0) /* RFC 9110 8.4.1.3 */
        return WEIR_ENCODING_GZIP;
    return strcasecmp(value, "zstd") == 0 ? WEIR_ENCODING_ZSTD : WEIR_ENCODING_OTHER;
}

static void refuse_method(struct weir_http_call *call, const char *path) {
    char allow[64] = "";
    for (const struct weir_http_route *route = call->http->options.routes; route->path != NULL; route++) {
        if (strcmp(route->path, path) != 0) continue;
        size_t size = strlen(allow);
        snprintf(allow + size, sizeof allow - size, "%s%s", size > 0 ? ", " : "", route->method);
    }
    if (allow[0] == 0) {
        refuse(call, MHD_HTTP_NOT_FOUND, 0, "no such path");
    } else {
        refuse(call, MHD_HTTP_METHOD_NOT_ALLOWED, 0, "another method is asked for here");
        weir_http_answer_header(call, MHD_HTTP_HEADER_ALLOW, allow);
    }
}

static bool is_allowed(struct weir_http_call *call) {
    const char *value = weir_http_header(call, MHD_HTTP_HEADER_AUTHORIZATION);
    return weir_tokens_allow(call->http->tokens, value, value == NULL ? 0 : strlen(value));
}

/* The headers are whole. What can be refused now is, before a byte of the body is read. */
static void begin(struct weir_http_call *call, const char *method, const char *path) {
    struct weir_http *http = call->http;
    char text[TEXT_BYTES];
    read_content_type(call);
    call->encoding = encoding_of(weir_http_header(call, MHD_HTTP_HEADER_CONTENT_ENCODING));
    const char *length = weir_http_header(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL) call->length_bytes = strtoull(length, NULL, 10); /* libmicrohttpd saw that it is a number */
    call->has_body = call->length_bytes > 0 || weir_http_header(call, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    for (const struct weir_http_route *route = http->options.routes; route->path != NULL; route++) {
        if (strcmp(route->path, path) == 0 && strcmp(route->method, method) == 0) call->route = route;
    }
    if (!is_allowed(call)) {
        refuse(call, MHD_HTTP_UNAUTHORIZED, 0, "a bearer token is asked for");
        weir_http_answer_header(call, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer"); /* RFC 6750 3 */
    } else if (call->route == NULL) {
        refuse_method(call, path);
    } else if (call->encoding == WEIR_ENCODING_OTHER) {
        refuse(call, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, 0, "Content-Encoding is none of gzip, zstd, identity");
        weir_http_answer_header(call, MHD_HTTP_HEADER_ACCEPT_ENCODING, "gzip, zstd, identity"); /* RFC 9110 15.5.16 */
    } else if (call->length_bytes > http->config.max_body_bytes) {
        size_text(http, "", text);
        refuse(call, MHD_HTTP_CONTENT_TOO_LARGE, 0, text);
    }
}

/* Room for so many bytes more: it grows by doubling, and where the budget has no room for that, by what is needed. */
static bool make_room(struct weir_http_call *call, size_t size) {
    const struct weir_http *http = call->http;
    if (call->body == NULL) {
        size_t first = size * ROOM_FACTOR;
        if (call->length_bytes > 0 && call->length_bytes < first) first = (size_t)call->length_bytes;
        if (first > size) call->body = weir_batch_new(http->options.budget, first);
        if (call->body == NULL) call->body = weir_batch_new(http->options.budget, size);
        return call->body != NULL;
    }
    struct weir_batch *body = call->body;
    if (body->capacity - body->size >= size) return true;
    uint64_t most = call->length_bytes > 0 ? call->length_bytes : http->config.max_body_bytes;
    if (body->capacity >= size && 2 * (uint64_t)body->capacity <= most &&
        weir_batch_room(body, 2 * body->capacity - body->size) == WEIR_OK)
        return true;
    if (most > body->capacity && most < 2 * (uint64_t)body->capacity && most >= body->size + size &&
        weir_batch_room(body, (size_t)most - body->size) == WEIR_OK)
        return true;
    return weir_batch_room(body, size) == WEIR_OK;
}

/* False: the caller trickles, or sends on and on although nothing of it is kept. */
static bool take(struct weir_http_call *call, const char *bytes, size_t size) {
    const struct weir_http *http = call->http;
    char text[TEXT_BYTES];
    call->came_bytes += size;
    if (weir_pace_is_slow(call->began_ns, weir_loop_now(http->loop), http->config.idle_timeout_ns, call->came_bytes))
        return false;
    if (call->refused_status != 0) {
        call->dropped_bytes += size;
        return call->dropped_bytes <= http->config.max_body_bytes;
    }
    if (size > http->config.max_body_bytes ||
        (call->body != NULL && call->body->size > http->config.max_body_bytes - size)) {
        size_text(http, "", text);
        refuse_later(call, MHD_HTTP_CONTENT_TOO_LARGE, 0, text);
    } else if (!make_room(call, size)) {
        refuse_later(call, MHD_HTTP_TOO_MANY_REQUESTS, RETRY_S, memory_text);
    } else {
        memcpy(call->body->bytes + call->body->size, bytes, size);
        call->body->size += size;
    }
    return true;
}

static bool inflate_body(struct weir_http_call *call) {
    struct weir_http *http = call->http;
    struct weir_batch *plain = NULL;
    struct weir_error err;
    char text[TEXT_BYTES];
    switch (weir_inflate(http->inflate, call->encoding, call->body->bytes, call->body->size,
                         (size_t)http->config.max_body_bytes, http->options.budget, &plain, &err)) {
    case WEIR_INFLATE_OK:
        weir_batch_unref(call->body);
        call->body = plain;
        return true;
    case WEIR_INFLATE_TOO_LARGE:
        size_text(http, " when inflated", text);
        refuse(call, MHD_HTTP_CONTENT_TOO_LARGE, 0, text);
        return false;
    case WEIR_INFLATE_MEMORY: refuse(call, MHD_HTTP_TOO_MANY_REQUESTS, RETRY_S, memory_text); return false;
    default: refuse(call, MHD_HTTP_BAD_REQUEST, 0, err.text); return false;
    }
}

/* The body is whole. */
static void deliver(struct weir_http_call *call) {
    struct weir_http *http = call->http;
    call->called = true;
    if (call->refused_status != 0) {
        refuse(call, call->refused_status, call->refused_retry_s, call->refused_text);
        return;
    }
    if (call->body == NULL) call->body = weir_batch_new(http->options.budget, 0);
    if (call->body == NULL) {
        refuse(call, MHD_HTTP_TOO_MANY_REQUESTS, RETRY_S, memory_text);
        return;
    }
    if (call->encoding != WEIR_ENCODING_IDENTITY && !inflate_body(call)) return;
    weir_count(http->set, BODY_BYTES, call->body->size);
    struct weir_batch *body = call->body;
    call->body = NULL;
    call->route->called(http->options.self, call, call->content_type, &body);
    weir_batch_unref(body);
}

/* libmicrohttpd calls this when the headers are whole, with each part of the body, at its end, and once more when a
 * connection goes on. */
static enum MHD_Result handle(void *self, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state) {
    struct weir_http_call *call = *state;
    (void)version;
    if (call == NULL) {
        call = call_new(self, connection);
        if (call == NULL) return MHD_NO;
        *state = call;
        weir_http_peer_within(call->http->peers, connection, 0); /* its body has a pace, and we have none */
        begin(call, method, url);
        /* An answer before the body ends the connection; without a body there is no need for that. */
        call->early = call->answered && call->has_body;
        return call->early ? send_answer(call) : MHD_YES;
    }
    if (*upload_size > 0) {
        bool more = take(call, upload, *upload_size);
        *upload_size = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (!call->called && !call->answered) deliver(call);
    if (call->answered) return send_answer(call);
    call->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

/* ---- libmicrohttpd on the loop ---- */

static void run(struct weir_http *http) {
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES) {
        weir_loop_set(http->loop, &http->timer, weir_loop_now(http->loop) + timeout_ms * WEIR_MS);
    } else {
        weir_loop_unset(http->loop, &http->timer);
    }
}

static void ready(struct weir_watch *watch, uint32_t events) {
    (void)events;
    run((struct weir_http *)watch);
}

static void due(struct weir_timer *timer) {
    run((struct weir_http *)((char *)timer - offsetof(struct weir_http, timer)));
}

static void connection_changed(void *self, struct MHD_Connection *connection, void **state,
                               enum MHD_ConnectionNotificationCode code) {
    struct weir_http *http = self;
    weir_http_peers_changed(http->peers, connection, state, code);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        http->connections++;
        weir_http_peer_within(http->peers, connection, next_request_ns(http));
    } else {
        http->connections--;
    }
    weir_gauge(http->set, CONNECTIONS, http->connections);
}

static void accepted(void *self, int fd) {
    struct weir_http *http = self;
    struct sockaddr_storage peer = {0}; /* for weir_http_peer(): through a pump the socket is another */
    socklen_t size = sizeof peer;
    bool known = getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
    fd = weir_tls_pump(http->pumps, http->tls, fd);
    /* It owns the socket; beyond the limit that is closed at once. */
    if (fd >= 0) MHD_add_connection(http->daemon, fd, known ? (struct sockaddr *)&peer : NULL, known ? size : 0);
}

/* ---- the server ---- */

static struct MHD_Daemon *daemon_of(struct weir_http *http) {
    unsigned timeout_s = (unsigned)((http->config.idle_timeout_ns + WEIR_S - 1) / WEIR_S);
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
                            http, MHD_OPTION_NOTIFY_COMPLETED, completed, http, MHD_OPTION_NOTIFY_CONNECTION,
                            connection_changed, http, MHD_OPTION_CONNECTION_LIMIT, http->config.max_connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)CONNECTION_BYTES, MHD_OPTION_END);
}

enum weir_status weir_http_open(struct weir_http **out, struct weir_loop *loop, struct weir_metrics *registry,
                                const struct weir_http_options *options, struct weir_error *err) {
    struct weir_http *http = calloc(1, sizeof *http);
    if (http == NULL) return weir_fail(err, WEIR_FULL, 0, false, "%s: out of memory", options->name);
    *http = (struct weir_http){.watch = {.fd = -1, .ready = ready},
                               .timer.fire = due,
                               .loop = loop,
                               .registry = registry,
                               .options = *options,
                               .config = *options->config};
    char labels[64];
    snprintf(labels, sizeof labels, "receiver=\"%s\"", options->name);
    http->set = weir_metrics_open(registry, metrics, METRICS, labels);
    http->requests = weir_metrics_open(registry, requests_metrics, ROWS, labels);
    http->inflate = weir_inflate_new();
    http->linger = weir_linger_new(loop);
    http->pumps = weir_tls_pumps_new(loop);
    http->peers = weir_http_peers_new(loop);
    enum weir_status status = WEIR_OK;
    if (http->set == NULL || http->requests == NULL || http->inflate == NULL || http->linger == NULL ||
        http->pumps == NULL || http->peers == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "%s: out of memory", options->name);
    if (status == WEIR_OK)
        status = weir_tls_open(&http->tls, options->name, &http->config.tls, "http/1.1,http/1.0", registry, err);
    if (status == WEIR_OK) status = weir_tokens_open(&http->tokens, options->name, http->config.bearer_token_file, err);
    if (status == WEIR_OK) {
        http->daemon = daemon_of(http);
        const union MHD_DaemonInfo *info =
            http->daemon != NULL ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
        if (info == NULL) {
            status = weir_fail(err, WEIR_IO, 0, false, "%s: libmicrohttpd does not start", options->name);
        } else {
            http->watch.fd = info->epoll_fd;
        }
    }
    if (status == WEIR_OK)
        status = weir_listener_open(&http->listener, options->name, &http->config.listen, loop, accepted, http, err);
    if (status != WEIR_OK) {
        weir_http_close(http);
        return status;
    }
    *out = http;
    return WEIR_OK;
}

enum weir_status weir_http_start(struct weir_http *http, struct weir_error *err) {
    enum weir_status status = weir_loop_watch(http->loop, &http->watch, EPOLLIN, err);
    if (status != WEIR_OK) return status;
    http->watched = true;
    weir_tls_watch(http->tls, http->loop);
    return weir_listener_start(http->listener, err);
}

void weir_http_reload(struct weir_http *http, const struct weir_http_config *config) {
    http->config.max_body_bytes = config->max_body_bytes;
    weir_tls_refresh(http->tls);
    weir_tokens_refresh(http->tokens);
}

void weir_http_stop(struct weir_http *http) {
    http->stopping = true;
    weir_listener_stop(http->listener);
}

bool weir_http_idle(const struct weir_http *http) {
    return http->open == 0;
}

void weir_http_close(struct weir_http *http) {
    if (http == NULL) return;
    weir_listener_close(http->listener);
    weir_loop_unset(http->loop, &http->timer);
    if (http->watched) weir_loop_unwatch(http->loop, &http->watch);
    http->open++; /* until here is done */
    for (struct weir_http_call *call = http->calls; call != NULL; call = call->next) {
        if (call->suspended) MHD_resume_connection(call->connection); /* it would not stop with one that is suspended */
        call->suspended = false;
    }
    if (http->daemon != NULL) MHD_stop_daemon(http->daemon);
    weir_http_peers_free(http->peers);
    weir_tls_pumps_free(http->pumps);
    weir_tls_close(http->tls);
    weir_tokens_close(http->tokens);
    weir_linger_free(http->linger);
    weir_inflate_free(http->inflate);
    weir_metrics_close(http->registry, http->requests);
    weir_metrics_close(http->registry, http->set);
    http->closed = true;
    if (--http->open == 0) free(http);
}

uint16_t weir_http_port(const struct weir_http *http) {
    return weir_listener_port(http->listener);
}
