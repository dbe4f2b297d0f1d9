#include "collector/emit/play.h"

#include "collector/core/clock.h"
#include "collector/core/span.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weir_emit_node_state {
    uint64_t span_id, own_ns, ns, start_ns, cursor_ns; /* cursor: where the next call begins */
    bool error;
};

enum {
    NETWORK_SHIFT = 6,      /* a CLIENT span takes 1/64 of a drawn time more than its SERVER span */
    BEFORE_CALLS_SHIFT = 2, /* a service works a quarter of its own time before it calls, the rest behind */
};
/* Traces of a fixed start follow each other so fast when no rate is given. */
#define TRACE_GAP_NS (100 * WEIR_US)

/* `ot=th:` with trailing zeros left out. Source: OpenTelemetry, "TraceState: Probability Sampling". */
static void threshold_text(uint64_t threshold, char *out, size_t out_size) {
    char digits[24];
    snprintf(digits, sizeof digits, "%014llx", (unsigned long long)threshold);
    size_t size = 14;
    while (size > 1 && digits[size - 1] == '0')
        size--;
    snprintf(out, out_size, "ot=th:%.*s", (int)size, digits);
}

enum weir_status weir_emit_play_init(struct weir_emit_play *play, const struct weir_emit_options *options,
                                     struct weir_error *err) {
    memset(play, 0, sizeof *play);
    play->options = options;
    play->random = weir_emit_random_of(options->seed);
    play->threshold = WEIR_THRESHOLD_MAX - (uint64_t)llround(options->sample * (double)WEIR_THRESHOLD_MAX);
    if (play->threshold >= WEIR_THRESHOLD_MAX) play->threshold = WEIR_THRESHOLD_MAX - 1;
    play->coin = options->sample_independent >= 1 ? UINT64_MAX : (uint64_t)ldexp(options->sample_independent, 64);
    play->failing = (uint64_t)ldexp(options->errors, 32);
    play->sender_count = options->senders == WEIR_EMIT_GATEWAY ? 1 : (uint32_t)options->services;
    weir_emit_latency_init(&play->latency, options->latency_ns, options->latency_sigma);
    char trace_state[32] = "";
    if (play->threshold > 0) threshold_text(play->threshold, trace_state, sizeof trace_state);
    enum weir_status status = weir_emit_mesh_init(&play->mesh, options, err);
    if (status == WEIR_OK) status = weir_emit_render_init(&play->render, &play->mesh, options, trace_state, err);
    if (status == WEIR_OK) status = weir_emit_truth_init(&play->truth, &play->mesh, err);
    play->state = calloc(options->spans_per_trace, sizeof *play->state);
    play->senders = calloc(play->sender_count, sizeof *play->senders);
    play->line = calloc(play->sender_count, sizeof *play->line);
    bool made = play->state != NULL && play->senders != NULL && play->line != NULL;
    for (uint32_t i = 0; made && i < play->sender_count; i++) {
        play->senders[i].spans = calloc(options->batch + options->spans_per_trace, sizeof *play->senders[i].spans);
        made = play->senders[i].spans != NULL;
    }
    if (status == WEIR_OK && !made)
        status = weir_fail(err, WEIR_FULL, 0, false, "no memory for %u senders", (unsigned)play->sender_count);
    if (status != WEIR_OK) weir_emit_play_free(play);
    return status;
}

void weir_emit_play_free(struct weir_emit_play *play) {
    for (uint32_t i = 0; play->senders != NULL && i < play->sender_count; i++)
        free(play->senders[i].spans);
    free(play->senders);
    free(play->line);
    free(play->state);
    weir_emit_truth_free(&play->truth);
    weir_emit_render_free(&play->render);
    weir_emit_mesh_free(&play->mesh);
    memset(play, 0, sizeof *play);
}

static void line_up(struct weir_emit_play *play, uint32_t index) {
    struct weir_emit_sender *sender = &play->senders[index];
    if (sender->ready || sender->count == 0) return;
    sender->ready = true;
    play->line[(play->line_at + play->line_count++) % play->sender_count] = index;
}

static void flush_all(struct weir_emit_play *play) {
    for (uint32_t i = 0; i < play->sender_count; i++)
        line_up(play, i);
    play->flushed = play->truth.spans;
}

/* How long each span takes and whether it failed: callees first, since a caller waits for them and may fail with them.
 */
static void play_outcomes(struct weir_emit_play *play, const struct weir_emit_node *nodes, uint32_t count) {
    struct weir_emit_node_state *state = play->state;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits = weir_emit_next(&play->random), own = weir_emit_latency_draw(&play->latency, bits);
        bool calls_inside = nodes[i].edge != WEIR_EMIT_NONE && i + 1 < count; /* its SERVER span is behind it */
        uint64_t id = weir_emit_next(&play->random);
        state[i].span_id = id != 0 ? id : 1;
        state[i].own_ns = state[i].ns = calls_inside ? own >> NETWORK_SHIFT : own;
        state[i].error = !calls_inside && bits >> 32 < play->failing;
    }
    for (uint32_t i = count - 1; i > 0; i--) {
        struct weir_emit_node_state *parent = &state[nodes[i].parent];
        parent->ns += state[i].ns;
        if (!state[i].error) continue;
        /* The CLIENT span of a failed call failed; whoever made the call lives through one of two. */
        if (nodes[nodes[i].parent].client || (state[i].span_id >> 17 & 1) != 0) parent->error = true;
    }
}

static void play_times(struct weir_emit_play *play, const struct weir_emit_node *nodes, uint32_t count) {
    struct weir_emit_node_state *state = play->state;
    uint64_t gap =
        play->options->rate == 0 ? TRACE_GAP_NS : WEIR_S * play->options->spans_per_trace / play->options->rate;
    uint64_t start = play->options->start_time_s != 0 ? play->options->start_time_s * WEIR_S + play->truth.traces * gap
                                                      : play->now_ns - state[0].ns;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            struct weir_emit_node_state *parent = &state[nodes[i].parent];
            start = parent->cursor_ns;
            parent->cursor_ns += state[i].ns;
        }
        uint64_t before = nodes[i].client ? state[i].own_ns / 2 : state[i].own_ns >> BEFORE_CALLS_SHIFT;
        state[i].start_ns = start;
        state[i].cursor_ns = start + before;
    }
}

static void count_trace(struct weir_emit_play *play, const struct weir_emit_node *nodes, uint32_t count, bool sent) {
    struct weir_emit_truth *truth = &play->truth;
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_emit_node_state *state = &play->state[i];
        weir_emit_truth_add(truth, nodes[i].operation, state->ns, state->error);
        if (nodes[i].edge != WEIR_EMIT_NONE && i + 1 < count) {
            struct weir_emit_edge_totals *edge = &truth->edges[nodes[i].edge];
            edge->requests++;
            edge->errors += state->error;
            edge->client_ns += state->ns;
            edge->server_ns += state[1].ns;
        }
        if (play->watcher.request != NULL && !nodes[i].client)
            play->watcher.request(play->watcher.self, nodes[i].operation, state->ns, state->error);
    }
    truth->traces++;
    truth->spans += count;
    truth->sampled_traces += sent;
    truth->sampled_spans += sent ? count : 0;
}

/* Hands the trace's spans to their services' senders. */
static void hand_over(struct weir_emit_play *play, const struct weir_emit_node *nodes, uint32_t count,
                      const uint8_t trace_id[16]) {
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_emit_node_state *state = &play->state[i];
        uint32_t to = play->sender_count == 1 ? 0 : play->mesh.operations[nodes[i].operation].service;
        struct weir_emit_sender *sender = &play->senders[to];
        struct weir_emit_span *span = &sender->spans[sender->count++];
        memcpy(span->trace_id, trace_id, 16);
        span->span_id = state->span_id;
        span->parent_id = i > 0 ? play->state[nodes[i].parent].span_id : 0;
        span->start_ns = state->start_ns;
        span->end_ns = state->start_ns + state->ns;
        span->operation = nodes[i].operation;
        span->error = state->error;
        if (sender->count >= play->options->batch) line_up(play, to);
    }
}

static void play_trace(struct weir_emit_play *play, uint32_t count) {
    uint64_t draw = weir_emit_next(&play->random), high = weir_emit_next(&play->random),
             low = weir_emit_next(&play->random);
    const struct weir_emit_node *nodes =
        play->mesh.nodes + (size_t)((draw >> 32) * play->mesh.shapes >> 32) * play->mesh.nodes_per_shape;
    bool sent = (low & (WEIR_THRESHOLD_MAX - 1)) >= play->threshold;
    if (play->coin != UINT64_MAX && weir_emit_next(&play->random) >= play->coin) sent = false;
    play_outcomes(play, nodes, count);
    play_times(play, nodes, count);
    count_trace(play, nodes, count, sent);
    if (!sent) return;
    uint8_t trace_id[16];
    high = htobe64(high | 1); /* never all zeros */
    low = htobe64(low);
    memcpy(trace_id, &high, 8);
    memcpy(trace_id + 8, &low, 8);
    hand_over(play, nodes, count, trace_id);
}

/* How many spans the next trace may have; 0 = there is none. */
static uint32_t spans_left(const struct weir_emit_play *play) {
    const struct weir_emit_options *options = play->options;
    if (play->ended || (options->traces != 0 && play->truth.traces >= options->traces)) return 0;
    uint64_t left = options->spans == 0 ? UINT64_MAX : options->spans - play->truth.spans;
    return (uint32_t)(left < options->spans_per_trace ? left : options->spans_per_trace);
}

static void hand_out(struct weir_emit_play *play, struct weir_buffer *out, uint32_t *spans) {
    uint32_t index = play->line[play->line_at];
    struct weir_emit_sender *sender = &play->senders[index];
    play->line_at = (play->line_at + 1) % play->sender_count;
    play->line_count--;
    sender->ready = false;
    *spans = sender->count < play->options->batch ? sender->count : (uint32_t)play->options->batch;
    weir_emit_render_request(&play->render, sender->spans, *spans, out);
    sender->count -= *spans;
    memmove(sender->spans, sender->spans + *spans, sender->count * sizeof *sender->spans);
    if (sender->count >= play->options->batch || play->ended) line_up(play, index);
}

enum weir_emit_next weir_emit_play_next(struct weir_emit_play *play, uint64_t limit, struct weir_buffer *out,
                                        uint32_t *spans) {
    while (play->line_count == 0) {
        uint32_t count = spans_left(play);
        if (count == 0) {
            play->ended = true;
            flush_all(play);
            if (play->line_count == 0) return WEIR_EMIT_END;
            break;
        }
        if (play->truth.spans >= limit) return WEIR_EMIT_LATER;
        play_trace(play, count);
        /* At a rate, no span waits longer than a second for company; counted in spans, so that a seed repeats. */
        if (play->options->rate != 0 && play->truth.spans - play->flushed >= play->options->rate) flush_all(play);
    }
    hand_out(play, out, spans);
    return WEIR_EMIT_REQUEST;
}

void weir_emit_play_end(struct weir_emit_play *play) {
    play->ended = true;
}
