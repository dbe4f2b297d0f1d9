/* datagram_laws.h - what holds of any bytes that come as a datagram. NULL: it holds; else what does not. */
#ifndef WEIR_TESTS_DATAGRAM_LAWS_H
#define WEIR_TESTS_DATAGRAM_LAWS_H
#include "collector/core/wire.h"
#include "collector/decode/datagram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct laws {
    struct weir_names *names;
    struct weir_otlp *otlp;
    struct weir_datagrams *datagrams;
    uint32_t points;
};

static void law_point(void *self, const struct weir_point *point) {
    struct laws *laws = self;
    volatile uint64_t sum = point->key[point->key_size - 1]; /* all that is promised can be read */
    const struct weir_point_data *data = point->data;
    laws->points++;
    for (uint32_t i = 0; data != NULL && i < data->bound_count * 8; i++)
        sum += data->bounds[i];
    for (uint32_t i = 0; data != NULL && data->counts != NULL && i < (data->bound_count + 1) * 8; i++)
        sum += data->counts[i];
    for (uint32_t i = 0; data != NULL && i < data->positive_count * 8; i++)
        sum += data->positive[i];
    (void)sum;
}

/* The spans and the resource of a datagram as ExportTraceServiceRequest{ResourceSpans{resource, ScopeSpans{spans}}}. */
static struct weir_batch *law_request(const struct weir_datagram *datagram) {
    size_t room = datagram->size + 64;
    uint8_t *spans = malloc(room), *resource_spans = malloc(2 * room), *request = malloc(3 * room);
    uint8_t *end = spans, *outer = resource_spans;
    struct weir_wire wire = weir_wire_of(datagram->bytes, datagram->size);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number == 6) end = weir_wire_put_bytes(end, 2, field.bytes, field.value);
    }
    if (datagram->resource != NULL) outer = weir_wire_put_bytes(outer, 1, datagram->resource, datagram->resource_size);
    outer = weir_wire_put_bytes(outer, 2, spans, (size_t)(end - spans));
    end = weir_wire_put_bytes(request, 1, resource_spans, (size_t)(outer - resource_spans));
    struct weir_batch *batch = weir_batch_new(NULL, (size_t)(end - request));
    memcpy(batch->bytes, request, (size_t)(end - request));
    batch->size = (size_t)(end - request);
    free(spans);
    free(resource_spans);
    free(request);
    return batch;
}

/* All but where it stands and how it came. */
static bool law_same_view(const struct weir_span *a, const struct weir_span *b) {
    return a->trace_hi == b->trace_hi && a->trace_lo == b->trace_lo && a->span_id == b->span_id &&
           a->parent_id == b->parent_id && a->start_ns == b->start_ns && a->duration_ns == b->duration_ns &&
           a->threshold == b->threshold && a->randomness == b->randomness && a->prior == b->prior &&
           a->flags == b->flags && a->service == b->service && a->operation == b->operation && a->peer == b->peer &&
           a->kind == b->kind && a->status == b->status && a->http_status == b->http_status && a->size == b->size;
}

/* The same spans are in it as in an OTLP request, or both are refused. */
static const char *law_like_otlp(struct laws *laws, const struct weir_datagram *datagram) {
    struct weir_batch *request = law_request(datagram), *batch = weir_batch_new(NULL, 0);
    struct weir_otlp_counts counts = {0}, wanted = {0};
    struct weir_error err;
    enum weir_status like = weir_otlp_decode(laws->otlp, request, &wanted, NULL);
    enum weir_status status = weir_datagrams_spans(laws->datagrams, datagram, batch, &counts, &err);
    const char *differs = NULL;
    /* Where there are no spans nobody looks at the resource. */
    if (status != like && datagram->spans > 0) differs = "only one of datagram and request is refused";
    if (status != WEIR_OK && (batch->span_count > 0 || batch->size > 0)) differs = "a refused datagram left something";
    if (status == WEIR_OK && like == WEIR_OK) {
        if (batch->span_count != request->span_count || counts.skipped != wanted.skipped ||
            counts.spans != wanted.spans)
            differs = "another number of spans";
        for (uint32_t i = 0; differs == NULL && i < batch->span_count; i++) {
            const struct weir_span *a = &batch->spans[i], *b = &request->spans[i];
            if (!law_same_view(a, b)) {
                differs = "a span's view";
            } else if (memcmp(batch->bytes + a->offset, request->bytes + b->offset, a->size) != 0) {
                differs = "a span's bytes";
            }
        }
    }
    weir_batch_unref(request);
    weir_batch_unref(batch);
    return differs;
}

/* Under a budget that is short the answer is WEIR_FULL and nothing stays of it. */
static const char *law_short(struct laws *laws, const struct weir_datagram *datagram, size_t spare_bytes) {
    struct weir_budget budget = {.limit_bytes = sizeof(struct weir_batch) + spare_bytes};
    struct weir_batch *batch = weir_batch_new(&budget, 0);
    struct weir_otlp_counts counts = {0};
    enum weir_status status = weir_datagrams_spans(laws->datagrams, datagram, batch, &counts, NULL);
    const char *differs = NULL;
    if (status != WEIR_OK && (batch->span_count > 0 || batch->size > 0 || counts.spans > 0 || counts.skipped > 0))
        differs = "a datagram without room left something";
    weir_batch_unref(batch);
    return budget.used_bytes == 0 ? differs : "the budget did not get back what was drawn";
}

/* What is asked for lies inside the datagram. */
static const char *law_ask(const struct weir_datagram *datagram) {
    struct weir_wire ask = datagram->ask;
    const uint8_t *name;
    volatile uint64_t sum = 0;
    size_t size;
    if (ask.at == NULL) return datagram->nonce == 0 ? NULL : "a nonce of no ask";
    while (weir_datagram_operation(&ask, &name, &size)) {
        if (name < datagram->bytes || name + size > datagram->bytes + datagram->size) return "an operation is outside";
        for (size_t i = 0; i < size; i++)
            sum += name[i];
    }
    (void)sum;
    return ask.why == NULL ? NULL : "an ask that was taken is broken";
}

/* The service is that of the spans, whether or not there are any. */
static const char *law_service(struct laws *laws, const struct weir_datagram *datagram) {
    uint32_t service;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_otlp_counts counts = {0};
    struct weir_error err;
    enum weir_status known = weir_datagrams_service(laws->datagrams, datagram, &service, &err);
    enum weir_status status = weir_datagrams_spans(laws->datagrams, datagram, batch, &counts, &err);
    const char *differs =
        known != WEIR_OK && status == WEIR_OK && counts.spans > 0 ? "spans of an unknown service" : NULL;
    if (known == WEIR_OK && batch->span_count > 0 && batch->spans[0].service != service) differs = "another service";
    weir_batch_unref(batch);
    return differs;
}

static const char *law_datagram(struct laws *laws, const uint8_t *bytes, size_t size, bool *accepted) {
    struct weir_datagram datagram;
    struct weir_error err = {0};
    enum weir_status status = weir_datagram_read(bytes, size, &datagram, &err);
    *accepted = status == WEIR_OK;
    if (!*accepted)
        return (status == WEIR_INVALID || status == WEIR_UNSUPPORTED) && err.text[0] != 0 ? NULL : "no reason given";
    if (datagram.sequence == 0) return "sequence 0";
    if (datagram.hmac != NULL && datagram.hmac + WEIR_DATAGRAM_HMAC_BYTES != bytes + size)
        return "hmac is not at the end";
    const char *differs = law_like_otlp(laws, &datagram);
    if (differs == NULL) differs = law_short(laws, &datagram, size);
    if (differs == NULL) differs = law_ask(&datagram);
    if (differs == NULL) differs = law_service(laws, &datagram);
    laws->points = 0;
    uint32_t senseless =
        weir_datagrams_points(laws->datagrams, &datagram, &(struct weir_datagram_calls){laws, law_point});
    return senseless + laws->points == datagram.points ? differs : "points that are neither given out nor counted";
}

static void laws_open(struct laws *laws) {
    laws->names = weir_names_new(256, 64 * 1024);
    laws->otlp = weir_otlp_new(laws->names);
    laws->datagrams = weir_datagrams_new(laws->otlp, laws->names, 128);
}
static void laws_close(struct laws *laws) {
    weir_datagrams_free(laws->datagrams);
    weir_otlp_free(laws->otlp);
    weir_names_free(laws->names);
}
#endif
