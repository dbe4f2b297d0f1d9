#define _GNU_SOURCE /* statx, versionsort */
#include "collector/cli/spool/dir.h"
#include "collector/core/clock.h"
#include "collector/spool/journal_inside.h" /* types of its records */
#include "collector/spool/record.h"
#include "collector/spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- what is there ---- */

static uint64_t ns_of(const struct statx_timestamp *time) {
    return time->tv_sec < 0 ? 0 : (uint64_t)time->tv_sec * WEIR_S + time->tv_nsec;
}

static bool add_segment(struct weir_spool_part *part, uint64_t number) {
    char name[WEIR_LOG_NAME_BYTES];
    struct statx info;
    weir_log_name(number, name);
    if (statx(part->fd, name, 0, STATX_SIZE | STATX_MTIME | STATX_BTIME, &info) != 0) return true; /* it went */
    struct weir_spool_part_segment *grown = realloc(part->segments, (part->segment_count + (size_t)1) * sizeof *grown);
    if (grown == NULL) return false;
    part->segments = grown;
    uint64_t last = ns_of(&info.stx_mtime);
    grown[part->segment_count++] = (struct weir_spool_part_segment){
        .number = number,
        .bytes = info.stx_size,
        .first_unix_ns = (info.stx_mask & STATX_BTIME) != 0 ? ns_of(&info.stx_btime) : last,
        .last_unix_ns = last};
    part->bytes += info.stx_size;
    return true;
}

static int by_number(const void *a, const void *b) {
    const struct weir_spool_part_segment *one = a, *other = b;
    return (one->number > other->number) - (one->number < other->number);
}

static enum weir_status list_segments(struct weir_spool_part *part, struct weir_error *err) {
    int fd = openat(part->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0) close(fd);
        return weir_fail(err, WEIR_IO, errno, false, "%s: %s", part->path, strerror(errno));
    }
    bool room = true;
    for (struct dirent *entry; room && (entry = readdir(folder)) != NULL;) {
        uint64_t number = weir_log_number(entry->d_name);
        if (number != 0) room = add_segment(part, number);
    }
    closedir(folder);
    if (!room) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    if (part->segment_count > 0) qsort(part->segments, part->segment_count, sizeof *part->segments, by_number);
    return WEIR_OK;
}

/* Who has the lock, from the kernel's table: "1: FLOCK  ADVISORY  WRITE 4711 fd:01:123456 0 EOF". */
static pid_t holder(const struct stat *lock) {
    char line[256], wanted[64];
    pid_t found = 0;
    FILE *table = fopen("/proc/locks", "re");
    if (table == NULL) return 0;
    snprintf(wanted, sizeof wanted, "%02x:%02x:%" PRIu64, major(lock->st_dev), minor(lock->st_dev),
             (uint64_t)lock->st_ino);
    while (found == 0 && fgets(line, sizeof line, table) != NULL) {
        char kind[16], place[64];
        int pid;
        if (sscanf(line, "%*s %15s %*s %*s %d %63s", kind, &pid, place) == 3 && strcmp(kind, "FLOCK") == 0 &&
            strcmp(place, wanted) == 0 && pid > 0)
            found = pid;
    }
    fclose(table);
    return found;
}

/* Asking is trying: shared, and let go at once. A Weir that starts in these microseconds finds it taken. */
static void look_at_lock(struct weir_spool_part *part) {
    struct stat info;
    int fd = openat(part->fd, "lock", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        part->in_use = errno == EWOULDBLOCK;
        if (part->in_use && fstat(fd, &info) == 0) part->pid = holder(&info);
    }
    close(fd);
}

static void read_cursor(struct weir_spool_part *part) {
    int fd = openat(part->fd, "cursor", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    weir_spool_read_cursor(fd, &part->cursor_segment, &part->cursor_offset);
    close(fd);
    for (uint32_t i = 0; i < part->segment_count; i++) {
        if (part->segments[i].number == part->cursor_segment) return;
    }
    part->cursor_segment = part->cursor_offset = 0; /* into a segment that is not there: it says nothing */
}

static void close_part(struct weir_spool_part *part) {
    if (part->fd >= 0) close(part->fd);
    free(part->segments);
}

static enum weir_status add_part(struct weir_spool_dir *dir, const char *path, const char *name,
                                 struct weir_error *err) {
    if (dir->part_count == WEIR_SPOOL_PARTS_MAX)
        return weir_fail(err, WEIR_FULL, 0, false, "%s: more than %d exporters", dir->path, WEIR_SPOOL_PARTS_MAX);
    struct weir_spool_part part = {.journal = strcmp(name, "journal") == 0};
    snprintf(part.name, sizeof part.name, "%s", name);
    if (snprintf(part.path, sizeof part.path, "%s", path) >= (int)sizeof part.path)
        return weir_fail(err, WEIR_IO, ENAMETOOLONG, false, "%s: %s", name, strerror(ENAMETOOLONG));
    part.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (part.fd < 0) return weir_fail(err, WEIR_IO, errno, false, "%s: %s", path, strerror(errno));
    look_at_lock(&part); /* first: what goes on meanwhile is then known to be somebody's */
    enum weir_status status = list_segments(&part, err);
    if (status == WEIR_OK && !part.journal) read_cursor(&part);
    struct weir_spool_part *grown = realloc(dir->parts, (dir->part_count + (size_t)1) * sizeof *grown);
    if (status == WEIR_OK && grown == NULL) status = weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    if (grown != NULL) dir->parts = grown;
    if (status != WEIR_OK) {
        close_part(&part);
        return status;
    }
    dir->parts[dir->part_count++] = part;
    return WEIR_OK;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static int is_no_dot(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static enum weir_status add_exporters(struct weir_spool_dir *dir, const char *folder, struct weir_error *err) {
    struct dirent **entries = NULL;
    enum weir_status status = WEIR_OK;
    int count = scandir(folder, &entries, is_no_dot, versionsort);
    if (count < 0) return weir_fail(err, WEIR_IO, errno, false, "%s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX], name[300];
        snprintf(name, sizeof name, "exporters/%s", entries[i]->d_name);
        if (status == WEIR_OK && snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < (int)sizeof path &&
            is_folder(path))
            status = add_part(dir, path, name, err);
        free(entries[i]);
    }
    free((void *)entries);
    return status;
}

/* Is it a part itself? */
static bool has_log(const char *path) {
    DIR *folder = opendir(path);
    bool found = false;
    if (folder == NULL) return false;
    for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;)
        found = weir_log_number(entry->d_name) != 0 || strcmp(entry->d_name, "lock") == 0;
    closedir(folder);
    return found;
}

/* "journal" or "exporters/NAME", as far as the path says. */
static void name_of(const char *path, char *name, size_t size) {
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) snprintf(real, sizeof real, "%s", path);
    char *last = strrchr(real, '/');
    if (last == NULL) {
        snprintf(name, size, "%.80s", real);
        return;
    }
    *last = 0;
    const char *above = strrchr(real, '/');
    bool exporter = strcmp(above == NULL ? real : above + 1, "exporters") == 0;
    snprintf(name, size, "%s%.80s", exporter ? "exporters/" : "", last + 1);
}

enum weir_status weir_spool_dir_open(struct weir_spool_dir *dir, const char *path, struct weir_error *err) {
    char below[PATH_MAX], name[sizeof dir->parts->name];
    *dir = (struct weir_spool_dir){.path = path};
    if (!is_folder(path)) {
        int why = access(path, F_OK) == 0 ? ENOTDIR : errno;
        return weir_fail(err, WEIR_IO, why, false, "%s: %s", path, strerror(why));
    }
    enum weir_status status = WEIR_OK;
    if (has_log(path)) {
        name_of(path, name, sizeof name);
        status = add_part(dir, path, name, err);
    } else {
        if (snprintf(below, sizeof below, "%s/journal", path) < (int)sizeof below && is_folder(below))
            status = add_part(dir, below, "journal", err);
        if (status == WEIR_OK && snprintf(below, sizeof below, "%s/exporters", path) < (int)sizeof below &&
            is_folder(below))
            status = add_exporters(dir, below, err);
        if (status == WEIR_OK && dir->part_count == 0)
            status =
                weir_fail(err, WEIR_INVALID, 0, false, "%s: no spool: neither journal/ nor exporters/ is in it", path);
    }
    if (status != WEIR_OK) weir_spool_dir_close(dir);
    return status;
}

void weir_spool_dir_close(struct weir_spool_dir *dir) {
    for (uint32_t i = 0; i < dir->part_count; i++)
        close_part(&dir->parts[i]);
    free(dir->parts);
    *dir = (struct weir_spool_dir){0};
}

/* ---- its records ---- */

bool weir_spool_part_waits(const struct weir_spool_part *part, uint64_t segment, uint64_t offset) {
    return segment > part->cursor_segment || (segment == part->cursor_segment && offset >= part->cursor_offset);
}

enum weir_spool_kind weir_spool_part_kind(const struct weir_spool_part *part, uint32_t type) {
    if (!part->journal)
        return weir_spool_record_kind(type) == WEIR_SPOOL_RECORD_KIND ? WEIR_SPOOL_BATCH : WEIR_SPOOL_OTHER;
    switch (type) {
    case JOURNAL_SPANS: return WEIR_SPOOL_BLOCK;
    case JOURNAL_DECISIONS: return WEIR_SPOOL_DECISIONS;
    case JOURNAL_MOVED: return WEIR_SPOOL_MOVED;
    case JOURNAL_KEPT: return WEIR_SPOOL_BATCH;
    default: return WEIR_SPOOL_OTHER;
    }
}

struct visit {
    const struct weir_spool_part *part;
    const struct weir_spool_visitor *visitor;
    struct weir_log_reader *reader;
    uint32_t index; /* of the segment */
    uint64_t number, start;
    struct weir_log_damage damage; /* as much of a place as was met; bytes 0: none */
    char why[128];
};

/* The end of the newest segment of a log that is in use may be half of a record. */
static bool is_under_way(const struct visit *visit, const struct weir_log_damage *damage) {
    char name[WEIR_LOG_NAME_BYTES];
    struct stat info;
    if (!visit->part->in_use || visit->index + 1 != visit->part->segment_count) return false;
    weir_log_name(visit->number, name);
    return fstatat(visit->part->fd, name, &info, 0) != 0 ||
           damage->offset + damage->bytes >= visit->part->segments[visit->index].bytes;
}

/* A damaged place comes in parts: it is told when its end is met. */
static void tell_damage(struct visit *visit) {
    visit->damage.why = visit->why;
    if (visit->damage.bytes > 0 && !is_under_way(visit, &visit->damage))
        visit->visitor->damage(visit->visitor->self, visit->part, &visit->damage);
    visit->damage.bytes = 0;
}

static void meet_damage(struct visit *visit, const struct weir_log_damage *damage) {
    if (damage->more_of_it && visit->damage.bytes > 0) {
        visit->damage.bytes += damage->bytes;
        return;
    }
    tell_damage(visit);
    visit->damage = *damage;
    snprintf(visit->why, sizeof visit->why, "%s", damage->why);
}

static bool tell(struct visit *visit, const struct weir_log_record *record) {
    tell_damage(visit);
    if (visit->visitor->waiting_only && !weir_spool_part_waits(visit->part, record->segment, record->offset))
        return true;
    return visit->visitor->record(visit->visitor->self, visit->part, record);
}

static enum weir_status read_all(struct visit *visit, uint64_t from, struct weir_error *err) {
    struct weir_log_record record;
    struct weir_log_damage damage;
    enum weir_status status = weir_log_reader_open(visit->reader, visit->part->fd, visit->number, from, err);
    if (status != WEIR_OK) {
        if (err->sys == ENOENT && visit->part->in_use) return WEIR_OK; /* it was settled meanwhile */
        damage = (struct weir_log_damage){
            .segment = visit->number, .bytes = visit->part->segments[visit->index].bytes, .why = strerror(err->sys)};
        meet_damage(visit, &damage);
        return WEIR_OK;
    }
    for (;;) {
        switch (weir_log_reader_next(visit->reader, &record, &damage)) {
        case WEIR_LOG_NEXT_END: return WEIR_OK;
        case WEIR_LOG_NEXT_FULL: return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
        case WEIR_LOG_NEXT_DAMAGE: meet_damage(visit, &damage); break;
        case WEIR_LOG_NEXT_RECORD:
            if (!tell(visit, &record)) return WEIR_CLOSED;
            break;
        }
    }
}

/* From head to head; where one is damaged, the rest is read as a whole. */
static enum weir_status read_heads(struct visit *visit, struct weir_error *err) {
    uint8_t bytes[WEIR_LOG_HEAD_BYTES + WEIR_SPOOL_GLANCE_BYTES];
    char name[WEIR_LOG_NAME_BYTES];
    uint32_t version = 0;
    weir_log_name(visit->number, name);
    int fd = openat(visit->part->fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, bytes, WEIR_LOG_HEADER_BYTES, 0);
    uint64_t offset = visit->start > WEIR_LOG_HEADER_BYTES ? visit->start : WEIR_LOG_HEADER_BYTES;
    bool plain = got == WEIR_LOG_HEADER_BYTES &&
                 weir_log_read_header(bytes, (size_t)got, visit->number, &version) == WEIR_LOG_HEADER_OK;
    enum weir_status status = WEIR_OK;
    while (plain && status == WEIR_OK && (got = pread(fd, bytes, sizeof bytes, (off_t)offset)) > 0) {
        struct weir_log_record record = {
            .segment = visit->number, .offset = offset, .bytes = bytes + WEIR_LOG_HEAD_BYTES};
        uint32_t payload = 0;
        plain = got >= WEIR_LOG_HEAD_BYTES &&
                weir_log_read_head(bytes, visit->number, offset, &record.type, &payload) &&
                offset + WEIR_LOG_HEAD_BYTES + payload <= visit->part->segments[visit->index].bytes;
        if (!plain) break;
        record.size = payload;
        if (!tell(visit, &record)) status = WEIR_CLOSED;
        offset += WEIR_LOG_HEAD_BYTES + payload;
    }
    if (fd >= 0) close(fd);
    if (status != WEIR_OK || (plain && got == 0)) return status;
    return read_all(visit, offset > WEIR_LOG_HEADER_BYTES ? offset : visit->start, err);
}

enum weir_status weir_spool_part_visit(const struct weir_spool_part *part, const struct weir_spool_visitor *visitor,
                                       struct weir_error *err) {
    struct visit visit = {.part = part, .visitor = visitor, .reader = weir_log_reader_new()};
    enum weir_status status = WEIR_OK;
    if (visit.reader == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    for (; status == WEIR_OK && visit.index < part->segment_count; visit.index++) {
        visit.number = part->segments[visit.index].number;
        visit.start = 0;
        if (visitor->waiting_only && visit.number < part->cursor_segment) continue;
        if (visitor->waiting_only && visit.number == part->cursor_segment) visit.start = part->cursor_offset;
        status = visitor->heads_only ? read_heads(&visit, err) : read_all(&visit, visit.start, err);
        tell_damage(&visit);
    }
    weir_log_reader_free(visit.reader);
    return status;
}
