#include "exporters/json.h"
#include "exporters/zipkin/encode.h"

#include <arpa/inet.h>

/* Room of what is not text: punctuation, member names, ids, times, flags of one span, with some to spare.
 * Longest: {"traceId":"32","parentId":"16","id":"16","kind":"PRODUCER","name":"","timestamp":20,"duration":20,
 * "localEndpoint":{"serviceName":"","ipv4":"15","ipv6":"45","port":5},"remoteEndpoint":{the same},"annotations":[],
 * "tags":{},"debug":true,"shared":true} */
enum { SPAN_ROOM = 768, TAG_ROOM = 6 /* "":"", */, ANNOTATION_ROOM = 52 /* {"timestamp":20,"value":""}, */ };

/* By enum weir_kind; INTERNAL has none (zipkin.md, "SpanKind"). */
static const struct weir_zipkin_text kinds[] = {
#define KIND(name)                                                                                                     \
    { .bytes = (const uint8_t *)",\"kind\":\"" name "\"", .size = sizeof(",\"kind\":\"" name "\"") - 1 }
    [WEIR_KIND_UNSPECIFIED] = {0},           [WEIR_KIND_INTERNAL] = {0},
    [WEIR_KIND_SERVER] = KIND("SERVER"),     [WEIR_KIND_CLIENT] = KIND("CLIENT"),
    [WEIR_KIND_PRODUCER] = KIND("PRODUCER"), [WEIR_KIND_CONSUMER] = KIND("CONSUMER"),
#undef KIND
};

static inline uint8_t *put(uint8_t *out, const void *bytes, size_t size) {
    memcpy(out, bytes, size);
    return out + size;
}
#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

static inline uint8_t *put_text(uint8_t *out, struct weir_zipkin_text text) {
    return weir_json_escape(out, text.bytes, text.size);
}

/* Eight digits at once, a nibble a byte: hex.c takes them one by one, and a span has four ids. */
static inline uint64_t eight_digits(uint32_t value) {
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t x = value;
    x = (x << 16 | x) & 0x0000ffff0000ffffull;
    x = (x << 8 | x) & 0x00ff00ff00ff00ffull;
    x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0full;
    uint64_t letters = (x + ones * 6) >> 4 & ones; /* 1 where the nibble is above 9 */
    return __builtin_bswap64(x + ones * '0' + letters * ('a' - '0' - 10));
}

static inline uint8_t *put_id(uint8_t *out, uint64_t id) {
    uint64_t high = eight_digits((uint32_t)(id >> 32)), low = eight_digits((uint32_t)id);
    memcpy(out, &high, 8);
    memcpy(out + 8, &low, 8);
    return out + 16;
}

static inline uint8_t *put_tag(uint8_t *out, const struct weir_zipkin_tag *tag) {
    *out++ = '"';
    out = put_text(out, tag->key);
    out = PUT(out, "\":\"");
    out = put_text(out, tag->value);
    return PUT(out, "\",");
}

static uint8_t *put_address(uint8_t *out, const uint8_t *ip, size_t size) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(size == 4 ? AF_INET : AF_INET6, ip, text, sizeof text);
    out = size == 4 ? PUT(out, "\"ipv4\":\"") : PUT(out, "\"ipv6\":\"");
    out = put(out, text, strlen(text));
    return PUT(out, "\",");
}

/* Behind its own `"localEndpoint":{`; at least one member is there. */
static uint8_t *put_endpoint(uint8_t *out, const struct weir_zipkin_endpoint *endpoint) {
    if (endpoint->name.size > 0) {
        out = PUT(out, "\"serviceName\":\"");
        out = put_text(out, endpoint->name);
        out = PUT(out, "\",");
    }
    if (endpoint->ip_size > 0) out = put_address(out, endpoint->ip, endpoint->ip_size);
    if (endpoint->both) out = put_address(out, endpoint->ipv6, 16);
    if (endpoint->port > 0) {
        out = PUT(out, "\"port\":");
        out = weir_json_write_u64(out, endpoint->port);
        *out++ = ',';
    }
    out[-1] = '}';
    return out;
}

static uint8_t *put_annotations(uint8_t *out, const struct weir_zipkin_span *span) {
    out = PUT(out, ",\"annotations\":[");
    for (uint32_t i = 0; i < span->annotation_count; i++) {
        out = PUT(out, "{\"timestamp\":");
        out = weir_json_write_u64(out, span->annotations[i].timestamp_us);
        out = PUT(out, ",\"value\":\"");
        out = put_text(out, span->annotations[i].value);
        out = PUT(out, "\"},");
    }
    out[-1] = ']';
    return out;
}

static bool encode_origin(struct weir_zipkin_scratch *scratch, struct weir_zipkin_origin *origin) {
    size_t room = WEIR_JSON_GROWTH * (origin->text_bytes + origin->service.size) + TAG_ROOM * (size_t)origin->tag_count;
    return weir_zipkin_encode_origin(scratch, origin, room + 64, put_tag);
}

static uint8_t *put_span(uint8_t *out, const struct weir_zipkin_scratch *scratch, const struct weir_zipkin_span *span) {
    const struct weir_span *view = span->view;
    out = PUT(out, "{\"traceId\":\"");
    if (view->trace_hi != 0) out = put_id(out, view->trace_hi); /* a 64-bit id leaves as 16 digits */
    out = put_id(out, view->trace_lo);
    if (view->parent_id != 0 && (view->flags & WEIR_SPAN_ROOT) == 0) { /* a root may be its own parent */
        out = PUT(out, "\",\"parentId\":\"");
        out = put_id(out, view->parent_id);
    }
    out = PUT(out, "\",\"id\":\"");
    out = put_id(out, view->span_id);
    *out++ = '"';
    if (view->kind < sizeof kinds / sizeof kinds[0] && kinds[view->kind].size > 0)
        out = put(out, kinds[view->kind].bytes, kinds[view->kind].size);
    if (span->name.size > 0) {
        out = PUT(out, ",\"name\":\"");
        out = put_text(out, span->name);
        *out++ = '"';
    }
    if (span->timestamp_us > 0) {
        out = PUT(out, ",\"timestamp\":");
        out = weir_json_write_u64(out, span->timestamp_us);
    }
    if (span->duration_us > 0) {
        out = PUT(out, ",\"duration\":");
        out = weir_json_write_u64(out, span->duration_us);
    }
    if (weir_zipkin_endpoint_is_there(&span->local)) out = put_endpoint(PUT(out, ",\"localEndpoint\":{"), &span->local);
    if (weir_zipkin_endpoint_is_there(&span->remote))
        out = put_endpoint(PUT(out, ",\"remoteEndpoint\":{"), &span->remote);
    if (span->annotation_count > 0) out = put_annotations(out, span);
    if (span->tag_count > 0 || span->origin->tag_count > 0) {
        out = PUT(out, ",\"tags\":{");
        out = weir_zipkin_put_origin(scratch, span, out, put_tag);
        for (uint32_t i = 0; i < span->tag_count; i++)
            out = put_tag(out, &span->tags[i]);
        out[-1] = '}'; /* the last comma */
    }
    if (span->debug) out = PUT(out, ",\"debug\":true");
    if (span->shared) out = PUT(out, ",\"shared\":true");
    *out++ = '}';
    return out;
}

static size_t bound_of(const struct weir_zipkin_span *span) {
    const struct weir_zipkin_origin *origin = span->origin;
    return SPAN_ROOM + WEIR_JSON_GROWTH * (span->text_bytes + origin->service.size) +
           TAG_ROOM * (size_t)span->tag_count + ANNOTATION_ROOM * (size_t)span->annotation_count + origin->encoded_size;
}

uint32_t weir_zipkin_encode_json(struct weir_zipkin_scratch *scratch, uint32_t first, size_t max_bytes,
                                 struct weir_buffer *out) {
    uint32_t i = first;
    size_t start = out->size;
    weir_buffer_byte(out, '[');
    for (; i < scratch->batch->span_count; i++) {
        struct weir_zipkin_span span;
        struct weir_zipkin_origin *fresh;
        if (!weir_zipkin_read(scratch, i, &span, &fresh) || (fresh != NULL && !encode_origin(scratch, fresh)) ||
            !weir_buffer_room(out, bound_of(&span)))
            break;
        uint8_t *at = out->bytes + out->size;
        if (i > first) *at++ = ',';
        at = put_span(at, scratch, &span);
        size_t size = (size_t)(at - out->bytes);
        if (i > first && size + 1 - start > max_bytes) break;
        out->size = size;
    }
    weir_buffer_byte(out, ']');
    return i;
}
