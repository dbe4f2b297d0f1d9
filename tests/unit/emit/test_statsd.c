/* The lines that arrive add up to what was played. */
#include "collector/emit/play.h"
#include "collector/emit/statsd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void test_lines_add_up(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    struct weir_listen to = {.on = true, .host = "127.0.0.1", .port = ntohs(address.sin_port)};

    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_emit_statsd statsd;
    struct weir_buffer out = {0};
    bool help;
    uint32_t spans;
    /* 250 traces make about 1,060 lines and 40 datagrams: they fit any receive buffer. */
    assert_int_equal(
        weir_emit_options_parse(5, (char *[]){"emit", "--traces", "250", "--errors", "0.2"}, &options, &help, NULL),
        WEIR_OK);
    assert_int_equal(weir_emit_play_init(&play, &options, NULL), WEIR_OK);
    play.now_ns = 1700000000000000000;
    assert_int_equal(weir_emit_statsd_open(&statsd, &to, &play.mesh, NULL), WEIR_OK);
    play.watcher = (struct weir_emit_watcher){.self = &statsd, .request = weir_emit_statsd_request};
    while (weir_emit_play_next(&play, UINT64_MAX, &out, &spans) != WEIR_EMIT_END)
        weir_buffer_clear(&out);
    weir_emit_statsd_flush(&statsd);

    uint64_t wanted = 0, wanted_errors = 0, wanted_ns = 0, requests = 0, errors = 0, timers = 0, gauges = 0, lines = 0,
             datagrams = 0;
    double ms = 0;
    for (uint32_t i = 0; i < play.mesh.operation_count; i++) {
        if (play.mesh.operations[i].client) continue;
        wanted += play.truth.operations[i].spans;
        wanted_errors += play.truth.operations[i].errors;
        wanted_ns += play.truth.operations[i].ns;
    }
    char text[65536];
    ssize_t got;
    /* What was sent on this machine is there a little later when the kernel is busy. */
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (datagrams < statsd.datagrams && poll(&ready, 1, 60000) == 1) {
        got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        assert_true(got > 0);
        text[got] = 0;
        datagrams++;
        assert_true(got <= WEIR_EMIT_DATAGRAM_MAX);
        for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
            char name[32], type[4], tags[160];
            double value;
            lines++;
            assert_int_equal(sscanf(line, "%31[^:]:%lf|%3[a-z]|#%159s", name, &value, type, tags), 4);
            assert_int_equal(strncmp(tags, "service:", 8), 0);
            if (strcmp(name, "mesh.latency") == 0) {
                assert_string_equal(type, "ms");
                timers++;
                ms += value;
            } else if (strcmp(name, "mesh.requests") == 0) {
                assert_string_equal(type, "c");
                assert_non_null(strstr(tags, ",operation:"));
                requests += (uint64_t)value;
                errors += strstr(tags, ",status:5xx") != NULL ? (uint64_t)value : 0;
            } else {
                assert_string_equal(name, "mesh.busy");
                assert_string_equal(type, "g");
                gauges++;
            }
        }
    }
    assert_int_equal(requests, wanted);
    assert_int_equal(timers, wanted);
    assert_int_equal(errors, wanted_errors);
    assert_true(errors > 0);
    assert_true(ms <= (double)wanted_ns / 1e6 &&
                ms + 0.001 * (double)timers >= (double)wanted_ns / 1e6); /* each is cut to a microsecond */
    assert_int_equal(gauges % options.services, 0);
    assert_int_equal(lines, statsd.lines);
    assert_int_equal(datagrams, statsd.datagrams);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1); /* and no more */
    assert_int_equal(statsd.failed, 0);
    weir_emit_statsd_close(&statsd);
    weir_emit_play_free(&play);
    weir_buffer_free(&out);
    close(fd);
}

static void test_a_bad_address_is_named(void **state) {
    (void)state;
    struct weir_emit_statsd statsd;
    struct weir_error err = {0};
    struct weir_emit_mesh mesh = {0};
    struct weir_listen to = {.on = true, .host = "no..such.host", .port = 1}; /* no server of names is asked */
    assert_int_equal(weir_emit_statsd_open(&statsd, &to, &mesh, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "no..such.host"));
    weir_emit_statsd_close(&statsd);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines_add_up),
                                       cmocka_unit_test(test_a_bad_address_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
