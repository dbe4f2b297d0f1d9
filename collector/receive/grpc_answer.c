/* grpc_answer.c - what goes back to a caller: messages, metadata, a status. */
#include "collector/core/wire.h"
#include "collector/receive/grpc_call.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 4096 }; /* of an answer that waits; beyond, it is drawn from the budget */

/* ---- metadata ---- */

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
    uint8_t duration[24], info[32], any[128], status[WEIR_GRPC_TEXT_BYTES + 192], *at = duration;
    if (call->retry_ms >= 1000) at = weir_wire_put_uint(at, 1, call->retry_ms / 1000);
    if (call->retry_ms % 1000 != 0) at = weir_wire_put_uint(at, 2, (uint64_t)(call->retry_ms % 1000) * 1000000);
    size_t info_size = (size_t)(weir_wire_put_bytes(info, 1, duration, (size_t)(at - duration)) - info);
    at = weir_wire_put_bytes(any, 1, type, sizeof type - 1);
    size_t any_size = (size_t)(weir_wire_put_bytes(at, 2, info, info_size) - any);
    at = weir_wire_put_uint(status, 1, (uint64_t)call->code);
    at = weir_wire_put_bytes(at, 2, call->text, strlen(call->text));
    return base64(status, (size_t)(weir_wire_put_bytes(at, 3, any, any_size) - status), out);
}

void weir_grpc_metadata(struct weir_grpc_call *call, enum weir_grpc_metadata where, const uint8_t *name,
                        size_t name_size, const uint8_t *value, size_t value_size) {
    if (call->field_count == WEIR_GRPC_FIELDS_MAX) return;
    struct weir_grpc_field *field = malloc(sizeof *field + name_size + value_size), **last = &call->fields;
    if (field == NULL) return;
    *field = (struct weir_grpc_field){.where = where, .name_size = name_size, .value_size = value_size};
    memcpy(field->bytes, name, name_size);
    memcpy(field->bytes + name_size, value, value_size);
    while (*last != NULL)
        last = &(*last)->next;
    *last = field;
    call->field_count++;
}

static size_t put_fields(const struct weir_grpc_call *call, enum weir_grpc_metadata where, nghttp2_nv *out) {
    size_t count = 0;
    for (struct weir_grpc_field *field = call->fields; field != NULL; field = field->next) {
        if (field->where != where) continue;
        out[count++] = (nghttp2_nv){.name = field->bytes,
                                    .namelen = field->name_size,
                                    .value = field->bytes + field->name_size,
                                    .valuelen = field->value_size};
    }
    return count;
}

enum { TRAILERS_MAX = 3 + WEIR_GRPC_FIELDS_MAX };
struct trailers {
    nghttp2_nv fields[TRAILERS_MAX];
    size_t count;
    char code[2], message[3 * WEIR_GRPC_TEXT_BYTES], details[2 * (WEIR_GRPC_TEXT_BYTES + 192)];
};

static void make_trailers(const struct weir_grpc_call *call, struct trailers *trailers) {
    size_t n = 0;
    if (call->code >= 10) trailers->code[n++] = (char)('0' + call->code / 10 % 10); /* 16 is the largest there is */
    trailers->code[n++] = (char)('0' + call->code % 10);
    trailers->count = 1;
    trailers->fields[0] = (nghttp2_nv)NV("grpc-status", trailers->code, n);
    if (call->text[0] != 0) {
        size_t size = percent_encode(call->text, trailers->message, sizeof trailers->message);
        trailers->fields[trailers->count++] = (nghttp2_nv)NV("grpc-message", trailers->message, size);
    }
    if (call->retry_ms != 0) {
        size_t size = retry_info(call, trailers->details);
        trailers->fields[trailers->count++] = (nghttp2_nv)NV("grpc-status-details-bin", trailers->details, size);
    }
    trailers->count += put_fields(call, WEIR_GRPC_TRAILER, trailers->fields + trailers->count);
}

/* ---- the body ---- */

static void out_sent(struct weir_grpc_call *call) {
    struct weir_grpc *grpc = call->grpc;
    call->out_at = call->out.size = 0;
    if (call->out.capacity > SMALL_BYTES) weir_buffer_free(&call->out);
    weir_budget_release(grpc->options.budget, call->out_reserved);
    call->out_reserved = 0;
    if (call->ended || call->resume_posted || (call->waiting == NULL && call->method->room == NULL)) return;
    call->resume_posted = true;
    weir_mailbox_post(weir_loop_mailbox(grpc->loop), &call->resume);
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
    call->request.heard_ns = weir_loop_now(call->grpc->loop); /* it reads */
    if (call->out_at < call->out.size) return (ssize_t)size;
    out_sent(call);
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
    nghttp2_nv headers[3 + WEIR_GRPC_FIELDS_MAX] = {NV(":status", "200", 3),
                                                    NV("content-type", "application/grpc", 16)};
    size_t count = 2;
    if (call->gzip_announced) headers[count++] = (nghttp2_nv)NV("grpc-encoding", "gzip", 4);
    count += put_fields(call, WEIR_GRPC_HEADER, headers + count);
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_body};
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, count,
                            &provider);
}

size_t weir_grpc_unsent(const struct weir_grpc_call *call) {
    return call->out.size - call->out_at;
}

void weir_grpc_gzip(struct weir_grpc_call *call, bool on) {
    if (call->answer == WEIR_GRPC_UNANSWERED && on && call->reads_gzip) call->gzip_announced = true;
    call->gzip_on = on && call->gzip_announced;
}

/* Room for so many bytes more, drawn from the budget when they are not few. */
static bool reserve_out(struct weir_grpc_call *call, size_t bytes) {
    size_t want = call->out.size + bytes;
    if (want <= SMALL_BYTES || want <= call->out_reserved) return true;
    if (!weir_budget_reserve(call->grpc->options.budget, want - call->out_reserved)) return false;
    call->out_reserved = want;
    return true;
}

static bool put_message(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    struct weir_buffer *out = &call->out;
    if (call->out_at >= WEIR_GRPC_AHEAD_BYTES) { /* who reads and writes on never sees it empty */
        out->size -= call->out_at;
        memmove(out->bytes, out->bytes + call->out_at, out->size);
        call->out_at = 0;
    }
    if (out->size == 0) call->request.heard_ns = weir_loop_now(call->grpc->loop); /* patience begins */
    size_t start = out->size, bound = call->gzip_on ? weir_gzip_bound(size) : size;
    uint8_t prefix[WEIR_GRPC_PREFIX_BYTES] = {call->gzip_on};
    if (size > UINT32_MAX || !reserve_out(call, sizeof prefix + bound)) return false;
    weir_buffer_put(out, prefix, sizeof prefix);
    if (call->gzip_on) {
        if (!weir_gzip(call->grpc->gzip, message, size, out)) out->failed = true;
    } else {
        weir_buffer_put(out, message, size);
    }
    if (out->failed) {
        out->size = start;
        out->failed = false;
        return false;
    }
    size_t length = out->size - start - sizeof prefix;
    for (int i = 0; i < 4; i++)
        out->bytes[start + 1 + (size_t)i] = (uint8_t)(length >> (24 - 8 * i));
    return true;
}

/* ---- answers ---- */

static void finish(struct weir_grpc_call *call, enum weir_grpc_code code) {
    call->code = code;
    call->answer = WEIR_GRPC_ANSWERED;
    call->request.heard_ns = weir_loop_now(call->grpc->loop);
    weir_loop_unset(call->grpc->loop, &call->deadline);
    weir_batch_unref(call->message);
    weir_batch_unref(call->waiting);
    call->message = call->waiting = NULL;
    if (call->request.paused) weir_http2_resume(&call->request);
    weir_grpc_count(call, code);
}

/* The status goes behind what waits. */
static void end_body(struct weir_grpc_call *call, enum weir_grpc_code code) {
    bool begun = call->answer == WEIR_GRPC_STREAMING;
    call->ended = true;
    finish(call, code);
    if (begun) {
        nghttp2_session_resume_data(weir_http2_session(call->request.connection), call->request.stream_id);
    } else {
        submit_body(call);
    }
    weir_http2_flush(call->request.connection);
}

/* One HEADERS frame is all. */
static void end_without_body(struct weir_grpc_call *call, enum weir_grpc_code code) {
    struct trailers trailers;
    finish(call, code);
    make_trailers(call, &trailers);
    nghttp2_nv headers[2 + TRAILERS_MAX + 1] = {NV(":status", "200", 3), NV("content-type", "application/grpc", 16)};
    memcpy(headers + 2, trailers.fields, trailers.count * sizeof headers[0]);
    size_t count = 2 + trailers.count;
    if (call->encoding == WEIR_ENCODING_OTHER)
        headers[count++] = (nghttp2_nv)NV("grpc-accept-encoding", "identity,gzip,zstd", 18);
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, count,
                            NULL);
    weir_http2_flush(call->request.connection);
}

void weir_grpc_answer(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    assert(call->answer == WEIR_GRPC_UNANSWERED);
    if (!put_message(call, message, size)) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no memory for the answer", WEIR_GRPC_RETRY_MS);
    } else {
        end_body(call, WEIR_GRPC_OK);
    }
}

/* text into call->text, cut between characters where it is too long. */
static void put_text(struct weir_grpc_call *call, const char *text) {
    size_t size = strlen(text), most = sizeof call->text - 1;
    if (size > most) {
        for (size = most; size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80;)
            size--;
    }
    memmove(call->text, text, size);
    call->text[size] = 0;
}

void weir_grpc_refuse(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms) {
    assert(call->answer != WEIR_GRPC_ANSWERED);
    put_text(call, text != NULL ? text : "");
    call->retry_ms = retry_ms;
    nghttp2_nv headers[WEIR_GRPC_FIELDS_MAX];
    if (call->answer == WEIR_GRPC_STREAMING || put_fields(call, WEIR_GRPC_HEADER, headers) > 0) {
        end_body(call, code);
    } else {
        end_without_body(call, code);
    }
}

void weir_grpc_give_up(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms) {
    if (call->called && call->method->gone != NULL) call->method->gone(call->grpc->options.self, call);
    weir_grpc_refuse(call, code, text, retry_ms);
}

bool weir_grpc_send(struct weir_grpc_call *call, const uint8_t *message, size_t size) {
    assert(call->answer != WEIR_GRPC_ANSWERED);
    if (!put_message(call, message, size)) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no memory for the answer", WEIR_GRPC_RETRY_MS);
        return false;
    }
    if (call->answer == WEIR_GRPC_UNANSWERED) {
        call->answer = WEIR_GRPC_STREAMING;
        submit_body(call);
    } else {
        nghttp2_session_resume_data(weir_http2_session(call->request.connection), call->request.stream_id);
    }
    weir_http2_flush(call->request.connection);
    return true;
}

void weir_grpc_end(struct weir_grpc_call *call) {
    weir_grpc_refuse(call, WEIR_GRPC_OK, NULL, 0);
}

void weir_grpc_answer_http(struct weir_grpc_call *call, const char *status) {
    const nghttp2_nv headers[] = {NV(":status", status, 3)};
    finish(call, WEIR_GRPC_INTERNAL);
    nghttp2_submit_response(weir_http2_session(call->request.connection), call->request.stream_id, headers, 1, NULL);
    weir_http2_flush(call->request.connection);
}

void weir_grpc_answer_free(struct weir_grpc_call *call) {
    weir_buffer_free(&call->out);
    call->out_at = 0;
    if (call->out_reserved > 0) weir_budget_release(call->grpc->options.budget, call->out_reserved);
    call->out_reserved = 0;
    while (call->fields != NULL) {
        struct weir_grpc_field *field = call->fields;
        call->fields = field->next;
        free(field);
    }
}
