/* The tail buffer under more than it can hold: the bound stands, and every span still comes out once. */
#include "tests/unit/sample/tail_rig.h"

#define RULES "rules: [ { name: errors, when: { error: true } }, { name: rest, rate: 0.2 } ]"

static uint64_t most;

static void within(uint64_t limit) {
    uint64_t now = weir_tail_memory(rig.tail);
    if (now > limit) fail_msg("%llu bytes, of %llu", (unsigned long long)now, (unsigned long long)limit);
    if (now > most) most = now;
}

/* Ten times what fits: the oldest are decided early, none is lost, none comes twice. */
static void ten_times_what_fits(void **state) {
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        char keep[200];
        snprintf(keep, sizeof keep, "memory: 4MiB, compress: %s, " RULES, compress ? "true" : "false");
        rig_build(keep, NULL);
        most = 0;
        uint32_t traces = compress ? 16000 : 12000;
        for (uint32_t n = 0; n < traces; n++) {
            for (uint32_t s = 1; s <= 8; s++) {
                /* spans of 16 traces interleave */
                uint32_t trace = n / 16 * 16 + (n * 8 + s) % 16;
                const struct said said = {
                    .trace = trace, .span = (n % 16) * 8 + s, .parent = 1000, .pad = 300, .error = trace % 50 == 0};
                rig_take(&said, NULL);
                within(4 << 20);
            }
            if (n % 500 == 0) {
                rig_pass(50);
                within(4 << 20);
                rig_balanced();
            }
        }
        assert_true(most > 3 << 20);
        assert_true(rig_metric("weir_tail_traces_decided_total{cause=\"memory\",verdict=\"dropped\"} ") > traces / 4.0);
        uint32_t errors = 0;
        weir_tail_drain(rig.tail, rig.now_ns);
        for (uint32_t n = 0; n < traces; n += 50) {
            const struct fate *fate = rig_fate(rig_lo(n));
            if (fate->kept == fate->given) errors++;
            assert_int_equal(fate->dropped + fate->late_dropped, 0); /* an error is in its first span */
        }
        assert_true(errors > 0);
        assert_int_equal(rig.lost_spans, 0);
        rig_close();
    }
}

static void a_giant_beside_many_small_ones(void **state) {
    (void)state;
    rig_build("memory: 4MiB, wait: 10s, quiet: 1s, max_trace_spans: 100000, max_trace_bytes: 1MiB, " RULES, NULL);
    for (uint32_t n = 1; n <= 20000; n++) {
        rig_take(&(struct said){.trace = 0, .span = 1 + n, .parent = 1000000, .pad = 200}, NULL);
        rig_take(&(struct said){.trace = n, .span = 1, .pad = 100}, NULL);
        within(4 << 20);
        if (n % 100 == 0) rig_pass(100);
    }
    rig_pass(1000);
    const struct fate *giant = rig_fate(rig_lo(0));
    assert_int_equal(giant->times, 1);
    assert_true(giant->cause == WEIR_CAUSE_SIZE);
    for (uint32_t n = 1; n <= 20000; n++) /* the small ones were decided in peace */
        assert_int_equal(rig_fate(rig_lo(n))->cause, WEIR_CAUSE_ROOT);
    rig_close();
}

/* One trace that is never decided among many that are: blocks of it alone are written anew. */
static void sparse_blocks_are_written_anew(void **state) {
    (void)state;
    rig_build("memory: 4MiB, wait: 100s, quiet: 1s, rules: [ { name: all, rate: 100% } ]", NULL);
    uint32_t stay = 0;
    for (uint32_t n = 1; n < 60000; n++) {
        bool stays = n % 40 == 0; /* no root: it waits */
        rig_take(&(struct said){.trace = n, .span = stays ? 2 : 1, .parent = stays, .pad = 300}, NULL);
        stay += stays;
        within(4 << 20);
        if (n % 200 == 0) {
            rig_pass(300);
            within(4 << 20);
        }
    }
    assert_true(rig_metric("weir_tail_blocks_rewritten_total ") > 10);
    /* 1,500 spans that wait take 0.5 MiB or so, and were not decided for memory's sake */
    assert_true(rig_metric("weir_tail_traces_decided_total{cause=\"memory\",verdict=\"kept\"} ") == 0);
    assert_true(weir_tail_pending(rig.tail) >= 500);
    weir_tail_drain(rig.tail, rig.now_ns);
    for (uint32_t n = 1; n < 60000; n++) {
        const struct fate *fate = rig_fate(rig_lo(n));
        assert_int_equal(fate->kept, 1);
        assert_int_equal(fate->times, 1);
    }
    rig_close();
}

static void origins_count_too(void **state) {
    (void)state;
    static char service[12000];
    rig_build("memory: 4MiB, " RULES, NULL);
    for (uint32_t n = 0; n < 3000; n++) {
        memset(service, 'a', sizeof service - 1);
        memcpy(service, &(char[]){(char)('a' + n % 26), (char)('a' + n / 26 % 26), (char)('a' + n / 676)}, 3);
        const struct said said = {.trace = n, .span = 1};
        struct weir_batch *batch = rig_batch(&said);
        uint8_t resource[sizeof service + 64];
        int is_new;
        struct weir_origins *origins = weir_origins_new(4);
        struct weir_origin_parts parts = {
            .resource = resource,
            .resource_size = (uint32_t)rig_attribute(resource, 1, "host", service, sizeof service - 1)};
        struct weir_origin *origin = weir_origins_get(origins, &parts, &is_new);
        struct weir_verdict verdict;
        assert_int_equal(weir_batch_origin(batch, origin, &batch->spans[0].origin), WEIR_OK);
        assert_int_equal(weir_tail_take(rig.tail, batch, 0, rig.now_ns, &verdict), WEIR_TAIL_HELD);
        rig.given++;
        rig_fate(rig_lo(n))->given++;
        weir_origin_unref(origin);
        weir_origins_free(origins);
        weir_batch_unref(batch);
        within(4 << 20);
    }
    assert_true(rig.decided_traces > 2000);
    rig_close();
}

/* A wave of tiny traces, then larger spans: what the first needed is there for the others again. */
static void memory_goes_where_it_is_needed(void **state) {
    (void)state;
    rig_build("memory: 8MiB, wait: 5s, quiet: 5s, compress: false, " RULES, NULL);
    for (uint32_t n = 0; n < 40000; n++) {
        rig_take(&(struct said){.trace = n, .span = 1}, NULL);
        within(8 << 20);
    }
    rig_pass(5000);
    assert_int_equal(weir_tail_pending(rig.tail), 0);
    rig_pass(50);
    /* decisions have an eighth; hot blocks and tables keep a little */
    assert_true(weir_tail_memory(rig.tail) < 3 << 20);
    uint32_t decided = rig.decided_traces;
    for (uint32_t n = 0; n < 1000; n++) {
        for (uint32_t s = 1; s <= 5; s++)
            rig_take(&(struct said){.trace = 100000 + n, .span = s, .parent = s - 1, .pad = 900}, NULL);
        within(8 << 20);
    }
    assert_int_equal(rig.decided_traces, decided); /* 5.5 MiB fit */
    rig_close();
}

static void a_span_that_is_too_large_to_wait(void **state) {
    (void)state;
    rig_build("memory: 4MiB, " RULES, NULL);
    rig_take(&(struct said){.trace = 1, .span = 2, .parent = 1, .error = true}, NULL);
    assert_int_equal(rig_take(&(struct said){.trace = 1, .span = 3, .parent = 1, .pad = 600000}, NULL), WEIR_TAIL_KEEP);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 1);
    assert_int_equal(rig_fate(rig_lo(1))->cause, WEIR_CAUSE_SIZE);
    uint32_t out = 2;
    while (rig_randomness(out) >= weir_threshold_of(0.2))
        out++;
    assert_int_equal(rig_take(&(struct said){.trace = out, .span = 3, .pad = 600000}, NULL), WEIR_TAIL_DROP);
    assert_int_equal(weir_tail_pending(rig.tail), 0);
    rig_close();
}

/* ---- anything, in any order ---- */

static uint64_t dice_state;
static uint32_t dice(uint32_t sides) {
    dice_state = rig_mixed(dice_state);
    return (uint32_t)((dice_state >> 32) * sides >> 32);
}

static void anything(uint64_t seed) {
    static const char *const policies[] = {
        "memory: 4MiB, wait: 3s, quiet: 500ms, rules: [ { name: errors, when: { error: true } }, { name: some, rate: "
        "30%, "
        "max_traces_per_second: 30 }, { name: never, rate: 0 } ]",
        "memory: 4MiB, wait: 1s, quiet: 100ms, compress: false, max_trace_spans: 20, rules: [ { name: few, rate: 0, "
        "when: { "
        "spans: \"<3\" } }, { name: two, max_traces_per_second: 200 } ]",
        "memory: 6MiB, wait: 9s, quiet: 9s, max_trace_bytes: 64KiB, rules: [ { name: slow, when: { duration: \">1s\" } "
        "}, { "
        "name: three, max_traces_per_second: 15 } ]",
    };
    dice_state = seed;
    rig.journalled = seed % 2 == 0;
    rig_build(policies[0], NULL);
    rig.seals = seed % 4 == 0;
    uint64_t limit = 4 << 20;
    uint32_t first = 0, spans_of[64] = {0};
    for (uint32_t step = 0; step < 25000; step++) {
        uint32_t window = dice(1000) == 0 ? 3000 : 60, trace = first + dice(window);
        spans_of[trace % 64]++;
        const struct said said = {.trace = trace,
                                  .span = 1 + step,
                                  .parent = dice(9) == 0 ? 0 : 1000000,
                                  .error = dice(200) == 0,
                                  .forced = dice(2000) == 0,
                                  .short_id = dice(7) == 0,
                                  .ms = dice(100) == 0 ? 2000 : 5,
                                  .service = dice(2) ? "one" : "two",
                                  .pad = dice(40) == 0     ? dice(60000)
                                         : dice(1500) == 0 ? 700000
                                                           : dice(800)};
        rig_take(&said, NULL);
        if (weir_tail_memory(rig.tail) > limit) fail_msg("seed %llu step %u", (unsigned long long)seed, step);
        if (dice(20) == 0) first++;
        if (dice(100) == 0) rig_pass(dice(400));
        if (dice(3000) == 0) {
            uint32_t which = dice(4);
            rig_reload(which < 3 ? policies[which] : NULL);
            if (which < 3) limit = which == 2 ? 6 << 20 : 4 << 20;
        }
        if (dice(2000) == 0) weir_tail_seal(rig.tail);
        if (dice(4000) == 0) weir_tail_drain(rig.tail, rig.now_ns);
        if (dice(100) == 0) rig_balanced();
    }
    rig_close();
    rig.journalled = false;
}

static void anything_in_any_order(void **state) {
    (void)state;
    const char *said = getenv("TAIL_SEED");
    if (said != NULL) {
        anything(strtoull(said, NULL, 0));
        return;
    }
    for (uint64_t seed = 1; seed <= 12; seed++)
        anything(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_times_what_fits),
        cmocka_unit_test(a_giant_beside_many_small_ones),
        cmocka_unit_test(sparse_blocks_are_written_anew),
        cmocka_unit_test(origins_count_too),
        cmocka_unit_test(memory_goes_where_it_is_needed),
        cmocka_unit_test(a_span_that_is_too_large_to_wait),
        cmocka_unit_test(anything_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
