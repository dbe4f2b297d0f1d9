#define _GNU_SOURCE 1
#include "collector/emit/datagram.h"

#include "collector/core/signature.h"
#include "collector/core/wire.h"
#include "collector/emit/random.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* linux/udp.h; since Linux 4.18 */
#endif

enum {
    SEND_BYTES_MAX = 65507, /* 65535 - 20 (IPv4) - 8 (UDP): also bounds what one UDP_SEGMENT call may carry */
    SEGMENTS_MAX = 64,      /* linux/udp.h: UDP_MAX_SEGMENTS, before Linux 6.9 */
    HEAD_BYTES_MAX = 64,
    HMAC_BYTES = 2 + WEIR_SIGNATURE_BYTES,
    PAD_BYTES_MIN = 4, /* its key and a length of three bytes */
    TICK_MS = 100,
};

struct lane_out { /* a socket, and the sender that it is */
    int fd;
    uint64_t id, sequence;
    uint8_t *bytes;               /* whole datagrams of segment_bytes each, and the one that fills */
    size_t size, begun;           /* begun: where the one that fills begins; == size: none does */
    uint32_t count;               /* whole datagrams */
    uint32_t spans[SEGMENTS_MAX]; /* in each of them */
    uint32_t begun_spans;
    bool segments; /* the system takes UDP_SEGMENT */
};

struct out {
    const struct weir_emit_options *options;
    struct weir_emit_counts *counts;
    struct weir_signer *signer; /* NULL = none */
    struct lane_out *lanes;
    uint64_t start_ns;
    size_t datagram_bytes;
};

/* ---- sending ---- */

static ssize_t send_some(const struct lane_out *lane, const uint8_t *bytes, size_t size, uint16_t segment) {
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    union {
        struct cmsghdr header; /* for its alignment */
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {0};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (size > segment) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *one = CMSG_FIRSTHDR(&message);
        one->cmsg_level = SOL_UDP;
        one->cmsg_type = UDP_SEGMENT;
        one->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(one), &segment, sizeof segment);
    }
    ssize_t sent;
    int tries = 0;
    do { /* ECONNREFUSED is what the port's owner answered to an earlier datagram */
        sent = sendmsg(lane->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && (errno == EINTR || errno == ECONNREFUSED) && tries++ < 3);
    return sent;
}

static void count_sent(struct out *out, struct lane_out *lane, uint32_t first, uint32_t end, ssize_t bytes) {
    for (uint32_t i = first; i < end; i++) {
        *(bytes >= 0 ? &out->counts->sent : &out->counts->refused) += lane->spans[i];
        out->counts->requests += bytes >= 0;
    }
    if (bytes >= 0) {
        out->counts->bytes += (uint64_t)bytes;
    } else {
        snprintf(out->counts->message, sizeof out->counts->message, "%s", strerror(errno));
    }
}

/* All whole datagrams; the last may be shorter. */
static void send_all(struct out *out, struct lane_out *lane) {
    size_t each = out->datagram_bytes;
    ssize_t sent = -1;
    if (lane->segments && lane->count > 1) {
        sent = send_some(lane, lane->bytes, lane->size, (uint16_t)each);
        if (sent >= 0) count_sent(out, lane, 0, lane->count, sent);
        lane->segments = sent >= 0; /* a device or kernel without it: one by one from now on */
    }
    for (uint32_t i = 0; i < lane->count && sent < 0; i++) {
        size_t left = lane->size - i * each, size = left < each ? left : each;
        count_sent(out, lane, i, i + 1, send_some(lane, lane->bytes + i * each, size, (uint16_t)each));
    }
    lane->size = lane->begun = 0;
    lane->count = 0;
}

/* ---- making datagrams ---- */

/* Ends the one that fills; `pad`: more will follow it in the same call. */
static void finish(struct out *out, struct lane_out *lane, bool pad) {
    if (lane->begun == lane->size) return;
    size_t tail = out->signer != NULL ? HMAC_BYTES : 0;
    uint8_t *at = lane->bytes + lane->size;
    if (pad) { /* pad = 14, with a length of three bytes whatever it is */
        size_t left = lane->begun + out->datagram_bytes - tail - lane->size - PAD_BYTES_MIN;
        *at++ = 14 << 3 | WEIR_WIRE_BYTES;
        *at++ = (uint8_t)(left | 0x80);
        *at++ = (uint8_t)(left >> 7 | 0x80);
        *at++ = (uint8_t)(left >> 14);
        memset(at, 0, left);
        at += left;
    }
    if (out->signer != NULL) {
        uint8_t signature[WEIR_SIGNATURE_BYTES] = {0};
        weir_signer_sign(out->signer, lane->bytes + lane->begun, (size_t)(at - lane->bytes) - lane->begun, signature);
        at = weir_wire_put_bytes(at, 15, signature, sizeof signature);
    }
    lane->size = lane->begun = (size_t)(at - lane->bytes);
    lane->spans[lane->count++] = lane->begun_spans;
    lane->begun_spans = 0;
}

static void begin(struct out *out, struct lane_out *lane, const struct weir_wire_field *resource) {
    uint8_t *at = lane->bytes + lane->size;
    at = weir_wire_put_uint(at, 1, 1);
    at = weir_wire_put_fixed64(at, 2, lane->id);
    at = weir_wire_put_fixed64(at, 3, out->start_ns);
    at = weir_wire_put_uint(at, 4, ++lane->sequence);
    if (resource->number != 0) at = weir_wire_put_bytes(at, 5, resource->bytes, resource->value);
    lane->size = (size_t)(at - lane->bytes);
}

static void put_span(struct out *out, struct lane_out *lane, const struct weir_wire_field *resource,
                     const struct weir_wire_field *span) {
    size_t tail = PAD_BYTES_MIN + (out->signer != NULL ? HMAC_BYTES : 0);
    size_t size = weir_wire_bytes_size(span->value);
    if (HEAD_BYTES_MAX + resource->value + size + tail > out->datagram_bytes) {
        out->counts->refused++;
        snprintf(out->counts->message, sizeof out->counts->message, "a span of %llu bytes in datagrams of %zu",
                 (unsigned long long)span->value, out->datagram_bytes);
        return;
    }
    if (lane->begun != lane->size && lane->size - lane->begun + size + tail > out->datagram_bytes)
        finish(out, lane, true);
    if (lane->begun == lane->size) {
        if (lane->count == SEGMENTS_MAX || lane->size + out->datagram_bytes > SEND_BYTES_MAX) send_all(out, lane);
        begin(out, lane, resource);
    }
    lane->size = (size_t)(weir_wire_put_bytes(lane->bytes + lane->size, 6, span->bytes, span->value) - lane->bytes);
    lane->begun_spans++;
}

/* An ExportTraceServiceRequest that render.c made: ResourceSpans, each with its Resource in front. A datagram has one
 * resource. */
static void put_request(struct out *out, struct lane_out *lane, const struct weir_buffer *request) {
    struct weir_wire wire = weir_wire_of(request->bytes, request->size);
    struct weir_wire_field field, inner, span;
    while (weir_wire_next(&wire, &field)) {
        struct weir_wire resource_spans = weir_wire_of(field.bytes, field.value);
        struct weir_wire_field resource = {0};
        finish(out, lane, true);
        while (weir_wire_next(&resource_spans, &inner)) {
            if (inner.number == 1) resource = inner;
            if (inner.number != 2) continue;
            struct weir_wire scope_spans = weir_wire_of(inner.bytes, inner.value);
            while (weir_wire_next(&scope_spans, &span)) {
                if (span.number == 2) put_span(out, lane, &resource, &span);
            }
        }
    }
}

/* ---- opening ---- */

static enum weir_status open_lane(struct lane_out *lane, const struct addrinfo *to, const char *what,
                                  struct weir_error *err) {
    int room = 4 << 20;
    lane->fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (lane->fd < 0 || connect(lane->fd, to->ai_addr, to->ai_addrlen) != 0)
        return weir_fail(err, WEIR_IO, errno, false, "--endpoint %s: %s", what, strerror(errno));
    setsockopt(lane->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    lane->segments = true;
    lane->bytes = malloc(SEND_BYTES_MAX);
    return lane->bytes != NULL ? WEIR_OK : weir_fail(err, WEIR_FULL, 0, false, "no memory for datagrams");
}

static enum weir_status open_all(struct out *out, struct weir_error *err) {
    const struct weir_emit_options *options = out->options;
    char port[8], what[80];
    snprintf(port, sizeof port, "%u", (unsigned)options->endpoint.port);
    snprintf(what, sizeof what, "%s:%s", options->endpoint.host, port);
    if (options->hmac_key_file != NULL) {
        enum weir_status status = weir_signer_open(&out->signer, "--hmac-key-file", options->hmac_key_file, err);
        if (status != WEIR_OK) return status;
    }
    out->lanes = calloc(options->connections, sizeof *out->lanes);
    if (out->lanes == NULL) return weir_fail(err, WEIR_FULL, 0, false, "no memory for sockets");
    for (uint64_t i = 0; i < options->connections; i++)
        out->lanes[i].fd = -1;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *addresses;
    int unresolved = getaddrinfo(options->endpoint.host, port, &hints, &addresses);
    if (unresolved != 0) return weir_fail(err, WEIR_IO, 0, false, "--endpoint %s: %s", what, gai_strerror(unresolved));
    enum weir_status status = WEIR_OK;
    struct weir_emit_random ids = weir_emit_random_of(options->seed ^ out->start_ns ^ (uint64_t)getpid() << 32);
    for (uint64_t i = 0; i < options->connections && status == WEIR_OK; i++) {
        out->lanes[i].id = weir_emit_next(&ids);
        status = open_lane(&out->lanes[i], addresses, what, err);
    }
    freeaddrinfo(addresses);
    return status;
}

static void close_all(struct out *out) {
    for (uint64_t i = 0; out->lanes != NULL && i < out->options->connections; i++) {
        if (out->lanes[i].fd >= 0) close(out->lanes[i].fd);
        free(out->lanes[i].bytes);
    }
    free(out->lanes);
    weir_signer_close(out->signer);
}

/* ---- the run ---- */

static void flush(struct out *out) {
    for (uint64_t i = 0; i < out->options->connections; i++) {
        finish(out, &out->lanes[i], false);
        send_all(out, &out->lanes[i]);
    }
}

static uint64_t limit_at(const struct out *out, uint64_t now_ns) {
    if (out->options->rate == 0) return UINT64_MAX;
    return (uint64_t)((unsigned __int128)(now_ns - out->counts->began_ns) * out->options->rate / WEIR_S) + 1;
}

static enum weir_status play_all(struct out *out, struct weir_emit_play *play,
                                 const struct weir_emit_client_watch *watch, struct weir_error *err) {
    struct weir_buffer request = {0};
    uint64_t ticked_ns = 0, turn = 0;
    enum weir_status status = WEIR_OK;
    for (;;) {
        uint64_t now_ns = weir_mono_ns(&weir_clock_system);
        uint32_t spans;
        play->now_ns = weir_unix_ns(&weir_clock_system);
        bool over = out->options->duration_ns != 0 && now_ns - out->counts->began_ns >= out->options->duration_ns;
        if (*watch->stop != 0 || over) weir_emit_play_end(play);
        if (now_ns - ticked_ns >= TICK_MS * WEIR_MS) {
            ticked_ns = now_ns;
            if (watch->tick != NULL) watch->tick(watch->self, now_ns);
        }
        weir_buffer_clear(&request);
        enum weir_emit_next next = weir_emit_play_next(play, limit_at(out, now_ns), &request, &spans);
        if (request.failed) {
            status = weir_fail(err, WEIR_FULL, 0, false, "no memory for a request of %u spans", (unsigned)spans);
            break;
        }
        if (next == WEIR_EMIT_REQUEST) {
            put_request(out, &out->lanes[turn++ % out->options->connections], &request);
            continue;
        }
        flush(out);
        if (next == WEIR_EMIT_END) break;
        const struct timespec pause = {.tv_nsec = (long)(WEIR_MS / 4)};
        nanosleep(&pause, NULL); /* EINTR: the caller's signal, looked at above */
    }
    out->counts->ended_ns = weir_mono_ns(&weir_clock_system);
    weir_buffer_free(&request);
    return status;
}

enum weir_status weir_emit_datagram_run(const struct weir_emit_options *options, struct weir_emit_play *play,
                                        const struct weir_emit_client_watch *watch, struct weir_emit_counts *counts,
                                        struct weir_error *err) {
    memset(counts, 0, sizeof *counts);
    struct out out = {.options = options,
                      .counts = counts,
                      .start_ns = weir_unix_ns(&weir_clock_system),
                      .datagram_bytes = options->datagram_bytes};
    counts->began_ns = counts->ended_ns = weir_mono_ns(&weir_clock_system);
    enum weir_status status = open_all(&out, err);
    if (status == WEIR_OK) status = play_all(&out, play, watch, err);
    close_all(&out);
    return status;
}
