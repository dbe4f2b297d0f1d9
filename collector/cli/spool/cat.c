/* cat.c - `weir spool cat` and `weir spool verify`: both read all of it. */
#include "collector/cli/spool/inside.h"
#include "collector/cli/spool/read.h"
#include "collector/cli/text.h"
#include "exporters/file/otlp_json.h"
#include "exporters/splice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH_BYTES = 64 * 1024 };

bool weir_spool_flush(struct weir_buffer *out) {
    const uint8_t *at = out->bytes;
    size_t left = out->size;
    while (left > 0) {
        ssize_t wrote = write(STDOUT_FILENO, at, left);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            if (errno != EPIPE) fprintf(stderr, "weir spool: stdout: %s\n", strerror(errno));
            return false;
        }
        at += wrote;
        left -= (size_t)wrote;
    }
    weir_buffer_clear(out);
    return true;
}

void weir_spool_complain(const struct weir_spool_part *part, uint64_t segment, uint64_t offset, uint64_t bytes,
                         const char *why) {
    char file[WEIR_LOG_NAME_BYTES];
    weir_log_name(segment, file);
    fprintf(stderr, "weir spool: %s/%s: offset %llu: %llu bytes: %s\n", part->name, file, (unsigned long long)offset,
            (unsigned long long)bytes, why);
}

struct reading {
    struct weir_spool_decoder *decoder;
    struct weir_splice splice;
    struct weir_buffer request, out;
    bool print;              /* cat; else verify */
    bool gone;               /* nobody reads stdout any more */
    bool full;               /* out of memory */
    struct weir_error first; /* what a span of the record at hand is not */
    uint64_t records, spans, places, bad_bytes;
};

static void one_batch(void *self, struct weir_batch *batch) {
    struct reading *reading = self;
    struct weir_otlp_json_counts counts = {0};
    struct weir_error err;
    if (!reading->print) {
        reading->spans += batch->span_count;
        if (weir_spool_check(reading->decoder, batch, &err) != WEIR_OK && reading->first.status == WEIR_OK)
            reading->first = err;
        return;
    }
    weir_buffer_clear(&reading->request);
    if (weir_splice_encode(&reading->splice, batch, &reading->request) != WEIR_OK) {
        reading->full = true;
        return;
    }
    enum weir_status status =
        weir_otlp_json_lines(reading->request.bytes, reading->request.size, &reading->out, &counts, &err);
    reading->full = reading->full || status == WEIR_FULL;
    if (status == WEIR_INVALID && reading->first.status == WEIR_OK) reading->first = err;
    reading->spans += counts.spans;
    if (reading->out.size >= FLUSH_BYTES) reading->gone = reading->gone || !weir_spool_flush(&reading->out);
}

static bool one_record(void *self, const struct weir_spool_part *part, const struct weir_log_record *record) {
    struct reading *reading = self;
    struct weir_error err = {0};
    reading->first = (struct weir_error){.status = WEIR_OK};
    reading->records++;
    enum weir_status status = weir_spool_decode(reading->decoder, part, record, one_batch, reading, &err);
    reading->full = reading->full || status == WEIR_FULL;
    if (status == WEIR_OK) err = reading->first;
    if (err.status == WEIR_INVALID) {
        weir_spool_complain(part, record->segment, record->offset, WEIR_LOG_HEAD_BYTES + record->size, err.text);
        reading->places++;
        reading->bad_bytes += WEIR_LOG_HEAD_BYTES + record->size;
    }
    return !reading->full && !reading->gone;
}

static void on_damage(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage) {
    struct reading *reading = self;
    reading->bad_bytes += damage->bytes;
    reading->places++;
    weir_spool_complain(part, damage->segment, damage->offset, damage->bytes, damage->why);
}

/* The exit status. */
static int read_part(struct reading *reading, const struct weir_spool_part *part, bool waiting_only) {
    struct weir_error err = {0};
    const struct weir_spool_visitor visitor = {
        .self = reading, .waiting_only = waiting_only, .record = one_record, .damage = on_damage};
    enum weir_status status = weir_spool_part_visit(part, &visitor, &err);
    if (reading->full) weir_fail(&err, WEIR_FULL, 0, true, "out of memory");
    if (!reading->full && (status == WEIR_OK || status == WEIR_CLOSED)) return 0;
    fprintf(stderr, "weir spool: %s: %s\n", part->name, err.text);
    return 1;
}

static bool begin(struct reading *reading, bool print) {
    *reading = (struct reading){.print = print, .decoder = weir_spool_decoder_new()};
    if (reading->decoder == NULL) fputs("weir spool: out of memory\n", stderr);
    return reading->decoder != NULL;
}

static void end(struct reading *reading) {
    weir_spool_decoder_free(reading->decoder);
    weir_splice_free(&reading->splice);
    weir_buffer_free(&reading->request);
    weir_buffer_free(&reading->out);
}

int weir_spool_cat(const struct weir_spool_dir *dir, bool all) {
    struct reading reading;
    int status = 0;
    if (!begin(&reading, true)) return 1;
    for (uint32_t i = 0; status == 0 && !reading.gone && i < dir->part_count; i++)
        status = read_part(&reading, &dir->parts[i], !all);
    if (!reading.gone && !weir_spool_flush(&reading.out)) status = status != 0 || errno != EPIPE;
    if (reading.places > 0) status = 1;
    end(&reading);
    return status;
}

int weir_spool_verify(const struct weir_spool_dir *dir) {
    int status = 0;
    for (uint32_t i = 0; i < dir->part_count; i++) {
        const struct weir_spool_part *part = &dir->parts[i];
        struct reading reading;
        char records[WEIR_TEXT_BYTES], spans[WEIR_TEXT_BYTES], bytes[WEIR_TEXT_BYTES];
        if (!begin(&reading, false)) return 1;
        bool whole = read_part(&reading, part, false) == 0;
        weir_text_count(reading.records, records);
        weir_text_count(reading.spans, spans);
        weir_text_count(reading.bad_bytes, bytes);
        printf("%s: %u %s, %s %s, %s %s: ", part->name, part->segment_count,
               part->segment_count == 1 ? "file" : "files", records, reading.records == 1 ? "record" : "records", spans,
               reading.spans == 1 ? "span" : "spans");
        if (reading.places > 0)
            printf("damaged in %llu %s, %s bytes\n", (unsigned long long)reading.places,
                   reading.places == 1 ? "place" : "places", bytes);
        else
            puts(whole ? "sound" : "not read to the end");
        fflush(stdout);
        if (!whole || reading.places > 0) status = 1;
        end(&reading);
    }
    return status;
}
