#include "collector/cli/top/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums ---- */

static const struct sum {
    const char *name, *label, *value; /* label NULL: all samples of the family */
    enum weir_top_value to;
} sums[] = {
    {"weir_spans_received_total", NULL, NULL, WEIR_TOP_RECEIVED},
    {"weir_spans_refused_total", NULL, NULL, WEIR_TOP_REFUSED},
    {"weir_spans_refused_total", "reason", "memory", WEIR_TOP_REFUSED_MEMORY},
    {"weir_spans_refused_total", "reason", "invalid", WEIR_TOP_REFUSED_INVALID},
    {"weir_spans_dropped_total", NULL, NULL, WEIR_TOP_DROPPED},
    {"weir_spans_dropped_total", "reason", "merged", WEIR_TOP_MERGED},
    {"weir_spans_sampled_out_total", NULL, NULL, WEIR_TOP_SAMPLED_OUT},
    {"weir_spans_sampled_out_total", "stage", "overload", WEIR_TOP_OVERLOAD},
    {"weir_spans_held", NULL, NULL, WEIR_TOP_HELD},
    {"weir_ledger_imbalance_spans", NULL, NULL, WEIR_TOP_IMBALANCE},
    {"weir_datagrams_lost_total", NULL, NULL, WEIR_TOP_DATAGRAMS_LOST},
    {"weir_points_rejected_total", NULL, NULL, WEIR_TOP_POINTS_REJECTED},
    {"weir_series_overflow_total", NULL, NULL, WEIR_TOP_SERIES_OVERFLOW},
    {"weir_intake_bytes", NULL, NULL, WEIR_TOP_INTAKE},
    {"weir_intake_limit_bytes", NULL, NULL, WEIR_TOP_INTAKE_LIMIT},
    {"weir_tail_memory_bytes", NULL, NULL, WEIR_TOP_TAIL},
    {"weir_tail_memory_limit_bytes", NULL, NULL, WEIR_TOP_TAIL_LIMIT},
    {"weir_exporter_queue_bytes", NULL, NULL, WEIR_TOP_QUEUE},
    {"weir_exporter_queue_limit_bytes", NULL, NULL, WEIR_TOP_QUEUE_LIMIT},
    {"weir_spool_bytes", NULL, NULL, WEIR_TOP_SPOOL},
    {"weir_spool_limit_bytes", NULL, NULL, WEIR_TOP_SPOOL_LIMIT},
    {"process_cpu_seconds_total", NULL, NULL, WEIR_TOP_CPU},
    {"process_resident_memory_bytes", NULL, NULL, WEIR_TOP_RESIDENT},
    {"process_start_time_seconds", NULL, NULL, WEIR_TOP_START},
    {"weir_config_last_reload_successful", NULL, NULL, WEIR_TOP_RELOADED},
    {"weir_tail_traces_decided_total", NULL, NULL, WEIR_TOP_DECIDED},
    {"weir_tail_traces_decided_total", "cause", "memory", WEIR_TOP_DECIDED_MEMORY},
    {"weir_tail_traces_without_root_total", NULL, NULL, WEIR_TOP_ROOTLESS},
};

static void take_sum(struct weir_top_page *page, const struct weir_exposition_sample *sample) {
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        const struct sum *sum = &sums[i];
        if (!weir_exposition_is(sample->name, sum->name)) continue;
        if (sum->label != NULL && !weir_exposition_is(weir_exposition_label(sample, sum->label), sum->value)) continue;
        page->seen[sum->to] = true;
        page->values[sum->to] += sum->to == WEIR_TOP_IMBALANCE ? fabs(sample->value) : sample->value;
    }
}

/* ---- exporters ---- */

static uint32_t name_of(struct weir_top_page *page, struct weir_exposition_text text) {
    return weir_names_intern(page->names, text.bytes, text.size);
}

/* NULL: there is no room, or it is what is common to all (exporter=""). */
static struct weir_top_exporter *exporter_of(struct weir_top_page *page, struct weir_exposition_text name) {
    if (name.size == 0) return NULL;
    uint32_t id = name_of(page, name);
    for (uint32_t i = 0; i < page->exporter_count; i++) {
        if (page->exporters[i].name == id) return &page->exporters[i];
    }
    if (page->exporter_count == WEIR_TOP_EXPORTERS) {
        page->beyond++;
        return NULL;
    }
    struct weir_top_exporter *exporter = &page->exporters[page->exporter_count++];
    *exporter = (struct weir_top_exporter){.name = id};
    return exporter;
}

static void take_exporter(struct weir_top_page *page, const struct weir_exposition_sample *sample) {
    static const struct {
        const char *name;
        size_t place;
    } members[] = {
        {"weir_spans_delivered_total", offsetof(struct weir_top_exporter, delivered)},
        {"weir_spans_dropped_total", offsetof(struct weir_top_exporter, dropped)},
        {"weir_exporter_paused", offsetof(struct weir_top_exporter, paused)},
        {"weir_exporter_oldest_age_seconds", offsetof(struct weir_top_exporter, oldest_seconds)},
        {"weir_exporter_queue_bytes", offsetof(struct weir_top_exporter, queue)},
        {"weir_spool_bytes", offsetof(struct weir_top_exporter, spool)},
        {"weir_spool_limit_bytes", offsetof(struct weir_top_exporter, spool_limit)},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!weir_exposition_is(sample->name, members[i].name)) continue;
        struct weir_top_exporter *exporter = exporter_of(page, weir_exposition_label(sample, "exporter"));
        if (exporter != NULL) *(double *)(void *)((char *)exporter + members[i].place) += sample->value;
    }
}

/* ---- tables ---- */

static uint32_t slot_of(const struct weir_top_table *table, uint32_t first, uint32_t second) {
    uint64_t key = (uint64_t)first << 32 | second;
    uint32_t slot = (uint32_t)((key ^ key >> 29) * 0x9e3779b97f4a7c15ull >> 32) & (table->index_size - 1);
    for (; table->index[slot] != 0; slot = (slot + 1) & (table->index_size - 1)) {
        const struct weir_top_count *count = &table->counts[table->index[slot] - 1];
        if (count->first == first && count->second == second) break;
    }
    return slot;
}

const struct weir_top_count *weir_top_find(const struct weir_top_table *table, uint32_t first, uint32_t second) {
    if (table->count == 0) return NULL;
    uint32_t place = table->index[slot_of(table, first, second)];
    return place == 0 ? NULL : &table->counts[place - 1];
}

static bool grow(struct weir_top_table *table) {
    uint32_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
    struct weir_top_count *counts = realloc(table->counts, capacity * sizeof *counts);
    if (counts == NULL) return false;
    table->counts = counts;
    uint32_t *index = calloc(2u * capacity, sizeof *index);
    if (index == NULL) return false;
    free(table->index);
    table->index = index;
    table->index_size = 2 * capacity;
    table->capacity = capacity;
    for (uint32_t i = 0; i < table->count; i++)
        index[slot_of(table, counts[i].first, counts[i].second)] = i + 1;
    return true;
}

static struct weir_top_count *count_of(struct weir_top_page *page, struct weir_top_table *table, uint32_t first,
                                       uint32_t second) {
    if (table->count == table->capacity && table->count < WEIR_TOP_ROWS && !grow(table)) page->no_memory = true;
    if (page->no_memory) return NULL;
    uint32_t slot = slot_of(table, first, second);
    if (table->index[slot] != 0) return &table->counts[table->index[slot] - 1];
    if (table->count == WEIR_TOP_ROWS) {
        page->beyond++;
        return NULL;
    }
    struct weir_top_count *count = &table->counts[table->count++];
    *count = (struct weir_top_count){.first = first, .second = second};
    table->index[slot] = table->count;
    return count;
}

static bool read_bound(struct weir_exposition_text le, double *bound) {
    uint8_t line[64] = "x ";
    struct weir_exposition_sample sample; /* a number is read as a sample's is, "+Inf" too */
    if (le.size == 0 || le.size > sizeof line - 2) return false;
    memcpy(line + 2, le.bytes, le.size);
    if (!weir_exposition_line(line, 2 + le.size, &sample)) return false;
    *bound = sample.value;
    return !isnan(*bound);
}

/* The place of a bucket; new bounds have to rise, which those of a page do that is made by one aggregate. */
static bool bucket_of(struct weir_top_page *page, const struct weir_exposition_sample *sample, uint32_t *place) {
    double bound;
    if (!read_bound(weir_exposition_label(sample, "le"), &bound)) return false;
    for (*place = 0; *place < page->bound_count; ++*place) {
        if (page->bounds[*place] == bound) return true;
    }
    if (page->bound_count == WEIR_TOP_BOUNDS) return false;
    if (page->bound_count > 0 && bound < page->bounds[page->bound_count - 1]) return false;
    page->bounds[page->bound_count++] = bound;
    return true;
}

enum { CALLS = 1, FAILED, VARIANCE, BUCKET, SERVICE_VARIANCE };

static void add(struct weir_top_page *page, struct weir_top_count *count, int what,
                const struct weir_exposition_sample *sample) {
    uint32_t bucket;
    if (what == CALLS) {
        count->calls += sample->value;
    } else if (what == FAILED) {
        count->failed += sample->value;
    } else if (what == VARIANCE) {
        count->variance += sample->value;
    } else if (what == SERVICE_VARIANCE) {
        count->service_variance += sample->value;
    } else if (bucket_of(page, sample, &bucket)) {
        count->buckets[bucket] += sample->value;
    } else {
        page->beyond++;
    }
}

static int family(struct weir_exposition_text name, const char *const *names) {
    for (int i = 0; names[i] != NULL; i++) {
        if (weir_exposition_is(name, names[i])) return i + 1;
    }
    return 0;
}

static bool take_spans(struct weir_top_page *page, const struct weir_exposition_sample *sample) {
    static const char *const names[] = {"traces_spanmetrics_calls_total",          "",
                                        "weir_spanmetrics_calls_variance_total",   "traces_spanmetrics_latency_bucket",
                                        "weir_spanmetrics_service_variance_total", NULL};
    int what = family(sample->name, names);
    if (what == 0) return false;
    struct weir_exposition_text kind = weir_exposition_label(sample, "span_kind");
    bool request = weir_exposition_is(kind, "SPAN_KIND_SERVER") || weir_exposition_is(kind, "SPAN_KIND_CONSUMER");
    if (what != CALLS && !request) return true;
    struct weir_top_count *count = count_of(page, &page->spans, name_of(page, weir_exposition_label(sample, "service")),
                                            name_of(page, weir_exposition_label(sample, "span_name")));
    if (count == NULL) return true;
    if (what == CALLS) count->spans += sample->value;
    if (!request) return true;
    add(page, count, what, sample);
    if (what == CALLS && weir_exposition_is(weir_exposition_label(sample, "status_code"), "STATUS_CODE_ERROR"))
        count->failed += sample->value;
    return true;
}

/* The client's time: a call that only one side told is its client's. */
static bool take_calls(struct weir_top_page *page, const struct weir_exposition_sample *sample) {
    static const char *const names[] = {
        "traces_service_graph_request_total", "traces_service_graph_request_failed_total",
        "weir_service_graph_request_variance_total", "traces_service_graph_request_client_seconds_bucket", NULL};
    int what = family(sample->name, names);
    if (what == 0) return false;
    struct weir_top_count *count = count_of(page, &page->calls, name_of(page, weir_exposition_label(sample, "client")),
                                            name_of(page, weir_exposition_label(sample, "server")));
    if (count != NULL) add(page, count, what, sample);
    return true;
}

void weir_top_page_take(void *self, const struct weir_exposition_sample *sample) {
    struct weir_top_page *page = self;
    if (!isfinite(sample->value)) return; /* says nothing, and would stay in a sum */
    if (take_spans(page, sample) || take_calls(page, sample)) return;
    take_sum(page, sample);
    take_exporter(page, sample);
    if (weir_exposition_is(sample->name, "weir_build_info")) {
        struct weir_exposition_text version = weir_exposition_label(sample, "version");
        size_t size = version.size < sizeof page->version ? version.size : sizeof page->version - 1;
        memcpy(page->version, version.bytes, size);
        page->version[size] = 0;
    }
}

void weir_top_page_clear(struct weir_top_page *page) {
    free(page->spans.counts);
    free(page->spans.index);
    free(page->calls.counts);
    free(page->calls.index);
    *page = (struct weir_top_page){.names = page->names};
}
