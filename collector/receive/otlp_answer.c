#include "collector/receive/otlp_answer.h"
#include "collector/core/wire.h"

#include <stdio.h>

static size_t text_size(const char *text) {
    size_t size = strlen(text);
    return size < WEIR_OTLP_ANSWER_TEXT ? size : WEIR_OTLP_ANSWER_TEXT;
}

static char *put_text(char *at, const char *text) {
    size_t size = text_size(text);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20) {
            at += snprintf(at, 7, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\') *at++ = '\\';
        *at++ = (char)c;
    }
    return at;
}

size_t weir_otlp_answer_partial(uint64_t rejected, const char *reason, uint8_t out[WEIR_OTLP_ANSWER_BYTES]) {
    uint8_t partial[32 + WEIR_OTLP_ANSWER_TEXT];
    if (rejected == 0) return 0;
    uint8_t *at = weir_wire_put_uint(partial, 1, rejected);
    at = weir_wire_put_bytes(at, 2, reason, text_size(reason));
    return (size_t)(weir_wire_put_bytes(out, 1, partial, (size_t)(at - partial)) - out);
}

size_t weir_otlp_answer_partial_json(enum weir_otlp_signal signal, uint64_t rejected, const char *reason,
                                     uint8_t out[WEIR_OTLP_ANSWER_BYTES]) {
    char *text = (char *)out, *at = text;
    if (rejected == 0) return (size_t)sprintf(text, "{}");
    at += sprintf(at, "{\"partialSuccess\":{\"rejected%s\":\"%llu\",\"errorMessage\":\"",
                  signal == WEIR_OTLP_TRACES ? "Spans" : "DataPoints", (unsigned long long)rejected);
    at = put_text(at, reason);
    at += sprintf(at, "\"}}");
    return (size_t)(at - text);
}

size_t weir_otlp_answer_status(unsigned code, const char *message, uint8_t out[WEIR_OTLP_ANSWER_BYTES]) {
    uint8_t *at = weir_wire_put_uint(out, 1, code);
    return (size_t)(weir_wire_put_bytes(at, 2, message, text_size(message)) - out);
}

size_t weir_otlp_answer_status_json(unsigned code, const char *message, uint8_t out[WEIR_OTLP_ANSWER_BYTES]) {
    char *text = (char *)out, *at = text;
    at += sprintf(at, "{\"code\":%u,\"message\":\"", code);
    at = put_text(at, message);
    at += sprintf(at, "\"}");
    return (size_t)(at - text);
}
