/* log_rig.h - a log in a folder of its own, and what its replay says. */
#ifndef WEIR_TESTS_SPOOL_LOG_RIG_H
#define WEIR_TESTS_SPOOL_LOG_RIG_H
#include "collector/spool/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { MiB = 1 << 20, SEEN_MAX = 4096 };

struct fixture {
    char folder[64], directory[80];
    struct weir_log_options options;
    struct weir_log *log;
    /* what the last replay said */
    struct seen {
        uint64_t segment, offset;
        uint32_t type;
        size_t size;
        char text[40]; /* the beginning */
    } seen[SEEN_MAX];
    size_t seen_count, seen_bytes;
    struct {
        char file[32], why[64];
        uint64_t offset;
    } broken[16];
    size_t broken_count;
    int stop_at; /* record() answers 1 at this one; 0 = never */
};

static inline void open_log(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_log_open(&f->log, &f->options, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static inline void close_log(struct fixture *f) {
    weir_log_close(f->log);
    f->log = NULL;
}

static inline int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weir-test-log-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->directory, sizeof f->directory, "%s/a/b", f->folder);
    f->options = (struct weir_log_options){.directory = f->directory, .segment_bytes = MiB, .max_bytes = 64 * MiB};
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    struct fixture *f = *state;
    weir_log_close(f->log);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    int failed = system(command);
    free(f);
    return failed;
}

static inline uint64_t put_bytes(struct fixture *f, uint32_t type, const void *bytes, size_t size) {
    struct weir_error err = {0};
    uint64_t segment = 0;
    if (weir_log_append(f->log, type, bytes, size, &segment, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_true(segment > 0);
    return segment;
}
static inline uint64_t put(struct fixture *f, const char *text) {
    return put_bytes(f, 7, text, strlen(text));
}
/* `size` bytes that begin with the text. */
static inline uint64_t put_long(struct fixture *f, const char *text, size_t size) {
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    snprintf(bytes, size, "%s", text);
    uint64_t segment = put_bytes(f, 8, bytes, size);
    free(bytes);
    return segment;
}

static inline int record(void *self, const struct weir_log_record *one) {
    struct fixture *f = self;
    assert_true(f->seen_count < SEEN_MAX);
    struct seen *seen = &f->seen[f->seen_count++];
    *seen = (struct seen){one->segment, one->offset, one->type, one->size, ""};
    size_t size = one->size < sizeof seen->text - 1 ? one->size : sizeof seen->text - 1;
    if (size > 0) memcpy(seen->text, one->bytes, size);
    f->seen_bytes += one->size;
    return f->stop_at != 0 && f->seen_count == (size_t)f->stop_at;
}
static inline void broken(void *self, const char *file, uint64_t offset, const char *why) {
    struct fixture *f = self;
    assert_true(f->broken_count < 16);
    snprintf(f->broken[f->broken_count].file, 32, "%s", file);
    snprintf(f->broken[f->broken_count].why, 64, "%s", why);
    f->broken[f->broken_count++].offset = offset;
}
static inline struct weir_log_stats replay(struct fixture *f) {
    struct weir_error err = {0};
    struct weir_log_stats stats;
    f->seen_count = f->seen_bytes = f->broken_count = 0;
    enum weir_status status = weir_log_replay(f->log, record, broken, f, &err);
    assert_int_equal(status, f->stop_at != 0 ? WEIR_CLOSED : WEIR_OK);
    weir_log_stats(f->log, &stats);
    assert_int_equal(stats.records_bad, f->broken_count);
    return stats;
}
/* As after a kill: nothing is flushed or said good-bye to; then replay. */
static inline struct weir_log_stats reopen(struct fixture *f) {
    close_log(f);
    open_log(f);
    return replay(f);
}

/* Space-separated texts of what replay handed out. */
static inline void assert_seen(struct fixture *f, const char *want) {
    char got[1024] = "";
    for (size_t i = 0; i < f->seen_count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i == 0 ? "" : " ", f->seen[i].text);
    assert_string_equal(got, want);
}

static inline void path_of(struct fixture *f, uint64_t number, char path[128]) {
    snprintf(path, 128, "%s/%08llu.log", f->directory, (unsigned long long)number);
}
static inline off_t size_of(struct fixture *f, uint64_t number) {
    char path[128];
    struct stat info;
    path_of(f, number, path);
    return stat(path, &info) == 0 ? info.st_size : -1;
}
static inline void flip(struct fixture *f, uint64_t number, off_t offset) {
    char path[128];
    uint8_t byte;
    path_of(f, number, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}
#endif
