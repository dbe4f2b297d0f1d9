/* What the caller's thread does not do: no system call (the kernel would kill the process, by a filter of seccomp that
 * a thread sets for itself), and no allocation. */
#include "tests/unit/emitter/peer.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* they allocate, and call the system, wherever they like */
#else
#define SANITIZED 0
#endif

enum { ROUNDS = 200000 };

/* ---- allocations are counted: these stand before the C library's ---- */

static _Thread_local volatile bool counting; /* the compiler knows malloc, and not that it is ours */
static _Thread_local volatile uint64_t allocations;

#if !SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);
void *malloc(size_t size) {
    allocations += counting;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocations += counting;
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    allocations += counting;
    return __libc_realloc(old, size);
}
void free(void *old) {
    allocations += counting && old != NULL;
    __libc_free(old);
}
#endif

/* ---- all that is hot ---- */

struct hot {
    struct weir_emit *emit;
    struct weir_emit_operation *operation;
    struct weir_emit_counter *counter;
    struct weir_emit_histogram *histogram;
    unsigned rounds;
    bool first_too; /* the thread's very first call is under the filter */
    uint64_t allocated, spans;
};

static void one_request(struct hot *hot, unsigned i) {
    static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", state[] = "ot=th:4,foo=1";
    char out[WEIR_EMIT_TRACESTATE_BYTES];
    struct weir_emit_context context, child;
    struct weir_emit_b3 b3;
    struct weir_emit_span span;
    uint64_t threshold;
    weir_emit_context_clear(&context);
    if (i % 2) weir_emit_read_header(&context, "traceparent", 11, parent, sizeof parent - 1);
    if (i % 2) weir_emit_read_header(&context, "tracestate", 10, state, sizeof state - 1);
    bool sampled = weir_emit_begin(hot->operation, &context);
    weir_emit_sampled(hot->operation, context.trace_id, &threshold);
    weir_emit_request(hot->operation);
    weir_emit_count(hot->counter, i);
    weir_emit_observe(hot->histogram, i % 7 ? 0.1 * i : -1);
    weir_emit_child(hot->emit, &context, &child);
    weir_emit_write_traceparent(&child, out);
    weir_emit_write_tracestate(&child, out);
    weir_emit_write_b3(&child, out);
    weir_emit_write_b3_multi(&child, &b3);
    const struct weir_emit_attribute attributes[3] = {
        weir_emit_text("url.path", "/"), weir_emit_int("http.response.status_code", 200), weir_emit_text("x", state)};
    weir_emit_span_of(&context, &span);
    span.start_ns = weir_emit_now(); /* by the vDSO */
    span.end_ns = span.start_ns + 1;
    span.attributes = attributes;
    span.attribute_count = 3;
    if (sampled) hot->spans += weir_emit_span(hot->operation, &span);
}

/* Only what ends a thread: exit. rt_sigreturn too, which valgrind and profilers need, and clock_gettime, which the vDSO
 * calls where the machine's clock is not to be read from outside the kernel. */
static bool forbid_system_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clock_gettime, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void *under_the_filter(void *argument) {
    struct hot *hot = argument;
    if (!hot->first_too) one_request(hot, 1);
    counting = true;
    if (!SANITIZED && !forbid_system_calls()) return NULL;
    for (unsigned i = 0; i < hot->rounds; i++)
        one_request(hot, i);
    counting = false;
    hot->allocated = allocations;
    /* Nothing but exit is allowed any more, so the thread may not end as others do: it says so and waits. */
    __atomic_store_n(&hot->rounds, 0, __ATOMIC_RELEASE);
    for (;;) {
    }
}

/* In a process of its own, which is killed where the filter is hit. */
static void in_a_child(void (*work)(struct hot *hot), bool first_too) {
    pid_t child = fork();
    if (child == 0) {
        struct weir_emit_options options = peer_options();
        struct peer peer;
        peer_open(&peer);
        options.flush_ms = 5;
        options.poll_ms = 10;
        struct hot hot = {.emit = peer_emitter(&peer, &options), .rounds = ROUNDS, .first_too = first_too};
        hot.operation = weir_emit_operation(hot.emit, "GET /");
        hot.counter = weir_emit_counter(hot.emit, "x_total", NULL, 0);
        hot.histogram = weir_emit_histogram(hot.emit, "x_seconds", NULL, 0, (const double[]){1, 2, 3}, 3);
        work(&hot);
        _exit(hot.allocated == 0 && hot.spans > 0 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFSIGNALED(status)); /* SIGSYS: a system call */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void run_thread(struct hot *hot) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, under_the_filter, hot) != 0) _exit(2);
    while (__atomic_load_n(&hot->rounds, __ATOMIC_ACQUIRE) != 0)
        usleep(1000);
}

static void no_system_call_and_no_allocation(void **state) {
    (void)state;
    in_a_child(run_thread, false);
}

static void not_even_by_the_first_call(void **state) {
    (void)state;
    in_a_child(run_thread, true);
}

/* The filter bites: else the tests above say nothing. */
static void *call_the_system(void *argument) {
    (void)argument;
    if (forbid_system_calls()) syscall(SYS_getpid);
    return NULL;
}
static void the_filter_kills(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, call_the_system, NULL) != 0) _exit(2);
        pthread_join(thread, NULL);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void allocations_are_seen(void **state) {
    (void)state;
    counting = true;
    void *volatile some = malloc(10);
    free(some);
    counting = false;
    if (!SANITIZED) assert_int_equal(allocations, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_seen),
        cmocka_unit_test(the_filter_kills),
        cmocka_unit_test(no_system_call_and_no_allocation),
        cmocka_unit_test(not_even_by_the_first_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
