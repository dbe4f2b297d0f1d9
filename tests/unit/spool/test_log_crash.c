/* Every crash of the log, walked by machine: its writes, truncations, syncs, creations and removals are recorded, and
 * the process dies behind each of them, or the power fails there and takes what was not synced in all the ways of
 * disk_crash.h, which says what file systems can leave and which of that is not modelled; then each call fails in turn.
 * Laws, on every directory that is left:
 *   - what was acknowledged is read back, intact and in order: behind a dead process every append that was well, behind
 * a power failure those before a sync that was well (the first one behind them), unless they were let go of
 *   - nothing is read that was not appended, or was refused, and nothing twice
 *   - every byte is a header, a record, or counted as damaged, and each damaged place is told
 *   - the log goes on: what is appended then is read back behind what was there
 *   - only a call of which the disk failed something fails, and a sync of which something failed never is well; a
 * signal and a write that falls short fail nothing, and of a write that failed nothing stays when it can be cut off */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/unit/spool/crash_walk.h"

enum { MiB = 1 << 20, RECORDS_MAX = 512, OPERATIONS_MAX = 512, SEGMENTS_MAX = 256, POOL_BYTES = 2 * MiB };

/* ---- what was done to the log, and what is owed for it ---- */

struct owed {
    uint32_t begun;         /* operations of the trace before the append */
    uint32_t done;          /* ... and behind it, when it was well */
    uint32_t synced;        /* ... behind the sync that made it last */
    uint32_t freed;         /* ... when nothing held it any more */
    bool refused, doubtful; /* doubtful: a sync behind it failed */
    uint64_t segment;
    size_t size;
    bool pinned; /* one of its segment's pins is for it */
};

static struct {
    char work[96]; /* the log that is recorded */
    uint8_t *pool; /* what records are cut from */
    struct weir_log *log;
    struct owed records[RECORDS_MAX + 1]; /* by number, from 1: it is the record's type */
    uint32_t count;
    uint32_t pins[SEGMENTS_MAX];
    uint64_t found;             /* held until weir_log_let_go(), up to here; 0 = none */
    bool quiet[OPERATIONS_MAX]; /* behind so many operations no call was under way */
} run;

static const uint8_t *bytes_of(uint32_t number) {
    return run.pool + number * 37 % 4096;
}

static struct weir_log_options options_for(const char *directory, const struct weir_log_disk *disk) {
    return (struct weir_log_options){.directory = directory, .segment_bytes = MiB, .max_bytes = 64 * MiB, .disk = disk};
}

static void open_work(void) {
    struct weir_error err = {0};
    const struct weir_log_options options = options_for(run.work, &trace_disk);
    if (weir_log_open(&run.log, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
}

/* What nothing holds any more may go from now on. */
static void free_what_may_go(void) {
    uint64_t first = 1; /* that is held, and what is newer with it */
    while (run.found == 0 && first < SEGMENTS_MAX && run.pins[first] == 0)
        first++;
    for (uint32_t i = 1; i <= run.count; i++) {
        struct owed *record = &run.records[i];
        if (record->freed == NEVER && record->segment < first) record->freed = trace.op_count;
    }
}

/* A call that failed: something of it did. */
static void judge(enum weir_status status, uint32_t injected_before, const struct weir_error *err) {
    if (status == WEIR_OK) return;
    bool whole =
        trace.fault == FAULT_SHORT || (trace.fault == FAULT_EINTR && trace.kinds[trace.fault_at] == TRACE_WRITE);
    if (trace.injected == injected_before || whole) fail_msg("failed without a reason: %s", err->text);
    assert_int_equal(status, WEIR_IO);
    assert_true(err->text[0] != 0 && err->retryable);
}

static void do_append(size_t size, bool pinned) {
    struct weir_error err = {0};
    assert_true(run.count < RECORDS_MAX);
    uint32_t number = ++run.count, injected = trace.injected;
    struct owed *record = &run.records[number];
    *record = (struct owed){.begun = trace.op_count, .synced = NEVER, .freed = NEVER, .done = NEVER, .size = size};
    uint64_t segment = 0;
    enum weir_status status = weir_log_append(run.log, number, bytes_of(number), size, pinned ? &segment : NULL, &err);
    judge(status, injected, &err);
    if (status != WEIR_OK) {
        record->refused = true;
        return;
    }
    record->done = trace.op_count;
    record->pinned = pinned;
    if (pinned) {
        record->segment = segment;
        run.pins[segment]++;
    } else { /* where the newest is; held only by what is pinned before it */
        struct weir_log_segment newest = {0};
        while (weir_log_segment_after(run.log, newest.number, &newest)) {
        }
        record->segment = newest.number;
        free_what_may_go();
    }
}

static void do_sync(void) {
    struct weir_error err = {0};
    uint32_t injected = trace.injected;
    enum weir_status status = weir_log_sync(run.log, &err);
    judge(status, injected, &err);
    if (trace.injected != injected && trace.fault != FAULT_SHORT) assert_int_not_equal(status, WEIR_OK);
    for (uint32_t i = 1; i <= run.count; i++) {
        struct owed *record = &run.records[i];
        if (record->refused || record->synced != NEVER) continue;
        if (status == WEIR_OK && !record->doubtful) record->synced = trace.op_count;
        if (status != WEIR_OK) record->doubtful = true;
    }
}

static void do_unpin(uint32_t how_many) {
    for (uint32_t i = 1; i <= run.count && how_many > 0; i++) {
        struct owed *record = &run.records[i];
        if (!record->pinned) continue;
        record->pinned = false;
        run.pins[record->segment]--;
        free_what_may_go();
        weir_log_unpin(run.log, record->segment);
        how_many--;
    }
}

static void do_let_go(void) {
    run.found = 0;
    free_what_may_go();
    weir_log_let_go(run.log);
}

/* Another process opens what this one leaves behind as it is. What it finds is held; some of it for longer. */
static void do_restart(void) {
    weir_log_close(run.log);
    open_work();
    run.found = weir_log_found(run.log);
    memset(run.pins, 0, sizeof run.pins);
    for (uint32_t i = 1; i <= run.count; i++) {
        struct owed *record = &run.records[i];
        record->pinned = false;
        if (record->refused || record->freed != NEVER || walk_random(6) != 0) continue;
        weir_log_pin(run.log, record->segment);
        record->pinned = true;
        run.pins[record->segment]++;
    }
}

/* One letter a step:
 *   a some bytes   p some pages   f half a segment   L more than a segment   e nothing   n not pinned
 *   s sync   u unpin the oldest   U unpin half   t trim   c clear   r another process   g let go of what was found */
static void do_steps(const char *steps) {
    for (; *steps != 0; steps++) {
        switch (*steps) {
        case 'a': do_append(1 + walk_random(300), true); break;
        case 'p': do_append(3000 + walk_random(20000), true); break;
        case 'f': do_append(MiB / 2 + walk_random(10000), true); break;
        case 'L': do_append(MiB + walk_random(70000), true); break;
        case 'e': do_append(0, true); break;
        case 'n': do_append(1 + walk_random(5000), false); break;
        case 's': do_sync(); break;
        case 'u': do_unpin(1); break;
        case 'U': do_unpin(run.count / 2); break;
        case 't': weir_log_trim(run.log); break;
        case 'c': weir_log_clear(run.log); break;
        case 'r': do_restart(); break;
        case 'g': do_let_go(); break;
        default: fail();
        }
        assert_true(trace.op_count < OPERATIONS_MAX);
        run.quiet[trace.op_count] = true;
    }
}

static void record_steps(const char *steps, uint32_t fault_at, enum trace_fault fault) {
    folder_clear(run.work);
    run.count = 0;
    run.found = 0;
    walk.random = 42;
    memset(run.pins, 0, sizeof run.pins);
    memset(run.quiet, 0, sizeof run.quiet);
    trace_begin(run.work, fault_at, fault);
    open_work();
    do_steps(steps);
    weir_log_close(run.log);
    run.log = NULL;
}

/* ---- the laws ---- */

static struct {
    bool read[RECORDS_MAX + 1];
    uint32_t last, count, more;
    uint64_t record_bytes, headers_bad, places;
} seen;

#define law(holds, ...)                                                                                                \
    do {                                                                                                               \
        if (!(holds)) broken_law(#holds, __VA_ARGS__);                                                                 \
    } while (0)
static void broken_law(const char *holds, uint32_t number, const char *why) {
    const struct owed *record = &run.records[number];
    fail_msg("%s: record %u of %zu bytes in segment %llu (operations: begun %u, done %u, "
             "synced %u, freed %u%s%s): %s; %s",
             walk_where(walk.left), number, record->size, (unsigned long long)record->segment, record->begun,
             record->done, record->synced, record->freed, record->refused ? ", refused" : "",
             record->doubtful ? ", doubtful" : "", holds, why);
}

enum { MORE = 1 << 20 }; /* types of what is appended behind a crash */

static int on_record(void *self, const struct weir_log_record *got) {
    (void)self;
    seen.record_bytes += WEIR_LOG_HEAD_BYTES + got->size;
    if (got->type >= MORE) {
        law(got->type == MORE + seen.more && got->size == 5000, 0, "what was appended behind the crash, in order");
        law(memcmp(got->bytes, run.pool + seen.more, got->size) == 0, 0, "what was appended behind the crash, intact");
        seen.more++;
        return 0;
    }
    const struct owed *record = &run.records[got->type];
    law(got->type >= 1 && got->type <= run.count && record->begun <= walk.at, got->type <= run.count ? got->type : 0,
        "never appended");
    law(!record->refused, got->type, "was refused");
    law(got->type > seen.last, got->type, "out of order, or twice");
    law(got->size == record->size && memcmp(got->bytes, bytes_of(got->type), got->size) == 0, got->type, "not intact");
    law(seen.more == 0, got->type, "behind what was appended later");
    seen.last = got->type;
    seen.read[got->type] = true;
    seen.count++;
    return 0;
}

static void on_broken(void *self, const char *file, uint64_t offset, const char *why) {
    (void)self;
    law(weir_log_number(file) > 0 && why != NULL, 0, "is told");
    seen.places++;
    if (strcmp(why, "damaged header") == 0) seen.headers_bad++;
    (void)offset;
}

/* Replays, and holds it against the laws. */
static void replay(struct weir_log *log) {
    struct weir_error err = {0};
    struct weir_log_stats stats;
    memset(seen.read, 0, sizeof seen.read);
    seen.last = seen.count = seen.more = 0;
    seen.record_bytes = seen.headers_bad = seen.places = 0;
    struct folder *folder = folder_read(walk.left);
    law(weir_log_replay(log, on_record, on_broken, NULL, &err) == WEIR_OK, 0, err.text);
    weir_log_stats(log, &stats);
    law(stats.records_bad == seen.places, 0, "damaged places are counted as they are told");
    uint64_t headers = WEIR_LOG_HEADER_BYTES * (folder->count - seen.headers_bad);
    law(headers + seen.record_bytes + stats.bytes_bad == folder->bytes, 0, "every byte is something");
    bool stuck = trace.fault == FAULT_SHORT_STUCK || trace.fault == FAULT_STORM;
    if (!walk.power && !stuck) law(seen.places <= !run.quiet[walk.at], 0, "torn is one record, while it is written");
    folder_free(folder);
    for (uint32_t i = 1; i <= run.count; i++) {
        const struct owed *record = &run.records[i];
        uint32_t from = record->refused ? NEVER : walk.power ? record->synced : record->done;
        if (walk.at >= from && walk.at <= record->freed) law(seen.read[i], i, "is missing");
    }
}

/* The directory that a crash left. */
static void look(void *self) {
    struct weir_error err = {0};
    struct weir_log *log = NULL;
    const struct weir_log_options options = options_for(walk.left, &quick_disk);
    (void)self;
    law(weir_log_open(&log, &options, &err) == WEIR_OK, 0, err.text);
    replay(log);
    walk.looked++;
    uint32_t before = seen.count;
    if (walk.looked % 4 == 0) { /* life goes on */
        for (uint32_t i = 0; i < 3; i++)
            law(weir_log_append(log, MORE + i, run.pool + i, 5000, NULL, &err) == WEIR_OK, 0, err.text);
        law(weir_log_sync(log, &err) == WEIR_OK, 0, err.text);
        weir_log_close(log);
        log = NULL;
        law(weir_log_open(&log, &options, &err) == WEIR_OK, 0, err.text);
        replay(log);
        law(seen.more == 3 && seen.count == before, 0, "and what was there before");
        weir_log_let_go(log);
        weir_log_clear(log);
        struct weir_log_stats stats;
        weir_log_stats(log, &stats);
        law(stats.segments == 1 && stats.bytes == WEIR_LOG_HEADER_BYTES, 0, "all of it can go");
    }
    weir_log_close(log);
}

/* What the model says a dead process leaves is what is there. */
static void model_is_true(void) {
    crash_make(&process_died);
    struct folder *real = folder_read(run.work), *made = folder_read(walk.left);
    assert_int_equal(real->count, made->count);
    for (size_t i = 0; i < real->count; i++) {
        size_t size, other;
        uint8_t *one = folder_file(run.work, real->entries[i].name, &size);
        uint8_t *two = folder_file(walk.left, real->entries[i].name, &other);
        assert_int_equal(size, other);
        assert_memory_equal(one, two, size);
        free(one);
        free(two);
    }
    folder_free(real);
    folder_free(made);
}

/* ---- the walks ---- */

static int setup(void **state) {
    (void)state;
    memset(&run, 0, sizeof run);
    if (walk_open() != 0) return -1;
    snprintf(run.work, sizeof run.work, "%s/work", walk.root);
    run.pool = malloc(POOL_BYTES);
    for (size_t i = 0; i < POOL_BYTES; i++)
        run.pool[i] = (uint8_t)(walk_random(1 << 30) >> 7);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weir_log_close(run.log);
    free(run.pool);
    return walk_close();
}

static const struct crash_test of_log = {record_steps, look, walk.left, 8, model_is_true};

static const char *const lives[] = {
    /* one process: small ones, a full segment, one that is larger, things go */
    "aapsaanapsffseLasuutaUtsapcasUcapsc",
    /* processes that are killed: with and without a sync, before and behind letting go */
    "apasarpasgtaprraasugtffrspasgUtsarapagtcps",
    /* seldom synced */
    "apapaLapasapaUtapaffnrapgtas",
};

static void every_crash(void **state) {
    (void)state;
    for (size_t life = 0; life < sizeof lives / sizeof lives[0]; life++) {
        walk_life(&of_log, lives[life]);
        print_message("%s: %u operations, %u records, %llu directories\n", lives[life], trace.op_count, run.count,
                      (unsigned long long)walk.looked);
    }
}

static void every_failure(void **state) {
    (void)state;
    walk_failures(&of_log, "apasasffpsuLnsaUtarpasgtaUcaps");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(every_failure, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
