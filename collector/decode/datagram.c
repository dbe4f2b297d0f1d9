#include "collector/decode/datagram.h"
#include "collector/core/ledger.h"
#include "collector/core/wire.h"
#include "collector/decode/key.h"
#include "collector/decode/otlp_fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS_MAX = 4096,
    SCALE_MIN = -10, /* OpenTelemetry, metrics data model: beyond these a double has no more buckets */
    SCALE_MAX = 20,
    RESOURCE_DEPTH = 3, /* as in a request: what may be nested there may be nested here */
    SPAN_DEPTH = 4,     /* what weir_otlp_span() counts on */
};

/* ---- the outline ---- */

/* datagram.proto */
enum field {
    VERSION = 1,
    SENDER,
    START,
    SEQUENCE,
    RESOURCE,
    SPANS,
    COUNTERS,
    HISTOGRAMS,
    POLICY_VERSION,
    ASK,
    PAD = 14,
    HMAC = 15,
    FIELDS
};
static const struct {
    const char *name;
    uint8_t type;
} outline[FIELDS] = {
    [VERSION] = {"version", WEIR_WIRE_VARINT},
    [SENDER] = {"sender", WEIR_WIRE_FIXED64},
    [START] = {"start_time_unix_nano", WEIR_WIRE_FIXED64},
    [SEQUENCE] = {"sequence", WEIR_WIRE_VARINT},
    [RESOURCE] = {"resource", WEIR_WIRE_BYTES},
    [SPANS] = {"spans", WEIR_WIRE_BYTES},
    [COUNTERS] = {"counters", WEIR_WIRE_BYTES},
    [HISTOGRAMS] = {"histograms", WEIR_WIRE_BYTES},
    [POLICY_VERSION] = {"policy_version", WEIR_WIRE_VARINT},
    [ASK] = {"ask", WEIR_WIRE_BYTES},
    [PAD] = {"pad", WEIR_WIRE_BYTES},
    [HMAC] = {"hmac", WEIR_WIRE_BYTES},
};

static enum weir_status broken(struct weir_error *err, const char *field, const char *why, ptrdiff_t at) {
    return weir_fail(err, WEIR_INVALID, 0, false, "byte %td: %s%s%s", at, field != NULL ? field : "",
                     field != NULL ? ": " : "", why);
}

/* Counter and Histogram down to their last byte, so that a datagram is broken before anything of it is taken. Packed or
 * not, as protobuf readers must take either. */
static const char *check_doubles(const struct weir_wire_field *field) {
    if (field->type == WEIR_WIRE_FIXED64) return NULL;
    if (field->type != WEIR_WIRE_BYTES) return "another wire type than the field has";
    return field->value % 8 == 0 ? NULL : "size is not a multiple of 8";
}

static const char *check_numbers(const struct weir_wire_field *field) {
    if (field->type == WEIR_WIRE_VARINT) return NULL;
    if (field->type != WEIR_WIRE_BYTES) return "another wire type than the field has";
    struct weir_wire packed = weir_wire_of(field->bytes, field->value);
    for (uint64_t value; packed.at < packed.end;) {
        if (!weir_wire_varint(&packed, &value)) return packed.why;
    }
    return NULL;
}

/* Types of fields 1 .. 6, as `wanted` says: v varint, d fixed64, b bytes, D packed doubles, V packed varints. */
static const char *check_fields(const uint8_t *bytes, size_t size, const char *wanted) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    size_t count = strlen(wanted);
    while (weir_wire_next(&wire, &field)) {
        if (field.number > count) continue;
        const char *why = NULL;
        uint32_t type = field.type;
        switch (wanted[field.number - 1]) {
        case 'v': type = WEIR_WIRE_VARINT; break;
        case 'd': type = WEIR_WIRE_FIXED64; break;
        case 'b': type = WEIR_WIRE_BYTES; break;
        case 'D': why = check_doubles(&field); break;
        default: why = check_numbers(&field);
        }
        if (field.type != type) why = "another wire type than the field has";
        if (why != NULL) return why;
    }
    return wire.why;
}

static const char *check_point(const struct weir_wire_field *point, bool histogram) {
    const char *why = check_fields(point->bytes, point->value, histogram ? "bbdDVb" : "bbvd");
    struct weir_wire wire = weir_wire_of(point->bytes, point->value);
    struct weir_wire_field field;
    while (why == NULL && weir_wire_next(&wire, &field)) {
        if (field.number == 2) why = check_fields(field.bytes, field.value, "bb");
        if (histogram && field.number == 6) why = check_fields(field.bytes, field.value, "vvVv");
    }
    return why;
}

/* PolicyAsk. Of several the last counts, as of every field here. */
static const char *read_ask(const struct weir_wire_field *ask, struct weir_datagram *datagram) {
    const char *why = check_fields(ask->bytes, ask->value, "db");
    if (why != NULL) return why;
    struct weir_wire wire = datagram->ask = weir_wire_of(ask->bytes, ask->value);
    struct weir_wire_field field;
    datagram->nonce = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1) datagram->nonce = field.value;
    }
    return NULL;
}

bool weir_datagram_operation(struct weir_wire *ask, const uint8_t **name, size_t *size) {
    struct weir_wire_field field;
    while (weir_wire_next(ask, &field)) {
        if (field.number != 2) continue;
        *name = field.bytes;
        *size = field.value;
        return true;
    }
    return false;
}

enum weir_status weir_datagram_read(const uint8_t *bytes, size_t size, struct weir_datagram *datagram,
                                    struct weir_error *err) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    uint64_t version = 0;
    *datagram = (struct weir_datagram){.bytes = bytes, .size = size};
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (datagram->hmac != NULL) return broken(err, "hmac", "is not the last field", start - bytes);
        if (field.number >= FIELDS || outline[field.number].name == NULL) continue;
        const char *name = outline[field.number].name, *why = NULL;
        if (field.type != outline[field.number].type)
            return broken(err, name, "another wire type than the field has", start - bytes);
        switch ((enum field)field.number) {
        case VERSION: version = field.value; break;
        case SENDER: datagram->sender = field.value; break;
        case START: datagram->start_ns = field.value; break;
        case SEQUENCE: datagram->sequence = field.value; break;
        case RESOURCE: datagram->resource = field.bytes, datagram->resource_size = (uint32_t)field.value; break;
        case SPANS:
            if (datagram->spans++ == 0) datagram->spans_at = start;
            datagram->spans_end = wire.at;
            break;
        case COUNTERS:
        case HISTOGRAMS:
            why = check_point(&field, field.number == HISTOGRAMS);
            datagram->points++;
            break;
        case POLICY_VERSION: datagram->policy_version = field.value; break;
        case ASK: why = read_ask(&field, datagram); break;
        case HMAC:
            if (field.value != WEIR_DATAGRAM_HMAC_BYTES) why = "does not have 16 bytes";
            datagram->hmac = field.bytes;
            datagram->signed_size = (size_t)(start - bytes);
            break;
        case PAD:
        case FIELDS: break;
        }
        if (why != NULL) return broken(err, name, why, start - bytes);
    }
    if (wire.why != NULL) return broken(err, NULL, wire.why, wire.at - bytes);
    if (version != WEIR_DATAGRAM_VERSION)
        return weir_fail(err, WEIR_UNSUPPORTED, 0, false, "version %llu, not %d", (unsigned long long)version,
                         WEIR_DATAGRAM_VERSION);
    if (datagram->sequence == 0) return broken(err, "sequence", "begins with 1", 0);
    return WEIR_OK;
}

void weir_datagram_sender(const struct weir_datagram *datagram, char out[WEIR_DATAGRAM_SENDER_BYTES]) {
    snprintf(out, WEIR_DATAGRAM_SENDER_BYTES, "%016llx", (unsigned long long)datagram->sender);
}

/* ---- the decoder ---- */

struct array { /* of 8 bytes each, little endian */
    uint8_t *bytes;
    uint32_t count;
    bool full;
};

struct weir_datagrams {
    struct weir_otlp *otlp;
    const struct weir_names *names;
    struct weir_key *key;
    struct weir_origin *origin; /* of the datagram before; NULL at first */
    uint8_t bounds[BUCKETS_MAX * 8], counts[(BUCKETS_MAX + 1) * 8];
};

struct weir_datagrams *weir_datagrams_new(struct weir_otlp *otlp, const struct weir_names *names,
                                          uint32_t label_value_bytes_max) {
    struct weir_datagrams *datagrams = calloc(1, sizeof *datagrams);
    if (datagrams == NULL) return NULL;
    datagrams->otlp = otlp;
    datagrams->names = names;
    datagrams->key = weir_key_new(label_value_bytes_max);
    if (datagrams->key == NULL) {
        weir_datagrams_free(datagrams);
        return NULL;
    }
    return datagrams;
}

void weir_datagrams_free(struct weir_datagrams *datagrams) {
    if (datagrams == NULL) return;
    weir_origin_unref(datagrams->origin);
    weir_key_free(datagrams->key);
    free(datagrams);
}

/* ---- spans ---- */

static enum weir_status new_origin(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                   struct weir_otlp_counts *counts, struct weir_error *err) {
    struct weir_origin_parts parts = {.resource = datagram->resource, .resource_size = datagram->resource_size};
    struct weir_wire wire = weir_wire_of(parts.resource, parts.resource_size);
    struct weir_otlp_finding finding = {0};
    uint8_t *repaired = NULL;
    if (!weir_otlp_check(WEIR_OTLP_RESOURCE, wire, RESOURCE_DEPTH, &finding))
        return broken(err, "resource", finding.why, finding.at - datagram->bytes);
    if (finding.bad_text) {
        repaired = malloc(weir_otlp_repair_room(parts.resource_size));
        if (repaired == NULL) return weir_fail(err, WEIR_FULL, 0, true, "no memory to repair the resource's text");
        const uint8_t *end = weir_otlp_repair(WEIR_OTLP_RESOURCE, wire, repaired, &counts->repaired);
        parts.resource = repaired;
        parts.resource_size = (uint32_t)(end - repaired);
    }
    struct weir_origin *origin = weir_otlp_origin(datagrams->otlp, &parts);
    free(repaired);
    if (origin == NULL) return weir_fail(err, WEIR_FULL, 0, true, "no memory for a resource");
    weir_origin_unref(datagrams->origin);
    datagrams->origin = origin;
    return WEIR_OK;
}

/* Datagrams of one sender follow each other, so mostly it is the resource of the one before, and was checked. */
static enum weir_status know_origin(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                    struct weir_otlp_counts *counts, struct weir_error *err) {
    const struct weir_origin *last = datagrams->origin;
    bool is_known = last != NULL && last->parts.resource_size == datagram->resource_size &&
                    (datagram->resource_size == 0 ||
                     memcmp(last->parts.resource, datagram->resource, datagram->resource_size) == 0);
    return is_known ? WEIR_OK : new_origin(datagrams, datagram, counts, err);
}

static enum weir_status find_origin(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                    struct weir_batch *batch, uint16_t *index, struct weir_otlp_counts *counts,
                                    struct weir_error *err) {
    enum weir_status status = know_origin(datagrams, datagram, counts, err);
    if (status != WEIR_OK) return status;
    status = weir_batch_origin(batch, datagrams->origin, index);
    return status == WEIR_OK ? WEIR_OK : weir_fail(err, WEIR_FULL, 0, true, "no room for a resource");
}

enum weir_status weir_datagrams_service(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                        uint32_t *service, struct weir_error *err) {
    struct weir_otlp_counts counts = {0}; /* repairs are counted with the spans that are stored with them */
    enum weir_status status = know_origin(datagrams, datagram, &counts, err);
    if (status == WEIR_OK) *service = datagrams->origin->service;
    return status;
}

/* A span with a bad id is skipped, its neighbours are kept; of a broken one nobody knows where it ends. */
static bool is_sound(const struct weir_wire_field *span) {
    struct weir_otlp_finding finding = {0};
    return weir_otlp_check(WEIR_OTLP_SPAN, weir_wire_of(span->bytes, span->value), SPAN_DEPTH, &finding);
}

static void skip(struct weir_otlp_counts *counts, const struct weir_error *err) {
    if (counts->skipped++ == 0) snprintf(counts->skipped_reason, sizeof counts->skipped_reason, "%.150s", err->text);
}

/* The body stands at `offset` of the batch, and in `field` as it came. */
static enum weir_status take_span(struct weir_datagrams *datagrams, const struct weir_wire_field *field,
                                  struct weir_batch *batch, uint32_t offset, uint16_t origin,
                                  struct weir_otlp_counts *counts, struct weir_error *err) {
    struct weir_span span;
    enum weir_status status =
        weir_otlp_span(datagrams->otlp, batch, offset, (uint32_t)field->value, &span, counts, err);
    if (status == WEIR_INVALID && is_sound(field)) {
        skip(counts, err);
        return WEIR_OK;
    }
    if (status != WEIR_OK) return status;
    span.origin = origin;
    span.service = batch->origins[origin]->service;
    span.receiver = WEIR_RECEIVER_DATAGRAM;
    status = weir_batch_add(batch, &span);
    if (status != WEIR_OK) return weir_fail(err, WEIR_FULL, 0, true, "no room for a span's view");
    counts->spans++;
    return WEIR_OK;
}

enum weir_status weir_datagrams_spans(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                      struct weir_batch *batch, struct weir_otlp_counts *counts,
                                      struct weir_error *err) {
    if (datagram->spans == 0) return WEIR_OK;
    uint32_t spans_before = batch->span_count;
    struct weir_otlp_counts counts_before = *counts;
    size_t size_before = batch->size, size = (size_t)(datagram->spans_end - datagram->spans_at);
    uint16_t origin;
    enum weir_status status = find_origin(datagrams, datagram, batch, &origin, counts, err);
    if (status != WEIR_OK) return status;
    if (weir_batch_room(batch, size) != WEIR_OK || weir_batch_span_room(batch, datagram->spans) != WEIR_OK)
        return weir_fail(err, WEIR_FULL, 0, true, "no room for %u spans", datagram->spans);
    memcpy(batch->bytes + size_before, datagram->spans_at, size);
    batch->size += size;

    /* Walked where it came from: reading a span may move the batch's bytes. */
    struct weir_wire wire = weir_wire_of(datagram->spans_at, size);
    struct weir_wire_field field;
    while (status == WEIR_OK && weir_wire_next(&wire, &field)) {
        if (field.number != SPANS) continue;
        uint32_t offset = (uint32_t)(size_before + (size_t)(field.bytes - datagram->spans_at));
        status = take_span(datagrams, &field, batch, offset, origin, counts, err);
    }
    if (status != WEIR_OK) {
        weir_batch_truncate(batch, spans_before, size_before);
        *counts = counts_before;
    }
    return status;
}

/* ---- points ---- */

static void append(struct array *array, uint64_t value, uint32_t max) {
    if (array->count == max) {
        array->full = true;
        return;
    }
    memcpy(array->bytes + (size_t)array->count++ * 8, &value, 8);
}

static void append_doubles(struct array *array, const struct weir_wire_field *field) {
    if (field->type == WEIR_WIRE_FIXED64) {
        append(array, field->value, BUCKETS_MAX);
        return;
    }
    for (size_t at = 0; at < field->value; at += 8) {
        uint64_t bits;
        memcpy(&bits, field->bytes + at, 8);
        append(array, bits, BUCKETS_MAX);
    }
}

static void append_numbers(struct array *array, const struct weir_wire_field *field) {
    if (field->type == WEIR_WIRE_VARINT) {
        append(array, field->value, BUCKETS_MAX + 1);
        return;
    }
    struct weir_wire packed = weir_wire_of(field->bytes, field->value);
    for (uint64_t value; packed.at < packed.end && weir_wire_varint(&packed, &value);)
        append(array, value, BUCKETS_MAX + 1);
}

static bool add_up(const struct array *array, uint64_t *sum) {
    for (uint32_t i = 0; i < array->count; i++) {
        uint64_t value;
        memcpy(&value, array->bytes + (size_t)i * 8, 8);
        if (__builtin_add_overflow(*sum, value, sum)) return false;
    }
    return true;
}

static bool ascending(const struct array *array) {
    double before = 0;
    for (uint32_t i = 0; i < array->count; i++) {
        double bound;
        memcpy(&bound, array->bytes + (size_t)i * 8, 8);
        if (!isfinite(bound) || (i > 0 && bound <= before)) return false;
        before = bound;
    }
    return true;
}

/* Name and labels, fields 1 and 2 of both. */
static bool make_key(struct weir_datagrams *datagrams, struct weir_wire wire, struct weir_point *point) {
    struct weir_wire whole = wire;
    struct weir_wire_field field, inner, name = {0};
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1) name = field;
    }
    if (!weir_key_name(datagrams->key, name.bytes, name.value)) return false;
    while (weir_wire_next(&whole, &field)) {
        if (field.number != 2) continue;
        struct weir_wire label = weir_wire_of(field.bytes, field.value);
        struct weir_wire_field parts[2] = {0};
        while (weir_wire_next(&label, &inner)) {
            if (inner.number <= 2) parts[inner.number - 1] = inner;
        }
        if (!weir_key_label(datagrams->key, parts[0].bytes, parts[0].value, parts[1].bytes, parts[1].value))
            return false;
    }
    point->key = weir_key_done(datagrams->key, &point->key_size);
    point->hash = weir_names_hash(datagrams->names, point->key, point->key_size);
    return true;
}

static bool counter(struct weir_datagrams *datagrams, struct weir_wire wire, const struct weir_datagram_calls *calls) {
    struct weir_point point = {.kind = WEIR_POINT_COUNT, .weight = 1};
    struct weir_wire_field field;
    if (!make_key(datagrams, wire, &point)) return false;
    uint64_t count = 0;
    bool has_value = false;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 3) count = field.value;
        if (field.number == 4) point.value = weir_wire_double(field.value), has_value = true;
    }
    if (!has_value) point.value = (double)count;
    if (!isfinite(point.value) || point.value < 0) return false;
    calls->point(calls->self, &point);
    return true;
}

static bool exponential(struct weir_wire wire, struct array *counts, struct weir_point_data *data) {
    struct weir_wire_field field;
    int64_t scale = 0, offset = 0;
    while (weir_wire_next(&wire, &field)) {
        switch (field.number) {
        case 1: scale = weir_wire_zigzag(field.value); break;
        case 2: offset = weir_wire_zigzag(field.value); break;
        case 3: append_numbers(counts, &field); break;
        case 4: data->zero_count = field.value; break;
        default: break;
        }
    }
    if (scale < SCALE_MIN || scale > SCALE_MAX || offset < INT32_MIN || offset > INT32_MAX - (int64_t)counts->count)
        return false;
    data->scale = (int32_t)scale;
    data->positive_offset = (int32_t)offset;
    data->positive = counts->bytes;
    data->positive_count = counts->count;
    data->count = data->zero_count;
    return true;
}

static bool histogram(struct weir_datagrams *datagrams, struct weir_wire wire,
                      const struct weir_datagram_calls *calls) {
    struct weir_point_data data = {.has_sum = true};
    struct weir_point point = {.kind = WEIR_POINT_HISTOGRAM, .weight = 1, .data = &data};
    struct array bounds = {.bytes = datagrams->bounds}, counts = {.bytes = datagrams->counts};
    struct weir_wire_field field, inside = {0};
    if (!make_key(datagrams, wire, &point)) return false;
    while (weir_wire_next(&wire, &field)) {
        switch (field.number) {
        case 3: data.sum = weir_wire_double(field.value); break;
        case 4: append_doubles(&bounds, &field); break;
        case 5: append_numbers(&counts, &field); break;
        case 6: inside = field; break;
        default: break;
        }
    }
    if (inside.number != 0) {
        if (bounds.count + counts.count > 0) return false;
        point.kind = WEIR_POINT_EXPONENTIAL;
        if (!exponential(weir_wire_of(inside.bytes, inside.value), &counts, &data)) return false;
    } else {
        if (counts.count != bounds.count + 1 || !ascending(&bounds)) return false;
        data.bounds = bounds.bytes;
        data.bound_count = bounds.count;
        data.counts = counts.bytes;
    }
    if (bounds.full || counts.full || !isfinite(data.sum) || !add_up(&counts, &data.count)) return false;
    calls->point(calls->self, &point);
    return true;
}

uint32_t weir_datagrams_points(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                               const struct weir_datagram_calls *calls) {
    if (datagram->points == 0) return 0;
    struct weir_wire wire = weir_wire_of(datagram->bytes, datagram->size);
    struct weir_wire_field field;
    uint32_t senseless = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != COUNTERS && field.number != HISTOGRAMS) continue;
        struct weir_wire inside = weir_wire_of(field.bytes, field.value);
        if (field.number == COUNTERS) senseless += !counter(datagrams, inside, calls);
        if (field.number == HISTOGRAMS) senseless += !histogram(datagrams, inside, calls);
    }
    return senseless;
}
