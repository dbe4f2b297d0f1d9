/* Memory that is not there: whichever request for it fails, every span is still accounted for, and none comes twice. */
#include "tests/unit/sample/tail_rig.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
#define OWN_MALLOC 0 /* it has its own already */
#else
#define OWN_MALLOC 1
#endif

static uint64_t requests, failing; /* the failing-th fails, and `in_a_row` - 1 more; 0: none */
static uint64_t in_a_row;

#if OWN_MALLOC
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static bool fails(void) {
    if (!rig.inside) return false;
    requests++;
    return failing != 0 && requests >= failing && requests < failing + in_a_row;
}
void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return fails() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    return fails() ? NULL : __libc_realloc(old, size);
}
#endif

static void play(void) {
    rig_build(
        "memory: 4MiB, wait: 2s, quiet: 500ms, max_trace_spans: 60, rules: [ { name: errors, when: { error: true } }, "
        "{ name: some, rate: 0.5, max_traces_per_second: 20 }, { name: never, rate: 0 } ]",
        NULL);
    for (uint32_t n = 0; n < 6000; n++) {
        uint32_t trace = n / 200 * 60 + (uint32_t)(rig_mixed(n) % 60);
        const struct said said = {.trace = trace,
                                  .span = n + 1,
                                  .parent = n % 11 == 0 ? 0 : 9999999,
                                  .error = n % 90 == 0,
                                  .service = n % 2 ? "one" : "two",
                                  .pad = n % 100 == 0 ? 40000 : 600};
        rig_take(&said, NULL);
        assert_true(weir_tail_memory(rig.tail) <= 4 << 20);
        if (n % 150 == 0) rig_pass(200);
    }
    rig_pass(3000);
    rig_pass(3000);
    failing = 0;
    rig_balanced();
    assert_int_equal(rig.given, 6000);
}

static void every_request_fails_once(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    failing = requests = 0;
    play();
    assert_int_equal(rig.lost_spans, 0);
    uint64_t all = requests, lost = 0;
    rig_close();
    assert_true(all > 50);
    for (uint64_t k = 1; k <= all; k += 1 + k / 12) {
        for (in_a_row = 1; in_a_row <= 1000; in_a_row *= 30) {
            requests = 0;
            failing = k;
            play();
            lost += rig.lost_spans;
            rig_close();
        }
    }
    assert_true(lost > 0); /* a kept trace that cannot be put together is counted as lost */
}

static void no_tail_without_memory(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    rig_build("rules: [ { name: all } ]", NULL);
    const struct weir_tail_env env = {.names = rig.names,
                                      .metrics = rig.metrics,
                                      .lanes = 1,
                                      .self = &rig,
                                      .kept = rig_kept,
                                      .dropped = rig_dropped,
                                      .lost = rig_lost};
    struct weir_tail *tail = NULL;
    uint32_t refused = 0;
    in_a_row = 1;
    for (failing = 1; tail == NULL; failing++) {
        requests = 0;
        rig.inside = true;
        tail = weir_tail_new(&env, rig.policy, NULL, rig.now_ns);
        rig.inside = false;
        refused += tail == NULL;
        assert_true(failing < 100);
    }
    failing = 0;
    assert_true(refused > 5);
    weir_tail_free(tail);
    rig_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_fails_once),
        cmocka_unit_test(no_tail_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
