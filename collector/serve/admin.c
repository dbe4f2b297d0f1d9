#include "collector/serve/admin.h"
#include "collector/core/hex.h"
#include "collector/core/log.h"
#include "collector/core/loop.h"
#include "collector/core/openmetrics.h"
#include "collector/receive/http_peers.h"
#include "collector/receive/listener.h"
#include "collector/receive/sampling.h"
#include "collector/receive/tls.h"
#include "collector/receive/tokens.h"
#include "collector/serve/watch.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

/* 64 MiB of text is far beyond 100,000 series; a page larger than that is a mistake somewhere. */
enum { PAGE_BYTES_MAX = 64 * 1024 * 1024, CONNECTIONS_MAX = 64, IDLE_SECONDS = 60 };
/* A request that is whole so late, and an answer that is read so slowly, keep one of few places for nobody. */
enum { OPEN_PAGES_BYTES_MAX = 2 * PAGE_BYTES_MAX /* of /metrics, that are not read to their end */ };
enum { REQUEST_SECONDS = IDLE_SECONDS + 10, ANSWER_SECONDS = 120 };

enum { SCRAPES, SCRAPE_NS, SCRAPE_BYTES, ADMIN_METRICS };
static const struct weir_metric admin_metrics[ADMIN_METRICS] = {
    [SCRAPES] = {"scrapes_total", NULL, WEIR_COUNTER, "Pages of /metrics served."},
    [SCRAPE_NS] = {"scrape_seconds_total", NULL, WEIR_COUNTER_NS, "Time spent making pages of /metrics."},
    [SCRAPE_BYTES] = {"scrape_bytes", NULL, WEIR_GAUGE, "Size of the last page of /metrics, before compression."},
};

struct weir_admin {
    struct weir_watch watch; /* first; libmicrohttpd's epoll descriptor */
    struct weir_timer timer;
    struct weir_loop *loop;
    pthread_t thread;
    bool running;
    struct weir_listener *listener;
    struct weir_tls *tls; /* NULL: plain */
    struct weir_tls_pumps *pumps;
    struct weir_tokens *tokens; /* NULL: anybody may ask */
    struct MHD_Daemon *daemon;
    struct weir_http_peers *peers;
    struct weir_watching *watching;
    struct weir_admin_calls calls;
    _Atomic bool lifecycle;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    const struct weir_clock *clock;
    size_t open_pages_bytes;
};

static const char index_page[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Weir</title><style>"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color:#1d2733}"
    "code{background:#eef2f5;padding:.1em .35em;border-radius:3px}li{margin:.4em 0}</style></head><body>"
    "<h1>Weir</h1><p>A telemetry collector for service meshes.</p><ul>"
    "<li><a href=\"/metrics\">/metrics</a> &mdash; every series, for Prometheus (scrape with <code>honor_labels: "
    "true</code>)</li>"
    "<li><a href=\"/-/ready\">/-/ready</a> &mdash; 200 while Weir takes work</li>"
    "<li><a href=\"/-/healthy\">/-/healthy</a> &mdash; 200 while the process runs</li>"
    "<li><a href=\"/tail\">/tail</a> &mdash; traces as they are decided, as JSON lines that do not end; "
    "<code>weir tail</code> draws them. Filters: <code>service rule errors min_duration dropped</code></li>"
    "<li><code>/explain?trace_id=HEX</code> &mdash; rule by rule, why a trace was kept or not</li>"
    "<li><a href=\"/policy\">/policy</a> &mdash; what proxies are told to sample, at what cost, and who follows it; "
    "<code>weir policy show</code> draws it</li>"
    "<li><code>/sampling?service=NAME</code> &mdash; what Jaeger's clients of a service are told</li>"
    "<li><code>POST /-/reload</code> &mdash; read the configuration again</li></ul></body></html>\n";

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct MHD_Response *response) {
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *text) {
    return answer(connection, status, "text/plain; charset=utf-8",
                  MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY));
}

/* Does Accept-Encoding take gzip? RFC 9110 12.5.3: a list of codings, each perhaps with ;q=, where q=0 refuses. */
static bool takes_gzip(struct MHD_Connection *connection) {
    const char *accepts = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    const char *at = accepts == NULL ? NULL : strstr(accepts, "gzip");
    if (at == NULL) return false;
    at += 4;
    while (*at == ' ')
        at++;
    if (*at != ';') return true;
    double q = 1;
    return sscanf(at, "; q = %lf", &q) != 1 || q > 0;
}

/* gzip in one go into malloc'ed memory; NULL = no memory. */
static uint8_t *gzip(const uint8_t *bytes, size_t size, size_t *out_size) {
    z_stream z = {0};
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return NULL;
    size_t bound = deflateBound(&z, (uLong)size);
    uint8_t *out = malloc(bound);
    if (out != NULL) {
        z.next_in = (Bytef *)(uintptr_t)bytes;
        z.avail_in = (uInt)size;
        z.next_out = out;
        z.avail_out = (uInt)bound;
        if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
            free(out);
            out = NULL;
        }
        *out_size = z.total_out;
    }
    deflateEnd(&z);
    return out;
}

/* A page of /metrics on its way; who asks for many and reads none must not make them pile up. */
struct page {
    struct weir_admin *admin;
    size_t size;
    uint8_t *bytes;
};

static void free_page(void *self) {
    struct page *page = self;
    page->admin->open_pages_bytes -= page->size;
    free(page->bytes);
    free(page);
}

/* Owns the bytes from here on. NULL: no memory. */
static struct MHD_Response *respond_page(struct weir_admin *admin, uint8_t *bytes, size_t size) {
    struct page *page = malloc(sizeof *page);
    struct MHD_Response *response = NULL;
    if (page != NULL) {
        *page = (struct page){.admin = admin, .size = size, .bytes = bytes};
        response = MHD_create_response_from_buffer_with_free_callback_cls(size, bytes, free_page, page);
    }
    if (response != NULL) {
        admin->open_pages_bytes += size;
        return response;
    }
    free(page);
    free(bytes);
    return NULL;
}

static enum MHD_Result answer_metrics(struct weir_admin *admin, struct MHD_Connection *connection) {
    if (admin->open_pages_bytes >= OPEN_PAGES_BYTES_MAX)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many pages are being read already\n");
    uint64_t began_ns = weir_mono_ns(admin->clock);
    struct weir_buffer page = {.limit = PAGE_BYTES_MAX};
    bool open_metrics =
        weir_openmetrics_wanted(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    admin->calls.expose(admin->calls.self, open_metrics, &page);
    if (open_metrics && !page.failed) {
        struct weir_buffer rewritten = {.limit = PAGE_BYTES_MAX};
        weir_openmetrics_write(&rewritten, page.bytes, page.size);
        weir_buffer_free(&page);
        page = rewritten;
    }
    weir_count_shared(admin->set, SCRAPES, 1);
    weir_count_shared(admin->set, SCRAPE_NS, weir_mono_ns(admin->clock) - began_ns);
    weir_gauge(admin->set, SCRAPE_BYTES, page.size);
    if (page.failed) {
        weir_buffer_free(&page);
        weir_log(WEIR_LOG_ERROR, "scrape_failed reason=\"the page is larger than %d bytes or memory is used up\"",
                 PAGE_BYTES_MAX);
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n");
    }
    size_t size = page.size;
    uint8_t *bytes = page.bytes;
    uint8_t *packed = takes_gzip(connection) ? gzip(bytes, size, &size) : NULL;
    if (packed != NULL) {
        free(bytes);
        bytes = packed;
    }
    struct MHD_Response *response = respond_page(admin, bytes, size);
    if (response != NULL && packed != NULL) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    if (response != NULL) MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
    return answer(connection, MHD_HTTP_OK,
                  open_metrics ? WEIR_OPENMETRICS_TYPE : "text/plain; version=0.0.4; charset=utf-8", response);
}

static bool is_loopback(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL) return false;
    const struct sockaddr *address = info->client_addr;
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    if (address->sa_family != AF_INET6) return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

static enum MHD_Result answer_reload(struct weir_admin *admin, struct MHD_Connection *connection) {
    if (!atomic_load(&admin->lifecycle) && !is_loopback(connection)) {
        return answer_text(connection, MHD_HTTP_FORBIDDEN,
                           "reload is for loopback only; set admin.lifecycle: true to allow it from elsewhere\n");
    }
    struct weir_buffer text = {0};
    bool ok = admin->calls.reload(admin->calls.self, &text);
    weir_buffer_byte(&text, 0);
    enum MHD_Result result = answer_text(connection, ok ? MHD_HTTP_OK : MHD_HTTP_BAD_REQUEST,
                                         text.failed ? "out of memory\n" : (const char *)text.bytes);
    weir_buffer_free(&text);
    return result;
}

static enum MHD_Result answer_ready(struct weir_admin *admin, struct MHD_Connection *connection) {
    const char *why = admin->calls.not_ready(admin->calls.self);
    char text[128];
    snprintf(text, sizeof text, "%s\n", why == NULL ? "ready" : why);
    return answer_text(connection, why == NULL ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static enum MHD_Result answer_tail(struct weir_admin *admin, struct MHD_Connection *connection) {
    struct MHD_Response *response;
    struct weir_error why = {0};
    unsigned status = weir_watching_open(admin->watching, connection, &response, &why);
    if (status == MHD_HTTP_OK) {
        weir_http_peer_within(admin->peers, connection, 0); /* it has no end */
        return answer(connection, status, "application/x-ndjson", response);
    }
    char text[sizeof why.text + 8];
    snprintf(text, sizeof text, "%s\n", why.text);
    return answer_text(connection, status, text);
}

/* 32 hex digits, or 16 for ids of 64 bits, as they stand in Zipkin and in headers. */
static bool read_trace_id(const char *text, uint64_t *hi, uint64_t *lo) {
    uint8_t id[16] = {0};
    size_t size = text == NULL ? 0 : strlen(text);
    if ((size != 32 && size != 16) || !weir_hex_decode(text, size, id + (32 - size) / 2)) return false;
    *hi = *lo = 0;
    for (unsigned i = 0; i < 8; i++) {
        *hi = *hi << 8 | id[i];
        *lo = *lo << 8 | id[8 + i];
    }
    return (*hi | *lo) != 0;
}

static enum MHD_Result answer_explain(struct weir_admin *admin, struct MHD_Connection *connection) {
    uint64_t hi, lo;
    if (!read_trace_id(MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "trace_id"), &hi, &lo))
        return answer_text(connection, MHD_HTTP_BAD_REQUEST,
                           "trace_id: 32 hex digits are needed, or 16 for an id of 64 bits, not all of them zero\n");
    struct weir_buffer text = {.limit = PAGE_BYTES_MAX};
    bool known = admin->calls.explain(admin->calls.self, hi, lo, &text);
    weir_buffer_byte(&text, 0);
    enum MHD_Result result = answer_text(connection,
                                         text.failed ? MHD_HTTP_INTERNAL_SERVER_ERROR
                                         : known     ? MHD_HTTP_OK
                                                     : MHD_HTTP_NOT_FOUND,
                                         text.failed ? "out of memory\n" : (const char *)text.bytes);
    weir_buffer_free(&text);
    return result;
}

static enum MHD_Result answer_policy(struct weir_admin *admin, struct MHD_Connection *connection) {
    struct weir_buffer text = {.limit = PAGE_BYTES_MAX};
    admin->calls.policy(admin->calls.self, &text);
    if (text.failed) {
        weir_buffer_free(&text);
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n");
    }
    return answer(connection, MHD_HTTP_OK, "application/json",
                  MHD_create_response_from_buffer(text.size, text.bytes, MHD_RESPMEM_MUST_FREE));
}

/* Whoever looks here follows nothing: clients ask the receiver `sampling`. */
static enum MHD_Result answer_sampling(struct weir_admin *admin, struct MHD_Connection *connection) {
    char address[WEIR_ADDRESS_BYTES], etag[WEIR_SAMPLING_ETAG_BYTES];
    struct weir_sampling_question question = {
        .address = address,
        .if_none_match = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH)};
    struct weir_buffer text = {.limit = PAGE_BYTES_MAX};
    weir_http_peer_address(connection, address);
    question.service = weir_http_peer_argument(connection, "service", &question.services);
    unsigned status = weir_sampling_answer(admin->calls.steering, admin->calls.names, &question, false, &text, etag);
    if (text.failed) {
        weir_buffer_free(&text);
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(text.size, text.bytes, MHD_RESPMEM_MUST_COPY);
    weir_buffer_free(&text);
    if (response != NULL && etag[0] != 0) MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
    return answer(connection, status, status < 400 ? "application/json" : "text/plain; charset=utf-8", response);
}

static enum MHD_Result answer_unauthorized(struct MHD_Connection *connection) {
    static const char text[] = "a bearer token is asked for\n";
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof text - 1, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (response != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer"); /* RFC 6750 3 */
    return answer(connection, MHD_HTTP_UNAUTHORIZED, "text/plain; charset=utf-8", response);
}

static bool is_allowed(struct weir_admin *admin, struct MHD_Connection *connection) {
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    return weir_tokens_allow(admin->tokens, value, value == NULL ? 0 : strlen(value));
}

static enum MHD_Result handle(void *self, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state) {
    struct weir_admin *admin = self;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* headers only; answer when the body (which nothing here reads) has gone by */
        *state = admin;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    weir_http_peer_within(admin->peers, connection, ANSWER_SECONDS * WEIR_S);
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    /* Health is anybody's: what orchestrators probe with sends no token. */
    if (get && (strcmp(url, "/-/healthy") == 0 || strcmp(url, "/healthz") == 0))
        return answer_text(connection, MHD_HTTP_OK, "healthy\n");
    if (get && (strcmp(url, "/-/ready") == 0 || strcmp(url, "/readyz") == 0)) return answer_ready(admin, connection);
    if (!is_allowed(admin, connection)) return answer_unauthorized(connection);
    if (strcmp(url, "/-/reload") == 0) {
        if (strcmp(method, "POST") == 0) return answer_reload(admin, connection);
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "POST /-/reload\n");
    }
    if (!get) return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
    if (strcmp(url, "/metrics") == 0) return answer_metrics(admin, connection);
    if (strcmp(url, "/tail") == 0) return answer_tail(admin, connection);
    if (strcmp(url, "/explain") == 0) return answer_explain(admin, connection);
    if (strcmp(url, "/policy") == 0) return answer_policy(admin, connection);
    if (strcmp(url, "/sampling") == 0) return answer_sampling(admin, connection);
    if (strcmp(url, "/") == 0) {
        return answer(connection, MHD_HTTP_OK, "text/html; charset=utf-8",
                      MHD_create_response_from_buffer(sizeof index_page - 1, (void *)(uintptr_t)index_page,
                                                      MHD_RESPMEM_PERSISTENT));
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "no such page; see /\n");
}

/* ---- libmicrohttpd on the loop ---- */

static void connection_changed(void *self, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode code) {
    struct weir_admin *admin = self;
    weir_http_peers_changed(admin->peers, connection, context, code);
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        weir_http_peer_within(admin->peers, connection, REQUEST_SECONDS * WEIR_S);
}

static void completed(void *self, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code) {
    struct weir_admin *admin = self;
    (void)state, (void)code;
    weir_http_peer_within(admin->peers, connection, REQUEST_SECONDS * WEIR_S); /* for the next one */
}

static void run(void *self) {
    struct weir_admin *admin = self;
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    MHD_run(admin->daemon);
    if (MHD_get_timeout(admin->daemon, &timeout_ms) == MHD_YES) {
        weir_loop_set(admin->loop, &admin->timer, weir_loop_now(admin->loop) + timeout_ms * WEIR_MS);
    } else {
        weir_loop_unset(admin->loop, &admin->timer);
    }
}

static void ready(struct weir_watch *watch, uint32_t events) {
    (void)events;
    run(watch);
}

static void due(struct weir_timer *timer) {
    run((char *)timer - offsetof(struct weir_admin, timer));
}

static void accepted(void *self, int fd) {
    struct weir_admin *admin = self;
    struct sockaddr_storage peer = {0}; /* for is_loopback(): through a pump the socket is another */
    socklen_t size = sizeof peer;
    bool known = getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
    fd = weir_tls_pump(admin->pumps, admin->tls, fd);
    if (fd >= 0) MHD_add_connection(admin->daemon, fd, known ? (struct sockaddr *)&peer : NULL, known ? size : 0);
}

static void *serve(void *self) {
    struct weir_admin *admin = self;
    weir_loop_run(admin->loop);
    return NULL;
}

/* ---- life ---- */

static enum weir_status start(struct weir_admin *admin, struct weir_error *err) {
    admin->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
                         admin, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, admin,
                         MHD_OPTION_NOTIFY_COMPLETED, completed, admin, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        admin->daemon == NULL ? NULL : MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) return weir_fail(err, WEIR_IO, 0, false, "admin: libmicrohttpd does not start");
    admin->watch = (struct weir_watch){.fd = info->epoll_fd, .ready = ready};
    admin->timer.fire = due;
    enum weir_status status = weir_loop_watch(admin->loop, &admin->watch, EPOLLIN, err);
    if (status == WEIR_OK) status = weir_listener_start(admin->listener, err);
    if (status != WEIR_OK) return status;
    weir_tls_watch(admin->tls, admin->loop);
    int failed = pthread_create(&admin->thread, NULL, serve, admin);
    if (failed != 0) return weir_fail(err, WEIR_IO, failed, false, "admin: no thread");
    admin->running = true;
    return WEIR_OK;
}

enum weir_status weir_admin_open(struct weir_admin **out, const struct weir_admin_options *options,
                                 const struct weir_admin_calls *calls, struct weir_metrics *metrics,
                                 const struct weir_clock *clock, struct weir_error *err) {
    struct weir_admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL) return weir_fail(err, WEIR_FULL, 0, false, "admin: out of memory");
    admin->calls = *calls;
    admin->metrics = metrics;
    admin->clock = clock;
    atomic_init(&admin->lifecycle, options->lifecycle);
    admin->set = weir_metrics_open(metrics, admin_metrics, ADMIN_METRICS, NULL);
    admin->loop = weir_loop_new(clock, err);
    if (admin->loop != NULL) admin->pumps = weir_tls_pumps_new(admin->loop);
    if (admin->loop != NULL) admin->peers = weir_http_peers_new(admin->loop);
    enum weir_status status = WEIR_OK;
    if (admin->loop != NULL) admin->watching = weir_watching_new(calls->taps, admin->loop, run, admin);
    if (admin->set == NULL || admin->pumps == NULL || admin->peers == NULL || admin->watching == NULL)
        status = weir_fail(err, WEIR_FULL, 0, false, "admin: out of memory");
    if (status == WEIR_OK)
        status = weir_tls_open(&admin->tls, "admin", options->tls, "http/1.1,http/1.0", metrics, err);
    if (status == WEIR_OK) status = weir_tokens_open(&admin->tokens, "admin", options->bearer_token_file, err);
    if (status == WEIR_OK)
        status = weir_listener_open(&admin->listener, "admin", options->listen, admin->loop, accepted, admin, err);
    if (status == WEIR_OK) status = start(admin, err);
    if (status != WEIR_OK) {
        weir_admin_close(admin);
        return status;
    }
    *out = admin;
    return WEIR_OK;
}

void weir_admin_set_lifecycle(struct weir_admin *admin, bool lifecycle) {
    atomic_store(&admin->lifecycle, lifecycle);
}

void weir_admin_close(struct weir_admin *admin) {
    if (admin == NULL) return;
    if (admin->running) {
        weir_loop_stop(admin->loop);
        pthread_join(admin->thread, NULL);
    }
    weir_listener_close(admin->listener);
    weir_watching_end(admin->watching);
    if (admin->daemon != NULL) MHD_run(admin->daemon); /* so that resumed streams are seen to end */
    if (admin->daemon != NULL) MHD_stop_daemon(admin->daemon);
    weir_http_peers_free(admin->peers);
    weir_watching_free(admin->watching);
    weir_tls_pumps_free(admin->pumps);
    weir_tls_close(admin->tls);
    weir_tokens_close(admin->tokens);
    weir_loop_free(admin->loop);
    weir_metrics_close(admin->metrics, admin->set);
    free(admin);
}
