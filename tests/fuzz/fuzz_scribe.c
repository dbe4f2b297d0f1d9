#include "collector/core/clock.h"
#include "collector/core/ledger.h"
#include "collector/decode/scribe.h"
#include "collector/lane/join.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of one connection: frames, each decoded, answered, and its spans offered to where they wait. In front of
 * each frame a byte says how many seconds have passed. Nothing that waits may be there twice, or no more be a span. */

static struct weir_names *names;
static struct weir_otlp *otlp;
static struct weir_scribe *scribe;
static struct weir_metrics *metrics;
static unsigned held;

static void went_on(void *self, struct weir_batch *batch, uint32_t i) {
    struct weir_batch *copy = weir_batch_new(NULL, 0);
    struct weir_otlp_counts counts = {0};
    struct weir_error err;
    struct weir_span again;
    (void)self;
    if (held-- == 0) abort();
    if (copy == NULL || weir_batch_copy(copy, batch, i) != WEIR_OK) abort();
    const struct weir_span *span = &copy->spans[0];
    if (weir_otlp_span(otlp, copy, span->offset, span->size, &again, &counts, &err) != WEIR_OK) abort();
    if (again.trace_lo != span->trace_lo || again.span_id != span->span_id || again.start_ns != span->start_ns ||
        again.duration_ns != span->duration_ns || again.kind != span->kind || again.operation != span->operation ||
        again.parent_id != span->parent_id)
        abort();
    weir_batch_unref(copy);
}

static void offer_all(struct weir_join *join, const struct weir_scribe_config *config, struct weir_batch *batch,
                      uint64_t now_ns) {
    for (uint32_t i = 0; i < batch->span_count; i++)
        held += weir_join_offer(join, config, batch, i, now_ns) == WEIR_JOIN_WAITS;
    weir_join_tick(join, config, now_ns);
}

static void answer(const struct weir_scribe_call *call, enum weir_status status, const struct weir_error *err) {
    struct weir_buffer out = {0};
    if (status == WEIR_OK || status == WEIR_FULL)
        weir_scribe_answer(&out, call, status == WEIR_OK ? WEIR_SCRIBE_OK : WEIR_SCRIBE_TRY_LATER);
    else
        weir_scribe_refuse(&out, call, WEIR_SCRIBE_UNKNOWN_METHOD, err->text);
    if (out.size < 4 || __builtin_bswap32(*(const uint32_t *)(const void *)out.bytes) != out.size - 4) abort();
    weir_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (names == NULL) {
        names = weir_names_new(4096, 1 << 18);
        otlp = weir_otlp_new(names);
        scribe = weir_scribe_new(otlp);
        metrics = weir_metrics_new();
    }
    const struct weir_scribe_config config = {
        .merge_wait_ns = 60 * WEIR_S, .weight_wait_ns = 5 * WEIR_S, .memory_bytes = 64 * 1024};
    struct weir_join_env env = {.names = names, .metrics = metrics, .go_on = went_on};
    struct weir_join *join = weir_join_new(&env);
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    uint64_t now_ns = WEIR_S;
    held = 0;
    while (size > 5) {
        struct weir_batch *batch = weir_batch_new(&budget, 0);
        struct weir_scribe_call call;
        struct weir_otlp_counts counts;
        struct weir_error err = {0};
        uint32_t frame;
        memcpy(&frame, data + 1, 4);
        frame = __builtin_bswap32(frame);
        now_ns += data[0] * WEIR_S;
        data += 5;
        size -= 5;
        if (frame > size) frame = (uint32_t)size;
        enum weir_status status =
            weir_scribe_decode(scribe, data, frame, WEIR_RECEIVER_SCRIBE, batch, &call, &counts, &err);
        if (status != WEIR_OK && (batch->span_count != 0 || batch->size != 0)) abort();
        answer(&call, status, &err);
        offer_all(join, &config, batch, now_ns);
        weir_batch_unref(batch);
        if (budget.used_bytes != 0) abort();
        data += frame;
        size -= frame;
    }
    weir_join_drain(join, now_ns);
    if (held != 0) abort();
    weir_join_free(join);
    return 0;
}
