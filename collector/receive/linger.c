#include "collector/receive/linger.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGERING_MAX = 64, LINGER_S = 2, DROPPED_BYTES_MAX = 64 << 20, READS_A_ROUND = 8 };

struct lingering {
    struct weir_watch watch; /* first */
    struct weir_timer timer;
    struct lingering *next, **at;
    struct weir_linger *linger;
    size_t dropped_bytes;
};

struct weir_linger {
    struct weir_loop *loop;
    struct lingering *first;
    unsigned count;
    uint8_t scratch[64 * 1024];
};

struct weir_linger *weir_linger_new(struct weir_loop *loop) {
    struct weir_linger *linger = calloc(1, sizeof *linger);
    if (linger != NULL) linger->loop = loop;
    return linger;
}

static void end(struct lingering *one) {
    struct weir_linger *linger = one->linger;
    weir_loop_unset(linger->loop, &one->timer);
    weir_loop_unwatch(linger->loop, &one->watch);
    close(one->watch.fd);
    *one->at = one->next;
    if (one->next != NULL) one->next->at = one->at;
    linger->count--;
    free(one);
}

static void ready(struct weir_watch *watch, uint32_t events) {
    struct lingering *one = (struct lingering *)watch;
    (void)events;
    for (int i = 0; i < READS_A_ROUND; i++) {
        ssize_t n = recv(watch->fd, one->linger->scratch, sizeof one->linger->scratch, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n > 0) one->dropped_bytes += (size_t)n;
        if (n <= 0 || one->dropped_bytes > DROPPED_BYTES_MAX) {
            end(one);
            return;
        }
    }
}

static void due(struct weir_timer *timer) {
    end((struct lingering *)((char *)timer - offsetof(struct lingering, timer)));
}

void weir_linger_take(struct weir_linger *linger, int fd) {
    struct lingering *one = linger->count < LINGERING_MAX ? calloc(1, sizeof *one) : NULL;
    if (one == NULL) {
        close(fd);
        return;
    }
    *one = (struct lingering){.watch = {.fd = fd, .ready = ready},
                              .timer.fire = due,
                              .next = linger->first,
                              .at = &linger->first,
                              .linger = linger};
    shutdown(fd, SHUT_WR);
    if (weir_loop_watch(linger->loop, &one->watch, EPOLLIN, NULL) != WEIR_OK) {
        close(fd);
        free(one);
        return;
    }
    if (one->next != NULL) one->next->at = &one->next;
    linger->first = one;
    linger->count++;
    weir_loop_set(linger->loop, &one->timer, weir_loop_now(linger->loop) + LINGER_S * WEIR_S);
}

void weir_linger_free(struct weir_linger *linger) {
    if (linger == NULL) return;
    for (struct lingering *one = linger->first, *next; one != NULL; one = next) {
        next = one->next;
        end(one);
    }
    free(linger);
}
