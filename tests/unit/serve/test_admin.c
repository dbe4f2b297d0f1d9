/* What a caller of the admin port may cost: its places are few, and health is asked there. */
#define _GNU_SOURCE /* strcasestr */
#include "collector/sample/taps.h"
#include "collector/serve/admin.h"
#include "tests/unit/receive/http_rig.h"

enum { PAGE_BYTES = 50 << 20 };

static struct weir_admin *admin;
static struct weir_taps *taps;
static struct weir_listen listen_at;
static struct weir_tls_config plain;
static size_t page_bytes;

static void expose(void *self, bool exemplars, struct weir_buffer *out) {
    static char block[64 * 1024];
    (void)self, (void)exemplars;
    memset(block, 'x', sizeof block);
    for (size_t size = 0; size < page_bytes; size += sizeof block)
        weir_buffer_put(out, block, sizeof block);
}
static const char *not_ready(void *self) {
    (void)self;
    return NULL;
}

static int set_up(void **state) {
    (void)state;
    struct weir_error err = {.status = WEIR_IO};
    lane.ahead_ns = 0;
    lane_clock_stands();
    lane.metrics = weir_metrics_new();
    taps = weir_taps_new(NULL, lane.metrics, &lane_clock);
    const struct weir_admin_options options = {.listen = &listen_at, .tls = &plain, .bearer_token_file = ""};
    const struct weir_admin_calls calls = {.expose = expose, .not_ready = not_ready, .taps = taps};
    admin = NULL;
    for (int turn = 0; turn < 10 && admin == NULL; turn++) { /* somebody else may take the port */
        lane.port = free_port("127.0.0.1", SOCK_STREAM);
        listen_at = (struct weir_listen){.host = "127.0.0.1", .port = lane.port, .on = true};
        weir_admin_open(&admin, &options, &calls, lane.metrics, &lane_clock, &err);
    }
    if (admin == NULL) fail_msg("%s", err.text);
    page_bytes = 100;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    weir_admin_close(admin);
    weir_taps_free(taps);
    weir_metrics_free(lane.metrics);
    return 0;
}

static unsigned get(const char *path) {
    char request[128];
    int fd = dial();
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: weir\r\n\r\n", path);
    assert_true(say_text(fd, request));
    unsigned status = listen_to(fd)->status;
    close(fd);
    return status;
}

static void requests_by_drops(void **state) {
    (void)state;
    static const char *const begins[] = {"GET /metrics HTTP/1.1\r\nHost: weir\r\nSome-Header: ",
                                         "POST /-/reload HTTP/1.1\r\nHost: weir\r\nContent-Length: 1000000\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        int fd = dial();
        assert_true(say_text(fd, begins[i]));
        for (int round = 0; round < 2; round++) /* and what was said before is heard */
            assert_int_equal(get("/-/healthy"), 200);
        assert_in_range(dribble(fd, 2 * WEIR_S, 80 * WEIR_S) / WEIR_S, 70, 80);
        assert_true(at_end(fd));
        close(fd);
    }
    assert_int_equal(get("/-/healthy"), 200);
}

/* Pages that nobody reads do not pile up: three of 50 MiB would be more than 128 MiB. */
static void pages_that_nobody_reads(void **state) {
    (void)state;
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n";
    int fds[3];
    page_bytes = PAGE_BYTES;
    for (int i = 0; i < 3; i++) {
        fds[i] = dial();
        assert_true(say_text(fds[i], request));
        assert_int_equal(poll(&(struct pollfd){.fd = fds[i], .events = POLLIN}, 1, PATIENCE_MS), 1); /* it has begun */
    }
    assert_int_equal(get("/metrics"), 503);
    assert_int_equal(get("/-/ready"), 200);
    /* They are cut off in two minutes, whoever reads a little now and then included. */
    for (int i = 0; i < 40; i++) {
        char byte;
        lane.ahead_ns += 4 * WEIR_S;
        recv(fds[0], &byte, 1, MSG_DONTWAIT);
        get("/-/ready");
    }
    page_bytes = 100;
    unsigned status = 503;
    for (int i = 0; i < PATIENCE_MS && status == 503; i += 10) {
        status = get("/metrics");
        usleep(10000);
    }
    assert_int_equal(status, 200);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(requests_by_drops), TEST(pages_that_nobody_reads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
