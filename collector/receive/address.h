/* address.h - who calls: the address of a peer as text, without its port. */
#ifndef WEIR_RECEIVE_ADDRESS_H
#define WEIR_RECEIVE_ADDRESS_H

struct sockaddr;

enum { WEIR_ADDRESS_BYTES = 46 /* INET6_ADDRSTRLEN */ };

/* A v4 address that came through a v6 socket reads as v4. "" when it is none of IP; NULL is none. */
void weir_address_text(const struct sockaddr *address, char out[WEIR_ADDRESS_BYTES]);
/* Of a connected socket. */
void weir_address_of(int fd, char out[WEIR_ADDRESS_BYTES]);
#endif
