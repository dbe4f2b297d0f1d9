/* telemetry.h - what the proxy says of its requests: all that it knows of libweir_emit is in telemetry.c.
 * A request that is not sampled is counted, and its time observed; one that is sampled is two spans, server and client.
 */
#ifndef PROXY_TELEMETRY_H
#define PROXY_TELEMETRY_H
#include "emitter/weir_emit.h"
#include "examples/proxy/http1.h"

#include <stdatomic.h>
#include <stdio.h>

enum { TELEMETRY_ROUTES_MAX = 30, TELEMETRY_HEADER_BYTES_MAX = 1600 };

struct telemetry_options {
    const char *weir, *service, *statsd; /* addresses are numeric; NULL: none */
    const char *const *routes;           /* as "/orders/{id}"; a `*` at the end takes all that is left */
    size_t route_count;
    const char *key_file; /* datagrams are signed; NULL: not */
    double rate;          /* until Weir has told one */
    uint32_t poll_ms;
    unsigned threads;
    char to[64]; /* where requests go, for spans */
};

struct telemetry;
/* NULL: error says why. */
struct telemetry *telemetry_open(const struct telemetry_options *options, char *error, size_t error_size);
void telemetry_close(struct telemetry *telemetry, FILE *out); /* says what was sent, as JSON */
/* Requests that begin from now on are neither traced nor counted, or are again: what it costs is measured so, in one
 * process. Any thread. */
void telemetry_turn(struct telemetry *telemetry);

enum { TALLY_ENDS = 64 };

/* A thread's own, 0 at first. What ends is noted here and told together: between two system calls the caches are the
 * kernel's, so that what 64 requests need at once is fetched once for them and not 64 times. */
struct tally {
    struct weir_emit_context context; /* of the request that has just begun: one line for all of them */
    uint32_t count;
    struct {
        uint64_t ns;
        uint8_t class, failure;
    } ends[TALLY_ENDS];
};
/* Tells what has been noted. The thread calls it a few times a second, and at its end. */
void telemetry_settle(struct telemetry *telemetry, struct tally *tally);

/* One request. */
struct measured {
    bool told, sampled; /* told: traced or not, somebody hears of it */
    bool b3, b3_multi;  /* formats are answered in kind, beside traceparent */
    uint64_t start_ns, sent_ns, answered_ns;
    struct weir_emit_operation *operation;
    struct weir_emit_context server, client; /* of the two spans of a sampled one */
    size_t method_size, path_size, host_size;
    char method[16], path[200], host[100]; /* of a sampled one */
};

enum failure {
    FAILURE_NONE,
    FAILURE_CONNECT,
    FAILURE_TIMEOUT,
    FAILURE_UPSTREAM,
    FAILURE_REQUEST,
    FAILURE_GONE,
    FAILURES
};

struct outcome {
    unsigned status; /* as the client saw it; 0: it saw none */
    enum failure failure;
    uint64_t body_bytes;
    unsigned tries;     /* connections that were tried */
    const char *client; /* its address */
};

/* A request's head has been read: counts it, goes on with its trace or begins one. Headers of tracing are marked
 * `drop`. now_ns  when the events were taken that it came with: a clock that is read once for all of them */
void telemetry_begin(struct telemetry *telemetry, struct tally *tally, struct measured *measured,
                     struct http1_head *head, uint64_t now_ns);
/* What goes upstream instead, of the request that began last; the bytes written. */
size_t telemetry_headers(struct telemetry *telemetry, const struct tally *tally, struct measured *measured,
                         char out[TELEMETRY_HEADER_BYTES_MAX]);
void telemetry_answered(struct measured *measured); /* all of the answer has come from upstream */
/* now_ns as above; a sampled request reads the clock. */
void telemetry_end(struct telemetry *telemetry, struct tally *tally, const struct measured *measured,
                   const struct outcome *outcome, uint64_t now_ns);
/* What came was no request; it was answered so. */
void telemetry_refused(struct telemetry *telemetry, unsigned status);
#endif
