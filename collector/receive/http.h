/* http.h - HTTP/1.1 on one lane, server side, on libmicrohttpd: its epoll descriptor is one watch of the lane's loop,
 * it has no thread. Connections come from receive/listener.h (and, with TLS, through receive/tls.h), so that
 * libmicrohttpd sees plain sockets only. A body is read into a batch whose memory is drawn from the intake budget,
 * inflated where Content-Encoding is gzip or zstd, and handed to its route. */
#ifndef WEIR_RECEIVE_HTTP_H
#define WEIR_RECEIVE_HTTP_H
#include "collector/config/config.h"
#include "collector/core/batch.h"
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/core/receipt.h"
#include "collector/receive/address.h"

struct weir_http;      /* the server on one lane */
struct weir_http_call; /* one request and its answer */

struct weir_http_route {
    const char *method, *path;
    /* A whole body: `*body` is plain, in bytes[0 .. size); who keeps it sets it to NULL. content_type is lower case,
     * without parameters, "" when there was none. Answers now or later, once. */
    void (*called)(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body);
};

struct weir_http_options {
    const char *name;                     /* the receiver's: of metrics and errors */
    const struct weir_http_route *routes; /* ends with path NULL */
    void *self;                           /* the routes' */
    struct weir_budget *budget;
    const struct weir_http_config *config; /* listen, limits, TLS, tokens; copied */
    /* Answers a request that no route is called for: 404, 405, 413, ...; content_type as above. NULL: text/plain. */
    void (*refused)(void *self, struct weir_http_call *call, unsigned status, const char *content_type,
                    const char *text, unsigned retry_after_s);
};

/* Binds; on failure *http stays NULL. */
enum weir_status weir_http_open(struct weir_http **http, struct weir_loop *loop, struct weir_metrics *metrics,
                                const struct weir_http_options *options, struct weir_error *err);
enum weir_status weir_http_start(struct weir_http *http, struct weir_error *err);
void weir_http_reload(struct weir_http *http, const struct weir_http_config *config);
/* Listens no more; requests under way are answered, with Connection: close. */
void weir_http_stop(struct weir_http *http);
bool weir_http_idle(const struct weir_http *http);
/* Accepts NULL. Connections are closed; receipts that are out may be settled until the loop is freed. */
void weir_http_close(struct weir_http *http);
uint16_t weir_http_port(const struct weir_http *http);

/* Of the request; NULL: it has none. While its route is called, not later. */
const char *weir_http_header(struct weir_http_call *call, const char *name);
/* The first value of an argument behind the `?`, unescaped, and how often the argument is there. NULL: it is not, or
 * has no value. While its route is called. */
const char *weir_http_argument(struct weir_http_call *call, const char *name, uint32_t *count);
void weir_http_peer(struct weir_http_call *call,
                    char out[WEIR_ADDRESS_BYTES]); /* who calls; while its route is called */

/* The answer; body is copied. retry_after_s: of 429 and 503, or 0. */
void weir_http_answer(struct weir_http_call *call, unsigned status, const char *content_type, const void *body,
                      size_t size, unsigned retry_after_s);
/* A header more of the answer: right behind weir_http_answer(), in the same call. */
void weir_http_answer_header(struct weir_http_call *call, const char *name, const char *value);
/* A receipt whose settlement calls `settled` (on the lane), which answers. The call stays until then, even when its
 * caller has left. */
struct weir_receipt *weir_http_receipt(struct weir_http_call *call,
                                       void (*settled)(void *self, struct weir_http_call *call));
void weir_http_receipt_drop(struct weir_http_call *call); /* it will not be settled after all */

/* What the route notes between call and answer. */
struct weir_http_note {
    uint64_t rejected;
    char reason[160];
    bool json; /* the caller speaks JSON */
};
struct weir_http_note *weir_http_note(struct weir_http_call *call);
#endif
