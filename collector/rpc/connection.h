/* connection.h - one HTTP/2 connection of a client that makes unary gRPC calls of one method, several at once. It never
 * waits for the network: whoever has it polls its descriptor. Bodies go from their buffer to the kernel without another
 * copy. */
#ifndef WEIR_RPC_CONNECTION_H
#define WEIR_RPC_CONNECTION_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"
#include "collector/rpc/answer.h"

#include <openssl/ssl.h>

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

enum weir_rpc_fate {
    WEIR_RPC_ANSWERED,  /* the server said what became of it: call->answer */
    WEIR_RPC_UNTOUCHED, /* certainly not processed: it never left, or the server said so (REFUSED_STREAM, GOAWAY) */
    WEIR_RPC_LOST,      /* nobody knows: the connection ended, the stream was reset, or no answer came in time */
};

/* One call; embedded in what the caller knows of it. The body must stay as it is from submit until it is released. */
struct weir_rpc_call {
    struct weir_buffer body; /* the gRPC message with its five bytes in front */
    const char *encoding;    /* grpc-encoding of it; NULL: as it is */
    uint64_t deadline_ns;    /* looked at by weir_rpc_connection_expire() */
    struct weir_rpc_answer answer;
    struct weir_rpc_call *next; /* the connection's while it has the call, then the caller's */
    /* the connection's */
    size_t taken;            /* of body, by HTTP/2 */
    int32_t stream;          /* 0 = none */
    bool left;               /* a byte of it may have reached the server */
    bool cancelled;          /* by us: behind its deadline, or the answer did not end */
    enum weir_rpc_fate fate; /* once it has ended */
};

struct weir_rpc_connection;

struct weir_rpc_header {
    const char *name, *value; /* name in lower case; never indexed, since the value may be secret (RFC 7541 7.1.3) */
};

struct weir_rpc_connection_options { /* all of it stays where it is as long as the connection */
    const char *authority, *path, *user_agent;
    uint64_t timeout_ns; /* sent as grpc-timeout */
    SSL_CTX *secure;     /* NULL: plaintext */
    const char *host;    /* whose certificate it must be */
    const struct weir_rpc_header *headers;
    uint32_t header_count;
    void *self;
    /* The call belongs to the caller again; called from flush, read and close. */
    void (*released)(void *self, struct weir_rpc_call *call, enum weir_rpc_fate fate);
};

/* Begins to connect, to the first of the addresses that takes it; they stay until it is open. */
enum weir_status weir_rpc_connection_open(struct weir_rpc_connection **connection, const struct addrinfo *addresses,
                                          const struct weir_rpc_connection_options *options, struct weir_error *err);
/* Goes on with connecting and shaking hands, as far as the socket allows. WEIR_IO: in vain, err->text names where and
 * why. */
enum weir_status weir_rpc_connection_advance(struct weir_rpc_connection *connection, struct weir_error *err);
bool weir_rpc_connection_is_open(const struct weir_rpc_connection *connection);
/* Releases what is in flight, frees, leaves NULL. */
void weir_rpc_connection_close(struct weir_rpc_connection **connection);

int weir_rpc_connection_fd(const struct weir_rpc_connection *connection);       /* another one while it connects */
short weir_rpc_connection_events(const struct weir_rpc_connection *connection); /* what to poll it for */
uint32_t weir_rpc_connection_open_streams(const struct weir_rpc_connection *connection);
bool weir_rpc_connection_takes(const struct weir_rpc_connection *connection);   /* false: the server said GOAWAY */
bool weir_rpc_connection_blocked(const struct weir_rpc_connection *connection); /* bytes wait for the socket */
uint64_t weir_rpc_connection_bytes_read(const struct weir_rpc_connection *connection);

/* Also before it is open. WEIR_CLOSED: not taken, still the caller's. */
enum weir_status weir_rpc_connection_submit(struct weir_rpc_connection *connection, struct weir_rpc_call *call);
/* Resets the streams whose deadline is over; they are released as LOST, or UNTOUCHED when nothing of them left. True:
 * there are some, and the socket takes nothing, so that nobody can be told: close it. */
bool weir_rpc_connection_expire(struct weir_rpc_connection *connection, uint64_t now_ns);
/* Writes and reads as far as the socket allows; nothing before it is open. Anything but WEIR_OK: close it. */
enum weir_status weir_rpc_connection_flush(struct weir_rpc_connection *connection, struct weir_error *err);
enum weir_status weir_rpc_connection_read(struct weir_rpc_connection *connection, struct weir_error *err);
#endif
