/* The journal of undecided spans: receipts are told the truth about the disk, and what nobody needs goes. What outlives
 * a kill: test_journal_kill.c. */
#include "tests/unit/spool/journal_rig.h"

#include <pthread.h>

/* ---- commits ---- */

static void one_sync_answers_all(void **state) {
    struct fixture *f = *state;
    struct owed owed[10];
    open_journal(f);
    disk.gate = 1;
    unsigned before = disk.syncs;
    SEAL(f, 0, 1, 100);
    ask(f, 0, &owed[0]);
    for (int i = 0; disk.syncs == before && i < PATIENCE_MS * 10; i++) /* until a sync is under way */
        usleep(100);
    assert_true(disk.syncs > before);
    for (int i = 1; i < 10; i++) {
        SEAL(f, i % LANES, (uint64_t)i, 100);
        ask(f, i % LANES, &owed[i]);
    }
    usleep(2000);
    weir_mailbox_read(&f->home);
    assert_int_equal(owed[0].answers, 0); /* nobody is told before the disk has it */
    disk.gate = 0;
    for (int i = 0; i < 10; i++)
        assert_int_equal(answered(f, &owed[i]), WEIR_DURABLE);
    assert_true(metric(f, "weir_journal_commits_total") <= 3);
    assert_true(metric(f, "weir_journal_commit_seconds_total") > 0.002);
    assert_true(metric(f, "weir_journal_commits_failed_total") == 0);
    assert_true(metric(f, "weir_journal_records_total{type=\"spans\"}") == 10);
    assert_true(metric(f, "weir_journal_spans_total") == 10);
    assert_true(metric(f, "weir_journal_segments") == 1);
    assert_true(metric(f, "weir_journal_bytes") == 32 + 10 * (24 + 24));
}

static void a_disk_that_says_no_degrades_and_heals(void **state) {
    struct fixture *f = *state;
    struct owed owed;
    open_journal(f);
    disk.fail_writes = ENOSPC;
    assert_int_equal(SEAL(f, 0, 1, 100), 0);
    decide(f, 0, 100, "errors", 0);
    assert_false(weir_journal_flush(f->lanes[0]));
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_OWNED);
    assert_true(metric(f, "weir_journal_commits_failed_total") == 1);
    assert_true(metric(f, "weir_journal_records_lost_total{type=\"spans\"}") == 1);
    assert_true(metric(f, "weir_journal_records_lost_total{type=\"decisions\"}") == 1);
    disk.fail_writes = 0;
    let_go(f, 0, 0); /* the token of what was not written */
    assert_int_not_equal(SEAL(f, 0, 2, 100), 0);
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_DURABLE);
    assert_true(weir_journal_flush(f->lanes[0]));

    /* A lane that wrote before a sync that failed for another one cannot know what became of it. */
    SEAL(f, 1, 3, 100);
    disk.fail_syncs = EIO;
    SEAL(f, 0, 4, 100);
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_OWNED);
    disk.fail_syncs = 0;
    ask(f, 1, &owed);
    assert_int_equal(answered(f, &owed), WEIR_OWNED);
    for (int lane = 0; lane < 2; lane++) {
        SEAL(f, lane, 5, 100);
        ask(f, lane, &owed);
        /* lane 0 has not asked since: what it wrote before is in doubt as well */
        assert_int_equal(answered(f, &owed), lane == 0 ? WEIR_OWNED : WEIR_DURABLE);
    }
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_DURABLE);
}

static void a_full_journal_degrades_and_heals(void **state) {
    struct fixture *f = *state;
    struct owed owed;
    f->options.max_bytes = 2 * MiB;
    open_journal(f);
    uint64_t first = seal_filler(f, 0), second = seal_filler(f, 0);
    assert_int_equal(second, first + 1);
    assert_int_equal(seal_filler(f, 0), 0);
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_OWNED);
    let_go(f, 0, first);
    weir_journal_flush(f->lanes[0]);
    assert_int_not_equal(seal_filler(f, 0), 0);
    ask(f, 0, &owed);
    assert_int_equal(answered(f, &owed), WEIR_DURABLE);
}

/* ---- what stays, what goes ---- */

static bool there(struct fixture *f, uint64_t segment) {
    char path[128];
    struct stat info;
    snprintf(path, sizeof path, "%s/journal/%08llu.log", f->folder, (unsigned long long)segment);
    return stat(path, &info) == 0;
}
/* Lets the journal's thread trim. */
static void trim(struct fixture *f) {
    struct owed owed;
    ask(f, 1, &owed);
    answered(f, &owed);
    ask(f, 1, &owed); /* the first was answered before its trim */
    answered(f, &owed);
}

static void a_segment_goes_when_its_blocks_and_batches_are_gone(void **state) {
    struct fixture *f = *state;
    open_journal(f);
    uint64_t first = seal_filler(f, 0), second = seal_filler(f, 0);
    seal_filler(f, 0);
    struct weir_batch *batch = weir_batch_new(NULL, 0), *other = weir_batch_new(NULL, 0);
    let_go(f, 0, first);                   /* the tail lets go before it hands out what was kept ... */
    weir_journal_hold(f->lanes[0], batch); /* ... which is still held here */
    weir_journal_hold(f->lanes[0], batch);
    assert_int_equal(batch->gone_token, first);
    weir_journal_flush(f->lanes[0]);
    weir_journal_hold(f->lanes[0], other);
    assert_int_equal(other->gone_token, second);
    let_go(f, 0, second);
    weir_journal_flush(f->lanes[0]);
    trim(f);
    assert_true(there(f, first) && there(f, second));
    weir_batch_ref(batch);
    weir_batch_unref(batch);
    trim(f);
    assert_true(there(f, first)); /* an exporter has it yet */
    weir_batch_unref(batch);
    trim(f);
    assert_false(there(f, first));
    assert_true(there(f, second));
    weir_batch_unref(other);
    trim(f);
    assert_false(there(f, second));
}

static void a_batch_before_its_block(void **state) {
    struct fixture *f = *state;
    open_journal(f);
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    weir_journal_hold(f->lanes[0], batch); /* decided before its block was sealed: what comes is held */
    assert_int_equal(batch->gone_token, 1);
    uint64_t token = seal_filler(f, 0);
    let_go(f, 0, token);
    weir_journal_flush(f->lanes[0]);
    seal_filler(f, 1);
    trim(f);
    assert_true(there(f, 1) && there(f, token));
    weir_batch_unref(batch);
    trim(f);
    assert_false(there(f, token));
}

static void what_exporters_left_is_there_at_the_next_start(void **state) {
    struct fixture *f = *state;
    open_journal(f);
    struct weir_batch *batches[2];
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t trace = 100 * (i + 1), token = SEAL(f, 0, trace, trace);
        decide(f, 0, trace, "errors", 0);
        batches[i] = weir_batch_new(NULL, 0);
        weir_journal_hold(f->lanes[0], batches[i]);
        let_go(f, 0, token);
        weir_journal_flush(f->lanes[0]);
    }
    weir_batch_leave(batches[1]);
    weir_batch_unref(batches[0]);
    weir_batch_unref(batches[1]);
    close_journal(f);
    open_journal(f);
    replay(f);
    assert_found(f, "100k 200k"); /* one segment: the first comes again */
    replayed(f);
    close_journal(f);
    open_journal(f);
    replay(f);
    assert_found(f, "");
}

static void a_quiet_journal_is_empty(void **state) {
    struct fixture *f = *state;
    open_journal(f);
    uint64_t token = SEAL(f, 0, 1, 100);
    assert_true(there(f, token));
    let_go(f, 0, token);
    weir_journal_flush(f->lanes[0]);
    for (int i = 0; there(f, token) && i < PATIENCE_MS / 10; i++) /* its thread looks every second */
        usleep(10000);
    assert_false(there(f, token));
    assert_true(metric(f, "weir_journal_bytes") == WEIR_LOG_HEADER_BYTES);
}

static void one_process_at_a_time(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    struct weir_journal *second = NULL;
    open_journal(f);
    assert_int_equal(weir_journal_open(&second, &f->options, &err), WEIR_IO);
    assert_null(second);
    assert_non_null(strstr(err.text, "another process"));
}

/* ---- lanes at once, under TSan ---- */

enum { ROUNDS = 300, RECEIPTS = LANES * ROUNDS };

struct worker {
    struct fixture *f;
    int lane;
    struct weir_mailbox home;
    struct owed owed[ROUNDS];
    struct weir_batch *batches[ROUNDS];
    pthread_t thread;
};

static void *work(void *self) {
    struct worker *w = self;
    struct fixture *f = w->f;
    weir_mailbox_own(&w->home);
    uint64_t tokens[ROUNDS] = {0};
    unsigned answers = 0;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t trace = 1000 * (uint64_t)(w->lane + 1) + (uint64_t)i;
        tokens[i] = i % 37 == 5 ? seal_filler(f, w->lane) : SEAL(f, w->lane, trace, trace, trace);
        w->batches[i] = weir_batch_new(NULL, 0);
        if (i % 2 == 0) {
            decide(f, w->lane, trace, "errors", 0);
            weir_journal_hold(f->lanes[w->lane], w->batches[i]);
        }
        if (i >= 20) {
            let_go(f, w->lane, tokens[i - 20]);
            weir_batch_unref(w->batches[i - 20]);
        }
        weir_receipt_init(&w->owed[i].receipt, &w->home, answer, 1);
        struct weir_receipt *receipt = &w->owed[i].receipt;
        weir_journal_commit(f->lanes[w->lane], &receipt, 1);
        answers += weir_mailbox_read(&w->home);
    }
    for (int i = 0; answers < ROUNDS && i < PATIENCE_MS * 10; i++) {
        answers += weir_mailbox_read(&w->home);
        if (answers < ROUNDS) usleep(100);
    }
    for (int i = ROUNDS - 20; i < ROUNDS; i++)
        weir_batch_unref(w->batches[i]);
    return NULL;
}

static void lanes_at_once(void **state) {
    struct fixture *f = *state;
    static struct worker workers[LANES];
    f->options.max_bytes = 64 * MiB;
    open_journal(f);
    for (int i = 0; i < LANES; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].f = f;
        workers[i].lane = i;
        assert_true(weir_mailbox_open(&workers[i].home));
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        assert_true(metric(f, "weir_journal_segments") >= 0);
        usleep(1000);
    }
    for (int i = 0; i < LANES; i++) {
        pthread_join(workers[i].thread, NULL);
        for (int r = 0; r < ROUNDS; r++) {
            assert_int_equal(workers[i].owed[r].answers, 1);
            assert_int_equal(workers[i].owed[r].outcome, WEIR_DURABLE);
        }
        weir_mailbox_close(&workers[i].home);
    }
    double groups = metric(f, "weir_journal_commits_total");
    assert_true(groups >= 1 && groups <= RECEIPTS);
    close_journal(f); /* the last 20 blocks of each lane were not released */
    open_journal(f);
    replay(f);
    for (int i = 0; i < LANES; i++) {
        uint64_t before = 0;
        unsigned last = 0;
        for (size_t s = 0; s < f->found_count; s++) {
            const struct found *found = &f->found[s];
            if (found->lo / 1000 != (uint64_t)i + 1) continue;
            assert_true(found->lo >= before); /* in the lane's order */
            before = found->lo;
            last += found->lo % 1000 >= ROUNDS - 20;
            assert_int_equal(found->fate, found->lo % 2 == 0 ? WEIR_FATE_KEPT : WEIR_FATE_UNDECIDED);
        }
        assert_true(last >= 2 * 19); /* one of the 20 may be a filler */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_sync_answers_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_says_no_degrades_and_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_journal_degrades_and_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_goes_when_its_blocks_and_batches_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_before_its_block, setup, teardown),
        cmocka_unit_test_setup_teardown(what_exporters_left_is_there_at_the_next_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quiet_journal_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(lanes_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
