/* A queue with a spool under everything at once, by a seed: batches of any size come, a back end takes, delays, fails,
 * takes a part or refuses, the disk fails at any call, bytes flip, bounds change, time passes, and the process ends, in
 * order or not. After each step every span is in one row, and memory, lists and rows say the same. At the end each span
 * was delivered, or is counted under a reason; in one life of a process at most once, and in order where nothing was
 * sent again. */
#include "collector/spool/queue_inside.h"
#include "tests/unit/spool/spooled.h"

enum {
    SPANS_MAX = 400 * 1000,
    BATCHES_MAX = 8000,
    HELD_MAX = 64,
    BATCH_BYTES_MAX = 300 * 1000,
};

/* ---- chance ---- */

static uint64_t random_state;
static uint64_t chance(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 2685821657736338717ull >> 11;
}
static uint32_t below(uint32_t bound) {
    return (uint32_t)(chance() % bound);
}
static bool one_in(uint32_t n) {
    return below(n) == 0;
}

/* ---- what may happen in a run ---- */

static struct { bool retries, parts, refusals, ends, kills, flips, disk_fails, bounds; } may;
static bool disk_is_bad;
static bool in_order; /* nothing is sent again, and no process ends: what that puts away is behind what was there */

/* ---- the back end ---- */

static uint8_t delivered[SPANS_MAX]; /* times */
static uint8_t in_this_life[SPANS_MAX];
static struct held {
    const struct weir_batch *batch;
    struct weir_ticket *ticket;
} held[HELD_MAX];
static uint32_t held_count;
static bool back_end_is_away;
static uint64_t last_sent; /* first id of the batch that was sent last, in this life */
static uint64_t delivered_here, refused_here;

static void take(const struct weir_batch *batch, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        uint64_t id = batch->spans[i].span_id;
        assert_true(id < SPANS_MAX);
        delivered[id]++;
        in_this_life[id]++;
        assert_true(in_this_life[id] == 1); /* twice in one life */
    }
    delivered_here += to - from;
}

static enum weir_status fake_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    (void)config;
    (void)env;
    (void)err;
    *self = held;
    return WEIR_OK;
}
static void answer(struct weir_ticket *ticket, const struct weir_batch *batch) {
    uint32_t done = ticket->settled_spans;
    if (back_end_is_away || (may.retries && one_in(8))) {
        if (may.parts && done + 1 < batch->span_count && one_in(2)) {
            uint32_t part = done + 1 + below(batch->span_count - done - 1);
            take(batch, done, part);
            ticket->settled_spans = part;
        }
        ticket->settle(ticket, WEIR_RETRY, one_in(20) ? WEIR_S : 0, "away");
    } else if (may.refusals && one_in(10)) {
        refused_here += batch->span_count - done;
        ticket->settle(ticket, WEIR_REJECTED, 0, "no");
    } else {
        take(batch, done, batch->span_count);
        ticket->settle(ticket, WEIR_DELIVERED, 0, NULL);
    }
}
static void fake_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    (void)self;
    if (in_order) {
        assert_true(batch->spans[0].span_id >= last_sent);
        last_sent = batch->spans[0].span_id;
    }
    if (one_in(4) || held_count == HELD_MAX) {
        answer(ticket, batch);
    } else {
        held[held_count++] = (struct held){batch, ticket};
    }
}
static void answer_one(void) {
    if (held_count == 0) return;
    uint32_t i = may.retries ? below(held_count) : 0;
    struct held one = held[i];
    memmove(&held[i], &held[i + 1], (--held_count - i) * sizeof *held);
    answer(one.ticket, one.batch);
}
static void fake_drive(void *self, int timeout_ms) {
    (void)self;
    (void)timeout_ms;
    for (uint32_t n = below(4); n > 0; n--)
        answer_one();
}
static void fake_wake(void *self) {
    (void)self;
}
static void fake_close(void *self) {
    (void)self;
    while (held_count > 0) {
        held_count--;
        held[held_count].ticket->settle(held[held_count].ticket, WEIR_RETRY, 0, "closed");
    }
}
static const struct weir_exporter exporter = {
    .type = "fake", .open = fake_open, .send = fake_send, .drive = fake_drive, .wake = fake_wake, .close = fake_close};

/* ---- the disk ---- */

static bool fails(void) {
    if (!disk_is_bad || !one_in(3)) return false;
    errno = one_in(2) ? ENOSPC : EIO;
    return true;
}
static int bad_create(int directory_fd, const char *name) {
    return fails() ? -1 : openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}
static ssize_t bad_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (fails()) return -1;
    if (disk_is_bad && size > 1 && one_in(3)) size = 1 + below((uint32_t)size - 1);
    return pwrite(fd, bytes, size, offset);
}
static int bad_truncate(int fd, off_t size) {
    return fails() ? -1 : ftruncate(fd, size);
}
static int bad_sync(int fd) { /* which bytes a power cut takes is test_spool_crash.c's */
    (void)fd;
    return fails() ? -1 : 0;
}
static int bad_unlink(int directory_fd, const char *name) {
    return fails() ? -1 : unlinkat(directory_fd, name, 0);
}
static const struct weir_log_disk bad_disk = {.create = bad_create,
                                              .write = bad_write,
                                              .truncate = bad_truncate,
                                              .sync = bad_sync,
                                              .sync_names = bad_sync,
                                              .unlink = bad_unlink};

/* ---- the queue, life after life ---- */

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
static uint32_t directories;
static struct weir_exporter_config config;
static struct weir_queue_disk disk;
static struct weir_spool_options options;
static uint64_t next_id, pushed_here;
static size_t largest;
static uint64_t
    excused; /* undelivered spans that are allowed: dropped under a reason, or in memory when it was killed */

static void open_queue(void) {
    struct weir_error err = {0};
    const struct weir_exporter_env env = {.metrics = registry, .names = names, .clock = &fake_clock};
    options.directory = directory;
    assert_int_equal(weir_queue_open(&queue, &exporter, &config, &env, &err), WEIR_OK);
    if (weir_queue_spool(queue, &disk, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    queue->random = chance() | 1;
    pushed_here = delivered_here = refused_here = last_sent = 0;
    memset(in_this_life, 0, sizeof in_this_life);
}

static void add_up(const struct queue_list *list, uint64_t *spans, size_t *memory) {
    uint64_t sequence = 0;
    size_t own = 0;
    for (const struct queue_item *item = list->first; item != NULL; item = item->next) {
        assert_true(item == list->first || item->sequence > sequence);
        sequence = item->sequence;
        *spans += item->batch->span_count;
        own += item->memory;
    }
    assert_int_equal(own, list->memory);
    *memory += own;
}

static struct weir_queue_row balanced(void) {
    struct weir_queue_row row;
    weir_queue_row(queue, &row);
    uint64_t whole = pushed_here + row.recovered, sum = row.spooled + row.queued + row.in_flight + row.delivered;
    assert_true(row.spooled <= whole && row.queued <= whole && row.in_flight <= whole && row.delivered <= whole);
    for (int i = 0; i < WEIR_QUEUE_DROPS; i++) {
        assert_true(row.dropped[i] <= whole);
        sum += row.dropped[i];
    }
    assert_int_equal(sum, whole);
    uint64_t waiting = 0, flying = 0;
    size_t memory = 0;
    add_up(&queue->waiting, &waiting, &memory);
    add_up(&queue->arriving, &waiting, &memory);
    add_up(&queue->flying, &flying, &memory);
    assert_int_equal(row.queued, waiting);
    assert_int_equal(row.in_flight, flying);
    assert_int_equal(queue->memory, memory);
    assert_true(memory <= queue->config.memory_bytes + largest);
    if (queue->spool != NULL) assert_int_equal(weir_spool_spans(queue->spool), row.spooled);
    return row;
}

static uint64_t dropped(const struct weir_queue_row *row) {
    uint64_t sum = 0;
    for (int i = 0; i < WEIR_QUEUE_DROPS; i++)
        sum += row->dropped[i];
    return sum;
}

static void push_one(void) {
    uint32_t bytes = 20 + below(one_in(10) ? 20000 : 2000);
    uint32_t spans = 1 + below(one_in(10) ? 500 : 30);
    if ((uint64_t)spans * bytes > BATCH_BYTES_MAX) spans = BATCH_BYTES_MAX / bytes;
    if (next_id + spans > SPANS_MAX) return;
    struct weir_batch *batch = make_spans(next_id, spans, bytes);
    next_id += spans;
    pushed_here += spans;
    if (weir_batch_memory(batch) > largest) largest = weir_batch_memory(batch);
    weir_queue_push(queue, batch);
    weir_batch_unref(batch);
}

static bool flipped; /* since the last start: some heads may be gone, which say how many spans there are */
static void flip_some(void) {
    flipped = true;
    struct files files = look_at_files(directory);
    for (uint32_t n = below(4); n > 0 && files.count > 0; n--) {
        char path[512];
        struct stat info;
        uint64_t number = files.oldest + below(files.count);
        snprintf(path, sizeof path, "%s/%08llu.log", directory, (unsigned long long)number);
        if (stat(path, &info) == 0 && info.st_size > 0)
            flip(directory, number, (off_t)(chance() % (uint64_t)info.st_size));
    }
}

/* The process ends, in order or by a kill, and the next one starts. */
static void live_again(bool killed) {
    struct weir_queue_row before = balanced(), after;
    if (killed) {
        char other[sizeof directory];
        snprintf(other, sizeof other, "%s/%u", folder, ++directories);
        copy_folder(directory, other);
        excused += dropped(&before) + before.queued + before.in_flight;
        bool was = disk_is_bad;
        disk_is_bad = false;
        weir_queue_free(queue);
        disk_is_bad = was;
        snprintf(directory, sizeof directory, "%s", other);
    } else {
        bool was = disk_is_bad;
        weir_queue_stop(queue, now_ns + (one_in(2) ? 0 : WEIR_S));
        before = balanced();
        assert_int_equal(before.queued + before.in_flight, 0);
        if (!was) assert_int_equal(before.dropped[WEIR_QUEUE_SHUTDOWN], 0);
        excused += dropped(&before);
        weir_queue_free(queue);
    }
    if (may.flips && one_in(2)) flip_some();
    open_queue();
    after = balanced();
    assert_int_equal(after.recovered, after.spooled);
    if (flipped && after.recovered < before.spooled) excused += before.spooled - after.recovered;
    /* More: what was settled out of order, behind something that was not. */
    if (!flipped) assert_true(after.recovered >= before.spooled);
    flipped = false;
}

static void step(void) {
    switch (below(24)) {
    case 0: back_end_is_away = may.retries && one_in(2); break;
    case 1: disk_is_bad = may.disk_fails && one_in(3); break;
    case 2: now_ns += chance() % (20 * WEIR_S); break;
    case 3: now_ns += one_in(30) ? 2000 * WEIR_S : WEIR_S; break;
    case 4:
        if (may.bounds && one_in(3)) {
            config.memory_bytes = MiB << below(3);
            config.max_in_flight = 1 + below(20);
            weir_queue_reload(queue, &config);
        }
        break;
    case 5:
        if (may.ends && one_in(8)) live_again(false);
        break;
    case 6:
        if (may.kills && one_in(16)) live_again(true);
        break;
    case 7: answer_one(); break;
    case 8:
        if (may.flips && one_in(10)) flip_some();
        break;
    case 9:
    case 10:
    case 11:
    case 12: /* the thread has its turn */
        now_ns += chance() % (100 * WEIR_MS);
        weir_queue_round(queue);
        break;
    case 13:
        for (uint32_t n = below(60); n > 0; n--)
            push_one();
        break;
    default: push_one(); break;
    }
}

static void run(uint64_t seed) {
    random_state = (seed + 1) * 0x9e3779b97f4a7c15ull;
    uint64_t what = chance();
    may.retries = what & 1;
    may.parts = what & 2;
    may.refusals = what & 4;
    may.ends = what & 8;
    may.kills = (what & 48) == 0;
    may.flips = (what & 192) == 0;
    may.disk_fails = what & 256;
    may.bounds = what & 512;
    in_order = !may.retries && !may.ends && !may.kills;
    disk_is_bad = back_end_is_away = flipped = false;
    held_count = 0;
    memset(delivered, 0, sizeof delivered);
    next_id = excused = 0;
    largest = 0;
    now_ns = 1800000000 * WEIR_S;
    folder = make_folder();
    snprintf(directory, sizeof directory, "%s/0", folder);
    names = weir_names_new(1024, 1 << 16);
    registry = weir_metrics_new();
    config = (struct weir_exporter_config){.type = "fake",
                                           .name = "x",
                                           .memory_bytes = MiB << below(3),
                                           .max_age_ns = (one_in(3) ? 60 : 3600) * WEIR_S,
                                           .retry_initial_ns = 100 * WEIR_MS,
                                           .retry_max_ns = WEIR_S,
                                           .max_in_flight = 1 + below(20)};
    disk = (struct weir_queue_disk){.memory_age_ns = (1 + below(10)) * WEIR_S,
                                    .durable = one_in(2),
                                    .read_bytes_per_second = one_in(4) ? 10 * MiB : 0};
    options = (struct weir_spool_options){.exporter = "x",
                                          .segment_bytes = MiB,
                                          .max_bytes = one_in(2) ? 3 * MiB : 64 * MiB,
                                          .level = -7,
                                          .names = names,
                                          .metrics = registry,
                                          .clock = &fake_clock,
                                          .disk = &bad_disk};
    open_queue();
    for (int i = 0; i < 600; i++) {
        step();
        balanced();
    }
    back_end_is_away = disk_is_bad = false;
    may.retries = false;
    struct weir_queue_row row = balanced();
    for (int i = 0; i < 4000 && row.spooled + row.queued + row.in_flight > 0; i++) {
        now_ns += 200 * WEIR_MS;
        weir_queue_round(queue);
        answer_one();
        row = balanced();
    }
    assert_int_equal(row.spooled + row.queued + row.in_flight, 0);
    assert_int_equal(row.delivered, delivered_here);
    assert_int_equal(row.dropped[WEIR_QUEUE_REJECTED], refused_here);
    excused += dropped(&row);
    uint64_t undelivered = 0;
    for (uint64_t id = 0; id < next_id; id++)
        undelivered += delivered[id] == 0;
    assert_true(undelivered <= excused);
    if (!may.ends && !may.kills) assert_int_equal(undelivered, excused);
    weir_queue_free(queue);
    queue = NULL;
    weir_metrics_free(registry);
    weir_names_free(names);
    remove_folder(folder);
}

static void whatever_happens_every_span_is_accounted_for(void **state) {
    (void)state;
    const char *only = getenv("WEIR_SEED");
    weir_log_set_level(WEIR_LOG_ERROR);
    uint64_t from = only != NULL ? strtoull(only, NULL, 10) : 0, to = only != NULL ? from + 1 : 60;
    for (uint64_t seed = from; seed < to; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_happens_every_span_is_accounted_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
