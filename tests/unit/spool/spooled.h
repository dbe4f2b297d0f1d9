/* spooled.h - batches and directories for the tests of the spool, and of the queue that has one. */
#ifndef WEIR_TESTS_SPOOLED_H
#define WEIR_TESTS_SPOOLED_H
#include "collector/core/batch.h"
#include "collector/spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MiB = 1 << 20 };

/* `spans` spans of `bytes` each, which do not compress; their ids are `id` and what follows it. */
static inline struct weir_batch *make_spans(uint64_t id, uint32_t spans, uint32_t bytes) {
    uint64_t random = 88172645463325252ull ^ (id * 0x9e3779b97f4a7c15ull);
    static struct weir_origins *origins;
    struct weir_batch *batch = weir_batch_new(NULL, (size_t)spans * bytes);
    int is_new;
    uint16_t index;
    if (origins == NULL) origins = weir_origins_new(1);
    struct weir_origin *origin = weir_origins_get(origins, &(struct weir_origin_parts){0}, &is_new);
    assert_non_null(batch);
    assert_int_equal(weir_batch_origin(batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    for (uint32_t i = 0; i < spans; i++) {
        struct weir_span span = {
            .prior = 1, .span_id = id + i, .trace_lo = id + i, .offset = (uint32_t)batch->size, .size = bytes};
        assert_int_equal(weir_batch_room(batch, bytes), WEIR_OK);
        for (uint32_t b = 0; b < bytes; b++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            batch->bytes[batch->size++] = (uint8_t)random;
        }
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}

static inline char *make_folder(void) {
    char *folder = strdup("/tmp/weir-test-spool-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}
static inline void remove_folder(char *folder) {
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    free(folder);
}
static inline void copy_folder(const char *from, const char *to) { /* what a kill leaves is what is there now */
    char command[512];
    snprintf(command, sizeof command, "cp -r '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

/* The segments of a directory: how many, the bytes of all, the number of the oldest. */
struct files {
    uint32_t count;
    uint64_t bytes, oldest;
};
static inline struct files look_at_files(const char *directory) {
    struct files files = {.oldest = UINT64_MAX};
    DIR *folder = opendir(directory);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512];
        struct stat info;
        if (strstr(entry->d_name, ".log") == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        assert_int_equal(stat(path, &info), 0);
        uint64_t number = strtoull(entry->d_name, NULL, 10);
        files.count++;
        files.bytes += (uint64_t)info.st_size;
        if (number < files.oldest) files.oldest = number;
    }
    closedir(folder);
    return files;
}
static inline void flip(const char *directory, uint64_t segment, off_t offset) {
    char path[512];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%08llu.log", directory, (unsigned long long)segment);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}
#endif
