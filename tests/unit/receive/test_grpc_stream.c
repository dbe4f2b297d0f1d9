/* Calls of many messages, either way: what a method is told and when, and what a caller may cost. The server stands on
 * a lane of its own, as in grpc_rig.h, and the client is nghttp2, whose windows are opened by hand. */
#include "collector/core/wire.h"
#include "collector/receive/grpc.h"
#include "collector/receive/listener.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { LARGE = 30000, LIMIT = 4 << 20 };

static struct {
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    struct weir_grpc *grpc;
    struct weir_listener *listener;
    struct weir_budget budget;
    pthread_t thread;
    uint16_t port;
    _Atomic uint32_t messages, ends, rooms, gones, released;
    _Atomic size_t most_unsent;
    _Atomic uint64_t ahead_ns;
} lane;

/* ---- methods ---- */

static void release(void *kept) {
    lane.released += *(uint32_t *)kept;
    free(kept);
}
static void keep_one(struct weir_grpc_call *call) {
    if (weir_grpc_kept(call) != NULL) return;
    uint32_t *one = malloc(sizeof *one);
    *one = 1;
    weir_grpc_keep(call, one, release);
}

/* By the first letter: "g" gzip from here on, "p" plain; "e" ends in a status; "b" is answered large; "h", "t":
 * metadata; all else comes back as it is, behind 1 when it was gzipped. */
static void echo(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    static uint8_t large[LARGE];
    (void)self;
    lane.messages++;
    keep_one(call);
    uint8_t first = (*message)->size > 0 ? (*message)->bytes[0] : 0, back[1024];
    switch (first) {
    case 'g': weir_grpc_gzip(call, true); return;
    case 'p': weir_grpc_gzip(call, false); return;
    case 'e': weir_grpc_refuse(call, WEIR_GRPC_UNKNOWN, "\t\nend \xe2\x98\xba%", 0); return;
    case 'h': weir_grpc_metadata(call, WEIR_GRPC_HEADER, (const uint8_t *)"x-h", 3, (const uint8_t *)"head", 4); return;
    case 't':
        weir_grpc_metadata(call, WEIR_GRPC_TRAILER, (const uint8_t *)"x-t", 3, (const uint8_t *)"tail", 4);
        return;
    case 'b': weir_grpc_send(call, large, sizeof large); break;
    default:
        back[0] = weir_grpc_was_compressed(call);
        assert_true((*message)->size < sizeof back);
        if ((*message)->size > 0) memcpy(back + 1, (*message)->bytes, (*message)->size);
        weir_grpc_send(call, back, 1 + (*message)->size);
    }
    size_t unsent = weir_grpc_unsent(call);
    if (unsent > lane.most_unsent) lane.most_unsent = unsent;
}
static void ended(void *self, struct weir_grpc_call *call) {
    (void)self;
    lane.ends++;
    weir_grpc_end(call);
}
static void room(void *self, struct weir_grpc_call *call) {
    (void)self, (void)call;
    lane.rooms++;
}
static void left(void *self, struct weir_grpc_call *call) {
    (void)self, (void)call;
    lane.gones++;
}
static const struct weir_grpc_method methods[] = {
    {.path = "/s/Echo", .called = echo, .half_closed = ended, .room = room, .gone = left}, {.path = NULL}};

/* ---- the lane ---- */

static uint64_t mono(void *self) {
    (void)self;
    return weir_mono_ns(&weir_clock_system) + lane.ahead_ns;
}
static uint64_t unix_time(void *self) {
    (void)self;
    return weir_unix_ns(&weir_clock_system);
}
static const struct weir_clock clock_ahead = {.mono_ns = mono, .unix_ns = unix_time};

static void accepted(void *self, int fd) {
    (void)self;
    weir_grpc_accept(lane.grpc, weir_stream_plain(fd));
}
static void *run(void *self) {
    (void)self;
    weir_loop_run(lane.loop);
    return NULL;
}
struct job {
    struct weir_mail mail; /* first */
    void (*run)(void);
    _Atomic bool done;
};
static void job_due(struct weir_mail *mail) {
    struct job *job = (struct job *)mail;
    job->run();
    job->done = true;
}
static void on_lane(void (*function)(void)) {
    struct job job = {.mail.deliver = job_due, .run = function};
    weir_mailbox_post(weir_loop_mailbox(lane.loop), &job.mail);
    while (!job.done)
        usleep(200);
}
static void start_job(void) {
    weir_listener_start(lane.listener, NULL);
}
static void drain_job(void) {
    weir_grpc_drain(lane.grpc);
}
static void free_job(void) {
    weir_grpc_free(lane.grpc);
    lane.grpc = NULL;
}

static int open_lane(void **state) {
    (void)state;
    struct weir_error err = {0};
    struct weir_listen listen = {.host = "127.0.0.1", .on = true};
    memset(&lane, 0, sizeof lane);
    lane.budget.limit_bytes = LIMIT;
    lane.loop = weir_loop_new(&clock_ahead, &err);
    lane.metrics = weir_metrics_new();
    const struct weir_grpc_options options = {.methods = methods, .budget = &lane.budget, .max_message_bytes = 1 << 20};
    const struct weir_http2_limits limits = {
        .max_connections = 8, .max_concurrent_streams = 100, .keepalive_min_ns = WEIR_S};
    assert_int_equal(weir_grpc_new(&lane.grpc, lane.loop, lane.metrics, &options, &limits, &err), WEIR_OK);
    assert_int_equal(weir_listener_open(&lane.listener, "test", &listen, lane.loop, accepted, NULL, &err), WEIR_OK);
    lane.port = weir_listener_port(lane.listener);
    pthread_create(&lane.thread, NULL, run, NULL);
    on_lane(start_job);
    return 0;
}
static int close_lane(void **state) {
    (void)state;
    on_lane(free_job);
    weir_loop_stop(lane.loop);
    pthread_join(lane.thread, NULL);
    weir_listener_close(lane.listener);
    weir_loop_free(lane.loop);
    weir_metrics_free(lane.metrics);
    assert_int_equal(lane.budget.used_bytes, 0); /* whatever happened, all was given back */
    return 0;
}

/* ---- the client: one call ---- */

struct caller {
    nghttp2_session *session;
    int fd;
    int32_t stream;
    uint8_t out[4 << 20]; /* of its body: [at .. size) is to be sent */
    size_t size, at;
    bool half_close; /* behind it */
    bool hold;       /* what comes is not consumed */
    uint8_t in[1 << 20];
    size_t in_size;
    char status[8], message[64], encoding[16], x_h[16], x_t[16];
    bool x_h_first; /* it came before the body */
    bool closed;
    uint32_t error;
};
static struct caller caller;

static int header_came(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                       const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    (void)session, (void)flags, (void)user, (void)frame, (void)name_size;
    const struct {
        const char *name;
        char *to;
        size_t size;
    } known[] = {{"grpc-status", caller.status, sizeof caller.status},
                 {"grpc-message", caller.message, sizeof caller.message},
                 {"grpc-encoding", caller.encoding, sizeof caller.encoding},
                 {"x-h", caller.x_h, sizeof caller.x_h},
                 {"x-t", caller.x_t, sizeof caller.x_t}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp((const char *)name, known[i].name) == 0)
            snprintf(known[i].to, known[i].size, "%.*s", (int)value_size, (const char *)value);
    if (strcmp((const char *)name, "x-h") == 0)
        caller.x_h_first = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 && caller.in_size == 0;
    return 0;
}
static int data_came(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t size,
                     void *user) {
    (void)flags, (void)user;
    assert_true(caller.in_size + size <= sizeof caller.in);
    memcpy(caller.in + caller.in_size, bytes, size);
    caller.in_size += size;
    if (!caller.hold) nghttp2_session_consume(session, stream, size);
    return 0;
}
static int stream_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
    (void)session, (void)stream, (void)user;
    caller.closed = true;
    caller.error = error;
    return 0;
}
static ssize_t body(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t size, uint32_t *flags,
                    nghttp2_data_source *source, void *user) {
    (void)session, (void)stream, (void)source, (void)user;
    size_t most = caller.size - caller.at;
    if (most == 0 && !caller.half_close) return NGHTTP2_ERR_DEFERRED;
    if (size > most) size = most;
    if (size > 0) memcpy(bytes, caller.out + caller.at, size);
    caller.at += size;
    if (caller.at == caller.size && caller.half_close) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void begin_call(const char *accept_encoding, const char *timeout) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    memset(&caller, 0, sizeof caller);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header_came);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_came);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&caller.session, callbacks, NULL, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(lane.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    caller.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(caller.fd, (struct sockaddr *)&to, sizeof to);
    nghttp2_submit_settings(caller.session, NGHTTP2_FLAG_NONE, NULL, 0);
#define FIELD(key, text)                                                                                               \
    (nghttp2_nv){(uint8_t *)(key), (uint8_t *)(uintptr_t)(text), strlen(key), strlen(text), NGHTTP2_NV_FLAG_NONE}
    nghttp2_nv fields[9] = {FIELD(":method", "POST"),      FIELD(":scheme", "http"),
                            FIELD(":authority", "w"),      FIELD(":path", "/s/Echo"),
                            FIELD("te", "trailers"),       FIELD("content-type", "application/grpc"),
                            FIELD("grpc-encoding", "gzip")};
    size_t count = 7;
    if (accept_encoding != NULL) fields[count++] = FIELD("grpc-accept-encoding", accept_encoding);
    if (timeout != NULL) fields[count++] = FIELD("grpc-timeout", timeout);
    nghttp2_data_provider provider = {.read_callback = body};
    caller.stream = nghttp2_submit_request(caller.session, NULL, fields, count, &provider, NULL);
}

static void say(const void *bytes, size_t size, uint8_t flag) {
    const uint8_t prefix[5] = {flag, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    assert_true(caller.size + 5 + size <= sizeof caller.out);
    memcpy(caller.out + caller.size, prefix, 5);
    if (size > 0) memcpy(caller.out + caller.size + 5, bytes, size);
    caller.size += 5 + size;
    nghttp2_session_resume_data(caller.session, caller.stream);
}
static void say_text(const char *text) {
    say(text, strlen(text), 0);
}
static void half_close(void) {
    caller.half_close = true;
    nghttp2_session_resume_data(caller.session, caller.stream);
}

/* Moves bytes until the answer has so many bytes, or is whole (in_size SIZE_MAX), or nothing moved for so long. */
static void pump(size_t in_size, int quiet_ms) {
    static uint8_t bytes[65536];
    static const uint8_t *unsent;
    static ssize_t unsent_size;
    if (caller.in_size == 0 && caller.at == 0) unsent_size = 0;
    for (;;) {
        bool moved = false;
        while (unsent_size > 0 || (unsent_size = nghttp2_session_mem_send(caller.session, &unsent)) > 0) {
            ssize_t n = send(caller.fd, unsent, (size_t)unsent_size, MSG_NOSIGNAL);
            if (n <= 0) break;
            unsent += n;
            unsent_size -= n;
            moved = true;
        }
        if (caller.closed || caller.in_size >= in_size) return;
        struct pollfd ready = {.fd = caller.fd, .events = (short)(POLLIN | (unsent_size > 0 ? POLLOUT : 0))};
        if (!moved && poll(&ready, 1, quiet_ms) == 0) return;
        ssize_t n = recv(caller.fd, bytes, sizeof bytes, 0);
        if (n == 0) return;
        if (n > 0) assert_true(nghttp2_session_mem_recv(caller.session, bytes, (size_t)n) == n);
    }
}
enum { PATIENCE_MS = 60000 }; /* with what has to come on a machine that does much else */
/* The answer has so many messages, whole. */
static void pump_messages(size_t count) {
    for (size_t before = SIZE_MAX;;) {
        size_t whole = 0, at = 0;
        while (at + 5 <= caller.in_size) {
            const uint8_t *head = caller.in + at;
            at += 5 + ((size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4]);
            if (at <= caller.in_size) whole++;
        }
        if (whole >= count) return;
        assert_int_not_equal(caller.in_size, before);
        before = caller.in_size;
        pump(caller.in_size + 1, PATIENCE_MS);
    }
}
static void hang_up(void) {
    nghttp2_session_del(caller.session);
    close(caller.fd);
}
static void until(_Atomic uint32_t *count, uint32_t wanted) {
    for (int i = 0; i < 60000 && *count < wanted; i++)
        usleep(1000);
    assert_int_equal(*count, wanted);
}

/* ---- tests ---- */

static void each_message_as_it_comes(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("one");
    pump(9, PATIENCE_MS);
    assert_memory_equal(caller.in, "\0\0\0\0\4\0one", 9);
    assert_int_equal(lane.ends, 0);
    until(&lane.rooms, 1); /* what was sent is on its way */
    say("", 0, 0);         /* an empty one is one too */
    say_text("Two");
    pump(24, PATIENCE_MS);
    assert_memory_equal(caller.in + 9, "\0\0\0\0\1\0\0\0\0\0\4\0Two", 15);
    half_close();
    pump(SIZE_MAX, PATIENCE_MS);
    assert_true(caller.closed);
    assert_string_equal(caller.status, "0");
    assert_int_equal(lane.messages, 3);
    assert_int_equal(lane.ends, 1);
    assert_int_equal(lane.gones, 0);
    hang_up();
    until(&lane.released, 1);
}

static void an_empty_stream(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    half_close();
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "0");
    assert_int_equal(lane.messages, 0);
    assert_int_equal(caller.in_size, 0);
    hang_up();
}

static void cut_within_a_message(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("one");
    say_text("two");
    caller.size--;
    half_close();
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "13");
    assert_string_equal(caller.message, "the call ended within its message");
    assert_int_equal(lane.messages, 1);
    assert_int_equal(lane.ends, 0);
    assert_int_equal(lane.gones, 1); /* who was called is told */
    hang_up();
}

static void a_status_between(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("t");
    say_text("one");
    say_text("e");
    say_text("never read");
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "2");
    assert_string_equal(caller.message, "%09%0Aend %E2%98%BA%25");
    assert_string_equal(caller.x_t, "tail");
    assert_int_equal(caller.in_size, 9);
    assert_int_equal(lane.messages, 3);
    assert_int_equal(lane.gones, 0); /* it was the method that ended it */
    hang_up();
}

static void metadata_before_any_message(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("h");
    say_text("t");
    say_text("e");
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "2");
    assert_string_equal(caller.x_h, "head");
    assert_true(caller.x_h_first);
    assert_string_equal(caller.x_t, "tail");
    hang_up();
}

static size_t unpack(const uint8_t *framed, uint8_t *out, size_t room) {
    size_t size = (size_t)framed[1] << 24 | (size_t)framed[2] << 16 | (size_t)framed[3] << 8 | framed[4];
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)framed + 5, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};
    inflateInit2(&z, 15 + 16);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    return z.total_out;
}

static void gzip_both_ways(void **state) {
    (void)state;
    uint8_t packed[128], plain[LARGE];
    z_stream z = {.next_in = (uint8_t *)"Packed", .avail_in = 6, .next_out = packed, .avail_out = sizeof packed};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    begin_call("identity, deflate,gzip", NULL);
    say_text("g");
    say_text("Plain");
    say(packed, z.total_out, 1); /* a stream may mix */
    deflateEnd(&z);
    pump_messages(2);
    assert_string_equal(caller.encoding, "gzip");
    assert_int_equal(caller.in[0], 1);
    assert_int_equal(unpack(caller.in, plain, sizeof plain), 6);
    assert_memory_equal(plain, "\0Plain", 6);
    size_t second = 5 + caller.in[4];
    assert_int_equal(caller.in[second], 1);
    assert_int_equal(unpack(caller.in + second, plain, sizeof plain), 7);
    assert_memory_equal(plain, "\1Packed", 7);
    size_t third = caller.in_size;
    say_text("b");
    pump_messages(3);
    assert_true(caller.in_size - third < LARGE / 10);
    assert_int_equal(unpack(caller.in + third, plain, sizeof plain), LARGE);
    third = caller.in_size;
    say_text("p");
    say_text("x");
    pump(third + 7, PATIENCE_MS);
    assert_memory_equal(caller.in + third, "\0\0\0\0\2\0x", 7);
    half_close();
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "0");
    hang_up();
}

static void no_gzip_for_who_does_not_read_it(void **state) {
    (void)state;
    static const char *const lists[] = {NULL, "identity", "gzip2, xgzip", "deflate", ",, ,"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        begin_call(lists[i], NULL);
        say_text("g");
        say_text("x");
        pump(7, PATIENCE_MS);
        assert_memory_equal(caller.in, "\0\0\0\0\2\0x", 7);
        assert_string_equal(caller.encoding, "");
        hang_up();
    }
}

/* 21 MB of answers are asked for and none is read: what is made of them stays within bounds, and once the caller reads,
 * all of them come. */
static void who_does_not_read_is_not_read_from(void **state) {
    (void)state;
    enum { ASKED = 30 };
    begin_call(NULL, NULL);
    caller.hold = true;
    for (int i = 0; i < ASKED; i++)
        say_text("b");
    pump(65535, PATIENCE_MS);
    pump(SIZE_MAX, 300);
    uint32_t read = lane.messages;
    assert_true(read < ASKED); /* the rest waits */
    assert_true(lane.most_unsent <= WEIR_GRPC_AHEAD_BYTES + LARGE + 10);
    assert_true(lane.budget.used_bytes > 0 && lane.budget.used_bytes < 4 * WEIR_GRPC_AHEAD_BYTES);
    assert_int_equal(caller.in_size, 65535); /* the window of a client that says nothing else */
    caller.hold = false;
    nghttp2_session_consume(caller.session, caller.stream, caller.in_size);
    half_close();
    caller.half_close = true;
    pump(SIZE_MAX, PATIENCE_MS);
    assert_true(caller.closed);
    assert_string_equal(caller.status, "0");
    assert_int_equal(lane.messages, ASKED);
    assert_int_equal(caller.in_size, ASKED * (LARGE + 5));
    assert_true(lane.most_unsent <= WEIR_GRPC_AHEAD_BYTES + LARGE + 10);
    hang_up();
}

/* A caller that writes on and reads nothing fills its window and no more. */
static void a_window_bounds_what_waits(void **state) {
    (void)state;
    static uint8_t filler[60000];
    begin_call(NULL, NULL);
    caller.hold = true;
    for (int i = 0; i < 8; i++)
        say_text("b");
    for (int i = 0; i < 50; i++)
        say(filler, sizeof filler, 0); /* 3 MB */
    pump(SIZE_MAX, 300);
    assert_true(caller.at < 1200000); /* a stream's window is 1 MiB */
    assert_true(lane.budget.used_bytes < 3 << 20);
    hang_up(); /* and all is given back: close_lane() */
    until(&lane.gones, 1);
    until(&lane.released, 1);
}

static void patience(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("one");
    pump(9, PATIENCE_MS);
    lane.ahead_ns = 40 * WEIR_S; /* a stream may be silent between its messages */
    pump(SIZE_MAX, 1500);
    assert_false(caller.closed);
    say_text("two");
    caller.size -= 2; /* but not within one */
    pump(SIZE_MAX, 300);
    assert_false(caller.closed);
    lane.ahead_ns = 80 * WEIR_S;
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "4");
    assert_int_equal(lane.gones, 1);
    hang_up();

    begin_call(NULL, NULL); /* nor may its answer stay unread */
    caller.hold = true;
    for (int i = 0; i < 10; i++)
        say_text("b");
    pump(SIZE_MAX, 300);
    assert_false(caller.closed);
    lane.ahead_ns = 120 * WEIR_S;
    pump(SIZE_MAX, PATIENCE_MS);
    assert_true(caller.closed);
    assert_int_equal(caller.error, NGHTTP2_CANCEL);
    until(&lane.gones, 2);
    hang_up();
}

static void a_deadline_ends_a_stream(void **state) {
    (void)state;
    begin_call(NULL, "3600S");
    say_text("one");
    pump(9, PATIENCE_MS);
    lane.ahead_ns = 3601 * WEIR_S;
    pump(SIZE_MAX, PATIENCE_MS);
    assert_string_equal(caller.status, "4");
    assert_string_equal(caller.message, "the caller's grpc-timeout has passed");
    assert_int_equal(caller.in_size, 9);
    assert_int_equal(lane.gones, 1);
    hang_up();
}

static void a_drain_ends_a_stream(void **state) {
    (void)state;
    begin_call(NULL, NULL);
    say_text("one");
    pump(9, PATIENCE_MS);
    on_lane(drain_job);
    pump(SIZE_MAX, PATIENCE_MS);
    assert_true(caller.closed);
    assert_string_equal(caller.status, "14");
    assert_int_equal(lane.gones, 1);
    hang_up();
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lane, close_lane)
    const struct CMUnitTest tests[] = {
        TEST(each_message_as_it_comes),
        TEST(an_empty_stream),
        TEST(cut_within_a_message),
        TEST(a_status_between),
        TEST(metadata_before_any_message),
        TEST(gzip_both_ways),
        TEST(no_gzip_for_who_does_not_read_it),
        TEST(who_does_not_read_is_not_read_from),
        TEST(a_window_bounds_what_waits),
        TEST(patience),
        TEST(a_deadline_ends_a_stream),
        TEST(a_drain_ends_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
