#include "collector/receive/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

void weir_address_text(const struct sockaddr *address, char out[WEIR_ADDRESS_BYTES]) {
    const char *text = NULL;
    if (address != NULL && address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        text = inet_ntop(AF_INET, &v4->sin_addr, out, WEIR_ADDRESS_BYTES);
    } else if (address != NULL && address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        text = IN6_IS_ADDR_V4MAPPED(v6) ? inet_ntop(AF_INET, &v6->s6_addr[12], out, WEIR_ADDRESS_BYTES)
                                        : inet_ntop(AF_INET6, v6, out, WEIR_ADDRESS_BYTES);
    }
    if (text == NULL) out[0] = 0;
}

void weir_address_of(int fd, char out[WEIR_ADDRESS_BYTES]) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    bool known = getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
    weir_address_text(known ? (const struct sockaddr *)&peer : NULL, out);
}
