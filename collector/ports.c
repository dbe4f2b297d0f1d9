#include "collector/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An address and port in the form of IPv6; IPv4 is mapped into it (RFC 4291, 2.5.5.2). */
struct place {
    struct in6_addr address;
    unsigned port;
    bool any; /* 0.0.0.0 or ::, which holds the port on every address */
};

static struct place place_of(const struct sockaddr *socket) {
    struct place place = {.any = false};
    if (socket->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, socket, sizeof six);
        place.address = six.sin6_addr;
        place.port = ntohs(six.sin6_port);
        place.any = IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr);
    } else {
        struct sockaddr_in four;
        memcpy(&four, socket, sizeof four);
        memset(place.address.s6_addr + 10, 0xff, 2);
        memcpy(place.address.s6_addr + 12, &four.sin_addr, 4);
        place.port = ntohs(four.sin_port);
        place.any = four.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    return place;
}

/* local_address of proc(5) /proc/net: one word of hexadecimal digits for IPv4, four for IPv6, each as it lies in
 * memory. */
static bool read_place(const char *hex, unsigned port, struct place *place) {
    uint32_t words[4] = {0};
    size_t n = strlen(hex) / 8;
    if (n != 1 && n != 4) return false;
    for (size_t i = 0; i < n; i++)
        if (sscanf(hex + 8 * i, "%8" SCNx32, &words[i]) != 1) return false;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = words[0]};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    memcpy(&six.sin6_addr, words, sizeof words);
    *place = place_of(n == 1 ? (const struct sockaddr *)&four : (const struct sockaddr *)&six);
    return true;
}

/* The inode of a socket that is in the way of `wanted`, from one table of /proc/net; 0 = none.
 *   sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid  timeout inode
 * TCP sockets only in state 0A, LISTEN. */
static unsigned long inode_of(const char *table, const struct place *wanted, bool listening) {
    FILE *file = fopen(table, "re");
    if (file == NULL) return 0;
    char line[512], hex[33];
    unsigned long found = 0;
    while (found == 0 && fgets(line, sizeof line, file) != NULL) {
        unsigned port, state;
        unsigned long inode;
        struct place local;
        if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", hex, &port, &state, &inode) != 4)
            continue;
        if (port != wanted->port || (listening && state != 0x0a) || !read_place(hex, port, &local)) continue;
        if (local.any || wanted->any || memcmp(&local.address, &wanted->address, sizeof local.address) == 0)
            found = inode;
    }
    fclose(file);
    return found;
}

static bool holds(const char *pid, unsigned long inode) {
    char path[300], want[64], target[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    DIR *fds = opendir(path);
    if (fds == NULL) return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(fds)) != NULL;) {
        ssize_t n = readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = 0;
        found = strcmp(target, want) == 0;
    }
    closedir(fds);
    return found;
}

/* " by NAME (pid N)", or "" where nobody tells (another user's process, another network namespace). */
static void owner_of(const struct sockaddr *wanted, bool datagram, char *out, size_t out_size) {
    struct place place = place_of(wanted);
    *out = 0;
    const char *const tables[2][2] = {{"/proc/net/tcp", "/proc/net/tcp6"}, {"/proc/net/udp", "/proc/net/udp6"}};
    unsigned long inode = inode_of(tables[datagram][0], &place, !datagram);
    if (inode == 0) inode = inode_of(tables[datagram][1], &place, !datagram);
    DIR *processes = inode == 0 ? NULL : opendir("/proc");
    if (processes == NULL) return;
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !holds(entry->d_name, inode)) continue;
        char path[300], name[64] = "";
        snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
        FILE *comm = fopen(path, "re");
        if (comm != NULL) {
            if (fgets(name, sizeof name, comm) != NULL) name[strcspn(name, "\n")] = 0;
            fclose(comm);
        }
        snprintf(out, out_size, " by %s (pid %.16s)", name, entry->d_name);
        break;
    }
    closedir(processes);
}

enum weir_status weir_port_check(const char *key, const struct weir_listen *listen, bool datagram,
                                 struct weir_error *err) {
    char port[8];
    struct addrinfo *address = NULL, hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                              .ai_socktype = datagram ? SOCK_DGRAM : SOCK_STREAM};
    snprintf(port, sizeof port, "%u", listen->port);
    int failed = getaddrinfo(listen->host, port, &hints, &address);
    if (failed != 0) return weir_fail(err, WEIR_IO, 0, false, "%s: %s: %s", key, listen->host, gai_strerror(failed));

    enum weir_status status = WEIR_OK;
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0), on = 1;
    /* On TCP SO_REUSEADDR overlooks connections in TIME_WAIT, not a listener; on UDP it would overlook everything. */
    bool bound = fd >= 0 && (datagram || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0) &&
                 bind(fd, address->ai_addr, address->ai_addrlen) == 0;
    if (!bound) {
        int sys = errno;
        char owner[128] = "", reason[192];
        if (sys == EADDRINUSE) {
            owner_of(address->ai_addr, datagram, owner, sizeof owner);
            snprintf(reason, sizeof reason, "is taken%s", owner);
        } else {
            snprintf(reason, sizeof reason, "cannot be bound: %s", strerror(sys));
        }
        const char *open = strchr(listen->host, ':') != NULL ? "[" : "", *close = *open != 0 ? "]" : "";
        status = weir_fail(err, WEIR_IO, sys, false, "%s: %s%s%s:%u (%s) %s", key, open, listen->host, close,
                           listen->port, datagram ? "UDP" : "TCP", reason);
    }
    if (fd >= 0) close(fd);
    freeaddrinfo(address);
    return status;
}
