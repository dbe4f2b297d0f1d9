/* What stands on stderr: the test puts a file there, which is never full. */
#define _GNU_SOURCE 1
#include "collector/core/clock.h"
#include "collector/core/log.h"
#include "tests/unit/core/unit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char text[64 * 1024];

static int saved, caught_fd;

static void catch_stderr(void) {
    caught_fd = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(caught_fd >= 0);
    assert_int_equal(fcntl(caught_fd, F_SETFL, O_APPEND), 0); /* else threads write over each other in a memfd */
    saved = dup(STDERR_FILENO);
    dup2(caught_fd, STDERR_FILENO);
}

static const char *caught(void) {
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n, size = 0;
    while ((n = pread(caught_fd, text + size, sizeof text - 1 - (size_t)size, size)) > 0)
        size += n;
    close(caught_fd);
    text[size] = 0;
    return text;
}

static unsigned lines_of(const char *at) {
    unsigned lines = 0;
    for (; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

static void time_level_event(void **state) {
    (void)state;
    catch_stderr();
    weir_log(WEIR_LOG_WARN, "lane_started lane=%u", 3);
    const char *line = caught();
    assert_non_null(strstr(line, "Z level=warn event=lane_started lane=3\n"));
    assert_memory_equal(line, "time=2", 6);
    assert_int_equal(strlen("time=2026-01-02T03:04:05.678"), strchr(line, 'Z') - line);
}

static void below_the_level_nothing(void **state) {
    (void)state;
    static const char *const names[] = {"level=debug", "level=info", "level=warn", "level=error"};
    for (int level = WEIR_LOG_DEBUG; level <= WEIR_LOG_ERROR; level++) {
        weir_log_set_level((enum weir_log_level)level);
        catch_stderr();
        for (int at = WEIR_LOG_DEBUG; at <= WEIR_LOG_ERROR; at++)
            weir_log((enum weir_log_level)at, "e");
        const char *lines = caught();
        for (int at = WEIR_LOG_DEBUG; at <= WEIR_LOG_ERROR; at++) {
            if ((strstr(lines, names[at]) != NULL) != (at >= level)) fail_msg("%s at level %d", names[at], level);
        }
    }
    weir_log_set_level(WEIR_LOG_INFO);
}

static void one_event_stays_one_line(void **state) {
    (void)state;
    char control[33];
    for (int i = 0; i < 31; i++)
        control[i] = (char)(i + 1);
    control[31] = 0x7f;
    control[32] = 0;
    catch_stderr();
    weir_log(WEIR_LOG_INFO, "refused why=\"a\nlevel=error event=forged\r\x1b[2J%s\"", control);
    const char *line = caught();
    assert_int_equal(lines_of(line), 1);
    for (const char *at = line; at[1] != 0; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            fail_msg("byte %02x at %zu", (unsigned char)*at, (size_t)(at - line));
    }
    assert_non_null(strstr(line, "a level=error event=forged  [2J"));
}

static void a_long_line_is_cut_and_ends(void **state) {
    (void)state;
    static char value[8000];
    memset(value, 'x', sizeof value - 1);
    catch_stderr();
    weir_log(WEIR_LOG_INFO, "long %s", value);
    weir_log(WEIR_LOG_INFO, "next");
    const char *lines = caught();
    assert_int_equal(lines_of(lines), 2);
    assert_true(strchr(lines, '\n') - lines < 4096);
    assert_non_null(strstr(lines, "event=next\n"));
}

static void what_repeats_is_counted(void **state) {
    (void)state;
    struct weir_log_limit limit = {0};
    catch_stderr();
    for (int i = 0; i < 100; i++) {
        weir_log_limited(&limit, WEIR_LOG_WARN, "again n=%d", i);
        limit.next_ns = UINT64_MAX; /* an interval that does not end, however slow we are */
    }
    limit.next_ns = 0; /* as if the interval were over */
    weir_log_limited(&limit, WEIR_LOG_WARN, "again n=%d", 100);
    const char *lines = caught();
    assert_int_equal(lines_of(lines), 2);
    assert_non_null(strstr(lines, "event=again n=0\n"));
    assert_non_null(strstr(lines, "event=again n=100 repeated=99\n"));
}

static struct weir_log_limit shared_limit;

static void logs(void *argument, unsigned index) {
    (void)argument;
    for (unsigned i = 0; i < 50; i++) {
        weir_log(WEIR_LOG_INFO, "whole thread=%u n=%u end", index, i);
        weir_log_limited(&shared_limit, WEIR_LOG_INFO, "limited thread=%u", index);
    }
}

static void lines_of_threads_do_not_mix(void **state) {
    (void)state;
    catch_stderr();
    uint64_t began_ns = weir_mono_ns(&weir_clock_system);
    unit_threads(4, logs, NULL);
    const char *lines = caught();
    unsigned whole = 0, limited = lines_of(lines) - 200;
    for (const char *at = lines; (at = strstr(at, " end\ntime=")) != NULL; at++)
        whole++;
    assert_in_range(whole, 199, 200); /* the last has none behind it */
    if (weir_mono_ns(&weir_clock_system) - began_ns < 10 * WEIR_S) assert_int_equal(limited, 1); /* once an interval */
    /* The thread that prints may find lines that others swallowed between its claim and its line: it carries them. */
    uint64_t carried = 0;
    for (const char *at = lines; (at = strstr(at, " repeated=")) != NULL; at++)
        carried += strtoull(at + strlen(" repeated="), NULL, 10);
    assert_int_equal(limited + carried + shared_limit.swallowed, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_level_event),         cmocka_unit_test(below_the_level_nothing),
        cmocka_unit_test(one_event_stays_one_line), cmocka_unit_test(a_long_line_is_cut_and_ends),
        cmocka_unit_test(what_repeats_is_counted),  cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
