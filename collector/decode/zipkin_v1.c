#include "collector/decode/zipkin_v1.h"
#include "collector/core/wire.h"

#include <stdlib.h>
#include <strings.h>

enum { SPANS_MAX = 8 /* services that one span speaks of; what comes of more goes to the first */, NOBODY = 255 };

/* Zipkin takes an endpoint without any member for none. */
bool zipkin_v1_endpoint_is_empty(const struct zipkin_endpoint *endpoint) {
    return endpoint->service.size == 0 && !endpoint->has_ipv4 && !endpoint->has_ipv6 && endpoint->port == 0;
}

void zipkin_v1_clear(struct zipkin_v1 *span) {
    struct zipkin_v1 fresh = {.annotations = span->annotations,
                              .binary = span->binary,
                              .annotation_capacity = span->annotation_capacity,
                              .binary_capacity = span->binary_capacity};
    *span = fresh;
}

static void *grow(void *items, uint32_t count, uint32_t *capacity, size_t item_size) {
    if (count < *capacity) return items;
    uint32_t more = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = realloc(items, more * item_size);
    if (grown != NULL) *capacity = more;
    return grown;
}

struct zipkin_v1_annotation *zipkin_v1_annotate(struct zipkin_v1 *span) {
    if (span->annotation_count == ZIPKIN_V1_ITEMS_MAX) return NULL;
    void *grown =
        grow(span->annotations, span->annotation_count, &span->annotation_capacity, sizeof *span->annotations);
    if (grown == NULL) return NULL;
    span->annotations = grown;
    struct zipkin_v1_annotation *item = &span->annotations[span->annotation_count++];
    memset(item, 0, sizeof *item);
    return item;
}

struct zipkin_v1_binary *zipkin_v1_add_binary(struct zipkin_v1 *span) {
    if (span->binary_count == ZIPKIN_V1_ITEMS_MAX) return NULL;
    void *grown = grow(span->binary, span->binary_count, &span->binary_capacity, sizeof *span->binary);
    if (grown == NULL) return NULL;
    span->binary = grown;
    struct zipkin_v1_binary *item = &span->binary[span->binary_count++];
    memset(item, 0, sizeof *item);
    return item;
}

/* ---- the rules ---- */

enum core { CS, CR, SS, SR, MS, MR, WS, WR, CORES };
static const char core_names[CORES][3] = {"cs", "cr", "ss", "sr", "ms", "mr", "ws", "wr"};
static const enum weir_kind core_kinds[CORES] = {
    [CS] = WEIR_KIND_CLIENT, [CR] = WEIR_KIND_CLIENT,   [SS] = WEIR_KIND_SERVER,
    [SR] = WEIR_KIND_SERVER, [MS] = WEIR_KIND_PRODUCER, [MR] = WEIR_KIND_CONSUMER,
};

struct made {
    const struct zipkin_endpoint *local;
    struct zipkin_endpoint remote;
    enum weir_kind kind;
    uint64_t timestamp_us, duration_us;
    bool shared;
    bool ended; /* its end was marked */
};
struct conversion {
    struct zipkin_v1 *source;
    struct made spans[SPANS_MAX];
    uint32_t count;
    struct zipkin_v1_annotation *core[CORES]; /* NULL: not there */
    struct zipkin_v1_annotation inferred[2];
};

static bool is_text(struct zipkin_text text, const char *want) {
    size_t size = strlen(want);
    return text.size == size && memcmp(text.bytes, want, size) == 0;
}

/* Zipkin has service names in lower case. */
static bool same_service(const struct zipkin_endpoint *a, const struct zipkin_endpoint *b) {
    return a->service.size == b->service.size &&
           (a->service.size == 0 ||
            strncasecmp((const char *)a->service.bytes, (const char *)b->service.bytes, a->service.size) == 0);
}

static bool same_endpoint(const struct zipkin_endpoint *a, const struct zipkin_endpoint *b) {
    return same_service(a, b) && a->port == b->port && a->has_ipv4 == b->has_ipv4 && a->has_ipv6 == b->has_ipv6 &&
           (!a->has_ipv4 || memcmp(a->ipv4, b->ipv4, 4) == 0) && (!a->has_ipv6 || memcmp(a->ipv6, b->ipv6, 16) == 0);
}

static struct made *fork_for(struct conversion *c, const struct zipkin_endpoint *endpoint) {
    if (c->count == SPANS_MAX) return &c->spans[0];
    c->spans[c->count] = (struct made){.local = endpoint};
    return &c->spans[c->count++];
}

/* The span of this endpoint's service; the first for NULL. */
static struct made *span_for(struct conversion *c, const struct zipkin_endpoint *endpoint) {
    if (endpoint == NULL) return &c->spans[0];
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->spans[i].local == NULL) c->spans[i].local = endpoint;
        if (same_service(c->spans[i].local, endpoint)) return &c->spans[i];
    }
    return fork_for(c, endpoint);
}

static uint8_t number_of(const struct conversion *c, const struct made *span) {
    return (uint8_t)(span - c->spans);
}

static uint64_t between(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

static void put_back(struct conversion *c, enum core which) {
    if (c->core[which] != NULL) c->core[which]->owner = number_of(c, span_for(c, &c->core[which]->endpoint));
}

static bool ends_the_span(const struct conversion *c, const struct zipkin_v1_annotation *end) {
    const struct zipkin_v1 *source = c->source;
    return end != NULL && source->timestamp_us != 0 && source->duration_us != 0 &&
           source->timestamp_us + source->duration_us == end->timestamp_us;
}

static void infer(struct conversion *c, enum core start, enum core end, struct zipkin_v1_annotation *room) {
    if (c->core[start] != NULL || !ends_the_span(c, c->core[end])) return;
    *room = *c->core[end];
    room->timestamp_us = c->source->timestamp_us;
    c->core[start] = room;
}

static void set_times(struct conversion *c, const struct zipkin_v1_annotation *begin,
                      const struct zipkin_v1_annotation *end) {
    struct made *span = span_for(c, &begin->endpoint);
    if (c->source->timestamp_us != 0 && c->source->duration_us != 0) {
        span->timestamp_us = c->source->timestamp_us;
        span->duration_us = c->source->duration_us;
    } else {
        span->timestamp_us = begin->timestamp_us;
        if (end != NULL) span->duration_us = between(begin->timestamp_us, end->timestamp_us);
        span->ended = end != NULL;
    }
}

static void incomplete(struct conversion *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        struct made *span = &c->spans[i];
        enum core start = span->kind == WEIR_KIND_CLIENT ? CS : SR, end = span->kind == WEIR_KIND_CLIENT ? CR : SS;
        if (span->kind != WEIR_KIND_CLIENT && span->kind != WEIR_KIND_SERVER) continue;
        if (c->core[start] != NULL) span->timestamp_us = c->core[start]->timestamp_us;
        if (c->core[end] != NULL) c->core[end]->owner = (uint8_t)i;
    }
    if (c->source->timestamp_us != 0) {
        c->spans[0].timestamp_us = c->source->timestamp_us;
        c->spans[0].duration_us = c->source->duration_us;
    }
}

static void both_sides(struct conversion *c) {
    const struct zipkin_v1_annotation *cs = c->core[CS], *sr = c->core[SR], *ss = c->core[SS], *cr = c->core[CR];
    set_times(c, cs, cr);
    struct made *client = span_for(c, &cs->endpoint), *server;
    if (same_service(&cs->endpoint, &sr->endpoint)) { /* a service that calls itself */
        client->kind = WEIR_KIND_CLIENT;
        server = fork_for(c, &sr->endpoint);
        server->kind = WEIR_KIND_SERVER;
    } else {
        server = span_for(c, &sr->endpoint);
    }
    server->shared = true;
    server->timestamp_us = sr->timestamp_us;
    if (ss != NULL) server->duration_us = between(sr->timestamp_us, ss->timestamp_us);
    server->ended = ss != NULL;
    if (cr == NULL && c->source->duration_us == 0) client->duration_us = 0; /* one way */
}

static void messaging(struct conversion *c) {
    const struct zipkin_v1_annotation *ms = c->core[MS], *mr = c->core[MR], *ws = c->core[WS], *wr = c->core[WR];
    if (ms != NULL && mr != NULL) {
        struct made *producer = span_for(c, &ms->endpoint), *consumer;
        if (same_service(&ms->endpoint, &mr->endpoint)) {
            producer->kind = WEIR_KIND_PRODUCER;
            consumer = fork_for(c, &mr->endpoint);
            consumer->kind = WEIR_KIND_CONSUMER;
        } else {
            consumer = span_for(c, &mr->endpoint);
        }
        consumer->shared = true;
        consumer->timestamp_us = wr != NULL ? wr->timestamp_us : mr->timestamp_us;
        if (wr != NULL) consumer->duration_us = between(wr->timestamp_us, mr->timestamp_us);
        producer->timestamp_us = ms->timestamp_us;
        producer->duration_us = ws != NULL ? between(ms->timestamp_us, ws->timestamp_us) : 0;
    } else if (ms != NULL) {
        set_times(c, ms, ws);
    } else if (mr != NULL) {
        set_times(c, wr != NULL ? wr : mr, wr != NULL ? mr : NULL);
    } else {
        put_back(c, WS);
        put_back(c, WR);
    }
}

static void annotations(struct conversion *c) {
    struct zipkin_v1 *source = c->source;
    for (uint32_t i = 0; i < source->annotation_count; i++) {
        struct zipkin_v1_annotation *item = &source->annotations[i];
        struct made *span = span_for(c, item->has_endpoint ? &item->endpoint : NULL);
        item->owner = number_of(c, span);
        for (enum core which = 0; which < CORES && item->has_endpoint && item->value.size == 2; which++) {
            if (memcmp(item->value.bytes, core_names[which], 2) != 0) continue;
            if (core_kinds[which] != WEIR_KIND_UNSPECIFIED) span->kind = core_kinds[which];
            c->core[which] = item;
            item->owner = NOBODY;
        }
    }
    infer(c, CS, CR, &c->inferred[0]);
    infer(c, SR, SS, &c->inferred[1]);
    if (c->core[CS] != NULL && c->core[SR] != NULL) {
        both_sides(c);
    } else if (c->core[CS] != NULL && c->core[CR] != NULL) {
        set_times(c, c->core[CS], c->core[CR]);
    } else if (c->core[SR] != NULL && c->core[SS] != NULL) {
        set_times(c, c->core[SR], c->core[SS]);
    } else {
        incomplete(c);
    }
    /* v1 has no shared flag: a server that does not own the span's time shares it with its client. */
    if (c->core[CS] == NULL && c->core[SR] != NULL &&
        (source->timestamp_us == 0 || (c->core[SS] != NULL && source->duration_us == 0)))
        span_for(c, &c->core[SR]->endpoint)->shared = true;
    messaging(c);
}

static void addresses(struct conversion *c, const struct zipkin_endpoint *ca, const struct zipkin_endpoint *sa,
                      const struct zipkin_endpoint *ma) {
    const struct zipkin_v1_annotation *client = c->core[CS] != NULL ? c->core[CS] : c->core[CR];
    const struct zipkin_v1_annotation *server = c->core[SR] != NULL ? c->core[SR] : c->core[SS];
    if (client == NULL && server == NULL && (ca != NULL || sa != NULL)) {
        struct made *span = span_for(c, ca != NULL && sa != NULL ? ca : NULL);
        span->remote = sa != NULL ? *sa : *ca;
        if (sa == NULL) span->kind = WEIR_KIND_SERVER;
        return;
    }
    if (ca != NULL && server != NULL && !same_endpoint(ca, &server->endpoint)) {
        struct made *span = span_for(c, &server->endpoint);
        span->remote = *ca;
        /* Finagle gives the client's socket its own service's name; with it the service would call itself. */
        if (same_service(ca, &server->endpoint)) span->remote.service = (struct zipkin_text){0};
    }
    if (sa != NULL && client != NULL) span_for(c, &client->endpoint)->remote = *sa;
    if (ma != NULL && c->core[MS] != NULL) span_for(c, &c->core[MS]->endpoint)->remote = *ma;
    if (ma != NULL && c->core[MR] != NULL) span_for(c, &c->core[MR]->endpoint)->remote = *ma;
}

static void binary_annotations(struct conversion *c) {
    const struct zipkin_endpoint *ca = NULL, *sa = NULL, *ma = NULL;
    for (uint32_t i = 0; i < c->source->binary_count; i++) {
        struct zipkin_v1_binary *item = &c->source->binary[i];
        const struct zipkin_endpoint *endpoint = item->has_endpoint ? &item->endpoint : NULL;
        /* Of any type: telegraf-cli_microservice.dat has one that is a STRING, and Zipkin's converter asks the key. */
        bool address = item->has_endpoint && (item->type != ZIPKIN_V1_BOOL || item->number != 0);
        item->owner = NOBODY;
        if (address && is_text(item->key, "ca")) {
            ca = endpoint;
        } else if (address && is_text(item->key, "sa")) {
            sa = endpoint;
        } else if (address && is_text(item->key, "ma")) {
            ma = endpoint;
        } else {
            struct made *span = span_for(c, endpoint);
            bool marker = is_text(item->key, "lc") && item->type == ZIPKIN_V1_TEXT && item->value.size == 0;
            if (!marker) item->owner = number_of(c, span);
        }
    }
    addresses(c, ca, sa, ma);
}

/* ---- writing ---- */

static void put_bytes(struct weir_span_writer *writer, const struct zipkin_v1_binary *item) {
    /* KeyValue{1 key, 2 AnyValue{7 bytes_value}} */
    size_t pair = weir_span_open(writer, 9);
    uint8_t *at = weir_span_room(writer, 16 + item->key.size);
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_bytes(at, 1, item->key.bytes, item->key.size));
    size_t any = weir_span_open(writer, 2);
    at = weir_span_room(writer, 16 + item->value.size);
    if (at != NULL) weir_span_wrote(writer, weir_wire_put_bytes(at, 7, item->value.bytes, item->value.size));
    weir_span_close(writer, any);
    weir_span_close(writer, pair);
}

static void put_binary(struct weir_span_writer *writer, struct zipkin_head *head, const struct zipkin_v1_binary *item) {
    switch (item->type) {
    case ZIPKIN_V1_TEXT: zipkin_put_tag(writer, head, item->key, item->value); break;
    case ZIPKIN_V1_BOOL:
        weir_span_bool(writer, item->key.bytes, item->key.size, item->number != 0);
        if (is_text(item->key, "error")) head->failed = item->number != 0;
        break;
    case ZIPKIN_V1_INT: weir_span_int(writer, item->key.bytes, item->key.size, item->number); break;
    case ZIPKIN_V1_DOUBLE: weir_span_double(writer, item->key.bytes, item->key.size, item->real); break;
    case ZIPKIN_V1_BYTES: put_bytes(writer, item); break;
    }
}

enum weir_status zipkin_v1_convert(struct weir_zipkin_decoder *decoder, struct zipkin_v1 *source,
                                   struct weir_error *err) {
    struct conversion c = {.source = source, .count = 1};
    annotations(&c);
    binary_annotations(&c);
    for (uint32_t n = 0; n < c.count; n++) {
        const struct made *made = &c.spans[n];
        struct weir_span_writer writer;
        struct zipkin_head head = {.trace_hi = source->trace_hi,
                                   .trace_lo = source->trace_lo,
                                   .id = source->id,
                                   .parent = source->parent,
                                   .kind = made->kind,
                                   .timestamp_us = made->timestamp_us,
                                   .duration_us = made->duration_us,
                                   .remote = made->remote,
                                   .debug = source->debug,
                                   .shared = made->shared,
                                   .ended = made->ended};
        if (made->local != NULL) head.local = *made->local;
        weir_span_begin(&writer, decoder->batch);
        weir_span_name(&writer, source->name.bytes, source->name.size);
        for (uint32_t i = 0; i < source->binary_count; i++) {
            if (source->binary[i].owner == n) put_binary(&writer, &head, &source->binary[i]);
        }
        for (uint32_t i = 0; i < source->annotation_count; i++) {
            const struct zipkin_v1_annotation *item = &source->annotations[i];
            if (item->owner == n) zipkin_put_annotation(&writer, item->timestamp_us, item->value);
        }
        enum weir_status status = zipkin_put(decoder, &writer, &head, err);
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}
