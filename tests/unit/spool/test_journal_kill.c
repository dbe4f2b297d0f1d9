/* What a process that was killed left in its journal, found by the next one. */
#include "tests/unit/spool/journal_rig.h"

static void three_traces(struct fixture *f) {
    SEAL(f, 0, 1, 100, 200, 300);
    SEAL(f, 1, 11, 400, 401);
    SEAL(f, 0, 4, 100, 300);
    decide(f, 0, 100, "errors", 0);
    decide(f, 0, 200, "none", WEIR_THRESHOLD_MAX);
    decide(f, 1, 400, "rest", 1ull << 55);
    weir_journal_flush(f->lanes[0]);
    weir_journal_flush(f->lanes[1]);
    decide(f, 0, 300, "errors", 0); /* not written: it had no effect yet */
}

static void a_kill_loses_nothing_that_was_written(void **state) {
    struct fixture *f = *state;
    killed_after(f, three_traces);
    open_journal(f);
    replay(f);
    assert_found(f, "1k 2d 3u 11k 12u 4k 5u");
    assert_int_equal(f->decided_count, 3);
    assert_string_equal(f->found[0].rule, "errors");
    assert_int_equal(f->found[0].threshold, 0);
    assert_string_equal(f->found[3].rule, "rest");
    assert_int_equal(f->found[3].threshold, 1ull << 55);
    assert_true(metric(f, "weir_journal_spans_recovered_total{fate=\"kept\"}") == 3);
    assert_true(metric(f, "weir_journal_spans_recovered_total{fate=\"undecided\"}") == 3);
    assert_true(metric(f, "weir_journal_spans_recovered_total{fate=\"dropped\"}") == 1);
    assert_true(metric(f, "weir_journal_records_bad_total") == 0);
    replayed(f);
    close_journal(f); /* nobody held anything */
    open_journal(f);
    replay(f);
    assert_found(f, "");
}

static void damage_costs_one_block(void **state) {
    struct fixture *f = *state;
    char path[128];
    killed_after(f, three_traces);
    snprintf(path, sizeof path, "%s/journal/00000001.log", f->folder);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, WEIR_LOG_HEADER_BYTES + WEIR_LOG_HEAD_BYTES), 1);
    close(fd);
    open_journal(f);
    replay(f);
    assert_found(f, "11k 12u 4k 5u");
    assert_true(metric(f, "weir_journal_records_bad_total") == 1);
}

static void an_unsound_block(struct fixture *f) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[0]);
    SEAL(f, 0, 1, 100);
    tail->sealed(tail->self, (const uint8_t *)"sound as a record only", 22, 1);
    SEAL(f, 0, 2, 100);
}
static void a_block_that_cannot_be_read_is_skipped(void **state) {
    struct fixture *f = *state;
    killed_after(f, an_unsound_block);
    open_journal(f);
    replay(f);
    assert_found(f, "1u 2u");
    assert_true(metric(f, "weir_journal_records_bad_total") == 1);
}

/* A restart writes anew what is undecided and delivers what was kept; then it is killed too. */
static void recovers_and_goes_on(struct fixture *f) {
    replay(f);
    struct weir_batch *out = weir_batch_new(NULL, 64); /* kept ones wait for a back end, for ever */
    for (size_t i = 0; i < f->found_count; i++) {
        struct found *found = &f->found[i];
        if (found->fate == WEIR_FATE_UNDECIDED) SEAL(f, 2, found->id, found->lo);
        if (found->fate == WEIR_FATE_KEPT) weir_journal_hold_segment(f->journal, out, found->segment);
    }
    replayed(f);
    decide(f, 2, 300, "slow", 0); /* decided after it was written anew */
    weir_journal_flush(f->lanes[2]);
}
static void a_kill_after_a_kill(void **state) {
    struct fixture *f = *state;
    killed_after(f, three_traces);
    killed_after(f, recovers_and_goes_on);
    open_journal(f);
    replay(f);
    assert_found(f, "1k 2d 11k 4k 3k 12u 5k"); /* each once: 3, 5 and 12 only where they stand anew */
    close_journal(f);
    killed_after(f, recovers_and_goes_on); /* and once more: 12 is all that is undecided */
    open_journal(f);
    replay(f);
    assert_found(f, "1k 2d 11k 4k 3k 5k 12u");
}

static void what_was_found_may_fill_the_journal(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    f->options.max_bytes = 2 * MiB;
    killed_after(f, three_traces);
    open_journal(f);
    seal_filler(f, 0);
    close_journal(f);
    open_journal(f); /* 1 MiB found */
    replay(f);
    assert_int_not_equal(SEAL(f, 0, 3, 300), 0); /* there is room for it all to be written anew */
    assert_int_not_equal(seal_filler(f, 0), 0);
    disk.fail_writes = ENOSPC;
    assert_int_equal(SEAL(f, 0, 5, 300), 0);
    disk.fail_writes = 0;
    assert_int_equal(weir_journal_replayed(f->journal, &err), WEIR_FULL); /* nothing is let go then */
    assert_non_null(strstr(err.text, "stays until the next start"));
    close_journal(f);
    open_journal(f);
    replay(f);
    assert_found(f, "1k 2d 3u 11k 12u 4k 5u 3u"); /* nothing is missing, one is there twice */
}

static void nothing_found_is_nothing_to_do(void **state) {
    struct fixture *f = *state;
    open_journal(f);
    replay(f);
    assert_found(f, "");
    replayed(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_loses_nothing_that_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_costs_one_block, setup, teardown),
        cmocka_unit_test_setup_teardown(a_block_that_cannot_be_read_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_after_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_found_may_fill_the_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_found_is_nothing_to_do, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
