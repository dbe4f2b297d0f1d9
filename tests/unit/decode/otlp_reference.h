/* otlp_reference.h - what protobuf-c makes of a request, held against the walker's views. For the property test and the
 * fuzz target. Where the two may differ is said here, and only there is nothing compared:
 *   - protobuf-c keeps 32 bits of a key and five bytes of a length, takes field number 0 and any tenth byte of a varint
 *   - it takes a bool of any wire type
 *   - it has no bound of depth; the walker stops at WEIR_DEPTH_MAX messages
 *   - it merges a singular message that stands twice; the walker takes the last one
 *   - it does not look at UTF-8; the walker repairs, so texts are compared where they are sound
 *   - its texts end at a NUL: of a request that has one, only whether it is taken is compared */
#ifndef WEIR_TESTS_OTLP_REFERENCE_H
#define WEIR_TESTS_OTLP_REFERENCE_H
#include "collector/core/operation.h"
#include "collector/core/utf8.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_fields.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "tests/unit/decode/otlp_laws.h"
#include "tests/unit/decode/otlp_reference_said.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest ref_request;

enum { REF_ODD = 1, REF_TWICE = 2, REF_NUL = 4 };

/* A varint's length, or 0: truncated. *odd: longer than `most` bytes, or with bits beyond 64. */
static size_t ref_varint(const uint8_t *at, const uint8_t *end, size_t most, uint64_t *value, int *flags) {
    *value = 0;
    for (size_t i = 0; at + i < end && i < 11; i++) {
        if (i < 10) *value |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (at[i] >= 0x80) continue;
        if (i + 1 > most || (i == 9 && at[i] > 1)) *flags |= REF_ODD;
        return i + 1;
    }
    if (end - at > 10) *flags |= REF_ODD;
    return 0;
}

/* Looks for what the two may differ in, as far as the bytes can be followed. */
static void ref_scan(enum weir_otlp_message message, const uint8_t *at, const uint8_t *end, unsigned depth,
                     int *flags) {
    uint32_t seen = 0;
    if (depth > WEIR_DEPTH_MAX / 2) {
        *flags |= REF_ODD;
        return;
    }
    while (at < end) {
        uint64_t key, value;
        size_t n = ref_varint(at, end, 5, &key, flags);
        if (n == 0) return;
        at += n;
        if (key >> 32 != 0 || key >> 3 == 0) {
            *flags |= REF_ODD;
            return;
        }
        /* entity_refs is younger than the trimmed schema: protobuf-c passes over it, of whatever wire type. */
        if (message == WEIR_OTLP_RESOURCE && key >> 3 == 3) *flags |= REF_ODD;
        if (message == WEIR_OTLP_ANY_VALUE && key >> 3 == 2 && (key & 7) != 0) *flags |= REF_ODD;
        switch (key & 7) {
        case 0:
            if ((n = ref_varint(at, end, 10, &value, flags)) == 0) return;
            at += n;
            break;
        case 1: at += end - at < 8 ? end - at : 8; break;
        case 5: at += end - at < 4 ? end - at : 4; break;
        case 2: {
            if ((n = ref_varint(at, end, 5, &value, flags)) == 0) return;
            at += n;
            if (value > (uint64_t)(end - at)) return;
            const struct weir_otlp_field *row = weir_otlp_field(message, (uint32_t)(key >> 3));
            if (row != NULL && row->message != WEIR_OTLP_NOTHING) {
                bool many = row->name[strlen(row->name) - 1] == 's' && strcmp(row->name, "status") != 0;
                if (!many && (seen & 1u << (key >> 3)) != 0) *flags |= REF_TWICE;
                seen |= 1u << (key >> 3);
                if (message == WEIR_OTLP_ANY_VALUE) seen |= 1u << 5 | 1u << 6;
                ref_scan((enum weir_otlp_message)row->message, at, at + value, depth + 1, flags);
            }
            if (row != NULL && row->text && memchr(at, 0, value) != NULL) *flags |= REF_NUL;
            at += value;
            break;
        }
        default: return;
        }
    }
}

static uint64_t ref_id(const ProtobufCBinaryData *id, size_t at) {
    uint64_t value = 0;
    for (size_t i = at; i < at + 8; i++)
        value = value << 8 | id->data[i];
    return value;
}

static bool ref_has_good_ids(const ref_span *span) {
    if (span->trace_id.len != 16 || span->span_id.len != 8) return false;
    if (span->parent_span_id.len != 0 && span->parent_span_id.len != 8) return false;
    return (ref_id(&span->trace_id, 0) | ref_id(&span->trace_id, 8)) != 0 && ref_id(&span->span_id, 0) != 0;
}

static const char *ref_service(const Opentelemetry__Proto__Resource__V1__Resource *resource) {
    const char *service = "unknown_service";
    for (size_t i = 0; resource != NULL && i < resource->n_attributes; i++) {
        const ref_pair *pair = resource->attributes[i];
        if (strcmp(pair->key, "service.name") != 0 || pair->value == NULL) continue;
        if (pair->value->value_case != OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE) continue;
        if (pair->value->string_value[0] != 0) service = pair->value->string_value;
    }
    return service;
}

/* Is `name` the text of this id? True also where that cannot be said. */
static bool ref_text_is(const struct weir_names *names, uint32_t id, const char *text, size_t size) {
    size_t have_size;
    const char *have = weir_names_text(names, id, &have_size);
    if (id == WEIR_NAME_OVERFLOW || memchr(have, 0, have_size) != NULL || size >= WEIR_NAME_BYTES_MAX) return true;
    if (!weir_utf8_valid((const uint8_t *)text, size)) return true;
    return have_size == size && memcmp(have, text, size) == 0;
}

#define REF_SAME(what, ours, theirs)                                                                                   \
    if ((ours) != (theirs)) return what
/* What differs, or NULL. */
static const char *ref_compare_span(const struct weir_names *names, const struct weir_span *view,
                                    const ref_span *span) {
    REF_SAME("trace_id, high", view->trace_hi, ref_id(&span->trace_id, 0));
    REF_SAME("trace_id, low", view->trace_lo, ref_id(&span->trace_id, 8));
    REF_SAME("span_id", view->span_id, ref_id(&span->span_id, 0));
    uint64_t parent = span->parent_span_id.len == 8 ? ref_id(&span->parent_span_id, 0) : 0;
    if (parent == view->span_id) parent = 0;
    REF_SAME("parent_span_id", view->parent_id, parent);
    REF_SAME("root", (view->flags & WEIR_SPAN_ROOT) != 0, parent == 0);
    uint64_t start = span->start_time_unix_nano, end = span->end_time_unix_nano;
    REF_SAME("start", view->start_ns, start);
    REF_SAME("duration", view->duration_ns, start != 0 && end > start ? end - start : 0);
    REF_SAME("http status", view->http_status, ref_http_status(span));
    unsigned kind = (unsigned)span->kind;
    REF_SAME("kind", view->kind, kind <= WEIR_KIND_CONSUMER ? kind : WEIR_KIND_UNSPECIFIED);
    unsigned code = span->status != NULL ? (unsigned)span->status->code : 0;
    if (code > WEIR_STATUS_ERROR) code = WEIR_STATUS_UNSET;
    if (code == WEIR_STATUS_UNSET && view->http_status >= 500 && view->http_status <= 599) code = WEIR_STATUS_ERROR;
    REF_SAME("status", view->status, code);
    REF_SAME("forced", (view->flags & WEIR_SPAN_FORCED) != 0, ref_forced(span));
    double prior = ref_prior(span);
    REF_SAME("prior's flag", (view->flags & WEIR_SPAN_PRIOR) != 0, prior != 0);
    REF_SAME("prior", view->prior, prior != 0 ? prior : 1);
    uint64_t threshold = 0, randomness = view->trace_lo & (WEIR_THRESHOLD_MAX - 1);
    REF_SAME("th", (view->flags & WEIR_SPAN_TH) != 0, ref_tracestate(span->trace_state, "th:", 1, &threshold));
    REF_SAME("rv", (view->flags & WEIR_SPAN_RV) != 0, ref_tracestate(span->trace_state, "rv:", 14, &randomness));
    REF_SAME("threshold", view->threshold, threshold);
    REF_SAME("randomness", view->randomness, randomness);
    const char *peer = ref_peer(span);
    if (!ref_text_is(names, view->peer, peer != NULL ? peer : "", peer != NULL ? strlen(peer) : 0)) return "peer";
    char text[5 * WEIR_NAME_BYTES_MAX / 2 + 4];
    size_t size = strlen(span->name);
    if (size < WEIR_NAME_BYTES_MAX) {
        size = weir_operation_template((const uint8_t *)span->name, size, text, sizeof text);
        if (!ref_text_is(names, view->operation, text, size)) return "name";
    }
    return NULL;
}

/* Where nothing was repaired, the view's bytes are the span's: both read as the same message. */
static const char *ref_compare_body(const uint8_t *body, const struct weir_span *view, const ref_span *span) {
    const char *differs = NULL;
    ref_span *again = opentelemetry__proto__trace__v1__span__unpack(NULL, view->size, body);
    if (again == NULL) return "the view's bytes are no span";
    size_t size = opentelemetry__proto__trace__v1__span__get_packed_size(span);
    if (opentelemetry__proto__trace__v1__span__get_packed_size(again) != size) {
        differs = "the size of the view's span";
    } else {
        uint8_t *packed = malloc(2 * size + 1);
        opentelemetry__proto__trace__v1__span__pack(span, packed);
        opentelemetry__proto__trace__v1__span__pack(again, packed + size);
        if (memcmp(packed, packed + size, size) != 0) differs = "the bytes of the view's span";
        free(packed);
    }
    opentelemetry__proto__trace__v1__span__free_unpacked(again, NULL);
    return differs;
}

static const char *ref_compare(const struct weir_names *names, const struct weir_batch *batch,
                               const ref_request *request, const struct weir_otlp_counts *counts) {
    uint32_t at = 0, bad = 0;
    for (size_t r = 0; r < request->n_resource_spans; r++) {
        const Opentelemetry__Proto__Trace__V1__ResourceSpans *resource = request->resource_spans[r];
        const char *service = ref_service(resource->resource), *differs;
        for (size_t s = 0; s < resource->n_scope_spans; s++) {
            for (size_t i = 0; i < resource->scope_spans[s]->n_spans; i++) {
                const ref_span *span = resource->scope_spans[s]->spans[i];
                if (!ref_has_good_ids(span)) {
                    bad++;
                    continue;
                }
                if (at == batch->span_count) return "fewer spans";
                if ((differs = ref_compare_span(names, &batch->spans[at], span)) != NULL) return differs;
                if (counts->repaired == 0 &&
                    (differs = ref_compare_body(batch->bytes + batch->spans[at].offset, &batch->spans[at], span)))
                    return differs;
                if (!ref_text_is(names, batch->spans[at].service, service, strlen(service))) return "service";
                at++;
            }
        }
    }
    if (at != batch->span_count) return "more spans";
    return bad == counts->skipped ? NULL : "skipped";
}

/* Decodes bytes both ways, and again. NULL: they agree; else what differs. *accepted: the walker took it. */
static const char *ref_check(struct weir_otlp *otlp, const struct weir_names *names, const uint8_t *bytes, size_t size,
                             bool *accepted) {
    int flags = 0;
    ref_scan(WEIR_OTLP_REQUEST, bytes, bytes + size, 0, &flags);
    struct weir_batch *batch = weir_batch_new(NULL, size);
    if (size > 0) memcpy(batch->bytes, bytes, size);
    batch->size = size;
    struct weir_otlp_counts counts;
    struct weir_error err = {0};
    const char *differs = NULL;
    enum weir_status status = weir_otlp_decode(otlp, batch, &counts, &err);
    *accepted = status == WEIR_OK;
    if (status != WEIR_OK && (batch->span_count != 0 || batch->size != size))
        differs = "something is left of a refused request";
    if (status == WEIR_INVALID && strncmp(err.text, "byte ", 5) != 0) differs = "no place in the error";
    for (uint32_t i = 0; i < batch->span_count && differs == NULL; i++) {
        if ((size_t)batch->spans[i].offset + batch->spans[i].size > batch->size) differs = "a view past the end";
    }
    ref_request *request = NULL;
    if (differs == NULL && (flags & ~REF_NUL) == 0) {
        request = opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(NULL, size, bytes);
        if ((request != NULL) != (status == WEIR_OK)) {
            differs = status == WEIR_OK ? "only the walker takes it" : "only protobuf-c takes it";
        } else if (request != NULL && flags == 0) {
            differs = ref_compare(names, batch, request, &counts);
        }
    }
    /* What is asked of the bytes follows from them, so that a finding comes again. */
    uint64_t mix = (size + 1) * 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < size; i += 7)
        mix = (mix ^ bytes[i]) * 0xbf58476d1ce4e5b9ull;
    if (differs == NULL) differs = law_bounded(otlp, bytes, size, (mix >> 20) % (8192 + 4 * size), *accepted);
    uint64_t threshold = mix >> 8 >> mix % 55;
    if (differs == NULL) differs = law_again(otlp, batch, threshold != 0 ? threshold : 1, 1 + (double)(mix >> 12));
    if (request != NULL)
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request, NULL);
    weir_batch_unref(batch);
    return differs;
}
#endif
