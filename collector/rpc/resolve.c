#include "collector/rpc/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct weir_rpc_resolve {
    _Atomic unsigned owners; /* the caller, and the thread while it runs: getaddrinfo() cannot be told to stop */
    _Atomic bool done;       /* what is below is written before it is set */
    int fd;
    int failed, sys;            /* of getaddrinfo(), and its errno */
    struct addrinfo *addresses; /* the caller's from weir_rpc_resolve_done() on */
    char host[256], port[8];
};

static void let_go(struct weir_rpc_resolve *resolve) {
    if (atomic_fetch_sub(&resolve->owners, 1) != 1) return;
    if (resolve->addresses != NULL) freeaddrinfo(resolve->addresses);
    close(resolve->fd);
    free(resolve);
}

static void look_up(struct weir_rpc_resolve *resolve, int flags) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    resolve->failed = getaddrinfo(resolve->host, resolve->port, &hints, &resolve->addresses);
    resolve->sys = errno;
    if (resolve->failed != 0) resolve->addresses = NULL;
}

static void tell(struct weir_rpc_resolve *resolve) {
    uint64_t one = 1;
    atomic_store(&resolve->done, true);
    if (write(resolve->fd, &one, sizeof one) < 0) return; /* who polls looks again after a while */
}

static void *run(void *self) {
    look_up(self, AI_ADDRCONFIG);
    tell(self);
    let_go(self);
    return NULL;
}

static bool start_thread(struct weir_rpc_resolve *resolve) {
    sigset_t all, before;
    pthread_attr_t detached;
    pthread_t thread;
    if (pthread_attr_init(&detached) != 0) return false;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &detached, run, resolve);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return failed == 0;
}

struct weir_rpc_resolve *weir_rpc_resolve_start(const char *host, const char *port) {
    struct weir_rpc_resolve *resolve = calloc(1, sizeof *resolve);
    if (resolve == NULL) return NULL;
    resolve->owners = 1;
    resolve->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (resolve->fd < 0 || (size_t)snprintf(resolve->host, sizeof resolve->host, "%s", host) >= sizeof resolve->host ||
        (size_t)snprintf(resolve->port, sizeof resolve->port, "%s", port) >= sizeof resolve->port) {
        if (resolve->fd >= 0) close(resolve->fd);
        free(resolve);
        return NULL;
    }
    look_up(resolve, AI_NUMERICHOST | AI_NUMERICSERV);
    if (resolve->failed != EAI_NONAME) {
        tell(resolve);
        return resolve;
    }
    atomic_store(&resolve->owners, 2);
    if (start_thread(resolve)) return resolve;
    atomic_store(&resolve->owners, 1);
    let_go(resolve);
    return NULL;
}

int weir_rpc_resolve_fd(const struct weir_rpc_resolve *resolve) {
    return resolve->fd;
}

bool weir_rpc_resolve_done(struct weir_rpc_resolve *resolve, struct addrinfo **addresses, struct weir_error *err) {
    if (!atomic_load(&resolve->done)) return false;
    *addresses = resolve->addresses;
    resolve->addresses = NULL;
    if (resolve->failed == EAI_SYSTEM)
        weir_fail(err, WEIR_IO, resolve->sys, true, "%s: look-up", resolve->host);
    else if (resolve->failed != 0)
        weir_fail(err, WEIR_IO, 0, true, "%s: look-up: %s", resolve->host, gai_strerror(resolve->failed));
    return true;
}

void weir_rpc_resolve_free(struct weir_rpc_resolve *resolve) {
    if (resolve != NULL) let_go(resolve);
}
