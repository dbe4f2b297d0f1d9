/* server.c - the thread's loop, its listener, the pool of connections to upstream. */
#define _GNU_SOURCE /* accept4 */
#include "examples/proxy/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 128, ACCEPTS = 64, TICK_MS = 250, GRACE_MS = 2000 };

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- sockets ---- */

enum { WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP };

static bool watch(struct server *server, int how, struct peer *peer, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    return epoll_ctl(server->epoll, how, peer->fd, &event) == 0;
}

struct peer *peer_open(struct server *server, int fd, enum peer_kind kind) {
    struct peer *peer = calloc(1, sizeof *peer);
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (peer != NULL) *peer = (struct peer){.fd = fd, .kind = kind};
    if (peer != NULL && watch(server, EPOLL_CTL_ADD, peer, WATCHED | EPOLLET)) return peer;
    free(peer);
    return NULL;
}

void peer_again(struct server *server, struct peer *peer) {
    if (peer != NULL) watch(server, EPOLL_CTL_MOD, peer, WATCHED | EPOLLET);
}

void peer_close(struct server *server, struct peer *peer) {
    if (peer == NULL) return;
    close(peer->fd);
    peer->fd = -1;
    peer->exchange = NULL;
    peer->next = server->dead;
    server->dead = peer;
}

static void bury(struct server *server) {
    while (server->dead != NULL) {
        struct peer *peer = server->dead;
        server->dead = peer->next;
        free(peer);
    }
    while (server->closed != NULL) {
        struct exchange *exchange = server->closed;
        server->closed = exchange->next;
        free(exchange);
    }
}

/* ---- upstream ---- */

static struct peer *upstream_connect(struct server *server) {
    int fd = socket(server->options.to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return NULL;
    if (connect(fd, &server->options.to.any, server->options.to.size) != 0 && errno != EINPROGRESS) {
        close(fd);
        return NULL;
    }
    struct peer *peer = peer_open(server, fd, PEER_UPSTREAM);
    if (peer == NULL)
        close(fd);
    else
        peer->connecting = true;
    return peer;
}

struct peer *upstream_take(struct server *server, bool fresh) {
    struct peer *peer = server->idle;
    if (fresh || peer == NULL) return upstream_connect(server);
    server->idle = peer->next; /* the last one that was used: others may grow old */
    server->idle_count--;
    return peer;
}

/* Nothing is to be read, and more may come. */
static bool is_silent(struct peer *peer) {
    char byte;
    if (peer->ended || peer->broken || peer->hangup) return false;
    if (peer->readable && (recv(peer->fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN)) return false;
    peer->readable = false;
    return true;
}

void upstream_give(struct server *server, struct peer *peer) {
    if (server->idle_count >= UPSTREAM_IDLE_MAX || !is_silent(peer)) {
        peer_close(server, peer);
        return;
    }
    peer->exchange = NULL;
    peer->used = true;
    peer->deadline_ms = server->now_ms + server->options.upstream_idle_ms;
    peer->next = server->idle;
    server->idle = peer;
    server->idle_count++;
}

/* Takes those out of the pool that upstream has closed, or that have waited too long. */
static void sweep_idle(struct server *server) {
    struct peer **at = &server->idle;
    while (*at != NULL) {
        struct peer *peer = *at;
        bool over = peer->readable || peer->broken || server->now_ms >= peer->deadline_ms;
        if (!over) {
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        server->idle_count--;
        peer_close(server, peer);
    }
}

/* ---- clients ---- */

/* Makes room when the table is full: whoever waits for a request, nearest to its deadline. */
static void evict(struct server *server) {
    struct exchange *oldest = NULL;
    for (struct exchange *exchange = server->exchanges; exchange != NULL; exchange = exchange->next)
        if (exchange->phase == PHASE_HEAD && (oldest == NULL || exchange->deadline_ms < oldest->deadline_ms))
            oldest = exchange;
    if (oldest != NULL) exchange_close(oldest);
}

static void accept_clients(struct server *server) {
    for (int i = 0; i < ACCEPTS; i++) {
        struct address from = {.size = sizeof from.six};
        int fd = accept4(server->listener.fd, &from.any, &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) evict(server); /* or the listener is ready for ever */
        if (fd < 0) return;
        if (server->exchange_count >= server->options.connections_max) evict(server);
        if (server->exchange_count >= server->options.connections_max || !exchange_open(server, fd, &from)) close(fd);
    }
}

static void expire(struct server *server) {
    struct exchange *exchange = server->exchanges;
    while (exchange != NULL) {
        struct exchange *next = exchange->next;
        if (server->now_ms >= exchange->deadline_ms) exchange_expire(exchange);
        exchange = next;
    }
    sweep_idle(server);
}

/* ---- the loop ---- */

static void handle(struct server *server, struct peer *peer, uint32_t events) {
    if (peer->kind == PEER_LISTENER) {
        accept_clients(server);
        return;
    }
    if (peer->fd < 0) return; /* closed by an event before this one */
    if ((events & EPOLLIN) != 0) peer->readable = true;
    if ((events & EPOLLOUT) != 0) peer->writable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        peer->readable = peer->hangup = true; /* recv() says which */
    if (peer->exchange != NULL)
        exchange_step(peer->exchange);
    else if (peer->readable)
        sweep_idle(server);
}

void server_run(struct server *server, const atomic_bool *stop) {
    struct epoll_event events[EVENTS];
    int64_t tick_ms = clock_ms() + TICK_MS, end_ms = INT64_MAX;
    server->now_ms = clock_ms();
    turns_begin(&server->turns, server->telemetry);
    while (server->now_ms < end_ms && (end_ms == INT64_MAX || server->exchanges != NULL)) {
        int count = epoll_wait(server->epoll, events, EVENTS, TICK_MS);
        server->now_ms = clock_ms();
        server->now_ns = weir_emit_now();
        for (int i = 0; i < count; i++)
            handle(server, events[i].data.ptr, events[i].events);
        bury(server);
        turns_step(&server->turns, server->telemetry);
        if (server->now_ms < tick_ms) continue;
        tick_ms = server->now_ms + TICK_MS;
        telemetry_settle(server->telemetry, &server->tally);
        expire(server);
        bury(server);
        if (!atomic_load(stop)) continue;
        if (end_ms == INT64_MAX) {
            end_ms = server->now_ms + GRACE_MS;
            close(server->listener.fd);
            server->listener.fd = -1;
            server->options.idle_ms = 0;
        }
        while (server->exchange_count > 0 && server->exchanges->phase == PHASE_HEAD)
            evict(server);
    }
    telemetry_settle(server->telemetry, &server->tally);
}

bool server_open(struct server *server, const struct server_options *options, struct telemetry *telemetry, char *error,
                 size_t error_size) {
    const int one = 1;
    *server = (struct server){.options = *options, .telemetry = telemetry, .epoll = -1};
    server->turns.requests = options->turn_requests;
    server->listener = (struct peer){.kind = PEER_LISTENER};
    int fd = server->listener.fd = socket(options->listen.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (fd >= 0 && server->epoll >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0 &&
        bind(fd, &options->listen.any, options->listen.size) == 0 && listen(fd, 1024) == 0 &&
        watch(server, EPOLL_CTL_ADD, &server->listener, EPOLLIN))
        return true;
    snprintf(error, error_size, "listen: %m");
    server_close(server);
    return false;
}

void server_close(struct server *server) {
    while (server->exchanges != NULL)
        exchange_close(server->exchanges);
    while (server->idle != NULL) {
        struct peer *peer = server->idle;
        server->idle = peer->next;
        peer_close(server, peer);
    }
    bury(server);
    telemetry_settle(server->telemetry, &server->tally);
    if (server->listener.fd >= 0) close(server->listener.fd);
    if (server->epoll >= 0) close(server->epoll);
}
