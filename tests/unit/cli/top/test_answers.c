#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/top/answers.h"
#include "pages.h"

#include <stdio.h>
#include <stdlib.h>

#define READY OWN "weir_spans_received_total{receiver=\"grpc\"} "

static struct weir_top_answer answers[WEIR_TOP_QUESTIONS];

static void answer(const char *early, const char *late, const char *policy, bool ready) {
    struct weir_top_page before = {.names = names}, now = page_of(12, late);
    struct weir_policy_view view = {.names = names};
    struct weir_top_numbers numbers;
    struct weir_top_rows services = {0};
    struct weir_error err;
    if (early != NULL) before = page_of(10, early);
    const struct weir_top_page *was = early == NULL ? NULL : &before;
    if (policy != NULL)
        assert_int_equal(weir_policy_view_read(&view, (const uint8_t *)policy, strlen(policy), &err), WEIR_OK);
    weir_top_numbers(was, &now, 1100, &numbers);
    assert_true(weir_top_rows(was, &now, policy == NULL ? NULL : &view, WEIR_TOP_SERVICES, 0, &services));
    const struct weir_top_known known = {.numbers = &numbers,
                                         .services = &services,
                                         .policy = policy == NULL ? NULL : &view,
                                         .names = names,
                                         .ready = ready};
    weir_top_answer(&known, answers);
    weir_top_rows_free(&services);
    weir_policy_view_free(&view);
    weir_top_page_clear(&before);
    weir_top_page_clear(&now);
}

static void says(enum weir_top_question question, enum weir_top_level level, const char *word, const char *text) {
    const struct weir_top_answer *it = &answers[question];
    if (it->level != level || strcmp(it->word, word) != 0 || strcmp(it->text, text) != 0)
        fail_msg("level %d, %s: %s\nnot %d, %s: %s", (int)it->level, it->word, it->text, (int)level, word, text);
}

#define HEALTHY_EARLY READY "0\n" OK_CALLS("pay", "a", "100") OK_CALLS("cart", "a", "100")
#define HEALTHY_LATE  READY "1000\n" OK_CALLS("pay", "a", "300") OK_CALLS("cart", "a", "900") BAD_CALLS("cart", "a", "2")

static void a_healthy_mesh(void **state) {
    (void)state;
    answer(HEALTHY_EARLY, HEALTHY_LATE, NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_GOOD, "healthy", "2 services, 501 req/s, 0.2 % fail");
    says(WEIR_TOP_TELEMETRY, WEIR_TOP_GOOD, "complete", "500 spans/s came; none refused, dropped or lost");
    says(WEIR_TOP_COST, WEIR_TOP_UNKNOWN, "not steered", "500 spans/s; no policy tells proxies how many to send");
}

static void who_fails_is_named(void **state) {
    (void)state;
    answer(HEALTHY_EARLY, HEALTHY_LATE BAD_CALLS("pay", "b", "20"), NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_BAD, "failing", "pay fails 9.1 % of 110 req/s; 1 of 2 is over 1 %");
    answer(HEALTHY_EARLY, HEALTHY_LATE BAD_CALLS("pay", "b", "5") BAD_CALLS("cart", "b", "20"), NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_WARN, "strained", "cart fails 2.7 % of 411 req/s; 2 of 2 are over 1 %");
    /* At 10 % two failures that were seen stand for twenty, and are no more than two. */
    answer(HEALTHY_EARLY, HEALTHY_LATE BAD_CALLS("pay", "b", "20") VARIANCE("pay", "a", "1980"), NULL, true);
    assert_int_equal(answers[WEIR_TOP_MESH].level, WEIR_TOP_GOOD);
    answer(HEALTHY_EARLY, HEALTHY_LATE BAD_CALLS("pay", "b", "40") VARIANCE("pay", "a", "2160"), NULL, true);
    assert_int_equal(answers[WEIR_TOP_MESH].level, WEIR_TOP_BAD);
    /* Two of two are no alarm. */
    answer(HEALTHY_EARLY, HEALTHY_LATE BAD_CALLS("rare", "b", "2"), NULL, true);
    assert_int_equal(answers[WEIR_TOP_MESH].level, WEIR_TOP_GOOD);
}

static void silence_is_told(void **state) {
    (void)state;
    answer(HEALTHY_EARLY, READY "0\n" OK_CALLS("pay", "a", "100") OK_CALLS("cart", "a", "300"), NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_GOOD, "healthy", "2 services, 100 req/s, 0 % fail, 1 silent");
    answer(HEALTHY_EARLY, HEALTHY_EARLY, NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_UNKNOWN, "unknown", "no requests at the moment");
    answer(READY "0\n", READY "0\n", NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_UNKNOWN, "unknown", "no proxy has sent a span yet");
    answer(READY "5\n", READY "9\n", NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_UNKNOWN, "unknown", "spans came, and wait until it is known what they stand for");
    answer(NULL, HEALTHY_LATE, NULL, true);
    says(WEIR_TOP_MESH, WEIR_TOP_UNKNOWN, "measuring", "rates need a second look");
}

static void what_is_lost_is_told(void **state) {
    static const struct {
        const char *early, *late;
        bool not_ready;
        enum weir_top_level level;
        const char *word, *text;
    } rows[] = {
        {"", "", true, WEIR_TOP_BAD, "not ready", "Weir says that it is not ready"},
        {"", "weir_spans_dropped_total{exporter=\"kafka\",reason=\"full\"} 24\n", false, WEIR_TOP_BAD, "losing",
         "drops 12 spans/s, of kafka"},
        {"", "weir_spans_dropped_total{exporter=\"\",reason=\"merged\"} 24\n", false, WEIR_TOP_GOOD, "complete",
         "0 spans/s came; none refused, dropped or lost"},
        {"", "weir_spans_refused_total{reason=\"memory\"} 2\n", false, WEIR_TOP_BAD, "refusing",
         "refuses 1 spans/s: memory.intake is full"},
        {"", "weir_spans_refused_total{reason=\"invalid\"} 2\n", false, WEIR_TOP_BAD, "refusing",
         "refuses 1 spans/s that are broken"},
        {"", "weir_datagrams_lost_total{reason=\"kernel\"} 4\n", false, WEIR_TOP_BAD, "losing",
         "2 datagrams/s are lost"},
        {"", "weir_exporter_paused{exporter=\"kafka\"} 1\nweir_exporter_oldest_age_seconds{exporter=\"kafka\"} 75\n",
         false, WEIR_TOP_WARN, "late", "kafka does not take spans, the oldest waits 1m15s"},
        {"", "weir_spans_sampled_out_total{stage=\"overload\"} 10\n", false, WEIR_TOP_WARN, "thinned",
         "leaves out 5 spans/s under load"},
        {"", "weir_tail_traces_decided_total{cause=\"memory\"} 10\n", false, WEIR_TOP_WARN, "pressed",
         "keep.memory is full: traces are decided early"},
        {"", "weir_tail_traces_decided_total{cause=\"root\"} 10\nweir_tail_traces_without_root_total 4\n", false,
         WEIR_TOP_WARN, "in pieces", "40 % of traces have no root"},
        {"", "weir_series_overflow_total 1\n", false, WEIR_TOP_WARN, "folded", "too many series: some share one"},
        {"", "weir_points_rejected_total 1\n", false, WEIR_TOP_WARN, "incomplete", "rejects 0.50 points/s"},
        /* Only what both pages have: spans that are under way are off in one of them. */
        {"", "weir_ledger_imbalance_spans 7\n", false, WEIR_TOP_GOOD, "complete",
         "0 spans/s came; none refused, dropped or lost"},
        {"weir_ledger_imbalance_spans -5\n", "weir_ledger_imbalance_spans 7\n", false, WEIR_TOP_WARN, "off",
         "the ledger is off by 5 spans"},
        /* The worst gives the word, all are told. */
        {"", "weir_exporter_paused{exporter=\"k\"} 1\nweir_spans_refused_total{reason=\"closing\"} 2\n", false,
         WEIR_TOP_BAD, "refusing", "refuses 1 spans/s; k does not take spans, the oldest waits 0s"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char early[512], late[512];
        snprintf(early, sizeof early, READY "0\n%s", rows[i].early);
        snprintf(late, sizeof late, READY "0\n%s", rows[i].late);
        answer(early, late, NULL, !rows[i].not_ready);
        says(WEIR_TOP_TELEMETRY, rows[i].level, rows[i].word, rows[i].text);
    }
    answer(READY "0\n", "weir_config_last_reload_successful 0\nweir_spans_received_total 0\n", NULL, true);
    says(WEIR_TOP_TELEMETRY, WEIR_TOP_WARN, "misconfigured", "the last reload failed");
}

#define POLICY(arriving, fleet, load)                                                                                  \
    "{\"policy\":\"p\",\"arriving_spans_per_second\":" arriving                                                        \
    ",\"sides\":[{\"side\":\"policy\",\"share\":1,\"plan\":{"                                                          \
    "\"version\":\"1\",\"default\":{\"version\":\"1\",\"rate\":0.01,\"why\":\"rate\",\"since\":1,\"operations\":[]},"  \
    "\"services\":[]},\"budgets\":{\"fleet\":{" fleet                                                                  \
    "},\"services\":[]},\"loads\":[{\"service\":\"pay\",\"offered\":1,\"rate\":0.1,\"spans_per_second\":100,"          \
    "\"bytes_per_second\":2048,\"spans_offered\":1000,\"bytes_offered\":1," load "}],"                                 \
    "\"estimates\":[]}],\"followers\":[]}"

#define FOLLOWER(state)                                                                                                \
    "{\"way\":\"rtds\",\"id\":\"a\",\"service\":\"pay\",\"side\":\"policy\",\"state\":\"" state "\"}"

static void who_follows_is_counted(void **state) {
    char text[4096];
    const char *const some[] = {FOLLOWER("current"), FOLLOWER("gone"),
                                FOLLOWER("current") "," FOLLOWER("behind") "," FOLLOWER("refused")};
    const char *const says_of[] = {"90 spans/s; told 10 %, 1 follows", "90 spans/s; told 10 %, nobody follows",
                                   "90 spans/s; told 10 %, 2 of 3 behind"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *policy = POLICY("90", "", "\"proxy_cpu\":0");
        snprintf(text, sizeof text, "%.*s%s]}", (int)(strlen(policy) - 2), policy, some[i]);
        answer(HEALTHY_EARLY, HEALTHY_LATE, text, true);
        says(WEIR_TOP_COST, WEIR_TOP_GOOD, "no budget", says_of[i]);
    }
}

static void what_tracing_costs(void **state) {
    (void)state;
    answer(HEALTHY_EARLY, HEALTHY_LATE, POLICY("90", "", "\"proxy_cpu\":0"), true);
    says(WEIR_TOP_COST, WEIR_TOP_GOOD, "no budget", "90 spans/s; told 10 %, nobody follows");
    answer(HEALTHY_EARLY, HEALTHY_LATE, POLICY("90", "\"spans_per_second\":100", "\"proxy_cpu\":0.012"), true);
    says(WEIR_TOP_COST, WEIR_TOP_GOOD, "in budget",
         "90 spans/s, 100 allowed; told 10 %, nobody follows; a proxy pays 1.2 % of a core");
    answer(HEALTHY_EARLY, HEALTHY_LATE, POLICY("400", "\"spans_per_second\":100", "\"proxy_cpu\":0"), true);
    says(WEIR_TOP_COST, WEIR_TOP_WARN, "over budget", "400 spans/s, 100 allowed; told 10 %, nobody follows");
    answer(HEALTHY_EARLY, HEALTHY_LATE, POLICY("9", "\"bytes_per_second\":1024", "\"proxy_cpu\":0"), true);
    says(WEIR_TOP_COST, WEIR_TOP_WARN, "over budget", "9 spans/s; told 10 %, nobody follows; 2.0 KiB/s of 1.0 KiB/s");
    answer(HEALTHY_EARLY, HEALTHY_LATE, POLICY("9", "\"proxy_cpu\":0.01", "\"proxy_cpu\":0.02,\"incident\":true"),
           true);
    says(WEIR_TOP_COST, WEIR_TOP_WARN, "over budget",
         "9 spans/s; told 10 %, nobody follows; a proxy pays 2 % of a core");
    says(WEIR_TOP_MESH, WEIR_TOP_WARN, "incident", "at pay; 2 services, 501 req/s, 0.2 % fail");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_mesh),     cmocka_unit_test(who_fails_is_named),
        cmocka_unit_test(silence_is_told),    cmocka_unit_test(what_is_lost_is_told),
        cmocka_unit_test(what_tracing_costs), cmocka_unit_test(who_follows_is_counted),
    };
    return cmocka_run_group_tests(tests, set_names, free_names);
}
