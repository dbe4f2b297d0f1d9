#include "exporters/file/store.h"
#include "collector/core/log.h"
#include "exporters/file/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STAMP_BYTES = 16 /* 20261123T170716Z */ };

struct weir_store {
    char directory[PATH_MAX / 2];
    struct weir_store_limits limits;
    const struct weir_clock *clock;
    char path[PATH_MAX];
    int fd; /* -1: no current file */
    uint64_t size;
    uint64_t opened_ns;
    uint64_t closed_bytes; /* of the other files */
    /* Of the next file at least, so that names sort as they were written when the clock is set back. */
    char stamp[STAMP_BYTES + 1];
    uint32_t serial;
    struct weir_store_counts counts;
    struct weir_log_limit removed_limit;
};

/* ---- the folder ---- */

static enum weir_status make_directory(const char *directory, struct weir_error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", directory);
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != 0) continue;
        char kept = *at;
        *at = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            return weir_fail(err, WEIR_IO, errno, true, "file: make directory %s: %s", path, strerror(errno));
        }
        if (kept == 0) break;
        *at = kept;
    }
    struct stat info;
    if (stat(directory, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return weir_fail(err, WEIR_IO, ENOTDIR, true, "file: %s is not a directory", directory);
    }
    return WEIR_OK;
}

/* "traces-20261123T170716Z-3.otlp.zst" -> its stamp and 3. */
static bool parse_name(const char *name, char stamp[STAMP_BYTES + 1], uint32_t *serial) {
    size_t prefix = strlen(WEIR_FILE_PREFIX);
    if (strncmp(name, WEIR_FILE_PREFIX, prefix) != 0 || strlen(name) < prefix + STAMP_BYTES + 2) return false;
    memcpy(stamp, name + prefix, STAMP_BYTES);
    stamp[STAMP_BYTES] = 0;
    for (int i = 0; i < STAMP_BYTES; i++) {
        char want = i == 8 ? 'T' : i == 15 ? 'Z' : '0';
        if (want == '0' ? stamp[i] < '0' || stamp[i] > '9' : stamp[i] != want) return false;
    }
    const char *at = name + prefix + STAMP_BYTES;
    if (*at++ != '-' || *at < '0' || *at > '9') return false;
    char *end;
    unsigned long value = strtoul(at, &end, 10);
    if (value > UINT32_MAX || strcmp(end, WEIR_FILE_SUFFIX) != 0) return false;
    *serial = (uint32_t)value;
    return true;
}

/* The next file comes behind this one. */
static void follow(struct weir_store *store, const char stamp[STAMP_BYTES + 1], uint32_t serial) {
    int order = strcmp(stamp, store->stamp);
    if (order < 0 || serial == UINT32_MAX) return;
    if (order > 0 || store->serial <= serial) store->serial = serial + 1;
    memcpy(store->stamp, stamp, sizeof store->stamp);
}

/* Sums up the closed files, finds the oldest, and sees to it that the next is the newest. False: there is none. */
static bool survey(struct weir_store *store, char oldest[PATH_MAX], uint64_t *oldest_size) {
    DIR *folder = opendir(store->directory);
    store->closed_bytes = 0;
    if (folder == NULL) return false;
    const char *current = store->fd < 0 ? "" : strrchr(store->path, '/') + 1;
    char best_stamp[STAMP_BYTES + 1] = "", stamp[STAMP_BYTES + 1];
    uint32_t best_serial = 0, serial;
    bool found = false;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat info;
        if (!parse_name(entry->d_name, stamp, &serial) || strcmp(entry->d_name, current) == 0) continue;
        if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) continue;
        store->closed_bytes += (uint64_t)info.st_size;
        follow(store, stamp, serial);
        int order = found ? strcmp(stamp, best_stamp) : -1;
        if (order > 0 || (order == 0 && serial >= best_serial)) continue;
        found = true;
        memcpy(best_stamp, stamp, sizeof best_stamp);
        best_serial = serial;
        *oldest_size = (uint64_t)info.st_size;
        snprintf(oldest, PATH_MAX, "%s/%s", store->directory, entry->d_name);
    }
    closedir(folder);
    return found;
}

static void prune(struct weir_store *store, uint64_t more) {
    char oldest[PATH_MAX];
    uint64_t size = 0;
    if (store->closed_bytes + store->size + more <= store->limits.max_total_bytes) return;
    /* Somebody else may have added or removed files: look before each removal. */
    while (survey(store, oldest, &size) && store->closed_bytes + store->size + more > store->limits.max_total_bytes) {
        if (unlink(oldest) != 0) {
            if (errno == ENOENT) continue;
            weir_log_limited(&store->removed_limit, WEIR_LOG_WARN, "file_remove_failed path=%s why=\"%s\"", oldest,
                             strerror(errno));
            return;
        }
        store->closed_bytes -= size;
        store->counts.removed_files++;
        store->counts.removed_bytes += size;
        weir_log_limited(&store->removed_limit, WEIR_LOG_INFO,
                         "file_removed path=%s bytes=%" PRIu64 " reason=max_total_bytes", oldest, size);
    }
}

/* ---- the current file ---- */

static void close_current(struct weir_store *store) {
    if (store->fd < 0) return;
    close(store->fd);
    store->fd = -1;
    store->path[0] = 0;
    store->closed_bytes += store->size;
    store->size = 0;
}

static enum weir_status write_all(struct weir_store *store, const void *bytes, size_t size, struct weir_error *err) {
    const uint8_t *from = bytes;
    uint64_t at = store->size;
    while (size > 0) {
        ssize_t wrote = pwrite(store->fd, from, size, (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            int why = wrote < 0 ? errno : ENOSPC;
            weir_fail(err, WEIR_IO, why, true, "file: write %s: %s", store->path, strerror(why));
            /* A half block in the middle would hide behind the next one: cut it off, or never write here again. */
            if (ftruncate(store->fd, (off_t)store->size) != 0) close_current(store);
            return WEIR_IO;
        }
        from += wrote;
        at += (uint64_t)wrote;
        size -= (size_t)wrote;
    }
    store->size = at;
    return WEIR_OK;
}

static enum weir_status open_current(struct weir_store *store, struct weir_error *err) {
    static const uint8_t header[WEIR_FILE_HEADER_BYTES] = WEIR_FILE_HEADER;
    time_t seconds = (time_t)(weir_unix_ns(store->clock) / WEIR_S);
    struct tm tm;
    char stamp[STAMP_BYTES + 1];
    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    if (strcmp(stamp, store->stamp) > 0) memcpy(store->stamp, stamp, sizeof store->stamp);
    for (int tries = 0; store->fd < 0; tries++) {
        snprintf(store->path, sizeof store->path, "%s/" WEIR_FILE_PREFIX "%s-%u" WEIR_FILE_SUFFIX, store->directory,
                 store->stamp, store->serial);
        store->fd = open(store->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (store->fd >= 0) break;
        int why = errno;
        if (why == EEXIST &&
            tries < 10000) { /* another instance, or this one before its restart, within the same second */
            store->serial++;
        } else if (why == ENOENT && tries == 0) { /* the folder was removed */
            if (make_directory(store->directory, err) != WEIR_OK) return WEIR_IO;
        } else {
            weir_fail(err, WEIR_IO, why, true, "file: create %s: %s", store->path, strerror(why));
            store->path[0] = 0;
            return WEIR_IO;
        }
    }
    store->serial++;
    store->size = 0;
    store->opened_ns = weir_mono_ns(store->clock);
    enum weir_status status = write_all(store, header, sizeof header, err);
    if (status != WEIR_OK && store->fd >= 0) { /* an empty file helps nobody */
        unlink(store->path);
        close_current(store);
    }
    return status;
}

enum weir_status weir_store_append(struct weir_store *store, const void *bytes, size_t size, struct weir_error *err) {
    if (store->fd >= 0 && store->size + size > store->limits.max_file_bytes && store->size > WEIR_FILE_HEADER_BYTES)
        close_current(store);
    prune(store, size + WEIR_FILE_HEADER_BYTES);
    if (store->fd < 0) {
        enum weir_status status = open_current(store, err);
        if (status != WEIR_OK) return status;
    }
    enum weir_status status = write_all(store, bytes, size, err);
    if (status == WEIR_OK) store->counts.written_bytes += size;
    store->counts.held_bytes = store->closed_bytes + store->size;
    return status;
}

void weir_store_tick(struct weir_store *store) {
    struct stat info;
    if (store->fd < 0) return;
    if (weir_mono_ns(store->clock) - store->opened_ns >= store->limits.max_file_age_ns) {
        close_current(store);
    } else if (fstat(store->fd, &info) == 0 && info.st_nlink == 0) {
        store->size = 0;
        close_current(store);
    }
}

const struct weir_store_counts *weir_store_counts(const struct weir_store *store) {
    return &store->counts;
}

const char *weir_store_current(const struct weir_store *store) {
    return store->path;
}

enum weir_status weir_store_open(struct weir_store **store, const char *directory,
                                 const struct weir_store_limits *limits, const struct weir_clock *clock,
                                 struct weir_error *err) {
    if (directory[0] == 0) return weir_fail(err, WEIR_INVALID, 0, false, "file: directory is empty");
    if (limits->max_file_bytes > limits->max_total_bytes) {
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "file: max_file_bytes %" PRIu64 " is more than max_total_bytes %" PRIu64,
                         limits->max_file_bytes, limits->max_total_bytes);
    }
    enum weir_status status = make_directory(directory, err);
    if (status != WEIR_OK) return status;
    if (access(directory, W_OK | X_OK) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "file: directory %s: %s", directory, strerror(errno));
    }
    struct weir_store *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, false, "file: out of memory");
    snprintf(made->directory, sizeof made->directory, "%s", directory);
    made->limits = *limits;
    made->clock = clock;
    made->fd = -1;
    char oldest[PATH_MAX];
    uint64_t size;
    survey(made, oldest, &size);
    made->counts.held_bytes = made->closed_bytes;
    *store = made;
    return WEIR_OK;
}

void weir_store_close(struct weir_store *store) {
    if (store == NULL) return;
    close_current(store);
    free(store);
}
