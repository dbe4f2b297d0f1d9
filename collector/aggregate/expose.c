/* The page in Prometheus' text format 0.0.4 (prometheus/docs, "Exposition formats"): families by name, their series by
 * labels. */
#define _GNU_SOURCE /* memmem */
#include "collector/aggregate/exemplars.h"
#include "collector/aggregate/series.h"
#include "collector/core/hex.h"

#include <stdio.h>
#include <stdlib.h>

/* A series as some lane has it. Those of one identity stand beside each other once sorted, and make one line. */
struct row {
    const struct weir_identity *identity;
    const struct weir_series *series;
    uint64_t prefix; /* 8 bytes of the labels behind what all of the family have in common: most comparisons end here */
};

struct group { /* rows of one family */
    const struct weir_family *family;
    struct row *rows;
    size_t count, filled;
};

enum part {
    PART_WHOLE,
    PART_CALLS,
    PART_LATENCY,
    PART_CALLS_VARIANCE,
    PART_SERVICE_VARIANCE,
    PART_REQUESTS,
    PART_FAILED,
    PART_REQUESTS_VARIANCE,
    PART_FAILED_VARIANCE,
    PART_SERVER_SECONDS,
    PART_CLIENT_SECONDS,
};

struct unit { /* one family on the page */
    const char *name;
    const char *type;
    const char *help;
    enum part part;
    const struct group *group;
};

/* ---- gathering ---- */

struct scrape {
    struct weir_aggregate *aggregate;
    struct row *rows, *sorted;
    struct group *groups;
    size_t row_count, group_count;
};

static size_t list_size(const struct weir_shard *shard, struct weir_series **first) {
    size_t count = 0;
    *first =
        atomic_load_explicit(&shard->first, memory_order_acquire); /* what is new after this is for the next scrape */
    for (const struct weir_series *at = *first; at != NULL; at = atomic_load_explicit(&at->next, memory_order_relaxed))
        count++;
    return count;
}

/* All rows, with the scrape locks held: nothing is forgotten until they are given back. */
static bool gather(struct scrape *scrape) {
    struct weir_aggregate *aggregate = scrape->aggregate;
    struct weir_series *firsts[aggregate->lanes + 1]; /* an array has at least one */
    size_t total = 0;
    for (uint32_t i = 0; i < aggregate->lanes; i++)
        total += list_size(&aggregate->shards[i], &firsts[i]);
    scrape->rows = malloc((2 * total + 1) * sizeof *scrape->rows);
    if (scrape->rows == NULL) return false;
    scrape->sorted = scrape->rows + total;
    for (uint32_t i = 0; i < aggregate->lanes; i++) {
        for (const struct weir_series *at = firsts[i]; at != NULL;
             at = atomic_load_explicit(&at->next, memory_order_relaxed)) {
            scrape->rows[scrape->row_count++] = (struct row){.identity = at->identity, .series = at};
        }
    }
    return true;
}

/* Counts the rows of each family, by an open-addressed table of the families' addresses, and then puts them side by
 * side. */
static bool group_rows(struct scrape *scrape) {
    size_t slots = 64, families = 0;
    while (slots < 2 * scrape->row_count)
        slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* index of the group + 1 */
    uint32_t *group_of = malloc((scrape->row_count + 1) * sizeof *group_of);
    scrape->groups = calloc(scrape->row_count + 1, sizeof *scrape->groups);
    bool made = table != NULL && group_of != NULL && scrape->groups != NULL;
    for (size_t i = 0; made && i < scrape->row_count; i++) {
        const struct weir_family *family = scrape->rows[i].identity->family;
        size_t slot = weir_mix((uint64_t)(uintptr_t)family) & (slots - 1);
        while (table[slot] != 0 && scrape->groups[table[slot] - 1].family != family)
            slot = (slot + 1) & (slots - 1);
        if (table[slot] == 0) {
            scrape->groups[families] = (struct group){.family = family};
            table[slot] = (uint32_t)++families;
        }
        group_of[i] = table[slot] - 1;
        scrape->groups[group_of[i]].count++;
    }
    if (made) {
        struct row *at = scrape->sorted;
        for (size_t g = 0; g < families; at += scrape->groups[g++].count)
            scrape->groups[g].rows = at;
        for (size_t i = 0; i < scrape->row_count; i++) {
            struct group *group = &scrape->groups[group_of[i]];
            group->rows[group->filled++] = scrape->rows[i];
        }
        scrape->group_count = families;
    }
    free(table);
    free(group_of);
    return made;
}

static int by_labels(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->prefix != y->prefix) return x->prefix < y->prefix ? -1 : 1;
    if (x->identity == y->identity) return 0;
    uint32_t shorter = x->identity->size < y->identity->size ? x->identity->size : y->identity->size;
    int order = memcmp(x->identity->labels, y->identity->labels, shorter);
    return order != 0 ? order : (x->identity->size > y->identity->size) - (x->identity->size < y->identity->size);
}

static uint32_t common_prefix(const struct group *group) {
    const struct weir_identity *first = group->rows[0].identity;
    uint32_t common = first->size;
    for (size_t i = 1; i < group->count; i++) {
        const struct weir_identity *identity = group->rows[i].identity;
        if (identity->size < common) common = identity->size;
        uint32_t same = 0;
        while (same < common && identity->labels[same] == first->labels[same])
            same++;
        common = same;
    }
    return common;
}

static void sort_group(struct group *group) {
    uint32_t common = common_prefix(group);
    for (size_t i = 0; i < group->count; i++) {
        const struct weir_identity *identity = group->rows[i].identity;
        uint64_t prefix = 0;
        for (uint32_t byte = 0; byte < 8; byte++)
            prefix = prefix << 8 | (common + byte < identity->size ? identity->labels[common + byte] : 0);
        group->rows[i].prefix = prefix;
    }
    qsort(group->rows, group->count, sizeof *group->rows, by_labels);
}

/* ---- lines ---- */

struct page {
    const struct weir_aggregate *aggregate;
    bool exemplars;
    struct weir_buffer *out;
    struct weir_buffer labels; /* of the present series, without braces */
};

static void escape(struct weir_buffer *out, const uint8_t *value, size_t size) {
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        if (value[i] != '\\' && value[i] != '"' && value[i] != '\n') continue;
        weir_buffer_put(out, value + from, i - from);
        weir_buffer_text(out, value[i] == '\n' ? "\\n" : value[i] == '"' ? "\\\"" : "\\\\");
        from = i + 1;
    }
    weir_buffer_put(out, value + from, size - from);
}

static void render_labels(struct page *page, const struct weir_identity *identity) {
    weir_buffer_clear(&page->labels);
    const uint8_t *at = identity->labels, *end = at + identity->size;
    while (at < end) {
        const uint8_t *name = at + 1;
        const uint8_t *value = memchr(name, WEIR_KEY_SEPARATOR, (size_t)(end - name));
        if (value == NULL) break;
        value++;
        at = memchr(value, WEIR_KEY_SEPARATOR, (size_t)(end - value));
        if (at == NULL) at = end;
        if (page->labels.size > 0) weir_buffer_byte(&page->labels, ',');
        weir_buffer_put(&page->labels, name, (size_t)(value - 1 - name));
        weir_buffer_put(&page->labels, "=\"", 2);
        escape(&page->labels, value, (size_t)(at - value));
        weir_buffer_byte(&page->labels, '"');
    }
}

/* name[suffix]{labels[,more]} value */
static void line(struct page *page, const char *name, const char *suffix, const char *more, double value) {
    weir_buffer_text(page->out, name);
    weir_buffer_text(page->out, suffix);
    // The analyser does not follow snprintf into le[].
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
    if (page->labels.size > 0 || more[0] != 0) {
        weir_buffer_byte(page->out, '{');
        weir_buffer_put(page->out, page->labels.bytes, page->labels.size);
        // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
        if (page->labels.size > 0 && more[0] != 0) weir_buffer_byte(page->out, ',');
        weir_buffer_text(page->out, more);
        weir_buffer_byte(page->out, '}');
    }
    weir_buffer_byte(page->out, ' ');
    weir_buffer_double(page->out, value);
    weir_buffer_byte(page->out, '\n');
}

enum { LE_MAX = 40 };

static void bound_text(char out[LE_MAX], const char *label, double bound) {
    uint8_t bytes[32];
    struct weir_buffer text = {
        .bytes = bytes, .capacity = sizeof bytes, .limit = sizeof bytes}; /* as short as the values are written */
    weir_buffer_double(&text, bound);
    snprintf(out, LE_MAX, "%s=\"%.*s\"", label, (int)text.size, (const char *)bytes);
}

struct histogram {
    double sum;
    bool has_sum;
    double buckets[WEIR_BUCKETS_MAX + 1];
};

/* Behind a bucket's line: the latest of what any lane has for it. */
static void exemplar(struct page *page, uint64_t series_hash, uint32_t bucket) {
    struct weir_exemplar latest = {0}, one;
    for (uint32_t i = 0; i < page->aggregate->lanes; i++) {
        const struct weir_exemplars *exemplars =
            atomic_load_explicit(&page->aggregate->shards[i].exemplars, memory_order_acquire);
        if (exemplars != NULL && weir_exemplars_get(exemplars, series_hash, bucket, &one) &&
            one.unix_ns > latest.unix_ns)
            latest = one;
    }
    if (latest.unix_ns == 0) return;
    char hi[17] = "", lo[17] = "", span[17] = "";
    weir_hex_u64(latest.trace_hi, hi);
    weir_hex_u64(latest.trace_lo, lo);
    weir_hex_u64(latest.span_id, span);
    page->out->size--; /* the line's end */
    weir_buffer_printf(page->out, " # {trace_id=\"%.16s%.16s\",span_id=\"%.16s\"} ", latest.trace_hi != 0 ? hi : "", lo,
                       span);
    weir_buffer_double(page->out, (double)latest.duration_ns / 1e9);
    weir_buffer_printf(page->out, " %llu.%03llu\n", (unsigned long long)(latest.unix_ns / 1000000000),
                       (unsigned long long)(latest.unix_ns / 1000000 % 1000));
}

/* The count is what the buckets add up to, so `+Inf` and _count are the same number at any moment. series_hash: of
 * spans, for exemplars; 0 = none. */
static void histogram_lines(struct page *page, const char *name, char (*le)[LE_MAX], uint32_t bounds,
                            const struct histogram *histogram, uint64_t series_hash) {
    double running = 0;
    for (uint32_t i = 0; i <= bounds; i++) {
        running += histogram->buckets[i];
        line(page, name, "_bucket", le[i], running);
        if (series_hash != 0 && histogram->buckets[i] > 0 && !page->out->failed) exemplar(page, series_hash, i);
    }
    if (histogram->has_sum) line(page, name, "_sum", "", histogram->sum);
    line(page, name, "_count", "", running);
}

/* ---- values: over the lanes that have the series ---- */

static double sum_cells(const struct row *rows, size_t count, enum part part) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const struct weir_span_series *span = (const void *)rows[i].series;
        const struct weir_edge_series *edge = (const void *)rows[i].series;
        switch (part) {
        case PART_CALLS:
            for (uint32_t b = 0; b <= rows[i].identity->family->bound_count; b++)
                sum += weir_cell_get(&span->buckets[b]);
            break;
        case PART_CALLS_VARIANCE: sum += weir_cell_get(&span->variance); break;
        case PART_SERVICE_VARIANCE: sum += weir_cell_get(&span->service_variance); break;
        case PART_REQUESTS: sum += weir_cell_get(&edge->cells[WEIR_EDGE_REQUESTS]); break;
        case PART_FAILED: sum += weir_cell_get(&edge->cells[WEIR_EDGE_FAILED]); break;
        case PART_REQUESTS_VARIANCE: sum += weir_cell_get(&edge->cells[WEIR_EDGE_REQUESTS_VARIANCE]); break;
        case PART_FAILED_VARIANCE: sum += weir_cell_get(&edge->cells[WEIR_EDGE_FAILED_VARIANCE]); break;
        default: sum += weir_cell_get(&((const struct weir_point_series *)(const void *)rows[i].series)->cells[0]);
        }
    }
    return sum;
}

static void add_up(struct histogram *into, const struct weir_cell *sum, double unit, const struct weir_cell *buckets,
                   uint32_t bounds) {
    into->sum += weir_cell_get(sum) / unit;
    for (uint32_t b = 0; b <= bounds; b++)
        into->buckets[b] += weir_cell_get(&buckets[b]);
}

static void sum_histogram(const struct row *rows, size_t count, enum part part, struct histogram *sum) {
    uint32_t bounds = rows[0].identity->family->bound_count;
    *sum = (struct histogram){.has_sum = part != PART_WHOLE};
    for (size_t i = 0; i < count; i++) {
        const struct weir_span_series *span = (const void *)rows[i].series;
        const struct weir_edge_series *edge = (const void *)rows[i].series;
        const struct weir_point_series *point = (const void *)rows[i].series;
        switch (part) {
        case PART_LATENCY: add_up(sum, &span->duration_ns, 1e9, span->buckets, bounds); break;
        case PART_SERVER_SECONDS:
            add_up(sum, &edge->cells[WEIR_EDGE_SERVER_NS], 1e9, &edge->cells[WEIR_EDGE_BUCKETS], bounds);
            break;
        case PART_CLIENT_SECONDS:
            add_up(sum, &edge->cells[WEIR_EDGE_CLIENT_NS], 1e9, &edge->cells[WEIR_EDGE_BUCKETS + bounds + 1], bounds);
            break;
        default:
            add_up(sum, &point->cells[0], 1, &point->cells[1], bounds);
            if (atomic_load_explicit(&point->has_sum, memory_order_relaxed)) sum->has_sum = true;
        }
    }
}

static void summary_lines(struct page *page, const char *name, const struct weir_point_series *series) {
    for (uint32_t cell = 2; cell + 1 < series->cell_count; cell += 2) {
        char quantile[LE_MAX];
        bound_text(quantile, "quantile", weir_cell_get(&series->cells[cell]));
        line(page, name, "", quantile, weir_cell_get(&series->cells[cell + 1]));
    }
    line(page, name, "_sum", "", weir_cell_get(&series->cells[1]));
    line(page, name, "_count", "", weir_cell_get(&series->cells[0]));
}

static bool has_kind(const struct weir_identity *identity, const char *kind) {
    return memmem(identity->labels, identity->size, kind, strlen(kind)) != NULL;
}

/* Only requests have a part in their service's variance, and what folded has no service. A series' kind is its lane's
 * to read: its labels say it. */
static bool is_shown(const struct unit *unit, const struct weir_identity *identity) {
    return unit->part != PART_SERVICE_VARIANCE || has_kind(identity, "\x1fspan_kind\x1fSPAN_KIND_SERVER") ||
           has_kind(identity, "\x1fspan_kind\x1fSPAN_KIND_CONSUMER");
}

static bool is_histogram(const struct unit *unit) {
    return strcmp(unit->type, "histogram") == 0;
}

static void expose_unit(struct page *page, const struct unit *unit) {
    const struct group *group = unit->group;
    const struct weir_family *family = group->family;
    char le[WEIR_BUCKETS_MAX + 1][LE_MAX];
    if (is_histogram(unit)) {
        for (uint32_t i = 0; i < family->bound_count; i++)
            bound_text(le[i], "le", family->bounds[i]);
        snprintf(le[family->bound_count], LE_MAX, "le=\"+Inf\"");
    }
    weir_buffer_printf(page->out, "# HELP %s %s\n# TYPE %s %s\n", unit->name, unit->help, unit->name, unit->type);
    for (size_t i = 0; i < group->count;) {
        const struct row *rows = &group->rows[i];
        size_t same = 1;
        while (i + same < group->count && rows[same].identity == rows->identity)
            same++;
        i += same;
        if (!is_shown(unit, rows->identity)) continue;
        render_labels(page, rows->identity);
        if (is_histogram(unit)) {
            struct histogram sum;
            sum_histogram(rows, same, unit->part, &sum);
            histogram_lines(page, unit->name, le, family->bound_count, &sum,
                            page->exemplars && unit->part == PART_LATENCY ? rows->series->hash : 0);
        } else if (family->type == WEIR_FAMILY_SUMMARY) {
            summary_lines(page, unit->name, (const struct weir_point_series *)(const void *)rows->series);
        } else {
            line(page, unit->name, "", "", sum_cells(rows, same, unit->part));
        }
    }
}

/* ---- families ---- */

static const struct unit span_units[] = {
    {"traces_spanmetrics_calls_total", "counter", "Spans, each by the number that it stands for.", PART_CALLS, NULL},
    {"traces_spanmetrics_latency", "histogram", "Duration of spans in seconds.", PART_LATENCY, NULL},
    {"weir_spanmetrics_calls_variance_total", "counter",
     "Variance of traces_spanmetrics_calls_total by sampling; its root is the standard error.", PART_CALLS_VARIANCE,
     NULL},
    {"weir_spanmetrics_service_variance_total", "counter",
     "Variance by sampling of a service's requests, to be summed over its operations, for those that failed and "
     "others.",
     PART_SERVICE_VARIANCE, NULL},
};
static const struct unit edge_units[] = {
    {"traces_service_graph_request_total", "counter", "Calls from client to server.", PART_REQUESTS, NULL},
    {"traces_service_graph_request_failed_total", "counter",
     "Calls from client to server of which a side says that they failed.", PART_FAILED, NULL},
    {"traces_service_graph_request_server_seconds", "histogram", "Duration of calls as the server saw it.",
     PART_SERVER_SECONDS, NULL},
    {"traces_service_graph_request_client_seconds", "histogram", "Duration of calls as the client saw it.",
     PART_CLIENT_SECONDS, NULL},
    {"weir_service_graph_request_variance_total", "counter",
     "Variance of traces_service_graph_request_total by sampling; its root is the standard error.",
     PART_REQUESTS_VARIANCE, NULL},
    {"weir_service_graph_request_failed_variance_total", "counter",
     "Variance of traces_service_graph_request_failed_total by sampling; its root is the standard error.",
     PART_FAILED_VARIANCE, NULL},
};
enum { UNITS_A_GROUP = sizeof edge_units / sizeof *edge_units };

static struct unit unit_of(const struct group *group) {
    struct unit unit = {.name = group->family->name, .part = PART_WHOLE, .group = group};
    switch (group->family->type) {
    case WEIR_FAMILY_COUNTER:
        unit.type = "counter";
        unit.help = "Counter received from senders.";
        break;
    case WEIR_FAMILY_HISTOGRAM:
        unit.type = "histogram";
        unit.help = "Histogram received from senders.";
        break;
    case WEIR_FAMILY_SUMMARY:
        unit.type = "summary";
        unit.help = "Summary received from senders.";
        break;
    case WEIR_FAMILY_SET:
        unit.type = "gauge";
        unit.help = "Distinct members received from senders in a minute.";
        break;
    default:
        unit.type = "gauge";
        unit.help = "Gauge received from senders.";
        break;
    }
    return unit;
}

static size_t add_units(struct unit *units, const struct group *group) {
    size_t count = 1;
    if (group->family->type == WEIR_FAMILY_SPANS) {
        count = sizeof span_units / sizeof *span_units;
        memcpy(units, span_units, sizeof span_units);
    } else if (group->family->type == WEIR_FAMILY_EDGES) {
        count = sizeof edge_units / sizeof *edge_units;
        memcpy(units, edge_units, sizeof edge_units);
    } else {
        units[0] = unit_of(group);
    }
    for (size_t i = 0; i < count; i++)
        units[i].group = group;
    return count;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct unit *)a)->name, ((const struct unit *)b)->name);
}

static bool write_page(struct scrape *scrape, bool exemplars, struct weir_buffer *out) {
    if (!gather(scrape) || !group_rows(scrape)) return false;
    struct unit *units =
        malloc((scrape->group_count + 2 * UNITS_A_GROUP) * sizeof *units); /* two families make more than one */
    if (units == NULL) return false;
    size_t count = 0;
    for (size_t i = 0; i < scrape->group_count; i++) {
        sort_group(&scrape->groups[i]);
        count += add_units(units + count, &scrape->groups[i]);
    }
    qsort(units, count, sizeof *units, by_name);
    struct page page = {.aggregate = scrape->aggregate, .exemplars = exemplars, .out = out};
    for (size_t i = 0; i < count; i++)
        expose_unit(&page, &units[i]);
    bool whole = !page.labels.failed;
    weir_buffer_free(&page.labels);
    free(units);
    return whole;
}

void weir_aggregate_expose(struct weir_aggregate *aggregate, bool exemplars, struct weir_buffer *out) {
    struct scrape scrape = {.aggregate = aggregate};
    for (uint32_t i = 0; i < aggregate->lanes; i++)
        pthread_mutex_lock(&aggregate->shards[i].scraping);
    if (!write_page(&scrape, exemplars, out)) out->failed = true;
    for (uint32_t i = 0; i < aggregate->lanes; i++)
        pthread_mutex_unlock(&aggregate->shards[i].scraping);
    free(scrape.rows);
    free(scrape.groups);
}
