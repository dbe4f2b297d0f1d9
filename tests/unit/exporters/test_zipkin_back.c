/* A span from a Zipkin client leaves as the same span: rows of what comes in and what leaves, in v2's JSON; and the
 * laws of zipkin_laws.h on every sample of tests/data/zipkin, whole, cut anywhere and with any byte changed. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "zipkin_laws.h"

#include <cmocka.h>

static struct laws *laws;

static int setup(void **state) {
    (void)state;
    laws = laws_new();
    return 0;
}
static int teardown(void **state) {
    (void)state;
    laws_free(laws);
    return 0;
}

struct row {
    const char *in, *out; /* without the list's brackets; NULL: as it came in */
};

static json_t *load(const char *bytes, size_t size) {
    json_error_t error;
    json_t *value = json_loadb(bytes, size, JSON_ALLOW_NUL, &error);
    if (value == NULL) fail_msg("%s in %.*s", error.text, (int)size, bytes);
    return value;
}

static void check_rows(const struct row *rows, size_t count) {
    struct weir_buffer json = {0};
    struct weir_error err;
    for (size_t i = 0; i < count; i++) {
        char in[4096], want[4096];
        int size = snprintf(in, sizeof in, "[%s]", rows[i].in);
        int want_size = snprintf(want, sizeof want, "[%s]", rows[i].out != NULL ? rows[i].out : rows[i].in);
        const uint8_t *bytes = (const uint8_t *)in;
        const char *wrong =
            laws_check(laws, weir_zipkin_format_of(bytes, (size_t)size), bytes, (size_t)size, &json, &err);
        if (wrong != NULL || err.text[0] != 0) fail_msg("%s: %s%s", in, wrong != NULL ? wrong : "", err.text);
        json_t *have = load((const char *)json.bytes, json.size), *expected = load(want, (size_t)want_size);
        if (!json_equal(have, expected)) fail_msg("in   %s\nwant %s\nhave %.*s", in, want, (int)json.size, json.bytes);
        json_decref(have);
        json_decref(expected);
    }
    weir_buffer_free(&json);
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof rows[0])

#define IDS "\"traceId\":\"00000000000000a1\",\"id\":\"0000000000000001\""

static void as_it_came(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{" IDS "}", NULL},
        {"{" IDS ",\"localEndpoint\":{\"serviceName\":\"a\"}}", NULL},
        {"{\"traceId\":\"463ac35c9f6413ad48485a3953bb6124\",\"id\":\"a2fb4a1d1a96d312\",\"parentId\":"
         "\"0020000000000001\"}",
         NULL},
        {"{" IDS ",\"kind\":\"CLIENT\",\"name\":\"get\",\"timestamp\":1472470996199000,\"duration\":207000}", NULL},
        {"{" IDS ",\"timestamp\":1472470996199000}", NULL},
        {"{" IDS ",\"duration\":207000}", NULL},
        {"{" IDS ",\"kind\":\"SERVER\",\"shared\":true,\"debug\":true}", NULL},
        {"{" IDS ",\"localEndpoint\":{\"ipv4\":\"10.0.0.1\"}}", NULL},
        {"{" IDS ",\"localEndpoint\":{\"serviceName\":\"Shop\",\"ipv4\":\"10.0.0.1\",\"ipv6\":\"2001:db8::c001\","
         "\"port\":65535},\"remoteEndpoint\":{\"serviceName\":\"db\",\"ipv4\":\"10.0.0.2\",\"ipv6\":\"::1\",\"port\":1}"
         "}",
         NULL},
        {"{" IDS ",\"kind\":\"SERVER\",\"remoteEndpoint\":{\"port\":9}}", NULL},
        {"{" IDS ",\"kind\":\"CLIENT\",\"remoteEndpoint\":{\"ipv6\":\"2001:db8::1\"}}", NULL},
        /* What makes a remote endpoint, a status or another tag of OTLP's spans is a tag of Zipkin's. */
        {"{" IDS ",\"kind\":\"CLIENT\",\"tags\":{\"peer.service\":\"db\",\"peer.address\":\"10.0.0.9\","
         "\"network.peer.address\":\"10.0.0.8\",\"network.local.address\":\"10.0.0.7\"}}",
         NULL},
        {"{" IDS
         ",\"kind\":\"CLIENT\",\"remoteEndpoint\":{\"serviceName\":\"real\"},\"tags\":{\"peer.service\":\"tag\"}}",
         NULL},
        {"{" IDS ",\"tags\":{\"error\":\"500\"}}", NULL},
        {"{" IDS ",\"tags\":{\"error\":\"\"}}", NULL},
        {"{" IDS ",\"tags\":{\"error\":\"false\",\"otel.status_code\":\"ERROR\"}}", NULL},
        {"{" IDS ",\"tags\":{\"zipkin.debug\":\"true\",\"zipkin.shared\":\"true\",\"zipkin.remote\":\"x\"}}", NULL},
        {"{" IDS ",\"tags\":{\"\":\"\",\"\\u00fc\\n\\\"\":\"\\ud83d\\ude00\\\\\"}}", NULL},
        {"{" IDS ",\"localEndpoint\":{\"serviceName\":\"a\\\"b\"},\"remoteEndpoint\":{\"serviceName\":\"c\\u000ad\"}}",
         NULL},
        {"{" IDS
         ",\"annotations\":[{\"timestamp\":1,\"value\":\"ws\"},{\"timestamp\":1472470996238000,\"value\":\"\"}]}",
         NULL},
    };
    CHECK_ROWS(rows);
}

/* What Zipkin itself makes the same. */
static void as_zipkin_has_it(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"traceId\":\"A1\",\"id\":\"1\"}", "{" IDS "}"},
        {"{\"traceId\":\"0000000000000000000000000000000a1\",\"id\":\"1\"},{" IDS "}", "{" IDS "}"}, /* 33 digits */
        {"{\"id\":\"1\",\"tags\":{},\"traceId\":\"000000000000000000000000000000a1\"}", "{" IDS "}"},
        {"{" IDS ",\"parentId\":\"0000000000000001\"}", "{" IDS "}"},
        {"{" IDS ",\"parentId\":\"0\",\"kind\":null,\"name\":\"\",\"timestamp\":0,\"duration\":-5,\"tags\":null}",
         "{" IDS "}"},
        {"{" IDS ",\"localEndpoint\":{},\"remoteEndpoint\":{\"port\":0,\"ipv4\":\"here\"},\"debug\":false}",
         "{" IDS "}"},
        {"{" IDS ",\"localEndpoint\":{\"ipv6\":\"::ffff:10.0.0.1\"}}",
         "{" IDS ",\"localEndpoint\":{\"ipv4\":\"10.0.0.1\"}}"},
        {"{" IDS ",\"localEndpoint\":{\"ipv4\":\"010.0.0.04\"}}",
         "{" IDS ",\"localEndpoint\":{\"ipv4\":\"10.0.0.4\"}}"},
        {"{" IDS ",\"tags\":{\"a\":1.50,\"b\":true},\"more\":[{\"x\":{}}]}",
         "{" IDS ",\"tags\":{\"a\":\"1.50\",\"b\":\"true\"}}"},
    };
    CHECK_ROWS(rows);
}

/* V1SpanConverter's rules, a case a row. A is a host of service a, B one of b. */
#define A                         "\"endpoint\":{\"serviceName\":\"a\",\"ipv4\":\"10.0.0.1\",\"port\":80}"
#define B                         "\"endpoint\":{\"serviceName\":\"b\"}"
#define LOCAL_A                   "\"localEndpoint\":{\"serviceName\":\"a\",\"ipv4\":\"10.0.0.1\",\"port\":80}"
#define LOCAL_B                   "\"localEndpoint\":{\"serviceName\":\"b\"}"
#define AT(time, value, endpoint) "{\"timestamp\":" #time ",\"value\":\"" value "\"," endpoint "}"
#define TAG(key, value, endpoint) "{\"key\":\"" key "\",\"value\":" value "," endpoint "}"
#define V1(annotations, binary)   "{" IDS ",\"annotations\":[" annotations "],\"binaryAnnotations\":[" binary "]}"

static void from_v1(void **state) {
    (void)state;
    static const struct row rows[] = {
        /* a call's client */
        {V1(AT(10, "cs", A) "," AT(30, "cr", A), TAG("sa", "true", B)),
         "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":10,\"duration\":20," LOCAL_A
         ",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        /* its server, which shares the span: it has no timestamp of its own */
        {V1(AT(10, "sr", A) "," AT(30, "ss", A), TAG("ca", "true", B)),
         "{" IDS ",\"kind\":\"SERVER\",\"timestamp\":10,\"duration\":20,\"shared\":true," LOCAL_A
         ",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        /* a server that began the span */
        {"{" IDS ",\"timestamp\":9,\"duration\":22,\"annotations\":[" AT(10, "sr", A) "," AT(30, "ss", A) "]}",
         "{" IDS ",\"kind\":\"SERVER\",\"timestamp\":9,\"duration\":22," LOCAL_A "}"},
        /* both sides in one */
        {V1(AT(10, "cs", A) "," AT(12, "sr", B) "," AT(20, "ss", B) "," AT(30, "cr", A), TAG("k", "\"v\"", B)),
         "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":10,\"duration\":20," LOCAL_A "},{" IDS
         ",\"kind\":\"SERVER\",\"timestamp\":12,\"duration\":8,\"shared\":true," LOCAL_B ",\"tags\":{\"k\":\"v\"}}"},
        /* a service that calls itself */
        {V1(AT(10, "cs", B) "," AT(12, "sr", B), ""),
         "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":10," LOCAL_B "},{" IDS
         ",\"kind\":\"SERVER\",\"timestamp\":12,\"shared\":true," LOCAL_B "}"},
        /* halves: what ends them stays an annotation */
        {V1(AT(10, "cs", A), ""), "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":10," LOCAL_A "}"},
        {V1(AT(30, "cr", A), ""),
         "{" IDS ",\"kind\":\"CLIENT\"," LOCAL_A ",\"annotations\":[{\"timestamp\":30,\"value\":\"cr\"}]}"},
        {V1(AT(30, "ss", A), ""),
         "{" IDS ",\"kind\":\"SERVER\"," LOCAL_A ",\"annotations\":[{\"timestamp\":30,\"value\":\"ss\"}]}"},
        /* the start is where duration and end say */
        {"{" IDS ",\"timestamp\":10,\"duration\":20,\"annotations\":[" AT(30, "cr", A) "]}",
         "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":10,\"duration\":20," LOCAL_A "}"},
        /* messages */
        {V1(AT(10, "ms", A) "," AT(14, "ws", A), TAG("ma", "true", B)),
         "{" IDS ",\"kind\":\"PRODUCER\",\"timestamp\":10,\"duration\":4," LOCAL_A
         ",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        {V1(AT(10, "wr", A) "," AT(14, "mr", A), ""),
         "{" IDS ",\"kind\":\"CONSUMER\",\"timestamp\":10,\"duration\":4," LOCAL_A "}"},
        {V1(AT(10, "ms", A) "," AT(14, "mr", B), ""),
         "{" IDS ",\"kind\":\"PRODUCER\",\"timestamp\":10," LOCAL_A "},{" IDS
         ",\"kind\":\"CONSUMER\",\"timestamp\":14,\"shared\":true," LOCAL_B "}"},
        {V1(AT(10, "ws", A), ""), "{" IDS "," LOCAL_A ",\"annotations\":[{\"timestamp\":10,\"value\":\"ws\"}]}"},
        /* a local span, and the mark that names its host */
        {"{" IDS ",\"timestamp\":5,\"duration\":6,\"binaryAnnotations\":[" TAG("lc", "\"\"", A) "]}",
         "{" IDS ",\"timestamp\":5,\"duration\":6," LOCAL_A "}"},
        {V1("", TAG("lc", "\"part\"", A)), "{" IDS "," LOCAL_A ",\"tags\":{\"lc\":\"part\"}}"},
        /* addresses alone */
        {V1("", TAG("sa", "true", B)), "{" IDS ",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        {V1("", TAG("ca", "true", B)), "{" IDS ",\"kind\":\"SERVER\",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        {V1("", TAG("ca", "true", A) "," TAG("sa", "true", B)),
         "{" IDS "," LOCAL_A ",\"remoteEndpoint\":{\"serviceName\":\"b\"}}"},
        /* Finagle names the client's socket after the server */
        {V1(AT(10, "sr", A) "," AT(30, "ss", A),
            TAG("ca", "true", "\"endpoint\":{\"serviceName\":\"A\",\"ipv4\":\"10.0.0.9\"}")),
         "{" IDS ",\"kind\":\"SERVER\",\"timestamp\":10,\"duration\":20,\"shared\":true," LOCAL_A
         ",\"remoteEndpoint\":{\"ipv4\":\"10.0.0.9\"}}"},
        /* values of any type; an end before its start; what has no host, and a core value without one */
        {V1(AT(30, "cs", B) "," AT(10, "cr", B),
            TAG("n", "1.5", B) "," TAG("b", "false", B) "," TAG("e\\n", "\"\\t\"", B)),
         "{" IDS ",\"kind\":\"CLIENT\",\"timestamp\":30," LOCAL_B
         ",\"tags\":{\"n\":\"1.5\",\"b\":\"false\",\"e\\n\":\"\\t\"}}"},
        {V1("{\"timestamp\":7,\"value\":\"cs\"},{\"timestamp\":8,\"value\":\"x\"," B "}", ""),
         "{" IDS "," LOCAL_B
         ",\"annotations\":[{\"timestamp\":7,\"value\":\"cs\"},{\"timestamp\":8,\"value\":\"x\"}]}"},
    };
    CHECK_ROWS(rows);
}

/* ---- the samples ---- */

static size_t read_sample(const char *name, uint8_t *bytes, size_t room) {
    char path[512];
    snprintf(path, sizeof path, WEIR_TEST_DATA "/zipkin/%s", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("no %s", path);
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

static void hold(const char *name, const uint8_t *bytes, size_t size, bool accepted) {
    struct weir_buffer json = {0};
    struct weir_error err;
    const char *wrong = laws_check(laws, weir_zipkin_format_of(bytes, size), bytes, size, &json, &err);
    if (wrong != NULL) fail_msg("%s, %zu bytes: %s", name, size, wrong);
    if (accepted && err.text[0] != 0) fail_msg("%s: %s", name, err.text);
    weir_buffer_free(&json);
}

static void laws_of_samples(void **state) {
    (void)state;
    static const char *const samples[] = {
        "ascend.json",
        "envoy.json",
        "messaging.json",
        "messaging2.json",
        "messaging-kafka.json",
        "simple-db-p6.json",
        "skew.json",
        "yelp.json",
        "smartthings-oauth-authorization.json",
        "telegraf-brave-tracer-example.json",
        "telegraf-cli_microservice.dat",
        "telegraf-distributed_trace_sample.dat",
        "telegraf-threespans.dat",
    };
    static uint8_t bytes[256 * 1024], changed[sizeof bytes];
    uint64_t random = 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        size_t size = read_sample(samples[i], bytes, sizeof bytes), steps = size < 12000 ? 400 : 20;
        hold(samples[i], bytes, size, true);
        for (size_t step = 0; step < steps; step++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            size_t at = (size_t)(random >> 33) % size;
            uint8_t *copy = malloc(at + 1); /* so that a sanitizer sees the end */
            memcpy(copy, bytes, at);
            hold(samples[i], copy, at, false);
            free(copy);
            memcpy(changed, bytes, size);
            changed[at] = (uint8_t)(random >> 20);
            hold(samples[i], changed, size, false);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_came),
        cmocka_unit_test(as_zipkin_has_it),
        cmocka_unit_test(from_v1),
        cmocka_unit_test(laws_of_samples),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
