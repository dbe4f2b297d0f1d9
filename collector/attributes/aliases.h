/* aliases.h - the attributes that say something to Weir, by all the names that they go by: the one table that decides
 * service, peer, status, error, weight and what is forced, for every dialect. Sources: OpenTelemetry semantic
 * conventions 1.27 and their older forms; Envoy source/common/tracing/http_tracer_impl.cc; linkerd/linkerd
 * TracingFilter.scala and ClassifiedTracing.scala; linkerd2-proxy; nginx-otel src/http_module.cpp; Finagle
 * ZipkinTracer; opentelemetry-go-contrib samplers/jaegerremote; docs/attributes.md. */
#ifndef WEIR_ATTRIBUTES_ALIASES_H
#define WEIR_ATTRIBUTES_ALIASES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum weir_role {
    WEIR_ROLE_NONE,
    WEIR_ROLE_PEER,          /* who was called; the highest rank counts */
    WEIR_ROLE_HTTP_STATUS,   /* a number, or its text */
    WEIR_ROLE_GRPC_STATUS,   /* likewise */
    WEIR_ROLE_ERROR,         /* Zipkin's tag: any value but false */
    WEIR_ROLE_SUCCESS,       /* Linkerd 1: 1.0, or 0.0 */
    WEIR_ROLE_REQUEST_ID,    /* Envoy's, whose 15th character is its decision */
    WEIR_ROLE_PRIORITY,      /* above 0: forced */
    WEIR_ROLE_PRIOR,         /* the weight so far */
    WEIR_ROLE_SAMPLING_RATE, /* 1 / the weight */
    WEIR_ROLE_SAMPLER_TYPE,  /* of Jaeger's clients, at the root: what decided the trace, "probabilistic" or another */
    WEIR_ROLE_SAMPLER_PARAM, /* and with what: its rate */
    WEIR_ROLE_DEBUG,
    WEIR_ROLE_SHARED,
};
enum weir_peer_rank {
    WEIR_PEER_NONE,
    WEIR_PEER_ADDRESS,
    WEIR_PEER_SYSTEM,
    WEIR_PEER_HOST,
    WEIR_PEER_CLUSTER,
    WEIR_PEER_SERVICE
};
struct weir_alias {
    const char *key;
    uint8_t size, role, rank; /* rank: of a peer */
};

enum { WEIR_ALIAS_SIZE_MAX = 31 };
extern const struct weir_alias weir_aliases[];                  /* by size; ends with size 0 */
extern const uint8_t weir_alias_first[WEIR_ALIAS_SIZE_MAX + 1]; /* index of the first of that size */
#define WEIR_ALIAS_SIZES                                                                                               \
    (1u << 5 | 1u << 9 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 15 | 1u << 16 | 1u << 17 | 1u << 18 |       \
     1u << 19 | 1u << 20 | 1u << 21 | 1u << 25)

/* memcmp() of a size that is not known before is a call. */
static inline bool weir_alias_same(const char *a, const uint8_t *b, size_t size) {
    uint64_t x, y;
    if (size < 8) return memcmp(a, b, size) == 0;
    for (size_t i = 0; i + 8 < size; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if (x != y) return false;
    }
    memcpy(&x, a + size - 8, 8);
    memcpy(&y, b + size - 8, 8);
    return x == y;
}

/* The row of a key, or NULL. Most keys cost a look at their length, the others one at their last character more. */
static inline const struct weir_alias *weir_alias_of(const uint8_t *key, size_t size) {
    if (size > WEIR_ALIAS_SIZE_MAX || (WEIR_ALIAS_SIZES >> size & 1) == 0) return NULL;
    for (const struct weir_alias *row = &weir_aliases[weir_alias_first[size]]; row->size == size; row++) {
        if ((uint8_t)row->key[size - 1] == key[size - 1] && weir_alias_same(row->key, key, size)) return row;
    }
    return NULL;
}
#endif
