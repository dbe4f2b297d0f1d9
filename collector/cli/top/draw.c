#include "collector/cli/top/draw.h"
#include "collector/cli/columns.h"
#include "collector/cli/text.h"
#include "collector/cli/top/pen.h"
#include "collector/cli/top/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEAD_LINES = 8, TITLE_LINES = 1, FOOT_LINES = 1, LABEL = 10, WORD = 12 };
enum { STATE = 42 /* "  ready  up 12m15s  memory 640M  cpu 12.3%" */ };

/* ---- numbers in a line ---- */

static void put(struct weir_pen *pen, enum weir_pen_style style,
                void (*number)(struct weir_buffer *out, int columns, double value), double value) {
    struct weir_buffer text = {0};
    number(&text, 0, value);
    weir_buffer_byte(&text, 0);
    if (!text.failed) weir_pen_text(pen, style, (const char *)text.bytes);
    weir_buffer_free(&text);
}

static void put_age(struct weir_pen *pen, enum weir_pen_style style, double seconds) {
    char text[WEIR_TEXT_BYTES];
    weir_text_age(seconds, text);
    weir_pen_text(pen, style, text);
}

/* A name and its number, two columns from what stands before. What should be 0 is told in colour when it is not. */
static void fact(struct weir_pen *pen, const char *name, double value, bool should_be_0) {
    if (pen->used > LABEL) weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
    weir_pen_printf(pen, WEIR_PEN_DIM, "%s ", name);
    put(pen, should_be_0 && value > 0 ? WEIR_PEN_BAD : WEIR_PEN_PLAIN, weir_column_short, value);
}

/* 512, 1.2K, 64M: of 1024, so short that three bounds stand in a line. */
static void short_bytes(struct weir_buffer *out, int columns, double bytes) {
    static const char *const units[] = {"", "K", "M", "G", "T"};
    int unit = 0;
    (void)columns;
    for (; bytes >= 999.5 && unit < 4; unit++)
        bytes /= 1024;
    bool fraction = bytes < 9.95 && unit > 0 && bytes != floor(bytes);
    weir_buffer_printf(out, fraction ? "%.1f%s" : "%.0f%s", fmin(fmax(bytes, 0), 99999), units[unit]);
}

static void bounded(struct weir_pen *pen, const char *name, double value, double limit) {
    if (!(limit > 0)) return;
    if (pen->used > LABEL) weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
    weir_pen_printf(pen, WEIR_PEN_DIM, "%s ", name);
    put(pen, value >= 0.8 * limit ? WEIR_PEN_WARN : WEIR_PEN_PLAIN, short_bytes, value);
    weir_pen_text(pen, WEIR_PEN_DIM, " of ");
    put(pen, WEIR_PEN_DIM, short_bytes, limit);
}

/* ---- the Weir ---- */

static void cpu_share(struct weir_buffer *out, int columns, double share) {
    (void)columns;
    weir_buffer_printf(out, share < 0.0995 ? "%.1f%%" : "%.0f%%", 100 * share);
}

static void draw_first(struct weir_pen *pen, const struct weir_top_frame *frame) {
    const struct weir_top_known *known = frame->known;
    uint32_t wide = weir_text_columns(frame->clock, pen->look->unicode), columns = pen->look->columns;
    const char *source = strncmp(frame->source, "http://", 7) == 0 ? frame->source + 7 : frame->source;
    uint32_t source_wide = weir_text_columns(source, pen->look->unicode);
    weir_pen_printf(pen, WEIR_PEN_BOLD, "weir %s", known->numbers->version);
    weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
    uint32_t room = columns > pen->used + STATE + 8 ? columns - pen->used - STATE : 8;
    weir_pen_left(pen, WEIR_PEN_PLAIN, source_wide < room ? source_wide : room, source);
    if (frame->complaint != NULL) {
        weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
        weir_pen_text(pen, WEIR_PEN_BAD, "NO ANSWER");
        if (frame->answered) {
            weir_pen_text(pen, WEIR_PEN_PLAIN, ", numbers are ");
            put_age(pen, WEIR_PEN_BOLD, frame->age_seconds);
            weir_pen_text(pen, WEIR_PEN_PLAIN, " old");
        }
    } else {
        weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
        weir_pen_text(pen, known->ready ? WEIR_PEN_GOOD : WEIR_PEN_BAD, known->ready ? "ready" : "NOT READY");
        weir_pen_text(pen, WEIR_PEN_DIM, "  up ");
        put_age(pen, WEIR_PEN_PLAIN, known->numbers->uptime_seconds);
        weir_pen_text(pen, WEIR_PEN_DIM, "  memory ");
        put(pen, WEIR_PEN_PLAIN, short_bytes, known->numbers->values[WEIR_TOP_RESIDENT]);
        if (known->numbers->rated) weir_pen_text(pen, WEIR_PEN_DIM, "  cpu ");
        if (known->numbers->rated) put(pen, WEIR_PEN_PLAIN, cpu_share, known->numbers->cpu);
    }
    if (pen->used + wide + 2 <= columns) {
        weir_pen_to(pen, columns - wide);
        weir_pen_text(pen, WEIR_PEN_DIM, frame->clock);
    }
    weir_pen_end(pen);
}

static void draw_answers(struct weir_pen *pen, const struct weir_top_frame *frame) {
    static const char *const labels[] = {"MESH", "TELEMETRY", "TRACING"};
    static const enum weir_pen_style styles[] = {WEIR_PEN_BOLD, WEIR_PEN_GOOD, WEIR_PEN_WARN, WEIR_PEN_BAD};
    struct weir_top_answer answers[WEIR_TOP_QUESTIONS];
    weir_top_answer(frame->known, answers);
    for (int i = 0; i < WEIR_TOP_QUESTIONS; i++) {
        weir_pen_left(pen, WEIR_PEN_BOLD, LABEL, labels[i]);
        weir_pen_left(pen, styles[answers[i].level], WORD - 1, answers[i].word);
        weir_pen_text(pen, WEIR_PEN_PLAIN, " ");
        weir_pen_text(pen, WEIR_PEN_PLAIN, answers[i].text);
        weir_pen_end(pen);
    }
}

static void draw_spans(struct weir_pen *pen, const struct weir_top_numbers *numbers) {
    const double *rates = numbers->rates;
    weir_pen_left(pen, WEIR_PEN_DIM, LABEL, "spans/s");
    if (numbers->rated) {
        fact(pen, "in", rates[WEIR_TOP_RECEIVED], false);
        fact(pen, "refused", rates[WEIR_TOP_REFUSED], true);
        fact(pen, "dropped", fmax(rates[WEIR_TOP_DROPPED] - rates[WEIR_TOP_MERGED], 0), true);
    } else {
        weir_pen_text(pen, WEIR_PEN_DIM, "measuring");
    }
    if (numbers->imbalance > 0)
        fact(pen, "ledger off by", numbers->imbalance, true);
    else
        weir_pen_text(pen, WEIR_PEN_DIM, "  ledger ok");
    if (numbers->rated) fact(pen, "left out", rates[WEIR_TOP_SAMPLED_OUT], false);
    fact(pen, "held", numbers->values[WEIR_TOP_HELD], false);
    weir_pen_end(pen);
}

static void draw_memory(struct weir_pen *pen, const struct weir_top_numbers *numbers) {
    const double *values = numbers->values;
    weir_pen_left(pen, WEIR_PEN_DIM, LABEL, "bounds");
    bounded(pen, "intake", values[WEIR_TOP_INTAKE], values[WEIR_TOP_INTAKE_LIMIT]);
    bounded(pen, "tail", values[WEIR_TOP_TAIL], values[WEIR_TOP_TAIL_LIMIT]);
    bounded(pen, "queues", values[WEIR_TOP_QUEUE], values[WEIR_TOP_QUEUE_LIMIT]);
    weir_pen_end(pen);
}

static void draw_exporters(struct weir_pen *pen, const struct weir_top_known *known) {
    const struct weir_top_numbers *numbers = known->numbers;
    weir_pen_left(pen, WEIR_PEN_DIM, LABEL, "exporters");
    if (numbers->exporter_count == 0) weir_pen_text(pen, WEIR_PEN_DIM, "none");
    for (uint32_t i = 0; i < numbers->exporter_count; i++) {
        const struct weir_top_exporter_rates *exporter = &numbers->exporters[i];
        if (i > 0) weir_pen_text(pen, WEIR_PEN_DIM, "; ");
        weir_pen_text(pen, WEIR_PEN_PLAIN, weir_names_text(known->names, exporter->name, NULL));
        weir_pen_text(pen, WEIR_PEN_PLAIN, " ");
        if (exporter->paused) {
            weir_pen_text(pen, WEIR_PEN_BAD, "PAUSED ");
            put_age(pen, WEIR_PEN_WARN, exporter->oldest_seconds);
            weir_pen_text(pen, WEIR_PEN_PLAIN, ", ");
        } else {
            weir_pen_text(pen, WEIR_PEN_GOOD, "ok ");
        }
        if (numbers->rated) {
            put(pen, WEIR_PEN_PLAIN, weir_column_short, exporter->delivered);
            weir_pen_text(pen, WEIR_PEN_DIM, "/s");
        }
        if (exporter->spool_limit > 0) bounded(pen, "spool", exporter->spool, exporter->spool_limit);
    }
    weir_pen_end(pen);
}

/* ---- the table ---- */

static const char *const table_names[WEIR_TOP_KINDS] = {"SERVICES", "OPERATIONS", "CALLS"};

static void draw_heading(struct weir_pen *pen, const struct weir_top_frame *frame) {
    const struct weir_top_state *state = frame->state;
    weir_pen_text(pen, WEIR_PEN_BOLD, table_names[state->table]);
    if (state->table == WEIR_TOP_OPERATIONS) {
        weir_pen_text(pen, WEIR_PEN_PLAIN, " of ");
        const char *name = weir_names_text(frame->known->names, state->service, NULL);
        if (state->service == WEIR_NAME_NONE) name = "all services";
        uint32_t columns = weir_text_columns(name, pen->look->unicode);
        weir_pen_left(pen, WEIR_PEN_BOLD, columns < 30 ? columns : 30, name);
    }
    if (frame->rows->count != frame->unfiltered)
        weir_pen_printf(pen, WEIR_PEN_PLAIN, "  %u of %u", frame->rows->count, frame->unfiltered);
    else
        weir_pen_printf(pen, WEIR_PEN_DIM, "  %u", frame->unfiltered);
    weir_pen_printf(pen, WEIR_PEN_DIM, " by %s",
                    state->sort == WEIR_TOP_BY_NAME ? "name" : weir_top_column_titles[state->sort]);
    if (state->filtering || state->filter[0] != 0) {
        weir_pen_text(pen, WEIR_PEN_PLAIN, "  filter: ");
        weir_pen_text(pen, WEIR_PEN_WARN, state->filter);
        if (state->filtering) weir_pen_text(pen, WEIR_PEN_BOLD, "_");
    }
    if (state->paused) {
        weir_pen_text(pen, WEIR_PEN_PLAIN, "  ");
        weir_pen_text(pen, WEIR_PEN_WARN, "PAUSED");
    }
    if (frame->known->numbers->beyond > 0)
        weir_pen_printf(pen, WEIR_PEN_WARN, "  %llu samples found no row",
                        (unsigned long long)frame->known->numbers->beyond);
    weir_pen_end(pen);
}

static void draw_complaint(struct weir_pen *pen, const struct weir_top_frame *frame) {
    weir_pen_text(pen, WEIR_PEN_PLAIN, "tries again; ");
    weir_pen_text(pen, WEIR_PEN_BAD, frame->complaint);
    weir_pen_end(pen);
}

uint32_t weir_top_page_rows(const struct weir_top_look *look, const struct weir_top_frame *frame) {
    uint32_t around = HEAD_LINES + TITLE_LINES;
    if (look->live) around += FOOT_LINES;
    if (frame->complaint != NULL) around++;
    if (look->lines == 0) return frame->rows->count;
    return look->lines > around ? look->lines - around : 1;
}

static void draw_table(struct weir_pen *pen, const struct weir_top_frame *frame) {
    const struct weir_top_state *state = frame->state;
    struct weir_top_layout layout = weir_top_lay_out(frame, pen->look);
    uint32_t rows = weir_top_page_rows(pen->look, frame);
    draw_heading(pen, frame);
    weir_top_draw_titles(pen, &layout, frame);
    for (uint32_t i = 0; i < rows && state->scroll + i < frame->rows->count; i++) {
        if (state->scroll + i == state->chosen) weir_pen_choose(pen);
        weir_top_draw_row(pen, &layout, frame, &frame->rows->rows[state->scroll + i]);
    }
    if (frame->rows->count > 0) return;
    weir_pen_text(pen, WEIR_PEN_DIM,
                  !frame->answered                 ? "nothing is known yet"
                  : frame->unfiltered > 0          ? "the filter lets nothing through"
                  : state->table == WEIR_TOP_CALLS ? "no call between two services was seen yet"
                                                   : "no request was seen yet");
    weir_pen_end(pen);
}

/* ---- help ---- */

static const struct {
    const char *what, *means;
} help[] = {
    {"q, Ctrl-C", "end"},
    {"up, down", "choose a row; PgUp, PgDn, Home, End too"},
    {"Enter or o", "operations of the chosen service; o again: of all services"},
    {"e", "calls: which service calls which"},
    {"Esc", "back; takes a filter away first"},
    {"<  >  s", "sort by the column to the left, to the right; s is as >"},
    {"r  p", "the other way round; pause, and go on"},
    {"/", "show only names with a text in them"},
    {"REQ/S", "requests: server and consumer spans, each by what it stands for;"},
    {"", "+- is what sampling leaves unsure: 95 of 100 times it is within"},
    {"ERR P50 P95 P99", "the share that fails; 50, 95, 99 of 100 take at most so long"},
    {"SAMPLED WHY", "what proxies are told to trace: rate, pin (as the file says), or"},
    {"", "floor, budget, incident; by op: operations have their own rates"},
    {"SPANS/S CPU", "cost of traces that begin there: spans, share of a proxy's core;"},
    {"", "without a policy SPANS/S is what the service sends"},
};

static void draw_help(struct weir_pen *pen, uint32_t lines) {
    for (size_t i = 0; i < sizeof help / sizeof *help && pen->lines < lines; i++) {
        weir_pen_left(pen, WEIR_PEN_BOLD, 16, help[i].what);
        weir_pen_text(pen, WEIR_PEN_PLAIN, help[i].means);
        weir_pen_end(pen);
    }
}

static void draw_keys(struct weir_pen *pen, const struct weir_top_frame *frame) {
    static const char *const keys[][2] = {{"q", "quit"},    {"Enter", "operations"}, {"e", "calls"}, {"<>", "sort"},
                                          {"r", "reverse"}, {"/", "filter"},         {"p", "pause"}, {"?", "help"}};
    if (frame->state->filtering) {
        weir_pen_text(pen, WEIR_PEN_PLAIN, "type a part of a name; Enter keeps it, Esc takes it away");
        return;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        weir_pen_text(pen, WEIR_PEN_BOLD, keys[i][0]);
        weir_pen_printf(pen, WEIR_PEN_DIM, i + 1 < sizeof keys / sizeof *keys ? " %s  " : " %s", keys[i][1]);
    }
}

/* A terminal of fewer lines than the frame has sees the first of them. */
static void cut(struct weir_buffer *out, size_t start, uint32_t lines) {
    size_t at = start;
    while (at < out->size && lines > 0)
        lines -= out->bytes[at++] == '\n';
    out->size = at;
}

void weir_top_draw(const struct weir_top_frame *frame, const struct weir_top_look *look, struct weir_buffer *out) {
    size_t start = out->size;
    struct weir_pen pen = {.out = out, .look = look};
    uint32_t foot = look->live && look->lines > 0 ? look->lines - FOOT_LINES : UINT32_MAX;
    draw_first(&pen, frame);
    if (frame->complaint != NULL) draw_complaint(&pen, frame);
    draw_answers(&pen, frame);
    draw_spans(&pen, frame->known->numbers);
    draw_memory(&pen, frame->known->numbers);
    draw_exporters(&pen, frame->known);
    if (frame->state->help)
        draw_help(&pen, foot);
    else
        draw_table(&pen, frame);
    if (foot != UINT32_MAX) {
        while (pen.lines < foot)
            weir_pen_end(&pen);
        draw_keys(&pen, frame);
        weir_pen_end(&pen);
    }
    if (look->lines > 0) cut(out, start, look->lines);
}
