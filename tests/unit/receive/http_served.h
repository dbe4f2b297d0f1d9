/* http_served.h - an HTTP receiver on a lane, with a route for each thing that may be done to a call. */
#ifndef WEIR_TESTS_HTTP_SERVED_H
#define WEIR_TESTS_HTTP_SERVED_H
#include "collector/receive/http.h"
#include "tests/unit/receive/http_rig.h"

enum { BODY_MAX = 256 * 1024 };

static struct weir_http *http;
static struct weir_budget budget;
static struct weir_http_config config;
static _Atomic uint32_t called;
static struct weir_receipt *_Atomic held[16];
static _Atomic uint32_t held_count;

/* Says what came: the type, the size, the sum of the bytes. */
static inline void echo(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    char text[128];
    uint32_t sum = 0;
    assert_ptr_equal(self, &budget);
    called++;
    for (size_t i = 0; i < (*body)->size; i++)
        sum += (*body)->bytes[i];
    int size = snprintf(text, sizeof text, "%.60s %zu %u", content_type, (*body)->size, sum);
    weir_http_answer(call, 200, "text/plain", text, (size_t)size, 0);
}

static inline void settled(void *self, struct weir_http_call *call) {
    (void)self;
    weir_http_answer(call, 202, "", weir_http_note(call)->reason, strlen(weir_http_note(call)->reason), 0);
}

static inline void later(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    (void)self, (void)content_type;
    called++;
    snprintf(weir_http_note(call)->reason, 160, "later %.*s", (int)(*body)->size, (*body)->bytes);
    held[held_count] = weir_http_receipt(call, settled);
    held_count++;
}

static inline void full(void *self, struct weir_http_call *call, const char *content_type, struct weir_batch **body) {
    (void)self, (void)content_type, (void)body;
    weir_http_receipt(call, settled);
    weir_http_receipt_drop(call);
    weir_http_answer(call, 429, "text/plain", "full\n", 5, 7);
}

static const struct weir_http_route routes[] = {
    {"POST", "/echo", echo}, {"PUT", "/echo", echo}, {"POST", "/later", later}, {"POST", "/full", full}, {.path = NULL},
};

static inline void start_job(void) {
    assert_int_equal(weir_http_start(http, NULL), WEIR_OK);
}
static inline void stop_job(void) {
    weir_http_stop(http);
}
static inline void close_job(void) {
    weir_http_close(http);
    http = NULL;
}
static _Atomic bool is_idle;
static inline void idle_job(void) {
    is_idle = weir_http_idle(http);
}
static inline bool becomes_idle(void) {
    for (unsigned i = 0; i < PATIENCE_MS; i += 5) {
        on_lane(idle_job);
        if (is_idle) return true;
        usleep(5000);
    }
    return false;
}
static inline bool gives_all_back(void) {
    for (unsigned i = 0; i < PATIENCE_MS && budget.used_bytes > 0; i += 5)
        usleep(5000);
    return budget.used_bytes == 0;
}

static inline void settle(uint32_t i) {
    for (int turn = 0; turn < PATIENCE_MS && held[i] == NULL; turn++)
        usleep(1000);
    struct weir_receipt *receipt = held[i];
    assert_non_null(receipt);
    held[i] = NULL;
    weir_receipt_settle(receipt, WEIR_OWNED);
}

static inline int open_with(uint64_t idle_timeout_ns) {
    config = (struct weir_http_config){.listen = {.host = "127.0.0.1", .port = free_port("127.0.0.1", SOCK_STREAM)},
                                       .max_body_bytes = BODY_MAX,
                                       .max_connections = 64,
                                       .idle_timeout_ns = idle_timeout_ns};
    budget.limit_bytes = 4 * BODY_MAX;
    called = held_count = 0;
    lane_open();
    const struct weir_http_options options = {
        .name = "test", .routes = routes, .self = &budget, .budget = &budget, .config = &config};
    struct weir_error err;
    if (weir_http_open(&http, lane.loop, lane.metrics, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    lane.port = weir_http_port(http);
    lane_start();
    on_lane(start_job);
    return 0;
}

static inline int set_up(void **state) {
    (void)state;
    return open_with(60 * WEIR_S);
}
static inline int set_up_impatient(void **state) {
    (void)state;
    return open_with(2 * WEIR_S);
}

static inline int tear_down(void **state) {
    (void)state;
    if (http != NULL) on_lane(close_job);
    lane_join();
    lane_free();
    assert_int_equal(budget.used_bytes, 0);
    return 0;
}
#endif
