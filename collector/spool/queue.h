/* queue.h - the bounded queue in front of one exporter, and the thread that empties it: order, retry with back-off and
 * jitter, expiry by age, drop counting, the exporter's row of the ledger. Behind it nothing is refused: when
 * memory_bytes is met the oldest waiting batch is dropped and counted (reason="full"), so that a dead back end never
 * reaches a receiver. With a spool (spool.h) it goes to disk long before. */
#ifndef WEIR_SPOOL_QUEUE_H
#define WEIR_SPOOL_QUEUE_H
#include "collector/core/ledger.h"
#include "collector/spool/spool.h"
#include "exporters/exporter.h"

struct weir_queue;

/* What the disk is for, where there is one. */
struct weir_queue_disk {
    bool durable;                   /* batches go only when their spans are synced: a journal has them until then */
    uint64_t memory_age_ns;         /* a batch that waits for longer goes to disk */
    uint64_t read_bytes_per_second; /* of the disk's bytes; 0 = as fast as the exporter takes them */
};

/* Opens the exporter; starts nothing. *queue stays NULL on failure. config is copied. */
enum weir_status weir_queue_open(struct weir_queue **queue, const struct weir_exporter *exporter,
                                 const struct weir_exporter_config *config, const struct weir_exporter_env *env,
                                 struct weir_error *err);
/* Gives it a spool: what memory is too small for goes to disk, and what is there is sent. Before it starts. */
enum weir_status weir_queue_spool(struct weir_queue *queue, const struct weir_queue_disk *disk,
                                  const struct weir_spool_options *options, struct weir_error *err);
enum weir_status weir_queue_start(struct weir_queue *queue, struct weir_error *err); /* its thread */
/* What the thread does over and over: expire, send, settle. Waits for nothing. Returns the ns until there may be
 * something to do. For tests, with a clock of their own, on a queue that was not started. */
uint64_t weir_queue_round(struct weir_queue *queue);
/* Takes a reference of its own. Never refuses, never blocks for longer than its short lock. Any thread. */
void weir_queue_push(struct weir_queue *queue, struct weir_batch *batch);
/* Less than half of memory_bytes is used: for who can wait, as a restart that reads a journal can. Any thread. */
bool weir_queue_has_room(struct weir_queue *queue);
/* More comes than goes to a disk that works: three quarters of memory_bytes are used. Any thread. */
bool weir_queue_is_behind(struct weir_queue *queue);
const char *weir_queue_name(const struct weir_queue *queue);
void weir_queue_row(void *queue, struct weir_queue_row *row); /* for weir_ledger_add_exporter() */
/* What can change live (bounds, retry, in flight). */
void weir_queue_reload(struct weir_queue *queue, const struct weir_exporter_config *config);
/* Sends what is held until deadline_ns (monotonic), with a spool only as long as the back end takes it and for three
 * quarters of the time; what is left then goes to disk, or is dropped as reason="shutdown": also what a slow disk has
 * not taken by deadline_ns, or a second after it was asked. Joins the thread. */
void weir_queue_stop(struct weir_queue *queue, uint64_t deadline_ns);
void weir_queue_free(struct weir_queue *queue); /* after stop, or when never started; accepts NULL */
#endif
