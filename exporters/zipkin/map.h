/* map.h - OTLP spans as Zipkin sees them, before any encoding.
 * Sources: OpenTelemetry specification, trace/sdk_exporters/zipkin.md and common/mapping-to-non-otlp.md; zipkin-api,
 * zipkin.proto and zipkin2-api.yaml. What those leave open: resource attributes and scope attributes become tags, a
 * span's own tag wins over one of its resource; links become tags otlp.link.N as the OpenTelemetry Collector writes
 * them; tracestate becomes the tag w3c.tracestate. */
#ifndef WEIR_EXPORTERS_ZIPKIN_MAP_H
#define WEIR_EXPORTERS_ZIPKIN_MAP_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"

struct weir_zipkin_text {
    const uint8_t *bytes; /* inside the batch, its origin or the scratch; NULL only when size is 0 */
    uint32_t size;
    uint32_t at; /* map.c's own: where a rendered text stands in its buffer, until that buffer is done growing */
};
struct weir_zipkin_tag {
    struct weir_zipkin_text key, value;
};
struct weir_zipkin_annotation {
    uint64_t timestamp_us; /* never 0: Zipkin refuses the whole list for one */
    struct weir_zipkin_text value;
};
struct weir_zipkin_endpoint {
    struct weir_zipkin_text name;
    uint8_t ip[16];
    uint8_t ip_size;  /* 0, 4 or 16 */
    bool both;        /* ip is an IPv4 address, and there is an IPv6 one, too */
    uint8_t ipv6[16]; /* then */
    uint16_t port;    /* 0 = unknown */
};

static inline bool weir_zipkin_endpoint_is_there(const struct weir_zipkin_endpoint *endpoint) {
    return endpoint->name.size > 0 || endpoint->ip_size > 0 || endpoint->port > 0;
}

/* What the spans of one origin share, with room for their encoded form. */
struct weir_zipkin_origin {
    struct weir_zipkin_text service;
    uint32_t first_tag, tag_count; /* in scratch->origin_tags */
    uint64_t keys;                 /* one bit a key (weir_zipkin_key_bit), to see that a span repeats none of them */
    size_t text_bytes;
    uint32_t encoded_at, encoded_size; /* in scratch->encoded: tags, as the encoder that asked wrote them */
    bool known;
    bool from_zipkin; /* its spans came from Zipkin's clients: their attributes are tags and own.h's, and no more */
};

/* A span, valid until the next one is read. A member that is absent is 0 or empty. */
struct weir_zipkin_span {
    const struct weir_span *view;
    const struct weir_zipkin_origin *origin;
    struct weir_zipkin_text name;
    uint64_t timestamp_us, duration_us;
    struct weir_zipkin_endpoint local, remote;
    bool debug, shared;
    const struct weir_zipkin_tag *tags; /* the span's own */
    uint32_t tag_count;
    bool repeats_origin; /* a key of `tags` may also be one of the origin's: weir_zipkin_put_origin() looks */
    const struct weir_zipkin_annotation *annotations;
    uint32_t annotation_count;
    size_t text_bytes; /* of all texts above, without service and tags of the origin: what a bound of the encoded size
                          hangs on */
};

/* Memory that is kept from span to span; zeroed at first. One thread. */
struct weir_zipkin_scratch {
    struct weir_buffer text; /* rendered values of the current span */
    struct weir_zipkin_tag *tags;
    struct weir_zipkin_annotation *annotations;
    uint32_t tag_capacity, annotation_capacity;
    const struct weir_batch *batch;
    struct weir_zipkin_origin *origins; /* [batch->origin_count], filled when first met */
    uint32_t origin_capacity;
    struct weir_zipkin_tag *origin_tags;
    uint32_t origin_tag_count, origin_tag_capacity;
    struct weir_buffer origin_text, encoded;
};

/* Before the spans of another batch. False: out of memory. */
bool weir_zipkin_begin(struct weir_zipkin_scratch *scratch, const struct weir_batch *batch);
/* Maps span i. *fresh: its origin is met for the first time, and its tags are to be encoded. False: out of memory. */
bool weir_zipkin_read(struct weir_zipkin_scratch *scratch, uint32_t i, struct weir_zipkin_span *span,
                      struct weir_zipkin_origin **fresh);
/* An origin's tags are encoded once, by `put`, which writes one and returns its end; `room` is enough for all of them.
 * False: out of memory. */
bool weir_zipkin_encode_origin(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin, size_t room,
                               uint8_t *(*put)(uint8_t *out, const struct weir_zipkin_tag *tag));
/* Those of the span's origin, but for what the span has itself; returns their end. */
uint8_t *weir_zipkin_put_origin(const struct weir_zipkin_scratch *scratch, const struct weir_zipkin_span *span,
                                uint8_t *out, uint8_t *(*put)(uint8_t *out, const struct weir_zipkin_tag *tag));
void weir_zipkin_scratch_free(struct weir_zipkin_scratch *scratch);
#endif
