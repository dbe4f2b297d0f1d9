/* tree.h - a trace, drawn for a terminal: one line that says what it is and why it was decided so, then its spans as a
 * tree with their times.
 *
 *   14:02:11.123 4bf92f3577b34da6a3ce929d0e0e4736 312ms 4 spans errors ×1 root
 *   edge GET /checkout                                        312ms ━━━━━━━━━━━━━━━━━━━━
 *   ├─cart GET /cart                                         12.0ms  ━
 *   └─payments POST /v2/charge                             ✗  250ms    ━━━━━━━━━━━━━━━━
 *     └─bank POST /authorize                               ✗  240ms    ╺━━━━━━━━━━━━━━━
 *
 * Pure. What is drawn is harmless to a terminal (cli/text.h), whatever the names are. */
#ifndef WEIR_CLI_TAIL_TREE_H
#define WEIR_CLI_TAIL_TREE_H
#include "collector/core/buffer.h"
#include "collector/core/span.h"

struct weir_tree_span {
    uint64_t id, parent; /* parent 0, or its own: a root */
    const char *service, *operation;
    int64_t offset_ns; /* of its start from the trace's; INT64_MIN: it did not say */
    uint64_t duration_ns;
    enum weir_kind kind;
    bool error;
};
#define WEIR_TREE_NO_OFFSET INT64_MIN

struct weir_tree_trace {
    uint64_t trace_hi, trace_lo; /* hi 0: drawn with 16 digits */
    uint64_t start_ns;           /* Unix epoch; 0 = no span said */
    uint64_t decided_ns;         /* Unix epoch; 0 = not known */
    uint64_t duration_ns;
    uint64_t span_count; /* of the trace; may be more than are here */
    bool kept, error;
    const char *rule, *cause;        /* NULL or "": not said */
    double weight;                   /* of a kept trace */
    const char *service, *operation; /* of its root, for traces whose spans are not here */
    struct weir_tree_span *spans;
    uint32_t count;
};

struct weir_tree_look {
    uint32_t columns;   /* of the terminal; at least 40 are used */
    uint32_t spans_max; /* lines of spans; more are folded, errors and the longest stay; 0 = all */
    bool unicode, colour;
};

/* Appends the trace's lines, each ending in "\n" and within the look's columns. Time of day is local (TZ). */
void weir_tree_draw(const struct weir_tree_trace *trace, const struct weir_tree_look *look, struct weir_buffer *out);
#endif
