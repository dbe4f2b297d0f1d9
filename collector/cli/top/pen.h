/* pen.h - writes a line and counts its columns, so that none is wider than the screen. */
#ifndef WEIR_CLI_TOP_PEN_H
#define WEIR_CLI_TOP_PEN_H
#include "collector/cli/top/draw.h"

enum weir_pen_style { WEIR_PEN_PLAIN, WEIR_PEN_DIM, WEIR_PEN_BOLD, WEIR_PEN_GOOD, WEIR_PEN_WARN, WEIR_PEN_BAD };

struct weir_pen {
    struct weir_buffer *out;
    const struct weir_top_look *look;
    uint32_t used, lines; /* columns of this line; lines ended */
    bool chosen;          /* this line is in reverse video */
};

void weir_pen_text(struct weir_pen *pen, enum weir_pen_style style, const char *text);
/* In exactly so many columns, to the left or right; what is longer is cut. */
void weir_pen_left(struct weir_pen *pen, enum weir_pen_style style, uint32_t columns, const char *text);
void weir_pen_right(struct weir_pen *pen, enum weir_pen_style style, uint32_t columns, const char *text);
void weir_pen_printf(struct weir_pen *pen, enum weir_pen_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Spaces up to this column. */
void weir_pen_to(struct weir_pen *pen, uint32_t column);
void weir_pen_choose(struct weir_pen *pen); /* at the line's beginning */
void weir_pen_end(struct weir_pen *pen);
#endif
