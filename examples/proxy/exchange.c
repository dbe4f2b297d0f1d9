/* exchange.c - a request goes through: read, passed on, answered; and what may go wrong on the way. */
#include "examples/proxy/server.h"

#include <errno.h>
#include <stdlib.h>

enum { ROUNDS = 16, LINGER_MS = 1000 };

static int64_t in_ms(const struct exchange *x, uint32_t ms) {
    return x->server->now_ms + ms;
}

/* ---- buffers ---- */

static size_t held(const struct buffer *buffer) {
    return buffer->end - buffer->begin;
}

static void compact(struct buffer *buffer) {
    size_t size = held(buffer);
    if (buffer->begin == 0) return;
    memmove(buffer->bytes, buffer->bytes + buffer->begin, size);
    buffer->begin = 0;
    buffer->end = size;
}

/* Reads once. True: something has come, be it the end. */
static bool fill(struct peer *peer, struct buffer *buffer) {
    if (!peer->readable || peer->ended || peer->connecting) return false;
    if (buffer->end == BUFFER_BYTES || held(buffer) == 0) compact(buffer);
    size_t room = BUFFER_BYTES - buffer->end;
    if (room == 0) return false;
    ssize_t got = recv(peer->fd, buffer->bytes + buffer->end, room, 0);
    if (got < 0 && errno == EINTR) return true;
    if (got < 0 && errno == EAGAIN) {
        peer->readable = false;
        return false;
    }
    if (got > 0) buffer->end += (size_t)got;
    if (got > 0 && (size_t)got < room && !peer->hangup) peer->readable = false; /* more is told by another event */
    if (got <= 0) peer->readable = false;
    peer->ended = got == 0;
    peer->broken = peer->broken || got < 0;
    return true;
}

/* Sends once. True: something has left. */
static bool flush(struct peer *peer, struct buffer *buffer) {
    size_t size = held(buffer);
    if (size == 0 || !peer->writable || peer->connecting || peer->broken) return false;
    ssize_t sent = send(peer->fd, buffer->bytes + buffer->begin, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) peer->broken = true;
    if (sent < 0 && errno == EINTR) return true;
    if (sent < (ssize_t)size) peer->writable = false;
    if (sent <= 0) return peer->broken;
    buffer->begin += (size_t)sent;
    return true;
}

/* The body's bytes from in to out, as many as there is room for; how many. */
static size_t move_body(struct flow *flow) {
    struct buffer *in = &flow->in, *out = &flow->out;
    size_t room = BUFFER_BYTES - out->end, size = held(in) < room ? held(in) : room;
    size_t took = http1_body_take(&flow->body, in->bytes + in->begin, size);
    memcpy(out->bytes + out->end, in->bytes + in->begin, took);
    in->begin += took;
    out->end += took;
    return took;
}

/* ---- a connection's life ---- */

/* The next request is awaited; bytes of it may be there. */
static void await_request(struct exchange *x) {
    x->phase = PHASE_HEAD;
    x->request.begun = x->response.begun = false;
    x->request.body = x->response.body = (struct http1_body){0};
    x->request.out.begin = x->request.out.end = 0;
    x->response.in.begin = x->response.in.end = 0;
    x->response.out.begin = x->response.out.end = 0;
    x->scanned = 0;
    x->counted = x->sent = x->answered_here = x->to_head = x->old = false;
    x->outcome = (struct outcome){.client = x->address};
    x->deadline_ms = in_ms(x, held(&x->request.in) > 0 ? x->server->options.request_ms : x->server->options.idle_ms);
}

bool exchange_open(struct server *server, int fd, const struct address *from) {
    struct exchange *x = malloc(sizeof *x);
    struct peer *client = x != NULL ? peer_open(server, fd, PEER_CLIENT) : NULL;
    if (client == NULL) {
        free(x);
        return false;
    }
    x->server = server;
    x->client = client;
    x->upstream = NULL;
    x->request.in.begin = x->request.in.end = 0;
    client->exchange = x;
    address_write(from, x->address, sizeof x->address);
    x->previous = NULL;
    x->next = server->exchanges;
    if (x->next != NULL) x->next->previous = x;
    server->exchanges = x;
    server->exchange_count++;
    await_request(x);
    x->deadline_ms = in_ms(x, server->options.request_ms); /* who connects has something to say */
    return true;
}

/* The request is over, as the outcome says. */
static void end_request(struct exchange *x) {
    if (!x->counted) return;
    telemetry_answered(&x->measured);
    telemetry_end(x->server->telemetry, &x->server->tally, &x->measured, &x->outcome, x->server->now_ns);
    x->counted = false;
    x->server->turns.done++;
}

void exchange_close(struct exchange *x) {
    struct server *server = x->server;
    if (x->phase == PHASE_CLOSED) return;
    if (x->counted && x->outcome.failure == FAILURE_NONE) x->outcome.failure = FAILURE_GONE;
    end_request(x);
    peer_close(server, x->client);
    peer_close(server, x->upstream);
    x->client = x->upstream = NULL;
    if (x->previous != NULL)
        x->previous->next = x->next;
    else
        server->exchanges = x->next;
    if (x->next != NULL) x->next->previous = x->previous;
    server->exchange_count--;
    x->phase = PHASE_CLOSED;
    x->next = server->closed;
    server->closed = x;
}

static void linger(struct exchange *x) {
    if (x->client->ended || x->client->broken) {
        exchange_close(x);
        return;
    }
    shutdown(x->client->fd, SHUT_WR);
    x->phase = PHASE_LINGER;
    x->deadline_ms = in_ms(x, LINGER_MS);
}

/* ---- what goes wrong ---- */

static void answer_here(struct exchange *x, unsigned status, enum failure failure) {
    peer_close(x->server, x->upstream);
    x->upstream = NULL;
    x->keep_alive = x->keep_alive && x->request.begun && x->request.body.done;
    x->phase = PHASE_FORWARD;
    x->answered_here = x->response.begun = x->response.body.done = true;
    x->outcome.status = status;
    x->outcome.failure = failure;
    x->deadline_ms = in_ms(x, x->server->options.answer_ms);
    if (!x->counted) telemetry_refused(x->server->telemetry, status);
    write_answer(x, status);
}

static void abort_exchange(struct exchange *x, enum failure failure) {
    x->outcome.failure = failure;
    exchange_close(x);
}

static bool connect_upstream(struct exchange *x, bool fresh) {
    x->upstream = upstream_take(x->server, fresh);
    if (x->upstream == NULL) return false;
    x->upstream->exchange = x;
    x->outcome.tries++;
    return true;
}

/* A connection that waited in the pool may have been closed by upstream just when it was used. RFC 9112, 9.3.1: what
 * may be done twice is sent again. */
static void fail_upstream(struct exchange *x, enum failure failure) {
    bool again = x->upstream->used && x->replayable && x->response.in.end == 0 && failure != FAILURE_TIMEOUT;
    if (x->upstream->connecting && failure == FAILURE_UPSTREAM) failure = FAILURE_CONNECT;
    peer_close(x->server, x->upstream);
    x->upstream = NULL;
    x->request.out.begin = 0;
    x->sent = false;
    if (again && connect_upstream(x, true)) return;
    if (x->response.begun)
        abort_exchange(x, failure);
    else
        answer_here(x, failure == FAILURE_TIMEOUT ? 504 : 502, failure);
}

/* ---- the request ---- */

/* RFC 9110, 9.2.2 */
static bool is_idempotent(struct http1_text method) {
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strlen(methods[i]) == method.size && memcmp(methods[i], method.at, method.size) == 0) return true;
    return false;
}

static void begin_request(struct exchange *x, size_t size) {
    struct server *server = x->server;
    struct http1_head *head = &server->head;
    struct buffer *in = &x->request.in;
    unsigned status = http1_read_request(head, in->bytes + in->begin, size);
    if (status != 0) {
        x->keep_alive = false;
        answer_here(x, status, FAILURE_REQUEST);
        return;
    }
    x->keep_alive = head->keep_alive && server->options.idle_ms > 0;
    x->to_head = http1_is(head->method, "head");
    x->old = head->minor == 0;
    x->replayable = is_idempotent(head->method);
    telemetry_begin(server->telemetry, &server->tally, &x->measured, head, server->now_ns);
    x->counted = true;
    write_request_head(x, head);
    http1_body_begin(&x->request.body, head);
    x->request.begun = true;
    in->begin += size;
    x->scanned = 0;
    x->phase = PHASE_FORWARD;
    x->deadline_ms = in_ms(x, server->options.request_ms);
    if (!connect_upstream(x, false)) answer_here(x, 502, FAILURE_CONNECT);
}

static bool await_head(struct exchange *x) {
    struct buffer *in = &x->request.in;
    while (held(in) >= 2 && memcmp(in->bytes + in->begin, "\r\n", 2) == 0) { /* RFC 9112, 2.2 */
        in->begin += 2;
        x->scanned = 0;
    }
    size_t before = held(in), size = http1_head_size(in->bytes + in->begin, before, &x->scanned);
    if (size > HTTP1_HEAD_BYTES_MAX || (size == 0 && before > HTTP1_HEAD_BYTES_MAX)) {
        x->keep_alive = false;
        answer_here(x, 431, FAILURE_REQUEST);
        return true;
    }
    if (size > 0) {
        begin_request(x, size);
        return true;
    }
    if (x->client->ended) {
        exchange_close(x);
        return false;
    }
    bool came = fill(x->client, in);
    if (before == 0 && held(in) > 0) x->deadline_ms = in_ms(x, x->server->options.request_ms);
    return came;
}

/* Room for more of the body; what had to be kept to be sent again is given up for it. */
static void make_room(struct exchange *x) {
    struct buffer *out = &x->request.out;
    if (out->end < BUFFER_BYTES || out->begin == 0) return;
    x->replayable = false;
    compact(out);
}

static bool move_request(struct exchange *x) {
    bool moved = false;
    if (!x->request.body.done) {
        moved = fill(x->client, &x->request.in);
        make_room(x);
        moved = move_body(&x->request) > 0 || moved;
        if (x->request.body.broken) {
            if (x->response.begun)
                abort_exchange(x, FAILURE_REQUEST);
            else
                answer_here(x, 400, FAILURE_REQUEST);
            return true;
        }
        if (x->client->ended && !x->request.body.done && held(&x->request.in) == 0) {
            exchange_close(x);
            return false;
        }
    }
    struct peer *up = x->upstream;
    if (up == NULL) return moved;
    if (up->connecting && (up->writable || up->hangup)) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(up->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
            fail_upstream(x, FAILURE_CONNECT);
            return true;
        }
        up->connecting = false;
    }
    moved = flush(up, &x->request.out) || moved;
    if (!x->sent && x->request.body.done && held(&x->request.out) == 0) {
        x->sent = true;
        x->deadline_ms = in_ms(x, x->server->options.answer_ms);
    }
    return moved;
}

/* ---- the answer ---- */

/* One head of the answer, if it is there; those of 1xx come before the last. */
static bool begin_response(struct exchange *x) {
    struct http1_head *head = &x->server->head;
    struct buffer *in = &x->response.in, *out = &x->response.out;
    size_t size = http1_head_size(in->bytes + in->begin, held(in), &x->scanned);
    if (size == 0 && held(in) <= HTTP1_HEAD_BYTES_MAX) return false;
    if (held(out) > 0) compact(out);
    if (held(out) == 0) out->begin = out->end = 0;
    if (out->end > BUFFER_BYTES - HTTP1_HEAD_BYTES_MAX - 512)
        return false; /* heads of 1xx that the client does not read */
    bool sound =
        size > 0 && size <= HTTP1_HEAD_BYTES_MAX && http1_read_response(head, in->bytes + in->begin, size, x->to_head);
    if (!sound || head->status == 101 || (x->old && head->framing == HTTP1_CHUNKED)) {
        fail_upstream(x, FAILURE_UPSTREAM);
        return true;
    }
    x->scanned = 0;
    if (head->status < 200) {
        if (!x->old) write_response_head(x, head);
        in->begin += size;
        return true;
    }
    x->keep_alive = x->keep_alive && head->framing != HTTP1_UNTIL_CLOSE && x->request.body.done;
    x->upstream_keep_alive = head->keep_alive;
    x->outcome.status = head->status;
    write_response_head(x, head);
    http1_body_begin(&x->response.body, head);
    x->response.begun = true;
    in->begin += size;
    return true;
}

static void release_upstream(struct exchange *x) {
    struct peer *up = x->upstream;
    x->upstream = NULL;
    telemetry_answered(&x->measured);
    if (x->upstream_keep_alive && x->sent && held(&x->response.in) == 0)
        upstream_give(x->server, up);
    else
        peer_close(x->server, up);
}

static bool take_answer(struct exchange *x) {
    struct peer *up = x->upstream;
    struct flow *answer = &x->response;
    bool moved = fill(up, &answer->in);
    if (!answer->begun && begin_response(x)) return true;
    if (answer->begun) {
        if (held(&answer->out) == 0) answer->out.begin = answer->out.end = 0;
        size_t took = move_body(answer);
        x->outcome.body_bytes += took;
        moved = moved || took > 0;
    }
    bool over = (up->ended || up->broken) && (!answer->begun || held(&answer->in) == 0);
    if (over && up->ended && answer->begun && answer->body.framing == HTTP1_UNTIL_CLOSE) answer->body.done = true;
    if (answer->begun && answer->body.done) {
        release_upstream(x);
        return true;
    }
    if (over || answer->body.broken) {
        fail_upstream(x, FAILURE_UPSTREAM);
        return true;
    }
    return moved;
}

static bool move_response(struct exchange *x) {
    bool moved = x->upstream != NULL && take_answer(x);
    if (x->phase != PHASE_FORWARD) return false;
    moved = flush(x->client, &x->response.out) || moved;
    if (moved && x->sent) x->deadline_ms = in_ms(x, x->server->options.answer_ms);
    if (!x->response.begun || !x->response.body.done || held(&x->response.out) > 0 || x->upstream != NULL) return moved;
    end_request(x);
    if (x->keep_alive && x->request.body.done)
        await_request(x);
    else
        linger(x);
    return x->phase != PHASE_CLOSED;
}

/* ---- steps ---- */

static bool forget(struct exchange *x) {
    x->request.in.begin = x->request.in.end = 0;
    if (!fill(x->client, &x->request.in)) return false;
    if (!x->client->ended && !x->client->broken) return true;
    exchange_close(x);
    return false;
}

static bool move(struct exchange *x) {
    if (x->phase == PHASE_CLOSED) return false;
    if (x->client->broken) {
        exchange_close(x);
        return false;
    }
    if (x->phase == PHASE_LINGER) return forget(x);
    if (x->phase == PHASE_HEAD) return await_head(x);
    bool moved = !x->answered_here && move_request(x);
    if (x->phase == PHASE_FORWARD) moved = move_response(x) || moved;
    return moved;
}

void exchange_step(struct exchange *x) {
    for (int round = 0; round < ROUNDS; round++)
        if (!move(x)) return;
    if (x->phase == PHASE_CLOSED) return;
    peer_again(x->server, x->client); /* there is more; the others have their turn first */
    peer_again(x->server, x->upstream);
}

void exchange_expire(struct exchange *x) {
    if (x->phase == PHASE_LINGER || (x->phase == PHASE_HEAD && held(&x->request.in) == 0)) {
        exchange_close(x);
        return;
    }
    if (x->phase == PHASE_HEAD) {
        x->keep_alive = false;
        answer_here(x, 408, FAILURE_REQUEST);
    } else if (x->response.begun) {
        abort_exchange(x, FAILURE_TIMEOUT); /* upstream is silent, or the client does not read */
    } else if (!x->request.body.done && held(&x->request.out) == 0) {
        answer_here(x, 408, FAILURE_REQUEST); /* the client is silent */
    } else {
        fail_upstream(x, FAILURE_TIMEOUT);
    }
    if (x->phase != PHASE_CLOSED) exchange_step(x);
}
