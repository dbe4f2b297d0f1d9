#include "collector/lane/join_merge.h"
#include "collector/core/wire.h"

#include <string.h>
#include <strings.h>

/* Numbers of the fields of Span and of its Event (opentelemetry/proto/trace/v1/trace.proto). */
enum {
    TRACE_ID = 1,
    TRACE_STATE = 3,
    PARENT_ID = 4,
    NAME = 5,
    KIND = 6,
    START = 7,
    END = 8,
    ATTRIBUTE = 9,
    EVENT = 11,
    STATUS = 15,
    NUMBERED = 16, /* of the fields that stand once and are told apart below */
    EVENT_TIME = 1,
    EVENT_NAME = 2,
};

/* A field as it stands, key and all. */
struct piece {
    const uint8_t *bytes;
    size_t size;
    const uint8_t *key; /* of an attribute; of an event its name */
    size_t key_size;
    uint64_t time; /* of an event */
};

struct pieces {
    struct piece items[2 * WEIR_JOIN_ITEMS_MAX];
    uint32_t count;
};

struct sorted_out {
    struct piece once[NUMBERED];   /* bytes NULL: not there */
    uint64_t values[NUMBERED];     /* of varints and fixed ones */
    const uint8_t *text[NUMBERED]; /* of length-delimited ones */
};

struct merge {
    struct sorted_out parts[2];
    struct pieces attributes, events, others;
};

static bool same(const struct piece *a, const struct piece *b) {
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool add(struct pieces *to, const struct piece *piece) {
    if (to->count == 2 * WEIR_JOIN_ITEMS_MAX) return false;
    to->items[to->count++] = *piece;
    return true;
}

static void read_inside(const struct weir_wire_field *field, struct piece *piece, uint32_t name_number) {
    struct weir_wire wire = weir_wire_of(field->bytes, field->value);
    struct weir_wire_field inner;
    while (weir_wire_next(&wire, &inner)) {
        if (inner.number == name_number && inner.type == WEIR_WIRE_BYTES) {
            piece->key = inner.bytes;
            piece->key_size = inner.value;
        } else if (inner.number == EVENT_TIME && inner.type == WEIR_WIRE_FIXED64) {
            piece->time = inner.value;
        }
    }
}

/* Those of the first are there already; `known` is how many. */
static bool add_attribute(struct merge *merge, const struct weir_wire_field *field, struct piece piece,
                          uint32_t known) {
    read_inside(field, &piece, 1); /* KeyValue.key */
    for (uint32_t i = 0; i < known; i++) {
        const struct piece *other = &merge->attributes.items[i];
        if (other->key_size == piece.key_size &&
            (piece.key_size == 0 || memcmp(other->key, piece.key, piece.key_size) == 0))
            return true;
    }
    return add(&merge->attributes, &piece);
}

static bool add_event(struct merge *merge, const struct weir_wire_field *field, struct piece piece, uint32_t known) {
    read_inside(field, &piece, EVENT_NAME);
    for (uint32_t i = 0; i < known; i++) {
        if (same(&merge->events.items[i], &piece)) return true;
    }
    return add(&merge->events, &piece);
}

static bool sort_out(struct merge *merge, int which, const struct weir_join_part *part) {
    struct sorted_out *out = &merge->parts[which];
    struct weir_wire wire = weir_wire_of(part->bytes, part->span->size);
    struct weir_wire_field field;
    uint32_t attributes = merge->attributes.count, events = merge->events.count, others = merge->others.count;
    for (const uint8_t *start = wire.at; weir_wire_next(&wire, &field); start = wire.at) {
        struct piece piece = {.bytes = start, .size = (size_t)(wire.at - start)};
        bool ok = true;
        if (field.number == ATTRIBUTE) {
            ok = add_attribute(merge, &field, piece, attributes);
        } else if (field.number == EVENT) {
            ok = add_event(merge, &field, piece, events);
        } else if (field.number < NUMBERED && (field.number <= END || field.number == STATUS)) {
            out->once[field.number] = piece;
            out->values[field.number] = field.value;
            out->text[field.number] = field.bytes;
        } else {
            bool twice = false;
            for (uint32_t i = 0; i < others; i++)
                twice = twice || same(&merge->others.items[i], &piece);
            ok = twice || add(&merge->others, &piece);
        }
        if (!ok) return false;
    }
    return wire.why == NULL && merge->attributes.count - attributes <= WEIR_JOIN_ITEMS_MAX &&
           merge->events.count - events <= WEIR_JOIN_ITEMS_MAX;
}

/* ---- which of both ---- */

static bool has(const struct sorted_out *part, int number) {
    return part->once[number].bytes != NULL && part->values[number] != 0;
}

/* Finagle writes "Unknown" where it knows no name. */
static bool is_named(const struct sorted_out *part) {
    if (!has(part, NAME)) return false;
    return !(part->values[NAME] == 7 && strncasecmp((const char *)part->text[NAME], "unknown", 7) == 0);
}

static const struct sorted_out *either(const struct merge *merge, int number) {
    return has(&merge->parts[0], number) || !has(&merge->parts[1], number) ? &merge->parts[0] : &merge->parts[1];
}

static void put(struct weir_buffer *out, const struct piece *piece) {
    if (piece->bytes != NULL) weir_buffer_put(out, piece->bytes, piece->size);
}

static void put_time(struct weir_buffer *out, uint32_t number, uint64_t time) {
    uint8_t bytes[16];
    if (time != 0) weir_buffer_put(out, bytes, (size_t)(weir_wire_put_fixed64(bytes, number, time) - bytes));
}

static uint64_t first_of(uint64_t a, uint64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Stable, so that events of one time stay as they stood; there are few, and mostly in order. */
static void by_time(struct pieces *events) {
    for (uint32_t i = 1; i < events->count; i++) {
        struct piece piece = events->items[i];
        uint32_t j = i;
        for (; j > 0 && events->items[j - 1].time > piece.time; j--)
            events->items[j] = events->items[j - 1];
        events->items[j] = piece;
    }
}

/* The annotation that came late says when the span ended; it is no event then. 0: there is none. */
static uint64_t end_from_events(struct pieces *events, uint8_t kind, uint64_t start) {
    const char *mark = kind == WEIR_KIND_SERVER ? "ss" : kind == WEIR_KIND_CLIENT ? "cr" : NULL;
    for (uint32_t i = 0; mark != NULL && start != 0 && i < events->count; i++) {
        const struct piece *event = &events->items[i];
        if (event->key_size != 2 || memcmp(event->key, mark, 2) != 0 || event->time < start) continue;
        uint64_t end = event->time;
        memmove(&events->items[i], &events->items[i + 1], (events->count - i - 1) * sizeof events->items[0]);
        events->count--;
        return end;
    }
    return 0;
}

/* ---- the view ---- */

static void merge_views(const struct weir_join_part *first, const struct weir_join_part *second, bool name_of_second,
                        bool service_of_second, struct weir_span *span) {
    const struct weir_span *a = first->span, *b = second->span;
    struct weir_span merged = *a;
    if (a->trace_hi == 0) merged.trace_hi = b->trace_hi;
    if (a->parent_id == 0) merged.parent_id = b->parent_id;
    if (name_of_second) merged.operation = b->operation;
    if (service_of_second) merged.service = b->service;
    if (a->kind == WEIR_KIND_UNSPECIFIED) merged.kind = b->kind;
    if (a->peer == 0) merged.peer = b->peer;
    if (a->http_status == 0) merged.http_status = b->http_status;
    if (b->status == WEIR_STATUS_ERROR || a->status == WEIR_STATUS_UNSET) merged.status = b->status;
    merged.flags |= b->flags;
    merged.flags &=
        (uint16_t) ~(WEIR_SPAN_ROOT | WEIR_SPAN_PRIOR | WEIR_SPAN_PRIOR_CHANGED | WEIR_SPAN_TH | WEIR_SPAN_TH_CHANGED);
    if (merged.parent_id == 0) merged.flags |= WEIR_SPAN_ROOT;
    const unsigned known = WEIR_SPAN_PRIOR | WEIR_SPAN_PRIOR_CHANGED;
    bool by_second = (b->flags & WEIR_SPAN_PRIOR) != 0 || (a->flags & known) == 0;
    const struct weir_span *weighed = (a->flags & WEIR_SPAN_PRIOR) == 0 && by_second ? b : a;
    merged.prior = weighed->prior;
    merged.flags |= weighed->flags & known;
    const struct weir_span *thinned = a->threshold >= b->threshold ? a : b; /* overload came between */
    merged.threshold = thinned->threshold;
    merged.flags |= thinned->flags & (WEIR_SPAN_TH | WEIR_SPAN_TH_CHANGED);
    *span = merged;
}

bool weir_join_ended(const struct weir_join_part *part) {
    struct weir_wire wire = weir_wire_of(part->bytes, part->span->size);
    struct weir_wire_field field;
    if (part->span->start_ns == 0) return false;
    if (part->span->duration_ns > 0) return true;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == END && field.value != 0) return true;
    }
    return false;
}

bool weir_join_merge(const struct weir_join_part *first, const struct weir_join_part *second, struct weir_buffer *out,
                     struct weir_span *span, bool *service_of_second) {
    struct merge merge;
    if ((uint64_t)first->span->size + second->span->size > WEIR_JOIN_BYTES_MAX) return false;
    memset(merge.parts, 0, sizeof merge.parts);
    merge.attributes.count = merge.events.count = merge.others.count = 0;
    if (!sort_out(&merge, 0, first) || !sort_out(&merge, 1, second)) return false;
    const struct sorted_out *a = &merge.parts[0], *b = &merge.parts[1];
    bool name_of_second = !is_named(a) && is_named(b);
    *service_of_second = !first->named_service && second->named_service;
    merge_views(first, second, name_of_second, *service_of_second, span);

    uint64_t start = first_of(a->values[START], b->values[START]);
    uint64_t end = a->values[END] > b->values[END] ? a->values[END] : b->values[END];
    by_time(&merge.events);
    if (end == 0) end = end_from_events(&merge.events, span->kind, start);

    const struct sorted_out *thinned = span->threshold == first->span->threshold ? a : b;
    put(out, &(first->span->trace_hi != 0 ? a : b)->once[TRACE_ID]);
    put(out, &a->once[TRACE_ID + 1]); /* the span's id */
    put(out, &(has(thinned, TRACE_STATE) ? thinned : either(&merge, TRACE_STATE))->once[TRACE_STATE]);
    put(out, &(first->span->parent_id != 0 ? a : b)->once[PARENT_ID]);
    put(out, &(name_of_second ? b : a)->once[NAME]);
    put(out, &either(&merge, KIND)->once[KIND]);
    put_time(out, START, start);
    put_time(out, END, end);
    for (uint32_t i = 0; i < merge.attributes.count; i++)
        put(out, &merge.attributes.items[i]);
    for (uint32_t i = 0; i < merge.events.count; i++)
        put(out, &merge.events.items[i]);
    for (uint32_t i = 0; i < merge.others.count; i++)
        put(out, &merge.others.items[i]);
    put(out, &(second->span->status == WEIR_STATUS_ERROR && has(b, STATUS) ? b : either(&merge, STATUS))->once[STATUS]);
    span->size = (uint32_t)out->size;
    span->start_ns = start;
    span->duration_ns = end > start && start != 0 ? end - start : 0;
    return !out->failed;
}
