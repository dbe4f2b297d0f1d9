#include "tests/unit/lane/rig.h"

/* With a journal and too little memory traces are decided while a span finds its place in a block, and what is kept
 * fills batches that may not leave before the blocks are with the journal. */

enum { REQUESTS = 800, SPANS = 20, SPAN_BYTES = 1500 };

static void kept_under_pressure(const char *policy) {
    static struct rig_receipt receipts[REQUESTS];
    char folder[] = "/tmp/weir-durable-XXXXXX", command[64];
    uint64_t ids = 0;
    assert_non_null(mkdtemp(folder));
    rig_reset(1);
    rig.policy_text = policy;
    rig.journal_folder = folder;
    rig.max_spans = 7;
    rig_build();
    rig_start();
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct weir_batch *batch = rig_request(SPANS, SPAN_BYTES, "");
        for (uint32_t n = 0; n < SPANS; n++)
            ids += batch->spans[n].span_id;
        assert_int_equal(rig_offer(0, batch, &receipts[i]), WEIR_OK);
        rig_drain();
    }
    rig_rounds();
    assert_true(rig.batch_count > REQUESTS); /* most did not wait */
    assert_int_equal(rig_imbalance(), 0);
    /* What is left has waited for long enough: a tick decides it, and batches leave between two decisions. */
    for (int tick = 0; tick < 2; tick++) {
        rig.now_ns += 100 * WEIR_S;
        rig_rounds();
    }
    rig_stop();
    rig_drain();
    assert_int_equal(rig_value("weir_spans_held{exporter=\"\",where=\"tail\"} "), 0);
    assert_int_equal(rig.spans_seen, REQUESTS * SPANS);
    assert_true(rig.span_id_sum == ids);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void spans_that_are_kept_for_room(void **state) {
    (void)state;
    kept_under_pressure("keep: { memory: 4MiB, wait: 60s, quiet: 60s, compress: false, rules: [ { name: all } ] }\n");
}
static void and_windows_that_end_for_room(void **state) {
    (void)state;
    kept_under_pressure("keep: { memory: 4MiB, wait: 60s, quiet: 60s, compress: false, rules: [ { name: many, "
                        "max_traces_per_second: 100000 } ] }\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_that_are_kept_for_room),
        cmocka_unit_test(and_windows_that_end_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
