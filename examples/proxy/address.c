#include "examples/proxy/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

bool address_read(struct address *address, const char *text) {
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    char host[64];
    if (colon == NULL || colon[1] == 0 || (size_t)(colon - text) >= sizeof host) return false;
    bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
    size_t size = (size_t)(colon - text) - (bracketed ? 2 : 0);
    memcpy(host, text + (bracketed ? 1 : 0), size);
    host[size] = 0;
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) return false;
    address->size = found->ai_addrlen;
    memcpy(&address->any, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

void address_write(const struct address *address, char *out, size_t room) {
    const void *ip =
        address->any.sa_family == AF_INET ? (const void *)&address->four.sin_addr : &address->six.sin6_addr;
    if (inet_ntop(address->any.sa_family, ip, out, (socklen_t)room) == NULL) out[0] = 0;
}
