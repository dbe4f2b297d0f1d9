/* How datagrams leave: by UDP_SEGMENT and without it, many at a time, by a thread that takes no signals. */
#include "tests/unit/emitter/peer.h"

#include "emitter/inside.h"

#include <dirent.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SPANS = 4000 }; /* of some 300 bytes: more than one sendmmsg takes */

static void send_many(bool segments) {
    static const char text[] =
        "some text that makes a span as long as those of a proxy are, with a path and a host in it";
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    if (peer.room < 4 << 20) { /* net.core.rmem_max: what is sent at once here would not find room */
        peer_close(&peer);
        skip();
    }
    options.ring_bytes = 4 << 20;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /items");
    pthread_mutex_lock(&emit->lock); /* the thread takes it before it sends */
    emit->segments = segments;
    pthread_mutex_unlock(&emit->lock);
    for (unsigned i = 0; i < SPANS; i++) {
        uint8_t ids[16];
        weir_emit_random(emit, ids, sizeof ids);
        const struct weir_emit_attribute attributes[2] = {weir_emit_text("a", text), weir_emit_text("b", text)};
        const struct weir_emit_span span = {.size = sizeof span,
                                            .trace_id = ids,
                                            .span_id = ids,
                                            .start_ns = i,
                                            .end_ns = i + 1,
                                            .randomness = WEIR_EMIT_UNKNOWN,
                                            .kind = WEIR_EMIT_SERVER,
                                            .attributes = attributes,
                                            .attribute_count = 2};
        assert_true(weir_emit_span(operation, &span));
    }
    peer_flush(&peer, emit);
    struct weir_emit_stats stats;
    weir_emit_stats(emit, &stats, sizeof stats);
    assert_int_equal(stats.datagrams, peer.heard);
    assert_true(peer.heard > (uint64_t)PACK_MESSAGES * PACK_SEGMENTS);
    assert_int_equal(peer.batch->span_count, SPANS);
    for (unsigned i = 0; i < SPANS; i++)
        assert_int_equal(peer.batch->spans[i].start_ns, i); /* in their order */
    weir_emit_close(emit);
    peer_close(&peer);
}

static void in_segments(void **state) {
    (void)state;
    send_many(true);
}
static void one_by_one(void **state) {
    (void)state;
    send_many(false);
}

static void hand_over(struct weir_emit_operation *operation, unsigned spans) {
    static char text[300];
    memset(text, 'x', sizeof text - 1);
    const struct weir_emit_attribute attributes[3] = {
        weir_emit_text_n("a", text, 250), weir_emit_text_n("b", text, 250), weir_emit_text_n("c", text, 250)};
    struct weir_emit_span span = peer_span();
    span.attributes = attributes, span.attribute_count = 3; /* one a datagram */
    for (unsigned i = 0; i < spans; i++)
        assert_true(weir_emit_span(operation, &span));
}

/* A network that is away for a while: what could not be sent is counted, all of it, and after it all is as before. */
static void a_network_that_comes_back(void **state) {
    (void)state;
    enum { LOST = 100, SENT = 50 };
    struct weir_emit_options options = peer_options();
    struct weir_emit_stats stats;
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /items");
    int good = dup(emit->fd), bad = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(bad, (struct sockaddr *)&emit->to, emit->to_size), 0);
    assert_int_equal(shutdown(bad, SHUT_WR), 0); /* its sends fail, as those of a device that is down */
    bool segments = emit->segments;
    dup2(bad, emit->fd);
    hand_over(operation, LOST);
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS));
    dup2(good, emit->fd);
    weir_emit_stats(emit, &stats, sizeof stats);
    assert_int_equal(stats.datagrams, 0);
    assert_true(stats.unsent >= LOST);
    peer.sender = emit->packer.sender, peer.start_ns = emit->packer.start_ns;
    peer.sequence = stats.unsent; /* their numbers are missing */
    hand_over(operation, SENT);
    peer_flush(&peer, emit);
    assert_int_equal(peer.batch->span_count, SENT);
    assert_true(peer_value(&peer, "emitter_unsent_total|reason|failed|service|cart") == (double)stats.unsent);
    assert_int_equal(emit->segments, segments);
    weir_emit_close(emit);
    close(good);
    close(bad);
    peer_close(&peer);
}

/* How often the thread has gone to sleep, or tried to: this stands before the C library's. */
static _Atomic unsigned polls;
int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct timespec left = {0};
    if (timeout != NULL) left = *timeout; /* the kernel writes what is left of it */
    polls++;
    return (int)syscall(SYS_ppoll, fds, count, timeout != NULL ? &left : NULL, mask, sizeof(uint64_t));
}

enum { CLOSED_PAUSE_MS = 100 }; /* run.c */

/* As daemons do it: the emitter is of no use then, and must not be a burden. */
static void descriptors_are_closed(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    options.flush_ms = 10;
    struct weir_emit *emit = peer_emitter(&peer, &options);
    weir_emit_request(weir_emit_operation(emit, "GET /items"));
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS));
    close(emit->fd);
    close(emit->wake_fd);
    unsigned seen = polls;
    for (unsigned i = 0; i < PEER_PATIENCE_MS && polls < seen + 2; i++)
        usleep(1000);
    assert_true(polls >= seen + 2); /* the second one finds them closed, if not the first */
    uint64_t began_ms = peer_clock_ms();
    unsigned before = polls;
    usleep(400000);
    unsigned more = polls - before;
    assert_true(more <= (peer_clock_ms() - began_ms) / CLOSED_PAUSE_MS + 2);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* ---- a machine whose network comes up later: a namespace of its own, whose loopback is down at first ---- */

static bool set_up(bool up) {
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = up ? IFF_UP | IFF_RUNNING : 0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return done;
}

enum { WAS_SENT, WAS_NOT_SENT, WAS_SENT_AT_ONCE, NOT_OPENED, NO_NAMESPACE };

static int open_before_the_network(void) {
    struct weir_emit_options options = peer_options();
    struct weir_emit_stats stats;
    struct peer peer;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return NO_NAMESPACE;
    peer_open(&peer);
    options.to = peer.to, options.service = "cart";
    struct weir_emit *emit = weir_emit_open(&options, NULL, 0);
    if (emit == NULL) return NOT_OPENED;
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /items");
    weir_emit_request(operation);
    weir_emit_flush(emit, PEER_PATIENCE_MS);
    weir_emit_stats(emit, &stats, sizeof stats);
    if (stats.unsent == 0 || stats.datagrams > 0) return WAS_SENT_AT_ONCE;
    if (!set_up(true)) return NO_NAMESPACE;
    peer.sender = emit->packer.sender, peer.start_ns = emit->packer.start_ns;
    peer.sequence = stats.unsent;
    weir_emit_request(operation);
    weir_emit_flush(emit, PEER_PATIENCE_MS);
    while (peer_value(&peer, "emitter_requests_total|operation|GET /items|service|cart") < 1 &&
           peer_hear(&peer, PEER_PATIENCE_MS)) {
    }
    bool good = peer_value(&peer, "emitter_requests_total|operation|GET /items|service|cart") == 1;
    weir_emit_close(emit);
    return good ? WAS_SENT : WAS_NOT_SENT;
}

static void opened_before_the_network(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* as in test_fork.c */
#endif
    pid_t child = fork();
    if (child == 0) _exit(open_before_the_network());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACE) skip();
    assert_int_equal(status, 0);
}

/* SigBlk of /proc/self/task/TID/status; 0: there is no such thread. */
static uint64_t blocked_of(const char *name) {
    char path[300], line[256];
    uint64_t blocked = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *file = fopen(path, "r");
        bool is_it = false;
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (strncmp(line, "Name:\t", 6) == 0) is_it = strncmp(line + 6, name, strlen(name)) == 0;
            if (is_it && strncmp(line, "SigBlk:\t", 8) == 0) blocked = strtoull(line + 8, NULL, 16);
        }
        if (file != NULL) fclose(file);
    }
    closedir(tasks);
    return blocked;
}

static void signals_are_for_others(void **state) {
    (void)state;
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD};
    struct weir_emit_options options = peer_options();
    struct peer peer;
    sigset_t before, mine;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    peer_open(&peer);
    struct weir_emit *emit = peer_emitter(&peer, &options);
    weir_emit_request(weir_emit_operation(emit, "GET /"));
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS)); /* it runs, and has its name */
    uint64_t blocked = blocked_of("weir_emit");
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        assert_true(blocked >> (signals[i] - 1) & 1);
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    assert_int_equal(sigismember(&mine, SIGTERM), sigismember(&before, SIGTERM));
    weir_emit_close(emit);
    for (unsigned i = 0; i < 12000 && blocked_of("weir_emit") != 0; i++)
        usleep(5000); /* joined, it is seen there until the kernel has taken it down */
    assert_int_equal(blocked_of("weir_emit"), 0);
    peer_close(&peer);
}

static void by_ipv6(void **state) {
    (void)state;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof in6;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in6, size) != 0) skip(); /* a machine without */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in6, &size), 0);
    char to[32];
    uint8_t bytes[2048];
    struct weir_emit_options options = peer_options();
    snprintf(to, sizeof to, "[::1]:%u", ntohs(in6.sin6_port));
    options.to = to;
    options.service = "cart";
    struct weir_emit *emit = weir_emit_open(&options, NULL, 0);
    assert_non_null(emit);
    weir_emit_request(weir_emit_operation(emit, "GET /"));
    weir_emit_close(emit); /* sends what is left */
    assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PEER_PATIENCE_MS), 1);
    assert_true(recv(fd, bytes, sizeof bytes, 0) > 0);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_segments),
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(a_network_that_comes_back),
        cmocka_unit_test(descriptors_are_closed),
        cmocka_unit_test(opened_before_the_network),
        cmocka_unit_test(signals_are_for_others),
        cmocka_unit_test(by_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
