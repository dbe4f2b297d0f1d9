/* The journal of undecided spans: what was written outlives a kill, decisions are found again, receipts are told the
 * truth about the disk, and what nobody needs goes. Blocks here are rows of (trace_hi, trace_lo, span id). */
#include "collector/core/log.h"
#include "collector/spool/decided.h"
#include "collector/spool/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MiB = 1 << 20, FOUND_MAX = 4096, LANES = 3 };

/* ---- a disk that can say no ---- */

static struct {
    _Atomic int fail_writes, fail_syncs; /* errno; 0 = well */
    _Atomic unsigned syncs;
    _Atomic int gate; /* 1: a sync waits until it is 0 */
} disk;

static ssize_t disk_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (disk.fail_writes == 0) return pwrite(fd, bytes, size, offset);
    errno = disk.fail_writes;
    return -1;
}
static int disk_sync(int fd) {
    disk.syncs++;
    while (disk.gate)
        usleep(200);
    if (disk.fail_syncs == 0) return fdatasync(fd);
    errno = disk.fail_syncs;
    return -1;
}
static const struct weir_log_disk testing = {.write = disk_write, .sync = disk_sync, .sync_names = disk_sync};

/* ---- blocks of this test ---- */

struct row {
    uint64_t hi, lo, id;
};

static enum weir_status read_rows(const uint8_t *bytes, size_t size, struct weir_names *names,
                                  void (*span)(void *self, struct weir_batch *batch, uint32_t i), void *self,
                                  struct weir_error *err) {
    (void)names;
    if (size % sizeof(struct row) != 0) return weir_fail(err, WEIR_INVALID, 0, false, "not rows");
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    for (size_t i = 0; i < size / sizeof(struct row); i++) {
        struct row row;
        memcpy(&row, bytes + i * sizeof row, sizeof row);
        assert_int_equal(
            weir_batch_add(batch, &(struct weir_span){.trace_hi = row.hi, .trace_lo = row.lo, .span_id = row.id}),
            WEIR_OK);
        span(self, batch, (uint32_t)i);
    }
    weir_batch_unref(batch);
    return WEIR_OK;
}

struct fixture {
    char folder[64];
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_journal_options options;
    struct weir_journal *journal;
    struct weir_journal_lane *lanes[LANES];
    struct weir_mailbox home;
    /* what replay said */
    struct found {
        uint64_t lo, id, segment, threshold;
        enum weir_fate fate;
        char rule[32];
    } found[FOUND_MAX];
    size_t found_count, decided_count;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weir-test-journal-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    disk.fail_writes = disk.fail_syncs = disk.gate = 0;
    f->names = weir_names_new(1024, 1 << 20);
    f->metrics = weir_metrics_new();
    f->options = (struct weir_journal_options){.directory = f->folder,
                                               .segment_bytes = MiB,
                                               .max_bytes = 16 * MiB,
                                               .disk = &testing,
                                               .names = f->names,
                                               .metrics = f->metrics,
                                               .clock = &weir_clock_system,
                                               .read = read_rows};
    weir_log_set_level(WEIR_LOG_ERROR);
    assert_true(weir_mailbox_open(&f->home));
    *state = f;
    return 0;
}

static void open_journal(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_journal_open(&f->journal, &f->options, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (int i = 0; i < LANES; i++)
        assert_non_null(f->lanes[i] = weir_journal_lane_new(f->journal));
    if (weir_journal_start(f->journal, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void close_journal(struct fixture *f) {
    for (int i = 0; i < LANES; i++) {
        weir_journal_lane_free(f->lanes[i]);
        f->lanes[i] = NULL;
    }
    weir_journal_close(f->journal);
    f->journal = NULL;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    disk.gate = 0;
    close_journal(f);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    int failed = system(command);
    weir_mailbox_close(&f->home);
    weir_names_free(f->names);
    weir_metrics_free(f->metrics);
    free(f);
    return failed;
}

/* Runs `work` on an open journal in a process that is killed at the end of it. */
static void killed_after(struct fixture *f, void (*work)(struct fixture *f)) {
    pid_t child = fork();
    if (child == 0) {
        open_journal(f);
        work(f);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* One block with spans `id`, id+1, ... of the traces. Returns its token. */
static uint64_t seal(struct fixture *f, int lane, uint64_t id, const uint64_t *traces, size_t count) {
    struct row rows[64];
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){9, traces[i], id + i};
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    return tail->sealed(tail->self, (const uint8_t *)rows, count * sizeof rows[0], (uint32_t)count);
}
#define SEAL(f, lane, id, ...) seal(f, lane, id, (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)
static void let_go(struct fixture *f, int lane, uint64_t token) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    tail->release(tail->self, token);
}
/* threshold: kept when it is not WEIR_THRESHOLD_MAX */
static void decide(struct fixture *f, int lane, uint64_t trace, const char *rule, uint64_t threshold) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    struct weir_trace one = {.trace_hi = 9, .trace_lo = trace};
    struct weir_verdict verdict = {.kept = threshold != WEIR_THRESHOLD_MAX, .threshold = threshold};
    verdict.rule_name = weir_names_intern(f->names, rule, strlen(rule));
    tail->decided(tail->self, &one, &verdict);
}
/* A block that fills most of a segment. */
static uint64_t seal_filler(struct fixture *f, int lane) {
    const size_t count = (MiB - 4096) / sizeof(struct row);
    struct row *rows = malloc(count * sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){9, 999999, 0};
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    uint64_t token = tail->sealed(tail->self, (const uint8_t *)rows, count * sizeof *rows, 1);
    free(rows);
    return token;
}

static void on_decided(void *self, uint64_t hi, uint64_t lo, const struct weir_verdict *verdict) {
    struct fixture *f = self;
    assert_int_equal(hi, 9);
    assert_true(lo > 0 && verdict->rule == WEIR_RULE_NONE);
    f->decided_count++;
}
static void on_span(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                    const struct weir_verdict *verdict, uint64_t segment) {
    struct fixture *f = self;
    const struct weir_span *span = &batch->spans[i];
    if (span->trace_lo == 999999) return;
    assert_true(f->found_count < FOUND_MAX);
    struct found *found = &f->found[f->found_count++];
    *found = (struct found){span->trace_lo, span->span_id, segment, 0, fate, ""};
    assert_int_equal(verdict == NULL, fate == WEIR_FATE_UNDECIDED);
    if (verdict == NULL) return;
    assert_int_equal(verdict->kept, fate == WEIR_FATE_KEPT);
    found->threshold = verdict->threshold;
    snprintf(found->rule, sizeof found->rule, "%s", weir_names_text(f->names, verdict->rule_name, NULL));
}
static void replay(struct fixture *f) {
    struct weir_error err = {0};
    const struct weir_journal_recovery recovery = {on_decided, on_span, f};
    f->found_count = f->decided_count = 0;
    if (weir_journal_replay(f->journal, &recovery, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void replayed(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_journal_replayed(f->journal, &err) != WEIR_OK) fail_msg("%s", err.text);
}
/* "1k 2d 3u": span ids, and what became of them. */
static void assert_found(struct fixture *f, const char *want) {
    char got[512] = "";
    for (size_t i = 0; i < f->found_count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d%c", i == 0 ? "" : " ", (int)f->found[i].id,
                 "ukd"[f->found[i].fate]);
    assert_string_equal(got, want);
}

static double metric(struct fixture *f, const char *name) {
    struct weir_buffer out = {0};
    weir_metrics_expose(f->metrics, &out);
    weir_buffer_byte(&out, 0);
    char line[160];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr((const char *)out.bytes, line);
    double value = at == NULL ? -1 : strtod(at + strlen(line), NULL);
    weir_buffer_free(&out);
    return value;
}

/* ---- receipts ---- */

struct owed {
    struct weir_receipt receipt; /* first */
    unsigned answers;
    enum weir_outcome outcome;
};
static void answer(struct weir_mail *mail) {
    struct owed *owed = (struct owed *)mail;
    owed->answers++;
    owed->outcome = weir_receipt_outcome(&owed->receipt);
}
static void ask(struct fixture *f, int lane, struct owed *owed) {
    *owed = (struct owed){.answers = 0};
    weir_receipt_init(&owed->receipt, &f->home, answer, 1);
    struct weir_receipt *receipt = &owed->receipt;
    weir_journal_commit(f->lanes[lane], &receipt, 1);
}
/* Waits for the answer: the journal has a thread of its own. */
static enum weir_outcome answered(struct fixture *f, struct owed *owed) {
    for (int i = 0; owed->answers == 0 && i < 100000; i++) {
        weir_mailbox_read(&f->home);
        if (owed->answers == 0) usleep(100);
    }
    assert_int_equal(owed->answers, 1);
    return owed->outcome;
}

/* ---- a kill ---- */

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

/* ---- commits ---- */

static void one_sync_answers_all(void **state) {
    struct fixture *f = *state;
    struct owed owed[10];
    open_journal(f);
    disk.gate = 1;
    unsigned before = disk.syncs;
    SEAL(f, 0, 1, 100);
    ask(f, 0, &owed[0]);
    for (int i = 0; disk.syncs == before && i < 100000; i++) /* until a sync is under way */
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
    for (uint64_t trace = 100; trace <= 200; trace += 100) {
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        uint64_t token = SEAL(f, 0, trace, trace);
        decide(f, 0, trace, "errors", 0);
        weir_journal_hold(f->lanes[0], batch);
        let_go(f, 0, token);
        weir_journal_flush(f->lanes[0]);
        if (trace == 200) weir_batch_leave(batch);
        weir_batch_unref(batch);
    }
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
    let_go(f, 0, token);
    weir_journal_flush(f->lanes[0]);
    assert_true(there(f, token));
    for (int i = 0; there(f, token) && i < 400; i++) /* its thread looks every second */
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
    for (int i = 0; answers < ROUNDS && i < 100000; i++) {
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

/* ---- decisions ---- */

static void count_decision(void *self, uint64_t hi, uint64_t lo, const struct weir_verdict *verdict) {
    (void)hi;
    (void)verdict;
    *(uint64_t *)self += lo;
}

static void decisions_are_read_whole_or_not(void **state) {
    struct fixture *f = *state;
    struct weir_buffer out = {0};
    struct weir_error err = {0};
    uint32_t name = weir_names_intern(f->names, "errors", 6);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_true(weir_decided_write(
            &out, i, 10 * i, &(struct weir_verdict){.kept = i != 2, .threshold = i, .rule_name = name}, f->names));
    }
    assert_int_equal(out.size, 3 * (25 + 6));
    for (size_t size = 0; size <= out.size; size++) {
        uint64_t sum = 0;
        enum weir_status status = weir_decided_read(out.bytes, size, f->names, count_decision, &sum, &err);
        assert_int_equal(status, size % 31 == 0 ? WEIR_OK : WEIR_INVALID);
        uint64_t n = size / 31;
        assert_int_equal(sum, size % 31 == 0 ? 10 * n * (n + 1) / 2 : 0);
    }
    weir_buffer_free(&out);
}

static void the_table_of_decisions(void **state) {
    (void)state;
    struct weir_verdict verdict = {.kept = true, .threshold = 5, .rule_name = 7};
    uint64_t segment;
    struct weir_decided *decided = weir_decided_new(5000);
    assert_false(weir_decided_find(decided, 1, 2, &verdict, &segment));
    for (uint64_t i = 0; i < 5000; i++) {
        verdict.kept = i % 3 == 0;
        verdict.threshold = i;
        assert_true(weir_decided_put(decided, 1, i, &verdict, 40 + i / 100));
    }
    assert_false(weir_decided_put(decided, 1, 5000, &verdict, 90)); /* the bound */
    assert_int_equal(weir_decided_count(decided), 5000);
    assert_true(weir_decided_put(decided, 1, 77, &verdict, 90)); /* known: the first stays */
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t hi = i % 2; /* 0: the high half was cut somewhere */
        assert_true(weir_decided_find(decided, hi, i, &verdict, &segment));
        assert_int_equal(verdict.kept, i % 3 == 0);
        assert_int_equal(verdict.threshold, i);
        assert_int_equal(verdict.rule_name, 7);
        assert_int_equal(segment, 40 + i / 100);
        assert_false(weir_decided_find(decided, 2, i, &verdict, &segment));
    }
    weir_decided_free(decided);
    decided = weir_decided_new(5000);
    for (uint64_t hi = 1; hi <= 1000; hi++) /* one low half, as who wishes us ill would have it */
        assert_int_equal(weir_decided_put(decided, hi, 7, &verdict, 40), hi <= WEIR_DECIDED_ALIKE_MAX);
    assert_int_equal(weir_decided_count(decided), WEIR_DECIDED_ALIKE_MAX);
    assert_true(weir_decided_find(decided, 3, 7, &verdict, &segment));
    assert_false(weir_decided_find(decided, 999, 7, &verdict, &segment));
    weir_decided_free(decided);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_loses_nothing_that_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_costs_one_block, setup, teardown),
        cmocka_unit_test_setup_teardown(a_block_that_cannot_be_read_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_after_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_found_may_fill_the_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_found_is_nothing_to_do, setup, teardown),
        cmocka_unit_test_setup_teardown(one_sync_answers_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_says_no_degrades_and_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_journal_degrades_and_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_goes_when_its_blocks_and_batches_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_before_its_block, setup, teardown),
        cmocka_unit_test_setup_teardown(what_exporters_left_is_there_at_the_next_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quiet_journal_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(lanes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(decisions_are_read_whole_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_of_decisions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
