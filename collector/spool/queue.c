/* queue.c - batches in order of arrival, one thread that sends them.
 *
 *   push ──> waiting (oldest first) ──send──> in flight ──settle──> delivered, rejected
 *               │    ^                            │
 *               │    └──────────── retry ─────────┘   back to its place in the order
 *               └─> full, expired, shutdown        with a spool: disk, see queue_disk.c
 *
 * While the back end fails, the whole queue pauses (exponential back-off, full jitter) and then sends one batch as a
 * probe; a batch that fails while others get through waits by itself, so that one poisoned batch holds up nobody. */
#include "collector/core/thread.h"
#include "collector/spool/queue_inside.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PROBE_PATIENCE = 4,  /* so often one batch is the probe before the next one is tried */
    DRIVE_MS_MAX = 1000, /* exporters do their own chores (rotation by age) in drive(), at least this often */
};

static const struct weir_metric metrics[QUEUE_METRICS] = {
    [QUEUE_BYTES] = {"exporter_queue_bytes", NULL, WEIR_GAUGE,
                     "Memory of the batches that an exporter's queue holds, those in flight included."},
    [QUEUE_LIMIT] = {"exporter_queue_limit_bytes", NULL, WEIR_GAUGE, "Bound of weir_exporter_queue_bytes."},
    [SENDS_DELIVERED] = {"exporter_sends_total", "outcome=\"delivered\"", WEIR_COUNTER,
                         "Batches that an exporter settled, by outcome."},
    [SENDS_RETRY] = {"exporter_sends_total", "outcome=\"retry\"", WEIR_COUNTER,
                     "Batches that an exporter settled, by outcome."},
    [SENDS_REJECTED] = {"exporter_sends_total", "outcome=\"rejected\"", WEIR_COUNTER,
                        "Batches that an exporter settled, by outcome."},
    [SEND_SECONDS] = {"exporter_send_seconds_total", NULL, WEIR_COUNTER_NS,
                      "Time from sending a batch to its settlement, summed over batches."},
    [OLDEST_AGE] = {"exporter_oldest_age_seconds", NULL, WEIR_GAUGE_NS,
                    "Age of the oldest batch that an exporter holds; 0 when it holds none."},
    [IN_FLIGHT_LIMIT] = {"exporter_in_flight_limit", NULL, WEIR_GAUGE,
                         "Batches that an exporter may have under way: it follows how fast the back end answers."},
    [PAUSED] = {"exporter_paused", NULL, WEIR_GAUGE,
                "1 while a back end fails: nothing is sent but one batch now and then, to see whether it is back."},
};

/* ---- sending ---- */

static struct queue_item *choose(struct weir_queue *queue, uint64_t now) {
    if (now < queue->resume_ns || queue->waiting.first == NULL) return NULL;
    if (queue->flying_count >= (queue->failures > 0 ? 1 : weir_concurrency_limit(&queue->concurrency))) {
        weir_concurrency_met(&queue->concurrency);
        return NULL;
    }
    struct queue_item *best = NULL;
    for (struct queue_item *item = queue->waiting.first; item != NULL; item = item->next) {
        if (item->retry_ns > now) continue;
        if (queue->failures == 0) return item;
        if (best == NULL || item->attempts / PROBE_PATIENCE < best->attempts / PROBE_PATIENCE) best = item;
        if (best->attempts < PROBE_PATIENCE) break;
    }
    return best;
}

static void send_one(struct weir_queue *queue, struct queue_item *item,
                     uint64_t now) { /* under the lock, which is let go */
    uint32_t spans = item->batch->span_count;
    weir_queue_remove(&queue->waiting, item);
    weir_queue_insert(&queue->flying, item);
    queue->flying_count++;
    queue->row.queued -= spans;
    WEIR_TALLY("in_flight", queue->row.in_flight, spans);
    item->attempts++;
    item->sent_ns = now;
    pthread_mutex_unlock(&queue->lock);
    queue->exporter->send(queue->self, item->batch, &item->ticket); /* may settle, and so free the item */
    pthread_mutex_lock(&queue->lock);
}

/* When something waits: until it may be sent. Under the lock. */
static uint64_t until_next(const struct weir_queue *queue, uint64_t now) {
    uint64_t next = now + DRIVE_MS_MAX * WEIR_MS;
    if (queue->waiting.first != NULL && queue->flying_count == 0) {
        uint64_t ready = UINT64_MAX;
        for (const struct queue_item *item = queue->waiting.first; item != NULL && ready > 0; item = item->next) {
            if (item->retry_ns < ready) ready = item->retry_ns;
        }
        if (ready < queue->resume_ns) ready = queue->resume_ns;
        if (ready < next) next = ready > now ? ready : now;
    } else if (queue->waiting.first != NULL && queue->resume_ns > now && queue->resume_ns < next) {
        next = queue->resume_ns;
    }
    uint64_t disk_ns = weir_queue_disk_wait(queue, now);
    if (disk_ns < next - now) next = now + disk_ns;
    if (queue->stopping && queue->deadline_ns < next) next = queue->deadline_ns > now ? queue->deadline_ns : now;
    return next - now;
}

static uint64_t send_ready(struct weir_queue *queue) {
    struct queue_item *garbage = NULL, *item;
    pthread_mutex_lock(&queue->lock);
    weir_queue_expire(queue, weir_mono_ns(queue->clock), &garbage);
    for (;;) {
        uint64_t now = weir_mono_ns(queue->clock);
        if (queue->stopping && now >= queue->deadline_ns) break;
        if ((item = choose(queue, now)) == NULL) break;
        send_one(queue, item, now);
    }
    uint64_t wait_ns = until_next(queue, weir_mono_ns(queue->clock));
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, garbage);
    return wait_ns;
}

uint64_t weir_queue_round(struct weir_queue *queue) {
    while (weir_queue_move(queue)) {
    }
    send_ready(queue);
    queue->exporter->drive(queue->self, 0);
    return send_ready(queue); /* what was settled made room */
}

/* ---- the thread ---- */

static void sleep_for(struct weir_queue *queue, uint64_t wait_ns) { /* under the lock */
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / WEIR_S);
    until.tv_nsec = (long)(ns % WEIR_S);
    queue->sleeping = true;
    pthread_cond_timedwait(&queue->wake, &queue->lock, &until);
    queue->sleeping = false;
}

static bool finished(const struct weir_queue *queue, uint64_t now) {
    if (!queue->stopping) return false;
    if (now >= queue->deadline_ns) return true;
    if (queue->flying.first != NULL) return false;
    return queue->waiting.first == NULL || (queue->spool != NULL && queue->failures > 0);
}

/* Takes the exporter down on the thread that drove it; what is still there goes to disk, or is dropped. */
static void shut(struct weir_queue *queue) {
    queue->exporter->close(queue->self); /* settles what is in flight */
    weir_queue_put_away(queue);
    struct queue_item *garbage = NULL;
    pthread_mutex_lock(&queue->lock);
    queue->self = NULL;
    queue->closed = true;
    assert(queue->flying.first == NULL);
    uint64_t before = queue->row.dropped[WEIR_QUEUE_SHUTDOWN];
    while (queue->waiting.first != NULL)
        weir_queue_drop(queue, &queue->waiting, queue->waiting.first, WEIR_QUEUE_SHUTDOWN, &garbage);
    while (queue->arriving.first != NULL)
        weir_queue_drop(queue, &queue->arriving, queue->arriving.first, WEIR_QUEUE_SHUTDOWN, &garbage);
    uint64_t dropped = queue->row.dropped[WEIR_QUEUE_SHUTDOWN] - before;
    weir_queue_show_memory(queue);
    pthread_mutex_unlock(&queue->lock);
    if (dropped > 0)
        weir_log(WEIR_LOG_WARN, "export_cut exporter=%s reason=shutdown spans=%llu", queue->config.name,
                 (unsigned long long)dropped);
    weir_queue_discard(queue, garbage);
    struct weir_spool *spool = queue->spool;
    pthread_mutex_lock(&queue->lock);
    queue->spool = NULL;
    pthread_mutex_unlock(&queue->lock);
    weir_spool_close(spool);
}

static void *run(void *self) {
    struct weir_queue *queue = self;
    for (;;) {
        bool more = weir_queue_move(queue);
        uint64_t wait_ns = send_ready(queue);
        pthread_mutex_lock(&queue->lock);
        if (finished(queue, weir_mono_ns(queue->clock))) break;
        bool in_flight = queue->flying.first != NULL;
        if (!in_flight) {
            /* Looked at again under the lock: a batch may have come since. */
            wait_ns = until_next(queue, weir_mono_ns(queue->clock));
            if (wait_ns > 0 && !more) sleep_for(queue, wait_ns);
        } else {
            queue->driving = true;
            queue->woken = false;
        }
        pthread_mutex_unlock(&queue->lock);
        queue->exporter->drive(queue->self, in_flight && !more ? (int)((wait_ns + WEIR_MS - 1) / WEIR_MS) : 0);
        if (in_flight) {
            pthread_mutex_lock(&queue->lock);
            queue->driving = false;
            pthread_mutex_unlock(&queue->lock);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    shut(queue);
    return NULL;
}

static void rouse(struct weir_queue *queue) { /* under the lock */
    if (queue->sleeping) {
        pthread_cond_signal(&queue->wake);
    } else if (queue->driving && !queue->woken) {
        queue->woken = true;
        queue->exporter->wake(queue->self);
    }
}

/* ---- the public story ---- */

static void refresh(struct weir_metric_set *set, void *self) {
    struct weir_queue *queue = self;
    pthread_mutex_lock(&queue->lock);
    const struct queue_item *a = queue->waiting.first, *b = queue->flying.first;
    if (a == NULL || (b != NULL && b->sequence < a->sequence)) a = b;
    if (a == NULL) a = queue->arriving.first;
    weir_gauge(set, OLDEST_AGE, a != NULL ? weir_mono_ns(queue->clock) - a->pushed_ns : 0);
    weir_gauge(set, IN_FLIGHT_LIMIT, weir_concurrency_limit(&queue->concurrency));
    weir_gauge(set, PAUSED, queue->failures > 0);
    pthread_mutex_unlock(&queue->lock);
}

static void label_of(const char *name, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "exporter=\"");
    for (; *name != 0 && n + 4 < size; name++) {
        if (*name == '"' || *name == '\\') out[n++] = '\\';
        out[n++] = *name;
    }
    snprintf(out + n, size - n, "\"");
}

enum weir_status weir_queue_open(struct weir_queue **queue, const struct weir_exporter *exporter,
                                 const struct weir_exporter_config *config, const struct weir_exporter_env *env,
                                 struct weir_error *err) {
    struct weir_queue *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, false, "exporter %s: out of memory", config->name);
    made->exporter = exporter;
    made->clock = env->clock;
    made->registry = env->metrics;
    made->config = *config;
    made->random = weir_mono_ns(&weir_clock_system) ^ (uint64_t)(uintptr_t)made;
    if (made->random == 0) made->random = 1;
    weir_concurrency_init(&made->concurrency, config->max_in_flight);
    char labels[160];
    label_of(config->name, labels, sizeof labels);
    made->set = weir_metrics_open(env->metrics, metrics, QUEUE_METRICS, labels);
    if (made->set == NULL) {
        free(made);
        return weir_fail(err, WEIR_FULL, 0, false, "exporter %s: out of memory", config->name);
    }
    enum weir_status status = exporter->open(&made->self, config, env, err);
    if (status != WEIR_OK) {
        weir_metrics_close(env->metrics, made->set);
        free(made);
        return status;
    }
    weir_cond_init(&made->wake);
    pthread_mutex_init(&made->lock, NULL);
    weir_queue_show_memory(made);
    weir_metrics_refresh(env->metrics, made->set, refresh, made);
    *queue = made;
    return WEIR_OK;
}

enum weir_status weir_queue_start(struct weir_queue *queue, struct weir_error *err) {
    char name[16];
    snprintf(name, sizeof name, "exp-%.11s", queue->config.name);
    int failed = weir_thread_start(&queue->thread, name, run, queue);
    if (failed != 0)
        return weir_fail(err, WEIR_IO, failed, true, "exporter %s: thread: %s", queue->config.name, strerror(failed));
    queue->started = true;
    return WEIR_OK;
}

void weir_queue_push(struct weir_queue *queue, struct weir_batch *batch) {
    struct queue_item *item = calloc(1, sizeof *item), *garbage = NULL;
    uint64_t dropped = 0;
    if (item != NULL) {
        item->ticket.settle = weir_queue_settle;
        item->queue = queue;
        item->batch = weir_batch_ref(batch);
        item->memory = weir_batch_memory(batch);
        item->pushed_ns = weir_mono_ns(queue->clock);
    }
    pthread_mutex_lock(&queue->lock);
    if (item == NULL || queue->closed) {
        if (queue->closed) {
            WEIR_TALLY("dropped_shutdown", queue->row.dropped[WEIR_QUEUE_SHUTDOWN], batch->span_count);
            weir_batch_leave(batch);
        } else {
            WEIR_TALLY("dropped_full", queue->row.dropped[WEIR_QUEUE_FULL], batch->span_count);
        }
        garbage = item;
    } else {
        item->sequence = queue->sequence++;
        WEIR_TALLY("queued", queue->row.queued, batch->span_count);
        queue->memory += item->memory;
        weir_queue_insert(weir_queue_is_spooling(queue) ? &queue->arriving : &queue->waiting, item);
        dropped = queue->row.dropped[WEIR_QUEUE_FULL];
        weir_queue_evict(queue, &garbage);
        dropped = queue->row.dropped[WEIR_QUEUE_FULL] - dropped;
        rouse(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, garbage);
    if (dropped > 0)
        weir_log_limited(&queue->full_limit, WEIR_LOG_WARN,
                         "export_full exporter=%s reason=memory_bytes dropped_spans=%llu", queue->config.name,
                         (unsigned long long)dropped);
}

bool weir_queue_has_room(struct weir_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool room = queue->memory < queue->config.memory_bytes / 2;
    pthread_mutex_unlock(&queue->lock);
    return room;
}

bool weir_queue_is_behind(struct weir_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool behind = queue->spool != NULL && !atomic_load_explicit(&queue->disk_failing, memory_order_relaxed) &&
                  queue->memory > queue->config.memory_bytes / 4 * 3;
    pthread_mutex_unlock(&queue->lock);
    return behind;
}

const char *weir_queue_name(const struct weir_queue *queue) {
    return queue->config.name; /* a reload does not change it */
}

void weir_queue_row(void *self, struct weir_queue_row *row) {
    struct weir_queue *queue = self;
    pthread_mutex_lock(&queue->lock);
    *row = queue->row;
    pthread_mutex_unlock(&queue->lock);
}

void weir_queue_reload(struct weir_queue *queue, const struct weir_exporter_config *config) {
    struct queue_item *garbage = NULL;
    pthread_mutex_lock(&queue->lock);
    queue->config.memory_bytes = config->memory_bytes;
    queue->config.max_age_ns = config->max_age_ns;
    queue->config.retry_initial_ns = config->retry_initial_ns;
    queue->config.retry_max_ns = config->retry_max_ns;
    weir_concurrency_bound(&queue->concurrency, config->max_in_flight);
    weir_queue_evict(queue, &garbage);
    rouse(queue);
    pthread_mutex_unlock(&queue->lock);
    weir_queue_discard(queue, garbage);
}

void weir_queue_stop(struct weir_queue *queue, uint64_t deadline_ns) {
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        pthread_mutex_unlock(&queue->lock);
        return;
    }
    queue->stopping = true;
    queue->deadline_ns = queue->end_ns = deadline_ns;
    if (queue->spool != NULL) { /* a quarter of the time is the disk's: what is not sent is not lost */
        uint64_t now = weir_mono_ns(queue->clock);
        if (deadline_ns > now) queue->deadline_ns -= (deadline_ns - now) / 4;
    }
    queue->resume_ns = 0; /* a last try at once, whatever the back-off says */
    for (struct queue_item *item = queue->waiting.first; item != NULL; item = item->next)
        item->retry_ns = 0;
    rouse(queue);
    pthread_mutex_unlock(&queue->lock);
    if (queue->started) {
        pthread_join(queue->thread, NULL);
        queue->started = false;
    } else {
        shut(queue);
    }
}

void weir_queue_free(struct weir_queue *queue) {
    if (queue == NULL) return;
    if (!queue->closed) shut(queue); /* never started, never stopped */
    weir_metrics_close(queue->registry, queue->set);
    pthread_cond_destroy(&queue->wake);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
