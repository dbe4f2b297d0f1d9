/* scribe_blast.c - sends prepared calls of Scribe over a few connections, one at a time on each, every call with trace
 * ids of its own, and says how they were answered. scribe_blast --port P --requests N [--connections C] BODY... The
 * bodies are files of one framed Log() each, whose spans begin with field 1, the trace id. One line of JSON on stdout:
 * requests, accepted (OK), refused, seconds, slowest_ms. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 256,
    SPANS_MAX = 4096,
    ANSWER_BYTES = 4096,
    PATIENCE_MS = 20000,
    HEAD_TEXT = 16,
    HEAD_BYTES = 12
};

struct body {
    uint8_t *bytes;
    size_t size;
    uint32_t spans;
    size_t at[SPANS_MAX];                 /* of the base64 of each span */
    uint8_t heads[SPANS_MAX][HEAD_BYTES]; /* what its first 16 characters say: the field's head, trace id, a byte */
};
struct connection {
    int fd;
    uint8_t *call;
    size_t size, sent, got;
    double began;
    uint8_t answer[ANSWER_BYTES];
};
struct blast {
    int port, poll, body_count;
    long requests, connections, begun, accepted, refused;
    double slowest;
    struct body *bodies;
    size_t largest;
};

static void die(const char *what) {
    fprintf(stderr, "scribe_blast: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void decode_head(const uint8_t *text, uint8_t *plain) {
    for (int i = 0; i < HEAD_TEXT; i += 4) {
        uint32_t bits = 0;
        for (int n = 0; n < 4; n++) {
            const char *digit = memchr(digits, text[i + n], 64);
            if (digit == NULL) die("not base64");
            bits = bits << 6 | (uint32_t)(digit - digits);
        }
        *plain++ = (uint8_t)(bits >> 16);
        *plain++ = (uint8_t)(bits >> 8);
        *plain++ = (uint8_t)bits;
    }
}

static void encode_head(const uint8_t *plain, uint8_t *text) {
    for (int i = 0; i < HEAD_BYTES; i += 3) {
        uint32_t bits = (uint32_t)plain[i] << 16 | (uint32_t)plain[i + 1] << 8 | plain[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *text++ = (uint8_t)digits[bits >> shift & 63];
    }
}

static void read_body(struct blast *blast, const char *name, struct body *body) {
    static const uint8_t mark[] = {'z', 'i', 'p', 'k', 'i', 'n', 11, 0, 2};
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) die(name);
    body->size = (size_t)ftell(file);
    rewind(file);
    body->bytes = malloc(body->size);
    if (body->bytes == NULL || fread(body->bytes, 1, body->size, file) != body->size) die(name);
    fclose(file);
    const uint8_t *at = body->bytes, *end = at + body->size;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark)) != NULL && body->spans < SPANS_MAX) {
        at += sizeof mark + 4;
        if (end - at < HEAD_TEXT) die("a span is too short");
        body->at[body->spans] = (size_t)(at - body->bytes);
        decode_head(at, body->heads[body->spans++]);
    }
    if (body->size > blast->largest) blast->largest = body->size;
}

static void want(const struct blast *blast, struct connection *connection, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(blast->poll, EPOLL_CTL_MOD, connection->fd, &event) != 0) die("epoll_ctl");
}

static void push(const struct blast *blast, struct connection *connection) {
    while (connection->sent < connection->size) {
        ssize_t n = send(connection->fd, connection->call + connection->sent, connection->size - connection->sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            want(blast, connection, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0) die("send");
        connection->sent += (size_t)n;
    }
    want(blast, connection, EPOLLIN);
}

static void begin(struct blast *blast, struct connection *connection) {
    connection->size = 0;
    if (blast->begun == blast->requests) return;
    const struct body *body = &blast->bodies[blast->begun % blast->body_count];
    uint32_t turn = (uint32_t)(blast->begun++ / blast->body_count + 1);
    memcpy(connection->call, body->bytes, body->size);
    for (uint32_t i = 0; i < body->spans; i++) {
        uint8_t head[HEAD_BYTES];
        memcpy(head, body->heads[i], sizeof head);
        for (int n = 0; n < 4; n++) /* of the trace id's eight bytes, from the fourth byte on */
            head[3 + n] ^= (uint8_t)(turn >> 8 * n);
        encode_head(head, connection->call + body->at[i]);
    }
    connection->size = body->size;
    connection->sent = connection->got = 0;
    connection->began = seconds();
    push(blast, connection);
}

static void pull(struct blast *blast, struct connection *connection) {
    ssize_t n =
        recv(connection->fd, connection->answer + connection->got, ANSWER_BYTES - connection->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the connection was closed");
    connection->got += (size_t)n;
    uint32_t size;
    memcpy(&size, connection->answer, 4);
    if (connection->got < 4 || connection->got < 4 + (size_t)ntohl(size)) return;
    double took = seconds() - connection->began;
    if (took > blast->slowest) blast->slowest = took;
    /* ... field 0: i32 ResultCode, STOP */
    if (connection->answer[7] == 2 && connection->answer[connection->got - 2] == 0)
        blast->accepted++;
    else
        blast->refused++;
    begin(blast, connection);
}

static void open_one(const struct blast *blast, struct connection *connection) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)blast->port)};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->call = malloc(blast->largest);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->call == NULL || connection->fd < 0 ||
        connect(connection->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(blast->poll, EPOLL_CTL_ADD, connection->fd, &event) != 0) die("epoll_ctl");
}

int main(int argc, char **argv) {
    static struct connection connections[CONNECTIONS_MAX];
    struct blast blast = {.requests = 1000, .connections = 16};
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--port") == 0)
            blast.port = atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--requests") == 0)
            blast.requests = atol(argv[at + 1]);
        else if (strcmp(argv[at], "--connections") == 0)
            blast.connections = atol(argv[at + 1]);
        else
            die(argv[at]);
    }
    blast.body_count = argc - at;
    if (blast.body_count < 1 || blast.connections < 1 || blast.connections > CONNECTIONS_MAX) die("arguments");
    blast.bodies = calloc((size_t)blast.body_count, sizeof *blast.bodies);
    if (blast.bodies == NULL) die("memory");
    for (int i = 0; i < blast.body_count; i++)
        read_body(&blast, argv[at + i], &blast.bodies[i]);
    blast.poll = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < blast.connections; i++)
        open_one(&blast, &connections[i]);
    double start = seconds();
    for (long i = 0; i < blast.connections; i++)
        begin(&blast, &connections[i]);
    while (blast.accepted + blast.refused < blast.requests) {
        struct epoll_event events[64];
        int n = epoll_wait(blast.poll, events, 64, PATIENCE_MS);
        if (n <= 0) die("no answer");
        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->size == 0) continue;
            if ((events[i].events & EPOLLOUT) != 0) push(&blast, connection);
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) pull(&blast, connection);
        }
    }
    printf("{\"requests\": %ld, \"accepted\": %ld, \"refused\": %ld, \"seconds\": %.6f, \"slowest_ms\": %.3f}\n",
           blast.requests, blast.accepted, blast.refused, seconds() - start, blast.slowest * 1000);
    return 0;
}
