#include "collector/decode/otlp.h"
#include "collector/core/buffer.h"
#include "collector/core/utf8.h"
#include "collector/decode/otlp_span.h"
#include "collector/decode/redact.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ORIGINS_KEPT = 1024,                /* resources and scopes that a lane's senders have; each is some 200 bytes */
    SPANS_AT_A_TIME = 64,               /* views that room is made for at once */
    REDACTED_GROWTH_BYTES = 128 * 1024, /* that rules may make of a message, beyond twice its size */
    REPAIRED_KEPT_BYTES = 64 * 1024,    /* of what repairing a resource or scope needed; a larger one is given back */
};

struct weir_otlp {
    struct weir_otlp_names names;
    struct weir_origins *origins;
    struct weir_buffer resource, scope;           /* one of each with its URL, where their text is not UTF-8 */
    struct weir_buffer resource_left, scope_left; /* of an origin, by the rules */
    struct weir_buffer redacted; /* a message as the rules leave it, until it is in a batch or an origin */
};

/* Where the walk is, for an error's text; and what it walks. */
struct walk {
    struct weir_otlp *otlp;
    struct weir_batch *batch;
    struct weir_otlp_counts *counts;
    uint32_t resource, scope, span; /* indices */
    uint8_t level;                  /* how many of them are known */
    struct weir_otlp_finding finding;
    size_t drawn_bytes; /* from the batch's budget, for what is repaired; until the walk is over */
    bool full;
    bool any_waits; /* views whose `service` is a mark: their spans are to be repaired when the walk is over */
};

struct weir_otlp *weir_otlp_new(struct weir_names *names) {
    struct weir_otlp *otlp = calloc(1, sizeof *otlp);
    if (otlp == NULL) return NULL;
    otlp->names.names = names;
    otlp->origins = weir_origins_new(ORIGINS_KEPT);
    if (otlp->origins == NULL) {
        weir_otlp_free(otlp);
        return NULL;
    }
    return otlp;
}

void weir_otlp_free(struct weir_otlp *otlp) {
    if (otlp == NULL) return;
    weir_origins_free(otlp->origins);
    weir_buffer_free(&otlp->resource);
    weir_buffer_free(&otlp->scope);
    weir_buffer_free(&otlp->redacted);
    weir_buffer_free(&otlp->resource_left);
    weir_buffer_free(&otlp->scope_left);
    free(otlp);
}

void weir_otlp_set_rules(struct weir_otlp *otlp, const struct weir_rules *rules) {
    if (rules != otlp->names.rules) memset(otlp->names.operations, 0, sizeof otlp->names.operations);
    otlp->names.rules = rules;
}

/* ---- places ---- */

static void place(const struct walk *walk, char *out, size_t out_size) {
    int n = 0;
    *out = 0;
    if (walk->level > 0) n += snprintf(out, out_size, "resource_spans[%u]", walk->resource);
    if (walk->level > 1) n += snprintf(out + n, out_size - (size_t)n, ".scope_spans[%u]", walk->scope);
    if (walk->level > 2) snprintf(out + n, out_size - (size_t)n, ".spans[%u]", walk->span);
}

static enum weir_status fail(const struct walk *walk, struct weir_error *err) {
    if (walk->full) return weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the request");
    char where[80];
    place(walk, where, sizeof where);
    const char *field = walk->finding.field;
    return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s%s%s: %s",
                     (size_t)(walk->finding.at - walk->batch->bytes), *where != 0 ? where : "ExportTraceServiceRequest",
                     field != NULL ? "." : "", field != NULL ? field : "", walk->finding.why);
}

static bool broken(struct walk *walk, const char *why, const char *field, const uint8_t *at) {
    walk->finding = (struct weir_otlp_finding){.why = why, .field = field, .at = at};
    return false;
}

static bool full(struct walk *walk) {
    walk->full = true;
    return false;
}

/* ---- one span ---- */

/* A copy of the span with its text repaired stands behind the batch's bytes, and *offset and *size say where. */
static enum weir_status repair_span(struct weir_batch *batch, uint32_t *offset, uint32_t *size, uint32_t *repaired) {
    if (weir_batch_room(batch, weir_otlp_repair_room(*size)) != WEIR_OK) return WEIR_FULL;
    uint8_t *start = batch->bytes + batch->size;
    uint8_t *end = weir_otlp_repair(WEIR_OTLP_SPAN, weir_wire_of(batch->bytes + *offset, *size), start, repaired);
    *offset = (uint32_t)batch->size;
    *size = (uint32_t)(end - start);
    batch->size += *size;
    return WEIR_OK;
}

/* The message as the rules leave it, in otlp->redacted. Its memory is drawn from the budget for as long as the caller
 * has *drawn. False: nothing changed, or no room (*full). */
static bool redact(struct weir_otlp *otlp, struct weir_budget *budget, enum weir_otlp_message message,
                   const uint8_t *bytes, size_t size, size_t *drawn, bool *full) {
    struct weir_buffer *out = &otlp->redacted;
    *drawn = 2 * size + REDACTED_GROWTH_BYTES;
    *full = !weir_budget_reserve(budget, *drawn);
    if (*full) {
        *drawn = 0;
        return false;
    }
    weir_buffer_clear(out);
    out->failed = false;
    out->limit = *drawn;
    bool changed = weir_redact(otlp->names.rules, message, weir_wire_of(bytes, size), out);
    *full = out->failed;
    return changed && !*full;
}

static void give_back_redacted(struct weir_otlp *otlp, struct weir_budget *budget, size_t drawn) {
    weir_budget_release(budget, drawn);
    if (otlp->redacted.capacity > REPAIRED_KEPT_BYTES || otlp->redacted.failed) weir_buffer_free(&otlp->redacted);
}

/* What the rules leave of a span, when it differs, stands behind the batch's bytes, and *offset and *size say where. */
static enum weir_status redact_span(struct weir_otlp *otlp, struct weir_batch *batch, uint32_t *offset,
                                    uint32_t *size) {
    size_t drawn;
    bool full, changed = redact(otlp, batch->budget, WEIR_OTLP_SPAN, batch->bytes + *offset, *size, &drawn, &full);
    if (changed) full = weir_batch_room(batch, otlp->redacted.size) != WEIR_OK;
    if (changed && !full) {
        memcpy(batch->bytes + batch->size, otlp->redacted.bytes, otlp->redacted.size);
        *offset = (uint32_t)batch->size;
        *size = (uint32_t)otlp->redacted.size;
        batch->size += *size;
    }
    give_back_redacted(otlp, batch->budget, drawn);
    return full ? WEIR_FULL : WEIR_OK;
}

/* The rest of reading a span: it was read, `verdict` and *finding say how. */
static enum weir_status finish_span(struct weir_otlp *otlp, struct weir_batch *batch, uint32_t offset, uint32_t size,
                                    enum weir_otlp_verdict verdict, struct weir_otlp_finding *finding, char *reason,
                                    struct weir_span *span, struct weir_otlp_counts *counts, struct weir_error *err) {
    if (verdict == WEIR_OTLP_BAD_TEXT) {
        if (repair_span(batch, &offset, &size, &counts->repaired) != WEIR_OK)
            return weir_fail(err, WEIR_FULL, 0, true, "no memory to repair a span's text");
        verdict = weir_otlp_read_span(&otlp->names, batch->bytes + offset, size, span, finding, reason);
    }
    if (verdict == WEIR_OTLP_GOOD && finding->touched) {
        if (redact_span(otlp, batch, &offset, &size) != WEIR_OK)
            return weir_fail(err, WEIR_FULL, 0, true, "no memory to redact a span");
        otlp->names.redacted = true; /* once: what the rules left is not theirs again */
        verdict = weir_otlp_read_span(&otlp->names, batch->bytes + offset, size, span, finding, reason);
        otlp->names.redacted = false;
    }
    span->offset = offset;
    span->size = size;
    switch (verdict) {
    case WEIR_OTLP_GOOD: return WEIR_OK;
    case WEIR_OTLP_BAD_ID: return weir_fail(err, WEIR_INVALID, 0, false, "%s", reason);
    default:
        assert(verdict == WEIR_OTLP_BROKEN); /* a repaired span has no bad text */
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s%s%s", (size_t)(finding->at - batch->bytes),
                         finding->field != NULL ? finding->field : "", finding->field != NULL ? ": " : "",
                         finding->why);
    }
}

enum weir_status weir_otlp_span(struct weir_otlp *otlp, struct weir_batch *batch, uint32_t offset, uint32_t size,
                                struct weir_span *span, struct weir_otlp_counts *counts, struct weir_error *err) {
    struct weir_otlp_finding finding;
    char reason[64];
    enum weir_otlp_verdict verdict =
        weir_otlp_read_span(&otlp->names, batch->bytes + offset, size, span, &finding, reason);
    return finish_span(otlp, batch, offset, size, verdict, &finding, reason, span, counts, err);
}

/* The service of a view whose span waits to be repaired, or redacted: no name has these numbers. */
#define BAD_TEXT UINT32_MAX
#define TOUCHED  (UINT32_MAX - 1)

static void skip(struct walk *walk, const char *reason) {
    if (walk->counts->skipped++ > 0) return; /* then `reason` was not written either */
    char where[80];
    place(walk, where, sizeof where);
    snprintf(walk->counts->skipped_reason, sizeof walk->counts->skipped_reason, "%s: %s", where, reason);
}

static bool take_span(struct walk *walk, const uint8_t *bytes, size_t size) {
    struct weir_batch *batch = walk->batch;
    if (batch->span_count == batch->span_capacity && weir_batch_span_room(batch, SPANS_AT_A_TIME) != WEIR_OK)
        return full(walk);
    struct weir_span *span = &batch->spans[batch->span_count];
    char reason[64];
    bool is_first = walk->counts->skipped == 0;
    switch (weir_otlp_read_span(&walk->otlp->names, bytes, size, span, &walk->finding, is_first ? reason : NULL)) {
    case WEIR_OTLP_GOOD:
        if (walk->finding.touched) {
            span->service = TOUCHED;
            walk->any_waits = true;
        }
        break;
    case WEIR_OTLP_BAD_TEXT:
        span->service = BAD_TEXT;
        walk->any_waits = true;
        break;
    case WEIR_OTLP_BAD_ID: skip(walk, reason); return true;
    case WEIR_OTLP_BROKEN: return false;
    }
    span->offset = (uint32_t)(bytes - batch->bytes);
    span->size = (uint32_t)size;
    batch->span_bytes += size;
    batch->span_count++;
    return true;
}

/* ---- resource and scope ---- */

/* service.name of a Resource that was found sound; the last one counts, as for every key that stands twice. */
static uint32_t service_of(struct weir_otlp *otlp, const struct weir_origin_parts *parts) {
    struct weir_wire resource = weir_wire_of(parts->resource, parts->resource_size);
    struct weir_wire_field attribute, field, inner;
    const uint8_t *name = (const uint8_t *)"unknown_service"; /* OpenTelemetry specification, resource/sdk.md */
    size_t name_size = 15;
    while (weir_wire_next(&resource, &attribute)) {
        if (attribute.number != 1) continue;
        struct weir_wire pair = weir_wire_of(attribute.bytes, attribute.value);
        struct weir_wire_field value = {0};
        bool is_name = false;
        while (weir_wire_next(&pair, &field)) {
            if (field.number == 1) is_name = field.value == 12 && memcmp(field.bytes, "service.name", 12) == 0;
            if (field.number != 2) continue;
            struct weir_wire any = weir_wire_of(field.bytes, field.value);
            while (weir_wire_next(&any, &inner)) {
                if (weir_otlp_field(WEIR_OTLP_ANY_VALUE, inner.number) != NULL) value = inner;
            }
        }
        if (is_name && value.number == 1 && value.value > 0) {
            name = value.bytes;
            name_size = value.value;
        }
    }
    return weir_names_intern(otlp->names.names, name, name_size);
}

/* One part of an origin as the rules leave it, in `out`. False: no room. */
static bool redact_part(struct weir_otlp *otlp, struct weir_budget *budget, struct weir_buffer *out,
                        enum weir_otlp_message message, const uint8_t **bytes, uint32_t *size) {
    if (*size == 0 || !weir_redact_needs(otlp->names.rules, message, weir_wire_of(*bytes, *size))) return true;
    size_t drawn;
    bool full;
    if (redact(otlp, budget, message, *bytes, *size, &drawn, &full)) {
        weir_buffer_clear(out);
        weir_buffer_put(out, otlp->redacted.bytes, otlp->redacted.size);
        full = out->failed;
        *bytes = out->bytes;
        *size = (uint32_t)out->size;
    }
    give_back_redacted(otlp, budget, drawn);
    return !full;
}

/* What the rules leave of a resource, and of a scope. False: no room. */
static bool redact_resource(struct weir_otlp *otlp, struct weir_budget *budget, struct weir_origin_parts *parts) {
    return otlp->names.rules == NULL ||
           redact_part(otlp, budget, &otlp->resource_left, WEIR_OTLP_RESOURCE, &parts->resource, &parts->resource_size);
}

static bool redact_scope(struct weir_otlp *otlp, struct weir_budget *budget, struct weir_origin_parts *parts) {
    return otlp->names.rules == NULL ||
           redact_part(otlp, budget, &otlp->scope_left, WEIR_OTLP_SCOPE, &parts->scope, &parts->scope_size);
}

struct weir_origin *weir_otlp_origin(struct weir_otlp *otlp, const struct weir_origin_parts *parts) {
    struct weir_origin_parts left = *parts;
    int is_new = 0;
    if (!redact_resource(otlp, NULL, &left) || !redact_scope(otlp, NULL, &left)) return NULL;
    struct weir_origin *origin = weir_origins_get(otlp->origins, &left, &is_new);
    if (origin != NULL && is_new) origin->service = service_of(otlp, &origin->parts);
    return origin;
}

enum { PART_DEPTH = 3 /* where a Resource and a scope stand in a request */ };

static bool is_sound_part(enum weir_otlp_message message, const uint8_t *bytes, uint32_t size) {
    struct weir_otlp_finding finding = {0};
    return weir_otlp_check(message, weir_wire_of(bytes, size), PART_DEPTH, &finding) && !finding.bad_text;
}

struct weir_origin *weir_otlp_origin_again(struct weir_otlp *otlp, const struct weir_origin_parts *parts, bool *sound) {
    *sound = is_sound_part(WEIR_OTLP_RESOURCE, parts->resource, parts->resource_size) &&
             is_sound_part(WEIR_OTLP_SCOPE, parts->scope, parts->scope_size) &&
             weir_utf8_valid(parts->resource_url, parts->resource_url_size) &&
             weir_utf8_valid(parts->scope_url, parts->scope_url_size);
    return *sound ? weir_otlp_origin(otlp, parts) : NULL;
}

/* A message and its URL with their text repaired, in `out`. */
static bool repair_part(struct walk *walk, struct weir_buffer *out, enum weir_otlp_message message,
                        const uint8_t **bytes, uint32_t *size, const uint8_t **url, uint32_t *url_size) {
    size_t before = out->capacity;
    weir_buffer_clear(out);
    bool grown = weir_buffer_room(out, weir_otlp_repair_room((size_t)*size + *url_size));
    size_t more = out->capacity - before;
    if (!grown || !weir_budget_reserve(walk->batch->budget, more)) {
        weir_buffer_free(out);
        return full(walk);
    }
    walk->drawn_bytes += more;
    uint8_t *at = out->bytes, *end = at;
    if (*size > 0) end = weir_otlp_repair(message, weir_wire_of(*bytes, *size), at, &walk->counts->repaired);
    *bytes = at, *size = (uint32_t)(end - at), at = end;
    walk->counts->repaired += !weir_utf8_valid(*url, *url_size);
    end = at + weir_utf8_repair(*url, *url_size, at);
    *url = at, *url_size = (uint32_t)(end - at);
    return true;
}

static void give_back(struct walk *walk) {
    weir_budget_release(walk->batch->budget, walk->drawn_bytes);
    if (walk->otlp->resource.capacity > REPAIRED_KEPT_BYTES) weir_buffer_free(&walk->otlp->resource);
    if (walk->otlp->scope.capacity > REPAIRED_KEPT_BYTES) weir_buffer_free(&walk->otlp->scope);
    if (walk->otlp->resource_left.capacity > REPAIRED_KEPT_BYTES) weir_buffer_free(&walk->otlp->resource_left);
    if (walk->otlp->scope_left.capacity > REPAIRED_KEPT_BYTES) weir_buffer_free(&walk->otlp->scope_left);
}

/* What the scopes of one resource share. It is made when the first of them has spans, and once: a request may have one
 * resource of 16 KiB and 400,000 scopes. */
struct shared {
    struct weir_origin_parts parts; /* resource and its URL; when settled, as they are kept */
    bool bad_text;                  /* not repaired yet */
    bool settled, has_service;
    uint32_t service;
    uint64_t hash;            /* of the resource */
    struct weir_origin *last; /* of the scope before, and its index in the batch, which holds it; NULL: none */
    uint16_t last_index;
};

static bool has_scope(const struct weir_origin *origin, const struct weir_origin_parts *parts) {
    const struct weir_origin_parts *have = &origin->parts;
    return have->scope_size == parts->scope_size && have->scope_url_size == parts->scope_url_size &&
           (parts->scope_size == 0 || memcmp(have->scope, parts->scope, parts->scope_size) == 0) &&
           (parts->scope_url_size == 0 || memcmp(have->scope_url, parts->scope_url, parts->scope_url_size) == 0);
}

static bool settle_resource(struct walk *walk, struct shared *shared) {
    struct weir_otlp *otlp = walk->otlp;
    struct weir_origin_parts *parts = &shared->parts;
    if (shared->settled) return true;
    if (shared->bad_text && !repair_part(walk, &otlp->resource, WEIR_OTLP_RESOURCE, &parts->resource,
                                         &parts->resource_size, &parts->resource_url, &parts->resource_url_size))
        return false;
    if (!redact_resource(otlp, walk->batch->budget, parts)) return full(walk);
    shared->hash = weir_resource_hash(parts);
    shared->settled = true;
    return true;
}

static uint32_t service_shared(struct weir_otlp *otlp, struct shared *shared) {
    if (!shared->has_service) shared->service = service_of(otlp, &shared->parts);
    shared->has_service = true;
    return shared->service;
}

/* Looks the origin up, or makes it, and gives the batch a hold on it. */
static bool find_origin(struct walk *walk, struct shared *shared, struct weir_origin_parts parts, const uint8_t *at) {
    int is_new = 0;
    if (!redact_scope(walk->otlp, walk->batch->budget, &parts)) return full(walk);
    struct weir_origin *origin = weir_origins_get_hashed(walk->otlp->origins, &parts, shared->hash, &is_new);
    if (origin == NULL) return full(walk);
    if (is_new) origin->service = service_shared(walk->otlp, shared);
    enum weir_status status = weir_batch_origin(walk->batch, origin, &shared->last_index);
    weir_origin_unref(origin);
    if (status != WEIR_OK && walk->batch->origin_count == UINT16_MAX) /* sent again it would be refused again */
        return broken(walk, "more than 65,535 resources and scopes in a request", NULL, at);
    if (status != WEIR_OK) return full(walk);
    shared->last = walk->batch->origins[shared->last_index];
    return true;
}

/* Gives spans[first ..] their origin and service. */
static bool settle_origin(struct walk *walk, struct shared *shared, struct weir_origin_parts parts, bool bad_text,
                          uint32_t first, const uint8_t *at) {
    struct weir_batch *batch = walk->batch;
    if (first == batch->span_count) return true;
    if (!settle_resource(walk, shared)) return false;
    if (bad_text && !repair_part(walk, &walk->otlp->scope, WEIR_OTLP_SCOPE, &parts.scope, &parts.scope_size,
                                 &parts.scope_url, &parts.scope_url_size))
        return false;
    parts.resource = shared->parts.resource, parts.resource_size = shared->parts.resource_size;
    parts.resource_url = shared->parts.resource_url, parts.resource_url_size = shared->parts.resource_url_size;
    /* Scopes that say the same thing share an origin, also one that is too large for the table to keep. */
    if ((shared->last == NULL || !has_scope(shared->last, &parts)) && !find_origin(walk, shared, parts, at))
        return false;
    for (uint32_t i = first; i < batch->span_count; i++) {
        batch->spans[i].origin = shared->last_index;
        if (batch->spans[i].service < TOUCHED) batch->spans[i].service = shared->last->service;
    }
    return true;
}

/* ---- the walk ---- */

static bool has_type(struct walk *walk, enum weir_otlp_message message, const struct weir_wire_field *field,
                     const uint8_t *start) {
    const struct weir_otlp_field *row = weir_otlp_field(message, field->number);
    return row == NULL || row->type == field->type ||
           broken(walk, "another wire type than the field has", row->name, start);
}

static bool sound(struct walk *walk, enum weir_otlp_message message, const char *name, const uint8_t *bytes,
                  size_t size, unsigned depth, bool *bad_text) {
    struct weir_otlp_finding finding = {0};
    bool ok = weir_otlp_check(message, weir_wire_of(bytes, size), depth, &finding);
    if (finding.field == NULL) finding.field = name;
    if (!ok) walk->finding = finding;
    *bad_text |= finding.bad_text;
    return ok;
}

static bool walk_scope_spans(struct walk *walk, const uint8_t *bytes, size_t size, struct shared *shared) {
    struct weir_origin_parts parts = {0};
    bool bad_text = false;
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field = {0};
    uint32_t first = walk->batch->span_count;
    walk->span = 0;
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (!has_type(walk, WEIR_OTLP_SCOPE_SPANS, &field, start)) return false;
        if (field.number == 2) {
            walk->level = 3;
            if (!take_span(walk, field.bytes, field.value)) return false;
            walk->span++;
            walk->level = 2;
        } else if (field.number == 1) {
            if (!sound(walk, WEIR_OTLP_SCOPE, "scope", field.bytes, field.value, 4, &bad_text)) return false;
            parts.scope = field.bytes, parts.scope_size = (uint32_t)field.value;
        } else if (field.number == 3) {
            parts.scope_url = field.bytes, parts.scope_url_size = (uint32_t)field.value;
            bad_text |= !weir_utf8_valid(field.bytes, field.value);
        }
    }
    if (wire.why != NULL) return broken(walk, wire.why, NULL, wire.at);
    return settle_origin(walk, shared, parts, bad_text, first, bytes);
}

static bool walk_resource_spans(struct walk *walk, const uint8_t *bytes, size_t size) {
    /* The resource may stand behind its spans: it is looked for first. A few fields, each passed over in one step. */
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field = {0};
    struct shared shared = {0};
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (!has_type(walk, WEIR_OTLP_RESOURCE_SPANS, &field, start)) return false;
        if (field.number == 1) {
            if (!sound(walk, WEIR_OTLP_RESOURCE, "resource", field.bytes, field.value, 3, &shared.bad_text))
                return false;
            shared.parts.resource = field.bytes, shared.parts.resource_size = (uint32_t)field.value;
        } else if (field.number == 3) {
            shared.parts.resource_url = field.bytes, shared.parts.resource_url_size = (uint32_t)field.value;
            shared.bad_text |= !weir_utf8_valid(field.bytes, field.value);
        }
    }
    if (wire.why != NULL) return broken(walk, wire.why, NULL, wire.at);
    wire = weir_wire_of(bytes, size);
    for (walk->scope = 0; weir_wire_next(&wire, &field);) {
        if (field.number != 2) continue;
        walk->level = 2;
        if (!walk_scope_spans(walk, field.bytes, field.value, &shared)) return false;
        walk->level = 1;
        walk->scope++;
    }
    return true;
}

static bool walk_request(struct walk *walk, size_t size) {
    const uint8_t *bytes = walk->batch->bytes;
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field = {0};
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (!has_type(walk, WEIR_OTLP_REQUEST, &field, start)) return false;
        if (field.number != 1) continue;
        walk->level = 1;
        if (!walk_resource_spans(walk, field.bytes, field.value)) return false;
        walk->level = 0;
        walk->resource++;
    }
    return wire.why == NULL || broken(walk, wire.why, NULL, wire.at);
}

/* The spans whose text was bad, or whom a rule touches: bytes may move now, since nobody walks them any more. */
static enum weir_status repair_spans(struct walk *walk, uint32_t first, struct weir_error *err) {
    struct weir_batch *batch = walk->batch;
    for (uint32_t i = first; i < batch->span_count; i++) {
        struct weir_span *span = &batch->spans[i];
        if (span->service < TOUCHED) continue;
        struct weir_otlp_finding finding = {.touched = span->service == TOUCHED};
        enum weir_otlp_verdict verdict = finding.touched ? WEIR_OTLP_GOOD : WEIR_OTLP_BAD_TEXT;
        char reason[64];
        uint16_t origin = span->origin;
        uint64_t before = span->size;
        enum weir_status status = finish_span(walk->otlp, batch, span->offset, span->size, verdict, &finding, reason,
                                              span, walk->counts, err);
        if (status != WEIR_OK) {
            span->size = (uint32_t)before; /* what truncating takes off */
            return status;
        }
        span->origin = origin;
        span->service = batch->origins[origin]->service;
        batch->span_bytes += span->size - before;
    }
    return WEIR_OK;
}

enum weir_status weir_otlp_decode(struct weir_otlp *otlp, struct weir_batch *batch, struct weir_otlp_counts *counts,
                                  struct weir_error *err) {
    *counts = (struct weir_otlp_counts){0};
    uint32_t first = batch->span_count;
    size_t size = batch->size;
    if (size == 0) return WEIR_OK; /* bytes[] may be NULL */
    if (size > UINT32_MAX / 8)     /* offsets have 32 bits, and repairing may need room for four times as much */
        return weir_fail(err, WEIR_INVALID, 0, false, "byte 0: the request has %zu bytes", size);
    struct walk walk = {.otlp = otlp, .batch = batch, .counts = counts};
    enum weir_status status = walk_request(&walk, size) ? WEIR_OK : fail(&walk, err);
    if (status == WEIR_OK && walk.any_waits) status = repair_spans(&walk, first, err);
    give_back(&walk);
    if (status != WEIR_OK) {
        weir_batch_truncate(batch, first, size);
        *counts = (struct weir_otlp_counts){0};
        return status;
    }
    counts->spans = batch->span_count - first;
    return WEIR_OK;
}
