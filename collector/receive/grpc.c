#include "collector/receive/grpc.h"
#include "collector/core/buffer.h"
#include "collector/core/wire.h"
#include "collector/receive/gunzip.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFIX_BYTES = 5, /* flag 1 | length 4, big endian */
    /* Memory is drawn as a message comes, so much for its first bytes at most: a length alone costs its sender nothing,
     * and buys nothing. */
    FIRST_ROOM = 256 * 1024,
    ROOM_FACTOR = 8, /* a frame of 16 KiB, the default of most senders, makes room for 128 */
    RETRY_MS = 1000,
    TEXT_BYTES = 400, /* of grpc-message, before escaping */
};

enum { REQUESTS_OPEN, MESSAGE_BYTES, METRICS };
static const struct weir_metric metrics[METRICS] = {
    [REQUESTS_OPEN] = {"grpc_requests_open", NULL, WEIR_GAUGE, "gRPC requests that came and are not answered."},
    [MESSAGE_BYTES] = {"grpc_message_bytes_total", NULL, WEIR_COUNTER, "Bytes of gRPC messages, after inflating."},
};

/* One set a method of ours, and one for all that are not. Rows are the codes of enum weir_grpc_code: the others are
 * never answered. */
enum { METHODS_MAX = 16, ROWS_BY_CODE = 15, OTHER = 0 };
enum {
    ROW_OK,
    ROW_CANCELLED,
    ROW_INVALID_ARGUMENT,
    ROW_DEADLINE_EXCEEDED,
    ROW_NOT_FOUND,
    ROW_RESOURCE_EXHAUSTED,
    ROW_UNIMPLEMENTED,
    ROW_INTERNAL,
    ROW_UNAVAILABLE,
    ROWS
};
#define ROW(code)                                                                                                      \
    [ROW_##code] = {"grpc_requests_total", "code=\"" #code "\"", WEIR_COUNTER,                                         \
                    "gRPC requests answered, by method and status code; CANCELLED: the caller left before."}
static const struct weir_metric requests_metrics[ROWS] = {
    ROW(OK),          ROW(CANCELLED),          ROW(INVALID_ARGUMENT), ROW(DEADLINE_EXCEEDED),
    ROW(NOT_FOUND),   ROW(RESOURCE_EXHAUSTED), ROW(UNIMPLEMENTED),    ROW(INTERNAL),
    ROW(UNAVAILABLE),
};
static const uint8_t row_of[ROWS_BY_CODE] = {
    [WEIR_GRPC_OK] = ROW_OK,
    [WEIR_GRPC_CANCELLED] = ROW_CANCELLED,
    [WEIR_GRPC_INVALID_ARGUMENT] = ROW_INVALID_ARGUMENT,
    [WEIR_GRPC_DEADLINE_EXCEEDED] = ROW_DEADLINE_EXCEEDED,
    [WEIR_GRPC_NOT_FOUND] = ROW_NOT_FOUND,
    [WEIR_GRPC_RESOURCE_EXHAUSTED] = ROW_RESOURCE_EXHAUSTED,
    [WEIR_GRPC_UNIMPLEMENTED] = ROW_UNIMPLEMENTED,
    [WEIR_GRPC_INTERNAL] = ROW_INTERNAL,
    [WEIR_GRPC_UNAVAILABLE] = ROW_UNAVAILABLE,
};

struct weir_grpc {
    struct weir_grpc_options options;
    struct weir_loop *loop;
    struct weir_metrics *registry;
    struct weir_metric_set *set, *requests[1 + METHODS_MAX]; /* OTHER, then as in options.methods */
    struct weir_http2_lane *http2;
    struct weir_gunzip *gunzip;
    uint32_t open; /* calls that live, those included whose caller has left */
    bool freed;    /* by its owner; the last call takes it along */
};

enum stage { READING, CALLED, STREAMING, ANSWERED };

struct weir_grpc_call {
    struct weir_http2_request request; /* first */
    struct weir_receipt receipt;
    void (*settled)(void *self, struct weir_grpc_call *call);
    struct weir_grpc *grpc;
    const struct weir_grpc_method *method;
    struct weir_timer deadline;
    uint64_t timeout_ns;
    enum stage stage;
    bool is_post, is_grpc, gzip, other_encoding; /* what the headers said */
    bool receipt_open, compressed;
    uint32_t header_bytes;
    uint8_t prefix[PREFIX_BYTES];
    uint32_t prefix_size;
    uint64_t length; /* of the message, as its prefix says */
    struct weir_batch *message;
    struct weir_buffer out; /* bytes of the answer's body that are not on their way yet */
    size_t out_at;
    struct weir_grpc_note note;
    enum weir_grpc_code code; /* of the answer */
    uint32_t retry_ms;
    bool ended; /* trailers follow what is in `out` */
    char text[TEXT_BYTES];
};

struct weir_grpc_note *weir_grpc_note(struct weir_grpc_call *call) {
    return &call->note;
}

/* ---- the life of a call ---- */

static void drop_message(struct weir_grpc_call *call) {
    weir_batch_unref(call->message);
    call->message = NULL;
}

static void release_if_done(struct weir_grpc_call *call) {
    if (call->request.connection != NULL || call->receipt_open) return;
    drop_message(call);
    weir_buffer_free(&call->out);
    struct weir_grpc *grpc = call->grpc;
    free(call);
    grpc->open--;
    if (!grpc->freed) {
        weir_gauge(grpc->set, REQUESTS_OPEN, grpc->open);
    } else if (grpc->open == 0) {
        free(grpc);
    }
}

static void receipt_delivered(struct weir_mail *mail) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)((char *)mail - offsetof(struct weir_grpc_call, receipt));
    call->receipt_open = false;
    if (call->request.connection != NULL && call->stage == CALLED) call->settled(call->grpc->options.self, call);
    release_if_done(call);
}

struct weir_receipt *weir_grpc_receipt(struct weir_grpc_call *call,
                                       void (*settled)(void *self, struct weir_grpc_call *call)) {
    assert(!call->receipt_open);
    call->settled = settled;
    call->receipt_open = true;
    weir_receipt_init(&call->receipt, weir_loop_mailbox(call->grpc->loop), receipt_delivered, 1);
    return &call->receipt;
}

void weir_grpc_receipt_drop(struct weir_grpc_call *call) {
    call->receipt_open = false;
}

/* ---- answers ---- */

#define NV(header, text, size_of_text)                                                                                 \
    {                                                                                                                  \
        .name = (uint8_t *)(uintptr_t)(header), .namelen = sizeof(header) - 1, .value = (uint8_t *)(uintptr_t)(text),  \
        .valuelen = (size_of_text), .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME                                              \
    }

/* grpc doc/PROTOCOL-HTTP2.md, Percent-Encoded: bytes outside 0x20..0x7e and '%' as %XX. */
static size_t percent_encode(const char *text, char *out, size_t out_size) {
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *text != 0 && n + 3 <= out_size; text++) {
        uint8_t c = (uint8_t)*text;
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    return n;
}

static size_t base64(const uint8_t *bytes, size_t size, char *out) { /* without padding, as binary metadata is sent */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 | (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < size ? bytes[i + 2] : 0);
        size_t left = size - i;
        out[n++] = digits[three >> 18];
        out[n++] = digits[three >> 12 & 63];
        if (left > 1) out[n++] = digits[three >> 6 & 63];
        if (left > 2) out[n++] = digits[three & 63];
    }
    return n;
}

/* google.rpc.Status{1 code, 2 message, 3 details: Any{1 type_url, 2 value: RetryInfo{1 retry_delay: Duration{1 seconds,
 * 2 nanos}}}} */
static size_t retry_info(const struct weir_grpc_call *call, char *out) {
    static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
    uint8_t duration[24], info[32], any[128], status[TEXT_BYTES + 192], *at = duration;
    if (call->retry_ms >= 1000) at = weir_wire_put_uint(at, 1, call->retry_ms / 1000);
    if (call->retry_ms % 1000 != 0) at = weir_wire_put_uint(at, 2, (uint64_t)(call->retry_ms % 1000) * 1000000);
    size_t info_size = (size_t)(weir_wire_put_bytes(info, 1, duration, (size_t)(at - duration)) - info);
    at = weir_wire_put_bytes(any, 1, type, sizeof type - 1);
    size_t any_size = (size_t)(weir_wire_put_bytes(at, 2, info, info_size) - any);
    at = weir_wire_put_uint(status, 1, (uint64_t)call->code);
    at = weir_wire_put_bytes(at, 2, call->text, strlen(call->text));
    return base64(status, (size_t)(weir_wire_put_bytes(at, 3, any, any_size) - status), out);
}

enum { TRAILERS_MAX = 3 };
struct trailers {
    nghttp2_nv fields[TRAILERS_MAX];
    size_t count;
    char code[4], message[3 * TEXT_BYTES], details[2 * (TEXT_BYTES + 192)];
};

static void make_trailers(const struct weir_grpc_call *call, struct trailers *trailers) {
    int n = snprintf(trailers->code, sizeof trailers->code, "%d", (int)call->code);
    trailers->count = 1;
    trailers->fields[0] = (nghttp2_nv)NV("grpc-status", trailers->code, (size_t)n);
    if (call->text[0] != 0) {
        size_t size = percent_encode(call->text, trailers->message, sizeof trailers->message);
        trailers->fields[trailers->count++] = (nghttp2_nv)NV("grpc-message", trailers->message, size);
    }
    if (call->retry_ms != 0) {
        size_t size = retry_info(call, trailers->details);
        trailers->fields[trailers->count++] = (nghttp2_nv)NV("grpc-status-details-bin", trailers->details, size);
    }
}

/* nghttp2 asks for more of the body. */
static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *bytes, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
    struct weir_grpc_call *call = source->ptr;
    (void)user;
    size_t left = call->out.size - call->out_at;
    if (left == 0 && !call->ended) return NGHTTP2_ERR_DEFERRED;
    if (size > left) size = left;
    if (size > 0) memcpy(bytes, call->out.bytes + call->out_at, size);
    call->out_at += size;
    if (call->out_at < call->out.size) return (ssize_t)size;
    call->out_at = call->out.size = 0;
    if (call->ended) {
        struct trailers trailers;
        make_trailers(call, &trailers);
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream_id, trailers.fields, trailers.count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)size;
}

static void submit_body(struct weir_grpc_call *call) {
    const nghttp2_nv headers[] = {NV(":status", "200", 3), NV("content-type", "application/grpc", 16)};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_body};
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, 2,
                            &provider);
}

static void count_request(const struct weir_grpc_call *call, enum weir_grpc_code code) {
    size_t which = call->method == NULL ? OTHER : 1 + (size_t)(call->method - call->grpc->options.methods);
    weir_count(call->grpc->requests[which], row_of[code], 1);
}

static void finish(struct weir_grpc_call *call, enum weir_grpc_code code) {
    call->code = code;
    call->stage = ANSWERED;
    call->request.heard_ns = weir_loop_now(call->grpc->loop);
    weir_loop_unset(call->grpc->loop, &call->deadline);
    count_request(call, code);
}

static bool put_message(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                                    (uint8_t)size};
    weir_buffer_put(&call->out, prefix, sizeof prefix);
    if (size > 0) weir_buffer_put(&call->out, message, size);
    return !call->out.failed;
}

void weir_grpc_answer(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    assert(call->stage == CALLED);
    if (!put_message(call, message, size)) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no memory for the answer", RETRY_MS);
        return;
    }
    call->ended = true;
    finish(call, WEIR_GRPC_OK);
    submit_body(call);
    weir_http2_flush(call->request.connection);
}

void weir_grpc_refuse(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms) {
    assert(call->stage == READING || call->stage == CALLED);
    snprintf(call->text, sizeof call->text, "%s", text != NULL ? text : "");
    call->retry_ms = retry_ms;
    finish(call, code);
    drop_message(call);
    struct trailers trailers;
    make_trailers(call, &trailers);
    nghttp2_nv headers[2 + TRAILERS_MAX + 1] = {NV(":status", "200", 3), NV("content-type", "application/grpc", 16)};
    memcpy(headers + 2, trailers.fields, trailers.count * sizeof headers[0]);
    size_t count = 2 + trailers.count;
    if (call->other_encoding) headers[count++] = (nghttp2_nv)NV("grpc-accept-encoding", "identity,gzip", 13);
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, count,
                            NULL);
    weir_http2_flush(call->request.connection);
}

void weir_grpc_send(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    assert(call->stage == CALLED || call->stage == STREAMING);
    put_message(call, message, size);
    if (call->stage == CALLED) {
        call->stage = STREAMING;
        submit_body(call);
    } else {
        nghttp2_session_resume_data(weir_http2_session(call->request.connection), call->request.stream_id);
    }
    weir_http2_flush(call->request.connection);
}

void weir_grpc_end(struct weir_grpc_call *call) {
    assert(call->stage == STREAMING);
    call->ended = true;
    finish(call, WEIR_GRPC_OK);
    nghttp2_session_resume_data(weir_http2_session(call->request.connection), call->request.stream_id);
    weir_http2_flush(call->request.connection);
}

/* Not gRPC at all: plain HTTP says so. */
static void answer_http(struct weir_grpc_call *call, const char *status) {
    const nghttp2_nv headers[] = {NV(":status", status, 3)};
    finish(call, WEIR_GRPC_INTERNAL);
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, 1, NULL);
    weir_http2_flush(call->request.connection);
}

/* ---- headers ---- */

static void deadline_due(struct weir_timer *timer) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)((char *)timer - offsetof(struct weir_grpc_call, deadline));
    if (call->stage == STREAMING) {
        nghttp2_submit_rst_stream(weir_http2_session(call->request.connection), NGHTTP2_FLAG_NONE,
                                  call->request.stream_id, NGHTTP2_CANCEL);
        weir_http2_flush(call->request.connection);
    } else {
        weir_grpc_refuse(call, WEIR_GRPC_DEADLINE_EXCEEDED, "the caller's grpc-timeout has passed", 0);
    }
}

static struct weir_http2_request *begin(void *self) {
    struct weir_grpc *grpc = self;
    struct weir_grpc_call *call = calloc(1, sizeof *call);
    if (call == NULL) return NULL;
    call->grpc = grpc;
    call->deadline.fire = deadline_due;
    grpc->open++;
    weir_gauge(grpc->set, REQUESTS_OPEN, grpc->open);
    return &call->request;
}

/* At most eight digits and a unit. False: not a timeout. One that has passed before it began is the shortest. */
static bool read_timeout(const uint8_t *text, size_t size, uint64_t *timeout_ns) {
    uint64_t value = 0, unit;
    if (size < 2 || size > 9) return false;
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    switch (text[size - 1]) {
    case 'H': unit = 3600 * WEIR_S; break;
    case 'M': unit = 60 * WEIR_S; break;
    case 'S': unit = WEIR_S; break;
    case 'm': unit = WEIR_MS; break;
    case 'u': unit = WEIR_US; break;
    case 'n': unit = 1; break;
    default: return false;
    }
    const uint64_t most_ns = UINT64_MAX / 4; /* 146 years: 10^8 hours are more than 64 bits of ns */
    *timeout_ns = value == 0 ? 1 : value < most_ns / unit ? value * unit : most_ns;
    return true;
}

#define IS(bytes, size, literal) ((size) == sizeof(literal) - 1 && memcmp(bytes, literal, sizeof(literal) - 1) == 0)
static bool header(struct weir_http2_request *request, const uint8_t *name, size_t name_size, const uint8_t *value,
                   size_t value_size) {
    enum { HEADER_BYTES_MAX = 32 * 1024 };
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    call->header_bytes += (uint32_t)(name_size + value_size);
    if (call->header_bytes > HEADER_BYTES_MAX) return false;
    if (IS(name, name_size, ":path")) {
        for (const struct weir_grpc_method *method = call->grpc->options.methods; method->path != NULL; method++) {
            if (strlen(method->path) == value_size && memcmp(method->path, value, value_size) == 0)
                call->method = method;
        }
        if (call->method == NULL)
            snprintf(call->text, sizeof call->text, "unknown method %.*s", (int)(value_size < 200 ? value_size : 200),
                     (const char *)value);
    } else if (IS(name, name_size, ":method")) {
        call->is_post = IS(value, value_size, "POST");
    } else if (IS(name, name_size, "content-type")) {
        /* application/grpc, with +proto or ;charset behind it. Other formats (+json) are not ours. */
        call->is_grpc =
            value_size >= 16 && memcmp(value, "application/grpc", 16) == 0 &&
            (value_size == 16 || value[16] == ';' || (value_size >= 22 && memcmp(value + 16, "+proto", 6) == 0));
    } else if (IS(name, name_size, "grpc-encoding")) {
        call->gzip = IS(value, value_size, "gzip");
        call->other_encoding = !call->gzip && !IS(value, value_size, "identity");
    } else if (IS(name, name_size, "grpc-timeout")) {
        if (!read_timeout(value, value_size, &call->timeout_ns)) call->timeout_ns = 0;
    }
    return true;
}

static void headers_end(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->stage != READING) return; /* its headers took so long that it is answered */
    if (!call->is_post) {
        answer_http(call, "405");
    } else if (!call->is_grpc) {
        answer_http(call, "415");
    } else if (call->method == NULL) {
        char text[sizeof call->text];
        memcpy(text, call->text, sizeof text);
        weir_grpc_refuse(call, WEIR_GRPC_UNIMPLEMENTED, text, 0);
    } else if (call->other_encoding) {
        weir_grpc_refuse(call, WEIR_GRPC_UNIMPLEMENTED, "grpc-encoding is neither identity nor gzip", 0);
    } else if (call->timeout_ns != 0) {
        weir_loop_set(call->grpc->loop, &call->deadline, weir_loop_now(call->grpc->loop) + call->timeout_ns);
    }
}

/* ---- the message ---- */

static void refuse_memory(struct weir_grpc_call *call) {
    weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "memory.intake is used up", RETRY_MS);
}

static void refuse_size(struct weir_grpc_call *call, const char *what) {
    char text[120];
    snprintf(text, sizeof text, "the message has more than max_message_bytes (%llu)%s",
             (unsigned long long)call->grpc->options.max_message_bytes, what);
    weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, text, 0);
}

static void prefix_came(struct weir_grpc_call *call) {
    const uint8_t *p = call->prefix;
    call->length = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
    call->compressed = p[0] == 1;
    if (p[0] > 1) {
        weir_grpc_refuse(call, WEIR_GRPC_INTERNAL, "the message's flag is neither 0 nor 1", 0);
    } else if (call->compressed && !call->gzip) {
        weir_grpc_refuse(call, WEIR_GRPC_INTERNAL,
                         "the message is flagged as compressed, and grpc-encoding does not say how", 0);
    } else if (call->length > call->grpc->options.max_message_bytes) {
        refuse_size(call, "");
    } else if (call->length == 0) {
        call->message = weir_batch_new(call->grpc->options.budget, 0);
        if (call->message == NULL) refuse_memory(call);
    }
}

/* The batch of a message whose first `size` bytes are here. */
static struct weir_batch *message_of(struct weir_grpc_call *call, size_t size) {
    size_t room = size < FIRST_ROOM / ROOM_FACTOR ? size * ROOM_FACTOR : size < FIRST_ROOM ? FIRST_ROOM : size;
    return weir_batch_new(call->grpc->options.budget, call->length < room ? (size_t)call->length : room);
}

static void data(struct weir_http2_request *request, const uint8_t *bytes, size_t size) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    while (size > 0 && call->stage == READING) {
        if (call->prefix_size < PREFIX_BYTES) {
            call->prefix[call->prefix_size++] = *bytes++;
            size--;
            if (call->prefix_size == PREFIX_BYTES) prefix_came(call);
            continue;
        }
        if (call->message == NULL) call->message = message_of(call, size);
        struct weir_batch *message = call->message;
        if (message == NULL) {
            refuse_memory(call);
            return;
        }
        size_t more = (size_t)(call->length - message->size);
        if (more == 0) {
            weir_grpc_refuse(call, WEIR_GRPC_INTERNAL, "more than one message in a unary call", 0);
            return;
        }
        if (more > size) more = size;
        if (weir_batch_room(message, more) != WEIR_OK) {
            refuse_memory(call);
            return;
        }
        memcpy(message->bytes + message->size, bytes, more);
        message->size += more;
        bytes += more;
        size -= more;
    }
}

static bool inflate_message(struct weir_grpc_call *call) {
    struct weir_grpc *grpc = call->grpc;
    struct weir_batch *plain = NULL;
    struct weir_error err;
    enum weir_gunzip_status status =
        weir_gunzip(grpc->gunzip, call->message->bytes, call->message->size, (size_t)grpc->options.max_message_bytes,
                    grpc->options.budget, &plain, &err);
    switch (status) {
    case WEIR_GUNZIP_OK:
        weir_batch_unref(call->message);
        call->message = plain;
        return true;
    case WEIR_GUNZIP_TOO_LARGE: refuse_size(call, " when inflated"); return false;
    case WEIR_GUNZIP_MEMORY: refuse_memory(call); return false;
    default: weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, err.text, 0); return false;
    }
}

static void end(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->stage != READING) return;
    if (call->prefix_size < PREFIX_BYTES || call->message == NULL || call->message->size < call->length) {
        weir_grpc_refuse(call, WEIR_GRPC_INTERNAL,
                         call->prefix_size == 0 ? "no message in the call" : "the call ended within its message", 0);
        return;
    }
    if (call->compressed && !inflate_message(call)) return;
    weir_count(call->grpc->set, MESSAGE_BYTES, call->message->size);
    call->stage = CALLED;
    struct weir_batch *message = call->message;
    call->message = NULL;
    call->method->called(call->grpc->options.self, call, &message);
    weir_batch_unref(message);
}

static void stalled(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->stage == READING) {
        weir_grpc_refuse(call, WEIR_GRPC_DEADLINE_EXCEEDED, "the request came to a halt for half a minute", 0);
    } else if (call->stage == ANSWERED) { /* and its caller opens no window for the answer */
        nghttp2_submit_rst_stream(weir_http2_session(request->connection), NGHTTP2_FLAG_NONE, request->stream_id,
                                  NGHTTP2_CANCEL);
    }
}

static void gone(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    weir_loop_unset(call->grpc->loop, &call->deadline);
    if (call->stage != ANSWERED) {
        count_request(call, WEIR_GRPC_CANCELLED);
        if (call->stage == STREAMING && call->method->gone != NULL) call->method->gone(call->grpc->options.self, call);
        call->stage = ANSWERED;
    }
    release_if_done(call);
}

/* ---- the server ---- */

static bool open_metrics(struct weir_grpc *grpc) {
    char labels[160];
    grpc->set = weir_metrics_open(grpc->registry, metrics, METRICS, NULL);
    grpc->requests[OTHER] = weir_metrics_open(grpc->registry, requests_metrics, ROWS, "method=\"other\"");
    bool opened = grpc->set != NULL && grpc->requests[OTHER] != NULL;
    for (size_t i = 0; grpc->options.methods[i].path != NULL; i++) {
        assert(i < METHODS_MAX);
        snprintf(labels, sizeof labels, "method=\"%s\"", grpc->options.methods[i].path + 1);
        grpc->requests[1 + i] = weir_metrics_open(grpc->registry, requests_metrics, ROWS, labels);
        opened = opened && grpc->requests[1 + i] != NULL;
    }
    return opened;
}

static void close_metrics(struct weir_grpc *grpc) {
    weir_metrics_close(grpc->registry, grpc->set);
    for (size_t i = 0; i <= METHODS_MAX; i++)
        weir_metrics_close(grpc->registry, grpc->requests[i]);
}

enum weir_status weir_grpc_new(struct weir_grpc **out, struct weir_loop *loop, struct weir_metrics *registry,
                               const struct weir_grpc_options *options, const struct weir_http2_limits *limits,
                               struct weir_error *err) {
    struct weir_grpc *grpc = calloc(1, sizeof *grpc);
    if (grpc == NULL) return weir_fail(err, WEIR_FULL, 0, false, "grpc: out of memory");
    grpc->options = *options;
    grpc->loop = loop;
    grpc->registry = registry;
    grpc->gunzip = weir_gunzip_new();
    bool counted = open_metrics(grpc);
    const struct weir_http2_handler handler = {.self = grpc,
                                               .begin = begin,
                                               .header = header,
                                               .headers_end = headers_end,
                                               .data = data,
                                               .end = end,
                                               .stalled = stalled,
                                               .gone = gone};
    enum weir_status status = !counted || grpc->gunzip == NULL
                                  ? weir_fail(err, WEIR_FULL, 0, false, "grpc: out of memory")
                                  : weir_http2_lane_new(&grpc->http2, loop, registry, &handler, limits, err);
    if (status != WEIR_OK) {
        weir_grpc_free(grpc);
        return status;
    }
    *out = grpc;
    return WEIR_OK;
}

void weir_grpc_set_limits(struct weir_grpc *grpc, uint64_t max_message_bytes, const struct weir_http2_limits *limits) {
    grpc->options.max_message_bytes = max_message_bytes;
    weir_http2_set_limits(grpc->http2, limits);
}

void weir_grpc_accept(struct weir_grpc *grpc, struct weir_stream *stream) {
    weir_http2_accept(grpc->http2, stream);
}

void weir_grpc_drain(struct weir_grpc *grpc) {
    weir_http2_drain(grpc->http2);
}

bool weir_grpc_idle(const struct weir_grpc *grpc) {
    return weir_http2_idle(grpc->http2) && grpc->open == 0;
}

void weir_grpc_free(struct weir_grpc *grpc) {
    if (grpc == NULL) return;
    weir_http2_lane_free(grpc->http2);
    weir_gunzip_free(grpc->gunzip);
    close_metrics(grpc);
    grpc->freed = true;
    if (grpc->open == 0) free(grpc); /* else callers left whose receipts are out */
}
