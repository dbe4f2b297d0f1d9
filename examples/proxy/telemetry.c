#include "examples/proxy/telemetry.h"

#include "examples/proxy/address.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum method { GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, OTHER, METHODS };
static const char *const methods[METHODS] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"};
static const char *const failures[FAILURES] = {"",         "connect_failed", "timeout",
                                               "upstream", "bad_request",    "client_gone"};
enum { CLASSES = 6 };
_Static_assert(METHODS *(TELEMETRY_ROUTES_MAX + 1) <= 256, "the library's operations_max");

struct route {
    const char *text, *rest; /* rest: from its first `{` or `*` on, or its end */
    size_t plain_size;       /* of what is before */
    struct weir_emit_operation *operations[METHODS];
};

struct telemetry {          /* what each request needs comes first */
    struct weir_emit *emit; /* NULL: no tracing */
    int statsd;             /* a connected socket, or -1 */
    atomic_bool off;        /* until it is turned on again */
    struct weir_emit_histogram *seconds;
    struct weir_emit_counter *responses[CLASSES], *failures[FAILURES];
    struct weir_emit_operation *operations[METHODS]; /* of no route */
    struct telemetry_options options;
    struct route routes[TELEMETRY_ROUTES_MAX];
};

/* ---- opening ---- */

static void name_operations(struct telemetry *t) {
    char name[256];
    for (size_t i = 0; i < t->options.route_count; i++) {
        struct route *route = &t->routes[i];
        route->text = t->options.routes[i];
        route->plain_size = strcspn(route->text, "{*?"); /* a path has no `?`: such a route fits none */
        route->rest = route->text + route->plain_size;
    }
    for (size_t method = 0; method < METHODS; method++) {
        t->operations[method] = weir_emit_operation(t->emit, methods[method]);
        for (size_t route = 0; route < t->options.route_count; route++) {
            snprintf(name, sizeof name, "%s %s", methods[method], t->options.routes[route]);
            t->routes[route].operations[method] = weir_emit_operation(t->emit, name);
        }
    }
}

static void name_counters(struct telemetry *t) {
    static const char *const classes[CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    struct weir_emit_label labels[2] = {{"service", t->options.service}, {0}};
    t->seconds =
        weir_emit_histogram(t->emit, "proxy_request_seconds", labels, 1, bounds, sizeof bounds / sizeof *bounds);
    for (size_t i = 0; i < CLASSES; i++) {
        labels[1] = (struct weir_emit_label){"class", classes[i]};
        t->responses[i] = weir_emit_counter(t->emit, "proxy_responses", labels, 2);
    }
    for (size_t i = 1; i < FAILURES; i++) {
        labels[1] = (struct weir_emit_label){"reason", failures[i]};
        t->failures[i] = weir_emit_counter(t->emit, "proxy_failures", labels, 2);
    }
}

/* What the file holds but one newline at its end; the bytes read, 0: it cannot be. */
static size_t read_key(const char *path, char *key, size_t room) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t size = fread(key, 1, room, file);
    fclose(file);
    return size > 0 && key[size - 1] == '\n' ? size - 1 : size;
}

static bool open_emitter(struct telemetry *t, char *error, size_t error_size) {
    struct weir_emit_options options;
    char key[4096];
    weir_emit_defaults(&options, sizeof options);
    options.to = t->options.weir;
    options.service = t->options.service;
    options.initial_rate = t->options.rate;
    options.poll_ms = t->options.poll_ms;
    options.threads_max = t->options.threads + 1;
    if (t->options.key_file != NULL) {
        options.key = key;
        options.key_size = read_key(t->options.key_file, key, sizeof key);
    }
    t->emit = weir_emit_open(&options, error, error_size);
    if (t->emit == NULL) return false;
    name_operations(t);
    name_counters(t);
    return true;
}

static bool open_statsd(struct telemetry *t, char *error, size_t error_size) {
    struct address to;
    if (!address_read(&to, t->options.statsd)) {
        snprintf(error, error_size, "--statsd %s: no numeric address and port", t->options.statsd);
        return false;
    }
    t->statsd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->statsd >= 0 && connect(t->statsd, &to.any, to.size) == 0) return true;
    snprintf(error, error_size, "--statsd %s: %m", t->options.statsd);
    return false;
}

struct telemetry *telemetry_open(const struct telemetry_options *options, char *error, size_t error_size) {
    struct telemetry *t = calloc(1, sizeof *t);
    if (t == NULL) {
        snprintf(error, error_size, "no memory");
        return NULL;
    }
    t->options = *options;
    t->statsd = -1;
    if ((options->weir == NULL || open_emitter(t, error, error_size)) &&
        (options->statsd == NULL || open_statsd(t, error, error_size)))
        return t;
    weir_emit_close(t->emit);
    free(t);
    return NULL;
}

void telemetry_close(struct telemetry *t, FILE *out) {
    struct weir_emit_stats stats = {.size = sizeof stats};
    if (t->emit != NULL) {
        weir_emit_flush(t->emit, 1000);
        weir_emit_stats(t->emit, &stats, sizeof stats);
    }
    fprintf(out,
            "{\"spans\": %llu, \"dropped\": %llu, \"datagrams\": %llu, \"unsent\": %llu, \"answers\": %llu, "
            "\"answers_refused\": %llu, \"policy_version\": \"%016llx\"}\n",
            (unsigned long long)stats.spans,
            (unsigned long long)(stats.dropped_full + stats.dropped_large + stats.dropped_threads),
            (unsigned long long)stats.datagrams, (unsigned long long)stats.unsent, (unsigned long long)stats.answers,
            (unsigned long long)stats.answers_refused, (unsigned long long)stats.policy_version);
    weir_emit_close(t->emit);
    if (t->statsd >= 0) close(t->statsd);
    free(t);
}

void telemetry_turn(struct telemetry *t) {
    atomic_store_explicit(&t->off, !atomic_load(&t->off), memory_order_relaxed);
}

/* ---- operations ---- */

#define IS(literal) (text.size == sizeof(literal) - 1 && memcmp(text.at, literal, sizeof(literal) - 1) == 0)
static enum method method_of(struct http1_text text) {
    if (IS("GET")) return GET;
    if (IS("POST")) return POST;
    if (IS("PUT")) return PUT;
    if (IS("HEAD")) return HEAD;
    if (IS("DELETE")) return DELETE;
    if (IS("PATCH")) return PATCH;
    return IS("OPTIONS") ? OPTIONS : OTHER;
}

/* The target's path: what is before the query. */
static struct http1_text path_of(struct http1_text target) {
    const char *query = memchr(target.at, '?', target.size);
    if (query != NULL) target.size = (size_t)(query - target.at);
    return target;
}

/* `*` at the end. */
static bool takes_all(const char *rest) {
    return rest[0] == '*' && rest[1] == 0;
}

/* `{id}` stands for a segment. */
static bool rest_fits(const char *rest, struct http1_text path) {
    size_t at = 0;
    for (; *rest != 0; rest++) {
        if (takes_all(rest)) return true;
        if (*rest == '{') {
            size_t from = at;
            while (at < path.size && path.at[at] != '/')
                at++;
            const char *end = strchr(rest, '}');
            if (at == from || end == NULL) return false;
            rest = end;
        } else if (at == path.size || path.at[at++] != *rest) {
            return false;
        }
    }
    return at == path.size;
}

static bool fits(const struct route *route, struct http1_text target) {
    size_t plain = route->plain_size;
    if (target.size < plain || memcmp(target.at, route->text, plain) != 0) return false;
    if (takes_all(route->rest)) return true;
    return rest_fits(route->rest, path_of((struct http1_text){target.at + plain, target.size - plain}));
}

static struct weir_emit_operation *operation_of(const struct telemetry *t, const struct http1_head *head) {
    enum method method = method_of(head->method);
    for (size_t i = 0; i < t->options.route_count; i++)
        if (fits(&t->routes[i], head->target)) return t->routes[i].operations[method];
    return t->operations[method];
}

/* ---- a request ---- */

static size_t keep(char *out, size_t room, struct http1_text text) {
    size_t size = text.size < room ? text.size : room;
    memcpy(out, text.at, size);
    return size;
}

void telemetry_begin(struct telemetry *t, struct tally *tally, struct measured *m, struct http1_head *head,
                     uint64_t now_ns) {
    struct weir_emit_context *context = &tally->context;
    m->sampled = m->b3 = m->b3_multi = false;
    m->answered_ns = m->sent_ns = 0;
    m->told = (t->emit != NULL || t->statsd >= 0) && !atomic_load_explicit(&t->off, memory_order_relaxed);
    if (!m->told) return;
    m->start_ns = now_ns;
    if (t->emit == NULL) return;
    m->operation = operation_of(t, head);
    weir_emit_context_clear(context);
    for (size_t i = 0; i < head->header_count; i++) {
        struct http1_header *header = &head->headers[i];
        if (!weir_emit_may_read(header->name.at, header->name.size)) continue;
        enum weir_emit_header what =
            weir_emit_read_header(context, header->name.at, header->name.size, header->value.at, header->value.size);
        if (what == WEIR_EMIT_OTHER_HEADER) continue;
        header->drop = true;
        m->b3 = m->b3 || http1_is(header->name, "b3");
        m->b3_multi = m->b3_multi || (header->name.at[0] | 0x20) == 'x';
    }
    m->sampled = weir_emit_begin(m->operation, context);
    if (!m->sampled) return;
    m->server = *context;
    m->server.state = NULL; /* these bytes are the request's, and go with it */
    m->server.state_size = 0;
    m->method_size = keep(m->method, sizeof m->method, head->method);
    m->path_size = keep(m->path, sizeof m->path, path_of(head->target));
    m->host_size = keep(m->host, sizeof m->host, http1_field(head, "host"));
}

static char *put(char *at, const char *text, size_t size) {
    memcpy(at, text, size);
    return at + size;
}
static char *put_text(char *at, const char *text) {
    return put(at, text, strlen(text));
}

static char *put_b3_multi(char *at, const struct weir_emit_context *context) {
    struct weir_emit_b3 b3;
    weir_emit_write_b3_multi(context, &b3);
    at = put(put_text(at, "X-B3-TraceId: "), b3.trace_id, sizeof b3.trace_id);
    at = put(put_text(at, "\r\nX-B3-SpanId: "), b3.span_id, sizeof b3.span_id);
    if (b3.has_parent) at = put(put_text(at, "\r\nX-B3-ParentSpanId: "), b3.parent_id, sizeof b3.parent_id);
    if (b3.forced) return put_text(at, "\r\nX-B3-Flags: 1\r\n");
    return put_text(put(put_text(at, "\r\nX-B3-Sampled: "), &b3.sampled, 1), "\r\n");
}

size_t telemetry_headers(struct telemetry *t, const struct tally *tally, struct measured *m,
                         char out[TELEMETRY_HEADER_BYTES_MAX]) {
    if (t->emit == NULL || !m->told) return 0;
    const struct weir_emit_context *context = &tally->context;
    if (m->sampled) { /* the call to upstream is a span of its own, and upstream's spans are below it */
        weir_emit_child(t->emit, &tally->context, &m->client);
        context = &m->client;
        m->sent_ns = weir_emit_now();
    }
    char *at = put_text(out, "traceparent: ");
    size_t size = weir_emit_write_traceparent(context, at);
    if (size == 0) return 0; /* more threads than the library was opened for: there are no ids */
    at = put_text(at + size, "\r\n");
    char state[WEIR_EMIT_TRACESTATE_BYTES];
    size_t state_size = weir_emit_write_tracestate(context, state);
    if (state_size > 0) at = put_text(put(put_text(at, "tracestate: "), state, state_size), "\r\n");
    if (m->b3) {
        at = put_text(at, "b3: ");
        at += weir_emit_write_b3(context, at);
        at = put_text(at, "\r\n");
    }
    if (m->b3_multi) at = put_b3_multi(at, context);
    if (m->sampled) {
        m->client.state = NULL;
        m->client.state_size = 0;
    }
    return (size_t)(at - out);
}

void telemetry_answered(struct measured *m) {
    if (m->sampled && m->answered_ns == 0) m->answered_ns = weir_emit_now();
}

static void send_client_span(const struct telemetry *t, const struct measured *m, const struct outcome *outcome) {
    struct weir_emit_span span;
    struct weir_emit_attribute attributes[5] = {
        weir_emit_text_n("http.request.method", m->method, m->method_size),
        weir_emit_text("server.address", t->options.to),
        weir_emit_int("http.response.status_code", outcome->status),
    };
    size_t count = 3;
    if (outcome->tries > 1) attributes[count++] = weir_emit_int("http.request.resend_count", outcome->tries - 1);
    if (outcome->failure != FAILURE_NONE)
        attributes[count++] = weir_emit_text("error.type", failures[outcome->failure]);
    weir_emit_span_of(&m->client, &span);
    span.kind = WEIR_EMIT_CLIENT;
    span.start_ns = m->sent_ns;
    span.end_ns = m->answered_ns;
    span.status = outcome->failure != FAILURE_NONE || outcome->status >= 400 ? WEIR_EMIT_ERROR : WEIR_EMIT_UNSET;
    span.attributes = attributes;
    span.attribute_count = count;
    weir_emit_span(m->operation, &span);
}

static void send_server_span(const struct measured *m, const struct outcome *outcome, uint64_t end_ns) {
    struct weir_emit_span span;
    struct weir_emit_attribute attributes[7] = {
        weir_emit_text_n("http.request.method", m->method, m->method_size),
        weir_emit_text_n("url.path", m->path, m->path_size),
        weir_emit_text_n("server.address", m->host, m->host_size),
        weir_emit_text("client.address", outcome->client),
        weir_emit_int("http.response.status_code", outcome->status),
        weir_emit_int("http.response.body.size", (int64_t)outcome->body_bytes),
    };
    size_t count = 6;
    if (outcome->failure != FAILURE_NONE)
        attributes[count++] = weir_emit_text("error.type", failures[outcome->failure]);
    weir_emit_span_of(&m->server, &span);
    span.kind = WEIR_EMIT_SERVER;
    span.start_ns = m->start_ns;
    span.end_ns = end_ns;
    span.status = outcome->failure != FAILURE_NONE || outcome->status >= 500 ? WEIR_EMIT_ERROR : WEIR_EMIT_UNSET;
    span.attributes = attributes;
    span.attribute_count = count;
    weir_emit_span(m->operation, &span);
}

/* As plain clients do it: a packet a metric. */
static void send_statsd(const struct telemetry *t, const struct measured *m, const struct outcome *outcome,
                        uint64_t end_ns) {
    char line[128];
    ssize_t sent = send(t->statsd, "proxy.requests:1|c", 18, 0);
    int size = snprintf(line, sizeof line, "proxy.responses.%u:1|c", outcome->status);
    sent += send(t->statsd, line, (size_t)size, 0);
    size = snprintf(line, sizeof line, "proxy.request_ms:%.3f|ms", (double)(end_ns - m->start_ns) / 1e6);
    sent += send(t->statsd, line, (size_t)size, 0);
    (void)sent; /* nobody there: nobody counts */
}

void telemetry_settle(struct telemetry *t, struct tally *tally) {
    for (uint32_t i = 0; i < tally->count; i++) {
        weir_emit_observe(t->seconds, (double)tally->ends[i].ns / 1e9);
        weir_emit_count(t->responses[tally->ends[i].class], 1);
        if (tally->ends[i].failure != FAILURE_NONE) weir_emit_count(t->failures[tally->ends[i].failure], 1);
    }
    tally->count = 0;
}

void telemetry_end(struct telemetry *t, struct tally *tally, const struct measured *m, const struct outcome *outcome,
                   uint64_t now_ns) {
    if (!m->told) return;
    uint64_t end_ns = m->sampled ? weir_emit_now() : now_ns;
    if (end_ns < m->start_ns) end_ns = m->start_ns; /* the clock was set back meanwhile */
    if (t->statsd >= 0) send_statsd(t, m, outcome, end_ns);
    if (t->emit == NULL) return;
    tally->ends[tally->count].ns = end_ns - m->start_ns;
    tally->ends[tally->count].class = (uint8_t)(outcome->status / 100);
    tally->ends[tally->count].failure = (uint8_t)outcome->failure;
    if (++tally->count == TALLY_ENDS) telemetry_settle(t, tally);
    if (!m->sampled) return;
    if (m->sent_ns != 0) send_client_span(t, m, outcome);
    send_server_span(m, outcome, end_ns);
}

void telemetry_refused(struct telemetry *t, unsigned status) {
    if (t->emit == NULL) return;
    weir_emit_count(t->responses[status / 100], 1);
    weir_emit_count(t->failures[FAILURE_REQUEST], 1);
}
