/* The queue that has a spool: what memory is too small for waits on disk and is delivered in order, once; what neither
 * has room for is dropped and counted; and every span is in one place of the exporter's row. */
#include "collector/spool/queue.h"
#include "tests/unit/spool/spooled.h"

#include <pthread.h>
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

static enum weir_status fake_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    (void)config;
    (void)env;
    (void)err;
    *self = &back_end;
    return WEIR_OK;
}
static void deliver(struct weir_ticket *ticket, uint64_t id) {
    assert_true(back_end.count < SEEN_MAX);
    back_end.seen[back_end.count++] = id;
    ticket->settle(ticket, WEIR_DELIVERED, 0, NULL);
}
static void fake_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
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
static void fake_drive(void *self, int timeout_ms) {
    (void)self;
    (void)timeout_ms;
}
static void fake_wake(void *self) {
    (void)self;
}
static void fake_close(void *self) {
    (void)self;
    for (uint32_t i = 0; i < back_end.held_count; i++)
        back_end.held[i]->settle(back_end.held[i], WEIR_RETRY, 0, "closed");
    back_end.held_count = 0;
}
static const struct weir_exporter exporter = {
    .type = "fake", .open = fake_open, .send = fake_send, .drive = fake_drive, .wake = fake_wake, .close = fake_close};

/* ---- the queue ---- */

static uint64_t now_ns;
static uint64_t fake_now(void *self) {
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

static void open_queue(void) {
    struct weir_error err = {0};
    const struct weir_exporter_env env = {.metrics = registry, .names = names, .clock = &fake_clock};
    assert_int_equal(weir_queue_open(&queue, &exporter, &config, &env, &err), WEIR_OK);
    if (weir_queue_spool(queue, &disk, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    pushed = 0;
}
static void close_queue(void) {
    weir_queue_free(queue);
    queue = NULL;
}

static int setup(void **state) {
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
static int teardown(void **state) {
    (void)state;
    close_queue();
    weir_metrics_free(registry);
    weir_names_free(names);
    remove_folder(folder);
    return 0;
}

static void is_gone(void *self, uint64_t token) {
    (void)self;
    (void)token;
    gone++;
}

static void push(uint32_t number) {
    struct weir_batch *batch = make_spans((uint64_t)number * 100, SPANS, SPAN_BYTES);
    batch->gone = is_gone;
    weir_queue_push(queue, batch);
    weir_batch_unref(batch);
    pushed += SPANS;
}
static void push_all(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        push(i);
        weir_queue_round(queue);
    }
}

/* Every span is in one place. */
static struct weir_queue_row balanced(void) {
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    uint64_t sum = row.spooled + row.queued + row.in_flight + row.delivered;
    for (int i = 0; i < WEIR_QUEUE_DROPS; i++)
        sum += row.dropped[i];
    assert_int_equal(sum, pushed + row.recovered);
    return row;
}
static void seconds_pass(uint32_t seconds) { /* in steps, as time does */
    for (uint32_t i = 0; i < seconds * 4; i++) {
        now_ns += WEIR_S / 4;
        for (int round = 0; round < 50; round++)
            weir_queue_round(queue);
        balanced();
    }
}
static void delivered_in_order(uint32_t from, uint32_t to) {
    assert_int_equal(back_end.count, to - from);
    for (uint32_t i = from; i < to; i++)
        assert_int_equal(back_end.seen[i - from], (uint64_t)i * 100);
}

/* ---- the tests ---- */

static void a_back_end_that_is_there_needs_no_disk(void **state) {
    (void)state;
    push_all(0, 500);
    assert_int_equal(balanced().delivered, 500 * SPANS);
    assert_int_equal(look_at_files(directory).count, 0);
    delivered_in_order(0, 500);
}

static void down_and_back_ten_times_memory_later(void **state) {
    (void)state;
    push_all(0, 5);
    back_end.down = true;
    push_all(5, 1000); /* 20 MB; 2 are for memory */
    struct weir_queue_row row = balanced();
    assert_true(row.spooled > 8000);
    assert_int_equal(row.dropped[WEIR_QUEUE_FULL], 0);
    assert_true(row.queued * SPAN_BYTES < 2 * MiB);
    seconds_pass(5);
    back_end.down = false;
    push_all(1000, 1200);
    seconds_pass(10);
    row = balanced();
    assert_int_equal(row.delivered, 1200 * SPANS);
    delivered_in_order(0, 1200);
    assert_true(look_at_files(directory).bytes < 1000);
    push_all(1200, 1210); /* and as before */
    delivered_in_order(0, 1210);
}

/* Memory is small, the back end slow: nothing is read back that cannot be sent soon. */
static void memory_stays_at_its_bound(void **state) {
    (void)state;
    back_end.holds = true;
    push_all(0, 1000);
    for (int i = 0; i < 4000 && back_end.count < 1000; i++) {
        struct weir_queue_row row = balanced();
        assert_true((row.queued + row.in_flight) * SPAN_BYTES < 2 * MiB);
        assert_true(back_end.held_count > 0);
        uint32_t count = back_end.held_count;
        struct weir_ticket *tickets[64];
        uint64_t ids[64];
        memcpy(tickets, back_end.held, sizeof tickets);
        memcpy(ids, back_end.held_id, sizeof ids);
        back_end.held_count = 0;
        for (uint32_t k = 0; k < count; k++)
            deliver(tickets[k], ids[k]);
        weir_queue_round(queue);
    }
    delivered_in_order(0, 1000);
}

static void what_waits_too_long_in_memory_goes_to_disk(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 3); /* little */
    seconds_pass(9);
    assert_int_equal(balanced().spooled, 0);
    seconds_pass(3);
    assert_true(balanced().spooled >= 2 * SPANS); /* the rest is the one that is tried */
    assert_true(gone >= 2);
    back_end.down = false;
    seconds_pass(2);
    delivered_in_order(0, 3);
}

/* What is tried came back from disk: what came after it must not wait in memory for that. */
static void what_waits_behind_one_that_came_back_goes_to_disk_too(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 1);
    seconds_pass(12);
    assert_int_equal(balanced().spooled, 0); /* it was there, and is the one that is tried */
    assert_true(look_at_files(directory).bytes > 1000);
    push_all(1, 5);
    seconds_pass(9);
    assert_int_equal(balanced().spooled, 0);
    seconds_pass(3);
    assert_int_equal(balanced().spooled, 4 * SPANS);
    back_end.down = false;
    seconds_pass(2);
    delivered_in_order(0, 5);
}

static void an_end_puts_memory_away_and_a_start_goes_on(void **state) {
    (void)state;
    for (int again = 0; again < 3; again++) {
        back_end.down = true;
        push_all(0, 300);
        weir_queue_stop(queue, now_ns + 5 * WEIR_S);
        struct weir_queue_row row = balanced();
        assert_int_equal(row.spooled, 300 * SPANS);
        assert_int_equal(row.dropped[WEIR_QUEUE_SHUTDOWN], 0);
        close_queue();
        open_queue();
        row = balanced();
        assert_int_equal(row.recovered, 300 * SPANS);
        assert_int_equal(row.spooled, 300 * SPANS);
        back_end.down = false;
        seconds_pass(3);
        row = balanced();
        assert_int_equal(row.delivered, 300 * SPANS);
        assert_int_equal(back_end.count, 300);
        bool seen[300] = {false};
        for (uint32_t i = 0; i < 300; i++) {
            assert_false(seen[back_end.seen[i] / 100]);
            seen[back_end.seen[i] / 100] = true;
        }
        back_end.count = 0;
    }
}

static void what_is_under_way_at_the_end_comes_again(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 200);
    back_end.down = false;
    back_end.holds = true;
    seconds_pass(3);
    assert_true(back_end.held_count > 0);
    weir_queue_stop(queue, now_ns);
    assert_int_equal(balanced().spooled, 200 * SPANS);
    close_queue();
    back_end.holds = false;
    open_queue();
    seconds_pass(3);
    assert_int_equal(balanced().delivered, 200 * SPANS);
}

static int fail_with;
static uint64_t write_takes_ns;
static ssize_t failing_write(int fd, const void *bytes, size_t size, off_t offset) {
    now_ns += write_takes_ns;
    if (fail_with == 0) return pwrite(fd, bytes, size, offset);
    errno = fail_with;
    return -1;
}
static uint32_t syncs;
static int failing_sync(int fd) {
    syncs++;
    if (fail_with == 0) return fdatasync(fd);
    errno = fail_with;
    return -1;
}

static void with_a_disk_that_fails(void) {
    static const struct weir_log_disk failing = {.write = failing_write, .sync = failing_sync};
    close_queue();
    options.disk = &failing;
    open_queue();
}

static void a_full_disk_costs_the_oldest_and_heals(void **state) {
    (void)state;
    with_a_disk_that_fails();
    back_end.down = true;
    fail_with = ENOSPC;
    push_all(0, 500);
    struct weir_queue_row row = balanced();
    uint64_t lost = row.dropped[WEIR_QUEUE_FULL];
    assert_true(lost > 300 * SPANS && lost < 450 * SPANS);
    assert_int_equal(row.spooled, 0);
    fail_with = 0;
    seconds_pass(2);
    push_all(500, 1000);
    row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_FULL], lost);
    assert_true(row.spooled > 400 * SPANS);
    back_end.down = false;
    seconds_pass(5);
    delivered_in_order((uint32_t)lost / SPANS, 1000);
}

/* Half a second a write: what is not on disk when the time is over is dropped as shutdown. */
static void a_slow_disk_does_not_hold_up_the_end(void **state) {
    (void)state;
    with_a_disk_that_fails();
    back_end.down = true;
    for (int late = 0; late < 2; late++) {
        for (uint32_t i = 0; i < 60; i++)
            push(i);
        write_takes_ns = WEIR_S / 2;
        uint64_t began = now_ns;
        weir_queue_stop(queue, late ? now_ns : now_ns + 12 * WEIR_S);
        assert_true(now_ns - began < (late ? 3 : 14) * WEIR_S);
        struct weir_queue_row row = balanced();
        assert_true(row.spooled > 0 && row.dropped[WEIR_QUEUE_SHUTDOWN] > 0);
        write_takes_ns = 0;
        uint64_t held = row.spooled;
        close_queue();
        open_queue();
        assert_int_equal(balanced().recovered, held);
        back_end.down = false;
        seconds_pass(3);
        assert_int_equal(balanced().delivered, held);
        back_end.down = true;
    }
}

static void a_full_spool_costs_the_oldest(void **state) {
    (void)state;
    close_queue();
    options.max_bytes = 4 * MiB;
    open_queue();
    back_end.down = true;
    push_all(0, 1000);
    struct weir_queue_row row = balanced();
    uint64_t lost = row.dropped[WEIR_QUEUE_FULL];
    assert_true(lost > 600 * SPANS && lost < 900 * SPANS);
    assert_true(look_at_files(directory).bytes <= 4 * MiB);
    back_end.down = false;
    seconds_pass(5);
    row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_FULL], lost);
    assert_int_equal(row.delivered, 1000 * SPANS - lost);
    assert_int_equal(back_end.seen[back_end.count - 1], 999 * 100);
}

static void damage_is_a_reason(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 500);
    weir_queue_stop(queue, now_ns);
    close_queue();
    flip(directory, 3, 5000);
    flip(directory, 4, 500000);
    open_queue();
    back_end.down = false;
    seconds_pass(5);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_DAMAGED], 2 * SPANS);
    assert_int_equal(row.delivered, 498 * SPANS);
}

static void age_is_a_reason(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 300);
    seconds_pass(1);
    now_ns += 3000 * WEIR_S;
    push_all(300, 400);
    now_ns += 601 * WEIR_S;
    back_end.down = false;
    seconds_pass(5);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_EXPIRED], 300 * SPANS);
    assert_int_equal(row.delivered, 100 * SPANS);
}

static void reading_back_has_a_cap(void **state) {
    (void)state;
    close_queue();
    disk.read_bytes_per_second = 100 * 1000; /* 5 batches a second */
    open_queue();
    back_end.down = true;
    push_all(0, 300);
    uint64_t spooled = balanced().spooled;
    back_end.down = false;
    seconds_pass(10);
    uint64_t read = spooled - balanced().spooled;
    assert_true(read > 30 * SPANS && read < 60 * SPANS);
    seconds_pass(90);
    assert_int_equal(balanced().spooled, 0);
    delivered_in_order(0, 300);
}

/* A journal may let go of a batch only when the spool has it for sure. */
static void durable_means_synced(void **state) {
    (void)state;
    disk.durable = true;
    with_a_disk_that_fails();
    back_end.down = true;
    fail_with = 0;
    syncs = 0;
    push_all(0, 200);
    assert_true(balanced().spooled > 0 && syncs > 0 && gone > 0);
    uint32_t before = gone;
    fail_with = EIO; /* fdatasync fails, and so does write: nothing more goes */
    push_all(200, 250);
    assert_true(gone - before < 60);
    fail_with = 0;
}

/* A back end that answers at once leaves nothing under way that would wake the thread: it must not sleep. */
static void what_is_on_disk_does_not_wait_for_a_second(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 1000);
    back_end.down = false;
    now_ns += 2 * WEIR_S;
    int rounds = 0;
    for (uint64_t wait_ns = 0; balanced().delivered < 1000 * SPANS; rounds++) {
        wait_ns = weir_queue_round(queue);
        assert_true(wait_ns == 0 || balanced().spooled == 0);
        assert_true(rounds < 2000);
    }
    assert_true(weir_queue_round(queue) > 0);
    delivered_in_order(0, 1000);
}

static void push_large(uint32_t number) { /* 900 kB; 2 MiB are for memory */
    struct weir_batch *batch = make_spans((uint64_t)number * 1000, 450, SPAN_BYTES);
    weir_queue_push(queue, batch);
    weir_batch_unref(batch);
    pushed += 450;
}

static void what_comes_back_leaves_room_for_what_comes(void **state) {
    (void)state;
    back_end.down = true;
    for (uint32_t i = 0; i < 20; i++) {
        push_large(i);
        weir_queue_round(queue);
    }
    back_end.down = false;
    now_ns += 2 * WEIR_S;
    weir_queue_round(queue);
    back_end.holds = true;
    for (uint32_t i = 20; i < 30; i++) {
        weir_queue_round(queue);
        assert_true(back_end.held_count > 0);
        weir_queue_round(queue); /* with that under way, what came before goes to disk */
        push_large(i);
        assert_int_equal(balanced().dropped[WEIR_QUEUE_FULL], 0);
    }
}

/* What expires is passed over, and what is written behind it, to the same file, is read. */
static void what_comes_after_expired_batches_is_read(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 50);
    seconds_pass(12);
    uint64_t spooled = balanced().spooled;
    assert_true(spooled > 0);
    now_ns += 3600 * WEIR_S;
    for (uint32_t i = 50; i < 100; i++)
        push(i);
    seconds_pass(12);
    back_end.down = false;
    seconds_pass(5);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_EXPIRED], 50 * SPANS);
    assert_int_equal(row.delivered, 50 * SPANS);
    delivered_in_order(50, 100);
}

/* Files go while one batch waits by itself, and a start does not send again what was delivered since. */
static void a_batch_that_is_never_taken_holds_no_files(void **state) {
    (void)state;
    back_end.down = true;
    back_end.never = 100;
    push_all(0, 1000); /* 20 MB */
    assert_true(look_at_files(directory).count > 10);
    back_end.down = false;
    seconds_pass(60);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.delivered, 999 * SPANS);
    push_all(1000, 1010);
    assert_true(look_at_files(directory).count <= 3);
    weir_queue_stop(queue, now_ns);
    assert_true(balanced().spooled <= 11 * SPANS);
    close_queue();
    open_queue();
    assert_true(balanced().recovered < 100 * SPANS);
    back_end.never = 0;
    seconds_pass(5);
    assert_int_equal(balanced().spooled + balanced().queued, 0);
}

/* It stays in memory, and holds up nobody. */
static void a_batch_that_no_spool_can_hold_stays_in_memory(void **state) {
    (void)state;
    close_queue();
    options.max_bytes = 2 * MiB;
    config.memory_bytes = 4 * MiB;
    open_queue();
    back_end.down = true;
    push_all(0, 10);
    struct weir_batch *large = make_spans(1000, 600, SPAN_BYTES);
    weir_queue_push(queue, large);
    weir_batch_unref(large);
    pushed += 600;
    push_all(11, 20);
    seconds_pass(12);
    struct weir_queue_row row = balanced();
    assert_true(row.spooled >= 15 * SPANS && row.queued >= 600);
    for (int i = 0; i < WEIR_QUEUE_DROPS; i++)
        assert_int_equal(row.dropped[i], 0);
    weir_queue_stop(queue, now_ns);
    row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_SHUTDOWN], 600);
    assert_int_equal(row.spooled, 19 * SPANS);
}

static void an_end_with_a_full_spool_costs_the_oldest(void **state) {
    (void)state;
    close_queue();
    options.max_bytes = 3 * MiB;
    open_queue();
    push_all(0, 2);
    back_end.holds = true;
    push_all(2, 300); /* the oldest are under way: nothing can go */
    weir_queue_stop(queue, now_ns);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.dropped[WEIR_QUEUE_SHUTDOWN], 0);
    assert_true(row.spooled * SPAN_BYTES > 3 * MiB / 2);
}

static void a_batch_that_comes_while_disk_is_read_waits_its_turn(void **state) {
    (void)state;
    back_end.down = true;
    push_all(0, 200);
    back_end.down = false;
    for (uint32_t i = 200; i < 400; i++) {
        now_ns += 100 * WEIR_MS;
        push(i);
        weir_queue_round(queue);
    }
    seconds_pass(5);
    delivered_in_order(0, 400);
}

static struct weir_batch *ready[2][500];
static void *push_500(void *batches) {
    for (uint32_t i = 0; i < 500; i++) {
        struct weir_batch *batch = ((struct weir_batch **)batches)[i];
        weir_queue_push(queue, batch);
        weir_batch_unref(batch);
        if (i == 250) atomic_store(&back_end.down, batches == ready[0]);
    }
    return NULL;
}

/* The thread itself, two that push, and a back end that goes and comes. */
static void threads_push_while_it_goes_to_disk(void **state) {
    (void)state;
    pthread_t threads[2];
    struct weir_error err;
    close_queue();
    options.clock = &weir_clock_system;
    config.memory_bytes = 64 * MiB; /* so that nothing is dropped, however slow the disk is */
    disk.memory_age_ns = WEIR_MS;
    const struct weir_exporter_env env = {.metrics = registry, .names = names, .clock = &weir_clock_system};
    assert_int_equal(weir_queue_open(&queue, &exporter, &config, &env, &err), WEIR_OK);
    assert_int_equal(weir_queue_spool(queue, &disk, &options, &err), WEIR_OK);
    assert_int_equal(weir_queue_start(queue, &err), WEIR_OK);
    for (uint32_t i = 0; i < 1000; i++)
        ready[i / 500][i % 500] = make_spans(i * 100ull, SPANS, SPAN_BYTES);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push_500, ready[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    pushed = 1000 * SPANS;
    weir_queue_stop(queue, weir_mono_ns(&weir_clock_system) + 20 * WEIR_S);
    struct weir_queue_row row = balanced();
    assert_int_equal(row.delivered + row.spooled, pushed);
    assert_int_equal(row.delivered, back_end.count * SPANS);
}

int main(void) {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_back_end_that_is_there_needs_no_disk),
        IN_A_FOLDER(down_and_back_ten_times_memory_later),
        IN_A_FOLDER(memory_stays_at_its_bound),
        IN_A_FOLDER(what_waits_too_long_in_memory_goes_to_disk),
        IN_A_FOLDER(what_waits_behind_one_that_came_back_goes_to_disk_too),
        IN_A_FOLDER(an_end_puts_memory_away_and_a_start_goes_on),
        IN_A_FOLDER(what_is_under_way_at_the_end_comes_again),
        IN_A_FOLDER(a_full_disk_costs_the_oldest_and_heals),
        IN_A_FOLDER(a_slow_disk_does_not_hold_up_the_end),
        IN_A_FOLDER(a_full_spool_costs_the_oldest),
        IN_A_FOLDER(damage_is_a_reason),
        IN_A_FOLDER(age_is_a_reason),
        IN_A_FOLDER(reading_back_has_a_cap),
        IN_A_FOLDER(durable_means_synced),
        IN_A_FOLDER(what_is_on_disk_does_not_wait_for_a_second),
        IN_A_FOLDER(what_comes_back_leaves_room_for_what_comes),
        IN_A_FOLDER(what_comes_after_expired_batches_is_read),
        IN_A_FOLDER(a_batch_that_is_never_taken_holds_no_files),
        IN_A_FOLDER(a_batch_that_no_spool_can_hold_stays_in_memory),
        IN_A_FOLDER(an_end_with_a_full_spool_costs_the_oldest),
        IN_A_FOLDER(threads_push_while_it_goes_to_disk),
        IN_A_FOLDER(a_batch_that_comes_while_disk_is_read_waits_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
