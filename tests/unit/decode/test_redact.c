/* The rules of attributes: as the walk applies them, read back by protobuf-c. What they say of success: test_judged.c.
 */
#define _GNU_SOURCE /* memmem */
#include "tests/unit/decode/ruled.h"

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

/* Of another wire type it has no bytes to look for a query in. */
static void a_string_that_is_a_number(void **state) {
    (void)state;
    uint8_t any[8], pair[32], *at = weir_wire_put_bytes(pair, 1, "http.url", 8);
    at = weir_wire_put_bytes(at, 2, any, (size_t)(weir_wire_put_uint(any, 1, 5) - any));
    assert_false(weir_redact_needs(rules, WEIR_OTLP_KEY_VALUE, weir_wire_of(pair, (size_t)(at - pair))));
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_mask_every_text, begin, finish),
        cmocka_unit_test_setup_teardown(what_needs_nothing_is_not_copied, begin, finish),
        cmocka_unit_test_setup_teardown(what_is_masked_was_never_a_name, begin, finish),
        cmocka_unit_test_setup_teardown(the_second_pass_changes_nothing, begin, finish),
        cmocka_unit_test_setup_teardown(each_action, begin, finish),
        cmocka_unit_test_setup_teardown(strings_of_arrays, begin, finish),
        cmocka_unit_test_setup_teardown(a_string_that_is_a_number, begin, finish),
        cmocka_unit_test_setup_teardown(a_hash_is_no_card, begin, finish),
        cmocka_unit_test_setup_teardown(keep_drops_the_rest, begin, finish),
        cmocka_unit_test_setup_teardown(a_default_is_switched_off_by_its_name, begin, finish),
        cmocka_unit_test_setup_teardown(a_costly_pattern_hides, begin, finish),
        cmocka_unit_test_setup_teardown(operations_by_rule, begin, finish),
        cmocka_unit_test_setup_teardown(a_resource_of_many_scopes, begin, finish),
        cmocka_unit_test_setup_teardown(errors_name_file_line_and_reason, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
