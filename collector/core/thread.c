#define _GNU_SOURCE /* pthread_setname_np */
#include "collector/core/thread.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

int weir_thread_start(pthread_t *thread, const char *name, void *(*run)(void *self), void *self) {
    sigset_t all, before;
    char shown[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) return failed;
    snprintf(shown, sizeof shown, "%.15s", name);
    pthread_setname_np(*thread, shown);
    return 0;
}

void weir_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}
