/* tail.c - what waiting in the tail buffer costs: nanoseconds and bytes a span on one thread, in the tail's own time.
 *   tail_bench [--spans N] [--services N] [--memory SIZE] [--only compressed|plain]     one line of JSON on stdout
 * Spans are those of `weir emit` (about 361 bytes, 8 a trace, each service's proxy sends its own), 100,000 a second of
 * virtual time, held for 5 s, so that 500,000 are pending; of them 1 % and the traces with errors or slower than 250 ms
 * are kept. Timed is what the tail does: take (facts, record, sealing blocks) and tick (decisions, reading back what is
 * kept). `bytes_a_span` is the tail's own account, `resident_a_span` what the process grew by; the decision memory is
 * in neither. */
#include "collector/sample/tail.h"
#include "collector/core/clock.h"
#include "collector/decode/otlp.h"
#include "collector/emit/play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 100000, WAIT_S = 5, TICK_MS = 50 };

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * WEIR_S + (uint64_t)now.tv_nsec;
}

static double resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1) exit(1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* Decisions of other traces, so that all pages of their memory are there before anything is measured. */
static void fill(struct weir_decisions *decisions) {
    for (uint64_t i = 0; i < weir_decisions_memory(decisions) / 64; i++) {
        const struct weir_verdict verdict = {.kept = i % 4 == 0};
        weir_decisions_put(decisions, 1, ~i * 0x9e3779b97f4a7c15ull, &verdict);
    }
}

struct run {
    uint64_t kept_spans, dropped_spans, kept_traces, dropped_traces;
    double bytes; /* of kept bodies, so that they are read */
};

static void kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                 const struct weir_verdict *verdict, enum weir_cause cause) {
    struct run *run = self;
    (void)trace, (void)verdict, (void)cause, (void)mark;
    run->kept_spans += spans->span_count;
    run->bytes += (double)spans->size;
    run->kept_traces++;
}

static void dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause) {
    struct run *run = self;
    (void)spans, (void)verdict, (void)cause;
    run->dropped_spans += trace->span_count;
    run->dropped_traces++;
}

static void lost(void *self, const struct weir_trace *trace) {
    (void)self;
    fprintf(stderr, "lost %u spans\n", trace->span_count);
    exit(1);
}

static void measure(const char *name, const struct weir_emit_options *options, const char *memory, bool compress,
                    uint64_t spans) {
    struct weir_error err = {0};
    struct weir_emit_play play;
    if (weir_emit_play_init(&play, options, &err) != WEIR_OK) exit(1);
    char text[512];
    snprintf(text, sizeof text,
             "keep: { wait: %ds, quiet: %ds, memory: %s, compress: %s, rules: [ { name: errors, when: { error: true } "
             "}, { name: slow, when: { duration: \">250ms\" } }, { name: rest, rate: 1%% } ] }\n",
             WAIT_S, WAIT_S, memory, compress ? "true" : "false");
    struct weir_names *names = weir_names_new(65536, 16 << 20);
    struct weir_policy *policy = NULL;
    if (weir_policy_parse("bench", (const uint8_t *)text, strlen(text), names, &policy, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    struct weir_metrics *metrics = weir_metrics_new();
    struct weir_otlp *otlp = weir_otlp_new(names);
    struct weir_batch *batch = weir_batch_new(NULL, 1 << 20);
    struct weir_buffer request = {0};
    struct run run = {0};
    struct weir_tail_env env = {
        .names = names, .metrics = metrics, .lanes = 1, .self = &run, .kept = kept, .dropped = dropped, .lost = lost};
    uint64_t now = 1000 * WEIR_S, next_tick = now, taken = 0, walk_ns = 0, take_ns = 0, tick_ns = 0, bytes = 0;
    uint64_t most_spans = 0, steady_taken = 0;
    struct weir_tail *tail = weir_tail_new(&env, policy, NULL, now);
    fill(weir_tail_decisions(tail));
    double idle = resident(), held_bytes = 0, held_resident = 0;
    double decisions = (double)weir_decisions_memory(weir_tail_decisions(tail));
    for (uint32_t count; weir_emit_play_next(&play, spans, &request, &count) == WEIR_EMIT_REQUEST;) {
        struct weir_otlp_counts counts;
        struct weir_verdict verdict;
        weir_batch_unref(batch); /* as lanes do: a batch a request */
        batch = weir_batch_new(NULL, request.size);
        memcpy(batch->bytes, request.bytes, request.size);
        batch->size = request.size;
        weir_buffer_clear(&request);
        uint64_t t0 = cpu_ns();
        if (weir_otlp_decode(otlp, batch, &counts, &err) != WEIR_OK) exit(1);
        uint64_t t1 = cpu_ns();
        for (uint32_t i = 0; i < batch->span_count; i++) {
            /* as lanes do */
            if (i + 12 < batch->span_count) weir_tail_prefetch(tail, &batch->spans[i + 12], false);
            if (i + 5 < batch->span_count) weir_tail_prefetch(tail, &batch->spans[i + 5], true);
            if (weir_tail_take(tail, batch, i, now, &verdict) != WEIR_TAIL_HELD) run.dropped_spans++;
        }
        uint64_t t2 = cpu_ns();
        taken += batch->span_count;
        now += batch->span_count * (WEIR_S / RATE);
        bool steady = now > (1000 + WAIT_S) * WEIR_S;
        uint64_t t3 = t2;
        if (now >= next_tick) {
            weir_tail_tick(tail, now);
            t3 = cpu_ns();
            next_tick = now + TICK_MS * WEIR_MS;
            if (weir_tail_held(tail) >= most_spans) {
                most_spans = weir_tail_held(tail);
                held_bytes = (double)weir_tail_memory(tail) - decisions;
                held_resident = resident() - idle;
            }
        }
        if (!steady) continue;
        steady_taken += batch->span_count;
        walk_ns += t1 - t0;
        take_ns += t2 - t1;
        tick_ns += t3 - t2;
        for (uint32_t i = 0; i < batch->span_count; i++)
            bytes += batch->spans[i].size;
    }
    weir_tail_drain(tail, now);
    if (run.kept_spans + run.dropped_spans != taken) exit(1);
    struct weir_buffer page = {0};
    if (getenv("TAIL_BENCH_METRICS") != NULL) {
        weir_metrics_expose(metrics, &page);
        fprintf(stderr, "%.*s", (int)page.size, (const char *)page.bytes);
    }
    double n = (double)steady_taken;
    printf("\"%s\": {\"take_ns_a_span\": %.1f, \"tick_ns_a_span\": %.1f, \"walk_ns_a_span\": %.1f, \"span_bytes\": "
           "%.1f, \"pending_spans\": %llu, \"bytes_a_span\": %.1f, \"resident_a_span\": %.1f, \"kept_percent\": %.2f}",
           name, (double)take_ns / n, (double)tick_ns / n, (double)walk_ns / n, (double)bytes / n,
           (unsigned long long)most_spans, held_bytes / (double)most_spans, held_resident / (double)most_spans,
           100 * (double)run.kept_spans / (double)taken);
    weir_tail_free(tail);
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    weir_metrics_free(metrics);
    weir_policy_unref(policy);
    weir_names_free(names);
    weir_buffer_free(&request);
    weir_buffer_free(&page);
    weir_emit_play_free(&play);
}

int main(int argc, char **argv) {
    const char *spans = "1500000", *services = "10", *memory = "512MiB", *only = "";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--spans") == 0) spans = argv[i + 1];
        if (strcmp(argv[i], "--services") == 0) services = argv[i + 1];
        if (strcmp(argv[i], "--memory") == 0) memory = argv[i + 1];
        if (strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    }
    /* A start time: what is played is not paced by the clock of the wall. */
    const char *emit[] = {"emit",   "--spans", spans,          "--rate",     "100000",     "--errors", "0.004",
                          "--seed", "7",       "--start-time", "1700000000", "--services", services};
    struct weir_emit_options options;
    struct weir_error err = {0};
    bool help;
    if (weir_emit_options_parse((int)(sizeof emit / sizeof emit[0]), (char **)(uintptr_t)emit, &options, &help, &err) !=
        WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    printf("{");
    if (strcmp(only, "plain") != 0) measure("compressed", &options, memory, true, strtoull(spans, NULL, 10));
    if (*only == 0) printf(", ");
    if (strcmp(only, "compressed") != 0) measure("plain", &options, memory, false, strtoull(spans, NULL, 10));
    printf("}\n");
    return 0;
}
