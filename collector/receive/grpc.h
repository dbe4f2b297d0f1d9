/* grpc.h - gRPC over HTTP/2, server side: one port, one table of methods for all services. A message is read into a
 * batch whose memory is drawn from the intake budget, inflated where it has to be, and handed to its method; an answer
 * is messages, a status, and trailers. Sources: grpc doc/PROTOCOL-HTTP2.md, doc/compression.md, doc/statuscodes.md;
 * google/rpc/{status,error_details}.proto. */
#ifndef WEIR_RECEIVE_GRPC_H
#define WEIR_RECEIVE_GRPC_H
#include "collector/core/batch.h"
#include "collector/core/receipt.h"
#include "collector/receive/address.h"
#include "collector/receive/http2.h"

enum weir_grpc_code {
    WEIR_GRPC_OK = 0,
    WEIR_GRPC_CANCELLED = 1,
    WEIR_GRPC_UNKNOWN = 2,
    WEIR_GRPC_INVALID_ARGUMENT = 3,
    WEIR_GRPC_DEADLINE_EXCEEDED = 4,
    WEIR_GRPC_NOT_FOUND = 5,
    WEIR_GRPC_PERMISSION_DENIED = 7,
    WEIR_GRPC_RESOURCE_EXHAUSTED = 8,
    WEIR_GRPC_UNIMPLEMENTED = 12,
    WEIR_GRPC_INTERNAL = 13,
    WEIR_GRPC_UNAVAILABLE = 14,
    WEIR_GRPC_UNAUTHENTICATED = 16,
};

struct weir_grpc;      /* the server on one lane */
struct weir_grpc_call; /* one request and its answer */

/* A row of the table. Without `half_closed` the caller sends one message, and `called` comes when it has ended its
 * side; with it the caller sends any number, and `called` comes with each as it is whole. */
struct weir_grpc_method {
    const char *path; /* "/package.Service/Method" */
    /* A whole message: `*message` is plain, in bytes[0 .. size); who keeps it sets it to NULL. A unary method answers
     * now or later, once. While more than WEIR_GRPC_AHEAD_BYTES of answers wait for the caller, no further message is
     * read: the stream's window closes. */
    void (*called)(void *self, struct weir_grpc_call *call, struct weir_batch **message);
    void (*half_closed)(void *self, struct weir_grpc_call *call); /* after the last message. NULL: a unary request */
    /* What was sent is on its way, so that more may be sent. NULL: not needed. */
    void (*room)(void *self, struct weir_grpc_call *call);
    /* The call is over, and not by the method's doing: its caller left, its time is up, what came next did not read.
     * Only where `called` or `half_closed` came before, and at most once. NULL: not needed. */
    void (*gone)(void *self, struct weir_grpc_call *call);
};

enum { WEIR_GRPC_AHEAD_BYTES = 64 * 1024 };

struct weir_grpc_options {
    const struct weir_grpc_method *methods; /* ends with path NULL */
    void *self;                             /* the methods' */
    struct weir_budget *budget;
    uint64_t max_message_bytes;
    /* Each header of a request that is not gRPC's own, as it comes. NULL: not needed. */
    void (*header)(void *self, struct weir_grpc_call *call, const uint8_t *name, size_t name_size, const uint8_t *value,
                   size_t value_size);
    /* The headers are whole and name a method; it may be refused here. NULL: not needed. */
    void (*begun)(void *self, struct weir_grpc_call *call);
};

enum weir_status weir_grpc_new(struct weir_grpc **grpc, struct weir_loop *loop, struct weir_metrics *metrics,
                               const struct weir_grpc_options *options, const struct weir_http2_limits *limits,
                               struct weir_error *err);
void weir_grpc_set_limits(struct weir_grpc *grpc, uint64_t max_message_bytes, const struct weir_http2_limits *limits);
void weir_grpc_accept(struct weir_grpc *grpc, struct weir_stream *stream);
/* GOAWAY to all. Calls that may send any number of messages are ended with UNAVAILABLE, all others are finished. */
void weir_grpc_drain(struct weir_grpc *grpc);
bool weir_grpc_idle(const struct weir_grpc *grpc); /* no connection, and nobody is owed a receipt */
/* Accepts NULL. Receipts that are out may be settled until the loop is freed; nobody is answered any more. */
void weir_grpc_free(struct weir_grpc *grpc);

/* The whole answer. `message` (may be NULL for an empty one) is copied. text: of an error, UTF-8, may be NULL.
 * retry_ms: RetryInfo, or 0: the caller should not try again. weir_grpc_refuse() also ends an answer that has begun. */
void weir_grpc_answer(struct weir_grpc_call *call, const uint8_t *message, size_t size);
void weir_grpc_refuse(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms);
/* A streaming answer: one message more; the stream stays open until weir_grpc_end(). False: no memory for it, and the
 * call is refused. */
bool weir_grpc_send(struct weir_grpc_call *call, const uint8_t *message, size_t size);
void weir_grpc_end(struct weir_grpc_call *call);
size_t weir_grpc_unsent(const struct weir_grpc_call *call); /* bytes of answers that wait for the caller's window */
/* Messages from here on are gzipped, or not, when the caller reads that. Headers announce it: who never asked before
 * the first message has no effect later. */
void weir_grpc_gzip(struct weir_grpc_call *call, bool on);
/* Metadata of the answer, copied; at most 16 fields a call, more are left out. Headers count until the first message.
 */
enum weir_grpc_metadata { WEIR_GRPC_HEADER, WEIR_GRPC_TRAILER };
void weir_grpc_metadata(struct weir_grpc_call *call, enum weir_grpc_metadata where, const uint8_t *name,
                        size_t name_size, const uint8_t *value, size_t value_size);

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
    bool allowed; /* its headers have what is asked of callers */
    bool counted; /* they say that the caller has counted its spans */
};
struct weir_grpc_note *weir_grpc_note(struct weir_grpc_call *call);
/* Who calls; "" when the caller has left. */
void weir_grpc_peer(const struct weir_grpc_call *call, char out[WEIR_ADDRESS_BYTES]);
const char *weir_grpc_path(const struct weir_grpc_call *call); /* its method's; from `begun` on */
/* What a streaming method keeps of the call; `release` frees it when the call is. */
void weir_grpc_keep(struct weir_grpc_call *call, void *state, void (*release)(void *state));
void *weir_grpc_kept(const struct weir_grpc_call *call);          /* NULL: nothing */
bool weir_grpc_was_compressed(const struct weir_grpc_call *call); /* the message that `called` is about */
#endif
