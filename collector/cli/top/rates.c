#include "collector/cli/top/rates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double unknown = (double)NAN;

double weir_top_increase(double before, double now) {
    double increase = now < before ? now : now - before;
    return increase > 0 ? increase : 0;
}

double weir_top_quantile(double q, const double *bounds, const double *counts, uint32_t count) {
    if (count == 0 || !isinf(bounds[count - 1]) || !(counts[count - 1] > 0)) return unknown;
    double rank = q * counts[count - 1];
    uint32_t at = 0;
    while (at + 1 < count && !(counts[at] >= rank))
        at++;
    if (at + 1 == count) return count > 1 ? bounds[count - 2] : unknown;
    if (at == 0 && bounds[0] <= 0) return bounds[0];
    double from = at == 0 ? 0 : bounds[at - 1], below = at == 0 ? 0 : counts[at - 1];
    double in = counts[at] - below;
    return in > 0 ? from + (bounds[at] - from) * (rank - below) / in : bounds[at];
}

bool weir_top_restarted(const struct weir_top_page *before, const struct weir_top_page *now) {
    double began = before->values[WEIR_TOP_START];
    return now->values[WEIR_TOP_START] != began || now->values[WEIR_TOP_RECEIVED] < before->values[WEIR_TOP_RECEIVED];
}

/* ---- the Weir ---- */

static const struct weir_top_exporter *exporter_of(const struct weir_top_page *page, uint32_t name) {
    for (uint32_t i = 0; page != NULL && i < page->exporter_count; i++) {
        if (page->exporters[i].name == name) return &page->exporters[i];
    }
    return NULL;
}

static void rate_exporters(const struct weir_top_page *before, const struct weir_top_page *now,
                           struct weir_top_numbers *out) {
    out->exporter_count = now->exporter_count;
    for (uint32_t i = 0; i < now->exporter_count; i++) {
        const struct weir_top_exporter *exporter = &now->exporters[i], *was = exporter_of(before, exporter->name);
        struct weir_top_exporter_rates *rates = &out->exporters[i];
        *rates = (struct weir_top_exporter_rates){.name = exporter->name,
                                                  .oldest_seconds = exporter->oldest_seconds,
                                                  .queue = exporter->queue,
                                                  .spool = exporter->spool,
                                                  .spool_limit = exporter->spool_limit,
                                                  .paused = exporter->paused > 0};
        if (!out->rated) continue;
        rates->delivered = weir_top_increase(was == NULL ? 0 : was->delivered, exporter->delivered) / out->seconds;
        rates->dropped = weir_top_increase(was == NULL ? 0 : was->dropped, exporter->dropped) / out->seconds;
    }
}

static void count_services(const struct weir_top_page *before, const struct weir_top_page *now,
                           struct weir_top_numbers *out) {
    struct weir_top_rows rows = {0};
    if (weir_top_rows(before, now, NULL, WEIR_TOP_SERVICES, 0, &rows)) {
        for (uint32_t i = 0; i < rows.count; i++) {
            const struct weir_top_row *row = &rows.rows[i];
            out->services++;
            if (!out->rated) continue;
            out->requests += row->rate;
            out->failed += row->failed / out->seconds;
            out->silent += row->total > 0 && row->calls <= 0;
        }
    }
    weir_top_rows_free(&rows);
}

void weir_top_numbers(const struct weir_top_page *before, const struct weir_top_page *now, double unix_now,
                      struct weir_top_numbers *out) {
    bool rated = before != NULL && now->mono_ns > before->mono_ns;
    *out = (struct weir_top_numbers){.rated = rated, .beyond = now->beyond};
    if (rated) out->seconds = (double)(now->mono_ns - before->mono_ns) / 1e9;
    memcpy(out->values, now->values, sizeof out->values);
    memcpy(out->seen, now->seen, sizeof out->seen);
    memcpy(out->version, now->version, sizeof out->version);
    for (int i = 0; rated && i < WEIR_TOP_VALUES; i++)
        out->rates[i] = weir_top_increase(before->values[i], now->values[i]) / out->seconds;
    out->cpu = out->rates[WEIR_TOP_CPU];
    double imbalance = now->values[WEIR_TOP_IMBALANCE];
    out->imbalance = rated ? fmin(before->values[WEIR_TOP_IMBALANCE], imbalance) : 0;
    double began = now->values[WEIR_TOP_START];
    out->uptime_seconds = began > 0 && unix_now > began ? unix_now - began : 0;
    rate_exporters(before, now, out);
    count_services(before, now, out);
}

/* ---- rows ---- */

/* The row of these names; a new one when there is none. places: place + 1 by first name, or NULL: always a new one. */
static struct weir_top_row *row_of(struct weir_top_rows *rows, uint32_t *places, uint32_t first, uint32_t second) {
    if (places != NULL && places[first] != 0) return &rows->rows[places[first] - 1];
    if (rows->count == rows->capacity) {
        uint32_t capacity = rows->capacity == 0 ? 64 : 2 * rows->capacity;
        struct weir_top_row *more = realloc(rows->rows, capacity * sizeof *more);
        if (more == NULL) return NULL;
        rows->rows = more;
        rows->capacity = capacity;
    }
    struct weir_top_row *row = &rows->rows[rows->count++];
    *row = (struct weir_top_row){
        .first = first, .second = second, .sampled = unknown, .cost = unknown, .proxy_cpu = unknown};
    if (places != NULL) places[first] = rows->count;
    return row;
}

/* Operations share traces, so that it is their parts in the variance of the service that add up to it. They are never
 * less than an operation's own, which is what a Weir says that does not know of parts. */
static double variance_of(const struct weir_top_count *before, const struct weir_top_count *now, bool of_service) {
    double own = weir_top_increase(before->variance, now->variance);
    return of_service ? fmax(own, weir_top_increase(before->service_variance, now->service_variance)) : own;
}

static void add(struct weir_top_row *row, const struct weir_top_count *before, const struct weir_top_count *now,
                uint32_t bound_count) {
    static const struct weir_top_count none;
    if (before == NULL) before = &none;
    row->calls += weir_top_increase(before->calls, now->calls);
    row->failed += weir_top_increase(before->failed, now->failed);
    row->variance += variance_of(before, now, row->second == WEIR_NAME_NONE);
    row->spans += weir_top_increase(before->spans, now->spans);
    for (uint32_t i = 0; i < bound_count; i++)
        row->buckets[i] += weir_top_increase(before->buckets[i], now->buckets[i]);
}

static bool same_bounds(const struct weir_top_page *before, const struct weir_top_page *now) {
    if (before->bound_count == 0) return true; /* nothing had fallen into any */
    return before->bound_count == now->bound_count &&
           memcmp(before->bounds, now->bounds, now->bound_count * sizeof *now->bounds) == 0;
}

/* 1.96 standard errors to each side hold 95 of 100 estimates of a normal distribution. */
static void finish(struct weir_top_row *row, const struct weir_top_page *page, double seconds, bool buckets) {
    bool rated = seconds > 0;
    row->rate = rated ? row->calls / seconds : unknown;
    row->band = rated ? 1.96 * sqrt(row->variance) / seconds : unknown;
    row->spans = rated ? row->spans / seconds : unknown;
    row->errors = rated && row->calls > 0 ? fmin(row->failed / row->calls, 1) : unknown;
    const double quantiles[] = {0.5, 0.95, 0.99};
    double *const out[] = {&row->p50, &row->p95, &row->p99};
    for (int i = 0; i < 3; i++)
        *out[i] =
            rated && buckets ? weir_top_quantile(quantiles[i], page->bounds, row->buckets, page->bound_count) : unknown;
}

/* ---- what proxies are told ---- */

static void tell(struct weir_top_row *row, const struct weir_view_row *told, const struct weir_view_row *inherited) {
    const struct weir_view_row *of = told != NULL && told->told ? told : inherited;
    if (of != NULL && of->told) {
        row->sampled = of->rate;
        snprintf(row->why, sizeof row->why, "%s", of->why);
    }
    if (told == NULL || !told->measured) return;
    row->cost = told->spans_told;
    row->proxy_cpu = told->proxy_cpu;
    row->incident = told->incident;
}

/* The service's own row stands for all of it where none of its operations is measured. */
static bool stands_alone(const struct weir_view_side *side, uint32_t at) {
    return at + 1 == side->count || side->rows[at + 1].operation == WEIR_NAME_NONE;
}

double weir_top_told(const struct weir_view_side *side, uint32_t from, bool whole) {
    double offered = 0, told = 0;
    for (uint32_t i = from; i < side->count && (whole || side->rows[i].service == side->rows[from].service); i++) {
        const struct weir_view_row *row = &side->rows[i];
        if (row->operation == WEIR_NAME_NONE && !stands_alone(side, i)) continue;
        if (!row->measured || !(row->rate >= 0)) continue;
        offered += row->spans_offered;
        told += row->spans_offered * row->rate;
    }
    return offered > 0 ? fmin(told / offered, 1) : unknown;
}

/* Where operations that come have rates of their own, the service's is only that of the others: what comes to pass is
 * their mean. at: the service's own row. */
static void tell_mixed(struct weir_top_row *row, const struct weir_view_side *side, uint32_t at) {
    const struct weir_view_row *service = &side->rows[at];
    bool mixed = false;
    for (uint32_t i = at + 1; !mixed && i < side->count && side->rows[i].service == row->first; i++)
        mixed = side->rows[i].told && side->rows[i].spans_offered > 0 && side->rows[i].rate != service->rate;
    if (!mixed) return;
    row->sampled = weir_top_told(side, at, false);
    snprintf(row->why, sizeof row->why, "by op");
}

/* The view has a service's own row, then its operations; the default's is that of no name. */
static bool tell_rows(struct weir_top_rows *rows, const struct weir_view_side *side, const struct weir_names *names,
                      bool operations) {
    uint32_t *places = calloc(weir_names_count(names) + 1u, sizeof *places);
    if (places == NULL) return false;
    for (uint32_t i = 0; i < side->count; i++) {
        if (side->rows[i].operation == WEIR_NAME_NONE) places[side->rows[i].service] = i + 1;
    }
    const struct weir_view_row *fallback = places[WEIR_NAME_NONE] == 0 ? NULL : &side->rows[places[WEIR_NAME_NONE] - 1];
    for (uint32_t i = 0; i < rows->count; i++) {
        struct weir_top_row *row = &rows->rows[i];
        uint32_t at = places[row->first];
        const struct weir_view_row *service = at == 0 ? NULL : &side->rows[at - 1];
        const struct weir_view_row *inherited = service != NULL && service->told ? service : fallback;
        if (!operations) {
            tell(row, service, fallback);
            if (service != NULL) tell_mixed(row, side, at - 1);
            continue;
        }
        while (at != 0 && at < side->count && side->rows[at].service == row->first &&
               side->rows[at].operation != row->second)
            at++;
        bool found = at != 0 && at < side->count && side->rows[at].service == row->first;
        tell(row, found ? &side->rows[at] : NULL, inherited);
    }
    free(places);
    return true;
}

bool weir_top_rows(const struct weir_top_page *before, const struct weir_top_page *now,
                   const struct weir_policy_view *policy, enum weir_top_table_kind kind, uint32_t service,
                   struct weir_top_rows *rows) {
    const struct weir_top_table *table = kind == WEIR_TOP_CALLS ? &now->calls : &now->spans;
    const struct weir_top_table *table_before = before == NULL           ? NULL
                                                : kind == WEIR_TOP_CALLS ? &before->calls
                                                                         : &before->spans;
    bool rated = before != NULL && now->mono_ns > before->mono_ns, buckets = rated && same_bounds(before, now);
    uint32_t *places = kind == WEIR_TOP_SERVICES ? calloc(weir_names_count(now->names) + 1u, sizeof *places) : NULL;
    bool ok = kind != WEIR_TOP_SERVICES || places != NULL;
    rows->count = 0;
    for (uint32_t i = 0; ok && i < table->count; i++) {
        const struct weir_top_count *count = &table->counts[i];
        if (kind == WEIR_TOP_OPERATIONS && service != WEIR_NAME_NONE && count->first != service) continue;
        if (kind == WEIR_TOP_OPERATIONS && count->calls <= 0) continue; /* what it asks others, and its insides */
        uint32_t second = kind == WEIR_TOP_SERVICES ? WEIR_NAME_NONE : count->second;
        struct weir_top_row *row = row_of(rows, places, count->first, second);
        ok = row != NULL;
        const struct weir_top_count *was = rated ? weir_top_find(table_before, count->first, count->second) : NULL;
        if (!ok) break;
        row->total += count->calls;
        if (rated) add(row, was, count, buckets ? now->bound_count : 0);
    }
    double seconds = rated ? (double)(now->mono_ns - before->mono_ns) / 1e9 : 0;
    bool told = kind != WEIR_TOP_CALLS && policy != NULL && policy->side_count > 0;
    for (uint32_t i = 0; ok && i < rows->count; i++) {
        finish(&rows->rows[i], now, seconds, buckets);
        if (!told) rows->rows[i].cost = rows->rows[i].spans;
    }
    if (ok && told) ok = tell_rows(rows, &policy->sides[0], now->names, kind == WEIR_TOP_OPERATIONS);
    free(places);
    return ok;
}

void weir_top_rows_free(struct weir_top_rows *rows) {
    free(rows->rows);
    *rows = (struct weir_top_rows){0};
}
