#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/core/ledger.h"
#include "collector/sample/policy.h"
#include "tests/unit/named.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_policy *accepts(const char *text) {
    struct weir_policy *policy = NULL;
    struct weir_error err = {0};
    if (weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) != WEIR_OK)
        fail_msg("%s\nis refused: %s", text, err.text);
    return policy;
}

static void refuses(const char *text, const char *reason) {
    struct weir_policy *policy = (void *)1;
    struct weir_error err = {0};
    if (weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) == WEIR_OK)
        fail_msg("%s\nis accepted, not refused with %s", text, reason);
    assert_ptr_equal(policy, (void *)1);
    assert_string_equal(err.text, reason);
}

static struct weir_span span_of(const char *service, const char *operation, uint64_t randomness) {
    return (struct weir_span){.service = id(service), .operation = id(operation), .randomness = randomness, .prior = 1};
}

static uint64_t next(uint64_t *seed) { /* splitmix64 */
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* The rate that a span gets: its own threshold says so. */
static double rate_of(const struct weir_policy *policy, const char *service, const char *operation) {
    struct weir_span span = span_of(service, operation, WEIR_THRESHOLD_MAX - 1);
    if (!weir_policy_keep(policy, &span)) return 0;
    return (double)(WEIR_THRESHOLD_MAX - span.threshold) / (double)WEIR_THRESHOLD_MAX;
}

static void test_thresholds(void **state) {
    (void)state;
    /* OpenTelemetry, "TraceState: Probability Sampling": th:0 = 100 %, 8 = 50 %, c = 25 %, fd70a4 ~ 1 %, ffffffffffffff
     * = 2^-56. */
    static const struct {
        double probability;
        uint64_t threshold;
    } rows[] = {
        {1, 0},
        {0.5, 0x80000000000000},
        {0.25, 0xc0000000000000},
        {0.125, 0xe0000000000000},
        {0.75, 0x40000000000000},
        {0.01, 0xfd70a3d70a3d71},
        {0.1, 0xe6666666666666},
        {1.0 / 3, 0xaaaaaaaaaaaaac}, /* of the double, which is 1/3 - 2^-56 x 1.33 */
        {0x1p-56, 0xffffffffffffff},
        {0x1p-60, 0xffffffffffffff}, /* not nothing */
        {0, WEIR_THRESHOLD_MAX},
        {-1, WEIR_THRESHOLD_MAX},
        {2, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t threshold = weir_threshold_of(rows[i].probability);
        if (threshold != rows[i].threshold)
            fail_msg("%.17g: %llx, not %llx", rows[i].probability, (unsigned long long)threshold,
                     (unsigned long long)rows[i].threshold);
    }
    assert_int_equal(weir_threshold_of(NAN), WEIR_THRESHOLD_MAX);
    assert_int_equal((weir_threshold_of(0.01) + (1ull << 31)) >> 32, 0xfd70a4); /* six digits, rounded */
}

static void test_raise(void **state) {
    (void)state;
    const uint64_t half = 0x80000000000000, quarter = 0xc0000000000000;
    struct weir_span span = {.randomness = half, .prior = 1};
    assert_true(weir_threshold_raise(&span, half)); /* R >= T */
    assert_int_equal(span.threshold, half);
    assert_int_equal(span.flags, WEIR_SPAN_TH_CHANGED);
    assert_true(weir_span_weight(&span) == 2);
    span = (struct weir_span){.randomness = half - 1, .prior = 1};
    assert_false(weir_threshold_raise(&span, half));
    assert_int_equal(span.threshold, 0);
    /* never lowered: what was thinned more upstream stays as it is */
    span = (struct weir_span){.randomness = quarter, .threshold = quarter, .prior = 3, .flags = WEIR_SPAN_TH};
    assert_true(weir_threshold_raise(&span, half));
    assert_int_equal(span.threshold, quarter);
    assert_int_equal(span.flags, WEIR_SPAN_TH);
    assert_true(weir_span_weight(&span) == 12);
    /* forced */
    span = (struct weir_span){.randomness = 0, .prior = 1, .flags = WEIR_SPAN_FORCED};
    assert_true(weir_threshold_raise(&span, WEIR_THRESHOLD_MAX));
    assert_int_equal(span.threshold, 0);
    assert_int_equal(span.flags, WEIR_SPAN_FORCED);
    /* nothing */
    span = (struct weir_span){.randomness = WEIR_THRESHOLD_MAX - 1, .prior = 1};
    assert_false(weir_threshold_raise(&span, WEIR_THRESHOLD_MAX));
}

static void test_keeps_all(void **state) {
    (void)state;
    static const char *const all[] = {"",
                                      "# nothing\n",
                                      "collector:\n",
                                      "collector: { rate: 1 }\n",
                                      "collector: { services: { a: { rate: 100% } } }\n",
                                      "sources:\n  - { match: { service: a }, sampled_at: 0.1 }\n"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct weir_policy *policy = accepts(all[i]);
        assert_true(weir_policy_keeps_all(policy));
        struct weir_span span = span_of("a", "b", 0);
        assert_true(weir_policy_keep(policy, &span));
        assert_int_equal(span.flags, 0);
        weir_policy_unref(policy);
    }
    static const char *const some[] = {"collector: { rate: 0.999 }\n", "collector: { services: { a: { rate: 0 } } }\n",
                                       "collector: { services: { a: { operations: { x: { rate: 50% } } } } }\n"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct weir_policy *policy = accepts(some[i]);
        assert_false(weir_policy_keeps_all(policy));
        weir_policy_unref(policy);
    }
    struct weir_policy *none = NULL;
    assert_int_equal(weir_policy_load(NULL, names, &none, NULL), WEIR_OK);
    assert_true(weir_policy_keeps_all(none));
    assert_int_equal(weir_policy_version(none), 0);
    weir_policy_unref(none);
    weir_policy_unref(NULL);
}

static void test_the_most_specific_rate_counts(void **state) {
    (void)state;
    struct weir_policy *policy = accepts("collector:\n"
                                         "  rate: 12.5%\n"
                                         "  services:\n"
                                         "    payments: { rate: 0.5, operations: { 'POST /v2/checkout': { rate: 1 }, "
                                         "'GET /healthz': { rate: 0 }, 'GET /users/42/cards': { rate: 0.25 } } }\n"
                                         "    cards: { rate: 0, operations: { 'GET /': { rate: 0.25 } } }\n"
                                         "    ledger: { operations: { 'PUT /entry': { rate: 1 } } }\n"
                                         "    empty: {}\n");
    assert_true(rate_of(policy, "unknown", "GET /healthz") == 0.125);
    assert_true(rate_of(policy, "", "GET /healthz") == 0.125);
    assert_true(rate_of(policy, "payments", "GET /other") == 0.5);
    assert_true(rate_of(policy, "payments", "") == 0.5);
    assert_true(rate_of(policy, "payments", "POST /v2/checkout") == 1);
    assert_true(rate_of(policy, "payments", "GET /healthz") == 0);
    assert_true(rate_of(policy, "payments", "GET /users/{id}/cards") == 0.25); /* as spans carry it */
    assert_true(rate_of(policy, "cards", "GET /") == 0.25);
    assert_true(rate_of(policy, "cards", "GET /x") == 0);
    assert_true(rate_of(policy, "ledger", "PUT /entry") == 1);
    assert_true(rate_of(policy, "ledger", "GET /entry") == 0.125); /* the collector's */
    assert_true(rate_of(policy, "empty", "GET /") == 0.125);
    struct weir_span overflow = {.service = WEIR_NAME_OVERFLOW,
                                 .operation = WEIR_NAME_OVERFLOW,
                                 .randomness = WEIR_THRESHOLD_MAX - 1,
                                 .prior = 1};
    assert_true(weir_policy_keep(policy, &overflow));
    assert_int_equal(overflow.threshold, 0xe0000000000000);
    weir_policy_unref(policy);
}

static void test_many_services(void **state) {
    (void)state;
    static char text[200000];
    size_t used = (size_t)snprintf(text, sizeof text, "collector:\n  services:\n");
    for (int i = 0; i < 1000; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "    s%d: { rate: %.4f, operations: { op: { rate: %.4f } } }\n", i, i / 1000.0,
                                 1 - i / 1000.0);
    }
    struct weir_policy *policy = accepts(text);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        assert_true(fabs(rate_of(policy, name, "other") - i / 1000.0) < 1e-12);
        assert_true(fabs(rate_of(policy, name, "op") - (1 - i / 1000.0)) < 1e-12);
    }
    assert_true(rate_of(policy, "s1000", "op") == 1);
    weir_policy_unref(policy);
}

/* The share kept is the rate's, the weights add up to what came, whole traces are kept or not. */
static void test_statistics(void **state) {
    (void)state;
    enum { TRACES = 200000 };
    static const double rates[] = {0.5, 0.1, 0.01, 0.003};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        char text[64];
        snprintf(text, sizeof text, "collector: { rate: %g }\n", rates[r]);
        struct weir_policy *policy = accepts(text);
        uint64_t seed = 42 + r, kept = 0;
        double weight = 0;
        for (uint64_t i = 0; i < TRACES; i++) {
            uint64_t randomness = next(&seed) >> 8;
            struct weir_span span = span_of("a", "x", randomness), sister = span_of("b", "y", randomness);
            bool keep = weir_policy_keep(policy, &span);
            assert_true(weir_policy_keep(policy, &sister) == keep);
            if (!keep) continue;
            kept++;
            weight += weir_span_weight(&span);
        }
        double deviation = sqrt(TRACES * rates[r] * (1 - rates[r])); /* binomial */
        if (fabs((double)kept - TRACES * rates[r]) > 4 * deviation)
            fail_msg("%g: %llu kept", rates[r], (unsigned long long)kept);
        if (fabs(weight - TRACES) > 4 * deviation / rates[r]) fail_msg("%g: weights add up to %g", rates[r], weight);
        weir_policy_unref(policy);
    }
}

/* A mesh that thins in two places: its weights stay true, and the lower rate alone decides. */
static void test_two_stages_are_consistent(void **state) {
    (void)state;
    enum { TRACES = 200000 };
    struct weir_policy *first = accepts("collector: { rate: 0.2, services: { b: { rate: 0.01 } } }\n"),
                       *second = accepts("collector: { rate: 0.05 }\n");
    uint64_t seed = 7;
    double weights[2] = {0, 0};
    uint64_t kept[2] = {0, 0};
    for (uint64_t i = 0; i < TRACES; i++) {
        uint64_t randomness = next(&seed) >> 8;
        struct weir_span spans[2] = {span_of("a", "x", randomness), span_of("b", "x", randomness)};
        for (int s = 0; s < 2; s++) {
            if (!weir_policy_keep(first, &spans[s])) continue;
            spans[s].flags = WEIR_SPAN_TH; /* as the next Weir reads it */
            if (!weir_policy_keep(second, &spans[s])) continue;
            kept[s]++;
            weights[s] += weir_span_weight(&spans[s]);
            assert_int_equal(spans[s].threshold, weir_threshold_of(s == 0 ? 0.05 : 0.01));
            assert_true(randomness >= spans[s].threshold);
        }
    }
    for (int s = 0; s < 2; s++) {
        double rate = s == 0 ? 0.05 : 0.01, deviation = sqrt(TRACES * rate * (1 - rate));
        assert_true(fabs((double)kept[s] - TRACES * rate) < 4 * deviation);
        assert_true(fabs(weights[s] - TRACES) < 4 * deviation / rate);
    }
    weir_policy_unref(first);
    weir_policy_unref(second);
}

static void test_declared_sources(void **state) {
    (void)state;
    const char *grpc = weir_receiver_names[WEIR_RECEIVER_GRPC];
    char grpc_copy[] = "grpc";
    struct weir_policy *policy = accepts("sources:\n"
                                         "  - { match: { service: first }, sampled_at: 0.5 }\n"
                                         "  - { match: { service: whole }, sampled_at: 1 }\n"
                                         "  - { match: { receiver: grpc, service: edge }, sampled_at: 5% }\n"
                                         "  - { match: { service: edge }, sampled_at: 0.1 }\n"
                                         "  - { match: { receiver: grpc }, sampled_at: 0.25 }\n"
                                         "  - { match: { receiver: grpc, service: late }, sampled_at: 0.125 }\n"
                                         "  - { match: { service: first }, sampled_at: 0.001 }\n");
    static const struct {
        const char *service, *receiver;
        double prior;
    } rows[] = {
        {"first", "grpc", 2},  {"first", "statsd", 2}, {"edge", "grpc", 20},    {"edge", "statsd", 10},
        {"late", "grpc", 4},   {"other", "grpc", 4},   {"", "grpc", 4},         {"other", "statsd", 0},
        {"late", "statsd", 0}, {"whole", "grpc", 1},   {"other", "unheard", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_span span = span_of(rows[i].service, "x", 0);
        enum weir_weight_source source = weir_policy_weigh(policy, rows[i].receiver, &span);
        if (source != (rows[i].prior == 0 ? WEIR_WEIGHT_UNKNOWN : WEIR_WEIGHT_DECLARED) ||
            fabs(span.prior - (rows[i].prior == 0 ? 1 : rows[i].prior)) > 1e-12) {
            fail_msg("%s over %s: source %d, prior %g", rows[i].service, rows[i].receiver, source, span.prior);
        }
        assert_int_equal(span.flags, rows[i].prior > 1 ? WEIR_SPAN_PRIOR_CHANGED : 0);
    }
    /* What a span carries comes first. */
    struct weir_span span = span_of("edge", "x", 0);
    span.flags = WEIR_SPAN_TH;
    assert_int_equal(weir_policy_weigh(policy, grpc, &span), WEIR_WEIGHT_CARRIED);
    assert_true(span.prior == 1);
    span.flags = WEIR_SPAN_PRIOR;
    span.prior = 3;
    assert_int_equal(weir_policy_weigh(policy, grpc, &span), WEIR_WEIGHT_CARRIED);
    assert_true(span.prior == 3);
    /* A forced one passed the sampler by. */
    span = span_of("edge", "x", 0);
    span.flags = WEIR_SPAN_FORCED;
    assert_int_equal(weir_policy_weigh(policy, grpc_copy, &span), WEIR_WEIGHT_DECLARED);
    assert_true(span.prior == 1 && span.flags == WEIR_SPAN_FORCED);
    weir_policy_unref(policy);

    policy = accepts("collector: { rate: 0.5 }\n");
    span = span_of("edge", "x", 0);
    assert_int_equal(weir_policy_weigh(policy, grpc, &span), WEIR_WEIGHT_UNKNOWN);
    assert_true(span.prior == 1 && span.flags == 0);
    weir_policy_unref(policy);

    policy = accepts(
        "sources: [ { match: { receiver: grpc }, sampled_at: 0.25 }, { match: { service: s }, sampled_at: 0.5 } ]\n");
    span = span_of("s", "x", 0);
    assert_int_equal(weir_policy_weigh(policy, grpc, &span), WEIR_WEIGHT_DECLARED);
    assert_true(span.prior == 4); /* the first that fits */
    weir_policy_unref(policy);
}

static void test_forced(void **state) {
    (void)state;
    struct weir_policy *policy = accepts("collector: { rate: 0 }\n");
    struct weir_span span = span_of("a", "b", 0);
    assert_false(weir_policy_keep(policy, &span));
    span.flags = WEIR_SPAN_FORCED;
    assert_true(weir_policy_keep(policy, &span));
    assert_true(weir_span_weight(&span) == 1);
    weir_policy_unref(policy);
}

static void test_refused(void **state) {
    (void)state;
    refuses("receivers: {}\n", "sampling.yaml:1: receivers: is a key of the configuration, not of a sampling policy");
    refuses("- a\n", "sampling.yaml:1: the file is a list, a map of keys is needed");
    refuses("# x\nproxies:\n  default: { rate: 10 }\n",
            "sampling.yaml:3: rate: \"10\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("colector: {}\n", "sampling.yaml:1: colector: unknown key, did you mean collector?");
    refuses("tail: {}\n", "sampling.yaml:1: tail: unknown key; known are proxies, collector, sources, keep");
    refuses("collector: 1\n", "sampling.yaml:1: collector: is a single value, a map is needed");
    refuses("collector: { rate: 10 }\n", "sampling.yaml:1: rate: \"10\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("collector: { rate: -0.1 }\n",
            "sampling.yaml:1: rate: \"-0.1\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("collector: { rate: }\n",
            "sampling.yaml:1: rate: is nothing, a rate of 0 to 1 or \"0%\" to \"100%\" is needed");
    refuses("collector:\n  rates: 1\n", "sampling.yaml:2: collector.rates: unknown key, did you mean rate?");
    refuses("collector:\n  services: [a]\n", "sampling.yaml:2: services: is a list, a map of services is needed");
    refuses("collector:\n  services:\n    a: 0.1\n",
            "sampling.yaml:3: service a: is a single value, { rate: ... } is needed");
    refuses("collector:\n  services:\n    a:\n      rate: 110%\n",
            "sampling.yaml:4: rate: \"110%\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("collector:\n  services:\n    a: { rat: 1 }\n",
            "sampling.yaml:3: service a.rat: unknown key, did you mean rate?");
    refuses("collector:\n  services:\n    a: { rate: 1 }\n    a: { rate: 0 }\n",
            "sampling.yaml:4: a: given twice, first at line 3");
    refuses("collector:\n  services:\n    '': { rate: 1 }\n", "sampling.yaml:3: an empty name");
    refuses("collector:\n  services:\n    overflow: { rate: 1 }\n",
            "sampling.yaml:3: no room for one more name (memory.names), or the name is `overflow`");
    refuses("collector:\n  services:\n    a:\n      operations:\n        GET /: 0.1\n",
            "sampling.yaml:5: operation GET /: is a single value, { rate: ... } is needed");
    refuses("collector:\n  services:\n    a:\n      operations: { GET /: {} }\n",
            "sampling.yaml:4: operation GET /: has no rate");
    refuses("collector:\n  services:\n    a:\n      operations: { GET /: { rate: 1, max: 1 } }\n",
            "sampling.yaml:4: operation GET /.max: unknown key; known are rate");
    refuses("collector:\n  services:\n    a:\n      operations:\n        GET /1: { rate: 1 }\n        GET /2: { rate: "
            "0 }\n",
            "sampling.yaml:6: GET /2: is the same operation as one above, once its ids are templated");
    refuses("sources: {}\n", "sampling.yaml:1: sources: is a map, a list is needed");
    refuses("sources:\n  - service: a\n", "sampling.yaml:2: sources.service: unknown key; known are match, sampled_at");
    refuses("sources:\n  - { match: { service: a }, sampled_at: 0 }\n",
            "sampling.yaml:2: sampled_at: has to be above 0: nothing would have come");
    refuses("sources:\n  - { match: { service: a }, sampled_at: 5 }\n",
            "sampling.yaml:2: sampled_at: \"5\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("sources:\n  - { match: { service: a } }\n", "sampling.yaml:2: sources: an entry has no sampled_at");
    refuses("sources:\n  - { sampled_at: 1 }\n", "sampling.yaml:2: sources: an entry has no match");
    refuses("sources:\n  - { match: {}, sampled_at: 1 }\n",
            "sampling.yaml:2: match: names neither receiver nor service");
    refuses("sources:\n  - { match: { receiver: kafka }, sampled_at: 1 }\n",
            "sampling.yaml:2: receiver: \"kafka\" is not one that brings spans; known are grpc, otlp_http, zipkin, "
            "scribe, datagram, access_log");
    refuses("sources:\n  - { match: { receiver: statsd }, sampled_at: 1 }\n",
            "sampling.yaml:2: receiver: \"statsd\" is not one that brings spans; known are grpc, otlp_http, zipkin, "
            "scribe, datagram, access_log");
    refuses("sources:\n  - { match: { host: a }, sampled_at: 1 }\n",
            "sampling.yaml:2: match.host: unknown key; known are receiver, service");
    refuses("collector: { rate: [\n",
            "sampling.yaml:2: not YAML: did not find expected node content, while parsing a flow node");
}

static void test_no_room_for_names(void **state) {
    (void)state;
    struct weir_names *small = weir_names_new(16, 4096);
    struct weir_policy *policy = NULL;
    struct weir_error err = {0};
    char text[1024] = "collector:\n  services:\n";
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), 40, "    s%d: { rate: 1 }\n", i);
    assert_int_equal(weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), small, &policy, &err),
                     WEIR_INVALID);
    assert_string_equal(err.text,
                        "sampling.yaml:17: no room for one more name (memory.names), or the name is `overflow`");
    weir_names_free(small);
}

static void test_files(void **state) {
    (void)state;
    struct weir_policy *policy = NULL, *other = NULL;
    struct weir_error err = {0};
    assert_int_equal(weir_policy_load("/no/such/sampling.yaml", names, &policy, &err), WEIR_IO);
    assert_string_equal(err.text, "/no/such/sampling.yaml: No such file or directory");
    if (weir_policy_load(WEIR_TEST_DATA "/../../examples/sampling.yaml", names, &policy, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    assert_true(rate_of(policy, "payments", "POST /v2/checkout") == 1);
    assert_true(rate_of(policy, "payments", "GET /healthz") == 0);
    assert_true(fabs(rate_of(policy, "payments", "GET /v2/orders/{id}") - 0.01) < 1e-12);
    assert_true(rate_of(policy, "payments", "GET /x") == 0.5);
    assert_true(fabs(rate_of(policy, "other", "GET /x") - 0.1) < 1e-12);
    assert_int_equal(weir_policy_load(WEIR_TEST_DATA "/config/sampling.yaml", names, &other, &err), WEIR_OK);
    assert_true(weir_policy_version(policy) != 0 && weir_policy_version(policy) != weir_policy_version(other));
    assert_ptr_equal(weir_policy_ref(other), other);
    weir_policy_unref(other);
    weir_policy_unref(other);
    weir_policy_unref(policy);
}

/* ---- remarks ---- */

static void remark(void *self, int line, const char *text) {
    char *said = self;
    size_t size = strlen(said);
    snprintf(said + size, 2000 - size, "%d: %s\n", line, text);
}

static void remarks_are(const char *text, const char *expected) {
    char said[2000] = "";
    struct weir_policy *policy = accepts(text);
    weir_policy_remarks(policy, ~(1u << WEIR_RECEIVER_SCRIBE), remark, said);
    weir_policy_unref(policy);
    assert_string_equal(said, expected);
}

static void what_can_have_no_effect(void **state) {
    (void)state;
    remarks_are("", "");
    remarks_are("keep:\n"
                "  rules:\n"
                "    - { name: errors, when: { error: true } }\n"
                "    - { name: slow, when: { duration: '>1s' } }\n"
                "    - { name: tried, dry_run: true }\n"
                "    - { name: slower, when: { duration: '>2s' } }\n"
                "    - { name: both, when: { all: [ { error: true }, { service: pay } ] } }\n"
                "    - { name: twice, when: { error: true }, rate: 0.5 }\n"
                "    - { name: again, when: { all: [ { error: true }, { service: pay } ] } }\n"
                "    - { name: other, when: { all: [ { error: true }, { service: card } ] } }\n"
                "    - { name: slow2, when: { duration: '>1s' } }\n"
                "    - { name: rest, rate: 0.1 }\n"
                "    - { name: late, when: { spans: '>3' } }\n"
                "    - { name: last }\n",
                "8: rule twice: is never asked: the rule errors in line 3 has the same condition\n"
                "9: rule again: is never asked: the rule both in line 7 has the same condition\n"
                "11: rule slow2: is never asked: the rule slow in line 4 has the same condition\n"
                "13: rule late: is never asked: the rule rest in line 12 matches every trace\n"
                "14: rule last: is never asked: the rule rest in line 12 matches every trace\n");
    /* A dry run is asked and decides nothing; behind one nobody is hidden. */
    remarks_are("keep: { rules: [ { name: a, dry_run: true }, { name: b } ] }\n", "");
    /* Rates are of everything. */
    static const char thinned[] = "collector: { rate: 0.01, services: { pay: { rate: %s } } }\n"
                                  "keep:\n"
                                  "  rules:\n"
                                  "    - { name: errors, when: { error: true } }\n"
                                  "    - { name: slow, when: { duration: '>1s' }, rate: 0.25 }\n"
                                  "    - { name: rest, rate: 0.001 }\n";
    char text[400];
    snprintf(text, sizeof text, thinned, "0.25");
    remarks_are(text, "5: rule slow: its rate of 0.25 has no effect: rates are of everything, and collector: leaves no "
                      "more than 0.25 of anything\n");
    snprintf(text, sizeof text, thinned, "0.26");
    remarks_are(text, "");
    /* Sources: the first that fits counts. */
    remarks_are("sources:\n"
                "  - { match: { receiver: grpc, service: edge }, sampled_at: 0.5 }\n"
                "  - { match: { service: edge }, sampled_at: 0.2 }\n"
                "  - { match: { receiver: zipkin, service: edge }, sampled_at: 0.1 }\n"
                "  - { match: { receiver: grpc }, sampled_at: 0.3 }\n"
                "  - { match: { receiver: grpc, service: pay }, sampled_at: 0.1 }\n"
                "  - { match: { receiver: zipkin }, sampled_at: 0.1 }\n"
                "  - { match: { receiver: scribe }, sampled_at: 0.1 }\n",
                "4: sources: this entry is never asked: the one in line 3 fits all that it fits\n"
                "6: sources: this entry is never asked: the one in line 5 fits all that it fits\n"
                "8: sources: nothing comes from receiver scribe, which is off\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_raise),
        cmocka_unit_test(test_keeps_all),
        cmocka_unit_test(test_the_most_specific_rate_counts),
        cmocka_unit_test(test_many_services),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_two_stages_are_consistent),
        cmocka_unit_test(test_declared_sources),
        cmocka_unit_test(test_forced),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_room_for_names),
        cmocka_unit_test(test_files),
        cmocka_unit_test(what_can_have_no_effect),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
