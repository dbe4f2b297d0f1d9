/* Recorded traffic under another policy: nothing is drawn by chance, so what comes out is known. */
#include "collector/cli/policy/simulate.h"
#include "collector/cli/text.h"
#include "tests/unit/cli/trace_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include <cmocka.h>

static struct frame frame;
static struct weir_names *names;
static struct weir_simulation simulation;
static char folder[64], path[128];
static uint64_t next_id;

static void near(double is, double wanted, double by) {
    if (!(fabs(is - wanted) <= by * fabs(wanted) + 1e-9)) fail_msg("%.9g is not %.9g", is, wanted);
}

/* A trace of two spans. */
static void add_trace(uint64_t start_ms, const char *service, const char *operation, bool error, uint64_t threshold) {
    uint64_t trace = (++next_id * 0x9e3779b97f4a7c15ull) | 1;
    if (threshold != 0) trace |= threshold; /* as one that was kept */
    add_span(&frame, &(struct said){.trace = trace,
                                    .span = 1,
                                    .start_ms = start_ms,
                                    .ms = 5,
                                    .service = service,
                                    .name = operation,
                                    .threshold = threshold});
    add_span(&frame, &(struct said){.trace = trace,
                                    .span = 2,
                                    .parent = 1,
                                    .start_ms = start_ms,
                                    .ms = 2,
                                    .service = "behind",
                                    .name = "work",
                                    .error = error,
                                    .threshold = threshold});
}

static FILE *begin(void) {
    snprintf(folder, sizeof folder, "/tmp/weir-simulate-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/traces-1.otlp.zst", folder);
    frame.size = 0;
    next_id = 0;
    return open_trace_file(path);
}

static void forget(void) {
    for (int p = 0; p < simulation.policy_count; p++)
        weir_policy_unref(simulation.policies[p].policy);
    weir_simulation_free(&simulation);
    weir_names_free(names);
    names = NULL;
    simulation = (struct weir_simulation){0};
}

static void end(void) {
    forget();
    unlink(path);
    rmdir(folder);
}

static void run(const char *new, const char *old) {
    const char *texts[] = {new, old};
    char *paths[] = {folder}, text[1024];
    struct weir_error err = {0};
    if (names != NULL) forget();
    names = weir_names_new(1024, 1 << 16);
    simulation = (struct weir_simulation){.senders = 2};
    for (int p = 0; p < 2 && texts[p] != NULL; p++) {
        int size = snprintf(text, sizeof text, "proxies:\n%s", texts[p]);
        simulation.policies[p].path = p == 0 ? "new.yaml" : "old.yaml";
        if (weir_policy_parse("p", (const uint8_t *)text, (size_t)size, names, &simulation.policies[p].policy, &err) !=
            WEIR_OK)
            fail_msg("%s", err.text);
        simulation.policy_count = p + 1;
    }
    assert_true(weir_simulation_run(&simulation, names, paths, 1, NULL));
    assert_true(weir_simulation_sort(&simulation, names));
}

static const struct weir_simulated_row *row(const char *service, const char *operation) {
    for (uint32_t i = 0; i < simulation.row_count; i++) {
        if (strcmp(weir_names_text(names, simulation.rows[i].service, NULL), service) == 0 &&
            strcmp(weir_names_text(names, simulation.rows[i].operation, NULL), operation) == 0)
            return &simulation.rows[i];
    }
    fail_msg("no row %s %s", service, operation);
    return NULL;
}

static void error_is(const struct weir_simulated_row *one, const struct weir_simulated_sums *sums, double requests,
                     double errors) {
    near(weir_simulated_error(one->offered, sums->unseen, sums->variance), requests, 1e-9);
    near(weir_simulated_error(one->errors, sums->errors_unseen, sums->errors_variance), errors, 1e-9);
}

static void a_rate_is_so_many_spans_and_so_much_doubt(void **state) {
    (void)state;
    FILE *file = begin();
    for (uint32_t n = 0; n < 1000; n++) /* ten seconds */
        add_trace(10 * n, n % 4 == 3 ? "shop" : "edge", n % 4 == 0 ? "GET /b" : "GET /a", n % 10 == 0, 0);
    write_frame(file, &frame);
    fclose(file);
    run("  default: { rate: 10% }\n  services: { shop: { rate: 0 }, edge: { operations: { \"GET /b\": { rate: 1 } } } "
        "}\n",
        "  default: { rate: 50% }\n");
    assert_int_equal(simulation.counts.traces, 1000);
    near(simulation.seconds, 10, 0.02);
    const struct weir_simulated_row *a = row("edge", "GET /a"), *b = row("edge", "GET /b"),
                                    *shop = row("shop", "GET /a");
    near(a->offered, 500, 1e-9);
    near(a->errors, 50, 1e-9);
    near(a->recorded.spans, 1000, 1e-9);
    near(a->policies[0].traces, 50, 1e-9);
    near(a->policies[0].spans, 100, 1e-9);
    near(a->policies[0].bytes, a->recorded.bytes / 10, 1e-9);
    near(a->policies[1].spans, 500, 1e-9);
    error_is(a, &a->recorded, 0, 0);
    error_is(a, &a->policies[0], sqrt(500 * 9) / 500, sqrt(50 * 9) / 50); /* sum of w (w - 1), w = 10, of 50 */
    error_is(a, &a->policies[1], sqrt(500) / 500, sqrt(50) / 50);
    near(b->policies[0].spans, 500, 1e-9);
    error_is(b, &b->policies[0], 0, 0);
    near(shop->offered, 250, 1e-9);
    near(shop->policies[0].spans, 0, 1e-9);
    assert_true(isinf(weir_simulated_error(shop->offered, shop->policies[0].unseen, shop->policies[0].variance)));
    /* The service that sends most comes first, its sum before its operations. */
    assert_int_equal(simulation.row_count, 5);
    assert_int_equal(simulation.rows[0].operation, WEIR_NAME_NONE);
    near(simulation.rows[0].offered, 750, 1e-9);
    near(simulation.rows[0].policies[0].spans, 600, 1e-9);
    end();
}

static void what_was_thinned_before_is_asked_about_higher_rates(void **state) {
    (void)state;
    FILE *file = begin();
    for (uint32_t n = 0; n < 100; n++)
        add_trace(10 * n, "edge", "GET /a", n % 10 == 0, 0xc0000000000000); /* 25 % */
    write_frame(file, &frame);
    fclose(file);
    run("  default: { rate: 50% }\n", NULL);
    const struct weir_simulated_row *a = row("edge", "GET /a");
    near(a->offered, 400, 1e-9);
    near(a->errors, 40, 1e-9);
    near(a->recorded.traces, 100, 1e-9);
    near(a->policies[0].spans, 400, 1e-9); /* 200 traces of two */
    error_is(a, &a->recorded, sqrt(400 * 3) / 400, sqrt(40 * 3) / 40);
    error_is(a, &a->policies[0], sqrt(400) / 400, sqrt(40) / 40);
    end();
}

/* 100 traces a second of one operation, one a second of another. */
static void record_a_minute(void) {
    FILE *file = begin();
    for (uint32_t n = 0; n < 9000; n++) {
        add_trace(10 * n, "edge", "GET /a", false, 0);
        if (n % 100 == 50) add_trace(10 * n, "edge", "GET /rare", n % 1000 == 50, 0);
        if (n % 500 == 499) write_frame(file, &frame);
    }
    write_frame(file, &frame);
    fclose(file);
}

static void a_budget_is_held_and_floors_are_kept(void **state) {
    (void)state;
    record_a_minute();
    run("  default: { rate: 50%, min_traces_per_second: 0.5 }\n  budget: { spans_per_second: 40 }\n"
        "  incident: false\n",
        "  default: { rate: 1%, min_traces_per_second: 0.5 }\n");
    const struct weir_simulated_row *all = row("edge", ""), *rare = row("edge", "GET /rare");
    double held = all->policies[0].spans / simulation.seconds;
    if (held > 42 || held < 34) fail_msg("%.4g spans a second of a budget of 40", held);
    double most = simulation.policies[0].spans_max;
    if (most > 42 || most < held * 0.95) fail_msg("%.4g spans a second over the fullest 30 s, %.4g held", most, held);
    assert_true(rare->policies[0].traces / rare->offered > 0.45);
    /* Without a budget a floor alone raises what is rare. */
    assert_true(rare->policies[1].traces / rare->offered > 0.1); /* of which 1 % is the file's */
    near(row("edge", "GET /a")->policies[1].traces, 90, 0.01);
    end();
}

static void two_runs_say_the_same(void **state) {
    (void)state;
    record_a_minute();
    double spans[2], most[2];
    for (int i = 0; i < 2; i++) {
        run("  default: { rate: 50%, min_traces_per_second: 0.5 }\n  budget: { proxy_cpu: 0.04% }\n", NULL);
        spans[i] = row("edge", "")->policies[0].spans;
        most[i] = simulation.policies[0].spans_max;
    }
    assert_true(spans[0] == spans[1] && most[0] == most[1]);
    /* 0.04 % of a core at 20us a span is 20 spans a second of each of two proxies. */
    double held = spans[0] / simulation.seconds;
    if (held > 42 || held < 34) fail_msg("%.4g spans a second of a budget of 40", held);
    end();
}

static void time_that_begins_anew_is_no_load(void **state) {
    (void)state;
    FILE *file = begin();
    for (uint32_t part = 0; part < 2; part++) { /* two hours lie between */
        for (uint32_t n = 0; n < 1000; n++) {
            add_trace(part * 7200000u + 10 * n, "edge", "GET /a", false, 0);
            if (n % 100 == 99) write_frame(file, &frame);
        }
    }
    fclose(file);
    run("  default: { rate: 50% }\n", NULL);
    near(simulation.seconds, 20, 0.2); /* three frames have to agree that time is another */
    near(row("edge", "")->policies[0].spans, 2000, 1e-9);
    end();
}

static void it_is_told_in_80_columns_and_as_json(void **state) {
    (void)state;
    record_a_minute();
    run("  default: { rate: 0.12345%, max_traces_per_second: 5 }\n  services: { edge: { operations: { \"GET /rare\": { "
        "rate: 0 } } } }\n"
        "  budget: { spans_per_second: 100000 }\n",
        "  default: { rate: 1% }\n");
    struct weir_buffer out = {0};
    weir_simulation_print(&simulation, names, 0, false, true, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "unseen"));
    assert_non_null(strstr((char *)out.bytes, "90 requests meet a rate of 0"));
    assert_non_null(strstr((char *)out.bytes, "max_traces_per_second is each client's"));
    for (char *line = strtok((char *)out.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (weir_text_columns(line, true) > 80) fail_msg("longer than 80 columns: %s", line);
    }
    weir_buffer_clear(&out);
    weir_simulation_print(&simulation, names, 1, false, true, &out);
    weir_buffer_byte(&out, 0);
    assert_non_null(strstr((char *)out.bytes, "  and 2 more; --all lists them\nall "));
    weir_buffer_clear(&out);
    weir_simulation_print_json(&simulation, names, &out);
    json_error_t error;
    json_t *tree = json_loadb((const char *)out.bytes, out.size, JSON_REJECT_DUPLICATES, &error);
    if (tree == NULL) fail_msg("%s at %d", error.text, error.position);
    assert_int_equal(json_array_size(json_object_get(tree, "rows")), 3);
    const json_t *all = json_object_get(tree, "all"), *rare = json_array_get(json_object_get(tree, "rows"), 2);
    near(json_number_value(json_object_get(all, "requests")), 9090, 1e-9);
    assert_string_equal(json_string_value(json_object_get(rare, "operation")), "GET /rare");
    assert_true(json_is_null(json_object_get(json_object_get(rare, "new"), "requests_error")));
    near(json_number_value(json_object_get(json_object_get(rare, "old"), "rate")), 0.01, 1e-9);
    json_decref(tree);
    weir_buffer_free(&out);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_so_many_spans_and_so_much_doubt),
        cmocka_unit_test(what_was_thinned_before_is_asked_about_higher_rates),
        cmocka_unit_test(a_budget_is_held_and_floors_are_kept),
        cmocka_unit_test(two_runs_say_the_same),
        cmocka_unit_test(time_that_begins_anew_is_no_load),
        cmocka_unit_test(it_is_told_in_80_columns_and_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
