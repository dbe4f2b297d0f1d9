/* statsd_blast.c - sends StatsD packets at a steady pace, and says how many left.
 *   statsd_blast --port P --packets M --rate PACKETS_PER_SECOND [--lines K] [--names D] [--sockets S] [--segment 1]
 * [--host 127.0.0.1]
 * --pps, --lines-per-packet and --distinct-names are other words for --rate, --lines and --names. Rate 0: as fast as it
 * goes.
 * --segment 1 hands packets to the kernel by UDP_SEGMENT, 32 at once. One line of JSON on stdout: packets, lines,
 * seconds. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BATCH = 32, SOCKETS_MAX = 64, PACKET_BYTES_MAX = 1432 };

struct blast {
    const char *host;
    long port, packets, rate, lines, names, sockets, segment;
};

static void die(const char *what) {
    fprintf(stderr, "statsd_blast: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long *option(struct blast *blast, const char *name) {
    static const struct {
        const char *name, *other;
        size_t at;
    } options[] = {
        {"--port", "--port", offsetof(struct blast, port)},
        {"--packets", "--packets", offsetof(struct blast, packets)},
        {"--rate", "--pps", offsetof(struct blast, rate)},
        {"--lines", "--lines-per-packet", offsetof(struct blast, lines)},
        {"--names", "--distinct-names", offsetof(struct blast, names)},
        {"--sockets", "--sockets", offsetof(struct blast, sockets)},
        {"--segment", "--segment", offsetof(struct blast, segment)},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(name, options[i].name) == 0 || strcmp(name, options[i].other) == 0)
            return (long *)(void *)((char *)blast + options[i].at);
    }
    return NULL;
}

static struct blast read_arguments(int argc, char **argv) {
    struct blast blast = {.host = "127.0.0.1", .packets = 1000000, .lines = 1, .names = 1, .sockets = 1};
    for (int i = 1; i < argc; i += 2) {
        long *number = option(&blast, argv[i]);
        char *end = argv[i];
        if (i + 1 < argc && number != NULL) *number = strtol(argv[i + 1], &end, 10);
        bool host = i + 1 < argc && strcmp(argv[i], "--host") == 0;
        if (host) blast.host = argv[i + 1];
        if (!host && (number == NULL || i + 1 >= argc || *end != 0 || *number < 0)) {
            fprintf(stderr, "statsd_blast: %s: not understood\n", argv[i]);
            exit(2);
        }
    }
    if (blast.port < 1 || blast.port > 65535 || blast.lines < 1 || blast.names < 1 || blast.sockets < 1 ||
        blast.sockets > SOCKETS_MAX) {
        fprintf(stderr, "statsd_blast: --port 1-65535 and at least one line, name and socket (at most %d)\n",
                SOCKETS_MAX);
        exit(2);
    }
    return blast;
}

static int connected(const struct blast *blast) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)blast->port)};
    if (inet_pton(AF_INET, blast->host, &to.sin_addr) != 1) die(blast->host);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
    return fd;
}

/* All packets are made before the first is sent; of equal size, as UDP_SEGMENT wants them. Two packets never share a
 * first name while --names allows. */
static size_t make_packets(const struct blast *blast, char (**packets)[PACKET_BYTES_MAX + 64], long count) {
    *packets = malloc((size_t)count * sizeof **packets);
    if (*packets == NULL) die("malloc");
    size_t size = 0;
    long name = 0;
    for (long i = 0; i < count; i++) {
        size = 0;
        for (long line = 0; line < blast->lines && size < PACKET_BYTES_MAX; line++, name = (name + 1) % blast->names) {
            size += (size_t)sprintf((*packets)[i] + size, "%sbench.requests.n%05ld:1|c", line == 0 ? "" : "\n", name);
        }
    }
    if (size > PACKET_BYTES_MAX) {
        fprintf(stderr, "statsd_blast: %ld lines are more than %d bytes\n", blast->lines, PACKET_BYTES_MAX);
        exit(2);
    }
    return size;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Sleeps until `due`, the last 60 us by looking at the clock: a sleep alone comes back late. */
static void wait_until(double due) {
    double left = due - now();
    if (left > 60e-6) {
        struct timespec time = {0, (long)((left > 0.5 ? 0.5 : left - 60e-6) * 1e9)};
        nanosleep(&time, NULL);
    }
    while (now() < due) {
    }
}

static long send_batch(int fd, struct mmsghdr *messages, unsigned count) {
    unsigned sent = 0;
    while (sent < count) {
        int n = sendmmsg(fd, messages + sent, count - sent, 0);
        if (n > 0) {
            sent += (unsigned)n;
        } else if (errno != EINTR && errno != ENOBUFS &&
                   errno != ECONNREFUSED) { /* refused: an earlier one met no listener */
            die("sendmmsg");
        }
    }
    return count;
}

/* One message of many segments: what a proxy with UDP_SEGMENT does. */
static long send_segments(int fd, struct iovec *vectors, unsigned count, size_t size) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = vectors, .msg_iovlen = count, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    uint16_t segment = (uint16_t)size;
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(header), &segment, sizeof segment);
    while (sendmsg(fd, &message, 0) < 0) {
        if (errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) die("sendmsg");
    }
    return count;
}

int main(int argc, char **argv) {
    struct blast blast = read_arguments(argc, argv);
    int fds[SOCKETS_MAX];
    for (long i = 0; i < blast.sockets; i++)
        fds[i] = connected(&blast);

    char(*packets)[PACKET_BYTES_MAX + 64];
    long kinds = (blast.names + blast.lines - 1) / blast.lines;
    if (kinds < BATCH) kinds = BATCH;
    size_t size = make_packets(&blast, &packets, kinds);
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    long sent = 0, batches = 0, kind = 0;
    double start = now();
    while (sent < blast.packets) {
        unsigned count = blast.packets - sent < BATCH ? (unsigned)(blast.packets - sent) : BATCH;
        for (unsigned i = 0; i < count; i++, kind = (kind + 1) % kinds) {
            vectors[i] = (struct iovec){packets[kind], size};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
        }
        if (blast.rate > 0) wait_until(start + (double)sent / (double)blast.rate);
        int fd = fds[batches++ % blast.sockets];
        sent += blast.segment ? send_segments(fd, vectors, count, size) : send_batch(fd, messages, count);
    }
    double seconds = now() - start;
    printf("{\"packets\": %ld, \"lines\": %ld, \"seconds\": %.6f}\n", sent, sent * blast.lines, seconds);
    free(packets);
    return 0;
}
