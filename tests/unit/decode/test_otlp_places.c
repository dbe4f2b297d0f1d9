/* Every message of a request, along every way to it, by the one table of fields: what is broken in it is named with its
 * place, what is unknown is passed over, and its text is repaired. */
#define _GNU_SOURCE /* memmem */
#include "collector/core/buffer.h"
#include "collector/core/utf8.h"
#include "collector/decode/otlp_fields.h"
#include "tests/unit/decode/otlp_parts.h"

#include <stdio.h>
#include <string.h>

#define RESOURCE_SPANS "resource_spans[1]"
#define SCOPE_SPANS    RESOURCE_SPANS ".scope_spans[1]"
#define SPAN           SCOPE_SPANS ".spans[1]"

/* Field numbers from the request down, 0 behind the last. */
static const struct way {
    uint32_t fields[8];
    const char *place;
} ways[] = {
    {{0}, "ExportTraceServiceRequest"},
    {{1}, RESOURCE_SPANS},
    {{1, 1}, RESOURCE_SPANS},
    {{1, 1, 1}, RESOURCE_SPANS},
    {{1, 1, 1, 2}, RESOURCE_SPANS},
    {{1, 1, 1, 2, 5}, RESOURCE_SPANS},
    {{1, 1, 3}, RESOURCE_SPANS},
    {{1, 2}, SCOPE_SPANS},
    {{1, 2, 1}, SCOPE_SPANS},
    {{1, 2, 1, 3}, SCOPE_SPANS},
    {{1, 2, 1, 3, 2}, SCOPE_SPANS},
    {{1, 2, 2}, SPAN},
    {{1, 2, 2, 9}, SPAN},
    {{1, 2, 2, 9, 2}, SPAN},
    {{1, 2, 2, 9, 2, 5}, SPAN},
    {{1, 2, 2, 9, 2, 5, 1}, SPAN},
    {{1, 2, 2, 9, 2, 6}, SPAN},
    {{1, 2, 2, 9, 2, 6, 1}, SPAN},
    {{1, 2, 2, 11}, SPAN},
    {{1, 2, 2, 11, 3}, SPAN},
    {{1, 2, 2, 11, 3, 2}, SPAN},
    {{1, 2, 2, 13}, SPAN},
    {{1, 2, 2, 13, 4}, SPAN},
    {{1, 2, 2, 13, 4, 2}, SPAN},
    {{1, 2, 2, 15}, SPAN},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static enum weir_otlp_message message_at(const struct way *way, size_t depth) {
    enum weir_otlp_message message = WEIR_OTLP_REQUEST;
    for (size_t i = 0; i < depth; i++)
        message = (enum weir_otlp_message)weir_otlp_field(message, way->fields[i])->message;
    return message;
}

static size_t depth_of(const struct way *way) {
    size_t depth = 0;
    while (way->fields[depth] != 0)
        depth++;
    return depth;
}

/* What stands in a message in front of what is tried: where spans are, one of them, so that what is tried is at 1. */
static struct part sound(enum weir_otlp_message message) {
    struct part part = {.size = 0}, inner;
    if (message == WEIR_OTLP_SPAN) return good_span();
    if (message == WEIR_OTLP_REQUEST || message == WEIR_OTLP_RESOURCE_SPANS || message == WEIR_OTLP_SCOPE_SPANS) {
        uint32_t field = message == WEIR_OTLP_REQUEST ? 1 : 2;
        inner = sound((enum weir_otlp_message)weir_otlp_field(message, field)->message);
        inside(&part, field, &inner);
    }
    return part;
}

/* A request with `extra` at the end of the message that the way leads to. */
static struct part request_with(const struct way *way, const struct part *extra) {
    struct part body = *extra;
    for (size_t depth = depth_of(way) + 1; depth-- > 0;) {
        struct part outer = sound(message_at(way, depth));
        if (way->fields[depth] == 0) {
            memcpy(outer.bytes + outer.size, body.bytes, body.size);
            outer.size += body.size;
        } else {
            inside(&outer, way->fields[depth], &body);
        }
        body = outer;
    }
    return body;
}

static uint32_t spans_of(const struct way *way) {
    const uint32_t *fields = way->fields;
    uint32_t spans = fields[0] == 1 ? 2 : 1;
    if (fields[1] == 2) spans += fields[2] == 2 ? 2 : 1;
    return spans;
}

static struct part raw(const void *bytes, size_t size) {
    struct part part = {.size = size};
    memcpy(part.bytes, bytes, size);
    return part;
}

/* Refused, with this place and reason, `behind` bytes into `extra`; nothing is left of it. */
static void refused(const struct way *way, const struct part *extra, size_t behind, const char *why) {
    struct part request = request_with(way, extra);
    const uint8_t *at = memmem(request.bytes, request.size, extra->bytes, extra->size);
    assert_non_null(at);
    assert_null(memmem(at + 1, request.size - (size_t)(at + 1 - request.bytes), extra->bytes, extra->size));
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_INVALID);
    char start[160];
    snprintf(start, sizeof start, "byte %zu: %s", (size_t)(at - request.bytes) + behind, way->place);
    const char *end = err.text + strlen(err.text) - strlen(why);
    if (strncmp(err.text, start, strlen(start)) != 0 || strcmp(end, why) != 0)
        fail_msg("\"%s\", not \"%s ... %s\"", err.text, start, why);
    assert_false(err.retryable);
    assert_int_equal(batch->span_count, 0);
    assert_int_equal(batch->span_bytes, 0);
    assert_int_equal(batch->size, request.size);
    assert_int_equal(counts.spans + counts.skipped + counts.repaired, 0);
}

static void broken_bytes_are_placed(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, behind;
        const char *why;
    } cases[] = {
        /* Field 100: a key of two bytes. */
        {"\xa2\x06\x7f", 3, 0, ": length past the end of its message"},
        {"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, 0, ": length past the end of its message"},
        {"\xa0\x06\xff", 3, 2, ": truncated varint"},
        {"\xa2\x06\xff", 3, 2, ": truncated varint"},
        {"\xa0\x06\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x02", 12, 2, ": varint longer than 64 bits"},
        {"\xa1\x06zzzzzzz", 9, 0, ": truncated fixed-size field"},
        {"\xa5\x06zzz", 5, 0, ": truncated fixed-size field"},
        {"\x06zzz", 4, 0, ": field number out of range"},
        {"\x80\x80\x80\x80\x80\x01zz", 8, 0, ": field number out of range"},
        {"\xa3\x06", 2, 0, ": wire type is not one of 0, 1, 2, 5"},
        {"\xa4\x06", 2, 0, ": wire type is not one of 0, 1, 2, 5"},
        {"\xa6\x06", 2, 0, ": wire type is not one of 0, 1, 2, 5"},
        {"\xa7\x06", 2, 0, ": wire type is not one of 0, 1, 2, 5"},
    };
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct part extra = raw(cases[i].bytes, cases[i].size);
            refused(&ways[w], &extra, cases[i].behind, cases[i].why);
        }
    }
}

/* A field of any type with bytes that stand nowhere else. */
static struct part any_field(uint32_t field, unsigned type) {
    struct part part = {.size = 0};
    switch (type) {
    case WEIR_WIRE_VARINT: number(&part, field, 0x7a7a7a7a); break;
    case WEIR_WIRE_FIXED64: fixed(&part, field, 0x7a7a7a7a7a7a7a7aull); break;
    case WEIR_WIRE_BYTES: text(&part, field, "zzzz"); break;
    default:
        part.size = (size_t)(weir_wire_put_key(part.bytes, field, WEIR_WIRE_FIXED32) - part.bytes);
        memcpy(part.bytes + part.size, "zzzz", 4);
        part.size += 4;
    }
    return part;
}

static const unsigned types[] = {WEIR_WIRE_VARINT, WEIR_WIRE_FIXED64, WEIR_WIRE_BYTES, WEIR_WIRE_FIXED32};

static void wire_types_are_held_to(void **state) {
    (void)state;
    unsigned tried = 0;
    for (size_t w = 0; w < WAYS; w++) {
        enum weir_otlp_message message = message_at(&ways[w], depth_of(&ways[w]));
        for (uint32_t field = 1; field < WEIR_OTLP_FIELDS; field++) {
            const struct weir_otlp_field *row = weir_otlp_field(message, field);
            for (size_t t = 0; row != NULL && t < 4; t++) {
                if (types[t] == row->type) continue;
                struct part extra = any_field(field, types[t]);
                char why[96];
                snprintf(why, sizeof why, ".%s: another wire type than the field has", row->name);
                refused(&ways[w], &extra, 0, why);
                tried++;
            }
        }
    }
    assert_in_range(tried, 200, 1000);
}

static void unknown_fields_are_passed_over(void **state) {
    (void)state;
    static const uint32_t numbers[] = {17, 100, 15000, (1u << 29) - 1};
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < 16; i++) {
            struct part extra = any_field(numbers[i / 4], types[i % 4]), request = request_with(&ways[w], &extra);
            if (decode_bytes(request.bytes, request.size) != WEIR_OK) fail_msg("%s", err.text);
            assert_int_equal(counts.spans, spans_of(&ways[w]));
            assert_int_equal(counts.skipped + counts.repaired, 0);
        }
    }
}

/* Are all strings of the views and origins UTF-8? And does `want` stand in one of them? */
static bool all_is_text(const char *want) {
    bool found = false;
    for (uint32_t i = 0; i < batch->span_count; i++) {
        const struct weir_span *view = &batch->spans[i];
        const struct weir_origin_parts *parts = &batch->origins[view->origin]->parts;
        struct weir_otlp_finding finding = {0};
        assert_true(
            weir_otlp_check(WEIR_OTLP_SPAN, weir_wire_of(batch->bytes + view->offset, view->size), 4, &finding));
        assert_true(
            weir_otlp_check(WEIR_OTLP_RESOURCE, weir_wire_of(parts->resource, parts->resource_size), 3, &finding));
        assert_true(weir_otlp_check(WEIR_OTLP_SCOPE, weir_wire_of(parts->scope, parts->scope_size), 4, &finding));
        if (finding.bad_text || !weir_utf8_valid(parts->resource_url, parts->resource_url_size) ||
            !weir_utf8_valid(parts->scope_url, parts->scope_url_size))
            return false;
        found |= memmem(batch->bytes + view->offset, view->size, want, strlen(want)) != NULL;
        found |= memmem(batch->origins[view->origin]->bytes,
                        weir_origin_memory(batch->origins[view->origin]) - sizeof(struct weir_origin), want,
                        strlen(want)) != NULL;
    }
    return found;
}

/* Every string of every message: repaired wherever it stands, and counted as one. */
static void text_is_repaired_everywhere(void **state) {
    (void)state;
    unsigned tried = 0;
    for (size_t w = 0; w < WAYS; w++) {
        enum weir_otlp_message message = message_at(&ways[w], depth_of(&ways[w]));
        for (uint32_t field = 1; field < WEIR_OTLP_FIELDS; field++) {
            const struct weir_otlp_field *row = weir_otlp_field(message, field);
            if (row == NULL || !row->text) continue;
            struct part extra = {.size = 0};
            text(&extra, field, "be\xc3lo\xf0\x9f\x98w");
            struct part request = request_with(&ways[w], &extra);
            if (decode_bytes(request.bytes, request.size) != WEIR_OK) fail_msg("%s", err.text);
            assert_int_equal(counts.spans, spans_of(&ways[w]));
            if (counts.repaired != 1) fail_msg("%s.%s: %u repaired", ways[w].place, row->name, counts.repaired);
            if (!all_is_text("be\xef\xbf\xbdlo\xef\xbf\xbdw")) fail_msg("%s.%s", ways[w].place, row->name);
            tried++;
        }
    }
    assert_in_range(tried, 20, 100);
}

/* Wherever in a string of whatever length the byte is: strings are looked at eight bytes at a time. */
static void text_is_looked_at_to_the_last_byte(void **state) {
    (void)state;
    static const struct way span = {{1, 2, 2}, ""}, pair = {{1, 2, 2, 9}, ""}, value = {{1, 2, 2, 9, 2}, ""};
    const struct {
        const struct way *way;
        uint32_t field;
    } cases[] = {{&span, 3}, {&span, 5}, {&pair, 1}, {&value, 1}};
    for (size_t size = 1; size < 40; size++) {
        for (size_t at = 0; at < size; at++) {
            char bytes[40];
            memset(bytes, 'x', sizeof bytes);
            bytes[at] = (char)0x80;
            for (size_t i = 0; i < 4; i++) {
                struct part extra = {.size = 0};
                put(&extra, cases[i].field, bytes, size);
                struct part request = request_with(cases[i].way, &extra);
                assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
                assert_int_equal(counts.repaired, 1);
                assert_true(all_is_text("\xef\xbf\xbd"));
            }
        }
    }
}

/* What is sound behind it does not hide bad text: a resource, a scope and their URLs, in any order. */
static void sound_text_hides_no_bad_text(void **state) {
    (void)state;
    for (unsigned order = 0; order < 16; order++) {
        bool is_url_bad = (order & 1) != 0, is_url_first = (order & 2) != 0, of_scope = (order & 4) != 0;
        struct part pair = attribute_text("k", is_url_bad ? "sound" : "b\xff"), message = {.size = 0},
                    extra = {.size = 0};
        inside(&message, of_scope ? 3 : 1, &pair);
        for (unsigned i = 0; i < 2; i++) {
            if ((i == 0) == is_url_first)
                text(&extra, 3, is_url_bad ? "b\xff" : "sound");
            else
                inside(&extra, 1, &message);
        }
        if ((order & 8) != 0) { /* the same once more: the last one counts */
            struct part twice = extra;
            memcpy(extra.bytes + extra.size, twice.bytes, twice.size);
            extra.size += twice.size;
        }
        struct part request = request_with(&(struct way){{1, of_scope ? 2 : 0}, ""}, &extra);
        assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
        assert_int_equal(counts.repaired, 1);
        assert_true(all_is_text("b\xef\xbf\xbd"));
    }
}

/* Bytes are no text: ids and bytes_value stay as they are. */
static void bytes_are_left(void **state) {
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        if (message_at(&ways[w], depth_of(&ways[w])) != WEIR_OTLP_ANY_VALUE) continue;
        struct part extra = {.size = 0};
        text(&extra, 7, "be\xc3low");
        struct part request = request_with(&ways[w], &extra);
        assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
        assert_int_equal(counts.repaired, 0);
        assert_true(all_is_text("be\xc3low"));
    }
}

/* Lengths in front of what grows grow with it, at every level: each in turn is at the edge of a byte. */
static void lengths_grow_with_the_text(void **state) {
    (void)state;
    for (size_t bad = 1; bad < 160; bad++) {
        for (size_t w = 0; w < WAYS; w++) {
            if (message_at(&ways[w], depth_of(&ways[w])) != WEIR_OTLP_ANY_VALUE) continue;
            struct part extra = {.size = 0};
            uint8_t bytes[160];
            memset(bytes, 0xff, bad);
            put(&extra, 1, bytes, bad);
            struct part request = request_with(&ways[w], &extra);
            assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_OK);
            assert_int_equal(counts.repaired, 1);
            char want[512];
            for (size_t i = 0; i < bad; i++)
                memcpy(want + 3 * i, "\xef\xbf\xbd", 4);
            assert_true(all_is_text(want));
        }
    }
}
static void broken_parts_are_named(void **state) {
    (void)state;
    struct part span = good_span(), pair = {.size = 0};
    number(&pair, 1, 7); /* a key that is a number */
    inside(&span, 9, &pair);
    struct part request = request_of_spans(NULL, &span, 1);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_INVALID);
    assert_non_null(
        strstr(err.text, "resource_spans[0].scope_spans[0].spans[0].key: another wire type than the field has"));
    span = good_span();
    fixed(&span, 5, 1); /* a name that is a number */
    request = request_of_spans(NULL, &span, 1);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_INVALID);
    assert_non_null(strstr(err.text, "spans[0].name: another wire type"));
    span = good_span();
    span.bytes[span.size++] = 0x4b; /* field 9, wire type 3: a group */
    request = request_of_spans(NULL, &span, 1);
    assert_int_equal(decode_bytes(request.bytes, request.size), WEIR_INVALID);
    assert_non_null(strstr(err.text, "wire type"));
    assert_int_equal(decode_bytes(NULL, 0), WEIR_OK);
    assert_int_equal(counts.spans, 0);
}

/* `depth` arrays, one in another, as an attribute of a span (field 9) or of its resource (0). */
static enum weir_status nested(uint32_t field, unsigned depth) {
    struct part any = {.size = 0}, span = good_span(), pair = {.size = 0};
    text(&any, 1, "x");
    for (unsigned i = 0; i < depth; i++) {
        struct part array = {.size = 0}, outer = {.size = 0};
        inside(&array, 1, &any);
        inside(&outer, 5, &array);
        any = outer;
    }
    text(&pair, 1, "deep");
    inside(&pair, 2, &any);
    if (field != 0) inside(&span, field, &pair);
    struct part request = request_of_spans(NULL, &span, 1);
    if (field == 0) {
        struct part resource = {.size = 0}, resource_spans = {.size = 0};
        inside(&resource, 1, &pair);
        inside(&resource_spans, 1, &resource);
        inside(&request, 1, &resource_spans);
    }
    return decode_bytes(request.bytes, request.size);
}

static void depth_is_bounded(void **state) {
    (void)state;
    /* The value of a span's attribute is the sixth message, that of a resource's the fifth; an array is two more. */
    assert_int_equal(nested(9, 1), WEIR_OK);
    assert_int_equal(nested(9, (WEIR_DEPTH_MAX - 6) / 2), WEIR_OK);
    assert_int_equal(nested(9, (WEIR_DEPTH_MAX - 6) / 2 + 1), WEIR_INVALID);
    assert_non_null(strstr(err.text, "nested too deep"));
    assert_int_equal(nested(9, 300), WEIR_INVALID);
    /* Lists nest by three messages: value, list, pair. */
    struct part list = {.size = 0};
    for (unsigned i = 0; i < 40; i++) {
        struct part pair = {.size = 0}, inner = {.size = 0};
        inside(&pair, 2, &list);
        inside(&inner, 1, &pair);
        list = (struct part){.size = 0};
        inside(&list, 6, &inner);
        struct part attribute = {.size = 0}, event = {.size = 0}, span = good_span();
        inside(&attribute, 2, &list);
        inside(&event, 3, &attribute); /* request, resource spans, scope spans, span, event, attribute, value */
        inside(&span, 11, &event);
        struct part request = request_of_spans(NULL, &span, 1);
        unsigned depth = 7 + 3 * (i + 1);
        assert_int_equal(decode_bytes(request.bytes, request.size), depth <= WEIR_DEPTH_MAX ? WEIR_OK : WEIR_INVALID);
    }
    assert_int_equal(nested(0, (WEIR_DEPTH_MAX - 5) / 2), WEIR_OK);
    assert_int_equal(nested(0, (WEIR_DEPTH_MAX - 5) / 2 + 1), WEIR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(broken_bytes_are_placed),
        TEST(wire_types_are_held_to),
        TEST(unknown_fields_are_passed_over),
        TEST(bytes_are_left),
        TEST(text_is_repaired_everywhere),
        TEST(lengths_grow_with_the_text),
        TEST(broken_parts_are_named),
        TEST(depth_is_bounded),
        TEST(text_is_looked_at_to_the_last_byte),
        TEST(sound_text_hides_no_bad_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
