/* house.h - an aggregate to try things on, and its page read back. */
#ifndef WEIR_TESTS_AGGREGATE_HOUSE_H
#define WEIR_TESTS_AGGREGATE_HOUSE_H
#include "collector/aggregate/aggregate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct house {
    struct weir_aggregate_config config;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_aggregate *aggregate;
    struct weir_buffer page;
    uint32_t lanes;
    uint64_t now_ns;
};

static inline struct weir_aggregate_config house_config(void) {
    return (struct weir_aggregate_config){.series_max = 1000,
                                          .series_per_metric_max = 100,
                                          .label_value_bytes_max = 64,
                                          .idle_expiry_ns = 3600 * WEIR_S,
                                          .latency_buckets = {0.01, 0.1, 1},
                                          .latency_bucket_count = 3,
                                          .service_graph = true,
                                          .edge_wait_ns = 10 * WEIR_S,
                                          .edges_max = 1024};
}

static inline struct house *house_open(const struct weir_aggregate_config *config, uint32_t lanes) {
    struct house *house = calloc(1, sizeof *house);
    house->config = *config;
    house->lanes = lanes;
    house->now_ns = 1000 * WEIR_S;
    house->names = weir_names_new(65536, 16 << 20);
    house->metrics = weir_metrics_new();
    house->aggregate = weir_aggregate_new(&house->config, lanes, house->names, house->metrics, &weir_clock_system);
    memset(&house->config, 0xee, sizeof house->config); /* it may go away after the call */
    assert_non_null(house->aggregate);
    return house;
}

static inline void house_close(struct house *house) {
    weir_aggregate_free(house->aggregate);
    weir_metrics_free(house->metrics);
    weir_names_free(house->names);
    weir_buffer_free(&house->page);
    free(house);
}

/* "name|label|value|label|value" with 0x1f for the bars. */
static inline enum weir_point_verdict house_point_on(struct house *house, uint32_t lane, const char *key,
                                                     struct weir_point point) {
    uint8_t bytes[1024];
    size_t size = strlen(key);
    for (size_t i = 0; i < size; i++)
        bytes[i] = key[i] == '|' ? WEIR_KEY_SEPARATOR : (uint8_t)key[i];
    uint8_t *exact = malloc(size); /* so that a sanitizer sees a byte too many */
    memcpy(exact, bytes, size);
    point.key = exact;
    point.key_size = (uint32_t)size;
    point.hash = weir_names_hash(house->names, exact, size);
    enum weir_point_verdict verdict =
        weir_shard_point(weir_aggregate_shard(house->aggregate, lane), &point, house->now_ns);
    free(exact);
    return verdict;
}
static inline enum weir_point_verdict house_point(struct house *house, const char *key, struct weir_point point) {
    return house_point_on(house, 0, key, point);
}

static inline const char *house_page(struct house *house) {
    weir_buffer_clear(&house->page);
    weir_aggregate_expose(house->aggregate, false, &house->page);
    assert_false(house->page.failed);
    weir_buffer_byte(&house->page, 0);
    return (const char *)house->page.bytes;
}

/* The value of one line of the page, by all that stands before it; NaN when there is none. */
static inline double house_value_on(const char *page, const char *series) {
    size_t size = strlen(series);
    for (const char *at = page; at != NULL && *at != 0; at = strchr(at, '\n'), at = at == NULL ? NULL : at + 1) {
        if (strncmp(at, series, size) == 0 && at[size] == ' ') return strtod(at + size + 1, NULL);
    }
    return __builtin_nan("");
}
static inline double house_value(struct house *house, const char *series) {
    return house_value_on(house_page(house), series);
}
#define assert_series(house, series, expected)                                                                         \
    assert_double(house_value(house, series), expected, series, __FILE__, __LINE__)
static inline void assert_double(double found, double expected, const char *what, const char *file, int line) {
    if (found == expected) return;
    print_error("%s: %.17g where %.17g was expected\n", what, found, expected);
    _fail(file, line);
}
static inline bool house_has(struct house *house, const char *series) {
    double value = house_value(house, series);
    return value == value;
}

/* Weir's own numbers. */
static inline double house_own(struct house *house, const char *series) {
    struct weir_buffer out = {0};
    weir_metrics_expose(house->metrics, &out);
    weir_buffer_byte(&out, 0);
    double value = house_value_on((const char *)out.bytes, series);
    weir_buffer_free(&out);
    return value;
}

/* Ticks of 100 ms, for so long. */
static inline void house_wait(struct house *house, uint64_t ns) {
    for (uint64_t end = house->now_ns + ns; house->now_ns < end;) {
        house->now_ns += 100 * WEIR_MS;
        for (uint32_t lane = 0; lane < house->lanes; lane++)
            weir_shard_tick(weir_aggregate_shard(house->aggregate, lane), house->now_ns);
    }
}

static inline uint32_t house_name(struct house *house, const char *text) {
    return weir_names_intern(house->names, text, strlen(text));
}
static inline void house_span(struct house *house, uint32_t lane, const struct weir_span *span) {
    weir_shard_span(weir_aggregate_shard(house->aggregate, lane), span, house->now_ns);
}
#endif
