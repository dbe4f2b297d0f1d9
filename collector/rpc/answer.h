/* answer.h - what a gRPC server answered to an export. Sources: grpc PROTOCOL-HTTP2.md; OTLP specification, "OTLP/gRPC
 * Response", "OTLP/gRPC Throttling". Pure. Whatever a server sends, what is kept of it is bounded. */
#ifndef WEIR_RPC_ANSWER_H
#define WEIR_RPC_ANSWER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_rpc_code { /* grpc status codes that matter here */
                     WEIR_RPC_OK = 0,
                     WEIR_RPC_CANCELLED = 1,
                     WEIR_RPC_UNKNOWN = 2,
                     WEIR_RPC_DEADLINE_EXCEEDED = 4,
                     WEIR_RPC_PERMISSION_DENIED = 7,
                     WEIR_RPC_RESOURCE_EXHAUSTED = 8,
                     WEIR_RPC_ABORTED = 10,
                     WEIR_RPC_OUT_OF_RANGE = 11,
                     WEIR_RPC_UNIMPLEMENTED = 12,
                     WEIR_RPC_INTERNAL = 13,
                     WEIR_RPC_UNAVAILABLE = 14,
                     WEIR_RPC_DATA_LOSS = 15,
                     WEIR_RPC_UNAUTHENTICATED = 16,
                     WEIR_RPC_CODES = 17,
};
const char *weir_rpc_code_name(int code);

enum { WEIR_RPC_ANSWER_MAX = 4096 };

struct weir_rpc_answer {
    int http_status, grpc_status; /* -1 = not said */
    bool retry_info;              /* RetryInfo came: retry_ns is how long to wait */
    uint64_t retry_ns;
    char message[160];                 /* grpc-message, percent-decoded; fit for a terminal */
    char accepts[64];                  /* grpc-accept-encoding; "" = not said */
    char encoding[16];                 /* grpc-encoding; likewise */
    uint8_t body[WEIR_RPC_ANSWER_MAX]; /* what of the DATA frames fits */
    uint32_t body_size;
    uint64_t body_bytes; /* all of them */
};

void weir_rpc_answer_reset(struct weir_rpc_answer *answer);
void weir_rpc_answer_header(struct weir_rpc_answer *answer, const char *name, size_t name_size, const char *value,
                            size_t value_size);
void weir_rpc_answer_data(struct weir_rpc_answer *answer, const uint8_t *bytes, size_t size);
/* The status, once the stream is closed; without a grpc-status made from the HTTP status (grpc
 * http-grpc-status-mapping.md). */
int weir_rpc_answer_code(const struct weir_rpc_answer *answer);
/* ExportTraceServiceResponse.partial_success.rejected_spans; false: the message is broken. The reason goes into
 * message. */
bool weir_rpc_answer_rejected(struct weir_rpc_answer *answer, uint64_t *rejected);
/* The same from the message alone, as HTTP brings it. cut: more of it came than `bytes` has. `message` is kept where no
 * reason is given. */
bool weir_rpc_response_rejected(const uint8_t *bytes, size_t size, bool cut, uint64_t *rejected, char *message,
                                size_t message_size);
/* Bytes of a server as text that may end in a log or on a terminal; NUL-ended, cut to out_size. percent: %41 is A. */
void weir_rpc_text(const uint8_t *text, size_t size, bool percent, char *out, size_t out_size);
#endif
