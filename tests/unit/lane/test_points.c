#include "collector/lane/points.h"
#include "tests/unit/lane/rig.h"

/* ---- the block ---- */

static void doubles(uint8_t *to, const double *values, size_t count) {
    memcpy(to, values, count * 8);
}

static void deep_copies_read_back(void **state) {
    (void)state;
    uint8_t bounds[16], counts[24], positive[32], negative[8], quantiles[8], values[8];
    doubles(bounds, (double[]){0.5, 1}, 2);
    memcpy(counts, (uint64_t[]){1, 2, 3}, 24);
    memcpy(positive, (uint64_t[]){4, 5, 6, 7}, 32);
    memcpy(negative, (uint64_t[]){8}, 8);
    doubles(quantiles, (double[]){0.99}, 1);
    doubles(values, (double[]){12.5}, 1);
    struct weir_point_data histogram = {
        .count = 6, .sum = 9.5, .has_sum = true, .bounds = bounds, .counts = counts, .bound_count = 2};
    struct weir_point_data exponential = {.count = 31,
                                          .scale = 3,
                                          .positive_offset = -2,
                                          .positive_count = 4,
                                          .negative_count = 1,
                                          .positive = positive,
                                          .negative = negative,
                                          .zero_count = 1};
    struct weir_point_data summary = {
        .count = 7, .sum = 70, .has_sum = true, .bounds = quantiles, .counts = values, .bound_count = 1};
    struct weir_point_data empty = {.count = 2};
    char keys[5][8] = {"gauge", "h", "expo", "sum", ""};
    struct weir_point points[5] = {
        {.hash = 1, .kind = WEIR_POINT_GAUGE, .value = -1.5, .weight = 1},
        {.hash = 2,
         .kind = WEIR_POINT_HISTOGRAM,
         .cumulative = true,
         .start_ns = 10,
         .time_ns = 20,
         .data = &histogram},
        {.hash = 3, .kind = WEIR_POINT_EXPONENTIAL, .cumulative = true, .data = &exponential},
        {.hash = 4, .kind = WEIR_POINT_SUMMARY, .data = &summary},
        {.hash = 5, .kind = WEIR_POINT_HISTOGRAM, .data = &empty},
    };
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_points *block = weir_points_new(&budget, WEIR_RECEIVER_STATSD);
    for (int i = 0; i < 5; i++) {
        points[i].key = (const uint8_t *)keys[i];
        points[i].key_size = (uint32_t)strlen(keys[i]);
        assert_true(weir_points_add(block, &points[i]));
    }
    memset(keys, 0, sizeof keys); /* the block is by itself */
    memset(bounds, 0, sizeof bounds), memset(counts, 0, sizeof counts), memset(positive, 0, sizeof positive);
    memset(negative, 0, sizeof negative), memset(quantiles, 0, sizeof quantiles), memset(values, 0, sizeof values);
    histogram = exponential = summary = empty = (struct weir_point_data){0};

    assert_int_equal(block->count, 5);
    struct weir_point point;
    struct weir_point_data data;
    size_t at = 0;
    uint64_t word;
    double number;
    assert_true(weir_points_next(block, &at, &point, &data));
    assert_int_equal(point.hash, 1);
    assert_true(point.value == -1.5);
    assert_memory_equal(point.key, "gauge", 5);
    assert_null(point.data);
    assert_true(weir_points_next(block, &at, &point, &data));
    assert_int_equal(point.hash, 2);
    assert_ptr_equal(point.data, &data);
    assert_true(data.has_sum && data.sum == 9.5);
    assert_int_equal(point.time_ns, 20);
    memcpy(&number, data.bounds + 8, 8);
    assert_true(number == 1);
    memcpy(&word, data.counts + 16, 8);
    assert_int_equal(word, 3);
    assert_true(weir_points_next(block, &at, &point, &data));
    assert_int_equal(data.positive_offset, -2);
    memcpy(&word, data.positive + 24, 8);
    assert_int_equal(word, 7);
    memcpy(&word, data.negative, 8);
    assert_int_equal(word, 8);
    assert_true(weir_points_next(block, &at, &point, &data));
    memcpy(&number, data.counts, 8);
    assert_true(number == 12.5);
    assert_true(weir_points_next(block, &at, &point, &data));
    assert_int_equal(point.key_size, 0);
    assert_int_equal(data.count, 2);
    assert_null(data.bounds);
    assert_null(data.counts);
    assert_false(weir_points_next(block, &at, &point, &data));
    weir_points_free(block);
    weir_points_free(NULL);
    assert_int_equal(budget.used_bytes, 0);
}

static void a_block_is_bounded(void **state) {
    (void)state;
    struct weir_budget budget = {.limit_bytes = sizeof(struct weir_points) + WEIR_POINTS_BYTES_MAX};
    struct weir_points *block = weir_points_new(&budget, 0);
    assert_null(weir_points_new(&budget, 0)); /* the budget is used up */
    static uint8_t key[WEIR_POINTS_BYTES_MAX];
    struct weir_point point = {.kind = WEIR_POINT_GAUGE, .key = key, .key_size = 1000};
    uint32_t added = 0;
    while (weir_points_add(block, &point))
        added++;
    assert_in_range(added, 200, 262);
    assert_int_equal(block->count, added);
    assert_true(block->size <= block->capacity);
    struct weir_point got;
    struct weir_point_data data;
    uint32_t read = 0;
    for (size_t at = 0; weir_points_next(block, &at, &got, &data);)
        read++;
    assert_int_equal(read, added);
    weir_points_free(block);
    block = weir_points_new(&budget, 0);
    point.key_size = sizeof key; /* larger than any block */
    assert_false(weir_points_add(block, &point));
    assert_int_equal(block->count, 0);
    weir_points_free(block);
    assert_int_equal(budget.used_bytes, 0);
}

/* ---- across lanes ---- */

struct sample {
    const char *key; /* a name without labels is its own canonical key */
    enum weir_point_kind kind;
    double value;
    bool taken;
};

static void give_sample(struct weir_sink *sink, void *argument) {
    struct sample *sample = argument;
    struct weir_point point = {.key = (const uint8_t *)sample->key,
                               .key_size = (uint32_t)strlen(sample->key),
                               .kind = (uint8_t)sample->kind,
                               .value = sample->value,
                               .weight = 1};
    point.hash = weir_names_hash(rig.names, point.key, point.key_size);
    sample->taken = sink->point(sink->self, WEIR_RECEIVER_STATSD, &point);
}

static double series_value(const char *name) {
    struct weir_buffer page = {0};
    char line[80];
    weir_aggregate_expose(rig.aggregate, false, &page);
    weir_buffer_byte(&page, 0);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr((const char *)page.bytes, line);
    if (at == NULL) fail_msg("no series %s in\n%s", name, (const char *)page.bytes);
    double value = strtod(at + strlen(line), NULL);
    weir_buffer_free(&page);
    return value;
}

static void gauges_meet_at_their_owner(void **state) {
    (void)state;
    rig_reset(4);
    rig_build();
    rig_start();
    char name[32];
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 40; i++) {
            snprintf(name, sizeof name, "gauge_%d", i);
            struct sample gauge = {.key = name, .kind = WEIR_POINT_GAUGE, .value = round * 100 + i};
            rig_on_lane((uint32_t)(i + round) % 4, give_sample, &gauge); /* another lane each time */
            assert_true(gauge.taken);
        }
        for (int i = 0; i < 40; i++) {
            struct sample count = {.key = "counted_total", .kind = WEIR_POINT_COUNT, .value = 2};
            rig_on_lane((uint32_t)i % 4, give_sample, &count);
        }
        rig_rounds();
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "gauge_%d", i);
        assert_true(series_value(name) == 300 + i); /* the last, not a sum over lanes */
    }
    assert_true(series_value("counted_total") == 240);
    rig_rounds();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.points_received[WEIR_RECEIVER_STATSD], 240);
    assert_int_equal(row.points_handed_over, row.points_taken_over);
    assert_in_range(row.points_handed_over, 70, 110); /* of 120 gauges three quarters */
    assert_int_equal(rig_value("weir_points_held "), 0);
    rig_stop();
    rig_free();
}

static void no_room_on_the_way_is_counted(void **state) {
    (void)state;
    rig_reset(2);
    rig.intake_bytes = 100 * 1024; /* no block fits */
    rig_build();
    rig_start();
    unsigned taken = 0, refused = 0;
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "gauge_%d", i);
        struct sample gauge = {.key = name, .kind = WEIR_POINT_GAUGE, .value = i};
        rig_on_lane(0, give_sample, &gauge);
        taken += gauge.taken;
        refused += !gauge.taken;
    }
    rig_rounds();
    assert_true(taken > 0 && refused > 0);
    assert_int_equal(rig_value("weir_points_received_total{receiver=\"statsd\"} "), 40);
    assert_int_equal(rig_value("weir_points_rejected_total{receiver=\"statsd\",reason=\"full\"} "), refused);
    assert_int_equal(rig_value("weir_points_held "), 0);
    rig_stop();
    rig_free();
}

static void points_before_a_stop_arrive(void **state) {
    (void)state;
    enum { MANY = 20000 };
    rig_reset(2);
    rig_build(); /* not started: the other lane takes nothing */
    unsigned taken = 0;
    for (uint32_t lane = 0; lane < 2; lane++) {
        while (rig_offer(lane, rig_request(8, 40, "r"), NULL) == WEIR_OK) { /* until the ring is full */
        }
    }
    for (int i = 0; i < MANY; i++) {
        struct sample set = {.key = "sum_of_changes", .kind = WEIR_POINT_GAUGE_ADD, .value = 1};
        rig_on_lane((uint32_t)i % 2, give_sample, &set);
        taken += set.taken;
    }
    assert_in_range(taken, MANY / 2 + 1, MANY - 1); /* the owner's own, and one block that waits for the ring */
    rig_start();
    rig_stop();
    assert_true(series_value("sum_of_changes") == taken);
    assert_int_equal(rig_value("weir_points_held "), 0);
    assert_int_equal(rig_value("weir_points_rejected_total{receiver=\"statsd\",reason=\"full\"} "), MANY - taken);
    rig_free();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_copies_read_back),       cmocka_unit_test(a_block_is_bounded),
        cmocka_unit_test(gauges_meet_at_their_owner),  cmocka_unit_test(no_room_on_the_way_is_counted),
        cmocka_unit_test(points_before_a_stop_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
