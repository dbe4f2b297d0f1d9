/* disk_trace.h - a disk for the log (struct weir_log_disk) that works in a real directory and writes down every call
 * that changed something, so that disk_crash.h can make the directory as a crash behind any of them would leave it.
 * Calls can be made to fail by their number. Nothing is ever really synced: the record is what counts. One trace at a
 * time. */
#ifndef WEIR_TESTS_DISK_TRACE_H
#define WEIR_TESTS_DISK_TRACE_H
#include "collector/spool/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/spool/disk_folder.h"

enum trace_kind { TRACE_CREATE, TRACE_WRITE, TRACE_TRUNCATE, TRACE_SYNC, TRACE_NAMES, TRACE_UNLINK };

struct trace_op {
    enum trace_kind kind;
    bool failed;     /* SYNC, NAMES; of the others only what was well is written down */
    uint32_t file;   /* index; not of NAMES */
    uint64_t offset; /* WRITE; the new size of TRUNCATE */
    uint64_t size;   /* WRITE */
    uint8_t *bytes;  /* WRITE */
};

struct trace_file {
    char name[32];
    uint64_t inode;
    uint8_t *given; /* was there at the beginning, and is durable */
    size_t given_size;
};

/* What happens at a call instead. */
enum trace_fault {
    FAULT_NONE,
    FAULT_EIO,
    FAULT_ENOSPC,
    FAULT_EINTR,       /* a signal came before anything was done */
    FAULT_SHORT,       /* a write takes a half; the next one goes on */
    FAULT_SHORT_FULL,  /* and then there is no space */
    FAULT_SHORT_STUCK, /* and the half cannot be cut off either */
    FAULT_STORM,       /* this and the next five calls: EIO */
    FAULTS
};

static struct trace {
    pthread_mutex_t lock;
    struct trace_op *ops;
    uint32_t op_count, op_capacity;
    struct trace_file *files;
    uint32_t file_count, file_capacity;
    uint32_t calls;
    enum trace_kind *kinds; /* of each call */
    uint32_t kind_capacity;
    uint32_t fault_at; /* number of the call; UINT32_MAX: none */
    enum trace_fault fault;
    uint32_t injected; /* calls that were made to fail, or fell short */
    bool dead;         /* no call does anything any more */
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *trace_grown(void *rows, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) return rows;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    rows = realloc(rows, *capacity * size);
    if (rows == NULL) abort();
    return rows;
}

static uint32_t trace_add_file(const char *name, uint64_t inode) {
    trace.files = trace_grown(trace.files, trace.file_count, &trace.file_capacity, sizeof *trace.files);
    struct trace_file *file = &trace.files[trace.file_count];
    *file = (struct trace_file){.inode = inode};
    snprintf(file->name, sizeof file->name, "%s", name);
    return trace.file_count++;
}

static void trace_end(void) {
    for (uint32_t i = 0; i < trace.op_count; i++)
        free(trace.ops[i].bytes);
    for (uint32_t i = 0; i < trace.file_count; i++)
        free(trace.files[i].given);
    free(trace.ops);
    free(trace.files);
    free(trace.kinds);
    trace = (struct trace){.lock = PTHREAD_MUTEX_INITIALIZER};
}

/* From what the directory has now, all of it durable. */
static void trace_begin(const char *directory, uint32_t fault_at, enum trace_fault fault) {
    trace_end();
    trace.fault_at = fault_at;
    trace.fault = fault;
    struct folder *folder = folder_read(directory);
    for (size_t i = 0; i < folder->count; i++) {
        uint32_t index = trace_add_file(folder->entries[i].name, folder->entries[i].inode);
        struct trace_file *file = &trace.files[index];
        file->given = folder_file(directory, file->name, &file->given_size);
    }
    folder_free(folder);
}

static uint32_t trace_op_count(void) {
    pthread_mutex_lock(&trace.lock);
    uint32_t count = trace.op_count;
    pthread_mutex_unlock(&trace.lock);
    return count;
}

/* The process is killed, as far as the disk can tell; not: the next one begins. */
static void trace_dead(bool dead) {
    pthread_mutex_lock(&trace.lock);
    trace.dead = dead;
    pthread_mutex_unlock(&trace.lock);
}

/* ---- inside ---- */

/* The newest with this inode: numbers of inodes are used again. UINT32_MAX: no segment of ours. */
static uint32_t trace_file_of(int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0) abort();
    for (uint32_t i = trace.file_count; i-- > 0;) {
        if (trace.files[i].inode == info.st_ino) return i;
    }
    return UINT32_MAX;
}

static struct trace_op *trace_op(enum trace_kind kind, uint32_t file) {
    trace.ops = trace_grown(trace.ops, trace.op_count, &trace.op_capacity, sizeof *trace.ops);
    struct trace_op *op = &trace.ops[trace.op_count++];
    *op = (struct trace_op){.kind = kind, .file = file};
    return op;
}

/* Begins a call, under the lock. Not 0: it fails with that. *size: of a write, which may fall short. */
static int trace_call(enum trace_kind kind, size_t *size) {
    pthread_mutex_lock(&trace.lock);
    if (trace.dead) return EIO;
    trace.kinds = trace_grown(trace.kinds, trace.calls, &trace.kind_capacity, sizeof *trace.kinds);
    trace.kinds[trace.calls] = kind;
    uint32_t number = trace.calls++, since = number - trace.fault_at;
    if (number < trace.fault_at || trace.fault == FAULT_NONE) return 0;
    int why = 0;
    bool part = false;
    switch (trace.fault) {
    case FAULT_EIO: why = since == 0 ? EIO : 0; break;
    case FAULT_ENOSPC: why = since == 0 ? ENOSPC : 0; break;
    case FAULT_EINTR: why = since == 0 ? EINTR : 0; break;
    case FAULT_SHORT: part = since == 0; break;
    case FAULT_SHORT_FULL:
        part = since == 0;
        why = since == 1 ? ENOSPC : 0;
        break;
    case FAULT_SHORT_STUCK:
        part = since == 0;
        why = since == 1 ? ENOSPC : since == 2 ? EIO : 0;
        break;
    case FAULT_STORM: why = since < 6 ? EIO : 0; break;
    default: break;
    }
    if (part && kind == TRACE_WRITE) *size /= 2;
    if (part || why != 0) trace.injected++;
    return why;
}

static int trace_done(int result, int why) {
    pthread_mutex_unlock(&trace.lock);
    if (why == 0) return result;
    errno = why;
    return -1;
}

static int trace_create(int directory_fd, const char *name) {
    int why = trace_call(TRACE_CREATE, NULL), fd = -1;
    if (why == 0) {
        fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        why = fd < 0 ? errno : 0;
    }
    if (why == 0) {
        struct stat info;
        if (fstat(fd, &info) != 0) abort();
        trace_op(TRACE_CREATE, trace_add_file(name, info.st_ino));
    }
    return trace_done(fd, why);
}

static ssize_t trace_write(int fd, const void *bytes, size_t size, off_t offset) {
    int why = trace_call(TRACE_WRITE, &size);
    if (why == 0 && size > 0) {
        if (pwrite(fd, bytes, size, offset) != (ssize_t)size) abort();
        struct trace_op *op = trace_op(TRACE_WRITE, trace_file_of(fd));
        op->offset = (uint64_t)offset;
        op->size = size;
        if ((op->bytes = malloc(size)) == NULL) abort();
        memcpy(op->bytes, bytes, size);
    }
    return trace_done((int)size, why);
}

static int trace_truncate(int fd, off_t size) {
    int why = trace_call(TRACE_TRUNCATE, NULL);
    if (why == 0) {
        if (ftruncate(fd, size) != 0) abort();
        trace_op(TRACE_TRUNCATE, trace_file_of(fd))->offset = (uint64_t)size;
    }
    return trace_done(0, why);
}

static int trace_sync(int fd) {
    pthread_mutex_lock(&trace.lock);
    bool foreign = trace_file_of(fd) == UINT32_MAX;
    pthread_mutex_unlock(&trace.lock);
    if (foreign) return 0;
    int why = trace_call(TRACE_SYNC, NULL);
    if (!trace.dead) trace_op(TRACE_SYNC, trace_file_of(fd))->failed = why != 0;
    return trace_done(0, why);
}

static int trace_sync_names(int directory_fd) {
    (void)directory_fd;
    int why = trace_call(TRACE_NAMES, NULL);
    if (!trace.dead) trace_op(TRACE_NAMES, 0)->failed = why != 0;
    return trace_done(0, why);
}

static int trace_unlink(int directory_fd, const char *name) {
    int why = trace_call(TRACE_UNLINK, NULL);
    if (why == 0 && unlinkat(directory_fd, name, 0) != 0) why = errno;
    for (uint32_t i = trace.file_count; why == 0 && i-- > 0;) {
        if (strcmp(trace.files[i].name, name) != 0) continue;
        trace_op(TRACE_UNLINK, i);
        break;
    }
    return trace_done(0, why);
}

static const struct weir_log_disk trace_disk = {trace_create, trace_write, trace_truncate, trace_sync, trace_sync_names,
                                                trace_unlink, NULL};

/* For logs that are looked at behind a crash: a real directory, and no time lost with syncing it. */
static int no_sync(int fd) {
    (void)fd;
    return 0;
}
static const struct weir_log_disk quick_disk = {.sync = no_sync, .sync_names = no_sync};
#endif
