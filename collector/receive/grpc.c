#include "collector/receive/grpc.h"
#include "collector/receive/grpc_call.h"
#include "collector/receive/pace.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Memory is drawn as a message comes, so much for its first bytes at most: a length alone costs its sender nothing,
     * and buys nothing. */
    FIRST_ROOM = 256 * 1024,
    ROOM_FACTOR = 8, /* a frame of 16 KiB, the default of most senders, makes room for 128 */
    GRACE_S = 30,    /* of a message, before its pace counts */
    /* Of a lane, at once. What a call costs before its message comes, 1.5 KiB, is nobody's budget: 1,024 connections of
     * 100 streams would cost 170 MiB. Exports are answered within milliseconds. */
    CALLS_MAX = 16384,
};

enum { REQUESTS_OPEN, MESSAGE_BYTES, METRICS };
static const struct weir_metric metrics[METRICS] = {
    [REQUESTS_OPEN] = {"grpc_requests_open", NULL, WEIR_GAUGE, "gRPC requests that came and are not answered."},
    [MESSAGE_BYTES] = {"grpc_message_bytes_total", NULL, WEIR_COUNTER, "Bytes of gRPC messages, after inflating."},
};

/* One set a method of ours, and one for all that are not. */
#define CODES(X)                                                                                                       \
    X(OK)                                                                                                              \
    X(CANCELLED)                                                                                                       \
    X(UNKNOWN)                                                                                                         \
    X(INVALID_ARGUMENT)                                                                                                \
    X(DEADLINE_EXCEEDED)                                                                                               \
    X(NOT_FOUND)                                                                                                       \
    X(PERMISSION_DENIED)                                                                                               \
    X(RESOURCE_EXHAUSTED)                                                                                              \
    X(UNIMPLEMENTED)                                                                                                   \
    X(INTERNAL)                                                                                                        \
    X(UNAVAILABLE)                                                                                                     \
    X(UNAUTHENTICATED)
#define ROW_NAME(code) ROW_##code,
#define ROW_OF(code)   [WEIR_GRPC_##code] = ROW_##code,
#define ROW(code)                                                                                                      \
    [ROW_##code] = {"grpc_requests_total", "code=\"" #code "\"", WEIR_COUNTER,                                         \
                    "gRPC requests answered, by method and status code; CANCELLED: the caller left before."},
enum { OTHER = 0, CODES_END = WEIR_GRPC_UNAUTHENTICATED + 1 };
enum { CODES(ROW_NAME) ROWS };
static const struct weir_metric requests_metrics[ROWS] = {CODES(ROW)};
static const uint8_t row_of[CODES_END] = {CODES(ROW_OF)};

struct weir_grpc_note *weir_grpc_note(struct weir_grpc_call *call) {
    return &call->note;
}

void weir_grpc_peer(const struct weir_grpc_call *call, char out[WEIR_ADDRESS_BYTES]) {
    const struct weir_http2 *connection = call->request.connection;
    weir_address_of(connection != NULL ? weir_http2_fd(connection) : -1, out);
}

const char *weir_grpc_path(const struct weir_grpc_call *call) {
    return call->method->path;
}

void weir_grpc_keep(struct weir_grpc_call *call, void *state, void (*release)(void *state)) {
    assert(call->kept == NULL);
    call->kept = state;
    call->release = release;
}

void *weir_grpc_kept(const struct weir_grpc_call *call) {
    return call->kept;
}

bool weir_grpc_was_compressed(const struct weir_grpc_call *call) {
    return call->compressed;
}

void weir_grpc_count(const struct weir_grpc_call *call, enum weir_grpc_code code) {
    size_t which = call->method == NULL ? OTHER : 1 + (size_t)(call->method - call->grpc->options.methods);
    weir_count(call->grpc->requests[which], row_of[code], 1);
}

/* ---- the life of a call ---- */

static void release_if_done(struct weir_grpc_call *call) {
    if (call->request.connection != NULL || call->receipt_open || call->resume_posted) return;
    if (call->kept != NULL) call->release(call->kept);
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
    if (call->request.connection != NULL && call->answer == WEIR_GRPC_UNANSWERED)
        call->settled(call->grpc->options.self, call);
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

/* ---- headers ---- */

static void deadline_due(struct weir_timer *timer) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)((char *)timer - offsetof(struct weir_grpc_call, deadline));
    weir_grpc_give_up(call, WEIR_GRPC_DEADLINE_EXCEEDED, "the caller's grpc-timeout has passed", 0);
}

/* A call of which nobody knows how long it goes on. */
static void refuse_draining(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->answer == WEIR_GRPC_ANSWERED || call->method == NULL || call->method->half_closed == NULL) return;
    weir_grpc_give_up(call, WEIR_GRPC_UNAVAILABLE, "Weir is stopping", WEIR_GRPC_RETRY_MS);
}

static void resume_due(struct weir_mail *mail);

static struct weir_http2_request *begin(void *self) {
    struct weir_grpc *grpc = self;
    struct weir_grpc_call *call = grpc->open < CALLS_MAX ? calloc(1, sizeof *call) : NULL;
    if (call == NULL) return NULL;
    call->grpc = grpc;
    call->deadline.fire = deadline_due;
    call->resume.deliver = resume_due;
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

/* "identity,deflate, gzip": grpc-accept-encoding is a list. */
static bool lists_gzip(const uint8_t *text, size_t size) {
    while (size > 0) {
        const uint8_t *comma = memchr(text, ',', size);
        size_t item = comma != NULL ? (size_t)(comma - text) : size, start = 0, end = item;
        while (start < end && text[start] == ' ')
            start++;
        while (end > start && text[end - 1] == ' ')
            end--;
        if (end - start == 4 && memcmp(text + start, "gzip", 4) == 0) return true;
        size_t step = comma != NULL ? item + 1 : item;
        text += step;
        size -= step;
    }
    return false;
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
        call->encoding = IS(value, value_size, "gzip")       ? WEIR_ENCODING_GZIP
                         : IS(value, value_size, "zstd")     ? WEIR_ENCODING_ZSTD
                         : IS(value, value_size, "identity") ? WEIR_ENCODING_IDENTITY
                                                             : WEIR_ENCODING_OTHER;
    } else if (IS(name, name_size, "grpc-accept-encoding")) {
        call->reads_gzip = lists_gzip(value, value_size);
    } else if (IS(name, name_size, "grpc-timeout")) {
        if (!read_timeout(value, value_size, &call->timeout_ns)) call->timeout_ns = 0;
    } else if (call->grpc->options.header != NULL && name[0] != ':') {
        call->grpc->options.header(call->grpc->options.self, call, name, name_size, value, value_size);
    }
    return true;
}

static void headers_end(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    struct weir_grpc *grpc = call->grpc;
    if (call->answer == WEIR_GRPC_ANSWERED) return; /* its headers took so long that it is answered */
    if (!call->is_post) {
        weir_grpc_answer_http(call, "405");
    } else if (!call->is_grpc) {
        weir_grpc_answer_http(call, "415");
    } else if (call->method == NULL) {
        char text[sizeof call->text];
        memcpy(text, call->text, sizeof text);
        weir_grpc_refuse(call, WEIR_GRPC_UNIMPLEMENTED, text, 0);
    } else if (call->encoding == WEIR_ENCODING_OTHER) {
        weir_grpc_refuse(call, WEIR_GRPC_UNIMPLEMENTED, "grpc-encoding is none of identity, gzip, zstd", 0);
    } else if (grpc->draining && call->method->half_closed != NULL) {
        refuse_draining(&call->request);
    } else {
        if (call->timeout_ns != 0)
            weir_loop_set(grpc->loop, &call->deadline, weir_loop_now(grpc->loop) + call->timeout_ns);
        if (grpc->options.begun != NULL) grpc->options.begun(grpc->options.self, call);
    }
}

/* ---- messages ---- */

static void refuse_memory(struct weir_grpc_call *call) {
    weir_grpc_give_up(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "memory.intake is used up", WEIR_GRPC_RETRY_MS);
}

static void refuse_size(struct weir_grpc_call *call, const char *what) {
    char text[120];
    snprintf(text, sizeof text, "the message has more than max_message_bytes (%llu)%s",
             (unsigned long long)call->grpc->options.max_message_bytes, what);
    weir_grpc_give_up(call, WEIR_GRPC_RESOURCE_EXHAUSTED, text, 0);
}

static void prefix_came(struct weir_grpc_call *call) {
    const uint8_t *p = call->prefix;
    call->length = (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
    call->compressed = p[0] == 1;
    if (p[0] > 1) {
        weir_grpc_give_up(call, WEIR_GRPC_INTERNAL, "the message's flag is neither 0 nor 1", 0);
    } else if (call->compressed && call->encoding != WEIR_ENCODING_GZIP && call->encoding != WEIR_ENCODING_ZSTD) {
        weir_grpc_give_up(call, WEIR_GRPC_INTERNAL,
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

static bool inflate_message(struct weir_grpc_call *call) {
    struct weir_grpc *grpc = call->grpc;
    struct weir_batch *plain = NULL;
    struct weir_error err;
    enum weir_inflate_status status =
        weir_inflate(grpc->inflate, call->encoding, call->message->bytes, call->message->size,
                     (size_t)grpc->options.max_message_bytes, grpc->options.budget, &plain, &err);
    switch (status) {
    case WEIR_INFLATE_OK:
        weir_batch_unref(call->message);
        call->message = plain;
        return true;
    case WEIR_INFLATE_TOO_LARGE: refuse_size(call, " when inflated"); return false;
    case WEIR_INFLATE_MEMORY: refuse_memory(call); return false;
    default: weir_grpc_give_up(call, WEIR_GRPC_INVALID_ARGUMENT, err.text, 0); return false;
    }
}

/* The message is whole: its method is called. */
static void deliver(struct weir_grpc_call *call) {
    if (call->compressed && !inflate_message(call)) return;
    weir_count(call->grpc->set, MESSAGE_BYTES, call->message->size);
    struct weir_batch *message = call->message;
    call->message = NULL;
    call->prefix_size = 0;
    call->called = true;
    call->method->called(call->grpc->options.self, call, &message);
    weir_batch_unref(message);
}

/* The next part of the message that comes. How many of the bytes it took; 0: the call is answered. */
static size_t take_message(struct weir_grpc_call *call, const uint8_t *bytes, size_t size) {
    if (call->message == NULL) call->message = message_of(call, size);
    struct weir_batch *message = call->message;
    if (message == NULL) {
        refuse_memory(call);
        return 0;
    }
    size_t more = (size_t)(call->length - message->size);
    if (more == 0) {
        weir_grpc_give_up(call, WEIR_GRPC_INTERNAL, "more than one message in a unary call", 0);
        return 0;
    }
    if (more > size) more = size;
    if (weir_batch_room(message, more) != WEIR_OK) {
        refuse_memory(call);
        return 0;
    }
    memcpy(message->bytes + message->size, bytes, more);
    message->size += more;
    return more;
}

/* Reads bytes[0 .. size) until the call is answered, or its answer too far ahead. How many it read. */
static size_t take(struct weir_grpc_call *call, const uint8_t *bytes, size_t size) {
    bool streams = call->method->half_closed != NULL;
    size_t at = 0;
    while (at < size && call->answer != WEIR_GRPC_ANSWERED) {
        if (call->prefix_size < WEIR_GRPC_PREFIX_BYTES) {
            if (streams && call->prefix_size == 0) {
                if (weir_grpc_unsent(call) > WEIR_GRPC_AHEAD_BYTES) break;
                call->request.heard_ns = weir_loop_now(call->grpc->loop); /* of this message, however long none came */
                call->request.heard_bytes = 0;
            }
            if (call->prefix_size == 0) call->began_ns = weir_loop_now(call->grpc->loop);
            call->prefix[call->prefix_size++] = bytes[at++];
            if (call->prefix_size < WEIR_GRPC_PREFIX_BYTES) continue;
            prefix_came(call);
        } else {
            at += take_message(call, bytes + at, size - at);
        }
        if (streams && call->message != NULL && call->message->size == call->length) deliver(call);
    }
    return at;
}

/* A message is under way, and comes by drops. */
static bool is_slow(const struct weir_grpc_call *call) {
    return call->prefix_size > 0 && call->waiting == NULL &&
           weir_pace_is_slow(call->began_ns, weir_loop_now(call->grpc->loop), GRACE_S * WEIR_S,
                             call->message != NULL ? call->message->size : 0);
}

static void data(struct weir_http2_request *request, const uint8_t *bytes, size_t size) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->answer == WEIR_GRPC_ANSWERED) return;
    if (is_slow(call)) {
        weir_grpc_give_up(call, WEIR_GRPC_DEADLINE_EXCEEDED, "the message comes too slowly", 0);
        return;
    }
    if (call->waiting == NULL) {
        size_t took = take(call, bytes, size);
        if (took == size || call->answer == WEIR_GRPC_ANSWERED) return;
        bytes += took;
        size -= took;
        request->paused = true; /* what follows is at most its window */
        call->waiting = weir_batch_new(call->grpc->options.budget, size);
    }
    struct weir_batch *waiting = call->waiting;
    if (waiting == NULL || weir_batch_room(waiting, size) != WEIR_OK) {
        refuse_memory(call);
        return;
    }
    memcpy(waiting->bytes + waiting->size, bytes, size);
    waiting->size += size;
}

/* The caller has ended its side, and all that it sent is read. */
static void read_all(struct weir_grpc_call *call) {
    bool streams = call->method->half_closed != NULL, between = call->prefix_size == 0;
    if (streams && between) {
        call->called = true;
        call->method->half_closed(call->grpc->options.self, call);
    } else if (streams || call->message == NULL || call->message->size < call->length) {
        weir_grpc_give_up(call, WEIR_GRPC_INTERNAL,
                          between ? "no message in the call" : "the call ended within its message", 0);
    } else {
        deliver(call);
    }
}

static void end(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    if (call->answer != WEIR_GRPC_ANSWERED && call->waiting == NULL) read_all(call);
}

/* The answer has left: what waited is read on, and more may be answered. */
static void resume_due(struct weir_mail *mail) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)((char *)mail - offsetof(struct weir_grpc_call, resume));
    call->resume_posted = false;
    if (call->request.connection == NULL) {
        release_if_done(call);
        return;
    }
    if (call->answer == WEIR_GRPC_ANSWERED) return;
    struct weir_batch *waiting = call->waiting;
    if (waiting != NULL) {
        weir_batch_ref(waiting); /* an answer gives call->waiting back */
        size_t took = take(call, waiting->bytes, waiting->size);
        bool all = took == waiting->size;
        if (!all && call->answer != WEIR_GRPC_ANSWERED) {
            memmove(waiting->bytes, waiting->bytes + took, waiting->size - took);
            waiting->size -= took;
        }
        weir_batch_unref(waiting);
        if (call->answer == WEIR_GRPC_ANSWERED) return;
        if (all) {
            weir_batch_unref(call->waiting);
            call->waiting = NULL;
            weir_http2_resume(&call->request);
            if (call->request.half_closed) read_all(call);
        }
    }
    if (call->answer != WEIR_GRPC_ANSWERED && call->method->room != NULL && weir_grpc_unsent(call) == 0)
        call->method->room(call->grpc->options.self, call);
}

static void stalled(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    bool streams = call->method != NULL && call->method->half_closed != NULL;
    bool unread = weir_grpc_unsent(call) > 0; /* its caller opens no window for the answer */
    bool reading = !request->half_closed && !(streams && call->prefix_size == 0);
    if (call->answer == WEIR_GRPC_ANSWERED || unread) {
        nghttp2_submit_rst_stream(weir_http2_session(request->connection), NGHTTP2_FLAG_NONE, request->stream_id,
                                  NGHTTP2_CANCEL);
    } else if (reading) {
        weir_grpc_give_up(call, WEIR_GRPC_DEADLINE_EXCEEDED, "the request came to a halt for half a minute", 0);
    }
}

static void gone(struct weir_http2_request *request) {
    struct weir_grpc_call *call = (struct weir_grpc_call *)request;
    weir_loop_unset(call->grpc->loop, &call->deadline);
    if (call->answer != WEIR_GRPC_ANSWERED) {
        weir_grpc_count(call, WEIR_GRPC_CANCELLED);
        if (call->called && call->method->gone != NULL) call->method->gone(call->grpc->options.self, call);
        call->answer = WEIR_GRPC_ANSWERED;
    }
    weir_batch_unref(call->message); /* all now: a letter to the call may come when the budget is gone */
    weir_batch_unref(call->waiting);
    call->message = call->waiting = NULL;
    weir_grpc_answer_free(call);
    release_if_done(call);
}

/* ---- the server ---- */

static bool open_metrics(struct weir_grpc *grpc) {
    char labels[160];
    grpc->set = weir_metrics_open(grpc->registry, metrics, METRICS, NULL);
    grpc->requests[OTHER] = weir_metrics_open(grpc->registry, requests_metrics, ROWS, "method=\"other\"");
    bool opened = grpc->set != NULL && grpc->requests[OTHER] != NULL;
    for (size_t i = 0; grpc->options.methods[i].path != NULL; i++) {
        assert(i < WEIR_GRPC_METHODS_MAX);
        snprintf(labels, sizeof labels, "method=\"%s\"", grpc->options.methods[i].path + 1);
        grpc->requests[1 + i] = weir_metrics_open(grpc->registry, requests_metrics, ROWS, labels);
        opened = opened && grpc->requests[1 + i] != NULL;
    }
    return opened;
}

static void close_metrics(struct weir_grpc *grpc) {
    weir_metrics_close(grpc->registry, grpc->set);
    for (size_t i = 0; i <= WEIR_GRPC_METHODS_MAX; i++)
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
    grpc->inflate = weir_inflate_new();
    grpc->gzip = weir_gzip_new();
    bool counted = open_metrics(grpc);
    const struct weir_http2_handler handler = {.self = grpc,
                                               .begin = begin,
                                               .header = header,
                                               .headers_end = headers_end,
                                               .data = data,
                                               .end = end,
                                               .stalled = stalled,
                                               .gone = gone};
    enum weir_status status = !counted || grpc->inflate == NULL || grpc->gzip == NULL
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
    grpc->draining = true;
    weir_http2_each(grpc->http2, refuse_draining);
    weir_http2_drain(grpc->http2);
}

bool weir_grpc_idle(const struct weir_grpc *grpc) {
    return weir_http2_idle(grpc->http2) && grpc->open == 0;
}

void weir_grpc_free(struct weir_grpc *grpc) {
    if (grpc == NULL) return;
    weir_http2_lane_free(grpc->http2);
    weir_inflate_free(grpc->inflate);
    weir_gzip_free(grpc->gzip);
    close_metrics(grpc);
    grpc->freed = true;
    if (grpc->open == 0) free(grpc); /* else callers left whose receipts are out */
}
