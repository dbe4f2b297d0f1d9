/* Files for proxies that only read files. What nginx makes of its include is seen by
 * tests/scenario/test_policy_files.py; here: what stands in each, that names bring no syntax, and that thresholds as
 * expressions mean what they say. */
#include "collector/config/lists.h"
#include "collector/core/operation.h"
#include "collector/dialects/files.h"
#include "collector/sample/policy.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

enum { OPERATIONS_MAX = 16 };

struct rig {
    struct weir_names *names;
    struct weir_plan *plan;
    struct weir_plan_rate rows[OPERATIONS_MAX];
    struct weir_plan_service service;
    struct weir_buffer text;
};

static uint32_t intern(struct rig *rig, const char *name) {
    return weir_names_intern(rig->names, name, strlen(name));
}

static void begin(struct rig *rig, const char *service, double rate) {
    *rig = (struct rig){.names = weir_names_new(1024, 1 << 20)};
    rig->service = (struct weir_plan_service){
        .rate = {.name = intern(rig, service), .rate = rate}, .max_traces_per_second = -1, .operations = rig->rows};
}

static void operation(struct rig *rig, const char *name, double rate) {
    char templated[512];
    size_t size = weir_operation_template((const uint8_t *)name, strlen(name), templated, sizeof templated);
    rig->rows[rig->service.operation_count++] = (struct weir_plan_rate){
        .name = intern(rig, name), .operation = weir_names_intern(rig->names, templated, size), .rate = rate};
}

/* Ends in NUL. */
static const char *render(struct rig *rig, enum weir_render_kind kind, const char *service) {
    struct weir_plan_service fallback = {.rate = {.rate = 0.05}, .max_traces_per_second = -1};
    if (rig->plan == NULL) rig->plan = weir_plan_new(rig->names, 1, &fallback, &rig->service, 1);
    struct weir_render_config config = {.kind = kind};
    snprintf(config.service, sizeof config.service, "%s", service);
    weir_buffer_clear(&rig->text);
    weir_file_render(&config, rig->plan, rig->names, &rig->text);
    weir_buffer_byte(&rig->text, 0);
    assert_false(rig->text.failed);
    return (const char *)rig->text.bytes;
}

static void end(struct rig *rig) {
    weir_plan_unref(rig->plan);
    weir_buffer_free(&rig->text);
    weir_names_free(rig->names);
}

static void has(const char *text, const char *part) {
    if (strstr(text, part) == NULL) fail_msg("no\n%s\nin\n%s", part, text);
}

static void has_not(const char *text, const char *part) {
    if (strstr(text, part) != NULL) fail_msg("there is\n%s\nin\n%s", part, text);
}

/* ---- rates ---- */

static void rates(void **state) {
    (void)state;
    static const struct {
        double rate;
        const char *text, *threshold;
    } rows[] = {
        {0, "0", NULL},
        {1, "1", "0"},
        {0.5, "0.5", "8"},
        {0.25, "0.25", "c"},
        {0.01, "0.01", "fd70a3d70a3d71"},
        {0.000001, "0.000001", "ffffef39085f4a"},
        {0.999999, "0.999999", "000010c6f7a0b8"},
        {0.123457, "0.123457", "e0651f3e89a88b"},
        {0.00000001, "0.000001", "ffffef39085f4a"}, /* more than nothing is never told as nothing */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        char line[128];
        begin(&rig, "edge", rows[i].rate);
        snprintf(line, sizeof line, "\nOTEL_TRACES_SAMPLER_ARG=%s\n", rows[i].text);
        has(render(&rig, WEIR_RENDER_OTEL_ENV, "edge"), line);
        snprintf(line, sizeof line, "\n  sampleRate: %s\n", rows[i].text);
        has(render(&rig, WEIR_RENDER_LINKERD1, "edge"), line);
        snprintf(line, sizeof line, "\n    default %s;\n", rows[i].text);
        has(render(&rig, WEIR_RENDER_NGINX, "edge"), line);
        if (rows[i].threshold != NULL) {
            snprintf(line, sizeof line, "\n    %s %s;\n", rows[i].text, rows[i].threshold);
            has(render(&rig, WEIR_RENDER_NGINX, "edge"), line);
        }
        end(&rig);
    }
}

static void envoy_reads_json(void **state) {
    (void)state;
    struct rig rig;
    json_error_t error;
    begin(&rig, "edge", 0.000001);
    rig.service.batching = (struct weir_proxies_batching){500, 5000000000ull};
    json_t *root = json_loads(render(&rig, WEIR_RENDER_ENVOY, "edge"), 0, &error);
    if (root == NULL) fail_msg("%s", error.text);
    const char *type, *name;
    json_t *layer;
    assert_int_equal(
        json_unpack(root, "{s:[{s:s, s:s, s:o}]}", "resources", "@type", &type, "name", &name, "layer", &layer), 0);
    assert_string_equal(type, "type.googleapis.com/envoy.service.runtime.v3.Runtime");
    assert_string_equal(name, "weir");
    json_t *rate = json_object_get(layer, "tracing.random_sampling");
    assert_int_equal(json_integer_value(json_object_get(rate, "numerator")), 1);
    assert_string_equal(json_string_value(json_object_get(rate, "denominator")), "TEN_THOUSAND");
    assert_int_equal(json_integer_value(json_object_get(layer, "tracing.opentelemetry.min_flush_spans")), 500);
    assert_int_equal(json_integer_value(json_object_get(layer, "tracing.zipkin.flush_interval_ms")), 5000);
    json_decref(root);
    end(&rig);
}

/* ---- whose ---- */

static void services(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig, "edge", 0.5);
    has(render(&rig, WEIR_RENDER_OTEL_ENV, "edge"), "ARG=0.5\n");
    has(render(&rig, WEIR_RENDER_OTEL_ENV, "edge"), "# What service edge samples: ");
    has(render(&rig, WEIR_RENDER_OTEL_ENV, "stranger"), "ARG=0.05\n");
    has(render(&rig, WEIR_RENDER_OTEL_ENV, "stranger"), "which has the default's rates");
    has(render(&rig, WEIR_RENDER_OTEL_ENV, ""), "ARG=0.05\n");
    end(&rig);
}

/* The same plan is the same bytes, in another process as well: names have other ids there, rows another order. */
static void the_same_in_every_process(void **state) {
    (void)state;
    for (int kind = 0; kind < WEIR_RENDER_KINDS; kind++) {
        struct rig one, other;
        begin(&one, "edge", 0.5);
        operation(&one, "GET /a", 0.1);
        operation(&one, "GET /b", 0.2);
        begin(&other, "edge", 0.5);
        for (int i = 0; i < 50; i++) {
            char name[16];
            snprintf(name, sizeof name, "name-%d", i);
            intern(&other, name);
        }
        operation(&other, "GET /b", 0.2);
        operation(&other, "GET /a", 0.1);
        render(&other, (enum weir_render_kind)kind, "edge");
        assert_string_equal(render(&one, (enum weir_render_kind)kind, "edge"), (const char *)other.text.bytes);
        end(&one);
        end(&other);
    }
}

/* ---- expressions ---- */

/* The expression of the one row of an operation, as PCRE has it. NULL: there is none. */
static pcre2_code *row_of(struct rig *rig) {
    const char *text = render(rig, WEIR_RENDER_NGINX, weir_names_text(rig->names, rig->service.rate.name, NULL));
    const char *map = strstr(text, "$weir_sample_rate {\n"), *row = strstr(map, "\"~"), *stop = strstr(map, "}\n\n");
    if (row == NULL || row > strstr(map, "    default ")) return NULL;
    assert_non_null(stop);
    const char *close = strchr(row + 1, '"');
    int error;
    PCRE2_SIZE where;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)row + 2, (PCRE2_SIZE)(close - row - 2), 0, &error, &where, NULL);
    assert_non_null(code);
    assert_null(strstr(close + 1, "\"~^GET /evil"));
    return code;
}

static bool fits(const pcre2_code *code, const char *text) {
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int found = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL);
    pcre2_match_data_free(data);
    return found > 0;
}

static void which_requests(void **state) {
    (void)state;
    static const struct {
        const char *operation, *request;
        bool fits;
    } rows[] = {
        {"POST /v2/checkout", "POST /v2/checkout", true},
        {"POST /v2/checkout", "GET /v2/checkout", false},
        {"POST /v2/checkout", "POST /v2/checkout/", false},
        {"POST /v2/checkout", "POST /v2/checkout2", false},
        {"POST /v2/checkout", "XPOST /v2/checkout", false},
        {"POST /v2/checkout", "POST /V2/checkout", false},
        {"GET /", "GET /", true},
        {"GET /", "GET /x", false},
        {"GET /a.b", "GET /a.b", true},
        {"GET /a.b", "GET /axb", false},
        {"GET /a(b|c)*", "GET /a(b|c)*", true},
        {"GET /a(b|c)*", "GET /ab", false},
        {"GET /orders/{id}", "GET /orders/42", true},
        {"GET /orders/{id}", "GET /orders/1-2_3.4", true},
        {"GET /orders/{id}", "GET /orders/9f1c2d3e-0000-4000-8000-00000000beef", true},
        {"GET /orders/{id}", "GET /orders/deadbeefdeadbeefdeadbeef1", true},
        {"GET /orders/{id}", "GET /orders/deadbeefdeadbeefdeadbeef", false}, /* no digit in it */
        {"GET /orders/{id}", "GET /orders/new", false},
        {"GET /orders/{id}", "GET /orders/", false},
        {"GET /orders/{id}", "GET /orders/42/items", false},
        {"GET /orders/{id}/items/{id}", "GET /orders/42/items/7", true},
        {"GET /orders/42", "GET /orders/43", true}, /* as on /metrics: it is one operation */
        {"GET /users/{userId}", "GET /users/anna", true},
        {"GET /users/{userId}", "GET /users/anna/x", false},
        {"GET /users/:id/x", "GET /users/anna/x", true},
        {"/v1/any", "DELETE /v1/any", true},
        {"/v1/any", "DELETE /v1/any/1", false},
        {"pay.Cards/Charge", "POST /pay.Cards/Charge", true},
        {"pay.Cards/Charge", "POST /payxCards/Charge", false},
        {"GET /\xc3\xa9", "GET /\xc3\xa9", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        begin(&rig, "edge", 0.5);
        operation(&rig, rows[i].operation, 0.1);
        pcre2_code *code = row_of(&rig);
        if (code == NULL || fits(code, rows[i].request) != rows[i].fits)
            fail_msg("%s and %s", rows[i].operation, rows[i].request);
        /* What fits has that operation on /metrics, too: an id of one is an id of the other. */
        char templated[512];
        size_t size = weir_operation_template((const uint8_t *)rows[i].request, strlen(rows[i].request), templated,
                                              sizeof templated - 1);
        templated[size] = 0;
        const char *own = weir_names_text(rig.names, rig.rows[0].operation, NULL);
        if (strstr(own, "{id}") != NULL) assert_int_equal(strcmp(templated, own) == 0, rows[i].fits);
        pcre2_code_free(code);
        end(&rig);
    }
}

static void what_no_request_line_shows(void **state) {
    (void)state;
    static const char *const names[] = {"checkout", "GET", "SELECT orders", "a b /c", " /x", "a/b/c", "a/"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct rig rig;
        char line[128];
        begin(&rig, "edge", 0.5);
        operation(&rig, names[i], 0.1);
        assert_null(row_of(&rig));
        snprintf(line, sizeof line, "\n# Not told, since no request line shows it: %s\n", names[i]);
        has(render(&rig, WEIR_RENDER_NGINX, "edge"), line);
        end(&rig);
    }
}

/* nginx takes the first that fits: a route that is written out before one with holes. */
static void narrow_rows_are_first(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig, "edge", 0.5);
    operation(&rig, "GET /users/{name}", 0.1);
    operation(&rig, "GET /users/{id}", 0.2);
    operation(&rig, "GET /users/me", 0.3);
    const char *text = render(&rig, WEIR_RENDER_NGINX, "edge");
    const char *any = strstr(text, "[^/]+$\" 0.1;"), *id = strstr(text, "}))$\" 0.2;"),
               *own = strstr(text, "me$\" 0.3;");
    assert_true(own != NULL && id > own && any > id);
    end(&rig);
}

/* For each rate the expression is asked of R at, below and above T, and of many others. */
static void thresholds_mean_at_least(void **state) {
    (void)state;
    static const double all[] = {0.000001, 0.000002, 0.0001, 0.001, 0.01, 0.033333, 0.1,
                                 0.25,     0.3,      0.5,    0.75,  0.9,  0.999999};
    uint64_t random = 88172645463325252ull;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct rig rig;
        begin(&rig, "edge", all[i]);
        const char *map = strstr(render(&rig, WEIR_RENDER_NGINX, "edge"), "map $weir_randomness $weir_kept_");
        const char *from = strstr(map, "\"~") + 2, *close = strchr(from, '"');
        int error;
        PCRE2_SIZE where;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)from, (PCRE2_SIZE)(close - from), 0, &error, &where, NULL);
        assert_non_null(code);
        uint64_t threshold = weir_threshold_of(all[i]);
        for (int k = 0; k < 4000; k++) {
            char digits[24];
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            uint64_t r = k < 3   ? threshold - 1 + (uint64_t)k
                         : k % 2 ? random >> 8
                                 : (threshold ^ (1ull << (random % 56))); /* near: one bit is another */
            r &= (1ull << 56) - 1;
            snprintf(digits, sizeof digits, "%014llx", (unsigned long long)r);
            if (fits(code, digits) != (r >= threshold)) fail_msg("rate %g, R %s", all[i], digits);
        }
        pcre2_code_free(code);
        end(&rig);
    }
}

/* ---- names that mean harm ---- */

static void names_bring_no_syntax(void **state) {
    (void)state;
    static const char *const evil[] = {
        "GET /x\"; } evil 1; map $a $b { \"",
        "GET /x\\\" 1; evil",
        "GET /x\n    \"~^GET /evil\" 1;\n",
        "GET /x\r\nevil: true",
        "GET /$request_uri${evil}",
        "GET /x#evil\\",
        "x\nevil: 1",
        "x\xe2\x80\xa8"
        "evil: 1", /* U+2028 ends a line of YAML 1.1 */
        "x\xc2\x85"
        "evil: 1",
        "GET /(?<evil>.*)",
        "GET /\xff\xfe",
    };
    for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
        struct rig rig;
        begin(&rig, evil[i], 0.5);
        operation(&rig, evil[i], 0.1);
        const char *text = render(&rig, WEIR_RENDER_NGINX, evil[i]);
        has_not(text, "\nevil");
        has_not(text, "\"~^GET /$");
        has_not(text, "\"~^GET /(");
        pcre2_code *code = row_of(&rig);
        char templated[512];
        snprintf(templated, sizeof templated, "%s", weir_names_text(rig.names, rig.rows[0].operation, NULL));
        if (strncmp(evil[i], "GET /", 5) == 0) assert_true(fits(code, templated));
        pcre2_code_free(code);
        /* All quoted words are closed in their line, and every line of ours is one. */
        text = render(&rig, WEIR_RENDER_NGINX, evil[i]);
        for (const char *at = text; *at != 0; at += strcspn(at, "\n"), at += *at != 0) {
            int quotes = 0;
            for (const char *c = at; *c != 0 && *c != '\n'; c++)
                quotes += *c == '"';
            assert_true(*at == '#' || quotes % 2 == 0);
            assert_true(*at == '#' || *at == '}' || *at == ' ' || *at == '\n' || *at == 0 ||
                        strncmp(at, "map ", 4) == 0);
        }
        for (int kind = WEIR_RENDER_LINKERD1; kind < WEIR_RENDER_KINDS; kind++) {
            text = render(&rig, (enum weir_render_kind)kind, evil[i]);
            has_not(text, "\nevil");
            for (const char *at = text; *at != 0; at++)
                assert_true(*at == '\n' || (*at >= 0x20 && *at < 0x7f));
        }
        end(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(envoy_reads_json),
        cmocka_unit_test(services),
        cmocka_unit_test(the_same_in_every_process),
        cmocka_unit_test(which_requests),
        cmocka_unit_test(what_no_request_line_shows),
        cmocka_unit_test(narrow_rows_are_first),
        cmocka_unit_test(thresholds_mean_at_least),
        cmocka_unit_test(names_bring_no_syntax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
