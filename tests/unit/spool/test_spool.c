/* The spool: batches come back in the order in which they were written, once in a process's life, at least once over
 * its end; what a start finds, what is damaged, expired or has no room is counted to the span. */
#include "collector/spool/orphans.h"
#include "tests/unit/spool/spooled.h"

#include <xxhash.h>

static uint64_t mono_ns, unix_ns;
static uint64_t mono(void *self) {
    (void)self;
    return mono_ns;
}
static uint64_t wall(void *self) {
    (void)self;
    return unix_ns;
}
static const struct weir_clock clock_of_test = {mono, wall, NULL};

enum { BATCH_SPANS = 10, SPAN_BYTES = 5000, A_SEGMENT = 20 /* batches, a little more than fit */ };

static struct weir_spool *spool;
static struct weir_metrics *registry;
static struct weir_names *names;
static char *folder;
static char directory[128];
static struct weir_spool_options options;

static void open_spool(void) {
    struct weir_error err = {0};
    if (weir_spool_open(&spool, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void close_spool(void) {
    weir_spool_close(spool);
    spool = NULL;
}

static int setup(void **state) {
    (void)state;
    mono_ns = 1000 * WEIR_S;
    unix_ns = 1800000000 * WEIR_S;
    folder = make_folder();
    snprintf(directory, sizeof directory, "%s/x", folder);
    names = weir_names_new(1024, 1 << 16);
    registry = weir_metrics_new();
    options = (struct weir_spool_options){.directory = directory,
                                          .exporter = "x",
                                          .segment_bytes = MiB,
                                          .max_bytes = 64 * MiB,
                                          .level = -7,
                                          .names = names,
                                          .metrics = registry,
                                          .clock = &clock_of_test};
    open_spool();
    return 0;
}
static int teardown(void **state) {
    (void)state;
    close_spool();
    weir_metrics_free(registry);
    weir_names_free(names);
    remove_folder(folder);
    return 0;
}

static uint64_t metric(const char *name) {
    struct weir_buffer page = {0};
    weir_metrics_expose(registry, &page);
    weir_buffer_byte(&page, 0);
    char line[128];
    snprintf(line, sizeof line, "\nweir_%s{exporter=\"x\"} ", name);
    const char *found = strstr((const char *)page.bytes, line);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(line), NULL, 10);
    weir_buffer_free(&page);
    return value;
}

static enum weir_status try_write(uint64_t id, uint64_t age_ns) {
    struct weir_error err = {0};
    struct weir_batch *batch = make_spans(id, BATCH_SPANS, SPAN_BYTES);
    uint32_t from = 0;
    enum weir_status status = weir_spool_write(spool, batch, &from, age_ns, &err);
    assert_int_equal(from, status == WEIR_OK ? BATCH_SPANS : 0);
    weir_batch_unref(batch);
    return status;
}
/* Batches whose first spans have the ids first, first + 100 ... */
static void write_batches(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(try_write(((uint64_t)first + i) * 100, 0), WEIR_OK);
}

static struct weir_spool_read last;
/* The number of the next batch (see write_batches), or -1; the batch is let go. */
static int read_aged(uint64_t max_age_ns) {
    weir_spool_read(spool, max_age_ns, &last);
    if (last.batch == NULL) return -1;
    assert_int_equal(last.batch->span_count, BATCH_SPANS);
    for (uint32_t i = 0; i < BATCH_SPANS; i++)
        assert_int_equal(last.batch->spans[i].span_id, last.batch->spans[0].span_id + i);
    int number = (int)(last.batch->spans[0].span_id / 100);
    weir_batch_unref(last.batch);
    return number;
}
static int read_one(void) {
    return read_aged(UINT64_MAX);
}
static void settle(void) {
    weir_spool_settled(spool, last.token);
}

static void in_order(void **state) {
    (void)state;
    assert_int_equal(read_one(), -1);
    write_batches(0, 3);
    assert_int_equal(weir_spool_spans(spool), 30);
    assert_int_equal(read_one(), 0);
    settle();
    write_batches(3, 100); /* while it is read */
    for (int i = 1; i < 103; i++) {
        assert_int_equal(read_one(), i);
        settle();
    }
    assert_int_equal(weir_spool_spans(spool), 0);
    assert_int_equal(read_one(), -1);
    assert_int_equal(last.damaged + last.expired, 0);
    /* All is settled: one empty file is left, to keep the number. */
    struct files files = look_at_files(directory);
    assert_int_equal(files.count, 1);
    assert_true(files.bytes < 100);
    write_batches(200, 1);
    assert_int_equal(read_one(), 200);
}

static void files_go_when_all_of_them_is_settled(void **state) {
    (void)state;
    uint64_t tokens[80];
    write_batches(0, 80); /* four segments */
    assert_int_equal(look_at_files(directory).oldest, 1);
    for (int i = 0; i < 80; i++) {
        assert_int_equal(read_one(), i);
        tokens[i] = last.token;
    }
    for (int i = 79; i > 0; i--)
        weir_spool_settled(spool, tokens[i]);
    assert_int_equal(look_at_files(directory).oldest, 1);
    weir_spool_settled(spool, tokens[0]);
    assert_true(look_at_files(directory).oldest > 4);
    assert_int_equal(look_at_files(directory).count, 1);
}

/* What was settled is not found again, but for what came behind something that was not. */
static void a_start_goes_on_from_the_cursor(void **state) {
    (void)state;
    write_batches(0, 50);
    for (int i = 0; i < 25; i++) {
        assert_int_equal(read_one(), i);
        if (i != 22) settle();
    }
    close_spool();
    open_spool();
    assert_int_equal(weir_spool_spans(spool), 28 * BATCH_SPANS);
    for (int i = 22; i < 50; i++)
        assert_int_equal(read_one(), i);
    assert_int_equal(read_one(), -1);
    write_batches(50, 1);
    assert_int_equal(read_one(), 50);
}

static void a_kill_loses_nothing_and_a_start_counts_exactly(void **state) {
    (void)state;
    char killed[160];
    for (int written = 1; written <= 2 * A_SEGMENT + 1; written += 4) {
        write_batches(0, (uint32_t)written);
        for (int i = 0; i < written / 3; i++) {
            assert_int_equal(read_one(), i);
            settle();
        }
        weir_spool_tick(spool);
        snprintf(killed, sizeof killed, "%s/killed", folder);
        copy_folder(directory, killed);
        close_spool();
        options.directory = killed;
        open_spool();
        assert_int_equal(weir_spool_spans(spool), (uint64_t)(written - written / 3) * BATCH_SPANS);
        for (int i = written / 3; i < written; i++)
            assert_int_equal(read_one(), i);
        assert_int_equal(read_one(), -1);
        assert_int_equal(last.damaged, 0);
        teardown(NULL);
        setup(NULL);
    }
}

/* Each place of a record: its head, its payload. The spans are counted as they were before anybody looked. */
static void damage_is_counted_in_spans(void **state) {
    (void)state;
    static const int places[] = {0, 9, 18, 24, 24 + 1000};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        write_batches(0, 30);
        close_spool(); /* each segment has an index behind it */
        flip(directory, 1, WEIR_LOG_HEADER_BYTES + places[i]);
        open_spool();
        assert_int_equal(weir_spool_spans(spool), 300);
        uint64_t damaged = 0;
        for (int n = 1; n < 30; n++) {
            assert_int_equal(read_one(), n);
            damaged += last.damaged;
            settle();
        }
        assert_int_equal(read_one(), -1);
        damaged += last.damaged;
        assert_int_equal(damaged, BATCH_SPANS);
        assert_int_equal(weir_spool_spans(spool), 0);
        assert_int_equal(metric("spool_damaged_places_total"), 1);
        assert_int_equal(metric("spool_damaged_spans_total"), BATCH_SPANS);
        teardown(NULL);
        setup(NULL);
    }
}

/* Where segment 1 was is a directory: it opens, and each read of it is an error. */
static void segment_1_is_away(bool away) {
    char file[256], aside[256];
    snprintf(file, sizeof file, "%s/00000001.log", directory);
    snprintf(aside, sizeof aside, "%s/aside", directory);
    if (!away) assert_int_equal(rmdir(file), 0);
    assert_int_equal(away ? rename(file, aside) : rename(aside, file), 0);
    if (away) assert_int_equal(mkdir(file, 0700), 0);
}

/* Two segments, of which the disk does not give the first: it is asked so often. */
static void an_error_of_reading_may_pass(void **state) {
    (void)state;
    static const struct {
        int asked;
        bool passes;
    } rows[] = {{1, true}, {30, true}, {30, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_batches(0, 15);
        close_spool();
        open_spool();
        write_batches(15, 10);
        segment_1_is_away(true);
        for (int n = 0; n < rows[i].asked; n++) {
            assert_int_equal(read_one(), -1);
            assert_true(last.refused);
            assert_int_equal(last.damaged, 0);
            assert_int_equal(weir_spool_spans(spool), 250);
        }
        assert_int_equal(metric("spool_damaged_places_total"), 0);
        if (rows[i].passes) segment_1_is_away(false);
        for (int n = rows[i].passes ? 0 : 15; n < 25; n++) {
            assert_int_equal(read_one(), n);
            assert_int_equal(last.damaged, !rows[i].passes && n == 15 ? 150 : 0);
            settle();
        }
        assert_int_equal(read_one(), -1);
        assert_false(last.refused);
        assert_int_equal(metric("spool_damaged_places_total"), rows[i].passes ? 0 : 1);
        assert_int_equal(weir_spool_spans(spool), 0);
        teardown(NULL);
        setup(NULL);
    }
}

static void no_room_gives_up_the_oldest(void **state) {
    (void)state;
    close_spool();
    options.max_bytes = 4 * MiB;
    open_spool();
    uint32_t written = 0, lost = 0;
    for (; written < 300; written++) {
        enum weir_status status = try_write((uint64_t)written * 100, 0);
        if (status == WEIR_OK) continue;
        assert_int_equal(status, WEIR_FULL);
        uint64_t spans = weir_spool_make_room(spool);
        assert_true(spans > 0 && spans % BATCH_SPANS == 0);
        lost += (uint32_t)spans / BATCH_SPANS;
        assert_int_equal(try_write((uint64_t)written * 100, 0), WEIR_OK);
    }
    assert_true(look_at_files(directory).bytes <= 4 * MiB);
    assert_int_equal(weir_spool_spans(spool), (300 - lost) * BATCH_SPANS);
    for (uint32_t i = lost; i < 300; i++)
        assert_int_equal(read_one(), (int)i);
    assert_int_equal(read_one(), -1);
}

static void what_is_under_way_is_not_given_up(void **state) {
    (void)state;
    write_batches(0, 50);
    assert_int_equal(read_one(), 0);
    assert_int_equal(weir_spool_make_room(spool), 0);
    settle();
    uint64_t spans = weir_spool_make_room(spool);
    assert_true(spans > 100 && spans < 220);
    assert_int_equal(read_one(), 1 + (int)spans / BATCH_SPANS);
}

static void the_one_that_is_written_is_not_given_up(void **state) {
    (void)state;
    write_batches(0, 3);
    assert_int_equal(weir_spool_make_room(spool), 0);
    assert_int_equal(read_one(), 0);
}

static void the_old_expires(void **state) {
    (void)state;
    write_batches(0, 30); /* the first segment is expired as a whole, the second one record after the other */
    mono_ns += 100 * WEIR_S;
    write_batches(30, 5);
    assert_int_equal(read_aged(100 * WEIR_S), 0);
    assert_true(last.age_ns == 100 * WEIR_S);
    settle();
    assert_int_equal(read_aged(99 * WEIR_S), 30);
    assert_int_equal(last.expired, 29 * BATCH_SPANS);
    assert_int_equal(last.age_ns, 0);
    assert_int_equal(weir_spool_spans(spool), 4 * BATCH_SPANS);
}

/* A clock that is set moves no age while the process lives; over its end, what seems to come from the future is new,
 * and what was written before a clock was set at all is not thrown away for it. */
static void clocks_are_set(void **state) {
    (void)state;
    write_batches(0, 1);
    unix_ns -= 5000 * WEIR_S;
    mono_ns += 10 * WEIR_S;
    write_batches(1, 1);
    assert_int_equal(read_aged(100 * WEIR_S), 0);
    assert_int_equal(last.age_ns, 10 * WEIR_S);
    unix_ns += 50000 * WEIR_S;
    assert_int_equal(read_aged(100 * WEIR_S), 1);
    assert_int_equal(last.age_ns, 0);
    write_batches(2, 1);
    unix_ns -= 100000 * WEIR_S;
    close_spool();
    open_spool();
    assert_int_equal(read_aged(100 * WEIR_S), 0);
    assert_int_equal(last.age_ns, 0);
    close_spool();
    unix_ns = 3 * WEIR_S; /* before NTP */
    open_spool();
    write_batches(3, 1);
    close_spool();
    unix_ns = 1800000000 * WEIR_S;
    open_spool();
    for (int i = 0; i < 3; i++)
        read_one();
    assert_int_equal(read_aged(100 * WEIR_S), 3);
    assert_int_equal(last.age_ns, 0);
}

/* Of another version of the format: left alone, and in nobody's way, until there is no room. */
static void a_foreign_segment_is_left_alone(void **state) {
    (void)state;
    uint8_t header[WEIR_LOG_HEADER_BYTES];
    char path[200];
    close_spool();
    options.max_bytes = 3 * MiB;
    weir_log_write_header(header, 7);
    header[8] = 9; /* the version */
    uint64_t sum = XXH3_64bits(header, 24);
    memcpy(header + 24, &sum, 8);
    snprintf(path, sizeof path, "%s/00000007.log", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, header, sizeof header), sizeof header);
    assert_int_equal(ftruncate(fd, 500000), 0);
    close(fd);
    open_spool();
    assert_int_equal(weir_spool_spans(spool), 0);
    write_batches(0, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(read_one(), i);
        settle();
    }
    assert_int_equal(read_one(), -1);
    assert_int_equal(look_at_files(directory).oldest, 7);
    int written = 5;
    while (try_write((uint64_t)written * 100, 0) == WEIR_OK)
        written++;
    assert_true(weir_spool_make_room(spool) > 0);
    assert_true(look_at_files(directory).oldest > 7);
}

/* A power cut may take the newest names: a cursor that points there says nothing about what gets their numbers next. */
static void a_cursor_into_nowhere_is_forgotten(void **state) {
    (void)state;
    char path[200];
    write_batches(0, 30);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(read_one(), i);
        settle();
    }
    write_batches(30, 2); /* segment 3 or 4, whose beginning is settled */
    assert_int_equal(read_one(), 30);
    settle();
    uint64_t newest = look_at_files(directory).oldest;
    close_spool();
    snprintf(path, sizeof path, "%s/%08llu.log", directory, (unsigned long long)newest);
    assert_int_equal(unlink(path), 0);
    open_spool();
    write_batches(40, 60); /* numbers begin anew, and pass where the cursor was */
    close_spool();
    open_spool();
    for (int i = 40; i < 100; i++)
        assert_int_equal(read_one(), i);
}

static int fail_with;
static ssize_t failing_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (fail_with == 0) return pwrite(fd, bytes, size, offset);
    errno = fail_with;
    return -1;
}

static void a_disk_that_says_no(void **state) {
    (void)state;
    const struct weir_log_disk disk = {.write = failing_write};
    close_spool();
    options.disk = &disk;
    open_spool();
    write_batches(0, 3);
    fail_with = ENOSPC;
    assert_int_equal(try_write(300, 0), WEIR_IO);
    fail_with = EIO;
    assert_int_equal(try_write(300, 0), WEIR_IO);
    assert_int_equal(weir_spool_spans(spool), 30);
    fail_with = 0;
    write_batches(3, 30);
    for (int i = 0; i < 33; i++)
        assert_int_equal(read_one(), i);
    assert_int_equal(read_one(), -1);
    assert_int_equal(last.damaged, 0);
}

static void only_one_process(void **state) {
    (void)state;
    struct weir_spool *other = NULL;
    struct weir_error err = {0};
    assert_int_equal(weir_spool_open(&other, &options, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "another process has the directory"));
    assert_null(other);
}

static void spools_that_nobody_sends(void **state) {
    (void)state;
    static const char *const one[] = {"x"}, *const other[] = {"file", "kafka/audit"};
    char path[160];
    write_batches(0, 3);
    close_spool();
    snprintf(path, sizeof path, "%s/exporters", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "mv '%s' '%s/exporters/kafka+audit'", directory, folder);
    assert_int_equal(system(path), 0);
    weir_spool_folder(folder, "kafka/audit", path, sizeof path);
    struct files files = look_at_files(path);
    assert_int_equal(weir_spool_orphans(folder, other, 2, false), 0);
    assert_int_equal(weir_spool_orphans(folder, one, 1, false), files.bytes);
    snprintf(path, sizeof path, "mv '%s/exporters/kafka+audit' '%s/journal'", folder, folder);
    assert_int_equal(system(path), 0);
    assert_int_equal(weir_spool_orphans(folder, one, 1, true), 0);
    assert_int_equal(weir_spool_orphans(folder, one, 1, false), files.bytes);
    assert_int_equal(weir_spool_orphans("/nowhere", one, 1, false), 0);
}

int main(void) {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(in_order),
        IN_A_FOLDER(files_go_when_all_of_them_is_settled),
        IN_A_FOLDER(a_start_goes_on_from_the_cursor),
        IN_A_FOLDER(a_kill_loses_nothing_and_a_start_counts_exactly),
        IN_A_FOLDER(damage_is_counted_in_spans),
        IN_A_FOLDER(an_error_of_reading_may_pass),
        IN_A_FOLDER(no_room_gives_up_the_oldest),
        IN_A_FOLDER(what_is_under_way_is_not_given_up),
        IN_A_FOLDER(the_one_that_is_written_is_not_given_up),
        IN_A_FOLDER(the_old_expires),
        IN_A_FOLDER(clocks_are_set),
        IN_A_FOLDER(a_foreign_segment_is_left_alone),
        IN_A_FOLDER(a_cursor_into_nowhere_is_forgotten),
        IN_A_FOLDER(a_disk_that_says_no),
        IN_A_FOLDER(only_one_process),
        IN_A_FOLDER(spools_that_nobody_sends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
