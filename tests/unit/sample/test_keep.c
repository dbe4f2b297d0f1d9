/* Rules on whole traces: one row a matcher and what it must not match. */
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "collector/sample/keep.h"
#include "collector/sample/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct weir_names *names;
static struct weir_batch *batch;
static struct weir_origins *table;

/* ---- spans ---- */

struct said { /* of one span; 0 = the usual */
    const char *service, *operation;
    enum weir_kind kind;
    bool error, child, forced;
    uint32_t start_ms, ms;
    uint16_t http_status;
    uint32_t w3c_flags;
    const char *key, *text; /* an attribute: text, */
    int64_t number;         /* or, without text, an int */
    double real;            /* or a double */
    const char *resource_key, *resource_text;
};

static uint8_t *put_attribute(uint8_t *at, uint32_t field, const char *key, const struct said *said, const char *text) {
    uint8_t value[64], pair[128], *end = value;
    if (text != NULL) {
        end = weir_wire_put_bytes(end, 1, text, strlen(text));
    } else if (said->real != 0) {
        uint64_t bits;
        memcpy(&bits, &said->real, 8);
        end = weir_wire_put_fixed64(end, 4, bits);
    } else {
        end = weir_wire_put_uint(end, 3, (uint64_t)said->number);
    }
    uint8_t *behind = weir_wire_put_bytes(pair, 1, key, strlen(key));
    behind = weir_wire_put_bytes(behind, 2, value, (size_t)(end - value));
    return weir_wire_put_bytes(at, field, pair, (size_t)(behind - pair));
}

static uint32_t name(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

static void add_span(const struct said *said) {
    uint8_t body[256], resource[128], *at = body;
    if (said->key != NULL) at = put_attribute(at, 9, said->key, said, said->text);
    if (said->w3c_flags != 0) {
        at = weir_wire_put_key(at, 16, WEIR_WIRE_FIXED32);
        memcpy(at, &said->w3c_flags, 4);
        at += 4;
    }
    size_t size = (size_t)(at - body), resource_size = 0;
    if (said->resource_key != NULL)
        resource_size = (size_t)(put_attribute(resource, 1, said->resource_key, said, said->resource_text) - resource);
    struct weir_origin_parts parts = {.resource = resource, .resource_size = (uint32_t)resource_size};
    int is_new;
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    uint16_t index;
    assert_int_equal(weir_batch_origin(batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    struct weir_span span = {.trace_lo = 7,
                             .trace_hi = 9,
                             .span_id = batch->span_count + 1,
                             .parent_id = said->child,
                             .prior = 1,
                             .randomness = 1,
                             .start_ns = (1000 + said->start_ms) * WEIR_MS,
                             .duration_ns = (said->ms != 0 ? said->ms : 10) * WEIR_MS,
                             .service = name(said->service != NULL ? said->service : "shop"),
                             .operation = name(said->operation != NULL ? said->operation : "GET /"),
                             .kind = said->kind != 0 ? (uint8_t)said->kind : WEIR_KIND_SERVER,
                             .status = said->error ? WEIR_STATUS_ERROR : WEIR_STATUS_UNSET,
                             .http_status = said->http_status,
                             .origin = index,
                             .offset = (uint32_t)batch->size,
                             .size = (uint32_t)size};
    span.flags = (uint16_t)((said->child ? 0 : WEIR_SPAN_ROOT) | (said->forced ? WEIR_SPAN_FORCED : 0));
    assert_int_equal(weir_batch_room(batch, size), WEIR_OK);
    if (size > 0) memcpy(batch->bytes + batch->size, body, size);
    batch->size += size;
    assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
}

static struct weir_policy *read_policy(const char *text) {
    struct weir_error err = {0};
    struct weir_policy *policy = NULL;
    if (weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) != WEIR_OK)
        fail_msg("%s\n%s", text, err.text);
    return policy;
}

static bool matches(const char *when, const struct said *spans, size_t count) {
    char text[1024];
    snprintf(text, sizeof text, "keep: { rules: [ { name: it, when: %s } ] }\n", when);
    struct weir_policy *policy = read_policy(text);
    const struct weir_keep *keep = weir_policy_keep_part(policy);
    struct weir_trace trace = {0};
    batch = weir_batch_new(NULL, 0);
    for (size_t i = 0; i < count; i++)
        add_span(&spans[i]);
    for (uint32_t i = 0; i < count; i++)
        weir_trace_add(&trace, keep, NULL, names, batch, i);
    uint64_t dry;
    uint16_t rule = weir_keep_match(keep, &trace, trace.passed, &dry);
    struct weir_buffer said = {0};
    bool explained = weir_keep_explain(keep, 0, &trace, trace.passed, 0, &said);
    if ((trace.flags & WEIR_TRACE_FORCED) == 0) assert_int_equal(explained, rule == 0);
    assert_true(said.size > 0);
    weir_buffer_free(&said);
    weir_batch_unref(batch);
    weir_policy_unref(policy);
    return rule == 0;
}
#define YES(when, ...)                                                                                                 \
    do {                                                                                                               \
        const struct said spans_[] = {__VA_ARGS__};                                                                    \
        if (!matches(when, spans_, sizeof spans_ / sizeof *spans_)) fail_msg("does not match: %s", when);              \
    } while (0)
#define NO(when, ...)                                                                                                  \
    do {                                                                                                               \
        const struct said spans_[] = {__VA_ARGS__};                                                                    \
        if (matches(when, spans_, sizeof spans_ / sizeof *spans_)) fail_msg("matches: %s", when);                      \
    } while (0)

static void each_matcher(void **state) {
    (void)state;
    YES("{ error: true }", {.error = true});
    YES("{ error: true }", {0}, {.error = true, .child = true});
    NO("{ error: true }", {0});
    YES("{ error: false }", {0}, {0});
    NO("{ error: false }", {0}, {.error = true});

    YES("{ duration: \">750ms\" }", {.ms = 751});
    NO("{ duration: \">750ms\" }", {.ms = 750});
    YES("{ duration: \">=750ms\" }", {.ms = 750});
    YES("{ duration: \"> 750ms\" }", {.ms = 10}, {.start_ms = 745, .ms = 10, .child = true}); /* of the trace */
    NO("{ duration: \"<20ms\" }", {.ms = 20});
    YES("{ duration: \"<=20ms\" }", {.ms = 20});
    YES("{ duration: \"10ms..20ms\" }", {.ms = 20});
    NO("{ duration: \"10ms..20ms\" }", {.ms = 21});
    YES("{ duration: [\"<20ms\", \">1s\"] }", {.ms = 2000});

    YES("{ service: pay }", {0}, {.service = "pay", .child = true});
    NO("{ service: pay }", {.service = "payments"});
    YES("{ service: pay* }", {.service = "payments"});
    NO("{ service: pay* }", {.service = "prepay"});
    YES("{ service: [a, b] }", {.service = "b"});
    NO("{ service: [a, b] }", {.service = "c"});

    YES("{ operation: \"GET /users/42\" }", {.operation = "GET /users/{id}"}); /* templated, as spans are */
    NO("{ operation: \"GET /users\" }", {.operation = "GET /users/{id}"});
    YES("{ operation: \"GET /users*\" }", {.operation = "GET /users/{id}"});

    YES("{ kind: server }", {0});
    NO("{ kind: server }", {.kind = WEIR_KIND_CLIENT});
    YES("{ kind: [consumer, client] }", {.kind = WEIR_KIND_CLIENT});

    YES("{ http_status: 503 }", {.http_status = 503});
    NO("{ http_status: 503 }", {.http_status = 500});
    YES("{ http_status: \"500..599\" }", {.http_status = 599});
    NO("{ http_status: \"<400\" }", {0}); /* not said */
    YES("{ http_status: [404, \">=500\"] }", {.http_status = 404});

    YES("{ spans: \">1\" }", {0}, {0});
    NO("{ spans: \">1\" }", {0});
    YES("{ spans: 2 }", {0}, {0});

    YES("{ sampled: true }", {.w3c_flags = 0x101});
    NO("{ sampled: true }", {.w3c_flags = 0x100});
    NO("{ sampled: true }", {0});
    YES("{ sampled: false }", {0});
}

static void attributes(void **state) {
    (void)state;
    const char *vip = "{ attribute: { key: user.tier, equals: gold } }";
    YES(vip, {.key = "user.tier", .text = "gold"});
    NO(vip, {.key = "user.tier", .text = "golden"});
    NO(vip, {.key = "user.tie", .text = "gold"});
    NO(vip, {0});
    YES(vip, {.resource_key = "user.tier", .resource_text = "gold"});
    NO(vip, {.resource_key = "user.tier", .resource_text = "gold", .key = "user.tier", .text = "tin"}); /* the span's */
    YES("{ attribute: { key: a, equals: [x, y*] } }", {.key = "a", .text = "yes"});
    YES("{ attribute: { key: a, equals: 42 } }", {.key = "a", .number = 42});
    YES("{ attribute: { key: a, equals: 42 } }", {.key = "a", .text = "42"});
    YES("{ attribute: { key: a, equals: 0.5 } }", {.key = "a", .real = 0.5});
    NO("{ attribute: { key: a, equals: 42 } }", {.key = "a", .number = 43});
    YES("{ attribute: { key: a, matches: \"^/v[0-9]+/\" } }", {.key = "a", .text = "/v2/pay"});
    NO("{ attribute: { key: a, matches: \"^/v[0-9]+/\" } }", {.key = "a", .text = "/x/v2/"});
    NO("{ attribute: { key: a, matches: \"4\" } }", {.key = "a", .number = 4}); /* text only */
    YES("{ attribute: { key: a, matches: \"^$\" } }", {.key = "a", .text = ""});
    YES("{ attribute: { key: a, range: \">= 500\" } }", {.key = "a", .number = 500});
    YES("{ attribute: { key: a, range: \">= 500\" } }", {.key = "a", .text = "503"});
    NO("{ attribute: { key: a, range: \">= 500\" } }", {.key = "a", .text = "fast"});
    NO("{ attribute: { key: a, range: { min: 1, max: 2 } } }", {.key = "a", .real = 2.5});
    YES("{ attribute: { key: a, range: { min: -2 } } }", {.key = "a", .number = -1});
    YES("{ attribute: { key: a, exists: true } }", {.key = "a", .text = "x"});
    NO("{ attribute: { key: a, exists: true } }", {.key = "b", .text = "x"});
    YES("{ attribute: [ { key: a, equals: x }, { key: b, equals: y } ] }",
        {.key = "a", .text = "x", .resource_key = "b", .resource_text = "y"});
    NO("{ attribute: [ { key: a, equals: x }, { key: b, equals: y } ] }", {.key = "a", .text = "x"});
}

static void combinations(void **state) {
    (void)state;
    /* All keys have to hold; each may hold by another span, */
    YES("{ service: pay, error: true }", {.service = "pay"}, {.error = true, .child = true});
    /* unless they stand under `span`. */
    NO("{ span: { service: pay, error: true } }", {.service = "pay"}, {.error = true, .child = true});
    YES("{ span: { service: pay, error: true } }", {.service = "pay", .error = true});
    NO("{ span: { duration: \">20ms\" } }", {.ms = 20}, {.start_ms = 50, .ms = 20}); /* its own */
    YES("{ span: { not: { error: true } } }", {.error = true}, {0});
    NO("{ not: { error: true } }", {.error = true}, {0});
    YES("{ root: { service: shop } }", {0}, {.service = "pay", .child = true});
    NO("{ root: { service: pay } }", {0}, {.service = "pay", .child = true});
    NO("{ root: { service: pay } }", {.service = "pay", .child = true});
    YES("{ any: [ { error: true }, { duration: \">1s\" } ] }", {.ms = 2000});
    NO("{ any: [ { error: true }, { duration: \">1s\" } ] }", {0});
    NO("{ all: [ { error: true }, { duration: \">1s\" } ] }", {.ms = 2000});
    YES("{ not: { service: pay, error: true } }", {.service = "pay"});
    YES("{ not: { any: [ { service: a }, { not: { error: true } } ] } }", {.error = true});
}

static void the_first_rule_wins(void **state) {
    (void)state;
    struct weir_policy *policy = read_policy("keep:\n"
                                             "  rules:\n"
                                             "    - { name: dry, when: { error: true }, dry_run: true }\n"
                                             "    - { name: dry2, when: { error: true }, dry_run: true }\n"
                                             "    - { name: slow, when: { duration: '>1s' }, rate: 50% }\n"
                                             "    - { name: errors, when: { error: true } }\n"
                                             "    - { name: late dry, when: { error: true }, dry_run: true }\n");
    const struct weir_keep *keep = weir_policy_keep_part(policy);
    assert_int_equal(keep->test_count, 1); /* equal tests share a bit */
    assert_true(keep->rules[2].threshold == WEIR_THRESHOLD_MAX / 2);
    struct weir_trace trace = {.passed = 1, .start_ns = 1, .end_ns = 1 + 2 * WEIR_S};
    uint64_t dry;
    assert_int_equal(weir_keep_match(keep, &trace, trace.passed, &dry), 2);
    assert_int_equal(dry, 1);
    trace.end_ns = 2;
    assert_int_equal(weir_keep_match(keep, &trace, trace.passed, &dry), 3);
    trace.passed = 0;
    assert_int_equal(weir_keep_match(keep, &trace, trace.passed, &dry), WEIR_RULE_NONE);
    assert_int_equal(dry, 0);
    trace.flags = WEIR_TRACE_FORCED;
    assert_int_equal(weir_keep_match(keep, &trace, trace.passed, &dry), WEIR_RULE_FORCED);
    assert_string_equal(weir_keep_rule_name(keep, WEIR_RULE_FORCED), "forced");
    assert_string_equal(weir_keep_rule_name(keep, WEIR_RULE_NONE), "none");
    assert_string_equal(weir_keep_rule_name(keep, 3), "errors");
    weir_policy_unref(policy);
}

/* The facts of a trace are the same in whatever order its spans come. */
static void order_changes_nothing(void **state) {
    (void)state;
    static const struct said spans[] = {
        {.service = "edge", .operation = "GET /x", .ms = 300, .http_status = 200},
        {.service = "pay", .child = true, .error = true, .start_ms = 100, .ms = 400},
        {.service = "db", .child = true, .start_ms = 20, .ms = 5, .key = "user", .text = "anna"},
    };
    struct weir_policy *policy =
        read_policy("keep: { rules: [ { name: a, when: { service: pay } }, { name: b, when: { error: true } },"
                    " { name: c, dynamic: { keys: [service, { attribute: user }], share: 10% } } ] }\n");
    const struct weir_keep *keep = weir_policy_keep_part(policy);
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct weir_trace first = {0};
    for (size_t o = 0; o < 6; o++) {
        struct weir_trace trace = {0};
        batch = weir_batch_new(NULL, 0);
        for (size_t i = 0; i < 3; i++)
            add_span(&spans[orders[o][i]]);
        for (uint32_t i = 0; i < 3; i++)
            weir_trace_add(&trace, keep, keep, names, batch, i);
        weir_batch_unref(batch);
        if (o == 0) first = trace;
        assert_memory_equal(&trace, &first, sizeof trace);
    }
    assert_int_equal(first.passed, 3);
    assert_int_equal(first.shadow_passed, 3);
    assert_int_equal(weir_trace_duration_ns(&first), 500 * WEIR_MS);
    assert_int_equal(first.service, name("edge"));
    assert_int_not_equal(first.values[0], 0);
    weir_policy_unref(policy);
}

static void refuses(const char *text, const char *why) {
    struct weir_error err = {0};
    struct weir_policy *policy = NULL;
    if (weir_policy_parse("s.yaml", (const uint8_t *)text, strlen(text), names, &policy, &err) == WEIR_OK)
        fail_msg("taken: %s", text);
    assert_string_equal(err.text, why);
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    refuses("keep: 1\n", "s.yaml:1: keep: is a single value, a map is needed");
    refuses("keep:\n  wiat: 1s\n", "s.yaml:2: keep.wiat: unknown key, did you mean wait?");
    refuses("keep: { wait: 5 }\n", "s.yaml:1: wait: \"5\" is not a duration of 100ms to 1h");
    refuses("keep: { memory: 1MiB }\n", "s.yaml:1: memory: \"1MiB\" is not a size of 4MiB to 1TiB");
    refuses("keep: { compress: 7 }\n", "s.yaml:1: compress: \"7\" is not true or false");
    refuses("keep: { rules: [ { when: { error: true } } ] }\n", "s.yaml:1: rules: an entry has no name");
    refuses("keep: { rules: [ { name: none } ] }\n",
            "s.yaml:1: name: none is what Weir calls traces that no rule matches");
    refuses("keep:\n  rules:\n    - { name: a }\n    - { name: a }\n",
            "s.yaml:4: name: a is the name of the rule in line 3");
    refuses("keep: { rules: [ { name: a, rate: 10 } ] }\n",
            "s.yaml:1: rate: \"10\" is not a rate of 0 to 1 or \"0%\" to \"100%\"");
    refuses("keep: { rules: [ { name: a, when: {} } ] }\n", "s.yaml:1: when: has no condition");
    refuses("keep: { rules: [ { name: a, when: { durtion: '>1s' } } ] }\n",
            "s.yaml:1: when.durtion: unknown key, did you mean duration?");
    refuses("keep: { rules: [ { name: a, when: { duration: 1 } } ] }\n",
            "s.yaml:1: duration: \"1\" is not a range of durations, as \">750ms\" or \"100ms..2s\"");
    refuses("keep: { rules: [ { name: a, when: { duration: 2s..1s } } ] }\n",
            "s.yaml:1: duration: \"2s..1s\" is not a range of durations, as \">750ms\" or \"100ms..2s\"");
    refuses("keep: { rules: [ { name: a, when: { service: [] } } ] }\n", "s.yaml:1: service: an empty list");
    refuses("keep: { rules: [ { name: a, when: { kind: sever } } ] }\n",
            "s.yaml:1: kind: \"sever\" is not one of server, client, producer, consumer, internal, unspecified");
    refuses("keep: { rules: [ { name: a, when: { attribute: { key: x } } } ] }\n",
            "s.yaml:1: attribute: says neither equals nor matches, range or exists");
    refuses("keep: { rules: [ { name: a, when: { attribute: { key: x, equals: 1, range: '>1' } } } ] }\n",
            "s.yaml:1: attribute: equals and range; one is needed");
    refuses("keep: { rules: [ { name: a, when: { attribute: { key: x, matches: '(' } } } ] }\n",
            "s.yaml:1: matches: at character 1: missing closing parenthesis");
    refuses("keep: { rules: [ { name: a, when: { span: { spans: 2 } } } ] }\n",
            "s.yaml:1: span.spans: unknown key; known are error, duration, service, operation, attribute, "
            "http_status, kind, sampled, all, any, not");
    refuses("keep: { rules: [ { name: a, dynamic: { keys: [service] } } ] }\n",
            "s.yaml:1: dynamic: one goal is needed, traces_per_second or share");
    refuses("keep: { rules: [ { name: a, dynamic: { keys: [servic], share: 1% } } ] }\n",
            "s.yaml:1: keys: \"servic\" is not one of service, operation, status, http_status, { attribute: KEY }");
    refuses("keep: { rules: [ { name: a, rate: 0, max_traces_per_second: 5 } ] }\n",
            "s.yaml:1: rule a: a rate of 0 keeps nothing; its limit has no effect");
    refuses("keep: { rules: [ { name: a, max_traces_per_second: 0 } ] }\n",
            "s.yaml:1: max_traces_per_second: \"0\" is not a number above 0");
}

static void bounds(void **state) {
    (void)state;
    static char text[64 * 1024];
    size_t size = (size_t)snprintf(text, sizeof text, "keep:\n  rules:\n");
    for (int i = 0; i <= WEIR_KEEP_RULES_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "    - { name: r%d }\n", i);
    refuses(text, "s.yaml:2: rules: more than 64");
    size = (size_t)snprintf(text, sizeof text, "keep:\n  rules:\n    - name: x\n      when:\n        any:\n");
    for (int i = 0; i <= WEIR_KEEP_TESTS_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "          - { service: s%d }\n", i);
    refuses(text, "s.yaml:70: more than 64 different tests of spans in one policy");
}

static int set_up(void **state) {
    (void)state;
    names = weir_names_new(1000, 1 << 20);
    table = weir_origins_new(16);
    return names == NULL || table == NULL;
}
static int tear_down(void **state) {
    (void)state;
    weir_origins_free(table);
    weir_names_free(names);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_matcher),
        cmocka_unit_test(attributes),
        cmocka_unit_test(combinations),
        cmocka_unit_test(the_first_rule_wins),
        cmocka_unit_test(order_changes_nothing),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
