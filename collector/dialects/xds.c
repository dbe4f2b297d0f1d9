#include "collector/dialects/xds.h"
#include "collector/core/utf8.h"
#include "collector/core/wire.h"

#include <string.h>

enum request_field { VERSION = 1, NODE = 2, NAMES = 3, TYPE = 4, NONCE = 5, ERROR_DETAIL = 6 };
enum response_field { R_VERSION = 1, R_RESOURCES = 2, R_TYPE = 4, R_NONCE = 5, R_CONTROL_PLANE = 6 };

/* ---- requests ---- */

static enum weir_status read_text(const struct weir_wire_field *field, const char *what, size_t most,
                                  struct weir_xds_text *out, struct weir_error *err) {
    if (field->type != WEIR_WIRE_BYTES)
        return weir_fail(err, WEIR_INVALID, 0, false, "DiscoveryRequest: %s is not a string", what);
    if (field->value > most)
        return weir_fail(err, WEIR_FULL, 0, false, "DiscoveryRequest: %s has %llu bytes, %zu are read", what,
                         (unsigned long long)field->value, most);
    size_t size = (size_t)field->value;
    if (!weir_utf8_valid(field->bytes, size) || (size > 0 && memchr(field->bytes, 0, size) != NULL))
        return weir_fail(err, WEIR_INVALID, 0, false, "DiscoveryRequest: %s is not text", what);
    *out = (struct weir_xds_text){(const char *)field->bytes, size};
    return WEIR_OK;
}

static enum weir_status broken(const struct weir_wire *wire, const char *what, struct weir_error *err) {
    return weir_fail(err, WEIR_INVALID, 0, false, "%s: %s", what, wire->why);
}

/* A message that is there twice is merged (protobuf.dev, "Encoding", Last One Wins): what a later one does not say
 * stays. */
static enum weir_status read_node(const struct weir_wire_field *field, struct weir_xds_request *request,
                                  struct weir_error *err) {
    struct weir_wire wire = weir_wire_of(field->bytes, (size_t)field->value);
    struct weir_wire_field inner;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && weir_wire_next(&wire, &inner)) {
        if (inner.number == 1) {
            status = read_text(&inner, "node.id", WEIR_XDS_TEXT_BYTES_MAX, &request->node, err);
        } else if (inner.number == 2) {
            status = read_text(&inner, "node.cluster", WEIR_XDS_TEXT_BYTES_MAX, &request->cluster, err);
        }
    }
    return status == WEIR_OK && wire.why != NULL ? broken(&wire, "DiscoveryRequest.node", err) : status;
}

static enum weir_status read_error(const struct weir_wire_field *field, struct weir_xds_request *request,
                                   struct weir_error *err) {
    struct weir_wire wire = weir_wire_of(field->bytes, (size_t)field->value);
    struct weir_wire_field inner;
    enum weir_status status = WEIR_OK;
    request->refuses = true;
    while (status == WEIR_OK && weir_wire_next(&wire, &inner)) {
        if (inner.number == 2) status = read_text(&inner, "error_detail.message", SIZE_MAX, &request->reason, err);
    }
    return status == WEIR_OK && wire.why != NULL ? broken(&wire, "DiscoveryRequest.error_detail", err) : status;
}

static enum weir_status read_name(const struct weir_wire_field *field, struct weir_xds_request *request,
                                  struct weir_error *err) {
    if (request->name_count == WEIR_XDS_NAMES_MAX)
        return weir_fail(err, WEIR_FULL, 0, false, "DiscoveryRequest: more than %d resource_names", WEIR_XDS_NAMES_MAX);
    struct weir_xds_text *name = &request->names[request->name_count];
    enum weir_status status = read_text(field, "resource_names", WEIR_XDS_TEXT_BYTES_MAX, name, err);
    if (status == WEIR_OK) request->name_count++;
    return status;
}

static enum weir_status read_field(const struct weir_wire_field *field, struct weir_xds_request *request,
                                   struct weir_error *err) {
    switch (field->number) {
    case VERSION: return read_text(field, "version_info", WEIR_XDS_TEXT_BYTES_MAX, &request->version, err);
    case NAMES: return read_name(field, request, err);
    case TYPE: return read_text(field, "type_url", WEIR_XDS_TEXT_BYTES_MAX, &request->type, err);
    case NONCE: return read_text(field, "response_nonce", WEIR_XDS_TEXT_BYTES_MAX, &request->nonce, err);
    case NODE:
    case ERROR_DETAIL: break;
    default: return WEIR_OK;
    }
    if (field->type != WEIR_WIRE_BYTES)
        return weir_fail(err, WEIR_INVALID, 0, false, "DiscoveryRequest: field %u is not a message", field->number);
    return field->number == NODE ? read_node(field, request, err) : read_error(field, request, err);
}

enum weir_status weir_xds_read(const uint8_t *bytes, size_t size, struct weir_xds_request *request,
                               struct weir_error *err) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    enum weir_status status = WEIR_OK;
    *request = (struct weir_xds_request){0};
    while (status == WEIR_OK && weir_wire_next(&wire, &field))
        status = read_field(&field, request, err);
    return status == WEIR_OK && wire.why != NULL ? broken(&wire, "DiscoveryRequest", err) : status;
}

bool weir_xds_text_is(struct weir_xds_text text, const char *other) {
    return text.size == strlen(other) && (text.size == 0 || memcmp(text.bytes, other, text.size) == 0);
}

/* ---- responses ---- */

static void put_head(struct weir_buffer *out, uint32_t number, size_t size) {
    uint8_t head[20];
    uint8_t *at = weir_wire_put_key(head, number, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, size);
    weir_buffer_put(out, head, (size_t)(at - head));
}

static void put_text(struct weir_buffer *out, uint32_t number, const char *text) {
    size_t size = strlen(text);
    put_head(out, number, size);
    weir_buffer_put(out, text, size);
}

void weir_xds_put_response(struct weir_buffer *out, const struct weir_xds_response *response) {
    static const char who[] = "weir";
    put_text(out, R_VERSION, response->version);
    put_text(out, R_TYPE, response->type);
    put_text(out, R_NONCE, response->nonce);
    put_head(out, R_CONTROL_PLANE, weir_wire_bytes_size(sizeof who - 1));
    put_text(out, 1, who);
}

void weir_xds_put_resource(struct weir_buffer *out, const char *type, const uint8_t *value, size_t size) {
    put_head(out, R_RESOURCES, weir_wire_bytes_size(strlen(type)) + weir_wire_bytes_size(size));
    put_text(out, 1, type);
    put_head(out, 2, size);
    weir_buffer_put(out, value, size);
}
