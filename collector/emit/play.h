/* play.h - plays traces and packs their spans into requests, as each service's proxy (or a gateway) would send them. */
#ifndef WEIR_EMIT_PLAY_H
#define WEIR_EMIT_PLAY_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/emit/latency.h"
#include "collector/emit/mesh.h"
#include "collector/emit/options.h"
#include "collector/emit/random.h"
#include "collector/emit/render.h"
#include "collector/emit/truth.h"

/* Told of each request through a service, sent or not: a SERVER span. */
struct weir_emit_watcher {
    void *self;
    void (*request)(void *self, uint32_t operation, uint64_t ns, bool error);
};

struct weir_emit_sender { /* what waits until it fills a request */
    struct weir_emit_span *spans;
    uint32_t count;
    bool ready; /* full, or to be flushed: it is in the line */
};

struct weir_emit_play {
    const struct weir_emit_options *options;
    struct weir_emit_mesh mesh;
    struct weir_emit_render render;
    struct weir_emit_truth truth;
    struct weir_emit_latency latency;
    struct weir_emit_watcher watcher; /* request NULL: nobody watches */
    struct weir_emit_random random;
    struct weir_emit_sender *senders; /* one a service, or one */
    uint32_t sender_count;
    uint32_t *line; /* senders that are ready, a ring of sender_count */
    uint32_t line_at, line_count;
    uint64_t now_ns;    /* when a trace that is played ends; the caller's, unless the options fix a start */
    uint64_t flushed;   /* spans played when all senders were last flushed */
    uint64_t threshold; /* T: a trace is sent when R >= T */
    uint64_t coin;      /* of the independent sampler: sent when a random number is below, as 2^64 * share */
    uint64_t failing;   /* a request fails by itself when 32 random bits are below */
    bool ended;         /* no more traces */
    struct weir_emit_node_state *state; /* of the trace that is played */
};

enum weir_emit_next { WEIR_EMIT_REQUEST, WEIR_EMIT_LATER, WEIR_EMIT_END };

enum weir_status weir_emit_play_init(struct weir_emit_play *play, const struct weir_emit_options *options,
                                     struct weir_error *err);
void weir_emit_play_free(struct weir_emit_play *play);

/* Plays until a sender has a request's worth.
 *   limit    spans that may have been played by now; beyond it WEIR_EMIT_LATER
 *   out      WEIR_EMIT_REQUEST: one ExportTraceServiceRequest was appended, of *spans spans
 * WEIR_EMIT_END: everything was played and handed out. */
enum weir_emit_next weir_emit_play_next(struct weir_emit_play *play, uint64_t limit, struct weir_buffer *out,
                                        uint32_t *spans);
/* No more traces; what senders hold is still handed out. */
void weir_emit_play_end(struct weir_emit_play *play);
#endif
