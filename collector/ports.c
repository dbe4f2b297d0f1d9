#include "collector/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The inode of a socket that holds local port `port`, from one table of proc(5) /proc/net; 0 = none.
 *   sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid  timeout inode
 * TCP sockets only in state 0A, LISTEN. */
static unsigned long inode_of(const char *table, unsigned port, bool listening) {
    FILE *file = fopen(table, "re");
    if (file == NULL) return 0;
    char line[512];
    unsigned long found = 0;
    while (found == 0 && fgets(line, sizeof line, file) != NULL) {
        unsigned local, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &local, &state, &inode) != 3)
            continue;
        if (local == port && (!listening || state == 0x0a)) found = inode;
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
static void owner_of(unsigned port, bool datagram, char *out, size_t out_size) {
    *out = 0;
    const char *const tables[2][2] = {{"/proc/net/tcp", "/proc/net/tcp6"}, {"/proc/net/udp", "/proc/net/udp6"}};
    unsigned long inode = inode_of(tables[datagram][0], port, !datagram);
    if (inode == 0) inode = inode_of(tables[datagram][1], port, !datagram);
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
            owner_of(listen->port, datagram, owner, sizeof owner);
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
