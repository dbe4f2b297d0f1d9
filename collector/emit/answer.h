/* answer.h - what a gRPC server answered to an export. Sources: grpc PROTOCOL-HTTP2.md; OTLP specification, "OTLP/gRPC
 * Response", "OTLP/gRPC Throttling". Pure. */
#ifndef WEIR_EMIT_ANSWER_H
#define WEIR_EMIT_ANSWER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_emit_code { /* grpc status codes that matter here */
                      WEIR_EMIT_OK = 0,
                      WEIR_EMIT_CANCELLED = 1,
                      WEIR_EMIT_UNKNOWN = 2,
                      WEIR_EMIT_DEADLINE_EXCEEDED = 4,
                      WEIR_EMIT_RESOURCE_EXHAUSTED = 8,
                      WEIR_EMIT_INTERNAL = 13,
                      WEIR_EMIT_UNAVAILABLE = 14,
                      WEIR_EMIT_CODES = 17,
};
const char *weir_emit_code_name(int code);

enum { WEIR_EMIT_ANSWER_MAX = 1024 };

struct weir_emit_answer {
    int http_status, grpc_status; /* -1 = not said */
    bool retry_info;              /* RetryInfo came: retry_ns is how long to wait */
    uint64_t retry_ns;
    char message[160];                  /* grpc-message, percent-decoded */
    uint8_t body[WEIR_EMIT_ANSWER_MAX]; /* what of the DATA frames fits */
    uint32_t body_size;
};

void weir_emit_answer_reset(struct weir_emit_answer *answer);
void weir_emit_answer_header(struct weir_emit_answer *answer, const char *name, size_t name_size, const char *value,
                             size_t value_size);
void weir_emit_answer_data(struct weir_emit_answer *answer, const uint8_t *bytes, size_t size);
/* The status, once the stream is closed; without a grpc-status made from the HTTP status (grpc
 * http-grpc-status-mapping.md). */
int weir_emit_answer_code(const struct weir_emit_answer *answer);
/* ExportTraceServiceResponse.partial_success.rejected_spans; false: the message is broken. The reason goes into
 * message. */
bool weir_emit_answer_rejected(struct weir_emit_answer *answer, uint64_t *rejected);
#endif
