/* What encode_json.c writes, read back by jansson: a parser that is not ours. */
#include "exporters/json.h"
#include "exporters/zipkin/encode.h"
#include "spans.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static json_t *encode(const struct weir_batch *batch) {
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    json_error_t error;
    assert_true(weir_zipkin_begin(&scratch, batch));
    assert_int_equal(weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out), batch->span_count);
    assert_false(out.failed);
    json_t *list = json_loadb((const char *)out.bytes, out.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (list == NULL) fail_msg("%s at %d in %.*s", error.text, error.position, (int)out.size, (const char *)out.bytes);
    assert_int_equal(json_array_size(list), batch->span_count);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    return list;
}

static json_t *encode_one(struct weir_origin *origin, const struct weir_buffer *body, struct weir_span view) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    add_span(batch, origin, body, view);
    json_t *list = encode(batch);
    json_t *span = json_incref(json_array_get(list, 0));
    json_decref(list);
    weir_batch_unref(batch);
    return span;
}

/* One span of service "payments" with this body. */
static json_t *encode_body(struct weir_buffer *body, struct weir_span view) {
    struct weir_origin *origin = origin_of_service("payments");
    json_t *span = encode_one(origin, body, view);
    weir_origin_unref(origin);
    weir_buffer_free(body);
    return span;
}

static void is_text(const json_t *object, const char *key, const char *want) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) fail_msg("no string \"%s\"", key);
    assert_string_equal(json_string_value(value), want);
}
static void is_absent(const json_t *object, const char *key) {
    if (json_object_get(object, key) != NULL) fail_msg("\"%s\" should not be there", key);
}
static const json_t *tags(const json_t *span) {
    return json_object_get(span, "tags");
}
static int64_t integer(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void a_plain_span(void **state) {
    (void)state;
    struct weir_buffer body = {0};
    span_head(&body, &a_view, "GET /cards");
    json_t *span = encode_body(&body, a_view);
    is_text(span, "traceId", "0102030405060708090a0b0c0d0e0f10");
    is_text(span, "id", "1112131415161718");
    is_text(span, "parentId", "2122232425262728");
    is_text(span, "kind", "SERVER");
    is_text(span, "name", "GET /cards");
    assert_int_equal(integer(span, "timestamp"), 1700000000123456);
    assert_int_equal(integer(span, "duration"), 1500);
    is_text(json_object_get(span, "localEndpoint"), "serviceName", "payments");
    is_absent(span, "remoteEndpoint");
    is_absent(span, "annotations");
    is_absent(span, "tags");
    is_absent(span, "debug");
    json_decref(span);
}

static void ids_and_times(void **state) {
    (void)state;
    struct weir_buffer body = {0};
    struct weir_span view = a_view;
    view.trace_hi = 0; /* 64 bits leave as 16 digits */
    view.trace_lo = 0xfedcba9876543210ull;
    view.flags = WEIR_SPAN_ROOT | WEIR_SPAN_DEBUG;
    view.parent_id = view.span_id; /* Linkerd 1's root */
    view.duration_ns = 12;
    json_t *span = encode_body(&body, view);
    is_text(span, "traceId", "fedcba9876543210");
    is_absent(span, "parentId");
    is_absent(span, "name");
    assert_int_equal(integer(span, "duration"), 1);
    assert_true(json_is_true(json_object_get(span, "debug")));
    json_decref(span);

    view.start_ns = 0;
    view.duration_ns = 0;
    span = encode_body(&body, view);
    is_absent(span, "timestamp");
    is_absent(span, "duration");
    json_decref(span);
}

static void kinds(void **state) {
    (void)state;
    static const char *const want[] = {NULL, NULL, "SERVER", "CLIENT", "PRODUCER", "CONSUMER"};
    for (uint8_t kind = 0; kind < 6; kind++) {
        struct weir_buffer body = {0};
        struct weir_span view = a_view;
        view.kind = kind;
        json_t *span = encode_body(&body, view);
        want[kind] == NULL ? is_absent(span, "kind") : is_text(span, "kind", want[kind]);
        json_decref(span);
    }
}

static void values_as_tags(void **state) {
    (void)state;
    struct weir_buffer body = {0}, array = {0}, list = {0}, map = {0}, value = {0}, long_text = {0};
    pair_text(&body, 9, "text", "a \"quoted\" \\ line\n\x01");
    pair_text(&body, 9, "empty", "");
    pair_int(&body, 9, "int", INT64_MIN);
    pair_int(&body, 9, "status", 200);
    pair_bool(&body, 9, "yes", true);
    pair_bool(&body, 9, "no", false);
    pair_double(&body, 9, "double", 0.1);
    pair_double(&body, 9, "nan", NAN);
    pair_double(&body, 9, "down", -INFINITY);
    for (int i = 0; i < 400; i++)
        weir_buffer_byte(&long_text, 'x');
    pair_bytes(&body, 9, "long", long_text.bytes, long_text.size);

    any_text(&value, "a\"b");
    message(&array, 1, &value);
    weir_buffer_clear(&value);
    uint_field(&value, 3, 7);
    message(&array, 1, &value);
    weir_buffer_clear(&value);
    message(&array, 1, &value); /* an empty value */
    message(&list, 5, &array);
    pair_field(&body, 9, "list", &list);

    pair_text(&map, 1, "k", "v");
    pair_field(&map, 1, "inner", &list);
    weir_buffer_clear(&value);
    message(&value, 6, &map);
    pair_field(&body, 9, "map", &value);
    weir_buffer_clear(&value);
    bytes_field(&value, 7, "\x00\xff\x10!", 4);
    pair_field(&body, 9, "bytes", &value);
    weir_buffer_clear(&value);
    pair_field(&body, 9, "nothing", &value);

    json_t *span = encode_body(&body, a_view);
    is_text(tags(span), "text", "a \"quoted\" \\ line\n\x01");
    is_text(tags(span), "empty", "");
    is_text(tags(span), "int", "-9223372036854775808");
    is_text(tags(span), "status", "200");
    is_text(tags(span), "yes", "true");
    is_text(tags(span), "no", "false");
    is_text(tags(span), "double", "0.1");
    is_text(tags(span), "nan", "NaN");
    is_text(tags(span), "down", "-Infinity");
    assert_int_equal(json_string_length(json_object_get(tags(span), "long")), 400);
    is_text(tags(span), "list", "[\"a\\\"b\",7,null]");
    is_text(tags(span), "map", "{\"k\":\"v\",\"inner\":[\"a\\\"b\",7,null]}");
    is_text(tags(span), "bytes", "AP8QIQ==");
    is_text(tags(span), "nothing", "");
    json_decref(span);
    weir_buffer_free(&array);
    weir_buffer_free(&list);
    weir_buffer_free(&map);
    weir_buffer_free(&value);
    weir_buffer_free(&long_text);
}

static void status_and_error(void **state) {
    (void)state;
    struct weir_buffer body = {0}, status = {0};
    text_field(&status, 2, "card declined");
    uint_field(&status, 3, WEIR_STATUS_ERROR);
    message(&body, 15, &status);
    pair_text(&body, 9, "error", "true"); /* gives way to the message */
    json_t *span = encode_body(&body, a_view);
    is_text(tags(span), "otel.status_code", "ERROR");
    is_text(tags(span), "error", "card declined");
    json_decref(span);

    weir_buffer_clear(&status);
    uint_field(&status, 3, WEIR_STATUS_ERROR);
    message(&body, 15, &status);
    span = encode_body(&body, a_view);
    is_text(tags(span), "error", ""); /* MUST be set, empty without a description */
    json_decref(span);

    weir_buffer_clear(&status);
    uint_field(&status, 3, WEIR_STATUS_OK);
    message(&body, 15, &status);
    pair_bool(&body, 9, "error", false); /* any `error` means failed to Zipkin */
    span = encode_body(&body, a_view);
    is_text(tags(span), "otel.status_code", "OK");
    is_absent(tags(span), "error");
    json_decref(span);

    pair_text(&body, 9, "error", "true");
    span = encode_body(&body, a_view);
    is_absent(tags(span), "otel.status_code");
    is_text(tags(span), "error", "true");
    json_decref(span);
    weir_buffer_free(&status);
}

struct remote_row {
    const char *key[3], *value[3];
    const char *name, *ipv4, *ipv6;
    int port;
};

static void remote_endpoint(void **state) {
    (void)state;
    static const struct remote_row rows[] = {
        {{"peer.service"}, {"cards"}, "cards", NULL, NULL, 0},
        {{"db.name", "server.address"}, {"orders", "db.shop"}, "db.shop", NULL, NULL, 0},
        {{"db.name"}, {"orders"}, "orders", NULL, NULL, 0},
        {{"peer.service", "network.peer.address", "network.peer.port"},
         {"cards", "10.1.2.3", "8443"},
         "cards",
         "10.1.2.3",
         NULL,
         8443},
        {{"net.peer.name", "net.peer.port"}, {"cards.svc", "443"}, "cards.svc", NULL, NULL, 0},
        {{"net.sock.peer.addr", "net.sock.peer.port"}, {"2001:db8::7", "9"}, NULL, NULL, "2001:db8::7", 9},
        {{"peer.address"}, {"10.0.0.9:8080"}, NULL, "10.0.0.9", NULL, 8080},
        {{"peer.address"}, {"[2001:db8::1]:80"}, NULL, NULL, "2001:db8::1", 80},
        {{"server.address", "server.port"}, {"::ffff:192.0.2.1", "80"}, NULL, "192.0.2.1", NULL, 80},
        {{"peer.hostname"}, {"a\"b"}, "a\"b", NULL, NULL, 0},
        {{"peer.address"}, {"10.0.0.9:port"}, "10.0.0.9:port", NULL, NULL, 0},
        {{"peer.service"}, {""}, NULL, NULL, NULL, 0},
        {{"peer.services"}, {"x"}, NULL, NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int calls = 0; calls < 2; calls++) {
            struct weir_buffer body = {0};
            struct weir_span view = a_view;
            view.kind = calls ? (i % 2 ? WEIR_KIND_CLIENT : WEIR_KIND_PRODUCER) : WEIR_KIND_SERVER;
            for (int k = 0; k < 3 && rows[i].key[k] != NULL; k++)
                pair_text(&body, 9, rows[i].key[k], rows[i].value[k]);
            json_t *span = encode_body(&body, view);
            const json_t *remote = json_object_get(span, "remoteEndpoint");
            if (!calls || (rows[i].name == NULL && rows[i].ipv4 == NULL && rows[i].ipv6 == NULL)) {
                assert_null(remote);
            } else {
                rows[i].name != NULL ? is_text(remote, "serviceName", rows[i].name) : is_absent(remote, "serviceName");
                rows[i].ipv4 != NULL ? is_text(remote, "ipv4", rows[i].ipv4) : is_absent(remote, "ipv4");
                rows[i].ipv6 != NULL ? is_text(remote, "ipv6", rows[i].ipv6) : is_absent(remote, "ipv6");
                if (rows[i].port != 0) assert_int_equal(integer(remote, "port"), rows[i].port);
                is_text(tags(span), rows[i].key[0], rows[i].value[0]); /* stays a tag */
            }
            json_decref(span);
        }
    }
    struct weir_buffer body = {0};
    struct weir_span view = a_view;
    view.kind = WEIR_KIND_CLIENT;
    pair_text(&body, 9, "server.address", "cards");
    pair_int(&body, 9, "server.port", 8080); /* a number, as the conventions say */
    json_t *span = encode_body(&body, view);
    assert_int_equal(integer(json_object_get(span, "remoteEndpoint"), "port"), 8080);
    json_decref(span);
}

static void resource_and_scope(void **state) {
    (void)state;
    struct weir_buffer resource = {0}, scope = {0}, body = {0};
    pair_text(&resource, 1, "service.name", "pay\"ments");
    pair_text(&resource, 1, "service.namespace", "shop");
    pair_text(&resource, 1, "k8s.pod.name", "pay-1");
    pair_int(&resource, 1, "process.pid", 7);
    text_field(&scope, 1, "envoy");
    text_field(&scope, 2, "1.40");
    pair_text(&scope, 3, "short", "yes");
    struct weir_origin *origin = origin_new(&resource, &scope);
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    pair_text(&body, 9, "own", "1");
    add_span(batch, origin, &body, a_view);
    pair_text(&body, 9, "k8s.pod.name", "mine"); /* the span's own wins */
    add_span(batch, origin, &body, a_view);
    weir_buffer_clear(&body);
    add_span(batch, origin, &body, a_view);
    json_t *list = encode(batch);
    for (size_t i = 0; i < 3; i++) {
        const json_t *span = json_array_get(list, i);
        is_text(json_object_get(span, "localEndpoint"), "serviceName", "pay\"ments");
        is_absent(tags(span), "service.name");
        is_text(tags(span), "service.namespace", "shop");
        is_text(tags(span), "process.pid", "7");
        is_text(tags(span), "otel.scope.name", "envoy");
        is_text(tags(span), "otel.library.version", "1.40");
        is_text(tags(span), "short", "yes");
        is_text(tags(span), "k8s.pod.name", i == 1 ? "mine" : "pay-1");
        i < 2 ? is_text(tags(span), "own", "1") : is_absent(tags(span), "own");
    }
    json_decref(list);
    weir_batch_unref(batch);
    weir_origin_unref(origin);

    origin = origin_new(NULL, NULL); /* nobody said who it is */
    json_t *span = encode_one(origin, &body, a_view);
    is_text(json_object_get(span, "localEndpoint"), "serviceName", "unknown_service");
    json_decref(span);
    weir_origin_unref(origin);
    weir_buffer_free(&resource);
    weir_buffer_free(&scope);
    weir_buffer_free(&body);
}

static void events_links_dropped(void **state) {
    (void)state;
    struct weir_buffer body = {0}, event = {0}, link = {0};
    fixed_field(&event, 1, 1700000000000001999ull);
    text_field(&event, 2, "retry");
    message(&body, 11, &event);
    pair_text(&event, 3, "why", "r\"eset");
    pair_int(&event, 3, "n", 3);
    message(&body, 11, &event);
    uint_field(&event, 4, 2);
    message(&body, 11, &event);
    weir_buffer_clear(&event);
    text_field(&event, 2, "when?");
    message(&body, 11, &event);
    bytes_field(&link, 1, "\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10", 16);
    bytes_field(&link, 2, "\1\2\3\4\5\6\7\10", 8);
    text_field(&link, 3, "a=b");
    pair_text(&link, 4, "k", "v");
    uint_field(&link, 5, 4);
    message(&body, 13, &link);
    uint_field(&body, 10, 1);
    uint_field(&body, 12, 22);
    uint_field(&body, 14, 333);
    json_t *span = encode_body(&body, a_view);
    const json_t *annotations = json_object_get(span, "annotations");
    assert_int_equal(json_array_size(annotations), 4);
    assert_int_equal(integer(json_array_get(annotations, 0), "timestamp"), 1700000000000001);
    is_text(json_array_get(annotations, 0), "value", "retry");
    is_text(json_array_get(annotations, 1), "value", "\"retry\":{\"why\":\"r\\\"eset\",\"n\":3}");
    is_text(json_array_get(annotations, 2), "value",
            "\"retry\":{\"why\":\"r\\\"eset\",\"n\":3,\"otel.dropped_attributes_count\":2}");
    is_text(json_array_get(annotations, 3), "value", "when?");
    assert_int_equal(integer(json_array_get(annotations, 3), "timestamp"),
                     1700000000123456); /* the span's own: 0 would refuse the list */
    is_text(tags(span), "otlp.link.0", "01020304050607080102030405060708|0102030405060708|a=b|{\"k\":\"v\"}|4");
    is_text(tags(span), "otel.dropped_attributes_count", "1");
    is_text(tags(span), "otel.dropped_events_count", "22");
    is_text(tags(span), "otel.dropped_links_count", "333");
    json_decref(span);
    weir_buffer_free(&event);
    weir_buffer_free(&link);
}

static void sampling(void **state) {
    (void)state;
    struct weir_buffer body = {0};
    text_field(&body, 3, "vendor=1,ot=th:c;rv:0123456789abcd,other=2");
    struct weir_span view = a_view;
    json_t *span = encode_body(&body, view);
    is_text(tags(span), "w3c.tracestate", "vendor=1,ot=th:c;rv:0123456789abcd,other=2");
    is_absent(tags(span), "weir.prior_weight");
    json_decref(span);

    weir_buffer_clear(&body);
    pair_text(&body, 9, "weir.prior_weight", "3");
    span = encode_body(&body, view);
    is_absent(tags(span), "w3c.tracestate");
    is_text(tags(span), "weir.prior_weight", "3");
    json_decref(span);
}

static void what_is_not_text(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *want;
    } rows[] = {
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "é€😀"},
        {"abcdefgh\xff", 9, "abcdefgh\xef\xbf\xbd"},
        {"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd"},                 /* over-long */
        {"\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"x\xe2\x82", 3, "x\xef\xbf\xbd\xef\xbf\xbd"},
        {"\x7f\x1f\t\r", 4, "\x7f\x1f\t\r"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_buffer body = {0};
        bytes_field(&body, 5, rows[i].bytes, rows[i].size);
        pair_bytes(&body, 9, "k", rows[i].bytes, rows[i].size);
        json_t *span = encode_body(&body, a_view);
        is_text(span, "name", rows[i].want);
        is_text(tags(span), "k", rows[i].want);
        json_decref(span);
    }
}

/* Every length around the word size, a special byte at every place of it. */
static void escaping(void **state) {
    (void)state;
    for (size_t size = 0; size < 40; size++) {
        for (size_t at = 0; at <= size; at++) {
            uint8_t text[64], out[64 * WEIR_JSON_GROWTH], want[256];
            memset(text, 'a' + (int)(size % 20), sizeof text);
            if (at < size) text[at] = at % 3 == 0 ? '"' : at % 3 == 1 ? '\\' : '\n';
            size_t n = 0;
            for (size_t i = 0; i < size; i++) {
                if (text[i] == '\n') {
                    want[n++] = '\\';
                    want[n++] = 'n';
                    continue;
                }
                if (text[i] == '"' || text[i] == '\\') want[n++] = '\\';
                want[n++] = text[i];
            }
            assert_int_equal(weir_json_escape(out, text, size) - out, n);
            assert_memory_equal(out, want, n);
        }
    }
}

static void cut_into_bodies(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(100);
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    uint32_t at = 0, bodies = 0;
    assert_int_equal(batch->span_bytes, 36100);
    while (at < batch->span_count) {
        weir_buffer_clear(&out);
        assert_true(weir_zipkin_begin(&scratch, batch));
        uint32_t end = weir_zipkin_encode_json(&scratch, at, 10000, &out);
        assert_true(end > at && out.size <= 10000);
        json_t *list = json_loadb((const char *)out.bytes, out.size, 0, NULL);
        assert_int_equal(json_array_size(list), end - at);
        json_decref(list);
        at = end;
        bodies++;
    }
    assert_in_range(bodies, 5, 8);
    weir_buffer_clear(&out);
    assert_true(weir_zipkin_begin(&scratch, batch));
    assert_int_equal(weir_zipkin_encode_json(&scratch, 3, 1, &out), 4); /* at least one, however small the bound */
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
}

static void memory_runs_out(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(10);
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {.limit = 2000};
    assert_true(weir_zipkin_begin(&scratch, batch));
    weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out);
    assert_true(out.failed);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
}

/* Whatever the bytes of a span are, the list is valid JSON. */
static void any_bytes(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(2);
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    uint64_t random = 88172645463325252ull;
    unsigned not_read = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t kept[1024];
        memcpy(kept, batch->bytes, batch->size);
        for (int k = 0; k < 1 + i % 8; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            batch->bytes[random % batch->size] = (uint8_t)(random >> 32);
        }
        weir_buffer_clear(&out);
        assert_true(weir_zipkin_begin(&scratch, batch));
        assert_int_equal(weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out), 2);
        json_error_t error;
        json_t *list = json_loadb((const char *)out.bytes, out.size, JSON_ALLOW_NUL, &error);
        /* "\\u0000" in a member's name is JSON (RFC 8259, 7), but not to jansson. */
        bool nul = list == NULL && strncmp(error.text, "NUL byte in object key", 22) == 0;
        if (list == NULL && !nul)
            fail_msg("%s at %d in %.*s", error.text, error.position, (int)out.size, (const char *)out.bytes);
        if (nul) {
            not_read++;
        } else {
            assert_int_equal(json_array_size(list), 2);
        }
        json_decref(list);
        memcpy(batch->bytes, kept, batch->size);
    }
    assert_true(not_read < 1000);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_span),
        cmocka_unit_test(ids_and_times),
        cmocka_unit_test(kinds),
        cmocka_unit_test(values_as_tags),
        cmocka_unit_test(status_and_error),
        cmocka_unit_test(remote_endpoint),
        cmocka_unit_test(resource_and_scope),
        cmocka_unit_test(events_links_dropped),
        cmocka_unit_test(sampling),
        cmocka_unit_test(what_is_not_text),
        cmocka_unit_test(escaping),
        cmocka_unit_test(cut_into_bodies),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
