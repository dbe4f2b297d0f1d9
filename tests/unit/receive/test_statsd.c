/* Real datagrams over loopback into a receiver on a loop of its own thread. */
#define _GNU_SOURCE 1
#include "collector/decode/statsd.h"
#include "collector/receive/udp.h"
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

/* ---- a lane: loop, thread, and a sink that remembers ---- */

static struct {
    struct weir_loop *loop;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_config config;
    struct weir_receiver_env env;
    void *receiver;
    pthread_t thread;
    int fd; /* the sender's */
    struct sockaddr_in to;
    _Atomic uint32_t points, malformed, unsupported; /* lane's thread */
    double sum;
    char key[256]; /* of the last point, 0x1f as `;` */
} t;

static bool on_point(void *self, enum weir_receiver_id receiver, const struct weir_point *point) {
    (void)self;
    assert_int_equal(receiver, WEIR_RECEIVER_STATSD);
    t.sum += point->value;
    snprintf(t.key, sizeof t.key, "%.*s", (int)point->key_size, (const char *)point->key);
    for (char *at = t.key; *at != 0; at++) {
        if (*at == WEIR_KEY_SEPARATOR) *at = ';';
    }
    t.points++;
    return true;
}
static void on_rejected(void *self, enum weir_receiver_id receiver, enum weir_point_refusal reason, uint64_t count) {
    (void)self;
    assert_int_equal(receiver, WEIR_RECEIVER_STATSD);
    if (reason == WEIR_POINT_MALFORMED) t.malformed += (uint32_t)count;
    if (reason == WEIR_POINT_UNSUPPORTED) t.unsupported += (uint32_t)count;
}
static void *run(void *loop) {
    weir_loop_run(loop);
    return NULL;
}

static void open_statsd(const char *host, enum weir_source_label source_label, uint64_t buffer_bytes) {
    struct weir_error err;
    memset(&t, 0, sizeof t);
    t.loop = weir_loop_new(&weir_clock_system, &err);
    t.names = weir_names_new(64, 4096);
    t.metrics = weir_metrics_new();
    t.env = (struct weir_receiver_env){.lanes = 1,
                                       .loop = t.loop,
                                       .names = t.names,
                                       .metrics = t.metrics,
                                       .clock = &weir_clock_system,
                                       .sink = {.point = on_point, .points_rejected = on_rejected}};
    t.config.aggregate.label_value_bytes_max = 128;
    t.config.statsd.listen.port = free_port(host, SOCK_DGRAM);
    snprintf(t.config.statsd.listen.host, sizeof t.config.statsd.listen.host, "%s", host);
    t.config.statsd.source_label = source_label;
    t.config.statsd.receive_buffer_bytes = buffer_bytes;
    if (weir_receive_statsd.open(&t.receiver, &t.env, &t.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(weir_receive_statsd.start(t.receiver, &err), WEIR_OK);
    t.fd = socket(AF_INET, SOCK_DGRAM, 0);
    t.to = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(t.config.statsd.listen.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static void run_lane(void) {
    assert_int_equal(pthread_create(&t.thread, NULL, run, t.loop), 0);
}
static void stop_lane(void) {
    weir_loop_stop(t.loop);
    pthread_join(t.thread, NULL);
}
static void close_statsd(void) {
    weir_receive_statsd.stop(t.receiver);
    assert_true(weir_receive_statsd.idle(t.receiver));
    weir_receive_statsd.close(t.receiver);
    weir_loop_free(t.loop);
    weir_metrics_free(t.metrics);
    weir_names_free(t.names);
    close(t.fd);
}

static void send_text(const char *text) {
    assert_int_equal(sendto(t.fd, text, strlen(text), 0, (struct sockaddr *)&t.to, sizeof t.to), strlen(text));
}
static void wait_for(uint32_t points) {
    for (int i = 0; i < 60000 && t.points < points; i++)
        usleep(1000);
    assert_int_equal(t.points, points);
}

/* The value of a line of /metrics. */
static double metric(const char *series) {
    struct weir_buffer out = {0};
    weir_metrics_expose(t.metrics, &out);
    weir_buffer_byte(&out, 0);
    const char *text = (const char *)out.bytes;
    char want[256];
    snprintf(want, sizeof want, "\n%s ", series);
    const char *at = strstr(text, want);
    if (at == NULL) fail_msg("%s is not in\n%s", series, text);
    double value = strtod(at + strlen(want), NULL);
    weir_buffer_free(&out);
    return value;
}

/* ---- tests ---- */

static void lines_arrive(void **state) {
    (void)state;
    open_statsd("127.0.0.1", WEIR_SOURCE_NONE, 4 << 20);
    run_lane();
    for (int i = 0; i < 3000; i++) {
        send_text(i % 2 ? "a.b:1|c" : "a.b:1|c\na.b:2:3|h|#x:y\n");
        if (i % 500 == 499) wait_for((uint32_t)(i + 1) * 2); /* not faster than the smallest buffer would hold */
    }
    send_text("bad\n_e{1,1}:a|b\n\na.b:x|c\nz:1|g");
    wait_for(6001);
    stop_lane();
    assert_true(t.sum == 1500 * 1 + 1500 * 6 + 1);
    assert_string_equal(t.key, "z");
    assert_int_equal(t.malformed, 2);
    assert_int_equal(t.unsupported, 1);
    assert_true(metric("weir_datagrams_received_total{receiver=\"statsd\"}") == 3001);
    assert_true(metric("weir_datagrams_lost_total{receiver=\"statsd\",reason=\"kernel\"}") == 0);
    assert_true(metric("weir_datagrams_lost_total{receiver=\"statsd\",reason=\"truncated\"}") == 0);
    assert_true(metric("weir_statsd_lines_total") == 1500 + 1500 * 2 + 4);
    assert_true(metric("weir_statsd_refused_lines_total{reason=\"no_value\"}") == 1);
    assert_true(metric("weir_statsd_refused_lines_total{reason=\"bad_value\"}") == 1);
    assert_true(metric("weir_statsd_refused_lines_total{reason=\"event\"}") == 1);
    assert_true(metric("weir_statsd_refused_lines_total{reason=\"bad_tag\"}") == 0);
    close_statsd();
}

/* One sendmsg of many datagrams: UDP_SEGMENT there, UDP_GRO here. */
static void segments_are_told_apart(void **state) {
    (void)state;
    open_statsd("127.0.0.1", WEIR_SOURCE_IP, 4 << 20);
    run_lane();
    /* 20 datagrams of 9 bytes and one of 7: "seg.n:5|c" and "s.n:1|c" */
    char packed[20 * 9 + 7 + 1] = "";
    for (int i = 0; i < 20; i++)
        memcpy(packed + i * 9, "seg.n:5|c", 9);
    memcpy(packed + 180, "s.n:1|c", 8);
    int segment = 9;
    assert_int_equal(setsockopt(t.fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sendto(t.fd, packed, 187, 0, (struct sockaddr *)&t.to, sizeof t.to), 187);
    wait_for(2100);
    stop_lane();
    assert_true(t.sum == 100 * (20 * 5 + 1));
    assert_string_equal(t.key, "s_n;source;127.0.0.1");
    assert_true(metric("weir_datagrams_received_total{receiver=\"statsd\"}") == 2100);
    close_statsd();
}

static void sources_are_labelled(void **state) {
    (void)state;
    open_statsd("127.0.0.1", WEIR_SOURCE_HOST, 4 << 20);
    send_text("a:1|g");
    run_lane();
    wait_for(1);
    assert_string_equal(t.key, "a;source;127.0.0.1");
    send_text("a:1|g|#host:web-1");
    wait_for(2);
    assert_string_equal(t.key, "a;host;web-1;source;web-1");
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 4)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&other, sizeof other), 0);
    assert_int_equal(sendto(fd, "a:1|g", 5, 0, (struct sockaddr *)&t.to, sizeof t.to), 5);
    wait_for(3);
    assert_string_equal(t.key, "a;source;127.0.0.5");
    close(fd);
    stop_lane();
    t.config.statsd.source_label = WEIR_SOURCE_NONE; /* live */
    weir_receive_statsd.reload(t.receiver, &t.config);
    send_text("a:1|g");
    close_statsd(); /* takes what is there */
    assert_int_equal(t.points, 4);
    assert_string_equal(t.key, "a");
}

static void over_ipv6(void **state) {
    (void)state;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool spoken = fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (!spoken) {
        if (fd >= 0) close(fd);
        skip();
    }
    open_statsd("::", WEIR_SOURCE_IP, 4 << 20);
    run_lane();
    to.sin6_port = htons(t.config.statsd.listen.port);
    assert_int_equal(sendto(fd, "a:1|g", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    wait_for(1);
    assert_string_equal(t.key, "a;source;::1");
    send_text("a:1|g");
    wait_for(2);
    assert_string_equal(t.key, "a;source;127.0.0.1"); /* not ::ffff:127.0.0.1 */
    stop_lane();
    close(fd);
    close_statsd();
}

/* Nobody reads: the kernel drops, and says so; what it kept comes with stop(). */
static void kernel_drops_are_counted(void **state) {
    (void)state;
    open_statsd("127.0.0.1", WEIR_SOURCE_NONE, 16384);
    double buffer = metric("weir_udp_receive_buffer_bytes{receiver=\"statsd\"}");
    assert_true(buffer >= 2048 && buffer <= 65536);
    for (int i = 0; i < 2000; i++)
        send_text("a:1|c");
    double lost = metric("weir_datagrams_lost_total{receiver=\"statsd\",reason=\"kernel\"}");
    assert_true(lost > 0 && lost < 2000);
    assert_true(metric("weir_datagrams_lost_total{receiver=\"statsd\",reason=\"kernel\"}") == lost);
    weir_receive_statsd.stop(t.receiver);
    assert_int_equal(t.points, 2000 - (uint32_t)lost);
    assert_true(metric("weir_datagrams_received_total{receiver=\"statsd\"}") == t.points);
    close_statsd();
}

static void two_lanes_share_a_port(void **state) {
    (void)state;
    struct weir_error err;
    void *second = NULL;
    open_statsd("127.0.0.1", WEIR_SOURCE_NONE, 1 << 20);
    assert_int_equal(weir_receive_statsd.open(&second, &t.env, &t.config, &err), WEIR_OK);
    assert_int_equal(weir_receive_statsd.start(second, &err), WEIR_OK);
    run_lane();
    for (int i = 0; i < 64; i++) { /* by sender's port, so each from a new socket */
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        assert_int_equal(sendto(fd, "a:1|c", 5, 0, (struct sockaddr *)&t.to, sizeof t.to), 5);
        close(fd);
    }
    wait_for(64);
    stop_lane();
    weir_receive_statsd.stop(second);
    weir_receive_statsd.close(second);
    close_statsd();
}

static void bad_addresses(void **state) {
    (void)state;
    struct weir_error err;
    open_statsd("127.0.0.1", WEIR_SOURCE_NONE, 1 << 20);
    void *other = NULL;
    snprintf(t.config.statsd.listen.host, sizeof t.config.statsd.listen.host,
             "192.0.2.1"); /* RFC 5737: not this machine's */
    assert_int_equal(weir_receive_statsd.open(&other, &t.env, &t.config, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "statsd: bind 192.0.2.1"));
    snprintf(t.config.statsd.listen.host, sizeof t.config.statsd.listen.host, "300.1.1.1.invalid");
    assert_int_equal(weir_receive_statsd.open(&other, &t.env, &t.config, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "does not resolve"));
    assert_null(other);
    close_statsd();
    weir_receive_statsd.close(NULL);
}

/* ---- udp.c alone, with a buffer shorter than what is sent ---- */

static struct {
    uint32_t datagrams;
    size_t bytes;
} u;

static void on_datagram(void *self, const uint8_t *bytes, size_t size, const char *from) {
    (void)self;
    assert_string_equal(from, "");
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], 'x');
    u.datagrams++;
    u.bytes += size;
}

static void truncated_datagrams_are_counted(void **state) {
    (void)state;
    struct weir_error err;
    open_statsd("127.0.0.1", WEIR_SOURCE_NONE, 1 << 20); /* for its loop and metrics */
    memset(&u, 0, sizeof u);
    struct weir_listen listen = {.host = "127.0.0.1"};
    struct weir_udp *udp = NULL;
    struct weir_udp_options options = {
        .name = "short", .listen = &listen, .receive_buffer_bytes = 1 << 20, .datagram_bytes_max = 1000};
    struct weir_udp_calls calls = {.datagram = on_datagram};
    assert_int_equal(weir_udp_open(&udp, &t.env, &options, &calls, &err), WEIR_OK);
    assert_int_equal(weir_udp_start(udp, &err), WEIR_OK);
    t.to.sin_port = htons(weir_udp_port(udp));
    char text[1302];
    memset(text, 'x', 1301);
    text[1301] = 0;
    send_text(text); /* 1,301 bytes: not whole */
    text[1000] = 0;
    send_text(text); /* just fits */
    send_text("");   /* nothing in it, and yet a datagram */
    text[1000] = 'x';
    int segment = 300; /* 300 x 4 + 101: three fit into the buffer, two do not */
    assert_int_equal(setsockopt(t.fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    send_text(text);
    weir_udp_stop(udp);
    assert_int_equal(u.datagrams, 2 + 3);
    assert_int_equal(u.bytes, 1000 + 900);
    assert_true(metric("weir_datagrams_received_total{receiver=\"short\"}") == 5);
    assert_true(metric("weir_datagrams_lost_total{receiver=\"short\",reason=\"truncated\"}") == 1 + 2);
    weir_udp_close(udp);
    close_statsd();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_arrive),
        cmocka_unit_test(segments_are_told_apart),
        cmocka_unit_test(sources_are_labelled),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(kernel_drops_are_counted),
        cmocka_unit_test(two_lanes_share_a_port),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(truncated_datagrams_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
