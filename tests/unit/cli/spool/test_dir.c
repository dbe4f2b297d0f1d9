/* What tools see in a spool's directory: sums from heads, the cursor, damage, a log that is being written. The files
 * are those of the log, the spool and the record writer themselves. */
#include "collector/cli/spool/dir.h"
#include "collector/cli/spool/ls.h"
#include "collector/cli/spool/read.h"
#include "collector/decode/otlp.h"
#include "collector/sample/sealed.h"
#include "collector/spool/record.h"
#include "collector/spool/spool.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MADE_AT_S = 1700000000 };

static struct fixture {
    char root[64], path[128];
    struct weir_names *names;
    struct weir_spool_writer *writer;
    struct weir_log *log;
    struct weir_spool_dir dir;
    struct weir_spool_sum sums[8];
} f;

static int begin(void **state) {
    (void)state;
    f = (struct fixture){.names = weir_names_new(1024, 1 << 20)};
    snprintf(f.root, sizeof f.root, "/tmp/weir-spool-dir-XXXXXX");
    if (mkdtemp(f.root) == NULL) return 1;
    snprintf(f.path, sizeof f.path, "%s/exporters", f.root);
    if (mkdir(f.path, 0700) != 0) return 1;
    f.writer = weir_spool_writer_new(f.names, 1);
    return f.writer == NULL;
}

static int end(void **state) {
    char command[160];
    (void)state;
    weir_spool_dir_close(&f.dir);
    weir_log_close(f.log);
    weir_spool_writer_free(f.writer);
    weir_names_free(f.names);
    snprintf(command, sizeof command, "rm -rf %s", f.root);
    return system(command) != 0;
}

static void open_log(const char *part) {
    struct weir_error err;
    snprintf(f.path, sizeof f.path, "%s/%s", f.root, part);
    const struct weir_log_options options = {.directory = f.path, .segment_bytes = 1 << 20, .max_bytes = 1 << 30};
    assert_int_equal(weir_log_open(&f.log, &options, &err), WEIR_OK);
}

static void close_log(void) {
    weir_log_close(f.log);
    f.log = NULL;
}

/* A body is 0a 10 trace id, 12 08 span id. */
static struct weir_batch *batch_of(uint32_t spans) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_otlp *otlp = weir_otlp_new(f.names);
    struct weir_origin *origin = weir_otlp_origin(otlp, &(struct weir_origin_parts){0});
    uint16_t index;
    assert_int_equal(weir_batch_add_origin(batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    weir_otlp_free(otlp);
    for (uint32_t i = 0; i < spans; i++) {
        uint64_t number = (i + 1) * 0x9e3779b97f4a7c15ull, id = __builtin_bswap64(number);
        struct weir_span span = {.trace_lo = number,
                                 .span_id = number,
                                 .randomness = number & (WEIR_THRESHOLD_MAX - 1),
                                 .prior = 1,
                                 .offset = (uint32_t)batch->size,
                                 .size = 28};
        assert_int_equal(weir_batch_room(batch, 28), WEIR_OK);
        uint8_t *at = batch->bytes + batch->size;
        memcpy(at, "\x0a\x10\0\0\0\0\0\0\0\0", 10);
        memcpy(at + 10, &id, 8);
        memcpy(at + 18, "\x12\x08", 2);
        memcpy(at + 20, &id, 8);
        batch->size += 28;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}

/* Returns its segment. */
static uint64_t put(uint32_t spans, uint64_t seconds) {
    struct weir_batch *batch = batch_of(spans);
    const uint8_t *bytes;
    size_t size;
    struct weir_error err;
    uint32_t to = spans;
    uint64_t segment;
    assert_int_equal(
        weir_spool_record_write(f.writer, batch, 0, &to, (MADE_AT_S + seconds) * 1000000000ull, &bytes, &size, &err),
        WEIR_OK);
    assert_int_equal(weir_log_append(f.log, weir_spool_record_type(spans), bytes, size, &segment, &err), WEIR_OK);
    weir_batch_unref(batch);
    return segment;
}

static void look(void) {
    struct weir_error err = {0};
    weir_spool_dir_close(&f.dir);
    if (weir_spool_dir_open(&f.dir, f.root, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < f.dir.part_count; i++)
        assert_int_equal(weir_spool_sum(&f.dir.parts[i], &f.sums[i], &err), WEIR_OK);
}

static void file_of(uint64_t segment, char path[200]) {
    snprintf(path, 200, "%s/%08" PRIu64 ".log", f.path, segment);
}

static void flip(uint64_t segment, long at) {
    char path[200];
    file_of(segment, path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void cut(uint64_t segment, long bytes) {
    char path[200];
    struct stat info;
    file_of(segment, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - bytes), 0);
}

static void parts_and_sums(void **state) {
    (void)state;
    open_log("exporters/zipkin");
    put(3, 10);
    put(4, 5);
    put(5, 20);
    close_log();
    open_log("exporters/kafka+audit");
    close_log();
    look();
    assert_int_equal(f.dir.part_count, 2);
    assert_string_equal(f.dir.parts[0].name, "exporters/kafka+audit");
    assert_int_equal(f.sums[0].spans, 0);
    assert_int_equal(f.sums[0].oldest_ns, 0);
    assert_string_equal(f.dir.parts[1].name, "exporters/zipkin");
    assert_int_equal(f.sums[1].spans, 12);
    assert_int_equal(f.sums[1].records, 3);
    assert_int_equal(f.sums[1].damaged, 0);
    assert_int_equal(f.sums[1].oldest_ns, (MADE_AT_S + 5) * 1000000000ull);
    assert_int_equal(f.sums[1].newest_ns, (MADE_AT_S + 20) * 1000000000ull);
    assert_false(f.dir.parts[1].in_use);
}

static void a_part_by_its_own_path(void **state) {
    (void)state;
    struct weir_error err;
    open_log("exporters/zipkin");
    put(3, 10);
    assert_int_equal(weir_spool_dir_open(&f.dir, f.path, &err), WEIR_OK);
    assert_int_equal(f.dir.part_count, 1);
    assert_string_equal(f.dir.parts[0].name, "exporters/zipkin");
    assert_true(f.dir.parts[0].in_use);
    assert_int_equal(f.dir.parts[0].pid, getpid());
}

static void what_is_no_spool(void **state) {
    (void)state;
    struct weir_error err;
    char path[128];
    assert_int_equal(weir_spool_dir_open(&f.dir, f.root, &err), WEIR_INVALID); /* exporters/ is empty */
    snprintf(path, sizeof path, "%s/nothing", f.root);
    assert_int_equal(weir_spool_dir_open(&f.dir, path, &err), WEIR_IO);
    assert_int_equal(f.dir.part_count, 0);
}

/* As a spool leaves it: two batches settled, one not. */
static void behind_the_cursor(void **state) {
    (void)state;
    struct weir_spool *spool = NULL;
    struct weir_spool_read read;
    struct weir_error err = {0};
    snprintf(f.path, sizeof f.path, "%s/exporters/zipkin", f.root);
    struct weir_metrics *metrics = weir_metrics_new();
    const struct weir_spool_options options = {.directory = f.path,
                                               .exporter = "zipkin",
                                               .segment_bytes = 1 << 20,
                                               .max_bytes = 1 << 30,
                                               .level = 1,
                                               .names = f.names,
                                               .metrics = metrics,
                                               .clock = &weir_clock_system};
    assert_int_equal(weir_spool_open(&spool, &options, &err), WEIR_OK);
    for (uint32_t spans = 7; spans <= 9; spans++) {
        struct weir_batch *batch = batch_of(spans);
        uint32_t from = 0;
        assert_int_equal(weir_spool_write(spool, batch, &from, 0, &err), WEIR_OK);
        weir_batch_unref(batch);
    }
    look();
    assert_true(f.dir.parts[0].in_use);
    assert_int_equal(f.sums[0].spans, 24);
    for (int i = 0; i < 2; i++) {
        weir_spool_read(spool, UINT64_MAX, &read);
        assert_non_null(read.batch);
        weir_batch_unref(read.batch);
        weir_spool_settled(spool, read.token);
    }
    weir_spool_tick(spool);
    look();
    assert_int_equal(f.sums[0].spans, 9);
    assert_int_equal(f.sums[0].records, 1);
    weir_spool_close(spool);
    flip(1, WEIR_LOG_HEADER_BYTES + 5); /* what is settled may be damaged: nobody reads it any more */
    look();
    assert_int_equal(f.sums[0].spans, 9);
    assert_int_equal(f.sums[0].damaged, 0);
    assert_false(f.dir.parts[0].in_use);
    weir_metrics_free(metrics);
}

/* ---- reading ---- */

struct seen {
    struct weir_spool_decoder *decoder;
    uint32_t records, spans, places;
    uint64_t bytes, offset;
    char why[64];
    bool sound, once;
};

static void one_batch(void *self, struct weir_batch *batch) {
    struct seen *seen = self;
    struct weir_error err;
    seen->spans += batch->span_count;
    seen->sound = seen->sound && weir_spool_check(seen->decoder, batch, &err) == WEIR_OK;
}

static bool one_record(void *self, const struct weir_spool_part *part, const struct weir_log_record *record) {
    struct seen *seen = self;
    struct weir_error err;
    seen->records++;
    assert_int_equal(weir_spool_decode(seen->decoder, part, record, one_batch, seen, &err), WEIR_OK);
    return !seen->once;
}

static void one_damage(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage) {
    struct seen *seen = self;
    (void)part;
    seen->places++;
    seen->bytes += damage->bytes;
    seen->offset = damage->offset;
    snprintf(seen->why, sizeof seen->why, "%s", damage->why);
}

static struct seen visit(bool once, enum weir_status expected) {
    struct seen seen = {.decoder = weir_spool_decoder_new(), .sound = true, .once = once};
    struct weir_error err;
    const struct weir_spool_visitor visitor = {.self = &seen, .record = one_record, .damage = one_damage};
    assert_int_equal(weir_spool_part_visit(&f.dir.parts[0], &visitor, &err), expected);
    weir_spool_decoder_free(seen.decoder);
    return seen;
}

static void damage_is_told_as_a_place(void **state) {
    (void)state;
    open_log("exporters/zipkin");
    put(3, 1);
    struct stat info;
    char path[200];
    file_of(1, path);
    assert_int_equal(stat(path, &info), 0);
    put(60000, 2); /* a place of more than one window of the reader */
    struct stat later;
    assert_int_equal(stat(path, &later), 0);
    put(5, 3);
    close_log();
    flip(1, info.st_size + 4); /* the type in its head */
    look();
    assert_int_equal(f.sums[0].spans, 8);
    assert_int_equal(f.sums[0].damaged, 1);
    assert_true(later.st_size - info.st_size > 512 << 10);
    struct seen seen = visit(false, WEIR_OK);
    assert_int_equal(seen.records, 2);
    assert_int_equal(seen.spans, 8);
    assert_int_equal(seen.places, 1);
    assert_int_equal(seen.offset, info.st_size);
    assert_int_equal(seen.bytes, later.st_size - info.st_size);
    assert_string_equal(seen.why, "damaged head of a record");
    assert_true(seen.sound);
    assert_int_equal(visit(true, WEIR_CLOSED).records, 1);
}

/* Heads are whole: only who reads all of it sees that. */
static void a_payload_that_is_damaged(void **state) {
    (void)state;
    open_log("exporters/zipkin");
    put(3, 1);
    put(4, 2);
    close_log();
    flip(1, WEIR_LOG_HEADER_BYTES + WEIR_LOG_HEAD_BYTES + 40);
    look();
    assert_int_equal(f.sums[0].spans, 7);
    assert_int_equal(f.sums[0].damaged, 0);
    struct seen seen = visit(false, WEIR_OK);
    assert_int_equal(seen.spans, 4);
    assert_int_equal(seen.places, 1);
    assert_string_equal(seen.why, "checksum of a record does not match");
}

static void half_of_a_record_is_no_damage_while_it_is_written(void **state) {
    (void)state;
    open_log("exporters/zipkin");
    put(3, 1);
    put(4, 2);
    cut(1, 5);
    look(); /* the log is open: in use */
    assert_true(f.dir.parts[0].in_use);
    assert_int_equal(f.sums[0].damaged, 0);
    assert_int_equal(f.sums[0].spans, 3);
    assert_int_equal(visit(false, WEIR_OK).places, 0);
    close_log();
    look();
    assert_int_equal(f.sums[0].damaged, 1);
    assert_int_equal(visit(false, WEIR_OK).places, 1);
}

static void what_is_removed_meanwhile(void **state) {
    (void)state;
    char path[200];
    open_log("exporters/zipkin");
    uint64_t first = put(3, 1), last = first;
    while (last == first)
        last = put(60000, 2);
    look();
    file_of(first, path);
    assert_int_equal(unlink(path), 0);
    struct seen seen = visit(false, WEIR_OK);
    assert_int_equal(seen.spans, 60000);
    assert_int_equal(seen.places, 0);
    close_log(); /* nobody's: then it is missing */
    f.dir.parts[0].in_use = false;
    assert_int_equal(visit(false, WEIR_OK).places, 1);
}

/* ---- the journal ---- */

/* Two spans in a block, as the tail buffer closes one. */
static void put_block(const struct weir_batch *batch) {
    struct weir_buffer out = {0};
    uint8_t raw[256];
    size_t size = 0;
    struct weir_error err;
    for (uint32_t i = 0; i < 2; i++) {
        const struct weir_record record = {.body = batch->bytes + batch->spans[i].offset, .size = 28};
        size += weir_record_write(raw + size, &record, 0);
    }
    weir_sealed_write(&out, batch->origins, 1, raw, size, size, true);
    assert_int_equal(weir_log_append(f.log, 1, out.bytes, out.size, NULL, &err), WEIR_OK);
    weir_buffer_free(&out);
}

static void a_journal_and_its_mark(void **state) {
    (void)state;
    struct weir_error err;
    const uint8_t *bytes;
    size_t size;
    uint32_t to = 6;
    open_log("journal");
    const uint64_t moved = 1;
    struct weir_batch *batch = batch_of(6);
    assert_int_equal(weir_spool_record_write(f.writer, batch, 0, &to, 1, &bytes, &size, &err), WEIR_OK);
    assert_int_equal(weir_log_append(f.log, 4, bytes, size, NULL, &err), WEIR_OK);
    put_block(batch);
    look();
    assert_true(f.dir.parts[0].journal);
    assert_int_equal(weir_spool_part_kind(&f.dir.parts[0], 9), WEIR_SPOOL_OTHER);
    assert_int_equal(f.sums[0].records, 2);
    assert_int_equal(f.sums[0].spans, 8);
    assert_int_equal(f.sums[0].damaged, 0);
    struct seen seen = visit(false, WEIR_OK);
    assert_int_equal(seen.spans, 8);
    assert_true(seen.sound);
    assert_int_equal(weir_log_append(f.log, 1, "no block of spans", 17, NULL, &err), WEIR_OK);
    look();
    assert_int_equal(f.sums[0].spans, 8);
    assert_int_equal(f.sums[0].damaged, 1);
    /* What is undecided stands behind the mark; what is on its way may still be. */
    assert_int_equal(weir_log_append(f.log, 3, &moved, 8, NULL, &err), WEIR_OK);
    look();
    assert_int_equal(f.sums[0].records, 1);
    assert_int_equal(f.sums[0].spans, 6);
    put_block(batch);
    look();
    assert_int_equal(f.sums[0].spans, 8);
    weir_batch_unref(batch);
}

/* ---- what is printed ---- */

static void lines_fit_80_columns(void **state) {
    (void)state;
    open_log("exporters/a-name-that-is-longer-than-its-column");
    put(12000, 1);
    look();
    f.sums[0].spans = 12345678901;
    f.sums[0].damaged = 123456;
    f.dir.parts[0].bytes = 1023ull << 30;
    struct weir_buffer out = {0};
    weir_spool_ls_print(&f.dir, f.sums, (MADE_AT_S + 999 * 86400ull) * 1000000000ull, true, &out);
    weir_buffer_byte(&out, 0);
    char *text = (char *)out.bytes;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        uint32_t columns = 0;
        for (const char *at = line; *at != 0; at++)
            columns += ((uint8_t)*at & 0xc0) != 0x80;
        if (columns > 80) fail_msg("%u columns: %s", columns, line);
    }
    weir_buffer_clear(&out);
    weir_spool_ls_json(&f.dir, f.sums, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "\"spans\":12345678901"));
    assert_non_null(strstr((char *)out.bytes, "\"oldest\":\"2023-11-14T22:13:21.000Z\""));
    weir_buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_and_sums, begin, end),
        cmocka_unit_test_setup_teardown(a_part_by_its_own_path, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_spool, begin, end),
        cmocka_unit_test_setup_teardown(behind_the_cursor, begin, end),
        cmocka_unit_test_setup_teardown(damage_is_told_as_a_place, begin, end),
        cmocka_unit_test_setup_teardown(a_payload_that_is_damaged, begin, end),
        cmocka_unit_test_setup_teardown(half_of_a_record_is_no_damage_while_it_is_written, begin, end),
        cmocka_unit_test_setup_teardown(what_is_removed_meanwhile, begin, end),
        cmocka_unit_test_setup_teardown(a_journal_and_its_mark, begin, end),
        cmocka_unit_test_setup_teardown(lines_fit_80_columns, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
