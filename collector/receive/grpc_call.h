/* grpc_call.h - a call from the inside, for grpc.c (what comes) and grpc_answer.c (what goes). */
#ifndef WEIR_RECEIVE_GRPC_CALL_H
#define WEIR_RECEIVE_GRPC_CALL_H
#include "collector/core/buffer.h"
#include "collector/receive/grpc.h"
#include "collector/receive/gzip.h"
#include "collector/receive/inflate.h"

enum {
    WEIR_GRPC_PREFIX_BYTES = 5, /* flag 1 | length 4, big endian */
    WEIR_GRPC_RETRY_MS = 1000,
    WEIR_GRPC_TEXT_BYTES = 400, /* of grpc-message, before escaping */
    WEIR_GRPC_METHODS_MAX = 16,
    WEIR_GRPC_FIELDS_MAX = 16, /* of metadata in an answer */
};

struct weir_grpc {
    struct weir_grpc_options options;
    struct weir_loop *loop;
    struct weir_metrics *registry;
    struct weir_metric_set *set, *requests[1 + WEIR_GRPC_METHODS_MAX]; /* other, then as in options.methods */
    struct weir_http2_lane *http2;
    struct weir_inflate *inflate;
    struct weir_gzip *gzip;
    uint32_t open; /* calls that live, those included whose caller has left */
    bool draining;
    bool freed; /* by its owner; the last call takes it along */
};

enum weir_grpc_answer { WEIR_GRPC_UNANSWERED, WEIR_GRPC_STREAMING, WEIR_GRPC_ANSWERED };

struct weir_grpc_field { /* of metadata: name and value stand behind it */
    struct weir_grpc_field *next;
    enum weir_grpc_metadata where;
    size_t name_size, value_size;
    uint8_t bytes[];
};

struct weir_grpc_call {
    struct weir_http2_request request; /* first */
    struct weir_receipt receipt;
    void (*settled)(void *self, struct weir_grpc_call *call);
    struct weir_grpc *grpc;
    const struct weir_grpc_method *method;
    struct weir_timer deadline;
    uint64_t timeout_ns;
    enum weir_grpc_answer answer;
    bool is_post, is_grpc, reads_gzip; /* what the headers said, as is the next */
    enum weir_encoding encoding;
    bool called; /* the method knows of it */
    bool receipt_open, compressed;
    uint32_t header_bytes;
    /* The message that comes. */
    uint8_t prefix[WEIR_GRPC_PREFIX_BYTES];
    uint32_t prefix_size;
    uint64_t length;   /* as its prefix says */
    uint64_t began_ns; /* when its first byte came */
    struct weir_batch *message;
    /* Bytes that came while the answer was too far ahead; at most a stream's window. */
    struct weir_batch *waiting;
    struct weir_mail resume; /* posted when the answer has left */
    bool resume_posted;
    /* The answer. */
    struct weir_buffer out; /* bytes of its body that are not on their way yet */
    size_t out_at, out_reserved;
    bool gzip_announced, gzip_on;
    bool ended; /* trailers follow what is in `out` */
    struct weir_grpc_field *fields;
    uint32_t field_count;
    enum weir_grpc_code code;
    uint32_t retry_ms;
    char text[WEIR_GRPC_TEXT_BYTES];
    /* The method's. */
    struct weir_grpc_note note;
    void *kept;
    void (*release)(void *kept);
};

/* grpc.c's: one call of `call->method` was answered so. */
void weir_grpc_count(const struct weir_grpc_call *call, enum weir_grpc_code code);
/* grpc_answer.c's: refuses, when it is not the method that does; who knows of the call is told that it is gone. */
void weir_grpc_give_up(struct weir_grpc_call *call, enum weir_grpc_code code, const char *text, uint32_t retry_ms);
void weir_grpc_answer_http(struct weir_grpc_call *call, const char *status); /* not gRPC at all: plain HTTP says so */
void weir_grpc_answer_free(struct weir_grpc_call *call);                     /* what the answer holds */
#endif
