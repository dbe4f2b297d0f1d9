#include "collector/rpc/answer.h"

#include "collector/core/clock.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

const char *weir_rpc_code_name(int code) {
    static const char *const names[WEIR_RPC_CODES] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    return code >= 0 && code < WEIR_RPC_CODES ? names[code] : "UNKNOWN";
}

void weir_rpc_answer_reset(struct weir_rpc_answer *answer) {
    answer->http_status = answer->grpc_status = -1;
    answer->retry_info = false;
    answer->retry_ns = 0;
    answer->message[0] = answer->accepts[0] = answer->encoding[0] = 0;
    answer->body_size = 0;
    answer->body_bytes = 0;
}

static int read_number(const char *text, size_t size) {
    int value = 0;
    if (size == 0 || size > 3) return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

void weir_rpc_text(const uint8_t *text, size_t size, bool percent, char *out, size_t out_size) {
    size_t wrote = 0;
    for (size_t i = 0; i < size && wrote + 1 < out_size; i++) {
        uint8_t c = text[i];
        if (percent && c == '%' && i + 2 < size && weir_hex_decode((const char *)text + i + 1, 2, &c)) i += 2;
        out[wrote++] = c >= 0x20 && c != 0x7f ? (char)c : ' ';
    }
    out[wrote] = 0;
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Stops at padding, at what is not base64, and when `out` is full. */
static size_t base64_decode(const char *text, size_t size, uint8_t *out, size_t out_size) {
    uint32_t bits = 0, count = 0;
    size_t wrote = 0;
    for (size_t i = 0; i < size && wrote < out_size; i++) {
        int value = base64_value(text[i]);
        if (value < 0) break;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out[wrote++] = (uint8_t)(bits >> count);
    }
    return wrote;
}

/* google.protobuf.Duration 1 seconds 2 nanos; a wait of more than an hour is read as an hour. */
static uint64_t read_delay(const uint8_t *bytes, size_t size) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    uint64_t seconds = 0, nanos = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_VARINT) continue;
        if (field.number == 1) seconds = field.value;
        if (field.number == 2) nanos = field.value;
    }
    if ((int64_t)seconds < 0 || (int64_t)nanos < 0) return 0;
    return seconds >= 3600 || nanos >= WEIR_S ? 3600 * WEIR_S : seconds * WEIR_S + nanos;
}

/* google.rpc.Status 3 details: Any{1 type_url, 2 value: google.rpc.RetryInfo{1 retry_delay}}. */
static void read_details(struct weir_rpc_answer *answer, const char *text, size_t size) {
    static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
    uint8_t bytes[1024];
    struct weir_wire status = weir_wire_of(bytes, base64_decode(text, size, bytes, sizeof bytes));
    struct weir_wire_field detail, field;
    while (weir_wire_next(&status, &detail)) {
        if (detail.number != 3 || detail.type != WEIR_WIRE_BYTES) continue;
        struct weir_wire any = weir_wire_of(detail.bytes, detail.value);
        struct weir_wire_field value = {0};
        bool ours = false;
        while (weir_wire_next(&any, &field)) {
            if (field.type != WEIR_WIRE_BYTES) continue;
            if (field.number == 1)
                ours = field.value == sizeof type - 1 && memcmp(field.bytes, type, sizeof type - 1) == 0;
            if (field.number == 2) value = field;
        }
        if (!ours) continue;
        answer->retry_info = true;
        if (value.bytes == NULL) continue;
        struct weir_wire info = weir_wire_of(value.bytes, value.value);
        while (weir_wire_next(&info, &field)) {
            if (field.number == 1 && field.type == WEIR_WIRE_BYTES)
                answer->retry_ns = read_delay(field.bytes, field.value);
        }
    }
}

static bool named(const char *name, size_t size, const char *wanted) {
    return strlen(wanted) == size && memcmp(name, wanted, size) == 0;
}

void weir_rpc_answer_header(struct weir_rpc_answer *answer, const char *name, size_t name_size, const char *value,
                            size_t value_size) {
    if (named(name, name_size, ":status")) {
        answer->http_status = read_number(value, value_size);
    } else if (named(name, name_size, "grpc-status")) {
        answer->grpc_status = read_number(value, value_size);
    } else if (named(name, name_size, "grpc-message")) {
        weir_rpc_text((const uint8_t *)value, value_size, true, answer->message, sizeof answer->message);
    } else if (named(name, name_size, "grpc-accept-encoding")) {
        weir_rpc_text((const uint8_t *)value, value_size, false, answer->accepts, sizeof answer->accepts);
    } else if (named(name, name_size, "grpc-encoding")) {
        weir_rpc_text((const uint8_t *)value, value_size, false, answer->encoding, sizeof answer->encoding);
    } else if (named(name, name_size, "grpc-status-details-bin")) {
        read_details(answer, value, value_size);
    }
}

void weir_rpc_answer_data(struct weir_rpc_answer *answer, const uint8_t *bytes, size_t size) {
    size_t room = sizeof answer->body - answer->body_size;
    answer->body_bytes += size;
    if (size > room) size = room;
    memcpy(answer->body + answer->body_size, bytes, size);
    answer->body_size += (uint32_t)size;
}

int weir_rpc_answer_code(const struct weir_rpc_answer *answer) {
    if (answer->grpc_status >= 0) return answer->grpc_status;
    switch (answer->http_status) {
    case 400: return WEIR_RPC_INTERNAL;
    case 401: return WEIR_RPC_UNAUTHENTICATED;
    case 403: return WEIR_RPC_PERMISSION_DENIED;
    case 404: return WEIR_RPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return WEIR_RPC_UNAVAILABLE;
    default: return WEIR_RPC_UNKNOWN;
    }
}

/* ExportTracePartialSuccess 1 rejected_spans 2 error_message. What was cut is read as far as it is there. */
static bool read_partial(const uint8_t *bytes, size_t size, bool cut, uint64_t *rejected, char *message,
                         size_t message_size) {
    struct weir_wire success = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    bool said = false;
    while (weir_wire_next(&success, &field)) {
        if (field.number == 1 && field.type == WEIR_WIRE_VARINT) {
            if ((int64_t)field.value > 0) *rejected = field.value;
            said = true;
        }
        if (field.number == 2 && field.type == WEIR_WIRE_BYTES && field.value > 0)
            weir_rpc_text(field.bytes, field.value, false, message, message_size);
    }
    return success.why == NULL || (cut && said);
}

bool weir_rpc_response_rejected(const uint8_t *bytes, size_t size, bool cut, uint64_t *rejected, char *message,
                                size_t message_size) {
    *rejected = 0;
    struct weir_wire response = weir_wire_of(bytes, size);
    struct weir_wire_field partial;
    while (weir_wire_next(&response, &partial)) {
        if (partial.number != 1 || partial.type != WEIR_WIRE_BYTES) continue;
        if (!read_partial(partial.bytes, partial.value, false, rejected, message, message_size)) return false;
    }
    if (response.why == NULL) return true;
    uint64_t key, length;
    return cut && weir_wire_varint(&response, &key) && key == (1 << 3 | WEIR_WIRE_BYTES) &&
           weir_wire_varint(&response, &length) &&
           read_partial(response.at, (size_t)(response.end - response.at), true, rejected, message, message_size);
}

/* As much of it as fits into `out`. SIZE_MAX: it cannot be read. */
static size_t inflate_gzip(const uint8_t *bytes, size_t size, uint8_t *out, size_t out_size) {
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)bytes, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)out_size};
    if (inflateInit2(&z, 15 + 16) != Z_OK) return SIZE_MAX;
    int got = inflate(&z, Z_SYNC_FLUSH);
    inflateEnd(&z);
    return got == Z_OK || got == Z_STREAM_END || got == Z_BUF_ERROR ? out_size - z.avail_out : SIZE_MAX;
}

static size_t inflate_zstd(const uint8_t *bytes, size_t size, uint8_t *out, size_t out_size) {
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = {.src = bytes, .size = size};
    ZSTD_outBuffer to = {.dst = out, .size = out_size};
    if (context == NULL) return SIZE_MAX;
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 20); /* 1 MiB, whatever the frame asks for */
    size_t got = ZSTD_decompressStream(context, &to, &in);
    ZSTD_freeDCtx(context);
    return ZSTD_isError(got) ? SIZE_MAX : to.pos;
}

bool weir_rpc_answer_rejected(struct weir_rpc_answer *answer, uint64_t *rejected) {
    uint8_t plain[WEIR_RPC_ANSWER_MAX];
    const uint8_t *message = answer->body + 5;
    *rejected = 0;
    if (answer->body_size < 5) return false; /* also an empty message has its five bytes */
    size_t size = (uint32_t)answer->body[1] << 24 | (uint32_t)answer->body[2] << 16 | (uint32_t)answer->body[3] << 8 |
                  answer->body[4];
    bool cut = size > answer->body_size - 5;
    if (cut) size = answer->body_size - 5;
    if (answer->body[0] != 0) { /* grpc-go answers compressed requests as they came, unasked */
        if (strcmp(answer->encoding, "gzip") == 0)
            size = inflate_gzip(message, size, plain, sizeof plain);
        else if (strcmp(answer->encoding, "zstd") == 0)
            size = inflate_zstd(message, size, plain, sizeof plain);
        else
            return false;
        if (size == SIZE_MAX) return false;
        message = plain;
        cut = cut || size == sizeof plain;
    }
    return weir_rpc_response_rejected(message, size, cut, rejected, answer->message, sizeof answer->message);
}
