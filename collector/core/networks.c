#include "collector/core/networks.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { MAPPED_BITS = 96 };

/* 16 bytes, and by how many bits a prefix of this family is short of one of IPv6. */
static bool read_address(const char *text, uint8_t address[16], unsigned *less) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    *less = 0;
    if (inet_pton(AF_INET6, text, address) == 1) return true;
    if (inet_pton(AF_INET, text, address + 12) != 1) return false;
    memcpy(address, mapped, sizeof mapped);
    *less = MAPPED_BITS;
    return true;
}

/* The bits of byte i that belong to the network. */
static uint8_t mask_of(unsigned prefix, unsigned i) {
    unsigned bits = prefix >= 8 * (i + 1) ? 8 : prefix <= 8 * i ? 0 : prefix % 8;
    return (uint8_t)(0xff00u >> bits);
}

static bool read_prefix(const char *text, unsigned max, unsigned *prefix) {
    size_t size = strlen(text);
    if (size < 1 || size > 3 || strspn(text, "0123456789") != size) return false;
    *prefix = 0;
    for (; *text != 0; text++)
        *prefix = *prefix * 10 + (unsigned)(*text - '0');
    return *prefix <= max;
}

static bool read_network(char *text, struct weir_network *network, char *why, size_t why_size) {
    unsigned less, prefix;
    char *slash = strchr(text, '/');
    if (slash != NULL) *slash = 0;
    if (!read_address(text, network->address, &less)) {
        snprintf(why, why_size, "has \"%s\" where an address such as 10.0.0.0/8 or fd00::/8 should stand", text);
        return false;
    }
    prefix = 128 - less;
    if (slash != NULL && !read_prefix(slash + 1, 128 - less, &prefix)) {
        snprintf(why, why_size, "has a prefix \"%s\" that is not between 0 and %u", slash + 1, 128 - less);
        return false;
    }
    network->prefix = (uint8_t)(prefix + less);
    for (unsigned i = 0; i < 16; i++) {
        if ((network->address[i] & (mask_of(network->prefix, i) ^ 0xff)) == 0) continue;
        snprintf(why, why_size, "has bits behind the prefix of %s/%u", text, prefix);
        return false;
    }
    return true;
}

bool weir_networks_parse(const char *text, struct weir_networks *networks, char *why, size_t why_size) {
    struct weir_networks read = {0};
    if (text[strspn(text, " ")] == 0) {
        *networks = read;
        return true;
    }
    for (bool more = true; more;) {
        char item[64];
        text += strspn(text, " ");
        size_t size = strcspn(text, ","), shown = size;
        more = text[size] == ',';
        while (shown > 0 && text[shown - 1] == ' ')
            shown--;
        if (shown == 0 || shown >= sizeof item) {
            snprintf(why, why_size, "has an entry that is not an address such as 10.0.0.0/8 or fd00::/8");
            return false;
        }
        memcpy(item, text, shown);
        item[shown] = 0;
        if (read.count == WEIR_NETWORKS_MAX) {
            snprintf(why, why_size, "has more than %d networks", WEIR_NETWORKS_MAX);
            return false;
        }
        if (!read_network(item, &read.list[read.count++], why, why_size)) return false;
        text += size + more;
    }
    *networks = read;
    return true;
}

static bool contains(const struct weir_network *network, const uint8_t address[16]) {
    unsigned whole = network->prefix / 8;
    if (memcmp(network->address, address, whole) != 0) return false;
    return whole == 16 || ((network->address[whole] ^ address[whole]) & mask_of(network->prefix, whole)) == 0;
}

bool weir_networks_contain(const struct weir_networks *networks, const char *address) {
    uint8_t bytes[16];
    unsigned less;
    if (!read_address(address, bytes, &less)) return false;
    for (uint32_t i = 0; i < networks->count; i++) {
        if (contains(&networks->list[i], bytes)) return true;
    }
    return false;
}
