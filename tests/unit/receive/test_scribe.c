/* How long connections may take. What is said on them: tests/unit/decode/test_scribe.c, and the scenario. */
#define _GNU_SOURCE /* strcasestr */
#include "collector/core/receipt.h"
#include "collector/receive/listener.h"
#include "collector/receive/receiver.h"
#include "tests/unit/receive/http_rig.h"

static struct weir_budget intake;
static struct weir_names *names;
static struct weir_config config;
static void *receiver;

static enum weir_status take_spans(void *self, enum weir_receiver_id id, struct weir_batch **batch) {
    (void)self, (void)id;
    weir_batch_unref(*batch);
    *batch = NULL;
    return WEIR_OK;
}
static void count_skipped(void *self, enum weir_receiver_id id, enum weir_refusal reason, uint64_t count) {
    (void)self, (void)id, (void)reason, (void)count;
}
static void start_job(void) {
    assert_int_equal(weir_receive_scribe.start(receiver, NULL), WEIR_OK);
}
static void close_job(void) {
    weir_receive_scribe.close(receiver);
}

static int set_up(void **state) {
    (void)state;
    intake.limit_bytes = 4 << 20;
    config = (struct weir_config){
        .scribe = {.listen = {.host = "127.0.0.1"}, .max_frame_bytes = 1 << 20, .max_connections = 16}};
    lane_open();
    names = weir_names_new(1024, 1 << 20);
    const struct weir_receiver_env env = {
        .lanes = 1,
        .loop = lane.loop,
        .sink = {.budget = &intake, .spans = take_spans, .spans_refused = count_skipped},
        .names = names,
        .metrics = lane.metrics,
        .clock = &lane_clock};
    struct weir_error err = {.status = WEIR_IO};
    receiver = NULL;
    for (int turn = 0; turn < 10 && receiver == NULL; turn++) { /* somebody else may take the port */
        lane.port = config.scribe.listen.port = free_port("127.0.0.1", SOCK_STREAM);
        weir_receive_scribe.open(&receiver, &env, &config, &err);
    }
    if (receiver == NULL) fail_msg("%s", err.text);
    lane_start();
    on_lane(start_job);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    on_lane(close_job);
    lane_join();
    weir_names_free(names);
    lane_free();
    assert_int_equal(intake.used_bytes, 0);
    return 0;
}

/* Much at once buys time, but not for long: what came is memory that others need. */
static void a_trickle_behind_a_burst(void **state) {
    (void)state;
    static uint8_t burst[128 * 1024] = {0, 4, 0, 0}; /* of 256 KiB: four seconds, and thirty */
    lane_clock_stands();
    int fd = dial();
    assert_true(say(fd, burst, sizeof burst));
    lane_catches_up();
    assert_in_range(dribble(fd, WEIR_S, 40 * WEIR_S) / WEIR_S, 34, 40);
    assert_true(at_end(fd));
    close(fd);
}

static void silence_from_the_beginning(void **state) {
    (void)state;
    lane_clock_stands();
    int fd = dial();
    for (int i = 0; i < PATIENCE_MS && metric("weir_scribe_connections") != 1; i++)
        usleep(1000);
    lane.ahead_ns += 25 * WEIR_S;
    assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1100), 0);
    lane.ahead_ns += 10 * WEIR_S;
    assert_true(at_end(fd));
    close(fd);
}

/* Between frames a client may rest for as long as it likes. */
static void rests_are_free(void **state) {
    (void)state;
    static const uint8_t call[] = {0, 0, 0, 17, 0x80, 1, 0, 1, 0, 0, 0, 4, 'p', 'i', 'n', 'g', 0, 0, 0, 1, 0};
    int fd = dial();
    for (int turn = 0; turn < 2; turn++) {
        uint8_t answer[256];
        assert_true(say(fd, call, sizeof call));
        assert_true(recv(fd, answer, sizeof answer, 0) > 4); /* that there is no such method */
        lane.ahead_ns += 600 * WEIR_S;
        assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1100), 0);
    }
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(a_trickle_behind_a_burst), TEST(silence_from_the_beginning),
                                       TEST(rests_are_free)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
