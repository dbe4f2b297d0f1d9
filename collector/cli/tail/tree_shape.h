/* tree_shape.h - spans as a tree: who is whose child, when each was by one clock, and which are shown.
 *
 * What comes is seldom whole: parents that are missing, several roots, two spans with one id (Zipkin's shared spans: a
 * client and its server), parents in a circle, and clocks of several hosts. Each span ends up in the tree once.
 *
 * Clocks: a span does not begin before its parent, nor a server's behind the end of the client's that called it. Where
 * times say so, the clock of its host is another one: the span is moved, and what hangs below it on that host with it;
 * into the middle of its parent, since the ways there and back are about as long, or to the parent's start where it is
 * too long for that. The idea is that of Jaeger's clock skew adjustment (jaegertracing/jaeger,
 * model/adjuster/clockskew.go); of spans that are late and not impossible nothing is moved. */
#ifndef WEIR_CLI_TAIL_TREE_SHAPE_H
#define WEIR_CLI_TAIL_TREE_SHAPE_H
#include "collector/cli/tail/tree.h"

#define WEIR_TREE_NONE UINT32_MAX

/* nodes[0 .. count) of the trace are its spans, by the same index; behind them stand the parents that are missing. */
struct weir_tree_node {
    uint32_t parent, child, next; /* nodes: the first child, the next sibling; in order of start */
    uint32_t depth;
    uint64_t missing;      /* of a parent that is not here: its id */
    int64_t start_ns;      /* moved, from the trace's start; valid when timed */
    int64_t moved_ns;      /* by how much */
    bool timed, circle;    /* circle: parents go round; it was cut here */
    bool shown;            /* its ancestors are, too */
    uint32_t folded;       /* spans below it that are not shown */
    uint32_t folded_error; /* of them, errors */
};

struct weir_tree_shape {
    struct weir_tree_node *nodes;
    uint32_t count;              /* spans and missing parents */
    uint32_t first;              /* the first of those without parent; they are siblings */
    int64_t start_ns, end_ns;    /* of the time axis */
    uint32_t folded_roots;       /* spans in trees of which nothing is shown */
    uint32_t folded_roots_error; /* of them, errors */
};

/* At most `max` nodes are shown, 0 = all: roots first, then errors, then the longest, each with its ancestors, and of
 * those that are alike three. False: out of memory. */
bool weir_tree_shape_new(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t max);
void weir_tree_shape_free(struct weir_tree_shape *shape);
/* The node behind `node` in the order in which a tree is read; WEIR_TREE_NONE at the end. */
uint32_t weir_tree_next(const struct weir_tree_shape *shape, uint32_t node);
#endif
