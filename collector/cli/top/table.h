/* table.h - the rows of a table in columns: which there is room for, and what stands in them. */
#ifndef WEIR_CLI_TOP_TABLE_H
#define WEIR_CLI_TOP_TABLE_H
#include "collector/cli/top/pen.h"

/* What the columns are, of this screen and these rows. */
struct weir_top_layout {
    uint32_t name;                  /* columns of it */
    bool band;                      /* some rate is only known to +- more than a percent */
    bool columns[WEIR_TOP_COLUMNS]; /* are shown */
};
struct weir_top_layout weir_top_lay_out(const struct weir_top_frame *frame, const struct weir_top_look *look);
void weir_top_draw_titles(struct weir_pen *pen, const struct weir_top_layout *layout,
                          const struct weir_top_frame *frame);
void weir_top_draw_row(struct weir_pen *pen, const struct weir_top_layout *layout, const struct weir_top_frame *frame,
                       const struct weir_top_row *row);
#endif
