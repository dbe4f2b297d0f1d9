#include "exporters/zipkin/own.h"

#include <arpa/inet.h>
#include <string.h>

enum { BEHIND_LOCAL = 1, BEHIND_REMOTE };
enum { ANY_STRING = 1, ANY_BOOL, ANY_INT };

static bool is(struct weir_zipkin_text text, const char *want, size_t size) {
    return text.size == size && memcmp(text.bytes, want, size) == 0;
}
#define IS(text, literal) is(text, literal, sizeof(literal) - 1)

bool weir_zipkin_own_scope(struct weir_zipkin_text name) {
    return IS(name, "weir.zipkin");
}

/* An IPv4 address comes before an IPv6 one. */
static bool take_address(struct weir_zipkin_endpoint *endpoint, struct weir_zipkin_text value) {
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (value.size >= sizeof copy || value.bytes == NULL) return false;
    memcpy(copy, value.bytes, value.size);
    copy[value.size] = 0;
    if (inet_pton(AF_INET, copy, ip) == 1) {
        endpoint->ip_size = 4;
        memcpy(endpoint->ip, ip, 4);
        return true;
    }
    if (inet_pton(AF_INET6, copy, ip) != 1) return false;
    if (endpoint->ip_size == 4) {
        endpoint->both = true;
        memcpy(endpoint->ipv6, ip, 16);
    } else {
        endpoint->ip_size = 16;
        memcpy(endpoint->ip, ip, 16);
    }
    return true;
}

static bool take_port(struct weir_zipkin_endpoint *endpoint, unsigned type, uint64_t number) {
    if (type != ANY_INT || number > UINT16_MAX) return false;
    endpoint->port = (uint16_t)number;
    return true;
}

static bool take_marked(struct weir_zipkin_own *own, struct weir_zipkin_text key, unsigned type, uint64_t number,
                        struct weir_zipkin_span *span) {
    if (type == ANY_INT && IS(key, "zipkin.duration")) {
        span->duration_us = number;
        return true;
    }
    if (type != ANY_BOOL) return false;
    if (IS(key, "zipkin.local")) {
        own->behind = BEHIND_LOCAL;
    } else if (IS(key, "zipkin.remote")) {
        own->behind = BEHIND_REMOTE;
    } else if (IS(key, "zipkin.debug")) {
        span->debug = number != 0;
    } else if (IS(key, "zipkin.shared")) {
        span->shared = number != 0;
    } else {
        return false;
    }
    return true;
}

bool weir_zipkin_own_take(struct weir_zipkin_own *own, struct weir_zipkin_text key, struct weir_zipkin_text value,
                          unsigned type, uint64_t number, struct weir_zipkin_span *span) {
    if (key.size >= 12 && key.size <= 15 && memcmp(key.bytes, "zipkin.", 7) == 0)
        return take_marked(own, key, type, number, span);
    switch (own->behind) {
    case BEHIND_LOCAL:
        if (IS(key, "network.local.address")) return type == ANY_STRING && take_address(&span->local, value);
        return IS(key, "network.local.port") && take_port(&span->local, type, number);
    case BEHIND_REMOTE:
        if (IS(key, "network.peer.address")) return type == ANY_STRING && take_address(&span->remote, value);
        if (IS(key, "network.peer.port")) return take_port(&span->remote, type, number);
        if (type != ANY_STRING || !IS(key, "peer.service")) return false;
        span->remote.name = value;
        span->text_bytes += value.size;
        return true;
    default: return false;
    }
}
