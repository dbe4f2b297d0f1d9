/* Real commands of a real shell. The clock that they are looked at by is the test's. */
#include "collector/core/clock.h"
#include "collector/steer/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static struct weir_command command;

static void start(const char *text) {
    struct weir_error err = {0};
    command = (struct weir_command){0};
    if (weir_command_start(&command, text, 100, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void breathe(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static enum weir_command_state outcome(void) {
    enum weir_command_state state;
    uint64_t deadline_ns = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
    while ((state = weir_command_look(&command, 99)) == WEIR_COMMAND_RUNS) {
        if (weir_mono_ns(&weir_clock_system) > deadline_ns) fail_msg("it still runs");
        breathe();
    }
    assert_int_equal(weir_command_look(&command, 1000), WEIR_COMMAND_NONE); /* told once */
    return state;
}

static void how_it_ends(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum weir_command_state ends;
        const char *how, *line;
    } rows[] = {
        {"true", WEIR_COMMAND_OK, "exit status 0", ""},
        {"echo one; echo two", WEIR_COMMAND_OK, "exit status 0", "two"},
        {"echo one; printf two", WEIR_COMMAND_OK, "exit status 0", "two"},
        {"echo oops >&2; exit 3", WEIR_COMMAND_FAILED, "exit status 3", "oops"},
        {"there-is-no-such-command 2>/dev/null", WEIR_COMMAND_FAILED, "exit status 127", ""},
        {"kill -9 $$", WEIR_COMMAND_FAILED, "signal 9", ""},
        {"printf 'a\"b\\tc\\n'", WEIR_COMMAND_OK, "exit status 0", "a'b c"},
        {"read x || echo nothing to read", WEIR_COMMAND_OK, "exit status 0", "nothing to read"},
        {"echo; echo; echo last; echo", WEIR_COMMAND_OK, "exit status 0", "last"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char how[48];
        start(rows[i].text);
        if (outcome() != rows[i].ends) fail_msg("%s", rows[i].text);
        weir_command_describe(&command, how, sizeof how);
        assert_string_equal(how, rows[i].how);
        assert_string_equal(command.line, rows[i].line);
    }
}

/* More than a pipe holds, in one line: its end is kept. */
static void much_output(void **state) {
    (void)state;
    start("head -c 1000000 /dev/zero | tr '\\0' x; echo end");
    assert_int_equal(outcome(), WEIR_COMMAND_OK);
    assert_int_equal(command.line_size, sizeof command.line - 1);
    assert_string_equal(command.line + command.line_size - 4, "xend");
}

/* With what it started, which is of its process group. */
static void killed_when_its_time_is_over(void **state) {
    (void)state;
    int child = 0;
    uint64_t deadline_ns = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
    start("sleep 600 & echo $!; wait");
    while (child == 0) {
        assert_int_equal(weir_command_look(&command, 99), WEIR_COMMAND_RUNS);
        if (command.line_ended) child = atoi(command.line);
        if (weir_mono_ns(&weir_clock_system) > deadline_ns) fail_msg("no child");
        breathe();
    }
    assert_int_equal(weir_command_look(&command, 100), WEIR_COMMAND_KILLED);
    while (kill(child, 0) == 0) { /* until whoever inherits it has buried it */
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        FILE *stat = fopen(path, "r");
        if (stat != NULL && fgets(line, sizeof line, stat) != NULL && strstr(line, ") Z ") != NULL) {
            fclose(stat);
            break;
        }
        if (stat != NULL) fclose(stat);
        if (weir_mono_ns(&weir_clock_system) > deadline_ns) fail_msg("its child lives");
        breathe();
    }
}

/* What runs on in the background holds nobody up. */
static void a_child_that_stays(void **state) {
    (void)state;
    start("sleep 600 & echo $!");
    assert_int_equal(outcome(), WEIR_COMMAND_OK);
    int child = atoi(command.line);
    assert_int_equal(kill(child, SIGKILL), 0);
}

/* Threads of ours block signals and ignore SIGPIPE; a command must not inherit that. */
static void signals_are_as_usual(void **state) {
    (void)state;
    sigset_t all, before;
    sigfillset(&all);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    start("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t '");
    enum weir_command_state ended = outcome();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(ended, WEIR_COMMAND_OK);
    assert_non_null(strstr(command.line, "SigBlk:0000000000000000"));
    const char *ignored = strstr(command.line, "SigIgn:");
    assert_non_null(ignored);
    assert_int_equal(strtoull(ignored + 7, NULL, 16) & (1u << (SIGPIPE - 1)), 0);
}

static void ends_at_last(void **state) {
    (void)state;
    start("sleep 600");
    weir_command_end(&command, weir_mono_ns(&weir_clock_system) + 10 * WEIR_MS);
    assert_int_equal(command.pid, 0);
    weir_command_kill(&command); /* of none: nothing */
    weir_command_end(&command, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_it_ends),
        cmocka_unit_test(much_output),
        cmocka_unit_test(killed_when_its_time_is_over),
        cmocka_unit_test(a_child_that_stays),
        cmocka_unit_test(signals_are_as_usual),
        cmocka_unit_test(ends_at_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
