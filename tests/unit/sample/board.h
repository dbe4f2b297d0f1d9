/* board.h - a board of plans and followers (sample/steering.h), with a clock that stands until it is moved. */
#ifndef WEIR_TESTS_SAMPLE_BOARD_H
#define WEIR_TESTS_SAMPLE_BOARD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/sample/steering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One board, one plan of one service, and a clock that stands until it is moved. */
struct board {
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_clock clock;
    _Atomic uint64_t now_ns;
    struct weir_steering *steering;
    uint32_t edge;
};

static inline uint64_t now_of(void *self) {
    return ((struct board *)self)->now_ns;
}

static inline uint32_t id_of(const struct board *board, const char *name) {
    return weir_names_intern(board->names, name, strlen(name));
}

static inline void set_up(struct board *board) {
    *board = (struct board){.now_ns = 900 * WEIR_S};
    board->names = weir_names_new(1000, 100000);
    board->metrics = weir_metrics_new();
    board->clock = (struct weir_clock){.mono_ns = now_of, .unix_ns = now_of, .self = board};
    board->steering = weir_steering_new(board->names, board->metrics, &board->clock);
    assert_non_null(board->steering);
    board->now_ns = 1000 * WEIR_S; /* an old process: nobody is expected any more */
    board->edge = id_of(board, "edge");
}

static inline void tear_down(struct board *board) {
    weir_steering_free(board->steering);
    weir_metrics_free(board->metrics);
    weir_names_free(board->names);
}

/* A plan of `edge` at this rate, of its operation GET /a at twice that, and of all others at 1. */
static inline struct weir_plan *plan_at(const struct board *board, double rate, double limit) {
    struct weir_plan_rate operation = {.name = id_of(board, "GET /a"), .rate = 2 * rate};
    operation.operation = operation.name;
    struct weir_plan_service fallback = {.rate.rate = 1, .max_traces_per_second = -1};
    struct weir_plan_service edge = {.rate = {.name = board->edge, .rate = rate},
                                     .max_traces_per_second = limit,
                                     .operations = &operation,
                                     .operation_count = limit < 0 ? 1 : 0};
    struct weir_plan *plan = weir_plan_new(board->names, 7, &fallback, &edge, 1);
    assert_non_null(plan);
    return plan;
}

static inline void publish(struct board *board, double rate, bool trust) {
    struct weir_plan *plan = plan_at(board, rate, -1);
    weir_steering_publish(board->steering, plan, NULL, 0, trust, NULL);
    weir_plan_unref(plan);
}

static inline uint64_t told(struct board *board, const struct weir_follower *who) {
    const struct weir_plan *plan = weir_steering_plan(board->steering, who->id, strlen(who->id), NULL);
    assert_non_null(plan);
    uint64_t version = weir_plan_find(plan, who->service)->version;
    weir_steering_told(board->steering, who, plan);
    weir_plan_unref(plan);
    return version;
}

static inline double prior(const struct board *board, const char *node, uint64_t second) {
    return weir_steering_prior(board->steering, board->edge, id_of(board, "GET /b"), node,
                               node != NULL ? strlen(node) : 0, second * WEIR_S);
}

static inline double series(const struct board *board, const char *name) {
    struct weir_buffer out = {0};
    weir_metrics_expose(board->metrics, &out);
    weir_buffer_byte(&out, 0);
    char line[128];
    int size = snprintf(line, sizeof line, "\n%s ", name); /* not its HELP */
    const char *at = strstr((const char *)out.bytes, line);
    double value = at != NULL ? strtod(at + size, NULL) : -1;
    weir_buffer_free(&out);
    return value;
}
#endif
