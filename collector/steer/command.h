/* command.h - a command of the configuration that runs beside us: /bin/sh -c, in a process group of its own, nothing to
 * read, and of what it writes the last line is kept. Nobody waits for it: it is looked at. */
#ifndef WEIR_STEER_COMMAND_H
#define WEIR_STEER_COMMAND_H
#include "collector/core/error.h"

#include <stdint.h>
#include <sys/types.h>

enum weir_command_state {
    WEIR_COMMAND_NONE,
    WEIR_COMMAND_RUNS,
    WEIR_COMMAND_OK,
    WEIR_COMMAND_FAILED,
    WEIR_COMMAND_KILLED
};

struct weir_command {
    pid_t pid; /* 0: none runs */
    int output;
    uint64_t until_ns;
    char line[160]; /* its last, without control characters; may be cut in front */
    size_t line_size;
    bool line_ended;
    int status; /* as of waitpid(), when it has ended */
};

/* Zero it first. until_ns: of the clock that weir_command_look() is told. */
enum weir_status weir_command_start(struct weir_command *command, const char *text, uint64_t until_ns,
                                    struct weir_error *err);
/* RUNS, or once how it ended: OK is exit status 0; KILLED, its time was over. */
enum weir_command_state weir_command_look(struct weir_command *command, uint64_t now_ns);
/* How it ended, for a log line: "exit status 1", "signal 9". */
void weir_command_describe(const struct weir_command *command, char *out, size_t out_size);
/* Waits until it has ended, or CLOCK_MONOTONIC has come to until_ns; then it is killed. */
void weir_command_end(struct weir_command *command, uint64_t until_ns);
/* With all that it started. */
void weir_command_kill(struct weir_command *command);
#endif
