/* A DiscoveryRequest: any bytes are read or refused, and what is read lies in them. A version that reads is the one
 * that is written. */
#include "collector/dialects/envoy.h"
#include "collector/dialects/xds.h"

#include <stdlib.h>
#include <string.h>

static void lies_in(struct weir_xds_text text, const uint8_t *data, size_t size) {
    const uint8_t *at = (const uint8_t *)text.bytes;
    if (text.size > 0 && (at < data || at + text.size > data + size)) abort();
}

static void versions(struct weir_xds_text text) {
    struct weir_envoy_told told;
    char again[WEIR_ENVOY_VERSION_BYTES];
    if (!weir_envoy_version_read(text.bytes, text.size, &told)) return;
    weir_envoy_version(&told, again);
    if (strlen(again) != text.size || memcmp(again, text.bytes, text.size) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_xds_request request;
    if (weir_xds_read(data, size, &request, NULL) != WEIR_OK) return 0;
    const struct weir_xds_text texts[] = {request.version, request.node,  request.cluster,
                                          request.type,    request.nonce, request.reason};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        lies_in(texts[i], data, size);
    if (request.name_count > WEIR_XDS_NAMES_MAX) abort();
    for (uint32_t i = 0; i < request.name_count; i++)
        lies_in(request.names[i], data, size);
    versions(request.version);
    return 0;
}
