/* Zipkin's JSON, both formats. Sources: zipkin-api zipkin2-api.yaml and zipkin-api.yaml; what Zipkin's own readers take
 * (zipkin2.internal.V2SpanReader, V1JsonSpanReader): null is absent, unknown members are skipped, an address that does
 * not read is left out. */
#include "collector/decode/json.h"
#include "collector/decode/zipkin_v1.h"

#include <string.h>

struct reader {
    struct weir_zipkin_decoder *decoder;
    struct weir_json json;
    const char *field; /* where an error is; NULL: not in a member */
    struct zipkin_text trace_id;
    const char *bad_id; /* this span alone is passed over */
    bool has_trace_id, has_id, full;
};

/* Sizes are compared first, and in place: a span has a dozen members and each is asked for by name. */
#define IS(key, literal)                                                                                               \
    ((key).escaped ? weir_json_is(&(key), literal)                                                                     \
                   : (key).size == sizeof(literal) - 1 && memcmp((key).bytes, literal, sizeof(literal) - 1) == 0)

static bool no_room(struct reader *reader) {
    reader->full = true;
    return weir_json_fail(&reader->json, "no memory");
}

/* What two strings say. They share the plain text, which the next call takes again. */
static bool plain_pair(struct reader *reader, const struct weir_json_text *a, const struct weir_json_text *b,
                       struct zipkin_text *out_a, struct zipkin_text *out_b) {
    *out_a = (struct zipkin_text){a->bytes, a->size};
    *out_b = (struct zipkin_text){b->bytes, b->size};
    if (!a->escaped && !b->escaped) return true;
    uint8_t *room = zipkin_plain(reader->decoder, a->size + b->size);
    if (room == NULL) return no_room(reader);
    if (a->escaped) {
        out_a->bytes = room;
        out_a->size = weir_json_unescape(a, room);
        room += out_a->size;
    }
    if (b->escaped) {
        out_b->bytes = room;
        out_b->size = weir_json_unescape(b, room);
    }
    return true;
}

static bool plain_one(struct reader *reader, const struct weir_json_text *text, struct zipkin_text *out) {
    static const struct weir_json_text none;
    struct zipkin_text ignored;
    return plain_pair(reader, text, &none, out, &ignored);
}

static bool is_null(struct reader *reader) {
    return weir_json_peek(&reader->json) == WEIR_JSON_NULL && weir_json_null(&reader->json);
}

/* ---- values that both formats have ---- */

/* A string that is no id makes its own span bad; anything else than a string is no span at all. */
static bool read_id(struct reader *reader, unsigned digits, const char *bad, uint64_t *high, uint64_t *low) {
    struct weir_json_text text;
    if (!weir_json_string(&reader->json, &text)) return false;
    if (digits == 32) reader->trace_id = (struct zipkin_text){text.bytes, text.size};
    if (text.escaped || !zipkin_hex(text.bytes, text.size, digits, high, low)) reader->bad_id = bad;
    return true;
}

static bool read_trace_id(struct reader *reader, uint64_t *high, uint64_t *low) {
    reader->has_trace_id = true;
    return read_id(reader, 32, "traceId is not 1 to 32 hex digits", high, low);
}

static bool read_span_id(struct reader *reader, uint64_t *id) {
    uint64_t none;
    reader->has_id = true;
    return read_id(reader, 16, "id is not 1 to 16 hex digits", &none, id);
}

static bool read_parent_id(struct reader *reader, uint64_t *id) {
    uint64_t none;
    return is_null(reader) || read_id(reader, 16, "parentId is not 1 to 16 hex digits", &none, id);
}

/* What is wrong with the ids of a span that was read; NULL: nothing. */
static const char *bad_id(const struct reader *reader) {
    if (!reader->has_trace_id) return "traceId is missing";
    return !reader->has_id ? "id is missing" : reader->bad_id;
}

/* Below zero is unknown, as in Zipkin (Span.Builder.timestamp, .duration). */
static bool read_micros(struct reader *reader, uint64_t *micros) {
    const uint8_t *start = reader->json.at;
    int64_t value;
    if (is_null(reader)) return true;
    if (!weir_json_i64(&reader->json, &value)) return false;
    *micros = value > 0 ? (uint64_t)value : 0;
    if (*micros <= ZIPKIN_MICROS_MAX) return true;
    reader->json.at = start;
    return weir_json_fail(&reader->json, "is out of range");
}

static bool read_flag(struct reader *reader, bool *flag) {
    return is_null(reader) || weir_json_bool(&reader->json, flag);
}

/* As it stands between the quotes: zipkin_put() or v1's keep_endpoint() unescapes it. */
static bool read_service(struct reader *reader, struct zipkin_endpoint *endpoint) {
    struct weir_json_text text;
    if (!weir_json_string(&reader->json, &text)) return false;
    endpoint->service = (struct zipkin_text){text.bytes, text.size};
    endpoint->escaped = text.escaped;
    return true;
}

static bool read_address(struct reader *reader, struct zipkin_endpoint *endpoint) {
    struct weir_json_text text;
    if (is_null(reader)) return true;
    if (!weir_json_string(&reader->json, &text)) return false;
    zipkin_address(endpoint, text.bytes, text.size);
    return true;
}

static bool read_endpoint(struct reader *reader, struct zipkin_endpoint *endpoint) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    uint64_t port;
    if (is_null(reader)) return true;
    if (!weir_json_object(json)) return false;
    while (weir_json_key(json, &key)) {
        if (IS(key, "serviceName")) {
            if (!is_null(reader) && !read_service(reader, endpoint)) return false;
        } else if (IS(key, "ipv4") || IS(key, "ipv6")) {
            if (!read_address(reader, endpoint)) return false;
        } else if (IS(key, "port")) {
            if (is_null(reader)) continue;
            if (!weir_json_u64(json, &port)) return false;
            if (port > UINT16_MAX) return weir_json_fail(json, "port is above 65535");
            endpoint->port = (uint16_t)port;
        } else if (!weir_json_skip(json)) {
            return false;
        }
    }
    return json->why == NULL;
}

/* ---- v2 ---- */

struct v2 {
    struct weir_span_writer writer;
    struct zipkin_head head;
};

static bool read_kind(struct reader *reader, enum weir_kind *kind) {
    static const struct {
        const char *name;
        enum weir_kind kind;
    } kinds[] = {{"CLIENT", WEIR_KIND_CLIENT},
                 {"SERVER", WEIR_KIND_SERVER},
                 {"PRODUCER", WEIR_KIND_PRODUCER},
                 {"CONSUMER", WEIR_KIND_CONSUMER}};
    struct weir_json_text text;
    const uint8_t *start = reader->json.at;
    if (is_null(reader)) return true;
    if (!weir_json_string(&reader->json, &text)) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!weir_json_is(&text, kinds[i].name)) continue;
        *kind = kinds[i].kind;
        return true;
    }
    reader->json.at = start;
    return weir_json_fail(&reader->json, "is not CLIENT, SERVER, PRODUCER or CONSUMER");
}

static bool read_name(struct reader *reader, struct v2 *span) {
    struct weir_json_text text;
    struct zipkin_text name;
    if (is_null(reader)) return true;
    if (!weir_json_string(&reader->json, &text) || !plain_one(reader, &text, &name)) return false;
    weir_span_name(&span->writer, name.bytes, name.size);
    return true;
}

static bool read_tags(struct reader *reader, struct v2 *span) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key, text;
    struct zipkin_text plain_key, plain_text;
    if (is_null(reader)) return true;
    if (!weir_json_object(json)) return false;
    while (weir_json_key(json, &key)) {
        /* Zipkin wants strings; what is a number or a boolean is its own text. */
        enum weir_json_type type = weir_json_peek(json);
        if (type == WEIR_JSON_NUMBER) {
            if (!weir_json_number(json, &text)) return false;
        } else if (type == WEIR_JSON_TRUE || type == WEIR_JSON_FALSE) {
            bool value;
            text = (struct weir_json_text){.bytes = json->at, .size = type == WEIR_JSON_TRUE ? 4 : 5};
            if (!weir_json_bool(json, &value)) return false;
        } else if (type == WEIR_JSON_NULL) {
            if (!weir_json_null(json)) return false;
            continue;
        } else if (!weir_json_string(json, &text)) {
            return false;
        }
        if (!plain_pair(reader, &key, &text, &plain_key, &plain_text)) return false;
        zipkin_put_tag(&span->writer, &span->head, plain_key, plain_text);
    }
    return json->why == NULL;
}

static bool read_annotations(struct reader *reader, struct v2 *span) {
    struct weir_json *json = &reader->json;
    if (is_null(reader)) return true;
    if (!weir_json_array(json)) return false;
    while (weir_json_element(json)) {
        struct weir_json_text key, text = {0};
        struct zipkin_text plain;
        uint64_t timestamp_us = 0;
        bool has_value = false;
        if (!weir_json_object(json)) return false;
        while (weir_json_key(json, &key)) {
            if (IS(key, "timestamp")) {
                if (!read_micros(reader, &timestamp_us)) return false;
            } else if (IS(key, "value")) {
                if (is_null(reader)) continue;
                if (!weir_json_string(json, &text)) return false;
                has_value = true;
            } else if (!weir_json_skip(json)) {
                return false;
            }
        }
        if (json->why != NULL) return false;
        if (timestamp_us == 0 || !has_value) return weir_json_fail(json, "an annotation without timestamp or value");
        if (!plain_one(reader, &text, &plain)) return false;
        zipkin_put_annotation(&span->writer, timestamp_us, plain);
    }
    return json->why == NULL;
}

#define MEMBER(literal) (IS(key, literal) && (reader->field = (literal), true))
static bool read_v2_member(struct reader *reader, struct v2 *span, struct weir_json_text key) {
    struct zipkin_head *head = &span->head;
    if (MEMBER("traceId")) return read_trace_id(reader, &head->trace_hi, &head->trace_lo);
    if (MEMBER("id")) return read_span_id(reader, &head->id);
    if (MEMBER("parentId")) return read_parent_id(reader, &head->parent);
    if (MEMBER("kind")) return read_kind(reader, &head->kind);
    if (MEMBER("name")) return read_name(reader, span);
    if (MEMBER("timestamp")) return read_micros(reader, &head->timestamp_us);
    if (MEMBER("duration")) return read_micros(reader, &head->duration_us);
    if (MEMBER("localEndpoint")) return read_endpoint(reader, &head->local);
    if (MEMBER("remoteEndpoint")) return read_endpoint(reader, &head->remote);
    if (MEMBER("annotations")) return read_annotations(reader, span);
    if (MEMBER("tags")) return read_tags(reader, span);
    if (MEMBER("debug")) return read_flag(reader, &head->debug);
    if (MEMBER("shared")) return read_flag(reader, &head->shared);
    reader->field = NULL;
    return weir_json_skip(&reader->json);
}

static enum weir_status fail(const struct reader *reader, struct weir_error *err) {
    const struct weir_json *json = &reader->json;
    if (reader->full) return weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the request");
    size_t id = reader->trace_id.size < 32 ? reader->trace_id.size : 32;
    for (size_t i = 0; i < id; i++) { /* only what cannot spoil a log's line */
        if (reader->trace_id.bytes[i] < '0' || reader->trace_id.bytes[i] > 'z') id = i;
    }
    return weir_fail(err, WEIR_INVALID, 0, false, "spans[%u]%s%.*s%s%s%s: byte %zu: %s", reader->decoder->index,
                     id > 0 ? " (traceId " : "", (int)id, (const char *)reader->trace_id.bytes, id > 0 ? ")" : "",
                     reader->field != NULL ? "." : "", reader->field != NULL ? reader->field : "",
                     (size_t)(json->at - json->start), json->why);
}

static bool read_v2_span(struct reader *reader, struct v2 *span) {
    struct weir_json_text key;
    if (!weir_json_object(&reader->json)) return false;
    while (weir_json_key(&reader->json, &key)) {
        if (!read_v2_member(reader, span, key)) return false;
        reader->field = NULL;
    }
    return reader->json.why == NULL;
}

/* Every span of a list through `span`. */
static enum weir_status read_list(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                  enum weir_status (*span)(struct reader *reader, struct weir_error *err),
                                  struct weir_error *err) {
    struct reader reader = {.decoder = decoder, .json = weir_json_of(bytes, size)};
    struct weir_json *json = &reader.json;
    if (weir_json_array(json)) {
        for (; weir_json_element(json); decoder->index++) {
            reader.trace_id = (struct zipkin_text){0};
            reader.field = reader.bad_id = NULL;
            reader.has_trace_id = reader.has_id = false;
            enum weir_status status = span(&reader, err);
            if (status != WEIR_OK) return status;
        }
        if (json->why == NULL && weir_json_end(json)) return WEIR_OK;
    }
    return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", (size_t)(json->at - bytes), json->why);
}

static enum weir_status v2_span(struct reader *reader, struct weir_error *err) {
    struct v2 span;
    span.head = (struct zipkin_head){0};
    weir_span_begin(&span.writer, reader->decoder->batch);
    if (!read_v2_span(reader, &span)) return fail(reader, err);
    if (bad_id(reader) != NULL) return zipkin_skip(reader->decoder, &span.writer, bad_id(reader));
    return zipkin_put(reader->decoder, &span.writer, &span.head, err);
}

enum weir_status zipkin_decode_json_v2(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                       struct weir_error *err) {
    return read_list(decoder, bytes, size, v2_span, err);
}

/* ---- v1 ---- */

/* v1 is put together only when all of it is read, so its texts are kept: unescaped in place of the JSON would need the
 * body to be ours; they go one behind the other into the plain text, whose room is that of the whole span. */
struct v1_texts {
    uint8_t *at, *end;
};

static bool keep_text(struct reader *reader, struct v1_texts *texts, struct zipkin_text *out) {
    struct weir_json_text text;
    if (!weir_json_string(&reader->json, &text)) return false;
    *out = (struct zipkin_text){text.bytes, text.size};
    if (!text.escaped) return true;
    if ((size_t)(texts->end - texts->at) < text.size) return no_room(reader);
    out->bytes = texts->at;
    out->size = weir_json_unescape(&text, texts->at);
    texts->at += out->size;
    return true;
}

static bool keep_endpoint(struct reader *reader, struct v1_texts *texts, struct zipkin_endpoint *endpoint,
                          bool *has_endpoint) {
    if (is_null(reader)) return true;
    if (!read_endpoint(reader, endpoint)) return false;
    *has_endpoint = !zipkin_v1_endpoint_is_empty(endpoint);
    if (!endpoint->escaped) return true;
    if ((size_t)(texts->end - texts->at) < endpoint->service.size) return no_room(reader);
    const struct weir_json_text text = {.bytes = endpoint->service.bytes, .size = endpoint->service.size};
    endpoint->service = (struct zipkin_text){texts->at, weir_json_unescape(&text, texts->at)};
    endpoint->escaped = false;
    texts->at += endpoint->service.size;
    return true;
}

static bool read_v1_annotation(struct reader *reader, struct v1_texts *texts, struct zipkin_v1 *span) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    struct zipkin_v1_annotation *item = zipkin_v1_annotate(span);
    if (item == NULL) return weir_json_fail(json, "more annotations than a span may have");
    if (!weir_json_object(json)) return false;
    while (weir_json_key(json, &key)) {
        bool ok;
        if (IS(key, "timestamp"))
            ok = read_micros(reader, &item->timestamp_us);
        else if (IS(key, "value"))
            ok = is_null(reader) || keep_text(reader, texts, &item->value);
        else if (IS(key, "endpoint"))
            ok = keep_endpoint(reader, texts, &item->endpoint, &item->has_endpoint);
        else
            ok = weir_json_skip(json);
        if (!ok) return false;
    }
    if (json->why != NULL) return false;
    if (item->timestamp_us == 0 || item->value.bytes == NULL)
        return weir_json_fail(json, "an annotation without timestamp or value");
    return true;
}

/* value: of any type; `type` says which where JSON does not (I16, I32, I64, DOUBLE, BYTES are strings then). */
static bool read_v1_value(struct reader *reader, struct v1_texts *texts, struct zipkin_v1_binary *item) {
    struct weir_json *json = &reader->json;
    struct weir_json_text text;
    bool flag = false;
    switch (weir_json_peek(json)) {
    case WEIR_JSON_TRUE:
    case WEIR_JSON_FALSE:
        item->type = ZIPKIN_V1_BOOL;
        if (!weir_json_bool(json, &flag)) return false;
        item->number = flag;
        item->value.bytes = json->start;
        return true;
    case WEIR_JSON_NUMBER:
        if (!weir_json_number(json, &text)) return false;
        item->value = (struct zipkin_text){text.bytes, text.size};
        return true;
    case WEIR_JSON_NULL: return weir_json_null(json);
    default: return keep_text(reader, texts, &item->value);
    }
}

static bool read_v1_binary(struct reader *reader, struct v1_texts *texts, struct zipkin_v1 *span) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    struct zipkin_v1_binary *item = zipkin_v1_add_binary(span);
    if (item == NULL) return weir_json_fail(json, "more binary annotations than a span may have");
    if (!weir_json_object(json)) return false;
    while (weir_json_key(json, &key)) {
        bool ok;
        if (IS(key, "key"))
            ok = keep_text(reader, texts, &item->key);
        else if (IS(key, "value"))
            ok = read_v1_value(reader, texts, item);
        else if (IS(key, "endpoint"))
            ok = keep_endpoint(reader, texts, &item->endpoint, &item->has_endpoint);
        else
            ok = weir_json_skip(json);
        if (!ok) return false;
    }
    if (json->why != NULL) return false;
    if (item->key.bytes == NULL) return weir_json_fail(json, "a binary annotation without a key");
    if (item->value.bytes == NULL) span->binary_count--;
    return true;
}

static bool read_v1_items(struct reader *reader, struct v1_texts *texts, struct zipkin_v1 *span,
                          bool (*read)(struct reader *, struct v1_texts *, struct zipkin_v1 *)) {
    if (is_null(reader)) return true;
    if (!weir_json_array(&reader->json)) return false;
    while (weir_json_element(&reader->json)) {
        if (!read(reader, texts, span)) return false;
    }
    return reader->json.why == NULL;
}

static bool read_v1_member(struct reader *reader, struct v1_texts *texts, struct zipkin_v1 *span,
                           struct weir_json_text key) {
    if (MEMBER("traceId")) return read_trace_id(reader, &span->trace_hi, &span->trace_lo);
    if (MEMBER("id")) return read_span_id(reader, &span->id);
    if (MEMBER("parentId")) return read_parent_id(reader, &span->parent);
    if (MEMBER("name")) return is_null(reader) || keep_text(reader, texts, &span->name);
    if (MEMBER("timestamp")) return read_micros(reader, &span->timestamp_us);
    if (MEMBER("duration")) return read_micros(reader, &span->duration_us);
    if (MEMBER("debug")) return read_flag(reader, &span->debug);
    if (MEMBER("annotations")) return read_v1_items(reader, texts, span, read_v1_annotation);
    if (MEMBER("binaryAnnotations")) return read_v1_items(reader, texts, span, read_v1_binary);
    reader->field = NULL;
    return weir_json_skip(&reader->json);
}
#undef MEMBER

static enum weir_status v1_span(struct reader *reader, struct weir_error *err) {
    struct weir_json *json = &reader->json;
    struct weir_json ahead = *json;
    struct weir_json_text key;
    struct zipkin_v1 *span = reader->decoder->v1;
    struct v1_texts texts = {0};
    if (weir_json_peek(&ahead) == WEIR_JSON_OBJECT && weir_json_skip(&ahead)) {
        size_t size = (size_t)(ahead.at - json->at);
        if (memchr(json->at, '\\', size) != NULL) {
            texts.at = zipkin_plain(reader->decoder, size);
            if (texts.at == NULL) {
                reader->full = true;
                return fail(reader, err);
            }
            texts.end = texts.at + size;
        }
    }
    zipkin_v1_clear(span);
    if (!weir_json_object(json)) return fail(reader, err);
    while (weir_json_key(json, &key)) {
        if (!read_v1_member(reader, &texts, span, key)) return fail(reader, err);
        reader->field = NULL;
    }
    if (json->why != NULL) return fail(reader, err);
    if (bad_id(reader) != NULL) {
        struct weir_span_writer none;
        weir_span_begin(&none, reader->decoder->batch);
        return zipkin_skip(reader->decoder, &none, bad_id(reader));
    }
    return zipkin_v1_convert(reader->decoder, span, err);
}

enum weir_status zipkin_decode_json_v1(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                       struct weir_error *err) {
    return read_list(decoder, bytes, size, v1_span, err);
}
