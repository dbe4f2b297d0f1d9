/* unit.h - what the tests of this room share: cmocka in its order, and threads that start together. */
#ifndef TESTS_UNIT_CORE_UNIT_H
#define TESTS_UNIT_CORE_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>

#include <cmocka.h>

enum { UNIT_THREADS_MAX = 16 };
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Runs body(argument, 0 .. threads-1), all of them at once, and returns after the last. cmocka's assertions leave by
 * longjmp and so are for the test's own thread: bodies count what is wrong. */
struct unit_job {
    void (*body)(void *argument, unsigned index);
    void *argument;
    unsigned index;
    pthread_barrier_t *start;
};

static void *unit_thread(void *argument) {
    struct unit_job *job = argument;
    pthread_barrier_wait(job->start);
    job->body(job->argument, job->index);
    return NULL;
}

static inline void unit_threads(unsigned threads, void (*body)(void *argument, unsigned index), void *argument) {
    pthread_t ids[UNIT_THREADS_MAX];
    struct unit_job jobs[UNIT_THREADS_MAX];
    pthread_barrier_t start;
    assert_true(threads <= UNIT_THREADS_MAX);
    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct unit_job){body, argument, i, &start};
        assert_int_equal(pthread_create(&ids[i], NULL, unit_thread, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&start);
}
#endif
