/* heads.c - what is written: heads that are passed on, and answers of the proxy's own. */
#include "examples/proxy/server.h"

#include <assert.h>

/* http1.h bounds what is read, and so what is written: the head, a space for each field, and what is added. */
_Static_assert(BUFFER_BYTES >= HTTP1_HEAD_BYTES_MAX + HTTP1_HEADERS_MAX + TELEMETRY_HEADER_BYTES_MAX + 512,
               "a head fits");

static void put(struct buffer *out, const char *text, size_t size) {
    assert(size <= BUFFER_BYTES - out->end);
    memcpy(out->bytes + out->end, text, size);
    out->end += size;
}
static void put_text(struct buffer *out, const char *text) {
    put(out, text, strlen(text));
}

static void put_headers(struct buffer *out, const struct http1_head *head) {
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http1_header *header = &head->headers[i];
        if (header->drop) continue;
        put(out, header->name.at, header->name.size);
        put(out, ": ", 2);
        put(out, header->value.at, header->value.size);
        put(out, "\r\n", 2);
    }
    if (head->framing == HTTP1_CHUNKED) put_text(out, "Transfer-Encoding: chunked\r\n");
}

void write_request_head(struct exchange *x, const struct http1_head *head) {
    struct buffer *out = &x->request.out;
    put(out, head->method.at, head->method.size);
    put(out, " ", 1);
    put(out, head->target.at, head->target.size);
    put_text(out, x->old ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    put_headers(out, head);
    assert(BUFFER_BYTES - out->end >= TELEMETRY_HEADER_BYTES_MAX);
    out->end += telemetry_headers(x->server->telemetry, &x->server->tally, &x->measured, out->bytes + out->end);
    put_text(out, "X-Forwarded-For: ");
    put_text(out, x->address);
    put_text(out, x->old ? "\r\nVia: 1.0 weir_proxy\r\n\r\n" : "\r\nVia: 1.1 weir_proxy\r\n\r\n");
}

/* What the client is told of its connection: 1.1 stays open unless said otherwise, 1.0 closes. */
static const char *connection_of(const struct exchange *x) {
    if (!x->keep_alive) return "Connection: close\r\n";
    return x->old ? "Connection: keep-alive\r\n" : "";
}

void write_response_head(struct exchange *x, const struct http1_head *head) {
    struct buffer *out = &x->response.out;
    char line[32];
    int size = snprintf(line, sizeof line, "HTTP/1.1 %u ", head->status);
    put(out, line, (size_t)size);
    put(out, head->reason.at, head->reason.size);
    put(out, "\r\n", 2);
    put_headers(out, head);
    if (head->status >= 200) put_text(out, connection_of(x));
    put(out, "\r\n", 2);
}

static const char *reason_of(unsigned status) {
    switch (status) {
    case 400: return "Bad Request";
    case 408: return "Request Timeout";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 504: return "Gateway Timeout";
    default: return "HTTP Version Not Supported";
    }
}

void write_answer(struct exchange *x, unsigned status) {
    struct buffer *out = &x->response.out;
    char body[64], head[160];
    int body_size = snprintf(body, sizeof body, "%u %s\n", status, reason_of(status));
    int head_size =
        snprintf(head, sizeof head, "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n",
                 status, reason_of(status), body_size, connection_of(x));
    put(out, head, (size_t)head_size);
    if (x->to_head) return;
    put(out, body, (size_t)body_size);
    x->outcome.body_bytes = (uint64_t)body_size;
}
