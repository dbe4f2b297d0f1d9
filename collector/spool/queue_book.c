/* queue_book.c - the order of batches, what becomes of them, and the exporter's row of the ledger. */
#include "collector/spool/queue_inside.h"

#include <stdlib.h>

#define RETRY_AFTER_MAX (5 * 60 * WEIR_S) /* a back end may not silence us for longer: its header may be a mistake */

/* ---- the list ---- */

void weir_queue_remove(struct queue_list *list, struct queue_item *item) {
    *(item->previous != NULL ? &item->previous->next : &list->first) = item->next;
    *(item->next != NULL ? &item->next->previous : &list->last) = item->previous;
    item->previous = item->next = NULL;
    list->memory -= item->memory;
}

void weir_queue_insert(struct queue_list *list, struct queue_item *item) {
    struct queue_item *after = list->last;
    while (after != NULL && after->sequence > item->sequence)
        after = after->previous;
    item->previous = after;
    item->next = after != NULL ? after->next : list->first;
    *(item->previous != NULL ? &item->previous->next : &list->first) = item;
    *(item->next != NULL ? &item->next->previous : &list->last) = item;
    list->memory += item->memory;
}

void weir_queue_discard(struct weir_queue *queue, struct queue_item *item) {
    while (item != NULL) {
        struct queue_item *next = item->next;
        if (item->on_disk) weir_spool_settled(queue->spool, item->token);
        weir_batch_unref(item->batch);
        free(item->ticket.notes);
        free(item);
        item = next;
    }
}

/* ---- accounting, under the lock ---- */

void weir_queue_show_memory(struct weir_queue *queue) {
    weir_gauge(queue->set, QUEUE_BYTES, queue->memory);
    weir_gauge(queue->set, QUEUE_LIMIT, queue->config.memory_bytes);
}

static uint32_t rejected_of(const struct queue_item *item) {
    uint32_t settled = item->ticket.settled_spans;
    return item->ticket.rejected_spans < settled ? item->ticket.rejected_spans : settled;
}

/* A batch leaves without (or with only a part) having been delivered. `counter` names the tally of `reason`. */
static void book_drop(struct weir_queue *queue, const struct queue_item *item, enum weir_queue_drop reason) {
    uint32_t settled = item->ticket.settled_spans, rejected = rejected_of(item);
    uint64_t rest = item->batch->span_count - settled;
    if (settled > 0) {
        WEIR_TALLY("delivered", queue->row.delivered, settled - rejected);
        WEIR_TALLY("dropped_rejected", queue->row.dropped[WEIR_QUEUE_REJECTED], rejected);
    }
    switch (reason) {
    case WEIR_QUEUE_FULL: WEIR_TALLY("dropped_full", queue->row.dropped[reason], rest); break;
    case WEIR_QUEUE_EXPIRED: WEIR_TALLY("dropped_expired", queue->row.dropped[reason], rest); break;
    case WEIR_QUEUE_REJECTED: WEIR_TALLY("dropped_rejected", queue->row.dropped[reason], rest); break;
    default:
        WEIR_TALLY("dropped_shutdown", queue->row.dropped[reason], rest);
        weir_batch_leave(item->batch);
        break;
    }
}

void weir_queue_drop(struct weir_queue *queue, struct queue_list *list, struct queue_item *item,
                     enum weir_queue_drop reason, struct queue_item **garbage) {
    weir_queue_remove(list, item);
    queue->row.queued -= item->batch->span_count;
    queue->memory -= item->memory;
    book_drop(queue, item, reason);
    item->next = *garbage;
    *garbage = item;
}

static struct queue_item *oldest_in_memory_only(struct queue_list *list) {
    struct queue_item *item = list->first;
    while (item != NULL && item->on_disk)
        item = item->next;
    return item;
}

void weir_queue_evict(struct weir_queue *queue, struct queue_item **garbage) {
    while (queue->memory > queue->config.memory_bytes) {
        struct queue_list *list = &queue->waiting;
        struct queue_item *item = oldest_in_memory_only(list);
        if (item == NULL) item = oldest_in_memory_only(list = &queue->arriving);
        if (item == NULL) break; /* what came from disk is bounded by queue_disk.c */
        weir_queue_drop(queue, list, item, WEIR_QUEUE_FULL, garbage);
    }
    weir_queue_show_memory(queue);
}

static void expire_list(struct weir_queue *queue, struct queue_list *list, uint64_t now, struct queue_item **garbage) {
    for (struct queue_item *item = list->first; item != NULL && now - item->pushed_ns > queue->config.max_age_ns;) {
        struct queue_item *next = item->next;
        weir_queue_drop(queue, list, item, WEIR_QUEUE_EXPIRED, garbage);
        item = next;
    }
}

void weir_queue_expire(struct weir_queue *queue, uint64_t now, struct queue_item **garbage) {
    expire_list(queue, &queue->waiting, now, garbage);
    expire_list(queue, &queue->arriving, now, garbage);
    weir_queue_show_memory(queue);
}

/* ---- back-off ---- */

/* Full jitter: anywhere in (0, min(max, initial * 2^(failures-1))], so that many senders do not come back at once.
 * Source: AWS Architecture Blog, "Exponential Backoff And Jitter". */
static uint64_t back_off(struct weir_queue *queue, uint32_t failures) {
    uint64_t delay = queue->config.retry_initial_ns, max = queue->config.retry_max_ns;
    for (uint32_t i = 1; i < failures && delay < max; i++)
        delay *= 2;
    if (delay > max) delay = max;
    queue->random ^= queue->random << 13; /* xorshift64; needs no better */
    queue->random ^= queue->random >> 7;
    queue->random ^= queue->random << 17;
    return delay == 0 ? 0 : 1 + queue->random % delay;
}

static void pause_for(struct weir_queue *queue, struct queue_item *item, uint64_t now, uint64_t retry_after_ns) {
    /* Several batches that were in flight together fail for one reason: one step of the back-off. */
    if (queue->failures == 0 || item->sent_ns > queue->failed_ns) {
        queue->failures++;
        uint64_t delay = back_off(queue, queue->failures);
        if (queue->stopping && delay > queue->config.retry_initial_ns) delay = queue->config.retry_initial_ns;
        queue->resume_ns = now + delay;
    }
    queue->failed_ns = now;
    if (retry_after_ns > RETRY_AFTER_MAX) retry_after_ns = RETRY_AFTER_MAX;
    if (queue->resume_ns < now + retry_after_ns) queue->resume_ns = now + retry_after_ns;
    /* Others get through and this one does not: it waits by itself. */
    item->retry_ns = item->attempts > queue->failures ? now + back_off(queue, item->attempts) : 0;
}

/* ---- settlement; the queue's thread, inside send(), drive() or close() ---- */

void weir_queue_settle(struct weir_ticket *ticket, enum weir_settlement how, uint64_t retry_after_ns, const char *why) {
    struct queue_item *item = (struct queue_item *)(void *)ticket;
    struct weir_queue *queue = item->queue;
    uint64_t now = weir_mono_ns(queue->clock);
    struct queue_item *garbage = NULL;
    bool recovered = false;
    pthread_mutex_lock(&queue->lock);
    weir_queue_remove(&queue->flying, item);
    queue->flying_count--;
    weir_concurrency_settled(&queue->concurrency, now, now - item->sent_ns, how != WEIR_RETRY);
    uint32_t spans = item->batch->span_count;
    queue->row.in_flight -= spans;
    weir_count(queue->set, SEND_SECONDS, now - item->sent_ns);
    if (item->ticket.settled_spans > spans) item->ticket.settled_spans = spans;
    switch (how) {
    case WEIR_DELIVERED:
        item->ticket.settled_spans = spans;
        WEIR_TALLY("delivered", queue->row.delivered, spans - rejected_of(item));
        WEIR_TALLY("dropped_rejected", queue->row.dropped[WEIR_QUEUE_REJECTED], rejected_of(item));
        weir_count(queue->set, SENDS_DELIVERED, 1);
        break;
    case WEIR_REJECTED:
        book_drop(queue, item, WEIR_QUEUE_REJECTED);
        weir_count(queue->set, SENDS_REJECTED, 1);
        break;
    case WEIR_RETRY:
        WEIR_TALLY("queued", queue->row.queued, spans);
        pause_for(queue, item, now, retry_after_ns);
        weir_queue_insert(&queue->waiting, item);
        weir_count(queue->set, SENDS_RETRY, 1);
        weir_queue_evict(queue, &garbage); /* while it was in flight, it could not be */
        break;
    }
    uint64_t held = queue->row.spooled + queue->row.queued + queue->row.in_flight;
    if (how != WEIR_RETRY) { /* either answer says that the back end is there */
        recovered = queue->failing_logged;
        queue->failing_logged = false;
        queue->failures = 0;
        queue->resume_ns = 0;
        queue->memory -= item->memory;
        item->next = garbage;
        garbage = item;
        weir_queue_show_memory(queue);
    } else {
        queue->failing_logged = true;
    }
    uint64_t wait_ms = queue->resume_ns > now ? (queue->resume_ns - now) / WEIR_MS : 0;
    pthread_mutex_unlock(&queue->lock);

    const char *name = queue->config.name;
    if (how == WEIR_RETRY) {
        weir_log_limited(&queue->failed_limit, WEIR_LOG_WARN,
                         "export_failed exporter=%s why=\"%s\" held=%llu retry_in_ms=%llu", name,
                         why != NULL ? why : "", (unsigned long long)held, (unsigned long long)wait_ms);
    } else if (how == WEIR_REJECTED || rejected_of(item) > 0) {
        weir_log_limited(&queue->rejected_limit, WEIR_LOG_WARN, "export_rejected exporter=%s why=\"%s\" spans=%u", name,
                         why != NULL ? why : "", how == WEIR_REJECTED ? spans : rejected_of(item));
    }
    if (recovered) {
        weir_log_limited(&queue->recovered_limit, WEIR_LOG_INFO, "export_recovered exporter=%s held=%llu", name,
                         (unsigned long long)held);
    }
    weir_queue_discard(queue, garbage);
}
