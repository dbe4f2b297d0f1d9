/* queue_disk.c - what an exporter's queue has no memory for goes to its spool, and comes back in order.
 *
 *   push ──> waiting ──send──>           nothing is on disk
 *   push ──> arriving ──> disk ──> waiting ──send──>     something is: what comes goes behind it
 *
 * Batches go to disk when half of memory_bytes is used, or when one waits for longer than memory_age; they come back
 * while waiting holds less than an eighth of memory_bytes. What came back stays on disk until it is settled. When the
 * disk says no, batches stay in memory, and beyond memory_bytes the oldest is dropped: as without a spool. */
#include "collector/spool/queue_inside.h"

#include <assert.h>
#include <stdlib.h>

enum { SPILLS_A_ROUND = 8 };
#define AGAIN_NS          WEIR_S /* a disk that said no is asked again after it */
#define PUT_AWAY_NS_LEAST WEIR_S /* what memory holds at the end has so long to be written, however late it is */

static bool is_on_disk(const struct weir_queue *queue) {
    return queue->row.spooled > 0;
}

bool weir_queue_is_spooling(const struct weir_queue *queue) {
    return queue->spool != NULL && (is_on_disk(queue) || queue->writing || queue->arriving.first != NULL);
}

/* What may wait in memory to be sent next. While the back end fails that is the probe. */
static size_t head_bytes(const struct weir_queue *queue) {
    return queue->failures > 0 ? 0 : queue->config.memory_bytes / 8;
}

static size_t waiting_bytes(const struct weir_queue *queue) {
    size_t bytes = 0;
    for (const struct queue_item *item = queue->waiting.first; item != NULL; item = item->next)
        bytes += item->memory;
    return bytes;
}

/* ---- to disk ---- */

static bool is_short(const struct weir_queue *queue) {
    return queue->memory > queue->config.memory_bytes / 2;
}

static bool is_old(const struct weir_queue *queue, const struct queue_item *item, uint64_t now) {
    return item != NULL && !item->on_disk && now - item->pushed_ns > queue->disk.memory_age_ns;
}

/* Of what waits: what came back from disk stays there too until it is settled. */
static const struct queue_item *oldest_in_memory(const struct weir_queue *queue) {
    const struct queue_item *item = queue->waiting.first;
    while (item != NULL && item->on_disk)
        item = item->next;
    return item;
}

/* Nothing is on disk, and something has to go there: all that is behind the head, from now on in order. */
static void begin(struct weir_queue *queue, uint64_t now) {
    size_t head = is_old(queue, oldest_in_memory(queue), now) ? 0 : head_bytes(queue), bytes = 0;
    struct queue_item *item = queue->waiting.first;
    while (item != NULL && (bytes += item->memory) <= head)
        item = item->next;
    while (item != NULL) {
        struct queue_item *next = item->next;
        if (!item->on_disk) {
            weir_queue_remove(&queue->waiting, item);
            weir_queue_insert(&queue->arriving, item);
        }
        item = next;
    }
}

/* Nothing is on disk any more: what arrived meanwhile is next. */
static void end(struct weir_queue *queue) {
    struct queue_item *item;
    while ((item = queue->arriving.first) != NULL) {
        weir_queue_remove(&queue->arriving, item);
        item->sequence = queue->sequence++; /* behind what came from disk */
        weir_queue_insert(&queue->waiting, item);
    }
}

/* The next batch that has to go to disk, taken out of its list, or NULL. */
static struct queue_item *next_to_spill(struct weir_queue *queue, uint64_t now) {
    bool wanted = is_short(queue) || is_old(queue, queue->arriving.first, now) ||
                  (!weir_queue_is_spooling(queue) && is_old(queue, oldest_in_memory(queue), now));
    if (!weir_queue_is_spooling(queue) && wanted) begin(queue, now);
    if (!wanted && !is_on_disk(queue)) end(queue);
    struct queue_item *item = wanted ? queue->arriving.first : NULL;
    if (item != NULL) weir_queue_remove(&queue->arriving, item);
    queue->writing = item != NULL;
    return item;
}

static void lost(struct weir_queue *queue, uint64_t spans) {
    pthread_mutex_lock(&queue->lock);
    queue->row.spooled -= spans;
    WEIR_TALLY("dropped_full", queue->row.dropped[WEIR_QUEUE_FULL], spans);
    pthread_mutex_unlock(&queue->lock);
    weir_log_limited(&queue->room_limit, WEIR_LOG_WARN, "spool_full exporter=%s dropped_oldest_spans=%llu",
                     queue->config.name, (unsigned long long)spans);
}

/* The oldest goes, whatever of it was read back first. False: there is nothing that could. */
static bool make_room(struct weir_queue *queue) {
    struct queue_item *garbage = NULL;
    pthread_mutex_lock(&queue->lock);
    for (struct queue_item *item = queue->waiting.first; item != NULL;) {
        struct queue_item *next = item->next;
        if (item->on_disk) weir_queue_drop(queue, &queue->waiting, item, WEIR_QUEUE_FULL, &garbage);
        item = next;
    }
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, garbage);
    uint64_t spans = weir_spool_make_room(queue->spool);
    if (spans > 0) lost(queue, spans);
    return spans > 0;
}

/* Spans of the batch that are on disk now. */
static uint32_t write_out(struct weir_queue *queue, const struct queue_item *item, uint64_t now) {
    struct weir_error err = {0};
    uint32_t from = 0;
    enum weir_status status;
    do {
        status = weir_spool_write(queue->spool, item->batch, &from, now - item->pushed_ns, &err);
    } while (status == WEIR_FULL && make_room(queue));
    if (status == WEIR_OK) {
        if (queue->disk_failing) weir_log(WEIR_LOG_INFO, "spool_recovered exporter=%s", queue->config.name);
        queue->disk_failing = false;
        return from;
    }
    queue->disk_failing = true;
    queue->spill_ns = now + AGAIN_NS;
    weir_log_limited(&queue->disk_limit, WEIR_LOG_WARN, "spool_failed exporter=%s why=\"%s\"", queue->config.name,
                     err.text);
    return from;
}

/* Books what was written of an item that is in no list; true: it is done with. */
static bool book_spilled(struct weir_queue *queue, struct queue_item *item, uint32_t written) {
    uint32_t spans = item->batch->span_count;
    if (written == 0) return false;
    queue->row.queued -= spans;
    queue->memory -= item->memory;
    WEIR_TALLY("spooled", queue->row.spooled, written);
    /* A part of a batch so large that it is several records: what is left of it would come twice. */
    WEIR_TALLY("dropped_full", queue->row.dropped[WEIR_QUEUE_FULL], spans - written);
    return true;
}

/* Synced before the batches go: what a journal has for their sake goes with them. */
static void sync_and_discard(struct weir_queue *queue, struct queue_item *written) {
    struct weir_error err = {0};
    if (written != NULL && queue->disk.durable && weir_spool_sync(queue->spool, &err) != WEIR_OK) {
        weir_log_limited(&queue->disk_limit, WEIR_LOG_WARN, "spool_failed exporter=%s why=\"%s\"", queue->config.name,
                         err.text);
        for (struct queue_item *item = written; item != NULL; item = item->next)
            weir_batch_leave(item->batch); /* the journal's copy stays until the next start */
    }
    weir_queue_discard(queue, written);
}

/* True: there is more to spill. */
static bool spill(struct weir_queue *queue, uint64_t now) {
    struct queue_item *written = NULL;
    bool more = true;
    if (now < queue->spill_ns) return false;
    for (int i = 0; i < SPILLS_A_ROUND && more; i++) {
        pthread_mutex_lock(&queue->lock);
        bool late = queue->stopping && weir_mono_ns(queue->clock) >= queue->deadline_ns;
        struct queue_item *item = late ? NULL : next_to_spill(queue, now);
        pthread_mutex_unlock(&queue->lock);
        more = item != NULL;
        if (!more) break;
        uint32_t spans = write_out(queue, item, now);
        pthread_mutex_lock(&queue->lock);
        if (book_spilled(queue, item, spans)) {
            item->next = written;
            written = item;
        } else {
            weir_queue_insert(&queue->arriving, item);
            more = false;
        }
        queue->writing = false;
        weir_queue_show_memory(queue);
        pthread_mutex_unlock(&queue->lock);
    }
    sync_and_discard(queue, written);
    return more;
}

/* ---- from disk ---- */

static bool wants_more(struct weir_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool wants = !queue->stopping && is_on_disk(queue) &&
                 (queue->waiting.first == NULL || waiting_bytes(queue) < head_bytes(queue));
    pthread_mutex_unlock(&queue->lock);
    return wants;
}

static void book_read(struct weir_queue *queue, const struct weir_spool_read *read, struct queue_item *item) {
    uint32_t spans = read->batch != NULL ? read->batch->span_count : 0;
    pthread_mutex_lock(&queue->lock);
    queue->row.spooled -= read->damaged + read->expired + spans;
    WEIR_TALLY("dropped_damaged", queue->row.dropped[WEIR_QUEUE_DAMAGED], read->damaged);
    WEIR_TALLY("dropped_expired", queue->row.dropped[WEIR_QUEUE_EXPIRED], read->expired);
    if (item != NULL) {
        item->sequence = queue->sequence++;
        WEIR_TALLY("queued_from_disk", queue->row.queued, spans);
        queue->memory += item->memory;
        weir_queue_insert(&queue->waiting, item);
    }
    weir_queue_show_memory(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* True: something came. */
static bool refill_one(struct weir_queue *queue, uint64_t now) {
    struct queue_item *item = calloc(1, sizeof *item);
    struct weir_spool_read read;
    if (item == NULL) return false;
    weir_spool_read(queue->spool, queue->config.max_age_ns, &read);
    if (read.batch == NULL) {
        free(item);
        item = NULL;
    } else {
        item->ticket.settle = weir_queue_settle;
        item->queue = queue;
        item->batch = read.batch;
        item->memory = weir_batch_memory(read.batch);
        item->pushed_ns = read.age_ns < now ? now - read.age_ns : 0;
        item->on_disk = true;
        item->token = read.token;
    }
    book_read(queue, &read, item);
    if (read.refused) queue->read_ns = now + AGAIN_NS;
    if (queue->disk.read_bytes_per_second > 0) {
        uint64_t from = queue->read_ns > now ? queue->read_ns : now;
        queue->read_ns = from + (uint64_t)((double)read.bytes * 1e9 / (double)queue->disk.read_bytes_per_second);
    }
    return item != NULL;
}

static void refill(struct weir_queue *queue, uint64_t now) {
    while (now >= queue->read_ns && wants_more(queue)) {
        if (!refill_one(queue, now)) break;
    }
}

bool weir_queue_move(struct weir_queue *queue) {
    if (queue->spool == NULL) return false;
    uint64_t now = weir_mono_ns(queue->clock);
    bool more = spill(queue, now);
    refill(queue, now);
    if (now >= queue->tick_ns) {
        queue->tick_ns = now + WEIR_S;
        weir_spool_tick(queue->spool);
    }
    return more;
}

uint64_t weir_queue_disk_wait(const struct weir_queue *queue, uint64_t now) {
    if (queue->spool == NULL || queue->stopping || !is_on_disk(queue) || queue->waiting.first != NULL) return 0;
    return queue->read_ns > now ? queue->read_ns - now : 0;
}

/* ---- the end ---- */

/* What is there is written until until_ns, or until the disk says no. What is on disk already only leaves memory. */
static void put_away(struct weir_queue *queue, struct queue_list *list, uint64_t until_ns) {
    struct queue_item *done = NULL, *next;
    bool stopped = false;
    for (struct queue_item *item = list->first; item != NULL; item = next) {
        pthread_mutex_lock(&queue->lock);
        next = item->next;
        pthread_mutex_unlock(&queue->lock);
        uint64_t now = weir_mono_ns(queue->clock);
        if (!item->on_disk && (stopped || now >= until_ns)) continue;
        uint32_t written = item->on_disk ? item->batch->span_count : write_out(queue, item, now);
        pthread_mutex_lock(&queue->lock);
        bool booked = book_spilled(queue, item, written);
        if (booked) weir_queue_remove(list, item);
        pthread_mutex_unlock(&queue->lock);
        if (!booked) {
            stopped = true;
            continue;
        }
        item->on_disk = false; /* its token stays unsettled: the next start reads it again */
        item->next = done;
        done = item;
    }
    sync_and_discard(queue, done);
}

void weir_queue_put_away(struct weir_queue *queue) {
    struct weir_error err;
    if (queue->spool == NULL) return;
    uint64_t until_ns = weir_mono_ns(queue->clock) + PUT_AWAY_NS_LEAST;
    if (until_ns < queue->end_ns) until_ns = queue->end_ns;
    put_away(queue, &queue->waiting, until_ns);
    put_away(queue, &queue->arriving, until_ns);
    weir_spool_sync(queue->spool, &err);
}

enum weir_status weir_queue_spool(struct weir_queue *queue, const struct weir_queue_disk *disk,
                                  const struct weir_spool_options *options, struct weir_error *err) {
    assert(!queue->started && queue->spool == NULL);
    enum weir_status status = weir_spool_open(&queue->spool, options, err);
    if (status != WEIR_OK) return status;
    queue->disk = *disk;
    queue->row.spooled = weir_spool_spans(queue->spool);
    WEIR_TALLY("recovered_queue", queue->row.recovered, queue->row.spooled);
    if (queue->row.recovered > 0)
        weir_log(WEIR_LOG_INFO, "spool_found exporter=%s spans=%llu", queue->config.name,
                 (unsigned long long)queue->row.recovered);
    return WEIR_OK;
}
