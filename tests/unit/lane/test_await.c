/* What waits for a root, how long, and in how much memory. */
#include "collector/core/clock.h"
#include "collector/lane/await.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BODY = 400 };

static struct {
    struct weir_metrics *metrics;
    struct weir_await *await;
    struct weir_weight_config config;
    struct weir_batch *batch; /* one span, whose view is written anew */
    uint64_t now_ns;
    unsigned went_on, held;
    double weight;
    enum weir_weight_source source; /* of the last */
} rig;

static void go_on(void *self, struct weir_batch *batch, uint32_t i, const struct weir_said_weight *said) {
    assert_ptr_equal(self, &rig);
    assert_int_equal(i, 0);
    for (int k = 0; k < BODY; k++)
        assert_int_equal(batch->bytes[k], (uint8_t)batch->spans[0].span_id);
    assert_ptr_equal(batch->origins[0], rig.batch->origins[0]);
    assert_true(rig.held > 0);
    rig.held--;
    rig.went_on++;
    rig.weight += said->prior;
    rig.source = said->source;
}

static void set_up(uint64_t memory_bytes) {
    memset(&rig, 0, sizeof rig);
    rig.metrics = weir_metrics_new();
    rig.config = (struct weir_weight_config){.wait_ns = 10 * WEIR_S, .memory_bytes = memory_bytes};
    rig.now_ns = 1000 * WEIR_S;
    rig.await = weir_await_new(&(struct weir_await_env){.metrics = rig.metrics, .go_on = go_on, .self = &rig});
    assert_non_null(rig.await);
    rig.batch = weir_batch_new(NULL, BODY);
    struct weir_origins *table = weir_origins_new(1);
    struct weir_origin_parts parts = {.resource = (const uint8_t *)"r", .resource_size = 1};
    int is_new;
    uint16_t index;
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    assert_int_equal(weir_batch_origin(rig.batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    weir_origins_free(table);
    assert_int_equal(weir_batch_room(rig.batch, BODY), WEIR_OK);
    rig.batch->size = BODY;
    struct weir_span span = {.size = BODY, .prior = 1};
    assert_int_equal(weir_batch_add(rig.batch, &span), WEIR_OK);
}

static void tear_down(void) {
    weir_await_free(rig.await);
    weir_metrics_free(rig.metrics);
    weir_batch_unref(rig.batch);
}

static struct weir_said_weight offer(uint64_t trace, uint64_t id, enum weir_await_verdict wanted) {
    struct weir_said_weight said;
    rig.batch->spans[0].trace_lo = trace;
    rig.batch->spans[0].span_id = id;
    memset(rig.batch->bytes, (int)(uint8_t)id, BODY);
    if (wanted == WEIR_AWAIT_WAITS) rig.held++;
    enum weir_await_verdict verdict = weir_await_offer(rig.await, &rig.config, rig.batch, 0, rig.now_ns, &said);
    assert_int_equal(verdict, wanted);
    return said;
}

static void tell(uint64_t trace, double prior, enum weir_weight_source source) {
    struct weir_span root = {.trace_lo = trace};
    struct weir_said_weight said = {.prior = prior, .source = source};
    weir_await_tell(rig.await, &rig.config, &root, &said, rig.now_ns);
}

static double metric(const char *sample) {
    struct weir_buffer out = {0};
    weir_metrics_expose(rig.metrics, &out);
    weir_buffer_byte(&out, 0);
    const char *at = strstr((const char *)out.bytes, sample);
    assert_non_null(at);
    double value = strtod(at + strlen(sample), NULL);
    weir_buffer_free(&out);
    return value;
}

static void a_root_is_waited_for_and_remembered(void **state) {
    (void)state;
    set_up(1 << 20);
    offer(1, 10, WEIR_AWAIT_WAITS);
    offer(1, 11, WEIR_AWAIT_WAITS);
    offer(2, 20, WEIR_AWAIT_WAITS);
    tell(1, 8, WEIR_WEIGHT_POLICY);
    assert_int_equal(rig.went_on, 2);
    assert_true(rig.weight == 16 && rig.source == WEIR_WEIGHT_POLICY);
    struct weir_said_weight said = offer(1, 12, WEIR_AWAIT_KNOWN);
    assert_true(said.prior == 8 && said.source == WEIR_WEIGHT_POLICY);
    /* A server under its client's id: it is a root that knows nothing. */
    tell(1, 0, WEIR_WEIGHT_UNKNOWN);
    assert_true(offer(1, 13, WEIR_AWAIT_KNOWN).prior == 8);
    tell(2, 0, WEIR_WEIGHT_UNKNOWN);
    assert_int_equal(rig.went_on, 3);
    said = offer(2, 21, WEIR_AWAIT_KNOWN);
    assert_true(said.prior == 0 && said.source == WEIR_WEIGHT_UNKNOWN);
    tell(2, 5, WEIR_WEIGHT_TRACE); /* the other way round */
    said = offer(2, 22, WEIR_AWAIT_KNOWN);
    assert_true(said.prior == 5 && said.source == WEIR_WEIGHT_TRACE);
    tear_down();
}

static void patience_ends(void **state) {
    (void)state;
    set_up(1 << 20);
    offer(1, 10, WEIR_AWAIT_WAITS);
    rig.now_ns += 6 * WEIR_S;
    offer(2, 20, WEIR_AWAIT_WAITS);
    rig.now_ns += 4 * WEIR_S;
    weir_await_tick(rig.await, &rig.config, rig.now_ns);
    assert_int_equal(rig.held, 1);
    assert_int_equal(rig.source, WEIR_WEIGHT_UNKNOWN);
    assert_true(metric("weir_weight_released_total{cause=\"timeout\"} ") == 1);
    weir_await_drain(rig.await);
    assert_int_equal(rig.held, 0);
    assert_true(metric("weir_weight_released_total{cause=\"drain\"} ") == 1);
    assert_true(metric("\nweir_weight_held_bytes ") == 0);
    rig.config.wait_ns = 0;
    offer(3, 30, WEIR_AWAIT_KNOWN);
    tear_down();
}

static void memory_is_bounded(void **state) {
    (void)state;
    enum { MEMORY = 256 * 1024, SPANS = 5000 };
    set_up(MEMORY);
    for (uint64_t i = 0; i < SPANS; i++) {
        offer(i, i, WEIR_AWAIT_WAITS);
        assert_true(metric("\nweir_weight_held_bytes ") <= MEMORY);
    }
    assert_int_equal(rig.held + rig.went_on, SPANS);
    assert_true(rig.held > 100 && rig.went_on > 4000);
    assert_true(metric("weir_weight_released_total{cause=\"memory\"} ") == rig.went_on);
    rig.config.memory_bytes = 32 * 1024; /* a reload: what its tables take is more than that */
    offer(SPANS, 1, WEIR_AWAIT_KNOWN);
    tear_down(); /* with what waits */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_root_is_waited_for_and_remembered),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
