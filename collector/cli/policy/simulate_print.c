/* simulate_print.c - what a simulation says: two tables that fit 80 columns, or one JSON object. */
#include "collector/cli/columns.h"
#include "collector/cli/policy/simulate.h"
#include "collector/cli/text.h"
#include "collector/sample/plan_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COST_COLUMNS = 19, ERROR_COLUMNS = 26 };

struct page {
    const struct weir_simulation *simulation;
    const struct weir_names *names;
    struct weir_buffer *out;
    uint32_t rows_max;
    bool colour, unicode;
};

static void put(const struct page *page, const char *text) {
    weir_buffer_text(page->out, text);
}

static void put_colour(const struct page *page, const char *code) {
    weir_text_colour(page->out, page->colour, code);
}

static double a_second(const struct page *page, double sum) {
    return page->simulation->seconds > 0 ? sum / page->simulation->seconds : 0;
}

/* Share of a core that the proxies together spend on it. */
static double cpu_of(const struct weir_simulation *simulation, int p, double spans_per_second) {
    return spans_per_second * weir_policy_proxies(simulation->policies[p].policy)->cost_ns / 1e9;
}

/* What the new policy is held against: the old one, or what the files have. */
static const struct weir_simulated_sums *before_of(const struct weir_simulation *simulation,
                                                   const struct weir_simulated_row *row) {
    return simulation->policy_count > 1 ? &row->policies[1] : &row->recorded;
}

static const char *before_name(const struct page *page) {
    return page->simulation->policy_count > 1 ? "old" : "filed";
}

static bool is_sum(const struct weir_simulation *simulation, uint32_t i) {
    return i == 0 || simulation->rows[i - 1].service != simulation->rows[i].service;
}

static struct weir_simulated_row total_of(const struct weir_simulation *simulation) {
    struct weir_simulated_row total = {0};
    for (uint32_t i = 0; i < simulation->row_count; i++) {
        if (is_sum(simulation, i)) weir_simulated_add(&total, &simulation->rows[i]);
    }
    return total;
}

/* ---- tables ---- */

static void put_row_name(const struct page *page, const struct weir_simulated_row *row, bool sum, uint32_t columns) {
    const char *name = weir_names_text(page->names, sum ? row->service : row->operation, NULL);
    weir_column_name(page->out, name[0] != 0 ? name : "(no name)", sum ? 0 : 2, columns, page->unicode);
}

static void put_rate(const struct page *page, int columns, const struct weir_simulated_sums *sums, double offered) {
    if (offered > 0)
        weir_column_share(page->out, columns, sums->traces / offered);
    else
        weir_column_text(page->out, columns, "-");
}

static void put_cpu(const struct page *page, double share) {
    char text[16];
    if (share > 0.0999) {
        weir_column_share(page->out, 8, share);
        return;
    }
    snprintf(text, sizeof text, share > 0 && share < 0.0001 ? "<0.01 %%" : "%.2g %%", 100 * share);
    weir_column_text(page->out, 8, text);
}

static void put_cost(const struct page *page, const struct weir_simulated_row *row) {
    const struct weir_simulated_sums *before = before_of(page->simulation, row), *after = &row->policies[0];
    weir_column_number(page->out, 9, a_second(page, row->offered));
    put_rate(page, 9, before, row->offered);
    put_rate(page, 9, after, row->offered);
    weir_column_number(page->out, 8, a_second(page, before->spans));
    weir_column_number(page->out, 8, a_second(page, after->spans));
    weir_column_bytes(page->out, 10, a_second(page, after->bytes));
    put_cpu(page, cpu_of(page->simulation, 0, a_second(page, after->spans)));
    put(page, "\n");
}

static void put_error(const struct page *page, int columns, double counted, double unseen, double variance) {
    double error = weir_simulated_error(counted, unseen, variance);
    if (error < 0)
        weir_column_text(page->out, columns, "-");
    else if (error > 1e9)
        weir_column_text(page->out, columns, "unseen");
    else
        weir_column_share(page->out, columns, error);
}

/* So many traces, as their weights have it. */
static void put_estimate(const struct page *page, int columns, double traces) {
    char text[WEIR_TEXT_BYTES];
    weir_text_count((uint64_t)llround(traces), text);
    weir_column_text(page->out, columns, text);
}

static void put_errors(const struct page *page, const struct weir_simulated_row *row) {
    const struct weir_simulated_sums *before = before_of(page->simulation, row), *after = &row->policies[0];
    put_estimate(page, 10, row->offered);
    put_error(page, 9, row->offered, before->unseen, before->variance);
    put_error(page, 9, row->offered, after->unseen, after->variance);
    put_estimate(page, 8, row->errors);
    put_error(page, 9, row->errors, before->errors_unseen, before->errors_variance);
    put_error(page, 9, row->errors, after->errors_unseen, after->errors_variance);
    put(page, "\n");
}

static void put_rows(const struct page *page, uint32_t columns,
                     void (*rest)(const struct page *page, const struct weir_simulated_row *row)) {
    const struct weir_simulation *simulation = page->simulation;
    const struct weir_simulated_row total = total_of(simulation);
    uint32_t shown =
        page->rows_max == 0 || simulation->row_count < page->rows_max ? simulation->row_count : page->rows_max;
    for (uint32_t i = 0; i < shown; i++) {
        bool sum = is_sum(simulation, i);
        if (sum) put_colour(page, "1");
        put_row_name(page, &simulation->rows[i], sum, columns);
        rest(page, &simulation->rows[i]);
        if (sum) put_colour(page, "0");
    }
    if (shown < simulation->row_count)
        weir_buffer_printf(page->out, "  and %u more; --all lists them\n", simulation->row_count - shown);
    put_colour(page, "1");
    weir_column_name(page->out, "all", 0, columns, false);
    rest(page, &total);
    put_colour(page, "0");
}

/* ---- around them ---- */

static void put_count(const struct page *page, uint64_t count, const char *what, const char *one) {
    char text[WEIR_TEXT_BYTES];
    weir_text_count(count, text);
    weir_buffer_printf(page->out, "%s %s", text, count == 1 ? one : what);
}

static void put_input(const struct page *page, double offered) {
    const struct weir_stored_counts *counts = &page->simulation->counts;
    char text[WEIR_TEXT_BYTES];
    put_count(page, counts->traces, "traces, ", "trace, ");
    put_count(page, counts->spans, "spans in ", "span in ");
    put_count(page, counts->files, "files", "file");
    if (page->simulation->seconds > 0) {
        weir_text_duration((uint64_t)(page->simulation->seconds * 1e9), page->unicode, text);
        weir_buffer_printf(page->out, ", %s from ", text);
        weir_text_time(page->out, counts->first_ns);
    }
    put(page, "\n");
    if (offered > (double)counts->traces * 1.000001) {
        put(page, "They stand for ");
        weir_column_number(page->out, 0, offered);
        put(page, " traces, by their weights.\n");
    }
    if (page->simulation->rootless > 0) {
        put_count(page, page->simulation->rootless, "have", "has");
        put(page, " no root here, and count for their first span's operation.\n");
    }
}

static void put_budget(const struct page *page, int p, double spans_per_second) {
    const struct weir_proxies_budget *budget = &weir_policy_proxies(page->simulation->policies[p].policy)->budget;
    if (!(budget->spans_per_second > 0)) return;
    put(page, "             of ");
    weir_column_number(page->out, 0, budget->spans_per_second);
    put(page, " allowed: ");
    weir_column_share(page->out, 0, spans_per_second / budget->spans_per_second);
    put(page, ", over the fullest 30 s ");
    weir_column_share(page->out, 0, page->simulation->policies[p].spans_max / budget->spans_per_second);
    put(page, "\n");
}

static void put_limits(const struct page *page) {
    const struct weir_proxies *proxies = weir_policy_proxies(page->simulation->policies[0].policy);
    uint32_t count = proxies->fallback.max_traces_per_second >= 0;
    for (uint32_t i = 0; i < proxies->service_count; i++)
        count += proxies->services[i].max_traces_per_second >= 0;
    if (count == 0) return;
    put(page, "max_traces_per_second is each client's, and is not simulated: rates count.\n");
}

static void put_total(const struct page *page, const char *label, const struct weir_simulated_sums *sums, int p) {
    double spans = a_second(page, sums->spans);
    weir_buffer_printf(page->out, "%-13s", label);
    weir_column_number(page->out, 0, spans);
    put(page, " spans/s, ");
    weir_column_bytes(page->out, 0, a_second(page, sums->bytes));
    put(page, "/s");
    if (p >= 0) {
        put(page, ", ");
        weir_column_share(page->out, 0, cpu_of(page->simulation, p, spans));
        put(page, " of a core in all proxies");
    }
    put(page, "\n");
    if (p >= 0) put_budget(page, p, spans);
}

void weir_simulation_print(const struct weir_simulation *simulation, const struct weir_names *names, uint32_t rows_max,
                           bool colour, bool unicode, struct weir_buffer *out) {
    const struct page page = {simulation, names, out, rows_max, colour, unicode};
    const struct weir_simulated_row total = total_of(simulation);
    put_input(&page, total.offered);
    weir_buffer_printf(out, "\n%*s%9s%18s%16s%10s%8s\n", COST_COLUMNS, "", "traces/s", "rate", "spans/s", "bytes/s",
                       "CPU");
    weir_column_name(out, "what it costs", 0, COST_COLUMNS, false);
    weir_buffer_printf(out, "%9s%9s%9s%8s%8s%10s%8s\n", "offered", before_name(&page), "new", before_name(&page), "new",
                       "new", "new");
    put_rows(&page, COST_COLUMNS, put_cost);
    weir_buffer_printf(out, "\n%*s%10s%18s%8s%18s\n", ERROR_COLUMNS, "", "requests", "standard error", "errors",
                       "standard error");
    weir_column_name(out, "how sure counts are", 0, ERROR_COLUMNS, false);
    weir_buffer_printf(out, "%10s%9s%9s%8s%9s%9s\n", "", before_name(&page), "new", "", before_name(&page), "new");
    put_rows(&page, ERROR_COLUMNS, put_errors);
    if (total.policies[0].unseen > 0) {
        put_estimate(&page, 0, total.policies[0].unseen);
        put(&page, " requests meet a rate of 0: nothing that is sent speaks for them\n");
    }
    put(&page, "\n");
    put_total(&page, "recorded", &total.recorded, -1);
    if (simulation->policy_count > 1) put_total(&page, "old", &total.policies[1], 1);
    put_total(&page, "new", &total.policies[0], 0);
    put_limits(&page);
}

/* ---- JSON ---- */

static void put_text(struct weir_buffer *out, const char *key, const char *text) {
    weir_buffer_printf(out, "\"%s\":", key);
    weir_plan_write_text(text, strlen(text), out);
}

static void put_number(struct weir_buffer *out, const char *key, double value) {
    weir_buffer_printf(out, ",\"%s\":", key);
    weir_buffer_double(out, isfinite(value) ? value : 0);
}

/* Null: there is nothing to count, or nothing that is sent would tell. */
static void put_json_error(struct weir_buffer *out, const char *key, double counted, double unseen, double variance) {
    double error = weir_simulated_error(counted, unseen, variance);
    if (error < 0 || error > 1e9)
        weir_buffer_printf(out, ",\"%s\":null", key);
    else
        put_number(out, key, error);
}

static void put_json_sums(const struct page *page, const char *key, const struct weir_simulated_row *row,
                          const struct weir_simulated_sums *sums, int p) {
    struct weir_buffer *out = page->out;
    weir_buffer_printf(out, ",\"%s\":{\"rate\":", key);
    weir_buffer_double(out, row->offered > 0 ? sums->traces / row->offered : 0);
    put_number(out, "traces_per_second", a_second(page, sums->traces));
    put_number(out, "spans_per_second", a_second(page, sums->spans));
    put_number(out, "bytes_per_second", a_second(page, sums->bytes));
    if (p >= 0) put_number(out, "cpu", cpu_of(page->simulation, p, a_second(page, sums->spans)));
    put_json_error(out, "requests_error", row->offered, sums->unseen, sums->variance);
    put_json_error(out, "errors_error", row->errors, sums->errors_unseen, sums->errors_variance);
    weir_buffer_byte(out, '}');
}

static void put_json_row(const struct page *page, const struct weir_simulated_row *row) {
    put_number(page->out, "offered_per_second", a_second(page, row->offered));
    put_number(page->out, "requests", row->offered);
    put_number(page->out, "errors", row->errors);
    put_json_sums(page, "recorded", row, &row->recorded, -1);
    put_json_sums(page, "new", row, &row->policies[0], 0);
    if (page->simulation->policy_count > 1) put_json_sums(page, "old", row, &row->policies[1], 1);
}

void weir_simulation_print_json(const struct weir_simulation *simulation, const struct weir_names *names,
                                struct weir_buffer *out) {
    const struct page page = {.simulation = simulation, .names = names, .out = out};
    const struct weir_simulated_row total = total_of(simulation);
    weir_buffer_printf(out, "{\"files\":%llu,\"traces\":%llu,\"spans\":%llu",
                       (unsigned long long)simulation->counts.files, (unsigned long long)simulation->counts.traces,
                       (unsigned long long)simulation->counts.spans);
    put_number(out, "seconds", simulation->seconds);
    weir_buffer_text(out, ",\"policies\":[");
    for (int p = 0; p < simulation->policy_count; p++) {
        weir_buffer_text(out, p == 0 ? "{\"name\":\"new\"," : ",{\"name\":\"old\",");
        put_text(out, "path", simulation->policies[p].path);
        put_number(out, "spans_per_second_max", simulation->policies[p].spans_max);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "],\"all\":{\"rows\":");
    weir_buffer_u64(out, simulation->row_count);
    put_json_row(&page, &total);
    weir_buffer_text(out, "},\"rows\":[");
    for (uint32_t i = 0; i < simulation->row_count; i++) {
        const struct weir_simulated_row *row = &simulation->rows[i];
        weir_buffer_text(out, i == 0 ? "{" : ",{");
        put_text(out, "service", weir_names_text(names, row->service, NULL));
        if (!is_sum(simulation, i)) {
            weir_buffer_byte(out, ',');
            put_text(out, "operation", weir_names_text(names, row->operation, NULL));
        }
        put_json_row(&page, row);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "]}\n");
}
