#include "tests/unit/lane/rig.h"

/* ---- admission ---- */

static void a_full_ring_refuses_the_whole_request(void **state) {
    (void)state;
    rig_reset(2);
    rig_build(); /* not started: nobody empties the ring */
    struct rig_receipt receipt;
    uint64_t accepted = 0;
    for (int i = 0; i < WEIR_RING_SLOTS; i++) {
        struct weir_batch *batch = rig_request(8, 40, "r");
        batch->spans[0].trace_lo = 0; /* lane 0 */
        batch->spans[1].trace_lo = 1; /* lane 1 */
        assert_int_equal(weir_trace_lane(0, 2), 0);
        assert_int_equal(weir_trace_lane(1, 2), 1);
        assert_int_equal(rig_offer(0, batch, NULL), WEIR_OK);
        accepted += 8;
    }
    uint32_t series = weir_aggregate_series(rig.aggregate);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_offer(0, rig_request(8, 40, "r"), &receipt), WEIR_FULL);
    assert_int_equal(receipt.answers, 0);
    assert_int_equal(weir_mailbox_read(&rig.home), 0); /* the receipt is still the caller's */
    assert_int_equal(weir_aggregate_series(rig.aggregate), series);
    assert_int_equal(rig_offer(1, rig_request(8, 40, "r"), NULL), WEIR_OK); /* the other way is free */
    accepted += 8;
    rig_start();
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], accepted);
    assert_int_equal(row.refused[WEIR_RECEIVER_GRPC][WEIR_REFUSED_MEMORY], 40);
    assert_int_equal(rig.spans_seen, accepted); /* nothing of the refused was kept */
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

static void a_stopped_lane_refuses(void **state) {
    (void)state;
    rig_reset(1);
    rig_build();
    rig_start();
    rig_stop();
    assert_int_equal(rig_offer(0, rig_request(3, 40, "r"), NULL), WEIR_FULL);
    assert_int_equal(rig.opened, 1);
    assert_int_equal(rig.started, 1);
    assert_int_equal(rig.stopped, 1);
    assert_int_equal(rig.closed, 1);
    rig_free();
    assert_int_equal(rig.closed, 1);
}

static void an_empty_request_is_answered(void **state) {
    (void)state;
    rig_reset(2);
    rig_build();
    struct rig_receipt receipt;
    assert_int_equal(rig_offer(0, rig_request(0, 40, "r"), &receipt), WEIR_OK);
    assert_int_equal(weir_mailbox_read(&rig.home), 1);
    assert_int_equal(receipt.owned, 1);
    rig_free();
}

static void a_request_without_room_to_sort_it(void **state) {
    (void)state;
    rig_reset(2);
    rig.intake_bytes = 4 << 20;
    rig_build();
    uint32_t spans = 20000; /* views 2.3 MB; as much again to sort them is more than there is */
    assert_int_equal(rig_offer(0, rig_request(spans, 8, "r"), NULL), WEIR_FULL);
    rig.intake.limit_bytes = 256 << 20;
    assert_int_equal(rig_offer(0, rig_request(spans, 8, "r"), NULL), WEIR_OK);
    rig_start();
    rig_rounds();
    assert_int_equal(rig.intake.used_bytes, 0); /* neither the request nor its scratch is kept */
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, spans);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

/* ---- hand-over ---- */

enum { REQUESTS = 400, SPANS = 50 };

static void spans_all_arrive(uint32_t lanes) {
    static struct rig_receipt receipts[REQUESTS];
    rig_reset(lanes);
    rig_build();
    rig_start();
    uint64_t ids = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct weir_batch *batch = rig_request(SPANS, 48, i % 2 == 0 ? "even" : "odd");
        for (uint32_t n = 0; n < SPANS; n++)
            ids += batch->spans[n].span_id;
        while (rig_offer(i % lanes, batch, &receipts[i]) != WEIR_OK)
            fail_msg("refused"); /* 400 do not fill 1024 slots */
    }
    rig_stop();
    weir_mailbox_read(&rig.home);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        if (receipts[i].answers != 1 || receipts[i].owned != 1)
            fail_msg("request %u: %u answers, %u owned", i, receipts[i].answers, receipts[i].owned);
    }
    rig_drain();
    struct weir_lane_row row = rig_row();
    uint64_t sent = (uint64_t)REQUESTS * SPANS;
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], sent);
    assert_int_equal(row.batched, sent);
    assert_int_equal(row.fanned_out, sent);
    assert_int_equal(row.handed_over, row.taken_over);
    double foreign = (double)row.handed_over / (double)sent, expected = 1 - 1.0 / lanes;
    if (foreign < expected - 0.03 || foreign > expected + 0.03) fail_msg("%g foreign of %u lanes", foreign, lanes);
    assert_int_equal(rig.spans_seen, sent);
    assert_true(rig.span_id_sum == ids);
    assert_int_equal(rig_value("weir_spans_delivered_total{exporter=\"rig\"} "), sent);
    assert_int_equal(rig_imbalance(), 0);
    struct weir_buffer page = {0};
    weir_aggregate_expose(rig.aggregate, false, &page);
    weir_buffer_byte(&page, 0);
    unsigned long long counted = 0;
    for (const char *at = (const char *)page.bytes; (at = strstr(at, "\ntraces_spanmetrics_calls_total{")) != NULL;
         at++)
        counted += strtoull(strstr(at, "} ") + 2, NULL, 10);
    assert_int_equal(counted, sent); /* each once, on its own lane */
    weir_buffer_free(&page);
    rig_free();
}

static void one_lane(void **state) {
    (void)state;
    spans_all_arrive(1);
}
static void two_lanes(void **state) {
    (void)state;
    spans_all_arrive(2);
}
static void four_lanes(void **state) {
    (void)state;
    spans_all_arrive(4);
}

/* All lanes at once, each fed from its own side, faster than any of them takes: what is refused is told, the rest
 * arrives. */
struct feeder {
    uint32_t lane;
    struct weir_mail again; /* posts itself until all is sent */
    unsigned left;
    uint64_t accepted, refused;
    struct weir_batch *request;
    sem_t done;
};
static struct feeder feeders[RIG_LANES_MAX];

static void feed(struct weir_mail *mail) {
    struct feeder *feeder = (struct feeder *)((char *)mail - offsetof(struct feeder, again));
    struct weir_sink *sink = &rig.receivers[feeder->lane].sink;
    for (int i = 0; i < 8 && feeder->left > 0; i++, feeder->left--) {
        struct weir_batch *batch = weir_batch_new(&rig.intake, 0);
        for (uint32_t n = 0; batch != NULL && n < feeder->request->span_count; n++) {
            if (weir_batch_copy(batch, feeder->request, n) == WEIR_OK) continue;
            weir_batch_unref(batch);
            batch = NULL;
        }
        if (batch == NULL) continue;
        uint32_t spans = batch->span_count;
        if (sink->spans(sink->self, WEIR_RECEIVER_GRPC, &batch) == WEIR_OK) {
            feeder->accepted += spans;
        } else {
            feeder->refused += spans;
            weir_batch_unref(batch);
        }
    }
    if (feeder->left > 0) {
        weir_mailbox_post(weir_loop_mailbox(rig.receivers[feeder->lane].loop), mail);
    } else {
        sem_post(&feeder->done);
    }
}

static void all_lanes_at_once(void **state) {
    (void)state;
    enum { LANES = 4 };
    rig_reset(LANES);
    rig_build();
    rig_start();
    for (uint32_t lane = 0; lane < LANES; lane++) {
        feeders[lane] =
            (struct feeder){.lane = lane, .again.deliver = feed, .left = 3000, .request = rig_request(20, 40, "r")};
        sem_init(&feeders[lane].done, 0, 0);
    }
    for (uint32_t lane = 0; lane < LANES; lane++)
        weir_mailbox_post(weir_loop_mailbox(rig.receivers[lane].loop), &feeders[lane].again);
    for (int i = 0; i < 50; i++)
        rig_value("weir_points_held "); /* a scrape stops nobody */
    uint64_t accepted = 0, refused = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        sem_wait(&feeders[lane].done);
        sem_destroy(&feeders[lane].done);
        accepted += feeders[lane].accepted;
        refused += feeders[lane].refused;
        weir_batch_unref(feeders[lane].request);
    }
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], accepted);
    assert_int_equal(row.refused[WEIR_RECEIVER_GRPC][WEIR_REFUSED_MEMORY], refused);
    assert_int_equal(rig.spans_seen, accepted - row.sampled_out[WEIR_STAGE_OVERLOAD]);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

static void a_long_ring_is_emptied_in_turns(void **state) {
    (void)state;
    rig_reset(2);
    rig_build();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rig_offer(0, rig_request(8, 40, "r"), NULL), WEIR_OK);
    rig_start(); /* one letter says that there is something, and a round takes only some of it */
    for (int i = 0; i < 500 && (i == 0 || rig_value("weir_spans_held{exporter=\"\",where=\"handover\"} ") > 0); i++)
        rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"handover\"} "), 0);
    assert_int_equal(rig_row().batched, 8000);
    rig_stop();
    rig_free();
}

/* ---- batches ---- */

static void batches_close_on_spans(void **state) {
    (void)state;
    rig_reset(1);
    rig.max_spans = 100;
    rig_build();
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_offer(0, rig_request(50, 40, "r"), NULL), WEIR_OK);
    rig_drain();
    assert_int_equal(rig.batch_count, 2);
    assert_int_equal(rig.batches[0].spans, 100);
    assert_int_equal(rig.batches[1].spans, 100);
    rig_start();
    rig_stop(); /* flushes the rest */
    rig_drain();
    assert_int_equal(rig.batch_count, 3);
    assert_int_equal(rig.batches[2].spans, 50);
    rig_free();
}

static void batches_close_on_bytes(void **state) {
    (void)state;
    rig_reset(1);
    rig.max_bytes = 10000;
    rig_build();
    assert_int_equal(rig_offer(0, rig_request(100, 300, "r"), NULL), WEIR_OK); /* 33 of them are 9,900 */
    assert_int_equal(rig_offer(0, rig_request(1, 25000, "r"), NULL), WEIR_OK); /* one that is larger goes alone */
    rig_drain();
    assert_int_equal(rig.batch_count, 5);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig.batches[i].spans, 33);
    assert_int_equal(rig.batches[3].spans, 1);
    assert_int_equal(rig.batches[3].size, 300);
    assert_int_equal(rig.batches[4].size, 25000);
    rig_free();
}

static void batches_close_on_age(void **state) {
    (void)state;
    rig_reset(1);
    rig.max_age_ns = 200 * WEIR_MS;
    rig_build();
    rig_start();
    rig_offer(0, rig_request(5, 40, "r"), NULL);
    rig.now_ns += 150 * WEIR_MS;
    rig_rounds();
    rig_offer(0, rig_request(5, 40, "r"), NULL); /* the first span's age counts */
    rig_drain();
    assert_int_equal(rig.batch_count, 0);
    rig_rounds();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"batch\"} "), 10);
    rig.now_ns += 50 * WEIR_MS;
    rig_rounds();
    rig_drain();
    assert_int_equal(rig.batch_count, 1);
    assert_int_equal(rig.batches[0].spans, 10);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"batch\"} "), 0);
    rig.now_ns += WEIR_S;
    rig_rounds();
    rig_drain();
    assert_int_equal(rig.batch_count, 1); /* none is empty */
    rig_stop();
    rig_free();
}

static void origins_count_as_bytes(void **state) {
    (void)state;
    static char resource[6000];
    rig_reset(1);
    rig.max_bytes = 10000;
    rig_build();
    for (int i = 0; i < 8; i++) {
        memset(resource, 'a' + i, sizeof resource - 1);
        assert_int_equal(rig_offer(0, rig_request(10, 20, resource), NULL), WEIR_OK);
    }
    rig_start();
    rig_stop();
    rig_drain();
    assert_int_equal(rig.batch_count, 4); /* two of 6,000 are over 10,000: the third opens the next */
    assert_int_equal(rig.spans_seen, 80);
    rig_free();
}

static void a_small_batch_is_small_in_the_queue(void **state) {
    (void)state;
    rig_reset(1);
    rig.queue_bytes = 1 << 20; /* the room of one full batch */
    rig.max_age_ns = 10 * WEIR_MS;
    rig_build();
    rig_start();
    for (int i = 0; i < 100; i++) { /* a trickle while the back end is away */
        rig_offer(0, rig_request(2, 100, "r"), NULL);
        rig.now_ns += 10 * WEIR_MS;
        rig_rounds();
    }
    assert_int_equal(rig_value("weir_spans_dropped_total{exporter=\"rig\",where=\"queue\",reason=\"full\"} "), 0);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"rig\",where=\"queue\"} "), 200);
    rig_stop();
    rig_drain();
    assert_int_equal(rig.spans_seen, 200);
    rig_free();
}

static void what_a_stop_finds_is_not_lost(void **state) {
    (void)state;
    rig_reset(4);
    rig_build();
    uint64_t sent = 0;
    for (uint32_t i = 0; i < 200; i++, sent += 10)
        assert_int_equal(rig_offer(i % 4, rig_request(10, 40, "r"), NULL), WEIR_OK); /* in the rings */
    rig_start();
    rig_stop(); /* at once: the deadline is now */
    rig_drain();
    assert_int_equal(rig.spans_seen, sent);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"handover\"} "), 0);
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"batch\"} "), 0);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

static void freed_without_having_run(void **state) {
    (void)state;
    rig_reset(2);
    rig_build();
    assert_int_equal(rig_offer(0, rig_request(100, 40, "r"), NULL), WEIR_OK);
    rig_free();
    assert_int_equal(rig.closed, 2);
}

/* ---- sampling, reload ---- */

static void collector_sampling_is_counted(void **state) {
    (void)state;
    rig_reset(2);
    rig.policy_text = "collector: { rate: 0.25 }\n";
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < 400; i++)
        assert_int_equal(rig_offer(i % 2, rig_request(50, 40, "r"), NULL), WEIR_OK);
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], 20000);
    assert_int_equal(rig.spans_seen + row.sampled_out[WEIR_STAGE_COLLECTOR], 20000);
    assert_in_range(rig.spans_seen, 4700, 5300); /* 5,000, five standard deviations of 61 */
    assert_true(rig.weight_seen > 18800 && rig.weight_seen < 21200);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

static void a_reload_returns_after_all_lanes(void **state) {
    (void)state;
    rig_reset(4);
    rig_build();
    rig_start();
    for (int i = 1; i <= 20; i++) {
        struct weir_error err;
        struct weir_policy *policy = NULL, *before = rig.policy;
        struct weir_config *config = malloc(sizeof *config), *config_before = rig.config;
        const char *text = i % 2 == 0 ? "collector: { rate: 1 }\n" : "collector: { rate: 0 }\n";
        assert_int_equal(weir_policy_parse("policy", (const uint8_t *)text, strlen(text), rig.names, &policy, &err),
                         WEIR_OK);
        *config = *rig.config;
        struct weir_snapshot snapshot = {.config = config, .policy = policy};
        weir_lanes_reload(rig.lanes, &snapshot);
        weir_policy_unref(before); /* nobody reads it any more: the sanitizers watch */
        rig.policy = policy;
        if (i > 1)
            free(config_before);
        else
            weir_config_free(config_before);
        rig.config = config;
        assert_int_equal(rig.reloads, 4 * i);
        for (uint32_t lane = 0; lane < 4; lane++)
            assert_int_equal(rig_offer(lane, rig_request(10, 40, "r"), NULL), WEIR_OK);
        rig_rounds();
    }
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], 800);
    assert_int_equal(row.sampled_out[WEIR_STAGE_COLLECTOR], 400); /* each second snapshot keeps none */
    assert_int_equal(rig.spans_seen, 400);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_ring_refuses_the_whole_request),
        cmocka_unit_test(a_stopped_lane_refuses),
        cmocka_unit_test(an_empty_request_is_answered),
        cmocka_unit_test(a_request_without_room_to_sort_it),
        cmocka_unit_test(one_lane),
        cmocka_unit_test(two_lanes),
        cmocka_unit_test(four_lanes),
        cmocka_unit_test(all_lanes_at_once),
        cmocka_unit_test(a_long_ring_is_emptied_in_turns),
        cmocka_unit_test(batches_close_on_spans),
        cmocka_unit_test(batches_close_on_bytes),
        cmocka_unit_test(batches_close_on_age),
        cmocka_unit_test(origins_count_as_bytes),
        cmocka_unit_test(a_small_batch_is_small_in_the_queue),
        cmocka_unit_test(what_a_stop_finds_is_not_lost),
        cmocka_unit_test(freed_without_having_run),
        cmocka_unit_test(collector_sampling_is_counted),
        cmocka_unit_test(a_reload_returns_after_all_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
