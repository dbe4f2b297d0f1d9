#include "collector/spool/spool_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REFUSALS_MAX = 30 }; /* the queue asks once a second */
/* Before it a clock was not set yet: such a time says nothing of an age. 2020-01-01. */
#define UNIX_NS_LEAST (1577836800 * WEIR_S)

#define ERRORS_HELP                                                                                                    \
    "Batches that could not be written to disk, by reason: full is spool.max_bytes, io the system's answer; read is "  \
    "for those that could not be read back when they were to be."
static const struct weir_metric metrics[SPOOL_METRICS] = {
    [SPOOL_BYTES] = {"spool_bytes", NULL, WEIR_GAUGE,
                     "On disk for an exporter, what is settled and not yet removed included."},
    [SPOOL_LIMIT] = {"spool_limit_bytes", NULL, WEIR_GAUGE, "Bound of weir_spool_bytes."},
    [SPOOL_SEGMENTS] = {"spool_segments", NULL, WEIR_GAUGE, "Files that an exporter's spool has."},
    [SPOOL_DAMAGED_SPANS] = {"spool_damaged_spans_total", NULL, WEIR_COUNTER,
                             "Spans that were on disk and could not be read back."},
    [SPOOL_WRITTEN] = {"spool_written_spans_total", NULL, WEIR_COUNTER,
                       "Spans written to disk because an exporter's queue had no memory for them, or for too long."},
    [SPOOL_WRITTEN_BYTES] = {"spool_written_bytes_total", NULL, WEIR_COUNTER,
                             "Bytes written for weir_spool_written_spans_total, compressed."},
    [SPOOL_READ] = {"spool_read_spans_total", NULL, WEIR_COUNTER, "Spans read back from disk."},
    [SPOOL_DAMAGED_PLACES] = {"spool_damaged_places_total", NULL, WEIR_COUNTER,
                              "Places of segments that are damaged; each is logged with file and offset."},
    [SPOOL_DAMAGED_BYTES] = {"spool_damaged_bytes_total", NULL, WEIR_COUNTER, "Bytes that these places have."},
    [SPOOL_ERRORS_FULL] = {"spool_errors_total", "reason=\"full\"", WEIR_COUNTER, ERRORS_HELP},
    [SPOOL_ERRORS_IO] = {"spool_errors_total", "reason=\"io\"", WEIR_COUNTER, ERRORS_HELP},
    [SPOOL_ERRORS_READ] = {"spool_errors_total", "reason=\"read\"", WEIR_COUNTER, ERRORS_HELP},
};

/* ---- time ---- */

/* Wall-clock time that only ever moves as the monotonic clock does. */
static uint64_t now_unix(const struct weir_spool *spool) {
    return spool->unix_at_open_ns + (weir_mono_ns(spool->clock) - spool->mono_at_open_ns);
}

static uint64_t age_of(const struct weir_spool *spool, uint64_t unix_ns) {
    uint64_t now = now_unix(spool);
    return unix_ns < UNIX_NS_LEAST || unix_ns > now ? 0 : now - unix_ns;
}

/* ---- damage ---- */

void weir_spool_tell_damage(struct weir_spool *spool, const struct weir_log_damage *damage) {
    char name[WEIR_LOG_NAME_BYTES];
    weir_count(spool->metrics, SPOOL_DAMAGED_BYTES, damage->bytes);
    if (damage->more_of_it) return;
    weir_count(spool->metrics, SPOOL_DAMAGED_PLACES, 1);
    weir_log_name(damage->segment, name);
    weir_log_limited(&spool->damage_limit, WEIR_LOG_WARN,
                     "spool_damaged exporter=%s file=%s offset=%" PRIu64 " bytes=%" PRIu64 " why=\"%s\"",
                     spool->exporter, name, damage->offset, damage->bytes, damage->why);
}

/* ---- segments ---- */

static struct spool_segment *find(struct weir_spool *spool, uint64_t number) {
    for (size_t i = 0; i < spool->segment_count; i++) {
        if (spool->segments[i].number == number) return &spool->segments[i];
    }
    return NULL;
}

static void forget(struct weir_spool *spool, struct spool_segment *segment) {
    size_t i = (size_t)(segment - spool->segments);
    if (segment->number == spool->reading_segment) {
        weir_log_reader_close(spool->reader);
        spool->reading_segment = 0;
    }
    if (spool->writing && i + 1 == spool->segment_count) spool->writing = false;
    weir_log_unpin(spool->log, segment->number);
    spool->segment_count--;
    memmove(segment, segment + 1, (spool->segment_count - i) * sizeof *segment);
}

static bool is_idle(const struct spool_segment *segment) {
    return segment->records == 0 && segment->unsettled == 0 && !segment->aside;
}

/* What is settled as a whole goes; the one that is being written only as the last of all. */
static void release(struct weir_spool *spool, uint64_t number) {
    struct spool_segment *segment = find(spool, number);
    if (segment == NULL || !is_idle(segment)) return;
    if (spool->writing && spool->segment_count > 1 && segment == &spool->segments[spool->segment_count - 1]) return;
    forget(spool, segment);
    if (spool->segment_count == 1 && spool->writing && is_idle(&spool->segments[0])) forget(spool, &spool->segments[0]);
    if (spool->segment_count == 0)
        weir_log_clear(spool->log);
    else
        weir_log_trim(spool->log);
}

/* What is in it and was not read back is not wanted any more. Where it is being written, what comes is read from
 * behind that on. */
static uint64_t give_up(struct weir_spool *spool, struct spool_segment *segment) {
    uint64_t spans = segment->spans;
    if (segment->number == spool->reading_segment) {
        weir_log_reader_close(spool->reader);
        spool->reading_segment = 0;
    }
    segment->start = segment->written_bytes;
    spool->spans -= spans;
    segment->records = 0;
    segment->spans = 0;
    segment->aside = false;
    release(spool, segment->number);
    return spans;
}

/* ---- writing ---- */

/* The segment that is being written ends with what is in it, where there is room for that. */
static void write_index(struct weir_spool *spool) {
    struct spool_segment *segment = &spool->segments[spool->segment_count - 1];
    uint8_t index[SPOOL_INDEX_BYTES] = {0};
    if (weir_log_writing(spool->log) != segment->number) { /* the log gave it up: a sync failed, or a torn end stays */
        spool->writing = false;
        return;
    }
    if (segment->written_bytes + sizeof index + WEIR_LOG_HEAD_BYTES > spool->segment_bytes) return;
    memcpy(index, &segment->written_records, 4);
    memcpy(index + 8, &segment->written_spans, 8);
    memcpy(index + 16, &segment->newest_unix_ns, 8);
    if (weir_log_append(spool->log, SPOOL_INDEX_KIND, index, sizeof index, NULL, NULL) != WEIR_OK) return;
    segment->written_bytes += SPOOL_INDEX_RECORD_BYTES;
    spool->writing = false;
}

static enum weir_status append(struct weir_spool *spool, const uint8_t *bytes, size_t size, uint32_t spans,
                               uint64_t unix_ns, struct weir_error *err) {
    uint64_t number, before = 0, more = WEIR_LOG_HEAD_BYTES + size;
    /* Beside the segment that is being written, which cannot go. */
    if (WEIR_LOG_HEADER_BYTES + spool->segment_bytes + more + WEIR_LOG_HEADER_BYTES > spool->max_bytes)
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "spool: a batch of %zu bytes is too large for max_bytes %" PRIu64 " of its spool", size,
                         spool->max_bytes);
    /* With an index behind it the next record does not fit any more either, and the log begins a segment for it. */
    if (spool->writing && spool->segments[spool->segment_count - 1].written_bytes + more + SPOOL_INDEX_RECORD_BYTES >
                              spool->segment_bytes)
        write_index(spool);
    enum weir_status status = weir_log_append(spool->log, weir_spool_record_type(spans), bytes, size, &number, err);
    if (status != WEIR_OK) return status;
    struct spool_segment *segment = spool->segment_count == 0 ? NULL : &spool->segments[spool->segment_count - 1];
    if (segment != NULL && segment->number == number) {
        weir_log_unpin(spool->log, number); /* one is enough */
    } else {
        const struct spool_segment begun = {.number = number, .written_bytes = WEIR_LOG_HEADER_BYTES};
        before = segment != NULL ? segment->number : 0;
        if (!weir_spool_add_segment(spool, &begun)) { /* on disk, and nobody knows: a start finds it */
            weir_log_unpin(spool->log, number);
            return weir_fail(err, WEIR_FULL, 0, true, "spool: out of memory");
        }
        segment = &spool->segments[spool->segment_count - 1];
    }
    spool->writing = true;
    segment->records++;
    segment->spans += spans;
    segment->written_records++;
    segment->written_spans += spans;
    segment->written_bytes += more;
    if (unix_ns > segment->newest_unix_ns) segment->newest_unix_ns = unix_ns;
    spool->spans += spans;
    weir_count(spool->metrics, SPOOL_WRITTEN, spans);
    weir_count(spool->metrics, SPOOL_WRITTEN_BYTES, more);
    if (before != 0) release(spool, before); /* it may have been kept only because it was written to */
    return WEIR_OK;
}

enum weir_status weir_spool_write(struct weir_spool *spool, const struct weir_batch *batch, uint32_t *from,
                                  uint64_t age_ns, struct weir_error *err) {
    uint64_t now = now_unix(spool), unix_ns = age_ns < now ? now - age_ns : 0;
    enum weir_status status = WEIR_OK;
    while (*from < batch->span_count) {
        const uint8_t *bytes;
        size_t size;
        uint32_t to = batch->span_count;
        status = weir_spool_record_write(spool->writer, batch, *from, &to, unix_ns, &bytes, &size, err);
        if (status == WEIR_OK) status = append(spool, bytes, size, to - *from, unix_ns, err);
        if (status != WEIR_OK) break;
        *from = to;
    }
    if (status == WEIR_FULL) weir_count(spool->metrics, SPOOL_ERRORS_FULL, 1);
    if (status == WEIR_IO) weir_count(spool->metrics, SPOOL_ERRORS_IO, 1);
    return status;
}

enum weir_status weir_spool_sync(struct weir_spool *spool, struct weir_error *err) {
    enum weir_status status = weir_log_sync(spool->log, err);
    if (status != WEIR_OK) weir_count(spool->metrics, SPOOL_ERRORS_IO, 1);
    return status;
}

uint64_t weir_spool_make_room(struct weir_spool *spool) {
    /* Files go from the oldest on: while something of it is under way, nothing can. */
    while (spool->segment_count > (spool->writing ? 1 : 0) && spool->segments[0].unsettled == 0) {
        uint64_t lost = give_up(spool, &spool->segments[0]);
        if (lost > 0) return lost;
    }
    return 0;
}

/* ---- reading back ---- */

static bool remember(struct weir_spool *spool, uint64_t segment, uint64_t end) {
    if (spool->reading_count == spool->reading_capacity) {
        size_t capacity = spool->reading_capacity == 0 ? 64 : 2 * spool->reading_capacity;
        struct spool_reading *grown = malloc(capacity * sizeof *grown);
        if (grown == NULL) return false;
        for (size_t i = 0; i < spool->reading_count; i++)
            grown[(spool->first_token + i) % capacity] =
                spool->readings[(spool->first_token + i) % spool->reading_capacity];
        free(spool->readings);
        spool->readings = grown;
        spool->reading_capacity = capacity;
    }
    spool->readings[(spool->first_token + spool->reading_count) % spool->reading_capacity] =
        (struct spool_reading){segment, end, false};
    spool->reading_count++;
    return true;
}

/* The first that has something to read; NULL: none. */
static struct spool_segment *readable(struct weir_spool *spool) {
    for (size_t i = 0; i < spool->segment_count; i++) {
        if (spool->segments[i].records > 0) return &spool->segments[i];
    }
    return NULL;
}

/* Counted out of the segment, as it was counted in; a damaged index may have said less. */
static void count_out(struct weir_spool *spool, struct spool_segment *segment, uint32_t spans) {
    uint64_t known = spans < segment->spans ? spans : segment->spans;
    segment->spans -= known;
    spool->spans -= known;
    if (segment->records > 0) segment->records--;
}

static enum weir_status unpack(struct weir_spool *spool, const struct weir_log_record *record,
                               struct weir_spool_read *read) {
    struct weir_error err = {0};
    uint64_t unix_ns = 0;
    enum weir_status status =
        weir_spool_record_read(spool->batches, record->bytes, record->size, &read->batch, &unix_ns, &err);
    if (status == WEIR_INVALID) {
        weir_spool_tell_damage(spool, &(struct weir_log_damage){.segment = record->segment,
                                                                .offset = record->offset,
                                                                .bytes = record->size + WEIR_LOG_HEAD_BYTES,
                                                                .why = err.text});
    }
    return status;
}

static bool is_expired(const struct weir_spool *spool, const struct weir_log_record *record, uint64_t max_age_ns,
                       uint64_t *age_ns) {
    struct weir_spool_record_head head;
    *age_ns = 0;
    if (weir_spool_record_head(record->bytes, record->size, &head, NULL) != WEIR_OK) return false;
    *age_ns = age_of(spool, head.unix_ns);
    return *age_ns > max_age_ns;
}

/* True: *read is what was asked for, or there is no memory for it; false: look again. */
static bool take_record(struct weir_spool *spool, struct spool_segment *segment, const struct weir_log_record *record,
                        uint64_t max_age_ns, struct weir_spool_read *read) {
    uint32_t spans = weir_spool_record_spans(record->type);
    uint64_t number = segment->number, end = weir_log_reader_offset(spool->reader);
    if (weir_spool_record_kind(record->type) != WEIR_SPOOL_RECORD_KIND) return false;
    bool expired = is_expired(spool, record, max_age_ns, &read->age_ns);
    enum weir_status status = expired ? WEIR_OK : unpack(spool, record, read);
    if (status == WEIR_FULL || !remember(spool, number, end)) {
        weir_batch_unref(read->batch);
        read->batch = NULL;
        segment->start = record->offset; /* once more, from here */
        weir_log_reader_close(spool->reader);
        spool->reading_segment = 0;
        return true;
    }
    count_out(spool, segment, spans);
    segment->unsettled++;
    read->token = spool->first_token + spool->reading_count - 1;
    read->bytes = record->size + WEIR_LOG_HEAD_BYTES;
    if (read->batch != NULL) {
        weir_count(spool->metrics, SPOOL_READ, spans);
        return true;
    }
    *(expired ? &read->expired : &read->damaged) += spans;
    weir_spool_settled(spool, read->token);
    return false;
}

/* The disk does not give what is there. True: it is asked again, from `offset` on. An error that passes must cost no
 * spans, and one that does not must not hold up what is behind it for ever. */
static bool is_patient(struct weir_spool *spool, struct spool_segment *segment, uint64_t offset, const char *why,
                       struct weir_spool_read *read) {
    char name[WEIR_LOG_NAME_BYTES];
    weir_log_reader_close(spool->reader);
    spool->reading_segment = 0;
    weir_count(spool->metrics, SPOOL_ERRORS_READ, 1);
    if (segment->refusals++ >= REFUSALS_MAX) return false;
    segment->start = offset;
    read->refused = true;
    weir_log_name(segment->number, name);
    weir_log_limited(&spool->refused_limit, WEIR_LOG_WARN,
                     "spool_read_failed exporter=%s file=%s offset=%" PRIu64 " why=\"%s\"", spool->exporter, name,
                     offset, why);
    return true;
}

void weir_spool_read(struct weir_spool *spool, uint64_t max_age_ns, struct weir_spool_read *read) {
    struct spool_segment *segment;
    *read = (struct weir_spool_read){0};
    while ((segment = readable(spool)) != NULL) {
        struct weir_log_record record;
        struct weir_log_damage damage;
        struct weir_error err = {0};
        uint64_t number = segment->number;
        if (segment->newest_unix_ns != 0 && age_of(spool, segment->newest_unix_ns) > max_age_ns) {
            read->expired += give_up(spool, segment);
            continue;
        }
        if (number != spool->reading_segment) {
            if (weir_log_reader_open(spool->reader, weir_log_directory(spool->log), number, segment->start, &err) !=
                WEIR_OK) {
                if (err.sys != ENOENT && is_patient(spool, segment, segment->start, err.text, read)) break;
                weir_spool_tell_damage(spool, &(struct weir_log_damage){.segment = number, .why = err.text});
                read->damaged += give_up(spool, segment);
                continue;
            }
            spool->reading_segment = number;
        }
        switch (weir_log_reader_next(spool->reader, &record, &damage)) {
        case WEIR_LOG_NEXT_FULL: return;
        case WEIR_LOG_NEXT_DAMAGE:
            if (damage.refused && is_patient(spool, segment, damage.offset, damage.why, read)) goto done;
            weir_spool_tell_damage(spool, &damage);
            if (damage.refused) read->damaged += give_up(spool, segment);
            break;
        case WEIR_LOG_NEXT_END: read->damaged += give_up(spool, segment); break; /* there should be more */
        case WEIR_LOG_NEXT_RECORD:
            segment->refusals = 0;
            if (take_record(spool, segment, &record, max_age_ns, read)) goto done;
            break;
        }
    }
done:
    if (read->damaged > 0) weir_count(spool->metrics, SPOOL_DAMAGED_SPANS, read->damaged);
}

void weir_spool_settled(struct weir_spool *spool, uint64_t token) {
    assert(token - spool->first_token < spool->reading_count);
    struct spool_reading *reading = &spool->readings[token % spool->reading_capacity];
    assert(!reading->settled);
    reading->settled = true;
    struct spool_segment *segment = find(spool, reading->segment);
    if (segment != NULL) segment->unsettled--;
    uint64_t number = reading->segment;
    while (spool->reading_count > 0) {
        const struct spool_reading *first = &spool->readings[spool->first_token % spool->reading_capacity];
        if (!first->settled) break;
        spool->cursor_segment = first->segment;
        spool->cursor_offset = first->end;
        spool->cursor_moved = true;
        spool->first_token++;
        spool->reading_count--;
    }
    if (segment != NULL) release(spool, number);
}

/* ---- the public rest ---- */

uint64_t weir_spool_oldest(const struct weir_spool *spool) {
    return spool->segment_count > 0 ? spool->segments[0].number : 0;
}

bool weir_spool_has_newer(const struct weir_spool *spool) {
    return spool->segment_count > 1;
}

uint64_t weir_spool_segment(const struct weir_spool *spool, uint64_t token) {
    assert(token - spool->first_token < spool->reading_count);
    return spool->readings[token % spool->reading_capacity].segment;
}

uint64_t weir_spool_spans(const struct weir_spool *spool) {
    return spool->spans;
}

void weir_spool_tick(struct weir_spool *spool) {
    struct weir_log_stats stats;
    if (spool->cursor_moved) weir_spool_write_cursor(spool);
    weir_log_trim(spool->log);
    weir_log_stats(spool->log, &stats);
    weir_gauge(spool->metrics, SPOOL_BYTES, stats.bytes);
    weir_gauge(spool->metrics, SPOOL_SEGMENTS, stats.segments);
}

static int open_cursor(const char *directory, struct weir_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/cursor", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) weir_fail(err, WEIR_IO, errno, false, "spool: open %s: %s", path, strerror(errno));
    return fd;
}

enum weir_status weir_spool_open(struct weir_spool **spool, const struct weir_spool_options *options,
                                 struct weir_error *err) {
    struct weir_spool *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, true, "spool: out of memory");
    made->cursor_fd = -1;
    snprintf(made->exporter, sizeof made->exporter, "%s", options->exporter);
    made->clock = options->clock;
    made->unix_at_open_ns = weir_unix_ns(options->clock);
    made->mono_at_open_ns = weir_mono_ns(options->clock);
    made->sync = options->disk != NULL && options->disk->sync != NULL ? options->disk->sync : fdatasync;
    made->segment_bytes = options->segment_bytes;
    made->max_bytes = options->max_bytes;
    made->registry = options->metrics;
    made->writer = weir_spool_writer_new(options->names, options->level);
    made->batches = weir_spool_reader_new(options->names);
    made->reader = weir_log_reader_new();
    char labels[160];
    snprintf(labels, sizeof labels, "exporter=\"%s\"", options->exporter);
    made->metrics = weir_metrics_open(options->metrics, metrics, SPOOL_METRICS, labels);
    const struct weir_log_options log = {.directory = options->directory,
                                         .segment_bytes = options->segment_bytes,
                                         .max_bytes = options->max_bytes,
                                         .disk = options->disk,
                                         .in_place = true};
    enum weir_status status = WEIR_OK;
    if (made->writer == NULL || made->batches == NULL || made->reader == NULL || made->metrics == NULL)
        status = weir_fail(err, WEIR_FULL, 0, true, "spool: out of memory");
    if (status == WEIR_OK) status = weir_log_open(&made->log, &log, err);
    if (status == WEIR_OK && (made->cursor_fd = open_cursor(options->directory, err)) < 0) status = WEIR_IO;
    if (status == WEIR_OK) status = weir_spool_survey(made, err);
    if (status != WEIR_OK) {
        weir_spool_close(made);
        return status;
    }
    weir_gauge(made->metrics, SPOOL_LIMIT, options->max_bytes);
    weir_spool_tick(made);
    *spool = made;
    return WEIR_OK;
}

void weir_spool_close(struct weir_spool *spool) {
    if (spool == NULL) return;
    if (spool->log != NULL && spool->cursor_fd >= 0) {
        if (spool->writing) write_index(spool);
        if (spool->cursor_moved) weir_spool_write_cursor(spool);
    }
    if (spool->cursor_fd >= 0) close(spool->cursor_fd);
    weir_log_close(spool->log);
    if (spool->reader != NULL) weir_log_reader_free(spool->reader);
    weir_spool_reader_free(spool->batches);
    weir_spool_writer_free(spool->writer);
    if (spool->metrics != NULL) weir_metrics_close(spool->registry, spool->metrics);
    free(spool->segments);
    free(spool->readings);
    free(spool);
}
