/* queue_inside.h - what queue.c (sends; the thread), queue_book.c (order, accounting, settlement) and queue_disk.c
 * (what goes to the spool, and comes back) share. */
#ifndef WEIR_SPOOL_QUEUE_INSIDE_H
#define WEIR_SPOOL_QUEUE_INSIDE_H
#include "collector/core/log.h"
#include "collector/spool/concurrency.h"
#include "collector/spool/queue.h"

#include <pthread.h>
#include <stdatomic.h>

enum queue_metric {
    QUEUE_BYTES,
    QUEUE_LIMIT,
    SENDS_DELIVERED,
    SENDS_RETRY,
    SENDS_REJECTED,
    SEND_SECONDS,
    OLDEST_AGE,
    IN_FLIGHT_LIMIT,
    PAUSED,
    QUEUE_METRICS
};

struct queue_item {
    struct weir_ticket ticket; /* first: settle() gets back to the item */
    struct queue_item *previous, *next;
    struct weir_queue *queue;
    struct weir_batch *batch;
    size_t memory;
    uint64_t sequence;
    uint64_t pushed_ns, sent_ns;
    uint64_t retry_ns; /* not before; 0 = at once */
    uint32_t attempts;
    bool on_disk;   /* came from the spool, and is there until it is settled by its token */
    bool too_large; /* for the disk */
    uint64_t token;
};

struct queue_list {
    struct queue_item *first, *last;
    size_t memory; /* of its items */
};

struct weir_queue {
    const struct weir_exporter *exporter;
    void *self; /* the exporter's; queue's thread, wake() under lock */
    const struct weir_clock *clock;
    struct weir_metrics *registry;
    struct weir_metric_set *set; /* writers under lock */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    struct weir_exporter_config config;
    struct queue_list waiting, flying; /* both in order of arrival */
    struct queue_list arriving;        /* behind what is on disk; without a spool nothing is here */
    uint32_t flying_count;
    struct weir_concurrency concurrency;
    size_t memory;
    uint64_t sequence;
    uint64_t random;
    struct weir_queue_row row;
    struct weir_spool *spool; /* NULL: none. Queue's thread, without the lock */
    struct weir_queue_disk disk;
    uint64_t tick_ns, spill_ns, read_ns; /* queue's thread: the next chores, not before; next spill, next reading */
    size_t read_memory;                  /* of the batch that was read back last */
    _Atomic bool disk_failing;
    struct weir_log_limit disk_limit, room_limit;
    bool writing; /* a batch is on its way to disk, and in no list */
    bool sleeping, driving, woken;
    bool closed; /* nothing is taken any more: pushed is dropped */
    bool stopping;
    uint64_t deadline_ns; /* when stopping: nothing is sent any more */
    uint64_t end_ns;      /* when stopping: and nothing is written */
    uint32_t failures;    /* retries in a row, without a delivery between */
    uint64_t resume_ns;   /* nothing is sent before */
    uint64_t failed_ns;   /* the last failure */
    bool failing_logged;
    struct weir_log_limit failed_limit, rejected_limit, recovered_limit, full_limit;
};

/* ---- queue_book.c; under the lock unless said otherwise ---- */

void weir_queue_remove(struct queue_list *list, struct queue_item *item);
/* From the end: what is new goes last, and what comes back goes before what came after it. */
void weir_queue_insert(struct queue_list *list, struct queue_item *item);
void weir_queue_show_memory(struct weir_queue *queue);
/* Takes a waiting batch out and puts it on the caller's list of what to discard. */
void weir_queue_drop(struct weir_queue *queue, struct queue_list *list, struct queue_item *item,
                     enum weir_queue_drop reason, struct queue_item **garbage);
/* Down to memory_bytes: what is oldest and in memory only. */
void weir_queue_evict(struct weir_queue *queue, struct queue_item **garbage);
void weir_queue_expire(struct weir_queue *queue, uint64_t now, struct queue_item **garbage);
/* Of struct weir_ticket: queue's thread, inside send(), drive() or close(), without the lock. */
void weir_queue_settle(struct weir_ticket *ticket, enum weir_settlement how, uint64_t retry_after_ns, const char *why);
/* Linked by next; without the lock, since batches are large. Those that are on disk: queue's thread only. */
void weir_queue_discard(struct weir_queue *queue, struct queue_item *item);

/* ---- queue_disk.c; queue's thread, without the lock ---- */

/* Batches to disk, or from it, as memory and age ask. Does a bounded piece of it; true: there is more to do now. */
bool weir_queue_move(struct weir_queue *queue);
/* What is left in memory, when the exporter is closed. What cannot be written stays where it is. */
void weir_queue_put_away(struct weir_queue *queue);
/* Under the lock: until there is something to read back; UINT64_MAX: nothing that can be taken now. */
uint64_t weir_queue_disk_wait(const struct weir_queue *queue, uint64_t now);
/* Under the lock: what is pushed goes behind what is on disk. */
bool weir_queue_is_spooling(const struct weir_queue *queue);
#endif
