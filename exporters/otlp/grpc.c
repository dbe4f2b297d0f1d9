/* grpc.c - requests over gRPC: one connection, opened when there is something to send. One that the server ends
 * politely (GOAWAY) is let finish beside the next one. A call that certainly was not processed is made once more by
 * itself. */
#include "collector/rpc/resolve.h"
#include "collector/rpc/secure.h"
#include "exporters/otlp/peer.h"
#include "exporters/otlp/squeeze.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVING_MAX = 2 };
#define CONNECT_MAX (5 * WEIR_S) /* of the time-out: who does not answer a SYN for longer is away */

struct weir_otlp_grpc {
    struct weir_otlp_peer *peer;
    SSL_CTX *secure;
    struct weir_rpc_connection_options options;
    struct weir_rpc_header headers[WEIR_HEADERS_MAX + 1];
    char names[WEIR_HEADERS_MAX][64]; /* in lower case */
    struct weir_rpc_resolve *resolve; /* while the name is looked up */
    struct addrinfo *addresses;       /* while it connects */
    struct weir_rpc_connection *connection;
    struct weir_rpc_connection *leaving[LEAVING_MAX]; /* GOAWAY came */
    struct weir_rpc_call *waiting; /* for a connection: while the name is looked up, and what is to be made again */
    uint64_t connect_until_ns;
    char why[256]; /* what ended the connection that ends now; "" = it goes on */
    bool in_vain;  /* and it is no use to try that again by itself */
    bool silent;   /* a call got no answer, and nothing else came since it was made */
};

static const struct weir_rpc_header counted = {"weir-counted", "1"}; /* the next Weir need not count these spans */

static struct weir_otlp_request *request_of(struct weir_rpc_call *call) {
    return (struct weir_otlp_request *)(void *)call;
}

static void finish(struct weir_otlp_grpc *grpc, struct weir_otlp_request *request, enum weir_otlp_outcome outcome,
                   const char *why) {
    request->verdict = (struct weir_otlp_verdict){.outcome = outcome};
    snprintf(request->verdict.why, sizeof request->verdict.why, "%s", why);
    weir_otlp_peer_done(grpc->peer, request);
}

static void wait_for_connection(struct weir_otlp_grpc *grpc, struct weir_rpc_call *call) {
    struct weir_rpc_call **last = &grpc->waiting;
    while (*last != NULL)
        last = &(*last)->next;
    call->next = NULL;
    *last = call;
}

static void released(void *self, struct weir_rpc_call *call, enum weir_rpc_fate fate) {
    struct weir_otlp_grpc *grpc = self;
    struct weir_otlp_request *request = request_of(call);
    bool late = weir_mono_ns(grpc->peer->clock) >= call->deadline_ns;
    if (late && grpc->connection != NULL && weir_rpc_connection_bytes_read(grpc->connection) == request->read_mark)
        grpc->silent = true;
    if (fate == WEIR_RPC_ANSWERED) {
        weir_otlp_verdict_grpc(&call->answer, request->encoding, &request->verdict);
        weir_otlp_peer_done(grpc->peer, request);
    } else if (late) {
        finish(grpc, request, WEIR_OTLP_TIMED_OUT, "no answer in time");
    } else if (call->answer.body_bytes > sizeof call->answer.body) {
        finish(grpc, request, WEIR_OTLP_NOT_ALLOWED, "an answer that did not end");
    } else if (fate == WEIR_RPC_UNTOUCHED && !request->again && !grpc->in_vain) {
        request->again = true;
        wait_for_connection(grpc, call);
    } else {
        finish(grpc, request, WEIR_OTLP_UNREACHABLE,
               grpc->why[0] != 0 ? grpc->why : "the server reset the stream without an answer");
    }
}

/* ---- connections ---- */

static void drop(struct weir_otlp_grpc *grpc, struct weir_rpc_connection **connection, const char *why, bool in_vain) {
    snprintf(grpc->why, sizeof grpc->why, "%s", why);
    grpc->in_vain = in_vain;
    weir_rpc_connection_close(connection);
    grpc->why[0] = 0;
    grpc->in_vain = grpc->silent = false;
}

static void fail_waiting(struct weir_otlp_grpc *grpc, const char *why) {
    while (grpc->waiting != NULL) {
        struct weir_rpc_call *call = grpc->waiting;
        grpc->waiting = call->next;
        finish(grpc, request_of(call), WEIR_OTLP_UNREACHABLE, why);
    }
}

static void forget_addresses(struct weir_otlp_grpc *grpc) {
    if (grpc->addresses != NULL) freeaddrinfo(grpc->addresses);
    grpc->addresses = NULL;
}

static void submit_waiting(struct weir_otlp_grpc *grpc) {
    while (grpc->waiting != NULL && grpc->connection != NULL) {
        struct weir_rpc_call *call = grpc->waiting;
        struct weir_otlp_request *request = request_of(call);
        grpc->waiting = call->next;
        request->read_mark = weir_rpc_connection_bytes_read(grpc->connection);
        if (weir_rpc_connection_submit(grpc->connection, call) != WEIR_OK)
            finish(grpc, request, WEIR_OTLP_UNREACHABLE, "no memory for a call");
    }
}

/* The name is known, or is not: a connection begins. */
static void resolved(struct weir_otlp_grpc *grpc) {
    struct weir_error err = {0};
    if (grpc->resolve == NULL || !weir_rpc_resolve_done(grpc->resolve, &grpc->addresses, &err)) return;
    weir_rpc_resolve_free(grpc->resolve);
    grpc->resolve = NULL;
    if (grpc->addresses == NULL ||
        weir_rpc_connection_open(&grpc->connection, grpc->addresses, &grpc->options, &err) != WEIR_OK) {
        forget_addresses(grpc);
        fail_waiting(grpc, err.text);
        return;
    }
    weir_count(grpc->peer->set, WEIR_OTLP_CONNECTIONS, 1);
    submit_waiting(grpc);
}

static void begin(struct weir_otlp_grpc *grpc, uint64_t now_ns) {
    uint64_t within_ns =
        grpc->peer->config->otlp.timeout_ns < CONNECT_MAX ? grpc->peer->config->otlp.timeout_ns : CONNECT_MAX;
    grpc->connect_until_ns = now_ns + within_ns;
    grpc->resolve = weir_rpc_resolve_start(grpc->peer->address.host, grpc->peer->address.port);
    if (grpc->resolve == NULL)
        fail_waiting(grpc, "no memory to look up a name");
    else
        resolved(grpc);
}

static bool moved(struct weir_rpc_connection *connection, struct weir_error *err) {
    return weir_rpc_connection_read(connection, err) == WEIR_OK &&
           weir_rpc_connection_flush(connection, err) == WEIR_OK;
}

/* The current connection as far as it goes; it may be gone afterwards. */
static void work_current(struct weir_otlp_grpc *grpc, uint64_t now_ns) {
    struct weir_error err = {0};
    if (grpc->connection == NULL) return;
    if (!weir_rpc_connection_is_open(grpc->connection)) {
        enum weir_status status = weir_rpc_connection_advance(grpc->connection, &err);
        if (status == WEIR_OK && !weir_rpc_connection_is_open(grpc->connection) && now_ns >= grpc->connect_until_ns)
            status = weir_fail(&err, WEIR_IO, 0, true, "%s: connect: no answer", grpc->peer->address.authority);
        if (status != WEIR_OK) {
            drop(grpc, &grpc->connection, err.text, true);
            forget_addresses(grpc);
            return;
        }
        if (!weir_rpc_connection_is_open(grpc->connection)) return;
        forget_addresses(grpc);
    }
    if (!moved(grpc->connection, &err)) {
        drop(grpc, &grpc->connection, err.text, weir_rpc_connection_bytes_read(grpc->connection) == 0);
        return;
    }
    if (grpc->silent) { /* the other side may be gone without a word */
        drop(grpc, &grpc->connection, "no answer in time", true);
        return;
    }
    if (weir_rpc_connection_takes(grpc->connection)) return;
    for (int i = 0; i < LEAVING_MAX; i++) {
        if (grpc->leaving[i] != NULL) continue;
        grpc->leaving[i] = grpc->connection;
        grpc->connection = NULL;
        return;
    }
    drop(grpc, &grpc->connection, "too many connections that the server ended", false);
}

static void work_leaving(struct weir_otlp_grpc *grpc) {
    for (int i = 0; i < LEAVING_MAX; i++) {
        struct weir_error err = {0};
        if (grpc->leaving[i] == NULL) continue;
        if (!moved(grpc->leaving[i], &err) || weir_rpc_connection_open_streams(grpc->leaving[i]) == 0)
            drop(grpc, &grpc->leaving[i], err.text, false);
    }
}

/* What is late is given up, and with it a connection that takes nothing any more. */
static void expire(struct weir_otlp_grpc *grpc, uint64_t now_ns) {
    for (struct weir_rpc_call **at = &grpc->waiting; *at != NULL;) {
        struct weir_rpc_call *call = *at;
        if (call->deadline_ns > now_ns) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        finish(grpc, request_of(call), WEIR_OTLP_TIMED_OUT, "no connection in time");
    }
    for (int i = -1; i < LEAVING_MAX; i++) {
        struct weir_rpc_connection **connection = i < 0 ? &grpc->connection : &grpc->leaving[i];
        if (*connection != NULL && weir_rpc_connection_expire(*connection, now_ns))
            drop(grpc, connection, "the server takes nothing", true);
    }
}

void weir_otlp_grpc_work(struct weir_otlp_grpc *grpc, uint64_t now_ns) {
    expire(grpc, now_ns);
    resolved(grpc);
    work_current(grpc, now_ns); /* first: one that was idle may have ended by now */
    work_leaving(grpc);
    if (grpc->waiting != NULL && grpc->connection == NULL && grpc->resolve == NULL) begin(grpc, now_ns);
    if (grpc->waiting != NULL) submit_waiting(grpc);
    if (grpc->connection != NULL) work_current(grpc, now_ns); /* what was just given to it */
}

void weir_otlp_grpc_submit(struct weir_otlp_grpc *grpc, struct weir_otlp_request *request) {
    request->call.encoding = weir_otlp_encoding_name(request->encoding);
    request->again = false;
    wait_for_connection(grpc, &request->call);
    weir_otlp_grpc_work(grpc, weir_mono_ns(grpc->peer->clock));
}

uint32_t weir_otlp_grpc_polls(struct weir_otlp_grpc *grpc, struct curl_waitfd *polls) {
    uint32_t count = 0;
    if (grpc->resolve != NULL)
        polls[count++] = (struct curl_waitfd){.fd = weir_rpc_resolve_fd(grpc->resolve), .events = CURL_WAIT_POLLIN};
    for (int i = -1; i < LEAVING_MAX; i++) {
        const struct weir_rpc_connection *connection = i < 0 ? grpc->connection : grpc->leaving[i];
        if (connection == NULL) continue;
        short events = weir_rpc_connection_events(connection);
        polls[count++] = (struct curl_waitfd){.fd = weir_rpc_connection_fd(connection),
                                              .events = (short)(((events & POLLIN) != 0 ? CURL_WAIT_POLLIN : 0) |
                                                                ((events & POLLOUT) != 0 ? CURL_WAIT_POLLOUT : 0))};
    }
    return count;
}

/* ---- its beginning and its end ---- */

enum weir_status weir_otlp_secure(const struct weir_exporter_config *config, const struct weir_otlp_address *address,
                                  SSL_CTX **secure, struct weir_error *err) {
    if (!address->secure) return WEIR_OK;
    return weir_rpc_secure_context(&(struct weir_rpc_tls){.ca = config->otlp.ca_file,
                                                          .cert = config->otlp.cert_file,
                                                          .key = config->otlp.key_file,
                                                          .ca_is = "otlp: ca_file",
                                                          .cert_is = "otlp: cert_file",
                                                          .key_is = "otlp: key_file"},
                                   secure, err);
}

enum weir_status weir_otlp_grpc_open(struct weir_otlp_grpc **out, struct weir_otlp_peer *peer, struct weir_error *err) {
    struct weir_otlp_grpc *grpc = calloc(1, sizeof *grpc);
    if (grpc == NULL) return weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
    *out = grpc;
    grpc->peer = peer;
    enum weir_status status = weir_otlp_secure(peer->config, &peer->address, &grpc->secure, err);
    if (status != WEIR_OK) return status;
    uint32_t count = 0;
    grpc->headers[count++] = counted;
    for (uint32_t i = 0; i < peer->config->header_count; i++) {
        const struct weir_header *header = &peer->config->headers[i];
        for (size_t k = 0; header->name[k] != 0; k++)
            grpc->names[i][k] = (char)tolower((unsigned char)header->name[k]);
        grpc->headers[count++] = (struct weir_rpc_header){grpc->names[i], header->value};
    }
    grpc->options = (struct weir_rpc_connection_options){
        .authority = peer->address.authority,
        .path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        .user_agent = "weir",
        .timeout_ns = peer->config->otlp.timeout_ns,
        .secure = grpc->secure,
        .host = peer->address.host,
        .headers = grpc->headers,
        .header_count = count,
        .self = grpc,
        .released = released,
    };
    return WEIR_OK;
}

void weir_otlp_grpc_close(struct weir_otlp_grpc *grpc) {
    if (grpc == NULL) return;
    drop(grpc, &grpc->connection, "closing", true);
    for (int i = 0; i < LEAVING_MAX; i++)
        drop(grpc, &grpc->leaving[i], "closing", true);
    fail_waiting(grpc, "closing");
    weir_rpc_resolve_free(grpc->resolve);
    forget_addresses(grpc);
    SSL_CTX_free(grpc->secure);
    free(grpc);
}
