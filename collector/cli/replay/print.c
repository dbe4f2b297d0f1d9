/* print.c - what a replay says: a table that fits 80 columns, or one JSON object. */
#include "collector/cli/columns.h"
#include "collector/cli/replay/replay.h"
#include "collector/cli/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_COLUMNS = 22, LABEL_COLUMNS = 10 };

static void put_count(struct weir_buffer *out, int columns, double count) {
    char text[WEIR_TEXT_BYTES];
    weir_text_count(count < 0 ? 0 : (uint64_t)(count + 0.5), text);
    weir_buffer_printf(out, "%*s", columns, text);
}

static void put_share(struct weir_buffer *out, int columns, double part, double whole) {
    char text[32];
    double share = whole > 0 ? 100 * part / whole : 0;
    snprintf(text, sizeof text, share > 0 && share < 0.995 ? "%.2f %%" : "%.1f %%", share);
    weir_buffer_printf(out, "%*s", columns, whole > 0 ? text : "-");
}

static void put_label(struct weir_buffer *out, const char *label) {
    weir_buffer_printf(out, "%-*s", LABEL_COLUMNS, label);
}

/* ---- parts of the page ---- */

static void put_table(struct weir_buffer *out, const struct weir_replay_policy *policy, bool colour, bool unicode) {
    const struct weir_replay_row total = weir_replay_total(policy);
    weir_text_colour(out, colour, "1");
    weir_column_name(out, "rule", 0, NAME_COLUMNS, unicode);
    weir_buffer_printf(out, "%11s%11s%8s%12s%12s\n", "traces", "kept", "share", "kept spans", "kept bytes");
    weir_text_colour(out, colour, "0");
    for (uint32_t r = 0; r <= WEIR_REPLAY_ROWS; r++) {
        const struct weir_replay_row *row = r == WEIR_REPLAY_ROWS ? &total : &policy->rows[r];
        if (r < WEIR_REPLAY_ROWS && !weir_replay_row_shown(policy, r)) continue;
        if (r == WEIR_REPLAY_ROWS) weir_text_colour(out, colour, "1");
        weir_column_name(out, r == WEIR_REPLAY_ROWS ? "all" : weir_replay_row_name(policy, r), 0, NAME_COLUMNS,
                         unicode);
        put_count(out, 11, (double)row->traces);
        put_count(out, 11, (double)row->kept_traces);
        put_share(out, 8, (double)row->kept_traces, (double)row->traces);
        put_count(out, 12, (double)row->kept_spans);
        weir_column_bytes(out, 12, (double)row->kept_bytes);
        weir_buffer_byte(out, '\n');
        if (r == WEIR_REPLAY_ROWS) weir_text_colour(out, colour, "0");
        if (row->dry_traces == 0) continue;
        weir_buffer_printf(out, "  dry run: would be first for %llu traces, and keep %llu by its rate\n",
                           (unsigned long long)row->dry_traces, (unsigned long long)row->dry_kept);
    }
}

static void put_sums(struct weir_buffer *out, const struct weir_replay *replay, const struct weir_replay_policy *policy,
                     bool colour, bool unicode) {
    const struct weir_replay_row total = weir_replay_total(policy);
    put_label(out, "saved");
    weir_column_bytes(out, 0, (double)(total.bytes - total.kept_bytes));
    weir_buffer_text(out, " of ");
    weir_column_bytes(out, 0, (double)total.bytes);
    weir_buffer_text(out, " of spans (");
    put_share(out, 0, (double)(total.bytes - total.kept_bytes), (double)total.bytes);
    weir_buffer_text(out, ");\n");
    put_label(out, "");
    weir_buffer_text(out, "about ");
    weir_column_bytes(out, 0,
                      total.bytes > 0 ? (double)replay->counts.file_bytes * (double)(total.bytes - total.kept_bytes) /
                                            (double)total.bytes
                                      : 0);
    weir_buffer_text(out, " of ");
    weir_column_bytes(out, 0, (double)replay->counts.file_bytes);
    weir_buffer_text(out, " of files\n");
    double silent = weir_replay_silent(policy);
    put_label(out, "estimate");
    put_count(out, 0, total.estimate);
    weir_buffer_printf(out, " traces, %s", unicode ? "\xc2\xb1" : "+-");
    put_count(out, 0, 2 * sqrt(total.variance));
    weir_buffer_text(out, " at 2 standard errors; ");
    put_count(out, 0, total.stands_for - silent);
    weir_buffer_text(out, " is true\n");
    if (silent > 0) {
        put_label(out, "");
        put_count(out, 0, silent);
        weir_buffer_text(out, " more meet a rate of 0: nothing that is kept speaks for them\n");
    }
    put_label(out, "errors");
    if (policy->error_lost > 0) weir_text_colour(out, colour, "31");
    put_count(out, 0, (double)policy->error_lost);
    weir_buffer_text(out, " of ");
    put_count(out, 0, (double)policy->error_traces);
    weir_buffer_text(out, " traces with an error would be lost");
    if (policy->error_lost > 0) weir_text_colour(out, colour, "0");
    weir_buffer_byte(out, '\n');
}

static void put_lost(struct weir_buffer *out, const struct weir_replay *replay, const struct weir_names *names,
                     bool unicode) {
    for (uint64_t i = 0; i < replay->lost_kept; i++) {
        const struct weir_replay_lost *lost = &replay->lost[i];
        char id[WEIR_TEXT_ID_BYTES];
        weir_text_trace_id(lost->trace_hi, lost->trace_lo, id);
        weir_buffer_printf(out, "  %s ", id);
        weir_column_name(out, weir_names_text(names, lost->service, NULL), 0, 13, unicode);
        weir_buffer_byte(out, ' ');
        weir_column_name(out, weir_names_text(names, lost->operation, NULL), 0, 19, unicode);
        weir_buffer_byte(out, ' ');
        weir_text_put(out, weir_replay_row_name(&replay->policies[0], lost->row), 10, unicode);
        weir_buffer_byte(out, '\n');
    }
    if (replay->lost_count > replay->lost_kept)
        weir_buffer_printf(out, "  and %llu more; --all lists them\n",
                           (unsigned long long)(replay->lost_count - replay->lost_kept));
}

static void put_input(struct weir_buffer *out, const struct weir_replay *replay, bool unicode) {
    const struct weir_stored_counts *counts = &replay->counts;
    const struct weir_replay_row total = weir_replay_total(&replay->policies[0]);
    char lasted[WEIR_TEXT_BYTES];
    put_count(out, 0, (double)counts->traces);
    weir_buffer_text(out, " traces, ");
    put_count(out, 0, (double)counts->spans);
    weir_buffer_text(out, " spans in ");
    put_count(out, 0, (double)counts->files);
    weir_buffer_text(out, counts->files == 1 ? " file" : " files");
    if (counts->last_ns > counts->first_ns) {
        weir_text_duration(counts->last_ns - counts->first_ns, unicode, lasted);
        weir_buffer_printf(out, ", %s from ", lasted);
        weir_text_time(out, counts->first_ns);
        weir_buffer_byte(out, '\n');
    } else {
        weir_buffer_byte(out, '\n');
    }
    if (total.stands_for > (double)counts->traces * 1.000001) {
        weir_buffer_text(out, "They were thinned before and stand for ");
        put_count(out, 0, total.stands_for);
        weir_buffer_text(out, " traces, by their weights; what an\n"
                              "earlier policy left out cannot be shown, only weighed.\n");
    }
    if (counts->late > 0) {
        put_count(out, 0, (double)counts->late);
        weir_buffer_text(out, " spans came after their trace was decided, and follow it.\n");
    }
    if (counts->pressed > 0) {
        put_count(out, 0, (double)counts->pressed);
        weir_buffer_text(out, " traces were decided early: more waited than are held here.\n");
    }
}

void weir_replay_print(const struct weir_replay *replay, const struct weir_names *names, bool colour, bool unicode,
                       struct weir_buffer *out) {
    put_input(out, replay, unicode);
    for (int p = 0; p < replay->policy_count; p++) {
        const struct weir_replay_policy *policy = &replay->policies[p];
        weir_buffer_byte(out, '\n');
        weir_text_put(out, policy->path, 78, unicode);
        weir_buffer_text(out, ":\n");
        put_table(out, policy, colour, unicode);
        put_sums(out, replay, policy, colour, unicode);
        if (p == 0 && replay->policy_count == 1) put_lost(out, replay, names, unicode);
    }
    if (replay->policy_count < 2) return;
    weir_buffer_text(out, "\nside by side:\n");
    const struct {
        const char *what;
        uint64_t count;
    } rows[] = {{"kept by both", replay->both},
                {"only by the new", replay->only_first},
                {"only by the old", replay->only_second},
                {"by neither", replay->neither}};
    for (size_t i = 0; i < 4; i++) {
        weir_column_name(out, rows[i].what, 0, NAME_COLUMNS, unicode);
        put_count(out, 11, (double)rows[i].count);
        weir_buffer_text(out, " traces\n");
    }
    weir_column_name(out, "errors lost by the new", 0, NAME_COLUMNS, unicode);
    put_count(out, 11, (double)replay->error_only_second);
    weir_buffer_text(out, " traces that the old keeps\n");
    put_lost(out, replay, names, unicode);
}

/* ---- JSON ---- */

/* Names are UTF-8; what JSON needs escaped is (RFC 8259, 7). */
static void put_text(struct weir_buffer *out, const char *text) {
    weir_buffer_byte(out, '"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\') weir_buffer_byte(out, '\\');
        if ((uint8_t)*text < 0x20) {
            weir_buffer_printf(out, "\\u%04x", (unsigned)(uint8_t)*text);
        } else {
            weir_buffer_byte(out, (uint8_t)*text);
        }
    }
    weir_buffer_byte(out, '"');
}

static void put_json_row(struct weir_buffer *out, const struct weir_replay_row *row) {
    weir_buffer_printf(out,
                       "\"traces\":%llu,\"kept_traces\":%llu,\"spans\":%llu,\"kept_spans\":%llu,\"bytes\":%llu,"
                       "\"kept_bytes\":%llu,\"dry_traces\":%llu,\"dry_kept\":%llu,\"stands_for\":",
                       (unsigned long long)row->traces, (unsigned long long)row->kept_traces,
                       (unsigned long long)row->spans, (unsigned long long)row->kept_spans,
                       (unsigned long long)row->bytes, (unsigned long long)row->kept_bytes,
                       (unsigned long long)row->dry_traces, (unsigned long long)row->dry_kept);
    weir_buffer_double(out, row->stands_for);
    weir_buffer_text(out, ",\"estimate\":");
    weir_buffer_double(out, row->estimate);
    weir_buffer_text(out, ",\"variance\":");
    weir_buffer_double(out, row->variance);
}

void weir_replay_print_json(const struct weir_replay *replay, const struct weir_names *names, struct weir_buffer *out) {
    const struct weir_stored_counts *counts = &replay->counts;
    weir_buffer_printf(out,
                       "{\"files\":%llu,\"file_bytes\":%llu,\"traces\":%llu,\"spans\":%llu,\"bytes\":%llu,"
                       "\"late_spans\":%llu,\"decided_early\":%llu,\"policies\":[",
                       (unsigned long long)counts->files, (unsigned long long)counts->file_bytes,
                       (unsigned long long)counts->traces, (unsigned long long)counts->spans,
                       (unsigned long long)counts->bytes, (unsigned long long)counts->late,
                       (unsigned long long)counts->pressed);
    for (int p = 0; p < replay->policy_count; p++) {
        const struct weir_replay_policy *policy = &replay->policies[p];
        const struct weir_replay_row total = weir_replay_total(policy);
        bool first = true;
        weir_buffer_text(out, p == 0 ? "{\"policy\":" : ",{\"policy\":");
        put_text(out, policy->path);
        weir_buffer_text(out, ",\"rules\":[");
        for (uint32_t r = 0; r < WEIR_REPLAY_ROWS; r++) {
            if (!weir_replay_row_shown(policy, r)) continue;
            weir_buffer_text(out, first ? "{\"rule\":" : ",{\"rule\":");
            first = false;
            put_text(out, weir_replay_row_name(policy, r));
            weir_buffer_byte(out, ',');
            put_json_row(out, &policy->rows[r]);
            weir_buffer_byte(out, '}');
        }
        weir_buffer_text(out, "],");
        put_json_row(out, &total);
        weir_buffer_text(out, ",\"rate_0\":");
        weir_buffer_double(out, weir_replay_silent(policy));
        weir_buffer_printf(out, ",\"error_traces\":%llu,\"error_traces_lost\":%llu}",
                           (unsigned long long)policy->error_traces, (unsigned long long)policy->error_lost);
    }
    weir_buffer_text(out, "],");
    if (replay->policy_count > 1)
        weir_buffer_printf(out, "\"kept_by\":{\"both\":%llu,\"new\":%llu,\"old\":%llu,\"neither\":%llu},",
                           (unsigned long long)replay->both, (unsigned long long)replay->only_first,
                           (unsigned long long)replay->only_second, (unsigned long long)replay->neither);
    weir_buffer_printf(out, "\"lost_count\":%llu,\"lost\":[", (unsigned long long)replay->lost_count);
    for (uint64_t i = 0; i < replay->lost_kept; i++) {
        const struct weir_replay_lost *lost = &replay->lost[i];
        char id[WEIR_TEXT_ID_BYTES];
        weir_text_trace_id(lost->trace_hi, lost->trace_lo, id);
        weir_buffer_printf(out, "%s{\"trace_id\":\"%s\",\"service\":", i == 0 ? "" : ",", id);
        put_text(out, weir_names_text(names, lost->service, NULL));
        weir_buffer_text(out, ",\"operation\":");
        put_text(out, weir_names_text(names, lost->operation, NULL));
        weir_buffer_text(out, ",\"rule\":");
        put_text(out, weir_replay_row_name(&replay->policies[0], lost->row));
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "]}\n");
}
