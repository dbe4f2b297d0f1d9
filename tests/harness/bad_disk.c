/* bad_disk.c - preloaded into a program (LD_PRELOAD), makes the disk below one directory slow, or makes it fail.
 *   BAD_DISK_UNDER=DIR      whose files are meant
 *   BAD_DISK_SWITCH=FILE    "MS WRITING READING", looked at in each call: wait so long, then fail with that errno,
 *                           unless it is 0
 * WRITING is for pwrite, write, fdatasync, fsync and ftruncate of files below DIR, READING for pread; all wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fdatasync)(int), (*real_fsync)(int);

__attribute__((constructor)) static void find(void) {
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    *(void **)&real_pread = dlsym(RTLD_NEXT, "pread64");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
}

/* The errno to fail with, after the wait; 0 = go on. */
static int spoil(int fd, bool reading) {
    const char *under = getenv("BAD_DISK_UNDER"), *file = getenv("BAD_DISK_SWITCH");
    char link[48], path[PATH_MAX], text[32] = "";
    if (under == NULL || file == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || strncmp(path, under, strlen(under)) != 0) return 0;
    int control = open(file, O_RDONLY | O_CLOEXEC);
    if (control < 0) return 0;
    ssize_t got = read(control, text, sizeof text - 1);
    close(control);
    if (got <= 0) return 0;
    char *end;
    long ms = strtol(text, &end, 10), error = strtol(end, &end, 10);
    if (reading) error = strtol(end, NULL, 10);
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&wait, &wait) != 0 && errno == EINTR)
        continue;
    return (int)error;
}

#define SPOIL(fd, reading)                                                                                             \
    do {                                                                                                               \
        int error_ = spoil(fd, reading);                                                                               \
        if (error_ != 0) {                                                                                             \
            errno = error_;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t size) {
    if (fd > 2) SPOIL(fd, false);
    return real_write(fd, bytes, size);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    SPOIL(fd, false);
    return real_pwrite(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
    SPOIL(fd, false);
    return real_pwrite(fd, bytes, size, offset);
}
ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    SPOIL(fd, true);
    return real_pread(fd, bytes, size, offset);
}
ssize_t pread64(int fd, void *bytes, size_t size, off_t offset) {
    SPOIL(fd, true);
    return real_pread(fd, bytes, size, offset);
}
int ftruncate(int fd, off_t size) {
    SPOIL(fd, false);
    return real_ftruncate(fd, size);
}
int ftruncate64(int fd, off_t size) {
    SPOIL(fd, false);
    return real_ftruncate(fd, size);
}
int fdatasync(int fd) {
    SPOIL(fd, false);
    return real_fdatasync(fd);
}
int fsync(int fd) {
    SPOIL(fd, false);
    return real_fsync(fd);
}
