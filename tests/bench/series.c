/* series.c - what the series table costs: nanoseconds a span and a point on one thread, milliseconds a scrape.
 *   series_bench [--spans N]          one line of JSON on stdout, medians of 5 runs
 * 40 services of 25 operations each; traces of 8 spans, in which 3 calls have both sides, client first, and 2 spans are
 * INTERNAL. */
#include "collector/aggregate/aggregate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SERVICES = 40, OPERATIONS = 25, TRACE_SPANS = 8, HELD_SPANS = 1 << 15, RUNS = 5, POINTS = 1000, KEY_MAX = 96 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * WEIR_S + (uint64_t)now.tv_nsec;
}

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *runs) {
    qsort(runs, RUNS, sizeof *runs, by_value);
    return runs[RUNS / 2];
}

struct stand {
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_aggregate *aggregate;
};

static struct stand stand_up(bool edges, uint32_t per_metric_max) {
    struct weir_aggregate_config config = {
        .series_max = 100000,
        .series_per_metric_max = per_metric_max,
        .label_value_bytes_max = 128,
        .idle_expiry_ns = 3600 * WEIR_S,
        .latency_buckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10},
        .latency_bucket_count = 14,
        .service_graph = edges,
        .edge_wait_ns = 10 * WEIR_S,
        .edges_max = 65536};
    struct stand stand = {.names = weir_names_new(65536, 16 << 20), .metrics = weir_metrics_new()};
    stand.aggregate = weir_aggregate_new(&config, 1, stand.names, stand.metrics, &weir_clock_system);
    if (stand.aggregate == NULL) exit(1);
    return stand;
}
static void stand_down(struct stand *stand) {
    weir_aggregate_free(stand->aggregate);
    weir_metrics_free(stand->metrics);
    weir_names_free(stand->names);
}

static void make_spans(struct stand *stand, struct weir_span *spans) {
    uint32_t services[SERVICES], operations[SERVICES][OPERATIONS];
    char text[64];
    for (int s = 0; s < SERVICES; s++) {
        services[s] = weir_names_intern(stand->names, text, (size_t)snprintf(text, sizeof text, "service-%d", s));
        for (int o = 0; o < OPERATIONS; o++) {
            operations[s][o] = weir_names_intern(
                stand->names, text, (size_t)snprintf(text, sizeof text, "GET /service-%d/operation-%d", s, o));
        }
    }
    uint64_t state = 88172645463325252ull;
    for (uint32_t i = 0; i < HELD_SPANS; i++) {
        uint32_t place = i % TRACE_SPANS;
        uint32_t s = (uint32_t)(random_next(&state) % SERVICES);
        struct weir_span *span = &spans[i];
        *span = (struct weir_span){.trace_lo = i / TRACE_SPANS,
                                   .span_id = i + 1,
                                   .duration_ns = random_next(&state) % (200 * WEIR_MS),
                                   .prior = 1,
                                   .service = services[s],
                                   .operation = operations[s][random_next(&state) % OPERATIONS]};
        span->status = random_next(&state) % 50 == 0 ? WEIR_STATUS_ERROR : WEIR_STATUS_UNSET;
        if (place >= 6) {
            span->kind = WEIR_KIND_INTERNAL;
        } else if (place % 2 == 0) {
            span->kind = WEIR_KIND_CLIENT;
            span->service = services[s = place * 7]; /* edges do not join everything with everything */
        } else {
            span->kind = WEIR_KIND_SERVER;
            span->parent_id = span[-1].span_id;
        }
    }
}

static double time_spans(struct stand *stand, struct weir_span *spans, uint64_t count) {
    struct weir_shard *shard = weir_aggregate_shard(stand->aggregate, 0);
    double runs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        uint64_t begin = now_ns(), done = 0;
        while (done < count) {
            for (uint32_t i = 0; i < HELD_SPANS; i++) {
                spans[i].trace_lo += HELD_SPANS;
                weir_shard_span(shard, &spans[i], begin);
            }
            done += HELD_SPANS;
            weir_shard_tick(shard, begin);
        }
        runs[run] = (double)(now_ns() - begin) / (double)done;
    }
    return median(runs);
}

static double time_points(struct stand *stand, enum weir_point_kind kind, uint64_t count) {
    struct weir_shard *shard = weir_aggregate_shard(stand->aggregate, 0);
    static char keys[POINTS][KEY_MAX];
    struct weir_point points[POINTS];
    for (int i = 0; i < POINTS; i++) {
        int size = snprintf(keys[i], KEY_MAX, "bench_kind%d_metric%d%cinstance%chost-%d%czone%ceu-1", (int)kind, i % 20,
                            0x1f, 0x1f, i, 0x1f, 0x1f);
        points[i] = (struct weir_point){.kind = (uint8_t)kind,
                                        .key = (const uint8_t *)keys[i],
                                        .key_size = (uint32_t)size,
                                        .value = 0.02,
                                        .weight = 1,
                                        .hash = weir_names_hash(stand->names, keys[i], (size_t)size)};
    }
    double runs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        uint64_t begin = now_ns(), done = 0;
        for (; done < count; done += POINTS) {
            for (int i = 0; i < POINTS; i++)
                weir_shard_point(shard, &points[i], begin);
        }
        runs[run] = (double)(now_ns() - begin) / (double)done;
    }
    return median(runs);
}

static double time_scrape(struct stand *stand, size_t *lines, size_t *bytes) {
    double runs[RUNS];
    struct weir_buffer out = {0};
    for (int run = 0; run < RUNS; run++) {
        weir_buffer_clear(&out);
        uint64_t begin = now_ns();
        weir_aggregate_expose(stand->aggregate, false, &out);
        runs[run] = (double)(now_ns() - begin) / 1e6;
    }
    *lines = 0;
    *bytes = out.size;
    for (size_t i = 0; i < out.size; i++)
        *lines += out.bytes[i] == '\n';
    weir_buffer_free(&out);
    return median(runs);
}

int main(int argc, char **argv) {
    uint64_t count = 4000000;
    if (argc == 3 && strcmp(argv[1], "--spans") == 0) count = strtoull(argv[2], NULL, 10);
    struct weir_span *spans = malloc(HELD_SPANS * sizeof *spans);
    if (spans == NULL || count == 0) return 1;
    struct stand stand = stand_up(false, 10000);
    make_spans(&stand, spans);
    printf("{\"span_ns\": %.1f", time_spans(&stand, spans, count));
    stand_down(&stand);

    stand = stand_up(true, 10000);
    make_spans(&stand, spans);
    printf(", \"span_with_edges_ns\": %.1f", time_spans(&stand, spans, count));
    for (uint32_t i = 0; i < HELD_SPANS; i++)
        spans[i].prior = 10;
    printf(", \"weighted_span_with_edges_ns\": %.1f", time_spans(&stand, spans, count));
    printf(", \"counter_ns\": %.1f, \"timer_ns\": %.1f", time_points(&stand, WEIR_POINT_COUNT, count),
           time_points(&stand, WEIR_POINT_TIMER, count));
    size_t lines, bytes;
    double ms = time_scrape(&stand, &lines, &bytes);
    printf(", \"scrape_ms\": %.2f, \"scrape_lines\": %zu, \"scrape_bytes\": %zu", ms, lines, bytes);
    stand_down(&stand);

    stand = stand_up(true, 10);
    make_spans(&stand, spans);
    printf(", \"folded_span_with_edges_ns\": %.1f}\n", time_spans(&stand, spans, count / 4 + 1));
    stand_down(&stand);
    free(spans);
    return 0;
}
