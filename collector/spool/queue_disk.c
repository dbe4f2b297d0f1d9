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

enum { SPILLS_A_ROUND = 8, READS_A_ROUND = 8, HOLDS_UP_ATTEMPTS = 8 };
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

/* ---- to disk ---- */

static bool is_short(const struct weir_queue *queue) {
    return queue->memory > queue->config.memory_bytes / 2;
}

static bool is_old(const struct weir_queue *queue, const struct queue_item *item, uint64_t now) {
    return item != NULL && now > item->pushed_ns && now - item->pushed_ns > queue->disk.memory_age_ns;
}

/* What came back from disk is there until it is settled; one of which a part is delivered would come as a whole. */
static bool may_go(const struct queue_item *item) {
    return !item->on_disk && !item->too_large && item->ticket.settled_spans == 0;
}

static const struct queue_item *first_that_may_go(const struct queue_list *list) {
    const struct queue_item *item = list->first;
    while (item != NULL && !may_go(item))
        item = item->next;
    return item;
}

/* Nothing is on disk, and something has to go there: all that is behind the head, from now on in order. */
static void begin(struct weir_queue *queue, uint64_t now) {
    size_t head = is_old(queue, first_that_may_go(&queue->waiting), now) ? 0 : head_bytes(queue), bytes = 0;
    struct queue_item *item = queue->waiting.first;
    while (item != NULL && (bytes += item->memory) <= head)
        item = item->next;
    while (item != NULL) {
        struct queue_item *next = item->next;
        if (may_go(item)) {
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
                  (!weir_queue_is_spooling(queue) && is_old(queue, first_that_may_go(&queue->waiting), now));
    if (!weir_queue_is_spooling(queue) && wanted) begin(queue, now);
    if (!wanted && !is_on_disk(queue)) end(queue);
    struct queue_item *item = wanted ? queue->arriving.first : NULL;
    if (item != NULL) weir_queue_remove(&queue->arriving, item);
    queue->writing = item != NULL;
    return item;
}

static void lost(struct weir_queue *queue, uint64_t read_back, uint64_t rest) {
    pthread_mutex_lock(&queue->lock);
    queue->row.spooled -= rest;
    WEIR_TALLY("dropped_full", queue->row.dropped[WEIR_QUEUE_FULL], rest);
    pthread_mutex_unlock(&queue->lock);
    weir_log_limited(&queue->room_limit, WEIR_LOG_WARN, "spool_full exporter=%s dropped_oldest_spans=%llu",
                     queue->config.name, (unsigned long long)(read_back + rest));
}

static bool is_of_oldest(const struct weir_queue *queue, const struct queue_item *item) {
    return item->on_disk && weir_spool_segment(queue->spool, item->token) == weir_spool_oldest(queue->spool);
}

/* Gives up what was read back of the oldest segment. False: some of it is under way, and the segment stays. */
static bool drop_oldest(struct weir_queue *queue, uint64_t *spans) {
    struct queue_item *garbage = NULL;
    bool under_way = false;
    pthread_mutex_lock(&queue->lock);
    for (struct queue_item *item = queue->flying.first; item != NULL && !under_way; item = item->next)
        under_way = is_of_oldest(queue, item);
    for (struct queue_item *item = queue->waiting.first; item != NULL && !under_way;) {
        struct queue_item *next = item->next;
        if (is_of_oldest(queue, item)) {
            *spans += item->batch->span_count;
            weir_queue_drop(queue, &queue->waiting, item, WEIR_QUEUE_FULL, &garbage);
        }
        item = next;
    }
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, garbage);
    return !under_way;
}

/* The oldest goes, whatever of it was read back first. False: there is nothing that could. */
static bool make_room(struct weir_queue *queue) {
    uint64_t read_back = 0, rest = 0;
    uint64_t oldest = weir_spool_oldest(queue->spool);
    if (!drop_oldest(queue, &read_back)) return false;
    if (weir_spool_oldest(queue->spool) == oldest) rest = weir_spool_make_room(queue->spool);
    if (read_back + rest > 0) lost(queue, read_back, rest);
    return read_back + rest > 0;
}

/* Spans of the batch that are on disk now. */
static uint32_t write_out(struct weir_queue *queue, struct queue_item *item) {
    struct weir_error err = {0};
    uint64_t now = weir_mono_ns(queue->clock);
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
    if (status == WEIR_INVALID) {
        item->too_large = true;
    } else {
        queue->disk_failing = true;
        queue->spill_ns = now + AGAIN_NS;
    }
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
static bool spill(struct weir_queue *queue) {
    struct queue_item *written = NULL;
    bool more = true;
    if (weir_mono_ns(queue->clock) < queue->spill_ns) return false;
    for (int i = 0; i < SPILLS_A_ROUND && more; i++) {
        pthread_mutex_lock(&queue->lock);
        uint64_t now = weir_mono_ns(queue->clock); /* others push meanwhile */
        bool late = queue->stopping && now >= queue->deadline_ns;
        struct queue_item *item = late ? NULL : next_to_spill(queue, now);
        pthread_mutex_unlock(&queue->lock);
        more = item != NULL;
        if (!more) break;
        uint32_t spans = write_out(queue, item);
        pthread_mutex_lock(&queue->lock);
        if (book_spilled(queue, item, spans)) {
            item->next = written;
            written = item;
        } else if (item->too_large) {
            weir_queue_insert(&queue->waiting, item);
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

/* One that the back end does not take, while others get through, and that is all that keeps the oldest segment. */
static struct queue_item *next_to_move(const struct weir_queue *queue) {
    struct queue_item *item = queue->waiting.first;
    if (!weir_spool_has_newer(queue->spool)) return NULL;
    while (item != NULL && (item->attempts < HOLDS_UP_ATTEMPTS || item->attempts <= queue->failures ||
                            !is_of_oldest(queue, item) || item->ticket.settled_spans > 0))
        item = item->next;
    return item;
}

/* It goes behind what is on disk: else nothing of that could be removed before it expires, and all that was delivered
 * since would come again at the next start. It was one record, and is one again: all of it is written, or nothing. */
static void move_behind(struct weir_queue *queue) {
    struct weir_error err = {0};
    uint32_t from = 0;
    pthread_mutex_lock(&queue->lock);
    struct queue_item *item = next_to_move(queue);
    if (item != NULL) weir_queue_remove(&queue->waiting, item);
    pthread_mutex_unlock(&queue->lock);
    if (item == NULL) return;
    uint64_t age_ns = weir_mono_ns(queue->clock) - item->pushed_ns;
    weir_spool_write(queue->spool, item->batch, &from, age_ns, &err);
    if (from > 0 && queue->disk.durable) weir_spool_sync(queue->spool, &err);
    pthread_mutex_lock(&queue->lock);
    if (!book_spilled(queue, item, from)) {
        weir_queue_insert(&queue->waiting, item);
        item = NULL;
    }
    weir_queue_show_memory(queue);
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, item);
}

/* ---- from disk ---- */

/* Under the lock: is there room for what is on disk? It takes half of memory, so that what comes finds the other. */
static bool has_room(const struct weir_queue *queue) {
    if (queue->stopping || !is_on_disk(queue)) return false;
    if (queue->waiting.first == NULL && queue->flying.first == NULL) return true;
    return (queue->waiting.first == NULL || queue->waiting.memory < head_bytes(queue)) &&
           queue->waiting.memory + queue->flying.memory + queue->read_memory < queue->config.memory_bytes / 2 &&
           queue->memory + queue->read_memory < queue->config.memory_bytes;
}

static bool wants_more(struct weir_queue *queue, uint64_t *max_age_ns) {
    pthread_mutex_lock(&queue->lock);
    bool wants = has_room(queue);
    *max_age_ns = queue->config.max_age_ns;
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
        queue->read_memory = item->memory;
        weir_queue_insert(&queue->waiting, item);
    }
    weir_queue_show_memory(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* True: something came. */
static bool refill_one(struct weir_queue *queue, uint64_t max_age_ns, uint64_t now) {
    struct queue_item *item = calloc(1, sizeof *item);
    struct weir_spool_read read;
    if (item == NULL) return false;
    weir_spool_read(queue->spool, max_age_ns, &read);
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

/* True: there is more to read. */
static bool refill(struct weir_queue *queue) {
    uint64_t now = weir_mono_ns(queue->clock), max_age_ns;
    for (int i = 0; now >= queue->read_ns && wants_more(queue, &max_age_ns); i++) {
        if (i == READS_A_ROUND) return true;
        if (!refill_one(queue, max_age_ns, now)) {
            queue->read_ns = now + AGAIN_NS; /* out of memory */
            break;
        }
    }
    return false;
}

bool weir_queue_move(struct weir_queue *queue) {
    if (queue->spool == NULL) return false;
    bool more = refill(queue);
    more = spill(queue) || more; /* last, so that what comes finds room */
    uint64_t now = weir_mono_ns(queue->clock);
    if (now >= queue->tick_ns) {
        queue->tick_ns = now + WEIR_S;
        move_behind(queue);
        weir_spool_tick(queue->spool);
    }
    return more;
}

uint64_t weir_queue_disk_wait(const struct weir_queue *queue, uint64_t now) {
    if (queue->spool == NULL || !has_room(queue)) return UINT64_MAX;
    return queue->read_ns > now ? queue->read_ns - now : 0;
}

/* ---- the end ---- */

static struct queue_item *next_to_put_away(struct queue_list *list) {
    struct queue_item *item = list->first;
    while (item != NULL && (item->on_disk || item->too_large))
        item = item->next;
    if (item != NULL) weir_queue_remove(list, item);
    return item;
}

/* What is there is written until until_ns, or until the disk says no. */
static void put_away(struct weir_queue *queue, struct queue_list *list, uint64_t until_ns) {
    struct queue_item *done = NULL;
    for (bool goes_on = true; goes_on && weir_mono_ns(queue->clock) < until_ns;) {
        pthread_mutex_lock(&queue->lock);
        struct queue_item *item = next_to_put_away(list);
        pthread_mutex_unlock(&queue->lock);
        if (item == NULL) break;
        uint32_t written = write_out(queue, item);
        pthread_mutex_lock(&queue->lock);
        bool booked = book_spilled(queue, item, written);
        if (!booked) weir_queue_insert(list, item);
        pthread_mutex_unlock(&queue->lock);
        goes_on = booked || item->too_large; /* the others may fit */
        if (!booked) continue;
        item->next = done;
        done = item;
    }
    sync_and_discard(queue, done);
}

/* What was read back is there still: the next start reads it again. */
static void leave_on_disk(struct weir_queue *queue) {
    struct queue_item *done = NULL;
    pthread_mutex_lock(&queue->lock);
    for (struct queue_item *item = queue->waiting.first, *next; item != NULL; item = next) {
        next = item->next;
        if (!item->on_disk) continue;
        weir_queue_remove(&queue->waiting, item);
        book_spilled(queue, item, item->batch->span_count);
        item->on_disk = false; /* its token stays unsettled */
        item->next = done;
        done = item;
    }
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, done);
}

void weir_queue_put_away(struct weir_queue *queue) {
    struct weir_error err;
    if (queue->spool == NULL) return;
    uint64_t until_ns = weir_mono_ns(queue->clock) + PUT_AWAY_NS_LEAST;
    if (until_ns < queue->end_ns) until_ns = queue->end_ns;
    put_away(queue, &queue->waiting, until_ns);
    put_away(queue, &queue->arriving, until_ns);
    leave_on_disk(queue); /* last: until then it may have to make room */
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
