/* crash_walk.h - crashes, walked: a life, a letter a step, is recorded, and behind each operation of it the process
 * dies, or the power fails in the ways of disk_crash.h; then each call fails in turn. What a step is, and which laws
 * hold for the directory that is left, is the test's. */
#ifndef WEIR_TESTS_CRASH_WALK_H
#define WEIR_TESTS_CRASH_WALK_H
#include "tests/unit/spool/disk_crash.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/statvfs.h>

#include <cmocka.h>

enum { NEVER = UINT32_MAX };
enum { MEMORY_BYTES_MIN = 64 << 20 }; /* six are used, by each of some tests that run side by side */

struct crash_test {
    /* Records the steps anew (disk_trace.h), from an empty directory. */
    void (*record)(const char *steps, uint32_t fault_at, enum trace_fault fault);
    /* Holds the laws against `folder`, where a crash was made. */
    void (*look)(void *self);
    const char *folder;
    uint32_t seeded;     /* power failures at random behind each operation */
    void (*whole)(void); /* behind the last operation; may be NULL */
};

static struct {
    char root[64], store[96], left[96]; /* for disk_crash.h: copies; what a crash leaves */
    uint64_t random;
    /* where the walk is */
    const char *what;
    uint32_t at; /* operations before the crash */
    bool power;
    uint64_t looked; /* directories */
} walk;

static uint32_t walk_random(uint32_t below) {
    walk.random = walk.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((walk.random >> 33) % below);
}

/* Of a law that is broken: for the message. Lists what was left. */
static const char *walk_where(const char *folder) {
    static char where[192];
    char command[160];
    snprintf(command, sizeof command, "ls -l '%s' >&2", folder);
    if (system(command) != 0) print_message("no directory\n");
    snprintf(where, sizeof where, "%s, behind operation %u of %u (%s)", walk.what, walk.at, trace.op_count,
             walk.power ? "power" : "process");
    return where;
}

/* 0, as cmocka's setup has it. */
static int walk_open(void) {
    memset(&walk, 0, sizeof walk);
    /* In memory where that is to be had: nothing is synced. In a container there may be little of it. */
    struct statvfs memory;
    bool ample = statvfs("/dev/shm", &memory) == 0 && memory.f_bavail * memory.f_frsize >= MEMORY_BYTES_MIN;
    strcpy(walk.root, "/dev/shm/weir-test-crash-XXXXXX");
    if (!ample || mkdtemp(walk.root) == NULL) {
        strcpy(walk.root, "/tmp/weir-test-crash-XXXXXX");
        if (mkdtemp(walk.root) == NULL) return -1;
    }
    snprintf(walk.store, sizeof walk.store, "%s/store", walk.root);
    snprintf(walk.left, sizeof walk.left, "%s/left", walk.root);
    mallopt(M_MMAP_THRESHOLD, 64 << 20); /* buffers of a start: not new from the kernel each time */
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    return mkdir(walk.store, 0700) | mkdir(walk.left, 0700);
}

static int walk_close(void) {
    char command[96];
    trace_end();
    crash_end();
    snprintf(command, sizeof command, "rm -r '%s'", walk.root);
    return system(command);
}

static void walk_look(const struct crash_test *test, bool power, const struct crash_plan *plan) {
    walk.power = power;
    crash_make(plan);
    test->look(NULL);
}

/* Every crash of a life. */
static void walk_life(const struct crash_test *test, const char *steps) {
    test->record(steps, NEVER, FAULT_NONE);
    walk.what = steps;
    walk.looked = 0;
    crash_begin(walk.store, test->folder);
    for (walk.at = 0; walk.at <= trace.op_count; walk.at++) {
        if (walk.at > 0) crash_apply(&trace.ops[walk.at - 1]);
        walk_look(test, false, &process_died);
        walk.power = true;
        crash_power(test->seeded, test->look, NULL);
    }
    walk.at = trace.op_count;
    if (test->whole != NULL) test->whole();
}

static bool walk_fault_is_of(enum trace_fault fault, enum trace_kind kind) {
    bool write = kind == TRACE_WRITE;
    switch (fault) {
    case FAULT_NONE: return false;
    case FAULT_EIO: return true;
    case FAULT_ENOSPC: return write || kind == TRACE_CREATE;
    case FAULT_STORM: return true;
    default: return write;
    }
}

/* Crashes behind call `call`, which fails, and at the end. */
static void walk_failure(const struct crash_test *test, const char *steps, uint32_t call, enum trace_fault fault) {
    static const struct crash_plan some[] = {{ANY, ANY, ANY, NEVER, NEVER}, {LATEST, LATEST, OLDEST, NEVER, NEVER}};
    char what[96];
    snprintf(what, sizeof what, "%s, fault %d at call %u", steps, (int)fault, call);
    walk.what = what;
    test->record(steps, call, fault);
    assert_true(trace.injected > 0);
    crash_begin(walk.store, test->folder);
    crash.random = call * FAULTS + fault;
    for (walk.at = 1; walk.at <= trace.op_count; walk.at++) {
        crash_apply(&trace.ops[walk.at - 1]);
        if ((walk.at < call || walk.at > call + 4) && walk.at != trace.op_count) continue;
        walk_look(test, false, &process_died);
        for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
            walk_look(test, true, &some[i]);
    }
    walk.at = trace.op_count;
    if (test->whole != NULL) test->whole();
}

/* Each call of a life fails in turn, in each way that it can. */
static void walk_failures(const struct crash_test *test, const char *steps) {
    test->record(steps, NEVER, FAULT_NONE);
    uint32_t calls = trace.calls, runs = 0;
    enum trace_kind *kinds = malloc(calls * sizeof *kinds);
    memcpy(kinds, trace.kinds, calls * sizeof *kinds);
    walk.looked = 0;
    for (uint32_t call = 0; call < calls; call++) {
        for (enum trace_fault fault = FAULT_EIO; fault < FAULTS; fault++) {
            if (!walk_fault_is_of(fault, kinds[call])) continue;
            walk_failure(test, steps, call, fault);
            runs++;
        }
    }
    free(kinds);
    print_message("%s: %u calls, %u runs, %llu directories\n", steps, calls, runs, (unsigned long long)walk.looked);
}
#endif
