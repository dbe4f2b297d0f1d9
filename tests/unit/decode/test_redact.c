/* The rules of attributes: as the walk applies them, read back by protobuf-c. */
#define _GNU_SOURCE /* memmem */
#include "collector/attributes/rules.h"
#include "collector/config/limits.h"
#include "collector/config/load.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/decode/redact.h"
#include "collector/decode/span_writer.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Trace__V1__Span Span;
#define CARD       "4111111111111111"
#define T(literal) literal, sizeof(literal) - 1

static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 1};
static struct weir_names *names;
static struct weir_metrics *metrics;
static struct weir_rules_counts *counts;
static struct weir_config *config;
static struct weir_rules *rules;
static struct weir_otlp *otlp;
static struct weir_batch *batch;
static struct weir_error err;

static enum weir_status compile(const char *yaml) {
    weir_rules_free(rules);
    weir_config_free(config);
    rules = NULL;
    config = NULL;
    err = (struct weir_error){0};
    enum weir_status status =
        weir_config_parse("weir.yaml", (const uint8_t *)yaml, strlen(yaml), &machine, &config, &err);
    if (status == WEIR_OK) status = weir_rules_new(config, counts, &rules, &err);
    if (otlp != NULL) weir_otlp_set_rules(otlp, rules);
    return status;
}

static int begin(void **state) {
    (void)state;
    names = weir_names_new(16384, 1 << 20);
    metrics = weir_metrics_new();
    counts = weir_rules_counts_new(metrics);
    otlp = weir_otlp_new(names);
    batch = weir_batch_new(NULL, 0);
    return compile("lanes: 1\n") != WEIR_OK;
}

static int finish(void **state) {
    (void)state;
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    otlp = NULL;
    weir_rules_free(rules);
    weir_config_free(config);
    rules = NULL;
    config = NULL;
    weir_rules_counts_free(counts);
    weir_metrics_free(metrics);
    weir_names_free(names);
    return 0;
}

static uint64_t redacted(const char *rule) {
    struct weir_buffer page = {0};
    char want[96];
    weir_metrics_expose(metrics, &page);
    weir_buffer_byte(&page, 0);
    snprintf(want, sizeof want, "weir_attributes_redacted_total{rule=\"%s\"} ", rule);
    const char *at = strstr((char *)page.bytes, want);
    uint64_t value = at == NULL ? 0 : strtoull(at + strlen(want), NULL, 10);
    weir_buffer_free(&page);
    return value;
}

static struct weir_span_writer writer;
static struct weir_otlp_counts decoded;

static void start(void) {
    weir_span_begin(&writer, batch);
    weir_span_ids(&writer, 1, 2, 3, 0);
    weir_span_kind(&writer, WEIR_KIND_SERVER);
    weir_span_times(&writer, 1000, 2000);
}

/* The last span, unpacked. */
static Span *end_as(const char *service) {
    uint16_t origin;
    assert_int_equal(weir_span_service(otlp, batch, service, strlen(service), &origin), WEIR_OK);
    assert_int_equal(weir_span_end(&writer, otlp, origin, 0, &decoded, &err), WEIR_OK);
    const struct weir_span *view = &batch->spans[batch->span_count - 1];
    Span *span = opentelemetry__proto__trace__v1__span__unpack(NULL, view->size, batch->bytes + view->offset);
    assert_non_null(span);
    return span;
}

static void done(Span *span) {
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
}

static const struct weir_span *view(void) {
    return &batch->spans[batch->span_count - 1];
}

static const char *text_of(const Span *span, const char *key) {
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) == 0) return span->attributes[i]->value->string_value;
    }
    return NULL;
}

static bool holds(const void *bytes, size_t size, const char *what) {
    return memmem(bytes, size, what, strlen(what)) != NULL;
}

/* ---- the defaults ---- */

static void defaults_mask_every_text(void **state) {
    (void)state;
    start();
    weir_span_name(&writer, T("GET /pay/" CARD "?x=1"));
    weir_span_tracestate(&writer, T("vendor=" CARD ", ot=th:e6666666666666"));
    weir_span_text(&writer, T("note"), T("the card " CARD "."));
    weir_span_text(&writer, T("http.url"), T("http://a/b/" CARD "?c=" CARD));
    weir_span_text(&writer, T("url.query"), T("c=1"));
    weir_span_int(&writer, T("pan"), 4111111111111111);
    weir_span_int(&writer, T("when"), 1700000000000000001);
    weir_span_event(&writer, 1500, T("saw " CARD));
    weir_span_status(&writer, WEIR_STATUS_ERROR, T("refused " CARD));
    size_t link = weir_span_open(&writer, 13);
    uint8_t *at = weir_span_room(&writer, 64);
    at = weir_wire_put_bytes(at, 1, "0123456789abcdef", 16);
    at = weir_wire_put_bytes(at, 2, "01234567", 8);
    weir_span_wrote(&writer, weir_wire_put_bytes(at, 3, "l=" CARD, 2 + 16));
    weir_span_close(&writer, link);
    Span *span = end_as("shop " CARD);
    assert_false(holds(batch->bytes + view()->offset, view()->size, CARD));
    assert_false(
        holds(batch->origins[view()->origin]->bytes, batch->origins[view()->origin]->parts.resource_size, CARD));
    assert_string_equal(span->name, "GET /pay/************1111");
    assert_string_equal(span->trace_state, "vendor=************1111, ot=th:e6666666666666");
    assert_string_equal(text_of(span, "note"), "the card ************1111.");
    assert_string_equal(text_of(span, "http.url"), "http://a/b/************1111");
    assert_string_equal(text_of(span, "url.query"), "");
    assert_string_equal(text_of(span, "pan"), "************1111");
    assert_string_equal(span->events[0]->name, "saw ************1111");
    assert_string_equal(span->status->message, "refused ************1111");
    assert_string_equal(span->links[0]->trace_state, "l=************1111");
    assert_string_equal(weir_names_text(names, view()->service, NULL), "shop ************1111");
    assert_int_equal(span->attributes[4]->value->int_value, 1700000000000000001);
    assert_int_equal(redacted("strip_query"), 3);
    assert_int_equal(redacted("mask_card_numbers"), 9);
    done(span);
}

static void what_needs_nothing_is_not_copied(void **state) {
    (void)state;
    start();
    weir_span_name(&writer, T("GET /orders/1234567890123"));
    weir_span_text(&writer, T("http.url"), T("http://a/b"));
    weir_span_tracestate(&writer, T("ot=th:e6666666666666")); /* which passes Luhn's test */
    weir_span_text(&writer, T("guid:x-request-id"), T("41111111-1111-4111-8111-111111111111"));
    size_t size = batch->size;
    Span *span = end_as("shop");
    assert_int_equal(view()->offset + view()->size, size);
    assert_int_equal(batch->size, size);
    assert_true(view()->threshold == 0xe6666666666666);
    done(span);
}

/* Of a span that is rewritten, no name is interned as it came. */
static void what_is_masked_was_never_a_name(void **state) {
    (void)state;
    uint32_t before = weir_names_count(names);
    start();
    weir_span_kind(&writer, WEIR_KIND_CLIENT);
    weir_span_name(&writer, T("charge " CARD));
    weir_span_text(&writer, T("peer.service"), T("vault " CARD));
    done(end_as("shop"));
    assert_string_equal(weir_names_text(names, view()->operation, NULL), "charge ************1111");
    assert_string_equal(weir_names_text(names, view()->peer, NULL), "vault ************1111");
    assert_int_equal(weir_names_count(names), before + 3);
    assert_int_equal(weir_names_find(names, T("charge " CARD)), WEIR_NAME_NONE);
    assert_int_equal(weir_names_find(names, T("vault " CARD)), WEIR_NAME_NONE);
}

static void the_second_pass_changes_nothing(void **state) {
    (void)state;
    start();
    weir_span_name(&writer, T("GET /pay/" CARD "?x"));
    weir_span_text(&writer, T("http.target"), T("/a?b"));
    Span *span = end_as("shop");
    struct weir_wire wire = weir_wire_of(batch->bytes + view()->offset, view()->size);
    struct weir_buffer out = {0};
    assert_false(weir_redact(rules, WEIR_OTLP_SPAN, wire, &out));
    assert_int_equal(out.size, view()->size);
    assert_memory_equal(out.bytes, batch->bytes + view()->offset, out.size);
    weir_buffer_free(&out);
    done(span);
}

/* ---- rules of a file ---- */

static void each_action(void **state) {
    (void)state;
    char path[] = "/tmp/weir-key-XXXXXX", yaml[1024];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "0123456789abcdef0123\n", 21) == 21);
    close(fd);
    snprintf(yaml, sizeof yaml,
             "attributes:\n"
             "  - { keys: [secret.*, pin], action: drop }\n"
             "  - { keys: [user.email], action: hash, key_file: %s, name: emails }\n"
             "  - { keys: [path], action: replace, pattern: '/u/([a-z])[a-z]+', replacement: '/u/$1*' }\n"
             "  - { keys: [iban], action: replace, pattern: '^.*$', replacement: '' }\n",
             path);
    assert_int_equal(compile(yaml), WEIR_OK);
    start();
    weir_span_text(&writer, T("secret.a"), T("x"));
    weir_span_int(&writer, T("secret.b"), 7);
    weir_span_text(&writer, T("pin"), T("1234"));
    weir_span_text(&writer, T("pins"), T("1234"));
    weir_span_text(&writer, T("user.email"), T("a@b.c"));
    weir_span_text(&writer, T("path"), T("/u/bob/u/eve/x"));
    weir_span_text(&writer, T("iban"), T("DE02"));
    weir_span_text(&writer, T("note"), T(CARD)); /* the default is still on */
    Span *span = end_as("shop");
    assert_null(text_of(span, "secret.a"));
    assert_null(text_of(span, "secret.b"));
    assert_null(text_of(span, "pin"));
    assert_string_equal(text_of(span, "pins"), "1234");
    /* printf a@b.c | openssl dgst -sha256 -hmac 0123456789abcdef0123, the first 16 bytes */
    assert_string_equal(text_of(span, "user.email"), "37b64bda8e50cbd8cc7e8d585ed7f1d4");
    assert_string_equal(text_of(span, "path"), "/u/b*/u/e*/x");
    assert_string_equal(text_of(span, "iban"), "");
    assert_string_equal(text_of(span, "note"), "************1111");
    assert_int_equal(redacted("drop"), 3);
    assert_int_equal(redacted("emails"), 1);
    assert_int_equal(redacted("replace"), 2);
    char first[33];
    snprintf(first, sizeof first, "%s", text_of(span, "user.email"));
    done(span);
    assert_int_equal(compile(yaml), WEIR_OK); /* the same key gives the same hash */
    start();
    weir_span_text(&writer, T("user.email"), T("a@b.c"));
    span = end_as("shop");
    assert_string_equal(text_of(span, "user.email"), first);
    assert_int_equal(redacted("emails"), 2); /* counted on over a reload */
    done(span);
    unlink(path);
}

/* http.request.header.* are arrays: their strings are values of that key. */
static void strings_of_arrays(void **state) {
    (void)state;
    assert_int_equal(compile("attributes:\n"
                             "  - { keys: [header.*], action: replace, pattern: 'Bearer .*', replacement: '-' }\n"
                             "  - { keys: [gone], action: drop }\n"),
                     WEIR_OK);
    static const char *const keys[] = {"header.authorization", "http.url", "gone", "note"};
    start();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint8_t bytes[128], *end;
        size_t pair = weir_span_open(&writer, 9);
        end = weir_wire_put_bytes(bytes, 1, keys[i], strlen(keys[i]));
        uint8_t *to = weir_span_room(&writer, 128);
        memcpy(to, bytes, (size_t)(end - bytes));
        weir_span_wrote(&writer, to + (end - bytes));
        size_t any = weir_span_open(&writer, 2), array = weir_span_open(&writer, 5);
        for (int element = 0; element < 2; element++) {
            size_t inner = weir_span_open(&writer, 1);
            to = weir_span_room(&writer, 128);
            weir_span_wrote(&writer, element == 0 ? weir_wire_put_bytes(to, 1, "/a?Bearer xyz", 13)
                                                  : weir_wire_put_uint(to, 3, 4111111111111111));
            weir_span_close(&writer, inner);
        }
        weir_span_close(&writer, array);
        weir_span_close(&writer, any);
        weir_span_close(&writer, pair);
    }
    Span *span = end_as("shop");
    static const char *const first[] = {"/a?-", "/a", "/a?Bearer xyz"};
    assert_int_equal(span->n_attributes, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(span->attributes[i]->value->array_value->n_values, 2);
        assert_string_equal(span->attributes[i]->value->array_value->values[0]->string_value, first[i]);
        assert_string_equal(span->attributes[i]->value->array_value->values[1]->string_value, "************1111");
    }
    assert_int_equal(redacted("strip_query"), 1);
    assert_int_equal(redacted("replace"), 1);
    assert_int_equal(redacted("mask_card_numbers"), 3);
    done(span);
}

/* Its digits may pass Luhn's test; equal values would not stay equal if some of them were masked. */
static void a_hash_is_no_card(void **state) {
    (void)state;
    assert_int_equal(compile("attributes:\n  - { keys: [id], action: hash }\n"), WEIR_OK);
    for (int i = 0; i < 20000; i++) {
        char text[16];
        weir_batch_truncate(batch, 0, 0);
        start();
        weir_span_text(&writer, T("id"), text, (size_t)snprintf(text, sizeof text, "%d", i));
        Span *span = end_as("shop");
        if (strspn(text_of(span, "id"), "0123456789abcdef") != 32) fail_msg("%s", text_of(span, "id"));
        done(span);
    }
}

static void keep_drops_the_rest(void **state) {
    (void)state;
    assert_int_equal(compile("attributes:\n  - { keys: [http.*, team], action: keep }\n"), WEIR_OK);
    start();
    weir_span_text(&writer, T("http.method"), T("GET"));
    weir_span_text(&writer, T("team"), T("a"));
    weir_span_text(&writer, T("user"), T("bob"));
    weir_span_text(&writer, T("peer.service"), T("db"));   /* Weir reads it */
    weir_span_double(&writer, T("weir.prior_weight"), 10); /* and this */
    Span *span = end_as("shop");
    assert_int_equal(span->n_attributes, 4);
    assert_null(text_of(span, "user"));
    assert_true(view()->prior == 10);
    assert_int_equal(redacted("keep"), 1);
    done(span);
}

static void a_default_is_switched_off_by_its_name(void **state) {
    (void)state;
    assert_int_equal(
        compile("attributes: [{ action: mask_card_numbers, keys: [] }, { action: strip_query, keys: [u] }]\n"),
        WEIR_OK);
    start();
    weir_span_name(&writer, T("n"));
    weir_span_text(&writer, T("note"), T(CARD));
    weir_span_text(&writer, T("http.url"), T("/a?b"));
    weir_span_text(&writer, T("u"), T("/a?b"));
    Span *span = end_as("shop");
    assert_string_equal(text_of(span, "note"), CARD);
    assert_string_equal(text_of(span, "http.url"), "/a?b");
    assert_string_equal(text_of(span, "u"), "/a");
    done(span);
}

/* A pattern that would take for ever hides the value. */
static void a_costly_pattern_hides(void **state) {
    (void)state;
    assert_int_equal(
        compile("attributes:\n  - { keys: [v], action: replace, pattern: '^(a+)+(b|\\1)*$', replacement: x }\n"),
        WEIR_OK);
    start();
    weir_span_text(&writer, T("v"), T("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"));
    Span *span = end_as("shop");
    assert_string_equal(text_of(span, "v"), "[redacted]");
    done(span);
}

static void operations_by_rule(void **state) {
    (void)state;
    assert_int_equal(compile("operations:\n  - { match: '^job-(\\w+)-.*', name: 'job $1' }\n"), WEIR_OK);
    start();
    weir_span_name(&writer, T("job-index-77?x"));
    Span *span = end_as("shop");
    assert_string_equal(weir_names_text(names, view()->operation, NULL), "job index");
    assert_string_equal(span->name, "job-index-77?x"); /* the span keeps its own */
    done(span);
    start();
    weir_span_name(&writer, T("job-index-78/" CARD));
    span = end_as("shop");
    assert_string_equal(weir_names_text(names, view()->operation, NULL), "job index");
    assert_string_equal(span->name, "job-index-78/************1111");
    done(span);
}

/* A resource is looked at once, whatever its scopes are: one of 16 KiB with 400,000 scopes would have the lane for half
 * a minute. Each scope still has it as the rules leave it, and its service. */
static void a_resource_of_many_scopes(void **state) {
    (void)state;
    enum { SCOPES = 200 };
    static uint8_t body[SCOPES * 128];
    const uint8_t id[16] = {1};
    uint8_t pair[128], value[64], scope[128], span[64], *at = pair, *end;
    uint8_t resource[256], *resource_end = resource;
    static const char *const texts[2][2] = {{"service.name", "pay"}, {"note", "card " CARD}};
    for (int i = 0; i < 2; i++) {
        end = weir_wire_put_bytes(value, 1, texts[i][1], strlen(texts[i][1]));
        at = weir_wire_put_bytes(pair, 1, texts[i][0], strlen(texts[i][0]));
        at = weir_wire_put_bytes(at, 2, value, (size_t)(end - value));
        resource_end = weir_wire_put_bytes(resource_end, 1, pair, (size_t)(at - pair));
    }
    uint8_t *to = weir_wire_put_bytes(body, 1, resource, (size_t)(resource_end - resource));
    for (unsigned i = 0; i < SCOPES; i++) {
        char name[2] = {(char)('a' + i % 2), 0};
        end = weir_wire_put_bytes(span, 1, id, 16);
        end = weir_wire_put_bytes(end, 2, id, 8);
        at = weir_wire_put_bytes(pair, 1, name, 1);
        at = weir_wire_put_bytes(scope, 1, pair, (size_t)(at - pair));
        at = weir_wire_put_bytes(at, 2, span, (size_t)(end - span));
        to = weir_wire_put_bytes(to, 2, scope, (size_t)(at - scope));
    }
    struct weir_batch *request = weir_batch_new(NULL, (size_t)(to - body) + 16);
    request->size = (size_t)(weir_wire_put_bytes(request->bytes, 1, body, (size_t)(to - body)) - request->bytes);
    uint64_t before = redacted("mask_card_numbers");
    assert_int_equal(weir_otlp_decode(otlp, request, &decoded, &err), WEIR_OK);
    assert_int_equal(redacted("mask_card_numbers") - before, 1);
    assert_int_equal(request->span_count, SCOPES);
    assert_int_equal(request->origin_count, 2);
    for (unsigned i = 0; i < SCOPES; i++) {
        const struct weir_origin *origin = request->origins[request->spans[i].origin];
        assert_int_equal(origin->parts.scope[2], 'a' + i % 2);
        assert_false(holds(origin->parts.resource, origin->parts.resource_size, CARD));
        assert_true(holds(origin->parts.resource, origin->parts.resource_size, "card ************1111"));
        assert_int_equal(request->spans[i].service, weir_names_intern(names, "pay", 3));
    }
    weir_batch_unref(request);
}

/* ---- success and exclude ---- */

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

/* ---- aliases ---- */

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

/* ---- errors ---- */

static void errors_name_file_line_and_reason(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        {"attributes: x\n", "weir.yaml:1: attributes: is a single value, a list is needed"},
        {"attributes:\n  - { keys: [a] }\n", "weir.yaml:2: attributes[0]: action is missing"},
        {"attributes:\n  - { action: drop }\n", "weir.yaml:2: attributes[0]: keys is missing"},
        {"attributes:\n  - { action: shred, keys: [a] }\n",
         "weir.yaml:2: attributes[0].action: is none of drop, keep, hash, replace, strip_query, mask_card_numbers"},
        {"attributes:\n  - { action: drop, keys: ['a*b'] }\n",
         "weir.yaml:2: attributes[0].keys: a key is up to 63 bytes, with `*` at its end at most"},
        {"attributes:\n  - { action: replace, keys: [a] }\n", "weir.yaml:2: attributes[0]: pattern is missing"},
        {"attributes:\n  - { action: drop, keys: [a], pattern: b }\n",
         "weir.yaml:2: attributes[0]: pattern is for action replace only"},
        {"attributes:\n\n  - { action: replace, keys: [a], pattern: '(' }\n",
         "weir.yaml:3: pattern: missing closing parenthesis (at character 1)"},
        {"attributes:\n  - { action: hash, keys: [a], key_file: /nonexistent/key }\n",
         "weir.yaml:2: key_file: /nonexistent/key: No such file or directory"},
        {"operations:\n  - { match: a }\n", "weir.yaml:2: operations[0]: match and name are needed"},
        {"success:\n  - { service: a }\n", "weir.yaml:2: success[0]: success is missing, true or false"},
        {"success:\n  - { success: true }\n", "weir.yaml:2: success[0]: would be all spans; name some"},
        {"success:\n  - { service: a, http_status: 99, success: true }\n",
         "weir.yaml:2: success[0].http_status: is no status or range of them, such as 404 or 200-499"},
        {"exclude:\n  - { grpc_codes: [FINE] }\n", "weir.yaml:2: exclude[0].grpc_codes: has a code that gRPC has not"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(compile(cases[i].yaml), WEIR_INVALID);
        assert_string_equal(err.text, cases[i].text);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(defaults_mask_every_text),
        TEST(what_needs_nothing_is_not_copied),
        TEST(what_is_masked_was_never_a_name),
        TEST(the_second_pass_changes_nothing),
        TEST(each_action),
        TEST(strings_of_arrays),
        TEST(a_hash_is_no_card),
        TEST(keep_drops_the_rest),
        TEST(a_default_is_switched_off_by_its_name),
        TEST(a_costly_pattern_hides),
        TEST(operations_by_rule),
        TEST(a_resource_of_many_scopes),
        TEST(judgement),
        TEST(statuses_of_every_dialect),
        TEST(weights_and_marks),
        TEST(weights_of_jaegers_clients),
        TEST(errors_name_file_line_and_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
