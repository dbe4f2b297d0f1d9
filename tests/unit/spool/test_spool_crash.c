/* Every crash of a spool, walked by machine as in test_log_crash.c: behind each operation the process dies, or the
 * power fails and takes what was not synced; its cursor, which nobody syncs, is then any that it ever was, torn, or not
 * there. Laws, for what the next start finds:
 *   - a batch that was written (a dead process) or synced (power) is read back, intact and in order, unless it was
 * settled; what was settled may come again
 *   - none is read twice, none that was not written
 *   - as many spans were counted at the start as then are read back or told as damaged; a dead process damages none
 *   - the spool goes on: what is written then is read back behind the rest, also by the start after that */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "collector/core/log.h"
#include "tests/unit/spool/crash_walk.h"
#include "tests/unit/spool/spooled.h"

#include <xxhash.h>

enum { BATCHES_MAX = 128, CURSORS_MAX = 256 };

static uint64_t fixed_time(void *self) {
    (void)self;
    return 1800000000 * WEIR_S;
}
static const struct weir_clock stopped = {fixed_time, fixed_time, NULL};

struct batch {
    uint32_t begun, done, synced, settled; /* operations of the trace; NEVER: not yet */
    uint32_t spans;
    uint64_t sum; /* of its bodies */
    bool refused, read;
    uint64_t token;
};
struct cursor {
    uint32_t at; /* operations */
    uint8_t bytes[64];
    size_t size;
};

static struct {
    char work[96];
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_spool *spool;
    struct batch batches[BATCHES_MAX]; /* by number, from 1; its spans have the ids 100 * number and on */
    uint32_t count;
    struct cursor cursors[CURSORS_MAX];
    uint32_t cursor_count;
} run;

static struct weir_spool *spool_in(const char *directory, const struct weir_log_disk *disk) {
    struct weir_error err = {0};
    struct weir_spool *spool = NULL;
    const struct weir_spool_options options = {.directory = directory,
                                               .exporter = "x",
                                               .segment_bytes = MiB,
                                               .max_bytes = 64 * MiB,
                                               .level = -7,
                                               .names = run.names,
                                               .metrics = run.metrics,
                                               .clock = &stopped,
                                               .disk = disk};
    if (weir_spool_open(&spool, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    return spool;
}

static uint64_t sum_of(const struct weir_batch *batch) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < batch->span_count; i++) {
        const struct weir_span *span = &batch->spans[i];
        sum = XXH3_64bits_withSeed(batch->bytes + span->offset, span->size, sum + span->span_id);
    }
    return sum;
}

/* ---- steps ---- */

static void cursor_of(const char *directory, struct cursor *cursor) {
    char path[128];
    snprintf(path, sizeof path, "%s/cursor", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, cursor->bytes, sizeof cursor->bytes);
    if (fd >= 0) close(fd);
    cursor->size = got < 0 ? 0 : (size_t)got;
    cursor->at = trace.op_count;
}
static void put_cursor(const char *directory, const struct cursor *cursor) {
    char path[128];
    snprintf(path, sizeof path, "%s/cursor", directory);
    if (cursor == NULL) {
        unlink(path);
    } else {
        write_file(path, cursor->bytes, cursor->size);
    }
}
static void note_cursor(void) {
    struct cursor now;
    cursor_of(run.work, &now);
    const struct cursor *last = run.cursor_count > 0 ? &run.cursors[run.cursor_count - 1] : NULL;
    if (last != NULL && last->size == now.size && memcmp(last->bytes, now.bytes, now.size) == 0) return;
    assert_true(run.cursor_count < CURSORS_MAX);
    run.cursors[run.cursor_count++] = now;
}

static void do_write(uint32_t spans, uint32_t bytes) {
    struct weir_error err = {0};
    assert_true(run.count + 1 < BATCHES_MAX);
    struct batch *batch = &run.batches[++run.count];
    uint32_t injected = trace.injected, from = 0;
    struct weir_batch *made = make_spans(run.count * 100, spans, bytes);
    *batch = (struct batch){trace.op_count, NEVER, NEVER, NEVER, spans, sum_of(made), false, false, 0};
    if (weir_spool_write(run.spool, made, &from, 0, &err) == WEIR_OK) {
        batch->done = trace.op_count;
    } else {
        if (trace.injected == injected) fail_msg("failed without a reason: %s", err.text);
        batch->refused = true;
    }
    weir_batch_unref(made);
}

static void do_sync(void) {
    struct weir_error err = {0};
    uint32_t injected = trace.injected;
    enum weir_status status = weir_spool_sync(run.spool, &err);
    if (status != WEIR_OK && trace.injected == injected) fail_msg("failed without a reason: %s", err.text);
    for (uint32_t i = 1; i <= run.count; i++) {
        if (run.batches[i].done == NEVER || run.batches[i].synced != NEVER) continue;
        if (status == WEIR_OK) {
            run.batches[i].synced = trace.op_count;
        } else {
            run.batches[i].synced = NEVER - 1; /* not known, and never again */
        }
    }
}

/* Number of a batch that was read back; 0 = there was none. */
static uint32_t read_one(struct weir_spool *spool, struct weir_spool_read *read) {
    weir_spool_read(spool, UINT64_MAX, read);
    assert_int_equal(read->expired, 0);
    if (read->batch == NULL) return 0;
    uint32_t number = (uint32_t)(read->batch->spans[0].span_id / 100);
    assert_true(number >= 1 && number <= run.count);
    assert_int_equal(read->batch->span_count, run.batches[number].spans);
    if (sum_of(read->batch) != run.batches[number].sum) fail_msg("batch %u is not what was written", number);
    weir_batch_unref(read->batch);
    return number;
}

static void do_read(void) {
    struct weir_spool_read read;
    uint32_t number = read_one(run.spool, &read);
    if (number == 0) return;
    run.batches[number].read = true;
    run.batches[number].token = read.token;
}

static void do_settle(bool newest) {
    uint32_t which = 0;
    for (uint32_t i = 1; i <= run.count; i++) {
        if (run.batches[i].read && (which == 0 || newest)) which = i;
    }
    if (which == 0) return;
    run.batches[which].read = false;
    if (run.batches[which].settled == NEVER) run.batches[which].settled = trace.op_count;
    weir_spool_settled(run.spool, run.batches[which].token);
}

static void do_restart(bool killed) {
    struct cursor cursor;
    if (killed) {
        cursor_of(run.work, &cursor);
        trace_dead(true);
    }
    weir_spool_close(run.spool);
    if (killed) {
        trace_dead(false);
        put_cursor(run.work, &cursor);
    } else {
        note_cursor();
    }
    for (uint32_t i = 1; i <= run.count; i++)
        run.batches[i].read = false;
    run.spool = spool_in(run.work, &trace_disk);
}

/* w a small batch   W a fifth of a segment   s sync   r read one back   d settle the oldest   D settle the newest that
 * was read   t tick   c closed, opened again   k killed, opened again */
static void do_steps(const char *steps) {
    for (; *steps != 0; steps++) {
        switch (*steps) {
        case 'w': do_write(1 + walk_random(5), 20 + walk_random(1500)); break;
        case 'W': do_write(5, 45000); break;
        case 's': do_sync(); break;
        case 'r': do_read(); break;
        case 'd': do_settle(false); break;
        case 'D': do_settle(true); break;
        case 't': weir_spool_tick(run.spool); break;
        case 'c': do_restart(false); break;
        case 'k': do_restart(true); break;
        default: fail();
        }
        note_cursor();
    }
}

static void record_steps(const char *steps, uint32_t fault_at, enum trace_fault fault) {
    struct cursor cursor;
    folder_clear(run.work);
    put_cursor(run.work, NULL);
    run.count = run.cursor_count = 0;
    walk.random = 11;
    trace_begin(run.work, fault_at, fault);
    run.spool = spool_in(run.work, &trace_disk);
    note_cursor();
    do_steps(steps);
    cursor_of(run.work, &cursor);
    trace_dead(true);
    weir_spool_close(run.spool);
    trace_dead(false);
    run.spool = NULL;
}

/* ---- the laws ---- */

static void law(bool holds, uint32_t number, const char *which) {
    if (holds) return;
    const struct batch *batch = &run.batches[number];
    fail_msg("%s: %s: batch %u of %u spans (begun %u, done %u, synced %u, settled %u)", walk_where(walk.left), which,
             number, batch->spans, batch->begun, batch->done, batch->synced, batch->settled);
}

/* Reads all back; returns how many. more: the last is what was written behind the crash. */
static uint32_t read_all(struct weir_spool *spool, bool more) {
    bool found[BATCHES_MAX] = {false};
    uint64_t counted = weir_spool_spans(spool), spans = 0, damaged = 0;
    uint32_t last = 0, number, count = 0;
    struct weir_spool_read read;
    while ((number = read_one(spool, &read)) != 0) {
        law(number > last, number, "in order, and once");
        law(run.batches[number].begun <= walk.at, number, "written before");
        law(!run.batches[number].refused, number, "was not refused");
        found[number] = true;
        last = number;
        damaged += read.damaged;
        spans += run.batches[number].spans;
        count++;
    }
    damaged += read.damaged;
    law(counted == spans + damaged, last, "as many spans as were counted");
    law(weir_spool_spans(spool) == 0, last, "nothing is left");
    if (!walk.power) law(damaged == 0, last, "a dead process damages nothing");
    for (uint32_t i = 1; i <= run.count; i++) {
        const struct batch *batch = &run.batches[i];
        uint32_t from = batch->refused ? NEVER : walk.power ? batch->synced : batch->done;
        if (walk.at >= from && walk.at < batch->settled) law(found[i], i, "is read back");
    }
    if (more) law(found[run.count], run.count, "what was written behind the crash is read back");
    return count;
}

/* The cursor is synced when it must be: else the second failure below takes what became of it. */
static bool cursor_synced;
static int sync_left(int fd) {
    char path[128];
    struct stat one, other;
    snprintf(path, sizeof path, "%s/cursor", walk.left);
    if (fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_ino == other.st_ino) cursor_synced = true;
    return 0;
}
static const struct weir_log_disk left_disk = {.sync = sync_left, .sync_names = no_sync};

static void look_with(const struct cursor *cursor) {
    struct weir_error err = {0};
    put_cursor(walk.left, cursor);
    cursor_synced = false;
    struct weir_spool *spool = spool_in(walk.left, &left_disk);
    uint32_t before = read_all(spool, false);
    if (walk.looked++ % 3 == 0) { /* life goes on */
        struct weir_batch *batch = make_spans((run.count + 1) * 100, 3, 1000);
        uint32_t from = 0;
        law(weir_spool_write(spool, batch, &from, 0, &err) == WEIR_OK, 0, err.text);
        law(weir_spool_sync(spool, &err) == WEIR_OK, 0, err.text);
        run.batches[++run.count] =
            (struct batch){.done = NEVER, .synced = NEVER, .settled = NEVER, .spans = 3, .sum = sum_of(batch)};
        weir_batch_unref(batch);
        weir_spool_close(spool);
        if (!cursor_synced) put_cursor(walk.left, cursor);
        spool = spool_in(walk.left, &left_disk);
        law(read_all(spool, true) == before + 1, run.count, "what was there, and one more");
        run.count--;
    }
    weir_spool_close(spool);
}

/* With the cursor that fits, with any that was before, torn, and without. */
static void look(void *self) {
    uint32_t known = 0;
    (void)self;
    while (known < run.cursor_count && run.cursors[known].at <= walk.at)
        known++;
    uint32_t which = walk.power ? crash_random(known + 2) : known - 1;
    if (which < known) {
        look_with(&run.cursors[which]);
    } else if (which == known || known == 0) {
        look_with(NULL);
    } else {
        struct cursor torn = run.cursors[crash_random(known)];
        memset(torn.bytes + crash_random(40), 0, 24);
        look_with(&torn);
    }
}

/* ---- the walk ---- */

static int setup(void **state) {
    (void)state;
    memset(&run, 0, sizeof run);
    if (walk_open() != 0) return -1;
    snprintf(run.work, sizeof run.work, "%s/work", walk.root);
    run.names = weir_names_new(1024, 1 << 16);
    run.metrics = weir_metrics_new();
    weir_log_set_level(WEIR_LOG_ERROR);
    return mkdir(run.work, 0700);
}

static int teardown(void **state) {
    (void)state;
    weir_names_free(run.names);
    weir_metrics_free(run.metrics);
    return walk_close();
}

static const struct crash_test of_spool = {record_steps, look, walk.left, 6, NULL};

static const char *const lives[] = {
    "wwsrwdtwWWWWsrrdrdtWwsrrrDdtcwrsrdddtwkrdws",
    "wwkwrdtkwsWWWWWwcrrrrddtkwsrrrrddddtwswkrrddtws",
    /* the cursor in a segment whose name may be lost */
    "wsWWWWWwwrrrrrrrdddddddtws",
};

static void every_crash(void **state) {
    (void)state;
    for (size_t life = 0; life < sizeof lives / sizeof lives[0]; life++) {
        walk_life(&of_spool, lives[life]);
        print_message("%s: %u operations, %u batches, %llu directories\n", lives[life], trace.op_count, run.count,
                      (unsigned long long)walk.looked);
    }
}

static void every_failure(void **state) {
    (void)state;
    walk_failures(&of_spool, "wwsrwsdWWWWWWsrrdwsctrdkws");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_crash, setup, teardown),
                                       cmocka_unit_test_setup_teardown(every_failure, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
