/* post_blast.c - sends prepared requests over a few connections that stay open, one at a time on each, and says how
 * they were answered. post_blast --port P --path /api/v2/spans --type application/json --requests N [--connections C]
 * BODY... post_blast --port P --scribe 1 --requests N [--connections C] FRAME... Bodies (for HTTP's POST; without one
 * it is a GET, with --traced R each comes with a traceparent of its own, of which one in R is sampled) or frames
 * (Scribe's Log, with their length) are files, sent in turn; Scribe's with trace ids of their own each time, for spans
 * that come twice are dropped there. One line of JSON on stdout: requests, accepted (2xx, or OK), refused, seconds. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, ANSWER_BYTES = 16384, PATIENCE_MS = 20000, TRACES = 1000 };

enum { SPANS_MAX = 4096, ID_TEXT = 16, ID_BYTES = 12 };
struct message {
    char *bytes; /* head and body */
    size_t size;
    uint32_t span_count; /* of Scribe's */
    size_t spans[];      /* where the base64 of each begins */
};
struct connection {
    int fd;
    const struct message *message; /* NULL: there is no more to send */
    char *bytes;                   /* the message's, or a copy of it */
    size_t sent, got;
    char answer[ANSWER_BYTES];
};
struct blast {
    int port;
    long requests, connections, traced;
    const char *path, *type;
    bool scribe;
    struct message **messages;
    int message_count;
    size_t largest;
    long begun, accepted, refused;
    int poll;
};

static void die(const char *what) {
    fprintf(stderr, "post_blast: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

/* A LogEntry is its category, `zipkin`, and its message, with a length of four bytes. */
static void find_spans(struct message *message) {
    static const char mark[] = "zipkin\x0b\0\x02";
    const char *at = message->bytes, *end = at + message->size;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) != NULL && message->span_count < SPANS_MAX) {
        at += sizeof mark - 1 + 4;
        if (end - at < ID_TEXT) die("a span is too short");
        message->spans[message->span_count++] = (size_t)(at - message->bytes);
    }
}

/* The first field of a span is its trace id: bytes 3 to 10 of what 16 characters of base64 say. */
static void renumber(char *text, uint32_t turn) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t plain[ID_BYTES];
    for (int i = 0; i < ID_TEXT; i += 4) {
        uint32_t bits = 0;
        for (int n = 0; n < 4; n++) {
            const char *digit = memchr(digits, text[i + n], 64);
            if (digit == NULL) die("not base64");
            bits = bits << 6 | (uint32_t)(digit - digits);
        }
        for (int n = 0; n < 3; n++)
            plain[i / 4 * 3 + n] = (uint8_t)(bits >> (16 - 8 * n));
    }
    for (int n = 0; n < 4; n++)
        plain[3 + n] ^= (uint8_t)(turn >> 8 * n);
    for (int i = 0; i < ID_TEXT; i += 4) {
        const uint8_t *three = plain + i / 4 * 3;
        uint32_t bits = (uint32_t)three[0] << 16 | (uint32_t)three[1] << 8 | three[2];
        for (int n = 0; n < 4; n++)
            text[i + n] = digits[bits >> (18 - 6 * n) & 63];
    }
}

static struct message *read_body(struct blast *blast, const char *name) {
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) die(name);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char head[512];
    int head_size = 0;
    if (!blast->scribe)
        head_size =
            snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                     blast->path, blast->port, blast->type, size);
    struct message *message = calloc(1, sizeof *message + (blast->scribe ? SPANS_MAX : 0) * sizeof message->spans[0]);
    if (message == NULL) die("memory");
    message->size = (size_t)head_size + size;
    message->bytes = malloc(message->size);
    if (message->bytes == NULL) die("memory");
    memcpy(message->bytes, head, (size_t)head_size);
    if (fread(message->bytes + head_size, 1, size, file) != size) die(name);
    fclose(file);
    if (blast->scribe) find_spans(message);
    if (message->size > blast->largest) blast->largest = message->size;
    return message;
}

/* `turn` is from 0; ids are drawn by splitmix64. */
static struct message *without_body(struct blast *blast, int turn) {
    char trace[100] = "";
    if (blast->traced > 0) {
        uint64_t ids[3];
        for (uint64_t i = 0; i < 3; i++) {
            uint64_t bits = ((uint64_t)turn * 3 + i + 1) * 0x9e3779b97f4a7c15U;
            bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9U;
            bits = (bits ^ bits >> 27) * 0x94d049bb133111ebU;
            ids[i] = bits ^ bits >> 31;
        }
        snprintf(trace, sizeof trace, "traceparent: 00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-%02d\r\n", ids[0],
                 ids[1], ids[2], turn % blast->traced == 0);
    }
    struct message *message = calloc(1, sizeof *message);
    if (message == NULL) die("memory");
    int size =
        asprintf(&message->bytes, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", blast->path, blast->port, trace);
    if (size < 0) die("memory");
    message->size = (size_t)size;
    return message;
}

static void want(const struct blast *blast, struct connection *connection, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(blast->poll, EPOLL_CTL_MOD, connection->fd, &event) != 0) die("epoll_ctl");
}

static void push(const struct blast *blast, struct connection *connection) {
    while (connection->sent < connection->message->size) {
        ssize_t n = send(connection->fd, connection->bytes + connection->sent,
                         connection->message->size - connection->sent, MSG_NOSIGNAL);
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
    connection->message = NULL;
    if (blast->begun == blast->requests) return;
    uint32_t turn = (uint32_t)(blast->begun / blast->message_count + 1);
    connection->message = blast->messages[blast->begun++ % blast->message_count];
    if (blast->scribe) {
        memcpy(connection->bytes, connection->message->bytes, connection->message->size);
        for (uint32_t i = 0; i < connection->message->span_count; i++)
            renumber(connection->bytes + connection->message->spans[i], turn);
    } else {
        connection->bytes = connection->message->bytes;
    }
    connection->sent = connection->got = 0;
    push(blast, connection);
}

/* Scribe's answer as a status: OK is 200. */
static int scribe_status(const struct connection *connection) {
    const uint8_t *answer = (const uint8_t *)connection->answer;
    if (connection->got < 4) return 0;
    size_t size = (size_t)answer[0] << 24 | (size_t)answer[1] << 16 | (size_t)answer[2] << 8 | answer[3];
    if (connection->got < 4 + size) return 0;
    static const uint8_t ok[5]; /* the result's four bytes, and the end of its struct */
    return size > 5 && answer[7] == 2 && memcmp(answer + 4 + size - 5, ok, 5) == 0 ? 200 : 500;
}

/* The status of a whole answer in `answer`, or 0: more is to come. */
static int status_of(const struct blast *blast, const struct connection *connection) {
    if (blast->scribe) return scribe_status(connection);
    const char *end = memmem(connection->answer, connection->got, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t body = 0;
    for (const char *line = connection->answer; line < end; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, "Content-Length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
    }
    if (connection->got < (size_t)(end + 4 - connection->answer) + body) return 0;
    return atoi(connection->answer + 9);
}

static void pull(struct blast *blast, struct connection *connection) {
    ssize_t n = recv(connection->fd, connection->answer + connection->got, ANSWER_BYTES - 1 - connection->got, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the connection was closed");
    connection->got += (size_t)n;
    connection->answer[connection->got] = 0;
    int status = status_of(blast, connection);
    if (status == 0) return;
    if (status / 100 == 2) {
        blast->accepted++;
    } else {
        if (blast->refused++ == 0) fprintf(stderr, "post_blast: %s\n", connection->answer);
    }
    begin(blast, connection);
}

static void open_one(const struct blast *blast, struct connection *connection) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)blast->port)};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (blast->scribe && (connection->bytes = malloc(blast->largest)) == NULL) die("memory");
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(blast->poll, EPOLL_CTL_ADD, connection->fd, &event) != 0) die("epoll_ctl");
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct blast blast = {.requests = 1000, .connections = 16, .path = "/", .type = "application/octet-stream"};
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--port") == 0) {
            blast.port = atoi(argv[at + 1]);
        } else if (strcmp(argv[at], "--requests") == 0) {
            blast.requests = atol(argv[at + 1]);
        } else if (strcmp(argv[at], "--connections") == 0) {
            blast.connections = atol(argv[at + 1]);
        } else if (strcmp(argv[at], "--traced") == 0) {
            blast.traced = atol(argv[at + 1]);
        } else if (strcmp(argv[at], "--path") == 0) {
            blast.path = argv[at + 1];
        } else if (strcmp(argv[at], "--scribe") == 0) {
            blast.scribe = atoi(argv[at + 1]) != 0;
        } else if (strcmp(argv[at], "--type") == 0) {
            blast.type = argv[at + 1];
        } else {
            die(argv[at]);
        }
    }
    bool get = at == argc && !blast.scribe;
    blast.message_count = !get ? argc - at : blast.traced > 0 ? TRACES : 1;
    if (blast.message_count < 1 || blast.connections < 1 || blast.connections > CONNECTIONS_MAX) die("arguments");
    blast.messages = calloc((size_t)blast.message_count, sizeof(struct message *));
    for (int i = 0; i < blast.message_count; i++)
        blast.messages[i] = get ? without_body(&blast, i) : read_body(&blast, argv[at + i]);
    blast.poll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc((size_t)blast.connections, sizeof *connections);
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
            if (connection->message == NULL) continue;
            if ((events[i].events & EPOLLOUT) != 0) push(&blast, connection);
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) pull(&blast, connection);
        }
    }
    printf("{\"requests\": %ld, \"accepted\": %ld, \"refused\": %ld, \"seconds\": %.6f}\n", blast.requests,
           blast.accepted, blast.refused, seconds() - start);
    return 0;
}
