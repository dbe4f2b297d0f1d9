/* draw.h - one frame of `weir top` as lines of text. Pure.
 *
 * No line is wider than `columns`, and there are no more than `lines`; names from the wire come through
 * weir_text_put(), so the only escapes are colours and marks that stand here. */
#ifndef WEIR_CLI_TOP_DRAW_H
#define WEIR_CLI_TOP_DRAW_H
#include "collector/cli/top/answers.h"

enum { WEIR_TOP_FILTER_BYTES = 64 };
enum { WEIR_TOP_COLUMNS_MIN = 40, WEIR_TOP_LINES_MIN = 12 }; /* a smaller terminal sees part of the frame */

enum weir_top_column {
    WEIR_TOP_BY_NAME,
    WEIR_TOP_BY_RATE,
    WEIR_TOP_BY_ERRORS,
    WEIR_TOP_BY_P50,
    WEIR_TOP_BY_P95,
    WEIR_TOP_BY_P99,
    WEIR_TOP_BY_SAMPLED,
    WEIR_TOP_BY_COST,
    WEIR_TOP_BY_CPU,
    WEIR_TOP_COLUMNS
};

struct weir_top_look {
    uint32_t columns, lines; /* lines 0: as many as there are */
    bool colour;
    bool live; /* a terminal with a cursor: the chosen row is marked, keys are told */
    bool unicode;
};

/* What the keys change. */
struct weir_top_state {
    enum weir_top_table_kind table;
    uint32_t service; /* of operations: of this service; 0: of all */
    enum weir_top_column sort;
    bool reverse, paused, help;
    bool filtering; /* keys go into the filter */
    char filter[WEIR_TOP_FILTER_BYTES];
    uint32_t chosen, scroll; /* rows */
};

struct weir_top_frame {
    const struct weir_top_state *state;
    const struct weir_top_known *known;
    const struct weir_top_rows *rows; /* of the table: filtered and in order */
    uint32_t unfiltered;              /* rows that there are */
    const char *source, *clock;       /* the address; the time of day */
    double interval_seconds;
    const char *complaint; /* NULL, or why the last question was not answered */
    double age_seconds;    /* of the numbers */
    bool answered;         /* ever */
};

/* Leaves the rows whose names have state->filter in them (letters a-z as A-Z), in order. */
void weir_top_arrange(const struct weir_top_state *state, const struct weir_names *names, struct weir_top_rows *rows);
/* Rows of the table that a screen shows. */
uint32_t weir_top_page_rows(const struct weir_top_look *look, const struct weir_top_frame *frame);
/* Lines that each end in "\n". */
void weir_top_draw(const struct weir_top_frame *frame, const struct weir_top_look *look, struct weir_buffer *out);

extern const char *const weir_top_column_titles[WEIR_TOP_COLUMNS];
#endif
