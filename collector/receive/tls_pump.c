/* A stream poured into a descriptor: one end of a socket pair is its user's, the other is here. */
#include "collector/core/log.h"
#include "collector/receive/tls_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PIPE_BYTES = 64 * 1024, /* some records of TLS; taken only while something waits */
    PATIENCE_S = 10,        /* for what is left when the user is done, to be taken by its peer */
};

/* What was read on one side and not yet written on the other. */
struct pipe {
    uint8_t *bytes; /* NULL: nothing waits */
    size_t size, at;
    bool ended, shut; /* nothing more is read; the writing side was told */
};

struct side {
    struct weir_watch watch; /* first */
    struct pump *pump;
    uint32_t events; /* 0: not watched */
};

struct pump {
    struct side outer, inner; /* the peer; the user */
    struct weir_timer timer;
    struct weir_tls_pumps *pumps;
    struct pump *next, **slot;
    struct weir_stream *stream;
    struct pipe in, out; /* to the user; to the peer */
    bool left;           /* the user is done; what it wrote may still be on its way */
};

struct weir_tls_pumps {
    struct weir_loop *loop;
    struct pump *first;
};

static void end(struct pump *pump) {
    struct weir_loop *loop = pump->pumps->loop;
    if (pump->outer.events != 0) weir_loop_unwatch(loop, &pump->outer.watch);
    if (pump->inner.events != 0) weir_loop_unwatch(loop, &pump->inner.watch);
    weir_loop_unset(loop, &pump->timer);
    pump->stream->kind->close(pump->stream);
    close(pump->inner.watch.fd);
    *pump->slot = pump->next;
    if (pump->next != NULL) pump->next->slot = pump->slot;
    free(pump->in.bytes);
    free(pump->out.bytes);
    free(pump);
}

/* ---- one way ---- */

static ssize_t socket_outcome(ssize_t n) {
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? WEIR_STREAM_LATER : WEIR_STREAM_BROKEN;
}

static ssize_t read_side(struct pump *pump, bool in, uint8_t *bytes, size_t size) {
    if (!in) {
        ssize_t n = socket_outcome(recv(pump->inner.watch.fd, bytes, size, 0));
        return n == WEIR_STREAM_BROKEN ? WEIR_STREAM_END : n; /* it closed over bytes that it had not read */
    }
    /* Behind the end of the outgoing side nobody wants what still comes; it is only taken from the socket, which would
     * else answer it with a reset that may overtake what was written last. */
    if (pump->out.shut) return socket_outcome(recv(pump->outer.watch.fd, bytes, size, 0));
    return pump->stream->kind->read(pump->stream, bytes, size);
}

static ssize_t write_side(struct pump *pump, bool in, const uint8_t *bytes, size_t size) {
    if (!in) return pump->stream->kind->write(pump->stream, bytes, size);
    ssize_t n = socket_outcome(send(pump->inner.watch.fd, bytes, size, MSG_NOSIGNAL));
    return n == WEIR_STREAM_BROKEN ? (ssize_t)size : n; /* the user is done; what it wrote before still leaves */
}

/* Reads once and writes as far as it goes. False: broken. */
static bool move(struct pump *pump, bool in) {
    struct pipe *pipe = in ? &pump->in : &pump->out;
    if (pipe->bytes == NULL && !pipe->ended) {
        pipe->bytes = malloc(PIPE_BYTES);
        if (pipe->bytes == NULL) return false;
        ssize_t n = read_side(pump, in, pipe->bytes, PIPE_BYTES);
        if (n == WEIR_STREAM_BROKEN) return false;
        pipe->ended = n == WEIR_STREAM_END;
        pipe->size = n > 0 ? (size_t)n : 0;
        pipe->at = 0;
    }
    while (pipe->bytes != NULL && pipe->at < pipe->size) {
        ssize_t n = write_side(pump, in, pipe->bytes + pipe->at, pipe->size - pipe->at);
        if (n == WEIR_STREAM_BROKEN) return false;
        if (n == WEIR_STREAM_LATER) return true;
        pipe->at += (size_t)n;
    }
    free(pipe->bytes);
    pipe->bytes = NULL;
    if (!pipe->ended || pipe->shut) return true;
    pipe->shut = true;
    if (in) {
        shutdown(pump->inner.watch.fd, SHUT_WR);
    } else {
        weir_tls_finish(pump->stream);
    }
    return true;
}

/* ---- both ---- */

/* Who waits for nothing is not watched at all: an end that cannot be passed on yet would be told over and over. */
static bool watch(struct side *side, uint32_t events) {
    struct weir_loop *loop = side->pump->pumps->loop;
    uint32_t before = side->events;
    if (events == before) return true;
    side->events = events;
    if (before == 0) return weir_loop_watch(loop, &side->watch, events, NULL) == WEIR_OK;
    if (events == 0) {
        weir_loop_unwatch(loop, &side->watch);
    } else {
        weir_loop_rewatch(loop, &side->watch, events);
    }
    return true;
}

static bool wait_for_more(struct pump *pump) {
    const struct pipe *in = &pump->in, *out = &pump->out;
    uint32_t outer = 0, inner = 0;
    if (in->bytes == NULL && !in->ended) outer |= EPOLLIN;
    if (out->bytes != NULL) outer |= EPOLLOUT;
    if (out->bytes == NULL && !out->ended) inner |= EPOLLIN;
    if (in->bytes != NULL) inner |= EPOLLOUT;
    if (!pump->left) inner |= EPOLLRDHUP; /* also while nothing of it can be taken */
    uint32_t wants = out->shut ? 0 : pump->stream->kind->wants(pump->stream);
    /* What OpenSSL holds can wait while there is no room for it. */
    if (wants != 0 && outer != 0) outer = wants;
    if (!watch(&pump->outer, outer)) {
        pump->outer.events = 0;
        return false;
    }
    if (!watch(&pump->inner, inner)) {
        pump->inner.events = 0;
        return false;
    }
    return true;
}

static void user_left(struct pump *pump) {
    struct weir_loop *loop = pump->pumps->loop;
    if (!pump->left) weir_loop_set(loop, &pump->timer, weir_loop_now(loop) + PATIENCE_S * WEIR_S);
    pump->left = true;
}

static void go_on(struct pump *pump) {
    if (!move(pump, true) || !move(pump, false) || (pump->in.ended && pump->out.shut)) {
        end(pump);
        return;
    }
    if (pump->out.ended) user_left(pump);
    if (!wait_for_more(pump)) end(pump);
}

static void ready(struct weir_watch *watched, uint32_t events) {
    struct pump *pump = ((struct side *)watched)->pump;
    if (watched == &pump->inner.watch && (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0) user_left(pump);
    go_on(pump);
}

static void patience_ends(struct weir_timer *timer) {
    end((struct pump *)((char *)timer - offsetof(struct pump, timer)));
}

/* ---- life ---- */

struct weir_tls_pumps *weir_tls_pumps_new(struct weir_loop *loop) {
    struct weir_tls_pumps *pumps = calloc(1, sizeof *pumps);
    if (pumps != NULL) pumps->loop = loop;
    return pumps;
}

int weir_tls_pump(struct weir_tls_pumps *pumps, struct weir_tls *tls, int fd) {
    static struct weir_log_limit limit;
    if (tls == NULL) return fd;
    struct weir_stream *stream = weir_tls_stream(tls, fd);
    if (stream == NULL) return -1;
    int pair[2];
    struct pump *pump = calloc(1, sizeof *pump);
    if (pump == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        weir_log_limited(&limit, WEIR_LOG_ERROR, "tls_pump_failed errno=%d", errno);
        stream->kind->close(stream);
        free(pump);
        return -1;
    }
    pump->outer = (struct side){.watch = {.fd = stream->kind->fd(stream), .ready = ready}, .pump = pump};
    pump->inner = (struct side){.watch = {.fd = pair[0], .ready = ready}, .pump = pump};
    pump->timer.fire = patience_ends;
    pump->pumps = pumps;
    pump->stream = stream;
    pump->next = pumps->first;
    pump->slot = &pumps->first;
    if (pump->next != NULL) pump->next->slot = &pump->next;
    pumps->first = pump;
    if (!wait_for_more(pump)) {
        end(pump);
        close(pair[1]);
        return -1;
    }
    return pair[1];
}

void weir_tls_pumps_free(struct weir_tls_pumps *pumps) {
    if (pumps == NULL) return;
    for (struct pump *pump = pumps->first, *next; pump != NULL; pump = next) {
        next = pump->next;
        while (move(pump, false) && pump->out.bytes == NULL && !pump->out.shut && pump->out.size > 0)
            ; /* what the user wrote last, as far as its peer takes it */
        end(pump);
    }
    free(pumps);
}
