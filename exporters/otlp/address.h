/* address.h - where OTLP is sent: grpc://host:port, grpcs://host:port (TLS), http(s)://host:port/path. Pure. */
#ifndef WEIR_EXPORTERS_OTLP_ADDRESS_H
#define WEIR_EXPORTERS_OTLP_ADDRESS_H
#include "collector/config/config.h"

struct weir_otlp_address {
    bool grpc, secure;
    char host[WEIR_TEXT_MAX], port[8]; /* of gRPC: 4317 when none is given */
    char authority[WEIR_TEXT_MAX + 16];
    char url[WEIR_TEXT_MAX];  /* of HTTP; without a path it is /v1/traces. May hold a password: never printed */
    char name[WEIR_TEXT_MAX]; /* the URL without user and query: in logs, as a label, and what traces are spread by */
};

/* From the text of the option: URLs with commas between. WEIR_INVALID: err->text says which one and why, and shows none
 * of it. */
enum weir_status weir_otlp_addresses(const char *text, struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX],
                                     uint32_t *count, struct weir_error *err);
#endif
