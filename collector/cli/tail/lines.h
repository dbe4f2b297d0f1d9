/* lines.h - the lines of GET /tail (sample/taps.h, docs/tail.md), read back. Members that are not known are passed
 * over, so that an older `weir tail` reads a newer collector. Pure. */
#ifndef WEIR_CLI_TAIL_LINES_H
#define WEIR_CLI_TAIL_LINES_H
#include "collector/cli/tail/tree.h"
#include "collector/core/error.h"

enum weir_tail_kind { WEIR_TAIL_OTHER, WEIR_TAIL_HELLO, WEIR_TAIL_TRACE, WEIR_TAIL_LOST, WEIR_TAIL_PULSE };
enum { WEIR_TAIL_SPANS_MAX = 10000 }; /* of a line; what is behind them is passed over and counts as not sent */

/* One line; its memory is used again for the next. Zeroed = empty. */
struct weir_tail_line {
    enum weir_tail_kind kind;
    bool deciding;                /* of a hello and a pulse */
    const char *note;             /* of a hello; "" = none */
    uint64_t lost;                /* of LOST */
    struct weir_tree_trace trace; /* of TRACE */
    char *texts;
    size_t texts_size, texts_capacity;
    uint32_t span_capacity;
};

/* WEIR_INVALID: err->text says what is wrong, and at which byte. WEIR_FULL: out of memory. */
enum weir_status weir_tail_line_read(struct weir_tail_line *line, const uint8_t *bytes, size_t size,
                                     struct weir_error *err);
void weir_tail_line_free(struct weir_tail_line *line);
#endif
