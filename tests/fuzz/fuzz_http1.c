/* The example proxy's reading of HTTP/1.1: what is taken lies within what came, and a body taken in pieces is the same
 * body. */
#include "examples/proxy/http1.h"

#include <stdlib.h>
#include <string.h>

static void inside(struct http1_text text, const uint8_t *data, size_t size) {
    if (text.size == 0) return;
    if (text.at < (const char *)data || text.size > size) abort();
    if (text.at + text.size > (const char *)data + size) abort();
}

static void check(const struct http1_head *head, const uint8_t *data, size_t size) {
    if (head->header_count > HTTP1_HEADERS_MAX) abort();
    for (size_t i = 0; i < head->header_count; i++) {
        inside(head->headers[i].name, data, size);
        inside(head->headers[i].value, data, size);
        if (memchr(head->headers[i].value.at, '\n', head->headers[i].value.size) != NULL) abort();
    }
    inside(head->method, data, size);
    inside(head->target, data, size);
    inside(head->reason, data, size);
}

static void take_body(const struct http1_head *head, const char *bytes, size_t size) {
    struct http1_body whole, pieces;
    http1_body_begin(&whole, head);
    http1_body_begin(&pieces, head);
    size_t took = http1_body_take(&whole, bytes, size), at = 0;
    while (at < size && http1_body_take(&pieces, bytes + at, 1) == 1)
        at++;
    if (took != at || whole.done != pieces.done || whole.broken != pieces.broken) abort();
    if (whole.done && http1_body_take(&whole, bytes, size) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http1_head head;
    const char *bytes = (const char *)data;
    size_t scanned = 0, head_size = http1_head_size(bytes, size, &scanned);
    if (head_size == 0) return 0;
    if (http1_read_request(&head, bytes, head_size) == 0) {
        check(&head, data, head_size);
        if (head.framing == HTTP1_UNTIL_CLOSE) abort();
        take_body(&head, bytes + head_size, size - head_size);
    }
    if (http1_read_response(&head, bytes, head_size, size % 2 == 0)) {
        check(&head, data, head_size);
        if (head.status < 100 || head.status > 599) abort();
        take_body(&head, bytes + head_size, size - head_size);
    }
    return 0;
}
