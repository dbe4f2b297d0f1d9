/* inside.h - what the files of this room share: lane.c (one lane), weigh.c (weights), hold.c and out.c (what becomes of
 * its spans), lanes.c (all lanes). Of no concern to other rooms. */
#ifndef WEIR_LANE_INSIDE_H
#define WEIR_LANE_INSIDE_H
#include "collector/decode/otlp_restate.h"
#include "collector/lane/await.h"
#include "collector/lane/join.h"
#include "collector/lane/lane.h"
#include "collector/lane/points.h"
#include "collector/sample/meter.h"
#include "collector/sample/tail.h"

struct lane;

/* From one lane to one other: a ring, and a letter that says that there is something in it. */
struct crossing {
    struct weir_mail poke; /* first */
    _Atomic bool poked;
    struct lane *to;
    struct weir_points *points[WEIR_RECEIVERS]; /* producer's: filled during the round */
    struct weir_ring ring;
};

struct lane {
    uint32_t index;
    struct weir_lanes *all;
    struct weir_loop *loop;
    pthread_t thread;
    bool running;
    struct weir_shard *shard;
    struct weir_snapshot snapshot;
    struct weir_batch *open;  /* kept spans on their way to the exporters */
    struct weir_join *join;   /* NULL: no Scribe */
    struct weir_await *await; /* NULL: proxies are told nothing */
    uint32_t exemplars_left;  /* that may be looked up until the next tick, where no tail buffer decides */
    struct weir_tail *tail;   /* NULL: no policy has had a `keep:` yet */
    uint32_t arrivals;        /* of followers, that roots which wait were looked at for */
    struct weir_meter *meter; /* NULL: no policy tells proxies anything */
    struct weir_timer open_age, tick;
    struct weir_journal_lane *journal; /* NULL: not durable */
    struct weir_receipt **owed;        /* of requests whose spans are not on disk yet */
    size_t owed_count, owed_capacity;
    uint64_t owed_ns; /* since when, the first of them */
    struct weir_timer commit;
    /* Full batches that may leave when the tail buffer has returned: before it their spans' blocks cannot be sealed. */
    struct weir_batch **ready;
    size_t ready_count, ready_capacity;
    bool past_journal;           /* a span of the request that is being taken waits where no journal has it */
    bool unjournalled;           /* the span that is being kept waited for no decision */
    uint32_t new_from, new_to;   /* of the open batch: such spans, not written to the journal yet */
    uint64_t recovering_segment; /* of the span that is being recovered; 0 = none is */
    struct weir_lane_row row;
    bool row_changed;
    struct weir_metric_set *metrics, *weights;
    const struct weir_receiver *receivers[WEIR_LANE_RECEIVERS_MAX];
    void *receiver_selves[WEIR_LANE_RECEIVERS_MAX];
    uint32_t receiver_count;
    _Atomic bool idle; /* receivers are stopped and have nothing under way */
    bool stopping;
    struct weir_span *scratch; /* for the partition of one request */
    uint8_t *targets;
    uint32_t scratch_count;
};

struct weir_lanes {
    uint32_t count;
    struct weir_lanes_env env;
    struct lane *lanes;
    struct crossing **crossings; /* [from * count + to]; NULL on the diagonal */
    pthread_mutex_t ordering;    /* one order at a time; also of `running` */
    pthread_mutex_t lock;        /* of acknowledgements */
    pthread_cond_t acknowledged;
    uint32_t acks;
};

static inline struct crossing *crossing_of(const struct lane *from, uint32_t to) {
    return from->all->crossings[from->index * from->all->count + to];
}

/* One lane, with index, all and snapshot set. On failure what was opened is closed by weir_lane_close(). */
enum weir_status weir_lane_open(struct lane *lane, struct weir_error *err);
void weir_lane_close(struct lane *lane);
struct weir_sink weir_lane_sink(struct lane *lane);

/* Its weight is known: it is counted for good, and kept or left out. */
void weir_lane_pass(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns);

/* weigh.c */
enum weir_status weir_lane_open_weights(struct lane *lane, struct weir_error *err);
void weir_lane_close_weights(struct lane *lane);
bool weir_lane_follows(const struct lane *lane); /* may a span be weighed by a policy that somebody follows? */
/* On the lane that it came to: by what it carries and what is declared. `follows`: what remains unknown is left to its
 * trace's lane (WEIR_SPAN_UNWEIGHED), and is not counted yet. */
void weir_lane_weigh_early(struct lane *lane, const char *receiver, bool follows, struct weir_span *span);
/* On the trace's lane, where somebody follows: first the roots, so that spans of the same batch need not wait. */
void weir_lane_weigh_roots(struct lane *lane, struct weir_batch *batch, uint32_t first, uint32_t count,
                           uint64_t now_ns);
/* Of a span with WEIR_SPAN_UNWEIGHED. False: it was copied and waits. */
bool weir_lane_weigh(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns);
/* Is its weight, or the rest of it, perhaps another span's to say (join.h)? Then it is taken by take_joined(). */
bool weir_lane_joins(const struct lane *lane, uint32_t receiver);
void weir_lane_take_joined(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns);
void weir_lane_tick_weights(struct lane *lane);
void weir_lane_drain_weights(struct lane *lane); /* all that wait go on */

/* hold.c: a span that was counted and not thinned out; it waits for its trace's decision, or goes out at once. */
void weir_lane_hold(struct lane *lane, struct weir_batch *batch, uint32_t i, uint64_t now_ns);
/* The snapshot's policies from now on. */
void weir_lane_follow_policy(struct lane *lane);
void weir_lane_tick_tail(struct lane *lane);
void weir_lane_drain_tail(struct lane *lane); /* decides what waits */
/* out.c: into the open batch, as its view says; mark: NULL, or what it says of its trace. */
void weir_lane_keep(struct lane *lane, const struct weir_batch *batch, uint32_t i, const struct weir_otlp_mark *mark);
void weir_lane_close_batch(struct lane *lane);                    /* into the queues, or to those that are ready */
void weir_lane_push(struct lane *lane, struct weir_batch *batch); /* into the queues; takes the reference */
void weir_lane_batch_due(struct weir_timer *timer);               /* open_age's */

/* A span whose trace was decided before; a root among them is marked. */
void weir_lane_keep_late(struct lane *lane, const struct weir_batch *batch, uint32_t i,
                         const struct weir_verdict *verdict);

/* durable.c: one part of a receipt (or NULL), of spans that were taken; settled now, or when they are on disk. */
void weir_lane_acknowledge(struct lane *lane, struct weir_receipt *receipt);
void weir_lane_owe_nothing(struct lane *lane); /* whoever still waits is told OWNED */
enum weir_status weir_lane_open_journal(struct lane *lane, struct weir_error *err);
void weir_lane_close_journal(struct lane *lane);
void weir_lane_journal_last(struct lane *lane); /* the last span of the open batch has to be written */
void weir_lane_journal_new(struct lane *lane);  /* writes those, before the open batch is closed */
/* A closed batch: into the queues when the blocks that its spans came in are with the journal; takes the reference. */
void weir_lane_send(struct lane *lane, struct weir_batch *batch);
bool weir_lane_send_ready(struct lane *lane);      /* behind each call of the tail buffer; true: there was one */
void weir_lane_journal_decided(struct lane *lane); /* what was decided, behind the spans that it is about */
void weir_lane_journal_rest(struct lane *lane);    /* all that was taken and decided is with the journal */

/* The way from one lane to another. NULL: out of memory. */
struct crossing *weir_crossing_new(struct lane *to);
void weir_crossing_free(struct crossing *crossing); /* with what nobody took; accepts NULL */
/* The lane's thread. Points that are gathered for other lanes go into the rings, as far as those have room. */
void weir_lane_flush_points(struct lane *lane);
/* The lane's thread, at its end: takes all that is in the rings to it, and closes its batch. */
void weir_lane_take_rest(struct lane *lane);
#endif
