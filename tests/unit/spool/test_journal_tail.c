/* The tail buffer with its journal, in a process that is killed over and over at any moment: every span that was
 * acknowledged is delivered, or was left out by a decision; and no decision that had an effect is ever taken again. */
#pragma GCC diagnostic ignored "-Wunused-function" /* of the rig the half is used */
#include "collector/core/log.h"
#include "collector/spool/journal.h"
#include "tests/unit/sample/tail_rig.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SPANS = 64,
    GENERATIONS = 25,
    ROUNDS_MAX = 400, /* of a life */
    PATIENCE_MS = 300 * 1000,
    TRACE_MAX = 1 << 17,
    SPAN_MAX = TRACE_MAX * 8,
    OPEN_MAX = 4096,
    WAITING = 256,
    IN_FLIGHT = 16
};

_Static_assert(GENERATIONS *ROUNDS_MAX *SPANS <= SPAN_MAX, "each round has spans of its own");

/* What senders and back ends know; outlives every process. */
static struct shared {
    _Atomic uint32_t next_round;
    _Atomic uint8_t acknowledged[SPAN_MAX], delivered[SPAN_MAX];
    _Atomic uint8_t effect[TRACE_MAX]; /* 1: a span of it was delivered; 2: it was left out */
    _Atomic uint32_t flips, recovered[WEIR_FATES], kept, dropped, acknowledged_count, owned;
} * shared;

struct out {
    struct weir_batch *batch;
    uint32_t spans[OPEN_MAX], count; /* index into shared */
    uint32_t due_round;
};
struct round {
    struct weir_receipt receipt; /* first */
    uint32_t number;
    bool waits;
};

static struct process {
    struct weir_journal *journal;
    struct weir_journal_lane *lane;
    struct weir_mailbox home;
    struct out open, queued[WAITING];
    struct round rounds[IN_FLIGHT];
    uint32_t left_out[OPEN_MAX], left_out_count; /* traces, until their decision is written */
    uint32_t round;
    bool sealed_all;
} process;

/* Round r has spans 64 r to 64 r + 63, of traces 8 r to 8 r + 7, one after the other. */
static uint32_t index_of(const struct weir_span *span) {
    uint32_t trace = span->trace_lo & 0xffffff, number = span->span_id & 0xffffff;
    return trace * 8 + number - 1;
}

static void effect(uint32_t trace, uint8_t which) {
    uint8_t before = atomic_exchange(&shared->effect[trace], which);
    if (before != 0 && before != which) atomic_fetch_add(&shared->flips, 1);
}

static void deliver(struct out *out) {
    for (uint32_t i = 0; i < out->count; i++) {
        effect(out->spans[i] / 8, 1);
        shared->delivered[out->spans[i]] = 1;
    }
    weir_batch_unref(out->batch);
    *out = (struct out){.count = 0};
}

static void written(void) {
    process.sealed_all = weir_tail_seal(rig.tail) && process.sealed_all;
    assert_true(weir_journal_flush(process.lane));
    for (uint32_t i = 0; i < process.left_out_count; i++)
        effect(process.left_out[i], 2);
    process.left_out_count = 0;
}

/* As lane/out.c: decisions are written, then the batch goes to the queue. */
static void close_batch(void) {
    if (process.open.batch == NULL) return;
    written();
    struct out *queued = &process.queued[process.round % WAITING];
    if (queued->batch != NULL) deliver(queued);
    *queued = process.open;
    /* The back end takes its time, and sometimes so much that segments fill meanwhile. */
    queued->due_round = process.round + (process.round % 12 == 0 ? 200 : process.round % 7);
    process.open = (struct out){.count = 0};
}

static void put_out(const struct weir_span *span, uint64_t segment) {
    if (process.open.count == OPEN_MAX) close_batch();
    if (process.open.batch == NULL) process.open.batch = weir_batch_new(NULL, 0);
    if (segment != 0)
        weir_journal_hold_segment(process.journal, process.open.batch, segment);
    else
        weir_journal_hold(process.lane, process.open.batch);
    process.open.spans[process.open.count++] = index_of(span);
}

static void on_kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)self, (void)mark, (void)trace, (void)verdict, (void)cause;
    for (uint32_t i = 0; i < spans->span_count; i++)
        put_out(&spans->spans[i], 0);
    atomic_fetch_add(&shared->kept, 1);
}
static void on_dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                       const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)self, (void)spans, (void)verdict, (void)cause;
    if (process.left_out_count == OPEN_MAX) written();
    process.left_out[process.left_out_count++] = trace->trace_lo & 0xffffff;
    atomic_fetch_add(&shared->dropped, 1);
}
static void on_lost(void *self, const struct weir_trace *trace) {
    (void)self, (void)trace;
    abort();
}

/* ---- a start ---- */

static void on_decided(void *self, uint64_t hi, uint64_t lo, const struct weir_verdict *verdict) {
    (void)self;
    weir_decisions_put(weir_tail_decisions(rig.tail), hi, lo, verdict);
}
static void on_span(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                    const struct weir_verdict *verdict, uint64_t segment) {
    struct weir_verdict late;
    (void)self, (void)verdict;
    atomic_fetch_add(&shared->recovered[fate], 1);
    assert_int_equal(batch->spans[i].receiver, 3);
    assert_string_equal(weir_names_text(rig.names, batch->spans[i].operation, NULL), "GET /items");
    if (fate == WEIR_FATE_DROPPED) effect(batch->spans[i].trace_lo & 0xffffff, 2);
    if (fate == WEIR_FATE_KEPT) put_out(&batch->spans[i], segment);
    if (fate == WEIR_FATE_UNDECIDED)
        assert_int_equal(weir_tail_take(rig.tail, batch, i, rig.now_ns, &late), WEIR_TAIL_HELD);
}

static void start(const char *folder) {
    struct weir_error err = {0};
    rig_build("wait: 300ms, quiet: 100ms, memory: 16MiB, rules: ["
              "{ name: errors, when: { error: true } },"
              "{ name: few, when: { service: few }, max_traces_per_second: 40 },"
              "{ name: rest, rate: 0.3 }]",
              NULL);
    const struct weir_journal_options options = {.directory = folder,
                                                 .segment_bytes = 1 << 20,
                                                 .max_bytes = 256 << 20,
                                                 .names = rig.names,
                                                 .metrics = rig.metrics,
                                                 .clock = &weir_clock_system,
                                                 .read = weir_tail_read_record};
    process = (struct process){.round = 0};
    assert_true(weir_mailbox_open(&process.home));
    if (weir_journal_open(&process.journal, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_non_null(process.lane = weir_journal_lane_new(process.journal));
    const struct weir_tail_env env = {.names = rig.names,
                                      .metrics = rig.metrics,
                                      .lanes = 1,
                                      .kept = on_kept,
                                      .dropped = on_dropped,
                                      .lost = on_lost,
                                      .journal = weir_journal_lane_tail(process.lane)};
    weir_tail_free(rig.tail);
    assert_non_null(rig.tail = weir_tail_new(&env, rig.policy, NULL, rig.now_ns));
    if (weir_journal_start(process.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    const struct weir_journal_recovery recovery = {on_decided, on_span, NULL};
    if (weir_journal_replay(process.journal, &recovery, &err) != WEIR_OK) fail_msg("%s", err.text);
    written();
    if (weir_journal_replayed(process.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
}

/* ---- rounds ---- */

static void answered(struct weir_mail *mail) {
    struct round *round = (struct round *)mail;
    round->waits = false;
    if (weir_receipt_outcome(&round->receipt) != WEIR_DURABLE) {
        atomic_fetch_add(&shared->owned, 1);
        return;
    }
    for (uint32_t i = 0; i < SPANS; i++)
        shared->acknowledged[round->number * SPANS + i] = 1;
    atomic_fetch_add(&shared->acknowledged_count, SPANS);
}

static void send_round(uint32_t number) {
    static const char *const services[8] = {"shop", "shop", "few", "few", "shop", "few", "bank", "bank"};
    for (uint32_t i = 0; i < SPANS; i++) {
        struct said said = {.trace = number * 8 + i % 8, .span = i / 8 + 1, .parent = i / 8, .pad = 1000};
        struct weir_verdict late;
        said.service = services[i % 8];
        said.error = rig_mixed(said.trace) % 16 == 0;
        struct weir_batch *batch = rig_batch(&said);
        assert_int_equal(weir_tail_take(rig.tail, batch, 0, rig.now_ns, &late), WEIR_TAIL_HELD);
        weir_batch_unref(batch);
    }
    struct round *round = &process.rounds[number % IN_FLIGHT];
    while (round->waits) {
        if (weir_mailbox_read(&process.home) == 0) usleep(50);
    }
    round->number = number;
    round->waits = true;
    weir_receipt_init(&round->receipt, &process.home, answered, 1);
    process.sealed_all = true;
    written();
    struct weir_receipt *receipt = &round->receipt;
    if (process.sealed_all)
        weir_journal_commit(process.lane, &receipt, 1);
    else
        weir_receipt_settle(receipt, WEIR_OWNED);
}

static void pass(void) {
    process.round++;
    rig_pass(20);
    if (process.round % 3 == 0) close_batch();
    for (int i = 0; i < WAITING; i++) {
        if (process.queued[i].batch != NULL && process.queued[i].due_round <= process.round)
            deliver(&process.queued[i]);
    }
    weir_mailbox_read(&process.home);
}

static void a_life(const char *folder) {
    start(folder);
    for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
        uint32_t number = atomic_fetch_add(&shared->next_round, 1);
        send_round(number);
        pass();
    }
    for (;;) /* for whoever is to kill it, and was stopped by the machine */
        pause();
}

/* In rounds, so that a slow machine has decisions of each life too; and some lives are killed within their recovery.
 * False: it did not come to its rounds. */
static bool let_live(uint32_t life) {
    uint32_t begun = shared->next_round, rounds = life % 5 == 4 ? 0 : 1 + (uint32_t)(rig_mixed(life) % 40);
    for (int i = 0; i < PATIENCE_MS * 2 && shared->next_round < begun + rounds; i++)
        usleep(500);
    usleep((useconds_t)(rig_mixed(life + GENERATIONS) % (rounds > 0 ? 3000 : 120000)));
    return shared->next_round >= begun + rounds;
}

/* All that is left is decided and delivered. Returns the spans that the journal had at the start of it. */
static uint32_t a_last_life(const char *folder) {
    uint32_t before = shared->recovered[0] + shared->recovered[1] + shared->recovered[2];
    start(folder);
    uint32_t found = shared->recovered[0] + shared->recovered[1] + shared->recovered[2] - before;
    for (int i = 0; i < 300; i++)
        pass();
    assert_int_equal(weir_tail_held(rig.tail), 0);
    written();
    close_batch();
    for (int i = 0; i < WAITING; i++) {
        if (process.queued[i].batch != NULL) deliver(&process.queued[i]);
    }
    weir_tail_free(rig.tail);
    weir_journal_lane_free(process.lane);
    weir_journal_close(process.journal);
    weir_mailbox_close(&process.home);
    weir_policy_unref(rig.policy);
    weir_otlp_free(rig.otlp);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    free(rig.fates);
    free(rig.blocks);
    return found;
}

static void killed_over_and_over(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-test-kill-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    weir_log_set_level(WEIR_LOG_ERROR); /* a kill within a write leaves a torn record */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    for (uint32_t life = 0; life < GENERATIONS; life++) {
        pid_t child = fork();
        if (child == 0) {
            a_life(folder);
            _exit(1);
        }
        int status = 0;
        bool lived = let_live(life);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(lived);
    }
    a_last_life(folder);
    assert_int_equal(a_last_life(folder), 0); /* and then there is nothing left on disk */
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);

    uint32_t missing = 0, acknowledged = 0, first = 0;
    for (uint32_t i = 0; i < SPAN_MAX; i++) {
        if (!shared->acknowledged[i]) continue;
        acknowledged++;
        if (shared->delivered[i] || shared->effect[i / 8] == 2) continue;
        if (missing++ == 0) first = i;
    }
    print_message("%u rounds, %u spans acknowledged, %u traces kept, %u left out; recovered: %u undecided, %u kept, "
                  "%u left out\n",
                  shared->next_round, acknowledged, shared->kept, shared->dropped, shared->recovered[0],
                  shared->recovered[1], shared->recovered[2]);
    if (missing > 0) fail_msg("%u acknowledged spans are missing, the first is %u", missing, first);
    assert_int_equal(shared->flips, 0);
    assert_int_equal(shared->owned, 0);
    assert_true(acknowledged > 0 && shared->kept > 0 && shared->dropped > 0);
    assert_true(shared->recovered[WEIR_FATE_UNDECIDED] > 0 && shared->recovered[WEIR_FATE_KEPT] > 0);
    munmap(shared, sizeof *shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_over_and_over)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
