#include "collector/core/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const char *const weir_receiver_names[WEIR_RECEIVERS] = {
    [WEIR_RECEIVER_GRPC] = "grpc",         [WEIR_RECEIVER_OTLP_HTTP] = "otlp_http",
    [WEIR_RECEIVER_ZIPKIN] = "zipkin",     [WEIR_RECEIVER_SCRIBE] = "scribe",
    [WEIR_RECEIVER_DATAGRAM] = "datagram", [WEIR_RECEIVER_ACCESS_LOG] = "access_log",
    [WEIR_RECEIVER_STATSD] = "statsd",
};
const char *const weir_refusal_names[WEIR_REFUSALS] = {"invalid", "memory", "closing"};
const char *const weir_stage_names[WEIR_STAGES] = {"overload", "collector", "tail"};
const char *const weir_drop_names[WEIR_DROPS] = {"memory", "no_exporter", "merged"};
const char *const weir_queue_drop_names[WEIR_QUEUE_DROPS] = {"full", "expired", "rejected", "shutdown", "damaged"};
const char *const weir_point_refusal_names[WEIR_POINT_REFUSALS] = {"malformed", "unsupported", "conflict", "stale",
                                                                   "full"};

enum { WORDS = sizeof(struct weir_lane_row) / sizeof(uint64_t), EXPORTERS_MAX = 32 };

struct published {
    _Alignas(64) _Atomic uint32_t version; /* odd while the lane writes */
    _Atomic uint64_t words[WORDS];
};

struct exporter {
    const char *name;
    void (*read)(void *self, struct weir_queue_row *row);
    void *self;
};

struct weir_ledger {
    uint32_t lanes;
    pthread_mutex_t lock; /* of exporters */
    struct exporter exporters[EXPORTERS_MAX];
    uint32_t exporter_count;
    struct published rows[];
};

#ifdef WEIR_MUTANTS
bool weir_mutated(const char *counter) {
    const char *mutant = getenv("WEIR_MUTANT");
    return mutant != NULL && strcmp(mutant, counter) == 0;
}
#endif

struct weir_ledger *weir_ledger_new(uint32_t lanes) {
    size_t size = sizeof(struct weir_ledger) + lanes * sizeof(struct published);
    struct weir_ledger *ledger = aligned_alloc(64, (size + 63) / 64 * 64);
    if (ledger == NULL) return NULL;
    memset(ledger, 0, size);
    ledger->lanes = lanes;
    pthread_mutex_init(&ledger->lock, NULL);
    return ledger;
}

void weir_ledger_publish(struct weir_ledger *ledger, uint32_t lane, const struct weir_lane_row *row) {
    struct published *to = &ledger->rows[lane];
    uint64_t words[WORDS];
    memcpy(words, row, sizeof words);
    uint32_t version = atomic_load_explicit(&to->version, memory_order_relaxed);
    atomic_store_explicit(&to->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < WORDS; i++)
        atomic_store_explicit(&to->words[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&to->version, version + 2, memory_order_release);
}

void weir_ledger_read(const struct weir_ledger *ledger, uint32_t lane, struct weir_lane_row *row) {
    const struct published *from = &ledger->rows[lane];
    uint64_t words[WORDS];
    uint32_t before, after;
    do {
        before = atomic_load_explicit(&from->version, memory_order_acquire);
        for (int i = 0; i < WORDS; i++)
            words[i] = atomic_load_explicit(&from->words[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&from->version, memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    memcpy(row, words, sizeof words);
}

void weir_ledger_add_exporter(struct weir_ledger *ledger, const char *name,
                              void (*read)(void *self, struct weir_queue_row *row), void *self) {
    pthread_mutex_lock(&ledger->lock);
    if (ledger->exporter_count < EXPORTERS_MAX)
        ledger->exporters[ledger->exporter_count++] = (struct exporter){name, read, self};
    pthread_mutex_unlock(&ledger->lock);
}

void weir_ledger_remove_exporter(struct weir_ledger *ledger, const char *name) {
    pthread_mutex_lock(&ledger->lock);
    for (uint32_t i = 0; i < ledger->exporter_count; i++) {
        if (strcmp(ledger->exporters[i].name, name) != 0) continue;
        ledger->exporters[i] = ledger->exporters[--ledger->exporter_count];
        break;
    }
    pthread_mutex_unlock(&ledger->lock);
}

/* Everything that a page shows, read once: exporters first, lanes last, so that a span on its way is seen upstream
 * twice rather than nowhere; at rest there is no difference. */
struct view {
    struct weir_lane_row total;
    struct weir_queue_row queues[EXPORTERS_MAX];
    int64_t held_handover, held_join, held_tail, held_batch;
};

static void read_view(struct weir_ledger *ledger, struct view *view) {
    memset(view, 0, sizeof *view);
    for (uint32_t e = 0; e < ledger->exporter_count; e++)
        ledger->exporters[e].read(ledger->exporters[e].self, &view->queues[e]);
    uint64_t sum[WORDS] = {0};
    for (uint32_t lane = 0; lane < ledger->lanes; lane++) {
        struct weir_lane_row row;
        uint64_t words[WORDS];
        weir_ledger_read(ledger, lane, &row);
        memcpy(words, &row, sizeof words);
        for (int i = 0; i < WORDS; i++)
            sum[i] += words[i];
    }
    memcpy(&view->total, sum, sizeof view->total);
    view->held_handover = (int64_t)(view->total.handed_over - view->total.taken_over);
    view->held_join = (int64_t)(view->total.joined - view->total.released);
    view->held_tail = (int64_t)(view->total.tailed - view->total.decided);
    view->held_batch = (int64_t)(view->total.batched - view->total.fanned_out);
}

static uint64_t sum_of(const uint64_t *values, int count) {
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

/* received and recovered - everything that is accounted for; `queue` may be NULL: no exporter. */
static int64_t imbalance(const struct view *view, const struct weir_queue_row *queue) {
    const struct weir_lane_row *t = &view->total;
    int64_t missing = (int64_t)(sum_of(t->received, WEIR_RECEIVERS) + t->recovered -
                                sum_of(t->sampled_out, WEIR_STAGES) - sum_of(t->dropped, WEIR_DROPS));
    missing -= view->held_handover + view->held_join + view->held_tail + view->held_batch;
    if (queue != NULL) {
        missing += (int64_t)queue->recovered;
        missing -= (int64_t)(queue->spooled + queue->queued + queue->in_flight + queue->delivered +
                             sum_of(queue->dropped, WEIR_QUEUE_DROPS));
    }
    return missing;
}

static void family(struct weir_buffer *out, const char *name, const char *type, const char *help) {
    weir_buffer_printf(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

static void expose_points(const struct view *view, struct weir_buffer *out) {
    const struct weir_lane_row *t = &view->total;
    family(out, "points_received_total", "counter", "Metric samples that were understood, by receiver.");
    for (int r = 0; r < WEIR_RECEIVERS; r++) {
        weir_buffer_printf(out, "weir_points_received_total{receiver=\"%s\"} %llu\n", weir_receiver_names[r],
                           (unsigned long long)t->points_received[r]);
    }
    family(out, "points_rejected_total", "counter", "Metric samples that became no series, by receiver and reason.");
    for (int r = 0; r < WEIR_RECEIVERS; r++) {
        for (int i = 0; i < WEIR_POINT_REFUSALS; i++) {
            weir_buffer_printf(out, "weir_points_rejected_total{receiver=\"%s\",reason=\"%s\"} %llu\n",
                               weir_receiver_names[r], weir_point_refusal_names[i],
                               (unsigned long long)t->points_rejected[r][i]);
        }
    }
    family(out, "points_held", "gauge", "Metric samples on their way to the lane that owns their series.");
    weir_buffer_printf(out, "weir_points_held %lld\n", (long long)(t->points_handed_over - t->points_taken_over));
}

static void expose_intake(const struct weir_ledger *ledger, const struct view *view, struct weir_buffer *out) {
    const struct weir_lane_row *t = &view->total;
    family(out, "spans_received_total", "counter", "Spans accepted, by receiver.");
    for (int r = 0; r < WEIR_RECEIVERS; r++) {
        if (r == WEIR_RECEIVER_STATSD) continue; /* carries no spans */
        weir_buffer_printf(out, "weir_spans_received_total{receiver=\"%s\"} %llu\n", weir_receiver_names[r],
                           (unsigned long long)t->received[r]);
    }
    family(out, "spans_refused_total", "counter",
           "Spans that were not accepted and whose sender was told so, by receiver and reason.");
    for (int r = 0; r < WEIR_RECEIVERS; r++) {
        for (int i = 0; i < WEIR_REFUSALS && r != WEIR_RECEIVER_STATSD; i++) {
            weir_buffer_printf(out, "weir_spans_refused_total{receiver=\"%s\",reason=\"%s\"} %llu\n",
                               weir_receiver_names[r], weir_refusal_names[i], (unsigned long long)t->refused[r][i]);
        }
    }
    family(out, "spans_recovered_total", "counter",
           "Spans that a restart found on disk: undecided or on their way, or, by exporter, in its spool.");
    weir_buffer_printf(out, "weir_spans_recovered_total{exporter=\"\"} %llu\n", (unsigned long long)t->recovered);
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        weir_buffer_printf(out, "weir_spans_recovered_total{exporter=\"%s\"} %llu\n", ledger->exporters[e].name,
                           (unsigned long long)view->queues[e].recovered);
    }
    family(out, "spans_sampled_out_total", "counter",
           "Spans that sampling left out, by stage; exporter=\"\" is common to all.");
    for (int i = 0; i < WEIR_STAGES; i++) {
        weir_buffer_printf(out, "weir_spans_sampled_out_total{exporter=\"\",stage=\"%s\"} %llu\n", weir_stage_names[i],
                           (unsigned long long)t->sampled_out[i]);
    }
}

void weir_ledger_expose(struct weir_ledger *ledger, struct weir_buffer *out) {
    static const char *const drop_where[WEIR_DROPS] = {"batch", "export", "join"};
    struct view view;
    pthread_mutex_lock(&ledger->lock);
    read_view(ledger, &view);
    expose_points(&view, out);
    expose_intake(ledger, &view, out);

    family(out, "spans_dropped_total", "counter",
           "Accepted spans that were lost, by where and why; exporter=\"\" is common to all.");
    for (int i = 0; i < WEIR_DROPS; i++) {
        weir_buffer_printf(out, "weir_spans_dropped_total{exporter=\"\",where=\"%s\",reason=\"%s\"} %llu\n",
                           drop_where[i], weir_drop_names[i], (unsigned long long)view.total.dropped[i]);
    }
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        for (int i = 0; i < WEIR_QUEUE_DROPS; i++) {
            weir_buffer_printf(out, "weir_spans_dropped_total{exporter=\"%s\",where=\"queue\",reason=\"%s\"} %llu\n",
                               ledger->exporters[e].name, weir_queue_drop_names[i],
                               (unsigned long long)view.queues[e].dropped[i]);
        }
    }
    family(out, "spans_held", "gauge", "Spans that are in Weir now, by where; exporter=\"\" is common to all.");
    weir_buffer_printf(out, "weir_spans_held{exporter=\"\",where=\"handover\"} %lld\n", (long long)view.held_handover);
    weir_buffer_printf(out, "weir_spans_held{exporter=\"\",where=\"join\"} %lld\n", (long long)view.held_join);
    weir_buffer_printf(out, "weir_spans_held{exporter=\"\",where=\"tail\"} %lld\n", (long long)view.held_tail);
    weir_buffer_printf(out, "weir_spans_held{exporter=\"\",where=\"batch\"} %lld\n", (long long)view.held_batch);
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        weir_buffer_printf(out, "weir_spans_held{exporter=\"%s\",where=\"spool\"} %llu\n", ledger->exporters[e].name,
                           (unsigned long long)view.queues[e].spooled);
        weir_buffer_printf(out, "weir_spans_held{exporter=\"%s\",where=\"queue\"} %llu\n", ledger->exporters[e].name,
                           (unsigned long long)view.queues[e].queued);
        weir_buffer_printf(out, "weir_spans_held{exporter=\"%s\",where=\"exporter\"} %llu\n", ledger->exporters[e].name,
                           (unsigned long long)view.queues[e].in_flight);
    }
    family(out, "spans_delivered_total", "counter", "Spans that the back end has confirmed.");
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        weir_buffer_printf(out, "weir_spans_delivered_total{exporter=\"%s\"} %llu\n", ledger->exporters[e].name,
                           (unsigned long long)view.queues[e].delivered);
    }
    family(out, "ledger_imbalance_spans", "gauge",
           "Received and recovered spans less those accounted for; 0 when nothing is moving.");
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        weir_buffer_printf(out, "weir_ledger_imbalance_spans{exporter=\"%s\"} %lld\n", ledger->exporters[e].name,
                           (long long)imbalance(&view, &view.queues[e]));
    }
    if (ledger->exporter_count == 0)
        weir_buffer_printf(out, "weir_ledger_imbalance_spans{exporter=\"\"} %lld\n", (long long)imbalance(&view, NULL));
    pthread_mutex_unlock(&ledger->lock);
}

void weir_ledger_summary(struct weir_ledger *ledger, struct weir_buffer *out) {
    struct view view;
    pthread_mutex_lock(&ledger->lock);
    read_view(ledger, &view);
    weir_buffer_printf(out, "received=%llu recovered=%llu sampled_out=%llu dropped=%llu held=%lld",
                       (unsigned long long)sum_of(view.total.received, WEIR_RECEIVERS),
                       (unsigned long long)view.total.recovered,
                       (unsigned long long)sum_of(view.total.sampled_out, WEIR_STAGES),
                       (unsigned long long)sum_of(view.total.dropped, WEIR_DROPS),
                       (long long)(view.held_handover + view.held_join + view.held_tail + view.held_batch));
    for (uint32_t e = 0; e < ledger->exporter_count; e++) {
        const struct weir_queue_row *queue = &view.queues[e];
        const char *name = ledger->exporters[e].name;
        weir_buffer_printf(out, " delivered{%s}=%llu dropped{%s}=%llu held{%s}=%llu imbalance{%s}=%lld", name,
                           (unsigned long long)queue->delivered, name,
                           (unsigned long long)sum_of(queue->dropped, WEIR_QUEUE_DROPS), name,
                           (unsigned long long)(queue->spooled + queue->queued + queue->in_flight), name,
                           (long long)imbalance(&view, queue));
        if (queue->recovered > 0)
            weir_buffer_printf(out, " recovered{%s}=%llu", name, (unsigned long long)queue->recovered);
    }
    pthread_mutex_unlock(&ledger->lock);
}

void weir_ledger_free(struct weir_ledger *ledger) {
    if (ledger == NULL) return;
    pthread_mutex_destroy(&ledger->lock);
    free(ledger);
}
