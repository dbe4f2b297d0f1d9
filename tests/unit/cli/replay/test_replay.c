/* Traces of files through a policy: what is counted is what a running Weir would keep, by the time of the spans. */
#include "collector/cli/replay/replay.h"
#include "tests/unit/cli/trace_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <unistd.h>

#include <cmocka.h>

static struct frame frame;
static struct weir_names *names;
static struct weir_replay replay;
static char folder[64], path[128];

static void near(double is, double wanted) {
    if (fabs(is - wanted) > 1e-6) fail_msg("%.9g is not %.9g", is, wanted);
}

/* Ids whose low 56 bits, the randomness, are spread evenly: by bit reversal, in order 1/2, 1/4, 3/4, 1/8 ... */
static uint64_t id_of(uint32_t n) {
    uint64_t r = 0;
    for (int i = 0; i < 24; i++)
        r |= (uint64_t)(n >> i & 1) << (55 - i);
    return r | 0x4200000000000000ull;
}

static void begin(void) {
    snprintf(folder, sizeof folder, "/tmp/weir-replay-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/traces-1.otlp.zst", folder);
    frame.size = 0;
}

static void end(void) {
    for (int p = 0; p < replay.policy_count; p++)
        weir_policy_unref(replay.policies[p].policy);
    weir_replay_free(&replay);
    weir_names_free(names);
    names = NULL;
    unlink(path);
    rmdir(folder);
}

static void run(const char *policy, const char *against) {
    const char *texts[] = {policy, against};
    struct weir_error err = {0};
    char *paths[] = {folder};
    if (names != NULL) {
        for (int p = 0; p < replay.policy_count; p++)
            weir_policy_unref(replay.policies[p].policy);
        weir_replay_free(&replay);
        weir_names_free(names);
    }
    names = weir_names_new(1024, 1 << 16);
    replay = (struct weir_replay){.lost_max = 3};
    for (int p = 0; p < 2 && texts[p] != NULL; p++) {
        replay.policies[p].path = p == 0 ? "new.yaml" : "old.yaml";
        if (weir_policy_parse("p", (const uint8_t *)texts[p], strlen(texts[p]), names, &replay.policies[p].policy,
                              &err) != WEIR_OK)
            fail_msg("%s", err.text);
        replay.policy_count = p + 1;
    }
    assert_true(weir_replay_run(&replay, names, paths, 1, NULL));
}

/* Row r: traces, of which kept. */
static void row_is(uint32_t r, uint64_t traces, uint64_t kept) {
    assert_int_equal(replay.policies[0].rows[r].traces, traces);
    assert_int_equal(replay.policies[0].rows[r].kept_traces, kept);
}

static void each_rule_counts_its_own(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    for (uint32_t n = 0; n < 1000; n++) { /* two spans each; every tenth has an error in its second */
        add_span(&frame, &(struct said){.trace = id_of(n),
                                        .span = 1,
                                        .start_ms = n,
                                        .ms = n % 4 == 0 ? 900 : 20,
                                        .service = "edge",
                                        .name = "GET /a"});
        add_span(&frame, &(struct said){.trace = id_of(n),
                                        .span = 2,
                                        .parent = 1,
                                        .start_ms = n,
                                        .ms = 10,
                                        .service = "shop",
                                        .name = "charge",
                                        .error = n % 10 == 0});
        if (n % 100 == 99) write_frame(file, &frame);
    }
    fclose(file);
    run("keep:\n  rules:\n    - { name: errors, when: { error: true } }\n"
        "    - { name: slow, when: { duration: \">500ms\" }, dry_run: true }\n"
        "    - { name: quarter, rate: 0.25 }\n",
        NULL);
    assert_int_equal(replay.counts.traces, 1000);
    assert_int_equal(replay.counts.spans, 2000);
    assert_int_equal(replay.counts.files, 1);
    row_is(0, 100, 100);
    row_is(1, 0, 0);
    assert_int_equal(replay.policies[0].rows[1].dry_traces,
                     200); /* a quarter, but those with an error are taken before */
    /* Exactly those whose randomness is in the upper quarter. */
    uint64_t upper = 0;
    for (uint32_t n = 0; n < 1000; n++)
        upper += n % 10 != 0 && (id_of(n) & (WEIR_THRESHOLD_MAX - 1)) >= WEIR_THRESHOLD_MAX / 4 * 3;
    row_is(2, 900, upper);
    struct weir_replay_row total = weir_replay_total(&replay.policies[0]);
    assert_int_equal(total.spans, 2000);
    assert_int_equal(total.kept_spans, 2 * (100 + upper));
    assert_int_equal(total.bytes, replay.counts.bytes);
    assert_true(total.kept_bytes > 0 && total.kept_bytes < total.bytes);
    near(total.stands_for, 1000);
    near(total.estimate, 100 + 4.0 * (double)upper);
    near(total.variance, 12.0 * (double)upper); /* w (w - 1) */
    assert_int_equal(replay.policies[0].error_lost, 0);
    end();
}

static void lost_errors_are_listed(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    for (uint32_t n = 1; n <= 8; n++)
        add_span(&frame, &(struct said){.trace = n,
                                        .span = 1,
                                        .start_ms = n,
                                        .ms = 5,
                                        .service = "pay",
                                        .name = n % 2 == 0 ? "GET /a" : "POST /b",
                                        .error = n != 8});
    write_frame(file, &frame);
    fclose(file);
    const char *none = "keep: { rules: [ { name: nothing, rate: 0 } ] }\n";
    const char *even = "keep: { rules: [ { name: a, when: { operation: \"GET /a\" } }, { name: rest, rate: 0 } ] }\n";
    run(none, NULL);
    assert_int_equal(replay.policies[0].error_traces, 7);
    assert_int_equal(replay.policies[0].error_lost, 7);
    assert_int_equal(replay.lost_count, 7);
    assert_int_equal(replay.lost_kept, 3); /* lost_max */
    assert_int_equal(replay.lost[0].trace_lo, 1);
    assert_int_equal(replay.lost[0].trace_hi, 0x1111111111111111ull);
    assert_string_equal(weir_names_text(names, replay.lost[0].service, NULL), "pay");
    assert_string_equal(weir_names_text(names, replay.lost[1].operation, NULL), "GET /a");
    near(weir_replay_silent(&replay.policies[0]), 8);
    struct weir_buffer out = {0};
    weir_replay_print(&replay, names, false, false, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "errors    7 of 7 traces with an error would be lost\n"
                                              "  11111111111111110000000000000001 pay           POST /b"));
    assert_non_null(strstr((char *)out.bytes, "  and 4 more; --all lists them\n"));
    for (char *line = (char *)out.bytes, *stop; (stop = strchr(line, '\n')) != NULL; line = stop + 1)
        assert_true(stop - line <= 80);
    weir_buffer_free(&out);

    run(none, even); /* beside another: only what that one keeps is lost by this one */
    assert_int_equal(replay.both, 0);
    assert_int_equal(replay.only_second, 4);
    assert_int_equal(replay.neither, 4);
    assert_int_equal(replay.error_only_second, 3);
    assert_int_equal(replay.lost_count, 3);
    assert_int_equal(replay.lost[0].trace_lo, 2);
    end();
}

/* 200 traces a second for five seconds: a limit of 20 a second keeps 100, though they are read in no time. */
static void limits_go_by_the_time_of_the_spans(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    for (uint32_t n = 0; n < 1000; n++) {
        add_span(&frame,
                 &(struct said){
                     .trace = id_of(n * 7919), .span = 1, .start_ms = 5 * n, .ms = 1, .service = "s", .name = "o"});
        if (n % 50 == 49) write_frame(file, &frame);
    }
    fclose(file);
    run("keep: { quiet: 0s, rules: [ { name: some, max_traces_per_second: 20 } ] }\n", NULL);
    uint64_t kept = replay.policies[0].rows[0].kept_traces;
    assert_true(kept >= 90 && kept <= 120); /* windows may begin and end within a second */
    struct weir_replay_row total = weir_replay_total(&replay.policies[0]);
    assert_true(total.estimate > 600 && total.estimate < 1400);
    assert_true(total.variance > 0);
    end();
}

/* What upstream thinned to a quarter stands for four; a rate of a half of all keeps every one of them, one of an eighth
 * the half. */
static void weights_are_carried(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    uint64_t quarter = WEIR_THRESHOLD_MAX / 4 * 3;
    uint32_t written = 0;
    for (uint32_t n = 0; n < 1024; n++) {
        if ((id_of(n) & (WEIR_THRESHOLD_MAX - 1)) < quarter) continue;
        add_span(&frame, &(struct said){.trace = id_of(n),
                                        .span = 1,
                                        .start_ms = n,
                                        .ms = 1,
                                        .service = "s",
                                        .name = "o",
                                        .threshold = quarter});
        written++;
    }
    write_frame(file, &frame);
    fclose(file);
    assert_int_equal(written, 256);
    run("keep: { rules: [ { name: half, rate: 0.5 } ] }\n", NULL);
    row_is(0, 256, 256);
    near(replay.policies[0].rows[0].stands_for, 1024);
    near(replay.policies[0].rows[0].estimate, 1024);
    near(replay.policies[0].rows[0].variance, 0);
    run("keep: { rules: [ { name: eighth, rate: 0.125 } ] }\n", NULL);
    row_is(0, 256, 128);
    near(replay.policies[0].rows[0].estimate, 1024);
    run("collector: { rate: 0.125 }\n", NULL);
    row_is(WEIR_REPLAY_COLLECTOR, 128, 0);
    row_is(WEIR_REPLAY_NONE, 128, 128);
    near(weir_replay_total(&replay.policies[0]).estimate, 1024);
    end();
}

/* The rest of a trace, an hour later or a second: one is another trace to look at, the other follows its decision. */
static void late_spans_follow(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    for (uint32_t n = 0; n < 100; n++) {
        add_span(&frame,
                 &(struct said){
                     .trace = id_of(n + 1), .span = 1, .start_ms = 100 * n, .ms = 1, .service = "s", .name = "o"});
        write_frame(file, &frame);
    }
    add_span(&frame, &(struct said){.trace = id_of(1),
                                    .span = 2,
                                    .parent = 1,
                                    .start_ms = 9950,
                                    .ms = 1,
                                    .service = "s",
                                    .name = "late",
                                    .error = true});
    write_frame(file, &frame);
    fclose(file);
    run("keep: { quiet: 1s, rules: [ { name: errors, when: { error: true } }, { name: half, rate: 0.5 } ] }\n", NULL);
    assert_int_equal(replay.counts.traces, 100);
    assert_int_equal(replay.counts.late, 1);
    row_is(0, 0, 0); /* it came too late to make an error of its trace */
    assert_int_equal(replay.policies[0].rows[1].spans, 101);
    end();
}

/* One span of the year 2100 moves no clock: the others are decided in their time. */
static void a_wrong_clock_moves_nothing(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    for (uint32_t n = 0; n < 300; n++) {
        uint64_t at = n == 20 ? 2400000000000ull : 10 * n;
        add_span(&frame, &(struct said){
                             .trace = id_of(n + 1), .span = 1, .start_ms = at, .ms = 1, .service = "s", .name = "o"});
        if (n % 10 == 9) write_frame(file, &frame);
    }
    fclose(file);
    run("keep: { quiet: 100ms, rules: [ { name: some, max_traces_per_second: 20 } ] }\n", NULL);
    uint64_t kept = replay.policies[0].rows[0].kept_traces;
    assert_int_equal(replay.policies[0].rows[0].traces, 300);
    assert_true(kept >= 40 && kept <= 80); /* three seconds; were time at a stand, 20 */
    end();
}

static void json_is_what_was_counted(void **state) {
    (void)state;
    begin();
    FILE *file = open_trace_file(path);
    add_span(&frame, &(struct said){.trace = 7, .span = 1, .ms = 5, .service = "a\"b", .name = "o", .error = true});
    write_frame(file, &frame);
    fclose(file);
    run("keep: { rules: [ { name: \"x\\\\y\", rate: 0 } ] }\n", NULL);
    struct weir_buffer out = {0};
    weir_replay_print_json(&replay, names, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "{\"rule\":\"x\\\\y\",\"traces\":1,\"kept_traces\":0,\"spans\":1,"));
    assert_non_null(strstr((char *)out.bytes,
                           "\"error_traces\":1,\"error_traces_lost\":1}],\"lost_count\":1,\"lost\":[{"
                           "\"trace_id\":\"11111111111111110000000000000007\",\"service\":\"a\\\"b\","
                           "\"operation\":\"o\",\"rule\":\"x\\\\y\"}]}\n"));
    weir_buffer_free(&out);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_counts_its_own),
        cmocka_unit_test(lost_errors_are_listed),
        cmocka_unit_test(limits_go_by_the_time_of_the_spans),
        cmocka_unit_test(weights_are_carried),
        cmocka_unit_test(late_spans_follow),
        cmocka_unit_test(a_wrong_clock_moves_nothing),
        cmocka_unit_test(json_is_what_was_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
