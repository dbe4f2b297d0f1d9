/* spool_found.c - what a start finds in a spool's directory: where the cursor is, and how many spans are behind it,
 * without reading a backlog. A full segment tells by its index, at its end; only one that was being written when the
 * process died, or in which the cursor stands, is gone through, from head to head. */
#include "collector/spool/spool_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static const char magic[8] = "WEIRCUR\n";
enum { CURSOR_VERSION = 1 };

void weir_spool_write_cursor(struct weir_spool *spool) {
    uint8_t bytes[SPOOL_CURSOR_BYTES] = {0};
    const uint32_t version = CURSOR_VERSION;
    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + 8, &version, sizeof version);
    memcpy(bytes + 16, &spool->cursor_segment, 8);
    memcpy(bytes + 24, &spool->cursor_offset, 8);
    uint64_t sum = XXH3_64bits(bytes, 32);
    memcpy(bytes + 32, &sum, 8);
    /* Best effort: with an older one spans come again, none is lost. */
    if (pwrite(spool->cursor_fd, bytes, sizeof bytes, 0) == sizeof bytes) spool->cursor_moved = false;
}

void weir_spool_read_cursor(int fd, uint64_t *segment, uint64_t *offset) {
    uint8_t bytes[SPOOL_CURSOR_BYTES];
    uint32_t version;
    uint64_t sum;
    if (pread(fd, bytes, sizeof bytes, 0) != sizeof bytes) return;
    memcpy(&version, bytes + 8, 4);
    memcpy(&sum, bytes + 32, 8);
    if (memcmp(bytes, magic, sizeof magic) != 0 || version != CURSOR_VERSION || sum != XXH3_64bits(bytes, 32)) return;
    memcpy(segment, bytes + 16, 8);
    memcpy(offset, bytes + 24, 8);
}

bool weir_spool_add_segment(struct weir_spool *spool, const struct spool_segment *segment) {
    if (spool->segment_count == spool->segment_capacity) {
        size_t capacity = spool->segment_capacity == 0 ? 16 : 2 * spool->segment_capacity;
        struct spool_segment *grown = realloc(spool->segments, capacity * sizeof *grown);
        if (grown == NULL) return false;
        spool->segments = grown;
        spool->segment_capacity = capacity;
    }
    spool->segments[spool->segment_count++] = *segment;
    return true;
}

static bool read_whole(int fd, void *bytes, size_t size, uint64_t offset) {
    ssize_t got;
    do {
        got = pread(fd, bytes, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)size;
}

static void count_record(struct spool_segment *segment, uint32_t type) {
    if (weir_spool_record_kind(type) != WEIR_SPOOL_RECORD_KIND) return;
    segment->records++;
    segment->spans += weir_spool_record_spans(type);
}

static bool has_index(int fd, uint64_t bytes, struct spool_segment *segment) {
    uint8_t record[SPOOL_INDEX_RECORD_BYTES];
    struct weir_log_record found;
    size_t step;
    const char *why;
    if (segment->start > WEIR_LOG_HEADER_BYTES || bytes < WEIR_LOG_HEADER_BYTES + sizeof record) return false;
    uint64_t offset = bytes - sizeof record;
    if (!read_whole(fd, record, sizeof record, offset)) return false;
    if (weir_log_read(record, sizeof record, true, segment->number, offset, &found, &step, &why) != WEIR_LOG_RECORD)
        return false;
    if (found.type != SPOOL_INDEX_KIND || found.size != SPOOL_INDEX_BYTES) return false;
    memcpy(&segment->records, found.bytes, 4);
    memcpy(&segment->spans, found.bytes + 8, 8);
    memcpy(&segment->newest_unix_ns, found.bytes + 16, 8);
    return true;
}

/* The rest of a segment in which a head is damaged: as who reads it back will find it. */
static void count_slowly(struct weir_spool *spool, struct spool_segment *segment, uint64_t offset) {
    struct weir_log_record record;
    struct weir_log_damage damage;
    struct weir_error err;
    if (weir_log_reader_open(spool->reader, weir_log_directory(spool->log), segment->number, offset, &err) != WEIR_OK)
        return;
    for (enum weir_log_next next;
         (next = weir_log_reader_next(spool->reader, &record, &damage)) != WEIR_LOG_NEXT_END;) {
        if (next == WEIR_LOG_NEXT_FULL) break;
        if (next == WEIR_LOG_NEXT_RECORD) count_record(segment, record.type);
    }
    weir_log_reader_close(spool->reader);
}

static void count_heads(struct weir_spool *spool, int fd, uint64_t bytes, struct spool_segment *segment) {
    uint64_t offset = segment->start > WEIR_LOG_HEADER_BYTES ? segment->start : WEIR_LOG_HEADER_BYTES;
    uint8_t head[WEIR_LOG_HEAD_BYTES];
    while (offset < bytes) {
        uint32_t type, size;
        if (bytes - offset < sizeof head || !read_whole(fd, head, sizeof head, offset) ||
            !weir_log_read_head(head, segment->number, offset, &type, &size) || size > bytes - offset - sizeof head) {
            count_slowly(spool, segment, offset);
            return;
        }
        count_record(segment, type);
        offset += sizeof head + size;
    }
}

/* Of a version of the format that this does not read: said by its header. */
static bool is_foreign(const struct weir_spool *spool, int fd, const char *name, uint64_t number) {
    uint8_t header[WEIR_LOG_HEADER_BYTES];
    uint32_t version = 0;
    if (!read_whole(fd, header, sizeof header, 0) ||
        weir_log_read_header(header, sizeof header, number, &version) != WEIR_LOG_HEADER_OTHER)
        return false;
    weir_log(WEIR_LOG_ERROR, "spool_foreign exporter=%s file=%s version=%u reads=%u", spool->exporter, name, version,
             WEIR_LOG_VERSION);
    return true;
}

/* False: it cannot be read here, and is left alone. */
static bool look_into(struct weir_spool *spool, uint64_t bytes, struct spool_segment *segment) {
    char name[WEIR_LOG_NAME_BYTES];
    struct weir_log_damage damage = {.segment = segment->number, .bytes = bytes, .why = "no record"};
    weir_log_name(segment->number, name);
    int fd = openat(weir_log_directory(spool->log), name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        damage.why = strerror(errno);
        weir_spool_tell_damage(spool, &damage);
        return false;
    }
    /* One page, and not what the kernel would read ahead of it: there may be thousands of these. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    bool known = has_index(fd, bytes, segment);
    uint8_t byte;
    if (!known && bytes > 0 &&
        pread(fd, &byte, 1, 0) < 0) { /* the disk does not give what is there: not to be removed */
        damage.why = strerror(errno);
        weir_spool_tell_damage(spool, &damage);
        close(fd);
        return false;
    }
    bool foreign = !known && is_foreign(spool, fd, name, segment->number);
    if (!known && !foreign) {
        count_heads(spool, fd, bytes, segment);
        if (segment->records == 0 && segment->start == 0 && bytes > WEIR_LOG_HEADER_BYTES)
            weir_spool_tell_damage(spool, &damage);
    }
    close(fd);
    return !foreign;
}

/* False: out of memory. */
static bool look_at(struct weir_spool *spool, const struct weir_log_segment *found) {
    struct spool_segment segment = {.number = found->number};
    bool done = found->number < spool->cursor_segment;
    if (found->number == spool->cursor_segment) segment.start = spool->cursor_offset;
    if (!done) {
        segment.aside = !look_into(spool, found->bytes, &segment);
        done = segment.records == 0 && !segment.aside;
    }
    if (done) {
        weir_log_unpin(spool->log, found->number);
        return true;
    }
    spool->spans += segment.spans;
    return weir_spool_add_segment(spool, &segment);
}

enum weir_status weir_spool_survey(struct weir_spool *spool, struct weir_error *err) {
    struct weir_log_segment found;
    weir_spool_read_cursor(spool->cursor_fd, &spool->cursor_segment, &spool->cursor_offset);
    bool known = false;
    for (uint64_t n = 0; weir_log_segment_after(spool->log, n, &found); n = found.number)
        known = known || found.number == spool->cursor_segment;
    /* A cursor into a segment that is not there says nothing, and must not outlive this start: a power cut may have
     * taken the newest names, and their numbers come again. So that it does not come back with the next power cut
     * either, and pass over what was written and synced meanwhile, this once it is synced. */
    if (!known) {
        bool said = spool->cursor_segment != 0;
        spool->cursor_segment = spool->cursor_offset = 0;
        weir_spool_write_cursor(spool);
        if (said) spool->sync(spool->cursor_fd);
    }
    for (uint64_t n = 0; weir_log_segment_after(spool->log, n, &found); n = found.number) {
        if (!look_at(spool, &found)) return weir_fail(err, WEIR_FULL, 0, true, "spool: out of memory");
    }
    weir_log_trim(spool->log);
    return WEIR_OK;
}
