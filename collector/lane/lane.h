/* lane.h - one of N identical lanes: its loop, its receivers, its shard of the series, its open export batch.
 *
 *   receiver ─sink─> admit ─┬─ own spans ─────> take: series, collector sampling, tail buffer, open batch ─> queues
 *                           └─ foreign spans ─ ring ──> take, on the lane that the trace's identity hashes to
 *
 * Lanes share nothing but the rings between them, the names (lock-free) and what is immutable. */
#ifndef WEIR_LANE_LANE_H
#define WEIR_LANE_LANE_H
#include "collector/aggregate/aggregate.h"
#include "collector/core/ring.h"
#include "collector/receive/receiver.h"
#include "collector/sample/policy.h"
#include "collector/sample/taps.h"
#include "collector/spool/journal.h"
#include "collector/spool/queue.h"

#include <pthread.h>

enum { WEIR_LANE_RECEIVERS_MAX = 12 };

/* One configuration in force; immutable. */
struct weir_snapshot {
    const struct weir_config *config;
    struct weir_policy *policy;
    struct weir_policy *shadow; /* only counts; NULL = none */
    struct weir_policy *canary; /* what a share of the proxies is told instead; NULL = none */
};

struct weir_meter;
struct weir_lanes; /* all of them, and the rings between */

struct weir_lanes_env {
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    struct weir_aggregate *aggregate;
    struct weir_ledger *ledger;
    struct weir_budget *intake;
    struct weir_journal *journal; /* of undecided spans; NULL: they live in memory only */
    struct weir_taps *taps;       /* who watches decisions; NULL: nobody, ever */
    struct weir_queue **queues;   /* what every closed batch is given to */
    uint32_t queue_count;
    struct weir_steering *steering;   /* what proxies are told; NULL: nothing */
    struct weir_meter *const *meters; /* one a lane, of what traces bring about; NULL: nobody asks */
};

/* Builds `count` lanes; opens nothing, starts nothing. */
enum weir_status weir_lanes_new(struct weir_lanes **lanes, uint32_t count, const struct weir_lanes_env *env,
                                const struct weir_snapshot *snapshot, struct weir_error *err);
/* Opens the receiver on every lane. Before start. */
enum weir_status weir_lanes_open(struct weir_lanes *lanes, const struct weir_receiver *receiver,
                                 const struct weir_config *config, struct weir_error *err);
/* Starts the threads; each starts its receivers. On failure those that run are stopped. */
enum weir_status weir_lanes_start(struct weir_lanes *lanes, struct weir_error *err);
/* Takes up what the journal holds from before: after weir_lanes_open(), before start. On failure what was found is
 * still there for the next start. */
enum weir_status weir_lanes_recover(struct weir_lanes *lanes, struct weir_error *err);
/* What was decided, into and out of a file: after stop, before start. Nothing where no policy has a `keep:`. */
enum weir_status weir_lanes_save(const struct weir_lanes *lanes, const char *path, struct weir_error *err);
enum weir_status weir_lanes_load(struct weir_lanes *lanes, const char *path, struct weir_error *err);
/* Posts a snapshot to each lane; returns after all of them swapped: the one before may be freed then. */
void weir_lanes_reload(struct weir_lanes *lanes, const struct weir_snapshot *snapshot);
/* Why the trace was, or would be, kept, as text for people (sample/tail.h), asked of the lane that it belongs to.
 * False: that lane does not know it, or does not run. Any thread but a lane's; waits for a round of the lane. */
bool weir_lanes_explain(struct weir_lanes *lanes, uint64_t trace_hi, uint64_t trace_lo, struct weir_buffer *out);
/* From the head: no new work, at most until deadline_ns for what is under way; then hands over what is between lanes,
 * closes the open batches into the queues, joins the threads. */
void weir_lanes_stop(struct weir_lanes *lanes, uint64_t deadline_ns);
void weir_lanes_free(struct weir_lanes *lanes); /* accepts NULL; after stop */

/* For tests: the sink of one lane, and one round of it, without threads. */
struct weir_sink weir_lanes_sink(struct weir_lanes *lanes, uint32_t lane);
#endif
