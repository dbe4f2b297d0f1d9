/* steered.h - lanes with a board (rig.h), proxies that follow it, and spans as those send them. */
#ifndef TESTS_UNIT_LANE_STEERED_H
#define TESTS_UNIT_LANE_STEERED_H
#include "tests/unit/lane/rig.h"

#include "collector/decode/span_writer.h"

static struct steered {
    struct weir_otlp *otlp;
    uint64_t next_id;
} steered;

#define TELLS_PROXIES "proxies: { default: { rate: 1 } }\n"

static inline void steered_build_with(uint32_t lanes, const char *policy) {
    rig_reset(lanes);
    rig.policy_text = policy;
    rig.steers = true;
    rig_build();
    steered.next_id = 1;
    steered.otlp = weir_otlp_new(rig.names);
    assert_non_null(steered.otlp);
}

static inline void steered_build(uint32_t lanes) {
    steered_build_with(lanes, TELLS_PROXIES);
}

static inline void steered_free(void) {
    weir_otlp_free(steered.otlp);
    rig_free();
}

/* Whoever follows has this rate from now on; the node is one of the service that rig.h names. */
static inline void steered_follow(const char *node, double rate) {
    struct weir_plan_service fallback = {.rate.rate = rate, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(rig.names, 1, &fallback, NULL, 0);
    assert_non_null(plan);
    struct weir_follower follower = {WEIR_FOLLOW_RTDS, node, rig.service};
    weir_steering_publish(rig.steering, plan, NULL, 0, false, NULL);
    weir_steering_told(rig.steering, &follower, plan);
    weir_steering_answered(rig.steering, &follower, plan->version, NULL);
    weir_plan_unref(plan);
}

/* The same, of clients of the service that ask for it, and are trusted. */
static inline void steered_follow_by_polling(double rate) {
    struct weir_plan_service fallback = {.rate.rate = rate, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(rig.names, 1, &fallback, NULL, 0);
    assert_non_null(plan);
    struct weir_follower follower = {WEIR_FOLLOW_POLL, "10.0.0.1", rig.service};
    weir_steering_publish(rig.steering, plan, NULL, 0, true, NULL);
    weir_steering_told(rig.steering, &follower, plan);
    weir_plan_unref(plan);
}

struct steered_span {
    uint64_t trace;
    bool root;
    const char *node, *request_id; /* NULL: not said */
    uint64_t start_ns;             /* 0: now */
    double carried;                /* weir.prior_weight; 0: none */
    double by_probability;         /* as a client of Jaeger's records it, in roots */
    uint16_t more_flags;
    uint32_t filler;
    uint8_t receiver; /* 0: grpc */
};

static inline struct weir_batch *steered_batch(void) {
    struct weir_batch *batch = weir_batch_new(&rig.intake, 0);
    assert_non_null(batch);
    return batch;
}

static inline void steered_text(struct weir_span_writer *writer, const char *key, const char *value) {
    weir_span_text(writer, key, strlen(key), value, strlen(value));
}

static inline void steered_add(struct weir_batch *batch, const struct steered_span *span) {
    struct weir_span_writer writer;
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    uint16_t origin;
    uint64_t id = steered.next_id++, start_ns = span->start_ns != 0 ? span->start_ns : rig.now_ns;
    assert_int_equal(weir_span_service(steered.otlp, batch, "pay", 3, &origin), WEIR_OK);
    weir_span_begin(&writer, batch);
    weir_span_ids(&writer, 1, span->trace, id, span->root ? 0 : 0xabc);
    weir_span_name(&writer, "GET /", 5);
    weir_span_kind(&writer, WEIR_KIND_SERVER);
    weir_span_times(&writer, start_ns, start_ns + WEIR_MS);
    if (span->node != NULL) steered_text(&writer, "node_id", span->node);
    if (span->request_id != NULL) steered_text(&writer, "guid:x-request-id", span->request_id);
    if (span->carried > 0) weir_span_double(&writer, "weir.prior_weight", 17, span->carried);
    if (span->by_probability > 0 && span->root) {
        steered_text(&writer, "jaeger.sampler.type", "probabilistic");
        weir_span_double(&writer, "jaeger.sampler.param", 20, span->by_probability);
    }
    if (span->filler > 0) {
        char *text = calloc(1, span->filler + 1u);
        memset(text, 'x', span->filler);
        steered_text(&writer, "filler", text);
        free(text);
    }
    uint8_t receiver = span->receiver != 0 ? span->receiver : WEIR_RECEIVER_GRPC;
    assert_int_equal(weir_span_end(&writer, steered.otlp, origin, receiver, &counts, &err), WEIR_OK);
    batch->spans[batch->span_count - 1].flags |= span->more_flags;
}

static inline void steered_offer(uint32_t lane, const struct steered_span *spans, uint32_t count) {
    struct weir_batch *batch = steered_batch();
    for (uint32_t i = 0; i < count; i++)
        steered_add(batch, &spans[i]);
    assert_int_equal(rig_offer(lane, batch, NULL), WEIR_OK);
}

/* Of weir_spans_weight_source_total. */
static inline double steered_source(const char *source) {
    struct weir_buffer out = {0};
    char line[96];
    int size = snprintf(line, sizeof line, "\nweir_spans_weight_source_total{source=\"%s\"} ", source);
    weir_metrics_expose(rig.metrics, &out);
    weir_buffer_byte(&out, 0);
    const char *at = strstr((const char *)out.bytes, line);
    assert_non_null(at);
    double value = strtod(at + size, NULL);
    weir_buffer_free(&out);
    return value;
}
#endif
