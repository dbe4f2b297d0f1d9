/* networks.h - a list of networks (10.0.0.0/8, fd00::/8, 192.0.2.7), and whether an address is in one of them. */
#ifndef WEIR_CORE_NETWORKS_H
#define WEIR_CORE_NETWORKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_NETWORKS_MAX = 32 };

/* IPv4 is held as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), as a socket for both hands it over. */
struct weir_networks {
    uint32_t count;
    struct weir_network {
        uint8_t address[16];
        uint8_t prefix; /* bits, of 128 */
    } list[WEIR_NETWORKS_MAX];
};

/* Networks with commas between; an address alone is a network of one. An empty text is an empty list. False: `why` says
 * what is wrong, to stand behind the text; *networks is as before. */
bool weir_networks_parse(const char *text, struct weir_networks *networks, char *why, size_t why_size);
/* address: numeric. False also when it is no address. */
bool weir_networks_contain(const struct weir_networks *networks, const char *address);
#endif
