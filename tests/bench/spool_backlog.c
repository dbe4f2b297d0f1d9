/* spool_backlog.c - what a back end that was away for long leaves: a spool of so many bytes, for the start to find.
 *   spool_backlog DIRECTORY MIB        prints how many spans are in it
 * Bodies are random, so that they do not compress: 2 KiB each, 500 a batch. */
#include "collector/core/batch.h"
#include "collector/core/clock.h"
#include "collector/spool/spool.h"

#include <stdio.h>
#include <stdlib.h>

enum { SPANS = 500, SPAN_BYTES = 2048 };

static void check(bool good, const char *why) {
    if (good) return;
    fprintf(stderr, "spool_backlog: %s\n", why);
    exit(1);
}

static struct weir_batch *make_batch(struct weir_origin *origin) {
    uint64_t random = 88172645463325252ull;
    uint16_t index;
    struct weir_batch *batch = weir_batch_new(NULL, (size_t)SPANS * SPAN_BYTES);
    check(batch != NULL && weir_batch_origin(batch, origin, &index) == WEIR_OK, "no memory");
    for (uint32_t i = 0; i < SPANS; i++) {
        struct weir_span span = {
            .prior = 1, .span_id = i, .trace_lo = i, .offset = (uint32_t)batch->size, .size = SPAN_BYTES};
        for (uint32_t b = 0; b < SPAN_BYTES; b++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            batch->bytes[batch->size++] = (uint8_t)random;
        }
        check(weir_batch_add(batch, &span) == WEIR_OK, "no memory");
    }
    return batch;
}

int main(int argc, char **argv) {
    struct weir_error err = {0};
    struct weir_spool *spool = NULL;
    int is_new;
    check(argc == 3, "usage: spool_backlog DIRECTORY MIB");
    uint64_t want = strtoull(argv[2], NULL, 10) << 20, spans = 0;
    const struct weir_spool_options options = {.directory = argv[1],
                                               .exporter = "zipkin",
                                               .segment_bytes = 16 << 20,
                                               .max_bytes = want + want / 50 + (64 << 20),
                                               .level = -7,
                                               .names = weir_names_new(1024, 1 << 16),
                                               .metrics = weir_metrics_new(),
                                               .clock = &weir_clock_system};
    struct weir_origins *origins = weir_origins_new(1);
    struct weir_batch *batch = make_batch(weir_origins_get(origins, &(struct weir_origin_parts){0}, &is_new));
    check(weir_spool_open(&spool, &options, &err) == WEIR_OK, err.text);
    for (uint64_t bytes = 0; bytes < want; bytes += (uint64_t)SPANS * SPAN_BYTES, spans += SPANS) {
        uint32_t from = 0;
        check(weir_spool_write(spool, batch, &from, 0, &err) == WEIR_OK, err.text);
    }
    weir_spool_close(spool);
    printf("%llu\n", (unsigned long long)spans);
    return 0;
}
