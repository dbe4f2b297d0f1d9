/* Zipkin v2 as protobuf. Source: zipkin-api, zipkin.proto: ListOfSpans{1 spans}, Span, Endpoint, Annotation. */
#include "collector/core/wire.h"
#include "collector/decode/zipkin_inside.h"

struct reader {
    struct weir_zipkin_decoder *decoder;
    const uint8_t *start;
    const char *why, *field;
    const uint8_t *at;
    const char *bad_id; /* this span alone is passed over */
};

static bool broken(struct reader *reader, const char *why, const char *field, const uint8_t *at) {
    reader->why = why;
    reader->field = field;
    reader->at = at;
    return false;
}

static uint64_t big_endian(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return __builtin_bswap64(value);
}

static bool read_endpoint(struct reader *reader, const struct weir_wire_field *message, const char *name,
                          struct zipkin_endpoint *endpoint) {
    struct weir_wire wire = weir_wire_of(message->bytes, message->value);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_BYTES) {
            endpoint->service = (struct zipkin_text){field.bytes, field.value};
        } else if (field.number == 2 && field.type == WEIR_WIRE_BYTES && field.value == 4) {
            memcpy(endpoint->ipv4, field.bytes, 4);
            endpoint->has_ipv4 = true;
        } else if (field.number == 3 && field.type == WEIR_WIRE_BYTES && field.value == 16) {
            zipkin_ipv6(endpoint, field.bytes);
        } else if (field.number == 4 && field.type == WEIR_WIRE_VARINT && field.value <= UINT16_MAX) {
            endpoint->port = (uint16_t)field.value;
        }
    }
    return wire.why == NULL || broken(reader, wire.why, name, wire.at);
}

static bool read_annotation(struct reader *reader, const struct weir_wire_field *message,
                            struct weir_span_writer *writer) {
    struct weir_wire wire = weir_wire_of(message->bytes, message->value);
    struct weir_wire_field field;
    struct zipkin_text value = {0};
    uint64_t timestamp_us = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_FIXED64) timestamp_us = field.value;
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES) value = (struct zipkin_text){field.bytes, field.value};
    }
    if (wire.why != NULL) return broken(reader, wire.why, "annotations", wire.at);
    zipkin_put_annotation(writer, timestamp_us, value);
    return true;
}

static bool read_tag(struct reader *reader, const struct weir_wire_field *message, struct weir_span_writer *writer,
                     struct zipkin_head *head) {
    struct weir_wire wire = weir_wire_of(message->bytes, message->value);
    struct weir_wire_field field;
    struct zipkin_text key = {0}, value = {0};
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_BYTES) key = (struct zipkin_text){field.bytes, field.value};
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES) value = (struct zipkin_text){field.bytes, field.value};
    }
    if (wire.why != NULL) return broken(reader, wire.why, "tags", wire.at);
    zipkin_put_tag(writer, head, key, value);
    return true;
}

/* Zipkin's own order of kinds. */
static enum weir_kind kind_of(uint64_t kind) {
    static const enum weir_kind kinds[] = {WEIR_KIND_UNSPECIFIED, WEIR_KIND_CLIENT, WEIR_KIND_SERVER,
                                           WEIR_KIND_PRODUCER, WEIR_KIND_CONSUMER};
    return kind < sizeof kinds / sizeof kinds[0] ? kinds[kind] : WEIR_KIND_UNSPECIFIED;
}

/* The wire type of each field of Span; 0 of a field that there is none of. */
static const struct {
    const char *name;
    uint8_t type;
} fields[] = {
    [1] = {"trace_id", WEIR_WIRE_BYTES},
    [2] = {"parent_id", WEIR_WIRE_BYTES},
    [3] = {"id", WEIR_WIRE_BYTES},
    [4] = {"kind", WEIR_WIRE_VARINT},
    [5] = {"name", WEIR_WIRE_BYTES},
    [6] = {"timestamp", WEIR_WIRE_FIXED64},
    [7] = {"duration", WEIR_WIRE_VARINT},
    [8] = {"local_endpoint", WEIR_WIRE_BYTES},
    [9] = {"remote_endpoint", WEIR_WIRE_BYTES},
    [10] = {"annotations", WEIR_WIRE_BYTES},
    [11] = {"tags", WEIR_WIRE_BYTES},
    [12] = {"debug", WEIR_WIRE_VARINT},
    [13] = {"shared", WEIR_WIRE_VARINT},
};

static bool read_field(struct reader *reader, const struct weir_wire_field *field, struct weir_span_writer *writer,
                       struct zipkin_head *head) {
    switch (field->number) {
    case 1:
        if (field->value == 16) head->trace_hi = big_endian(field->bytes);
        if (field->value == 8 || field->value == 16)
            head->trace_lo = big_endian(field->bytes + field->value - 8);
        else
            reader->bad_id = "trace_id has not 8 or 16 bytes";
        return true;
    case 2:
        if (field->value == 8)
            head->parent = big_endian(field->bytes);
        else if (field->value != 0)
            reader->bad_id = "parent_id has not 8 bytes";
        return true;
    case 3:
        if (field->value == 8)
            head->id = big_endian(field->bytes);
        else
            reader->bad_id = "id has not 8 bytes";
        return true;
    case 4: head->kind = kind_of(field->value); return true;
    case 5: weir_span_name(writer, field->bytes, field->value); return true;
    case 6: head->timestamp_us = field->value <= ZIPKIN_MICROS_MAX ? field->value : 0; return true;
    case 7: head->duration_us = field->value <= ZIPKIN_MICROS_MAX ? field->value : 0; return true;
    case 8: return read_endpoint(reader, field, "local_endpoint", &head->local);
    case 9: return read_endpoint(reader, field, "remote_endpoint", &head->remote);
    case 10: return read_annotation(reader, field, writer);
    case 11: return read_tag(reader, field, writer, head);
    case 12: head->debug = field->value != 0; return true;
    default: head->shared = field->value != 0; return true;
    }
}

static bool read_span(struct reader *reader, const struct weir_wire_field *message, struct weir_span_writer *writer,
                      struct zipkin_head *head) {
    struct weir_wire wire = weir_wire_of(message->bytes, message->value);
    struct weir_wire_field field;
    for (const uint8_t *start = wire.at; weir_wire_next(&wire, &field); start = wire.at) {
        if (field.number >= sizeof fields / sizeof fields[0] || fields[field.number].name == NULL) continue;
        if (field.type != fields[field.number].type)
            return broken(reader, "another wire type than the field has", fields[field.number].name, start);
        if (!read_field(reader, &field, writer, head)) return false;
    }
    if (wire.why != NULL) return broken(reader, wire.why, NULL, wire.at);
    return true;
}

static enum weir_status fail(const struct reader *reader, const struct zipkin_head *head, struct weir_error *err) {
    return weir_fail(err, WEIR_INVALID, 0, false, "spans[%u] (traceId %016llx%016llx)%s%s: byte %zu: %s",
                     reader->decoder->index, (unsigned long long)head->trace_hi, (unsigned long long)head->trace_lo,
                     reader->field != NULL ? "." : "", reader->field != NULL ? reader->field : "",
                     (size_t)(reader->at - reader->start), reader->why);
}

enum weir_status zipkin_decode_proto3(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                      struct weir_error *err) {
    struct reader reader = {.decoder = decoder, .start = bytes};
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        struct weir_span_writer writer;
        struct zipkin_head head = {0};
        weir_span_begin(&writer, decoder->batch);
        reader.bad_id = NULL;
        if (!read_span(&reader, &field, &writer, &head)) return fail(&reader, &head, err);
        enum weir_status status = reader.bad_id != NULL ? zipkin_skip(decoder, &writer, reader.bad_id)
                                                        : zipkin_put(decoder, &writer, &head, err);
        if (status != WEIR_OK) return status;
        decoder->index++;
    }
    if (wire.why != NULL)
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: ListOfSpans: %s", (size_t)(wire.at - bytes), wire.why);
    return WEIR_OK;
}
