/* What is success, what is not counted, and what attributes of every dialect say of a span. */
#define _GNU_SOURCE /* memmem */
#include "tests/unit/decode/ruled.h"

static void judgement(void **state) {
    (void)state;
    assert_int_equal(compile("success:\n"
                             "  - { service: payments, http_status: 500-599, attribute: { key: declined, equals: "
                             "'true' }, success: true }\n"
                             "  - { grpc_codes: [NOT_FOUND, OK], success: false }\n"
                             "exclude:\n"
                             "  - { operation: 'GET /healthz*' }\n"
                             "  - { service: probe }\n"),
                     WEIR_OK);
    static const struct {
        const char *service, *name, *declined;
        int64_t http, grpc; /* 0, -1: not said */
        int status;
        bool uncounted;
    } cases[] = {
        {"payments", "x", "true", 503, -1, WEIR_STATUS_OK, false},
        {"payments", "x", "false", 503, -1, WEIR_STATUS_ERROR, false},
        {"payments", "x", "true", 404, -1, WEIR_STATUS_UNSET, false},
        {"orders", "x", "true", 503, -1, WEIR_STATUS_ERROR, false},
        {"orders", "x", "true", 0, 5, WEIR_STATUS_ERROR, false},
        {"orders", "x", "true", 0, 0, WEIR_STATUS_ERROR, false},
        {"orders", "x", "true", 0, 3, WEIR_STATUS_UNSET, false},
        {"orders", "GET /healthz/live", "", 200, -1, WEIR_STATUS_UNSET, true},
        {"orders", "GET /health", "", 200, -1, WEIR_STATUS_UNSET, false},
        {"probe", "x", "", 500, -1, WEIR_STATUS_ERROR, true},
    };
    assert_true(weir_rules_judges(rules));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start();
        weir_span_name(&writer, cases[i].name, strlen(cases[i].name));
        weir_span_text(&writer, T("declined"), cases[i].declined, strlen(cases[i].declined));
        if (cases[i].http != 0) weir_span_int(&writer, T("http.response.status_code"), cases[i].http);
        if (cases[i].grpc >= 0) weir_span_int(&writer, T("rpc.grpc.status_code"), cases[i].grpc);
        done(end_as(cases[i].service));
        struct weir_span judged = *view();
        weir_rules_judge(rules, names, batch->bytes + judged.offset, &judged);
        if (judged.status != cases[i].status) fail_msg("case %zu: status %d", i, judged.status);
        if (((judged.flags & WEIR_SPAN_UNCOUNTED) != 0) != cases[i].uncounted) fail_msg("case %zu: counted", i);
        /* Counted before it came: success is judged all the same. */
        struct weir_span marked = *view();
        marked.flags |= WEIR_SPAN_UNCOUNTED;
        weir_rules_judge(rules, names, batch->bytes + marked.offset, &marked);
        if (marked.status != cases[i].status || (marked.flags & WEIR_SPAN_UNCOUNTED) == 0) fail_msg("case %zu", i);
    }
    assert_int_equal(compile("lanes: 1\n"), WEIR_OK);
    assert_false(weir_rules_judges(rules));
    assert_false(weir_rules_judges(NULL));
}

static void statuses_of_every_dialect(void **state) {
    (void)state;
    static const struct {
        const char *key, *text; /* text NULL: the number */
        int64_t number;
        enum weir_kind kind;
        int status;
    } cases[] = {
        {"http.rsp.status", NULL, 503, WEIR_KIND_SERVER, WEIR_STATUS_ERROR}, /* Linkerd 1 */
        {"h2.rsp.status", NULL, 500, WEIR_KIND_SERVER, WEIR_STATUS_ERROR},
        {"http.response.status_code", "503", 0, WEIR_KIND_CLIENT, WEIR_STATUS_ERROR}, /* Linkerd 2 */
        {"http.status_code", NULL, 404, WEIR_KIND_SERVER, WEIR_STATUS_UNSET},
        {"grpc.status_code", "14", 0, WEIR_KIND_SERVER, WEIR_STATUS_ERROR}, /* Envoy */
        {"rpc.grpc.status_code", NULL, 5, WEIR_KIND_SERVER, WEIR_STATUS_UNSET},
        {"rpc.grpc.status_code", NULL, 5, WEIR_KIND_CLIENT, WEIR_STATUS_ERROR},
        {"rpc.grpc.status_code", NULL, 0, WEIR_KIND_CLIENT, WEIR_STATUS_UNSET},
        {"error", "timeout", 0, WEIR_KIND_SERVER, WEIR_STATUS_ERROR}, /* Zipkin */
        {"error", "", 0, WEIR_KIND_SERVER, WEIR_STATUS_ERROR},
        {"error", "false", 0, WEIR_KIND_SERVER, WEIR_STATUS_UNSET},
        {"l5d.success", "0.0", 0, WEIR_KIND_SERVER, WEIR_STATUS_ERROR},
        {"l5d.success", "1.0", 0, WEIR_KIND_SERVER, WEIR_STATUS_UNSET},
        {"terror", "yes", 0, WEIR_KIND_SERVER, WEIR_STATUS_UNSET},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start();
        weir_span_kind(&writer, cases[i].kind);
        if (cases[i].text != NULL)
            weir_span_text(&writer, cases[i].key, strlen(cases[i].key), cases[i].text, strlen(cases[i].text));
        else
            weir_span_int(&writer, cases[i].key, strlen(cases[i].key), cases[i].number);
        done(end_as("shop"));
        if (view()->status != cases[i].status) fail_msg("%s: %d", cases[i].key, view()->status);
    }
}

static void weights_and_marks(void **state) {
    (void)state;
    start();
    weir_span_double(&writer, T("zipkin.sampling_rate"), 0.25);
    weir_span_bool(&writer, T("zipkin.debug"), true);
    weir_span_bool(&writer, T("zipkin.shared"), true);
    done(end_as("shop"));
    assert_true(view()->prior == 4);
    assert_int_equal(view()->flags,
                     WEIR_SPAN_ROOT | WEIR_SPAN_PRIOR | WEIR_SPAN_DEBUG | WEIR_SPAN_FORCED | WEIR_SPAN_SHARED);
    start();
    weir_span_text(&writer, T("zipkin.sampling_rate"), T("0.5"));
    weir_span_double(&writer, T("weir.prior_weight"), 8);
    done(end_as("shop"));
    assert_true(view()->prior == 8);
    start();
    weir_span_double(&writer, T("zipkin.sampling_rate"), 1.5);
    weir_span_bool(&writer, T("zipkin.debug"), false);
    done(end_as("shop"));
    assert_true(view()->prior == 1);
    assert_int_equal(view()->flags, WEIR_SPAN_ROOT);
}

/* As the samplers of OpenTelemetry for Go and of Jaeger's own clients write it at the root. */
static void weights_of_jaegers_clients(void **state) {
    (void)state;
    static const struct {
        const char *type_key, *type, *param_key, *param; /* param NULL: `number` */
        double number;
        uint64_t parent;
        double prior; /* 0: nothing is known */
    } cases[] = {
        {"jaeger.sampler.type", "probabilistic", "jaeger.sampler.param", NULL, 0.1, 0, 10},
        {"jaeger.sampler.type", "probabilistic", "jaeger.sampler.param", NULL, 1, 0, 1},
        {"sampler.type", "probabilistic", "sampler.param", NULL, 0.125, 0, 8},
        {"sampler.type", "probabilistic", "sampler.param", "0.25", 0, 0, 4}, /* by way of Zipkin */
        {"jaeger.sampler.type", "probabilistic", "jaeger.sampler.param", NULL, 0.1, 7, 0},
        {"jaeger.sampler.type", "ratelimiting", "jaeger.sampler.param", NULL, 0.5, 0, 0},
        {"sampler.type", "lowerbound", "sampler.param", NULL, 0.1, 0, 0},
        {"sampler.type", "const", "sampler.param", NULL, 1, 0, 0},
        {"sampler.type", "probabilistic", "sampler.param", NULL, 0, 0, 0},
        {"sampler.type", "probabilistic", "sampler.param", NULL, 1.5, 0, 0},
        {"sampler.type", "probabilistic", "sampler.param", "half", 0, 0, 0},
        {"sampler.type", "probabilistic", "a.sampler.param", NULL, 0.5, 0, 0},
        {"sampler.kind", "probabilistic", "sampler.param", NULL, 0.5, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *type = cases[i].type_key, *param = cases[i].param_key, *text = cases[i].param;
        weir_span_begin(&writer, batch);
        weir_span_ids(&writer, 1, 2, 3, cases[i].parent);
        weir_span_text(&writer, type, strlen(type), cases[i].type, strlen(cases[i].type));
        if (text != NULL)
            weir_span_text(&writer, param, strlen(param), text, strlen(text));
        else
            weir_span_double(&writer, param, strlen(param), cases[i].number);
        done(end_as("shop"));
        bool said = (view()->flags & WEIR_SPAN_PRIOR) != 0;
        if (said != (cases[i].prior != 0) || view()->prior != (said ? cases[i].prior : 1))
            fail_msg("case %zu: %g", i, view()->prior);
    }
    start(); /* what a Weir before this one wrote goes first */
    weir_span_text(&writer, T("jaeger.sampler.type"), T("probabilistic"));
    weir_span_double(&writer, T("jaeger.sampler.param"), 0.5);
    weir_span_double(&writer, T("weir.prior_weight"), 8);
    done(end_as("shop"));
    assert_true(view()->prior == 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(judgement, begin, finish),
        cmocka_unit_test_setup_teardown(statuses_of_every_dialect, begin, finish),
        cmocka_unit_test_setup_teardown(weights_and_marks, begin, finish),
        cmocka_unit_test_setup_teardown(weights_of_jaegers_clients, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
