/* queue_disk_rig.h - a queue with a spool, whose exporter is there or is not, and whose time is the test's. */
#ifndef WEIR_TESTS_QUEUE_DISK_RIG_H
#define WEIR_TESTS_QUEUE_DISK_RIG_H
#include "collector/spool/queue.h"
#include "tests/unit/spool/spooled.h"

#include <stdatomic.h>

enum { SPANS = 10, SPAN_BYTES = 2000, SEEN_MAX = 20000 };

/* ---- an exporter that is there, or is not ---- */

static struct {
    _Atomic bool down;
    uint64_t never; /* the first id of a batch that it does not take; 0: none */
    bool holds;
    uint64_t seen[SEEN_MAX]; /* first ids of what was delivered */
    uint32_t count;
    struct weir_ticket *held[64];
    uint64_t held_id[64];
    uint32_t held_count;
} back_end;

static inline enum weir_status fake_open(void **self, const struct weir_exporter_config *config,
                                         const struct weir_exporter_env *env, struct weir_error *err) {
    (void)config;
    (void)env;
    (void)err;
    *self = &back_end;
    return WEIR_OK;
}
static inline void deliver(struct weir_ticket *ticket, uint64_t id) {
    assert_true(back_end.count < SEEN_MAX);
    back_end.seen[back_end.count++] = id;
    ticket->settle(ticket, WEIR_DELIVERED, 0, NULL);
}
static inline void fake_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    (void)self;
    if (back_end.down || (back_end.never != 0 && batch->spans[0].span_id == back_end.never)) {
        ticket->settle(ticket, WEIR_RETRY, 0, "down");
    } else if (back_end.holds) {
        back_end.held_id[back_end.held_count] = batch->spans[0].span_id;
        back_end.held[back_end.held_count++] = ticket;
    } else {
        deliver(ticket, batch->spans[0].span_id);
    }
}
static inline void fake_drive(void *self, int timeout_ms) {
    (void)self;
    (void)timeout_ms;
}
static inline void fake_wake(void *self) {
    (void)self;
}
static inline void fake_close(void *self) {
    (void)self;
    for (uint32_t i = 0; i < back_end.held_count; i++)
        back_end.held[i]->settle(back_end.held[i], WEIR_RETRY, 0, "closed");
    back_end.held_count = 0;
}
static const struct weir_exporter exporter = {
    .type = "fake", .open = fake_open, .send = fake_send, .drive = fake_drive, .wake = fake_wake, .close = fake_close};

/* ---- the queue ---- */

static uint64_t now_ns;
static inline uint64_t fake_now(void *self) {
    (void)self;
    return now_ns;
}
static const struct weir_clock fake_clock = {fake_now, fake_now, NULL};

static struct weir_queue *queue;
static struct weir_metrics *registry;
static struct weir_names *names;
static char *folder;
static char directory[128];
static struct weir_exporter_config config;
static struct weir_queue_disk disk;
static struct weir_spool_options options;
static uint64_t pushed; /* spans, in the queue's life */
static uint32_t gone;   /* batches that were told to be gone */

static inline void open_queue(void) {
    struct weir_error err = {0};
    const struct weir_exporter_env env = {.metrics = registry, .names = names, .clock = &fake_clock};
    assert_int_equal(weir_queue_open(&queue, &exporter, &config, &env, &err), WEIR_OK);
    if (weir_queue_spool(queue, &disk, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    pushed = 0;
}
static inline void close_queue(void) {
    weir_queue_free(queue);
    queue = NULL;
}

static inline int setup(void **state) {
    (void)state;
    memset(&back_end, 0, sizeof back_end);
    now_ns = 1800000000 * WEIR_S;
    folder = make_folder();
    snprintf(directory, sizeof directory, "%s/x", folder);
    names = weir_names_new(1024, 1 << 16);
    registry = weir_metrics_new();
    config = (struct weir_exporter_config){.type = "fake",
                                           .name = "x",
                                           .memory_bytes = 2 * MiB,
                                           .max_age_ns = 3600 * WEIR_S,
                                           .retry_initial_ns = 100 * WEIR_MS,
                                           .retry_max_ns = WEIR_S,
                                           .max_in_flight = 4};
    disk = (struct weir_queue_disk){.memory_age_ns = 10 * WEIR_S};
    options = (struct weir_spool_options){.directory = directory,
                                          .exporter = "x",
                                          .segment_bytes = MiB,
                                          .max_bytes = 64 * MiB,
                                          .level = -7,
                                          .names = names,
                                          .metrics = registry,
                                          .clock = &fake_clock};
    gone = 0;
    open_queue();
    return 0;
}
static inline int teardown(void **state) {
    (void)state;
    close_queue();
    weir_metrics_free(registry);
    weir_names_free(names);
    remove_folder(folder);
    return 0;
}

static inline void is_gone(void *self, uint64_t token) {
    (void)self;
    (void)token;
    gone++;
}

static inline void push(uint32_t number) {
    struct weir_batch *batch = make_spans((uint64_t)number * 100, SPANS, SPAN_BYTES);
    batch->gone = is_gone;
    weir_queue_push(queue, batch);
    weir_batch_unref(batch);
    pushed += SPANS;
}
static inline void push_all(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        push(i);
        weir_queue_round(queue);
    }
}

/* Every span is in one place. */
static inline struct weir_queue_row balanced(void) {
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    uint64_t sum = row.spooled + row.queued + row.in_flight + row.delivered;
    for (int i = 0; i < WEIR_QUEUE_DROPS; i++)
        sum += row.dropped[i];
    assert_int_equal(sum, pushed + row.recovered);
    return row;
}
static inline void seconds_pass(uint32_t seconds) { /* in steps, as time does */
    for (uint32_t i = 0; i < seconds * 4; i++) {
        now_ns += WEIR_S / 4;
        for (int round = 0; round < 50; round++)
            weir_queue_round(queue);
        balanced();
    }
}
static inline void delivered_in_order(uint32_t from, uint32_t to) {
    assert_int_equal(back_end.count, to - from);
    for (uint32_t i = from; i < to; i++)
        assert_int_equal(back_end.seen[i - from], (uint64_t)i * 100);
}
#endif
