/* The log: what was appended comes back, in order and whole, whatever was done to the files meanwhile; what nothing
 * pins goes; a full one says so. Damage: test_log_damage.c; disks that fail: test_log_disk.c. */
#include "tests/unit/spool/log_rig.h"

/* ---- what comes back ---- */

static void everything_in_order(void **state) {
    struct fixture *f = *state;
    open_log(f);
    assert_int_equal(weir_log_found(f->log), 0);
    assert_int_equal(put(f, "one"), 1);
    put_bytes(f, 9, "", 0);
    put_long(f, "three", 700000); /* wider than the window */
    assert_int_equal(put_long(f, "four", 700000), 2);
    put(f, "five");
    struct weir_log_stats stats = reopen(f);
    assert_int_equal(f->seen_count, 5);
    assert_seen(f, "one  three four five");
    assert_int_equal(f->seen[1].type, 9);
    assert_int_equal(f->seen[1].size, 0);
    assert_int_equal(f->seen[2].size, 700000);
    assert_int_equal(f->seen[3].segment, 2);
    assert_int_equal(f->seen[0].offset, WEIR_LOG_HEADER_BYTES);
    assert_int_equal(stats.segments, 2);
    assert_int_equal(stats.bytes, size_of(f, 1) + size_of(f, 2));
    assert_int_equal(stats.bytes_bad, 0);
    assert_int_equal(weir_log_found(f->log), 2);
    replay(f); /* as often as one likes */
    assert_int_equal(f->seen_count, 5);
    f->stop_at = 2;
    replay(f);
    assert_int_equal(f->seen_count, 2);
}

static void many_records_and_starts(void **state) {
    struct fixture *f = *state;
    char text[32];
    for (int start = 0; start < 5; start++) {
        open_log(f);
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof text, "%d/%d", start, i);
            if (i % 50 == 0) {
                put_long(f, text, 60000 + (size_t)i);
            } else {
                put(f, text);
            }
        }
        close_log(f);
    }
    open_log(f);
    replay(f);
    assert_int_equal(f->seen_count, 2500);
    for (int i = 0; i < 2500; i++) {
        snprintf(text, sizeof text, "%d/%d", i / 500, i % 500);
        assert_string_equal(f->seen[i].text, text);
    }
}

static void a_record_may_be_larger_than_a_segment(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    open_log(f);
    put(f, "small");
    assert_int_equal(put_long(f, "large", 3 * MiB), 2);
    assert_int_equal(put(f, "next"), 3);
    put_long(f, "largest", WEIR_LOG_RECORD_MAX);
    char *bytes = calloc(1, WEIR_LOG_RECORD_MAX + 1);
    assert_int_equal(weir_log_append(f->log, 1, bytes, WEIR_LOG_RECORD_MAX + 1, NULL, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "larger than 16 MiB"));
    free(bytes);
    reopen(f);
    assert_seen(f, "small large next largest");
    assert_int_equal(f->seen_bytes, 5 + 3 * MiB + 4 + WEIR_LOG_RECORD_MAX);
}

static void numbers_go_on_after_a_restart(void **state) {
    struct fixture *f = *state;
    open_log(f);
    assert_int_equal(put(f, "one"), 1);
    close_log(f);
    open_log(f);
    assert_int_equal(put(f, "two"), 2); /* never behind what another start wrote: its end may be torn */
    weir_log_unpin(f->log, 2);
    weir_log_let_go(f->log);
    weir_log_clear(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), -1);
    assert_int_equal(size_of(f, 3), WEIR_LOG_HEADER_BYTES); /* all is gone but the number */
    struct weir_log_stats stats = reopen(f);
    assert_int_equal(f->seen_count, 0);
    assert_int_equal(stats.segments, 1);
    weir_log_let_go(f->log);
    weir_log_trim(f->log);
    assert_int_equal(size_of(f, 3), -1);
    assert_int_equal(put(f, "four"), 4);
}

/* ---- pins, bounds ---- */

static void segments_go_from_the_oldest(void **state) {
    struct fixture *f = *state;
    struct weir_log_stats stats;
    open_log(f);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(put_long(f, "x", MiB - 100), i);
    weir_log_pin(f->log, 2);
    weir_log_unpin(f->log, 2);
    weir_log_unpin(f->log, 2); /* the second is free, the first is not */
    weir_log_trim(f->log);
    assert_true(size_of(f, 2) > 0);
    weir_log_unpin(f->log, 1);
    weir_log_unpin(f->log, 99); /* none: ignored, as 0 is */
    weir_log_unpin(f->log, 0);
    weir_log_trim(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), -1);
    assert_true(size_of(f, 3) > 0);
    weir_log_unpin(f->log, 3);
    weir_log_unpin(f->log, 4);
    weir_log_trim(f->log); /* what is being written stays */
    assert_true(size_of(f, 4) > 0);
    weir_log_stats(f->log, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.bytes, size_of(f, 4));
}

static void found_segments_wait_until_let_go(void **state) {
    struct fixture *f = *state;
    open_log(f);
    put(f, "one");
    close_log(f);
    open_log(f);
    weir_log_clear(f->log);
    assert_true(size_of(f, 1) > 0);
    weir_log_pin(f->log, 1);
    weir_log_let_go(f->log);
    weir_log_let_go(f->log); /* once */
    weir_log_clear(f->log);
    assert_true(size_of(f, 1) > 0);
    weir_log_unpin(f->log, 1);
    weir_log_clear(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), WEIR_LOG_HEADER_BYTES);
}

static void full_is_an_answer(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    struct weir_log_stats stats;
    f->options.max_bytes = 2 * MiB;
    open_log(f);
    put_long(f, "one", MiB - 100);
    put_long(f, "two", MiB - 200);
    char bytes[1000] = "three";
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_FULL);
    assert_non_null(strstr(err.text, "max_bytes is 2097152"));
    weir_log_unpin(f->log, 1);
    assert_int_equal(put_bytes(f, 1, bytes, sizeof bytes), 3); /* made room by itself */
    weir_log_stats(f->log, &stats);
    assert_true(stats.bytes <= f->options.max_bytes);
    reopen(f);
    assert_seen(f, "two three");
    put_long(f, "four", MiB - 100); /* what was found does not count until it is let go */
    put_long(f, "five", MiB - 200);
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_FULL);
    weir_log_unpin(f->log, 5);
    weir_log_let_go(f->log);
    put(f, "six");
    reopen(f);
    assert_seen(f, "four five six");
}

static void options_are_checked(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    f->options.segment_bytes = MiB - 1;
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    f->options.segment_bytes = 33 * MiB;
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    f->options.segment_bytes = MiB;
    f->options.directory = "";
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    assert_string_equal(err.text, "log: directory is empty");
    f->options.directory = "/proc/no/such";
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "/proc/no"));
    assert_null(f->log);
}

static void two_processes_are_refused(void **state) {
    struct fixture *f = *state;
    open_log(f);
    pid_t child = fork();
    if (child == 0) {
        struct weir_log *second = NULL;
        struct weir_error err = {0};
        bool refused = weir_log_open(&second, &f->options, &err) == WEIR_IO && second == NULL &&
                       strstr(err.text, "another process has the directory") != NULL;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_log(f);
    open_log(f); /* the lock went with the log */
}

static void private_to_its_owner(void **state) {
    struct fixture *f = *state;
    struct stat info;
    char path[128];
    open_log(f);
    put(f, "one");
    assert_int_equal(stat(f->directory, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    path_of(f, 1, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(many_records_and_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_may_be_larger_than_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_go_on_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_go_from_the_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(found_segments_wait_until_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(full_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(options_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(two_processes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(private_to_its_owner, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
