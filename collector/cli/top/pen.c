#include "collector/cli/top/pen.h"
#include "collector/cli/text.h"

#include <stdarg.h>
#include <stdio.h>

/* ECMA-48 8.3.117, SGR. Dim, bold and reverse are no colours: NO_COLOR leaves them. */
static const char *sgr(const struct weir_pen *pen, enum weir_pen_style style) {
    static const char *const codes[] = {[WEIR_PEN_PLAIN] = "",  [WEIR_PEN_DIM] = "2",   [WEIR_PEN_BOLD] = "1",
                                        [WEIR_PEN_GOOD] = "32", [WEIR_PEN_WARN] = "33", [WEIR_PEN_BAD] = "1;31"};
    if (!pen->look->live && !pen->look->colour) return "";
    return style >= WEIR_PEN_GOOD && !pen->look->colour ? "" : codes[style];
}

static uint32_t room(const struct weir_pen *pen) {
    return pen->used < pen->look->columns ? pen->look->columns - pen->used : 0;
}

static void put(struct weir_pen *pen, enum weir_pen_style style, const char *text, uint32_t columns) {
    const char *code = sgr(pen, style);
    if (columns > room(pen)) columns = room(pen);
    if (columns == 0 || *text == 0) return;
    if (*code != 0) weir_buffer_printf(pen->out, "\033[%sm", code);
    pen->used += weir_text_put(pen->out, text, columns, pen->look->unicode);
    if (*code != 0) weir_buffer_text(pen->out, pen->chosen ? "\033[0;7m" : "\033[0m");
}

void weir_pen_to(struct weir_pen *pen, uint32_t column) {
    if (column > pen->look->columns) column = pen->look->columns;
    if (column <= pen->used) return;
    weir_text_spaces(pen->out, column - pen->used);
    pen->used = column;
}

void weir_pen_text(struct weir_pen *pen, enum weir_pen_style style, const char *text) {
    put(pen, style, text, room(pen));
}

void weir_pen_left(struct weir_pen *pen, enum weir_pen_style style, uint32_t columns, const char *text) {
    uint32_t end = pen->used + columns;
    put(pen, style, text, columns);
    weir_pen_to(pen, end);
}

void weir_pen_right(struct weir_pen *pen, enum weir_pen_style style, uint32_t columns, const char *text) {
    uint32_t wide = weir_text_columns(text, pen->look->unicode), end = pen->used + columns;
    if (wide < columns) weir_pen_to(pen, pen->used + columns - wide);
    put(pen, style, text, wide < columns ? wide : columns);
    weir_pen_to(pen, end);
}

void weir_pen_printf(struct weir_pen *pen, enum weir_pen_style style, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    weir_pen_text(pen, style, text);
}

void weir_pen_choose(struct weir_pen *pen) {
    if (!pen->look->live) return;
    weir_buffer_text(pen->out, "\033[7m");
    pen->chosen = true;
}

void weir_pen_end(struct weir_pen *pen) {
    if (pen->chosen) {
        weir_pen_to(pen, pen->look->columns);
        weir_buffer_text(pen->out, "\033[0m");
    }
    weir_buffer_byte(pen->out, '\n');
    pen->used = 0;
    pen->chosen = false;
    pen->lines++;
}
