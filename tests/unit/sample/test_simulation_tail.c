/* Estimates and their bands held against known truth (simulation.h), through the tail buffer end to end: spans wait,
 * traces are decided by their root, by `wait` or by the drain, late spans follow. */
#include "collector/core/wire.h"
#include "collector/sample/tail.h"
#include "tests/unit/sample/simulation.h"

struct way {
    struct sim *sim;
    struct weir_tail *tails[SIM_LANES_MAX];
    struct weir_origins *origins;
    struct weir_batch *batch;
    uint64_t taken, kept, dropped, late_kept, late_dropped; /* spans */
};

static void store(struct way *way, const struct weir_span *span) {
    way->sim->stored->now_ns = way->sim->start_ns;
    house_span(way->sim->stored, 0, span);
}

static void kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                 const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)cause;
    struct way *way = self;
    assert_true(mark < spans->span_count && spans->span_count == trace->span_count);
    struct sim_trace *mine = &way->sim->traces[spans->spans[0].span_id >> 32];
    assert_int_equal(mine->lo, trace->trace_lo);
    assert_false(mine->verdict.kept);
    mine->verdict = *verdict;
    for (uint32_t i = 0; i < spans->span_count; i++)
        store(way, &spans->spans[i]);
    way->kept += spans->span_count;
}

static void dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                    const struct weir_verdict *verdict, enum weir_cause cause) {
    (void)spans, (void)cause;
    assert_false(verdict->kept);
    ((struct way *)self)->dropped += trace->span_count;
}

static void lost(void *self, const struct weir_trace *trace) {
    (void)self, (void)trace;
    fail_msg("memory was enough");
}

/* The span as a Span message, with what the tail reads back of it. */
static uint8_t *put_id(uint8_t *at, uint32_t field, uint64_t hi, uint64_t lo, size_t size) {
    uint8_t id[16];
    for (int i = 0; i < 8; i++) {
        id[i] = (uint8_t)(hi >> (56 - 8 * i));
        id[8 + i] = (uint8_t)(lo >> (56 - 8 * i));
    }
    return weir_wire_put_bytes(at, field, id + 16 - size, size);
}

static void take(struct way *way, struct weir_tail *tail, struct weir_span span, uint64_t now_ns) {
    uint8_t body[200], *at = body;
    char state[40];
    at = put_id(at, 1, span.trace_hi, span.trace_lo, 16);
    at = put_id(at, 2, 0, span.span_id, 8);
    if ((span.flags & WEIR_SPAN_RV) != 0) {
        snprintf(state, sizeof state, "ot=rv:%014llx", (unsigned long long)span.randomness);
        at = weir_wire_put_bytes(at, 3, state, strlen(state));
    }
    if (span.parent_id != 0) at = put_id(at, 4, 0, span.parent_id, 8);
    at = weir_wire_put_bytes(at, 5, "GET /", 5);
    at = weir_wire_put_uint(at, 6, span.kind);
    at = weir_wire_put_fixed64(at, 7, span.start_ns);
    at = weir_wire_put_fixed64(at, 8, span.start_ns + span.duration_ns);
    struct weir_origin_parts parts = {.resource = (const uint8_t *)&span.service,
                                      .resource_size = sizeof span.service}; /* another one for each service */
    int is_new;
    struct weir_origin *origin = weir_origins_get(way->origins, &parts, &is_new);
    origin->service = span.service;
    weir_batch_truncate(way->batch, 0, 0);
    assert_int_equal(weir_batch_origin(way->batch, origin, &span.origin), WEIR_OK);
    weir_origin_unref(origin);
    span.size = (uint32_t)(at - body);
    if (span.threshold != 0) span.flags |= WEIR_SPAN_TH_CHANGED;
    if (span.prior != 1) span.flags |= WEIR_SPAN_PRIOR_CHANGED;
    memcpy(way->batch->bytes, body, span.size);
    way->batch->size = span.size;
    assert_int_equal(weir_batch_add(way->batch, &span), WEIR_OK);

    struct weir_verdict verdict;
    way->taken++;
    switch (weir_tail_take(tail, way->batch, 0, now_ns, &verdict)) {
    case WEIR_TAIL_HELD: break;
    case WEIR_TAIL_KEEP:
        assert_true(way->sim->traces[span.span_id >> 32].verdict.kept);
        store(way, &way->batch->spans[0]);
        way->late_kept++;
        break;
    case WEIR_TAIL_DROP:
        assert_false(way->sim->traces[span.span_id >> 32].verdict.kept);
        way->late_dropped++;
        break;
    }
}

static void through_the_tail(struct sim *sim) {
    struct way *way = sim->other;
    uint64_t ticked_ns = sim->start_ns, now_ns = sim->start_ns;
    for (uint32_t i = 0; i < sim->event_count; i++) {
        const struct sim_event *event = &sim->sorted[i];
        struct sim_trace *trace = &sim->traces[event->trace];
        now_ns = sim->start_ns + event->ms * WEIR_MS;
        while (now_ns - ticked_ns >= 100 * WEIR_MS) {
            ticked_ns += 100 * WEIR_MS;
            for (uint32_t lane = 0; lane < sim->config->lanes; lane++)
                weir_tail_tick(way->tails[lane], ticked_ns);
        }
        trace->settled = true; /* that every span is told is what the counts below say */
        if (event->span == SIM_DECIDE) continue;
        sim->arrived->now_ns = now_ns;
        house_span(sim->arrived, trace->lane, &sim->spans[event->span]);
        take(way, way->tails[trace->lane], sim->spans[event->span], now_ns);
    }
    uint64_t pending = 0;
    for (uint32_t lane = 0; lane < sim->config->lanes; lane++) {
        weir_tail_drain(way->tails[lane], now_ns);
        pending += weir_tail_held(way->tails[lane]) + weir_tail_pending(way->tails[lane]);
    }
    assert_int_equal(pending, 0);
    assert_int_equal(way->taken, way->kept + way->dropped + way->late_kept + way->late_dropped);
    sim->late_count = way->late_kept + way->late_dropped;
    sim->start_ns = now_ns + WEIR_S;
}

static void check(const struct sim_config *config) {
    struct sim *sim = sim_open(config);
    struct way way = {.sim = sim, .origins = weir_origins_new(64), .batch = weir_batch_new(NULL, 4096)};
    sim->other_way = through_the_tail;
    sim->other = &way;
    for (uint32_t lane = 0; lane < config->lanes; lane++) {
        struct weir_tail_env env = {.names = sim->arrived->names,
                                    .metrics = sim->arrived->metrics,
                                    .lane = lane,
                                    .lanes = config->lanes,
                                    .self = &way,
                                    .kept = kept,
                                    .dropped = dropped,
                                    .lost = lost};
        way.tails[lane] = weir_tail_new(&env, sim->policy, NULL, sim->start_ns);
        assert_non_null(way.tails[lane]);
    }
    sim_run_all(sim);
    uint32_t bad = sim_judge(sim);
    assert_true(way.late_kept > 0 && way.late_dropped > 0 && way.kept > 0 && way.dropped > 0);
    for (uint32_t lane = 0; lane < config->lanes; lane++)
        weir_tail_free(way.tails[lane]);
    weir_batch_unref(way.batch);
    weir_origins_free(way.origins);
    sim_close(sim);
    if (bad > 0) fail_msg("%s: %u figures are biased or have a false band", config->name, bad);
}

static void limits_behind_heads_of_all_kinds(void **state) {
    (void)state;
    check(&(struct sim_config){.name = "tail: limit of 40 a second behind heads of all kinds, bursts, 2 lanes",
                               .rules = "    - { name: errors, when: { error: true }, rate: 0.6 }\n"
                                        "    - { name: slow, when: { duration: '>750ms' }, rate: 0.5 }\n"
                                        "    - { name: rest, max_traces_per_second: 40 }\n",
                               .head = SIM_HEAD_MIXED,
                               .independent_rate = 0.5,
                               .consistent_rate = 0.4,
                               .bursty = true,
                               .traces_per_second = 220,
                               .seconds = 20,
                               .spans = 4,
                               .lanes = 2,
                               .rv = true});
}

static void dynamic_rates(void **state) {
    (void)state;
    check(&(struct sim_config){
        .name = "tail: 25 traces a second by service",
        .rules = "    - { name: rest, rate: 0.8, dynamic: { keys: [service], traces_per_second: 25 } }\n",
        .head = SIM_HEAD_INDEPENDENT,
        .independent_rate = 0.5,
        .traces_per_second = 120,
        .seconds = 25,
        .spans = 5,
        .lanes = 1});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_behind_heads_of_all_kinds),
        cmocka_unit_test(dynamic_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
