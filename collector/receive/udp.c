#define _GNU_SOURCE 1 /* recvmmsg, in6_pktinfo */
#include "collector/receive/udp.h"
#include "collector/core/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104 /* linux/udp.h; since Linux 5.0 */
#endif

/* A bulk is what one recvmmsg may fetch. A round is what one loop round may take from this socket, so that other
 * descriptors are not starved: the epoll watch is level-triggered and comes back. 1,024 datagrams take some 2 ms. */
enum { BULK = 64, ROUND_DATAGRAMS = 1024, ROUND_BYTES = 512 * 1024, DRAIN_BYTES = 64 * 1024 * 1024 };

enum { UDP_RECEIVED, UDP_LOST_KERNEL, UDP_LOST_TRUNCATED, UDP_BUFFER_BYTES, UDP_METRICS };
static const struct weir_metric table[UDP_METRICS] = {
    [UDP_RECEIVED] = {"datagrams_received_total", NULL, WEIR_COUNTER, "Datagrams read from the receiver's sockets."},
    [UDP_LOST_KERNEL] = {"datagrams_lost_total", "reason=\"kernel\"", WEIR_COUNTER,
                         "Datagrams that were not read whole, by reason."},
    [UDP_LOST_TRUNCATED] = {"datagrams_lost_total", "reason=\"truncated\"", WEIR_COUNTER,
                            "Datagrams that were not read whole, by reason."},
    [UDP_BUFFER_BYTES] = {"udp_receive_buffer_bytes", NULL, WEIR_GAUGE_MAX,
                          "Receive buffer that the kernel granted each socket."},
};

struct weir_udp {
    struct weir_watch watch;
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    struct weir_udp_calls calls;
    const char *name;
    bool watched;
    bool want_sender;
    const struct msghdr *given; /* whose datagrams are being given out; NULL: none */
    uint32_t datagram_bytes_max;
    uint32_t kernel_drops; /* scraper's thread: SK_MEMINFO_DROPS at the last scrape; wraps at 2^32 */
    struct sockaddr_storage last_sender;
    char last_text[INET6_ADDRSTRLEN];
    uint8_t *bytes; /* BULK buffers; pages that were never written cost nothing */
    struct mmsghdr messages[BULK];
    struct iovec vectors[BULK];
    struct sockaddr_storage senders[BULK];
    union {
        struct cmsghdr header;                                                           /* for its alignment */
        uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))]; /* UDP_GRO, and where to */
    } controls[BULK];
};

/* ---- opening ---- */

/* Linux grants twice what is asked, for its own bookkeeping, and tells that number (socket(7)): half of it is told
 * here, so that it compares with the configuration. SO_RCVBUFFORCE needs CAP_NET_ADMIN and is not bound by
 * net.core.rmem_max. */
static void ask_for_buffer(struct weir_udp *udp, uint64_t wanted_bytes) {
    int wanted = wanted_bytes > 1u << 30 ? 1 << 30 : (int)wanted_bytes, got = 0;
    socklen_t size = sizeof got;
    if (setsockopt(udp->watch.fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) != 0) {
        setsockopt(udp->watch.fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
    }
    getsockopt(udp->watch.fd, SOL_SOCKET, SO_RCVBUF, &got, &size);
    weir_gauge(udp->set, UDP_BUFFER_BYTES, (uint64_t)got / 2);
    if (got / 2 < wanted) {
        weir_log(
            WEIR_LOG_WARN,
            "receive_buffer_small receiver=%s wanted_bytes=%d got_bytes=%d hint=\"sysctl -w net.core.rmem_max=%d\"",
            udp->name, wanted, got / 2, wanted);
    }
}

/* Scraper's thread. SO_MEMINFO: linux/sock_diag.h, since Linux 4.12. */
static void read_drops(struct weir_metric_set *set, void *self) {
    struct weir_udp *udp = self;
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof info;
    if (getsockopt(udp->watch.fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0) return;
    weir_count(set, UDP_LOST_KERNEL, info[SK_MEMINFO_DROPS] - udp->kernel_drops);
    udp->kernel_drops = info[SK_MEMINFO_DROPS];
}

/* Of a socket that is bound to one address that one is known. ip(7), IP_PKTINFO; RFC 3542, 6.1. */
static void ask_where_to(int fd, const struct sockaddr *bound) {
    int on = 1;
    const struct sockaddr_in *v4 = (const void *)bound;
    const struct sockaddr_in6 *v6 = (const void *)bound;
    if (bound->sa_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (bound->sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

static enum weir_status bind_one(struct weir_udp *udp, const struct addrinfo *info, const struct weir_listen *listen,
                                 struct weir_error *err) {
    int on = 1;
    udp->watch.fd = socket(info->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (udp->watch.fd < 0) return weir_fail(err, WEIR_IO, errno, false, "%s: socket", udp->name);
    if (setsockopt(udp->watch.fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "%s: SO_REUSEPORT", udp->name);
    }
    if (bind(udp->watch.fd, info->ai_addr, info->ai_addrlen) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "%s: bind %s port %u", udp->name, listen->host, listen->port);
    }
    ask_where_to(udp->watch.fd, info->ai_addr);
    setsockopt(udp->watch.fd, SOL_UDP, UDP_GRO, &on, sizeof on); /* an older kernel says no and hands over one by one */
    return WEIR_OK;
}

static enum weir_status bind_to(struct weir_udp *udp, const struct weir_listen *listen, struct weir_error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", listen->port);
    int code = getaddrinfo(listen->host[0] == 0 ? NULL : listen->host, port, &hints, &list);
    if (code != 0)
        return weir_fail(err, WEIR_IO, 0, false, "%s: %s does not resolve: %s", udp->name, listen->host,
                         gai_strerror(code));
    enum weir_status status = bind_one(udp, list, listen, err);
    freeaddrinfo(list);
    return status;
}

static void ready(struct weir_watch *watch, uint32_t events);

static enum weir_status allocate(struct weir_udp *udp, struct weir_error *err) {
    char labels[64];
    snprintf(labels, sizeof labels, "receiver=\"%s\"", udp->name);
    udp->bytes = malloc((size_t)BULK * udp->datagram_bytes_max);
    udp->set = weir_metrics_open(udp->metrics, table, UDP_METRICS, labels);
    if (udp->bytes == NULL || udp->set == NULL)
        return weir_fail(err, WEIR_FULL, ENOMEM, false, "%s: no memory for the buffers", udp->name);
    for (uint32_t i = 0; i < BULK; i++) {
        udp->vectors[i] = (struct iovec){.iov_base = udp->bytes + (size_t)i * udp->datagram_bytes_max,
                                         .iov_len = udp->datagram_bytes_max};
        udp->messages[i].msg_hdr = (struct msghdr){.msg_iov = &udp->vectors[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = udp->controls[i].bytes,
                                                   .msg_controllen = sizeof udp->controls[i].bytes};
    }
    return WEIR_OK;
}

enum weir_status weir_udp_open(struct weir_udp **self, const struct weir_receiver_env *env,
                               const struct weir_udp_options *options, const struct weir_udp_calls *calls,
                               struct weir_error *err) {
    struct weir_udp *udp = calloc(1, sizeof *udp);
    if (udp == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "%s: no memory", options->name);
    udp->watch = (struct weir_watch){.fd = -1, .ready = ready};
    udp->loop = env->loop;
    udp->metrics = env->metrics;
    udp->calls = *calls;
    udp->name = options->name;
    udp->datagram_bytes_max = options->datagram_bytes_max;
    enum weir_status status = allocate(udp, err);
    if (status == WEIR_OK) status = bind_to(udp, options->listen, err);
    if (status != WEIR_OK) {
        weir_udp_close(udp);
        return status;
    }
    ask_for_buffer(udp, options->receive_buffer_bytes);
    weir_metrics_refresh(udp->metrics, udp->set, read_drops, udp);
    *self = udp;
    return WEIR_OK;
}

enum weir_status weir_udp_start(struct weir_udp *udp, struct weir_error *err) {
    enum weir_status status = weir_loop_watch(udp->loop, &udp->watch, EPOLLIN, err);
    udp->watched = status == WEIR_OK;
    return status;
}

void weir_udp_want_sender(struct weir_udp *udp, bool wanted) {
    udp->want_sender = wanted;
    for (uint32_t i = 0; i < BULK; i++) {
        udp->messages[i].msg_hdr.msg_name = wanted ? &udp->senders[i] : NULL;
        udp->messages[i].msg_hdr.msg_namelen = wanted ? sizeof udp->senders[i] : 0;
    }
}

uint16_t weir_udp_port(const struct weir_udp *udp) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(udp->watch.fd, (struct sockaddr *)&address, &size) != 0) return 0;
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname() filled it
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): as above
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* ---- reading ---- */

/* The text of an address, without its port; a v4 address that came through a v6 socket reads as v4. Senders seldom
 * change from one datagram to the next, so the last one is kept. */
static const char *sender_text(struct weir_udp *udp, const struct sockaddr_storage *sender) {
    if (sender->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sender,
                                 *last = (const struct sockaddr_in *)&udp->last_sender;
        if (last->sin_family != AF_INET || last->sin_addr.s_addr != v4->sin_addr.s_addr) {
            inet_ntop(AF_INET, &v4->sin_addr, udp->last_text, sizeof udp->last_text);
            memcpy(&udp->last_sender, v4, sizeof *v4);
        }
    } else if (sender->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sender,
                                  *last = (const struct sockaddr_in6 *)&udp->last_sender;
        if (last->sin6_family != AF_INET6 || memcmp(&last->sin6_addr, &v6->sin6_addr, sizeof v6->sin6_addr) != 0) {
            bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
            inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? &v6->sin6_addr.s6_addr[12] : (const void *)&v6->sin6_addr,
                      udp->last_text, sizeof udp->last_text);
            memcpy(&udp->last_sender, v6, sizeof *v6);
        }
    } else {
        return "";
    }
    return udp->last_text;
}

/* 0: the message is one datagram. Else it is several of this size each, the last perhaps shorter (udp(7), UDP_GRO). */
static size_t segment_size(struct msghdr *header) {
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO) continue;
        int size;
        memcpy(&size, CMSG_DATA(control), sizeof size);
        return size > 0 ? (size_t)size : 0;
    }
    return 0;
}

/* Room for one control message that says where an answer comes from. */
union source {
    struct cmsghdr header; /* for its alignment */
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void put_source(struct msghdr *out, union source *source, const struct cmsghdr *like, const void *info,
                       size_t size) {
    source->header =
        (struct cmsghdr){.cmsg_level = like->cmsg_level, .cmsg_type = like->cmsg_type, .cmsg_len = CMSG_LEN(size)};
    memcpy(CMSG_DATA(&source->header), info, size);
    out->msg_control = source->bytes;
    out->msg_controllen = CMSG_SPACE(size);
}

/* The address that `in` was sent to becomes the one that `out` comes from. No interface is named: a peer that has to be
 * reached by a certain one has it in its address. */
static void take_source(const struct msghdr *in, struct msghdr *out, union source *source) {
    struct msghdr walked = *in;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&walked); at != NULL; at = CMSG_NXTHDR(&walked, at)) {
        if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(at), sizeof info);
            info.ipi_ifindex = 0; /* ipi_spec_dst is the local address already */
            put_source(out, source, at, &info, sizeof info);
        } else if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(at), sizeof info);
            info.ipi6_ifindex = 0;
            put_source(out, source, at, &info, sizeof info);
        }
    }
}

bool weir_udp_answer(struct weir_udp *udp, const uint8_t *bytes, size_t size) {
    assert(udp->given != NULL && udp->want_sender);
    union source source = {0};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr out = {
        .msg_name = udp->given->msg_name, .msg_namelen = udp->given->msg_namelen, .msg_iov = &vector, .msg_iovlen = 1};
    if (udp->given->msg_controllen > 0) take_source(udp->given, &out, &source);
    return sendmsg(udp->watch.fd, &out, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* Gives out the datagrams of one message. `size` is what was sent, also where the buffer was shorter (MSG_TRUNC). */
static uint32_t give(struct weir_udp *udp, const uint8_t *bytes, size_t size, size_t segment, const char *from,
                     uint32_t *truncated) {
    uint32_t given = 0;
    size_t at = 0;
    do {
        size_t left = size - at, n = segment == 0 || segment > left ? left : segment;
        if (at + n > udp->datagram_bytes_max) {
            ++*truncated;
        } else {
            udp->calls.datagram(udp->calls.self, bytes + at, n, from);
            given++;
        }
        at += n;
    } while (at < size);
    return given;
}

/* One recvmmsg. Returns the number of messages, -1 when there is nothing more; adds to *datagrams and *bytes. */
static int read_bulk(struct weir_udp *udp, uint32_t *datagrams, size_t *bytes) {
    int count = recvmmsg(udp->watch.fd, udp->messages, BULK, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (count <= 0) {
        /* ICMP errors are not told to a socket that is not connected; whatever else it is, the watch comes back. */
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            static struct weir_log_limit limit;
            weir_log_limited(&limit, WEIR_LOG_WARN, "datagram_read_failed receiver=%s error=\"%s\"", udp->name,
                             strerror(errno));
        }
        return -1;
    }
    uint32_t given = 0, truncated = 0;
    for (int i = 0; i < count; i++) {
        struct msghdr *header = &udp->messages[i].msg_hdr;
        size_t size = udp->messages[i].msg_len, segment = header->msg_controllen == 0 ? 0 : segment_size(header);
        const char *from = udp->want_sender ? sender_text(udp, &udp->senders[i]) : "";
        udp->given = header;
        given += give(udp, udp->vectors[i].iov_base, size, segment, from, &truncated);
        udp->given = NULL;
        *bytes += size;
        header->msg_controllen = sizeof udp->controls[i].bytes; /* the kernel wrote over them */
        if (udp->want_sender) header->msg_namelen = sizeof udp->senders[i];
    }
    weir_count(udp->set, UDP_RECEIVED, given);
    if (truncated > 0) weir_count(udp->set, UDP_LOST_TRUNCATED, truncated);
    if (udp->calls.round != NULL) udp->calls.round(udp->calls.self);
    *datagrams += given + truncated;
    return count;
}

static void ready(struct weir_watch *watch, uint32_t events) {
    struct weir_udp *udp = (struct weir_udp *)watch; /* its first member */
    uint32_t datagrams = 0;
    size_t bytes = 0;
    (void)events;
    while (datagrams < ROUND_DATAGRAMS && bytes < ROUND_BYTES) {
        if (read_bulk(udp, &datagrams, &bytes) < BULK) return; /* the socket is empty, or was a moment ago */
    }
}

void weir_udp_stop(struct weir_udp *udp) {
    if (!udp->watched) return;
    udp->watched = false;
    weir_loop_unwatch(udp->loop, &udp->watch);
    uint32_t datagrams = 0;
    size_t bytes = 0;
    while (bytes < DRAIN_BYTES && datagrams < DRAIN_BYTES / 64) {
        if (read_bulk(udp, &datagrams, &bytes) < BULK) break;
    }
}

void weir_udp_close(struct weir_udp *udp) {
    if (udp == NULL) return;
    if (udp->watched) weir_loop_unwatch(udp->loop, &udp->watch);
    weir_metrics_close(udp->metrics, udp->set); /* waits for read_drops(), which uses the descriptor */
    if (udp->watch.fd >= 0) close(udp->watch.fd);
    free(udp->bytes);
    free(udp);
}
