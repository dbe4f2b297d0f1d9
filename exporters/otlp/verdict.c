#define _GNU_SOURCE /* strcasestr */
#include "exporters/otlp/verdict.h"
#include "collector/core/clock.h"
#include "collector/core/wire.h"

#include <stdio.h>
#include <string.h>

bool weir_otlp_outcome_is_bad(enum weir_otlp_outcome outcome) {
    return outcome >= WEIR_OTLP_UNAVAILABLE;
}

/* The peer's words, with what would end a quoted value of the log replaced. */
static void say(struct weir_otlp_verdict *verdict, const char *what, const char *message) {
    snprintf(verdict->why, sizeof verdict->why, "%s%s%s", what, message[0] != 0 ? ": " : "", message);
    for (char *at = verdict->why; *at != 0; at++) {
        if (*at == '"') *at = '\'';
    }
}

/* grpc-go: "received message larger than max (5 vs. 4)", "after decompression larger than max"; C++ the same; Java:
 * "gRPC message exceeds maximum size"; Weir: "the message has more than max_message_bytes (4)". */
static bool speaks_of_size(const char *message) {
    static const char *const words[] = {"larger than", "exceeds maximum", "too large", "max_message_bytes", NULL};
    for (const char *const *word = words; *word != NULL; word++) {
        if (strcasestr(message, *word) != NULL) return true;
    }
    return false;
}

/* grpc-go: "Decompressor is not installed for grpc-encoding"; others name the encoding or the compression. */
static bool speaks_of_encoding(const char *message) {
    return strcasestr(message, "compress") != NULL || strcasestr(message, "encoding") != NULL;
}

static void accepted(struct weir_otlp_verdict *verdict, bool readable, const char *message) {
    verdict->outcome = !readable               ? WEIR_OTLP_UNREADABLE
                       : verdict->rejected > 0 ? WEIR_OTLP_PARTIAL
                                               : WEIR_OTLP_DELIVERED;
    /* OTLP: a partial success of 0 spans may carry a warning. */
    if (verdict->outcome == WEIR_OTLP_DELIVERED && message[0] != 0) say(verdict, "warning", message);
    if (verdict->outcome != WEIR_OTLP_DELIVERED)
        say(verdict, readable ? "partial success" : "an answer that cannot be read", message);
}

void weir_otlp_verdict_grpc(struct weir_rpc_answer *answer, enum weir_otlp_encoding encoding,
                            struct weir_otlp_verdict *verdict) {
    *verdict = (struct weir_otlp_verdict){.outcome = WEIR_OTLP_REJECTED};
    int code = weir_rpc_answer_code(answer);
    if (code == WEIR_RPC_OK) {
        bool readable = weir_rpc_answer_rejected(answer, &verdict->rejected);
        accepted(verdict, readable, answer->message);
        return;
    }
    say(verdict, weir_rpc_code_name(code), answer->message);
    if (answer->retry_info) verdict->retry_after_ns = answer->retry_ns;
    if (answer->grpc_status < 0 && code == WEIR_RPC_UNKNOWN) { /* an HTTP server, or something in between */
        char what[64];
        snprintf(what, sizeof what, "HTTP %d without a grpc-status", answer->http_status);
        say(verdict, what, "");
        verdict->outcome = answer->http_status / 100 == 5 ? WEIR_OTLP_UNAVAILABLE : WEIR_OTLP_NOT_ALLOWED;
        return;
    }
    switch (code) {
    case WEIR_RPC_RESOURCE_EXHAUSTED:
        if (answer->retry_info)
            verdict->outcome = WEIR_OTLP_THROTTLED;
        else if (speaks_of_size(answer->message))
            verdict->outcome = WEIR_OTLP_TOO_LARGE;
        break;
    case WEIR_RPC_UNAVAILABLE:
        verdict->outcome = answer->retry_info ? WEIR_OTLP_THROTTLED : WEIR_OTLP_UNAVAILABLE;
        break;
    case WEIR_RPC_CANCELLED:
    case WEIR_RPC_DEADLINE_EXCEEDED:
    case WEIR_RPC_ABORTED:
    case WEIR_RPC_OUT_OF_RANGE:
    case WEIR_RPC_DATA_LOSS: verdict->outcome = WEIR_OTLP_UNAVAILABLE; break;
    case WEIR_RPC_UNIMPLEMENTED:
        verdict->outcome =
            encoding != WEIR_OTLP_NONE && (answer->accepts[0] != 0 || speaks_of_encoding(answer->message))
                ? WEIR_OTLP_ENCODING_REFUSED
                : WEIR_OTLP_NOT_ALLOWED;
        break;
    case WEIR_RPC_UNAUTHENTICATED:
    case WEIR_RPC_PERMISSION_DENIED: verdict->outcome = WEIR_OTLP_NOT_ALLOWED; break;
    default: break;
    }
}

static bool is_protobuf(const char *type) {
    static const char protobuf[] = "application/x-protobuf";
    return type != NULL && strncasecmp(type, protobuf, sizeof protobuf - 1) == 0;
}

static bool is_json(const char *type) {
    return type != NULL && strncasecmp(type, "application/json", 16) == 0;
}

/* "Status" of google.rpc in a refusal's body: 2 message. Other bodies are taken for text. */
static void read_refusal(struct weir_rpc_answer *answer, const char *type) {
    const uint8_t *text = answer->body;
    size_t size = answer->body_size;
    if (is_protobuf(type)) {
        struct weir_wire status = weir_wire_of(answer->body, answer->body_size);
        struct weir_wire_field field;
        size = 0;
        while (weir_wire_next(&status, &field)) {
            if (field.number != 2 || field.type != WEIR_WIRE_BYTES) continue;
            text = field.bytes;
            size = field.value;
        }
    }
    weir_rpc_text(text, size, false, answer->message, sizeof answer->message);
}

void weir_otlp_verdict_http(struct weir_rpc_answer *answer, const char *type, uint64_t retry_after_s,
                            enum weir_otlp_encoding encoding, struct weir_otlp_verdict *verdict) {
    *verdict = (struct weir_otlp_verdict){.outcome = WEIR_OTLP_REJECTED};
    int status = answer->http_status;
    char what[64];
    snprintf(what, sizeof what, "HTTP %d", status);
    if (status / 100 == 2 && (is_protobuf(type) || answer->body_bytes == 0)) {
        bool readable =
            weir_rpc_response_rejected(answer->body, answer->body_size, answer->body_bytes > answer->body_size,
                                       &verdict->rejected, answer->message, sizeof answer->message);
        accepted(verdict, readable, answer->message);
        return;
    }
    if (status / 100 == 2 && is_json(type)) { /* not what was asked for, but OTLP: {} is all that most say */
        accepted(verdict, answer->body_size == 2 && memcmp(answer->body, "{}", 2) == 0, "JSON");
        return;
    }
    read_refusal(answer, type);
    say(verdict, what, answer->message);
    if (retry_after_s > 0) verdict->retry_after_ns = retry_after_s > 86400 ? 86400 * WEIR_S : retry_after_s * WEIR_S;
    switch (status) {
    case 429: verdict->outcome = WEIR_OTLP_THROTTLED; break;
    case 502:
    case 503:
    case 504: verdict->outcome = retry_after_s > 0 ? WEIR_OTLP_THROTTLED : WEIR_OTLP_UNAVAILABLE; break;
    case 408: verdict->outcome = WEIR_OTLP_UNAVAILABLE; break;
    case 413: verdict->outcome = WEIR_OTLP_TOO_LARGE; break;
    case 415: verdict->outcome = encoding != WEIR_OTLP_NONE ? WEIR_OTLP_ENCODING_REFUSED : WEIR_OTLP_NOT_ALLOWED; break;
    case 400: /* net/http of Go: "http: request body too large" */
        if (speaks_of_size(answer->message)) verdict->outcome = WEIR_OTLP_TOO_LARGE;
        if (encoding != WEIR_OTLP_NONE && speaks_of_encoding(answer->message))
            verdict->outcome = WEIR_OTLP_ENCODING_REFUSED;
        break;
    case 401:
    case 403:
    case 404:
    case 405:
    case 407: verdict->outcome = WEIR_OTLP_NOT_ALLOWED; break;
    default: /* a page that says 200, a redirect: no OTLP is spoken there */
        if (status < 400) verdict->outcome = WEIR_OTLP_NOT_ALLOWED;
        break;
    }
}
