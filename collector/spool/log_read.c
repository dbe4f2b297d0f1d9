#include "collector/spool/log_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW_BYTES = 256 << 10 };

struct weir_log_reader {
    int fd; /* -1: nothing is open */
    uint64_t segment;
    uint64_t offset; /* of window[at] in the segment */
    uint8_t *window; /* [at, size) was read */
    size_t at, size, capacity;
    bool last;        /* the file ended behind it */
    bool header_seen; /* or not asked for */
    bool finished;    /* unreadable from here on, or not ours to read */
    uint64_t bad_end; /* where the last damaged place ends */
    char why[64];
};

void weir_log_name(uint64_t segment, char name[WEIR_LOG_NAME_BYTES]) {
    snprintf(name, WEIR_LOG_NAME_BYTES, "%08" PRIu64 ".log", segment);
}

uint64_t weir_log_number(const char *name) {
    size_t digits = strspn(name, "0123456789");
    if (digits < 8 || digits > 19 || strcmp(name + digits, ".log") != 0) return 0;
    return strtoull(name, NULL, 10);
}

struct weir_log_reader *weir_log_reader_new(void) {
    struct weir_log_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return NULL;
    reader->fd = -1;
    return reader;
}

void weir_log_reader_close(struct weir_log_reader *reader) {
    if (reader->fd >= 0) close(reader->fd);
    reader->fd = -1;
    reader->finished = true;
    if (reader->capacity > WINDOW_BYTES) {
        free(reader->window);
        reader->window = NULL;
        reader->capacity = 0;
    }
    reader->at = reader->size = 0;
}

void weir_log_reader_free(struct weir_log_reader *reader) {
    if (reader == NULL) return;
    weir_log_reader_close(reader);
    free(reader->window);
    free(reader);
}

uint64_t weir_log_reader_offset(const struct weir_log_reader *reader) {
    return reader->offset;
}

enum weir_status weir_log_reader_open(struct weir_log_reader *reader, int directory_fd, uint64_t segment,
                                      uint64_t offset, struct weir_error *err) {
    char name[WEIR_LOG_NAME_BYTES];
    weir_log_reader_close(reader);
    weir_log_name(segment, name);
    reader->segment = segment;
    reader->offset = offset;
    reader->fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) return weir_fail(err, WEIR_IO, errno, true, "log: open %s: %s", name, strerror(errno));
    reader->last = reader->finished = false;
    reader->header_seen = offset >= WEIR_LOG_HEADER_BYTES;
    reader->bad_end = UINT64_MAX;
    return WEIR_OK;
}

static bool widen(struct weir_log_reader *reader, size_t bytes) {
    if (bytes <= reader->capacity) return true;
    uint8_t *grown = realloc(reader->window, bytes);
    if (grown == NULL) return false;
    reader->window = grown;
    reader->capacity = bytes;
    return true;
}

/* Room in front, then on behind window[size) until it is full or the file ends. False: the disk said no. */
static bool fill(struct weir_log_reader *reader) {
    memmove(reader->window, reader->window + reader->at, reader->size - reader->at);
    reader->size -= reader->at;
    reader->at = 0;
    reader->last = false;
    while (!reader->last && reader->size < reader->capacity) {
        ssize_t got = pread(reader->fd, reader->window + reader->size, reader->capacity - reader->size,
                            (off_t)(reader->offset + reader->size));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) reader->last = true;
        reader->size += (size_t)got;
    }
    return true;
}

static enum weir_log_next damaged(struct weir_log_reader *reader, uint64_t offset, uint64_t bytes, const char *why,
                                  struct weir_log_damage *damage) {
    *damage = (struct weir_log_damage){.segment = reader->segment,
                                       .offset = offset,
                                       .bytes = bytes,
                                       .why = why,
                                       .more_of_it = bytes > 0 && offset == reader->bad_end};
    reader->bad_end = offset + bytes;
    return WEIR_LOG_NEXT_DAMAGE;
}

static uint64_t rest_of(const struct weir_log_reader *reader) {
    struct stat info;
    if (fstat(reader->fd, &info) != 0 || (uint64_t)info.st_size < reader->offset) return 0;
    return (uint64_t)info.st_size - reader->offset;
}

static enum weir_log_next unreadable(struct weir_log_reader *reader, struct weir_log_damage *damage) {
    snprintf(reader->why, sizeof reader->why, "%s", strerror(errno));
    reader->finished = true;
    damaged(reader, reader->offset, rest_of(reader), reader->why, damage);
    damage->refused = true;
    return WEIR_LOG_NEXT_DAMAGE;
}

/* True when there is a damage to tell. */
static bool header_is_bad(struct weir_log_reader *reader, struct weir_log_damage *damage) {
    uint32_t version = 0;
    uint64_t rest = rest_of(reader);
    size_t header = reader->size < WEIR_LOG_HEADER_BYTES ? reader->size : WEIR_LOG_HEADER_BYTES;
    enum weir_log_header found = weir_log_read_header(reader->window, reader->size, reader->segment, &version);
    if (found == WEIR_LOG_HEADER_OTHER) {
        snprintf(reader->why, sizeof reader->why, "format version %u, this reads %d", version, WEIR_LOG_VERSION);
        reader->finished = true;
        damaged(reader, 0, rest, reader->why, damage);
        damage->other_version = true;
        return true;
    }
    reader->at = header;
    reader->offset = header;
    if (found == WEIR_LOG_HEADER_OK) return false;
    damaged(reader, 0, header, "damaged header", damage);
    return true;
}

enum weir_log_next weir_log_reader_next(struct weir_log_reader *reader, struct weir_log_record *record,
                                        struct weir_log_damage *damage) {
    if (reader->finished) return WEIR_LOG_NEXT_END;
    if (!widen(reader, WINDOW_BYTES)) return WEIR_LOG_NEXT_FULL;
    if (reader->at == reader->size && !fill(reader)) return unreadable(reader, damage);
    if (!reader->header_seen) {
        reader->header_seen = true;
        if (header_is_bad(reader, damage)) return WEIR_LOG_NEXT_DAMAGE;
    }
    for (;;) {
        const char *why = NULL;
        size_t step = 0;
        enum weir_log_found found = weir_log_read(reader->window + reader->at, reader->size - reader->at, reader->last,
                                                  reader->segment, reader->offset, record, &step, &why);
        if (found == WEIR_LOG_END) return WEIR_LOG_NEXT_END;
        if (found == WEIR_LOG_MORE) {
            if (!widen(reader, step)) return WEIR_LOG_NEXT_FULL;
            if (!fill(reader)) return unreadable(reader, damage);
            continue;
        }
        uint64_t offset = reader->offset;
        reader->at += step;
        reader->offset += step;
        if (found == WEIR_LOG_RECORD) return WEIR_LOG_NEXT_RECORD;
        return damaged(reader, offset, step, why, damage);
    }
}
