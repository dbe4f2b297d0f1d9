/* journal_rig.h - a journal in a folder of its own, with lanes, and what its replay says. Blocks here are rows of
 * (trace_hi, trace_lo, span id). */
#ifndef WEIR_TESTS_SPOOL_JOURNAL_RIG_H
#define WEIR_TESTS_SPOOL_JOURNAL_RIG_H
#include "collector/core/log.h"
#include "collector/spool/journal.h"

#include <errno.h>
#include <fcntl.h>
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
/* With the journal's thread, and with a disk that others use as well. */
enum { PATIENCE_MS = 300 * 1000 };

/* ---- a disk that can say no ---- */

static struct {
    _Atomic int fail_writes, fail_syncs; /* errno; 0 = well */
    _Atomic unsigned syncs;
    _Atomic int gate; /* 1: a sync waits until it is 0 */
} disk;

static inline ssize_t disk_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (disk.fail_writes == 0) return pwrite(fd, bytes, size, offset);
    errno = disk.fail_writes;
    return -1;
}
static inline int disk_sync(int fd) {
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

static inline enum weir_status read_rows(const uint8_t *bytes, size_t size, struct weir_names *names,
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

static inline int setup(void **state) {
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

static inline void open_journal(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_journal_open(&f->journal, &f->options, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (int i = 0; i < LANES; i++)
        assert_non_null(f->lanes[i] = weir_journal_lane_new(f->journal));
    if (weir_journal_start(f->journal, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static inline void close_journal(struct fixture *f) {
    for (int i = 0; i < LANES; i++) {
        weir_journal_lane_free(f->lanes[i]);
        f->lanes[i] = NULL;
    }
    weir_journal_close(f->journal);
    f->journal = NULL;
}

static inline int teardown(void **state) {
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
static inline void killed_after(struct fixture *f, void (*work)(struct fixture *f)) {
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
static inline uint64_t seal(struct fixture *f, int lane, uint64_t id, const uint64_t *traces, size_t count) {
    struct row rows[64];
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){9, traces[i], id + i};
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    return tail->sealed(tail->self, (const uint8_t *)rows, count * sizeof rows[0], (uint32_t)count);
}
#define SEAL(f, lane, id, ...) seal(f, lane, id, (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)
static inline void let_go(struct fixture *f, int lane, uint64_t token) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    tail->release(tail->self, token);
}
/* threshold: kept when it is not WEIR_THRESHOLD_MAX */
static inline void decide(struct fixture *f, int lane, uint64_t trace, const char *rule, uint64_t threshold) {
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    struct weir_trace one = {.trace_hi = 9, .trace_lo = trace};
    struct weir_verdict verdict = {.kept = threshold != WEIR_THRESHOLD_MAX, .threshold = threshold};
    verdict.rule_name = weir_names_intern(f->names, rule, strlen(rule));
    tail->decided(tail->self, &one, &verdict);
}
/* A block that fills most of a segment. */
static inline uint64_t seal_filler(struct fixture *f, int lane) {
    const size_t count = (MiB - 4096) / sizeof(struct row);
    struct row *rows = malloc(count * sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){9, 999999, 0};
    const struct weir_tail_journal *tail = weir_journal_lane_tail(f->lanes[lane]);
    uint64_t token = tail->sealed(tail->self, (const uint8_t *)rows, count * sizeof *rows, 1);
    free(rows);
    return token;
}

static inline void on_decided(void *self, uint64_t hi, uint64_t lo, const struct weir_verdict *verdict) {
    struct fixture *f = self;
    assert_int_equal(hi, 9);
    assert_true(lo > 0 && verdict->rule == WEIR_RULE_NONE);
    f->decided_count++;
}
static inline void on_span(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
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
static inline void replay(struct fixture *f) {
    struct weir_error err = {0};
    const struct weir_journal_recovery recovery = {on_decided, on_span, f};
    f->found_count = f->decided_count = 0;
    if (weir_journal_replay(f->journal, &recovery, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static inline void replayed(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_journal_replayed(f->journal, &err) != WEIR_OK) fail_msg("%s", err.text);
}
/* "1k 2d 3u": span ids, and what became of them. */
static inline void assert_found(struct fixture *f, const char *want) {
    char got[512] = "";
    for (size_t i = 0; i < f->found_count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d%c", i == 0 ? "" : " ", (int)f->found[i].id,
                 "ukd"[f->found[i].fate]);
    assert_string_equal(got, want);
}

static inline double metric(struct fixture *f, const char *name) {
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
static inline void answer(struct weir_mail *mail) {
    struct owed *owed = (struct owed *)mail;
    owed->answers++;
    owed->outcome = weir_receipt_outcome(&owed->receipt);
}
static inline void ask(struct fixture *f, int lane, struct owed *owed) {
    *owed = (struct owed){.answers = 0};
    weir_receipt_init(&owed->receipt, &f->home, answer, 1);
    struct weir_receipt *receipt = &owed->receipt;
    weir_journal_commit(f->lanes[lane], &receipt, 1);
}
/* Waits for the answer: the journal has a thread of its own. */
static inline enum weir_outcome answered(struct fixture *f, struct owed *owed) {
    for (int i = 0; owed->answers == 0 && i < PATIENCE_MS * 10; i++) {
        weir_mailbox_read(&f->home);
        if (owed->answers == 0) usleep(100);
    }
    assert_int_equal(owed->answers, 1);
    return owed->outcome;
}
#endif
