/* Rule by rule, why: the words are held, as people read them. */
#include "collector/cli/explain/explain.h"
#include "tests/unit/cli/trace_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <unistd.h>

#include <cmocka.h>

struct taken {
    struct weir_policy *policy;
    struct weir_names *names;
    struct weir_buffer out;
};
static void on_decided(void *self, const struct weir_stored_trace *trace, uint64_t now_ns) {
    struct taken *taken = self;
    (void)now_ns;
    weir_explain_trace(trace, taken->policy, taken->names, false, false, &taken->out);
}

static char text[4000];
static const char *explained(const char *policy, const struct said *spans, size_t count) {
    static struct frame frame;
    char path[] = "/tmp/weir-explain-XXXXXX", *paths[] = {path};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    FILE *file = open_trace_file(path);
    for (size_t i = 0; i < count; i++)
        add_span(&frame, &spans[i]);
    write_frame(file, &frame);
    fclose(file);
    struct taken taken = {.names = weir_names_new(256, 1 << 14)};
    struct weir_error err = {0};
    if (policy != NULL &&
        weir_policy_parse("p", (const uint8_t *)policy, strlen(policy), taken.names, &taken.policy, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    struct weir_stored_counts counts;
    struct weir_stored stored = {.self = &taken,
                                 .names = taken.names,
                                 .policies = {taken.policy},
                                 .wait_ns = 10 * WEIR_S,
                                 .quiet_ns = WEIR_S,
                                 .decided = on_decided,
                                 .command = "explain"};
    assert_true(weir_stored_run(&stored, paths, 1, &counts));
    assert_int_equal(counts.spans, count);
    snprintf(text, sizeof text, "%.*s", (int)taken.out.size, (char *)taken.out.bytes);
    weir_buffer_free(&taken.out);
    weir_policy_unref(taken.policy);
    weir_names_free(taken.names);
    unlink(path);
    return text;
}

static const char rules[] = "keep:\n  rules:\n    - { name: slow, when: { duration: \">750ms\" } }\n"
                            "    - { name: errors, when: { error: true, service: pay } }\n"
                            "    - { name: some, when: { service: edge }, rate: 0.25, max_traces_per_second: 5 }\n"
                            "    - { name: rest, rate: 0 }\n";

static void the_first_that_matches(void **state) {
    (void)state;
    const struct said spans[] = {
        {.trace = 0x00e0000000000001, .span = 1, .ms = 312, .service = "edge", .name = "GET /checkout", .rule = "old"},
        {.trace = 0x00e0000000000001,
         .span = 2,
         .parent = 1,
         .start_ms = 10,
         .ms = 250,
         .service = "pay",
         .name = "charge",
         .error = true},
    };
    assert_string_equal(explained(rules, spans, 2), "111111111111111100e0000000000001 edge GET /checkout\n"
                                                    "  2 spans, 312ms, 1 with an error\n"
                                                    "  was kept by rule old, and stands for 4\n"
                                                    "  would be kept by rule errors\n"
                                                    "  rule slow\n"
                                                    "    no   duration: >750ms (312ms)\n"
                                                    "  rule errors: the first that matches\n"
                                                    "    yes  error: true (a span is so)\n"
                                                    "    yes  service: pay (a span is so)\n"
                                                    "  2 rules behind it are not asked\n");
}

static void a_rate_and_a_limit(void **state) {
    (void)state;
    struct said span = {.trace = 0x00e0000000000001, .span = 1, .ms = 5, .service = "edge", .name = "o"};
    assert_non_null(strstr(explained(rules, &span, 1),
                           "  would be kept by rule some\n"
                           "    rate 0.25: the trace's randomness is 0.8750, and from 0.7500 on it is kept\n"
                           "    if it is among the 5 of its second: that hangs on other traces (weir replay)\n"));
    span.trace = 0x0080000000000001;
    assert_non_null(
        strstr(explained(rules, &span, 1),
               "  would be left out by rule some\n"
               "    rate 0.25: the trace's randomness is 0.5000, and from 0.7500 on it is kept\n  rule slow\n"));
    span.service = "other";
    assert_non_null(
        strstr(explained(rules, &span, 1), "  would be left out by rule rest\n    rate 0: it keeps nothing\n"));
    assert_non_null(strstr(text, "  rule rest: the first that matches\n    yes  no condition: matches every trace\n"));
}

static void without_rules(void **state) {
    (void)state;
    struct said span = {.trace = 1, .span = 1, .parent = 9, .ms = 5, .service = "edge", .name = "\x1b[2Jo"};
    explained("keep: {}\n", &span, 1);
    assert_non_null(strstr(text, "  1 span, 5.0ms, no root\n"));
    assert_non_null(strstr(text, "  would be kept by rule none: no rule matches\n"));
    assert_null(strchr(text, '\x1b')); /* what a terminal would obey */
    assert_non_null(strstr(explained("collector: { rate: 0 }\n", &span, 1),
                           "  collector: would leave out 1 of its spans before any rule\n"));
    assert_non_null(strstr(explained("collector: { rate: 1 }\n", &span, 1), "the policy has no keep: part\n"));
    span.threshold = 0; /* an id this low is kept by no sampler */
    assert_non_null(strstr(explained(NULL, &span, 1), "says of no rule that kept it; it stands for 1\n"));
}

static void ids(void **state) {
    (void)state;
    uint64_t hi, lo;
    assert_true(weir_explain_id("4BF92f3577b34da6a3ce929d0e0e4736", &hi, &lo));
    assert_int_equal(hi, 0x4bf92f3577b34da6ull);
    assert_int_equal(lo, 0xa3ce929d0e0e4736ull);
    assert_true(weir_explain_id("a3ce929d0e0e4736", &hi, &lo));
    assert_int_equal(hi, 0);
    assert_false(weir_explain_id("a3ce929d0e0e473", &hi, &lo));
    assert_false(weir_explain_id("a3ce929d0e0e473g", &hi, &lo));
    assert_false(weir_explain_id("0000000000000000", &hi, &lo));
    assert_false(weir_explain_id("traces", &hi, &lo));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_matches),
        cmocka_unit_test(a_rate_and_a_limit),
        cmocka_unit_test(without_rules),
        cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
