/* free_port.h - a port for a receiver of a test. What was free may be somebody else's before the receiver has it: so
 * these are below those that the kernel gives to clients, and no other test of this machine has it meanwhile. */
#ifndef WEIR_TESTS_FREE_PORT_H
#define WEIR_TESTS_FREE_PORT_H
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { FREE_PORT_FIRST = 10000, FREE_PORTS = 10000, FREE_PORTS_EACH = 64 };

/* An address of IPv4 or IPv6 as text; its size. */
static inline socklen_t address_of(const char *host, uint16_t port, struct sockaddr_storage *out) {
    struct sockaddr_in *v4 = (void *)out;
    struct sockaddr_in6 *v6 = (void *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET, v4->sin_port = htons(port);
        return sizeof *v4;
    }
    assert_int_equal(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(port);
    return sizeof *v6;
}

/* By a name that the kernel has once (unix(7), "abstract"), until this process ends. False: another test has it. */
static inline bool claim_port(uint16_t port) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int size = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "weir-test-port-%u", port);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)) == 0)
        return true;
    bool taken = errno == EADDRINUSE;
    close(fd);
    return !taken;
}

/* type: SOCK_STREAM or SOCK_DGRAM. */
static inline uint16_t free_port(const char *host, int type) {
    static unsigned next;
    for (int turn = 0; turn < FREE_PORTS; turn++) {
        struct sockaddr_storage address;
        unsigned place = ((unsigned)getpid() * FREE_PORTS_EACH + next++) % FREE_PORTS;
        uint16_t port = (uint16_t)(FREE_PORT_FIRST + place);
        if (!claim_port(port)) continue;
        socklen_t size = address_of(host, port, &address);
        int fd = socket(address.ss_family, type, 0);
        assert_true(fd >= 0);
        bool is_free = bind(fd, (struct sockaddr *)&address, size) == 0;
        close(fd);
        if (is_free) return port;
    }
    fail_msg("no port of %s is free", host);
    return 0;
}

/* A port of 127.0.0.1 where nobody listens, nor can anybody before *held is closed. */
static inline uint16_t dead_port(int *held) {
    struct sockaddr_storage address;
    socklen_t size = address_of("127.0.0.1", 0, &address);
    *held = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*held, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(*held, (struct sockaddr *)&address, &size), 0);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}
#endif
