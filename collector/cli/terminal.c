#include "collector/cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct weir_terminal weir_terminal_of(FILE *file) {
    struct weir_terminal terminal = {.file = file, .columns = 80};
    const char *plain = getenv("NO_COLOR"), *term = getenv("TERM"), *columns = getenv("COLUMNS");
    struct winsize size;
    terminal.is_terminal = isatty(fileno(file)) == 1;
    terminal.colour =
        terminal.is_terminal && (plain == NULL || *plain == 0) && term != NULL && strcmp(term, "dumb") != 0;
    if (terminal.is_terminal && ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        terminal.columns = size.ws_col;
    if (columns != NULL && atoi(columns) > 0) terminal.columns = (uint32_t)atoi(columns);
    if (terminal.columns < 40) terminal.columns = 40;
    if (terminal.columns > 160) terminal.columns = 160; /* longer lines are hard to read */
    return terminal;
}

/* Columns of a word: its characters. */
static uint32_t width(const char *text, size_t size) {
    uint32_t columns = 0;
    for (size_t i = 0; i < size; i++)
        columns += ((uint8_t)text[i] & 0xc0) != 0x80;
    return columns;
}

void weir_terminal_fold(const struct weir_terminal *terminal, uint32_t indent, const char *text, const char *mark,
                        size_t mark_size, enum weir_terminal_colour colour) {
    uint32_t column = 0;
    for (const char *word = text; *word != 0;) {
        size_t size = strcspn(word, " ");
        uint32_t columns = width(word, size);
        if (terminal->is_terminal && column > 0 && column + 1 + columns > terminal->columns) {
            fprintf(terminal->file, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > 0) {
            fputc(' ', terminal->file);
            column++;
        }
        bool marked = terminal->colour && mark != NULL && word + size > mark && word < mark + mark_size;
        if (marked) fprintf(terminal->file, "\033[%dm", (int)colour);
        fwrite(word, 1, size, terminal->file);
        if (marked) fputs("\033[0m", terminal->file);
        column += columns;
        word += size;
        word += strspn(word, " ");
    }
    fputc('\n', terminal->file);
}

bool weir_terminal_option(int argc, char **argv, int *i, const char **value) {
    const char *equals = strncmp(argv[*i], "--", 2) == 0 ? strchr(argv[*i], '=') : NULL;
    if (equals != NULL) {
        *value = equals + 1;
        return true;
    }
    if (*i + 1 >= argc) return false;
    *value = argv[++*i];
    return true;
}

bool weir_terminal_is(const char *argument, const char *name) {
    size_t size = strlen(name);
    return strncmp(argument, name, size) == 0 && (argument[size] == 0 || (argument[size] == '=' && name[1] == '-'));
}
