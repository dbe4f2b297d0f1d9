#define _GNU_SOURCE 1 /* ppoll */
#include "collector/emit/client.h"

#include "collector/emit/secure.h"
#include "collector/rpc/connection.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum {
    FLUSH_BYTES = 32 << 10, /* small requests share a system call up to this */
    CONNECTIONS_MAX = 256,
};
#define TICK_NS         (100 * WEIR_MS)
#define BACK_OFF_NS     (50 * WEIR_MS)
#define BACK_OFF_MAX_NS (5 * WEIR_S)

struct weir_emit_request {     /* one export */
    struct weir_rpc_call call; /* first: what is released is the request */
    uint32_t spans;
    uint32_t attempts;
    uint64_t due_ns;   /* waiting: when it is sent again */
    uint64_t began_ns; /* when it was first given to a connection */
    struct weir_emit_request *next;
};

struct line { /* of a connection */
    struct weir_rpc_connection *connection;
    size_t unflushed;
    uint64_t away_since_ns, retry_at_ns; /* while it is lost */
};

struct client {
    const struct weir_emit_options *options;
    struct weir_emit_play *play;
    struct weir_emit_counts *counts;
    struct addrinfo *addresses;
    char authority[96];
    SSL_CTX *secure;
    char token[WEIR_EMIT_TOKEN_BYTES];
    struct weir_rpc_header authorization; /* the token, if there is one */
    struct weir_rpc_connection_options connection_options;
    struct line *lines;
    struct weir_emit_request *requests; /* all: connections x in_flight */
    struct weir_emit_request *free, *waiting;
    uint32_t waiting_count;
    struct weir_buffer plain; /* --gzip: before it is compressed */
    z_stream deflate;
    bool played; /* everything was handed out */
    bool stopping;
    uint64_t now_ns;
};

static uint32_t wait_bucket(uint64_t ns) {
    if (ns < 8) return (uint32_t)ns;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(ns);
    return power * 8 + (uint32_t)(ns >> (power - 3) & 7);
}

uint64_t weir_emit_wait_quantile(const struct weir_emit_counts *counts, double q) {
    uint64_t all = 0, below = 0;
    for (uint32_t i = 0; i < WEIR_EMIT_WAITS; i++)
        all += counts->waits[i];
    for (uint32_t i = 0; i < WEIR_EMIT_WAITS; i++) {
        below += counts->waits[i];
        if (counts->waits[i] == 0 || (double)below < q * (double)all) continue;
        return i < 24 ? i : (uint64_t)(8 + i % 8 + 1) << (i / 8 - 3);
    }
    return 0;
}

static void refuse(struct client *client, struct weir_emit_request *request, int code) {
    client->counts->refused += request->spans;
    client->counts->refused_by[code >= 0 && code < WEIR_RPC_CODES ? code : WEIR_RPC_UNKNOWN] += request->spans;
    if (request->call.answer.message[0] != 0)
        memcpy(client->counts->message, request->call.answer.message, sizeof client->counts->message);
}

/* OTLP: UNAVAILABLE may be sent again, RESOURCE_EXHAUSTED when it says RetryInfo. The other retryable codes leave open
 * whether the spans were kept, and a generator whose counts are held against the collector's must not send any twice.
 */
static bool may_repeat(const struct weir_rpc_answer *answer, int code) {
    return code == WEIR_RPC_UNAVAILABLE || (code == WEIR_RPC_RESOURCE_EXHAUSTED && answer->retry_info);
}

static bool repeat(struct client *client, struct weir_emit_request *request, const struct weir_rpc_answer *answer) {
    if (request->attempts > client->options->retries || client->stopping) return false;
    uint32_t doublings = request->attempts - 1 < 8 ? request->attempts - 1 : 8;
    uint64_t wait = BACK_OFF_NS << doublings;
    if (wait > BACK_OFF_MAX_NS) wait = BACK_OFF_MAX_NS;
    if (answer != NULL && answer->retry_info && answer->retry_ns > 0) wait = answer->retry_ns;
    if (wait > client->options->timeout_ns) return false; /* later than anybody waits */
    request->due_ns = client->now_ns + wait;
    request->next = client->waiting;
    client->waiting = request;
    client->waiting_count++;
    client->counts->retried++;
    return true;
}

static void on_released(void *self, struct weir_rpc_call *call, enum weir_rpc_fate fate) {
    struct client *client = self;
    struct weir_emit_request *request = (struct weir_emit_request *)(void *)call;
    struct weir_emit_counts *counts = client->counts;
    struct weir_rpc_answer *answer = &request->call.answer;
    counts->ended_ns = weir_mono_ns(&weir_clock_system);
    if (fate == WEIR_RPC_ANSWERED) {
        int code = weir_rpc_answer_code(answer);
        counts->waits[wait_bucket(counts->ended_ns - request->began_ns)]++;
        uint64_t rejected = 0;
        if (code == WEIR_RPC_OK && !weir_rpc_answer_rejected(answer, &rejected)) code = WEIR_RPC_INTERNAL;
        if (code == WEIR_RPC_OK) {
            if (rejected > request->spans) rejected = request->spans;
            if (rejected > 0) memcpy(counts->message, answer->message, sizeof counts->message);
            counts->rejected += rejected;
            counts->acknowledged += request->spans - rejected;
        } else {
            if (may_repeat(answer, code) && repeat(client, request, answer)) return;
            refuse(client, request, code);
        }
    } else if (fate == WEIR_RPC_UNTOUCHED) {
        if (repeat(client, request, NULL)) return;
        refuse(client, request, WEIR_RPC_UNAVAILABLE);
    } else {
        counts->unknown += request->spans;
    }
    request->next = client->free;
    client->free = request;
}

/* The gRPC message: a flag, the size, the bytes. False: no memory. */
static bool frame(struct client *client, struct weir_emit_request *request) {
    struct weir_buffer *body = &request->call.body;
    if (client->options->gzip) {
        if (deflateReset(&client->deflate) != Z_OK || client->plain.failed) return false;
        uLong bound = deflateBound(&client->deflate, client->plain.size);
        if (!weir_buffer_room(body, bound)) return false;
        client->deflate.next_in = client->plain.bytes;
        client->deflate.avail_in = (uInt)client->plain.size;
        client->deflate.next_out = body->bytes + 5;
        client->deflate.avail_out = (uInt)bound;
        if (deflate(&client->deflate, Z_FINISH) != Z_STREAM_END) return false;
        body->size = 5 + client->deflate.total_out;
    }
    if (body->failed) return false;
    size_t size = body->size - 5;
    body->bytes[0] = client->options->gzip;
    for (int i = 0; i < 4; i++)
        body->bytes[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    return true;
}

static uint64_t limit_now(const struct client *client) {
    if (client->options->rate == 0) return UINT64_MAX;
    return (uint64_t)((unsigned __int128)(client->now_ns - client->counts->began_ns) * client->options->rate / WEIR_S) +
           1;
}

/* The next request to be given to a connection: a repeated one that is due, else a new one. NULL: none now. */
static struct weir_emit_request *take(struct client *client, struct weir_error *err) {
    for (struct weir_emit_request **at = &client->waiting; *at != NULL; at = &(*at)->next) {
        struct weir_emit_request *request = *at;
        if (request->due_ns > client->now_ns) continue;
        *at = request->next;
        client->waiting_count--;
        return request;
    }
    struct weir_emit_request *request = client->free;
    if (request == NULL || client->played) return NULL;
    static const uint8_t head[5];
    weir_buffer_clear(&request->call.body);
    weir_buffer_put(&request->call.body, head, sizeof head);
    weir_buffer_clear(&client->plain);
    enum weir_emit_next next = weir_emit_play_next(
        client->play, limit_now(client), client->options->gzip ? &client->plain : &request->call.body, &request->spans);
    if (next == WEIR_EMIT_END) client->played = true;
    if (next != WEIR_EMIT_REQUEST) return NULL;
    if (!frame(client, request)) {
        weir_fail(err, WEIR_FULL, 0, false, "no memory for a request of %u spans", (unsigned)request->spans);
        return NULL;
    }
    client->free = request->next;
    request->call.encoding = client->options->gzip ? "gzip" : NULL;
    request->attempts = 0;
    request->began_ns = weir_mono_ns(&weir_clock_system);
    client->counts->requests++;
    client->counts->sent += request->spans;
    client->counts->bytes += request->call.body.size;
    return request;
}

static void lose(struct client *client, struct line *line) {
    weir_rpc_connection_close(&line->connection);
    line->away_since_ns = line->retry_at_ns = client->now_ns;
}

/* Connected, and hands shaken, within the time-out. */
static enum weir_status open_line(struct client *client, struct line *line, struct weir_error *err) {
    uint64_t until_ns = weir_mono_ns(&weir_clock_system) + client->options->timeout_ns;
    enum weir_status status =
        weir_rpc_connection_open(&line->connection, client->addresses, &client->connection_options, err);
    while (status == WEIR_OK) {
        status = weir_rpc_connection_advance(line->connection, err);
        if (status != WEIR_OK || weir_rpc_connection_is_open(line->connection)) break;
        uint64_t now_ns = weir_mono_ns(&weir_clock_system);
        uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns) / WEIR_MS : 0;
        struct pollfd ready = {.fd = weir_rpc_connection_fd(line->connection),
                               .events = weir_rpc_connection_events(line->connection)};
        if (left_ms == 0 || poll(&ready, 1, left_ms > 60000 ? 60000 : (int)left_ms) == 0)
            status = weir_fail(err, WEIR_IO, ETIMEDOUT, true, "%s: connect", client->authority);
    }
    if (status != WEIR_OK) weir_rpc_connection_close(&line->connection);
    return status;
}

/* WEIR_IO: it was away for too long. */
static enum weir_status reconnect(struct client *client, struct line *line, struct weir_error *err) {
    if (client->now_ns < line->retry_at_ns) return WEIR_OK;
    if (open_line(client, line, err) == WEIR_OK) {
        client->counts->reconnects++;
        return WEIR_OK;
    }
    client->now_ns = weir_mono_ns(&weir_clock_system);
    line->retry_at_ns = client->now_ns + BACK_OFF_NS;
    return client->now_ns - line->away_since_ns < client->options->timeout_ns && !client->stopping ? WEIR_OK : WEIR_IO;
}

static void flush(struct client *client, struct line *line, struct weir_error *why) {
    line->unflushed = 0;
    if (line->connection == NULL || weir_rpc_connection_flush(line->connection, why) == WEIR_OK) return;
    weir_rpc_connection_read(line->connection, why); /* what was answered before it broke; that it broke is known */
    lose(client, line);
}

/* Gives one connection what it may carry. */
static enum weir_status fill(struct client *client, struct line *line, struct weir_error *err) {
    struct weir_error why = {0};
    while (line->connection != NULL && !weir_rpc_connection_blocked(line->connection) &&
           weir_rpc_connection_takes(line->connection) &&
           weir_rpc_connection_open_streams(line->connection) < client->options->in_flight) {
        why.status = WEIR_OK;
        struct weir_emit_request *request = take(client, &why);
        if (request == NULL && why.status != WEIR_OK) {
            *err = why;
            return WEIR_FULL;
        }
        if (request == NULL) break;
        request->call.deadline_ns = weir_mono_ns(&weir_clock_system) + client->options->timeout_ns;
        request->attempts++;
        if (weir_rpc_connection_submit(line->connection, &request->call) != WEIR_OK) {
            weir_rpc_answer_reset(&request->call.answer);
            on_released(client, &request->call, WEIR_RPC_UNTOUCHED);
            break;
        }
        line->unflushed += request->call.body.size;
        if (line->unflushed >= FLUSH_BYTES) flush(client, line, &why);
    }
    flush(client, line, &why);
    if (line->connection != NULL && !weir_rpc_connection_takes(line->connection) &&
        weir_rpc_connection_open_streams(line->connection) == 0)
        lose(client, line); /* GOAWAY, and all of ours were answered */
    return WEIR_OK;
}

static bool finished(const struct client *client) {
    if (!client->played || client->waiting != NULL) return false;
    for (uint32_t i = 0; i < client->options->connections; i++) {
        if (client->lines[i].connection != NULL && weir_rpc_connection_open_streams(client->lines[i].connection) > 0)
            return false;
    }
    return true;
}

/* Until a socket has something, or time has come for something. */
static void rest(struct client *client) {
    struct pollfd polls[CONNECTIONS_MAX];
    uint32_t count = (uint32_t)client->options->connections, idle = 0;
    uint64_t wait = TICK_NS;
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_rpc_connection *connection = client->lines[i].connection;
        polls[i] = (struct pollfd){.fd = -1};
        if (connection == NULL) {
            wait = BACK_OFF_NS;
            continue;
        }
        polls[i].fd = weir_rpc_connection_fd(connection);
        polls[i].events = weir_rpc_connection_events(connection);
        if (!weir_rpc_connection_blocked(connection) &&
            weir_rpc_connection_open_streams(connection) < client->options->in_flight) {
            idle++;
        }
    }
    for (const struct weir_emit_request *request = client->waiting; request != NULL; request = request->next) {
        uint64_t left = request->due_ns > client->now_ns ? request->due_ns - client->now_ns : 0;
        if (left < wait) wait = left;
    }
    if (idle > 0 && client->options->rate != 0 && !client->played && client->free != NULL) {
        uint64_t next = client->counts->began_ns + (uint64_t)((unsigned __int128)client->play->truth.spans * WEIR_S /
                                                              client->options->rate); /* of the next trace */
        uint64_t left = next > client->now_ns ? next - client->now_ns : 0;
        if (left < wait) wait = left;
    }
    struct timespec timeout = {.tv_sec = (time_t)(wait / WEIR_S), .tv_nsec = (long)(wait % WEIR_S)};
    if (ppoll(polls, count, &timeout, NULL) <= 0) return; /* also EINTR: the caller looks around */
    for (uint32_t i = 0; i < count; i++) {
        struct line *line = &client->lines[i];
        struct weir_error why = {0};
        if ((polls[i].revents & (POLLIN | POLLERR | POLLHUP)) == 0 || line->connection == NULL) continue;
        if (weir_rpc_connection_read(line->connection, &why) != WEIR_OK) lose(client, line);
    }
}

/* No more traces; what waits for another try is refused for good. */
static void stop(struct client *client) {
    client->stopping = true;
    weir_emit_play_end(client->play);
    while (client->waiting != NULL) {
        struct weir_emit_request *request = client->waiting;
        client->waiting = request->next;
        refuse(client, request,
               weir_rpc_answer_code(&request->call.answer) == WEIR_RPC_UNKNOWN
                   ? WEIR_RPC_UNAVAILABLE
                   : weir_rpc_answer_code(&request->call.answer));
        request->next = client->free;
        client->free = request;
    }
    client->waiting_count = 0;
}

static enum weir_status serve(struct client *client, const struct weir_emit_client_watch *watch,
                              struct weir_error *err) {
    uint64_t ticked = 0;
    for (;;) {
        client->now_ns = weir_mono_ns(&weir_clock_system);
        client->play->now_ns = weir_unix_ns(&weir_clock_system);
        if (*watch->stop != 0 && !client->stopping) stop(client);
        uint64_t duration = client->options->duration_ns;
        if (duration != 0 && client->now_ns - client->counts->began_ns >= duration) weir_emit_play_end(client->play);
        bool tick = client->now_ns - ticked >= TICK_NS;
        if (tick) ticked = client->now_ns;
        if (tick && watch->tick != NULL) watch->tick(watch->self, client->now_ns);
        for (uint32_t i = 0; i < client->options->connections; i++) {
            struct line *line = &client->lines[i];
            enum weir_status status = WEIR_OK;
            if (tick && line->connection != NULL && weir_rpc_connection_expire(line->connection, client->now_ns))
                lose(client, line);
            if (line->connection == NULL) status = reconnect(client, line, err);
            if (status == WEIR_OK && line->connection != NULL) status = fill(client, line, err);
            if (status != WEIR_OK) return status;
        }
        if (finished(client)) return WEIR_OK;
        rest(client);
    }
}

static enum weir_status prepare(struct client *client, struct weir_error *err) {
    const struct weir_emit_options *options = client->options;
    const struct weir_listen *endpoint = &options->endpoint;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)endpoint->port);
    snprintf(client->authority, sizeof client->authority, strchr(endpoint->host, ':') != NULL ? "[%s]:%s" : "%s:%s",
             endpoint->host, port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int failed = getaddrinfo(endpoint->host, port, &hints, &client->addresses);
    if (failed != 0)
        return weir_fail(err, WEIR_IO, 0, false, "--endpoint %s: %s", client->authority, gai_strerror(failed));
    if (options->gzip && deflateInit2(&client->deflate, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return weir_fail(err, WEIR_FULL, 0, false, "--gzip: no memory");
    enum weir_status status = weir_emit_secure_context(options, &client->secure, err);
    if (status == WEIR_OK && options->token_file != NULL)
        status = weir_emit_secure_token(options->token_file, client->token, err);
    if (status != WEIR_OK) return status;
    size_t count = options->connections * options->in_flight;
    client->lines = calloc(options->connections, sizeof *client->lines);
    client->requests = calloc(count, sizeof *client->requests);
    if (client->lines == NULL || client->requests == NULL)
        return weir_fail(err, WEIR_FULL, 0, false, "no memory for %zu requests in flight", count);
    for (size_t i = 0; i < count; i++) {
        client->requests[i].next = client->free;
        client->free = &client->requests[i];
    }
    client->authorization = (struct weir_rpc_header){"authorization", client->token};
    client->connection_options =
        (struct weir_rpc_connection_options){.authority = client->authority,
                                             .path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                                             .user_agent = "weir-emit",
                                             .timeout_ns = options->timeout_ns,
                                             .secure = client->secure,
                                             .host = endpoint->host,
                                             .headers = &client->authorization,
                                             .header_count = client->token[0] != 0,
                                             .self = client,
                                             .released = on_released};
    for (uint64_t i = 0; i < options->connections; i++) {
        status = open_line(client, &client->lines[i], err);
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}

enum weir_status weir_emit_client_run(const struct weir_emit_options *options, struct weir_emit_play *play,
                                      const struct weir_emit_client_watch *watch, struct weir_emit_counts *counts,
                                      struct weir_error *err) {
    memset(counts, 0, sizeof *counts);
    struct client client = {.options = options, .play = play, .counts = counts};
    enum weir_status status = prepare(&client, err);
    counts->began_ns = counts->ended_ns = client.now_ns = weir_mono_ns(&weir_clock_system);
    if (status == WEIR_OK) status = serve(&client, watch, err);
    stop(&client);
    for (uint64_t i = 0; client.lines != NULL && i < options->connections; i++)
        weir_rpc_connection_close(&client.lines[i].connection);
    for (uint64_t i = 0; client.requests != NULL && i < options->connections * options->in_flight; i++)
        weir_buffer_free(&client.requests[i].call.body);
    SSL_CTX_free(client.secure);
    if (client.addresses != NULL) freeaddrinfo(client.addresses);
    if (options->gzip) deflateEnd(&client.deflate);
    weir_buffer_free(&client.plain);
    free(client.lines);
    free(client.requests);
    return status;
}
