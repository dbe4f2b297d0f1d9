#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/core/clock.h"
#include "collector/sample/meter.h"

#include <pthread.h>
#include <string.h>

enum { LOADS_MAX = WEIR_METER_OPERATIONS + 1 };
static struct weir_control_load loads[LOADS_MAX];
static uint32_t load_count;

static void note(void *self, const struct weir_control_load *load) {
    (void)self;
    assert_true(load_count < LOADS_MAX);
    loads[load_count++] = *load;
}

/* What was added since the last time, as of a tick now. */
static void take(struct weir_meter *meter, uint64_t now_ns) {
    load_count = 0;
    memset(loads, 0, sizeof loads);
    weir_meter_tick(meter, now_ns);
    weir_meter_take(meter, note, NULL);
}

static const struct weir_control_load *of(uint32_t service, uint32_t operation) {
    for (uint32_t i = 0; i < load_count; i++) {
        if (loads[i].service == service && loads[i].operation == operation) return &loads[i];
    }
    static const struct weir_control_load none;
    return &none;
}

static struct weir_span span_of(uint64_t trace, uint32_t service, uint32_t operation) {
    return (struct weir_span){.trace_lo = trace, .prior = 1, .size = 100, .service = service, .operation = operation};
}

static struct weir_span root_of(uint64_t trace, uint32_t service, uint32_t operation, double prior) {
    struct weir_span root = span_of(trace, service, operation);
    root.flags = WEIR_SPAN_ROOT;
    root.prior = prior;
    root.duration_ns = 250 * WEIR_MS;
    return root;
}

static void spans_belong_to_the_operation_of_their_root(void **state) {
    (void)state;
    struct weir_meter *meter = weir_meter_new();
    struct weir_span child = span_of(1, 20, 21), root = root_of(1, 10, 11, 8), other = root_of(2, 10, 12, 1);
    weir_meter_span(meter, &child, WEIR_S); /* before its root */
    take(meter, WEIR_S);
    assert_int_equal(load_count, 0);
    weir_meter_span(meter, &root, WEIR_S);
    weir_meter_span(meter, &child, WEIR_S); /* after it */
    weir_meter_span(meter, &other, WEIR_S);
    take(meter, WEIR_S);
    assert_int_equal(load_count, 2);
    const struct weir_control_load *load = of(10, 11);
    assert_true(load->roots == 1 && load->traces == 8 && load->spans == 3 && load->bytes == 300);
    assert_true(load->seconds == 2 && load->errors == 0 && load->decided == 0);
    assert_true(of(10, 12)->spans == 1 && of(10, 12)->traces == 1);
    /* Later than what was taken, and only that. */
    weir_meter_span(meter, &child, 2 * WEIR_S);
    weir_meter_decided(meter, 10, 11, true);
    weir_meter_decided(meter, 10, 11, false);
    take(meter, 2 * WEIR_S);
    load = of(10, 11);
    assert_true(load->roots == 0 && load->spans == 1 && load->kept == 1 && load->decided == 2);
    take(meter, 3 * WEIR_S);
    assert_int_equal(load_count, 0);
    weir_meter_free(meter);
}

static void an_error_counts_its_trace_once(void **state) {
    (void)state;
    struct {
        bool before, at_root, after;
        double errors;
    } rows[] = {{false, false, false, 0}, {true, false, false, 4}, {false, true, false, 4}, {false, false, true, 4},
                {true, true, true, 4},    {true, false, true, 4},  {false, true, true, 4}};
    struct weir_meter *meter = weir_meter_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_span root = root_of(100 + i, 10, 11, 4), child = span_of(100 + i, 20, 21);
        child.status = rows[i].before ? WEIR_STATUS_ERROR : WEIR_STATUS_OK;
        weir_meter_span(meter, &child, WEIR_S);
        weir_meter_span(meter, &child, WEIR_S);
        root.status = rows[i].at_root ? WEIR_STATUS_ERROR : WEIR_STATUS_OK;
        weir_meter_span(meter, &root, WEIR_S);
        child.status = rows[i].after ? WEIR_STATUS_ERROR : WEIR_STATUS_OK;
        weir_meter_span(meter, &child, WEIR_S);
        weir_meter_span(meter, &child, WEIR_S);
        take(meter, WEIR_S);
        assert_true(of(10, 11)->errors == rows[i].errors);
        assert_true(of(10, 11)->spans == 5);
    }
    weir_meter_free(meter);
}

/* A client and a server share an id in B3: both came as roots, and there was one trace. */
static void a_trace_has_one_root(void **state) {
    (void)state;
    struct weir_meter *meter = weir_meter_new();
    struct weir_span client = root_of(1, 10, 11, 2), server = root_of(1, 20, 21, 2);
    weir_meter_span(meter, &client, WEIR_S);
    weir_meter_span(meter, &server, WEIR_S);
    take(meter, WEIR_S);
    assert_int_equal(load_count, 1);
    assert_true(of(10, 11)->roots == 1 && of(10, 11)->traces == 2 && of(10, 11)->spans == 2);
    weir_meter_free(meter);
}

static void what_has_no_room_is_one_operation(void **state) {
    (void)state;
    struct weir_meter *meter = weir_meter_new();
    enum { MORE = 50 };
    for (uint32_t i = 0; i < WEIR_METER_OPERATIONS + MORE; i++) {
        struct weir_span root = root_of(i, 10, 100 + i, 2);
        weir_meter_span(meter, &root, WEIR_S);
    }
    take(meter, WEIR_S);
    assert_int_equal(load_count, WEIR_METER_OPERATIONS + 1);
    const struct weir_control_load *rest = of(WEIR_NAME_OVERFLOW, WEIR_NAME_OVERFLOW);
    assert_true(rest->roots == MORE && rest->traces == 2 * MORE && rest->spans == MORE);
    /* After some minutes those that nobody asks for make room; one that is asked for stays. */
    uint64_t now_ns = WEIR_S;
    for (int minute = 0; minute < 4; minute++) {
        for (int tick = 0; tick < 600; tick++) {
            now_ns += 100 * WEIR_MS;
            struct weir_span root = root_of(1000000 + now_ns, 10, 100, 1);
            weir_meter_span(meter, &root, now_ns);
            root = root_of(2000000 + now_ns, 10, 100000, 1);
            weir_meter_span(meter, &root, now_ns);
            weir_meter_tick(meter, now_ns);
        }
        take(meter, now_ns);
        assert_true(of(10, 100)->roots == 600);
    }
    assert_true(of(10, 100000)->roots == 600);
    assert_int_equal(load_count, 2);
    weir_meter_free(meter);
}

/* Far more traces at a time than are remembered: nothing is counted twice, and what is forgotten is said. */
static void what_is_forgotten_is_counted(void **state) {
    (void)state;
    struct weir_meter *meter = weir_meter_new();
    enum { TRACES = 4 * WEIR_METER_TRACES };
    for (uint64_t i = 0; i < TRACES; i++) {
        struct weir_span child = span_of(i, 20, 21);
        weir_meter_span(meter, &child, WEIR_S + i);
    }
    uint64_t rootless = weir_meter_rootless(meter);
    assert_true(rootless >= TRACES - WEIR_METER_TRACES);
    for (uint64_t i = 0; i < TRACES; i++) {
        struct weir_span root = root_of(i, 10, 11, 3);
        weir_meter_span(meter, &root, 2 * WEIR_S + i);
    }
    take(meter, 2 * WEIR_S);
    assert_true(of(10, 11)->roots == TRACES && of(10, 11)->traces == 3.0 * TRACES);
    assert_true(of(10, 11)->spans + (double)weir_meter_rootless(meter) == 2.0 * TRACES);
    /* Those that are there are lost after a while without a root. */
    struct weir_span alone = span_of(TRACES + 1, 20, 21);
    rootless = weir_meter_rootless(meter);
    weir_meter_span(meter, &alone, 3 * WEIR_S);
    for (uint64_t second = 3; second < 200; second++)
        weir_meter_tick(meter, second * WEIR_S);
    assert_int_equal(weir_meter_rootless(meter), rootless + 1);
    weir_meter_free(meter);
}

/* ---- threads ---- */

enum { WRITTEN = 200000 };

static void *write_spans(void *argument) {
    struct weir_meter *meter = argument;
    for (uint64_t i = 0; i < WRITTEN; i++) {
        struct weir_span root = root_of(i, 10, 11 + (uint32_t)(i % 7), 2);
        weir_meter_span(meter, &root, i * 1000);
        if (i % 100 == 0) weir_meter_tick(meter, i * 1000);
    }
    weir_meter_tick(meter, WRITTEN * 1000ull);
    return NULL;
}

static void add_up(void *self, const struct weir_control_load *load) {
    *(double *)self += load->traces;
}

static void another_thread_takes(void **state) {
    (void)state;
    struct weir_meter *meter = weir_meter_new();
    pthread_t writer;
    double traces = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_spans, meter), 0);
    for (int i = 0; i < 1000; i++)
        weir_meter_take(meter, add_up, &traces);
    pthread_join(writer, NULL);
    weir_meter_take(meter, add_up, &traces);
    assert_true(traces == 2.0 * WRITTEN);
    weir_meter_free(meter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_belong_to_the_operation_of_their_root),
        cmocka_unit_test(an_error_counts_its_trace_once),
        cmocka_unit_test(a_trace_has_one_root),
        cmocka_unit_test(what_has_no_room_is_one_operation),
        cmocka_unit_test(what_is_forgotten_is_counted),
        cmocka_unit_test(another_thread_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
