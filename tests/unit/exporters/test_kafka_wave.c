/* Waves of messages: what opens one, what closes it, and that no partition gets more than a request of it. */
#include "collector/core/clock.h"
#include "exporters/kafka/wave.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { REQUEST = 16000, OF_IT = 15000 };

static struct weir_kafka_wave wave;

static int begin(void **state) {
    (void)state;
    weir_kafka_wave_begin(&wave, 20 * WEIR_MS, REQUEST);
    return 0;
}

static void time_closes_it(void **state) {
    (void)state;
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    assert_false(weir_kafka_wave_add(&wave, 0, 100));
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S + 15 * WEIR_MS - 1, 1));
    assert_false(weir_kafka_wave_add(&wave, 0, 100));
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S + 15 * WEIR_MS, 2)); /* librdkafka sends at 20 ms */
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S + 1, 1));            /* and it stays closed */
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S + 900 * WEIR_MS, 0)); /* until all is reported */
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S + 914 * WEIR_MS, 1)); /* for as long again */
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S + 915 * WEIR_MS, 1));
}

static void a_partition_closes_it(void **state) {
    (void)state;
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    for (int32_t partition = 0; partition < 200; partition++)
        assert_false(weir_kafka_wave_add(&wave, partition, OF_IT - 100));
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 200));
    assert_true(weir_kafka_wave_add(&wave, 7, 100)); /* said once, for the flush */
    assert_false(weir_kafka_wave_add(&wave, 7, 100));
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S, 202));
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    assert_false(weir_kafka_wave_add(&wave, 7, OF_IT - 100)); /* its sum began anew */
}

static void more_partitions_than_sums(void **state) {
    (void)state;
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    assert_false(weir_kafka_wave_add(&wave, INT32_MAX, OF_IT / 2));
    assert_true(weir_kafka_wave_add(&wave, INT32_MAX - WEIR_KAFKA_WAVE_SUMS, OF_IT / 2));
}

static void a_partition_that_is_not_known_has_no_sum(void **state) {
    (void)state;
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    for (uint64_t i = 1; i < 1000; i++) {
        assert_false(weir_kafka_wave_add(&wave, -1, OF_IT));
        assert_true(weir_kafka_wave_takes(&wave, WEIR_S, i));
    }
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S + 15 * WEIR_MS, 999));
}

static void without_lingering_it_is_open_for_some_time(void **state) {
    (void)state;
    weir_kafka_wave_begin(&wave, 0, REQUEST);
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S, 0));
    assert_true(weir_kafka_wave_takes(&wave, WEIR_S + WEIR_MS, 1));
    assert_false(weir_kafka_wave_takes(&wave, WEIR_S + 2 * WEIR_MS, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(time_closes_it, begin),
        cmocka_unit_test_setup(a_partition_closes_it, begin),
        cmocka_unit_test_setup(more_partitions_than_sums, begin),
        cmocka_unit_test_setup(a_partition_that_is_not_known_has_no_sum, begin),
        cmocka_unit_test_setup(without_lingering_it_is_open_for_some_time, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
