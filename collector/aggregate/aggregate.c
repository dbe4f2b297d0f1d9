#include "collector/aggregate/exemplars.h"
#include "collector/aggregate/series.h"

#include <math.h>
#include <stdlib.h>

enum {
    SERIES_A_TICK =
        1000, /* 100,000 series are looked at once in 10 s of ticks of 100 ms; a tick takes 0.1 ms or less */
    EDGES_A_TICK = 8192,
};
static const uint64_t set_window_ns = 60 * WEIR_S; /* as long as the longest usual scrape interval */

static const struct weir_metric shard_metrics[WEIR_TABLE_METRICS] = {
    [WEIR_SERIES_EXPIRED] = {"series_expired_total", NULL, WEIR_COUNTER,
                             "Series forgotten because nothing was added to them; one a lane that held it."},
    [WEIR_SERIES_FOLDED] = {"series_overflow_total", NULL, WEIR_COUNTER,
                            "Spans, calls and points added to a series labelled overflow=true."},
    [WEIR_SERIES_UNBOOKED] = {"series_unbooked_total", NULL, WEIR_COUNTER,
                              "Spans and calls that no series could be made for: out of memory."},
    [WEIR_EDGES_WAITING] = {"edges_waiting", NULL, WEIR_GAUGE, "Sides of calls that wait for the other side."},
    [WEIR_EDGES_PAIRED] = {"edges_paired_total", NULL, WEIR_COUNTER, "Calls of which both sides came."},
    [WEIR_EDGES_ALONE_CLIENT] = {"edges_unpaired_total", "side=\"client\"", WEIR_COUNTER,
                                 "Sides of calls whose other side did not come in time."},
    [WEIR_EDGES_ALONE_SERVER] = {"edges_unpaired_total", "side=\"server\"", WEIR_COUNTER,
                                 "Sides of calls whose other side did not come in time."},
    [WEIR_EDGES_EARLY] = {"edges_dropped_total", NULL, WEIR_COUNTER,
                          "Sides of calls given up before their time because edges_max were waiting."},
};
enum { TOTAL_SERIES, TOTAL_METRICS };
static const struct weir_metric total_metrics[TOTAL_METRICS] = {
    [TOTAL_SERIES] = {"series", NULL, WEIR_GAUGE, "Label sets held, of all metrics and lanes, each once."},
};

static void refresh(struct weir_metric_set *set, void *self) {
    weir_gauge(set, TOTAL_SERIES, weir_aggregate_series(self));
}

static bool shard_init(struct weir_aggregate *aggregate, struct weir_shard *shard) {
    shard->aggregate = aggregate;
    shard->registry = &aggregate->registry;
    shard->config = &aggregate->config;
    shard->names = aggregate->names;
    shard->latency_bounds_ns = aggregate->latency_bounds_ns;
    shard->set_window_ns = set_window_ns;
    pthread_mutex_init(&shard->scraping, NULL);
    shard->metrics = weir_metrics_open(aggregate->metrics, shard_metrics, WEIR_TABLE_METRICS, NULL);
    if (aggregate->config.service_graph) shard->waiting = weir_waiting_new();
    return weir_index_init(&shard->points) && weir_index_init(&shard->spans) && weir_index_init(&shard->edges) &&
           shard->metrics != NULL && (shard->waiting != NULL || !aggregate->config.service_graph);
}

static void shard_free(struct weir_shard *shard) {
    for (struct weir_series *series = shard->first, *next; series != NULL; series = next) {
        next = series->next;
        if (series->identity->family->type != WEIR_FAMILY_SPANS &&
            series->identity->family->type != WEIR_FAMILY_EDGES) {
            weir_set_free(((struct weir_point_series *)series)->members);
            free(((struct weir_point_series *)series)->last_buckets);
        }
        free(series);
    }
    free(shard->points.slots);
    free(shard->spans.slots);
    free(shard->edges.slots);
    free(shard->refusals);
    weir_repeats_free(shard->repeats);
    weir_waiting_free(shard->waiting);
    weir_exemplars_free(shard->exemplars);
    weir_metrics_close(shard->aggregate->metrics, shard->metrics);
    pthread_mutex_destroy(&shard->scraping);
}

static bool build_in(struct weir_aggregate *aggregate) {
    static const char *const spans[] = {"traces_spanmetrics_calls_total", "traces_spanmetrics_latency", NULL};
    static const char *const edges[] = {
        "traces_service_graph_request_total", "traces_service_graph_request_failed_total",
        "traces_service_graph_request_server_seconds", "traces_service_graph_request_client_seconds", NULL};
    /* What collector/serve/process.c writes of the process. */
    static const char *const process[] = {"process_cpu_seconds_total",
                                          "process_cpu_seconds",
                                          "process_max_fds",
                                          "process_open_fds",
                                          "process_resident_memory_bytes",
                                          "process_start_time_seconds",
                                          "process_virtual_memory_bytes"};
    const struct weir_aggregate_config *config = &aggregate->config;
    for (size_t i = 0; i < sizeof process / sizeof *process; i++) {
        if (!weir_registry_reserve(&aggregate->registry, process[i])) return false;
    }
    aggregate->spans = weir_registry_build_in(&aggregate->registry, spans, WEIR_FAMILY_SPANS, config->latency_buckets,
                                              config->latency_bucket_count);
    aggregate->edges = weir_registry_build_in(&aggregate->registry, edges, WEIR_FAMILY_EDGES, config->latency_buckets,
                                              config->latency_bucket_count);
    return aggregate->spans != NULL && aggregate->edges != NULL;
}

struct weir_aggregate *weir_aggregate_new(const struct weir_aggregate_config *config, uint32_t lanes,
                                          struct weir_names *names, struct weir_metrics *metrics,
                                          const struct weir_clock *clock) {
    struct weir_aggregate *aggregate = calloc(1, sizeof *aggregate + lanes * sizeof aggregate->shards[0]);
    if (aggregate == NULL) return NULL;
    aggregate->config = *config;
    aggregate->names = names;
    aggregate->metrics = metrics;
    aggregate->clock = clock;
    for (uint32_t i = 0; i < config->latency_bucket_count; i++)
        aggregate->latency_bounds_ns[i] = (uint64_t)llround(config->latency_buckets[i] * 1e9);
    bool made = weir_registry_init(&aggregate->registry, &aggregate->config, names) && build_in(aggregate);
    for (; made && aggregate->lanes < lanes; aggregate->lanes++) {
        if (!shard_init(aggregate, &aggregate->shards[aggregate->lanes])) made = false;
    }
    aggregate->totals = weir_metrics_open(metrics, total_metrics, TOTAL_METRICS, NULL);
    if (!made || aggregate->totals == NULL) {
        weir_aggregate_free(aggregate);
        return NULL;
    }
    weir_metrics_refresh(metrics, aggregate->totals, refresh, aggregate);
    return aggregate;
}

struct weir_shard *weir_aggregate_shard(struct weir_aggregate *aggregate, uint32_t lane) {
    return &aggregate->shards[lane];
}

void weir_shard_tick(struct weir_shard *shard, uint64_t now_ns) {
    weir_shard_expire(shard, SERIES_A_TICK, now_ns);
    weir_shard_edges_expire(shard, EDGES_A_TICK, now_ns);
}

uint32_t weir_aggregate_series(const struct weir_aggregate *aggregate) {
    return atomic_load_explicit(&aggregate->registry.live, memory_order_relaxed);
}

void weir_aggregate_free(struct weir_aggregate *aggregate) {
    if (aggregate == NULL) return;
    weir_metrics_close(aggregate->metrics, aggregate->totals);
    for (uint32_t i = 0; i < aggregate->lanes; i++)
        shard_free(&aggregate->shards[i]);
    weir_registry_free(&aggregate->registry);
    free(aggregate);
}
