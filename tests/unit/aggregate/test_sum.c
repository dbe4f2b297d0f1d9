#include "house.h"

#include <stdio.h>

#define COUNT(labels) (uint32_t)(sizeof(labels) / sizeof *(labels))

static struct house *house_of_lanes(void) {
    struct weir_aggregate_config config = house_config();
    return house_open(&config, 2);
}

static struct weir_sum sum_of(struct house *house, const char *family, const struct weir_label_match *labels,
                              uint32_t count) {
    struct weir_sum sum = {.family = family, .labels = labels, .label_count = count};
    weir_aggregate_sums(house->aggregate, &sum, 1);
    return sum;
}

static void counters_are_summed_over_lanes_and_over_labels_that_are_not_asked_for(void **state) {
    (void)state;
    struct house *house = house_of_lanes();
    const struct weir_label_match front[] = {{"prefix", "front"}}, both[] = {{"code", "200"}, {"prefix", "front"}},
                                  none[] = {{"prefix", "fron"}};
    struct weir_point point = {.kind = WEIR_POINT_COUNT, .value = 3};
    house_point_on(house, 0, "rq|code|200|prefix|front", point);
    point.value = 4;
    house_point_on(house, 1, "rq|code|200|prefix|front", point);
    house_point_on(house, 1, "rq|code|500|prefix|front", point);
    house_point_on(house, 0, "rq|code|200|prefix|back", point);
    house_point_on(house, 0, "rq_more|code|200|prefix|front", point);
    struct weir_sum sum = sum_of(house, "rq_total", front, COUNT(front));
    assert_true(sum.found);
    assert_true(sum.value == 11);
    assert_true(sum_of(house, "rq_total", both, COUNT(both)).value == 7);
    assert_true(sum_of(house, "rq_total", NULL, 0).value == 15);
    assert_false(sum_of(house, "rq_total", none, COUNT(none)).found);
    assert_false(sum_of(house, "rq", NULL, 0).found);
    house_close(house);
}

static void calls_and_their_variance_are_those_of_the_page(void **state) {
    (void)state;
    struct house *house = house_of_lanes();
    const struct weir_label_match served[] = {{"service", "cart"}, {"span_kind", "SPAN_KIND_SERVER"}};
    struct weir_span span = {.trace_lo = 1,
                             .span_id = 2,
                             .prior = 10,
                             .service = house_name(house, "cart"),
                             .operation = house_name(house, "GET /"),
                             .kind = WEIR_KIND_SERVER};
    house_span(house, 0, &span);
    span.trace_lo = 2;
    span.operation = house_name(house, "POST /");
    house_span(house, 1, &span);
    span.kind = WEIR_KIND_CLIENT;
    house_span(house, 1, &span);
    assert_true(sum_of(house, "traces_spanmetrics_calls_total", served, 2).value == 20);
    assert_true(sum_of(house, "weir_spanmetrics_calls_variance_total", served, 2).value == 180);
    assert_true(sum_of(house, "weir_spanmetrics_service_variance_total", served, 2).value == 180);
    span.kind = WEIR_KIND_SERVER;
    span.operation =
        house_name(house, "GET /"); /* the second of its trace in its service, the first of its operation */
    house_span(house, 1, &span);
    assert_true(sum_of(house, "weir_spanmetrics_calls_variance_total", served, 2).value == 270);
    assert_true(sum_of(house, "weir_spanmetrics_service_variance_total", served, 2).value == 450);
    assert_true(sum_of(house, "traces_spanmetrics_calls_total", served, 1).value == 40);
    house_close(house);
}

static void several_questions_take_one_walk_and_old_answers_are_gone(void **state) {
    (void)state;
    struct house *house = house_of_lanes();
    struct weir_point point = {.kind = WEIR_POINT_COUNT, .value = 3};
    house_point(house, "a|x|1", point);
    struct weir_sum sums[] = {{.family = "a_total", .value = 77}, {.family = "b_total", .value = 77, .found = true}};
    weir_aggregate_sums(house->aggregate, sums, 2);
    assert_true(sums[0].value == 3 && sums[0].found);
    assert_true(sums[1].value == 0 && !sums[1].found);
    house_close(house);
}

/* Some share their family, some their first label, some all of it: each has what it would have alone. */
static void hundreds_of_questions_are_answered_as_each_alone(void **state) {
    (void)state;
    enum { PREFIXES = 100, CODES = 3, QUESTIONS = 2 * PREFIXES * CODES + 2 };
    struct weir_aggregate_config config = house_config();
    config.series_per_metric_max = 1000;
    struct house *house = house_open(&config, 2);
    static char prefixes[PREFIXES][8], line[1024];
    static const char *const codes[CODES] = {"200", "404", "500"};
    static struct weir_label_match labels[QUESTIONS][2];
    static struct weir_sum sums[QUESTIONS];
    uint32_t asked = 0;
    for (uint32_t i = 0; i < PREFIXES; i++) {
        snprintf(prefixes[i], sizeof prefixes[i], "p%u", i);
        for (uint32_t c = 0; c < CODES; c++) {
            snprintf(line, sizeof line, "rq|code|%s|prefix|%s", codes[c], prefixes[i]);
            house_point_on(house, i % 2, line,
                           (struct weir_point){.kind = WEIR_POINT_COUNT, .value = 1 + i * CODES + c});
            for (int turned = 0; turned < 2; turned++, asked++) {
                labels[asked][turned] = (struct weir_label_match){"prefix", prefixes[i]};
                labels[asked][1 - turned] = (struct weir_label_match){"code", codes[c]};
                sums[asked] = (struct weir_sum){.family = "rq_total", .labels = labels[asked], .label_count = 2};
            }
        }
    }
    sums[asked++] = (struct weir_sum){.family = "rq_total"};
    sums[asked++] = (struct weir_sum){.family = "other_total", .labels = labels[0], .label_count = 1};
    weir_aggregate_sums(house->aggregate, sums, QUESTIONS);
    for (uint32_t i = 0; i + 2 < QUESTIONS; i++)
        assert_true(sums[i].found && sums[i].value == 1 + i / 2);
    assert_true(sums[QUESTIONS - 2].value == PREFIXES * CODES * (PREFIXES * CODES + 1) / 2.0);
    assert_false(sums[QUESTIONS - 1].found);
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_summed_over_lanes_and_over_labels_that_are_not_asked_for),
        cmocka_unit_test(calls_and_their_variance_are_those_of_the_page),
        cmocka_unit_test(hundreds_of_questions_are_answered_as_each_alone),
        cmocka_unit_test(several_questions_take_one_walk_and_old_answers_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
