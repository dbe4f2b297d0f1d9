#include "collector/core/wire.h"
#include "collector/decode/json.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_json.h"
#include "collector/decode/otlp_json_fields.h"
#include "tests/unit/decode/otlp_json_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define SPANS(inside)   "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" inside "]}]}]}"
#define POINTS(inside)  "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[" inside "]}]}]}"

static uint8_t *read_file(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", WEIR_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("no %s", path);
    uint8_t *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    assert_true(*size > 0 && *size < 1 << 20);
    fclose(file);
    return bytes;
}

static const ProtobufCMessageDescriptor *descriptor_of(enum weir_otlp_json_request what) {
    return what == WEIR_OTLP_JSON_TRACES ? REF_TRACES : REF_METRICS;
}

/* The message that a text becomes; fails when it becomes none. */
static ProtobufCMessage *read_text(enum weir_otlp_json_request what, const char *text, size_t size) {
    struct weir_error err;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    if (weir_otlp_json(what, (const uint8_t *)text, size, batch, &err) != WEIR_OK) fail_msg("%s", err.text);
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor_of(what), NULL, batch->size, batch->bytes);
    assert_non_null(message);
    weir_batch_unref(batch);
    return message;
}

/* ---- the table ---- */

static bool kind_fits(const struct weir_otlp_json_field *row, const ProtobufCFieldDescriptor *field) {
    size_t size = strlen(field->name);
    bool id = size > 3 && strcmp(field->name + size - 3, "_id") == 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: return row->kind == WEIR_OTLP_JSON_TEXT;
    case PROTOBUF_C_TYPE_BYTES: return row->kind == (id ? WEIR_OTLP_JSON_HEX : WEIR_OTLP_JSON_BASE64);
    case PROTOBUF_C_TYPE_BOOL: return row->kind == WEIR_OTLP_JSON_BOOL;
    case PROTOBUF_C_TYPE_ENUM: return row->kind == WEIR_OTLP_JSON_ENUM;
    case PROTOBUF_C_TYPE_UINT32: return row->kind == WEIR_OTLP_JSON_UINT32;
    case PROTOBUF_C_TYPE_SINT32: return row->kind == WEIR_OTLP_JSON_SINT32;
    case PROTOBUF_C_TYPE_INT64: return row->kind == WEIR_OTLP_JSON_INT64;
    case PROTOBUF_C_TYPE_UINT64: return row->kind == WEIR_OTLP_JSON_UINT64;
    case PROTOBUF_C_TYPE_FIXED32: return row->kind == WEIR_OTLP_JSON_FIXED32;
    case PROTOBUF_C_TYPE_FIXED64: return row->kind == WEIR_OTLP_JSON_FIXED64;
    case PROTOBUF_C_TYPE_SFIXED64: return row->kind == WEIR_OTLP_JSON_SFIXED64;
    case PROTOBUF_C_TYPE_DOUBLE: return row->kind == WEIR_OTLP_JSON_DOUBLE;
    case PROTOBUF_C_TYPE_MESSAGE: return row->kind == WEIR_OTLP_JSON_INSIDE;
    default: return false;
    }
}

static void compare_table(enum weir_otlp_json_message message, const ProtobufCMessageDescriptor *descriptor,
                          bool seen[WEIR_OTLP_JSON_MESSAGES]) {
    if (seen[message]) return;
    seen[message] = true;
    unsigned rows = 0;
    for (; rows < WEIR_OTLP_JSON_FIELDS && weir_otlp_json_fields[message][rows].name != NULL; rows++) {
        const struct weir_otlp_json_field *row = &weir_otlp_json_fields[message][rows];
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, row->number);
        if (message == WEIR_OTLP_JSON_RESOURCE && row->number == 3) continue; /* younger than the trimmed schema */
        assert_non_null(field);
        assert_string_equal(row->name, field->name);
        if (!kind_fits(row, field)) fail_msg("%s: another type", field->name);
        assert_int_equal(row->many, field->label == PROTOBUF_C_LABEL_REPEATED);
        if (row->kind == WEIR_OTLP_JSON_INSIDE)
            compare_table((enum weir_otlp_json_message)row->inside, field->descriptor, seen);
        if (row->kind != WEIR_OTLP_JSON_ENUM) continue;
        int value = 0;
        for (const char *word = row->words; *word != 0; word += strlen(word) + 1) {
            const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, word);
            assert_non_null(known);
            assert_int_equal(known->value, value++);
        }
        assert_int_equal(value, ((const ProtobufCEnumDescriptor *)field->descriptor)->n_values);
    }
    assert_int_equal(rows - (message == WEIR_OTLP_JSON_RESOURCE), descriptor->n_fields);
}

static void the_table_is_the_schema(void **state) {
    (void)state;
    bool seen[WEIR_OTLP_JSON_MESSAGES] = {false};
    compare_table(WEIR_OTLP_JSON_TRACE_REQUEST, REF_TRACES, seen);
    compare_table(WEIR_OTLP_JSON_METRICS_REQUEST, REF_METRICS, seen);
    for (unsigned i = 0; i < WEIR_OTLP_JSON_MESSAGES; i++)
        assert_true(seen[i] || i == WEIR_OTLP_JSON_ENTITY_REF);
}

/* ---- whole requests ---- */

static void samples_say_the_same(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum weir_otlp_json_request what;
    } samples[] = {{"otlp/trace.json", WEIR_OTLP_JSON_TRACES},
                   {"otlp/jaeger-ui-in-error.json", WEIR_OTLP_JSON_TRACES},
                   {"otlp/jaeger-ui-multi-in-combined.json", WEIR_OTLP_JSON_TRACES},
                   {"otlp/metrics.json", WEIR_OTLP_JSON_METRICS}};
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        size_t size;
        uint8_t *text = read_file(samples[i].name, &size);
        json_t *said = json_loadb((const char *)text, size, 0, NULL);
        assert_non_null(said);
        ProtobufCMessage *message = read_text(samples[i].what, (const char *)text, size);
        json_t *read = ref_json(message, 0);
        if (!ref_within(said, read)) fail_msg("%s: something is lost", samples[i].name);
        if (!ref_within(read, said)) fail_msg("%s: something is added", samples[i].name);
        json_decref(said);
        json_decref(read);
        protobuf_c_message_free_unpacked(message, NULL);
        free(text);
    }
}

/* A message as JSON in each style, read again, packs into the same bytes. */
static void there_and_back(enum weir_otlp_json_request what, const ProtobufCMessage *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(2 * size + 1);
    protobuf_c_message_pack(message, packed);
    for (unsigned style = 0; style < REF_STYLES; style++) {
        json_t *json = ref_json(message, style);
        char *text = json_dumps(json, (style & 1) != 0 ? JSON_INDENT(2) : JSON_COMPACT | JSON_ENSURE_ASCII);
        ProtobufCMessage *again = read_text(what, text, strlen(text));
        assert_int_equal(protobuf_c_message_get_packed_size(again), size);
        protobuf_c_message_pack(again, packed + size);
        assert_memory_equal(packed, packed + size, size);
        protobuf_c_message_free_unpacked(again, NULL);
        free(text);
        json_decref(json);
    }
    free(packed);
}

static void recorded_requests_there_and_back(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        enum weir_otlp_json_request what = i < 3 ? WEIR_OTLP_JSON_TRACES : WEIR_OTLP_JSON_METRICS;
        char name[80];
        size_t size;
        snprintf(name, sizeof name, "envoy-live/otlp-%s-request-%d.bin", i < 3 ? "trace" : "metrics", i % 3);
        uint8_t *bytes = read_file(name, &size);
        ProtobufCMessage *message = protobuf_c_message_unpack(descriptor_of(what), NULL, size, bytes);
        assert_non_null(message);
        there_and_back(what, message);
        protobuf_c_message_free_unpacked(message, NULL);
        free(bytes);
    }
}

/* Any message of the schema, `depth` levels down. */
static uint64_t seed;
static uint64_t dice(void) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return seed >> 20;
}

static void make_value(const ProtobufCFieldDescriptor *field, void *at, unsigned depth);

static ProtobufCMessage *make(const ProtobufCMessageDescriptor *descriptor, unsigned depth) {
    ProtobufCMessage *message = calloc(1, descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        char *base = (char *)message, *at = base + field->offset;
        if (dice() % 3 == 0 || (depth == 0 && field->type == PROTOBUF_C_TYPE_MESSAGE)) continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = dice() % 4;
            char *items = calloc(count, ref_size(field));
            for (size_t k = 0; k < count; k++)
                make_value(field, items + k * ref_size(field), depth);
            *(char **)at = items;
            *(size_t *)(base + field->quantifier_offset) = count;
            if (count == 0) free(items), *(char **)at = NULL;
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            uint32_t *which = (uint32_t *)(base + field->quantifier_offset);
            if (*which != 0) continue;
            *which = field->id;
        }
        make_value(field, at, depth);
    }
    return message;
}

static void make_value(const ProtobufCFieldDescriptor *field, void *at, unsigned depth) {
    static const char *const texts[] = {
        "a", "caf\xc3\xa9 \"q\" \\ \x01\n", "\xf0\x9f\x90\xa2",
        "a text of more than a hundred and twenty-eight bytes, so that what is around "
        "it has a length of two bytes and is moved when it is closed, up to the request"};
    static const double reals[] = {0, -1.5, 1e300, 3, NAN, INFINITY, -INFINITY, 0.1};
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE: *(ProtobufCMessage **)at = make(field->descriptor, depth - 1); break;
    case PROTOBUF_C_TYPE_STRING: *(char **)at = strdup(texts[dice() % COUNT_OF(texts)]); break;
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData *data = at;
        data->len = 1 + dice() % 20;
        data->data = malloc(data->len);
        for (size_t i = 0; i < data->len; i++)
            data->data[i] = (uint8_t)dice();
        break;
    }
    case PROTOBUF_C_TYPE_BOOL: *(protobuf_c_boolean *)at = dice() % 2; break;
    case PROTOBUF_C_TYPE_ENUM: *(int *)at = (int)(dice() % 3); break;
    case PROTOBUF_C_TYPE_DOUBLE: *(double *)at = reals[dice() % COUNT_OF(reals)]; break;
    default: {
        uint64_t value = dice() << 30 ^ dice();
        value = dice() % 4 == 0 ? UINT64_MAX : value >> dice() % 64;
        memcpy(at, &value, ref_size(field));
    }
    }
}

static void any_message_there_and_back(void **state) {
    (void)state;
    size_t bytes = 0;
    for (seed = 1; seed < 200; seed++) {
        uint64_t start = seed;
        enum weir_otlp_json_request what = start % 2 == 0 ? WEIR_OTLP_JSON_TRACES : WEIR_OTLP_JSON_METRICS;
        ProtobufCMessage *message = make(descriptor_of(what), 8);
        bytes += protobuf_c_message_get_packed_size(message);
        there_and_back(what, message);
        protobuf_c_message_free_unpacked(message, NULL);
        seed = start;
    }
    assert_true(bytes > 100 * 1000);
}

/* ---- what is read, and how ---- */

/* Two texts that become the same bytes. */
static void same(enum weir_otlp_json_request what, const char *a, const char *b) {
    struct weir_error err;
    struct weir_batch *one = weir_batch_new(NULL, 0), *two = weir_batch_new(NULL, 0);
    if (weir_otlp_json(what, (const uint8_t *)a, strlen(a), one, &err) != WEIR_OK) fail_msg("%s: %s", a, err.text);
    if (weir_otlp_json(what, (const uint8_t *)b, strlen(b), two, &err) != WEIR_OK) fail_msg("%s: %s", b, err.text);
    assert_int_equal(one->size, two->size);
    if (one->size > 0) assert_memory_equal(one->bytes, two->bytes, one->size);
    weir_batch_unref(one);
    weir_batch_unref(two);
}

static void other_writings_of_the_same(void **state) {
    (void)state;
    static const char *const spans[][2] = {
        {"{}", " { \"resourceSpans\" : null , \"unknown\" : [ { \"a\" : 1 } ] } "},
        {SPANS("{\"traceId\":\"0123456789abcdef0123456789abcdef\"}"),
         SPANS("{\"trace_id\":\"0123456789ABCDEF0123456789ABCDEF\",\"next\":{\"x\":[1,2,{}]}}")},
        {SPANS("{\"spanId\":\"00\"}"), SPANS("{\"spa\\u006eId\":\"\\u0030\\u0030\"}")},
        {SPANS("{\"kind\":2,\"name\":\"a/b\"}"),
         SPANS("{\"kind\":\"SPAN_KIND_SERVER\",\"name\":\"a\\/b\",\"status\":null}")},
        {SPANS("{\"kind\":2}"), SPANS("{\"kind\":\"2\"}")},
        {SPANS("{\"startTimeUnixNano\":\"1544712660000000000\"}"),
         SPANS("{\"start_time_unix_nano\":1544712660000000000}")},
        {SPANS("{\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"-5\"}}]}"),
         SPANS("{\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":-5,\"doubleValue\":null}}]}")},
        {SPANS("{\"attributes\":[{\"key\":\"k\",\"value\":{\"bytesValue\":\"+/8=\"}}]}"),
         SPANS("{\"attributes\":[{\"key\":\"k\",\"value\":{\"bytesValue\":\"-_8\"}}]}")},
        {SPANS("{\"status\":{\"code\":2}}"), SPANS("{\"status\":{\"code\":\"STATUS_CODE_ERROR\"}}")},
    };
    for (size_t i = 0; i < COUNT_OF(spans); i++)
        same(WEIR_OTLP_JSON_TRACES, spans[i][0], spans[i][1]);
    same(WEIR_OTLP_JSON_METRICS,
         POINTS("{\"histogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{\"bucketCounts\":[\"1\",\"2\"],"
                "\"explicitBounds\":[0.5],\"sum\":\"Infinity\"}]}}"),
         POINTS("{\"histogram\":{\"aggregation_temporality\":\"AGGREGATION_TEMPORALITY_DELTA\",\"data_points\":[{"
                "\"bucket_counts\":[1,2],\"explicit_bounds\":[5e-1],\"sum\":\"Infinity\"}]}}"));
}

/* '@' stands where the error is, and is taken out. */
static void refuses(enum weir_otlp_json_request what, const char *marked, const char *why) {
    char text[512], expected[300];
    struct weir_error err;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    const char *mark = strchr(marked, '@');
    assert_non_null(mark);
    snprintf(text, sizeof text, "%.*s%s", (int)(mark - marked), marked, mark + 1);
    snprintf(expected, sizeof expected, "byte %td: %s", mark - marked, why);
    assert_int_equal(weir_otlp_json(what, (const uint8_t *)text, strlen(text), batch, &err), WEIR_INVALID);
    assert_string_equal(err.text, expected);
    assert_int_equal(batch->size, 0);
    weir_batch_unref(batch);
}

static void errors_name_the_place(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"@", "is not an object"},
        {"@[]", "is not an object"},
        {"{} @x", "something stands behind the end"},
        {"{\"resourceSpans\":@{}}", "resourceSpans: is not an array"},
        {"{\"resourceSpans\":[ @null]}", "resourceSpans[0]: is not an object"},
        {"{\"resourceSpans\":[{},{\"resource\":@[]}]}", "resourceSpans[1].resource: is not an object"},
        {"{\"resourceSpans\":[{},{\"unknown\":@tru}]}", "resourceSpans[1]: is not a value"},
        {"{\"resourceSpans\":[{} @{}]}", "resourceSpans[1]: neither a comma nor the end of the array"},
        {SPANS("{},{\"traceId\":@\"0g\"}"), "resourceSpans[0].scopeSpans[0].spans[1].traceId: is not hex"},
        {SPANS("{\"traceId\": @\"012\"}"), "resourceSpans[0].scopeSpans[0].spans[0].traceId: is not hex"},
        {SPANS("{\"traceId\":@12}"), "resourceSpans[0].scopeSpans[0].spans[0].traceId: is not a string"},
        {SPANS("{\"kind\":@\"SERVER\"}"), "resourceSpans[0].scopeSpans[0].spans[0].kind: is an unknown name"},
        {SPANS("{\"startTimeUnixNano\":@\"later\"}"),
         "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano: is not a number"},
        {SPANS("{\"end_time_unix_nano\":@-1}"), "resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano: is negative"},
        {SPANS("{\"droppedEventsCount\":@4294967296}"),
         "resourceSpans[0].scopeSpans[0].spans[0].droppedEventsCount: is out of range"},
        {SPANS("{\"attributes\":[{\"key\":\"k\",\"value\":{\"bytesValue\":@\"a\"}}]}"),
         "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.bytesValue: is not base64"},
        {"{\"resourceSpans\":[{\"schemaUrl\":@\"a", "resourceSpans[0].schemaUrl: a string has no end"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        refuses(WEIR_OTLP_JSON_TRACES, cases[i][0], cases[i][1]);
    refuses(WEIR_OTLP_JSON_METRICS, POINTS("{\"sum\":{\"dataPoints\":[{\"asInt\":@\"9223372036854775808\"}]}}"),
            "resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[0].asInt: is out of range");
}

static void base64_that_is_none(void **state) {
    (void)state;
    static const char *const bad[] = {"a", "=", "a=", "a==", "ab=", "abc==", "ab=c", "abcd=", "ab$d", "abcd====", "=="};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[256];
        struct weir_error err;
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        snprintf(text, sizeof text, SPANS("{\"attributes\":[{\"value\":{\"bytesValue\":\"%s\"}}]}"), bad[i]);
        assert_int_equal(weir_otlp_json(WEIR_OTLP_JSON_TRACES, (uint8_t *)text, strlen(text), batch, &err),
                         WEIR_INVALID);
        weir_batch_unref(batch);
    }
}

static void depth_is_bounded(void **state) {
    (void)state;
    static char text[64 * 1024];
    for (unsigned levels = 1; levels < 200; levels++) {
        char *at = text;
        at +=
            sprintf(at, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"attributes\":[{\"key\":\"k\",\"value\":");
        for (unsigned i = 0; i < levels; i++)
            at += sprintf(at, "{\"arrayValue\":{\"values\":[");
        for (unsigned i = 0; i < levels; i++)
            at += sprintf(at, "]}}");
        at += sprintf(at, "}]}]}]}]}");
        struct weir_error err;
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        enum weir_status status =
            weir_otlp_json(WEIR_OTLP_JSON_TRACES, (uint8_t *)text, (size_t)(at - text), batch, &err);
        assert_int_equal(status, levels <= (WEIR_JSON_DEPTH_MAX - 9) / 3 ? WEIR_OK : WEIR_INVALID);
        weir_batch_unref(batch);
    }
}

static void memory_is_bounded(void **state) {
    (void)state;
    size_t size;
    uint8_t *text = read_file("otlp/jaeger-ui-multi-in-combined.json", &size);
    struct weir_error err;
    bool was_full = false, was_ok = false;
    for (size_t limit = 0; limit < 8 * size; limit += 509) {
        struct weir_budget budget = {.limit_bytes = limit};
        struct weir_batch *batch = weir_batch_new(&budget, 0);
        if (batch == NULL) continue;
        enum weir_status status = weir_otlp_json(WEIR_OTLP_JSON_TRACES, text, size, batch, &err);
        assert_true(status == WEIR_OK || (status == WEIR_FULL && batch->size == 0));
        assert_true(budget.used_bytes <= limit);
        was_full |= status == WEIR_FULL;
        was_ok |= status == WEIR_OK;
        weir_batch_unref(batch);
        assert_int_equal(budget.used_bytes, 0);
    }
    assert_true(was_full && was_ok);
    free(text);
}

static void every_cut_is_refused(void **state) {
    (void)state;
    size_t size;
    uint8_t *text = read_file("otlp/metrics.json", &size);
    while (text[size - 1] != '}')
        size--;
    for (size_t cut = 0; cut < size; cut++) {
        struct weir_error err;
        struct weir_batch *batch = weir_batch_new(NULL, 0);
        uint8_t *exact = malloc(cut + 1); /* reading past the end is seen by the sanitizer */
        memcpy(exact, text, cut);
        assert_int_equal(weir_otlp_json(WEIR_OTLP_JSON_METRICS, exact, cut, batch, &err), WEIR_INVALID);
        free(exact);
        weir_batch_unref(batch);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_the_schema),
        cmocka_unit_test(samples_say_the_same),
        cmocka_unit_test(recorded_requests_there_and_back),
        cmocka_unit_test(any_message_there_and_back),
        cmocka_unit_test(other_writings_of_the_same),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(base64_that_is_none),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(every_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
