/* terminal.h - what the sub-commands know of where they print: columns, colour (NO_COLOR, TERM=dumb, not a terminal),
 * and how they read --options. */
#ifndef WEIR_CLI_TERMINAL_H
#define WEIR_CLI_TERMINAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum weir_terminal_colour { WEIR_TERMINAL_RED = 31, WEIR_TERMINAL_GREEN = 32, WEIR_TERMINAL_YELLOW = 33 };

struct weir_terminal {
    FILE *file;
    bool is_terminal, colour;
    uint32_t columns; /* 80 when nobody says */
};

struct weir_terminal weir_terminal_of(FILE *file);
/* Prints `text` as words, on a terminal folded at its columns, further lines `indent` in. The `mark_size` bytes at
 * `mark` (within text, or NULL) are coloured. Ends the line. */
void weir_terminal_fold(const struct weir_terminal *terminal, uint32_t indent, const char *text, const char *mark,
                        size_t mark_size, enum weir_terminal_colour colour);

/* argv[*i] is an option with a value: "--name=value", or "--name" "value", which moves *i on. False: no value. */
bool weir_terminal_option(int argc, char **argv, int *i, const char **value);
/* Is "--name" or "--name=value" the option `name`? */
bool weir_terminal_is(const char *argument, const char *name);
#endif
