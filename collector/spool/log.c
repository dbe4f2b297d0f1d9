#include "collector/spool/log.h"
#include "collector/spool/log_read.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 500000000ull /* before a disk that did not give what is there is asked again */

struct segment {
    uint64_t number, bytes;
    uint32_t pins;
    bool found;    /* at open */
    bool held;     /* and not let go: one of the pins is for that */
    bool unsynced; /* it, or a part of it, may be in the page cache only */
};

struct weir_log {
    char directory[PATH_MAX / 2];
    int directory_fd, lock_fd;
    struct weir_log_disk disk;
    uint64_t segment_bytes, max_bytes;
    uint64_t patience_ns; /* what is left of it; who replays */
    bool in_place;
    uint64_t newest_found;
    struct weir_log_stats replayed; /* what replay saw; who replays */
    pthread_mutex_t lock;
    /* under lock */
    struct segment *segments; /* the oldest first; at least one after the first append */
    size_t count, capacity;
    uint64_t next;              /* number */
    uint64_t bytes, held_bytes; /* held_bytes: of those found and not let go */
    int fd;                     /* of the newest, when it is being written; else -1 */
    bool names_changed;
};

/* ---- the disk ---- */

static int system_create(int directory_fd, const char *name) {
    return openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static int system_unlink(int directory_fd, const char *name) {
    return unlinkat(directory_fd, name, 0);
}

static void system_pause(uint64_t ns) {
    struct timespec left = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* fsync for the directory: that fdatasync of one makes its names last is promised nowhere, and it costs the same. */
static struct weir_log_disk disk_of(const struct weir_log_disk *given) {
    struct weir_log_disk disk = {system_create, pwrite, ftruncate, fdatasync, fsync, system_unlink, system_pause};
    if (given == NULL) return disk;
    if (given->create != NULL) disk.create = given->create;
    if (given->write != NULL) disk.write = given->write;
    if (given->truncate != NULL) disk.truncate = given->truncate;
    if (given->sync != NULL) disk.sync = given->sync;
    if (given->sync_names != NULL) disk.sync_names = given->sync_names;
    if (given->unlink != NULL) disk.unlink = given->unlink;
    if (given->pause != NULL) disk.pause = given->pause;
    return disk;
}

/* ---- the directory ---- */

/* Makes it and what is above it. What was made is made to last, name by name. */
static enum weir_status make_directory(const char *directory, struct weir_error *err) {
    char path[PATH_MAX / 2];
    snprintf(path, sizeof path, "%s", directory);
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != 0) continue;
        char kept = *at;
        *at = 0;
        if (mkdir(path, 0700) == 0) {
            char *slash = strrchr(path, '/');
            size_t above = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
            char parent[PATH_MAX / 2] = ".";
            if (above > 0) snprintf(parent, sizeof parent, "%.*s", (int)above, path);
            int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd >= 0) {
                fsync(fd); /* best effort: a directory that is lost with the power had nothing in it */
                close(fd);
            }
        } else if (errno != EEXIST) {
            return weir_fail(err, WEIR_IO, errno, true, "log: make directory %s: %s", path, strerror(errno));
        }
        if (kept == 0) return WEIR_OK;
        *at = kept;
    }
}

static int by_number(const void *a, const void *b) {
    const struct segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static enum weir_status add_segment(struct weir_log *log, struct segment segment, struct weir_error *err) {
    if (log->count == log->capacity) {
        size_t capacity = log->capacity == 0 ? 16 : log->capacity * 2;
        struct segment *grown = realloc(log->segments, capacity * sizeof *grown);
        if (grown == NULL) return weir_fail(err, WEIR_FULL, 0, true, "log: out of memory");
        log->segments = grown;
        log->capacity = capacity;
    }
    log->segments[log->count++] = segment;
    return WEIR_OK;
}

static enum weir_status survey(struct weir_log *log, struct weir_error *err) {
    int fd = openat(log->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        int why = errno;
        if (fd >= 0) close(fd);
        return weir_fail(err, WEIR_IO, why, true, "log: read directory %s: %s", log->directory, strerror(why));
    }
    enum weir_status status = WEIR_OK;
    for (struct dirent *entry; status == WEIR_OK && (entry = readdir(folder)) != NULL;) {
        struct stat info;
        uint64_t number = weir_log_number(entry->d_name);
        if (number == 0 || fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) {
            continue;
        }
        /* unsynced: who wrote it may have died before its sync, and what is read of it now may be in memory only */
        status = add_segment(log, (struct segment){number, (uint64_t)info.st_size, 1, true, !log->in_place, true}, err);
        log->bytes += (uint64_t)info.st_size;
        if (number >= log->next) log->next = number + 1;
    }
    closedir(folder);
    if (log->count > 0) qsort(log->segments, log->count, sizeof *log->segments, by_number);
    log->held_bytes = log->in_place ? 0 : log->bytes;
    log->names_changed = log->count > 0;
    log->newest_found = log->count > 0 ? log->segments[log->count - 1].number : 0;
    return status;
}

/* errno, or 0. Who looks whether the directory is in use has the lock for a moment: that is waited for. */
static int lock(int fd) {
    enum { TRIES = 20, PAUSE_MS = 10 };
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK || i >= TRIES) return errno;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000 * 1000}, NULL);
    }
    return 0;
}

enum weir_status weir_log_open(struct weir_log **log, const struct weir_log_options *options, struct weir_error *err) {
    if (options->directory[0] == 0 || strlen(options->directory) >= PATH_MAX / 2) {
        return weir_fail(err, WEIR_INVALID, 0, false, "log: directory is %s",
                         options->directory[0] == 0 ? "empty" : "too long");
    }
    if (options->segment_bytes < 1 << 20 || options->segment_bytes > 1 << 30 ||
        options->max_bytes < 2 * options->segment_bytes) {
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "log: segment_bytes %" PRIu64 " is not from 1MiB to 1GiB, or max_bytes %" PRIu64
                         " is less than two of them",
                         options->segment_bytes, options->max_bytes);
    }
    enum weir_status status = make_directory(options->directory, err);
    if (status != WEIR_OK) return status;
    struct weir_log *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, true, "log: out of memory");
    snprintf(made->directory, sizeof made->directory, "%s", options->directory);
    made->disk = disk_of(options->disk);
    made->segment_bytes = options->segment_bytes;
    made->max_bytes = options->max_bytes;
    made->patience_ns = options->patience_ns;
    made->in_place = options->in_place;
    made->next = 1;
    made->fd = made->lock_fd = -1;
    pthread_mutex_init(&made->lock, NULL);
    made->directory_fd = open(made->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made->directory_fd < 0) {
        status = weir_fail(err, WEIR_IO, errno, false, "log: open directory %s: %s", made->directory, strerror(errno));
        goto fail;
    }
    made->lock_fd = openat(made->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (made->lock_fd < 0) {
        status = weir_fail(err, WEIR_IO, errno, false, "log: open %s/lock: %s", made->directory, strerror(errno));
        goto fail;
    }
    int why = lock(made->lock_fd);
    if (why != 0) {
        status = weir_fail(err, WEIR_IO, why, false, "log: %s/lock: %s", made->directory,
                           why == EWOULDBLOCK ? "another process has the directory" : strerror(why));
        goto fail;
    }
    if ((status = survey(made, err)) != WEIR_OK) goto fail;
    *log = made;
    return WEIR_OK;
fail:
    weir_log_close(made);
    return status;
}

void weir_log_close(struct weir_log *log) {
    if (log == NULL) return;
    if (log->fd >= 0) close(log->fd);
    if (log->lock_fd >= 0) close(log->lock_fd); /* and so the lock */
    if (log->directory_fd >= 0) close(log->directory_fd);
    pthread_mutex_destroy(&log->lock);
    free(log->segments);
    free(log);
}

/* ---- pins, and what goes: under the lock ---- */

static struct segment *find(struct weir_log *log, uint64_t number) {
    struct segment key = {.number = number};
    return log->count == 0 ? NULL : bsearch(&key, log->segments, log->count, sizeof key, by_number);
}

static enum weir_status begin_segment(struct weir_log *log, struct weir_error *err);

/* The one that is being written is full, or not to be trusted. */
static void end_segment(struct weir_log *log) {
    if (log->fd < 0) return;
    close(log->fd);
    log->fd = -1;
}

static void trim(struct weir_log *log) {
    size_t gone = 0;
    while (gone < log->count && log->segments[gone].pins == 0) {
        if (gone + 1 == log->count) { /* the newest holds the number: another takes it over */
            if (log->fd >= 0 || begin_segment(log, NULL) != WEIR_OK) break;
        }
        char name[WEIR_LOG_NAME_BYTES];
        weir_log_name(log->segments[gone].number, name);
        if (log->disk.unlink(log->directory_fd, name) != 0 && errno != ENOENT) break; /* the next trim tries again */
        log->bytes -= log->segments[gone].bytes;
        log->names_changed = true;
        gone++;
    }
    if (gone == 0) return;
    log->count -= gone;
    memmove(log->segments, log->segments + gone, log->count * sizeof *log->segments);
}

void weir_log_trim(struct weir_log *log) {
    pthread_mutex_lock(&log->lock);
    trim(log);
    pthread_mutex_unlock(&log->lock);
}

static void clear(struct weir_log *log) {
    if (log->fd >= 0) {
        const struct segment *newest = &log->segments[log->count - 1];
        if (newest->pins == 0 && newest->bytes > WEIR_LOG_HEADER_BYTES) end_segment(log);
    }
    trim(log);
}

void weir_log_clear(struct weir_log *log) {
    pthread_mutex_lock(&log->lock);
    clear(log);
    pthread_mutex_unlock(&log->lock);
}

void weir_log_pin(struct weir_log *log, uint64_t segment) {
    pthread_mutex_lock(&log->lock);
    struct segment *found = find(log, segment);
    if (found != NULL) found->pins++;
    pthread_mutex_unlock(&log->lock);
}

void weir_log_unpin(struct weir_log *log, uint64_t segment) {
    pthread_mutex_lock(&log->lock);
    struct segment *found = find(log, segment);
    if (found != NULL) {
        assert(found->pins > 0);
        found->pins--;
    }
    pthread_mutex_unlock(&log->lock);
}

void weir_log_let_go(struct weir_log *log) {
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < log->count; i++) {
        if (!log->segments[i].held) continue;
        log->segments[i].held = false;
        log->segments[i].pins--;
    }
    log->held_bytes = 0;
    pthread_mutex_unlock(&log->lock);
}

uint64_t weir_log_found(const struct weir_log *log) {
    return log->newest_found;
}

void weir_log_stats(struct weir_log *log, struct weir_log_stats *stats) {
    pthread_mutex_lock(&log->lock);
    *stats = log->replayed;
    stats->bytes = log->bytes;
    stats->segments = log->count;
    pthread_mutex_unlock(&log->lock);
}

/* ---- appending: under the lock ---- */

/* All or nothing. A part that cannot be cut off stays as a torn end, and nothing is written behind it. */
static enum weir_status write_at_end(struct weir_log *log, const void *bytes, size_t size, uint64_t offset,
                                     struct weir_error *err) {
    const uint8_t *from = bytes;
    while (size > 0) {
        ssize_t wrote = log->disk.write(log->fd, from, size, (off_t)offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            int why = wrote < 0 ? errno : ENOSPC;
            char name[WEIR_LOG_NAME_BYTES];
            weir_log_name(log->segments[log->count - 1].number, name);
            return weir_fail(err, WEIR_IO, why, true, "log: write %s/%s: %s", log->directory, name, strerror(why));
        }
        from += wrote;
        offset += (uint64_t)wrote;
        size -= (size_t)wrote;
    }
    return WEIR_OK;
}

static enum weir_status begin_segment(struct weir_log *log, struct weir_error *err) {
    uint8_t header[WEIR_LOG_HEADER_BYTES];
    char name[WEIR_LOG_NAME_BYTES];
    do { /* a file that could not be removed, or that somebody put there, keeps its number */
        weir_log_name(log->next, name);
        log->fd = log->disk.create(log->directory_fd, name);
    } while (log->fd < 0 && errno == EEXIST && log->next++ < INT64_MAX);
    if (log->fd < 0) {
        return weir_fail(err, WEIR_IO, errno, true, "log: create %s/%s: %s", log->directory, name, strerror(errno));
    }
    enum weir_status status = add_segment(log, (struct segment){.number = log->next, .unsynced = true}, err);
    if (status == WEIR_OK) {
        weir_log_write_header(header, log->next);
        status = write_at_end(log, header, sizeof header, 0, err);
        if (status != WEIR_OK) log->count--;
    }
    if (status != WEIR_OK) {
        end_segment(log);
        log->disk.unlink(log->directory_fd, name);
        return status;
    }
    log->segments[log->count - 1].bytes = sizeof header;
    log->bytes += sizeof header;
    log->names_changed = true;
    log->next++;
    return WEIR_OK;
}

/* The bound holds with `more` bytes, and perhaps a segment's header. */
static bool fits(const struct weir_log *log, uint64_t more) {
    return log->bytes - log->held_bytes + more + WEIR_LOG_HEADER_BYTES <= log->max_bytes;
}

static enum weir_status append(struct weir_log *log, uint32_t type, const void *bytes, size_t size, bool pinned,
                               uint64_t *where, struct weir_error *err) {
    uint64_t more = WEIR_LOG_HEAD_BYTES + (uint64_t)size;
    if (!fits(log, more)) trim(log);
    if (!fits(log, more)) clear(log);
    if (!fits(log, more)) {
        return weir_fail(err, WEIR_FULL, 0, true, "log: %s holds %" PRIu64 " bytes, max_bytes is %" PRIu64,
                         log->directory, log->bytes, log->max_bytes);
    }
    if (log->fd >= 0) {
        uint64_t used = log->segments[log->count - 1].bytes;
        if (used + more > log->segment_bytes && used > WEIR_LOG_HEADER_BYTES) end_segment(log);
    }
    if (log->fd < 0) {
        enum weir_status status = begin_segment(log, err);
        if (status != WEIR_OK) return status;
    }
    struct segment *newest = &log->segments[log->count - 1];
    uint8_t head[WEIR_LOG_HEAD_BYTES];
    weir_log_write_head(head, newest->number, newest->bytes, type, bytes, size);
    enum weir_status status = write_at_end(log, head, sizeof head, newest->bytes, err);
    if (status == WEIR_OK) status = write_at_end(log, bytes, size, newest->bytes + sizeof head, err);
    if (status != WEIR_OK) {
        if (log->disk.truncate(log->fd, (off_t)newest->bytes) != 0) end_segment(log);
        return status;
    }
    newest->bytes += more;
    newest->unsynced = true;
    log->bytes += more;
    if (pinned) newest->pins++;
    *where = newest->number;
    return WEIR_OK;
}

enum weir_status weir_log_append(struct weir_log *log, uint32_t type, const void *bytes, size_t size, uint64_t *segment,
                                 struct weir_error *err) {
    uint64_t where = 0;
    if (size > WEIR_LOG_RECORD_MAX) {
        return weir_fail(err, WEIR_INVALID, 0, false, "log: a record of %zu bytes is larger than 16 MiB", size);
    }
    pthread_mutex_lock(&log->lock);
    enum weir_status status = append(log, type, bytes, size, segment != NULL, &where, err);
    pthread_mutex_unlock(&log->lock);
    if (status == WEIR_OK && segment != NULL) *segment = where;
    return status;
}

uint64_t weir_log_pin_newest(struct weir_log *log) {
    uint64_t number = 0;
    pthread_mutex_lock(&log->lock);
    if (log->fd >= 0 || begin_segment(log, NULL) == WEIR_OK) {
        number = log->segments[log->count - 1].number;
        log->segments[log->count - 1].pins++;
    }
    pthread_mutex_unlock(&log->lock);
    return number;
}

uint64_t weir_log_writing(struct weir_log *log) {
    pthread_mutex_lock(&log->lock);
    uint64_t number = log->fd >= 0 ? log->segments[log->count - 1].number : 0;
    pthread_mutex_unlock(&log->lock);
    return number;
}

/* ---- syncing ---- */

static enum weir_status sync_failed(struct weir_log *log, const char *name, int why, struct weir_error *err) {
    return weir_fail(err, WEIR_IO, why, true, "log: sync %s/%s: %s", log->directory, name, strerror(why));
}

/* Of the first segment from `number` on that needs it. A full one is opened anew: the kernel syncs files, not
 * descriptors. *number: the one that was synced; 0 = none needed it. */
static enum weir_status sync_one(struct weir_log *log, uint64_t *number, struct weir_error *err) {
    char name[WEIR_LOG_NAME_BYTES];
    pthread_mutex_lock(&log->lock);
    size_t i = 0;
    while (i < log->count && (log->segments[i].number < *number || !log->segments[i].unsynced))
        i++;
    if (i == log->count) {
        pthread_mutex_unlock(&log->lock);
        *number = 0;
        return WEIR_OK;
    }
    uint64_t bytes = log->segments[i].bytes;
    *number = log->segments[i].number;
    weir_log_name(*number, name);
    bool writing = log->fd >= 0 && i + 1 == log->count;
    int fd = writing ? fcntl(log->fd, F_DUPFD_CLOEXEC, 0) : openat(log->directory_fd, name, O_WRONLY | O_CLOEXEC);
    int why = fd < 0 ? errno : 0;
    pthread_mutex_unlock(&log->lock);
    if (fd >= 0 && log->disk.sync(fd) != 0) why = errno;
    if (fd >= 0) close(fd);
    pthread_mutex_lock(&log->lock);
    struct segment *synced = find(log, *number);
    if (why == 0) {
        if (synced != NULL && synced->bytes == bytes) synced->unsynced = false;
    } else if (synced != NULL) {
        /* The kernel takes pages that it failed to write for clean: a second try would be told a lie. What came
         * meanwhile has a try of its own. */
        synced->unsynced = synced->bytes != bytes;
        if (log->fd >= 0 && log->segments[log->count - 1].number == *number) end_segment(log);
    }
    pthread_mutex_unlock(&log->lock);
    return why == 0 || synced == NULL ? WEIR_OK : sync_failed(log, name, why, err);
}

enum weir_status weir_log_sync(struct weir_log *log, struct weir_error *err) {
    enum weir_status status = WEIR_OK, one;
    for (uint64_t number = 1; number != 0; number++) {
        if ((one = sync_one(log, &number, err)) != WEIR_OK) status = one;
        if (number == 0) break;
    }
    pthread_mutex_lock(&log->lock);
    bool names = log->names_changed;
    log->names_changed = false;
    pthread_mutex_unlock(&log->lock);
    if (names && log->disk.sync_names(log->directory_fd) != 0) {
        status = sync_failed(log, "", errno, err);
        pthread_mutex_lock(&log->lock);
        log->names_changed = true;
        pthread_mutex_unlock(&log->lock);
    }
    return status;
}

/* ---- reading ---- */

int weir_log_directory(const struct weir_log *log) {
    return log->directory_fd;
}

bool weir_log_segment_after(struct weir_log *log, uint64_t number, struct weir_log_segment *segment) {
    pthread_mutex_lock(&log->lock);
    size_t i = 0;
    while (i < log->count && log->segments[i].number <= number)
        i++;
    bool more = i < log->count;
    if (more) {
        const struct segment *found = &log->segments[i];
        *segment = (struct weir_log_segment){found->number, found->bytes, found->found};
    }
    pthread_mutex_unlock(&log->lock);
    return more;
}

struct replay {
    int (*record)(void *self, const struct weir_log_record *record);
    void (*broken)(void *self, const char *file, uint64_t offset, const char *why);
    void *self;
    struct weir_log_reader *reader;
    struct weir_log_stats stats;
};

static void tell_broken(struct replay *replay, const struct weir_log_damage *damage) {
    char name[WEIR_LOG_NAME_BYTES];
    replay->stats.bytes_bad += damage->bytes;
    if (damage->more_of_it) return;
    replay->stats.records_bad++;
    weir_log_name(damage->segment, name);
    if (replay->broken != NULL) replay->broken(replay->self, name, damage->offset, damage->why);
}

/* True after a pause: an error of reading may pass, and what was acknowledged must not go with it. */
static bool is_patient(struct weir_log *log) {
    if (log->patience_ns < PAUSE_NS) return false;
    log->patience_ns -= PAUSE_NS;
    log->disk.pause(PAUSE_NS);
    return true;
}

static enum weir_status replay_segment(struct replay *replay, struct weir_log *log,
                                       const struct weir_log_segment *segment, struct weir_error *err) {
    struct weir_log_record record;
    struct weir_log_damage damage = {.segment = segment->number, .bytes = segment->bytes};
    struct weir_error why = {0};
    while (weir_log_reader_open(replay->reader, log->directory_fd, segment->number, 0, &why) != WEIR_OK) {
        if (why.sys != ENOENT && is_patient(log)) continue;
        damage.why = strerror(why.sys);
        tell_broken(replay, &damage);
        return WEIR_OK;
    }
    for (;;) {
        switch (weir_log_reader_next(replay->reader, &record, &damage)) {
        case WEIR_LOG_NEXT_END: return WEIR_OK;
        case WEIR_LOG_NEXT_FULL: return weir_fail(err, WEIR_FULL, 0, true, "log: out of memory");
        case WEIR_LOG_NEXT_DAMAGE:
            /* Asked again from the same place, as often as there is patience; what cannot be opened is told then. */
            if (damage.refused && is_patient(log) &&
                weir_log_reader_open(replay->reader, log->directory_fd, segment->number, damage.offset, &why) ==
                    WEIR_OK)
                break;
            tell_broken(replay, &damage);
            break;
        case WEIR_LOG_NEXT_RECORD:
            if (replay->record(replay->self, &record) != 0) return WEIR_CLOSED;
            break;
        }
    }
}

enum weir_status weir_log_replay(struct weir_log *log, int (*record)(void *self, const struct weir_log_record *record),
                                 void (*broken)(void *self, const char *file, uint64_t offset, const char *why),
                                 void *self, struct weir_error *err) {
    struct replay replay = {.record = record, .broken = broken, .self = self, .reader = weir_log_reader_new()};
    if (replay.reader == NULL) return weir_fail(err, WEIR_FULL, 0, true, "log: out of memory");
    enum weir_status status = WEIR_OK;
    struct weir_log_segment segment;
    /* From number to number: others may append and trim meanwhile. */
    for (uint64_t number = 0; status == WEIR_OK && weir_log_segment_after(log, number, &segment) && segment.found;
         number = segment.number) {
        const struct weir_log_damage missing = {.segment = segment.number, .why = "segments before it are missing"};
        if (number != 0 && segment.number != number + 1) tell_broken(&replay, &missing);
        status = replay_segment(&replay, log, &segment, err);
    }
    weir_log_reader_free(replay.reader);
    pthread_mutex_lock(&log->lock);
    log->replayed = replay.stats;
    pthread_mutex_unlock(&log->lock);
    return status;
}
