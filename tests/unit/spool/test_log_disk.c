/* A log on a disk that says no: each call that fails is a status, and the log heals. */
#include "tests/unit/spool/log_rig.h"

static struct {
    int writes_left; /* then each fails; -1 = none does */
    size_t part;     /* of the write that fails first this much is written */
    int why;
    int syncs_left;
    unsigned syncs;
} disk;

static ssize_t disk_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (disk.writes_left < 0) return pwrite(fd, bytes, size, offset);
    if (disk.writes_left > 0) {
        disk.writes_left--;
        return pwrite(fd, bytes, size, offset);
    }
    if (disk.part > 0) {
        size_t part = disk.part < size ? disk.part : size;
        disk.part = 0;
        return pwrite(fd, bytes, part, offset);
    }
    errno = disk.why;
    return -1;
}
static int disk_sync(int fd) {
    disk.syncs++;
    if (disk.syncs_left == 0) {
        errno = EIO;
        return -1;
    }
    if (disk.syncs_left > 0) disk.syncs_left--;
    return fdatasync(fd);
}
static const struct weir_log_disk failing = {.write = disk_write, .sync = disk_sync, .sync_names = disk_sync};

static struct {
    const char *file, *aside;
    int pauses, back_after; /* so many pauses; 0 = never */
} away;
static void pause_until_it_is_back(uint64_t ns) {
    assert_int_equal(ns, 500 * 1000000);
    if (++away.pauses != away.back_after) return;
    assert_int_equal(rmdir(away.file), 0);
    assert_int_equal(rename(away.aside, away.file), 0);
}

/* Where the second of three segments was is a directory, which opens and cannot be read, for so many pauses of half a
 * second; a replay has patience for four. */
static void an_error_of_reading_may_pass(void **state) {
    struct fixture *f = *state;
    static const struct weir_log_disk pausing = {.pause = pause_until_it_is_back};
    static const struct {
        int back_after, pauses;
        uint64_t bad;
        const char *seen;
    } rows[] = {{1, 1, 0, "one two three"}, {4, 4, 0, "one two three"}, {0, 4, 1, "one three"}};
    f->options.disk = &pausing;
    f->options.patience_ns = 2000 * 1000000ull;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char file[256], aside[256];
        snprintf(f->directory, sizeof f->directory, "%s/%zu", f->folder, i);
        snprintf(file, sizeof file, "%s/00000002.log", f->directory);
        snprintf(aside, sizeof aside, "%s/aside", f->directory);
        static const char *const texts[] = {"one", "two", "three"};
        for (int n = 0; n < 3; n++) { /* each start has a segment of its own */
            open_log(f);
            put(f, texts[n]);
            if (n < 2) close_log(f);
        }
        close_log(f);
        open_log(f);
        assert_int_equal(rename(file, aside), 0);
        assert_int_equal(mkdir(file, 0700), 0);
        away.file = file;
        away.aside = aside;
        away.pauses = 0;
        away.back_after = rows[i].back_after;
        struct weir_log_stats stats = replay(f);
        assert_seen(f, rows[i].seen);
        assert_int_equal(stats.records_bad, rows[i].bad);
        assert_int_equal(away.pauses, rows[i].pauses);
        close_log(f);
    }
}

/* Fails at every write of three appends in turn, with and without a part of it written, then heals. */
static void no_space_then_heals(void **state) {
    struct fixture *f = *state;
    f->options.disk = &failing;
    for (int fails_at = 0; fails_at <= 6; fails_at++) {
        for (size_t part = 0; part <= 10; part += 5) {
            snprintf(f->directory, sizeof f->directory, "%s/%d-%zu", f->folder, fails_at, part);
            disk.writes_left = fails_at;
            disk.part = part;
            disk.why = part == 5 ? EIO : ENOSPC;
            disk.syncs_left = -1;
            open_log(f);
            char want[64] = "";
            unsigned refused = 0;
            static const char *const texts[] = {"the first record", "the second one", "the third of them"};
            for (int i = 0; i < 3; i++) {
                struct weir_error err = {0};
                enum weir_status status = weir_log_append(f->log, 1, texts[i], strlen(texts[i]), NULL, &err);
                if (status == WEIR_OK) {
                    snprintf(want + strlen(want), sizeof want - strlen(want), "%s ", texts[i]);
                    continue;
                }
                refused++;
                assert_int_equal(status, WEIR_IO);
                assert_int_equal(err.sys, disk.why);
                assert_true(err.retryable);
                assert_non_null(strstr(err.text, part == 5 ? "Input/output error" : "No space left on device"));
            }
            assert_int_equal(refused, fails_at == 0 ? 3 : 3 - (fails_at - 1) / 2);
            disk.writes_left = -1;
            put(f, "healed");
            strcat(want, "healed");
            struct weir_log_stats stats = reopen(f);
            assert_seen(f, want);
            assert_int_equal(stats.records_bad, 0); /* the torn end was cut off */
            close_log(f);
        }
    }
}

/* The same by the kernel's own means. */
static void a_file_too_large_then_heals(void **state) {
    struct fixture *f = *state;
    struct rlimit old, small;
    struct weir_error err = {0};
    open_log(f);
    put_long(f, "one", 40000);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){50000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    char bytes[20000] = "two";
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_IO);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(err.sys, EFBIG);
    assert_int_equal(size_of(f, 1), 32 + 24 + 40000);
    put(f, "three");
    assert_int_equal(reopen(f).records_bad, 0);
    assert_seen(f, "one three");
}

static void syncs(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    f->options.disk = &failing;
    disk.writes_left = disk.syncs_left = -1;
    open_log(f);
    disk.syncs = 0;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 0); /* nothing to sync */
    put(f, "one");
    put(f, "two");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 2); /* the segment and its name */
    put(f, "three");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 3);
    put_long(f, "large", MiB);
    put_long(f, "larger", MiB);
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 6); /* both new segments, and their names */
    put_long(f, "largest", MiB);     /* full ones that are not the newest are not forgotten */
    put(f, "x");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 9);
    disk.syncs_left = 0;
    uint64_t at = put(f, "four");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_IO);
    assert_int_equal(err.sys, EIO);
    assert_non_null(strstr(err.text, "Input/output error"));
    disk.syncs_left = -1;
    assert_int_equal(put(f, "five"), at + 1); /* not behind pages that the disk did not take */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    disk.syncs_left = 1;
    put_long(f, "six", MiB); /* the segment is synced, its name is not */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_IO);
    disk.syncs_left = -1;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK); /* the name again */
    reopen(f);
    assert_seen(f, "one two three large larger largest x four five six");
    struct weir_log_stats stats;
    weir_log_stats(f->log, &stats);
    disk.syncs = 0;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, stats.segments + 1); /* what was found: who wrote it may have died before its sync */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, stats.segments + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_error_of_reading_may_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(no_space_then_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_too_large_then_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(syncs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
