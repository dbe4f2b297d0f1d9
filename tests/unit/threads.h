/* threads.h - for programs that look up names on threads that nobody joins: what the C library's resolver holds for
 * such a thread goes with it, later than what the sanitizers see of its end, and is not to be called a leak. */
#ifndef WEIR_TESTS_THREADS_H
#define WEIR_TESTS_THREADS_H
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline size_t threads_of_this_process(void) {
    DIR *tasks = opendir("/proc/self/task");
    size_t found = 0;
    if (tasks == NULL) return 0;
    for (const struct dirent *one = readdir(tasks); one != NULL; one = readdir(tasks))
        if (one->d_name[0] != '.') found++;
    closedir(tasks);
    return found;
}

static inline void *say_which(void *id) {
    *(long *)id = syscall(SYS_gettid);
    return NULL;
}
/* ThreadSanitizer has a thread of its own as soon as there is one, and keeps it: true when one has come and gone. */
static inline bool first_is_gone(void) {
    const struct timespec pause = {.tv_nsec = 5000000};
    char task[64];
    pthread_t thread;
    long id;
    if (pthread_create(&thread, NULL, say_which, &id) != 0 || pthread_join(thread, NULL) != 0) return false;
    snprintf(task, sizeof task, "/proc/self/task/%ld", id);
    for (int i = 0; i < 12000 && access(task, F_OK) == 0; i++)
        nanosleep(&pause, NULL);
    return access(task, F_OK) != 0;
}

/* The setup and the teardown of a group of tests. */
static inline int count_threads(void **state) {
    static size_t before;
    if (!first_is_gone()) return -1;
    before = threads_of_this_process();
    *state = &before;
    return before > 0 ? 0 : -1;
}
static inline int threads_are_gone(void **state) {
    const size_t *before = *state;
    const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < 12000 && threads_of_this_process() > *before; i++)
        nanosleep(&pause, NULL);
    return threads_of_this_process() > *before ? -1 : 0;
}
#endif
