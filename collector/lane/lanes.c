/* lanes.c - all lanes: building them, starting, giving orders to each and waiting for all, stopping. Control thread. */
#define _GNU_SOURCE /* pthread_setname_np */
#include "collector/lane/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum weir_status weir_lanes_new(struct weir_lanes **out, uint32_t count, const struct weir_lanes_env *env,
                                const struct weir_snapshot *snapshot, struct weir_error *err) {
    assert(count >= 1 && count <= WEIR_LANES_MAX);
    struct weir_lanes *all = calloc(1, sizeof *all);
    if (all == NULL) return weir_fail(err, WEIR_FULL, 0, false, "lanes: out of memory");
    all->env = *env;
    all->count = count;
    pthread_mutex_init(&all->ordering, NULL);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->acknowledged, NULL);
    all->lanes = calloc(count, sizeof *all->lanes);
    all->crossings = calloc((size_t)count * count, sizeof *all->crossings);
    if (all->lanes == NULL || all->crossings == NULL) {
        weir_lanes_free(all);
        return weir_fail(err, WEIR_FULL, 0, false, "lanes: out of memory");
    }
    enum weir_status status = WEIR_OK;
    for (uint32_t i = 0; status == WEIR_OK && i < count; i++) {
        all->lanes[i].index = i;
        all->lanes[i].all = all;
        all->lanes[i].snapshot = *snapshot;
        status = weir_lane_open(&all->lanes[i], err);
    }
    for (uint32_t i = 0; status == WEIR_OK && i < count * count; i++) {
        if (i / count == i % count) continue;
        all->crossings[i] = weir_crossing_new(&all->lanes[i % count]);
        if (all->crossings[i] == NULL) status = weir_fail(err, WEIR_FULL, 0, false, "lanes: out of memory");
    }
    if (status != WEIR_OK) {
        weir_lanes_free(all);
        return status;
    }
    *out = all;
    return WEIR_OK;
}

struct weir_sink weir_lanes_sink(struct weir_lanes *all, uint32_t lane) {
    return weir_lane_sink(&all->lanes[lane]);
}

/* ---- orders ---- */

/* A letter to one lane, whose sender waits for the answer. */
struct order {
    struct weir_mail mail; /* first */
    struct lane *lane;
    void (*carry_out)(struct lane *lane, const void *what);
    const void *what;
};

static void carry_out(struct weir_mail *mail) {
    struct order *order = (struct order *)mail;
    struct weir_lanes *all = order->lane->all;
    order->carry_out(order->lane, order->what);
    pthread_mutex_lock(&all->lock);
    all->acks++;
    pthread_cond_signal(&all->acknowledged);
    pthread_mutex_unlock(&all->lock);
}

/* Has one running lane, or every one (ALL), do something, and returns how many did, when they have. One order at a
 * time, from the control thread or from the admin's, whichever comes first. Not from a lane's. */
enum { ALL = WEIR_LANES_MAX };
static uint32_t order(struct weir_lanes *all, uint32_t which, void (*what_to_do)(struct lane *lane, const void *what),
                      const void *what) {
    struct order orders[WEIR_LANES_MAX];
    uint32_t sent = 0;
    pthread_mutex_lock(&all->ordering);
    all->acks = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        if (!all->lanes[i].running || (which != ALL && which != i)) continue;
        orders[sent] =
            (struct order){.mail.deliver = carry_out, .lane = &all->lanes[i], .carry_out = what_to_do, .what = what};
        weir_mailbox_post(weir_loop_mailbox(all->lanes[i].loop), &orders[sent++].mail);
    }
    pthread_mutex_lock(&all->lock);
    while (all->acks < sent)
        pthread_cond_wait(&all->acknowledged, &all->lock);
    pthread_mutex_unlock(&all->lock);
    pthread_mutex_unlock(&all->ordering);
    return sent;
}

static void order_all(struct weir_lanes *all, void (*what_to_do)(struct lane *lane, const void *what),
                      const void *what) {
    order(all, ALL, what_to_do, what);
}

static void swap_snapshot(struct lane *lane, const void *what) {
    lane->snapshot = *(const struct weir_snapshot *)what;
    weir_lane_follow_policy(lane);
    for (uint32_t i = 0; i < lane->receiver_count; i++) {
        if (lane->receivers[i]->reload != NULL)
            lane->receivers[i]->reload(lane->receiver_selves[i], lane->snapshot.config);
    }
}

static void stop_receivers(struct lane *lane, const void *what) {
    (void)what;
    for (uint32_t i = 0; i < lane->receiver_count; i++)
        lane->receivers[i]->stop(lane->receiver_selves[i]);
    lane->stopping = true;
}

static void close_receivers(struct lane *lane, const void *what) {
    (void)what;
    for (uint32_t i = 0; i < lane->receiver_count; i++)
        lane->receivers[i]->close(lane->receiver_selves[i]);
    lane->receiver_count = 0;
    if (lane->all->count > 1) weir_lane_flush_points(lane);
}

static void take_rest(struct lane *lane, const void *what) {
    (void)what;
    weir_lane_take_rest(lane);
}

static void flush_rest(struct lane *lane, const void *what) {
    (void)what;
    if (lane->all->count > 1) weir_lane_flush_points(lane);
}

static void *lane_main(void *argument) {
    struct lane *lane = argument;
    char name[16];
    snprintf(name, sizeof name, "lane-%u", lane->index);
    pthread_setname_np(pthread_self(), name);
    weir_loop_set(lane->loop, &lane->tick, weir_loop_now(lane->loop));
    weir_loop_run(lane->loop);
    return NULL;
}

/* ---- from the beginning to the end ---- */

enum weir_status weir_lanes_open(struct weir_lanes *all, const struct weir_receiver *receiver,
                                 const struct weir_config *config, struct weir_error *err) {
    for (uint32_t i = 0; i < all->count; i++) {
        struct lane *lane = &all->lanes[i];
        assert(lane->receiver_count < WEIR_LANE_RECEIVERS_MAX);
        struct weir_receiver_env env = {.lane = i,
                                        .lanes = all->count,
                                        .loop = lane->loop,
                                        .sink = weir_lane_sink(lane),
                                        .names = all->env.names,
                                        .metrics = all->env.metrics,
                                        .clock = all->env.clock,
                                        .steering = all->env.steering};
        void *self = NULL;
        enum weir_status status = receiver->open(&self, &env, config, err);
        if (status != WEIR_OK) return status;
        lane->receivers[lane->receiver_count] = receiver;
        lane->receiver_selves[lane->receiver_count++] = self;
    }
    return WEIR_OK;
}

struct start_result {
    pthread_mutex_t lock;
    enum weir_status status;
    struct weir_error err;
};

static void start_receivers(struct lane *lane, const void *what) {
    struct start_result *result = *(struct start_result *const *)what;
    for (uint32_t i = 0; i < lane->receiver_count; i++) {
        struct weir_error err = {0};
        enum weir_status status = lane->receivers[i]->start(lane->receiver_selves[i], &err);
        if (status == WEIR_OK) continue;
        pthread_mutex_lock(&result->lock);
        result->status = status;
        result->err = err;
        pthread_mutex_unlock(&result->lock);
    }
}

enum weir_status weir_lanes_start(struct weir_lanes *all, struct weir_error *err) {
    int failed = 0;
    uint32_t begun = 0;
    pthread_mutex_lock(&all->ordering);
    while (begun < all->count) {
        struct lane *lane = &all->lanes[begun];
        failed = pthread_create(&lane->thread, NULL, lane_main, lane);
        if (failed != 0) break;
        lane->running = true;
        begun++;
    }
    pthread_mutex_unlock(&all->ordering);
    if (failed != 0) {
        weir_lanes_stop(all, 0);
        return weir_fail(err, WEIR_IO, failed, false, "lane %u: pthread_create", begun);
    }
    struct start_result result = {.lock = PTHREAD_MUTEX_INITIALIZER, .status = WEIR_OK};
    struct start_result *pointer = &result;
    order_all(all, start_receivers, &pointer);
    if (result.status != WEIR_OK) {
        weir_lanes_stop(all, 0);
        if (err != NULL) *err = result.err;
    }
    return result.status;
}

void weir_lanes_reload(struct weir_lanes *all, const struct weir_snapshot *snapshot) {
    order_all(all, swap_snapshot, snapshot);
}

struct question {
    uint64_t trace_hi, trace_lo;
    struct weir_buffer *out;
    bool known;
};

static void explain(struct lane *lane, const void *what) {
    struct question *question = *(struct question *const *)what;
    if (lane->tail != NULL)
        question->known = weir_tail_explain(lane->tail, question->trace_hi, question->trace_lo,
                                            weir_loop_now(lane->loop), question->out);
}

bool weir_lanes_explain(struct weir_lanes *all, uint64_t trace_hi, uint64_t trace_lo, struct weir_buffer *out) {
    struct question question = {.trace_hi = trace_hi, .trace_lo = trace_lo, .out = out}, *pointer = &question;
    order(all, weir_trace_lane(trace_lo, all->count), explain, &pointer);
    return question.known;
}

static bool all_idle(const struct weir_lanes *all) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->lanes[i].running && !atomic_load_explicit(&all->lanes[i].idle, memory_order_acquire)) return false;
    }
    return true;
}

static void nothing(struct lane *lane, const void *what) {
    (void)lane;
    (void)what;
}

void weir_lanes_stop(struct weir_lanes *all, uint64_t deadline_ns) {
    order_all(all, stop_receivers, NULL);
    while (!all_idle(all) && weir_mono_ns(all->env.clock) < deadline_ns) {
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
        order_all(all, nothing, NULL); /* a round, so that `idle` is fresh */
    }
    order_all(all, close_receivers, NULL); /* nobody produces any more */
    order_all(all, take_rest, NULL);
    order_all(all, flush_rest, NULL); /* points that met a full ring: it is empty now */
    order_all(all, take_rest, NULL);
    pthread_mutex_lock(&all->ordering); /* a letter to a lane that is gone would wait for ever */
    for (uint32_t i = 0; i < all->count; i++) {
        struct lane *lane = &all->lanes[i];
        if (!lane->running) continue;
        weir_loop_stop(lane->loop);
        pthread_join(lane->thread, NULL);
        lane->running = false;
        weir_ledger_publish(all->env.ledger, i, &lane->row);
    }
    pthread_mutex_unlock(&all->ordering);
}

static void read_letters(struct weir_lanes *all) {
    unsigned count = 1;
    while (count > 0) { /* one may be answered by another, to another lane */
        count = 0;
        for (uint32_t i = 0; i < all->count; i++) {
            if (all->lanes[i].loop != NULL) count += weir_mailbox_read(weir_loop_mailbox(all->lanes[i].loop));
        }
    }
}

/* What callers are owed is posted to the loop that they came to, often another lane's than that of their spans: all of
 * it is, and delivered, before the first loop goes. It is settled by who has it: a ring, a lane, the journal's thread.
 */
static void settle_all(struct weir_lanes *all) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->lanes[i].all != NULL) close_receivers(&all->lanes[i], NULL);
    }
    read_letters(all);
    for (uint32_t i = 0; i < all->count; i++)
        weir_lane_owe_nothing(&all->lanes[i]);
    weir_journal_stop(all->env.journal);
    read_letters(all);
}

void weir_lanes_free(struct weir_lanes *all) {
    if (all == NULL) return;
    if (all->lanes != NULL) settle_all(all);
    for (uint32_t i = 0; all->lanes != NULL && i < all->count; i++) {
        if (all->lanes[i].all != NULL) weir_lane_close(&all->lanes[i]);
    }
    for (uint32_t i = 0; all->crossings != NULL && i < all->count * all->count; i++)
        weir_crossing_free(all->crossings[i]);
    pthread_mutex_destroy(&all->ordering);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->acknowledged);
    free((void *)all->crossings);
    free(all->lanes);
    free(all);
}
