/* The queue that has a spool: what memory is too small for waits on disk and is delivered in order, once; and every
 * span is in one place of the exporter's row. What neither has room for: test_queue_disk_loss.c. */
#include "tests/unit/spool/queue_disk_rig.h"

#include <pthread.h>

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
    weir_queue_stop(queue, weir_mono_ns(&weir_clock_system) + 600 * WEIR_S); /* however slow the machine is */
    struct weir_queue_row row = balanced();
    assert_int_equal(row.delivered + row.spooled, pushed);
    assert_int_equal(row.delivered, back_end.count * SPANS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_back_end_that_is_there_needs_no_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(down_and_back_ten_times_memory_later, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_stays_at_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_too_long_in_memory_goes_to_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_behind_one_that_came_back_goes_to_disk_too, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_puts_memory_away_and_a_start_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_under_way_at_the_end_comes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_back_has_a_cap, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_on_disk_does_not_wait_for_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_back_leaves_room_for_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_after_expired_batches_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_is_never_taken_holds_no_files, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_no_spool_can_hold_stays_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_push_while_it_goes_to_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_comes_while_disk_is_read_waits_its_turn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
