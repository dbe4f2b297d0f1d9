/* played.h - what the generator renders, read back field by field, as one flat list of spans. A field that OTLP does
 * not have there, or one with another wire type, fails the test. */
#ifndef TESTS_EMIT_PLAYED_H
#define TESTS_EMIT_PLAYED_H
#include "collector/core/wire.h"
#include "collector/emit/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};
typedef struct {
    char *key, *value;
} KeyValue;
typedef struct { /* opentelemetry-proto v1, trace.proto, Span */
    struct bytes trace_id, span_id, parent_span_id;
    char *trace_state, *name;
    uint64_t kind, start_time_unix_nano, end_time_unix_nano, status, flags;
    KeyValue attributes[64];
    size_t n_attributes;
} Span;

struct played_span {
    const Span *span;
    char *service;
    uint32_t request;
};

struct played {
    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_buffer bytes; /* all requests, one behind another */
    struct request {
        uint8_t *bytes;
        size_t size;
        uint32_t spans, resources; /* spans: as the generator said */
    } * requests;
    uint32_t request_count;
    struct played_span *spans;
    uint32_t span_count;
    uint64_t span_bytes; /* of Span messages */
    char **texts;        /* all that was copied */
    uint32_t text_count;
};

static inline const char *attribute(const KeyValue *list, size_t count, const char *key) {
    const char *value = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].key, key) != 0) continue;
        if (value != NULL) fail_msg("two attributes %s", key);
        value = list[i].value;
    }
    return value;
}

static inline char *text_of(struct played *played, const struct weir_wire_field *field) {
    char *text = strndup((const char *)field->bytes, field->value);
    assert_int_equal(strlen(text), field->value);
    if ((played->text_count & (played->text_count - 1)) == 0)
        played->texts = realloc(played->texts, (played->text_count * 2 + 1) * sizeof *played->texts);
    return played->texts[played->text_count++] = text;
}

/* The next field of `wire`, which must be of `type`; false at the end. */
static inline bool field_of(struct weir_wire *wire, struct weir_wire_field *field) {
    if (weir_wire_next(wire, field)) return true;
    if (wire->why != NULL) fail_msg("%s", wire->why);
    return false;
}
static inline struct weir_wire message_of(const struct weir_wire_field *field) {
    assert_int_equal(field->type, WEIR_WIRE_BYTES);
    return weir_wire_of(field->bytes, field->value);
}

/* KeyValue{1 key, 2 AnyValue{1 string_value}} */
static inline KeyValue key_value_of(struct played *played, const struct weir_wire_field *from) {
    struct weir_wire pair = message_of(from), any;
    struct weir_wire_field field, value;
    KeyValue out = {0};
    while (field_of(&pair, &field)) {
        assert_in_range(field.number, 1, 2);
        if (field.number == 1) out.key = text_of(played, &field);
        if (field.number == 1) continue;
        any = message_of(&field);
        assert_true(field_of(&any, &value));
        assert_int_equal(value.number, 1);
        out.value = text_of(played, &value);
        assert_false(field_of(&any, &value));
    }
    assert_true(out.key != NULL && out.value != NULL);
    return out;
}

static inline Span *span_of(struct played *played, const struct weir_wire_field *from) {
    static const uint8_t types[] = {0, 2, 2, 2, 2, 2, 0, 1, 1, 2, 9, 9, 9, 9, 9, 2, 5}; /* by field number */
    struct weir_wire wire = message_of(from), status;
    struct weir_wire_field field, code;
    Span *span = calloc(1, sizeof *span);
    span->trace_state = span->name = (char *)(uintptr_t) "";
    uint32_t last = 0;
    while (field_of(&wire, &field)) {
        struct bytes bytes = {.data = field.bytes, .len = field.value};
        if (field.number < 1 || field.number > 16 || types[field.number] != field.type)
            fail_msg("field %u of type %u", field.number, field.type);
        assert_true(field.number > last || (field.number == 9 && last == 9)); /* once each, in order */
        last = field.number;
        switch (field.number) {
        case 1: span->trace_id = bytes; break;
        case 2: span->span_id = bytes; break;
        case 3: span->trace_state = text_of(played, &field); break;
        case 4: span->parent_span_id = bytes; break;
        case 5: span->name = text_of(played, &field); break;
        case 6: span->kind = field.value; break;
        case 7: span->start_time_unix_nano = field.value; break;
        case 8: span->end_time_unix_nano = field.value; break;
        case 9:
            assert_true(span->n_attributes < 64);
            span->attributes[span->n_attributes++] = key_value_of(played, &field);
            break;
        case 15:
            status = message_of(&field);
            assert_true(field_of(&status, &code));
            assert_true(code.number == 3 && code.type == WEIR_WIRE_VARINT);
            span->status = code.value;
            break;
        default: span->flags = field.value;
        }
    }
    return span;
}

static inline void unpack_scope(struct played *played, const struct weir_wire_field *from, char *service) {
    struct weir_wire scope = message_of(from);
    struct weir_wire_field field;
    while (field_of(&scope, &field)) {
        assert_in_range(field.number, 1, 2);
        if (field.number == 1)
            assert_memory_equal(field.bytes,
                                "\x0a\x05"
                                "envoy",
                                7);
        if (field.number == 1) continue;
        if ((played->span_count & (played->span_count - 1)) == 0)
            played->spans = realloc(played->spans, (played->span_count * 2 + 1) * sizeof *played->spans);
        played->spans[played->span_count++] =
            (struct played_span){.span = span_of(played, &field), .service = service, .request = played->request_count};
        played->span_bytes += field.value;
    }
}

static inline void unpack(struct played *played, const uint8_t *bytes, size_t size, uint32_t spans) {
    struct request request = {.bytes = malloc(size), .size = size, .spans = spans};
    memcpy(request.bytes, bytes, size);
    uint32_t before = played->span_count;
    struct weir_wire wire = weir_wire_of(request.bytes, size);
    struct weir_wire_field resource, field, pair;
    while (field_of(&wire, &resource)) {
        assert_int_equal(resource.number, 1);
        request.resources++;
        char *service = NULL;
        struct weir_wire inner = message_of(&resource);
        while (field_of(&inner, &field)) {
            assert_in_range(field.number, 1, 2);
            if (field.number == 2) {
                assert_non_null(service);
                unpack_scope(played, &field, service);
                continue;
            }
            struct weir_wire attributes = message_of(&field);
            while (field_of(&attributes, &pair)) {
                KeyValue found = key_value_of(played, &pair);
                if (strcmp(found.key, "service.name") == 0) service = found.value;
            }
        }
    }
    played->requests = realloc(played->requests, (played->request_count + 1) * sizeof *played->requests);
    played->requests[played->request_count++] = request;
    assert_int_equal(played->span_count - before, spans);
}

/* Plays until the end with the options of a command line; a fixed start time, unless it says another. */
static inline void play_all(struct played *played, int argc, char **argv) {
    struct weir_error err = {0};
    bool help;
    memset(played, 0, sizeof *played);
    if (weir_emit_options_parse(argc, argv, &played->options, &help, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (played->options.start_time_s == 0) played->options.start_time_s = 1700000000;
    if (weir_emit_play_init(&played->play, &played->options, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (;;) {
        size_t before = played->bytes.size;
        uint32_t spans = 0;
        enum weir_emit_next next = weir_emit_play_next(&played->play, UINT64_MAX, &played->bytes, &spans);
        if (next == WEIR_EMIT_END) break;
        assert_int_equal(next, WEIR_EMIT_REQUEST);
        assert_false(played->bytes.failed);
        unpack(played, played->bytes.bytes + before, played->bytes.size - before, spans);
    }
}
#define PLAY(played, ...)                                                                                              \
    play_all(played, (int)(sizeof(char *[]){"emit", __VA_ARGS__} / sizeof(char *)), (char *[]){"emit", __VA_ARGS__})

static inline void played_free(struct played *played) {
    for (uint32_t i = 0; i < played->request_count; i++)
        free(played->requests[i].bytes);
    for (uint32_t i = 0; i < played->span_count; i++)
        free((void *)(uintptr_t)played->spans[i].span);
    for (uint32_t i = 0; i < played->text_count; i++)
        free(played->texts[i]);
    free(played->requests);
    free(played->spans);
    free((void *)played->texts);
    weir_buffer_free(&played->bytes);
    weir_emit_play_free(&played->play);
}
#endif
