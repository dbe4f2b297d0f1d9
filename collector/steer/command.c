#define _GNU_SOURCE /* pipe2 */
#include "collector/steer/command.h"

#include "collector/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { READ_BYTES_MAX = 1 << 16 /* at a look: a pipe's room */ };

/* A process group of its own, so that all of it can be killed; and no signal blocked or ignored, which ours are. */
static int set_attributes(posix_spawnattr_t *attributes) {
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &usual);
    posix_spawnattr_setpgroup(attributes, 0);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(pid_t *pid, const char *text, int output) {
    char shell[] = "sh", option[] = "-c", copy[1024];
    char *argv[] = {shell, option, copy, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy) return E2BIG;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failed == 0) failed = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (failed == 0) failed = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (failed == 0) failed = set_attributes(&attributes);
    if (failed == 0) failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

enum weir_status weir_command_start(struct weir_command *command, const char *text, uint64_t until_ns,
                                    struct weir_error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return weir_fail(err, WEIR_IO, errno, true, "pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* ours; the command's end waits for us as for any reader */
    *command = (struct weir_command){.output = ends[0], .until_ns = until_ns};
    int failed = spawn(&command->pid, text, ends[1]);
    close(ends[1]);
    if (failed == 0) return WEIR_OK;
    close(ends[0]);
    command->pid = 0;
    return weir_fail(err, WEIR_IO, failed, true, "/bin/sh");
}

static void keep_line(struct weir_command *command, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        if (c == '\n') {
            command->line_ended = true;
            continue;
        }
        if (command->line_ended) command->line_size = 0;
        command->line_ended = false;
        if (command->line_size + 1 == sizeof command->line) {
            memmove(command->line, command->line + 1, command->line_size - 1);
            command->line_size--;
        }
        command->line[command->line_size++] = c == '"' ? '\'' : (unsigned char)c < 0x20 ? ' ' : c;
    }
    command->line[command->line_size] = 0;
}

static void read_output(struct weir_command *command) {
    char bytes[4096];
    for (int have = 0; have < READ_BYTES_MAX;) {
        ssize_t got = read(command->output, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        keep_line(command, bytes, (size_t)got);
        have += (int)got;
    }
}

static void finish(struct weir_command *command) {
    read_output(command);
    close(command->output); /* what it left running may go on, and write to nobody */
    command->pid = 0;
}

void weir_command_kill(struct weir_command *command) {
    if (command->pid == 0) return;
    kill(-command->pid, SIGKILL); /* its number stands until waitpid() */
    while (waitpid(command->pid, &command->status, 0) < 0 && errno == EINTR)
        continue;
    finish(command);
}

enum weir_command_state weir_command_look(struct weir_command *command, uint64_t now_ns) {
    if (command->pid == 0) return WEIR_COMMAND_NONE;
    read_output(command);
    pid_t ended = waitpid(command->pid, &command->status, WNOHANG);
    if (ended == 0 && now_ns < command->until_ns) return WEIR_COMMAND_RUNS;
    if (ended == 0) {
        weir_command_kill(command);
        return WEIR_COMMAND_KILLED;
    }
    finish(command);
    return ended > 0 && WIFEXITED(command->status) && WEXITSTATUS(command->status) == 0 ? WEIR_COMMAND_OK
                                                                                        : WEIR_COMMAND_FAILED;
}

void weir_command_end(struct weir_command *command, uint64_t until_ns) {
    const struct timespec pause = {.tv_nsec = 10 * (long)WEIR_MS};
    command->until_ns = until_ns;
    while (weir_command_look(command, weir_mono_ns(&weir_clock_system)) == WEIR_COMMAND_RUNS)
        nanosleep(&pause, NULL);
}

void weir_command_describe(const struct weir_command *command, char *out, size_t out_size) {
    if (WIFSIGNALED(command->status))
        snprintf(out, out_size, "signal %d", WTERMSIG(command->status));
    else
        snprintf(out, out_size, "exit status %d", WEXITSTATUS(command->status));
}
