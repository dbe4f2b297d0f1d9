/* disk_folder.h - segments in a directory, for tests that make and compare directories. */
#ifndef WEIR_TESTS_DISK_FOLDER_H
#define WEIR_TESTS_DISK_FOLDER_H
#include "collector/spool/log_read.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    size_t count;
    uint64_t bytes; /* of all */
    struct {
        char name[32];
        uint64_t inode, size;
    } entries[256];
};

/* The segments, in no order. A directory that is not there has none. */
static struct folder *folder_read(const char *directory) {
    struct folder *folder = calloc(1, sizeof *folder);
    DIR *open = opendir(directory);
    if (folder == NULL) abort();
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        struct stat info;
        if (weir_log_number(entry->d_name) == 0) continue;
        if (folder->count == sizeof folder->entries / sizeof folder->entries[0]) abort();
        if (fstatat(dirfd(open), entry->d_name, &info, 0) != 0) abort();
        snprintf(folder->entries[folder->count].name, 32, "%.31s", entry->d_name);
        folder->entries[folder->count].inode = info.st_ino;
        folder->entries[folder->count++].size = (uint64_t)info.st_size;
        folder->bytes += (uint64_t)info.st_size;
    }
    if (open != NULL) closedir(open);
    return folder;
}

static void folder_free(struct folder *folder) {
    free(folder);
}

/* All bytes of a file; to be freed. */
static uint8_t *folder_file(const char *directory, const char *name, size_t *size) {
    char path[256];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) abort();
    uint8_t *bytes = malloc((size_t)info.st_size + 1);
    if (bytes == NULL || read(fd, bytes, (size_t)info.st_size) != info.st_size) abort();
    close(fd);
    *size = (size_t)info.st_size;
    return bytes;
}

static void folder_clear(const char *directory) {
    struct folder *folder = folder_read(directory);
    char path[256];
    for (size_t i = 0; i < folder->count; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, folder->entries[i].name);
        unlink(path);
    }
    folder_free(folder);
}
#endif
