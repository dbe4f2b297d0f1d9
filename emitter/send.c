/* send.c - the socket: connected, so that the kernel takes answers from Weir's address only. Datagrams leave many at a
 * time, by sendmmsg of messages that UDP_SEGMENT cuts, where the system has it. */
#define _GNU_SOURCE 1
#include "emitter/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* linux/udp.h; since Linux 4.18 */
#endif

enum { SINGLES = 64, WAIT_MS = 10, WAITS_MAX = 10, REFUSED_TRIES = 3 };

/* A kernel that does not know the option would send all segments as one datagram. */
static bool takes_segments(int fd) {
    int bytes;
    socklen_t size = sizeof bytes;
    return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &bytes, &size) == 0;
}

/* Without a route yet, as on a machine that starts, what is sent fails and is counted until there is one. */
static bool reach(struct weir_emit *emit) {
    emit->connected = connect(emit->fd, (const struct sockaddr *)&emit->to, emit->to_size) == 0;
    return emit->connected || errno == ENETUNREACH || errno == EHOSTUNREACH || errno == ENETDOWN ||
           errno == EADDRNOTAVAIL;
}

bool send_open(struct weir_emit *emit) {
    int room = (int)emit->options.send_buffer_bytes;
    emit->fd = socket(emit->to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    emit->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (emit->fd >= 0 && emit->wake_fd >= 0) {
        setsockopt(emit->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        emit->segments = takes_segments(emit->fd);
        if (reach(emit)) return true;
    }
    int why = errno;
    send_close(emit);
    errno = why;
    return false;
}

void send_close(struct weir_emit *emit) {
    if (emit->fd >= 0) close(emit->fd);
    if (emit->wake_fd >= 0) close(emit->wake_fd);
    emit->fd = emit->wake_fd = -1;
}

/* ---- sending ---- */

union control {
    struct cmsghdr header; /* for its alignment */
    uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
};
struct outgoing {
    struct mmsghdr messages[SINGLES];
    struct iovec parts[SINGLES];
    union control controls[PACK_MESSAGES];
    uint32_t datagrams[SINGLES]; /* of each message */
    uint32_t count;
};

static void add(struct outgoing *out, const struct packer *packer, uint32_t first, uint32_t datagrams) {
    size_t each = packer->datagram_bytes;
    bool last = first + datagrams == packer->count;
    uint32_t i = out->count++;
    out->datagrams[i] = datagrams;
    out->parts[i] = (struct iovec){.iov_base = packer->bytes + first * each,
                                   .iov_len = last ? (datagrams - 1) * each + packer->last : datagrams * each};
    out->messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &out->parts[i], .msg_iovlen = 1}};
}

static void segment(struct msghdr *message, union control *control, uint16_t bytes) {
    message->msg_control = control->bytes;
    message->msg_controllen = sizeof control->bytes;
    struct cmsghdr *one = CMSG_FIRSTHDR(message);
    one->cmsg_level = SOL_UDP;
    one->cmsg_type = UDP_SEGMENT;
    one->cmsg_len = CMSG_LEN(sizeof bytes);
    memcpy(CMSG_DATA(one), &bytes, sizeof bytes);
}

/* From datagram `first` on, as many as one call takes. */
static void gather(const struct weir_emit *emit, struct outgoing *out, const struct packer *packer, uint32_t first) {
    uint32_t most = emit->segments ? packer->per_message : 1, places = emit->segments ? PACK_MESSAGES : SINGLES;
    for (out->count = 0; out->count < places && first < packer->count;) {
        uint32_t datagrams = packer->count - first < most ? packer->count - first : most;
        add(out, packer, first, datagrams);
        first += datagrams;
        uint32_t i = out->count - 1;
        if (datagrams > 1) segment(&out->messages[i].msg_hdr, &out->controls[i], (uint16_t)packer->datagram_bytes);
    }
}

static void count(struct weir_emit *emit, uint32_t cell, uint64_t n) {
    cell_add(&emit->slots[0], cell, n);
}

/* sendmmsg failed at its first message. True: again; false: give that message up. refused: in a row. */
static bool again(struct weir_emit *emit, const struct outgoing *out, unsigned *refused) {
    struct pollfd ready = {.fd = emit->fd, .events = POLLOUT};
    switch (errno) {
    case EINTR: return true;
    case ECONNREFUSED: /* what the port's owner answered to an earlier one; this one was not sent yet */
        count(emit, CELL_UNSENT_REFUSED, 1);
        return (*refused)++ < REFUSED_TRIES;
    case EAGAIN:
    case ENOBUFS:
        if (emit->waits++ < WAITS_MAX) { /* in one flush, so that the last one ends soon too */
            poll(&ready, 1, WAIT_MS);
            return true;
        }
        count(emit, CELL_UNSENT_FULL, out->datagrams[0]);
        return false;
    case EIO:
    case EINVAL:
    case EMSGSIZE:
    case EOPNOTSUPP: /* a device, a kernel or a path without segments of this size: one by one from now on */
        if (out->datagrams[0] > 1) {
            emit->segments = false;
            return true;
        }
        /* What the path answered to an earlier one, which is in parts from now on, as ECONNREFUSED above. */
        if (errno == EMSGSIZE && (*refused)++ < REFUSED_TRIES) return true;
        break;
    default: break; /* a network that is away, or forbids: later it may not */
    }
    count(emit, CELL_UNSENT_FAILED, out->datagrams[0]);
    return false;
}

void send_datagrams(void *self, const struct packer *packer) {
    struct weir_emit *emit = self;
    struct outgoing out;
    unsigned refused = 0;
    if (!emit->connected) reach(emit);
    for (uint32_t first = 0; first < packer->count;) {
        gather(emit, &out, packer, first);
        int sent = sendmmsg(emit->fd, out.messages, out.count, MSG_NOSIGNAL);
        for (int i = 0; i < sent; i++) {
            count(emit, CELL_DATAGRAMS, out.datagrams[i]);
            first += out.datagrams[i];
        }
        if (sent > 0) refused = 0;
        if (sent <= 0 && !again(emit, &out, &refused)) first += out.datagrams[0];
    }
}
