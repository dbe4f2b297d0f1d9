/* What one connection may send. The first byte says how: 0 the rest as it is; 1 behind the preface and SETTINGS; 2 as
 * the body of an Export call; 3 the same, flagged as gzip; 4 as the messages of a stream whose answers are large; 5 as
 * 3, as zstd. The last four also cut it into DATA frames at odd places. */
#include "collector/decode/otlp.h"
#include "collector/receive/grpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 * 1024 };

static struct {
    struct weir_stream stream;
    struct weir_loop *loop;
    int fd; /* always readable, so that the loop asks for more */
    uint8_t bytes[2 * INPUT_MAX];
    size_t size, at, step;
} peer;
static struct weir_otlp *otlp;

static ssize_t peer_read(struct weir_stream *stream, uint8_t *bytes, size_t size) {
    (void)stream;
    size_t left = peer.size - peer.at;
    if (left == 0) return WEIR_STREAM_END;
    if (size > left) size = left;
    if (size > peer.step) size = peer.step;
    memcpy(bytes, peer.bytes + peer.at, size);
    peer.at += size;
    return (ssize_t)size;
}
static ssize_t peer_write(struct weir_stream *stream, const uint8_t *bytes, size_t size) {
    (void)stream, (void)bytes;
    return (ssize_t)size;
}
static uint32_t peer_wants(const struct weir_stream *stream) {
    (void)stream;
    return 0;
}
static int peer_fd(const struct weir_stream *stream) {
    (void)stream;
    return peer.fd;
}
static void peer_close(struct weir_stream *stream) {
    (void)stream;
    weir_loop_stop(peer.loop);
}
static const struct weir_stream_kind peer_kind = {
    .read = peer_read, .write = peer_write, .wants = peer_wants, .fd = peer_fd, .close = peer_close};

static void owned(void *self, struct weir_grpc_call *call) {
    (void)self;
    weir_grpc_answer(call, NULL, 0);
}
static void export(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    struct weir_otlp_counts counts;
    struct weir_error err;
    (void)self;
    if (weir_otlp_decode(otlp, *message, &counts, &err) != WEIR_OK) {
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, err.text, 0);
    } else {
        weir_receipt_settle(weir_grpc_receipt(call, owned), WEIR_OWNED);
    }
}
static void watch(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    (void)self, (void)message;
    weir_grpc_send(call, (const uint8_t *)"x", 1);
}
static void left(void *self, struct weir_grpc_call *call) {
    (void)self, (void)call;
}
/* Answers each message with its bytes many times over: the peer opens no window, so that what follows has to wait. */
static void echo(void *self, struct weir_grpc_call *call, struct weir_batch **message) {
    static uint8_t large[40000];
    (void)self;
    if ((*message)->size > 0) memset(large, (*message)->bytes[0], sizeof large);
    weir_grpc_gzip(call, (*message)->size % 2 == 1);
    if (weir_grpc_send(call, large, sizeof large) && (*message)->size == 7)
        weir_grpc_refuse(call, WEIR_GRPC_UNKNOWN, "seven", 1);
}
static void echoed(void *self, struct weir_grpc_call *call) {
    (void)self;
    weir_grpc_end(call);
}
#define EXPORT "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
static const struct weir_grpc_method methods[] = {{.path = EXPORT, .called = export},
                                                  {.path = "/w", .called = watch, .gone = left},
                                                  {.path = "/s", .called = echo, .half_closed = echoed, .gone = left},
                                                  {.path = NULL}};

static void put(const void *bytes, size_t size) {
    memcpy(peer.bytes + peer.size, bytes, size);
    peer.size += size;
}
static void put_frame(uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *body, size_t size) {
    const uint8_t head[9] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, type, flags, 0, 0, 0,
                             (uint8_t)stream};
    put(head, sizeof head);
    put(body, size);
}

/* prefix: the message is one, and flagged where it is `packed`. Else its bytes are the stream as it is. */
static void put_call(const char *path, const uint8_t *message, size_t size, bool prefix, const char *packed) {
#define FIELD(key, text)                                                                                               \
    (nghttp2_nv) {                                                                                                     \
        (uint8_t *)(key), (uint8_t *)(uintptr_t)(text), sizeof(key) - 1, strlen(text), NGHTTP2_NV_FLAG_NONE            \
    }
    const nghttp2_nv fields[] = {FIELD(":method", "POST"),
                                 FIELD(":scheme", "http"),
                                 FIELD(":authority", "w"),
                                 FIELD(":path", path),
                                 FIELD("content-type", "application/grpc"),
                                 FIELD("grpc-encoding", packed != NULL ? packed : "gzip"),
                                 FIELD("grpc-accept-encoding", "deflate, gzip")};
    nghttp2_hd_deflater *deflater;
    uint8_t block[512],
        body[5 + INPUT_MAX] = {packed != NULL, 0, (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    nghttp2_hd_deflate_new(&deflater, 4096);
    ssize_t n = nghttp2_hd_deflate_hd(deflater, block, sizeof block, fields, sizeof fields / sizeof fields[0]);
    nghttp2_hd_deflate_del(deflater);
    if (n < 0) abort();
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block, (size_t)n);
    if (size > 0) memcpy(body + 5, message, size);
    const uint8_t *bytes = prefix ? body : body + 5;
    size_t all = prefix ? size + 5 : size, cut = all / 3;
    put_frame(NGHTTP2_DATA, 0, 1, bytes, cut);
    put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, bytes + cut, all - cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 16000) return 0;
    struct weir_names *names = weir_names_new(256, 64 * 1024);
    struct weir_metrics *metrics = weir_metrics_new();
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_error err;
    otlp = weir_otlp_new(names);
    peer.stream.kind = &peer_kind;
    peer.loop = weir_loop_new(&weir_clock_system, &err);
    peer.fd = eventfd(1, EFD_NONBLOCK);
    peer.size = peer.at = 0;
    peer.step = data[1] % 7 == 0 ? 1 + data[1] : INPUT_MAX;
    unsigned how = data[0] % 6;
    if (how > 0) {
        put(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
        put_frame(NGHTTP2_SETTINGS, 0, 0, (const uint8_t *)"", 0);
    }
    if (how < 2) {
        put(data + 2, size - 2);
    } else {
        put_call(how == 4 ? "/s" : EXPORT, data + 2, size - 2, how != 4, how == 3 ? "gzip" : how == 5 ? "zstd" : NULL);
    }
    struct weir_grpc *grpc = NULL;
    const struct weir_grpc_options options = {.methods = methods, .budget = &budget, .max_message_bytes = 512 * 1024};
    const struct weir_http2_limits limits = {
        .max_connections = 4, .max_concurrent_streams = 16, .keepalive_min_ns = WEIR_S};
    if (peer.loop == NULL || peer.fd < 0 ||
        weir_grpc_new(&grpc, peer.loop, metrics, &options, &limits, &err) != WEIR_OK)
        abort();
    weir_grpc_accept(grpc, &peer.stream);
    weir_loop_run(peer.loop);
    if (!weir_grpc_idle(grpc)) abort(); /* a call that nobody frees */
    weir_grpc_free(grpc);
    if (budget.used_bytes != 0) abort();
    weir_loop_free(peer.loop);
    close(peer.fd);
    weir_otlp_free(otlp);
    weir_metrics_free(metrics);
    weir_names_free(names);
    return 0;
}
