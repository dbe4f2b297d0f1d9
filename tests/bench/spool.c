/* spool.c - what a record of the spool costs: CPU nanoseconds and bytes a span on one thread, written and read back.
 *   spool_bench [--spans N] [--runs N] [--batch-bytes N] [--level L]           one line of JSON on stdout
 * Spans are those of `weir emit` (361 bytes on average, 10 services, 8 a trace, each service's proxy sends its own),
 * in export batches as a lane makes them: copied one behind the other, closed at batch.max_bytes or 8,192 spans. Each
 * run writes and reads all of them; the median run counts. What comes back is compared with what went in. */
#include "collector/core/clock.h"
#include "collector/decode/otlp.h"
#include "collector/emit/play.h"
#include "collector/spool/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES_MAX = 4096, SPANS_MAX = 8192, RUNS_MAX = 99 };

struct load {
    struct weir_names *names;
    struct weir_batch *batches[BATCHES_MAX];
    uint32_t count;
    double spans, bytes;
};

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * WEIR_S + (uint64_t)now.tv_nsec;
}

static void fail(const char *why) {
    fprintf(stderr, "spool_bench: %s\n", why);
    exit(1);
}

static void keep(struct load *load, const struct weir_batch *request, size_t batch_bytes) {
    for (uint32_t i = 0; i < request->span_count; i++) {
        struct weir_batch *open = load->count > 0 ? load->batches[load->count - 1] : NULL;
        if (open == NULL || open->size + request->spans[i].size > batch_bytes || open->span_count == SPANS_MAX) {
            if (load->count == BATCHES_MAX || (open = weir_batch_new(NULL, batch_bytes)) == NULL) fail("no room");
            load->batches[load->count++] = open;
        }
        if (weir_batch_copy(open, request, i) != WEIR_OK) fail("no memory");
        load->spans++;
        load->bytes += request->spans[i].size;
    }
}

static void play(struct load *load, const char *spans, size_t batch_bytes) {
    /* A start time: what is played is not paced by the clock of the wall. */
    const char *emit[] = {"emit",   "--spans", spans,          "--rate",     "100000",     "--errors", "0.004",
                          "--seed", "7",       "--start-time", "1700000000", "--services", "10"};
    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_error err = {0};
    bool help;
    if (weir_emit_options_parse((int)(sizeof emit / sizeof emit[0]), (char **)(uintptr_t)emit, &options, &help, &err) !=
            WEIR_OK ||
        weir_emit_play_init(&play, &options, &err) != WEIR_OK)
        fail(err.text);
    load->names = weir_names_new(65536, 16 << 20);
    struct weir_otlp *otlp = weir_otlp_new(load->names);
    struct weir_buffer request = {0};
    for (uint32_t count; weir_emit_play_next(&play, UINT64_MAX, &request, &count) == WEIR_EMIT_REQUEST;) {
        struct weir_otlp_counts counts;
        struct weir_batch *batch = weir_batch_new(NULL, request.size);
        memcpy(batch->bytes, request.bytes, request.size);
        batch->size = request.size;
        weir_buffer_clear(&request);
        if (weir_otlp_decode(otlp, batch, &counts, &err) != WEIR_OK) fail(err.text);
        keep(load, batch, batch_bytes);
        weir_batch_unref(batch);
    }
    weir_buffer_free(&request);
    weir_otlp_free(otlp);
    weir_emit_play_free(&play);
}

static void compare(const struct weir_batch *a, const struct weir_batch *b) {
    if (a->span_count != b->span_count || a->size != b->size || memcmp(a->bytes, b->bytes, a->size) != 0)
        fail("other bodies came back");
    for (uint32_t i = 0; i < a->span_count; i++) {
        struct weir_span span = b->spans[i];
        const struct weir_origin *origin = a->origins[a->spans[i].origin], *other = b->origins[span.origin];
        if (origin->parts.resource_size != other->parts.resource_size ||
            memcmp(origin->parts.resource, other->parts.resource, origin->parts.resource_size) != 0)
            fail("another origin came back");
        span.origin = a->spans[i].origin;
        if (memcmp(&span, &a->spans[i], offsetof(struct weir_span, receiver) + 1) != 0) fail("another view came back");
    }
}

static int by_size(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

static void measure(const struct load *load, int level, int runs) {
    struct weir_spool_writer *writer = weir_spool_writer_new(load->names, level);
    struct weir_spool_reader *reader = weir_spool_reader_new(load->names);
    struct weir_error err = {0};
    double write_ns[RUNS_MAX], read_ns[RUNS_MAX], both_ns[RUNS_MAX], stored = 0;
    for (int run = -1; run < runs; run++) { /* the first one only touches the memory */
        uint64_t writing = 0, reading = 0;
        stored = 0;
        for (uint32_t b = 0; b < load->count; b++) {
            const struct weir_batch *batch = load->batches[b];
            struct weir_batch *again;
            const uint8_t *bytes;
            size_t size;
            uint32_t to = batch->span_count;
            uint64_t unix_ns, t0 = cpu_ns();
            if (weir_spool_record_write(writer, batch, 0, &to, 1, &bytes, &size, &err) != WEIR_OK) fail(err.text);
            uint64_t t1 = cpu_ns();
            if (weir_spool_record_read(reader, bytes, size, &again, &unix_ns, &err) != WEIR_OK) fail(err.text);
            reading += cpu_ns() - t1;
            writing += t1 - t0;
            stored += (double)size;
            if (run < 0) compare(batch, again);
            weir_batch_unref(again);
        }
        if (run < 0) continue;
        write_ns[run] = (double)writing / load->spans;
        read_ns[run] = (double)reading / load->spans;
        both_ns[run] = write_ns[run] + read_ns[run];
    }
    printf("\"level %d\": {\"write_ns_a_span\": %.1f, \"read_ns_a_span\": %.1f, \"both_ns_a_span\": %.1f, "
           "\"stored_bytes_a_span\": %.1f}",
           level, median(write_ns, runs), median(read_ns, runs), median(both_ns, runs), stored / load->spans);
    weir_spool_writer_free(writer);
    weir_spool_reader_free(reader);
}

int main(int argc, char **argv) {
    const char *spans = "200000", *batch_bytes = "1048576";
    int levels[] = {1, -1, -3, -7}, count = 4, runs = 9;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--spans") == 0) spans = argv[i + 1];
        if (strcmp(argv[i], "--batch-bytes") == 0) batch_bytes = argv[i + 1];
        if (strcmp(argv[i], "--runs") == 0) runs = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--level") == 0) levels[0] = atoi(argv[i + 1]), count = 1;
    }
    if (runs < 1 || runs > RUNS_MAX) fail("--runs is from 1 to 99");
    struct load load = {0};
    play(&load, spans, strtoull(batch_bytes, NULL, 10));
    printf("{\"spans\": %.0f, \"span_bytes\": %.1f, \"batches\": %u", load.spans, load.bytes / load.spans, load.count);
    for (int i = 0; i < count; i++) {
        printf(", ");
        measure(&load, levels[i], runs);
    }
    printf("}\n");
    for (uint32_t b = 0; b < load.count; b++)
        weir_batch_unref(load.batches[b]);
    weir_names_free(load.names);
    return 0;
}
