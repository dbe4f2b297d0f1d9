/* Is the ledger a check, or only a page? In this build (WEIR_MUTANTS) the environment takes one of its increments away.
 * Each row runs a small pipeline twice: whole, and then nothing may be off; mutated, and then something must be. What
 * is off is the imbalance, or, for counters beside the balance, the difference from what the sender was told. */
#include "tests/unit/lane/steered.h"

#include <fcntl.h>
#include <unistd.h>

enum { REQUESTS = 60, SPANS = 20 };

static long long off_by; /* of the scenario that ran last */

static void pipeline(void) { /* what the scenarios share: many requests in, all lanes emptied into the queue */
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < REQUESTS; i++) {
        if (rig_offer(i % rig.lane_count, rig_request(SPANS, 40, "r"), NULL) != WEIR_OK) fail_msg("refused");
    }
    rig_stop();
}

static void settle_up(void) {
    off_by = rig_imbalance();
    rig_free();
}

static void delivers(void) {
    rig_reset(2);
    pipeline();
    rig_drain();
    settle_up();
}
static void holds_in_the_queue(void) {
    rig_reset(2);
    pipeline();
    settle_up();
}
static void holds_in_flight(void) {
    rig_reset(1);
    rig.keeps = true;
    pipeline();
    rig_drain();
    settle_up();
}
static void retries(void) {
    rig_reset(1);
    rig.settles = WEIR_RETRY;
    pipeline();
    rig_drain();
    settle_up();
}
static void rejects_all(void) {
    rig_reset(1);
    rig.settles = WEIR_REJECTED;
    pipeline();
    rig_drain();
    settle_up();
}
static void rejects_some(void) {
    rig_reset(1);
    rig.rejects = 3;
    pipeline();
    rig_drain();
    settle_up();
}
static void queue_is_full(void) {
    rig_reset(1);
    rig.max_spans = 100;
    rig.queue_bytes = 40000; /* three batches or so */
    pipeline();
    rig_drain();
    settle_up();
}
static void expires(void) {
    rig_reset(1);
    rig.queue_age_ns = WEIR_S;
    pipeline();
    rig.now_ns += 2 * WEIR_S;
    rig_drain();
    settle_up();
}
static void shut_with_some_in_the_queue(void) {
    rig_reset(1);
    rig.keeps = true;
    pipeline();
    rig_drain();
    weir_queue_stop(rig.queue, rig.now_ns);
    settle_up();
}
static void shut_before_the_lanes(void) {
    rig_reset(1);
    rig_build();
    weir_queue_stop(rig.queue, rig.now_ns);
    rig_offer(0, rig_request(SPANS, 40, "r"), NULL);
    rig_start();
    rig_stop();
    settle_up();
}
static void overload(void) {
    rig_reset(1);
    rig_build();
    size_t most = rig.intake.limit_bytes - (1 << 20);
    assert_true(weir_budget_reserve(&rig.intake, most));
    for (int i = 0; i < REQUESTS; i++)
        rig_offer(0, rig_request(SPANS, 40, "r"), NULL);
    weir_budget_release(&rig.intake, most);
    rig_start();
    rig_stop();
    rig_drain();
    settle_up();
}
static void collector_samples(void) {
    rig_reset(2);
    rig.policy_text = "collector: { rate: 0.5 }\n";
    pipeline();
    rig_drain();
    settle_up();
}
static void no_exporter(void) {
    rig_reset(2);
    rig.no_exporter = true;
    pipeline();
    settle_up();
}
static void no_memory_for_a_batch(void) {
    rig_reset(1);
    rig.max_bytes = 1ull << 60; /* malloc says no */
    pipeline();
    rig_drain();
    settle_up();
}
/* Spans of Scribe without an end: they wait until the end of all. Of each request one comes twice. */
static void joins(void) {
    rig_reset(2);
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct weir_batch *batch = rig_request(SPANS, 40, "r");
        for (uint32_t n = 0; n < SPANS; n++)
            batch->spans[n].receiver = WEIR_RECEIVER_SCRIBE;
        batch->spans[1] = batch->spans[0];
        if (rig_offer(i % rig.lane_count, batch, NULL) != WEIR_OK) fail_msg("refused");
    }
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, REQUESTS * (SPANS - 1));
    settle_up();
}

/* Beside the balance: what the sender was told. */
static void refuses(void) {
    rig_reset(2);
    rig_build(); /* not started: the ring to the other lane fills up */
    long long told = 0;
    while (told < 5 * SPANS)
        told += rig_offer(0, rig_request(SPANS, 40, "r"), NULL) == WEIR_FULL ? SPANS : 0;
    rig_start();
    rig_stop();
    off_by = told - rig_value("weir_spans_refused_total{receiver=\"grpc\",reason=\"memory\"} ");
    rig_free();
}

/* Half of the traces are kept; rig_stop() decides them all. */
static void decides(void) {
    rig_reset(2);
    rig.policy_text = "keep: { rules: [ { name: half, rate: 50% } ] }\n";
    pipeline();
    rig_drain();
    settle_up();
}
static void holds_undecided(void) {
    rig_reset(2);
    rig.policy_text = "keep: { rules: [ { name: half, rate: 50% } ] }\n";
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < REQUESTS; i++) {
        if (rig_offer(i % rig.lane_count, rig_request(SPANS, 40, "r"), NULL) != WEIR_OK) fail_msg("refused");
    }
    rig_rounds();
    off_by = rig_imbalance();
    assert_true(rig_value("weir_spans_held{exporter=\"\",where=\"tail\"} ") > 0 || getenv("WEIR_MUTANT") != NULL);
    rig_stop();
    rig_free();
}

/* Two processes, one after the other: what the first leaves undecided, the second takes up. */
static void recovers(void) {
    char folder[] = "/tmp/weir-mutants-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    for (int process = 0; process < 2; process++) {
        struct weir_error err = {0};
        rig_reset(2);
        rig.policy_text = "keep: { rules: [ { name: half, rate: 50% } ] }\n";
        rig.journal_folder = folder;
        rig_build();
        if (process == 1 && weir_lanes_recover(rig.lanes, &err) != WEIR_OK) fail_msg("%s", err.text);
        rig_start();
        for (uint32_t i = 0; i < REQUESTS && process == 0; i++) {
            if (rig_offer(i % rig.lane_count, rig_request(SPANS, 40, ""), NULL) != WEIR_OK) fail_msg("refused");
        }
        rig_rounds();
        rig_stop();
        off_by = rig_imbalance();
        assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"tail\"} "),
                         REQUESTS * SPANS); /* on disk too */
        rig_free();
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* A back end that is away, and a queue with little memory and a spool; `process` of two. */
static void spool_run(const char *folder, int process) {
    rig_reset(2);
    rig.spool_folder = folder;
    rig.max_spans = 100;
    rig.queue_bytes = 40000;
    rig.settles = process == 0 ? WEIR_RETRY : WEIR_DELIVERED;
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < REQUESTS && process == 0; i++) {
        if (rig_offer(i % rig.lane_count, rig_request(SPANS, 40, ""), NULL) != WEIR_OK) fail_msg("refused");
        weir_queue_round(rig.queue);
    }
    rig_stop();
    weir_queue_round(rig.queue);
}
static void spool_scenario(void (*between)(const char *folder), bool stops_early) {
    char folder[] = "/tmp/weir-mutants-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    for (int process = 0; process < (stops_early ? 1 : 2); process++) {
        spool_run(folder, process);
        if (process == 0 && !stops_early) {
            weir_queue_stop(rig.queue, rig.now_ns);
            rig_free();
            if (between != NULL) between(folder);
            continue;
        }
        if (!stops_early) rig_drain();
        off_by = rig_imbalance();
        rig_free();
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}
static void flip_a_byte(const char *folder) {
    char path[96];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/00000001.log", folder);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, 200), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 200), 1);
    close(fd);
}
static void spools(void) {
    spool_scenario(NULL, true);
}
static void reads_back(void) {
    spool_scenario(NULL, false);
}
static void is_damaged(void) {
    spool_scenario(flip_a_byte, false);
}
static void awaits(void) { /* one waits and goes on, one waits still */
    steered_build(1);
    steered_follow("sidecar-1", 0.25);
    rig_start();
    steered_offer(0, (struct steered_span[]){{.trace = 7}, {.trace = 8}}, 2);
    steered_offer(0, &(struct steered_span){.trace = 7, .root = true, .node = "sidecar-1"}, 1);
    rig_rounds();
    rig_rounds();
    off_by = rig_imbalance();
    rig_stop();
    steered_free();
}
static unsigned points_taken;
static void give_gauges(struct weir_sink *sink, void *argument) {
    (void)argument;
    for (int i = 0; i < 40; i++) {
        char name[16];
        int size = snprintf(name, sizeof name, "gauge_%d", i);
        struct weir_point point = {.key = (const uint8_t *)name,
                                   .key_size = (uint32_t)size,
                                   .kind = WEIR_POINT_GAUGE,
                                   .value = i,
                                   .weight = 1};
        point.hash = weir_names_hash(rig.names, name, (size_t)size);
        points_taken += sink->point(sink->self, WEIR_RECEIVER_STATSD, &point);
    }
}

static void points_run(size_t intake_bytes) {
    rig_reset(2);
    rig.intake_bytes = intake_bytes;
    rig_build();
    rig_start();
    points_taken = 0;
    for (uint32_t lane = 0; lane < 2; lane++)
        rig_on_lane(lane, give_gauges, NULL);
    rig_stop();
}
static void points_are_received(void) {
    points_run(0);
    off_by = 80 - rig_value("weir_points_received_total{receiver=\"statsd\"} ");
    rig_free();
}
static void points_cross(void) {
    points_run(0);
    off_by = rig_value("weir_points_held ");
    rig_free();
}
static void points_are_rejected(void) {
    points_run(64 * 1024); /* no block fits */
    assert_true(points_taken < 80);
    off_by = 80 - points_taken - rig_value("weir_points_rejected_total{receiver=\"statsd\",reason=\"full\"} ");
    rig_free();
}

static const struct row {
    const char *name, *counter;
    void (*scenario)(void);
} rows[] = {
    {"received", "received", delivers},
    {"handed_over", "handed_over", delivers},
    {"taken_over", "taken_over", delivers},
    {"batched", "batched", delivers},
    {"fanned_out", "fanned_out", delivers},
    {"queued", "queued", holds_in_the_queue},
    {"queued_again", "queued", retries},
    {"queued_and_gone", "queued", delivers},
    {"in_flight", "in_flight", holds_in_flight},
    {"in_flight_and_gone", "in_flight", delivers},
    {"delivered", "delivered", delivers},
    {"delivered_in_part", "delivered", rejects_some},
    {"dropped_rejected", "dropped_rejected", rejects_all},
    {"dropped_rejected_in_part", "dropped_rejected", rejects_some},
    {"dropped_full", "dropped_full", queue_is_full},
    {"dropped_expired", "dropped_expired", expires},
    {"dropped_shutdown", "dropped_shutdown", shut_with_some_in_the_queue},
    {"dropped_shutdown_at_the_door", "dropped_shutdown", shut_before_the_lanes},
    {"sampled_out_overload", "sampled_out_overload", overload},
    {"sampled_out_collector", "sampled_out_collector", collector_samples},
    {"sampled_out_tail", "sampled_out_tail", decides},
    {"decided", "decided", decides},
    {"tailed", "tailed", holds_undecided},
    {"recovered", "recovered", recovers},
    {"recovered_queue", "recovered_queue", reads_back},
    {"spooled", "spooled", spools},
    {"queued_from_disk", "queued_from_disk", reads_back},
    {"dropped_damaged", "dropped_damaged", is_damaged},
    {"dropped_no_exporter", "dropped_no_exporter", no_exporter},
    {"dropped_memory", "dropped_memory", no_memory_for_a_batch},
    {"joined", "joined", joins},
    {"released", "released", joins},
    {"awaited", "awaited", awaits},
    {"told", "told", awaits},
    {"dropped_merged", "dropped_merged", joins},
    {"refused", "refused", refuses},
    {"points_received", "points_received", points_are_received},
    {"points_handed_over", "points_handed_over", points_cross},
    {"points_taken_over", "points_taken_over", points_cross},
    {"points_rejected", "points_rejected", points_are_rejected},
};

static void the_balance_breaks(void **state) {
    const struct row *row = *state;
    unsetenv("WEIR_MUTANT");
    row->scenario();
    if (off_by != 0) fail_msg("whole, and off by %lld", off_by);
    setenv("WEIR_MUTANT", row->counter, 1);
    row->scenario();
    unsetenv("WEIR_MUTANT");
    if (off_by == 0) fail_msg("without %s nobody sees that spans are missing", row->counter);
}

/* No increment past WEIR_TALLY, and none without a row above. */
static void every_counter_has_a_row(void **state) {
    (void)state;
    static const char *const sources[] = {"/../../collector/lane/lane.c",        "/../../collector/lane/hold.c",
                                          "/../../collector/lane/out.c",         "/../../collector/lane/durable.c",
                                          "/../../collector/lane/weigh.c",       "/../../collector/spool/queue.c",
                                          "/../../collector/spool/queue_book.c", "/../../collector/spool/queue_disk.c"};
    unsigned tallies = 0;
    for (size_t s = 0; s < COUNT_OF(sources); s++) {
        char path[512], line[512];
        snprintf(path, sizeof path, "%s%s", WEIR_TEST_DATA, sources[s]);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        while (fgets(line, sizeof line, file) != NULL) {
            char *tally = strstr(line, "WEIR_TALLY(\"");
            bool adds = strstr(line, "+=") != NULL || strstr(line, "++") != NULL;
            if (tally == NULL) {
                if (adds && (strstr(line, "row.") != NULL || strstr(line, "row->") != NULL))
                    fail_msg("%s: %s", sources[s], line);
                continue;
            }
            char *counter = tally + strlen("WEIR_TALLY(\"");
            *strchr(counter, '"') = 0;
            bool known = false;
            for (size_t i = 0; i < COUNT_OF(rows); i++)
                known = known || strcmp(rows[i].counter, counter) == 0;
            if (!known) fail_msg("%s: no mutant of %s", sources[s], counter);
            tallies++;
        }
        fclose(file);
    }
    assert_true(tallies >= 20);
}

int main(void) {
    struct CMUnitTest tests[COUNT_OF(rows) + 1];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        tests[i] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = the_balance_breaks, .initial_state = (void *)&rows[i]};
    }
    tests[COUNT_OF(rows)] = (struct CMUnitTest)cmocka_unit_test(every_counter_has_a_row);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
