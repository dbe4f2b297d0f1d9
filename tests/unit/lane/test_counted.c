/* Spans that came from another Weir are sampled and stored as all are, and are in its series, not in these. */
#include "tests/unit/lane/rig.h"

#include "collector/attributes/rules.h"
#include "collector/config/load.h"

enum { SPANS = 40 };

static const char rules_text[] = "success:\n"
                                 "  - { service: pay, http_status: 503, success: true }\n"
                                 "exclude:\n"
                                 "  - { operation: 'GET /healthz' }\n";

static struct weir_config *rules_config;
static struct weir_rules_counts *rules_counts;
static struct weir_rules *rules;

/* Before the lanes run. */
static void judge_by_rules(void) {
    static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 2};
    struct weir_error err = {0};
    if (weir_config_parse("weir.yaml", (const uint8_t *)rules_text, sizeof rules_text - 1, &machine, &rules_config,
                          &err) != WEIR_OK)
        fail_msg("%s", err.text);
    rules_counts = weir_rules_counts_new(rig.metrics);
    assert_int_equal(weir_rules_new(rules_config, rules_counts, &rules, &err), WEIR_OK);
    rig.config->rules = rules;
}

static void free_rules(void) {
    rig.config->rules = NULL;
    weir_rules_free(rules);
    weir_rules_counts_free(rules_counts);
    weir_config_free(rules_config);
}

static unsigned long long sum_of(const char *page, const char *family) {
    unsigned long long sum = 0;
    for (const char *at = page; (at = strstr(at, family)) != NULL; at++)
        sum += strtoull(strstr(at, "} ") + 2, NULL, 10);
    return sum;
}

static struct weir_buffer page_of_series(void) {
    struct weir_buffer page = {0};
    weir_aggregate_expose(rig.aggregate, true, &page);
    weir_buffer_byte(&page, 0);
    return page;
}

static void excluded_are(unsigned count) {
    struct weir_buffer page = {0};
    char line[64];
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    snprintf(line, sizeof line, "\nweir_spans_excluded_total %u\n", count);
    if (strstr((const char *)page.bytes, line) == NULL) fail_msg("not %s", line);
    weir_buffer_free(&page);
}

static void begin(const char *policy) {
    rig_reset(2);
    rig.policy_text = policy;
    rig_build();
    judge_by_rules();
    rig_start();
}

static void end(void) {
    assert_int_equal(rig_imbalance(), 0);
    free_rules();
    rig_free();
}

/* Each span is a trace. Ten fail, five of these with a status that the team calls success; three more are probes. */
static struct weir_batch *request(bool marked) {
    struct weir_batch *batch = rig_request(SPANS, 40, "r");
    uint32_t probe = weir_names_intern(rig.names, "GET /healthz", 12);
    for (uint32_t i = 0; i < SPANS; i++) {
        struct weir_span *span = &batch->spans[i];
        if (i < 10) span->status = WEIR_STATUS_ERROR, span->kind = WEIR_KIND_UNSPECIFIED; /* as its body says */
        if (i < 5) span->http_status = 503;
        if (i >= SPANS - 3) span->operation = probe;
        if (marked) span->flags |= WEIR_SPAN_UNCOUNTED;
    }
    return batch;
}

static const char errors_only[] = "keep:\n"
                                  "  rules:\n"
                                  "    - { name: errors, when: { error: true } }\n"
                                  "    - { name: rest, rate: 0 }\n";

static void decided_alike_and_counted_once(void **state) {
    (void)state;
    begin(errors_only);
    assert_int_equal(rig_offer(0, request(true), NULL), WEIR_OK);
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(row.received[WEIR_RECEIVER_GRPC], SPANS);
    assert_int_equal(rig.spans_seen, 5); /* success is judged for the rules too */
    assert_int_equal(row.sampled_out[WEIR_STAGE_TAIL], SPANS - 5);
    struct weir_buffer page = page_of_series();
    assert_null(strstr((const char *)page.bytes, "traces_"));  /* neither series, nor edges, nor */
    assert_null(strstr((const char *)page.bytes, "trace_id")); /* exemplars of them */
    assert_null(strstr((const char *)page.bytes, "variance_total{"));
    weir_buffer_free(&page);
    excluded_are(0); /* from what? */
    end();
}

static void beside_those_that_are_counted(void **state) {
    (void)state;
    begin(errors_only);
    assert_int_equal(rig_offer(0, request(true), NULL), WEIR_OK);
    assert_int_equal(rig_offer(1, request(false), NULL), WEIR_OK);
    rig_stop();
    rig_drain();
    assert_int_equal(rig_row().received[WEIR_RECEIVER_GRPC], 2 * SPANS);
    assert_int_equal(rig.spans_seen, 10);
    struct weir_buffer page = page_of_series();
    assert_int_equal(sum_of((const char *)page.bytes, "\ntraces_spanmetrics_calls_total{"), SPANS - 3);
    assert_non_null(strstr((const char *)page.bytes, "trace_id")); /* the five kept errors' */
    weir_buffer_free(&page);
    excluded_are(3);
    end();
}

/* Thinned here: what is stored stands for more, and the count stays the sender's. */
static void thinned_after_they_were_counted(void **state) {
    (void)state;
    begin("collector: { rate: 0.25 }\n");
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(rig_offer(i % 2, request(true), NULL), WEIR_OK);
    rig_stop();
    rig_drain();
    struct weir_lane_row row = rig_row();
    assert_int_equal(rig.spans_seen + row.sampled_out[WEIR_STAGE_COLLECTOR], 20 * SPANS);
    assert_true(row.sampled_out[WEIR_STAGE_COLLECTOR] > 0);
    assert_true(rig.weight_seen == 4 * (double)rig.spans_seen);
    struct weir_buffer page = page_of_series();
    assert_null(strstr((const char *)page.bytes, "traces_"));
    weir_buffer_free(&page);
    end();
}

/* A request that is refused comes again: what rules leave out of it is counted when it is taken. */
static void excluded_when_taken(void **state) {
    (void)state;
    begin(errors_only);
    assert_int_equal(rig_offer(0, request(false), NULL), WEIR_OK);
    rig_stop();
    excluded_are(3);
    assert_int_equal(rig_offer(0, request(false), NULL), WEIR_FULL); /* the lane is closed */
    excluded_are(3);
    rig_drain();
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decided_alike_and_counted_once),
        cmocka_unit_test(beside_those_that_are_counted),
        cmocka_unit_test(thinned_after_they_were_counted),
        cmocka_unit_test(excluded_when_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
