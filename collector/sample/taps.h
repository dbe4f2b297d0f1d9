/* taps.h - decided traces for those who watch (GET /tail, `weir tail`): lanes offer, watchers take lines of JSON.
 *
 *   lane ─ kept(), dropped() ─ wanted? ─> filters ─> one line, encoded once ─> a bounded queue a watcher ─> read
 *
 * A watcher never holds up a lane: what its queue has no room for is lost to it, counted, and told in its stream. Where
 * nobody watches an offer is one relaxed load. What a watcher can ask of the lanes is bounded too: lines a second,
 * bytes a line. Any thread may offer; a tap is read by one. */
#ifndef WEIR_SAMPLE_TAPS_H
#define WEIR_SAMPLE_TAPS_H
#include "collector/core/batch.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/sample/trace.h"

#include <stdatomic.h>

enum {
    WEIR_TAPS_MAX = 8,                      /* watchers at once */
    WEIR_TAP_QUEUE_BYTES = 2 * 1024 * 1024, /* of lines that a watcher has not read */
    WEIR_TAP_TRACES_PER_SECOND = 1000,      /* a watcher; who needs more reads the exporters' output */
    WEIR_TAP_SPANS_MAX = 1000,              /* of a trace, errors first; span_count says how many there are */
    WEIR_TAP_LINE_BYTES = 512 * 1024,
};

struct weir_taps_inside;
struct weir_taps {
    _Atomic uint32_t watchers;         /* open taps */
    _Atomic uint32_t dropped_watchers; /* of them, those that ask for dropped traces too */
    struct weir_taps_inside *inside;
};
struct weir_tap;

/* What a watcher wants to see; all that is set must hold. */
struct weir_tap_filter {
    char service[WEIR_NAME_BYTES_MAX + 1]; /* one of its spans is of this service; "" = any */
    char rule[WEIR_NAME_BYTES_MAX + 1];    /* decided by this rule ("none", "forced" too); "" = any */
    uint64_t min_duration_ns;
    bool errors;  /* one of its spans is an error */
    bool dropped; /* dropped traces too */
};

/* NULL: out of memory. */
struct weir_taps *weir_taps_new(struct weir_names *names, struct weir_metrics *metrics, const struct weir_clock *clock);
void weir_taps_free(struct weir_taps *taps); /* after all taps; accepts NULL */
/* Does a policy with `keep:` run? Without one nothing is decided, and watchers are told so. Any thread. */
void weir_taps_set_deciding(struct weir_taps *taps, bool deciding);

/* ---- lanes ---- */

/* taps may be NULL: then nobody watches, ever. */
static inline bool weir_taps_wanted(const struct weir_taps *taps) {
    return taps != NULL && atomic_load_explicit(&taps->watchers, memory_order_relaxed) != 0;
}
/* For weir_tail_watch(). */
static inline bool weir_taps_dropped_wanted(const struct weir_taps *taps) {
    return taps != NULL && atomic_load_explicit(&taps->dropped_watchers, memory_order_relaxed) != 0;
}
/* A trace was decided. Arguments as those of the tail's kept() and dropped(); `spans` may be NULL, `mark` is its root
 * or first span. Copies what it needs. Any lane's thread; does nothing where weir_taps_wanted() is false. */
void weir_taps_offer(struct weir_taps *taps, const struct weir_batch *spans, uint32_t mark,
                     const struct weir_trace *trace, const struct weir_verdict *verdict, enum weir_cause cause);

/* ---- watchers ---- */

/* WEIR_FULL: WEIR_TAPS_MAX watch already, or no memory. `wake` is called when there is something to read and there was
 * nothing before, on the thread that offers: it must not block, nor call back here. */
enum weir_status weir_tap_open(struct weir_taps *taps, const struct weir_tap_filter *filter, void (*wake)(void *self),
                               void *self, struct weir_tap **tap, struct weir_error *err);
/* At most `size` bytes (64 at least) of newline-delimited JSON; 0: nothing now. Never blocks.
 *   {"weir":"tail","deciding":true}                the first line; false with "note" where there is no `keep:`
 *   {"trace":"4bf9..","kept":true,"spans":[..],..} a decided trace (docs/tail.md lists the members)
 *   {"lost":3}                                     so many were lost here, since the last such line
 *   {"pulse":"1700000000000000000","deciding":true} weir_tap_pulse() */
size_t weir_tap_read(struct weir_tap *tap, char *out, size_t size);
/* A line that says that the stream lives, when nothing else is there to read. */
void weir_tap_pulse(struct weir_tap *tap);
void weir_tap_close(struct weir_tap *tap); /* accepts NULL */
#endif
