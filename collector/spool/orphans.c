#include "collector/spool/orphans.h"
#include "collector/core/log.h"
#include "collector/spool/log_read.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096 };

void weir_spool_folder(const char *directory, const char *exporter, char *out, size_t out_size) {
    int at = snprintf(out, out_size, "%s/exporters/", directory);
    for (; at >= 0 && (size_t)at + 1 < out_size && *exporter != 0; exporter++)
        out[at++] = *exporter == '/' ? '+' : *exporter;
    if (at >= 0 && (size_t)at < out_size) out[at] = 0;
}

static bool is_known(const char *directory, const char *path, const char *const *exporters, size_t count) {
    char own[PATH_BYTES];
    for (size_t i = 0; i < count; i++) {
        weir_spool_folder(directory, exporters[i], own, sizeof own);
        if (strcmp(own, path) == 0) return true;
    }
    return false;
}

/* Of its segments, an empty one's header not counted. */
static uint64_t bytes_in(const char *path) {
    uint64_t bytes = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat info;
        if (weir_log_number(entry->d_name) != 0 && fstatat(dirfd(folder), entry->d_name, &info, 0) == 0 &&
            info.st_size > WEIR_LOG_HEADER_BYTES)
            bytes += (uint64_t)info.st_size;
    }
    closedir(folder);
    return bytes;
}

static uint64_t tell(const char *path) {
    uint64_t bytes = bytes_in(path);
    if (bytes > 0)
        weir_log(WEIR_LOG_WARN,
                 "spool_orphaned directory=%s bytes=%llu hint=\"weir spool replay %s --to URL --remove\"", path,
                 (unsigned long long)bytes, path);
    return bytes;
}

uint64_t weir_spool_orphans(const char *directory, const char *const *exporters, size_t count, bool durable) {
    char path[PATH_BYTES];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "%s/journal", directory);
    if (!durable) sum += tell(path);
    snprintf(path, sizeof path, "%s/exporters", directory);
    DIR *folder = opendir(path);
    if (folder == NULL) return sum;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        if ((size_t)snprintf(path, sizeof path, "%s/exporters/%s", directory, entry->d_name) >= sizeof path) continue;
        if (!is_known(directory, path, exporters, count)) sum += tell(path);
    }
    closedir(folder);
    return sum;
}
