#include "exporters/zipkin/remote.h"

#include <arpa/inet.h>
#include <string.h>

enum port_group { PORT_SERVER, PORT_NET_PEER, PORT_NETWORK_PEER, PORT_SERVER_SOCKET, PORT_NET_SOCK_PEER };

struct rule {
    const char *key;
    uint8_t size;
    uint8_t rank;  /* of the specification's table; 0: a port */
    uint8_t group; /* enum port_group */
};
#define RULE(key, rank, group)                                                                                         \
    { key, sizeof key - 1, rank, group }
static const struct rule rules[] = {
    RULE("peer.service", 1, PORT_SERVER),
    RULE("server.address", 2, PORT_SERVER),
    RULE("net.peer.name", 3, PORT_NET_PEER),
    RULE("network.peer.address", 4, PORT_NETWORK_PEER),
    RULE("server.socket.domain", 5, PORT_SERVER_SOCKET),
    RULE("server.socket.address", 6, PORT_SERVER_SOCKET),
    RULE("net.sock.peer.name", 7, PORT_NET_SOCK_PEER),
    RULE("net.sock.peer.addr", 8, PORT_NET_SOCK_PEER),
    RULE("peer.hostname", 9, PORT_NET_PEER),
    RULE("peer.address", 10, PORT_NET_PEER),
    RULE("db.name", 11, PORT_SERVER),
    RULE("server.port", 0, PORT_SERVER),
    RULE("net.peer.port", 0, PORT_NET_PEER),
    RULE("network.peer.port", 0, PORT_NETWORK_PEER),
    RULE("server.socket.port", 0, PORT_SERVER_SOCKET),
    RULE("net.sock.peer.port", 0, PORT_NET_SOCK_PEER),
};
#define SIZES (1u << 7 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 18 | 1u << 20 | 1u << 21)

static uint16_t port_of(const uint8_t *text, size_t size) {
    uint32_t port = 0;
    if (size == 0 || size > 5) return 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* 10.0.0.1 · 10.0.0.1:80 · 2001:db8::1 · [2001:db8::1]:80. Returns the size of the address, 0 when it is none. */
static uint8_t address_of(struct weir_zipkin_text text, uint8_t ip[16], uint16_t *port) {
    char copy[64];
    if (text.size < 2 || text.size >= sizeof copy) return 0;
    memcpy(copy, text.bytes, text.size);
    copy[text.size] = 0;
    *port = 0;
    if (inet_pton(AF_INET6, copy, ip) == 1) {
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        if (memcmp(ip, mapped, sizeof mapped) != 0) return 16;
        memmove(ip, ip + 12, 4); /* "Prefer using the ipv4 field for mapped addresses" (zipkin.proto, Endpoint) */
        return 4;
    }
    char *colon = strrchr(copy, ':');
    if (colon != NULL) {
        *port = port_of((const uint8_t *)colon + 1, strlen(colon + 1));
        if (*port == 0) return 0;
        *colon = 0;
    }
    if (inet_pton(AF_INET, copy, ip) == 1) return 4;
    size_t size = strlen(copy);
    if (copy[0] != '[' || copy[size - 1] != ']') return 0;
    copy[size - 1] = 0;
    return inet_pton(AF_INET6, copy + 1, ip) == 1 ? 16 : 0;
}

static void offer_address(struct weir_zipkin_remote *remote, const struct rule *rule, struct weir_zipkin_text value) {
    uint8_t ip[16];
    uint16_t port;
    uint8_t ip_size = address_of(value, ip, &port);
    if (ip_size == 0) {
        if (remote->name_rank != 0 && remote->name_rank <= rule->rank) return;
        remote->name_rank = rule->rank;
        remote->endpoint.name = value;
    } else if (remote->ip_rank == 0 || remote->ip_rank > rule->rank) {
        remote->ip_rank = rule->rank;
        memcpy(remote->endpoint.ip, ip, ip_size);
        remote->endpoint.ip_size = ip_size;
        remote->endpoint.port = port;
        remote->ip_ports = (uint8_t)(1 + rule->group);
    }
}

void weir_zipkin_remote_offer(struct weir_zipkin_remote *remote, struct weir_zipkin_text key,
                              struct weir_zipkin_text value, uint64_t number) {
    if (key.size > 21 || (SIZES >> key.size & 1) == 0 || value.size == 0) return;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct rule *rule = &rules[i];
        if (rule->size != key.size || memcmp(rule->key, key.bytes, key.size) != 0) continue;
        if (rule->rank != 0) {
            if (number == 0 && value.bytes != NULL) offer_address(remote, rule, value);
        } else {
            remote->ports[rule->group] = number != 0           ? (uint16_t)(number <= UINT16_MAX ? number : 0)
                                         : value.bytes != NULL ? port_of(value.bytes, value.size)
                                                               : 0;
        }
        return;
    }
}

void weir_zipkin_remote_close(struct weir_zipkin_remote *remote) {
    if (remote->name_rank == 0 && remote->ip_rank == 0) return;
    if (remote->endpoint.port != 0) return; /* stood behind the address */
    if (remote->ip_ports > 0) remote->endpoint.port = remote->ports[remote->ip_ports - 1];
    if (remote->endpoint.port == 0) remote->endpoint.port = remote->ports[PORT_SERVER];
    if (remote->endpoint.port == 0) remote->endpoint.port = remote->ports[PORT_NET_PEER];
}
