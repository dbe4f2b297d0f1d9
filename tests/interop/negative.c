#include "collector/receive/grpc_call.h"
#include "tests/interop/server.h"

#include <stdlib.h>
#include <string.h>

enum kind { GOAWAY, RST_AFTER_HEADER, RST_DURING_DATA, RST_AFTER_DATA, PING, MAX_STREAMS, KINDS };
static const char *const names[KINDS] = {"goaway", "rst_after_header", "rst_during_data", "rst_after_data",
                                         "ping",   "max_streams"};
enum { PINGS = 6 /* of a call */, PAUSE_MS = 100 };

struct negative {
    enum kind kind;
    struct weir_loop *loop;
    uint32_t calls, resets, connections, pings_sent, pings_acked;
};

struct negative *negative_new(const char *name, struct weir_loop *loop) {
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        struct negative *negative = calloc(1, sizeof *negative);
        if (negative == NULL) abort();
        negative->kind = (enum kind)i;
        negative->loop = loop;
        return negative;
    }
    return NULL;
}

void negative_free(struct negative *negative) {
    free(negative);
}

uint32_t negative_streams(const struct negative *negative, uint32_t usual) {
    return negative->kind == MAX_STREAMS ? 1 : usual;
}

/* ---- what comes: frames are counted on their way in ---- */

struct listening {
    struct weir_stream stream; /* first */
    struct weir_stream *inner;
    struct negative *negative;
    size_t skip; /* bytes of the preface or of a frame's payload */
    uint8_t head[9];
    size_t head_size;
};

static void count_frames(struct listening *listening, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        size_t step = listening->skip < size ? listening->skip : size;
        if (step == 0) {
            listening->head[listening->head_size++] = *bytes;
            step = 1;
            if (listening->head_size == sizeof listening->head) {
                const uint8_t *head = listening->head; /* length 3 | type 1 | flags 1 | stream 4 (RFC 9113 4.1) */
                listening->skip = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
                listening->head_size = 0;
                if (head[3] == NGHTTP2_PING && (head[4] & NGHTTP2_FLAG_ACK) != 0) listening->negative->pings_acked++;
            }
        } else {
            listening->skip -= step;
        }
        bytes += step;
        size -= step;
    }
}

static ssize_t listening_read(struct weir_stream *stream, uint8_t *bytes, size_t size) {
    struct listening *listening = (struct listening *)stream;
    ssize_t n = listening->inner->kind->read(listening->inner, bytes, size);
    if (n > 0) count_frames(listening, bytes, (size_t)n);
    return n;
}
static ssize_t listening_write(struct weir_stream *stream, const uint8_t *bytes, size_t size) {
    struct listening *listening = (struct listening *)stream;
    return listening->inner->kind->write(listening->inner, bytes, size);
}
static uint32_t listening_wants(const struct weir_stream *stream) {
    const struct listening *listening = (const struct listening *)stream;
    return listening->inner->kind->wants(listening->inner);
}
static int listening_fd(const struct weir_stream *stream) {
    const struct listening *listening = (const struct listening *)stream;
    return listening->inner->kind->fd(listening->inner);
}
static void listening_close(struct weir_stream *stream) {
    struct listening *listening = (struct listening *)stream;
    listening->inner->kind->close(listening->inner);
    free(listening);
}
static const struct weir_stream_kind listening_kind = {.read = listening_read,
                                                       .write = listening_write,
                                                       .wants = listening_wants,
                                                       .fd = listening_fd,
                                                       .close = listening_close};

struct weir_stream *negative_stream(struct negative *negative, int fd) {
    struct listening *listening = calloc(1, sizeof *listening);
    if (listening == NULL) abort();
    listening->stream.kind = &listening_kind;
    listening->inner = weir_stream_plain(fd);
    listening->negative = negative;
    listening->skip = NGHTTP2_CLIENT_MAGIC_LEN;
    if (listening->inner == NULL) abort();
    negative->connections++;
    return &listening->stream;
}

/* ---- answers that end in a RST_STREAM ---- */

struct cut {                 /* an answer that is cut off */
    struct weir_timer timer; /* first */
    struct negative *negative;
    struct weir_grpc_call *call;
    uint8_t *body;
    size_t size, at;
};

static void cut_free(void *self) {
    struct cut *cut = self;
    weir_loop_unset(cut->negative->loop, &cut->timer);
    free(cut->body);
    free(cut);
}

static ssize_t cut_read(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t size, uint32_t *flags,
                        nghttp2_data_source *source, void *user) {
    struct cut *cut = source->ptr;
    (void)session, (void)stream, (void)flags, (void)user;
    size_t left = cut->size - cut->at;
    if (left == 0) return NGHTTP2_ERR_DEFERRED;
    if (size > left) size = left;
    memcpy(bytes, cut->body + cut->at, size);
    cut->at += size;
    return (ssize_t)size;
}

/* RST_STREAM overtakes DATA that is queued, so that it comes a little later. */
static void cut_now(struct weir_timer *timer) {
    struct cut *cut = (struct cut *)timer;
    struct weir_http2_request *request = &cut->call->request;
    if (cut->at < cut->size) {
        weir_loop_set(cut->negative->loop, timer, weir_loop_now(cut->negative->loop) + PAUSE_MS * WEIR_MS);
        return;
    }
    cut->negative->resets++;
    /* grpc-go's client wants status UNKNOWN of rst_during_data alone, and makes INTERNAL of NO_ERROR (its
     * http2ErrConvTab): UNKNOWN it makes of a code that RFC 9113 7 does not list. */
    uint32_t code = cut->negative->kind == RST_DURING_DATA ? 0xff : NGHTTP2_NO_ERROR;
    nghttp2_submit_rst_stream(weir_http2_session(request->connection), NGHTTP2_FLAG_NONE, request->stream_id, code);
    weir_http2_flush(request->connection);
}

static void answer_cut(struct negative *negative, struct weir_grpc_call *call, const uint8_t *body, size_t size) {
    const nghttp2_nv headers[] = {
        {(uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE},
        {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, NGHTTP2_NV_FLAG_NONE}};
    struct cut *cut = calloc(1, sizeof *cut);
    if (cut == NULL || (cut->body = malloc(size + 1)) == NULL) abort();
    cut->timer.fire = cut_now;
    cut->negative = negative;
    cut->call = call;
    cut->size = size;
    memcpy(cut->body, body, size);
    weir_grpc_keep(call, cut, cut_free);
    nghttp2_data_provider provider = {.source.ptr = cut, .read_callback = cut_read};
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, 2,
                            &provider);
    weir_http2_flush(call->request.connection);
    weir_loop_set(negative->loop, &cut->timer, weir_loop_now(negative->loop) + PAUSE_MS * WEIR_MS);
}

/* ---- calls ---- */

static void ping(struct negative *negative, struct weir_grpc_call *call) {
    for (int i = 0; i < PINGS / 2; i++) {
        nghttp2_submit_ping(weir_http2_session(call->request.connection), NGHTTP2_FLAG_NONE, NULL);
        negative->pings_sent++;
    }
    weir_http2_flush(call->request.connection);
}

bool negative_call(struct negative *negative, struct weir_grpc_call *call, const uint8_t *body, size_t size) {
    negative->calls++;
    switch (negative->kind) {
    case RST_AFTER_HEADER: answer_cut(negative, call, body, 0); return true;
    case RST_DURING_DATA: answer_cut(negative, call, body, size / 2); return true;
    case RST_AFTER_DATA: answer_cut(negative, call, body, size); return true;
    case PING: ping(negative, call); return false;
    default: return false;
    }
}

void negative_answered(struct negative *negative, struct weir_grpc_call *call) {
    nghttp2_session *session = weir_http2_session(call->request.connection);
    if (negative->kind == PING) ping(negative, call);
    if (negative->kind != GOAWAY || negative->calls > 1) return;
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    weir_http2_flush(call->request.connection);
}

const char *negative_verdict(const struct negative *negative) {
    if (negative->calls == 0) return "no call came";
    switch (negative->kind) {
    case GOAWAY: return negative->calls != 2 || negative->connections != 2 ? "not two calls on two connections" : NULL;
    case RST_AFTER_HEADER:
    case RST_DURING_DATA:
    case RST_AFTER_DATA: return negative->resets != negative->calls ? "a call was over before it was reset" : NULL;
    case PING: return negative->pings_acked != negative->pings_sent ? "not every PING was acknowledged" : NULL;
    default: return negative->calls != 16 ? "not sixteen calls came" : NULL;
    }
}
