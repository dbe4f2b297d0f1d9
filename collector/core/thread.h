/* thread.h - threads that no signal finds, and conditions that wait by the clock that never jumps. */
#ifndef WEIR_CORE_THREAD_H
#define WEIR_CORE_THREAD_H
#include <pthread.h>

/* Signals are the main thread's: this one has all of them blocked, from its first moment. name: 15 bytes of it are
 * shown. Returns 0, or an errno. */
int weir_thread_start(pthread_t *thread, const char *name, void *(*run)(void *self), void *self);
/* pthread_cond_timedwait() of it goes by CLOCK_MONOTONIC. */
void weir_cond_init(pthread_cond_t *cond);
#endif
