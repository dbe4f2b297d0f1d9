/* The thread with everything real around it: board, meters, series, a policy of a file. */
#include "collector/config/config.h"
#include "collector/steer/inside.h"
#include "tests/unit/aggregate/house.h"
#include "tests/unit/steer/told.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct rig {
    struct house *house;
    struct weir_steering *board;
    struct weir_meter *meters[2];
    struct weir_steer *steer;
    char folder[32], rates[64];
    struct weir_config *config;
};

static struct weir_policy *policy_of(struct rig *rig, const char *text) {
    struct weir_policy *policy = NULL;
    struct weir_error err = {0};
    if (weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), rig->house->names, &policy, &err) !=
        WEIR_OK)
        fail_msg("%s", err.text);
    return policy;
}

static struct weir_steer_policies policies_of(struct rig *rig, const char *text, const char *canary, double share) {
    return (struct weir_steer_policies){policy_of(rig, text), canary == NULL ? NULL : policy_of(rig, canary),
                                        canary == NULL ? 0 : share};
}

static void unref(struct weir_steer_policies *policies) {
    weir_policy_unref(policies->policy);
    weir_policy_unref(policies->canary);
}

/* Its thread does not run yet: what is told stands. */
static void rig_make(struct rig *rig, const char *text, const char *canary, double share) {
    struct weir_error err = {0};
    const struct weir_steer_env env = {.names = rig->house->names,
                                       .metrics = rig->house->metrics,
                                       .clock = &weir_clock_system,
                                       .aggregate = rig->house->aggregate,
                                       .steering = rig->board,
                                       .meters = rig->meters,
                                       .meter_count = 2,
                                       .config = rig->config,
                                       .rates_path = rig->rates};
    struct weir_steer_policies policies = policies_of(rig, text, canary, share);
    assert_int_equal(weir_steer_new(&rig->steer, &env, &policies, &err), WEIR_OK);
    unref(&policies);
}

static void rig_start(struct rig *rig) {
    struct weir_error err = {0};
    assert_int_equal(weir_steer_start(rig->steer, &err), WEIR_OK);
}

static void rig_begin(struct rig *rig, const char *text, const char *canary, double share) {
    rig_make(rig, text, canary, share);
    rig_start(rig);
}

static struct rig rig_open(void) {
    struct weir_aggregate_config config = house_config();
    struct weir_error err = {0};
    struct rig rig = {.house = house_open(&config, 2), .folder = "/tmp/weir-steer-XXXXXX"};
    rig.board = weir_steering_new(rig.house->names, rig.house->metrics, &weir_clock_system);
    assert_non_null(rig.board);
    assert_int_equal(weir_config_load("", &rig.config, &err), WEIR_OK);
    for (int i = 0; i < 2; i++) {
        rig.meters[i] = weir_meter_new();
        assert_non_null(rig.meters[i]);
    }
    assert_non_null(mkdtemp(rig.folder));
    snprintf(rig.rates, sizeof rig.rates, "%s/rates", rig.folder);
    return rig;
}

static void rig_close(struct rig *rig) {
    weir_steer_free(rig->steer);
    weir_steering_free(rig->board);
    for (int i = 0; i < 2; i++)
        weir_meter_free(rig->meters[i]);
    weir_config_free(rig->config);
    house_close(rig->house);
    unlink(rig->rates);
    rmdir(rig->folder);
}

static double told(struct rig *rig, const char *id, const char *service) {
    return rate_told(rig->board, id, house_name(rig->house, service));
}

static bool page_has(struct rig *rig, const char *text) {
    return steer_page_has(rig->steer, text);
}

static bool json_has(struct rig *rig, const char *text) {
    struct weir_buffer page = {0};
    weir_steer_write(rig->steer, &page);
    weir_buffer_byte(&page, 0);
    bool there = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return there;
}

/* Traces of a root and three more spans, that stand for ten each, on both lanes. */
static void offer(struct rig *rig, const char *service, uint32_t traces) {
    static uint64_t trace = 1;
    for (uint32_t i = 0; i < traces; i++, trace++) {
        struct weir_span span = {.trace_lo = trace,
                                 .prior = 10,
                                 .size = 500,
                                 .duration_ns = WEIR_MS,
                                 .service = house_name(rig->house, service),
                                 .operation = house_name(rig->house, "GET /"),
                                 .kind = WEIR_KIND_SERVER};
        uint64_t now_ns = weir_mono_ns(&weir_clock_system);
        for (uint64_t id = 1; id <= 4; id++) {
            span.span_id = id;
            span.parent_id = id == 4 ? 0 : 4;
            span.flags = id == 4 ? WEIR_SPAN_ROOT : 0;
            weir_meter_span(rig->meters[i % 2], &span, now_ns);
        }
    }
}

enum { NAPS = 6000 }; /* five minutes: the machine may stop the thread for a while */
static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

static void a_reload_is_told_when_it_returns(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig, "proxies: { default: { rate: 0.01 }, services: { pay: { rate: 0.5 } } }", NULL, 0);
    assert_true(told(&rig, "a", "pay") == 0.5);
    assert_true(told(&rig, "a", "other") == 0.01);
    assert_true(page_has(&rig, "weir_policy_rate{service=\"pay\",side=\"policy\"} 0.5\n"));
    assert_true(page_has(&rig, "weir_policy_rate{service=\"\",side=\"policy\"} 0.01\n"));
    struct weir_steer_policies policies = policies_of(&rig, "proxies: { default: { rate: 0.25 } }", NULL, 0);
    weir_steer_reload(rig.steer, &policies, rig.config);
    unref(&policies);
    assert_true(told(&rig, "a", "pay") == 0.25);
    policies = policies_of(&rig, "collector: { rate: 0.5 }", NULL, 0);
    weir_steer_reload(rig.steer, &policies, rig.config);
    unref(&policies);
    assert_true(told(&rig, "a", "pay") == -1);
    assert_false(page_has(&rig, "weir_policy_rate{"));
    assert_true(json_has(&rig, "\"sides\":[],"));
    rig_close(&rig);
}

static void a_share_of_the_proxies_is_told_the_canary(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig, "proxies: { default: { rate: 0.01 } }", "proxies: { default: { rate: 0.02 } }", 0.3);
    int canaries = 0;
    for (int i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "node-%d", i);
        double rate = told(&rig, id, "pay");
        assert_true(rate == 0.01 || rate == 0.02);
        canaries += rate == 0.02;
    }
    assert_in_range(canaries, 230, 370); /* 300, and five times its standard deviation */
    assert_true(page_has(&rig, "weir_policy_rate{service=\"\",side=\"canary\"} 0.02\n"));
    assert_true(json_has(&rig, "{\"side\":\"canary\",\"share\":0.3,"));
    rig_close(&rig);
}

static void a_canary_says_whose_its_proxies_are(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_make(&rig, "proxies: { default: { rate: 0.01 } }",
             "proxies: { default: { rate: 0.01 }, services: { pay: { rate: 0.5, nodes: [mesh-*] } } }", 1);
    assert_int_equal(weir_steering_service_of(rig.board, "a", "mesh-eu"), house_name(rig.house, "pay"));
    struct weir_steer_policies policies = policies_of(&rig, "proxies: { default: { rate: 0.01 } }", NULL, 0);
    weir_steer_reload(rig.steer, &policies, rig.config);
    unref(&policies);
    assert_int_equal(weir_steering_service_of(rig.board, "a", "mesh-eu"), WEIR_NAME_NONE);
    rig_close(&rig);
}

/* It is no start: its proxies have what all have, and what is offered is known. */
static void a_canary_begins_at_what_is_told(void **state) {
    (void)state;
    struct rig rig = rig_open();
    static const char text[] = "proxies: { default: { rate: 0.5 }, services: { pay: { rate: 0.002 } },"
                               " budget: { spans_per_second: 1000000 } }";
    static const char next[] = "proxies: { default: { rate: 0.5 }, services: { pay: { rate: 0.8 } },"
                               " budget: { spans_per_second: 1000000 } }";
    rig_make(&rig, text, NULL, 0);
    assert_true(told(&rig, "a", "pay") == 0.002);
    struct weir_steer_policies policies = policies_of(&rig, text, next, 1);
    weir_steer_reload(rig.steer, &policies, rig.config);
    unref(&policies);
    assert_true(told(&rig, "a", "pay") == 0.002); /* not 0.01, where a controller that knows nothing begins */
    assert_true(json_has(&rig, "\"rate\":0.002,\"why\":\"budget\""));
    rig_start(&rig);
    for (int i = 0; i < NAPS && told(&rig, "a", "pay") <= 0.002; i++)
        nap();
    assert_true(told(&rig, "a", "pay") > 0.002);
    rig_close(&rig);
}

static void what_is_offered_moves_rates_to_the_budget(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig, "proxies: { default: { rate: 0.5 }, budget: { spans_per_second: 10 } }", NULL, 0);
    double rate = told(&rig, "a", "pay");
    /* 200 traces each time, on a fast machine 40,000 a second of four spans: 10 spans are 0.006 %, and on one that is
     * fifty times slower 0.3 % still. */
    for (int i = 0; i < NAPS && rate > 0.005; i++) {
        offer(&rig, "pay", 200);
        for (int m = 0; m < 2; m++)
            weir_meter_tick(rig.meters[m], weir_mono_ns(&weir_clock_system) + 60 * WEIR_S);
        nap();
        rate = told(&rig, "a", "pay");
    }
    assert_true(rate > 0 && rate <= 0.005);
    assert_true(page_has(&rig, "weir_policy_offered_traces_per_second{service=\"pay\",side=\"policy\"} "));
    assert_true(page_has(&rig, "weir_policy_budget_spans_per_second{service=\"\",side=\"policy\"} 10\n"));
    assert_true(json_has(&rig, "\"service\":\"pay\",\"operation\":\"GET /\",\"offered\":"));
    /* Another process begins where this one ended. */
    weir_steer_stop(rig.steer);
    rate = told(&rig, "a", "pay");
    weir_steer_free(rig.steer);
    rig_make(&rig, "proxies: { default: { rate: 0.5 }, budget: { spans_per_second: 10 } }", NULL, 0);
    assert_true(told(&rig, "a", "pay") <= rate * 1.2);
    rig_close(&rig);
}

static bool is_settling(struct rig *rig) {
    pthread_mutex_lock(&rig->steer->lock);
    bool settling = rig->steer->settling;
    pthread_mutex_unlock(&rig->steer->lock);
    return settling;
}

static void what_is_told_outlives_a_process_that_is_killed(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig, "proxies: { default: { rate: 0.5 }, budget: { spans_per_second: 10 } }", NULL, 0);
    for (int i = 0; i < NAPS && access(rig.rates, R_OK) != 0; i++)
        nap();
    assert_int_equal(access(rig.rates, R_OK), 0);
    for (int i = 0; i < NAPS && is_settling(&rig); i++)
        nap();
    /* By now all that were there before have come back: this one is of another Weir, and changes nothing for others. */
    struct weir_follower late = {WEIR_FOLLOW_RTDS, "late", house_name(rig.house, "pay")};
    weir_steering_has(rig.board, &late, 0.0001, 1);
    for (int i = 0; i < 50; i++) {
        nap();
        assert_true(told(&rig, "a", "pay") >= 0.01);
    }
    weir_steer_stop(rig.steer);
    double rate = told(&rig, "a", "pay");
    unlink(rig.rates);
    weir_steer_stop(rig.steer); /* there is nothing to stop any more */
    for (int i = 0; i < 50; i++)
        nap();
    assert_true(told(&rig, "a", "pay") == rate);
    assert_int_not_equal(access(rig.rates, F_OK), 0);
    rig_close(&rig);
}

/* Of a series on the page; below 0: it is not there. */
static double value_of(struct rig *rig, const char *series) {
    struct weir_buffer page = {0};
    char wanted[160];
    snprintf(wanted, sizeof wanted, "\n%s ", series);
    weir_steer_expose(rig->steer, &page);
    weir_buffer_byte(&page, 0);
    const char *at = strstr((const char *)page.bytes, wanted);
    double value = at == NULL ? -1 : strtod(at + strlen(wanted), NULL);
    weir_buffer_free(&page);
    return value;
}

/* The next step shows it. */
static void await(struct rig *rig, const char *series, double value) {
    for (int i = 0; i < NAPS && fabs(value_of(rig, series) - value) > 1e-9; i++)
        nap();
    assert_true(fabs(value_of(rig, series) - value) <= 1e-9);
}

/* Offers traces until they are seen there, and returns what is: its steps stand, and so do numbers, until the lock is
 * given back. */
static double offer_until(struct rig *rig, const char *service, const char *series) {
    for (int i = 0; i < NAPS; i++) {
        offer(rig, service, 10);
        for (int m = 0; m < 2; m++)
            weir_meter_tick(rig->meters[m], weir_mono_ns(&weir_clock_system));
        nap();
        pthread_mutex_lock(&rig->steer->lock);
        double value = value_of(rig, series);
        if (value > 0) return value;
        pthread_mutex_unlock(&rig->steer->lock);
    }
    fail_msg("%s is never more than 0", series);
    return 0;
}

static void what_it_costs_is_a_series(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig,
              "proxies: { default: { rate: 0.5, min_traces_per_second: 0.25 }, cost_per_span: 10us,"
              " services: { pay: { rate: 0.25, min_traces_per_second: 2,"
              " budget: { spans_per_second: 90, bytes_per_second: 1MiB, proxy_cpu: 2% } } },"
              " budget: { spans_per_second: 5000, bytes_per_second: 2MiB, proxy_cpu: 50% } }",
              NULL, 0);
    struct weir_follower envoy = {WEIR_FOLLOW_RTDS, "envoy", house_name(rig.house, "pay")};
    weir_steering_has(rig.board, &envoy, 0.1, 1);
    assert_true(value_of(&rig, "weir_policy_budget_spans_per_second{service=\"\",side=\"policy\"}") == 5000);
    assert_true(value_of(&rig, "weir_policy_budget_spans_per_second{service=\"pay\",side=\"policy\"}") == 90);
    assert_true(value_of(&rig, "weir_policy_budget_bytes_per_second{service=\"\",side=\"policy\"}") == 2 << 20);
    assert_true(value_of(&rig, "weir_policy_budget_bytes_per_second{service=\"pay\",side=\"policy\"}") == 1 << 20);
    assert_true(value_of(&rig, "weir_policy_budget_proxy_cpu_ratio{service=\"\",side=\"policy\"}") == 0.5);
    assert_true(value_of(&rig, "weir_policy_budget_proxy_cpu_ratio{service=\"pay\",side=\"policy\"}") == 0.02);
    assert_true(value_of(&rig, "weir_policy_floor_traces_per_second{service=\"\",side=\"policy\"}") == 0.25);
    assert_true(value_of(&rig, "weir_policy_floor_traces_per_second{service=\"pay\",side=\"policy\"}") == 2);
    await(&rig, "weir_policy_senders{service=\"pay\",side=\"policy\"}", 1);
    assert_true(value_of(&rig, "weir_policy_incident{service=\"pay\",side=\"policy\"}") == 0);
    assert_true(value_of(&rig, "weir_policy_rows_unshown") == 0);
    assert_true(page_has(&rig, "weir_policy_version_info{side=\"policy\",version=\""));
    double since = value_of(&rig, "weir_policy_rate_since_timestamp_seconds{service=\"pay\",side=\"policy\"}");
    double now = (double)weir_unix_ns(&weir_clock_system) / 1e9;
    assert_true(since > now - 3600 && since <= now);
    double changes = value_of(&rig, "weir_policy_changes_total");
    double traces = offer_until(&rig, "pay", "weir_policy_offered_traces_per_second{service=\"pay\",side=\"policy\"}");
    assert_true(traces > 0);
    assert_true(value_of(&rig, "weir_policy_arriving_spans_per_second") > 0);
    assert_true(value_of(&rig, "weir_policy_changes_total") >= changes);
#define OF_PAY(name, stage) value_of(&rig, "weir_policy_" name "{service=\"pay\",side=\"policy\"" stage "}")
    traces = OF_PAY("offered_traces_per_second", "");
    double offered = OF_PAY("spans_per_second", ",stage=\"offered\""),
           told = OF_PAY("spans_per_second", ",stage=\"told\"");
    assert_true(fabs(offered - (4 * traces)) <= offered / 1e6); /* spans of each, and bytes of each span */
    assert_true(fabs(OF_PAY("bytes_per_second", ",stage=\"offered\"") - (500 * offered)) <= offered / 1e3);
    assert_true(told > 0 && told < offered);
    assert_true(fabs(OF_PAY("bytes_per_second", ",stage=\"told\"") - (500 * told)) <= told / 1e3);
    assert_true(fabs(OF_PAY("proxy_cpu_ratio", "") - (told * 10e-6)) <= 1e-9); /* of one proxy */
    pthread_mutex_unlock(&rig.steer->lock);
    rig_close(&rig);
}

/* A step that takes long holds nobody up who looks, and the other way round. */
static void who_looks_waits_for_no_step(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_make(&rig, "proxies: { default: { rate: 0.25 } }", NULL, 0);
    struct weir_steer_shown *before = weir_steer_look(rig.steer);
    pthread_mutex_lock(&rig.steer->lock); /* as a step has it */
    assert_true(page_has(&rig, "weir_policy_rate{service=\"\",side=\"policy\"} 0.25\n"));
    assert_true(json_has(&rig, "\"rate\":0.25"));
    pthread_mutex_unlock(&rig.steer->lock);
    struct weir_steer_policies policies = policies_of(&rig, "proxies: { default: { rate: 0.5 } }", NULL, 0);
    weir_steer_reload(rig.steer, &policies, rig.config);
    unref(&policies);
    assert_true(before->sides[WEIR_SIDE_POLICY].plan->fallback.rate.rate == 0.25); /* whoever looks at it still may */
    assert_true(page_has(&rig, "weir_policy_rate{service=\"\",side=\"policy\"} 0.5\n"));
    weir_steer_shown_unref(before);
    rig_close(&rig);
}

/* A share of the core of each proxy: of so many as there are, whether or not a file names their service. */
static void proxies_of_any_service_are_known(void **state) {
    (void)state;
    struct rig rig = rig_open();
    rig_begin(&rig, "proxies: { default: { rate: 1 } }",
              "proxies: { default: { rate: 0.5 }, services: { pay: { rate: 0.25 } }, budget: { proxy_cpu: 1% } }", 0.5);
    const char *const services[] = {"pay", "orders"};
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof id, "envoy-%d", i);
        struct weir_follower envoy = {WEIR_FOLLOW_RTDS, id, house_name(rig.house, services[i % 2])};
        weir_steering_has(rig.board, &envoy, 0.1, 1);
    }
    await(&rig, "weir_policy_senders{service=\"pay\",side=\"policy\"}", 4); /* the canary's file names it */
    assert_true(value_of(&rig, "weir_policy_senders{service=\"orders\",side=\"policy\"}") < 0);
    double cpu = offer_until(&rig, "orders", "weir_policy_proxy_cpu_ratio{service=\"orders\",side=\"policy\"}");
    double spans = value_of(&rig, "weir_policy_spans_per_second{service=\"orders\",side=\"policy\",stage=\"told\"}");
    assert_true(spans > 0 && fabs(cpu - spans * 20e-6 / 4) <= cpu / 1e6);
    assert_true(value_of(&rig, "weir_policy_senders{service=\"orders\",side=\"policy\"}") == 4);
    pthread_mutex_unlock(&rig.steer->lock);
    rig_close(&rig);
}

static void a_disk_that_says_no_is_counted_and_changes_nothing(void **state) {
    (void)state;
    struct rig rig = rig_open();
    snprintf(rig.rates, sizeof rig.rates, "%s/gone/rates", rig.folder);
    rig_make(&rig, "proxies: { default: { rate: 0.25 } }", NULL, 0);
    assert_true(page_has(&rig, "weir_policy_saves_failed_total 0\n"));
    assert_true(page_has(&rig, "weir_policy_steps_failed_total 0\n"));
    rig_start(&rig);
    weir_steer_stop(rig.steer);
    assert_true(value_of(&rig, "weir_policy_saves_failed_total") >= 1); /* it tries every ten seconds as well */
    assert_true(told(&rig, "a", "pay") == 0.25);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_is_told_when_it_returns),
        cmocka_unit_test(a_disk_that_says_no_is_counted_and_changes_nothing),
        cmocka_unit_test(a_share_of_the_proxies_is_told_the_canary),
        cmocka_unit_test(a_canary_begins_at_what_is_told),
        cmocka_unit_test(a_canary_says_whose_its_proxies_are),
        cmocka_unit_test(what_is_offered_moves_rates_to_the_budget),
        cmocka_unit_test(what_it_costs_is_a_series),
        cmocka_unit_test(proxies_of_any_service_are_known),
        cmocka_unit_test(who_looks_waits_for_no_step),
        cmocka_unit_test(what_is_told_outlives_a_process_that_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
