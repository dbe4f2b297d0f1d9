/* http_rig.h - a lane for an HTTP receiver, and a client that blocks. */
#ifndef WEIR_TESTS_HTTP_RIG_H
#define WEIR_TESTS_HTTP_RIG_H
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "tests/unit/free_port.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static struct {
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    pthread_t thread;
    uint16_t port;
    _Atomic uint64_t ahead_ns;     /* its clock runs so much before the system's; libmicrohttpd has one of its own */
    _Atomic uint64_t stands_at_ns; /* not 0: the system's clock is not looked at any more, this is what it says */
} lane;
enum { PATIENCE_MS = 60000 }; /* with what has to come on a machine that does much else */

static uint64_t lane_mono(void *self) {
    (void)self;
    uint64_t stands_at_ns = lane.stands_at_ns;
    return (stands_at_ns != 0 ? stands_at_ns : weir_mono_ns(&weir_clock_system)) + lane.ahead_ns;
}
static uint64_t lane_unix(void *self) {
    (void)self;
    return weir_unix_ns(&weir_clock_system);
}
static const struct weir_clock lane_clock = {.mono_ns = lane_mono, .unix_ns = lane_unix};

static void *lane_run(void *self) {
    (void)self;
    weir_loop_run(lane.loop);
    return NULL;
}
/* Time goes on only as the test says, however long the machine takes for anything. */
static inline void lane_clock_stands(void) {
    lane.stands_at_ns = weir_mono_ns(&weir_clock_system);
}
static inline void lane_open(void) {
    lane.ahead_ns = lane.stands_at_ns = 0;
    lane.loop = weir_loop_new(&lane_clock, NULL);
    lane.metrics = weir_metrics_new();
    assert_non_null(lane.loop);
    assert_non_null(lane.metrics);
}
static inline void lane_start(void) {
    assert_int_equal(pthread_create(&lane.thread, NULL, lane_run, NULL), 0);
}
static inline void lane_join(void) {
    weir_loop_stop(lane.loop);
    pthread_join(lane.thread, NULL);
}
static inline void lane_free(void) {
    weir_loop_free(lane.loop);
    weir_metrics_free(lane.metrics);
}

/* A job for the lane's thread; returns when it is done. */
struct lane_job {
    struct weir_mail mail; /* first */
    void (*run)(void);
    _Atomic bool done;
};
static void lane_deliver(struct weir_mail *mail) {
    struct lane_job *job = (struct lane_job *)mail;
    job->run();
    job->done = true;
}
static inline void on_lane(void (*run)(void)) {
    struct lane_job job = {.mail.deliver = lane_deliver, .run = run};
    weir_mailbox_post(weir_loop_mailbox(lane.loop), &job.mail);
    while (!job.done)
        usleep(200);
}

static inline void lane_nothing(void) {}

/* What was said before has been heard: a round of the lane accepts, another one reads. */
static inline void lane_catches_up(void) {
    for (int round = 0; round < 8; round++)
        on_lane(lane_nothing);
}

/* The value of a line of /metrics, 0 when it is not there. */
static inline double metric(const char *name) {
    struct weir_buffer page = {0};
    weir_metrics_expose(lane.metrics, &page);
    weir_buffer_byte(&page, 0);
    size_t size = strlen(name);
    double value = 0;
    for (char *line = (char *)page.bytes; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) == 0 && line[size] == ' ') value = strtod(line + size, NULL);
    }
    weir_buffer_free(&page);
    return value;
}

/* ---- the client ---- */

static int dial(void) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(lane.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* False: the other side has closed. */
static bool say(int fd, const void *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)bytes + at, size - at, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

static inline bool say_text(int fd, const char *text) {
    return say(fd, text, strlen(text));
}

struct reply {
    unsigned status; /* 0: the connection ended before an answer */
    char head[2048];
    uint8_t body[64 * 1024];
    size_t body_size;
};

/* The next answer; reads no byte behind it. */
static struct reply *listen_to(int fd) {
    static struct reply reply;
    memset(&reply, 0, sizeof reply);
    size_t size = 0;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (size < sizeof reply.head - 1) {
        if (poll(&poller, 1, PATIENCE_MS) != 1) fail_msg("no answer within a minute");
        if (recv(fd, reply.head + size, 1, 0) != 1) return &reply;
        reply.head[++size] = 0;
        if (size >= 4 && strcmp(reply.head + size - 4, "\r\n\r\n") == 0) break;
    }
    const char *length = strcasestr(reply.head, "\r\ncontent-length:");
    size_t body = length != NULL ? (size_t)atoi(length + 17) : 0;
    assert_true(body <= sizeof reply.body);
    while (reply.body_size < body) {
        ssize_t n = recv(fd, reply.body + reply.body_size, body - reply.body_size, 0);
        if (n <= 0) return &reply;
        reply.body_size += (size_t)n;
    }
    assert_int_equal(sscanf(reply.head, "HTTP/1.1 %u ", &reply.status), 1);
    return &reply;
}

static inline bool has_header(const struct reply *reply, const char *line) {
    char whole[160];
    snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
    return strcasestr(reply->head, whole) != NULL;
}

/* Says a byte over and over, a step of the lane's clock apart, until the other side hangs up: by most_ns, where the
 * clock waits for a lane that is slow. How far it was then. */
static inline uint64_t dribble(int fd, uint64_t step_ns, uint64_t most_ns) {
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    uint64_t at_ns = 0;
    for (unsigned waited_ms = 0; say_text(fd, "x") && poll(&poller, 1, 20) == 0;) {
        if (at_ns < most_ns) {
            lane.ahead_ns += step_ns;
            at_ns += step_ns;
        } else if ((waited_ms += 20) > PATIENCE_MS) {
            fail_msg("it is still listened to");
        }
    }
    return at_ns;
}

static inline bool at_end(int fd) {
    char byte;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, PATIENCE_MS) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

/* headers: whole lines, each with its CRLF; Content-Length is added. */
static bool post(int fd, const char *path, const char *headers, const void *body, size_t size) {
    char head[1024];
    int n = snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: weir\r\nContent-Length: %zu\r\n%s\r\n", path, size,
                     headers);
    return say(fd, head, (size_t)n) && say(fd, body, size);
}

/* On a connection of its own. */
static inline struct reply *post_once(const char *path, const char *headers, const void *body, size_t size) {
    int fd = dial();
    post(fd, path, headers, body, size);
    struct reply *reply = listen_to(fd);
    close(fd);
    return reply;
}

static inline size_t gzip(const void *bytes, size_t size, uint8_t *out, size_t room) {
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)bytes, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}
#endif
