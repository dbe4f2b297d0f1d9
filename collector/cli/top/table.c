#include "collector/cli/top/table.h"
#include "collector/cli/columns.h"
#include "collector/cli/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MIN = 18, NAME_MAX = 60, NAME_BYTES = 2 * WEIR_NAME_BYTES_MAX + 8, BAND = 5, WHY = 9 };

const char *const weir_top_column_titles[WEIR_TOP_COLUMNS] = {
    [WEIR_TOP_BY_NAME] = "NAME",       [WEIR_TOP_BY_RATE] = "REQ/S",   [WEIR_TOP_BY_ERRORS] = "ERR",
    [WEIR_TOP_BY_P50] = "P50",         [WEIR_TOP_BY_P95] = "P95",      [WEIR_TOP_BY_P99] = "P99",
    [WEIR_TOP_BY_SAMPLED] = "SAMPLED", [WEIR_TOP_BY_COST] = "SPANS/S", [WEIR_TOP_BY_CPU] = "CPU"};
static const uint32_t widths[WEIR_TOP_COLUMNS] = {
    [WEIR_TOP_BY_RATE] = 8, [WEIR_TOP_BY_ERRORS] = 7,  [WEIR_TOP_BY_P50] = 7,  [WEIR_TOP_BY_P95] = 7,
    [WEIR_TOP_BY_P99] = 7,  [WEIR_TOP_BY_SAMPLED] = 8, [WEIR_TOP_BY_COST] = 8, [WEIR_TOP_BY_CPU] = 7};
/* Who goes first when there is no room. */
static const enum weir_top_column spare[] = {WEIR_TOP_BY_P50, WEIR_TOP_BY_CPU, WEIR_TOP_BY_COST, WEIR_TOP_BY_P95,
                                             WEIR_TOP_BY_SAMPLED};

static void name_of(const struct weir_top_frame *frame, const struct weir_top_row *row, bool unicode,
                    char out[NAME_BYTES]) {
    const struct weir_names *names = frame->known->names;
    const char *first = weir_names_text(names, row->first, NULL), *second = weir_names_text(names, row->second, NULL);
    if (row->first == WEIR_NAME_NONE) first = "(all others)"; /* what found no room in the series table has no labels */
    switch (frame->state->table) {
    case WEIR_TOP_CALLS: snprintf(out, NAME_BYTES, "%s %s %s", first, unicode ? "\u2192" : "->", second); break;
    case WEIR_TOP_OPERATIONS:
        snprintf(out, NAME_BYTES, "%s%s%s", frame->state->service != WEIR_NAME_NONE ? "" : first,
                 frame->state->service != WEIR_NAME_NONE ? "" : " ", second);
        break;
    default: snprintf(out, NAME_BYTES, "%s", first); break;
    }
}

/* ---- order ---- */

static double key_of(const struct weir_top_row *row, enum weir_top_column column) {
    switch (column) {
    case WEIR_TOP_BY_ERRORS: return row->errors;
    case WEIR_TOP_BY_P50: return row->p50;
    case WEIR_TOP_BY_P95: return row->p95;
    case WEIR_TOP_BY_P99: return row->p99;
    case WEIR_TOP_BY_SAMPLED: return row->sampled;
    case WEIR_TOP_BY_COST: return row->cost;
    case WEIR_TOP_BY_CPU: return row->proxy_cpu;
    default: return row->rate;
    }
}

struct place {
    struct weir_top_row row;
    const struct weir_top_state *state;
    const struct weir_names *names;
};

static int by_name(const struct place *a, const struct place *b) {
    int first = strcmp(weir_names_text(a->names, a->row.first, NULL), weir_names_text(b->names, b->row.first, NULL));
    if (first != 0) return first;
    return strcmp(weir_names_text(a->names, a->row.second, NULL), weir_names_text(b->names, b->row.second, NULL));
}

/* Numbers with the largest first, names from A; what is not known is last either way. */
static int in_order(const void *x, const void *y) {
    const struct place *a = x, *b = y;
    int sign = a->state->reverse ? -1 : 1;
    if (a->state->sort == WEIR_TOP_BY_NAME) return sign * by_name(a, b);
    double left = key_of(&a->row, a->state->sort), right = key_of(&b->row, b->state->sort);
    if (isnan(left) || isnan(right)) return isnan(left) != isnan(right) ? (isnan(left) ? 1 : -1) : by_name(a, b);
    if (left != right) return sign * (left < right ? 1 : -1);
    return by_name(a, b);
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool has(const char *text, const char *part) {
    for (; *text != 0; text++) {
        size_t i = 0;
        while (part[i] != 0 && lower(text[i]) == lower(part[i]))
            i++;
        if (part[i] == 0) return true;
    }
    return *part == 0;
}

void weir_top_arrange(const struct weir_top_state *state, const struct weir_names *names, struct weir_top_rows *rows) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct weir_top_row *row = &rows->rows[i];
        if (has(weir_names_text(names, row->first, NULL), state->filter) ||
            has(weir_names_text(names, row->second, NULL), state->filter))
            rows->rows[kept++] = *row;
    }
    rows->count = kept;
    struct place *places = malloc((kept + 1u) * sizeof *places);
    if (places == NULL) return; /* without order, then */
    for (uint32_t i = 0; i < kept; i++)
        places[i] = (struct place){rows->rows[i], state, names};
    qsort(places, kept, sizeof *places, in_order);
    for (uint32_t i = 0; i < kept; i++)
        rows->rows[i] = places[i].row;
    free(places);
}

/* ---- columns ---- */

/* A percent is less than anybody sees. */
static bool matters(const struct weir_top_row *row) {
    return row->band >= 0.01 * row->rate && row->rate > 0;
}

static uint32_t width_of(const struct weir_top_layout *layout) {
    uint32_t all = layout->band ? BAND : 0;
    for (int i = 1; i < WEIR_TOP_COLUMNS; i++)
        all += layout->columns[i] ? widths[i] : 0;
    return all + (layout->columns[WEIR_TOP_BY_SAMPLED] ? WHY : 0);
}

struct weir_top_layout weir_top_lay_out(const struct weir_top_frame *frame, const struct weir_top_look *look) {
    struct weir_top_layout layout = {.columns = {true, true, true, true, true, true, false, false, false}};
    uint32_t longest = NAME_MIN;
    char name[NAME_BYTES];
    layout.columns[WEIR_TOP_BY_COST] = frame->state->table != WEIR_TOP_CALLS;
    for (uint32_t i = 0; i < frame->rows->count; i++) {
        const struct weir_top_row *row = &frame->rows->rows[i];
        name_of(frame, row, look->unicode, name);
        uint32_t columns = weir_text_columns(name, look->unicode);
        if (columns > longest) longest = columns;
        layout.band = layout.band || matters(row);
        if (!isnan(row->sampled)) layout.columns[WEIR_TOP_BY_SAMPLED] = true;
        if (row->proxy_cpu > 0) layout.columns[WEIR_TOP_BY_CPU] = true;
    }
    for (size_t i = 0; i < sizeof spare / sizeof *spare && width_of(&layout) + NAME_MIN > look->columns; i++) {
        if (spare[i] != frame->state->sort) layout.columns[spare[i]] = false;
    }
    uint32_t rest = width_of(&layout);
    layout.name = look->columns > rest + NAME_MIN ? look->columns - rest : NAME_MIN;
    if (layout.name > longest) layout.name = longest;
    if (layout.name > NAME_MAX) layout.name = NAME_MAX;
    return layout;
}

void weir_top_draw_titles(struct weir_pen *pen, const struct weir_top_layout *layout,
                          const struct weir_top_frame *frame) {
    static const char *const names[] = {"SERVICE", "OPERATION", "CALLS, FROM AND TO"};
    const struct weir_top_state *state = frame->state;
    for (int i = 0; i < WEIR_TOP_COLUMNS; i++) {
        if (!layout->columns[i]) continue;
        char title[32];
        const char *arrow = pen->look->unicode ? (state->reverse ? "\u25b2" : "\u25bc") : state->reverse ? "^" : "v";
        enum weir_pen_style style = i == (int)state->sort ? WEIR_PEN_BOLD : WEIR_PEN_DIM;
        snprintf(title, sizeof title, "%s%s", i == WEIR_TOP_BY_NAME ? names[state->table] : weir_top_column_titles[i],
                 i == (int)state->sort ? arrow : "");
        if (i == WEIR_TOP_BY_NAME)
            weir_pen_left(pen, style, layout->name, title);
        else
            weir_pen_right(pen, style, widths[i], title);
        if (i == WEIR_TOP_BY_RATE && layout->band) weir_pen_left(pen, WEIR_PEN_DIM, BAND, "");
        if (i == WEIR_TOP_BY_SAMPLED) weir_pen_left(pen, WEIR_PEN_DIM, WHY, " WHY");
    }
    weir_pen_end(pen);
}

/* ---- cells ---- */

static void cell(struct weir_pen *pen, enum weir_pen_style style, uint32_t columns,
                 void (*put)(struct weir_buffer *out, int columns, double value), double value) {
    struct weir_buffer text = {0};
    if (!isnan(value)) put(&text, 0, value);
    weir_buffer_byte(&text, 0);
    weir_pen_to(pen, pen->used + 1);
    weir_pen_right(pen, style, columns - 1, isnan(value) || text.failed ? "-" : (const char *)text.bytes);
    weir_buffer_free(&text);
}

static void percent(struct weir_buffer *out, int columns, double share) {
    double value = 100 * share;
    (void)columns;
    weir_buffer_printf(out, value >= 99.95 || value <= 0 ? "%.0f%%" : value < 0.1 ? "%.1g%%" : "%.1f%%", value);
}
/* The figure that somebody chose: 12.5%, not 13%. */
static void rate_told(struct weir_buffer *out, int columns, double share) {
    (void)columns;
    weir_buffer_printf(out, "%.3g%%", 100 * share);
}

static void time_cell(struct weir_pen *pen, uint32_t columns, double seconds) {
    char text[WEIR_TEXT_BYTES] = "-";
    if (seconds >= 0 && seconds < 1e9) weir_text_duration((uint64_t)(seconds * 1e9), pen->look->unicode, text);
    weir_pen_right(pen, WEIR_PEN_PLAIN, columns, text);
}

static void band_cell(struct weir_pen *pen, const struct weir_top_row *row) {
    char text[16] = "";
    double part = 100 * row->band / row->rate;
    const char *sign = pen->look->unicode ? "\u00b1" : "+-";
    if (matters(row)) snprintf(text, sizeof text, part < 100 ? "%s%.0f%%" : "%s>99%%", sign, fmin(part, 99.4));
    weir_pen_left(pen, WEIR_PEN_DIM, BAND, text);
}

static enum weir_pen_style error_style(const struct weir_top_row *row) {
    enum weir_top_level level = weir_top_level_of(row);
    return level == WEIR_TOP_BAD ? WEIR_PEN_BAD : level == WEIR_TOP_WARN ? WEIR_PEN_WARN : WEIR_PEN_PLAIN;
}

void weir_top_draw_row(struct weir_pen *pen, const struct weir_top_layout *layout, const struct weir_top_frame *frame,
                       const struct weir_top_row *row) {
    const bool *shown = layout->columns;
    char name[NAME_BYTES];
    name_of(frame, row, pen->look->unicode, name);
    weir_pen_left(pen, row->rate > 0 ? WEIR_PEN_PLAIN : WEIR_PEN_DIM, layout->name, name);
    cell(pen, WEIR_PEN_PLAIN, widths[WEIR_TOP_BY_RATE], weir_column_number, row->rate);
    if (layout->band) band_cell(pen, row);
    cell(pen, error_style(row), widths[WEIR_TOP_BY_ERRORS], percent, row->errors);
    if (shown[WEIR_TOP_BY_P50]) time_cell(pen, widths[WEIR_TOP_BY_P50], row->p50);
    if (shown[WEIR_TOP_BY_P95]) time_cell(pen, widths[WEIR_TOP_BY_P95], row->p95);
    if (shown[WEIR_TOP_BY_P99]) time_cell(pen, widths[WEIR_TOP_BY_P99], row->p99);
    if (shown[WEIR_TOP_BY_SAMPLED]) {
        cell(pen, WEIR_PEN_PLAIN, widths[WEIR_TOP_BY_SAMPLED], rate_told, row->sampled);
        weir_pen_to(pen, pen->used + 1);
        weir_pen_left(pen, row->incident ? WEIR_PEN_WARN : WEIR_PEN_DIM, WHY - 1,
                      row->incident ? "incident" : row->why);
    }
    if (shown[WEIR_TOP_BY_COST]) cell(pen, WEIR_PEN_PLAIN, widths[WEIR_TOP_BY_COST], weir_column_number, row->cost);
    if (shown[WEIR_TOP_BY_CPU])
        cell(pen, WEIR_PEN_PLAIN, widths[WEIR_TOP_BY_CPU], percent, row->proxy_cpu > 0 ? row->proxy_cpu : (double)NAN);
    weir_pen_end(pen);
}
