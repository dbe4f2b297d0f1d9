/* What a queue with a spool loses, and under which reason: disks that fail or are slow, a spool that is full, damage,
 * age. */
#include "tests/unit/spool/queue_disk_rig.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_costs_the_oldest_and_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_disk_does_not_hold_up_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_spool_costs_the_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_a_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(age_is_a_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(durable_means_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_with_a_full_spool_costs_the_oldest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
