#include "collector/emit/render.h"

#include "collector/core/hex.h"
#include "collector/core/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_DIGITS = 8, UUID_SIZE = 36, BODY_MAX = 8192, AGENT_MIN = 8, AGENT_MAX = 80 };
enum { KIND_SERVER = 2, KIND_CLIENT = 3 };
/* Span.flags: W3C sampled and random, "is_remote is known", and for a callee "the parent is remote". */
enum { FLAGS = 0x103, FLAGS_REMOTE = 0x200 };

static const char agent[] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0";

/* One Span message while it is written. */
struct body {
    uint8_t bytes[BODY_MAX];
    uint8_t *at;
};

static void put_attribute(struct body *body, const char *key, const char *value, size_t value_size) {
    size_t key_size = strlen(key);
    size_t string_size = weir_wire_bytes_size(value_size);
    size_t pair_size = weir_wire_bytes_size(key_size) + weir_wire_bytes_size(string_size);
    body->at = weir_wire_put_key(body->at, 9, WEIR_WIRE_BYTES);
    body->at = weir_wire_put_varint(body->at, pair_size);
    body->at = weir_wire_put_bytes(body->at, 1, key, key_size);
    body->at = weir_wire_put_key(body->at, 2, WEIR_WIRE_BYTES);
    body->at = weir_wire_put_varint(body->at, string_size);
    body->at = weir_wire_put_bytes(body->at, 1, value, value_size);
}

static uint16_t offset_of(const struct body *body) {
    return (uint16_t)(body->at - body->bytes);
}

/* The path with room for its id, and where in the text that room begins (SIZE_MAX: nowhere). */
static size_t spread(const struct weir_emit_operation *operation, char *out, size_t out_size) {
    const char *mark = strstr(operation->path, "{id}");
    if (mark == NULL) {
        snprintf(out, out_size, "%s", operation->path);
        return SIZE_MAX;
    }
    size_t before = (size_t)(mark - operation->path);
    int room = operation->id == WEIR_EMIT_NUMBER ? NUMBER_DIGITS : UUID_SIZE;
    snprintf(out, out_size, "%.*s%.*s%s", (int)before, operation->path, room, "000000000000000000000000000000000000",
             mark + 4);
    return before;
}

/* What an attribute is called and says, in the order in which --attributes takes them. */
static void put_attributes(struct body *body, struct weir_emit_template *shape, const struct weir_emit_render *render,
                           const struct weir_emit_operation *operation, const char *path, size_t id_at,
                           uint32_t attributes, bool error, size_t agent_size) {
    const char *service = render->mesh->names[operation->service];
    char text[192];
    int size;
    for (uint32_t i = 0; i < attributes; i++) {
        switch (i) {
        case 0: put_attribute(body, "http.method", operation->method, strlen(operation->method)); break;
        case 1:
            size = snprintf(text, sizeof text, "http://%s", operation->client ? operation->peer : service);
            if (id_at != SIZE_MAX) shape->url_id = (uint16_t)((size_t)size + id_at);
            size += snprintf(text + size, sizeof text - (size_t)size, "%s", path);
            put_attribute(body, "http.url", text, (size_t)size);
            if (id_at != SIZE_MAX) shape->url_id = (uint16_t)(offset_of(body) - (size_t)size + shape->url_id);
            break;
        case 2: put_attribute(body, "http.status_code", error ? "503" : "200", 3); break;
        case 3:
            put_attribute(body, "guid:x-request-id", "00000000-0000-0000-0000-000000000000", UUID_SIZE);
            shape->guid = (uint16_t)(offset_of(body) - UUID_SIZE);
            break;
        case 4: put_attribute(body, "component", "proxy", 5); break;
        case 5:
            if (operation->client) {
                put_attribute(body, "upstream_cluster.name", operation->peer, strlen(operation->peer));
            } else {
                size = snprintf(text, sizeof text, "sidecar-%s-1", service);
                put_attribute(body, "node_id", text, (size_t)size);
            }
            break;
        case 6: put_attribute(body, "response_flags", error ? "UH" : "-", error ? 2 : 1); break;
        case 7: put_attribute(body, "user_agent", agent, agent_size); break;
        case 8: put_attribute(body, "http.protocol", "HTTP/1.1", 8); break;
        case 9: put_attribute(body, "peer.address", "127.0.0.1", 9); break;
        case 10: put_attribute(body, "request_size", "0", 1); break;
        case 11: put_attribute(body, "response_size", "335", 3); break;
        default: {
            char key[24];
            snprintf(key, sizeof key, "mesh.tag-%u", (unsigned)i);
            size = snprintf(text, sizeof text, "value of tag %u", (unsigned)i);
            put_attribute(body, key, text, (size_t)size);
        }
        }
    }
}

static void write_body(struct body *body, struct weir_emit_template *shape, const struct weir_emit_render *render,
                       const struct weir_emit_operation *operation, const char *trace_state, uint32_t attributes,
                       bool error, size_t agent_size) {
    static const uint8_t zero[16];
    char path[128], name[160];
    size_t id_at = spread(operation, path, sizeof path);
    int name_size = snprintf(name, sizeof name, "%s %s", operation->method, path);
    body->at = body->bytes;
    body->at = weir_wire_put_bytes(body->at, 1, zero, 16);
    body->at = weir_wire_put_bytes(body->at, 2, zero, 8);
    if (trace_state[0] != 0) body->at = weir_wire_put_bytes(body->at, 3, trace_state, strlen(trace_state));
    if (!operation->root) {
        body->at = weir_wire_put_bytes(body->at, 4, zero, 8);
        shape->parent = (uint16_t)(offset_of(body) - 8);
    }
    body->at = weir_wire_put_bytes(body->at, 5, name, (size_t)name_size);
    if (id_at != SIZE_MAX)
        shape->name_id = (uint16_t)(offset_of(body) - (size_t)name_size + strlen(operation->method) + 1 + id_at);
    body->at = weir_wire_put_uint(body->at, 6, operation->client ? KIND_CLIENT : KIND_SERVER);
    body->at = weir_wire_put_fixed64(body->at, 7, 0);
    shape->start = (uint16_t)(offset_of(body) - 8); /* the end stands 9 bytes behind it */
    body->at = weir_wire_put_fixed64(body->at, 8, 0);
    put_attributes(body, shape, render, operation, path, id_at, attributes, error, agent_size);
    if (error) {
        static const uint8_t failed[] = {0x18, 2}; /* Status.code = ERROR */
        body->at = weir_wire_put_bytes(body->at, 15, failed, sizeof failed);
    }
    uint32_t flags = FLAGS | (!operation->client && !operation->root ? FLAGS_REMOTE : 0);
    body->at = weir_wire_put_key(body->at, 16, WEIR_WIRE_FIXED32);
    memcpy(body->at, &flags, 4);
    body->at += 4;
}

static void add_template(struct weir_emit_render *render, uint32_t index, const char *trace_state,
                         uint32_t attributes) {
    const struct weir_emit_operation *operation = &render->mesh->operations[index];
    struct weir_emit_template *shape = &render->templates[index];
    struct body body;
    shape->id = operation->id;
    /* The user agent fills up to sizes around the average, so that spans are not all alike. */
    write_body(&body, shape, render, operation, trace_state, attributes, false, 0);
    size_t bare = offset_of(&body) - (trace_state[0] != 0 ? 2 + strlen(trace_state) : 0);
    size_t wanted = WEIR_EMIT_SPAN_BYTES - 16 + index * 7 % 33, agent_size = wanted > bare ? wanted - bare : 0;
    agent_size = agent_size < AGENT_MIN ? AGENT_MIN : agent_size > AGENT_MAX ? AGENT_MAX : agent_size;
    for (int error = 0; error < 2; error++) {
        write_body(&body, shape, render, operation, trace_state, attributes, error == 1, agent_size);
        size_t size = offset_of(&body);
        uint8_t prefix[16];
        uint8_t *end = weir_wire_put_varint(weir_wire_put_key(prefix, 2, WEIR_WIRE_BYTES), size);
        shape->offset[error] = (uint32_t)render->bytes.size;
        shape->prefix[error] = (uint8_t)(end - prefix);
        weir_buffer_put(&render->bytes, prefix, (size_t)(end - prefix));
        weir_buffer_put(&render->bytes, body.bytes, size);
        shape->size[error] = (uint32_t)render->bytes.size - shape->offset[error];
    }
}

/* KeyValue message of two strings, as field 1 of a Resource. */
static uint8_t *put_pair(uint8_t *out, const char *key, const char *value) {
    size_t key_size = strlen(key), value_size = strlen(value); /* both far under 100: one byte of length each */
    out = weir_wire_put_key(out, 1, WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, 2 + key_size + 4 + value_size);
    out = weir_wire_put_bytes(out, 1, key, key_size);
    out = weir_wire_put_key(out, 2, WEIR_WIRE_BYTES);
    out = weir_wire_put_varint(out, 2 + value_size);
    return weir_wire_put_bytes(out, 1, value, value_size);
}

static void add_resource(struct weir_emit_render *render, uint32_t service) {
    uint8_t pairs[256], message[300];
    uint8_t *end = put_pair(pairs, "service.name", render->mesh->names[service]);
    end = put_pair(end, "telemetry.sdk.language", "cpp");
    end = put_pair(end, "telemetry.sdk.name", "envoy");
    uint8_t *message_end = weir_wire_put_bytes(message, 1, pairs, (size_t)(end - pairs));
    render->resource_at[service] = (uint32_t)render->resources.size;
    weir_buffer_put(&render->resources, message, (size_t)(message_end - message));
}

enum weir_status weir_emit_render_init(struct weir_emit_render *render, const struct weir_emit_mesh *mesh,
                                       const struct weir_emit_options *options, const char *trace_state,
                                       struct weir_error *err) {
    static const uint8_t scope[] = "\x0a\x07\x0a\x05"
                                   "envoy";
    memset(render, 0, sizeof *render);
    render->mesh = mesh;
    size_t room = options->batch + options->spans_per_trace;
    render->templates = calloc(mesh->operation_count, sizeof *render->templates);
    render->resource_at = calloc(mesh->services + 1, sizeof *render->resource_at);
    render->head = malloc(mesh->services * sizeof *render->head);
    render->tail = calloc(mesh->services, sizeof *render->tail);
    render->next = calloc(room, sizeof *render->next);
    render->order = calloc(mesh->services, sizeof *render->order);
    if (render->templates == NULL || render->resource_at == NULL || render->head == NULL || render->tail == NULL ||
        render->next == NULL || render->order == NULL)
        goto fail;
    memset(render->head, 0xff, mesh->services * sizeof *render->head);
    for (uint32_t i = 0; i < mesh->operation_count; i++)
        add_template(render, i, trace_state, (uint32_t)options->attributes);
    for (uint32_t s = 0; s < mesh->services; s++)
        add_resource(render, s);
    render->resource_at[mesh->services] = (uint32_t)render->resources.size;
    weir_buffer_put(&render->scope, scope, sizeof scope - 1);
    if (!render->bytes.failed && !render->resources.failed && !render->scope.failed) return WEIR_OK;
fail:
    weir_emit_render_free(render);
    return weir_fail(err, WEIR_FULL, 0, false, "no memory for the spans of %u operations",
                     (unsigned)mesh->operation_count);
}

void weir_emit_render_free(struct weir_emit_render *render) {
    weir_buffer_free(&render->bytes);
    weir_buffer_free(&render->resources);
    weir_buffer_free(&render->scope);
    free(render->templates);
    free(render->resource_at);
    free(render->head);
    free(render->tail);
    free(render->next);
    free(render->order);
    memset(render, 0, sizeof *render);
}

/* A request id that all spans of a trace share, in the form of a UUID; with Envoy's mark that the trace is sampled (9;
 * a would say that it was forced: source/extensions/request_id/uuid/config.cc). */
static void put_uuid(const uint8_t trace_id[16], uint8_t *out) {
    char hex[32];
    weir_hex_encode(trace_id, 16, hex);
    memcpy(out, hex + 24, 8);
    memcpy(out + 9, hex + 20, 4);
    memcpy(out + 14, hex + 16, 4);
    out[14] = '9';
    memcpy(out + 19, hex + 12, 4);
    memcpy(out + 24, hex, 12);
    out[14] = '9';
}

/* Caller and callee name the same thing: the number is made from the CLIENT span's id on both sides. */
static void put_id(const struct weir_emit_span *span, bool client, enum weir_emit_id id, uint8_t *out) {
    if (id == WEIR_EMIT_UUID) {
        out[8] = out[13] = out[18] = out[23] = '-';
        put_uuid(span->trace_id, out);
        return;
    }
    uint64_t number = client || span->parent_id == 0 ? span->span_id : span->parent_id;
    for (int i = NUMBER_DIGITS - 1; i >= 0; i--, number /= 10)
        out[i] = (uint8_t)('0' + number % 10);
}

static uint8_t *put_span(const struct weir_emit_render *render, const struct weir_emit_span *span, uint8_t *out) {
    const struct weir_emit_template *shape = &render->templates[span->operation];
    uint32_t size = shape->size[span->error];
    memcpy(out, render->bytes.bytes + shape->offset[span->error], size);
    uint8_t *body = out + shape->prefix[span->error];
    memcpy(body + 2, span->trace_id, 16);
    memcpy(body + 20, &span->span_id, 8);
    if (shape->parent != 0) memcpy(body + shape->parent, &span->parent_id, 8);
    memcpy(body + shape->start, &span->start_ns, 8);
    memcpy(body + shape->start + 9, &span->end_ns, 8);
    if (shape->guid != 0) put_uuid(span->trace_id, body + shape->guid);
    if (shape->id != WEIR_EMIT_PLAIN) {
        bool client = render->mesh->operations[span->operation].client;
        put_id(span, client, shape->id, body + shape->name_id);
        if (shape->url_id != 0) put_id(span, client, shape->id, body + shape->url_id);
    }
    return out + size;
}

/* One ResourceSpans: the spans of the list that begins at `first`. */
static void put_service(const struct weir_emit_render *render, uint32_t service, const struct weir_emit_span *spans,
                        uint32_t first, struct weir_buffer *out) {
    size_t spans_size = 0;
    for (uint32_t i = first; i != WEIR_EMIT_NONE; i = render->next[i])
        spans_size += render->templates[spans[i].operation].size[spans[i].error];
    uint32_t resource_at = render->resource_at[service], resource_size = render->resource_at[service + 1] - resource_at;
    size_t scope_spans_size = render->scope.size + spans_size;
    size_t size = resource_size + weir_wire_bytes_size(scope_spans_size);
    if (!weir_buffer_room(out, 16 + size)) return;
    uint8_t *at = out->bytes + out->size;
    at = weir_wire_put_varint(weir_wire_put_key(at, 1, WEIR_WIRE_BYTES), size);
    memcpy(at, render->resources.bytes + resource_at, resource_size);
    at = weir_wire_put_varint(weir_wire_put_key(at + resource_size, 2, WEIR_WIRE_BYTES), scope_spans_size);
    memcpy(at, render->scope.bytes, render->scope.size);
    at += render->scope.size;
    for (uint32_t i = first; i != WEIR_EMIT_NONE; i = render->next[i])
        at = put_span(render, &spans[i], at);
    out->size = (size_t)(at - out->bytes);
}

void weir_emit_render_request(struct weir_emit_render *render, const struct weir_emit_span *spans, uint32_t count,
                              struct weir_buffer *out) {
    uint32_t services = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t service = render->mesh->operations[spans[i].operation].service;
        render->next[i] = WEIR_EMIT_NONE;
        if (render->head[service] == WEIR_EMIT_NONE) {
            render->head[service] = i;
            render->order[services++] = service;
        } else {
            render->next[render->tail[service]] = i;
        }
        render->tail[service] = i;
    }
    for (uint32_t i = 0; i < services; i++) {
        put_service(render, render->order[i], spans, render->head[render->order[i]], out);
        render->head[render->order[i]] = WEIR_EMIT_NONE;
    }
}
