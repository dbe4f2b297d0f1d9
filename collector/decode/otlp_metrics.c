#include "collector/decode/otlp_metrics.h"
#include "collector/core/buffer.h"
#include "collector/core/wire.h"
#include "collector/decode/key.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_metrics_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Buckets of one point, a side; SDKs make 160 at most. A varint of one byte becomes eight, so this is also what keeps a
 * small message from becoming a large one. */
enum {
    BUCKETS_MAX = 4096,
    REASON_NAME_BYTES = 40,
    SCALE_MIN = -10,
    SCALE_MAX = 20 /* opentelemetry-specification, metrics/data-model.md */
};

struct weir_otlp_metrics {
    const struct weir_names *names;
    struct weir_key *key;
    struct weir_buffer text;                                             /* one number as a label's value */
    uint8_t first[8 * (BUCKETS_MAX + 1)], second[8 * (BUCKETS_MAX + 1)]; /* arrays of the point under way */
};

struct weir_otlp_metrics *weir_otlp_metrics_new(const struct weir_names *names, uint32_t label_value_bytes_max) {
    struct weir_otlp_metrics *metrics =
        malloc(sizeof *metrics); /* not cleared: pages of arrays that nobody fills cost nothing */
    if (metrics == NULL) return NULL;
    metrics->names = names;
    metrics->text = (struct weir_buffer){0};
    metrics->key = weir_key_new(label_value_bytes_max);
    if (metrics->key == NULL || !weir_buffer_room(&metrics->text, 64)) {
        weir_otlp_metrics_free(metrics);
        return NULL;
    }
    return metrics;
}

void weir_otlp_metrics_free(struct weir_otlp_metrics *metrics) {
    if (metrics == NULL) return;
    weir_key_free(metrics->key);
    weir_buffer_free(&metrics->text);
    free(metrics);
}

/* ---- the walk: behind the check (otlp_metrics_check.h) nothing on it can be broken ---- */

struct text {
    const uint8_t *bytes;
    size_t size;
};

struct walk {
    struct weir_otlp_metrics *metrics;
    const struct weir_otlp_metrics_calls *calls;
    struct weir_otlp_metrics_counts *counts;
    struct text service, space, instance; /* of the resource */
    struct text name;                     /* of the metric */
    bool delta, monotonic;
};

static void give_reason(struct walk *walk, const char *why) {
    if (walk->counts->reason[0] != 0) return;
    char name[REASON_NAME_BYTES + 1];
    size_t n = 0;
    for (; n < walk->name.size && n < REASON_NAME_BYTES; n++) {
        uint8_t c = walk->name.bytes[n];
        name[n] = c > 0x20 && c < 0x7f ? (char)c : '_';
    }
    name[n] = 0;
    snprintf(walk->counts->reason, sizeof walk->counts->reason, "%s: %s", name, why);
}

static void reject(struct walk *walk, const char *why) {
    walk->counts->rejected++;
    walk->counts->malformed++;
    give_reason(walk, why);
}

static void give(struct walk *walk, struct weir_point *point) {
    point->weight = 1;
    point->key = weir_key_done(walk->metrics->key, &point->key_size);
    point->hash = weir_names_hash(walk->metrics->names, point->key, point->key_size);
    if (walk->calls->point(walk->calls->self, point)) {
        walk->counts->points++;
        return;
    }
    walk->counts->rejected++;
    give_reason(walk, "refused: another type has its name, it came too late, or there is no room");
}

/* An attribute's value as text. Lists, maps and bytes have none: they are no labels. */
static struct text value_text(struct weir_otlp_metrics *metrics, struct weir_wire wire) {
    struct weir_wire_field field, last = {0};
    while (weir_wire_next(&wire, &field)) {
        bool fits = (field.number == 1 && field.type == WEIR_WIRE_BYTES) ||
                    ((field.number == 2 || field.number == 3) && field.type == WEIR_WIRE_VARINT) ||
                    (field.number == 4 && field.type == WEIR_WIRE_FIXED64) ||
                    (field.number >= 5 && field.number <= 7 && field.type == WEIR_WIRE_BYTES);
        if (fits) last = field; /* of a oneof the last one counts */
    }
    weir_buffer_clear(&metrics->text);
    switch (last.number) {
    case 1: return (struct text){last.bytes, last.value};
    case 2: weir_buffer_text(&metrics->text, last.value != 0 ? "true" : "false"); break;
    case 3: weir_buffer_printf(&metrics->text, "%" PRId64, (int64_t)last.value); break;
    case 4: weir_buffer_double(&metrics->text, weir_wire_double(last.value)); break;
    default: break;
    }
    return (struct text){metrics->text.bytes, metrics->text.size};
}

static struct text key_value(struct weir_otlp_metrics *metrics, const struct weir_wire_field *attribute,
                             struct text *value) {
    struct weir_wire wire = weir_wire_of(attribute->bytes, attribute->value);
    struct weir_wire_field field;
    struct text key = {0};
    *value = (struct text){0};
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1) key = (struct text){field.bytes, field.value};
        if (field.number == 2) *value = value_text(metrics, weir_wire_of(field.bytes, field.value));
    }
    return key;
}

/* service.name -> job, with service.namespace as `namespace/name`; they win over attributes of a point. */
static bool add_resource(struct walk *walk) {
    char job[2 * WEIR_NAME_BYTES_MAX + 2];
    struct text service = walk->service;
    if (service.size > 0 && walk->space.size > 0) {
        int size = snprintf(job, sizeof job, "%.*s/%.*s",
                            (int)(walk->space.size < WEIR_NAME_BYTES_MAX ? walk->space.size : WEIR_NAME_BYTES_MAX),
                            (const char *)walk->space.bytes,
                            (int)(service.size < WEIR_NAME_BYTES_MAX ? service.size : WEIR_NAME_BYTES_MAX),
                            (const char *)service.bytes);
        service = (struct text){(const uint8_t *)job, (size_t)size};
    }
    return weir_key_label(walk->metrics->key, "job", 3, service.bytes, service.size) &&
           weir_key_label(walk->metrics->key, "instance", 8, walk->instance.bytes, walk->instance.size);
}

/* What all kinds of points have. The fields that they number differently are told by `attributes` and `flags`. */
static bool begin(struct walk *walk, struct weir_wire wire, uint32_t attributes, uint32_t flags,
                  struct weir_point *point, bool *no_value) {
    struct weir_key *key = walk->metrics->key;
    struct weir_wire_field field;
    bool good = weir_key_name(key, walk->name.bytes, walk->name.size);
    if (!good) reject(walk, "no name, or one longer than 512 bytes");
    *no_value = false;
    while (good && weir_wire_next(&wire, &field)) {
        if (field.number == attributes && field.type == WEIR_WIRE_BYTES) {
            struct text value, name = key_value(walk->metrics, &field, &value);
            good = weir_key_label(key, name.bytes, name.size, value.bytes, value.size);
            if (!good) reject(walk, "an attribute without a name or with one longer than 128 bytes, or more than 64");
        } else if (field.number == 2 && field.type == WEIR_WIRE_FIXED64) {
            point->start_ns = field.value;
        } else if (field.number == 3 && field.type == WEIR_WIRE_FIXED64) {
            point->time_ns = field.value;
        } else if (field.number == flags && field.type == WEIR_WIRE_VARINT) {
            *no_value = (field.value & 1) != 0; /* DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK */
        }
    }
    if (good && !add_resource(walk)) {
        good = false;
        reject(walk, "more than 64 attributes, with those of the resource");
    }
    return good;
}

/* A sum that only grows cannot be negative, and no sum may be NaN: it would never be a number again. */
static bool fits_sum(const struct walk *walk, double value) {
    return isfinite(value) && (!walk->monotonic || value >= 0);
}

static void number_point(struct walk *walk, struct weir_wire wire, bool gauge) {
    struct weir_point point = {.kind = WEIR_POINT_GAUGE};
    struct weir_wire_field field;
    bool no_value, has_value = false;
    if (!begin(walk, wire, 7, 8, &point, &no_value) || no_value) return;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_FIXED64 || (field.number != 4 && field.number != 6)) continue;
        point.value = field.number == 4 ? weir_wire_double(field.value) : (double)(int64_t)field.value;
        has_value = true;
    }
    if (!has_value) {
        reject(walk, "a point without a value");
        return;
    }
    if (!gauge && !fits_sum(walk, point.value)) {
        reject(walk, "a sum that is not finite, or monotonic and negative");
        return;
    }
    if (!gauge) {
        if (walk->monotonic) {
            point.kind = walk->delta ? WEIR_POINT_COUNT : WEIR_POINT_CUMULATIVE;
        } else {
            point.kind = walk->delta ? WEIR_POINT_GAUGE_ADD : WEIR_POINT_GAUGE;
        }
    }
    give(walk, &point);
}

/* Numbers of 8 bytes, gathered from however they are packed. */
struct array {
    uint8_t *bytes;
    uint32_t count;
    bool full;
};

static void append(struct array *array, uint64_t value) {
    if (array->count > BUCKETS_MAX) {
        array->full = true;
        return;
    }
    memcpy(array->bytes + (size_t)array->count++ * 8, &value, 8);
}

static void append_fixed64(struct array *array, const struct weir_wire_field *field) {
    if (field->type == WEIR_WIRE_FIXED64) append(array, field->value);
    if (field->type != WEIR_WIRE_BYTES) return;
    for (size_t i = 0; i + 8 <= field->value && !array->full; i += 8) {
        uint64_t value;
        memcpy(&value, field->bytes + i, 8);
        append(array, value);
    }
}

static uint64_t at(const struct array *array, uint32_t i) {
    uint64_t value;
    memcpy(&value, array->bytes + (size_t)i * 8, 8);
    return value;
}

/* Adds up the counts; false when they are more than 64 bits hold. */
static bool add_up(const struct array *counts, uint64_t *sum) {
    for (uint32_t i = 0; i < counts->count; i++) {
        if (__builtin_add_overflow(*sum, at(counts, i), sum)) return false;
    }
    return true;
}

static bool increasing(const struct array *bounds) {
    for (uint32_t i = 0; i < bounds->count; i++) {
        double bound = weir_wire_double(at(bounds, i));
        if (!isfinite(bound) || (i > 0 && bound <= weir_wire_double(at(bounds, i - 1)))) return false;
    }
    return true;
}

static void histogram_point(struct walk *walk, struct weir_wire wire) {
    struct weir_point point = {.kind = WEIR_POINT_HISTOGRAM, .cumulative = !walk->delta};
    struct weir_point_data data = {0};
    struct array bounds = {.bytes = walk->metrics->first}, counts = {.bytes = walk->metrics->second};
    struct weir_wire_field field;
    bool no_value;
    if (!begin(walk, wire, 9, 10, &point, &no_value) || no_value) return;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 4 && field.type == WEIR_WIRE_FIXED64) data.count = field.value;
        if (field.number == 5 && field.type == WEIR_WIRE_FIXED64) {
            data.sum = weir_wire_double(field.value);
            data.has_sum = true;
        }
        if (field.number == 6) append_fixed64(&counts, &field);
        if (field.number == 7) append_fixed64(&bounds, &field);
    }
    uint64_t sum = 0;
    if (counts.count == 0 && bounds.count == 0)
        append(&counts, data.count); /* only count and sum were kept: one bucket of all */
    if (bounds.count > BUCKETS_MAX || counts.full) {
        reject(walk, "more than 4096 buckets");
    } else if (counts.count != bounds.count + 1) {
        reject(walk, "bucket_counts are not one more than explicit_bounds");
    } else if (!increasing(&bounds)) {
        reject(walk, "explicit_bounds do not increase");
    } else if (!add_up(&counts, &sum) || sum != data.count) {
        reject(walk, "bucket_counts do not add up to count");
    } else if (data.has_sum && !isfinite(data.sum)) {
        reject(walk, "sum is not finite");
    } else {
        data.bounds = bounds.bytes;
        data.counts = counts.bytes;
        data.bound_count = bounds.count;
        point.data = &data;
        give(walk, &point);
    }
}

static int32_t signed32(uint64_t value) {
    uint32_t bits = (uint32_t)value;
    return (int32_t)(bits >> 1) ^ -(int32_t)(bits & 1);
}

static void read_buckets(struct weir_wire wire, struct array *counts, int32_t *offset) {
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_VARINT) *offset = signed32(field.value);
        if (field.number != 2) continue;
        if (field.type == WEIR_WIRE_VARINT) append(counts, field.value);
        if (field.type != WEIR_WIRE_BYTES) continue;
        struct weir_wire packed = weir_wire_of(field.bytes, field.value);
        for (uint64_t value; packed.at < packed.end && !counts->full && weir_wire_varint(&packed, &value);)
            append(counts, value);
    }
}

static void exponential_point(struct walk *walk, struct weir_wire wire) {
    struct weir_point point = {.kind = WEIR_POINT_EXPONENTIAL, .cumulative = !walk->delta};
    struct weir_point_data data = {0};
    struct array positive = {.bytes = walk->metrics->first}, negative = {.bytes = walk->metrics->second};
    struct weir_wire_field field;
    bool no_value;
    if (!begin(walk, wire, 1, 10, &point, &no_value) || no_value) return;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 4 && field.type == WEIR_WIRE_FIXED64) data.count = field.value;
        if (field.number == 5 && field.type == WEIR_WIRE_FIXED64) {
            data.sum = weir_wire_double(field.value);
            data.has_sum = true;
        }
        if (field.number == 6 && field.type == WEIR_WIRE_VARINT) data.scale = signed32(field.value);
        if (field.number == 7 && field.type == WEIR_WIRE_FIXED64) data.zero_count = field.value;
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 8) read_buckets(weir_wire_of(field.bytes, field.value), &positive, &data.positive_offset);
        if (field.number == 9) read_buckets(weir_wire_of(field.bytes, field.value), &negative, &data.negative_offset);
    }
    uint64_t sum = data.zero_count;
    if (positive.count > BUCKETS_MAX || negative.count > BUCKETS_MAX) {
        reject(walk, "more than 4096 buckets");
    } else if (data.scale < SCALE_MIN || data.scale > SCALE_MAX) {
        reject(walk, "scale is not within -10 to 20");
    } else if ((int64_t)data.positive_offset + positive.count > INT32_MAX ||
               (int64_t)data.negative_offset + negative.count > INT32_MAX) {
        reject(walk, "an offset past 31 bits");
    } else if (!add_up(&positive, &sum) || !add_up(&negative, &sum) || sum != data.count) {
        reject(walk, "bucket_counts and zero_count do not add up to count");
    } else if (data.has_sum && !isfinite(data.sum)) {
        reject(walk, "sum is not finite");
    } else {
        data.positive = positive.bytes;
        data.negative = negative.bytes;
        data.positive_count = positive.count;
        data.negative_count = negative.count;
        point.data = &data;
        give(walk, &point);
    }
}

static void read_quantile(struct weir_wire wire, struct array *quantiles, struct array *values) {
    struct weir_wire_field field;
    uint64_t quantile = 0, value = 0; /* bits of 0.0, as proto3 leaves it out */
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_FIXED64) quantile = field.value;
        if (field.number == 2 && field.type == WEIR_WIRE_FIXED64) value = field.value;
    }
    append(quantiles, quantile);
    append(values, value);
}

static void summary_point(struct walk *walk, struct weir_wire wire) {
    struct weir_point point = {.kind = WEIR_POINT_SUMMARY, .cumulative = true};
    struct weir_point_data data = {.has_sum = true};
    struct array quantiles = {.bytes = walk->metrics->first}, values = {.bytes = walk->metrics->second};
    struct weir_wire_field field;
    bool no_value;
    if (!begin(walk, wire, 7, 8, &point, &no_value) || no_value) return;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 4 && field.type == WEIR_WIRE_FIXED64) data.count = field.value;
        if (field.number == 5 && field.type == WEIR_WIRE_FIXED64) data.sum = weir_wire_double(field.value);
        if (field.number == 6 && field.type == WEIR_WIRE_BYTES)
            read_quantile(weir_wire_of(field.bytes, field.value), &quantiles, &values);
    }
    if (quantiles.count > BUCKETS_MAX) {
        reject(walk, "more than 4096 quantiles");
    } else if (!increasing(&quantiles) ||
               (quantiles.count > 0 && (weir_wire_double(at(&quantiles, 0)) < 0 ||
                                        weir_wire_double(at(&quantiles, quantiles.count - 1)) > 1))) {
        reject(walk, "quantiles do not increase within 0 to 1");
    } else if (!isfinite(data.sum)) {
        reject(walk, "sum is not finite");
    } else {
        data.bounds = quantiles.bytes;
        data.counts = values.bytes;
        data.bound_count = quantiles.count;
        point.data = &data;
        give(walk, &point);
    }
}

static void read_point(struct walk *walk, uint32_t kind, struct weir_wire wire) {
    switch (kind) {
    case 5:
    case 7: number_point(walk, wire, kind == 5); break;
    case 9: histogram_point(walk, wire); break;
    case 10: exponential_point(walk, wire); break;
    case 11: summary_point(walk, wire); break;
    }
}

/* `kind` is the number of the field in Metric's oneof. Temporality may stand behind the points, so it is looked for
 * first. */
static void read_points(struct walk *walk, uint32_t kind, struct weir_wire wire) {
    bool has_temporality = kind == 7 || kind == 9 || kind == 10;
    uint64_t temporality = 0; /* 1 delta, 2 cumulative */
    struct weir_wire_field field;
    walk->monotonic = false;
    for (struct weir_wire look = wire; has_temporality && weir_wire_next(&look, &field);) {
        if (field.number == 2 && field.type == WEIR_WIRE_VARINT) temporality = field.value;
        if (kind == 7 && field.number == 3 && field.type == WEIR_WIRE_VARINT) walk->monotonic = field.value != 0;
    }
    walk->delta = temporality == 1;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        if (has_temporality && temporality != 1 && temporality != 2) {
            reject(walk, "neither delta nor cumulative");
        } else {
            read_point(walk, kind, weir_wire_of(field.bytes, field.value));
        }
    }
}

static bool is_data(const struct weir_wire_field *field) {
    if (field->type != WEIR_WIRE_BYTES) return false;
    return field->number == 5 || field->number == 7 || (field->number >= 9 && field->number <= 11);
}

static void read_metric(struct walk *walk, struct weir_wire wire) {
    struct weir_wire_field field;
    uint32_t kind = 0;
    walk->name = (struct text){0};
    for (struct weir_wire look = wire; weir_wire_next(&look, &field);) {
        if (field.number == 1 && field.type == WEIR_WIRE_BYTES) walk->name = (struct text){field.bytes, field.value};
        if (is_data(&field)) kind = field.number; /* of a oneof the last one counts */
    }
    while (weir_wire_next(&wire, &field)) {
        if (is_data(&field) && field.number == kind) read_points(walk, kind, weir_wire_of(field.bytes, field.value));
    }
}

static bool is(struct text text, const char *name) {
    return text.size == strlen(name) && memcmp(text.bytes, name, text.size) == 0;
}

/* Only strings are read: what value_text() writes of a number would not outlive the next one. */
static void read_resource(struct walk *walk, struct weir_wire wire) {
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        struct text value, key = key_value(walk->metrics, &field, &value);
        if (value.bytes == walk->metrics->text.bytes) continue;
        if (is(key, "service.name")) walk->service = value;
        if (is(key, "service.namespace")) walk->space = value;
        if (is(key, "service.instance.id")) walk->instance = value;
    }
}

static void read_scope(struct walk *walk, struct weir_wire wire) {
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES)
            read_metric(walk, weir_wire_of(field.bytes, field.value));
    }
}

static void read_resource_metrics(struct walk *walk, struct weir_wire wire) {
    struct weir_wire_field field;
    walk->service = walk->space = walk->instance = (struct text){0};
    for (struct weir_wire look = wire; weir_wire_next(&look, &field);) {
        if (field.number == 1 && field.type == WEIR_WIRE_BYTES)
            read_resource(walk, weir_wire_of(field.bytes, field.value));
    }
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES)
            read_scope(walk, weir_wire_of(field.bytes, field.value));
    }
}

enum weir_status weir_otlp_metrics_decode(struct weir_otlp_metrics *metrics, const uint8_t *bytes, size_t size,
                                          const struct weir_otlp_metrics_calls *calls,
                                          struct weir_otlp_metrics_counts *counts, struct weir_error *err) {
    enum weir_status status = weir_otlp_metrics_check(bytes, size, err);
    if (status != WEIR_OK) return status;
    *counts = (struct weir_otlp_metrics_counts){0};
    struct walk walk = {.metrics = metrics, .calls = calls, .counts = counts};
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_BYTES)
            read_resource_metrics(&walk, weir_wire_of(field.bytes, field.value));
    }
    return WEIR_OK;
}
