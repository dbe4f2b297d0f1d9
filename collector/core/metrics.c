#include "collector/core/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weir_metrics {
    pthread_mutex_t lock;
    struct weir_metric_set *first;
};

struct weir_metrics *weir_metrics_new(void) {
    struct weir_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics != NULL) pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

struct weir_metric_set *weir_metrics_open(struct weir_metrics *metrics, const struct weir_metric *table, uint32_t count,
                                          const char *labels) {
    struct weir_metric_set *set = calloc(1, sizeof *set + count * sizeof set->cells[0]);
    if (set == NULL) return NULL;
    set->table = table;
    set->count = count;
    if (labels != NULL) snprintf(set->labels, sizeof set->labels, "%s", labels);
    pthread_mutex_lock(&metrics->lock);
    set->next = metrics->first;
    metrics->first = set;
    pthread_mutex_unlock(&metrics->lock);
    return set;
}

void weir_metrics_refresh(struct weir_metrics *metrics, struct weir_metric_set *set,
                          void (*refresh)(struct weir_metric_set *, void *), void *self) {
    pthread_mutex_lock(&metrics->lock);
    set->refresh = refresh;
    set->self = self;
    pthread_mutex_unlock(&metrics->lock);
}

void weir_metrics_close(struct weir_metrics *metrics, struct weir_metric_set *set) {
    if (set == NULL) return;
    pthread_mutex_lock(&metrics->lock);
    for (struct weir_metric_set **at = &metrics->first; *at != NULL; at = &(*at)->next) {
        if (*at == set) {
            *at = set->next;
            break;
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    free(set);
}

struct row {
    const struct weir_metric *metric;
    const char *set_labels;
    uint64_t value;
};

static const char *text_of(const char *text) {
    return text == NULL ? "" : text;
}

static int by_name_and_labels(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    int order = strcmp(x->metric->name, y->metric->name);
    if (order == 0) order = strcmp(x->set_labels, y->set_labels);
    if (order == 0) order = strcmp(text_of(x->metric->labels), text_of(y->metric->labels));
    return order;
}

static void expose_value(struct weir_buffer *out, enum weir_metric_kind kind, uint64_t value) {
    if (kind == WEIR_COUNTER_NS || kind == WEIR_GAUGE_NS) {
        weir_buffer_double(out, (double)value / 1e9);
    } else if (kind == WEIR_RATIO_MAX) {
        double ratio;
        memcpy(&ratio, &value, sizeof ratio);
        weir_buffer_double(out, ratio);
    } else {
        weir_buffer_u64(out, value);
    }
}

static void expose_rows(const struct row *rows, size_t count, struct weir_buffer *out) {
    for (size_t i = 0; i < count;) {
        const struct row *row = &rows[i];
        enum weir_metric_kind kind = row->metric->kind;
        if (i == 0 || strcmp(rows[i - 1].metric->name, row->metric->name) != 0) {
            weir_buffer_printf(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", row->metric->name, row->metric->help,
                               row->metric->name,
                               kind == WEIR_COUNTER || kind == WEIR_COUNTER_NS ? "counter" : "gauge");
        }
        uint64_t value = row->value;
        for (i++; i < count && by_name_and_labels(row, &rows[i]) == 0; i++) {
            if (kind == WEIR_GAUGE_MAX || kind == WEIR_RATIO_MAX) {
                value = rows[i].value > value ? rows[i].value : value;
            } else {
                value += rows[i].value;
            }
        }
        const char *own = text_of(row->metric->labels);
        weir_buffer_printf(out, "weir_%s", row->metric->name);
        if (row->set_labels[0] != 0 || own[0] != 0) {
            weir_buffer_printf(out, "{%s%s%s}", row->set_labels, row->set_labels[0] != 0 && own[0] != 0 ? "," : "",
                               own);
        }
        weir_buffer_byte(out, ' ');
        expose_value(out, kind, value);
        weir_buffer_byte(out, '\n');
    }
}

void weir_metrics_expose(struct weir_metrics *metrics, struct weir_buffer *out) {
    pthread_mutex_lock(&metrics->lock);
    size_t count = 0;
    for (struct weir_metric_set *set = metrics->first; set != NULL; set = set->next) {
        if (set->refresh != NULL) set->refresh(set, set->self);
        count += set->count;
    }
    struct row *rows = count == 0 ? NULL : malloc(count * sizeof *rows);
    if (rows == NULL) {
        out->failed = out->failed || count > 0;
        pthread_mutex_unlock(&metrics->lock);
        return;
    }
    size_t n = 0;
    for (struct weir_metric_set *set = metrics->first; set != NULL; set = set->next) {
        for (uint32_t i = 0; i < set->count; i++) {
            rows[n++] =
                (struct row){&set->table[i], set->labels, atomic_load_explicit(&set->cells[i], memory_order_relaxed)};
        }
    }
    qsort(rows, n, sizeof *rows, by_name_and_labels);
    expose_rows(rows, n, out);
    free(rows);
    pthread_mutex_unlock(&metrics->lock);
}

void weir_metrics_free(struct weir_metrics *metrics) {
    if (metrics == NULL) return;
    while (metrics->first != NULL)
        weir_metrics_close(metrics, metrics->first);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}
