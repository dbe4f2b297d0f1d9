/* The queue with an exporter that does as it is told. Time is the test's own, but in the tests of the thread. */
#include "collector/spool/queue.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum { SENDS_MAX = 2048, PATIENCE_S = 300 /* with a thread that the machine may have stopped */ };

static struct fake {
    enum { LATER, SETTLE } mode;
    enum weir_settlement how; /* of SETTLE */
    uint64_t retry_after_ns;
    uint32_t settled_spans, rejected_spans;
    const struct weir_batch *poison; /* is always RETRY */
    struct {
        struct weir_ticket *ticket; /* NULL: settled */
        uint32_t id;                /* the batch's number: spans[0].span_id */
    } sends[SENDS_MAX];
    unsigned count, open, closed;
    int wake_fd;
    _Atomic unsigned woken, waits, seen; /* seen: sends, for other threads */
    enum weir_status open_status;
} fake;

static void fake_settle(unsigned i, enum weir_settlement how, uint64_t retry_after_ns) {
    struct weir_ticket *ticket = fake.sends[i].ticket;
    assert_non_null(ticket);
    fake.sends[i].ticket = NULL;
    fake.open--;
    ticket->settle(ticket, how, retry_after_ns, "the fake says so");
}

static enum weir_status fake_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    (void)config;
    (void)env;
    if (fake.open_status != WEIR_OK) return weir_fail(err, fake.open_status, 0, false, "fake: no");
    fake.wake_fd = eventfd(0, EFD_NONBLOCK);
    *self = &fake;
    return WEIR_OK;
}
static void fake_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    assert_ptr_equal(self, &fake);
    assert_true(fake.count < SENDS_MAX);
    unsigned i = fake.count++;
    fake.sends[i].ticket = ticket;
    fake.sends[i].id = (uint32_t)batch->spans[0].span_id;
    fake.open++;
    if (ticket->notes == NULL) ticket->notes = malloc(16); /* freed with the batch: the sanitizer watches */
    if (fake.settled_spans > ticket->settled_spans) ticket->settled_spans = fake.settled_spans;
    if (fake.rejected_spans > 0) ticket->rejected_spans = fake.rejected_spans;
    if (batch == fake.poison) {
        fake_settle(i, WEIR_RETRY, 0);
    } else if (fake.mode == SETTLE) {
        fake_settle(i, fake.how, fake.retry_after_ns);
    }
    atomic_fetch_add(&fake.seen, 1);
}
static void fake_drive(void *self, int timeout_ms) {
    (void)self;
    uint64_t count;
    if (timeout_ms > 0) atomic_fetch_add(&fake.waits, 1);
    struct pollfd fd = {.fd = fake.wake_fd, .events = POLLIN};
    if (timeout_ms > 0 && poll(&fd, 1, timeout_ms) > 0 && read(fake.wake_fd, &count, 8) == 8)
        atomic_fetch_add(&fake.woken, 1);
}
static void fake_wake(void *self) {
    (void)self;
    uint64_t one = 1;
    assert_int_equal(write(fake.wake_fd, &one, 8), 8);
}
static void fake_close(void *self) {
    assert_ptr_equal(self, &fake);
    for (unsigned i = 0; i < fake.count; i++) {
        if (fake.sends[i].ticket != NULL) fake_settle(i, WEIR_RETRY, 0);
    }
    close(fake.wake_fd);
    fake.closed++;
}
static const struct weir_exporter fake_exporter = {
    .type = "fake",
    .open = fake_open,
    .send = fake_send,
    .drive = fake_drive,
    .wake = fake_wake,
    .close = fake_close,
};

static uint64_t now_ns;
static uint64_t fake_now(void *self) {
    (void)self;
    return now_ns;
}
static const struct weir_clock fake_clock = {fake_now, fake_now, NULL};

static struct weir_metrics *registry;
static struct weir_queue *queue;

static struct weir_exporter_config a_config(void) {
    struct weir_exporter_config config = {.type = "fake",
                                          .name = "fake/\"x\"",
                                          .memory_bytes = 1 << 20,
                                          .max_age_ns = 60 * WEIR_S,
                                          .retry_initial_ns = 100 * WEIR_MS,
                                          .retry_max_ns = 2 * WEIR_S,
                                          .max_in_flight = 2};
    return config;
}

static void open_queue(const struct weir_exporter_config *config, const struct weir_clock *clock) {
    struct weir_error err;
    memset(&fake, 0, sizeof fake);
    now_ns = 1000 * WEIR_S;
    registry = weir_metrics_new();
    struct weir_exporter_env env = {.metrics = registry, .clock = clock};
    queue = NULL;
    assert_int_equal(weir_queue_open(&queue, &fake_exporter, config, &env, &err), WEIR_OK);
}
static void close_queue(void) {
    weir_queue_free(queue);
    assert_int_equal(fake.closed, 1);
    weir_metrics_free(registry);
}

static struct weir_batch *a_batch(uint32_t id, uint32_t spans) {
    struct weir_batch *batch = weir_batch_new(NULL, 1000);
    for (uint32_t i = 0; i < spans; i++) {
        struct weir_span span = {.span_id = id};
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}
static size_t push(uint32_t id, uint32_t spans) {
    struct weir_batch *batch = a_batch(id, spans);
    size_t memory = weir_batch_memory(batch);
    weir_queue_push(queue, batch);
    weir_batch_unref(batch);
    return memory;
}

static void row_is(uint64_t queued, uint64_t in_flight, uint64_t delivered, uint64_t full, uint64_t expired,
                   uint64_t rejected, uint64_t shutdown) {
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    assert_int_equal(row.queued, queued);
    assert_int_equal(row.in_flight, in_flight);
    assert_int_equal(row.delivered, delivered);
    assert_int_equal(row.dropped[WEIR_QUEUE_FULL], full);
    assert_int_equal(row.dropped[WEIR_QUEUE_EXPIRED], expired);
    assert_int_equal(row.dropped[WEIR_QUEUE_REJECTED], rejected);
    assert_int_equal(row.dropped[WEIR_QUEUE_SHUTDOWN], shutdown);
}
static void page_has(const char *line) {
    struct weir_buffer page = {0};
    weir_metrics_expose(registry, &page);
    weir_buffer_byte(&page, 0);
    if (strstr((char *)page.bytes, line) == NULL) fail_msg("no line \"%s\" in\n%s", line, (char *)page.bytes);
    weir_buffer_free(&page);
}

static void delivers_in_order(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    for (uint32_t i = 0; i < 5; i++)
        push(i, 10);
    row_is(50, 0, 0, 0, 0, 0, 0);
    weir_queue_round(queue);
    row_is(30, 20, 0, 0, 0, 0, 0); /* max_in_flight */
    now_ns += 3 * WEIR_S;
    page_has("weir_exporter_oldest_age_seconds{exporter=\"fake/\\\"x\\\"\"} 3\n");
    fake_settle(1, WEIR_DELIVERED, 0); /* late, and the second first */
    fake_settle(0, WEIR_DELIVERED, 0);
    row_is(30, 0, 20, 0, 0, 0, 0);
    page_has("weir_exporter_send_seconds_total{exporter=\"fake/\\\"x\\\"\"} 6\n");
    page_has("weir_exporter_sends_total{exporter=\"fake/\\\"x\\\"\",outcome=\"delivered\"} 2\n");
    fake.mode = SETTLE;
    weir_queue_round(queue);
    row_is(0, 0, 50, 0, 0, 0, 0);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(fake.sends[i].id, i);
    page_has("weir_exporter_queue_bytes{exporter=\"fake/\\\"x\\\"\"} 0\n");
    page_has("weir_exporter_oldest_age_seconds{exporter=\"fake/\\\"x\\\"\"} 0\n");
    close_queue();
}

static void evicts_the_oldest_waiting(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    struct weir_batch *one = a_batch(0, 10);
    config.memory_bytes = 3 * weir_batch_memory(one) + 10;
    config.max_in_flight = 1;
    weir_batch_unref(one);
    open_queue(&config, &fake_clock);
    push(0, 10);
    weir_queue_round(queue); /* 0 is in flight: it cannot be dropped */
    assert_true(weir_queue_has_room(queue));
    for (uint32_t i = 1; i < 5; i++)
        push(i, 10);
    row_is(20, 10, 0, 20, 0, 0, 0);
    assert_false(weir_queue_has_room(queue));
    fake_settle(0, WEIR_RETRY, 0); /* back to its place, the oldest */
    row_is(30, 0, 0, 20, 0, 0, 0);
    size_t memory = push(5, 10);
    row_is(30, 0, 0, 30, 0, 0, 0);
    char line[128];
    snprintf(line, sizeof line, "weir_exporter_queue_bytes{exporter=\"fake/\\\"x\\\"\"} %zu\n", 3 * memory);
    page_has(line);
    now_ns += 10 * WEIR_S;
    fake.mode = SETTLE;
    weir_queue_round(queue);
    assert_int_equal(fake.count, 4);
    assert_int_equal(fake.sends[1].id, 3);
    assert_int_equal(fake.sends[3].id, 5);
    config.memory_bytes = 1; /* live: what waits is over the new bound */
    fake.mode = LATER;
    push(6, 10);
    weir_queue_reload(queue, &config);
    row_is(0, 0, 30, 40, 0, 0, 0);
    push(7, 10); /* larger than the whole bound */
    row_is(0, 0, 30, 50, 0, 0, 0);
    close_queue();
}

static void retries_with_back_off_in_order(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    fake.mode = SETTLE;
    fake.how = WEIR_RETRY;
    for (uint32_t i = 0; i < 3; i++)
        push(i, 1);
    weir_queue_round(queue);
    assert_int_equal(fake.count, 1); /* the first failure stops the others */
    row_is(3, 0, 0, 0, 0, 0, 0);
    uint64_t last = now_ns;
    for (unsigned n = 2; n <= 40; n++) {
        uint64_t wait = weir_queue_round(queue), bound = n < 6 ? (100 * WEIR_MS) << (n - 2) : 2 * WEIR_S;
        assert_true(wait > 0);
        uint64_t slept = 0;
        while (fake.count < n) { /* rounds come at least once a second */
            assert_true(slept + wait <= bound + 1);
            slept += wait;
            now_ns += wait;
            wait = weir_queue_round(queue);
        }
    }
    assert_true(now_ns - last > 3 * WEIR_S); /* 39 pauses, each below 2 s; jitter makes them half of it */
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(fake.sends[n].id, 0);
    assert_int_equal(fake.sends[4].id, 1); /* a batch that may be at fault itself steps back */
    page_has("weir_exporter_sends_total{exporter=\"fake/\\\"x\\\"\",outcome=\"retry\"} 40\n");
    fake.how = WEIR_DELIVERED;
    now_ns += 2 * WEIR_S;
    weir_queue_round(queue);
    now_ns += 2 * WEIR_S;
    weir_queue_round(queue);
    row_is(0, 0, 3, 0, 0, 0, 0);
    close_queue();
}

static void a_retried_batch_goes_first(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    for (uint32_t i = 0; i < 4; i++)
        push(i, 1);
    weir_queue_round(queue); /* 0 and 1 are in flight */
    fake_settle(1, WEIR_RETRY, 0);
    fake_settle(0, WEIR_RETRY, 0);
    now_ns += 100 * WEIR_MS; /* two that failed together are one failure */
    fake.mode = SETTLE;
    weir_queue_round(queue);
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(fake.sends[2 + n].id, n);
    row_is(0, 0, 4, 0, 0, 0, 0);
    close_queue();
}

static void retry_after_is_honoured(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    fake.mode = SETTLE;
    fake.how = WEIR_RETRY;
    fake.retry_after_ns = 7 * WEIR_S;
    push(0, 1);
    weir_queue_round(queue);
    now_ns += 7 * WEIR_S - 1;
    weir_queue_round(queue);
    assert_int_equal(fake.count, 1);
    fake.how = WEIR_DELIVERED;
    now_ns += 1;
    weir_queue_round(queue);
    assert_int_equal(fake.count, 2);
    close_queue();
}

/* One batch that no back end will ever answer must not hold up the others. */
static void a_poisoned_batch_waits_by_itself(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    fake.mode = SETTLE;
    struct weir_batch *poison = a_batch(1000, 1);
    fake.poison = poison;
    weir_queue_push(queue, poison);
    uint32_t pushed = 0;
    for (int round = 0; round < 300; round++) { /* 30 s */
        push(pushed++, 1);
        now_ns += 100 * WEIR_MS;
        weir_queue_round(queue);
    }
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    assert_true(row.delivered >= 290);
    unsigned tries = 0;
    for (unsigned i = 0; i < fake.count; i++)
        tries += fake.sends[i].id == 1000;
    assert_in_range(tries, 8, 120);
    weir_batch_unref(poison);
    close_queue();
}

static void expires_by_age(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    config.max_in_flight = 1;
    open_queue(&config, &fake_clock);
    push(0, 5);
    weir_queue_round(queue);
    push(1, 6);
    now_ns += 60 * WEIR_S;
    push(2, 7);
    weir_queue_round(queue);
    row_is(13, 5, 0, 0, 0, 0, 0); /* just not yet */
    now_ns += 1;
    weir_queue_round(queue);
    row_is(7, 5, 0, 0, 6, 0, 0);
    fake_settle(0, WEIR_RETRY, 0); /* in flight it could not expire */
    weir_queue_round(queue);
    row_is(7, 0, 0, 0, 11, 0, 0);
    close_queue();
}

static void rejected_whole_or_in_part(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    fake.mode = SETTLE;
    fake.how = WEIR_REJECTED;
    push(0, 5);
    weir_queue_round(queue);
    row_is(0, 0, 0, 0, 0, 5, 0);
    fake.how = WEIR_DELIVERED;
    fake.rejected_spans = 2;
    push(1, 5);
    weir_queue_round(queue);
    row_is(0, 0, 3, 0, 0, 7, 0);
    fake.rejected_spans = 0;
    fake.how = WEIR_RETRY; /* 3 of 5 are through, then it is gone for good: each span is counted once */
    fake.settled_spans = 3;
    push(2, 5);
    weir_queue_round(queue);
    row_is(5, 0, 3, 0, 0, 7, 0);
    now_ns += 61 * WEIR_S;
    weir_queue_round(queue);
    row_is(0, 0, 6, 0, 2, 7, 0);
    page_has("weir_exporter_sends_total{exporter=\"fake/\\\"x\\\"\",outcome=\"rejected\"} 1\n");
    close_queue();
}

static void stopping_without_a_thread(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    open_queue(&config, &fake_clock);
    for (uint32_t i = 0; i < 5; i++)
        push(i, 2);
    weir_queue_round(queue); /* two are in flight, and come back as the exporter closes */
    weir_queue_stop(queue, now_ns);
    row_is(0, 0, 0, 0, 0, 0, 10);
    push(9, 3); /* after the end: counted all the same */
    row_is(0, 0, 0, 0, 0, 0, 13);
    weir_queue_stop(queue, now_ns);
    close_queue();
}

static void opening_fails(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    struct weir_error err;
    memset(&fake, 0, sizeof fake);
    fake.open_status = WEIR_IO;
    registry = weir_metrics_new();
    struct weir_exporter_env env = {.metrics = registry, .clock = &fake_clock};
    queue = NULL;
    assert_int_equal(weir_queue_open(&queue, &fake_exporter, &config, &env, &err), WEIR_IO);
    assert_null(queue);
    assert_string_equal(err.text, "fake: no");
    weir_queue_free(NULL);
    weir_metrics_free(registry);
}

/* ---- with its thread, on the system's clock ---- */

static struct weir_exporter_config a_patient_config(void) {
    struct weir_exporter_config config = a_config();
    config.max_age_ns = 3600 * WEIR_S;
    return config;
}

static uint64_t real_now(void) {
    return weir_mono_ns(&weir_clock_system);
}
static void wait_for(_Atomic unsigned *what, unsigned want) {
    uint64_t limit = real_now() + PATIENCE_S * WEIR_S;
    while (atomic_load(what) < want && real_now() < limit)
        usleep(200);
    assert_true(atomic_load(what) >= want);
}

/* Two batches, the second while drive() waits for the first. True: both were sent at once, and drive() was woken. */
static bool woken_at_once(void) {
    struct weir_exporter_config config = a_patient_config();
    open_queue(&config, &weir_clock_system);
    assert_int_equal(weir_queue_start(queue, &(struct weir_error){0}), WEIR_OK);
    usleep(20000); /* asleep */
    uint64_t start = real_now();
    push(0, 1);
    wait_for(&fake.seen, 1);
    wait_for(&fake.waits, 1); /* now it waits in drive() for batch 0 */
    push(1, 1);
    wait_for(&fake.seen, 2);
    bool at_once = real_now() - start < 900 * WEIR_MS, woken = atomic_load(&fake.woken) >= 1;
    weir_queue_stop(queue, real_now());
    row_is(0, 0, 0, 0, 0, 0, 2);
    close_queue();
    return at_once && woken;
}

static void a_push_wakes_the_sender(void **state) {
    (void)state;
    /* Whoever is not woken sleeps for the rest of a second, each time; a machine that does something else does so now
     * and then. */
    for (int tries = 0; !woken_at_once(); tries++)
        assert_true(tries < 60);
}

static void stop_drains(void **state) {
    (void)state;
    struct weir_exporter_config config = a_patient_config();
    open_queue(&config, &weir_clock_system);
    fake.mode = SETTLE;
    for (uint32_t i = 0; i < 100; i++)
        push(i, 3);
    assert_int_equal(weir_queue_start(queue, &(struct weir_error){0}), WEIR_OK);
    uint64_t start = real_now();
    weir_queue_stop(queue, start + 2 * PATIENCE_S * WEIR_S);
    assert_true(real_now() - start < PATIENCE_S * WEIR_S); /* it does not wait for the deadline */
    row_is(0, 0, 300, 0, 0, 0, 0);
    close_queue();
}

/* True: there was a last try. */
static bool stops_at(uint64_t ns) {
    struct weir_exporter_config config = a_patient_config();
    open_queue(&config, &weir_clock_system);
    fake.mode = SETTLE;
    fake.how = WEIR_RETRY;
    fake.retry_after_ns = 3600 * WEIR_S;
    assert_int_equal(weir_queue_start(queue, &(struct weir_error){0}), WEIR_OK);
    push(0, 3);
    wait_for(&fake.seen, 1);
    push(1, 4);
    uint64_t start = real_now();
    weir_queue_stop(queue, start + ns);
    uint64_t took = real_now() - start;
    assert_true(took >= ns - 10 * WEIR_MS && took < ns + PATIENCE_S * WEIR_S); /* retry_after is an hour */
    row_is(0, 0, 0, 0, 0, 0, 7);
    close_queue();
    return atomic_load(&fake.seen) >= 2;
}

static void stop_keeps_its_deadline(void **state) {
    (void)state;
    /* A last try, whatever the back-off was; on a machine that does something else the time may be over before. */
    uint64_t ns = 300 * WEIR_MS;
    for (; !stops_at(ns); ns *= 2)
        assert_true(ns < 40 * WEIR_S);
}

static void *pusher(void *self) {
    for (uint32_t i = 0; i < 500; i++)
        push((uint32_t)(uintptr_t)self * 1000 + i, 2);
    return NULL;
}
static void *scraper(void *self) {
    (void)self;
    for (int i = 0; i < 200; i++) {
        struct weir_queue_row row;
        struct weir_buffer page = {0};
        weir_queue_row(queue, &row);
        uint64_t all = row.queued + row.in_flight + row.delivered;
        for (int k = 0; k < WEIR_QUEUE_DROPS; k++)
            all += row.dropped[k];
        assert_true(all <= 3000 && all % 2 == 0); /* each row is a whole: no batch is ever between two places */
        weir_metrics_expose(registry, &page);
        weir_buffer_free(&page);
        struct weir_exporter_config config = a_patient_config();
        config.max_in_flight = 1 + (uint32_t)i % 3;
        config.memory_bytes = i % 20 == 0 ? 20000 : 1 << 20;
        weir_queue_reload(queue, &config);
    }
    return NULL;
}

/* What ThreadSanitizer is to see: many push, one scrapes and reloads, the queue sends. */
static void many_threads(void **state) {
    (void)state;
    struct weir_exporter_config config = a_patient_config();
    pthread_t threads[4];
    open_queue(&config, &weir_clock_system);
    fake.mode = SETTLE;
    assert_int_equal(weir_queue_start(queue, &(struct weir_error){0}), WEIR_OK);
    for (uintptr_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pusher, (void *)i), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, scraper, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    weir_queue_stop(queue, real_now() + PATIENCE_S * WEIR_S);
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    assert_int_equal(row.queued + row.in_flight + row.dropped[WEIR_QUEUE_SHUTDOWN], 0);
    assert_int_equal(row.delivered + row.dropped[WEIR_QUEUE_FULL], 3000);
    close_queue();
}

static void told(void *self, uint64_t token) {
    *(uint64_t *)self |= token;
}

/* What is on disk for a batch may go when it was delivered, or dropped for want of room; not when the process ends. */
static void whose_disk_may_be_freed(void **state) {
    (void)state;
    struct weir_exporter_config config = a_config();
    struct weir_batch *batches[4];
    uint64_t gone = 0;
    for (uint32_t i = 0; i < 4; i++) {
        batches[i] = a_batch(i, 10);
        batches[i]->gone = told;
        batches[i]->gone_self = &gone;
        batches[i]->gone_token = 1u << i;
    }
    config.memory_bytes = 2 * weir_batch_memory(batches[0]) + 10;
    config.max_in_flight = 1;
    open_queue(&config, &fake_clock);
    for (uint32_t i = 0; i < 3; i++) {
        weir_queue_push(queue, batches[i]);
        weir_batch_unref(batches[i]);
        if (i == 0) weir_queue_round(queue);
    }
    assert_int_equal(gone, 2); /* 1 is the oldest that waits; 0 is in flight */
    fake_settle(0, WEIR_DELIVERED, 0);
    weir_queue_round(queue);
    fake_settle(1, WEIR_RETRY, 0);
    assert_int_equal(gone, 3);
    weir_queue_stop(queue, 0);
    weir_queue_push(queue, batches[3]); /* nobody takes it any more */
    weir_batch_unref(batches[3]);
    row_is(0, 0, 10, 10, 0, 0, 20);
    assert_int_equal(gone, 3);
    close_queue();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_in_order),
        cmocka_unit_test(evicts_the_oldest_waiting),
        cmocka_unit_test(retries_with_back_off_in_order),
        cmocka_unit_test(a_retried_batch_goes_first),
        cmocka_unit_test(retry_after_is_honoured),
        cmocka_unit_test(a_poisoned_batch_waits_by_itself),
        cmocka_unit_test(expires_by_age),
        cmocka_unit_test(rejected_whole_or_in_part),
        cmocka_unit_test(stopping_without_a_thread),
        cmocka_unit_test(whose_disk_may_be_freed),
        cmocka_unit_test(opening_fails),
        cmocka_unit_test(a_push_wakes_the_sender),
        cmocka_unit_test(stop_drains),
        cmocka_unit_test(stop_keeps_its_deadline),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
