/* view_print.c - what proxies are told, as a table that fits 80 columns. */
#include "collector/cli/columns.h"
#include "collector/cli/policy/view.h"
#include "collector/cli/text.h"

#include <string.h>

enum { COLUMNS = 80, NAME_COLUMNS = 26, REFUSED_SHOWN = 10 };

struct page {
    const struct weir_policy_view *view;
    struct weir_buffer *out;
    double now;
    bool live, colour, unicode;
};

static void put_colour(const struct page *page, const char *code) {
    weir_text_colour(page->out, page->colour, code);
}

static void put(const struct page *page, const char *text) {
    weir_buffer_text(page->out, text);
}

static void put_number(const struct page *page, double value) {
    weir_column_number(page->out, 0, value);
}

/* ---- who follows ---- */

/* "2 current, 1 behind", of a service (or all: any) and side; the number of all is returned. */
static uint32_t put_states(const struct page *page, bool any, uint32_t service, enum weir_side side) {
    static const char *const states[] = {"current", "behind", "refused", "gone"};
    uint32_t all = 0;
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < page->view->follower_count; i++) {
            const struct weir_view_follower *one = &page->view->followers[i];
            count += (any || one->service == service) && one->side == side && strcmp(one->state, states[s]) == 0;
        }
        if (count == 0) continue;
        if (s == 2) put_colour(page, "31");
        weir_buffer_printf(page->out, "%s%u %s", all == 0 ? "" : ", ", count, states[s]);
        if (s == 2) put_colour(page, "0");
        all += count;
    }
    return all;
}

static void put_refused(const struct page *page) {
    uint32_t shown = 0, more = 0;
    for (uint32_t i = 0; i < page->view->follower_count; i++) {
        const struct weir_view_follower *one = &page->view->followers[i];
        if (strcmp(one->state, "refused") != 0) continue;
        if (shown++ >= REFUSED_SHOWN) {
            more++;
            continue;
        }
        if (shown == 1) put(page, "\nrefused by\n");
        put(page, "  ");
        weir_text_put(page->out, weir_names_text(page->view->names, one->id, NULL), 24, page->unicode);
        put(page, ": ");
        weir_text_put(page->out, weir_names_text(page->view->names, one->reason, NULL), 50, page->unicode);
        put(page, "\n");
    }
    if (more > 0) weir_buffer_printf(page->out, "  and %u more; --json lists them\n", more);
}

/* ---- rows ---- */

static void put_since(const struct page *page, const struct weir_view_row *row) {
    char text[WEIR_TEXT_BYTES];
    double age = page->now - row->since;
    if (row->since > 0) weir_text_duration(age > 0 ? (uint64_t)age * 1000000000u : 0, page->unicode, text);
    weir_column_text(page->out, 8, row->since > 0 ? text : "-");
}

static void put_measured(const struct page *page, int columns, bool measured, double value) {
    if (measured)
        weir_column_number(page->out, columns, value);
    else
        weir_column_text(page->out, columns, "-");
}

static void put_row(const struct page *page, const struct weir_view_row *row) {
    bool own = row->operation == WEIR_NAME_NONE;
    const char *name = weir_names_text(page->view->names, own ? row->service : row->name, NULL);
    if (own) put_colour(page, "1");
    weir_column_name(page->out, own && row->service == WEIR_NAME_NONE ? "(all others)" : name, own ? 0 : 2,
                     NAME_COLUMNS, page->unicode);
    if (row->rate >= 0)
        weir_column_share(page->out, 9, row->rate);
    else
        weir_column_text(page->out, 9, "-");
    put(page, " ");
    weir_column_name(page->out, row->incident ? "incident" : row->told ? row->why : "-", 0, 8, false);
    put_since(page, row);
    put_measured(page, 10, row->measured, row->offered);
    put_measured(page, 9, row->measured, row->spans_offered);
    put_measured(page, 9, row->measured, row->spans_told);
    if (own) put_colour(page, "0");
    put(page, "\n");
}

static void put_bounds(const struct page *page, const struct weir_proxies_budget *budget) {
    const char *before = "";
    if (budget->spans_per_second > 0) {
        put_number(page, budget->spans_per_second);
        put(page, " spans/s");
        before = ", ";
    }
    if (budget->bytes_per_second > 0) {
        put(page, before);
        weir_column_bytes(page->out, 0, budget->bytes_per_second);
        put(page, "/s");
        before = ", ";
    }
    if (budget->proxy_cpu > 0) {
        put(page, before);
        weir_column_share(page->out, 0, budget->proxy_cpu);
        put(page, " of a core a proxy");
    }
}

static bool has_bounds(const struct weir_proxies_budget *budget) {
    return budget->spans_per_second > 0 || budget->bytes_per_second > 0 || budget->proxy_cpu > 0;
}

/* Lines below a service's own row: parts with a semicolon between, folded at the 80th column. */
struct notes {
    const struct page *page;
    size_t line, part; /* where they begin in `out` */
    bool any;
};

static void begin_note(struct notes *notes) {
    struct weir_buffer *out = notes->page->out;
    if (!notes->any) notes->line = out->size;
    weir_buffer_text(out, notes->any ? "; " : "  ");
    notes->part = out->size;
    notes->any = true;
}

static void end_note(struct notes *notes) {
    struct weir_buffer *out = notes->page->out;
    size_t columns = 0, size = out->size - notes->part;
    for (size_t i = notes->line; i < out->size; i++)
        columns += (out->bytes[i] & 0xc0) != 0x80;
    if (columns < COLUMNS || notes->part == notes->line + 2 || !weir_buffer_room(out, 2)) return;
    memmove(out->bytes + notes->part + 2, out->bytes + notes->part, size);
    memcpy(out->bytes + notes->part - 1, "\n  ", 3);
    notes->line = notes->part;
    notes->part += 2;
    out->size += 2;
}

static void put_estimate(const struct page *page, const struct weir_view_row *row) {
    weir_buffer_printf(page->out, "estimate %.3f", row->estimate);
    weir_buffer_printf(page->out, " %s%.3f of its counter", page->unicode ? "\xc2\xb1" : "+-",
                       row->estimate * row->estimate_error);
}

static void put_notes(const struct page *page, const struct weir_view_row *row, enum weir_side side) {
    struct notes notes = {.page = page};
    bool followed = false;
    for (uint32_t i = 0; i < page->view->follower_count; i++)
        followed =
            followed || (page->view->followers[i].service == row->service && page->view->followers[i].side == side);
    if (followed) {
        begin_note(&notes);
        put(page, "followers: ");
        put_states(page, false, row->service, side);
        end_note(&notes);
    }
    if (row->proxy_cpu > 0) {
        begin_note(&notes);
        weir_column_share(page->out, 0, row->proxy_cpu);
        put(page, " of a core a proxy");
        end_note(&notes);
    }
    if (row->estimate >= 0) {
        begin_note(&notes);
        put_estimate(page, row);
        end_note(&notes);
    }
    if (has_bounds(&row->budget)) {
        begin_note(&notes);
        put(page, "budget ");
        put_bounds(page, &row->budget);
        end_note(&notes);
    }
    if (row->limit >= 0) {
        begin_note(&notes);
        weir_buffer_printf(page->out, "at most %.6g traces/s a client", row->limit);
        end_note(&notes);
    }
    if (row->min_flush_spans > 0) {
        begin_note(&notes);
        weir_buffer_printf(page->out, "%.0f spans a flush", row->min_flush_spans);
        end_note(&notes);
    }
    if (row->flush_interval > 0) {
        begin_note(&notes);
        weir_buffer_printf(page->out, "flushed after %.3g s", row->flush_interval);
        end_note(&notes);
    }
    if (notes.any) put(page, "\n");
}

/* ---- a side ---- */

static void put_sums(const struct page *page, const struct weir_view_side *side) {
    double spans = 0, spans_told = 0, bytes = 0, bytes_told = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        const struct weir_view_row *row = &side->rows[i];
        if (row->operation != WEIR_NAME_NONE) continue;
        spans += row->spans_offered;
        spans_told += row->spans_told;
        bytes += row->bytes_offered;
        bytes_told += row->bytes_told;
    }
    if (page->live) {
        put(page, "spans      ");
        put_number(page, spans_told);
        put(page, "/s of ");
        put_number(page, spans);
        put(page, "/s at 100 %");
        if (spans > 0) {
            put(page, ": ");
            weir_column_share(page->out, 0, spans_told / spans);
        }
        put(page, "\nbytes      ");
        weir_column_bytes(page->out, 0, bytes_told);
        put(page, "/s of ");
        weir_column_bytes(page->out, 0, bytes);
        put(page, "/s\n");
    }
    if (!has_bounds(&side->budget)) return;
    put(page, "budget     ");
    put_bounds(page, &side->budget);
    put(page, page->live ? "\n" : "; rates below are the most that is told\n");
}

static void put_side(const struct page *page, uint32_t s) {
    const struct weir_view_side *side = &page->view->sides[s];
    enum weir_side which = strcmp(side->name, "canary") == 0 ? WEIR_SIDE_CANARY : WEIR_SIDE_POLICY;
    weir_buffer_printf(page->out, "\n%-10s ", side->name);
    if (page->view->side_count > 1) {
        put(page, "for ");
        weir_column_share(page->out, 0, side->share);
        put(page, " of the proxies, ");
    }
    weir_buffer_printf(page->out, "version %s\n", side->version[0] != 0 ? side->version : "-");
    if (page->live) {
        put(page, "followers  ");
        if (put_states(page, true, 0, which) == 0) put(page, "none");
        put(page, "\n");
    }
    put_sums(page, side);
    if (side->count == 0) return;
    weir_buffer_printf(page->out, "\n%*s%10s%9s%9s\n", NAME_COLUMNS + 26, "", "traces/s", "spans/s", "spans/s");
    weir_column_name(page->out, "service, operation", 0, NAME_COLUMNS, false);
    weir_buffer_printf(page->out, "%9s %-8s%8s%10s%9s%9s\n", "rate", "why", "since", "offered", "at 100 %", "told");
    for (uint32_t i = 0; i < side->count; i++) {
        put_row(page, &side->rows[i]);
        bool last = i + 1 == side->count || side->rows[i + 1].service != side->rows[i].service;
        if (!last) continue;
        uint32_t own = i;
        while (own > 0 && side->rows[own].operation != WEIR_NAME_NONE &&
               side->rows[own - 1].service == side->rows[i].service)
            own--;
        if (side->rows[own].operation == WEIR_NAME_NONE) put_notes(page, &side->rows[own], which);
    }
}

void weir_policy_view_print(const struct weir_policy_view *view, const char *source, double now, bool live, bool colour,
                            bool unicode, struct weir_buffer *out) {
    const struct page page = {view, out, now, live, colour, unicode};
    weir_text_put(out, source, 78, unicode);
    if (view->policy[0] != 0 && strcmp(view->policy, source) != 0) {
        bool fits = weir_text_columns(source, unicode) + weir_text_columns(view->policy, unicode) + 9 <= COLUMNS;
        put(&page, fits ? ", policy " : "\npolicy ");
        weir_text_put(out, view->policy, COLUMNS - 8, unicode);
    }
    put(&page, "\n");
    if (view->arriving >= 0 && view->side_count > 0) {
        put(&page, "arriving   ");
        put_number(&page, view->arriving);
        put(&page, " spans/s, of traces whose beginning came too\n");
    }
    if (view->side_count == 0) put(&page, "no policy: proxies are told nothing\n");
    for (uint32_t s = 0; s < view->side_count; s++)
        put_side(&page, s);
    put_refused(&page);
}
