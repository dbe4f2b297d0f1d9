/* peer.h - the other end of an emitter's socket: hears datagrams, and reads them with the collector's decoder. */
#ifndef WEIR_TESTS_EMITTER_PEER_H
#define WEIR_TESTS_EMITTER_PEER_H
#define _GNU_SOURCE 1
#include "collector/core/wire.h"
#include "collector/decode/datagram.h"
#include "emitter/weir_emit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEER_SERIES = 64, PEER_PATIENCE_MS = 60000 }; /* with what has to come on a machine that does much else */

struct peer_series {
    char key[256]; /* 0x1f between its parts is a | here */
    double value;  /* a counter's; a histogram's sum */
    uint64_t count, buckets[16];
};

struct peer {
    int fd, room; /* bytes that the kernel keeps for it */
    char to[32];
    struct sockaddr_in from; /* of the last datagram */
    struct weir_names *names;
    struct weir_otlp *otlp;
    struct weir_datagrams *datagrams;
    struct weir_batch *batch; /* all spans so far */
    struct peer_series series[PEER_SERIES];
    uint32_t series_count;
    uint64_t heard, sender, start_ns, sequence, policy_version, bytes_min, bytes_max;
    uint32_t lost;    /* that the kernel had no room for, before the last one */
    uint64_t senders; /* that were heard, one after the other */
    bool is_signed;
    struct peer_ask { /* the last one */
        uint64_t nonce, version;
        size_t bytes;
        uint32_t count;     /* of names */
        char names[32][64]; /* the first of them */
    } ask;
    uint64_t asks;
};

static inline void peer_open(struct peer *peer) {
    memset(peer, 0, sizeof *peer);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int room = 8 << 20;
    peer->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(peer->fd, SOL_SOCKET, SO_RXQ_OVFL, &(int){1}, sizeof(int));
    getsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &peer->room, &(socklen_t){sizeof peer->room});
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(peer->fd, (struct sockaddr *)&in, &size), 0);
    snprintf(peer->to, sizeof peer->to, "127.0.0.1:%u", ntohs(in.sin_port));
    peer->names = weir_names_new(1 << 12, 1 << 20);
    peer->otlp = weir_otlp_new(peer->names);
    peer->datagrams = weir_datagrams_new(peer->otlp, peer->names, 256);
    peer->batch = weir_batch_new(NULL, 0);
    peer->bytes_min = UINT64_MAX;
}

static inline void peer_close(struct peer *peer) {
    weir_batch_unref(peer->batch);
    weir_datagrams_free(peer->datagrams);
    weir_otlp_free(peer->otlp);
    weir_names_free(peer->names);
    close(peer->fd);
}

static inline void peer_point(void *self, const struct weir_point *point) {
    struct peer *peer = self;
    char key[256] = "";
    assert_true(point->key_size < sizeof key);
    for (uint32_t i = 0; i < point->key_size; i++)
        key[i] = (char)(point->key[i] == WEIR_KEY_SEPARATOR ? '|' : point->key[i]);
    uint32_t i = 0;
    while (i < peer->series_count && strcmp(peer->series[i].key, key) != 0)
        i++;
    assert_true(i < PEER_SERIES);
    struct peer_series *series = &peer->series[i];
    if (i == peer->series_count) peer->series_count++;
    strcpy(series->key, key);
    if (point->kind == WEIR_POINT_COUNT) {
        series->value += point->value;
        return;
    }
    assert_int_equal(point->kind, WEIR_POINT_HISTOGRAM);
    series->value += point->data->sum;
    series->count += point->data->count;
    for (uint32_t b = 0; b <= point->data->bound_count; b++) {
        uint64_t n;
        memcpy(&n, point->data->counts + 8 * (size_t)b, 8);
        series->buckets[b] += n;
    }
}

static inline void peer_read_ask(struct peer *peer, const struct weir_datagram *datagram) {
    struct weir_wire wire = weir_wire_of(datagram->bytes, datagram->size), ask;
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 10) continue;
        peer->asks++;
        peer->ask = (struct peer_ask){.version = datagram->policy_version, .bytes = datagram->size};
        ask = weir_wire_of(field.bytes, field.value);
        while (weir_wire_next(&ask, &field)) {
            if (field.number == 1) peer->ask.nonce = field.value;
            if (field.number != 2) continue;
            uint32_t n = peer->ask.count++;
            if (n < 32) snprintf(peer->ask.names[n], 64, "%.*s", (int)field.value, (const char *)field.bytes);
        }
    }
}

/* One datagram: it is sound, of the run before and the next number, or the first of another run. So many were lost
 * before it. */
static inline void peer_read(struct peer *peer, const uint8_t *bytes, size_t size, uint32_t lost) {
    struct weir_datagram datagram;
    struct weir_error err = {0};
    struct weir_otlp_counts counts = {0};
    enum weir_status status = weir_datagram_read(bytes, size, &datagram, &err);
    if (status != WEIR_OK) fail_msg("%s", err.text);
    if (datagram.sender == peer->sender && datagram.start_ns == peer->start_ns) {
        assert_int_equal(datagram.sequence, peer->sequence + 1 + lost);
    } else {
        assert_true(datagram.sequence == 1 || lost > 0);
        peer->senders++;
    }
    peer->heard++;
    peer->sender = datagram.sender;
    peer->start_ns = datagram.start_ns;
    peer->sequence = datagram.sequence;
    peer->policy_version = datagram.policy_version;
    peer->is_signed = datagram.hmac != NULL;
    if (size < peer->bytes_min) peer->bytes_min = size;
    if (size > peer->bytes_max) peer->bytes_max = size;
    if (datagram.spans > 0) {
        status = weir_datagrams_spans(peer->datagrams, &datagram, peer->batch, &counts, &err);
        if (status != WEIR_OK) fail_msg("%s", err.text);
        assert_int_equal(counts.skipped, 0);
        assert_int_equal(counts.repaired, 0);
    }
    const struct weir_datagram_calls calls = {.self = peer, .point = peer_point};
    assert_int_equal(weir_datagrams_points(peer->datagrams, &datagram, &calls), 0);
    peer_read_ask(peer, &datagram);
}

/* Reads one datagram, and waits for it so long. False: none came. */
static inline bool peer_hear_one(struct peer *peer, int wait_ms) {
    static uint8_t bytes[65536];
    struct pollfd ready = {.fd = peer->fd, .events = POLLIN};
    struct iovec part = {bytes, sizeof bytes};
    union {
        struct cmsghdr header; /* for its alignment */
        uint8_t bytes[CMSG_SPACE(sizeof peer->lost)];
    } control;
    struct msghdr message = {.msg_name = &peer->from,
                             .msg_namelen = sizeof peer->from,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control};
    if (poll(&ready, 1, wait_ms) <= 0) return false;
    ssize_t got = recvmsg(peer->fd, &message, MSG_DONTWAIT);
    if (got < 0) return false;
    uint32_t lost = peer->lost;
    const struct cmsghdr *one = CMSG_FIRSTHDR(&message);
    if (one != NULL && one->cmsg_type == SO_RXQ_OVFL) memcpy(&lost, CMSG_DATA(one), sizeof lost);
    peer_read(peer, bytes, (size_t)got, lost - peer->lost);
    peer->lost = lost;
    return true;
}

/* Reads what there is, waits for the first so long. False: nothing came. */
static inline bool peer_hear(struct peer *peer, int wait_ms) {
    if (!peer_hear_one(peer, wait_ms)) return false;
    while (peer_hear_one(peer, 0)) {
    }
    return true;
}

static inline const struct peer_series *peer_find(const struct peer *peer, const char *key) {
    for (uint32_t i = 0; i < peer->series_count; i++) {
        if (strcmp(peer->series[i].key, key) == 0) return &peer->series[i];
    }
    return NULL;
}
static inline double peer_value(const struct peer *peer, const char *key) {
    const struct peer_series *series = peer_find(peer, key);
    return series != NULL ? series->value : 0;
}

/* Until a series has come to this. */
static inline void peer_hear_until(struct peer *peer, const char *key, double value) {
    while (peer_value(peer, key) < value) {
        if (!peer_hear(peer, PEER_PATIENCE_MS)) fail_msg("%s is %g, not %g", key, peer_value(peer, key), value);
    }
    assert_true(peer_value(peer, key) == value);
}

/* All that was handed over is sent, and all that was sent is heard. */
static inline void peer_flush(struct peer *peer, struct weir_emit *emit) {
    struct weir_emit_stats stats;
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS));
    weir_emit_stats(emit, &stats, sizeof stats);
    while (peer->heard + peer->lost < stats.datagrams)
        assert_true(peer_hear(peer, PEER_PATIENCE_MS));
}

static inline uint64_t peer_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline struct weir_emit *peer_emitter(const struct peer *peer, struct weir_emit_options *options) {
    char error[128] = "";
    options->to = peer->to;
    options->service = "cart";
    struct weir_emit *emit = weir_emit_open(options, error, sizeof error);
    if (emit == NULL) fail_msg("%s", error);
    return emit;
}
/* A span that is sound, of one trace and one id. */
static inline struct weir_emit_span peer_span(void) {
    static const uint8_t ids[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    return (struct weir_emit_span){.size = sizeof(struct weir_emit_span),
                                   .trace_id = ids,
                                   .span_id = ids,
                                   .start_ns = 1000,
                                   .end_ns = 2000,
                                   .threshold = 0,
                                   .randomness = WEIR_EMIT_UNKNOWN,
                                   .kind = WEIR_EMIT_SERVER};
}
/* Nothing leaves but by weir_emit_flush(). */
static inline struct weir_emit_options peer_options(void) {
    struct weir_emit_options options;
    weir_emit_defaults(&options, sizeof options);
    options.flush_ms = 60000;
    options.poll_ms = 0;
    options.initial_rate = 1;
    return options;
}
#endif
