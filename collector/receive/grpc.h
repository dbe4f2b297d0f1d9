/* grpc.h - gRPC over HTTP/2, server side: one port, one table of methods for all services. A message is read into a
 * batch whose memory is drawn from the intake budget, inflated where it has to be, and handed to its method; an answer
 * is a status, at most one message, and trailers. Sources: grpc doc/PROTOCOL-HTTP2.md, doc/compression.md,
 * doc/statuscodes.md; google/rpc/{status,error_details}.proto. */
#ifndef WEIR_RECEIVE_GRPC_H
#define WEIR_RECEIVE_GRPC_H
#include "collector/core/batch.h"
#include "collector/core/receipt.h"
#include "collector/receive/http2.h"

enum weir_grpc_code {
    WEIR_GRPC_OK = 0,
    WEIR_GRPC_CANCELLED = 1,
    WEIR_GRPC_INVALID_ARGUMENT = 3,
    WEIR_GRPC_DEADLINE_EXCEEDED = 4,
    WEIR_GRPC_NOT_FOUND = 5,
    WEIR_GRPC_RESOURCE_EXHAUSTED = 8,
    WEIR_GRPC_UNIMPLEMENTED = 12,
    WEIR_GRPC_INTERNAL = 13,
    WEIR_GRPC_UNAVAILABLE = 14,
};

struct weir_grpc;      /* the server on one lane */
struct weir_grpc_call; /* one request and its answer */

struct weir_grpc_method {
    const char *path; /* "/package.Service/Method" */
    /* A whole message: `*message` is the call's request, plain, in bytes[0 .. size); who keeps it sets it to NULL.
     * Answers now or later, once. */
    void (*called)(void *self, struct weir_grpc_call *call, struct weir_batch **message);
    void (*gone)(void *self, struct weir_grpc_call *call); /* of a streaming call: the caller left. NULL: unary */
};

struct weir_grpc_options {
    const struct weir_grpc_method *methods; /* ends with path NULL */
    void *self;                             /* the methods' */
    struct weir_budget *budget;
    uint64_t max_message_bytes;
};

enum weir_status weir_grpc_new(struct weir_grpc **grpc, struct weir_loop *loop, struct weir_metrics *metrics,
                               const struct weir_grpc_options *options, const struct weir_http2_limits *limits,
                               struct weir_error *err);
void weir_grpc_set_limits(struct weir_grpc *grpc, uint64_t max_message_bytes, const struct weir_http2_limits *limits);
void weir_grpc_accept(struct weir_grpc *grpc, struct weir_stream *stream);
void weir_grpc_drain(struct weir_grpc *grpc);
bool weir_grpc_idle(const struct weir_grpc *grpc); /* no connection, and nobody is owed a receipt */
/* Accepts NULL. Receipts that are out may be settled until the loop is freed; nobody is answered any more. */
void weir_grpc_free(struct weir_grpc *grpc);

/* The answer. `message` (may be NULL for an empty one) is copied. text: of an error, UTF-8, may be NULL. retry_ms:
 * RetryInfo, or 0: the caller should not try again. */
void weir_grpc_answer(struct weir_grpc_call *call, const uint8_t *message, size_t size);
void weir_grpc_refuse(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms);
/* A streaming answer: one message more; the stream stays open until weir_grpc_end(). */
void weir_grpc_send(struct weir_grpc_call *call, const uint8_t *message, size_t size);
void weir_grpc_end(struct weir_grpc_call *call);

/* A receipt whose settlement answers the call by `settled` (on the lane). The call stays until then, even when its
 * caller has left. */
struct weir_receipt *weir_grpc_receipt(struct weir_grpc_call *call,
                                       void (*settled)(void *self, struct weir_grpc_call *call));
/* The receipt will not be settled after all. */
void weir_grpc_receipt_drop(struct weir_grpc_call *call);

/* What the method notes between call and answer. */
struct weir_grpc_note {
    uint64_t rejected;
    char reason[160];
};
struct weir_grpc_note *weir_grpc_note(struct weir_grpc_call *call);
#endif
