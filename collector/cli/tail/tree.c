#include "collector/cli/tail/tree.h"
#include "collector/cli/tail/tree_shape.h"
#include "collector/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NONE WEIR_TREE_NONE
enum {
    COLUMNS_MIN = 40,
    COLUMNS_MAX = 400,
    BAR_MIN = 8,
    BAR_MAX = 60,
    LEVELS_MIN = 3,
    /* " ✗ 250ms " and "~": what stands between the names and the bar */
    TIME_COLUMNS = 1 + 1 + 1 + WEIR_TEXT_DURATION_COLUMNS + 1 + 1,
    TIME_OF_DAY = 12, /* 14:02:11.123 */
    NAMES_MIN = 20,   /* of the root, in a header: less says nothing */
    RULE_MIN = 9,
    TEXT_MAX = 128,
};

/* Select Graphic Rendition, ECMA-48 8.3.117. */
#define BOLD "1"
#define DIM  "2"
#define RED  "31"
static const char *const service_colours[] = {"36", "32", "33", "35", "34"}; /* none of them red: that is an error's */

struct glyphs {
    const char *branch, *last, *pass, *gap, *deep, *error, *moved, *kept, *dropped, *more, *times;
};
static const struct glyphs unicode_glyphs = {
    .branch = "├─",
    .last = "└─",
    .pass = "│ ",
    .gap = "  ",
    .deep = "»",
    .error = "✗",
    .moved = "~",
    .kept = "●",
    .dropped = "○",
    .more = "…",
    .times = "×",
};
static const struct glyphs ascii_glyphs = {
    .branch = "|-",
    .last = "`-",
    .pass = "| ",
    .gap = "  ",
    .deep = ">",
    .error = "!",
    .moved = "~",
    .kept = "+",
    .dropped = "-",
    .more = "...",
    .times = "x",
};

struct drawing {
    const struct weir_tree_trace *trace;
    struct weir_tree_look look;
    const struct glyphs *glyphs;
    struct weir_buffer *out;
    struct weir_tree_shape shape;
    uint32_t names, bar; /* columns of the two parts of a span's line; bar 0: no room for it */
    uint32_t levels;     /* that are drawn; what is deeper says how deep */
    bool *passes;        /* [level]: siblings of that level come further below */
};

static void colour(struct drawing *drawing, const char *code) {
    weir_text_colour(drawing->out, drawing->look.colour, code);
}
static void plain(struct drawing *drawing) {
    colour(drawing, "0");
}
static void painted(struct drawing *drawing, const char *code, const char *text) {
    colour(drawing, code);
    weir_buffer_text(drawing->out, text);
    plain(drawing);
}
static uint32_t put(struct drawing *drawing, const char *text, uint32_t columns) {
    return weir_text_put(drawing->out, text, columns, drawing->look.unicode);
}
static uint32_t columns_of(const struct drawing *drawing, const char *text) {
    return weir_text_columns(text, drawing->look.unicode);
}

/* One service has one colour wherever it comes: FNV-1a of its name. */
static const char *colour_of(const char *service) {
    uint32_t hash = 2166136261u;
    for (const char *at = service; *at != 0; at++)
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    return service_colours[hash % (sizeof service_colours / sizeof service_colours[0])];
}

static void end_line(struct drawing *drawing) {
    struct weir_buffer *out = drawing->out;
    while (out->size > 0 && out->bytes[out->size - 1] == ' ')
        out->size--;
    weir_buffer_byte(out, '\n');
}

/* ---- the header ---- */

static void put_time(struct drawing *drawing) {
    uint64_t ns = drawing->trace->start_ns != 0 ? drawing->trace->start_ns : drawing->trace->decided_ns;
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm local;
    char text[32] = "--:--:--.---";
    if (ns != 0 && localtime_r(&seconds, &local) != NULL)
        snprintf(text, sizeof text, "%02d:%02d:%02d.%03u", local.tm_hour, local.tm_min, local.tm_sec,
                 (unsigned)(ns / 1000000 % 1000));
    painted(drawing, DIM, text);
}

static bool is_said(const char *text) {
    return text != NULL && text[0] != 0;
}

/* "service operation" of the root in at most so many columns; returns how many. */
static uint32_t put_names(struct drawing *drawing, const char *service, const char *operation, uint32_t columns,
                          bool error) {
    uint32_t service_columns = columns_of(drawing, service), operation_columns = columns_of(drawing, operation);
    uint32_t used;
    if (columns < 3) return 0;
    if (!is_said(service)) {
        service = "?";
        service_columns = 1;
    }
    if (service_columns + 1 + operation_columns > columns) {
        /* The operation has at least half of it, or what it needs. */
        uint32_t left = operation_columns < columns / 2 ? columns - operation_columns - 1 : columns - columns / 2 - 1;
        if (service_columns > left) service_columns = left;
    }
    colour(drawing, colour_of(service));
    used = put(drawing, service, service_columns);
    plain(drawing);
    if (!is_said(operation)) return used;
    weir_buffer_byte(drawing->out, ' ');
    if (error) colour(drawing, RED);
    used += 1 + put(drawing, operation, columns - used - 1);
    if (error) plain(drawing);
    return used;
}

static void put_header(struct drawing *drawing) {
    const struct weir_tree_trace *trace = drawing->trace;
    bool unicode = drawing->look.unicode;
    char id[WEIR_TEXT_ID_BYTES], number[WEIR_TEXT_BYTES], duration[WEIR_TEXT_BYTES], weight[WEIR_TEXT_BYTES];
    char facts[TEXT_MAX], weighed[TEXT_MAX], cause[WEIR_TEXT_BYTES] = "";
    weir_text_trace_id(trace->trace_hi, trace->trace_lo, id);
    weir_text_duration(trace->duration_ns, unicode, duration);
    weir_text_count(trace->span_count, number);
    weir_text_weight(trace->weight, weight);
    snprintf(facts, sizeof facts, " %s %s span%s", duration, number, trace->span_count == 1 ? "" : "s");
    snprintf(weighed, sizeof weighed, trace->kept ? " %s%s" : " dropped", drawing->glyphs->times, weight);
    if (is_said(trace->cause)) snprintf(cause, sizeof cause, " %.20s", trace->cause);
    const char *rule = is_said(trace->rule) ? trace->rule : "";
    uint32_t left = drawing->look.columns, rule_columns = columns_of(drawing, rule) + 1;
    uint32_t verdict = columns_of(drawing, weighed), cause_columns = columns_of(drawing, cause);
    uint32_t fixed = 2 + TIME_OF_DAY + 1 + (uint32_t)strlen(id) + columns_of(drawing, facts);
    painted(drawing, trace->kept ? (trace->error ? RED : "32") : DIM,
            trace->kept ? drawing->glyphs->kept : drawing->glyphs->dropped);
    weir_buffer_byte(drawing->out, ' ');
    if (fixed > left) { /* below 62 columns: the id is on a line of its own */
        painted(drawing, BOLD, id);
        end_line(drawing);
        weir_buffer_text(drawing->out, "  ");
        put_time(drawing);
        fixed -= 1 + (uint32_t)strlen(id);
    } else {
        put_time(drawing);
        weir_buffer_byte(drawing->out, ' ');
        painted(drawing, BOLD, id);
    }
    /* A wide terminal has room for what the trace is about; on a narrow one it is a line below. */
    const char *operation = is_said(trace->operation) ? trace->operation : "";
    uint32_t said = fixed + rule_columns + verdict + cause_columns + 1, names = NAMES_MIN;
    if (is_said(trace->service)) {
        uint32_t whole = columns_of(drawing, trace->service) + 1 + columns_of(drawing, operation);
        if (whole < names) names = whole;
        if (left >= said + names) {
            weir_buffer_byte(drawing->out, ' ');
            left -= 1 + put_names(drawing, trace->service, operation, left - said, false);
        }
    }
    weir_buffer_text(drawing->out, facts);
    left = left > fixed ? left - fixed : 0;
    if (left < verdict + (rule_columns < RULE_MIN ? rule_columns : RULE_MIN)) { /* no room: a line of its own */
        end_line(drawing);
        weir_buffer_byte(drawing->out, ' ');
        left = drawing->look.columns - 1;
    }
    if (left < rule_columns + verdict + cause_columns) cause[0] = 0; /* which rule it was is worth more */
    left -= verdict;
    if (rule[0] != 0) {
        weir_buffer_byte(drawing->out, ' ');
        colour(drawing, BOLD);
        put(drawing, rule, left - 1);
        plain(drawing);
    }
    colour(drawing, DIM);
    put(drawing, weighed, verdict);
    put(drawing, cause, TEXT_MAX);
    plain(drawing);
    end_line(drawing);
}

/* ---- a span's line ---- */

/* The lines of the tree in front of a node at `depth`; returns their columns. */
static uint32_t put_branches(struct drawing *drawing, uint32_t depth, bool last) {
    uint32_t drawn = depth < drawing->levels ? depth : drawing->levels, used = 0;
    if (depth == 0) return 0;
    colour(drawing, DIM);
    for (uint32_t level = 1; level < drawn; level++, used += 2)
        weir_buffer_text(drawing->out, drawing->passes[level] ? drawing->glyphs->pass : drawing->glyphs->gap);
    weir_buffer_text(drawing->out, last ? drawing->glyphs->last : drawing->glyphs->branch);
    used += 2;
    if (depth > drawn) {
        char text[16];
        used += 2 + (uint32_t)snprintf(text, sizeof text, "%u", depth);
        weir_buffer_printf(drawing->out, "%s%s ", drawing->glyphs->deep, text);
    }
    plain(drawing);
    return used;
}

/* Half columns of the bar in which the span was under way: [*from, *to). */
static void place(const struct drawing *drawing, uint32_t node, uint32_t *from, uint32_t *to) {
    const struct weir_tree_shape *shape = &drawing->shape;
    double axis = (double)shape->end_ns - (double)shape->start_ns, halves = 2.0 * drawing->bar;
    double start = (double)shape->nodes[node].start_ns - (double)shape->start_ns;
    double end = start + (double)drawing->trace->spans[node].duration_ns;
    double left = axis > 0 ? start / axis * halves : 0, right = axis > 0 ? end / axis * halves : 0;
    if (left > halves - 1) left = halves - 1;
    if (left < 0) left = 0;
    *from = (uint32_t)left;
    if (right > halves) right = halves;
    *to = (uint32_t)(right + 0.5);
    if (*to <= *from) *to = *from + 1; /* the shortest is still seen */
}

static void put_bar(struct drawing *drawing, uint32_t node) {
    uint32_t from, to;
    if (drawing->bar == 0 || !drawing->shape.nodes[node].timed) return;
    place(drawing, node, &from, &to);
    weir_buffer_byte(drawing->out, ' ');
    weir_text_spaces(drawing->out, from / 2);
    const struct weir_tree_span *span = &drawing->trace->spans[node];
    colour(drawing, span->error ? RED : colour_of(span->service));
    for (uint32_t cell = from / 2; cell * 2 < to; cell++) {
        bool left = cell * 2 >= from, right = cell * 2 + 1 < to;
        if (!drawing->look.unicode) {
            weir_buffer_byte(drawing->out, '=');
        } else {
            weir_buffer_text(drawing->out, left && right ? "━" : left ? "╸" : "╺");
        }
    }
    plain(drawing);
}

/* Was it moved by so much that the bar shows it? */
static bool is_moved(const struct drawing *drawing, uint32_t node) {
    double axis = (double)drawing->shape.end_ns - (double)drawing->shape.start_ns;
    double moved = (double)drawing->shape.nodes[node].moved_ns;
    return (moved < 0 ? -moved : moved) > axis / 100;
}

static void put_span(struct drawing *drawing, uint32_t node, uint32_t used) {
    const struct weir_tree_node *at = &drawing->shape.nodes[node];
    const struct weir_tree_span *span = &drawing->trace->spans[node];
    char duration[WEIR_TEXT_BYTES], below[TEXT_MAX] = "";
    /* What hangs below it and is not shown; where some of it is, a line of its own says so. */
    bool leaf = true;
    for (uint32_t child = at->child; child != NONE && leaf; child = drawing->shape.nodes[child].next)
        leaf = !drawing->shape.nodes[child].shown;
    if (at->circle) snprintf(below, sizeof below, " (parents in a circle)");
    if (leaf && at->folded > 0) snprintf(below, sizeof below, " +%u", at->folded);
    uint32_t note = columns_of(drawing, below), room = drawing->names - used;
    if (note >= room) note = 0;
    used += put_names(drawing, span->service, span->operation, room - note, span->error);
    if (note > 0) {
        painted(drawing, DIM, below);
        used += note;
    }
    weir_text_spaces(drawing->out, drawing->names - used + 1);
    if (span->error) {
        painted(drawing, RED, drawing->glyphs->error);
    } else {
        weir_buffer_byte(drawing->out, ' ');
    }
    weir_text_duration(span->duration_ns, drawing->look.unicode, duration);
    uint32_t size = columns_of(drawing, duration);
    weir_text_spaces(drawing->out, 1 + (size < WEIR_TEXT_DURATION_COLUMNS ? WEIR_TEXT_DURATION_COLUMNS - size : 0));
    put(drawing, duration, WEIR_TEXT_DURATION_COLUMNS);
    if (is_moved(drawing, node)) {
        painted(drawing, DIM, drawing->glyphs->moved);
    } else {
        weir_buffer_byte(drawing->out, ' ');
    }
    put_bar(drawing, node);
    end_line(drawing);
}

/* "… 312 more, 3 errors" */
static void put_more(struct drawing *drawing, uint64_t count, uint64_t errors, const char *why) {
    char number[WEIR_TEXT_BYTES], text[TEXT_MAX];
    weir_text_count(count, number);
    int size = snprintf(text, sizeof text, "%s %s more%s", drawing->glyphs->more, number, why);
    if (errors > 0) {
        weir_text_count(errors, number);
        snprintf(text + size, sizeof text - (size_t)size, ", %s error%s", number, errors == 1 ? "" : "s");
    }
    colour(drawing, errors > 0 ? RED : DIM);
    put(drawing, text, drawing->look.columns / 2);
    plain(drawing);
    end_line(drawing);
}

/* ---- the tree ---- */

/* Is there nothing more to draw of the node's siblings? A line for what is folded comes behind all of them. */
static bool is_last(const struct weir_tree_shape *shape, uint32_t node) {
    for (uint32_t next = shape->nodes[node].next; next != NONE; next = shape->nodes[next].next) {
        if (shape->nodes[next].shown) return false;
    }
    uint32_t parent = shape->nodes[node].parent;
    return parent == NONE || shape->nodes[parent].folded == 0;
}

static void put_node(struct drawing *drawing, uint32_t node) {
    const struct weir_tree_node *at = &drawing->shape.nodes[node];
    bool last = is_last(&drawing->shape, node);
    if (at->depth <= drawing->levels) drawing->passes[at->depth] = !last;
    uint32_t used = put_branches(drawing, at->depth, last);
    if (node < drawing->trace->count) {
        put_span(drawing, node, used);
        return;
    }
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "(parent %016" PRIx64 " did not come)", at->missing);
    colour(drawing, DIM);
    put(drawing, text, drawing->look.columns - used);
    plain(drawing);
    end_line(drawing);
}

/* Behind the last shown node below `node`: what of its tree is folded. */
static void put_folded(struct drawing *drawing, uint32_t node) {
    const struct weir_tree_node *at = &drawing->shape.nodes[node];
    if (at->folded == 0) return;
    uint32_t child = at->child;
    while (child != NONE && !drawing->shape.nodes[child].shown)
        child = drawing->shape.nodes[child].next;
    if (child == NONE && node < drawing->trace->count) return; /* said in its own line */
    put_branches(drawing, at->depth + 1, true);
    put_more(drawing, at->folded, at->folded_error, "");
}

static void put_tree(struct drawing *drawing) {
    const struct weir_tree_shape *shape = &drawing->shape;
    uint32_t node = shape->first;
    while (node != NONE) {
        if (shape->nodes[node].shown) put_node(drawing, node);
        if (shape->nodes[node].shown && shape->nodes[node].child != NONE) {
            node = shape->nodes[node].child;
            continue;
        }
        while (node != NONE && shape->nodes[node].next == NONE) {
            node = shape->nodes[node].parent;
            if (node != NONE) put_folded(drawing, node);
        }
        if (node != NONE) node = shape->nodes[node].next;
    }
    if (shape->folded_roots > 0) put_more(drawing, shape->folded_roots, shape->folded_roots_error, "");
}

void weir_tree_draw(const struct weir_tree_trace *trace, const struct weir_tree_look *look, struct weir_buffer *out) {
    struct drawing drawing = {.trace = trace, .look = *look, .out = out};
    drawing.glyphs = look->unicode ? &unicode_glyphs : &ascii_glyphs;
    if (drawing.look.columns < COLUMNS_MIN) drawing.look.columns = COLUMNS_MIN;
    if (drawing.look.columns > COLUMNS_MAX) drawing.look.columns = COLUMNS_MAX;
    uint32_t columns = drawing.look.columns;
    drawing.bar = columns / 4 < BAR_MAX ? columns / 4 : BAR_MAX;
    if (columns < 50) drawing.bar = BAR_MIN;
    drawing.names = columns - drawing.bar - TIME_COLUMNS;
    /* Half of the room for names may go into the lines of the tree. */
    drawing.levels = drawing.names / 4 > LEVELS_MIN ? drawing.names / 4 : LEVELS_MIN;
    put_header(&drawing);
    if (trace->count == 0) {
        if (is_said(trace->service) || is_said(trace->operation)) {
            put_names(&drawing, trace->service != NULL ? trace->service : "",
                      trace->operation != NULL ? trace->operation : "", columns, trace->error);
            end_line(&drawing);
        }
        return;
    }
    drawing.passes = calloc(drawing.levels + 2, sizeof *drawing.passes);
    if (drawing.passes == NULL || !weir_tree_shape_new(&drawing.shape, trace, look->spans_max)) {
        out->failed = true;
    } else {
        put_tree(&drawing);
        if (trace->span_count > trace->count)
            put_more(&drawing, trace->span_count - trace->count, 0, " that were not sent");
    }
    weir_tree_shape_free(&drawing.shape);
    free(drawing.passes);
}
