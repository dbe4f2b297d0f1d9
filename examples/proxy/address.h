/* address.h - "127.0.0.1:80" and "[::1]:80". */
#ifndef PROXY_ADDRESS_H
#define PROXY_ADDRESS_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
    union { /* by any.sa_family */
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    };
    socklen_t size;
};

bool address_read(struct address *address, const char *text);
void address_write(const struct address *address, char *out, size_t room); /* without the port */
#endif
