/* xds.h - Envoy's discovery protocol, state of the world: the requests, read in place, and the responses, written.
 * Source: envoyproxy/data-plane-api envoy/service/discovery/v3/discovery.proto, envoy/config/core/v3/base.proto (Node),
 * google/rpc/status.proto; docs "xDS REST and gRPC protocol".
 *
 *   DiscoveryRequest   1 version_info · 2 node{1 id, 2 cluster, ...} · 3 resource_names · 4 type_url · 5 response_nonce
 *                      · 6 error_detail{1 code, 2 message}
 *   DiscoveryResponse  1 version_info · 2 resources: Any{1 type_url, 2 value} · 4 type_url · 5 nonce
 *                      · 6 control_plane{1 identifier}
 *
 * An Envoy says with each request all that it is, 61 KB: what is not named here is stepped over. */
#ifndef WEIR_DIALECTS_XDS_H
#define WEIR_DIALECTS_XDS_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_XDS_NAMES_MAX = 8,       /* of resources; an Envoy has one for each of its RTDS layers */
    WEIR_XDS_TEXT_BYTES_MAX = 256 /* of each text but the reason of a refusal, which may be as long as it likes */
};

/* In the request's own bytes. size 0: not there, or empty. */
struct weir_xds_text {
    const char *bytes;
    size_t size;
};

struct weir_xds_request {
    struct weir_xds_text version; /* that was taken last; empty: none yet */
    struct weir_xds_text node, cluster;
    struct weir_xds_text type;
    struct weir_xds_text nonce; /* of the response that this answers; empty: of none */
    struct weir_xds_text names[WEIR_XDS_NAMES_MAX];
    uint32_t name_count;
    bool refuses; /* that response was not taken, for this reason */
    struct weir_xds_text reason;
};

/* WEIR_INVALID: broken, or a text that is no UTF-8 or has a NUL in it. WEIR_FULL: more names, or longer texts, than
 * anybody needs. */
enum weir_status weir_xds_read(const uint8_t *bytes, size_t size, struct weir_xds_request *request,
                               struct weir_error *err);
bool weir_xds_text_is(struct weir_xds_text text, const char *other);

struct weir_xds_response {
    const char *version;
    const char *type; /* of each resource */
    const char *nonce;
};
/* Appends the response's fields around its resources, which the caller adds one by one, in any order. */
void weir_xds_put_response(struct weir_buffer *out, const struct weir_xds_response *response);
void weir_xds_put_resource(struct weir_buffer *out, const char *type, const uint8_t *value, size_t size);
#endif
