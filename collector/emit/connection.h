/* connection.h - one HTTP/2 connection that carries export requests, several streams at once, with prior knowledge.
 * Request bytes go from their buffer to the kernel without another copy. */
#ifndef WEIR_EMIT_CONNECTION_H
#define WEIR_EMIT_CONNECTION_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/emit/answer.h"

#include <openssl/ssl.h>

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

/* One export. The buffer must stay as it is from submit until it is released. */
struct weir_emit_request {
    struct weir_buffer body; /* the gRPC message with its five bytes in front */
    size_t taken;            /* of body, by HTTP/2 */
    uint32_t spans;
    uint32_t attempts;
    uint64_t due_ns;      /* waiting: when it is sent again */
    uint64_t began_ns;    /* when it was first given to a connection */
    uint64_t deadline_ns; /* of this attempt */
    int32_t stream;       /* 0 = none */
    bool left;            /* a byte of it may have reached the server */
    bool cancelled;       /* by us, behind its deadline */
    struct weir_emit_answer answer;
    struct weir_emit_request *next;
};

enum weir_emit_fate {
    WEIR_EMIT_ANSWERED,  /* the server said what became of it: request->answer */
    WEIR_EMIT_UNTOUCHED, /* certainly not processed: it never left, or the server said so (REFUSED_STREAM, GOAWAY) */
    WEIR_EMIT_LOST,      /* nobody knows: the connection ended, the stream was reset, or no answer came in time */
};

struct weir_emit_connection;

struct weir_emit_connection_options {
    const char *authority;
    uint64_t timeout_ns; /* sent as grpc-timeout */
    bool gzip;           /* bodies are flagged and compressed */
    SSL_CTX *secure;     /* NULL: plaintext */
    const char *host;    /* whose certificate it must be */
    const char *token;   /* sent as Authorization: Bearer; NULL: none */
    void *self;
    /* The request belongs to the caller again; called from flush, read and close. */
    void (*released)(void *self, struct weir_emit_request *request, enum weir_emit_fate fate);
};

/* Connects within `timeout_ns`. WEIR_IO: err->text names host, port and reason. */
enum weir_status weir_emit_connection_open(struct weir_emit_connection **connection, const struct addrinfo *addresses,
                                           const struct weir_emit_connection_options *options, struct weir_error *err);
/* Releases what is in flight, frees, leaves NULL. */
void weir_emit_connection_close(struct weir_emit_connection **connection);

int weir_emit_connection_fd(const struct weir_emit_connection *connection);
uint32_t weir_emit_connection_open_streams(const struct weir_emit_connection *connection);
bool weir_emit_connection_takes(const struct weir_emit_connection *connection);   /* false: the server said GOAWAY */
bool weir_emit_connection_blocked(const struct weir_emit_connection *connection); /* bytes wait for the socket */

/* WEIR_CLOSED: not taken, still the caller's. */
enum weir_status weir_emit_connection_submit(struct weir_emit_connection *connection,
                                             struct weir_emit_request *request);
/* Resets the streams whose deadline is over; they are released as LOST. */
void weir_emit_connection_expire(struct weir_emit_connection *connection, uint64_t now_ns);
/* Writes and reads as far as the socket allows. Anything but WEIR_OK: close it. */
enum weir_status weir_emit_connection_flush(struct weir_emit_connection *connection, struct weir_error *err);
enum weir_status weir_emit_connection_read(struct weir_emit_connection *connection, struct weir_error *err);
#endif
