#define _GNU_SOURCE /* accept4 */
#include "collector/receive/listener.h"
#include "collector/core/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    ACCEPTS_A_ROUND = 64, /* a flood of connections does not keep the lane from those it has */
    PAUSE_MS = 100,       /* without descriptors accept() fails at once, over and over */
    KEEPALIVE_S = 120,    /* a peer that vanished is noticed within KEEPALIVE_S + 9 probes */
};

struct weir_listener {
    struct weir_watch watch; /* first */
    struct weir_timer pause;
    struct weir_loop *loop;
    void (*accepted)(void *self, int fd);
    void *self;
    const char *name;
    bool watched;
};

static void ready(struct weir_watch *watch, uint32_t events) {
    static struct weir_log_limit limit;
    struct weir_listener *listener = (struct weir_listener *)watch;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        int fd = accept4(listener->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1, idle_s = KEEPALIVE_S;
        if (fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
            listener->accepted(listener->self, fd);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno == EINTR || errno == ECONNABORTED) continue;
        weir_log_limited(&limit, WEIR_LOG_ERROR, "accept_failed receiver=%s errno=%d", listener->name, errno);
        weir_loop_unwatch(listener->loop, &listener->watch);
        listener->watched = false;
        weir_loop_set(listener->loop, &listener->pause, weir_loop_now(listener->loop) + PAUSE_MS * WEIR_MS);
        return;
    }
}

static void resume(struct weir_timer *timer) {
    struct weir_listener *listener = (struct weir_listener *)((char *)timer - offsetof(struct weir_listener, pause));
    if (weir_listener_start(listener, NULL) != WEIR_OK)
        weir_loop_set(listener->loop, timer, weir_loop_now(listener->loop) + PAUSE_MS * WEIR_MS);
}

static enum weir_status listen_on(struct weir_listener *listener, const struct addrinfo *info,
                                  const struct weir_listen *listen_at, struct weir_error *err) {
    int on = 1;
    listener->watch.fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->watch.fd < 0) return weir_fail(err, WEIR_IO, errno, false, "%s: socket", listener->name);
    setsockopt(listener->watch.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (setsockopt(listener->watch.fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "%s: SO_REUSEPORT", listener->name);
    }
    if (bind(listener->watch.fd, info->ai_addr, info->ai_addrlen) != 0 || listen(listener->watch.fd, BACKLOG) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "%s: listen on %s port %u", listener->name, listen_at->host,
                         listen_at->port);
    }
    return WEIR_OK;
}

enum weir_status weir_listener_open(struct weir_listener **out, const char *name, const struct weir_listen *listen_at,
                                    struct weir_loop *loop, void (*accepted)(void *self, int fd), void *self,
                                    struct weir_error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", listen_at->port);
    int code = getaddrinfo(listen_at->host[0] == 0 ? NULL : listen_at->host, port, &hints, &list);
    if (code != 0)
        return weir_fail(err, WEIR_IO, 0, false, "%s: %s does not resolve: %s", name, listen_at->host,
                         gai_strerror(code));
    struct weir_listener *listener = calloc(1, sizeof *listener);
    enum weir_status status = WEIR_FULL;
    if (listener == NULL) {
        weir_fail(err, status, 0, false, "%s: out of memory", name);
    } else {
        *listener = (struct weir_listener){.watch = {.fd = -1, .ready = ready},
                                           .pause.fire = resume,
                                           .loop = loop,
                                           .accepted = accepted,
                                           .self = self,
                                           .name = name};
        status = listen_on(listener, list, listen_at, err);
    }
    freeaddrinfo(list);
    if (status != WEIR_OK) {
        weir_listener_close(listener);
        return status;
    }
    *out = listener;
    return WEIR_OK;
}

enum weir_status weir_listener_start(struct weir_listener *listener, struct weir_error *err) {
    enum weir_status status = weir_loop_watch(listener->loop, &listener->watch, EPOLLIN, err);
    listener->watched = status == WEIR_OK;
    return status;
}

void weir_listener_stop(struct weir_listener *listener) {
    weir_loop_unset(listener->loop, &listener->pause);
    if (listener->watched) weir_loop_unwatch(listener->loop, &listener->watch);
    listener->watched = false;
    if (listener->watch.fd >= 0) close(listener->watch.fd);
    listener->watch.fd = -1;
}

uint16_t weir_listener_port(const struct weir_listener *listener) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(listener->watch.fd, (struct sockaddr *)&address, &size) != 0) return 0;
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname() filled it
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): as above
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void weir_listener_close(struct weir_listener *listener) {
    if (listener == NULL) return;
    weir_listener_stop(listener);
    free(listener);
}
