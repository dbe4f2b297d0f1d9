/* Real datagrams over loopback into the receiver; its loop runs on a thread of its own. */
#define _GNU_SOURCE 1
#include "collector/core/wire.h"
#include "collector/receive/udp.h"
#include "collector/sample/steering.h"
#include "tests/unit/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static struct {
    struct weir_loop *loop;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_budget budget;
    struct weir_config config;
    struct weir_receiver_env env;
    void *receiver;
    pthread_t thread;
    int fd;
    bool full; /* the sink refuses */
    _Atomic uint32_t batches, spans, refused[WEIR_REFUSALS];
    size_t batch_bytes_max; /* lane's thread */
    uint64_t sequence, policy_version;
    struct weir_steering *steering;
    _Atomic double weight;
} t;

static void on_refused(void *self, enum weir_receiver_id receiver, enum weir_refusal reason, uint64_t count) {
    (void)self;
    (void)receiver;
    t.refused[reason] += (uint32_t)count;
}
static enum weir_status on_spans(void *self, enum weir_receiver_id receiver, struct weir_batch **batch) {
    if (t.full) { /* as a lane does */
        on_refused(self, receiver, WEIR_REFUSED_MEMORY, (*batch)->span_count);
        return WEIR_FULL;
    }
    if ((*batch)->size > t.batch_bytes_max) t.batch_bytes_max = (*batch)->size;
    t.batches++;
    for (uint32_t i = 0; i < (*batch)->span_count; i++)
        t.weight = t.weight + weir_span_weight(&(*batch)->spans[i]);
    t.spans += (*batch)->span_count;
    weir_batch_unref(*batch);
    *batch = NULL;
    return WEIR_OK;
}
static void *run(void *loop) {
    weir_loop_run(loop);
    return NULL;
}

static void open_receiver(size_t budget_bytes) {
    struct weir_error err = {0};
    struct sockaddr_storage to;
    uint16_t port = free_port("127.0.0.1", SOCK_DGRAM);
    socklen_t to_size = address_of("127.0.0.1", port, &to);
    memset(&t, 0, sizeof t);
    t.loop = weir_loop_new(&weir_clock_system, &err);
    t.names = weir_names_new(64, 4096);
    t.metrics = weir_metrics_new();
    t.budget.limit_bytes = budget_bytes;
    t.steering = weir_steering_new(t.names, t.metrics, &weir_clock_system);
    assert_non_null(t.steering);
    t.env = (struct weir_receiver_env){
        .lanes = 1,
        .loop = t.loop,
        .names = t.names,
        .metrics = t.metrics,
        .clock = &weir_clock_system,
        .steering = t.steering,
        .sink = {.budget = &t.budget, .spans = on_spans, .spans_refused = on_refused},
    };
    t.config.aggregate.label_value_bytes_max = 128;
    t.config.datagram = (struct weir_datagram_config){.receive_buffer_bytes = 4 << 20,
                                                      .senders_max = 16,
                                                      .sender_expiry_ns = 60 * WEIR_S,
                                                      .listen = {.host = "127.0.0.1", .port = port}};
    if (weir_receive_datagram.open(&t.receiver, &t.env, &t.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(weir_receive_datagram.start(t.receiver, &err), WEIR_OK);
    t.fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(t.fd, (struct sockaddr *)&to, to_size), 0);
}
static void run_lane(void) {
    assert_int_equal(pthread_create(&t.thread, NULL, run, t.loop), 0);
}
static void close_receiver(bool running) {
    if (running) {
        weir_loop_stop(t.loop);
        pthread_join(t.thread, NULL);
    }
    weir_receive_datagram.stop(t.receiver);
    assert_true(weir_receive_datagram.idle(t.receiver));
    weir_receive_datagram.close(t.receiver);
    assert_int_equal(t.budget.used_bytes, 0);
    weir_loop_free(t.loop);
    weir_steering_free(t.steering);
    weir_metrics_free(t.metrics);
    weir_names_free(t.names);
    close(t.fd);
}

/* One datagram of just `size` bytes with this many spans. */
static void make(uint8_t *out, size_t size, uint32_t spans) {
    uint8_t *at = out, body[64];
    at = weir_wire_put_uint(at, 1, 1);
    at = weir_wire_put_fixed64(at, 2, 99);
    at = weir_wire_put_fixed64(at, 3, 1);
    at = weir_wire_put_uint(at, 4, ++t.sequence);
    for (uint32_t i = 0; i < spans; i++) {
        uint8_t *end = weir_wire_put_bytes(body, 1, "a trace's id ...", 16);
        end = weir_wire_put_bytes(end, 2, &t.sequence, 8);
        if (t.policy_version != 0 && i % 2 == 1) end = weir_wire_put_bytes(end, 4, "a parent", 8);
        at = weir_wire_put_bytes(at, 6, body, (size_t)(end - body));
    }
    if (t.policy_version != 0) at = weir_wire_put_uint(at, 9, t.policy_version);
    size_t left = size - (size_t)(at - out) - 3;
    *at++ = 14 << 3 | WEIR_WIRE_BYTES;
    *at++ = (uint8_t)(left | 0x80);
    *at++ = (uint8_t)(left >> 7);
    memset(at, 0, left);
}

/* So many in one call; the kernel hands them over as one message, which the receiver splits. */
static void send_segments(uint16_t size, uint32_t count, uint32_t spans) {
    uint8_t *bytes = malloc((size_t)size * count);
    for (uint32_t i = 0; i < count; i++)
        make(bytes + (size_t)i * size, size, spans);
    struct iovec vector = {bytes, (size_t)size * count};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof size)];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    struct cmsghdr *one = CMSG_FIRSTHDR(&message);
    one->cmsg_level = SOL_UDP;
    one->cmsg_type = UDP_SEGMENT;
    one->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(one), &size, sizeof size);
    assert_int_equal(sendmsg(t.fd, &message, 0), size * count);
    free(bytes);
}

static void wait_for(_Atomic uint32_t *what, uint32_t count) {
    for (int i = 0; i < 6000 && *what < count; i++)
        usleep(10000);
    assert_int_equal(*what, count);
}

static uint64_t metric(const char *line) {
    struct weir_buffer page = {0};
    weir_metrics_expose(t.metrics, &page);
    weir_buffer_byte(&page, 0);
    const char *at = strstr((const char *)page.bytes, line);
    uint64_t value = at != NULL ? strtoull(at + strlen(line), NULL, 10) : UINT64_MAX;
    weir_buffer_free(&page);
    return value;
}

/* The lane tells its metrics after what it handed on. */
static void wait_for_metric(const char *line, uint64_t value) {
    for (int i = 0; i < 6000 && metric(line) != value; i++)
        usleep(10000);
    assert_int_equal(metric(line), value);
}

static void test_a_bulk_is_a_batch(void **state) {
    (void)state;
    open_receiver(64 << 20);
    for (int i = 0; i < 20; i++) /* waits in the kernel until the lane runs */
        send_segments(1000, 40, 5);
    run_lane();
    wait_for(&t.spans, 20 * 40 * 5);
    assert_true(t.batches < 20);
    wait_for_metric("weir_datagrams_received_total{receiver=\"datagram\"} ", 800);
    wait_for_metric("weir_datagram_senders{receiver=\"datagram\"} ", 1);
    assert_int_equal(metric("weir_datagrams_lost_total{receiver=\"datagram\",reason=\"sequence\"} "), 0);
    close_receiver(true);
}

static void test_whoever_follows_a_plan_is_weighed_by_it(void **state) {
    (void)state;
    open_receiver(64 << 20);
    struct weir_plan_service fallback = {.rate.rate = 0.25, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(t.names, 1, &fallback, NULL, 0);
    weir_steering_publish(t.steering, plan, NULL, 0, false, NULL);
    run_lane();
    t.policy_version = plan->version;
    send_segments(1000, 1, 4); /* two roots of four, and two whose roots are elsewhere */
    wait_for(&t.spans, 4);
    assert_true(t.weight == 2 * 4 + 2);
    assert_true(weir_steering_followed(t.steering));
    uint32_t service = weir_names_find(t.names, "unknown_service", 15); /* no resource says one */
    assert_int_equal(weir_steering_senders(t.steering, service), 1);
    t.policy_version = plan->version + 1; /* nobody knows that one */
    send_segments(1000, 1, 4);
    wait_for(&t.spans, 8);
    assert_true(t.weight == 10 + 4);
    weir_plan_unref(plan);
    close_receiver(true);
}

static void test_a_batch_has_a_bound(void **state) {
    (void)state;
    open_receiver(64 << 20);
    for (int i = 0; i < 45; i++)
        send_segments(1400, 46, 40);
    run_lane();
    wait_for(&t.spans, 45 * 46 * 40);
    assert_true(t.batches > 5);
    assert_true(t.batch_bytes_max < (256 << 10) + 65536);
    close_receiver(true);
}

static void test_a_sink_that_is_full(void **state) {
    (void)state;
    open_receiver(64 << 20);
    t.full = true;
    run_lane();
    send_segments(1000, 10, 5);
    wait_for(&t.refused[WEIR_REFUSED_MEMORY], 50);
    assert_int_equal(t.spans, 0);
    close_receiver(true);
}

/* What there is no room to read is counted; what there is room for is taken, though it is less than one wants. */
static void test_a_short_budget(void **state) {
    (void)state;
    open_receiver(24 * 1024);
    for (int i = 0; i < 10; i++)
        send_segments(1400, 40, 30);
    run_lane();
    for (int i = 0; i < 6000 && t.spans + t.refused[WEIR_REFUSED_MEMORY] < 12000; i++)
        usleep(10000);
    assert_int_equal(t.spans + t.refused[WEIR_REFUSED_MEMORY], 12000);
    assert_true(t.spans > 0);
    close_receiver(true);
    open_receiver(100);
    send_segments(1000, 10, 5);
    run_lane();
    wait_for(&t.refused[WEIR_REFUSED_MEMORY], 50);
    close_receiver(true);
}

/* Stopping takes what the kernel holds, and says what never came. */
static void test_the_end(void **state) {
    (void)state;
    open_receiver(64 << 20);
    send_segments(1000, 10, 1);
    t.sequence += 7;
    send_segments(1000, 10, 1);
    weir_receive_datagram.stop(t.receiver);
    assert_int_equal(t.spans, 20);
    assert_int_equal(metric("weir_datagrams_lost_total{receiver=\"datagram\",reason=\"sequence\"} "), 7);
    close_receiver(false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bulk_is_a_batch),   cmocka_unit_test(test_whoever_follows_a_plan_is_weighed_by_it),
        cmocka_unit_test(test_a_batch_has_a_bound), cmocka_unit_test(test_a_sink_that_is_full),
        cmocka_unit_test(test_a_short_budget),      cmocka_unit_test(test_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
