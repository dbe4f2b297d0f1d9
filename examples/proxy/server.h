/* server.h - one thread of the proxy: its sockets, its connections, its upstream connections that wait to be used
 * again. Threads share nothing but the port (SO_REUSEPORT) and the telemetry.
 *
 *   client ──recv──> request.in ──head rewritten, body as it is──> request.out ──send──> upstream
 *   client <──send── response.out <──────────────────────────────── response.in <──recv── upstream
 *
 * Sockets are registered once, edge-triggered; what is ready is remembered in the peer. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H
#include "examples/proxy/address.h"
#include "examples/proxy/http1.h"
#include "examples/proxy/telemetry.h"
#include "examples/proxy/turns.h"

#include <stdatomic.h>

struct server_options {
    struct address listen, to;
    uint32_t connections_max;  /* of clients, a thread; each has four buffers */
    uint32_t idle_ms;          /* a connection waits for its next request */
    uint32_t request_ms;       /* a request has to be there, its body too, and upstream has to be connected */
    uint32_t answer_ms;        /* nothing moves: upstream does not answer, or a client does not read */
    uint32_t turn_requests;    /* of turns that are measured; 0: none */
    uint32_t upstream_idle_ms; /* less than upstream's own, so that it is seldom closed under a request */
};

/* A head that is rewritten grows by the headers of tracing, X-Forwarded-For and Via. */
enum { BUFFER_BYTES = 16384, UPSTREAM_IDLE_MAX = 128 };

struct buffer {
    size_t begin, end;
    char bytes[BUFFER_BYTES];
};

enum peer_kind { PEER_LISTENER, PEER_CLIENT, PEER_UPSTREAM };
struct peer { /* a socket */
    int fd;
    enum peer_kind kind;
    bool readable, writable;
    bool hangup, ended, broken; /* hangup: the end is behind what is to be read; ended: it has been read */
    bool connecting, used;      /* of upstream; used: it has answered before */
    struct exchange *exchange;  /* NULL: waits in the pool, or is dead */
    struct peer *next;          /* in the pool, or among the dead */
    int64_t deadline_ms;        /* in the pool */
};

struct flow {
    struct buffer in, out;
    struct http1_body body;
    bool begun; /* its head has been rewritten into out */
};

/* LINGER: answered, and what still comes is forgotten; a socket closed over unread bytes takes its answer back. */
enum phase { PHASE_HEAD, PHASE_FORWARD, PHASE_LINGER, PHASE_CLOSED };
struct exchange { /* a client's connection, and the request that is under way on it */
    struct server *server;
    struct exchange *next, *previous;
    struct peer *client, *upstream;
    enum phase phase;
    struct flow request, response;
    struct measured measured;
    struct outcome outcome;
    size_t scanned; /* of the head that is awaited */
    int64_t deadline_ms;
    bool counted;             /* telemetry knows of this request */
    bool keep_alive, to_head; /* */
    bool old;                 /* the client speaks HTTP/1.0, and so upstream is spoken to */
    bool replayable;          /* request.out still has all that was sent, and may be sent again */
    bool upstream_keep_alive; /* */
    bool sent, answered_here; /* all of the request; the answer is not upstream's */
    char address[INET6_ADDRSTRLEN];
};

struct server {
    struct server_options options;
    struct telemetry *telemetry;
    int epoll;
    struct peer listener;
    struct exchange *exchanges;
    uint32_t exchange_count, idle_count;
    struct peer *idle, *dead; /* dead: events of this round may still name them */
    struct exchange *closed;
    int64_t now_ms;  /* for deadlines, and */
    uint64_t now_ns; /* Unix time: when the events of this round were taken */
    struct tally tally;
    struct turns turns;
    struct http1_head head; /* of who is looked at now */
};

/* ---- server.c ---- */

bool server_open(struct server *server, const struct server_options *options, struct telemetry *telemetry, char *error,
                 size_t error_size);
/* Until *stop is set; then what is under way has two seconds to end. */
void server_run(struct server *server, const atomic_bool *stop);
void server_close(struct server *server);

/* A connection to upstream, from the pool when it may be a used one; NULL: there is none. */
struct peer *upstream_take(struct server *server, bool fresh);
void upstream_give(struct server *server, struct peer *peer); /* to the pool, or closed when that is full */
/* NULL: the descriptor is still the caller's. */
struct peer *peer_open(struct server *server, int fd, enum peer_kind kind);
void peer_close(struct server *server, struct peer *peer); /* accepts NULL */
void peer_again(struct server *server, struct peer *peer); /* others first; what is ready is told anew */

/* ---- exchange.c ---- */

/* False: the descriptor is still the caller's. */
bool exchange_open(struct server *server, int fd, const struct address *from);
void exchange_step(struct exchange *exchange); /* something may be ready: moves what can be moved */
void exchange_expire(struct exchange *exchange);
void exchange_close(struct exchange *exchange); /* freed when the round is over */

/* ---- heads.c ---- */

void write_request_head(struct exchange *exchange, const struct http1_head *head);
void write_response_head(struct exchange *exchange, const struct http1_head *head);
void write_answer(struct exchange *exchange, unsigned status); /* of the proxy's own */
#endif
