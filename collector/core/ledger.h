/* ledger.h - every span that Weir accepted is in exactly one place, and /metrics says where (docs/architecture.md).
 *
 *   received + recovered{""} + recovered{E} == sampled_out{""} + dropped{""} + held{""} +
 *                                              sampled_out{E} + dropped{E} + held{E} + delivered{E}
 *                                              for each exporter E
 *
 * A lane counts into a row of its own and publishes it once a round as one consistent snapshot (a seqlock); an
 * exporter's queue keeps its row under its own lock. `held` is kept by its holder, never computed as the remainder. */
#ifndef WEIR_CORE_LEDGER_H
#define WEIR_CORE_LEDGER_H
#include "collector/core/buffer.h"

#include <stdint.h>

enum weir_receiver_id {
    WEIR_RECEIVER_GRPC,
    WEIR_RECEIVER_OTLP_HTTP,
    WEIR_RECEIVER_ZIPKIN,
    WEIR_RECEIVER_SCRIBE,
    WEIR_RECEIVER_DATAGRAM,
    WEIR_RECEIVER_ACCESS_LOG,
    WEIR_RECEIVER_STATSD,
    WEIR_RECEIVERS
};
enum weir_refusal { WEIR_REFUSED_INVALID, WEIR_REFUSED_MEMORY, WEIR_REFUSED_CLOSING, WEIR_REFUSALS };
enum weir_stage { WEIR_STAGE_OVERLOAD, WEIR_STAGE_COLLECTOR, WEIR_STAGE_TAIL, WEIR_STAGES };
enum weir_drop {
    WEIR_DROP_MEMORY /* no room to batch it for export */,
    WEIR_DROP_NO_EXPORTER /* `exporters: {}`: it lives on in the series */,
    WEIR_DROP_MERGED /* part of a span that is counted elsewhere, or the same once more */,
    WEIR_DROPS
};
enum weir_queue_drop {
    WEIR_QUEUE_FULL,
    WEIR_QUEUE_EXPIRED,
    WEIR_QUEUE_REJECTED,
    WEIR_QUEUE_SHUTDOWN,
    WEIR_QUEUE_DAMAGED, /* on disk, and not to be read */
    WEIR_QUEUE_DROPS
};
enum weir_point_refusal {
    WEIR_POINT_MALFORMED,
    WEIR_POINT_UNSUPPORTED,
    WEIR_POINT_CONFLICT /* another type holds this name */,
    WEIR_POINT_STALE /* older than what is held */,
    WEIR_POINT_FULL /* no room on the way to its owner lane */,
    WEIR_POINT_REFUSALS
};

extern const char *const weir_receiver_names[WEIR_RECEIVERS];
extern const char *const weir_refusal_names[WEIR_REFUSALS];
extern const char *const weir_stage_names[WEIR_STAGES];
extern const char *const weir_drop_names[WEIR_DROPS];
extern const char *const weir_queue_drop_names[WEIR_QUEUE_DROPS];
extern const char *const weir_point_refusal_names[WEIR_POINT_REFUSALS];

struct weir_lane_row {
    uint64_t received[WEIR_RECEIVERS];
    uint64_t refused[WEIR_RECEIVERS][WEIR_REFUSALS]; /* not part of the balance */
    uint64_t sampled_out[WEIR_STAGES];
    uint64_t dropped[WEIR_DROPS];
    uint64_t handed_over; /* into other lanes' rings; held{where="handover"} = sum handed_over - sum taken_over */
    uint64_t taken_over;  /* out of the rings into this lane */
    uint64_t joined;      /* wait for the rest of their span, or for their trace's rate */
    uint64_t released;    /* and went on; held{where="join"} = joined - released */
    uint64_t recovered;   /* found on disk at the start */
    uint64_t tailed;      /* wait for the decision on their trace */
    uint64_t decided;     /* and were kept or left out; held{where="tail"} = tailed - decided */
    uint64_t batched;     /* into this lane's open export batch */
    uint64_t fanned_out;  /* closed and given to the exporters; held{where="batch"} = batched - fanned_out */
    uint64_t points_received[WEIR_RECEIVERS];
    uint64_t points_rejected[WEIR_RECEIVERS][WEIR_POINT_REFUSALS];
    uint64_t points_handed_over, points_taken_over;
};

struct weir_queue_row {
    uint64_t recovered; /* found in the exporter's spool at the start */
    uint64_t spooled;   /* held{where="spool"}: now, on disk and not read back */
    uint64_t queued;    /* held{where="queue"}: now */
    uint64_t in_flight; /* held{where="exporter"}: now; sent, and not settled */
    uint64_t delivered;
    uint64_t dropped[WEIR_QUEUE_DROPS];
};

/* Every increment of the ledger goes through here, so that a build with WEIR_MUTANTS can take one of them away by its
 * name (environment WEIR_MUTANT) and the tests can see the balance break. */
#ifdef WEIR_MUTANTS
#include <stdbool.h>
bool weir_mutated(const char *counter);
#define WEIR_TALLY(counter, cell, more) ((void)(weir_mutated(counter) ? 0 : ((cell) += (more))))
#else
#define WEIR_TALLY(counter, cell, more) ((void)((cell) += (more)))
#endif

struct weir_ledger;

struct weir_ledger *weir_ledger_new(uint32_t lanes);
/* The lane's thread: copies `row` out as one snapshot. Cheap enough for once a round (under 1 KiB). */
void weir_ledger_publish(struct weir_ledger *ledger, uint32_t lane, const struct weir_lane_row *row);
void weir_ledger_read(const struct weir_ledger *ledger, uint32_t lane, struct weir_lane_row *row); /* any thread */
/* `read` answers the queue's row, consistent in itself; scraper's thread. name is kept by reference. */
void weir_ledger_add_exporter(struct weir_ledger *ledger, const char *name,
                              void (*read)(void *self, struct weir_queue_row *row), void *self);
void weir_ledger_remove_exporter(struct weir_ledger *ledger, const char *name);
/* The families weir_spans_*, weir_points_* and weir_ledger_imbalance_spans{exporter}. */
void weir_ledger_expose(struct weir_ledger *ledger, struct weir_buffer *out);
/* The same as one line for people: received=... delivered{file}=... imbalance{file}=0 */
void weir_ledger_summary(struct weir_ledger *ledger, struct weir_buffer *out);
void weir_ledger_free(struct weir_ledger *ledger);
#endif
